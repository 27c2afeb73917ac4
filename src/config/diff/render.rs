//! A difference in one line: `pool web: + web-03 (10.0.0.13:80), - web-02 (41 sessions drain);
//! listener api opened on 0.0.0.0:8080`.

use super::{Difference, ListenerChange, PoolChange, ServerId, SettingChange, UserChange};
use crate::config::Address;

impl Difference {
    /// Whether the two configurations are the same to everybody.
    pub fn is_empty(&self) -> bool {
        self.settings.is_empty() && self.listeners.is_empty() && self.pools.is_empty()
    }

    /// All of it in one line, `no changes` if there is nothing. `sessions` tells how many sessions
    /// a removed server still has.
    pub fn render(&self, sessions: impl Fn(&ServerId) -> u64) -> String {
        if self.is_empty() {
            return "no changes".to_owned();
        }
        let pools = self.pools.iter().map(|pool| render_pool(pool, &sessions));
        let moved = self.moved();
        let listeners = self
            .listeners
            .iter()
            .map(|listener| render_listener(listener, &moved));
        let settings = self.settings.iter().map(render_setting);
        let parts: Vec<_> = pools.chain(listeners).chain(settings).collect();
        parts.join("; ")
    }

    /// Addresses that go from one listener to another: their sockets stay as they are.
    fn moved(&self) -> Vec<&Address> {
        let nothing: &[Address] = &[];
        let changes = self.listeners.iter().map(|change| match change {
            ListenerChange::Added { addresses, .. } => (addresses.as_slice(), nothing),
            ListenerChange::Removed { addresses, .. } => (nothing, addresses.as_slice()),
            ListenerChange::Changed { opened, closed, .. } => {
                (opened.as_slice(), closed.as_slice())
            }
        });
        let (come, go): (Vec<_>, Vec<_>) = changes.unzip();
        let go = go.concat();
        let moved = come.into_iter().flatten();
        moved.filter(|address| go.contains(address)).collect()
    }
}

fn render_pool(change: &PoolChange, sessions: &impl Fn(&ServerId) -> u64) -> String {
    let drains = |server: &ServerId| match sessions(server) {
        0 => format!("- {} ({})", server.name, server.address),
        1 => format!("- {} (1 session drains)", server.name),
        n => format!("- {} ({n} sessions drain)", server.name),
    };
    let comes = |server: &ServerId| format!("+ {} ({})", server.name, server.address);
    let joined = |parts: Vec<String>| parts.join(", ");
    match change {
        PoolChange::Added { name, servers } => {
            let servers = joined(servers.iter().map(comes).collect());
            format!("pool {name} added: {servers}")
        }
        PoolChange::Removed { name, servers } => {
            let servers = joined(servers.iter().map(drains).collect());
            format!("pool {name} removed: {servers}")
        }
        PoolChange::Changed {
            name,
            added,
            removed,
            changed,
            settings,
            users,
        } => {
            let mut parts: Vec<_> = added.iter().map(comes).collect();
            parts.extend(removed.iter().map(drains));
            parts.extend(changed.iter().map(|change| {
                let settings = change.settings.iter().map(render_setting).collect();
                format!("{} {}", change.server.name, joined(settings))
            }));
            parts.extend(settings.iter().map(render_setting));
            parts.extend(users.iter().map(render_user));
            format!("pool {name}: {}", joined(parts))
        }
    }
}

fn render_user(change: &UserChange) -> String {
    match change {
        UserChange::Added { name } => format!("+ user {name}"),
        UserChange::Secret { name } => format!("user {name}: secret"),
        UserChange::Removed { name } => format!("- user {name}"),
    }
}

fn render_listener(change: &ListenerChange, moved: &[&Address]) -> String {
    let (name, opened, closed, settings): (_, &[_], &[_], &[_]) = match change {
        ListenerChange::Added { name, addresses } => (name, addresses, &[], &[]),
        ListenerChange::Removed { name, addresses } => (name, &[], addresses, &[]),
        ListenerChange::Changed {
            name,
            opened,
            closed,
            settings,
        } => (name, opened, closed, settings),
    };
    let split = |addresses: &[Address]| -> (Vec<_>, Vec<_>) {
        let addresses = addresses.iter().cloned();
        addresses.partition(|address| moved.contains(&address))
    };
    let ((taken, opened), (given, closed)) = (split(opened), split(closed));
    let phrases = [
        ("opened on", opened),
        ("takes over", taken),
        ("closed on", closed),
        ("hands over", given),
    ];
    let phrases = phrases.iter().filter(|(_, at)| !at.is_empty());
    let mut parts: Vec<_> = phrases
        .map(|(phrase, at)| format!("{phrase} {}", listed(at)))
        .collect();
    parts.extend(settings.iter().map(render_setting));
    format!("listener {name} {}", parts.join(", "))
}

fn render_setting(change: &SettingChange) -> String {
    let value = |value: &Option<String>| value.clone().unwrap_or_else(|| "none".to_owned());
    let (old, new) = (value(&change.old), value(&change.new));
    format!("{} {old} -> {new}", change.key)
}

fn listed(addresses: &[Address]) -> String {
    let addresses: Vec<_> = addresses.iter().map(ToString::to_string).collect();
    addresses.join(", ")
}
