//! Counters summed over the workers, for metrics and status alike.
//!
//! A worker counts "opened" before "closed". Here "closed" is read before "opened", so that what is
//! active, computed from the two, is never negative, and opened = closed + active always holds.

use crate::balance::Server;
use crate::telemetry::{
    CONNECT_TIME_BOUNDS_US, ConnectError, Counter, Direction, HandshakeCounters, HandshakeFailure,
    Histogram, HistogramSnapshot, ListenerCounters, LoginFailure, MysqlCounters, PrimaryOnly,
    Reason, RouteReason, Rung, SESSION_TIME_BOUNDS_US, STATEMENT_TIME_BOUNDS_US, Target, Who,
};
use crate::worker::Listener;

/// Sessions of a listener or a server at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Sessions {
    pub(super) opened: u64,
    pub(super) closed: u64,
}

impl Sessions {
    pub(super) fn active(self) -> u64 {
        self.opened.saturating_sub(self.closed)
    }
}

/// Bytes of one direction of a listener at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Bytes {
    pub(super) received: u64,
    pub(super) delivered: u64,
    pub(super) discarded: u64,
}

/// What all workers have counted about a listener.
#[derive(Clone, Debug)]
pub(super) struct ListenerTotals {
    pub(super) sessions: Sessions,
    /// How sessions ended, in the order of the enums.
    pub(super) closed: Vec<(Who, Reason, u64)>,
    /// By [`Direction`].
    pub(super) bytes: [Bytes; 2],
    /// Why bytes were discarded, in the order of the enums.
    pub(super) discarded: Vec<(Direction, Reason, u64)>,
    pub(super) session_time_us: HistogramSnapshot,
}

impl ListenerTotals {
    pub(super) fn of(listener: &Listener) -> Self {
        let mut closed: Vec<_> = endings().map(|(who, reason)| (who, reason, 0)).collect();
        let mut discarded: Vec<_> = discards().collect();
        let mut totals = Self {
            sessions: Sessions::default(),
            closed: Vec::new(),
            bytes: Default::default(),
            discarded: Vec::new(),
            session_time_us: Histogram::new(&SESSION_TIME_BOUNDS_US).snapshot(),
        };
        for worker in listener.all_counters() {
            for (who, reason, sessions) in &mut closed {
                let ended = worker.closed(*who, *reason).get();
                *sessions += ended;
                totals.sessions.closed += ended;
            }
            totals.sessions.opened += worker.opened.get();
            for direction in Direction::ALL {
                let counted = &worker.bytes[direction.index()];
                let bytes = &mut totals.bytes[direction.index()];
                bytes.delivered += counted.sent.get();
                bytes.received += counted.received.get();
            }
            for (direction, reason, bytes) in &mut discarded {
                let counted = &worker.bytes[direction.index()];
                let lost = counted.discarded(*reason).get();
                *bytes += lost;
                totals.bytes[direction.index()].discarded += lost;
            }
            totals
                .session_time_us
                .merge(&worker.session_time_us.snapshot());
        }
        Self {
            closed,
            discarded,
            ..totals
        }
    }
}

fn discards() -> impl Iterator<Item = (Direction, Reason, u64)> {
    let reasons = |&direction| {
        Reason::ALL
            .iter()
            .map(move |&reason| (direction, reason, 0))
    };
    Direction::ALL.iter().flat_map(reasons)
}

fn endings() -> impl Iterator<Item = (Who, Reason)> {
    let reasons = |&who| Reason::ALL.iter().map(move |&reason| (who, reason));
    Who::ALL.iter().flat_map(reasons)
}

/// What all workers have counted about a listener's MySQL sessions, in the order of the enums. What
/// has not happened is left out: most of what could happen never does.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct MysqlTotals {
    pub(super) statements: Vec<(Target, RouteReason, u64)>,
    pub(super) logins: Vec<(Rung, u64)>,
    pub(super) primary_only: Vec<(PrimaryOnly, u64)>,
    pub(super) login_failures: Vec<(LoginFailure, u64)>,
    /// Sessions that are kept on the primary now.
    pub(super) pinned: Vec<(RouteReason, u64)>,
    pub(super) replays: u64,
    pub(super) detached_replicas: u64,
    pub(super) gtid_timeouts: u64,
}

