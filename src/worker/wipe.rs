//! The allocator, which wipes what a thread frees while it deals with secrets.
//!
//! What ringway itself keeps of a login is wiped by its type (`Zeroizing`), and buffers of the pool
//! when they are given back. Copies that others make are not: rustls decrypts each record into a
//! vector of its own, and a vector that grows leaves its former self behind. They are freed before
//! the work on a login is put down, and then they are wiped.

#![allow(unsafe_code)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::mem::MaybeUninit;
use std::{ptr, slice};

use zeroize::Zeroize;

#[global_allocator]
static ALLOCATOR: Wiper = Wiper;

thread_local! {
    /// Whether what is freed may be a secret.
    static IS_SECRET: Cell<bool> = const { Cell::new(false) };
}

/// While there is one, what its thread frees is wiped.
pub(super) struct Wiping {
    was_secret: bool,
}

impl Wiping {
    pub(super) fn begin() -> Self {
        Self {
            was_secret: IS_SECRET.replace(true),
        }
    }
}

impl Drop for Wiping {
    fn drop(&mut self) {
        IS_SECRET.set(self.was_secret);
    }
}

/// The system's allocator, and what it does not do.
struct Wiper;

// SAFETY: memory comes from the system's allocator and goes back to it, with the layout it came
// with. What is written to it is written between the two.
unsafe impl GlobalAlloc for Wiper {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's promises are those that the system's allocator wants.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: as in `alloc`.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        if IS_SECRET.get() {
            // SAFETY: so many bytes are the caller's, who is giving them up.
            unsafe { wipe(memory, layout.size()) };
        }
        // SAFETY: as in `alloc`.
        unsafe { System.dealloc(memory, layout) };
    }

    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        if !IS_SECRET.get() {
            // SAFETY: as in `alloc`.
            return unsafe { System.realloc(memory, layout, size) };
        }
        // The system's would leave the bytes behind wherever it moves them away from.
        // SAFETY: the caller promises that the size, rounded up to the alignment, fits.
        let moved_layout = unsafe { Layout::from_size_align_unchecked(size, layout.align()) };
        // SAFETY: as in `alloc`; the size is not 0, by the caller's promise.
        let moved = unsafe { self.alloc(moved_layout) };
        if !moved.is_null() {
            // SAFETY: both hold so many bytes, and are different memory.
            unsafe { ptr::copy_nonoverlapping(memory, moved, layout.size().min(size)) };
            // SAFETY: as in `alloc`.
            unsafe { self.dealloc(memory, layout) };
        }
        moved
    }
}

/// Zeroes memory, also where the compiler sees that nobody will read it again.
///
/// # Safety
/// So many bytes have to be the caller's to write.
unsafe fn wipe(memory: *mut u8, bytes: usize) {
    // SAFETY: so many bytes are the caller's, and none of them need be initialized.
    let memory = unsafe { slice::from_raw_parts_mut(memory.cast::<MaybeUninit<u8>>(), bytes) };
    memory.zeroize();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wiped_is_zeroes_and_its_neighbours_are_not() {
        let mut memory = *b"a password and more";
        // SAFETY: the array has more bytes.
        unsafe { wipe(memory.as_mut_ptr(), 10) };
        assert_eq!(memory, *b"\0\0\0\0\0\0\0\0\0\0 and more");
    }

    #[test]
    fn vectors_grow_and_shrink_as_ever_while_secrets_are_dealt_with() {
        let wiping = Wiping::begin();
        let mut text = Vec::new();
        for byte in 0..=255_u8 {
            text.push(byte);
        }
        text.truncate(100);
        text.shrink_to_fit();
        assert!(text.iter().copied().eq(0..100));
        let within = Wiping::begin();
        drop(within);
        assert!(IS_SECRET.get(), "the outer one goes on");
        drop(wiping);
        assert!(!IS_SECRET.get());
    }
}
