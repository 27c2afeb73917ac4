//! A statement's bytes to what it is. The verb decides which of the rules apply; what a pass over
//! all of its tokens meets can only make the verdict stricter.

use super::lexer::{Dialect, Lexer, Token, TokenKind};
use super::scan::{Finding, Found, Scan, leaves_session_alone};
use super::set;
use super::statement::{
    Access, Effects, Hint, Kind, Pins, Span, Statement, TableName, UnderReadOnly,
};
use crate::telemetry::RouteReason;

/// What a statement is. One pass, no allocation, and no panic whatever the bytes are.
pub fn classify(text: &[u8], dialect: Dialect) -> Statement {
    if let Some(code) = set_in_comment(text) {
        let statement = classify_text(code, dialect);
        if statement.kind == Kind::SessionState {
            // Its span is one of the code, not of the text.
            return Statement {
                decisive: Span::default(),
                ..statement
            };
        }
    }
    classify_text(text, dialect)
}

/// What a statement is of which only the `head` is known, because it is too long to be held. Its
/// verb says whether it may change the session, if there is one and it is whole.
pub fn classify_head(head: &[u8], dialect: Dialect) -> Statement {
    let mut statement = Statement::unread(RouteReason::TooLong);
    let mut tokens = Lexer::new(head, dialect);
    let verb = tokens.next().filter(|_| tokens.next().is_some());
    if verb.is_some_and(leaves_session_alone) {
        statement.effects.takes = Pins::NONE;
    }
    statement
}

fn classify_text(text: &[u8], dialect: Dialect) -> Statement {
    let mut scan = Scan::new(text, dialect);
    let Some(first) = scan.next() else {
        return Statement::new(Kind::Primary, RouteReason::Empty);
    };
    let draft = match first.kind {
        TokenKind::Word => Draft::of_verb(first, &mut scan),
        TokenKind::Open => parenthesised(first, &mut scan),
        TokenKind::Semicolon => Draft::primary(RouteReason::Empty, first),
        _ => Draft::primary(RouteReason::NotUnderstood, first),
    };
    let found = scan.finish();
    let mut statement = draft.judged(first, &found, dialect);
    if found.second_statement.is_some() && dialect.multi_statements {
        statement.files_offered = local_files(text, dialect);
    }
    statement.hint = scan.first_comment().and_then(Hint::parse);
    statement
}

/// What the verb says, before the rest has been looked at.
#[derive(Clone, Copy, Debug)]
pub(super) struct Draft<'a> {
    kind: Kind,
    reason: RouteReason,
    decisive: Token<'a>,
    pub(super) effects: Effects,
    /// What the pass finds makes it no stricter: it has been looked at, or it does not matter.
    is_final: bool,
    /// Semicolons are a part of it: the body of a stored program.
    is_compound: bool,
    under_read_only: UnderReadOnly,
}

impl<'a> Draft<'a> {
    const fn new(kind: Kind, reason: RouteReason, decisive: Token<'a>) -> Self {
        Self {
            kind,
            reason,
            decisive,
            effects: Effects::NONE,
            is_final: true,
            is_compound: false,
            under_read_only: UnderReadOnly::Harmless,
        }
    }

    /// It needs the primary.
    pub(super) const fn primary(reason: RouteReason, decisive: Token<'a>) -> Self {
        Self::new(Kind::Primary, reason, decisive)
    }

    /// It shows what a server is, or does.
    const fn server_read(decisive: Token<'a>) -> Self {
        Self::new(Kind::ServerRead, RouteReason::ServerState, decisive)
    }

    /// It goes to both.
    pub(super) const fn session_state(decisive: Token<'a>) -> Self {
        Self::new(Kind::SessionState, RouteReason::SessionState, decisive)
    }

    /// It is a read unless the pass finds something else.
    const fn read(reason: RouteReason, decisive: Token<'a>) -> Self {
        let mut draft = Self::new(Kind::Read, reason, decisive);
        draft.is_final = false;
        draft
    }

    const fn taking(mut self, pins: Pins) -> Self {
        self.effects.takes = pins;
        self
    }

    const fn releasing(mut self, pins: Pins) -> Self {
        self.effects.releases = pins;
        self
    }

    /// `READ ONLY` does not hold it back.
    const fn acting(mut self) -> Self {
        self.under_read_only = UnderReadOnly::Acts;
        self
    }

    /// The same, and it commits first.
    const fn committing(mut self) -> Self {
        self.under_read_only = UnderReadOnly::Commits;
        self
    }

