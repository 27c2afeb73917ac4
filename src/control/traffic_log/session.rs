//! A session as one line of the access log.

use std::io::Write;

use serde::Serialize;

use super::LogRecord;
use super::line::{milliseconds, optional, quote, write_json};
use crate::config::LogFormat;
use crate::control::timestamp::Timestamp;
use crate::telemetry::{Direction, SessionRecord};
use crate::worker::{Records, Shared};

/// The fields of a line, in their order. `docs/metrics.md` lists them; a test holds it to that.
#[derive(Debug, Serialize)]
struct Line<'a> {
    time: Timestamp,
    listener: &'a str,
    client: Option<String>,
    pool: Option<&'a str>,
    server: Option<&'a str>,
    server_address: Option<String>,
    bytes_in: u64,
    bytes_out: u64,
    received_in: u64,
    received_out: u64,
    connect_ms: Option<f64>,
    duration_ms: f64,
    tries: u8,
    who: &'static str,
    phase: &'static str,
    reason: &'static str,
    generation: u64,
    tls_version: Option<&'static str>,
    tls_cipher: Option<&'static str>,
    tls_alpn: Option<&'a str>,
    tls_resumed: Option<bool>,
    tls_server_name: Option<&'a str>,
    tls_subject: Option<&'a str>,
    tls_error: Option<&'a str>,
    tls_truncated: Option<&'static str>,
}

impl LogRecord for SessionRecord {
    const LOG: &'static str = "access log";
    const THREAD: &'static str = "access-log";

