//! What a session has done to its state on both servers, so that another replica can be brought to
//! it.

use crate::limits::JOURNAL_BYTES_MAX;
use crate::mysql::packet::HEADER_BYTES;

/// Commands, in their order.
#[derive(Debug, Default)]
pub(super) struct Journal {
    commands: Vec<Box<[u8]>>,
    bytes: usize,
    is_broken: bool,
    /// The command that has chosen the default schema, which outlives a reset of the session.
    schema: Option<Box<[u8]>>,
    running: Option<Running>,
}

/// A command of which it is not known yet whether it succeeds.
#[derive(Debug)]
struct Running {
    /// Its packet; `None`: it cannot be repeated.
    packet: Option<Vec<u8>>,
    chooses_schema: bool,
}

impl Journal {
    /// A command runs. `None` in place of its whole packet: it cannot be repeated.
    pub(super) fn begin(&mut self, packet: Option<Vec<u8>>, chooses_schema: bool) {
        self.running = Some(Running {
            packet,
            chooses_schema,
        });
    }

    /// The command that runs, if any, is over. One that failed has changed nothing.
    pub(super) fn end(&mut self, failed: bool) {
        let Some(done) = self.running.take().filter(|_| !failed) else {
            return;
        };
        let Some(packet) = done.packet else {
            return self.give_up();
        };
        if done.chooses_schema {
            self.schema = Some(packet.as_slice().into());
        }
        self.push(packet);
    }

    fn push(&mut self, packet: Vec<u8>) {
        let is_repetition = self.commands.last().is_some_and(|last| **last == *packet);
        // `SET @a = @a + 1` does something each time.
        if self.is_broken || (is_repetition && !packet.contains(&b'@')) {
            return;
        }
        self.bytes = self.bytes.saturating_add(packet.len());
        if self.bytes > JOURNAL_BYTES_MAX {
            return self.give_up();
        }
        self.commands.push(packet.into());
    }

    fn give_up(&mut self) {
        self.is_broken = true;
        self.commands = Vec::new();
        self.bytes = 0;
    }

    /// The session's state is that after its login, but for its default schema.
    pub(super) fn reset(&mut self) {
        let schema = self.schema.take();
        *self = Self {
            bytes: schema.as_ref().map_or(0, |packet| packet.len()),
            commands: schema.iter().cloned().collect(),
            schema,
            ..Self::default()
        };
    }

    /// Whether it holds everything, so that another replica is possible.
    pub(super) const fn is_whole(&self) -> bool {
        !self.is_broken
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

    /// A command that succeeds.
    fn done(journal: &mut Journal, packet: &[u8]) {
        journal.begin(Some(packet.to_vec()), false);
        journal.end(false);
    }

    fn entries(journal: &Journal) -> Vec<&[u8]> {
        (0..).map_while(|index| journal.get(index)).collect()
    }

    #[test]
    fn a_journal_keeps_the_order_and_forgets_repetitions() {
        let mut journal = Journal::default();
        done(&mut journal, b"\x02\0\0\0\x03a");
        done(&mut journal, b"\x02\0\0\0\x03a");
        done(&mut journal, b"\x02\0\0\0\x02b");
        assert_eq!(
            entries(&journal),
            [b"\x02\0\0\0\x03a", b"\x02\0\0\0\x02b"].map(|packet| &packet[..])
        );
        assert_eq!(journal.command_byte(1), Some(2));
        assert!(journal.is_whole());
    }

    #[test]
    fn what_depends_on_itself_is_repeated_as_often_as_it_was_done() {
        let mut journal = Journal::default();
        for _ in 0..3 {
            done(&mut journal, b"....\x03SET @a = @a + 1");
        }
        assert_eq!(entries(&journal).len(), 3);
    }

    #[test]
    fn what_failed_has_not_been_done() {
        let mut journal = Journal::default();
        journal.begin(Some(b"....\x02gone".to_vec()), true);
        journal.end(true);
        journal.begin(None, false);
        journal.end(true);
        journal.end(false);
        assert!(entries(&journal).is_empty() && journal.is_whole());
        journal.reset();
        assert!(entries(&journal).is_empty());
    }

    #[test]
    fn a_reset_leaves_the_schema_that_was_chosen_last() {
        let mut journal = Journal::default();
        for schema in [b"....\x02one".as_slice(), b"....\x02two"] {
            journal.begin(Some(schema.to_vec()), true);
            journal.end(false);
        }
        done(&mut journal, b"....\x03SET NAMES utf8mb4");
        for _ in 0..2 {
            journal.reset();
            assert_eq!(entries(&journal), [b"....\x02two"]);
        }
    }

    #[test]
    fn a_journal_that_would_grow_too_long_is_given_up_until_the_session_is_reset() {
        let mut journal = Journal::default();
        journal.begin(Some(b"....\x02one".to_vec()), true);
        journal.end(false);
        for n in 0..=JOURNAL_BYTES_MAX {
            done(&mut journal, &[n as u8; 2]);
        }
        assert!(!journal.is_whole() && entries(&journal).is_empty());
        done(&mut journal, b"more");
        assert!(entries(&journal).is_empty());
        journal.reset();
        assert!(journal.is_whole());
        assert_eq!(entries(&journal), [b"....\x02one"]);
    }

    #[test]
    fn what_cannot_be_repeated_ends_it() {
        let mut journal = Journal::default();
        journal.begin(None, false);
        journal.end(false);
        assert!(!journal.is_whole());
    }
}
