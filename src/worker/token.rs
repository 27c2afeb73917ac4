//! What a completion is for, packed into the 64 bits of `user_data`:
//! operation (8), leg (8), generation (24), slot (24).

use crate::limits::SLOT_BITS;

const GENERATION_BITS: u32 = 24;
const SLOT_MASK: u64 = (1 << SLOT_BITS) - 1;
/// Generations wrap here; a stale completion that is 16 million sessions old does not exist.
pub(super) const GENERATION_MASK: u32 = (1 << GENERATION_BITS) - 1;

const _: () = assert!(8 + 8 + GENERATION_BITS + SLOT_BITS == 64);

/// The kind of operation a completion belongs to. Numbered from 1: a zero `user_data` is a bug.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Op {
    /// A new connection on a listening socket; the slot is an acceptor's.
    Accept = 1,
    /// A session's connection to a server.
    Connect,
    /// Bytes from a leg's peer.
    Receive,
    /// Bytes to a leg's peer.
    Send,
    /// A leg's peer can be spliced from.
    Readable,
    /// There is room at a leg's peer.
    Room,
    /// A leg's peer, which has finished sending, has gone altogether.
    Hangup,
    /// The answer to a session's cancellation.
    Cancel,
    /// The answer to an acceptor's cancellation.
    CancelAccept,
    /// The worker's eventfd was written to; the slot is unused.
    Wake,
}

impl Op {
    const ALL: [Self; 10] = [
        Self::Accept,
        Self::Connect,
        Self::Receive,
        Self::Send,
        Self::Readable,
        Self::Room,
        Self::Hangup,
        Self::Cancel,
        Self::CancelAccept,
        Self::Wake,
    ];
}

/// A packed token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Token(u64);

impl Token {
    /// Packs; `leg` is 0 where there is only one.
    #[inline]
    pub(crate) fn new(op: Op, leg: u8, generation: u32, slot: u32) -> Self {
        debug_assert!(generation <= GENERATION_MASK && u64::from(slot) <= SLOT_MASK);
        Self(
            (op as u64) << 56
                | u64::from(leg) << 48
                | u64::from(generation) << SLOT_BITS
                | u64::from(slot),
        )
    }

    /// From a completion's `user_data`.
    ///
    /// # Panics
    /// When the operation is none of ringway's: the ring is corrupt, and going on would be worse.
    #[inline]
    pub(crate) fn from_user_data(user_data: u64) -> Self {
        let op = user_data >> 56;
        assert!(
            (1..=Op::ALL.len() as u64).contains(&op),
            "completion with unknown operation {op}"
        );
        Self(user_data)
    }

    #[inline]
    pub(crate) fn user_data(self) -> u64 {
        self.0
    }

    #[inline]
    pub(crate) fn op(self) -> Op {
        Op::ALL[(self.0 >> 56) as usize - 1]
    }

    #[inline]
    pub(crate) fn leg(self) -> usize {
        (self.0 >> 48 & 0xff) as usize
    }

    #[inline]
    pub(crate) fn generation(self) -> u32 {
        (self.0 >> SLOT_BITS) as u32 & GENERATION_MASK
    }

    #[inline]
    pub(crate) fn slot(self) -> u32 {
        (self.0 & SLOT_MASK) as u32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_goes_in_comes_out() {
        for op in Op::ALL {
            let token = Token::new(op, 1, GENERATION_MASK, SLOT_MASK as u32);
            let token = Token::from_user_data(token.user_data());
            assert_eq!(token.op(), op);
            assert_eq!(token.leg(), 1);
            assert_eq!(token.generation(), GENERATION_MASK);
            assert_eq!(token.slot(), SLOT_MASK as u32);
        }
    }

    #[test]
    #[should_panic(expected = "unknown operation")]
    fn an_uninitialised_token_is_refused() {
        Token::from_user_data(0);
    }
}
