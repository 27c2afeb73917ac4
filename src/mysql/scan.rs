//! The pass over a statement's tokens: what it meets that decides, at any depth.

use super::functions::{self, Function};
use super::keyword::Keyword;
use super::lexer::{Dialect, Lexer, Product, Token, TokenKind};
use super::statement::{Span, shows_server_state};
use crate::telemetry::RouteReason;

/// A pass that goes on token by token, and remembers.
#[derive(Clone, Debug)]
pub(super) struct Scan<'a> {
    lexer: Lexer<'a>,
    product: Product,
    previous: Seen<'a>,
    before: Seen<'a>,
    depth: u32,
    list: NameList,
    /// What follows `INTO` are variables so far.
    into_variables: bool,
    /// It is a `SET`, which both servers do if they make the same of its values.
    pub(super) sets: bool,
    pub(super) found: Found,
}

/// What a pass has met.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Found {
    /// What cannot be read, or not by everybody in the same way.
    pub(super) unreadable: Option<Finding>,
    /// The first word of a second statement.
    pub(super) second_statement: Option<Finding>,
    /// A statement behind the first whose verb may change the session.
    pub(super) unseen: bool,
    /// What needs the primary.
    pub(super) primary: Option<Finding>,
    /// It is found for more than what it shows of a server.
    pub(super) needs_primary: bool,
    /// What may need the primary.
    pub(super) doubt: Option<Finding>,
    /// What asks about the statement before.
    pub(super) diagnostics: Option<Finding>,
    /// A value that two servers may not agree on.
    pub(super) varies: bool,
    pub(super) reads_user_variables: bool,
    pub(super) assigns_user_variables: bool,
    pub(super) locks_taken: u8,
    pub(super) locks_released: u8,
    pub(super) releases_all_locks: bool,
}

/// What decided, and where it stands.
#[derive(Clone, Copy, Debug)]
pub(super) struct Finding {
    pub(super) reason: RouteReason,
    pub(super) span: Span,
}

impl Finding {
    pub(super) fn new(reason: RouteReason, token: Token<'_>) -> Self {
        let narrow = |number| u32::try_from(number).unwrap_or(u32::MAX);
        let span = Span {
            offset: narrow(token.offset),
            length: narrow(token.text.len()),
        };
        Self { reason, span }
    }
}

/// A token, and what its word means.
#[derive(Clone, Copy, Debug)]
struct Seen<'a> {
    token: Token<'a>,
    keyword: Keyword,
}

impl Seen<'_> {
    /// What stands before the first token.
    const NOTHING: Self = Self {
        token: Token {
            kind: TokenKind::Semicolon,
            text: b"",
            offset: 0,
        },
        keyword: Keyword::Other,
    };

    const fn is(&self, kind: TokenKind) -> bool {
        self.token.kind as u8 == kind as u8
    }
}

/// Where the pass is in the list of common table expressions, whose names a list of columns may
/// follow: `WITH a (x) AS (...), b (y) AS (...)`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum NameList {
    /// In none.
    Outside,
    /// In one that began at this depth.
    Inside(u32),
    /// Behind a closing parenthesis of one at this depth: a comma, and a name follows.
    Closed(u32),
    /// Behind such a comma.
    NextName(u32),
    /// Behind the name.
    Named(u32),
}

impl<'a> Scan<'a> {
    pub(super) const fn new(text: &'a [u8], dialect: Dialect) -> Self {
        Self {
            lexer: Lexer::new(text, dialect),
            product: dialect.product,
            previous: Seen::NOTHING,
            before: Seen::NOTHING,
            depth: 0,
            list: NameList::Outside,
            into_variables: false,
            sets: false,
            found: Found {
                unreadable: None,
                second_statement: None,
                unseen: false,
                primary: None,
                needs_primary: false,
                doubt: None,
                diagnostics: None,
                varies: false,
                reads_user_variables: false,
                assigns_user_variables: false,
                locks_taken: 0,
                locks_released: 0,
                releases_all_locks: false,
            },
        }
    }