impl MysqlTotals {
    pub(super) fn of(listener: &Listener) -> Self {
        let sum = |counter: fn(&MysqlCounters) -> &Counter| -> u64 {
            let workers = listener.all_counters();
            workers.map(|worker| counter(&worker.mysql).get()).sum()
        };
        let mut statements = Vec::new();
        for &target in Target::ALL {
            let happened = happened(listener, RouteReason::ALL, |counters, reason| {
                counters.mysql.statements(target, reason)
            });
            let happened = happened.into_iter();
            statements.extend(happened.map(|(reason, count)| (target, reason, count)));
        }
        Self {
            statements,
            logins: happened(listener, Rung::ALL, |c, rung| c.mysql.logins(rung)),
            primary_only: happened(listener, PrimaryOnly::ALL, |c, why| {
                c.mysql.primary_only(why)
            }),
            login_failures: happened(listener, LoginFailure::ALL, |c, why| {
                c.mysql.login_failures(why)
            }),
            pinned: happened(listener, RouteReason::ALL, |c, why| c.mysql.pinned(why)),
            replays: sum(|mysql| &mysql.replays),
            detached_replicas: sum(|mysql| &mysql.detached_replicas),
            gtid_timeouts: sum(|mysql| &mysql.gtid_timeouts),
        }
    }
}

/// Handshakes that were finished.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Handshakes {
    pub(super) full: u64,
    pub(super) resumed: u64,
}

impl Handshakes {
    fn sum<'a>(workers: impl Iterator<Item = &'a HandshakeCounters>) -> Self {
        let mut sum = Self::default();
        for worker in workers {
            sum.full += worker.full.get();
            sum.resumed += worker.resumed.get();
        }
        sum
    }

    /// By how they came about, as metrics call that.
    pub(super) fn by_kind(self) -> [(&'static str, u64); 2] {
        [("full", self.full), ("resumed", self.resumed)]
    }
}

/// What all workers have counted about a listener's TLS.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct TlsTotals {
    pub(super) handshakes: Handshakes,
    /// Those that have happened, in the order of the enum.
    pub(super) failures: Vec<(HandshakeFailure, u64)>,
    /// By [`Direction`].
    pub(super) truncated: [u64; 2],
}

impl TlsTotals {
    pub(super) fn of(listener: &Listener) -> Self {
        let workers = listener.all_counters();
        let mut totals = Self {
            handshakes: Handshakes::sum(workers.map(|worker| &worker.tls.handshakes)),
            failures: happened(listener, HandshakeFailure::ALL, |c, why| {
                c.tls.failures(why)
            }),
            ..Self::default()
        };
        for worker in listener.all_counters() {
            for direction in Direction::ALL.iter().map(|direction| direction.index()) {
                totals.truncated[direction] += worker.tls.truncated[direction].get();
            }
        }
        totals
    }
}

/// The counts of labels, over all workers, that are not zero.
fn happened<L: Copy>(
    listener: &Listener,
    labels: &[L],
    counter: impl Fn(&ListenerCounters, L) -> &Counter,
) -> Vec<(L, u64)> {
    let counts = labels.iter().map(|&label| {
        let workers = listener.all_counters();
        let counts = workers.map(|worker| counter(worker, label).get());
        (label, counts.sum())
    });
    counts.filter(|&(_, count)| count > 0).collect()
}

/// What all workers have counted about a server.
#[derive(Clone, Debug)]
pub(super) struct ServerTotals {
    pub(super) sessions: Sessions,
    /// By [`Direction`].
    pub(super) bytes: [u64; 2],
    pub(super) connect_failures: Vec<(ConnectError, u64)>,
    pub(super) retries: u64,
    pub(super) tls_handshakes: Handshakes,
    pub(super) tls_preupgrade_bytes: u64,
    pub(super) connect_time_us: HistogramSnapshot,
    pub(super) statement_time_us: HistogramSnapshot,
}

