//! The arithmetic of `mysql_native_password` and `caching_sha2_password`: signing a server's
//! scramble, verifying a client's signature, and what can be learned from one.
//!
//! Secrets are wiped when they are dropped, compared in constant time, and never printed.

use std::fmt;
use std::sync::Arc;

use aws_lc_rs::rsa::{OAEP_SHA1_MGF1SHA1, OaepPublicEncryptingKey, PublicEncryptingKey};
use rustls_pki_types::SubjectPublicKeyInfoDer;
use rustls_pki_types::pem::PemObject;
use sha1::{Digest, Sha1};
use sha2::Sha256;
use subtle::ConstantTimeEq;
use thiserror::Error;
use zeroize::{Zeroize, Zeroizing};

/// Bytes of a scramble.
pub const SCRAMBLE_BYTES: usize = 20;
/// Bytes of a signature of `caching_sha2_password`: one of SHA-256.
const SHA2_TOKEN_BYTES: usize = 32;

/// The authentication plugins that ringway can take part in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Plugin {
    /// `mysql_native_password`: SHA-1, in one exchange.
    Native,
    /// `caching_sha2_password`: SHA-256 in one exchange while the server remembers the account, a
    /// second one when it does not.
    Sha2,
}

impl Plugin {
    /// The plugin of this name.
    pub fn from_name(name: &[u8]) -> Option<Self> {
        match name {
            b"mysql_native_password" => Some(Self::Native),
            b"caching_sha2_password" => Some(Self::Sha2),
            _ => None,
        }
    }

    /// Its name in packets.
    pub const fn name(self) -> &'static [u8] {
        match self {
            Self::Native => b"mysql_native_password",
            Self::Sha2 => b"caching_sha2_password",
        }
    }

    /// Whether authentication data have a length that this plugin's have. What has not is more than
    /// a wrong password to a server: a handshake that nobody finished.
    pub fn fits(self, token: &[u8]) -> bool {
        let signed = match self {
            Self::Native => SCRAMBLE_BYTES,
            Self::Sha2 => SHA2_TOKEN_BYTES,
        };
        token.len() == signed || self.is_empty_password(token)
    }

    /// Whether these authentication data say that the password is empty.
    pub fn is_empty_password(self, token: &[u8]) -> bool {
        token.is_empty() || (self == Self::Sha2 && token == [0])
    }
}

/// What a server wants to have signed: 20 bytes without a NUL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scramble(pub [u8; SCRAMBLE_BYTES]);

impl Scramble {
    /// From random bytes: seven bits each, none of them NUL or `$`, as servers do it.
    pub fn from_random(mut bytes: [u8; SCRAMBLE_BYTES]) -> Self {
        for byte in &mut bytes {
            *byte &= 0x7F;
            if *byte == 0 || *byte == b'$' {
                *byte = byte.wrapping_add(1);
            }
        }
        Self(bytes)
    }

    /// From the 20 bytes and the NUL of an `AuthSwitchRequest`.
    pub fn from_switch(data: &[u8]) -> Option<Self> {
        let (scramble, end) = data.split_first_chunk()?;
        (end == [0]).then_some(Self(*scramble))
    }
}

/// A password in clear text.
#[derive(Clone, PartialEq, Eq)]
pub struct Password(Zeroizing<Vec<u8>>);

impl Password {
    /// Takes a password over.
    pub fn new(text: impl Into<Vec<u8>>) -> Self {
        Self(Zeroizing::new(text.into()))
    }

    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password(..)")
    }
}

/// `SHA1(SHA1(password))`, as `mysql.user` has it for `mysql_native_password`.
#[derive(Clone)]
pub struct NativeHash(Zeroizing<[u8; 20]>);

impl NativeHash {
    /// Takes a hash over.
    pub fn new(hash: [u8; 20]) -> Self {
        Self(Zeroizing::new(hash))
    }

    /// From `*` and 40 hexadecimal digits.
    pub fn parse(text: &str) -> Option<Self> {
        let digits = text.strip_prefix('*')?;
        let mut hash = Zeroizing::new([0; 20]);
        if digits.len() != 40 || !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
            return None;
        }
        for (byte, pair) in hash.iter_mut().zip(digits.as_bytes().chunks_exact(2)) {
            let pair = std::str::from_utf8(pair).ok()?;
            *byte = u8::from_str_radix(pair, 16).ok()?;
        }
        Some(Self(hash))
    }

    /// Recovers `SHA1(password)` from a client's signature of `scramble`, if that is right.
    pub fn recover(&self, scramble: &Scramble, token: &[u8]) -> Option<NativeKey> {
        let token: [u8; 20] = token.try_into().ok()?;
        let key = NativeKey(xor(token, self.mask(scramble)));
        let hash = sha1(&[&*key.0]);
        bool::from(hash.ct_eq(&*self.0)).then_some(key)
    }

    /// `SHA1(scramble + hash)`, which hides the key in a signature.
    fn mask(&self, scramble: &Scramble) -> Zeroizing<[u8; 20]> {
        sha1(&[&scramble.0, &*self.0])
    }
}

