//! Counters summed over the workers, for metrics and status alike.
//!
//! A worker counts "opened" before "closed". Here "closed" is read before "opened", so that what is
//! active, computed from the two, is never negative, and opened = closed + active always holds.

use crate::balance::Server;
use crate::telemetry::{
    CONNECT_TIME_BOUNDS_US, ConnectError, Counter, Direction, Histogram, HistogramSnapshot, Reason,
    SESSION_TIME_BOUNDS_US, Who,
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

/// What all workers have counted about a server.
#[derive(Clone, Debug)]
pub(super) struct ServerTotals {
    pub(super) sessions: Sessions,
    /// By [`Direction`].
    pub(super) bytes: [u64; 2],
    pub(super) connect_failures: Vec<(ConnectError, u64)>,
    pub(super) retries: u64,
    pub(super) connect_time_us: HistogramSnapshot,
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
        for worker in server.all_counters() {
            connect_time_us.merge(&worker.connect_time_us.snapshot());
        }
        Self {
            sessions: Sessions { opened, closed },
            bytes: [
                sum(|worker| &worker.bytes[0]),
                sum(|worker| &worker.bytes[1]),
            ],
            connect_failures: ConnectError::ALL.iter().map(failures).collect(),
            retries: sum(|worker| &worker.retries),
            connect_time_us,
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
}
