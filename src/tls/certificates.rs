//! Certificates and keys: read from PEM, checked against each other, and chosen for a client.
//!
//! A certificate answers for the names that stand in it. A client gets one for the name it asks for
//! (the exact name, then a wildcard), else the first that was configured; and among certificates of
//! the same names one whose algorithm it knows, ECDSA before RSA because that is far cheaper.

use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer, UnixTime};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::{CertifiedKey, SigningKey};
use rustls::{Error as TlsError, SignatureAlgorithm, SignatureScheme};
use thiserror::Error;
use x509_cert::der::asn1::AnyRef;
use x509_cert::der::{self, Decode, SliceReader, Tag, Tagged};
use x509_cert::ext::pkix::SubjectAltName;
use x509_cert::ext::pkix::name::GeneralName;
use x509_cert::time::Time;
use x509_cert::{Certificate as X509, TbsCertificate};

use crate::limits::SUBJECT_BYTES_MAX;
use crate::tls::names::{Names, Pattern};

/// A file that has been read, and how to call it in messages.
#[derive(Clone, Copy)]
pub struct File<'a> {
    /// Its path.
    pub path: &'a str,
    /// What is in it.
    pub bytes: &'a [u8],
}

/// What is wrong with a certificate or a key, and in which file.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum CertificateError {
    /// No PEM, or a broken one.
    #[error("{path}: not a PEM file: {what}")]
    BadPem {
        /// The file.
        path: String,
        /// What is wrong with it.
        what: String,
    },
    /// A certificate that cannot be read.
    #[error("{path}: certificate {number} cannot be read: {what}")]
    BadCertificate {
        /// The file.
        path: String,
        /// Which one in the file, counted from 1.
        number: usize,
        /// What is wrong with it.
        what: String,
    },
    /// A key of a kind that cannot be used.
    #[error("{path}: the key cannot be used: {what}")]
    BadKey {
        /// The file.
        path: String,
        /// What is wrong with it.
        what: String,
    },
    /// A revocation list that cannot be read.
    #[error("{path}: revocation list {number} cannot be read: {what}")]
    BadRevocationList {
        /// The file.
        path: String,
        /// Which one in the file, counted from 1.
        number: usize,
        /// What is wrong with it.
        what: String,
    },
    /// No OCSP response, or one that says that there is none.
    #[error("{path}: not a successful OCSP response in DER")]
    BadStaple {
        /// The file.
        path: String,
    },
    /// A key with a passphrase.
    #[error(
        "{path}: the key is protected with a passphrase, which nobody could type at a reload; \
         remove it with `openssl pkey -in {path} -out FILE`"
    )]
    EncryptedKey {
        /// The file.
        path: String,
    },
    /// Certificate and key do not belong together.
    #[error("{key}: the key does not belong to the certificate in {certificate}{hint}")]
    Mismatch {
        /// The file with the certificate.
        certificate: String,
        /// The file with the key.
        key: String,
        /// What could be the reason.
        hint: &'static str,
    },
    /// Nothing in the file of what was looked for.
    #[error("{path}: there is no {what} in it")]
    Missing {
        /// The file.
        path: String,
        /// What was looked for.
        what: &'static str,
    },
    /// No certificate at all.
    #[error("no certificate is configured")]
    NothingConfigured,
}

impl CertificateError {
    /// The file that is at fault, if it is one.
    pub fn path(&self) -> Option<&str> {
        match self {
            Self::BadPem { path, .. }
            | Self::BadCertificate { path, .. }
            | Self::BadKey { path, .. }
            | Self::BadRevocationList { path, .. }
            | Self::BadStaple { path }
            | Self::EncryptedKey { path }
            | Self::Mismatch { key: path, .. }
            | Self::Missing { path, .. } => Some(path),
            Self::NothingConfigured => None,
        }
    }
}

/// A certificate with its chain and key, ready for use.
#[derive(Clone, Debug)]
pub struct Certificate {
    key: Arc<CertifiedKey>,
    names: Vec<Pattern>,
    subject: String,
    not_before: UnixTime,
    not_after: UnixTime,
    ends_with: String,
}

