//! What it takes to start, and what is said where that is not there.

mod support;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;
use std::time::Duration;

use support::{Balancer, Config, Launch, Server, Service, quickly};

#[test]
fn a_second_instance_on_the_same_port_fails_with_71_and_the_first_goes_on() {
    let server = Service::greeter(b'a');
    let config = Config::to([server.address()]);
    let balancer = Balancer::start(&config);
    let mut second = Launch::default().spawn(&config);
    assert_eq!(second.wait_for_exit().code(), Some(71));
    let log = second.log();
    assert!(log.contains(&balancer.address().to_string()), "{log}");
    for _ in 0..10 {
        balancer.connect().expect("a");
    }
}

#[test]
fn a_port_that_another_program_has_is_named_and_ends_the_start_with_71() {
    let server = Server::listen();
    let holder = Server::listen();
    let config = Config::to([server.address()]).and_listener_at("held", "web", [holder.address()]);
    let mut balancer = Launch::default().spawn(&config);
    assert_eq!(balancer.wait_for_exit().code(), Some(71));
    let log = balancer.log();
    assert!(
        log.contains("held") && log.contains(&holder.address().to_string()),
        "{log}"
    );
}

#[test]
fn an_admin_port_that_another_program_has_ends_the_start_with_71() {
    let server = Server::listen();
    let config = Config::to([server.address()]);
    let _holder = Server::listen_at(config.admin_address());
    let mut balancer = Launch::default().spawn(&config);
    assert_eq!(balancer.wait_for_exit().code(), Some(71));
}

#[test]
fn a_configuration_that_is_not_valid_ends_the_start_with_1() {
    let mut balancer = Launch::default().spawn(&Config::to(["127.0.0.1"]));
    assert_eq!(balancer.wait_for_exit().code(), Some(1));
    let mut balancer = Launch::default().spawn(&Config::to(["no-such-host.invalid:80"]));
    assert_eq!(balancer.wait_for_exit().code(), Some(1));
    assert!(
        balancer.log().contains("no-such-host.invalid"),
        "{}",
        balancer.log()
    );
}

#[test]
fn it_needs_no_root() {
    let server = Service::greeter(b'a');
    let config = Config::to([server.address()]);
    let directory = tempfile::TempDir::with_prefix("ringway-test-").unwrap();
    fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755)).unwrap();
    // A copy that nobody may read: the build's directory may be closed to others.
    let program = directory.path().join("ringway");
    fs::copy(env!("CARGO_BIN_EXE_ringway"), &program).unwrap();
    let file = directory.path().join("ringway.toml");
    fs::write(&file, config.text()).unwrap();
    let mut command = if nix::unistd::geteuid().is_root() {
        let mut command = Command::new("setpriv");
        command.args([
            "--reuid=65534",
            "--regid=65534",
            "--clear-groups",
            "--no-new-privs",
        ]);
        command.arg(&program);
        command
    } else {
        Command::new(&program)
    };
    let mut child = command
        .arg("run")
        .arg("--config")
        .arg(&file)
        .spawn()
        .unwrap();
    support::until("it accepts", || {
        assert!(child.try_wait().unwrap().is_none(), "it has ended");
        std::net::TcpStream::connect(config.address_of("web")).is_ok()
    });
    support::Peer::connect(config.address_of("web")).expect("a");
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn it_is_ready_soon() {
    let server = Server::listen();
    quickly(Duration::from_secs(5), || {
        Balancer::start(&Config::to([server.address()]))
    });
}

#[test]
fn a_host_name_as_a_servers_address_is_resolved() {
    let server = Service::greeter(b'a');
    let config = Config::to([format!("localhost:{}", server.address().port())]);
    let balancer = Balancer::start(&config);
    // One server for each address of the name, and one of them answers.
    balancer.connect().expect("a");
}

#[test]
fn a_worker_count_is_what_the_file_says() {
    let server = Server::listen();
    for workers in ["1", "3"] {
        let config = Config::to([server.address()]).process(&format!("workers = {workers}"));
        let balancer = Balancer::start(&config);
        let sessions = balancer.metrics().by("ringway_worker_sessions", "worker");
        assert_eq!(sessions.len().to_string(), workers);
    }
}
