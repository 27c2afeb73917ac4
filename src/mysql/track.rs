//! What an OK packet says about changes of the session (`CLIENT_SESSION_TRACK`).

use super::cursor::{Cursor, Malformed};

/// One change of a session's state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change<'a> {
    /// `SESSION_TRACK_SYSTEM_VARIABLES`. MariaDB reports GTIDs this way, as `last_gtid`.
    Variable {
        /// The variable's name.
        name: &'a [u8],
        /// Its new value.
        value: &'a [u8],
    },
    /// `SESSION_TRACK_SCHEMA`: the default database.
    Schema(&'a [u8]),
    /// `SESSION_TRACK_STATE_CHANGE`: something changed that is not reported by itself.
    State,
    /// `SESSION_TRACK_GTIDS`: what the transaction got on MySQL.
    Gtids(&'a [u8]),
    /// `SESSION_TRACK_TRANSACTION_CHARACTERISTICS`: the statement that would start it again.
    TransactionCharacteristics(&'a [u8]),
    /// `SESSION_TRACK_TRANSACTION_STATE`: eight letters, one per property.
    TransactionState(&'a [u8]),
    /// A kind that is not known here.
    Other(u8),
}

impl<'a> Change<'a> {
    /// The GTIDs of a transaction, in either dialect's spelling.
    pub fn gtids(&self) -> Option<&'a [u8]> {
        match *self {
            Self::Gtids(gtids) => Some(gtids),
            Self::Variable { name, value } if name == b"last_gtid" => Some(value),
            _ => None,
        }
    }
}

/// The changes in the `track` of an [`OkPacket`](super::packet::OkPacket). Ends early at an entry
/// that is cut off; whoever must not miss one looks at [`Self::is_exhausted`].
#[derive(Clone, Copy, Debug)]
pub struct SessionTrack<'a> {
    entries: Cursor<'a>,
    /// Further variables of an entry that has several.
    variables: Cursor<'a>,
    broken: bool,
}

impl<'a> SessionTrack<'a> {
    /// Reads the entries of one OK packet.
    pub const fn new(track: &'a [u8]) -> Self {
        Self {
            entries: Cursor::new(track),
            variables: Cursor::new(&[]),
            broken: false,
        }
    }

    /// Whether every entry has been read.
    pub const fn is_exhausted(&self) -> bool {
        !self.broken && self.entries.is_empty() && self.variables.is_empty()
    }

    fn read(&mut self) -> Result<Change<'a>, Malformed> {
        if !self.variables.is_empty() {
            return self.variable();
        }
        let kind = self.entries.u8("session_state_info.type")?;
        let data = self.entries.lenenc_bytes("session_state_info.data")?;
        let mut data = Cursor::new(data);
        Ok(match kind {
            0 => {
                self.variables = data;
                self.variable()?
            }
            1 => Change::Schema(data.lenenc_bytes("session_state_info.schema")?),
            2 => Change::State,
            3 => {
                data.u8("session_state_info.gtid_encoding")?;
                Change::Gtids(data.lenenc_bytes("session_state_info.gtids")?)
            }
            4 => Change::TransactionCharacteristics(
                data.lenenc_bytes("session_state_info.characteristics")?,
            ),
            5 => Change::TransactionState(data.lenenc_bytes("session_state_info.state")?),
            other => Change::Other(other),
        })
    }

    fn variable(&mut self) -> Result<Change<'a>, Malformed> {
        let name = self.variables.lenenc_bytes("session_state_info.name")?;
        let value = self.variables.lenenc_bytes("session_state_info.value")?;
        Ok(Change::Variable { name, value })
    }
}

impl<'a> Iterator for SessionTrack<'a> {
    type Item = Change<'a>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.broken || self.is_exhausted() {
            return None;
        }
        let change = self.read();
        self.broken = change.is_err();
        change.ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL_KINDS: &[u8] = b"\x00\x0f\x0aautocommit\x03OFF\
        \x01\x05\x04shop\
        \x02\x02\x011\
        \x03\x08\x00\x06uuid:1\
        \x04\x14\x13START TRANSACTION; \
        \x05\x09\x08T_______\
        \x09\x01x";

    #[test]
    fn every_kind_of_change_is_read() {
        let mut track = SessionTrack::new(ALL_KINDS);
        let changes: Vec<_> = track.by_ref().collect();
        let expected = [
            Change::Variable {
                name: b"autocommit",
                value: b"OFF",
            },
            Change::Schema(b"shop"),
            Change::State,
            Change::Gtids(b"uuid:1"),
            Change::TransactionCharacteristics(b"START TRANSACTION; "),
            Change::TransactionState(b"T_______"),
            Change::Other(9),
        ];
        assert_eq!(changes, expected);
        assert!(track.is_exhausted());
    }

    #[test]
    fn gtids_are_found_in_both_dialects() {
        let mysql = SessionTrack::new(b"\x03\x08\x00\x06uuid:1");
        assert_eq!(mysql.filter_map(|c| c.gtids()).last(), Some(&b"uuid:1"[..]));
        let mariadb = SessionTrack::new(b"\x00\x10\x09last_gtid\x050-1-7");
        assert_eq!(
            mariadb.filter_map(|c| c.gtids()).last(),
            Some(&b"0-1-7"[..])
        );
    }

    #[test]
    fn several_variables_may_share_an_entry() {
        let track = SessionTrack::new(b"\x00\x08\x01a\x011\x01b\x012");
        let names: Vec<_> = track
            .map(|change| match change {
                Change::Variable { name, value } => (name, value),
                other => panic!("{other:?}"),
            })
            .collect();
        assert_eq!(names, [(&b"a"[..], &b"1"[..]), (b"b", b"2")]);
    }

    #[test]
    fn a_truncation_is_noticed_wherever_it_is() {
        let whole = SessionTrack::new(ALL_KINDS).count();
        let boundaries = [0, 17, 24, 28, 38, 60, 71, 74];
        for len in 0..ALL_KINDS.len() {
            let mut track = SessionTrack::new(&ALL_KINDS[..len]);
            let read = track.by_ref().count();
            assert!(read < whole, "{len} bytes");
            assert_eq!(
                track.is_exhausted(),
                boundaries.contains(&len),
                "{len} bytes"
            );
        }
    }
}
