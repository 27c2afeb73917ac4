//! Every message of a session, cut off at every byte: it ends where its header says, and whoever
//! reads it says so or takes it for less. Those of a login are cut off in `login_failures`.

use std::time::Duration;

use zeroize::Zeroizing;

use crate::config::ReadAfterWrite;
use crate::mysql::Server;
use crate::mysql::capabilities::Capabilities;
use crate::mysql::command::{Command, Reply};
use crate::mysql::fuzzing::{Followed, established, follow};
use crate::mysql::handshake::AuthSwitch;
use crate::mysql::login::{Action, ClientTls, Failure, Login, Peer, Rules};
use crate::mysql::packet::{ErrPacket, write_command, write_packet};
use crate::mysql::splitter::{Order, Settings, Splitter};

const OK: &[u8] = b"\0\0\0\x02\0\0\0";
const EOF: &[u8] = b"\xfe\0\0\x02\0";
const ERR: &[u8] = b"\xff\x15\x04#28000Access denied";
const COLUMN: &[u8] = b"\x03def\x04shop\x01t\x01t\x01a\x01a\x0c\x2d\0\xff\0\0\0\xfd\0\0\0\0\0";
const PREPARED: &[u8] = b"\0\x07\0\0\0\x01\0\x01\0\0\0\0";
const TRACKED: &[u8] = b"\0\0\0\x02\x40\0\0\0\x07\0\x05\x04\x03abc";

const SPOKEN: Capabilities = Capabilities::PROTOCOL_41;

/// A session with its own connections to a primary and a replica.
fn session(capabilities: Capabilities) -> Splitter {
    let settings = Settings {
        classify_bytes_max: 1024,
        read_after_write: ReadAfterWrite::Off,
        gtid_wait: Duration::ZERO,
        local_infile: true,
        calls_pin: false,
        text_bytes_max: 64,
    };
    let established = established(capabilities, false, false);
    Splitter::new(settings, Box::new(established))
}

/// What becomes of a packet that arrives in pieces of so many bytes: what reaches the primary and
/// the replica, and the `COM_CHANGE_USER` that is to be gone through.
fn said(
    splitter: &mut Splitter,
    packet: &[u8],
    piece: usize,
) -> ([Vec<u8>; 2], Option<Zeroizing<Vec<u8>>>) {
    let (mut heard, mut change) = ([const { Vec::new() }; 2], None);
    let mut send = |to: Peer, bytes: &[u8]| match to {
        Peer::Client => {}
        Peer::Primary => heard[0].extend_from_slice(bytes),
        Peer::Replica => heard[1].extend_from_slice(bytes),
    };
    let mut rest = packet.to_vec();
    let mut given = 0;
    while !rest.is_empty() {
        given = rest.len().min(given + piece);
        let mut orders = Vec::new();
        let taken = splitter.client(&mut rest[..given], 1, &mut orders);
        if let Some(to) = taken.to {
            send(to, &rest[..taken.passed]);
        }
        for order in orders {
            match order {
                Order::Send(to, bytes) => send(to, &bytes),
                Order::ChangeUser(payload) => change = payload.ok(),
                _ => {}
            }
        }
        rest.drain(..taken.bytes());
        assert!(taken.bytes() > 0 || given < packet.len(), "it is not taken");
        given -= taken.bytes();
    }
    (heard, change)
}

#[test]
fn every_truncation_of_every_command_reaches_a_server_as_it_is_or_nobody() {
    const EXECUTION: &[u8] = b"\x07\0\0\0\0\x01\0\0\0\0\x01\xfd\0\x05words";
    let commands: [(Command, &[u8]); 14] = [
        (Command::Query, b"SELECT 'a'"),
        (Command::Query, b"\x01\x01\0\x01\xfd\0\x01n\x01vSELECT 1"),
        (Command::Query, b"LOAD DATA LOCAL INFILE 'x' INTO TABLE t"),
        (Command::InitDb, b"shop"),
        (Command::FieldList, b"t\0a%"),
        (Command::ProcessKill, b"\x07\0\0\0"),
        (Command::StmtPrepare, b"SELECT ?"),
        (Command::StmtExecute, EXECUTION),
        (Command::StmtSendLongData, b"\x07\0\0\0\0\0words"),
        (Command::StmtFetch, b"\x07\0\0\0\x01\0\0\0"),
        (Command::StmtReset, b"\x07\0\0\0"),
        (Command::StmtClose, b"\x07\0\0\0"),
        (Command::SetOption, b"\0\0"),
        (Command::BinlogDump, b"\x04\0\0\0\0\0\x63\0\0\0bin.01"),
    ];
    for capabilities in [SPOKEN, SPOKEN | Capabilities::QUERY_ATTRIBUTES] {
        for (command, whole) in commands {
            for cut in 0..=whole.len() {
                let mut packet = Vec::new();
                write_command(&mut packet, command, &whole[..cut]);
                let at_once = said(&mut prepared(capabilities), &packet, packet.len());
                let by_bytes = said(&mut prepared(capabilities), &packet, 1);
                assert_eq!(at_once, by_bytes, "{command:?} {:?}", &whole[..cut]);
                for heard in at_once.0 {
                    let is_prepared_there =
                        heard.len() > 4 && heard[4] == Command::StmtPrepare.byte();
                    assert!(
                        heard.is_empty() || heard == packet || is_prepared_there,
                        "{command:?} {:?} became {heard:?}",
                        &whole[..cut]
                    );
                }
            }
        }
    }
}