    pub(super) const fn first_comment(&self) -> Option<&'a [u8]> {
        self.lexer.first_comment()
    }

    /// The next token, looked at.
    #[inline]
    pub(super) fn next(&mut self) -> Option<Token<'a>> {
        let Some(token) = self.lexer.next() else {
            self.settle(TokenKind::Semicolon);
            return None;
        };
        let keyword = match token.kind {
            TokenKind::Word if !self.previous.is(TokenKind::Dot) => self.keyword(token),
            _ => Keyword::Other,
        };
        let seen = Seen { token, keyword };
        self.settle(token.kind);
        self.look_at(seen);
        self.before = self.previous;
        self.previous = seen;
        Some(token)
    }

    /// Looks at all that is left.
    pub(super) fn finish(&mut self) -> Found {
        while self.next().is_some() {}
        self.found
    }

    #[inline]
    fn keyword(&mut self, token: Token<'a>) -> Keyword {
        if token.text.is_ascii() {
            return Keyword::of(token.text);
        }
        if Keyword::hidden_in(token.text).decides() {
            self.unreadable(RouteReason::NotUnderstood, token);
        }
        Keyword::Other
    }

    /// What could only be told from the token behind it.
    fn settle(&mut self, behind: TokenKind) {
        let previous = self.previous;
        if previous.keyword == Keyword::InsertOrReplace && behind != TokenKind::Open {
            self.primary(RouteReason::Write, previous.token);
        }
        if previous.keyword == Keyword::Nextval && behind != TokenKind::Open {
            self.primary(RouteReason::Sequence, previous.token);
        }
    }

    fn look_at(&mut self, seen: Seen<'a>) {
        let token = seen.token;
        if self.list != NameList::Outside {
            self.go_on_in_list(seen);
        }
        self.into_variables &= matches!(token.kind, TokenKind::UserVariable | TokenKind::Comma);
        match token.kind {
            TokenKind::Word => self.word(seen),
            TokenKind::QuotedName => self.name_behind_dot(token),
            TokenKind::Open => self.open(token),
            TokenKind::Close => self.close(),
            TokenKind::Assign => {
                self.found.assigns_user_variables = true;
                self.primary(RouteReason::AssignsVariable, token);
            }
            TokenKind::UserVariable => self.user_variable(),
            TokenKind::SystemVariable => self.system_variable(token),
            TokenKind::ExecutableComment => self.unreadable(RouteReason::ExecutableComment, token),
            TokenKind::Unreadable => self.unreadable(RouteReason::NotUnderstood, token),
            _ => {}
        }
        self.boundary(token);
    }

    /// Another statement behind a semicolon.
    fn boundary(&mut self, token: Token<'a>) {
        let is_first = self.previous.token.text.is_empty();
        if is_first || !self.previous.is(TokenKind::Semicolon) || token.kind == TokenKind::Semicolon
        {
            return;
        }
        let finding = Finding::new(RouteReason::MultiStatement, token);
        self.found.second_statement.get_or_insert(finding);
        self.found.unseen |= !leaves_session_alone(token);
    }

    fn word(&mut self, seen: Seen<'a>) {
        let token = seen.token;
        let (previous, before) = (self.previous.keyword, self.before.keyword);
        match (seen.keyword, previous) {
            (Keyword::UpdateOrDelete | Keyword::Share | Keyword::No, Keyword::For) => {
                self.primary(RouteReason::LockingRead, token);
            }
            (Keyword::UpdateOrDelete, _) => self.primary(RouteReason::Write, token),
            (Keyword::Lock, _) => self.primary(RouteReason::LockingRead, token),
            (Keyword::Into, _) => {
                self.into_variables = true;
                self.primary(RouteReason::Into, token);
            }
            (Keyword::Procedure, _) => self.primary(RouteReason::ProcedureAnalyse, token),
            (Keyword::For, Keyword::Value) if before == Keyword::Next => {
                self.primary(RouteReason::Sequence, token);
            }
            (Keyword::Connection, Keyword::For) => self.primary(RouteReason::ExplainRuns, token),
            (Keyword::With, _) if self.begins_query() => {
                self.list = NameList::Inside(self.depth);
            }
            _ => self.name_behind_dot(token),
        }
        if seen.keyword == Keyword::Other && varies(token.text) {
            self.found.varies = true;
        }
    }

    /// Whether a query can begin with the current token, and not merely go on: `WITH` also stands
    /// before `ROLLUP`.
    const fn begins_query(&self) -> bool {
        self.previous.is(TokenKind::Open) || self.previous.token.text.is_empty()
    }

    /// A name with a schema before it, and the schema may show a server's own state.
    fn name_behind_dot(&mut self, token: Token<'a>) {
        if !self.previous.is(TokenKind::Dot) {
            return;
        }
        let is_own = token.kind == TokenKind::Word
            && [b"nextval".as_slice(), b"currval"]
                .iter()
                .any(|name| name.eq_ignore_ascii_case(token.text));
        if is_own {
            self.primary(RouteReason::Sequence, token);
        }
        let schema = self.before.token.name();
        if schema.eq_ignore_ascii_case(b"information_schema") {
            if is_server_table(token.name()) {
                self.primary(RouteReason::ServerState, token);
            }
        } else if shows_server_state(schema) {
            self.primary(RouteReason::ServerState, self.before.token);
        }
    }

    fn open(&mut self, token: Token<'a>) {
        self.call(token);
        self.depth = self.depth.saturating_add(1);
    }

    fn close(&mut self) {
        self.depth = self.depth.saturating_sub(1);
        match self.list {
            NameList::Inside(depth) if depth == self.depth => {
                self.list = NameList::Closed(depth);
            }
            NameList::Inside(depth) if depth > self.depth => self.list = NameList::Outside,
            _ => {}
        }
    }

    /// Goes on in the list of common table expressions. Whatever does not fit ends it.
    fn go_on_in_list(&mut self, seen: Seen<'a>) {
        self.list = match (self.list, seen.token.kind) {
            (NameList::Closed(depth), TokenKind::Comma) => NameList::NextName(depth),
            (NameList::Closed(depth), TokenKind::Word) if seen.keyword == Keyword::As => {
                NameList::Inside(depth)
            }
            (NameList::Closed(_), _) => NameList::Outside,
            (NameList::NextName(depth), TokenKind::Word | TokenKind::QuotedName)
                if self.previous.is(TokenKind::Comma) =>
            {
                NameList::Named(depth)
            }
            (NameList::NextName(_), _) => NameList::Outside,
            (list, _) => list,
        };
    }

    /// A parenthesis: is what stands before it called?
    fn call(&mut self, open: Token<'a>) {
        let (name, before) = (self.previous, self.before);
        if let NameList::Named(depth) = self.list {
            self.list = NameList::Inside(depth);
            return;
        }
        match name.token.kind {
            TokenKind::Word | TokenKind::QuotedName | TokenKind::String | TokenKind::Number => {}
            _ => return,
        }
        if before.is(TokenKind::Dot) {
            return self.doubt(name.token);
        }
        // Nothing that is called can follow these: it is an alias, the name of a common table
        // expression, or `AGAINST (` and `COLUMNS (`.
        let cannot_call = before.is(TokenKind::Close)
            || before.is(TokenKind::String)
            || matches!(
                before.keyword,
                Keyword::As | Keyword::Recursive | Keyword::With
            );
        if cannot_call || before.token.text.is_empty() {
            return;
        }
        let follows_operator = before.is(TokenKind::Equals) || before.is(TokenKind::Mark);
        match name.keyword {
            Keyword::Structure | Keyword::As => {}
            Keyword::Any if follows_operator => {}
            Keyword::Of if before.keyword == Keyword::Member => {}
            _ if name.is(TokenKind::Word) => self.called(name.token, open),
            _ => self.doubt(name.token),
        }
    }

    fn called(&mut self, name: Token<'a>, open: Token<'a>) {
        let is_apart = name.offset.saturating_add(name.text.len()) != open.offset;
        let Some(function) = functions::lookup(name.text, self.product, is_apart) else {
            return self.doubt(name);
        };
        self.found.varies |= function != Function::Constant;
        match function {
            Function::Pure | Function::Constant => {}
            Function::Diagnostics => {
                let finding = Finding::new(RouteReason::Diagnostics, name);
                self.found.diagnostics.get_or_insert(finding);
            }
            Function::LastInsertId => self.primary(RouteReason::LastInsertId, name),
            Function::ConnectionId => self.primary(RouteReason::ConnectionId, name),
            Function::TakesLock => {
                self.found.locks_taken = self.found.locks_taken.saturating_add(1);
                self.primary(RouteReason::NamedLock, name);
            }
            Function::ReleasesLock => {
                self.found.locks_released = self.found.locks_released.saturating_add(1);
                self.primary(RouteReason::NamedLock, name);
            }
            Function::ReleasesAllLocks => {
                self.found.releases_all_locks = true;
                self.primary(RouteReason::NamedLock, name);
            }
            Function::AsksLock => self.primary(RouteReason::NamedLock, name),
            Function::Sequence => self.primary(RouteReason::Sequence, name),
            Function::Gtid => self.primary(RouteReason::Gtid, name),
            Function::ServerState => self.primary(RouteReason::ServerState, name),
        }
    }

    fn user_variable(&mut self) {
        self.found.assigns_user_variables |= self.into_variables;
        self.found.reads_user_variables = true;
    }

    fn system_variable(&mut self, token: Token<'a>) {
        if self.sets {
            self.found.varies |= !is_of_session(token);
            return;
        }
        match system_variable(token) {
            Some(RouteReason::Diagnostics) => {
                let finding = Finding::new(RouteReason::Diagnostics, token);
                self.found.diagnostics.get_or_insert(finding);
            }
            Some(reason) => self.primary(reason, token),
            None => {}
        }
    }

    fn primary(&mut self, reason: RouteReason, token: Token<'a>) {
        self.found.needs_primary |= reason != RouteReason::ServerState;
        self.found
            .primary
            .get_or_insert(Finding::new(reason, token));
    }

    fn doubt(&mut self, token: Token<'a>) {
        let finding = Finding::new(RouteReason::UnknownFunction, token);
        self.found.doubt.get_or_insert(finding);
    }

    fn unreadable(&mut self, reason: RouteReason, token: Token<'a>) {
        self.found
            .unreadable
            .get_or_insert(Finding::new(reason, token));
    }
}

