//! A whole file, read table by table. Whatever is wrong is recorded, and reading goes on.

use std::collections::HashMap;
use std::num::NonZeroU16;
use std::time::Duration;

use toml::de::DeValue;

use super::address::{admin_address, listen_address};
use super::diagnostic::{Complaint, Diagnostic, Errors};
use super::listening::{Claim, Claims};
use super::model::{
    AccessLog, Admin, Config, Listener, Log, LogFormat, LogLevel, LogTarget, Pool, Process,
    Protocol, StatementLog, Workers,
};
use super::pool::read_pool;
use super::reader::{Report, Table, Unique};
use super::schema::{self, nearest};
use super::source::Span;
use super::tls::{ListenerTlsMode, read_listener_tls};
use super::usage::{ListenerTables, Usage};
use super::{bounds, syntax, value};

/// Reads a file's text. Warnings come with a configuration only: among errors they would be noise.
pub(super) fn read(text: &str) -> Result<(Config, Vec<Diagnostic>), Errors> {
    let mut report = Report::new(text);
    let root = syntax::parse(text, &mut report);
    let root = Table::root(&schema::ROOT, root.get_ref(), &report);
    let config = read_root(&root, &report);
    let (errors, warnings) = report.finish();
    match config {
        Some(config) if errors.is_empty() => Ok((config, warnings)),
        _ => Err(Errors::new(errors)),
    }
}

fn read_root(root: &Table<'_>, report: &Report<'_>) -> Option<Config> {
    let process = root.table("process", &schema::PROCESS);
    let process = process.map_or_else(default_process, |table| read_process(&table));
    let log = root.table("log", &schema::LOG);
    let log = log.map_or_else(default_log, |table| read_log(&table));
    let access_log = root.table("access_log", &schema::ACCESS_LOG);
    let access_log = access_log.map(|table| read_access_log(&table));
    let statement_table = root.table("statement_log", &schema::STATEMENT_LOG);
    let statement_log = statement_table.as_ref().map(read_statement_log);

    let mut claims = Claims::default();
    let admin = root.table("admin", &schema::ADMIN);
    let admin = admin.map(|table| read_admin(&table, &mut claims, report));
    let listener_tables = root.tables("listener", &schema::LISTENER);
    let listener_tables: Vec<_> = listener_tables
        .into_iter()
        .map(ListenerTables::open)
        .collect();
    let pools = Pools::read(root, &listener_tables, report);
    let listeners = read_listeners(root, &listener_tables, &pools, &mut claims, report);

    let config = Config {
        process,
        admin: match admin {
            Some(admin) => Some(admin?),
            None => None,
        },
        log,
        access_log,
        statement_log,
        listeners: listeners.into_iter().collect::<Option<_>>()?,
        pools: pools.read.into_iter().collect::<Option<_>>()?,
    };
    warn_of_pools(&config, &pools.spans, report);
    if let Some(table) = statement_table
        && config.pools.iter().all(|pool| pool.mysql.is_none())
    {
        let complaint = Complaint::new("[statement_log] stays empty: no listener speaks mysql");
        report.warn(&table.span, complaint);
    }
    Some(config)
}

fn default_process() -> Process {
    Process {
        workers: Workers::Auto,
        pin_workers: true,
        coalesce: true,
        max_connections: None,
        drain_timeout: Duration::from_secs(30),
        shutdown_delay: Duration::ZERO,
    }
}

fn read_process(table: &Table<'_>) -> Process {
    let default = default_process();
    let connections = value::integer(bounds::CONNECTIONS);
    Process {
        workers: table
            .optional("workers", workers)
            .unwrap_or(default.workers),
        pin_workers: table
            .optional("pin_workers", value::boolean)
            .unwrap_or(default.pin_workers),
        coalesce: table
            .optional("coalesce", value::boolean)
            .unwrap_or(default.coalesce),
        max_connections: table.optional("max_connections", connections),
        drain_timeout: table
            .optional("drain_timeout", value::grace)
            .unwrap_or(default.drain_timeout),
        shutdown_delay: table
            .optional("shutdown_delay", value::grace)
            .unwrap_or(default.shutdown_delay),
    }
}

fn workers(value: &DeValue<'_>) -> Result<Workers, Complaint> {
    match value {
        DeValue::String(text) if text == "auto" => Ok(Workers::Auto),
        DeValue::Integer(_) => {
            let count: NonZeroU16 = value::integer::<u16>(bounds::WORKERS)(value)?
                .try_into()
                .map_err(|_| Complaint::new("is 0"))?;
            Ok(Workers::Count(count))
        }
        _ => {
            let (low, high) = bounds::WORKERS.into_inner();
            let wanted = format!("\"auto\" or a whole number from {low} to {high}");
            Err(value::mismatch(value, &wanted))
        }
    }
}

