//! One TLS connection, without a socket: ciphertext in and plaintext out, plaintext in and
//! ciphertext out, on slices that the caller owns. Nothing else in ringway calls rustls about a
//! connection, so another version of rustls is a change in this file (and perhaps in the words of
//! [`Failure`]).
//!
//! It stands on the unbuffered API of rustls 0.23. Records are decrypted where they were received,
//! and only one that arrived in pieces is copied together first, once. The buffered API copies
//! every byte into a buffer of its own, in steps of 4 KiB which it clears before use, and keeps
//! those 4 KiB in every idle session. What remains in either are one allocation and one copy per
//! record and direction, inside rustls. Its I/O helpers (`complete_io`, `Stream`) are not used:
//! they loop while a peer makes no progress.
//!
//! Memory is bounded: at most one record in pieces, or the records of one handshake message
//! ([`HELD_CIPHERTEXT_BYTES_MAX`]); at most one record of plaintext that the caller had no room
//! for; and handshake messages to send, beyond [`PENDING_OUTPUT_BYTES`] of which nothing more is
//! taken in. A session in which nothing is pending holds none of it ([`Session::is_idle`]).

use std::mem;
use std::sync::Arc;

use rustls::client::UnbufferedClientConnection;
use rustls::pki_types::ServerName;
use rustls::server::UnbufferedServerConnection;
use rustls::unbuffered::{ConnectionState, EncodeError, EncryptError, UnbufferedStatus};
use rustls::{ClientConfig, CommonState, HandshakeKind, ProtocolVersion, ServerConfig};

use crate::limits::{HELD_CIPHERTEXT_BYTES_MAX, PENDING_OUTPUT_BYTES, TLS_PLAINTEXT_BYTES_MAX};
use crate::tls::{certificates, ciphers};

pub use crate::tls::failure::Failure;

/// Bytes in front of each record: type, version and length.
const HEADER_BYTES: usize = 5;
/// The record type of alerts (RFC 8446, section 5.1).
const ALERT: u8 = 21;
/// The alert that ends what its sender has to say.
const CLOSE_NOTIFY: u8 = 0;

/// What a record adds to its plaintext at most: the header, TLS 1.2's explicit nonce of 8 bytes or
/// TLS 1.3's content type, and a tag of 16.
pub const RECORD_OVERHEAD_BYTES: usize = HEADER_BYTES + 8 + 16;

/// A TLS connection of either side.
///
/// After each call the caller sends what [`Session::transmit`] has to give.
pub struct Session {
    link: Box<Link>,
    /// Ciphertext that is of no use yet: a record that has not arrived whole, and before it the
    /// records of a handshake message that has not.
    held: Vec<u8>,
    /// Bytes of `held` that are whole records.
    held_whole: usize,
    /// Plaintext the caller had no room for.
    rest: Vec<u8>,
    /// Handshake messages, tickets and alerts to send.
    output: Vec<u8>,
    peer_closed: bool,
    closed: bool,
    failure: Option<Failure>,
}

enum Link {
    Client(UnbufferedClientConnection),
    Server(UnbufferedServerConnection),
}

/// What [`Session::receive`] did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Received {
    /// Bytes of ciphertext that it took. Fewer than there were when the plaintext had no more room,
    /// or when there is too much to [`Session::transmit`]: the rest is to be given again,
    /// unchanged.
    pub taken: usize,
    /// Bytes of plaintext that it wrote.
    pub written: usize,
}

/// What [`Session::send`] did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sent {
    /// Bytes of plaintext that it took. None before the handshake is done.
    pub taken: usize,
    /// Bytes of ciphertext that it wrote.
    pub written: usize,
}

/// How a peer's bytes ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// With a `close_notify`: these are all the bytes there were.
    Clean,
    /// In the middle of the handshake.
    InHandshake,
    /// Without a `close_notify`. Somebody may have cut something off.
    Truncated,
}

