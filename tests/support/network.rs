//! A network of one's own: a namespace that only one test's threads and processes are in.

use std::panic;
use std::process::Command;
use std::thread;

use nix::sched::{CloneFlags, unshare};

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
