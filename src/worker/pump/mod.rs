//! Moving bytes from a stream's source to its destination: what both ways of doing it share.
//!
//! A stream holds at most what one receive may bring, or one pipe. Its source is read again only
//! when that has been sent, so a destination that does not read stops its source, and memory stays
//! as it is.

mod copy;
mod splice;

use super::event_loop::Worker;
use super::kernel::Kernel;
use super::session::{Mode, Receive, Sink, Source, Stage, opposite, peer_of};
use crate::telemetry::Reason;

impl<K: Kernel> Worker<K> {
    /// Does the next thing that a stream can do now: send, pass its end on, or read on.
    pub(super) fn advance(&mut self, slot: u32, stream: usize) {
        let session = &self.sessions[slot];
        if matches!(
            session.stage,
            Stage::Handshake | Stage::Connecting | Stage::Closing
        ) {
            return;
        }
        let (intake, outlet) = (
            &session.legs[stream].intake,
            &session.legs[opposite(stream)].outlet,
        );
        if outlet.sink == Sink::Broken || outlet.sending || intake.waiting || outlet.waiting {
            return;
        }
        if self.has_to_send(slot, opposite(stream)) {
            return self.send_next(slot, opposite(stream));
        }
        if intake.mode == Mode::Splice && intake.pipe_bytes > 0 {
            return self.splice_round(slot, stream);
        }
        match (intake.source, intake.mode, intake.receive) {
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
        if session.mysql.is_some() {
            return self.said_its_last(slot, stream, Source::Finished, Reason::Finished);
        }
        let peer = &mut session.legs[stream];
        if peer.outlet.sink == Sink::Broken || peer.outlet.cut_short {
            // A send to this peer failed and took the error with it: what looks like a FIN is the
            // end of a connection that was reset.
            let reason = session.end.map_or(Reason::Reset, |end| end.reason);
            return self.source_lost(slot, stream, reason);
        }
        peer.intake.source = Source::Finished;
        session.first_to_finish.get_or_insert(peer_of(stream));
        session.progress_ms = now_ms;
        self.recall_send(slot, stream);
        if self.sessions[slot].stage == Stage::Relaying {
            self.reschedule(slot);
        }
    }

    /// Passes a FIN on, all bytes before it having been sent.
    fn finish(&mut self, slot: u32, stream: usize) {
        let session = &self.sessions[slot];
        if session.legs[opposite(stream)].outlet.sink == Sink::Finished {
            return;
        }
        let truncated = session.was_truncated(stream);
        if !self.say_goodbye(slot, opposite(stream), truncated) {
            return;
        }
        let session = &mut self.sessions[slot];
        let destination = &mut session.legs[opposite(stream)];
        destination.outlet.sink = Sink::Finished;
        let socket = destination.socket;
        if session.legs[stream].outlet.sink == Sink::Finished {
            // Nothing is on its way either way, and closing sends the second FIN.
            let who = session.first_to_finish.expect("both sides have finished");
            return self.end(slot, who, Reason::Finished);
        }
        self.kernel.finish_sending(socket);
    }
}
