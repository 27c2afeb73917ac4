//! The process's own log, on standard error. It never kills the process and never holds it up:
//! records that standard error does not take are dropped and counted.

use std::io::{self, Write};
use std::os::fd::AsFd;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use tracing::level_filters::LevelFilter;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, Registry, fmt, reload};

use super::timestamp::Timestamp;
use crate::config::{self, LogFormat, LogLevel};

/// A pipe that is ready takes this many bytes without blocking: pipe(7), `PIPE_BUF`.
const ATOMIC_WRITE_BYTES: usize = 4096;

static FORMAT: OnceLock<LogFormat> = OnceLock::new();
static LEVEL: OnceLock<reload::Handle<LevelFilter, Registry>> = OnceLock::new();

/// Starts logging. Later calls only set the level: tests start several of everything.
pub(super) fn init(log: &config::Log) {
    let (level, handle) = reload::Layer::new(filter(log.level));
    if LEVEL.set(handle).is_err() {
        return set_level(log.level);
    }
    let _ = FORMAT.set(log.format);
    let format = fmt::layer().with_writer(Stderr).with_target(false);
    let format = match log.format {
        LogFormat::Text => format.with_ansi(false).boxed(),
        LogFormat::Json => format.json().flatten_event(true).boxed(),
    };
    // Fails where the program around this library logs already; then its choices hold.
    let _ = tracing_subscriber::registry()
        .with(level)
        .with(format)
        .try_init();
}

/// Changes which records are written.
pub(super) fn set_level(level: LogLevel) {
    if let Some(handle) = LEVEL.get() {
        let _ = handle.modify(|current| *current = filter(level));
    }
}

fn filter(level: LogLevel) -> LevelFilter {
    match level {
        LogLevel::Debug => LevelFilter::DEBUG,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Error => LevelFilter::ERROR,
    }
}

/// Standard error, as long as somebody reads it.
#[derive(Clone, Copy, Debug)]
struct Stderr;

static DROPPED: AtomicU64 = AtomicU64::new(0);

impl<'a> MakeWriter<'a> for Stderr {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        *self
    }
}

impl Write for Stderr {
    /// Always succeeds: the subscriber answers an error with a panic where stderr is closed.
    fn write(&mut self, record: &[u8]) -> io::Result<usize> {
        let dropped = DROPPED.swap(0, Ordering::Relaxed);
        let told = dropped == 0 || write_now(loss(dropped).as_bytes());
        if !told || !write_now(record) {
            DROPPED.fetch_add(dropped * u64::from(!told) + 1, Ordering::Relaxed);
        }
        Ok(record.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The record of records that were lost, in the form of the others.
fn loss(dropped: u64) -> String {
    let (now, what) = (Timestamp(SystemTime::now()), "log records lost");
    match FORMAT.get() {
        Some(LogFormat::Json) => {
            let record = serde_json::json!({
                "timestamp": now, "level": "WARN", "message": format!("{dropped} {what}"),
            });
            format!("{record}\n")
        }
        _ => format!("{now}  WARN {dropped} {what}\n"),
    }
}

/// Writes all of it unless that would block or fail.
fn write_now(bytes: &[u8]) -> bool {
    let stderr = io::stderr();
    bytes.chunks(ATOMIC_WRITE_BYTES).all(|chunk| {
        let mut ready = [PollFd::new(stderr.as_fd(), PollFlags::POLLOUT)];
        poll(&mut ready, PollTimeout::ZERO) == Ok(1) && stderr.lock().write_all(chunk).is_ok()
    })
}
