//! Finding a replica that answers, at the login or later. A session that finds none goes on without.

use std::rc::Rc;
use std::sync::Arc;

use crate::balance::{Role, Tried, Wanted};
use crate::mysql::capabilities::Capabilities;
use crate::mysql::login::Peer;
use crate::mysql::server_login::{LoggedIn, ServerLogin};
use crate::telemetry::{ConnectError, Notice};
use crate::worker::connect::{classify, shortage};
use crate::worker::event_loop::Worker;
use crate::worker::kernel::{Farewell, Fd, Kernel};
use crate::worker::session::{REPLICA, Session};
use crate::worker::token::Op;

/// The search for a replica.
#[derive(Default)]
pub(super) struct ReplicaTry {
    tried: Tried,
    /// One is to be found.
    pub(super) is_wanted: bool,
    /// Ringway logs in there itself, for a session that has logged in. Until it does, the leg may
    /// have the connection before, which has to end first.
    pub(super) signs: bool,
    /// The connection in the leg is one that was made.
    pub(super) is_connected: bool,
    /// When the login at it has taken too long; 0: nobody waits for it.
    pub(super) deadline_ms: u64,
    /// When the try that is going on began.
    began_us: u64,
    /// The member it reached, for its counters.
    reached: Option<u16>,
}

impl<K: Kernel> Worker<K> {
    /// A login wants a replica.
    pub(super) fn open_replica(&mut self, slot: u32) {
        let search = &mut self.sessions[slot].conversation_mut().replica_try;
        search.tried = Tried::default();
        search.is_wanted = true;
        self.try_next_replica(slot);
    }

    /// A session that has logged in wants a replica, and ringway signs for it.
    pub(super) fn open_replica_again(&mut self, slot: u32) {
        let now_ms = self.now_ms();
        let session = &mut self.sessions[slot];
        let timeout = session.route.mysql().settings.replica_login_timeout;
        let search = &mut session.conversation_mut().replica_try;
        search.deadline_ms = now_ms + timeout.as_millis() as u64;
        search.signs = true;
        self.open_replica(slot);
        self.reschedule(slot);
    }

    /// Connects to the next replica, if there is one left.
    pub(in crate::worker) fn try_next_replica(&mut self, slot: u32) {
        let now_us = self.kernel.now_us();
        let session = &mut self.sessions[slot];
        if session.mysql.is_none() || session.conversation().replica.socket.is_some() {
            // The one before is still being closed; this is called again then.
            return;
        }
        session.prepare_replica_login();
        let source = self.source(slot);
        let session = &self.sessions[slot];
        let route = Rc::clone(&session.route);
        let retries = usize::from(route.pool.settings().retries);
        loop {
            let session = &mut self.sessions[slot];
            let conversation = session.conversation_mut();
            let search = &mut conversation.replica_try;
            let more = usize::from(search.tried.len()) <= retries;
            let picked = more
                .then(|| {
                    route.pool.pick(&Wanted {
                        role: Some(Role::Replica),
                        source,
                        now_ms: now_us / 1000,
                        tried: &search.tried,
                    })
                })
                .and_then(Result::ok);
            let Some(member) = picked else {
                return self.replica_failed(slot);
            };
            search.tried.push(member);
            search.began_us = now_us;
            let member = member as u16;
            conversation.replica.member = Some(member);
            match self.kernel.socket(route.address(member)) {
                Ok(socket) => {
                    let conversation = self.sessions[slot].conversation_mut();
                    conversation.replica.socket = socket;
                    conversation.replica_try.is_connected = false;
                    let token = self.launch(Op::Connect, REPLICA, slot);
                    self.kernel.connect(socket, route.address(member), token);
                    return;
                }
                Err(_) => {
                    let counters = route.server_counters(member);
                    counters.connect_failures(ConnectError::Other).add(1);
                    self.give_place_back(slot, REPLICA);
                }
            }
        }
    }