/// Scope and name of `@@scope.name`; the scope is empty where none is named.
pub(super) fn scope_and_name<'a>(token: Token<'a>) -> (&'a [u8], &'a [u8]) {
    let text = token.text.strip_prefix(b"@@").unwrap_or(token.text);
    let bare = |part: &'a [u8]| match part {
        [b'`', inner @ .., b'`'] => inner,
        _ => part,
    };
    match text.iter().position(|&byte| byte == b'.') {
        Some(dot) => {
            let (scope, name) = text.split_at_checked(dot).unwrap_or((text, b""));
            (bare(scope), bare(name.strip_prefix(b".").unwrap_or(name)))
        }
        None => (b"", bare(text)),
    }
}

/// Why a system variable has to be read on a certain server, if it has to.
fn system_variable(token: Token<'_>) -> Option<RouteReason> {
    let (scope, name) = scope_and_name(token);
    let is = |names: &[&[u8]]| names.iter().any(|other| other.eq_ignore_ascii_case(name));
    let starts_with = |prefix: &[u8]| {
        name.get(..prefix.len())
            .is_some_and(|start| start.eq_ignore_ascii_case(prefix))
    };
    if is(&[b"identity", b"last_insert_id"]) {
        Some(RouteReason::LastInsertId)
    } else if is(&[b"warning_count", b"error_count"]) {
        Some(RouteReason::Diagnostics)
    } else if is(&[b"pseudo_thread_id"]) {
        Some(RouteReason::ConnectionId)
    } else if is(&[b"last_gtid"]) || starts_with(b"gtid_") || starts_with(b"wsrep_") {
        Some(RouteReason::Gtid)
    } else if is(&[
        b"read_only",
        b"super_read_only",
        b"innodb_read_only",
        b"sql_log_bin",
    ]) || is_global(scope)
        || (scope.is_empty() && is_scope(name))
    {
        Some(RouteReason::ServerState)
    } else {
        None
    }
}

