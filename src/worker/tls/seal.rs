//! What goes to a peer: plaintext that waits to be sent is encrypted at the end of a turn, a wide
//! buffer at a time, when the one before has been sent. So a peer that reads slowly holds up the
//! encryption, too.

use super::super::event_loop::Worker;
use super::super::kernel::{BufferId, Chunk, Kernel};
use super::super::session::{Sink, Stage};
use super::super::token::Op;
use super::Channel;
use crate::limits::{
    BUFFER_BYTES, TLS_BURST_PAUSE, TLS_FIRST_RECORD_BYTES, TLS_FIRST_RECORDS_BYTES,
    TLS_PLAINTEXT_BYTES_MAX, TLS_RECORD_WORTH_BYTES, WIDE_BUFFER_BYTES,
};
use crate::telemetry::{Reason, Who};
use crate::tls::session::RECORD_OVERHEAD_BYTES;

const _: () = assert!(
    WIDE_BUFFER_BYTES as usize >= 3 * (BUFFER_BYTES as usize + RECORD_OVERHEAD_BYTES),
    "three whole buffers of plaintext fit in a wide one of ciphertext"
);

impl<K: Kernel> Worker<K> {
    /// Whether there is something to send to a leg's peer.
    #[inline]
    pub(in crate::worker) fn has_to_send(&self, slot: u32, leg: usize) -> bool {
        let session = &self.sessions[slot];
        if !session.leg(leg).outlet.chunks.is_empty() || session.has_own(leg) {
            return true;
        }
        // Behind a FIN even TLS has nothing to say.
        let is_open = session.leg(leg).outlet.sink == Sink::Open;
        let has_more = |tls: &Channel| tls.sealed.is_some() || is_open && tls.tls.has_output();
        session.channel(leg).is_some_and(has_more)
    }

    /// Sends what comes next to a leg's peer. What is to be encrypted waits for the end of the turn,
    /// and for what else comes in it: three records in one send cost less than in three.
    #[inline]
    pub(in crate::worker) fn send_next(&mut self, slot: u32, leg: usize) {
        let session = &mut self.sessions[slot];
        if let Some(channel) = session.channel_mut(leg) {
            if !std::mem::replace(&mut channel.is_queued, true) {
                let token = self.sessions.token(Op::Send, leg, slot);
                self.unsealed.push_back(token);
            }
        } else if let Some(chunk) = session.leg(leg).outlet.chunks.first() {
            self.send_chunk(slot, leg, chunk);
        }
    }

    /// Encrypts and sends what has waited for the end of the turn.
    pub(in crate::worker) fn seal_queued(&mut self) {
        while let Some(token) = self.unsealed.pop_front() {
            let Some(slot) = self.sessions.slot_of(token) else {
                continue;
            };
            if let Some(channel) = self.sessions[slot].channel_mut(token.leg()) {
                channel.is_queued = false;
                self.flush_channel(slot, token.leg());
                self.settle_parts(slot);
            }
        }
    }

    /// Sends what there is to a leg's peer with TLS, if nothing is being sent to it.
    pub(in crate::worker) fn flush_channel(&mut self, slot: u32, leg: usize) {
        let session = &self.sessions[slot];
        let outlet = &session.leg(leg).outlet;
        let busy = outlet.sending || outlet.waiting || outlet.sink == Sink::Broken;
        let is_over = session.stage == Stage::Closing || session.is_given_up(leg);
        if session.is_encrypted(leg)
            && !busy
            && !is_over
            && self.has_to_send(slot, leg)
            && let Some(chunk) = self.seal(slot, leg)
        {
            self.send_chunk(slot, leg, chunk);
        }
    }

    /// The ciphertext to send next to a leg's peer: what is left of the last, or a buffer of new; a
    /// wide one, as long as there are some. `None`: nothing can be sent before the handshake is
    /// done, or no buffer is left.
    fn seal(&mut self, slot: u32, leg: usize) -> Option<Chunk> {
        if let Some(chunk) = self.sessions[slot].channel(leg)?.sealed {
            return Some(chunk);
        }
        let kernel = &mut self.kernel;
        let Some(buffer) = kernel.take_wide_buffer().or_else(|| kernel.take_buffer()) else {
            self.wait_for_buffer(slot, leg, Op::Send);
            return None;
        };
        let (sealed, bytes) = self.fill(slot, leg, buffer);
        let session = &mut self.sessions[slot];
        if sealed.len() > 0
            && let Some(channel) = session.channel_mut(leg)
        {
            channel.sealed = Some(sealed);
            channel.sealed_bytes = bytes;
            return Some(sealed);
        }
        self.kernel.release(buffer);
        let channel = self.sessions[slot].channel(leg)?;
        if channel.tls.failure().is_some() {
            self.end(slot, Who::Ringway, Reason::TlsBroken);
        }
        None
    }