/// What the two sides agreed on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Agreement {
    /// `TLSv1.2` or `TLSv1.3`.
    pub version: &'static str,
    /// The cipher suite, by its IANA name.
    pub cipher_suite: &'static str,
    /// The application protocol, where there was one.
    pub alpn: Option<Vec<u8>>,
    /// Whether an earlier session was resumed.
    pub resumed: bool,
    /// The subject of the peer's certificate, if it showed one (RFC 4514).
    pub peer_subject: Option<String>,
}

impl Session {
    /// The server's side of a new connection.
    ///
    /// # Errors
    /// When the configuration does not work.
    pub fn server(config: &Arc<ServerConfig>) -> Result<Self, Failure> {
        let connection = UnbufferedServerConnection::new(Arc::clone(config))?;
        Ok(Self::new(Link::Server(connection)))
    }

    /// The client's side of a new connection to the server of this name. Its first message is ready
    /// to be sent.
    ///
    /// # Errors
    /// When the configuration does not work.
    pub fn client(
        config: &Arc<ClientConfig>,
        server: ServerName<'static>,
    ) -> Result<Self, Failure> {
        Self::client_offering(config, server, config.alpn_protocols.clone())
    }

    /// [`Session::client`] with other application protocols than the configuration's.
    ///
    /// # Errors
    /// When the configuration does not work.
    pub fn client_offering(
        config: &Arc<ClientConfig>,
        server: ServerName<'static>,
        alpn: Vec<Vec<u8>>,
    ) -> Result<Self, Failure> {
        let config = Arc::clone(config);
        let connection = UnbufferedClientConnection::new_with_alpn(config, server, alpn)?;
        let mut session = Self::new(Link::Client(connection));
        session.receive(&mut [], &mut [])?;
        Ok(session)
    }

    fn new(link: Link) -> Self {
        Self {
            link: Box::new(link),
            held: Vec::new(),
            held_whole: 0,
            rest: Vec::new(),
            output: Vec::new(),
            peer_closed: false,
            closed: false,
            failure: None,
        }
    }

    /// Takes ciphertext, and writes the plaintext that was in it. The ciphertext is decrypted in
    /// place: what was taken is no longer what it was. Once the handshake is done, nothing is taken
    /// without room for plaintext.
    ///
    /// # Errors
    /// When the connection has failed. [`Session::transmit`] then gives the alert that tells the
    /// peer. Plaintext from before the failure comes first, by itself, and takes all the ciphertext
    /// with it: so a caller that gets some looks at [`Session::failure`] as well.
    pub fn receive(
        &mut self,
        ciphertext: &mut [u8],
        plaintext: &mut [u8],
    ) -> Result<Received, Failure> {
        let mut received = Received {
            taken: 0,
            written: self.give_rest(plaintext),
        };
        if self.failure.is_none()
            && let Err(failure) = self.take_in(ciphertext, plaintext, &mut received)
        {
            received.taken = ciphertext.len();
            self.fail(failure);
        }
        match &self.failure {
            Some(failure) if received.written == 0 => Err(failure.clone()),
            _ => Ok(received),
        }
    }

    /// Each round takes bytes, handles one thing that rustls wants, or is the last.
    fn take_in(
        &mut self,
        ciphertext: &mut [u8],
        plaintext: &mut [u8],
        received: &mut Received,
    ) -> Result<(), Failure> {
        let mut whole_until = None;
        loop {
            let room = plaintext.get_mut(received.written..).unwrap_or_default();
            if self.is_blocked(room.len()) {
                return Ok(());
            }
            if self.peer_closed {
                // What follows a close_notify is to be ignored (RFC 8446, section 6.1).
                self.forget_held(usize::MAX);
                received.taken = ciphertext.len();
                return Ok(());
            }
            let input = ciphertext.get_mut(received.taken..).unwrap_or_default();
            let direct = self.held.is_empty();
            let step = if direct {
                // Now, because rustls moves the pieces of a handshake message together over the
                // headers between them.
                if whole_until.is_none() {
                    let whole = whole_records(input);
                    whole_until = Some(received.taken.saturating_add(whole));
                    let records = input.get(..whole).unwrap_or_default();
                    if self.is_handshaking() && has_goodbye(records) {
                        self.peer_closed = true;
                        continue;
                    }
                }
                let (used, step) = self.step(input, Job::Read(room));
                received.taken = received.taken.saturating_add(used);
                step?
            } else {
                self.step_on_held(Job::Read(room))?
            };
            match step {
                Step::Read(count) => received.written = received.written.saturating_add(count),
                Step::PeerClosed => self.peer_closed = true,
                Step::Wait if direct => {
                    let rest = ciphertext.get(received.taken..).unwrap_or_default();
                    let whole_until = whole_until.unwrap_or_default();
                    self.hold(rest, whole_until.saturating_sub(received.taken))?;
                    received.taken = ciphertext.len();
                    return Ok(());
                }
                Step::Wait if !self.held.is_empty() => {
                    let input = ciphertext.get(received.taken..).unwrap_or_default();
                    let moved = self.complete_held(input)?;
                    received.taken = received.taken.saturating_add(moved);
                    if moved == 0 {
                        return Ok(());
                    }
                }
                Step::Done | Step::Full | Step::Wait | Step::Wrote(_) => {}
            }
        }
    }

