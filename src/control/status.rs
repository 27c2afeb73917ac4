//! `/api/status`: everything an operator asks first, as JSON. `docs/metrics.md` lists the fields; a
//! test holds it to that.

use std::collections::BTreeMap;
use std::time::SystemTime;

use serde::Serialize;

use super::health::Report;
use super::metrics::{Host, Usage};
use super::mysql::{Finding, is_usable};
use super::mysql_status::MysqlStatus;
use super::timestamp::Timestamp;
use super::tls::{Owner, Watched};
use super::totals::{Bytes, ListenerTotals, ServerTotals, Sessions};
use super::{Lifecycle, LogCounters, Registry};
use crate::balance::{Health, Member, Pool, Role, Server};
use crate::mysql::monitor::{Descent, Writable};
use crate::telemetry::{HistogramSnapshot, WorkerCounters};
use crate::worker::{Gate, Listener, Route};

/// The process at one moment.
#[derive(Debug, Serialize)]
pub(super) struct Status {
    version: &'static str,
    started_at: Timestamp,
    uptime_seconds: u64,
    lifecycle: &'static str,
    ready: bool,
    not_ready_because: Vec<String>,
    generation: u64,
    reloads: ReloadsStatus,
    sessions: SessionsStatus,
    listeners: Vec<ListenerStatus>,
    pools: Vec<PoolStatus>,
    workers: Vec<WorkerStatus>,
    access_log: Option<LogStatus>,
    statement_log: Option<LogStatus>,
    process: ProcessStatus,
}

#[derive(Debug, Serialize)]
struct ReloadsStatus {
    succeeded: u64,
    failed: u64,
    last_error: Option<String>,
}

#[derive(Debug, Serialize)]
struct SessionsStatus {
    opened: u64,
    closed: u64,
    active: u64,
    limit: Option<u32>,
}

#[derive(Debug, Serialize)]
struct ListenerStatus {
    name: String,
    state: &'static str,
    addresses: Vec<String>,
    pool: Option<String>,
    sessions: SessionsStatus,
    bytes_in: BytesStatus,
    bytes_out: BytesStatus,
    /// Endings that have happened.
    closed: Vec<EndingStatus>,
    mysql: Option<MysqlStatus>,
    certificates: Vec<CertificateStatus>,
}

#[derive(Debug, Serialize)]
struct CertificateStatus {
    file: String,
    subject: String,
    algorithm: &'static str,
    not_after: Timestamp,
}

#[derive(Debug, Serialize)]
struct BytesStatus {
    received: u64,
    delivered: u64,
    discarded: u64,
}

#[derive(Debug, Serialize)]
struct EndingStatus {
    who: &'static str,
    reason: &'static str,
    sessions: u64,
}

#[derive(Debug, Serialize)]
struct PoolStatus {
    name: String,
    algorithm: &'static str,
    checked: bool,
    unauthenticated_sessions: Option<u32>,
    certificates: Vec<CertificateStatus>,
    servers: Vec<ServerStatus>,
}

#[derive(Debug, Serialize)]
struct ServerStatus {
    name: String,
    address: String,
    state: &'static str,
    weight: u16,
    backup: bool,
    failures_in_a_row: u32,
    sessions: SessionsStatus,
    connections: u32,
    bytes_in: u64,
    bytes_out: u64,
    retries: u64,
    connect_failures: BTreeMap<&'static str, u64>,
    connect_ms_mean: Option<f64>,
    statements: u64,
    statement_ms_mean: Option<f64>,
    role: Option<&'static str>,
    usable: Option<bool>,
    monitor: Option<MonitorStatus>,
    check: Option<CheckStatus>,
}

#[derive(Debug, Serialize)]
struct MonitorStatus {
    writable: Option<bool>,
    lag_seconds: Option<u64>,
    follows: Option<&'static str>,
    last_error: Option<String>,
}

