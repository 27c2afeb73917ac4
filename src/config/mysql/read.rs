//! The reader of `[pool.mysql]`, its accounts and its monitor.

use std::time::Duration;

use toml::de::DeValue;

use super::model::{
    MysqlMonitor, MysqlPool, MysqlUser, ReadAfterWrite, Roles, SecretSource, UserSecret,
};
use crate::config::diagnostic::Complaint;
use crate::config::duration::format_duration;
use crate::config::reader::{Report, Table, Unique};
use crate::config::source::Span;
use crate::config::{bounds, schema, value};
use crate::limits::CLASSIFY_BYTES_MAX;

/// Reads the table, or takes the defaults where there is none. `None`: something is wrong in it.
pub(in crate::config) fn read_mysql(
    table: Option<&Table<'_>>,
    report: &Report<'_>,
) -> Option<MysqlPool> {
    let Some(table) = table else {
        return Some(defaults());
    };
    let default = defaults();
    let flag = |key, default| table.optional(key, value::boolean).unwrap_or(default);
    let connections = value::integer(bounds::CONNECTIONS);
    let monitor_table = table.table("monitor", &schema::MYSQL_MONITOR);
    let monitor = monitor_table.map(|table| read_monitor(&table, report));
    let users = read_users(table, report);
    let (replica_login_timeout, login_timeout) = read_login_timeouts(table, report);
    let roles = read_roles(table, report);
    let primary_only = table.distinct("primary_only_users", value::account);
    Some(MysqlPool {
        read_after_write: table
            .optional("read_after_write", read_after_write)
            .unwrap_or(default.read_after_write),
        gtid_wait: table
            .optional("gtid_wait", value::grace)
            .unwrap_or(default.gtid_wait),
        max_replication_lag: read_lag(table, report),
        replica_login_timeout,
        login_timeout,
        max_unauthenticated_sessions: table
            .optional("max_unauthenticated_sessions", connections)
            .unwrap_or(default.max_unauthenticated_sessions),
        classify_bytes_max: table
            .optional("classify_bytes_max", value::integer(bounds::CLASSIFY_BYTES))
            .unwrap_or(default.classify_bytes_max),
        local_infile: flag("local_infile", default.local_infile),
        calls_pin: flag("calls_pin", default.calls_pin),
        primary_only_users: primary_only.into_iter().map(|(name, _)| name).collect(),
        users: users?,
        monitor: match monitor {
            Some(monitor) => Some(monitor?),
            None => None,
        },
        roles: roles?,
    })
}

fn defaults() -> MysqlPool {
    MysqlPool {
        roles: Roles::Configured,
        read_after_write: ReadAfterWrite::Off,
        gtid_wait: Duration::from_millis(100),
        max_replication_lag: None,
        replica_login_timeout: Duration::from_millis(500),
        login_timeout: Duration::from_secs(10),
        max_unauthenticated_sessions: 1000,
        classify_bytes_max: CLASSIFY_BYTES_MAX as u32,
        local_infile: false,
        calls_pin: false,
        primary_only_users: Vec::new(),
        users: Vec::new(),
        monitor: None,
    }
}

/// `None` when it is wrong: what the roles would then have to be is anybody's guess.
fn read_roles(table: &Table<'_>, report: &Report<'_>) -> Option<Roles> {
    const ROLES: &[(&str, Roles)] = &[
        ("configured", Roles::Configured),
        ("read_only", Roles::FollowReadOnly),
    ];
    if !table.has("roles") {
        return Some(Roles::Configured);
    }
    let roles = table.optional("roles", value::one_of(ROLES))?;
    if roles == Roles::FollowReadOnly {
        need_monitor(table, "roles", report);
    }
    Some(roles)
}

fn read_lag(table: &Table<'_>, report: &Report<'_>) -> Option<Duration> {
    let lag = table.optional("max_replication_lag", value::timeout)?;
    need_monitor(table, "max_replication_lag", report);
    Some(lag)
}

fn need_monitor(table: &Table<'_>, key: &str, report: &Report<'_>) {
    if !table.has("monitor") {
        let complaint = Complaint::new("takes an account to ask the servers with").about(key);
        let help = "add a [pool.mysql.monitor] with a `user`";
        report.missing(&table.span_of(key), complaint.help(help));
    }
}

