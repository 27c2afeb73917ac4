//! A login between a client and two servers, made up from a string of bytes: where TLS is, what the
//! servers remember, who says what when, and who is lost. A peer plays its part, or says anything.

use std::collections::{BTreeSet, VecDeque};
use std::sync::{Arc, LazyLock};

use crate::mysql::auth::{Credential, Password, Plugin, Scramble, Signer};
use crate::mysql::capabilities::Capabilities;
use crate::mysql::cursor::Cursor;
use crate::mysql::framer::Framer;
use crate::mysql::handshake::{AuthSwitch, FirstPacket, Greeting, Response, upgrade};
use crate::mysql::link::{FAST_AUTH_OK, FULL_AUTH, WANT_PUBLIC_KEY};
use crate::mysql::login::{Action, ClientTls, Established, Login, Peer, PrimaryOnly, Rules, Rung};
use crate::mysql::packet::{AUTH_MORE_DATA, EOF, ERR, OK, Status, write_packet};
use crate::mysql::password_key::PasswordKey;
use crate::mysql::route::Server;

/// What somebody has seen in a login, so that a test can tell how far it got.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Sight {
    /// A client whose connection has become TLS.
    ClientOnTls,
    /// A client on TLS that was asked for its password.
    AskedOnTls,
    /// A client without TLS that was.
    AskedWithoutTls,
    /// A client that was shown ringway's key.
    RingwaysKey,
    /// A client that was shown the key of a server.
    ServersKey,
    /// A primary that was told the password over TLS.
    PrimaryToldOnTls,
    /// A primary that was told it under its own key.
    PrimaryToldUnderKey,
    /// A replica that was told it over TLS.
    ReplicaToldOnTls,
    /// A replica that was told it under its own key.
    ReplicaToldUnderKey,
    /// A login that was completed by an account of the configuration.
    Configured,
    /// One by a password that was captured for the primary: the replica is for later.
    CapturedByPrimary,
    /// One by a password that was captured for the replica.
    CapturedByReplica,
    /// One by two signatures.
    Relayed,
    /// One at the primary alone.
    Alone,
    /// One at the primary alone, since the replica wants the password of a client without TLS.
    AloneForPassword,
    /// One at the replica alone.
    ReadsOnly,
    /// A login that failed.
    Failed,
}

impl Sight {
    /// All there is to see.
    pub const ALL: [Self; 17] = [
        Self::ClientOnTls,
        Self::AskedOnTls,
        Self::AskedWithoutTls,
        Self::RingwaysKey,
        Self::ServersKey,
        Self::PrimaryToldOnTls,
        Self::PrimaryToldUnderKey,
        Self::ReplicaToldOnTls,
        Self::ReplicaToldUnderKey,
        Self::Configured,
        Self::CapturedByPrimary,
        Self::CapturedByReplica,
        Self::Relayed,
        Self::Alone,
        Self::AloneForPassword,
        Self::ReadsOnly,
        Self::Failed,
    ];
}

/// Any three peers end a login, one way or another. The first two bytes say how the listener is set
/// up and who the peers are. Each step is a byte that says who does what, and for bytes a length and
/// that many of them. Behind the last step everybody plays his part until nobody has anything to say.
///
/// What must hold, whatever they do:
/// - a client that has to use TLS is heard of by no server before it does, and what it has sent
///   behind its request for TLS is not taken;
/// - a password that nobody has said in plain text goes so to nobody but a server on TLS;
/// - only whole packets are sent, to a connection that is there, and nothing to a client that is
///   logged in or refused; to a peer that plays its part, under the right numbers;
/// - a server that plays its part is not left before it has given its verdict;
/// - a client that the primary alone would let in is let in, if all play their parts and nobody is
///   lost, whatever the replica says.
///
/// # Panics
/// When that does not hold.
pub fn check_login(data: &[u8]) -> BTreeSet<Sight> {
    let [options, parts, steps @ ..] = data else {
        return BTreeSet::new();
    };
    let mut play = Play::new(*options, *parts);
    let mut cursor = Cursor::new(steps);
    while let Ok(step) = cursor.u8("step") {
        let peer = PEERS[usize::from(step & 3) % 3];
        match step >> 2 & 3 {
            0 => play.lose(peer),
            1 => play.time_out(peer),
            2 => {
                let Ok(bytes) = cursor.lenenc_bytes("bytes") else {
                    break;
                };
                play.improvise(peer, bytes);
            }
            _ => {
                play.plays(peer);
            }
        }
    }
    play.end()
}

