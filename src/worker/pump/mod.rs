//! Moving bytes from a stream's source to its destination: what both ways of doing it share.
//!
//! A stream holds at most what one receive may bring, or one pipe. Its source is read again only
//! when that has been sent, so a destination that does not read stops its source, and memory stays
//! as it is.

mod copy;
mod splice;

use super::event_loop::Worker;
use super::kernel::{Completion, Interest, Kernel};
use super::session::{Mode, Receive, Sink, Source, Stage, Waiting, source_of};
use super::token::Op;
use crate::limits::MEMORY_FAILURES_MAX;
use crate::telemetry::{Reason, Who};

impl<K: Kernel> Worker<K> {
    /// Does the next thing that a stream can do now: send, pass its end on, or read on.
    pub(super) fn advance(&mut self, slot: u32, stream: usize) {
        let session = &self.sessions[slot];
        if matches!(session.stage, Stage::Connecting | Stage::Closing) {
            return;
        }
        let state = &session.streams[stream];
        if state.sink == Sink::Broken || state.sending || state.waiting != Waiting::Nothing {
            return;
        }
        if let Some(chunk) = state.chunks.first() {
            // A peer that has sent FIN is ready for anything, as the ring sees it: it would try in
            // vain until there is room, and then block a thread of its own.
            return match session.streams[1 - stream].source {
                Source::Open => self.send(slot, stream, chunk),
                _ => self.send_now(slot, stream, chunk),
            };
        }
        if state.mode == Mode::Splice && state.pipe_bytes > 0 {
            return self.splice_round(slot, stream);
        }
        match (state.source, state.mode, state.receive) {
            (Source::Finished, _, _) => self.finish(slot, stream),
            (Source::Lost, _, _) => self.pass_reset_on(slot),
            (Source::Open, Mode::Splice, _) => self.splice_round(slot, stream),
            (Source::Open, Mode::Switching, Receive::Idle) => self.start_splicing(slot, stream),
            (Source::Open, Mode::Copy, Receive::Idle) => self.arm_receive(slot, stream, true),
            (Source::Open, _, _) => {}
        }
    }

    /// Notes that a stream's source has sent FIN.
    pub(super) fn source_finished(&mut self, slot: u32, stream: usize) {
        let now_ms = self.now_ms();
        let session = &mut self.sessions[slot];
        let back = &session.streams[1 - stream];
        if back.sink == Sink::Broken || back.cut_short {
            // A send to this peer failed and took the error with it: what looks like a FIN is the
            // end of a connection that was reset.
            let reason = session.end.map_or(Reason::Reset, |end| end.reason);
            return self.source_lost(slot, stream, reason);
        }
        session.first_to_finish.get_or_insert(source_of(stream));
        session.streams[stream].source = Source::Finished;
        session.progress_ms = now_ms;
        self.recall_send(slot, 1 - stream);
        if self.sessions[slot].stage == Stage::Relaying {
            self.reschedule(slot);
        }
    }

    /// Passes a FIN on, all bytes before it having been sent.
    fn finish(&mut self, slot: u32, stream: usize) {
        let session = &mut self.sessions[slot];
        if session.streams[stream].sink == Sink::Finished {
            return;
        }
        session.streams[stream].sink = Sink::Finished;
        if session.streams[1 - stream].sink == Sink::Finished {
            // Nothing is on its way either way, and closing sends the second FIN.
            let who = session.first_to_finish.expect("both sides have finished");
            return self.end(slot, who, Reason::Finished);
        }
        let destination = session.destination(stream);
        self.kernel.finish_sending(destination);
    }

    /// Counts bytes that have come from a stream's source.
    fn count_received(&mut self, slot: u32, stream: usize, bytes: u64) {
        let now_ms = self.now_ms();
        let session = &mut self.sessions[slot];
        session.memory_failures = 0;
        session.progress_ms = now_ms;
        session.streams[stream].received += bytes;
        session.route.counters().bytes[stream].received.add(bytes);
    }

    /// Counts bytes that the kernel has taken for a stream's destination.
    fn count_sent(&mut self, slot: u32, stream: usize, bytes: u64) {
        let now_ms = self.now_ms();
        let session = &mut self.sessions[slot];
        session.memory_failures = 0;
        session.progress_ms = now_ms;
        session.streams[stream].sent += bytes;
        session.route.counters().bytes[stream].sent.add(bytes);
        if let Some(member) = session.member {
            session.route.server_counters(member).bytes[stream].add(bytes);
        }
    }

    /// The destination is full: goes on when it has room.
    fn wait_for_room(&mut self, slot: u32, stream: usize) {
        let state = &mut self.sessions[slot].streams[stream];
        state.waiting = Waiting::ForRoom;
        if !state.room_watched {
            self.watch_for_room(slot, stream);
        }
    }

    fn watch_for_room(&mut self, slot: u32, stream: usize) {
        let session = &mut self.sessions[slot];
        session.streams[stream].room_watched = true;
        let destination = session.destination(stream);
        let token = self.launch(Op::Room, stream, slot);
        self.kernel.poll(destination, Interest::Room, token);
    }

    /// Something has changed about a stream's destination: there is room, perhaps.
    pub(super) fn on_room(&mut self, slot: u32, stream: usize, completion: &Completion) {
        let session = &mut self.sessions[slot];
        let state = &mut session.streams[stream];
        state.room_watched = completion.more;
        let over = session.stage == Stage::Closing || state.sink == Sink::Broken;
        if over || state.waiting != Waiting::ForRoom {
            return;
        }
        let events = completion.result;
        if events == -libc::ENOMEM {
            state.waiting = Waiting::Nothing;
            return self.out_of_memory(slot, stream, Op::Room);
        }
        let wanted = i32::from(libc::POLLOUT | libc::POLLERR | libc::POLLHUP);
        if events > 0 && events & wanted == 0 {
            // A FIN, which is known.
            if !completion.more {
                self.watch_for_room(slot, stream);
            }
            return;
        }
        // Should it be an error, the next try to send tells which.
        state.waiting = Waiting::Nothing;
        self.advance(slot, stream);
    }

    /// An operation failed for want of memory: tries it again a little later, a few times.
    fn out_of_memory(&mut self, slot: u32, stream: usize, op: Op) {
        let session = &mut self.sessions[slot];
        session.memory_failures += 1;
        if session.memory_failures > MEMORY_FAILURES_MAX {
            return self.end(slot, Who::Ringway, Reason::OutOfMemory);
        }
        let token = self.sessions.token(op, stream, slot);
        self.postpone(token);
    }
}
