//! A connection of the control thread's own on which what is said may be encrypted.

use std::io;
use std::mem;

use zeroize::Zeroizing;

use super::connection::Connection;
use crate::limits::{TLS_PLAINTEXT_BYTES_MAX, TLS_RECORD_BYTES_MAX};
use crate::mysql::handshake::{Upgraded, upgrade};
use crate::tls::session::{Failure, RECORD_OVERHEAD_BYTES, Session};

/// A connection, and TLS on it where there is any.
pub(super) struct Stream {
    connection: Connection,
    tls: Option<Session>,
    /// What has been decrypted and nobody has asked for yet.
    heard: Vec<u8>,
}

/// Why nothing can be said or heard, or nothing more.
#[derive(Debug, thiserror::Error)]
pub(super) enum Broken {
    /// There is no connection.
    #[error("connecting failed: {0}")]
    Connect(io::Error),
    /// The connection is gone.
    #[error("connected, then: {0}")]
    Lost(#[from] io::Error),
    /// TLS is not possible with this peer, or not any more.
    #[error("TLS failed: {0}")]
    Tls(Failure),
    /// The peer has gone in the middle of the handshake.
    #[error("closed the connection in the TLS handshake")]
    InHandshake,
    /// This host could not do it, which says nothing about the peer.
    #[error("this host could not ask: {0}")]
    Host(io::Error),
}

impl Broken {
    /// A connection could not be made, and who is to blame.
    pub(super) fn connecting(error: io::Error) -> Self {
        match is_of_this_host(&error) {
            true => Self::Host(error),
            false => Self::Connect(error),
        }
    }

    /// There is nothing to speak TLS with.
    pub(super) fn without_tls(failure: Failure) -> Self {
        Self::Host(io::Error::other(failure))
    }
}

impl From<Failure> for Broken {
    fn from(failure: Failure) -> Self {
        match failure.is_peers() {
            true => Self::Tls(failure),
            false => Self::without_tls(failure),
        }
    }
}

/// Tells a peer's failures from those of this host: no descriptors, ports or memory left, or a
/// firewall rule of its own.
fn is_of_this_host(error: &io::Error) -> bool {
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
    error
        .raw_os_error()
        .is_some_and(|errno| of_this_host.contains(&errno))
}

impl Stream {
    /// What is said goes over `connection` as it is.
    pub(super) fn plain(connection: Connection) -> Self {
        Self {
            connection,
            tls: None,
            heard: Vec::new(),
        }
    }

    /// Does the handshake of a new TLS session over the connection.
    pub(super) async fn encrypted(connection: Connection, tls: Session) -> Result<Self, Broken> {
        let mut stream = Self::plain(connection);
        stream.over_tls(tls).await?;
        Ok(stream)
    }

    /// Goes on over TLS. A peer that has said more than it was asked for has said it to TLS.
    async fn over_tls(&mut self, tls: Session) -> Result<(), Broken> {
        let tls = self.tls.insert(tls);
        while tls.is_handshaking() {
            flush(&self.connection, tls).await?;
            if !take_in(&self.connection, tls, &mut self.heard).await? {
                return Err(Broken::InHandshake);
            }
        }
        Ok(flush(&self.connection, tls).await?)
    }

    /// Answers a MySQL server's greeting over TLS, for which it is asked first.
    pub(super) async fn respond_over_tls(
        &mut self,
        response: Zeroizing<Vec<u8>>,
        tls: Session,
    ) -> Result<(), Broken> {
        let Some(Upgraded { request, response }) = upgrade(response) else {
            return Err(Failure::Ours("no response to a greeting".into()).into());
        };
        self.send(&request).await?;
        self.over_tls(tls).await?;
        self.send(&response).await
    }

