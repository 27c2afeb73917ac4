//! The little SQL that the demo's servers understand: text to a [`Statement`], by one pass of the
//! lexer that the routing uses, too.

use super::refusal::Refusal;
use crate::mysql::Dialect;
use crate::mysql::lexer::{Lexer, Token, TokenKind};
use crate::mysql::result::Value;

/// The one database.
pub(super) const DATABASE: &str = "demo";
/// Its one table.
pub(super) const TABLE: &str = "kv";

/// Parameters of one prepared statement: more than a statement of reasonable length has.
const PARAMETERS_MAX: u16 = 1000;

/// First words of statements that a real server has and the demo has not.
const OF_REAL_SERVERS: [&str; 25] = [
    "ALTER",
    "ANALYZE",
    "CALL",
    "CHECK",
    "CREATE",
    "DEALLOCATE",
    "DESC",
    "DESCRIBE",
    "DO",
    "DROP",
    "EXECUTE",
    "EXPLAIN",
    "FLUSH",
    "GRANT",
    "HANDLER",
    "LOAD",
    "LOCK",
    "OPTIMIZE",
    "PREPARE",
    "RENAME",
    "SAVEPOINT",
    "TRUNCATE",
    "UNLOCK",
    "WITH",
    "XA",
];

/// Words behind an item of a SELECT that are not its alias.
const AFTER_ITEMS: [&str; 6] = ["FOR", "FROM", "LIMIT", "LOCK", "ORDER", "WHERE"];

/// What a client wants done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Statement {
    Begin {
        read_only: bool,
    },
    Commit,
    Delete {
        key: Option<Operand>,
    },
    Insert {
        rows: Vec<Pair>,
        replaces: bool,
    },
    Kill {
        thread: Operand,
        connection: bool,
    },
    Rollback,
    Select(Select),
    Set(Vec<Setting>),
    Show(Shown),
    Update {
        key: Option<Operand>,
        value: Operand,
    },
    Use(Vec<u8>),
}

impl Statement {
    /// Whether `COM_STMT_PREPARE` takes it.
    pub(super) fn is_preparable(&self) -> bool {
        matches!(
            self,
            Self::Delete { .. } | Self::Insert { .. } | Self::Select(_) | Self::Update { .. }
        )
    }

    /// Whether it has to do with the table.
    pub(super) fn uses_table(&self) -> bool {
        match self {
            Self::Select(select) => select.source != Source::None,
            other => other.is_preparable(),
        }
    }
}

impl Select {
    /// Whether there is one row for all that are found.
    pub(super) fn counts(&self) -> bool {
        let mut items = self.items.iter();
        items.any(|item| item.expression == Expression::Count)
    }
}

/// A key and its value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Pair {
    pub(super) key: Operand,
    pub(super) value: Operand,
}

/// What stands in place of a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Operand {
    Given(Value),
    /// The parameter of this index.
    Parameter(u16),
}

/// A SELECT, with or without the table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Select {
    pub(super) items: Vec<Item>,
    pub(super) source: Source,
    pub(super) descending: bool,
    pub(super) limit: Option<u64>,
}

/// Where the rows of a SELECT come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Source {
    /// From nowhere: there is one.
    None,
    /// All of the table.
    All,
    /// That of one key.
    Key(Operand),
}

/// One column of a SELECT's result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Item {
    pub(super) name: Vec<u8>,
    pub(super) expression: Expression,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Expression {
    Operand(Operand),
    Key,
    Value,
    /// `COUNT(*)`
    Count,
    /// `@@name`, in lower case and without a scope.
    Variable(Vec<u8>),
    ConnectionId,
    Database,
    User,
    Version,
}

/// One part of a SET.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Setting {
    Autocommit(bool),
    /// `SET NAMES` and the like: there is one character set, so that nothing changes.
    Charset,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shown {
    Databases,
    Tables,
    /// Also SHOW ERRORS: nothing but errors is ever left behind.
    Warnings,
}

/// Reads a statement. Also how many parameters it has, which only a prepared one may.
pub(super) fn parse(text: &[u8]) -> Result<(Statement, u16), Refusal> {
    let mut lexer = Lexer::new(text, Dialect::default());
    let next = lexer.next();
    let mut parser = Parser {
        text,
        lexer,
        next,
        end: 0,
        parameters: 0,
    };
    if parser.next.is_none() {
        return Err(Refusal::EMPTY_QUERY);
    }
    let statement = parser.statement()?;
    parser.accept(TokenKind::Semicolon);
    match parser.next {
        None => Ok((statement, parser.parameters)),
        Some(_) => Err(parser.refuse()),
    }
}

