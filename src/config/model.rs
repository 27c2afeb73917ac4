//! The configuration as the rest of ringway sees it. A value of these types has been validated:
//! every reference points somewhere, every duration is sane, every name is unique.

use std::net::SocketAddr;
use std::num::NonZeroU16;
use std::path::PathBuf;
use std::time::Duration;

use rustls::pki_types::ServerName;

use super::Address;
use super::mysql::{MysqlPool, Role};
use super::tls::{ListenerTls, PoolTls};

/// A whole, valid configuration file. Server addresses may still be host names: see
/// [`Config::resolve`](super::Config::resolve).
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// What concerns the process as a whole.
    pub process: Process,
    /// Admin HTTP; `None` when the file has no `[admin]` table.
    pub admin: Option<Admin>,
    /// The process's own log.
    pub log: Log,
    /// One line per session; `None` when the file has no `[access_log]` table.
    pub access_log: Option<AccessLog>,
    /// One line per statement; `None` when the file has no `[statement_log]` table.
    pub statement_log: Option<StatementLog>,
    /// In the order of the file.
    pub listeners: Vec<Listener>,
    /// In the order of the file.
    pub pools: Vec<Pool>,
}

/// `[process]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Process {
    /// How many worker threads.
    pub workers: Workers,
    /// Whether each worker is pinned to one CPU of the affinity mask.
    pub pin_workers: bool,
    /// Whether busy workers wait a little for several completions at a time.
    pub coalesce: bool,
    /// Sessions in total; `None`: as many as the descriptor limit carries.
    pub max_connections: Option<u32>,
    /// How long sessions may go on after SIGTERM.
    pub drain_timeout: Duration,
    /// How long listeners go on accepting after SIGTERM, while `/ready` already says 503.
    pub shutdown_delay: Duration,
}

/// `process.workers`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Workers {
    /// The affinity mask, cut by the cgroup's CPU quota.
    Auto,
    /// This many.
    Count(NonZeroU16),
}

/// `[admin]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Admin {
    /// A loopback address.
    pub listen: SocketAddr,
}

/// `[log]`: the process's own log, on standard error.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Log {
    /// The least severe record that is written.
    pub level: LogLevel,
    /// How a record looks.
    pub format: LogFormat,
}

/// `log.level`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogLevel {
    /// Everything.
    Debug,
    /// What an operator wants to know; the default.
    Info,
    /// What an operator should look at.
    Warn,
    /// What has failed.
    Error,
}

/// `format` of each log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// One JSON object a line.
    Json,
    /// `key=value` pairs for people.
    Text,
}

/// `[access_log]`: one line per session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccessLog {
    /// Where the lines go.
    pub target: LogTarget,
    /// How a line looks.
    pub format: LogFormat,
}

/// `[statement_log]`: one line per statement of sessions on mysql listeners.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StatementLog {
    /// Where the lines go.
    pub target: LogTarget,
    /// How a line looks.
    pub format: LogFormat,
    /// Statements that took less are left out; zero: none are.
    pub slower_than: Duration,
}

/// `path` of the access log and of the statement log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LogTarget {
    /// `"stdout"`.
    Stdout,
    /// A file, appended to, opened again at each SIGHUP.
    File(PathBuf),
}

/// `[[listener]]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Listener {
    /// Unique among listeners.
    pub name: String,
    /// At least one address; none is shared with another listener.
    pub listen: Vec<Address>,
    /// What is spoken on it.
    pub protocol: Protocol,
    /// Index into [`Config::pools`].
    pub pool: usize,
    /// Sessions at a time over all workers; `None`: no limit but the process's.
    pub max_connections: Option<u32>,
    /// Connections that may wait in the kernel, per worker: `listen(2)`.
    pub backlog: u32,
    /// `TCP_DEFER_ACCEPT`: the kernel hands a connection over once its first bytes are there.
    pub defer_accept: bool,
    /// `IPV6_V6ONLY` on IPv6 addresses.
    pub v6only: bool,
    /// `IP_FREEBIND`: an address may be listened on before the host has it.
    pub freebind: bool,
    /// TLS with clients; `None`: there is none.
    pub tls: Option<ListenerTls>,
}

impl Listener {
    /// All pools that its sessions may go to, as indices into [`Config::pools`]; some perhaps more
    /// than once.
    pub fn pools(&self) -> impl Iterator<Item = usize> {
        let routes = self.tls.iter().flat_map(|tls| &tls.routes);
        std::iter::once(self.pool).chain(routes.map(|route| route.pool))
    }
}

/// `listener.protocol`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// Bytes are relayed as they are.
    Tcp,
    /// Statements are read: writes go to the primary, reads to a replica.
    Mysql,
}

