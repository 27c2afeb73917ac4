//! The worker's buffer pool, shared with the kernel as a provided-buffer ring
//! (io_uring_register_buf_ring(3)): receives take buffers from it, [`Buffers::release`] puts them
//! back. Which buffers are whose is tracked, so a buffer given back twice is a panic and not a
//! corrupted stream.

use std::io;
use std::ops::Range;
use std::ptr::{self, NonNull};
use std::sync::atomic::{AtomicU16, Ordering};

use io_uring::types::BufRingEntry;
use zeroize::Zeroize;

use super::kernel::{BufferId, Chunk};
use crate::limits::{
    BUFFER_BYTES, BUFFERS_MAX, BUFFERS_OFFERED_AT_FIRST, RING_BUFFERS, WIDE_BUFFER_BYTES,
    WIDE_BUFFERS,
};

/// Buffers, and the ring that offers some of them to the kernel. Neither moves while it lives.
///
/// The kernel takes buffers in the order they were offered, so the fewer are offered, the sooner
/// each comes round again, still warm in the cache: only as many are as a turn has been seen to
/// need. The others wait on a stack, the last used on top; memory grows with what is held at once
/// and no further.
pub(super) struct Buffers {
    memory: Pages,
    /// How many buffers are in `memory`. The ids that follow theirs are the wide ones'.
    count: usize,
    wide_memory: Pages,
    ring: Pages,
    tail: u16,
    /// Not offered and not held. Ids never used lie at the bottom.
    idle: Vec<BufferId>,
    /// Wide ones that are not held. They are never offered.
    idle_wide: Vec<BufferId>,
    /// Offered and not yet used by the kernel.
    offered: usize,
    /// How many are to be offered at the start of a turn.
    target: usize,
    /// Whether a receive of this turn has found nothing offered.
    has_run_out: bool,
    /// One bit per buffer: idle or offered, so nobody may read it.
    available: Box<[u64]>,
    /// One bit per buffer: held, and to be wiped when it is released.
    secret: Box<[u64]>,
}

impl Buffers {
    /// A pool of at least `count` buffers, as far as ids go.
    ///
    /// # Errors
    /// When the address space for it is refused.
    pub(super) fn new(count: usize) -> io::Result<Self> {
        // Twice what may be on offer, so that there is always one for the worker itself.
        let count = count.clamp(2 * usize::from(RING_BUFFERS), BUFFERS_MAX);
        Ok(Self {
            memory: Pages::zeroed(count * BUFFER_BYTES as usize)?,
            count,
            wide_memory: Pages::zeroed(WIDE_BUFFERS * WIDE_BUFFER_BYTES as usize)?,
            ring: Pages::zeroed(usize::from(RING_BUFFERS) * size_of::<BufRingEntry>())?,
            tail: 0,
            idle: ids(0..count),
            idle_wide: ids(count..count + WIDE_BUFFERS),
            offered: 0,
            target: BUFFERS_OFFERED_AT_FIRST,
            has_run_out: false,
            available: vec![!0; (count + WIDE_BUFFERS).div_ceil(64)].into(),
            secret: vec![0; (count + WIDE_BUFFERS).div_ceil(64)].into(),
        })
    }

    /// The address to register.
    pub(super) fn ring_address(&self) -> u64 {
        self.ring.base.as_ptr() as u64
    }

    /// Notes that a completion brought this buffer: it is held until released.
    #[inline]
    pub(super) fn take(&mut self, id: BufferId) {
        let (word, bit) = bit(id);
        assert!(
            self.available[word] & bit != 0,
            "the kernel used a buffer it was not offered"
        );
        self.available[word] &= !bit;
        self.offered -= 1;
    }

    /// A buffer that is not on offer: it is held until released.
    pub(super) fn take_idle(&mut self) -> Option<BufferId> {
        let id = self.idle.pop()?;
        self.hold(id);
        Some(id)
    }

    /// A wide buffer: it is held until released.
    pub(super) fn take_wide(&mut self) -> Option<BufferId> {
        let id = self.idle_wide.pop()?;
        self.hold(id);
        Some(id)
    }

