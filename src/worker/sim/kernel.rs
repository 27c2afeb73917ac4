//! A kernel whose sockets, pipes and operations are made up.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::net::SocketAddr;
use std::ops::Range;
use std::time::Duration;

use socket2::SockAddr;

use super::socket::Socket;
use super::tls::{Dialect, TlsPeer};
use crate::entropy::Entropy;
use crate::limits::{BUFFER_BYTES, RECEIVE_CAP_BYTES, WIDE_BUFFER_BYTES};
use crate::worker::coalesce::Batch;
use crate::worker::kernel::{
    BufferId, Chunk, Completion, Farewell, Fd, Interest, Kernel, Pipe, Receiving, Tuning,
};
use crate::worker::token::{Op, Token};

/// Descriptors of simulated sockets and pipes begin here, above any real one.
const FIRST_FD: i32 = 1_000_000;
const PIPE_CAPACITY: usize = 64 * 1024;
const PIPES: usize = 6;
/// So few that sends of ciphertext have to do without one often.
const WIDE_BUFFERS: usize = 2;
/// More than any handshake needs.
const HANDSHAKE_ROOM: u64 = 8 * 1024;

#[derive(Clone, Copy, Debug)]
enum Request {
    Accept { multishot: bool },
    Connect,
    Receive { left: u32, once: bool },
    Send { chunk: Chunk, sent: usize },
    Poll { interest: Interest, told: i32 },
}

#[derive(Clone, Copy, Debug)]
struct Operation {
    request: Request,
    fd: Fd,
    token: Token,
}

pub(super) struct SimKernel<'a> {
    pub(super) entropy: Entropy<'a>,
    pub(super) dialect: Dialect,
    pub(super) sockets: BTreeMap<i32, Socket>,
    /// Clients that have connected and were not accepted yet.
    pub(super) backlog: VecDeque<i32>,
    /// Connects since the world last looked: the socket and the session's slot.
    pub(super) connects: Vec<(Fd, u32)>,
    /// The wake eventfd has been written to.
    pub(super) woken: bool,
    /// No more surprises: everything that can complete does, and connects fail.
    pub(super) calm: bool,
    /// Whatever can complete does at once, so that time passes when nothing can.
    pub(super) steady: bool,
    /// The host has no memory and no descriptors: whatever needs some fails.
    pub(super) no_memory: bool,
    /// Completions to hand out in the next turn, whatever they are for.
    pub(super) late: Vec<Completion>,
    pipes: BTreeMap<i32, VecDeque<u8>>,
    operations: Vec<Operation>,
    cancellations: Vec<(Cancelled, Token)>,
    buffers: usize,
    /// Of ordinary buffers, and of the wide ones behind them.
    memory: Vec<Vec<u8>>,
    free: Vec<BufferId>,
    free_wide: Vec<BufferId>,
    next_fd: i32,
    next_peer: u32,
    now_us: u64,
}

#[derive(Clone, Copy, Debug)]
enum Cancelled {
    One(Token),
    All(Fd),
}

impl<'a> SimKernel<'a> {
    pub(super) fn new(entropy: Entropy<'a>, dialect: Dialect, buffers: usize) -> Self {
        Self {
            entropy,
            dialect,
            buffers,
            sockets: BTreeMap::new(),
            backlog: VecDeque::new(),
            connects: Vec::new(),
            woken: false,
            calm: false,
            steady: false,
            no_memory: false,
            late: Vec::new(),
            pipes: BTreeMap::new(),
            operations: Vec::new(),
            cancellations: Vec::new(),
            memory: [
                vec![vec![0; BUFFER_BYTES as usize]; buffers],
                vec![vec![0; WIDE_BUFFER_BYTES as usize]; WIDE_BUFFERS],
            ]
            .concat(),
            free: ids(0..buffers),
            free_wide: ids(buffers..buffers + WIDE_BUFFERS),
            next_fd: FIRST_FD,
            next_peer: 1,
            now_us: 0,
        }
    }

    /// A client connects.
    pub(super) fn client(&mut self) {
        let tls = self.dialect.client();
        let fd = self.new_socket(tls);
        self.backlog.push_back(fd);
    }

