//! Certificates for the tests' peers and for the balancer between them.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, CertifiedIssuer,
    DistinguishedName, DnType, IsCa, KeyIdMethod, KeyPair, KeyUsagePurpose, PKCS_RSA_SHA256,
    RevokedCertParams, SerialNumber,
};
use rustls::RootCertStore;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tempfile::TempDir;

/// Signs certificates, and keeps them in a directory of its own.
pub(crate) struct Authority {
    directory: TempDir,
    issuer: CertifiedIssuer<'static, KeyPair>,
    /// Of the certificate that it signs next.
    serial: AtomicU64,
}

/// A certificate and its key.
#[derive(Debug)]
pub(crate) struct Identity {
    pub(crate) certificate_file: PathBuf,
    pub(crate) key_file: PathBuf,
    certificate: CertificateDer<'static>,
    key: PrivateKeyDer<'static>,
    serial: u64,
}

impl Authority {
    pub(crate) fn new() -> Self {
        let mut params = CertificateParams::default();
        let directory = TempDir::with_prefix("ringway-test-tls-").unwrap();
        // Two of them are not to be taken for each other.
        let name = directory.path().display().to_string();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        fs::write(directory.path().join("ca.pem"), issuer.pem()).unwrap();
        let key = issuer.key().serialize_pem();
        fs::write(directory.path().join("ca.key"), key).unwrap();
        Self {
            directory,
            issuer,
            serial: AtomicU64::new(0x1000_0000),
        }
    }

    /// Its own certificate.
    pub(crate) fn file(&self) -> PathBuf {
        self.directory.path().join("ca.pem")
    }

    /// Its key, for those who sign in its name.
    pub(crate) fn key_file(&self) -> PathBuf {
        self.directory.path().join("ca.key")
    }

    /// A place for a test's files, gone with it.
    pub(crate) fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// Those who believe it, and nobody else.
    pub(crate) fn roots(&self) -> Arc<RootCertStore> {
        let mut roots = RootCertStore::empty();
        roots.add(self.issuer.der().clone()).unwrap();
        Arc::new(roots)
    }

    /// A certificate with an ECDSA key, for these names. The first one is its subject, and that of
    /// its files, which it replaces if they exist.
    pub(crate) fn issue(&self, names: &[&str]) -> Identity {
        self.sign(names, "ecdsa", &KeyPair::generate().unwrap())
    }

    /// The same with an RSA key.
    pub(crate) fn issue_rsa(&self, names: &[&str]) -> Identity {
        self.sign(
            names,
            "rsa",
            &KeyPair::generate_for(&PKCS_RSA_SHA256).unwrap(),
        )
    }

    /// The list of those that it has revoked, until this time. It replaces an earlier one.
    pub(crate) fn revoke(&self, revoked: &[&Identity], next_update: SystemTime) -> PathBuf {
        let yesterday = SystemTime::now() - Duration::from_secs(24 * 60 * 60);
        let entry = |identity: &&Identity| RevokedCertParams {
            serial_number: SerialNumber::from(identity.serial),
            revocation_time: yesterday.into(),
            reason_code: None,
            invalidity_date: None,
        };
        let list = CertificateRevocationListParams {
            this_update: yesterday.into(),
            next_update: next_update.into(),
            crl_number: SerialNumber::from(1),
            issuing_distribution_point: None,
            revoked_certs: revoked.iter().map(entry).collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        let file = self.directory.path().join("ca.crl");
        let list = list.signed_by(&self.issuer).unwrap().pem().unwrap();
        fs::write(&file, list).unwrap();
        file
    }

    fn sign(&self, names: &[&str], kind: &str, key: &KeyPair) -> Identity {
        let owned: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
        let mut params = CertificateParams::new(owned).unwrap();
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, names[0]);
        let serial = self.serial.fetch_add(1, Ordering::Relaxed);
        params.serial_number = Some(SerialNumber::from(serial));
        let certificate = params.signed_by(key, &self.issuer).unwrap();
        let file = |end| {
            self.directory
                .path()
                .join(format!("{}-{kind}.{end}", names[0]))
        };
        let identity = Identity {
            certificate_file: file("pem"),
            key_file: file("key"),
            certificate: certificate.der().clone(),
            key: PrivateKeyDer::try_from(key.serialize_der()).unwrap(),
            serial,
        };
        fs::write(&identity.certificate_file, certificate.pem()).unwrap();
        fs::write(&identity.key_file, key.serialize_pem()).unwrap();
        fs::set_permissions(&identity.key_file, Permissions::from_mode(0o600)).unwrap();
        identity
    }
}

impl Identity {
    /// The lines of a configuration that name its files.
    pub(crate) fn lines(&self) -> [String; 2] {
        [
            format!("certificate_file = {:?}", self.certificate_file),
            format!("key_file = {:?}", self.key_file),
        ]
    }

    /// Its files: the certificate and the key.
    pub(crate) fn files(&self) -> [&Path; 2] {
        [&self.certificate_file, &self.key_file]
    }

    /// What has `openssl s_client` show it.
    pub(crate) fn s_client_arguments(&self) -> [&str; 4] {
        let [certificate, key] = self.files().map(|file| file.to_str().unwrap());
        ["-cert", certificate, "-key", key]
    }

    /// Its serial number, which it has from its authority.
    pub(crate) fn serial(&self) -> u64 {
        self.serial
    }

    /// The certificate as peers show it.
    pub(crate) fn der(&self) -> &CertificateDer<'static> {
        &self.certificate
    }

    /// What a peer shows and signs with.
    pub(crate) fn chain_and_key(&self) -> (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>) {
        (vec![self.certificate.clone()], self.key.clone_key())
    }
}
