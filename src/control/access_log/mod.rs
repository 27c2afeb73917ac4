//! The access log: one line per session, written by a thread of its own.
//!
//! Workers push records into a bounded queue and never wait. When the file or pipe behind the log
//! is slow, the queue fills and workers count what they drop; when it is broken, lines are dropped
//! and counted here. Traffic goes on either way.

mod line;
mod sink;

use std::io;
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::Thread;

use self::sink::Sink;
use super::Error;
use crate::config::AccessLog;
use crate::limits::{ACCESS_LOG_FINISH, ACCESS_RECORDS};
use crate::telemetry::Counter;
use crate::worker::Shared;

/// What the writer has counted.
#[derive(Debug, Default)]
pub struct AccessLogCounters {
    /// Lines written.
    pub lines: Counter,
    /// Lines lost because the target could not take them.
    pub dropped: Counter,
}

/// The thread that writes the access log. It runs from start to end, also while there is no log.
#[derive(Debug)]
pub struct AccessLogWriter {
    orders: Arc<Orders>,
    thread: Thread,
    finished: Receiver<()>,
    counters: Arc<AccessLogCounters>,
}

/// A target that has been opened and not yet put to use: a reload opens first, and applies only
/// when everything else could be opened, too.
#[derive(Debug)]
pub struct OpenedAccessLog(Option<Sink>);

/// What the writer has been told and has not yet done.
#[derive(Debug, Default)]
struct Orders(Mutex<Vec<Order>>);

#[derive(Debug)]
enum Order {
    Use(OpenedAccessLog),
    Finish,
}

impl OpenedAccessLog {
    /// Opens the access log that a configuration asks for; `None`: no log.
    ///
    /// # Errors
    /// When the file cannot be opened for appending.
    pub fn open(config: Option<&AccessLog>) -> Result<Self, Error> {
        let Some(config) = config else {
            return Ok(Self(None));
        };
        let sink = Sink::open(config).map_err(|cause| {
            let target = sink::describe(&config.target);
            let what = format!("cannot open the access log {target}");
            Error::Open { what, cause }
        })?;
        Ok(Self(Some(sink)))
    }
}

impl AccessLogWriter {
    /// Starts the thread.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn start(shared: Arc<Shared>, log: OpenedAccessLog) -> io::Result<Self> {
        let orders = Arc::new(Orders::default());
        let counters = Arc::new(AccessLogCounters::default());
        let (finish, finished) = mpsc::channel();
        let thread = std::thread::Builder::new()
            .name("access-log".into())
            .spawn({
                let (orders, counters) = (Arc::clone(&orders), Arc::clone(&counters));
                move || write_all(&shared, &orders, &counters, log.0, finish)
            })?;
        Ok(Self {
            orders,
            thread: thread.thread().clone(),
            finished,
            counters,
        })
    }

    /// What it has counted, for the registry.
    pub fn counters(&self) -> Arc<AccessLogCounters> {
        Arc::clone(&self.counters)
    }

    /// Goes on with a log that was opened anew, or with none. Sessions that have ended before are
    /// written to it, too, as far as they are still waiting.
    pub fn install(&self, log: OpenedAccessLog) {
        self.order(Order::Use(log));
    }

    /// Opens the log anew and goes on with it: for a changed configuration, and after a rotation.
    ///
    /// # Errors
    /// As [`OpenedAccessLog::open`]; then the log before goes on.
    pub fn reconfigure(&self, config: Option<&AccessLog>) -> Result<(), Error> {
        self.install(OpenedAccessLog::open(config)?);
        Ok(())
    }

    /// Writes what waits and ends the thread. One that hangs in a write, to a pipe that nobody
    /// reads, is left behind after [`ACCESS_LOG_FINISH`].
    pub fn finish(self) {
        self.order(Order::Finish);
        // An error says that the thread has ended.
        let _ = self.finished.recv_timeout(ACCESS_LOG_FINISH);
    }

    fn order(&self, order: Order) {
        self.orders
            .0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(order);
        self.thread.unpark();
    }
}

impl Drop for AccessLogWriter {
    /// The thread ends when it has written what waits; nobody waits for it.
    fn drop(&mut self) {
        self.order(Order::Finish);
    }
}

impl Orders {
    fn take(&self) -> Vec<Order> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// The thread. Dropping `_finish` says that it has ended.
fn write_all(
    shared: &Shared,
    orders: &Orders,
    counters: &AccessLogCounters,
    mut sink: Option<Sink>,
    _finish: Sender<()>,
) {
    loop {
        let orders = orders.take();
        drain(shared, counters, sink.as_mut());
        for order in orders {
            match order {
                Order::Use(log) => sink = log.0,
                Order::Finish => return,
            }
        }
        shared.records.wait();
    }
}

/// Writes the records that wait, and not those that go on coming meanwhile: orders come in between.
/// Without a log, nobody is to see them.
fn drain(shared: &Shared, counters: &AccessLogCounters, mut sink: Option<&mut Sink>) {
    for _ in 0..ACCESS_RECORDS {
        let Some(record) = shared.records.pop() else {
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