    const fn assigning(mut self) -> Self {
        self.effects.assigns_user_variables = true;
        self
    }

    fn of_verb(verb: Token<'a>, scan: &mut Scan<'a>) -> Self {
        let mut folded = [0; LONGEST_VERB];
        let Some(folded) = folded.get_mut(..verb.text.len()) else {
            return Self::primary(RouteReason::Other, verb).acting();
        };
        for (to, from) in folded.iter_mut().zip(verb.text) {
            *to = from.to_ascii_lowercase();
        }
        match &*folded {
            b"select" | b"table" | b"values" | b"with" => Self::read(RouteReason::PlainRead, verb),
            b"show" => show(verb, scan),
            b"explain" | b"desc" | b"describe" => explain(verb, scan),
            b"insert" | b"update" | b"delete" | b"replace" => {
                Self::primary(RouteReason::Write, verb)
            }
            b"truncate" => Self::primary(RouteReason::Write, verb).committing(),
            b"load" => load(verb, scan),
            b"set" => set::parse(verb, scan),
            b"use" | b"prepare" | b"deallocate" => session_state(verb, scan),
            b"execute" => Self::primary(RouteReason::PreparedText, verb).assigning(),
            b"begin" => begin(verb, scan),
            b"case" | b"declare" | b"for" | b"if" | b"loop" | b"repeat" | b"while" => {
                compound(verb)
            }
            b"start" => start(verb, scan),
            b"commit" | b"rollback" => {
                Self::new(Kind::EndTransaction, RouteReason::Transaction, verb)
            }
            b"savepoint" | b"release" => Self::primary(RouteReason::Transaction, verb),
            b"xa" => xa(verb, scan),
            b"lock" | b"unlock" | b"flush" | b"backup" => lock(verb, scan),
            b"create" => create(verb, scan),
            b"alter" => alter(verb, scan),
            b"drop" => drop_statement(verb, scan),
            b"rename" => {
                let mut draft = Self::primary(RouteReason::Other, verb);
                draft.effects.renames_tables = true;
                draft.committing()
            }
            b"call" => Self::primary(RouteReason::Procedure, verb).assigning(),
            b"get" => Self::new(Kind::Diagnostics, RouteReason::Diagnostics, verb).assigning(),
            b"kill" => Self::new(Kind::Kill, RouteReason::Kill, verb),
            b"do" => {
                let mut draft = Self::primary(RouteReason::Other, verb);
                draft.is_final = false;
                draft
            }
            b"analyze" => analyze(verb, scan),
            b"cache" | b"change" | b"check" | b"grant" | b"import" | b"install" | b"optimize"
            | b"repair" | b"reset" | b"revoke" | b"stop" | b"uninstall" => {
                Self::primary(RouteReason::Other, verb).committing()
            }
            b"checksum" | b"help" | b"signal" | b"resignal" => {
                Self::primary(RouteReason::Other, verb)
            }
            _ => Self::primary(RouteReason::Other, verb).acting(),
        }
    }

    /// The verdict on the draft, with what the pass has found.
    fn judged(self, verb: Token<'_>, found: &Found, dialect: Dialect) -> Statement {
        // Whether the semicolons of a stored program are all in its body is nobody's to say here.
        let may_go_on = self.is_compound && dialect.multi_statements;
        let second = found.second_statement.filter(|_| !self.is_compound);
        if let Some(finding) = found.unreadable.or(second) {
            return self.beyond_reading(finding, verb, found, dialect);
        }
        let own = || Finding::new(self.reason, self.decisive);
        let only_shows = !found.needs_primary && found.doubt.is_none();
        let (kind, finding) = if self.kind == Kind::ServerRead && !only_shows {
            (Kind::Primary, own())
        } else if self.is_final {
            (self.kind, own())
        } else if let Some(finding) = found.primary {
            let kind = match self.kind {
                Kind::Read if only_shows => Kind::ServerRead,
                _ => Kind::Primary,
            };
            (kind, self.explained(finding))
        } else if let (Kind::Read, Some(finding)) = (self.kind, found.doubt) {
            (Kind::Doubtful, finding)
        } else if let (Kind::Read, Some(finding)) = (self.kind, found.diagnostics) {
            (Kind::Diagnostics, finding)
        } else {
            (self.kind, own())
        };
        let mut statement = Statement::new(kind, finding.reason);
        if finding.reason != RouteReason::PlainRead {
            statement.decisive = finding.span;
        }
        statement.reads_user_variables = found.reads_user_variables;
        statement.under_read_only = self.under_read_only;
        statement.files_offered = u8::from(kind == Kind::LoadLocal);
        statement.effects = self.effects_with(found);
        if may_go_on && found.unseen {
            statement.effects.takes = statement.effects.takes.with(Pins::UNSHARED_STATE);
        }
        // Somebody's own function may assign as well.
        statement.effects.assigns_user_variables |= kind == Kind::Doubtful;
        statement
    }

