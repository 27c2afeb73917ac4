//! The inside of a long row, which nobody has to see: it goes the way of a relay's bulk.

use super::server_of;
use crate::limits::SPLICE_ROW_BYTES;
use crate::worker::event_loop::Worker;
use crate::worker::kernel::Kernel;
use crate::worker::session::{CLIENT, Mode, REPLICA, Receive, SERVER, Sink, Stage};

impl<K: Kernel> Worker<K> {
    /// How many of a leg's next bytes may pass without being looked at: all of a relay's.
    pub(in crate::worker) fn may_pass_unseen(&self, slot: u32, leg: usize, len: usize) -> usize {
        match &self.sessions[slot].mysql {
            None => len,
            Some(conversation) => {
                let splitter = conversation.splitter.as_ref();
                let row = splitter.map_or(0, |splitter| splitter.skippable(server_of(leg)));
                len.min(row as usize)
            }
        }
    }

    /// As many bytes have passed without being looked at.
    pub(in crate::worker) fn passed_unseen(&mut self, slot: u32, leg: usize, bytes: u32) {
        if let Some(conversation) = &mut self.sessions[slot].mysql
            && let Some(splitter) = &mut conversation.splitter
        {
            splitter.skip(server_of(leg), bytes);
        }
    }

    /// Stops receiving from a server that is in the middle of a long row.
    pub(super) fn consider_splicing(&mut self, slot: u32, leg: usize) {
        let session = &self.sessions[slot];
        if leg == CLIENT || session.stage != Stage::Relaying || !session.is_plain() {
            return;
        }
        let long = self.may_pass_unseen(slot, leg, usize::MAX) >= SPLICE_ROW_BYTES;
        let copies = self.sessions[slot].leg(leg).intake.mode == Mode::Copy;
        if long && copies && self.kernel.has_pipe() {
            self.sessions[slot].leg_mut(leg).intake.mode = Mode::Switching;
            self.cancel_receive(slot, leg);
        }
    }

    /// Goes on through a pipe once the receive is out of the way and the client has what came.
    pub(super) fn switch_to_splicing(&mut self, slot: u32) {
        for leg in [SERVER, REPLICA] {
            let session = &self.sessions[slot];
            let intake = &session.leg(leg).intake;
            let heard = session.conversation().lines[leg].inbound.is_empty();
            let ready = intake.mode == Mode::Switching && intake.receive == Receive::Idle;
            if !ready || !heard || !self.is_sent(slot, CLIENT) {
                continue;
            }
            if self.may_pass_unseen(slot, leg, usize::MAX) == 0 {
                self.sessions[slot].leg_mut(leg).intake.mode = Mode::Copy;
            } else {
                self.start_splicing(slot, leg);
            }
        }
    }

    /// The client has room again, perhaps for what is in a pipe.
    pub(in crate::worker) fn splice_on(&mut self, slot: u32) {
        for leg in [SERVER, REPLICA] {
            let session = &self.sessions[slot];
            if session.mysql.is_none() || session.stage != Stage::Relaying {
                return;
            }
            let intake = &session.leg(leg).intake;
            let client = &session.leg(CLIENT).outlet;
            let stopped = intake.waiting || client.waiting || client.sink == Sink::Broken;
            if intake.mode == Mode::Splice && !stopped {
                self.splice_round(slot, leg);
            }
        }
    }
}
