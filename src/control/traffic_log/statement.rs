//! A statement as one line of the statement log. Here, and not on a worker's thread, its literals
//! are masked: nothing but this module sees what a client has sent.

use std::borrow::Cow;
use std::io::Write;

use serde::Serialize;

use super::LogRecord;
use super::line::{milliseconds, optional, quote, write_json};
use crate::config::LogFormat;
use crate::control::timestamp::Timestamp;
use crate::limits::STATEMENT_TEXT_BYTES;
use crate::mysql::masked;
use crate::worker::{Records, Shared, StatementRecord};

/// The fields of a line, in their order. `docs/metrics.md` lists them; a test holds it to that.
#[derive(Debug, Serialize)]
struct Line<'a> {
    time: Timestamp,
    listener: &'a str,
    client: Option<String>,
    user: Cow<'a, str>,
    server: Option<&'a str>,
    target: &'static str,
    reason: &'static str,
    duration_ms: f64,
    failed: bool,
    statement: Option<String>,
}

impl LogRecord for StatementRecord {
    const LOG: &'static str = "statement log";
    const THREAD: &'static str = "statement-log";

    fn queue(shared: &Shared) -> &Records<Self> {
        &shared.statements
    }

    fn write(&self, buffer: &mut Vec<u8>, format: LogFormat) {
        let line = Line::of(self);
        match format {
            LogFormat::Json => write_json(buffer, &line),
            LogFormat::Text => line.write_text(buffer),
        }
    }
}

impl<'a> Line<'a> {
    fn of(record: &'a StatementRecord) -> Self {
        Self {
            time: Timestamp(record.began_at),
            listener: &record.listener,
            client: record.client.map(|client| client.to_string()),
            user: String::from_utf8_lossy(&record.user),
            server: record.server.as_deref().map(|server| &**server.name()),
            target: record.target.as_str(),
            reason: record.reason.as_str(),
            duration_ms: milliseconds(record.duration_us),
            failed: record.failed,
            statement: (!record.text.is_empty()).then(|| statement(record)),
        }
    }

    /// `key=value` pairs; a value that is not there is a dash.
    fn write_text(&self, buffer: &mut Vec<u8>) {
        let written = write!(
            buffer,
            "time={} listener={} client={} user={} server={} target={} reason={} duration_ms={} \
             failed={} statement={}",
            self.time,
            quote(self.listener),
            optional(self.client.as_deref()),
            quote(&self.user),
            optional(self.server),
            self.target,
            self.reason,
            self.duration_ms,
            self.failed,
            optional(self.statement.as_deref()),
        );
        written.expect("a Vec takes all that is written to it");
    }
}

/// The statement without its data. One that has more bytes than are looked at ends in `...`.
fn statement(record: &StatementRecord) -> String {
    const CUT: &str = "...";
    let Some(text) = record.text.get(..STATEMENT_TEXT_BYTES) else {
        return masked(&record.text, record.dialect, STATEMENT_TEXT_BYTES);
    };
    let mut statement = masked(text, record.dialect, STATEMENT_TEXT_BYTES);
    if record.text.len() > text.len() && !statement.ends_with(CUT) {
        statement.push_str(CUT);
    }
    statement
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;
    use crate::balance::Server;
    use crate::config::Address;
    use crate::mysql::Dialect;
    use crate::telemetry::{RouteReason, Target};

    fn record(text: &str) -> StatementRecord {
        let address = Address::Tcp(([10, 0, 0, 22], 3306).into());
        StatementRecord {
            began_at: UNIX_EPOCH + Duration::from_millis(1_700_000_000_123),
            listener: "mysql".into(),
            client: Some(([192, 0, 2, 7], 50_123).into()),
            user: b"app".as_slice().into(),
            server: Some(Arc::new(Server::new("db", "db-replica", address, 1))),
            target: Target::Replica,
            reason: RouteReason::PlainRead,
            duration_us: 1_234,
            failed: false,
            text: text.as_bytes().into(),
            dialect: Dialect::default(),
        }
    }

    fn line(record: &StatementRecord, format: LogFormat) -> String {
        let mut buffer = Vec::new();
        record.write(&mut buffer, format);
        String::from_utf8(buffer).unwrap()
    }

    #[test]
    fn text_is_key_value_pairs() {
        let expected = "time=2023-11-14T22:13:20.123Z listener=mysql client=192.0.2.7:50123 \
            user=app server=db-replica target=replica reason=plain_read duration_ms=1.234 \
            failed=false statement=\"SELECT c FROM t WHERE id=?\"";
        let record = record("SELECT c FROM t WHERE id=5021");
        assert_eq!(line(&record, LogFormat::Text), expected);
    }

    #[test]
    fn what_is_not_known_is_a_dash_or_null() {
        let record = StatementRecord {
            client: None,
            server: None,
            ..record("")
        };
        let text = line(&record, LogFormat::Text);
        assert!(text.contains(" client=- user=app server=- "), "{text}");
        assert!(text.ends_with(" statement=-"), "{text}");
        let json: serde_json::Value =
            serde_json::from_str(&line(&record, LogFormat::Json)).unwrap();
        assert!(json["server"].is_null() && json["statement"].is_null());
    }

    #[test]
    fn a_long_statement_is_cut_and_a_string_is_never_cut_open() {
        let said = |text: &str| {
            let json = line(&record(text), LogFormat::Json);
            let json: serde_json::Value = serde_json::from_str(&json).unwrap();
            json["statement"].as_str().unwrap().to_owned()
        };
        let spaces = " ".repeat(STATEMENT_TEXT_BYTES);
        assert_eq!(said(&format!("DO 1{spaces}")), "DO ?...");
        let fits = format!("DO {}1", " ".repeat(STATEMENT_TEXT_BYTES - 4));
        assert_eq!(said(&fits), "DO ?");
        for at in 0..11 {
            let before = " ".repeat(STATEMENT_TEXT_BYTES - 3 - at);
            let said = said(&format!("DO {before}'canary', 5"));
            assert!(!said.contains('c') && said.ends_with("..."), "{said}");
        }
    }

    #[test]
    fn json_and_text_have_the_documented_fields_in_their_order() {
        let documented = crate::control::documented::names("Statement-log fields");
        let record = record("COMMIT");
        let text = line(&record, LogFormat::Text);
        let text = text
            .split_whitespace()
            .map(|pair| pair.split_once('=').unwrap().0);
        assert_eq!(text.collect::<Vec<_>>(), documented);
        let json = line(&record, LogFormat::Json);
        let at = |field: &String| json.find(&format!("\"{field}\":")).unwrap();
        assert!(documented.iter().map(at).is_sorted(), "{json}");
        let json: serde_json::Value = serde_json::from_str(&json).unwrap();
        assert_eq!(json.as_object().unwrap().len(), documented.len());
    }
}