const PEERS: [Peer; 3] = [Peer::Client, Peer::Primary, Peer::Replica];
const USER: &[u8] = b"app";
const PASSWORD: &[u8] = b"secret";
const OK_PACKET: &[u8] = b"\0\0\0\x02\0\0\0";
const DENIED: &[u8] = b"\xff\x15\x04#28000Access denied";

/// Keys take long to make.
static RINGWAYS_KEY: LazyLock<Arc<PasswordKey>> = LazyLock::new(key);
static SERVERS_KEY: LazyLock<Arc<PasswordKey>> = LazyLock::new(key);

fn key() -> Arc<PasswordKey> {
    Arc::new(PasswordKey::make().expect("the system has random numbers"))
}

fn find(bytes: &[u8], wanted: &[u8]) -> bool {
    bytes.windows(wanted.len()).any(|window| window == wanted)
}

fn signer(password: &[u8]) -> Signer {
    Signer::Password(Arc::new(Password::new(password)))
}

/// What clients and servers can do.
fn capabilities() -> Capabilities {
    Capabilities::PROTOCOL_41
        | Capabilities::MYSQL
        | Capabilities::SECURE_CONNECTION
        | Capabilities::PLUGIN_AUTH
        | Capabilities::PLUGIN_AUTH_LENENC
        | Capabilities::DEPRECATE_EOF
}

/// A login, its peers, and what it may not do any more.
struct Play {
    login: Login,
    client_tls: ClientTls,
    servers_on_tls: bool,
    configured: bool,
    client: Client,
    servers: [FakeServer; 2],
    /// Which connections are there.
    open: [bool; 3],
    /// What somebody has said that does not belong to his part. He has none any more.
    improvised: [Option<Vec<u8>>; 3],
    /// Bytes that were not taken yet.
    pending: [Vec<u8>; 3],
    /// Between the client's request for TLS and the end of its handshake.
    shaking_hands: bool,
    /// Somebody was lost, late, or improvised: the login may fail.
    disturbed: bool,
    /// Whether the primary does without the password of an account it has a signature of.
    primary_remembered: bool,
    completed: bool,
    failed: bool,
    sights: BTreeSet<Sight>,
}

impl Play {
    fn new(options: u8, parts: u8) -> Self {
        let has = |byte: u8, bit: u8| byte & 1 << bit != 0;
        let servers_on_tls = has(parts, 0);
        let mut rules = Rules {
            local_infile: has(options, 0),
            track_gtids: has(options, 1),
            servers_on_tls,
            password_key: servers_on_tls.then(|| RINGWAYS_KEY.clone()),
            ..Rules::default()
        };
        let configured = has(options, 2);
        if configured {
            let password = Credential::Password(Arc::new(Password::new(PASSWORD)));
            rules.accounts.insert(USER.to_vec(), password);
        }
        let client_tls = match options >> 4 & 3 {
            0 => ClientTls::Offered,
            1 => ClientTls::Required,
            _ => ClientTls::Off,
        };
        let (plugin, other) = match has(parts, 3) {
            true => (Plugin::Sha2, Plugin::Native),
            false => (Plugin::Native, Plugin::Sha2),
        };
        let default = if has(parts, 7) { other } else { plugin };
        let server = |role, remembers| FakeServer {
            role,
            default,
            plugin,
            remembers,
            on_tls: servers_on_tls,
            stage: Stage::Connected,
            heard: VecDeque::new(),
            sequence: 0,
        };
        let login = Login::new(Arc::new(rules), "192.0.2.1", !has(options, 3));
        Self {
            login: login.with_client_tls(client_tls),
            client_tls,
            servers_on_tls,
            configured,
            client: Client::new(has(parts, 4), Manner::of(parts >> 5 & 3)),
            servers: [
                server(Server::Primary, has(parts, 1)),
                server(Server::Replica, has(parts, 2)),
            ],
            open: [true, true, false],
            improvised: Default::default(),
            pending: Default::default(),
            shaking_hands: false,
            disturbed: false,
            primary_remembered: has(parts, 1),
            completed: false,
            failed: false,
            sights: BTreeSet::new(),
        }
    }

