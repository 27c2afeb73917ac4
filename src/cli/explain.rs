//! `ringway explain`.

use std::io::{self, BufRead, Write};

use serde::{Deserialize, Serialize};

use super::exit::{Exit, tell};
use crate::limits::CLASSIFY_BYTES_MAX;
use crate::mysql::{Decision, Dialect, Hint, OwnWrites, Reply, Server, State, Status};
use crate::mysql::{Statement, classify, classify_head};

/// What a session has done before the statements, each of which is looked at by itself.
#[derive(Clone, Copy, Debug)]
pub(super) struct Session {
    /// A transaction is open.
    pub(super) in_transaction: bool,
    /// Statements commit by themselves.
    pub(super) autocommit: bool,
    /// How statements are read.
    pub(super) dialect: Dialect,
}

/// Says where each statement goes: those given, or else those on standard input.
pub(super) fn explain(statements: &[String], session: Session) -> Exit {
    if statements.is_empty() {
        return explain_input(io::stdin().lock(), session);
    }
    for statement in statements {
        if answer(statement.as_bytes(), session).is_err() {
            break; // Piped into a program that has seen enough.
        }
    }
    Exit::Success
}

/// One line of input.
#[derive(Debug, Deserialize)]
struct Question {
    sql: String,
}

/// A line that cannot be used is told and left out; the others are answered.
fn explain_input(input: impl BufRead, session: Session) -> Exit {
    let mut exit = Exit::Success;
    for (number, line) in (1_u64..).zip(input.split(b'\n')) {
        let line = match line {
            Ok(line) => line,
            Err(error) => {
                tell(format_args!(
                    "ringway: standard input cannot be read: {error}"
                ));
                return Exit::Config;
            }
        };
        if line.trim_ascii().is_empty() {
            continue;
        }
        match serde_json::from_slice::<Question>(&line) {
            Ok(question) => {
                if answer(question.sql.as_bytes(), session).is_err() {
                    break;
                }
            }
            Err(error) => {
                complain_of_line(number, &error);
                exit = Exit::Config;
            }
        }
    }
    exit
}

fn complain_of_line(number: u64, error: &serde_json::Error) {
    let told = error.to_string();
    // The position counts from the line that the parser was given.
    let what = told.split(" at line ").next().unwrap_or(&told);
    let column = error.column();
    tell(format_args!(
        "ringway: standard input, line {number}, column {column}: {what}; \
         expected one object a line: {{\"sql\": \"SELECT 1\"}}"
    ));
}

/// One line of output.
#[derive(Debug, Serialize)]
struct Answer<'a> {
    target: &'static str,
    reason: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    word: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    offset: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    hint: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    first: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pins: Option<&'static str>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    assigns_user_variables: bool,
}

fn answer(sql: &[u8], session: Session) -> io::Result<()> {
    let statement = match sql.len() > CLASSIFY_BYTES_MAX {
        true => classify_head(sql, session.dialect),
        false => classify(sql, session.dialect),
    };
    let state = session.state();
    let decision = state.route(&statement, OwnWrites::Visible);
    let has_word = statement.decisive.length > 0 && decision.reason == statement.reason;
    let word = str::from_utf8(statement.decisive.of(sql)).ok();
    let answer = Answer {
        target: decision.target.as_str(),
        reason: decision.reason.as_str(),
        word: word.filter(|_| has_word).map(shortened),
        offset: has_word.then_some(statement.decisive.offset),
        hint: statement.hint.map(|hint| match hint {
            Hint::Primary => "primary",
            Hint::Replica => "replica",
        }),
        first: decision
            .ends_replica_transaction
            .then_some("commit on the replica"),
        pins: pin_after(state, &statement, &decision),
        assigns_user_variables: statement.effects.assigns_user_variables,
    };
    let mut output = io::stdout().lock();
    serde_json::to_writer(&mut output, &answer)?;
    writeln!(output)
}

/// What would keep the session on the primary once the statement has run there.
fn pin_after(mut state: State, statement: &Statement, decision: &Decision) -> Option<&'static str> {
    let reply = Reply {
        status: Status::AUTOCOMMIT,
        failed: false,
        several_results: false,
        changed_session: false,
    };
    state.after(statement, decision, Server::Primary, reply);
    state.pin().map(|pin| pin.as_str())
}

impl Session {
    /// That of a session with a replica that has done nothing but this.
    fn state(self) -> State {
        let mut state = State::new(self.dialect, true);
        let flags = [
            (self.in_transaction, Status::IN_TRANSACTION),
            (self.autocommit, Status::AUTOCOMMIT),
            (
                self.dialect.no_backslash_escapes,
                Status::NO_BACKSLASH_ESCAPES,
            ),
        ];
        let set = flags.into_iter().filter(|(is_set, _)| *is_set);
        let status = set.fold(Status::default(), |status, (_, flag)| status.with(flag));
        state.set_status(Server::Primary, status);
        state
    }
}

/// The decisive word; when that is all the rest of a statement, its beginning.
fn shortened(word: &str) -> &str {
    let end = word.char_indices().nth(WORD_CHARACTERS);
    end.map_or(word, |(end, _)| word.split_at(end).0)
}

/// What is shown of a decisive word.
const WORD_CHARACTERS: usize = 40;
