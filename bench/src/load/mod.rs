//! The load generators, and what they report.

mod sysbench;
mod wrk;

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde::de::DeserializeOwned;

pub(crate) use sysbench::Sysbench;
pub(crate) use wrk::Wrk;

use crate::interrupt;
use crate::process::Managed;

/// How much longer than asked for a run may take.
const GRACE: Duration = Duration::from_secs(15);

/// What a generator's Lua hook writes before its figures, as JSON on the same line.
const REPORT_MARK: &str = "report ";

/// The figures among the words for people.
fn parse_report<R: DeserializeOwned>(text: &str) -> Result<R> {
    let json = text.lines().find_map(|line| line.strip_prefix(REPORT_MARK));
    let json = json.with_context(|| format!("nothing was reported: {}", text.trim()))?;
    serde_json::from_str(json).with_context(|| format!("no figures can be read in {json}"))
}

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_generator_that_reports_nothing_is_quoted() {
        let error = parse_report::<u64>("unable to connect\n").unwrap_err();
        assert!(error.to_string().contains("unable to connect"), "{error:#}");
        assert!(parse_report::<u64>("report many\n").is_err());
        assert_eq!(parse_report::<u64>("so many:\nreport 7\n").unwrap(), 7);
    }
}
