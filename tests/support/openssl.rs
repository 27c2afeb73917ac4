//! `openssl`: a client (`s_client`) that is not made of what ringway is made of, and an authority
//! that is asked about certificates (`ocsp`).

use std::fs;
use std::io::{Read, Write};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use super::authority::{Authority, Identity};
use super::tls::SITE;
use super::tools::{missing, text};
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

    /// Connects and wants [`SITE`], and believes this authority.
    #[track_caller]
    pub(crate) fn of_site(address: SocketAddr, authority: &Authority, more: &[&str]) -> Self {
        let ca = authority.file();
        let mut arguments = vec!["-CAfile", ca.to_str().unwrap(), "-servername", SITE];
        arguments.extend_from_slice(more);
        Self::connect(address, &arguments)
    }

    /// Types a line: to be sent, or one of its commands.
    #[track_caller]
    pub(crate) fn say(&mut self, line: &str) {
        let stdin = self.child.stdin.as_mut().expect("it still listens");
        // In one piece: it acts on the letter of a command, and may be gone before the line's end.
        stdin.write_all(format!("{line}\n").as_bytes()).unwrap();
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

    /// Types a line and waits for its echo.
    #[track_caller]
    pub(crate) fn expect_echo(&mut self, line: &str) {
        let from = self.output().len();
        self.say(line);
        self.wait_for(from, line);
    }

    /// Has it leave as it should. Returns all that it has printed.
    #[track_caller]
    pub(crate) fn leave(mut self) -> String {
        self.say("Q");
        self.wait_for_exit()
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

/// What an authority answers, in DER, when it is asked whether it has revoked a certificate.
#[track_caller]
pub(crate) fn ocsp_response(
    authority: &Authority,
    identity: &Identity,
    is_revoked: bool,
) -> Vec<u8> {
    let [index, response] = ["index", "response"].map(|name| authority.directory().join(name));
    // ca(1): the state, the end of its validity, when it was revoked, the serial number.
    let state = match is_revoked {
        true => "R\t400101000000Z\t200101000000Z",
        false => "V\t400101000000Z\t",
    };
    let entry = format!("{state}\t{:X}\tunknown\t/CN=any\n", identity.serial());
    fs::write(&index, entry).unwrap();
    let [ca, key] = [authority.file(), authority.key_file()];
    let output = Command::new("openssl")
        .args(["ocsp", "-no_nonce", "-ndays", "7", "-index"])
        .arg(&index)
        .arg("-CA")
        .arg(&ca)
        .arg("-rsigner")
        .arg(&ca)
        .arg("-rkey")
        .arg(key)
        .arg("-issuer")
        .arg(&ca)
        .arg("-cert")
        .arg(&identity.certificate_file)
        .arg("-respout")
        .arg(&response)
        .stdin(Stdio::null())
        .output()
        .unwrap_or_else(|error| missing("openssl", &error));
    fs::read(&response).unwrap_or_else(|error| panic!("no response: {error}: {}", text(&output)))
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
