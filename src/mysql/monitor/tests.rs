//! Whole looks, in which the test plays the server.

use std::time::Duration;

use super::*;
use crate::mysql::framer::Framer;
use crate::mysql::packet::{Status, write_packet};
use crate::mysql::result::{Column, ColumnKind, Format, ReplyWriter, Value};
use crate::mysql::tests::samples::{GREETING_MARIADB, GREETING_MYSQL};

const LOGGED_IN: &[u8] = b"\0\0\0\x02\0\0\0";

/// A monitor and what it has asked last.
struct Scene {
    monitor: Monitor,
    asked: String,
}

impl Scene {
    fn new() -> Self {
        Self {
            monitor: Monitor::new("watcher", Arc::new(Password::new("secret")), false),
            asked: String::new(),
        }
    }

    /// A server that greets like this and lets the account in.
    fn logged_in(greeting: &[u8]) -> Self {
        let mut scene = Self::new();
        scene.says(0, greeting);
        scene.says(2, LOGGED_IN);
        scene
    }

    fn hears(&mut self, bytes: &[u8]) -> LookProgress {
        let mut out = Vec::new();
        let mut last = LookProgress::Waiting;
        for mut byte in bytes.chunks(1) {
            last = self.monitor.feed(&mut byte, &mut out);
            if matches!(last, LookProgress::Failed(_)) {
                break;
            }
        }
        self.note(&out);
        last
    }

    fn note(&mut self, out: &[u8]) {
        let mut out = out;
        if let Some((_, payload)) = Framer::default().whole(&mut out) {
            self.asked = String::from_utf8_lossy(payload).into_owned();
        }
    }

    fn says(&mut self, sequence: u8, payload: &[u8]) -> LookProgress {
        let mut bytes = Vec::new();
        write_packet(&mut bytes, sequence, payload);
        self.hears(&bytes)
    }

    fn answers(&mut self, columns: &[&str], rows: &[&[&str]]) -> LookProgress {
        let mut bytes = Vec::new();
        let kind = ColumnKind::Text { bytes_max: 64 };
        let columns: Vec<_> = columns
            .iter()
            .map(|&name| Column::new(name, kind))
            .collect();
        let row = |row: &&[&str]| row.iter().map(|&value| Value::text(value)).collect();
        let rows: Vec<_> = rows.iter().map(row).collect();
        let mut reply = ReplyWriter::new(&mut bytes, 0, Capabilities::NONE, Status::AUTOCOMMIT);
        reply.result_set(&columns, &rows, Format::Text);
        self.hears(&bytes)
    }
}

#[track_caller]
fn seen(progress: LookProgress) -> Seen {
    match progress {
        LookProgress::Seen(seen) => seen,
        other => panic!("{other:?}"),
    }
}

