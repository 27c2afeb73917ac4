//! One session: its connections, and how far it is. State only; what happens to it is in `accept`,
//! `connect`, `leg`, `pump` and `close`.
//!
//! A connection is a [`Leg`]: an intake for what comes from its peer, and an outlet for what goes to
//! it. A relay ties two of them together: a stream is the intake of one leg and the outlet of the
//! other, and has the number of the leg that its bytes come from.

use std::net::SocketAddr;
use std::num::NonZeroU64;
use std::rc::Rc;

use super::kernel::{BufferId, Chunk, Fd, Pipe};
use super::mysql::Conversation;
use super::route::LocalRoute;
use super::tls::Encryption;
use crate::balance::Tried;
use crate::limits::{BUFFER_BYTES, CHUNKS_PER_DIRECTION};
use crate::telemetry::{ConnectError, Phase, Reason, Who};

/// The leg to the client.
pub(super) const CLIENT: usize = 0;
/// The leg to the server; of a MySQL session, to the primary.
pub(super) const SERVER: usize = 1;
/// The leg to the replica, which only a MySQL session has.
pub(super) const REPLICA: usize = 2;

/// The stream from the client to the server, as in [`Direction`](crate::telemetry::Direction).
pub(super) const IN: usize = CLIENT;
/// The stream from the server to the client.
pub(super) const OUT: usize = SERVER;

/// A session from its accept to its last completion.
pub(super) struct Session {
    /// To the client, and to the server once one has been chosen.
    pub(super) legs: [Leg; 2],
    /// What makes it a MySQL session and not a relay.
    pub(super) mysql: Option<Box<Conversation>>,
    /// What TLS adds to it.
    pub(super) encryption: Option<Box<Encryption>>,
    pub(super) route: Rc<LocalRoute>,
    pub(super) stage: Stage,
    /// Whether the server's socket has its keepalive and user timeout.
    pub(super) tuned: bool,
    /// Whether a peer that has finished sending is watched for a reset.
    pub(super) watched: bool,
    /// Whether the connect in flight was cancelled because its time was up.
    pub(super) connect_expired: bool,
    /// How the last try to connect failed.
    pub(super) connect_error: Option<ConnectError>,
    /// Times in a row that an operation failed for want of kernel memory.
    pub(super) memory_failures: u8,
    pub(super) tried: Tried,
    /// How it ended; set once.
    pub(super) end: Option<End>,
    /// Who finished sending first.
    pub(super) first_to_finish: Option<Who>,
    pub(super) accepted_us: u64,
    /// Since when it has looked for a server.
    pub(super) looking_since_us: u64,
    /// When the try to connect that is going on began, or the one that succeeded.
    pub(super) try_began_us: u64,
    /// From the first try to the server's answer; `None` until there is one.
    pub(super) connect_us: Option<u32>,
    /// When it last sent something to a server, if none has said anything since.
    pub(super) asked_us: Option<NonZeroU64>,
    /// When bytes last moved, in either direction.
    pub(super) progress_ms: u64,
    /// When the connect in flight is given up, or (while resetting) the reset no longer waits.
    pub(super) deadline_ms: u64,
    /// What both peers had acknowledged when that was last asked ...
    pub(super) acknowledged: u64,
    /// ... which was in the quiet period that began at this `progress_ms`.
    pub(super) acknowledged_since_ms: u64,
    /// Known when sessions are logged.
    pub(super) client_address: Option<Box<SocketAddr>>,
}

/// How far a session is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// The client is in its TLS handshake, or has not said yet which server it wants.
    Handshake,
    /// Looking for a server that answers.
    Connecting,
    /// Bytes go both ways.
    Relaying,
    /// One side has reset; the other one's last bytes are being delivered, then it is reset too.
    Resetting,
    /// Everything is cancelled; waiting for the last completions.
    Closing,
}

/// Who ended a session, when, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct End {
    pub(super) who: Who,
    pub(super) phase: Phase,
    pub(super) reason: Reason,
}

/// One connection of a session.
#[derive(Debug)]
pub(super) struct Leg {
    /// [`Fd::NONE`] while there is none.
    pub(super) socket: Fd,
    /// The pool member it leads to, or is to lead to: a place is held there.
    pub(super) member: Option<u16>,
    pub(super) intake: Intake,
    pub(super) outlet: Outlet,
    /// Operations on it whose last completion is still to come, cancellations included.
    pub(super) in_flight: u16,
    /// Whether the socket is closed with a reset.
    pub(super) reset_on_close: bool,
}

