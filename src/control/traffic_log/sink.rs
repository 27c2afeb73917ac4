//! Where a log's lines go, and what becomes of them when it takes no more.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::OpenOptionsExt;
use std::time::Instant;

use nix::fcntl::{FcntlArg, OFlag, fcntl};

use super::{LogCounters, LogRecord};
use crate::config::{LogFormat, LogTarget};
use crate::limits::{LOG_BATCH_BYTES, LOG_REOPEN, LOG_WARNING};

/// An open log.
#[derive(Debug)]
pub(super) struct Sink {
    /// What people call it.
    log: &'static str,
    target: LogTarget,
    format: LogFormat,
    /// `None` after it has failed, until it is opened again.
    file: Option<File>,
    reopen_at: Instant,
    warn_at: Instant,
    batch: Vec<u8>,
    batch_lines: u64,
    /// What was written last does not end with a line's end.
    torn: bool,
}

impl Sink {
    /// # Errors
    /// When the file cannot be opened for appending.
    pub(super) fn open(
        log: &'static str,
        target: &LogTarget,
        format: LogFormat,
    ) -> io::Result<Self> {
        let now = Instant::now();
        Ok(Self {
            log,
            file: Some(open(target)?),
            target: target.clone(),
            format,
            reopen_at: now,
            warn_at: now,
            batch: Vec::with_capacity(LOG_BATCH_BYTES),
            batch_lines: 0,
            torn: false,
        })
    }

    /// Takes a record's line; it is written with the next full batch, or by [`Self::flush`].
    pub(super) fn add(&mut self, record: &impl LogRecord, counters: &LogCounters) {
        record.write(&mut self.batch, self.format);
        self.batch.push(b'\n');
        self.batch_lines += 1;
        if self.batch.len() >= LOG_BATCH_BYTES {
            self.flush(counters);
        }
    }

    /// Writes what is waiting, or drops and counts it.
    pub(super) fn flush(&mut self, counters: &LogCounters) {
        if self.batch.is_empty() {
            return;
        }
        let written = match self.write_batch() {
            Ok(()) => self.batch_lines,
            Err((error, written_bytes)) => {
                self.fail(&error);
                count_lines(&self.batch[..written_bytes])
            }
        };
        counters.lines.add(written);
        counters.dropped.add(self.batch_lines - written);
        self.batch.clear();
        self.batch_lines = 0;
    }

    /// On failure, how many bytes of the batch had been written before.
    fn write_batch(&mut self) -> Result<(), (io::Error, usize)> {
        let before_anything = |error| (error, 0);
        let torn = self.torn;
        let file = self.usable().map_err(before_anything)?;
        if torn {
            file.write_all(b"\n").map_err(before_anything)?;
            self.torn = false;
        }
        let mut written = 0;
        while written < self.batch.len() {
            let file = self.file.as_mut().expect("a usable file");
            match file.write(&self.batch[written..]) {
                Ok(0) => return Err((io::ErrorKind::WriteZero.into(), written)),
                Ok(bytes) => written += bytes,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err((error, written)),
            }
            self.torn = self.batch[written - 1] != b'\n';
        }
        Ok(())
    }

    /// The open file; one that has failed is opened again, now and then.
    fn usable(&mut self) -> io::Result<&mut File> {
        if self.file.is_none() {
            let now = Instant::now();
            if now < self.reopen_at {
                return Err(io::Error::other("it is tried again in a few seconds"));
            }
            self.reopen_at = now + LOG_REOPEN;
            self.file = Some(open(&self.target)?);
        }
        Ok(self.file.as_mut().expect("opened just now"))
    }

    fn fail(&mut self, error: &io::Error) {
        let now = Instant::now();
        if self.file.take().is_some() {
            self.reopen_at = now + LOG_REOPEN;
        }
        if now >= self.warn_at {
            self.warn_at = now + LOG_WARNING;
            let target = describe(&self.target);
            let log = self.log;
            tracing::warn!("the {log} loses lines, traffic goes on: {target}: {error}");
        }
    }
}

fn open(target: &LogTarget) -> io::Result<File> {
    let path = match target {
        LogTarget::Stdout => {
            return Ok(io::stdout().as_fd().try_clone_to_owned()?.into());
        }
        LogTarget::File(path) => path,
    };
    // Non-blocking, because opening a named pipe that nobody reads would never return.
    let file = OpenOptions::new()
        .append(true)
        .create(true)
        .mode(0o640)
        .custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY)
        .open(path)?;
    // Writing may block: only this thread, while the queue holds what a slow reader leaves.
    let flags = OFlag::from_bits_retain(fcntl(&file, FcntlArg::F_GETFL)?);
    fcntl(&file, FcntlArg::F_SETFL(flags - OFlag::O_NONBLOCK))?;
    Ok(file)
}

pub(super) fn describe(target: &LogTarget) -> String {
    match target {
        LogTarget::Stdout => "stdout".into(),
        LogTarget::File(path) => path.display().to_string(),
    }
}

fn count_lines(bytes: &[u8]) -> u64 {
    bytes.iter().filter(|&&byte| byte == b'\n').count() as u64
}
