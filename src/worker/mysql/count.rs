//! What a conversation counts, and what it tells the statement log.

use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::leg_of_server;
use crate::limits::STATEMENT_TEXT_BYTES;
use crate::mysql::login::{Established, Failure};
use crate::mysql::splitter::{Counts, Finished};
use crate::telemetry::RouteReason;
use crate::worker::event_loop::Worker;
use crate::worker::kernel::Kernel;
use crate::worker::records::StatementRecord;
use crate::worker::session::CLIENT;

/// How the statement log names a session's client.
pub(super) struct LoggedAs {
    client: Option<SocketAddr>,
    user: Arc<[u8]>,
}

impl<K: Kernel> Worker<K> {
    /// A statement is done.
    pub(super) fn count_statement(&mut self, slot: u32, finished: &Finished) {
        let session = &self.sessions[slot];
        let counters = &session.route.counters().mysql;
        counters.statements(finished.target, finished.reason).add(1);
        let leg = finished.server.map(leg_of_server);
        if let Some(member) = leg.and_then(|leg| session.leg(leg).member) {
            let counters = session.route.server_counters(member);
            counters.statement_time_us.observe(finished.duration_us);
        }
        let logs = |slower_than_us| finished.duration_us >= slower_than_us;
        if self.statement_log_us.is_some_and(logs) {
            self.record_statement(slot, finished);
        }
    }

    /// A client has logged in, anew or as somebody else.
    pub(super) fn count_login(&mut self, slot: u32, established: &Established) {
        let counters = &self.sessions[slot].route.counters().mysql;
        counters.logins(established.rung).add(1);
        if let Some(reason) = established.primary_only {
            counters.primary_only(reason).add(1);
        }
    }

    /// A client could not log in.
    pub(super) fn count_login_failure(&mut self, slot: u32, failure: &Failure) {
        let counters = &self.sessions[slot].route.counters().mysql;
        counters.login_failures(failure.kind()).add(1);
    }

    /// Counts what has happened in a session besides statements.
    pub(super) fn count_events(&mut self, slot: u32) {
        let session = &mut self.sessions[slot];
        let Some(splitter) = &mut session.conversation_mut().splitter else {
            return;
        };
        let (counts, pin) = (splitter.take_counts(), splitter.pin());
        if counts != Counts::default() {
            let counters = &session.route.counters().mysql;
            counters.replays.add(counts.replayed.into());
            counters.detached_replicas.add(counts.detached.into());
            counters.gtid_timeouts.add(counts.gtid_timeouts.into());
        }
        self.count_pin(slot, pin);
    }

    /// The session is kept on the primary by this now, or by nothing.
    pub(super) fn count_pin(&mut self, slot: u32, pin: Option<RouteReason>) {
        let session = &mut self.sessions[slot];
        let before = std::mem::replace(&mut session.conversation_mut().pin, pin);
        if before == pin {
            return;
        }
        let counters = &session.route.counters().mysql;
        if let Some(reason) = before {
            counters.pinned(reason).subtract(1);
        }
        if let Some(reason) = pin {
            counters.pinned(reason).add(1);
        }
    }

    /// Bytes of each statement that are kept for the log: one more than it shows, so that it can
    /// tell what was cut.
    pub(super) fn text_bytes_max(&self) -> usize {
        match self.statement_log_us {
            Some(_) => STATEMENT_TEXT_BYTES + 1,
            None => 0,
        }
    }

    /// There may be a statement log now, or none any more.
    pub(in crate::worker) fn keep_texts(&mut self, slot: u32) {
        let text_bytes_max = self.text_bytes_max();
        let conversation = self.sessions[slot].mysql.as_mut();
        if let Some(splitter) = conversation.and_then(|mysql| mysql.splitter.as_mut()) {
            splitter.keep_texts(text_bytes_max);
        }
    }

    fn record_statement(&mut self, slot: u32, finished: &Finished) {
        let session = &mut self.sessions[slot];
        let route = Rc::clone(&session.route);
        let socket = session.legs[CLIENT].socket;
        let leg = finished.server.map(leg_of_server);
        let member = leg.and_then(|leg| session.leg(leg).member);
        let conversation = session.conversation_mut();
        let Some(splitter) = &conversation.splitter else {
            return;
        };
        let kernel = &mut self.kernel;
        let logged_as = conversation.logged_as.get_or_insert_with(|| LoggedAs {
            client: kernel.peer(socket),
            user: splitter.established().response.user.as_slice().into(),
        });
        let record = StatementRecord {
            began_at: SystemTime::now() - Duration::from_micros(finished.duration_us),
            listener: Arc::clone(&route.listener.name),
            client: logged_as.client,
            user: Arc::clone(&logged_as.user),
            server: member.map(|member| Arc::clone(route.server(member))),
            target: finished.target,
            reason: finished.reason,
            duration_us: finished.duration_us,
            failed: finished.failed,
            text: splitter.text().into(),
            dialect: splitter.dialect(),
        };
        if self.shared.statements.push(record) {
            self.statements_pushed = true;
        } else {
            self.counters().statement_records_dropped.add(1);
        }
    }
}
