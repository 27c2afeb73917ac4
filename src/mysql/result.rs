//! Replies as a server writes them: result sets in text and binary rows, prepared statements,
//! column lists. For the servers of `ringway demo`; what a real server sends passes through ringway
//! without being read so far.

use super::capabilities::Capabilities;
use super::packet::{EOF, ErrPacket, OK, OkPacket, PacketWriter, Status};

/// The number of `utf8mb4_bin`: text that is compared by its bytes.
const UTF8MB4_BIN: u16 = 46;
/// The number of `binary`, which numbers have.
const BINARY: u16 = 63;
/// A NULL in a text row, in place of a length.
const NULL: u8 = 0xFB;
/// Bytes of a column definition behind the names: character set, length, type, flags, decimals and
/// two that are reserved.
const FIXED_FIELDS_BYTES: u64 = 0x0C;
/// The lowest two places of the NULL bitmap of a binary row stay free.
const NULL_BITMAP_OFFSET: usize = 2;
/// Digits of the longest integer, and its sign.
const INTEGER_DIGITS_MAX: u32 = 20;

/// One value of a row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// NULL.
    Null,
    /// `MYSQL_TYPE_LONGLONG`.
    Integer(i64),
    /// `MYSQL_TYPE_VAR_STRING`, in UTF-8.
    Text(Vec<u8>),
}

impl Value {
    /// From text.
    pub fn text(text: impl Into<Vec<u8>>) -> Self {
        Self::Text(text.into())
    }

    /// What a column of such values is declared as.
    pub const fn kind(&self) -> ColumnKind {
        match self {
            Self::Integer(_) => ColumnKind::Integer,
            Self::Null | Self::Text(_) => ColumnKind::Text { bytes_max: 0 },
        }
    }
}

/// What a column holds, besides NULL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ColumnKind {
    /// [`Value::Integer`].
    Integer,
    /// [`Value::Text`].
    Text {
        /// Length of the longest one as the column's definition tells it, in bytes.
        bytes_max: u32,
    },
}

/// Where a column comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Origin {
    /// The database.
    pub schema: &'static str,
    /// The table.
    pub table: &'static str,
    /// The column's own name there.
    pub column: &'static str,
}

/// `ColumnDefinition41`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Column {
    /// What the statement calls it.
    pub name: Vec<u8>,
    /// What it holds.
    pub kind: ColumnKind,
    /// The column of a table that it is.
    pub origin: Option<Origin>,
}

impl Column {
    /// One that is computed.
    pub fn new(name: impl Into<Vec<u8>>, kind: ColumnKind) -> Self {
        Self {
            name: name.into(),
            kind,
            origin: None,
        }
    }

    fn write(&self, packet: &mut PacketWriter<'_>) {
        let (schema, table, column) = self.origin.map_or(("", "", ""), |origin| {
            (origin.schema, origin.table, origin.column)
        });
        let (charset, length, kind) = match self.kind {
            ColumnKind::Integer => (BINARY, INTEGER_DIGITS_MAX, 0x08),
            ColumnKind::Text { bytes_max } => (UTF8MB4_BIN, bytes_max, 0xFD),
        };
        packet.lenenc_bytes(b"def");
        packet.lenenc_bytes(schema.as_bytes());
        packet.lenenc_bytes(table.as_bytes());
        packet.lenenc_bytes(table.as_bytes());
        packet.lenenc_bytes(&self.name);
        packet.lenenc_bytes(column.as_bytes());
        packet.lenenc(FIXED_FIELDS_BYTES);
        packet.u16(charset);
        packet.u32(length);
        packet.u8(kind);
        packet.u16(0);
        packet.u8(0);
        packet.zeros::<2>();
    }
}

/// How the values of a row are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// As text: the reply to `COM_QUERY`.
    Text,
    /// In their own layouts: the reply to `COM_STMT_EXECUTE`.
    Binary,
}

/// Writes the reply to one command behind whatever a buffer holds, packet by packet.
#[derive(Debug)]
pub struct ReplyWriter<'a> {
    out: &'a mut Vec<u8>,
    sequence: u8,
    capabilities: Capabilities,
    status: Status,
}

impl<'a> ReplyWriter<'a> {
    /// To the command whose packet had the number `command`, for a client with these capabilities,
    /// from a session with this status.
    pub fn new(
        out: &'a mut Vec<u8>,
        command: u8,
        capabilities: Capabilities,
        status: Status,
    ) -> Self {
        Self {
            out,
            sequence: command.wrapping_add(1),
            capabilities,
            status,
        }
    }

    /// `OK_Packet`: a statement without a result has been executed.
    pub fn ok(&mut self, affected_rows: u64) {
        let ok = OkPacket {
            affected_rows,
            status: self.status,
            ..OkPacket::default()
        };
        let sequence = self.next_sequence();
        ok.write(self.out, sequence, OK, self.capabilities);
    }

