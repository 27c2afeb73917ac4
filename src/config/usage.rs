//! What listeners speak with each pool. Looked at before anything is read: a pool's defaults, and
//! what may stand in it, depend on it.

use std::collections::HashMap;

use super::diagnostic::Complaint;
use super::reader::{Report, Table};
use super::source::Span;

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
    pub(super) fn of(listeners: &[Table<'a>], pools: &[Table<'a>], report: &Report<'_>) -> Self {
        let mut usage = Self {
            pools: HashMap::new(),
            unclear: false,
        };
        for listener in listeners {
            match listener.peek("pool") {
                Some(pool) if pools.iter().any(|table| table.peek("name") == Some(pool)) => {
                    usage.add(listener, pool, report);
                }
                _ => usage.unclear = true,
            }
        }
        usage
    }

    fn add(&mut self, listener: &Table<'a>, pool: &'a str, report: &Report<'_>) {
        let speaks = match listener.peek("protocol") {
            Some("tcp") => Speaks::Tcp,
            Some("mysql") => Speaks::Mysql,
            None if !listener.has("protocol") => Speaks::Tcp,
            _ => Speaks::Unclear,
        };
        let span = listener.span_of("pool");
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
