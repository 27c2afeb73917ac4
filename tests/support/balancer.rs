//! The balancer under test: the real program, in a process and a directory of its own.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::panic::{self, AssertUnwindSafe};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;

use super::config::Config;
use super::gate::{self, Baseline};
use super::http;
use super::metrics::Metrics;
use super::peer::{End, Peer, Server};
use super::process::Process;
use super::seccomp;
use super::tools::text;
use super::wait::eventually;

/// A running balancer. When it is dropped, it has to be as it was before the test's traffic, and
/// to end properly: see [`gate`].
#[derive(Debug)]
pub(crate) struct Balancer {
    child: Child,
    config: Config,
    directory: TempDir,
    baseline: Option<Baseline>,
    expected_errors: Vec<String>,
    /// It was told to end, or was killed: nothing is left to look at.
    over: bool,
}

/// How the program is started.
#[derive(Clone, Debug, Default)]
pub(crate) struct Launch {
    wrapper: Vec<OsString>,
    io_uring_fails_with: Option<i32>,
}

impl Launch {
    /// Through another program that becomes it: `prlimit --nofile=1024`, say.
    pub(crate) fn through<S: Into<OsString>>(wrapper: impl IntoIterator<Item = S>) -> Self {
        Self {
            wrapper: wrapper.into_iter().map(Into::into).collect(),
            ..Self::default()
        }
    }

    /// Where `io_uring_setup` fails so: what a container's seccomp profile does.
    pub(crate) fn without_io_uring(mut self, errno: i32) -> Self {
        self.io_uring_fails_with = Some(errno);
        self
    }

    /// Starts it and does not wait for it to be ready.
    #[track_caller]
    pub(crate) fn spawn(&self, config: &Config) -> Balancer {
        let directory = TempDir::with_prefix("ringway-test-").unwrap();
        fs::write(config_path(directory.path()), config.text()).unwrap();
        let program = OsString::from(env!("CARGO_BIN_EXE_ringway"));
        let mut words = self.wrapper.iter().chain([&program]);
        let mut command = Command::new(words.next().unwrap());
        if let Some(errno) = self.io_uring_fails_with {
            seccomp::deny_io_uring(&mut command, errno);
        }
        let child = command
            .args(words)
            .args(["run", "--config"])
            .arg(config_path(directory.path()))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(File::create(log_path(directory.path())).unwrap())
            .spawn()
            .unwrap_or_else(|error| panic!("cannot start {self:?}: {error}"));
        Balancer {
            child,
            config: config.clone(),
            directory,
            baseline: None,
            expected_errors: Vec::new(),
            over: false,
        }
    }

    /// Starts it and waits until it is ready.
    #[track_caller]
    pub(crate) fn start(&self, config: &Config) -> Balancer {
        let mut balancer = self.spawn(config);
        balancer.wait_until_ready();
        balancer
    }
}

impl Balancer {
    /// Starts it and waits until it is ready.
    #[track_caller]
    pub(crate) fn start(config: &Config) -> Self {
        Launch::default().start(config)
    }

    /// Waits until `/ready` says 200, and notes what it is like at rest.
    #[track_caller]
    pub(crate) fn wait_until_ready(&mut self) {
        eventually(|| {
            if let Some(status) = self.child.try_wait().unwrap() {
                panic!("ringway ended with {status}:\n{}", self.log());
            }
            match self.ready() {
                Some(200) => Ok(()),
                other => Err(format!("/ready says {other:?}; log:\n{}", self.log())),
            }
        });
        self.take_baseline();
    }

    /// Notes what it is like at rest now. For a test that has changed what is listened on.
    #[track_caller]
    pub(crate) fn take_baseline(&mut self) {
        self.baseline = Some(Baseline::take(self));
    }

    /// What `/ready` says; `None` when nobody answers.
    pub(crate) fn ready(&self) -> Option<u16> {
        http::get(self.config.admin_address(), "/ready")
            .ok()
            .map(|(status, _)| status)
    }