    /// `EXPLAIN` of what is no plain read would be a surprise on a replica.
    fn explained(&self, finding: Finding) -> Finding {
        let is_write = matches!(finding.reason, RouteReason::Write | RouteReason::Into);
        let reason = match self.reason {
            RouteReason::Explain if is_write => RouteReason::ExplainRuns,
            _ => finding.reason,
        };
        Finding { reason, ..finding }
    }

    /// A statement that was not read to its end: it may do anything that its verb allows.
    fn beyond_reading(
        self,
        finding: Finding,
        verb: Token<'_>,
        found: &Found,
        dialect: Dialect,
    ) -> Statement {
        let mut statement = Statement::new(Kind::Primary, finding.reason);
        statement.decisive = finding.span;
        statement.reads_user_variables = found.reads_user_variables;
        statement.under_read_only = self.under_read_only;
        statement.effects = Effects {
            assigns_user_variables: true,
            locks_taken: found.locks_taken,
            releases_all_locks: false,
            takes: self.effects.takes.only(Pins::UNSHARED_STATE),
            ..Effects::NONE
        };
        // A server that was not told of CLIENT_MULTI_STATEMENTS refuses a second one.
        let is_refused = finding.reason == RouteReason::MultiStatement && !dialect.multi_statements;
        let is_seen = leaves_session_alone(verb) && !found.unseen;
        if !is_refused && !is_seen {
            statement.effects.takes = Pins::UNSHARED_STATE;
        }
        statement
    }

    fn effects_with(&self, found: &Found) -> Effects {
        let assigns = self.reason != RouteReason::SessionState && found.assigns_user_variables;
        Effects {
            locks_taken: found.locks_taken,
            locks_released: found.locks_released,
            releases_all_locks: found.releases_all_locks,
            assigns_user_variables: self.effects.assigns_user_variables || assigns,
            ..self.effects
        }
    }
}

/// Bytes of the longest verb that is known.
const LONGEST_VERB: usize = b"deallocate".len();

/// The `SET` inside `/*!40101 SET NAMES utf8 */`, the way mysqldump writes it: a statement that is
/// nothing but an executable comment, and one that every server executes. Of any other nobody here
/// can say what the session is afterwards.
fn set_in_comment(text: &[u8]) -> Option<&[u8]> {
    let marked = text.trim_ascii().strip_prefix(b"/*!")?;
    let marked = marked.strip_suffix(b";").unwrap_or(marked).trim_ascii_end();
    let code = marked.strip_suffix(b"*/")?;
    let digits = code.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let (version, code) = code.split_at_checked(digits)?;
    if !is_executed_everywhere(version) {
        return None;
    }
    let code = code.trim_ascii();
    let is_set = code
        .get(..4)
        .is_some_and(|verb| verb.eq_ignore_ascii_case(b"set "));
    let is_comment = |pair: &[u8]| pair == b"*/" || pair == b"/*" || pair == b"--";
    (is_set && !code.contains(&b'#') && !code.windows(2).any(is_comment)).then_some(code)
}

/// Whether MySQL from 5.7 and MariaDB from 10.6 execute a comment of this version. MariaDB skips
/// those of MySQL 5.7 and later, and how many digits a version has is not the same everywhere.
fn is_executed_everywhere(version: &[u8]) -> bool {
    version.is_empty() || (version.len() == 5 && version < b"50700".as_slice())
}

pub(super) fn is(token: Option<Token<'_>>, word: &str) -> bool {
    token.is_some_and(|token| {
        token.kind == TokenKind::Word && token.text.eq_ignore_ascii_case(word.as_bytes())
    })
}

fn is_any(token: Option<Token<'_>>, words: &[&str]) -> bool {
    words.iter().any(|word| is(token, word))
}