    /// Encrypts plaintext in records of at most `record_bytes`, behind what there is to transmit.
    /// It takes as much as the room for ciphertext allows, and nothing before the handshake is done
    /// or after [`Session::close`].
    ///
    /// # Errors
    /// When the connection has failed. What was written before the failure comes first, by itself,
    /// as in [`Session::receive`]: the peer can decrypt it, and it goes in front of any alert.
    pub fn send(
        &mut self,
        plaintext: &[u8],
        ciphertext: &mut [u8],
        record_bytes: usize,
    ) -> Result<Sent, Failure> {
        if let Some(failure) = &self.failure {
            return Err(failure.clone());
        }
        let mut sent = Sent {
            taken: 0,
            written: self.transmit(ciphertext),
        };
        match self.encrypt(plaintext, ciphertext, record_bytes, &mut sent) {
            Ok(()) => Ok(sent),
            Err(failure) => {
                self.fail(failure.clone());
                match sent.written {
                    0 => Err(failure),
                    _ => Ok(sent),
                }
            }
        }
    }

    /// Each round encrypts a record, handles one thing that rustls wants, or is the last.
    fn encrypt(
        &mut self,
        plaintext: &[u8],
        ciphertext: &mut [u8],
        record_bytes: usize,
        sent: &mut Sent,
    ) -> Result<(), Failure> {
        let mut was_full = false;
        while self.output.is_empty() && !self.closed {
            let rest = plaintext.get(sent.taken..).unwrap_or_default();
            let room = ciphertext.get_mut(sent.written..).unwrap_or_default();
            let fits = room.len().saturating_sub(RECORD_OVERHEAD_BYTES);
            let size = record_bytes.min(TLS_PLAINTEXT_BYTES_MAX).min(fits);
            let record = rest.get(..size).unwrap_or(rest);
            if record.is_empty() {
                break;
            }
            match self.step_on_held(Job::Write(record, room))? {
                Step::Wrote(count) => {
                    sent.taken = sent.taken.saturating_add(record.len());
                    sent.written = sent.written.saturating_add(count);
                }
                // A key update has to go first, and leaves no room for the record.
                Step::Full if !was_full => was_full = true,
                Step::Full | Step::Wait => break,
                Step::PeerClosed => self.peer_closed = true,
                Step::Done | Step::Read(_) => {
                    let room = ciphertext.get_mut(sent.written..).unwrap_or_default();
                    sent.written = sent.written.saturating_add(self.transmit(room));
                }
            }
        }
        Ok(())
    }

    /// Moves what there is to send apart from data into `ciphertext`: handshake messages, tickets,
    /// alerts. Returns how many bytes that were; there may be more when all room was used.
    pub fn transmit(&mut self, ciphertext: &mut [u8]) -> usize {
        move_front(&mut self.output, ciphertext)
    }

    /// Whether [`Session::transmit`] has something to give.
    pub fn has_output(&self) -> bool {
        !self.output.is_empty()
    }

