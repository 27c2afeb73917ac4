//! `TCP_DEFER_ACCEPT` on a listening socket of another process.
//!
//! nginx stream has no setting for it before 1.25.5, which is newer than what distributions ship,
//! and the comparison is only fair when every product listens with the same options.

use std::os::fd::{AsRawFd, OwnedFd};
use std::{fs, io};

use anyhow::{Context, Result, bail};
use nix::unistd::Pid;
use rustix::process::{PidfdFlags, PidfdGetfdFlags, pidfd_getfd, pidfd_open};
use socket2::SockRef;

/// Sets the option on the socket with which `pid` listens on `port`. Processes that have inherited
/// the socket share it, so one of them is enough.
pub(crate) fn defer_accept_of(pid: Pid, port: u16) -> Result<()> {
    let listener = listener_of(pid, port).with_context(|| {
        format!(
            "cannot reach the listening socket of process {pid} (pidfd_getfd needs ptrace rights)"
        )
    })?;
    set_defer_accept(&listener).context("cannot set TCP_DEFER_ACCEPT")
}

fn listener_of(pid: Pid, port: u16) -> Result<OwnedFd> {
    let rustix_pid = rustix::process::Pid::from_raw(pid.as_raw()).context("no such process")?;
    let process = pidfd_open(rustix_pid, PidfdFlags::empty())?;
    for entry in fs::read_dir(format!("/proc/{pid}/fd"))? {
        let entry = entry?;
        let is_socket = fs::read_link(entry.path())?
            .to_string_lossy()
            .starts_with("socket:");
        let Some(number) = entry
            .file_name()
            .to_str()
            .and_then(|name| name.parse().ok())
        else {
            continue;
        };
        if !is_socket {
            continue;
        }
        let fd = pidfd_getfd(&process, number, PidfdGetfdFlags::empty())?;
        if listens_on(&fd, port) {
            return Ok(fd);
        }
    }
    bail!("it does not listen on port {port}")
}

fn listens_on(fd: &OwnedFd, port: u16) -> bool {
    let socket = SockRef::from(fd);
    let local_port = socket
        .local_addr()
        .ok()
        .and_then(|address| address.as_socket()?.port().into());
    socket.is_listener().unwrap_or(false) && local_port == Some(port)
}

fn set_defer_accept(fd: &OwnedFd) -> io::Result<()> {
    let seconds: libc::c_int = 1;
    // SAFETY: the descriptor is open, and the option's value is a C int that outlives the call.
    #[allow(unsafe_code)]
    let result = unsafe {
        libc::setsockopt(
            fd.as_raw_fd(),
            libc::IPPROTO_TCP,
            libc::TCP_DEFER_ACCEPT,
            (&raw const seconds).cast(),
            size_of_val(&seconds) as libc::socklen_t,
        )
    };
    if result == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn own_listener_is_found_by_its_port() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        defer_accept_of(Pid::this(), port).unwrap();
        drop(listener);
        assert!(defer_accept_of(Pid::this(), port).is_err());
    }
}
