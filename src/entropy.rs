//! Decisions, drawn from a string of bytes: what drives the simulations of the worker and of a MySQL
//! session, under a fuzzer and under tests. And the strings that a fuzz target keeps.

/// Reads decisions off an input. When it is used up, every decision is the first option.
pub(crate) struct Entropy<'a> {
    input: &'a [u8],
}

impl<'a> Entropy<'a> {
    pub(crate) fn new(input: &'a [u8]) -> Self {
        Self { input }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.input.is_empty()
    }

    /// A number below `bound`.
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        let Some((&first, rest)) = self.input.split_first() else {
            return 0;
        };
        self.input = rest;
        usize::from(first) % bound
    }

    /// True once in `n` times, never when the input is used up.
    pub(crate) fn once_in(&mut self, n: usize) -> bool {
        self.below(n) == n - 1
    }

    /// An amount of bytes: mostly small, sometimes a buffer or far more.
    pub(crate) fn amount(&mut self) -> usize {
        match self.below(8) {
            0 | 1 => 1 + self.below(64),
            2 | 3 => 1 + 61 * self.below(256),
            4 => 16 * 1024,
            5 => 16 * 1024 + 1 + self.below(200),
            _ => 4096 * (1 + self.below(64)),
        }
    }
}

/// A reproducible string of bytes, to draw decisions from.
#[cfg(test)]
pub(crate) fn noise(seed: u64, len: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let step = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 32) as u8
    };
    std::iter::repeat_with(step).take(len).collect()
}

/// The corpus of a fuzz target, in the order of the files' names.
#[cfg(test)]
#[track_caller]
pub(crate) fn corpus(target: &str) -> Vec<Vec<u8>> {
    let directory = format!("{}/fuzz/corpus/{target}", env!("CARGO_MANIFEST_DIR"));
    let entries = std::fs::read_dir(directory).expect("the corpus is part of the repository");
    let mut files: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert!(!files.is_empty(), "an empty corpus proves nothing");
    let read = |file| std::fs::read(file).expect("a readable file");
    files.into_iter().map(read).collect()
}
