//! `SET`: what of it two servers do in the same way, and what only the primary may do.
//!
//! A value that depends on nothing but the statement, the session's state and functions of these
//! goes to both servers, so that they stay alike. `SET sql_mode = CONCAT(@@sql_mode, ...)`
//! and `SET sql_mode = (SELECT REPLACE(...))` are what frameworks send first of all.

use super::classify::{Draft, is};
use super::lexer::{Token, TokenKind};
use super::scan::{Scan, is_global, leaves_session_alone, scope_and_name};
use super::statement::{Pins, charset_has_trail_bytes};
use crate::telemetry::RouteReason;

/// What has been met in a `SET` so far.
#[derive(Clone, Copy, Debug, Default)]
struct Parts<'a> {
    /// State of the session that both servers have to have.
    session: bool,
    /// State on which the meaning of a statement's text depends.
    meaning: bool,
    /// A user variable with a value that both servers make in the same way.
    user_variable: bool,
    /// Something that is the primary's own.
    primary_only: Option<Token<'a>>,
    /// A user variable whose value two servers may not agree on.
    varying_variable: Option<Token<'a>>,
    /// State of the session whose value they may not agree on.
    varying_session: Option<Token<'a>>,
    /// `SET TRANSACTION`.
    next_transaction: Option<Token<'a>>,
    /// What is not understood.
    unknown: Option<Token<'a>>,
}

/// The rest of a statement that begins with `SET`.
pub(super) fn parse<'a>(verb: Token<'a>, scan: &mut Scan<'a>) -> Draft<'a> {
    let mut parts = Parts::default();
    let mut draft = Draft::session_state(verb);
    scan.sets = true;
    loop {
        let end = assignment(verb, scan, &mut parts, &mut draft);
        match end {
            Some(token) if token.kind == TokenKind::Comma => {}
            _ => break,
        }
    }
    verdict(&parts, draft)
}

fn verdict<'a>(parts: &Parts<'a>, mut draft: Draft<'a>) -> Draft<'a> {
    let effects = draft.effects;
    let primary = |reason, token| {
        let mut draft = Draft::primary(reason, token);
        draft.effects = effects;
        draft
    };
    if let Some(token) = parts.unknown.or(parts.varying_session) {
        draft = primary(RouteReason::SetValue, token);
        draft.effects.takes = Pins::UNSHARED_STATE;
        draft.effects.assigns_user_variables = true;
        return draft;
    }
    if let Some(token) = parts.varying_variable {
        draft = primary(RouteReason::SetValue, token);
        draft.effects.assigns_user_variables = true;
    } else if let Some(token) = parts.primary_only {
        draft = primary(RouteReason::GlobalState, token);
    } else if let Some(token) = parts.next_transaction {
        draft = primary(RouteReason::Transaction, token);
        draft.effects.shapes_next_transaction = true;
    } else {
        draft.effects.sets_user_variables_only = parts.user_variable && !parts.session;
        draft.effects.keeps_meaning = !parts.meaning;
        return draft;
    }
    // What both should have, in one statement with what only the primary may do.
    draft.effects.assigns_user_variables |= parts.user_variable;
    if parts.session {
        draft.effects.takes = Pins::UNSHARED_STATE;
    }
    draft
}

/// One `name = value` or one of the other forms; returns the comma behind it, or what else ended
/// it.
fn assignment<'a>(
    verb: Token<'a>,
    scan: &mut Scan<'a>,
    parts: &mut Parts<'a>,
    draft: &mut Draft<'a>,
) -> Option<Token<'a>> {
    let Some(token) = scan.next() else {
        parts.unknown.get_or_insert(verb);
        return None;
    };
    match token.kind {
        TokenKind::UserVariable => {
            let value = assigned_value(scan, parts);
            match value.varies {
                true => drop(parts.varying_variable.get_or_insert(token)),
                false => parts.user_variable = true,
            }
            value.end
        }
        TokenKind::SystemVariable => {
            let (scope, name) = scope_and_name(token);
            variable(Variable { token, scope, name }, scan, parts, draft)
        }
        TokenKind::QuotedName => named(token, scan, parts, draft),
        TokenKind::Word => word(token, scan, parts, draft),
        _ => {
            parts.unknown.get_or_insert(token);
            None
        }
    }
}

