//! Thin wrappers of system calls that the worker makes directly on descriptors it owns by its close
//! protocol. Each does one call, takes plain descriptors, and says what it assumes.

#![allow(unsafe_code)]

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd, FromRawFd, IntoRawFd, OwnedFd, RawFd};
use std::time::Duration;

use socket2::{Domain, Protocol, SockAddr, SockRef, Socket, TcpKeepalive, Type};
use tokio::io::unix::AsyncFd;

use crate::worker::Pipe;

/// A non-blocking stream socket of the address's family, with `TCP_NODELAY` where it applies.
///
/// # Errors
/// socket(2): `EMFILE`, `ENFILE`, `ENOMEM`, or a family the host does not have.
pub(crate) fn stream_socket(address: &SockAddr) -> io::Result<RawFd> {
    let domain = address.domain();
    let protocol = (domain != Domain::UNIX).then_some(Protocol::TCP);
    let socket = Socket::new(domain, Type::STREAM.nonblocking().cloexec(), protocol)?;
    if protocol.is_some() {
        socket.set_tcp_nodelay(true)?;
        // Urgent data is data like any other; else the kernel keeps a byte of it aside.
        socket.set_out_of_band_inline(true)?;
    }
    Ok(socket.into_raw_fd())
}

/// Keepalive and `TCP_USER_TIMEOUT`, tcp(7). Failure is harmless: the session's own timeouts hold
/// without them, and a unix socket has neither.
pub(crate) fn tune(
    socket: RawFd,
    idle: Duration,
    interval: Duration,
    probes: u8,
    user_timeout: Duration,
) {
    let socket = borrow(socket);
    let socket = SockRef::from(&socket);
    let keepalive = TcpKeepalive::new()
        .with_time(idle)
        .with_interval(interval)
        .with_retries(probes.into());
    let _ = socket.set_tcp_keepalive(&keepalive);
    let _ = socket.set_tcp_user_timeout(Some(user_timeout));
}

/// Sets `TCP_DEFER_ACCEPT` of a listening socket, in seconds; 0: off. See tcp(7).
///
/// # Errors
/// setsockopt(2).
pub(crate) fn set_defer_accept(socket: RawFd, seconds: u32) -> io::Result<()> {
    let seconds = seconds as libc::c_int;
    // SAFETY: the kernel reads one int, which `seconds` is.
    let result = unsafe {
        libc::setsockopt(
            socket,
            libc::IPPROTO_TCP,
            libc::TCP_DEFER_ACCEPT,
            (&raw const seconds).cast(),
            size_of::<libc::c_int>() as libc::socklen_t,
        )
    };
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(())
    }
}

/// The next connection on a non-blocking listening socket, itself non-blocking.
///
/// # Errors
/// accept4(2); `EAGAIN` when none waits.
pub(crate) fn accept(socket: RawFd) -> io::Result<RawFd> {
    use nix::sys::socket::{SockFlag, accept4};
    Ok(accept4(
        socket,
        SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC,
    )?)
}

/// shutdown(2) with `SHUT_RD`, which makes the kernel refuse connections from here on. A unix socket
/// is all workers' and stays as it is.
pub(crate) fn stop_listening(socket: RawFd) {
    let socket = borrow(socket);
    let socket = SockRef::from(&socket);
    if socket.domain().is_ok_and(|domain| domain != Domain::UNIX) {
        let _ = socket.shutdown(std::net::Shutdown::Read);
    }
}

/// send(2), as far as there is room, without waiting for more.
pub(crate) fn send(socket: RawFd, bytes: &[u8]) -> io::Result<usize> {
    use nix::sys::socket::{MsgFlags, send};
    let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL;
    Ok(send(socket, bytes, flags)?)
}

/// shutdown(2) with `SHUT_WR`. It fails only where the peer has reset, which the next receive says.
pub(crate) fn finish_sending(socket: RawFd) {
    let _ = SockRef::from(&borrow(socket)).shutdown(std::net::Shutdown::Write);
}

/// Makes the close that follows send RST and drop what is unsent: `SO_LINGER` of 0, socket(7).
pub(crate) fn reset_on_close(socket: RawFd) {
    let _ = SockRef::from(&borrow(socket)).set_linger(Some(Duration::ZERO));
}

/// Closes a descriptor that this caller owns.
pub(crate) fn close(fd: RawFd) {
    assert!(fd >= 0, "only an open descriptor is closed");
    // SAFETY: the caller owns the descriptor and gives it up here; whoever calls twice would close
    // a stranger's, which the session's close protocol rules out by forgetting it.
    drop(unsafe { OwnedFd::from_raw_fd(fd) });
}

/// An empty non-blocking pipe of `bytes` capacity, or of what the system allows.
///
/// # Errors
/// pipe2(2).
pub(crate) fn pipe(bytes: usize) -> io::Result<Pipe> {
    use nix::fcntl::{FcntlArg, OFlag, fcntl};
    let (read, write) = nix::unistd::pipe2(OFlag::O_NONBLOCK | OFlag::O_CLOEXEC)?;
    // Refused above /proc/sys/fs/pipe-user-pages-soft: the default size works too.
    let _ = fcntl(&write, FcntlArg::F_SETPIPE_SZ(bytes as i32));
    Ok(Pipe::new(read.into_raw_fd(), write.into_raw_fd()))
}

