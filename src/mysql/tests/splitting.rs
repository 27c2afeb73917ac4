//! A logged-in session over two servers, whatever its client says and whatever happens to them.

use proptest::prelude::*;

use crate::mysql::fuzzing::{SplitOutcome, check_split};

/// A reproducible string of bytes.
fn noise(seed: u64, len: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let step = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 32) as u8
    };
    std::iter::repeat_with(step).take(len).collect()
}

#[test]
fn each_command_has_its_own_answer_whatever_happens() {
    let mut all = SplitOutcome::default();
    for seed in 1..=1500 {
        let data = noise(seed, 40 + (seed as usize * 31) % 900);
        let result = std::panic::catch_unwind(|| check_split(&data));
        let outcome = result.unwrap_or_else(|_| panic!("seed {seed} breaks it"));
        all.ran[0] += outcome.ran[0];
        all.ran[1] += outcome.ran[1];
        all.answered += outcome.answered;
        all.replayed += outcome.replayed;
        all.cut_short += outcome.cut_short;
    }
    // A run in which nothing happened would prove nothing.
    assert!(all.ran[0] > 10_000 && all.ran[1] > 5_000, "{all:?}");
    assert!(all.answered > 20_000, "{all:?}");
    assert!(all.replayed > 3 && all.cut_short > 50, "{all:?}");
}

#[test]
fn the_corpus_of_the_fuzzer_still_holds() {
    let corpus = concat!(env!("CARGO_MANIFEST_DIR"), "/fuzz/corpus/mysql_split");
    let entries = std::fs::read_dir(corpus).expect("the corpus is part of the repository");
    let mut replayed = 0;
    for entry in entries {
        let path = entry.expect("a readable directory").path();
        check_split(&std::fs::read(&path).expect("a readable file"));
        replayed += 1;
    }
    assert!(replayed > 0, "an empty corpus proves nothing");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]
    #[test]
    fn nothing_that_peers_do_breaks_a_session(data in prop::collection::vec(any::<u8>(), 0..600)) {
        check_split(&data);
    }
}
