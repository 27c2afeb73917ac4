//! Files with certificates and keys, and the choice among them.

use std::time::Duration;

use rcgen::{CertificateParams, KeyPair, SerialNumber};
use rustls::SignatureScheme;
use rustls::pki_types::UnixTime;

use super::support::{Authority, DAY, Issued, file};
use crate::limits::SUBJECT_BYTES_MAX;
use crate::tls::certificates::{
    Certificate, CertificateError, CertificateSet, File, Validity, read_certificates,
    read_revocation_lists, subject,
};
use crate::tls::config::{Trust, provider};
use crate::tls::fuzzing::NOW;
use crate::tls::self_signed;

const ECDSA: SignatureScheme = SignatureScheme::ECDSA_NISTP256_SHA256;
const RSA: SignatureScheme = SignatureScheme::RSA_PSS_SHA256;

fn read(certificate: &str, key: &str) -> Result<Certificate, CertificateError> {
    Certificate::read(
        file("cert.pem", certificate),
        file("key.pem", key),
        None,
        &provider(),
    )
}

fn complaint<T: std::fmt::Debug>(result: Result<T, CertificateError>) -> String {
    result.unwrap_err().to_string()
}

#[test]
fn a_certificate_tells_its_names_its_subject_and_when_it_expires() {
    let authority = Authority::new("tests");
    let issued = authority.issue(&["www.example.org", "*.Example.net", "10.0.0.1"]);
    let certificate = issued.read();
    let names: Vec<String> = certificate
        .names()
        .iter()
        .map(ToString::to_string)
        .collect();
    assert_eq!(names, ["www.example.org", "*.example.net"]);
    assert_eq!(certificate.subject(), "CN=www.example.org");
    assert_eq!(certificate.algorithm(), "ECDSA");
    assert_eq!(
        certificate.not_after().as_secs(),
        NOW.as_secs() + 89 * DAY.as_secs()
    );

    let at = |seconds: i64| {
        let seconds = NOW.as_secs().checked_add_signed(seconds).unwrap();
        certificate.validity(UnixTime::since_unix_epoch(Duration::from_secs(seconds)))
    };
    let day = DAY.as_secs() as i64;
    assert_eq!(at(0), Validity::ValidFor(89 * DAY));
    assert_eq!(at(89 * day), Validity::ValidFor(Duration::ZERO));
    assert_eq!(at(92 * day), Validity::ExpiredFor(3 * DAY));
    assert_eq!(at(-3 * day), Validity::NotFor(2 * DAY));
    assert_eq!(at(92 * day).to_string(), "expired 3 days ago");
    assert_eq!(at(0).to_string(), "valid for 89 more days");
    assert_eq!(at(-3 * day).to_string(), "valid only in 2 days");
}

#[test]
fn a_certificate_without_names_goes_by_its_common_name() {
    let authority = Authority::new("tests");
    let key = KeyPair::generate().unwrap();
    let issued = authority.sign(&["old.example"], &key, |params| {
        params.subject_alt_names.clear()
    });
    let names = issued.read().names().to_vec();
    assert_eq!(names.len(), 1);
    assert_eq!(names[0].to_string(), "old.example");
}

#[test]
fn a_chain_and_both_in_one_file_are_read() {
    let authority = Authority::new("tests");
    let Issued { certificate, key } = authority.issue(&["a.example"]);
    let all = format!("Some text\n{certificate}\n{key}\n{}", authority.pem());
    let read = Certificate::read(
        file("all.pem", &all),
        file("all.pem", &all),
        None,
        &provider(),
    );
    assert_eq!(read.unwrap().certified_key().cert.len(), 2);
}

#[test]
fn a_key_of_another_certificate_is_told_with_both_files() {
    let authority = Authority::new("tests");
    let (one, other) = (
        authority.issue(&["a.example"]),
        authority.issue(&["b.example"]),
    );
    assert_eq!(
        complaint(read(&one.certificate, &other.key)),
        "key.pem: the key does not belong to the certificate in cert.pem"
    );
    let wrong_order = [authority.pem(), one.certificate].concat();
    assert_eq!(
        complaint(read(&wrong_order, &one.key)),
        "key.pem: the key does not belong to the certificate in cert.pem; it belongs to a later \
         one in that file, but the server's comes first"
    );
}

