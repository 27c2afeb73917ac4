//! From single checks to a state: `rise` successes in a row bring a server up, `fall` failures in a
//! row take it down. Plain arithmetic.

use crate::balance::Health;

/// A server's state as its checks see it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Verdict {
    health: Health,
    /// Results in a row that speak against the state.
    against: u32,
}

impl Verdict {
    pub(super) fn new(health: Health) -> Self {
        Self { health, against: 0 }
    }

    /// Takes one result; the new state, if it changes.
    pub(super) fn observe(&mut self, passed: bool, rise: u8, fall: u8) -> Option<Health> {
        let (other, needed) = match self.health {
            Health::Up => (Health::Down, fall),
            Health::Down => (Health::Up, rise),
        };
        if passed == (self.health == Health::Up) {
            self.against = 0;
            return None;
        }
        self.against += 1;
        if self.against < u32::from(needed) {
            return None;
        }
        *self = Self::new(other);
        Some(other)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The states that a row of results leads to; `+` passed, `-` failed.
    fn changes(results: &str, rise: u8, fall: u8) -> Vec<(usize, Health)> {
        let mut verdict = Verdict::new(Health::Up);
        let results = results.chars().enumerate();
        results
            .filter_map(|(i, result)| Some((i, verdict.observe(result == '+', rise, fall)?)))
            .collect()
    }

    #[test]
    fn a_server_falls_after_fall_failures_in_a_row_and_rises_after_rise_successes() {
        let expected = [(4, Health::Down), (8, Health::Up)];
        assert_eq!(
            changes("--+----++", 2, 2),
            [(1, Health::Down), (8, Health::Up)]
        );
        assert_eq!(
            changes("-+-- -+-++".replace(' ', "").as_str(), 2, 3),
            expected
        );
    }

    #[test]
    fn a_server_that_flaps_with_every_check_changes_nothing() {
        assert_eq!(changes("-+-+-+-+-+", 2, 2), []);
        assert_eq!(changes("--+-+-+-+-", 2, 2), [(1, Health::Down)]);
    }

    #[test]
    fn with_one_of_each_every_change_counts() {
        let expected = [(1, Health::Down), (2, Health::Up), (3, Health::Down)];
        assert_eq!(changes("+-+-", 1, 1), expected);
    }
}
