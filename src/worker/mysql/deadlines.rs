//! When a conversation is looked at, and what happens then.

use crate::mysql::login::Peer;
use crate::telemetry::{Reason, Who};
use crate::worker::event_loop::Worker;
use crate::worker::kernel::Kernel;
use crate::worker::session::{REPLICA, SERVER, Stage};

impl<K: Kernel> Worker<K> {
    /// When a conversation is to be looked at.
    pub(in crate::worker) fn conversation_deadline_ms(&self, slot: u32) -> u64 {
        let session = &self.sessions[slot];
        let conversation = session.conversation();
        let replica_ms = match conversation.replica_try.deadline_ms {
            0 => u64::MAX,
            at_ms => at_ms,
        };
        conversation
            .deadline_ms
            .min(replica_ms)
            .min(self.quiet_look_ms(slot))
            .min(self.retire_at_ms(slot, SERVER))
            .min(self.retire_at_ms(slot, REPLICA))
    }

    /// Starts the clock of a login that waits for nothing but its replica, and stops it.
    pub(super) fn watch_login(&mut self, slot: u32) {
        let now_ms = self.now_ms();
        let session = &mut self.sessions[slot];
        let conversation = session.mysql.as_deref_mut().expect("a MySQL session");
        if conversation.replica_try.signs {
            return;
        }
        let login = conversation.login.as_ref();
        let waits = login.is_some_and(|login| login.waits_for_replica());
        let search = &mut conversation.replica_try;
        if !waits {
            search.deadline_ms = 0;
        } else if search.deadline_ms == 0 {
            let timeout = session.route.mysql().settings.replica_login_timeout;
            search.deadline_ms = now_ms + timeout.as_millis() as u64;
        }
    }

    /// The conversation's timer has fired.
    pub(in crate::worker) fn look_at_conversation(&mut self, slot: u32) {
        let now_ms = self.now_ms();
        let conversation = self.sessions[slot].conversation();
        let (deadline_ms, ending) = (conversation.deadline_ms, conversation.ending);
        let replica_ms = conversation.replica_try.deadline_ms;
        if deadline_ms <= now_ms {
            return match ending {
                Some((who, reason)) => self.end(slot, who, reason),
                None => self.login_expired(slot),
            };
        }
        if replica_ms != 0 && replica_ms <= now_ms {
            self.replica_expired(slot);
        }
        if self.sessions[slot].stage != Stage::Relaying || self.sessions[slot].mysql.is_none() {
            return;
        }
        if self.retire_at_ms(slot, SERVER) <= now_ms {
            return self.end(slot, Who::Operator, Reason::ServerRemoved);
        }
        if self.retire_at_ms(slot, REPLICA) <= now_ms {
            self.close_leg(slot, REPLICA);
            self.server_gone(slot, REPLICA);
            self.converse(slot);
        }
        if self.has_been_quiet(slot) {
            let reason = match self.sessions[slot].first_to_finish {
                Some(_) => Reason::HalfCloseTimeout,
                None => Reason::IdleTimeout,
            };
            return self.end(slot, Who::Ringway, reason);
        }
        self.reschedule(slot);
    }

    /// A login has taken too long. A server whose handshake is not finished is left properly before
    /// the session ends.
    fn login_expired(&mut self, slot: u32) {
        self.handshake_in_login_expired(slot);
        let conversation = self.sessions[slot].conversation_mut();
        let login = conversation.login.as_mut();
        let login = login.expect("who has logged in has no such deadline");
        let mut actions = Vec::new();
        let blamed = login.timed_out(&mut actions);
        conversation.deadline_ms = u64::MAX;
        if let Some(who) = blamed {
            self.end_when_sent(slot, who, Reason::LoginTimeout);
        }
        self.act(slot, actions);
        self.converse(slot);
    }

    fn replica_expired(&mut self, slot: u32) {
        let conversation = self.sessions[slot].conversation_mut();
        conversation.replica_try.deadline_ms = 0;
        if let Some(login) = &mut conversation.replica_login {
            let mut out = Vec::new();
            login.leave(&mut out);
            self.send_own(slot, REPLICA, out);
            self.leave_when_sent(slot, REPLICA);
            self.replica_failed(slot);
        } else if conversation.replica_try.signs {
            self.replica_failed(slot);
        } else if let Some(login) = &mut conversation.login {
            let mut actions = Vec::new();
            login.replica_timed_out(&mut actions);
            self.act(slot, actions);
        }
        let session = &self.sessions[slot];
        let is_leaving = session.conversation().is_leaving(REPLICA);
        let is_connecting = !session.conversation().replica_try.is_connected;
        if session.is_shaking_hands(REPLICA) || is_connecting && !is_leaving {
            // It has heard nothing that it could hold against whoever leaves.
            self.close_leg(slot, REPLICA);
            self.server_gone(slot, REPLICA);
        }
        self.converse(slot);
    }

    /// No primary can be had. The replica may log the client in, to read.
    pub(in crate::worker) fn primary_unreachable(&mut self, slot: u32, who: Who, reason: Reason) {
        let session = &mut self.sessions[slot];
        session.stage = Stage::Relaying;
        let conversation = session.conversation_mut();
        let mut actions = Vec::new();
        if let Some(login) = &mut conversation.login {
            login.lost(Peer::Primary, &mut actions);
        }
        let failed = actions
            .iter()
            .any(|action| matches!(action, crate::mysql::login::Action::Fail(_)));
        if failed {
            self.end_when_sent(slot, who, reason);
        }
        self.act(slot, actions);
        self.converse(slot);
    }
}
