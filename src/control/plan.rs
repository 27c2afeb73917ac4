//! What a new configuration means for what runs: which servers, listeners and sockets go on, which
//! are new, which leave. Pure: nothing is opened, closed or published here.

use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use super::listen::{Options, Request};
use super::{Complete, LoadedTls};
use crate::balance::{Cursors, Member, Pool, Server};
use crate::config::{self, Address, Config, MysqlPool, Roles};
use crate::tls::policy::{ListenerPolicy, PoolPolicy};
use crate::worker::{
    Destination, Listener, ListeningSocket, MysqlRoute, MysqlSettings, Route, RouteTls, Snapshot,
    Unauthenticated,
};

/// What exists already, by the identity under which a configuration finds it again.
#[derive(Debug, Default)]
pub(super) struct Known {
    /// How many worker threads there are.
    pub(super) workers: usize,
    /// The pools that run.
    pub(super) pools: Vec<Arc<Pool>>,
    /// Servers that were removed and still have sessions: they may come back.
    pub(super) retired_servers: Vec<Arc<Server>>,
    /// Listeners that run.
    pub(super) listeners: Vec<Arc<Listener>>,
    /// Listeners that were removed and still have sessions.
    pub(super) retired_listeners: Vec<Arc<Listener>>,
    /// What counts sessions that have not logged in, by the pool's name.
    pub(super) unauthenticated: HashMap<Arc<str>, Arc<Unauthenticated>>,
    /// What is listened on, by the address as configured.
    pub(super) sockets: HashMap<Address, Options>,
    /// Addresses whose sockets workers may not have closed yet.
    pub(super) closing: Vec<(Address, Options)>,
}

/// What has to be done. Pools and listeners are in the order of the configuration.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) pools: Vec<Arc<Pool>>,
    /// How the statements of each pool's sessions are split, if they are.
    mysql: Vec<Option<Arc<MysqlRoute>>>,
    /// TLS with each pool's servers, if there is any.
    pub(super) pool_tls: Vec<Option<Arc<PoolPolicy>>>,
    pub(super) listeners: Vec<Arc<Listener>>,
    /// TLS with each listener's clients, if there is any.
    listener_tls: Vec<Option<Arc<ListenerPolicy>>>,
    /// Sockets to open.
    pub(super) open: Vec<Request>,
    /// Sockets that stay, with other options.
    pub(super) retune: Vec<(Address, Options)>,
    /// Sockets that are let go. One that is replaced is opened, too.
    pub(super) close: Vec<Address>,
    /// Servers that leave, and how long their sessions may go on.
    pub(super) removed_servers: Vec<(Arc<Server>, Option<Duration>)>,
    pub(super) removed_listeners: Vec<Arc<Listener>>,
    /// Servers that had left and are configured again.
    returning: Vec<Arc<Server>>,
}

/// What a server is, over any number of reloads.
type ServerId<'a> = (&'a str, &'a str, &'a Address);

/// Compares a configuration with what exists.
pub(super) fn plan(known: &Known, complete: &Complete) -> Plan {
    let Complete { config, tls, .. } = complete;
    let pools = plan_pools(known, config);
    let listeners = plan_listeners(known, config);
    let (open, retune, close) = plan_sockets(known, config);
    Plan {
        removed_servers: removed_servers(known, &pools),
        removed_listeners: known
            .listeners
            .iter()
            .filter(|old| !listeners.iter().any(|new| Arc::ptr_eq(old, new)))
            .cloned()
            .collect(),
        returning: returning(known, &pools),
        mysql: plan_mysql(known, complete),
        pool_tls: plan_pool_tls(known, config, tls),
        pools,
        listener_tls: (0..listeners.len()).map(|i| tls.listener(i)).collect(),
        listeners,
        open,
        retune,
        close,
    }
}

