//! Finding a server that answers: the client does not notice the ones that do not.

mod support;

use std::net::Shutdown;
use std::time::Duration;

use nix::sys::signal::Signal;
use support::{
    Balancer, Blackhole, Config, End, Peer, Port, Server, Service, eventually, quickly, until,
};

/// Well below any timeout that could be behind an answer that comes later.
const AT_ONCE: Duration = Duration::from_secs(1);

/// The longest timeouts there are in these tests: what must not depend on them takes less.
const LONG: &str = "connect_timeout = \"15s\"";
const LONGER: &str = "connect_deadline = \"15s\"";

#[test]
fn a_server_that_refuses_is_replaced_by_one_that_answers_without_delay() {
    let (nobody, server) = (Port::reserve(), Service::greeter(b'a'));
    let config = Config::to([nobody.v4(), server.address()])
        .pool(LONGER)
        .pool(LONG);
    let balancer = Balancer::start(&config);
    for _ in 0..10 {
        let client = balancer.connect();
        quickly(AT_ONCE, || client.expect("a"));
    }
    balancer.wait_for("every session reached the server", |metrics| {
        let of = [("pool", "web"), ("server", "s1")];
        metrics.sum("ringway_server_sessions_opened_total", &of) == 10.0
    });
    let metrics = balancer.metrics();
    let refused = [("server", "s0"), ("reason", "refused")];
    let failures = metrics.sum("ringway_connect_failures_total", &refused);
    assert_eq!(failures, 3.0, "left alone after max_fails, by default 3");
    assert_eq!(
        metrics.sum("ringway_retries_total", &[("server", "s1")]),
        failures
    );
}

#[test]
fn a_server_that_does_not_answer_costs_one_connect_timeout() {
    let (blackhole, server) = (Blackhole::new(), Service::greeter(b'a'));
    let config = Config::to([blackhole.address(), server.address()])
        .pool("connect_timeout = \"100ms\"")
        .pool("max_fails = 1");
    let balancer = Balancer::start(&config);
    for _ in 0..4 {
        let client = balancer.connect();
        quickly(AT_ONCE, || client.expect("a"));
    }
    let timeouts = [("server", "s0"), ("reason", "timeout")];
    assert_eq!(
        balancer
            .metrics()
            .sum("ringway_connect_failures_total", &timeouts),
        1.0
    );
}

#[test]
fn what_the_client_has_sent_meanwhile_goes_to_the_server_that_answers() {
    let (blackhole, server) = (Blackhole::new(), Server::listen());
    let config =
        Config::to([blackhole.address(), server.address()]).pool("connect_timeout = \"300ms\"");
    let balancer = Balancer::start(&config);
    let client = balancer.connect();
    // More than is held for a server that has not answered yet: the rest waits in the kernel.
    let upload = support::Tape::new(5).slice(0, 300_000);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            client.send(&upload);
            client.finish();
        });
        let accepted = server.accept();
        accepted.expect(&upload);
        accepted.expect_end(End::Fin);
        accepted.send("thanks");
        accepted.finish();
    });
    assert_eq!(client.receive_rest(), (b"thanks".to_vec(), End::Fin));
}

#[test]
fn all_servers_down_is_told_to_the_client_at_once_by_a_reset() {
    let ports = [Port::reserve(), Port::reserve(), Port::reserve()];
    let config = Config::to(ports.each_ref().map(Port::v4))
        .pool(LONGER)
        .pool(LONG);
    let balancer = Balancer::start(&config);
    for _ in 0..20 {
        quickly(AT_ONCE, || balancer.refuses());
    }
    balancer.wait_closed("server", "connect_failed", 20);
}

#[test]
fn servers_that_are_all_left_alone_are_tried_all_the_same() {
    let nobody = [Port::reserve(), Port::reserve()];
    let config = Config::to(nobody.each_ref().map(Port::v4))
        .pool("max_fails = 1")
        .pool("fail_timeout = \"1h\"");
    let balancer = Balancer::start(&config);
    balancer.refuses();
    balancer.wait_for("both are left alone", |metrics| {
        metrics.sum("ringway_server_failing", &[]) == 2.0
    });
    let server = Service::greeter_at(nobody[1].v4(), b'b');
    let client = balancer.connect();
    quickly(AT_ONCE, || client.expect("b"));
    assert_eq!(server.accepted(), 1);
    balancer.wait_for("the one that answered is back", |metrics| {
        metrics.sum("ringway_server_failing", &[("server", "s1")]) == 0.0
    });
}

#[test]
fn no_session_makes_more_tries_than_retries_allow() {
    let ports: Vec<_> = (0..6).map(|_| Port::reserve()).collect();
    let config = Config::to(ports.iter().map(Port::v4))
        .pool("retries = 2")
        .pool("max_fails = 99");
    let balancer = Balancer::start(&config);
    for _ in 0..5 {
        balancer.refuses();
    }
    balancer.wait_closed("server", "connect_failed", 5);
    let metrics = balancer.metrics();
    assert_eq!(metrics.sum("ringway_connect_failures_total", &[]), 15.0);
    assert_eq!(metrics.sum("ringway_retries_total", &[]), 10.0);
}

#[test]
fn without_retries_the_first_failure_is_the_sessions() {
    let (nobody, server) = (Port::reserve(), Service::greeter(b'a'));
    let config = Config::to([nobody.v4(), server.address()])
        .pool("retries = 0")
        .pool("max_fails = 99");
    let balancer = Balancer::start(&config);
    let mut refused = 0;
    for _ in 0..10 {
        let Ok(client) = Peer::try_connect(&balancer.address().into(), |_| {}) else {
            refused += 1;
            continue;
        };
        let _ = client.socket().shutdown(Shutdown::Write);
        match client.receive_rest() {
            (_, End::Reset) => refused += 1,
            (bytes, End::Fin) => assert_eq!(bytes, b"a"),
        }
    }
    assert_eq!(refused, 5);
}

