//! What a listener and a pool want of TLS, and the configurations for rustls made from it.
//!
//! Nothing here is global: each listener has a configuration of its own, with its certificates, and
//! each pool one for every server and worker. Early data is off (it can be replayed), sessions are
//! resumed by tickets alone (see [`tickets`](crate::tls::tickets)), and not at all where clients
//! show certificates: a resumed session would skip what that is for.

use std::sync::Arc;

use aws_lc_rs::digest::{SHA256, digest};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{Resumption, WebPkiServerVerifier};
use rustls::crypto::{
    CryptoProvider, WebPkiSupportedAlgorithms, aws_lc_rs as library, verify_tls12_signature,
    verify_tls13_signature,
};
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer, ServerName, UnixTime};
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::sign::SingleCertAndKey;
use rustls::time_provider::TimeProvider;
use rustls::{
    CipherSuite, ClientConfig, DigitallySignedStruct, RootCertStore, ServerConfig, SignatureScheme,
    SupportedProtocolVersion,
};
use thiserror::Error;

use crate::limits::{TICKETS_PER_SESSION, TLS_SESSIONS_PER_SERVER};
use crate::tls::certificates::{
    Certificate, CertificateError, CertificateSet, File, RevocationList, read_certificates,
};
use crate::tls::ciphers;
use crate::tls::tickets::TicketKeys;

/// What cannot work together.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum ConfigError {
    /// Something with a certificate or in a file with some.
    #[error(transparent)]
    Certificate(#[from] CertificateError),
    /// The cipher suites leave no version of TLS.
    #[error("none of the cipher suites works with {0} or newer")]
    NoVersion(&'static str),
    /// What rustls says about trusted certificates and revocation lists.
    #[error("the trusted certificates do not do: {0}")]
    Trust(String),
}

/// The oldest version of TLS that is spoken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MinVersion {
    /// TLS 1.2.
    #[default]
    Tls12,
    /// TLS 1.3.
    Tls13,
}

static TLS13_ONLY: &[&SupportedProtocolVersion] = &[&rustls::version::TLS13];

impl MinVersion {
    const fn name(self) -> &'static str {
        match self {
            Self::Tls12 => "TLS 1.2",
            Self::Tls13 => "TLS 1.3",
        }
    }

    fn versions(self) -> &'static [&'static SupportedProtocolVersion] {
        match self {
            Self::Tls12 => rustls::ALL_VERSIONS,
            Self::Tls13 => TLS13_ONLY,
        }
    }
}

/// What both sides of TLS have in common.
#[derive(Clone, Debug)]
pub struct Common {
    /// The oldest version.
    pub min_version: MinVersion,
    /// The cipher suites, best first; all if empty.
    pub cipher_suites: Vec<CipherSuite>,
    /// The application protocols, best first.
    pub alpn: Vec<Vec<u8>>,
    /// The clock that certificates are checked by.
    pub clock: Arc<dyn TimeProvider>,
}

impl Common {
    /// Everything there is, without application protocols.
    pub fn new(clock: Arc<dyn TimeProvider>) -> Self {
        Self {
            min_version: MinVersion::default(),
            cipher_suites: Vec::new(),
            alpn: Vec::new(),
            clock,
        }
    }

    fn provider(&self) -> Arc<CryptoProvider> {
        let mut provider = library::default_provider();
        let wanted = match self.cipher_suites.is_empty() {
            true => ciphers::all().collect(),
            false => self.cipher_suites.clone(),
        };
        let suites = &mut provider.cipher_suites;
        let place = |suite: CipherSuite| wanted.iter().position(|&other| other == suite);
        suites.retain(|suite| place(suite.suite()).is_some());
        suites.sort_by_key(|suite| place(suite.suite()));
        Arc::new(provider)
    }

    fn no_version(&self) -> ConfigError {
        ConfigError::NoVersion(self.min_version.name())
    }
}

