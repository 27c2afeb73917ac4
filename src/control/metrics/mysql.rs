//! What mysql listeners and their pools add to a scrape. Of what is counted by label, the series are
//! those of labels that have happened.

use super::catalogue::*;
use super::scrape::{Scrape, id};
use super::text::Exposition;
use crate::balance::Server;
use crate::control::Registry;
use crate::control::totals::{MysqlTotals, ServerTotals};
use crate::worker::Listener;

pub(super) fn scrape_mysql(scrape: &Scrape, extra: &mut Exposition, registry: &Registry) {
    for route in &registry.snapshot.listeners {
        if let Some(mysql) = &route.mysql {
            scrape_listener(scrape, &route.listener, &MysqlTotals::of(&route.listener));
            let sessions = mysql.settings.unauthenticated.count();
            scrape.gauge(
                &MYSQL_UNAUTHENTICATED,
                &[route.pool.name()],
                sessions.into(),
            );
        }
    }
    for listener in &registry.retired_listeners {
        let totals = MysqlTotals::of(listener);
        if totals != MysqlTotals::default() {
            scrape_listener(scrape, listener, &totals);
        }
    }
    scrape_servers(extra, registry);
}

fn scrape_listener(scrape: &Scrape, listener: &Listener, totals: &MysqlTotals) {
    let name = &*listener.name;
    for &(target, reason, statements) in &totals.statements {
        let labels = [name, target.as_str(), reason.as_str()];
        scrape.counter(&MYSQL_STATEMENTS, &labels, statements);
    }
    for &(rung, logins) in &totals.logins {
        scrape.counter(&MYSQL_LOGINS, &[name, rung.as_str()], logins);
    }
    for &(reason, logins) in &totals.primary_only {
        scrape.counter(&MYSQL_PRIMARY_ONLY, &[name, reason.as_str()], logins);
    }
    for &(reason, logins) in &totals.login_failures {
        scrape.counter(&MYSQL_LOGIN_FAILURES, &[name, reason.as_str()], logins);
    }
    for &(reason, sessions) in &totals.pinned {
        scrape.gauge(&MYSQL_PINNED, &[name, reason.as_str()], sessions as f64);
    }
    scrape.counter(&MYSQL_REPLAYS, &[name], totals.replays);
    scrape.counter(&MYSQL_DETACHED_REPLICAS, &[name], totals.detached_replicas);
    scrape.counter(&MYSQL_GTID_TIMEOUTS, &[name], totals.gtid_timeouts);
}

/// Servers of mysql listeners have a role, unless they were removed.
fn scrape_servers(extra: &mut Exposition, registry: &Registry) {
    let members = registry.pools.iter().flat_map(|pool| pool.members());
    let servers = members.map(|member| &member.server);
    let told = |server: &Server| {
        let us = ServerTotals::of(server).statement_time_us;
        (server.role().is_some() || us.count() > 0).then_some(us)
    };
    let mut is_first = true;
    for server in servers.chain(&registry.retired_servers) {
        if let Some(us) = told(server) {
            if std::mem::take(&mut is_first) {
                extra.family(&MYSQL_STATEMENT_SECONDS);
            }
            let address = server.address().to_string();
            extra.histogram_us(&MYSQL_STATEMENT_SECONDS, &id(server, &address), &us);
        }
    }
}
