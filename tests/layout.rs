//! The direction of imports and where `unsafe` may stand, held by a test: what a room must never
//! know, it must not import.

use std::fs;
use std::path::{Path, PathBuf};

/// Sans-IO: bytes and time in, actions out.
const PURE: &[&str] = &["balance", "config", "mysql", "telemetry"];

/// What those must never name.
const FORBIDDEN_TO_PURE: &[&str] = &[
    "crate::worker",
    "crate::control",
    "crate::sys",
    "io_uring",
    "tokio",
    "hyper",
    "std::net::Tcp",
    "std::thread",
    "std::time::Instant",
    "SystemTime::now",
];

/// What the data plane must never name: it knows nothing of the control plane.
const FORBIDDEN_TO_WORKER: &[&str] = &["crate::control", "crate::cli", "tokio", "hyper", "tracing"];

#[test]
fn pure_modules_know_no_socket_no_clock_and_no_ring() {
    for module in PURE {
        forbid(&Path::new("src").join(module), FORBIDDEN_TO_PURE);
    }
}

#[test]
fn the_worker_does_not_know_the_control_plane() {
    forbid(Path::new("src/worker"), FORBIDDEN_TO_WORKER);
}

#[test]
fn unsafe_stands_only_where_it_may() {
    for file in rust_files(Path::new("src")) {
        let text = fs::read_to_string(&file).unwrap();
        let allowed = file.starts_with("src/worker") || file == Path::new("src/sys.rs");
        let unsafe_block = code_lines(&text).any(|line| line.contains("unsafe {"));
        assert!(allowed || !unsafe_block, "{}: unsafe code", file.display());
    }
}

#[test]
fn files_and_lines_stay_within_reading_distance() {
    for file in rust_files(Path::new("src")) {
        let text = fs::read_to_string(&file).unwrap();
        let lines = text.lines().count();
        assert!(
            lines <= 900,
            "{} has {lines} lines; is it still one thing?",
            file.display()
        );
        for (number, line) in text.lines().enumerate() {
            let width = line.chars().count();
            assert!(
                width <= 120,
                "{}:{}: {width} columns",
                file.display(),
                number + 1
            );
        }
    }
}

#[test]
fn nothing_is_left_for_later() {
    let marks = [
        "TO".to_owned() + "DO",
        "FIX".to_owned() + "ME",
        "#[ign".to_owned() + "ore",
    ];
    for root in ["src", "tests", "bench/src", "fuzz/fuzz_targets"] {
        for file in rust_files(Path::new(root)) {
            let text = fs::read_to_string(&file).unwrap();
            for mark in &marks {
                assert!(!text.contains(mark.as_str()), "{}: {mark}", file.display());
            }
        }
    }
}

fn forbid(directory: &Path, names: &[&str]) {
    let files = rust_files(directory);
    assert!(
        !files.is_empty(),
        "{} is gone; does this test still hold it?",
        directory.display()
    );
    for file in files {
        let text = fs::read_to_string(&file).unwrap();
        for (number, line) in code_lines(&text).enumerate() {
            for name in names {
                let found = line.contains(name);
                assert!(
                    !found,
                    "{}:{}: {name} has no place here",
                    file.display(),
                    number + 1
                );
            }
        }
    }
}

/// Lines up to the tests at a file's end, comments blanked: examples and tests may name anything.
fn code_lines(text: &str) -> impl Iterator<Item = &str> {
    text.lines()
        .take_while(|line| !line.starts_with("#[cfg(test)]"))
        .map(|line| {
            if line.trim_start().starts_with("//") {
                ""
            } else {
                line
            }
        })
}

fn rust_files(directory: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    let Ok(entries) = fs::read_dir(directory) else {
        return files;
    };
    for entry in entries {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(rust_files(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    files
}
