//! What a session has done to its state on both servers, so that another replica can be brought to
//! it.

use crate::limits::JOURNAL_BYTES_MAX;
use crate::mysql::packet::HEADER_BYTES;

/// Commands, in their order.
#[derive(Debug, Default)]
pub(super) struct Journal {
    commands: Vec<Box<[u8]>>,
    bytes: usize,
    overflowed: bool,
}

impl Journal {
    /// Adds a whole command packet. The same as the one before changes nothing; `false` then.
    pub(super) fn push(&mut self, packet: &[u8]) -> bool {
        if self.overflowed || self.commands.last().is_some_and(|last| **last == *packet) {
            return false;
        }
        self.bytes = self.bytes.saturating_add(packet.len());
        if self.bytes > JOURNAL_BYTES_MAX {
            *self = Self {
                overflowed: true,
                ..Self::default()
            };
            return false;
        }
        self.commands.push(packet.into());
        true
    }

    /// Takes the last one back: it has failed.
    pub(super) fn pop(&mut self) {
        let last = self.commands.pop().map_or(0, |packet| packet.len());
        self.bytes = self.bytes.saturating_sub(last);
    }

    /// Whether it still holds everything, so that another replica is possible.
    pub(super) const fn is_whole(&self) -> bool {
        !self.overflowed
    }

    /// One command's packet.
    pub(super) fn get(&self, index: usize) -> Option<&[u8]> {
        self.commands.get(index).map(|packet| &**packet)
    }

    /// The first byte of one command.
    pub(super) fn command_byte(&self, index: usize) -> Option<u8> {
        self.get(index)?.get(HEADER_BYTES).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_journal_keeps_the_order_and_forgets_repetitions() {
        let mut journal = Journal::default();
        for packet in [
            &b"\x02\0\0\0\x03a"[..],
            b"\x02\0\0\0\x03a",
            b"\x02\0\0\0\x02b",
        ] {
            journal.push(packet);
        }
        assert_eq!(journal.get(0), Some(&b"\x02\0\0\0\x03a"[..]));
        assert_eq!(journal.command_byte(1), Some(2));
        assert_eq!(journal.get(2), None);
        assert!(journal.is_whole());
    }

    #[test]
    fn a_journal_that_would_grow_too_long_is_given_up() {
        let mut journal = Journal::default();
        for n in 0..=JOURNAL_BYTES_MAX {
            journal.push(&[n as u8; 2]);
        }
        assert!(!journal.is_whole());
        assert_eq!(journal.get(0), None);
        journal.push(b"more");
        assert_eq!(journal.get(0), None);
    }
}
