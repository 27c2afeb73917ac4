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
use crate::worker::session::{CLIENT, Mode, Receive, Sink, Source, Stage, opposite};
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
    pub(in crate::worker) fn start_splicing(&mut self, slot: u32, stream: usize) {
        let session = &mut self.sessions[slot];
        let sent = session.outlet(stream).chunks.is_empty();
        let intake = session.intake(stream);
        assert!(intake.receive == Receive::Idle && sent, "one way at a time");
        intake.mode = Mode::Splice;
        intake.has_more = false;
        intake.streak = 0;
        self.splice_round(slot, stream);
    }

    /// The source can be read.
    pub(in crate::worker) fn on_readable(&mut self, slot: u32, stream: usize, result: i32) {
        let session = &mut self.sessions[slot];
        session.intake(stream).waiting = false;
        if session.stage == Stage::Closing || session.outlet(stream).sink == Sink::Broken {
            return;
        }
        match -result {
            error if error < 0 => {
                session.intake(stream).readable = true;
                if stream != CLIENT {
                    self.note_answered(slot);
                }
            }
            libc::ENOMEM => return self.out_of_memory(slot, stream, Op::Readable),
            0 | libc::ECANCELED | libc::EINTR | libc::EAGAIN => {}
            error => return self.receive_failed(slot, stream, peer_error(error)),
        }
        self.go_on_reading(slot, stream);
    }

    /// Moves what can be moved now, within the turn's allowance, and arranges to be woken for the
    /// rest.
    pub(in crate::worker) fn splice_round(&mut self, slot: u32, stream: usize) {
        let mut moved = 0;
        loop {
            if self.sessions[slot].leg(stream).intake.pipe_bytes > 0 {
                match self.empty_pipe(slot, stream) {
                    Step::Moved(_) => {}
                    Step::Over => return,
                }
            }
            if self.sessions[slot].leg(stream).intake.source != Source::Open {
                return self.go_on_reading(slot, stream);
            }
            if moved >= SPLICE_BYTES_PER_TURN {
                self.reads_on_at_once = true;
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
        let len = self.may_pass_unseen(slot, stream, len);
        if len == 0 {
            self.turn_to_copying(slot, stream);
            return Step::Over;
        }
        let Some(pipe) = self.pipe(slot, stream) else {
            return Step::Over;
        };
        let source = self.sessions[slot].leg(stream).socket;
        match self.kernel.splice_in(source, pipe, len) {
            Ok(0) => {
                // The end, or urgent data with an end behind it: a receive tells the two apart.
                self.drop_pipe(slot, stream);
                self.turn_to_copying(slot, stream);
                Step::Over
            }
            Ok(bytes) => {
                let intake = self.sessions[slot].intake(stream);
                intake.readable = false;
                intake.pipe_bytes = bytes as u32;
                self.count_received(slot, stream, bytes as u64);
                self.passed_unseen(slot, stream, bytes as u32);
                Step::Moved(bytes)
            }
            Err(error) => {
                self.drop_pipe(slot, stream);
                match error.raw_os_error() {
                    Some(libc::EAGAIN | libc::EINTR) => {
                        let intake = self.sessions[slot].intake(stream);
                        if std::mem::take(&mut intake.readable) {
                            // Readable, and yet not: splice(2) does not pass an urgent mark.
                            self.turn_to_copying(slot, stream);
                        } else {
                            self.wait_until_readable(slot, stream);
                        }
                    }
                    Some(libc::ENOMEM) => self.out_of_memory(slot, stream, Op::Readable),
                    _ => {
                        self.receive_failed(slot, stream, reason_of(&error));
                        self.go_on_reading(slot, stream);
                    }
                }
                Step::Over
            }
        }
    }

    /// Moves all bytes from the pipe to the destination and gives the pipe back.
    fn empty_pipe(&mut self, slot: u32, stream: usize) -> Step {
        let mut moved = 0;
        while self.sessions[slot].leg(stream).intake.pipe_bytes > 0 {
            let session = &self.sessions[slot];
            let intake = &session.leg(stream).intake;
            let destination = session.leg(opposite(stream)).socket;
            let pipe = intake.pipe.expect("bytes lie in a pipe");
            let len = intake.pipe_bytes as usize;
            match self.kernel.splice_out(pipe, destination, len) {
                Ok(bytes) => {
                    assert!(bytes <= len, "the kernel moved more than there was");
                    moved += bytes;
                    self.sessions[slot].intake(stream).pipe_bytes -= bytes as u32;
                    self.count_sent(slot, opposite(stream), bytes as u64);
                    self.counters().splice_bytes.add(bytes as u64);
                }
                Err(error) => {
                    let errno = error.raw_os_error().unwrap_or(libc::EIO);
                    self.refused_now(slot, opposite(stream), errno);
                    return Step::Over;
                }
            }
        }
        self.drop_pipe(slot, stream);
        Step::Moved(moved)
    }

    /// Everything that came has been passed on: waits for more, or turns back to copying.
    fn end_round(&mut self, slot: u32, stream: usize, moved: usize) {
        let intake = self.sessions[slot].intake(stream);
        let small = moved < COPY_BELOW_BYTES as usize;
        intake.streak = if small { intake.streak + 1 } else { 0 };
        if intake.streak >= COPY_AFTER_SMALL_ROUNDS {
            self.turn_to_copying(slot, stream);
        } else {
            self.wait_until_readable(slot, stream);
        }
    }

    fn turn_to_copying(&mut self, slot: u32, stream: usize) {
        let session = &mut self.sessions[slot];
        let waits = session.waits(stream);
        let intake = session.intake(stream);
        assert!(intake.pipe_bytes == 0 && !waits, "one way at a time");
        intake.mode = Mode::Copy;
        intake.streak = 0;
        intake.burst_bytes = 0;
        self.arm_receive(slot, stream, false);
    }

    fn wait_until_readable(&mut self, slot: u32, stream: usize) {
        let leg = self.sessions[slot].leg_mut(stream);
        leg.intake.waiting = true;
        let source = leg.socket;
        let token = self.launch(Op::Readable, stream, slot);
        self.kernel.poll(source, Interest::Read, token);
    }

    /// The stream's pipe, or one from the pool; without one, copying has to do.
    fn pipe(&mut self, slot: u32, stream: usize) -> Option<Pipe> {
        if let Some(pipe) = self.sessions[slot].intake(stream).pipe {
            return Some(pipe);
        }
        let pipe = self.kernel.pipe();
        self.sessions[slot].intake(stream).pipe = pipe;
        if pipe.is_none() {
            self.turn_to_copying(slot, stream);
        }
        pipe
    }

    fn drop_pipe(&mut self, slot: u32, stream: usize) {
        if let Some(pipe) = self.sessions[slot].intake(stream).pipe.take() {
            self.kernel.return_pipe(pipe);
        }
    }
}

fn reason_of(error: &io::Error) -> crate::telemetry::Reason {
    peer_error(error.raw_os_error().unwrap_or(libc::EIO))
}
