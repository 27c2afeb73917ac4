//! TLS between a connection and whoever uses it: what is received is decrypted before anybody sees
//! it, and what is sent is encrypted behind everybody's back. The rest of the worker deals in
//! plaintext, counts it and waits for it, as it does without TLS.
//!
//! A leg with a [`Channel`] holds, beyond what any leg holds, one buffer of ciphertext that is being
//! sent, and what its peer has sent and could not be decrypted yet. Both are empty in a session
//! that is idle.

mod client;
mod queue;
mod seal;
mod server;
mod turns;
mod unseal;

pub(super) use self::turns::Handshakes;
use super::event_loop::Worker;
use super::kernel::{Chunk, Kernel};
use super::session::{CLIENT, Chunks, Session};
use super::token::Op;
use crate::telemetry::{ConnectError, Reason, TlsAgreement, TlsRecord, Who};
use crate::tls::client_hello::Reader;
use crate::tls::session::Session as Tls;

/// An alert as a record, encrypted or not, with what may stand in front of it.
const ALERT_BYTES_MAX: usize = 64;

/// What TLS adds to a session.
#[derive(Default)]
pub(super) struct Encryption {
    /// How far the handshake with each leg's peer is.
    handshakes: [Handshake; 3],
    /// By leg.
    channels: [Option<Box<Channel>>; 3],
    /// Reads what the client wants, until that is known.
    hello: Option<Box<Reader>>,
    /// The name of a server that the client has asked for.
    server_name: Option<Box<str>>,
    /// What the client agreed on, for the log.
    agreed: Option<Box<TlsAgreement>>,
    /// Why TLS failed, for the log.
    error: Option<Box<str>>,
    /// What came from clients and from servers ended without a close_notify, for the log.
    truncated: [bool; 2],
}

/// How far the handshake with a leg's peer is. Nothing else tells.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Handshake {
    /// There is none: what is said is plain text, or for others to decrypt.
    #[default]
    None,
    /// As many clients are in theirs as may be: what this one says waits until one has ended.
    Waiting,
    /// It is going on. Of a client whose TLS is passed through it is no more than its first message.
    Running,
    /// It is done, and the leg's user knows.
    Done,
    /// The client's has failed. The session ends like this, once the client has taken in what it was
    /// told.
    Failed(Who, Reason),
    /// The server's has failed. Its connection is closed when its last completion has come.
    GivenUp(ConnectError),
}

/// One connection's TLS.
struct Channel {
    tls: Tls,
    /// Ciphertext that has not been decrypted yet.
    inbound: Chunks,
    /// Ciphertext that is being sent ...
    sealed: Option<Chunk>,
    /// ... and how much plaintext is in it.
    sealed_bytes: u32,
    /// Bytes sent since there was a pause.
    burst_bytes: u32,
    /// When the last of them were.
    sealed_ms: u64,
    /// Whether it is to be sent to at the end of the turn.
    is_queued: bool,
    /// What waits for a buffer of its own, to decrypt and to encrypt.
    starved: [bool; 2],
    /// How the peer's bytes ended, while some of them still wait to be decrypted.
    ended: Option<Ended>,
    /// Whether the peer's sending ended without a word.
    truncated: bool,
    /// Whether the end of our sending has been said.
    said_goodbye: bool,
}

/// What ended a peer's bytes.
#[derive(Clone, Copy)]
pub(super) enum Ended {
    /// FIN.
    Finished,
    /// RST or another end of the connection.
    Lost(Reason),
}

impl Channel {
    /// `inbound` is what the peer has sent already.
    fn new(tls: Tls, inbound: Chunks) -> Box<Self> {
        Box::new(Self {
            tls,
            inbound,
            sealed: None,
            sealed_bytes: 0,
            burst_bytes: 0,
            sealed_ms: 0,
            is_queued: false,
            starved: [false; 2],
            ended: None,
            truncated: false,
            said_goodbye: false,
        })
    }
}

impl Session {
    /// A leg's TLS, if it has any.
    #[inline]
    fn channel(&self, leg: usize) -> Option<&Channel> {
        self.encryption.as_ref()?.channels.get(leg)?.as_deref()
    }

    /// A leg's TLS, apart from everything else of the session.
    pub(super) fn tls_of(encryption: &mut Option<Box<Encryption>>, leg: usize) -> Option<&mut Tls> {
        let channels = &mut encryption.as_mut()?.channels;
        Some(&mut channels.get_mut(leg)?.as_mut()?.tls)
    }

    #[inline]
    fn channel_mut(&mut self, leg: usize) -> Option<&mut Channel> {
        let channels = &mut self.encryption.as_mut()?.channels;
        channels.get_mut(leg)?.as_deref_mut()
    }

    /// Whether a leg's bytes are encrypted.
    #[inline]
    pub(super) fn is_encrypted(&self, leg: usize) -> bool {
        self.channel(leg).is_some()
    }

    /// Whether neither leg's bytes are.
    #[inline]
    pub(super) fn is_plain(&self) -> bool {
        self.encryption
            .as_ref()
            .is_none_or(|encryption| encryption.channels.iter().all(Option::is_none))
    }

    /// How far the handshake with a leg's peer is.
    #[inline]
    fn handshake(&self, leg: usize) -> Handshake {
        let encryption = self.encryption.as_ref();
        encryption.map_or(Handshake::None, |encryption| encryption.handshakes[leg])
    }

