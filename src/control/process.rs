//! The running process, as the control thread holds it.

use std::cell::RefCell;
use std::collections::HashMap;
use std::net::TcpListener;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::{Arc, Weak};
use std::thread::JoinHandle;

use super::capacity::Capacity;
use super::listen::{OpenSocket, Options};
use super::plan::Known;
use super::{Error, LogWriter, Registry};
use crate::config::{self, Address};
use crate::telemetry::SessionRecord;
use crate::worker::{ListeningSocket, Shared, StatementRecord};

/// Everything that lives from the start to the end.
#[derive(Debug)]
pub(super) struct Process {
    /// What admin, health checks and logs read, too.
    pub(super) registry: Rc<RefCell<Registry>>,
    pub(super) sockets: Sockets,
    pub(super) workers: Workers,
    /// Until it is served.
    pub(super) admin: Option<TcpListener>,
    pub(super) access_log: LogWriter<SessionRecord>,
    pub(super) statement_log: LogWriter<StatementRecord>,
    /// What a reload cannot change.
    pub(super) fixed: Fixed,
    /// When the workers were last given a snapshot, in milliseconds since the process's start.
    pub(super) published_at_ms: u64,
    /// Where the configuration is read again; `None`: it came from no file.
    pub(super) config_path: Option<PathBuf>,
}

/// What holds from the start to the end, whatever a new configuration says.
#[derive(Clone, Debug)]
pub(super) struct Fixed {
    pub(super) process: config::Process,
    pub(super) admin: Option<config::Admin>,
    pub(super) log_format: config::LogFormat,
    /// The number of sessions that workers have room for.
    pub(super) capacity: Capacity,
}

/// What is listened on.
#[derive(Debug, Default)]
pub(super) struct Sockets {
    /// By the address as configured.
    pub(super) open: HashMap<Address, OpenSocket>,
    /// Let go, and still open until the last worker has done the same.
    closing: Vec<(Address, Options, Weak<ListeningSocket>)>,
}

/// The worker threads, by index.
#[derive(Debug)]
pub(super) struct Workers(pub(super) Vec<JoinHandle<()>>);

impl Process {
    pub(super) fn shared(&self) -> Arc<Shared> {
        Arc::clone(&self.registry.borrow().shared)
    }

    /// # Errors
    /// When a worker has ended that should not have.
    pub(super) fn check_workers(&self) -> Result<(), Error> {
        match self.workers.ended() {
            Some(worker) => Err(Error::WorkerEnded(worker)),
            None => Ok(()),
        }
    }

    /// Forgets removed servers and listeners that have no sessions and can get none any more.
    pub(super) fn forget_drained(&self) {
        let registry = &mut *self.registry.borrow_mut();
        if registry.retired_servers.is_empty() && registry.retired_listeners.is_empty() {
            return;
        }
        // A worker that has not turned since still goes by the snapshot before, and may be about to
        // start a session there.
        let mut workers = registry.shared.workers().iter();
        if workers.all(|worker| worker.counters.last_turn_ms.get() > self.published_at_ms) {
            registry.forget_drained();
        } else {
            registry.shared.wake_all();
        }
    }

    /// What time does to keys and certificates.
    pub(super) fn look_after_tls(&self) {
        let registry = self.registry.borrow();
        if let Err(error) = registry.tls_state.rotate_ticket_keys() {
            tracing::error!("the keys of session tickets cannot be replaced: {error}");
        }
        registry.tls.warn_of_expiry();
    }

    /// What a new configuration may find again.
    pub(super) fn known(&self) -> Known {
        let registry = self.registry.borrow();
        let routes = registry.snapshot.listeners.iter();
        let open = self.sockets.open.iter();
        let mysql = routes.clone().filter_map(|route| {
            let settings = &route.mysql.as_ref()?.settings;
            Some((
                Arc::clone(route.pool.name()),
                Arc::clone(&settings.unauthenticated),
            ))
        });
        Known {
            unauthenticated: mysql.collect(),
            workers: registry.shared.workers().len(),
            pools: registry.pools.clone(),
            retired_servers: registry.retired_servers.clone(),
            listeners: routes.map(|route| Arc::clone(&route.listener)).collect(),
            retired_listeners: registry.retired_listeners.clone(),
            sockets: open
                .map(|(address, open)| (address.clone(), open.options))
                .collect(),
            closing: self.sockets.closing(),
        }
    }
}

impl Sockets {
    /// Lets go of an address.
    pub(super) fn close(&mut self, address: &Address) {
        if let Some(open) = self.open.remove(address) {
            self.closing
                .retain(|(_, _, socket)| socket.strong_count() > 0);
            let socket = Arc::downgrade(&open.socket);
            self.closing.push((address.clone(), open.options, socket));
        }
    }

    /// Addresses that were let go and may still be open.
    fn closing(&self) -> Vec<(Address, Options)> {
        let open = self
            .closing
            .iter()
            .filter(|(_, _, socket)| socket.strong_count() > 0);
        open.map(|(address, options, _)| (address.clone(), *options))
            .collect()
    }
}

impl Workers {
    /// The first worker that has ended.
    pub(super) fn ended(&self) -> Option<usize> {
        self.0.iter().position(JoinHandle::is_finished)
    }

    /// Whether all have ended.
    pub(super) fn all_ended(&self) -> bool {
        self.0.iter().all(JoinHandle::is_finished)
    }
}