    pub(super) async fn send(&mut self, bytes: &[u8]) -> Result<(), Broken> {
        let Some(tls) = &mut self.tls else {
            return Ok(self.connection.send(bytes.to_vec()).await?);
        };
        let mut rest = bytes;
        while !rest.is_empty() {
            let mut record =
                vec![0; rest.len().min(TLS_PLAINTEXT_BYTES_MAX) + RECORD_OVERHEAD_BYTES];
            let sent = tls.send(rest, &mut record, TLS_PLAINTEXT_BYTES_MAX)?;
            if sent.written == 0 {
                return Err(io::Error::from(io::ErrorKind::BrokenPipe).into());
            }
            record.truncate(sent.written);
            self.connection.send(record).await?;
            rest = rest.get(sent.taken..).unwrap_or_default();
        }
        Ok(())
    }

    /// What there is, at most `bytes_max`; nothing at the end of the stream.
    pub(super) async fn receive(&mut self, bytes_max: usize) -> Result<Vec<u8>, Broken> {
        let Some(tls) = &mut self.tls else {
            return Ok(self.connection.receive(bytes_max).await?);
        };
        while self.heard.is_empty() && take_in(&self.connection, tls, &mut self.heard).await? {}
        let later = self.heard.split_off(self.heard.len().min(bytes_max));
        Ok(mem::replace(&mut self.heard, later))
    }

    /// Sends last words without waiting for anything.
    pub(super) fn send_last(&mut self, bytes: &[u8]) {
        let Some(tls) = &mut self.tls else {
            return self.connection.send_last(bytes);
        };
        let mut record = vec![0; bytes.len() + RECORD_OVERHEAD_BYTES];
        if let Ok(sent) = tls.send(bytes, &mut record, TLS_PLAINTEXT_BYTES_MAX) {
            self.connection.send_last(&record[..sent.written]);
        }
    }

    /// Says that nothing more will be said, where that can be told from a connection that was cut.
    pub(super) fn say_goodbye(&mut self) {
        if let Some(tls) = &mut self.tls {
            tls.close();
            send_last(&self.connection, tls);
        }
    }
}

/// Decrypts what comes next, behind what was `heard` before. `false`: nothing more comes.
async fn take_in(
    connection: &Connection,
    tls: &mut Session,
    heard: &mut Vec<u8>,
) -> Result<bool, Broken> {
    if tls.peer_has_closed() {
        return Ok(false);
    }
    let mut ciphertext = connection.receive(TLS_RECORD_BYTES_MAX).await?;
    if ciphertext.is_empty() {
        return Ok(false);
    }
    // What this completes may have come before it, but for its last byte.
    let mut plaintext = vec![0; ciphertext.len() + TLS_PLAINTEXT_BYTES_MAX];
    let (mut taken, mut written) = (0, 0);
    while taken < ciphertext.len() {
        let received = tls.receive(&mut ciphertext[taken..], &mut plaintext[written..]);
        if let Some(failure) = tls.failure().cloned() {
            // The alert tells the peer what is wrong with it.
            send_last(connection, tls);
            return Err(failure.into());
        }
        let received = received?;
        if received.taken == 0 && received.written == 0 && !tls.has_output() {
            return Err(Failure::Ours("TLS takes nothing, and says nothing".into()).into());
        }
        taken += received.taken;
        written += received.written;
        flush(connection, tls).await?;
    }
    heard.extend_from_slice(&plaintext[..written]);
    Ok(true)
}

/// Sends what TLS has to say for itself.
async fn flush(connection: &Connection, tls: &mut Session) -> io::Result<()> {
    while let Some(ciphertext) = next_output(tls) {
        connection.send(ciphertext).await?;
    }
    Ok(())
}

/// Sends it without waiting for anything: the connection is about to go.
fn send_last(connection: &Connection, tls: &mut Session) {
    while let Some(ciphertext) = next_output(tls) {
        connection.send_last(&ciphertext);
    }
}

fn next_output(tls: &mut Session) -> Option<Vec<u8>> {
    let mut ciphertext = vec![0; TLS_RECORD_BYTES_MAX];
    let written = tls.transmit(&mut ciphertext);
    ciphertext.truncate(written);
    (written > 0).then_some(ciphertext)
}
