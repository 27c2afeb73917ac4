//! When a session is looked at again, and what happens then. A session has one timer, which never
//! fires later than its deadline; progress only moves the deadline, not the timer.

use super::event_loop::Worker;
use super::kernel::Kernel;
use super::session::{CLIENT, Receive, SERVER, Stage};
use crate::limits::WATCH_AFTER;
use crate::telemetry::{Reason, Who};

impl<K: Kernel> Worker<K> {
    /// Sees to it that the session is looked at by its deadline.
    pub(super) fn reschedule(&mut self, slot: u32) {
        let deadline_ms = self.deadline_ms(slot);
        if deadline_ms != u64::MAX {
            self.timers.set_no_later(slot, deadline_ms);
        }
    }

    /// The session's timer has fired.
    pub(super) fn on_timer(&mut self, slot: u32) {
        if self.deadline_ms(slot) > self.now_ms() {
            return self.reschedule(slot);
        }
        match self.sessions[slot].stage {
            Stage::Handshake => self.handshake_expired(slot),
            Stage::Connecting => self.look_at_connecting(slot),
            Stage::Relaying if self.sessions[slot].mysql.is_some() => {
                self.look_at_conversation(slot);
            }
            Stage::Relaying => self.look_at_relaying(slot),
            Stage::Resetting => self.pass_reset_on(slot),
            Stage::Closing => {}
        }
    }

    /// When a session is to be looked at; `u64::MAX`: its completions do.
    pub(super) fn deadline_ms(&self, slot: u32) -> u64 {
        let session = &self.sessions[slot];
        match session.stage {
            Stage::Handshake => session.deadline_ms,
            Stage::Connecting => session.deadline_ms.min(self.watch_at_ms(slot)),
            Stage::Relaying if session.mysql.is_some() => self.conversation_deadline_ms(slot),
            Stage::Relaying => {
                let tune_at_ms = if session.tuned {
                    u64::MAX
                } else {
                    self.tune_at_ms(slot)
                };
                let look_at_ms = tune_at_ms.min(self.watch_at_ms(slot));
                look_at_ms
                    .min(self.quiet_look_ms(slot))
                    .min(self.retire_at_ms(slot, SERVER))
            }
            Stage::Resetting if session.deadline_ms == u64::MAX => self.quiet_look_ms(slot),
            Stage::Resetting => 0,
            Stage::Closing => u64::MAX,
        }
    }

    /// How long a session may be without progress.
    fn quiet_allowed_ms(&self, slot: u32) -> u64 {
        let session = &self.sessions[slot];
        let timeouts = &session.route.timeouts;
        if session.first_to_finish.is_some() {
            timeouts.half_close_ms
        } else {
            timeouts.idle_ms
        }
    }

    /// When a session without progress is looked at next: halfway, to see how much has been
    /// acknowledged by then, and when its time is up.
    pub(super) fn quiet_look_ms(&self, slot: u32) -> u64 {
        let session = &self.sessions[slot];
        let allowed_ms = self.quiet_allowed_ms(slot);
        let halfway = session.acknowledged_since_ms != session.progress_ms;
        session.progress_ms + if halfway { allowed_ms / 2 } else { allowed_ms }
    }

    /// Whether a session has been without progress for as long as it may.
    pub(super) fn has_been_quiet(&mut self, slot: u32) -> bool {
        let now_ms = self.now_ms();
        if now_ms < self.quiet_look_ms(slot) {
            return false;
        }
        let progress_ms = self.sessions[slot].progress_ms;
        if now_ms < progress_ms + self.quiet_allowed_ms(slot) {
            self.sessions[slot].acknowledged = self.acknowledged(slot);
            self.sessions[slot].acknowledged_since_ms = progress_ms;
            return false;
        }
        !self.was_acknowledged_more(slot)
    }

    fn look_at_connecting(&mut self, slot: u32) {
        if self.sessions[slot].deadline_ms <= self.now_ms() {
            return self.expire_connect(slot);
        }
        self.watch_for_hangup(slot);
        self.reschedule(slot);
    }

    /// When the session has to let go of the server that a leg leads to.
    pub(super) fn retire_at_ms(&self, slot: u32, leg: usize) -> u64 {
        let session = &self.sessions[slot];
        session.leg(leg).member.map_or(u64::MAX, |member| {
            session.route.server(member).retire_at_ms()
        })
    }

    /// When a peer that nothing is received from is to be watched.
    fn watch_at_ms(&self, slot: u32) -> u64 {
        let session = &self.sessions[slot];
        let unheard = match session.stage {
            Stage::Connecting => session.legs[CLIENT].intake.receive != Receive::Armed,
            _ => session.first_to_finish.is_some(),
        };
        if unheard && !session.watched {
            session.progress_ms + WATCH_AFTER.as_millis() as u64
        } else {
            u64::MAX
        }
    }

    fn look_at_relaying(&mut self, slot: u32) {
        let now_ms = self.now_ms();
        if !self.sessions[slot].tuned {
            let session = &mut self.sessions[slot];
            session.tuned = true;
            self.kernel
                .tune(session.legs[SERVER].socket, &session.route.tuning);
            self.look_for_resets(slot);
        }
        if self.watch_at_ms(slot) <= now_ms {
            self.watch_for_hangup(slot);
        }
        if self.retire_at_ms(slot, SERVER) <= now_ms {
            return self.end(slot, Who::Operator, Reason::ServerRemoved);
        }
        if self.has_been_quiet(slot) {
            let half_closed = self.sessions[slot].first_to_finish.is_some();
            let reason = if half_closed {
                Reason::HalfCloseTimeout
            } else {
                Reason::IdleTimeout
            };
            return self.end(slot, Who::Ringway, reason);
        }
        self.reschedule(slot);
    }

    /// Reads anew from a peer that has spoken and was told nothing. A reset that came in the same
    /// moment as its bytes is known to nobody (see [`Receiving`](super::kernel::Receiving)), and no
    /// send will come upon it.
    fn look_for_resets(&mut self, slot: u32) {
        for leg in [CLIENT, SERVER] {
            let peer = &self.sessions[slot].legs[leg];
            if peer.intake.received > 0 && peer.outlet.sent == 0 {
                self.cancel_receive(slot, leg);
            }
        }
    }

    /// A slow reader makes progress that no completion tells of: while bytes are on their way,
    /// what the peers have acknowledged since the last look counts.
    fn was_acknowledged_more(&mut self, slot: u32) -> bool {
        let session = &self.sessions[slot];
        let legs = session.leg_indices().map(|leg| session.leg(leg));
        let legs = legs.filter(|leg| leg.socket.is_some());
        let waiting = legs
            .clone()
            .any(|leg| leg.outlet.sending || leg.intake.pipe_bytes > 0);
        let mut sockets = legs.map(|leg| leg.socket);
        let waiting = waiting || sockets.any(|socket| self.kernel.unacknowledged(socket) > 0);
        if !waiting {
            return false;
        }
        let acknowledged = self.acknowledged(slot);
        let now_ms = self.now_ms();
        let session = &mut self.sessions[slot];
        if acknowledged <= session.acknowledged {
            return false;
        }
        session.acknowledged = acknowledged;
        session.acknowledged_since_ms = now_ms;
        session.progress_ms = now_ms;
        true
    }

    fn acknowledged(&mut self, slot: u32) -> u64 {
        let session = &self.sessions[slot];
        let sockets = session.leg_indices().map(|leg| session.leg(leg).socket);
        sockets
            .filter(|socket| socket.is_some())
            .map(|socket| self.kernel.acknowledged(socket))
            .sum()
    }
}
