//! What the control thread knows about the running process: the one place where reload writes and
//! admin, health checks and logs read.

use std::sync::Arc;
use std::time::SystemTime;

use super::{Checks, Findings, LoadedTls, LogCounters, Secrets, TlsState};
use crate::balance::{Pool, Server};
use crate::config::Config;
use crate::tls::policy::PoolPolicy;
use crate::worker::{Listener, Shared, Snapshot};

/// The control thread's knowledge. Lives in an `Rc<RefCell<_>>` on that thread; nothing here is
/// touched by workers except through the `Arc`s.
#[derive(Debug)]
pub struct Registry {
    /// What is shared with the workers.
    pub shared: Arc<Shared>,
    /// The configuration that runs, with all names resolved.
    pub config: Config,
    /// The passwords that it names.
    pub secrets: Secrets,
    /// The certificates that it names, and what is made of them.
    pub tls: LoadedTls,
    /// What of TLS outlives it.
    pub tls_state: TlsState,
    /// In the order of `config.pools`; those that no listener uses are here, too.
    pub pools: Vec<Arc<Pool>>,
    /// TLS with the servers of each, in the same order; `None`: none.
    pub pool_tls: Vec<Option<Arc<PoolPolicy>>>,
    /// The snapshot the workers have, or are about to look at.
    pub snapshot: Arc<Snapshot>,
    /// Listeners that were removed and may still have sessions.
    pub retired_listeners: Vec<Arc<Listener>>,
    /// Servers that were removed and may still have sessions.
    pub retired_servers: Vec<Arc<Server>>,
    /// How reloads went.
    pub reloads: Reloads,
    /// Where the process is in its life.
    pub lifecycle: Lifecycle,
    /// When the process started.
    pub started_at: SystemTime,
    /// What active health checks have found.
    pub checks: Checks,
    /// What the monitors of mysql pools have found.
    pub findings: Findings,
    /// What the access log has written and lost.
    pub access_log: Arc<LogCounters>,
    /// What the statement log has written and lost.
    pub statement_log: Arc<LogCounters>,
}

/// How reloads went since the start.
#[derive(Clone, Debug, Default)]
pub struct Reloads {
    /// Applied.
    pub succeeded: u64,
    /// Refused; the configuration before went on.
    pub failed: u64,
    /// What the last refusal said; cleared by the next reload that is applied.
    pub last_error: Option<String>,
}

/// Where the process is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lifecycle {
    /// Accepting and relaying.
    Running,
    /// A shutdown was asked for; still accepting for `shutdown_delay`.
    Leaving,
    /// No longer accepting; sessions may finish until `drain_timeout`.
    Draining,
}

impl Registry {
    /// What is known of a process that has just started, with these pools.
    pub fn new(
        shared: Arc<Shared>,
        config: Config,
        pools: Vec<Arc<Pool>>,
        tls_state: TlsState,
    ) -> Self {
        Self {
            snapshot: shared.snapshot(),
            shared,
            config,
            secrets: Secrets::default(),
            tls: LoadedTls::default(),
            tls_state,
            pool_tls: vec![None; pools.len()],
            pools,
            retired_listeners: Vec::new(),
            retired_servers: Vec::new(),
            reloads: Reloads::default(),
            lifecycle: Lifecycle::Running,
            started_at: SystemTime::now(),
            checks: Checks::default(),
            findings: Findings::default(),
            access_log: Arc::default(),
            statement_log: Arc::default(),
        }
    }

    /// The listeners of the running configuration, then retired ones.
    pub fn listeners(&self) -> impl Iterator<Item = &Arc<Listener>> {
        let running = self.snapshot.listeners.iter().map(|route| &route.listener);
        running.chain(&self.retired_listeners)
    }

    /// Forgets retired servers and listeners without a session, so that their series vanish from
    /// the metrics. Every worker has to have taken up the newest snapshot.
    pub(super) fn forget_drained(&mut self) {
        self.retired_servers.retain(|server| server.sessions() > 0);
        self.retired_listeners
            .retain(|listener| listener.gate.taken() > 0);
    }
}
