//! Replies of a real server: MariaDB 10.11, asked by a script with four sets of capabilities. Each
//! line of the file is a name, the capabilities, the command's packet, and what came back; where
//! the client had to send something in between, in two parts.

use crate::mysql::capabilities::Capabilities;
use crate::mysql::command::{Command, Reply};
use crate::mysql::packet::Status;
use crate::mysql::reply::{Event, ReplyTracker};
use crate::mysql::track::SessionTrack;

const CAPTURES: &str = include_str!("mariadb-10.11.txt");

struct Capture {
    name: &'static str,
    agreed: Capabilities,
    command: Command,
    parts: Vec<Vec<u8>>,
}

fn captures() -> impl Iterator<Item = Capture> {
    CAPTURES.lines().map(|line| {
        let mut words = line.split(' ');
        let name = words.next().unwrap();
        let flags = u64::from_str_radix(words.next().unwrap(), 16).unwrap();
        let command = bytes(words.next().unwrap());
        Capture {
            name,
            agreed: Capabilities::new(flags as u32, (flags >> 32) as u32),
            command: Command::from_byte(command[0]),
            parts: words.map(bytes).collect(),
        }
    })
}

fn capture(name: &str) -> Capture {
    captures().find(|capture| capture.name == name).unwrap()
}

fn bytes(hex: &str) -> Vec<u8> {
    let digits = if hex == "-" { "" } else { hex };
    let pairs = digits.as_bytes().chunks(2);
    pairs
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
        .collect()
}

/// Follows a capture in pieces of `size`; what happened, in short.
fn follow(capture: &Capture, size: usize) -> (ReplyTracker, Vec<String>) {
    let mut tracker = ReplyTracker::new(capture.agreed);
    tracker.start(capture.command.reply(), 1);
    tracker.offer_files(1);
    let mut events = Vec::new();
    for (part, bytes) in capture.parts.iter().enumerate() {
        if part > 0 {
            let first = bytes[3];
            match tracker.waits_for_file() {
                true => tracker.resume_after_file(first),
                false => tracker.expect_sequence(first),
            }
        }
        for mut piece in bytes.chunks(size) {
            while !piece.is_empty() {
                assert!(!tracker.is_complete(), "{} goes on", capture.name);
                match tracker.feed(&mut piece).unwrap() {
                    Event::More => {}
                    Event::Columns(count) => events.push(format!("{count} columns")),
                    Event::Result { ok, last, .. } => {
                        let changes = SessionTrack::new(ok.track).count();
                        let end = if last { "last" } else { "result" };
                        events.push(format!("{end} +{changes}"));
                    }
                    Event::Error(error) => events.push(format!("error {}", error.code)),
                    Event::Prepared(p) => {
                        events.push(format!("prepared {}/{}", p.parameters, p.columns));
                    }
                    Event::WantsFile(name) => {
                        events.push(format!("wants {}", String::from_utf8_lossy(name)));
                    }
                    Event::Authentication(packet) => {
                        events.push(format!("authentication {:#x}", packet[0]));
                    }
                    Event::Complete => events.push("complete".to_owned()),
                }
            }
        }
    }
    (tracker, events)
}

#[test]
fn every_reply_of_the_server_ends_where_it_ends() {
    let mut followed = 0;
    for capture in captures() {
        let (tracker, whole) = follow(&capture, usize::MAX);
        assert!(tracker.is_complete(), "{}: {whole:?}", capture.name);
        for size in [1, 2, 3, 5, 7] {
            let (tracker, pieces) = follow(&capture, size);
            assert!(tracker.is_complete(), "{}", capture.name);
            assert_eq!(pieces, whole, "{} in pieces of {size}", capture.name);
        }
        followed += 1;
    }
    assert!(followed > 200, "an empty file proves nothing");
}

#[test]
fn no_reply_of_the_server_ends_before_it_ends() {
    for capture in captures().filter(|capture| capture.parts.len() == 1) {
        let bytes = &capture.parts[0];
        for len in 0..bytes.len() {
            let cut = Capture {
                name: capture.name,
                agreed: capture.agreed,
                command: capture.command,
                parts: vec![bytes[..len].to_vec()],
            };
            let (tracker, events) = follow(&cut, usize::MAX);
            assert!(
                !tracker.is_complete(),
                "{} at {len}: {events:?}",
                capture.name
            );
        }
    }
}

#[test]
fn what_happened_is_told() {
    let expected: &[(&str, &[&str])] = &[
        ("eof-one-row", &["1 columns", "last +0"]),
        ("ok-use", &["last +1"]),
        ("ok-autocommit-off", &["last +1"]),
        ("ok-error", &["error 1054"]),
        (
            "eof-multi",
            &[
                "1 columns",
                "result +0",
                "result +0",
                "2 columns",
                "last +0",
            ],
        ),
        ("ok-multi-error", &["1 columns", "result +0", "error 1054"]),
        (
            "mariadb-call",
            &[
                "1 columns",
                "result +0",
                "2 columns",
                "result +0",
                "last +0",
            ],
        ),
        ("eof-prepare", &["prepared 1/2", "complete"]),
        ("ok-prepare-do", &["prepared 0/0"]),
        ("ok-prepare-without-result", &["prepared 2/0", "complete"]),
        ("eof-execute-with-cursor", &["2 columns", "last +0"]),
        ("mariadb-execute-with-cursor", &["2 columns", "last +0"]),
        ("cached-eof-execute-again", &["2 columns", "last +0"]),
        ("eof-load-local", &["wants f.csv", "last +0"]),
        ("mariadb-load-local-empty", &["wants f.csv", "last +0"]),
        ("eof-change-user", &["authentication 0xfe", "last +0"]),
        ("eof-statistics", &["complete"]),
        ("eof-long-data", &[]),
        ("ok-field-list", &["last +0"]),
    ];
    for (name, expected) in expected {
        let (_, events) = follow(&capture(name), 4);
        assert_eq!(events, *expected, "{name}");
    }
}

#[test]
fn status_flags_follow_transactions() {
    let status = |name: &str| follow(&capture(name), usize::MAX).0.status();
    let begun = Status::IN_TRANSACTION.0 | Status::IN_READ_ONLY_TRANSACTION.0;
    assert!(status("eof-begin").contains(Status(begun)));
    assert!(!status("eof-commit").contains(Status::IN_TRANSACTION));
    assert!(!status("ok-autocommit-off").contains(Status::AUTOCOMMIT));
    assert!(status("ok-autocommit-on").contains(Status::AUTOCOMMIT));
    assert!(status("eof-execute-with-cursor").contains(Status::CURSOR_EXISTS));
    assert!(status("ok-fetch-the-rest").contains(Status::LAST_ROW_SENT));
}

#[test]
fn the_gtid_of_a_write_is_told() {
    let capture = capture("ok-gtid");
    let mut tracker = ReplyTracker::new(capture.agreed);
    tracker.start(Reply::Results, 1);
    let Ok(Event::Result { ok, .. }) = tracker.feed(&mut &capture.parts[0][..]) else {
        panic!("a write answers with OK");
    };
    let gtid = SessionTrack::new(ok.track).find_map(|change| change.gtids());
    assert!(gtid.unwrap().starts_with(b"0-1-"));
}
