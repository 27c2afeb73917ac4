//! Closing one connection of a conversation while the others go on, and becoming a relay.

use super::Leaving;
use crate::worker::event_loop::Worker;
use crate::worker::kernel::{Fd, Kernel};
use crate::worker::session::{CLIENT, Leg, REPLICA, SERVER, Sink, Stage, opposite};

impl<K: Kernel> Worker<K> {
    /// Closes a connection: what was not sent is dropped, and what it still brings. Whoever does it
    /// lets the conversation go on.
    pub(super) fn close_leg(&mut self, slot: u32, leg: usize) {
        let session = &mut self.sessions[slot];
        if !session.leg(leg).socket.is_some() {
            let line = &mut session.conversation_mut().lines[leg];
            line.leaving = Leaving::No;
            return;
        }
        session.leg_mut(leg).outlet.sink = Sink::Broken;
        let line = &mut session.conversation_mut().lines[leg];
        line.leaving = Leaving::Now;
        line.own.clear();
        line.held = None;
        let kernel = &mut self.kernel;
        line.inbound.truncate(0, |buffer| kernel.release(buffer));
        self.cancel_leg(slot, leg);
        self.settle_leg(slot, leg);
    }

    /// A completion has come for a connection: if it was the last one of a connection that is being
    /// closed, closes it, and goes on.
    pub(in crate::worker) fn settle_legs(&mut self, slot: u32) {
        let mut closed = false;
        for leg in [CLIENT, SERVER, REPLICA] {
            closed |= self.settle_leg(slot, leg);
        }
        if closed {
            self.converse(slot);
        }
    }

    /// Closes a connection that is being closed, if its last completion has come.
    fn settle_leg(&mut self, slot: u32, leg: usize) -> bool {
        let session = &self.sessions[slot];
        let is_leaving = session.stage != Stage::Closing && session.conversation().is_leaving(leg);
        if !is_leaving || session.leg(leg).in_flight > 0 {
            return false;
        }
        self.discard(slot, leg);
        self.discard_inbound(slot, leg);
        self.unencrypt(slot, leg);
        self.give_place_back(slot, leg);
        if leg == REPLICA {
            self.count_replica_closed(slot);
        }
        let session = &mut self.sessions[slot];
        let mut fresh = Leg::new(Fd::NONE);
        // They count the whole session.
        fresh.intake.received = session.leg(leg).intake.received;
        fresh.outlet.sent = session.leg(leg).outlet.sent;
        let left = std::mem::replace(session.leg_mut(leg), fresh);
        session.conversation_mut().lines[leg].leaving = Leaving::No;
        self.say_farewell(&left);
        if leg == REPLICA && self.sessions[slot].conversation().replica_try.is_wanted {
            self.try_next_replica(slot);
        }
        true
    }

    /// Client and primary are relayed from here on, once the replica is gone.
    pub(super) fn become_relay(&mut self, slot: u32) {
        let replica_gone = !self.sessions[slot].conversation().replica.socket.is_some();
        // What is on its way is counted when it has been sent, and a relay counts by differences.
        let sent = [CLIENT, SERVER]
            .into_iter()
            .all(|leg| self.is_sent(slot, leg));
        if !replica_gone || !sent {
            return self.reschedule(slot);
        }
        self.count_pin(slot, None);
        let session = &mut self.sessions[slot];
        let mut conversation = session.mysql.take().expect("it is not a relay yet");
        for stream in [CLIENT, SERVER] {
            let kernel = &mut self.kernel;
            let mut held = 0;
            while let Some(chunk) = conversation.lines[stream].inbound.take_first() {
                let chunks = &mut session.legs[opposite(stream)].outlet.chunks;
                held += chunk.len() as u64;
                if let Some(buffer) = chunks.push(chunk, |to, from| kernel.append(to, from)) {
                    kernel.release(buffer);
                }
            }
            // A relay knows what it holds by the difference.
            let received = session.legs[stream].intake.received;
            session.legs[opposite(stream)].outlet.sent = received - held.min(received);
        }
        self.reschedule(slot);
        for stream in [CLIENT, SERVER] {
            self.advance(slot, stream);
            self.arm_receive(slot, stream, false);
        }
    }
}
