//! Sessions without progress end, and sessions with the least progress do not.

mod support;

use std::thread::sleep;
use std::time::{Duration, Instant};

use support::{Balancer, Config, End, Server, run};

#[test]
fn a_session_without_progress_ends_after_idle_timeout() {
    let server = Server::listen();
    let balancer =
        Balancer::start(&Config::to([server.address()]).pool("idle_timeout = \"500ms\""));
    let (client, accepted) = balancer.session_at(&server);
    client.send("one");
    accepted.expect("one");
    let since = Instant::now();
    client.expect_end(End::Fin);
    let after = since.elapsed();
    assert!(after >= Duration::from_millis(400), "ended after {after:?}");
    accepted.expect_end(End::Fin);
    balancer.wait_closed("ringway", "idle_timeout", 1);
}

#[test]
fn a_session_that_never_says_anything_ends_after_idle_timeout() {
    let server = Server::listen();
    let balancer =
        Balancer::start(&Config::to([server.address()]).pool("idle_timeout = \"300ms\""));
    let (client, accepted) = balancer.session_at(&server);
    client.expect_end(End::Fin);
    accepted.expect_end(End::Fin);
    balancer.wait_closed("ringway", "idle_timeout", 1);
}

#[test]
fn progress_in_either_direction_puts_the_idle_timeout_off() {
    let server = Server::listen();
    let balancer = Balancer::start(&Config::to([server.address()]).pool("idle_timeout = \"1s\""));
    let (uploader, uploads) = (balancer.connect(), server.accept());
    let (downloader, downloads) = (balancer.connect(), server.accept());
    // Three times as long as the timeout.
    for _ in 0..15 {
        sleep(Duration::from_millis(200));
        uploader.send("u");
        uploads.expect("u");
        downloads.send("d");
        downloader.expect("d");
    }
    assert_eq!(balancer.metrics().closed("ringway", "idle_timeout"), 0.0);
}

#[test]
fn a_slow_reader_that_acknowledges_is_not_idle() {
    let server = Server::listen();
    let config = Config::to([server.address()])
        .pool("idle_timeout = \"1s\"")
        .pool("half_close_timeout = \"1s\"")
        .pool("tcp_user_timeout = \"10s\"");
    let balancer = Balancer::start(&config);
    let client = support::slow_client(&balancer);
    let accepted = server.accept();
    // All of it is in the kernel's hands soon, and the balancer has nothing to do any more.
    const BYTES: usize = 1 << 20;
    std::thread::scope(|scope| {
        scope.spawn(|| accepted.send(vec![b's'; BYTES]));
        // Takes three times as long as the timeout.
        for _ in 0..32 {
            client.receive(BYTES / 32);
            sleep(Duration::from_millis(100));
        }
    });
    assert_eq!(balancer.metrics().closed("ringway", "idle_timeout"), 0.0);
    balancer.wait_active(1);
}

#[test]
fn a_reader_that_stops_acknowledging_is_idle() {
    let server = Server::listen();
    let config = Config::to([server.address()])
        .pool("idle_timeout = \"2s\"")
        .pool("tcp_user_timeout = \"1h\"");
    let balancer = Balancer::start(&config);
    let client = support::slow_client(&balancer);
    let accepted = server.accept();
    accepted.send_until_stuck(Duration::from_millis(200));
    balancer.wait_closed("ringway", "idle_timeout", 1);
    drop(client);
}

#[test]
fn a_reader_that_keeps_its_window_shut_ends_as_peer_stalled() {
    let server = Server::listen();
    let config = Config::to([server.address()])
        .pool("idle_timeout = \"1h\"")
        .pool("tcp_user_timeout = \"1s\"");
    let balancer = Balancer::start(&config);
    let client = support::slow_client(&balancer);
    let accepted = server.accept();
    accepted.send_until_stuck(Duration::from_millis(200));
    balancer.wait_closed("client", "peer_stalled", 1);
    accepted.receive_rest();
    drop(client);
}

#[test]
fn keepalive_is_armed_on_both_sides_of_a_session() {
    let server = Server::listen();
    let config = Config::to([server.address()]).pool("keepalive_idle = \"77s\"");
    let balancer = Balancer::start(&config);
    let (client, accepted) = balancer.session_at(&server);
    let timer_of = |local: std::net::SocketAddr, remote: std::net::SocketAddr| {
        run(&format!(
            "ss -Htno state established src {local} dst {remote}"
        ))
    };
    let (client_side, server_side) = (
        client.local_address(),
        accepted.socket().peer_addr().unwrap().as_socket().unwrap(),
    );
    support::until("a keepalive timer towards the client", || {
        timer_of(balancer.address(), client_side).contains("timer:(keepalive,1min")
    });
    // Set a little later, when the session has turned out not to be a short one.
    support::until("a keepalive timer towards the server", || {
        timer_of(server_side, server.address()).contains("timer:(keepalive,1min")
    });
}

#[test]
fn keepalive_probes_do_not_count_as_progress() {
    let server = Server::listen();
    let config = Config::to([server.address()])
        .pool("keepalive_idle = \"1s\"")
        .pool("keepalive_interval = \"1s\"")
        .pool("idle_timeout = \"3s\"");
    let balancer = Balancer::start(&config);
    let (client, accepted) = balancer.session_at(&server);
    client.expect_end(End::Fin);
    accepted.expect_end(End::Fin);
    balancer.wait_closed("ringway", "idle_timeout", 1);
}
