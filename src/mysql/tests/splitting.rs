//! A logged-in session over two servers, whatever its client says and whatever happens to them.

use std::time::Duration;

use proptest::prelude::*;

use crate::config::ReadAfterWrite;
use crate::entropy::{corpus, noise};
use crate::limits::LOGIN_PACKET_BYTES_MAX;
use crate::mysql::capabilities::Capabilities;
use crate::mysql::command::Command;
use crate::mysql::fuzzing::{SplitOutcome, check_split, established};
use crate::mysql::login::Peer;
use crate::mysql::packet::{HEADER_BYTES, Header, write_command};
use crate::mysql::splitter::{Ending, Order, Settings, Splitter};
use crate::mysql::{Server, Target};
use crate::telemetry::RouteReason;

#[test]
fn each_command_has_its_own_answer_whatever_happens() {
    let mut all = SplitOutcome::default();
    for seed in 1..=1500 {
        let data = noise(seed, 40 + (seed as usize * 31) % 900);
        let result = std::panic::catch_unwind(|| check_split(&data));
        let outcome = result.unwrap_or_else(|_| panic!("seed {seed} breaks it"));
        all.ran[0] += outcome.ran[0];
        all.ran[1] += outcome.ran[1];
        all.answered += outcome.answered;
        all.replayed += outcome.replayed;
        all.cut_short += outcome.cut_short;
    }
    // A run in which nothing happened would prove nothing.
    assert!(all.ran[0] > 10_000 && all.ran[1] > 5_000, "{all:?}");
    assert!(all.answered > 20_000, "{all:?}");
    assert!(all.replayed >= 3 && all.cut_short > 50, "{all:?}");
}

fn settings(text_bytes_max: usize) -> Settings {
    Settings {
        classify_bytes_max: 1024,
        read_after_write: ReadAfterWrite::Off,
        gtid_wait: Duration::ZERO,
        local_infile: false,
        calls_pin: false,
        text_bytes_max,
    }
}

/// A session whose statements are kept for a log, with a primary that has just logged it in.
fn logged_session(text_bytes_max: usize) -> Splitter {
    session(settings(text_bytes_max))
}

fn session(settings: Settings) -> Splitter {
    let capabilities = Capabilities::PROTOCOL_41 | Capabilities::DEPRECATE_EOF;
    Splitter::new(settings, Box::new(established(capabilities, false, true)))
}

#[test]
fn the_schema_of_the_login_is_the_default_one_also_of_another_user() {
    let logged_in_to = |schema: &str| {
        let capabilities = Capabilities::PROTOCOL_41 | Capabilities::DEPRECATE_EOF;
        let mut established = established(capabilities, false, false);
        established.response.database = Some(schema.into());
        Box::new(established)
    };
    let read_by = |splitter: &mut Splitter| {
        let (mut orders, mut packet) = (Vec::new(), Vec::new());
        write_command(&mut packet, Command::Query, b"SELECT * FROM processlist");
        splitter.client(&mut packet, 1, &mut orders).to
    };
    let mut splitter = Splitter::new(settings(0), logged_in_to("Information_Schema"));
    assert_eq!(read_by(&mut splitter), Some(Peer::Primary));
    splitter.user_changed(logged_in_to("shop"));
    assert_eq!(read_by(&mut splitter), Some(Peer::Replica));
    splitter.user_changed(logged_in_to("sys"));
    assert_eq!(read_by(&mut splitter), Some(Peer::Primary));
}

#[test]
fn the_greeting_says_whose_functions_are_built_in() {
    for (version, to) in [
        ("8.4.0", Peer::Replica),
        ("5.5.5-10.11.6-MariaDB", Peer::Primary),
    ] {
        let capabilities = Capabilities::PROTOCOL_41 | Capabilities::DEPRECATE_EOF;
        let mut established = established(capabilities, false, false);
        established.version = version.into();
        let mut splitter = Splitter::new(settings(0), Box::new(established));
        let (mut orders, mut packet) = (Vec::new(), Vec::new());
        write_command(&mut packet, Command::Query, b"SELECT UUID_TO_BIN('x')");
        let taken = splitter.client(&mut packet, 1, &mut orders);
        assert_eq!(taken.to, Some(to), "{version}");
    }
}

