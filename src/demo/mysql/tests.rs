//! The demo's servers as a client sees them, without sockets.

use proptest::prelude::*;

use super::server::{Role, Server};
use super::session::{Progress, Session};
use crate::mysql::auth::Scramble;
use crate::mysql::capabilities::Capabilities;
use crate::mysql::command::Command;
use crate::mysql::cursor::Cursor;
use crate::mysql::framer::Framer;
use crate::mysql::handshake::{AuthSwitch, Greeting, Response};
use crate::mysql::packet::{ErrPacket, OkPacket, Status, write_command, write_packet};

const AUTOCOMMIT: Status = Status::AUTOCOMMIT;
const IN_TRANSACTION: Status = Status::IN_TRANSACTION;

/// What an answer is made of.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Answer {
    Ok { affected_rows: u64, status: Status },
    Error(u16, String),
    Rows { rows: Vec<String>, status: Status },
}

/// A client that has logged in, and its server.
struct Client {
    server: Server,
    session: Session,
    capabilities: Capabilities,
}

impl Client {
    fn of(role: Role) -> Self {
        Self::with(role, Capabilities::DEPRECATE_EOF)
    }

    fn with(role: Role, wanted: Capabilities) -> Self {
        let mut server = Server::new("db-test", 7, 3306, role);
        let (session, greeting) = connect(&mut server);
        let mut response = response(b"demo", b"");
        response.capabilities = response.capabilities | wanted;
        let mut client = Self {
            server,
            session,
            capabilities: response.capabilities.and(greeting.capabilities),
        };
        let (progress, packets) = client.send(&written(&response));
        assert_eq!(progress, Progress::Waits);
        let ok = OkPacket::parse(&packets[0], client.capabilities).unwrap();
        assert_eq!(ok.status, AUTOCOMMIT);
        client
    }

    /// Sends packets and reads those of the answer.
    fn send(&mut self, mut bytes: &[u8]) -> (Progress, Vec<Vec<u8>>) {
        let mut out = Vec::new();
        let mut progress = Progress::Steps;
        while progress == Progress::Steps {
            progress = self.session.step(&mut bytes, &mut self.server, &mut out);
        }
        (progress, packets(&out))
    }

    fn command(&mut self, command: Command, arguments: &[u8]) -> Vec<Vec<u8>> {
        let mut bytes = Vec::new();
        write_command(&mut bytes, command, arguments);
        self.send(&bytes).1
    }

    fn query(&mut self, sql: &str) -> Answer {
        let packets = self.command(Command::Query, sql.as_bytes());
        self.read(&packets)
    }

    /// The rows of a query, columns with a bar between.
    #[track_caller]
    fn rows(&mut self, sql: &str) -> Vec<String> {
        match self.query(sql) {
            Answer::Rows { rows, .. } => rows,
            other => panic!("{sql}: {other:?}"),
        }
    }

    /// The number of the error that a query ends in, and of nothing else.
    #[track_caller]
    fn error(&mut self, sql: &str) -> u16 {
        match self.query(sql) {
            Answer::Error(code, _) => code,
            other => panic!("{sql}: {other:?}"),
        }
    }

    #[track_caller]
    fn affected(&mut self, sql: &str) -> u64 {
        match self.query(sql) {
            Answer::Ok { affected_rows, .. } => affected_rows,
            other => panic!("{sql}: {other:?}"),
        }
    }

    /// The status flags behind a statement.
    #[track_caller]
    fn status(&mut self, sql: &str) -> Status {
        match self.query(sql) {
            Answer::Ok { status, .. } | Answer::Rows { status, .. } => status,
            other => panic!("{sql}: {other:?}"),
        }
    }

    fn read(&self, packets: &[Vec<u8>]) -> Answer {
        match packets[0][0] {
            0x00 => {
                let ok = OkPacket::parse(&packets[0], self.capabilities).unwrap();
                let (affected_rows, status) = (ok.affected_rows, ok.status);
                Answer::Ok {
                    affected_rows,
                    status,
                }
            }
            0xFF => {
                let error = ErrPacket::parse(&packets[0]).unwrap();
                let message = String::from_utf8_lossy(error.message).into_owned();
                Answer::Error(error.code, message)
            }
            columns => {
                let has_eof = !self.capabilities.contains(Capabilities::DEPRECATE_EOF);
                let before = 1 + usize::from(columns) + usize::from(has_eof);
                let (last, rows) = packets[before..].split_last().unwrap();
                let ok = OkPacket::parse(last, self.capabilities).unwrap();
                Answer::Rows {
                    rows: rows.iter().map(|row| text_row(row)).collect(),
                    status: ok.status,
                }
            }
        }
    }

