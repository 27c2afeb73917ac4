//! The configuration: TOML text in, a [`Config`] out, or every error of the file at once.
//!
//! [`load()`] and [`parse`] read a file, [`Config::resolve`] looks its host names up,
//! [`Config::secrets`] has the passwords read that it names, and [`diff()`] says what a reload
//! changes. A [`Config`] that exists is valid: nothing after this module checks a name, a bound or
//! an address again.
//!
//! The tables are walked by a reader of our own that records what is wrong and goes on. serde's
//! derive stops at the first error, and an operator who has to correct five of them does not want
//! to be told of one at a time, at each try, while the old configuration runs.
//!
//! Nothing here opens a socket or asks the clock; resolving names and reading passwords is the
//! caller's.

mod address;
mod bounds;
mod diagnostic;
mod diff;
mod duration;
mod file;
#[cfg(any(test, feature = "fuzzing"))]
pub mod fuzzing;
mod listening;
mod load;
mod model;
mod mysql;
mod pool;
mod reader;
mod resolve;
mod schema;
mod secrets;
mod settings;
mod source;
mod syntax;
#[cfg(test)]
mod tests;
mod tls;
mod usage;
mod value;

pub use address::Address;
pub use diagnostic::{Diagnostic, Errors, Severity};
pub use diff::{
    Difference, ListenerChange, PoolChange, ServerChange, ServerId, SettingChange, UserChange, diff,
};
pub use duration::format_duration;
pub use load::{LoadError, load, parse};
pub use model::*;
pub use mysql::{
    MysqlMonitor, MysqlPool, MysqlUser, ReadAfterWrite, Role, Roles, SecretSource, UserSecret,
};
pub use secrets::PoolSecrets;
pub use source::Excerpt;
pub use tls::{
    CertificateFiles, ClientCertificates, FileAt, ListenerTls, ListenerTlsMode, PoolTls,
    ServerCheck, TlsCommon, TlsRoute, TlsServer, TrustFiles,
};
