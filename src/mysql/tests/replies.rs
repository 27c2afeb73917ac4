//! What no recorded server has said: other dialects, huge packets, and servers that lie.

use proptest::prelude::*;

use super::generate::{Generated, replies};
use crate::entropy::corpus;
use crate::mysql::capabilities::Capabilities;
use crate::mysql::command::Reply;
use crate::mysql::fuzzing::{check_framing, check_reply, follow};
use crate::mysql::packet::{HEADER_BYTES, Header, PAYLOAD_BYTES_MAX};
use crate::mysql::reply::{Event, Prepared, ReplyTracker, Violation};

const NONE: Capabilities = Capabilities::NONE;
const DEPRECATE_EOF: Capabilities = Capabilities::DEPRECATE_EOF;
const OK: &[u8] = b"\0\0\0\x02\0\0\0";
const EOF: &[u8] = b"\xfe\0\0\x02\0";

fn packets(payloads: &[&[u8]]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (i, payload) in payloads.iter().enumerate() {
        crate::mysql::packet::write_packet(&mut bytes, i as u8 + 1, payload);
    }
    bytes
}

fn first_event(agreed: Capabilities, reply: Reply, bytes: &[u8]) -> Result<String, Violation> {
    let mut tracker = ReplyTracker::new(agreed);
    tracker.start(reply, 1);
    tracker
        .feed(&mut &bytes[..])
        .map(|event| format!("{event:?}"))
}

#[test]
fn metadata_may_be_left_out() {
    let agreed = DEPRECATE_EOF | Capabilities::OPTIONAL_METADATA;
    let reply = packets(&[b"\x01\0", b"\x01a", b"\xfe\0\0\x02\0\0\0"]);
    let followed = follow(agreed, Reply::Results, &reply, &[2], false);
    assert!(followed.complete && followed.taken == reply.len());
    let reply = packets(&[b"\x01\x01", b"\x03def", b"\x01a", b"\xfe\0\0\x02\0\0\0"]);
    assert!(follow(agreed, Reply::Results, &reply, &[2], false).complete);

    let reply = packets(&[b"\0\x09\0\0\0\x02\0\x01\0\0\x03\0\0"]);
    let followed = follow(agreed, Reply::Prepared, &reply, &[4], false);
    let prepared = Prepared {
        statement_id: 9,
        columns: 2,
        parameters: 1,
        warnings: 3,
    };
    assert_eq!(
        followed.events,
        [format!("{:?}", Event::Prepared(prepared))]
    );
    assert!(followed.complete);
}

#[test]
fn b_13_a_file_that_was_not_offered_is_not_asked_for() {
    let reply = packets(&[b"\xfb/etc/passwd"]);
    let refused = first_event(NONE, Reply::Results, &reply);
    assert_eq!(refused, Err(Violation::FileNotOffered));
    let refused = first_event(NONE, Reply::Status, &reply);
    assert_eq!(refused, Err(Violation::Unexpected(0xFB)));
}

#[test]
fn no_more_files_are_asked_for_than_were_offered() {
    const ANOTHER_RESULT: &[u8] = b"\0\0\0\x0a\0\0\0";
    let wants = packets(&[b"\xfbone"]);
    for offered in 0..=2 {
        let mut tracker = ReplyTracker::new(NONE);
        tracker.start(Reply::Results, 1);
        tracker.offer_files(offered);
        for _ in 0..offered {
            let asked = tracker.feed(&mut &wants[..]);
            assert_eq!(asked, Ok(Event::WantsFile(b"one")));
            // What follows a file is its result, and no other request.
            tracker.resume_after_file(1);
            tracker.feed(&mut &packets(&[ANOTHER_RESULT])[..]).unwrap();
            tracker.expect_sequence(1);
        }
        let refused = tracker.feed(&mut &wants[..]);
        assert_eq!(refused, Err(Violation::FileNotOffered), "after {offered}");
    }
    let mut tracker = ReplyTracker::new(NONE);
    tracker.start(Reply::Results, 1);
    tracker.offer_files(2);
    tracker.feed(&mut &wants[..]).unwrap();
    tracker.resume_after_file(1);
    let refused = tracker.feed(&mut &wants[..]);
    assert_eq!(refused, Err(Violation::Unexpected(0xFB)));
}

