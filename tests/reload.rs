//! SIGHUP: what changes changes, what stays does not notice, and a bad file changes nothing.

mod support;

use std::fs;
use std::net::{Ipv4Addr, TcpListener};
use std::thread;
use std::time::Duration;

use nix::sys::signal::Signal;
use socket2::SockAddr;
use support::{
    Balancer, Config, End, Nginx, Peer, Port, Server, Service, Wrk, eventually, until, within,
};

#[test]
fn a_hundred_reloads_under_load_change_servers_and_listeners_without_an_error() {
    let nginx = Nginx::start(3);
    let addresses = nginx.addresses();
    let two = Config::to(&addresses[..2]);
    let three = two
        .clone()
        .and_server(addresses[2])
        .and_listener("extra", "web");
    let mut balancer = Balancer::start(&two);
    reload_in_turn(&mut balancer, [&three, &two], 6);
    let steady = Usage::of(&balancer);

    let mut keep_alive = Wrk::start(balancer.address(), 32, Duration::from_secs(8), &[]);
    let mut by_request = Wrk::start(
        balancer.address(),
        16,
        Duration::from_secs(8),
        &["Connection: close"],
    );
    reload_in_turn(&mut balancer, [&three, &two], 100);
    assert!(
        keep_alive.is_running() && by_request.is_running(),
        "the load was there throughout"
    );
    keep_alive.finish().assert_flawless();
    by_request.finish().assert_flawless();

    balancer.wait_active(0);
    let metrics = balancer.metrics();
    let succeeded = metrics.sum("ringway_config_reloads_total", &[("result", "success")]);
    assert_eq!(succeeded, 106.0);
    assert_eq!(metrics.sum("ringway_connect_failures_total", &[]), 0.0);
    balancer.wait_for("the removed server's series is gone", |metrics| {
        !metrics.has("ringway_server_up", &[("server", "s2")])
    });
    until("nothing has grown", || {
        Usage::of(&balancer).is_within(&steady)
    });
}

#[test]
fn a_storm_of_a_thousand_signals_under_load_is_coalesced_and_the_last_file_wins() {
    let nginx = Nginx::start(2);
    let config = Config::to(nginx.addresses());
    let balancer = Balancer::start(&config);
    let load = Wrk::start(
        balancer.address(),
        32,
        Duration::from_secs(3),
        &["Connection: close"],
    );
    for signal in 0..1000 {
        let weight = 1 + signal % 2;
        if signal % 100 == 99 {
            balancer.write_config(
                &config
                    .clone()
                    .server(0, &format!("weight = {weight}"))
                    .text(),
            );
        }
        balancer.signal(Signal::SIGHUP);
        thread::sleep(Duration::from_micros(500));
    }
    balancer.write_config(&config.clone().server(0, "weight = 7").text());
    balancer.signal(Signal::SIGHUP);
    load.finish().assert_flawless();
    balancer.wait_for("the last file's weight", |metrics| {
        metrics.sum("ringway_server_weight", &[("server", "s0")]) == 7.0
    });
    let metrics = balancer.metrics();
    let reloads = metrics.sum("ringway_config_reloads_total", &[("result", "success")]);
    assert!((1.0..=1001.0).contains(&reloads));
    assert_eq!(
        metrics.sum("ringway_config_reloads_total", &[("result", "failure")]),
        0.0
    );
}

#[test]
fn established_sessions_survive_a_reload_that_changes_everything_else() {
    let server = Service::echo();
    let config = Config::to([server.address()]);
    let mut balancer = Balancer::start(&config);
    let client = balancer.connect();
    client.send("before");
    client.expect("before");
    let changed = config
        .clone()
        .process("drain_timeout = \"7s\"")
        .pool("idle_timeout = \"1h\"")
        .pool("connect_timeout = \"3s\"")
        .server(0, "weight = 9")
        .and_pool("other", [server.address()])
        .and_listener("other", "other");
    balancer.reload(&changed);
    client.send("after");
    client.expect("after");
    Peer::connect(changed.address_of("other")).send("x");
    balancer.reload(&config);
    client.send("again");
    client.expect("again");
}

