//! What comes from a peer: ciphertext in, plaintext to whoever takes the leg's bytes.

use zeroize::Zeroize;

use super::super::event_loop::Worker;
use super::super::kernel::{BufferId, Chunk, Kernel};
use super::super::session::{CLIENT, Source, Stage, direction_of};
use super::super::token::Op;
use super::super::wipe::Wiping;
use super::{Channel, Ended, Handshake};
use crate::limits::BUFFER_BYTES;
use crate::telemetry::Reason;
use crate::tls::session::{Ending, Failure};

/// Where plaintext goes.
enum Room {
    /// Behind what is there already.
    Tail(Chunk),
    /// Into a buffer of its own.
    Fresh(BufferId),
}

impl Room {
    /// The bytes that may be written.
    fn chunk(&self) -> Chunk {
        let (buffer, start) = match *self {
            Self::Tail(tail) => (tail.buffer, tail.end),
            Self::Fresh(buffer) => (buffer, 0),
        };
        Chunk {
            buffer,
            start,
            end: BUFFER_BYTES as u16,
        }
    }
}

impl<K: Kernel> Worker<K> {
    /// Bytes have come from the peer of a leg with TLS.
    pub(in crate::worker) fn take_ciphertext(&mut self, slot: u32, leg: usize, chunk: Chunk) {
        let is_given_up = self.sessions[slot].is_given_up(leg);
        let wanted = chunk.len() > 0 && self.takes_bytes(slot, leg) && !is_given_up;
        let session = &mut self.sessions[slot];
        session.memory_failures = 0;
        let channel = session.channel_mut(leg);
        match channel {
            Some(channel) if wanted && channel.tls.failure().is_none() => {
                let kernel = &mut self.kernel;
                let merged = channel
                    .inbound
                    .push(chunk, |to, from| kernel.append(to, from));
                if let Some(buffer) = merged {
                    kernel.release(buffer);
                }
                self.unseal(slot, leg);
            }
            _ => self.kernel.release(chunk.buffer),
        }
    }

    /// Decrypts what has come, as far as it goes.
    pub(in crate::worker) fn unseal(&mut self, slot: u32, leg: usize) {
        if self.sessions[slot].handshake(leg) == Handshake::Waiting {
            return;
        }
        let session = &self.sessions[slot];
        // Who has logged in may do so again, which is seen when it is decrypted.
        let may_be_secret = leg == CLIENT && session.mysql.is_some();
        let has_secrets = may_be_secret && session.has_secrets();
        let _wiping = may_be_secret.then(Wiping::begin);
        while let Some(room) = self.room_for_plaintext(slot, leg) {
            let target = room.chunk();
            let session = &mut self.sessions[slot];
            let Some(channel) = session.channel_mut(leg) else {
                return;
            };
            let inbound = channel.inbound.first();
            if has_secrets {
                self.kernel.keep_secret(target.buffer);
            }
            let (ciphertext, plaintext) = match inbound {
                Some(chunk) => self.kernel.pair(chunk, target),
                None => (&mut [][..], self.kernel.bytes(target)),
            };
            let received = channel.tls.receive(ciphertext, plaintext);
            let failure = channel.tls.failure().cloned();
            if may_be_secret {
                // It was decrypted where it is, and copied from there.
                let used = received
                    .as_ref()
                    .map_or(ciphertext.len(), |done| done.taken);
                ciphertext[..used].zeroize();
            }
            let (taken, written) = received.map_or((0, 0), |done| (done.taken, done.written));
            if taken > 0
                && let Some(buffer) = channel.inbound.consume(taken)
            {
                self.kernel.release(buffer);
            }
            self.keep_plaintext(slot, leg, room, written);
            if let Some(failure) = failure {
                return self.tls_failed(slot, leg, &failure);
            }
            let more = written == target.len() || taken > 0 && !self.is_unsealed(slot, leg);
            if !more {
                break;
            }
        }
        if self.has_broken_off(slot, leg) {
            return self.handshake_lost(slot, leg, Reason::TlsHandshake);
        }
        self.channel_moved(slot, leg);
        self.take_up_end(slot, leg);
    }

    /// Whether a peer has said in its handshake that it will say nothing more.
    fn has_broken_off(&self, slot: u32, leg: usize) -> bool {
        let channel = self.sessions[slot].channel(leg);
        channel.is_some_and(|channel| channel.tls.peer_has_closed() && channel.tls.is_handshaking())
    }

    /// Puts the end of a leg's bytes off while some of those before it wait to be decrypted: they
    /// come first, and one of them may be a close_notify. `false`: none does, or nobody decrypts them
    /// before its turn has come, which one who leaves is not given.
    pub(in crate::worker) fn put_off_end(&mut self, slot: u32, leg: usize, ended: Ended) -> bool {
        let session = &mut self.sessions[slot];
        if session.handshake(leg) == Handshake::Waiting {
            return false;
        }
        let channel = session.channel_mut(leg);
        match channel.filter(|channel| !channel.inbound.is_empty()) {
            Some(channel) => channel.ended = Some(ended),
            None => return false,
        }
        true
    }

    fn take_up_end(&mut self, slot: u32, leg: usize) {
        let session = &mut self.sessions[slot];
        let is_closing = session.stage == Stage::Closing;
        let channel = session.channel_mut(leg);
        let Some(channel) = channel.filter(|tls| tls.inbound.is_empty() && !is_closing) else {
            return;
        };
        match channel.ended.take() {
            Some(Ended::Finished) => self.stream_ended(slot, leg),
            Some(Ended::Lost(reason)) => self.receive_failed(slot, leg, reason),
            None => {}
        }
    }

