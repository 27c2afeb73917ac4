//! Sessions that have had one answer and then sit there.

use std::io;
use std::time::Duration;

use anyhow::{Context, Result};

use crate::interrupt;

/// For how long the product's CPU clock is watched while nothing happens.
pub(crate) const WATCH: Duration = Duration::from_secs(2);

/// Descriptors that a process holds beside its sessions.
const SPARE_DESCRIPTORS: u64 = 1000;

/// Opens them one after the other: nothing is measured here but what they leave behind.
pub(crate) fn open<S>(count: u32, connect: impl Fn() -> io::Result<S>) -> Result<Vec<S>> {
    let mut sessions = Vec::with_capacity(count as usize);
    for number in 1..=count {
        if number % 64 == 0 {
            interrupt::check()?;
        }
        let session =
            connect().with_context(|| format!("session {number} of {count} got no answer"))?;
        sessions.push(session);
    }
    Ok(sessions)
}

/// What the descriptor limit allows: a session takes two of them in a proxy, and HAProxy sets some
/// aside for pipes.
pub(crate) fn max_sessions(descriptor_limit: u64) -> u32 {
    const ENOUGH: u64 = 6000;
    (descriptor_limit.saturating_sub(SPARE_DESCRIPTORS) / 3).clamp(1, ENOUGH) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_descriptor_limit_bounds_the_sessions() {
        assert_eq!(max_sessions(20_000), 6000);
        assert_eq!(max_sessions(4096), 1032);
        assert_eq!(max_sessions(0), 1);
    }
}