/// Whether a system variable is state of the session, which both servers are kept alike in. What
/// they have of it globally is what a session begins with: alike as far as anybody wants them to
/// be. All others are a server's own, or may be.
fn is_of_session(token: Token<'_>) -> bool {
    const NAMES: [&[u8]; 48] = [
        b"autocommit",
        b"character_set_client",
        b"character_set_connection",
        b"character_set_database",
        b"character_set_results",
        b"character_set_server",
        b"collation_connection",
        b"collation_database",
        b"collation_server",
        b"default_storage_engine",
        b"default_week_format",
        b"div_precision_increment",
        b"explicit_defaults_for_timestamp",
        b"foreign_key_checks",
        b"group_concat_max_len",
        b"information_schema_stats_expiry",
        b"innodb_lock_wait_timeout",
        b"interactive_timeout",
        b"join_buffer_size",
        b"lc_messages",
        b"lc_time_names",
        b"lock_wait_timeout",
        b"max_execution_time",
        b"max_heap_table_size",
        b"max_join_size",
        b"max_statement_time",
        b"net_read_timeout",
        b"net_write_timeout",
        b"note_verbosity",
        b"optimizer_switch",
        b"sort_buffer_size",
        b"sql_auto_is_null",
        b"sql_big_selects",
        b"sql_mode",
        b"sql_notes",
        b"sql_quote_show_create",
        b"sql_safe_updates",
        b"sql_select_limit",
        b"sql_warnings",
        b"storage_engine",
        b"time_zone",
        b"tmp_table_size",
        b"transaction_isolation",
        b"transaction_read_only",
        b"tx_isolation",
        b"tx_read_only",
        b"unique_checks",
        b"wait_timeout",
    ];
    let (_, name) = scope_and_name(token);
    NAMES.iter().any(|other| other.eq_ignore_ascii_case(name))
}

