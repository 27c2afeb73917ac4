//! What a session has set, prepared and written, as its servers are told of it: at once, or when
//! there is a replica again.

use std::time::Duration;

use crate::config::ReadAfterWrite;
use crate::limits::PREPARED_TYPES_BYTES_MAX;
use crate::mysql::capabilities::Capabilities;
use crate::mysql::command::Command;
use crate::mysql::fuzzing::{established, greeting};
use crate::mysql::login::Peer;
use crate::mysql::packet::{HEADER_BYTES, Status, write_command};
use crate::mysql::splitter::{Order, Settings, Splitter};
use crate::mysql::{Server, Target};
use crate::telemetry::RouteReason;

const OK: &[u8] = &[0, 0, 0, 2, 0, 0, 0];
/// `ER_DUP_ENTRY`, `ER_PARSE_ERROR`
const ERROR: &[u8] = b"\xff\x26\x04#23000no";
const NO_STATEMENT: &[u8] = b"\xff\x28\x04#42000no";

/// The OK packet behind the rows of a result.
const END: &[u8] = &[0xfe, 0, 0, 2, 0, 0, 0];

/// `ColumnDefinition41` of a parameter, and of a number.
const COLUMN: &[u8] = b"\x03def\0\0\0\x011\0\x0c\x3f\0\x01\0\0\0\x08\x81\0\0\0\0";
const PARAMETER: &[u8] = b"\x03def\0\0\0\x01?\0\x0c\x3f\0\0\0\0\0\xfd\x80\0\0\0\0";

/// A session whose servers do what they are told, and note it.
struct Session {
    splitter: Splitter,
    now_us: u64,
    /// What each was told: the command's byte and its text.
    told: Vec<(Server, Vec<u8>)>,
    /// The next statement of the client's fails.
    fails: bool,
    next_id: u32,
    /// Of the statements that are prepared.
    parameters: u8,
    /// What the primary calls the transactions of `INSERT`s.
    gtid: &'static str,
    /// The replica does not have what it is asked for.
    is_late: bool,
    last_target: Option<Target>,
}

impl Session {
    /// One whose replica is opened by ringway when it is needed.
    fn signed() -> Self {
        Self::of(true, ReadAfterWrite::Off)
    }

    /// One whose replica the client has signed for.
    fn relayed() -> Self {
        Self::of(false, ReadAfterWrite::Off)
    }

    fn of(opens_later: bool, read_after_write: ReadAfterWrite) -> Self {
        Self::speaking(capabilities(), opens_later, read_after_write)
    }

    fn speaking(
        capabilities: Capabilities,
        opens_later: bool,
        read_after_write: ReadAfterWrite,
    ) -> Self {
        let settings = Settings {
            classify_bytes_max: 64 << 10,
            read_after_write,
            gtid_wait: Duration::from_millis(100),
            local_infile: false,
            calls_pin: false,
            text_bytes_max: 0,
        };
        let tracks = read_after_write == ReadAfterWrite::Gtid;
        let established = established(capabilities, tracks, opens_later);
        Self {
            splitter: Splitter::new(settings, Box::new(established)),
            now_us: 1,
            told: Vec::new(),
            fails: false,
            next_id: 1,
            parameters: 0,
            gtid: "",
            is_late: false,
            last_target: None,
        }
    }

    fn query(&mut self, sql: &str) {
        self.run(Command::Query, sql.as_bytes());
    }

    fn prepare(&mut self, sql: &str) -> u32 {
        let id = self.next_id;
        self.run(Command::StmtPrepare, sql.as_bytes());
        id
    }

    fn execute(&mut self, id: u32) {
        let arguments = [&id.to_le_bytes()[..], &[0, 1, 0, 0, 0]].concat();
        self.run(Command::StmtExecute, &arguments);
    }

