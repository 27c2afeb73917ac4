//! What a session has written that its replica may not have yet.

use std::time::Duration;

use super::gtid;

/// It is kept as `read_after_write` asks for it: as a time, or as transactions.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Written {
    /// When the session has written last.
    last_us: Option<u64>,
    /// The transactions that the replica has not been found to have.
    unseen: Vec<u8>,
    /// Those that it has been found to have. Another one may not.
    seen: Vec<u8>,
    /// There are more of these than could be kept.
    seen_is_cut: bool,
    /// Something was written that cannot be named.
    has_unnamed: bool,
}

impl Written {
    /// Something was written at this moment.
    pub(super) const fn at(&mut self, now_us: u64) {
        self.last_us = Some(now_us);
    }

    /// These transactions were written.
    pub(super) fn transactions(&mut self, reported: &[u8]) {
        self.has_unnamed |= !gtid::add(&mut self.unseen, reported);
    }

    /// Something was written that nobody has named.
    pub(super) const fn unnamed(&mut self) {
        self.has_unnamed = true;
    }

    /// Whether the last write is no longer ago than this.
    pub(super) fn is_within(&self, time: Duration, now_us: u64) -> bool {
        let time_us = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        self.last_us
            .is_some_and(|at_us| now_us < at_us.saturating_add(time_us))
    }

    /// Whether no replica can be asked for all of it.
    pub(super) const fn has_unnamed(&self) -> bool {
        self.has_unnamed
    }

    /// What the replica has to be asked for.
    pub(super) fn unseen(&self) -> Option<&[u8]> {
        (!self.unseen.is_empty()).then_some(&self.unseen)
    }

    /// The replica has what it was asked for, which is kept if it `can_be_replaced`.
    pub(super) fn found(&mut self, can_be_replaced: bool) {
        let found = std::mem::take(&mut self.unseen);
        if can_be_replaced {
            self.seen_is_cut |= !gtid::add(&mut self.seen, &found);
        }
    }

    /// There is another replica, which has not been asked for anything.
    pub(super) fn replica_replaced(&mut self) {
        let mut all = std::mem::take(&mut self.seen);
        if self.unseen.is_empty() || gtid::add(&mut all, &self.unseen) {
            self.unseen = all;
        } else {
            self.has_unnamed = true;
        }
        self.has_unnamed |= self.seen_is_cut;
    }

    /// The session is reset. Whoever goes on with it may count on what was written before, and can
    /// wait for what is known; what cannot be named would have no end.
    pub(super) const fn reset(&mut self) {
        self.has_unnamed = false;
        self.seen_is_cut = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::GTID_BYTES_MAX;

    #[test]
    fn another_replica_is_asked_for_what_the_one_before_had() {
        let mut written = Written::default();
        written.transactions(b"0-1-7");
        written.transactions(b"1-1-3");
        written.found(true);
        assert_eq!(written.unseen(), None);
        written.transactions(b"0-1-8");
        assert_eq!(written.unseen(), Some(&b"0-1-8"[..]), "it has the others");
        written.replica_replaced();
        assert_eq!(written.unseen(), Some(&b"0-1-8,1-1-3"[..]));
        assert!(!written.has_unnamed());
        written.found(true);
        assert_eq!(written.unseen(), None);
    }

    #[test]
    fn nothing_is_kept_for_a_replica_that_cannot_come() {
        let mut written = Written::default();
        written.transactions(b"0-1-7");
        written.found(false);
        assert_eq!(written, Written::default());
    }

    /// More than half of what can be kept, of one server.
    fn half(server: char) -> Vec<u8> {
        let mut known = format!("{server}:1").into_bytes();
        while known.len() <= GTID_BYTES_MAX / 2 {
            known.extend_from_slice(b":33-44");
        }
        known
    }

    #[test]
    fn another_replica_is_not_read_if_the_one_before_had_more_than_is_kept() {
        let mut written = Written::default();
        for server in ['a', 'b'] {
            written.transactions(&half(server));
            written.found(true);
            assert!(!written.has_unnamed(), "this replica has all of it");
        }
        written.replica_replaced();
        assert!(written.has_unnamed());
    }

    #[test]
    fn another_replica_is_not_read_if_it_would_have_to_be_asked_for_more_than_is_kept() {
        let mut written = Written::default();
        written.transactions(&half('a'));
        written.found(true);
        written.transactions(&half('b'));
        assert!(!written.has_unnamed());
        written.replica_replaced();
        assert!(written.has_unnamed());
        assert_eq!(written.unseen(), Some(&half('b')[..]), "the newer ones");
    }

    #[test]
    fn a_reset_leaves_nothing_that_has_no_end() {
        let mut written = Written::default();
        written.transactions(&half('a'));
        written.transactions(&half('b'));
        assert!(written.has_unnamed(), "these are too many");
        written.reset();
        assert!(!written.has_unnamed());
        assert_eq!(written.unseen(), Some(&half('a')[..]), "these have an end");

        let mut written = Written::default();
        for server in ['a', 'b'] {
            written.transactions(&half(server));
            written.found(true);
        }
        written.reset();
        written.replica_replaced();
        assert!(!written.has_unnamed());
    }
}