#[test]
fn a_server_that_lies_is_found_out() {
    let cases: [(Reply, &[u8], Violation); 7] = [
        (Reply::Status, b"\x01", Violation::Unexpected(1)),
        (
            Reply::Results,
            b"\xfd\xff\xff\xff",
            Violation::TooManyColumns(0xFF_FFFF),
        ),
        (
            Reply::Results,
            b"\xfc\x01\x10",
            Violation::TooManyColumns(4097),
        ),
        (Reply::Results, b"\x01\x00", Violation::Unexpected(0)),
        (Reply::Results, b"", Violation::Empty),
        (Reply::Prepared, b"\x02", Violation::Unexpected(2)),
        (Reply::Authentication, b"\x09", Violation::Unexpected(9)),
    ];
    for (reply, payload, violation) in cases {
        let found = first_event(NONE, reply, &packets(&[payload]));
        assert_eq!(found, Err(violation), "{reply:?} {payload:x?}");
    }
    let missing_eof = packets(&[b"\x01", b"\x03def", b"\x01a"]);
    let followed = follow(NONE, Reply::Results, &missing_eof, &[1], false);
    assert_eq!(followed.events[1], Violation::Unexpected(1).to_string());
}

#[test]
fn b_10_what_is_left_of_another_reply_is_not_taken_for_this_one() {
    let mut leftover = packets(&[OK]);
    leftover[3] = 4;
    let found = first_event(NONE, Reply::Status, &leftover);
    assert_eq!(
        found,
        Err(Violation::OutOfOrder {
            expected: 1,
            got: 4
        })
    );
    // A server that goes away says so without counting on.
    let mut goodbye = packets(&[b"\xff\x1d\x04#08S01Shutdown"]);
    goodbye[3] = 0;
    assert!(
        first_event(NONE, Reply::Status, &goodbye)
            .unwrap()
            .contains("1053")
    );

    let mut tracker = ReplyTracker::new(NONE);
    assert_eq!(tracker.feed(&mut &OK[..]), Err(Violation::Unasked));
    tracker.start(Reply::None, 1);
    assert!(tracker.is_complete());
}

#[test]
fn only_its_own_bytes_belong_to_a_reply() {
    let first = packets(&[OK]);
    let both = [&first[..], &packets(&[OK])[..]].concat();
    let mut tracker = ReplyTracker::new(NONE);
    let mut input = &both[..];
    for _ in 0..2 {
        tracker.start(Reply::Status, 1);
        assert!(matches!(
            tracker.feed(&mut input),
            Ok(Event::Result { last: true, .. })
        ));
        assert!(tracker.is_complete());
    }
    assert!(input.is_empty());
}

/// A result set with one row of which nothing is sent but headers and the first byte.
fn skim(agreed: Capabilities, first: u8, row: &[u32]) -> (ReplyTracker, u8) {
    let mut tracker = ReplyTracker::new(agreed);
    tracker.start(Reply::Results, 1);
    let columns = match agreed.contains(DEPRECATE_EOF) {
        true => packets(&[b"\x01", b"\x03def"]),
        false => packets(&[b"\x01", b"\x03def", EOF]),
    };
    let mut sequence = if agreed.contains(DEPRECATE_EOF) { 3 } else { 4 };
    let mut input = &columns[..];
    while !input.is_empty() {
        tracker.feed(&mut input).unwrap();
    }
    for (i, &len) in row.iter().enumerate() {
        let header = Header { len, sequence }.to_bytes();
        assert_eq!(tracker.feed(&mut &header[..]), Ok(Event::More));
        sequence = sequence.wrapping_add(1);
        let mut left = len;
        if i == 0 {
            assert_eq!(tracker.skippable(), 0, "the first byte has to be seen");
            assert_eq!(tracker.feed(&mut &[first][..]), Ok(Event::More));
            left -= 1;
        }
        assert_eq!(tracker.skippable(), left);
        tracker.skip(left / 2);
        assert_eq!(tracker.skippable(), left - left / 2);
        assert_eq!(tracker.unsettled(), 0);
        assert_eq!(tracker.error_sequence().is_some(), left == 0);
        tracker.skip(left - left / 2);
    }
    (tracker, sequence)
}

