//! The certificates that the proxies and databases show, and the runner as a TLS client that
//! believes nothing else. It speaks only what all of them are told to speak.

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use rcgen::{CertificateParams, KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_RSA_SHA256};
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::CertificateDer;
use rustls::{
    CipherSuite, ClientConfig, ClientConnection, HandshakeKind, NamedGroup, RootCertStore,
    StreamOwned, version,
};
use tempfile::TempDir;

use crate::http;
use crate::scenario::{Body, Key};

/// The one cipher suite of all sides, by its IANA name. The version is TLS 1.3.
pub(crate) const CIPHER_SUITE: &str = "TLS_AES_128_GCM_SHA256";

/// The one key exchange of all sides, by OpenSSL's name.
pub(crate) const GROUP: &str = "X25519";

/// A session of the runner, which has had one answer.
pub(crate) type Session = StreamOwned<ClientConnection, TcpStream>;

/// One certificate for each kind of key, signed by itself and made for this run.
pub(crate) struct Certificates {
    ecdsa_p256: Certificate,
    rsa_2048: Certificate,
    _dir: TempDir,
}

/// A certificate for 127.0.0.1, and what a client needs that believes it.
pub(crate) struct Certificate {
    /// The certificate and its key.
    pub(crate) pem: PathBuf,
    client: Arc<ClientConfig>,
}

/// How a proxy ends TLS.
#[derive(Clone, Copy)]
pub(crate) struct Termination<'a> {
    pub(crate) certificate: &'a Certificate,
    /// Whether clients may resume sessions, by tickets.
    pub(crate) resumes: bool,
}

impl Certificates {
    pub(crate) fn make() -> Result<Self> {
        let dir = TempDir::new().context("cannot make a temporary directory")?;
        let make = |key| Certificate::make(dir.path(), key);
        Ok(Self {
            ecdsa_p256: make(Key::EcdsaP256)?,
            rsa_2048: make(Key::Rsa2048)?,
            _dir: dir,
        })
    }

    pub(crate) fn with(&self, key: Key) -> &Certificate {
        match key {
            Key::EcdsaP256 => &self.ecdsa_p256,
            Key::Rsa2048 => &self.rsa_2048,
        }
    }
}

impl Certificate {
    pub(crate) fn make(dir: &Path, key: Key) -> Result<Self> {
        let (name, algorithm) = match key {
            Key::EcdsaP256 => ("ecdsa-p256.pem", &PKCS_ECDSA_P256_SHA256),
            // With a key of 2048 bits.
            Key::Rsa2048 => ("rsa-2048.pem", &PKCS_RSA_SHA256),
        };
        let key = KeyPair::generate_for(algorithm).context("cannot make a key")?;
        let names = [Ipv4Addr::LOCALHOST.to_string()];
        let certificate = CertificateParams::new(names)?.self_signed(&key)?;
        let pem = dir.join(name);
        OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&pem)
            .and_then(|mut file| write!(file, "{}{}", certificate.pem(), key.serialize_pem()))
            .with_context(|| format!("cannot write {}", pem.display()))?;
        let client = client(certificate.der())?;
        Ok(Self { pem, client })
    }

    /// Connects and asks once. A session with the same proxy is resumed if the proxy lets it be.
    pub(crate) fn connect_and_get(&self, address: SocketAddr, body: Body) -> io::Result<Session> {
        let name = address.ip().into();
        let connection =
            ClientConnection::new(Arc::clone(&self.client), name).map_err(io::Error::other)?;
        let mut session = StreamOwned::new(connection, http::connect(address)?);
        http::get(&mut session, body)?;
        Ok(session)
    }
}

impl Termination<'_> {
    /// Whether a client that comes again can resume its session or cannot, as it should be.
    pub(crate) fn check_resumption(self, address: SocketAddr) -> Result<()> {
        let ask = || self.certificate.connect_and_get(address, Body::Tiny);
        drop(ask()?);
        let resumed = ask()?.conn.handshake_kind() == Some(HandshakeKind::Resumed);
        match (resumed, self.resumes) {
            (false, true) => bail!("a session was not resumed"),
            (true, false) => bail!("a session was resumed that should not have been"),
            _ => Ok(()),
        }
    }
}