impl Plan {
    /// The snapshot for the workers; `socket` finds what is listened on by its configured address.
    pub(super) fn snapshot<'a>(
        &self,
        generation: u64,
        config: &Config,
        socket: impl Fn(&Address) -> &'a Arc<ListeningSocket>,
    ) -> Snapshot {
        let routes = config.listeners.iter().zip(&self.listeners);
        let routes = routes.zip(&self.listener_tls);
        let route = |((configured, listener), tls): ((&config::Listener, &Arc<Listener>), _)| {
            Arc::new(Route {
                listener: Arc::clone(listener),
                generation,
                pool: Arc::clone(&self.pools[configured.pool]),
                sockets: configured
                    .listen
                    .iter()
                    .map(|at| Arc::clone(socket(at)))
                    .collect(),
                mysql: self.mysql[configured.pool].clone(),
                tls: self.route_tls(configured, tls),
            })
        };
        Snapshot {
            generation,
            listeners: routes.map(route).collect(),
            coalesce: config.process.coalesce,
            access_log: config.access_log.is_some(),
            statement_log: config.statement_log.as_ref().map(|log| log.slower_than),
        }
    }

    fn route_tls(
        &self,
        configured: &config::Listener,
        listener: &Option<Arc<ListenerPolicy>>,
    ) -> RouteTls {
        let rules = configured.tls.iter().flat_map(|tls| &tls.routes);
        let destination = |rule: &config::TlsRoute| Destination {
            pool: Arc::clone(&self.pools[rule.pool]),
            tls: self.pool_tls[rule.pool].clone(),
        };
        RouteTls {
            listener: listener.clone(),
            pool: self.pool_tls[configured.pool].clone(),
            by_rule: rules.map(destination).collect(),
        }
    }

    /// Gives servers the roles that the configuration says. Where it leaves them to the servers,
    /// those that are known stay until a monitor finds otherwise; but what a server was before it
    /// left may be another one by now.
    pub(super) fn set_roles(&self, config: &Config) {
        for (pool, configured) in self.pools.iter().zip(&config.pools) {
            let mysql = configured.mysql.as_ref();
            let is_followed = |mysql: &MysqlPool| mysql.roles == Roles::FollowReadOnly;
            let is_followed = mysql.is_some_and(is_followed);
            let may_lag = mysql.is_some_and(|mysql| mysql.max_replication_lag.is_some());
            for (member, server) in pool.members().iter().zip(&configured.servers) {
                let returns = || {
                    self.returning
                        .iter()
                        .any(|r| Arc::ptr_eq(r, &member.server))
                };
                if !is_followed {
                    member.server.set_role(server.role);
                } else if returns() {
                    member.server.set_role(None);
                }
                if !may_lag {
                    member.server.set_lagging(false);
                }
            }
        }
    }
}

fn plan_pools(known: &Known, config: &Config) -> Vec<Arc<Pool>> {
    let members = known.pools.iter().flat_map(|pool| pool.members());
    // Those that run come last and win, should an identity ever be in both.
    let servers: HashMap<ServerId<'_>, &Arc<Server>> = known
        .retired_servers
        .iter()
        .chain(members.map(|member| &member.server))
        .map(|server| (id(server), server))
        .collect();
    let plan_pool = |pool: &config::Pool| {
        let member = |server: &config::Server| {
            let address = server.fixed_address();
            let existing = servers.get(&(&*pool.name, &*server.name, address));
            Member {
                server: existing.map_or_else(
                    || {
                        Arc::new(Server::new(
                            &pool.name,
                            &server.name,
                            address.clone(),
                            known.workers,
                        ))
                    },
                    |&server| Arc::clone(server),
                ),
                weight: server.weight,
                max_connections: server.max_connections,
                backup: server.backup,
            }
        };
        let members = pool.servers.iter().map(member).collect();
        let cursors = cursors(known, &pool.name);
        Arc::new(Pool::new(&pool.name, pool.settings, members, cursors))
    };
    config.pools.iter().map(plan_pool).collect()
}

fn returning(known: &Known, pools: &[Arc<Pool>]) -> Vec<Arc<Server>> {
    let members = pools.iter().flat_map(|pool| pool.members());
    let members = members.map(|member| &member.server);
    let had_left = |server: &&Arc<Server>| {
        let mut retired = known.retired_servers.iter();
        retired.any(|retired| Arc::ptr_eq(retired, server))
    };
    members.filter(had_left).cloned().collect()
}

