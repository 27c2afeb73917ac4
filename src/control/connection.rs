//! A connection of the control thread's own to a server, for checks and monitors. Connecting is
//! tokio's, which can be cancelled; the exchange is tokio-uring's.

use std::io;
use std::net::{Shutdown, SocketAddr};
use std::os::fd::{AsFd, AsRawFd};
use std::path::Path;
use std::time::Duration;

use nix::sys::socket::{MsgFlags, send};
use socket2::SockRef;
use tokio_uring::net::{TcpStream, UnixStream};

use crate::config::Address;

/// A connection on the control thread's ring.
pub(super) enum Connection {
    Tcp(TcpStream),
    Unix(UnixStream),
}

/// How a connection is closed when it is dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Leave {
    /// With a reset: whoever closes first keeps a port in `TIME_WAIT`, and for checks that would be
    /// the balancer, once per server and interval.
    Abruptly,
    /// What was sent before still arrives.
    Orderly,
}

impl Connection {
    pub(super) async fn open(address: &Address, leave: Leave) -> io::Result<Self> {
        match address {
            Address::Tcp(address) => Self::open_tcp(*address, leave).await,
            Address::Unix(path) => Self::open_unix(path).await,
        }
    }

    async fn open_tcp(address: SocketAddr, leave: Leave) -> io::Result<Self> {
        let stream = tokio::net::TcpStream::connect(address).await?.into_std()?;
        if leave == Leave::Abruptly {
            SockRef::from(&stream).set_linger(Some(Duration::ZERO))?;
        }
        leave_waiting_to_the_ring(&stream)?;
        Ok(Self::Tcp(TcpStream::from_std(stream)))
    }

    async fn open_unix(path: &Path) -> io::Result<Self> {
        let stream = tokio::net::UnixStream::connect(path).await?.into_std()?;
        leave_waiting_to_the_ring(&stream)?;
        Ok(Self::Unix(UnixStream::from_std(stream)))
    }

    pub(super) async fn send(&self, bytes: Vec<u8>) -> io::Result<()> {
        match self {
            Self::Tcp(stream) => stream.write_all(bytes).await.0,
            Self::Unix(stream) => stream.write_all(bytes).await.0,
        }
    }

    /// What there is, at most `bytes_max`; nothing at the end of the stream.
    pub(super) async fn receive(&self, bytes_max: usize) -> io::Result<Vec<u8>> {
        let buffer = Vec::with_capacity(bytes_max);
        let (received, mut buffer) = match self {
            Self::Tcp(stream) => stream.read(buffer).await,
            Self::Unix(stream) => stream.read(buffer).await,
        };
        buffer.truncate(received?);
        Ok(buffer)
    }

    /// Sends last words without waiting for anything. Should the kernel not take them, nobody is
    /// told: the connection is about to go.
    pub(super) fn send_last(&self, bytes: &[u8]) {
        let socket = match self {
            Self::Tcp(stream) => stream.as_raw_fd(),
            Self::Unix(stream) => stream.as_raw_fd(),
        };
        let _ = send(
            socket,
            bytes,
            MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL,
        );
    }
}

/// Waiting is the ring's. On a non-blocking socket it would answer EAGAIN instead.
fn leave_waiting_to_the_ring(socket: &impl AsFd) -> io::Result<()> {
    SockRef::from(&socket.as_fd()).set_nonblocking(false)
}

impl Drop for Connection {
    /// The ring keeps a socket open until the operations on it have completed, also those that
    /// nobody waits for any more. This completes them: at the deadline, or when whoever waited is
    /// gone.
    fn drop(&mut self) {
        let _ = match self {
            Self::Tcp(stream) => stream.shutdown(Shutdown::Both),
            Self::Unix(stream) => stream.shutdown(Shutdown::Both),
        };
    }
}
