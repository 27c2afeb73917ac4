//! What a worker is told to do: one configuration generation, immutable, made by the control
//! thread and shared by all workers.

use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use crossbeam::utils::CachePadded;

use super::gate::Gate;
use crate::balance::Pool;
use crate::config::Address;
use crate::telemetry::ListenerCounters;

/// One generation of the configuration, as far as it concerns workers.
#[derive(Debug)]
pub struct Snapshot {
    /// Counts from 1; each published snapshot has a higher one.
    pub generation: u64,
    /// What to listen on, and where sessions from it go.
    pub listeners: Vec<Arc<Route>>,
    /// Whether ended sessions are told to the access log.
    pub access_log: bool,
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
