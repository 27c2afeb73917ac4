//! Text to TOML tables. The parser recovers from errors and goes on; what it reports on the way is
//! cut down here to what an operator can use.

use toml::Spanned;
use toml::de::{DeTable, Error};

use super::diagnostic::Complaint;
use super::reader::Report;

/// The tables of a text, as far as they can be made out.
pub(super) fn parse<'a>(text: &'a str, report: &mut Report<'a>) -> Spanned<DeTable<'a>> {
    let (root, mut errors) = DeTable::parse_recoverable(text);
    let start = |error: &Error| error.span().map_or(text.len(), |span| span.start);
    errors.sort_by_key(start);

    let swallowed_from = swallowed_from(&errors).map(start);
    let mut lines = Vec::new();
    for error in &errors {
        let span = error.span().unwrap_or(text.len()..text.len());
        let line = report.line_of(&span);
        if lines.last() == Some(&line) {
            continue; // What follows on the same line follows from the first.
        }
        lines.push(line);
        let is_last = swallowed_from == Some(span.start);
        report.error(&span, complaint(error.message(), is_last));
        if is_last {
            break;
        }
    }
    if !errors.is_empty() {
        let open_header = errors.iter().find(|error| is_open_header(error)).map(start);
        let ends = open_header.into_iter().chain(swallowed_from);
        report.trust_only(lines, ends.min().unwrap_or(text.len()));
    }
    root
}

/// A bracket that is never closed takes the rest of the file for its contents. The first thing
/// that does not fit in there is worth telling, and nothing after it.
fn swallowed_from(errors: &[Error]) -> Option<&Error> {
    const NEVER_CLOSED: [&str; 2] = ["unclosed array,", "unclosed inline table"];
    const DOES_NOT_FIT: [&str; 2] = ["missing comma", "invalid inline table element"];
    let first = |kinds: [&str; 2]| {
        let is_one = |error: &&Error| kinds.iter().any(|kind| error.message().starts_with(kind));
        errors.iter().find(is_one)
    };
    first(NEVER_CLOSED).and_then(|_| first(DOES_NOT_FIT))
}

/// A header without its closing bracket: the keys below it end up in some other table.
fn is_open_header(error: &Error) -> bool {
    ["unclosed table", "unclosed array table"]
        .iter()
        .any(|kind| error.message().starts_with(kind))
}

fn complaint(message: &str, swallows_the_rest: bool) -> Complaint {
    let complaint = Complaint::new(message);
    if swallows_the_rest {
        return complaint.help("a bracket before it is never closed");
    }
    match message {
        "duplicate key" => complaint.help("a key stands once in a table; `[[ ]]` repeats a table"),
        m if m.starts_with("string values must be quoted") => complaint.help("put it in quotes"),
        m if m.starts_with("invalid float") => complaint.help("text stands in quotes"),
        m if m.starts_with("invalid basic string") => complaint.help("close the quotes"),
        _ => complaint,
    }
}
