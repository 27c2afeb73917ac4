//! Why a connection with TLS fails, in words for those who run ringway: what rustls calls things is
//! for those who know rustls.

use std::borrow::Cow;
use std::fmt;

use rustls::{AlertDescription, CertificateError, Error, InvalidMessage, PeerIncompatible};

/// What is wrong with a peer from before 2008.
const TOO_OLD: &str = "knows only versions of TLS older than 1.2";

/// Why a connection failed.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Failure {
    /// The peer said so.
    Alert(Cow<'static, str>),
    /// The peer's certificate does not do.
    Certificate(Cow<'static, str>),
    /// A certificate was asked for and not shown.
    CertificateMissing,
    /// A record that was changed on its way, or made with other keys.
    Decrypt,
    /// So much was sent under one key that it must not be used any more.
    KeysUsedUp,
    /// The peer broke the protocol.
    Misbehaved(Cow<'static, str>),
    /// The peer speaks TLS, but shares no version, cipher suite or the like with this side.
    NothingInCommon(Cow<'static, str>),
    /// What the peer sent is not TLS at all.
    NotTls,
    /// This side's fault.
    Ours(Cow<'static, str>),
    /// A handshake message, or its pieces, longer than anyone needs.
    TooLong,
}

impl Failure {
    /// Whether it is the other side that has to change something.
    pub fn is_peers(&self) -> bool {
        !matches!(self, Self::KeysUsedUp | Self::Ours(_))
    }

    /// Of a peer that offers no TLS that is still in use.
    pub fn too_old() -> Self {
        Self::NothingInCommon(TOO_OLD.into())
    }

    /// What has happened, with a peer of this kind: `client`, `server`.
    pub fn with(&self, peer: &str) -> String {
        match self {
            Self::Alert(why) => format!("the {peer} broke off with the alert {why}"),
            Self::Certificate(why) => format!("the {peer}'s certificate is not accepted: {why}"),
            Self::CertificateMissing => format!("the {peer} showed no certificate"),
            Self::Decrypt => format!("what the {peer} sent cannot be decrypted"),
            Self::KeysUsedUp => "the keys are used up".into(),
            Self::Misbehaved(why) => format!("the {peer} broke the protocol: {why}"),
            Self::NothingInCommon(why) => format!("nothing in common: the {peer} {why}"),
            Self::NotTls => format!("the {peer} does not speak TLS"),
            Self::Ours(why) => format!("ringway failed: {why}"),
            Self::TooLong => format!("a handshake message of the {peer} is too long"),
        }
    }
}

impl std::error::Error for Failure {}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.with("peer"))
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        match error {
            Error::AlertReceived(alert) => Self::Alert(alerted(alert)),
            Error::InvalidCertificate(why) => Self::Certificate(unacceptable(&why)),
            Error::NoCertificatesPresented => Self::CertificateMissing,
            Error::DecryptError => Self::Decrypt,
            Error::PeerIncompatible(why) => Self::NothingInCommon(incompatible(&why)),
            Error::NoApplicationProtocol => {
                Self::NothingInCommon("offers no application protocol that is spoken here".into())
            }
            Error::InvalidMessage(InvalidMessage::InvalidContentType) => Self::NotTls,
            Error::InvalidMessage(InvalidMessage::HandshakePayloadTooLarge) => Self::TooLong,
            error @ (Error::InvalidMessage(_)
            | Error::PeerMisbehaved(_)
            | Error::InappropriateMessage { .. }
            | Error::InappropriateHandshakeMessage { .. }
            | Error::PeerSentOversizedRecord) => Self::Misbehaved(error.to_string().into()),
            error => Self::Ours(error.to_string().into()),
        }
    }
}

/// What an alert is called in RFC 8446 (section 6), and what it means.
fn alerted(alert: AlertDescription) -> Cow<'static, str> {
    let words = match alert {
        AlertDescription::AccessDenied => "access_denied: it lets nobody in with this certificate",
        AlertDescription::BadCertificate => "bad_certificate: it does not accept the certificate",
        AlertDescription::BadRecordMac => "bad_record_mac: it cannot decrypt what it was sent",
        AlertDescription::CertificateExpired => "certificate_expired: the certificate has expired",
        AlertDescription::CertificateRequired => "certificate_required: it wants a certificate",
        AlertDescription::CertificateRevoked => "certificate_revoked: the certificate was revoked",
        AlertDescription::CertificateUnknown => {
            "certificate_unknown: it does not accept the certificate"
        }
        AlertDescription::DecodeError => "decode_error: it cannot read a message",
        AlertDescription::DecryptError => "decrypt_error: a signature or its like is wrong to it",
        AlertDescription::HandshakeFailure => {
            "handshake_failure: it found nothing in common, or wants a certificate"
        }
        AlertDescription::IllegalParameter => "illegal_parameter: it does not accept a message",
        AlertDescription::InsufficientSecurity => {
            "insufficient_security: it wants stronger cipher suites"
        }
        AlertDescription::InternalError => "internal_error: it has troubles of its own",
        AlertDescription::NoApplicationProtocol => {
            "no_application_protocol: it speaks none of those that were offered"
        }
        AlertDescription::ProtocolVersion => {
            "protocol_version: it speaks no version of TLS that is spoken here"
        }
        AlertDescription::UnexpectedMessage => "unexpected_message: it expected another message",
        AlertDescription::UnknownCA => "unknown_ca: it does not trust who signed the certificate",
        AlertDescription::UnrecognisedName => {
            "unrecognized_name: it knows no server of the name that was asked for"
        }
        AlertDescription::UnsupportedCertificate => {
            "unsupported_certificate: it knows no certificates of this kind"
        }
        AlertDescription::UserCanceled => "user_canceled: it was told to stop",
        other => return format!("number {}", u8::from(other)).into(),
    };
    words.into()
}