/// The forms that begin with a word.
fn word<'a>(
    token: Token<'a>,
    scan: &mut Scan<'a>,
    parts: &mut Parts<'a>,
    draft: &mut Draft<'a>,
) -> Option<Token<'a>> {
    let is_word = |word| is(Some(token), word);
    if is_word("names") || is_word("charset") {
        return character_set(scan, parts, draft);
    }
    if is_word("character") {
        scan.next(); // SET
        return character_set(scan, parts, draft);
    }
    if is_word("transaction") {
        parts.next_transaction.get_or_insert(token);
        return skip_rest(scan);
    }
    if is_global(token.text) {
        parts.primary_only.get_or_insert(token);
        return match is(scan.next(), "transaction") {
            true => skip_rest(scan),
            false => value(scan).end,
        };
    }
    if is_word("session") || is_word("local") {
        let next = scan.next()?;
        if is(Some(next), "transaction") {
            parts.session = true;
            return session_transaction(scan, draft);
        }
        return named(next, scan, parts, draft);
    }
    if is_word("role") {
        parts.session = true;
        parts.meaning = true;
        return skip_rest(scan);
    }
    let is_primary_only = ["password", "default", "resource"].into_iter().any(is_word);
    if is_primary_only {
        parts.primary_only.get_or_insert(token);
        return skip_rest(scan);
    }
    if is_word("statement") {
        parts.varying_variable.get_or_insert(token);
        parts.session |= !runs_what_leaves_session_alone(scan);
        return skip_rest(scan);
    }
    named(token, scan, parts, draft)
}

/// `SET STATEMENT name = value, ... FOR` runs any statement.
fn runs_what_leaves_session_alone(scan: &mut Scan<'_>) -> bool {
    let mut depth = 0_u32;
    while let Some(token) = scan.next() {
        match token.kind {
            TokenKind::Open => depth = depth.saturating_add(1),
            TokenKind::Close => depth = depth.saturating_sub(1),
            TokenKind::Word if depth == 0 && is(Some(token), "for") => break,
            _ => {}
        }
    }
    // `BEGIN NOT ATOMIC` does not.
    let verb = scan.next().filter(|verb| !is(Some(*verb), "begin"));
    verb.is_some_and(leaves_session_alone)
}

/// What has commas of its own: lists of roles, of modes of a transaction.
fn skip_rest<'a>(scan: &mut Scan<'a>) -> Option<Token<'a>> {
    let mut end = value(scan).end;
    while end.is_some_and(|token| token.kind == TokenKind::Comma) {
        end = value(scan).end;
    }
    end
}

/// `name = value` of a system variable of the session.
fn named<'a>(
    token: Token<'a>,
    scan: &mut Scan<'a>,
    parts: &mut Parts<'a>,
    draft: &mut Draft<'a>,
) -> Option<Token<'a>> {
    let variable_of_session = Variable {
        token,
        scope: b"session",
        name: token.name(),
    };
    variable(variable_of_session, scan, parts, draft)
}

/// A system variable that is given a value.
#[derive(Clone, Copy, Debug)]
struct Variable<'a> {
    token: Token<'a>,
    scope: &'a [u8],
    name: &'a [u8],
}