    /// Whether every buffer, pipe and socket has been given back, and nothing is in flight but
    /// what a worker always has.
    pub(super) fn assert_all_is_given_back(&self) {
        assert_eq!(self.free.len(), self.buffers, "a buffer was not released");
        assert_eq!(
            self.free_wide.len(),
            WIDE_BUFFERS,
            "a wide one was not released"
        );
        assert!(
            self.pipes.values().all(VecDeque::is_empty),
            "bytes were left in a pipe"
        );
        let open = self
            .sockets
            .iter()
            .find(|(fd, s)| s.closed.is_none() && !self.backlog.contains(fd));
        assert!(open.is_none(), "a socket was not closed: {open:?}");
        let resting = |o: &Operation| matches!(o.token.op(), Op::Accept | Op::Wake);
        assert!(
            self.operations.iter().all(resting),
            "in flight: {:?}",
            self.operations
        );
    }

    /// A socket that no session knows.
    #[cfg(test)]
    pub(super) fn stray_socket(&mut self) -> Fd {
        Fd(self.new_socket(None))
    }

    /// A buffer that no session holds.
    #[cfg(test)]
    pub(super) fn stray_buffer(&mut self) -> BufferId {
        self.free.pop().expect("buffers are free")
    }

    fn is_free(&self, buffer: BufferId) -> bool {
        self.free.contains(&buffer) || self.free_wide.contains(&buffer)
    }

    fn new_socket(&mut self, tls: Option<TlsPeer>) -> i32 {
        let fd = self.next_fd;
        self.next_fd += 1;
        let peer = self.next_peer;
        self.next_peer += 1;
        let mut socket = Socket {
            peer,
            ..Socket::default()
        };
        if let Some(tls) = tls {
            self.begin_tls(&mut socket, tls);
        }
        self.sockets.insert(fd, socket);
        fd
    }

    /// Most peers speak TLS as they should, and take a handshake in whole.
    fn begin_tls(&mut self, socket: &mut Socket, tls: TlsPeer) {
        let is_bad = !self.calm && self.entropy.once_in(10);
        let tls = match is_bad {
            true => tls.bad(self.entropy.below(4)),
            false => tls,
        };
        if !self.entropy.once_in(4) {
            socket.room_until = HANDSHAKE_ROOM;
        }
        socket.tls = Some(Box::new(tls));
    }

    fn open_socket(&mut self, fd: Fd) -> &mut Socket {
        let socket = self
            .sockets
            .get_mut(&fd.0)
            .expect("only sockets are used as such");
        assert!(socket.closed.is_none(), "a closed socket was used");
        socket
    }

    fn queue(&mut self, request: Request, fd: Fd, token: Token) {
        if fd.0 >= FIRST_FD {
            self.open_socket(fd);
        }
        let twin = self.operations.iter().any(|o| o.token == token);
        assert!(!twin, "two operations with one token: {token:?}");
        self.operations.push(Operation { request, fd, token });
    }

    fn cancel_submitted(&mut self, completions: &mut Vec<Completion>) {
        for (target, token) in std::mem::take(&mut self.cancellations) {
            // A send that is on its way to a thread is not found.
            let missed = !self.calm && self.entropy.once_in(4);
            let hit = |o: &Operation| match target {
                Cancelled::One(target) if missed && target.op() == Op::Send => false,
                Cancelled::One(target) => o.token == target,
                Cancelled::All(fd) => o.fd == fd,
            };
            let (cancelled, kept) = self.operations.drain(..).partition::<Vec<_>, _>(hit);
            self.operations = kept;
            let found = cancelled.len() as i32;
            // The answer may come before or after what it is about.
            let answer_first = self.entropy.once_in(2);
            let answer = if found == 0 { -libc::ENOENT } else { 0 };
            if answer_first {
                completions.push(last(token, answer));
            }
            for operation in cancelled {
                let result = match operation.request {
                    Request::Send { sent, .. } if sent > 0 => sent as i32,
                    _ => -libc::ECANCELED,
                };
                completions.push(last(operation.token, result));
            }
            if !answer_first {
                completions.push(last(token, answer));
            }
        }
    }

