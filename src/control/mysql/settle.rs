//! What follows from a look: roles, and whom is read. One record for each change.

use std::sync::Arc;
use std::time::Duration;

use super::mysql_of;
use crate::balance::{Health, Member, Pool, Role, Server};
use crate::config::{Roles, format_duration};
use crate::control::Registry;
use crate::mysql::monitor::{Descent, Freshness, Replication, Seen, Sight, Trouble, Writable};

/// A server is looked after from now on. Until its lag is known it is not read, where that matters:
/// the primary is.
pub(super) fn begin(registry: &Registry, server: &Arc<Server>) {
    registry.findings.update(server, |_| {});
    let mysql = super::place_of(registry, server)
        .and_then(|(pool, _)| mysql_of(&registry.config.pools[pool]));
    if mysql.is_some_and(|mysql| mysql.max_replication_lag.is_some())
        && server.role() != Some(Role::Primary)
    {
        server.set_lagging(true);
    }
}

/// Takes what a look at a server of the pool at this place has found.
pub(super) fn settle(
    registry: &Registry,
    pool: usize,
    server: &Arc<Server>,
    looked: Result<Seen, String>,
) {
    // A reload may have come while the look was going on.
    let (Some(pool), Some(configured)) =
        (registry.pools.get(pool), registry.config.pools.get(pool))
    else {
        return;
    };
    let Some(mysql) = mysql_of(configured) else {
        return;
    };
    let (rise, fall) = match &configured.health_check {
        Some(check) => (u32::from(check.rise), u32::from(check.fall)),
        None => (1, 1),
    };
    let failure = looked.as_ref().err().cloned();
    let (failed_before, is_known) = registry.findings.update(server, |finding| {
        let before = finding.failed_in_a_row;
        (before, finding.note(looked, fall))
    });
    tell_of_failures(server, failed_before, failure);
    if mysql.roles == Roles::FollowReadOnly {
        follow_roles(registry, pool);
    }
    settle_descent(registry, pool, server);
    if let Some(max) = mysql.max_replication_lag {
        let is_replica = server.role() == Some(Role::Replica);
        let before = registry.findings.update(server, |finding| {
            let before = finding.freshness;
            if !is_replica {
                finding.freshness = Freshness::default();
            } else if is_known {
                let replication = finding.replication_of_primary().cloned();
                finding.freshness.observe(replication.as_ref(), max, rise);
            }
            before
        });
        if is_replica && before == Freshness::Unknown {
            tell_of_first_look(registry, pool, server, max);
        }
        settle_read_set(registry, pool, max);
    }
}

/// That looks fail is told once, and that they succeed again.
fn tell_of_failures(server: &Server, failed_before: u32, failure: Option<String>) {
    let (pool, name, address) = (server.pool(), server.name(), server.address());
    match (failed_before, failure) {
        (0, Some(reason)) => tracing::warn!(
            %pool, server = %name, %address, %reason,
            "the monitor cannot look at the server",
        ),
        (1.., None) => tracing::info!(
            %pool, server = %name, %address,
            "the monitor can look at the server again",
        ),
        _ => {}
    }
}

fn follow_roles(registry: &Registry, pool: &Pool) {
    let findings = &registry.findings;
    let sight = |member: &Member| {
        let found = findings.of(&member.server).unwrap_or_default();
        Sight {
            role: member.server.role(),
            is_backup: member.backup,
            writable: found.writable,
            looks: found.looks,
        }
    };
    let sights: Vec<_> = pool.members().iter().map(sight).collect();
    let (before, roles, after) = findings.update_roster(pool.name(), |roster| {
        let before = roster.trouble();
        let roles = roster.follow(&sights);
        (before, roles, roster.trouble())
    });
    let mut changes: Vec<_> = pool.members().iter().zip(roles).collect();
    // Nobody may find two primaries in between.
    changes.sort_by_key(|(_, role)| *role == Some(Role::Primary));
    for (member, role) in changes {
        if member.server.role() != role {
            member.server.set_role(role);
            announce_role(&member.server, role);
        }
    }
    if before != after {
        announce_trouble(registry, pool, after);
    }
}

fn announce_role(server: &Server, role: Option<Role>) {
    let (pool, name, address) = (server.pool(), server.name(), server.address());
    match role {
        Some(Role::Primary) => tracing::info!(
            %pool, server = %name, %address, role = Role::Primary.as_str(),
            "server is the primary now: it is the only one that takes writes",
        ),
        Some(Role::Replica) => tracing::info!(
            %pool, server = %name, %address, role = Role::Replica.as_str(),
            "server is a replica now: it is read-only",
        ),
        None => tracing::warn!(
            %pool, server = %name, %address, role = "none",
            "server has no role now: it gets no sessions",
        ),
    }
}

