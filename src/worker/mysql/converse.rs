//! The loop of a conversation: what was said is taken by whoever is to hear it, until nobody can go
//! on.

use zeroize::Zeroizing;

use super::{Ear, Leaving, Own, leg_of, server_of};
use crate::mysql::login::Peer;
use crate::mysql::server_login::{ServerLoginError, ServerProgress};
use crate::mysql::splitter::{Order, Splitter, Taken};
use crate::telemetry::{Reason, Who};
use crate::worker::event_loop::Worker;
use crate::worker::kernel::{Chunk, Kernel};
use crate::worker::session::{CLIENT, Mode, REPLICA, Receive, SERVER, Sink, Source, Stage};
use crate::worker::wipe::Wiping;

/// Servers first: a reply may be what the next command waits for.
const ORDER: [usize; 3] = [SERVER, REPLICA, CLIENT];

impl<K: Kernel> Worker<K> {
    /// Bytes have come from a peer.
    pub(in crate::worker) fn hear(&mut self, slot: u32, leg: usize, chunk: Chunk) {
        let kernel = &mut self.kernel;
        let conversation = self.sessions[slot].conversation_mut();
        if leg == CLIENT && conversation.has_secrets() {
            kernel.keep_secret(chunk.buffer);
        }
        let line = &mut conversation.lines[leg];
        let merged = line.inbound.push(chunk, |to, from| kernel.append(to, from));
        if let Some(buffer) = merged {
            if leg == CLIENT {
                // It is a copy of what nobody has read, and may turn out to be a secret.
                kernel.keep_secret(buffer);
            }
            kernel.release(buffer);
        }
    }

    /// A peer will say nothing more. What it has said before is heard first.
    pub(in crate::worker) fn said_its_last(
        &mut self,
        slot: u32,
        leg: usize,
        source: Source,
        reason: Reason,
    ) {
        let now_ms = self.now_ms();
        let session = &mut self.sessions[slot];
        session.leg_mut(leg).intake.source = source;
        if session.conversation().is_leaving(leg) {
            return;
        }
        if leg == CLIENT {
            if source == Source::Lost {
                return self.client_lost(slot, reason);
            }
            session.first_to_finish.get_or_insert(Who::Client);
            session.progress_ms = now_ms;
            self.reschedule(slot);
        }
        self.recall_send(slot, leg);
    }

    /// The client's connection is lost. A server that is in the middle of its login is left
    /// properly before the session ends: it would count an unfinished handshake against ringway.
    pub(in crate::worker) fn client_lost(&mut self, slot: u32, reason: Reason) {
        let session = &mut self.sessions[slot];
        let login = session.conversation().login.as_ref();
        let is_over = login.is_none_or(|login| login.is_finished());
        if is_over || session.stage != Stage::Relaying {
            return self.end(slot, Who::Client, reason);
        }
        let client = session.leg_mut(CLIENT);
        client.intake.source = Source::Lost;
        client.outlet.sink = Sink::Broken;
        session.conversation_mut().lines[CLIENT].own.clear();
        self.drop_unread(slot, CLIENT);
        self.discard(slot, CLIENT);
        self.converse(slot);
    }

    /// A peer takes no more. If it is a server, what it still says may tell why.
    pub(in crate::worker) fn hears_no_more(&mut self, slot: u32, leg: usize, reason: Reason) {
        if leg == CLIENT {
            return self.client_lost(slot, reason);
        }
        let session = &mut self.sessions[slot];
        session.leg_mut(leg).outlet.sink = Sink::Broken;
        session.conversation_mut().lines[leg].own.clear();
        self.discard(slot, leg);
        self.arm_receive(slot, leg, true);
        self.converse(slot);
    }

