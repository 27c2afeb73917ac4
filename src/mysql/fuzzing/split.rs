//! A session between a client and two servers, made up from a string of bytes: which commands come,
//! in which pieces everything arrives, and when servers are lost.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use crate::config::ReadAfterWrite;
use crate::entropy::Entropy;
use crate::mysql::auth::{Password, Scramble, Signer};
use crate::mysql::capabilities::Capabilities;
use crate::mysql::command::{Command, Reply};
use crate::mysql::framer::{Frame, Framer};
use crate::mysql::handshake::{Greeting, Response};
use crate::mysql::login::{Established, Peer, Rung};
use crate::mysql::packet::{ErrPacket, Status, write_command};
use crate::mysql::reply::{Event, ReplyTracker};
use crate::mysql::result::{Column, ColumnKind, Format, ReplyWriter, Value};
use crate::mysql::route::Server;
use crate::mysql::splitter::{Order, Settings, Splitter};

/// Everything a run did, so that a test can tell whether it tried anything.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct SplitOutcome {
    /// Statements that ran at the primary, and at the replica.
    pub ran: [usize; 2],
    /// Replies that the client got whole.
    pub answered: usize,
    /// Reads that ran again.
    pub replayed: u32,
    /// Sessions that ended before the client said so: 0 or 1.
    pub cut_short: usize,
}

/// Whatever the client says, however it arrives, and whichever server is lost when: each command
/// has its own answer, in order, no statement that is not a proven read runs twice or at the
/// replica, and the session goes on or ends.
///
/// # Panics
/// When that does not hold.
pub fn check_split(data: &[u8]) -> SplitOutcome {
    let mut world = World::new(data);
    while !world.entropy.is_empty() && !world.is_over() {
        world.act();
        world.settle();
    }
    world.end()
}

struct World<'a> {
    entropy: Entropy<'a>,
    splitter: Splitter,
    client: Client,
    servers: [FakeServer; 2],
    /// On its way to ringway: from the client, the primary, the replica.
    arriving: [VecDeque<u8>; 3],
    ended: bool,
    now_us: u64,
    outcome: SplitOutcome,
}

/// A client that follows its replies.
struct Client {
    capabilities: Capabilities,
    /// What the primary was told that it agreed to.
    primary_capabilities: Capabilities,
    tracker: ReplyTracker,
    /// What it waits for: the reply's kind, and what must stand in it.
    expected: VecDeque<(Reply, Vec<u8>)>,
    started: bool,
    seen: Vec<u8>,
    received: Vec<u8>,
    next: usize,
    /// Statements it has prepared, by the id it was given; the newest last.
    prepared: Vec<(u32, Vec<u8>)>,
    preparing: VecDeque<Vec<u8>>,
}

/// A server that answers each statement with the statement.
struct FakeServer {
    role: Server,
    open: bool,
    inbox: Vec<u8>,
    in_transaction: bool,
    read_only: bool,
    prepared: BTreeMap<u32, Vec<u8>>,
    next_id: u32,
    ran: BTreeMap<Vec<u8>, usize>,
}

fn capabilities(entropy: &mut Entropy<'_>) -> Capabilities {
    let mut capabilities = Capabilities::PROTOCOL_41
        | Capabilities::PLUGIN_AUTH
        | Capabilities::MULTI_RESULTS
        | Capabilities::TRANSACTIONS;
    if entropy.below(2) == 1 {
        capabilities = capabilities | Capabilities::DEPRECATE_EOF;
    }
    if entropy.below(2) == 1 {
        capabilities = capabilities | Capabilities::QUERY_ATTRIBUTES;
    }
    capabilities
}

pub(in crate::mysql) fn greeting(capabilities: Capabilities, thread_id: u32) -> Greeting {
    Greeting {
        version: b"8.4.0".to_vec(),
        thread_id,
        scramble: Scramble([b'x'; 20]),
        capabilities,
        charset: 45,
        status: Status::AUTOCOMMIT,
        plugin: b"mysql_native_password".to_vec(),
    }
}

