//! System calls that fail, as under a container's seccomp profile.

use std::io;
use std::os::unix::process::CommandExt;
use std::process::Command;

/// Has `io_uring_setup` fail with this error in the command's process.
#[allow(unsafe_code)]
pub(crate) fn deny_io_uring(command: &mut Command, errno: i32) {
    let filter = filter(libc::SYS_io_uring_setup as u32, errno as u32);
    // SAFETY: between fork and exec the closure makes two system calls and allocates nothing.
    unsafe { command.pre_exec(move || install(&filter)) };
}

/// A program of seccomp(2) that fails one system call and allows the others.
fn filter(call: u32, errno: u32) -> [libc::sock_filter; 4] {
    let step = |code: u32, jt, jf, k| libc::sock_filter {
        code: code as u16,
        jt,
        jf,
        k,
    };
    let number_at = std::mem::offset_of!(libc::seccomp_data, nr) as u32;
    let fail = libc::SECCOMP_RET_ERRNO | (errno & libc::SECCOMP_RET_DATA);
    [
        step(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0, number_at),
        step(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, 0, 1, call),
        step(libc::BPF_RET | libc::BPF_K, 0, 0, fail),
        step(libc::BPF_RET | libc::BPF_K, 0, 0, libc::SECCOMP_RET_ALLOW),
    ]
}

#[allow(unsafe_code)]
fn install(filter: &[libc::sock_filter]) -> io::Result<()> {
    let program = libc::sock_fprog {
        len: filter.len() as u16,
        filter: filter.as_ptr().cast_mut(),
    };
    // SAFETY: prctl(2) with PR_SET_NO_NEW_PRIVS takes no pointer.
    let no_new_privileges = unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) };
    if no_new_privileges != 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: `program` and the filter it points to live until the call returns, which copies them.
    let installed = unsafe {
        libc::prctl(
            libc::PR_SET_SECCOMP,
            libc::SECCOMP_MODE_FILTER,
            &raw const program,
        )
    };
    if installed != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}
