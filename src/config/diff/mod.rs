//! What changes between two configurations: as data here, in one line for the log by
//! [`Difference::render`].

mod render;

use super::settings::{self, Setting};
use super::{Address, Config, Listener, MysqlUser, Pool, Server};

/// What is different between two configurations. Whatever is equal is not in it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Difference {
    /// Of `[process]`, `[admin]` and the logs, each key with its table.
    pub settings: Vec<SettingChange>,
    /// Listeners that came, went or changed, in the order of the new configuration; those that
    /// went come last.
    pub listeners: Vec<ListenerChange>,
    /// Pools that came, went or changed, in the same order.
    pub pools: Vec<PoolChange>,
}

/// A key whose value changes. `None` is a key that is left out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SettingChange {
    /// The key, with its table unless that is clear.
    pub key: String,
    /// Its value before.
    pub old: Option<String>,
    /// Its value from now on.
    pub new: Option<String>,
}

/// What happens to a listener; its name is its identity.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ListenerChange {
    /// It is new.
    Added {
        /// Its name.
        name: String,
        /// What it listens on.
        addresses: Vec<Address>,
    },
    /// It is the same listener with other addresses or settings.
    Changed {
        /// Its name.
        name: String,
        /// Addresses it did not listen on before.
        opened: Vec<Address>,
        /// Addresses it no longer listens on.
        closed: Vec<Address>,
        /// Other keys.
        settings: Vec<SettingChange>,
    },
    /// It is gone.
    Removed {
        /// Its name.
        name: String,
        /// What it listened on.
        addresses: Vec<Address>,
    },
}

/// What happens to a pool; its name is its identity.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PoolChange {
    /// It is new.
    Added {
        /// Its name.
        name: String,
        /// All of them.
        servers: Vec<ServerId>,
    },
    /// It is the same pool with other servers or settings.
    Changed {
        /// Its name.
        name: String,
        /// Servers that get sessions from now on.
        added: Vec<ServerId>,
        /// Servers whose sessions drain.
        removed: Vec<ServerId>,
        /// Servers that stay, with other settings.
        changed: Vec<ServerChange>,
        /// The pool's own keys.
        settings: Vec<SettingChange>,
        /// Accounts of its mysql table.
        users: Vec<UserChange>,
    },
    /// It is gone.
    Removed {
        /// Its name.
        name: String,
        /// All of them; their sessions drain.
        servers: Vec<ServerId>,
    },
}

/// What makes a server the same one over reloads.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ServerId {
    /// The pool's name.
    pub pool: String,
    /// The server's name.
    pub name: String,
    /// Its resolved address.
    pub address: Address,
}

/// A server that stays, with other settings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerChange {
    /// Which one.
    pub server: ServerId,
    /// Its keys that change; at least one.
    pub settings: Vec<SettingChange>,
}

/// What happens to an account; of its secret nothing is told but that it changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UserChange {
    /// It is new.
    Added {
        /// Its name.
        name: String,
    },
    /// It is the same account with another secret, or its secret comes from elsewhere.
    Secret {
        /// Its name.
        name: String,
    },
    /// It is gone.
    Removed {
        /// Its name.
        name: String,
    },
}

/// Compares two configurations in which names have been resolved.
///
/// # Panics
/// When a server's address is still a name.
pub fn diff(old: &Config, new: &Config) -> Difference {
    Difference {
        settings: global_settings(old, new),
        listeners: listeners(old, new),
        pools: pools(old, new),
    }
}

fn global_settings(old: &Config, new: &Config) -> Vec<SettingChange> {
    let tables = |config: &Config| {
        [
            ("process", settings::of_process(&config.process)),
            ("admin", settings::of_admin(config)),
            ("log", settings::of_log(&config.log)),
            (
                "access_log",
                settings::of_access_log(config.access_log.as_ref()),
            ),
            (
                "statement_log",
                settings::of_statement_log(config.statement_log.as_ref()),
            ),
        ]
    };
    let mut changes = Vec::new();
    for ((table, old), (_, new)) in tables(old).into_iter().zip(tables(new)) {
        for mut change in changed(old, new) {
            change.key = format!("{table}.{}", change.key);
            changes.push(change);
        }
    }
    changes
}

fn listeners(old: &Config, new: &Config) -> Vec<ListenerChange> {
    let find = |config: &Config, name: &str| -> Option<usize> {
        config.listeners.iter().position(|l| l.name == name)
    };
    let mut changes = Vec::new();
    for listener in &new.listeners {
        match find(old, &listener.name) {
            Some(i) => changes.extend(listener_change(&old.listeners[i], old, listener, new)),
            None => changes.push(ListenerChange::Added {
                name: listener.name.clone(),
                addresses: listener.listen.clone(),
            }),
        }
    }
    let removed = old
        .listeners
        .iter()
        .filter(|l| find(new, &l.name).is_none());
    changes.extend(removed.map(|listener| ListenerChange::Removed {
        name: listener.name.clone(),
        addresses: listener.listen.clone(),
    }));
    changes
}

fn listener_change(
    old: &Listener,
    old_config: &Config,
    new: &Listener,
    new_config: &Config,
) -> Option<ListenerChange> {
    let opened = missing_in(&old.listen, &new.listen);
    let closed = missing_in(&new.listen, &old.listen);
    let mut settings = changed(
        settings::of_listener(old, old_config),
        settings::of_listener(new, new_config),
    );
    let tls = [(old, old_config), (new, new_config)].map(|(listener, config)| {
        let tls = listener.tls.as_ref();
        tls.map(|tls| settings::of_listener_tls(tls, config))
    });
    settings.extend(table_changes("tls", tls));
    let differs = !(opened.is_empty() && closed.is_empty() && settings.is_empty());
    differs.then(|| ListenerChange::Changed {
        name: new.name.clone(),
        opened,
        closed,
        settings,
    })
}

