//! Packet headers, the small packets both sides send (OK, EOF, ERR), and the writer for those that
//! ringway makes itself.

use std::fmt;

use super::capabilities::Capabilities;
use super::cursor::{Cursor, Flaw, Malformed};
use crate::limits::ERROR_MESSAGE_BYTES_MAX;

/// Bytes of a packet header: three of length, one of sequence.
pub const HEADER_BYTES: usize = 4;

/// The longest payload of one packet. A packet of exactly this length is continued by another.
pub const PAYLOAD_BYTES_MAX: u32 = 0xFF_FFFF;

/// First byte of an OK packet.
pub const OK: u8 = 0x00;
/// First byte of a packet that brings more data of an authentication plugin.
pub const AUTH_MORE_DATA: u8 = 0x01;
/// First byte of a server's request for the data of a further factor.
pub const AUTH_NEXT_FACTOR: u8 = 0x02;
/// First byte of a server's request for a file of the client's.
pub const LOCAL_INFILE: u8 = 0xFB;
/// First byte of an EOF packet, of an OK packet that stands for one, and of an `AuthSwitchRequest`.
pub const EOF: u8 = 0xFE;
/// First byte of an ERR packet.
pub const ERR: u8 = 0xFF;

/// EOF packets are shorter than this. A longer packet that starts with 0xFE is a row, where OK
/// packets do not stand for EOF.
pub const EOF_BYTES_BELOW: u32 = 9;

/// The header of one packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Length of the payload, 24 bits.
    pub len: u32,
    /// Number within one command and its reply.
    pub sequence: u8,
}

impl Header {
    /// Reads a header.
    pub const fn parse([low, middle, high, sequence]: [u8; HEADER_BYTES]) -> Self {
        let len = u32::from_le_bytes([low, middle, high, 0]);
        Self { len, sequence }
    }

    /// Writes a header.
    pub const fn to_bytes(self) -> [u8; HEADER_BYTES] {
        let [low, middle, high, _] = self.len.to_le_bytes();
        [low, middle, high, self.sequence]
    }

    /// Whether another packet continues this one.
    pub const fn is_full(self) -> bool {
        self.len == PAYLOAD_BYTES_MAX
    }

    /// Length of the payload.
    pub const fn payload_bytes(self) -> usize {
        self.len as usize
    }
}

/// The server's status flags, as the last OK or EOF packet gave them.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct Status(pub u16);

impl Status {
    /// `SERVER_STATUS_IN_TRANS`: a transaction is open.
    pub const IN_TRANSACTION: Self = Self(0x0001);
    /// `SERVER_STATUS_AUTOCOMMIT`.
    pub const AUTOCOMMIT: Self = Self(0x0002);
    /// `SERVER_MORE_RESULTS_EXISTS`: another result follows this one.
    pub const MORE_RESULTS: Self = Self(0x0008);
    /// `SERVER_STATUS_CURSOR_EXISTS`: rows are fetched with `COM_STMT_FETCH`.
    pub const CURSOR_EXISTS: Self = Self(0x0040);
    /// `SERVER_STATUS_LAST_ROW_SENT`: the cursor is exhausted.
    pub const LAST_ROW_SENT: Self = Self(0x0080);
    /// `SERVER_STATUS_NO_BACKSLASH_ESCAPES`: `\` is an ordinary character in strings.
    pub const NO_BACKSLASH_ESCAPES: Self = Self(0x0200);
    /// `SERVER_STATUS_IN_TRANS_READONLY`: the open transaction is read-only.
    pub const IN_READ_ONLY_TRANSACTION: Self = Self(0x2000);
    /// `SERVER_SESSION_STATE_CHANGED`: the OK packet says what changed in the session.
    pub const SESSION_STATE_CHANGED: Self = Self(0x4000);

    /// Whether all flags of `other` are set.
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// These flags and those of `other`.
    #[must_use]
    pub const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// These flags without those of `other`.
    #[must_use]
    pub const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }
}

impl fmt::Debug for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Status({:#06x})", self.0)
    }
}

/// `OK_Packet` or `EOF_Packet`: the end of a result.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OkPacket<'a> {
    /// Rows that were changed. 0 in an EOF packet.
    pub affected_rows: u64,
    /// What `AUTO_INCREMENT` gave. 0 in an EOF packet.
    pub last_insert_id: u64,
    /// The server's status flags after the statement.
    pub status: Status,
    /// How many warnings the statement left.
    pub warnings: u16,
    /// A message for people.
    pub info: &'a [u8],
    /// What changed in the session: entries for [`SessionTrack`](super::track::SessionTrack).
    pub track: &'a [u8],
    /// Whether `track` was longer than what is kept of a packet, and has lost its end.
    pub track_cut: bool,
}

