//! One scrape: from counters to text.

use std::time::UNIX_EPOCH;

use metrics::{Key, Label, Level, Metadata, Recorder};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusRecorder};

use super::catalogue::*;
use super::host::Host;
use super::mysql::scrape_mysql;
use super::text::Exposition;
use super::tls::scrape_tls;
use crate::balance::{Health, Member, Role, Server};
use crate::control::Registry;
use crate::control::mysql::is_usable;
use crate::control::tls::Owner;
use crate::control::totals::{ListenerTotals, ServerTotals, Sessions};
use crate::mysql::monitor::Descent;
use crate::telemetry::{Direction, Reason, Who, WorkerCounters};
use crate::worker::Listener;

/// All metrics at this moment.
pub(in crate::control) fn render(registry: &Registry, host: &Host, ready: bool) -> String {
    let scrape = Scrape::new();
    let mut extra = Exposition::default();
    scrape_listeners(&scrape, &mut extra, registry);
    scrape_servers(&scrape, &mut extra, registry);
    scrape_workers(&scrape, registry);
    scrape_mysql(&scrape, &mut extra, registry);
    scrape_tls(&scrape, registry);
    scrape_logs(&scrape, registry);
    scrape_configuration(&scrape, registry, ready);
    scrape_process(&scrape, &mut extra, registry, host);
    sorted(&scrape.recorder.handle().render()) + &extra.0
}

/// A recorder for one scrape.
pub(super) struct Scrape {
    recorder: PrometheusRecorder,
}

impl Scrape {
    fn new() -> Self {
        let recorder = PrometheusBuilder::new().build_recorder();
        for metric in METRICS {
            match metric.kind {
                Kind::Counter => {
                    recorder.describe_counter(metric.name.into(), None, metric.help.into());
                }
                Kind::Gauge => {
                    recorder.describe_gauge(metric.name.into(), None, metric.help.into());
                }
                Kind::Histogram => {}
            }
        }
        Self { recorder }
    }

    pub(super) fn counter(&self, metric: &Metric, values: &[&str], value: u64) {
        assert_eq!(metric.kind, Kind::Counter, "{}", metric.name);
        let key = key(metric, values);
        self.recorder
            .register_counter(&key, &METADATA)
            .absolute(value);
    }

    pub(super) fn gauge(&self, metric: &Metric, values: &[&str], value: f64) {
        assert_eq!(metric.kind, Kind::Gauge, "{}", metric.name);
        self.recorder
            .register_gauge(&key(metric, values), &METADATA)
            .set(value);
    }
}

static METADATA: Metadata<'static> = Metadata::new("ringway", Level::INFO, None);

