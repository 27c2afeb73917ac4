//! A key of ringway's own, for the passwords of clients without TLS.
//!
//! A server that does not remember an account of `caching_sha2_password` wants its password. Spoken
//! to over TLS it takes it as it is; a client without TLS says it only under somebody's public key.
//! So ringway shows the client a key, as a server without TLS would, and passes the password on.

use std::fmt;

use aws_lc_rs::encoding::AsDer;
use aws_lc_rs::error::Unspecified;
use aws_lc_rs::rsa::{KeySize, OAEP_SHA1_MGF1SHA1, OaepPrivateDecryptingKey, PrivateDecryptingKey};
use thiserror::Error;
use x509_cert::der::pem::{LineEnding, encode_string};
use zeroize::Zeroizing;

use super::auth::{Password, Scramble};

/// An RSA key of 2048 bits, which is what servers make for themselves.
pub struct PasswordKey {
    private: OaepPrivateDecryptingKey,
    pem: String,
}

/// No key could be made.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("a key for the passwords of clients without TLS cannot be made")]
pub struct NoKey;

impl PasswordKey {
    /// Makes one. It takes up to half a second, so it is nothing for a thread that serves.
    ///
    /// # Errors
    /// When the system gives no random numbers.
    pub fn make() -> Result<Self, NoKey> {
        let private = PrivateDecryptingKey::generate(KeySize::Rsa2048)?;
        let public = private.public_key().as_der()?;
        let pem = encode_string("PUBLIC KEY", LineEnding::LF, public.as_ref());
        Ok(Self {
            private: OaepPrivateDecryptingKey::new(private)?,
            pem: pem.map_err(|_| NoKey)?,
        })
    }

    /// The public key, as servers send theirs.
    pub fn pem(&self) -> &str {
        &self.pem
    }

    /// The password that a client has encrypted for this key, with a NUL behind it and hidden by
    /// the scramble. `None`: it is not for this key, or is none.
    ///
    /// As much work as a TLS handshake with an RSA certificate, about a millisecond.
    pub(super) fn decrypt(&self, ciphertext: &[u8], scramble: &Scramble) -> Option<Password> {
        let mut plaintext = Zeroizing::new(vec![0; self.private.min_output_size()]);
        let decrypted = self
            .private
            .decrypt(&OAEP_SHA1_MGF1SHA1, ciphertext, &mut plaintext, None);
        let length = decrypted.ok()?.len();
        plaintext.truncate(length);
        for (byte, mask) in plaintext.iter_mut().zip(scramble.0.iter().cycle()) {
            *byte ^= mask;
        }
        (plaintext.pop()? == 0).then(|| Password::new(std::mem::take(&mut *plaintext)))
    }
}

impl fmt::Debug for PasswordKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PasswordKey(..)")
    }
}

impl From<Unspecified> for NoKey {
    fn from(_: Unspecified) -> Self {
        Self
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::mysql::auth::Signer;

    const SCRAMBLE: Scramble = Scramble(*b"abcdefghijklmnopqrst");

    fn signer(text: &str) -> Signer {
        Signer::Password(Arc::new(Password::new(text)))
    }

    #[test]
    fn a_password_comes_out_as_it_went_in() {
        let key = PasswordKey::make().unwrap();
        assert!(key.pem().starts_with("-----BEGIN PUBLIC KEY-----\n"));
        // Longer than the scramble, and as long as the key takes.
        for text in ["secret", "", &"x".repeat(213)] {
            let told = signer(text).encrypt_password(key.pem().as_bytes(), &SCRAMBLE);
            let told = told.unwrap();
            assert!(key.decrypt(&told, &SCRAMBLE) == Some(Password::new(text)));
            let other = Scramble(*b"ABCDEFGHIJKLMNOPQRST");
            assert!(key.decrypt(&told, &other).is_none(), "its NUL is not one");
        }
    }

    #[test]
    fn what_is_not_for_this_key_is_no_password() {
        let key = PasswordKey::make().unwrap();
        let other = PasswordKey::make().unwrap();
        let told = signer("secret").encrypt_password(other.pem().as_bytes(), &SCRAMBLE);
        assert!(key.decrypt(&told.unwrap(), &SCRAMBLE).is_none());
        for nonsense in [&b""[..], b"secret\0", &[0; 256], &[0xFF; 256], &[1; 4096]] {
            assert!(key.decrypt(nonsense, &SCRAMBLE).is_none());
        }
    }
}
