//! Statement bytes to tokens, in one pass and without allocation.
//!
//! The rules are those of the servers' own lexers (`sql_lex.cc` of MySQL and of MariaDB), and where
//! the two differ, or where a mode of the session that cannot be seen from outside would move the
//! end of a token, the token is [`Unreadable`](TokenKind::Unreadable) and ends the pass: what
//! follows it could be read in two ways, and one of them may write.
//!
//! Bytes from 0x80 are parts of words, whatever the character set; see [`Dialect::trail_bytes`].

/// What the meaning of a statement's bytes depends on besides the bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Dialect {
    /// `"` encloses a name and not a string: `ANSI_QUOTES` of `sql_mode`.
    pub ansi_quotes: bool,
    /// A backslash in a string is a backslash: `NO_BACKSLASH_ESCAPES`, which the server tells in
    /// the status flags of every reply.
    pub no_backslash_escapes: bool,
    /// The client may send several statements in one: `CLIENT_MULTI_STATEMENTS`.
    pub multi_statements: bool,
    /// The client's character set is one of those whose second byte can look like a quote or a
    /// backslash (big5, cp932, gb18030, gbk, sjis): see [`has_trail_bytes`]. Nothing with a byte
    /// from 0x80 can be read then.
    pub trail_bytes: bool,
    /// Whose functions are built in.
    pub product: Product,
}

/// What a server is, as far as a statement's meaning depends on it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Product {
    /// Either.
    #[default]
    Unknown,
    /// MySQL, and what says nothing else of itself.
    MySql,
    /// MariaDB.
    MariaDb,
}

impl Product {
    /// By the version in a server's greeting.
    pub fn of_version(version: &[u8]) -> Self {
        const MARIADB: &[u8] = b"MariaDB";
        let mut parts = version.windows(MARIADB.len());
        match parts.any(|part| part.eq_ignore_ascii_case(MARIADB)) {
            true => Self::MariaDb,
            false => Self::MySql,
        }
    }
}

/// Whether a character set, by the id of its collation in the handshake, has characters whose
/// second byte can be that of an ASCII character.
pub const fn has_trail_bytes(collation: u16) -> bool {
    match collation {
        248..=250 => true, // gb18030
        // big5, sjis, gbk, cp932; those with NO PAD are 1024 higher in MariaDB.
        0..2048 => matches!(collation & 0x3ff, 1 | 13 | 28 | 84 | 87 | 88 | 95 | 96),
        _ => false,
    }
}

/// What a token is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenKind {
    /// A keyword or an unquoted name.
    Word,
    /// A name in backticks, or in double quotes under [`Dialect::ansi_quotes`].
    QuotedName,
    /// A string in single or double quotes.
    String,
    /// A number, decimal, hexadecimal (`0x1F`) or binary (`0b11`).
    Number,
    /// `?`
    Parameter,
    /// `@name`, `@'name'`, `@"name"` or `` @`name` ``.
    UserVariable,
    /// `@@name` or `@@scope.name`.
    SystemVariable,
    /// `:=`
    Assign,
    /// `=`
    Equals,
    /// `(`
    Open,
    /// `)`
    Close,
    /// `.`
    Dot,
    /// `,`
    Comma,
    /// `;`
    Semicolon,
    /// Any other mark; two-byte operators are two of them.
    Mark,
    /// `/*! */` or `/*M! */`, unless it holds nothing but words that only hint.
    ExecutableComment,
    /// What cannot be read, or can be read in two ways: an open string, name or comment, a stray
    /// byte, an escape whose meaning depends on a mode. The last token.
    Unreadable,
}

/// A token and where it stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Token<'a> {
    /// What it is.
    pub kind: TokenKind,
    /// Its bytes, quotes and `@` included.
    pub text: &'a [u8],
    /// Where it starts in the statement.
    pub offset: usize,
}

impl<'a> Token<'a> {
    /// The name without its quotes, of a name or a variable. Doubled quotes stay doubled.
    pub fn name(&self) -> &'a [u8] {
        let text = self.text;
        let bare = match self.kind {
            TokenKind::UserVariable => text.strip_prefix(b"@").unwrap_or(text),
            TokenKind::SystemVariable => text.strip_prefix(b"@@").unwrap_or(text),
            _ => text,
        };
        match bare {
            [b'`', inner @ .., b'`'] | [b'"', inner @ .., b'"'] | [b'\'', inner @ .., b'\''] => {
                inner
            }
            _ => bare,
        }
    }
}

/// A pass over one statement.
#[derive(Clone, Debug)]
pub struct Lexer<'a> {
    text: &'a [u8],
    dialect: Dialect,
    at: usize,
    first_comment: Option<&'a [u8]>,
    ended: bool,
}

