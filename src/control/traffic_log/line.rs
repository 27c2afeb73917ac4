//! What lines of all logs have in common.

use serde::Serialize;

/// Appends one JSON object.
pub(super) fn write_json(buffer: &mut Vec<u8>, line: &impl Serialize) {
    serde_json::to_writer(buffer, line).expect("plain data goes into memory");
}

pub(super) fn milliseconds(us: u64) -> f64 {
    us as f64 / 1000.0
}

/// A value of a `key=value` pair; one that is not there is a dash.
pub(super) fn optional(value: Option<&str>) -> String {
    value.map_or_else(|| "-".into(), quote)
}

/// A value as it is when nothing in it could be taken for the end of it, else in quotes.
pub(super) fn quote(value: &str) -> String {
    let plain = |c: char| !c.is_whitespace() && !c.is_control() && c != '"' && c != '=';
    if !value.is_empty() && value != "-" && value.chars().all(plain) {
        value.to_owned()
    } else {
        format!("{value:?}")
    }
}
