//! The reader of `[[listener.tls.route]]`.

use super::model::TlsRoute;
use super::read::read_alpn;
use crate::config::diagnostic::Complaint;
use crate::config::reader::{Report, Table};
use crate::config::{bounds, value};
use crate::tls::names::{Routes, Rule};

/// Finds a pool's place by its name.
pub(in crate::config) type FindPool<'a> = &'a dyn Fn(&str) -> Result<usize, Complaint>;

/// Reads the rules of a listener, and records which of them could never apply. `offered` are the
/// protocols that the listener offers, where it is the listener that agrees on one.
pub(super) fn read_routes(
    tables: &[Table<'_>],
    offered: Option<&[String]>,
    find_pool: FindPool<'_>,
    report: &Report<'_>,
) -> Vec<TlsRoute> {
    let max = bounds::TLS_ROUTES_MAX;
    if let Some(above) = tables.get(max) {
        let complaint = Complaint::new(format!("the listener has more than {max} rules"));
        report.error(&above.span, complaint);
    }
    let mut reached = Routes::default();
    let mut routes = Vec::new();
    for (index, table) in tables.iter().enumerate() {
        let rule = read_rule(table, offered, report);
        let pool = read_pool(table, find_pool, report);
        let is_empty = rule.names.is_empty() && rule.alpn.is_empty();
        if !is_empty && let Err(unreachable) = reached.add(index, &rule) {
            let first = &tables[unreachable.first - 1];
            let (what, line) = (unreachable.what, report.line_of(&first.span));
            let message = format!("the rule never gets {what}: the one in line {line} does");
            let help = "the most specific name wins, wherever it stands; name each once";
            report.error(&table.span, Complaint::new(message).help(help));
        }
        if let Some(pool) = pool {
            routes.push(TlsRoute { rule, pool });
        }
    }
    routes
}

fn read_rule(table: &Table<'_>, offered: Option<&[String]>, report: &Report<'_>) -> Rule {
    let names = table.distinct("server_names", value::name_pattern);
    let alpn = read_alpn(table, report);
    if !table.has("server_names") && !table.has("alpn") {
        let complaint =
            Complaint::new("[[listener.tls.route]] has no `server_names` and no `alpn`");
        let help = "add one; what no rule takes goes to the pool of the listener";
        report.missing(&table.span, complaint.help(help));
    }
    let offers = |protocol: &&String| offered.is_none_or(|offered| offered.contains(protocol));
    if let Some(protocol) = alpn.iter().find(|protocol| !offers(protocol)) {
        let message = format!("names {protocol:?}, which the listener does not offer");
        let help = "add it to `alpn` of [listener.tls] too: clients are answered from there";
        let complaint = Complaint::new(message).about("alpn").help(help);
        report.error(&table.span_of("alpn"), complaint);
    }
    Rule {
        names: names.into_iter().map(|(name, _)| name).collect(),
        alpn: alpn.into_iter().map(String::into_bytes).collect(),
    }
}

fn read_pool(table: &Table<'_>, find_pool: FindPool<'_>, report: &Report<'_>) -> Option<usize> {
    let help = "add `pool = \"...\"`: the name of the [[pool]] for these connections";
    let name = table.required("pool", help, |v| value::text(v))?;
    match find_pool(name) {
        Ok(index) => Some(index),
        Err(complaint) => {
            report.missing(&table.span_of("pool"), complaint.about("pool"));
            None
        }
    }
}
