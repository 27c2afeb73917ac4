//! SIGHUP: what changes changes, what stays does not notice, and a bad file changes nothing.

mod support;

use std::fs;
use std::io::Write;
use std::net::{Ipv4Addr, TcpListener};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use nix::sys::signal::Signal;
use nix::sys::stat::Mode;
use nix::unistd::mkfifo;
use socket2::SockAddr;
use support::{
    Balancer, Config, End, Nginx, Peer, Port, Server, Service, WebServer, Wrk, eventually, until,
    within,
};

/// For a load that is told to stop: longer than what it accompanies takes on any machine.
const TOO_LONG: Duration = Duration::from_secs(300);

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

    let keep_alive = Wrk::start(balancer.address(), 32, TOO_LONG, &[]);
    let by_request = Wrk::start(balancer.address(), 16, TOO_LONG, &["Connection: close"]);
    reload_in_turn(&mut balancer, [&three, &two], 100);
    keep_alive.stop().assert_flawless();
    by_request.stop().assert_flawless();

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
    let load = Wrk::start(balancer.address(), 32, TOO_LONG, &["Connection: close"]);
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
    balancer.wait_for("the last file's weight", |metrics| {
        metrics.sum("ringway_server_weight", &[("server", "s0")]) == 7.0
    });
    load.stop().assert_flawless();
    assert_eq!(
        balancer
            .metrics()
            .sum("ringway_config_reloads_total", &[("result", "failure")]),
        0.0
    );
}

#[test]
fn signals_that_come_while_a_file_is_read_are_one_more_reload_together() {
    let server = Service::greeter(b'a');
    let config = Config::to([server.address()]);
    let mut balancer = Balancer::start(&config);
    let reloads = |balancer: &Balancer, count: f64| {
        balancer.wait_for(&format!("{count} reloads"), |metrics| {
            metrics.sum("ringway_config_reloads_total", &[]) == count
        });
    };
    // A file that takes as long to read as this test wants it to.
    let pipe = balancer.config_path();
    fs::remove_file(&pipe).unwrap();
    mkfifo(&pipe, Mode::S_IRWXU).unwrap();
    // Returns when the other end has been opened.
    let being_read = || fs::OpenOptions::new().write(true).open(&pipe).unwrap();
    let weight = |weight: u32| {
        let config = config.clone().server(0, &format!("weight = {weight}"));
        config.text().into_bytes()
    };

    balancer.signal(Signal::SIGHUP);
    let mut first = being_read();
    for _ in 0..1000 {
        balancer.signal(Signal::SIGHUP);
    }
    first.write_all(&weight(5)).unwrap();
    drop(first);
    reloads(&balancer, 1.0);
    let mut last = being_read();
    last.write_all(&weight(7)).unwrap();
    drop(last);
    reloads(&balancer, 2.0);
    balancer.wait_for("the last file wins", |metrics| {
        metrics.sum("ringway_server_weight", &[]) == 7.0
    });
    // Nothing is being read, or this would wait for it.
    balancer.reload(&config);
    reloads(&balancer, 3.0);
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
    let at = port.v4();
    balancer.wait_for_log(&format!(
        "reloaded: listener after takes over {at}; listener before hands over {at}"
    ));
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
    let secretless = format!(
        "{good}\n[[listener]]\nname = \"db\"\nlisten = \"127.0.0.1:3306\"\nprotocol = \"mysql\"\n\
         pool = \"db\"\n[[pool]]\nname = \"db\"\nserver = [{{ name = \"s\", address = \
         \"127.0.0.1:3307\", role = \"primary\" }}]\nmysql.user = [{{ name = \"a\", password_file \
         = \"/nonexistent/password\" }}]\n"
    );
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
            "password that cannot be read",
            secretless,
            "user a: password file /nonexistent/password cannot be read",
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
    let last_error = |balancer: &Balancer| status(balancer)["reloads"]["last_error"].clone();
    let told = last_error(&balancer);
    assert!(
        told.as_str().unwrap().contains("ringway.toml"),
        "the admin port tells it, too: {told}"
    );
    balancer.reload(&config.clone().server(0, "weight = 3"));
    assert!(last_error(&balancer).is_null(), "it is over");
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

#[test]
fn a_reload_that_is_refused_has_accepted_nobody_on_its_new_port() {
    let server = Server::listen();
    let config = Config::to([server.address()]);
    let mut balancer = Balancer::start(&config);
    let directory = balancer.directory().to_owned();
    let file = directory.join("not-a-socket");
    fs::write(&file, "").unwrap();
    let new = config.clone().and_listener("new", "web");
    // What goes wrong is noticed after the new port was bound.
    let at_the_file = format!("unix:{}", file.display());
    let bad = [
        new.clone().and_listener_at("local", "web", [at_the_file]),
        new.clone()
            .access_log(directory.join("missing/access.log").display()),
    ];
    let address = SockAddr::from(new.address_of("new"));
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        let clients = scope.spawn(|| {
            let tries = std::iter::repeat_with(|| Peer::try_connect(&address, |_| {}).is_ok());
            let mut tries = tries.take_while(|_| !over.load(Ordering::Relaxed));
            tries.any(|connected| connected)
        });
        for config in bad.iter().cycle().take(20) {
            balancer.reload_refused(&config.text());
        }
        over.store(true, Ordering::Relaxed);
        assert!(!clients.join().unwrap(), "a client was accepted");
    });
}