    /// Prepares a statement; its number.
    fn prepare(&mut self, sql: &str) -> u32 {
        let packets = self.command(Command::StmtPrepare, sql.as_bytes());
        let mut cursor = Cursor::new(&packets[0]);
        assert_eq!(cursor.u8("status"), Ok(0), "{packets:?}");
        cursor.u32("statement_id").unwrap()
    }

    /// Executes it with strings.
    fn execute(&mut self, id: u32, parameters: &[&str]) -> Vec<Vec<u8>> {
        let mut arguments = id.to_le_bytes().to_vec();
        arguments.extend_from_slice(&[0, 1, 0, 0, 0]);
        if !parameters.is_empty() {
            arguments.extend(vec![0; parameters.len().div_ceil(8)]);
            arguments.push(1);
            for _ in parameters {
                arguments.extend_from_slice(&[0xFD, 0]);
            }
        }
        for parameter in parameters {
            arguments.push(parameter.len() as u8);
            arguments.extend_from_slice(parameter.as_bytes());
        }
        self.command(Command::StmtExecute, &arguments)
    }
}

fn connect(server: &mut Server) -> (Session, Greeting) {
    let mut out = Vec::new();
    let scramble = Scramble::from_random(*b"A1b2C3d4E5f6G7h8I9j0");
    let session = Session::new(server.add_thread(), scramble, &mut out);
    (session, Greeting::parse(&packets(&out)[0]).unwrap())
}

/// Logs in as somebody; the first byte of the answer and the last.
fn log_in(response: &Response, further: &[u8]) -> (u8, Progress, Vec<u8>) {
    let mut server = Server::new("db-test", 7, 3306, Role::Primary);
    let (mut session, _) = connect(&mut server);
    let mut bytes = written(response);
    bytes.extend_from_slice(further);
    let (mut input, mut out) = (&bytes[..], Vec::new());
    let mut progress = Progress::Steps;
    while progress == Progress::Steps {
        progress = session.step(&mut input, &mut server, &mut out);
    }
    let packets = packets(&out);
    (packets[0][0], progress, packets.last().unwrap().clone())
}

fn response(user: &[u8], token: &[u8]) -> Response {
    Response {
        capabilities: Capabilities::MYSQL
            | Capabilities::PROTOCOL_41
            | Capabilities::SECURE_CONNECTION
            | Capabilities::PLUGIN_AUTH,
        packet_bytes_max: 1 << 24,
        charset: 45,
        user: user.to_vec(),
        token: token.to_vec(),
        database: None,
        plugin: Some(b"mysql_native_password".to_vec()),
        attributes: None,
        zstd_level: None,
    }
}

fn written(response: &Response) -> Vec<u8> {
    let mut bytes = Vec::new();
    let plugin = response.plugin.as_deref();
    response.write(
        &mut bytes,
        1,
        response.capabilities,
        plugin,
        &response.token,
    );
    bytes
}

fn packets(mut bytes: &[u8]) -> Vec<Vec<u8>> {
    let mut framer = Framer::default();
    let mut packets = Vec::new();
    while let Some((_, payload)) = framer.whole(&mut bytes) {
        packets.push(payload.to_vec());
    }
    assert!(bytes.is_empty());
    packets
}

fn text_row(row: &[u8]) -> String {
    let mut cursor = Cursor::new(row);
    let mut values = Vec::new();
    while let Some(first) = cursor.peek() {
        values.push(match first {
            0xFB => {
                cursor.u8("NULL").unwrap();
                "NULL".to_owned()
            }
            _ => {
                let text = cursor.lenenc_bytes("value").unwrap();
                String::from_utf8(text.to_vec()).unwrap()
            }
        });
    }
    values.join("|")
}

