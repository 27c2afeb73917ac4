//! How long a turn waits for several completions.
//!
//! Being woken for one small message costs a worker more than the message itself. While sessions
//! wait for their servers, more messages are about to come, so a turn takes several at a time, as
//! network cards coalesce interrupts. That delays a message by at most a part of what servers take to
//! answer, and not at all while few sessions wait.
//!
//! The wait begins with the turn: a message that comes later than that is taken at once.

use crate::limits::{
    COALESCE_COMPLETIONS_MAX, COALESCE_EPOCH_US, COALESCE_RESPONSE_DIVISOR, COALESCE_US_MAX,
    COALESCE_US_MIN,
};

/// What a turn waits for instead of one completion.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Batch {
    /// So many completions, two at least ...
    pub(crate) completions: u32,
    /// ... or, after so many microseconds, any.
    pub(crate) within_us: u32,
}

/// What one worker knows of its sessions' servers. Times are microseconds on the worker's clock.
#[derive(Debug, Default)]
pub(super) struct Coalescing {
    /// Whether it is wanted and the kernel can do it.
    pub(super) is_on: bool,
    /// The number of the epoch that the current turn falls into.
    epoch: u64,
    /// Sessions that have sent something to a server, in this epoch and the one before it, and have
    /// heard nothing since.
    awaiting: [u32; 2],
    /// How long the worker's servers take to answer: an average that follows fast answers sooner than
    /// slow ones, so that a few slow servers do not hold up the sessions of the fast ones.
    response_ns: i64,
}

/// By which part of the difference the average follows an answer that was faster, or slower.
const FASTER: i64 = 16;
const SLOWER: i64 = 64;

/// An answer that took longer counts as this one: no turn waits for longer.
const RESPONSE_US_MAX: u64 = (COALESCE_US_MAX * COALESCE_RESPONSE_DIVISOR) as u64;

impl Coalescing {
    /// A turn has begun.
    #[inline]
    pub(super) fn advance(&mut self, now_us: u64) {
        let epoch = now_us / COALESCE_EPOCH_US;
        match epoch - self.epoch {
            0 => return,
            1 => self.awaiting = [0, self.awaiting[0]],
            _ => self.awaiting = [0, 0],
        }
        self.epoch = epoch;
    }

    /// One more session waits for an answer, since this turn.
    #[inline]
    pub(super) fn asked(&mut self) {
        self.awaiting[0] += 1;
    }

    /// A session that waited has heard its server in this turn.
    #[inline]
    pub(super) fn answered(&mut self, asked_us: u64, now_us: u64) {
        self.gave_up(asked_us);
        let sample_us = now_us.saturating_sub(asked_us).min(RESPONSE_US_MAX);
        let difference = sample_us as i64 * 1000 - self.response_ns;
        let part = if difference < 0 { FASTER } else { SLOWER };
        self.response_ns += difference / part;
    }

    /// A session that waited is over, or has asked again.
    #[inline]
    pub(super) fn gave_up(&mut self, asked_us: u64) {
        let age = self.epoch - asked_us / COALESCE_EPOCH_US;
        if let Some(awaiting) = self.awaiting.get_mut(age as usize) {
            debug_assert!(*awaiting > 0, "somebody waited");
            *awaiting -= 1;
        }
    }

    /// What a turn waits for; `None`: the first completion. Half of what is awaited, so that the
    /// other half keeps the servers busy.
    #[inline]
    pub(super) fn batch(&self) -> Option<Batch> {
        let completions = self.awaiting().div_ceil(2).min(COALESCE_COMPLETIONS_MAX);
        let response_us = (self.response_ns / 1000) as u32;
        let within_us = response_us / COALESCE_RESPONSE_DIVISOR;
        let worth_it = completions > 1 && within_us >= COALESCE_US_MIN;
        (self.is_on && worth_it).then_some(Batch {
            completions,
            within_us,
        })
    }

