//! Whether a replica is fresh enough to be read: out at the first look that says no, in again when
//! several in a row have said yes with something to spare. Plain arithmetic.

use std::time::Duration;

use super::replication::Replication;

/// What looks at one replica have come to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Freshness {
    /// No look has told yet.
    #[default]
    Unknown,
    /// It is read.
    Fresh,
    /// It is not read, and has been good for so many looks.
    Stale(Cause, u32),
}

/// Why a replica is not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// It follows, and is too far behind.
    Behind,
    /// It does not follow, or nobody can tell how far behind it is.
    CutOff,
}

impl Freshness {
    /// Takes the result of one look; `None`: looks have failed so often that nothing is known.
    ///
    /// A replica that was out comes back when it is at most half of `max` behind in `rise` looks in
    /// a row: one that hovers around the limit would otherwise go in and out with every look.
    pub fn observe(&mut self, replication: Option<&Replication>, max: Duration, rise: u32) {
        let lag = replication.and_then(Replication::lag);
        let half = max.checked_div(2).unwrap_or_default();
        *self = match (*self, lag) {
            (_, None) => Self::Stale(Cause::CutOff, 0),
            (_, Some(lag)) if lag > max => Self::Stale(Cause::Behind, 0),
            (Self::Stale(..), Some(lag)) if lag > half => Self::Stale(Cause::Behind, 0),
            (Self::Stale(cause, good), Some(_)) if good.saturating_add(1) < rise => {
                Self::Stale(cause, good.saturating_add(1))
            }
            (_, Some(_)) => Self::Fresh,
        };
    }

    /// Whether it is read. One that is cut off is read all the same while no primary answers: it may
    /// be cut off because of that, and nobody else could be read. `None`: that is not known yet.
    pub const fn is_usable(self, primary_answers: bool) -> Option<bool> {
        match self {
            Self::Unknown => None,
            Self::Fresh => Some(true),
            Self::Stale(Cause::Behind, _) => Some(false),
            Self::Stale(Cause::CutOff, _) => Some(!primary_answers),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MAX: Duration = Duration::from_secs(10);

    fn behind(seconds: u64) -> Replication {
        Replication::Behind(Duration::from_secs(seconds))
    }

    /// Whether it is read after each of these lags, while a primary answers.
    fn read(lags: &[u64], rise: u32) -> Vec<bool> {
        let mut freshness = Freshness::default();
        let mut after = |lag: &u64| {
            freshness.observe(Some(&behind(*lag)), MAX, rise);
            freshness.is_usable(true).unwrap()
        };
        lags.iter().map(&mut after).collect()
    }

    #[test]
    fn a_replica_leaves_at_once_and_comes_back_after_several_good_looks() {
        assert_eq!(
            read(&[10, 11, 5, 5, 10], 2),
            [true, false, false, true, true]
        );
        assert_eq!(read(&[0, 11, 6, 5, 6, 5, 5], 2)[1..6], [false; 5]);
        assert_eq!(read(&[11, 0], 1), [false, true]);
    }

    #[test]
    fn the_first_look_needs_no_confirmation() {
        assert_eq!(Freshness::default().is_usable(true), None);
        assert_eq!(read(&[10], 5), [true]);
    }

    #[test]
    fn a_replica_that_lost_its_primary_is_read_while_there_is_none() {
        for lost in [
            None,
            Some(Replication::None),
            Some(Replication::Broken(String::new())),
        ] {
            let mut freshness = Freshness::Fresh;
            freshness.observe(lost.as_ref(), MAX, 2);
            assert_eq!(freshness.is_usable(true), Some(false));
            assert_eq!(freshness.is_usable(false), Some(true));
        }
        let mut behind_by_far = Freshness::Fresh;
        behind_by_far.observe(Some(&behind(11)), MAX, 2);
        assert_eq!(behind_by_far.is_usable(false), Some(false));
    }

    proptest! {
        #[test]
        fn nobody_reads_what_is_beyond_the_limit(
            lags in prop::collection::vec(prop::option::of(0_u64..30), 1..40),
            rise in 1_u32..5,
        ) {
            let mut freshness = Freshness::default();
            let mut good_in_a_row = 0;
            for lag in lags {
                let before = freshness;
                freshness.observe(lag.map(behind).as_ref(), MAX, rise);
                let is_good = lag.is_some_and(|lag| lag <= 5);
                good_in_a_row = if is_good { good_in_a_row + 1 } else { 0 };
                let is_read = freshness == Freshness::Fresh;
                prop_assert!(!is_read || lag.is_some_and(|lag| lag <= 10));
                let came_back = is_read && matches!(before, Freshness::Stale(..));
                prop_assert!(!came_back || good_in_a_row >= rise);
                prop_assert!(is_read || good_in_a_row < rise);
            }
        }
    }
}
