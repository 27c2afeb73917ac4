//! `ringway demo`, as somebody who tries it sees it.

mod support;

use std::fs::{self, File};
use std::io::Write;
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, ExitStatus, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use support::{Port, Server, curl, curl_with, eventually, http_get, mariadb_as_demo, until};
use tempfile::TempDir;

/// A running demo. It ends with the test.
struct Demo {
    child: Child,
    directory: TempDir,
}

impl Demo {
    /// Starts it through another program that becomes it, and waits until it is ready.
    #[track_caller]
    fn start_through(wrapper: &[&str], port: u16, admin_port: u16) -> Self {
        let directory = TempDir::with_prefix("ringway-test-").unwrap();
        let output = |name| File::create(directory.path().join(name)).unwrap();
        let [port, admin_port] = [port, admin_port].map(|port| port.to_string());
        let program = env!("CARGO_BIN_EXE_ringway");
        let ports = ["--port", &port, "--admin-port", &admin_port];
        let others = ["--https-port", "0", "--mysql-port", "0"];
        let arguments = [&["demo"], &ports[..], &others].concat();
        let mut words = wrapper.iter().chain([&program]).chain(&arguments);
        let child = Command::new(words.next().unwrap())
            .args(words)
            .stdin(Stdio::null())
            .stdout(output("stdout"))
            .stderr(output("stderr"))
            .spawn()
            .unwrap();
        let mut demo = Self { child, directory };
        eventually(|| {
            let ended = demo.child.try_wait().unwrap();
            assert!(ended.is_none(), "{ended:?}: {}", demo.said());
            let admin = demo.address_after("status page: http://")?;
            match http_get(admin, "/ready") {
                Ok((200, _)) => Ok(()),
                other => Err(format!("/ready says {other:?}: {}", demo.said())),
            }
        });
        demo
    }

    #[track_caller]
    fn start(port: u16, admin_port: u16) -> Self {
        Self::start_through(&[], port, admin_port)
    }

    /// All that it has printed.
    fn said(&self) -> String {
        let read = |name| fs::read_to_string(self.directory.path().join(name)).unwrap_or_default();
        read("stdout") + &read("stderr")
    }

    /// The address that it has printed after these words.
    fn address_after(&self, words: &str) -> Result<SocketAddr, String> {
        let said = self.said();
        let address = said.split_once(words).and_then(|(_, rest)| {
            let end = rest.find(|c: char| !c.is_ascii_digit() && !".:".contains(c))?;
            rest[..end].trim_end_matches(['.', ':']).parse().ok()
        });
        address.ok_or(format!("an address after {words:?} in {said}"))
    }

    /// Where the balancer listens.
    fn address(&self) -> SocketAddr {
        self.address_after("behind http://").unwrap()
    }

    /// Who has answered so many requests, one after the other.
    fn answers(&self, requests: usize) -> Vec<String> {
        let url = format!("http://{}/", self.address());
        let answer = |_| String::from_utf8(curl(&url)).unwrap();
        (0..requests).map(answer).collect()
    }