#[test]
fn an_added_server_gets_its_turn_and_a_removed_one_no_more() {
    let servers = [Service::greeter(b'a'), Service::greeter(b'b')];
    let one = Config::to([servers[0].address()]);
    let both = one.clone().and_server(servers[1].address());
    let mut balancer = Balancer::start(&one);
    balancer.connect().expect("a");
    balancer.reload(&both);
    for _ in 0..5 {
        let names = [
            balancer.connect().receive(1)[0],
            balancer.connect().receive(1)[0],
        ];
        assert!(names.contains(&b'a') && names.contains(&b'b'), "{names:?}");
    }
    balancer.reload(&both.clone().without_server("s0"));
    for _ in 0..6 {
        balancer.connect().expect("b");
    }
}

#[test]
fn sessions_of_a_removed_server_go_on_and_its_series_end_with_them() {
    let (removed, stays) = (Service::echo(), Service::greeter(b'b'));
    let config = Config::to([removed.address(), stays.address()]);
    let mut balancer = Balancer::start(&config);
    let client = balancer.connect();
    client.send("one");
    client.expect("one");
    balancer.reload(&config.clone().without_server("s0"));
    client.send("two");
    client.expect("two");
    let has_series = || {
        balancer
            .metrics()
            .has("ringway_server_up", &[("server", "s0")])
    };
    assert!(has_series(), "a server with sessions is still told of");
    drop(client);
    until("its series are gone", || !has_series());
}

#[test]
fn removed_server_timeout_cuts_the_sessions_that_are_left() {
    let (removed, stays) = (Service::echo(), Service::greeter(b'b'));
    let config = Config::to([removed.address(), stays.address()]);
    let mut balancer = Balancer::start(&config);
    let client = balancer.connect();
    client.send("one");
    client.expect("one");
    let without = config
        .clone()
        .without_server("s0")
        .pool("removed_server_timeout = \"200ms\"");
    balancer.reload(&without);
    balancer.wait_closed("operator", "server_removed", 1);
    client.receive_rest();
}

#[test]
fn a_server_that_is_added_again_in_time_keeps_its_sessions() {
    let (server, other) = (Service::echo(), Service::greeter(b'b'));
    let config =
        Config::to([server.address(), other.address()]).pool("removed_server_timeout = \"2s\"");
    let mut balancer = Balancer::start(&config);
    let client = balancer.connect();
    client.send("one");
    client.expect("one");
    balancer.reload(&config.clone().without_server("s0"));
    balancer.reload(&config);
    assert!(!within(Duration::from_millis(2500), || {
        balancer.metrics().closed("operator", "server_removed") > 0.0
    }));
    client.send("two");
    client.expect("two");
}

#[test]
fn a_removed_listener_refuses_and_its_port_is_free_again() {
    let server = Service::echo();
    let config = Config::to([server.address()]);
    let with_extra = config.clone().and_listener("extra", "web");
    let extra = with_extra.address_of("extra");
    let mut balancer = Balancer::start(&config);
    for _ in 0..3 {
        balancer.reload(&with_extra);
        let client = Peer::connect(extra);
        client.send("one");
        client.expect("one");
        balancer.reload(&config);
        until("nobody listens any more", || {
            Peer::try_connect(&SockAddr::from(extra), |_| {}).is_err()
        });
        // What it has accepted goes on.
        client.send("two");
        client.expect("two");
        drop(client);
        eventually(|| TcpListener::bind(extra).map_err(|error| error.to_string()));
    }
}

#[test]
fn a_listener_whose_name_changes_keeps_its_port_open() {
    let (server, port) = (Service::greeter(b'a'), Port::reserve());
    let named =
        |name: &str| Config::to([server.address()]).and_listener_at(name, "web", [port.v4()]);
    let first = named("before");
    let second =
        first
            .clone()
            .without_listener("before")
            .and_listener_at("after", "web", [port.v4()]);
    let mut balancer = Balancer::start(&first);
    Peer::connect(port.v4()).expect("a");
    thread::scope(|scope| {
        let clients = scope.spawn(|| {
            for _ in 0..500 {
                Peer::connect(port.v4()).expect("a");
            }
        });
        balancer.reload(&second);
        clients.join().unwrap();
    });
    Peer::connect(port.v4()).expect("a");
}