/// `(SELECT ...) UNION ...`
fn parenthesised<'a>(first: Token<'a>, scan: &mut Scan<'a>) -> Draft<'a> {
    let mut token = scan.next();
    while token.is_some_and(|token| token.kind == TokenKind::Open) {
        token = scan.next();
    }
    if is_any(token, &["select", "with", "values", "table"]) {
        Draft::read(RouteReason::PlainRead, first)
    } else {
        Draft::primary(RouteReason::NotUnderstood, token.unwrap_or(first))
    }
}

/// `SHOW`: what replication keeps the same on both servers goes to the replica.
fn show<'a>(verb: Token<'a>, scan: &mut Scan<'a>) -> Draft<'a> {
    let mut word = scan.next();
    while is_any(word, &["full", "extended"]) {
        word = scan.next();
    }
    let decisive = word.unwrap_or(verb);
    let replicated = [
        "authors",
        "character",
        "charset",
        "collation",
        "columns",
        "contributors",
        "create",
        "databases",
        "engines",
        "fields",
        "function",
        "grants",
        "index",
        "indexes",
        "keys",
        "library",
        "package",
        "plugins",
        "privileges",
        "procedure",
        "schemas",
        "storage",
        "table",
        "tables",
        "triggers",
    ];
    if is_any(word, &["warnings", "errors", "count"]) {
        let mut draft = Draft::new(Kind::Diagnostics, RouteReason::Diagnostics, decisive);
        // `LIMIT` may hold nothing but numbers; a call there is not known to anybody.
        draft.is_final = false;
        return draft;
    }
    if is_any(word, &["slave", "replica", "all"]) {
        let next = scan.next();
        return match is_any(next, &["status", "slaves", "replicas"]) {
            true => Draft::read(RouteReason::Show, verb),
            false => Draft::server_read(decisive),
        };
    }
    if is_any(word, &replicated) {
        let named = match is(word, "create") {
            true => scan.next(),
            false => word,
        };
        // A replica has events, but runs none, and says so.
        if is(named, "event") {
            return Draft::server_read(decisive);
        }
        if is(named, "procedure") {
            scan.found.primary = None; // Not `PROCEDURE ANALYSE`.
        }
        return Draft::read(RouteReason::Show, verb);
    }
    Draft::server_read(decisive)
}

/// `EXPLAIN`, `DESC`, `DESCRIBE`: plans are made on the replica, but nothing is run there.
fn explain<'a>(verb: Token<'a>, scan: &mut Scan<'a>) -> Draft<'a> {
    const STATEMENTS: [&str; 4] = ["select", "table", "values", "with"];
    while let Some(token) = scan.next() {
        // `ANALYZE` stands before the statement; in it, it is a name.
        if token.kind == TokenKind::Open || is_any(Some(token), &STATEMENTS) {
            break;
        }
        if is(Some(token), "analyze") {
            return Draft::primary(RouteReason::ExplainRuns, token);
        }
    }
    Draft::read(RouteReason::Explain, verb)
}

/// `ANALYZE SELECT` of MariaDB runs the statement, `ANALYZE TABLE` writes statistics.
fn analyze<'a>(verb: Token<'a>, scan: &mut Scan<'a>) -> Draft<'a> {
    match is_any(scan.next(), &["table", "local", "no_write_to_binlog"]) {
        true => Draft::primary(RouteReason::Other, verb).committing(),
        false => Draft::primary(RouteReason::ExplainRuns, verb),
    }
}

/// `LOAD DATA [LOW_PRIORITY | CONCURRENT] LOCAL`, `LOAD XML`, `LOAD INDEX`.
fn load<'a>(verb: Token<'a>, scan: &mut Scan<'a>) -> Draft<'a> {
    let what = scan.next();
    if is(what, "index") {
        return Draft::primary(RouteReason::Other, verb).committing();
    }
    while let Some(token) = scan.next() {
        if is(Some(token), "infile") {
            break;
        }
        if is(Some(token), "local") {
            return Draft::new(Kind::LoadLocal, RouteReason::LocalInfile, token).assigning();
        }
    }
    Draft::primary(RouteReason::Write, verb).assigning()
}

/// How many of several statements are `LOAD DATA LOCAL`.
fn local_files(text: &[u8], dialect: Dialect) -> u8 {
    let (mut begins, mut loads, mut files) = (true, false, 0_u8);
    for token in Lexer::new(text, dialect) {
        let is_local = loads && is(Some(token), "local");
        files = files.saturating_add(u8::from(is_local));
        let ends = token.kind == TokenKind::Semicolon;
        loads = match loads {
            true => !is_local && !ends && !is(Some(token), "infile"),
            false => begins && is(Some(token), "load"),
        };
        begins = ends;
    }
    files
}

