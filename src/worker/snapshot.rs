//! What a worker is told to do: one configuration generation, immutable, made by the control
//! thread and shared by all workers.

use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use crossbeam::utils::CachePadded;

use super::gate::Gate;
use crate::balance::Pool;
use crate::config::{Address, MysqlPool, ReadAfterWrite};
use crate::mysql::login::Rules;
use crate::telemetry::ListenerCounters;
use crate::tls::policy::{ListenerPolicy, PoolPolicy};

/// One generation of the configuration, as far as it concerns workers.
#[derive(Debug)]
pub struct Snapshot {
    /// Counts from 1; each published snapshot has a higher one.
    pub generation: u64,
    /// What to listen on, and where sessions from it go.
    pub listeners: Vec<Arc<Route>>,
    /// Whether a turn may wait for several completions.
    pub coalesce: bool,
    /// Whether ended sessions are told to the access log.
    pub access_log: bool,
    /// Which statements are told to the statement log: those that took at least so long. `None`:
    /// there is no such log.
    pub statement_log: Option<Duration>,
}

/// A listener in one generation: its sockets and where its sessions go.
#[derive(Debug)]
pub struct Route {
    /// What survives reloads.
    pub listener: Arc<Listener>,
    /// The generation this route belongs to.
    pub generation: u64,
    /// Where sessions go.
    pub pool: Arc<Pool>,
    /// What to accept on.
    pub sockets: Vec<Arc<ListeningSocket>>,
    /// How its statements are split; `None`: bytes are relayed as they are.
    pub mysql: Option<Arc<MysqlRoute>>,
    /// TLS with clients and servers, and what is chosen by it.
    pub tls: RouteTls,
}

/// TLS of a listener in one generation.
#[derive(Clone, Debug, Default)]
pub struct RouteTls {
    /// With clients; `None`: none.
    pub listener: Option<Arc<ListenerPolicy>>,
    /// With servers of the listener's own pool; `None`: none.
    pub pool: Option<Arc<PoolPolicy>>,
    /// Where a connection goes that a rule of the listener takes, in the order of the rules.
    pub by_rule: Vec<Destination>,
}

/// A pool, and how its servers are spoken to.
#[derive(Clone, Debug)]
pub struct Destination {
    /// Where the session goes.
    pub pool: Arc<Pool>,
    /// TLS with its servers; `None`: none.
    pub tls: Option<Arc<PoolPolicy>>,
}

/// What sessions of a mysql listener are held to. Listeners with one pool share it.
#[derive(Debug)]
pub struct MysqlRoute {
    /// How clients log in.
    pub rules: Arc<Rules>,
    /// The rest.
    pub settings: MysqlSettings,
}

/// What a worker needs of `[pool.mysql]`.
#[derive(Clone, Debug)]
pub struct MysqlSettings {
    /// What a session that has written may read on the replica.
    pub read_after_write: ReadAfterWrite,
    /// How long a read waits on the replica for the session's own writes.
    pub gtid_wait: Duration,
    /// How long a login waits for the replica.
    pub replica_login_timeout: Duration,
    /// From the accept to the end of the login.
    pub login_timeout: Duration,
    /// Bytes of a statement that are read.
    pub classify_bytes_max: u32,
    /// Whether `CALL` and `EXECUTE` keep the session on the primary.
    pub calls_pin: bool,
    /// Whether `LOAD DATA LOCAL` is offered to clients.
    pub local_infile: bool,
    /// What [`Self::unauthenticated`] may count up to.
    pub max_unauthenticated_sessions: u32,
    /// Sessions of the pool that have not logged in; lives over reloads.
    pub unauthenticated: Arc<Unauthenticated>,
}

impl MysqlSettings {
    /// What the configuration says, with the count that the pool has had so far.
    pub fn new(mysql: &MysqlPool, unauthenticated: Arc<Unauthenticated>) -> Self {
        Self {
            read_after_write: mysql.read_after_write,
            gtid_wait: mysql.gtid_wait,
            replica_login_timeout: mysql.replica_login_timeout,
            login_timeout: mysql.login_timeout,
            classify_bytes_max: mysql.classify_bytes_max,
            calls_pin: mysql.calls_pin,
            local_infile: mysql.local_infile,
            max_unauthenticated_sessions: mysql.max_unauthenticated_sessions,
            unauthenticated,
        }
    }
}

/// How many sessions of a pool, over all workers, have not logged in yet.
#[derive(Debug, Default)]
pub struct Unauthenticated(CachePadded<AtomicU32>);

impl Unauthenticated {
    /// Counts one more, if fewer than `limit` are counted; `false`: it is not to begin. Each
    /// success needs a [`Self::leave`].
    #[inline]
    pub fn enter(&self, limit: u32) -> bool {
        let one_more = |sessions| (sessions < limit).then(|| sessions + 1);
        self.0
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more)
            .is_ok()
    }

    /// Counts one less: it has logged in, or is gone.
    ///
    /// # Panics
    /// When more leave than have entered.
    #[inline]
    pub fn leave(&self) {
        let before = self.0.fetch_sub(1, Ordering::Relaxed);
        assert!(before > 0, "a session stops being unauthenticated once");
    }

    /// How many there are.
    pub fn count(&self) -> u32 {
        self.0.load(Ordering::Relaxed)
    }
}

/// A listener's identity and what is counted about it; lives over reloads.
#[derive(Debug)]
pub struct Listener {
    /// Its name in the configuration.
    pub name: Arc<str>,
    /// Its `max_connections`.
    pub gate: Gate,
    counters: Box<[CachePadded<ListenerCounters>]>,
}

impl Listener {
    /// A listener without sessions, for `workers` threads; a limit of `u32::MAX` is none.
    pub fn new(name: &str, limit: u32, workers: usize) -> Self {
        Self {
            name: name.into(),
            gate: Gate::new(limit, workers),
            counters: (0..workers).map(|_| CachePadded::default()).collect(),
        }
    }

    /// The counters that worker `worker` writes.
    #[inline]
    pub fn counters(&self, worker: usize) -> &ListenerCounters {
        &self.counters[worker]
    }

    /// The counters of all workers, to be summed.
    pub fn all_counters(&self) -> impl Iterator<Item = &ListenerCounters> {
        self.counters.iter().map(|padded| &**padded)
    }
}

/// One address that is listened on. Its identity over reloads is this object: a socket that stays
/// is the same `Arc` in the next snapshot, and closes when the last worker has let go of it.
#[derive(Debug)]
pub struct ListeningSocket {
    /// The address as bound; a TCP port is never 0 here.
    pub address: Address,
    /// The descriptors, non-blocking and listening: one per worker for TCP (`SO_REUSEPORT`), one
    /// for all on a unix socket.
    pub descriptors: Vec<OwnedFd>,
}

impl ListeningSocket {
    /// The descriptor that worker `worker` accepts on.
    pub fn descriptor(&self, worker: usize) -> &OwnedFd {
        &self.descriptors[worker % self.descriptors.len()]
    }

    /// The IP address and port, if it has one.
    pub fn socket_addr(&self) -> Option<SocketAddr> {
        match self.address {
            Address::Tcp(address) => Some(address),
            Address::Unix(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sessions_that_have_not_logged_in_are_limited() {
        let sessions = Unauthenticated::default();
        assert!(sessions.enter(2) && sessions.enter(2));
        assert!(!sessions.enter(2));
        assert_eq!(sessions.count(), 2);
        assert!(
            sessions.enter(3),
            "the limit is that of the newest configuration"
        );
        sessions.leave();
        sessions.leave();
        assert!(sessions.enter(2) && !sessions.enter(2));
    }
}
