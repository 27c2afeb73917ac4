//! What is counted and told about TLS.

use super::counter::Counter;
use super::reason::labels;

labels! {
    /// Why a TLS handshake with a client failed.
    HandshakeFailure {
        /// The client said that it does not go on, most often for the sake of a certificate.
        Alert => "alert",
        /// The client's certificate is not accepted.
        Certificate => "certificate",
        /// The client showed no certificate, and has to.
        CertificateMissing => "certificate_missing",
        /// The client went away, or broke off with a close_notify.
        CutOff => "cut_off",
        /// A record cannot be decrypted.
        Decrypt => "decrypt",
        /// ringway's fault.
        Internal => "internal",
        /// The client broke the protocol.
        Misbehaved => "misbehaved",
        /// No version, cipher suite or the like that both sides know.
        NothingInCommon => "nothing_in_common",
        /// The client speaks something else.
        NotTls => "not_tls",
        /// `tls.handshake_timeout` passed, or on the MySQL port `login_timeout`.
        Timeout => "timeout",
        /// A message longer than anyone needs.
        TooLong => "too_long",
    }
}

/// One worker's counters of handshakes that were finished, with one peer or with those of one kind.
#[derive(Debug, Default)]
pub struct HandshakeCounters {
    /// With keys agreed on anew.
    pub full: Counter,
    /// That resumed an earlier session.
    pub resumed: Counter,
}

impl HandshakeCounters {
    /// Counts one that was finished.
    #[inline]
    pub fn count(&self, resumed: bool) {
        match resumed {
            true => self.resumed.add(1),
            false => self.full.add(1),
        }
    }
}

/// One worker's counters of one listener's TLS.
#[derive(Debug, Default)]
pub struct TlsCounters {
    /// Handshakes with clients.
    pub handshakes: HandshakeCounters,
    /// Handshakes that failed, by [`HandshakeFailure`].
    failures: [Counter; HandshakeFailure::ALL.len()],
    /// Clients' and servers' connections that they ended without a `close_notify`.
    pub truncated: [Counter; 2],
}

impl TlsCounters {
    /// The counter of handshakes that failed for this reason.
    pub fn failures(&self, why: HandshakeFailure) -> &Counter {
        &self.failures[why.index()]
    }
}

/// What is told of a session's TLS, for the access log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TlsRecord {
    /// What the client agreed on; `None`: it had not finished its handshake, or that was not with
    /// ringway.
    pub agreed: Option<Box<TlsAgreement>>,
    /// The server that the client asked for.
    pub server_name: Option<Box<str>>,
    /// Why TLS failed, in words.
    pub error: Option<Box<str>>,
    /// Whether what came from the client, and from a server, ended without a `close_notify`.
    pub truncated: [bool; 2],
}

/// What a client agreed on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsAgreement {
    /// `TLSv1.2` or `TLSv1.3`.
    pub version: &'static str,
    /// The cipher suite, by its IANA name.
    pub cipher_suite: &'static str,
    /// The application protocol, where there was one.
    pub alpn: Option<String>,
    /// Whether an earlier session was resumed.
    pub resumed: bool,
    /// The subject of the client's certificate.
    pub subject: Option<String>,
}