    fn server(&mut self, peer: Peer) -> &mut FakeServer {
        let [primary, replica] = &mut self.servers;
        match peer {
            Peer::Replica => replica,
            Peer::Primary | Peer::Client => primary,
        }
    }

    fn improvises(&self, peer: Peer) -> bool {
        self.improvised[peer as usize].is_some()
    }

    fn lose(&mut self, peer: Peer) {
        if std::mem::take(&mut self.open[peer as usize]) {
            self.disturbed = true;
            self.act(|login, actions| login.lost(peer, actions));
        }
    }

    /// The client's time is up, or the replica's.
    fn time_out(&mut self, peer: Peer) {
        self.disturbed |= peer == Peer::Client;
        self.act(|login, actions| match peer {
            Peer::Client => {
                let waited_for_replica = login.waits_for_replica();
                let blamed = login.timed_out(actions);
                assert_eq!(waited_for_replica, blamed.is_none());
            }
            _ => login.replica_timed_out(actions),
        });
    }

    fn improvise(&mut self, peer: Peer, bytes: &[u8]) {
        let improvised = &mut self.improvised[peer as usize];
        improvised.get_or_insert_default().extend(bytes);
        self.disturbed = true;
        self.finish_handshake(peer);
        self.feed(peer, bytes);
    }

    /// The peer says what is next in its part. Whether it had anything to say.
    fn plays(&mut self, peer: Peer) -> bool {
        if !self.open[peer as usize] || self.improvises(peer) {
            return false;
        }
        let shook_hands = self.finish_handshake(peer);
        let [primary, replica] = &mut self.servers;
        let line = match peer {
            Peer::Client => self.client.line(&mut self.sights),
            Peer::Primary => primary.line(&mut self.sights),
            Peer::Replica => replica.line(&mut self.sights),
        };
        match line {
            Line::Nothing => return shook_hands,
            Line::Leaves => {
                let is_fair = self.disturbed || !self.primary_would_let_in();
                assert!(is_fair, "asked for what the primary does not need");
                self.lose(peer);
            }
            Line::Bytes(bytes) => self.feed(peer, &bytes),
        }
        true
    }

    /// What the client does first where TLS has been asked for. Whatever it had sent behind its
    /// request is no TLS, and of no use.
    fn finish_handshake(&mut self, peer: Peer) -> bool {
        if peer != Peer::Client || !self.open[peer as usize] || !self.shaking_hands {
            return false;
        }
        self.shaking_hands = false;
        self.pending[Peer::Client as usize].clear();
        self.client.on_tls = true;
        self.sights.insert(Sight::ClientOnTls);
        self.login.client_shook_hands();
        true
    }

    fn feed(&mut self, peer: Peer, bytes: &[u8]) {
        if !self.open[peer as usize] {
            return;
        }
        self.pending[peer as usize].extend(bytes);
        // What one peer says may let another one's bytes be taken.
        for peer in PEERS {
            let bytes = std::mem::take(&mut self.pending[peer as usize]);
            let mut input = &bytes[..];
            let shaking_hands = self.shaking_hands && peer == Peer::Client;
            self.act(|login, actions| match peer {
                Peer::Client => login.from_client(&mut input, actions),
                Peer::Primary => login.from_primary(&mut input, actions),
                Peer::Replica => login.from_replica(&mut input, actions),
            });
            let untouched = input.len() == bytes.len();
            assert!(!shaking_hands || untouched, "that belongs to TLS");
            self.pending[peer as usize] = input.to_vec();
        }
    }