fn id(server: &Server) -> ServerId<'_> {
    (server.pool(), server.name(), server.address())
}

fn plan_mysql(known: &Known, complete: &Complete) -> Vec<Option<Arc<MysqlRoute>>> {
    let Complete {
        config,
        secrets,
        tls,
        ..
    } = complete;
    let route = |(pool, rules): (&config::Pool, _)| {
        let before = known.unauthenticated.get(&*pool.name).cloned();
        Some(Arc::new(MysqlRoute {
            rules: Arc::new(rules?),
            settings: MysqlSettings::new(pool.mysql.as_ref()?, before.unwrap_or_default()),
        }))
    };
    let pools = config
        .pools
        .iter()
        .zip(secrets.rules(config, tls.password_key()));
    pools.map(route).collect()
}

fn plan_pool_tls(known: &Known, config: &Config, tls: &LoadedTls) -> Vec<Option<Arc<PoolPolicy>>> {
    let pools = config.pools.iter().enumerate();
    let policy = |(i, pool)| tls.pool(i, pool, known.workers).map(Arc::new);
    pools.map(policy).collect()
}

fn cursors(known: &Known, pool: &str) -> Cursors {
    let before = known.pools.iter().find(|before| &**before.name() == pool);
    before.map_or_else(Default::default, |before| before.cursors())
}

fn plan_listeners(known: &Known, config: &Config) -> Vec<Arc<Listener>> {
    let find = |name: &str| {
        let mut all = known.listeners.iter().chain(&known.retired_listeners);
        all.find(|listener| &*listener.name == name).cloned()
    };
    let listener = |listener: &config::Listener| {
        find(&listener.name).unwrap_or_else(|| {
            let limit = listener.max_connections.unwrap_or(u32::MAX);
            Arc::new(Listener::new(&listener.name, limit, known.workers))
        })
    };
    config.listeners.iter().map(listener).collect()
}

type SocketPlan = (Vec<Request>, Vec<(Address, Options)>, Vec<Address>);

fn plan_sockets(known: &Known, config: &Config) -> SocketPlan {
    let (mut open, mut retune) = (Vec::new(), Vec::new());
    let mut close: Vec<Address> = known.sockets.keys().cloned().collect();
    for listener in &config.listeners {
        let options = Options::new(listener, &config.pools[listener.pool].settings);
        for address in &listener.listen {
            let before = known.sockets.get(address);
            if let Some(before) = before.filter(|before| !before.need_new_socket(&options, address))
            {
                close.retain(|at| at != address);
                if *before != options {
                    retune.push((address.clone(), options));
                }
            } else {
                let closing = known.closing.iter().map(|(address, of)| (address, of));
                let mut ours = known.sockets.iter().chain(closing);
                open.push(Request {
                    listener: listener.name.clone(),
                    address: address.clone(),
                    options,
                    exclusive: !ours.any(|ours| overlap(ours, (address, &options))),
                });
            }
        }
    }
    close.sort_unstable();
    (open, retune, close)
}

/// Whether a connection could belong to either address.
fn overlap(one: (&Address, &Options), other: (&Address, &Options)) -> bool {
    let ((Address::Tcp(a), a_options), (Address::Tcp(b), b_options)) = (one, other) else {
        return one.0 == other.0;
    };
    // An IPv6 socket for any address takes IPv4, too, unless it was told not to.
    let takes_ipv4 = |at: &SocketAddr, of: &Options| at.ip().is_unspecified() && !of.v6only;
    let ips = match (a, b) {
        (SocketAddr::V6(_), SocketAddr::V4(_)) => takes_ipv4(a, a_options),
        (SocketAddr::V4(_), SocketAddr::V6(_)) => takes_ipv4(b, b_options),
        _ => a.ip() == b.ip() || a.ip().is_unspecified() || b.ip().is_unspecified(),
    };
    a.port() == b.port() && ips
}

