//! What listeners and pools are told about TLS: types that are read from `[listener.tls]` and
//! `[pool.tls]`. Files are named here, and read by the caller.

use std::path::PathBuf;
use std::time::Duration;

use rustls::CipherSuite;

use crate::config::Position;
use crate::tls::config::MinVersion;
use crate::tls::names::Rule;

/// `[listener.tls]` with a mode that is not `"off"`.
#[derive(Clone, Debug, PartialEq)]
pub struct ListenerTls {
    /// What is done with it.
    pub mode: ListenerTlsMode,
    /// From the first byte to the end of the handshake; where TLS is passed through, to the end of
    /// the ClientHello.
    pub handshake_timeout: Duration,
    /// Handshakes at a time in each worker.
    pub handshakes_max: u32,
    /// Pools by name and protocol; together they are what [`Routes`](crate::tls::names::Routes)
    /// takes. What none of them takes goes to the pool of the listener.
    pub routes: Vec<TlsRoute>,
    /// Where the table stands in the file.
    pub position: Position,
}

/// `tls.mode` of a listener.
#[derive(Clone, Debug, PartialEq)]
pub enum ListenerTlsMode {
    /// Of tcp listeners: TLS ends here.
    Terminate(TlsServer),
    /// Of tcp listeners: the ClientHello is read, and everything goes on as it came.
    Passthrough,
    /// Of mysql listeners: clients may ask for TLS.
    Preferred(TlsServer),
    /// Of mysql listeners: clients have to.
    Required(TlsServer),
}

impl ListenerTlsMode {
    /// The spelling in the configuration.
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Terminate(_) => "terminate",
            Self::Passthrough => "passthrough",
            Self::Preferred(_) => "preferred",
            Self::Required(_) => "required",
        }
    }

    /// How ringway is a server of TLS, if it is one.
    pub const fn server(&self) -> Option<&TlsServer> {
        match self {
            Self::Terminate(server) | Self::Preferred(server) | Self::Required(server) => {
                Some(server)
            }
            Self::Passthrough => None,
        }
    }
}

/// How a listener answers handshakes.
#[derive(Clone, Debug, PartialEq)]
pub struct TlsServer {
    /// The first is for clients that ask for a name that none has. None: one is to be made, which
    /// a file leaves to mysql listeners and the demo to its web one.
    pub certificates: Vec<CertificateFiles>,
    /// Versions, suites, protocols.
    pub common: TlsCommon,
    /// Whether sessions can be resumed.
    pub session_tickets: bool,
    /// Whether clients show certificates.
    pub client_certificates: ClientCertificates,
}

/// What both sides of TLS have in common.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TlsCommon {
    /// The oldest version that is spoken.
    pub min_version: MinVersion,
    /// All that there are if empty; with the version above, at least one is left.
    pub cipher_suites: Vec<CipherSuite>,
    /// Application protocols, best first; each once.
    pub alpn: Vec<String>,
}

/// A file, and where the configuration names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileAt {
    /// The file.
    pub path: PathBuf,
    /// For errors that appear when it is read.
    pub position: Position,
}

/// A certificate and what belongs to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateFiles {
    /// The certificate, its chain behind it.
    pub certificate: FileAt,
    /// Its key; the same file where the configuration names no other.
    pub key: FileAt,
    /// An OCSP response for it.
    pub ocsp: Option<FileAt>,
}

/// `tls.client_certificates`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClientCertificates {
    /// They are not asked for any.
    Off,
    /// They may; one that is shown has to be good.
    Optional(TrustFiles),
    /// They have to.
    Required(TrustFiles),
}

/// Who may have signed clients' certificates.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrustFiles {
    /// Certificates of those who may.
    pub ca: FileAt,
    /// What they have revoked.
    pub revocation_lists: Vec<FileAt>,
}

/// `[[listener.tls.route]]`.
#[derive(Clone, Debug, PartialEq)]
pub struct TlsRoute {
    /// Which connections it takes; it has a name or a protocol.
    pub rule: Rule,
    /// Index into [`Config::pools`](crate::config::Config::pools).
    pub pool: usize,
}

/// `[pool.tls]` with a mode that is not `"off"`. Which name is expected of a server stands at the
/// server.
#[derive(Clone, Debug, PartialEq)]
pub struct PoolTls {
    /// Which servers are believed.
    pub check: ServerCheck,
    /// What is shown to servers that ask.
    pub certificate: Option<CertificateFiles>,
    /// Versions, suites, protocols.
    pub common: TlsCommon,
    /// Where the table stands in the file.
    pub position: Position,
}

/// `tls.mode` of a pool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ServerCheck {
    /// Those with a certificate for their name.
    Verify {
        /// Certificates of those who may have signed it; `None`: those that the system trusts.
        ca: Option<FileAt>,
        /// What they have revoked.
        revocation_lists: Vec<FileAt>,
    },
    /// Any.
    Insecure,
}

impl ServerCheck {
    /// The spelling of the mode in the configuration.
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Verify { .. } => "verify",
            Self::Insecure => "insecure",
        }
    }
}
