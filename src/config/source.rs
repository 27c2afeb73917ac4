//! The text of a file, and where in it a byte offset is.

use std::ops::Range;

use super::model::Position;

/// Byte offsets in the text.
pub(super) type Span = Range<usize>;

/// Characters of a line that an excerpt shows at most, and how many of them stand before the mark
/// when the line is longer.
const EXCERPT_CHARS: usize = 96;
const EXCERPT_CHARS_BEFORE: usize = 32;

/// Keys whose values are secrets. Excerpts end up in terminals and logs, so whatever follows such a
/// key in its line is not shown, be the line valid or not.
const SECRETS: [&str; 2] = ["password", "native_hash"];

/// The line that a diagnostic is about, cut to a readable width, with what to mark in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Excerpt {
    /// The text; control characters in it have been replaced.
    pub text: String,
    /// Characters before the marked ones.
    pub mark_at: usize,
    /// How many characters are marked; at least one, and it may stand just after the text.
    pub mark_width: usize,
}

/// A text with its lines counted.
#[derive(Debug)]
pub(super) struct Source<'a> {
    text: &'a str,
    line_starts: Vec<usize>,
}

impl<'a> Source<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        let after_newlines = text.match_indices('\n').map(|(at, _)| at + 1);
        let line_starts = std::iter::once(0).chain(after_newlines).collect();
        Self { text, line_starts }
    }

    pub(super) fn position(&self, offset: usize) -> Position {
        let offset = self.boundary(offset);
        let line = self.line_index(offset);
        let before = &self.text[self.line_starts[line]..offset];
        Position {
            line: line as u32 + 1,
            column: before.chars().count() as u32 + 1,
        }
    }

    /// The line where `span` begins, with what `span` covers of it marked.
    pub(super) fn excerpt(&self, span: &Span) -> Excerpt {
        let start = self.boundary(span.start);
        let line = self.line(self.line_index(start));
        let end = self.boundary(span.end).clamp(start, line.end.max(start));
        let start_in_line = start.min(line.end);

        let mark_at = self.text[line.start..start_in_line].chars().count();
        let marked = self.text[start_in_line..end.max(start_in_line)]
            .chars()
            .count();
        let skipped = match self.text[line.clone()].chars().count() {
            0..=EXCERPT_CHARS => 0,
            _ => mark_at.saturating_sub(EXCERPT_CHARS_BEFORE),
        };
        let hidden_from = secret_in(&self.text[line.clone()]).unwrap_or(usize::MAX);
        let shown = self.text[line].chars().enumerate();
        let show = |(i, c)| if i < hidden_from { printable(c) } else { '*' };
        Excerpt {
            text: shown.skip(skipped).take(EXCERPT_CHARS).map(show).collect(),
            mark_at: mark_at - skipped,
            mark_width: marked.clamp(
                1,
                EXCERPT_CHARS - (mark_at - skipped).min(EXCERPT_CHARS - 1),
            ),
        }
    }

    fn line_index(&self, offset: usize) -> usize {
        self.line_starts.partition_point(|&start| start <= offset) - 1
    }

    /// A line without its end.
    fn line(&self, index: usize) -> Span {
        let start = self.line_starts[index];
        let line = self.text[start..].split('\n').next().unwrap_or_default();
        start..start + line.trim_end_matches('\r').len()
    }

    /// The nearest place, at `offset` or before, where a character begins.
    fn boundary(&self, offset: usize) -> usize {
        let mut offset = offset.min(self.text.len());
        while !self.text.is_char_boundary(offset) {
            offset -= 1;
        }
        offset
    }
}