pub(in crate::mysql) fn established(
    capabilities: Capabilities,
    tracks: bool,
    later: bool,
) -> Established {
    let primary_capabilities = match tracks {
        true => capabilities | Capabilities::SESSION_TRACK,
        false => capabilities,
    };
    let signer = Signer::Password(Password::new("secret").into());
    Established {
        rung: if later { Rung::Configured } else { Rung::Relay },
        primary_only: None,
        reads_only: false,
        capabilities,
        primary_capabilities,
        status: Status::AUTOCOMMIT,
        response: Response {
            capabilities,
            packet_bytes_max: 1 << 24,
            charset: 45,
            user: b"app".to_vec(),
            token: Vec::new(),
            database: None,
            plugin: None,
            attributes: None,
            zstd_level: None,
        },
        version: b"8.4.0".to_vec(),
        thread_id: 1,
        primary: Some(greeting(primary_capabilities, 1)),
        replica: (!later).then(|| greeting(capabilities, 2)),
        signer: later.then_some(signer),
        last_scramble: None,
    }
}

impl<'a> World<'a> {
    fn new(data: &'a [u8]) -> Self {
        let mut entropy = Entropy::new(data);
        let capabilities = capabilities(&mut entropy);
        let tracks = entropy.below(3) == 2;
        let later = entropy.below(3) == 2;
        let settings = Settings {
            classify_bytes_max: 1024,
            read_after_write: match (tracks, entropy.below(2)) {
                (true, _) => ReadAfterWrite::Gtid,
                (false, 1) => ReadAfterWrite::For(Duration::from_micros(50)),
                (false, _) => ReadAfterWrite::Off,
            },
            gtid_wait: Duration::from_millis(100),
            local_infile: false,
            calls_pin: false,
            text_bytes_max: 64,
        };
        let established = established(capabilities, tracks, later);
        let primary_capabilities = established.primary_capabilities;
        Self {
            entropy,
            client: Client::new(capabilities),
            servers: [
                FakeServer::new(Server::Primary, true),
                FakeServer::new(Server::Replica, !later),
            ],
            splitter: Splitter::new(settings, Box::new(established)),
            arriving: Default::default(),
            ended: false,
            now_us: 0,
            outcome: SplitOutcome::default(),
        }
        .with_primary(primary_capabilities)
    }

    fn with_primary(mut self, capabilities: Capabilities) -> Self {
        let [primary, _] = &mut self.servers;
        primary.next_id = 100;
        self.client.primary_capabilities = capabilities;
        self
    }

    fn is_over(&self) -> bool {
        self.ended
    }

    fn act(&mut self) {
        self.now_us += 10;
        match self.entropy.below(24) {
            0..20 => {
                let bytes = self.client.say(&mut self.entropy);
                self.arriving[0].extend(bytes);
            }
            20 if self.entropy.below(12) == 11 => self.lose(Server::Replica),
            21 if self.entropy.below(12) == 11 => self.lose(Server::Primary),
            _ => {}
        }
        // Several commands may be on their way before one is answered.
        if self.entropy.below(3) == 2 {
            let bytes = self.client.say(&mut self.entropy);
            self.arriving[0].extend(bytes);
        }
    }

    /// A server dies: some of what it has sent may still arrive.
    fn lose(&mut self, server: Server) {
        let index = index_of(server);
        if !self.servers[index].open {
            return;
        }
        self.servers[index].open = false;
        let arriving = &mut self.arriving[index + 1];
        let kept = match self.entropy.below(2) {
            0 => 0,
            _ => self.entropy.below(arriving.len() + 1),
        };
        arriving.truncate(kept);
        self.deliver(index + 1);
        let mut orders = Vec::new();
        self.splitter.lost(server, self.now_us, &mut orders);
        self.apply(orders);
    }

    /// Delivers what is on its way, in pieces, until nothing can go on.
    fn settle(&mut self) {
        // A server may be lost with a reply on its way, or before it has begun.
        let patience = self.entropy.below(4);
        for round in 0..10_000 {
            let mut moved = false;
            for peer in [1, 2, 0] {
                moved |= self.deliver(peer);
                if self.ended {
                    return;
                }
            }
            if round == patience && self.entropy.below(80) == 79 {
                self.lose(Server::Replica);
                moved = true;
            }
            if !moved {
                return;
            }
        }
        panic!(
            "a conversation that does not come to rest: {:?}",
            self.splitter
        );
    }