/// `USE name`, `PREPARE name FROM ...`, `DEALLOCATE PREPARE name`.
fn session_state<'a>(verb: Token<'a>, scan: &mut Scan<'a>) -> Draft<'a> {
    let mut draft = Draft::session_state(verb);
    let name = scan.next();
    if is(Some(verb), "use") {
        let schema = name.map(|name| Statement::use_schema(name.name()));
        draft.effects = schema.map_or(Effects::NONE, |statement| statement.effects);
    }
    draft
}

/// `BEGIN [WORK]`, or a compound statement of MariaDB.
fn begin<'a>(verb: Token<'a>, scan: &mut Scan<'a>) -> Draft<'a> {
    let token = scan.next();
    let is_plain = token.is_none_or(|token| token.kind == TokenKind::Semicolon);
    if is_plain || is(token, "work") {
        begins_transaction(None, verb)
    } else {
        compound(verb)
    }
}

/// A compound statement of MariaDB, `IF 1 THEN ...; END IF`, or a block of its Oracle mode: it runs at
/// once, as the body of a stored program would. What it does to the session is not looked at.
const fn compound(verb: Token<'_>) -> Draft<'_> {
    let mut draft = Draft::primary(RouteReason::Procedure, verb)
        .assigning()
        .taking(Pins::UNSHARED_STATE);
    draft.is_compound = true;
    draft
}

/// `START TRANSACTION` with its modifiers, or `START REPLICA`.
fn start<'a>(verb: Token<'a>, scan: &mut Scan<'a>) -> Draft<'a> {
    if !is(scan.next(), "transaction") {
        return Draft::primary(RouteReason::Other, verb).committing();
    }
    let mut access = None;
    while let Some(token) = scan.next() {
        if token.kind == TokenKind::Semicolon {
            break;
        }
        if !is(Some(token), "read") {
            continue;
        }
        // A server refuses both in one; the stricter one leads to the primary.
        access = match scan.next() {
            token if is(token, "only") && access.is_none() => Some(Access::ReadOnly),
            _ => Some(Access::ReadWrite),
        };
    }
    begins_transaction(access, verb)
}

/// A transaction begins, and with it `LOCK TABLES` ends.
const fn begins_transaction(access: Option<Access>, verb: Token<'_>) -> Draft<'_> {
    Draft::new(Kind::Begin(access), RouteReason::Transaction, verb).releasing(Pins::TABLES_LOCKED)
}

/// `XA START` and what ends it.
fn xa<'a>(verb: Token<'a>, scan: &mut Scan<'a>) -> Draft<'a> {
    let action = scan.next();
    let draft = Draft::primary(RouteReason::Xa, verb);
    if is_any(action, &["start", "begin"]) {
        draft.taking(Pins::XA)
    } else if is_any(action, &["commit", "rollback"]) {
        draft.releasing(Pins::XA)
    } else {
        draft
    }
}

/// What locks more than rows, and what undoes it.
fn lock<'a>(verb: Token<'a>, scan: &mut Scan<'a>) -> Draft<'a> {
    let what = scan.next();
    let draft = Draft::primary(RouteReason::TableLock, verb);
    let is_verb = |word| is(Some(verb), word);
    if is_verb("lock") {
        match is(what, "instance") {
            true => draft.taking(Pins::INSTANCE_LOCKED),
            false => draft.taking(Pins::TABLES_LOCKED),
        }
    } else if is_verb("unlock") {
        match is(what, "instance") {
            true => draft.releasing(Pins::INSTANCE_LOCKED),
            false => draft.releasing(Pins::TABLES_LOCKED.with(Pins::READ_LOCK)),
        }
    } else if is_verb("backup") {
        match (
            is(what, "unlock"),
            is(what, "stage") && is(scan.next(), "end"),
        ) {
            (false, false) => draft.taking(Pins::INSTANCE_LOCKED),
            _ => draft.releasing(Pins::INSTANCE_LOCKED),
        }
    } else {
        flush(verb, scan)
    }
}

/// `FLUSH TABLES WITH READ LOCK` and `FLUSH TABLES ... FOR EXPORT` lock, others do not.
fn flush<'a>(verb: Token<'a>, scan: &mut Scan<'a>) -> Draft<'a> {
    let mut after_read = false;
    while let Some(token) = scan.next() {
        if is(Some(token), "export") || (after_read && is(Some(token), "lock")) {
            return Draft::primary(RouteReason::TableLock, token).taking(Pins::READ_LOCK);
        }
        after_read = is(Some(token), "read");
    }
    Draft::primary(RouteReason::Other, verb).committing()
}

/// `CREATE`: temporary tables pin the session, stored programs have semicolons.
fn create<'a>(verb: Token<'a>, scan: &mut Scan<'a>) -> Draft<'a> {
    let mut token = scan.next();
    if is(token, "or") && is(scan.next(), "replace") {
        token = scan.next();
    }
    if !is(token, "temporary") {
        return stored_program(verb, token, scan);
    }
    let temporary = token.unwrap_or(verb);
    let mut draft = Draft::primary(RouteReason::TemporaryTable, temporary);
    let mut name = None;
    if is(scan.next(), "table") {
        let mut token = scan.next();
        while is_any(token, &["if", "not", "exists"]) {
            token = scan.next();
        }
        name = table_name(token, scan).0;
    }
    match name {
        Some(name) => draft.effects.temporary_table = Some(name),
        None => draft.effects.takes = Pins::TEMPORARY_TABLES,
    }
    draft
}

/// `ALTER`: `ALTER TABLE a RENAME b` leaves a temporary table with another name.
fn alter<'a>(verb: Token<'a>, scan: &mut Scan<'a>) -> Draft<'a> {
    let token = scan.next();
    let mut draft = stored_program(verb, token, scan);
    while let Some(token) = scan.next() {
        let renames = is(Some(token), "rename");
        if renames && !is_any(scan.next(), &["column", "index", "key"]) {
            draft.effects.renames_tables = true;
        }
    }
    draft
}

/// `CREATE` and `ALTER` of something with a body, as far as can be told before its name:
/// `CREATE DEFINER = u@h PROCEDURE`.
fn stored_program<'a>(
    verb: Token<'a>,
    second: Option<Token<'a>>,
    scan: &mut Scan<'a>,
) -> Draft<'a> {
    const BODIES: [&str; 5] = ["procedure", "function", "trigger", "event", "package"];
    const OTHERS: [&str; 9] = [
        "table", "view", "database", "schema", "index", "user", "role", "server", "sequence",
    ];
    let mut draft = Draft::primary(RouteReason::Other, verb).committing();
    let mut token = second;
    for _ in 0..WORDS_BEFORE_BODY {
        if is_any(token, &BODIES) {
            draft.is_compound = true;
            break;
        }
        let is_other = is_any(token, &OTHERS);
        if is_other || token.is_none_or(|token| token.kind == TokenKind::Semicolon) {
            break;
        }
        token = scan.next();
    }
    draft
}

