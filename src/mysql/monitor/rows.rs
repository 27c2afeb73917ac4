//! A text result set, read as far as a monitor needs it: the values of some columns, by their names.
//! Everything about it is bounded; a server that sends more than a server's status is no server.

use std::fmt;

use crate::limits::{
    MONITOR_COLUMNS_MAX, MONITOR_PACKET_BYTES_MAX, MONITOR_ROWS_MAX, MONITOR_VALUE_BYTES_MAX,
};
use crate::mysql::cursor::{Cursor, Flaw, Malformed};
use crate::mysql::inbox::{Inbox, Packet};
use crate::mysql::packet::{EOF, EOF_BYTES_BELOW, ERR, ErrPacket, OK};

/// A server's answer to one question.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// The wanted columns of each row. A column that there is not is as NULL.
    Rows(Vec<Vec<Option<String>>>),
    /// An ERR packet: number and sentence.
    Error(u16, String),
}

/// Reads the answer to one `COM_QUERY`, in the layout where EOF packets stand behind columns and
/// rows.
pub(super) struct AnswerReader {
    inbox: Inbox,
    /// The names of the wanted columns, in lower case.
    wanted: &'static [&'static str],
    stage: Stage,
    columns: u64,
    /// The wanted column that each column is.
    places: Vec<Option<usize>>,
    rows: Vec<Vec<Option<String>>>,
}

impl fmt::Debug for AnswerReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AnswerReader")
            .field("stage", &self.stage)
            .finish_non_exhaustive()
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// The number of columns, or an error.
    Head,
    /// Their definitions.
    Columns,
    /// The EOF packet behind them.
    ColumnsEnd,
    Rows,
}

impl AnswerReader {
    pub(super) fn new(wanted: &'static [&'static str]) -> Self {
        Self {
            inbox: Inbox::new(MONITOR_PACKET_BYTES_MAX),
            wanted,
            stage: Stage::Head,
            columns: 0,
            places: Vec::new(),
            rows: Vec::new(),
        }
    }

    /// Takes what came from the server, up to the end of the answer; `None`: more has to come.
    pub(super) fn feed(&mut self, input: &mut &[u8]) -> Result<Option<Answer>, Malformed> {
        loop {
            let packet = match self.inbox.take(input) {
                Ok(Some(Packet { payload, .. })) => payload,
                Ok(None) => return Ok(None),
                Err(_) => return Err(Malformed::new("packet length", Flaw::TooLarge)),
            };
            if let Some(answer) = self.packet(&packet)? {
                return Ok(Some(answer));
            }
        }
    }

    fn packet(&mut self, payload: &[u8]) -> Result<Option<Answer>, Malformed> {
        if payload.first() == Some(&ERR) {
            let error = ErrPacket::parse(payload)?;
            let message = String::from_utf8_lossy(error.message).into_owned();
            return Ok(Some(Answer::Error(error.code, message)));
        }
        let ends = is_eof(payload);
        match self.stage {
            Stage::Head => self.head(payload)?,
            Stage::Columns => self.column(payload)?,
            Stage::ColumnsEnd if ends => self.stage = Stage::Rows,
            Stage::ColumnsEnd => return Err(Malformed::new("EOF_Packet", Flaw::Unexpected)),
            Stage::Rows if ends => return Ok(Some(Answer::Rows(std::mem::take(&mut self.rows)))),
            Stage::Rows => self.row(payload)?,
        }
        Ok(None)
    }

    fn head(&mut self, payload: &[u8]) -> Result<(), Malformed> {
        if payload.first() == Some(&OK) {
            // No question of a monitor's has such an answer.
            return Err(Malformed::new("Resultset.column_count", Flaw::Unexpected));
        }
        self.columns = Cursor::new(payload).lenenc("Resultset.column_count")?;
        if self.columns > MONITOR_COLUMNS_MAX {
            return Err(Malformed::new("Resultset.column_count", Flaw::TooLarge));
        }
        self.stage = Stage::Columns;
        Ok(())
    }

    /// `ColumnDefinition41`, of which only the name counts.
    fn column(&mut self, payload: &[u8]) -> Result<(), Malformed> {
        let mut cursor = Cursor::new(payload);
        for field in [
            "ColumnDefinition41.catalog",
            "ColumnDefinition41.schema",
            "ColumnDefinition41.table",
            "ColumnDefinition41.org_table",
        ] {
            cursor.lenenc_bytes(field)?;
        }
        let name = cursor.lenenc_bytes("ColumnDefinition41.name")?;
        let is_it = |wanted: &&str| name.eq_ignore_ascii_case(wanted.as_bytes());
        self.places.push(self.wanted.iter().position(is_it));
        if u64::try_from(self.places.len()).is_ok_and(|known| known >= self.columns) {
            self.stage = Stage::ColumnsEnd;
        }
        Ok(())
    }

    fn row(&mut self, payload: &[u8]) -> Result<(), Malformed> {
        const NULL: u8 = 0xFB;
        if self.rows.len() >= MONITOR_ROWS_MAX {
            return Err(Malformed::new("Resultset.row", Flaw::TooLarge));
        }
        let mut cursor = Cursor::new(payload);
        let mut values = vec![None; self.wanted.len()];
        for place in &self.places {
            let value = match cursor.peek() {
                Some(NULL) => {
                    cursor.u8("Resultset.row.value")?;
                    None
                }
                _ => Some(cursor.lenenc_bytes("Resultset.row.value")?),
            };
            if let Some(kept) = place.and_then(|place| values.get_mut(place)) {
                *kept = value.map(text);
            }
        }
        self.rows.push(values);
        Ok(())
    }
}