fn read_admin(table: &Table<'_>, claims: &mut Claims, report: &Report<'_>) -> Option<Admin> {
    let help = "add `listen = \"127.0.0.1:9900\"`";
    let listen = table.required("listen", help, |v| admin_address(value::text(v)?))?;
    let claim = Claim {
        address: super::Address::Tcp(listen),
        v6only: true,
        span: table.span_of("listen"),
    };
    claims.add(claim, report);
    Some(Admin { listen })
}

fn default_log() -> Log {
    Log {
        level: LogLevel::Info,
        format: LogFormat::Text,
    }
}

fn read_log(table: &Table<'_>) -> Log {
    const LEVELS: &[(&str, LogLevel)] = &[
        ("debug", LogLevel::Debug),
        ("info", LogLevel::Info),
        ("warn", LogLevel::Warn),
        ("error", LogLevel::Error),
    ];
    let default = default_log();
    Log {
        level: table
            .optional("level", value::one_of(LEVELS))
            .unwrap_or(default.level),
        format: read_format(table),
    }
}

fn read_access_log(table: &Table<'_>) -> AccessLog {
    AccessLog {
        target: read_target(table),
        format: read_format(table),
    }
}

fn read_statement_log(table: &Table<'_>) -> StatementLog {
    let slower_than = table.optional("slower_than", value::grace);
    StatementLog {
        target: read_target(table),
        format: read_format(table),
        slower_than: slower_than.unwrap_or(Duration::ZERO),
    }
}

fn read_target(table: &Table<'_>) -> LogTarget {
    let target = |v: &DeValue<'_>| match value::text(v)? {
        "stdout" => Ok(LogTarget::Stdout),
        _ => value::file_path(v).map(LogTarget::File),
    };
    table.optional("path", target).unwrap_or(LogTarget::Stdout)
}

fn read_format(table: &Table<'_>) -> LogFormat {
    const FORMATS: &[(&str, LogFormat)] = &[("text", LogFormat::Text), ("json", LogFormat::Json)];
    table
        .optional("format", value::one_of(FORMATS))
        .unwrap_or(LogFormat::Text)
}

/// The pools of a file, and where their names stand.
struct Pools {
    /// `None` where something is wrong.
    read: Vec<Option<Pool>>,
    /// Each name's place among them, wrong ones included.
    index: HashMap<String, usize>,
    spans: Vec<Span>,
}

impl Pools {
    fn read<'a>(root: &Table<'a>, listeners: &[ListenerTables<'a>], report: &Report<'_>) -> Self {
        let tables = root.tables("pool", &schema::POOL);
        let usage = Usage::of(listeners, &tables, report);
        let mut names = Unique::default();
        let mut index = HashMap::new();
        let mut read = Vec::with_capacity(tables.len());
        for (i, table) in tables.iter().enumerate() {
            let name = read_name(table, "pool", &mut names, report);
            if let Some(name) = &name {
                index.insert(name.clone(), i);
            }
            let speaks = usage.of_pool(name.as_deref());
            read.push(read_pool(table, name, speaks, report));
        }
        let spans = tables.iter().map(|table| table.span_of("name")).collect();
        Self { read, index, spans }
    }

    fn find(&self, name: &str) -> Result<usize, Complaint> {
        if let Some(&index) = self.index.get(name) {
            return Ok(index);
        }
        let complaint = Complaint::new(format!("is {name:?}, and there is no such pool"));
        let mut known: Vec<_> = self.index.keys().map(String::as_str).collect();
        known.sort_unstable();
        Err(match nearest(name, known.iter().copied()) {
            Some(near) => complaint.help(format!("did you mean \"{near}\"?")),
            None => complaint.help(format!("pools of this file: {}", listed(&known))),
        })
    }
}

/// Of those that no listener uses, and of those that put TLS into TLS.
fn warn_of_pools(config: &Config, spans: &[Span], report: &Report<'_>) {
    for (i, (pool, span)) in config.pools.iter().zip(spans).enumerate() {
        let uses = |listener: &&Listener| listener.pools().any(|pool| pool == i);
        let mut users = config.listeners.iter().filter(uses).peekable();
        if users.peek().is_none() {
            let message = format!("no listener uses pool \"{}\"", pool.name);
            report.warn(span, Complaint::new(message));
        }
        let passes_through = |listener: &&Listener| {
            let tls = listener.tls.as_ref();
            tls.is_some_and(|tls| tls.mode == ListenerTlsMode::Passthrough)
        };
        if let Some(listener) = users.find(passes_through).filter(|_| pool.tls.is_some()) {
            let (pool, listener) = (&pool.name, &listener.name);
            let message = format!(
                "pool \"{pool}\" puts the TLS that listener \"{listener}\" passes through into TLS \
                 of its own"
            );
            let help = "leave its [pool.tls] out, unless its servers expect that";
            report.warn(span, Complaint::new(message).help(help));
        }
    }
}

