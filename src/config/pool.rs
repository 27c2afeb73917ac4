//! `[[pool]]` and what stands below it.

use std::time::Duration;

use toml::de::DeValue;

use super::address::{Address, server_address};
use super::diagnostic::Complaint;
use super::duration::format_duration;
use super::file::read_name;
use super::model::{
    Algorithm, HealthCheck, HealthCheckKind, Pool, PoolSettings, Server, ServerAddress,
};
use super::mysql::{Servers, read_mysql, read_role};
use super::reader::{Report, Table, Unique};
use super::tls::PoolTlsTable;
use super::usage::Speaks;
use super::{bounds, schema, value};

const CHECK_INTERVAL: Duration = Duration::from_secs(2);
const CHECK_TIMEOUT: Duration = Duration::from_secs(1);
const CHECK_RISE: u8 = 2;
const CHECK_FALL: u8 = 3;

/// Reads a pool whose name has been read already.
pub(super) fn read_pool(
    table: &Table<'_>,
    name: Option<String>,
    speaks: Speaks,
    report: &Report<'_>,
) -> Option<Pool> {
    let settings = read_settings(table, speaks, report);
    let tls = PoolTlsTable::read(table, speaks, report);
    let check_table = table.table("health_check", &schema::HEALTH_CHECK);
    let health_check = check_table
        .as_ref()
        .map(|table| read_health_check(table, speaks, &tls, report));
    let mysql_table = table.table("mysql", &schema::MYSQL);
    if let Some(table) = mysql_table.as_ref().filter(|_| speaks == Speaks::Tcp) {
        let complaint = Complaint::new("[pool.mysql] stands in a pool that no mysql listener uses");
        let help = "set `protocol = \"mysql\"` on the pool's listener, or leave the table out";
        report.error(&table.span, complaint.help(help));
    }
    let mysql = read_mysql(mysql_table.as_ref(), report);
    let server_tables = table.tables("server", &schema::SERVER);
    let servers = read_servers(table, &server_tables, &tls, report);
    Servers {
        tables: &server_tables,
        read: &servers,
    }
    .check_roles(table, speaks, mysql.as_ref(), report);
    if let Some(table) = check_table.filter(|table| table.has("port")) {
        forbid_ports_of_paths(&table, &servers, report);
    }
    let is_mysql = speaks == Speaks::Mysql;
    Some(Pool {
        name: name?,
        settings,
        health_check: health_check.or_else(|| is_mysql.then(|| mysql_health_check(&tls))),
        tls: tls.tls,
        mysql: match is_mysql {
            true => Some(mysql?),
            false => None,
        },
        servers: servers.into_iter().collect::<Option<_>>()?,
    })
}

fn read_settings(table: &Table<'_>, speaks: Speaks, report: &Report<'_>) -> PoolSettings {
    const ALGORITHMS: &[(&str, Algorithm)] = &[
        ("round_robin", Algorithm::RoundRobin),
        ("source", Algorithm::Source),
    ];
    let algorithm = table.optional("algorithm", value::one_of(ALGORITHMS));
    let timeout = |key| table.optional(key, value::timeout);
    let minute = Duration::from_secs(60);
    // Pools of applications keep connections for as long as a server lets them: `wait_timeout`.
    let idle_default = match speaks {
        Speaks::Mysql => 8 * 60 * minute,
        Speaks::Tcp | Speaks::Unclear => 5 * minute,
    };
    let idle_timeout = timeout("idle_timeout").unwrap_or(idle_default);
    let connect_deadline = timeout("connect_deadline").unwrap_or(Duration::from_secs(5));
    let connect_timeout = timeout("connect_timeout");
    if connect_timeout.is_some_and(|timeout| timeout > connect_deadline) {
        let deadline = format_duration(connect_deadline);
        let message = format!("is longer than `connect_deadline`, which is {deadline}");
        let complaint = Complaint::new(message).about("connect_timeout");
        let help = "the deadline covers all tries of a session, so it is the longer one";
        report.error(&table.span_of("connect_timeout"), complaint.help(help));
    }
    let user_timeout = value::duration(bounds::TIMEOUT_MIN..=bounds::TCP_USER_TIMEOUT_MAX);
    PoolSettings {
        algorithm: algorithm.unwrap_or(Algorithm::RoundRobin),
        connect_timeout: connect_timeout.unwrap_or(Duration::from_secs(2).min(connect_deadline)),
        connect_deadline,
        retries: table
            .optional("retries", value::integer(bounds::RETRIES))
            .unwrap_or(3),
        idle_timeout,
        half_close_timeout: timeout("half_close_timeout").unwrap_or(minute),
        max_fails: table
            .optional("max_fails", value::integer(bounds::MAX_FAILS))
            .unwrap_or(3),
        fail_timeout: timeout("fail_timeout").unwrap_or(Duration::from_secs(10)),
        removed_server_timeout: table.optional("removed_server_timeout", value::grace),
        reset_linger: table
            .optional("reset_linger", value::grace)
            .unwrap_or(Duration::from_secs(1)),
        tcp_user_timeout: table
            .optional("tcp_user_timeout", user_timeout)
            .unwrap_or(idle_timeout.min(bounds::TCP_USER_TIMEOUT_MAX)),
        keepalive_idle: table
            .optional("keepalive_idle", value::seconds)
            .unwrap_or(minute),
        keepalive_interval: table
            .optional("keepalive_interval", value::seconds)
            .unwrap_or(Duration::from_secs(10)),
        keepalive_probes: table
            .optional("keepalive_probes", value::integer(bounds::KEEPALIVE_PROBES))
            .unwrap_or(3),
    }
}

