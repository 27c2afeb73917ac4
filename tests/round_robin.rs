//! Whose turn it is: exact over all workers, by weight, and fair when somebody fails.

mod support;

use std::thread;
use std::time::Duration;

use support::{Balancer, Config, Port, Service, quickly};

/// Connects `count` clients at the same time, and tells how many each server got.
fn shares(balancer: &Balancer, servers: &[Service], count: usize) -> Vec<usize> {
    let before: Vec<_> = servers.iter().map(Service::accepted).collect();
    thread::scope(|scope| {
        for _ in 0..count {
            scope.spawn(|| balancer.connect().receive(1));
        }
    });
    servers
        .iter()
        .zip(before)
        .map(|(server, before)| server.accepted() - before)
        .collect()
}

fn greeters(count: u8) -> Vec<Service> {
    (0..count)
        .map(|index| Service::greeter(b'a' + index))
        .collect()
}

fn config(servers: &[Service]) -> Config {
    Config::to(servers.iter().map(Service::address))
}

#[test]
fn thirty_connections_over_two_servers_are_fifteen_and_fifteen() {
    let servers = greeters(2);
    let balancer = Balancer::start(&config(&servers));
    for _ in 0..5 {
        assert_eq!(shares(&balancer, &servers, 30), [15, 15]);
    }
    let sessions = balancer.metrics().by("ringway_worker_sessions", "worker");
    assert_eq!(sessions.len(), 2, "two workers");
}

#[test]
fn three_servers_take_turns_in_the_order_of_the_file() {
    let servers = greeters(3);
    let balancer = Balancer::start(&config(&servers));
    let order: Vec<u8> = (0..9).map(|_| balancer.connect().receive(1)[0]).collect();
    assert_eq!(order, b"abcabcabc");
}

#[test]
fn weights_of_one_and_two_share_thirty_as_ten_and_twenty() {
    let servers = greeters(2);
    let balancer = Balancer::start(&config(&servers).server(1, "weight = 2"));
    assert_eq!(shares(&balancer, &servers, 30), [10, 20]);
    assert_eq!(shares(&balancer, &servers, 3), [1, 2]);
}

#[test]
fn a_heavy_server_gets_its_share_spread_and_not_in_a_row() {
    let servers = greeters(3);
    let balancer = Balancer::start(&config(&servers).server(0, "weight = 4"));
    let order: Vec<u8> = (0..12).map(|_| balancer.connect().receive(1)[0]).collect();
    assert!(!order.windows(4).any(|turns| turns == b"aaaa"), "{order:?}");
    assert_eq!(order.iter().filter(|&&name| name == b'a').count(), 8);
}

#[test]
fn a_server_of_weight_0_gets_nothing() {
    let servers = greeters(3);
    let balancer = Balancer::start(&config(&servers).server(1, "weight = 0"));
    assert_eq!(shares(&balancer, &servers, 30), [15, 0, 15]);
}

#[test]
fn a_backup_gets_sessions_only_when_no_other_server_can() {
    let (nobody, backup) = (Port::reserve(), Service::greeter(b'b'));
    let config = Config::to([nobody.v4(), backup.address()])
        .server(1, "backup = true")
        .pool("max_fails = 1")
        .pool("fail_timeout = \"200ms\"");
    let balancer = Balancer::start(&config);
    let client = balancer.connect();
    quickly(Duration::from_secs(1), || client.expect("b"));
    let regular = Service::greeter_at(nobody.v4(), b'r');
    support::until("the regular server is back", || {
        balancer.connect().receive(1) == b"r"
    });
    let before = backup.accepted();
    for _ in 0..20 {
        balancer.connect().expect("r");
    }
    assert_eq!(backup.accepted(), before);
    assert!(regular.accepted() >= 21);
}

#[test]
fn a_dead_servers_share_is_split_evenly_among_the_others() {
    let (nobody, servers) = (Port::reserve(), greeters(3));
    // The dead one stands before its neighbour, and is tried every time.
    let addresses = [nobody.v4()]
        .into_iter()
        .chain(servers.iter().map(Service::address));
    let balancer = Balancer::start(&Config::to(addresses).pool("max_fails = 1000"));
    let shares = shares(&balancer, &servers, 120);
    assert_eq!(shares.iter().sum::<usize>(), 120);
    for share in &shares {
        assert!((35..=45).contains(share), "{shares:?}");
    }
}

#[test]
fn a_server_that_is_left_alone_leaves_its_turns_to_the_others_evenly() {
    let (nobody, servers) = (Port::reserve(), greeters(2));
    let addresses = [nobody.v4()]
        .into_iter()
        .chain(servers.iter().map(Service::address));
    let config = Config::to(addresses)
        .pool("max_fails = 1")
        .pool("fail_timeout = \"1h\"");
    let balancer = Balancer::start(&config);
    let shares = shares(&balancer, &servers, 60);
    assert_eq!(shares.iter().sum::<usize>(), 60);
    assert!(
        shares.iter().all(|share| (27..=33).contains(share)),
        "{shares:?}"
    );
}

#[test]
fn the_order_goes_on_over_a_reload() {
    let servers = greeters(2);
    let config = config(&servers);
    let mut balancer = Balancer::start(&config);
    balancer.connect().expect("a");
    balancer.reload(&config.clone().pool("idle_timeout = \"1m\""));
    balancer.connect().expect("b");
    balancer.reload(&config);
    balancer.connect().expect("a");
}