fn announce_trouble(registry: &Registry, pool: &Pool, trouble: Option<Trouble>) {
    let name = pool.name();
    let servers = |writable: Writable| {
        let members = pool.members().iter().map(|member| &member.server);
        let such = members.filter(|server| {
            let found = registry.findings.of(server);
            found.is_some_and(|found| found.writable == writable)
        });
        let named = such.map(|server| format!("{} ({})", server.name(), server.address()));
        named.collect::<Vec<_>>().join(", ")
    };
    match trouble {
        Some(Trouble::SeveralWritable) => tracing::error!(
            pool = %name, writable = servers(Writable::Yes),
            "several servers take writes; the primary stays what it was, and the others get no \
             sessions: make them read_only",
        ),
        Some(Trouble::NoPrimary) => tracing::error!(
            pool = %name, unknown = servers(Writable::Unknown),
            "no server takes writes: clients get errors for theirs, until one is made writable",
        ),
        None => tracing::info!(pool = %name, "exactly one server takes writes again"),
    }
}

/// A replica that has its data from somebody else than the primary is told of, once. What cannot be
/// told any more stays as it was: it is most often that a connection is being made.
fn settle_descent(registry: &Registry, pool: &Pool, server: &Arc<Server>) {
    let findings = &registry.findings;
    let is_replica = server.role() == Some(Role::Replica);
    let mut members = pool.members().iter();
    let place = members.position(|member| Arc::ptr_eq(&member.server, server));
    let found = place.and_then(|at| findings.descent_in(pool, at));
    let (before, after) = findings.update(server, |finding| {
        let before = finding.descent;
        let follows_nobody = finding.replication == Some(Replication::None);
        finding.descent = match found {
            _ if !is_replica || follows_nobody => None,
            None => before,
            found => found,
        };
        (before, finding.descent)
    });
    if let Some(descent) = after
        && before != after
    {
        announce_descent(server, before, descent);
    }
}

fn announce_descent(server: &Server, before: Option<Descent>, descent: Descent) {
    let (pool, name, address) = (server.pool(), server.name(), server.address());
    match descent {
        Descent::Member => tracing::warn!(
            %pool, server = %name, %address,
            "replica does not follow the primary: its data comes from another server of the pool",
        ),
        Descent::Outside => tracing::warn!(
            %pool, server = %name, %address,
            "replica follows a server outside the pool: make sure that this one follows the primary",
        ),
        Descent::Primary if before.is_some() => tracing::info!(
            %pool, server = %name, %address, "replica follows the primary again",
        ),
        Descent::Primary => {}
    }
}

/// A replica that is found too old at once was never read, and yet somebody should hear of it.
fn tell_of_first_look(registry: &Registry, pool: &Pool, server: &Arc<Server>, max: Duration) {
    let found = registry.findings.of(server).unwrap_or_default();
    match found.freshness.is_usable(primary_answers(registry, pool)) {
        Some(true) => server.set_lagging(false),
        Some(false) if server.is_lagging() => announce_stale(server, &found, max),
        Some(false) | None => {}
    }
}

fn settle_read_set(registry: &Registry, pool: &Pool, max: Duration) {
    let answers = primary_answers(registry, pool);
    for member in pool.members() {
        let server = &member.server;
        if server.role() != Some(Role::Replica) {
            // What it was as a replica is not what it is.
            server.set_lagging(false);
            continue;
        }
        let found = registry.findings.of(server).unwrap_or_default();
        match found.freshness.is_usable(answers) {
            Some(true) if server.is_lagging() => {
                server.set_lagging(false);
                announce_fresh(server, &found);
            }
            Some(false) if !server.is_lagging() => {
                server.set_lagging(true);
                announce_stale(server, &found, max);
            }
            _ => {}
        }
    }
}

/// Whether the pool has a primary that can be read in the place of a replica.
fn primary_answers(registry: &Registry, pool: &Pool) -> bool {
    pool.members().iter().any(|member| {
        let server = &member.server;
        let found = registry.findings.of(server);
        server.role() == Some(Role::Primary)
            && server.health() == Health::Up
            && found.is_some_and(|found| found.looks > 0 && found.error.is_none())
    })
}

fn announce_stale(server: &Server, found: &super::Finding, max: Duration) {
    let (pool, name, address) = (server.pool(), server.name(), server.address());
    let reason = match (&found.replication, &found.error) {
        _ if found.descent == Some(Descent::Member) => {
            "it does not follow the primary, but another server of the pool".to_owned()
        }
        (Some(Replication::Behind(lag)), _) => format!(
            "it is {} behind, and max_replication_lag is {}",
            format_duration(*lag),
            format_duration(max)
        ),
        (Some(Replication::None), _) => "it follows no other server".to_owned(),
        (Some(Replication::Broken(why)), _) => why.clone(),
        (Some(Replication::Untold(code, message)), _) => format!("{code} {message}"),
        (None, error) => error.clone().unwrap_or_default(),
    };
    tracing::warn!(
        %pool, server = %name, %address, reason,
        "replica gets no reads: it is too far behind, or nobody knows how far",
    );
}

fn announce_fresh(server: &Server, found: &super::Finding) {
    let (pool, name, address) = (server.pool(), server.name(), server.address());
    let lag_seconds = found.lag().map(|lag| lag.as_secs());
    tracing::info!(%pool, server = %name, %address, lag_seconds, "replica gets reads again");
}
