//! One connection of a session: receiving from its peer and sending to it, through the ring. What
//! the bytes are for, and what an end means, is the business of `pump`.

use std::num::NonZeroU64;

use super::close::peer_error;
use super::event_loop::Worker;
use super::kernel::{Chunk, Completion, Interest, Kernel, Receiving};
use super::session::{CLIENT, IN, OUT, Receive, SERVER, Sink, Source, Stage, direction_of};
use super::tls::Ended;
use super::token::Op;
use crate::limits::{BUFFER_BYTES, MEMORY_FAILURES_MAX};
use crate::telemetry::{Reason, Who};

impl<K: Kernel> Worker<K> {
    /// Starts to receive from a leg's peer.
    pub(super) fn arm_receive(&mut self, slot: u32, leg: usize, expect_data: bool) {
        if !self.takes_bytes(slot, leg) || !self.may_take_ciphertext(slot, leg) {
            return;
        }
        let peer = self.sessions[slot].leg_mut(leg);
        if peer.intake.receive != Receive::Idle || peer.intake.source != Source::Open {
            return;
        }
        peer.intake.receive = Receive::Armed;
        self.reads_on_at_once |= peer.intake.has_more;
        let socket = peer.socket;
        let session = &self.sessions[slot];
        let is_shaking_hands = session.stage == Stage::Handshake || session.is_shaking_hands(leg);
        let how = Receiving {
            expect_data,
            // Whoever leaves in the middle of it, or of a login, gives its place to another at once.
            once: is_shaking_hands || session.has_secrets(),
        };
        let token = self.launch(Op::Receive, leg, slot);
        self.kernel.receive(socket, how, token);
    }

    /// Stops the receive in flight, if there is one. What it has brought already still comes.
    pub(super) fn cancel_receive(&mut self, slot: u32, leg: usize) {
        let intake = &mut self.sessions[slot].leg_mut(leg).intake;
        if intake.receive == Receive::Armed {
            intake.receive = Receive::Cancelling;
            let target = self.sessions.token(Op::Receive, leg, slot);
            let token = self.launch(Op::Cancel, leg, slot);
            self.kernel.cancel(target, token);
        }
    }

    /// Bytes, an end or an error from a leg's peer.
    pub(super) fn on_receive(&mut self, slot: u32, leg: usize, completion: &Completion) {
        if !completion.more {
            self.sessions[slot].leg_mut(leg).intake.receive = Receive::Idle;
        }
        if let Some(buffer) = completion.buffer {
            let chunk = Chunk {
                buffer,
                start: 0,
                end: completion.result.max(0) as u16,
            };
            let is_full = chunk.len() == BUFFER_BYTES as usize;
            self.sessions[slot].leg_mut(leg).intake.has_more = is_full && !completion.more;
            self.take_from_wire(slot, leg, chunk);
        }
        match self.sessions[slot].stage {
            Stage::Closing => return,
            // Nobody reads on before there is a server: the client is watched instead.
            Stage::Connecting if !completion.more => self.reschedule(slot),
            Stage::Handshake | Stage::Connecting | Stage::Relaying | Stage::Resetting => {}
        }
        match -completion.result {
            0 => self.stream_ended(slot, leg),
            error if error < 0 => {}
            libc::ECANCELED | libc::EAGAIN | libc::EINTR => {}
            libc::ENOBUFS => {
                self.sessions[slot].leg_mut(leg).intake.receive = Receive::Starved;
                self.counters().buffers_exhausted.add(1);
                let token = self.sessions.token(Op::Receive, leg, slot);
                self.starved.push_back(token);
            }
            libc::ENOMEM => {
                self.sessions[slot].leg_mut(leg).intake.receive = Receive::Starved;
                self.out_of_memory(slot, leg, Op::Receive);
            }
            error => self.receive_failed(slot, leg, peer_error(error)),
        }
        self.go_on_reading(slot, leg);
    }

    /// Bytes have come, as the network brought them.
    fn take_from_wire(&mut self, slot: u32, leg: usize, chunk: Chunk) {
        if leg != CLIENT {
            self.note_answered(slot);
        }
        let session = &self.sessions[slot];
        let may_be_hello = leg == CLIENT && session.is_shaking_hands(leg);
        if may_be_hello && !self.read_hello(slot, chunk) {
            return self.kernel.release(chunk.buffer);
        }
        if self.sessions[slot].is_encrypted(leg) {
            return self.take_ciphertext(slot, leg, chunk);
        }
        self.count_received(slot, leg, chunk.len() as u64);
        if chunk.len() > 0 && self.takes_bytes(slot, leg) {
            self.take_received(slot, leg, chunk);
        } else {
            self.kernel.release(chunk.buffer);
        }
    }

    /// A server is sent something that it may answer.
    #[inline]
    fn note_asked(&mut self, slot: u32) {
        let now_us = NonZeroU64::new(self.kernel.now_us().max(1));
        // What was said before may have needed no answer.
        if let Some(before_us) = std::mem::replace(&mut self.sessions[slot].asked_us, now_us) {
            self.coalescing.gave_up(before_us.get());
        }
        self.coalescing.asked();
    }

