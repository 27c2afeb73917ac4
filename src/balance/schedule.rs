//! Smooth weighted round robin as a table, walked by one shared cursor.
//!
//! A table and an atomic cursor make the order exact over all workers: a ticket is one
//! `fetch_add`, and every slot of the table is served once before any is served again.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crossbeam::utils::CachePadded;

use crate::limits::SCHEDULE_SLOTS_MAX;

/// The order in which servers of a pool get sessions: indices into its members.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Schedule(Box<[u16]>);

impl Schedule {
    /// Spreads each index over the table in proportion to its weight, as evenly as can be: with
    /// weights 5, 1, 1 the order is `a a b a c a a` and not `a a a a a b c`. Weight 0 gets no slot.
    ///
    /// This is nginx's smooth weighted round robin: in each step every member gains its weight, the
    /// richest is chosen and pays the sum of all.
    ///
    /// # Panics
    /// When the table would have more than [`SCHEDULE_SLOTS_MAX`] slots; the configuration
    /// refuses such weights.
    pub fn new(weights: &[u16]) -> Self {
        let shared = weights.iter().fold(0, |a, &b| gcd(a, u64::from(b))).max(1);
        let weights: Vec<i64> = weights
            .iter()
            .map(|&w| i64::from(w) / shared as i64)
            .collect();
        let slots: i64 = weights.iter().sum();
        assert!(
            slots as usize <= SCHEDULE_SLOTS_MAX,
            "the configuration bounds the weights"
        );

        let mut credit = vec![0_i64; weights.len()];
        let mut table = Vec::with_capacity(slots as usize);
        for _ in 0..slots {
            let mut richest = None;
            for (i, &weight) in weights.iter().enumerate().filter(|&(_, &w)| w > 0) {
                credit[i] += weight;
                if richest.is_none_or(|r: usize| credit[i] > credit[r]) {
                    richest = Some(i);
                }
            }
            let richest = richest.expect("a schedule with slots has a weight above zero");
            credit[richest] -= slots;
            table.push(richest as u16);
        }
        Self(table.into_boxed_slice())
    }

    /// Slots in the table; 0 when every weight is 0.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether nobody is scheduled.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whose turn a ticket is.
    ///
    /// # Panics
    /// When the schedule is empty.
    #[inline]
    pub fn at(&self, ticket: u64) -> usize {
        usize::from(self.0[(ticket % self.0.len() as u64) as usize])
    }
}

/// The place in a schedule, shared by all workers and kept over reloads.
#[derive(Clone, Debug, Default)]
pub struct Cursor(Arc<CachePadded<AtomicU64>>);

impl Cursor {
    /// A ticket that nobody else has.
    #[inline]
    pub fn ticket(&self) -> u64 {
        // Relaxed: tickets order sessions among themselves and nothing else.
        self.0.fetch_add(1, Ordering::Relaxed)
    }
}

fn gcd(a: u64, b: u64) -> u64 {
    if b == 0 { a } else { gcd(b, a % b) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn order(weights: &[u16]) -> Vec<u16> {
        Schedule::new(weights).0.into_vec()
    }

    #[test]
    fn equal_weights_alternate() {
        assert_eq!(order(&[1, 1]), [0, 1]);
        assert_eq!(order(&[7, 7, 7]), [0, 1, 2]);
    }

    #[test]
    fn a_heavy_server_is_interleaved_with_the_light_ones() {
        assert_eq!(order(&[5, 1, 1]), [0, 0, 1, 0, 2, 0, 0]);
    }

    #[test]
    fn weight_zero_is_never_scheduled() {
        assert_eq!(order(&[0, 2, 0]), [1]);
        assert!(Schedule::new(&[0, 0]).is_empty());
    }

    proptest! {
        #[test]
        fn every_server_gets_exactly_its_share(weights in prop::collection::vec(0_u16..40, 1..12)) {
            let table = order(&weights);
            let total: u64 = weights.iter().map(|&w| u64::from(w)).sum();
            for (i, &weight) in weights.iter().enumerate() {
                let slots = table.iter().filter(|&&s| usize::from(s) == i).count() as u64;
                prop_assert_eq!(slots * total, u64::from(weight) * table.len() as u64);
            }
        }

        /// Smooth: over any prefix no server is further than one slot from its exact share per
        /// competitor (the bound of smooth weighted round robin).
        #[test]
        fn no_prefix_strays_far_from_the_shares(weights in prop::collection::vec(1_u16..20, 2..8)) {
            let table = order(&weights);
            let total: f64 = weights.iter().map(|&w| f64::from(w)).sum();
            for (i, &weight) in weights.iter().enumerate() {
                let mut slots = 0.0;
                for (served, &s) in table.iter().enumerate() {
                    if usize::from(s) == i { slots += 1.0; }
                    let share = f64::from(weight) / total * (served + 1) as f64;
                    let slack = weights.len() as f64 - 1.0;
                    prop_assert!((slots - share).abs() <= slack.max(1.0));
                }
            }
        }
    }
}
