//! Session tickets: how a client resumes a session without the server remembering it.
//!
//! One set of keys serves the whole process, all workers and all listeners, and survives reloads. A
//! listener's [`Ticketer`] seals its tickets together with what they are good for: the name of the
//! listener and a digest of the policy under which a session was made. A ticket that is shown
//! anywhere else, or after the policy has changed, cannot be opened, and a full handshake follows.
//! Within a listener rustls resumes only sessions of the same server name.
//!
//! Keys change every [`TICKET_KEY_LIFETIME`], and the key before the current one still opens what
//! it has sealed; then it is gone, so that tickets which somebody recorded can never be opened
//! again. Readers take no lock.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use aws_lc_rs::aead::{AES_256_GCM_SIV, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use aws_lc_rs::rand;
use rustls::server::ProducesTickets;
use thiserror::Error;
use zeroize::Zeroizing;

use crate::limits::TICKET_KEY_LIFETIME;

/// Bytes in front of a ticket that say which key sealed it.
const NAME_BYTES: usize = 16;

/// The system's source of random numbers failed.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("the system gives no random numbers")]
pub struct NoRandomness;

/// The keys of all tickets of the process.
pub struct TicketKeys {
    keys: ArcSwap<Pair>,
}

/// Times are those of one monotonic clock, counted from anywhere.
struct Pair {
    current: Arc<Key>,
    previous: Option<Arc<Key>>,
    made_at: Duration,
}

struct Key {
    name: [u8; NAME_BYTES],
    aead: RandomizedNonceKey,
}

impl TicketKeys {
    /// A first key.
    ///
    /// # Errors
    /// When there are no random numbers.
    pub fn new(now: Duration) -> Result<Arc<Self>, NoRandomness> {
        let pair = Pair {
            current: Arc::new(Key::new()?),
            previous: None,
            made_at: now,
        };
        Ok(Arc::new(Self {
            keys: ArcSwap::from_pointee(pair),
        }))
    }

    /// Replaces the key when its time has come. To be called now and then, from one thread.
    ///
    /// # Errors
    /// When there are no random numbers: the keys stay as they are.
    pub fn rotate(&self, now: Duration) -> Result<(), NoRandomness> {
        let pair = self.keys.load();
        let age = now.saturating_sub(pair.made_at);
        if age < TICKET_KEY_LIFETIME {
            return Ok(());
        }
        // After a long pause the current key is older than what it sealed may live.
        let young = age < TICKET_KEY_LIFETIME.saturating_mul(2);
        self.keys.store(Arc::new(Pair {
            current: Arc::new(Key::new()?),
            previous: young.then(|| Arc::clone(&pair.current)),
            made_at: now,
        }));
        Ok(())
    }

    /// What seals the tickets of one listener under one policy. Both texts may be anything; equal
    /// ones open each other's tickets.
    pub fn ticketer(self: &Arc<Self>, listener: &str, policy: &[u8]) -> Arc<Ticketer> {
        let mut context = listener.as_bytes().to_vec();
        // No name of a listener can be the beginning of another one and its policy.
        context.push(0);
        context.extend_from_slice(policy);
        Arc::new(Ticketer {
            keys: Arc::clone(self),
            context,
        })
    }
}

impl Key {
    fn new() -> Result<Self, NoRandomness> {
        let mut name = [0; NAME_BYTES];
        let mut secret = Zeroizing::new([0; 32]);
        rand::fill(&mut name).map_err(|_| NoRandomness)?;
        rand::fill(&mut *secret).map_err(|_| NoRandomness)?;
        // Nonces are random, and there may be billions of tickets: a mode that survives a
        // repetition.
        let aead = RandomizedNonceKey::new(&AES_256_GCM_SIV, &*secret).map_err(|_| NoRandomness)?;
        Ok(Self { name, aead })
    }
}

impl fmt::Debug for TicketKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TicketKeys(..)")
    }
}

/// Seals and opens the tickets of one listener under one policy.
pub struct Ticketer {
    keys: Arc<TicketKeys>,
    context: Vec<u8>,
}

impl fmt::Debug for Ticketer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Ticketer(..)")
    }
}

/// A ticket is the key's name, the nonce, and what was sealed.
impl ProducesTickets for Ticketer {
    fn enabled(&self) -> bool {
        true
    }

    fn lifetime(&self) -> u32 {
        u32::try_from(TICKET_KEY_LIFETIME.as_secs()).unwrap_or(u32::MAX)
    }

