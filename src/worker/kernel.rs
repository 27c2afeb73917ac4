//! What a worker asks of the kernel, as a trait: the real ring implements it, and so does the
//! simulator that tests drive the same worker with.
//!
//! Asynchronous calls are queued and answered by completions that carry their token; nothing
//! happens before [`Kernel::turn`]. An operation is over with its last completion, the one without
//! `more`; until then its socket must not be closed and its chunk not be released.

use std::io;
use std::time::Duration;

use socket2::SockAddr;

use super::coalesce::Batch;
use super::token::Token;

/// A descriptor. Owned by whoever closes it: the session's close protocol, not a destructor,
/// decides when that is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Fd(pub(crate) i32);

impl Fd {
    /// No descriptor.
    pub(crate) const NONE: Self = Self(-1);

    pub(crate) fn is_some(self) -> bool {
        self.0 >= 0
    }
}

/// One buffer of the worker's pool.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct BufferId(pub(crate) u16);

/// Bytes in a buffer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Chunk {
    pub(crate) buffer: BufferId,
    pub(crate) start: u16,
    pub(crate) end: u16,
}

impl Chunk {
    #[inline]
    pub(crate) fn len(self) -> usize {
        usize::from(self.end - self.start)
    }
}

/// Both ends of a pipe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Pipe {
    pub(crate) read: Fd,
    pub(crate) write: Fd,
}

impl Pipe {
    pub(crate) fn new(read: i32, write: i32) -> Self {
        Self {
            read: Fd(read),
            write: Fd(write),
        }
    }
}

/// What is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Interest {
    /// Bytes, an end or an error can be read. Told once.
    Read,
    /// There is room for bytes, or an error. Told at every change until it is cancelled.
    Room,
    /// The connection is gone in both directions. Told at every change until it is cancelled.
    Hangup,
}

/// What to do about bytes the peer has not acknowledged when a socket is closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Farewell {
    /// The kernel goes on delivering them and sends FIN.
    Fin,
    /// They are discarded and the peer gets RST (`SO_LINGER` with a timeout of 0, socket(7)).
    Reset,
}

/// The answer to an operation, or one of the answers.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Completion {
    pub(crate) token: Token,
    /// A count, a descriptor or what poll(2) reports, or a negated errno.
    pub(crate) result: i32,
    /// The operation goes on: more completions with this token will come.
    pub(crate) more: bool,
    /// The buffer that received bytes lie in, from its start.
    pub(crate) buffer: Option<BufferId>,
}

/// A kernel, real or simulated.
pub(crate) trait Kernel {
    /// Microseconds since the process's start, as of the last turn's end.
    fn now_us(&self) -> u64;

    /// Accepts one connection, or connections until it is cancelled or fails.
    fn accept(&mut self, socket: Fd, multishot: bool, token: Token);

    /// Connects. `address` need not outlive the call.
    fn connect(&mut self, socket: Fd, address: &SockAddr, token: Token);

    /// Receives into buffers of the pool.
    fn receive(&mut self, socket: Fd, how: Receiving, token: Token);

    /// Sends all of a chunk; fewer bytes only on an error or a cancellation.
    fn send(&mut self, socket: Fd, chunk: Chunk, token: Token);

    /// Waits for readiness. Whatever is waited for, the kernel also reports a peer's FIN
    /// (`POLLRDHUP` cannot be masked out), which is why room and hang-ups are watched and not
    /// waited for once: the first report would be about the FIN, every time.
    fn poll(&mut self, fd: Fd, interest: Interest, token: Token);

    /// Cancels the operation that carries `target`.
    fn cancel(&mut self, target: Token, token: Token);

    /// Cancels every operation on a descriptor.
    fn cancel_all(&mut self, fd: Fd, token: Token);

    /// Submits what is queued, waits for a completion at most so long (`None`: without limit) and
    /// appends what has completed. With a batch it waits for so many besides those of the sends that
    /// were queued; see [`Kernel::can_batch`].
    ///
    /// # Errors
    /// When the ring is beyond repair; transient conditions are handled inside.
    fn turn(
        &mut self,
        wait: Option<Duration>,
        batch: Option<Batch>,
        completions: &mut Vec<Completion>,
    ) -> io::Result<()>;

    /// Whether a turn can wait for a batch. If not, it takes the first completion.
    fn can_batch(&self) -> bool;

    /// Operations whose last completion has not been handed out.
    fn in_flight(&self) -> u64;

    /// Whether completions had to be kept aside since the last call.
    fn take_overflow(&mut self) -> bool;

    /// Appends `from` behind the end of `to`, which must have the room, and returns the longer
    /// chunk. `from` stays the caller's.
    fn append(&mut self, to: Chunk, from: Chunk) -> Chunk;

    /// A buffer of the pool for bytes of the worker's own. `None`: all are in use or on offer.
    fn take_buffer(&mut self) -> Option<BufferId>;