impl fmt::Debug for NativeHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("NativeHash(..)")
    }
}

/// `SHA1(password)`: all that is needed to sign for `mysql_native_password`.
#[derive(Clone)]
pub struct NativeKey(Zeroizing<[u8; 20]>);

impl NativeKey {
    fn of(password: &Password) -> Self {
        Self(sha1(&[&password.0]))
    }

    fn token(&self, scramble: &Scramble) -> Zeroizing<[u8; 20]> {
        let hash = NativeHash(sha1(&[&*self.0]));
        xor(*self.0, hash.mask(scramble))
    }
}

impl fmt::Debug for NativeKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("NativeKey(..)")
    }
}

/// What the configuration knows of an account.
#[derive(Clone, Debug)]
pub enum Credential {
    /// Its password.
    Password(Arc<Password>),
    /// The hash of it that `mysql_native_password` uses.
    NativeHash(NativeHash),
}

impl Credential {
    /// Whether a signature by this plugin can be verified.
    pub const fn knows(&self, plugin: Plugin) -> bool {
        matches!((self, plugin), (Self::Password(_), _) | (_, Plugin::Native))
    }

    /// Verifies a client's signature. What comes back can sign in the client's place.
    pub fn verify(&self, plugin: Plugin, scramble: &Scramble, token: &[u8]) -> Option<Signer> {
        match self {
            Self::NativeHash(hash) if plugin == Plugin::Native => {
                hash.recover(scramble, token).map(Signer::NativeKey)
            }
            Self::NativeHash(_) => None,
            Self::Password(password) => {
                let signer = Signer::Password(Arc::clone(password));
                let right = match password.is_empty() {
                    true => plugin.is_empty_password(token),
                    false => {
                        let expected = signer.token(plugin, scramble)?;
                        bool::from(expected.as_slice().ct_eq(token))
                    }
                };
                right.then_some(signer)
            }
        }
    }
}

/// What can sign in a client's place, at any server and any number of times.
#[derive(Clone, Debug)]
pub enum Signer {
    /// For both plugins.
    Password(Arc<Password>),
    /// For `mysql_native_password` only.
    NativeKey(NativeKey),
}

impl Signer {
    /// Signs a scramble. `None` when what is known does not suffice for this plugin.
    pub fn token(&self, plugin: Plugin, scramble: &Scramble) -> Option<Zeroizing<Vec<u8>>> {
        match (self, plugin) {
            (Self::Password(password), _) if password.is_empty() => Some(Zeroizing::default()),
            (Self::Password(password), Plugin::Native) => {
                Some(to_vec(&*NativeKey::of(password).token(scramble)))
            }
            (Self::Password(password), Plugin::Sha2) => {
                Some(to_vec(&*sha2_token(password, scramble)))
            }
            (Self::NativeKey(key), Plugin::Native) => Some(to_vec(&*key.token(scramble))),
            (Self::NativeKey(_), Plugin::Sha2) => None,
        }
    }

    /// The answer to a server that wants the password itself, over TLS.
    ///
    /// # Errors
    /// When the password is not known.
    pub fn password_in_full(&self) -> Result<Zeroizing<Vec<u8>>, KeyError> {
        let Self::Password(password) = self else {
            return Err(KeyError::PasswordUnknown);
        };
        let mut text = Zeroizing::new(Vec::with_capacity(password.0.len().saturating_add(1)));
        text.extend(password.0.iter().chain(&[0]));
        Ok(text)
    }

    /// The answer to a server that wants the password itself and has sent its public key as PEM:
    /// what `caching_sha2_password` asks for when it does not remember the account. `scramble` is
    /// the one that was signed last.
    ///
    /// The link to the server is not encrypted, so the key is whatever came over it. This keeps the
    /// password from those who listen, not from those who can change what is sent.
    ///
    /// # Errors
    /// When the password is not known, or the key cannot be used.
    pub fn encrypt_password(&self, pem: &[u8], scramble: &Scramble) -> Result<Vec<u8>, KeyError> {
        let Self::Password(password) = self else {
            return Err(KeyError::PasswordUnknown);
        };
        let der =
            SubjectPublicKeyInfoDer::from_pem_slice(pem).map_err(|_| KeyError::NoPublicKey)?;
        let key = PublicEncryptingKey::from_der(&der).map_err(|_| KeyError::NoPublicKey)?;
        let key = OaepPublicEncryptingKey::new(key).map_err(|_| KeyError::NoPublicKey)?;
        let mut plaintext = Zeroizing::new(Vec::with_capacity(password.0.len().saturating_add(1)));
        let characters = password.0.iter().chain(&[0]);
        plaintext.extend(
            characters
                .zip(scramble.0.iter().cycle())
                .map(|(a, b)| a ^ b),
        );
        let mut out = vec![0; key.ciphertext_size()];
        let written = key
            .encrypt(&OAEP_SHA1_MGF1SHA1, &plaintext, &mut out, None)
            .map_err(|_| KeyError::PasswordTooLong)?
            .len();
        out.truncate(written);
        Ok(out)
    }
}