/// Has the client say a `COM_CHANGE_USER` of so many bytes, in pieces: what is ordered, and how many
/// bytes it took to know that.
fn changes_user(classify_bytes_max: usize, len: u32, piece: usize) -> (Vec<Order>, usize) {
    let mut splitter = session(Settings {
        classify_bytes_max,
        ..settings(0)
    });
    let mut packet = Header { len, sequence: 3 }.to_bytes().to_vec();
    packet.push(Command::ChangeUser.byte());
    packet.resize(HEADER_BYTES + len as usize, b'x');
    let (mut orders, mut said) = (Vec::new(), 0);
    while orders.is_empty() && said < packet.len() {
        let until = packet.len().min(said.saturating_add(piece));
        let taken = splitter.client(&mut packet[said..until], 1, &mut orders);
        assert_eq!(taken.to, None, "it is for a login");
        said += taken.bytes();
    }
    (orders, said)
}

#[test]
fn another_login_is_gathered_whatever_is_read_of_statements_and_none_longer_than_a_login() {
    const MAX: u32 = LOGIN_PACKET_BYTES_MAX;
    for classify_bytes_max in [1024, 1 << 20] {
        for piece in [1, 700, usize::MAX] {
            for len in [1, 1023, 1024, 1025, 2000, MAX - 1, MAX] {
                let (orders, said) = changes_user(classify_bytes_max, len, piece);
                let [Order::ChangeUser(Ok(payload))] = &orders[..] else {
                    panic!("{len} bytes by {piece}: {orders:?}");
                };
                assert_eq!((payload[0], payload.len()), (0x11, len as usize));
                assert_eq!(said, HEADER_BYTES + len as usize);
            }
            for len in [MAX + 1, (1 << 20) + 1, 0xFF_FFFE, 0xFF_FFFF] {
                let (orders, said) = changes_user(classify_bytes_max, len, piece);
                let [Order::ChangeUser(Err(too_long))] = &orders[..] else {
                    panic!("{len} bytes by {piece}: {orders:?}");
                };
                assert_eq!(too_long.sequence, 3);
                assert!(said <= 1024 || piece > len as usize, "it waits for {said}");
            }
        }
    }
}

/// Has the client say this and the primary answer with this packet.
fn exchange(
    splitter: &mut Splitter,
    command: Command,
    arguments: &[u8],
    reply: &[u8],
) -> Vec<Order> {
    let (mut orders, mut packet) = (Vec::new(), Vec::new());
    write_command(&mut packet, command, arguments);
    splitter.client(&mut packet, 1, &mut orders);
    let mut reply = [&[reply.len() as u8, 0, 0, 1], reply].concat();
    splitter.server(Server::Primary, &mut reply, 2, &mut orders);
    orders
}