fn removed_servers(known: &Known, pools: &[Arc<Pool>]) -> Vec<(Arc<Server>, Option<Duration>)> {
    let members = pools.iter().flat_map(|pool| pool.members());
    let staying: HashSet<ServerId<'_>> = members.map(|member| id(&member.server)).collect();
    let mut removed = Vec::new();
    for before in &known.pools {
        // The timeout that the operator has just written counts; a pool that is gone had its own.
        let after = pools.iter().find(|pool| pool.name() == before.name());
        let timeout = after.unwrap_or(before).settings().removed_server_timeout;
        let servers = before.members().iter().map(|member| &member.server);
        let leaving = servers.filter(|server| !staying.contains(&id(server)));
        removed.extend(leaving.map(|server| (Arc::clone(server), timeout)));
    }
    removed
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::balance::{Tried, Wanted};
    use crate::control::{TlsState, complete};

    const TWO_SERVERS: &str = r#"
        [[listener]]
        name = "web"
        listen = ["127.0.0.1:8080", "unix:/run/web.sock"]
        pool = "web"
        [[pool]]
        name = "web"
        [[pool.server]]
        name = "web-01"
        address = "10.0.0.1:80"
        [[pool.server]]
        name = "web-02"
        address = "10.0.0.2:80"
    "#;

    fn config(text: &str) -> Config {
        Config::parse(text).unwrap()
    }

    fn plan(known: &Known, config: &Config) -> Plan {
        let complete = complete(config.clone(), &TlsState::new().unwrap());
        super::plan(known, &complete.unwrap())
    }

    /// What is known once a plan has been carried out.
    fn carried_out(plan: &Plan, before: &Known) -> Known {
        let mut sockets = before.sockets.clone();
        sockets.retain(|address, _| !plan.close.contains(address));
        let opened = plan
            .open
            .iter()
            .map(|open| (open.address.clone(), open.options));
        sockets.extend(opened.chain(plan.retune.iter().cloned()));
        let removed = plan
            .removed_servers
            .iter()
            .map(|(server, _)| Arc::clone(server));
        Known {
            workers: before.workers,
            pools: plan.pools.clone(),
            retired_servers: removed.collect(),
            listeners: plan.listeners.clone(),
            retired_listeners: plan.removed_listeners.clone(),
            unauthenticated: HashMap::new(),
            sockets,
            closing: Vec::new(),
        }
    }

    fn start(text: &str) -> (Known, Plan) {
        let nothing = Known {
            workers: 2,
            ..Known::default()
        };
        let plan = plan(&nothing, &config(text));
        (carried_out(&plan, &nothing), plan)
    }

    fn server(plan: &Plan, name: &str) -> Arc<Server> {
        let mut members = plan.pools.iter().flat_map(|pool| pool.members());
        Arc::clone(&members.find(|m| &**m.server.name() == name).unwrap().server)
    }

    fn tcp(address: &str) -> Address {
        Address::Tcp(address.parse().unwrap())
    }

    #[test]
    fn at_the_start_everything_is_opened() {
        let (_, plan) = start(TWO_SERVERS);
        let open: Vec<_> = plan
            .open
            .iter()
            .map(|open| open.address.to_string())
            .collect();
        assert_eq!(open, ["127.0.0.1:8080", "unix:/run/web.sock"]);
        assert!(
            plan.open
                .iter()
                .all(|open| open.exclusive && open.listener == "web")
        );
        assert!(plan.close.is_empty() && plan.retune.is_empty());
        assert!(plan.removed_servers.is_empty() && plan.removed_listeners.is_empty());
    }

    #[test]
    fn the_same_configuration_again_changes_nothing() {
        let (known, before) = start(TWO_SERVERS);
        let after = plan(&known, &config(TWO_SERVERS));
        assert!(after.open.is_empty() && after.close.is_empty() && after.retune.is_empty());
        assert!(after.removed_servers.is_empty() && after.removed_listeners.is_empty());
        assert!(Arc::ptr_eq(&before.listeners[0], &after.listeners[0]));
        for name in ["web-01", "web-02"] {
            assert!(Arc::ptr_eq(&server(&before, name), &server(&after, name)));
        }
        let pick = |plan: &Plan| {
            plan.pools[0].pick(&Wanted {
                role: None,
                source: None,
                now_ms: 0,
                tried: &Tried::default(),
            })
        };
        assert_eq!(
            [pick(&before), pick(&after)],
            [Ok(0), Ok(1)],
            "one cursor serves both"
        );
    }

    #[test]
    fn a_server_is_its_pool_name_and_address_and_nothing_else() {
        let (known, before) = start(TWO_SERVERS);
        let heavier = TWO_SERVERS.replace("10.0.0.1:80\"", "10.0.0.1:80\"\nweight = 7");
        let moved = heavier.replace("10.0.0.2:80", "10.0.0.3:80");
        let after = plan(&known, &config(&moved));
        assert!(Arc::ptr_eq(
            &server(&before, "web-01"),
            &server(&after, "web-01")
        ));
        assert_eq!(after.pools[0].members()[0].weight, 7);
        let [(removed, timeout)] = &after.removed_servers[..] else {
            panic!("one server was removed");
        };
        assert_eq!(removed.address(), &tcp("10.0.0.2:80"));
        assert_eq!(*timeout, None);
    }

    #[test]
    fn a_server_that_comes_back_is_the_one_that_left() {
        let (known, before) = start(TWO_SERVERS);
        let one = TWO_SERVERS
            .split_once("[[pool.server]]\n        name = \"web-02\"")
            .unwrap()
            .0;
        let one = one.replace(
            "name = \"web\"\n        [[pool.server]]",
            "name = \"web\"\nremoved_server_timeout = \"9s\"\n[[pool.server]]",
        );
        let without = plan(&known, &config(&one));
        let removed = server(&before, "web-02");
        assert!(Arc::ptr_eq(&without.removed_servers[0].0, &removed));
        assert_eq!(without.removed_servers[0].1, Some(Duration::from_secs(9)));

        let known = carried_out(&without, &known);
        let again = plan(&known, &config(TWO_SERVERS));
        assert!(Arc::ptr_eq(&server(&again, "web-02"), &removed));
        assert!(again.removed_servers.is_empty());
    }

    #[test]
    fn a_renamed_pool_has_new_servers_and_a_renamed_listener_keeps_its_sockets() {
        let (known, before) = start(TWO_SERVERS);
        let renamed = TWO_SERVERS.replace("name = \"web\"", "name = \"www\"");
        let after = plan(
            &known,
            &config(&renamed.replace("pool = \"web\"", "pool = \"www\"")),
        );
        assert!(!Arc::ptr_eq(
            &server(&before, "web-01"),
            &server(&after, "web-01")
        ));
        assert_eq!(after.removed_servers.len(), 2);
        assert_eq!(after.removed_listeners.len(), 1);
        assert!(after.open.is_empty() && after.close.is_empty());

        let known = carried_out(&after, &known);
        let back = plan(&known, &config(TWO_SERVERS));
        assert!(
            Arc::ptr_eq(&back.listeners[0], &before.listeners[0]),
            "it returned in time"
        );
    }

    #[test]
    fn options_change_on_sockets_that_stay() {
        let (known, _) = start(TWO_SERVERS);
        let other = TWO_SERVERS.replace("pool = \"web\"", "pool = \"web\"\nbacklog = 77");
        let after = plan(&known, &config(&other));
        assert_eq!(after.retune.len(), 2);
        assert!(after.open.is_empty() && after.close.is_empty());
    }

    #[test]
    fn what_is_fixed_at_bind_takes_a_new_socket_beside_the_old_one() {
        let (known, _) = start(TWO_SERVERS);
        let other = TWO_SERVERS.replace("pool = \"web\"", "pool = \"web\"\nfreebind = true");
        let after = plan(&known, &config(&other));
        assert_eq!(after.close, [tcp("127.0.0.1:8080")]);
        assert_eq!(after.open.len(), 1);
        assert!(
            !after.open[0].exclusive,
            "it is this process that has the address"
        );
    }

    #[test]
    fn an_address_that_overlaps_with_an_own_one_is_not_claimed() {
        let (mut known, _) = start(TWO_SERVERS);
        let wider = TWO_SERVERS.replace("127.0.0.1:8080", "0.0.0.0:8080");
        let after = plan(&known, &config(&wider));
        assert_eq!(after.close, [tcp("127.0.0.1:8080")]);
        assert!(!after.open[0].exclusive);

        let options = *known.sockets.values().next().unwrap();
        known.closing.push((tcp("0.0.0.0:9000"), options));
        let other = TWO_SERVERS.replace("127.0.0.1:8080", "127.0.0.1:9000");
        assert!(
            !plan(&known, &config(&other)).open[0].exclusive,
            "it is still being closed"
        );
        let free = TWO_SERVERS.replace("127.0.0.1:8080", "127.0.0.1:9001");
        assert!(plan(&known, &config(&free)).open[0].exclusive);
    }

    #[test]
    fn ipv6_overlaps_with_ipv4_only_where_it_takes_ipv4() {
        for (v6only, exclusive) in [(true, true), (false, false)] {
            let six = TWO_SERVERS.replace("127.0.0.1:8080", "[::]:8080").replace(
                "pool = \"web\"",
                &format!("pool = \"web\"\nv6only = {v6only}"),
            );
            let six = six.as_str();
            for [before, after] in [[six, TWO_SERVERS], [TWO_SERVERS, six]] {
                let (known, _) = start(before);
                let planned = plan(&known, &config(after));
                assert_eq!(planned.open[0].exclusive, exclusive, "{v6only}");
            }
        }
    }

    #[test]
    fn the_snapshot_has_a_route_for_each_listener() {
        let (_, plan) = start(TWO_SERVERS);
        let socket = |address: &Address| ListeningSocket {
            address: address.clone(),
            descriptors: Vec::new(),
        };
        let sockets: HashMap<_, _> = plan
            .open
            .iter()
            .map(|open| (open.address.clone(), Arc::new(socket(&open.address))))
            .collect();
        let snapshot = plan.snapshot(7, &config(TWO_SERVERS), |address| &sockets[address]);
        assert_eq!((snapshot.generation, snapshot.listeners.len()), (7, 1));
        let route = &snapshot.listeners[0];
        assert!(Arc::ptr_eq(&route.listener, &plan.listeners[0]));
        assert!(Arc::ptr_eq(&route.pool, &plan.pools[0]));
        assert_eq!((route.generation, route.sockets.len()), (7, 2));
    }

    #[test]
    fn a_route_leads_where_a_rule_of_its_listener_says() {
        let text = TWO_SERVERS.replacen("pool = \"web\"", "pool = \"web\"\ntls = @", 1);
        let rules = "{ mode = \"passthrough\", route = [\
                     { server_names = \"*.api.example\", pool = \"api\" }, \
                     { alpn = \"h2\", pool = \"web\" }] }";
        let api = "[[pool]]\nname = \"api\"\ntls = { mode = \"insecure\" }\n\
                   server = [{ name = \"api-01\", address = \"10.0.0.3:443\" }]\n";
        let config = config(&format!("{}{api}", text.replace('@', rules)));
        let (_, plan) = start(&format!("{}{api}", text.replace('@', rules)));
        let socket = Arc::new(ListeningSocket {
            address: tcp("127.0.0.1:8080"),
            descriptors: Vec::new(),
        });
        let snapshot = plan.snapshot(1, &config, |_| &socket);
        let route = &snapshot.listeners[0];
        let policy = route.tls.listener.as_ref().unwrap();
        let found = |host, alpn: &[&str]| {
            let rule = policy.routes.find(host, alpn)?;
            let destination = &route.tls.by_rule[rule];
            Some((&**destination.pool.name(), destination.tls.is_some()))
        };
        assert_eq!(found(Some("eu.api.example"), &["h2"]), Some(("api", true)));
        assert_eq!(found(Some("api.example"), &["h2"]), Some(("web", false)));
        assert_eq!(found(None, &[]), None);
        assert_eq!(&**route.pool.name(), "web");
        assert!(route.tls.pool.is_none());
    }
}
