//! What tidies up after a test program: for what its tests share, which is never dropped.

use std::path::Path;
use std::process::{Command, Stdio};

/// Kills this process, which was started with the directory in its arguments, and removes the
/// directory once this program is gone, however it went: a shell waits for the end of its input,
/// which comes then and not before. By then the process may be over and its number another one's.
pub(crate) fn after_this_program(process: u32, directory: &Path) {
    let script = "cat
        if grep --quiet --fixed-strings \"${2##*/}\" \"/proc/$1/cmdline\"; then
            kill -KILL \"$1\"
        fi
        rm -rf \"$2\"";
    let janitor = Command::new("sh")
        .args(["-c", script, "sh", &process.to_string()])
        .arg(directory)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    // Its input stays open as long as this program.
    std::mem::forget(janitor);
}