    /// `ERR_Packet`.
    pub fn error(&mut self, error: &ErrPacket<'_>) {
        let sequence = self.next_sequence();
        error.write(self.out, sequence);
    }

    /// A string in a packet of its own, as `COM_STATISTICS` is answered with.
    pub fn string(&mut self, text: &[u8]) {
        self.packet(|packet| packet.bytes(text));
    }

    /// A result set.
    pub fn result_set(&mut self, columns: &[Column], rows: &[Vec<Value>], format: Format) {
        let count = u64::try_from(columns.len()).unwrap_or(u64::MAX);
        self.packet(|packet| packet.lenenc(count));
        self.columns(columns);
        for row in rows {
            match format {
                Format::Text => self.text_row(row),
                Format::Binary => self.binary_row(row),
            }
        }
        self.end();
    }

    /// `COM_STMT_PREPARE_OK` with the definitions of parameters and columns.
    pub fn prepared(&mut self, statement_id: u32, parameters: u16, columns: &[Column]) {
        let count = u16::try_from(columns.len()).unwrap_or(u16::MAX);
        self.packet(|packet| {
            packet.u8(OK);
            packet.u32(statement_id);
            packet.u16(count);
            packet.u16(parameters);
            packet.u8(0);
            packet.u16(0);
        });
        let parameter = Column::new("?", ColumnKind::Text { bytes_max: 0 });
        self.columns(&vec![parameter; usize::from(parameters)]);
        self.columns(columns);
    }

    /// The columns of a table with their default values, which are NULL, as `COM_FIELD_LIST` is
    /// answered with.
    pub fn field_list(&mut self, columns: &[Column]) {
        for column in columns {
            self.packet(|packet| {
                column.write(packet);
                packet.u8(NULL);
            });
        }
        self.end();
    }

    /// Column definitions and, where OK packets do not stand for it, the EOF behind them.
    fn columns(&mut self, columns: &[Column]) {
        for column in columns {
            self.packet(|packet| column.write(packet));
        }
        if !columns.is_empty() && !self.capabilities.contains(Capabilities::DEPRECATE_EOF) {
            self.eof();
        }
    }

    fn text_row(&mut self, row: &[Value]) {
        self.packet(|packet| {
            for value in row {
                match value {
                    Value::Null => packet.u8(NULL),
                    Value::Integer(number) => packet.lenenc_bytes(number.to_string().as_bytes()),
                    Value::Text(text) => packet.lenenc_bytes(text),
                }
            }
        });
    }

    fn binary_row(&mut self, row: &[Value]) {
        let mut nulls: Vec<u8> = Vec::new();
        let places = std::iter::repeat_n(false, NULL_BITMAP_OFFSET);
        let places: Vec<bool> = places
            .chain(row.iter().map(|value| *value == Value::Null))
            .collect();
        for eight in places.chunks(8) {
            let bits = eight.iter().rev();
            nulls.push(bits.fold(0, |byte, &is_null| byte << 1 | u8::from(is_null)));
        }
        self.packet(|packet| {
            packet.u8(OK);
            packet.bytes(&nulls);
            for value in row {
                match value {
                    Value::Null => {}
                    Value::Integer(number) => packet.bytes(&number.to_le_bytes()),
                    Value::Text(text) => packet.lenenc_bytes(text),
                }
            }
        });
    }

    /// The end of rows: an EOF packet, or the OK packet that stands for it.
    fn end(&mut self) {
        if !self.capabilities.contains(Capabilities::DEPRECATE_EOF) {
            self.eof();
            return;
        }
        let ok = OkPacket {
            status: self.status,
            ..OkPacket::default()
        };
        let sequence = self.next_sequence();
        ok.write(self.out, sequence, EOF, self.capabilities);
    }

    fn eof(&mut self) {
        let status = self.status;
        self.packet(|packet| {
            packet.u8(EOF);
            packet.u16(0);
            packet.u16(status.0);
        });
    }