fn key(metric: &Metric, values: &[&str]) -> Key {
    assert_eq!(
        metric.labels.len(),
        values.len(),
        "{} has a value per label",
        metric.name
    );
    let label = |(&name, &value): (&&'static str, &&str)| Label::new(name, value.to_owned());
    let labels: Vec<_> = metric.labels.iter().zip(values).map(label).collect();
    Key::from_parts(metric.name, labels)
}

fn scrape_listeners(scrape: &Scrape, extra: &mut Exposition, registry: &Registry) {
    extra.family(&SESSION_SECONDS);
    for listener in registry.listeners() {
        scrape_listener(scrape, extra, listener);
    }
    let limit = registry.shared.total.limit();
    scrape.gauge(&SESSIONS_LIMIT, &[], limit.into());
}

fn scrape_listener(scrape: &Scrape, extra: &mut Exposition, listener: &Listener) {
    let totals = ListenerTotals::of(listener);
    let name = &*listener.name;
    let Sessions { opened, .. } = totals.sessions;
    scrape.counter(&SESSIONS_OPENED, &[name], opened);
    scrape.gauge(&SESSIONS_ACTIVE, &[name], totals.sessions.active() as f64);
    for &(who, reason, sessions) in &totals.closed {
        if sessions > 0 || is_common(who, reason) {
            let labels = [name, who.as_str(), reason.as_str()];
            scrape.counter(&SESSIONS_CLOSED, &labels, sessions);
        }
    }
    if listener.gate.limit() != u32::MAX {
        let limit = listener.gate.limit().into();
        scrape.gauge(&LISTENER_SESSIONS_LIMIT, &[name], limit);
    }
    for direction in Direction::ALL {
        let labels = [name, direction.as_str()];
        let bytes = totals.bytes[direction.index()];
        scrape.counter(&BYTES, &labels, bytes.delivered);
        scrape.counter(&BYTES_RECEIVED, &labels, bytes.received);
    }
    for &(direction, reason, bytes) in &totals.discarded {
        // One series is there before anything has happened, for dashboards.
        if bytes > 0 || reason == Reason::Reset {
            let labels = [name, direction.as_str(), reason.as_str()];
            scrape.counter(&BYTES_DISCARDED, &labels, bytes);
        }
    }
    extra.histogram_us(&SESSION_SECONDS, &[name], &totals.session_time_us);
}

/// The endings that are told before the first of them has happened. All pairs of each listener would
/// be noise; none at all would leave dashboards without a series.
fn is_common(who: Who, reason: Reason) -> bool {
    reason == Reason::Finished && matches!(who, Who::Client | Who::Server)
}

fn scrape_servers(scrape: &Scrape, extra: &mut Exposition, registry: &Registry) {
    extra.family(&CONNECT_SECONDS);
    for member in registry.pools.iter().flat_map(|pool| pool.members()) {
        scrape_server(scrape, extra, registry, &member.server);
        scrape_member(scrape, member);
    }
    for server in &registry.retired_servers {
        scrape_server(scrape, extra, registry, server);
        scrape.gauge(
            &SERVER_WEIGHT,
            &id(server, &server.address().to_string()),
            0.0,
        );
    }
    for member in registry.pools.iter().flat_map(|pool| pool.members()) {
        scrape_checks(scrape, registry, member);
        scrape_monitor(scrape, registry, member);
    }
    for pool in &registry.pools {
        if let Some(writable) = registry.findings.writable(pool) {
            scrape.gauge(&MYSQL_WRITABLE_SERVERS, &[pool.name()], writable as f64);
        }
    }
}

pub(super) fn id<'a>(server: &'a Server, address: &'a str) -> [&'a str; 3] {
    [server.pool(), server.name(), address]
}

pub(super) fn with<'a>([pool, name, address]: [&'a str; 3], label: &'a str) -> [&'a str; 4] {
    [pool, name, address, label]
}

fn scrape_server(scrape: &Scrape, extra: &mut Exposition, registry: &Registry, server: &Server) {
    let totals = ServerTotals::of(server);
    let address = server.address().to_string();
    let id = id(server, &address);
    let Sessions { opened, closed } = totals.sessions;
    scrape.counter(&SERVER_SESSIONS_OPENED, &id, opened);
    scrape.counter(&SERVER_SESSIONS_CLOSED, &id, closed);
    scrape.gauge(
        &SERVER_SESSIONS_ACTIVE,
        &id,
        totals.sessions.active() as f64,
    );
    scrape.gauge(&SERVER_CONNECTIONS, &id, server.sessions().into());
    for direction in Direction::ALL {
        let labels = with(id, direction.as_str());
        scrape.counter(&SERVER_BYTES, &labels, totals.bytes[direction.index()]);
    }
    for &(error, failures) in &totals.connect_failures {
        scrape.counter(&CONNECT_FAILURES, &with(id, error.as_str()), failures);
    }
    scrape.counter(&RETRIES, &id, totals.retries);
    extra.histogram_us(&CONNECT_SECONDS, &id, &totals.connect_time_us);
    let failing = server.is_ejected_peek(registry.shared.now_ms());
    scrape.gauge(&SERVER_UP, &id, flag(server.health() == Health::Up));
    scrape.gauge(&SERVER_FAILING, &id, flag(failing));
}