#[test]
fn b_9_rows_around_16_mib_are_passed_over() {
    const FULL: u32 = PAYLOAD_BYTES_MAX;
    let rows: [&[u32]; 6] = [
        &[FULL - 2],
        &[FULL - 1],
        &[FULL, 0],
        &[FULL, 1],
        &[FULL, FULL, 0],
        &[FULL, FULL, FULL, 12],
    ];
    for agreed in [NONE, DEPRECATE_EOF] {
        for row in rows {
            let (mut tracker, sequence) = skim(agreed, 0xFD, row);
            assert_eq!(tracker.error_sequence(), Some(sequence), "{row:?}");
            assert!(tracker.is_in_rows());
            let end = match agreed.contains(DEPRECATE_EOF) {
                true => &b"\xfe\0\0\x02\0\0\0"[..],
                false => EOF,
            };
            let mut bytes = Vec::new();
            crate::mysql::packet::write_packet(&mut bytes, sequence, end);
            let event = tracker.feed(&mut &bytes[..]).unwrap();
            assert!(matches!(event, Event::Result { last: true, .. }), "{row:?}");
        }
    }
}

#[test]
fn a_row_whose_first_value_is_huge_is_no_end_of_rows() {
    for agreed in [NONE, DEPRECATE_EOF] {
        let mut tracker = ReplyTracker::new(agreed);
        tracker.start(Reply::Rows, 1);
        let len = PAYLOAD_BYTES_MAX;
        let header = Header { len, sequence: 1 }.to_bytes();
        tracker.feed(&mut &header[..]).unwrap();
        assert_eq!(tracker.feed(&mut &b"\xfe\0\0\0"[..]), Ok(Event::More));
        // Only a packet that is not full can be an OK packet in the place of an EOF.
        assert_eq!(tracker.skippable(), len - 4);
        tracker.skip(len - 4);
        let rest = packets(&[b"x", b"x"]);
        let mut tail = &rest[HEADER_BYTES + 1..];
        assert_eq!(tracker.feed(&mut tail), Ok(Event::More));
        assert_eq!(tracker.error_sequence(), Some(3));
        assert!(tracker.is_in_rows());
    }
}

#[test]
fn a_long_ok_packet_at_the_end_of_rows_is_kept_up_to_a_bound() {
    let track = [b"\x01\xfc\x10\x27", &[b'x'; 10_000][..]].concat();
    let mut ok = b"\xfe\0\0\x02\x40\0\0\0".to_vec();
    let entries = track.repeat(3);
    ok.extend([0xFD]);
    ok.extend(&(entries.len() as u32).to_le_bytes()[..3]);
    ok.extend(&entries);
    let bytes = packets(&[&ok]);
    let agreed = DEPRECATE_EOF | Capabilities::SESSION_TRACK;
    for cuts in [&[usize::MAX][..], &[1000], &[1]] {
        let followed = follow(agreed, Reply::Rows, &bytes, cuts, false);
        assert!(followed.complete && followed.events[0].contains("track_cut: true"));
    }
}

