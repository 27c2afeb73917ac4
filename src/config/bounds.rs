//! What the configuration accepts, each bound with its reason.

use std::ops::RangeInclusive;
use std::time::Duration;

use crate::limits::{CLASSIFY_BYTES_MAX, SCHEDULE_SLOTS_MAX, TICK, TRIES_MAX};

/// Bytes of a file. A hundred times what a thousand pools need; above it somebody has named the
/// wrong file, and reading `/dev/zero` to its end helps nobody.
pub(super) const FILE_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// Characters of a name: it becomes a metric label, a log field and a column of a table.
pub(super) const NAME_CHARS: RangeInclusive<usize> = 1..=64;

/// The least a timeout may be: two ticks of the workers' timer wheel, below which it would fire
/// more by rounding than by time.
pub(super) const TIMEOUT_MIN: Duration = Duration::from_millis(10);

/// The longest duration: a leap year. Above it a unit has been mistaken, and "never" is better
/// said by leaving the key out where it may be left out.
pub(super) const DURATION_MAX: Duration = Duration::from_secs(366 * DAY_S);

/// `TCP_USER_TIMEOUT` is an `int` of milliseconds, which ends after 24 days and 20 hours.
pub(super) const TCP_USER_TIMEOUT_MAX: Duration = Duration::from_secs(24 * DAY_S);

/// `TCP_KEEPIDLE` and `TCP_KEEPINTVL`, in whole seconds: `MAX_TCP_KEEPIDLE` of Linux.
pub(super) const KEEPALIVE: RangeInclusive<Duration> =
    Duration::from_secs(1)..=Duration::from_secs(32_767);

/// `TCP_KEEPCNT`: `MAX_TCP_KEEPCNT` of Linux.
pub(super) const KEEPALIVE_PROBES: RangeInclusive<u64> = 1..=127;

/// Worker threads: the kernel's usual `CONFIG_NR_CPUS` is no larger by much.
pub(super) const WORKERS: RangeInclusive<u64> = 1..=1024;

/// Any `max_connections`. 0 would be a listener or server that takes nobody, for which there are
/// better ways to say it; the workers read the largest value as "no limit".
pub(super) const CONNECTIONS: RangeInclusive<u64> = 1..=u32::MAX as u64 - 1;

/// `listen(2)`; the kernel cuts it down to `net.core.somaxconn`.
pub(super) const BACKLOG: RangeInclusive<u64> = 1..=1 << 20;

/// Tries after the first one: all tries fit in what a session remembers.
pub(super) const RETRIES: RangeInclusive<u64> = 0..=TRIES_MAX as u64 - 1;

/// Connect failures in a row. More would never be reached before people notice.
pub(super) const MAX_FAILS: RangeInclusive<u64> = 1..=1000;

/// A server's share of sessions; sums of them are bounded by [`WEIGHT_SLOTS_MAX`].
pub(super) const WEIGHT: RangeInclusive<u64> = 0..=u16::MAX as u64;

/// The sum of a pool's weights divided by what they share: slots of its schedule table.
pub(super) const WEIGHT_SLOTS_MAX: u64 = SCHEDULE_SLOTS_MAX as u64;

/// Servers of one pool, counted once names are resolved. Making a schedule takes slots times
/// servers steps, which has to stay well below a second.
pub(super) const SERVERS_PER_POOL_MAX: usize = 1024;

/// Addresses of all listeners together: a quarter of what a worker can accept on, so that those of
/// a few reloads ago may still be closing.
pub(super) const LISTEN_ADDRESSES_MAX: usize = 1024;

/// Health checks in a row that change a server's state.
pub(super) const CHECKS_IN_A_ROW: RangeInclusive<u64> = 1..=u8::MAX as u64;

/// TCP ports; 0 means "any" to the kernel and nothing here.
pub(super) const PORT: RangeInclusive<u64> = 1..=u16::MAX as u64;

/// HTTP status codes: RFC 9110, section 15.
pub(super) const STATUS: RangeInclusive<u16> = 100..=599;

/// Bytes of an HTTP path or Host field of a health check: its request fits in one segment.
pub(super) const HTTP_FIELD_BYTES_MAX: usize = 1024;

/// Characters of an account's name: MariaDB's `USERNAME_CHAR_LENGTH`; MySQL takes 32.
pub(super) const ACCOUNT_CHARS_MAX: usize = 128;

/// Bytes of a statement that are read. Below 1 KiB, statements that people write would be sent to
/// the primary for their length; above 1 MiB, a session would hold more than its whole relay does.
pub(super) const CLASSIFY_BYTES: RangeInclusive<u64> = 1024..=1024 * 1024;

/// Handshakes at a time in one worker. A core makes some thousands a second, so what waits behind
/// more than these has no hope of being in time.
pub(super) const HANDSHAKES: RangeInclusive<u64> = 1..=65_536;

/// Certificates of one listener, all of which are read at each reload; more belong behind
/// wildcards, or behind several listeners.
pub(super) const CERTIFICATES_MAX: usize = 1024;

/// Rules of one listener; each may have any number of names.
pub(super) const TLS_ROUTES_MAX: usize = 1024;

/// Bytes of an application protocol's name: RFC 7301, section 3.1.
pub(super) const ALPN_BYTES_MAX: usize = 255;

/// Application protocols in one list: a ClientHello with all of them stays small.
pub(super) const ALPN_MAX: usize = 16;

/// Bytes of a unix socket's path: `sun_path` without its final NUL.
pub(super) const UNIX_PATH_BYTES_MAX: usize = 107;

/// Bytes of a host name: RFC 1035, section 2.3.4, as text.
pub(super) const HOST_BYTES_MAX: usize = 253;

/// Bytes of one label of a host name: RFC 1035, section 2.3.4.
pub(super) const HOST_LABEL_BYTES_MAX: usize = 63;

const DAY_S: u64 = 24 * 60 * 60;

const _: () = assert!(TIMEOUT_MIN.as_millis() >= 2 * TICK.as_millis());
const _: () = assert!(TCP_USER_TIMEOUT_MAX.as_millis() <= i32::MAX as u128);
const _: () = assert!(CLASSIFY_BYTES_MAX as u64 <= *CLASSIFY_BYTES.end());