fn scrape_member(scrape: &Scrape, member: &Member) {
    let address = member.server.address().to_string();
    let id = id(&member.server, &address);
    scrape.gauge(&SERVER_WEIGHT, &id, member.weight.into());
    if let Some(limit) = member.max_connections {
        scrape.gauge(&SERVER_CONNECTIONS_LIMIT, &id, limit.into());
    }
}

fn scrape_checks(scrape: &Scrape, registry: &Registry, member: &Member) {
    let Some(report) = registry.checks.report(&member.server) else {
        return;
    };
    let address = member.server.address().to_string();
    let id = id(&member.server, &address);
    let results = [
        ("passed", report.passed),
        ("failed", report.failed),
        ("void", report.void),
    ];
    for (result, checks) in results {
        scrape.counter(&HEALTH_CHECKS, &with(id, result), checks);
    }
    for (to, changes) in [("up", report.ups), ("down", report.downs)] {
        scrape.counter(&HEALTH_TRANSITIONS, &with(id, to), changes);
    }
    if let Some(last) = report.last {
        scrape.gauge(&HEALTH_CHECK_LAST_SECONDS, &id, last.took.as_secs_f64());
    }
}

fn scrape_monitor(scrape: &Scrape, registry: &Registry, member: &Member) {
    let server = &member.server;
    let found = registry.findings.of(server);
    if server.role().is_none() && found.is_none() {
        return;
    }
    let address = server.address().to_string();
    let id = id(server, &address);
    for role in [Role::Primary, Role::Replica] {
        let has_it = flag(server.role() == Some(role));
        scrape.gauge(&MYSQL_SERVER_ROLE, &with(id, role.as_str()), has_it);
    }
    if let Some(usable) = is_usable(server) {
        scrape.gauge(&MYSQL_REPLICA_USABLE, &id, flag(usable));
    }
    let Some(found) = found else {
        return;
    };
    if let Some(lag) = found.lag() {
        scrape.gauge(&MYSQL_REPLICATION_LAG_SECONDS, &id, lag.as_secs_f64());
    }
    if let Some(descent) = found.descent {
        let follows = flag(descent == Descent::Primary);
        scrape.gauge(&MYSQL_REPLICA_FOLLOWS_PRIMARY, &id, follows);
    }
}

fn scrape_workers(scrape: &Scrape, registry: &Registry) {
    let now_ms = registry.shared.now_ms();
    for (index, worker) in registry.shared.workers().iter().enumerate() {
        scrape_worker(scrape, &index.to_string(), &worker.counters, now_ms);
    }
}

fn scrape_worker(scrape: &Scrape, index: &str, worker: &WorkerCounters, now_ms: u64) {
    let gauges = [
        (&WORKER_SESSIONS, &worker.sessions),
        (&WORKER_OPERATIONS_IN_FLIGHT, &worker.operations_in_flight),
    ];
    for (metric, value) in gauges {
        scrape.gauge(metric, &[index], value.get() as f64);
    }
    let counters = [
        (&WORKER_TURNS, &worker.turns),
        (&WORKER_COMPLETIONS, &worker.completions),
        (&WORKER_COPY_BYTES, &worker.copy_bytes),
        (&WORKER_SPLICE_BYTES, &worker.splice_bytes),
        (&WORKER_BUFFERS_EXHAUSTED, &worker.buffers_exhausted),
        (&WORKER_COMPLETION_OVERFLOWS, &worker.completion_overflows),
        (&WORKER_STALE_COMPLETIONS, &worker.stale_completions),
        (&WORKER_ACCEPT_PAUSES, &worker.accept_pauses),
        (&ACCESS_RECORDS_DROPPED, &worker.access_records_dropped),
        (
            &STATEMENT_RECORDS_DROPPED,
            &worker.statement_records_dropped,
        ),
    ];
    for (metric, value) in counters {
        scrape.counter(metric, &[index], value.get());
    }
    let coalescing_us = worker.coalescing_us.get();
    scrape.gauge(
        &WORKER_COALESCING_SECONDS,
        &[index],
        coalescing_us as f64 / 1e6,
    );
    let idle_ms = now_ms.saturating_sub(worker.last_turn_ms.get());
    scrape.gauge(&WORKER_IDLE_SECONDS, &[index], idle_ms as f64 / 1e3);
}

