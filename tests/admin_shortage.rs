//! The admin port answers when the process has no descriptor left. The only test of its process,
//! because the limit is the process's.

mod support;

use std::cell::RefCell;
use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use ringway::config::Config;
use ringway::control::{Registry, TlsState, serve_admin};
use ringway::limits::ADMIN_SPARE_DESCRIPTORS;
use ringway::worker::{Shared, Snapshot};
use socket2::{Domain, Socket, Type};
use support::until;

const DESCRIPTORS: u64 = 200;
const OK: &str = "HTTP/1.1 200 OK\r\n";

const CONFIG: &str = r#"
listener = [{ name = "web", listen = ["127.0.0.1:8080"], pool = "web" }]
pool = [{ name = "web", server = [{ name = "web-01", address = "127.0.0.1:8081" }] }]
"#;

#[test]
fn the_admin_port_answers_without_a_descriptor_left() {
    let address = serve();
    // A client that lives in the same process needs its descriptor beforehand.
    let clients: Vec<_> = (0..60).map(|_| client()).collect();
    let mut clients = clients.iter();
    let mut answer_to = |path| ask(clients.next().expect("clients are left"), address, path);
    assert!(answer_to("/ready").starts_with(OK));

    let beyond = beyond_the_limit();
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    setrlimit(Resource::RLIMIT_NOFILE, DESCRIPTORS, hard).unwrap();
    let mut all = Vec::new();
    // The other end of an answered connection closes a moment after the answer, and then leaves a
    // descriptor free: the table is full when an answer says so. What the admin port holds back
    // may be free then: accept(2) wants a place also to find out that nobody waits.
    let full = DESCRIPTORS + beyond - ADMIN_SPARE_DESCRIPTORS as u64;
    until("the table of descriptors is full", || {
        while let Ok(file) = File::open("/dev/null") {
            all.push(file);
        }
        open_descriptors(&answer_to("/metrics")) >= full
    });
    for path in ["/ready", "/metrics", "/api/status"].repeat(10) {
        let answer = answer_to(path);
        assert!(answer.starts_with(OK), "{path}: {answer}");
        assert!(
            path != "/metrics" || open_descriptors(&answer) >= full,
            "{answer}"
        );
    }
    drop(all);
    assert!(ask(&client(), address, "/ready").starts_with(OK));
}

/// Descriptors that the limit does not touch, because whoever started the tests left them open with
/// high numbers: `RLIMIT_NOFILE` limits numbers, not how many there are.
fn beyond_the_limit() -> u64 {
    let open = fs::read_dir("/proc/self/fd").unwrap();
    let numbers = open.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let numbers = numbers.map(|number| number.parse::<u64>().unwrap());
    numbers.filter(|number| *number >= DESCRIPTORS).count() as u64
}

/// What `/metrics` says of the process's descriptors.
fn open_descriptors(metrics: &str) -> u64 {
    let mut lines = metrics.lines();
    let value = lines.find_map(|line| line.strip_prefix("process_open_fds "));
    value.expect("the metric").parse().unwrap()
}

/// Serves an admin port on a thread that ends with the process.
fn serve() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        let registry = Rc::new(RefCell::new(registry()));
        tokio_uring::start(serve_admin(registry, listener));
    });
    address
}

/// A process without workers, and so without one that could hang.
fn registry() -> Registry {
    let snapshot = Snapshot {
        generation: 1,
        listeners: Vec::new(),
        coalesce: true,
        access_log: false,
        statement_log: None,
    };
    let shared = Arc::new(Shared::new(snapshot, 0, 1).unwrap());
    Registry::new(
        shared,
        Config::parse(CONFIG).unwrap(),
        Vec::new(),
        TlsState::new().unwrap(),
    )
}

fn client() -> Socket {
    let client = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    client
        .set_read_timeout(Some(Duration::from_secs(5)))
        .unwrap();
    client
}

fn ask(mut client: &Socket, address: SocketAddr, path: &str) -> String {
    client.connect(&address.into()).unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    client.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    client
        .read_to_string(&mut answer)
        .expect("an answer, and then its end");
    answer
}