    /// Whether what a leg's peer says concerns nobody but TLS: its handshake is going on, waits for
    /// its turn, or has failed.
    #[inline]
    pub(super) fn is_shaking_hands(&self, leg: usize) -> bool {
        !matches!(self.handshake(leg), Handshake::None | Handshake::Done)
    }

    /// Whether the client's handshake has failed: what it still sends is dropped.
    fn has_failed(&self, leg: usize) -> bool {
        matches!(self.handshake(leg), Handshake::Failed(..))
    }

    /// Whether a leg's connection is being given up: nothing is begun on it any more, or it would
    /// never come to rest.
    fn is_given_up(&self, leg: usize) -> bool {
        matches!(self.handshake(leg), Handshake::GivenUp(_))
    }

    /// Whether ciphertext of a leg is being sent.
    pub(super) fn has_sealed(&self, leg: usize) -> bool {
        self.channel(leg)
            .is_some_and(|channel| channel.sealed.is_some())
    }

    /// What there is to tell of TLS when the session is over.
    pub(super) fn take_tls_record(&mut self) -> Option<Box<TlsRecord>> {
        let encryption = self.encryption.take()?;
        Some(Box::new(TlsRecord {
            agreed: encryption.agreed,
            server_name: encryption.server_name,
            error: encryption.error,
            truncated: encryption.truncated,
        }))
    }

    /// Whether a leg's peer ended its sending without saying that this was everything.
    pub(super) fn was_truncated(&self, leg: usize) -> bool {
        self.channel(leg).is_some_and(|channel| channel.truncated)
    }
}

impl<K: Kernel> Worker<K> {
    /// Puts TLS between a leg and its peer. `unread` is what the peer has sent already.
    pub(super) fn encrypt(
        &mut self,
        slot: u32,
        leg: usize,
        tls: Tls,
        unread: Chunks,
        handshake: Handshake,
    ) {
        let encryption = self.sessions[slot].encryption.get_or_insert_default();
        encryption.channels[leg] = Some(Channel::new(tls, unread));
        self.set_handshake(slot, leg, handshake);
    }

    /// Takes TLS away from a leg whose connection is gone.
    pub(super) fn unencrypt(&mut self, slot: u32, leg: usize) {
        if let Some(encryption) = &mut self.sessions[slot].encryption {
            encryption.channels[leg] = None;
            self.set_handshake(slot, leg, Handshake::None);
        }
    }

    /// A peer went away in its handshake, or before it. With a reset that is a failure of its
    /// connection, otherwise one of TLS.
    pub(super) fn handshake_lost(&mut self, slot: u32, leg: usize, reason: Reason) {
        match (leg, reason) {
            (CLIENT, _) => self.client_handshake_lost(slot, reason),
            (_, Reason::TlsHandshake) => self.server_handshake_lost(slot, leg, ConnectError::Tls),
            _ => self.server_handshake_lost(slot, leg, ConnectError::Reset),
        }
    }

    /// Keeps for the log why TLS failed. The first failure is the cause of any other. Nobody looks for
    /// words where there is no log: failing costs a client little, and it can do so often.
    fn keep_error(&mut self, slot: u32, in_words: impl FnOnce() -> String) {
        if self.access_log
            && let Some(encryption) = &mut self.sessions[slot].encryption
        {
            encryption.error.get_or_insert_with(|| in_words().into());
        }
    }

    /// Drops the ciphertext that waits to be sent, except for what a send in flight reads.
    pub(super) fn discard_sealed(&mut self, slot: u32, leg: usize) {
        let session = &mut self.sessions[slot];
        let sending = session.leg(leg).outlet.sending;
        if let Some(channel) = session.channel_mut(leg)
            && !sending
            && let Some(chunk) = channel.sealed.take()
        {
            self.kernel.release(chunk.buffer);
        }
    }

    /// Takes what TLS with a leg's peer has to say about having failed. Returns how many bytes that
    /// are: none behind a flight that is still being sent, where it would be no alert.
    fn take_alert(&mut self, slot: u32, leg: usize, alert: &mut [u8; ALERT_BYTES_MAX]) -> usize {
        let session = &mut self.sessions[slot];
        let is_amid_flight = session.has_sealed(leg);
        let channel = session.channel_mut(leg).filter(|_| !is_amid_flight);
        channel.map_or(0, |channel| channel.tls.transmit(alert))
    }

    /// Drops the ciphertext that waits to be decrypted.
    pub(super) fn discard_inbound(&mut self, slot: u32, leg: usize) {
        let kernel = &mut self.kernel;
        if let Some(channel) = self.sessions[slot].channel_mut(leg) {
            channel.inbound.truncate(0, |buffer| kernel.release(buffer));
        }
    }

    /// No buffer is left for what TLS does with a leg's bytes: goes on when one is given back.
    fn wait_for_buffer(&mut self, slot: u32, leg: usize, op: Op) {
        self.counters().buffers_exhausted.add(1);
        let token = self.sessions.token(op, leg, slot);
        if let Some(channel) = self.sessions[slot].channel_mut(leg)
            && !std::mem::replace(&mut channel.starved[usize::from(op == Op::Send)], true)
        {
            self.starved.push_back(token);
        }
    }

    /// There may be one now.
    pub(super) fn try_buffer_again(&mut self, slot: u32, leg: usize, op: Op) {
        if let Some(channel) = self.sessions[slot].channel_mut(leg) {
            channel.starved[usize::from(op == Op::Send)] = false;
        }
    }
}