    /// The body of an admin page.
    #[track_caller]
    pub(crate) fn admin(&self, path: &str) -> String {
        match http::get(self.config.admin_address(), path) {
            Ok((200, body)) => body,
            other => panic!("GET {path}: {other:?}; log:\n{}", self.log()),
        }
    }

    /// The metrics as they are now.
    #[track_caller]
    pub(crate) fn metrics(&self) -> Metrics {
        Metrics::parse(&self.admin("/metrics"))
    }

    /// Waits until the metrics are as the condition wants them.
    #[track_caller]
    pub(crate) fn wait_for(&self, what: &str, holds: impl Fn(&Metrics) -> bool) {
        eventually(|| {
            let metrics = self.metrics();
            if holds(&metrics) {
                return Ok(());
            }
            let endings = metrics.endings();
            Err(format!(
                "{what}; opened {}, ended {endings:?}",
                metrics.opened()
            ))
        });
    }

    /// Waits until as many sessions have ended this way.
    #[track_caller]
    pub(crate) fn wait_closed(&self, who: &str, reason: &str, sessions: u32) {
        let what = format!("{sessions} ended by {who}: {reason}");
        self.wait_for(&what, |metrics| {
            metrics.closed(who, reason) == f64::from(sessions)
        });
    }

    /// Waits until so many clients' handshakes have failed for this reason.
    #[track_caller]
    pub(crate) fn wait_handshakes_failed(&self, reason: &str, times: usize) {
        eventually(|| {
            let metrics = self.metrics();
            let failures = metrics.by("ringway_tls_handshake_failures_total", "reason");
            match failures.get(reason) {
                Some(&n) if n == times as f64 => Ok(()),
                _ => Err(format!("{times} times {reason}: {failures:?}")),
            }
        });
    }

    /// Waits until so many sessions are open.
    #[track_caller]
    pub(crate) fn wait_active(&self, sessions: u32) {
        let what = format!("{sessions} sessions open");
        self.wait_for(&what, |metrics| metrics.active() == f64::from(sessions));
    }