/// Whether a certificate is valid at some time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Validity {
    /// No longer, for so long.
    ExpiredFor(Duration),
    /// Not before so much time has passed.
    NotFor(Duration),
    /// For so long.
    ValidFor(Duration),
}

impl Certificate {
    /// Reads a certificate (with its chain behind it) and its key, and checks that they belong
    /// together. Both may be in the same file. Whether it is valid now is another question:
    /// [`Certificate::validity`].
    ///
    /// # Errors
    /// When a file does not have what it should, or they do not belong together.
    pub fn read(
        certificate: File<'_>,
        key: File<'_>,
        staple: Option<File<'_>>,
        provider: &CryptoProvider,
    ) -> Result<Self, CertificateError> {
        let chain = read_certificates(certificate)?;
        let private_key = load_key(read_key(key)?, key.path, provider)?;
        let fits = |number: usize| {
            let rest = chain.get(number..).unwrap_or_default().to_vec();
            let pair = CertifiedKey::new(rest, Arc::clone(&private_key));
            !matches!(pair.keys_match(), Err(TlsError::InconsistentKeys(_)))
        };
        if !fits(0) {
            let hint = match (1..chain.len()).any(fits) {
                true => "; it belongs to a later one in that file, but the server's comes first",
                false => "",
            };
            return Err(CertificateError::Mismatch {
                certificate: certificate.path.into(),
                key: key.path.into(),
                hint,
            });
        }
        let mut pair = CertifiedKey::new(chain, private_key);
        pair.ocsp = staple.map(read_staple).transpose()?;
        Self::new(pair, certificate.path)
    }

    /// From what has just been made, in DER.
    pub(super) fn from_der(
        chain: Vec<CertificateDer<'static>>,
        key: PrivateKeyDer<'static>,
        provider: &CryptoProvider,
    ) -> Result<Self, CertificateError> {
        let path = "self-signed";
        Self::new(
            CertifiedKey::new(chain, load_key(key, path, provider)?),
            path,
        )
    }

    fn new(pair: CertifiedKey, path: &str) -> Result<Self, CertificateError> {
        let bad = |number: usize, what: String| CertificateError::BadCertificate {
            path: path.into(),
            number,
            what,
        };
        let mut chain = pair.cert.iter().enumerate().map(|(index, der)| {
            let number = index.saturating_add(1);
            X509::from_der(der).map_err(|error| bad(number, error.to_string()))
        });
        let own = chain.next().ok_or_else(|| missing(path, "certificate"))??;
        let issuers = chain.collect::<Result<Vec<_>, _>>()?;
        let own = own.tbs_certificate();
        let not_after = |one: &TbsCertificate| unix_time(one.validity().not_after);
        let issuers = issuers.iter().map(X509::tbs_certificate);
        let first_to_end = issuers.fold(own, |first, one| {
            match not_after(one).as_secs() < not_after(first).as_secs() {
                true => one,
                false => first,
            }
        });
        Ok(Self {
            names: names_of(own).map_err(|error| bad(1, error.to_string()))?,
            subject: printable(&own.subject().to_string()),
            not_before: unix_time(own.validity().not_before),
            not_after: not_after(first_to_end),
            ends_with: printable(&first_to_end.subject().to_string()),
            key: Arc::new(pair),
        })
    }

    /// The names it answers for. Wildcards stand for one label.
    pub fn names(&self) -> &[Pattern] {
        &self.names
    }

    /// Whose it is (RFC 4514).
    pub fn subject(&self) -> &str {
        &self.subject
    }

    /// The subject of the first to expire, of it and its chain.
    pub fn ends_with(&self) -> &str {
        &self.ends_with
    }

    /// When the first expires, of it and its chain.
    pub fn not_after(&self) -> UnixTime {
        self.not_after
    }

