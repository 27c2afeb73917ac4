//! `KILL`, as a statement and as a command: which connection is meant, by the id that clients know.

use crate::mysql::lexer::{Dialect, Lexer, TokenKind};

/// Whose connection or statement a client wants to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kill {
    /// The thread id at the primary.
    pub thread_id: u32,
    /// Only the statement that runs, not the connection.
    pub query_only: bool,
}

impl Kill {
    /// Reads `KILL [HARD | SOFT] [CONNECTION | QUERY] id`. `None` where it is another form: by user,
    /// by query id, or with an expression.
    pub(super) fn parse(text: &[u8], dialect: Dialect) -> Option<Self> {
        let mut query_only = false;
        let mut tokens = Lexer::new(text, dialect).skip(1);
        loop {
            let token = tokens.next()?;
            match token.kind {
                TokenKind::Number => {
                    let thread_id = std::str::from_utf8(token.text).ok()?.parse().ok()?;
                    let rest = tokens.next();
                    let ends = rest.is_none_or(|token| token.text == b";");
                    return ends.then_some(Self {
                        thread_id,
                        query_only,
                    });
                }
                _ if is(token.text, b"QUERY") => query_only = true,
                _ if is(token.text, b"CONNECTION") => {}
                _ if is(token.text, b"HARD") || is(token.text, b"SOFT") => {}
                _ => return None,
            }
        }
    }

    /// Reads the arguments of a `COM_PROCESS_KILL`.
    pub(super) fn from_command(arguments: &[u8]) -> Option<Self> {
        let id = arguments.first_chunk()?;
        Some(Self {
            thread_id: u32::from_le_bytes(*id),
            query_only: false,
        })
    }
}

fn is(text: &[u8], word: &[u8]) -> bool {
    text.eq_ignore_ascii_case(word)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Option<(u32, bool)> {
        let kill = Kill::parse(text.as_bytes(), Dialect::default())?;
        Some((kill.thread_id, kill.query_only))
    }

    #[test]
    fn the_forms_with_a_thread_id_are_read() {
        assert_eq!(parse("KILL 17"), Some((17, false)));
        assert_eq!(parse("kill connection 17;"), Some((17, false)));
        assert_eq!(
            parse("KILL SOFT QUERY /* that one */ 4294967295"),
            Some((u32::MAX, true))
        );
    }

    #[test]
    fn others_are_the_primarys_alone() {
        for text in [
            "KILL QUERY ID 5",
            "KILL USER app",
            "KILL @a",
            "KILL 5 + 1",
            "KILL 99999999999",
            "KILL",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