    fn run(&mut self, command: Command, arguments: &[u8]) {
        self.now_us += 1;
        let (mut orders, mut packet) = (Vec::new(), Vec::new());
        write_command(&mut packet, command, arguments);
        let mut at = 0;
        while at < packet.len() {
            let rest = &mut packet[at..];
            let taken = self.splitter.client(rest, self.now_us, &mut orders);
            assert!(taken.bytes() > 0, "nothing is on its way");
            let passed = rest[..taken.passed].to_vec();
            if let Some(peer) = taken.to {
                self.deliver(peer, &passed, &mut orders);
            }
            at += taken.bytes();
        }
        self.carry_out(orders);
        assert!(!self.splitter.is_busy(), "it is done");
        self.fails = false;
    }

    fn carry_out(&mut self, orders: Vec<Order>) {
        for order in orders {
            let mut more = Vec::new();
            match order {
                Order::Send(peer, packet) => self.deliver(peer, &packet, &mut more),
                Order::OpenReplica => {
                    let greeting = greeting(capabilities(), 2);
                    let status = Status::AUTOCOMMIT;
                    self.splitter
                        .replica_attached(&greeting, status, self.now_us, &mut more);
                }
                Order::Done(finished) => self.last_target = Some(finished.target),
                _ => {}
            }
            self.carry_out(more);
        }
    }

    fn deliver(&mut self, peer: Peer, packet: &[u8], orders: &mut Vec<Order>) {
        let server = match peer {
            Peer::Primary => Server::Primary,
            Peer::Replica => Server::Replica,
            Peer::Client => return,
        };
        let payload = &packet[HEADER_BYTES..];
        self.told.push((server, payload.to_vec()));
        let command = Command::from_byte(payload[0]);
        let reply = match command {
            Command::StmtPrepare if !self.fails => {
                let id = self.next_id.to_le_bytes();
                self.next_id += 1;
                [&[0][..], &id, &[0, 0, self.parameters, 0, 0, 0, 0]].concat()
            }
            Command::StmtClose => return,
            _ if self.fails && payload.ends_with(b"$$") => NO_STATEMENT.to_vec(),
            _ if self.fails => ERROR.to_vec(),
            _ if payload.starts_with(b"\x03INSERT") => written(self.gtid),
            _ if is_question(payload) => vec![1],
            _ => OK.to_vec(),
        };
        let rows: &[&[u8]] = if self.is_late { &[] } else { &[b"\x011"] };
        let mut says = |sequence, payload: &[u8]| {
            let mut packet = [&[payload.len() as u8, 0, 0, sequence], payload].concat();
            self.splitter
                .server(server, &mut packet, self.now_us, orders);
        };
        says(1, &reply);
        if command == Command::StmtPrepare {
            for parameter in 0..self.parameters {
                says(2 + parameter, PARAMETER);
            }
        } else if is_question(payload) {
            let result = [&[COLUMN], rows, &[END]].concat();
            for (sequence, packet) in (2..).zip(result) {
                says(sequence, packet);
            }
        }
    }

    fn lose_replica(&mut self) {
        let mut orders = Vec::new();
        self.splitter
            .lost(Server::Replica, self.now_us, &mut orders);
        self.carry_out(orders);
    }

    /// As much later as another replica takes to be tried.
    fn wait(&mut self) {
        self.now_us += crate::limits::REPLICA_RETRY_US;
    }

    /// The texts that the replica was told since this was asked last.
    fn replica_was_told(&mut self) -> Vec<String> {
        let told = std::mem::take(&mut self.told).into_iter();
        told.filter(|(server, _)| *server == Server::Replica)
            .map(|(_, payload)| String::from_utf8_lossy(&payload[1..]).into_owned())
            .collect()
    }

    #[track_caller]
    fn reads_at(&mut self, server: Server) {
        self.query("SELECT 1");
        let target = match server {
            Server::Primary => Target::Primary,
            Server::Replica => Target::Replica,
        };
        assert_eq!(self.last_target, Some(target));
    }
}

/// Whether it is ringway's own question after the session's writes.
fn is_question(payload: &[u8]) -> bool {
    payload.starts_with(b"\x03SELECT 1 FROM DUAL WHERE ")
}