    /// Whether it is valid.
    pub fn validity(&self, now: UnixTime) -> Validity {
        let (now, from, to) = (
            now.as_secs(),
            self.not_before.as_secs(),
            self.not_after.as_secs(),
        );
        let seconds = |later: u64, earlier: u64| Duration::from_secs(later.saturating_sub(earlier));
        if now < from {
            Validity::NotFor(seconds(from, now))
        } else if now > to {
            Validity::ExpiredFor(seconds(now, to))
        } else {
            Validity::ValidFor(seconds(to, now))
        }
    }

    /// The algorithm of its key.
    pub fn algorithm(&self) -> &'static str {
        match self.key.key.algorithm() {
            SignatureAlgorithm::ECDSA => "ECDSA",
            SignatureAlgorithm::ED25519 => "Ed25519",
            SignatureAlgorithm::RSA => "RSA",
            _ => "other",
        }
    }

    /// The certificate with its chain and key, as rustls has them: for those who show it to a
    /// server.
    pub fn certified_key(&self) -> &Arc<CertifiedKey> {
        &self.key
    }

    /// Whether whoever can check the signatures of one can check those of the other.
    pub fn is_checked_as(&self, other: &Self) -> bool {
        const KINDS: [SignatureScheme; 5] = [
            SignatureScheme::ECDSA_NISTP256_SHA256,
            SignatureScheme::ECDSA_NISTP384_SHA384,
            SignatureScheme::ECDSA_NISTP521_SHA512,
            SignatureScheme::ED25519,
            SignatureScheme::RSA_PSS_SHA256,
        ];
        let kind = |one: &Self| Some(one.key.key.choose_scheme(&KINDS)?.scheme());
        kind(self) == kind(other)
    }

    /// Cheaper to sign with comes first.
    fn rank(&self) -> u8 {
        match self.key.key.algorithm() {
            SignatureAlgorithm::ECDSA => 0,
            SignatureAlgorithm::ED25519 => 1,
            _ => 2,
        }
    }
}

/// The certificates of a listener.
#[derive(Debug)]
pub struct CertificateSet {
    certificates: Vec<Certificate>,
    /// By name, the best first: positions in `certificates`.
    by_name: Names<Vec<usize>>,
    /// For clients that ask for no name, or one that is not there.
    default: Vec<usize>,
}

impl CertificateSet {
    /// Of these certificates the first one, with those of the same names, is for clients that ask
    /// for another name or none.
    ///
    /// # Errors
    /// When there is none.
    pub fn new(certificates: Vec<Certificate>) -> Result<Self, CertificateError> {
        let first = certificates
            .first()
            .ok_or(CertificateError::NothingConfigured)?;
        let names_of = |one: &Certificate| one.names.iter().cloned().collect::<HashSet<_>>();
        let best_first = |group: &mut Vec<usize>| {
            group.sort_by_key(|&index| certificates.get(index).map(Certificate::rank));
        };
        let default_names = names_of(first);
        let mut by_name = Names::<Vec<usize>>::default();
        let mut default = Vec::new();
        for (index, certificate) in certificates.iter().enumerate() {
            let names = names_of(certificate);
            if index == 0 || names == default_names {
                default.push(index);
            }
            for name in &names {
                by_name.entry(name).push(index);
            }
        }
        by_name.values_mut().for_each(best_first);
        best_first(&mut default);
        Ok(Self {
            certificates,
            by_name,
            default,
        })
    }

    /// All of them, in the order of the configuration.
    pub fn certificates(&self) -> &[Certificate] {
        &self.certificates
    }

    /// The certificate for a client that asks for this host (in lower case) and knows these
    /// signature algorithms. None when it knows none that fits.
    pub fn choose(&self, host: Option<&str>, known: &[SignatureScheme]) -> Option<&Certificate> {
        let named = host.and_then(|host| self.by_name.of_certificate(host));
        let groups = [named, Some(&self.default)].into_iter().flatten();
        let candidates = groups
            .flatten()
            .filter_map(|&index| self.certificates.get(index));
        candidates
            .into_iter()
            .find(|candidate| candidate.key.key.choose_scheme(known).is_some())
    }
}

