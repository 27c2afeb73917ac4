//! A login in which the test plays all three peers.

use std::sync::Arc;

use crate::mysql::auth::{Credential, NativeHash, Password, Plugin, Scramble, Signer};
use crate::mysql::capabilities::Capabilities;
use crate::mysql::handshake::{Greeting, NoTls, Response};
use crate::mysql::login::{Action, Established, Failure, Login, Peer, Rules};
use crate::mysql::packet::{HEADER_BYTES, Header, Status, write_packet};

pub(super) const PRIMARY: Scramble = Scramble(*b"primary-primary-prim");
pub(super) const REPLICA: Scramble = Scramble(*b"replica-replica-repl");
pub(super) const OTHER: Scramble = Scramble(*b"another-another-anot");
pub(super) const OK_PACKET: &[u8] = b"\0\0\0\x02\0\0\0";
pub(super) const DENIED: &[u8] = b"\xff\x15\x04#28000Access denied";
pub(super) const FAST_OK: &[u8] = b"\x01\x03";
pub(super) const FULL_AUTH: &[u8] = b"\x01\x04";
pub(super) const NATIVE: &[u8] = b"mysql_native_password";
pub(super) const SHA2: &[u8] = b"caching_sha2_password";

/// What servers and clients of these tests can do.
pub(super) fn capabilities() -> Capabilities {
    Capabilities::PROTOCOL_41
        | Capabilities::MYSQL
        | Capabilities::SECURE_CONNECTION
        | Capabilities::PLUGIN_AUTH
        | Capabilities::PLUGIN_AUTH_LENENC
        | Capabilities::CONNECT_WITH_DB
        | Capabilities::CONNECT_ATTRS
        | Capabilities::DEPRECATE_EOF
        | Capabilities::SESSION_TRACK
}

/// A signature of the password of these tests.
pub(super) fn token(plugin: &[u8], scramble: &Scramble) -> Vec<u8> {
    let plugin = Plugin::from_name(plugin).unwrap();
    let signer = Signer::Password(Arc::new(Password::new("secret")));
    signer.token(plugin, scramble).unwrap().to_vec()
}

pub(super) fn greeting(plugin: &[u8], scramble: Scramble, thread_id: u32) -> Vec<u8> {
    greeting_with(plugin, scramble, thread_id, capabilities())
}

pub(super) fn greeting_with(
    plugin: &[u8],
    scramble: Scramble,
    thread_id: u32,
    capabilities: Capabilities,
) -> Vec<u8> {
    let greeting = Greeting {
        version: b"8.4.3".to_vec(),
        thread_id,
        scramble,
        capabilities: capabilities
            | Capabilities::LOCAL_FILES
            | Capabilities::COMPRESS
            | Capabilities::SSL,
        charset: 45,
        status: Status::AUTOCOMMIT,
        plugin: plugin.to_vec(),
    };
    payload_of(|out| greeting.write(out, 0))
}

pub(super) fn response(client_name: &[u8], plugin: &[u8], token: &[u8]) -> Vec<u8> {
    response_with(client_name, plugin, token, capabilities())
}

pub(super) fn response_with(
    client_name: &[u8],
    plugin: &[u8],
    token: &[u8],
    capabilities: Capabilities,
) -> Vec<u8> {
    let length = [client_name.len() as u8];
    let attributes = [b"\x0c_client_name", &length[..], client_name].concat();
    let response = Response {
        capabilities,
        packet_bytes_max: 1 << 24,
        charset: 45,
        user: b"app".to_vec(),
        token: Vec::new(),
        database: Some(b"shop".to_vec()),
        plugin: None,
        attributes: Some(attributes),
        zstd_level: None,
    };
    payload_of(|out| response.write(out, 1, capabilities, Some(plugin), token))
}

pub(super) fn switch(plugin: &[u8], scramble: &Scramble) -> Vec<u8> {
    [b"\xfe", plugin, b"\0", &scramble.0, b"\0"].concat()
}

fn payload_of(write: impl Fn(&mut Vec<u8>)) -> Vec<u8> {
    let mut out = Vec::new();
    write(&mut out);
    out.split_off(HEADER_BYTES)
}

pub(super) fn with_password(password: &str) -> Rules {
    account(Credential::Password(Arc::new(Password::new(password))))
}

pub(super) fn with_hash() -> Rules {
    let hash = NativeHash::parse("*14E65567ABDB5135D0CFD9A70B3032C179A49EE7").unwrap();
    account(Credential::NativeHash(hash))
}

fn account(credential: Credential) -> Rules {
    Rules {
        accounts: [(b"app".to_vec(), credential)].into(),
        ..Rules::default()
    }
}

/// The login and what came of it.
pub(super) struct Scene {
    pub(super) login: Login,
    /// Packets that were sent and not yet looked at, by peer.
    sent: [Vec<(u8, Vec<u8>)>; 3],
    pub(super) opened: usize,
    /// Whether TLS with the client is to begin.
    pub(super) starts_tls: bool,
    /// With whom there will be no TLS.
    pub(super) no_tls: Option<(Peer, NoTls)>,
    /// Who takes nobody.
    pub(super) turned_away: Vec<Peer>,
    pub(super) closed: [bool; 3],
    pub(super) established: Option<Established>,
    pub(super) failure: Option<Failure>,
    /// Sizes of the pieces in which bytes arrive.
    piece: usize,
}

impl Scene {
    pub(super) fn new(rules: Rules) -> Self {
        Self::of(Login::new(Arc::new(rules), "10.0.0.9", true))
    }

    pub(super) fn without_replica(rules: Rules) -> Self {
        Self::of(Login::new(Arc::new(rules), "10.0.0.9", false))
    }

