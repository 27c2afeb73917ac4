//! What workers report of rare events, as log records; those that can storm are held to one record
//! a minute for each listener or server, with a count of what was held back.

use std::cell::RefCell;
use std::collections::HashMap;
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::time::{MissedTickBehavior, interval};

use super::{Error, Registry};
use crate::balance::Server;
use crate::config::format_duration;
use crate::limits::NOTICE_INTERVAL;
use crate::mysql::handshake::NoTls;
use crate::sys;
use crate::telemetry::{ConnectError, Notice};
use crate::tls::session::Failure;

/// Logs notices for as long as the process lives.
pub(super) async fn log(registry: Rc<RefCell<Registry>>) -> Result<(), Error> {
    let shared = Arc::clone(&registry.borrow().shared);
    let eventfd = shared.notices.eventfd();
    let failed = |cause: io::Error| Error::internal("cannot wait for the workers' notices")(cause);
    let readiness = sys::readiness(eventfd).map_err(failed)?;
    let mut throttle = Throttle::default();
    let mut sweep = interval(NOTICE_INTERVAL);
    sweep.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            ready = readiness.readable() => {
                ready.map_err(failed)?.clear_ready();
                // Read before popping: what is pushed from here on makes it readable again.
                let _ = eventfd.read();
                while let Some(notice) = shared.notices.pop() {
                    report(&notice, &registry.borrow(), &mut throttle);
                }
            }
            _ = sweep.tick() => throttle.sweep(Instant::now()),
        }
    }
}

fn report(notice: &Notice, registry: &Registry, throttle: &mut Throttle) {
    let key = match notice {
        Notice::ServerFailing { server, error } => {
            return tracing::warn!("{}", left_alone(server, *error, registry));
        }
        Notice::ServerRecovered { server } => {
            return tracing::info!("{} takes connections again", full_name(server));
        }
        Notice::AcceptPaused { listener, errno } => {
            Key(Trouble::AcceptPaused(*errno), listener.to_string())
        }
        Notice::OutOfPorts { server } => Key(Trouble::OutOfPorts, full_name(server)),
        Notice::ServerTls { server, failure } => {
            Key(Trouble::ServerTls(failure.clone()), full_name(server))
        }
        Notice::ServerWithoutTls { server, why } => Key(
            Trouble::ServerWithoutTls(without_tls(*why)),
            full_name(server),
        ),
        Notice::HandshakesReached { listener } => {
            Key(Trouble::HandshakesReached, listener.to_string())
        }
        Notice::LimitReached { listener } => Key(Trouble::LimitReached, listener.to_string()),
    };
    if throttle.admits(&key, Instant::now()) {
        tracing::warn!("{}", key.describe());
    }
}

/// As the pool is set now: a pool that a reload has just removed tells of `fail_timeout` by name.
fn left_alone(server: &Server, error: ConnectError, registry: &Registry) -> String {
    let mut pools = registry.pools.iter();
    let pool = pools.find(|pool| pool.name() == server.pool());
    let duration = pool.map_or_else(
        || "fail_timeout".to_owned(),
        |pool| format_duration(pool.settings().fail_timeout),
    );
    // Another try may have succeeded since.
    let failures = server.failures().max(1);
    let plural = if failures == 1 { "" } else { "s" };
    format!(
        "{} left alone for {duration} after {failures} connect failure{plural}: {}",
        full_name(server),
        error.as_str()
    )
}

/// What the operator can do when accepting fails with this error.
fn remedy(errno: i32) -> &'static str {
    match errno {
        libc::EMFILE => "; raise the limit: `ulimit -n` or LimitNOFILE= in the systemd unit",
        libc::ENFILE => "; raise the system's limit: `sysctl -w fs.file-max=...`",
        libc::ENOBUFS | libc::ENOMEM => "; the kernel is short of memory: see `free` and `dmesg`",
        _ => "",
    }
}

/// What the operator can do when a server's TLS fails in this way.
fn tls_remedy(failure: &Failure) -> &'static str {
    match failure {
        Failure::Certificate(_) => {
            "; tls.ca_file of the pool names who may have signed it, server_name whose it has to be"
        }
        Failure::NotTls => "; is it spoken on this port? without [pool.tls] plain text is",
        _ => "",
    }
}

/// How many bytes it were is counted: a server that makes them up would make up records of them.
const fn without_tls(why: NoTls) -> &'static str {
    match why {
        NoTls::NotOffered => {
            "no TLS with it, and so no login: it does not offer TLS; give it a certificate (ssl_cert, \
             ssl_key), or leave out [pool.tls]"
        }
        NoTls::SpokeEarly(_) => {
            "no TLS with it, and so no login: it has sent more than its greeting before it was asked \
             for TLS; is it the server, or is somebody between?"
        }
    }
}

fn full_name(server: &Server) -> String {
    let (pool, name) = (server.pool(), server.name());
    format!("server {pool}/{name} ({})", server.address())
}

/// What is wrong, and where: a listener's or a server's name.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Key(Trouble, String);