    /// A connect to a replica has succeeded, failed or been cancelled.
    pub(in crate::worker) fn on_replica_connect(&mut self, slot: u32, result: i32) {
        if self.sessions[slot].conversation().is_leaving(REPLICA) {
            return;
        }
        let now_us = self.kernel.now_us();
        let socket = self.sessions[slot].conversation().replica.socket;
        let errno = match result {
            0 if self.kernel.is_connected(socket) => 0,
            0 => libc::EHOSTUNREACH,
            result => -result,
        };
        let session = &mut self.sessions[slot];
        let route = Rc::clone(&session.route);
        let conversation = session.conversation_mut();
        let member = conversation.replica.member;
        let member = member.expect("a connecting session has chosen a member");
        if errno == 0 {
            let search = &mut conversation.replica_try;
            search.is_connected = true;
            search.reached = Some(member);
            let counters = route.server_counters(member);
            counters.opened.add(1);
            let try_us = now_us.saturating_sub(search.began_us);
            counters.connect_time_us.observe(try_us);
            let server = route.server(member);
            if server.connected() {
                let server = Arc::clone(server);
                self.shared.notices.push(Notice::ServerRecovered { server });
            }
            return self.arm_receive(slot, REPLICA, false);
        }
        if shortage(errno).is_none() {
            let error = classify(errno);
            route.server_counters(member).connect_failures(error).add(1);
            self.note_failure(slot, member, error);
        }
        self.give_place_back(slot, REPLICA);
        let leg = &mut self.sessions[slot].conversation_mut().replica;
        let socket = std::mem::replace(&mut leg.socket, Fd::NONE);
        self.kernel.close(socket, Farewell::Reset);
        self.try_next_replica(slot);
        self.converse(slot);
    }

    /// No replica can be had: whoever wanted one goes on without.
    pub(super) fn replica_failed(&mut self, slot: u32) {
        let now_us = self.kernel.now_us();
        let conversation = self.sessions[slot].conversation_mut();
        let signs = conversation.replica_try.end();
        conversation.replica_login = None;
        let mut actions = Vec::new();
        if let Some(login) = &mut conversation.login
            && !signs
        {
            login.lost(Peer::Replica, &mut actions);
        }
        let mut orders = std::mem::take(&mut self.orders);
        if let Some(splitter) = &mut conversation.splitter
            && signs
        {
            splitter.replica_unavailable(now_us, &mut orders);
        }
        self.act(slot, actions);
        self.apply(slot, &mut orders);
        self.orders = orders;
    }

    /// The login at a replica is over without a result.
    pub(super) fn leave_replica_login(&mut self, slot: u32) {
        self.leave_when_sent(slot, REPLICA);
        self.replica_failed(slot);
    }

    /// A replica has logged the session in.
    pub(super) fn attach_replica(&mut self, slot: u32, logged_in: &LoggedIn) {
        let now_us = self.kernel.now_us();
        self.let_in(slot, REPLICA);
        let conversation = self.sessions[slot].conversation_mut();
        conversation.replica_login = None;
        conversation.replica_try.end();
        let mut orders = std::mem::take(&mut self.orders);
        if let Some(splitter) = &mut conversation.splitter {
            splitter.replica_attached(&logged_in.greeting, logged_in.status, now_us, &mut orders);
        }
        self.apply(slot, &mut orders);
        self.orders = orders;
    }

    /// The replica's connection is closed, for its counters.
    pub(super) fn count_replica_closed(&mut self, slot: u32) {
        let session = &mut self.sessions[slot];
        let route = Rc::clone(&session.route);
        let search = &mut session.conversation_mut().replica_try;
        search.is_connected = false;
        if let Some(member) = search.reached.take() {
            route.server_counters(member).closed.add(1);
        }
    }
}

impl ReplicaTry {
    /// The login has the replica that it wanted, or goes on without. Nobody could log in at another
    /// one, unless ringway signs.
    pub(super) fn login_is_over(&mut self) {
        self.is_wanted &= self.signs;
    }

    /// The search is over. Whether ringway was to log in itself.
    fn end(&mut self) -> bool {
        self.is_wanted = false;
        self.deadline_ms = 0;
        std::mem::take(&mut self.signs)
    }
}

impl Session {
    /// The leg is free for a replica: gets ready to log in there, if that is for ringway to do.
    fn prepare_replica_login(&mut self) {
        let on_tls = self.route.server_tls.is_some();
        let conversation = self.conversation_mut();
        let has_login = conversation.replica_login.is_some();
        let Some(splitter) = &conversation.splitter else {
            return;
        };
        if !conversation.replica_try.signs || has_login {
            return;
        }
        let (response, capabilities) = splitter.at_replica();
        let signer = splitter.established().signer.clone();
        let signer = signer.expect("a replica is opened where ringway can sign");
        let required = capabilities.and(Capabilities::LAYOUT);
        let login = ServerLogin::new(response, signer, capabilities, required, on_tls);
        conversation.replica_login = Some(Box::new(login));
    }
}