impl Variable<'_> {
    fn is(&self, names: &[&str]) -> bool {
        let same = |name: &&str| name.as_bytes().eq_ignore_ascii_case(self.name);
        names.iter().any(same)
    }

    /// What steers the binary log, replication or the next insert: nothing for a replica.
    fn is_of_primary(&self) -> bool {
        const NAMES: [&str; 14] = [
            "binlog_format",
            "binlog_row_image",
            "gtid_domain_id",
            "gtid_next",
            "gtid_seq_no",
            "identity",
            "insert_id",
            "last_insert_id",
            "original_commit_timestamp",
            "pseudo_slave_mode",
            "pseudo_thread_id",
            "server_id",
            "skip_replication",
            "sql_log_bin",
        ];
        self.is(&NAMES)
    }

    /// What is looked at when a statement runs, and not when its text is read.
    fn is_of_run_time(&self) -> bool {
        const NAMES: [&str; 14] = [
            "autocommit",
            "foreign_key_checks",
            "innodb_lock_wait_timeout",
            "interactive_timeout",
            "lock_wait_timeout",
            "max_execution_time",
            "max_statement_time",
            "net_read_timeout",
            "net_write_timeout",
            "sql_safe_updates",
            "sql_select_limit",
            "time_zone",
            "unique_checks",
            "wait_timeout",
        ];
        self.is(&NAMES) || self.is(ISOLATION) || self.is(READ_ONLY)
    }

    /// `SET @@transaction_isolation`, without a scope, is for the next transaction only.
    fn is_of_next_transaction(&self) -> bool {
        self.token.kind == TokenKind::SystemVariable
            && self.scope.is_empty()
            && (self.is(ISOLATION) || self.is(READ_ONLY))
    }
}

const ISOLATION: &[&str] = &["transaction_isolation", "tx_isolation"];
const READ_ONLY: &[&str] = &["transaction_read_only", "tx_read_only"];
const CHARACTER_SETS: &[&str] = &["character_set_client", "character_set_connection"];

fn variable<'a>(
    variable: Variable<'a>,
    scan: &mut Scan<'a>,
    parts: &mut Parts<'a>,
    draft: &mut Draft<'a>,
) -> Option<Token<'a>> {
    let token = variable.token;
    let value = assigned_value(scan, parts);
    let scope = variable.scope;
    let is_session = [b"".as_slice(), b"session", b"local"]
        .iter()
        .any(|name| name.eq_ignore_ascii_case(scope));
    if is_global(scope) || variable.is_of_primary() {
        parts.primary_only.get_or_insert(token);
    } else if !is_session {
        parts.unknown.get_or_insert(token); // @@keycache.name, or a name nobody knows
    } else if variable.is_of_next_transaction() {
        parts.next_transaction.get_or_insert(token);
    } else if value.varies {
        parts.varying_session.get_or_insert(token);
    } else {
        parts.session = true;
        parts.meaning |= !variable.is_of_run_time();
    }
    let effects = &mut draft.effects;
    if variable.is(ISOLATION) {
        effects.serializable = Some(value.may_be(b"serializable"));
    } else if variable.is(READ_ONLY) {
        effects.session_read_only = Some(value.is_one_of(&[b"1", b"on", b"true"]));
    } else if variable.is(&["sql_mode"]) {
        effects.ansi_quotes = value.mentions_ansi();
    } else if variable.is(&["sql_auto_is_null"]) && !value.is_one_of(&[b"0", b"off", b"false"]) {
        // `WHERE id IS NULL` asks for the row that was inserted last then.
        effects.takes = Pins::UNSHARED_STATE;
    } else if variable.is(CHARACTER_SETS) {
        effects.trail_bytes = Some(value.text().is_none_or(charset_has_trail_bytes));
    }
    value.end
}

/// `NAMES utf8mb4 COLLATE utf8mb4_bin`, `CHARACTER SET latin1`.
fn character_set<'a>(
    scan: &mut Scan<'a>,
    parts: &mut Parts<'a>,
    draft: &mut Draft<'a>,
) -> Option<Token<'a>> {
    let charset = scan.next()?;
    parts.session = true;
    parts.meaning = true;
    draft.effects.trail_bytes = Some(charset_has_trail_bytes(charset.name()));
    let value = value(scan);
    if value.varies {
        parts.unknown.get_or_insert(charset);
    }
    value.end
}

/// `SESSION TRANSACTION ISOLATION LEVEL ..., READ ONLY`
fn session_transaction<'a>(scan: &mut Scan<'a>, draft: &mut Draft<'a>) -> Option<Token<'a>> {
    let mut after_read = false;
    while let Some(token) = scan.next() {
        let is_word = |word| is(Some(token), word);
        if token.kind == TokenKind::Semicolon {
            return Some(token);
        }
        if is_word("level") {
            draft.effects.serializable = Some(false);
        } else if is_word("serializable") {
            draft.effects.serializable = Some(true);
        } else if after_read && is_word("only") {
            draft.effects.session_read_only = Some(true);
        } else if after_read && is_word("write") {
            draft.effects.session_read_only = Some(false);
        }
        after_read = is_word("read");
    }
    None
}