/// What comes from a peer.
#[derive(Debug)]
pub(super) struct Intake {
    pub(super) mode: Mode,
    pub(super) receive: Receive,
    pub(super) source: Source,
    /// Waits until it can be read.
    pub(super) waiting: bool,
    /// It was said to be readable, and nothing has been read since.
    pub(super) readable: bool,
    /// Its last receive ended with a full buffer: there is more, very likely.
    pub(super) has_more: bool,
    /// Rounds in a row that speak for splicing, or (while splicing) for copying.
    pub(super) streak: u8,
    /// Bytes since the source was last drained, as a measure of how much comes at a time.
    pub(super) burst_bytes: u32,
    pub(super) pipe: Option<Pipe>,
    pub(super) pipe_bytes: u32,
    pub(super) received: u64,
}

/// What goes to a peer.
#[derive(Debug)]
pub(super) struct Outlet {
    pub(super) sink: Sink,
    /// A send of the first chunk is in flight ...
    pub(super) sending: bool,
    /// ... of so many bytes; more may have come to the chunk since.
    pub(super) send_bytes: u16,
    /// Waits until there is room.
    pub(super) waiting: bool,
    /// Whether the peer is watched for room. Once it is, it stays so.
    pub(super) room_watched: bool,
    /// The last send was cut short by something that the next will tell.
    pub(super) cut_short: bool,
    pub(super) chunks: Chunks,
    pub(super) sent: u64,
}

/// How a stream moves its bytes. Never in two ways at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    /// Through buffers.
    Copy,
    /// Leaving `Copy`: the receive is being cancelled and the chunks are being sent.
    Switching,
    /// Through a pipe.
    Splice,
}

/// The receive operation of an intake in copy mode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Receive {
    /// None in flight.
    Idle,
    /// In flight.
    Armed,
    /// In flight and being cancelled.
    Cancelling,
    /// None in flight; waits for buffers to come back.
    Starved,
}

/// What a peer has said about its own sending.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Source {
    /// More may come.
    Open,
    /// FIN.
    Finished,
    /// RST or another end of the connection; the session's `end` has the reason.
    Lost,
}

/// What has become of a peer as a destination.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sink {
    /// Takes bytes.
    Open,
    /// Has been sent FIN.
    Finished,
    /// Takes no more: it was lost, or the session gave up on it.
    Broken,
}

impl Session {
    pub(super) fn new(client: Fd, route: Rc<LocalRoute>, now_us: u64) -> Self {
        Self {
            legs: [Leg::new(client), Leg::new(Fd::NONE)],
            mysql: None,
            encryption: None,
            route,
            stage: Stage::Connecting,
            tuned: false,
            watched: false,
            connect_expired: false,
            connect_error: None,
            memory_failures: 0,
            tried: Tried::default(),
            end: None,
            first_to_finish: None,
            accepted_us: now_us,
            looking_since_us: now_us,
            try_began_us: now_us,
            connect_us: None,
            asked_us: None,
            progress_ms: now_us / 1000,
            deadline_ms: u64::MAX,
            acknowledged: 0,
            acknowledged_since_ms: u64::MAX,
            client_address: None,
        }
    }

    /// A connection.
    ///
    /// # Panics
    /// When a relay is asked for a third one.
    #[inline]
    pub(super) fn leg(&self, leg: usize) -> &Leg {
        match self.legs.get(leg) {
            Some(leg) => leg,
            None => &self.conversation().replica,
        }
    }

    /// A connection.
    ///
    /// # Panics
    /// When a relay is asked for a third one.
    #[inline]
    pub(super) fn leg_mut(&mut self, leg: usize) -> &mut Leg {
        if leg < self.legs.len() {
            &mut self.legs[leg]
        } else {
            &mut self.conversation_mut().replica
        }
    }

    /// What makes it a MySQL session.
    ///
    /// # Panics
    /// When it is none.
    #[inline]
    pub(super) fn conversation(&self) -> &Conversation {
        self.mysql.as_deref().expect("a MySQL session")
    }

    /// What makes it a MySQL session.
    ///
    /// # Panics
    /// When it is none.
    #[inline]
    pub(super) fn conversation_mut(&mut self) -> &mut Conversation {
        self.mysql.as_deref_mut().expect("a MySQL session")
    }

    /// The legs it has.
    #[inline]
    pub(super) fn leg_indices(&self) -> std::ops::Range<usize> {
        0..if self.mysql.is_some() { 3 } else { 2 }
    }

    /// Whether an operation's last completion is still to come, cancellations included.
    #[inline]
    pub(super) fn is_in_flight(&self) -> bool {
        let third = self
            .mysql
            .as_ref()
            .map_or(0, |mysql| mysql.replica.in_flight);
        self.legs[CLIENT].in_flight + self.legs[SERVER].in_flight + third > 0
    }