    /// Delivers a piece of what comes from a peer. Whether anything was taken.
    fn deliver(&mut self, peer: usize) -> bool {
        if self.arriving[peer].is_empty() {
            return false;
        }
        let most = self.arriving[peer].len();
        let piece = match self.entropy.below(3) {
            0 => most,
            1 => most.min(1 + self.entropy.below(7)),
            _ => most.min(1 + self.entropy.below(256)),
        };
        let mut input: Vec<u8> = self.arriving[peer].iter().take(piece).copied().collect();
        let mut orders = Vec::new();
        let taken = match peer {
            0 => self.splitter.client(&mut input, self.now_us, &mut orders),
            1 => {
                let server = Server::Primary;
                self.splitter
                    .server(server, &mut input, self.now_us, &mut orders)
            }
            _ => {
                let server = Server::Replica;
                self.splitter
                    .server(server, &mut input, self.now_us, &mut orders)
            }
        };
        assert!(
            taken.bytes() <= input.len(),
            "more was taken than there was"
        );
        self.arriving[peer].drain(..taken.bytes());
        if let Some(to) = taken.to {
            self.send(to, &input[..taken.passed]);
        }
        let acted = !orders.is_empty();
        self.apply(orders);
        taken.bytes() > 0 || acted
    }

    fn send(&mut self, to: Peer, bytes: &[u8]) {
        match to {
            Peer::Client => {
                self.outcome.answered += self.client.receive(bytes);
            }
            Peer::Primary | Peer::Replica => {
                let index = if to == Peer::Primary { 0 } else { 1 };
                let capabilities = match to {
                    Peer::Primary => self.client.primary_capabilities,
                    _ => self.client.capabilities,
                };
                if self.servers[index].open {
                    let answer = self.servers[index].receive(bytes, capabilities);
                    self.arriving[index + 1].extend(answer);
                }
            }
        }
    }

    fn apply(&mut self, orders: Vec<Order>) {
        for order in orders {
            match order {
                Order::Send(peer, bytes) => self.send(peer, &bytes),
                Order::OpenReplica => self.open_replica(),
                Order::Close(server) => {
                    self.servers[index_of(server)].open = false;
                    self.arriving[index_of(server) + 1].clear();
                }
                Order::Done(_) | Order::Kill(_) => {}
                Order::ChangeUser(_) | Order::Relay => panic!("nobody asked for it"),
                Order::End(_) => self.ended = true,
            }
        }
    }

    fn open_replica(&mut self) {
        let mut orders = Vec::new();
        if self.entropy.below(4) == 3 {
            self.splitter.replica_unavailable(self.now_us, &mut orders);
        } else {
            let ran = std::mem::take(&mut self.servers[1].ran);
            self.servers[1] = FakeServer::new(Server::Replica, true);
            self.servers[1].ran = ran;
            self.arriving[2].clear();
            let greeting = greeting(self.client.capabilities, 9);
            let status = Status::AUTOCOMMIT;
            self.splitter
                .replica_attached(&greeting, status, self.now_us, &mut orders);
        }
        self.apply(orders);
    }

    fn end(mut self) -> SplitOutcome {
        for _ in 0..100 {
            self.settle();
        }
        if !self.ended {
            assert_eq!(self.client.expected.len(), 0, "an answer is missing");
            assert!(!self.splitter.is_busy(), "nothing is asked any more");
        }
        self.outcome.cut_short = usize::from(self.ended);
        self.outcome.replayed = self.splitter.take_counts().replayed;
        for (index, server) in self.servers.iter().enumerate() {
            self.outcome.ran[index] = server.ran.values().sum();
        }
        let [primary, replica] = &self.servers;
        for (text, times) in &primary.ran {
            let at_replica = replica.ran.get(text).copied().unwrap_or_default();
            let is_write = text.starts_with(b"INSERT");
            assert!(!is_write || at_replica == 0, "a write ran at the replica");
            assert!(*times == 1 || !is_write, "a write ran twice");
        }
        self.outcome
    }
}

const fn index_of(server: Server) -> usize {
    match server {
        Server::Primary => 0,
        Server::Replica => 1,
    }
}

impl Client {
    fn new(capabilities: Capabilities) -> Self {
        Self {
            capabilities,
            primary_capabilities: capabilities,
            tracker: ReplyTracker::new(capabilities),
            expected: VecDeque::new(),
            started: false,
            seen: Vec::new(),
            received: Vec::new(),
            next: 0,
            prepared: Vec::new(),
            preparing: VecDeque::new(),
        }
    }

    /// The next command.
    fn say(&mut self, entropy: &mut Entropy<'_>) -> Vec<u8> {
        self.next += 1;
        let n = self.next;
        let text = match entropy.below(14) {
            0..4 => format!("SELECT 'r{n}'"),
            4 | 5 => format!("INSERT INTO t VALUES ('w{n}')"),
            6 => format!("SET @v{n} = {n}"),
            7 => "BEGIN".to_owned(),
            8 => "COMMIT".to_owned(),
            9 => "START TRANSACTION READ ONLY".to_owned(),
            10 => return self.prepare(format!("SELECT 'p{n}', ?")),
            11 => return self.execute(entropy),
            12 => return self.command(Command::Ping, b""),
            _ => match entropy.below(4) {
                0 => return self.command(Command::InitDb, b"shop"),
                1 => return self.command(Command::ResetConnection, b""),
                2 => return self.command(Command::Statistics, b""),
                _ => format!("SELECT 'long{n}{}'", "x".repeat(1500)),
            },
        };
        self.query(text)
    }

