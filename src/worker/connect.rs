//! Finding a server that answers. One try after the other, at once, until a server accepts, the
//! tries are used up or the time is; the client notices none of it.

use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;

use super::event_loop::Worker;
use super::kernel::{Farewell, Fd, Kernel};
use super::session::{CLIENT, IN, REPLICA, SERVER, Session, Stage};
use super::token::Op;
use crate::balance::{Algorithm, Failure, NoServer, Role, Wanted};
use crate::limits::TUNE_AFTER;
use crate::telemetry::{ConnectError, Notice, Reason, Who};

impl<K: Kernel> Worker<K> {
    /// Chooses a server for a session and starts to connect; ends the session when there is none.
    pub(super) fn try_next_server(&mut self, slot: u32) {
        loop {
            let source = self.source(slot);
            let now_ms = self.now_ms();
            let session = &mut self.sessions[slot];
            let picked = session.route.pool.pick(&Wanted {
                role: session.mysql.is_some().then_some(Role::Primary),
                source,
                now_ms,
                tried: &session.tried,
            });
            let member = match picked {
                Ok(member) => member as u16,
                Err(why) => return self.no_server(slot, why),
            };
            session.tried.push(member.into());
            session.legs[SERVER].member = Some(member);
            if session.tried.len() > 1 {
                session.route.server_counters(member).retries.add(1);
            }
            let route = Rc::clone(&session.route);
            match self.kernel.socket(route.address(member)) {
                Ok(socket) => return self.connect(slot, member, socket),
                Err(error) => {
                    self.give_place_back(slot, SERVER);
                    let errno = error.raw_os_error().unwrap_or(0);
                    if let Some(reason) = shortage(errno) {
                        return self.wait_for_better_times(slot, errno, reason);
                    }
                    route
                        .server_counters(member)
                        .connect_failures(ConnectError::Other)
                        .add(1);
                    self.sessions[slot].connect_error = Some(ConnectError::Other);
                    if !self.may_try_again(slot) {
                        return;
                    }
                }
            }
        }
    }

    /// Where a session's client is, if its pool chooses by that.
    pub(super) fn source(&mut self, slot: u32) -> Option<IpAddr> {
        let session = &self.sessions[slot];
        if session.route.pool.settings().algorithm != Algorithm::Source {
            return None;
        }
        let client = session.legs[CLIENT].socket;
        self.kernel.peer(client).map(|address| address.ip())
    }

    /// The host has no descriptor or no memory for a connection: the client waits as it would for a
    /// slow server, and nobody else is let in meanwhile.
    fn wait_for_better_times(&mut self, slot: u32, errno: i32, reason: Reason) {
        let now_ms = self.now_ms();
        let session = &mut self.sessions[slot];
        session.tried.pop();
        if now_ms >= session.connect_until_ms() {
            return self.unreachable(slot, Who::Ringway, reason);
        }
        let token = self.sessions.token(Op::Connect, SERVER, slot);
        self.postpone(token);
        self.pause_accepting(errno);
    }

    fn connect(&mut self, slot: u32, member: u16, socket: Fd) {
        let now_us = self.kernel.now_us();
        let now_ms = now_us / 1000;
        let session = &mut self.sessions[slot];
        session.legs[SERVER].socket = socket;
        session.try_began_us = now_us;
        session.connect_expired = false;
        let connect_ms = session.route.timeouts.connect_ms;
        session.deadline_ms = (now_ms + connect_ms).min(session.connect_until_ms());
        let route = Rc::clone(&session.route);
        let token = self.launch(Op::Connect, SERVER, slot);
        self.kernel.connect(socket, route.address(member), token);
        let deadline_ms = self.deadline_ms(slot);
        self.timers.set(slot, deadline_ms);
    }