#[track_caller]
fn failed(progress: LookProgress) -> String {
    match progress {
        LookProgress::Failed(error) => error.to_string(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_mariadb_replica_is_asked_in_its_own_words() {
    let mut scene = Scene::logged_in(GREETING_MARIADB);
    assert_eq!(
        scene.asked,
        "\x03SELECT @@global.read_only AS r, @@global.server_id AS i"
    );
    scene.answers(&["r", "i"], &[&["1", "2"]]);
    assert_eq!(scene.asked, "\x03SHOW ALL SLAVES STATUS");
    let columns = [
        "Slave_IO_Running",
        "Slave_SQL_Running",
        "Seconds_Behind_Master",
        "Master_Server_Id",
    ];
    let seen = seen(scene.answers(&columns, &[&["Yes", "Yes", "4", "1"]]));
    assert!(!seen.is_writable);
    assert_eq!(seen.replication.lag(), Some(Duration::from_secs(4)));
    assert_eq!(descent_behind("1", None, &seen), Some(Descent::Primary));
    assert_eq!(descent_behind("3", None, &seen), Some(Descent::Outside));
}

/// Where the data of this server comes from, if the primary calls itself so.
fn descent_behind(server_id: &str, uuid: Option<&str>, replica: &Seen) -> Option<Descent> {
    let identity = Identity::of(Some(server_id), uuid);
    let primary = Place::of(identity, &Answer::Rows(Vec::new()), |_| None);
    let relative = |is_primary, place| Relative { is_primary, place };
    let pool = [
        relative(true, primary.as_ref()),
        relative(false, replica.place.as_ref()),
    ];
    descent(&pool, 1)
}

#[test]
fn a_mysql_replica_is_known_by_the_uuid_of_its_source() {
    let [own, source] = ["6b2a-2", "6b2a-1"];
    let mut scene = Scene::logged_in(GREETING_MYSQL);
    assert!(
        scene.asked.ends_with("@@global.server_uuid AS u"),
        "{}",
        scene.asked
    );
    scene.answers(&["r", "s", "i", "u"], &[&["1", "1", "2", own]]);
    let columns = ["Replica_IO_Running", "Source_Server_Id", "Source_UUID"];
    let seen = seen(scene.answers(&columns, &[&["Yes", "1", source]]));
    assert!(!seen.is_writable);
    assert_eq!(
        descent_behind("1", Some(source), &seen),
        Some(Descent::Primary)
    );
    assert_eq!(
        descent_behind("1", Some("another"), &seen),
        Some(Descent::Outside)
    );
}

#[test]
fn a_mysql_primary_is_asked_in_its_own_words_again_and_again() {
    let mut scene = Scene::logged_in(GREETING_MYSQL);
    for _ in 0..2 {
        assert!(
            scene.asked.contains("@@global.super_read_only"),
            "{}",
            scene.asked
        );
        scene.answers(&["r", "s"], &[&["0", "0"]]);
        assert_eq!(scene.asked, "\x03SHOW REPLICA STATUS");
        let seen = seen(scene.answers(&["Replica_IO_Running"], &[]));
        assert!(seen.is_writable);
        assert_eq!(seen.replication, Replication::None);
        let mut out = Vec::new();
        scene.monitor.look_again(&mut out);
        scene.note(&out);
    }
}

#[test]
fn a_server_is_read_only_by_either_variable_however_it_spells_that() {
    for (flags, expected) in [
        (["0", "0"], true),
        (["OFF", "0"], true),
        (["1", "0"], false),
        (["0", "1"], false),
        (["NO_LOCK", "0"], false),
    ] {
        let mut scene = Scene::logged_in(GREETING_MYSQL);
        scene.answers(&["r", "s"], &[&flags]);
        assert_eq!(
            seen(scene.answers(&["x"], &[])).is_writable,
            expected,
            "{flags:?}"
        );
    }
}

#[test]
fn what_a_replica_is_called_depends_on_the_version() {
    for (version, expected) in [
        ("8.0.21", "SHOW SLAVE STATUS"),
        ("5.7.44-log", "SHOW SLAVE STATUS"),
        ("8.0.22", "SHOW REPLICA STATUS"),
        ("8.0.36-28-Percona", "SHOW REPLICA STATUS"),
        ("9.7.0", "SHOW REPLICA STATUS"),
        ("5.5.5-10.6.12-MariaDB-log", "SHOW ALL SLAVES STATUS"),
    ] {
        let mut greeting = Greeting::parse(GREETING_MYSQL).unwrap();
        greeting.version = version.as_bytes().to_vec();
        let (statement, _) = Flavour::of(&greeting).words(Question::Replication);
        assert_eq!(statement, expected, "{version}");
    }
}

#[test]
fn an_account_that_may_not_see_the_replication_still_sees_read_only() {
    let mut scene = Scene::logged_in(GREETING_MARIADB);
    scene.answers(&["r"], &[&["1"]]);
    let seen = seen(scene.says(1, b"\xff\xcb\x04#42000Access denied"));
    assert_eq!(
        seen.replication,
        Replication::Untold(1227, "Access denied".to_owned())
    );
}

#[test]
fn a_login_that_is_refused_is_told_in_the_servers_words() {
    let mut scene = Scene::new();
    scene.says(0, GREETING_MARIADB);
    let error = failed(scene.says(2, b"\xff\x15\x04#28000Access denied for user 'watcher'"));
    assert!(
        error.ends_with("1045 Access denied for user 'watcher'"),
        "{error}"
    );
    assert!(scene.monitor.is_over());
    assert!(scene.monitor.goodbye().is_empty(), "it never was logged in");
}

#[test]
fn answers_that_no_server_gives_end_the_connection() {
    let mut empty = Scene::logged_in(GREETING_MARIADB);
    failed(empty.answers(&["r"], &[]));
    assert!(empty.monitor.is_over());
    let mut refused = Scene::logged_in(GREETING_MARIADB);
    let error = failed(refused.says(1, b"\xff\xff\x03#HY000no"));
    assert_eq!(error, "the server does not tell read_only: 1023 no");
    let mut talkative = Scene::logged_in(GREETING_MARIADB);
    talkative.answers(&["r"], &[&["0"]]);
    seen(talkative.answers(&["x"], &[]));
    failed(talkative.says(0, LOGGED_IN));
    assert!(talkative.monitor.is_over());
    assert_eq!(talkative.monitor.goodbye(), b"\x01\0\0\0\x01");
}