    /// Takes what was said, as far as anybody can, and sees to what follows from it.
    pub(in crate::worker) fn converse(&mut self, slot: u32) {
        let session = &mut self.sessions[slot];
        let busy = std::mem::replace(&mut session.conversation_mut().is_conversing, true);
        if busy {
            return;
        }
        let mut wiping = None;
        loop {
            if self.sessions[slot].has_secrets() {
                wiping.get_or_insert_with(Wiping::begin);
            }
            if !self.take_turn(slot) {
                break;
            }
        }
        if let Some(conversation) = &mut self.sessions[slot].mysql {
            conversation.is_conversing = false;
            self.count_events(slot);
        }
        self.conclude(slot);
    }

    /// One thing that can be done now. `false`: there is none.
    fn take_turn(&mut self, slot: u32) -> bool {
        let session = &self.sessions[slot];
        let closing = session.stage == Stage::Closing;
        if closing || session.mysql.is_none() || session.conversation().has_own() {
            return false;
        }
        if session.conversation().relays {
            return false;
        }
        for leg in ORDER {
            let line = &self.sessions[slot].conversation().lines[leg];
            if let Some(chunk) = line.inbound.first()
                && self.digest(slot, leg, chunk)
            {
                return true;
            }
        }
        ORDER.into_iter().any(|leg| self.notice_end(slot, leg))
    }

    /// Lets whoever it is for take something from the front of a chunk.
    fn digest(&mut self, slot: u32, leg: usize, chunk: Chunk) -> bool {
        match self.sessions[slot].conversation().ear(leg) {
            Ear::Splitter => self.split(slot, leg, chunk),
            Ear::Login => self.log_in(slot, leg, chunk),
            Ear::ReplicaLogin => self.log_in_at_replica(slot, chunk),
            // A connection that nobody has asked anything, or of a client that was turned away.
            Ear::Nobody => {
                self.drop_heard(slot, leg, chunk.len());
                true
            }
        }
    }

    fn split(&mut self, slot: u32, leg: usize, chunk: Chunk) -> bool {
        let now_us = self.kernel.now_us();
        if leg == CLIENT {
            self.sessions[slot].tell_of_servers();
        }
        let mut orders = std::mem::take(&mut self.orders);
        let input = self.kernel.bytes(chunk);
        let conversation = self.sessions[slot].conversation_mut();
        let splitter = conversation.splitter.as_mut().expect("it is the ear");
        let taken = match leg {
            CLIENT => splitter.client(input, now_us, &mut orders),
            _ => splitter.server(server_of(leg), input, now_us, &mut orders),
        };
        let is_secret = leg == CLIENT && is_of_login(splitter, &orders);
        if is_secret {
            self.kernel.keep_secret(chunk.buffer);
        }
        let _wiping = is_secret.then(Wiping::begin);
        self.move_taken(slot, leg, chunk, taken);
        self.consider_splicing(slot, leg);
        let goes_on = taken != Taken::NOTHING || !orders.is_empty();
        self.apply(slot, &mut orders);
        self.orders = orders;
        goes_on
    }

    /// Moves what was taken to where it belongs.
    fn move_taken(&mut self, slot: u32, leg: usize, chunk: Chunk, taken: Taken) {
        let to = taken.to.map(leg_of).filter(|_| taken.passed > 0);
        let Some(to) = to else {
            return self.drop_heard(slot, leg, taken.bytes());
        };
        if taken.bytes() == chunk.len() {
            let line = &mut self.sessions[slot].conversation_mut().lines[leg];
            line.inbound.take_first();
            let passed = Chunk {
                end: chunk.start + taken.passed as u16,
                ..chunk
            };
            return self.pass_on(slot, to, passed);
        }
        let bytes = self.kernel.bytes(chunk)[..taken.passed].to_vec();
        self.drop_heard(slot, leg, taken.bytes());
        self.send_own(slot, to, bytes);
    }

    fn drop_heard(&mut self, slot: u32, leg: usize, bytes: usize) {
        if bytes == 0 {
            return;
        }
        let line = &mut self.sessions[slot].conversation_mut().lines[leg];
        if let Some(buffer) = line.inbound.consume(bytes) {
            self.kernel.release(buffer);
        }
    }

