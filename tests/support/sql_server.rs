//! A database server of the tests' own, of whichever product: started, spoken to as its root, killed.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;

use super::janitor;
use super::ports::Port;
use super::wait::until;

/// What servers of one product are, and those of another are not.
#[derive(Debug)]
pub(crate) struct Product {
    /// What it is called, and where its programs come from.
    pub(crate) name: &'static str,
    /// The server's program ...
    pub(crate) server: fn() -> Command,
    /// ... and what each is started with.
    pub(crate) options: &'static [&'static str],
    /// The command line of its client, which prints nothing but values.
    pub(crate) client: fn() -> Command,
    /// How a path reads to its programs.
    pub(crate) path: fn(&Path) -> String,
}

/// A server with a data directory of its own. It ends when it is dropped, or with this program: the
/// tests of a program share some that are never dropped.
#[derive(Debug)]
pub(crate) struct SqlServer {
    product: &'static Product,
    child: Child,
    directory: TempDir,
    port: Port,
    words: Vec<String>,
}

impl SqlServer {
    /// Starts one with this `server_id` and these further options, on the `data` that is in its
    /// directory.
    pub(crate) fn spawn(
        product: &'static Product,
        directory: TempDir,
        server_id: u32,
        options: &[&str],
    ) -> Self {
        let path = |name: &str| (product.path)(&directory.path().join(name));
        let port = Port::reserve();
        let mut words: Vec<_> = product
            .options
            .iter()
            .map(|&word| word.to_owned())
            .collect();
        words.extend([
            "--bind-address=127.0.0.1".to_owned(),
            format!("--datadir={}", path("data")),
            format!("--socket={}", path("socket")),
            format!("--port={}", port.number()),
            format!("--server-id={server_id}"),
            "--max-allowed-packet=64M".to_owned(),
        ]);
        words.extend(options.iter().map(|&option| option.to_owned()));
        let server = Self {
            child: run(product, &words),
            product,
            directory,
            port,
            words,
        };
        server.end_with_this_program();
        server
    }

    fn end_with_this_program(&self) {
        janitor::after_this_program(self.child.id(), self.directory.path());
    }

    /// Waits until it takes statements.
    pub(crate) fn wait_until_it_answers(&self) {
        let name = self.product.name;
        until(&format!("{name} answers"), || {
            self.run("SELECT 1").status.success()
        });
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.port.v4()
    }

    /// What is its own, its `data` among it.
    pub(crate) fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// Runs statements as its root, past everything; what they print.
    #[track_caller]
    pub(crate) fn sql(&self, statements: &str) -> String {
        let output = self.run(statements);
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    fn run(&self, statements: &str) -> Output {
        let socket = (self.product.path)(&self.directory.path().join("socket"));
        let mut client = (self.product.client)();
        client.args(["--user=root", &format!("--socket={socket}")]);
        client.args(["--execute", statements]);
        let output = client.output();
        output.unwrap_or_else(|error| panic!("{}: {error}", self.product.name))
    }

    /// Ends it, without a goodbye.
    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Starts it again after [`Self::kill`], as it was.
    #[track_caller]
    pub(crate) fn start_again(&mut self) {
        self.child = run(self.product, &self.words);
        self.end_with_this_program();
        self.wait_until_it_answers();
    }

    /// Stops it and continues it, as a machine does that is stuck. Once it is stopped, none of its
    /// threads runs any more.
    #[track_caller]
    pub(crate) fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.child.id() as i32), signal).unwrap();
        if signal == Signal::SIGSTOP {
            until("every thread has stopped", || self.is_stopped());
        }
    }

    fn is_stopped(&self) -> bool {
        let tasks = fs::read_dir(format!("/proc/{}/task", self.child.id())).unwrap();
        let states = tasks.map(|task| fs::read_to_string(task.unwrap().path().join("status")));
        states.flatten().all(|status| status.contains("State:\tT"))
    }
}

impl Drop for SqlServer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn run(product: &Product, words: &[String]) -> Child {
    let mut server = (product.server)();
    let server = server.args(words).stdin(Stdio::null());
    let started = server.stdout(Stdio::null()).stderr(Stdio::null()).spawn();
    started.unwrap_or_else(|error| panic!("{}: {error}", product.name))
}

/// Copies a data directory, which is far less work than making one.
pub(crate) fn copy(from: &Path, to: &Path) {
    let copied = Command::new("cp")
        .args(["-a", "--sparse=always"])
        .args([from, to])
        .output()
        .unwrap();
    assert!(copied.status.success(), "{copied:?}");
}

/// A name for what is made from these bytes, so that it can be kept until they change (FNV-1a).
pub(crate) fn fingerprint(bytes: &[u8]) -> String {
    let hash = bytes.iter().fold(0xCBF2_9CE4_8422_2325_u64, |hash, &byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01B3)
    });
    format!("{hash:x}")
}