/// What servers behind a mysql listener are checked by where the file says nothing.
fn mysql_health_check(pool_tls: &PoolTlsTable) -> HealthCheck {
    HealthCheck {
        kind: HealthCheckKind::Mysql,
        interval: CHECK_INTERVAL,
        timeout: CHECK_TIMEOUT,
        rise: CHECK_RISE,
        fall: CHECK_FALL,
        port: None,
        tls: pool_tls.tls.is_some(),
    }
}

fn read_health_check(
    table: &Table<'_>,
    speaks: Speaks,
    pool_tls: &PoolTlsTable,
    report: &Report<'_>,
) -> HealthCheck {
    let checks_in_a_row = |key, default| {
        let read = value::integer(bounds::CHECKS_IN_A_ROW);
        table.optional(key, read).unwrap_or(default)
    };
    let interval = table.optional("interval", value::timeout);
    let interval = interval.unwrap_or(CHECK_INTERVAL);
    let timeout = table.optional("timeout", value::timeout);
    if timeout.is_some_and(|timeout| timeout > interval) {
        let interval = format_duration(interval);
        let message = format!("is longer than `interval`, which is {interval}");
        let complaint = Complaint::new(message).about("timeout");
        let help = "a check that is not answered delays the next one";
        report.warn(&table.span_of("timeout"), complaint.help(help));
    }
    let kind = read_check_kind(table, speaks, report);
    let port = table.optional("port", value::integer(bounds::PORT));
    HealthCheck {
        interval,
        timeout: timeout.unwrap_or(CHECK_TIMEOUT),
        rise: checks_in_a_row("rise", CHECK_RISE),
        fall: checks_in_a_row("fall", CHECK_FALL),
        tls: read_check_tls(table, port, pool_tls, report),
        kind,
        port,
    }
}

/// Whether checks are made over TLS. A port of its own is as often a plain one as not.
fn read_check_tls(
    table: &Table<'_>,
    port: Option<u16>,
    pool_tls: &PoolTlsTable,
    report: &Report<'_>,
) -> bool {
    let written = table.optional("tls", value::boolean);
    if written == Some(true) && !pool_tls.exists() {
        let complaint = Complaint::new("takes a pool with a [pool.tls], and this one has none");
        let complaint = complaint.about("tls").help("add one, or leave it out");
        report.error(&table.span_of("tls"), complaint);
    }
    pool_tls.tls.is_some() && written.unwrap_or(port.is_none())
}

fn read_check_kind(table: &Table<'_>, speaks: Speaks, report: &Report<'_>) -> HealthCheckKind {
    #[derive(Clone, Copy, PartialEq)]
    enum Type {
        Tcp,
        Http,
        Mysql,
    }
    const TYPES: &[(&str, Type)] = &[
        ("tcp", Type::Tcp),
        ("http", Type::Http),
        ("mysql", Type::Mysql),
    ];
    let written = table.optional("type", value::one_of(TYPES));
    let path = table.optional("path", value::http_path);
    let host = table.optional("host", value::http_field);
    let expect = table.list("expect", value::status_range);
    let default = match speaks {
        Speaks::Mysql => Type::Mysql,
        Speaks::Tcp | Speaks::Unclear => Type::Tcp,
    };
    let kind = written.unwrap_or(default);
    if speaks == Speaks::Mysql && kind != Type::Mysql && !table.has("port") {
        let message = "leaves a handshake of a MySQL server unfinished at every check, and servers \
                       block hosts that do so (max_connect_errors)";
        let help = "leave it out, or name the `port` of something else that answers for the server";
        let complaint = Complaint::new(message).about("type").help(help);
        report.error(&table.span_of("type"), complaint);
    }
    // A type that is wrong has been recorded, and may have been meant to be "http".
    let is_known = written.is_some() || !table.has("type");
    for key in ["path", "host", "expect"] {
        if is_known && kind != Type::Http && table.has(key) {
            let complaint = Complaint::new("means something in HTTP checks only").about(key);
            let help = "add `type = \"http\"`, or leave it out";
            report.error(&table.span_of(key), complaint.help(help));
        }
    }
    match kind {
        Type::Tcp => HealthCheckKind::Tcp,
        Type::Mysql => HealthCheckKind::Mysql,
        Type::Http => HealthCheckKind::Http {
            path: path.unwrap_or_else(|| "/".to_owned()),
            host,
            expect: expect.map_or_else(
                || vec![(200, 399)],
                |found| found.into_iter().map(|(range, _)| range).collect(),
            ),
        },
    }
}