impl<'a> Lexer<'a> {
    /// A pass from the first byte.
    pub const fn new(text: &'a [u8], dialect: Dialect) -> Self {
        Self {
            text,
            dialect,
            at: 0,
            first_comment: None,
            ended: false,
        }
    }

    /// What stands in the first comment that the pass has met, if it is a `/* */`; empty for the
    /// other kinds. Optimizer hints are not comments.
    pub const fn first_comment(&self) -> Option<&'a [u8]> {
        self.first_comment
    }

    /// The byte `ahead` of the current one. The servers read a NUL behind the last one, so that
    /// the end ends whatever a NUL would; a NUL in the text is told apart by who asks.
    fn peek(&self, ahead: usize) -> Option<u8> {
        self.text.get(self.at.saturating_add(ahead)).copied()
    }

    fn rest(&self) -> &'a [u8] {
        self.text.get(self.at..).unwrap_or_default()
    }

    fn skip(&mut self, bytes: usize) {
        self.at = self.at.saturating_add(bytes).min(self.text.len());
    }

    #[inline]
    fn skip_while(&mut self, is_part: impl Fn(u8) -> bool) {
        let rest = self.rest();
        let length = rest.iter().position(|&byte| !is_part(byte));
        self.skip(length.unwrap_or(rest.len()));
    }

    /// Goes on to the next byte of a token. What is no token but cannot be skipped either is
    /// returned.
    #[inline]
    fn skip_blank(&mut self) -> Option<TokenKind> {
        loop {
            match self.peek(0)? {
                b' ' | b'\t'..=b'\r' => self.at = self.at.saturating_add(1),
                first @ (b'#' | b'-' | b'/') => match self.skip_remark(first) {
                    Remark::Skipped => {}
                    Remark::None => return None,
                    Remark::Token(kind) => return Some(kind),
                },
                _ => return None,
            }
        }
    }

    /// Skips a comment, if it is one that starts with `first`.
    fn skip_remark(&mut self, first: u8) -> Remark {
        match (first, self.peek(1), self.peek(2)) {
            (b'#', ..) | (b'-', Some(b'-'), None | Some(..=b' ' | 0x7f)) => {
                self.skip_line();
                Remark::Skipped
            }
            // A space in some character sets, and in others a part of a name.
            (b'-', Some(b'-'), Some(0x80..)) => Remark::Token(TokenKind::Unreadable),
            (b'/', Some(b'*'), _) => self.skip_comment().map_or(Remark::Skipped, Remark::Token),
            _ => Remark::None,
        }
    }

    fn skip_line(&mut self) {
        self.first_comment.get_or_insert_default();
        self.skip_while(|byte| byte != b'\n');
    }

    /// Skips `/* */`, which does not nest.
    fn skip_comment(&mut self) -> Option<TokenKind> {
        let opening = match (self.peek(2), self.peek(3)) {
            (Some(b'!'), _) => Opening::Executable(3),
            (Some(b'M' | b'm'), Some(b'!')) => Opening::Executable(4),
            (Some(b'+'), _) => Opening::OptimizerHints,
            _ => Opening::Comment,
        };
        let rest = self.rest();
        let inside = rest.get(2..).unwrap_or_default();
        let Some(length) = inside.windows(2).position(|pair| pair == b"*/") else {
            return Some(TokenKind::Unreadable);
        };
        let inside = inside.get(..length).unwrap_or_default();
        match opening {
            Opening::Comment => {
                self.first_comment.get_or_insert(inside);
            }
            Opening::OptimizerHints => {
                // The server reads hints with quotes of their own, in which `*/` can stand.
                if inside
                    .iter()
                    .any(|byte| matches!(byte, b'`' | b'"' | b'\''))
                {
                    return Some(TokenKind::Unreadable);
                }
            }
            Opening::Executable(marks) => {
                let code = rest
                    .get(marks..length.saturating_add(2))
                    .unwrap_or_default();
                if !only_hints(code) {
                    return Some(TokenKind::ExecutableComment);
                }
            }
        }
        self.skip(length.saturating_add(4));
        None
    }

    /// Finds the end of what is in `quote`s from here, the opening one included. `None` if it has
    /// none, or if it has another one in a mode that the session may be in.
    fn quoted(&self, quote: u8) -> Option<usize> {
        let has_escapes = quote != b'`' && !self.dialect.no_backslash_escapes;
        let rest = self.rest();
        let mut at = 1_usize;
        loop {
            let inside = rest.get(at..)?;
            let stop = inside
                .iter()
                .position(|&byte| byte == quote || (byte == b'\\' && has_escapes))?;
            at = at.saturating_add(stop).saturating_add(1);
            let next = rest.get(at).copied();
            if rest.get(at.wrapping_sub(1)) == Some(&b'\\') {
                // Under ANSI_QUOTES this backslash is a part of a name and the quote ends it;
                // otherwise it goes on. Nothing outside the server says for certain which.
                if quote == b'"' && next? == b'"' {
                    return None;
                }
                at = at.saturating_add(1);
            } else if next == Some(quote) {
                at = at.saturating_add(1);
            } else {
                return Some(at);
            }
        }
    }

    /// Reads a token that starts with `first`.
    #[inline(always)]
    fn token(&mut self, first: u8) -> TokenKind {
        let mark = |kind| (kind, 1);
        let (kind, length) = match first {
            b'(' => mark(TokenKind::Open),
            b')' => mark(TokenKind::Close),
            b',' => mark(TokenKind::Comma),
            b'.' => return self.dot(),
            b';' => mark(TokenKind::Semicolon),
            b'?' => mark(TokenKind::Parameter),
            b'=' => mark(TokenKind::Equals),
            b':' if self.peek(1) == Some(b'=') => (TokenKind::Assign, 2),
            b'\'' => return self.enclosed(TokenKind::String, b'\''),
            b'`' => return self.enclosed(TokenKind::QuotedName, b'`'),
            b'"' if self.dialect.ansi_quotes => return self.enclosed(TokenKind::QuotedName, b'"'),
            b'"' => return self.enclosed(TokenKind::String, b'"'),
            b'@' => return self.variable(),
            b'0'..=b'9' => return self.number_or_word(),
            // The end of a comment that nothing has opened, unless the next one opens there.
            b'*' if self.peek(1) == Some(b'/') && self.peek(2) != Some(b'*') => {
                return TokenKind::Unreadable;
            }
            b'!' | b'%' | b'&' | b'*' | b'+' | b'-' | b'/' | b':' | b'<' | b'>' | b'^' | b'{'
            | b'|' | b'}' | b'~' => mark(TokenKind::Mark),
            b'$' => return self.dollar(),
            byte if is_name(byte) => return self.word(),
            _ => return TokenKind::Unreadable,
        };
        self.skip(length);
        kind
    }

    #[inline(always)]
    fn word(&mut self) -> TokenKind {
        self.skip_while(is_name);
        TokenKind::Word
    }

    /// A name, unless it is `$$` or `$tag$`, which enclose strings in MySQL 9.
    fn dollar(&mut self) -> TokenKind {
        let start = self.at;
        let kind = self.word();
        let name = self.text.get(start..self.at).unwrap_or_default();
        match name.iter().filter(|byte| **byte == b'$').count() {
            1 => kind,
            _ => TokenKind::Unreadable,
        }
    }

    fn enclosed(&mut self, kind: TokenKind, quote: u8) -> TokenKind {
        match self.quoted(quote) {
            Some(length) => {
                self.skip(length);
                kind
            }
            None => TokenKind::Unreadable,
        }
    }

    /// `1`, `1.5`, `1e-3`, `0x1F`, or a name that starts with a digit. A number can end where a
    /// keyword begins: `1.FOR` and `1e5FOR` are two tokens to the servers, `1FOR` is one.
    fn number_or_word(&mut self) -> TokenKind {
        let start = self.at;
        self.skip_while(|byte| byte.is_ascii_digit());
        if self.skip_fraction() | self.skip_exponent() {
            return self.ended_number();
        }
        self.skip_while(is_name);
        match self.text.get(start..self.at).unwrap_or_default() {
            [b'0', b'x', digits @ ..] if digits.iter().all(u8::is_ascii_hexdigit) => {
                self.ended_number()
            }
            [b'0', b'b', bits @ ..] if bits.iter().all(|bit| matches!(bit, b'0' | b'1')) => {
                self.ended_number()
            }
            run if run.iter().all(u8::is_ascii_digit) => TokenKind::Number,
            _ => TokenKind::Word,
        }
    }

    /// A dot right behind a number: what it begins, a fraction or a name, is nobody's to guess.
    fn ended_number(&self) -> TokenKind {
        match self.peek(0) {
            Some(b'.') => TokenKind::Unreadable,
            _ => TokenKind::Number,
        }
    }

    /// Skips `.5` or `.`, and what `e5` or `e-5` follows.
    fn skip_fraction(&mut self) -> bool {
        let has_fraction = self.peek(0) == Some(b'.');
        if has_fraction {
            self.skip(1);
            self.skip_while(|byte| byte.is_ascii_digit());
        }
        has_fraction
    }

    /// Skips `e5` or `e-5`; an `e` without digits is a part of a name.
    fn skip_exponent(&mut self) -> bool {
        let (length, digit) = match (self.peek(0), self.peek(1), self.peek(2)) {
            (Some(b'e' | b'E'), Some(b'+' | b'-'), digit) => (2, digit),
            (Some(b'e' | b'E'), digit, _) => (1, digit),
            _ => return false,
        };
        let has_digits = digit.is_some_and(|digit| digit.is_ascii_digit());
        if has_digits {
            self.skip(length);
            self.skip_while(|byte| byte.is_ascii_digit());
        }
        has_digits
    }

    /// A dot between names, or the start of a fraction: `.5` is one unless a name ends right
    /// before it.
    fn dot(&mut self) -> TokenKind {
        let before = self.at.checked_sub(1).and_then(|at| self.text.get(at));
        let follows_name = before.is_some_and(|&byte| is_name(byte));
        if !follows_name && self.peek(1).is_some_and(|byte| byte.is_ascii_digit()) {
            self.skip_fraction();
            self.skip_exponent();
            return self.ended_number();
        }
        self.skip(1);
        TokenKind::Dot
    }

    /// `@name` or `@@name`.
    fn variable(&mut self) -> TokenKind {
        self.skip(1);
        if self.peek(0) == Some(b'@') {
            self.skip(1);
            return self.system_variable();
        }
        match self.peek(0) {
            Some(quote @ (b'\'' | b'"' | b'`')) => self.enclosed(TokenKind::UserVariable, quote),
            _ => {
                self.skip_while(|byte| is_ascii_name(byte) || byte == b'.');
                TokenKind::UserVariable
            }
        }
    }

    /// `@@name`, `@@scope.name` or `@@keycache.name`, each part in backticks or not.
    fn system_variable(&mut self) -> TokenKind {
        loop {
            match self.peek(0) {
                Some(b'`') => {
                    if self.enclosed(TokenKind::QuotedName, b'`') == TokenKind::Unreadable {
                        return TokenKind::Unreadable;
                    }
                }
                Some(byte) if is_ascii_name(byte) => self.skip_while(is_ascii_name),
                _ => return TokenKind::Unreadable,
            }
            if self.peek(0) != Some(b'.') {
                return TokenKind::SystemVariable;
            }
            self.skip(1);
        }
    }
}

