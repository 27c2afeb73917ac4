//! When a session is looked at again, and what happens then. A session has one timer, which never
//! fires later than its deadline; progress only moves the deadline, not the timer.

use super::event_loop::Worker;
use super::kernel::Kernel;
use super::session::{IN, OUT, Stage};
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
            Stage::Connecting => self.expire_connect(slot),
            Stage::Relaying => self.look_at_relaying(slot),
            Stage::Resetting => self.pass_reset_on(slot),
            Stage::Closing => {}
        }
    }

    fn deadline_ms(&self, slot: u32) -> u64 {
        let session = &self.sessions[slot];
        match session.stage {
            Stage::Connecting => session.deadline_ms,
            Stage::Relaying => {
                let tune_at_ms = if session.tuned {
                    u64::MAX
                } else {
                    self.tune_at_ms(slot)
                };
                let look_at_ms = tune_at_ms.min(self.watch_at_ms(slot));
                look_at_ms
                    .min(self.quiet_until_ms(slot))
                    .min(self.retire_at_ms(slot))
            }
            Stage::Resetting => 0,
            Stage::Closing => u64::MAX,
        }
    }

    /// How long a session may go on without progress.
    fn quiet_until_ms(&self, slot: u32) -> u64 {
        let session = &self.sessions[slot];
        let timeouts = &session.route.timeouts;
        let half_closed = session.first_to_finish.is_some();
        session.progress_ms
            + if half_closed {
                timeouts.half_close_ms
            } else {
                timeouts.idle_ms
            }
    }

    fn retire_at_ms(&self, slot: u32) -> u64 {
        let session = &self.sessions[slot];
        session.member.map_or(u64::MAX, |member| {
            session.route.server(member).retire_at_ms()
        })
    }

    /// When a half-closed session's finished side is to be watched.
    fn watch_at_ms(&self, slot: u32) -> u64 {
        let session = &self.sessions[slot];
        if session.first_to_finish.is_some() && !session.watched {
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
            self.kernel.tune(session.server, &session.route.tuning);
        }
        if self.watch_at_ms(slot) <= now_ms {
            self.watch_for_hangup(slot);
        }
        if self.retire_at_ms(slot) <= now_ms {
            return self.end(slot, Who::Operator, Reason::ServerRemoved);
        }
        if self.quiet_until_ms(slot) <= now_ms && !self.was_acknowledged_more(slot) {
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

    /// A slow reader makes progress that no completion tells of: while bytes are on their way,
    /// what the peers have acknowledged since the last look counts.
    fn was_acknowledged_more(&mut self, slot: u32) -> bool {
        let session = &self.sessions[slot];
        let waiting = session
            .streams
            .iter()
            .any(|s| s.sending || s.pipe_bytes > 0);
        let unread = [session.client, session.server];
        let waiting = waiting || unread.iter().any(|&fd| self.kernel.unacknowledged(fd) > 0);
        if !waiting {
            return false;
        }
        let destinations = [session.destination(IN), session.destination(OUT)];
        let acknowledged: u64 = destinations
            .iter()
            .map(|&fd| self.kernel.acknowledged(fd))
            .sum();
        let now_ms = self.now_ms();
        let session = &mut self.sessions[slot];
        if acknowledged <= session.acknowledged {
            return false;
        }
        session.acknowledged = acknowledged;
        session.progress_ms = now_ms;
        true
    }
}
