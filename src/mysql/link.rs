//! One server connection during a login: what the server says, and how to leave it. A server counts
//! every handshake that is not finished against the address it came from, and blocks that address
//! in the end; so each that is begun here is finished, if only with a user that cannot exist.

use std::fmt;

use zeroize::Zeroizing;

use super::auth::Plugin;
use super::capabilities::Capabilities;
use super::command::Command;
use super::cursor::{Flaw, Malformed};
use super::handshake::{AuthSwitch, Greeting, NoTls, Response};
use super::inbox::{Inbox, Packet};
use super::packet::{EOF, ERR, ErrPacket, OK, write_command, write_packet};
use crate::limits::{GREETING_BYTES_MAX, LOGIN_PACKET_BYTES_MAX, LOGIN_ROUNDS_MAX};

/// The user that finishes a handshake which nobody wants any more. Together with a signature that
/// is no one's, it is refused even where anonymous accounts exist.
const NOBODY: &[u8] = b"ringway-nobody";

/// One server, from its greeting to its verdict.
pub(super) struct Link {
    inbox: Inbox,
    stage: Stage,
    greeting: Option<Box<Greeting>>,
    /// The number of the next packet to the server.
    next_sequence: u8,
    /// Packets that the server may still send.
    rounds: u8,
    /// What is to be sent to the server.
    out: Vec<u8>,
    /// Whether it is spoken to over TLS, from the response to its greeting on.
    needs_tls: bool,
}

/// Signatures are not shown.
impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Link")
            .field("stage", &self.stage)
            .finish_non_exhaustive()
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// Not connected.
    Closed,
    /// The greeting is to come.
    Greeting,
    /// The greeting has come, and the server waits for a response.
    Greeted,
    /// The server has a packet to verify.
    Verifying,
    /// The server waits for another packet.
    Asking,
    /// Logged in.
    Accepted,
    /// Being left; `true` while the server has a packet to verify.
    Leaving(bool),
    /// Left, and to be closed.
    Left,
}

/// What a server says.
pub(super) enum Said {
    /// Its greeting; see [`Link::greeting`].
    Greeting,
    /// Its greeting, or what came behind it, and there will be no TLS. Nothing is to be told to it but
    /// a goodbye.
    NoTls(NoTls),
    /// ERR. Nothing more will come.
    Refused(Vec<u8>),
    /// OK.
    Accepted(Vec<u8>),
    /// `AuthSwitchRequest`.
    Switch(Vec<u8>),
    /// `AuthMoreData`, or a packet of a plugin that is not known here.
    More(Zeroizing<Vec<u8>>),
    /// Something that no server says here. The connection is of no more use.
    Nonsense(Malformed),
}

impl Link {
    /// A server that is spoken to over TLS, if it `needs_tls`: what is sent to it goes there over TLS
    /// then, unless it [lacks](Self::lacks_tls) it.
    pub(super) fn new(needs_tls: bool) -> Self {
        Self {
            needs_tls,
            inbox: Inbox::new(GREETING_BYTES_MAX),
            stage: Stage::Closed,
            greeting: None,
            next_sequence: 1,
            rounds: LOGIN_ROUNDS_MAX,
            out: Vec::new(),
        }
    }

    /// A connection that is logged in, and is to authenticate anew.
    pub(super) fn established(greeting: Greeting) -> Self {
        let mut link = Self::new(false);
        link.stage = Stage::Accepted;
        link.greeting = Some(Box::new(greeting));
        link.inbox.set_limit(LOGIN_PACKET_BYTES_MAX);
        link
    }

    /// The connection is being opened.
    pub(super) fn open(&mut self) {
        self.stage = Stage::Greeting;
    }

    pub(super) fn greeting(&self) -> Option<&Greeting> {
        self.greeting.as_deref()
    }

    /// Whether an error says that the server takes nobody, whoever it is. In place of a greeting any
    /// does: it has too many connections (1040), has blocked this host (1129), or shuts down. It lets
    /// one connection more come to its login, which may be an administrator's, and says 1040 then.
    pub(super) fn is_turned_away(&self, code: u16) -> bool {
        self.greeting.is_none() || code == TOO_MANY_CONNECTIONS
    }

    pub(super) fn is_closed(&self) -> bool {
        self.stage == Stage::Closed
    }

    pub(super) fn is_greeted(&self) -> bool {
        self.stage == Stage::Greeted
    }

