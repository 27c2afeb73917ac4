//! Valid configurations by chance. Names and addresses come from few, so that two configurations
//! have much in common.

use std::num::NonZeroU16;
use std::path::PathBuf;
use std::time::Duration;

use proptest::collection::{btree_map, vec};
use proptest::option;
use proptest::prelude::*;

use super::generate_tls::{self, listener_tls, pool_tls};
use crate::config::settings::{self, Setting};
use crate::config::{
    AccessLog, Address, Admin, Algorithm, Config, HealthCheck, HealthCheckKind, Listener, Log,
    LogFormat, LogLevel, LogTarget, MysqlMonitor, MysqlPool, MysqlUser, Pool, PoolSettings,
    Position, Process, Protocol, ReadAfterWrite, Role, Roles, SecretSource, Server, ServerAddress,
    StatementLog, UserSecret, Workers,
};

pub(super) const NOWHERE: Position = Position { line: 1, column: 1 };

/// Any configuration whose servers have fixed addresses.
pub(super) fn configs() -> impl Strategy<Value = Config> {
    let rest = (
        processes(),
        any::<bool>(),
        logs(),
        option::of(access_logs()),
        option::of(statement_logs()),
    );
    let pools = btree_map(0..4_u8, pools(), 1..4);
    (rest, pools).prop_flat_map(
        |((process, admin, log, access_log, statement_log), pools)| {
            let pools: Vec<_> = pools
                .into_iter()
                .map(|(i, pool)| Pool {
                    name: format!("p{i}"),
                    ..pool
                })
                .collect();
            let listeners = btree_map(0..4_u8, listeners(pools.len()), 1..4);
            listeners.prop_map(move |listeners| {
                let config = Config {
                    process: process.clone(),
                    admin: admin.then(|| Admin {
                        listen: ([127, 0, 0, 1], 9900).into(),
                    }),
                    log: log.clone(),
                    access_log: access_log.clone(),
                    statement_log: statement_log.clone(),
                    listeners: listeners.into_iter().map(numbered_listener).collect(),
                    pools: pools.clone(),
                };
                agreed(config)
            })
        },
    )
}

/// A configuration in which listeners, pools and servers agree on where MySQL is spoken, and how TLS
/// goes with it.
fn agreed(mut config: Config) -> Config {
    generate_tls::drop_routes_to_mysql(&mut config);
    for (i, pool) in config.pools.iter_mut().enumerate() {
        let mut listeners = config
            .listeners
            .iter_mut()
            .filter(|l| l.pool == i)
            .peekable();
        if listeners.peek().is_none() {
            pool.mysql = None;
        }
        generate_tls::name_servers(pool);
        let Some(mysql) = &pool.mysql else {
            pool.servers
                .iter_mut()
                .for_each(|server| server.role = None);
            continue;
        };
        listeners.for_each(|listener| {
            listener.protocol = Protocol::Mysql;
            listener.defer_accept = false;
            listener.tls.iter_mut().for_each(generate_tls::for_mysql);
        });
        let check = pool.health_check.get_or_insert_with(|| HealthCheck {
            kind: HealthCheckKind::Mysql,
            interval: Duration::from_secs(2),
            timeout: Duration::from_secs(1),
            rise: 2,
            fall: 3,
            port: None,
            tls: false,
        });
        if check.port.is_none() {
            check.kind = HealthCheckKind::Mysql;
        }
        let is_followed = mysql.roles == Roles::FollowReadOnly;
        for (i, server) in pool.servers.iter_mut().enumerate() {
            let role = if i == 0 { Role::Primary } else { Role::Replica };
            server.role = (!is_followed).then_some(role);
        }
    }
    for pool in &mut config.pools {
        let has_tls = pool.tls.is_some();
        if let Some(check) = &mut pool.health_check {
            check.tls &= has_tls;
        }
    }
    config
}

/// The same configuration, as if it had come from nowhere.
pub(super) fn without_positions(mut config: Config) -> Config {
    let servers = config.pools.iter_mut().flat_map(|pool| &mut pool.servers);
    servers.for_each(|server| server.position = NOWHERE);
    generate_tls::forget_positions(&mut config);
    for mysql in config.pools.iter_mut().flat_map(|pool| &mut pool.mysql) {
        mysql
            .users
            .iter_mut()
            .for_each(|user| user.position = NOWHERE);
        mysql
            .monitor
            .iter_mut()
            .for_each(|monitor| monitor.position = NOWHERE);
    }
    config
}