    /// Says to the peer that nothing more will be sent. It may go on sending itself. During the
    /// handshake there is nothing that could be ended in this way, and nothing is said.
    pub fn close(&mut self) {
        while !self.closed && self.failure.is_none() {
            match self.step_on_held(Job::Close) {
                Ok(Step::PeerClosed) => self.peer_closed = true,
                Ok(Step::Done | Step::Read(_)) => {}
                Ok(Step::Full | Step::Wait | Step::Wrote(_)) => self.closed = true,
                Err(failure) => self.fail(failure),
            }
        }
    }

    /// What it means that the peer's bytes end here.
    pub fn ending(&self) -> Ending {
        if self.is_handshaking() {
            Ending::InHandshake
        } else if self.peer_closed {
            Ending::Clean
        } else {
            Ending::Truncated
        }
    }

    /// Whether the peer has said that it will send nothing more. In the handshake that breaks it off:
    /// it will not be finished.
    pub fn peer_has_closed(&self) -> bool {
        self.peer_closed
    }

    /// Why the connection has failed, if it has.
    pub fn failure(&self) -> Option<&Failure> {
        self.failure.as_ref()
    }

    /// Whether the handshake is still going on.
    pub fn is_handshaking(&self) -> bool {
        self.common().is_handshaking()
    }

    /// Whether nothing is pending in either direction: such a session holds no buffer.
    pub fn is_idle(&self) -> bool {
        self.buffer_bytes() == 0
    }

    /// Bytes allocated for what is pending.
    pub fn buffer_bytes(&self) -> usize {
        let buffers = [&self.held, &self.rest, &self.output];
        buffers.iter().map(|buffer| buffer.capacity()).sum()
    }

    /// Whether an earlier session was resumed; known once the handshake is done.
    pub fn is_resumed(&self) -> bool {
        self.common().handshake_kind() == Some(HandshakeKind::Resumed)
    }

    /// The application protocol that the two sides agreed on, if they have.
    pub fn alpn(&self) -> Option<&[u8]> {
        self.common().alpn_protocol()
    }

    /// What the two sides agreed on, once the handshake is done. The name that a client asked for
    /// is in its [`Hello`](crate::tls::client_hello::Hello).
    pub fn agreement(&self) -> Option<Agreement> {
        let common = self.common();
        if common.is_handshaking() {
            return None;
        }
        let version = match common.protocol_version()? {
            ProtocolVersion::TLSv1_3 => "TLSv1.3",
            _ => "TLSv1.2",
        };
        Some(Agreement {
            version,
            cipher_suite: ciphers::name(common.negotiated_cipher_suite()?.suite()),
            alpn: self.alpn().map(<[u8]>::to_vec),
            resumed: self.is_resumed(),
            peer_subject: common
                .peer_certificates()
                .and_then(|chain| certificates::subject(chain.first()?)),
        })
    }

    fn common(&self) -> &CommonState {
        match &*self.link {
            Link::Client(connection) => connection,
            Link::Server(connection) => connection,
        }
    }

    /// Whether nothing more can be taken in until the caller has made room.
    fn is_blocked(&self, room: usize) -> bool {
        !self.rest.is_empty()
            || self.output.len() > PENDING_OUTPUT_BYTES
            || (room == 0 && !self.is_handshaking() && !self.common().wants_write())
    }

    fn give_rest(&mut self, plaintext: &mut [u8]) -> usize {
        move_front(&mut self.rest, plaintext)
    }

    /// Keeps ciphertext that rustls has looked at and cannot use yet. So many bytes of it are whole
    /// records.
    fn hold(&mut self, ciphertext: &[u8], whole: usize) -> Result<(), Failure> {
        if ciphertext.len() > HELD_CIPHERTEXT_BYTES_MAX {
            return Err(Failure::TooLong);
        }
        self.held = ciphertext.to_vec();
        self.held_whole = whole;
        Ok(())
    }