    /// A server has said something.
    #[inline]
    pub(super) fn note_answered(&mut self, slot: u32) {
        if let Some(asked_us) = self.sessions[slot].asked_us.take() {
            let now_us = self.kernel.now_us();
            self.coalescing.answered(asked_us.get(), now_us);
        }
    }

    /// A leg's peer has sent FIN.
    pub(super) fn stream_ended(&mut self, slot: u32, leg: usize) {
        if self.put_off_end(slot, leg, Ended::Finished) {
            return;
        }
        let session = &self.sessions[slot];
        if session.is_shaking_hands(leg) {
            self.handshake_lost(slot, leg, Reason::TlsHandshake);
        } else if session.is_encrypted(leg) {
            self.ciphertext_ended(slot, leg);
        } else {
            self.source_finished(slot, leg);
        }
    }

    /// Sends a chunk to a leg's peer, which is the first of its outlet, or the ciphertext of what
    /// was.
    pub(super) fn send_chunk(&mut self, slot: u32, leg: usize, chunk: Chunk) {
        // A peer that has sent FIN is ready for anything, as the ring sees it: it would try in vain
        // until there is room, and then block a thread of its own.
        match self.sessions[slot].leg(leg).intake.source {
            Source::Open => self.send(slot, leg, chunk),
            Source::Finished | Source::Lost => self.send_now(slot, leg, chunk),
        }
    }

    fn send(&mut self, slot: u32, leg: usize, chunk: Chunk) {
        if leg != CLIENT {
            self.note_asked(slot);
        }
        let session = &self.sessions[slot];
        let mut legs = session.leg_indices();
        self.reads_on_at_once |= legs.any(|leg| session.leg(leg).intake.has_more);
        let peer = self.sessions[slot].leg_mut(leg);
        peer.outlet.sending = true;
        peer.outlet.send_bytes = chunk.len() as u16;
        let socket = peer.socket;
        let token = self.launch(Op::Send, leg, slot);
        self.kernel.send(socket, chunk, token);
    }

    /// Sends as much of a chunk as there is room for.
    fn send_now(&mut self, slot: u32, leg: usize, chunk: Chunk) {
        let socket = self.sessions[slot].leg(leg).socket;
        match self.kernel.send_now(socket, chunk) {
            Ok(sent) => {
                self.consume(slot, leg, sent);
                self.go_on_sending(slot, leg);
            }
            Err(error) => self.refused_now(slot, leg, error.raw_os_error().unwrap_or(libc::EIO)),
        }
    }

    /// A send that does not wait was not possible.
    pub(super) fn refused_now(&mut self, slot: u32, leg: usize, errno: i32) {
        match errno {
            libc::EAGAIN | libc::EINTR => self.wait_for_room(slot, leg),
            libc::ENOMEM | libc::ENOBUFS => self.out_of_memory(slot, leg, Op::Send),
            error => self.send_failed(slot, leg, peer_error(error)),
        }
    }

    /// A send has moved bytes or failed.
    pub(super) fn on_send(&mut self, slot: u32, leg: usize, result: i32) {
        let peer = self.sessions[slot].leg_mut(leg);
        let open = peer.intake.source == Source::Open;
        peer.outlet.sending = false;
        let sent = result.max(0) as usize;
        if sent > 0 {
            // Sends to a peer that is still open were not cancelled.
            peer.outlet.cut_short = sent < usize::from(peer.outlet.send_bytes) && open;
            self.consume(slot, leg, sent);
        }
        let session = &self.sessions[slot];
        if session.stage == Stage::Closing || session.leg(leg).outlet.sink == Sink::Broken {
            return self.discard(slot, leg);
        }
        match -result {
            error if error <= 0 => {}
            libc::ECANCELED | libc::EAGAIN | libc::EINTR => {}
            libc::ENOMEM | libc::ENOBUFS => return self.out_of_memory(slot, leg, Op::Send),
            error => return self.send_failed(slot, leg, peer_error(error)),
        }
        self.go_on_sending(slot, leg);
    }

    /// Stops the send in flight, if it is to a peer that has finished sending: it goes on outside
    /// the ring, see `send_chunk`. What it has sent already is told by its completion.
    pub(super) fn recall_send(&mut self, slot: u32, leg: usize) {
        if self.sends_in_vain(slot, leg) {
            let target = self.sessions.token(Op::Send, leg, slot);
            let token = self.launch(Op::Cancel, leg, slot);
            self.kernel.cancel(target, token);
        }
    }

    /// A cancellation has been answered. One of a send can miss it, while the kernel hands it from
    /// its task to a thread: it is cancelled again until it has come back.
    pub(super) fn on_cancelled(&mut self, slot: u32, leg: usize) {
        if self.sends_in_vain(slot, leg) {
            let token = self.sessions.token(Op::Cancel, leg, slot);
            self.postpone(token);
        }
    }

