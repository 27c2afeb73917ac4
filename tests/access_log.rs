//! The access log as it comes out of the program: one line per session, through rotations.

mod support;

use std::fs;

use nix::sys::signal::Signal;
use serde_json::Value;
use support::{Balancer, Config, Peer, Port, Server, Service, lines};

/// A whole session. Returns the client's address.
fn exchange(balancer: &Balancer, server: &Server) -> String {
    let (client, accepted) = balancer.session_at(server);
    client.exchanges_with(&accepted);
    client.local_address().to_string()
}

#[test]
fn a_line_of_json_tells_all_of_a_session() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("access.log");
    let (nobody, server) = (Port::reserve(), Server::listen());
    let config = Config::to([nobody.v4(), server.address()])
        .pool("max_fails = 1")
        .access_log(path.display());
    let balancer = Balancer::start(&config);
    let client = exchange(&balancer, &server);

    let [line] = &lines(&path, 1)[..] else {
        panic!("one line")
    };
    let line: Value = serde_json::from_str(line).unwrap();
    assert_eq!(line["listener"], "web");
    assert_eq!(line["client"], client.as_str());
    assert_eq!(line["pool"], "web");
    assert_eq!(line["server"], "s1");
    assert_eq!(line["server_address"], server.address().to_string());
    let bytes = ["bytes_in", "received_in", "bytes_out", "received_out"];
    assert_eq!(
        bytes.map(|field| line[field].as_u64().unwrap()),
        [8, 8, 6, 6]
    );
    let [connect_ms, duration_ms] =
        ["connect_ms", "duration_ms"].map(|field| line[field].as_f64().unwrap());
    assert!(0.0 < connect_ms && connect_ms < duration_ms, "{line}");
    assert_eq!(line["tries"], 2, "the first server refused");
    assert_eq!(
        [&line["phase"], &line["reason"]],
        ["half_closed", "finished"]
    );
    assert_eq!(line["generation"], 1);
    let time = line["time"].as_str().unwrap();
    assert!(time.starts_with("20") && time.ends_with('Z'), "{time}");
}

#[test]
fn a_session_that_reached_no_server_has_a_line_and_says_why() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("access.log");
    let nobody = Port::reserve();
    let config = Config::to([nobody.v4()]).access_log(path.display());
    let balancer = Balancer::start(&config);
    balancer.refuses();
    let line: Value = serde_json::from_str(&lines(&path, 1)[0]).unwrap();
    assert_eq!(line["server"], "s0");
    assert!(line["connect_ms"].is_null(), "{line}");
    let ending = ["who", "phase", "reason"].map(|field| line[field].as_str().unwrap());
    assert_eq!(ending, ["server", "connect", "connect_failed"]);
}

#[test]
fn a_line_of_text_is_pairs_of_keys_and_values() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("access.log");
    let server = Server::listen();
    let config = Config::to([server.address()])
        .access_log(path.display())
        .access_log_as_text();
    let balancer = Balancer::start(&config);
    let client = exchange(&balancer, &server);
    let line = lines(&path, 1).remove(0);
    let field = |key: &str| {
        let mut pairs = line
            .split(' ')
            .map(|pair| pair.split_once('=').expect("a pair"));
        pairs.find(|(k, _)| *k == key).expect(key).1.to_owned()
    };
    assert_eq!(field("listener"), "web");
    assert_eq!(field("client"), client);
    assert_eq!(field("server_address"), server.address().to_string());
    assert_eq!([field("bytes_in"), field("bytes_out")], ["8", "6"]);
    assert_eq!(field("reason"), "finished");
}

#[test]
fn a_log_that_was_moved_away_is_opened_anew_by_sighup() {
    let directory = tempfile::tempdir().unwrap();
    let [path, rotated] = ["access.log", "access.log.1"].map(|name| directory.path().join(name));
    let server = Service::greeter(b'a');
    let config = Config::to([server.address()]).access_log(path.display());
    let mut balancer = Balancer::start(&config);
    let session = || {
        let client = balancer.connect();
        client.expect("a");
        client.local_address().to_string()
    };
    let mut first = vec![session()];
    lines(&path, 1);
    fs::rename(&path, &rotated).unwrap();
    first.push(session());
    let in_the_old_one = lines(&rotated, 2);
    assert!(!path.exists(), "it is not opened before it is told to");

    balancer.reload(&config);
    let session = || {
        let client = balancer.connect();
        client.expect("a");
        client.local_address().to_string()
    };
    let second = session();
    let in_the_new_one = lines(&path, 1);
    assert!(in_the_new_one[0].contains(&second));
    assert_eq!(lines(&rotated, 2), in_the_old_one);
    for (line, client) in in_the_old_one.iter().zip(&first) {
        assert!(line.contains(client), "{line}");
    }
    let metrics = balancer.metrics();
    assert_eq!(metrics.sum("ringway_access_log_lines_total", &[]), 3.0);
    assert_eq!(
        metrics.sum("ringway_access_log_lines_dropped_total", &[]),
        0.0
    );
}

#[test]
fn a_log_can_be_switched_on_and_off_by_a_reload() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("access.log");
    let server = Service::greeter(b'a');
    let without = Config::to([server.address()]);
    let with = without.clone().access_log(path.display());
    let mut balancer = Balancer::start(&without);
    balancer.connect().expect("a");
    balancer.wait_closed("client", "finished", 1);
    balancer.reload(&with);
    let client = balancer.connect();
    client.expect("a");
    let address = client.local_address().to_string();
    drop(client);
    assert!(lines(&path, 1)[0].contains(&address));
    balancer.reload(&without);
    balancer.connect().expect("a");
    balancer.wait_closed("client", "finished", 3);
    lines(&path, 1);
}

#[test]
fn every_session_has_a_line_when_the_process_ends() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("access.log");
    let server = Service::greeter(b'a');
    let config = Config::to([server.address()])
        .access_log(path.display())
        .process("drain_timeout = \"0s\"");
    let mut balancer = Balancer::start(&config);
    let clients: Vec<Peer> = (0..50).map(|_| balancer.connect()).collect();
    for client in &clients {
        client.expect("a");
    }
    balancer.signal(Signal::SIGTERM);
    assert!(balancer.wait_for_exit().success());
    let cut = lines(&path, 50);
    assert!(
        cut.iter()
            .all(|line| line.contains("\"reason\":\"drain_timeout\"")),
        "{cut:#?}"
    );
}
