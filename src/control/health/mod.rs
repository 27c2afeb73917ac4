//! Active health checks: one task per server of a pool that has a `[pool.health_check]`.
//!
//! A check says something about the server only if this process was able to listen: one whose
//! deadline went by while ringway itself was stopped is void, and so is one that failed for want of
//! a descriptor. Else a debugger, a suspended machine or a full table would take every server down.

mod board;
mod probe;
mod status_line;
mod verdict;

use std::cell::RefCell;
use std::collections::HashMap;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, sleep_until};

pub use self::board::Checks;
pub(super) use self::board::{LastCheck, Report};
use self::probe::{Failure, probe};
use self::verdict::Verdict;
use super::Registry;
use super::stream::Broken;
use crate::balance::{Health, Member, Server};
use crate::config::{HealthCheck, HealthCheckKind};
use crate::limits::{CHECK_LATE, CHECKS_LATE_MAX};
use crate::tls::session::{Failure as TlsFailure, Session};

/// Checks servers for as long as it is polled, by the configuration the registry has. After a
/// reload, [`Checks::reconfigured`] has to be called. Runs on a tokio-uring runtime.
pub async fn run(registry: Rc<RefCell<Registry>>) {
    let checks = registry.borrow().checks.clone();
    let mut running = Running::default();
    loop {
        reconcile(&registry, &mut running);
        checks.until_reconfigured().await;
    }
}

/// The checks that run, by the server's address in memory: each task holds its server.
type Running = HashMap<*const Server, Task>;

struct Task {
    server: Arc<Server>,
    check: HealthCheck,
    handle: JoinHandle<()>,
}

impl Drop for Task {
    fn drop(&mut self) {
        self.handle.abort();
    }
}

/// Starts the checks that the configuration asks for, goes on with those that it still asks for in
/// the same way, and ends the others.
fn reconcile(registry: &Rc<RefCell<Registry>>, running: &mut Running) {
    let (wanted, unchecked) = wanted(&registry.borrow());
    running.retain(|server, task| {
        wanted
            .get(server)
            .is_some_and(|(_, check)| *check == task.check)
    });
    for server in unchecked {
        release(registry, &server);
    }
    for (id, (server, check)) in wanted {
        running.entry(id).or_insert_with(|| {
            let task = keep_checking(Rc::clone(registry), Arc::clone(&server), check.clone());
            Task {
                server,
                check,
                handle: tokio_uring::spawn(task),
            }
        });
    }
    debug_assert!(
        running
            .iter()
            .all(|(&id, task)| id == Arc::as_ptr(&task.server))
    );
}

type Wanted = HashMap<*const Server, (Arc<Server>, HealthCheck)>;

/// The servers that are to be checked, and how; and those that are not.
fn wanted(registry: &Registry) -> (Wanted, Vec<Arc<Server>>) {
    let (mut wanted, mut unchecked) = (Wanted::new(), Vec::new());
    for (pool, configured) in registry.pools.iter().zip(&registry.config.pools) {
        assert_eq!(
            **pool.name(),
            configured.name,
            "pools are in the order of the configuration"
        );
        for member in pool.members() {
            let server = Arc::clone(&member.server);
            match &configured.health_check {
                Some(check) => {
                    wanted.insert(Arc::as_ptr(&server), (server, check.clone()));
                }
                None => unchecked.push(server),
            }
        }
    }
    (wanted, unchecked)
}

/// A server that nothing checks is up: nothing else could ever bring it up again.
fn release(registry: &Rc<RefCell<Registry>>, server: &Arc<Server>) {
    registry.borrow().checks.forget(server);
    if server.health() == Health::Down {
        server.set_health(Health::Up);
        tracing::info!(
            pool = %server.pool(), server = %server.name(), address = %server.address(),
            "server is up: it is no longer checked",
        );
    }
}

async fn keep_checking(registry: Rc<RefCell<Registry>>, server: Arc<Server>, check: HealthCheck) {
    let checks = registry.borrow().checks.clone();
    checks.update(&server, |_| {});
    let mut verdict = Verdict::new(server.health());
    let mut late_in_a_row = 0;
    sleep(fraction(check.interval / 10)).await;
    loop {
        let started = Instant::now();
        let started_ms = registry.borrow().shared.now_ms();
        let tls = begin_tls(&registry.borrow(), &server, &check);
        let result = match tls {
            Ok(tls) => probe(server.address(), &check, tls, started + check.timeout).await,
            Err(failure) => Err(failure),
        };
        let took = started.elapsed();
        match judge(result, took, check.timeout, &mut late_in_a_row) {
            Judgement::Void(reason) => {
                checks.update(&server, |report| report.void += 1);
                tracing::debug!(
                    pool = %server.pool(), server = %server.name(), address = %server.address(),
                    "health check is void: {reason}",
                );
            }
            Judgement::Valid { passed, detail } => {
                let last = LastCheck {
                    at: SystemTime::now(),
                    took,
                    passed,
                    detail,
                };
                checks.update(&server, |report| report.count(last.clone()));
                if passed {
                    server.seen_alive(started_ms);
                }
                if let Some(health) = verdict.observe(passed, check.rise, check.fall) {
                    server.set_health(health);
                    checks.update(&server, |report| report.count_change(health));
                    announce(&registry.borrow(), &server, &check, health, &last);
                }
            }
        }
        sleep_until(next_start(started, check.interval)).await;
    }
}