    /// Where the listener `web` listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.config.address_of("web")
    }

    /// A client of the listener `web`.
    #[track_caller]
    pub(crate) fn connect(&self) -> Peer {
        Peer::connect(self.address())
    }

    /// A session of the listener `web` with the next server in turn, which is this one: its client,
    /// and its connection there.
    #[track_caller]
    pub(crate) fn session_at(&self, server: &Server) -> (Peer, Peer) {
        let client = self.connect();
        (client, server.accept())
    }

    /// A client of the listener `web` is turned away by a reset.
    #[track_caller]
    pub(crate) fn refuses(&self) {
        self.connect().expect_end(End::Reset);
    }

    /// The configuration it runs with.
    pub(crate) fn config(&self) -> &Config {
        &self.config
    }

    /// Its process.
    pub(crate) fn process(&self) -> Process {
        Process(self.child.id())
    }

    /// A place for a test's files, gone with the balancer.
    pub(crate) fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// What it has written to its log.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(log_path(self.directory.path())).unwrap_or_default()
    }

    /// Waits until its log has this text.
    #[track_caller]
    pub(crate) fn wait_for_log(&self, text: &str) {
        eventually(|| {
            let log = self.log();
            if log.contains(text) {
                Ok(())
            } else {
                Err(format!("{text:?} in the log:\n{log}"))
            }
        });
    }

    /// Declares an error: the log may have it.
    pub(crate) fn expect_error(&mut self, text: &str) {
        self.expected_errors.push(text.to_owned());
    }

    /// Lines of the log at error level that were not declared.
    pub(crate) fn unexpected_errors(&self) -> Vec<String> {
        let log = self.log();
        let errors = log
            .lines()
            .filter(|line| line.contains("ERROR") || line.contains("panicked"));
        let unexpected = |line: &&str| !self.expected_errors.iter().any(|e| line.contains(e));
        errors.filter(unexpected).map(str::to_owned).collect()
    }

    /// Sends it a signal.
    #[track_caller]
    pub(crate) fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.child.id() as i32), signal).unwrap();
    }

    /// Writes a new configuration, has it read, and waits until it runs.
    #[track_caller]
    pub(crate) fn reload(&mut self, config: &Config) {
        let before = self.metrics();
        self.write_config(&config.text());
        self.config = config.clone();
        self.signal(Signal::SIGHUP);
        let succeeded =
            |m: &Metrics| m.sum("ringway_config_reloads_total", &[("result", "success")]);
        eventually(|| {
            if succeeded(&self.metrics()) > succeeded(&before) {
                return Ok(());
            }
            Err(format!("a reload; log:\n{}", self.log()))
        });
    }

    /// Writes something as a new configuration, has it read, and waits until it is refused.
    /// Returns what the log says about it.
    #[track_caller]
    pub(crate) fn reload_refused(&mut self, text: &str) -> String {
        self.write_config(text);
        self.refuse_reload()
    }

    /// Has the configuration read as it is on disk, and waits until it is refused.
    #[track_caller]
    pub(crate) fn refuse_reload(&mut self) -> String {
        self.expect_error("reload refused");
        let seen = self.log().len();
        self.signal(Signal::SIGHUP);
        eventually(|| {
            let log = self.log();
            let refusal = log[seen..]
                .lines()
                .find(|line| line.contains("reload refused"));
            refusal
                .map(str::to_owned)
                .ok_or(format!("a refusal in the log:\n{}", &log[seen..]))
        })
    }

    /// What `ringway check` says about the configuration as it is on disk, and its exit code.
    #[track_caller]
    pub(crate) fn check(&self) -> (Option<i32>, String) {
        let output = Command::new(env!("CARGO_BIN_EXE_ringway"))
            .args(["check", "--config"])
            .arg(self.config_path())
            .output()
            .unwrap();
        (output.status.code(), text(&output))
    }

    /// Replaces the file as a whole, and reads nothing.
    pub(crate) fn write_config(&self, text: &str) {
        let whole = self.directory.path().join("next.toml");
        fs::write(&whole, text).unwrap();
        fs::rename(&whole, self.config_path()).unwrap();
    }

    /// The file.
    pub(crate) fn config_path(&self) -> PathBuf {
        config_path(self.directory.path())
    }

    /// Waits until it has ended; nothing is looked at when it is dropped.
    #[track_caller]
    pub(crate) fn wait_for_exit(&mut self) -> ExitStatus {
        self.over = true;
        eventually(|| match self.child.try_wait().unwrap() {
            Some(status) => Ok(status),
            None => Err(format!("the end of the process; log:\n{}", self.log())),
        })
    }

    /// Whether it still runs.
    pub(crate) fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// Asserts that it is at rest as before, and has it end: called when it is dropped, and by
    /// tests that go on afterwards.
    #[track_caller]
    pub(crate) fn end(&mut self) {
        if std::mem::replace(&mut self.over, true) {
            return;
        }
        if let Some(baseline) = self.baseline.take() {
            gate::check(self, &baseline);
        }
        self.signal(Signal::SIGTERM);
        let status = self.wait_for_exit();
        assert!(
            status.success(),
            "ended with {status}; log:\n{}",
            self.log()
        );
        assert_eq!(self.unexpected_errors(), [""; 0], "errors in the log");
    }
}

impl Drop for Balancer {
    fn drop(&mut self) {
        let failed = thread::panicking() || {
            let ended = panic::catch_unwind(AssertUnwindSafe(|| self.end()));
            ended.is_err()
        };
        // By its id, and without effect when it has ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if failed {
            eprintln!("log of ringway:\n{}", self.log());
            assert!(
                thread::panicking(),
                "the balancer is not as it was before the test"
            );
        }
    }
}

fn config_path(directory: &Path) -> PathBuf {
    directory.join("ringway.toml")
}

fn log_path(directory: &Path) -> PathBuf {
    directory.join("log")
}