#[test]
fn ok_packets_can_be_held_back() {
    let bytes = packets(&[b"\x01", b"\x03def", EOF, b"\x01a", EOF]);
    let mut tracker = ReplyTracker::new(NONE);
    tracker.start(Reply::Results, 1);
    let mut held = Vec::new();
    for byte in bytes.chunks(1) {
        let mut input = byte;
        match tracker.feed(&mut input).unwrap() {
            Event::Result { packet_bytes, .. } => assert_eq!(packet_bytes, 9),
            _ => held.push(tracker.unsettled()),
        }
    }
    let row = 5 + 8 + 9;
    let expected = [1, 2, 3, 4, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8];
    assert_eq!(held[row..], expected, "a row is settled by its first byte");
}

#[test]
fn errors_can_be_put_in_only_where_clients_expect_one() {
    let mut tracker = ReplyTracker::new(NONE);
    assert_eq!(tracker.error_sequence(), None);
    tracker.start(Reply::Results, 1);
    assert_eq!(tracker.error_sequence(), Some(1));
    assert!(!tracker.has_begun());
    tracker.feed(&mut &packets(&[b"\x01"])[..]).unwrap();
    assert!(tracker.has_begun());
    assert_eq!(
        tracker.error_sequence(),
        None,
        "not among column definitions"
    );
}

#[test]
fn a_replication_stream_goes_on_until_it_says_otherwise() {
    let events: Vec<&[u8]> = vec![b"\0event"; 200];
    let followed = follow(NONE, Reply::Stream, &packets(&events), &[9], true);
    assert!(!followed.complete && followed.events.is_empty());
    let ends = packets(&[b"\0event", EOF]);
    assert!(follow(NONE, Reply::Stream, &ends, &[9], false).complete);
}

#[test]
fn the_corpora_of_the_fuzzers_still_hold() {
    for data in corpus("mysql_framing") {
        check_framing(&data);
    }
    for data in corpus("mysql_reply") {
        check_reply(&data);
    }
}

/// A file of a target's corpus, with a few bytes changed.
pub(super) fn nearly(target: &'static str) -> impl Strategy<Value = Vec<u8>> {
    let changes = proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6);
    (proptest::sample::select(corpus(target)), changes).prop_map(|(mut data, changes)| {
        for (place, byte) in changes {
            let place = place.index(data.len());
            data[place] = byte;
        }
        data
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4000))]

    #[test]
    fn nearly_real_replies_are_the_same_however_they_arrive(data in nearly("mysql_reply")) {
        check_reply(&data);
    }
}

proptest! {
    #[test]
    fn a_valid_reply_is_followed_to_its_end(
        generated in replies(),
        cuts in proptest::collection::vec(1..40usize, 1..10),
        skipping in any::<bool>(),
    ) {
        let Generated { agreed, reply, bytes, .. } = &generated;
        let whole = follow(*agreed, *reply, bytes, &[usize::MAX], false);
        prop_assert!(whole.complete, "{:?} {:?}", generated, whole);
        prop_assert_eq!(whole.taken, bytes.len());
        prop_assert_eq!(&follow(*agreed, *reply, bytes, &cuts, skipping), &whole);
        prop_assert_eq!(&follow(*agreed, *reply, bytes, &[1], skipping), &whole);

        let more = [&bytes[..], b"\x07\0\0\x01next"].concat();
        let followed = follow(*agreed, *reply, &more, &cuts, skipping);
        prop_assert_eq!(followed.taken, bytes.len(), "the next reply is not touched");
        for len in (0..bytes.len()).step_by(bytes.len() / 40 + 1) {
            let cut = follow(*agreed, *reply, &bytes[..len], &cuts, skipping);
            prop_assert!(!cut.complete, "complete after {} of {}", len, bytes.len());
        }
    }

    #[test]
    fn any_bytes_are_the_same_reply_however_they_arrive(
        mut data in proptest::collection::vec(any::<u8>(), 2..200),
        valid in replies(),
        flip in any::<proptest::sample::Index>(),
    ) {
        check_reply(&data);
        // Nearly valid ones reach further.
        data.truncate(2);
        data.extend(&valid.bytes);
        let place = flip.index(data.len());
        data[place] ^= 1 << (place % 8);
        check_reply(&data);
    }
}
