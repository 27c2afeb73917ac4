//! The end of the process: asked for, asked for twice, and sudden.

mod support;

use std::time::Duration;

use nix::sys::signal::Signal;
use socket2::SockAddr;
use support::{Balancer, Config, End, Launch, Nginx, Peer, Server, Service, Wrk, quickly, until};

#[test]
fn sigterm_lets_sessions_finish_and_exits_with_0() {
    let server = Service::echo();
    let mut balancer = Balancer::start(&Config::to([server.address()]));
    let client = balancer.connect();
    client.send("one");
    client.expect("one");
    balancer.signal(Signal::SIGTERM);
    until("nobody is accepted any more", || {
        Peer::try_connect(&SockAddr::from(balancer.address()), |_| {}).is_err()
    });
    client.send("two");
    client.expect("two");
    assert!(balancer.is_running());
    client.finish();
    client.expect_end(End::Fin);
    assert_eq!(balancer.wait_for_exit().code(), Some(0));
    assert!(
        balancer.log().contains("no session was cut"),
        "{}",
        balancer.log()
    );
}

#[test]
fn sigint_ends_it_like_sigterm() {
    let server = Server::listen();
    let mut balancer = Balancer::start(&Config::to([server.address()]));
    balancer.signal(Signal::SIGINT);
    assert_eq!(balancer.wait_for_exit().code(), Some(0));
}

#[test]
fn shutdown_delay_says_not_ready_and_still_accepts() {
    let server = Service::echo();
    let config = Config::to([server.address()]).process("shutdown_delay = \"2s\"");
    let mut balancer = Balancer::start(&config);
    balancer.signal(Signal::SIGTERM);
    until("/ready says 503", || balancer.ready() == Some(503));
    let client = balancer.connect();
    client.send("late");
    client.expect("late");
    until("nobody is accepted any more", || {
        Peer::try_connect(&SockAddr::from(balancer.address()), |_| {}).is_err()
    });
    client.send("still there");
    client.expect("still there");
    drop(client);
    assert_eq!(balancer.wait_for_exit().code(), Some(0));
}

#[test]
fn ready_says_503_while_sessions_drain() {
    let server = Service::echo();
    let mut balancer = Balancer::start(&Config::to([server.address()]));
    let client = balancer.connect();
    client.send("x");
    client.expect("x");
    balancer.signal(Signal::SIGTERM);
    until("/ready says 503", || balancer.ready() == Some(503));
    drop(client);
    assert_eq!(balancer.wait_for_exit().code(), Some(0));
}

#[test]
fn drain_timeout_cuts_what_is_left_and_exits_with_0() {
    let server = Server::listen();
    let config = Config::to([server.address()]).process("drain_timeout = \"300ms\"");
    let mut balancer = Balancer::start(&config);
    let (client, accepted) = balancer.session_at(&server);
    client.send("x");
    accepted.expect("x");
    balancer.signal(Signal::SIGTERM);
    quickly(Duration::from_secs(5), || {
        assert_eq!(balancer.wait_for_exit().code(), Some(0))
    });
    assert!(balancer.log().contains(" cut after "), "{}", balancer.log());
    // What was cut must not look complete.
    client.expect_end(End::Reset);
    accepted.expect_end(End::Reset);
}

#[test]
fn a_second_signal_ends_it_at_once() {
    let server = Server::listen();
    let config = Config::to([server.address()]).process("drain_timeout = \"1h\"");
    let mut balancer = Balancer::start(&config);
    let (client, accepted) = balancer.session_at(&server);
    balancer.signal(Signal::SIGTERM);
    balancer.wait_for_log("accepting no more");
    balancer.signal(Signal::SIGTERM);
    quickly(Duration::from_secs(5), || {
        assert_eq!(balancer.wait_for_exit().code(), Some(0))
    });
    client.receive_rest();
    accepted.receive_rest();
}

#[test]
fn a_second_signal_during_shutdown_delay_ends_it_at_once() {
    let server = Server::listen();
    let config = Config::to([server.address()]).process("shutdown_delay = \"1h\"");
    let mut balancer = Balancer::start(&config);
    balancer.signal(Signal::SIGTERM);
    balancer.wait_for_log("no longer ready");
    balancer.signal(Signal::SIGINT);
    quickly(Duration::from_secs(5), || {
        assert_eq!(balancer.wait_for_exit().code(), Some(0))
    });
}