/// `[[pool]]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Pool {
    /// Unique among pools.
    pub name: String,
    /// How a server is chosen, and what sessions through this pool are held to.
    pub settings: PoolSettings,
    /// Active checks; `None` when the pool has no `[pool.health_check]` table. Servers behind a
    /// mysql listener are always checked.
    pub health_check: Option<HealthCheck>,
    /// TLS with servers; `None`: there is none.
    pub tls: Option<PoolTls>,
    /// How statements are split; `Some` exactly when a mysql listener uses the pool.
    pub mysql: Option<MysqlPool>,
    /// At least one, in the order of the file.
    pub servers: Vec<Server>,
}

/// `pool.algorithm`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Algorithm {
    /// Each server in turn, by weight, exact over all workers.
    RoundRobin,
    /// The one that the client's address prefers, which stays the same while it can take sessions.
    Source,
}

impl Algorithm {
    /// As configurations and the status have it.
    pub fn name(self) -> &'static str {
        match self {
            Self::RoundRobin => "round_robin",
            Self::Source => "source",
        }
    }
}

/// How a pool's sessions find a server, their limits and their timeouts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PoolSettings {
    /// How a server is chosen.
    pub algorithm: Algorithm,
    /// Each try to connect to a server.
    pub connect_timeout: Duration,
    /// All tries of a session together.
    pub connect_deadline: Duration,
    /// Tries after the first one.
    pub retries: u8,
    /// Without progress in either direction.
    pub idle_timeout: Duration,
    /// Without progress once one side has finished sending.
    pub half_close_timeout: Duration,
    /// Connect failures in a row, over all workers, after which a server is left alone.
    pub max_fails: u32,
    /// For how long it is left alone.
    pub fail_timeout: Duration,
    /// How long sessions of a removed server may go on; `None`: without limit.
    pub removed_server_timeout: Option<Duration>,
    /// How long bytes may wait for the survivor to acknowledge them before a reset is passed on.
    pub reset_linger: Duration,
    /// `TCP_USER_TIMEOUT`; by default `idle_timeout`.
    pub tcp_user_timeout: Duration,
    /// `TCP_KEEPIDLE`: silence before the first keepalive probe.
    pub keepalive_idle: Duration,
    /// `TCP_KEEPINTVL`: between probes.
    pub keepalive_interval: Duration,
    /// `TCP_KEEPCNT`: probes without an answer before the connection is dead.
    pub keepalive_probes: u8,
}

impl PoolSettings {
    /// What is set as `TCP_USER_TIMEOUT`; zero leaves it off.
    ///
    /// Where it is set, the kernel judges a peer that does not answer keepalive probes by it and no
    /// longer by `keepalive_probes` (tcp(7), measured on Linux 6.18). A value that would only end
    /// what `idle_timeout` ends anyway is therefore not set.
    pub fn kernel_user_timeout(&self) -> Duration {
        if self.tcp_user_timeout < self.idle_timeout {
            self.tcp_user_timeout
        } else {
            Duration::ZERO
        }
    }
}

/// `[pool.health_check]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HealthCheck {
    /// What is asked of a server.
    pub kind: HealthCheckKind,
    /// Between two checks of one server, jittered by a tenth.
    pub interval: Duration,
    /// From the start of a check to its answer.
    pub timeout: Duration,
    /// Successes in a row that bring a server up.
    pub rise: u8,
    /// Failures in a row that take a server down.
    pub fall: u8,
    /// Another port than the traffic's.
    pub port: Option<u16>,
    /// Whether a check is made over the TLS of `[pool.tls]`; only where the pool has one.
    pub tls: bool,
}

/// `health_check.type`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HealthCheckKind {
    /// The server accepts a connection.
    Tcp,
    /// The server answers `GET path` with an expected status.
    Http {
        /// Begins with a slash.
        path: String,
        /// The Host field; `None`: the server's address.
        host: Option<String>,
        /// Accepted status codes, as inclusive ranges.
        expect: Vec<(u16, u16)>,
    },
    /// The server greets with a MySQL handshake, which is finished properly.
    Mysql,
}

/// `[[pool.server]]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Server {
    /// Unique within the pool as written. A host name with several addresses becomes several
    /// servers of one name.
    pub name: String,
    /// Where it is reached.
    pub address: ServerAddress,
    /// Its share of new sessions; 0: none.
    pub weight: u16,
    /// Sessions at a time over all workers; `None`: no limit.
    pub max_connections: Option<u32>,
    /// Gets sessions only when no other server of the pool can.
    pub backup: bool,
    /// What it is to statements; `None` where that is not the configuration's to say.
    pub role: Option<Role>,
    /// The name that it is told, and has to have a certificate for; `Some` exactly when its pool
    /// has TLS.
    pub server_name: Option<ServerName<'static>>,
    /// Where the address stands in the file, for errors that appear only when it is resolved.
    pub position: Position,
}

/// A server's address as written.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum ServerAddress {
    /// Needs no resolver.
    Fixed(Address),
    /// Resolved at start and at each SIGHUP.
    Host {
        /// The name.
        host: String,
        /// The port.
        port: u16,
    },
}

/// A place in the configuration file, both counted from 1; columns count characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    /// The line.
    pub line: u32,
    /// The column.
    pub column: u32,
}