    /// What a stream's bytes come from.
    #[inline]
    pub(super) fn intake(&mut self, stream: usize) -> &mut Intake {
        &mut self.leg_mut(stream).intake
    }

    /// What a stream's bytes go to.
    #[inline]
    pub(super) fn outlet(&mut self, stream: usize) -> &mut Outlet {
        &mut self.leg_mut(opposite(stream)).outlet
    }

    /// Whether a stream's source or destination has something to wait for before anything more can
    /// be done.
    #[inline]
    pub(super) fn waits(&self, stream: usize) -> bool {
        self.leg(stream).intake.waiting || self.leg(opposite(stream)).outlet.waiting
    }

    /// Where the bytes of a leg's peer wait for whoever takes them.
    pub(super) fn inbox(&mut self, leg: usize) -> &mut Chunks {
        if self.mysql.is_some() {
            return self.conversation_mut().inbound(leg);
        }
        &mut self.outlet(leg).chunks
    }

    /// Whether everything that a stream has received has been sent.
    #[inline]
    pub(super) fn is_flushed(&self, stream: usize) -> bool {
        self.legs[opposite(stream)].outlet.chunks.is_empty()
            && self.legs[stream].intake.pipe_bytes == 0
            && !self.has_sealed(opposite(stream))
    }

    /// Which part of its life an end at this moment falls into.
    pub(super) fn phase(&self) -> Phase {
        match self.stage {
            Stage::Handshake => Phase::Handshake,
            Stage::Connecting => Phase::Connect,
            _ if self
                .mysql
                .as_ref()
                .is_some_and(|mysql| mysql.is_logging_in()) =>
            {
                Phase::Login
            }
            _ if self.first_to_finish.is_some() => Phase::HalfClosed,
            _ => Phase::Relay,
        }
    }

    /// Notes how the session ends; the first word counts.
    pub(super) fn set_end(&mut self, who: Who, reason: Reason) {
        let phase = self.phase();
        self.end.get_or_insert(End { who, phase, reason });
    }
}

impl Leg {
    pub(super) fn new(socket: Fd) -> Self {
        Self {
            socket,
            member: None,
            intake: Intake {
                mode: Mode::Copy,
                receive: Receive::Idle,
                source: Source::Open,
                waiting: false,
                readable: false,
                has_more: false,
                streak: 0,
                burst_bytes: 0,
                pipe: None,
                pipe_bytes: 0,
                received: 0,
            },
            outlet: Outlet {
                sink: Sink::Open,
                sending: false,
                send_bytes: 0,
                waiting: false,
                room_watched: false,
                cut_short: false,
                chunks: Chunks::default(),
                sent: 0,
            },
            in_flight: 0,
            reset_on_close: false,
        }
    }
}

/// The leg that a leg's bytes go to, and the stream the other way. What a replica says is for the
/// client, too.
#[inline]
pub(super) const fn opposite(leg: usize) -> usize {
    match leg {
        CLIENT => SERVER,
        _ => CLIENT,
    }
}

/// The direction of what a leg's peer sends.
#[inline]
pub(super) const fn direction_of(leg: usize) -> usize {
    match leg {
        CLIENT => IN,
        _ => OUT,
    }
}

/// Who a leg leads to, as someone to blame.
pub(super) fn peer_of(leg: usize) -> Who {
    if leg == CLIENT {
        Who::Client
    } else {
        Who::Server
    }
}

/// What was received for a peer and not yet sent to it, in order. Small chunks are merged into the last
/// buffer's free tail, so a peer that sends byte by byte holds no more buffers than another.
#[derive(Debug, Default)]
pub(super) struct Chunks {
    /// A ring: `len` places from `first` on hold chunks, and what is in the others means nothing.
    /// There is one of these for each connection that a session has, so every byte counts.
    queue: [Chunk; CHUNKS_PER_DIRECTION],
    first: u8,
    len: u8,
}

impl Chunks {
    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Whether all of it lies in one buffer.
    pub(super) fn is_single(&self) -> bool {
        self.len == 1
    }

    /// Bytes in it.
    pub(super) fn bytes(&self) -> usize {
        (0..self.len).map(|i| self.queue[self.at(i)].len()).sum()
    }

    /// The chunk to send next.
    #[inline]
    pub(super) fn first(&self) -> Option<Chunk> {
        (self.len > 0).then(|| self.queue[usize::from(self.first)])
    }

    /// The chunk that was added last.
    #[inline]
    pub(super) fn last(&self) -> Option<Chunk> {
        let last = self.len.checked_sub(1)?;
        Some(self.queue[self.at(last)])
    }

