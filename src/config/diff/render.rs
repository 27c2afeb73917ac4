//! A difference in one line: `pool web: + web-03 (10.0.0.13:80), - web-02 (41 sessions drain);
//! listener api opened on 0.0.0.0:8080`.

use super::{Difference, ListenerChange, PoolChange, ServerId, SettingChange};
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
        let listeners = self.listeners.iter().map(render_listener);
        let settings = self.settings.iter().map(render_setting);
        let parts: Vec<_> = pools.chain(listeners).chain(settings).collect();
        parts.join("; ")
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
        } => {
            let mut parts: Vec<_> = added.iter().map(comes).collect();
            parts.extend(removed.iter().map(drains));
            parts.extend(changed.iter().map(|change| {
                let settings = change.settings.iter().map(render_setting).collect();
                format!("{} {}", change.server.name, joined(settings))
            }));
            parts.extend(settings.iter().map(render_setting));
            format!("pool {name}: {}", joined(parts))
        }
    }
}

fn render_listener(change: &ListenerChange) -> String {
    match change {
        ListenerChange::Added { name, addresses } => {
            format!("listener {name} opened on {}", listed(addresses))
        }
        ListenerChange::Removed { name, addresses } => {
            format!("listener {name} closed on {}", listed(addresses))
        }
        ListenerChange::Changed {
            name,
            opened,
            closed,
            settings,
        } => {
            let mut parts = Vec::new();
            if !opened.is_empty() {
                parts.push(format!("opened on {}", listed(opened)));
            }
            if !closed.is_empty() {
                parts.push(format!("closed on {}", listed(closed)));
            }
            parts.extend(settings.iter().map(render_setting));
            format!("listener {name} {}", parts.join(", "))
        }
    }
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
