//! What must hold for any bytes: driven by the fuzz target, its corpus and property tests.

use crate::mysql::lexer::{Lexer, Product, TokenKind};
use crate::mysql::{Dialect, Hint, Kind, OwnWrites, Reply, Server, State, Status, Target};
use crate::mysql::{Statement, classify, masked};

/// Reads whatever is in `data` in every dialect.
///
/// # Panics
/// When something does not hold.
pub fn check_sql(data: &[u8]) {
    for dialect in dialects() {
        check_tokens(data, dialect);
        let statement = classify(data, dialect);
        check_statement(data, dialect, &statement);
        check_route(dialect, &statement);
        let line = masked(data, dialect, 64);
        assert!(
            line.len() <= 64 && !line.contains(char::is_control),
            "{line:?}"
        );
    }
}

/// Every dialect there is.
pub fn dialects() -> impl Iterator<Item = Dialect> {
    let products = [Product::Unknown, Product::MySql, Product::MariaDb];
    let all = (0..16_u8).flat_map(move |bits| products.map(|product| (bits, product)));
    all.map(|(bits, product)| Dialect {
        ansi_quotes: bits & 1 != 0,
        no_backslash_escapes: bits & 2 != 0,
        multi_statements: bits & 4 != 0,
        trail_bytes: bits & 8 != 0,
        product,
    })
}

/// Tokens are parts of the text, in order, and what lies between them is no token.
fn check_tokens(data: &[u8], dialect: Dialect) {
    let mut end = 0;
    for token in Lexer::new(data, dialect) {
        assert!(token.offset >= end, "tokens overlap");
        end = token.offset.saturating_add(token.text.len());
        assert!(!token.text.is_empty());
        assert_eq!(data.get(token.offset..end), Some(token.text));
        if token.kind == TokenKind::Unreadable {
            assert_eq!(
                end,
                data.len(),
                "nothing is read behind what cannot be read"
            );
        }
    }
}

fn check_statement(data: &[u8], dialect: Dialect, statement: &Statement) {
    let decisive = statement.decisive;
    let end = decisive.offset.saturating_add(decisive.length);
    assert!(end as usize <= data.len());
    let longer = [data, b"\n"].concat();
    assert_eq!(
        classify(&longer, dialect).kind,
        statement.kind,
        "a line's end changed it"
    );
    if matches!(
        statement.kind,
        Kind::Read | Kind::Doubtful | Kind::Diagnostics
    ) {
        let mut semicolons = false;
        for token in Lexer::new(data, dialect) {
            let is_read = !matches!(
                token.kind,
                TokenKind::Unreadable | TokenKind::ExecutableComment | TokenKind::Assign
            );
            assert!(
                is_read || statement.kind == Kind::Diagnostics,
                "{token:?} is no read"
            );
            assert!(
                !semicolons || token.kind == TokenKind::Semicolon,
                "{token:?} behind `;`"
            );
            semicolons |= token.kind == TokenKind::Semicolon;
        }
    }
}

/// Nothing reaches the replica unless it was proven, or vouched for; and whatever a session does,
/// its state takes it.
fn check_route(dialect: Dialect, statement: &Statement) {
    let mut state = State::new(dialect, true);
    let decision = state.route(statement, OwnWrites::Visible);
    if decision.target == Target::Replica {
        let is_vouched = statement.kind == Kind::Doubtful && statement.hint == Some(Hint::Replica);
        let is_read = matches!(statement.kind, Kind::Read | Kind::Begin(_));
        assert!(is_read || is_vouched, "{statement:?}");
    }
    for status in [0x0002, 0x0003, 0x2003, 0x0000, 0x0202] {
        let decision = state.route(statement, OwnWrites::Unseen);
        let reply = Reply {
            status: Status(status),
            failed: status == 0,
            several_results: status == 0x0003,
            changed_session: false,
        };
        for server in [Server::Primary, Server::Replica] {
            state.after(statement, &decision, server, reply);
        }
    }
}
