//! What must hold for any bytes: driven by the fuzz targets, their corpora and property tests.

use super::framer::{Frame, Framer};
use super::packet::Header;
use super::reply::{Event, ReplyTracker};

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