fn client(certificate: &CertificateDer<'static>) -> Result<Arc<ClientConfig>> {
    let mut roots = RootCertStore::empty();
    roots.add(certificate.clone())?;
    let config = ClientConfig::builder_with_provider(Arc::new(provider()))
        .with_protocol_versions(&[&version::TLS13])?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(Arc::new(config))
}

fn provider() -> CryptoProvider {
    let mut provider = aws_lc_rs::default_provider();
    provider
        .cipher_suites
        .retain(|suite| suite.suite() == CipherSuite::TLS13_AES_128_GCM_SHA256);
    provider
        .kx_groups
        .retain(|group| group.name() == NamedGroup::X25519);
    provider
}

/// What all programs that use OpenSSL begin with, config(5): the one version, cipher suite and key
/// exchange that all sides speak, whatever else this OpenSSL would offer.
pub(crate) fn openssl_config() -> String {
    format!(
        "openssl_conf = init\n[init]\nssl_conf = ssl\n[ssl]\nsystem_default = tls\n[tls]\n\
         MinProtocol = TLSv1.3\nCiphersuites = {CIPHER_SUITE}\nGroups = {GROUP}\n"
    )
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::Read;
    use std::net::TcpListener;
    use std::os::unix::fs::PermissionsExt;
    use std::thread;

    use rustls::pki_types::PrivateKeyDer;
    use rustls::pki_types::pem::PemObject;
    use rustls::{ServerConfig, ServerConnection};

    use super::*;

    #[test]
    fn a_file_is_closed_to_others_and_has_the_kind_of_key_that_was_asked_for() {
        let certificates = Certificates::make().unwrap();
        for (key, bytes) in [(Key::EcdsaP256, 100..150), (Key::Rsa2048, 1200..1230)] {
            let pem = &certificates.with(key).pem;
            let mode = fs::metadata(pem).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600);
            let der = PrivateKeyDer::from_pem_file(pem).unwrap();
            let length = der.secret_der().len();
            assert!(bytes.contains(&length), "{key:?}: {length} bytes");
        }
    }

    #[test]
    fn resumption_is_as_agreed_or_is_told() {
        let certificates = Certificates::make().unwrap();
        for (has_tickets, resumes) in [(true, true), (false, false), (true, false), (false, true)] {
            let certificate = certificates.with(Key::EcdsaP256);
            let address = serve_two(&certificate.pem, has_tickets);
            let termination = Termination {
                certificate,
                resumes,
            };
            let outcome = termination.check_resumption(address);
            assert_eq!(outcome.is_ok(), has_tickets == resumes, "{outcome:?}");
        }
    }

    /// Answers one question on each of two connections.
    fn serve_two(pem: &Path, has_tickets: bool) -> SocketAddr {
        let chain = vec![CertificateDer::from_pem_file(pem).unwrap()];
        let key = PrivateKeyDer::from_pem_file(pem).unwrap();
        let mut config = ServerConfig::builder_with_provider(Arc::new(provider()))
            .with_protocol_versions(&[&version::TLS13])
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .unwrap();
        if has_tickets {
            config.ticketer = aws_lc_rs::Ticketer::new().unwrap();
        } else {
            config.send_tls13_tickets = 0;
        }
        let config = Arc::new(config);
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        thread::spawn(move || {
            for _ in 0..2 {
                let (stream, _) = listener.accept().unwrap();
                let connection = ServerConnection::new(Arc::clone(&config)).unwrap();
                let mut session = StreamOwned::new(connection, stream);
                session.read_exact(&mut [0; 16]).unwrap();
                session.write_all(b"HTTP/1.1 200 OK\r\n\r\nok").unwrap();
            }
        });
        address
    }
}
