//! Through a pipe: readiness from the ring, then splice(2) on the worker's own thread. For bulk.
//!
//! `IORING_OP_SPLICE` is not used: the kernel hands each one to a helper thread, which costs half as
//! much again and more (see `docs/benchmarks.md`).

use std::io;

use crate::limits::{
    COPY_AFTER_SMALL_ROUNDS, COPY_BELOW_BYTES, SPLICE_BYTES_PER_TURN, SPLICE_MORE_LIKELY_BYTES,
};
use crate::worker::close::peer_error;
use crate::worker::event_loop::Worker;
use crate::worker::kernel::{Interest, Kernel, Pipe};
use crate::worker::session::{Mode, Receive, Sink, Source, Stage, Waiting};
use crate::worker::token::Op;

/// What a step of a round came to.
enum Step {
    /// So many bytes moved.
    Moved(usize),
    /// The round is over: what happens next has been set in motion.
    Over,
}

impl<K: Kernel> Worker<K> {
    /// The receive is out of the way and the chunks are sent: goes on through a pipe.
    pub(super) fn start_splicing(&mut self, slot: u32, stream: usize) {
        let state = &mut self.sessions[slot].streams[stream];
        assert!(
            state.receive == Receive::Idle && state.chunks.is_empty(),
            "one way at a time"
        );
        state.mode = Mode::Splice;
        state.streak = 0;
        self.splice_round(slot, stream);
    }

    /// The source can be read.
    pub(in crate::worker) fn on_readable(&mut self, slot: u32, stream: usize, result: i32) {
        let session = &mut self.sessions[slot];
        let state = &mut session.streams[stream];
        state.waiting = Waiting::Nothing;
        if session.stage == Stage::Closing || state.sink == Sink::Broken {
            return;
        }
        match -result {
            error if error < 0 => state.readable = true,
            libc::ENOMEM => return self.out_of_memory(slot, stream, Op::Readable),
            0 | libc::ECANCELED | libc::EINTR | libc::EAGAIN => {}
            error => return self.receive_failed(slot, stream, peer_error(error)),
        }
        self.advance(slot, stream);
    }

    /// Moves what can be moved now, within the turn's allowance, and arranges to be woken for the
    /// rest.
    pub(super) fn splice_round(&mut self, slot: u32, stream: usize) {
        let mut moved = 0;
        loop {
            if self.sessions[slot].streams[stream].pipe_bytes > 0 {
                match self.empty_pipe(slot, stream) {
                    Step::Moved(_) => {}
                    Step::Over => return,
                }
            }
            if self.sessions[slot].streams[stream].source != Source::Open {
                return self.advance(slot, stream);
            }
            if moved >= SPLICE_BYTES_PER_TURN {
                return self.wait_until_readable(slot, stream);
            }
            match self.fill_pipe(slot, stream, SPLICE_BYTES_PER_TURN - moved) {
                Step::Moved(bytes) if bytes >= SPLICE_MORE_LIKELY_BYTES => moved += bytes,
                Step::Moved(bytes) => {
                    // The source is probably empty: asking again would tell, and cost a call.
                    match self.empty_pipe(slot, stream) {
                        Step::Moved(_) => {}
                        Step::Over => return,
                    }
                    return self.end_round(slot, stream, moved + bytes);
                }
                Step::Over => return,
            }
        }
    }

    /// Moves bytes from the source into the pipe.
    fn fill_pipe(&mut self, slot: u32, stream: usize, len: usize) -> Step {
        let Some(pipe) = self.pipe(slot, stream) else {
            return Step::Over;
        };
        let source = self.sessions[slot].source(stream);
        match self.kernel.splice_in(source, pipe, len) {
            Ok(0) => {
                // The end, or urgent data with an end behind it: a receive tells the two apart.
                self.drop_pipe(slot, stream);
                self.turn_to_copying(slot, stream);
                Step::Over
            }
            Ok(bytes) => {
                let state = &mut self.sessions[slot].streams[stream];
                state.readable = false;
                state.pipe_bytes = bytes as u32;
                self.count_received(slot, stream, bytes as u64);
                Step::Moved(bytes)
            }
            Err(error) => {
                self.drop_pipe(slot, stream);
                match error.raw_os_error() {
                    Some(libc::EAGAIN | libc::EINTR) => {
                        let state = &mut self.sessions[slot].streams[stream];
                        if std::mem::take(&mut state.readable) {
                            // Readable, and yet not: splice(2) does not pass an urgent mark.
                            self.turn_to_copying(slot, stream);
                        } else {
                            self.wait_until_readable(slot, stream);
                        }
                    }
                    Some(libc::ENOMEM) => self.out_of_memory(slot, stream, Op::Readable),
                    _ => {
                        self.receive_failed(slot, stream, reason_of(&error));
                        self.advance(slot, stream);
                    }
                }
                Step::Over
            }
        }
    }

