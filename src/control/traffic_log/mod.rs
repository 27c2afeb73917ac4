//! The logs that traffic writes, each with a thread of its own: the access log has a line per
//! session, the statement log one per SQL statement.
//!
//! Workers push records into a bounded queue and never wait. When the file or pipe behind the log
//! is slow, the queue fills and workers count what they drop; when it is broken, lines are dropped
//! and counted here. Traffic goes on either way.

mod line;
mod session;
mod sink;
mod statement;

use std::io;
use std::marker::PhantomData;
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::Thread;

use self::sink::Sink;
use super::Error;
use crate::config::{AccessLog, LogFormat, LogTarget, StatementLog};
use crate::limits::LOG_FINISH;
use crate::telemetry::{Counter, SessionRecord};
use crate::worker::{Records, Shared, StatementRecord};

/// What a line of a log is made of.
pub trait LogRecord: Send + Sized + 'static {
    /// What people call the log.
    const LOG: &'static str;
    /// The name of the thread that writes it.
    const THREAD: &'static str;

    /// Where workers put the records.
    fn queue(shared: &Shared) -> &Records<Self>;

    /// Appends the line, without its end.
    fn write(&self, buffer: &mut Vec<u8>, format: LogFormat);
}

/// What a writer has counted.
#[derive(Debug, Default)]
pub struct LogCounters {
    /// Lines written.
    pub lines: Counter,
    /// Lines lost because the target could not take them.
    pub dropped: Counter,
}

/// The thread that writes a log. It runs from start to end, also while there is no log.
#[derive(Debug)]
pub struct LogWriter<R> {
    orders: Arc<Orders>,
    thread: Thread,
    finished: Receiver<()>,
    counters: Arc<LogCounters>,
    writes: PhantomData<R>,
}

/// A target that has been opened and not yet put to use: a reload opens first, and applies only
/// when everything else could be opened, too.
#[derive(Debug)]
pub struct OpenedLog<R>(Option<Sink>, PhantomData<R>);

/// What the writer has been told and has not yet done.
#[derive(Debug, Default)]
struct Orders(Mutex<Vec<Order>>);

#[derive(Debug)]
enum Order {
    Use(Option<Sink>),
    Finish,
}

impl OpenedLog<SessionRecord> {
    /// Opens the access log that a configuration asks for; `None`: no log.
    ///
    /// # Errors
    /// When the file cannot be opened for appending.
    pub fn access(config: Option<&AccessLog>) -> Result<Self, Error> {
        Self::open(config.map(|log| (&log.target, log.format)))
    }
}

impl OpenedLog<StatementRecord> {
    /// Opens the statement log that a configuration asks for; `None`: no log.
    ///
    /// # Errors
    /// When the file cannot be opened for appending.
    pub fn statements(config: Option<&StatementLog>) -> Result<Self, Error> {
        Self::open(config.map(|log| (&log.target, log.format)))
    }
}

impl<R: LogRecord> OpenedLog<R> {
    fn open(config: Option<(&LogTarget, LogFormat)>) -> Result<Self, Error> {
        let open = |(target, format)| {
            Sink::open(R::LOG, target, format).map_err(|cause| {
                let what = format!("cannot open the {} {}", R::LOG, sink::describe(target));
                Error::Open { what, cause }
            })
        };
        Ok(Self(config.map(open).transpose()?, PhantomData))
    }
}

impl<R: LogRecord> LogWriter<R> {
    /// Starts the thread.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn start(shared: Arc<Shared>, log: OpenedLog<R>) -> io::Result<Self> {
        let orders = Arc::new(Orders::default());
        let counters = Arc::new(LogCounters::default());
        let (finish, finished) = mpsc::channel();
        let thread = std::thread::Builder::new().name(R::THREAD.into()).spawn({
            let (orders, counters) = (Arc::clone(&orders), Arc::clone(&counters));
            move || write_all::<R>(&shared, &orders, &counters, log.0, finish)
        })?;
        Ok(Self {
            orders,
            thread: thread.thread().clone(),
            finished,
            counters,
            writes: PhantomData,
        })
    }

    /// What it has counted, for the registry.
    pub fn counters(&self) -> Arc<LogCounters> {
        Arc::clone(&self.counters)
    }

    /// Goes on with a log that was opened anew, or with none. What has happened before is written
    /// to it, too, as far as it is still waiting.
    pub fn install(&self, log: OpenedLog<R>) {
        self.orders.give(Order::Use(log.0), &self.thread);
    }

    /// Writes what waits and ends the thread. One that hangs in a write, to a pipe that nobody
    /// reads, is left behind after [`LOG_FINISH`].
    pub fn finish(self) {
        self.orders.give(Order::Finish, &self.thread);
        // An error says that the thread has ended.
        let _ = self.finished.recv_timeout(LOG_FINISH);
    }
}

impl<R> Drop for LogWriter<R> {
    /// The thread ends when it has written what waits; nobody waits for it.
    fn drop(&mut self) {
        self.orders.give(Order::Finish, &self.thread);
    }
}

impl Orders {
    fn give(&self, order: Order, thread: &Thread) {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(order);
        thread.unpark();
    }

    fn take(&self) -> Vec<Order> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// The thread. Dropping `_finish` says that it has ended.
fn write_all<R: LogRecord>(
    shared: &Shared,
    orders: &Orders,
    counters: &LogCounters,
    mut sink: Option<Sink>,
    _finish: Sender<()>,
) {
    loop {
        let orders = orders.take();
        drain(R::queue(shared), counters, sink.as_mut());
        for order in orders {
            match order {
                Order::Use(log) => sink = log,
                Order::Finish => return,
            }
        }
        R::queue(shared).wait();
    }
}

/// Writes the records that wait, and not those that go on coming meanwhile: orders come in between.
/// Without a log, nobody is to see them.
fn drain<R: LogRecord>(records: &Records<R>, counters: &LogCounters, mut sink: Option<&mut Sink>) {
    for _ in 0..records.capacity() {
        let Some(record) = records.pop() else {
            break;
        };
        if let Some(sink) = &mut sink {
            sink.add(&record, counters);
        }
    }
    if let Some(sink) = sink {
        sink.flush(counters);
    }
}

#[cfg(test)]
mod tests;
