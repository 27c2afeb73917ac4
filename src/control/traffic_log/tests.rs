//! The writer with real files, pipes and records.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use super::*;
use crate::config::{LogFormat, LogTarget};
use crate::telemetry::{Phase, Reason, Who};
use crate::worker::Snapshot;

fn shared() -> Arc<Shared> {
    let snapshot = Snapshot {
        generation: 1,
        listeners: Vec::new(),
        coalesce: true,
        access_log: true,
        statement_log: None,
    };
    Arc::new(Shared::new(snapshot, 1, 10).unwrap())
}

fn record(tries: u8) -> SessionRecord {
    SessionRecord {
        accepted_at: SystemTime::now(),
        listener: "web".into(),
        client: None,
        server: None,
        bytes_sent: [0, 0],
        bytes_received: [0, 0],
        connect_us: None,
        duration_us: 1,
        tries,
        who: Who::Client,
        phase: Phase::Connect,
        reason: Reason::Finished,
        generation: 1,
        tls: None,
    }
}

fn file(path: &Path) -> AccessLog {
    AccessLog {
        target: LogTarget::File(path.to_owned()),
        format: LogFormat::Text,
    }
}

fn start(shared: &Arc<Shared>, path: &Path) -> LogWriter<SessionRecord> {
    let log = OpenedLog::access(Some(&file(path))).unwrap();
    LogWriter::start(Arc::clone(shared), log).unwrap()
}

fn push(shared: &Shared, sessions: usize) {
    for tries in 0..sessions {
        assert!(shared.records.push(record(tries as u8)));
    }
    shared.records.flush();
}

fn lines(path: &Path) -> usize {
    fs::read_to_string(path).unwrap_or_default().lines().count()
}

fn until(is: impl Fn() -> bool) {
    let started = Instant::now();
    while !is() {
        assert!(
            started.elapsed() < Duration::from_secs(10),
            "it does not come to pass"
        );
        std::thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn every_session_is_a_line_and_the_last_ones_are_written_at_the_end() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("access.log");
    let shared = shared();
    let writer = start(&shared, &path);
    let counters = writer.counters();
    push(&shared, 1000);
    until(|| lines(&path) == 1000);
    push(&shared, 10);
    writer.finish();
    assert_eq!(lines(&path), 1010);
    assert_eq!((counters.lines.get(), counters.dropped.get()), (1010, 0));
}

#[test]
fn a_rotated_file_is_opened_anew_and_a_bad_one_changes_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let [path, rotated] = ["access.log", "access.log.1"].map(|name| directory.path().join(name));
    let shared = shared();
    let writer = start(&shared, &path);
    push(&shared, 1);
    until(|| lines(&path) == 1);
    fs::rename(&path, &rotated).unwrap();
    let missing = directory.path().join("missing/access.log");
    let error = OpenedLog::access(Some(&file(&missing))).unwrap_err();
    assert!(error.to_string().contains("missing/access.log"), "{error}");
    push(&shared, 1);
    until(|| lines(&rotated) == 2);
    writer.install(OpenedLog::access(Some(&file(&path))).unwrap());
    push(&shared, 1);
    until(|| lines(&path) + lines(&rotated) == 3);
    writer.install(OpenedLog::access(None).unwrap());
    until(|| writer.orders.0.lock().unwrap().is_empty());
    std::thread::sleep(Duration::from_millis(20));
    push(&shared, 5);
    until(|| shared.records.pop().is_none());
    writer.finish();
    assert_eq!(lines(&path) + lines(&rotated), 3);
}

#[test]
fn a_full_disk_loses_lines_and_counts_them() {
    let shared = shared();
    let writer = start(&shared, &PathBuf::from("/dev/full"));
    let counters = writer.counters();
    push(&shared, 100);
    until(|| counters.dropped.get() == 100);
    push(&shared, 7);
    writer.finish();
    assert_eq!((counters.lines.get(), counters.dropped.get()), (0, 107));
}

#[test]
fn a_pipe_whose_reader_has_gone_loses_lines_and_a_stalled_one_does_not_hold_up_the_end() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("pipe");
    nix::unistd::mkfifo(&path, nix::sys::stat::Mode::from_bits_truncate(0o600)).unwrap();
    assert!(
        OpenedLog::access(Some(&file(&path))).is_err(),
        "nobody reads it"
    );

    let open_reader = || {
        use std::os::unix::fs::OpenOptionsExt;
        fs::OpenOptions::new()
            .read(true)
            .custom_flags(libc::O_NONBLOCK)
            .open(&path)
            .unwrap()
    };
    let reader = open_reader();
    let shared = shared();
    let writer = start(&shared, &path);
    let counters = writer.counters();
    push(&shared, 10);
    until(|| counters.lines.get() == 10);
    drop(reader);
    push(&shared, 5);
    until(|| counters.dropped.get() == 5);
    writer.finish();

    let _stalled = open_reader();
    let writer = start(&shared, &path);
    push(&shared, 2000);
    let started = Instant::now();
    writer.finish();
    assert!(started.elapsed() < LOG_FINISH * 2);
}
