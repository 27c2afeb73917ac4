//! One check of one server: connect, and over HTTP ask and read the status line.

use std::io;
use std::net::{Shutdown, SocketAddr};
use std::os::fd::AsFd;
use std::path::Path;
use std::time::Duration;

use socket2::SockRef;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_uring::net::{TcpStream, UnixStream};

use super::status_line;
use crate::config::{Address, HealthCheck, HealthCheckKind};
use crate::limits::{CHECK_REST, CHECK_REST_READS, STATUS_LINE_BYTES};

/// Why a check did not pass.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    #[error("connecting failed: {0}")]
    Connect(io::Error),
    #[error("no connection in time")]
    ConnectTimeout,
    #[error("connected, and no answer in time")]
    AnswerTimeout,
    #[error("connected, then: {0}")]
    Lost(io::Error),
    #[error("closed the connection without an answer")]
    Closed,
    #[error("the answer is not HTTP")]
    NotHttp,
    #[error("HTTP status {0}")]
    Status(u16),
    /// This host could not make the check.
    #[error("could not be checked: {0}")]
    Host(io::Error),
}

impl Failure {
    /// Tells the server's failures from those of this host: no descriptors, ports or memory left,
    /// or a firewall rule of its own.
    fn connecting(error: io::Error) -> Self {
        let of_this_host = [
            libc::EMFILE,
            libc::ENFILE,
            libc::ENOBUFS,
            libc::ENOMEM,
            libc::EADDRNOTAVAIL,
            libc::EPERM,
            libc::EACCES,
            libc::EAFNOSUPPORT,
        ];
        match error.raw_os_error() {
            Some(errno) if of_this_host.contains(&errno) => Self::Host(error),
            _ => Self::Connect(error),
        }
    }
}

/// Checks the server at `address` once. What was seen, for people.
///
/// Connecting is tokio's, which can be cancelled; the exchange is tokio-uring's.
pub(super) async fn probe(
    address: &Address,
    check: &HealthCheck,
    deadline: Instant,
) -> Result<String, Failure> {
    let connecting = timeout_at(deadline, Connection::open(address, check.port));
    let connection = match connecting.await {
        Ok(Ok(connection)) => connection,
        Ok(Err(error)) => return Err(Failure::connecting(error)),
        Err(_) => return Err(Failure::ConnectTimeout),
    };
    let HealthCheckKind::Http { path, host, expect } = &check.kind else {
        return Ok("connected".into());
    };
    let host = host
        .clone()
        .unwrap_or_else(|| default_host(address, check.port));
    let status = match timeout_at(deadline, connection.ask(&request(path, &host))).await {
        Ok(status) => status?,
        Err(_) => return Err(Failure::AnswerTimeout),
    };
    tokio_uring::spawn(let_finish(connection));
    if expect
        .iter()
        .any(|&(from, to)| (from..=to).contains(&status))
    {
        Ok(format!("HTTP status {status}"))
    } else {
        Err(Failure::Status(status))
    }
}

/// Lets the server send the rest of its answer, as long as that is short: a reset in the middle of
/// it would fill its log with complaints, once per interval.
async fn let_finish(connection: Connection) {
    let rest = async {
        for _ in 0..CHECK_REST_READS {
            if connection
                .receive()
                .await
                .is_ok_and(|part| !part.is_empty())
            {
                continue;
            }
            return;
        }
    };
    let _ = timeout(CHECK_REST, rest).await;
}

fn request(path: &str, host: &str) -> String {
    format!(
        "GET {path} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: ringway/{} (health check)\r\n\
         Accept: */*\r\nConnection: close\r\n\r\n",
        env!("CARGO_PKG_VERSION")
    )
}

/// RFC 9110, section 7.2: the authority asked for; a unix socket has none.
fn default_host(address: &Address, port: Option<u16>) -> String {
    match address {
        Address::Tcp(address) => with_port(*address, port).to_string(),
        Address::Unix(_) => "localhost".into(),
    }
}

fn with_port(mut address: SocketAddr, port: Option<u16>) -> SocketAddr {
    address.set_port(port.unwrap_or(address.port()));
    address
}

/// A connection to a server, on the control thread's ring.
enum Connection {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Connection {
    async fn open(address: &Address, port: Option<u16>) -> io::Result<Self> {
        match address {
            Address::Tcp(address) => Self::open_tcp(with_port(*address, port)).await,
            Address::Unix(path) => Self::open_unix(path).await,
        }
    }

    async fn open_tcp(address: SocketAddr) -> io::Result<Self> {
        let stream = tokio::net::TcpStream::connect(address).await?.into_std()?;
        // A check that has its answer resets: whoever closes first keeps a port in TIME_WAIT, and
        // that would be the balancer, once per server and interval.
        SockRef::from(&stream).set_linger(Some(Duration::ZERO))?;
        leave_waiting_to_the_ring(&stream)?;
        Ok(Self::Tcp(TcpStream::from_std(stream)))
    }

    async fn open_unix(path: &Path) -> io::Result<Self> {
        let stream = tokio::net::UnixStream::connect(path).await?.into_std()?;
        leave_waiting_to_the_ring(&stream)?;
        Ok(Self::Unix(UnixStream::from_std(stream)))
    }

    /// Sends a request and reads as much of the answer as tells its status.
    async fn ask(&self, request: &str) -> Result<u16, Failure> {
        self.send(request.as_bytes().to_vec())
            .await
            .map_err(Failure::Lost)?;
        let mut answer = Vec::new();
        while answer.len() < STATUS_LINE_BYTES {
            let part = self.receive().await.map_err(Failure::Lost)?;
            if part.is_empty() {
                return Err(if answer.is_empty() {
                    Failure::Closed
                } else {
                    Failure::NotHttp
                });
            }
            answer.extend_from_slice(&part);
            match status_line::parse(&answer) {
                Ok(Some(status)) => return Ok(status),
                Ok(None) => {}
                Err(status_line::NotHttp) => break,
            }
        }
        Err(Failure::NotHttp)
    }

    async fn send(&self, bytes: Vec<u8>) -> io::Result<()> {
        match self {
            Self::Tcp(stream) => stream.write_all(bytes).await.0,
            Self::Unix(stream) => stream.write_all(bytes).await.0,
        }
    }

    async fn receive(&self) -> io::Result<Vec<u8>> {
        let buffer = Vec::with_capacity(STATUS_LINE_BYTES);
        let (received, mut buffer) = match self {
            Self::Tcp(stream) => stream.read(buffer).await,
            Self::Unix(stream) => stream.read(buffer).await,
        };
        buffer.truncate(received?);
        Ok(buffer)
    }
}

/// Waiting is the ring's. On a non-blocking socket it would answer EAGAIN instead.
fn leave_waiting_to_the_ring(socket: &impl AsFd) -> io::Result<()> {
    SockRef::from(&socket.as_fd()).set_nonblocking(false)
}

impl Drop for Connection {
    /// The ring keeps a socket open until the operations on it have completed, also those that
    /// nobody waits for any more. This completes them: at the deadline, or when the check is
    /// abandoned.
    fn drop(&mut self) {
        let _ = match self {
            Self::Tcp(stream) => stream.shutdown(Shutdown::Both),
            Self::Unix(stream) => stream.shutdown(Shutdown::Both),
        };
    }
}
