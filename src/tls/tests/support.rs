//! A certificate authority, and options to vary.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, CertifiedIssuer, DnType,
    ExtendedKeyUsagePurpose, IsCa, KeyIdMethod, KeyPair, KeyUsagePurpose, PKCS_RSA_SHA256,
    RevokedCertParams, SerialNumber,
};
use rustls::crypto::CipherSuiteCommon;
use rustls::{ClientConfig, ServerConfig, SupportedCipherSuite, Tls12CipherSuite};

use crate::tls::certificates::{Certificate, CertificateSet, File};
use crate::tls::config::{
    ClientCertificates, ClientOptions, Common, ServerCheck, ServerOptions, Trust, provider,
};
use crate::tls::fuzzing::{NOW, Pair, RECORDS_PER_KEY, Stopped, suites_with_short_lived_keys};
use crate::tls::tickets::TicketKeys;

pub(super) const DAY: Duration = Duration::from_secs(24 * 60 * 60);

pub(super) fn file<'a>(path: &'a str, text: &'a str) -> File<'a> {
    File {
        path,
        bytes: text.as_bytes(),
    }
}

/// A time relative to that of the tests.
pub(super) fn time(days: i64) -> SystemTime {
    let now = SystemTime::UNIX_EPOCH + Duration::from_secs(NOW.as_secs());
    let distance = DAY * u32::try_from(days.abs()).unwrap();
    if days < 0 {
        now - distance
    } else {
        now + distance
    }
}

/// Signs certificates.
pub(super) struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
}

/// A certificate and its key, in PEM.
pub(super) struct Issued {
    pub(super) certificate: String,
    pub(super) key: String,
}

impl Issued {
    pub(super) fn read(&self) -> Certificate {
        let certificate = file("cert.pem", &self.certificate);
        Certificate::read(certificate, file("key.pem", &self.key), None, &provider()).unwrap()
    }
}

impl Authority {
    pub(super) fn new(name: &str) -> Self {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = KeyPair::generate().unwrap();
        Self {
            issuer: CertifiedIssuer::self_signed(params, key).unwrap(),
        }
    }

    pub(super) fn pem(&self) -> String {
        self.issuer.pem()
    }

    pub(super) fn trust(&self) -> Trust {
        Trust::read(file("ca.pem", &self.pem())).unwrap()
    }

    /// For servers and clients of these names, valid from yesterday for 90 days.
    pub(super) fn issue(&self, names: &[&str]) -> Issued {
        self.sign(names, &KeyPair::generate().unwrap(), |_| {})
    }

    pub(super) fn issue_rsa(&self, names: &[&str]) -> Issued {
        self.sign(
            names,
            &KeyPair::generate_for(&PKCS_RSA_SHA256).unwrap(),
            |_| {},
        )
    }

    pub(super) fn sign(
        &self,
        names: &[&str],
        key: &KeyPair,
        change: impl FnOnce(&mut CertificateParams),
    ) -> Issued {
        let names: Vec<String> = names.iter().map(|&name| name.into()).collect();
        let mut params = CertificateParams::new(names.clone()).unwrap();
        let name = names.first().map_or("nobody", String::as_str);
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, name);
        params.not_before = time(-1).into();
        params.not_after = time(89).into();
        params.extended_key_usages = vec![
            ExtendedKeyUsagePurpose::ServerAuth,
            ExtendedKeyUsagePurpose::ClientAuth,
        ];
        change(&mut params);
        Issued {
            certificate: params.signed_by(key, &self.issuer).unwrap().pem(),
            key: key.serialize_pem(),
        }
    }

    /// A list that revokes the certificate of this serial number.
    pub(super) fn revoke(&self, serial: u64) -> String {
        let params = CertificateRevocationListParams {
            this_update: time(-1).into(),
            next_update: time(30).into(),
            crl_number: SerialNumber::from(1),
            issuing_distribution_point: None,
            revoked_certs: vec![RevokedCertParams {
                serial_number: SerialNumber::from(serial),
                revocation_time: time(-1).into(),
                reason_code: None,
                invalidity_date: None,
            }],
            key_identifier_method: KeyIdMethod::Sha256,
        };
        params.signed_by(&self.issuer).unwrap().pem().unwrap()
    }
}

