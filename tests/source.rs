//! `algorithm = "source"`: whoever comes from the same address comes to the same server.

mod support;

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use rustls::client::Resumption;
use support::{
    Authority, Balancer, Config, Peer, Port, SITE, Service, TlsPeer, server_config, tls13, until,
};

/// So many that it is out of the question that one of a few servers is preferred by none of them.
const CLIENTS: u8 = 60;

fn greeters(count: u8) -> Vec<Service> {
    (0..count)
        .map(|index| Service::greeter(b'a' + index))
        .collect()
}

fn config<'a>(servers: impl IntoIterator<Item = &'a Service>) -> Config {
    let servers = servers.into_iter().map(Service::address);
    Config::to(servers).pool("algorithm = \"source\"")
}

/// Which server a client from this address gets.
#[track_caller]
fn server_of(balancer: &Balancer, client: u8) -> u8 {
    let source = SocketAddr::from((Ipv4Addr::new(127, 0, 1, client), 0));
    let client = Peer::connect_with(balancer.address(), |socket| {
        socket.bind(&source.into()).unwrap();
    });
    client.receive(1)[0]
}

fn servers_of_all(balancer: &Balancer) -> Vec<u8> {
    (0..CLIENTS)
        .map(|client| server_of(balancer, client))
        .collect()
}

#[test]
fn a_client_gets_the_same_server_each_time_from_every_worker_and_process() {
    let servers = greeters(3);
    let config = config(&servers);
    let first = {
        let balancer = Balancer::start(&config);
        let first = servers_of_all(&balancer);
        for _ in 0..3 {
            assert_eq!(servers_of_all(&balancer), first);
        }
        let relayed = balancer
            .metrics()
            .by("ringway_worker_copy_bytes_total", "worker");
        assert!(
            relayed.len() == 2 && relayed.values().all(|&bytes| bytes > 0.0),
            "both workers took part: {relayed:?}"
        );
        first
    };
    for server in *b"abc" {
        assert!(first.contains(&server), "{server} is somebody's: {first:?}");
    }
    assert_eq!(servers_of_all(&Balancer::start(&config)), first);
}

#[test]
fn a_server_that_comes_by_a_reload_takes_clients_and_moves_no_others() {
    let servers = greeters(4);
    let three = config(&servers[..3]);
    let mut balancer = Balancer::start(&three);
    let before = servers_of_all(&balancer);
    balancer.reload(&three.clone().and_server(servers[3].address()));
    let with_fourth = servers_of_all(&balancer);
    assert!(with_fourth.contains(&b'd'));
    for (before, after) in before.iter().zip(&with_fourth) {
        assert!(after == before || *after == b'd', "{before} to {after}");
    }
    balancer.reload(&three);
    assert_eq!(servers_of_all(&balancer), before);
}

#[test]
fn clients_of_a_dead_server_are_served_elsewhere_and_come_back_with_it() {
    let (port, others) = (Port::reserve(), greeters(2));
    let at_home = Service::greeter_at(port.v4(), b'h');
    let config = Config::to([at_home.address()])
        .and_server(others[0].address())
        .and_server(others[1].address())
        .pool("algorithm = \"source\"")
        .pool("max_fails = 1")
        .pool("fail_timeout = \"100ms\"");
    let balancer = Balancer::start(&config);
    let before = servers_of_all(&balancer);
    assert!(before.contains(&b'h'));
    drop(at_home);
    let meanwhile = servers_of_all(&balancer);
    for (before, meanwhile) in before.iter().zip(&meanwhile) {
        let stays = before == meanwhile;
        assert!(
            stays || *before == b'h',
            "only its own: {before} {meanwhile}"
        );
        assert_ne!(*meanwhile, b'h');
    }
    let _at_home = Service::greeter_at(port.v4(), b'h');
    until("everybody is home again", || {
        servers_of_all(&balancer) == before
    });
}

#[test]
fn a_tls_session_that_passes_through_is_resumed_because_its_server_is_the_same() {
    let authority = Authority::new();
    let identity = authority.issue(&[SITE]);
    // Each remembers its own sessions.
    let servers = [(); 3].map(|()| {
        let config = server_config(&identity);
        Service::start(move |peer| {
            let mut peer = TlsPeer::server(peer, &config);
            if peer.try_shake_hands().is_ok() {
                peer.echo();
            }
        })
    });
    let mut client = (*tls13(&authority)).clone();
    client.resumption = Resumption::in_memory_sessions(8);
    let client = Arc::new(client);
    let connect = |balancer: &Balancer| {
        let mut client = TlsPeer::connect(balancer.address(), &client);
        // Tickets come behind the handshake.
        client.send("hello");
        client.expect("hello");
        client.is_resumed()
    };
    let config = config(&servers).listener_tls("mode = \"passthrough\"");
    let mut balancer = Balancer::start(&config);
    assert!(!connect(&balancer));
    for _ in 0..5 {
        assert!(connect(&balancer));
    }
    balancer.reload(&config.pool("algorithm = \"round_robin\""));
    let in_turn = [(); 3].map(|()| connect(&balancer));
    assert!(!in_turn.iter().all(|&is_resumed| is_resumed));
}