    /// Moves all bytes from the pipe to the destination and gives the pipe back.
    fn empty_pipe(&mut self, slot: u32, stream: usize) -> Step {
        let mut moved = 0;
        while self.sessions[slot].streams[stream].pipe_bytes > 0 {
            let session = &self.sessions[slot];
            let state = &session.streams[stream];
            let pipe = state.pipe.expect("bytes lie in a pipe");
            let (destination, len) = (session.destination(stream), state.pipe_bytes as usize);
            match self.kernel.splice_out(pipe, destination, len) {
                Ok(bytes) => {
                    assert!(bytes <= len, "the kernel moved more than there was");
                    moved += bytes;
                    self.sessions[slot].streams[stream].pipe_bytes -= bytes as u32;
                    self.count_sent(slot, stream, bytes as u64);
                    self.counters().splice_bytes.add(bytes as u64);
                }
                Err(error) => {
                    match error.raw_os_error() {
                        Some(libc::EAGAIN | libc::EINTR) => {
                            self.wait_for_room(slot, stream);
                        }
                        Some(libc::ENOMEM | libc::ENOBUFS) => {
                            self.out_of_memory(slot, stream, Op::Room);
                        }
                        _ => self.send_failed(slot, stream, reason_of(&error)),
                    }
                    return Step::Over;
                }
            }
        }
        self.drop_pipe(slot, stream);
        Step::Moved(moved)
    }

    /// Everything that came has been passed on: waits for more, or turns back to copying.
    fn end_round(&mut self, slot: u32, stream: usize, moved: usize) {
        let state = &mut self.sessions[slot].streams[stream];
        let small = moved < COPY_BELOW_BYTES as usize;
        state.streak = if small { state.streak + 1 } else { 0 };
        if state.streak >= COPY_AFTER_SMALL_ROUNDS {
            self.turn_to_copying(slot, stream);
        } else {
            self.wait_until_readable(slot, stream);
        }
    }

    fn turn_to_copying(&mut self, slot: u32, stream: usize) {
        let state = &mut self.sessions[slot].streams[stream];
        assert!(
            state.pipe_bytes == 0 && state.waiting == Waiting::Nothing,
            "one way at a time"
        );
        state.mode = Mode::Copy;
        state.streak = 0;
        state.burst_bytes = 0;
        self.arm_receive(slot, stream, false);
    }

    fn wait_until_readable(&mut self, slot: u32, stream: usize) {
        let session = &mut self.sessions[slot];
        session.streams[stream].waiting = Waiting::ToRead;
        let source = session.source(stream);
        let token = self.launch(Op::Readable, stream, slot);
        self.kernel.poll(source, Interest::Read, token);
    }

    /// The stream's pipe, or one from the pool; without one, copying has to do.
    fn pipe(&mut self, slot: u32, stream: usize) -> Option<Pipe> {
        if let Some(pipe) = self.sessions[slot].streams[stream].pipe {
            return Some(pipe);
        }
        let pipe = self.kernel.pipe();
        self.sessions[slot].streams[stream].pipe = pipe;
        if pipe.is_none() {
            self.turn_to_copying(slot, stream);
        }
        pipe
    }

    fn drop_pipe(&mut self, slot: u32, stream: usize) {
        if let Some(pipe) = self.sessions[slot].streams[stream].pipe.take() {
            self.kernel.return_pipe(pipe);
        }
    }
}

fn reason_of(error: &io::Error) -> crate::telemetry::Reason {
    peer_error(error.raw_os_error().unwrap_or(libc::EIO))
}