    /// Drops what a peer has said and nobody will read. Of a client that may be a secret.
    pub(super) fn drop_unread(&mut self, slot: u32, leg: usize) {
        let kernel = &mut self.kernel;
        let line = &mut self.sessions[slot].conversation_mut().lines[leg];
        line.inbound.truncate(0, |buffer| {
            if leg == CLIENT {
                kernel.keep_secret(buffer);
            }
            kernel.release(buffer);
        });
    }

    fn pass_on(&mut self, slot: u32, to: usize, chunk: Chunk) {
        let kernel = &mut self.kernel;
        let outlet = &mut self.sessions[slot].leg_mut(to).outlet;
        if outlet.sink == Sink::Broken {
            return kernel.release(chunk.buffer);
        }
        let merged = outlet
            .chunks
            .push(chunk, |to, from| kernel.append(to, from));
        if let Some(buffer) = merged {
            kernel.release(buffer);
        }
        self.send_more(slot, to);
    }

    /// Sends bytes of ringway's own, behind what waits already.
    pub(super) fn send_own(&mut self, slot: u32, leg: usize, bytes: Vec<u8>) {
        let own = Own {
            bytes,
            sent: 0,
            is_secret: false,
        };
        self.queue_own(slot, leg, own);
    }

    /// Sends bytes of a login, which are wiped when they have been sent, or cannot be.
    pub(super) fn send_secret(&mut self, slot: u32, leg: usize, mut bytes: Zeroizing<Vec<u8>>) {
        let own = Own {
            bytes: std::mem::take(&mut bytes),
            sent: 0,
            is_secret: true,
        };
        self.queue_own(slot, leg, own);
    }

    fn queue_own(&mut self, slot: u32, leg: usize, mut own: Own) {
        let session = &mut self.sessions[slot];
        let peer = session.leg(leg);
        if own.bytes.is_empty() || peer.outlet.sink == Sink::Broken || !peer.socket.is_some() {
            return;
        }
        let needs_tls = leg != CLIENT && session.route.server_tls.is_some();
        if needs_tls && !session.is_encrypted(leg) && !session.conversation().lacks_tls(leg) {
            let response = std::mem::take(&mut own.bytes);
            return self.ask_for_tls(slot, leg, Zeroizing::new(response));
        }
        let line = &mut self.sessions[slot].conversation_mut().lines[leg];
        line.own.push_back(own);
        self.send_more(slot, leg);
    }

    /// A connection may take more: sends it, and goes on when all is sent.
    pub(in crate::worker) fn flush(&mut self, slot: u32, leg: usize) {
        if self.sessions[slot].stage == Stage::Closing {
            return;
        }
        self.send_more(slot, leg);
        self.splice_on(slot);
        if self.sessions[slot].mysql.is_some() && self.is_sent(slot, leg) {
            self.converse(slot);
        }
    }

    /// Whether nothing waits to be sent on a connection.
    pub(super) fn is_sent(&self, slot: u32, leg: usize) -> bool {
        let session = &self.sessions[slot];
        let Some(conversation) = &session.mysql else {
            return false;
        };
        let is_held = conversation.lines[leg].held.is_some();
        let in_pipe = leg == CLIENT
            && [SERVER, REPLICA]
                .into_iter()
                .any(|leg| session.leg(leg).intake.pipe_bytes > 0);
        !in_pipe && !is_held && !self.has_to_send(slot, leg)
    }

    /// Sends what waits for a connection: chunks first, then bytes of ringway's own.
    fn send_more(&mut self, slot: u32, leg: usize) {
        let session = &self.sessions[slot];
        let outlet = &session.leg(leg).outlet;
        let stopped = outlet.sink == Sink::Broken || outlet.sending || outlet.waiting;
        if stopped || session.stage == Stage::Closing {
            return;
        }
        match outlet.chunks.first() {
            _ if session.is_encrypted(leg) => self.flush_channel(slot, leg),
            Some(chunk) => self.send_chunk(slot, leg, chunk),
            None => self.send_own_now(slot, leg),
        }
    }