    fn encrypt(&self, plain: &[u8]) -> Option<Vec<u8>> {
        let key = Arc::clone(&self.keys.keys.load().current);
        let mut sealed = plain.to_vec();
        let nonce = key
            .aead
            .seal_in_place_append_tag(Aad::from(&self.context), &mut sealed)
            .ok()?;
        let mut ticket = key.name.to_vec();
        ticket.extend_from_slice(nonce.as_ref());
        ticket.append(&mut sealed);
        Some(ticket)
    }

    fn decrypt(&self, ticket: &[u8]) -> Option<Vec<u8>> {
        let (name, rest) = ticket.split_first_chunk::<NAME_BYTES>()?;
        let (nonce, sealed) = rest.split_first_chunk::<NONCE_LEN>()?;
        let keys = self.keys.keys.load();
        let mut known = [Some(&keys.current), keys.previous.as_ref()]
            .into_iter()
            .flatten();
        let key = known.find(|key| key.name == *name)?;
        let mut sealed = sealed.to_vec();
        let plain = key
            .aead
            .open_in_place(
                Nonce::assume_unique_for_key(*nonce),
                Aad::from(&self.context),
                &mut sealed,
            )
            .ok()?;
        Some(plain.to_vec())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Duration = Duration::from_secs(1_000_000);

    #[test]
    fn a_ticket_opens_where_it_was_sealed_and_nowhere_else() {
        let keys = TicketKeys::new(START).unwrap();
        let web = keys.ticketer("web", b"policy");
        let ticket = web.encrypt(b"session").unwrap();
        assert_eq!(web.decrypt(&ticket).unwrap(), b"session");
        let reloaded = keys.ticketer("web", b"policy");
        assert_eq!(reloaded.decrypt(&ticket).unwrap(), b"session");
        for other in [
            keys.ticketer("api", b"policy"),
            keys.ticketer("web", b"other"),
            keys.ticketer("webpolicy", b""),
            TicketKeys::new(START).unwrap().ticketer("web", b"policy"),
        ] {
            assert_eq!(other.decrypt(&ticket), None);
        }
    }

    #[test]
    fn a_ticket_that_was_touched_does_not_open() {
        let keys = TicketKeys::new(START).unwrap();
        let web = keys.ticketer("web", b"");
        let ticket = web.encrypt(b"session").unwrap();
        for at in 0..ticket.len() {
            let mut touched = ticket.clone();
            touched[at] ^= 1;
            assert_eq!(web.decrypt(&touched), None, "byte {at}");
            assert_eq!(web.decrypt(&ticket[..at]), None, "first {at} bytes");
        }
    }

    #[test]
    fn a_key_opens_for_one_lifetime_after_its_own_and_then_never_again() {
        let keys = TicketKeys::new(START).unwrap();
        let web = keys.ticketer("web", b"");
        let ticket = web.encrypt(b"session").unwrap();
        keys.rotate(START + TICKET_KEY_LIFETIME - Duration::from_secs(1))
            .unwrap();
        assert_eq!(
            web.encrypt(b"").unwrap()[..NAME_BYTES],
            ticket[..NAME_BYTES]
        );
        keys.rotate(START + TICKET_KEY_LIFETIME).unwrap();
        assert_ne!(
            web.encrypt(b"").unwrap()[..NAME_BYTES],
            ticket[..NAME_BYTES]
        );
        assert!(web.decrypt(&ticket).is_some());
        keys.rotate(START + 2 * TICKET_KEY_LIFETIME).unwrap();
        assert_eq!(web.decrypt(&ticket), None);
    }

    #[test]
    fn a_key_that_slept_through_its_time_opens_nothing_any_more() {
        let keys = TicketKeys::new(START).unwrap();
        let web = keys.ticketer("web", b"");
        let ticket = web.encrypt(b"session").unwrap();
        keys.rotate(START + 2 * TICKET_KEY_LIFETIME).unwrap();
        assert_eq!(web.decrypt(&ticket), None);
    }

    #[test]
    fn nothing_of_a_ticketer_is_printed() {
        let keys = TicketKeys::new(START).unwrap();
        assert_eq!(format!("{:?}", keys.ticketer("web", b"")), "Ticketer(..)");
        assert_eq!(format!("{keys:?}"), "TicketKeys(..)");
    }
}