fn is_eof(payload: &[u8]) -> bool {
    let below = usize::try_from(EOF_BYTES_BELOW).unwrap_or(usize::MAX);
    payload.first() == Some(&EOF) && payload.len() < below
}

/// The beginning of a value: what a monitor looks at is short, but for what went wrong.
fn text(value: &[u8]) -> String {
    let kept = value.get(..MONITOR_VALUE_BYTES_MAX).unwrap_or(value);
    String::from_utf8_lossy(kept).into_owned()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::mysql::capabilities::Capabilities;
    use crate::mysql::packet::{Status, write_packet};
    use crate::mysql::result::{Column, ColumnKind, Format, ReplyWriter, Value};

    const WANTED: &[&str] = &["seconds_behind_master", "last_error"];

    fn answer(columns: &[&str], rows: &[Vec<Value>]) -> Vec<u8> {
        let mut out = Vec::new();
        let kind = ColumnKind::Text { bytes_max: 64 };
        let columns: Vec<_> = columns
            .iter()
            .map(|&name| Column::new(name, kind))
            .collect();
        let mut reply = ReplyWriter::new(&mut out, 0, Capabilities::NONE, Status::AUTOCOMMIT);
        reply.result_set(&columns, rows, Format::Text);
        out
    }

    fn whole(bytes: &[u8]) -> Result<Option<Answer>, Malformed> {
        AnswerReader::new(WANTED).feed(&mut &*bytes)
    }

    #[test]
    fn wanted_columns_are_found_wherever_they_are() {
        let rows = [
            vec![Value::text("x"), Value::Null, Value::text("broken")],
            vec![Value::text("y"), Value::text("7"), Value::text("")],
        ];
        let bytes = answer(&["Other", "Seconds_Behind_Master", "Last_Error"], &rows);
        let some = |text: &str| Some(text.to_owned());
        let expected = Answer::Rows(vec![vec![None, some("broken")], vec![some("7"), some("")]]);
        assert_eq!(whole(&bytes), Ok(Some(expected)));
        let none = answer(&["Seconds_Behind_Master"], &[]);
        assert_eq!(whole(&none), Ok(Some(Answer::Rows(Vec::new()))));
    }

    #[test]
    fn an_error_is_an_answer() {
        let mut bytes = Vec::new();
        write_packet(&mut bytes, 1, b"\xff\xcb\x04#42000Access denied");
        let error = Answer::Error(1227, "Access denied".to_owned());
        assert_eq!(whole(&bytes), Ok(Some(error)));
    }

    #[test]
    fn what_is_no_status_is_refused() {
        let many = Value::Text(vec![b'x'; MONITOR_PACKET_BYTES_MAX as usize]);
        let long = answer(&["last_error"], &[vec![many]]);
        assert_eq!(
            whole(&long),
            Err(Malformed::new("packet length", Flaw::TooLarge))
        );
        let rows = vec![vec![Value::text("1")]; MONITOR_ROWS_MAX + 1];
        let endless = answer(&["last_error"], &rows);
        assert_eq!(
            whole(&endless),
            Err(Malformed::new("Resultset.row", Flaw::TooLarge))
        );
        let mut ok = Vec::new();
        write_packet(&mut ok, 1, b"\0\0\0\x02\0\0\0");
        assert!(whole(&ok).is_err());
        let mut wide = Vec::new();
        write_packet(&mut wide, 1, b"\xfc\xff\xff");
        assert!(whole(&wide).is_err());
    }

    #[test]
    fn a_value_is_kept_up_to_its_bound() {
        let bytes = answer(&["last_error"], &[vec![Value::text("é".repeat(5000))]]);
        let Ok(Some(Answer::Rows(rows))) = whole(&bytes) else {
            panic!("rows");
        };
        let kept = rows[0][1].as_ref().unwrap();
        assert!(kept.len() <= MONITOR_VALUE_BYTES_MAX + 3 && kept.len() > 100);
    }

    proptest! {
        #[test]
        fn an_answer_in_pieces_is_the_answer_as_a_whole(
            rows in prop::collection::vec(("[a-z]{0,20}", prop::option::of(0_u32..100)), 0..5),
            cut in 1_usize..40,
        ) {
            let rows: Vec<_> = rows
                .iter()
                .map(|(word, lag)| {
                    let lag = lag.map_or(Value::Null, |lag| Value::text(lag.to_string()));
                    vec![Value::text(word.as_str()), lag]
                })
                .collect();
            let bytes = answer(&["Last_Error", "Seconds_Behind_Master"], &rows);
            let mut reader = AnswerReader::new(WANTED);
            let mut last = None;
            for mut piece in bytes.chunks(cut) {
                prop_assert!(last.is_none(), "nothing comes behind the end");
                last = reader.feed(&mut piece).unwrap();
            }
            prop_assert_eq!(last, whole(&bytes).unwrap());
            for len in 0..bytes.len() {
                prop_assert_eq!(whole(&bytes[..len]), Ok(None));
            }
        }

        #[test]
        fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let mut input = &bytes[..];
            let mut reader = AnswerReader::new(WANTED);
            while let Ok(Some(_)) = reader.feed(&mut input) {
                reader = AnswerReader::new(WANTED);
            }
        }
    }
}