    fn act(&mut self, step: impl FnOnce(&mut Login, &mut Vec<Action>)) {
        let mut actions = Vec::new();
        step(&mut self.login, &mut actions);
        for action in actions {
            match action {
                Action::Send(peer, bytes) => self.send(peer, &bytes),
                Action::StartTls => self.shaking_hands = true,
                Action::NoTls(peer, _) => {
                    assert!(self.servers_on_tls && self.open[peer as usize]);
                    assert!(self.improvises(peer), "the others offer it, and wait");
                }
                Action::TurnedAway(peer) => {
                    assert!(self.open[peer as usize]);
                    assert!(self.improvises(peer), "the others take everybody");
                }
                Action::OpenReplica => {
                    let replica = &mut self.open[Peer::Replica as usize];
                    assert!(!std::mem::replace(replica, true));
                }
                Action::Close(peer) => {
                    assert!(peer != Peer::Client);
                    assert!(std::mem::take(&mut self.open[peer as usize]));
                    let is_done = self.improvises(peer) || self.server(peer).has_judged();
                    assert!(is_done, "{peer:?} is left in its handshake");
                }
                Action::Complete(established) => self.complete(&established),
                Action::Fail(_) => {
                    assert!(!self.is_over());
                    self.failed = true;
                    self.sights.insert(Sight::Failed);
                }
            }
        }
    }

    fn send(&mut self, peer: Peer, bytes: &[u8]) {
        assert!(!bytes.is_empty() && self.open[peer as usize]);
        let (mut framer, mut rest) = (Framer::default(), bytes);
        let improvises = self.improvises(peer);
        while let Some((header, payload)) = framer.whole(&mut rest) {
            let payload = payload.to_vec();
            if peer == Peer::Client {
                self.client.hear(header.sequence, payload, !improvises);
                continue;
            }
            let names_client = self
                .server(peer)
                .hear(header.sequence, payload, !improvises);
            let is_safe = self.client_tls != ClientTls::Required || self.client.on_tls;
            let is_early = self.shaking_hands || !is_safe;
            assert!(!(names_client && is_early), "TLS comes first");
        }
        assert!(rest.is_empty(), "half a packet");
        let is_over = self.is_over();
        assert!(peer != Peer::Client || !is_over, "the client is done");
        let in_secret = peer != Peer::Client && self.servers_on_tls;
        let mut improvised = self.improvised.iter().flatten();
        let is_known =
            self.client.has_said_it_plainly || improvised.any(|bytes| find(bytes, PASSWORD));
        assert!(
            in_secret || is_known || !find(bytes, PASSWORD),
            "the password in plain text"
        );
    }

    fn complete(&mut self, established: &Established) {
        assert!(!self.is_over());
        self.completed = true;
        assert!(established.primary.is_some() || established.reads_only);
        let split = established.replica.is_some() && !established.reads_only;
        assert!(!(split && established.primary_only.is_some()));
        let knows = established.signer.is_some();
        self.sights.insert(match (established.rung, split) {
            _ if established.reads_only => Sight::ReadsOnly,
            (Rung::Configured, _) => Sight::Configured,
            (Rung::Capture, _) => {
                assert!(knows, "what is captured is for the session");
                match split {
                    true => Sight::CapturedByReplica,
                    false => Sight::CapturedByPrimary,
                }
            }
            (Rung::Relay, _) => {
                assert!(split && !knows);
                Sight::Relayed
            }
            (Rung::PrimaryOnly, _) => match established.primary_only {
                Some(PrimaryOnly::ReplicaFullAuthentication) => Sight::AloneForPassword,
                _ => Sight::Alone,
            },
        });
    }

    fn is_over(&self) -> bool {
        self.completed || self.failed
    }

    /// Everybody plays his part to its end, and leaves.
    fn end(mut self) -> BTreeSet<Sight> {
        while PEERS.map(|peer| self.plays(peer)).contains(&true) {}
        if !self.disturbed {
            assert!(self.login.is_finished(), "nobody has anything to say");
            assert_eq!(self.completed, self.primary_would_let_in());
        }
        PEERS.iter().for_each(|&peer| self.lose(peer));
        assert!(self.login.is_finished(), "everybody is gone");
        assert!(self.is_over(), "a login ends");
        self.sights
    }

    /// Whether a client that plays its part has to be let in: the replica is not asked.
    fn primary_would_let_in(&self) -> bool {
        let [primary, _] = &self.servers;
        let is_turned_away = self.client_tls == ClientTls::Required && !self.client.wants_tls;
        let is_remembered = self.configured
            || primary.plugin == Plugin::Native
            || self.primary_remembered
            || self.client.on_tls;
        let tells = self.client.manner == Manner::Cautious || is_remembered;
        self.client.manner != Manner::Mistaken && !is_turned_away && tells
    }
}

