//! Limits on sessions and descriptors: clients wait or are told, and nothing spins.

mod support;

use std::collections::BTreeSet;
use std::fs;
use std::io::Read;
use std::thread::sleep;
use std::time::Duration;

use nix::sys::signal::Signal;
use support::{Balancer, Config, Peer, Server, Service, quickly, run, until};

#[test]
fn clients_above_a_listeners_limit_wait_in_the_backlog_and_are_served_then() {
    let server = Service::greeter(b'a');
    let config = Config::to([server.address()])
        .process("workers = 1")
        .listener("max_connections = 3");
    waits_at_three(&Balancer::start(&config));
}

#[test]
fn clients_above_the_total_limit_wait_in_the_backlog_and_are_served_then() {
    let server = Service::greeter(b'a');
    let config = Config::to([server.address()])
        .process("workers = 1")
        .process("max_connections = 3");
    waits_at_three(&Balancer::start(&config));
}

/// Three clients are served at a time, and each that goes makes room for one that waits.
fn waits_at_three(balancer: &Balancer) {
    let mut served: Vec<Peer> = (0..3).map(|_| balancer.connect()).collect();
    for client in &served {
        client.expect("a");
    }
    // The kernel answers for the balancer: these are connected, and wait.
    let waiting: Vec<Peer> = (0..10).map(|_| balancer.connect()).collect();
    assert_eq!(balancer.metrics().active(), 3.0);
    balancer.wait_for_log("max_connections is reached");
    for next in waiting {
        drop(served.remove(0));
        next.expect("a");
        served.push(next);
        assert!(balancer.metrics().active() <= 3.0);
    }
    drop(served);
    balancer.wait_for("all were served", |metrics| {
        metrics.opened() == 13.0 && metrics.active() == 0.0
    });
}

#[test]
fn clients_that_wait_at_several_workers_are_all_served() {
    let server = Service::greeter(b'a');
    let config = Config::to([server.address()]).listener("max_connections = 3");
    let balancer = Balancer::start(&config);
    std::thread::scope(|scope| {
        for _ in 0..60 {
            scope.spawn(|| balancer.connect().expect("a"));
        }
        assert!(balancer.metrics().active() <= 3.0);
    });
}

#[test]
fn a_full_listener_that_leaves_refuses_at_once_and_serves_those_who_wait() {
    let server = Service::greeter(b'a');
    let config = Config::to([server.address()]).listener("max_connections = 1");
    let mut balancer = Balancer::start(&config);
    let first = balancer.connect();
    first.expect("a");
    let waiting: Vec<Peer> = (0..5).map(|_| balancer.connect()).collect();
    balancer.signal(Signal::SIGTERM);
    let address = balancer.address().into();
    until("whoever comes now is refused", || {
        Peer::try_connect(&address, |_| {}).is_err()
    });
    drop(first);
    each_is_served(waiting);
    assert_eq!(balancer.wait_for_exit().code(), Some(0));
}

/// Whichever comes first: those who wait at one worker are served in turn, those who wait at
/// different ones are not.
fn each_is_served(clients: Vec<Peer>) {
    std::thread::scope(|scope| {
        for client in clients {
            scope.spawn(move || client.expect("a"));
        }
    });
}

#[test]
fn a_client_that_gives_up_in_the_backlog_takes_nobodys_place() {
    let server = Service::greeter(b'a');
    let config = Config::to([server.address()]).listener("max_connections = 1");
    let balancer = Balancer::start(&config);
    let first = balancer.connect();
    first.expect("a");
    let quitters: Vec<Peer> = (0..5).map(|_| balancer.connect()).collect();
    let patient = balancer.connect();
    quitters.into_iter().for_each(Peer::reset);
    drop(first);
    patient.expect("a");
}

#[test]
fn a_server_at_its_limit_is_passed_over() {
    let servers = [Service::greeter(b'a'), Service::greeter(b'b')];
    let config = Config::to(servers.each_ref().map(Service::address));
    let balancer = Balancer::start(&config.server(0, "max_connections = 2"));
    let clients: Vec<Peer> = (0..10).map(|_| balancer.connect()).collect();
    let names: Vec<u8> = clients.iter().map(|client| client.receive(1)[0]).collect();
    assert_eq!(
        names.iter().filter(|&&name| name == b'a').count(),
        2,
        "{names:?}"
    );
}

#[test]
fn a_client_is_refused_at_once_when_all_servers_are_full() {
    let servers = [Service::greeter(b'a'), Service::greeter(b'b')];
    let config = Config::to(servers.each_ref().map(Service::address))
        .server(0, "max_connections = 1")
        .server(1, "max_connections = 1");
    let balancer = Balancer::start(&config);
    let clients = [balancer.connect(), balancer.connect()];
    for client in &clients {
        client.receive(1);
    }
    quickly(Duration::from_secs(1), || balancer.refuses());
    balancer.wait_closed("operator", "servers_full", 1);
    assert_eq!(
        balancer
            .metrics()
            .sum("ringway_connect_failures_total", &[]),
        0.0
    );
    drop(clients);
    balancer.wait_active(0);
    balancer.connect().receive(1);
}