    fn send_own_now(&mut self, slot: u32, leg: usize) {
        loop {
            let session = &mut self.sessions[slot];
            let socket = session.leg(leg).socket;
            let line = &mut session.conversation_mut().lines[leg];
            let Some(own) = line.own.front_mut() else {
                return;
            };
            match self.kernel.send_bytes(socket, &own.bytes[own.sent..]) {
                Ok(sent) => {
                    own.sent += sent;
                    if own.sent == own.bytes.len() {
                        line.own.pop_front();
                    }
                    self.count_sent(slot, leg, sent as u64);
                }
                Err(error) => {
                    let errno = error.raw_os_error().unwrap_or(libc::EIO);
                    return self.refused_now(slot, leg, errno);
                }
            }
        }
    }

    fn log_in(&mut self, slot: u32, leg: usize, chunk: Chunk) -> bool {
        let mut actions = Vec::new();
        let mut input: &[u8] = self.kernel.bytes(chunk);
        let conversation = self.sessions[slot].conversation_mut();
        let login = conversation.login.as_mut().expect("it is the ear");
        match leg {
            CLIENT => login.from_client(&mut input, &mut actions),
            SERVER => login.from_primary(&mut input, &mut actions),
            _ => login.from_replica(&mut input, &mut actions),
        }
        let taken = chunk.len() - input.len();
        self.drop_heard(slot, leg, taken);
        let goes_on = taken > 0 || !actions.is_empty();
        self.act(slot, actions);
        goes_on
    }

    fn log_in_at_replica(&mut self, slot: u32, chunk: Chunk) -> bool {
        let mut out = Zeroizing::new(Vec::new());
        let mut input: &[u8] = self.kernel.bytes(chunk);
        let conversation = self.sessions[slot].conversation_mut();
        let login = conversation.replica_login.as_mut().expect("it is the ear");
        let progress = login.feed(&mut input, &mut out);
        let turned_away = match &progress {
            ServerProgress::Failed(error) => login.is_turned_away(error),
            ServerProgress::Waiting | ServerProgress::LoggedIn(_) => false,
        };
        let is_over = login.is_over();
        let taken = chunk.len() - input.len();
        self.drop_heard(slot, REPLICA, taken);
        if let ServerProgress::Failed(ServerLoginError::NoTls(why)) = progress {
            self.note_no_tls(slot, REPLICA, why);
        }
        if turned_away {
            self.note_turned_away(slot, REPLICA);
        }
        self.send_secret(slot, REPLICA, out);
        match progress {
            ServerProgress::Waiting | ServerProgress::Failed(_) if is_over => {
                self.leave_replica_login(slot);
            }
            ServerProgress::Waiting => return taken > 0,
            ServerProgress::LoggedIn(logged_in) => self.attach_replica(slot, &logged_in),
            // The server has something to be told still; it closes then, or its time is up.
            ServerProgress::Failed(_) => {}
        }
        true
    }

    /// A peer has finished, and everything it said before was heard: whoever counts on it is told.
    fn notice_end(&mut self, slot: u32, leg: usize) -> bool {
        let session = &self.sessions[slot];
        let peer = session.leg(leg);
        let line = &session.conversation().lines[leg];
        let silent = peer.intake.source != Source::Open && peer.socket.is_some();
        if !silent || line.inbound.first().is_some() || line.leaving == Leaving::Now {
            return false;
        }
        match leg {
            CLIENT => self.client_finished(slot),
            _ => {
                self.close_leg(slot, leg);
                self.server_gone(slot, leg);
                true
            }
        }
    }

    fn client_finished(&mut self, slot: u32) -> bool {
        let conversation = self.sessions[slot].conversation_mut();
        if conversation.ending.is_some() {
            return false;
        }
        match conversation.ear(CLIENT) {
            Ear::Login => {
                let mut actions = Vec::new();
                let login = conversation.login.as_mut().expect("it is the ear");
                login.lost(Peer::Client, &mut actions);
                let heard = !actions.is_empty();
                self.act(slot, actions);
                heard
            }
            _ => {
                let mut orders = std::mem::take(&mut self.orders);
                if let Some(splitter) = &mut conversation.splitter {
                    splitter.client_finished(&mut orders);
                }
                let heard = !orders.is_empty();
                self.apply(slot, &mut orders);
                self.orders = orders;
                heard
            }
        }
    }