/// The OK packet of a transaction with this name; without one, any.
fn written(gtid: &str) -> Vec<u8> {
    if gtid.is_empty() {
        return OK.to_vec();
    }
    let len = gtid.len() as u8;
    let track = [&[3, len + 2, 0, len], gtid.as_bytes()].concat();
    [&[0, 0, 0, 2, 0x40, 0, 0, 0, len + 4], &track[..]].concat()
}

fn capabilities() -> Capabilities {
    Capabilities::PROTOCOL_41 | Capabilities::DEPRECATE_EOF
}

#[test]
fn a_statement_runs_where_its_text_means_what_it_meant_when_it_was_prepared() {
    let changes: [(Command, &str); 5] = [
        (Command::InitDb, "b"),
        (Command::Query, "USE b"),
        (Command::Query, "SET NAMES latin1"),
        (Command::Query, "SET sql_mode = 'ANSI_QUOTES'"),
        (Command::Query, "SET @a = 1, collation_connection = 'x'"),
    ];
    for (command, change) in changes {
        let mut session = Session::relayed();
        let id = session.prepare("SELECT x FROM t");
        session.run(command, change.as_bytes());
        session.replica_was_told();
        session.execute(id);
        assert_eq!(session.last_target, Some(Target::Primary), "{change}");
        assert!(session.replica_was_told().is_empty(), "{change}");
        // What is prepared afterwards means what it means there, too.
        let id = session.prepare("SELECT x FROM t");
        session.execute(id);
        assert_eq!(session.last_target, Some(Target::Replica), "{change}");
    }
}

#[test]
fn what_changes_no_meaning_moves_no_prepared_statement() {
    let mut session = Session::relayed();
    let id = session.prepare("SELECT x FROM t");
    session.query("SET @a = 1");
    session.query("SET autocommit = 1");
    session.query("SET time_zone = '+07:00', SESSION wait_timeout = 9");
    session.query("SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED");
    session.run(Command::Ping, b"");
    session.execute(id);
    assert_eq!(session.last_target, Some(Target::Replica));
    // It has been prepared there, in the right state: what changes now changes nothing for it.
    session.query("USE b");
    session.execute(id);
    assert_eq!(session.last_target, Some(Target::Replica));
}

#[test]
fn what_is_set_while_there_is_no_replica_is_set_at_the_next_one() {
    let mut session = Session::signed();
    session.reads_at(Server::Replica);
    session.query("SET @first = 1");
    session.lose_replica();
    session.query("USE b");
    session.query("SET time_zone = '+07:00', @v = 5");
    let id = session.prepare("SET NAMES latin1");
    session.execute(id);
    session.fails = true;
    session.query("USE nowhere");
    session.wait();
    session.replica_was_told();
    session.reads_at(Server::Replica);
    let expected = [
        "SET @first = 1",
        "USE b",
        "SET time_zone = '+07:00', @v = 5",
        "SET NAMES latin1",
        "SELECT 1",
    ];
    assert_eq!(session.replica_was_told(), expected);
}

#[test]
fn a_replica_that_cannot_be_told_everything_is_not_opened() {
    let mut session = Session::signed();
    let long = format!("SET @x = '{}'", "x".repeat(40 << 10));
    session.query(&long);
    session.query(&long.replace('x', "y"));
    session.reads_at(Server::Primary);
    assert!(session.replica_was_told().is_empty());

    // An execution with parameters is no text that could be repeated.
    let mut session = Session::signed();
    session.reads_at(Server::Replica);
    session.parameters = 1;
    let id = session.prepare("SET time_zone = ?");
    session.execute(id);
    session.reads_at(Server::Replica);
    session.lose_replica();
    session.wait();
    session.reads_at(Server::Primary);
}