/// A file that says what the configuration says.
pub(super) fn to_toml(config: &Config) -> String {
    let mut text = format!(
        "[process]\n{}",
        lines(settings::of_process(&config.process))
    );
    if config.admin.is_some() {
        text += &format!("[admin]\n{}", lines(settings::of_admin(config)));
    }
    text += &format!("[log]\n{}", lines(settings::of_log(&config.log)));
    if config.access_log.is_some() {
        let settings = settings::of_access_log(config.access_log.as_ref());
        text += &format!("[access_log]\n{}", lines(settings));
    }
    if config.statement_log.is_some() {
        let settings = settings::of_statement_log(config.statement_log.as_ref());
        text += &format!("[statement_log]\n{}", lines(settings));
    }
    for listener in &config.listeners {
        let listen: Vec<_> = listener.listen.iter().map(ToString::to_string).collect();
        text += &format!(
            "[[listener]]\nname = {:?}\nlisten = {listen:?}\n",
            listener.name
        );
        text += &lines(settings::of_listener(listener, config));
        if let Some(tls) = &listener.tls {
            text += &lines(settings::of_listener_tls(tls, config));
            text += &generate_tls::tables_below(tls, config);
        }
    }
    for pool in &config.pools {
        text += &format!("[[pool]]\nname = {:?}\n", pool.name);
        text += &lines(settings::of_pool(pool));
        let check = pool.health_check.as_ref().map(settings::of_health_check);
        text += &lines(check.unwrap_or_default());
        let tls = pool.tls.as_ref().map(settings::of_pool_tls);
        text += &lines(tls.unwrap_or_default());
        if let Some(mysql) = &pool.mysql {
            text += &lines(settings::of_mysql(mysql));
            let users: Vec<_> = mysql.users.iter().map(user).collect();
            text += &format!("mysql.user = [{}]\n", users.join(", "));
        }
        for server in &pool.servers {
            let address = server.fixed_address().to_string();
            text += &format!(
                "[[pool.server]]\nname = {:?}\naddress = {address:?}\n",
                server.name
            );
            text += &lines(settings::of_server(server));
        }
    }
    text
}

fn user(user: &MysqlUser) -> String {
    let (key, value) = match &user.secret {
        UserSecret::Password(SecretSource::File(path)) => {
            ("password_file", path.display().to_string())
        }
        UserSecret::Password(SecretSource::Env(name)) => ("password_env", name.clone()),
        UserSecret::NativeHash(hash) => {
            let digits: String = hash.iter().map(|byte| format!("{byte:02X}")).collect();
            ("native_hash", format!("*{digits}"))
        }
    };
    format!("{{ name = {:?}, {key} = {value:?} }}", user.name)
}

fn lines(settings: Vec<Setting>) -> String {
    // Tables of their own.
    let is_table = |key: &str| matches!(key, "tls.certificate" | "tls.route");
    let settings = settings.into_iter().filter(|(key, _)| !is_table(key));
    let line = |(key, value): Setting| Some(format!("{key} = {}\n", literal(key, &value?)));
    settings.filter_map(line).collect()
}

fn literal(key: &str, value: &str) -> String {
    match key {
        "health_check.expect"
        | "mysql.primary_only_users"
        | "tls.alpn"
        | "tls.cipher_suites"
        | "tls.crl_files" => {
            format!("{:?}", value.split(',').collect::<Vec<_>>())
        }
        "tls.min_version" => format!("{value:?}"),
        _ if value.parse::<u64>().is_ok() || value.parse::<bool>().is_ok() => value.to_owned(),
        _ => format!("{value:?}"),
    }
}

fn processes() -> impl Strategy<Value = Process> {
    let workers = option::of(1..=1024_u16).prop_map(|count| {
        count
            .and_then(NonZeroU16::new)
            .map_or(Workers::Auto, Workers::Count)
    });
    let switches = (any::<bool>(), any::<bool>());
    let all = (workers, switches, limits(), graces(), graces());
    all.prop_map(
        |(workers, (pin_workers, coalesce), max_connections, drain_timeout, shutdown_delay)| {
            Process {
                workers,
                pin_workers,
                coalesce,
                max_connections,
                drain_timeout,
                shutdown_delay,
            }
        },
    )
}