/// Why a password cannot be encrypted for a server.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum KeyError {
    /// Only the hash is known.
    #[error("the server wants the password, of which only the hash is known")]
    PasswordUnknown,
    /// The server has sent something else than a PEM of an RSA key of 2048 to 8192 bits.
    #[error("the server's public key cannot be used")]
    NoPublicKey,
    /// The password does not fit into one block.
    #[error("the password is too long for the server's public key")]
    PasswordTooLong,
}

/// `SHA256(password) XOR SHA256(SHA256(SHA256(password)) + scramble)`.
fn sha2_token(password: &Password, scramble: &Scramble) -> Zeroizing<[u8; 32]> {
    let key = sha256(&[&password.0]);
    let hash = sha256(&[&*key]);
    xor(*key, sha256(&[&*hash, &scramble.0]))
}

fn sha1(parts: &[&[u8]]) -> Zeroizing<[u8; 20]> {
    let mut hasher = Sha1::new();
    parts.iter().for_each(|part| hasher.update(part));
    Zeroizing::new(hasher.finalize().into())
}

fn sha256(parts: &[&[u8]]) -> Zeroizing<[u8; 32]> {
    let mut hasher = Sha256::new();
    parts.iter().for_each(|part| hasher.update(part));
    Zeroizing::new(hasher.finalize().into())
}

fn xor<const N: usize>(mut a: [u8; N], b: Zeroizing<[u8; N]>) -> Zeroizing<[u8; N]> {
    let result = std::array::from_fn(|i| a.get(i).zip(b.get(i)).map_or(0, |(a, b)| a ^ b));
    a.zeroize();
    Zeroizing::new(result)
}

fn to_vec(bytes: &[u8]) -> Zeroizing<Vec<u8>> {
    Zeroizing::new(bytes.to_vec())
}

#[cfg(test)]
pub(super) mod tests {
    use x509_cert::der::pem::{LineEnding, encode_string};

    use super::*;

    const SCRAMBLE: Scramble = Scramble([
        10, 47, 74, 111, 75, 73, 34, 48, 88, 76, 114, 74, 37, 13, 3, 80, 82, 2, 23, 21,
    ]);
    const OTHER: Scramble = Scramble(*b"abcdefghijklmnopqrst");
    const HASH: &str = "*14e65567abdb5135d0cfd9a70b3032c179a49ee7";

    fn password(text: &str) -> Credential {
        Credential::Password(Arc::new(Password::new(text)))
    }

    fn signer(text: &str) -> Signer {
        Signer::Password(Arc::new(Password::new(text)))
    }

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    #[test]
    fn signatures_are_those_of_other_implementations() {
        let native = signer("secret").token(Plugin::Native, &SCRAMBLE).unwrap();
        assert_eq!(hex(&native), "6a149bdd80bda1ebf0fa2bd2cf2e9717fecc34bb");
        let sha2 = signer("secret").token(Plugin::Sha2, &SCRAMBLE).unwrap();
        let expected = "f490e76f66d9d86665ce54d98c78d0acfe2fb0b08b423da807144873d30b312c";
        assert_eq!(hex(&sha2), expected);
    }

    #[test]
    fn a_right_signature_is_told_from_a_wrong_one() {
        for plugin in [Plugin::Native, Plugin::Sha2] {
            let token = signer("secret").token(plugin, &SCRAMBLE).unwrap();
            assert!(
                password("secret")
                    .verify(plugin, &SCRAMBLE, &token)
                    .is_some()
            );
            assert!(password("secret").verify(plugin, &OTHER, &token).is_none());
            assert!(
                password("Secret")
                    .verify(plugin, &SCRAMBLE, &token)
                    .is_none()
            );
            assert!(password("").verify(plugin, &SCRAMBLE, &token).is_none());
            for len in 0..token.len() {
                let short = password("secret").verify(plugin, &SCRAMBLE, &token[..len]);
                assert!(short.is_none());
            }
        }
    }