impl<'a> OkPacket<'a> {
    /// Reads an OK packet, an EOF packet, or an OK packet that stands for an EOF packet. `payload`
    /// may be cut off behind the warnings.
    ///
    /// # Errors
    /// When it is cut off before.
    pub fn parse(payload: &'a [u8], capabilities: Capabilities) -> Result<Self, Malformed> {
        let mut cursor = Cursor::new(payload);
        let kind = cursor.u8("OK_Packet.header")?;
        if kind != OK && kind != EOF {
            return Err(Malformed::new("OK_Packet.header", Flaw::Unexpected));
        }
        if kind == EOF && payload.len() <= 5 {
            return Self::parse_eof(cursor);
        }
        let mut ok = Self {
            affected_rows: cursor.lenenc("OK_Packet.affected_rows")?,
            last_insert_id: cursor.lenenc("OK_Packet.last_insert_id")?,
            status: Status(cursor.u16("OK_Packet.status_flags")?),
            warnings: cursor.u16("OK_Packet.warnings")?,
            ..Self::default()
        };
        ok.parse_info(cursor, capabilities);
        Ok(ok)
    }

    fn parse_eof(mut cursor: Cursor<'a>) -> Result<Self, Malformed> {
        Ok(Self {
            warnings: cursor.u16("EOF_Packet.warnings")?,
            status: Status(cursor.u16("EOF_Packet.status_flags")?),
            ..Self::default()
        })
    }

    /// What follows the numbers says nothing about where a reply ends, so that it is allowed to be
    /// missing, and to be wrong.
    fn parse_info(&mut self, mut cursor: Cursor<'a>, capabilities: Capabilities) {
        if !capabilities.contains(Capabilities::SESSION_TRACK) {
            self.info = cursor.take_rest();
            return;
        }
        let changed = self.status.contains(Status::SESSION_STATE_CHANGED);
        let Ok(info) = cursor.lenenc_bytes("OK_Packet.info") else {
            self.track_cut = changed;
            return;
        };
        self.info = info;
        if !changed {
            return;
        }
        let before = cursor;
        match cursor.lenenc_bytes("OK_Packet.session_state_info") {
            Ok(track) => self.track = track,
            Err(_) => {
                let mut partly = before;
                if partly.lenenc("OK_Packet.session_state_info").is_ok() {
                    self.track = partly.take_rest();
                }
                self.track_cut = true;
            }
        }
    }

    /// Appends this packet, beginning with `kind` ([`OK`] or [`EOF`]), for a client with these
    /// capabilities. Without `SESSION_TRACK` among them, what changed in the session is left out
    /// together with the flag that announces it.
    pub fn write(&self, out: &mut Vec<u8>, sequence: u8, kind: u8, capabilities: Capabilities) {
        let tracks = capabilities.contains(Capabilities::SESSION_TRACK) && !self.track.is_empty();
        let status = match tracks {
            true => self.status,
            false => self.status.without(Status::SESSION_STATE_CHANGED),
        };
        let mut packet = PacketWriter::new(out, sequence);
        packet.u8(kind);
        packet.lenenc(self.affected_rows);
        packet.lenenc(self.last_insert_id);
        packet.u16(status.0);
        packet.u16(self.warnings);
        if !capabilities.contains(Capabilities::SESSION_TRACK) {
            packet.bytes(self.info);
        } else if tracks || !self.info.is_empty() {
            packet.lenenc_bytes(self.info);
        }
        if tracks {
            packet.lenenc_bytes(self.track);
        }
        packet.finish();
    }
}

/// `ERR_Packet`: what a server refuses with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ErrPacket<'a> {
    /// The error's number.
    pub code: u16,
    /// Its class; `HY000` when the packet has none, as before the login.
    pub sqlstate: [u8; 5],
    /// A sentence for people.
    pub message: &'a [u8],
}

impl<'a> ErrPacket<'a> {
    /// The code of MariaDB's progress reports, which look like errors and are none.
    pub const PROGRESS_REPORT: u16 = 0xFFFF;

    /// Reads an ERR packet.
    ///
    /// # Errors
    /// When it has no error number.
    pub fn parse(payload: &'a [u8]) -> Result<Self, Malformed> {
        let mut cursor = Cursor::new(payload);
        if cursor.u8("ERR_Packet.header")? != ERR {
            return Err(Malformed::new("ERR_Packet.header", Flaw::Unexpected));
        }
        let code = cursor.u16("ERR_Packet.error_code")?;
        let mut sqlstate = *b"HY000";
        let mut marked = cursor;
        if marked.u8("ERR_Packet.sql_state_marker") == Ok(b'#')
            && let Ok(state) = marked.array("ERR_Packet.sql_state")
        {
            sqlstate = state;
            cursor = marked;
        }
        Ok(Self {
            code,
            sqlstate,
            message: cursor.take_rest(),
        })
    }

