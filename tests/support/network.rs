//! A network of one's own: a namespace that only one test's threads and processes are in.

use std::fs;
use std::panic;
use std::process::Command;
use std::thread;

use nix::sched::{CloneFlags, unshare};
use tempfile::TempDir;

/// An address whose failures MySQL servers count, as they do not those of 127.0.0.1.
pub(crate) const COUNTED: &str = "10.77.0.1";

/// Runs a test in a fresh network namespace with a loopback interface. It goes with the test.
#[track_caller]
pub(crate) fn in_own_network(test: impl FnOnce() + Send) {
    let outcome = thread::scope(|scope| {
        // A namespace is a thread's; threads and processes made in it inherit it.
        let inside = scope.spawn(|| {
            unshare(CloneFlags::CLONE_NEWNET).unwrap_or_else(|error| {
                panic!("these tests need root, for network namespaces of their own: {error}")
            });
            run("ip link set lo up");
            test();
        });
        inside.join()
    });
    if let Err(panic) = outcome {
        panic::resume_unwind(panic);
    }
}

/// Makes [`COUNTED`] in the network of the test's own, as long as what is returned is kept. A server
/// keeps its counts for addresses that it can name.
#[track_caller]
pub(crate) fn make_counted_address() -> TempDir {
    let directory = TempDir::new().unwrap();
    unshare(CloneFlags::CLONE_NEWNS).expect("root, for a mount namespace");
    let hosts = directory.path().join("hosts");
    fs::write(&hosts, format!("127.0.0.1 localhost\n{COUNTED} balancer\n")).unwrap();
    run("mount --make-rprivate /");
    run(&format!("mount --bind {} /etc/hosts", hosts.display()));
    run(&format!("ip address add {COUNTED}/32 dev lo"));
    directory
}

/// Runs a command, which has to succeed; returns what it prints.
#[track_caller]
pub(crate) fn run(command: &str) -> String {
    let output = Command::new("sh")
        .args(["-c", command])
        .output()
        .unwrap_or_else(|error| panic!("cannot run {command}: {error}"));
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success(),
        "{command}: {complaint} (tests/all installs what is missing)"
    );
    String::from_utf8_lossy(&output.stdout).into_owned()
}
