//! The end of a session. Nothing is closed or freed before the last completion of every operation:
//! closing a socket does not cancel what is in flight on it, and what arrives later would go to
//! whoever has the slot then.

use std::time::{Duration, SystemTime};

use super::event_loop::Worker;
use super::kernel::{Completion, Farewell, Interest, Kernel};
use super::session::{
    CLIENT, End, IN, Leg, OUT, SERVER, Session, Sink, Source, Stage, opposite, peer_of,
};
use super::token::Op;
use super::wipe::Wiping;
use crate::limits::RESET_POLL;
use crate::telemetry::{Reason, SessionRecord, TlsRecord, Who};

impl<K: Kernel> Worker<K> {
    /// Ends a session: cancels what is in flight and drops what was not sent. The first reason
    /// given counts.
    pub(super) fn end(&mut self, slot: u32, who: Who, reason: Reason) {
        let session = &mut self.sessions[slot];
        session.set_end(who, reason);
        if session.stage == Stage::Closing {
            return;
        }
        if session.stage == Stage::Connecting && reason != Reason::Reset {
            // A client that nobody could serve learns it as a failure, not as an empty answer.
            session.legs[CLIENT].reset_on_close = true;
        }
        let legs = session.leg_indices();
        for leg in legs.clone() {
            session.leg_mut(leg).reset_on_close |= cuts_short(reason);
        }
        session.stage = Stage::Closing;
        self.timers.clear(slot);
        for leg in legs {
            self.cancel_leg(slot, leg);
        }
    }

    /// Cancels what is in flight on a connection and drops what was not sent.
    pub(super) fn cancel_leg(&mut self, slot: u32, leg: usize) {
        self.discard(slot, leg);
        self.discard_inbound(slot, leg);
        self.discard_pipe(slot, leg);
        let state = self.sessions[slot].leg(leg);
        // Of a socket that is closed already, answers to cancellations may still come.
        if state.in_flight > 0 && state.socket.is_some() {
            let socket = state.socket;
            let token = self.launch(Op::Cancel, leg, slot);
            self.kernel.cancel_all(socket, token);
        }
    }

    /// Frees a closing session once its last completion has come.
    #[inline]
    pub(super) fn settle(&mut self, slot: u32) {
        let session = &self.sessions[slot];
        if session.stage == Stage::Closing && !session.is_in_flight() {
            self.finalise(slot);
        }
    }

    /// A stream's source is gone. What it sent before is still delivered; then the other side
    /// learns of it the same way.
    pub(super) fn source_lost(&mut self, slot: u32, stream: usize, reason: Reason) {
        let session = &mut self.sessions[slot];
        session.set_end(peer_of(stream), reason);
        session.intake(stream).source = Source::Lost;
        let connecting = matches!(session.stage, Stage::Handshake | Stage::Connecting);
        let both_gone = session.outlet(stream).sink == Sink::Broken;
        if connecting || both_gone {
            return self.end(slot, peer_of(stream), reason);
        }
        session.stage = Stage::Resetting;
        session.deadline_ms = u64::MAX;
        self.break_sink(slot, opposite(stream));
        self.reschedule(slot);
    }

    /// A stream's destination takes no more. What the other stream has received from it, or still
    /// will, is delivered; then its source is reset.
    pub(super) fn sink_lost(&mut self, slot: u32, stream: usize, reason: Reason) {
        let lost = opposite(stream);
        self.sessions[slot].set_end(peer_of(lost), reason);
        self.break_sink(slot, stream);
        let session = &mut self.sessions[slot];
        if session.intake(stream).source == Source::Lost {
            // Nobody is left on either side.
            return self.end(slot, peer_of(lost), reason);
        }
        if session.intake(lost).source == Source::Finished {
            self.source_lost(slot, lost, reason);
            return self.advance(slot, lost);
        }
        // What it still has to say is read anew: a multishot receive that is in flight does not
        // learn of a reset that came in the same moment as the bytes before it (Linux 6.18).
        self.cancel_receive(slot, lost);
    }

    /// Watches a peer that nothing is received from: one that has finished sending while the other
    /// one goes on, or a client that has sent all it may before there is a server.
    pub(super) fn watch_for_hangup(&mut self, slot: u32) {
        let session = &mut self.sessions[slot];
        session.watched = true;
        let finished = |&leg: &usize| session.legs[leg].intake.source == Source::Finished;
        let leg = [CLIENT, SERVER]
            .into_iter()
            .find(finished)
            .unwrap_or(CLIENT);
        let socket = session.legs[leg].socket;
        let token = self.launch(Op::Hangup, leg, slot);
        self.kernel.poll(socket, Interest::Hangup, token);
    }