#[derive(Debug, Serialize)]
struct CheckStatus {
    passed: u64,
    failed: u64,
    void: u64,
    last_at: Option<Timestamp>,
    last_passed: Option<bool>,
    last_detail: Option<String>,
    last_ms: Option<f64>,
}

#[derive(Debug, Serialize)]
struct WorkerStatus {
    sessions: u64,
    turns: u64,
    completions: u64,
    operations_in_flight: u64,
    copy_bytes: u64,
    splice_bytes: u64,
    buffers_exhausted: u64,
    completion_overflows: u64,
    stale_completions: u64,
    accept_pauses: u64,
    access_records_dropped: u64,
    statement_records_dropped: u64,
    idle_ms: u64,
}

#[derive(Debug, Serialize)]
struct LogStatus {
    lines: u64,
    lines_dropped: u64,
}

#[derive(Debug, Serialize)]
struct ProcessStatus {
    cpu_seconds: Option<f64>,
    resident_bytes: Option<u64>,
    open_fds: Option<u64>,
    max_fds: Option<u64>,
}

impl Status {
    /// The status, with what [`not_ready`](super::readiness::not_ready) has found.
    pub(super) fn new(registry: &Registry, host: &Host, not_ready_because: Vec<String>) -> Self {
        let now_ms = registry.shared.now_ms();
        let uptime = SystemTime::now().duration_since(registry.started_at);
        let listeners = listeners(registry);
        let reloads = registry.reloads.clone();
        let config = &registry.config;
        Self {
            version: env!("CARGO_PKG_VERSION"),
            started_at: Timestamp(registry.started_at),
            uptime_seconds: uptime.unwrap_or_default().as_secs(),
            lifecycle: lifecycle(registry.lifecycle),
            ready: not_ready_because.is_empty(),
            not_ready_because,
            generation: registry.shared.generation(),
            reloads: ReloadsStatus {
                succeeded: reloads.succeeded,
                failed: reloads.failed,
                last_error: reloads.last_error,
            },
            sessions: sum(&listeners, &registry.shared.total),
            listeners,
            pools: pools(registry, now_ms),
            workers: registry
                .shared
                .workers()
                .iter()
                .map(|worker| WorkerStatus::new(&worker.counters, now_ms))
                .collect(),
            access_log: LogStatus::new(config.access_log.is_some(), &registry.access_log),
            statement_log: LogStatus::new(config.statement_log.is_some(), &registry.statement_log),
            process: ProcessStatus::new(host.usage()),
        }
    }
}

fn lifecycle(lifecycle: Lifecycle) -> &'static str {
    match lifecycle {
        Lifecycle::Running => "running",
        Lifecycle::Leaving => "leaving",
        Lifecycle::Draining => "draining",
    }
}

/// Those that still have an address are open, the others finish what they have.
fn listeners(registry: &Registry) -> Vec<ListenerStatus> {
    let open = registry.snapshot.listeners.iter();
    let open = open.map(|route| ListenerStatus {
        certificates: certificates(registry, &Owner::Listener(route.listener.name.to_string())),
        ..ListenerStatus::new(&route.listener, Some(route))
    });
    let retired = registry.retired_listeners.iter();
    open.chain(retired.map(|listener| ListenerStatus::new(listener, None)))
        .collect()
}

/// Those that a listener shows to clients, or a pool to servers.
fn certificates(registry: &Registry, owner: &Owner) -> Vec<CertificateStatus> {
    let all = registry.tls.certificates().iter();
    let shown = all.filter(|one| one.owner() == owner);
    let status = |one: &Watched| CertificateStatus {
        file: one.path().display().to_string(),
        subject: one.certificate().subject().to_owned(),
        algorithm: one.certificate().algorithm(),
        not_after: one.not_after(),
    };
    shown.map(status).collect()
}

fn sum(listeners: &[ListenerStatus], total: &Gate) -> SessionsStatus {
    let sum = |count: fn(&SessionsStatus) -> u64| -> u64 {
        listeners
            .iter()
            .map(|listener| count(&listener.sessions))
            .sum()
    };
    SessionsStatus {
        opened: sum(|sessions| sessions.opened),
        closed: sum(|sessions| sessions.closed),
        active: sum(|sessions| sessions.active),
        limit: limit(total),
    }
}