    /// A buffer of [`WIDE_BUFFER_BYTES`](crate::limits::WIDE_BUFFER_BYTES) for bytes of the worker's
    /// own. `None`: all are in use.
    fn take_wide_buffer(&mut self) -> Option<BufferId>;

    /// All of a buffer.
    fn whole(&self, buffer: BufferId) -> Chunk;

    /// The bytes of two chunks that do not share any, under the conditions of [`Kernel::bytes`].
    fn pair(&mut self, first: Chunk, second: Chunk) -> (&mut [u8], &mut [u8]);

    /// Notes that a held buffer has a secret in it, or will have: nothing is left of that when it is
    /// given back, nor of what is appended from it.
    fn keep_secret(&mut self, buffer: BufferId);

    /// Gives a buffer back to the pool.
    fn release(&mut self, buffer: BufferId);

    /// A non-blocking stream socket fit for connecting to `address`.
    fn socket(&mut self, address: &SockAddr) -> io::Result<Fd>;

    /// Whether a connect that was said to have succeeded has. The ring says so, too, when an ICMP
    /// error answered the SYN: it takes the error queue's wake-up for the end of the connect and
    /// finds no error on the socket (measured on Linux 6.18).
    fn is_connected(&mut self, socket: Fd) -> bool;

    /// Sets keepalive and `TCP_USER_TIMEOUT` on a server's socket.
    fn tune(&mut self, socket: Fd, tuning: &Tuning);

    /// Takes a connection that waits on a listening socket, if one does.
    fn accept_now(&mut self, socket: Fd) -> io::Result<Fd>;

    /// Lets nobody more connect to a listening socket, whoever else still holds it.
    fn stop_listening(&mut self, socket: Fd);

    /// Sends as far as there is room, without waiting for more: send(2).
    fn send_now(&mut self, socket: Fd, chunk: Chunk) -> io::Result<usize>;

    /// The same with bytes of the caller's own.
    fn send_bytes(&mut self, socket: Fd, bytes: &[u8]) -> io::Result<usize>;

    /// The bytes of a chunk whose buffer the caller holds, with no operation in flight on it.
    fn bytes(&mut self, chunk: Chunk) -> &mut [u8];

    /// Sends FIN: shutdown(2) with `SHUT_WR`.
    fn finish_sending(&mut self, socket: Fd);

    /// Closes a socket. No operation on it may be in flight.
    fn close(&mut self, socket: Fd, farewell: Farewell);

    /// Buffers that receives could still use.
    fn buffers_left(&self) -> usize;

    /// Whether [`Kernel::pipe`] would stay within the worker's share.
    fn has_pipe(&self) -> bool;

    /// An empty non-blocking pipe; `None`: there is none to be had.
    fn pipe(&mut self) -> Option<Pipe>;

    /// Takes an empty pipe back.
    fn return_pipe(&mut self, pipe: Pipe);

    /// Closes a pipe that is not empty.
    fn discard_pipe(&mut self, pipe: Pipe);

    /// Moves at most `len` bytes from a socket into a pipe; 0: the source has finished.
    fn splice_in(&mut self, socket: Fd, pipe: Pipe, len: usize) -> io::Result<usize>;

    /// Moves at most `len` bytes from a pipe to a socket.
    fn splice_out(&mut self, pipe: Pipe, socket: Fd, len: usize) -> io::Result<usize>;

    /// Bytes the peer has not acknowledged yet: `SIOCOUTQ`, tcp(7).
    fn unacknowledged(&mut self, socket: Fd) -> usize;

    /// Bytes the peer has acknowledged in all: `tcpi_bytes_acked`, tcp(7).
    fn acknowledged(&mut self, socket: Fd) -> u64;

    /// The peer's address, if it has one and is still there.
    fn peer(&mut self, socket: Fd) -> Option<std::net::SocketAddr>;

    /// Empties the eventfd that wakes this worker.
    fn drain_wake(&mut self);
}

/// How to receive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Receiving {
    /// Whether an immediate try is likely to find something.
    pub(crate) expect_data: bool,
    /// Whether it is over with the first bytes that come. Otherwise it goes on, in one or several
    /// completions, up to [`RECEIVE_CAP_BYTES`](crate::limits::RECEIVE_CAP_BYTES) and one buffer in
    /// all; but what goes on does not learn of a reset that came in the same moment as the bytes
    /// before it (Linux 6.18).
    pub(crate) once: bool,
}

impl Receiving {
    /// What is there already and what follows.
    pub(crate) const AT_ONCE: Self = Self {
        expect_data: true,
        once: false,
    };
}

/// What a server's socket is held to; see tcp(7).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Tuning {
    pub(crate) keepalive_idle: Duration,
    pub(crate) keepalive_interval: Duration,
    pub(crate) keepalive_probes: u8,
    pub(crate) user_timeout: Duration,
}
