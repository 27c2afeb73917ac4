//! One session: a client, a server, and two streams of bytes between them. State only; what
//! happens to it is in `accept`, `connect`, `pump` and `close`.

use std::net::SocketAddr;
use std::rc::Rc;

use super::kernel::{BufferId, Chunk, Fd, Pipe};
use super::route::LocalRoute;
use crate::balance::Tried;
use crate::limits::{BUFFER_BYTES, CHUNKS_PER_DIRECTION};
use crate::telemetry::{ConnectError, Phase, Reason, Who};

/// Index of the stream from the client to the server, as in
/// [`Direction`](crate::telemetry::Direction).
pub(super) const IN: usize = 0;
/// Index of the stream from the server to the client.
pub(super) const OUT: usize = 1;

/// A session from its accept to its last completion.
pub(super) struct Session {
    pub(super) client: Fd,
    pub(super) server: Fd,
    pub(super) streams: [Stream; 2],
    pub(super) route: Rc<LocalRoute>,
    pub(super) stage: Stage,
    /// The pool member a place is held at.
    pub(super) member: Option<u16>,
    /// Operations whose last completion is still to come, cancellations included.
    pub(super) in_flight: u16,
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
    /// Whose socket is closed with a reset, by stream index of what it sends.
    pub(super) reset_on_close: [bool; 2],
    pub(super) tried: Tried,
    /// How it ended; set once.
    pub(super) end: Option<End>,
    /// Who finished sending first.
    pub(super) first_to_finish: Option<Who>,
    pub(super) accepted_us: u64,
    /// When the try to connect that is going on began, or the one that succeeded.
    pub(super) try_began_us: u64,
    /// From the accept to the server's answer; `None` until there is one.
    pub(super) connect_us: Option<u32>,
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

/// One direction: from a source socket to a destination socket.
#[derive(Debug)]
pub(super) struct Stream {
    pub(super) mode: Mode,
    pub(super) receive: Receive,
    pub(super) source: Source,
    pub(super) sink: Sink,
    /// A send of the first chunk is in flight ...
    pub(super) sending: bool,
    /// ... of so many bytes; more may have come to the chunk since.
    pub(super) send_bytes: u16,
    /// What has to happen before anything more can be done.
    pub(super) waiting: Waiting,
    /// Whether the destination is watched for room. Once it is, it stays so.
    pub(super) room_watched: bool,
    /// The source was said to be readable, and nothing has been read since.
    pub(super) readable: bool,
    /// The last send was cut short by something that the next will tell.
    pub(super) cut_short: bool,
    /// Rounds in a row that speak for splicing, or (while splicing) for copying.
    pub(super) streak: u8,
    pub(super) chunks: Chunks,
    /// Bytes since the source was last drained, as a measure of how much comes at a time.
    pub(super) burst_bytes: u32,
    pub(super) pipe: Option<Pipe>,
    pub(super) pipe_bytes: u32,
    pub(super) received: u64,
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

/// The receive operation of a stream in copy mode.
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

/// What a stream waits for, where the ring does not wait for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Waiting {
    /// Nothing.
    Nothing,
    /// Bytes from its source.
    ToRead,
    /// Room at its destination.
    ForRoom,
}

/// What a stream's source has said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Source {
    /// More may come.
    Open,
    /// FIN.
    Finished,
    /// RST or another end of the connection; the session's `end` has the reason.
    Lost,
}

