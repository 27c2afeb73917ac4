//! A limit on sessions that several workers share. A worker that finds it closed stops accepting;
//! it is woken when a place is given back, so clients wait in the kernel's backlog meanwhile.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use crossbeam::utils::CachePadded;

/// Places, a limit on them, and who waits for one.
#[derive(Debug)]
pub struct Gate {
    taken: CachePadded<AtomicU32>,
    limit: AtomicU32,
    waiting: Box<[AtomicBool]>,
}

impl Gate {
    /// A gate with `limit` places for `workers` threads; `u32::MAX`: no limit.
    pub fn new(limit: u32, workers: usize) -> Self {
        Self {
            taken: CachePadded::default(),
            limit: AtomicU32::new(limit),
            waiting: (0..workers).map(|_| AtomicBool::new(false)).collect(),
        }
    }

    /// Places taken.
    pub fn taken(&self) -> u32 {
        self.taken.load(Ordering::SeqCst)
    }

    /// The limit; `u32::MAX`: none.
    pub fn limit(&self) -> u32 {
        self.limit.load(Ordering::SeqCst)
    }

    /// Sets the limit. Places above a lower limit are not taken away. Wake the waiting workers
    /// afterwards.
    pub fn set_limit(&self, limit: u32) {
        self.limit.store(limit, Ordering::SeqCst);
    }

    /// Places left.
    #[inline]
    pub fn room(&self) -> u32 {
        self.limit().saturating_sub(self.taken())
    }

    /// Takes a place; `false`: none is left.
    #[inline]
    pub fn try_enter(&self) -> bool {
        // Not an addition that is taken back: whoever left in between would see a gate that is
        // over its limit, and wake nobody.
        let limit = self.limit();
        let one_more = |taken| (taken < limit).then(|| taken + 1);
        let taken = &self.taken;
        taken
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, one_more)
            .is_ok()
    }

    /// Takes a place, or notes that `worker` waits for one.
    pub fn enter_or_wait(&self, worker: usize) -> bool {
        if self.try_enter() {
            return true;
        }
        self.waiting[worker].store(true, Ordering::SeqCst);
        // A place may have been given back between the two: who gave it saw nobody waiting.
        let entered = self.try_enter();
        if entered {
            self.waiting[worker].store(false, Ordering::SeqCst);
        }
        entered
    }

    /// Gives a place back and tells which workers were waiting for one.
    ///
    /// # Panics
    /// When more places are given back than were taken.
    #[inline]
    pub fn leave(&self, mut wake: impl FnMut(usize)) {
        let before = self.taken.fetch_sub(1, Ordering::SeqCst);
        assert!(before > 0, "places are given back once");
        if before > self.limit() {
            return;
        }
        for (worker, waiting) in self.waiting.iter().enumerate() {
            // Looked at first: nobody waits, nearly always, and a swap would own the line.
            if waiting.load(Ordering::SeqCst) && waiting.swap(false, Ordering::SeqCst) {
                wake(worker);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn leave(gate: &Gate) -> Vec<usize> {
        let mut woken = Vec::new();
        gate.leave(|worker| woken.push(worker));
        woken
    }

    #[test]
    fn the_one_that_waits_is_woken_by_the_next_that_leaves() {
        let gate = Gate::new(1, 2);
        assert!(gate.enter_or_wait(0));
        assert!(!gate.enter_or_wait(1));
        assert_eq!(leave(&gate), [1]);
        assert!(gate.enter_or_wait(1));
        assert_eq!(leave(&gate), [0; 0]);
        assert_eq!(gate.taken(), 0);
    }

    #[test]
    fn a_lowered_limit_lets_nobody_in_until_enough_have_left() {
        let gate = Gate::new(3, 1);
        assert!(gate.try_enter() && gate.try_enter() && gate.try_enter());
        gate.set_limit(1);
        assert!(!gate.enter_or_wait(0));
        assert_eq!(leave(&gate), [0; 0], "two are still inside a limit of one");
        assert_eq!(leave(&gate), [0; 0]);
        assert_eq!(leave(&gate), [0]);
    }
}
