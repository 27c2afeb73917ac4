//! `[listener.tls]`, `[pool.tls]` and what stands below them.

mod model;
mod read;
mod route;

pub use model::{
    CertificateFiles, ClientCertificates, FileAt, ListenerTls, ListenerTlsMode, PoolTls,
    ServerCheck, TlsCommon, TlsRoute, TlsServer, TrustFiles,
};
pub(super) use read::{PoolTlsTable, TlsTables, read_listener_tls};
