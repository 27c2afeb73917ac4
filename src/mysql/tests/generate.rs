//! Valid replies of every kind, in every dialect.

use proptest::prelude::*;

use crate::mysql::capabilities::Capabilities;
use crate::mysql::command::Reply;
use crate::mysql::fuzzing::AGREEMENTS;
use crate::mysql::packet::write_packet;

/// A reply, and what was agreed.
#[derive(Clone, Debug)]
pub(super) struct Generated {
    pub(super) agreed: Capabilities,
    pub(super) reply: Reply,
    pub(super) bytes: Vec<u8>,
}

/// One result of a reply.
#[derive(Clone, Debug)]
enum One {
    Ok {
        info: Vec<u8>,
        track: Vec<u8>,
    },
    Set {
        columns: u8,
        metadata: bool,
        rows: Vec<Vec<u8>>,
    },
    Error,
}

pub(super) fn replies() -> impl Strategy<Value = Generated> {
    (0..64u8, results(), 0..10usize, 0..4u16, 0..4u16).prop_map(
        |(flags, results, kind, parameters, columns)| {
            let agreed = agreements(flags);
            let mut maker = Maker {
                agreed,
                bytes: Vec::new(),
                sequence: 0,
            };
            let reply = maker.reply(kind, &results, parameters, columns);
            Generated {
                agreed,
                reply,
                bytes: maker.bytes,
            }
        },
    )
}

fn agreements(flags: u8) -> Capabilities {
    let chosen = AGREEMENTS
        .iter()
        .enumerate()
        .filter(|(bit, _)| flags & (1 << bit) != 0);
    chosen.fold(Capabilities::NONE, |all, (_, one)| all | *one)
}

fn results() -> impl Strategy<Value = Vec<One>> {
    let text = || proptest::collection::vec(any::<u8>(), 0..300);
    let row = proptest::collection::vec(any::<u8>(), 0..400);
    let one = prop_oneof![
        (text(), text()).prop_map(|(info, track)| One::Ok { info, track }),
        (1..5u8, any::<bool>(), proptest::collection::vec(row, 0..5)).prop_map(
            |(columns, metadata, rows)| One::Set {
                columns,
                metadata,
                rows
            }
        ),
        Just(One::Error),
    ];
    proptest::collection::vec(one, 1..4)
}

struct Maker {
    agreed: Capabilities,
    bytes: Vec<u8>,
    sequence: u8,
}

impl Maker {
    fn packet(&mut self, payload: &[u8]) {
        self.sequence = self.sequence.wrapping_add(1);
        write_packet(&mut self.bytes, self.sequence, payload);
    }

    fn has(&self, one: Capabilities) -> bool {
        self.agreed.contains(one)
    }

    fn reply(&mut self, kind: usize, results: &[One], parameters: u16, columns: u16) -> Reply {
        let first = &results[0];
        match kind {
            0..=3 => {
                self.progress();
                for (i, one) in results.iter().enumerate() {
                    self.result(one, i + 1 < results.len());
                    if matches!(one, One::Error) {
                        break;
                    }
                }
                if kind == 3 {
                    Reply::Execution
                } else {
                    Reply::Results
                }
            }
            4 => {
                self.status(0, first);
                Reply::Status
            }
            5 => {
                self.prepared(parameters, columns);
                Reply::Prepared
            }
            6 => {
                self.rows(first);
                self.end(0x0080, false);
                Reply::Rows
            }
            7 => {
                (0..parameters).for_each(|_| self.packet(b"\x03def\x01t"));
                self.end(0x0002, false);
                Reply::Fields
            }
            8 => {
                self.packet(b"Uptime: 1");
                Reply::Text
            }
            _ => {
                self.packet(b"\xfemysql_native_password\0abcdefghijklmnopqrst\0");
                self.packet(b"\x01\x03");
                self.status(0, first);
                Reply::Authentication
            }
        }
    }

    /// MariaDB says how far it is.
    fn progress(&mut self) {
        if self.has(Capabilities::MARIADB_PROGRESS) {
            self.packet(b"\xff\xff\xff\x01\x02\x02\0\0\0\x04copy");
        }
    }

    fn result(&mut self, one: &One, more: bool) {
        let flags = if more { 0x000A } else { 0x0002 };
        let One::Set {
            columns, metadata, ..
        } = one
        else {
            return self.status(flags, one);
        };
        let optional = Capabilities::OPTIONAL_METADATA.and(self.agreed)
            | Capabilities::MARIADB_CACHE_METADATA.and(self.agreed);
        let optional = optional != Capabilities::NONE;
        match optional {
            true => self.packet(&[*columns, u8::from(*metadata)]),
            false => self.packet(&[*columns]),
        }
        if *metadata || !optional {
            (0..*columns).for_each(|_| self.packet(b"\x03def\x01t\x01c"));
        }
        self.eof();
        self.rows(one);
        self.end(flags, false);
    }

    /// The EOF behind definitions, where there still is one.
    fn eof(&mut self) {
        if !self.has(Capabilities::DEPRECATE_EOF) {
            self.packet(b"\xfe\0\0\x02\0");
        }
    }

    fn rows(&mut self, one: &One) {
        let One::Set { rows, .. } = one else {
            return;
        };
        for row in rows {
            // The first byte of a row is a length, or 0 in a binary one.
            let first = row.first().map_or(0, |byte| byte % 0xFB);
            let rest = row.get(1..).unwrap_or_default();
            self.packet(&[&[first], rest].concat());
        }
    }

    /// The end of rows.
    fn end(&mut self, flags: u16, tracked: bool) {
        let [low, high] = flags.to_le_bytes();
        match self.has(Capabilities::DEPRECATE_EOF) || tracked {
            true => self.packet(&[0xFE, 0, 0, low, high, 0, 0]),
            false => self.packet(&[0xFE, 0, 0, low, high]),
        }
    }

    /// OK or ERR.
    fn status(&mut self, flags: u16, one: &One) {
        let One::Ok { info, track } = one else {
            return self.packet(b"\xff\x1e\x04#42S22Unknown column");
        };
        let tracks = self.has(Capabilities::SESSION_TRACK);
        let [low, high] = (flags | if tracks { 0x4000 } else { 0 }).to_le_bytes();
        let mut ok = vec![0, 0xFC, 1, 1, 0, low, high, 1, 0];
        if tracks {
            for part in [info, track] {
                ok.push(0xFC);
                ok.extend((part.len() as u16).to_le_bytes());
                ok.extend(part);
            }
        } else {
            ok.extend(info);
        }
        self.packet(&ok);
    }

    fn prepared(&mut self, parameters: u16, columns: u16) {
        let [parameters_low, _] = parameters.to_le_bytes();
        let [columns_low, _] = columns.to_le_bytes();
        let mut ok = vec![0, 1, 0, 0, 0, columns_low, 0, parameters_low, 0, 0, 0, 0];
        if self.has(Capabilities::OPTIONAL_METADATA) {
            ok.push(1);
        }
        self.packet(&ok);
        for count in [parameters, columns] {
            (0..count).for_each(|_| self.packet(b"\x03def\x01t\x01c"));
            if count > 0 {
                self.eof();
            }
        }
    }
}
