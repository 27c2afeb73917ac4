//! Whole packets of a login, assembled from pieces up to a bound, which is enforced from the header,
//! before a byte of the payload is kept. Of what passes through ringway only logins are assembled;
//! the servers of `ringway demo` assemble the commands that they answer, too.

use std::fmt;

use zeroize::Zeroizing;

use super::framer::{Frame, Framer};

/// The packets of one peer, one at a time.
pub struct Inbox {
    framer: Framer,
    limit: u32,
    sequence: u8,
    payload: Zeroizing<Vec<u8>>,
}

/// One packet. The payload may hold a password, and is wiped.
#[derive(PartialEq, Eq)]
pub struct Packet {
    /// Its number within one command and its reply.
    pub sequence: u8,
    /// All of it, without the header.
    pub payload: Zeroizing<Vec<u8>>,
}

impl fmt::Debug for Packet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "Packet {} of {} bytes",
            self.sequence,
            self.payload.len()
        )
    }
}

/// A packet that is longer than this phase allows (B-2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooLong {
    /// The packet's number.
    pub sequence: u8,
}

impl Inbox {
    /// For packets of at most `limit` bytes, which must be fewer than fill a packet.
    pub fn new(limit: u32) -> Self {
        Self {
            framer: Framer::default(),
            limit,
            sequence: 0,
            payload: Zeroizing::default(),
        }
    }

    /// From now on packets may be so long.
    pub fn set_limit(&mut self, limit: u32) {
        self.limit = limit;
    }

    /// Takes bytes up to the end of the next packet: its number and payload. `None` when more must
    /// arrive.
    ///
    /// # Errors
    /// When the packet is longer than the limit.
    pub fn take(&mut self, input: &mut &[u8]) -> Result<Option<Packet>, TooLong> {
        while let Some(frame) = self.framer.next(input) {
            match frame {
                Frame::Header { header, .. } if header.len > self.limit => {
                    let sequence = header.sequence;
                    return Err(TooLong { sequence });
                }
                Frame::Header { header, .. } => {
                    self.sequence = header.sequence;
                    self.payload.clear();
                }
                Frame::Payload(bytes) => self.payload.extend_from_slice(bytes),
                Frame::End => {
                    return Ok(Some(Packet {
                        sequence: self.sequence,
                        payload: std::mem::take(&mut self.payload),
                    }));
                }
            }
        }
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mysql::packet::Header;

    #[test]
    fn b_2_a_packet_is_refused_by_its_header() {
        for len in [0, 1, 9, 10, 11, 0xFFFF, 0x1_0000, 0xFF_FFFE, 0xFF_FFFF] {
            let header = Header { len, sequence: 7 }.to_bytes();
            let taken = Inbox::new(10).take(&mut &header[..]);
            match len {
                0 => assert_eq!(taken.unwrap().unwrap().sequence, 7),
                1..=10 => assert_eq!(taken, Ok(None)),
                _ => assert_eq!(taken, Err(TooLong { sequence: 7 })),
            }
        }
    }

    #[test]
    fn packets_are_taken_one_at_a_time() {
        let mut inbox = Inbox::new(10);
        let mut input = &b"\x02\0\0\x01ab\x01\0\0\x02c"[..];
        let first = inbox.take(&mut input).unwrap().unwrap();
        assert_eq!((first.sequence, &first.payload[..]), (1, &b"ab"[..]));
        assert_eq!(input.len(), 5, "the next packet is not touched");
        let second = inbox.take(&mut input).unwrap().unwrap();
        assert_eq!((second.sequence, &second.payload[..]), (2, &b"c"[..]));
    }
}
