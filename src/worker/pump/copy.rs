//! Through buffers: multishot receives, ring sends. For everything but bulk.

use crate::limits::{BUFFER_BYTES, SPLICE_AFTER_BURSTS, SPLICE_BURST_BYTES};
use crate::telemetry::Reason;
use crate::worker::close::{peer_error, to_blame};
use crate::worker::event_loop::Worker;
use crate::worker::kernel::{BufferId, Chunk, Completion, Kernel};
use crate::worker::session::{
    Mode, Receive, Sink, Source, Stage, Stream, destination_of, source_of,
};
use crate::worker::token::Op;

impl<K: Kernel> Worker<K> {
    /// Starts to receive from a stream's source.
    pub(in crate::worker) fn arm_receive(&mut self, slot: u32, stream: usize, expect_data: bool) {
        let session = &mut self.sessions[slot];
        let state = &mut session.streams[stream];
        if session.stage == Stage::Closing
            || state.receive != Receive::Idle
            || state.source != Source::Open
            || state.sink == Sink::Broken
        {
            return;
        }
        state.receive = Receive::Armed;
        let source = session.source(stream);
        let token = self.launch(Op::Receive, stream, slot);
        self.kernel.receive(source, expect_data, token);
    }

    /// Stops the receive in flight, if there is one. What it has brought already still comes.
    pub(in crate::worker) fn cancel_receive(&mut self, slot: u32, stream: usize) {
        let state = &mut self.sessions[slot].streams[stream];
        if state.receive == Receive::Armed {
            state.receive = Receive::Cancelling;
            let target = self.sessions.token(Op::Receive, stream, slot);
            let token = self.launch(Op::Cancel, stream, slot);
            self.kernel.cancel(target, token);
        }
    }

    /// Bytes, an end or an error from a stream's source.
    pub(in crate::worker) fn on_receive(
        &mut self,
        slot: u32,
        stream: usize,
        completion: &Completion,
    ) {
        let session = &mut self.sessions[slot];
        let state = &mut session.streams[stream];
        if !completion.more {
            state.receive = Receive::Idle;
        }
        let unwanted = session.stage == Stage::Closing || state.sink == Sink::Broken;
        if let Some(buffer) = completion.buffer {
            let bytes = completion.result.max(0) as u32;
            if unwanted || bytes == 0 {
                self.drop_received(slot, stream, buffer, bytes);
            } else {
                self.take_received(slot, stream, buffer, bytes);
            }
        }
        match self.sessions[slot].stage {
            Stage::Closing => return,
            // Nobody reads on before there is a server: the client is watched instead.
            Stage::Connecting if !completion.more => self.reschedule(slot),
            Stage::Connecting | Stage::Relaying | Stage::Resetting => {}
        }
        match -completion.result {
            0 => self.source_finished(slot, stream),
            error if error < 0 => {}
            libc::ECANCELED | libc::EAGAIN | libc::EINTR => {}
            libc::ENOBUFS => {
                self.sessions[slot].streams[stream].receive = Receive::Starved;
                self.counters().buffers_exhausted.add(1);
                let token = self.sessions.token(Op::Receive, stream, slot);
                self.starved.push_back(token);
            }
            libc::ENOMEM => {
                self.sessions[slot].streams[stream].receive = Receive::Starved;
                self.out_of_memory(slot, stream, Op::Receive);
            }
            error => self.receive_failed(slot, stream, peer_error(error)),
        }
        self.advance(slot, stream);
    }

    /// A send has moved bytes or failed.
    pub(in crate::worker) fn on_send(&mut self, slot: u32, stream: usize, result: i32) {
        let session = &mut self.sessions[slot];
        let peer_open = session.streams[1 - stream].source == Source::Open;
        let state = &mut session.streams[stream];
        state.sending = false;
        let sent = result.max(0) as usize;
        if sent > 0 {
            // Sends to a peer that is still open were not cancelled.
            state.cut_short = sent < usize::from(state.send_bytes) && peer_open;
            self.consume(slot, stream, sent);
        }
        let session = &self.sessions[slot];
        if session.stage == Stage::Closing || session.streams[stream].sink == Sink::Broken {
            return self.discard(slot, stream);
        }
        match -result {
            error if error <= 0 => {}
            libc::ECANCELED | libc::EAGAIN | libc::EINTR => {}
            libc::ENOMEM | libc::ENOBUFS => return self.out_of_memory(slot, stream, Op::Send),
            error => return self.send_failed(slot, stream, peer_error(error)),
        }
        self.advance(slot, stream);
    }

    /// Stops the send in flight, if it is to a peer that has finished sending: it goes on outside
    /// the ring, see `advance`. What it has sent already is told by its completion.
    pub(in crate::worker) fn recall_send(&mut self, slot: u32, stream: usize) {
        if self.sends_in_vain(slot, stream) {
            let target = self.sessions.token(Op::Send, stream, slot);
            let token = self.launch(Op::Cancel, stream, slot);
            self.kernel.cancel(target, token);
        }
    }