/// What can be reported thousands of times a second.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Trouble {
    /// With the operating system's error number.
    AcceptPaused(i32),
    HandshakesReached,
    LimitReached,
    OutOfPorts,
    ServerTls(Box<Failure>),
    /// With why, and what to do about it.
    ServerWithoutTls(&'static str),
}

impl Key {
    fn describe(&self) -> String {
        let place = &self.1;
        match &self.0 {
            Trouble::AcceptPaused(errno) => format!(
                "listener {place}: accepting pauses: {}{}",
                io::Error::from_raw_os_error(*errno),
                remedy(*errno)
            ),
            Trouble::HandshakesReached => format!(
                "listener {place}: tls.handshakes_max is reached, in one worker at least; clients \
                 wait for their turn"
            ),
            Trouble::LimitReached => format!(
                "listener {place}: max_connections is reached, of the listener or in total; \
                 clients wait in the backlog"
            ),
            Trouble::OutOfPorts => format!(
                "{place}: no source port is left towards it; widen net.ipv4.ip_local_port_range"
            ),
            Trouble::ServerTls(failure) => {
                format!(
                    "{place}: the TLS handshake failed: {}{}",
                    failure.with("server"),
                    tls_remedy(failure)
                )
            }
            Trouble::ServerWithoutTls(why) => format!("{place}: {why}"),
        }
    }
}

/// Lets one of a kind through per [`NOTICE_INTERVAL`] and counts the others.
#[derive(Debug, Default)]
struct Throttle(HashMap<Key, Held>);

#[derive(Debug)]
struct Held {
    last: Instant,
    count: u64,
}

impl Throttle {
    fn admits(&mut self, key: &Key, now: Instant) -> bool {
        match self.0.get_mut(key) {
            // Whatever is held back is told, with its number, when its minute is over.
            Some(held) => {
                held.count += 1;
                false
            }
            None => {
                let held = Held {
                    last: now,
                    count: 0,
                };
                self.0.insert(key.clone(), held);
                true
            }
        }
    }

    /// Tells what was held back for long enough, and forgets what has not come again.
    fn sweep(&mut self, now: Instant) {
        for (key, count) in self.due(now, NOTICE_INTERVAL) {
            tracing::warn!("{} ({count} times more)", key.describe());
        }
    }

    fn due(&mut self, now: Instant, after: Duration) -> Vec<(Key, u64)> {
        let mut due = Vec::new();
        self.0.retain(|key, held| {
            if now.duration_since(held.last) < after {
                return true;
            }
            if held.count == 0 {
                return false;
            }
            due.push((key.clone(), held.count));
            *held = Held {
                last: now,
                count: 0,
            };
            true
        });
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    fn key(listener: &str) -> Key {
        Key(Trouble::LimitReached, listener.to_owned())
    }

    #[test]
    fn a_record_tells_for_how_long_and_after_how_many_failures_a_server_is_left_alone() {
        let registry = super::super::testing::registry();
        let registry = registry.borrow();
        let server = &registry.pools[0].members()[0].server;
        for _ in 0..3 {
            server.failed(0, 3, 1000);
        }
        let (name, error) = (full_name(server), ConnectError::Refused);
        assert_eq!(
            left_alone(server, error, &registry),
            format!("{name} left alone for 1s after 3 connect failures: refused")
        );
        let gone = Server::new("gone", "s", server.address().clone(), 1);
        assert!(left_alone(&gone, error, &registry).contains(" for fail_timeout after 1 connect "));
    }

    #[test]
    fn a_shortage_is_told_with_its_remedy() {
        for (errno, remedy) in [
            (libc::EMFILE, "LimitNOFILE="),
            (libc::ENFILE, "fs.file-max"),
            (libc::ENOMEM, "memory"),
        ] {
            let told = Key(Trouble::AcceptPaused(errno), "web".to_owned()).describe();
            assert!(told.contains(remedy), "{told}");
        }
    }

    #[test]
    fn the_first_is_told_at_once_and_the_others_as_a_number() {
        let (mut throttle, start) = (Throttle::default(), Instant::now());
        assert!(throttle.admits(&key("web"), start));
        assert!(!throttle.admits(&key("web"), start));
        assert!(!throttle.admits(&key("web"), start + MINUTE / 2));
        assert!(
            throttle.admits(&key("api"), start),
            "another listener has its own"
        );
        assert_eq!(throttle.due(start + MINUTE / 2, MINUTE), []);
        assert_eq!(throttle.due(start + MINUTE, MINUTE), [(key("web"), 2)]);
    }

    #[test]
    fn trouble_that_is_over_is_forgotten_and_told_at_once_when_it_returns() {
        let (mut throttle, start) = (Throttle::default(), Instant::now());
        assert!(throttle.admits(&key("web"), start));
        assert_eq!(throttle.due(start + MINUTE, MINUTE), []);
        assert!(throttle.0.is_empty());
        assert!(throttle.admits(&key("web"), start + MINUTE));
    }
}
