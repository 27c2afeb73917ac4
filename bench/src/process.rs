//! Children: started on their CPUs, found with all their descendants, and ended for certain.

use std::fs::{self, File};
use std::io;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use nix::errno::Errno;
use nix::sched::{CpuSet, sched_setaffinity};
use nix::sys::prctl;
use nix::sys::signal::{Signal, kill, killpg};
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid};
use nix::unistd::Pid;

/// How long a child may take to end after SIGTERM.
const STOP_DEADLINE: Duration = Duration::from_secs(3);

/// A running child that leads its own process group. Dropping it ends the whole group.
pub(crate) struct Managed {
    name: String,
    child: Child,
    log: PathBuf,
}

impl Managed {
    /// Both outputs go to `log`, whose end is part of the error if the child fails.
    pub(crate) fn spawn(
        name: &str,
        mut command: Command,
        cpus: &CpuSet,
        log: &Path,
    ) -> Result<Self> {
        let file = File::create(log).with_context(|| format!("cannot write {}", log.display()))?;
        command
            .stdin(Stdio::null())
            .stdout(file.try_clone()?)
            .stderr(file);
        prepare(&mut command, cpus);
        let child = command
            .spawn()
            .with_context(|| format!("cannot start {name} ({:?})", command.get_program()))?;
        Ok(Self {
            name: name.to_owned(),
            child,
            log: log.to_owned(),
        })
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn pid(&self) -> Pid {
        pid_of(&self.child)
    }

    /// The child and all its descendants: a product may consist of several processes.
    pub(crate) fn pids(&self) -> Result<Vec<Pid>> {
        with_descendants(self.pid())
    }

    pub(crate) fn has_ended(&mut self) -> bool {
        matches!(self.exit_status(), Ok(Some(_)) | Err(_))
    }

    /// `None` while it runs.
    pub(crate) fn exit_status(&mut self) -> io::Result<Option<ExitStatus>> {
        self.child.try_wait()
    }

    /// Everything that the child has written so far.
    pub(crate) fn output(&self) -> String {
        let bytes = fs::read(&self.log).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// What the child said last, for an error message.
    pub(crate) fn last_words(&self) -> String {
        const LINES: usize = 5;
        let text = self.output();
        let lines: Vec<_> = text
            .lines()
            .filter(|line| !line.trim().is_empty())
            .collect();
        if lines.is_empty() {
            return "it said nothing".to_owned();
        }
        lines[lines.len().saturating_sub(LINES)..].join("\n")
    }
}

impl Drop for Managed {
    fn drop(&mut self) {
        end_group(&mut self.child);
    }
}

/// Puts the child into a group of its own on its CPUs, and ties its life to this process.
///
/// The group keeps a Ctrl-C on the terminal away from the children: the runner ends them in order.
/// The parent-death signal is for the case that the runner is killed and cannot; it is SIGTERM,
/// because nginx passes that on to its workers.
pub(crate) fn prepare(command: &mut Command, cpus: &CpuSet) {
    let cpus = *cpus;
    command.process_group(0);
    // SAFETY: between fork and exec only async-signal-safe calls are allowed. Both are plain
    // system calls on data that was copied before the fork.
    #[allow(unsafe_code)]
    unsafe {
        command.pre_exec(move || {
            prctl::set_pdeathsig(Signal::SIGTERM)?;
            sched_setaffinity(Pid::from_raw(0), &cpus)?;
            Ok(())
        });
    }
}

/// Asks the child to end, waits, and then kills whatever is left of its group.
///
/// The group is killed while its leader is still a zombie: until it is reaped, its id cannot
/// belong to anybody else.
pub(crate) fn end_group(child: &mut Child) -> Option<ExitStatus> {
    if let Ok(Some(status)) = child.try_wait() {
        return Some(status);
    }
    let pid = pid_of(child);
    kill(pid, Signal::SIGTERM).ok();
    let deadline = Instant::now() + STOP_DEADLINE;
    while is_running(pid) && Instant::now() < deadline {
        thread::sleep(Duration::from_millis(2));
    }
    killpg(pid, Signal::SIGKILL).ok();
    child.wait().ok()
}

fn is_running(pid: Pid) -> bool {
    let flags = WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT;
    match waitid(Id::Pid(pid), flags) {
        Ok(WaitStatus::StillAlive) | Err(Errno::EINTR) => true,
        Ok(_) | Err(_) => false,
    }
}

fn pid_of(child: &Child) -> Pid {
    Pid::from_raw(child.id() as i32)
}

fn with_descendants(root: Pid) -> Result<Vec<Pid>> {
    let parents = parents_by_pid()?;
    let mut family = vec![root];
    let mut next = 0;
    while next < family.len() {
        let parent = family[next];
        family.extend(
            parents
                .iter()
                .filter(|(_, p)| *p == parent)
                .map(|(pid, _)| *pid),
        );
        next += 1;
    }
    Ok(family)
}

fn parents_by_pid() -> Result<Vec<(Pid, Pid)>> {
    let mut parents = Vec::new();
    for entry in fs::read_dir("/proc").context("cannot list /proc")? {
        let name = entry?.file_name();
        let Some(pid) = name.to_str().and_then(|name| name.parse().ok()) else {
            continue;
        };
        // A process may end between the listing and the reading.
        let Ok(stat) = fs::read_to_string(format!("/proc/{pid}/stat")) else {
            continue;
        };
        if let Some(parent) = parent_in_stat(&stat) {
            parents.push((Pid::from_raw(pid), Pid::from_raw(parent)));
        }
    }
    Ok(parents)
}

/// The fourth field of `/proc/PID/stat`, proc_pid_stat(5). The second one, the name, may hold
/// spaces and parentheses, so counting begins after its last parenthesis.
fn parent_in_stat(stat: &str) -> Option<i32> {
    let (_, after_name) = stat.rsplit_once(')')?;
    after_name.split_whitespace().nth(1)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parent_is_found_behind_a_name_with_spaces_and_parentheses() {
        assert_eq!(parent_in_stat("42 (a) b) (c)) S 7 42 42 0 -1"), Some(7));
        assert_eq!(parent_in_stat("garbage"), None);
    }

    #[test]
    fn grandchildren_are_counted_and_ended_with_their_parent() {
        let dir = tempfile::tempdir().unwrap();
        let mut command = Command::new("sh");
        command.args(["-c", "sleep 60 & sleep 60 & wait"]);
        let cpus = nix::sched::sched_getaffinity(Pid::this()).unwrap();
        let child = Managed::spawn("sh", command, &cpus, &dir.path().join("log")).unwrap();
        let deadline = Instant::now() + Duration::from_secs(5);
        while child.pids().unwrap().len() < 3 && Instant::now() < deadline {
            thread::sleep(Duration::from_millis(5));
        }
        let pids = child.pids().unwrap();
        assert_eq!(pids.len(), 3);
        drop(child);
        // Grandchildren belong to init now, which reaps them when it gets to it.
        while pids.iter().any(|&pid| is_alive(pid)) && Instant::now() < deadline {
            thread::sleep(Duration::from_millis(5));
        }
        assert!(!pids.iter().any(|&pid| is_alive(pid)));
    }

    fn is_alive(pid: Pid) -> bool {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        stat.rsplit_once(')')
            .is_some_and(|(_, rest)| !rest.trim_start().starts_with('Z'))
    }
}