    /// Sessions that wait for an answer, and have not waited for very long.
    #[inline]
    pub(super) fn awaiting(&self) -> u32 {
        self.awaiting[0] + self.awaiting[1]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// `sessions` that wait, after many answers that each took so long.
    fn waiting(sessions: u32, response_us: u64) -> Coalescing {
        let mut coalescing = Coalescing {
            is_on: true,
            ..Coalescing::default()
        };
        for _ in 0..10_000 {
            answer(&mut coalescing, response_us);
        }
        for _ in 0..sessions {
            coalescing.asked();
        }
        coalescing
    }

    fn answer(coalescing: &mut Coalescing, after_us: u64) {
        coalescing.asked();
        coalescing.answered(0, after_us);
    }

    #[test]
    fn whoever_waits_for_long_says_nothing_about_what_comes_next() {
        let mut coalescing = waiting(8, 1_000);
        coalescing.advance(COALESCE_EPOCH_US);
        assert!(coalescing.batch().is_some());
        coalescing.asked();
        coalescing.advance(2 * COALESCE_EPOCH_US);
        assert_eq!((coalescing.awaiting(), coalescing.batch()), (1, None));
        // The eight, and then the one: each is counted as long as it was, and no longer.
        coalescing.gave_up(0);
        assert_eq!(coalescing.awaiting(), 1);
        coalescing.gave_up(COALESCE_EPOCH_US);
        assert_eq!(coalescing.awaiting(), 0);
        coalescing.asked();
        coalescing.advance(9 * COALESCE_EPOCH_US);
        assert_eq!(coalescing.awaiting(), 0);
    }

    #[test]
    fn few_sessions_wait_for_nobody_else() {
        for sessions in 0..=2 {
            assert_eq!(waiting(sessions, 1_000_000).batch(), None);
        }
        assert!(waiting(3, 1_000_000).batch().is_some());
    }

    #[test]
    fn half_of_what_is_awaited_is_waited_for() {
        let completions = |sessions| waiting(sessions, 1_000).batch().unwrap().completions;
        assert_eq!(completions(3), 2);
        assert_eq!(completions(8), 4);
        assert_eq!(completions(1_000), COALESCE_COMPLETIONS_MAX);
    }

    #[test]
    fn servers_that_answer_at_once_are_not_kept_waiting() {
        let barely = u64::from(COALESCE_US_MIN * COALESCE_RESPONSE_DIVISOR);
        assert_eq!(waiting(100, barely - 1).batch(), None);
        assert!(waiting(100, 2 * barely).batch().is_some());
    }

    #[test]
    fn a_few_fast_answers_end_a_long_wait_and_a_few_slow_ones_do_not_begin_it() {
        let mut slow = waiting(100, 1_000_000);
        let mut fast = waiting(100, 10);
        for _ in 0..100 {
            answer(&mut slow, 50);
        }
        assert_eq!(slow.batch(), None);
        answer(&mut fast, 1_000_000);
        answer(&mut fast, 1_000_000);
        assert_eq!(fast.batch(), None);
    }

    #[test]
    fn whoever_switched_it_off_gets_the_first_completion() {
        let mut coalescing = waiting(100, 1_000_000);
        coalescing.is_on = false;
        assert_eq!(coalescing.batch(), None);
    }

    proptest! {
        #[test]
        fn a_wait_is_a_part_of_the_slowest_answer_and_never_too_long(
            answers in proptest::collection::vec(0_u64..100_000, 1..500),
            sessions in 0_u32..100,
        ) {
            let mut coalescing = waiting(sessions, 0);
            for &after_us in &answers {
                answer(&mut coalescing, after_us);
            }
            if let Some(batch) = coalescing.batch() {
                let slowest = *answers.iter().max().unwrap();
                prop_assert!(u64::from(batch.within_us * COALESCE_RESPONSE_DIVISOR) <= slowest);
                prop_assert!((COALESCE_US_MIN..=COALESCE_US_MAX).contains(&batch.within_us));
                prop_assert!((2..=COALESCE_COMPLETIONS_MAX).contains(&batch.completions));
                prop_assert!(batch.completions < sessions);
            }
        }
    }
}