    fn query(&mut self, text: String) -> Vec<u8> {
        let attributes = self.capabilities.contains(Capabilities::QUERY_ATTRIBUTES);
        let none: &[u8] = if attributes { b"\x00\x01" } else { b"" };
        let arguments = [none, text.as_bytes()].concat();
        let echo = if text.starts_with("SELECT") {
            text
        } else {
            String::new()
        };
        self.expected.push_back((Reply::Results, echo.into_bytes()));
        let mut out = Vec::new();
        write_command(&mut out, Command::Query, &arguments);
        out
    }

    fn command(&mut self, command: Command, arguments: &[u8]) -> Vec<u8> {
        if command == Command::ResetConnection {
            self.prepared.clear();
        }
        self.expected.push_back((command.reply(), Vec::new()));
        let mut out = Vec::new();
        write_command(&mut out, command, arguments);
        out
    }

    fn prepare(&mut self, text: String) -> Vec<u8> {
        self.preparing.push_back(text.clone().into_bytes());
        self.expected.push_back((Reply::Prepared, Vec::new()));
        let mut out = Vec::new();
        write_command(&mut out, Command::StmtPrepare, text.as_bytes());
        out
    }

    /// Runs a statement that was prepared, with one parameter, or closes it.
    fn execute(&mut self, entropy: &mut Entropy<'_>) -> Vec<u8> {
        let Some((id, text)) = self.prepared.last().cloned() else {
            return self.command(Command::Ping, b"");
        };
        let mut out = Vec::new();
        if entropy.below(5) == 4 {
            self.prepared.pop();
            write_command(&mut out, Command::StmtClose, &id.to_le_bytes());
            return out;
        }
        let bound = entropy.below(2) == 0;
        let mut arguments = id.to_le_bytes().to_vec();
        arguments.extend(b"\x00\x01\0\0\0\x00");
        arguments.push(u8::from(bound));
        if bound {
            arguments.extend(b"\x08\x00");
            if self.capabilities.contains(Capabilities::QUERY_ATTRIBUTES) {
                arguments.push(0);
            }
        }
        arguments.extend(7_u64.to_le_bytes());
        self.expected.push_back((Reply::Execution, text));
        write_command(&mut out, Command::StmtExecute, &arguments);
        out
    }

    /// Takes bytes of replies; how many of them are complete.
    fn receive(&mut self, bytes: &[u8]) -> usize {
        self.received.extend_from_slice(bytes);
        let received = std::mem::take(&mut self.received);
        let mut rest = &received[..];
        let mut complete = 0;
        while !rest.is_empty() {
            let Some((reply, _)) = self.expected.front() else {
                panic!("an answer to nothing: {rest:?}");
            };
            if !self.started {
                self.tracker.start(*reply, 1);
                self.started = true;
            }
            let before = rest;
            let mut id = None;
            let mut failed = false;
            match self.tracker.feed(&mut rest) {
                Ok(Event::Error(_)) => failed = true,
                Ok(Event::Prepared(prepared)) => id = Some(prepared.statement_id),
                Ok(_) => {}
                Err(violation) => panic!("{violation}: {before:?}"),
            }
            let taken = before.len() - rest.len();
            self.seen.extend_from_slice(&before[..taken]);
            if let Some(id) = id {
                let text = self.preparing.front().cloned().unwrap_or_default();
                self.prepared.push((id, text));
            }
            if self.tracker.is_complete() {
                complete += 1;
                self.completed(failed);
            } else if taken == 0 {
                break;
            }
        }
        complete
    }

    fn completed(&mut self, failed: bool) {
        self.started = false;
        let seen = std::mem::take(&mut self.seen);
        let Some((reply, echo)) = self.expected.pop_front() else {
            return;
        };
        if reply == Reply::Prepared {
            self.preparing.pop_front();
        }
        let found = seen.windows(echo.len().max(1)).any(|part| part == echo);
        assert!(
            failed || echo.is_empty() || found,
            "the answer to another statement than {:?}",
            String::from_utf8_lossy(&echo)
        );
    }
}