    fn sends_in_vain(&self, slot: u32, leg: usize) -> bool {
        let session = &self.sessions[slot];
        let peer = session.leg(leg);
        let finished = peer.intake.source != Source::Open;
        finished && peer.outlet.sending && session.stage != Stage::Closing
    }

    /// The first `sent` bytes of what an outlet holds have been sent.
    fn consume(&mut self, slot: u32, leg: usize, sent: usize) {
        if self.sessions[slot].is_encrypted(leg) {
            return self.consume_sealed(slot, leg, sent);
        }
        self.count_sent(slot, leg, sent as u64);
        self.counters().copy_bytes.add(sent as u64);
        let outlet = &mut self.sessions[slot].leg_mut(leg).outlet;
        if let Some(buffer) = outlet.chunks.consume(sent) {
            self.kernel.release(buffer);
        }
    }

    /// A peer takes no more for now: goes on when it has room.
    pub(super) fn wait_for_room(&mut self, slot: u32, leg: usize) {
        let outlet = &mut self.sessions[slot].leg_mut(leg).outlet;
        outlet.waiting = true;
        if !outlet.room_watched {
            self.watch_for_room(slot, leg);
        }
    }

    fn watch_for_room(&mut self, slot: u32, leg: usize) {
        let peer = self.sessions[slot].leg_mut(leg);
        peer.outlet.room_watched = true;
        let socket = peer.socket;
        let token = self.launch(Op::Room, leg, slot);
        self.kernel.poll(socket, Interest::Room, token);
    }

    /// Something has changed about a peer: there is room, perhaps.
    pub(super) fn on_room(&mut self, slot: u32, leg: usize, completion: &Completion) {
        let session = &mut self.sessions[slot];
        let closing = session.stage == Stage::Closing;
        let outlet = &mut session.leg_mut(leg).outlet;
        outlet.room_watched = completion.more;
        if closing || outlet.sink == Sink::Broken || !outlet.waiting {
            return;
        }
        let events = completion.result;
        if events == -libc::ENOMEM {
            outlet.waiting = false;
            return self.out_of_memory(slot, leg, Op::Room);
        }
        let wanted = i32::from(libc::POLLOUT | libc::POLLERR | libc::POLLHUP);
        if events > 0 && events & wanted == 0 {
            // A FIN, which is known.
            if !completion.more {
                self.watch_for_room(slot, leg);
            }
            return;
        }
        // Should it be an error, the next try to send tells which.
        outlet.waiting = false;
        self.go_on_sending(slot, leg);
    }

    /// An operation failed for want of memory: tries it again a little later, a few times.
    pub(super) fn out_of_memory(&mut self, slot: u32, leg: usize, op: Op) {
        let session = &mut self.sessions[slot];
        session.memory_failures += 1;
        if session.memory_failures > MEMORY_FAILURES_MAX {
            return self.end(slot, Who::Ringway, Reason::OutOfMemory);
        }
        let token = self.sessions.token(op, leg, slot);
        self.postpone(token);
    }

    /// What was postponed is taken up again: see [`Worker::out_of_memory`].
    pub(super) fn retry(&mut self, slot: u32, leg: usize, op: Op) {
        let intake = &mut self.sessions[slot].leg_mut(leg).intake;
        if intake.receive == Receive::Starved {
            intake.receive = Receive::Idle;
        }
        self.try_buffer_again(slot, leg, op);
        match op {
            Op::Send | Op::Room => self.go_on_sending(slot, leg),
            _ => self.go_on_reading(slot, leg),
        }
    }

    /// Counts bytes that have come from a leg's peer.
    pub(super) fn count_received(&mut self, slot: u32, leg: usize, bytes: u64) {
        let now_ms = self.now_ms();
        let session = &mut self.sessions[slot];
        session.memory_failures = 0;
        session.progress_ms = now_ms;
        session.leg_mut(leg).intake.received += bytes;
        let direction = direction_of(leg);
        let counters = session.route.counters();
        counters.bytes[direction].received.add(bytes);
        if session.mysql.is_some()
            && leg != CLIENT
            && let Some(member) = session.leg(leg).member
        {
            session.route.server_counters(member).bytes[OUT].add(bytes);
        }
    }

    /// Counts bytes that the kernel has taken for a leg's peer.
    pub(super) fn count_sent(&mut self, slot: u32, leg: usize, bytes: u64) {
        let now_ms = self.now_ms();
        let session = &mut self.sessions[slot];
        session.memory_failures = 0;
        session.progress_ms = now_ms;
        session.leg_mut(leg).outlet.sent += bytes;
        let direction = if leg == CLIENT { OUT } else { IN };
        session.route.counters().bytes[direction].sent.add(bytes);
        // What a relay's client gets is its server's; a conversation counts that as it comes.
        let server = match (leg, &session.mysql) {
            (CLIENT, Some(_)) => return,
            (CLIENT, None) => SERVER,
            (server, _) => server,
        };
        if let Some(member) = session.leg(server).member {
            session.route.server_counters(member).bytes[direction].add(bytes);
        }
    }
}
