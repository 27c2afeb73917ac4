//! Active checks: a server that fails them gets no sessions, one that passes them does.

mod support;

use support::{Balancer, Config, Port, Service, WebServer, until};

/// Two web servers that are checked every 50 ms.
fn checked(servers: &[WebServer]) -> Config {
    Config::to(servers.iter().map(WebServer::address))
        .health_check("type = \"http\"")
        .health_check("path = \"/health\"")
        .health_check("interval = \"50ms\"")
        .health_check("timeout = \"2s\"")
        .health_check("rise = 2")
        .health_check("fall = 3")
}

fn is_up(balancer: &Balancer, server: &str) -> bool {
    balancer
        .metrics()
        .sum("ringway_server_up", &[("server", server)])
        == 1.0
}

fn transitions(balancer: &Balancer, server: &str) -> f64 {
    balancer
        .metrics()
        .sum("ringway_health_transitions_total", &[("server", server)])
}

#[test]
fn a_server_whose_status_is_bad_gets_no_sessions_until_it_is_good_again() {
    let servers = [WebServer::start(), WebServer::start()];
    let mut balancer = Balancer::start(&checked(&servers));
    servers[0].set_status(503);
    balancer.wait_for("s0 is down", |m| {
        m.sum("ringway_server_up", &[("server", "s0")]) == 0.0
    });
    assert!(is_up(&balancer, "s1"));
    for _ in 0..10 {
        request(&balancer);
    }
    let sessions = |server: &str| {
        let of = [("server", server)];
        balancer
            .metrics()
            .sum("ringway_server_sessions_opened_total", &of)
    };
    assert_eq!((sessions("s0"), sessions("s1")), (0.0, 10.0));
    servers[0].set_status(204);
    until("s0 is up", || is_up(&balancer, "s0"));
    for _ in 0..10 {
        request(&balancer);
    }
    assert_eq!((sessions("s0"), sessions("s1")), (5.0, 15.0));
    assert_eq!(transitions(&balancer, "s0"), 2.0);
    stop_checks(&mut balancer, &servers);
}

#[test]
fn each_change_of_state_is_one_record() {
    let server = WebServer::start();
    let config = checked(std::slice::from_ref(&server));
    let mut balancer = Balancer::start(&config);
    let records = |balancer: &Balancer, text: &str| {
        let log = balancer.log();
        let of = |line: &&str| line.contains("server is ") && line.contains(text);
        let records: Vec<_> = log.lines().filter(of).map(str::to_owned).collect();
        records
    };
    server.set_status(503);
    balancer.wait_for_log("server is down after 3 checks failed");
    server.set_status(200);
    balancer.wait_for_log("server is up after 2 checks passed");
    server.set_status(503);
    until("it is down again", || {
        records(&balancer, "is down").len() == 2
    });
    let down = records(&balancer, "is down").remove(0);
    for field in [
        "WARN",
        "pool=web",
        "server=s0",
        "HTTP status 503",
        "took_ms=",
    ] {
        assert!(down.contains(field), "{field} in {down}");
    }
    assert!(
        down.contains(&format!("address={}", server.address())),
        "{down}"
    );

    balancer.reload(&config.without_health_check());
    balancer.wait_for_log("server is up: it is no longer checked");
    assert!(is_up(&balancer, "s0"));
    assert_eq!(records(&balancer, "").len(), 4);
    request(&balancer);
}

#[test]
fn a_server_that_refuses_its_checks_is_down_and_one_that_comes_back_is_up() {
    let port = Port::reserve();
    let config = Config::to([port.v4()])
        .health_check("type = \"tcp\"")
        .health_check("interval = \"50ms\"")
        .health_check("rise = 1")
        .health_check("fall = 1");
    let mut balancer = Balancer::start(&config);
    until("s0 is down", || !is_up(&balancer, "s0"));
    balancer.refuses();
    balancer.wait_closed("server", "no_server", 1);
    let server = Service::greeter_at(port.v4(), b'a');
    until("s0 is up", || is_up(&balancer, "s0"));
    balancer.connect().expect("a");
    let plain = Config::clone(balancer.config()).health_check("interval = \"1h\"");
    balancer.reload(&plain);
    drop(server);
}

