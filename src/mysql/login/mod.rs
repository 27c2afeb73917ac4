//! The login of one client at its primary and, where that is possible, at a replica too.
//!
//! The client sees one login: the greeting of the primary, and perhaps a request to sign a second
//! time, which every client understands. What the second signature signs is the replica's scramble.
//! So nobody has to tell ringway a password, and both servers have verified the client themselves.
//!
//! The ladder, first match wins:
//! 1. an account of the configuration is verified here, and ringway signs for it at every server;
//! 2. capture: a client on TLS that is asked for its password itself (`caching_sha2_password`, when
//!    a server does not remember it) tells it, and ringway signs with it from there on. So does one
//!    without TLS under ringway's key, if the servers are on TLS;
//! 3. relay: the primary by its greeting, the replica by the one switch;
//! 4. the primary alone. A replica that is down, slow or of another opinion is never a reason to
//!    refuse a client that the primary has accepted.
//!
//! Before the primary's OK nothing but packets of the login reaches a server (B-7), the client's
//! identity is that of its one handshake response (B-6), and no handshake with a server is left
//! unfinished, whoever goes away and when (B-20).

mod change_user;
mod ladder;
mod outcome;

use std::fmt;
use std::sync::Arc;

use zeroize::Zeroizing;

pub use self::outcome::{Action, ClientTls, Established, Failure, Peer, PrimaryOnly, Rules, Rung};
use super::auth::{Plugin, Scramble, Signer};
use super::capabilities::Capabilities;
use super::cursor::{Flaw, Malformed};
use super::handshake::Response;
use super::inbox::{Inbox, Packet};
use super::link::Link;
use super::packet::{ErrPacket, write_packet};
use super::server_login::Signing;
use crate::limits::{LOGIN_PACKET_BYTES_MAX, LOGIN_ROUNDS_MAX};
use crate::telemetry::Who;

/// One client's login. Feed it what the three peers send and when they are lost; do what it says.
///
/// The primary is connected, or being connected, when a login begins. A login is over for the
/// client with [`Action::Complete`] or [`Action::Fail`]; a server that is being left may take a few
/// packets more, so that it is to be fed until [`Self::is_finished`].
pub struct Login {
    rules: Arc<Rules>,
    /// How the client's address reads in an error message.
    client_address: String,
    phase: Phase,
    /// The server whose greeting the client has seen, and which has to accept it.
    lead: Peer,
    primary: Link,
    replica: Link,
    /// Whether there is a replica that could be opened.
    replica_possible: bool,
    inbox: Inbox,
    /// The number of the next packet to the client.
    next_sequence: u8,
    /// Packets that the client may still send.
    rounds: u8,
    /// What is to be sent to the client.
    out: Vec<u8>,
    response: Option<Box<Response>>,
    /// The flags that the client may use: those of its greeting.
    offered: Capabilities,
    /// The plugin, scramble and signature of the client's that the lead has to verify.
    plugin: Option<Plugin>,
    scramble: Option<Scramble>,
    token: Zeroizing<Vec<u8>>,
    /// Whether the client's connection can be, has to be, or is TLS.
    client_tls: ClientTls,
    /// The lead wants the password itself.
    wants_password: bool,
    /// Signs in the client's place.
    signing: Option<Signing>,
    /// The same at the replica.
    replica_signing: Option<Signing>,
    signer: Option<Signer>,
    rung: Rung,
    primary_only: Option<PrimaryOnly>,
    /// Switches that the client has been asked for.
    switches: u8,
    /// Whether the client has been asked for more than signatures.
    asked_for_more: bool,
    /// The lead's OK packet, kept until the client may have it.
    ok: Vec<u8>,
    /// What is different when this is a `COM_CHANGE_USER`.
    change: Option<Box<change_user::Change>>,
}

/// Signatures and what may be a password are not shown.
impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Login")
            .field("phase", &self.phase)
            .field("lead", &self.lead)
            .field("rung", &self.rung)
            .field("primary_only", &self.primary_only)
            .finish_non_exhaustive()
    }
}

/// Whom a login waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// The lead, for its greeting.
    Greeting,
    /// The client, for its response.
    Response,
    /// The client, for its TLS handshake.
    ClientTls,
    /// The client, for a signature that is verified here.
    Proof,
    /// The lead, for its verdict.
    Verdict,
    /// The client, for an answer to the lead.
    Answer,
    /// The client, for its question for a public key.
    KeyQuestion,
    /// The client, for its password under ringway's key.
    EncryptedPassword,
    /// The replica, for its greeting. The lead has accepted, here and in what follows.
    ReplicaGreeting,
    /// The client, for a signature of the replica's scramble.
    SecondSignature,
    /// The client, for the password that the replica wants.
    ReplicaPassword,
    /// The replica, for its verdict.
    ReplicaVerdict,
    /// Nobody: logged in, or failed.
    Over,
}