    /// A server's connection is gone.
    pub(super) fn server_gone(&mut self, slot: u32, leg: usize) {
        let now_us = self.kernel.now_us();
        let server = server_of(leg);
        if leg == SERVER {
            let conversation = self.sessions[slot].conversation_mut();
            conversation.primary_lost_ms = now_us / 1000;
        }
        let peer = match leg {
            REPLICA => Peer::Replica,
            _ => Peer::Primary,
        };
        let conversation = self.sessions[slot].conversation_mut();
        if leg == REPLICA && conversation.replica_login.take().is_some() {
            return self.replica_failed(slot);
        }
        let mut actions = Vec::new();
        if let Some(login) = &mut conversation.login {
            login.lost(peer, &mut actions);
        }
        let mut orders = std::mem::take(&mut self.orders);
        // The connection before the one that is wanted has been nobody's for some time.
        let is_old = leg == REPLICA && conversation.replica_try.signs;
        if let Some(splitter) = &mut conversation.splitter
            && !is_old
        {
            splitter.lost(server, now_us, &mut orders);
        }
        self.act(slot, actions);
        self.apply(slot, &mut orders);
        self.orders = orders;
    }

    /// Nothing more can be taken now: reads on where there is room, and ends what is over.
    fn conclude(&mut self, slot: u32) {
        let session = &self.sessions[slot];
        if session.stage == Stage::Closing || session.mysql.is_none() {
            return;
        }
        for leg in ORDER {
            let line = &self.sessions[slot].conversation().lines[leg];
            if line.leaving == Leaving::WhenSent && self.is_sent(slot, leg) {
                self.close_leg(slot, leg);
            }
        }
        self.watch_login(slot);
        let all_sent = ORDER.into_iter().all(|leg| self.is_sent(slot, leg));
        let conversation = self.sessions[slot].conversation();
        let servers_know = conversation
            .login
            .as_ref()
            .is_none_or(|login| login.is_finished());
        if let Some((who, reason)) = conversation.ending {
            if all_sent && servers_know {
                return self.end(slot, who, reason);
            }
            return self.reschedule(slot);
        }
        if conversation.relays {
            return self.become_relay(slot);
        }
        let is_timed = conversation.login.is_some() || conversation.replica_try.deadline_ms != 0;
        self.switch_to_splicing(slot);
        self.read_on(slot);
        if is_timed {
            self.reschedule(slot);
        }
    }

    /// Receives from whoever may say something that can be dealt with.
    fn read_on(&mut self, slot: u32) {
        let client_has_all = self.is_sent(slot, CLIENT);
        let servers_have_all = self.is_sent(slot, SERVER) && self.is_sent(slot, REPLICA);
        for leg in ORDER {
            let session = &self.sessions[slot];
            let peer = session.leg(leg);
            let room = if leg == CLIENT {
                servers_have_all
            } else {
                client_has_all
            };
            let line = &session.conversation().lines[leg];
            let idle = peer.intake.receive == Receive::Idle && peer.socket.is_some();
            let connected = leg != REPLICA || session.conversation().replica_try.is_connected;
            let primary = leg != SERVER || session.stage == Stage::Relaying;
            let idle = idle && peer.intake.mode == Mode::Copy;
            if room && idle && connected && primary && line.inbound.is_empty() {
                self.arm_receive(slot, leg, false);
            }
        }
    }
}

/// Whether what the client has said last is of another login, which may have a password in it.
fn is_of_login(splitter: &Splitter, orders: &[Order]) -> bool {
    let mut orders = orders.iter();
    splitter.gathers_login() || orders.any(|order| matches!(order, Order::ChangeUser(_)))
}