/// The cryptography, for reading keys.
pub fn provider() -> CryptoProvider {
    library::default_provider()
}

/// Who may have signed certificates, and which of those are void.
#[derive(Clone, Debug)]
pub struct Trust {
    /// The certificates that are trusted.
    pub roots: Arc<RootCertStore>,
    /// Revocation lists. With any, one of each issuer is needed: a certificate of which nobody
    /// knows whether it was revoked is not accepted, nor one whose issuer's list has expired.
    pub revocation_lists: Vec<RevocationList>,
}

impl Trust {
    /// The certificates of a file, each of which has to be one that can sign others.
    ///
    /// # Errors
    /// When there is none, or one cannot be used.
    pub fn read(file: File<'_>) -> Result<Self, CertificateError> {
        let mut roots = RootCertStore::empty();
        for (index, certificate) in read_certificates(file)?.into_iter().enumerate() {
            roots
                .add(certificate)
                .map_err(|error| CertificateError::BadCertificate {
                    path: file.path.into(),
                    number: index.saturating_add(1),
                    what: error.to_string(),
                })?;
        }
        Ok(Self::of(roots))
    }

    /// The system's certificates: what cannot be used among them is passed over.
    ///
    /// # Errors
    /// When none is left.
    pub fn read_bundle(file: File<'_>) -> Result<Self, CertificateError> {
        let mut roots = RootCertStore::empty();
        let (usable, _) = roots.add_parsable_certificates(read_certificates(file)?);
        if usable == 0 {
            return Err(CertificateError::Missing {
                path: file.path.into(),
                what: "certificate that can be used",
            });
        }
        Ok(Self::of(roots))
    }

    fn lists(&self) -> impl Iterator<Item = CertificateRevocationListDer<'static>> {
        self.revocation_lists.iter().map(|list| list.der().clone())
    }

    fn of(roots: RootCertStore) -> Self {
        Self {
            roots: Arc::new(roots),
            revocation_lists: Vec::new(),
        }
    }
}

/// Whether clients show certificates.
#[derive(Clone, Debug, Default)]
pub enum ClientCertificates {
    /// They are not asked for any.
    #[default]
    Off,
    /// They may: one that is shown has to be good.
    Optional(Trust),
    /// They have to.
    Required(Trust),
}

/// What a listener wants.
#[derive(Clone, Debug)]
pub struct ServerOptions {
    /// Versions, suites, protocols.
    pub common: Common,
    /// Its certificates.
    pub certificates: Arc<CertificateSet>,
    /// Whether clients show certificates.
    pub client_certificates: ClientCertificates,
    /// The process's ticket keys and the name of the listener; without, nothing is resumed.
    pub tickets: Option<(Arc<TicketKeys>, String)>,
}

impl ServerOptions {
    /// The configuration, for all workers.
    ///
    /// # Errors
    /// When the options do not work together.
    pub fn build(&self) -> Result<Arc<ServerConfig>, ConfigError> {
        let common = &self.common;
        let provider = common.provider();
        let builder =
            ServerConfig::builder_with_details(Arc::clone(&provider), Arc::clone(&common.clock))
                .with_protocol_versions(common.min_version.versions())
                .map_err(|_| common.no_version())?;
        let (trust, optional) = match &self.client_certificates {
            ClientCertificates::Off => (None, false),
            ClientCertificates::Optional(trust) => (Some(trust), true),
            ClientCertificates::Required(trust) => (Some(trust), false),
        };
        let builder = match trust {
            None => builder.with_no_client_auth(),
            Some(trust) => {
                let mut verifier = WebPkiClientVerifier::builder_with_provider(
                    Arc::clone(&trust.roots),
                    Arc::clone(&provider),
                )
                .with_crls(trust.lists())
                .enforce_revocation_expiration();
                if optional {
                    verifier = verifier.allow_unauthenticated();
                }
                let verifier = verifier.build();
                builder.with_client_cert_verifier(
                    verifier.map_err(|error| ConfigError::Trust(error.to_string()))?,
                )
            }
        };
        let certificates: Arc<CertificateSet> = Arc::clone(&self.certificates);
        let mut config = builder.with_cert_resolver(certificates);
        config.alpn_protocols.clone_from(&common.alpn);
        // Whoever configures suites has an order in mind, and old clients have bad ones.
        config.ignore_client_order = true;
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.max_early_data_size = 0;
        config.send_tls13_tickets = 0;
        if let (Some((keys, listener)), None) = (&self.tickets, trust) {
            config.ticketer = keys.ticketer(listener, &self.policy());
            config.send_tls13_tickets = TICKETS_PER_SESSION;
        }
        Ok(Arc::new(config))
    }

