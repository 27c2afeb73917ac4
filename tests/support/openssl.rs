//! `openssl s_client`: a client that is not made of what ringway is made of.

use std::io::{Read, Write};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use super::tools::missing;
use super::wait::eventually;

/// A client that is connected until it is dropped, or leaves by itself.
pub(crate) struct SClient {
    child: Child,
    /// What it has printed, received bytes and messages alike.
    output: Arc<Mutex<Vec<u8>>>,
}

impl SClient {
    /// Connects, with more arguments.
    #[track_caller]
    pub(crate) fn connect(address: SocketAddr, arguments: &[&str]) -> Self {
        let mut child = Command::new("openssl")
            .args(["s_client", "-connect", &address.to_string()])
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| missing("openssl", &error));
        let output = Arc::default();
        collect(child.stdout.take().unwrap(), &output);
        collect(child.stderr.take().unwrap(), &output);
        Self { child, output }
    }

    /// Types a line: to be sent, or one of its commands.
    #[track_caller]
    pub(crate) fn say(&mut self, line: &str) {
        let stdin = self.child.stdin.as_mut().expect("it still listens");
        writeln!(stdin, "{line}").unwrap();
    }

    /// Waits until it has printed this text, which it had not before `from`. Returns where the
    /// text ends.
    #[track_caller]
    pub(crate) fn wait_for(&self, from: usize, text: &str) -> usize {
        eventually(|| {
            let output = self.output();
            let found = output.get(from..).and_then(|output| output.find(text));
            found
                .map(|at| from + at + text.len())
                .ok_or(format!("{text:?} from openssl:\n{output}"))
        })
    }

    /// Waits until the handshake is done and everything about it is printed.
    #[track_caller]
    pub(crate) fn wait_connected(&self) -> String {
        self.wait_for(0, "Verify return code: 0 (ok)");
        self.output()
    }

    /// Waits until it has ended by itself. Returns all that it has printed.
    #[track_caller]
    pub(crate) fn wait_for_exit(mut self) -> String {
        eventually(|| match self.child.try_wait().unwrap() {
            Some(_) => Ok(()),
            None => Err(format!("the end of openssl:\n{}", self.output())),
        });
        // Both threads hold it until they have read everything.
        eventually(|| match Arc::strong_count(&self.output) {
            1 => Ok(()),
            _ => Err("all that openssl has printed".to_owned()),
        });
        self.output()
    }

    /// What it has printed.
    pub(crate) fn output(&self) -> String {
        let output = self.output.lock().unwrap_or_else(PoisonError::into_inner);
        String::from_utf8_lossy(&output).into_owned()
    }
}

impl Drop for SClient {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn collect(mut from: impl Read + Send + 'static, to: &Arc<Mutex<Vec<u8>>>) {
    let to = Arc::clone(to);
    thread::spawn(move || {
        let mut buffer = [0; 4096];
        while let Ok(some @ 1..) = from.read(&mut buffer) {
            let mut output = to.lock().unwrap_or_else(PoisonError::into_inner);
            output.extend_from_slice(&buffer[..some]);
        }
    });
}
