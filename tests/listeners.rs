//! Where clients come from and servers are: IPv4, IPv6, unix sockets, and what is said there.

mod support;

use std::os::unix::fs::FileTypeExt;
use std::time::{Duration, Instant};

use socket2::SockAddr;
use support::{Balancer, Config, End, Peer, Port, Server, Service, eventually};
use tempfile::TempDir;

/// Enough for the stream to turn to splicing.
const MANY_BYTES: usize = 4 << 20;

#[test]
fn a_server_that_speaks_first_is_heard_before_the_client_says_anything() {
    let server = Server::listen();
    let balancer = Balancer::start(&Config::to([server.address()]));
    let (client, accepted) = balancer.session_at(&server);
    accepted.send("220 ready\r\n");
    client.expect("220 ready\r\n");
    client.send("HELO\r\n");
    accepted.expect("HELO\r\n");
    accepted.send("250 ok\r\n");
    client.expect("250 ok\r\n");
}

#[test]
fn an_urgent_byte_is_a_byte_like_any_other() {
    let server = Server::listen();
    let balancer = Balancer::start(&Config::to([server.address()]));
    let (client, accepted) = balancer.session_at(&server);
    client.send("abc");
    accepted.expect("abc");
    client.socket().send_out_of_band(b"!").unwrap();
    client.send("def");
    client.finish();
    assert_eq!(accepted.receive_rest(), (b"!def".to_vec(), End::Fin));
    // A megabyte in front of it, and it comes through a pipe.
    let bulk = vec![b'b'; MANY_BYTES];
    std::thread::scope(|scope| {
        scope.spawn(|| {
            accepted.send(&bulk);
            accepted.socket().send_out_of_band(b"?").unwrap();
            accepted.send("answer");
            accepted.finish();
        });
        client.expect(&bulk);
        assert_eq!(client.receive_rest(), (b"?answer".to_vec(), End::Fin));
    });
}

#[test]
fn ipv6_clients_reach_ipv6_servers() {
    let port = Port::reserve();
    let server = Server::listen_at("[::1]:0".parse::<std::net::SocketAddr>().unwrap());
    let config = Config::to([server.address()]).and_listener_at("six", "web", [port.v6()]);
    let balancer = Balancer::start(&config);
    let client = Peer::connect(port.v6());
    let accepted = server.accept();
    client.exchanges_with(&accepted);
    balancer.wait_for("the session has ended", |metrics| {
        metrics.sum("ringway_sessions_closed_total", &[("listener", "six")]) == 1.0
    });
}

#[test]
fn one_ipv6_socket_takes_ipv4_clients_too_when_told_to() {
    let port = Port::reserve();
    let server = Service::greeter(b'a');
    let config = Config::to([server.address()])
        .and_listener_at("both", "web", [format!("[::]:{}", port.number())])
        .listener("v6only = false");
    let _balancer = Balancer::start(&config);
    Peer::connect(port.v4()).expect("a");
    Peer::connect(port.v6()).expect("a");
}

#[test]
fn one_listener_has_several_addresses() {
    let ports = [Port::reserve(), Port::reserve()];
    let server = Service::greeter(b'a');
    let addresses = [ports[0].v4(), ports[1].v4(), ports[0].v6()];
    let config = Config::to([server.address()]).and_listener_at("many", "web", addresses);
    let balancer = Balancer::start(&config);
    for address in addresses {
        Peer::connect(address).expect("a");
    }
    balancer.wait_for("all came through one listener", |metrics| {
        metrics.sum("ringway_sessions_closed_total", &[("listener", "many")]) == 3.0
    });
}

#[test]
fn each_listener_leads_to_its_own_pool() {
    let servers = [Service::greeter(b'a'), Service::greeter(b'b')];
    let config = Config::to([servers[0].address()])
        .and_pool("api", [servers[1].address()])
        .and_listener("api", "api");
    let balancer = Balancer::start(&config);
    for _ in 0..4 {
        balancer.connect().expect("a");
        Peer::connect(config.address_of("api")).expect("b");
    }
    balancer.wait_for("each has its sessions", |metrics| {
        metrics
            .by("ringway_sessions_closed_total", "listener")
            .values()
            .eq(&[4.0, 4.0])
    });
}

#[test]
fn a_unix_socket_is_listened_on_by_all_workers_and_removed_at_the_end() {
    let directory = TempDir::with_prefix("ringway-test-").unwrap();
    let path = directory.path().join("listener");
    let server = Service::greeter(b'a');
    let at = format!("unix:{}", path.display());
    let config = Config::to([server.address()]).and_listener_at("local", "web", [at]);
    let mut balancer = Balancer::start(&config);
    assert!(path.metadata().unwrap().file_type().is_socket());
    let clients: Vec<_> = (0..40)
        .map(|_| Peer::connect(SockAddr::unix(&path).unwrap()))
        .collect();
    for client in &clients {
        client.expect("a");
    }
    drop(clients);
    balancer.end();
    assert!(!path.exists(), "the socket's file is left behind");
}

#[test]
fn a_unix_socket_left_behind_by_a_killed_process_is_taken_over() {
    let directory = TempDir::with_prefix("ringway-test-").unwrap();
    let path = directory.path().join("listener");
    drop(Server::listen_at(SockAddr::unix(&path).unwrap()));
    assert!(path.exists());
    let server = Service::greeter(b'a');
    let at = format!("unix:{}", path.display());
    let config = Config::to([server.address()]).and_listener_at("local", "web", [at]);
    let _balancer = Balancer::start(&config);
    Peer::connect(SockAddr::unix(&path).unwrap()).expect("a");
}

#[test]
fn a_server_behind_a_unix_socket_is_reached_and_its_bytes_are_whole() {
    let directory = TempDir::with_prefix("ringway-test-").unwrap();
    let path = directory.path().join("server");
    let server = Server::listen_at(SockAddr::unix(&path).unwrap());
    let balancer = Balancer::start(&Config::to([format!("unix:{}", path.display())]));
    let (client, accepted) = balancer.session_at(&server);
    client.exchanges_with(&accepted);
    let (client, accepted) = balancer.session_at(&server);
    let bulk = support::Tape::new(9).slice(0, 8 << 20);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            accepted.send(&bulk);
            accepted.finish();
        });
        client.expect(&bulk);
        client.expect_end(End::Fin);
    });
}

#[test]
fn a_unix_server_that_is_not_there_is_replaced_by_one_that_is() {
    let directory = TempDir::with_prefix("ringway-test-").unwrap();
    let server = Service::greeter(b'a');
    let nobody = format!("unix:{}", directory.path().join("nobody").display());
    let balancer = Balancer::start(&Config::to([nobody, server.address().to_string()]));
    for _ in 0..5 {
        balancer.connect().expect("a");
    }
}

#[test]
fn a_listener_that_defers_accept_serves_clients_that_speak_first() {
    let server = Service::echo();
    let config = Config::to([server.address()]).listener("defer_accept = true");
    let balancer = Balancer::start(&config);
    // A silent client is not accepted: not for a second, after which the kernel gives it up.
    let opened_by_both = |before: f64| {
        let started = Instant::now();
        let silent = balancer.connect();
        let client = balancer.connect();
        client.send("hello");
        client.expect("hello");
        let opened = balancer.metrics().opened() - before;
        drop((client, silent));
        balancer.wait_active(0);
        (started.elapsed() < Duration::from_millis(900)).then_some(opened)
    };
    let opened = eventually(|| {
        let before = balancer.metrics().opened();
        opened_by_both(before).ok_or("a machine with less to do".to_owned())
    });
    assert_eq!(opened, 1.0);
}