/// A session that has prepared statement 7.
fn prepared(capabilities: Capabilities) -> Splitter {
    let mut splitter = session(capabilities);
    let mut packet = Vec::new();
    write_command(&mut packet, Command::StmtPrepare, b"SELECT ?");
    said(&mut splitter, &packet, packet.len());
    let (mut reply, mut orders) = (Vec::new(), Vec::new());
    for (number, payload) in (1..).zip([PREPARED, COLUMN, EOF, COLUMN, EOF]) {
        write_packet(&mut reply, number, payload);
    }
    splitter.server(Server::Primary, &mut reply, 1, &mut orders);
    assert!(!splitter.is_busy());
    splitter
}

#[test]
fn every_truncation_of_another_users_login_is_refused_or_goes_to_the_servers() {
    let whole = b"\x11app\0\x14xxxxxxxxxxxxxxxxxxxxshop\0\x2d\0mysql_native_password\0";
    let capabilities = SPOKEN | Capabilities::PLUGIN_AUTH;
    for cut in 1..=whole.len() {
        let mut packet = Vec::new();
        write_packet(&mut packet, 0, &whole[..cut]);
        let (heard, change) = said(&mut session(capabilities), &packet, 1);
        assert!(heard.concat().is_empty());
        let session = established(capabilities, false, false);
        let mut actions = Vec::new();
        let payload = change.expect("it is a login");
        assert_eq!(payload[..], whole[..cut]);
        let rules = Rules::default().into();
        let login = Login::change_user(
            rules,
            "10.0.0.9",
            ClientTls::Off,
            &session,
            Ok(payload),
            &mut actions,
        );
        let refused = actions
            .iter()
            .any(|action| matches!(action, Action::Fail(Failure::ClientProtocol(_))));
        assert_eq!(
            refused,
            cut < b"\x11app\0\x14xxxxxxxxxxxxxxxxxxxx".len(),
            "{cut}"
        );
        assert!(refused || !login.is_finished());
    }
}

#[test]
fn every_truncation_of_every_reply_is_found_out_or_less_than_it_was() {
    let replies: [(Reply, &[&[u8]]); 10] = [
        (Reply::Status, &[OK]),
        (Reply::Status, &[ERR]),
        (Reply::Results, &[TRACKED]),
        (Reply::Results, &[b"\x01", COLUMN, EOF, b"\x01a", EOF]),
        (Reply::Results, &[b"\xfbnumbers", OK]),
        (
            Reply::Execution,
            &[b"\xfc\x01\0", COLUMN, EOF, b"\0\0\x01a", EOF],
        ),
        (Reply::Prepared, &[PREPARED, COLUMN, EOF, COLUMN, EOF]),
        (Reply::Fields, &[COLUMN, EOF]),
        (Reply::Rows, &[b"\0\0\x01a", EOF]),
        (
            Reply::Authentication,
            &[b"\xfemysql_native_password\0abcdefghijklmnopqrst\0", OK],
        ),
    ];
    for capabilities in [SPOKEN, SPOKEN | Capabilities::SESSION_TRACK] {
        for (expected, payloads) in replies {
            for at in 0..payloads.len() {
                for cut in 0..payloads[at].len() {
                    let mut bytes = Vec::new();
                    for (index, payload) in payloads.iter().enumerate() {
                        let cut = if index == at { cut } else { payload.len() };
                        write_packet(&mut bytes, index as u8 + 1, &payload[..cut]);
                    }
                    let follow = |cuts| follow(capabilities, expected, &bytes, cuts, false);
                    let whole: Followed = follow(&[usize::MAX]);
                    assert_eq!(follow(&[1]), whole, "{expected:?} {at} {cut}");
                    // Nothing may be taken that is not there.
                    assert!(whole.taken <= bytes.len());
                }
            }
        }
    }
}

#[test]
fn every_truncation_of_an_error_and_of_a_switch_is_refused_or_says_less() {
    for cut in 0..ERR.len() {
        match ErrPacket::parse(&ERR[..cut]) {
            Ok(error) => assert!(error.code == 1045 && error.message.len() < 13, "{error:?}"),
            Err(_) => assert!(cut < 3, "{cut}"),
        }
    }
    let switch = b"\xfemysql_native_password\0abcdefghijklmnopqrst\0";
    for cut in 0..=switch.len() {
        let parsed = AuthSwitch::parse(&switch[..cut]);
        let known = parsed.ok().and_then(|switch| switch.known());
        assert_eq!(known.is_some(), cut == switch.len(), "{cut}");
    }
}
