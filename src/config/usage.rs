//! What listeners speak with each pool. Looked at before anything is read: a pool's defaults, and
//! what may stand in it, depend on it.

use std::collections::HashMap;

use super::diagnostic::Complaint;
use super::reader::{Report, Table};
use super::source::Span;
use super::tls::TlsTables;

/// A listener's tables as far as they name pools.
#[derive(Debug)]
pub(super) struct ListenerTables<'a> {
    pub(super) table: Table<'a>,
    pub(super) tls: Option<TlsTables<'a>>,
}

impl<'a> ListenerTables<'a> {
    pub(super) fn open(table: Table<'a>) -> Self {
        let tls = TlsTables::open(&table);
        Self { table, tls }
    }
}

/// The protocol in which a pool is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Speaks {
    /// Also where no listener uses it.
    Tcp,
    Mysql,
    /// A listener is wrong, which is told at the listener.
    Unclear,
}

/// The protocol of every pool that a listener names.
#[derive(Debug)]
pub(super) struct Usage<'a> {
    pools: HashMap<&'a str, (Speaks, Span)>,
    /// Whether some listener may mean any pool.
    unclear: bool,
}

impl<'a> Usage<'a> {
    /// Records where listeners of two protocols use one pool.
    pub(super) fn of(
        listeners: &[ListenerTables<'a>],
        pools: &[Table<'a>],
        report: &Report<'_>,
    ) -> Self {
        let mut usage = Self {
            pools: HashMap::new(),
            unclear: false,
        };
        let exists = |pool: &&str| pools.iter().any(|table| table.peek("name") == Some(*pool));
        for ListenerTables { table, tls } in listeners {
            let speaks = protocol_of(table);
            let named = (table.peek("pool"), table.span_of("pool"));
            let by_rules = tls.iter().flat_map(TlsTables::pools);
            for (pool, span) in std::iter::once(named).chain(by_rules) {
                match pool.filter(exists) {
                    Some(pool) => usage.add(pool, speaks, span, report),
                    None => usage.unclear = true,
                }
            }
        }
        usage
    }

    fn add(&mut self, pool: &'a str, speaks: Speaks, span: Span, report: &Report<'_>) {
        let (before, first) = self.pools.entry(pool).or_insert((speaks, span.clone()));
        if *before == speaks {
            return;
        }
        if ![*before, speaks].contains(&Speaks::Unclear) {
            let line = report.line_of(first);
            let message =
                format!("is {pool:?}, which the listener in line {line} uses for another protocol");
            let help = "pools of tcp and of mysql listeners differ in their settings: make two";
            report.error(&span, Complaint::new(message).about("pool").help(help));
        }
        *before = Speaks::Unclear;
    }

    /// How the pool of this name is used; a pool without one may be meant by any listener.
    pub(super) fn of_pool(&self, name: Option<&str>) -> Speaks {
        let used = name.map(|name| self.pools.get(name).map(|&(speaks, _)| speaks));
        match used {
            Some(Some(speaks)) => speaks,
            Some(None) if !self.unclear => Speaks::Tcp,
            _ => Speaks::Unclear,
        }
    }
}

fn protocol_of(listener: &Table<'_>) -> Speaks {
    match listener.peek("protocol") {
        Some("tcp") => Speaks::Tcp,
        Some("mysql") => Speaks::Mysql,
        None if !listener.has("protocol") => Speaks::Tcp,
        _ => Speaks::Unclear,
    }
}
