//! TLS with a server: part of connecting to it. Its time is that of the connect, and a server that
//! fails at it is one that could not be connected to, so another one is tried.

use std::sync::Arc;

use super::super::event_loop::Worker;
use super::super::kernel::Kernel;
use super::super::session::{Chunks, Leg, SERVER, Stage};
use super::super::token::Op;
use super::{ALERT_BYTES_MAX, Handshake};
use crate::telemetry::{ConnectError, Notice};
use crate::tls::session::{Failure, Session as Tls};

impl<K: Kernel> Worker<K> {
    /// The server has taken the connection: goes on with the handshake. `false`: it is to be spoken
    /// to in plain text.
    pub(in crate::worker) fn begin_server_handshake(&mut self, slot: u32, member: u16) -> bool {
        let session = &mut self.sessions[slot];
        let Some(policy) = session.route.server_tls.clone() else {
            return false;
        };
        let tls = policy.connect(usize::from(member), self.index);
        match tls {
            Ok(tls) => self.greet_server(slot, tls),
            Err(_) => self.server_handshake_failed(slot, ConnectError::Other),
        }
        true
    }

    fn greet_server(&mut self, slot: u32, tls: Tls) {
        let nothing = Chunks::default();
        self.encrypt(slot, SERVER, tls, nothing, Handshake::Running);
        self.arm_receive(slot, SERVER, false);
        self.flush_channel(slot, SERVER);
    }

    /// A server's handshake is done: it can be sent to.
    pub(super) fn server_shook_hands(&mut self, slot: u32, leg: usize) {
        let session = &self.sessions[slot];
        let channel = session.channel(leg);
        if let Some((channel, member)) = channel.zip(session.leg(leg).member) {
            let counters = session.route.server_counters(member);
            counters.tls_handshakes.count(channel.tls.is_resumed());
        }
        match session.mysql {
            Some(_) => self.server_is_on_tls(slot, leg),
            None => self.connected(slot),
        }
    }

    /// The server's certificate does not do, or the like. The operator learns what it is.
    pub(super) fn server_tls_failed(&mut self, slot: u32, leg: usize, failure: &Failure) {
        let session = &self.sessions[slot];
        if let Some(member) = session.leg(leg).member {
            let server = Arc::clone(session.route.server(member));
            let failure = Box::new(failure.clone());
            self.shared
                .notices
                .push(Notice::ServerTls { server, failure });
        }
        let mut alert = [0; ALERT_BYTES_MAX];
        let len = self.take_alert(slot, leg, &mut alert);
        // It is to know why, and its log with it. Should there be no room, it is closed without.
        let socket = self.sessions[slot].leg(leg).socket;
        let _ = self.kernel.send_bytes(socket, &alert[..len]);
        self.server_handshake_lost(slot, leg, ConnectError::Tls);
    }

    /// A server was lost before there was TLS with it.
    pub(super) fn server_handshake_lost(&mut self, slot: u32, leg: usize, error: ConnectError) {
        match &self.sessions[slot].mysql {
            // It is being closed already.
            Some(mysql) if mysql.is_leaving(leg) => {}
            Some(_) => self.lose_server(slot, leg, error),
            None => self.server_handshake_failed(slot, error),
        }
    }

    /// There will be no TLS with the server. Its connection is closed when nothing is in flight on
    /// it any more, and then another one is tried.
    pub(in crate::worker) fn server_handshake_failed(&mut self, slot: u32, error: ConnectError) {
        if self.sessions[slot].is_given_up(SERVER) {
            return;
        }
        self.set_handshake(slot, SERVER, Handshake::GivenUp(error));
        let server = &self.sessions[slot].legs[SERVER];
        if server.in_flight > 0 {
            let socket = server.socket;
            let token = self.launch(Op::Cancel, SERVER, slot);
            self.kernel.cancel_all(socket, token);
        } else {
            self.settle_server(slot);
        }
    }

    /// Closes a server's connection that is being given up, once its last completion has come.
    pub(in crate::worker) fn settle_server(&mut self, slot: u32) {
        let session = &self.sessions[slot];
        let Handshake::GivenUp(error) = session.handshake(SERVER) else {
            return;
        };
        if session.stage != Stage::Connecting || session.legs[SERVER].in_flight > 0 {
            return;
        }
        self.discard_sealed(slot, SERVER);
        self.discard_inbound(slot, SERVER);
        self.unencrypt(slot, SERVER);
        // What the client has sent already is for the next one.
        let server = &mut self.sessions[slot].legs[SERVER];
        let mut fresh = Leg::new(server.socket);
        fresh.member = server.member;
        fresh.outlet.chunks = std::mem::take(&mut server.outlet.chunks);
        *server = fresh;
        self.try_failed(slot, error);
    }
}