#[test]
fn a_log_gets_the_beginning_of_what_runs_and_of_an_execution_what_was_prepared() {
    const OK: &[u8] = &[0, 0, 0, 2, 0, 0, 0];
    const PREPARED: &[u8] = &[0, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    let execution = [7, 0, 0, 0, 0, 1, 0, 0, 0];
    let capabilities = Capabilities::PROTOCOL_41 | Capabilities::DEPRECATE_EOF;
    let with_replica = established(capabilities, false, false);
    let mut splitter = Splitter::new(settings(11), Box::new(with_replica));
    let delete = b"DELETE FROM t WHERE a = 5";
    exchange(&mut splitter, Command::StmtPrepare, delete, PREPARED);
    assert_eq!(splitter.text(), b"", "nothing has run");
    exchange(&mut splitter, Command::Query, b"COMMIT", OK);
    assert_eq!(splitter.text(), b"COMMIT");

    let orders = exchange(&mut splitter, Command::StmtExecute, &execution, OK);
    let done = orders.iter().find_map(|order| match order {
        Order::Done(finished) => Some((finished.target, finished.server, finished.failed)),
        _ => None,
    });
    assert_eq!(done, Some((Target::Primary, Some(Server::Primary), false)));
    assert_eq!(splitter.text(), b"DELETE FROM");
    exchange(&mut splitter, Command::ProcessKill, &[9, 0, 0, 0], OK);
    assert_eq!(splitter.text(), b"", "it has no text");

    splitter.keep_texts(0);
    exchange(&mut splitter, Command::Query, b"COMMIT", OK);
    assert_eq!(splitter.text(), b"", "nobody asks for it");
    splitter.keep_texts(3);
    exchange(&mut splitter, Command::Query, b"COMMIT", OK);
    assert_eq!(splitter.text(), b"COM");
}

/// What the primary says next.
fn primary_says(splitter: &mut Splitter, sequence: u8, payload: &[u8]) -> Vec<Order> {
    let mut orders = Vec::new();
    let mut packet = [&[payload.len() as u8, 0, 0, sequence], payload].concat();
    splitter.server(Server::Primary, &mut packet, 2, &mut orders);
    orders
}

const TOO_LONG: &[u8] = b"\xff\x81\x04#08S01Got a packet bigger than that";

#[test]
fn the_rest_of_a_statement_that_was_refused_goes_to_nobody_once_its_server_is_gone() {
    let mut splitter = logged_session(0);
    let mut orders = Vec::new();
    let mut statement = Vec::new();
    write_command(&mut statement, Command::Query, &[b'x'; 5000]);
    let (head, rest) = statement.split_at_mut(2000);
    let (middle, end) = rest.split_at_mut(2000);
    let taken = splitter.client(head, 1, &mut orders);
    let taken = taken.bytes()
        + splitter
            .client(&mut head[taken.bytes()..], 1, &mut orders)
            .bytes();
    assert_eq!(taken, 2000, "as far as it has come");
    primary_says(&mut splitter, 1, TOO_LONG);
    let passed = splitter.client(middle, 3, &mut orders);
    assert_eq!((passed.passed, passed.to), (2000, Some(Peer::Primary)));
    splitter.lost(Server::Primary, 4, &mut orders);
    let dropped = splitter.client(end, 5, &mut orders);
    assert_eq!((dropped.to, dropped.dropped), (None, end.len()));
    assert!(!splitter.is_busy(), "the next command can come");
}

#[test]
fn a_statement_that_is_too_long_to_be_read_pins_the_session_unless_its_verb_does_not() {
    const OK: &[u8] = &[0, 0, 0, 2, 0, 0, 0];
    const MORE_FOLLOW: &[u8] = &[0, 0, 0, 0xA, 0, 0, 0];
    const PINNED: Option<RouteReason> = Some(RouteReason::UnsharedState);
    let comment = "/* who asks for it, and why, in somewhat more than a few words */ ";
    for (verb, replies, pin) in [
        ("INSERT INTO t VALUES ('", &[OK][..], None),
        ("CREATE TEMPORARY TABLE t AS SELECT '", &[OK], PINNED),
        // Behind the first one there are others, whatever it is.
        ("INSERT INTO t VALUES ('", &[MORE_FOLLOW, OK], PINNED),
        ("INSERT INTO t VALUES ('", &[MORE_FOLLOW, TOO_LONG], PINNED),
        ("INSERT INTO t VALUES ('", &[TOO_LONG], None),
    ] {
        let statement = [comment, verb, &"x".repeat(2000), "')"].concat();
        let mut splitter = logged_session(0);
        let (mut orders, mut packet) = (Vec::new(), Vec::new());
        write_command(&mut packet, Command::Query, statement.as_bytes());
        let mut rest = &mut packet[..];
        while !rest.is_empty() {
            let taken = splitter.client(rest, 1, &mut orders).bytes();
            rest = &mut rest[taken..];
        }
        for (sequence, reply) in (1..).zip(replies) {
            primary_says(&mut splitter, sequence, reply);
        }
        assert!(!splitter.is_busy());
        assert_eq!(splitter.pin(), pin, "{verb} {replies:?}");
        // Several that were held have been read.
        let held = b"SELECT 1; SELECT 2";
        exchange(&mut splitter, Command::Query, held, MORE_FOLLOW);
        primary_says(&mut splitter, 2, OK);
        assert_eq!(splitter.pin(), pin);
    }
}

#[test]
fn a_file_that_was_refused_before_its_end_is_still_taken_to_its_end() {
    for is_lost in [false, true] {
        let mut settings = settings(0);
        settings.local_infile = true;
        let mut splitter = session(settings);
        let load = b"LOAD DATA LOCAL INFILE 'x' INTO TABLE t";
        exchange(&mut splitter, Command::Query, load, b"\xfbx");
        let mut orders = Vec::new();
        splitter.client(&mut b"\x03\0\0\x021\n2".to_owned(), 3, &mut orders);
        primary_says(&mut splitter, 3, TOO_LONG);
        if is_lost {
            splitter.lost(Server::Primary, 4, &mut orders);
            assert!(matches!(
                orders.last(),
                Some(Order::End(Ending::ServerLost(_)))
            ));
            continue;
        }
        let taken = splitter.client(&mut b"\0\0\0\x03".to_owned(), 5, &mut orders);
        assert_eq!((taken.passed, taken.to), (4, Some(Peer::Primary)));
        assert!(!splitter.is_busy());
        exchange(
            &mut splitter,
            Command::Query,
            b"COMMIT",
            b"\0\0\0\x02\0\0\0",
        );
        assert!(!splitter.is_busy());
    }
}

#[test]
fn the_corpus_of_the_fuzzer_still_holds() {
    for data in corpus("mysql_split") {
        check_split(&data);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]
    #[test]
    fn nothing_that_peers_do_breaks_a_session(data in prop::collection::vec(any::<u8>(), 0..600)) {
        check_split(&data);
    }
}
