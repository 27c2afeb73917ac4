//! A simulated connection, with the peer at its other end.

use super::tls::{Conduct, TlsPeer};
use crate::worker::kernel::Farewell;

/// The byte at one offset of what one peer says: another peer's, or another offset's, is nearly
/// always another byte.
pub(super) fn pattern(peer: u32, offset: u64) -> u8 {
    ((offset as u32).wrapping_mul(2_654_435_761) >> 11) as u8 ^ (peer as u8).wrapping_mul(29)
}

/// One connection, with its peer. What a peer says and hears is what it sends and is given, or the
/// plaintext of that where it speaks TLS.
#[derive(Debug, Default)]
pub(super) struct Socket {
    /// Names the peer; what it says is `pattern(peer, ..)`.
    pub(super) peer: u32,
    /// Whose bytes the peer must hear, once a session has tied the two together.
    pub(super) counterpart: Option<u32>,
    /// Bytes the peer says. Those that could not be sent, or cannot be understood, are taken off
    /// when that is decided.
    pub(super) said: u64,
    pub(super) heard: u64,
    /// Bytes that were received from the peer.
    pub(super) taken: u64,
    /// The peer has sent FIN.
    pub(super) peer_finished: bool,
    pub(super) peer_reset: bool,
    /// The reset has been reported once; from then on it looks like an end.
    pub(super) reset_reported: bool,
    /// Bytes the peer has been given, and how many it has room for.
    pub(super) given: u64,
    pub(super) room_until: u64,
    pub(super) we_finished: bool,
    /// An operation on it has failed for want of memory.
    pub(super) short_of_memory: bool,
    pub(super) closed: Option<Farewell>,
    /// How the peer speaks TLS, if it does.
    pub(super) tls: Option<Box<TlsPeer>>,
}

impl Socket {
    /// Bytes that can be received.
    pub(super) fn available(&self) -> usize {
        match &self.tls {
            Some(tls) => tls.wire.len(),
            None => (self.said - self.taken) as usize,
        }
    }

    /// Receives that many bytes, of which there must be as many.
    pub(super) fn take(&mut self, into: &mut [u8]) {
        match &mut self.tls {
            Some(tls) => tls.take(into),
            None => {
                for (i, byte) in into.iter_mut().enumerate() {
                    *byte = pattern(self.peer, self.taken + i as u64);
                }
            }
        }
        self.taken += into.len() as u64;
    }

    /// Bytes the peer has room for.
    pub(super) fn room(&self) -> usize {
        (self.room_until - self.given) as usize
    }

    /// The peer gets bytes: what they say must be the next that its counterpart has said.
    pub(super) fn give(&mut self, bytes: &[u8]) {
        assert!(
            !self.we_finished,
            "{} bytes after a FIN: {self:?}",
            bytes.len()
        );
        self.given += bytes.len() as u64;
        match self.tls.take() {
            Some(mut tls) => {
                tls.receive(bytes, |plaintext| self.hear(plaintext));
                self.tls = Some(tls);
                self.speak();
            }
            None => self.hear(bytes),
        }
    }

    fn hear(&mut self, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        let counterpart = self
            .counterpart
            .expect("no byte goes to a peer without a session");
        for (i, &byte) in bytes.iter().enumerate() {
            let offset = self.heard + i as u64;
            let expected = pattern(counterpart, offset);
            assert_eq!(byte, expected, "byte {offset} is another one's");
        }
        self.heard += bytes.len() as u64;
    }

    /// The peer has more to say.
    pub(super) fn say(&mut self, bytes: u64) {
        if self.may_say_more() {
            self.said += bytes;
            self.speak();
        }
    }

    fn may_say_more(&self) -> bool {
        let tls = self.tls.as_ref();
        !self.peer_finished && !self.peer_reset && tls.is_none_or(|tls| tls.may_say_more())
    }

    /// The peer has said everything: it finishes as soon as it has sent that.
    pub(super) fn finish(&mut self) {
        match &mut self.tls {
            Some(tls) => {
                tls.is_finishing = true;
                self.speak();
            }
            None => self.peer_finished |= !self.peer_reset,
        }
    }

    /// The peer says, where TLS has words for it, that this is all, and leaves it at that.
    pub(super) fn say_goodbye(&mut self) {
        if let Some(tls) = &mut self.tls {
            tls.is_leaving = true;
            self.speak();
        }
    }

    /// Sends what the peer has said, as far as it can be sent.
    fn speak(&mut self) {
        let Some(tls) = &mut self.tls else { return };
        if self.peer_finished || self.peer_reset {
            return tls.fall_silent();
        }
        tls.speak(self.peer, self.said, self.taken);
        if tls.is_finishing && (tls.has_said_goodbye || !tls.can_speak()) {
            self.peer_finished = true;
            self.said = tls.sealed;
            tls.fall_silent();
        }
    }

    /// The peer is gone, and never gets what has not been sent to it.
    pub(super) fn reset(&mut self) {
        self.peer_reset = true;
        if let Some(tls) = &self.tls {
            self.said = tls.sealed;
        }
    }

    /// The peer's next records are so long.
    pub(super) fn cut_records(&mut self, record_bytes: usize) {
        if let Some(tls) = &mut self.tls {
            tls.cut_records(record_bytes);
        }
    }

    /// The peer's connection ends in the middle of what it sends.
    pub(super) fn cut_off(&mut self, dropped: usize) {
        if let Some(tls) = &mut self.tls
            && !self.peer_finished
            && !self.peer_reset
        {
            tls.cut_off(self.taken, dropped);
            self.said = tls.sealed;
            self.peer_finished = true;
        }
    }

    /// The peer sends something that is not what it should be.
    pub(super) fn misbehave(&mut self, how: usize) {
        if let Some(tls) = &mut self.tls
            && !self.peer_finished
            && !self.peer_reset
        {
            tls.misbehave(self.taken, how);
            self.said = tls.sealed;
        }
    }

    /// Whether the peer has said that it will say no more, so that nobody could have made that up.
    pub(super) fn has_ended_cleanly(&self) -> bool {
        match &self.tls {
            Some(tls) => tls.has_said_goodbye,
            None => self.peer_finished,
        }
    }

    /// Whether nothing more comes from the peer, so that it may be passed on as an end.
    pub(super) fn has_ended(&self) -> bool {
        self.peer_finished || self.has_ended_cleanly()
    }

    /// Whether the peer makes nothing of what it is given.
    pub(super) fn is_deaf(&self) -> bool {
        let tls = self.tls.as_ref();
        tls.is_some_and(|tls| tls.conduct != Conduct::Proper)
    }
}