    /// Takes from `input` what completes the header of the record in `held`, or the record: what
    /// follows it can be decrypted where it is. Returns how many bytes it took.
    fn complete_held(&mut self, input: &[u8]) -> Result<usize, Failure> {
        let record = self.held.get(self.held_whole..).unwrap_or_default();
        let missing = record_bytes(record)
            .unwrap_or(HEADER_BYTES)
            .saturating_sub(record.len());
        if self.held.len().saturating_add(missing) > HELD_CIPHERTEXT_BYTES_MAX {
            return Err(Failure::TooLong);
        }
        let more = input.get(..missing).unwrap_or(input);
        self.held.reserve_exact(missing);
        self.held.extend_from_slice(more);
        let record = self.held.get(self.held_whole..).unwrap_or_default();
        if record_bytes(record) == Some(record.len()) {
            self.peer_closed |= self.is_handshaking() && has_goodbye(record);
            self.held_whole = self.held.len();
        }
        Ok(more.len())
    }

    fn forget_held(&mut self, count: usize) {
        remove_front(&mut self.held, count);
        self.held_whole = self.held_whole.saturating_sub(count);
    }

    /// One step on ciphertext of the caller's, while nothing is held. Returns how much of it was
    /// used up, whatever came of it.
    fn step(&mut self, ciphertext: &mut [u8], job: Job<'_>) -> (usize, Result<Step, Failure>) {
        let (rest, output) = (&mut self.rest, &mut self.output);
        match &mut *self.link {
            Link::Client(link) => handle(link.process_tls_records(ciphertext), job, rest, output),
            Link::Server(link) => handle(link.process_tls_records(ciphertext), job, rest, output),
        }
    }

    fn step_on_held(&mut self, job: Job<'_>) -> Result<Step, Failure> {
        let mut held = mem::take(&mut self.held);
        let (used, step) = self.step(&mut held, job);
        self.held = held;
        self.forget_held(used);
        step
    }

    /// Moves what rustls has to send into `output`. It offers that before it looks at ciphertext,
    /// so this works after a failure too, and each round takes one piece away.
    fn collect_output(&mut self) {
        while self.common().wants_write() {
            if self.step_on_held(Job::Read(&mut [])).is_err() {
                return;
            }
        }
    }

    fn fail(&mut self, failure: Failure) {
        self.collect_output();
        if failure == Failure::KeysUsedUp {
            // All there is then is a close_notify, behind which what was cut off would look complete.
            self.output = Vec::new();
        }
        self.forget_held(usize::MAX);
        self.failure = Some(failure);
    }
}

/// What a step is to do when it can.
enum Job<'a> {
    /// Send a close_notify.
    Close,
    /// Write plaintext here.
    Read(&'a mut [u8]),
    /// Encrypt the first into the second.
    Write(&'a [u8], &'a mut [u8]),
}

/// What came of a step.
enum Step {
    /// Something else was handled.
    Done,
    /// There was no room for the record.
    Full,
    /// The peer sent its close_notify.
    PeerClosed,
    /// So much plaintext was written.
    Read(usize),
    /// Nothing is left to do without more ciphertext.
    Wait,
    /// So much ciphertext was written.
    Wrote(usize),
}

/// Handles one thing that rustls wants. Returns how many bytes of ciphertext are used up.
fn handle<Data>(
    status: UnbufferedStatus<'_, '_, Data>,
    job: Job<'_>,
    rest: &mut Vec<u8>,
    output: &mut Vec<u8>,
) -> (usize, Result<Step, Failure>) {
    let UnbufferedStatus { discard, state } = status;
    let step = match state {
        Err(error) => Err(error.into()),
        Ok(state) => respond(state, job, rest, output),
    };
    (discard, step)
}