/// What has become of a stream's destination.
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
            client,
            server: Fd::NONE,
            streams: [Stream::new(), Stream::new()],
            route,
            stage: Stage::Connecting,
            member: None,
            in_flight: 0,
            tuned: false,
            watched: false,
            connect_expired: false,
            connect_error: None,
            memory_failures: 0,
            reset_on_close: [false; 2],
            tried: Tried::default(),
            end: None,
            first_to_finish: None,
            accepted_us: now_us,
            try_began_us: now_us,
            connect_us: None,
            progress_ms: now_us / 1000,
            deadline_ms: u64::MAX,
            acknowledged: 0,
            acknowledged_since_ms: u64::MAX,
            client_address: None,
        }
    }

    /// Both sockets; the server's is [`Fd::NONE`] while there is none.
    pub(super) fn sockets(&self) -> [Fd; 2] {
        [self.client, self.server]
    }

    /// The socket that a stream's bytes come from.
    #[inline]
    pub(super) fn source(&self, stream: usize) -> Fd {
        if stream == IN {
            self.client
        } else {
            self.server
        }
    }

    /// The socket that a stream's bytes go to.
    #[inline]
    pub(super) fn destination(&self, stream: usize) -> Fd {
        if stream == IN {
            self.server
        } else {
            self.client
        }
    }

    /// Which part of its life an end at this moment falls into.
    pub(super) fn phase(&self) -> Phase {
        match self.stage {
            Stage::Connecting => Phase::Connect,
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

impl Stream {
    fn new() -> Self {
        Self {
            mode: Mode::Copy,
            receive: Receive::Idle,
            source: Source::Open,
            sink: Sink::Open,
            sending: false,
            send_bytes: 0,
            waiting: Waiting::Nothing,
            room_watched: false,
            readable: false,
            cut_short: false,
            streak: 0,
            chunks: Chunks::default(),
            burst_bytes: 0,
            pipe: None,
            pipe_bytes: 0,
            received: 0,
            sent: 0,
        }
    }

    /// Whether everything that was received has been sent.
    #[inline]
    pub(super) fn is_flushed(&self) -> bool {
        self.chunks.is_empty() && self.pipe_bytes == 0
    }
}

/// The peer that a stream's bytes come from, as someone to blame.
pub(super) fn source_of(stream: usize) -> Who {
    if stream == IN {
        Who::Client
    } else {
        Who::Server
    }
}

/// The peer that a stream's bytes go to, as someone to blame.
pub(super) fn destination_of(stream: usize) -> Who {
    source_of(1 - stream)
}

/// What a stream has received and not yet sent, in order. Small chunks are merged into the last
/// buffer's free tail, so a peer that sends byte by byte holds no more buffers than another.
#[derive(Debug, Default)]
pub(super) struct Chunks {
    queue: [Option<Chunk>; CHUNKS_PER_DIRECTION],
    first: u8,
    len: u8,
}

impl Chunks {
    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The chunk to send next.
    #[inline]
    pub(super) fn first(&self) -> Option<Chunk> {
        if self.len == 0 {
            None
        } else {
            self.queue[usize::from(self.first)]
        }
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
        if let Some(last) = self.len.checked_sub(1).map(|last| self.at(last))
            && let Some(tail) = &mut self.queue[last]
            && usize::from(tail.end) + chunk.len() <= BUFFER_BYTES as usize
        {
            *tail = append(*tail, chunk);
            return Some(chunk.buffer);
        }
        assert!(
            usize::from(self.len) < CHUNKS_PER_DIRECTION,
            "a direction holds too much"
        );
        let place = self.at(self.len);
        self.queue[place] = Some(chunk);
        self.len += 1;
        None
    }

    /// Drops `sent` bytes of the first chunk; returns its buffer when nothing is left of it.
    #[inline]
    pub(super) fn consume(&mut self, sent: usize) -> Option<BufferId> {
        let first = self.queue[usize::from(self.first)]
            .as_mut()
            .expect("a chunk was being sent");
        assert!(
            sent <= first.len(),
            "the kernel sent more than it was given"
        );
        first.start += sent as u16;
        (first.len() == 0).then(|| self.pop()).flatten()
    }

    /// Takes the first chunk's buffer, whatever is in it.
    pub(super) fn pop(&mut self) -> Option<BufferId> {
        let first = self.first()?;
        self.queue[usize::from(self.first)] = None;
        self.first = self.at(1) as u8;
        self.len -= 1;
        Some(first.buffer)
    }

    /// Takes every buffer but the first `keep`.
    pub(super) fn truncate(&mut self, keep: u8, mut release: impl FnMut(BufferId)) {
        while self.len > keep {
            self.len -= 1;
            let place = self.at(self.len);
            let chunk = self.queue[place]
                .take()
                .expect("places below the length hold chunks");
            release(chunk.buffer);
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