    /// What a session has to have been made under to be resumed: the floors, not the certificates,
    /// which are renewed every few weeks and are bound to their names anyway.
    fn policy(&self) -> Vec<u8> {
        let mut text = self.common.min_version.name().to_owned();
        for suite in &self.common.cipher_suites {
            text.push(' ');
            text.push_str(ciphers::name(*suite));
        }
        digest(&SHA256, text.as_bytes()).as_ref().to_vec()
    }
}

/// Which servers are believed.
#[derive(Clone, Debug)]
pub enum ServerCheck {
    /// Any: the connection is encrypted, and may be with anybody.
    Insecure,
    /// Those with a certificate for their name that these have signed.
    Verify(Trust),
}

/// What a pool wants.
#[derive(Clone, Debug)]
pub struct ClientOptions {
    /// Versions, suites, protocols.
    pub common: Common,
    /// Which servers are believed.
    pub check: ServerCheck,
    /// A certificate to show.
    pub certificate: Option<Certificate>,
    /// Whether the server is told which name is expected of it.
    pub send_server_name: bool,
}

impl ClientOptions {
    /// A configuration, for one server and one worker: what is remembered to resume sessions sits
    /// behind a lock, which nobody else then waits for, and no ticket is shown to another server.
    ///
    /// # Errors
    /// When the options do not work together.
    pub fn build(&self) -> Result<Arc<ClientConfig>, ConfigError> {
        let common = &self.common;
        let provider = common.provider();
        let trouble = |error: &dyn std::fmt::Display| ConfigError::Trust(error.to_string());
        let verifier: Arc<dyn ServerCertVerifier> = match &self.check {
            ServerCheck::Insecure => {
                Arc::new(AnyServer(provider.signature_verification_algorithms))
            }
            ServerCheck::Verify(trust) => {
                let roots = Arc::clone(&trust.roots);
                WebPkiServerVerifier::builder_with_provider(roots, Arc::clone(&provider))
                    .with_crls(trust.lists())
                    .enforce_revocation_expiration()
                    .build()
                    .map_err(|error| trouble(&error))?
            }
        };
        let builder = ClientConfig::builder_with_details(provider, Arc::clone(&common.clock))
            .with_protocol_versions(common.min_version.versions())
            .map_err(|_| common.no_version())?
            .dangerous()
            .with_custom_certificate_verifier(verifier);
        let mut config = match &self.certificate {
            None => builder.with_no_client_auth(),
            Some(certificate) => {
                let key = certificate.certified_key().as_ref().clone();
                builder.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(key)))
            }
        };
        config.alpn_protocols.clone_from(&common.alpn);
        config.enable_sni = self.send_server_name;
        config.enable_early_data = false;
        config.resumption = Resumption::in_memory_sessions(TLS_SESSIONS_PER_SERVER);
        Ok(Arc::new(config))
    }
}

/// Believes any server that has the key of the certificate it shows.
#[derive(Debug)]
struct AnyServer(WebPkiSupportedAlgorithms);

impl ServerCertVerifier for AnyServer {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signed, &self.0)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signed, &self.0)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_schemes()
    }
}