impl FakeServer {
    fn new(role: Server, open: bool) -> Self {
        Self {
            role,
            open,
            inbox: Vec::new(),
            in_transaction: false,
            read_only: false,
            prepared: BTreeMap::new(),
            next_id: 1,
            ran: BTreeMap::new(),
        }
    }

    /// Takes commands and answers those that are complete.
    fn receive(&mut self, bytes: &[u8], capabilities: Capabilities) -> Vec<u8> {
        self.inbox.extend_from_slice(bytes);
        let mut answers = Vec::new();
        loop {
            let inbox = std::mem::take(&mut self.inbox);
            let (mut framer, mut rest) = (Framer::default(), &inbox[..]);
            let mut payload = Vec::new();
            let mut whole = false;
            while let Some(frame) = framer.next(&mut rest) {
                match frame {
                    Frame::Header { .. } => {}
                    Frame::Payload(piece) => payload.extend_from_slice(piece),
                    Frame::End => {
                        whole = true;
                        break;
                    }
                }
            }
            if !whole {
                self.inbox = inbox;
                return answers;
            }
            self.inbox = rest.to_vec();
            self.answer(&payload, capabilities, &mut answers);
        }
    }

    fn answer(&mut self, payload: &[u8], capabilities: Capabilities, out: &mut Vec<u8>) {
        let (command, arguments) = (Command::from_byte(payload[0]), &payload[1..]);
        match command {
            Command::Query => {
                let attributes = capabilities.contains(Capabilities::QUERY_ATTRIBUTES);
                let text = &arguments[if attributes { 2 } else { 0 }..];
                self.run(text, Format::Text, capabilities, out);
            }
            Command::StmtPrepare => {
                let id = self.next_id;
                self.next_id += 1;
                self.prepared.insert(id, arguments.to_vec());
                let columns = [Column::new("a", ColumnKind::Text { bytes_max: 9 })];
                self.writer(out, capabilities).prepared(id, 1, &columns);
            }
            Command::StmtExecute => {
                let id = u32::from_le_bytes(arguments[..4].try_into().expect("four bytes"));
                match self.prepared.get(&id).cloned() {
                    Some(text) => self.run(&text, Format::Binary, capabilities, out),
                    None => self.refuse(capabilities, out),
                }
            }
            Command::StmtClose => {
                let id = u32::from_le_bytes(arguments[..4].try_into().expect("four bytes"));
                self.prepared.remove(&id);
            }
            Command::ResetConnection => {
                self.in_transaction = false;
                self.prepared.clear();
                self.writer(out, capabilities).ok(0);
            }
            Command::Statistics => self.writer(out, capabilities).string(b"Uptime: 1"),
            Command::Quit => {}
            _ => self.writer(out, capabilities).ok(0),
        }
    }

    fn refuse(&self, capabilities: Capabilities, out: &mut Vec<u8>) {
        self.writer(out, capabilities).error(&ErrPacket {
            code: 1243,
            sqlstate: *b"HY000",
            message: b"Unknown prepared statement handler",
        });
    }

    fn run(&mut self, text: &[u8], format: Format, capabilities: Capabilities, out: &mut Vec<u8>) {
        *self.ran.entry(text.to_vec()).or_default() += 1;
        match text {
            b"BEGIN" => self.in_transaction = true,
            b"START TRANSACTION READ ONLY" => {
                self.in_transaction = true;
                self.read_only = true;
            }
            b"COMMIT" => {
                self.in_transaction = false;
                self.read_only = false;
            }
            _ => {}
        }
        let refuses = self.role == Server::Replica || self.read_only;
        if text.starts_with(b"INSERT") && refuses {
            assert!(
                self.read_only,
                "a write reached a replica outside a read-only transaction"
            );
            self.ran.remove(text);
            return self.refuse(capabilities, out);
        }
        if !text.starts_with(b"SELECT") {
            return self.writer(out, capabilities).ok(1);
        }
        let columns = [Column::new("a", ColumnKind::Text { bytes_max: 9 })];
        let rows = [vec![Value::text(text)]];
        self.writer(out, capabilities)
            .result_set(&columns, &rows, format);
    }

    fn writer<'b>(&self, out: &'b mut Vec<u8>, capabilities: Capabilities) -> ReplyWriter<'b> {
        let mut status = Status::AUTOCOMMIT;
        if self.in_transaction {
            status = status.with(Status::IN_TRANSACTION);
        }
        ReplyWriter::new(out, 0, capabilities, status)
    }
}
