//! What TLS adds to a scrape.

use super::catalogue::*;
use super::scrape::{Scrape, id};
use crate::control::Registry;
use crate::control::totals::{ServerTotals, TlsTotals};
use crate::telemetry::Direction;
use crate::worker::Listener;

pub(super) fn scrape_tls(scrape: &Scrape, registry: &Registry) {
    for route in &registry.snapshot.listeners {
        let totals = TlsTotals::of(&route.listener);
        let speaks_tls = route.tls.listener.is_some() || route.tls.pool.is_some();
        if speaks_tls || totals != TlsTotals::default() {
            scrape_listener(scrape, &route.listener, &totals);
        }
    }
    for listener in &registry.retired_listeners {
        let totals = TlsTotals::of(listener);
        if totals != TlsTotals::default() {
            scrape_listener(scrape, listener, &totals);
        }
    }
    scrape_servers(scrape, registry);
}

/// MySQL servers have a role, unless they were removed, and ask for TLS inside the protocol.
fn scrape_servers(scrape: &Scrape, registry: &Registry) {
    let members = registry.pools.iter().flat_map(|pool| pool.members());
    let servers = members.map(|member| &member.server);
    for server in servers.chain(&registry.retired_servers) {
        let bytes = ServerTotals::of(server).tls_preupgrade_bytes;
        if server.role().is_some() || bytes > 0 {
            let address = server.address().to_string();
            scrape.counter(&TLS_PREUPGRADE_BYTES, &id(server, &address), bytes);
        }
    }
}

fn scrape_listener(scrape: &Scrape, listener: &Listener, totals: &TlsTotals) {
    let name = &*listener.name;
    for (kind, handshakes) in [("full", totals.full), ("resumed", totals.resumed)] {
        scrape.counter(&TLS_HANDSHAKES, &[name, kind], handshakes);
    }
    for &(why, failures) in &totals.failures {
        scrape.counter(&TLS_HANDSHAKE_FAILURES, &[name, why.as_str()], failures);
    }
    for direction in Direction::ALL {
        let truncated = totals.truncated[direction.index()];
        scrape.counter(&TLS_TRUNCATED, &[name, direction.as_str()], truncated);
    }
}
