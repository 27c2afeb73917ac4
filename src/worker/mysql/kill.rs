//! `KILL` over the workers. A client knows a session by its thread id at the primary, and the
//! primary has ended what runs there. What runs at a replica is ended through the killer's own
//! connection to it, with the killer's own rights; the session itself, by the worker that has it.

use std::sync::Arc;

use crate::mysql::splitter::Kill;
use crate::telemetry::{Reason, Who};
use crate::worker::event_loop::Worker;
use crate::worker::kernel::Kernel;
use crate::worker::session::{REPLICA, SERVER, Stage};
use crate::worker::shared::{Command, KillAtReplica, KillOrder};
use crate::worker::token::{Op, Token};

impl<K: Kernel> Worker<K> {
    /// A primary has done a session's `KILL`: all workers look for whom it meant.
    pub(super) fn spread_kill(&mut self, slot: u32, kill: Kill) {
        let session = &self.sessions[slot];
        let Some(member) = session.legs[SERVER].member else {
            return;
        };
        let order = KillOrder {
            primary: Arc::clone(session.route.server(member)),
            thread_id: kill.thread_id,
            query_only: kill.query_only,
            killer_worker: self.index,
            killer: self.sessions.token(Op::Cancel, REPLICA, slot).user_data(),
        };
        self.shared.command_all(&Command::Kill(order));
    }

    /// Ends the session that a `KILL` meant, if it is this worker's.
    pub(in crate::worker) fn kill(&mut self, order: &KillOrder) {
        for slot in self.sessions.occupied() {
            if self.is_meant(slot, order) {
                self.kill_session(slot, order);
                self.settle(slot);
            }
        }
    }

    fn is_meant(&self, slot: u32, order: &KillOrder) -> bool {
        let session = &self.sessions[slot];
        let splitter = session
            .mysql
            .as_ref()
            .and_then(|mysql| mysql.splitter.as_ref());
        let known = splitter.is_some_and(|s| s.established().thread_id == order.thread_id);
        // The primary may have closed its connection already.
        let member = session.tried.last();
        let its = member.map(|member| session.route.server(member));
        let same = its.is_some_and(|server| Arc::ptr_eq(server, &order.primary));
        known && same && session.stage == Stage::Relaying
    }

    fn kill_session(&mut self, slot: u32, order: &KillOrder) {
        let session = &self.sessions[slot];
        let conversation = session.conversation();
        let splitter = conversation.splitter.as_ref();
        let running = splitter.filter(|splitter| splitter.runs_on_replica());
        let thread_id = running.and_then(|s| s.established().replica.as_ref());
        if let (Some(greeting), Some(member)) = (thread_id, conversation.replica.member) {
            let command = Command::KillAtReplica(KillAtReplica {
                killer: order.killer,
                replica: Arc::clone(session.route.server(member)),
                thread_id: greeting.thread_id,
            });
            self.shared.command(order.killer_worker, command);
        }
        if !order.query_only {
            self.end(slot, Who::Client, Reason::Killed);
        }
    }

    /// Ends a statement at a replica, if the killer is connected to it.
    pub(in crate::worker) fn kill_at_replica(&mut self, order: &KillAtReplica) {
        let killer = Token::from_user_data(order.killer);
        let Some(slot) = self.sessions.slot_of(killer) else {
            return;
        };
        let session = &mut self.sessions[slot];
        let route = session.route.clone();
        let Some(conversation) = &mut session.mysql else {
            return;
        };
        let member = conversation.replica.member;
        let same = member.is_some_and(|m| Arc::ptr_eq(route.server(m), &order.replica));
        if !same || session.stage != Stage::Relaying {
            return;
        }
        let mut orders = std::mem::take(&mut self.orders);
        if let Some(splitter) = &mut conversation.splitter {
            splitter.kill_at_replica(order.thread_id, &mut orders);
        }
        self.apply(slot, &mut orders);
        self.orders = orders;
        self.converse(slot);
        self.settle(slot);
    }
}