fn logs() -> impl Strategy<Value = Log> {
    let levels = [
        LogLevel::Debug,
        LogLevel::Info,
        LogLevel::Warn,
        LogLevel::Error,
    ];
    let all = (prop::sample::select(levels.to_vec()), formats());
    all.prop_map(|(level, format)| Log { level, format })
}

fn access_logs() -> impl Strategy<Value = AccessLog> {
    let target = prop_oneof![
        Just(LogTarget::Stdout),
        Just(LogTarget::File(PathBuf::from("/var/log/a.log"))),
    ];
    (target, formats()).prop_map(|(target, format)| AccessLog { target, format })
}

fn statement_logs() -> impl Strategy<Value = StatementLog> {
    (access_logs(), graces()).prop_map(|(log, slower_than)| StatementLog {
        target: log.target,
        format: log.format,
        slower_than,
    })
}

fn formats() -> impl Strategy<Value = LogFormat> {
    prop_oneof![Just(LogFormat::Json), Just(LogFormat::Text)]
}

/// Listener `i` listens on addresses of its own.
fn numbered_listener((i, listener): (u8, Listener)) -> Listener {
    let own = |address: Address| match address {
        Address::Tcp(address) => Address::Tcp(([127, 1, i, 1], address.port()).into()),
        Address::Unix(path) => Address::Unix(path.join(format!("{i}"))),
    };
    Listener {
        name: format!("l{i}"),
        listen: listener.listen.into_iter().map(own).collect(),
        ..listener
    }
}

fn listeners(pools: usize) -> impl Strategy<Value = Listener> {
    let address = prop_oneof![
        (1..4_u16).prop_map(|port| Address::Tcp(([0, 0, 0, 0], port).into())),
        Just(Address::Unix(PathBuf::from("/run"))),
    ];
    let listen = prop::collection::btree_set(address, 1..4);
    let flags = (any::<bool>(), any::<bool>(), any::<bool>());
    let numbers = (limits(), 1..=1_u32 << 20);
    let all = (listen, 0..pools, numbers, flags, listener_tls(pools));
    all.prop_map(|(listen, pool, numbers, flags, tls)| Listener {
        name: String::new(),
        listen: listen.into_iter().collect(),
        protocol: Protocol::Tcp,
        pool,
        max_connections: numbers.0,
        backlog: numbers.1,
        defer_accept: flags.0,
        v6only: flags.1,
        freebind: flags.2,
        tls,
    })
}

fn pools() -> impl Strategy<Value = Pool> {
    let servers = btree_map(0..5_u8, servers(), 1..5);
    let checks = option::of(health_checks());
    let tables = (checks, option::of(pool_tls()), option::of(mysql_pools()));
    let all = (pool_settings(), tables, servers);
    all.prop_map(|(settings, (health_check, tls, mysql), servers)| Pool {
        name: String::new(),
        settings,
        health_check,
        tls,
        mysql,
        servers: servers
            .into_iter()
            .map(|(i, (server, port))| Server {
                name: format!("s{i}"),
                address: ServerAddress::Fixed(Address::Tcp(([10, 0, 0, i], port).into())),
                ..server
            })
            .collect(),
    })
}

fn mysql_pools() -> impl Strategy<Value = MysqlPool> {
    let read_after_write = prop_oneof![
        Just(ReadAfterWrite::Off),
        Just(ReadAfterWrite::Gtid),
        timeouts().prop_map(ReadAfterWrite::For),
    ];
    let times = (graces(), option::of(timeouts()), timeouts(), timeouts());
    let flags = (any::<bool>(), any::<bool>(), any::<bool>());
    let numbers = (1..u32::MAX, 1024..=1024 * 1024_u32);
    let users = btree_map("[a-z]{1,2}", user_secrets(), 0..3);
    let primary_only = prop::collection::btree_set("[a-z]{1,2}", 0..3);
    let monitor = option::of(monitors());
    let all = (
        read_after_write,
        times,
        flags,
        numbers,
        users,
        primary_only,
        monitor,
    );
    all.prop_map(
        |(read_after_write, times, flags, numbers, users, primary_only, monitor)| {
            let is_followed = flags.2 && monitor.is_some();
            MysqlPool {
                roles: if is_followed {
                    Roles::FollowReadOnly
                } else {
                    Roles::Configured
                },
                read_after_write,
                gtid_wait: times.0,
                max_replication_lag: times.1.filter(|_| monitor.is_some()),
                replica_login_timeout: times.2.min(times.3),
                login_timeout: times.2.max(times.3),
                max_unauthenticated_sessions: numbers.0,
                classify_bytes_max: numbers.1,
                local_infile: flags.0,
                calls_pin: flags.1,
                primary_only_users: primary_only.into_iter().collect(),
                users: users
                    .into_iter()
                    .map(|(name, secret)| MysqlUser {
                        name,
                        secret,
                        position: NOWHERE,
                    })
                    .collect(),
                monitor,
            }
        },
    )
}