#[test]
fn a_file_with_any_error_changes_nothing_and_the_next_good_one_works() {
    let server = Service::greeter(b'a');
    let config = Config::to([server.address()]);
    let mut balancer = Balancer::start(&config);
    let client = balancer.connect();
    client.expect("a");
    let good = config.text();
    let web = balancer.address().to_string();
    let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let on_taken = config
        .clone()
        .and_listener_at("taken", "web", [taken.local_addr().unwrap()])
        .text();
    let twice =
        format!("{good}\n[[listener]]\nname = \"two\"\nlisten = [\"{web}\"]\npool = \"web\"\n");
    let bad = [
        ("syntax", format!("{good}\n[[listener"), "toml"),
        (
            "unknown key",
            good.replace("pool = \"web\"", "pol = \"web\""),
            "pol",
        ),
        (
            "unknown pool",
            good.replace("pool = \"web\"", "pool = \"wb\""),
            "wb",
        ),
        ("duplicate listen address", twice, &web),
        ("port in use", on_taken, "in use"),
        ("empty file", String::new(), "listener"),
        (
            "no servers",
            good[..good.find("[[pool.server]]").unwrap()].to_owned(),
            "server",
        ),
        (
            "bad address",
            good.replace(&server.address().to_string(), "1.2.3.4.5:80"),
            "1.2.3.4.5",
        ),
        (
            "name that does not resolve",
            good.replace(&server.address().to_string(), "no-such-host.invalid:80"),
            "no-such-host.invalid",
        ),
        (
            "zero timeout",
            config.clone().pool("idle_timeout = \"0s\"").text(),
            "idle_timeout",
        ),
    ];
    let failures = bad.len();
    for (kind, text, complaint) in bad {
        let said = balancer.reload_refused(&text);
        assert!(
            said.contains(complaint) || kind == "syntax",
            "{kind}: {said}"
        );
        balancer.connect().expect("a");
    }
    fs::remove_file(balancer.config_path()).unwrap();
    let said = balancer.refuse_reload();
    assert!(said.contains("ringway.toml"), "unreadable file: {said}");

    let metrics = balancer.metrics();
    let failed = metrics.sum("ringway_config_reloads_total", &[("result", "failure")]);
    assert_eq!(failed, failures as f64 + 1.0);
    assert_eq!(
        metrics.sum("ringway_config_last_reload_successful", &[]),
        0.0
    );
    assert_eq!(metrics.sum("ringway_config_generation", &[]), 1.0);
    balancer.reload(&config.clone().server(0, "weight = 3"));
    assert_eq!(
        balancer
            .metrics()
            .sum("ringway_config_last_reload_successful", &[]),
        1.0
    );
    client.finish();
    client.expect_end(End::Fin);
}

#[test]
fn a_reload_in_which_one_of_two_new_ports_is_taken_opens_neither() {
    let server = Server::listen();
    let config = Config::to([server.address()]);
    let mut balancer = Balancer::start(&config);
    let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let both = config.clone().and_listener("free", "web").and_listener_at(
        "taken",
        "web",
        [taken.local_addr().unwrap()],
    );
    balancer.reload_refused(&both.text());
    assert!(Peer::try_connect(&SockAddr::from(both.address_of("free")), |_| {}).is_err());
}

/// What must not grow.
#[derive(Clone, Copy, Debug)]
struct Usage {
    descriptors: usize,
    threads: u64,
    resident_kib: u64,
}

impl Usage {
    fn of(balancer: &Balancer) -> Self {
        let process = balancer.process();
        Self {
            descriptors: process.descriptors(),
            threads: process.threads(),
            resident_kib: process.resident_kib(),
        }
    }

    /// Buffers that the load has used stay in memory; reloads add nothing to them.
    fn is_within(&self, steady: &Self) -> bool {
        self.descriptors <= steady.descriptors
            && self.threads <= steady.threads
            && self.resident_kib <= steady.resident_kib + 16 * 1024
    }
}

/// Reloads one configuration after the other, so many times in all.
fn reload_in_turn(balancer: &mut Balancer, configs: [&Config; 2], times: usize) {
    for config in configs.into_iter().cycle().take(times) {
        balancer.reload(config);
    }
}
