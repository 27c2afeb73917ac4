//! What monitors have found, where metrics and status read it.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::sync::Notify;

use crate::balance::{Pool, Role, Server};
use crate::mysql::monitor::{
    Descent, Freshness, Place, Relative, Replication, Roster, Seen, Writable, descent,
};

/// What the monitors of all pools have found, and the bell that a reload rings. Clones are the same.
#[derive(Clone, Debug, Default)]
pub struct Findings(Rc<All>);

#[derive(Debug, Default)]
struct All {
    /// By the server's address in memory, which the weak pointer keeps from being used again.
    servers: RefCell<HashMap<*const Server, (Weak<Server>, Finding)>>,
    /// By the pool's name.
    rosters: RefCell<HashMap<Arc<str>, Roster>>,
    reconfigured: Notify,
}

/// What looks at one server have found.
#[derive(Clone, Debug)]
pub(in crate::control) struct Finding {
    /// Whether it takes writes.
    pub(in crate::control) writable: Writable,
    /// How its replication does; `None`: that is not known any more, or not yet.
    pub(in crate::control) replication: Option<Replication>,
    /// Who it is and whom it follows; `None`: as with its replication.
    place: Option<Place>,
    /// Where its data comes from, as far as that was ever told; `None` for what is no replica, too.
    pub(in crate::control) descent: Option<Descent>,
    /// Whether it is read, where there is a limit to its lag.
    pub(super) freshness: Freshness,
    /// Looks that have ended, void ones aside.
    pub(super) looks: u64,
    /// Looks that have failed since the last good one.
    pub(super) failed_in_a_row: u32,
    /// Why the last look failed; `None`: it did not.
    pub(in crate::control) error: Option<String>,
}

impl Default for Finding {
    fn default() -> Self {
        Self {
            writable: Writable::Unseen,
            replication: None,
            place: None,
            descent: None,
            freshness: Freshness::default(),
            looks: 0,
            failed_in_a_row: 0,
            error: None,
        }
    }
}

impl Finding {
    /// How far behind it is, where that is known.
    pub(in crate::control) fn lag(&self) -> Option<Duration> {
        self.replication.as_ref().and_then(Replication::lag)
    }

    /// How its replication does as far as the primary is concerned; `None`: that is not known. How
    /// far a replica is behind somebody who does not follow the primary says nothing about that.
    pub(super) fn replication_of_primary(&self) -> Option<&Replication> {
        let replication = self.replication.as_ref();
        replication.filter(|_| self.descent != Some(Descent::Member))
    }

    /// Takes what a look has found. What was known before is forgotten after `fall` failures in a
    /// row. `false`: it is still what is known.
    pub(super) fn note(&mut self, look: Result<Seen, String>, fall: u32) -> bool {
        self.looks += 1;
        match look {
            Ok(seen) => {
                self.writable = match seen.is_writable {
                    true => Writable::Yes,
                    false => Writable::No,
                };
                self.replication = Some(seen.replication);
                self.place = seen.place;
                self.failed_in_a_row = 0;
                self.error = None;
                true
            }
            Err(error) => {
                self.failed_in_a_row = self.failed_in_a_row.saturating_add(1);
                self.error = Some(error);
                if self.failed_in_a_row >= fall {
                    self.writable = Writable::Unknown;
                    self.replication = None;
                    self.place = None;
                } else if self.writable == Writable::Unseen {
                    self.writable = Writable::Unreached;
                } else {
                    return false;
                }
                true
            }
        }
    }
}

impl Findings {
    /// Has the monitors compared with the registry's configuration. To be called after every reload
    /// that was applied, once the registry has the new pools.
    pub fn reconfigured(&self) {
        self.0.reconfigured.notify_one();
    }

    /// Waits for the next call of [`Self::reconfigured`], one that came meanwhile included.
    pub(super) async fn until_reconfigured(&self) {
        self.0.reconfigured.notified().await;
    }

    /// What looks at this server have found; `None`: nobody looks at it.
    pub(in crate::control) fn of(&self, server: &Arc<Server>) -> Option<Finding> {
        let servers = self.0.servers.borrow();
        servers
            .get(&Arc::as_ptr(server))
            .map(|(_, finding)| finding.clone())
    }

