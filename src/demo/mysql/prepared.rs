//! Prepared statements: the values that a client binds to parameters, in their binary layouts.

use std::collections::BTreeMap;

use super::refusal::Refusal;
use super::statements::Statement;
use crate::mysql::cursor::{Cursor, Malformed};
use crate::mysql::result::Value;

/// Bytes of one parameter that come in pieces: more than any column takes.
const LONG_DATA_BYTES_MAX: usize = 64 * 1024;
/// Parameters of one statement that come in pieces: more than a row has.
const LONG_PARAMETERS_MAX: usize = 16;
/// The high byte of a parameter's type: its numbers have no sign.
const UNSIGNED: u8 = 0x80;

/// A statement of `COM_STMT_PREPARE`.
#[derive(Debug)]
pub(super) struct Prepared {
    pub(super) statement: Statement,
    parameters: u16,
    /// The types of the last execution that told them; others may leave them out.
    types: Vec<[u8; 2]>,
    long_data: BTreeMap<u16, Vec<u8>>,
    /// Some of those data were refused; there was no reply to say so.
    lost_long_data: bool,
}

impl Prepared {
    pub(super) fn new(statement: Statement, parameters: u16) -> Self {
        Self {
            statement,
            parameters,
            types: Vec::new(),
            long_data: BTreeMap::new(),
            lost_long_data: false,
        }
    }

    /// `COM_STMT_SEND_LONG_DATA`: a piece of a parameter, which is not answered.
    pub(super) fn add_long_data(&mut self, parameter: u16, piece: &[u8]) {
        let is_new = !self.long_data.contains_key(&parameter);
        let has_room = !is_new || self.long_data.len() < LONG_PARAMETERS_MAX;
        if parameter >= self.parameters || !has_room {
            self.lost_long_data = true;
            return;
        }
        let data = self.long_data.entry(parameter).or_default();
        if data.len() + piece.len() > LONG_DATA_BYTES_MAX {
            self.lost_long_data = true;
            return;
        }
        data.extend_from_slice(piece);
    }

    /// `COM_STMT_RESET`.
    pub(super) fn reset(&mut self) {
        self.long_data.clear();
        self.lost_long_data = false;
    }

    /// The parameters' values from the rest of a `COM_STMT_EXECUTE`. What was sent in pieces counts
    /// for one execution.
    pub(super) fn bind(&mut self, mut cursor: Cursor<'_>) -> Result<Vec<Value>, Refusal> {
        let long_data = std::mem::take(&mut self.long_data);
        if std::mem::take(&mut self.lost_long_data) {
            return Err(Refusal::NO_LONG_DATA);
        }
        if self.parameters == 0 {
            return Ok(Vec::new());
        }
        let nulls = u64::from(self.parameters.div_ceil(8));
        let nulls = readable(cursor.bytes(nulls, "COM_STMT_EXECUTE.null_bitmap"))?;
        if readable(cursor.u8("COM_STMT_EXECUTE.new_params_bind_flag"))? == 1 {
            self.types.clear();
            for _ in 0..self.parameters {
                let kind = cursor.array("COM_STMT_EXECUTE.parameter_type");
                self.types.push(readable(kind)?);
            }
        }
        if self.types.len() != usize::from(self.parameters) {
            return Err(Refusal::NOT_READABLE);
        }
        let mut values = Vec::with_capacity(self.types.len());
        for (index, kind) in (0..self.parameters).zip(&self.types) {
            let is_null = nulls[usize::from(index / 8)] >> (index % 8) & 1 == 1;
            let value = match long_data.get(&index) {
                Some(data) => Value::text(&data[..]),
                None if is_null => Value::Null,
                None => value(&mut cursor, *kind)?,
            };
            values.push(value);
        }
        Ok(values)
    }
}