fn pools(old: &Config, new: &Config) -> Vec<PoolChange> {
    let find = |config: &Config, name: &str| -> Option<usize> {
        config.pools.iter().position(|pool| pool.name == name)
    };
    let mut changes = Vec::new();
    for pool in &new.pools {
        match find(old, &pool.name) {
            Some(i) => changes.extend(pool_change(&old.pools[i], pool)),
            None => changes.push(PoolChange::Added {
                name: pool.name.clone(),
                servers: server_ids(pool),
            }),
        }
    }
    let removed = old
        .pools
        .iter()
        .filter(|pool| find(new, &pool.name).is_none());
    changes.extend(removed.map(|pool| PoolChange::Removed {
        name: pool.name.clone(),
        servers: server_ids(pool),
    }));
    changes
}

fn pool_change(old: &Pool, new: &Pool) -> Option<PoolChange> {
    let (old_ids, new_ids) = (server_ids(old), server_ids(new));
    let added = missing_in(&old_ids, &new_ids);
    let removed = missing_in(&new_ids, &old_ids);
    let mut settings = changed(settings::of_pool(old), settings::of_pool(new));
    let both = [old, new];
    let checks = both.map(|pool| pool.health_check.as_ref().map(settings::of_health_check));
    settings.extend(table_changes("health_check", checks));
    let tls = both.map(|pool| pool.tls.as_ref().map(settings::of_pool_tls));
    settings.extend(table_changes("tls", tls));
    let mysql = both.map(|pool| pool.mysql.as_ref().map(settings::of_mysql));
    settings.extend(table_changes("mysql.roles", mysql));
    let users = user_changes(old, new);
    let mut changed_servers = Vec::new();
    for (server, id) in new.servers.iter().zip(new_ids) {
        let same = |old: &&Server| server_id(&new.name, old) == id;
        let Some(before) = old.servers.iter().find(same) else {
            continue;
        };
        let settings = changed(settings::of_server(before), settings::of_server(server));
        if !settings.is_empty() {
            changed_servers.push(ServerChange {
                server: id,
                settings,
            });
        }
    }
    let servers_differ = !(added.is_empty() && removed.is_empty() && changed_servers.is_empty());
    let differs = servers_differ || !settings.is_empty() || !users.is_empty();
    differs.then(|| PoolChange::Changed {
        name: new.name.clone(),
        added,
        removed,
        changed: changed_servers,
        settings,
        users,
    })
}

/// A table that comes or goes is one change, of its first key, and not one for each of its keys.
fn table_changes(key: &'static str, [old, new]: [Option<Vec<Setting>>; 2]) -> Vec<SettingChange> {
    if let (Some(old), Some(new)) = (&old, &new) {
        return changed(old.clone(), new.clone());
    }
    let first = |table: Option<Vec<Setting>>| {
        let value = table.and_then(|settings| settings.into_iter().next()?.1);
        vec![(key, value)]
    };
    changed(first(old), first(new))
}

/// In the order of the new configuration; those that went come last.
fn user_changes(old: &Pool, new: &Pool) -> Vec<UserChange> {
    let users = |pool: &Pool| pool.mysql.as_ref().map(|mysql| mysql.users.clone());
    let [old, new] = [old, new].map(|pool| users(pool).unwrap_or_default());
    let change = |user: &MysqlUser| {
        let name = user.name.clone();
        match old.iter().find(|old| old.name == name) {
            None => Some(UserChange::Added { name }),
            Some(old) if old.secret != user.secret => Some(UserChange::Secret { name }),
            Some(_) => None,
        }
    };
    let mut changes: Vec<_> = new.iter().filter_map(change).collect();
    let gone = old
        .iter()
        .filter(|old| new.iter().all(|new| new.name != old.name));
    changes.extend(gone.map(|user| UserChange::Removed {
        name: user.name.clone(),
    }));
    changes
}

fn server_ids(pool: &Pool) -> Vec<ServerId> {
    let id = |server| server_id(&pool.name, server);
    pool.servers.iter().map(id).collect()
}

fn server_id(pool: &str, server: &Server) -> ServerId {
    ServerId {
        pool: pool.to_owned(),
        name: server.name.clone(),
        address: server.fixed_address().clone(),
    }
}

/// What `some` has and `others` has not.
fn missing_in<T: Clone + PartialEq>(others: &[T], some: &[T]) -> Vec<T> {
    let is_missing = |item: &&T| !others.contains(item);
    some.iter().filter(is_missing).cloned().collect()
}

/// Both lists come from one function, so the keys are the same in the same order.
fn changed(old: Vec<Setting>, new: Vec<Setting>) -> Vec<SettingChange> {
    debug_assert!(old.iter().map(|s| s.0).eq(new.iter().map(|s| s.0)));
    let pairs = old.into_iter().zip(new);
    let differ = pairs.filter(|((_, old), (_, new))| old != new);
    let change = |((key, old), (_, new)): (Setting, Setting)| SettingChange {
        key: key.to_owned(),
        old,
        new,
    };
    differ.map(change).collect()
}
