//! What holds for any statement.

use proptest::prelude::*;
use proptest::sample::select;

use crate::entropy::corpus;
use crate::mysql::lexer::{Lexer, Token, TokenKind};
use crate::mysql::{Dialect, Kind, OwnWrites, Product, State, Target, classify, fuzzing};

/// Pieces that statements are made of, so that many of them are nearly right.
const PIECES: &[&str] = &[
    "SELECT",
    "select",
    "FROM",
    "t",
    "a",
    "`b`",
    "'c'",
    "\"d\"",
    "1",
    "1.5",
    ".5",
    "1e5",
    "0x1f",
    "@e",
    "@@f",
    "@@global.g",
    "(",
    ")",
    "(",
    ")",
    ",",
    ".",
    ";",
    "=",
    ":=",
    "*",
    "/",
    "-",
    "--",
    "?",
    "FOR",
    "UPDATE",
    "SHARE",
    "LOCK IN",
    "INTO",
    "OUTFILE",
    "WITH",
    "RECURSIVE",
    "AS",
    "INSERT",
    "REPLACE",
    "DELETE",
    "PROCEDURE",
    "NEXT",
    "VALUE",
    "nextval",
    "now",
    "get_lock",
    "f",
    "UNION",
    "ALL",
    "WHERE",
    "IN",
    "SET",
    "SHOW",
    "TABLES",
    "WARNINGS",
    "EXPLAIN",
    "ANALYZE",
    "BEGIN",
    "START",
    "TRANSACTION",
    "READ",
    "ONLY",
    "COMMIT",
    "/* c */",
    "/* route:replica */",
    "/*! x */",
    "/*!50000 FOR UPDATE */",
    "/*+ h */",
    "'",
    "\"",
    "`",
    "\\",
    "\\'",
    "/*",
    "*/",
    "#",
    "\n",
    "\0",
    "\u{e9}",
    "$",
    "CREATE",
    "TEMPORARY",
    "TABLE",
    "DROP",
    "USE",
    "GLOBAL",
    "SESSION",
    "NAMES",
    "gbk",
];

/// What can stand between two tokens.
const BLANKS: &[&str] = &[" ", "\n", "\t ", "/**/", "/* x */", "-- x\n", "#\n"];

fn pieces() -> impl Strategy<Value = String> {
    let spaced = (select(PIECES), select(&[" ", " ", "", "\t", "/**/"][..]));
    prop::collection::vec(spaced, 0..16).prop_map(|pieces| {
        pieces
            .into_iter()
            .map(|(piece, space)| format!("{piece}{space}"))
            .collect()
    })
}

fn dialects() -> impl Strategy<Value = Dialect> {
    let products = select(vec![Product::Unknown, Product::MySql, Product::MariaDb]);
    let all = (any::<bool>(), any::<bool>(), any::<bool>(), products);
    all.prop_map(|(ansi, escapes, multi, product)| Dialect {
        ansi_quotes: ansi,
        no_backslash_escapes: escapes,
        multi_statements: multi,
        trail_bytes: false,
        product,
    })
}

fn target(sql: &[u8], dialect: Dialect) -> Target {
    let statement = classify(sql, dialect);
    State::new(dialect, true)
        .route(&statement, OwnWrites::Visible)
        .target
}

proptest! {
    #[test]
    fn any_bytes_are_read_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        fuzzing::check_sql(&bytes);
        fuzzing::check_sql(&[b"SELECT ".as_slice(), &bytes].concat());
    }

    #[test]
    fn nearly_right_statements_hold_what_any_does(sql in pieces()) {
        fuzzing::check_sql(sql.as_bytes());
    }

    #[test]
    fn random_bytes_are_never_a_read(bytes in prop::collection::vec(any::<u8>(), 0..60)) {
        let kind = classify(&bytes, Dialect::default()).kind;
        prop_assert!(kind == Kind::Primary || bytes.is_ascii(), "{kind:?}");
    }

    /// Blanks and comments stand between any two tokens, and mean nothing.
    #[test]
    fn what_stands_between_tokens_changes_nothing(
        sql in pieces(),
        dialect in dialects(),
        blanks in prop::collection::vec(select(BLANKS), 1..8),
    ) {
        let plain: Vec<_> = Lexer::new(sql.as_bytes(), dialect).collect();
        let mut spread = Vec::new();
        for (i, token) in plain.iter().enumerate() {
            // A dot and its neighbours, and what it makes of digits, hang together.
            let touches = i > 0 && plain[i - 1].offset + plain[i - 1].text.len() == token.offset;
            if !touches {
                // Dashes make a comment of what would not be one.
                let blank = if spread.ends_with(b"-") { "/**/" } else { blanks[i % blanks.len()] };
                spread.extend_from_slice(blank.as_bytes());
            }
            spread.extend_from_slice(token.text);
        }
        if spread.ends_with(b"-") {
            spread.extend_from_slice(b"/**/");
        }
        let ends_open = plain.last().is_some_and(|token| token.text.starts_with(b"/*"));
        if ends_open {
            return Ok(());
        }
        let before = classify(sql.as_bytes(), dialect);
        let after = classify(&spread, dialect);
        if before.hint.is_none() {
            prop_assert_eq!(before.kind, after.kind, "{:?}", String::from_utf8_lossy(&spread));
            prop_assert_eq!(before.reason, after.reason);
            prop_assert_eq!(before.effects, after.effects);
        }
    }

    #[test]
    fn a_string_that_does_not_end_proves_nothing(
        sql in pieces(),
        dialect in dialects(),
        quote in select(&["'", "\"", "`", "/*"][..]),
    ) {
        let open = format!("{sql} {quote}");
        let is_whole = |token: Token<'_>| token.kind != TokenKind::Unreadable;
        if Lexer::new(sql.as_bytes(), dialect).all(is_whole)
            && !Lexer::new(open.as_bytes(), dialect).all(is_whole)
        {
            prop_assert_ne!(target(open.as_bytes(), dialect), Target::Replica, "{}", open);
        }
    }

    #[test]
    fn a_read_cut_off_inside_a_string_is_no_read(head in "[a-z ,=]{0,20}", cut in 0..8_usize) {
        let sql = format!("SELECT {head} 'a string' FOR UPDATE");
        let start = sql.find('\'').unwrap() + 1;
        let is_cut = &sql.as_bytes()[..start + cut];
        prop_assert_eq!(target(is_cut, Dialect::default()), Target::Primary);
    }

    #[test]
    fn letters_have_no_case(sql in pieces(), dialect in dialects()) {
        let sql = sql.replace("0x", "0"); // 0X1F is a name.
        let before = classify(sql.to_ascii_lowercase().as_bytes(), dialect);
        let after = classify(sql.to_ascii_uppercase().as_bytes(), dialect);
        prop_assert_eq!(before.kind, after.kind);
        prop_assert_eq!(before.reason, after.reason);
    }
}

#[test]
fn the_fuzzers_corpus_passes() {
    for data in corpus("sql") {
        fuzzing::check_sql(&data);
    }
}
