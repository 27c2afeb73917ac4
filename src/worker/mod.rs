//! The data plane: threads that accept, connect and relay, each with its own io_uring.
//!
//! A worker never takes a lock, never blocks but in its ring, and allocates nothing per byte.
//! Everything it asks of the kernel goes through one trait, so the same worker runs on a real ring
//! and in a simulator.

#![allow(unsafe_code)]

mod accept;
mod buffers;
mod close;
mod coalesce;
mod connect;
mod event_loop;
mod gate;
mod kernel;
mod leg;
mod mysql;
mod pipes;
mod pump;
mod records;
mod ring;
mod route;
mod session;
mod shared;
#[cfg(any(test, feature = "fuzzing"))]
pub mod sim;
mod slab;
mod snapshot;
mod timeouts;
mod timer;
mod tls;
mod token;
mod wipe;

use std::io;
use std::os::fd::AsRawFd;
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;

use self::event_loop::Worker;
use self::kernel::Fd;
use self::ring::{Share, Uring};
use crate::limits::BUFFERS_PER_SESSION;
use crate::sys;

pub use self::gate::Gate;
pub(crate) use self::kernel::Pipe;
pub use self::records::{Records, StatementRecord};
pub use self::shared::{Command, KillAtReplica, KillOrder, Mailbox, Notices, Shared, StopReason};
pub use self::snapshot::{
    Destination, Listener, ListeningSocket, MysqlRoute, MysqlSettings, Route, RouteTls, Snapshot,
    Unauthenticated,
};

/// What the kernel's io_uring can do beyond what ringway needs; found by [`probe`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Features {
    /// `IORING_SETUP_NO_SQARRAY` (Linux 6.6).
    pub no_sqarray: bool,
    /// `IORING_ENTER_NO_IOWAIT` (Linux 6.15).
    pub no_iowait: bool,
    /// `IORING_FEAT_MIN_TIMEOUT` (Linux 6.12): a wait for several completions that is content with
    /// one after a while.
    pub min_timeout: bool,
    /// A total limit on a multishot receive, in `sqe.optlen` (Linux 6.17).
    pub capped_multishot: bool,
}

/// Why this host cannot run ringway's workers. `Display` says it in one sentence, with the fix.
#[derive(Debug, thiserror::Error)]
pub enum RingUnavailable {
    /// `io_uring_setup` is refused: the sysctl, or a seccomp profile.
    #[error("{0}")]
    Denied(String),
    /// The kernel is older than 6.1 or lacks an operation.
    #[error("{0}")]
    TooOld(String),
    /// Another error.
    #[error("io_uring cannot be set up: {0}")]
    Other(#[from] io::Error),
}

/// What one worker thread is started with.
#[derive(Clone, Copy, Debug)]
pub struct Placement {
    /// Its index, from 0.
    pub index: usize,
    /// The CPU it is pinned to.
    pub cpu: Option<usize>,
    /// Sessions its slab can hold.
    pub sessions_max: u32,
    /// Pipes it may have at a time.
    pub pipes_max: usize,
    /// What the kernel can do.
    pub features: Features,
}

/// Tries a ring with everything a worker needs.
///
/// # Errors
/// [`RingUnavailable`], for exit code 78.
pub fn probe() -> Result<Features, RingUnavailable> {
    ring::probing::features()
}

/// Starts a worker thread and waits until its ring is set up and it accepts. The thread ends by
/// itself after [`Command::Drain`] or [`Command::Stop`].
///
/// # Errors
/// When the thread or its ring cannot be made.
pub fn spawn(shared: &Arc<Shared>, placement: Placement) -> io::Result<JoinHandle<()>> {
    let shared = Arc::clone(shared);
    let (ready, started) = mpsc::sync_channel(1);
    let thread = std::thread::Builder::new().name(format!("worker-{}", placement.index));
    let handle = thread.spawn(move || match start(shared, placement) {
        Ok(mut worker) => {
            let _ = ready.send(Ok(()));
            if let Err(error) = worker.run() {
                // Sessions cannot be served, or even ended, without a ring.
                panic!(
                    "worker {}: the ring is beyond repair: {error}",
                    placement.index
                );
            }
        }
        Err(error) => {
            let _ = ready.send(Err(error));
        }
    })?;
    match started.recv() {
        Ok(Ok(())) => Ok(handle),
        Ok(Err(error)) => Err(error),
        Err(_) => Err(io::Error::other(
            "the worker's thread ended while it started",
        )),
    }
}

fn start(shared: Arc<Shared>, placement: Placement) -> io::Result<Worker<Uring>> {
    if let Some(cpu) = placement.cpu {
        sys::pin_to_cpu(cpu)?;
    }
    let wake = shared.workers()[placement.index].eventfd().as_raw_fd();
    let share = Share {
        buffers: (placement.sessions_max as usize).saturating_mul(BUFFERS_PER_SESSION),
        pipes: placement.pipes_max,
    };
    let uring = Uring::new(placement.features, share, shared.epoch, wake)?;
    Ok(Worker::new(
        uring,
        shared,
        placement.index,
        placement.sessions_max,
        Fd(wake),
    ))
}
