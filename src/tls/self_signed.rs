//! A certificate for those who configured none: made when the process starts, signed by itself, and
//! forgotten when it ends. Clients that do not check certificates get encryption; those that do
//! must be given a real one.

use std::time::{Duration, SystemTime};

use rcgen::{CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, KeyPair};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{PrivatePkcs8KeyDer, UnixTime};
use thiserror::Error;

use crate::limits::{SELF_SIGNED_BACKDATED, SELF_SIGNED_VALIDITY};
use crate::tls::certificates::{Certificate, CertificateError};

/// Why none could be made.
#[derive(Debug, Error)]
pub enum SelfSignedError {
    /// A name that cannot stand in a certificate, or no random numbers.
    #[error("a certificate of its own cannot be made: {0}")]
    Make(#[from] rcgen::Error),
    /// What was made does not do.
    #[error(transparent)]
    Use(#[from] CertificateError),
}

/// Makes an ECDSA P-256 key and a certificate for these host names and addresses.
///
/// # Errors
/// When a name cannot stand in a certificate, or there are no random numbers.
pub fn make(
    names: &[&str],
    now: UnixTime,
    provider: &CryptoProvider,
) -> Result<Certificate, SelfSignedError> {
    let names: Vec<String> = names.iter().map(|&name| name.into()).collect();
    let mut params = CertificateParams::new(names)?;
    let mut subject = DistinguishedName::new();
    subject.push(DnType::CommonName, "ringway self-signed");
    params.distinguished_name = subject;
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    let now = Duration::from_secs(now.as_secs());
    let at = |time| {
        SystemTime::UNIX_EPOCH
            .checked_add(time)
            .unwrap_or(SystemTime::UNIX_EPOCH)
    };
    params.not_before = at(now.saturating_sub(SELF_SIGNED_BACKDATED)).into();
    params.not_after = at(now.saturating_add(SELF_SIGNED_VALIDITY)).into();
    let key = KeyPair::generate()?;
    let certificate = params.self_signed(&key)?;
    let key_der = PrivatePkcs8KeyDer::from(key.serialize_der());
    Ok(Certificate::from_der(
        vec![certificate.der().clone()],
        key_der.into(),
        provider,
    )?)
}