    /// Room for plaintext. `None`: there is none to be had now, and it is tried again when there
    /// is.
    fn room_for_plaintext(&mut self, slot: u32, leg: usize) -> Option<Room> {
        if let Some(tail) = self.sessions[slot].inbox(leg).last()
            && u32::from(tail.end) < BUFFER_BYTES
        {
            return Some(Room::Tail(tail));
        }
        if let Some(buffer) = self.kernel.take_buffer() {
            return Some(Room::Fresh(buffer));
        }
        self.wait_for_buffer(slot, leg, Op::Receive);
        None
    }

    fn keep_plaintext(&mut self, slot: u32, leg: usize, room: Room, bytes: usize) {
        let inbox = self.sessions[slot].inbox(leg);
        match room {
            Room::Tail(_) => inbox.extend_last(bytes as u16),
            Room::Fresh(buffer) if bytes > 0 => inbox.push_whole(Chunk {
                buffer,
                start: 0,
                end: bytes as u16,
            }),
            Room::Fresh(buffer) => self.kernel.release(buffer),
        }
        if bytes > 0 {
            self.count_received(slot, leg, bytes as u64);
        }
    }

    /// A leg's TLS has taken something in: sees what has become of it.
    fn channel_moved(&mut self, slot: u32, leg: usize) {
        let session = &self.sessions[slot];
        let Some(channel) = session.channel(leg) else {
            return;
        };
        let has_output = channel.tls.has_output();
        let is_done = !channel.tls.is_handshaking();
        let is_over = channel.tls.peer_has_closed();
        let is_new = is_done && session.handshake(leg) == Handshake::Running;
        if is_new {
            self.set_handshake(slot, leg, Handshake::Done);
        }
        match leg {
            CLIENT if is_new => self.client_shook_hands(slot),
            _ if is_new => self.server_shook_hands(slot, leg),
            _ => {}
        }
        if has_output || is_new {
            self.flush_channel(slot, leg);
        }
        let session = &self.sessions[slot];
        if is_over && session.leg(leg).intake.source == Source::Open {
            self.source_finished(slot, leg);
        }
    }

    /// The peer's bytes end. Whether these are all it wanted to send is for TLS to say.
    pub(in crate::worker) fn ciphertext_ended(&mut self, slot: u32, leg: usize) {
        if self.sessions[slot].leg(leg).intake.source != Source::Open {
            return;
        }
        self.note_truncation(slot, leg);
        self.source_finished(slot, leg);
    }

    /// A peer's bytes have ended, by a FIN or by a reset: notes it if that was without a
    /// close_notify. What cannot be decrypted is another matter.
    pub(in crate::worker) fn note_truncation(&mut self, slot: u32, leg: usize) {
        let session = &mut self.sessions[slot];
        let channel = session.channel_mut(leg);
        let is_cut = |channel: &&mut Channel| {
            let ending = channel.tls.ending();
            ending == Ending::Truncated && channel.tls.failure().is_none() && !channel.truncated
        };
        if let Some(channel) = channel.filter(is_cut) {
            channel.truncated = true;
            let direction = direction_of(leg);
            session.route.counters().tls.truncated[direction].add(1);
            if let Some(encryption) = &mut session.encryption {
                encryption.truncated[direction] = true;
            }
        }
    }

    /// TLS with a peer is beyond repair. It is told why, as far as that is possible.
    pub(super) fn tls_failed(&mut self, slot: u32, leg: usize, failure: &Failure) {
        self.discard_inbound(slot, leg);
        if self.sessions[slot].is_shaking_hands(leg) {
            return match leg {
                CLIENT => self.client_handshake_failed(slot, failure),
                _ => self.server_tls_failed(slot, leg, failure),
            };
        }
        let peer = if leg == CLIENT { "client" } else { "server" };
        self.keep_error(slot, || failure.with(peer));
        self.flush_channel(slot, leg);
        self.cancel_receive(slot, leg);
        self.receive_failed(slot, leg, Reason::TlsBroken);
    }

    /// Whether a leg's peer may be read from, as far as TLS is concerned.
    pub(in crate::worker) fn may_take_ciphertext(&self, slot: u32, leg: usize) -> bool {
        let session = &self.sessions[slot];
        // What comes from a client that was told why it is not served is dropped.
        let takes = |channel: &Channel| {
            let may_come = channel.tls.failure().is_none() || session.has_failed(leg);
            // Nothing takes up what a client has said while it waits for its turn. It is read on, as
            // far as one more buffer goes, or nobody would see it leave.
            let waits = session.handshake(leg) == Handshake::Waiting;
            let has_room = channel.inbound.is_empty() || waits && channel.inbound.is_single();
            has_room && may_come
        };
        session.channel(leg).is_none_or(takes) && !session.is_given_up(leg)
    }

    /// Ciphertext that had to wait is taken up again.
    pub(in crate::worker) fn go_on_unsealing(&mut self, slot: u32, leg: usize) {
        let session = &self.sessions[slot];
        let is_over = session.stage == Stage::Closing || session.is_given_up(leg);
        if !is_over && !self.is_unsealed(slot, leg) {
            self.unseal(slot, leg);
        }
    }

    /// Whether everything that has come has been decrypted.
    pub(in crate::worker) fn is_unsealed(&self, slot: u32, leg: usize) -> bool {
        let channel = self.sessions[slot].channel(leg);
        channel.is_none_or(|channel| channel.inbound.is_empty())
    }
}