    /// How many servers of a pool take writes; `None`: nobody looks at them.
    pub(in crate::control) fn writable(&self, pool: &Pool) -> Option<usize> {
        let members = pool.members().iter();
        let found: Vec<_> = members
            .filter_map(|member| self.of(&member.server))
            .collect();
        let writable = found.iter().filter(|found| found.writable == Writable::Yes);
        (!found.is_empty()).then(|| writable.count())
    }

    /// Where the data of a pool's member comes from, by what is known of its servers now.
    pub(super) fn descent_in(&self, pool: &Pool, member: usize) -> Option<Descent> {
        let servers = self.0.servers.borrow();
        let relative = |server: &Arc<Server>| {
            let found = servers.get(&Arc::as_ptr(server));
            Relative {
                is_primary: server.role() == Some(Role::Primary),
                place: found.and_then(|(_, finding)| finding.place.as_ref()),
            }
        };
        let members = pool.members().iter();
        let relatives: Vec<_> = members.map(|m| relative(&m.server)).collect();
        descent(&relatives, member)
    }

    /// Changes what is known of a server; the first change makes it.
    pub(super) fn update<T>(
        &self,
        server: &Arc<Server>,
        change: impl FnOnce(&mut Finding) -> T,
    ) -> T {
        let mut servers = self.0.servers.borrow_mut();
        let entry = servers.entry(Arc::as_ptr(server));
        let new = || (Arc::downgrade(server), Finding::default());
        change(&mut entry.or_insert_with(new).1)
    }

    /// Changes what is known of a pool's roles.
    pub(super) fn update_roster<T>(
        &self,
        pool: &Arc<str>,
        change: impl FnOnce(&mut Roster) -> T,
    ) -> T {
        let mut rosters = self.0.rosters.borrow_mut();
        change(rosters.entry(Arc::clone(pool)).or_default())
    }

    /// Forgets everything about servers and pools that nobody looks at any more.
    pub(super) fn retain(&self, is_looked_at: impl Fn(*const Server) -> bool) {
        let mut servers = self.0.servers.borrow_mut();
        servers.retain(|&server, _| is_looked_at(server));
        let is_left = |pool: &Arc<str>| {
            let mut servers = servers.values();
            servers.any(|(server, _)| server.upgrade().is_some_and(|s| s.pool() == pool))
        };
        self.0.rosters.borrow_mut().retain(|pool, _| is_left(pool));
    }
}

/// Whether a replica is read, as metrics and status tell it; `None`: it is no replica.
pub(in crate::control) fn is_usable(server: &Server) -> Option<bool> {
    (server.role() == Some(Role::Replica)).then(|| !server.is_lagging())
}

#[cfg(test)]
impl Findings {
    /// Makes a finding as if a look had found a replica behind by so much.
    pub(in crate::control) fn pretend(&self, server: &Arc<Server>, lag: Duration) {
        let seen = Seen {
            is_writable: false,
            replication: Replication::Behind(lag),
            place: None,
        };
        self.update(server, |finding| {
            finding.note(Ok(seen), 1);
            finding.descent = Some(Descent::Primary);
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FALL: u32 = 3;

    fn fail(finding: &mut Finding) -> (bool, Writable) {
        let changes = finding.note(Err("no answer in time".to_owned()), FALL);
        (changes, finding.writable)
    }

    #[test]
    fn a_server_whose_first_looks_fail_is_given_up_as_late_as_any() {
        let mut finding = Finding::default();
        assert_eq!(fail(&mut finding), (true, Writable::Unreached));
        assert_eq!(fail(&mut finding), (false, Writable::Unreached));
        assert_eq!(fail(&mut finding), (true, Writable::Unknown));
    }

    #[test]
    fn what_is_known_of_a_server_is_forgotten_after_as_many_failures_in_a_row() {
        let mut finding = Finding::default();
        let seen = Seen {
            is_writable: false,
            replication: Replication::None,
            place: None,
        };
        assert!(finding.note(Ok(seen), FALL));
        for _ in 1..FALL {
            assert_eq!(fail(&mut finding), (false, Writable::No));
            assert_eq!(finding.replication, Some(Replication::None));
        }
        assert_eq!(fail(&mut finding), (true, Writable::Unknown));
        assert_eq!(finding.replication, None);
    }
}
