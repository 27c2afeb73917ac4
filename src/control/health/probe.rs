//! One check of one server: connect, with a TLS handshake where the pool has TLS; over HTTP ask and
//! read the status line; of a MySQL server see the greeting, and finish the handshake.

use std::future::Future;
use std::net::SocketAddr;

use tokio::time::{Instant, timeout, timeout_at};

use super::status_line;
use crate::config::{Address, HealthCheck, HealthCheckKind};
use crate::control::connection::{Connection, Leave};
use crate::control::stream::{Broken, Stream};
use crate::limits::{CHECK_REST, CHECK_REST_READS, GREETING_BYTES_MAX, STATUS_LINE_BYTES};
use crate::mysql::probe::{HandshakeProbe, ProbeError};
use crate::tls::session::Session;

/// Why a check did not pass.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    #[error("no connection in time")]
    ConnectTimeout,
    #[error("connected, and no end of the TLS handshake in time")]
    HandshakeTimeout,
    #[error("connected, and no answer in time")]
    AnswerTimeout,
    #[error("closed the connection without an answer")]
    Closed,
    #[error("the answer is not HTTP")]
    NotHttp,
    #[error("HTTP status {0}")]
    Status(u16),
    #[error(transparent)]
    Mysql(#[from] ProbeError),
    /// A server counts this against the host that it hung up on.
    #[error("greeted, and closed the connection before the login was over")]
    Unfinished,
    #[error(transparent)]
    Broken(#[from] Broken),
}

/// Checks the server at `address` once, within the TLS session if one is given. What was seen, for
/// people.
pub(super) async fn probe(
    address: &Address,
    check: &HealthCheck,
    tls: Option<Session>,
    deadline: Instant,
) -> Result<String, Failure> {
    let address = &checked(address, check.port);
    let connecting = timeout_at(deadline, Connection::open(address, Leave::Abruptly));
    let connection = match connecting.await {
        Ok(Ok(connection)) => connection,
        Ok(Err(error)) => return Err(Broken::connecting(error).into()),
        Err(_) => return Err(Failure::ConnectTimeout),
    };
    match &check.kind {
        HealthCheckKind::Mysql => shake_hands(Stream::plain(connection), tls, deadline).await,
        HealthCheckKind::Tcp if tls.is_some() => {
            let mut stream = open(connection, tls, deadline).await?;
            stream.say_goodbye();
            tokio_uring::spawn(let_finish(stream));
            Ok("connected, with TLS".into())
        }
        HealthCheckKind::Tcp => Ok("connected".into()),
        HealthCheckKind::Http { path, host, expect } => {
            let mut stream = open(connection, tls, deadline).await?;
            let host = host.clone().unwrap_or_else(|| default_host(address));
            let request = request(path, &host);
            let status = in_time(deadline, ask(&mut stream, &request)).await?;
            tokio_uring::spawn(let_finish(stream));
            let mut expected = expect.iter();
            match expected.any(|&(from, to)| (from..=to).contains(&status)) {
                true => Ok(format!("HTTP status {status}")),
                false => Err(Failure::Status(status)),
            }
        }
    }
}

/// A connection over which everything is said, within the TLS session if one is given.
async fn open(
    connection: Connection,
    tls: Option<Session>,
    deadline: Instant,
) -> Result<Stream, Failure> {
    match tls {
        None => Ok(Stream::plain(connection)),
        Some(tls) => in_handshake(deadline, Stream::encrypted(connection, tls)).await,
    }
}

async fn in_handshake<T>(
    deadline: Instant,
    handshake: impl Future<Output = Result<T, Broken>>,
) -> Result<T, Failure> {
    let done = timeout_at(deadline, handshake).await;
    Ok(done.map_err(|_| Failure::HandshakeTimeout)??)
}

async fn in_time<T>(
    deadline: Instant,
    answer: impl Future<Output = Result<T, Failure>>,
) -> Result<T, Failure> {
    let answer = timeout_at(deadline, answer).await;
    answer.unwrap_or(Err(Failure::AnswerTimeout))
}

/// Sends a request and reads as much of the answer as tells its status.
async fn ask(stream: &mut Stream, request: &str) -> Result<u16, Failure> {
    stream.send(request.as_bytes()).await?;
    let mut answer = Vec::new();
    while answer.len() < STATUS_LINE_BYTES {
        let part = stream.receive(STATUS_LINE_BYTES).await?;
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

/// Greeting and goodbye of a MySQL server, with the TLS handshake between them where there is to be
/// one. It is up when it greets; that the login is finished is a part of the check, or the check
/// itself would get this host blocked.
async fn shake_hands(
    mut stream: Stream,
    mut tls: Option<Session>,
    deadline: Instant,
) -> Result<String, Failure> {
    let with_tls = if tls.is_some() { ", with TLS" } else { "" };
    let mut probe = HandshakeProbe::new(tls.is_some());
    let mut has_spoken = false;
    loop {
        let receiving = stream.receive(GREETING_BYTES_MAX as usize);
        let heard = in_time(deadline, async { Ok(receiving.await?) }).await?;
        if heard.is_empty() {
            return Err(match has_spoken {
                true => Failure::Unfinished,
                false => Failure::Closed,
            });
        }
        has_spoken = true;
        let mut out = Vec::new();
        let progress = probe.feed(&mut &heard[..], &mut out)?;
        if probe.goes_over_tls()
            && let Some(tls) = tls.take()
        {
            let responding = stream.respond_over_tls(out.into(), tls);
            in_handshake(deadline, responding).await?;
        } else if !out.is_empty() {
            in_time(deadline, async { Ok(stream.send(&out).await?) }).await?;
        }
        if let Some(version) = progress {
            return Ok(format!("MySQL protocol{with_tls}, {version}"));
        }
    }
}

/// Lets the server send the rest of its answer, as long as that is short: a reset in the middle of
/// it would fill its log with complaints, once per interval.
async fn let_finish(mut stream: Stream) {
    let rest = async {
        for _ in 0..CHECK_REST_READS {
            if stream
                .receive(STATUS_LINE_BYTES)
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
fn default_host(address: &Address) -> String {
    match address {
        Address::Tcp(address) => address.to_string(),
        Address::Unix(_) => "localhost".into(),
    }
}

/// Where a server is checked.
fn checked(address: &Address, port: Option<u16>) -> Address {
    match address {
        Address::Tcp(address) => {
            let port = port.unwrap_or(address.port());
            Address::Tcp(SocketAddr::new(address.ip(), port))
        }
        Address::Unix(path) => Address::Unix(path.clone()),
    }
}
