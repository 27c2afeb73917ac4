//! Registries for tests: everything the control thread knows, without workers.

use std::cell::RefCell;
use std::net::TcpListener;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use super::tls::Owner;
use super::{LoadedTls, Registry, TlsState};
use crate::balance::{Health, Member, Pool, Role, Server};
use crate::config::{self, Address, Config, HealthCheck, PoolSettings};
use crate::telemetry::{
    ConnectError, HandshakeFailure, LoginFailure, PrimaryOnly, Reason, RouteReason, Rung, Target,
    Who,
};
use crate::worker::{
    Listener, ListeningSocket, MysqlRoute, MysqlSettings, Route, RouteTls, Shared, Snapshot,
};

pub(super) const WORKERS: usize = 2;

/// One listener, one pool, and two servers at these addresses.
pub(super) fn registry_with(
    addresses: [Address; 2],
    health_check: Option<HealthCheck>,
) -> Rc<RefCell<Registry>> {
    let [one, two] = addresses;
    let pool = pool(vec![member("web-01", one), member("web-02", two)]);
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = Address::Tcp(socket.local_addr().unwrap());
    let listening = ListeningSocket {
        address,
        descriptors: vec![socket.into()],
    };
    let route = Route {
        listener: Arc::new(Listener::new("front", 1000, WORKERS)),
        generation: 1,
        pool: Arc::clone(&pool),
        sockets: vec![Arc::new(listening)],
        mysql: Some(Arc::new(mysql_route())),
        tls: RouteTls::default(),
    };
    let snapshot = Snapshot {
        generation: 1,
        listeners: vec![Arc::new(route)],
        coalesce: true,
        access_log: true,
        statement_log: None,
    };
    let shared = Arc::new(Shared::new(snapshot, WORKERS, 100).unwrap());
    let tls = TlsState::new().unwrap();
    let registry = Registry::new(shared, config(health_check), vec![pool], tls);
    Rc::new(RefCell::new(registry))
}

fn mysql_route() -> MysqlRoute {
    let second = Duration::from_secs(1);
    MysqlRoute {
        rules: Arc::default(),
        settings: MysqlSettings {
            read_after_write: config::ReadAfterWrite::Off,
            gtid_wait: second,
            replica_login_timeout: second,
            login_timeout: second,
            classify_bytes_max: 1024,
            calls_pin: false,
            local_infile: false,
            max_unauthenticated_sessions: 1,
            unauthenticated: Arc::default(),
        },
    }
}

/// [`registry_with`] servers that nobody is at.
pub(super) fn registry() -> Rc<RefCell<Registry>> {
    let nobody = |port| Address::Tcp(([127, 0, 0, 1], port).into());
    registry_with([nobody(1), nobody(2)], None)
}

/// A registry in which everything that can be counted has happened, to retired servers, too.
pub(super) fn busy_registry() -> Rc<RefCell<Registry>> {
    let registry = registry();
    {
        let mut registry = registry.borrow_mut();
        let listener = Arc::clone(&registry.snapshot.listeners[0].listener);
        listener.counters(0).opened.add(3);
        listener.counters(1).opened.add(2);
        listener
            .counters(1)
            .closed(Who::Server, Reason::Reset)
            .add(1);
        listener.counters(0).session_time_us.observe(700_000);
        listener.counters(0).bytes[1].received.add(10);
        listener.counters(0).bytes[1].sent.add(9);
        listener.counters(0).bytes[1]
            .discarded(Reason::Reset)
            .add(1);
        let tls = &listener.counters(0).tls;
        tls.handshakes.count(false);
        tls.failures(HandshakeFailure::NotTls).add(1);
        let mysql = &listener.counters(0).mysql;
        mysql
            .statements(Target::Replica, RouteReason::PlainRead)
            .add(7);
        mysql.logins(Rung::PrimaryOnly).add(1);
        mysql.primary_only(PrimaryOnly::User).add(1);
        mysql.login_failures(LoginFailure::ClientLeft).add(1);
        mysql.pinned(RouteReason::TemporaryTable).add(1);
        let servers: Vec<_> = registry.pools[0]
            .members()
            .iter()
            .map(|member| Arc::clone(&member.server))
            .collect();
        servers[0].counters(0).opened.add(1);
        servers[0].counters(1).connect_time_us.observe(800);
        servers[0].counters(1).tls_handshakes.count(true);
        servers[0].counters(1).statement_time_us.observe(300);
        servers[1]
            .counters(0)
            .connect_failures(ConnectError::Refused)
            .add(4);
        servers[1].set_health(Health::Down);
        registry.checks.pretend(&servers[1]);
        let owners = [Owner::Listener("front".into()), Owner::Pool("web".into())];
        registry.tls = LoadedTls::showing(owners, "/etc/ringway/front.pem");
        servers[0].set_role(Some(Role::Replica));
        registry
            .findings
            .pretend(&servers[0], Duration::from_secs(3));
        let address = Address::Unix("/run/web-00.sock".into());
        registry
            .retired_servers
            .push(Arc::new(Server::new("web", "web-00", address, WORKERS)));
        registry
            .retired_listeners
            .push(Arc::new(Listener::new("old", u32::MAX, WORKERS)));
        registry.config.access_log = Some(config::AccessLog {
            target: config::LogTarget::Stdout,
            format: config::LogFormat::Text,
        });
        registry.config.statement_log = Some(config::StatementLog {
            target: config::LogTarget::Stdout,
            format: config::LogFormat::Text,
            slower_than: Duration::ZERO,
        });
    }
    registry
}

/// Replaces the pool's servers, as a reload would.
pub(super) fn replace_members(registry: &Rc<RefCell<Registry>>, members: Vec<Member>) {
    registry.borrow_mut().pools = vec![pool(members)];
}

fn pool(members: Vec<Member>) -> Arc<Pool> {
    Arc::new(Pool::new("web", settings(), members, Default::default()))
}

pub(super) fn member(name: &str, address: Address) -> Member {
    Member {
        server: Arc::new(Server::new("web", name, address, WORKERS)),
        weight: 1,
        max_connections: Some(10),
        backup: false,
    }
}

fn settings() -> PoolSettings {
    let second = Duration::from_secs(1);
    PoolSettings {
        algorithm: config::Algorithm::RoundRobin,
        connect_timeout: second,
        connect_deadline: second,
        retries: 1,
        idle_timeout: second,
        half_close_timeout: second,
        max_fails: 1,
        fail_timeout: second,
        removed_server_timeout: None,
        reset_linger: second,
        tcp_user_timeout: second,
        keepalive_idle: second,
        keepalive_interval: second,
        keepalive_probes: 1,
    }
}

/// As far as the control thread looks at it: servers and listeners are in the registry already.
fn config(health_check: Option<HealthCheck>) -> Config {
    Config {
        process: config::Process {
            workers: config::Workers::Auto,
            pin_workers: false,
            coalesce: true,
            max_connections: None,
            drain_timeout: Duration::ZERO,
            shutdown_delay: Duration::ZERO,
        },
        admin: None,
        log: config::Log {
            level: config::LogLevel::Info,
            format: config::LogFormat::Text,
        },
        access_log: None,
        statement_log: None,
        listeners: Vec::new(),
        pools: vec![config::Pool {
            name: "web".into(),
            settings: settings(),
            health_check,
            tls: None,
            mysql: None,
            servers: Vec::new(),
        }],
    }
}

/// The same server in a new generation.
pub(super) fn member_of(server: &Arc<Server>) -> Member {
    Member {
        server: Arc::clone(server),
        weight: 1,
        max_connections: None,
        backup: false,
    }
}