    /// A connect has succeeded, failed or been cancelled.
    pub(super) fn on_connect(&mut self, slot: u32, leg: usize, result: i32) {
        if self.sessions[slot].stage == Stage::Closing {
            return;
        }
        if leg == REPLICA {
            return self.on_replica_connect(slot, result);
        }
        let result = match result {
            0 if self
                .kernel
                .is_connected(self.sessions[slot].legs[SERVER].socket) =>
            {
                return self.reached(slot);
            }
            0 => -libc::EHOSTUNREACH,
            result => result,
        };
        let session = &self.sessions[slot];
        if let Some(reason) = shortage(-result) {
            self.close_try(slot);
            return self.wait_for_better_times(slot, -result, reason);
        }
        let error = if session.connect_expired {
            ConnectError::Timeout
        } else {
            classify(-result)
        };
        self.try_failed(slot, error);
    }

    /// A server could not be connected to: tries another one, as far as that is allowed.
    pub(super) fn try_failed(&mut self, slot: u32, error: ConnectError) {
        let session = &self.sessions[slot];
        let member = session.chosen_member();
        let counters = session.route.server_counters(member);
        counters.connect_failures(error).add(1);
        self.note_failure(slot, member, error);
        self.close_try(slot);
        self.sessions[slot].connect_error = Some(error);
        if self.may_try_again(slot) {
            self.try_next_server(slot);
        }
    }

    fn close_try(&mut self, slot: u32) {
        self.give_place_back(slot, SERVER);
        let socket = std::mem::replace(&mut self.sessions[slot].legs[SERVER].socket, Fd::NONE);
        self.kernel.close(socket, Farewell::Reset);
    }

    /// A server has taken the connection.
    fn reached(&mut self, slot: u32) {
        let session = &self.sessions[slot];
        let member = session.chosen_member();
        // MySQL servers speak first, and are asked for TLS in their own protocol.
        if session.mysql.is_some() || !self.begin_server_handshake(slot, member) {
            self.connected(slot);
        }
    }

    /// A server can be sent to.
    pub(super) fn connected(&mut self, slot: u32) {
        let now_us = self.kernel.now_us();
        let session = &mut self.sessions[slot];
        let member = session.chosen_member();
        let try_us = now_us.saturating_sub(session.try_began_us);
        let connect_us = now_us.saturating_sub(session.looking_since_us);
        session.connect_us = Some(u32::try_from(connect_us).unwrap_or(u32::MAX));
        session.stage = Stage::Relaying;
        session.progress_ms = now_us / 1000;
        let counters = session.route.server_counters(member);
        counters.opened.add(1);
        counters.connect_time_us.observe(try_us);
        let server = session.route.server(member);
        if session.mysql.is_some() {
            server.seen_alive(session.try_began_us / 1000);
        }
        if server.connected() {
            let server = Arc::clone(server);
            self.shared.notices.push(Notice::ServerRecovered { server });
        }
        self.reschedule(slot);
        self.arm_receive(slot, SERVER, false);
        if self.sessions[slot].mysql.is_none() {
            self.advance(slot, IN);
        }
    }

    /// The deadline of a connect in flight has passed.
    pub(super) fn expire_connect(&mut self, slot: u32) {
        let session = &mut self.sessions[slot];
        if session.connect_expired {
            return;
        }
        session.connect_expired = true;
        if session.is_shaking_hands(SERVER) {
            // It has connected, and not finished its handshake.
            return self.server_handshake_failed(slot, ConnectError::Timeout);
        }
        let target = self.sessions.token(Op::Connect, SERVER, slot);
        let token = self.launch(Op::Cancel, SERVER, slot);
        self.kernel.cancel(target, token);
    }

    /// When a relaying session's server socket is to be tuned.
    pub(super) fn tune_at_ms(&self, slot: u32) -> u64 {
        let session = &self.sessions[slot];
        let connect_us = u64::from(session.connect_us.unwrap_or(0));
        let connected_us = session.looking_since_us + connect_us;
        connected_us / 1000 + TUNE_AFTER.as_millis() as u64
    }

    pub(super) fn note_failure(&mut self, slot: u32, member: u16, error: ConnectError) {
        let now_ms = self.now_ms();
        let route = &self.sessions[slot].route;
        let server = || Arc::clone(route.server(member));
        if error == ConnectError::OutOfPorts {
            self.shared
                .notices
                .push(Notice::OutOfPorts { server: server() });
        }
        if error.blames_server() && route.pool.failed(member.into(), now_ms) == Failure::Ejected {
            self.shared.notices.push(Notice::ServerFailing {
                server: server(),
                error,
            });
        }
    }

