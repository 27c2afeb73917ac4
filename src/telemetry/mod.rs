//! What happened, as plain data: counters that workers write and the control thread reads, the
//! reasons a session can end for, and the records that become log lines.
//!
//! Nothing here formats, allocates after start, or knows how it will be shown.

mod counter;
mod mysql;
mod reason;
mod record;
mod stats;
mod tls;

pub use counter::{Counter, Histogram, HistogramSnapshot};
pub use mysql::{LoginFailure, MysqlCounters, PrimaryOnly, Rung, Target};
pub use reason::{ConnectError, Direction, Phase, Reason, RouteReason, Who};
pub use record::{Notice, SessionRecord};
pub use stats::{
    CONNECT_TIME_BOUNDS_US, ListenerCounters, SESSION_TIME_BOUNDS_US, STATEMENT_TIME_BOUNDS_US,
    ServerCounters, WorkerCounters,
};
pub use tls::{HandshakeCounters, HandshakeFailure, TlsAgreement, TlsCounters, TlsRecord};