/// After how many characters of a line its first secret begins.
fn secret_in(line: &str) -> Option<usize> {
    let is_part_of_key = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
    let value = |(at, key): (usize, &str)| {
        let (before, after) = (&line[..at], &line[at + key.len()..]);
        let after_key = after.trim_start_matches(['"', '\'', ' ', '\t']);
        let is_key = !before.ends_with(is_part_of_key) && after_key.starts_with('=');
        is_key.then(|| line.len() - after_key.len() + 1)
    };
    let secrets = SECRETS.iter().flat_map(|key| line.match_indices(key));
    let first = secrets.filter_map(value).min()?;
    Some(line[..first].chars().count())
}

/// A tab takes one column, so that marks stand below what they mark; other control characters
/// could move a terminal's cursor.
fn printable(c: char) -> char {
    match c {
        '\t' => ' ',
        c if c.is_control() => char::REPLACEMENT_CHARACTER,
        c => c,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn excerpt(text: &str, span: Span) -> (String, usize, usize) {
        let excerpt = Source::new(text).excerpt(&span);
        (excerpt.text, excerpt.mark_at, excerpt.mark_width)
    }

    #[test]
    fn positions_count_characters_from_one() {
        let source = Source::new("a = 1\n\u{e4}\u{6f22} = 2\r\n");
        let at = |offset| {
            let position = source.position(offset);
            (position.line, position.column)
        };
        assert_eq!(at(0), (1, 1));
        assert_eq!(at(5), (1, 6));
        assert_eq!(at(6), (2, 1));
        assert_eq!(at(8), (2, 2));
        assert_eq!(at(9), (2, 2), "inside a character counts as its beginning");
        assert_eq!(at(11), (2, 3));
        assert_eq!(at(1000), (3, 1), "behind the end counts as the end");
    }

    #[test]
    fn an_excerpt_marks_what_is_meant() {
        assert_eq!(excerpt("a\nb = 12\r\nc", 6..8), ("b = 12".into(), 4, 2));
        assert_eq!(
            excerpt("\tb = \u{1b}", 1..2),
            (" b = \u{fffd}".into(), 1, 1)
        );
        assert_eq!(excerpt("a = [\n1\n]", 4..9), ("a = [".into(), 4, 1));
        assert_eq!(excerpt("a = ", 4..4), ("a = ".into(), 4, 1));
        assert_eq!(excerpt("", 0..0), (String::new(), 0, 1));
    }

    #[test]
    fn an_excerpt_of_a_long_line_is_cut_around_the_mark() {
        let text = "x".repeat(500) + "yy" + &"z".repeat(500);
        let (line, mark_at, mark_width) = excerpt(&text, 500..502);
        assert_eq!(line.chars().count(), EXCERPT_CHARS);
        assert_eq!(&line[mark_at..mark_at + mark_width], "yy");
    }

    #[test]
    fn an_excerpt_shows_no_secret() {
        for (text, shown) in [
            ("password = \"hunter2\"", "password =**********"),
            ("\"password\"=\"hunter2", "\"password\"=********"),
            ("u = { password = 'x' }", "u = { password =******"),
            ("native_hash = \"*AB\"", "native_hash =******"),
            ("password_file = \"/a\"", "password_file = \"/a\""),
            ("old_password = 1", "old_password = 1"),
            ("# the password", "# the password"),
        ] {
            assert_eq!(excerpt(text, 0..1), (shown.to_owned(), 0, 1));
        }
        let behind = excerpt("a = { password = 'hunter2', b = 1 }", 28..29);
        assert_eq!(
            behind,
            ("a = { password =*******************".into(), 28, 1)
        );
    }

    proptest! {
        #[test]
        fn any_span_of_any_text_has_a_place(
            text in "\\PC{0,9}[\r\n\t\u{e4}a]{0,9}",
            span in (0..40_usize, 0..40_usize),
        ) {
            let source = Source::new(&text);
            let position = source.position(span.0);
            prop_assert!(position.line as usize <= text.split('\n').count());
            let excerpt = source.excerpt(&(span.0..span.1));
            prop_assert!(excerpt.mark_width >= 1);
            prop_assert!(excerpt.mark_at <= excerpt.text.chars().count());
        }
    }
}
