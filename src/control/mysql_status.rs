//! What `/api/status` says of a mysql listener.

use std::collections::BTreeMap;

use serde::Serialize;

use super::totals::MysqlTotals;
use crate::worker::Listener;

/// Where the statements of a listener's sessions went, and how its clients have logged in. Of what
/// is counted by label, it has what has happened.
#[derive(Debug, Serialize)]
pub(super) struct MysqlStatus {
    statements: u64,
    routes: Vec<RouteStatus>,
    logins: BTreeMap<&'static str, u64>,
    primary_only: BTreeMap<&'static str, u64>,
    login_failures: BTreeMap<&'static str, u64>,
    pinned: BTreeMap<&'static str, u64>,
    replays: u64,
    detached_replicas: u64,
    gtid_timeouts: u64,
}

#[derive(Debug, Serialize)]
struct RouteStatus {
    target: &'static str,
    reason: &'static str,
    statements: u64,
}

impl MysqlStatus {
    /// `None` for a listener that is none of MySQL's, and was none.
    pub(super) fn new(listener: &Listener, is_mysql: bool) -> Option<Self> {
        let totals = MysqlTotals::of(listener);
        if !is_mysql && totals == MysqlTotals::default() {
            return None;
        }
        let routes = totals.statements.iter();
        Some(Self {
            statements: routes.clone().map(|&(_, _, statements)| statements).sum(),
            routes: routes
                .map(|&(target, reason, statements)| RouteStatus {
                    target: target.as_str(),
                    reason: reason.as_str(),
                    statements,
                })
                .collect(),
            logins: by_label(&totals.logins, |rung| rung.as_str()),
            primary_only: by_label(&totals.primary_only, |reason| reason.as_str()),
            login_failures: by_label(&totals.login_failures, |failure| failure.as_str()),
            pinned: by_label(&totals.pinned, |reason| reason.as_str()),
            replays: totals.replays,
            detached_replicas: totals.detached_replicas,
            gtid_timeouts: totals.gtid_timeouts,
        })
    }
}

fn by_label<L: Copy>(
    counts: &[(L, u64)],
    as_str: fn(L) -> &'static str,
) -> BTreeMap<&'static str, u64> {
    let counts = counts.iter();
    counts
        .map(|&(label, count)| (as_str(label), count))
        .collect()
}