    fn hold(&mut self, id: BufferId) {
        let (word, bit) = bit(id);
        self.available[word] &= !bit;
    }

    /// All of a buffer.
    #[inline]
    pub(super) fn whole(&self, id: BufferId) -> Chunk {
        Chunk {
            buffer: id,
            start: 0,
            end: self.bytes_of(id) as u16,
        }
    }

    #[inline]
    fn is_wide(&self, id: BufferId) -> bool {
        usize::from(id.0) >= self.count
    }

    #[inline]
    fn bytes_of(&self, id: BufferId) -> u32 {
        if self.is_wide(id) {
            WIDE_BUFFER_BYTES
        } else {
            BUFFER_BYTES
        }
    }

    /// Notes that a held buffer has a secret in it, or will have: it is wiped when it is released,
    /// and so is what it is appended to.
    pub(super) fn keep_secret(&mut self, id: BufferId) {
        let (word, bit) = bit(id);
        self.secret[word] |= bit;
    }

    /// Takes a held buffer back.
    #[inline]
    pub(super) fn release(&mut self, id: BufferId) {
        let (word, bit) = bit(id);
        assert!(self.available[word] & bit == 0, "a buffer is released once");
        if self.secret[word] & bit != 0 {
            self.wipe(id);
        }
        self.available[word] |= bit;
        if self.is_wide(id) {
            self.idle_wide.push(id);
        } else {
            self.idle.push(id);
        }
    }

    #[cold]
    fn wipe(&mut self, id: BufferId) {
        let (word, bit) = bit(id);
        self.secret[word] &= !bit;
        self.bytes_mut(self.whole(id)).zeroize();
    }

    /// Buffers that no session holds.
    pub(super) fn left(&self) -> usize {
        self.idle.len() + self.offered
    }

    /// Notes that a receive found nothing offered: from the next turn on more will be.
    pub(super) fn ran_out(&mut self) {
        self.has_run_out = true;
    }

    /// Offers as many buffers as a turn needs. After one in which some were missing that is twice
    /// as many, however many were: what has once been offered has been used before long, and is
    /// memory that stays.
    #[inline]
    pub(super) fn refill(&mut self) {
        if std::mem::take(&mut self.has_run_out) {
            self.target = (self.target * 2).min(RING_BUFFERS.into());
        }
        while self.offered < self.target {
            let Some(id) = self.idle.pop() else { return };
            self.offer(id);
        }
    }

    fn offer(&mut self, id: BufferId) {
        let address = self.address(id, 0) as u64;
        let index = usize::from(self.tail & (RING_BUFFERS - 1));
        let entries = self.ring.base.as_ptr().cast::<BufRingEntry>();
        // SAFETY: index < RING_BUFFERS, and the ring's pages hold that many entries.
        let entry = unsafe { entries.add(index) };
        // SAFETY: the entry lies in pages we own; the kernel reads it only below the tail, which is
        // advanced after this, and no more than RING_BUFFERS are offered at a time.
        let entry = unsafe { &mut *entry };
        entry.set_addr(address);
        entry.set_len(BUFFER_BYTES);
        entry.set_bid(id.0);

        self.offered += 1;
        self.tail = self.tail.wrapping_add(1);
        // SAFETY: `entries` is the base of the ring, whose first entry holds the tail.
        let tail = unsafe { BufRingEntry::tail(entries) };
        // SAFETY: aligned, in pages we own, and only accessed atomically while the kernel sees it.
        let tail = unsafe { AtomicU16::from_ptr(tail.cast_mut()) };
        tail.store(self.tail, Ordering::Release);
    }

    /// The bytes of a chunk, for the kernel to read.
    #[inline]
    pub(super) fn pointer(&self, chunk: Chunk) -> *const u8 {
        self.address(chunk.buffer, chunk.start)
    }

    /// The bytes of a chunk.
    pub(super) fn bytes(&self, chunk: Chunk) -> &[u8] {
        let address = self.address(chunk.buffer, chunk.start);
        assert!(u32::from(chunk.end) <= self.bytes_of(chunk.buffer));
        // SAFETY: the range lies in one buffer (checked above, and by how chunks are made), which a
        // session holds, so the kernel does not write to it and nobody appends while this borrows.
        unsafe { std::slice::from_raw_parts(address, chunk.len()) }
    }

