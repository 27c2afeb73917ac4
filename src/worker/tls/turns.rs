//! How many clients of a worker are in their handshake at a time, whatever protocol it is in, and
//! who waits for a turn. A handshake costs more than anything else that a client can ask for without
//! having shown who it is.
//!
//! Clients of a tcp listener wait in the backlog: their connection begins with the handshake. On the
//! MySQL port it begins when a client asks for TLS in its login, so there it is the session that
//! waits, and clients without TLS do not.

use std::sync::Arc;

use super::super::event_loop::Worker;
use super::super::kernel::Kernel;
use super::super::route::LocalRoute;
use super::super::session::CLIENT;
use super::super::slab::Sessions;
use super::super::token::{Op, Token};
use super::Handshake;
use super::queue::Queue;
use crate::limits::LIMIT_NOTICE_INTERVAL;
use crate::telemetry::Notice;

/// The handshakes of a worker's clients.
#[derive(Default)]
pub(in crate::worker) struct Handshakes {
    /// How many are going on.
    pub(in crate::worker) running: u32,
    /// Whether one has ended since those who wait were last let in.
    ended: bool,
    /// Whether a listener waits for that, to accept.
    is_awaited: bool,
    /// The sessions that do.
    waiting: Queue,
    /// When it may be told again that there are too many.
    next_notice_ms: u64,
}

impl<K: Kernel> Worker<K> {
    /// Whether as many clients are in their handshakes as may be.
    fn are_handshakes_full(&self, route: &LocalRoute) -> bool {
        self.handshakes.running >= handshakes_max(route)
    }

    /// Whether nobody is to be accepted because of that.
    pub(in crate::worker) fn handshakes_hold_up(&self, route: &LocalRoute) -> bool {
        route.mysql.is_none() && self.are_handshakes_full(route)
    }

    /// Has listeners accept again when a handshake has ended.
    pub(in crate::worker) fn await_handshake(&mut self) {
        self.handshakes.is_awaited = true;
    }

    /// How a client's handshake begins: now, or when its turn has come.
    pub(in crate::worker) fn handshake_to_begin_with(&self, slot: u32) -> Handshake {
        match self.are_handshakes_full(&self.sessions[slot].route) {
            true => Handshake::Waiting,
            false => Handshake::Running,
        }
    }

    /// Notes how far the handshake with a leg's peer is. Those with clients are counted while they
    /// are going on.
    pub(super) fn set_handshake(&mut self, slot: u32, leg: usize, to: Handshake) {
        let session = &mut self.sessions[slot];
        let encryption = session.encryption.get_or_insert_default();
        let from = std::mem::replace(&mut encryption.handshakes[leg], to);
        if leg != CLIENT {
            return;
        }
        match from {
            Handshake::Running => {
                self.handshakes.running -= 1;
                self.handshakes.ended = true;
            }
            // Its turn has come, for which it was taken out.
            Handshake::Waiting if to == Handshake::Running => {}
            Handshake::Waiting => {
                let sessions = &self.sessions;
                let waiting = &mut self.handshakes.waiting;
                waiting.leave(|client| waiting_slot(sessions, client).is_some());
            }
            _ => {}
        }
        match to {
            Handshake::Running => self.handshakes.running += 1,
            Handshake::Waiting => {
                let client = self.sessions.token(Op::Receive, CLIENT, slot);
                let limit = handshakes_max(&self.sessions[slot].route);
                self.handshakes.waiting.join(client, limit);
                self.notice_handshakes(slot);
            }
            _ => {}
        }
    }

    /// The session is over: whatever has become of its client's handshake, it is not going on.
    pub(in crate::worker) fn leave_handshake(&mut self, slot: u32) {
        if self.sessions[slot].is_shaking_hands(CLIENT) {
            self.set_handshake(slot, CLIENT, Handshake::None);
        }
    }

    /// Lets those in who waited for handshakes to end, if some have.
    pub(in crate::worker) fn admit_handshakes(&mut self) {
        while std::mem::take(&mut self.handshakes.ended) {
            while let Some(slot) = self.next_waiting() {
                self.set_handshake(slot, CLIENT, Handshake::Running);
                self.go_on_reading(slot, CLIENT);
                self.settle_parts(slot);
            }
            if std::mem::take(&mut self.handshakes.is_awaited) {
                self.serve_waiting();
            }
        }
    }

    /// Whose turn it is, if somebody waits and may go on.
    fn next_waiting(&mut self) -> Option<u32> {
        let (sessions, handshakes) = (&self.sessions, &mut self.handshakes);
        let is_here = |client| waiting_slot(sessions, client).is_some();
        let client = handshakes.waiting.next(handshakes.running, is_here)?;
        waiting_slot(sessions, client)
    }

    /// Each notice wakes the control thread, and at the limit every client would be a reason.
    fn notice_handshakes(&mut self, slot: u32) {
        let now_ms = self.now_ms();
        if now_ms >= self.handshakes.next_notice_ms {
            self.handshakes.next_notice_ms = now_ms + LIMIT_NOTICE_INTERVAL.as_millis() as u64;
            let listener = Arc::clone(&self.sessions[slot].route.listener.name);
            self.shared
                .notices
                .push(Notice::HandshakesReached { listener });
        }
    }
}

/// How many clients may be in their handshakes for another one to begin.
fn handshakes_max(route: &LocalRoute) -> u32 {
    let tls = route.tls.as_ref();
    tls.map_or(u32::MAX, |tls| tls.handshakes_max)
}

/// The slot of a session, if it is still there and waits.
fn waiting_slot(sessions: &Sessions, client: Token) -> Option<u32> {
    let slot = sessions.slot_of(client)?;
    (sessions[slot].handshake(CLIENT) == Handshake::Waiting).then_some(slot)
}