#[test]
fn a_server_that_flaps_faster_than_rise_and_fall_changes_nothing() {
    // Every other check fails: never three in a row.
    let servers = [WebServer::alternating([500, 200]), WebServer::start()];
    let mut balancer = Balancer::start(&checked(&servers));
    for result in ["passed", "failed"] {
        balancer.wait_for(&format!("six checks {result}"), |metrics| {
            let of = [("server", "s0"), ("result", result)];
            metrics.sum("ringway_health_checks_total", &of) >= 6.0
        });
    }
    assert_eq!(transitions(&balancer, "s0"), 0.0);
    assert!(is_up(&balancer, "s0"));
    stop_checks(&mut balancer, &servers);
}

#[test]
fn a_server_that_is_held_down_is_never_tried_even_if_no_other_is_left() {
    let servers = [WebServer::start()];
    let mut balancer = Balancer::start(&checked(&servers));
    servers[0].set_status(500);
    until("s0 is down", || !is_up(&balancer, "s0"));
    for _ in 0..5 {
        balancer.refuses();
    }
    balancer.wait_closed("server", "no_server", 5);
    stop_checks(&mut balancer, &servers);
}

#[test]
fn established_sessions_of_a_server_that_goes_down_go_on() {
    let (server, checked_port) = (Service::echo(), WebServer::start());
    let config = Config::to([server.address()])
        .health_check("type = \"http\"")
        .health_check(&format!("port = {}", checked_port.address().port()))
        .health_check("interval = \"50ms\"")
        .health_check("fall = 1");
    let mut balancer = Balancer::start(&config);
    let client = balancer.connect();
    client.send("one");
    client.expect("one");
    checked_port.set_status(500);
    until("s0 is down", || !is_up(&balancer, "s0"));
    client.send("two");
    client.expect("two");
    drop(client);
    let slow = config.clone().health_check("interval = \"1h\"");
    balancer.reload(&slow);
}

#[test]
fn checks_are_not_counted_as_sessions() {
    let servers = [WebServer::start()];
    let mut balancer = Balancer::start(&checked(&servers));
    until("ten checks", || servers[0].accepted() >= 10);
    let metrics = balancer.metrics();
    assert_eq!(metrics.opened(), 0.0);
    assert_eq!(
        metrics.sum("ringway_server_sessions_opened_total", &[]),
        0.0
    );
    stop_checks(&mut balancer, &servers);
}

#[test]
fn a_server_that_accepts_and_says_nothing_fails_its_http_check() {
    let silent = Service::start(|peer| {
        let _ = peer.receive_rest();
    });
    let config = Config::to([silent.address()])
        .health_check("type = \"http\"")
        .health_check("interval = \"50ms\"")
        .health_check("timeout = \"50ms\"")
        .health_check("fall = 2");
    let mut balancer = Balancer::start(&config);
    until("s0 is down", || !is_up(&balancer, "s0"));
    balancer.reload(
        &config
            .clone()
            .health_check("interval = \"1h\"")
            .health_check("timeout = \"1s\""),
    );
}

fn request(balancer: &Balancer) {
    let client = balancer.connect();
    client.send("GET / HTTP/1.1\r\n\r\n");
    client.receive_rest();
}

/// A process that checks its servers every 50 ms is not idle: checks are spaced out before the end.
fn stop_checks(balancer: &mut Balancer, servers: &[WebServer]) {
    for server in servers {
        server.set_status(200);
    }
    let slow = Config::clone(balancer.config()).health_check("interval = \"1h\"");
    balancer.reload(&slow);
}