impl ResolvesServerCert for CertificateSet {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let host = hello.server_name().map(str::to_ascii_lowercase);
        let host = host
            .as_deref()
            .map(|host| host.strip_suffix('.').unwrap_or(host));
        let chosen = self.choose(host, hello.signature_schemes());
        // Without one that fits, any leads to the error that says so.
        let any = || self.certificates.first();
        chosen.or_else(any).map(|chosen| Arc::clone(&chosen.key))
    }
}

/// The certificates of a PEM file, in their order. Other things in the file are passed over.
///
/// # Errors
/// When there is none, or the file is broken.
pub fn read_certificates(file: File<'_>) -> Result<Vec<CertificateDer<'static>>, CertificateError> {
    read_all(file, "certificate")
}

/// A list of certificates that their issuer has revoked.
#[derive(Clone, Debug)]
pub struct RevocationList {
    der: CertificateRevocationListDer<'static>,
    next_update: Option<UnixTime>,
}

impl RevocationList {
    /// The list as rustls has it.
    pub fn der(&self) -> &CertificateRevocationListDer<'static> {
        &self.der
    }

    /// When its issuer has promised a newer one at the latest: it is good for nothing after that.
    pub fn next_update(&self) -> Option<UnixTime> {
        self.next_update
    }
}

/// The revocation lists of a PEM file.
///
/// # Errors
/// When there is none, or the file is broken.
pub fn read_revocation_lists(file: File<'_>) -> Result<Vec<RevocationList>, CertificateError> {
    let found = read_all(file, "revocation list (`X509 CRL`)")?;
    let read = |(index, der): (usize, CertificateRevocationListDer<'static>)| {
        let next_update =
            next_update(&der).map_err(|error| CertificateError::BadRevocationList {
                path: file.path.into(),
                number: index.saturating_add(1),
                what: error.to_string(),
            })?;
        Ok(RevocationList {
            der,
            next_update: next_update.map(unix_time),
        })
    };
    found.into_iter().enumerate().map(read).collect()
}

/// What a list says in front of its entries, of which there may be a million (RFC 5280, section
/// 5.1): version, algorithm, issuer, when it was made, and when the next one is due.
fn next_update(list: &[u8]) -> der::Result<Option<Time>> {
    let list = AnyRef::from_der(list)?;
    let to_be_signed = AnyRef::decode(&mut SliceReader::new(list.value())?)?;
    let mut fields = SliceReader::new(to_be_signed.value())?;
    for _ in ["version", "algorithm", "issuer"] {
        AnyRef::decode(&mut fields)?;
    }
    Time::decode(&mut fields)?;
    Option::<Time>::decode(&mut fields)
}

fn read_all<T: PemObject>(file: File<'_>, what: &'static str) -> Result<Vec<T>, CertificateError> {
    let found = T::pem_slice_iter(file.bytes)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| bad_pem(file, &error))?;
    if found.is_empty() {
        return Err(missing(file.path, what));
    }
    Ok(found)
}