    /// Something has changed about a watched peer: perhaps it is gone.
    pub(super) fn on_hangup(&mut self, slot: u32, leg: usize, completion: &Completion) {
        let session = &mut self.sessions[slot];
        let gone = i32::from(libc::POLLHUP | libc::POLLERR);
        let is_gone = completion.result > 0 && completion.result & gone != 0;
        if session.stage == Stage::Closing {
            return;
        }
        if !is_gone {
            // What it told is no more than the FIN that is known.
            session.watched = completion.more;
            return self.reschedule(slot);
        }
        if session.mysql.is_some() {
            return self.end(slot, peer_of(leg), Reason::Reset);
        }
        let peer = &session.legs[leg];
        let finished = peer.intake.source == Source::Finished;
        let takes = peer.outlet.sink == Sink::Open;
        match session.stage {
            Stage::Connecting => self.source_lost(slot, leg, Reason::Reset),
            // It takes no more of what the other one sends.
            Stage::Relaying if finished && takes => {
                self.sink_lost(slot, opposite(leg), Reason::Reset);
            }
            // A receive tells.
            _ => {}
        }
    }

    /// Once the last bytes of a lost source have been sent: resets the other side when it has
    /// acknowledged them, or when it has had long enough.
    pub(super) fn pass_reset_on(&mut self, slot: u32) {
        let now_ms = self.now_ms();
        let session = &mut self.sessions[slot];
        let Some(stream) = (IN..=OUT).find(|&s| session.intake(s).source == Source::Lost) else {
            return;
        };
        let survivor = session.legs[opposite(stream)].socket;
        let linger_ms = session.route.timeouts.reset_linger_ms;
        let flushed = session.is_flushed(stream) && !session.outlet(stream).sending;
        if flushed && session.deadline_ms == u64::MAX {
            session.deadline_ms = now_ms + linger_ms;
        }
        if flushed {
            let waited_enough = now_ms >= session.deadline_ms;
            if !waited_enough && self.kernel.unacknowledged(survivor) > 0 {
                let next_ms = now_ms + RESET_POLL.as_millis() as u64;
                return self.timers.set(slot, next_ms);
            }
        } else if !self.has_been_quiet(slot) {
            // The survivor still reads; the next send's completion comes back here.
            return self.reschedule(slot);
        }
        let end = self.sessions[slot]
            .end
            .expect("a lost source has given a reason");
        self.end(slot, end.who, end.reason);
    }

    /// Gives up on a stream's destination, which was lost: nothing more is read for it or kept for
    /// it, and however the session ends, its source will learn of it by a reset.
    fn break_sink(&mut self, slot: u32, stream: usize) {
        let session = &mut self.sessions[slot];
        session.outlet(stream).sink = Sink::Broken;
        session.legs[stream].reset_on_close = true;
        self.discard(slot, opposite(stream));
        self.discard_pipe(slot, stream);
        self.cancel_receive(slot, stream);
    }

    /// Drops what waits to be sent to a leg's peer, except for what a send in flight reads.
    pub(super) fn discard(&mut self, slot: u32, leg: usize) {
        let session = &mut self.sessions[slot];
        let encrypted = session.is_encrypted(leg);
        let outlet = &mut session.leg_mut(leg).outlet;
        let kernel = &mut self.kernel;
        let keep = u8::from(outlet.sending && !encrypted);
        outlet
            .chunks
            .truncate(keep, |buffer| kernel.release(buffer));
        self.discard_sealed(slot, leg);
    }

    /// Gives up the pipe that a leg's peer is read through, with what is in it.
    fn discard_pipe(&mut self, slot: u32, leg: usize) {
        let intake = &mut self.sessions[slot].leg_mut(leg).intake;
        let in_pipe = std::mem::take(&mut intake.pipe_bytes);
        if let Some(pipe) = intake.pipe.take() {
            if in_pipe > 0 {
                self.kernel.discard_pipe(pipe)
            } else {
                self.kernel.return_pipe(pipe)
            }
        }
    }