impl Login {
    /// A login of a client at this address. `replica_possible` if there is a replica that may be
    /// opened.
    pub fn new(rules: Arc<Rules>, client_address: &str, replica_possible: bool) -> Self {
        let mut primary = Link::new(rules.servers_on_tls);
        primary.open();
        let replica = Link::new(rules.servers_on_tls);
        Self {
            rules,
            client_address: client_address.to_owned(),
            phase: Phase::Greeting,
            lead: Peer::Primary,
            primary,
            replica,
            replica_possible,
            inbox: Inbox::new(LOGIN_PACKET_BYTES_MAX),
            next_sequence: 0,
            rounds: LOGIN_ROUNDS_MAX,
            out: Vec::new(),
            response: None,
            offered: Capabilities::NONE,
            plugin: None,
            scramble: None,
            token: Zeroizing::default(),
            client_tls: ClientTls::Off,
            wants_password: false,
            signing: None,
            replica_signing: None,
            signer: None,
            rung: Rung::Relay,
            primary_only: None,
            switches: 0,
            asked_for_more: false,
            ok: Vec::new(),
            change: None,
        }
    }

    /// The same, of a client whose connection has to do with TLS.
    #[must_use]
    pub fn with_client_tls(mut self, client_tls: ClientTls) -> Self {
        self.client_tls = client_tls;
        self
    }

    /// The client's TLS handshake, which [`Action::StartTls`] asked for, is done.
    pub fn client_shook_hands(&mut self) {
        self.client_tls = ClientTls::Running;
        if self.phase == Phase::ClientTls {
            self.phase = Phase::Response;
        }
    }

    /// Bytes from the client. Nothing is taken while nothing is expected of it: what it sends ahead
    /// of time are commands, for later.
    pub fn from_client(&mut self, input: &mut &[u8], actions: &mut Vec<Action>) {
        while self.expects_client() {
            match self.inbox.take(input) {
                Ok(None) => break,
                Ok(Some(packet)) => self.client_packet(packet, actions),
                Err(too_long) => {
                    self.phase = Phase::Verdict;
                    self.next_sequence = too_long.sequence.wrapping_add(1);
                    self.fail(Failure::PacketTooLong, actions);
                }
            }
        }
        self.flush(actions);
    }

    /// Bytes from the primary.
    pub fn from_primary(&mut self, input: &mut &[u8], actions: &mut Vec<Action>) {
        while !self.keeps(Peer::Primary)
            && let Some(said) = self.primary.feed(input)
        {
            match self.lead {
                Peer::Primary => self.lead_says(said, actions),
                _ => self.primary.leave(),
            }
            self.flush(actions);
        }
        self.flush(actions);
    }

    /// Bytes from the replica.
    pub fn from_replica(&mut self, input: &mut &[u8], actions: &mut Vec<Action>) {
        while !self.keeps(Peer::Replica)
            && let Some(said) = self.replica.feed(input)
        {
            match self.lead {
                Peer::Replica => self.lead_says(said, actions),
                _ => self.replica_says(said, actions),
            }
            self.flush(actions);
        }
        self.flush(actions);
    }

    /// A connection could not be made, or is gone.
    pub fn lost(&mut self, peer: Peer, actions: &mut Vec<Action>) {
        match peer {
            Peer::Client => self.fail(Failure::ClientLeft, actions),
            Peer::Primary => {
                self.primary.lose();
                self.primary_lost(actions);
            }
            Peer::Replica => {
                let was_wanted = !self.replica.is_unwanted();
                self.replica.lose();
                match self.lead {
                    Peer::Replica => self.lead_lost(actions),
                    _ if was_wanted => self.give_replica_up(PrimaryOnly::ReplicaLost, actions),
                    _ => {}
                }
            }
        }
        self.flush(actions);
    }

    /// The replica has taken longer than a client should have to wait for it.
    pub fn replica_timed_out(&mut self, actions: &mut Vec<Action>) {
        if self.lead == Peer::Primary {
            self.give_replica_up(PrimaryOnly::ReplicaTimeout, actions);
        }
        self.flush(actions);
    }

    /// The login has taken too long. It fails, unless it waits for nothing but the replica; who is
    /// to blame then.
    pub fn timed_out(&mut self, actions: &mut Vec<Action>) -> Option<Who> {
        let blamed = if self.waits_for_replica() {
            self.give_replica_up(PrimaryOnly::ReplicaTimeout, actions);
            None
        } else if self.expects_client() || self.phase == Phase::ClientTls {
            self.fail(Failure::ClientLeft, actions);
            Some(Who::Client)
        } else {
            self.lead_lost(actions);
            Some(Who::Server)
        };
        self.flush(actions);
        blamed
    }

    /// Whether the login waits for nothing but the replica, so that its time runs.
    pub fn waits_for_replica(&self) -> bool {
        self.lead == Peer::Primary
            && matches!(self.phase, Phase::ReplicaGreeting | Phase::ReplicaVerdict)
    }

