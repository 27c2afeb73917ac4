//! What workers tell the control thread: one record per session for the access log, and notices of
//! rare events for the process's log. Plain data, sent through bounded queues.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::SystemTime;

use super::reason::{ConnectError, Phase, Reason, Who};
use super::tls::TlsRecord;
use crate::balance::Server;
use crate::mysql::handshake::NoTls;
use crate::tls::session::Failure;

/// One session, told when it is over.
#[derive(Clone, Debug)]
pub struct SessionRecord {
    /// When the client's connection was accepted.
    pub accepted_at: SystemTime,
    /// The listener's name.
    pub listener: Arc<str>,
    /// The client; `None` for a unix socket, or when the client was gone before it could be asked.
    pub client: Option<SocketAddr>,
    /// The last server that was tried, if any was.
    pub server: Option<Arc<Server>>,
    /// Bytes delivered to the server and to the client.
    pub bytes_sent: [u64; 2],
    /// Bytes received from the client and from the server.
    pub bytes_received: [u64; 2],
    /// From the first try to the server's answer, in microseconds; `None`: no server answered.
    pub connect_us: Option<u64>,
    /// From accept to the last close, in microseconds.
    pub duration_us: u64,
    /// Servers tried.
    pub tries: u8,
    /// Who ended it.
    pub who: Who,
    /// How far it had come.
    pub phase: Phase,
    /// Why it ended.
    pub reason: Reason,
    /// The configuration generation that accepted it.
    pub generation: u64,
    /// What there is to tell of TLS; `None`: there is none with its client or its server.
    pub tls: Option<Box<TlsRecord>>,
}

/// Something rare that belongs in the process's log.
#[derive(Clone, Debug)]
pub enum Notice {
    /// A server reached `max_fails` and is left alone for its pool's `fail_timeout`.
    ServerFailing {
        /// Which one.
        server: Arc<Server>,
        /// What its last failure was.
        error: ConnectError,
    },
    /// A server that was left alone took a connection again.
    ServerRecovered {
        /// Which one.
        server: Arc<Server>,
    },
    /// Accepting pauses: descriptors or kernel memory have run out.
    AcceptPaused {
        /// The listener's name.
        listener: Arc<str>,
        /// The operating system's error number.
        errno: i32,
    },
    /// The host has no source port left towards a server.
    OutOfPorts {
        /// Towards which one.
        server: Arc<Server>,
    },
    /// A TLS handshake with a server failed.
    ServerTls {
        /// With which one.
        server: Arc<Server>,
        /// What was wrong.
        failure: Box<Failure>,
    },
    /// A MySQL server that is to be spoken to over TLS does not even get to a handshake.
    ServerWithoutTls {
        /// Which one.
        server: Arc<Server>,
        /// Why.
        why: NoTls,
    },
    /// As many clients of a worker are in their TLS handshake as may be; others wait for their turn.
    HandshakesReached {
        /// The listener's name.
        listener: Arc<str>,
    },
    /// A limit on sessions was reached; clients wait in the kernel's backlog.
    LimitReached {
        /// The listener's name.
        listener: Arc<str>,
    },
}