    /// Encrypts what waits for a leg's peer into a buffer, as far as it goes. Returns the ciphertext,
    /// and how much plaintext is in it.
    fn fill(&mut self, slot: u32, leg: usize, buffer: BufferId) -> (Chunk, u32) {
        let now_ms = self.now_ms();
        let mut room = self.kernel.whole(buffer);
        let mut bytes = 0;
        while room.len() >= TLS_RECORD_WORTH_BYTES {
            let session = &mut self.sessions[slot];
            let next = session.leg(leg).outlet.chunks.first();
            let Some(channel) = session.channel_mut(leg) else {
                break;
            };
            let record_bytes = channel.record_bytes(now_ms);
            let sent = match next {
                Some(chunk) => {
                    let (plaintext, ciphertext) = self.kernel.pair(chunk, room);
                    channel.tls.send(plaintext, ciphertext, record_bytes)
                }
                None => session.seal_own(leg, self.kernel.bytes(room), record_bytes),
            };
            let Some(channel) = session.channel_mut(leg) else {
                break;
            };
            let Ok(sent) = sent else {
                // What is left is the alert that tells the peer.
                room.start += channel.tls.transmit(self.kernel.bytes(room)) as u16;
                break;
            };
            channel.sealed_now(sent.taken as u32, now_ms);
            room.start += sent.written as u16;
            bytes += sent.taken as u32;
            if sent.taken == 0 {
                break;
            }
            if next.is_some() {
                let chunks = &mut session.leg_mut(leg).outlet.chunks;
                if let Some(buffer) = chunks.consume(sent.taken) {
                    self.kernel.release(buffer);
                }
            }
        }
        let sealed = Chunk {
            buffer,
            start: 0,
            end: room.start,
        };
        (sealed, bytes)
    }

    /// The first `sent` bytes of a leg's ciphertext have been sent.
    pub(in crate::worker) fn consume_sealed(&mut self, slot: u32, leg: usize, sent: usize) {
        let Some(channel) = self.sessions[slot].channel_mut(leg) else {
            return;
        };
        let Some(sealed) = &mut channel.sealed else {
            return;
        };
        assert!(
            sent <= sealed.len(),
            "the kernel sent more than it was given"
        );
        sealed.start += sent as u16;
        if sealed.len() > 0 {
            return;
        }
        let buffer = sealed.buffer;
        let bytes = std::mem::take(&mut channel.sealed_bytes);
        channel.sealed = None;
        self.kernel.release(buffer);
        self.count_sent(slot, leg, u64::from(bytes));
        self.counters().copy_bytes.add(u64::from(bytes));
    }

    /// Says to a leg's peer, where TLS has words for it, that nothing more will come. `true`: it
    /// has been said, and sent.
    pub(in crate::worker) fn say_goodbye(
        &mut self,
        slot: u32,
        leg: usize,
        truncated: bool,
    ) -> bool {
        let Some(channel) = self.sessions[slot].channel_mut(leg) else {
            return true;
        };
        // What was cut off on the other side is not passed off as complete on this one.
        if !truncated && !std::mem::replace(&mut channel.said_goodbye, true) {
            channel.tls.close();
        }
        if !self.has_to_send(slot, leg) {
            return true;
        }
        self.flush_channel(slot, leg);
        false
    }
}

impl Channel {
    /// So much plaintext has been encrypted.
    fn sealed_now(&mut self, bytes: u32, now_ms: u64) {
        self.burst_bytes = self.burst_bytes.saturating_add(bytes);
        self.sealed_ms = now_ms;
    }

    /// How much plaintext goes into a record now. A peer can use none of a record before it has all
    /// of it, so the first ones after a pause are short: a page's head arrives a round trip earlier
    /// on a slow line. Bulk goes in records as long as they can be.
    fn record_bytes(&mut self, now_ms: u64) -> usize {
        if now_ms.saturating_sub(self.sealed_ms) > TLS_BURST_PAUSE.as_millis() as u64 {
            self.burst_bytes = 0;
        }
        match self.burst_bytes < TLS_FIRST_RECORDS_BYTES {
            true => TLS_FIRST_RECORD_BYTES,
            false => TLS_PLAINTEXT_BYTES_MAX,
        }
    }
}