    /// Whether a packet is expected from the client.
    pub fn expects_client(&self) -> bool {
        matches!(
            self.phase,
            Phase::Response
                | Phase::Proof
                | Phase::Answer
                | Phase::KeyQuestion
                | Phase::EncryptedPassword
                | Phase::SecondSignature
                | Phase::ReplicaPassword
        )
    }

    /// Whether the login is over, for the servers too.
    pub fn is_finished(&self) -> bool {
        let settled = |link: &Link| link.is_closed() || link.is_accepted();
        self.phase == Phase::Over && settled(&self.primary) && settled(&self.replica)
    }

    /// Whether what is sent to a server is a goodbye in plain text, because it does not offer the TLS
    /// that it is to be spoken to by.
    pub fn lacks_tls(&self, peer: Peer) -> bool {
        self.link(peer).lacks_tls()
    }

    /// Whether what this server sends is the login's business.
    pub fn wants(&self, peer: Peer) -> bool {
        !self.is_finished() && !self.keeps(peer)
    }

    /// Whether what this server sends is no longer the login's business.
    fn keeps(&self, peer: Peer) -> bool {
        self.phase == Phase::Over && self.link(peer).is_accepted()
    }

    fn link(&self, peer: Peer) -> &Link {
        match peer {
            Peer::Replica => &self.replica,
            Peer::Primary | Peer::Client => &self.primary,
        }
    }

    fn lead_link(&mut self) -> &mut Link {
        match self.lead {
            Peer::Replica => &mut self.replica,
            Peer::Primary | Peer::Client => &mut self.primary,
        }
    }

    fn client_packet(&mut self, packet: Packet, actions: &mut Vec<Action>) {
        let Packet { sequence, payload } = packet;
        let expected = std::mem::replace(&mut self.phase, Phase::Verdict);
        let in_order = sequence == self.next_sequence;
        self.next_sequence = sequence.wrapping_add(1);
        self.rounds = self.rounds.saturating_sub(1);
        if !in_order {
            return self.fail(Failure::OutOfOrder, actions);
        }
        if self.rounds == 0 {
            let error = Malformed::new("authentication", Flaw::TooLarge);
            return self.fail(Failure::ClientProtocol(error), actions);
        }
        match expected {
            Phase::Response => self.responded(&payload, actions),
            Phase::Proof => self.proved(&payload, actions),
            Phase::Answer => self.answered(payload, actions),
            Phase::KeyQuestion => self.asked_for_key(&payload, actions),
            Phase::EncryptedPassword => self.told_in_secret(&payload, actions),
            Phase::SecondSignature => self.signed_again(payload, actions),
            Phase::ReplicaPassword => self.captured_for_replica(&payload, actions),
            _ => {}
        }
    }

    /// Sends the client a packet of a server's, under the client's own numbers.
    fn pass_on(&mut self, payload: &[u8]) {
        write_packet(&mut self.out, self.next_sequence, payload);
        self.next_sequence = self.next_sequence.wrapping_add(1);
    }

    /// The number of an ERR packet to the client (B-12): it answers the client's packet, be that
    /// here or still on its way.
    fn error_sequence(&self) -> u8 {
        self.next_sequence
            .wrapping_add(u8::from(self.expects_client()))
    }

    /// The server's error is the client's answer.
    fn refused(&mut self, payload: &[u8], actions: &mut Vec<Action>) {
        let code = ErrPacket::parse(payload).map_or(0, |error| error.code);
        self.next_sequence = self.error_sequence();
        self.pass_on(payload);
        let configured = self.rung == Rung::Configured;
        self.fail(Failure::ServerRefused { code, configured }, actions);
    }

    /// Tells the client, and leaves the servers.
    fn fail(&mut self, failure: Failure, actions: &mut Vec<Action>) {
        if self.phase == Phase::Over {
            return;
        }
        let sequence = self.error_sequence();
        self.phase = Phase::Over;
        self.primary.leave();
        self.replica.leave();
        match failure {
            Failure::ClientLeft => self.out.clear(),
            _ => failure.write(&mut self.out, sequence, &self.client_address),
        }
        self.flush(actions);
        actions.push(Action::Fail(failure));
    }

    /// Turns what is to be sent into actions.
    fn flush(&mut self, actions: &mut Vec<Action>) {
        for (peer, link) in [
            (Peer::Primary, &mut self.primary),
            (Peer::Replica, &mut self.replica),
        ] {
            let out = link.take_out();
            if !out.is_empty() {
                actions.push(Action::Send(peer, out));
            }
            if link.take_left() {
                actions.push(Action::Close(peer));
            }
        }
        let out = std::mem::take(&mut self.out);
        if !out.is_empty() {
            actions.push(Action::Send(Peer::Client, out));
        }
    }
}
