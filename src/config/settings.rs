//! Each table's settings as keys and values: what two configurations are compared by, and what a
//! configuration is written as.

use super::duration::format_duration;
use super::model::{
    AccessLog, Config, HealthCheck, HealthCheckKind, Listener, Log, LogFormat, LogLevel, LogTarget,
    Pool, Process, Protocol, Server, StatementLog, Workers,
};
use super::mysql::{MysqlPool, ReadAfterWrite, Roles, SecretSource};
use super::tls::{
    CertificateFiles, ClientCertificates, FileAt, ListenerTls, ListenerTlsMode, PoolTls,
    ServerCheck, TlsCommon, TlsRoute,
};
use crate::tls::ciphers;
use crate::tls::config::MinVersion;

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
        ("coalesce", some(process.coalesce)),
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

/// Of a listener, but for its name, addresses and tls table.
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

/// Of a listener's tls table. Its certificates and rules are a line each.
pub(super) fn of_listener_tls(tls: &ListenerTls, config: &Config) -> Vec<Setting> {
    let server = tls.mode.server();
    let certificates = server.map(|server| &*server.certificates);
    let certificates: Vec<_> = certificates.iter().copied().flatten().map(files).collect();
    let (clients, trust) = match server.map(|server| &server.client_certificates) {
        None => (None, None),
        Some(ClientCertificates::Off) => (Some("off"), None),
        Some(ClientCertificates::Optional(trust)) => (Some("optional"), Some(trust)),
        Some(ClientCertificates::Required(trust)) => (Some("required"), Some(trust)),
    };
    // The others have a login for it to be a part of.
    let is_tcp = matches!(
        tls.mode,
        ListenerTlsMode::Terminate(_) | ListenerTlsMode::Passthrough
    );
    let handshake_timeout = is_tcp.then(|| format_duration(tls.handshake_timeout));
    let route = |route: &TlsRoute| rule(route, &config.pools[route.pool].name);
    let mut routes: Vec<_> = tls.routes.iter().map(route).collect();
    routes.sort_unstable();
    let mut settings = vec![
        ("tls.mode", some(tls.mode.as_str())),
        ("tls.handshake_timeout", handshake_timeout),
        ("tls.handshakes_max", some(tls.handshakes_max)),
        (
            "tls.session_tickets",
            server.and_then(|server| some(server.session_tickets)),
        ),
        ("tls.client_certificates", clients.and_then(some)),
        ("tls.ca_file", trust.map(|trust| path(&trust.ca))),
        (
            "tls.crl_files",
            trust.and_then(|trust| paths(&trust.revocation_lists)),
        ),
        ("tls.certificate", listed(&certificates, ", ")),
        ("tls.route", listed(&routes, ", ")),
    ];
    settings.extend(of_tls_common(server.map(|server| &server.common)));
    settings
}

/// Of a pool's tls table.
pub(super) fn of_pool_tls(tls: &PoolTls) -> Vec<Setting> {
    let (ca, revocation_lists) = match &tls.check {
        ServerCheck::Verify {
            ca,
            revocation_lists,
        } => (ca.as_ref(), &**revocation_lists),
        ServerCheck::Insecure => (None, &[][..]),
    };
    let certificate = tls.certificate.as_ref();
    let mut settings = vec![
        ("tls.mode", some(tls.check.as_str())),
        ("tls.ca_file", ca.map(path)),
        ("tls.crl_files", paths(revocation_lists)),
        (
            "tls.certificate_file",
            certificate.map(|files| path(&files.certificate)),
        ),
        ("tls.key_file", certificate.map(|files| path(&files.key))),
    ];
    settings.extend(of_tls_common(Some(&tls.common)));
    settings
}

fn of_tls_common(common: Option<&TlsCommon>) -> [Setting; 3] {
    let min_version = common.map(|common| match common.min_version {
        MinVersion::Tls12 => "1.2",
        MinVersion::Tls13 => "1.3",
    });
    let suites = common.iter().flat_map(|common| &common.cipher_suites);
    let suites: Vec<_> = suites.map(|&suite| ciphers::name(suite)).collect();
    let alpn: Vec<_> = common.iter().flat_map(|common| &common.alpn).collect();
    [
        ("tls.min_version", min_version.and_then(some)),
        ("tls.cipher_suites", listed(&suites, ",")),
        ("tls.alpn", listed(&alpn, ",")),
    ]
}

/// The certificate of a listener, and its key where that is in another file.
fn files(files: &CertificateFiles) -> String {
    let mut text = path(&files.certificate);
    if files.key.path != files.certificate.path {
        text += &format!(" with {}", path(&files.key));
    }
    if let Some(ocsp) = &files.ocsp {
        text += &format!(" and {}", path(ocsp));
    }
    text
}

/// What a rule takes, and where to.
fn rule(route: &TlsRoute, pool: &str) -> String {
    let rule = &route.rule;
    let names: Vec<_> = rule.names.iter().map(ToString::to_string).collect();
    let alpn: Vec<_> = rule
        .alpn
        .iter()
        .map(|protocol| String::from_utf8_lossy(protocol))
        .collect();
    let mut text = listed(&names, " ").unwrap_or_else(|| "any name".to_owned());
    if let Some(alpn) = listed(&alpn, " ") {
        text += &format!(" with {alpn}");
    }
    format!("{text} to {pool}")
}

fn path(file: &FileAt) -> String {
    file.path.display().to_string()
}

fn paths(files: &[FileAt]) -> Option<String> {
    let files: Vec<_> = files.iter().map(path).collect();
    listed(&files, ",")
}

fn listed<T: ToString>(items: &[T], between: &str) -> Option<String> {
    let items: Vec<_> = items.iter().map(ToString::to_string).collect();
    (!items.is_empty()).then(|| items.join(between))
}

/// Of a pool, but for its name, health check, tls and mysql tables and servers.
pub(super) fn of_pool(pool: &Pool) -> Vec<Setting> {
    let settings = &pool.settings;
    let duration = |duration| Some(format_duration(duration));
    vec![
        ("algorithm", some(settings.algorithm.name())),
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
        ("health_check.tls", some(check.tls)),
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
const fn roles(roles: Roles) -> &'static str {
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
        (
            "server_name",
            server.server_name.as_ref().map(|name| name.to_str().into()),
        ),
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
