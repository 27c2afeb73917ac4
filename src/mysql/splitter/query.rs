//! The statement in a `COM_QUERY`, behind the query attributes that MySQL 8 allows in front of it.

use crate::mysql::capabilities::Capabilities;
use crate::mysql::cursor::{Cursor, Malformed};

/// The text of a `COM_QUERY` without its first byte. `None`: what stands in front of it cannot be
/// read.
pub(super) fn statement_text(arguments: &[u8], capabilities: Capabilities) -> Option<&[u8]> {
    if !capabilities.contains(Capabilities::QUERY_ATTRIBUTES) {
        return Some(arguments);
    }
    behind_attributes(arguments).ok()
}

fn behind_attributes(arguments: &[u8]) -> Result<&[u8], Malformed> {
    let mut cursor = Cursor::new(arguments);
    let count = cursor.lenenc("COM_QUERY.parameter_count")?;
    cursor.lenenc("COM_QUERY.parameter_set_count")?;
    if count == 0 {
        return Ok(cursor.rest());
    }
    let nulls = cursor.bytes(count.div_ceil(8), "COM_QUERY.null_bitmap")?;
    cursor.u8("COM_QUERY.new_params_bind_flag")?;
    let mut values = cursor;
    let types = 0..count;
    for _ in types.clone() {
        values.u16("COM_QUERY.param_type")?;
        values.lenenc_bytes("COM_QUERY.param_name")?;
    }
    for index in types {
        let kind = cursor.u16("COM_QUERY.param_type")?;
        cursor.lenenc_bytes("COM_QUERY.param_name")?;
        if !is_null(nulls, index) {
            skip_value(&mut values, kind)?;
        }
    }
    Ok(values.rest())
}

fn is_null(bitmap: &[u8], index: u64) -> bool {
    let byte = usize::try_from(index / 8)
        .ok()
        .and_then(|at| bitmap.get(at));
    byte.is_some_and(|byte| byte >> (index % 8) & 1 == 1)
}

/// Passes over a value in binary form, by its `enum_field_types` in the low byte.
fn skip_value(values: &mut Cursor<'_>, kind: u16) -> Result<(), Malformed> {
    const FIELD: &str = "COM_QUERY.parameter_values";
    let [kind, _] = kind.to_le_bytes();
    let bytes = match kind {
        0x01 => 1,                                          // TINY
        0x02 | 0x0D => 2,                                   // SHORT, YEAR
        0x03 | 0x04 | 0x09 => 4,                            // LONG, FLOAT, INT24
        0x05 | 0x08 => 8,                                   // DOUBLE, LONGLONG
        0x06 => 0,                                          // NULL
        0x07 | 0x0A..=0x0C => u64::from(values.u8(FIELD)?), // dates and times
        _ => return values.lenenc_bytes(FIELD).map(drop),
    };
    values.bytes(bytes, FIELD).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    const WITH: Capabilities = Capabilities::QUERY_ATTRIBUTES;

    #[test]
    fn without_attributes_all_of_it_is_the_statement() {
        let text = statement_text(b"SELECT 1", Capabilities::NONE);
        assert_eq!(text, Some(&b"SELECT 1"[..]));
        assert_eq!(
            statement_text(b"\x00\x01SELECT 1", WITH),
            Some(&b"SELECT 1"[..])
        );
    }

    #[test]
    fn attributes_of_every_length_are_passed_over() {
        let mut packet = b"\x03\x01\x02\x01".to_vec(); // three, the second is NULL
        packet.extend(b"\xFD\x00\x03one\x08\x00\x03two\x0C\x00\x05three");
        packet.extend(b"\x04text\x04\xE9\x07\x01\x02");
        packet.extend(b"SELECT 2");
        assert_eq!(statement_text(&packet, WITH), Some(&b"SELECT 2"[..]));
        for len in 0..packet.len() - b"SELECT 2".len() {
            assert_eq!(statement_text(&packet[..len], WITH), None, "{len} bytes");
        }
    }

    #[test]
    fn a_count_that_is_a_lie_is_no_statement() {
        assert_eq!(
            statement_text(b"\xFE\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\x01x", WITH),
            None
        );
        assert_eq!(statement_text(b"", WITH), None);
    }
}
