//! What workers report of rare events, as log records; those that can storm are held to one record
//! a minute for each listener or server, with a count of what was held back.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::time::{MissedTickBehavior, interval};

use super::Error;
use crate::balance::Server;
use crate::limits::NOTICE_INTERVAL;
use crate::sys;
use crate::telemetry::Notice;
use crate::worker::Shared;

/// Logs notices for as long as the process lives.
pub(super) async fn log(shared: Arc<Shared>) -> Result<(), Error> {
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
                    report(&notice, &mut throttle);
                }
            }
            _ = sweep.tick() => throttle.sweep(Instant::now()),
        }
    }
}

fn report(notice: &Notice, throttle: &mut Throttle) {
    let key = match notice {
        Notice::ServerFailing { server, error } => {
            let (server, error) = (full_name(server), error.as_str());
            return tracing::warn!("{server} left alone for fail_timeout: connect {error}");
        }
        Notice::ServerRecovered { server } => {
            return tracing::info!("{} takes connections again", full_name(server));
        }
        Notice::AcceptPaused { listener, errno } => {
            Key(Trouble::AcceptPaused(*errno), listener.to_string())
        }
        Notice::OutOfPorts { server } => Key(Trouble::OutOfPorts, full_name(server)),
        Notice::LimitReached { listener } => Key(Trouble::LimitReached, listener.to_string()),
    };
    if throttle.admits(&key, Instant::now()) {
        tracing::warn!("{}", key.describe());
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
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Trouble {
    /// With the operating system's error number.
    AcceptPaused(i32),
    LimitReached,
    OutOfPorts,
}

impl Key {
    fn describe(&self) -> String {
        let place = &self.1;
        match self.0 {
            Trouble::AcceptPaused(errno) => format!(
                "listener {place}: accepting pauses: {}",
                io::Error::from_raw_os_error(errno)
            ),
            Trouble::LimitReached => format!(
                "listener {place}: max_connections is reached, of the listener or in total; \
                 clients wait in the backlog"
            ),
            Trouble::OutOfPorts => format!(
                "{place}: no source port is left towards it; widen net.ipv4.ip_local_port_range"
            ),
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
