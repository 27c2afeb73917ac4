//! What becomes lines of a log, on its way from the workers to the log's writer.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread::Thread;
use std::time::SystemTime;

use crossbeam::queue::ArrayQueue;

use crate::balance::Server;
use crate::mysql::Dialect;
use crate::telemetry::{RouteReason, Target};

/// A bounded queue of records, with a thread to unpark.
#[derive(Debug)]
pub struct Records<R> {
    queue: ArrayQueue<R>,
    writer: OnceLock<Thread>,
    writer_sleeps: AtomicBool,
}

/// A statement of a MySQL session, told when its reply is complete.
#[derive(Clone, Debug)]
pub struct StatementRecord {
    /// When the client had sent it.
    pub began_at: SystemTime,
    /// The listener's name.
    pub listener: Arc<str>,
    /// The client; `None` for a unix socket, and of a session that began before there was a log.
    pub client: Option<SocketAddr>,
    /// The account, as the client has sent it.
    pub user: Arc<[u8]>,
    /// Who answered; `None`: ringway did.
    pub server: Option<Arc<Server>>,
    /// Where it went.
    pub target: Target,
    /// Why.
    pub reason: RouteReason,
    /// From the command to the end of the reply, in microseconds.
    pub duration_us: u64,
    /// Whether the answer was an error.
    pub failed: bool,
    /// Its first bytes as the client has sent them: what is masked before anybody sees it.
    pub text: Box<[u8]>,
    /// How they are to be read.
    pub dialect: Dialect,
}

impl<R> Records<R> {
    pub(super) fn new(records_max: usize) -> Self {
        Self {
            queue: ArrayQueue::new(records_max),
            writer: OnceLock::new(),
            writer_sleeps: AtomicBool::new(false),
        }
    }

    /// Hands a record over; `false`: the queue is full and the record is lost. Never blocks.
    pub fn push(&self, record: R) -> bool {
        self.queue.push(record).is_ok()
    }

    /// Wakes the writer if it sleeps; called once per turn that pushed.
    pub fn flush(&self) {
        if self.writer_sleeps.load(Ordering::SeqCst)
            && self.writer_sleeps.swap(false, Ordering::SeqCst)
            && let Some(writer) = self.writer.get()
        {
            writer.unpark();
        }
    }

    /// The next record; called by the writer's thread only.
    pub fn pop(&self) -> Option<R> {
        self.queue.pop()
    }

    /// How many records there can be at a time.
    pub fn capacity(&self) -> usize {
        self.queue.capacity()
    }

    /// Sleeps until there may be records; called by the writer's thread only.
    pub fn wait(&self) {
        self.writer.get_or_init(std::thread::current);
        self.writer_sleeps.store(true, Ordering::SeqCst);
        // A record pushed before the flag was set has woken nobody.
        if self.queue.is_empty() {
            std::thread::park();
        }
        self.writer_sleeps.store(false, Ordering::SeqCst);
    }
}