    #[test]
    fn an_empty_password_is_signed_with_nothing() {
        for plugin in [Plugin::Native, Plugin::Sha2] {
            assert!(signer("").token(plugin, &SCRAMBLE).unwrap().is_empty());
            assert!(password("").verify(plugin, &SCRAMBLE, b"").is_some());
            assert!(password("secret").verify(plugin, &SCRAMBLE, b"").is_none());
        }
        assert!(
            password("")
                .verify(Plugin::Sha2, &SCRAMBLE, b"\0")
                .is_some()
        );
        assert!(
            password("")
                .verify(Plugin::Native, &SCRAMBLE, b"\0")
                .is_none()
        );
    }

    #[test]
    fn who_knows_the_hash_learns_the_key_from_one_signature() {
        let hash = Credential::NativeHash(NativeHash::parse(HASH).unwrap());
        let token = signer("secret").token(Plugin::Native, &SCRAMBLE).unwrap();
        let learned = hash.verify(Plugin::Native, &SCRAMBLE, &token).unwrap();
        assert_eq!(
            learned.token(Plugin::Native, &OTHER),
            signer("secret").token(Plugin::Native, &OTHER)
        );
        assert!(learned.token(Plugin::Sha2, &OTHER).is_none());
        assert!(hash.verify(Plugin::Native, &OTHER, &token).is_none());
        let wrong = signer("wrong").token(Plugin::Native, &SCRAMBLE).unwrap();
        assert!(hash.verify(Plugin::Native, &SCRAMBLE, &wrong).is_none());
        assert!(
            !hash.knows(Plugin::Sha2) && hash.verify(Plugin::Sha2, &SCRAMBLE, &token).is_none()
        );
    }

    #[test]
    fn hashes_are_read_as_the_server_writes_them() {
        assert!(NativeHash::parse(&HASH.to_uppercase()).is_some());
        for wrong in [
            "",
            "*",
            &HASH[1..],
            &HASH[..40],
            "*+f00000000000000000000000000000000000000",
        ] {
            assert!(NativeHash::parse(wrong).is_none(), "{wrong}");
        }
    }

    #[test]
    fn a_scramble_has_no_byte_that_would_end_it() {
        let scramble =
            Scramble::from_random(std::array::from_fn(|i| (i as u8).wrapping_mul(0x24) | 0x80));
        assert!(scramble.0.iter().all(|&b| b != 0 && b != b'$' && b < 0x80));
        assert_eq!(
            Scramble::from_switch(b"abcdefghijklmnopqrst\0"),
            Some(OTHER)
        );
        for wrong in [
            &b"abcdefghijklmnopqrst"[..],
            b"abcdefghijklmnopqrst1",
            b"short\0",
            b"",
        ] {
            assert_eq!(Scramble::from_switch(wrong), None);
        }
    }

    #[test]
    fn secrets_are_not_printed() {
        let shown = format!(
            "{:?} {:?} {:?}",
            password("hunter2"),
            signer("hunter2"),
            NativeHash::parse(HASH),
        );
        let numbers = format!("{:?}", b"hunter2");
        assert!(
            !shown.contains("hunter2") && !shown.contains(&numbers),
            "{shown}"
        );
        assert!(!shown.to_lowercase().contains(&HASH[1..9]), "{shown}");
    }

    #[test]
    fn a_password_is_encrypted_for_the_key_of_a_server() {
        use aws_lc_rs::encoding::AsDer;
        use aws_lc_rs::rsa::{KeySize, OaepPrivateDecryptingKey, PrivateDecryptingKey};

        let private = PrivateDecryptingKey::generate(KeySize::Rsa2048).unwrap();
        let der = private.public_key().as_der().unwrap();
        let pem = pem_of(der.as_ref());
        let ciphertext = signer("secret")
            .encrypt_password(pem.as_bytes(), &SCRAMBLE)
            .unwrap();
        assert_eq!(ciphertext.len(), 256);

        let private = OaepPrivateDecryptingKey::new(private).unwrap();
        let mut out = vec![0; private.min_output_size()];
        let plain = private
            .decrypt(&OAEP_SHA1_MGF1SHA1, &ciphertext, &mut out, None)
            .unwrap();
        let password: Vec<u8> = plain.iter().zip(SCRAMBLE.0).map(|(a, b)| a ^ b).collect();
        assert_eq!(password, b"secret\0");

        let long = signer(&"x".repeat(300)).encrypt_password(pem.as_bytes(), &SCRAMBLE);
        assert_eq!(long, Err(KeyError::PasswordTooLong));
    }

    #[test]
    fn what_is_no_key_is_refused() {
        for wrong in [
            &b""[..],
            b"no key",
            b"-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n",
        ] {
            let refused = signer("secret").encrypt_password(wrong, &SCRAMBLE);
            assert_eq!(refused, Err(KeyError::NoPublicKey));
        }
    }

    pub(in crate::mysql) fn pem_of(der: &[u8]) -> String {
        encode_string("PUBLIC KEY", LineEnding::LF, der).unwrap()
    }
}