#[test]
fn what_is_wrong_with_a_file_is_said_with_its_name() {
    let Issued { certificate, key } = Authority::new("tests").issue(&["a.example"]);
    assert_eq!(
        complaint(read("", &key)),
        "cert.pem: there is no certificate in it"
    );
    assert_eq!(
        complaint(read(&key, &key)),
        "cert.pem: there is no certificate in it"
    );
    let no_key = complaint(read(&certificate, &certificate));
    assert_eq!(no_key, "key.pem: there is no private key in it");
    let torn = complaint(read(&certificate[..certificate.len() / 2], &key));
    assert_eq!(
        torn,
        "cert.pem: not a PEM file: its end is missing, `-----END CERTIFICATE-----`: was it cut off?"
    );
    let letters = certificate.replace("MI", "M!");
    assert_eq!(
        complaint(read(&letters, &key)),
        "cert.pem: not a PEM file: what stands between its lines is not base64"
    );
    let nonsense = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    let unreadable = complaint(read(&[&certificate, nonsense].concat(), &key));
    assert!(
        unreadable.starts_with("cert.pem: certificate 2 cannot be read: "),
        "{unreadable}"
    );
    let unusable = "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n";
    let unusable = complaint(read(&certificate, unusable));
    assert!(
        unusable.starts_with("key.pem: the key cannot be used: "),
        "{unusable}"
    );
    let protected =
        "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n";
    let protected = complaint(read(&certificate, protected));
    assert!(
        protected.contains("openssl pkey -in key.pem"),
        "{protected}"
    );
    let old = "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: x\n\nAAAA\n\
               -----END RSA PRIVATE KEY-----\n";
    let old = complaint(read(&certificate, old));
    assert!(old.contains("passphrase"), "{old}");
    let lists = complaint(read_revocation_lists(file("crl.pem", &certificate)));
    assert_eq!(
        lists,
        "crl.pem: there is no revocation list (`X509 CRL`) in it"
    );
    assert_eq!(
        complaint(CertificateSet::new(Vec::new())),
        "no certificate is configured"
    );
}

#[test]
fn a_certificate_torn_anywhere_is_an_error_and_never_a_panic() {
    let Issued { certificate, key } = Authority::new("tests").issue(&["a.example"]);
    let der = read_certificates(file("cert.pem", &certificate))
        .unwrap()
        .remove(0);
    for cut in 0..der.len() {
        assert_eq!(subject(&der[..cut].to_vec().into()), None, "at {cut}");
    }
    for cut in (0..certificate.len() - 30).step_by(7) {
        assert!(read(&certificate[..cut], &key).is_err(), "at {cut}");
    }
}

#[test]
fn an_ocsp_response_without_an_answer_is_refused() {
    let Issued { certificate, key } = Authority::new("tests").issue(&["a.example"]);
    let read = |bytes: &[u8]| {
        let staple = File {
            path: "ocsp.der",
            bytes,
        };
        let (certificate, key) = (file("cert.pem", &certificate), file("key.pem", &key));
        Certificate::read(certificate, key, Some(staple), &provider())
    };
    let of_length = |header: &[u8], length: usize| {
        let mut content = vec![0x0A, 1, 0];
        content.resize(length, 0xA0);
        [header, &content].concat()
    };
    for answer in [
        of_length(&[0x30, 3], 3),
        of_length(&[0x30, 0x81, 0x80], 0x80),
        of_length(&[0x30, 0x82, 1, 0], 0x100),
    ] {
        let certificate = read(&answer).unwrap();
        assert_eq!(certificate.certified_key().ocsp.as_ref(), Some(&answer));
        let torn = complaint(read(&answer[..answer.len() - 1]));
        assert_eq!(torn, "ocsp.der: not a successful OCSP response in DER");
    }
    for other in [&b""[..], b"-----BEGIN", &[0x30], &[0x30, 3, 0x0A, 1, 6]] {
        assert_eq!(
            complaint(read(other)),
            "ocsp.der: not a successful OCSP response in DER"
        );
    }
}