    fn queue(shared: &Shared) -> &Records<Self> {
        &shared.records
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
    fn of(record: &'a SessionRecord) -> Self {
        let [input, output] = [Direction::In.index(), Direction::Out.index()];
        let server = record.server.as_deref();
        let tls = record.tls.as_deref();
        let agreed = tls.and_then(|tls| tls.agreed.as_deref());
        Self {
            time: Timestamp(record.accepted_at),
            listener: &record.listener,
            client: record.client.map(|client| client.to_string()),
            pool: server.map(|server| &**server.pool()),
            server: server.map(|server| &**server.name()),
            server_address: server.map(|server| server.address().to_string()),
            bytes_in: record.bytes_sent[input],
            bytes_out: record.bytes_sent[output],
            received_in: record.bytes_received[input],
            received_out: record.bytes_received[output],
            connect_ms: record.connect_us.map(milliseconds),
            duration_ms: milliseconds(record.duration_us),
            tries: record.tries,
            who: record.who.as_str(),
            phase: record.phase.as_str(),
            reason: record.reason.as_str(),
            generation: record.generation,
            tls_version: agreed.map(|agreed| agreed.version),
            tls_cipher: agreed.map(|agreed| agreed.cipher_suite),
            tls_alpn: agreed.and_then(|agreed| agreed.alpn.as_deref()),
            tls_resumed: agreed.map(|agreed| agreed.resumed),
            tls_server_name: tls.and_then(|tls| tls.server_name.as_deref()),
            tls_subject: agreed.and_then(|agreed| agreed.subject.as_deref()),
            tls_error: tls.and_then(|tls| tls.error.as_deref()),
            tls_truncated: tls.and_then(|tls| truncated(tls.truncated)),
        }
    }

    /// `key=value` pairs; a value that is not there is a dash.
    fn write_text(&self, buffer: &mut Vec<u8>) {
        let connect_ms = self
            .connect_ms
            .map_or_else(|| "-".into(), |ms| ms.to_string());
        let written = write!(
            buffer,
            "time={} listener={} client={} pool={} server={} server_address={} bytes_in={} \
             bytes_out={} received_in={} received_out={} connect_ms={connect_ms} duration_ms={} \
             tries={} who={} phase={} reason={} generation={} tls_version={} tls_cipher={} \
             tls_alpn={} tls_resumed={} tls_server_name={} tls_subject={} tls_error={} \
             tls_truncated={}",
            self.time,
            quote(self.listener),
            optional(self.client.as_deref()),
            optional(self.pool),
            optional(self.server),
            optional(self.server_address.as_deref()),
            self.bytes_in,
            self.bytes_out,
            self.received_in,
            self.received_out,
            self.duration_ms,
            self.tries,
            self.who,
            self.phase,
            self.reason,
            self.generation,
            optional(self.tls_version),
            optional(self.tls_cipher),
            optional(self.tls_alpn),
            self.tls_resumed
                .map_or("-", |resumed| if resumed { "true" } else { "false" }),
            optional(self.tls_server_name),
            optional(self.tls_subject),
            optional(self.tls_error),
            optional(self.tls_truncated),
        );
        written.expect("a Vec takes all that is written to it");
    }
}

/// Whose bytes ended without a close_notify.
fn truncated([by_client, by_server]: [bool; 2]) -> Option<&'static str> {
    match (by_client, by_server) {
        (false, false) => None,
        (true, false) => Some(Direction::In.as_str()),
        (false, true) => Some(Direction::Out.as_str()),
        (true, true) => Some("both"),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;
    use crate::balance::Server;
    use crate::config::Address;
    use crate::telemetry::{Phase, Reason, TlsAgreement, TlsRecord, Who};

    fn record() -> SessionRecord {
        let address = Address::Tcp(([10, 0, 0, 11], 80).into());
        SessionRecord {
            accepted_at: UNIX_EPOCH + Duration::from_millis(1_700_000_000_123),
            listener: "web".into(),
            client: Some(([192, 0, 2, 7], 50_123).into()),
            server: Some(Arc::new(Server::new("web", "web 01", address, 1))),
            bytes_sent: [120, 4096],
            bytes_received: [120, 5000],
            connect_us: Some(250),
            duration_us: 1_234_567,
            tries: 2,
            who: Who::Client,
            phase: Phase::Relay,
            reason: Reason::Reset,
            generation: 3,
            tls: Some(Box::new(TlsRecord {
                agreed: Some(Box::new(TlsAgreement {
                    version: "TLSv1.3",
                    cipher_suite: "TLS_AES_128_GCM_SHA256",
                    alpn: Some("h2".into()),
                    resumed: false,
                    subject: None,
                })),
                server_name: Some("shop.example".into()),
                error: None,
                truncated: [false, false],
            })),
        }
    }

    fn line(record: &SessionRecord, format: LogFormat) -> String {
        let mut buffer = Vec::new();
        record.write(&mut buffer, format);
        String::from_utf8(buffer).unwrap()
    }

    #[test]
    fn text_is_key_value_pairs() {
        let expected = "time=2023-11-14T22:13:20.123Z listener=web client=192.0.2.7:50123 \
            pool=web server=\"web 01\" server_address=10.0.0.11:80 bytes_in=120 bytes_out=4096 \
            received_in=120 received_out=5000 connect_ms=0.25 duration_ms=1234.567 tries=2 \
            who=client phase=relay reason=reset generation=3 tls_version=TLSv1.3 \
            tls_cipher=TLS_AES_128_GCM_SHA256 tls_alpn=h2 tls_resumed=false \
            tls_server_name=shop.example tls_subject=- tls_error=- \
            tls_truncated=-";
        assert_eq!(line(&record(), LogFormat::Text), expected);
    }

    #[test]
    fn what_is_not_known_is_a_dash_or_null() {
        let record = SessionRecord {
            client: None,
            server: None,
            connect_us: None,
            tls: None,
            ..record()
        };
        let text = line(&record, LogFormat::Text);
        assert!(
            text.contains(" client=- pool=- server=- server_address=- "),
            "{text}"
        );
        assert!(text.contains(" connect_ms=- "), "{text}");
        assert!(text.contains(" tls_version=- tls_cipher=- "), "{text}");
        let json: serde_json::Value =
            serde_json::from_str(&line(&record, LogFormat::Json)).unwrap();
        assert!(json["server"].is_null() && json["client"].is_null());
    }

    #[test]
    fn a_handshake_that_failed_has_its_name_and_its_error_and_no_more() {
        let record = SessionRecord {
            tls: Some(Box::new(TlsRecord {
                server_name: Some("shop.example".into()),
                error: Some("the client showed no certificate".into()),
                ..TlsRecord::default()
            })),
            ..record()
        };
        let text = line(&record, LogFormat::Text);
        let expected = " tls_version=- tls_cipher=- tls_alpn=- tls_resumed=- \
            tls_server_name=shop.example tls_subject=- \
            tls_error=\"the client showed no certificate\" \
            tls_truncated=-";
        assert!(text.ends_with(expected), "{text}");
    }

    #[test]
    fn what_ended_without_a_word_has_a_direction() {
        for (truncated, expected) in [
            ([false, false], " tls_truncated=-"),
            ([true, false], " tls_truncated=in"),
            ([false, true], " tls_truncated=out"),
            ([true, true], " tls_truncated=both"),
        ] {
            let mut record = record();
            record.tls.as_mut().unwrap().truncated = truncated;
            let text = line(&record, LogFormat::Text);
            assert!(text.ends_with(expected), "{text}");
        }
    }

    #[test]
    fn json_and_text_have_the_documented_fields_in_their_order() {
        let documented = crate::control::documented::names("Access-log fields");
        let text = line(&record(), LogFormat::Text).replace("web 01", "web-01");
        let text = text
            .split_whitespace()
            .map(|pair| pair.split_once('=').unwrap().0);
        assert_eq!(text.collect::<Vec<_>>(), documented);
        let json = line(&record(), LogFormat::Json);
        let at = |field: &String| json.find(&format!("\"{field}\":")).unwrap();
        assert!(documented.iter().map(at).is_sorted(), "{json}");
        let json: serde_json::Value = serde_json::from_str(&json).unwrap();
        assert_eq!(json.as_object().unwrap().len(), documented.len());
    }
}
