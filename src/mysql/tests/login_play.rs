//! Logins whose peers play their parts, or do not: the fuzz target `mysql_login`.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::replies::nearly;
use crate::entropy::{corpus, noise};
use crate::mysql::fuzzing::{Sight, check_login};

/// How many of these inputs have come to see what.
fn sights(inputs: impl IntoIterator<Item = Vec<u8>>) -> BTreeMap<Sight, usize> {
    let mut seen = BTreeMap::from(Sight::ALL.map(|sight| (sight, 0)));
    for sight in inputs.into_iter().flat_map(|data| check_login(&data)) {
        *seen.entry(sight).or_default() += 1;
    }
    seen
}

#[test]
fn the_corpus_of_the_fuzzer_still_holds_and_sees_everything() {
    let seen = sights(corpus("mysql_login"));
    assert!(seen.values().all(|&times| times > 0), "{seen:?}");
}

#[test]
fn noise_sees_everything_too() {
    let seen = sights((0..5000).map(|seed| noise(seed, 2 + seed as usize % 6)));
    assert!(seen.values().all(|&times| times > 0), "{seen:?}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4000))]

    #[test]
    fn whatever_peers_do_a_login_ends(data in nearly("mysql_login")) {
        check_login(&data);
    }
}
