//! Long streams of bytes that are random, known at every position, and checked byte by byte.

use super::peer::Peer;

const BLOCK_BYTES: usize = 64 * 1024;

/// A stream without end that is the same for the same seed.
#[derive(Clone, Debug)]
pub(crate) struct Tape {
    seed: u64,
    index: u64,
    block: Vec<u8>,
}

/// Chunk sizes at random, reproducible from their seed.
#[derive(Clone, Debug)]
pub(crate) struct Chunks {
    state: u64,
    max: usize,
}

impl Tape {
    /// The tape with this seed.
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            seed,
            index: u64::MAX,
            block: vec![0; BLOCK_BYTES],
        }
    }

    /// Some bytes from `position` on.
    pub(crate) fn at(&mut self, position: u64) -> &[u8] {
        let index = position / BLOCK_BYTES as u64;
        if index != self.index {
            self.index = index;
            let first_word = index * (BLOCK_BYTES as u64 / 8);
            for (word, bytes) in self.block.chunks_exact_mut(8).enumerate() {
                let value = mix(self.seed.wrapping_add(first_word + word as u64));
                bytes.copy_from_slice(&value.to_le_bytes());
            }
        }
        &self.block[(position % BLOCK_BYTES as u64) as usize..]
    }

    /// The `len` bytes from `position` on.
    pub(crate) fn slice(&mut self, position: u64, len: usize) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(len);
        while bytes.len() < len {
            let part = self.at(position + bytes.len() as u64);
            let take = part.len().min(len - bytes.len());
            bytes.extend_from_slice(&part[..take]);
        }
        bytes
    }

    /// Asserts that `bytes` are what stands at `position`.
    #[track_caller]
    pub(crate) fn check(&mut self, position: u64, bytes: &[u8]) {
        let mut checked = 0;
        while checked < bytes.len() {
            let expected = self.at(position + checked as u64);
            let len = expected.len().min(bytes.len() - checked);
            let same = expected[..len] == bytes[checked..checked + len];
            assert!(
                same,
                "bytes differ after position {}",
                position + checked as u64
            );
            checked += len;
        }
    }
}

impl Chunks {
    /// Sizes from 1 to `max`.
    pub(crate) fn new(seed: u64, max: usize) -> Self {
        Self { state: seed, max }
    }

    /// The next size.
    pub(crate) fn size(&mut self) -> usize {
        self.state = self.state.wrapping_add(1);
        1 + (mix(self.state) as usize) % self.max
    }
}

/// Sends the first `len` bytes of a tape, in chunks.
#[track_caller]
pub(crate) fn send_tape(peer: &Peer, tape: &mut Tape, len: u64, chunks: &mut Chunks) {
    let mut position = 0;
    while position < len {
        let part = tape.at(position);
        let size = chunks.size().min(part.len()).min((len - position) as usize);
        peer.send(&part[..size]);
        position += size as u64;
    }
}

/// Receives the first `len` bytes of a tape, in chunks, and checks every one.
#[track_caller]
pub(crate) fn receive_tape(peer: &Peer, tape: &mut Tape, len: u64, chunks: &mut Chunks) {
    let mut buffer = vec![0; chunks.max];
    let mut position = 0;
    while position < len {
        let size = chunks.size().min((len - position) as usize);
        let received = peer.receive_some(&mut buffer[..size]);
        assert!(
            received > 0,
            "the stream ended at {position} of {len} bytes"
        );
        tape.check(position, &buffer[..received]);
        position += received as u64;
    }
}

/// SplitMix64's output function: Steele, Lea, Flood, "Fast splittable pseudorandom number
/// generators", 2014.
fn mix(counter: u64) -> u64 {
    let z = counter.wrapping_mul(0x9E37_79B9_7F4A_7C15);
    let z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}
