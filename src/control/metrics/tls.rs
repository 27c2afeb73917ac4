//! What TLS adds to a scrape.

use super::catalogue::*;
use super::scrape::{Scrape, id, with};
use crate::balance::Server;
use crate::control::Registry;
use crate::control::totals::{Handshakes, ServerTotals, TlsTotals};
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

fn scrape_servers(scrape: &Scrape, registry: &Registry) {
    for (pool, tls) in registry.pools.iter().zip(&registry.pool_tls) {
        for member in pool.members() {
            scrape_server(scrape, &member.server, tls.is_some());
        }
    }
    for server in &registry.retired_servers {
        scrape_server(scrape, server, false);
    }
}

/// MySQL servers have a role, unless they were removed, and are asked for TLS inside the protocol.
fn scrape_server(scrape: &Scrape, server: &Server, speaks_tls: bool) {
    let totals = ServerTotals::of(server);
    let address = server.address().to_string();
    let id = id(server, &address);
    if speaks_tls || totals.tls_handshakes != Handshakes::default() {
        for (kind, handshakes) in totals.tls_handshakes.by_kind() {
            scrape.counter(&SERVER_TLS_HANDSHAKES, &with(id, kind), handshakes);
        }
    }
    let bytes = totals.tls_preupgrade_bytes;
    if server.role().is_some() || bytes > 0 {
        scrape.counter(&TLS_PREUPGRADE_BYTES, &id, bytes);
    }
}

fn scrape_listener(scrape: &Scrape, listener: &Listener, totals: &TlsTotals) {
    let name = &*listener.name;
    for (kind, handshakes) in totals.handshakes.by_kind() {
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
