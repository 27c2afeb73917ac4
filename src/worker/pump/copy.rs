//! Through buffers: multishot receives, ring sends. For everything but bulk.

use crate::limits::{BUFFER_BYTES, SPLICE_AFTER_BURSTS, SPLICE_BURST_BYTES};
use crate::telemetry::Reason;
use crate::worker::close::to_blame;
use crate::worker::event_loop::Worker;
use crate::worker::kernel::{Chunk, Kernel};
use crate::worker::session::{Intake, Mode, Sink, Source, Stage, opposite, peer_of};
use crate::worker::tls::Ended;

impl<K: Kernel> Worker<K> {
    /// Whether what comes from a leg's peer is still wanted by somebody.
    pub(in crate::worker) fn takes_bytes(&self, slot: u32, leg: usize) -> bool {
        let session = &self.sessions[slot];
        if session.mysql.is_some() {
            return session.stage != Stage::Closing && !session.conversation().is_leaving(leg);
        }
        let sink = session.legs[opposite(leg)].outlet.sink;
        session.stage != Stage::Closing && sink != Sink::Broken
    }

    /// Bytes have come from a leg's peer.
    pub(in crate::worker) fn take_received(&mut self, slot: u32, leg: usize, chunk: Chunk) {
        if self.sessions[slot].mysql.is_some() {
            return self.hear(slot, leg, chunk);
        }
        if self.sessions[slot].encryption.is_some() {
            // A ClientHello that is passed through is read beyond what one receive may bring.
            return self.pack(slot, leg, chunk);
        }
        let kernel = &mut self.kernel;
        let chunks = &mut self.sessions[slot].outlet(leg).chunks;
        let merged = chunks.push(chunk, |to, from| kernel.append(to, from));
        if let Some(buffer) = merged {
            kernel.release(buffer);
        }
        self.consider_bulk(slot, leg, chunk.len() as u32);
    }

    /// Keeps bytes for the other peer in as few buffers as they fit in.
    fn pack(&mut self, slot: u32, leg: usize, chunk: Chunk) {
        let mut rest = chunk;
        let chunks = &mut self.sessions[slot].outlet(leg).chunks;
        if let Some(tail) = chunks.last() {
            let room = BUFFER_BYTES as u16 - tail.end;
            let fits = room.min(rest.len() as u16);
            let part = Chunk {
                end: rest.start + fits,
                ..rest
            };
            self.kernel.append(tail, part);
            chunks.extend_last(fits);
            rest.start += fits;
        }
        match rest.len() {
            0 => self.kernel.release(rest.buffer),
            _ => chunks.push_whole(rest),
        }
        self.consider_bulk(slot, leg, chunk.len() as u32);
    }

    fn consider_bulk(&mut self, slot: u32, leg: usize, bytes: u32) {
        let session = &mut self.sessions[slot];
        let bulk =
            is_bulk(session.intake(leg), bytes) && session.is_plain() && self.kernel.has_pipe();
        if bulk && session.stage == Stage::Relaying {
            session.intake(leg).mode = Mode::Switching;
            self.cancel_receive(slot, leg);
        }
    }

    /// A leg's peer may be read from again, or has changed in another way.
    pub(in crate::worker) fn go_on_reading(&mut self, slot: u32, leg: usize) {
        if self.sessions[slot].encryption.is_some() {
            self.go_on_unsealing(slot, leg);
            if self.sessions[slot].is_shaking_hands(leg) {
                return self.arm_receive(slot, leg, true);
            }
        }
        let session = &self.sessions[slot];
        if session.mysql.is_none() {
            return self.advance(slot, leg);
        }
        if session.leg(leg).intake.mode == Mode::Splice {
            self.splice_on(slot);
        }
        if self.sessions[slot].mysql.is_some() {
            self.converse(slot);
        }
    }

    /// A leg's peer may be sent to again.
    pub(in crate::worker) fn go_on_sending(&mut self, slot: u32, leg: usize) {
        if self.sessions[slot].encryption.is_some() {
            if !self.is_unsealed(slot, leg) {
                // It waited until what TLS itself has to say was sent. The leg may be another
                // connection afterwards.
                self.go_on_reading(slot, leg);
            }
            if self.sessions[slot].is_shaking_hands(leg) {
                return self.flush_channel(slot, leg);
            }
        }
        match self.sessions[slot].mysql {
            Some(_) => self.flush(slot, leg),
            None => self.advance(slot, opposite(leg)),
        }
    }

    /// A leg's peer has ended its sending otherwise than by a FIN.
    pub(in crate::worker) fn receive_failed(&mut self, slot: u32, leg: usize, reason: Reason) {
        if reason == Reason::Internal {
            return self.end(slot, to_blame(peer_of(leg), reason), reason);
        }
        if self.put_off_end(slot, leg, Ended::Lost(reason)) {
            return;
        }
        if self.sessions[slot].is_shaking_hands(leg) {
            return self.handshake_lost(slot, leg, reason);
        }
        self.note_truncation(slot, leg);
        match self.sessions[slot].mysql {
            Some(_) => self.said_its_last(slot, leg, Source::Lost, reason),
            None => self.source_lost(slot, leg, reason),
        }
    }

    /// A leg's peer takes no more.
    pub(in crate::worker) fn send_failed(&mut self, slot: u32, leg: usize, reason: Reason) {
        if reason == Reason::Internal {
            return self.end(slot, to_blame(peer_of(leg), reason), reason);
        }
        if self.sessions[slot].is_shaking_hands(leg) {
            return self.handshake_lost(slot, leg, reason);
        }
        match self.sessions[slot].mysql {
            Some(_) => self.hears_no_more(slot, leg, reason),
            None => self.sink_lost(slot, opposite(leg), reason),
        }
    }
}

/// Whether a stream in copy mode has turned out to be a bulk intake. Judged by what comes at a
/// time: a burst ends when a read does not fill its buffer, which empties the socket.
fn is_bulk(intake: &mut Intake, bytes: u32) -> bool {
    if intake.mode != Mode::Copy {
        return false;
    }
    intake.burst_bytes += bytes;
    let burst_over = bytes < BUFFER_BYTES || intake.burst_bytes >= 2 * SPLICE_BURST_BYTES;
    if burst_over {
        let big = std::mem::take(&mut intake.burst_bytes) >= SPLICE_BURST_BYTES;
        intake.streak = if big {
            intake.streak.saturating_add(1)
        } else {
            0
        };
    }
    intake.streak >= SPLICE_AFTER_BURSTS
}