#[test]
fn a_server_names_itself() {
    let mut client = Client::of(Role::Primary);
    let asked = "SELECT @@server_id, @@hostname, @@global.port, DATABASE(), 1, -2, 'x', NULL";
    assert_eq!(client.rows(asked), ["7|db-test|3306|demo|1|-2|x|NULL"]);
    assert_eq!(client.rows("select @@version_comment limit 1").len(), 1);
    assert_eq!(client.rows("SELECT 1 LIMIT 0").len(), 0);
    assert_eq!(client.rows("SELECT @@session.read_only AS ro;"), ["0"]);
    let mut replica = Client::of(Role::Replica);
    assert_eq!(replica.rows("SELECT @@read_only"), ["1"]);
    assert_eq!(client.error("SELECT @@nothing"), 1193);
}

#[test]
fn rows_are_written_and_read() {
    for eof in [Capabilities::DEPRECATE_EOF, Capabilities::NONE] {
        let mut client = Client::with(Role::Primary, eof);
        let sql = "INSERT INTO kv (v, k) VALUES ('it''s', 'b'), ('\\'\\n', \"c\")";
        assert_eq!(client.affected(sql), 2);
        assert_eq!(client.affected("REPLACE kv VALUES ('a', 1)"), 1);
        assert_eq!(client.affected("REPLACE INTO demo.kv VALUES ('a', 2)"), 2);
        assert_eq!(
            client.rows("SELECT * FROM kv ORDER BY k DESC LIMIT 2"),
            ["c|'\n", "b|it's"]
        );
        let one = "SELECT v, @@hostname FROM `kv` WHERE kv.k = 'a' FOR UPDATE";
        assert_eq!(client.rows(one), ["2|db-test"]);
        assert_eq!(client.affected("UPDATE kv SET v = 'new' WHERE k = 'a'"), 1);
        assert_eq!(client.affected("UPDATE kv SET v = 'new' WHERE k = 'a'"), 0);
        assert_eq!(client.affected("DELETE FROM kv WHERE k = 'b'"), 1);
        assert_eq!(client.affected("DELETE FROM kv WHERE k = NULL"), 0);
        assert_eq!(client.rows("SELECT COUNT(*) AS n, 'x' FROM kv"), ["2|x"]);
        assert_eq!(client.affected("DELETE FROM kv"), 2);
        assert!(client.rows("SELECT k FROM kv").is_empty());
    }
}

#[test]
fn an_update_is_answered_with_the_rows_it_found_where_the_client_wants_that() {
    let mut client = Client::with(Role::Primary, Capabilities::FOUND_ROWS);
    client.affected("INSERT INTO kv VALUES ('a', 'same')");
    assert_eq!(client.affected("UPDATE kv SET v = 'same'"), 1);
}

#[test]
fn a_statement_that_fails_changes_nothing() {
    let mut client = Client::of(Role::Primary);
    client.affected("INSERT INTO kv VALUES ('a', '1')");
    assert_eq!(
        client.error("INSERT INTO kv VALUES ('b', '2'), ('a', '3')"),
        1062
    );
    assert_eq!(client.rows("SELECT * FROM kv"), ["a|1"]);
    assert_eq!(client.error("INSERT INTO kv VALUES (NULL, 'x')"), 1048);
    assert_eq!(
        client.rows("SHOW WARNINGS"),
        ["Error|1048|Column 'k' cannot be null"]
    );
    assert_eq!(client.rows("SELECT @@error_count"), ["1"]);
    client.rows("SELECT * FROM kv");
    assert!(client.rows("SHOW WARNINGS").is_empty());
}

#[test]
fn status_flags_follow_transactions_and_autocommit() {
    let read_only = IN_TRANSACTION.with(Status::IN_READ_ONLY_TRANSACTION);
    let mut client = Client::of(Role::Primary);
    for (sql, status) in [
        ("BEGIN", AUTOCOMMIT.with(IN_TRANSACTION)),
        ("SELECT 1", AUTOCOMMIT.with(IN_TRANSACTION)),
        ("COMMIT", AUTOCOMMIT),
        (
            "START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY",
            AUTOCOMMIT.with(read_only),
        ),
        ("SELECT * FROM kv", AUTOCOMMIT.with(read_only)),
        ("ROLLBACK WORK", AUTOCOMMIT),
        ("SET NAMES utf8mb4, autocommit = 0", Status::default()),
        ("SELECT 1", Status::default()),
        ("SELECT * FROM kv", IN_TRANSACTION),
        ("COMMIT", Status::default()),
        ("INSERT INTO kv VALUES ('a', '1')", IN_TRANSACTION),
        ("SET @@session.autocommit = ON", AUTOCOMMIT),
    ] {
        assert_eq!(client.status(sql), status, "{sql}");
    }
    assert_eq!(client.rows("SELECT v FROM kv"), ["1"], "it was committed");
}