/// What somebody says in his part.
enum Line {
    Nothing,
    Bytes(Vec<u8>),
    Leaves,
}

/// What a client does that is asked for its password and has no TLS. On TLS each tells it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Manner {
    /// Asks for a key to encrypt it with.
    Cautious,
    /// Says it in plain text.
    Plain,
    /// Gives the login up.
    Timid,
    /// Asks for a key, and has the wrong password.
    Mistaken,
}

impl Manner {
    fn of(number: u8) -> Self {
        match number {
            0 => Self::Cautious,
            1 => Self::Plain,
            2 => Self::Timid,
            _ => Self::Mistaken,
        }
    }
}

/// A client as libraries are. It leaves where it does not understand.
struct Client {
    wants_tls: bool,
    manner: Manner,
    on_tls: bool,
    /// Its response, while it has asked for TLS.
    behind_tls: Option<Vec<u8>>,
    has_said_it_plainly: bool,
    /// What it has to answer.
    heard: Option<Vec<u8>>,
    /// The number of the next packet.
    sequence: u8,
    /// What it was asked to sign last.
    scramble: Scramble,
}

impl Client {
    fn new(wants_tls: bool, manner: Manner) -> Self {
        Self {
            wants_tls,
            manner,
            on_tls: false,
            behind_tls: None,
            has_said_it_plainly: false,
            heard: None,
            sequence: 0,
            scramble: Scramble([0; 20]),
        }
    }

    fn signer(&self) -> Signer {
        match self.manner {
            Manner::Mistaken => signer(b"mistaken"),
            _ => signer(PASSWORD),
        }
    }

    /// An error may answer what the client is about to send.
    fn hear(&mut self, sequence: u8, payload: Vec<u8>, checked: bool) {
        let ahead = sequence.wrapping_sub(self.sequence);
        let is_error = payload.first() == Some(&ERR);
        let is_next = ahead == 0 || (is_error && ahead == 1);
        assert!(!checked || is_next, "{sequence} is not {}", self.sequence);
        self.sequence = sequence.wrapping_add(1);
        self.heard = Some(payload);
    }

    fn line(&mut self, sights: &mut BTreeSet<Sight>) -> Line {
        if self.on_tls
            && let Some(response) = self.behind_tls.take()
        {
            self.sequence = self.sequence.wrapping_add(1);
            return Line::Bytes(response);
        }
        let Some(heard) = self.heard.take() else {
            return Line::Nothing;
        };
        let answer = match &heard[..] {
            [AUTH_MORE_DATA, FAST_AUTH_OK] | [OK | ERR, ..] => return Line::Nothing,
            [AUTH_MORE_DATA, FULL_AUTH] => self.tell(sights),
            [AUTH_MORE_DATA, pem @ ..] => self.encrypt(pem, sights),
            [EOF, ..] => {
                let switch = AuthSwitch::parse(&heard).ok();
                let known = switch.and_then(|switch| switch.known());
                known.map(|(plugin, scramble)| self.sign(plugin, scramble))
            }
            _ => return self.respond(&heard).map_or(Line::Leaves, Line::Bytes),
        };
        let Some(payload) = answer else {
            return Line::Leaves;
        };
        let mut bytes = Vec::new();
        write_packet(&mut bytes, self.sequence, &payload);
        self.sequence = self.sequence.wrapping_add(1);
        Line::Bytes(bytes)
    }

    fn sign(&mut self, plugin: Plugin, scramble: Scramble) -> Vec<u8> {
        self.scramble = scramble;
        let token = self.signer().token(plugin, &scramble);
        token.expect("a password signs for every plugin").to_vec()
    }