    /// Lets one operation do what it can. Returns it if it goes on.
    fn step(&mut self, mut operation: Operation, out: &mut Vec<Completion>) -> Option<Operation> {
        let token = operation.token;
        match &mut operation.request {
            Request::Accept { multishot } => {
                let multishot = *multishot;
                if self.entropy.once_in(40) {
                    out.push(last(token, -libc::EMFILE));
                    return None;
                }
                let Some(fd) = self.backlog.pop_front() else {
                    return Some(operation);
                };
                let more = multishot && !self.entropy.once_in(10);
                out.push(Completion {
                    more,
                    ..last(token, fd)
                });
                more.then_some(operation)
            }
            Request::Connect => match self.connect_outcome() {
                None => Some(operation),
                Some(result) => {
                    out.push(last(token, result));
                    None
                }
            },
            Request::Receive { left, once } => {
                let (fd, once) = (operation.fd, *once);
                let goes_on = self.step_receive(fd, left, once, token, out);
                goes_on.then_some(operation)
            }
            Request::Send { chunk, sent } => {
                let (chunk, before) = (*chunk, *sent);
                let fd = operation.fd;
                match self.step_send(fd, chunk, before) {
                    Ok(now) => *sent = now,
                    Err(result) => {
                        out.push(last(token, result));
                        return None;
                    }
                }
                Some(operation)
            }
            Request::Poll { interest, told } => {
                let events = self.events(operation.fd, *interest);
                let news = events & !*told != 0;
                *told = events;
                if !news {
                    return Some(operation);
                }
                let more = *interest != Interest::Read && !self.entropy.once_in(10);
                out.push(Completion {
                    more,
                    ..last(token, events)
                });
                more.then_some(operation)
            }
        }
    }

    fn is_short_of_memory(&self) -> bool {
        self.no_memory && !self.calm
    }

    /// How much is moved at a time.
    fn amount(&mut self) -> usize {
        if self.calm {
            usize::MAX
        } else {
            self.entropy.amount()
        }
    }

    fn connect_outcome(&mut self) -> Option<i32> {
        if self.calm {
            return Some(-libc::ECONNREFUSED);
        }
        match self.entropy.below(12) {
            0..7 => Some(0),
            7 => Some(-libc::ECONNREFUSED),
            8 => Some(-libc::EHOSTUNREACH),
            9 => Some(-libc::EADDRNOTAVAIL),
            _ => None,
        }
    }

    fn step_receive(
        &mut self,
        fd: Fd,
        left: &mut u32,
        once: bool,
        token: Token,
        out: &mut Vec<Completion>,
    ) -> bool {
        let surprise = if self.calm { 1 } else { self.entropy.below(60) };
        let want = self.amount().min(BUFFER_BYTES as usize).min(*left as usize);
        let socket = &self.sockets[&fd.0];
        let available = socket.available();
        if available == 0 {
            let result = match (
                socket.peer_reset,
                socket.reset_reported,
                socket.peer_finished,
            ) {
                (true, false, _) => -libc::ECONNRESET,
                (true, true, _) | (_, _, true) => 0,
                _ => return true,
            };
            self.open_socket(fd).reset_reported |= result < 0;
            out.push(last(token, result));
            return false;
        }
        if surprise == 59 || self.is_short_of_memory() {
            self.open_socket(fd).short_of_memory = true;
            out.push(last(token, -libc::ENOMEM));
            return false;
        }
        let Some(buffer) = self.free.pop() else {
            out.push(last(token, -libc::ENOBUFS));
            return false;
        };
        let len = want.clamp(1, available);
        let socket = self.sockets.get_mut(&fd.0).expect("checked above");
        socket.take(&mut self.memory[usize::from(buffer.0)][..len]);
        *left -= len as u32;
        let more = !once && *left > 0 && surprise != 58;
        out.push(Completion {
            more,
            buffer: Some(buffer),
            ..last(token, len as i32)
        });
        more
    }

    /// How much of the chunk is sent now, or the result when the operation is over.
    fn step_send(&mut self, fd: Fd, chunk: Chunk, sent: usize) -> Result<usize, i32> {
        if sent == 0 && (self.is_short_of_memory() || !self.calm && self.entropy.once_in(80)) {
            self.open_socket(fd).short_of_memory = true;
            return Err(-libc::ENOMEM);
        }
        let socket = self.open_socket(fd);
        if socket.peer_reset {
            let error = if socket.reset_reported {
                -libc::EPIPE
            } else {
                -libc::ECONNRESET
            };
            socket.reset_reported = true;
            return Err(if sent > 0 { sent as i32 } else { error });
        }
        let len = socket.room().min(chunk.len() - sent);
        let start = usize::from(chunk.start) + sent;
        let bytes = self.memory[usize::from(chunk.buffer.0)][start..start + len].to_vec();
        self.open_socket(fd).give(&bytes);
        let sent = sent + len;
        if sent == chunk.len() {
            Err(sent as i32)
        } else {
            Ok(sent)
        }
    }

