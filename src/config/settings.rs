//! Each table's settings as keys and values: what two configurations are compared by, and what a
//! configuration is written as.

use super::duration::format_duration;
use super::model::{
    AccessLog, Algorithm, Config, HealthCheck, HealthCheckKind, Listener, Log, LogFormat, LogLevel,
    LogTarget, Pool, Process, Protocol, Server, StatementLog, Workers,
};
use super::mysql::{MysqlPool, ReadAfterWrite, Roles, SecretSource};

/// A key and its value, `None` where the key may be left out and is.
pub(super) type Setting = (&'static str, Option<String>);

pub(super) fn of_process(process: &Process) -> Vec<Setting> {
    let workers = match process.workers {
        Workers::Auto => "auto".to_owned(),
        Workers::Count(count) => count.to_string(),
    };
    vec![
        ("workers", Some(workers)),
        ("pin_workers", some(process.pin_workers)),
        ("max_connections", process.max_connections.and_then(some)),
        (
            "drain_timeout",
            Some(format_duration(process.drain_timeout)),
        ),
        (
            "shutdown_delay",
            Some(format_duration(process.shutdown_delay)),
        ),
    ]
}

pub(super) fn of_admin(config: &Config) -> Vec<Setting> {
    let listen = config.admin.as_ref().map(|admin| admin.listen.to_string());
    vec![("listen", listen)]
}

pub(super) fn of_log(log: &Log) -> Vec<Setting> {
    let level = match log.level {
        LogLevel::Debug => "debug",
        LogLevel::Info => "info",
        LogLevel::Warn => "warn",
        LogLevel::Error => "error",
    };
    vec![("level", some(level)), ("format", some(format(log.format)))]
}

pub(super) fn of_access_log(log: Option<&AccessLog>) -> Vec<Setting> {
    let path = log.map(|log| target(&log.target));
    let format = log.and_then(|log| some(format(log.format)));
    vec![("path", path), ("format", format)]
}

pub(super) fn of_statement_log(log: Option<&StatementLog>) -> Vec<Setting> {
    let slower_than = log.map(|log| format_duration(log.slower_than));
    vec![
        ("path", log.map(|log| target(&log.target))),
        ("format", log.and_then(|log| some(format(log.format)))),
        ("slower_than", slower_than),
    ]
}

/// Of a listener, but for its name and addresses.
pub(super) fn of_listener(listener: &Listener, config: &Config) -> Vec<Setting> {
    let protocol = match listener.protocol {
        Protocol::Tcp => "tcp",
        Protocol::Mysql => "mysql",
    };
    vec![
        ("protocol", some(protocol)),
        ("pool", some(&config.pools[listener.pool].name)),
        ("max_connections", listener.max_connections.and_then(some)),
        ("backlog", some(listener.backlog)),
        ("defer_accept", some(listener.defer_accept)),
        ("v6only", some(listener.v6only)),
        ("freebind", some(listener.freebind)),
    ]
}

/// Of a pool, but for its name, health check, mysql table and servers.
pub(super) fn of_pool(pool: &Pool) -> Vec<Setting> {
    let algorithm = match pool.algorithm {
        Algorithm::RoundRobin => "round_robin",
    };
    let settings = &pool.settings;
    let duration = |duration| Some(format_duration(duration));
    vec![
        ("algorithm", some(algorithm)),
        ("connect_timeout", duration(settings.connect_timeout)),
        ("connect_deadline", duration(settings.connect_deadline)),
        ("retries", some(settings.retries)),
        ("idle_timeout", duration(settings.idle_timeout)),
        ("half_close_timeout", duration(settings.half_close_timeout)),
        ("max_fails", some(settings.max_fails)),
        ("fail_timeout", duration(settings.fail_timeout)),
        (
            "removed_server_timeout",
            settings.removed_server_timeout.and_then(duration),
        ),
        ("reset_linger", duration(settings.reset_linger)),
        ("tcp_user_timeout", duration(settings.tcp_user_timeout)),
        ("keepalive_idle", duration(settings.keepalive_idle)),
        ("keepalive_interval", duration(settings.keepalive_interval)),
        ("keepalive_probes", some(settings.keepalive_probes)),
    ]
}

pub(super) fn of_health_check(check: &HealthCheck) -> Vec<Setting> {
    let (kind, http) = match &check.kind {
        HealthCheckKind::Tcp => ("tcp", None),
        HealthCheckKind::Mysql => ("mysql", None),
        HealthCheckKind::Http { path, host, expect } => ("http", Some((path, host, expect))),
    };
    let expect = http.map(|(_, _, expect)| {
        let ranges = expect.iter().map(|(low, high)| format!("{low}-{high}"));
        ranges.collect::<Vec<_>>().join(",")
    });
    vec![
        ("health_check.type", some(kind)),
        (
            "health_check.interval",
            Some(format_duration(check.interval)),
        ),
        ("health_check.timeout", Some(format_duration(check.timeout))),
        ("health_check.rise", some(check.rise)),
        ("health_check.fall", some(check.fall)),
        ("health_check.port", check.port.and_then(some)),
        (
            "health_check.path",
            http.and_then(|(path, _, _)| some(path)),
        ),
        (
            "health_check.host",
            http.and_then(|(_, host, _)| host.clone()),
        ),
        ("health_check.expect", expect),
    ]
}

/// Of a pool's mysql table, but for its accounts.
pub(super) fn of_mysql(mysql: &MysqlPool) -> Vec<Setting> {
    let duration = |duration| Some(format_duration(duration));
    let read_after_write = match mysql.read_after_write {
        ReadAfterWrite::Off => "off".to_owned(),
        ReadAfterWrite::For(time) => format_duration(time),
        ReadAfterWrite::Gtid => "gtid".to_owned(),
    };
    let mut primary_only = mysql.primary_only_users.clone();
    primary_only.sort_unstable();
    let monitor = mysql.monitor.as_ref();
    let password = |file: bool| match monitor?.password.as_ref()? {
        SecretSource::File(path) => file.then(|| path.display().to_string()),
        SecretSource::Env(name) => (!file).then(|| name.clone()),
    };
    vec![
        ("mysql.roles", some(roles(mysql.roles))),
        ("mysql.read_after_write", Some(read_after_write)),
        ("mysql.gtid_wait", duration(mysql.gtid_wait)),
        (
            "mysql.max_replication_lag",
            mysql.max_replication_lag.and_then(duration),
        ),
        (
            "mysql.replica_login_timeout",
            duration(mysql.replica_login_timeout),
        ),
        ("mysql.login_timeout", duration(mysql.login_timeout)),
        (
            "mysql.max_unauthenticated_sessions",
            some(mysql.max_unauthenticated_sessions),
        ),
        ("mysql.classify_bytes_max", some(mysql.classify_bytes_max)),
        ("mysql.local_infile", some(mysql.local_infile)),
        ("mysql.calls_pin", some(mysql.calls_pin)),
        (
            "mysql.primary_only_users",
            (!primary_only.is_empty()).then(|| primary_only.join(",")),
        ),
        (
            "mysql.monitor.user",
            monitor.map(|monitor| monitor.user.clone()),
        ),
        ("mysql.monitor.password_file", password(true)),
        ("mysql.monitor.password_env", password(false)),
        (
            "mysql.monitor.interval",
            monitor.and_then(|monitor| duration(monitor.interval)),
        ),
        (
            "mysql.monitor.timeout",
            monitor.and_then(|monitor| duration(monitor.timeout)),
        ),
    ]
}

/// Where a pool's roles come from.
pub(super) const fn roles(roles: Roles) -> &'static str {
    match roles {
        Roles::Configured => "configured",
        Roles::FollowReadOnly => "read_only",
    }
}

/// Of a server, but for its name and address.
pub(super) fn of_server(server: &Server) -> Vec<Setting> {
    vec![
        ("weight", some(server.weight)),
        ("max_connections", server.max_connections.and_then(some)),
        ("backup", some(server.backup)),
        ("role", server.role.and_then(|role| some(role.as_str()))),
    ]
}

fn target(target: &LogTarget) -> String {
    match target {
        LogTarget::Stdout => "stdout".to_owned(),
        LogTarget::File(path) => path.display().to_string(),
    }
}

fn format(format: LogFormat) -> &'static str {
    match format {
        LogFormat::Json => "json",
        LogFormat::Text => "text",
    }
}

fn some(value: impl ToString) -> Option<String> {
    Some(value.to_string())
}