    /// The bytes of a chunk, to be written over. No operation may be in flight on its buffer.
    pub(super) fn bytes_mut(&mut self, chunk: Chunk) -> &mut [u8] {
        let address = self.held(chunk);
        // SAFETY: the range lies in one buffer (checked above), which a session holds (checked
        // above), so the kernel does not receive into it; the caller has no send in flight on it.
        // The borrow of `self` keeps everybody else away.
        unsafe { std::slice::from_raw_parts_mut(address, chunk.len()) }
    }

    /// The bytes of two chunks that share none, to be written over. Nobody else may be reading or
    /// writing them.
    pub(super) fn pair_mut(&mut self, first: Chunk, second: Chunk) -> (&mut [u8], &mut [u8]) {
        assert_ne!(first.buffer, second.buffer);
        let addresses = (self.held(first), self.held(second));
        // SAFETY: as in `bytes_mut`, for both. They lie in different buffers (checked above), and
        // the borrow of `self` lasts as long as both.
        let first = unsafe { std::slice::from_raw_parts_mut(addresses.0, first.len()) };
        // SAFETY: see above.
        let second = unsafe { std::slice::from_raw_parts_mut(addresses.1, second.len()) };
        (first, second)
    }

    /// Where a chunk begins that lies in a held buffer.
    fn held(&self, chunk: Chunk) -> *mut u8 {
        let (word, bit) = bit(chunk.buffer);
        assert!(
            self.available[word] & bit == 0,
            "only a held buffer is written"
        );
        assert!(chunk.start <= chunk.end && u32::from(chunk.end) <= self.bytes_of(chunk.buffer));
        self.address(chunk.buffer, chunk.start)
    }

    /// See [`Kernel::append`](super::kernel::Kernel::append).
    pub(super) fn append(&mut self, to: Chunk, from: Chunk) -> Chunk {
        let len = from.len();
        assert!(
            usize::from(to.end) + len <= self.bytes_of(to.buffer) as usize,
            "the tail has the room"
        );
        assert_ne!(to.buffer, from.buffer);
        let source = self.address(from.buffer, from.start);
        let target = self.address(to.buffer, to.end);
        // SAFETY: both ranges lie in their buffers (checked above, and by how chunks are made), the
        // buffers are different and neither is offered to the kernel for writing. A send in flight
        // reads only bytes before `to.end`.
        unsafe { ptr::copy_nonoverlapping(source, target, len) };
        let (word, bit) = bit(from.buffer);
        if self.secret[word] & bit != 0 {
            self.keep_secret(to.buffer);
        }
        Chunk {
            end: to.end + len as u16,
            ..to
        }
    }

    #[inline]
    fn address(&self, id: BufferId, offset: u16) -> *mut u8 {
        let (memory, size, index) = match usize::from(id.0).checked_sub(self.count) {
            None => (&self.memory, BUFFER_BYTES, usize::from(id.0)),
            Some(index) => (&self.wide_memory, WIDE_BUFFER_BYTES, index),
        };
        let bytes = index * size as usize + usize::from(offset);
        assert!(u32::from(offset) <= size && bytes <= memory.bytes);
        // SAFETY: id and offset are in range, so this stays in (or one past) the memory's pages.
        unsafe { memory.base.as_ptr().add(bytes) }
    }
}

/// The lowest one is taken first.
fn ids(range: Range<usize>) -> Vec<BufferId> {
    range.rev().map(|id| BufferId(id as u16)).collect()
}

fn bit(id: BufferId) -> (usize, u64) {
    (usize::from(id.0) / 64, 1 << (id.0 % 64))
}

/// Page-aligned zeroed memory that is touched only when used. Straight from the kernel: an allocator
/// that is asked for more than its own alignment clears the memory itself, a gigabyte of it.
struct Pages {
    base: NonNull<u8>,
    bytes: usize,
}

