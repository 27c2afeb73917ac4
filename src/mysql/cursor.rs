//! The one way fields are read out of a packet: every read is checked against what is left, and a
//! failure names the field.

use thiserror::Error;

/// A packet that does not hold what its kind must hold.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("{field} {flaw}")]
pub struct Malformed {
    /// The field, as in `HandshakeResponse41.user`.
    pub field: &'static str,
    /// What is wrong with it.
    pub flaw: Flaw,
}

/// What is wrong with a field.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum Flaw {
    /// The packet ends before the field does.
    #[error("is cut off")]
    CutOff,
    /// A length-encoded integer that starts with 0xFB (NULL) or 0xFF (an error).
    #[error("has no length")]
    NoLength,
    /// Larger than the protocol or a limit of ours allows.
    #[error("is too large")]
    TooLarge,
    /// A value that the protocol does not know at this place.
    #[error("has a value that is not allowed there")]
    Unexpected,
    /// A string without the NUL that must end it.
    #[error("does not end")]
    Unterminated,
}

impl Malformed {
    /// A complaint about one field.
    pub const fn new(field: &'static str, flaw: Flaw) -> Self {
        Self { field, flaw }
    }
}

/// Reads the fields of one packet's payload from front to back.
#[derive(Clone, Copy, Debug)]
pub struct Cursor<'a> {
    rest: &'a [u8],
}

impl<'a> Cursor<'a> {
    /// Starts at the first byte of a payload.
    pub const fn new(payload: &'a [u8]) -> Self {
        Self { rest: payload }
    }

    /// What has not been read.
    pub const fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// Whether everything has been read.
    pub const fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// The next byte, which stays unread.
    pub fn peek(&self) -> Option<u8> {
        self.rest.first().copied()
    }

