//! Waiting for a condition, with a deadline.

use std::fs;
use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};

/// After which a condition that has not come is a failure. Far above what anything takes, because
/// the machine may be busy with other tests.
pub(crate) const DEADLINE: Duration = Duration::from_secs(20);

/// Between two looks.
const POLL: Duration = Duration::from_millis(5);

/// What `look` finds, once it finds something; it says what it misses meanwhile.
#[track_caller]
pub(crate) fn eventually<T>(mut look: impl FnMut() -> Result<T, String>) -> T {
    let started = Instant::now();
    loop {
        match look() {
            Ok(found) => return found,
            Err(missing) if started.elapsed() > DEADLINE => {
                panic!("not within {DEADLINE:?}: {missing}")
            }
            Err(_) => sleep(POLL),
        }
    }
}

/// Waits until a condition holds.
#[track_caller]
pub(crate) fn until(what: &str, mut holds: impl FnMut() -> bool) {
    eventually(|| {
        if holds() {
            Ok(())
        } else {
            Err(what.to_owned())
        }
    });
}

/// What `act` returns, which may not take as long as `limit`.
#[track_caller]
pub(crate) fn quickly<T>(limit: Duration, act: impl FnOnce() -> T) -> T {
    let started = Instant::now();
    let result = act();
    let took = started.elapsed();
    assert!(took < limit, "took {took:?}, which is not below {limit:?}");
    result
}

/// The lines of a log, once there are so many.
#[track_caller]
pub(crate) fn lines(path: &Path, count: usize) -> Vec<String> {
    eventually(|| {
        let text = fs::read_to_string(path).unwrap_or_default();
        let lines: Vec<_> = text.lines().map(str::to_owned).collect();
        match lines.len() {
            n if n == count && text.ends_with('\n') => Ok(lines),
            _ => Err(format!("{count} lines in {}: {text}", path.display())),
        }
    })
}
