//! A hierarchical timer wheel: three levels of 256 slots, intrusive lists, nothing allocated after
//! start. Setting, moving and removing a timer take constant time.
//!
//! One timer per id. Owners are lazy: a deadline that moves later stays where it is, and whoever is
//! woken too early sets it again. So progress on a session costs the wheel nothing.

use crate::limits::TICK;

const SLOTS: usize = 256;
const SLOT_BITS: u32 = SLOTS.trailing_zeros();
const LEVELS: usize = 3;
/// The furthest slot ahead, in ticks; a later timer waits there and is linked again from it.
const HORIZON_TICKS: u64 = (1 << (SLOT_BITS * LEVELS as u32)) - (1 << (SLOT_BITS * 2));

const TICK_MS: u64 = TICK.as_millis() as u64;

/// No timer: links hold an id plus one, so that fresh zeroed memory means "not linked" and an id
/// that was never used costs no page.
const NONE: u32 = 0;

#[derive(Clone, Copy, Default)]
struct Link {
    next: u32,
    previous: u32,
    /// Slot (level * SLOTS + index) plus one; 0: not set.
    slot: u32,
    deadline_tick: u64,
}

/// Timers by id, in milliseconds since the process's start.
pub(crate) struct TimerWheel {
    links: Vec<Link>,
    heads: Box<[u32; LEVELS * SLOTS]>,
    /// One bit per slot: which lists are not empty.
    occupied: [[u64; SLOTS / 64]; LEVELS],
    /// Every tick up to and including this one has been handled.
    current_tick: u64,
}

impl TimerWheel {
    /// A wheel for the ids below `ids`, starting at `now_ms`.
    pub(crate) fn new(ids: usize, now_ms: u64) -> Self {
        Self {
            links: vec![Link::default(); ids],
            heads: Box::new([NONE; LEVELS * SLOTS]),
            occupied: [[0; SLOTS / 64]; LEVELS],
            current_tick: now_ms / TICK_MS,
        }
    }

    /// Sets or moves a timer. It fires in the first [`Self::advance`] at or after the deadline.
    pub(crate) fn set(&mut self, id: u32, deadline_ms: u64) {
        self.clear(id);
        let tick = deadline_ms.div_ceil(TICK_MS).max(self.current_tick + 1);
        self.links[id as usize].deadline_tick = tick;
        self.link(id, tick);
    }

    /// Moves a timer only if it would fire later than `deadline_ms`.
    #[inline]
    pub(crate) fn set_no_later(&mut self, id: u32, deadline_ms: u64) {
        let link = &self.links[id as usize];
        if link.slot == 0 || link.deadline_tick > deadline_ms.div_ceil(TICK_MS) {
            self.set(id, deadline_ms);
        }
    }

    /// Removes a timer if it is set.
    pub(crate) fn clear(&mut self, id: u32) {
        let link = self.links[id as usize];
        if link.slot == 0 {
            return;
        }
        match link.previous {
            NONE => self.heads[link.slot as usize - 1] = link.next,
            previous => self.links[previous as usize - 1].next = link.next,
        }
        if link.next != NONE {
            self.links[link.next as usize - 1].previous = link.previous;
        }
        if self.heads[link.slot as usize - 1] == NONE {
            self.mark(link.slot as usize - 1, false);
        }
        self.links[id as usize] = Link::default();
    }

    /// Handles the time up to `now_ms` and hands out the ids that are due, into `due`.
    pub(crate) fn advance(&mut self, now_ms: u64, due: &mut Vec<u32>) {
        let now_tick = now_ms / TICK_MS;
        while self.current_tick < now_tick {
            let Some(next) = self.next_tick() else {
                self.current_tick = now_tick;
                return;
            };
            if next > now_tick {
                // Nothing to cascade or fire on the way.
                self.current_tick = now_tick;
                return;
            }
            self.current_tick = next;
            self.cascade();
            self.fire(due);
        }
    }

    /// When [`Self::advance`] next has something to do; `None`: no timer is set.
    pub(crate) fn next_ms(&self) -> Option<u64> {
        self.next_tick().map(|tick| tick * TICK_MS)
    }

    fn next_tick(&self) -> Option<u64> {
        (0..LEVELS)
            .filter_map(|level| self.next_in_level(level))
            .min()
    }

    /// The tick at which the next occupied slot of a level is due or has to be cascaded.
    fn next_in_level(&self, level: usize) -> Option<u64> {
        let shift = SLOT_BITS * level as u32;
        let position = self.current_tick >> shift;
        let start = (position as usize + 1) % SLOTS;
        let distance = self.first_occupied_from(level, start)?;
        Some((position + 1 + distance as u64) << shift)
    }

    /// Slots from `start` to the next occupied one, wrapping around.
    fn first_occupied_from(&self, level: usize, start: usize) -> Option<usize> {
        let words = &self.occupied[level];
        let (first_word, bit) = (start / 64, start % 64);
        for step in 0..=words.len() {
            let index = (first_word + step) % words.len();
            let mut word = words[index];
            if step == 0 {
                word &= !0 << bit;
            } else if step == words.len() {
                word &= !(!0 << bit);
            }
            if word != 0 {
                let slot = index * 64 + word.trailing_zeros() as usize;
                return Some((slot + SLOTS - start) % SLOTS);
            }
        }
        None
    }