#[test]
fn connect_deadline_bounds_all_tries_together() {
    let holes = [Blackhole::new(), Blackhole::new(), Blackhole::new()];
    let config = Config::to(holes.each_ref().map(Blackhole::address))
        .pool("connect_timeout = \"1s\"")
        .pool("connect_deadline = \"1900ms\"")
        .pool("retries = 7");
    let balancer = Balancer::start(&config);
    let client = balancer.connect();
    client.expect_end(End::Reset);
    balancer.wait_closed("server", "connect_deadline", 1);
    let failures = balancer
        .metrics()
        .sum("ringway_connect_failures_total", &[]);
    assert_eq!(
        failures, 2.0,
        "the second try is cut short, and there is no third"
    );
}

#[test]
fn a_client_that_resets_while_connecting_cancels_the_connect_and_the_server_is_not_blamed() {
    let blackhole = Blackhole::new();
    let config = Config::to([blackhole.address()]).pool(LONGER).pool(LONG);
    let balancer = Balancer::start(&config);
    let client = balancer.connect();
    balancer.wait_for("a try is under way", |metrics| {
        metrics.sum("ringway_server_connections", &[]) == 1.0
    });
    client.reset();
    // Long before the connect could end by itself.
    quickly(Duration::from_secs(5), || {
        balancer.wait_closed("client", "reset", 1)
    });
    let metrics = balancer.metrics();
    assert_eq!(metrics.sum("ringway_server_connections", &[]), 0.0);
    assert_eq!(metrics.sum("ringway_connect_failures_total", &[]), 0.0);
    assert_eq!(metrics.sum("ringway_server_failing", &[]), 0.0);
}

#[test]
fn a_client_that_finishes_while_connecting_is_served_and_its_fin_forwarded() {
    let blackhole = Blackhole::new();
    let config = Config::to([blackhole.address()]).pool(LONGER).pool(LONG);
    let balancer = Balancer::start(&config);
    let client = balancer.connect();
    client.send("question");
    client.finish();
    balancer.wait_for("what came is held", |metrics| {
        metrics.sum("ringway_bytes_received_total", &[("direction", "in")]) == 8.0
    });
    let accepted = blackhole.open().accept();
    assert_eq!(accepted.receive_rest(), (b"question".to_vec(), End::Fin));
    accepted.send("answer");
    accepted.finish();
    assert_eq!(client.receive_rest(), (b"answer".to_vec(), End::Fin));
}

#[test]
fn a_client_that_closes_before_a_byte_while_connecting_leaves_nothing_behind() {
    let server = Service::echo();
    let balancer = Balancer::start(&Config::to([server.address()]));
    for round in 0..200 {
        let client = balancer.connect();
        if round % 2 == 0 {
            client.reset();
        }
    }
    balancer.wait_for("all have ended", |metrics| {
        metrics.opened() == 200.0 && metrics.active() == 0.0
    });
    assert_eq!(
        balancer
            .metrics()
            .sum("ringway_connect_failures_total", &[]),
        0.0
    );
}

#[test]
fn a_server_that_failed_is_tried_by_one_session_when_fail_timeout_is_over() {
    let (nobody, server) = (Port::reserve(), Service::greeter(b'a'));
    let config = Config::to([nobody.v4(), server.address()])
        .pool("max_fails = 1")
        .pool("fail_timeout = \"500ms\"");
    let mut balancer = Balancer::start(&config);
    let tries = || {
        balancer
            .metrics()
            .sum("ringway_connect_failures_total", &[("server", "s0")])
    };
    until("it is tried", || {
        balancer.connect().expect("a");
        tries() == 1.0
    });
    balancer.wait_for_log("left alone for 500ms after 1 connect failure: refused");
    // From its next failure on it is left alone for longer than what follows takes.
    let longer = config.pool("fail_timeout = \"5s\"");
    balancer.reload(&longer);
    let tries = || {
        balancer
            .metrics()
            .sum("ringway_connect_failures_total", &[("server", "s0")])
    };
    until("it is tried again", || {
        balancer.connect().expect("a");
        tries() > 1.0
    });
    let probed = tries();
    for _ in 0..10 {
        balancer.connect().expect("a");
    }
    assert!(tries() - probed <= 1.0, "one session is enough to find out");
    let back = Service::greeter_at(nobody.v4(), b'b');
    until("it is back", || {
        balancer.connect().receive(1);
        back.accepted() > 0
    });
    eventually(|| {
        if balancer.metrics().sum("ringway_server_failing", &[]) == 0.0 {
            return Ok(());
        }
        Err("no server is failing".to_owned())
    });
    balancer.wait_for_log("takes connections again");
    let before = (back.accepted(), server.accepted());
    for _ in 0..10 {
        balancer.connect().receive(1);
    }
    assert_eq!(
        (back.accepted() - before.0, server.accepted() - before.1),
        (5, 5)
    );
}

#[test]
fn connections_in_a_black_hole_end_with_the_process() {
    let blackhole = Blackhole::new();
    let config = Config::to([blackhole.address()])
        .pool(LONGER)
        .pool(LONG)
        .process("drain_timeout = \"100ms\"");
    let mut balancer = Balancer::start(&config);
    let clients: Vec<Peer> = (0..5).map(|_| balancer.connect()).collect();
    balancer.wait_active(5);
    balancer.signal(Signal::SIGTERM);
    assert!(balancer.wait_for_exit().success());
    for client in clients {
        client.expect_end(End::Reset);
    }
}