fn value(cursor: &mut Cursor<'_>, [kind, flags]: [u8; 2]) -> Result<Value, Refusal> {
    const FIELD: &str = "COM_STMT_EXECUTE.parameter_value";
    let is_unsigned = flags & UNSIGNED != 0;
    let number = match kind {
        // MYSQL_TYPE_TINY
        0x01 => readable(cursor.array(FIELD)).map(|bytes| {
            pick(
                is_unsigned,
                u8::from_le_bytes(bytes),
                i8::from_le_bytes(bytes),
            )
        }),
        // MYSQL_TYPE_SHORT, MYSQL_TYPE_YEAR
        0x02 | 0x0D => readable(cursor.array(FIELD)).map(|bytes| {
            pick(
                is_unsigned,
                u16::from_le_bytes(bytes),
                i16::from_le_bytes(bytes),
            )
        }),
        // MYSQL_TYPE_LONG, MYSQL_TYPE_INT24
        0x03 | 0x09 => readable(cursor.array(FIELD)).map(|bytes| {
            pick(
                is_unsigned,
                u32::from_le_bytes(bytes),
                i32::from_le_bytes(bytes),
            )
        }),
        // MYSQL_TYPE_LONGLONG
        0x08 => {
            let bytes = readable(cursor.array(FIELD))?;
            match i64::from_le_bytes(bytes) {
                negative @ ..0 if is_unsigned => {
                    // Larger than any integer of the demo: its digits are text.
                    return Ok(Value::text(negative.cast_unsigned().to_string()));
                }
                number => Ok(number),
            }
        }
        // MYSQL_TYPE_NULL
        0x06 => return Ok(Value::Null),
        // MYSQL_TYPE_VARCHAR, the BLOBs, MYSQL_TYPE_VAR_STRING, MYSQL_TYPE_STRING
        0x0F | 0xF9..=0xFE => {
            return readable(cursor.lenenc_bytes(FIELD)).map(Value::text);
        }
        _ => return Err(Refusal::parameter_type(kind)),
    };
    number.map(Value::Integer)
}

fn pick(is_unsigned: bool, unsigned: impl Into<i64>, signed: impl Into<i64>) -> i64 {
    if is_unsigned {
        unsigned.into()
    } else {
        signed.into()
    }
}

fn readable<T>(field: Result<T, Malformed>) -> Result<T, Refusal> {
    field.map_err(|_| Refusal::NOT_READABLE)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prepared(parameters: u16) -> Prepared {
        Prepared::new(Statement::Commit, parameters)
    }

    fn bind(prepared: &mut Prepared, bytes: &[u8]) -> Result<Vec<Value>, u16> {
        let values = prepared.bind(Cursor::new(bytes));
        values.map_err(|refused| refused.code)
    }

    #[test]
    fn numbers_and_strings_are_read_in_their_layouts() {
        let integer = Value::Integer;
        for (kind, bytes, expected) in [
            ([0x01, 0x00], &b"\xff"[..], integer(-1)),
            ([0x01, 0x80], b"\xff", integer(255)),
            ([0x02, 0x00], b"\xfe\xff", integer(-2)),
            ([0x03, 0x80], b"\xff\xff\xff\xff", integer(0xFFFF_FFFF)),
            ([0x08, 0x00], b"\x05\0\0\0\0\0\0\0", integer(5)),
            (
                [0x08, 0x80],
                b"\xff\xff\xff\xff\xff\xff\xff\xff",
                Value::text("18446744073709551615"),
            ),
            ([0xFD, 0x00], b"\x02hi", Value::text("hi")),
            ([0x06, 0x00], b"", Value::Null),
        ] {
            let mut packet = vec![0, 1];
            packet.extend_from_slice(&kind);
            packet.extend_from_slice(bytes);
            assert_eq!(bind(&mut prepared(1), &packet), Ok(vec![expected]));
            if !bytes.is_empty() {
                packet.pop();
                assert_eq!(bind(&mut prepared(1), &packet), Err(1835));
            }
        }
        assert_eq!(
            bind(&mut prepared(1), b"\0\x01\x05\0\0\0\0\0\0\0\0\0"),
            Err(1210)
        );
    }

    #[test]
    fn types_are_told_once() {
        let mut twice = prepared(2);
        assert_eq!(bind(&mut twice, b"\0\0\x01a\x01b"), Err(1835), "never told");
        let values = bind(&mut twice, b"\x02\x01\xfd\0\xfd\0\x01a");
        assert_eq!(values, Ok(vec![Value::text("a"), Value::Null]));
        let values = bind(&mut twice, b"\0\0\x01c\x01d");
        assert_eq!(values, Ok(vec![Value::text("c"), Value::text("d")]));
    }

    #[test]
    fn a_parameter_comes_in_pieces_up_to_a_bound() {
        let mut pieces = prepared(1);
        pieces.add_long_data(0, b"ab");
        pieces.add_long_data(0, b"c");
        let execution = b"\0\x01\xfc\0";
        assert_eq!(bind(&mut pieces, execution), Ok(vec![Value::text("abc")]));
        assert_eq!(bind(&mut pieces, execution), Err(1835), "they are used up");
        pieces.add_long_data(0, &[0; LONG_DATA_BYTES_MAX]);
        pieces.add_long_data(0, b"x");
        assert_eq!(bind(&mut pieces, execution), Err(1210));
        pieces.add_long_data(1, b"x");
        assert_eq!(bind(&mut pieces, execution), Err(1210), "no such parameter");
        pieces.add_long_data(1, b"x");
        pieces.reset();
        assert_eq!(
            bind(&mut pieces, b"\0\x01\xfc\0\x01y"),
            Ok(vec![Value::text("y")])
        );
    }
}