    /// Answers the greeting: by a request for TLS first, if that is wanted and to be had.
    fn respond(&mut self, heard: &[u8]) -> Option<Vec<u8>> {
        let greeting = Greeting::parse(heard).ok()?;
        let plugin = Plugin::from_name(&greeting.plugin).unwrap_or(Plugin::Native);
        let token = self.sign(plugin, greeting.scramble);
        let response = Response {
            capabilities: capabilities(),
            packet_bytes_max: 1 << 24,
            charset: 45,
            user: USER.to_vec(),
            token: Vec::new(),
            database: None,
            plugin: None,
            attributes: None,
            zstd_level: None,
        };
        let (mut bytes, name) = (Vec::new(), Some(plugin.name()));
        response.write(&mut bytes, self.sequence, capabilities(), name, &token);
        self.sequence = self.sequence.wrapping_add(1);
        if !(self.wants_tls && greeting.capabilities.contains(Capabilities::SSL)) {
            return Some(bytes);
        }
        let upgraded = upgrade(bytes.into())?;
        self.behind_tls = Some(upgraded.response.to_vec());
        Some(upgraded.request)
    }

    /// The answer to who wants the password itself. `None`: that is too much for this client.
    fn tell(&mut self, sights: &mut BTreeSet<Sight>) -> Option<Vec<u8>> {
        sights.insert(match self.on_tls {
            true => Sight::AskedOnTls,
            false => Sight::AskedWithoutTls,
        });
        let is_plain = self.on_tls || self.manner == Manner::Plain;
        self.has_said_it_plainly |= is_plain && !self.on_tls;
        match self.manner {
            _ if is_plain => Some(self.signer().password_in_full().ok()?.to_vec()),
            Manner::Timid => None,
            _ => Some(vec![WANT_PUBLIC_KEY]),
        }
    }

    fn encrypt(&self, pem: &[u8], sights: &mut BTreeSet<Sight>) -> Option<Vec<u8>> {
        let shown = [
            (RINGWAYS_KEY.pem(), Sight::RingwaysKey),
            (SERVERS_KEY.pem(), Sight::ServersKey),
        ];
        let known = shown.into_iter().find(|(key, _)| key.as_bytes() == pem);
        sights.extend(known.map(|(_, sight)| sight));
        self.signer().encrypt_password(pem, &self.scramble).ok()
    }
}

/// A server as they are.
struct FakeServer {
    role: Server,
    /// The plugin of its greeting.
    default: Plugin,
    /// The account's.
    plugin: Plugin,
    /// Whether it knows the account from before.
    remembers: bool,
    on_tls: bool,
    stage: Stage,
    heard: VecDeque<Vec<u8>>,
    /// The number of the next packet.
    sequence: u8,
}

/// What a server is at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// It will greet.
    Connected,
    /// It waits for a response.
    Greeted,
    /// It waits for a signature of this, which it has asked for.
    Switched(Scramble),
    /// The signature is right: OK is next.
    Convinced,
    /// It waits for the password of somebody who was given this to sign.
    Asking(Scramble),
    /// It has shown its key, and waits for the password.
    KeyShown(Scramble),
    Accepted,
    Refused,
}

impl FakeServer {
    fn has_judged(&self) -> bool {
        matches!(self.stage, Stage::Accepted | Stage::Refused)
    }

    /// Whether this names the client: a response that is not ringway's way out.
    fn hear(&mut self, sequence: u8, payload: Vec<u8>, checked: bool) -> bool {
        let is_command = self.stage == Stage::Accepted && sequence == 0;
        let is_next = sequence == self.sequence || is_command;
        assert!(!checked || is_next, "{sequence} is not {}", self.sequence);
        self.sequence = sequence.wrapping_add(1);
        let names_client = matches!(
            FirstPacket::parse(&payload),
            Ok(FirstPacket::Response(response)) if response.user == USER
        );
        self.heard.push_back(payload);
        names_client
    }