/// A value, as far as anybody wants to know.
#[derive(Clone, Copy, Debug)]
struct Value<'a> {
    /// The comma behind it, or what else ended it.
    end: Option<Token<'a>>,
    /// Two servers may not agree on it.
    varies: bool,
    /// There is none.
    is_empty: bool,
    /// The one token that it is made of.
    only: Option<Token<'a>>,
    /// A text in it holds `ANSI`.
    has_ansi: bool,
}

impl Value<'_> {
    fn is_one_of(&self, texts: &[&[u8]]) -> bool {
        let only = self.only.map(|token| token.name());
        only.is_some_and(|only| texts.iter().any(|text| text.eq_ignore_ascii_case(only)))
    }

    /// The value itself, where the statement has it.
    fn text(&self) -> Option<&[u8]> {
        let is_text = |token: &Token<'_>| {
            matches!(
                token.kind,
                TokenKind::String | TokenKind::Word | TokenKind::QuotedName
            )
        };
        self.only.filter(is_text).map(|token| token.name())
    }

    fn may_be(&self, text: &[u8]) -> bool {
        self.text().is_none() || self.is_one_of(&[text, b"default"])
    }

    /// `None` where it cannot be told.
    fn mentions_ansi(&self) -> Option<bool> {
        let is_text = self
            .only
            .is_some_and(|token| token.kind == TokenKind::String);
        match self.has_ansi {
            true => Some(true),
            false => is_text.then_some(false),
        }
    }
}

/// `= value` or `:= value`; anything else is not understood.
fn assigned_value<'a>(scan: &mut Scan<'a>, parts: &mut Parts<'a>) -> Value<'a> {
    let mark = scan.next();
    let is_assignment =
        mark.is_some_and(|mark| matches!(mark.kind, TokenKind::Equals | TokenKind::Assign));
    if let (false, Some(token)) = (is_assignment, mark) {
        parts.unknown.get_or_insert(token);
    }
    if mark.is_some_and(|mark| mark.kind == TokenKind::Assign) {
        scan.found.primary = None; // It is `SET` that assigns.
    }
    let mut value = value(scan);
    value.varies |= !is_assignment || value.is_empty;
    value
}

/// Reads up to a comma outside parentheses, or the end.
fn value<'a>(scan: &mut Scan<'a>) -> Value<'a> {
    scan.found.varies = false;
    let mut value = Value {
        end: None,
        varies: false,
        is_empty: false,
        only: None,
        has_ansi: false,
    };
    let (mut depth, mut tokens) = (0_u32, 0_u32);
    while let Some(token) = scan.next() {
        match token.kind {
            TokenKind::Comma if depth == 0 => {
                value.end = Some(token);
                break;
            }
            TokenKind::Semicolon => {
                value.end = Some(token);
                break;
            }
            TokenKind::Open => depth = depth.saturating_add(1),
            TokenKind::Close => depth = depth.saturating_sub(1),
            // A subquery on a table, or a nested assignment.
            TokenKind::Word if is(Some(token), "from") => value.varies = true,
            TokenKind::Assign => value.varies = true,
            TokenKind::String => {
                value.has_ansi |= token
                    .text
                    .windows(4)
                    .any(|w| w.eq_ignore_ascii_case(b"ansi"));
            }
            _ => {}
        }
        tokens = tokens.saturating_add(1);
        value.only = (tokens == 1).then_some(token);
    }
    let found = &scan.found;
    value.is_empty = tokens == 0;
    value.varies |= found.varies || found.doubt.is_some();
    // `:=` of this very SET is no finding against it.
    let foreign = found
        .primary
        .filter(|f| f.reason != RouteReason::AssignsVariable);
    value.varies |= foreign.is_some() || found.diagnostics.is_some();
    value
}