/// A few of many names, for a help line.
fn listed(names: &[&str]) -> String {
    const SHOWN: usize = 8;
    match names {
        [] => "none".to_owned(),
        _ if names.len() <= SHOWN => names.join(", "),
        _ => format!("{}, ...", names[..SHOWN].join(", ")),
    }
}

/// The name of a listener, pool or server. `None` when it is missing, wrong, or taken.
pub(super) fn read_name(
    table: &Table<'_>,
    what: &str,
    names: &mut Unique<String>,
    report: &Report<'_>,
) -> Option<String> {
    let help = format!("add `name = \"...\"`: logs and metrics call the {what} by it");
    let name = table.required("name", &help, value::name)?;
    let span = table.span_of("name");
    if let Err(first) = names.claim(name.clone(), span.clone()) {
        let line = report.line_of(&first);
        let message = format!("{what} \"{name}\" is defined twice, first in line {line}");
        report.error(&span, Complaint::new(message));
        return None;
    }
    Some(name)
}

fn read_listeners(
    root: &Table<'_>,
    tables: &[ListenerTables<'_>],
    pools: &Pools,
    claims: &mut Claims,
    report: &Report<'_>,
) -> Vec<Option<Listener>> {
    if !root.has("listener") {
        let complaint = Complaint::new("the file has no [[listener]]");
        let help = "add one: a name, an address to listen on, and the pool behind it";
        report.missing(&(0..0), complaint.help(help));
    }
    let mut names = Unique::default();
    let mut read = |tables: &ListenerTables<'_>| {
        let name = read_name(&tables.table, "listener", &mut names, report);
        read_listener(tables, name, pools, claims, report)
    };
    tables.iter().map(&mut read).collect()
}

fn read_listener(
    ListenerTables { table, tls }: &ListenerTables<'_>,
    name: Option<String>,
    pools: &Pools,
    claims: &mut Claims,
    report: &Report<'_>,
) -> Option<Listener> {
    const PROTOCOLS: &[(&str, Protocol)] = &[("tcp", Protocol::Tcp), ("mysql", Protocol::Mysql)];
    let flag = |key, default| table.optional(key, value::boolean).unwrap_or(default);
    let v6only = flag("v6only", true);
    let defer_accept = flag("defer_accept", false);
    let freebind = flag("freebind", false);

    table.require(
        "listen",
        "add `listen = [\"0.0.0.0:80\"]`, or another address",
    );
    let addresses = table.list("listen", |v| listen_address(value::text(v)?));
    let addresses = addresses.unwrap_or_default();
    for (address, span) in &addresses {
        let claim = Claim {
            address: address.clone(),
            v6only,
            span: span.clone(),
        };
        claims.add(claim, report);
    }
    let written = table.optional("protocol", value::one_of(PROTOCOLS));
    let protocol = match table.has("protocol") {
        true => written,
        false => Some(Protocol::Tcp),
    };
    if protocol == Some(Protocol::Mysql) && defer_accept {
        let complaint = Complaint::new("waits for a client that waits for the greeting");
        let help = "leave it out: in this protocol, the server speaks first";
        let complaint = complaint.about("defer_accept").help(help);
        report.error(&table.span_of("defer_accept"), complaint);
    }
    let max_connections = table.optional("max_connections", value::integer(bounds::CONNECTIONS));
    let backlog = table.optional("backlog", value::integer(bounds::BACKLOG));
    let help = "add `pool = \"...\"`: the name of the [[pool]] that serves it";
    let pool = table.required("pool", help, |v| value::text(v));
    let pool = pool.and_then(|name| match pools.find(name) {
        Ok(index) => Some(index),
        Err(complaint) => {
            report.missing(&table.span_of("pool"), complaint.about("pool"));
            None
        }
    });
    let find_pool = |name: &str| pools.find(name);
    let tls = tls
        .as_ref()
        .and_then(|tls| read_listener_tls(tls, protocol, &find_pool, report));
    Some(Listener {
        name: name?,
        listen: addresses.into_iter().map(|(address, _)| address).collect(),
        protocol: protocol?,
        pool: pool?,
        max_connections,
        backlog: backlog.unwrap_or(4096),
        defer_accept,
        v6only,
        freebind,
        tls,
    })
}