/// A check has a port of its own, and there is a server without ports.
fn forbid_ports_of_paths(table: &Table<'_>, servers: &[Option<Server>], report: &Report<'_>) {
    let is_unix =
        |server: &&Server| matches!(server.address, ServerAddress::Fixed(Address::Unix(_)));
    if let Some(server) = servers.iter().flatten().find(is_unix) {
        let name = &server.name;
        let message = format!("cannot be checked on server \"{name}\", which is a unix socket");
        let complaint = Complaint::new(message).about("port");
        let help = "leave it out, or give that server a pool of its own";
        report.error(&table.span_of("port"), complaint.help(help));
    }
}

fn read_servers(
    table: &Table<'_>,
    tables: &[Table<'_>],
    tls: &PoolTlsTable,
    report: &Report<'_>,
) -> Vec<Option<Server>> {
    if tables.is_empty() {
        if !table.has("server") {
            let complaint = Complaint::new("the pool has no server");
            let help = "add a [[pool.server]] below it, with a name and an address";
            report.missing(&table.span, complaint.help(help));
        }
        return Vec::new();
    }
    let mut names = Unique::default();
    let mut addresses = Unique::default();
    let mut read = |table: &Table<'_>| {
        let name = read_name(table, "server", &mut names, report);
        read_server(table, name, tls, &mut addresses, report)
    };
    let servers: Vec<_> = tables.iter().map(&mut read).collect();
    let complete: Option<Vec<&Server>> = servers.iter().map(Option::as_ref).collect();
    if let Some(Err(complaint)) = complete.map(check_weights) {
        report.missing(&table.span, complaint);
    }
    servers
}

fn read_server(
    table: &Table<'_>,
    name: Option<String>,
    tls: &PoolTlsTable,
    addresses: &mut Unique<ServerAddress>,
    report: &Report<'_>,
) -> Option<Server> {
    let help = "add `address = \"10.0.0.11:80\"`, or wherever the server is";
    let read = |v: &DeValue<'_>| server_address(value::text(v)?);
    let address = table.required("address", help, read);
    let span = table.span_of("address");
    if let Some(Err(first)) = address.clone().map(|a| addresses.claim(a, span.clone())) {
        let line = report.line_of(&first);
        let message = format!("another server of the pool has this address, in line {line}");
        report.error(&span, Complaint::new(message));
    }
    let weight = table.optional("weight", value::integer(bounds::WEIGHT));
    let max_connections = table.optional("max_connections", value::integer(bounds::CONNECTIONS));
    let backup = table.optional("backup", value::boolean);
    let role = read_role(table);
    let server_name = tls.name_of(table, address.as_ref(), report);
    Some(Server {
        name: name?,
        address: address?,
        weight: weight.unwrap_or(1),
        max_connections,
        backup: backup.unwrap_or(false),
        role,
        server_name,
        position: report.position(&span),
    })
}

/// What a pool's servers have to be together: few enough, at least one with a weight, and weights
/// whose schedule fits in its table. Regular servers and backups have a schedule each.
pub(super) fn check_weights(servers: Vec<&Server>) -> Result<(), Complaint> {
    if servers.len() > bounds::SERVERS_PER_POOL_MAX {
        let max = bounds::SERVERS_PER_POOL_MAX;
        let message = format!(
            "the pool has {} servers, and at most {max} fit",
            servers.len()
        );
        return Err(Complaint::new(message));
    }
    if servers.iter().all(|server| server.weight == 0) {
        let complaint = Complaint::new("no server of the pool can get sessions");
        return Err(complaint.help("give at least one a weight above 0"));
    }
    for backup in [false, true] {
        let tier = servers.iter().filter(|server| server.backup == backup);
        let weights = tier.map(|server| u64::from(server.weight));
        let shared = weights.clone().fold(0, gcd).max(1);
        let slots = weights.sum::<u64>() / shared;
        if slots > bounds::WEIGHT_SLOTS_MAX {
            let max = bounds::WEIGHT_SLOTS_MAX;
            let message = format!("the pool's weights add up to {slots}, and at most {max} fit");
            let help = "use smaller weights, or weights with a common factor";
            return Err(Complaint::new(message).help(help));
        }
    }
    Ok(())
}

fn gcd(a: u64, b: u64) -> u64 {
    if b == 0 { a } else { gcd(b, a % b) }
}
