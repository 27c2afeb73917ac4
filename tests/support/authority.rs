//! Certificates for the tests' peers and for the balancer between them.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DistinguishedName, DnType, IsCa, KeyPair,
    KeyUsagePurpose, PKCS_RSA_SHA256,
};
use rustls::RootCertStore;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tempfile::TempDir;

/// Signs certificates, and keeps them in a directory of its own.
pub(crate) struct Authority {
    directory: TempDir,
    issuer: CertifiedIssuer<'static, KeyPair>,
}

/// A certificate and its key.
#[derive(Debug)]
pub(crate) struct Identity {
    pub(crate) certificate_file: PathBuf,
    pub(crate) key_file: PathBuf,
    certificate: CertificateDer<'static>,
    key: PrivateKeyDer<'static>,
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
        Self { directory, issuer }
    }

    /// Its own certificate.
    pub(crate) fn file(&self) -> PathBuf {
        self.directory.path().join("ca.pem")
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

    fn sign(&self, names: &[&str], kind: &str, key: &KeyPair) -> Identity {
        let owned: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
        let mut params = CertificateParams::new(owned).unwrap();
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, names[0]);
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

    /// The certificate as peers show it.
    pub(crate) fn der(&self) -> &CertificateDer<'static> {
        &self.certificate
    }

    /// What a peer shows and signs with.
    pub(crate) fn chain_and_key(&self) -> (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>) {
        (vec![self.certificate.clone()], self.key.clone_key())
    }
}
