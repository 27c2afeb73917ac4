//! What active checks have found, where metrics and status read it.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::{Arc, Weak};
use std::time::{Duration, SystemTime};

use tokio::sync::Notify;

use crate::balance::Server;

/// The results of active checks, and the bell that a reload rings. Clones are the same board.
#[derive(Clone, Debug, Default)]
pub struct Checks(Rc<Board>);

#[derive(Debug, Default)]
struct Board {
    /// By the server's address in memory, which the weak pointer keeps from being used again.
    reports: RefCell<HashMap<*const Server, (Weak<Server>, Report)>>,
    reconfigured: Notify,
}

/// What the checks of one server have found.
#[derive(Clone, Debug, Default)]
pub(in crate::control) struct Report {
    pub(in crate::control) passed: u64,
    pub(in crate::control) failed: u64,
    /// Checks that said nothing about the server: the host was at fault, or ringway was stopped.
    pub(in crate::control) void: u64,
    pub(in crate::control) ups: u64,
    pub(in crate::control) downs: u64,
    /// The last check that passed or failed.
    pub(in crate::control) last: Option<LastCheck>,
}

/// How one check went.
#[derive(Clone, Debug)]
pub(in crate::control) struct LastCheck {
    pub(in crate::control) at: SystemTime,
    pub(in crate::control) took: Duration,
    pub(in crate::control) passed: bool,
    /// What was seen, for people.
    pub(in crate::control) detail: String,
}

impl Checks {
    /// Has the checks compared with the registry's configuration. To be called after every reload
    /// that was applied, once the registry has the new pools.
    pub fn reconfigured(&self) {
        self.0.reconfigured.notify_one();
    }

    /// Waits for the next call of [`Self::reconfigured`], one that came meanwhile included.
    pub(super) async fn until_reconfigured(&self) {
        self.0.reconfigured.notified().await;
    }

    /// What the checks of this server have found; `None`: it has none.
    pub(in crate::control) fn report(&self, server: &Arc<Server>) -> Option<Report> {
        let reports = self.0.reports.borrow();
        reports
            .get(&Arc::as_ptr(server))
            .map(|(_, report)| report.clone())
    }

    /// Changes a server's report; the first change makes it.
    pub(super) fn update(&self, server: &Arc<Server>, change: impl FnOnce(&mut Report)) {
        let mut reports = self.0.reports.borrow_mut();
        let entry = reports.entry(Arc::as_ptr(server));
        change(
            &mut entry
                .or_insert_with(|| (Arc::downgrade(server), Report::default()))
                .1,
        );
    }

    /// Forgets a server that is no longer checked, and those that exist no more.
    pub(super) fn forget(&self, server: &Arc<Server>) {
        let mut reports = self.0.reports.borrow_mut();
        reports.remove(&Arc::as_ptr(server));
        reports.retain(|_, (server, _)| server.strong_count() > 0);
    }
}

#[cfg(test)]
impl Checks {
    /// Makes a report as if checks had run.
    pub(in crate::control) fn pretend(&self, server: &Arc<Server>) {
        self.update(server, |report| {
            report.failed = 3;
            report.downs = 1;
            report.last = Some(LastCheck {
                at: SystemTime::now(),
                took: Duration::from_millis(2),
                passed: false,
                detail: "HTTP status 503".into(),
            });
        });
    }
}