fn scrape_logs(scrape: &Scrape, registry: &Registry) {
    let (access, statements) = (&registry.access_log, &registry.statement_log);
    scrape.counter(&ACCESS_LOG_LINES, &[], access.lines.get());
    scrape.counter(&ACCESS_LOG_LINES_DROPPED, &[], access.dropped.get());
    scrape.counter(&STATEMENT_LOG_LINES, &[], statements.lines.get());
    scrape.counter(&STATEMENT_LOG_LINES_DROPPED, &[], statements.dropped.get());
}

fn scrape_configuration(scrape: &Scrape, registry: &Registry, ready: bool) {
    let reloads = &registry.reloads;
    scrape.gauge(&CONFIG_GENERATION, &[], registry.shared.generation() as f64);
    scrape.counter(&CONFIG_RELOADS, &["success"], reloads.succeeded);
    scrape.counter(&CONFIG_RELOADS, &["failure"], reloads.failed);
    scrape.gauge(
        &CONFIG_LAST_RELOAD_SUCCESSFUL,
        &[],
        flag(reloads.last_error.is_none()),
    );
    scrape_certificates(scrape, registry);
    scrape.gauge(&READY, &[], flag(ready));
    scrape.gauge(&BUILD_INFO, &[env!("CARGO_PKG_VERSION")], 1.0);
}

/// Those that somebody has to renew.
fn scrape_certificates(scrape: &Scrape, registry: &Registry) {
    for one in registry.tls.certificates() {
        let (metric, owner) = match one.owner() {
            Owner::Listener(name) => (&CERTIFICATE_NOT_AFTER, name),
            Owner::Pool(name) => (&POOL_CERTIFICATE_NOT_AFTER, name),
        };
        let labels = [&**owner, &one.path().to_string_lossy()];
        let not_after = one.certificate().not_after().as_secs();
        scrape.gauge(metric, &labels, not_after as f64);
    }
}

fn scrape_process(scrape: &Scrape, extra: &mut Exposition, registry: &Registry, host: &Host) {
    let usage = host.usage();
    if let Ok(since_epoch) = registry.started_at.duration_since(UNIX_EPOCH) {
        scrape.gauge(&PROCESS_START_TIME, &[], since_epoch.as_secs_f64());
    }
    let gauges = [
        (&PROCESS_RESIDENT_BYTES, usage.resident_bytes),
        (&PROCESS_OPEN_FDS, usage.open_fds),
        (&PROCESS_MAX_FDS, usage.max_fds),
    ];
    for (metric, value) in gauges {
        if let Some(value) = value {
            scrape.gauge(metric, &[], value as f64);
        }
    }
    // The exporter's counters are whole numbers, and whole seconds of CPU are too coarse.
    if let Some(cpu) = usage.cpu {
        extra.family(&PROCESS_CPU_SECONDS);
        extra.counter(&PROCESS_CPU_SECONDS, &[], cpu.as_secs_f64());
    }
}

fn flag(is: bool) -> f64 {
    if is { 1.0 } else { 0.0 }
}

/// The exporter's families and series in the order of their names: it renders hash maps, and nobody
/// can read, compare or compress what is shuffled anew each time.
fn sorted(rendered: &str) -> String {
    let mut families: Vec<Vec<&str>> = rendered
        .split("\n\n")
        .map(|family| family.lines().filter(|line| !line.is_empty()).collect())
        .collect();
    for family in &mut families {
        let comments = family
            .iter()
            .take_while(|line| line.starts_with('#'))
            .count();
        family[comments..].sort_unstable();
    }
    families.sort_unstable();
    families
        .iter()
        .flatten()
        .flat_map(|line| [line, "\n"])
        .collect()
}
