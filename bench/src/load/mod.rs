//! The load generators, and what they report.

mod sysbench;
mod wrk;

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

pub(crate) use sysbench::Sysbench;
pub(crate) use wrk::Wrk;

use crate::interrupt;
use crate::process::Managed;

/// How much longer than asked for a run may take.
const GRACE: Duration = Duration::from_secs(15);

/// Returns what `generator` wrote when it has ended well and has been waited for, so that its CPU
/// time is known.
fn finish(mut generator: Managed, seconds: u32) -> Result<String> {
    let deadline = Instant::now() + Duration::from_secs(seconds.into()) + GRACE;
    loop {
        if let Some(status) = generator.exit_status()? {
            if !status.success() {
                bail!("{} failed: {}", generator.name(), generator.last_words());
            }
            return Ok(generator.output());
        }
        interrupt::check()?;
        if Instant::now() > deadline {
            bail!("{} did not end in time", generator.name());
        }
        thread::sleep(Duration::from_millis(5));
    }
}
