//! What holds for any text and any two configurations.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::generate::{configs, to_toml, without_positions};
use crate::config::{
    Config, Difference, ListenerChange, PoolChange, ServerId, SettingChange, diff, fuzzing, parse,
};
use crate::entropy::corpus;

const EXAMPLE: &str = include_str!("../../../config.example.toml");

proptest! {
    #[test]
    fn a_configuration_written_down_is_read_back(config in configs()) {
        let text = to_toml(&config);
        let (read, _) = parse(&text).map_err(|errors| TestCaseError::fail(errors.to_string()))?;
        prop_assert_eq!(without_positions(read), config);
    }

    #[test]
    fn a_configuration_does_not_differ_from_itself(config in configs()) {
        let difference = diff(&config, &config);
        prop_assert!(difference.is_empty());
        prop_assert_eq!(difference.render(|_| 0), "no changes");
    }

    #[test]
    fn order_is_no_difference(config in configs()) {
        let mut reversed = config.clone();
        reversed.listeners.reverse();
        reversed.pools.reverse();
        for listener in &mut reversed.listeners {
            listener.pool = config.pools.len() - 1 - listener.pool;
            listener.listen.reverse();
            for route in listener.tls.iter_mut().flat_map(|tls| &mut tls.routes) {
                route.pool = config.pools.len() - 1 - route.pool;
            }
            listener.tls.iter_mut().for_each(|tls| tls.routes.reverse());
        }
        reversed.pools.iter_mut().for_each(|pool| pool.servers.reverse());
        for mysql in reversed.pools.iter_mut().flat_map(|pool| &mut pool.mysql) {
            mysql.users.reverse();
            mysql.primary_only_users.reverse();
        }
        prop_assert!(diff(&config, &reversed).is_empty());
    }

    #[test]
    fn what_comes_and_goes_is_what_only_one_side_has(old in configs(), new in configs()) {
        let difference = diff(&old, &new);
        let (added, removed) = servers_that_move(&difference);
        prop_assert_eq!(added, &servers(&new) - &servers(&old));
        prop_assert_eq!(removed, &servers(&old) - &servers(&new));
        let (opened, closed) = addresses_that_move(&difference);
        prop_assert_eq!(opened, &addresses(&new) - &addresses(&old));
        prop_assert_eq!(closed, &addresses(&old) - &addresses(&new));
    }

    #[test]
    fn settings_that_change_have_two_values(old in configs(), new in configs()) {
        let there = settings(diff(&old, &new));
        let back: BTreeSet<_> = settings(diff(&new, &old))
            .into_iter()
            .map(|(place, old, new)| (place, new, old))
            .collect();
        prop_assert!(there.iter().all(|(_, old, new)| old != new));
        prop_assert_eq!(there, back);
    }

    #[test]
    fn any_text_is_read_or_refused(text in "[ -~\\n\u{e4}\u{1f600}]{0,200}") {
        fuzzing::check(text.as_bytes());
    }

    #[test]
    fn a_damaged_file_is_read_or_refused(damages in prop::collection::vec(damages(), 1..6)) {
        let mut text = EXAMPLE.as_bytes().to_vec();
        for (from, length, with) in damages {
            let from = from.index(text.len());
            let to = (from + length).min(text.len());
            text.splice(from..to, with.into_bytes());
        }
        fuzzing::check(&text);
    }
}

#[test]
fn the_fuzzers_corpus_passes() {
    for data in corpus("config") {
        fuzzing::check(&data);
    }
}

/// Where bytes are replaced, how many, and by what.
fn damages() -> impl Strategy<Value = (prop::sample::Index, usize, String)> {
    let with = prop_oneof![
        "[\\[\\]{}\"'=,.#\\n0-9a-z]{0,3}",
        prop::sample::select(vec![
            "\n[[pool]]\n",
            "\n[[listener]]\n",
            "protocol = \"mysql\"\n",
            "\n[[pool.mysql.user]]\n",
            "role = \"primary\"\n",
            "\n[listener.tls]\nmode = \"terminate\"\n",
            "tls.mode = \"passthrough\"\n",
            "tls.mode = \"verify\"\n",
            "\n[[listener.tls.route]]\n",
            "[pool.server]\n",
            "\"\"\"",
            "name = \"a\"\n",
            "1d",
            "\u{feff}",
            "\r\n",
        ])
        .prop_map(str::to_owned),
    ];
    (any::<prop::sample::Index>(), 0..40_usize, with)
}

fn servers(config: &Config) -> BTreeSet<ServerId> {
    let of_pool = |pool: &crate::config::Pool| {
        let id = |server: &crate::config::Server| ServerId {
            pool: pool.name.clone(),
            name: server.name.clone(),
            address: server.fixed_address().clone(),
        };
        pool.servers.iter().map(id).collect::<Vec<_>>()
    };
    config.pools.iter().flat_map(of_pool).collect()
}

fn addresses(config: &Config) -> BTreeSet<(String, String)> {
    let of_listener = |listener: &crate::config::Listener| {
        let name = listener.name.clone();
        let addresses = listener.listen.iter().map(ToString::to_string);
        addresses.map(|a| (name.clone(), a)).collect::<Vec<_>>()
    };
    config.listeners.iter().flat_map(of_listener).collect()
}

fn servers_that_move(difference: &Difference) -> (BTreeSet<ServerId>, BTreeSet<ServerId>) {
    let (mut come, mut go) = (BTreeSet::new(), BTreeSet::new());
    for change in &difference.pools {
        match change {
            PoolChange::Added { servers, .. } => come.extend(servers.iter().cloned()),
            PoolChange::Removed { servers, .. } => go.extend(servers.iter().cloned()),
            PoolChange::Changed { added, removed, .. } => {
                come.extend(added.iter().cloned());
                go.extend(removed.iter().cloned());
            }
        }
    }
    (come, go)
}

type Addresses = BTreeSet<(String, String)>;

fn addresses_that_move(difference: &Difference) -> (Addresses, Addresses) {
    let named = |name: &String, addresses: &[crate::config::Address]| {
        let pair = |address: &crate::config::Address| (name.clone(), address.to_string());
        addresses.iter().map(pair).collect::<Vec<_>>()
    };
    let (mut come, mut go) = (BTreeSet::new(), BTreeSet::new());
    for change in &difference.listeners {
        match change {
            ListenerChange::Added { name, addresses } => come.extend(named(name, addresses)),
            ListenerChange::Removed { name, addresses } => go.extend(named(name, addresses)),
            ListenerChange::Changed {
                name,
                opened,
                closed,
                ..
            } => {
                come.extend(named(name, opened));
                go.extend(named(name, closed));
            }
        }
    }
    (come, go)
}

/// Every setting that changes: where it stands, its old and its new value.
fn settings(difference: Difference) -> BTreeSet<(String, Option<String>, Option<String>)> {
    let mut all: Vec<(String, SettingChange)> = Vec::new();
    let mut add = |place: String, changes: Vec<SettingChange>| {
        all.extend(changes.into_iter().map(|change| (place.clone(), change)));
    };
    add(String::new(), difference.settings);
    for change in difference.listeners {
        if let ListenerChange::Changed { name, settings, .. } = change {
            add(format!("listener {name} "), settings);
        }
    }
    for change in difference.pools {
        if let PoolChange::Changed {
            name,
            changed,
            settings,
            ..
        } = change
        {
            add(format!("pool {name} "), settings);
            for server in changed {
                add(format!("server {:?} ", server.server), server.settings);
            }
        }
    }
    let flat =
        |(place, change): (String, SettingChange)| (place + &change.key, change.old, change.new);
    all.into_iter().map(flat).collect()
}