#[test]
fn a_listener_on_the_admin_port_is_told_whose_port_it_is() {
    let server = Server::listen();
    let config = Config::to([server.address()]);
    let mut balancer = Balancer::start(&config);
    let admin = config.admin_address();
    let other = Port::reserve();
    let moved = config.and_listener_at("new", "web", [admin]).text();
    let moved = moved.replacen(&admin.to_string(), &other.v4().to_string(), 1);
    let said = balancer.reload_refused(&moved);
    let pid = balancer.process().0;
    assert!(
        said.contains(&format!("the admin port of ringway (pid {pid}) itself")),
        "{said}"
    );
}

#[test]
fn a_reload_that_is_refused_says_how_to_put_it_right() {
    let server = Server::listen();
    let config = Config::to([server.address()]);
    let mut balancer = Balancer::start(&config);
    let said = balancer.reload_refused(&config.text().replace("pool = \"web\"", "pol = \"web\""));
    assert!(said.contains("(did you mean `pool`?)"), "{said}");
}

#[test]
fn what_a_reload_changes_is_told_in_one_record() {
    let servers = [Service::echo(), Service::echo(), Service::echo()];
    let [s0, s1, s2] = servers.each_ref().map(Service::address);
    let all = Config::to([s0, s1, s2]);
    let config = all.clone().without_server("s2");
    let mut balancer = Balancer::start(&config);
    let client = balancer.connect();
    client.send("x");
    client.expect("x");
    let changed = all
        .without_server("s0")
        .server(0, "weight = 3")
        .process("drain_timeout = \"1m\"")
        .and_listener("extra", "web");
    balancer.reload(&changed);
    let extra = changed.address_of("extra");
    balancer.wait_for_log(&format!(
        "reloaded: pool web: + s2 ({s2}), - s0 (1 session drains), s1 weight 1 -> 3; \
         listener extra opened on {extra}; process.drain_timeout 30s -> 1m"
    ));
    balancer.reload(&changed);
    balancer.wait_for_log("reloaded: no changes");
    drop(client);
    balancer.wait_active(0);
    balancer.take_baseline();
}

#[test]
fn what_is_known_of_servers_survives_a_reload() {
    let (down, nobody, good) = (WebServer::start(), Port::reserve(), WebServer::start());
    down.set_status(503);
    let config = Config::to([nobody.v4(), good.address()])
        .pool("max_fails = 1")
        .pool("fail_timeout = \"1h\"")
        .and_pool("checked", [down.address()])
        .health_check("type = \"http\"")
        .health_check("interval = \"50ms\"")
        .health_check("fall = 1");
    let mut balancer = Balancer::start(&config);
    let (health, failing) = ("ringway_server_up", "ringway_server_failing");
    let (of_checked, of_nobody) = ([("pool", "checked")], [("pool", "web"), ("server", "s0")]);
    balancer.wait_for("a server is down", |metrics| {
        metrics.has(health, &of_checked) && metrics.sum(health, &of_checked) == 0.0
    });
    for _ in 0..3 {
        let client = balancer.connect();
        client.send("GET / HTTP/1.1\r\n\r\n");
        client.receive_rest();
    }
    balancer.wait_for("a server is left alone", |metrics| {
        metrics.sum(failing, &of_nobody) == 1.0 && metrics.active() == 0.0
    });
    let before = balancer.metrics();

    let other = config
        .clone()
        .health_check("interval = \"1h\"")
        .process("drain_timeout = \"7s\"");
    balancer.reload(&other);
    let after = balancer.metrics();
    assert_eq!(after.sum(health, &of_checked), 0.0);
    assert_eq!(after.sum(failing, &of_nobody), 1.0);
    for counter in [
        "ringway_sessions_opened_total",
        "ringway_sessions_closed_total",
        "ringway_server_sessions_opened_total",
        "ringway_connect_failures_total",
        "ringway_bytes_total",
    ] {
        assert!(before.sum(counter, &[]) > 0.0, "{counter}");
        assert_eq!(
            after.sum(counter, &[]),
            before.sum(counter, &[]),
            "{counter}"
        );
    }
    balancer.take_baseline();
}

#[test]
fn a_listener_whose_port_changes_moves_and_its_sessions_go_on() {
    let (server, ports) = (Service::echo(), [Port::reserve(), Port::reserve()]);
    let config = Config::to([server.address()]);
    let at = |port: &Port| config.clone().and_listener_at("moves", "web", [port.v4()]);
    let [before, after] = ports.each_ref().map(at);
    let mut balancer = Balancer::start(&before);
    let client = Peer::connect(ports[0].v4());
    client.send("one");
    client.expect("one");
    balancer.reload(&after);
    let [old, new] = ports.each_ref().map(Port::v4);
    balancer.wait_for_log(&format!("listener moves opened on {new}, closed on {old}"));
    until("nobody listens on the old port", || {
        Peer::try_connect(&SockAddr::from(old), |_| {}).is_err()
    });
    let other = Peer::connect(new);
    for (client, text) in [(&client, "two"), (&other, "three")] {
        client.send(text);
        client.expect(text);
    }
    drop((client, other));
    balancer.wait_for("one listener has counted all", |metrics| {
        metrics.sum("ringway_sessions_closed_total", &[("listener", "moves")]) >= 2.0
    });
}

/// What `/api/status` says.
fn status(balancer: &Balancer) -> serde_json::Value {
    serde_json::from_str(&balancer.admin("/api/status")).unwrap()
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