fn respond<Data>(
    state: ConnectionState<'_, '_, Data>,
    job: Job<'_>,
    rest: &mut Vec<u8>,
    output: &mut Vec<u8>,
) -> Result<Step, Failure> {
    match (state, job) {
        (ConnectionState::ReadTraffic(mut traffic), job) => {
            let mut room = match job {
                Job::Read(room) => room,
                Job::Close | Job::Write(..) => &mut [],
            };
            let mut count = 0_usize;
            while let Some(record) = traffic.next_record() {
                let payload = record?.payload;
                let fits = payload.len().min(room.len());
                let (now, later) = payload.split_at(fits);
                let (filled, left) = mem::take(&mut room).split_at_mut(fits);
                filled.copy_from_slice(now);
                rest.extend_from_slice(later);
                room = left;
                count = count.saturating_add(fits);
            }
            Ok(Step::Read(count))
        }
        (ConnectionState::EncodeTlsData(mut message), _) => {
            let Err(EncodeError::InsufficientSize(size)) = message.encode(&mut []) else {
                return Err(Failure::Ours("an empty handshake message".into()));
            };
            let start = output.len();
            output.resize(start.saturating_add(size.required_size), 0);
            match message.encode(output.get_mut(start..).unwrap_or_default()) {
                Ok(_) => Ok(Step::Done),
                Err(error) => Err(Failure::Ours(error.to_string().into())),
            }
        }
        (ConnectionState::TransmitTlsData(transmit), _) => {
            transmit.done();
            Ok(Step::Done)
        }
        (ConnectionState::PeerClosed, _) => Ok(Step::PeerClosed),
        (ConnectionState::WriteTraffic(mut traffic), Job::Write(plaintext, ciphertext)) => {
            match traffic.encrypt(plaintext, ciphertext) {
                Ok(count) => Ok(Step::Wrote(count)),
                Err(EncryptError::InsufficientSize(_)) => Ok(Step::Full),
                Err(EncryptError::EncryptExhausted) => Err(Failure::KeysUsedUp),
            }
        }
        (ConnectionState::WriteTraffic(mut traffic), Job::Close) => {
            // A key update may have to go first.
            let required = match traffic.queue_close_notify(&mut []) {
                Err(EncryptError::InsufficientSize(size)) => size.required_size,
                _ => 0,
            };
            let start = output.len();
            output.resize(start.saturating_add(required), 0);
            match traffic.queue_close_notify(output.get_mut(start..).unwrap_or_default()) {
                Ok(count) => Ok(Step::Wrote(count)),
                Err(error) => Err(Failure::Ours(error.to_string().into())),
            }
        }
        (ConnectionState::ReadEarlyData(_), _) => {
            Err(Failure::Ours("early data, which is switched off".into()))
        }
        _ => Ok(Step::Wait),
    }
}

/// The bytes of a record with its header, as the header says.
fn record_bytes(record: &[u8]) -> Option<usize> {
    let length = record.get(3..HEADER_BYTES)?;
    let length = u16::from_be_bytes(length.try_into().ok()?);
    Some(usize::from(length).saturating_add(HEADER_BYTES))
}

/// The bytes in front that are whole records.
fn whole_records(ciphertext: &[u8]) -> usize {
    let mut whole = 0_usize;
    while let Some(record) = ciphertext.get(whole..)
        && let Some(length) = record_bytes(record)
        && length <= record.len()
    {
        whole = whole.saturating_add(length);
    }
    whole
}

/// Whether there is a close_notify in plain text among whole records. To rustls it means nothing in a
/// handshake, and behind one it cannot be decrypted.
fn has_goodbye(mut records: &[u8]) -> bool {
    while let Some(length) = record_bytes(records)
        && let Some((record, rest)) = records.split_at_checked(length)
    {
        if matches!(record, [ALERT, _, _, 0, 2, _, CLOSE_NOTIFY]) {
            return true;
        }
        records = rest;
    }
    false
}

/// Moves as much as fits from the front of a buffer.
fn move_front(buffer: &mut Vec<u8>, to: &mut [u8]) -> usize {
    let count = buffer.len().min(to.len());
    if let (Some(from), Some(to)) = (buffer.get(..count), to.get_mut(..count)) {
        to.copy_from_slice(from);
    }
    remove_front(buffer, count);
    count
}

/// Removes bytes from the front of a buffer, and gives its memory back when that was all.
fn remove_front(buffer: &mut Vec<u8>, count: usize) {
    if count >= buffer.len() {
        *buffer = Vec::new();
    } else {
        buffer.drain(..count);
    }
}
