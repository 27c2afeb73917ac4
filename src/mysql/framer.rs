//! Where packets begin and end in a stream of bytes that arrives in arbitrary pieces.
//!
//! A packet carries less than 16 MiB. A longer message is several packets, each full but the last,
//! which may be empty. Nothing is kept but the bytes of a header: payloads pass by as slices of
//! what came in.

use super::packet::{HEADER_BYTES, Header};

/// Finds the packet boundaries of one direction of one connection.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Framer {
    /// The bytes of a header that is not complete yet.
    header: [u8; HEADER_BYTES],
    held: u8,
    /// Payload of the current packet that is still to come.
    left: u32,
    phase: Phase,
    /// Whether the current packet is full, so that another one continues its message.
    continues: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Phase {
    #[default]
    Header,
    Payload,
}

/// What comes next in the stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Frame<'a> {
    /// A packet begins. `continuation` when it goes on with the message of the packet before.
    Header {
        /// Its length and number.
        header: Header,
        /// Whether it goes on with a message.
        continuation: bool,
    },
    /// Some bytes of its payload.
    Payload(&'a [u8]),
    /// The message is complete, with all its packets.
    End,
}

impl Framer {
    /// Takes the next frame from the front of `input`, or nothing when all of it has been taken and
    /// more must arrive.
    pub fn next<'a>(&mut self, input: &mut &'a [u8]) -> Option<Frame<'a>> {
        if self.phase == Phase::Payload {
            if self.left > 0 {
                return self.payload(input).map(Frame::Payload);
            }
            self.phase = Phase::Header;
            if !self.continues {
                return Some(Frame::End);
            }
        }
        self.header(input)
    }

    /// Takes a message that is one packet and lies in `input` as a whole: the usual case, without
    /// the steps that the others need. Nothing is taken otherwise.
    #[inline]
    pub fn whole<'a>(&mut self, input: &mut &'a [u8]) -> Option<(Header, &'a [u8])> {
        if !self.is_between_messages() {
            return None;
        }
        let (bytes, rest) = input.split_first_chunk()?;
        let header = Header::parse(*bytes);
        if header.is_full() {
            return None;
        }
        let (payload, rest) = rest.split_at_checked(header.payload_bytes())?;
        *input = rest;
        Some((header, payload))
    }

    /// Payload of the current packet that is still to come.
    pub const fn payload_left(&self) -> u32 {
        self.left
    }

    /// Passes over payload of the current packet that went another way. At most
    /// [`Self::payload_left`]; returns how many bytes were passed over.
    pub fn skip(&mut self, bytes: u32) -> u32 {
        let skipped = bytes.min(self.left);
        self.left = self.left.saturating_sub(skipped);
        skipped
    }

    /// Whether the last message is complete and no byte of another one has come.
    pub const fn is_between_messages(&self) -> bool {
        matches!(self.phase, Phase::Header) && self.held == 0 && !self.continues
    }

    /// Bytes of an incomplete header that have come.
    pub const fn header_bytes_held(&self) -> usize {
        self.held as usize
    }

    fn payload<'a>(&mut self, input: &mut &'a [u8]) -> Option<&'a [u8]> {
        let left = usize::try_from(self.left).unwrap_or(usize::MAX);
        let (taken, rest) = input.split_at_checked(left.min(input.len()))?;
        if taken.is_empty() {
            return None;
        }
        *input = rest;
        let bytes = u32::try_from(taken.len()).unwrap_or(u32::MAX);
        self.left = self.left.saturating_sub(bytes);
        Some(taken)
    }

    fn header<'a>(&mut self, input: &mut &'a [u8]) -> Option<Frame<'a>> {
        let free = self.header.get_mut(usize::from(self.held)..)?;
        let count = free.len().min(input.len());
        let (taken, rest) = input.split_at_checked(count)?;
        free.get_mut(..count)?.copy_from_slice(taken);
        *input = rest;
        self.held = self.held.saturating_add(u8::try_from(count).ok()?);
        if usize::from(self.held) < HEADER_BYTES {
            return None;
        }
        let header = Header::parse(self.header);
        let continuation = self.continues;
        self.held = 0;
        self.left = header.len;
        self.continues = header.is_full();
        self.phase = Phase::Payload;
        Some(Frame::Header {
            header,
            continuation,
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::mysql::fuzzing::{Seen, frames};
    use crate::mysql::packet::PAYLOAD_BYTES_MAX;

    /// The frames of a stream whose payloads are passed over.
    fn skim(packets: &[(u32, u8)]) -> Vec<String> {
        let mut framer = Framer::default();
        let mut seen = Vec::new();
        for &(len, sequence) in packets {
            let header = Header { len, sequence }.to_bytes();
            let mut input = &header[..];
            while let Some(frame) = framer.next(&mut input) {
                match frame {
                    Frame::Header { continuation, .. } => {
                        seen.push(if continuation { "more" } else { "new" }.to_owned());
                        assert_eq!(framer.skip(u32::MAX), len);
                    }
                    Frame::Payload(_) => panic!("nothing was fed but headers"),
                    Frame::End => seen.push("end".to_owned()),
                }
            }
        }
        seen
    }

    #[test]
    fn a_message_goes_on_after_a_full_packet_and_ends_with_a_shorter_one() {
        const FULL: u32 = PAYLOAD_BYTES_MAX;
        assert_eq!(skim(&[(FULL - 1, 0)]), ["new", "end"]);
        assert_eq!(skim(&[(FULL, 0)]), ["new"]);
        assert_eq!(skim(&[(FULL, 0), (0, 1)]), ["new", "more", "end"]);
        assert_eq!(skim(&[(FULL, 0), (1, 1)]), ["new", "more", "end"]);
        let three = [(FULL, 0), (FULL, 1), (FULL, 2), (7, 3), (0, 0)];
        assert_eq!(
            skim(&three),
            ["new", "more", "more", "more", "end", "new", "end"]
        );
    }

    #[test]
    fn only_a_whole_packet_of_a_whole_message_is_taken_at_once() {
        let mut framer = Framer::default();
        let mut input = &[1, 0, 0, 7, b'x', 0, 0, 0, 8, 2, 0, 0][..];
        let first = framer.whole(&mut input);
        assert_eq!(
            first,
            Some((
                Header {
                    len: 1,
                    sequence: 7
                },
                &b"x"[..]
            ))
        );
        let second = framer.whole(&mut input);
        assert_eq!(
            second,
            Some((
                Header {
                    len: 0,
                    sequence: 8
                },
                &b""[..]
            ))
        );
        assert_eq!(framer.whole(&mut input), None);
        assert_eq!(input.len(), 3, "an incomplete header stays");
        assert_eq!(framer.next(&mut input), None);
        assert_eq!(framer.header_bytes_held(), 3);
        assert_eq!(framer.whole(&mut &[9, 1, 2][..]), None);
    }

    proptest! {
        #[test]
        fn the_size_of_pieces_changes_nothing(
            bytes in proptest::collection::vec(prop_oneof![4 => 0..4u8, 1 => any::<u8>()], 0..400),
            cuts in proptest::collection::vec(1..9usize, 1..20),
        ) {
            let whole: Vec<Seen> = frames(&bytes, &[usize::MAX]);
            prop_assert_eq!(&frames(&bytes, &[1]), &whole);
            prop_assert_eq!(&frames(&bytes, &cuts), &whole);
        }
    }
}
