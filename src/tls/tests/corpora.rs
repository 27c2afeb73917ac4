//! The corpora of the fuzz targets, and random input.

use proptest::prelude::*;

use crate::entropy::corpus;
use crate::tls::fuzzing::{check_client_hello, check_session};

#[test]
fn what_has_been_found_before_stays_found() {
    corpus("tls_client_hello")
        .iter()
        .for_each(|data| check_client_hello(data));
    corpus("tls_session")
        .iter()
        .for_each(|data| check_session(data));
}

proptest! {
    #[test]
    fn any_bytes_have_one_verdict(data in prop::collection::vec(any::<u8>(), 0..300)) {
        check_client_hello(&data);
    }

    #[test]
    fn any_bytes_behind_a_records_header_have_one_verdict(
        data in prop::collection::vec(any::<u8>(), 0..300),
    ) {
        let length = (data.len() as u16 + 4).to_be_bytes();
        let body = (data.len() as u32).to_be_bytes();
        check_client_hello(&[&[22, 3, 1], &length[..], &[1], &body[1..], &data].concat());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn what_goes_in_comes_out(data in prop::collection::vec(any::<u8>(), 0..200)) {
        check_session(&data);
    }

    #[test]
    fn what_nobody_touches_comes_out_whole(
        version: u8,
        deeds in prop::collection::vec((0..14_u8, 0..16_u8, any::<u8>()), 0..100),
    ) {
        let steps = deeds.into_iter().flat_map(|(deed, room, size)| [room << 4 | deed, size]);
        check_session(&[version].into_iter().chain(steps).collect::<Vec<_>>());
    }
}