fn limit(gate: &Gate) -> Option<u32> {
    (gate.limit() != u32::MAX).then(|| gate.limit())
}

impl SessionsStatus {
    fn new(sessions: Sessions, limit: Option<u32>) -> Self {
        let Sessions { opened, closed } = sessions;
        Self {
            opened,
            closed,
            active: sessions.active(),
            limit,
        }
    }
}

impl ListenerStatus {
    fn new(listener: &Listener, route: Option<&std::sync::Arc<Route>>) -> Self {
        let totals = ListenerTotals::of(listener);
        let addresses: Vec<_> = route
            .map(|route| {
                route
                    .sockets
                    .iter()
                    .map(|socket| socket.address.to_string())
                    .collect()
            })
            .unwrap_or_default();
        let ended = totals
            .closed
            .iter()
            .filter(|&&(_, _, sessions)| sessions > 0);
        let [bytes_in, bytes_out] = totals.bytes.map(BytesStatus::new);
        Self {
            name: listener.name.to_string(),
            state: if addresses.is_empty() {
                "draining"
            } else {
                "open"
            },
            addresses,
            pool: route.map(|route| route.pool.name().to_string()),
            sessions: SessionsStatus::new(totals.sessions, limit(&listener.gate)),
            bytes_in,
            bytes_out,
            closed: ended
                .map(|&(who, reason, sessions)| EndingStatus {
                    who: who.as_str(),
                    reason: reason.as_str(),
                    sessions,
                })
                .collect(),
            mysql: MysqlStatus::new(listener, route.is_some_and(|route| route.mysql.is_some())),
            certificates: Vec::new(),
        }
    }
}

impl BytesStatus {
    fn new(
        Bytes {
            received,
            delivered,
            discarded,
        }: Bytes,
    ) -> Self {
        Self {
            received,
            delivered,
            discarded,
        }
    }
}

/// The configured pools with their servers; removed servers stand with their pool while they
/// drain, in one that is gone, too, if need be.
fn pools(registry: &Registry, now_ms: u64) -> Vec<PoolStatus> {
    let pool_status = |pool: &std::sync::Arc<Pool>| {
        let configured = registry
            .config
            .pools
            .iter()
            .find(|c| c.name == **pool.name());
        let servers = pool.members().iter();
        PoolStatus {
            name: pool.name().to_string(),
            algorithm: pool.settings().algorithm.name(),
            checked: configured.is_some_and(|configured| configured.health_check.is_some()),
            unauthenticated_sessions: unauthenticated(registry, pool),
            certificates: certificates(registry, &Owner::Pool(pool.name().to_string())),
            servers: servers
                .map(|member| ServerStatus::of_member(registry, member, now_ms))
                .collect(),
        }
    };
    let mut pools: Vec<_> = registry.pools.iter().map(pool_status).collect();
    for server in &registry.retired_servers {
        let known = pools.iter().position(|pool| pool.name == **server.pool());
        let index = known.unwrap_or_else(|| {
            pools.push(PoolStatus::removed(server.pool()));
            pools.len() - 1
        });
        pools[index].servers.push(ServerStatus::retired(server));
    }
    pools
}

impl PoolStatus {
    fn removed(name: &str) -> Self {
        Self {
            name: name.into(),
            algorithm: "removed",
            checked: false,
            unauthenticated_sessions: None,
            certificates: Vec::new(),
            servers: Vec::new(),
        }
    }
}

impl ServerStatus {
    fn of_member(registry: &Registry, member: &Member, now_ms: u64) -> Self {
        let server = &member.server;
        Self {
            state: state(member, now_ms),
            weight: member.weight,
            backup: member.backup,
            role: server.role().map(Role::as_str),
            usable: is_usable(server),
            monitor: registry.findings.of(server).map(MonitorStatus::new),
            check: registry.checks.report(server).map(CheckStatus::new),
            ..Self::new(server, member.max_connections)
        }
    }