/// A pass over one statement, one token ahead.
struct Parser<'a> {
    text: &'a [u8],
    lexer: Lexer<'a>,
    next: Option<Token<'a>>,
    /// Where the last token that was taken ends.
    end: usize,
    parameters: u16,
}

impl<'a> Parser<'a> {
    fn statement(&mut self) -> Result<Statement, Refusal> {
        let Some(first) = self.next else {
            return Err(Refusal::EMPTY_QUERY);
        };
        if first.kind != TokenKind::Word {
            return Err(self.refuse());
        }
        self.take();
        match first.text.to_ascii_uppercase().as_slice() {
            b"BEGIN" => self.ended_transaction(Statement::Begin { read_only: false }),
            b"COMMIT" => self.ended_transaction(Statement::Commit),
            b"DELETE" => self.delete(),
            b"INSERT" => self.insert(false),
            b"KILL" => self.kill(),
            b"REPLACE" => self.insert(true),
            b"ROLLBACK" => self.ended_transaction(Statement::Rollback),
            b"SELECT" => self.select(),
            b"SET" => self.set(),
            b"SHOW" => self.show(),
            b"START" => self.start(),
            b"UPDATE" => self.update(),
            b"USE" => self.name().map(|name| Statement::Use(name.to_vec())),
            _ if is_one_of(first, &OF_REAL_SERVERS) => Err(Refusal::unsupported(first.text)),
            _ => Err(Refusal::syntax(&self.text[first.offset..])),
        }
    }

    /// `BEGIN [WORK]` and the like.
    fn ended_transaction(&mut self, statement: Statement) -> Result<Statement, Refusal> {
        self.accept_word("WORK");
        Ok(statement)
    }

    /// `START TRANSACTION [READ ONLY | READ WRITE | WITH CONSISTENT SNAPSHOT], ...`
    fn start(&mut self) -> Result<Statement, Refusal> {
        self.expect_word("TRANSACTION")?;
        let mut read_only = false;
        while self.next.is_some_and(|next| next.kind == TokenKind::Word) {
            if self.accept_word("WITH") {
                self.expect_word("CONSISTENT")?;
                self.expect_word("SNAPSHOT")?;
            } else {
                self.expect_word("READ")?;
                read_only = self.accept_word("ONLY");
                if !read_only {
                    self.expect_word("WRITE")?;
                }
            }
            if !self.accept(TokenKind::Comma) {
                break;
            }
        }
        Ok(Statement::Begin { read_only })
    }

    /// `[INTO] kv [(k, v)] VALUES (key, value), ...`
    fn insert(&mut self, replaces: bool) -> Result<Statement, Refusal> {
        self.accept_word("INTO");
        self.table()?;
        let mut key_first = true;
        if self.accept(TokenKind::Open) {
            let first = self.column()?;
            self.expect(TokenKind::Comma)?;
            let second = self.column()?;
            self.expect(TokenKind::Close)?;
            if first == second {
                return Err(self.refuse());
            }
            key_first = first == Expression::Key;
        }
        if !self.accept_word("VALUE") {
            self.expect_word("VALUES")?;
        }
        let mut rows = Vec::new();
        loop {
            self.expect(TokenKind::Open)?;
            let first = self.operand()?;
            self.expect(TokenKind::Comma)?;
            let second = self.operand()?;
            self.expect(TokenKind::Close)?;
            let (key, value) = match key_first {
                true => (first, second),
                false => (second, first),
            };
            rows.push(Pair { key, value });
            if !self.accept(TokenKind::Comma) {
                return Ok(Statement::Insert { rows, replaces });
            }
        }
    }

    /// `kv SET v = value [WHERE k = key]`
    fn update(&mut self) -> Result<Statement, Refusal> {
        self.table()?;
        self.expect_word("SET")?;
        if self.column()? != Expression::Value {
            return Err(self.refuse());
        }
        self.expect(TokenKind::Equals)?;
        let value = self.operand()?;
        let key = self.condition()?;
        Ok(Statement::Update { key, value })
    }

    /// `FROM kv [WHERE k = key]`
    fn delete(&mut self) -> Result<Statement, Refusal> {
        self.expect_word("FROM")?;
        self.table()?;
        let key = self.condition()?;
        Ok(Statement::Delete { key })
    }