    fn packet(&mut self, fill: impl FnOnce(&mut PacketWriter<'_>)) {
        let sequence = self.next_sequence();
        let mut packet = PacketWriter::new(self.out, sequence);
        fill(&mut packet);
        packet.finish();
    }

    fn next_sequence(&mut self) -> u8 {
        let sequence = self.sequence;
        self.sequence = sequence.wrapping_add(1);
        sequence
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mysql::command::Command;
    use crate::mysql::packet::HEADER_BYTES;
    use crate::mysql::reply::{Event, ReplyTracker};

    const MODERN: Capabilities = Capabilities::DEPRECATE_EOF;
    const OLD: Capabilities = Capabilities::NONE;

    fn reply(capabilities: Capabilities, write: impl FnOnce(&mut ReplyWriter<'_>)) -> Vec<u8> {
        let mut out = Vec::new();
        let mut writer = ReplyWriter::new(&mut out, 0, capabilities, Status::AUTOCOMMIT);
        write(&mut writer);
        out
    }

    fn two_rows(reply: &mut ReplyWriter<'_>, format: Format) {
        let columns = [
            Column::new("n", ColumnKind::Integer),
            Column::new("t", ColumnKind::Text { bytes_max: 9 }),
        ];
        let rows = [
            vec![Value::Integer(7), Value::text("seven")],
            vec![Value::Null, Value::Null],
        ];
        reply.result_set(&columns, &rows, format);
    }

    /// What follows replies finds this one's end at its last byte, and the status there.
    #[track_caller]
    fn is_followed(command: Command, capabilities: Capabilities, reply: &[u8]) -> Vec<String> {
        let mut tracker = ReplyTracker::new(capabilities);
        tracker.start(command.reply(), 1);
        let (mut input, mut events) = (reply, Vec::new());
        while !input.is_empty() {
            assert!(!tracker.is_complete(), "{} bytes behind it", input.len());
            match tracker.feed(&mut input).unwrap() {
                Event::Complete => events.push("complete".to_owned()),
                Event::Prepared(prepared) => events.push(format!("{prepared:?}")),
                _ => {}
            }
        }
        assert!(tracker.is_complete());
        events
    }

    #[test]
    fn every_reply_has_the_layout_that_was_agreed_on() {
        for capabilities in [MODERN, OLD] {
            for (format, command) in [
                (Format::Text, Command::Query),
                (Format::Binary, Command::StmtExecute),
            ] {
                let bytes = reply(capabilities, |reply| two_rows(reply, format));
                is_followed(command, capabilities, &bytes);
            }
            let columns = [Column::new("k", ColumnKind::Integer)];
            let fields = reply(capabilities, |reply| reply.field_list(&columns));
            is_followed(Command::FieldList, capabilities, &fields);
            let text = reply(capabilities, |reply| reply.string(b"Uptime: 1"));
            is_followed(Command::Statistics, capabilities, &text);
            let ok = reply(capabilities, |reply| reply.ok(3));
            is_followed(Command::Query, capabilities, &ok);
        }
    }

    #[test]
    fn a_prepared_statement_tells_its_parameters_and_columns() {
        let columns = [Column::new("k", ColumnKind::Integer)];
        for (parameters, columns) in [(0, &columns[..0]), (2, &columns), (1, &[]), (0, &columns)] {
            for capabilities in [MODERN, OLD] {
                let bytes = reply(capabilities, |reply| reply.prepared(5, parameters, columns));
                let events = is_followed(Command::StmtPrepare, capabilities, &bytes);
                let told = format!(
                    "Prepared {{ statement_id: 5, columns: {}, parameters: {parameters}, \
                     warnings: 0 }}",
                    columns.len()
                );
                assert_eq!(events.first(), Some(&told));
            }
        }
    }

    #[test]
    fn rows_are_text_or_binary() {
        let text = reply(MODERN, |reply| two_rows(reply, Format::Text));
        let rows = b"\x08\0\0\x04\x017\x05seven\x02\0\0\x05\xfb\xfb\x07\0\0\x06\xfe\0\0\x02\0\0\0";
        assert!(text.ends_with(rows), "{text:?}");
        let binary = reply(OLD, |reply| two_rows(reply, Format::Binary));
        let rows = b"\x10\0\0\x05\0\0\x07\0\0\0\0\0\0\0\x05seven\x02\0\0\x06\0\x0c\x05\0\0\x07\xfe\0\0\x02\0";
        assert!(binary.ends_with(rows), "{binary:?}");
    }

    #[test]
    fn the_bitmap_of_nulls_has_a_place_for_every_column() {
        for columns in 1..40 {
            let row = vec![Value::Null; columns];
            let bytes = reply(OLD, |reply| reply.binary_row(&row));
            let bitmap = &bytes[HEADER_BYTES + 1..];
            assert_eq!(bitmap.len(), (columns + 9) / 8);
            let ones: u32 = bitmap.iter().map(|byte| byte.count_ones()).sum();
            assert_eq!(ones as usize, columns);
        }
    }

    #[test]
    fn a_column_tells_where_it_comes_from() {
        let column = Column {
            origin: Some(Origin {
                schema: "demo",
                table: "kv",
                column: "k",
            }),
            ..Column::new("key", ColumnKind::Text { bytes_max: 256 })
        };
        let bytes = reply(OLD, |reply| reply.columns(&[column]));
        let expected = b"\x03def\x04demo\x02kv\x02kv\x03key\x01k\x0c\x2e\0\0\x01\0\0\xfd\0\0\0\0\0";
        assert_eq!(&bytes[HEADER_BYTES..][..expected.len()], expected);
    }
}