#[test]
fn a_transaction_is_seen_by_others_and_followed_once_it_is_committed() {
    let mut client = Client::of(Role::Primary);
    client.status("BEGIN");
    client.affected("INSERT INTO kv VALUES ('a', '1')");
    client.affected("INSERT INTO kv VALUES ('b', '2')");
    assert_eq!(client.rows("SELECT COUNT(*) FROM kv"), ["2"]);
    assert_eq!(client.server.table().len(), 0);
    client.status("ROLLBACK");
    assert_eq!(client.rows("SELECT COUNT(*) FROM kv"), ["0"]);
    client.status("START TRANSACTION");
    client.affected("INSERT INTO kv VALUES ('c', '3')");
    assert!(client.server.take_committed().is_empty());
    client.status("BEGIN");
    assert_eq!(client.server.table().len(), 1, "BEGIN commits what is open");
    let committed = client.server.take_committed();
    assert_eq!(committed.len(), 1);

    let mut replica = Client::of(Role::Replica);
    replica.server.follow(&committed[0]);
    assert_eq!(replica.rows("SELECT * FROM kv"), ["c|3"]);
}

#[test]
fn what_must_not_write_is_refused() {
    let mut replica = Client::of(Role::Replica);
    for sql in [
        "INSERT INTO kv VALUES ('a', '1')",
        "REPLACE INTO kv VALUES ('a', '1')",
        "UPDATE kv SET v = '1'",
        "DELETE FROM kv",
    ] {
        assert_eq!(replica.error(sql), 1290);
    }
    let mut primary = Client::of(Role::Primary);
    primary.status("START TRANSACTION READ ONLY");
    assert_eq!(primary.error("DELETE FROM kv"), 1792);
}

#[test]
fn what_is_not_understood_is_answered_with_what_is() {
    let mut client = Client::of(Role::Primary);
    for (sql, code, told) in [
        (
            "CREATE TABLE t (a INT)",
            1235,
            "support 'CREATE': the demo's servers understand",
        ),
        (
            "SELEKT 1",
            1064,
            "near 'SELEKT 1': the demo's servers understand",
        ),
        ("SELECT 1; SELECT 2", 1064, "near 'SELECT 2'"),
        ("SELECT SLEEP(1)", 1064, "near 'SLEEP(1)'"),
        ("SELECT * FROM kv WHERE v = 'x'", 1064, "near '= 'x''"),
        ("SELECT 'open", 1064, "near ''open'"),
        ("SELECT ?", 1064, "near '?'"),
        (
            "INSERT INTO kv (k, k) VALUES (1, 2)",
            1064,
            "near 'VALUES (1, 2)'",
        ),
        (" -- nothing", 1065, "empty"),
        ("SELECT * FROM other", 1146, "there is only 'demo.kv'"),
        ("SELECT * FROM other.kv", 1049, "there is only 'demo'"),
        ("SELECT name FROM kv", 1054, "kv has k and v"),
        ("SELECT k", 1054, "column 'k'"),
        ("SELECT k, COUNT(*) FROM kv", 1140, "COUNT(*)"),
        ("USE mysql", 1049, "Unknown database 'mysql'"),
        ("SET NAMES latin1", 1115, "utf8mb4"),
        ("SET autocommit = 2", 1231, "autocommit"),
        ("SET sql_mode = ''", 1193, "sql_mode"),
        ("KILL 99", 1094, "99"),
    ] {
        match client.query(sql) {
            Answer::Error(found, message) => {
                assert_eq!(found, code, "{sql}: {message}");
                assert!(message.contains(told), "{sql}: {message}");
            }
            other => panic!("{sql}: {other:?}"),
        }
    }
    let packets = client.command(Command::Debug, b"");
    assert!(matches!(client.read(&packets), Answer::Error(1047, _)));
    assert_eq!(client.status("SELECT 1"), AUTOCOMMIT, "it goes on");
}