    pub(super) fn of(login: Login) -> Self {
        Self {
            login,
            sent: Default::default(),
            opened: 0,
            starts_tls: false,
            no_tls: None,
            turned_away: Vec::new(),
            closed: [false; 3],
            established: None,
            failure: None,
            piece: usize::MAX,
        }
    }

    pub(super) fn in_pieces(mut self, piece: usize) -> Self {
        self.piece = piece;
        self
    }

    /// A packet from a peer. Returns what was not taken of it.
    pub(super) fn says(&mut self, peer: Peer, sequence: u8, payload: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::new();
        write_packet(&mut bytes, sequence, payload);
        self.sends(peer, &bytes)
    }

    /// Any bytes from a peer. Returns what was not taken of them.
    pub(super) fn sends(&mut self, peer: Peer, bytes: &[u8]) -> Vec<u8> {
        let mut left = Vec::new();
        for piece in bytes.chunks(self.piece.min(bytes.len().max(1))) {
            left.extend_from_slice(piece);
            let mut input = &left[..];
            let mut actions = Vec::new();
            match peer {
                Peer::Client => self.login.from_client(&mut input, &mut actions),
                Peer::Primary => self.login.from_primary(&mut input, &mut actions),
                Peer::Replica => self.login.from_replica(&mut input, &mut actions),
            }
            left = input.to_vec();
            self.act(actions);
        }
        left
    }

    pub(super) fn loses(&mut self, peer: Peer) {
        let mut actions = Vec::new();
        self.closed[peer as usize] = true;
        self.login.lost(peer, &mut actions);
        self.act(actions);
    }

    pub(super) fn replica_takes_too_long(&mut self) {
        let mut actions = Vec::new();
        self.login.replica_timed_out(&mut actions);
        self.act(actions);
    }

    pub(super) fn act(&mut self, actions: Vec<Action>) {
        for action in actions {
            match action {
                Action::Send(peer, bytes) => {
                    let gone = self.closed[peer as usize];
                    assert!(!gone, "sent to {peer:?}, which is closed");
                    let over = self.established.is_some() || self.failure.is_some();
                    assert!(
                        peer != Peer::Client || !over,
                        "sent to a client that is done"
                    );
                    self.sent[peer as usize].extend(split(&bytes));
                }
                Action::StartTls => self.starts_tls = true,
                Action::OpenReplica => self.opened += 1,
                Action::NoTls(peer, why) => self.no_tls = Some((peer, why)),
                Action::TurnedAway(peer) => self.turned_away.push(peer),
                Action::Close(peer) => {
                    assert!(!self.closed[peer as usize], "{peer:?} is closed twice");
                    self.closed[peer as usize] = true;
                }
                Action::Complete(established) => {
                    assert!(self.established.is_none() && self.failure.is_none());
                    self.established = Some(*established);
                }
                Action::Fail(failure) => {
                    assert!(self.established.is_none() && self.failure.is_none());
                    self.failure = Some(failure);
                }
            }
        }
    }

    /// The next packet that was sent to a peer.
    pub(super) fn next(&mut self, peer: Peer) -> (u8, Vec<u8>) {
        assert!(!self.sent[peer as usize].is_empty(), "nothing for {peer:?}");
        self.sent[peer as usize].remove(0)
    }

    /// The next packet that was sent to a peer is this one.
    pub(super) fn gets(&mut self, peer: Peer, sequence: u8, payload: &[u8]) {
        let (number, bytes) = self.next(peer);
        assert_eq!((number, &bytes[..]), (sequence, payload), "for {peer:?}");
    }

    /// Nothing else was sent to anybody.
    pub(super) fn is_quiet(&self) {
        assert_eq!(self.sent, [const { Vec::new() }; 3]);
    }

    /// The primary greets and the client sees it.
    pub(super) fn greet(&mut self, plugin: &[u8]) {
        self.says(Peer::Primary, 0, &greeting(plugin, PRIMARY, 7));
        let (sequence, payload) = self.next(Peer::Client);
        let seen = Greeting::parse(&payload).unwrap();
        assert_eq!((sequence, seen.thread_id, seen.scramble), (0, 7, PRIMARY));
    }

    /// The client signs the primary's scramble, and the primary gets to see it.
    pub(super) fn respond(&mut self, plugin: &[u8]) {
        let payload = response(b"test", plugin, &token(plugin, &PRIMARY));
        assert!(self.says(Peer::Client, 1, &payload).is_empty());
        self.gets(Peer::Primary, 1, &payload);
    }

    pub(super) fn done(&self) -> &Established {
        assert_eq!(self.failure, None);
        self.established.as_ref().expect("the login is complete")
    }

    /// The server is left with a handshake that is finished in nobody's name.
    pub(super) fn leaves_as_nobody(&mut self, peer: Peer) {
        let (sequence, payload) = self.next(peer);
        assert_eq!(sequence, 1);
        assert!(payload.windows(14).any(|name| name == b"ringway-nobody"));
        assert!(
            !self.closed[peer as usize],
            "the server has not answered yet"
        );
        self.says(peer, 2, DENIED);
        assert!(self.closed[peer as usize]);
    }
}

/// The packets in some bytes.
pub(super) fn split(mut bytes: &[u8]) -> Vec<(u8, Vec<u8>)> {
    let mut packets = Vec::new();
    while let Some((header, rest)) = bytes.split_first_chunk() {
        let header = Header::parse(*header);
        let (payload, rest) = rest.split_at(header.payload_bytes());
        packets.push((header.sequence, payload.to_vec()));
        bytes = rest;
    }
    packets
}