    /// The next `len` bytes.
    ///
    /// # Errors
    /// When fewer are left.
    pub fn bytes(&mut self, len: u64, field: &'static str) -> Result<&'a [u8], Malformed> {
        let split = usize::try_from(len)
            .ok()
            .and_then(|len| self.rest.split_at_checked(len));
        let (taken, rest) = split.ok_or(Malformed::new(field, Flaw::CutOff))?;
        self.rest = rest;
        Ok(taken)
    }

    /// The next `N` bytes.
    ///
    /// # Errors
    /// When fewer are left.
    pub fn array<const N: usize>(&mut self, field: &'static str) -> Result<[u8; N], Malformed> {
        let (taken, rest) = self
            .rest
            .split_first_chunk()
            .ok_or(Malformed::new(field, Flaw::CutOff))?;
        self.rest = rest;
        Ok(*taken)
    }

    /// One byte.
    ///
    /// # Errors
    /// When none is left.
    pub fn u8(&mut self, field: &'static str) -> Result<u8, Malformed> {
        self.array(field).map(u8::from_le_bytes)
    }

    /// Two bytes, the low one first, like all integers of the protocol.
    ///
    /// # Errors
    /// When fewer are left.
    pub fn u16(&mut self, field: &'static str) -> Result<u16, Malformed> {
        self.array(field).map(u16::from_le_bytes)
    }

    /// Three bytes.
    ///
    /// # Errors
    /// When fewer are left.
    pub fn u24(&mut self, field: &'static str) -> Result<u32, Malformed> {
        let [low, middle, high] = self.array(field)?;
        Ok(u32::from_le_bytes([low, middle, high, 0]))
    }

    /// Four bytes.
    ///
    /// # Errors
    /// When fewer are left.
    pub fn u32(&mut self, field: &'static str) -> Result<u32, Malformed> {
        self.array(field).map(u32::from_le_bytes)
    }

    /// Eight bytes.
    ///
    /// # Errors
    /// When fewer are left.
    pub fn u64(&mut self, field: &'static str) -> Result<u64, Malformed> {
        self.array(field).map(u64::from_le_bytes)
    }

    /// A length-encoded integer: one byte below 0xFB, or 0xFC, 0xFD, 0xFE and 2, 3, 8 bytes.
    ///
    /// # Errors
    /// When it is cut off, or starts with 0xFB or 0xFF, which are no integers.
    pub fn lenenc(&mut self, field: &'static str) -> Result<u64, Malformed> {
        match self.u8(field)? {
            0xFC => self.u16(field).map(u64::from),
            0xFD => self.u24(field).map(u64::from),
            0xFE => self.u64(field),
            0xFB | 0xFF => Err(Malformed::new(field, Flaw::NoLength)),
            small => Ok(u64::from(small)),
        }
    }

    /// A string with its length in front.
    ///
    /// # Errors
    /// When the length is none, or promises more than is left.
    pub fn lenenc_bytes(&mut self, field: &'static str) -> Result<&'a [u8], Malformed> {
        let len = self.lenenc(field)?;
        self.bytes(len, field)
    }

    /// A string that a NUL ends. The NUL is read and not returned.
    ///
    /// # Errors
    /// When there is no NUL.
    pub fn nul_bytes(&mut self, field: &'static str) -> Result<&'a [u8], Malformed> {
        let mut halves = self.rest.splitn(2, |&byte| byte == 0);
        match (halves.next(), halves.next()) {
            (Some(string), Some(rest)) => {
                self.rest = rest;
                Ok(string)
            }
            _ => Err(Malformed::new(field, Flaw::Unterminated)),
        }
    }

    /// A string that a NUL ends, or the packet does: some clients leave the last NUL out.
    pub fn nul_bytes_or_rest(&mut self) -> &'a [u8] {
        self.nul_bytes("").unwrap_or_else(|_| self.take_rest())
    }

    /// All that is left.
    pub fn take_rest(&mut self) -> &'a [u8] {
        std::mem::take(&mut self.rest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_have_their_low_byte_first() {
        let mut cursor = Cursor::new(&[1, 2, 0, 3, 0, 0, 4, 0, 0, 0, 5, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(cursor.u8("a"), Ok(1));
        assert_eq!(cursor.u16("b"), Ok(2));
        assert_eq!(cursor.u24("c"), Ok(3));
        assert_eq!(cursor.u32("d"), Ok(4));
        assert_eq!(cursor.u64("e"), Ok(5));
        assert!(cursor.is_empty());
        assert_eq!(cursor.u8("f"), Err(Malformed::new("f", Flaw::CutOff)));
    }

    #[test]
    fn length_encoded_integers_at_their_extremes() {
        let cases: [(&[u8], Result<u64, Flaw>); 12] = [
            (&[0], Ok(0)),
            (&[0xFA], Ok(0xFA)),
            (&[0xFB], Err(Flaw::NoLength)),
            (&[0xFC, 0xFF, 0xFF], Ok(0xFFFF)),
            (&[0xFC, 0xFF], Err(Flaw::CutOff)),
            (&[0xFD, 0xFF, 0xFF, 0xFF], Ok(0xFF_FFFF)),
            (&[0xFD, 0xFF, 0xFF], Err(Flaw::CutOff)),
            (
                &[0xFE, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF],
                Ok(u64::MAX),
            ),
            (
                &[0xFE, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF],
                Err(Flaw::CutOff),
            ),
            (&[0xFF], Err(Flaw::NoLength)),
            (&[0xFE, 0, 0, 0, 0, 0, 0, 0, 0], Ok(0)),
            (&[], Err(Flaw::CutOff)),
        ];
        for (bytes, expected) in cases {
            let read = Cursor::new(bytes).lenenc("n").map_err(|error| error.flaw);
            assert_eq!(read, expected, "{bytes:x?}");
        }
    }

    #[test]
    fn an_inner_length_never_reaches_past_the_packet() {
        for bytes in [
            &[5, b'a', b'b'][..],
            &[0xFE, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, b'a'][..],
            &[0xFC, 2, 0, b'a'][..],
        ] {
            let read = Cursor::new(bytes).lenenc_bytes("name");
            assert_eq!(read, Err(Malformed::new("name", Flaw::CutOff)));
        }
    }

    #[test]
    fn strings_end_at_their_nul_or_are_refused() {
        let mut cursor = Cursor::new(b"user\0\0db");
        assert_eq!(cursor.nul_bytes("user"), Ok(&b"user"[..]));
        assert_eq!(cursor.nul_bytes("empty"), Ok(&b""[..]));
        let unterminated = Malformed::new("db", Flaw::Unterminated);
        assert_eq!(cursor.nul_bytes("db"), Err(unterminated));
        assert_eq!(cursor.nul_bytes_or_rest(), b"db");
        assert!(cursor.is_empty());
        assert_eq!(unterminated.to_string(), "db does not end");
    }
}
