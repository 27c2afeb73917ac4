//! What only a network can do to a balancer: black holes, no route, no ports. Each test has a
//! network namespace of its own, which needs root.

mod support;

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use support::{Balancer, Config, End, Peer, Server, Service, in_own_network, quickly, run};

/// Drops what arrives for a TCP port, and lets everything else through.
#[track_caller]
fn drop_arrivals_at(port: u16) {
    run("nft add table inet test");
    run("nft 'add chain inet test input { type filter hook input priority 0; }'");
    run(&format!(
        "nft add rule inet test input tcp dport {port} drop"
    ));
}

#[test]
fn a_server_in_a_black_hole_is_replaced_after_connect_timeout() {
    in_own_network(|| {
        let (lost, server) = (Server::listen(), Service::greeter(b'a'));
        drop_arrivals_at(lost.address().port());
        let config = Config::to([lost.address(), server.address()])
            .pool("connect_timeout = \"200ms\"")
            .pool("max_fails = 2");
        let balancer = Balancer::start(&config);
        for _ in 0..10 {
            let client = balancer.connect();
            quickly(Duration::from_secs(1), || client.expect("a"));
        }
        let timeouts = [("server", "s0"), ("reason", "timeout")];
        assert_eq!(
            balancer
                .metrics()
                .sum("ringway_connect_failures_total", &timeouts),
            2.0
        );
    });
}

#[test]
fn a_server_without_a_route_is_replaced_at_once() {
    in_own_network(|| {
        run("ip route add unreachable 198.51.100.0/24");
        let server = Service::greeter(b'a');
        // The second one's network has no route at all.
        let config = Config::to(["198.51.100.1:80", "203.0.113.1:80"])
            .and_server(server.address())
            .pool("connect_timeout = \"15s\"")
            .pool("connect_deadline = \"15s\"");
        let balancer = Balancer::start(&config);
        for _ in 0..6 {
            let client = balancer.connect();
            quickly(Duration::from_secs(1), || client.expect("a"));
        }
        let metrics = balancer.metrics();
        for unreachable in ["s0", "s1"] {
            let of = [("server", unreachable), ("reason", "unreachable")];
            assert!(
                metrics.sum("ringway_connect_failures_total", &of) > 0.0,
                "{unreachable}"
            );
        }
    });
}

#[test]
fn out_of_source_ports_is_not_the_servers_fault_and_passes() {
    in_own_network(|| {
        // Clients have ports of their own, which nobody was given before; four are left for the way
        // to the server.
        let server = Service::greeter(b'a');
        let balancer = Balancer::start(&Config::to([server.address()]));
        run("sysctl -qw net.ipv4.ip_local_port_range='61000 61003'");
        let connect_from = |port: u16| {
            Peer::connect_with(balancer.address(), move |socket| {
                let from = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
                socket.bind(&from.into()).unwrap();
            })
        };
        let mut served = Vec::new();
        for port in 62_000..62_004 {
            let client = connect_from(port);
            client.expect("a");
            served.push(client);
        }
        let refused = connect_from(62_004);
        quickly(Duration::from_secs(1), || refused.expect_end(End::Reset));
        run("sysctl -qw net.ipv4.ip_local_port_range='32768 60999'");
        balancer.wait_closed("ringway", "out_of_ports", 1);
        let metrics = balancer.metrics();
        let out_of_ports = [("server", "s0"), ("reason", "out_of_ports")];
        assert_eq!(
            metrics.sum("ringway_connect_failures_total", &out_of_ports),
            1.0
        );
        assert_eq!(metrics.sum("ringway_server_failing", &[]), 0.0);
        balancer.wait_for_log("no source port is left");
        balancer.connect().expect("a");
    });
}

/// A session in which the server has been asked something, and has not answered.
#[track_caller]
fn asked(server: &Server, config: &Config) -> (Balancer, Peer, Peer) {
    let balancer = Balancer::start(config);
    let (client, accepted) = balancer.session_at(server);
    client.send("question");
    accepted.expect("question");
    (balancer, client, accepted)
}

#[test]
fn a_client_that_vanishes_with_bytes_on_the_way_ends_as_peer_stalled() {
    in_own_network(|| {
        let server = Server::listen();
        let config = Config::to([server.address()]).pool("tcp_user_timeout = \"1s\"");
        let (balancer, client, accepted) = asked(&server, &config);
        drop_arrivals_at(client.local_address().port());
        accepted.send("answer");
        balancer.wait_closed("client", "peer_stalled", 1);
        accepted.expect_end(End::Reset);
        drop(client);
    });
}

#[test]
fn a_server_that_vanishes_with_bytes_on_the_way_ends_as_peer_stalled() {
    in_own_network(|| {
        let server = Server::listen();
        let config = Config::to([server.address()]).pool("tcp_user_timeout = \"2s\"");
        let (balancer, client, accepted) = asked(&server, &config);
        // The server's socket gets its options when the session has turned out not to be short.
        support::until("the server's socket is tuned", || {
            let timers = run(&format!(
                "ss -Htno state established dst {}",
                server.address()
            ));
            timers.contains("keepalive")
        });
        drop_arrivals_at(server.address().port());
        client.send("more");
        balancer.wait_closed("server", "peer_stalled", 1);
        client.expect_end(End::Reset);
        drop(accepted);
    });
}

#[test]
fn an_idle_peer_that_vanishes_is_found_by_keepalive() {
    in_own_network(|| {
        let server = Server::listen();
        let config = Config::to([server.address()])
            .pool("keepalive_idle = \"1s\"")
            .pool("keepalive_interval = \"1s\"")
            .pool("keepalive_probes = 1")
            // tcp(7): it overrides the number of probes.
            .pool("tcp_user_timeout = \"2s\"");
        let (balancer, client, accepted) = asked(&server, &config);
        drop_arrivals_at(client.local_address().port());
        balancer.wait_closed("client", "peer_stalled", 1);
        accepted.expect_end(End::Reset);
        drop(client);
    });
}

#[test]
fn large_segments_in_a_black_hole_end_the_session_within_tcp_user_timeout() {
    in_own_network(|| {
        let server = Server::listen();
        let config = Config::to([server.address()]).pool("tcp_user_timeout = \"1s\"");
        let balancer = Balancer::start(&config);
        let (client, accepted) = balancer.session_at(&server);
        let port = client.local_address().port();
        run("nft add table inet test");
        run("nft 'add chain inet test input { type filter hook input priority 0; }'");
        run(&format!(
            "nft add rule inet test input tcp dport {port} meta length gt 1000 drop"
        ));
        accepted.send("small");
        client.expect("small");
        accepted.send(vec![b'l'; 30_000]);
        balancer.wait_closed("client", "peer_stalled", 1);
        drop(client);
    });
}

#[test]
fn an_address_that_the_host_does_not_have_yet_is_listened_on_with_freebind() {
    in_own_network(|| {
        let server = Service::greeter(b'a');
        let later: SocketAddr = "192.0.2.7:8080".parse().unwrap();
        let config = Config::to([server.address()])
            .and_listener_at("later", "web", [later])
            .listener("freebind = true");
        let _balancer = Balancer::start(&config);
        run("ip address add 192.0.2.7/32 dev lo");
        Peer::connect(later).expect("a");
    });
}
