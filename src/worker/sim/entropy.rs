//! Decisions, drawn from a string of bytes.

/// Reads decisions off an input. When it is used up, every decision is the first option.
pub(super) struct Entropy<'a> {
    input: &'a [u8],
}

impl<'a> Entropy<'a> {
    pub(super) fn new(input: &'a [u8]) -> Self {
        Self { input }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.input.is_empty()
    }

    /// A number below `bound`.
    pub(super) fn below(&mut self, bound: usize) -> usize {
        let Some((&first, rest)) = self.input.split_first() else {
            return 0;
        };
        self.input = rest;
        usize::from(first) % bound
    }

    /// True once in `n` times, never when the input is used up.
    pub(super) fn once_in(&mut self, n: usize) -> bool {
        self.below(n) == n - 1
    }

    /// An amount of bytes: mostly small, sometimes a buffer or far more.
    pub(super) fn amount(&mut self) -> usize {
        match self.below(8) {
            0 | 1 => 1 + self.below(64),
            2 | 3 => 1 + 61 * self.below(256),
            4 => 16 * 1024,
            5 => 16 * 1024 + 1 + self.below(200),
            _ => 4096 * (1 + self.below(64)),
        }
    }
}
