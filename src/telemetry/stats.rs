//! The counters of one worker: its own, per listener and per server. The control thread sums them
//! over the workers when somebody asks.

use super::counter::{Counter, Histogram};
use super::mysql::MysqlCounters;
use super::reason::{ConnectError, Reason, Who};
use super::tls::{HandshakeCounters, TlsCounters};

/// Upper bounds of the connect-time histogram, in microseconds: from a neighbour on the same host
/// to the longest timeout anyone sets.
pub static CONNECT_TIME_BOUNDS_US: [u64; 14] = [
    100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000,
    1_000_000, 5_000_000,
];

/// Upper bounds of the session-time histogram, in microseconds: from one request to a day.
pub static SESSION_TIME_BOUNDS_US: [u64; 14] = [
    1_000,
    5_000,
    10_000,
    50_000,
    100_000,
    500_000,
    1_000_000,
    5_000_000,
    10_000_000,
    60_000_000,
    300_000_000,
    3_600_000_000,
    28_800_000_000,
    86_400_000_000,
];

/// Upper bounds of the statement-time histogram, in microseconds: from a row that the server has at
/// hand to the longest that an application waits for.
pub static STATEMENT_TIME_BOUNDS_US: [u64; 19] = [
    50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000,
    1_000_000, 2_500_000, 5_000_000, 10_000_000, 30_000_000, 60_000_000,
];

/// Bytes of one direction of one listener. At rest, `received = sent + discarded`.
#[derive(Debug)]
pub struct ByteCounters {
    /// Taken from the source.
    pub received: Counter,
    /// Handed to the kernel for the destination.
    pub sent: Counter,
    /// Received, and never sent, by the [`Reason`] for which the session ended.
    discarded: [Counter; Reason::ALL.len()],
}

impl Default for ByteCounters {
    fn default() -> Self {
        Self {
            received: Counter::default(),
            sent: Counter::default(),
            discarded: std::array::from_fn(|_| Counter::default()),
        }
    }
}

impl ByteCounters {
    /// The counter of bytes that were received and never sent because a session ended this way.
    pub fn discarded(&self, reason: Reason) -> &Counter {
        &self.discarded[reason.index()]
    }
}

/// One worker's counters of one listener.
#[derive(Debug)]
pub struct ListenerCounters {
    /// Sessions taken.
    pub opened: Counter,
    /// Sessions ended, by [`Who`] and [`Reason`].
    closed: [[Counter; Reason::ALL.len()]; Who::ALL.len()],
    /// By [`Direction`](super::Direction).
    pub bytes: [ByteCounters; 2],
    /// From accept to the last close, in microseconds.
    pub session_time_us: Histogram<14>,
    /// Of its MySQL sessions; nothing where it has none.
    pub mysql: MysqlCounters,
    /// Of its TLS; nothing where it has none.
    pub tls: TlsCounters,
}

impl Default for ListenerCounters {
    fn default() -> Self {
        Self {
            opened: Counter::default(),
            closed: std::array::from_fn(|_| std::array::from_fn(|_| Counter::default())),
            bytes: Default::default(),
            session_time_us: Histogram::new(&SESSION_TIME_BOUNDS_US),
            mysql: MysqlCounters::default(),
            tls: TlsCounters::default(),
        }
    }
}

impl ListenerCounters {
    /// The counter of sessions that ended this way.
    pub fn closed(&self, who: Who, reason: Reason) -> &Counter {
        &self.closed[who.index()][reason.index()]
    }

    /// All sessions that ended.
    pub fn closed_total(&self) -> u64 {
        self.closed.iter().flatten().map(Counter::get).sum()
    }
}

/// One worker's counters of one server.
#[derive(Debug)]
pub struct ServerCounters {
    /// Sessions that reached it.
    pub opened: Counter,
    /// Sessions of these that ended.
    pub closed: Counter,
    /// Bytes delivered to it, and bytes of it that were delivered, by
    /// [`Direction`](super::Direction).
    pub bytes: [Counter; 2],
    /// Tries that failed, by [`ConnectError`].
    connect_failures: [Counter; ConnectError::ALL.len()],
    /// Tries made here because another server had failed for that session.
    pub retries: Counter,
    /// TLS handshakes with it, for sessions.
    pub tls_handshakes: HandshakeCounters,
    /// Bytes that it sent behind its greeting before there was TLS, which nobody has heard.
    pub tls_preupgrade_bytes: Counter,
    /// Of successful tries, in microseconds.
    pub connect_time_us: Histogram<14>,
    /// Of SQL statements that it answered, from the command to the end of the reply, in
    /// microseconds.
    pub statement_time_us: Histogram<19>,
}

impl Default for ServerCounters {
    fn default() -> Self {
        Self {
            opened: Counter::default(),
            closed: Counter::default(),
            bytes: Default::default(),
            connect_failures: std::array::from_fn(|_| Counter::default()),
            retries: Counter::default(),
            tls_handshakes: HandshakeCounters::default(),
            tls_preupgrade_bytes: Counter::default(),
            connect_time_us: Histogram::new(&CONNECT_TIME_BOUNDS_US),
            statement_time_us: Histogram::new(&STATEMENT_TIME_BOUNDS_US),
        }
    }
}

impl ServerCounters {
    /// The counter of tries that failed this way.
    pub fn connect_failures(&self, error: ConnectError) -> &Counter {
        &self.connect_failures[error.index()]
    }
}

/// One worker's counters of itself.
#[derive(Debug, Default)]
pub struct WorkerCounters {
    /// Times around the loop: one `io_uring_enter` each.
    pub turns: Counter,
    /// Completions handled.
    pub completions: Counter,
    /// Operations whose last completion is still to come (a gauge).
    pub operations_in_flight: Counter,
    /// Sessions this worker has (a gauge).
    pub sessions: Counter,
    /// Microseconds that the next turn waits for several completions at most (a gauge).
    pub coalescing_us: Counter,
    /// Bytes that went through a buffer.
    pub copy_bytes: Counter,
    /// Bytes that went through a pipe.
    pub splice_bytes: Counter,
    /// Receives that found the buffer pool empty and were armed again later.
    pub buffers_exhausted: Counter,
    /// Times the kernel had to keep completions aside because the queue was full.
    pub completion_overflows: Counter,
    /// Completions for a session that had ended: none is expected.
    pub stale_completions: Counter,
    /// Times accepting paused because descriptors or memory had run out.
    pub accept_pauses: Counter,
    /// Access-log records dropped because the writer could not keep up.
    pub access_records_dropped: Counter,
    /// Statement-log records dropped because the writer could not keep up.
    pub statement_records_dropped: Counter,
    /// Milliseconds since the process's start at the last turn, for liveness (a gauge).
    pub last_turn_ms: Counter,
}
