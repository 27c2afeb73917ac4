//! The cipher suites there are, under the names that people write. All of them encrypt and
//! authenticate in one, and all have forward secrecy; rustls has no others.

use rustls::CipherSuite;

/// A suite and what OpenSSL calls it.
type Row = (CipherSuite, &'static str);

/// Best first. AES with the short key is what costs least, and nobody breaks it either.
const SUITES: [Row; 9] = [
    (
        CipherSuite::TLS13_AES_128_GCM_SHA256,
        "TLS_AES_128_GCM_SHA256",
    ),
    (
        CipherSuite::TLS13_AES_256_GCM_SHA384,
        "TLS_AES_256_GCM_SHA384",
    ),
    (
        CipherSuite::TLS13_CHACHA20_POLY1305_SHA256,
        "TLS_CHACHA20_POLY1305_SHA256",
    ),
    (
        CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
        "ECDHE-ECDSA-AES128-GCM-SHA256",
    ),
    (
        CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
        "ECDHE-ECDSA-AES256-GCM-SHA384",
    ),
    (
        CipherSuite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
        "ECDHE-ECDSA-CHACHA20-POLY1305",
    ),
    (
        CipherSuite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
        "ECDHE-RSA-AES128-GCM-SHA256",
    ),
    (
        CipherSuite::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
        "ECDHE-RSA-AES256-GCM-SHA384",
    ),
    (
        CipherSuite::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
        "ECDHE-RSA-CHACHA20-POLY1305",
    ),
];

/// The suite of an IANA or an OpenSSL name.
pub fn find(text: &str) -> Option<CipherSuite> {
    let named = |&&(suite, openssl): &&Row| text == openssl || text == name(suite);
    SUITES.iter().find(named).map(|&(suite, _)| suite)
}

/// The IANA name of a suite.
pub fn name(suite: CipherSuite) -> &'static str {
    match suite.as_str() {
        Some(name) if !name.starts_with("TLS13_") => name,
        // rustls has names of its own for those of TLS 1.3, and OpenSSL has not.
        _ => {
            let this = |&&(known, _): &&Row| known == suite;
            SUITES
                .iter()
                .find(this)
                .map_or("unknown", |&(_, openssl)| openssl)
        }
    }
}

/// Whether a suite is one of TLS 1.3; the others are of TLS 1.2.
pub fn is_tls13(suite: CipherSuite) -> bool {
    name(suite).starts_with("TLS_AES_") || name(suite).starts_with("TLS_CHACHA20_")
}

/// All suites, best first.
pub fn all() -> impl Iterator<Item = CipherSuite> {
    SUITES.iter().map(|&(suite, _)| suite)
}

/// Whether servers sign by a key of this kind, `"ECDSA"` or `"RSA"`, in a suite of TLS 1.2.
pub fn signs_by(suite: CipherSuite, kind: &str) -> bool {
    let prefix = name(suite).split_once("_WITH_").map(|(prefix, _)| prefix);
    prefix.and_then(|prefix| prefix.strip_prefix("TLS_ECDHE_")) == Some(kind)
}

/// The IANA names of all suites, for messages.
pub fn names() -> impl Iterator<Item = &'static str> {
    SUITES.iter().map(|&(suite, _)| name(suite))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_suite_of_the_library_has_its_names() {
        let provider = rustls::crypto::aws_lc_rs::default_provider();
        assert_eq!(provider.cipher_suites.len(), SUITES.len());
        for suite in provider.cipher_suites {
            let iana = name(suite.suite());
            assert_eq!(find(iana), Some(suite.suite()));
            assert_eq!(is_tls13(suite.suite()), suite.tls13().is_some(), "{iana}");
        }
        assert_eq!(
            find("ECDHE-RSA-CHACHA20-POLY1305").map(name),
            Some("TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256")
        );
        assert_eq!(find("RC4-MD5"), None);
        assert!(names().all(|name| name.starts_with("TLS_")));
        assert_eq!(names().count(), SUITES.len());
    }
}
