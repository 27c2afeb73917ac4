//! TLS with a client that asks for it in its login (`SSLRequest`), and what goes through it.

use std::sync::Arc;

use zeroize::Zeroizing;

use crate::mysql::handshake::{NoTls, upgrade};
use crate::mysql::login::Login;
use crate::telemetry::{ConnectError, Notice, Reason, Who};
use crate::tls::policy::ListenerMode;
use crate::tls::session::{Failure, Sent};
use crate::worker::event_loop::Worker;
use crate::worker::kernel::Kernel;
use crate::worker::session::{CLIENT, Chunks, Session};
use crate::worker::tls::Handshake;

impl<K: Kernel> Worker<K> {
    /// The client has asked for TLS. Everything behind its request belongs to the handshake, what
    /// came with it included: it was not protected, and is not to be taken for what is (B-1). It waits
    /// while as many clients of the worker are in their handshakes as may be.
    pub(super) fn start_tls(&mut self, slot: u32) {
        let session = &mut self.sessions[slot];
        let policy = session.route.tls.clone();
        let accepted = match policy.as_ref().map(|policy| &policy.mode) {
            Some(ListenerMode::Preferred(acceptor) | ListenerMode::Required(acceptor)) => {
                acceptor.accept()
            }
            // It was offered, so there is a policy.
            _ => Err(Failure::Ours("no TLS".into())),
        };
        let Ok(tls) = accepted else {
            return self.end(slot, Who::Ringway, Reason::Internal);
        };
        let unread = std::mem::take(session.conversation_mut().inbound(CLIENT));
        let handshake = self.handshake_to_begin_with(slot);
        self.encrypt(slot, CLIENT, tls, unread, handshake);
        self.unseal(slot, CLIENT);
    }

    /// The first thing that a server is told is the response to its greeting. Where the server is to
    /// be spoken to over TLS it is asked for that first, and nothing of the response leaves before
    /// the server has proved who it is (B-14).
    ///
    /// What it has said behind its greeting was not protected, and ends the connection (B-1).
    pub(super) fn ask_for_tls(&mut self, slot: u32, leg: usize, response: Zeroizing<Vec<u8>>) {
        let session = &self.sessions[slot];
        let policy = session.route.server_tls.as_ref();
        let tls = policy.zip(session.leg(leg).member);
        let tls = tls.and_then(|(policy, member)| policy.connect(member.into(), self.index).ok());
        let Some((upgraded, tls)) = upgrade(response).zip(tls) else {
            return self.lose_server(slot, leg, ConnectError::Other);
        };
        let early = session.conversation().lines[leg].inbound.bytes();
        if early > 0 {
            self.note_no_tls(slot, leg, NoTls::SpokeEarly(early));
            return self.drop_server(slot, leg);
        }
        let session = &mut self.sessions[slot];
        let socket = session.leg(leg).socket;
        session.conversation_mut().lines[leg].held = Some(upgraded.response);
        let nothing = Chunks::default();
        self.encrypt(slot, leg, tls, nothing, Handshake::Running);
        // A connection on which nothing has been sent has room. Should it be gone, a receive tells.
        let _ = self.kernel.send_bytes(socket, &upgraded.request);
        self.flush_channel(slot, leg);
    }

    /// There is TLS with a server: the login goes on.
    pub(in crate::worker) fn server_is_on_tls(&mut self, slot: u32, leg: usize) {
        let line = &mut self.sessions[slot].conversation_mut().lines[leg];
        if let Some(response) = line.held.take() {
            self.send_secret(slot, leg, response);
        }
    }

    /// A server was lost before there was TLS with it: as if it had not taken the connection.
    pub(in crate::worker) fn lose_server(&mut self, slot: u32, leg: usize, error: ConnectError) {
        if let Some(member) = self.sessions[slot].leg(leg).member {
            self.count_lost(slot, member, error);
        }
        self.drop_server(slot, leg);
    }

    /// There will be no TLS with a server. The operator learns why.
    pub(super) fn note_no_tls(&mut self, slot: u32, leg: usize, why: NoTls) {
        let session = &self.sessions[slot];
        let Some(member) = session.leg(leg).member else {
            return;
        };
        let server = Arc::clone(session.route.server(member));
        if let NoTls::SpokeEarly(bytes) = why {
            let counters = session.route.server_counters(member);
            counters.tls_preupgrade_bytes.add(bytes as u64);
        }
        let notice = Notice::ServerWithoutTls { server, why };
        self.shared.notices.push(notice);
        self.count_lost(slot, member, ConnectError::Tls);
    }

    fn count_lost(&mut self, slot: u32, member: u16, error: ConnectError) {
        let counters = self.sessions[slot].route.server_counters(member);
        counters.connect_failures(error).add(1);
        self.note_failure(slot, member, error);
    }

    fn drop_server(&mut self, slot: u32, leg: usize) {
        self.close_leg(slot, leg);
        self.server_gone(slot, leg);
        self.converse(slot);
    }

    /// The client's handshake is done: its login goes on.
    pub(in crate::worker) fn client_is_on_tls(&mut self, slot: u32) {
        let conversation = self.sessions[slot].conversation_mut();
        if let Some(login) = &mut conversation.login {
            Login::client_shook_hands(login);
        }
    }
}

impl Session {
    /// Whether bytes of ringway's own wait for a leg's peer.
    #[inline]
    pub(in crate::worker) fn has_own(&self, leg: usize) -> bool {
        let mysql = self.mysql.as_ref();
        mysql.is_some_and(|conversation| conversation.has_own_for(leg))
    }

    /// Encrypts bytes of ringway's own for a leg's peer, as far as there are some, behind what TLS
    /// itself has to say.
    pub(in crate::worker) fn seal_own(
        &mut self,
        leg: usize,
        ciphertext: &mut [u8],
        record_bytes: usize,
    ) -> Result<Sent, Failure> {
        let line = self.mysql.as_mut().map(|mysql| &mut mysql.lines[leg].own);
        let own = line.as_ref().and_then(|line| line.front());
        let plaintext = own.map_or(&[][..], |own| &own.bytes[own.sent..]);
        let Some(tls) = Self::tls_of(&mut self.encryption, leg) else {
            return Err(Failure::Ours("no TLS".into()));
        };
        let sent = tls.send(plaintext, ciphertext, record_bytes)?;
        if let Some(line) = line
            && let Some(own) = line.front_mut()
        {
            own.sent += sent.taken;
            if own.sent == own.bytes.len() {
                line.pop_front();
            }
        }
        Ok(sent)
    }
}