    fn select(&mut self) -> Result<Statement, Refusal> {
        let mut items = Vec::new();
        if self.accept_mark(b'*') {
            items.push(self.column_item("k", Expression::Key));
            items.push(self.column_item("v", Expression::Value));
        } else {
            items.push(self.item()?);
        }
        while self.accept(TokenKind::Comma) {
            items.push(self.item()?);
        }
        let mut select = Select {
            items,
            source: Source::None,
            descending: false,
            limit: None,
        };
        if self.accept_word("FROM") {
            self.table()?;
            select.source = self.condition()?.map_or(Source::All, Source::Key);
            select.descending = self.order()?;
        }
        if self.accept_word("LIMIT") {
            select.limit = Some(self.count()?);
        }
        self.locking()?;
        Ok(Statement::Select(select))
    }

    fn column_item(&self, name: &str, expression: Expression) -> Item {
        let name = name.as_bytes().to_vec();
        Item { name, expression }
    }

    /// `expression [[AS] name]`; without a name it is called as it is written.
    fn item(&mut self) -> Result<Item, Refusal> {
        let Some(first) = self.next else {
            return Err(self.refuse());
        };
        let expression = self.expression()?;
        let written = &self.text[first.offset..self.end];
        let mut name = match &expression {
            Expression::Operand(Operand::Given(Value::Text(text))) => text.clone(),
            _ => written.to_vec(),
        };
        let is_alias = |next: Token<'_>| match next.kind {
            TokenKind::Word => !is_one_of(next, &AFTER_ITEMS),
            TokenKind::QuotedName | TokenKind::String => true,
            _ => false,
        };
        if self.accept_word("AS") || self.next.is_some_and(is_alias) {
            name = match self.next {
                Some(next) if next.kind == TokenKind::String => self.string()?,
                _ => self.name()?.to_vec(),
            };
        }
        Ok(Item { name, expression })
    }

    fn expression(&mut self) -> Result<Expression, Refusal> {
        match self.next {
            Some(next) if next.kind == TokenKind::SystemVariable => {
                self.take();
                Ok(Expression::Variable(unscoped(next.name())))
            }
            Some(next) if next.kind == TokenKind::Word && !next.is(b"NULL") => self.named(),
            Some(next) if next.kind == TokenKind::QuotedName => self.column(),
            _ => self.operand().map(Expression::Operand),
        }
    }

    /// A column or a function.
    fn named(&mut self) -> Result<Expression, Refusal> {
        let Some(name) = self.next else {
            return Err(self.refuse());
        };
        // A function's bracket follows its name directly, so that this is no alias.
        if self.text.get(name.offset + name.text.len()) != Some(&b'(') {
            return self.column();
        }
        let expression = match name.text.to_ascii_uppercase().as_slice() {
            b"CONNECTION_ID" => Expression::ConnectionId,
            b"COUNT" => Expression::Count,
            b"CURRENT_USER" | b"SESSION_USER" | b"SYSTEM_USER" | b"USER" => Expression::User,
            b"DATABASE" | b"SCHEMA" => Expression::Database,
            b"VERSION" => Expression::Version,
            _ => return Err(self.refuse()),
        };
        self.take();
        self.expect(TokenKind::Open)?;
        if expression == Expression::Count && !self.accept_mark(b'*') {
            return Err(self.refuse());
        }
        self.expect(TokenKind::Close)?;
        Ok(expression)
    }

    /// `[kv.]k` or `[kv.]v`
    fn column(&mut self) -> Result<Expression, Refusal> {
        let mut name = self.name()?;
        if self.accept(TokenKind::Dot) {
            is_table(name)?;
            name = self.name()?;
        }
        match name {
            b"k" | b"K" => Ok(Expression::Key),
            b"v" | b"V" => Ok(Expression::Value),
            _ => Err(Refusal::unknown_column(name)),
        }
    }

    /// `[demo.]kv`
    fn table(&mut self) -> Result<(), Refusal> {
        let mut name = self.name()?;
        if self.accept(TokenKind::Dot) {
            if name != DATABASE.as_bytes() {
                return Err(Refusal::unknown_database(name));
            }
            name = self.name()?;
        }
        is_table(name)
    }

    /// `[WHERE k = key]`
    fn condition(&mut self) -> Result<Option<Operand>, Refusal> {
        if !self.accept_word("WHERE") {
            return Ok(None);
        }
        if self.column()? != Expression::Key {
            return Err(self.refuse());
        }
        self.expect(TokenKind::Equals)?;
        self.operand().map(Some)
    }

    /// `[ORDER BY k [ASC | DESC]]`; whether it is the other way round.
    fn order(&mut self) -> Result<bool, Refusal> {
        if !self.accept_word("ORDER") {
            return Ok(false);
        }
        self.expect_word("BY")?;
        if self.column()? != Expression::Key {
            return Err(self.refuse());
        }
        Ok(!self.accept_word("ASC") && self.accept_word("DESC"))
    }

    /// `[FOR UPDATE | FOR SHARE | LOCK IN SHARE MODE]`: nobody waits for anybody here, but such a
    /// read goes another way.
    fn locking(&mut self) -> Result<(), Refusal> {
        if self.accept_word("FOR") {
            if !self.accept_word("SHARE") {
                self.expect_word("UPDATE")?;
            }
        } else if self.accept_word("LOCK") {
            for word in ["IN", "SHARE", "MODE"] {
                self.expect_word(word)?;
            }
        }
        Ok(())
    }

    /// `NAMES name`, `CHARACTER SET name` or `name = value`, and more of them.
    fn set(&mut self) -> Result<Statement, Refusal> {
        let mut settings = Vec::new();
        loop {
            settings.push(self.setting()?);
            if !self.accept(TokenKind::Comma) {
                return Ok(Statement::Set(settings));
            }
        }
    }

    fn setting(&mut self) -> Result<Setting, Refusal> {
        if self.accept_word("NAMES") {
            self.charset()?;
            if self.accept_word("COLLATE") {
                self.charset()?;
            }
            return Ok(Setting::Charset);
        }
        if self.accept_word("CHARACTER") {
            self.expect_word("SET")?;
            return self.charset();
        }
        let name = match self.next {
            Some(next) if next.kind == TokenKind::SystemVariable => {
                self.take();
                unscoped(next.name())
            }
            _ => {
                if !self.accept_word("SESSION") {
                    self.accept_word("LOCAL");
                }
                self.name()?.to_ascii_lowercase()
            }
        };
        if !self.accept(TokenKind::Assign) {
            self.expect(TokenKind::Equals)?;
        }
        match name.as_slice() {
            b"autocommit" => self.switch(&name).map(Setting::Autocommit),
            b"character_set_client"
            | b"character_set_connection"
            | b"character_set_results"
            | b"collation_connection" => self.charset(),
            _ => Err(Refusal::unknown_variable(&name)),
        }
    }

    /// A character set or collation of which UTF-8 is a part, or NULL: no conversion.
    fn charset(&mut self) -> Result<Setting, Refusal> {
        let name = match self.next {
            Some(next) if next.kind == TokenKind::String => self.string()?,
            _ => self.name()?.to_vec(),
        };
        let lower = name.to_ascii_lowercase();
        let is_known = lower.starts_with(b"utf8")
            || matches!(&lower[..], b"ascii" | b"binary" | b"default" | b"null");
        match is_known {
            true => Ok(Setting::Charset),
            false => Err(Refusal::unknown_charset(&name)),
        }
    }

    fn switch(&mut self, name: &[u8]) -> Result<bool, Refusal> {
        let value = match self.next {
            Some(next) if next.kind == TokenKind::String => self.string()?,
            Some(next) => {
                self.take();
                next.text.to_vec()
            }
            None => return Err(self.refuse()),
        };
        match value.to_ascii_uppercase().as_slice() {
            b"1" | b"ON" | b"TRUE" | b"DEFAULT" => Ok(true),
            b"0" | b"OFF" | b"FALSE" => Ok(false),
            _ => Err(Refusal::wrong_variable_value(name, &value)),
        }
    }

    fn show(&mut self) -> Result<Statement, Refusal> {
        self.accept_word("FULL");
        let Some(what) = self.next else {
            return Err(self.refuse());
        };
        let shown = match what.text.to_ascii_uppercase().as_slice() {
            b"DATABASES" | b"SCHEMAS" => Shown::Databases,
            b"TABLES" => Shown::Tables,
            b"ERRORS" | b"WARNINGS" => Shown::Warnings,
            _ => return Err(self.refuse()),
        };
        self.take();
        Ok(Statement::Show(shown))
    }

    /// `[HARD | SOFT] [CONNECTION | QUERY] id`
    fn kill(&mut self) -> Result<Statement, Refusal> {
        if !self.accept_word("HARD") {
            self.accept_word("SOFT");
        }
        let connection = self.accept_word("CONNECTION") || !self.accept_word("QUERY");
        let thread = self.operand()?;
        Ok(Statement::Kill { thread, connection })
    }

    /// A string, a whole number, NULL or a parameter.
    fn operand(&mut self) -> Result<Operand, Refusal> {
        let Some(next) = self.next else {
            return Err(self.refuse());
        };
        match next.kind {
            TokenKind::String => return Ok(Operand::Given(Value::Text(self.string()?))),
            TokenKind::Word if next.is(b"NULL") => {
                self.take();
                return Ok(Operand::Given(Value::Null));
            }
            TokenKind::Parameter if self.parameters < PARAMETERS_MAX => {
                self.take();
                self.parameters += 1;
                return Ok(Operand::Parameter(self.parameters - 1));
            }
            _ => {}
        }
        let is_negative = self.accept_mark(b'-');
        let number = i64::try_from(self.count()?).map_err(|_| Refusal::syntax(next.text))?;
        let number = if is_negative { -number } else { number };
        Ok(Operand::Given(Value::Integer(number)))
    }

    /// A whole number without a sign.
    fn count(&mut self) -> Result<u64, Refusal> {
        let digits = self.next.filter(|next| next.kind == TokenKind::Number);
        let number = digits.and_then(|digits| std::str::from_utf8(digits.text).ok()?.parse().ok());
        match number {
            Some(number) => {
                self.take();
                Ok(number)
            }
            None => Err(self.refuse()),
        }
    }

    /// A string, without its quotes and escapes.
    fn string(&mut self) -> Result<Vec<u8>, Refusal> {
        match self.next {
            Some(next) if next.kind == TokenKind::String => {
                self.take();
                Ok(unquoted(next.text))
            }
            _ => Err(self.refuse()),
        }
    }

    fn name(&mut self) -> Result<&'a [u8], Refusal> {
        match self.next {
            Some(next) if matches!(next.kind, TokenKind::Word | TokenKind::QuotedName) => {
                self.take();
                Ok(next.name())
            }
            _ => Err(self.refuse()),
        }
    }

    fn expect_word(&mut self, word: &str) -> Result<(), Refusal> {
        match self.accept_word(word) {
            true => Ok(()),
            false => Err(self.refuse()),
        }
    }

    fn expect(&mut self, kind: TokenKind) -> Result<(), Refusal> {
        match self.accept(kind) {
            true => Ok(()),
            false => Err(self.refuse()),
        }
    }

    fn accept_word(&mut self, word: &str) -> bool {
        self.accept_if(|next| next.kind == TokenKind::Word && next.is(word.as_bytes()))
    }

    fn accept_mark(&mut self, mark: u8) -> bool {
        self.accept_if(|next| next.kind == TokenKind::Mark && next.text == [mark])
    }

    fn accept(&mut self, kind: TokenKind) -> bool {
        self.accept_if(|next| next.kind == kind)
    }

    fn accept_if(&mut self, is_wanted: impl FnOnce(Token<'_>) -> bool) -> bool {
        let accepted = self.next.is_some_and(is_wanted);
        if accepted {
            self.take();
        }
        accepted
    }

    fn take(&mut self) {
        if let Some(taken) = self.next {
            self.end = taken.offset + taken.text.len();
        }
        self.next = self.lexer.next();
    }

    /// The statement cannot be read from the next token on.
    fn refuse(&self) -> Refusal {
        let at = self.next.map_or(self.text.len(), |next| next.offset);
        Refusal::syntax(&self.text[at..])
    }
}