impl ServerTotals {
    pub(super) fn of(server: &Server) -> Self {
        let sum = |counter: fn(&crate::telemetry::ServerCounters) -> &Counter| -> u64 {
            server
                .all_counters()
                .map(|worker| counter(worker).get())
                .sum()
        };
        // In this order: see the module's documentation.
        let closed = sum(|worker| &worker.closed);
        let opened = sum(|worker| &worker.opened);
        let failures = |&error: &ConnectError| {
            let workers = server.all_counters();
            (
                error,
                workers
                    .map(|worker| worker.connect_failures(error).get())
                    .sum(),
            )
        };
        let mut connect_time_us = Histogram::new(&CONNECT_TIME_BOUNDS_US).snapshot();
        let mut statement_time_us = Histogram::new(&STATEMENT_TIME_BOUNDS_US).snapshot();
        for worker in server.all_counters() {
            connect_time_us.merge(&worker.connect_time_us.snapshot());
            statement_time_us.merge(&worker.statement_time_us.snapshot());
        }
        Self {
            sessions: Sessions { opened, closed },
            bytes: [
                sum(|worker| &worker.bytes[0]),
                sum(|worker| &worker.bytes[1]),
            ],
            connect_failures: ConnectError::ALL.iter().map(failures).collect(),
            retries: sum(|worker| &worker.retries),
            tls_handshakes: Handshakes::sum(
                server.all_counters().map(|worker| &worker.tls_handshakes),
            ),
            tls_preupgrade_bytes: sum(|worker| &worker.tls_preupgrade_bytes),
            connect_time_us,
            statement_time_us,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sessions_of_all_workers_are_summed_and_active_is_the_difference() {
        let listener = Listener::new("web", u32::MAX, 2);
        listener.counters(0).opened.add(5);
        listener.counters(1).opened.add(2);
        listener
            .counters(1)
            .closed(Who::Client, Reason::Finished)
            .add(1);
        listener
            .counters(0)
            .closed(Who::Ringway, Reason::IdleTimeout)
            .add(3);
        let totals = ListenerTotals::of(&listener);
        assert_eq!(
            totals.sessions,
            Sessions {
                opened: 7,
                closed: 4
            }
        );
        assert_eq!(totals.sessions.active(), 3);
        let ended: u64 = totals.closed.iter().map(|&(_, _, sessions)| sessions).sum();
        assert_eq!(ended, 4);
    }

    #[test]
    fn mysql_counts_of_all_workers_are_summed_and_what_did_not_happen_is_left_out() {
        let listener = Listener::new("mysql", u32::MAX, 2);
        assert_eq!(MysqlTotals::of(&listener), MysqlTotals::default());
        let [one, two] = [0, 1].map(|worker| &listener.counters(worker).mysql);
        one.statements(Target::Replica, RouteReason::PlainRead)
            .add(5);
        two.statements(Target::Replica, RouteReason::PlainRead)
            .add(2);
        two.statements(Target::Primary, RouteReason::Write).add(1);
        one.logins(Rung::Relay).add(1);
        two.login_failures(LoginFailure::ClientLeft).add(1);
        one.pinned(RouteReason::TemporaryTable).add(2);
        one.pinned(RouteReason::TemporaryTable).subtract(1);
        two.pinned(RouteReason::Xa).add(1);
        two.pinned(RouteReason::Xa).subtract(1);
        one.replays.add(3);
        let totals = MysqlTotals::of(&listener);
        assert_eq!(
            totals.statements,
            [
                (Target::Primary, RouteReason::Write, 1),
                (Target::Replica, RouteReason::PlainRead, 7)
            ]
        );
        assert_eq!(totals.logins, [(Rung::Relay, 1)]);
        assert_eq!(totals.login_failures, [(LoginFailure::ClientLeft, 1)]);
        assert_eq!(totals.pinned, [(RouteReason::TemporaryTable, 1)]);
        assert_eq!((totals.replays, totals.gtid_timeouts), (3, 0));
    }
}
