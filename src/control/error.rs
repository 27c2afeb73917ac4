//! Why the process could not start, or had to stop.

use std::io;

use super::capacity::TooFewDescriptors;
use super::listen::ListenError;
use crate::config::Errors;
use crate::worker::RingUnavailable;

/// Why ringway does not run. `Display` says what, where and how to fix it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The configuration cannot be used on this host: names that do not resolve.
    #[error(transparent)]
    Config(#[from] Errors),
    /// The descriptor limit leaves no room for sessions.
    #[error(transparent)]
    Descriptors(#[from] TooFewDescriptors),
    /// The kernel lacks what workers need, or denies it.
    #[error(transparent)]
    Kernel(#[from] RingUnavailable),
    /// An address cannot be listened on.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// A file, or a socket other than a listener's, cannot be opened.
    #[error("{what}: {cause}")]
    Open {
        /// What was to be opened.
        what: String,
        /// Why it cannot be.
        cause: io::Error,
    },
    /// Something that is not expected to fail did.
    #[error("{what}: {cause}")]
    Internal {
        /// What was tried.
        what: &'static str,
        /// Why it failed.
        cause: io::Error,
    },
    /// A worker thread ended that was not told to.
    #[error("worker {0} has ended unexpectedly: ringway stops, because its connections would hang")]
    WorkerEnded(usize),
}

impl Error {
    /// For `map_err`: something that is not expected to fail did.
    pub(super) fn internal<E: Into<io::Error>>(what: &'static str) -> impl FnOnce(E) -> Self {
        move |cause| Self::Internal {
            what,
            cause: cause.into(),
        }
    }
}
