//! A statement for a log: what it does, without the data it does it with.

use super::lexer::{Dialect, Lexer, TokenKind};

/// The statement with `?` for every string and number, without comments, on one line, in at most
/// `bytes_max` bytes; `...` marks what was cut off. What cannot be read is cut off too. What stands
/// in double quotes is masked even where it is a name: whether it is depends on a mode of the
/// server's, and a password must not be shown when that is taken for another than it is.
pub fn masked(text: &[u8], dialect: Dialect, bytes_max: usize) -> String {
    let mut line = Line {
        text: String::with_capacity(text.len().min(bytes_max)),
        bytes_max,
    };
    let mut end = 0;
    for token in Lexer::new(text, dialect) {
        if token.offset > end && !line.text.is_empty() && !line.push(" ") {
            break;
        }
        end = token.offset.saturating_add(token.text.len());
        let fits = match token.kind {
            TokenKind::String | TokenKind::Number => line.push("?"),
            TokenKind::QuotedName if token.text.starts_with(b"\"") => line.push("?"),
            TokenKind::Unreadable | TokenKind::ExecutableComment => {
                line.cut();
                false
            }
            _ => line.push_bytes(token.text),
        };
        if !fits {
            break;
        }
    }
    line.text
}

/// What is written so far.
struct Line {
    text: String,
    bytes_max: usize,
}

impl Line {
    /// Marks the end of what could be told, in the room there is.
    const MARK: &str = "...";

    fn push_bytes(&mut self, bytes: &[u8]) -> bool {
        bytes.utf8_chunks().all(|chunk| {
            let is_whole = chunk.invalid().is_empty();
            let valid = chunk.valid().chars().all(|c| {
                let mut buffer = [0; 4];
                match c.is_control() {
                    true => self.push("\u{fffd}"),
                    false => self.push(c.encode_utf8(&mut buffer)),
                }
            });
            valid && (is_whole || self.push("\u{fffd}"))
        })
    }

    /// Whether it fitted.
    fn push(&mut self, piece: &str) -> bool {
        let fits = self.text.len().saturating_add(piece.len()) <= self.bytes_max;
        if fits {
            self.text.push_str(piece);
        } else {
            self.cut();
        }
        fits
    }

    fn cut(&mut self) {
        while self.text.len().saturating_add(Self::MARK.len()) > self.bytes_max {
            if self.text.pop().is_none() {
                return;
            }
        }
        self.text.push_str(Self::MARK);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mask(text: &str) -> String {
        masked(text.as_bytes(), Dialect::default(), 200)
    }

    #[test]
    fn strings_and_numbers_are_masked_and_names_stay() {
        for (statement, expected) in [
            (
                "SELECT c FROM sbtest1 WHERE id=5021",
                "SELECT c FROM sbtest1 WHERE id=?",
            ),
            (
                "insert into `t 1` values ('it''s', \"a\", 0x1F, -1.5e3, .5)",
                "insert into `t 1` values (?, ?, ?, -?, ?)",
            ),
            (
                "SELECT @a, @@session.x, t1.c2",
                "SELECT @a, @@session.x, t1.c2",
            ),
            (
                "ALTER USER u IDENTIFIED BY 's3cret'",
                "ALTER USER u IDENTIFIED BY ?",
            ),
            ("  SELECT\n\t1 /* who: me */ -- more", "SELECT ?"),
            ("SELECT 'open", "SELECT ..."),
            ("SELECT N'x', x'4D', _utf8'y'", "SELECT N?, x?, _utf8?"),
        ] {
            assert_eq!(mask(statement), expected);
        }
    }

    #[test]
    fn what_may_be_a_password_is_masked_in_every_mode() {
        let ansi_quotes = Dialect {
            ansi_quotes: true,
            ..Dialect::default()
        };
        for (statement, expected) in [
            (
                "CREATE USER u@'%' IDENTIFIED BY \"canary\"",
                "CREATE USER u@'%' IDENTIFIED BY ?",
            ),
            (
                "SET PASSWORD FOR `u` = PASSWORD(\"canary\")",
                "SET PASSWORD FOR `u` = PASSWORD(?)",
            ),
            ("SELECT 'canary", "SELECT ..."),
            ("SELECT \"canary", "SELECT ..."),
            ("SELECT 1 /* canary", "SELECT ? ..."),
        ] {
            for dialect in [Dialect::default(), ansi_quotes] {
                assert_eq!(masked(statement.as_bytes(), dialect, 200), expected);
            }
        }
    }

    #[test]
    fn the_line_has_a_limit_and_no_control_characters() {
        for bytes_max in 0..40 {
            let line = masked(
                "SELECT \u{e9}t\u{e9} FROM `a\nb` WHERE x = 5".as_bytes(),
                Dialect::default(),
                bytes_max,
            );
            assert!(line.len() <= bytes_max, "{bytes_max}: {line}");
            assert!(!line.contains(char::is_control));
        }
        assert_eq!(
            masked(b"SELECT column FROM t", Dialect::default(), 12),
            "SELECT co..."
        );
        assert_eq!(
            masked(b"SELECT \xff", Dialect::default(), 20),
            "SELECT \u{fffd}"
        );
    }
}
