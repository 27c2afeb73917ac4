//! Signals, read from a descriptor. They stay blocked in every thread of the process, so no system
//! call of a worker is ever interrupted by one, and none is lost before somebody looks.

use std::io;
use std::os::fd::OwnedFd;

use nix::sys::signal::{SigSet, Signal as UnixSignal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use tokio::io::unix::AsyncFd;

use super::Error;
use crate::sys;

/// What a signal asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Signal {
    /// SIGHUP.
    Reload,
    /// SIGTERM or SIGINT: which one, for the log.
    Shutdown(&'static str),
}

impl Signal {
    fn from_number(number: u32) -> Self {
        match i32::try_from(number).map(UnixSignal::try_from) {
            Ok(Ok(UnixSignal::SIGHUP)) => Self::Reload,
            Ok(Ok(UnixSignal::SIGINT)) => Self::Shutdown("SIGINT"),
            _ => Self::Shutdown("SIGTERM"),
        }
    }
}

/// The signals that ringway acts on.
#[derive(Debug)]
pub(super) struct Signals {
    descriptor: SignalFd,
    ready: AsyncFd<OwnedFd>,
}

/// Blocks the signals that ringway acts on, in this thread and in those it makes from now on. A
/// thread made earlier would die of them; so this comes first in a process that will serve.
///
/// # Errors
/// Not expected: pthread_sigmask(3).
pub fn block() -> Result<(), Error> {
    let blocked = handled().thread_block();
    blocked.map_err(Error::internal("cannot block signals"))
}

/// Blocks SIGHUP alone, likewise. It is for a process that reads its configuration, which may take
/// as long as its resolver does: a reload that is asked for meanwhile is done once it serves, and
/// the other signals end it at once.
///
/// # Errors
/// Not expected: pthread_sigmask(3).
pub fn hold_reloads() -> Result<(), Error> {
    let blocked = SigSet::from(UnixSignal::SIGHUP).thread_block();
    blocked.map_err(Error::internal("cannot block SIGHUP"))
}

fn handled() -> SigSet {
    [UnixSignal::SIGHUP, UnixSignal::SIGTERM, UnixSignal::SIGINT]
        .into_iter()
        .collect()
}

impl Signals {
    /// Opens the descriptor, on a tokio runtime. Signals have to be [blocked](block).
    pub(super) fn new() -> Result<Self, Error> {
        let flags = SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC;
        let descriptor = SignalFd::with_flags(&handled(), flags).map_err(failed)?;
        let ready = sys::readiness(&descriptor).map_err(failed)?;
        Ok(Self { descriptor, ready })
    }

    /// The next signal. Several of one kind that came meanwhile are one: signal(7).
    pub(super) async fn next(&self) -> Result<Signal, Error> {
        loop {
            let mut ready = self.ready.readable().await.map_err(failed)?;
            match self.descriptor.read_signal().map_err(failed)? {
                Some(info) => return Ok(Signal::from_number(info.ssi_signo)),
                None => ready.clear_ready(),
            }
        }
    }
}

fn failed<E: Into<io::Error>>(cause: E) -> Error {
    Error::internal("cannot wait for signals")(cause)
}