impl<'a> Iterator for Lexer<'a> {
    type Item = Token<'a>;

    // Inlined with what it calls: a statement has a token every four bytes or so, and three calls
    // for each are an eighth of what it costs to read one.
    #[inline(always)]
    fn next(&mut self) -> Option<Token<'a>> {
        if self.ended {
            return None;
        }
        let blank = self.skip_blank();
        let offset = self.at;
        let kind = match blank {
            Some(kind) => kind,
            None => {
                let first = self.peek(0)?;
                self.token(first)
            }
        };
        let mut text = self.text.get(offset..self.at).unwrap_or_default();
        let is_last = matches!(kind, TokenKind::Unreadable | TokenKind::ExecutableComment);
        let trailing = self.dialect.trail_bytes && !text.is_ascii();
        if is_last || trailing {
            self.ended = true;
            text = self.text.get(offset..).unwrap_or_default();
        }
        let kind = if trailing {
            TokenKind::Unreadable
        } else {
            kind
        };
        Some(Token { kind, text, offset })
    }
}

/// What stands where a comment may stand.
enum Remark {
    Skipped,
    None,
    /// Something that has to be looked at.
    Token(TokenKind),
}

/// What `/*` opens.
enum Opening {
    Comment,
    OptimizerHints,
    /// With so many bytes of marks before the code.
    Executable(usize),
}