#[test]
fn out_of_descriptors_accepting_pauses_and_resumes_while_admin_answers_and_nothing_spins() {
    let server = Service::greeter(b'a');
    // A limit has connections accepted one by one: the kernel notes the limit on descriptors when
    // an accept begins, so only the one that waits already at each worker goes by the old one.
    let config = Config::to([server.address()]).listener("max_connections = 1000");
    let balancer = Balancer::start(&config);
    let lowest_free = lowest_free_descriptor(&balancer);
    limit_descriptors(&balancer, lowest_free);
    let address = balancer.address().into();
    let clients: Vec<Peer> = (0..30)
        .filter_map(|_| Peer::try_connect(&address, |_| {}).ok())
        .collect();
    balancer.wait_for_log("accepting pauses");
    let before = balancer.process().cpu();
    sleep(Duration::from_secs(1));
    let used = balancer.process().cpu().saturating_sub(before);
    assert!(
        used < Duration::from_millis(30),
        "{used:?} of CPU in a second of waiting"
    );
    let log = balancer.log();
    let records = log
        .lines()
        .filter(|line| line.contains("accepting pauses"))
        .count();
    assert_eq!(records, 1, "one in a minute: {log}");
    assert_eq!(balancer.ready(), Some(200));
    let metrics = balancer.metrics();
    assert!(metrics.sum("ringway_worker_accept_pauses_total", &[]) > 0.0);
    assert!(
        metrics.active() < 10.0,
        "what was accepted already waits inside, and whoever got the descriptor of a look at this"
    );

    limit_descriptors(&balancer, lowest_free + 200);
    let mut served = 0;
    for client in clients {
        match (&mut client.socket()).read(&mut [0]) {
            Ok(1) => served += 1,
            reset => assert!(reset.is_err(), "neither served nor reset"),
        }
    }
    let turned_away = balancer.metrics().closed("ringway", "out_of_descriptors");
    assert!(turned_away < 10.0, "only who is inside is turned away");
    assert_eq!(f64::from(served) + turned_away, 30.0);
    balancer.connect().expect("a");
}

#[test]
fn a_limit_of_1024_descriptors_is_enough_to_run_and_said_in_the_log() {
    let server = Service::greeter(b'a');
    let launch = support::Launch::through(["prlimit", "--nofile=1024:1024"]);
    let balancer = launch.start(&Config::to([server.address()]));
    balancer.wait_for_log("the limit is 1024 descriptors");
    let clients: Vec<Peer> = (0..300).map(|_| balancer.connect()).collect();
    for client in &clients {
        client.expect("a");
    }
    balancer.wait_active(300);
}

#[test]
fn more_clients_than_a_limit_of_256_descriptors_carries_wait_their_turn() {
    let server = Service::greeter(b'a');
    let launch = support::Launch::through(["prlimit", "--nofile=256:256"]);
    let balancer = launch.start(&Config::to([server.address()]));
    let clients: Vec<Peer> = (0..200).map(|_| balancer.connect()).collect();
    each_is_served(clients);
    balancer.wait_for("all were served", |metrics| {
        metrics.opened() == 200.0 && metrics.active() == 0.0
    });
}

#[test]
fn lowering_a_limit_by_a_reload_keeps_sessions_and_holds_for_new_ones() {
    let server = Service::greeter(b'a');
    let config = Config::to([server.address()]).listener("max_connections = 3");
    let mut balancer = Balancer::start(&config);
    let clients: Vec<Peer> = (0..3).map(|_| balancer.connect()).collect();
    clients.iter().for_each(|client| client.expect("a"));
    balancer.reload(&config.clone().listener("max_connections = 1"));
    assert_eq!(balancer.metrics().active(), 3.0);
    let waiting = balancer.connect();
    let mut clients = clients.into_iter();
    drop(clients.next());
    balancer.wait_active(2);
    drop(clients.next());
    balancer.wait_active(1);
    drop(clients.next());
    waiting.expect("a");
    until("one is active", || balancer.metrics().active() == 1.0);
}

#[test]
fn raising_a_limit_by_a_reload_serves_those_who_wait() {
    let server = Service::greeter(b'a');
    let config = Config::to([server.address()]).listener("max_connections = 1");
    let mut balancer = Balancer::start(&config);
    let first = balancer.connect();
    first.expect("a");
    let waiting: Vec<Peer> = (0..4).map(|_| balancer.connect()).collect();
    balancer.reload(&config.clone().listener("max_connections = 5"));
    waiting.iter().for_each(|client| client.expect("a"));
}

#[test]
fn an_idle_process_uses_little_memory_whatever_it_has_room_for() {
    let server = Server::listen();
    let balancer = Balancer::start(&Config::to([server.address()]));
    let resident_kib = balancer.process().resident_kib();
    assert!(
        resident_kib < 64 * 1024,
        "{resident_kib} KiB are in use at rest"
    );
}

/// The lowest descriptor that is free: a limit of so many leaves none.
fn lowest_free_descriptor(balancer: &Balancer) -> usize {
    let open = fs::read_dir(format!("/proc/{}/fd", balancer.process().0)).unwrap();
    let numbers: BTreeSet<usize> = open
        .flatten()
        .filter_map(|fd| fd.file_name().to_str()?.parse().ok())
        .collect();
    (0..).find(|number| !numbers.contains(number)).unwrap()
}

fn limit_descriptors(balancer: &Balancer, limit: usize) {
    run(&format!(
        "prlimit --pid {} --nofile={limit}:",
        balancer.process().0
    ));
}