impl Token<'_> {
    fn is(&self, word: &[u8]) -> bool {
        self.text.eq_ignore_ascii_case(word)
    }
}

fn is_one_of(token: Token<'_>, words: &[&str]) -> bool {
    words.iter().any(|word| token.is(word.as_bytes()))
}

fn is_table(name: &[u8]) -> Result<(), Refusal> {
    match name == TABLE.as_bytes() {
        true => Ok(()),
        false => Err(Refusal::unknown_table(name)),
    }
}

/// `session.autocommit` without the scope.
fn unscoped(name: &[u8]) -> Vec<u8> {
    let name = name.to_ascii_lowercase();
    let scopes: [&[u8]; 3] = [b"session.", b"global.", b"local."];
    let bare = scopes.iter().find_map(|scope| name.strip_prefix(*scope));
    bare.map_or(name.clone(), <[u8]>::to_vec)
}

/// What a quoted string stands for: escapes are resolved, and doubled quotes are one.
fn unquoted(text: &[u8]) -> Vec<u8> {
    let [quote, inside @ .., _] = text else {
        return Vec::new();
    };
    let mut plain = Vec::with_capacity(inside.len());
    let mut bytes = inside.iter().copied();
    while let Some(byte) = bytes.next() {
        match byte {
            b'\\' => match bytes.next() {
                Some(b'0') => plain.push(0),
                Some(b'b') => plain.push(8),
                Some(b'n') => plain.push(b'\n'),
                Some(b'r') => plain.push(b'\r'),
                Some(b't') => plain.push(b'\t'),
                Some(b'Z') => plain.push(0x1A),
                Some(other) => plain.push(other),
                None => {}
            },
            _ if byte == *quote => {
                bytes.next();
                plain.push(byte);
            }
            _ => plain.push(byte),
        }
    }
    plain
}
