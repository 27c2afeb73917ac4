//! Sessions by slot, with a generation for each slot: a completion says which session it was for,
//! not just where that session was.

use std::ops::{Index, IndexMut};

use slab::Slab;

use super::session::Session;
use super::token::{GENERATION_MASK, Op, Token};

/// A fixed number of slots. It never grows, so a session stays where it is.
pub(super) struct Sessions {
    slots: Slab<Session>,
    /// Beside the sessions, because a generation outlives them.
    generations: Vec<u32>,
    capacity: usize,
}

impl Sessions {
    pub(super) fn new(capacity: usize) -> Self {
        Self {
            slots: Slab::with_capacity(capacity),
            generations: vec![0; capacity],
            capacity,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.slots.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    /// # Panics
    /// When all slots are taken; the gate on sessions in total lets no more in than there are.
    pub(super) fn insert(&mut self, session: Session) -> u32 {
        assert!(self.slots.len() < self.capacity, "more sessions than slots");
        self.slots.insert(session) as u32
    }

    /// Frees a slot; tokens of its session are stale from now on.
    pub(super) fn remove(&mut self, slot: u32) -> Session {
        let generation = &mut self.generations[slot as usize];
        *generation = (*generation + 1) & GENERATION_MASK;
        self.slots.remove(slot as usize)
    }

    /// The token for an operation of the session in `slot`.
    #[inline]
    pub(super) fn token(&self, op: Op, leg: usize, slot: u32) -> Token {
        Token::new(op, leg as u8, self.generations[slot as usize], slot)
    }

    /// The slot a token speaks of, if its session is still there.
    #[inline]
    pub(super) fn slot_of(&self, token: Token) -> Option<u32> {
        let slot = token.slot();
        let current = *self.generations.get(slot as usize)? == token.generation();
        (current && self.slots.contains(slot as usize)).then_some(slot)
    }

    #[cfg(any(test, feature = "fuzzing"))]
    pub(super) fn get(&self, slot: u32) -> Option<&Session> {
        self.slots.get(slot as usize)
    }

    /// Every session's slot, for the rare passes over all of them.
    pub(super) fn occupied(&self) -> Vec<u32> {
        self.slots.iter().map(|(slot, _)| slot as u32).collect()
    }
}

impl Index<u32> for Sessions {
    type Output = Session;

    #[inline]
    fn index(&self, slot: u32) -> &Session {
        &self.slots[slot as usize]
    }
}

impl IndexMut<u32> for Sessions {
    #[inline]
    fn index_mut(&mut self, slot: u32) -> &mut Session {
        &mut self.slots[slot as usize]
    }
}