/// Whether a scope is that of the whole server.
pub(super) fn is_global(scope: &[u8]) -> bool {
    let scopes: [&[u8]; 3] = [b"global", b"persist", b"persist_only"];
    scopes.iter().any(|name| name.eq_ignore_ascii_case(scope))
}

fn is_scope(name: &[u8]) -> bool {
    let scopes: [&[u8]; 2] = [b"session", b"local"];
    is_global(name) || scopes.iter().any(|scope| scope.eq_ignore_ascii_case(name))
}

/// Tables of `information_schema` that show what a server does.
fn is_server_table(name: &[u8]) -> bool {
    const TABLES: [&[u8]; 21] = [
        b"client_statistics",
        b"disks",
        b"engines",
        b"events",
        b"files",
        b"global_status",
        b"global_variables",
        b"index_statistics",
        b"metadata_lock_info",
        b"optimizer_trace",
        b"processlist",
        b"profiling",
        b"query_cache_info",
        b"session_status",
        b"session_variables",
        b"slave_status",
        b"system_variables",
        b"table_statistics",
        b"thread_pool_stats",
        b"user_statistics",
        b"user_variables",
    ];
    let starts_with = |prefix: &[u8]| {
        let start = name.get(..prefix.len());
        start.is_some_and(|start| start.eq_ignore_ascii_case(prefix))
    };
    let is_of_engine = starts_with(b"innodb_") || starts_with(b"wsrep_");
    is_of_engine || TABLES.iter().any(|table| table.eq_ignore_ascii_case(name))
}

/// Words that are functions without a parenthesis, whose values two servers may not agree on.
fn varies(word: &[u8]) -> bool {
    let prefixes: [&[u8]; 3] = [b"current_", b"localtime", b"utc_"];
    let may_be = matches!(word.first(), Some(b'c' | b'C' | b'l' | b'L' | b'u' | b'U'));
    may_be
        && prefixes.iter().any(|prefix| {
            word.get(..prefix.len())
                .is_some_and(|start| start.eq_ignore_ascii_case(prefix))
        })
}

/// Whether a statement that begins so leaves the session as it was, apart from what the pass sees.
pub(super) fn leaves_session_alone(verb: Token<'_>) -> bool {
    const VERBS: [&[u8]; 18] = [
        b"select",
        b"insert",
        b"update",
        b"delete",
        b"replace",
        b"with",
        b"values",
        b"table",
        b"show",
        b"explain",
        b"desc",
        b"describe",
        b"analyze",
        b"begin",
        b"start",
        b"commit",
        b"rollback",
        b"truncate",
    ];
    match verb.kind {
        TokenKind::Open => true,
        TokenKind::Word => VERBS
            .iter()
            .any(|word| word.eq_ignore_ascii_case(verb.text)),
        _ => false,
    }
}