pub(super) fn common() -> Common {
    Common::new(Arc::new(Stopped(NOW)))
}

/// A listener with one certificate, that resumes sessions.
pub(super) fn server_options(certificates: Vec<Certificate>) -> ServerOptions {
    let keys = TicketKeys::new(Duration::ZERO).unwrap();
    ServerOptions {
        common: common(),
        certificates: Arc::new(CertificateSet::new(certificates).unwrap()),
        client_certificates: ClientCertificates::Off,
        tickets: Some((keys, "web".into())),
    }
}

/// A client that believes what this authority has signed.
pub(super) fn client_options(authority: &Authority) -> ClientOptions {
    ClientOptions {
        common: common(),
        check: ServerCheck::Verify(authority.trust()),
        certificate: None,
        send_server_name: true,
    }
}

/// Both ends of `a.example`.
pub(super) fn configs() -> (Arc<ServerConfig>, Arc<ClientConfig>) {
    let authority = Authority::new("tests");
    let server = server_options(vec![authority.issue(&["a.example"]).read()]);
    let client = client_options(&authority);
    (server.build().unwrap(), client.build().unwrap())
}

/// The same with TLS 1.2.
pub(super) fn old_configs() -> (Arc<ServerConfig>, Arc<ClientConfig>) {
    let authority = Authority::new("tests");
    let server = server_options(vec![authority.issue(&["a.example"]).read()]);
    let mut client = client_options(&authority);
    only_tls12(&mut client.common);
    (server.build().unwrap(), client.build().unwrap())
}

/// The same with a client that renews its keys every few records.
pub(super) fn renewing_configs() -> (Arc<ServerConfig>, Arc<ClientConfig>) {
    with_client_suites(suites_with_short_lived_keys())
}

/// The same with TLS 1.2, where keys are never renewed, and a client that has used them up after a
/// few records.
pub(super) fn exhausting_configs() -> (Arc<ServerConfig>, Arc<ClientConfig>) {
    let short_lived = |suite: &SupportedCipherSuite| {
        let SupportedCipherSuite::Tls12(suite) = *suite else {
            return None;
        };
        let common = CipherSuiteCommon {
            confidentiality_limit: RECORDS_PER_KEY,
            ..suite.common
        };
        let suite = Tls12CipherSuite { common, ..*suite };
        Some(SupportedCipherSuite::Tls12(Box::leak(Box::new(suite))))
    };
    let suites = provider().cipher_suites;
    with_client_suites(suites.iter().filter_map(short_lived).collect())
}

fn with_client_suites(suites: Vec<SupportedCipherSuite>) -> (Arc<ServerConfig>, Arc<ClientConfig>) {
    let authority = Authority::new("tests");
    let server = server_options(vec![authority.issue(&["a.example"]).read()]);
    let mut provider = provider();
    provider.cipher_suites = suites;
    let client = ClientConfig::builder_with_details(Arc::new(provider), Arc::new(Stopped(NOW)))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(authority.trust().roots)
        .with_no_client_auth();
    (server.build().unwrap(), Arc::new(client))
}

pub(super) fn only_tls12(common: &mut Common) {
    let suites = provider().cipher_suites;
    let old = suites.iter().filter(|suite| suite.tls13().is_none());
    common.cipher_suites = old.map(|suite| suite.suite()).collect();
}

/// Connects and exchanges everything, tickets too.
pub(super) fn connect(
    (server, client): &(Arc<ServerConfig>, Arc<ClientConfig>),
    name: &str,
) -> Pair {
    let mut pair = Pair::new(server, client, name);
    pair.settle(usize::MAX, 1000);
    pair
}

pub(super) fn connected(configs: &(Arc<ServerConfig>, Arc<ClientConfig>)) -> Pair {
    let pair = connect(configs, "a.example");
    assert_eq!(pair.client.failure, None);
    assert_eq!(pair.server.failure, None);
    assert!(!pair.client.session.is_handshaking());
    assert!(!pair.server.session.is_handshaking());
    pair
}
