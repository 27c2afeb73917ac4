//! Ctrl-C and its kin set a flag; every wait looks at it. So the run ends by returning, and what
//! owns a process or a directory cleans it up on the way out.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::Duration;

use anyhow::{Result, bail};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

static INTERRUPTED: OnceLock<Arc<AtomicBool>> = OnceLock::new();

/// To be called once, before the first child is started.
pub(crate) fn install() -> Result<()> {
    let flag = INTERRUPTED.get_or_init(Arc::default);
    for signal in [SIGHUP, SIGINT, SIGTERM] {
        signal_hook::flag::register(signal, flag.clone())?;
    }
    Ok(())
}

/// An error once a signal has asked for the end.
pub(crate) fn check() -> Result<()> {
    if INTERRUPTED
        .get()
        .is_some_and(|flag| flag.load(Ordering::Relaxed))
    {
        bail!("interrupted");
    }
    Ok(())
}

/// Sleeps in small steps, and ends early when a signal has asked for the end.
pub(crate) fn sleep(duration: Duration) -> Result<()> {
    const STEP: Duration = Duration::from_millis(20);
    let mut left = duration;
    while !left.is_zero() {
        check()?;
        let step = left.min(STEP);
        thread::sleep(step);
        left -= step;
    }
    Ok(())
}
