//! What has to hold of a balancer once a test's traffic is over: everything that was taken has been
//! given back, every session and byte is accounted for, and nothing stirs.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::sleep;
use std::time::Duration;

use super::balancer::Balancer;
use super::metrics::Metrics;
use super::wait::eventually;

/// Over which an idle process is watched after every test.
const IDLE_WINDOW: Duration = Duration::from_millis(250);

/// Over which it is watched once.
const LONG_IDLE_WINDOW: Duration = Duration::from_secs(1);

static LOOKED_LONG: AtomicBool = AtomicBool::new(false);

/// Pipe ends that one worker keeps for its next bulk streams.
const PIPE_ENDS_KEPT: usize = 2 * 64;

/// A balancer at rest.
#[derive(Clone, Debug)]
pub(crate) struct Baseline {
    descriptors: usize,
}

impl Baseline {
    /// What it is like now, once the connection of the last look at it has gone.
    #[track_caller]
    pub(crate) fn take(balancer: &Balancer) -> Self {
        let (process, admin) = (balancer.process(), balancer.config().admin_address().port());
        let mut last = process.descriptors();
        eventually(|| {
            sleep(Duration::from_millis(20));
            let now = process.descriptors();
            let steady = now == std::mem::replace(&mut last, now);
            match process.connections_at(admin) {
                0 if steady => Ok(()),
                looks => Err(format!("rest: {now} descriptors, {looks} looks at it")),
            }
        });
        Self { descriptors: last }
    }
}

/// Asserts that the balancer is at rest as before.
#[track_caller]
pub(crate) fn check(balancer: &Balancer, baseline: &Baseline) {
    eventually(|| {
        let metrics = balancer.metrics();
        sessions_are_over(&metrics)?;
        everything_is_conserved(balancer, &metrics)?;
        nothing_is_left(balancer, &metrics, baseline)
    });
    let errors = balancer.unexpected_errors();
    assert!(errors.is_empty(), "errors in the log: {errors:#?}");
    eventually(|| stands_still(balancer, IDLE_WINDOW));
    // What wakes it now and then would fit between two short looks. A second takes its time, so one
    // test of each program spends it.
    if !LOOKED_LONG.swap(true, Ordering::Relaxed) {
        let still = stands_still(balancer, LONG_IDLE_WINDOW);
        let still = still.or_else(|_| stands_still(balancer, LONG_IDLE_WINDOW));
        still.unwrap_or_else(|why| panic!("not still: {why}"));
    }
}

fn sessions_are_over(metrics: &Metrics) -> Result<(), String> {
    for name in [
        "ringway_sessions_active",
        "ringway_worker_sessions",
        "ringway_server_sessions_active",
        "ringway_server_connections",
    ] {
        let sessions = metrics.sum(name, &[]);
        if sessions != 0.0 {
            return Err(format!("{name} is 0, not {sessions}"));
        }
    }
    Ok(())
}

fn everything_is_conserved(balancer: &Balancer, metrics: &Metrics) -> Result<(), String> {
    for listener in metrics.values("ringway_sessions_opened_total", "listener") {
        let of = [("listener", listener.as_str())];
        let opened = metrics.sum("ringway_sessions_opened_total", &of);
        let closed = metrics.sum("ringway_sessions_closed_total", &of);
        equal(&format!("{listener}: opened and closed"), opened, closed)?;
        // Behind a mysql listener ringway says and hears something itself.
        let directions: &[&str] = match balancer.config().is_mysql(&listener) {
            true => &[],
            false => &["in", "out"],
        };
        for direction in directions {
            let of = [("listener", listener.as_str()), ("direction", direction)];
            let received = metrics.sum("ringway_bytes_received_total", &of);
            let delivered = metrics.sum("ringway_bytes_total", &of);
            let discarded = metrics.sum("ringway_bytes_discarded_total", &of);
            let what = format!("{listener} {direction}: received and accounted for");
            equal(&what, received, delivered + discarded)?;
        }
    }
    let opened = metrics.sum("ringway_server_sessions_opened_total", &[]);
    let closed = metrics.sum("ringway_server_sessions_closed_total", &[]);
    equal("servers: opened and closed", opened, closed)?;
    equal(
        "stale completions",
        metrics.sum("ringway_worker_stale_completions_total", &[]),
        0.0,
    )?;
    equal(
        "internal errors",
        metrics.closed("ringway", "internal"),
        0.0,
    )
}

fn nothing_is_left(
    balancer: &Balancer,
    metrics: &Metrics,
    baseline: &Baseline,
) -> Result<(), String> {
    // An idle worker waits for its eventfd and for a connection at each address. One that has not
    // turned yet has not told.
    let at_rest = 1.0 + balancer.config().listen_addresses() as f64;
    for worker in metrics.values("ringway_worker_turns_total", "worker") {
        let of = [("worker", worker.as_str())];
        if metrics.sum("ringway_worker_turns_total", &of) > 0.0 {
            let in_flight = metrics.sum("ringway_worker_operations_in_flight", &of);
            let what = format!("worker {worker}: operations in flight and those of an idle one");
            equal(&what, in_flight, at_rest)?;
        }
    }
    let process = balancer.process();
    equal(
        "descriptors and before",
        process.descriptors() as f64,
        baseline.descriptors as f64,
    )?;
    let workers = metrics.values("ringway_worker_sessions", "worker").len();
    let pipe_ends = process.pipe_ends();
    if pipe_ends > workers * PIPE_ENDS_KEPT {
        return Err(format!("{pipe_ends} pipe ends are too many"));
    }
    Ok(())
}

fn stands_still(balancer: &Balancer, window: Duration) -> Result<(), String> {
    let before = balancer.process().cpu();
    sleep(window);
    let used = balancer.process().cpu().saturating_sub(before);
    if used < window / 100 {
        Ok(())
    } else {
        Err(format!(
            "an idle process, which used {used:?} in {window:?}"
        ))
    }
}

fn equal(what: &str, left: f64, right: f64) -> Result<(), String> {
    if left == right {
        Ok(())
    } else {
        Err(format!("{what} are equal: {left} and {right}"))
    }
}
