//! The direction of imports and where `unsafe` may stand, held by a test: what a room must never
//! know, it must not import.

use std::fs;
use std::path::{Path, PathBuf};

/// Sans-IO: bytes and time in, actions out.
const PURE: &[&str] = &["balance", "config", "mysql", "telemetry", "tls"];

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
        let misplaced = misplaced(&text, names);
        assert!(
            misplaced.is_empty(),
            "{}: no place for {misplaced:?}, each with its line",
            file.display()
        );
    }
}

/// The lines that name what they must not, by itself or in the braces of an import.
fn misplaced<'a>(text: &str, names: &[&'a str]) -> Vec<(usize, &'a str)> {
    let lines: Vec<_> = code_lines(text).collect();
    let mut found = Vec::new();
    for (index, line) in lines.iter().enumerate() {
        let named = |name: &&&str| line.contains(**name);
        found.extend(names.iter().filter(named).map(|&name| (index + 1, name)));
        let item = line.trim_start().trim_start_matches("pub ");
        if item.starts_with("use ") || item.starts_with("pub(") && item.contains(") use ") {
            let rest = lines[index..].concat();
            let (_, import) = rest.split_once("use ").unwrap();
            let import = import.split(';').next().unwrap();
            let paths = imported(import);
            let named = |name: &&&str| {
                !line.contains(**name) && paths.iter().any(|path| path.contains(**name))
            };
            found.extend(names.iter().filter(named).map(|&name| (index + 1, name)));
        }
    }
    found
}

/// Every path of an import: `a::{b, c::{d, e}}` is `a::b`, `a::c::d` and `a::c::e`.
fn imported(import: &str) -> Vec<String> {
    let import: String = import.split_whitespace().collect();
    let Some((before, braced)) = import.split_once('{') else {
        return vec![import];
    };
    let inside = braced.strip_suffix('}').unwrap_or(braced);
    let (mut paths, mut depth, mut start) = (Vec::new(), 0, 0);
    for (at, c) in inside.char_indices().chain([(inside.len(), ',')]) {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                let part = imported(&inside[start..at]);
                paths.extend(part.iter().map(|path| format!("{before}{path}")));
                start = at + 1;
            }
            _ => {}
        }
    }
    paths
}

/// A file's lines, with comments and what is there for tests only blanked: examples and tests may
/// name anything.
fn code_lines(text: &str) -> impl Iterator<Item = &str> {
    // The indentation of an item that is for tests, until it ends.
    let mut test_item: Option<usize> = None;
    text.lines().map(move |line| {
        let code = line.trim_start();
        let indentation = line.len() - code.len();
        if let Some(depth) = test_item {
            let ends = code.starts_with('}') || code.ends_with(';') || code.ends_with("{}");
            if indentation == depth && ends {
                test_item = None;
            }
            return "";
        }
        if code.starts_with("#[cfg(test)]") || code.starts_with("#[cfg(all(test") {
            test_item = Some(indentation);
            return "";
        }
        if code.starts_with("//") { "" } else { line }
    })
}

#[test]
fn an_import_is_found_wherever_it_stands() {
    let text = "\
use std::time::{Duration, Instant};
// use std::thread;
#[cfg(test)]
use std::thread;
#[cfg(test)]
mod tests {
    use std::thread;
}
use crate::{
    balance::Server,
    worker::{Ring, Shared},
};
fn f() {
    std::thread::spawn(g);
}
";
    let names = ["std::time::Instant", "std::thread", "crate::worker"];
    let expected = [
        (1, "std::time::Instant"),
        (9, "crate::worker"),
        (14, "std::thread"),
    ];
    assert_eq!(misplaced(text, &names), expected);
    assert_eq!(misplaced("use std::time::Duration;", &names), []);
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
