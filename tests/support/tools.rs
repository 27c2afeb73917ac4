//! Other people's programs that tests use: nginx as web servers, wrk as their clients, curl,
//! sysbench.

use std::fs;
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;

use super::authority::Identity;
use super::http;
use super::ports::Port;
use super::wait::until;

/// Several web servers in one nginx. Each serves `/` with its name, and files.
#[derive(Debug)]
pub(crate) struct Nginx {
    child: Child,
    directory: TempDir,
    ports: Vec<Port>,
}

/// How one of them is spoken to.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Site<'a> {
    /// HTTP/1.
    Plain,
    /// HTTP/2 without TLS, from the first byte on.
    Http2,
    /// HTTP/1 over TLS, with this certificate.
    Tls(&'a Identity),
}

/// A run of wrk. It ends with the test.
#[derive(Debug)]
pub(crate) struct Wrk(Option<Child>);

/// What a run of wrk came to.
#[derive(Debug)]
pub(crate) struct Load {
    report: String,
}

impl Nginx {
    /// Starts `servers` web servers.
    #[track_caller]
    pub(crate) fn start(servers: usize) -> Self {
        Self::with(&vec![Site::Plain; servers])
    }

    /// Starts web servers like these.
    #[track_caller]
    pub(crate) fn with(sites: &[Site<'_>]) -> Self {
        let directory = TempDir::with_prefix("ringway-test-nginx-").unwrap();
        let ports: Vec<_> = sites.iter().map(|_| Port::reserve()).collect();
        fs::write(
            directory.path().join("nginx.conf"),
            nginx_conf(&directory, sites, &ports),
        )
        .unwrap();
        let child = Command::new("nginx")
            .arg("-e")
            .arg(directory.path().join("error.log"))
            .arg("-c")
            .arg(directory.path().join("nginx.conf"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap_or_else(|error| missing("nginx", &error));
        let nginx = Self {
            child,
            directory,
            ports,
        };
        for (site, address) in sites.iter().zip(nginx.addresses()) {
            until("nginx answers", || match site {
                Site::Plain => matches!(http::get(address, "/"), Ok((200, _))),
                Site::Http2 | Site::Tls(_) => TcpStream::connect(address).is_ok(),
            });
        }
        nginx
    }

    /// Where its web servers listen.
    pub(crate) fn addresses(&self) -> Vec<SocketAddr> {
        self.ports.iter().map(Port::v4).collect()
    }

    /// Has all of them serve this file.
    pub(crate) fn add_file(&self, name: &str, content: &[u8]) {
        fs::write(self.directory.path().join(name), content).unwrap();
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        // Its master process ends its workers.
        let _ = kill(Pid::from_raw(self.child.id() as i32), Signal::SIGTERM);
        let _ = self.child.wait();
    }
}

fn nginx_conf(directory: &TempDir, sites: &[Site<'_>], ports: &[Port]) -> String {
    let root = directory.path().display();
    let servers = sites
        .iter()
        .zip(ports)
        .enumerate()
        .map(|(index, (site, port))| {
            let address = port.v4();
            let (how, files) = match site {
                Site::Plain => ("", String::new()),
                Site::Http2 => ("http2", String::new()),
                Site::Tls(identity) => ("ssl", nginx_certificate(identity)),
            };
            format!(
                "server {{ listen {address} {how} backlog=4096; {files} \
             location = / {{ return 200 \"s{index} $server_protocol\"; }} \
             location / {{ root {root}; }} }}\n"
            )
        });
    let temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|kind| format!("{kind}_temp_path {root}/{kind};\n"));
    let user = if nix::unistd::geteuid().is_root() {
        "user root;"
    } else {
        ""
    };
    format!(
        "{user} daemon off; worker_processes 1; pid {root}/pid;\n\
         events {{ worker_connections 8192; }}\n\
         http {{ access_log off; keepalive_requests 1000000000;\n{}{} }}\n",
        temporary.concat(),
        servers.collect::<String>()
    )
}

fn nginx_certificate(identity: &Identity) -> String {
    format!(
        "ssl_protocols TLSv1.2 TLSv1.3; ssl_certificate {}; ssl_certificate_key {};",
        identity.certificate_file.display(),
        identity.key_file.display()
    )
}

impl Wrk {
    /// Loads this URL over `connections` connections for `duration`.
    #[track_caller]
    pub(crate) fn start(
        address: SocketAddr,
        connections: u32,
        duration: Duration,
        headers: &[&str],
    ) -> Self {
        let mut command = Command::new("wrk");
        command.args(["-t", "1", "-c", &connections.to_string()]);
        // Longer than a busy machine may keep an answer waiting.
        command.args([
            "-d",
            &format!("{}s", duration.as_secs()),
            "--timeout",
            "20s",
        ]);
        for header in headers {
            command.args(["-H", header]);
        }
        let child = command
            .arg(format!("http://{address}/"))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| missing("wrk", &error));
        Self(Some(child))
    }

    /// Whether it still runs.
    pub(crate) fn is_running(&mut self) -> bool {
        let child = self.0.as_mut().expect("it is told to end once");
        child.try_wait().unwrap().is_none()
    }

    /// Waits for its end.
    #[track_caller]
    pub(crate) fn finish(mut self) -> Load {
        let child = self.0.take().expect("it is told to end once");
        let output = child.wait_with_output().unwrap();
        Load {
            report: text(&output),
        }
    }

    /// Ends it now: it reports what it has seen so far.
    #[track_caller]
    pub(crate) fn stop(mut self) -> Load {
        assert!(self.is_running(), "the load was there throughout");
        let child = self.0.as_ref().expect("it is told to end once");
        kill(Pid::from_raw(child.id() as i32), Signal::SIGINT).unwrap();
        self.finish()
    }
}

impl Drop for Wrk {
    fn drop(&mut self) {
        if let Some(mut child) = self.0.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

impl Load {
    /// Requests that were answered.
    pub(crate) fn requests(&self) -> u64 {
        let line = self
            .report
            .lines()
            .find(|line| line.contains(" requests in "));
        line.and_then(|line| line.split_ascii_whitespace().next()?.parse().ok())
            .unwrap_or(0)
    }

    /// Asserts that there were answers, and that none was an error.
    #[track_caller]
    pub(crate) fn assert_flawless(&self) {
        let flaws = ["Socket errors", "Non-2xx", "unable to connect"];
        let flawed = flaws.iter().any(|flaw| self.report.contains(flaw));
        assert!(!flawed && self.requests() > 0, "{}", self.report);
    }
}

/// What curl gets from a URL.
#[track_caller]
pub(crate) fn curl(url: &str) -> Vec<u8> {
    curl_with(&[], url)
}

/// The same with more arguments.
#[track_caller]
pub(crate) fn curl_with(arguments: &[&str], url: &str) -> Vec<u8> {
    let output = run_curl(arguments, url);
    assert!(output.status.success(), "curl {url}: {}", text(&output));
    output.stdout
}

/// How curl ends with a URL: one of its exit codes.
pub(crate) fn curl_code(arguments: &[&str], url: &str) -> Option<i32> {
    run_curl(arguments, url).status.code()
}

fn run_curl(arguments: &[&str], url: &str) -> Output {
    Command::new("curl")
        .args(["--silent", "--show-error", "--fail", "--max-time", "20"])
        .args(arguments)
        .arg(url)
        .stdin(Stdio::null())
        .output()
        .unwrap_or_else(|error| missing("curl", &error))
}

/// What sysbench's script `oltp_read_write` reports, as `app` in `shop`.
#[track_caller]
pub(crate) fn sysbench(address: SocketAddr, words: &[&str]) -> String {
    let output = Command::new("sysbench")
        .args(["oltp_read_write", "--mysql-host=127.0.0.1"])
        .args(["--mysql-user=app", "--mysql-password=secret"])
        .args(["--mysql-db=shop", "--tables=1", "--table-size=1000"])
        .arg(format!("--mysql-port={}", address.port()))
        .args(words)
        .stdin(Stdio::null())
        .output()
        .unwrap_or_else(|error| missing("sysbench", &error));
    assert!(output.status.success(), "sysbench: {}", text(&output));
    text(&output)
}

pub(super) fn text(output: &Output) -> String {
    let parts = [&output.stdout, &output.stderr];
    parts
        .map(|part| String::from_utf8_lossy(part).into_owned())
        .concat()
}

pub(super) fn missing(program: &str, error: &std::io::Error) -> ! {
    panic!("cannot run {program}, which tests/all installs: {error}")
}
