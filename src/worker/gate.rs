//! A limit on sessions that several workers share. A worker that finds it closed stops accepting,
//! and its clients wait in the kernel's backlog. A place that is given back goes to the workers that
//! wait for one, in turn; nobody who comes later can take it first.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};

use crossbeam::utils::CachePadded;

/// Places, a limit on them, and who waits for one.
#[derive(Debug)]
pub struct Gate {
    taken: CachePadded<AtomicU32>,
    limit: AtomicU32,
    /// By worker.
    lines: Box<[Line]>,
    /// The worker that comes first when the next place is given back.
    next: AtomicUsize,
}

/// Where one worker waits.
#[derive(Debug, Default)]
struct Line {
    waiting: AtomicBool,
    /// Places that were given to it and that it has not used: they count as taken.
    granted: AtomicU32,
}

impl Gate {
    /// A gate with `limit` places for `workers` threads; `u32::MAX`: no limit.
    pub fn new(limit: u32, workers: usize) -> Self {
        Self {
            taken: CachePadded::default(),
            limit: AtomicU32::new(limit),
            lines: (0..workers).map(|_| Line::default()).collect(),
            next: AtomicUsize::new(0),
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
        let line = &self.lines[worker];
        if line.take_grant() {
            return true;
        }
        if !self.try_enter() {
            line.waiting.store(true, Ordering::SeqCst);
            // A place may have been given back between the two: who gave it saw nobody waiting.
            if !self.try_enter() {
                return false;
            }
        }
        if line.waiting.load(Ordering::SeqCst) {
            line.waiting.store(false, Ordering::SeqCst);
        }
        true
    }

    /// Gives a place back, to the next worker that waits for one: `wake` wakes it.
    ///
    /// # Panics
    /// When more places are given back than were taken.
    #[inline]
    pub fn leave(&self, wake: impl FnOnce(usize)) {
        let before = self.taken.fetch_sub(1, Ordering::SeqCst);
        assert!(before > 0, "places are given back once");
        // Looked at first: nobody waits, nearly always.
        let somebody_waits = self.lines.iter().any(Line::is_waiting);
        if somebody_waits && before <= self.limit() {
            self.grant(wake);
        }
    }

    /// Passes on what was given to `worker` and is of no use to it.
    pub fn return_grants(&self, worker: usize, mut wake: impl FnMut(usize)) {
        while self.lines[worker].take_grant() {
            self.leave(&mut wake);
        }
    }

    #[cold]
    fn grant(&self, wake: impl FnOnce(usize)) {
        let (count, first) = (self.lines.len(), self.next.load(Ordering::Relaxed));
        let in_turn = (0..count).map(|step| (first + step) % count);
        for worker in in_turn {
            let line = &self.lines[worker];
            if line.waiting.swap(false, Ordering::SeqCst) {
                self.next.store(worker + 1, Ordering::Relaxed);
                // Should the place be gone already, it finds out and waits again.
                if self.try_enter() {
                    line.granted.fetch_add(1, Ordering::SeqCst);
                }
                return wake(worker);
            }
        }
    }
}

impl Line {
    fn is_waiting(&self) -> bool {
        self.waiting.load(Ordering::SeqCst)
    }

    fn take_grant(&self) -> bool {
        let one_less = |granted: u32| granted.checked_sub(1);
        self.granted
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, one_less)
            .is_ok()
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
    fn a_place_that_is_given_back_is_kept_for_the_one_that_waits() {
        let gate = Gate::new(1, 2);
        assert!(gate.enter_or_wait(0));
        assert!(!gate.enter_or_wait(1));
        assert_eq!(leave(&gate), [1]);
        assert!(!gate.enter_or_wait(0), "the place is the other one's");
        assert!(gate.enter_or_wait(1));
        assert_eq!(leave(&gate), [0]);
    }

    #[test]
    fn workers_that_wait_take_turns() {
        let gate = Gate::new(1, 3);
        assert!(gate.enter_or_wait(0));
        let wait_again = || (0..3).for_each(|worker| assert!(!gate.enter_or_wait(worker)));
        let mut order = Vec::new();
        wait_again();
        for _ in 0..6 {
            let woken = leave(&gate);
            assert!(gate.enter_or_wait(woken[0]));
            order.extend(woken);
            wait_again();
        }
        assert_eq!(order, [0, 1, 2, 0, 1, 2]);
    }

    #[test]
    fn what_is_of_no_use_to_one_goes_to_the_next() {
        let gate = Gate::new(1, 2);
        assert!(gate.enter_or_wait(0));
        assert!(!gate.enter_or_wait(0) && !gate.enter_or_wait(1));
        assert_eq!(leave(&gate), [0]);
        let mut woken = Vec::new();
        gate.return_grants(0, |worker| woken.push(worker));
        assert_eq!(woken, [1]);
        gate.return_grants(1, |_| panic!("nobody waits any more"));
        assert_eq!(gate.taken(), 0);
    }

    #[test]
    fn nobody_waits_for_ever_and_no_place_is_lost() {
        use std::sync::Barrier;
        use std::sync::mpsc::channel;

        const WORKERS: usize = 4;
        const ROUNDS: usize = 2_000;
        let gate = Gate::new(2, WORKERS);
        let (wakes, sleepers): (Vec<_>, Vec<_>) = (0..WORKERS).map(|_| channel()).unzip();
        let start = Barrier::new(WORKERS);
        std::thread::scope(|scope| {
            for (worker, sleeper) in sleepers.into_iter().enumerate() {
                let (gate, wakes, start) = (&gate, wakes.clone(), &start);
                scope.spawn(move || {
                    let wake = |worker: usize| wakes[worker].send(()).expect("it sleeps or runs");
                    start.wait();
                    for _ in 0..ROUNDS {
                        while !gate.enter_or_wait(worker) {
                            let woken = sleeper.recv_timeout(std::time::Duration::from_secs(20));
                            woken.expect("a place is free, and nobody said so");
                        }
                        gate.leave(wake);
                    }
                    gate.return_grants(worker, wake);
                    sleeper
                });
            }
        });
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
