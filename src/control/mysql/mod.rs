//! The monitors of mysql pools: one task per server of a pool that has a `[pool.mysql.monitor]`. Each
//! look at a server may change its role, where roles are followed, and whether it is read.

mod findings;
mod look;
mod settle;

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, sleep_until};

pub use self::findings::Findings;
pub(super) use self::findings::{Finding, is_usable};
use self::look::{Account, LookFailure, Secrecy, look};
use super::Registry;
use super::health::{fraction, is_excused, next_start};
use super::stream::Broken;
use crate::balance::Server;
use crate::config::{MysqlMonitor, MysqlPool, Pool};
use crate::mysql::auth::Password;
use crate::mysql::monitor::Seen;

/// Looks after servers for as long as it is polled, by the configuration the registry has. After a
/// reload, [`Findings::reconfigured`] has to be called. Runs on a tokio-uring runtime.
pub async fn run(registry: Rc<RefCell<Registry>>) {
    let findings = registry.borrow().findings.clone();
    let mut running = Running::default();
    loop {
        reconcile(&registry, &mut running);
        findings.until_reconfigured().await;
    }
}

/// The monitors that run, by the server's address in memory: each task holds its server.
type Running = HashMap<*const Server, Task>;

struct Task {
    interval: Duration,
    handle: JoinHandle<()>,
}

impl Drop for Task {
    fn drop(&mut self) {
        self.handle.abort();
    }
}

/// Starts the monitors that the configuration asks for, goes on with those that it still asks for,
/// and ends the others. Everything but the interval a monitor learns at its next look.
fn reconcile(registry: &Rc<RefCell<Registry>>, running: &mut Running) {
    let wanted = wanted(&registry.borrow());
    running.retain(|server, task| {
        let wanted = wanted.get(server);
        wanted.is_some_and(|(_, monitor)| monitor.interval == task.interval)
    });
    let findings = registry.borrow().findings.clone();
    findings.retain(|server| wanted.contains_key(&server));
    for (id, (server, MysqlMonitor { interval, .. })) in wanted {
        running.entry(id).or_insert_with(|| {
            if findings.of(&server).is_none() {
                settle::begin(&registry.borrow(), &server);
            }
            let task = keep_looking(Rc::clone(registry), server, interval);
            let handle = tokio_uring::spawn(task);
            Task { interval, handle }
        });
    }
}

fn wanted(registry: &Registry) -> HashMap<*const Server, (Arc<Server>, MysqlMonitor)> {
    let pools = registry.pools.iter().zip(&registry.config.pools);
    let members = pools.flat_map(|(pool, configured)| {
        let monitor = configured
            .mysql
            .as_ref()
            .and_then(|mysql| mysql.monitor.as_ref());
        let members = pool.members().iter();
        members.filter_map(move |member| Some((Arc::clone(&member.server), monitor?.clone())))
    });
    members
        .map(|(server, monitor)| (Arc::as_ptr(&server), (server, monitor)))
        .collect()
}

/// What the configuration says now of the monitor of one server.
struct Orders {
    account: Account,
    secrecy: Option<Secrecy>,
    timeout: Duration,
    /// The place of its pool.
    pool: usize,
}

impl Orders {
    /// `None`: nobody is to look at it any more.
    fn of(registry: &Registry, server: &Arc<Server>) -> Option<Self> {
        let (pool, member) = place_of(registry, server)?;
        let policy = registry.pool_tls[pool].clone();
        let monitor = mysql_of(&registry.config.pools[pool])?.monitor.as_ref()?;
        let password = registry.secrets.monitor(pool).cloned();
        Some(Self {
            account: Account {
                user: monitor.user.clone(),
                password: password.unwrap_or_else(|| Arc::new(Password::new(""))),
            },
            secrecy: policy.map(|policy| Secrecy { policy, member }),
            timeout: monitor.timeout,
            pool,
        })
    }
}

/// The place of a server's pool, and the server's in it.
fn place_of(registry: &Registry, server: &Arc<Server>) -> Option<(usize, usize)> {
    let mut pools = registry.pools.iter().enumerate();
    pools.find_map(|(at, pool)| {
        let mut members = pool.members().iter();
        let member = members.position(|member| Arc::ptr_eq(&member.server, server))?;
        Some((at, member))
    })
}

fn mysql_of(pool: &Pool) -> Option<&MysqlPool> {
    pool.mysql.as_ref()
}

async fn keep_looking(registry: Rc<RefCell<Registry>>, server: Arc<Server>, interval: Duration) {
    let (mut line, mut late_in_a_row) = (None, 0);
    sleep(fraction(interval / 10)).await;
    loop {
        let Some(orders) = Orders::of(&registry.borrow(), &server) else {
            return;
        };
        let started = Instant::now();
        let deadline = started + orders.timeout;
        let Orders {
            account, secrecy, ..
        } = orders;
        let looked = look(&mut line, server.address(), &account, secrecy, deadline).await;
        match judge(
            looked,
            started.elapsed(),
            orders.timeout,
            &mut late_in_a_row,
        ) {
            Some(looked) => settle::settle(&registry.borrow(), orders.pool, &server, looked),
            None => tracing::debug!(
                pool = %server.pool(), server = %server.name(), address = %server.address(),
                "a look at the server is void",
            ),
        }
        sleep_until(next_start(started, interval)).await;
    }
}

/// What a look says of the server; `None`: nothing.
fn judge(
    looked: Result<Seen, LookFailure>,
    took: Duration,
    timeout: Duration,
    late_in_a_row: &mut u32,
) -> Option<Result<Seen, String>> {
    match looked {
        Err(LookFailure::Broken(Broken::Host(_))) => None,
        Err(_) if is_excused(took, timeout, late_in_a_row) => None,
        looked => {
            *late_in_a_row = 0;
            Some(looked.map_err(|failure| failure.to_string()))
        }
    }
}
