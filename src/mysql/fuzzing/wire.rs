//! What must hold for any bytes: driven by the fuzz targets, their corpora and property tests.

use crate::mysql::capabilities::Capabilities;
use crate::mysql::command::Reply;
use crate::mysql::framer::{Frame, Framer};
use crate::mysql::packet::Header;
use crate::mysql::reply::{Event, ReplyTracker};

/// What a framer found, regardless of how the bytes came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Seen {
    /// A header, and whether it continues a message.
    Header(Header, bool),
    /// Payload.
    Payload(Vec<u8>),
    /// The end of a message.
    End,
}

/// The frames of a stream that arrives in pieces of these sizes, over and over.
pub fn frames(bytes: &[u8], cuts: &[usize]) -> Vec<Seen> {
    let mut framer = Framer::default();
    let mut seen = Vec::new();
    for mut piece in pieces(bytes, cuts) {
        while let Some(frame) = framer.next(&mut piece) {
            match (frame, seen.last_mut()) {
                (Frame::Payload(more), Some(Seen::Payload(bytes))) => bytes.extend(more),
                (Frame::Payload(bytes), _) => seen.push(Seen::Payload(bytes.to_vec())),
                (Frame::End, _) => seen.push(Seen::End),
                (
                    Frame::Header {
                        header,
                        continuation,
                    },
                    _,
                ) => seen.push(Seen::Header(header, continuation)),
            }
        }
        assert!(piece.is_empty(), "a framer takes everything");
    }
    seen
}

/// Any bytes have the same packets, however they arrive.
///
/// # Panics
/// When they have not.
pub fn check_framing(data: &[u8]) {
    let whole = frames(data, &[usize::MAX]);
    assert_eq!(frames(data, &[1]), whole);
    let cuts: Vec<usize> = data
        .iter()
        .take(8)
        .map(|&cut| usize::from(cut) + 1)
        .collect();
    assert_eq!(frames(data, &cuts), whole);

    // The short way finds the same packets as the long one.
    let (mut framer, mut input) = (Framer::default(), data);
    let mut taken = Vec::new();
    while let Some((header, payload)) = framer.whole(&mut input) {
        taken.push(Seen::Header(header, false));
        if !payload.is_empty() {
            taken.push(Seen::Payload(payload.to_vec()));
        }
        taken.push(Seen::End);
    }
    assert!(whole.starts_with(&taken));
}

/// The agreements that a reply's layout depends on.
pub const AGREEMENTS: [Capabilities; 6] = [
    Capabilities::DEPRECATE_EOF,
    Capabilities::SESSION_TRACK,
    Capabilities::OPTIONAL_METADATA,
    Capabilities::MARIADB_CACHE_METADATA,
    Capabilities::MARIADB_PROGRESS,
    Capabilities::MYSQL,
];

/// Every kind of reply.
pub const REPLIES: [Reply; 10] = [
    Reply::None,
    Reply::Status,
    Reply::Results,
    Reply::Execution,
    Reply::Rows,
    Reply::Prepared,
    Reply::Fields,
    Reply::Text,
    Reply::Stream,
    Reply::Authentication,
];

/// Any bytes are the same reply, however they arrive. The first byte says what was agreed, the
/// second what is expected, the others are the reply.
///
/// # Panics
/// When they are not.
pub fn check_reply(data: &[u8]) {
    let [agreed, kind, reply @ ..] = data else {
        return;
    };
    let agreed = AGREEMENTS
        .iter()
        .enumerate()
        .filter(|(bit, _)| agreed & (1 << bit) != 0)
        .fold(Capabilities::NONE, |all, (_, one)| all | *one);
    let expected = REPLIES[usize::from(*kind) % REPLIES.len()];
    let whole = follow(agreed, expected, reply, &[usize::MAX], false);
    assert!(whole.taken <= reply.len());
    for cuts in [&[1][..], &[3, 5, 2], &[4, 1]] {
        assert_eq!(follow(agreed, expected, reply, cuts, false), whole);
        assert_eq!(follow(agreed, expected, reply, cuts, true), whole);
    }
}

/// What came of a reply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Followed {
    /// The events in their order, in words; at the end the complaint, if there was one.
    pub events: Vec<String>,
    /// Bytes that belong to the reply. Where it ends with a complaint this says nothing.
    pub taken: usize,
    /// Whether it is complete.
    pub complete: bool,
}

/// Follows a reply that arrives in pieces of these sizes. `skipping` lets the insides of rows pass
/// by another way.
pub fn follow(
    agreed: Capabilities,
    expected: Reply,
    bytes: &[u8],
    cuts: &[usize],
    skipping: bool,
) -> Followed {
    let mut tracker = ReplyTracker::new(agreed);
    tracker.start(expected, 1);
    tracker.offer_files(u8::MAX);
    let (mut events, mut taken) = (Vec::new(), 0);
    'reply: for mut piece in pieces(bytes, cuts) {
        while !piece.is_empty() && !tracker.is_complete() {
            let before = piece.len();
            if skipping && tracker.skippable() > 0 {
                let count = piece.len().min(tracker.skippable() as usize);
                tracker.skip(count as u32);
                piece = &piece[count..];
                taken += count;
                continue;
            }
            let more = match tracker.feed(&mut piece) {
                Err(violation) => {
                    events.push(violation.to_string());
                    taken = 0;
                    break 'reply;
                }
                Ok(Event::More) => true,
                Ok(event) => {
                    events.push(format!("{event:?}"));
                    false
                }
            };
            taken += before - piece.len();
            if tracker.waits_for_file() {
                tracker.resume_after_file(3);
            }
            assert!(
                !more || piece.is_empty() || tracker.is_complete(),
                "no progress"
            );
            assert!(tracker.unsettled() <= taken as u64);
        }
    }
    Followed {
        complete: tracker.is_complete(),
        events,
        taken,
    }
}

/// Cuts bytes into pieces of these sizes, over and over.
pub fn pieces<'a>(bytes: &'a [u8], cuts: &'a [usize]) -> impl Iterator<Item = &'a [u8]> {
    let mut rest = bytes;
    cuts.iter().cycle().map_while(move |&cut| {
        if rest.is_empty() {
            return None;
        }
        let (piece, after) = rest.split_at(cut.clamp(1, rest.len()));
        rest = after;
        Some(piece)
    })
}