#[test]
fn what_clients_send_when_they_connect_is_answered() {
    let mut client = Client::of(Role::Primary);
    assert_eq!(
        client.status("SET NAMES 'utf8mb4' COLLATE 'utf8mb4_general_ci'"),
        AUTOCOMMIT
    );
    assert_eq!(
        client.status("SET CHARACTER SET utf8, character_set_results = NULL"),
        AUTOCOMMIT
    );
    assert_eq!(client.status("USE `demo`"), AUTOCOMMIT);
    assert_eq!(client.rows("show databases"), ["demo"]);
    assert_eq!(client.rows("SHOW FULL TABLES"), ["kv"]);
    for (command, arguments) in [(Command::Ping, &b""[..]), (Command::InitDb, b"demo")] {
        let packets = client.command(command, arguments);
        assert!(matches!(client.read(&packets), Answer::Ok { .. }));
    }
    assert_eq!(client.command(Command::FieldList, b"kv\0").len(), 3);
    let told = client.command(Command::Statistics, b"");
    assert!(told[0].starts_with(b"db-test  Threads: 1"));
}

#[test]
fn a_reset_connection_is_a_new_one() {
    let mut client = Client::of(Role::Primary);
    let id = client.prepare("SELECT 1");
    client.status("SET autocommit = 0");
    client.affected("INSERT INTO kv VALUES ('a', '1')");
    let packets = client.command(Command::ResetConnection, b"");
    let reset = client.read(&packets);
    let affected_rows = 0;
    let status = AUTOCOMMIT;
    assert_eq!(
        reset,
        Answer::Ok {
            affected_rows,
            status
        }
    );
    assert!(client.rows("SELECT * FROM kv").is_empty());
    let packets = client.execute(id, &[]);
    assert!(matches!(client.read(&packets), Answer::Error(1243, _)));
}

#[test]
fn prepared_statements_take_parameters_and_return_binary_rows() {
    let mut client = Client::of(Role::Primary);
    let insert = client.prepare("INSERT INTO kv VALUES (?, ?)");
    for (key, value) in [("a", "one"), ("b", "two")] {
        let packets = client.execute(insert, &[key, value]);
        assert!(matches!(
            client.read(&packets),
            Answer::Ok {
                affected_rows: 1,
                ..
            }
        ));
    }
    let id = client.prepare("SELECT v, 5 FROM kv WHERE k = ?");
    let packets = client.execute(id, &["a"]);
    assert_eq!(packets[0], [2]);
    assert_eq!(packets[3], b"\0\0\x03one\x05\0\0\0\0\0\0\0");
    let packets = client.execute(id, &["c"]);
    assert_eq!(packets.len(), 4, "no row");
    client.command(Command::StmtClose, &id.to_le_bytes());
    let packets = client.execute(id, &["a"]);
    assert!(matches!(client.read(&packets), Answer::Error(1243, _)));
    let packets = client.command(Command::StmtPrepare, b"COMMIT");
    assert!(matches!(client.read(&packets), Answer::Error(1295, _)));
    let packets = client.command(Command::StmtFetch, &[1, 0, 0, 0, 1, 0, 0, 0]);
    assert!(matches!(client.read(&packets), Answer::Error(1421, _)));
}

#[test]
fn kill_reaches_other_connections_and_ones_own() {
    let mut client = Client::of(Role::Primary);
    let other = client.server.add_thread();
    assert_eq!(client.status(&format!("KILL {other}")), AUTOCOMMIT);
    assert_eq!(client.server.take_killed(), [other]);
    assert_eq!(client.status(&format!("KILL QUERY {other}")), AUTOCOMMIT);
    assert!(client.server.take_killed().is_empty());
    client.command(Command::ProcessKill, &other.to_le_bytes());
    assert_eq!(client.server.take_killed(), [other]);
    client.server.remove_thread(other);
    assert_eq!(client.error(&format!("KILL {other}")), 1094);

    let own = client.rows("SELECT CONNECTION_ID()").remove(0);
    assert_eq!(client.error(&format!("KILL QUERY {own}")), 1317);
    let mut bytes = Vec::new();
    write_command(&mut bytes, Command::Query, format!("KILL {own}").as_bytes());
    let (progress, packets) = client.send(&bytes);
    assert_eq!(progress, Progress::Ends);
    assert!(matches!(client.read(&packets), Answer::Error(1317, _)));
}