/// Why a certificate does not do: the same words each time, so that a log can count them. What rustls
/// has no name for it hands on wrapped up, and what it has only a name for it writes as that.
fn unacceptable(why: &CertificateError) -> Cow<'static, str> {
    let words = match why {
        CertificateError::ApplicationVerificationFailure => "it was refused",
        CertificateError::BadEncoding => "it is damaged",
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => "it has expired",
        CertificateError::ExpiredRevocationList
        | CertificateError::ExpiredRevocationListContext { .. } => {
            "the revocation list of its issuer has expired"
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            "it is not valid yet"
        }
        CertificateError::BadSignature => {
            "the signature on it is wrong, or its owner does not have the key"
        }
        CertificateError::InvalidOcspResponse => "the OCSP response for it is wrong",
        CertificateError::InvalidPurpose => "it was issued for another purpose",
        CertificateError::Revoked => "it was revoked",
        CertificateError::UnhandledCriticalExtension => {
            "it has a critical extension that is unknown"
        }
        CertificateError::UnknownIssuer => "none of those who are trusted have signed it",
        CertificateError::UnknownRevocationStatus => {
            "no revocation list tells whether it was revoked"
        }
        CertificateError::Other(wrapped) => match wrapped.to_string().as_str() {
            // What `openssl req -x509` makes is marked as one.
            "CaUsedAsEndEntity" => "it is an authority's (CA:TRUE), for signing others",
            other => return format!("it cannot be used ({other})").into(),
        },
        // These say for whom.
        why => return why.to_string().into(),
    };
    words.into()
}

/// What the peer does or does not, in words.
fn incompatible(why: &PeerIncompatible) -> Cow<'static, str> {
    let words = match why {
        // Signature algorithms came with TLS 1.2, and its clients all name theirs.
        PeerIncompatible::SignatureAlgorithmsExtensionRequired
        | PeerIncompatible::Tls12NotOffered
        | PeerIncompatible::ServerDoesNotSupportTls12Or13 => TOO_OLD,
        PeerIncompatible::Tls12NotOfferedOrEnabled => {
            "knows no version of TLS that is allowed here"
        }
        PeerIncompatible::SupportedVersionsExtensionRequired
        | PeerIncompatible::ServerTlsVersionIsDisabledByOurConfig => {
            "does not know TLS 1.3, which is required here"
        }
        PeerIncompatible::NoCipherSuitesInCommon => "offers no cipher suite that can be used here",
        PeerIncompatible::NoKxGroupsInCommon
        | PeerIncompatible::KeyShareExtensionRequired
        | PeerIncompatible::NamedGroupsExtensionRequired => {
            "offers no key exchange group that is known here"
        }
        PeerIncompatible::NoSignatureSchemesInCommon
        | PeerIncompatible::NoCertificateRequestSignatureSchemesInCommon => {
            "accepts no signature algorithm that fits a certificate"
        }
        PeerIncompatible::ExtendedMasterSecretExtensionRequired => {
            "does not know the extended master secret (RFC 7627)"
        }
        other => return format!("does not fit ({other:?})").into(),
    };
    words.into()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use rustls::pki_types::UnixTime;

    use super::*;

    #[test]
    fn common_failures_are_told_in_words_and_say_whose_they_are() {
        let told = |error: Error| Failure::from(error).with("client");
        for (error, words) in [
            (
                Error::AlertReceived(AlertDescription::UnknownCA),
                "the client broke off with the alert unknown_ca: it does not trust who signed the \
                 certificate",
            ),
            (
                Error::AlertReceived(AlertDescription::ExportRestriction),
                "the client broke off with the alert number 60",
            ),
            (
                Error::InvalidCertificate(CertificateError::UnknownIssuer),
                "the client's certificate is not accepted: none of those who are trusted have \
                 signed it",
            ),
            (
                Error::InvalidCertificate(CertificateError::ExpiredContext {
                    time: UnixTime::since_unix_epoch(Duration::from_secs(2)),
                    not_after: UnixTime::since_unix_epoch(Duration::from_secs(1)),
                }),
                "the client's certificate is not accepted: it has expired",
            ),
            (
                Error::NoCertificatesPresented,
                "the client showed no certificate",
            ),
            (
                Error::PeerIncompatible(PeerIncompatible::NoCipherSuitesInCommon),
                "nothing in common: the client offers no cipher suite that can be used here",
            ),
            (
                Error::InvalidMessage(InvalidMessage::InvalidContentType),
                "the client does not speak TLS",
            ),
            (
                Error::EncryptError,
                "ringway failed: cannot encrypt message",
            ),
        ] {
            assert_eq!(told(error), words);
        }
    }

    #[test]
    fn what_peers_cause_most_often_costs_no_allocation() {
        let failures = [
            Failure::too_old(),
            Error::AlertReceived(AlertDescription::UnknownCA).into(),
            Error::InvalidCertificate(CertificateError::UnknownIssuer).into(),
            Error::NoApplicationProtocol.into(),
            Error::PeerIncompatible(PeerIncompatible::NoCipherSuitesInCommon).into(),
        ];
        for failure in failures {
            let (Failure::Alert(why) | Failure::Certificate(why) | Failure::NothingInCommon(why)) =
                &failure
            else {
                panic!("another failure: {failure:?}");
            };
            assert!(matches!(why, Cow::Borrowed(_)), "{failure:?}");
        }
    }
}
