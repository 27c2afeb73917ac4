//! What workers share with the control thread, and how each reaches the other.
//!
//! Towards workers: the snapshot, a generation number they look at once per turn, an inbox each
//! and an eventfd that wakes a parked one. Towards the control thread: counters, a bounded queue
//! of notices with an eventfd, and bounded queues of what logs tell, each with a thread to unpark.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use arc_swap::ArcSwap;
use crossbeam::queue::{ArrayQueue, SegQueue};
use crossbeam::utils::CachePadded;
use nix::sys::eventfd::{EfdFlags, EventFd};

use super::gate::Gate;
use super::records::{Records, StatementRecord};
use super::snapshot::Snapshot;
use crate::balance::Server;
use crate::limits::{ACCESS_RECORDS, NOTICES, STATEMENT_RECORDS};
use crate::telemetry::{Notice, SessionRecord, WorkerCounters};

/// A rare order to one worker.
#[derive(Clone, Debug)]
pub enum Command {
    /// Stop accepting, serve what was accepted, end when the last session has ended.
    Drain,
    /// End every session now, for this reason, then end.
    Stop(StopReason),
    /// End the MySQL session that a `KILL` meant, or what it runs.
    Kill(KillOrder),
    /// End what a killed session runs at a replica.
    KillAtReplica(KillAtReplica),
}

/// Whom a `KILL` meant that a primary has done.
#[derive(Clone, Debug)]
pub struct KillOrder {
    /// The primary.
    pub(super) primary: Arc<Server>,
    /// The session's thread id there, by which its client knows it.
    pub(super) thread_id: u32,
    /// Only the statement that it runs.
    pub(super) query_only: bool,
    /// The worker of the session that said `KILL`.
    pub(super) killer_worker: usize,
    /// That session, as a token.
    pub(super) killer: u64,
}

/// What is to be ended at a replica, through the connection of the session that said `KILL`.
#[derive(Clone, Debug)]
pub struct KillAtReplica {
    /// That session, as a token.
    pub(super) killer: u64,
    /// The replica.
    pub(super) replica: Arc<Server>,
    /// The killed session's thread id there.
    pub(super) thread_id: u32,
}

/// Why sessions are ended by [`Command::Stop`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StopReason {
    /// `drain_timeout` has passed.
    DrainTimeout,
    /// A second signal.
    Signal,
}

/// Shared by all threads of the process.
#[derive(Debug)]
pub struct Shared {
    /// Time zero of every `_ms` and `_us` value.
    pub epoch: Instant,
    /// The limit on sessions in total.
    pub total: Gate,
    /// Sessions of the process's lifetime end up here, for the access log.
    pub records: Records<SessionRecord>,
    /// Statements of MySQL sessions, for the statement log.
    pub statements: Records<StatementRecord>,
    /// Rare events on their way to the log.
    pub notices: Notices,
    generation: CachePadded<AtomicU64>,
    snapshot: ArcSwap<Snapshot>,
    workers: Box<[Mailbox]>,
}

/// One worker, seen from outside.
#[derive(Debug)]
pub struct Mailbox {
    /// What the worker counts about itself.
    pub counters: CachePadded<WorkerCounters>,
    inbox: SegQueue<Command>,
    wake: EventFd,
}

impl Shared {
    /// The shared state of `workers` threads that may have `sessions_max` sessions in all.
    ///
    /// # Errors
    /// When an eventfd cannot be made: eventfd(2).
    pub fn new(first: Snapshot, workers: usize, sessions_max: u32) -> io::Result<Self> {
        let mailboxes: io::Result<Box<[_]>> = (0..workers).map(|_| Mailbox::new()).collect();
        Ok(Self {
            epoch: Instant::now(),
            total: Gate::new(sessions_max, workers),
            records: Records::new(ACCESS_RECORDS),
            statements: Records::new(STATEMENT_RECORDS),
            notices: Notices::new()?,
            generation: CachePadded::new(AtomicU64::new(first.generation)),
            snapshot: ArcSwap::from_pointee(first),
            workers: mailboxes?,
        })
    }

    /// The workers, in the order of their index.
    pub fn workers(&self) -> &[Mailbox] {
        &self.workers
    }

    /// Makes all workers go on with `snapshot`, parked ones too.
    pub fn publish(&self, snapshot: Snapshot) {
        let generation = snapshot.generation;
        assert!(generation > self.generation(), "generations ascend");
        self.snapshot.store(Arc::new(snapshot));
        self.generation.store(generation, Ordering::Release);
        self.wake_all();
    }

    /// The newest generation.
    #[inline]
    pub fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// The newest snapshot.
    pub fn snapshot(&self) -> Arc<Snapshot> {
        self.snapshot.load_full()
    }

    /// Gives an order to every worker.
    pub fn command_all(&self, command: &Command) {
        for worker in 0..self.workers.len() {
            self.command(worker, command.clone());
        }
    }

    /// Gives an order to one worker.
    pub fn command(&self, worker: usize, command: Command) {
        self.workers[worker].inbox.push(command);
        self.workers[worker].wake();
    }

    /// Wakes one worker.
    pub fn wake(&self, worker: usize) {
        self.workers[worker].wake();
    }

    /// Wakes every worker.
    pub fn wake_all(&self) {
        self.workers.iter().for_each(Mailbox::wake);
    }

    /// Milliseconds since [`Shared::epoch`].
    pub fn now_ms(&self) -> u64 {
        self.epoch.elapsed().as_millis() as u64
    }
}

impl Mailbox {
    fn new() -> io::Result<Self> {
        Ok(Self {
            counters: CachePadded::default(),
            inbox: SegQueue::new(),
            wake: nonblocking_eventfd()?,
        })
    }

    /// The next order, for the worker.
    pub(super) fn next(&self) -> Option<Command> {
        self.inbox.pop()
    }

    /// The eventfd that the worker's ring polls.
    pub(super) fn eventfd(&self) -> &EventFd {
        &self.wake
    }

    /// Makes a parked worker look around.
    pub fn wake(&self) {
        signal(&self.wake);
    }
}

/// Rare events on their way from the workers to the process's log.
#[derive(Debug)]
pub struct Notices {
    queue: ArrayQueue<Notice>,
    wake: EventFd,
}

impl Notices {
    fn new() -> io::Result<Self> {
        Ok(Self {
            queue: ArrayQueue::new(NOTICES),
            wake: nonblocking_eventfd()?,
        })
    }

    /// Hands a notice over, or drops it when the control thread is far behind: what happened is
    /// counted elsewhere too.
    pub fn push(&self, notice: Notice) {
        if self.queue.push(notice).is_ok() {
            signal(&self.wake);
        }
    }

    /// The next notice.
    pub fn pop(&self) -> Option<Notice> {
        self.queue.pop()
    }

    /// Becomes readable when there are notices; read it (non-blocking) before popping.
    pub fn eventfd(&self) -> &EventFd {
        &self.wake
    }
}

fn nonblocking_eventfd() -> io::Result<EventFd> {
    let flags = EfdFlags::EFD_NONBLOCK | EfdFlags::EFD_CLOEXEC;
    Ok(EventFd::from_value_and_flags(0, flags)?)
}

/// A write to an eventfd fails only when its counter is full, and then it is readable already.
fn signal(eventfd: &EventFd) {
    let _ = eventfd.write(1);
}