fn read_key(file: File<'_>) -> Result<PrivateKeyDer<'static>, CertificateError> {
    PrivateKeyDer::from_pem_slice(file.bytes).map_err(|error| {
        let encrypted: [&[u8]; 2] = [b"BEGIN ENCRYPTED PRIVATE KEY", b"Proc-Type: 4,ENCRYPTED"];
        let contains = |mark: &&[u8]| file.bytes.windows(mark.len()).any(|part| part == *mark);
        if encrypted.iter().any(contains) {
            return CertificateError::EncryptedKey {
                path: file.path.into(),
            };
        }
        match error {
            pem::Error::NoItemsFound => missing(file.path, "private key"),
            error => bad_pem(file, &error),
        }
    })
}

fn load_key(
    key: PrivateKeyDer<'static>,
    path: &str,
    provider: &CryptoProvider,
) -> Result<Arc<dyn SigningKey>, CertificateError> {
    let bad = |error: TlsError| CertificateError::BadKey {
        path: path.into(),
        what: error.to_string(),
    };
    provider.key_provider.load_private_key(key).map_err(bad)
}

/// An OCSP response is opaque here, but one that carries no answer is worth nothing: it is a
/// sequence that starts with the status 0 (RFC 6960, section 4.2.1). One that is torn is none.
fn read_staple(file: File<'_>) -> Result<Vec<u8>, CertificateError> {
    let has_answer = AnyRef::from_der(file.bytes).is_ok_and(|response| {
        response.tag() == Tag::Sequence && response.value().starts_with(&[0x0A, 1, 0])
    });
    match has_answer {
        true => Ok(file.bytes.to_vec()),
        false => Err(CertificateError::BadStaple {
            path: file.path.into(),
        }),
    }
}

fn unix_time(time: Time) -> UnixTime {
    UnixTime::since_unix_epoch(time.to_unix_duration())
}

fn missing(path: &str, what: &'static str) -> CertificateError {
    CertificateError::Missing {
        path: path.into(),
        what,
    }
}

fn bad_pem(file: File<'_>, error: &pem::Error) -> CertificateError {
    let what = match error {
        pem::Error::MissingSectionEnd { end_marker } => {
            let label = String::from_utf8_lossy(end_marker);
            format!("its end is missing, `-----END {label}-----`: was it cut off?")
        }
        pem::Error::IllegalSectionStart { line } => {
            let line = String::from_utf8_lossy(line);
            format!("the line `{}` begins nothing", line.trim())
        }
        pem::Error::Base64Decode(_) => "what stands between its lines is not base64".into(),
        error => error.to_string(),
    };
    CertificateError::BadPem {
        path: file.path.into(),
        what,
    }
}

/// Whether this is a key and no certificate: then somebody has mixed up two files.
pub fn is_key_alone(bytes: &[u8]) -> bool {
    let contains = |mark: &[u8]| bytes.windows(mark.len()).any(|part| part == mark);
    contains(b"PRIVATE KEY-----") && !contains(b"-----BEGIN CERTIFICATE-----")
}

/// The host names of a certificate: those of its extension, or its common name when it has none.
/// What is there and no host name (an address, say) is passed over.
fn names_of(certificate: &TbsCertificate) -> Result<Vec<Pattern>, der::Error> {
    let alternatives = certificate.get_extension::<SubjectAltName>()?;
    let texts: Vec<String> = match alternatives {
        Some((_, SubjectAltName(names))) => names
            .into_iter()
            .filter_map(|name| match name {
                GeneralName::DnsName(name) => Some(name.as_str().to_owned()),
                _ => None,
            })
            .collect(),
        None => {
            let common = certificate.subject().common_name()?;
            common
                .map(|name| name.value().into_owned())
                .into_iter()
                .collect()
        }
    };
    let patterns = texts.iter().filter_map(|text| Pattern::parse(text).ok());
    Ok(patterns.collect())
}

/// The subject of a certificate (RFC 4514), shortened and without control characters; nothing if
/// the certificate cannot be read.
pub fn subject(certificate: &CertificateDer<'_>) -> Option<String> {
    let certificate = X509::from_der(certificate).ok()?;
    Some(printable(
        &certificate.tbs_certificate().subject().to_string(),
    ))
}

/// What may stand in a log: whoever signs a certificate chooses what is in it.
fn printable(text: &str) -> String {
    let mut printable = String::new();
    for part in text.chars() {
        let end = printable.len();
        match part.is_control() {
            true => printable.extend(part.escape_default()),
            false => printable.push(part),
        }
        if printable.len() > SUBJECT_BYTES_MAX {
            printable.truncate(end);
            break;
        }
    }
    printable
}

impl fmt::Display for Validity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let days = |duration: &Duration| duration.as_secs() / (24 * 60 * 60);
        match self {
            Self::ExpiredFor(time) => write!(f, "expired {} days ago", days(time)),
            Self::NotFor(time) => write!(f, "valid only in {} days", days(time)),
            Self::ValidFor(time) => write!(f, "valid for {} more days", days(time)),
        }
    }
}
