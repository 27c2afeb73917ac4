//! Whether this process can take traffic: local truth only, never the servers' health.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::time::sleep;

use super::{Lifecycle, Registry};
use crate::limits::{WORKER_ASLEEP, WORKER_HANGS, WORKER_POLL, WORKER_WAKES_WITHIN};
use crate::worker::Shared;

/// Why the process should get no traffic; nothing: it should.
pub(super) async fn not_ready(registry: &Rc<RefCell<Registry>>) -> Vec<String> {
    wake_sleepers(registry).await;
    let registry = registry.borrow();
    let mut reasons = Vec::new();
    match registry.lifecycle {
        Lifecycle::Running => {}
        Lifecycle::Leaving => reasons.push("shutting down".into()),
        Lifecycle::Draining => return vec!["shutting down: accepting no more".into()],
    }
    let unbound = registry.snapshot.listeners.iter().filter(|route| {
        route.sockets.is_empty() || route.sockets.iter().any(|s| s.descriptors.is_empty())
    });
    reasons.extend(unbound.map(|route| format!("{} does not listen", route.listener.name)));
    reasons.extend(unborn(&registry.shared));
    reasons.extend(silent(
        &registry.shared,
        WORKER_ASLEEP + WORKER_WAKES_WITHIN,
    ));
    reasons
}

/// Why the process should be started again; nothing: it lives. A worker that is merely late makes
/// the process unready long before it makes it dead.
pub(super) async fn not_alive(registry: &Rc<RefCell<Registry>>) -> Vec<String> {
    wake_sleepers(registry).await;
    let registry = registry.borrow();
    // Workers that have drained have ended, as they should.
    if registry.lifecycle == Lifecycle::Draining {
        return Vec::new();
    }
    silent(&registry.shared, WORKER_HANGS).collect()
}

/// Workers that have not turned for so long, each in words.
fn silent(shared: &Shared, limit: Duration) -> impl Iterator<Item = String> {
    let ages = ages(shared).enumerate();
    let silent = ages.filter(move |(_, age)| age.since_last_turn >= limit);
    silent.map(|(index, age)| {
        let ms = age.since_last_turn.as_millis();
        format!("worker {index} has not turned for {ms} ms")
    })
}

/// Workers that have not turned at all.
fn unborn(shared: &Shared) -> impl Iterator<Item = String> {
    let unborn = ages(shared).enumerate().filter(|(_, age)| !age.has_turned);
    unborn.map(|(index, _)| format!("worker {index} has not turned yet"))
}

/// An idle worker parks in the kernel, as it should, and looks just like one that hangs. So those
/// that have not turned for a while are woken, and get a moment to show that they live. Not while
/// draining: those that have ended never turn again, and nothing depends on it.
async fn wake_sleepers(registry: &Rc<RefCell<Registry>>) {
    let draining = || registry.borrow().lifecycle == Lifecycle::Draining;
    if draining() {
        return;
    }
    let shared = Arc::clone(&registry.borrow().shared);
    for (worker, age) in shared.workers().iter().zip(ages(&shared)) {
        if age.is_asleep() {
            worker.wake();
        }
    }
    let woken = Instant::now();
    while ages(&shared).any(|age| age.is_asleep())
        && woken.elapsed() < WORKER_WAKES_WITHIN
        && !draining()
    {
        sleep(WORKER_POLL).await;
    }
}

/// What is known of a worker's last turn.
#[derive(Clone, Copy, Debug)]
struct Age {
    has_turned: bool,
    /// Or since the start, if it has not turned.
    since_last_turn: Duration,
}

impl Age {
    fn is_asleep(self) -> bool {
        !self.has_turned || self.since_last_turn >= WORKER_ASLEEP
    }
}

fn ages(shared: &Shared) -> impl Iterator<Item = Age> {
    let now_ms = shared.now_ms();
    shared.workers().iter().map(move |worker| {
        let last_ms = worker.counters.last_turn_ms.get();
        Age {
            has_turned: worker.counters.turns.get() > 0,
            since_last_turn: Duration::from_millis(now_ms.saturating_sub(last_ms)),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::super::testing;
    use super::*;

    /// A worker that turns when it is woken, as far as this module can tell.
    fn turn_all(shared: &Shared) {
        for worker in shared.workers() {
            worker.counters.turns.add(1);
            worker.counters.last_turn_ms.set(shared.now_ms());
        }
    }

    #[test]
    fn a_process_is_ready_when_its_workers_turn() {
        let registry = testing::registry();
        tokio_uring::start(async {
            let shared = Arc::clone(&registry.borrow().shared);
            turn_all(&shared);
            assert_eq!(not_ready(&registry).await, [""; 0]);
            registry.borrow_mut().lifecycle = Lifecycle::Leaving;
            assert_eq!(not_ready(&registry).await, ["shutting down"]);
            assert_eq!(not_alive(&registry).await, [""; 0]);
        });
    }

    #[test]
    fn a_process_that_drains_says_so_without_waiting_for_workers_that_have_ended() {
        let registry = testing::registry();
        registry.borrow_mut().lifecycle = Lifecycle::Draining;
        tokio_uring::start(async {
            let asked = Instant::now();
            let reasons = not_ready(&registry).await;
            assert_eq!(reasons, ["shutting down: accepting no more"]);
            assert_eq!(not_alive(&registry).await, [""; 0]);
            assert!(asked.elapsed() < WORKER_WAKES_WITHIN);
        });
    }

    #[test]
    fn a_worker_that_has_never_turned_is_alive_and_not_ready() {
        let registry = testing::registry();
        tokio_uring::start(async {
            let reasons = not_ready(&registry).await;
            let expected = [0, 1].map(|index| format!("worker {index} has not turned yet"));
            assert_eq!(reasons, expected);
            assert_eq!(not_alive(&registry).await, [""; 0]);
        });
    }

    #[test]
    fn a_worker_that_does_not_wake_is_named() {
        let registry = testing::registry();
        tokio_uring::start(async {
            let shared = Arc::clone(&registry.borrow().shared);
            turn_all(&shared);
            sleep(WORKER_ASLEEP + Duration::from_millis(5)).await;
            shared.workers()[0]
                .counters
                .last_turn_ms
                .set(shared.now_ms());
            let reasons = not_ready(&registry).await;
            assert!(
                reasons[0].starts_with("worker 1 has not turned for "),
                "{reasons:?}"
            );
            assert_eq!(reasons.len(), 1);
            assert_eq!(not_alive(&registry).await, [""; 0], "late is not dead");
        });
    }
}
