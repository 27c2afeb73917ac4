//! What it takes to start, and what is said where that is not there.

mod support;

use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::sys::stat::Mode;
use nix::unistd::{Pid, mkfifo};
use support::{Balancer, Config, Launch, Metrics, Peer, Server, Service, http_get, quickly};

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
    let (log, holder) = (balancer.log(), format!("(pid {})", std::process::id()));
    assert!(log.contains("admin") && log.contains(&holder), "{log}");
}

#[test]
fn an_access_log_that_cannot_be_opened_ends_the_start_with_71() {
    let server = Server::listen();
    let config = Config::to([server.address()]).access_log("/nonexistent/access.log");
    let mut balancer = Launch::default().spawn(&config);
    assert_eq!(balancer.wait_for_exit().code(), Some(71));
    let complaint = "ringway: cannot open the access log /nonexistent/access.log: No such file";
    let log = balancer.log();
    assert!(log.starts_with(complaint), "{log}");
}

#[test]
fn a_log_in_json_has_nothing_else_in_it() {
    let server = Server::listen();
    let config = Config::to([server.address()])
        .log("format = \"json\"")
        .and_pool("unused", [server.address()]);
    let mut balancer = Balancer::start(&config);
    balancer.reload(&config);
    let records: Vec<serde_json::Value> = balancer
        .log()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("{line}")))
        .collect();
    let warnings = records.iter().filter(|record| record["level"] == "WARN");
    let warnings: Vec<_> = warnings
        .map(|record| record["message"].to_string())
        .collect();
    assert_eq!(warnings.len(), 2, "at the start and at the reload");
    assert!(warnings.iter().all(|text| text.contains("unused")));
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
    Peer::connect(config.address_of("web")).expect("a");
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn without_io_uring_it_ends_with_78_and_one_sentence_with_the_fix() {
    for (errno, complaint) in [
        (libc::EPERM, "io_uring is forbidden to this process"),
        (libc::ENOSYS, "io_uring is not available"),
    ] {
        let server = Server::listen();
        let config = Config::to([server.address()]);
        let mut balancer = Launch::default().without_io_uring(errno).spawn(&config);
        assert_eq!(balancer.wait_for_exit().code(), Some(78));
        let log = balancer.log();
        assert_eq!(log.lines().count(), 1, "{log}");
        assert!(log.contains(complaint), "{log}");
        assert!(log.contains("seccomp=unconfined"), "the fix: {log}");
        // Nothing was left half done: the ports are free.
        Server::listen_at(balancer.address());
        Server::listen_at(config.admin_address());
    }
}

#[test]
fn the_soft_limit_on_descriptors_is_raised_to_the_hard_one() {
    let server = Service::greeter(b'a');
    let launch = Launch::through(["prlimit", "--nofile=256:2048"]);
    let balancer = launch.start(&Config::to([server.address()]));
    assert_eq!(balancer.metrics().sum("process_max_fds", &[]), 2048.0);
    balancer.wait_for_log("the limit is 2048 descriptors");
    // More sessions than the soft limit would have carried.
    let clients: Vec<Peer> = (0..300).map(|_| balancer.connect()).collect();
    for client in &clients {
        client.expect("a");
    }
}

#[test]
fn a_sighup_before_it_has_read_its_file_is_a_reload_and_not_the_end() {
    let server = Service::greeter(b'a');
    let config = Config::to([server.address()]);
    let directory = tempfile::TempDir::with_prefix("ringway-test-").unwrap();
    let [pipe, file] = ["ringway.toml", "next"].map(|name| directory.path().join(name));
    mkfifo(&pipe, Mode::S_IRWXU).unwrap();
    let mut child = Command::new(env!("CARGO_BIN_EXE_ringway"))
        .arg("run")
        .arg("--config")
        .arg(&pipe)
        .spawn()
        .unwrap();
    // Returns when the process has the pipe open, too: it waits for what is in it.
    let mut writer = fs::OpenOptions::new().write(true).open(&pipe).unwrap();
    kill(Pid::from_raw(child.id() as i32), Signal::SIGHUP).unwrap();
    fs::write(&file, config.text()).unwrap();
    fs::rename(&file, &pipe).unwrap();
    writer.write_all(config.text().as_bytes()).unwrap();
    drop(writer);
    let reloads = [("result", "success")];
    support::until("it has started, and reloaded", || {
        assert!(child.try_wait().unwrap().is_none(), "it has ended");
        http_get(config.admin_address(), "/metrics").is_ok_and(|(_, text)| {
            Metrics::parse(&text).sum("ringway_config_reloads_total", &reloads) == 1.0
        })
    });
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
