//! `ringway check`.

use std::io::{self, Write};
use std::path::Path;

use super::exit::{Exit, complain, complain_of_config, warn};
use crate::config::{self, Config, Diagnostic, Listener, LoadError, Pool, Role, Roles, Server};
use crate::control::{self, TlsState};

/// Says what is wrong with a file, or that nothing is and what it has.
pub(super) fn check(path: &Path) -> Exit {
    let tls = match TlsState::new() {
        Ok(tls) => tls,
        Err(error) => return complain(&error),
    };
    let checked = config::load(path).and_then(|(config, warnings)| {
        let complete = control::complete(config, &tls);
        let mut complete = complete.map_err(|errors| LoadError::Invalid(errors.in_file(path)))?;
        Diagnostic::name_file(&mut complete.warnings, path);
        Ok((complete.config, [warnings, complete.warnings].concat()))
    });
    match checked {
        Ok((config, warnings)) => {
            warn(&warnings);
            // Closed when the output is piped into a program that has seen enough.
            let _ = writeln!(io::stdout(), "{}: ok\n{}", path.display(), summary(&config));
            for line in splitting(&config) {
                let _ = writeln!(io::stdout(), "{line}");
            }
            Exit::Success
        }
        Err(error) => complain_of_config(error),
    }
}

fn summary(config: &Config) -> String {
    let servers = config.pools.iter().map(|pool| pool.servers.len()).sum();
    let counts = [
        count(config.listeners.len(), "listener"),
        count(config.pools.len(), "pool"),
        count(servers, "server"),
    ];
    counts.join(", ")
}

/// Where each mysql listener sends what.
fn splitting(config: &Config) -> Vec<String> {
    let line = |listener: &Listener| {
        let pool = &config.pools[listener.pool];
        let roles = match pool.mysql.as_ref()?.roles {
            Roles::FollowReadOnly => "the roles follow read_only on each server".to_owned(),
            Roles::Configured => {
                let reads = match servers_as(pool, Role::Replica) {
                    None => "reads, too, for want of a replica".to_owned(),
                    Some(replicas) => format!("reads to {replicas}"),
                };
                let primary = servers_as(pool, Role::Primary)?;
                format!("writes go to {primary}, {reads}")
            }
        };
        let (name, pool) = (&listener.name, &pool.name);
        Some(format!(
            "listener {name} splits statements over pool {pool}: {roles}"
        ))
    };
    config.listeners.iter().filter_map(line).collect()
}

/// The servers of one role, if there are any.
fn servers_as(pool: &Pool, role: Role) -> Option<String> {
    let servers = pool
        .servers
        .iter()
        .filter(|server| server.role == Some(role));
    let describe = |server: &Server| {
        let backup = if server.backup { ", backup" } else { "" };
        format!("{} ({}{backup})", server.name, server.fixed_address())
    };
    let servers: Vec<_> = servers.map(describe).collect();
    (!servers.is_empty()).then(|| servers.join(", "))
}

fn count(number: usize, what: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{number} {what}{plural}")
}