fn user_secrets() -> impl Strategy<Value = UserSecret> {
    prop_oneof![
        secret_sources().prop_map(UserSecret::Password),
        any::<[u8; 20]>().prop_map(UserSecret::NativeHash),
    ]
}

fn secret_sources() -> impl Strategy<Value = SecretSource> {
    prop_oneof![
        "/[a-z]{1,2}".prop_map(|path| SecretSource::File(PathBuf::from(path))),
        "[A-Z]{1,2}".prop_map(SecretSource::Env),
    ]
}

fn monitors() -> impl Strategy<Value = MysqlMonitor> {
    let all = (
        "[a-z]{1,2}",
        option::of(secret_sources()),
        timeouts(),
        timeouts(),
    );
    all.prop_map(|(user, password, interval, timeout)| MysqlMonitor {
        user,
        password,
        interval,
        timeout,
        position: NOWHERE,
    })
}

/// A server and its port.
fn servers() -> impl Strategy<Value = (Server, u16)> {
    let all = (80..82_u16, 1..4_u16, limits(), any::<bool>());
    all.prop_map(|(port, weight, max_connections, backup)| {
        let address = ServerAddress::Fixed(Address::Unix(PathBuf::new()));
        let server = Server {
            name: String::new(),
            address,
            weight,
            max_connections,
            backup,
            role: None,
            server_name: None,
            position: NOWHERE,
        };
        (server, port)
    })
}

fn pool_settings() -> impl Strategy<Value = PoolSettings> {
    let timeouts = vec(timeouts(), 5);
    let graces = (option::of(graces()), graces());
    let tcp = (timeouts.clone(), 1..=32_767_u64, 1..=32_767_u64, 1..=127_u8);
    let counts = (0..=7_u8, 1..=1000_u32);
    let algorithm = prop_oneof![Just(Algorithm::RoundRobin), Just(Algorithm::Source)];
    let all = (algorithm, timeouts, graces, tcp, counts);
    all.prop_map(|(algorithm, timeouts, graces, tcp, counts)| PoolSettings {
        algorithm,
        connect_timeout: timeouts[0].min(timeouts[1]),
        connect_deadline: timeouts[0].max(timeouts[1]),
        retries: counts.0,
        idle_timeout: timeouts[2],
        half_close_timeout: timeouts[3],
        max_fails: counts.1,
        fail_timeout: timeouts[4],
        removed_server_timeout: graces.0,
        reset_linger: graces.1,
        tcp_user_timeout: tcp.0[0],
        keepalive_idle: Duration::from_secs(tcp.1),
        keepalive_interval: Duration::from_secs(tcp.2),
        keepalive_probes: tcp.3,
    })
}

fn health_checks() -> impl Strategy<Value = HealthCheck> {
    let status = (100..=599_u16, 100..=599_u16).prop_map(|(a, b)| (a.min(b), a.max(b)));
    let host = option::of(Just("www.example.com".to_owned()));
    let http = ("/[!-~]{0,9}", host, vec(status, 1..4));
    let kind = prop_oneof![
        Just(HealthCheckKind::Tcp),
        Just(HealthCheckKind::Mysql),
        http.prop_map(|(path, host, expect)| HealthCheckKind::Http { path, host, expect }),
    ];
    let counts = (1..=255_u8, 1..=255_u8, option::of(1..=65_535_u16));
    let options = (kind, any::<bool>());
    (options, timeouts(), timeouts(), counts).prop_map(
        |((kind, tls), interval, timeout, counts)| HealthCheck {
            kind,
            interval,
            timeout,
            rise: counts.0,
            fall: counts.1,
            port: counts.2,
            tls,
        },
    )
}

fn limits() -> impl Strategy<Value = Option<u32>> {
    option::of(1..u32::MAX)
}

pub(super) fn timeouts() -> impl Strategy<Value = Duration> + Clone {
    (10..1_000_000_u64).prop_map(Duration::from_millis)
}

fn graces() -> impl Strategy<Value = Duration> {
    (0..1_000_000_u64).prop_map(Duration::from_millis)
}
