//! Counters with one writer. A locked add costs the relay more than the addition it does, and
//! nobody but the owning worker ever writes.

use std::sync::atomic::{AtomicU64, Ordering};

/// A number that one thread writes and any thread reads.
///
/// Loads acquire and stores release, so a reader that reads "closed" before "opened" never sees
/// more sessions closed than opened.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds `n`. Only the owning thread may call this: concurrent adds would be lost.
    #[inline]
    pub fn add(&self, n: u64) {
        let value = self.0.load(Ordering::Relaxed);
        self.0.store(value.wrapping_add(n), Ordering::Release);
    }

    /// Takes `n` away, for gauges. Only the owning thread may call this.
    #[inline]
    pub fn subtract(&self, n: u64) {
        self.add(n.wrapping_neg());
    }

    /// Sets the value, for gauges. Only the owning thread may call this.
    #[inline]
    pub fn set(&self, value: u64) {
        self.0.store(value, Ordering::Release);
    }

    /// The value, from any thread.
    #[inline]
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Acquire)
    }
}

/// A histogram over `N` fixed upper bounds, and one bucket above the last.
#[derive(Debug)]
pub struct Histogram<const N: usize> {
    bounds: &'static [u64; N],
    buckets: [Counter; N],
    above: Counter,
    sum: Counter,
}

/// What a [`Histogram`] held at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HistogramSnapshot {
    /// Upper bound (inclusive) and observations at or below it and above the one before.
    pub buckets: Vec<(u64, u64)>,
    /// Observations above the last bound.
    pub above: u64,
    /// The sum of all observations.
    pub sum: u64,
}

impl<const N: usize> Histogram<N> {
    /// An empty histogram. Bounds ascend and carry the unit of the observations.
    pub fn new(bounds: &'static [u64; N]) -> Self {
        assert!(bounds.is_sorted(), "histogram bounds ascend");
        Self {
            bounds,
            buckets: std::array::from_fn(|_| Counter::default()),
            above: Counter::default(),
            sum: Counter::default(),
        }
    }

    /// Counts one observation. Only the owning thread may call this.
    #[inline]
    pub fn observe(&self, value: u64) {
        match self.bounds.iter().position(|&bound| value <= bound) {
            Some(i) => self.buckets[i].add(1),
            None => self.above.add(1),
        }
        self.sum.add(value);
    }

    /// The histogram at this moment.
    pub fn snapshot(&self) -> HistogramSnapshot {
        HistogramSnapshot {
            buckets: self
                .bounds
                .iter()
                .copied()
                .zip(self.buckets.iter().map(Counter::get))
                .collect(),
            above: self.above.get(),
            sum: self.sum.get(),
        }
    }
}

impl HistogramSnapshot {
    /// Adds another worker's histogram of the same bounds.
    pub fn merge(&mut self, other: &Self) {
        assert_eq!(
            self.buckets.len(),
            other.buckets.len(),
            "histograms of the same bounds"
        );
        for (mine, theirs) in self.buckets.iter_mut().zip(&other.buckets) {
            assert_eq!(mine.0, theirs.0, "histograms of the same bounds");
            mine.1 += theirs.1;
        }
        self.above += other.above;
        self.sum += other.sum;
    }

    /// All observations.
    pub fn count(&self) -> u64 {
        self.buckets.iter().map(|&(_, n)| n).sum::<u64>() + self.above
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    static BOUNDS: [u64; 3] = [10, 100, 1000];

    #[test]
    fn an_observation_lands_in_the_first_bucket_that_holds_it() {
        let histogram = Histogram::new(&BOUNDS);
        for value in [0, 10, 11, 100, 1001] {
            histogram.observe(value);
        }
        let snapshot = histogram.snapshot();
        assert_eq!(snapshot.buckets, [(10, 2), (100, 2), (1000, 0)]);
        assert_eq!(snapshot.above, 1);
        assert_eq!(snapshot.sum, 1122);
        assert_eq!(snapshot.count(), 5);
    }

    #[test]
    fn merging_adds_bucket_by_bucket() {
        let (one, two) = (Histogram::new(&BOUNDS), Histogram::new(&BOUNDS));
        one.observe(5);
        two.observe(5);
        two.observe(5000);
        let mut sum = one.snapshot();
        sum.merge(&two.snapshot());
        assert_eq!(sum.buckets[0].1, 2);
        assert_eq!(sum.above, 1);
        assert_eq!(sum.sum, 5010);
    }
}