    fn retired(server: &Server) -> Self {
        Self {
            state: "draining",
            ..Self::new(server, None)
        }
    }

    fn new(server: &Server, limit: Option<u32>) -> Self {
        let totals = ServerTotals::of(server);
        let [bytes_in, bytes_out] = totals.bytes;
        let failures = totals
            .connect_failures
            .iter()
            .filter(|&&(_, failures)| failures > 0);
        Self {
            name: server.name().to_string(),
            address: server.address().to_string(),
            state: "up",
            weight: 0,
            backup: false,
            failures_in_a_row: server.failures(),
            sessions: SessionsStatus::new(totals.sessions, limit),
            connections: server.sessions(),
            bytes_in,
            bytes_out,
            retries: totals.retries,
            connect_failures: failures
                .map(|&(error, count)| (error.as_str(), count))
                .collect(),
            connect_ms_mean: mean_ms(&totals.connect_time_us),
            statements: totals.statement_time_us.count(),
            statement_ms_mean: mean_ms(&totals.statement_time_us),
            role: None,
            usable: None,
            monitor: None,
            check: None,
        }
    }
}

fn mean_ms(us: &HistogramSnapshot) -> Option<f64> {
    let count = us.count();
    (count > 0).then(|| us.sum as f64 / count as f64 / 1e3)
}

/// Sessions of a pool that have not logged in, if it is one of a mysql listener.
fn unauthenticated(registry: &Registry, pool: &Pool) -> Option<u32> {
    let mut routes = registry.snapshot.listeners.iter();
    let route = routes.find(|route| route.pool.name() == pool.name())?;
    Some(route.mysql.as_ref()?.settings.unauthenticated.count())
}

/// One word for what keeps a server from new sessions; the most lasting cause first.
fn state(member: &Member, now_ms: u64) -> &'static str {
    let server = &member.server;
    if server.health() == Health::Down {
        "down"
    } else if server.is_ejected_peek(now_ms) {
        "failing"
    } else if member.weight == 0 {
        "idle"
    } else if member
        .max_connections
        .is_some_and(|limit| server.sessions() >= limit)
    {
        "full"
    } else {
        "up"
    }
}

impl MonitorStatus {
    fn new(found: Finding) -> Self {
        Self {
            writable: match found.writable {
                Writable::Yes => Some(true),
                Writable::No => Some(false),
                Writable::Unseen | Writable::Unreached | Writable::Unknown => None,
            },
            lag_seconds: found.lag().map(|lag| lag.as_secs()),
            follows: found.descent.map(Descent::as_str),
            last_error: found.error,
        }
    }
}

impl CheckStatus {
    fn new(report: Report) -> Self {
        let last = report.last.as_ref();
        Self {
            passed: report.passed,
            failed: report.failed,
            void: report.void,
            last_at: last.map(|last| Timestamp(last.at)),
            last_passed: last.map(|last| last.passed),
            last_detail: last.map(|last| last.detail.clone()),
            last_ms: last.map(|last| last.took.as_secs_f64() * 1e3),
        }
    }
}

impl WorkerStatus {
    fn new(counters: &WorkerCounters, now_ms: u64) -> Self {
        Self {
            sessions: counters.sessions.get(),
            turns: counters.turns.get(),
            completions: counters.completions.get(),
            operations_in_flight: counters.operations_in_flight.get(),
            copy_bytes: counters.copy_bytes.get(),
            splice_bytes: counters.splice_bytes.get(),
            buffers_exhausted: counters.buffers_exhausted.get(),
            completion_overflows: counters.completion_overflows.get(),
            stale_completions: counters.stale_completions.get(),
            accept_pauses: counters.accept_pauses.get(),
            access_records_dropped: counters.access_records_dropped.get(),
            statement_records_dropped: counters.statement_records_dropped.get(),
            idle_ms: now_ms.saturating_sub(counters.last_turn_ms.get()),
        }
    }
}