fn read_after_write(value: &DeValue<'_>) -> Result<ReadAfterWrite, Complaint> {
    match value {
        DeValue::String(text) if text == "off" => Ok(ReadAfterWrite::Off),
        DeValue::String(text) if text == "gtid" => Ok(ReadAfterWrite::Gtid),
        DeValue::String(text) if !text.starts_with(|c: char| c.is_ascii_digit()) => {
            let message = format!("is {text:?}, but takes \"off\", \"gtid\" or a duration");
            Err(Complaint::new(message))
        }
        _ => value::timeout(value).map(ReadAfterWrite::For),
    }
}

/// The replica's, then the one of the whole login.
fn read_login_timeouts(table: &Table<'_>, report: &Report<'_>) -> (Duration, Duration) {
    let default = defaults();
    let login = table.optional("login_timeout", value::timeout);
    let login = login.unwrap_or(default.login_timeout);
    let replica = table.optional("replica_login_timeout", value::timeout);
    if replica.is_some_and(|replica| replica > login) {
        let message = format!(
            "is longer than `login_timeout`, which is {}",
            format_duration(login)
        );
        let complaint = Complaint::new(message).about("replica_login_timeout");
        let help = "waiting for the replica is a part of the login, so it is the shorter one";
        report.error(
            &table.span_of("replica_login_timeout"),
            complaint.help(help),
        );
    }
    let replica = replica.unwrap_or(default.replica_login_timeout.min(login));
    (replica, login)
}

fn read_users(table: &Table<'_>, report: &Report<'_>) -> Option<Vec<MysqlUser>> {
    let tables = table.tables("user", &schema::MYSQL_USER);
    let mut names = Unique::default();
    let mut read = |table: &Table<'_>| {
        let name = table.required("name", "add `name = \"...\"`: the account", value::account);
        if let Some(name) = &name
            && let Err(first) = names.claim(name.clone(), table.span_of("name"))
        {
            let line = report.line_of(&first);
            let message = format!("user \"{name}\" is defined twice, first in line {line}");
            report.error(&table.span_of("name"), Complaint::new(message));
        }
        read_user(table, name, report)
    };
    let users: Vec<_> = tables.iter().map(&mut read).collect();
    users.into_iter().collect()
}

fn read_user(table: &Table<'_>, name: Option<String>, report: &Report<'_>) -> Option<MysqlUser> {
    let password = read_password(table, report);
    let hash = table.optional("native_hash", value::native_hash);
    let has_password = table.has("password_file") || table.has("password_env");
    if has_password && table.has("native_hash") {
        let complaint = Complaint::new("stands beside a password").about("native_hash");
        let help = "leave it out: a password is more than its hash";
        report.error(&table.span_of("native_hash"), complaint.help(help));
    }
    // A password in the file has been refused, and was meant to be the secret.
    if !has_password && !table.has("native_hash") && !table.mentions("password") {
        let complaint = Complaint::new("[[pool.mysql.user]] has no secret");
        let help = "add `password_file`, `password_env` or `native_hash`";
        report.missing(&table.span, complaint.help(help));
    }
    let (secret, span) = match (password, hash) {
        (Some((source, span)), _) => (UserSecret::Password(source), span),
        (None, hash) => (UserSecret::NativeHash(hash?), table.span_of("native_hash")),
    };
    Some(MysqlUser {
        name: name?,
        secret,
        position: report.position(&span),
    })
}

fn read_monitor(table: &Table<'_>, report: &Report<'_>) -> Option<MysqlMonitor> {
    let help = "add `user = \"...\"`: an account on every server of the pool";
    let user = table.required("user", help, value::account);
    let second = Duration::from_secs(1);
    let interval = table.optional("interval", value::timeout);
    let timeout = table.optional("timeout", value::timeout);
    let (password, span) = match read_password(table, report) {
        Some((source, span)) => (Some(source), span),
        None => (None, table.span.clone()),
    };
    Some(MysqlMonitor {
        user: user?,
        password,
        interval: interval.unwrap_or(second),
        timeout: timeout.unwrap_or(second),
        position: report.position(&span),
    })
}

/// Where a password is found, and where the file says so.
fn read_password(table: &Table<'_>, report: &Report<'_>) -> Option<(SecretSource, Span)> {
    let file = table.optional("password_file", value::file_path);
    let variable = table.optional("password_env", value::variable);
    if table.has("password_file") && table.has("password_env") {
        let complaint = Complaint::new("stands beside `password_file`").about("password_env");
        let help = "leave one of them out";
        report.error(&table.span_of("password_env"), complaint.help(help));
    }
    let file = file.map(|path| (SecretSource::File(path), table.span_of("password_file")));
    let variable = variable.map(|name| (SecretSource::Env(name), table.span_of("password_env")));
    file.or(variable)
}