/// Tokens of `DEFINER = 'user' @ 'host' AGGREGATE` and the like, and some more.
const WORDS_BEFORE_BODY: usize = 16;

/// `DROP TABLE` may end a temporary table, `DROP PREPARE` ends a prepared text.
fn drop_statement<'a>(verb: Token<'a>, scan: &mut Scan<'a>) -> Draft<'a> {
    let mut token = scan.next();
    if is(token, "prepare") {
        return Draft::session_state(verb);
    }
    let mut draft = Draft::primary(RouteReason::Other, verb);
    if is(token, "temporary") {
        token = scan.next();
    } else {
        draft = draft.committing();
    }
    if !is_any(token, &["table", "tables"]) {
        return draft;
    }
    let mut token = scan.next();
    while is_any(token, &["if", "exists"]) {
        token = scan.next();
    }
    for dropped in &mut draft.effects.dropped_tables {
        let (name, behind) = table_name(token, scan);
        *dropped = name;
        if name.is_none() || behind.is_none_or(|token| token.kind != TokenKind::Comma) {
            break;
        }
        token = scan.next();
    }
    draft
}

/// `name` or `schema.name`, and the token behind it.
fn table_name<'a>(
    first: Option<Token<'a>>,
    scan: &mut Scan<'a>,
) -> (Option<TableName>, Option<Token<'a>>) {
    let name = |token: Option<Token<'a>>| {
        let token = token?;
        let is_name = matches!(token.kind, TokenKind::Word | TokenKind::QuotedName);
        is_name.then(|| token.name())
    };
    let Some(table) = name(first) else {
        return (None, None);
    };
    let behind = scan.next();
    if behind.is_none_or(|token| token.kind != TokenKind::Dot) {
        return (Some(TableName::of([table])), behind);
    }
    let qualified = name(scan.next()).map(|inner| TableName::of([table, inner]));
    (qualified, scan.next())
}