#[test]
fn a_process_killed_under_load_is_replaced_at_once_on_the_same_ports() {
    let nginx = Nginx::start(2);
    let directory = tempfile::TempDir::with_prefix("ringway-test-").unwrap();
    let path = directory.path().join("listener");
    let config = Config::to(nginx.addresses()).and_listener_at(
        "local",
        "web",
        [format!("unix:{}", path.display())],
    );
    let mut killed = Balancer::start(&config);
    let clients: Vec<Peer> = (0..50).map(|_| killed.connect()).collect();
    let load = Wrk::start(
        killed.address(),
        32,
        Duration::from_secs(2),
        &["Connection: close"],
    );
    killed.wait_for("load", |metrics| metrics.opened() > 500.0);
    killed.signal(Signal::SIGKILL);
    assert!(!killed.wait_for_exit().success());
    assert!(path.exists(), "what a killed process leaves behind");
    let mut balancer = quickly(Duration::from_secs(10), || Launch::default().start(&config));
    for client in clients {
        client.receive_rest();
    }
    // This one has seen a death; the next has not.
    drop(load.finish());
    balancer.wait_active(0);
    balancer.take_baseline();
    Wrk::start(balancer.address(), 16, Duration::from_secs(1), &[])
        .finish()
        .assert_flawless();
    let local = Peer::connect(SockAddr::unix(&path).unwrap());
    local.send("GET / HTTP/1.0\r\n\r\n");
    local.expect("HTTP/1.1 200 OK");
    drop(local);
}

#[test]
fn a_process_at_its_limit_drains_too() {
    let server = Service::echo();
    let config = Config::to([server.address()]).listener("max_connections = 1");
    let mut balancer = Balancer::start(&config);
    let client = balancer.connect();
    client.send("one");
    client.expect("one");
    let waiting = balancer.connect();
    balancer.wait_for_log("max_connections is reached");
    balancer.signal(Signal::SIGTERM);
    until("/ready says 503", || balancer.ready() == Some(503));
    client.send("two");
    client.expect("two");
    client.finish();
    client.expect_end(End::Fin);
    waiting.finish();
    assert_eq!(balancer.wait_for_exit().code(), Some(0));
    assert!(
        balancer.log().contains("no session was cut"),
        "{}",
        balancer.log()
    );
    // Served when its turn came, or refused: not left hanging.
    waiting.receive_rest();
}

#[test]
fn answers_about_a_process_that_drains_come_at_once() {
    let server = Service::echo();
    let mut balancer = Balancer::start(&Config::to([server.address()]).process("workers = 4"));
    let client = balancer.connect();
    client.send("x");
    client.expect("x");
    let threads = balancer.process().threads();
    balancer.signal(Signal::SIGTERM);
    until("workers without sessions have ended", || {
        balancer.process().threads() <= threads - 3
    });
    // Long enough for one that has ended to look like one that sleeps.
    balancer.wait_for("a worker has not turned for long", |metrics| {
        let idle = metrics.by("ringway_worker_idle_seconds", "worker");
        idle.values().any(|seconds| *seconds > 1.1)
    });
    for _ in 0..5 {
        quickly(Duration::from_millis(900), || {
            assert_eq!(balancer.ready(), Some(503))
        });
    }
    drop(client);
    assert_eq!(balancer.wait_for_exit().code(), Some(0));
}

#[test]
fn bytes_on_their_way_when_it_is_told_to_end_arrive() {
    let server = Server::listen();
    let mut balancer = Balancer::start(&Config::to([server.address()]));
    let (client, accepted) = balancer.session_at(&server);
    let answer = support::Tape::new(17).slice(0, 16 << 20);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            accepted.send(&answer);
            accepted.finish();
        });
        client.receive(1);
        balancer.signal(Signal::SIGTERM);
        client.expect(&answer[1..]);
        client.expect_end(End::Fin);
        client.finish();
    });
    assert_eq!(balancer.wait_for_exit().code(), Some(0));
}