    pub(super) fn is_accepted(&self) -> bool {
        self.stage == Stage::Accepted
    }

    /// Whether the server needs TLS and its greeting does not offer it. It hears a goodbye, in plain
    /// text, and nothing else.
    pub(super) fn lacks_tls(&self) -> bool {
        let offers = |greeting: &Greeting| greeting.capabilities.contains(Capabilities::SSL);
        self.needs_tls && self.greeting().is_some_and(|greeting| !offers(greeting))
    }

    /// Whether nobody wants this connection any more.
    pub(super) fn is_unwanted(&self) -> bool {
        matches!(self.stage, Stage::Closed | Stage::Leaving(_) | Stage::Left)
    }

    /// Whether the connection has to be closed, told once.
    pub(super) fn take_left(&mut self) -> bool {
        let left = self.stage == Stage::Left;
        if left {
            self.stage = Stage::Closed;
        }
        left
    }

    /// What is to be sent.
    pub(super) fn take_out(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.out)
    }

    /// The connection is gone.
    pub(super) fn lose(&mut self) {
        self.stage = Stage::Closed;
        self.out.clear();
    }

    /// Takes what came from the server up to the next thing it says to somebody.
    pub(super) fn feed(&mut self, input: &mut &[u8]) -> Option<Said> {
        loop {
            if matches!(self.stage, Stage::Closed | Stage::Left) {
                *input = &[];
                return None;
            }
            if self.stage == Stage::Greeted && self.needs_tls && !input.is_empty() {
                return Some(self.spoke_early(input));
            }
            let Packet { sequence, payload } = match self.inbox.take(input) {
                Ok(None) => return None,
                Ok(Some(packet)) => packet,
                Err(_) => return self.nonsense("packet length", Flaw::TooLarge),
            };
            self.next_sequence = sequence.wrapping_add(1);
            self.rounds = self.rounds.saturating_sub(1);
            if self.rounds == 0 {
                return self.nonsense("authentication", Flaw::TooLarge);
            }
            if let Stage::Leaving(_) = self.stage {
                self.go_on_leaving(&payload);
                continue;
            }
            return Some(match self.hear(payload) {
                Said::Greeting if self.lacks_tls() => Said::NoTls(NoTls::NotOffered),
                Said::Greeting if self.needs_tls && !input.is_empty() => self.spoke_early(input),
                said => said,
            });
        }
    }

    fn spoke_early(&mut self, input: &mut &[u8]) -> Said {
        let bytes = std::mem::take(input).len();
        self.stage = Stage::Left;
        Said::NoTls(NoTls::SpokeEarly(bytes))
    }

    fn hear(&mut self, payload: Zeroizing<Vec<u8>>) -> Said {
        let first = payload.first().copied();
        match (self.stage, first) {
            (_, Some(ERR)) => {
                self.stage = Stage::Left;
                match ErrPacket::parse(&payload) {
                    Ok(_) => Said::Refused(payload.to_vec()),
                    Err(error) => Said::Nonsense(error),
                }
            }
            (Stage::Greeting, _) => match Greeting::parse(&payload) {
                Ok(greeting) => {
                    self.greeting = Some(Box::new(greeting));
                    self.stage = Stage::Greeted;
                    self.inbox.set_limit(LOGIN_PACKET_BYTES_MAX);
                    Said::Greeting
                }
                Err(error) => self.complain(error),
            },
            (Stage::Verifying, Some(OK)) => {
                self.stage = Stage::Accepted;
                Said::Accepted(payload.to_vec())
            }
            (Stage::Verifying | Stage::Asking, Some(EOF)) => {
                self.stage = Stage::Asking;
                Said::Switch(payload.to_vec())
            }
            (Stage::Verifying | Stage::Asking, Some(_)) => {
                self.stage = Stage::Asking;
                Said::More(payload)
            }
            _ => self.complain(Malformed::new("server packet", Flaw::Unexpected)),
        }
    }

    /// The server has nothing to ask after all: what it said last needs no answer.
    pub(super) fn wait_on(&mut self) {
        if self.stage == Stage::Asking {
            self.stage = Stage::Verifying;
        }
    }

    /// Answers the greeting.
    pub(super) fn respond(
        &mut self,
        response: &Response,
        offered: Capabilities,
        plugin: Option<&[u8]>,
        token: &[u8],
    ) {
        if self.lacks_tls() {
            // No signature goes there in plain text, whoever asks for it (B-14).
            return self.leave();
        }
        response.write(&mut self.out, self.next_sequence, offered, plugin, token);
        self.stage = Stage::Verifying;
    }

    /// Sends the command that authenticates anew.
    pub(super) fn command(&mut self, payload: &[u8]) {
        write_packet(&mut self.out, 0, payload);
        self.stage = Stage::Verifying;
    }

    /// Answers what the server asks.
    pub(super) fn answer(&mut self, payload: &[u8]) {
        write_packet(&mut self.out, self.next_sequence, payload);
        self.stage = Stage::Verifying;
    }

    /// Nobody wants this connection any more: leaves it as a server likes it.
    pub(super) fn leave(&mut self) {
        match self.stage {
            Stage::Closed | Stage::Leaving(_) | Stage::Left => {}
            Stage::Greeting => self.stage = Stage::Leaving(false),
            Stage::Greeted => self.respond_as_nobody(),
            Stage::Verifying => self.stage = Stage::Leaving(true),
            Stage::Asking => {
                write_packet(&mut self.out, self.next_sequence, &[]);
                self.stage = Stage::Leaving(true);
            }
            Stage::Accepted => self.quit(),
        }
    }

    fn go_on_leaving(&mut self, payload: &[u8]) {
        match (self.stage, payload.first().copied()) {
            (_, Some(ERR)) => self.stage = Stage::Left,
            (Stage::Leaving(false), _) => match Greeting::parse(payload) {
                Ok(greeting) => {
                    self.greeting = Some(Box::new(greeting));
                    self.inbox.set_limit(LOGIN_PACKET_BYTES_MAX);
                    self.respond_as_nobody();
                }
                Err(_) => self.stage = Stage::Left,
            },
            (_, Some(OK)) => self.quit(),
            _ if payload == [super::packet::AUTH_MORE_DATA, FAST_AUTH_OK] => {}
            // An empty packet is well-formed for every plugin, and right for none that is left.
            _ => write_packet(&mut self.out, self.next_sequence, &[]),
        }
    }

    fn quit(&mut self) {
        write_command(&mut self.out, Command::Quit, &[]);
        self.stage = Stage::Left;
    }

    fn respond_as_nobody(&mut self) {
        let Some(greeting) = &self.greeting else {
            self.stage = Stage::Left;
            return;
        };
        let sha2 = greeting.plugin == Plugin::Sha2.name();
        let (plugin, token) = match sha2 {
            true => (Plugin::Sha2, &[b'-'; 32][..]),
            false => (Plugin::Native, &[b'-'; 20][..]),
        };
        let wanted =
            Capabilities::PROTOCOL_41 | Capabilities::SECURE_CONNECTION | Capabilities::PLUGIN_AUTH;
        let response = Response {
            capabilities: wanted | greeting.capabilities.and(Capabilities::MYSQL),
            packet_bytes_max: LOGIN_PACKET_BYTES_MAX,
            charset: greeting.charset,
            user: NOBODY.to_vec(),
            token: Vec::new(),
            database: None,
            plugin: None,
            attributes: None,
            zstd_level: None,
        };
        let offered = greeting.capabilities;
        let name = Some(plugin.name());
        response.write(&mut self.out, self.next_sequence, offered, name, token);
        self.stage = Stage::Leaving(true);
    }

    fn nonsense(&mut self, field: &'static str, flaw: Flaw) -> Option<Said> {
        let wanted = !self.is_unwanted();
        let said = self.complain(Malformed::new(field, flaw));
        wanted.then_some(said)
    }

    fn complain(&mut self, error: Malformed) -> Said {
        self.stage = Stage::Left;
        Said::Nonsense(error)
    }
}

/// `ER_CON_COUNT_ERROR`.
const TOO_MANY_CONNECTIONS: u16 = 1040;

/// `AuthMoreData` of `caching_sha2_password`: the signature is right, OK comes next.
pub(super) const FAST_AUTH_OK: u8 = 3;
/// The same: the account is not remembered, the password itself is needed.
pub(super) const FULL_AUTH: u8 = 4;
/// To the server, then: its public key is needed.
pub(super) const WANT_PUBLIC_KEY: u8 = 2;

/// The plugin and scramble of an `AuthSwitchRequest`, when both are known here.
pub(super) fn known_switch(payload: &[u8]) -> Option<(Plugin, super::auth::Scramble)> {
    AuthSwitch::parse(payload).ok()?.known()
}