    /// Moves the timers of higher levels whose slot begins at the current tick down.
    fn cascade(&mut self) {
        for level in (1..LEVELS).rev() {
            let shift = SLOT_BITS * level as u32;
            if self.current_tick & ((1 << shift) - 1) != 0 {
                continue;
            }
            let slot = level * SLOTS + (self.current_tick >> shift) as usize % SLOTS;
            while let Some(id) = self.pop(slot) {
                let tick = self.links[id as usize].deadline_tick;
                if tick <= self.current_tick {
                    // Due right now: into the slot that `fire` empties next.
                    self.link_in(id, tick, self.current_tick as usize % SLOTS);
                } else {
                    self.link(id, tick);
                }
            }
        }
    }

    fn fire(&mut self, due: &mut Vec<u32>) {
        let slot = self.current_tick as usize % SLOTS;
        while let Some(id) = self.pop(slot) {
            due.push(id);
        }
    }

    fn pop(&mut self, slot: usize) -> Option<u32> {
        let id = self.heads[slot].checked_sub(1)?;
        let tick = self.links[id as usize].deadline_tick;
        self.clear(id);
        self.links[id as usize].deadline_tick = tick;
        Some(id)
    }

    fn link(&mut self, id: u32, tick: u64) {
        let tick_in_reach = tick.min(self.current_tick + HORIZON_TICKS);
        let distance = tick_in_reach - self.current_tick;
        let level = (0..LEVELS - 1)
            .find(|&level| {
                let shift = SLOT_BITS * level as u32;
                (tick_in_reach >> shift) - (self.current_tick >> shift) < SLOTS as u64
            })
            .unwrap_or(LEVELS - 1);
        debug_assert!(distance > 0, "a timer is set in the future");
        let shift = SLOT_BITS * level as u32;
        self.link_in(
            id,
            tick,
            level * SLOTS + (tick_in_reach >> shift) as usize % SLOTS,
        );
    }

    fn link_in(&mut self, id: u32, tick: u64, slot: usize) {
        let next = std::mem::replace(&mut self.heads[slot], id + 1);
        if next != NONE {
            self.links[next as usize - 1].previous = id + 1;
        }
        self.links[id as usize] = Link {
            next,
            previous: NONE,
            slot: slot as u32 + 1,
            deadline_tick: tick,
        };
        self.mark(slot, true);
    }

    fn mark(&mut self, slot: usize, occupied: bool) {
        let (level, index) = (slot / SLOTS, slot % SLOTS);
        let bit = 1 << (index % 64);
        let word = &mut self.occupied[level][index / 64];
        if occupied {
            *word |= bit
        } else {
            *word &= !bit
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    fn fired(wheel: &mut TimerWheel, now_ms: u64) -> Vec<u32> {
        let mut due = Vec::new();
        wheel.advance(now_ms, &mut due);
        due.sort_unstable();
        due
    }

    #[test]
    fn a_timer_fires_once_at_its_deadline() {
        let mut wheel = TimerWheel::new(4, 1_000);
        wheel.set(2, 1_500);
        assert_eq!(fired(&mut wheel, 1_495), [0; 0]);
        assert_eq!(wheel.next_ms(), Some(1_500));
        assert_eq!(fired(&mut wheel, 1_500), [2]);
        assert_eq!(fired(&mut wheel, 9_000), [0; 0]);
        assert_eq!(wheel.next_ms(), None);
    }

    #[test]
    fn clearing_one_of_several_in_a_slot_leaves_the_others() {
        let mut wheel = TimerWheel::new(4, 0);
        for id in 0..4 {
            wheel.set(id, 50);
        }
        wheel.clear(1);
        wheel.clear(3);
        assert_eq!(fired(&mut wheel, 50), [0, 2]);
    }

    #[test]
    fn a_timer_beyond_the_horizon_is_neither_early_nor_lost() {
        let mut wheel = TimerWheel::new(1, 0);
        let far = (HORIZON_TICKS + 1_000_000) * TICK_MS;
        wheel.set(0, far);
        loop {
            let now = wheel.next_ms().expect("the timer is set");
            if !fired(&mut wheel, now).is_empty() {
                assert_eq!(now, far);
                break;
            }
        }
    }

    proptest! {
        /// Against a sorted map: the same ids fire at the same step, whatever is set, moved,
        /// cleared, and however far the clock jumps.
        #[test]
        fn behaves_like_a_sorted_map(
            steps in prop::collection::vec((0_u32..32, 0_u64..4_000_000, 0_u8..4, 0_u64..70_000), 1..200),
            start in 0_u64..10_000_000,
        ) {
            let mut now = start;
            let mut wheel = TimerWheel::new(32, now);
            let mut model = BTreeMap::new();
            for (id, delay, action, jump) in steps {
                match action {
                    0 => { wheel.clear(id); model.remove(&id); }
                    _ => { wheel.set(id, now + delay); model.insert(id, now + delay); }
                }
                now += jump;
                let due = fired(&mut wheel, now);
                // A timer fires at a tick at or after its deadline, never before.
                for &id in &due {
                    prop_assert!(model.remove(&id).is_some_and(|deadline| deadline <= now));
                }
                for &deadline in model.values() {
                    prop_assert!(deadline + 2 * TICK_MS > now, "a timer was forgotten");
                }
                prop_assert_eq!(wheel.next_ms().is_some(), !model.is_empty());
            }
        }
    }
}