/// Whether an executable comment, run or not, changes nothing about what its statement is: it has a
/// version number and words that hint at how to read, like `/*!40001 SQL_NO_CACHE */` of mysqldump.
fn only_hints(code: &[u8]) -> bool {
    const HINTS: [&[u8]; 7] = [
        b"high_priority",
        b"sql_big_result",
        b"sql_buffer_result",
        b"sql_cache",
        b"sql_no_cache",
        b"sql_small_result",
        b"straight_join",
    ];
    let digits = code.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let words = code.get(digits..).unwrap_or_default();
    words
        .split(|&byte| is_blank(byte))
        .filter(|word| !word.is_empty())
        .all(|word| HINTS.iter().any(|hint| word.eq_ignore_ascii_case(hint)))
}

const fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t'..=b'\r')
}

#[inline]
const fn is_name(byte: u8) -> bool {
    #[allow(
        clippy::indexing_slicing,
        reason = "the table has a place for every byte"
    )]
    NAME_BYTES[byte as usize]
}

/// Bytes of words and unquoted names.
static NAME_BYTES: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0_u8;
    loop {
        #[allow(
            clippy::indexing_slicing,
            reason = "the table has a place for every byte"
        )]
        {
            table[byte as usize] =
                byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'$' | 0x80..);
        }
        match byte.checked_add(1) {
            Some(next) => byte = next,
            None => break table,
        }
    }
};

/// What names of variables are made of without doubt: some bytes from 0x80 are spaces in some
/// character sets.
const fn is_ascii_name(byte: u8) -> bool {
    byte < 0x80 && is_name(byte)
}