    /// Somebody has tried whether there is room. If there is none, or no more, the next that comes
    /// is news to those who wait for it.
    fn room_was_tried(&mut self, fd: Fd) {
        for operation in &mut self.operations {
            if let Request::Poll { told, .. } = &mut operation.request
                && operation.fd == fd
            {
                *told &= !i32::from(libc::POLLOUT);
            }
        }
    }

    /// What poll(2) would report, a peer's FIN and reset whether they were asked for or not.
    fn events(&self, fd: Fd, interest: Interest) -> i32 {
        if fd.0 < FIRST_FD {
            return if self.woken { libc::POLLIN.into() } else { 0 };
        }
        let socket = &self.sockets[&fd.0];
        let asked_for = match interest {
            Interest::Read if socket.available() > 0 => libc::POLLIN,
            Interest::Room if socket.room() > 0 => libc::POLLOUT,
            _ => 0,
        };
        let finished = if socket.peer_finished {
            libc::POLLRDHUP
        } else {
            0
        };
        let reset = libc::POLLERR | libc::POLLHUP | libc::POLLRDHUP;
        i32::from(asked_for | finished | if socket.peer_reset { reset } else { 0 })
    }
}

impl Kernel for SimKernel<'_> {
    fn now_us(&self) -> u64 {
        self.now_us
    }

    fn accept(&mut self, socket: Fd, multishot: bool, token: Token) {
        self.queue(Request::Accept { multishot }, socket, token);
    }

    fn connect(&mut self, socket: Fd, _: &SockAddr, token: Token) {
        self.connects.push((socket, token.slot()));
        self.queue(Request::Connect, socket, token);
    }

    fn receive(&mut self, socket: Fd, how: Receiving, token: Token) {
        let request = Request::Receive {
            left: RECEIVE_CAP_BYTES,
            once: how.once,
        };
        self.queue(request, socket, token);
    }

    fn send(&mut self, socket: Fd, chunk: Chunk, token: Token) {
        assert!(chunk.len() > 0, "an empty send");
        assert!(!self.is_free(chunk.buffer), "a released buffer is sent");
        self.queue(Request::Send { chunk, sent: 0 }, socket, token);
    }

    fn poll(&mut self, fd: Fd, interest: Interest, token: Token) {
        self.queue(Request::Poll { interest, told: 0 }, fd, token);
    }

    fn cancel(&mut self, target: Token, token: Token) {
        self.cancellations.push((Cancelled::One(target), token));
    }

    fn cancel_all(&mut self, fd: Fd, token: Token) {
        self.open_socket(fd);
        self.cancellations.push((Cancelled::All(fd), token));
    }

    fn turn(
        &mut self,
        wait: Option<Duration>,
        batch: Option<Batch>,
        completions: &mut Vec<Completion>,
    ) -> io::Result<()> {
        assert!(
            batch.is_none_or(|batch| batch.completions > 1),
            "a batch of one is none"
        );
        completions.append(&mut self.late);
        self.cancel_submitted(completions);
        let mut waiting = std::mem::take(&mut self.operations);
        let mut kept = Vec::new();
        let mut held_back = false;
        while !waiting.is_empty() {
            let chosen = self.entropy.below(waiting.len());
            let operation = waiting.swap_remove(chosen);
            if !self.calm && !self.steady && self.entropy.once_in(3) {
                kept.push(operation);
                held_back = true;
                continue;
            }
            kept.extend(self.step(operation, completions));
        }
        self.operations = kept;
        // Only a kernel with nothing left to do lets the time pass.
        let slept = if completions.is_empty() && !held_back {
            wait.unwrap_or(Duration::from_secs(1))
        } else {
            Duration::from_micros(self.entropy.below(4000) as u64)
        };
        // A wait ends at the timer's tick or after it, never before.
        self.now_us += slept.as_micros() as u64;
        Ok(())
    }

    fn can_batch(&self) -> bool {
        true
    }

    fn in_flight(&self) -> u64 {
        self.operations.len() as u64
    }

    fn take_overflow(&mut self) -> bool {
        false
    }

    fn append(&mut self, to: Chunk, from: Chunk) -> Chunk {
        let start = usize::from(from.start);
        let bytes = self.memory[usize::from(from.buffer.0)][start..start + from.len()].to_vec();
        let end = usize::from(to.end);
        self.memory[usize::from(to.buffer.0)][end..end + bytes.len()].copy_from_slice(&bytes);
        Chunk {
            end: to.end + bytes.len() as u16,
            ..to
        }
    }

    fn take_buffer(&mut self) -> Option<BufferId> {
        self.free.pop()
    }

    fn take_wide_buffer(&mut self) -> Option<BufferId> {
        self.free_wide.pop()
    }

    fn whole(&self, buffer: BufferId) -> Chunk {
        Chunk {
            buffer,
            start: 0,
            end: self.memory[usize::from(buffer.0)].len() as u16,
        }
    }

    fn pair(&mut self, first: Chunk, second: Chunk) -> (&mut [u8], &mut [u8]) {
        let ids = [first.buffer, second.buffer].map(|buffer| usize::from(buffer.0));
        let [one, other] = self.memory.get_disjoint_mut(ids).expect("two buffers");
        let range = |chunk: Chunk| usize::from(chunk.start)..usize::from(chunk.end);
        (&mut one[range(first)], &mut other[range(second)])
    }

    /// Nothing is left of any.
    fn keep_secret(&mut self, buffer: BufferId) {
        assert!(!self.is_free(buffer), "a released buffer is written");
    }

    fn release(&mut self, buffer: BufferId) {
        assert!(!self.is_free(buffer), "a buffer is released once");
        let sends = self
            .operations
            .iter()
            .any(|o| matches!(o.request, Request::Send { chunk, .. } if chunk.buffer == buffer));
        assert!(!sends, "a buffer is released while it is being sent");
        self.memory[usize::from(buffer.0)].fill(0xee);
        match usize::from(buffer.0) < self.buffers {
            true => self.free.push(buffer),
            false => self.free_wide.push(buffer),
        }
    }

    fn socket(&mut self, _: &SockAddr) -> io::Result<Fd> {
        if self.is_short_of_memory() || !self.calm && self.entropy.once_in(50) {
            return Err(io::Error::from_raw_os_error(libc::EMFILE));
        }
        let tls = self.dialect.server();
        Ok(Fd(self.new_socket(tls)))
    }

    fn is_connected(&mut self, socket: Fd) -> bool {
        self.open_socket(socket);
        self.calm || !self.entropy.once_in(30)
    }

    fn tune(&mut self, socket: Fd, _: &Tuning) {
        self.open_socket(socket);
    }

    fn accept_now(&mut self, _: Fd) -> io::Result<Fd> {
        let waiting = self.backlog.pop_front().map(Fd);
        waiting.ok_or_else(|| io::Error::from_raw_os_error(libc::EAGAIN))
    }

    fn finish_sending(&mut self, socket: Fd) {
        let socket = self.open_socket(socket);
        assert!(!socket.we_finished, "one FIN is enough");
        socket.we_finished = true;
    }

    fn close(&mut self, socket: Fd, farewell: Farewell) {
        let used = self.operations.iter().find(|o| o.fd == socket);
        assert!(
            used.is_none(),
            "closed with an operation in flight: {used:?}"
        );
        self.open_socket(socket).closed = Some(farewell);
    }

    fn stop_listening(&mut self, _: Fd) {}

    fn send_now(&mut self, socket: Fd, chunk: Chunk) -> io::Result<usize> {
        self.room_was_tried(socket);
        match self.step_send(socket, chunk, 0) {
            Ok(0) => Err(io::Error::from_raw_os_error(libc::EAGAIN)),
            Ok(sent) => Ok(sent),
            Err(result) if result < 0 => Err(io::Error::from_raw_os_error(-result)),
            Err(sent) => Ok(sent as usize),
        }
    }

    fn send_bytes(&mut self, socket: Fd, bytes: &[u8]) -> io::Result<usize> {
        let socket = self.open_socket(socket);
        let len = socket.room().min(bytes.len());
        if len == 0 {
            return Err(io::Error::from_raw_os_error(libc::EAGAIN));
        }
        socket.give(&bytes[..len]);
        Ok(len)
    }

    fn bytes(&mut self, chunk: Chunk) -> &mut [u8] {
        assert!(!self.is_free(chunk.buffer), "a released buffer is read");
        let range = usize::from(chunk.start)..usize::from(chunk.end);
        &mut self.memory[usize::from(chunk.buffer.0)][range]
    }

    fn buffers_left(&self) -> usize {
        self.free.len()
    }

    fn has_pipe(&self) -> bool {
        self.pipes.len() < PIPES
    }

    fn pipe(&mut self) -> Option<Pipe> {
        if !self.has_pipe() || !self.calm && self.entropy.once_in(20) {
            return None;
        }
        let fd = self.next_fd;
        self.next_fd += 1;
        self.pipes.insert(fd, VecDeque::new());
        Some(Pipe::new(fd, fd))
    }

    fn return_pipe(&mut self, pipe: Pipe) {
        let bytes = self
            .pipes
            .remove(&pipe.read.0)
            .expect("a pipe is returned once");
        assert!(bytes.is_empty(), "a pipe is returned empty");
    }

    fn discard_pipe(&mut self, pipe: Pipe) {
        self.pipes
            .remove(&pipe.read.0)
            .expect("a pipe is discarded once");
    }

    fn splice_in(&mut self, socket: Fd, pipe: Pipe, len: usize) -> io::Result<usize> {
        let want = self.amount().min(len).min(PIPE_CAPACITY);
        // Urgent data: splice(2) stops before it, and takes it for the end if there is one behind.
        let urgent = !self.calm && self.entropy.once_in(30);
        let socket = self.open_socket(socket);
        let available = socket.available();
        if urgent && available > 0 && !socket.peer_reset {
            return match socket.peer_finished {
                true => Ok(0),
                false => Err(io::Error::from_raw_os_error(libc::EAGAIN)),
            };
        }
        if available == 0 {
            let errno = match (
                socket.peer_reset,
                socket.reset_reported,
                socket.peer_finished,
            ) {
                (true, false, _) => libc::ECONNRESET,
                (true, true, _) | (_, _, true) => return Ok(0),
                _ => libc::EAGAIN,
            };
            socket.reset_reported |= errno == libc::ECONNRESET;
            return Err(io::Error::from_raw_os_error(errno));
        }
        let len = want.clamp(1, available);
        let mut bytes = vec![0; len];
        socket.take(&mut bytes);
        let pipe = self.pipes.get_mut(&pipe.write.0).expect("the pipe is open");
        pipe.extend(bytes);
        Ok(len)
    }

    fn splice_out(&mut self, pipe: Pipe, socket: Fd, len: usize) -> io::Result<usize> {
        let fd = socket;
        self.room_was_tried(fd);
        let socket = self.open_socket(fd);
        if socket.peer_reset {
            let errno = if socket.reset_reported {
                libc::EPIPE
            } else {
                libc::ECONNRESET
            };
            socket.reset_reported = true;
            return Err(io::Error::from_raw_os_error(errno));
        }
        let len = len.min(socket.room());
        if len == 0 {
            return Err(io::Error::from_raw_os_error(libc::EAGAIN));
        }
        let pipe = self.pipes.get_mut(&pipe.read.0).expect("the pipe is open");
        let bytes: Vec<u8> = pipe.drain(..len).collect();
        self.open_socket(fd).give(&bytes);
        Ok(len)
    }

    fn unacknowledged(&mut self, socket: Fd) -> usize {
        self.open_socket(socket);
        self.entropy.below(2)
    }

    fn acknowledged(&mut self, socket: Fd) -> u64 {
        self.open_socket(socket).given
    }

    fn peer(&mut self, socket: Fd) -> Option<SocketAddr> {
        let peer = self.open_socket(socket).peer;
        Some(([10, 0, (peer >> 16) as u8, 0], peer as u16).into())
    }

    fn drain_wake(&mut self) {
        self.woken = false;
    }
}

fn last(token: Token, result: i32) -> Completion {
    Completion {
        token,
        result,
        more: false,
        buffer: None,
    }
}

fn ids(range: Range<usize>) -> Vec<BufferId> {
    range.map(|id| BufferId(id as u16)).collect()
}