#[test]
fn the_user_demo_logs_in_without_a_password_by_whatever_plugin() {
    for (plugin, token) in [
        (Some("mysql_native_password"), &b""[..]),
        (Some("caching_sha2_password"), b""),
        (Some("caching_sha2_password"), b"\0"),
        (None, b""),
    ] {
        let mut response = response(b"demo", token);
        response.plugin = plugin.map(|name| name.as_bytes().to_vec());
        if plugin.is_none() {
            response.capabilities = response.capabilities.without(Capabilities::PLUGIN_AUTH);
        }
        assert_eq!(log_in(&response, b"").0, 0, "{plugin:?}");
    }
    let mut unknown = response(b"demo", b"something");
    unknown.plugin = Some(b"client_ed25519".to_vec());
    let mut empty = Vec::new();
    write_packet(&mut empty, 3, b"");
    let (first, progress, last) = log_in(&unknown, &empty);
    assert_eq!((first, progress, last[0]), (0xFE, Progress::Waits, 0));
}

#[test]
fn nobody_else_logs_in() {
    let mut elsewhere = response(b"demo", b"");
    elsewhere.capabilities = elsewhere.capabilities | Capabilities::CONNECT_WITH_DB;
    elsewhere.database = Some(b"mysql".to_vec());
    for (response, code) in [
        (response(b"root", b""), 1045),
        (response(b"demo", &[7; 20]), 1045),
        (elsewhere, 1049),
    ] {
        let (_, progress, last) = log_in(&response, b"");
        assert_eq!(progress, Progress::Ends);
        assert_eq!(ErrPacket::parse(&last).unwrap().code, code);
    }
    let mut switched = response(b"demo", b"something");
    switched.plugin = Some(b"client_ed25519".to_vec());
    let mut signature = Vec::new();
    write_packet(&mut signature, 3, &[7; 20]);
    let (_, progress, last) = log_in(&switched, &signature);
    assert_eq!(progress, Progress::Ends);
    let refused = ErrPacket::parse(&last).unwrap();
    assert_eq!((refused.code, &refused.sqlstate), (1045, b"28000"));
    assert!(AuthSwitch::parse(&last).is_err());
}

#[test]
fn bytes_that_come_one_at_a_time_are_answered_the_same() {
    let mut client = Client::of(Role::Primary);
    let mut bytes = Vec::new();
    for sql in [
        "INSERT INTO kv VALUES ('a', '1')",
        "SELECT * FROM kv",
        "SELECT @@hostname",
    ] {
        write_command(&mut bytes, Command::Query, sql.as_bytes());
    }
    let mut whole = Client::of(Role::Primary);
    let expected = whole.send(&bytes).1;
    let pieces = bytes.chunks(1).flat_map(|byte| client.send(byte).1);
    assert_eq!(pieces.collect::<Vec<_>>(), expected);
    assert!(expected.len() > 8);
}

#[test]
fn a_packet_that_is_too_long_ends_the_connection() {
    let mut client = Client::of(Role::Primary);
    let (progress, packets) = client.send(&[1, 0, 1, 0]);
    assert_eq!(progress, Progress::Ends);
    assert!(matches!(client.read(&packets), Answer::Error(1153, _)));
}

/// Pieces of statements, in whatever order.
const PIECES: &str = "SELECT INSERT REPLACE UPDATE DELETE FROM INTO kv k v demo . , * ( ) = ? ; ' \
    'a' 'b' NULL - 7 VALUES SET WHERE ORDER BY DESC LIMIT FOR COUNT(*) @@hostname AS BEGIN COMMIT \
    ROLLBACK KILL SHOW WARNINGS autocommit NAMES utf8mb4";

proptest! {
    #[test]
    fn every_statement_is_answered_and_the_session_goes_on(
        pieces in proptest::collection::vec(0..PIECES.split(' ').count(), 0..12),
        bytes in proptest::collection::vec(any::<u8>(), 0..40),
    ) {
        let words: Vec<_> = PIECES.split(' ').collect();
        let sql: Vec<_> = pieces.into_iter().map(|piece| words[piece]).collect();
        let mut client = Client::of(Role::Primary);
        for text in [sql.join(" ").as_bytes(), &bytes] {
            for command in [Command::Query, Command::StmtPrepare] {
                prop_assert!(!client.command(command, text).is_empty());
            }
        }
        client.command(Command::StmtExecute, &bytes);
        client.command(Command::StmtSendLongData, &bytes);
        prop_assert_eq!(client.rows("SELECT @@hostname"), ["db-test"]);
    }
}
