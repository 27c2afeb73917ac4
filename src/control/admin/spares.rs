//! Descriptors held back for the moment when there are no others.

use std::cell::RefCell;
use std::os::fd::{AsFd, OwnedFd};
use std::rc::Rc;

use crate::limits::ADMIN_SPARE_DESCRIPTORS;

/// A few descriptors that can be closed to make room. They are duplicates, which take a place in
/// the process's table and nothing else.
#[derive(Debug)]
pub(super) struct Spares {
    held: RefCell<Vec<OwnedFd>>,
    original: OwnedFd,
}

impl Spares {
    /// Duplicates of `original`, as many as there are to be had.
    pub(super) fn new(original: &impl AsFd) -> Rc<Self> {
        let original = original.as_fd().try_clone_to_owned().expect(
            "a process that has just started has descriptors: its limit was checked before",
        );
        let spares = Self {
            held: RefCell::default(),
            original,
        };
        spares.refill();
        Rc::new(spares)
    }

    /// Makes room for one descriptor; `false`: there is nothing left to give up.
    pub(super) fn give_up(&self) -> bool {
        self.held.borrow_mut().pop().is_some()
    }

    /// Takes back what was given up, as far as there is room for it.
    pub(super) fn refill(&self) {
        let mut held = self.held.borrow_mut();
        while held.len() < ADMIN_SPARE_DESCRIPTORS {
            match self.original.try_clone() {
                Ok(duplicate) => held.push(duplicate),
                Err(_) => return,
            }
        }
    }
}