    fn line(&mut self, sights: &mut BTreeSet<Sight>) -> Line {
        let mut bytes = Vec::new();
        match self.stage {
            Stage::Connected => {
                self.stage = Stage::Greeted;
                self.greeting().write(&mut bytes, self.sequence);
                self.sequence = self.sequence.wrapping_add(1);
                return Line::Bytes(bytes);
            }
            Stage::Convinced => {
                self.stage = Stage::Accepted;
                return self.says(OK_PACKET);
            }
            _ => {}
        }
        let Some(heard) = self.heard.pop_front() else {
            return Line::Nothing;
        };
        match self.stage {
            Stage::Greeted => self.respond(&heard),
            Stage::Switched(scramble) => self.verify(&heard, scramble),
            Stage::Asking(scramble) if !self.on_tls && heard == [WANT_PUBLIC_KEY] => {
                self.stage = Stage::KeyShown(scramble);
                self.says(&[&[AUTH_MORE_DATA], SERVERS_KEY.pem().as_bytes()].concat())
            }
            Stage::Asking(_) => {
                let told = signer(PASSWORD).password_in_full();
                let is_right = self.on_tls && told.is_ok_and(|told| told[..] == heard[..]);
                self.judge(is_right, 0, sights)
            }
            Stage::KeyShown(scramble) => {
                let told = SERVERS_KEY.decrypt(&heard, &scramble);
                self.judge(told == Some(Password::new(PASSWORD)), 1, sights)
            }
            _ => Line::Nothing,
        }
    }

    fn says(&mut self, payload: &[u8]) -> Line {
        let mut bytes = Vec::new();
        write_packet(&mut bytes, self.sequence, payload);
        self.sequence = self.sequence.wrapping_add(1);
        Line::Bytes(bytes)
    }

    fn greeting(&self) -> Greeting {
        let (thread_id, scramble) = match self.role {
            Server::Primary => (7, *b"primary-primary-prim"),
            Server::Replica => (70, *b"replica-replica-repl"),
        };
        Greeting {
            version: b"8.4.3".to_vec(),
            thread_id,
            scramble: Scramble(scramble),
            capabilities: capabilities()
                | Capabilities::LOCAL_FILES
                | Capabilities::SESSION_TRACK
                | Capabilities::SSL,
            charset: 45,
            status: Status::AUTOCOMMIT,
            plugin: self.default.name().to_vec(),
        }
    }

    /// The answer to a response: a request for a signature of the account's own plugin, if it is by
    /// another one. `mysql_native_password` has its greeting's scramble signed.
    fn respond(&mut self, heard: &[u8]) -> Line {
        let scramble = self.greeting().scramble;
        let Ok(FirstPacket::Response(response)) = FirstPacket::parse(heard) else {
            return self.refuse();
        };
        if response.user != USER {
            return self.refuse();
        }
        if response.known_plugin() == Some(self.plugin) {
            return self.verify(&response.token, scramble);
        }
        let scramble = match self.plugin {
            Plugin::Native => scramble,
            Plugin::Sha2 => Scramble(*b"another-another-anot"),
        };
        self.stage = Stage::Switched(scramble);
        self.says(&[&[EOF], self.plugin.name(), b"\0", &scramble.0, b"\0"].concat())
    }

    /// The answer to a signature. Who remembers nobody, or another signature, asks for the password.
    fn verify(&mut self, token: &[u8], scramble: Scramble) -> Line {
        let expected = signer(PASSWORD).token(self.plugin, &scramble);
        let is_right = expected.is_some_and(|expected| expected[..] == *token);
        match self.plugin {
            _ if self.plugin.is_empty_password(token) => self.refuse(),
            Plugin::Native if is_right => {
                self.stage = Stage::Accepted;
                self.says(OK_PACKET)
            }
            Plugin::Native => self.refuse(),
            Plugin::Sha2 if is_right && self.remembers => {
                self.stage = Stage::Convinced;
                self.says(&[AUTH_MORE_DATA, FAST_AUTH_OK])
            }
            Plugin::Sha2 => {
                self.stage = Stage::Asking(scramble);
                self.says(&[AUTH_MORE_DATA, FULL_AUTH])
            }
        }
    }

    /// The answer to a password, which has come in one of the ways that are to be seen.
    fn judge(&mut self, is_right: bool, way: usize, sights: &mut BTreeSet<Sight>) -> Line {
        if !is_right {
            return self.refuse();
        }
        let ways = match self.role {
            Server::Primary => [Sight::PrimaryToldOnTls, Sight::PrimaryToldUnderKey],
            Server::Replica => [Sight::ReplicaToldOnTls, Sight::ReplicaToldUnderKey],
        };
        sights.insert(ways[way]);
        self.remembers = true;
        self.stage = Stage::Accepted;
        self.says(OK_PACKET)
    }

    fn refuse(&mut self) -> Line {
        self.stage = Stage::Refused;
        self.says(DENIED)
    }
}