    /// So many bytes have been written behind the last chunk, into its own buffer.
    pub(super) fn extend_last(&mut self, bytes: u16) {
        if let Some(last) = self.len.checked_sub(1) {
            let place = self.at(last);
            self.queue[place].end += bytes;
        }
    }

    /// Adds a chunk behind the last, in its own buffer.
    ///
    /// # Panics
    /// When the queue is full. Whoever fills buffers one after the other needs fewer than it has.
    pub(super) fn push_whole(&mut self, chunk: Chunk) {
        assert!(
            usize::from(self.len) < CHUNKS_PER_DIRECTION,
            "a direction holds too much"
        );
        let place = self.at(self.len);
        self.queue[place] = chunk;
        self.len += 1;
    }

    /// Adds a chunk behind the last. `append` copies it into the last one's buffer where it fits.
    /// Returns the buffer that is no longer needed, if it did.
    ///
    /// # Panics
    /// When the queue is full: a receive brings at most its cap, see `limits`.
    #[inline]
    pub(super) fn push(
        &mut self,
        chunk: Chunk,
        append: impl FnOnce(Chunk, Chunk) -> Chunk,
    ) -> Option<BufferId> {
        if let Some(last) = self.len.checked_sub(1).map(|last| self.at(last)) {
            let tail = &mut self.queue[last];
            if usize::from(tail.end) + chunk.len() <= BUFFER_BYTES as usize {
                *tail = append(*tail, chunk);
                return Some(chunk.buffer);
            }
        }
        self.push_whole(chunk);
        None
    }

    /// Drops `sent` bytes of the first chunk; returns its buffer when nothing is left of it.
    #[inline]
    pub(super) fn consume(&mut self, sent: usize) -> Option<BufferId> {
        assert!(self.len > 0, "a chunk was being sent");
        let first = &mut self.queue[usize::from(self.first)];
        assert!(
            sent <= first.len(),
            "the kernel sent more than it was given"
        );
        first.start += sent as u16;
        (first.len() == 0).then(|| self.pop()).flatten()
    }

    /// Takes the first chunk.
    pub(super) fn take_first(&mut self) -> Option<Chunk> {
        let first = self.first()?;
        self.pop();
        Some(first)
    }

    /// Takes the first chunk's buffer, whatever is in it.
    pub(super) fn pop(&mut self) -> Option<BufferId> {
        let first = self.first()?;
        self.first = self.at(1) as u8;
        self.len -= 1;
        Some(first.buffer)
    }

    /// Takes every buffer but the first `keep`.
    pub(super) fn truncate(&mut self, keep: u8, mut release: impl FnMut(BufferId)) {
        while self.len > keep {
            self.len -= 1;
            let place = self.at(self.len);
            release(self.queue[place].buffer);
        }
    }

    fn at(&self, offset: u8) -> usize {
        usize::from(self.first + offset) % CHUNKS_PER_DIRECTION
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chunk(buffer: u16, len: u16) -> Chunk {
        Chunk {
            buffer: BufferId(buffer),
            start: 0,
            end: len,
        }
    }

    fn merge(to: Chunk, from: Chunk) -> Chunk {
        Chunk {
            end: to.end + from.len() as u16,
            ..to
        }
    }

    #[test]
    fn small_chunks_share_a_buffer_and_big_ones_do_not() {
        let mut chunks = Chunks::default();
        assert_eq!(chunks.push(chunk(1, 10), merge), None);
        assert_eq!(chunks.push(chunk(2, 20), merge), Some(BufferId(2)));
        assert_eq!(chunks.push(chunk(3, BUFFER_BYTES as u16), merge), None);
        assert_eq!(chunks.first(), Some(chunk(1, 30)));
        assert_eq!(chunks.consume(29), None);
        assert_eq!(chunks.consume(1), Some(BufferId(1)));
        assert_eq!(chunks.consume(BUFFER_BYTES as usize), Some(BufferId(3)));
        assert!(chunks.is_empty());
    }

    #[test]
    fn the_queue_wraps_around() {
        let mut chunks = Chunks::default();
        for round in 0..3 * CHUNKS_PER_DIRECTION as u16 {
            chunks.push(chunk(2 * round, BUFFER_BYTES as u16), merge);
            chunks.push(chunk(2 * round + 1, BUFFER_BYTES as u16), merge);
            assert_eq!(chunks.pop(), Some(BufferId(2 * round)));
            assert_eq!(chunks.pop(), Some(BufferId(2 * round + 1)));
        }
        assert_eq!(chunks.pop(), None);
    }
}
