//! `ringway explain --sql` from outside.

use std::io::Write;
use std::process::{Command, Output, Stdio};

use serde_json::Value;

/// Runs the command with these arguments and this on its standard input.
fn explain(arguments: &[&str], input: &[u8]) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_ringway"))
        .args(["explain", "--sql"])
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program can be started");
    let mut stdin = child.stdin.take().expect("it has a standard input");
    let _ = stdin.write_all(input); // It does not read when it has arguments.
    drop(stdin);
    child.wait_with_output().expect("it ends")
}

fn answers(output: &Output) -> Vec<Value> {
    let lines = output.stdout.split(|&byte| byte == b'\n');
    let lines = lines.filter(|line| !line.is_empty());
    lines
        .map(|line| serde_json::from_slice(line).expect("a line of JSON"))
        .collect()
}

/// Target and reason of one statement.
fn route(arguments: &[&str]) -> (String, String) {
    let output = explain(arguments, b"");
    assert!(output.status.success(), "{arguments:?}");
    let [answer] = &answers(&output)[..] else {
        panic!("one answer: {arguments:?}");
    };
    let text = |key: &str| answer[key].as_str().expect("a text").to_owned();
    (text("target"), text("reason"))
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn each_argument_gets_an_answer_in_its_order() {
    let output = explain(
        &[
            "SELECT 1",
            "UPDATE t SET a = 1",
            "SET NAMES utf8",
            "SHOW WARNINGS",
            "KILL 5",
        ],
        b"",
    );
    assert!(output.status.success());
    let targets: Vec<_> = answers(&output)
        .iter()
        .map(|answer| answer["target"].clone())
        .collect();
    assert_eq!(targets, ["replica", "primary", "both", "last", "intercept"]);
    assert_eq!(
        answers(&output)[0].to_string(),
        r#"{"reason":"plain_read","target":"replica"}"#
    );
}

#[test]
fn the_decisive_word_and_its_place_are_told() {
    let output = explain(&["SELECT * FROM t FOR UPDATE"], b"");
    let answer = &answers(&output)[0];
    assert_eq!(answer["reason"], "locking_read");
    assert_eq!(answer["word"], "UPDATE");
    assert_eq!(answer["offset"], 20);
}

#[test]
fn what_a_statement_does_to_the_session_is_told() {
    let output = explain(
        &[
            "CREATE TEMPORARY TABLE t (a INT)",
            "SELECT 1 INTO @a",
            "/* route:replica */ SELECT f(1)",
        ],
        b"",
    );
    let answers = answers(&output);
    assert_eq!(answers[0]["pins"], "temporary_table");
    assert_eq!(answers[1]["assigns_user_variables"], true);
    assert_eq!(answers[2]["hint"], "replica");
    assert_eq!(answers[2]["target"], "replica");
}

#[test]
fn the_session_is_as_the_options_say() {
    let expected = |target: &str, reason: &str| (target.to_owned(), reason.to_owned());
    assert_eq!(
        route(&["--in-transaction", "SELECT 1"]),
        expected("primary", "in_transaction")
    );
    assert_eq!(
        route(&["--autocommit", "off", "SELECT 1"]),
        expected("primary", "autocommit_off")
    );
    assert_eq!(
        route(&["--autocommit", "on", "SELECT 1"]),
        expected("replica", "plain_read")
    );
    let escape = r"SELECT 'a\' FOR UPDATE -- '";
    assert_eq!(route(&[escape]), expected("replica", "plain_read"));
    assert_eq!(
        route(&["--no-backslash-escapes", escape]),
        expected("primary", "locking_read")
    );
    assert_eq!(
        route(&["--ansi-quotes", "SELECT \"a\" FROM t"]),
        expected("replica", "plain_read")
    );
}

#[test]
fn lines_of_json_are_answered_one_by_one() {
    let lines = [
        r#"{"sql": "SELECT 1"}"#,
        "",
        r#"{"sql": "SELECT 1\nFOR UPDATE", "id": 5}"#,
        "\r",
        r#"{"sql": ""}"#,
    ];
    let output = explain(&[], lines.join("\n").as_bytes());
    assert!(output.status.success(), "{}", stderr(&output));
    let reasons: Vec<_> = answers(&output)
        .iter()
        .map(|answer| answer["reason"].clone())
        .collect();
    assert_eq!(reasons, ["plain_read", "locking_read", "empty"]);
}

#[test]
fn bad_lines_are_told_and_the_others_are_answered() {
    let lines: [&[u8]; 7] = [
        b"{\"sql\": \"SELECT 1\"}",
        b"SELECT 1",
        b"{\"sql\": 5}",
        b"{\"query\": \"SELECT 1\"}",
        b"{\"sql\": \"\xff\"}",
        b"{\"sql\": \"SELECT 1\"",
        b"{\"sql\": \"SELECT 2\"}",
    ];
    let output = explain(&[], &lines.join(&b'\n'));
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(answers(&output).len(), 2);
    let said = stderr(&output);
    let told: Vec<_> = said.lines().collect();
    assert_eq!(told.len(), 5, "{said}");
    for (line, number) in told.iter().zip(2..) {
        assert!(line.contains(&format!("line {number}, ")), "{line}");
        assert!(line.contains(r#"{"sql": "SELECT 1"}"#), "{line}");
    }
    assert!(told[1].contains("expected a string"), "{said}");
    assert!(told[2].contains("missing field `sql`"), "{said}");
}

#[test]
fn a_statement_that_is_too_long_is_not_read() {
    let sql = format!("SELECT '{}'", "x".repeat(64 * 1024));
    let input = format!("{{\"sql\": \"{sql}\"}}");
    let output = explain(&[], input.as_bytes());
    assert_eq!(answers(&output)[0]["reason"], "too_long");
}

#[test]
fn help_shows_an_example_and_wrong_usage_ends_with_2() {
    let help = explain(&["--help"], b"");
    assert!(help.status.success());
    assert!(String::from_utf8_lossy(&help.stdout).contains("Example"));
    for arguments in [&["--autocommit", "maybe", "SELECT 1"][..], &["--fast"]] {
        assert_eq!(
            explain(arguments, b"").status.code(),
            Some(2),
            "{arguments:?}"
        );
    }
    let bare = Command::new(env!("CARGO_BIN_EXE_ringway"))
        .arg("explain")
        .output();
    assert_eq!(bare.expect("it can be started").status.code(), Some(2));
}

/// Every statement in the documentation goes where it says.
#[test]
fn the_documentation_tells_the_truth() {
    let document = include_str!("../docs/mysql.md");
    let rows = document
        .lines()
        .filter(|line| line.starts_with("| `") && line.contains("` | `"));
    let mut checked = 0;
    for row in rows {
        let cells: Vec<_> = row
            .trim_matches('|')
            .split(" | ")
            .map(|cell| cell.trim().trim_matches('`'))
            .collect();
        let [sql, target, reason, ..] = cells[..] else {
            continue;
        };
        let found = route(&[sql]);
        assert_eq!(
            (found.0.as_str(), found.1.as_str()),
            (target, reason),
            "{row}"
        );
        checked += 1;
    }
    assert!(checked >= 20, "{checked}");
}