/// The TLS session of one check, by the newest configuration; `None`: it goes without.
fn begin_tls(
    registry: &Registry,
    server: &Arc<Server>,
    check: &HealthCheck,
) -> Result<Option<Session>, Failure> {
    if !check.tls {
        return Ok(None);
    }
    let is_it = |member: &Member| Arc::ptr_eq(&member.server, server);
    let mut pools = registry.pools.iter().zip(&registry.pool_tls);
    let found = pools.find_map(|(pool, policy)| {
        let member = pool.members().iter().position(is_it)?;
        Some((policy.as_ref()?, member))
    });
    let session = match found {
        Some((policy, member)) => policy.check(member, |protocol| can_speak(&check.kind, protocol)),
        // It has just left the configuration, or its TLS has; this task will not go on for long.
        None => Err(TlsFailure::Ours("no TLS with this server any more".into())),
    };
    let session = session.map_err(Broken::without_tls)?;
    Ok(Some(session))
}

/// Whether a check can speak an application protocol: without HTTP it says nothing in any.
fn can_speak(kind: &HealthCheckKind, protocol: &[u8]) -> bool {
    let is_http = matches!(kind, HealthCheckKind::Http { .. });
    !is_http || protocol.starts_with(b"http/1.")
}

/// What one check says.
enum Judgement {
    /// Nothing about the server.
    Void(String),
    Valid {
        passed: bool,
        detail: String,
    },
}

/// A failure that was noticed long after the deadline was noticed by a process that was not
/// running: the answer may have come and gone. On a host so busy that this is the rule, failures
/// count in the end.
fn judge(
    result: Result<String, Failure>,
    took: Duration,
    timeout: Duration,
    late_in_a_row: &mut u32,
) -> Judgement {
    match result {
        Err(failure @ Failure::Broken(Broken::Host(_))) => Judgement::Void(failure.to_string()),
        Err(_) if is_excused(took, timeout, late_in_a_row) => {
            let late = took.saturating_sub(timeout);
            Judgement::Void(format!("ringway did not run for {late:?}"))
        }
        result => {
            *late_in_a_row = 0;
            let passed = result.is_ok();
            let detail = result.unwrap_or_else(|failure| failure.to_string());
            Judgement::Valid { passed, detail }
        }
    }
}

/// Whether a failure was noticed so late that it says nothing; only so often in a row.
pub(super) fn is_excused(took: Duration, timeout: Duration, late_in_a_row: &mut u32) -> bool {
    let late = took.saturating_sub(timeout);
    let is_excused = late > CHECK_LATE && *late_in_a_row < CHECKS_LATE_MAX;
    *late_in_a_row += u32::from(is_excused);
    is_excused
}

impl Report {
    fn count(&mut self, check: LastCheck) {
        if check.passed {
            self.passed += 1;
        } else {
            self.failed += 1;
        }
        self.last = Some(check);
    }

    fn count_change(&mut self, to: Health) {
        match to {
            Health::Up => self.ups += 1,
            Health::Down => self.downs += 1,
        }
    }
}

/// The one record of a change.
fn announce(
    registry: &Registry,
    server: &Arc<Server>,
    check: &HealthCheck,
    health: Health,
    last: &LastCheck,
) {
    let pools = registry
        .pools
        .iter()
        .filter(|pool| pool.name() == server.pool());
    let members: Vec<_> = pools.flat_map(|pool| pool.members()).collect();
    let up = members
        .iter()
        .filter(|member| member.server.health() == Health::Up)
        .count();
    let (pool, name, address) = (server.pool(), server.name(), server.address());
    let took_ms = last.took.as_millis();
    let reason = &last.detail;
    match health {
        Health::Up => tracing::info!(
            %pool, server = %name, %address, %reason, took_ms,
            "server is up after {} checks passed: {up} of {} in the pool are up",
            check.rise, members.len(),
        ),
        Health::Down => tracing::warn!(
            %pool, server = %name, %address, %reason, took_ms,
            "server is down after {} checks failed: {up} of {} in the pool are up",
            check.fall, members.len(),
        ),
    }
}

/// An interval after the last start, give or take a tenth. After a check that took longer, or a
/// process that was stopped, at once, and still not all servers in one moment.
pub(super) fn next_start(started: Instant, interval: Duration) -> Instant {
    let due = started + interval - interval / 10 + fraction(interval / 5);
    let now = Instant::now();
    if due > now {
        due
    } else {
        now + fraction(interval / 10)
    }
}

/// A random part of a duration.
pub(super) fn fraction(of: Duration) -> Duration {
    // The standard library's only source of randomness: each `RandomState` hashes differently.
    let random = RandomState::new().build_hasher().finish();
    of.mul_f64((random >> 11) as f64 / (1_u64 << 53) as f64)
}

#[cfg(test)]
mod tests;
#[cfg(test)]
mod tests_tls;