impl Pages {
    fn zeroed(bytes: usize) -> io::Result<Self> {
        let (access, kind) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE);
        let kind = kind | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
        // SAFETY: a new mapping at an address of the kernel's choice touches nothing that exists.
        let base = unsafe { libc::mmap(ptr::null_mut(), bytes, access, kind, -1, 0) };
        if base == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let base = NonNull::new(base.cast()).expect("the kernel maps nothing at address 0");
        Ok(Self { base, bytes })
    }
}

impl Drop for Pages {
    fn drop(&mut self) {
        // SAFETY: mapped in `zeroed` with this length; the ring that pointed here is closed before
        // its `Buffers` is dropped (see `Uring`).
        unsafe { libc::munmap(self.base.as_ptr().cast(), self.bytes) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_turn_in_which_buffers_are_missing_doubles_what_the_next_is_offered() {
        let mut buffers = Buffers::new(0).unwrap();
        buffers.refill();
        assert_eq!(buffers.offered, BUFFERS_OFFERED_AT_FIRST);
        for _ in 0..20 {
            buffers.ran_out();
        }
        buffers.refill();
        assert_eq!(buffers.offered, 2 * BUFFERS_OFFERED_AT_FIRST);
        for _ in 0..20 {
            buffers.ran_out();
            buffers.refill();
        }
        assert_eq!(buffers.offered, usize::from(RING_BUFFERS));
    }

    #[test]
    fn what_has_had_a_secret_in_it_is_wiped_when_it_is_released_and_nothing_else_is() {
        let mut buffers = Buffers::new(0).unwrap();
        let [from, to, other] = [(); 3].map(|()| buffers.take_idle().unwrap());
        let chunk = |buffer| Chunk {
            buffer,
            start: 0,
            end: 6,
        };
        for id in [from, to, other] {
            buffers.bytes_mut(chunk(id)).copy_from_slice(b"secret");
        }
        buffers.keep_secret(from);
        let both = buffers.append(chunk(to), chunk(from));
        assert_eq!(buffers.bytes(both), b"secretsecret");
        for id in [from, to, other] {
            buffers.release(id);
        }
        let left = |id| buffers.bytes(buffers.whole(id))[..12].to_vec();
        assert_eq!([left(from), left(to)], [[0; 12]; 2]);
        assert_eq!(left(other), *b"secret\0\0\0\0\0\0");
        // Once: the next who has it may have no secrets.
        let again = buffers.take_idle().unwrap();
        assert_eq!(again, other);
        let again = buffers.take_idle().unwrap();
        buffers.bytes_mut(chunk(again)).copy_from_slice(b"public");
        buffers.release(again);
        assert_eq!(buffers.bytes(chunk(again)), b"public");
    }

    #[test]
    fn wide_buffers_share_nothing_with_each_other_or_with_ordinary_ones() {
        let mut buffers = Buffers::new(0).unwrap();
        let wide: Vec<_> = std::iter::from_fn(|| buffers.take_wide()).collect();
        assert_eq!(wide.len(), WIDE_BUFFERS);
        let ordinary: Vec<_> = std::iter::from_fn(|| buffers.take_idle()).collect();
        let all: Vec<_> = wide.iter().chain(&ordinary).copied().collect();
        for &id in &all {
            let whole = buffers.whole(id);
            let bytes = buffers.bytes_mut(whole);
            let [low, high] = id.0.to_le_bytes();
            (bytes[0], bytes[1]) = (low, high);
            *bytes.last_mut().unwrap() = !low;
        }
        for &id in &all {
            let bytes = buffers.bytes(buffers.whole(id));
            let [low, high] = id.0.to_le_bytes();
            assert_eq!((bytes[0], bytes[1]), (low, high));
            assert_eq!(bytes.last(), Some(&!low));
        }
        for &id in &all {
            buffers.release(id);
        }
        let last = *wide.last().unwrap();
        assert_eq!(buffers.whole(last).len(), WIDE_BUFFER_BYTES as usize);
        assert_eq!(buffers.take_wide(), Some(last));
        assert_eq!(buffers.left(), ordinary.len());
    }
}