    /// A cancellation has been answered. One of a send can miss it, while the kernel hands it from
    /// its task to a thread: it is cancelled again until it has come back.
    pub(in crate::worker) fn on_cancelled(&mut self, slot: u32, stream: usize) {
        if self.sends_in_vain(slot, stream) {
            let token = self.sessions.token(Op::Cancel, stream, slot);
            self.postpone(token);
        }
    }

    fn sends_in_vain(&self, slot: u32, stream: usize) -> bool {
        let session = &self.sessions[slot];
        let finished = session.streams[1 - stream].source != Source::Open;
        finished && session.streams[stream].sending && session.stage != Stage::Closing
    }

    /// Sends as much of a stream's first chunk as there is room for.
    pub(super) fn send_now(&mut self, slot: u32, stream: usize, chunk: Chunk) {
        let destination = self.sessions[slot].destination(stream);
        let error = match self.kernel.send_now(destination, chunk) {
            Ok(sent) => {
                self.consume(slot, stream, sent);
                return self.advance(slot, stream);
            }
            Err(error) => error.raw_os_error().unwrap_or(libc::EIO),
        };
        match error {
            libc::EAGAIN | libc::EINTR => self.wait_for_room(slot, stream),
            libc::ENOMEM | libc::ENOBUFS => self.out_of_memory(slot, stream, Op::Send),
            error => self.send_failed(slot, stream, peer_error(error)),
        }
    }

    /// The first `sent` bytes of what a stream holds have been sent.
    fn consume(&mut self, slot: u32, stream: usize, sent: usize) {
        self.count_sent(slot, stream, sent as u64);
        self.counters().copy_bytes.add(sent as u64);
        if let Some(buffer) = self.sessions[slot].streams[stream].chunks.consume(sent) {
            self.kernel.release(buffer);
        }
    }

    /// Sends a stream's first chunk.
    pub(super) fn send(&mut self, slot: u32, stream: usize, chunk: Chunk) {
        let session = &mut self.sessions[slot];
        session.streams[stream].sending = true;
        session.streams[stream].send_bytes = chunk.len() as u16;
        let destination = session.destination(stream);
        let token = self.launch(Op::Send, stream, slot);
        self.kernel.send(destination, chunk, token);
    }

    pub(super) fn receive_failed(&mut self, slot: u32, stream: usize, reason: Reason) {
        if reason == Reason::Internal {
            return self.end(slot, to_blame(source_of(stream), reason), reason);
        }
        self.source_lost(slot, stream, reason);
    }

    pub(super) fn send_failed(&mut self, slot: u32, stream: usize, reason: Reason) {
        if reason == Reason::Internal {
            return self.end(slot, to_blame(destination_of(stream), reason), reason);
        }
        self.sink_lost(slot, stream, reason);
    }

    fn take_received(&mut self, slot: u32, stream: usize, buffer: BufferId, bytes: u32) {
        self.count_received(slot, stream, bytes.into());
        let chunk = Chunk {
            buffer,
            start: 0,
            end: bytes as u16,
        };
        let kernel = &mut self.kernel;
        let state = &mut self.sessions[slot].streams[stream];
        let merged = state.chunks.push(chunk, |to, from| kernel.append(to, from));
        if let Some(buffer) = merged {
            kernel.release(buffer);
        }
        let bulk = is_bulk(state, bytes) && self.kernel.has_pipe();
        if bulk && self.sessions[slot].stage == Stage::Relaying {
            self.sessions[slot].streams[stream].mode = Mode::Switching;
            self.cancel_receive(slot, stream);
        }
    }

    fn drop_received(&mut self, slot: u32, stream: usize, buffer: BufferId, bytes: u32) {
        self.kernel.release(buffer);
        self.count_received(slot, stream, bytes.into());
    }
}

/// Whether a stream in copy mode has turned out to be a bulk stream. Judged by what comes at a
/// time: a burst ends when a read does not fill its buffer, which empties the socket.
fn is_bulk(stream: &mut Stream, bytes: u32) -> bool {
    if stream.mode != Mode::Copy {
        return false;
    }
    stream.burst_bytes += bytes;
    let burst_over = bytes < BUFFER_BYTES || stream.burst_bytes >= 2 * SPLICE_BURST_BYTES;
    if burst_over {
        let big = std::mem::take(&mut stream.burst_bytes) >= SPLICE_BURST_BYTES;
        stream.streak = if big {
            stream.streak.saturating_add(1)
        } else {
            0
        };
    }
    stream.streak >= SPLICE_AFTER_BURSTS
}