#[test]
fn a_kill_has_a_replica_opened_through_which_it_reaches_what_runs_there() {
    let mut session = Session::signed();
    session.query("INSERT INTO t VALUES (1)");
    assert!(
        !session.splitter.is_open(Server::Replica),
        "nobody needs it"
    );
    session.query("KILL QUERY 5");
    assert_eq!(session.last_target, Some(Target::Primary));
    assert!(session.splitter.is_open(Server::Replica));
    assert!(
        session.replica_was_told().is_empty(),
        "5 is an id of the primary's"
    );
    let mut orders = Vec::new();
    session.splitter.kill_at_replica(9, &mut orders);
    session.carry_out(orders);
    assert_eq!(session.replica_was_told(), ["KILL QUERY 9"]);
}

#[test]
fn a_kill_is_done_by_the_primary_if_no_replica_can_be_had() {
    let mut session = Session::signed();
    let (mut orders, mut packet) = (Vec::new(), Vec::new());
    write_command(&mut packet, Command::Query, b"KILL 5");
    let taken = session.splitter.client(&mut packet, 2, &mut orders);
    assert_eq!(taken.to, None, "it waits");
    assert!(matches!(orders[..], [Order::OpenReplica]), "{orders:?}");
    orders.clear();
    session.splitter.replica_unavailable(3, &mut orders);
    let [Order::Send(Peer::Primary, sent)] = &orders[..] else {
        panic!("{orders:?}");
    };
    assert_eq!(*sent, packet);
    orders.clear();
    let mut ok = [&[7, 0, 0, 1][..], OK].concat();
    session
        .splitter
        .server(Server::Primary, &mut ok, 4, &mut orders);
    let done = orders.iter().find_map(|order| match order {
        Order::Done(finished) => Some((finished.target, finished.reason)),
        _ => None,
    });
    assert_eq!(done, Some((Target::Primary, RouteReason::Kill)));
}

#[test]
fn a_reset_session_keeps_its_default_schema_and_what_that_shows() {
    let mut session = Session::signed();
    session.query("SET @a = 1");
    session.query("USE b");
    session.run(Command::ResetConnection, b"");
    session.reads_at(Server::Replica);
    assert_eq!(session.replica_was_told(), ["USE b", "SELECT 1"]);

    let mut session = Session::relayed();
    session.run(Command::InitDb, b"information_schema");
    session.run(Command::ResetConnection, b"");
    session.reads_at(Server::Primary);
}

#[test]
fn a_statement_that_is_only_prepared_does_nothing_to_the_session() {
    let mut session = Session::relayed();
    session.query("CREATE TEMPORARY TABLE tt (a INT)");
    session.prepare("DROP TEMPORARY TABLE tt");
    session.reads_at(Server::Primary);

    let mut session = Session::relayed();
    session.query("LOCK TABLES t READ");
    session.prepare("UNLOCK TABLES");
    session.reads_at(Server::Primary);

    let mut session = Session::relayed();
    let id = session.prepare("SET time_zone = '+07:00'");
    session.prepare("SET @a = 5");
    session.reads_at(Server::Replica);
    session.replica_was_told();
    session.execute(id);
    let told = session.replica_was_told();
    assert!(told.contains(&"SET time_zone = '+07:00'".to_owned()));
    session.reads_at(Server::Replica);
}

#[test]
fn what_stands_between_a_read_and_a_question_about_it_does_not_lead_elsewhere() {
    let mut session = Session::relayed();
    session.query("SELECT SQL_CALC_FOUND_ROWS a FROM t LIMIT 1");
    session.run(Command::Ping, b"");
    session.query("SET @z = 1");
    session.prepare("SELECT 2");
    session.replica_was_told();
    session.query("SELECT FOUND_ROWS()");
    assert_eq!(session.replica_was_told(), ["SELECT FOUND_ROWS()"]);
    session.query("INSERT INTO t VALUES (1)");
    session.query("SHOW WARNINGS");
    assert!(session.replica_was_told().is_empty());
}