    /// Appends this packet.
    pub fn write(&self, out: &mut Vec<u8>, sequence: u8) {
        let message = self.message.get(..ERROR_MESSAGE_BYTES_MAX);
        let mut packet = PacketWriter::new(out, sequence);
        packet.u8(ERR);
        packet.u16(self.code);
        packet.u8(b'#');
        packet.bytes(&self.sqlstate);
        packet.bytes(message.unwrap_or(self.message));
        packet.finish();
    }
}

/// Writes one packet behind whatever a buffer holds. The header gets its length at the end.
#[derive(Debug)]
pub struct PacketWriter<'a> {
    out: &'a mut Vec<u8>,
    start: usize,
    sequence: u8,
}

impl<'a> PacketWriter<'a> {
    /// Begins a packet.
    pub fn new(out: &'a mut Vec<u8>, sequence: u8) -> Self {
        let start = out.len();
        out.extend_from_slice(&[0; HEADER_BYTES]);
        Self {
            out,
            start,
            sequence,
        }
    }

    /// One byte.
    pub fn u8(&mut self, value: u8) {
        self.out.push(value);
    }

    /// Two bytes.
    pub fn u16(&mut self, value: u16) {
        self.bytes(&value.to_le_bytes());
    }

    /// Four bytes.
    pub fn u32(&mut self, value: u32) {
        self.bytes(&value.to_le_bytes());
    }

    /// Bytes as they are.
    pub fn bytes(&mut self, bytes: &[u8]) {
        self.out.extend_from_slice(bytes);
    }

    /// As many zeros.
    pub fn zeros<const N: usize>(&mut self) {
        self.bytes(&[0; N]);
    }

    /// A length-encoded integer.
    pub fn lenenc(&mut self, value: u64) {
        let [a, b, c, ..] = value.to_le_bytes();
        match value {
            0..=0xFA => self.u8(a),
            0xFB..=0xFFFF => self.bytes(&[0xFC, a, b]),
            0x1_0000..=0xFF_FFFF => self.bytes(&[0xFD, a, b, c]),
            _ => {
                self.u8(0xFE);
                self.bytes(&value.to_le_bytes());
            }
        }
    }

    /// A string with its length in front.
    pub fn lenenc_bytes(&mut self, bytes: &[u8]) {
        self.lenenc(u64::try_from(bytes.len()).unwrap_or(u64::MAX));
        self.bytes(bytes);
    }

    /// A string and a NUL.
    pub fn nul_bytes(&mut self, bytes: &[u8]) {
        self.bytes(bytes);
        self.u8(0);
    }

    /// Completes the packet.
    ///
    /// # Panics
    /// When the payload is longer than one packet may be. ringway makes none of that size.
    pub fn finish(self) {
        let payload_start = self.start.saturating_add(HEADER_BYTES);
        let len = self.out.len().saturating_sub(payload_start);
        let len = u32::try_from(len).unwrap_or(u32::MAX);
        assert!(len < PAYLOAD_BYTES_MAX, "ringway's own packets are small");
        let header = Header {
            len,
            sequence: self.sequence,
        };
        if let Some(place) = self.out.get_mut(self.start..payload_start) {
            place.copy_from_slice(&header.to_bytes());
        }
    }
}

/// Appends a packet whose payload is at hand, as of `COM_QUERY` or `AuthSwitchResponse`.
///
/// # Panics
/// When the payload is longer than one packet may be.
pub fn write_packet(out: &mut Vec<u8>, sequence: u8, payload: &[u8]) {
    let mut packet = PacketWriter::new(out, sequence);
    packet.bytes(payload);
    packet.finish();
}