/// Moves at most `len` bytes between a pipe and a non-blocking socket without copying them:
/// splice(2). 0 from a socket: its peer has finished sending.
///
/// # Errors
/// `EAGAIN` when nothing can be moved now; the socket's own errors.
pub(crate) fn splice(from: RawFd, to: RawFd, len: usize) -> io::Result<usize> {
    let flags = libc::SPLICE_F_MOVE | libc::SPLICE_F_NONBLOCK;
    let null = std::ptr::null_mut();
    // SAFETY: no memory is passed; the offsets are null, as pipes and sockets require.
    let moved = unsafe { libc::splice(from, null, to, null, len, flags) };
    usize::try_from(moved).map_err(|_| io::Error::last_os_error())
}

/// Bytes the peer has not acknowledged: `SIOCOUTQ`, tcp(7). 0 on error: then nothing can be waited
/// for.
pub(crate) fn unacknowledged(socket: RawFd) -> usize {
    let mut bytes: libc::c_int = 0;
    // SAFETY: SIOCOUTQ writes one int, which `bytes` is.
    let result = unsafe { libc::ioctl(socket, libc::TIOCOUTQ, &raw mut bytes) };
    if result < 0 { 0 } else { bytes.max(0) as usize }
}

/// Bytes the peer has acknowledged in all: `tcpi_bytes_acked`, tcp(7). On a unix socket, where a
/// send completes only as the peer reads, 0.
pub(crate) fn acknowledged(socket: RawFd) -> u64 {
    /// The field's offset in `struct tcp_info` of linux/tcp.h (since Linux 4.1).
    const BYTES_ACKED_OFFSET: usize = 120;
    let mut info = [0_u8; 256];
    let mut len = info.len() as libc::socklen_t;
    let pointer = info.as_mut_ptr().cast();
    // SAFETY: the kernel writes at most `len` bytes, the size of `info`.
    let result = unsafe {
        libc::getsockopt(
            socket,
            libc::IPPROTO_TCP,
            libc::TCP_INFO,
            pointer,
            &raw mut len,
        )
    };
    let end = BYTES_ACKED_OFFSET + size_of::<u64>();
    if result < 0 || (len as usize) < end {
        return 0;
    }
    let bytes = info[BYTES_ACKED_OFFSET..end]
        .try_into()
        .expect("eight bytes");
    u64::from_ne_bytes(bytes)
}

/// The peer's IP address and port; `None` for a unix socket or when the peer is gone.
pub(crate) fn peer(socket: RawFd) -> Option<SocketAddr> {
    SockRef::from(&borrow(socket)).peer_addr().ok()?.as_socket()
}

/// Whether a socket has a peer: getpeername(2) fails while a connection is only being tried.
pub(crate) fn is_connected(socket: RawFd) -> bool {
    SockRef::from(&borrow(socket)).peer_addr().is_ok()
}

/// Empties a non-blocking eventfd.
pub(crate) fn drain_eventfd(eventfd: RawFd) {
    let mut value = [0_u8; 8];
    let _ = nix::unistd::read(borrow(eventfd), &mut value);
}

/// Pins the calling thread to one CPU.
///
/// # Errors
/// sched_setaffinity(2).
pub(crate) fn pin_to_cpu(cpu: usize) -> io::Result<()> {
    use nix::sched::{CpuSet, sched_setaffinity};
    let mut set = CpuSet::new();
    set.set(cpu)?;
    Ok(sched_setaffinity(nix::unistd::Pid::from_raw(0), &set)?)
}

/// Readiness of a descriptor for a task on a tokio runtime: of a duplicate, which is the same to the
/// kernel and outlives nothing.
///
/// # Errors
/// dup(2), epoll_ctl(2).
pub(crate) fn readiness(descriptor: impl AsFd) -> io::Result<AsyncFd<OwnedFd>> {
    let duplicate = descriptor.as_fd().try_clone_to_owned()?;
    // SAFETY: an `OwnedFd` is open for as long as it lives, and always names the same descriptor.
    Ok(unsafe { AsyncFd::register(duplicate) }?)
}

fn borrow<'fd>(fd: RawFd) -> BorrowedFd<'fd> {
    assert!(fd >= 0, "only an open descriptor is used");
    // SAFETY: the caller owns the descriptor and keeps it open through the call it makes with the
    // borrow, which no caller in this file outlives.
    unsafe { BorrowedFd::borrow_raw(fd) }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::{TcpListener, TcpStream};
    use std::os::fd::AsRawFd;

    use super::*;

    #[test]
    fn acknowledged_bytes_are_counted() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (mut server, _) = listener.accept().unwrap();
        client.write_all(&[7; 5000]).unwrap();
        server.read_exact(&mut [0; 5000]).unwrap();
        while unacknowledged(client.as_raw_fd()) > 0 {
            std::thread::yield_now();
        }
        // The SYN counts as one byte in the kernel's arithmetic.
        assert!((5000..=5001).contains(&acknowledged(client.as_raw_fd())));
        assert_eq!(
            peer(client.as_raw_fd()),
            Some(listener.local_addr().unwrap())
        );
    }
}