    /// The last completion has come: frees the slot, closes, counts and tells.
    fn finalise(&mut self, slot: u32) {
        let legs = self.sessions[slot].leg_indices();
        for leg in legs.clone() {
            self.discard(slot, leg);
            self.discard_inbound(slot, leg);
            self.discard_pipe(slot, leg);
            self.give_place_back(slot, leg);
        }
        self.leave_handshake(slot);
        // What its client has said last may be a secret that is decrypted and not read.
        let is_mysql = self.sessions[slot].mysql.is_some();
        let _wiping = is_mysql.then(Wiping::begin);
        self.end_conversation(slot);
        let mut session = self.sessions.remove(slot);
        if let Some(asked_us) = session.asked_us {
            self.coalescing.gave_up(asked_us.get());
        }
        let end = session
            .end
            .expect("a session that is over has ended somehow");

        // First counted and given back, then closed: whoever sees the close finds the place free.
        let listener = &session.route.listener;
        let counters = session.route.counters();
        counters.closed(end.who, end.reason).add(1);
        if session.mysql.is_none() {
            for stream in [IN, OUT] {
                let received = session.legs[stream].intake.received;
                let sent = session.legs[opposite(stream)].outlet.sent;
                debug_assert!(sent <= received, "more was sent than came");
                let discarded = received.saturating_sub(sent);
                counters.bytes[stream].discarded(end.reason).add(discarded);
                // Whoever was to get them must not take what came before for all there was.
                session.legs[opposite(stream)].reset_on_close |= discarded > 0;
            }
        }
        if let (Some(member), Some(_)) = (session.tried.last(), session.connect_us) {
            session.route.server_counters(member).closed.add(1);
        }
        let duration_us = self.kernel.now_us().saturating_sub(session.accepted_us);
        counters.session_time_us.observe(duration_us);
        listener.gate.leave(|worker| self.shared.wake(worker));
        self.shared.total.leave(|worker| self.shared.wake(worker));

        for leg in legs {
            self.say_farewell(session.leg(leg));
        }
        if self.access_log {
            let tls = session.take_tls_record();
            self.record(&session, end, duration_us, tls);
        }
    }

    pub(super) fn say_farewell(&mut self, leg: &Leg) {
        if leg.socket.is_some() {
            let farewell = match leg.reset_on_close {
                true => Farewell::Reset,
                false => Farewell::Fin,
            };
            self.kernel.close(leg.socket, farewell);
        }
    }

    fn record(
        &mut self,
        session: &Session,
        end: End,
        duration_us: u64,
        tls: Option<Box<TlsRecord>>,
    ) {
        let route = &session.route;
        let record = SessionRecord {
            accepted_at: SystemTime::now() - Duration::from_micros(duration_us),
            listener: std::sync::Arc::clone(&route.listener.name),
            client: session.client_address.as_deref().copied(),
            server: session
                .tried
                .last()
                .map(|m| std::sync::Arc::clone(route.server(m))),
            bytes_sent: [SERVER, CLIENT].map(|leg| session.legs[leg].outlet.sent),
            bytes_received: [CLIENT, SERVER].map(|leg| session.legs[leg].intake.received),
            connect_us: session.connect_us.map(u64::from),
            duration_us,
            tries: session.tried.len(),
            who: end.who,
            phase: end.phase,
            reason: end.reason,
            generation: route.generation,
            tls,
        };
        if self.shared.records.push(record) {
            self.records_pushed = true;
        } else {
            self.counters().access_records_dropped.add(1);
        }
    }
}

/// Whether a session that ends for this reason may have been in the middle of anything: both sides
/// learn it as a failure, not as the regular end of what was sent so far.
fn cuts_short(reason: Reason) -> bool {
    use Reason::{DrainTimeout, Internal, OutOfMemory, ServerRemoved, Stopped};
    matches!(
        reason,
        DrainTimeout | Internal | OutOfMemory | ServerRemoved | Stopped
    )
}

/// What an operation's error number says about the peer it was for.
pub(super) fn peer_error(errno: i32) -> Reason {
    match errno {
        libc::ECONNRESET | libc::EPIPE | libc::ECONNABORTED | libc::ENOTCONN => Reason::Reset,
        libc::ETIMEDOUT => Reason::PeerStalled,
        libc::EHOSTUNREACH
        | libc::ENETUNREACH
        | libc::EHOSTDOWN
        | libc::ENETDOWN
        | libc::ENETRESET
        | libc::ECONNREFUSED
        | libc::EPROTO => Reason::NetworkError,
        _ => Reason::Internal,
    }
}

/// Who answers for a failed operation.
pub(super) fn to_blame(peer: Who, reason: Reason) -> Who {
    if reason == Reason::Internal {
        Who::Ringway
    } else {
        peer
    }
}