impl LogStatus {
    fn new(is_written: bool, counters: &LogCounters) -> Option<Self> {
        is_written.then(|| Self {
            lines: counters.lines.get(),
            lines_dropped: counters.dropped.get(),
        })
    }
}

impl ProcessStatus {
    fn new(usage: Usage) -> Self {
        Self {
            cpu_seconds: usage.cpu.map(|cpu| cpu.as_secs_f64()),
            resident_bytes: usage.resident_bytes,
            open_fds: usage.open_fds,
            max_fds: usage.max_fds,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde_json::Value;

    use super::super::{LoadedTls, documented, testing};
    use super::*;

    /// What is counted by label: an object of which every field is one.
    const COUNTS: [&str; 5] = [
        ".connect_failures",
        ".logins",
        ".primary_only",
        ".login_failures",
        ".pinned",
    ];

    /// `a.b[].c` for every field, objects and lists taken apart.
    fn paths(value: &Value, prefix: &str, found: &mut BTreeSet<String>) {
        match value {
            Value::Object(fields) if COUNTS.iter().any(|counts| prefix.ends_with(counts)) => {
                assert!(fields.values().all(Value::is_u64));
                found.insert(prefix.into());
            }
            Value::Object(fields) => {
                let dot = if prefix.is_empty() { "" } else { "." };
                for (name, value) in fields {
                    paths(value, &format!("{prefix}{dot}{name}"), found);
                }
            }
            Value::Array(items) if items.iter().any(Value::is_object) => {
                for item in items {
                    paths(item, &format!("{prefix}[]"), found);
                }
            }
            _ => {
                found.insert(prefix.into());
            }
        }
    }

    #[test]
    fn status_has_the_documented_fields() {
        let registry = testing::busy_registry();
        let status = Status::new(&registry.borrow(), &Host::new(), Vec::new());
        let mut found = BTreeSet::new();
        paths(&serde_json::to_value(&status).unwrap(), "", &mut found);
        // Empty in one place, with fields in another.
        for empty in [
            "listeners[].certificates",
            "listeners[].closed",
            "listeners[].mysql",
            "pools[].servers[].check",
            "pools[].servers[].monitor",
        ] {
            assert!(found.remove(empty), "{empty}");
        }
        let documented: BTreeSet<_> = documented::names("Status fields").into_iter().collect();
        assert_eq!(found, documented);
    }

    #[test]
    fn certificates_stand_with_the_listener_or_the_pool_that_shows_them() {
        let registry = testing::busy_registry();
        for (owner, expected) in [
            (Owner::Listener("front".into()), [1, 0]),
            (Owner::Pool("web".into()), [0, 1]),
            (Owner::Pool("front".into()), [0, 0]),
        ] {
            registry.borrow_mut().tls = LoadedTls::showing([owner], "/etc/ringway/one.pem");
            let status = Status::new(&registry.borrow(), &Host::new(), Vec::new());
            let of_listener = &status.listeners[0].certificates;
            let of_pool = &status.pools[0].certificates;
            assert_eq!([of_listener.len(), of_pool.len()], expected);
            for one in of_listener.iter().chain(of_pool) {
                assert_eq!(one.file, "/etc/ringway/one.pem");
            }
        }
    }

    #[test]
    fn removed_servers_are_shown_with_their_pool_while_they_drain() {
        let registry = testing::busy_registry();
        let status = Status::new(&registry.borrow(), &Host::new(), Vec::new());
        let states = |pool: &PoolStatus| -> Vec<_> {
            pool.servers
                .iter()
                .map(|server| (server.name.clone(), server.state))
                .collect()
        };
        let web = [
            ("web-01".into(), "up"),
            ("web-02".into(), "down"),
            ("web-00".into(), "draining"),
        ];
        assert_eq!(states(&status.pools[0]), web);
        assert_eq!(status.listeners[0].state, "open");
        assert_eq!(
            status.sessions.opened,
            status.sessions.closed + status.sessions.active
        );
    }
}