#[test]
fn trusted_certificates_are_all_usable_or_the_bundle_is_the_systems() {
    let authority = Authority::new("tests");
    let broken = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    let mixed = [&authority.pem(), broken].concat();
    let strict = complaint(Trust::read(file("ca.pem", &mixed)));
    assert!(
        strict.starts_with("ca.pem: certificate 2 cannot be read: "),
        "{strict}"
    );
    assert_eq!(
        Trust::read_bundle(file("ca.pem", &mixed))
            .unwrap()
            .roots
            .len(),
        1
    );
    let none = complaint(Trust::read_bundle(file("ca.pem", broken)));
    assert_eq!(
        none,
        "ca.pem: there is no certificate that can be used in it"
    );
}

/// Which certificate a set gives, by its subject and algorithm.
fn chosen(set: &CertificateSet, host: Option<&str>, known: &[SignatureScheme]) -> String {
    let certificate = set.choose(host, known);
    certificate.map_or("none".into(), |one| {
        format!("{} {}", one.subject(), one.algorithm())
    })
}

#[test]
fn a_client_gets_the_certificate_of_its_name_and_of_an_algorithm_it_knows() {
    let authority = Authority::new("tests");
    let set = CertificateSet::new(vec![
        authority.issue_rsa(&["default.example"]).read(),
        authority.issue(&["default.example"]).read(),
        authority.issue(&["*.example.org"]).read(),
        authority.issue_rsa(&["www.example.org"]).read(),
    ])
    .unwrap();
    let both = [RSA, ECDSA];
    for (host, known, expected) in [
        (None, &both[..], "CN=default.example ECDSA"),
        (None, &[RSA], "CN=default.example RSA"),
        (Some("unknown.example"), &both, "CN=default.example ECDSA"),
        (Some("a.example.org"), &both, "CN=*.example.org ECDSA"),
        (Some("a.b.example.org"), &both, "CN=default.example ECDSA"),
        (Some("example.org"), &both, "CN=default.example ECDSA"),
        (Some("www.example.org"), &both, "CN=www.example.org RSA"),
        // Better a certificate of another name than none: the client may not look at it.
        (Some("a.example.org"), &[RSA], "CN=default.example RSA"),
        (None, &[SignatureScheme::ED25519], "none"),
    ] {
        assert_eq!(chosen(&set, host, known), expected, "{host:?} {known:?}");
    }
    assert_eq!(set.certificates().len(), 4);
}

#[test]
fn a_subject_cannot_write_into_a_log() {
    let authority = Authority::new("tests");
    let key = KeyPair::generate().unwrap();
    let name = format!("a\n\u{85}{}", "x".repeat(2 * SUBJECT_BYTES_MAX));
    let issued = authority.sign(&["a.example"], &key, |params: &mut CertificateParams| {
        params.distinguished_name = rcgen::DistinguishedName::new();
        params
            .distinguished_name
            .push(rcgen::DnType::CommonName, name.as_str());
        params.serial_number = Some(SerialNumber::from(1));
    });
    let subject = issued.read().subject().to_owned();
    assert!(subject.starts_with("CN=a\\0a\\u{85}xxx"), "{subject}");
    assert!(subject.len() <= SUBJECT_BYTES_MAX && !subject.contains(char::is_control));
}

#[test]
fn a_certificate_of_its_own_is_made_at_start() {
    let certificate = self_signed::make(&["db.example", "127.0.0.1"], NOW, &provider()).unwrap();
    assert_eq!(certificate.subject(), "CN=ringway self-signed");
    assert_eq!(certificate.names().len(), 1);
    assert!(matches!(certificate.validity(NOW), Validity::ValidFor(time) if time > 3649 * DAY));
    assert!(self_signed::make(&["b\u{fc}cher"], NOW, &provider()).is_err());
}