/// Appends a command without arguments, as of `COM_QUIT`, or with some, as of `COM_QUERY`.
///
/// # Panics
/// When the payload is longer than one packet may be.
pub fn write_command(out: &mut Vec<u8>, command: super::command::Command, arguments: &[u8]) {
    let mut packet = PacketWriter::new(out, 0);
    packet.u8(command.byte());
    packet.bytes(arguments);
    packet.finish();
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mysql::command::Command;

    const TRACKS: Capabilities = Capabilities::SESSION_TRACK;
    const NONE: Capabilities = Capabilities::NONE;

    /// From the documentation of `OK_Packet`: autocommit, `session_track_schema`.
    const SCHEMA_CHANGED: &[u8] = b"\x00\x00\x00\x02\x40\x00\x00\x00\x07\x01\x05\x04test";

    #[test]
    fn a_header_is_read_and_written() {
        let header = Header::parse([0xFE, 0xFF, 0xFF, 3]);
        assert_eq!((header.len, header.sequence), (0xFF_FFFE, 3));
        assert!(!header.is_full());
        assert_eq!(header.to_bytes(), [0xFE, 0xFF, 0xFF, 3]);
        assert!(Header::parse([0xFF, 0xFF, 0xFF, 0]).is_full());
    }

    #[test]
    fn an_ok_packet_says_how_a_statement_went() {
        let ok = OkPacket::parse(b"\x00\x01\xfc\x00\x01\x03\x00\x02\x00", NONE).unwrap();
        assert_eq!((ok.affected_rows, ok.last_insert_id), (1, 256));
        assert_eq!(ok.warnings, 2);
        assert!(ok.status.contains(Status::IN_TRANSACTION));
        assert!(ok.status.contains(Status::AUTOCOMMIT));
        let ok = OkPacket::parse(b"\x00\x00\x00\x02\x00\x00\x00Records: 1", NONE).unwrap();
        assert_eq!(ok.info, b"Records: 1");
    }

    #[test]
    fn an_ok_packet_says_what_changed_in_the_session() {
        let ok = OkPacket::parse(SCHEMA_CHANGED, TRACKS).unwrap();
        assert_eq!(ok.track, b"\x01\x05\x04test");
        assert!(!ok.track_cut);
        let cut = OkPacket::parse(&SCHEMA_CHANGED[..11], TRACKS).unwrap();
        assert_eq!(cut.track, b"\x01\x05");
        assert!(cut.track_cut);
    }

    #[test]
    fn the_changes_are_left_out_for_a_client_that_does_not_know_of_them() {
        let ok = OkPacket::parse(SCHEMA_CHANGED, TRACKS).unwrap();
        let mut out = Vec::new();
        ok.write(&mut out, 5, OK, NONE);
        assert_eq!(out, b"\x07\0\0\x05\x00\x00\x00\x02\x00\x00\x00");
        out.clear();
        ok.write(&mut out, 1, OK, TRACKS);
        assert_eq!(&out[HEADER_BYTES..], SCHEMA_CHANGED);
    }

    #[test]
    fn an_eof_packet_is_told_from_an_ok_packet_by_its_length() {
        let eof = OkPacket::parse(b"\xfe\x01\x00\x02\x00", TRACKS).unwrap();
        assert_eq!((eof.warnings, eof.status), (1, Status::AUTOCOMMIT));
        let ok = OkPacket::parse(b"\xfe\x00\x00\x02\x00\x01\x00", TRACKS).unwrap();
        assert_eq!((ok.warnings, ok.status), (1, Status::AUTOCOMMIT));
    }

    #[test]
    fn every_truncation_of_an_ok_packet_is_refused_or_harmless() {
        for len in 0..SCHEMA_CHANGED.len() {
            let parsed = OkPacket::parse(&SCHEMA_CHANGED[..len], TRACKS);
            assert_eq!(parsed.is_ok(), len >= 7, "{len} bytes");
        }
        for len in 0..5 {
            assert!(OkPacket::parse(&b"\xfe\x01\x00\x02\x00"[..len], NONE).is_err());
        }
    }

    #[test]
    fn an_error_is_read_and_written() {
        let payload = b"\xff\x15\x04#28000Access denied";
        let error = ErrPacket::parse(payload).unwrap();
        assert_eq!((error.code, &error.sqlstate), (1045, b"28000"));
        assert_eq!(error.message, b"Access denied");
        let mut out = Vec::new();
        error.write(&mut out, 2);
        assert_eq!(out[..HEADER_BYTES], [22, 0, 0, 2]);
        assert_eq!(&out[HEADER_BYTES..], payload);
    }

    #[test]
    fn an_error_before_the_login_has_no_state() {
        let error = ErrPacket::parse(b"\xff\x10\x04Too many connections").unwrap();
        assert_eq!((error.code, &error.sqlstate), (1040, b"HY000"));
        assert_eq!(error.message, b"Too many connections");
        assert!(ErrPacket::parse(b"\xff\x10").is_err());
        assert!(ErrPacket::parse(b"\x00\x10\x04").is_err());
    }

    #[test]
    fn what_the_writer_encodes_the_cursor_reads() {
        for value in [
            0,
            0xFA,
            0xFB,
            0xFFFF,
            0x1_0000,
            0xFF_FFFF,
            0x100_0000,
            u64::MAX,
        ] {
            let mut out = Vec::new();
            let mut packet = PacketWriter::new(&mut out, 0);
            packet.lenenc(value);
            packet.finish();
            assert_eq!(Cursor::new(&out[HEADER_BYTES..]).lenenc("n"), Ok(value));
        }
    }

    #[test]
    fn commands_start_a_sequence() {
        let mut out = Vec::new();
        write_command(&mut out, Command::Quit, b"");
        write_command(&mut out, Command::Query, b"SELECT 1");
        assert_eq!(out, b"\x01\0\0\0\x01\x09\0\0\0\x03SELECT 1");
    }
}