    /// Whether another try is allowed after one that failed; ends the session if it is not.
    fn may_try_again(&mut self, slot: u32) -> bool {
        let now_ms = self.now_ms();
        let session = &self.sessions[slot];
        let route = &session.route;
        if now_ms >= session.connect_until_ms() {
            self.unreachable(slot, Who::Server, Reason::ConnectDeadline);
            return false;
        }
        if session.tried.len() > route.pool.settings().retries {
            self.give_up_connecting(slot);
            return false;
        }
        true
    }

    /// No server can be had. A MySQL session may still have a replica.
    fn unreachable(&mut self, slot: u32, who: Who, reason: Reason) {
        match self.sessions[slot].mysql {
            Some(_) => self.primary_unreachable(slot, who, reason),
            None => self.end(slot, who, reason),
        }
    }

    fn no_server(&mut self, slot: u32, why: NoServer) {
        match why {
            _ if !self.sessions[slot].tried.is_empty() => self.give_up_connecting(slot),
            NoServer::Full => self.unreachable(slot, Who::Operator, Reason::ServersFull),
            NoServer::Down | NoServer::AllTried => {
                self.unreachable(slot, Who::Server, Reason::NoServer)
            }
        }
    }

    /// No further try is possible: the last one's failure is the session's.
    fn give_up_connecting(&mut self, slot: u32) {
        match self.sessions[slot].connect_error {
            Some(ConnectError::OutOfPorts) => {
                self.unreachable(slot, Who::Ringway, Reason::OutOfPorts)
            }
            _ => self.unreachable(slot, Who::Server, Reason::ConnectFailed),
        }
    }

    /// Gives back the place at the member that a leg leads to, if one is held.
    pub(super) fn give_place_back(&mut self, slot: u32, leg: usize) {
        let session = &mut self.sessions[slot];
        if let Some(member) = session.leg_mut(leg).member.take() {
            session.route.server(member).release();
        }
    }
}

impl Session {
    /// When no further server is tried.
    fn connect_until_ms(&self) -> u64 {
        self.looking_since_us / 1000 + self.route.timeouts.connect_deadline_ms
    }

    /// The member of the pool that is being connected to.
    fn chosen_member(&self) -> u16 {
        self.legs[SERVER]
            .member
            .expect("a connecting session has chosen a member")
    }
}

/// What connect(2) said.
pub(super) fn classify(errno: i32) -> ConnectError {
    match errno {
        // A unix socket that is not there, or whose backlog is full, refuses too.
        libc::ECONNREFUSED | libc::ENOENT | libc::EAGAIN => ConnectError::Refused,
        libc::ECONNRESET | libc::EPIPE => ConnectError::Reset,
        libc::ETIMEDOUT => ConnectError::Timeout,
        libc::EHOSTUNREACH | libc::ENETUNREACH | libc::EHOSTDOWN | libc::ENETDOWN => {
            ConnectError::Unreachable
        }
        libc::EADDRNOTAVAIL | libc::EADDRINUSE => ConnectError::OutOfPorts,
        libc::EACCES | libc::EPERM => ConnectError::Denied,
        _ => ConnectError::Other,
    }
}

/// The host's own shortage behind an error number, if that is what it is.
pub(super) fn shortage(errno: i32) -> Option<Reason> {
    match errno {
        libc::EMFILE | libc::ENFILE => Some(Reason::OutOfDescriptors),
        libc::ENOMEM | libc::ENOBUFS => Some(Reason::OutOfMemory),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_the_server_did_is_blamed_on_it() {
        assert!(classify(libc::ECONNREFUSED).blames_server());
        assert!(classify(libc::EHOSTUNREACH).blames_server());
        assert!(!classify(libc::EADDRNOTAVAIL).blames_server());
        assert!(!classify(libc::EPERM).blames_server());
    }

    #[test]
    fn every_errno_has_a_class() {
        for errno in 1..=4095 {
            let _ = classify(errno);
        }
    }
}