    #[track_caller]
    fn end_by(mut self, signal: Signal) -> ExitStatus {
        kill(Pid::from_raw(self.child.id() as i32), signal).unwrap();
        eventually(|| {
            let ended = self.child.try_wait().unwrap();
            ended.ok_or_else(|| format!("its end: {}", self.said()))
        })
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn it_serves_on_the_ports_it_was_given_and_both_servers_answer_in_turn() {
    let (port, admin) = (Port::reserve(), Port::reserve());
    let demo = Demo::start(port.number(), admin.number());
    assert_eq!(demo.address(), port.v4());
    assert_eq!(http_get(admin.v4(), "/ready").unwrap().0, 200);
    let answers = demo.answers(6);
    for pair in answers.chunks(2) {
        let mut pair = pair.to_vec();
        pair.sort_unstable();
        assert_eq!(pair, ["web-01 says hello\n", "web-02 says hello\n"]);
    }
    let large = curl(&format!("http://{}/large", port.v4()));
    assert_eq!(large.len(), 10 << 20);
    assert!(!demo.said().contains("is taken"), "{}", demo.said());
    assert_eq!(demo.end_by(Signal::SIGINT).code(), Some(0));
}

#[test]
fn ports_that_are_taken_are_replaced_by_others_and_it_says_so() {
    let taken = Server::listen_at(Port::reserve().v4());
    let port = taken.address().port();
    let demo = Demo::start(port, port);
    let said = demo.said();
    let told = format!("Port {port} is taken; it is ");
    assert_eq!(said.matches(&told).count(), 2, "{said}");
    assert_eq!(demo.answers(2).len(), 2);
    assert_eq!(demo.end_by(Signal::SIGTERM).code(), Some(0));
}

#[test]
fn one_free_port_for_both_is_used_once() {
    let port = Port::reserve();
    let demo = Demo::start(port.number(), port.number());
    assert_eq!(demo.address(), port.v4());
    assert_eq!(demo.answers(2).len(), 2);
}

#[test]
fn port_0_is_any_port_and_none_is_taken() {
    let demo = Demo::start(0, 0);
    assert_eq!(demo.answers(2).len(), 2);
    assert!(!demo.said().contains("is taken"), "{}", demo.said());
}

#[test]
fn its_mysql_servers_answer_where_it_says() {
    let demo = Demo::start(0, 0);
    for name in ["db-primary", "db-replica"] {
        let address = demo.address_after(&format!("{name} on ")).unwrap();
        let answer = ask(address, "SELECT @@hostname, @@port");
        assert_eq!(answer, format!("{name}\t{}\n", address.port()));
    }
}

#[test]
fn its_mysql_port_sends_reads_to_the_replica_and_all_else_to_the_primary() {
    let demo = Demo::start(0, 0);
    let address = demo.address_after("its replica behind ").unwrap();
    assert_eq!(ask(address, "SELECT @@hostname"), "db-replica\n");
    assert_eq!(ask(address, "REPLACE INTO kv VALUES ('a', 'b')"), "");
    let read = "SELECT *, @@hostname FROM kv";
    until("the replica has followed", || {
        ask(address, read) == "a\tb\tdb-replica\n"
    });
    let locking = ask(address, &format!("{read} FOR UPDATE"));
    assert_eq!(locking, "a\tb\tdb-primary\n");
    let transaction = "BEGIN; SELECT @@hostname; COMMIT; SELECT @@hostname";
    assert_eq!(ask(address, transaction), "db-primary\ndb-replica\n");
}

/// What a MySQL server answers, or the balancer in front of them.
#[track_caller]
fn ask(address: SocketAddr, statements: &str) -> String {
    let mut client = mariadb_as_demo(address);
    let output = client.args(["--execute", statements]).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn its_https_port_serves_the_same_pages_under_a_certificate_made_at_start() {
    let demo = Demo::start(0, 0);
    let https = demo.address_after("/ and https://").unwrap();
    assert!(demo.said().contains(&format!("curl -k https://{https}/ ")));
    let url = format!("https://{https}/");
    let mut answers: Vec<_> = (0..2).map(|_| curl_with(&["--insecure"], &url)).collect();
    answers.sort_unstable();
    assert_eq!(answers, [b"web-01 says hello\n", b"web-02 says hello\n"]);
    let large = curl_with(&["--insecure"], &format!("{url}large"));
    assert_eq!(large.len(), 10 << 20);
    let checking = Command::new("curl")
        .args(["--silent", "--max-time", "20", &url])
        .status()
        .unwrap();
    assert_eq!(checking.code(), Some(60), "curl's certificate problem");
}

#[test]
fn it_ends_with_its_terminal() {
    let demo = Demo::start(0, 0);
    assert_eq!(demo.end_by(Signal::SIGHUP).code(), Some(0));
}

#[test]
fn its_web_servers_survive_a_shortage_of_descriptors() {
    let demo = Demo::start_through(&["prlimit", "--nofile=256"], 0, 0);
    let web = demo.address_after("web-01 on ").unwrap();
    // More than there can be; those that are not accepted wait in the backlog.
    let clients: Vec<_> = (0..260)
        .map_while(|_| TcpStream::connect(web).ok())
        .collect();
    until("descriptors have run out", || {
        support::Process(demo.child.id()).descriptors() >= 250
    });
    drop(clients);
    until("both answer", || {
        let mut answers = demo.answers(2);
        answers.sort_unstable();
        answers == ["web-01 says hello\n", "web-02 says hello\n"]
    });
    // As many sessions as there may be at a time, and more.
    let mut clients: Vec<_> = (0..150)
        .map(|_| TcpStream::connect(demo.address()).unwrap())
        .collect();
    for client in &mut clients {
        let _ = client.write_all(b"GET / HTTP/1.1\r\nHost: demo\r\n\r\n");
    }
    drop(clients);
    assert_eq!(demo.answers(2).len(), 2);
}
