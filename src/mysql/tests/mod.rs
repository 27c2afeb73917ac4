//! Tests of the protocol and of the routing as a whole. Those of a single file stand in that file.

mod captures;
mod evasion;
mod generate;
mod login_failures;
mod login_ladder;
mod login_play;
mod login_tls;
mod properties;
mod replies;
mod rules;
pub(super) mod samples;
mod script;
mod server_logins;
mod session;
mod session_over_time;
mod splitting;
mod truncations;

use crate::mysql::{Decision, Dialect, OwnWrites, State, Statement, Target, classify};
use crate::telemetry::RouteReason;

/// What a statement is, to a session that has changed nothing.
fn read(sql: &str) -> Statement {
    classify(sql.as_bytes(), Dialect::default())
}

/// Where a session that has done nothing sends a statement.
fn route(sql: &str) -> Decision {
    State::new(Dialect::default(), true).route(&read(sql), OwnWrites::Visible)
}

/// Holds each statement to one target and one reason.
#[track_caller]
fn all_go(target: Target, reason: RouteReason, statements: &[&str]) {
    for sql in statements {
        let decision = route(sql);
        let found = (decision.target, decision.reason);
        assert_eq!(found, (target, reason), "{sql}\n{:?}", read(sql));
    }
}

#[track_caller]
fn all_read(statements: &[&str]) {
    all_go(Target::Replica, RouteReason::PlainRead, statements);
}

#[track_caller]
fn all_to_primary(reason: RouteReason, statements: &[&str]) {
    all_go(Target::Primary, reason, statements);
}