#[test]
fn a_write_that_failed_may_have_written() {
    let second = ReadAfterWrite::For(Duration::from_secs(1));
    let mut session = Session::of(false, second);
    session.fails = true;
    session.query("INSERT INTO t VALUES (1), (2)");
    session.reads_at(Server::Primary);
    session.now_us += 1_000_000;
    session.reads_at(Server::Replica);
    session.fails = true;
    session.query("SELECT nonsense");
    session.reads_at(Server::Replica);
    session.fails = true;
    session.query("select $$");
    session.reads_at(Server::Replica);

    let mut session = Session::of(false, ReadAfterWrite::Gtid);
    session.fails = true;
    session.query("CALL p()");
    session.reads_at(Server::Primary);
}

#[test]
fn another_replica_is_asked_for_what_the_session_has_written() {
    let question = "SELECT 1 FROM DUAL WHERE WAIT_FOR_EXECUTED_GTID_SET('3e11:5', 0.100) = 0";
    let mut session = Session::of(true, ReadAfterWrite::Gtid);
    session.gtid = "3e11:5";
    session.query("INSERT INTO t VALUES (1)");
    session.reads_at(Server::Replica);
    assert_eq!(session.replica_was_told(), [question, "SELECT 1"]);
    session.reads_at(Server::Replica);
    assert_eq!(session.replica_was_told(), ["SELECT 1"], "it has said so");
    session.lose_replica();
    session.wait();
    session.is_late = true;
    session.reads_at(Server::Primary);
    session.is_late = false;
    session.reads_at(Server::Replica);
    assert_eq!(session.replica_was_told(), [question, question, "SELECT 1"]);
}

#[test]
fn an_execution_whose_types_are_too_much_to_be_kept_runs_on_the_primary() {
    const NAME_BYTES: u16 = 60_000;
    let capabilities = capabilities() | Capabilities::QUERY_ATTRIBUTES;
    let mut session = Session::speaking(capabilities, false, ReadAfterWrite::Off);
    session.parameters = 1;
    let long = [b'x'; NAME_BYTES as usize];
    let name = [&[0xFC][..], &NAME_BYTES.to_le_bytes(), &long].concat();
    let given = |name: &[u8]| [b"\0\x01\0\0\0\0\x01\xfd\0", name, b"\x01a"].concat();
    let before: &[u8] = b"\0\x01\0\0\0\0\0\x01a";
    let execute = |session: &mut Session, id: u32, rest: &[u8]| {
        session.run(Command::StmtExecute, &[&id.to_le_bytes(), rest].concat());
        session.last_target.expect("it has run")
    };
    let fit = PREPARED_TYPES_BYTES_MAX / usize::from(NAME_BYTES);
    let first = session.next_id;
    for _ in 0..fit {
        let id = session.prepare("SELECT ?");
        let target = execute(&mut session, id, &given(&name));
        assert_eq!(target, Target::Replica);
    }
    let id = session.prepare("SELECT ?");
    for (id, rest, target) in [
        (id, &given(&name)[..], Target::Primary),
        (id, before, Target::Primary),
        (first, before, Target::Replica),
        // With other types it can go there, too ...
        (id, &given(b"\0")[..], Target::Replica),
        (id, before, Target::Replica),
    ] {
        assert_eq!(execute(&mut session, id, rest), target);
    }
    // ... or when another statement needs no more room.
    session.run(Command::StmtClose, &first.to_le_bytes());
    let target = execute(&mut session, id, &given(&name));
    assert_eq!(target, Target::Replica);
}

#[test]
fn a_reset_ends_what_has_no_other_end_and_forgets_no_write_that_has_a_name() {
    let mut session = Session::of(false, ReadAfterWrite::Gtid);
    session.gtid = "3e11:5";
    session.query("INSERT INTO t VALUES (1)");
    session.fails = true;
    session.query("CALL p()");
    session.reads_at(Server::Primary);
    session.run(Command::ResetConnection, b"");
    session.is_late = true;
    session.reads_at(Server::Primary);
    session.is_late = false;
    session.reads_at(Server::Replica);

    let hour = ReadAfterWrite::For(Duration::from_secs(3600));
    let mut session = Session::of(false, hour);
    session.query("INSERT INTO t VALUES (1)");
    session.run(Command::ResetConnection, b"");
    session.reads_at(Server::Primary);
}
