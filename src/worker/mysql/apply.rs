//! Doing what a login and a splitter say.

use std::sync::Arc;

use zeroize::Zeroizing;

use super::{Leaving, leg_of, leg_of_server, settings_of};
use crate::mysql::inbox::TooLong;
use crate::mysql::login::{Action, ClientTls, Established, Failure, Login, Peer};
use crate::mysql::route::Server;
use crate::mysql::splitter::{Ending, Order, Splitter};
use crate::telemetry::{Reason, Who};
use crate::worker::event_loop::Worker;
use crate::worker::kernel::Kernel;
use crate::worker::session::{CLIENT, REPLICA, SERVER};

impl<K: Kernel> Worker<K> {
    /// Does what a splitter says. The orders are used up.
    pub(super) fn apply(&mut self, slot: u32, orders: &mut Vec<Order>) {
        for order in orders.drain(..) {
            match order {
                Order::Send(peer, bytes) => self.send_own(slot, leg_of(peer), bytes),
                Order::Done(finished) => self.count_statement(slot, &finished),
                Order::OpenReplica => self.open_replica_again(slot),
                Order::Close(server) => self.leave_when_sent(slot, leg_of_server(server)),
                Order::ChangeUser(command) => self.change_user(slot, command),
                Order::Relay => {
                    self.leave_when_sent(slot, REPLICA);
                    self.sessions[slot].conversation_mut().relays = true;
                }
                Order::Kill(kill) => self.spread_kill(slot, kill),
                Order::End(ending) => {
                    let (who, reason) = end_of(ending);
                    self.end_when_sent(slot, who, reason);
                }
            }
        }
    }

    /// Does what a login says.
    pub(super) fn act(&mut self, slot: u32, actions: Vec<Action>) {
        for action in actions {
            match action {
                Action::Send(peer, bytes) => {
                    self.send_secret(slot, leg_of(peer), Zeroizing::new(bytes));
                }
                Action::StartTls => self.start_tls(slot),
                Action::OpenReplica => self.open_replica(slot),
                Action::NoTls(peer, why) => self.note_no_tls(slot, leg_of(peer), why),
                Action::TurnedAway(peer) => self.note_turned_away(slot, leg_of(peer)),
                Action::Close(Peer::Client) => {}
                Action::Close(peer) => self.leave_when_sent(slot, leg_of(peer)),
                Action::Complete(established) => self.logged_in(slot, established),
                Action::Fail(failure) => self.login_failed(slot, &failure),
            }
        }
        let conversation = self.sessions[slot].conversation_mut();
        if conversation.logged_in && conversation.login.as_ref().is_some_and(|l| l.is_finished()) {
            conversation.login = None;
        }
    }

    fn logged_in(&mut self, slot: u32, established: Box<Established>) {
        let now_ms = self.now_ms();
        self.leave_unauthenticated(slot);
        self.count_login(slot, &established);
        for (server, leg) in [
            (&established.primary, SERVER),
            (&established.replica, REPLICA),
        ] {
            if server.is_some() {
                self.let_in(slot, leg);
            }
        }
        let text_bytes_max = self.text_bytes_max();
        let session = &mut self.sessions[slot];
        let settings = settings_of(&session.route, text_bytes_max);
        let conversation = session.conversation_mut();
        conversation.deadline_ms = u64::MAX;
        conversation.logged_in = true;
        conversation.replica_try.login_is_over();
        if established.primary.is_none() {
            conversation.primary_lost_ms = now_ms;
        }
        conversation.logged_as = None;
        match &mut conversation.splitter {
            Some(splitter) => splitter.user_changed(established),
            None => {
                let splitter = Splitter::new(settings, established);
                conversation.splitter = Some(Box::new(splitter));
            }
        }
    }

    fn login_failed(&mut self, slot: u32, failure: &Failure) {
        self.leave_unauthenticated(slot);
        self.count_login_failure(slot, failure);
        self.end_when_sent(slot, failure.who(), Reason::LoginFailed);
        // The servers may take a moment longer to be told.
        self.leave_when_sent(slot, CLIENT);
    }

    fn change_user(&mut self, slot: u32, command: Result<Zeroizing<Vec<u8>>, TooLong>) {
        let now_ms = self.now_ms();
        let address = self.client_address(slot);
        let session = &mut self.sessions[slot];
        let mysql = Arc::clone(session.route.mysql());
        let client_tls = match session.is_encrypted(CLIENT) {
            true => ClientTls::Running,
            false => ClientTls::Off,
        };
        let conversation = session.conversation_mut();
        let splitter = conversation
            .splitter
            .as_ref()
            .expect("a session that has logged in");
        let mut actions = Vec::new();
        let login = Login::change_user(
            mysql.rules.clone(),
            &address,
            client_tls,
            splitter.established(),
            command,
            &mut actions,
        );
        conversation.login = Some(Box::new(login));
        conversation.logged_in = false;
        conversation.deadline_ms = now_ms + mysql.settings.login_timeout.as_millis() as u64;
        self.act(slot, actions);
    }

    /// Ends the session when everything has been sent, or when that takes too long.
    pub(super) fn end_when_sent(&mut self, slot: u32, who: Who, reason: Reason) {
        let now_ms = self.now_ms();
        let session = &mut self.sessions[slot];
        let linger_ms = session.route.timeouts.reset_linger_ms;
        let conversation = session.conversation_mut();
        conversation.ending.get_or_insert((who, reason));
        conversation.deadline_ms = conversation.deadline_ms.min(now_ms + linger_ms);
    }

    /// Closes a server's connection when everything has been sent to it.
    pub(super) fn leave_when_sent(&mut self, slot: u32, leg: usize) {
        if leg != CLIENT && self.sessions[slot].is_shaking_hands(leg) {
            return self.close_leg(slot, leg);
        }
        let line = &mut self.sessions[slot].conversation_mut().lines[leg];
        if line.leaving == Leaving::No {
            line.leaving = Leaving::WhenSent;
        }
    }
}

/// A session's end, as everybody else knows it.
const fn end_of(ending: Ending) -> (Who, Reason) {
    match ending {
        Ending::Quit => (Who::Client, Reason::Finished),
        Ending::Killed => (Who::Client, Reason::Killed),
        Ending::ServerLost(Server::Primary | Server::Replica) => (Who::Server, Reason::ServerLost),
        Ending::Violation(..) => (Who::Server, Reason::ProtocolViolation),
    }
}
