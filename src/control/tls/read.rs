//! From what a configuration says about TLS to what workers work with.

use std::fmt;
use std::sync::Arc;

use rustls::ClientConfig;
use rustls::pki_types::UnixTime;
use rustls::time_provider::DefaultTimeProvider;
use zeroize::Zeroizing;

use super::TlsState;
use super::expiry::{Watch, Watched, WatchedList};
use super::roots::{self, BUNDLES};
use crate::config::{
    self, CertificateFiles, Diagnostic, Errors, FileAt, Listener, ListenerTlsMode, Pool, Position,
    Severity, TlsCommon, TlsServer, TrustFiles,
};
use crate::control::files;
use crate::mysql::password_key::PasswordKey;
use crate::tls::certificates::{
    self, Certificate, CertificateError, CertificateSet, RevocationList, read_revocation_lists,
};
use crate::tls::ciphers;
use crate::tls::config::{
    ClientCertificates, ClientOptions, Common, ServerCheck, ServerOptions, Trust, provider,
};
use crate::tls::names::{Routes, Rule};
use crate::tls::policy::{Acceptor, ListenerMode, ListenerPolicy};

/// Whose a file is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::control) enum Owner {
    /// The listener of this name.
    Listener(String),
    /// The pool of this name.
    Pool(String),
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Listener(name) => write!(f, "listener {name}"),
            Self::Pool(name) => write!(f, "pool {name}"),
        }
    }
}

/// Something was wrong, and has been recorded.
pub(super) struct Recorded;

type Read<T> = Result<T, Recorded>;

/// Reads files, and goes on when one of them is wrong.
pub(super) struct Reader<'a> {
    state: &'a TlsState,
    /// Read once, when the first pool wants it.
    system: Option<Result<Trust, String>>,
    watch: Watch,
    errors: Vec<Diagnostic>,
}

impl<'a> Reader<'a> {
    pub(super) fn new(state: &'a TlsState) -> Self {
        Self {
            state,
            system: None,
            watch: Watch::default(),
            errors: Vec::new(),
        }
    }

    /// What was read and has an end, and what may not be meant about it.
    pub(super) fn finish(self) -> Result<(Watch, Vec<Diagnostic>), Errors> {
        Errors::if_any(self.errors)?;
        let news = self.watch.news(UnixTime::now());
        let warnings = news
            .map(|(position, text)| Diagnostic::at(position, Severity::Warning, text))
            .collect();
        Ok((self.watch, warnings))
    }

    /// `None`: it has no TLS, or something is wrong.
    pub(super) fn listener(&mut self, listener: &Listener) -> Option<Arc<ListenerPolicy>> {
        let tls = listener.tls.as_ref()?;
        let owner = Owner::Listener(listener.name.clone());
        let server = tls.mode.server();
        let acceptor = server.map(|server| self.acceptor(&owner, server, tls.position));
        let acceptor = acceptor.transpose().ok()?;
        let mode = match (&tls.mode, acceptor) {
            (ListenerTlsMode::Terminate(_), Some(acceptor)) => ListenerMode::Terminate(acceptor),
            (ListenerTlsMode::Preferred(_), Some(acceptor)) => ListenerMode::Preferred(acceptor),
            (ListenerTlsMode::Required(_), Some(acceptor)) => ListenerMode::Required(acceptor),
            (_, _) => ListenerMode::Passthrough,
        };
        let rules: Vec<Rule> = tls.routes.iter().map(|route| route.rule.clone()).collect();
        Some(Arc::new(ListenerPolicy {
            mode,
            routes: Routes::new(&rules).expect("every rule is reached"),
            handshake_timeout: tls.handshake_timeout,
            handshakes_max: tls.handshakes_max,
        }))
    }

    fn acceptor(
        &mut self,
        owner: &Owner,
        server: &TlsServer,
        position: Position,
    ) -> Read<Acceptor> {
        let certificates = self.listener_certificates(owner, server, position);
        let client_certificates = self.client_certificates(owner, &server.client_certificates);
        let keys = &self.state.0.ticket_keys;
        let tickets = (Arc::clone(keys), owner.to_string());
        let options = ServerOptions {
            common: common(&server.common),
            certificates: Arc::new(certificates?),
            client_certificates: client_certificates?,
            tickets: server.session_tickets.then_some(tickets),
        };
        let built = options.build();
        let config = built.map_err(|error| self.error(owner, position, &error))?;
        Ok(Acceptor::new(config))
    }

    fn listener_certificates(
        &mut self,
        owner: &Owner,
        server: &TlsServer,
        position: Position,
    ) -> Read<CertificateSet> {
        let mut certificates = Vec::new();
        if server.certificates.is_empty() {
            let own = self.state.own_certificate();
            certificates.push(own.map_err(|error| self.error(owner, position, &error)));
        }
        for files in &server.certificates {
            certificates.push(self.certificate(owner, files));
        }
        let certificates = certificates.into_iter().collect::<Read<Vec<_>>>()?;
        self.check_suites(owner, server, &certificates, position)?;
        self.check_names(owner, server, &certificates)?;
        CertificateSet::new(certificates).map_err(|error| self.error(owner, position, &error))
    }

    /// Each certificate is one that somebody can be shown, by some suite of the listener.
    fn check_suites(
        &mut self,
        owner: &Owner,
        server: &TlsServer,
        certificates: &[Certificate],
        position: Position,
    ) -> Read<()> {
        let suites = &server.common.cipher_suites;
        let mut checked = Ok(());
        for (place, certificate) in certificates.iter().enumerate() {
            let kind = match certificate.algorithm() {
                "RSA" => "RSA",
                _ => "ECDSA",
            };
            let is_usable = |&suite| ciphers::is_tls13(suite) || ciphers::signs_by(suite, kind);
            if suites.is_empty() || suites.iter().any(is_usable) {
                continue;
            }
            let files = server.certificates.get(place);
            let (which, position) = match files {
                Some(files) => (path(&files.certificate), files.certificate.position),
                None => ("made at start".to_owned(), position),
            };
            let why = format!(
                "the certificate {which} can be shown to nobody: its key is {}, and none of \
                 `cipher_suites` is for that",
                certificate.algorithm()
            );
            checked = Err(self.error(owner, position, &why));
            let help = format!("add TLS_ECDHE_{kind}_WITH_AES_128_GCM_SHA256, or one of TLS 1.3");
            self.help(help);
        }
        checked
    }

    /// No certificate stands behind others that are shown to whoever could be shown it.
    fn check_names(
        &mut self,
        owner: &Owner,
        server: &TlsServer,
        certificates: &[Certificate],
    ) -> Read<()> {
        let mut checked = Ok(());
        for (place, (files, certificate)) in
            server.certificates.iter().zip(certificates).enumerate()
        {
            let alike = || {
                let earlier = certificates[..place].iter();
                earlier.filter(|earlier| earlier.is_checked_as(certificate))
            };
            let is_taken = |name| alike().any(|earlier| earlier.names().contains(name));
            let names = certificate.names();
            if !names.is_empty() && names.iter().all(is_taken) {
                let (which, kind) = (path(&files.certificate), certificate.algorithm());
                let why = format!(
                    "the certificate {which} is never shown: each of its names has one with an \
                     {kind} key before it"
                );
                checked = Err(self.error(owner, files.certificate.position, &why));
                self.help("leave one of them out".to_owned());
            }
        }
        checked
    }

    fn client_certificates(
        &mut self,
        owner: &Owner,
        configured: &config::ClientCertificates,
    ) -> Read<ClientCertificates> {
        Ok(match configured {
            config::ClientCertificates::Off => ClientCertificates::Off,
            config::ClientCertificates::Optional(files) => {
                ClientCertificates::Optional(self.trust(owner, files)?)
            }
            config::ClientCertificates::Required(files) => {
                ClientCertificates::Required(self.trust(owner, files)?)
            }
        })
    }

    /// `None`: it has no TLS, or something is wrong.
    pub(super) fn pool(&mut self, pool: &Pool) -> Option<Arc<ClientConfig>> {
        let tls = pool.tls.as_ref()?;
        let owner = Owner::Pool(pool.name.clone());
        let certificate = tls.certificate.as_ref();
        let certificate = certificate.map(|files| self.certificate(&owner, files));
        let check = match &tls.check {
            config::ServerCheck::Insecure => Ok(ServerCheck::Insecure),
            config::ServerCheck::Verify {
                ca,
                revocation_lists,
            } => {
                let trust = match ca {
                    Some(ca) => self.authorities(&owner, ca),
                    None => self.system_trust(&owner, tls.position),
                };
                let trust = self.with_revocation_lists(&owner, trust, revocation_lists);
                trust.map(ServerCheck::Verify)
            }
        };
        let options = ClientOptions {
            common: common(&tls.common),
            check: check.ok()?,
            certificate: certificate.transpose().ok()?,
            send_server_name: true,
        };
        let built = options.build();
        built
            .map_err(|error| self.error(&owner, tls.position, &error))
            .ok()
    }

    /// `None`: no pool is one whose servers would be told passwords over TLS, or there is no key.
    pub(super) fn password_key(&mut self, pools: &[Pool]) -> Option<Arc<PasswordKey>> {
        let of_mysql = |pool: &&Pool| pool.mysql.is_some() && pool.tls.is_some();
        let pool = pools.iter().find(of_mysql)?;
        let position = pool.tls.as_ref()?.position;
        let owner = Owner::Pool(pool.name.clone());
        let made = self.state.password_key();
        made.map_err(|error| self.error(&owner, position, &error))
            .ok()
    }

    fn certificate(&mut self, owner: &Owner, files: &CertificateFiles) -> Read<Certificate> {
        let certificate = self.bytes(owner, "certificate file", &files.certificate, files::open);
        if let Ok(bytes) = &certificate
            && certificates::is_key_alone(bytes)
        {
            // The certificate in the key's place would be called a key that is open to everybody.
            let why = format!(
                "certificate file {} has a key in it and no certificate: have certificate_file and \
                 key_file been mixed up?",
                path(&files.certificate)
            );
            return Err(self.error(owner, files.certificate.position, &why));
        }
        let key = self.bytes(owner, "key file", &files.key, files::open_secret);
        let ocsp = files.ocsp.as_ref();
        let staple = ocsp.map(|ocsp| self.bytes(owner, "OCSP file", ocsp, files::open));
        let (certificate, key, staple) = (certificate?, key?, staple.transpose()?);
        let [certificate_path, key_path] = [&files.certificate, &files.key].map(path);
        let staple_path = ocsp.map(path).unwrap_or_default();
        let staple = staple.as_ref().map(|bytes| certificates::File {
            path: &staple_path,
            bytes,
        });
        let read = Certificate::read(
            certificates::File {
                path: &certificate_path,
                bytes: &certificate,
            },
            certificates::File {
                path: &key_path,
                bytes: &key,
            },
            staple,
            &provider(),
        );
        let read = read.map_err(|error| {
            let at_fault = |file: &&FileAt| error.path() == Some(&path(file));
            let named = [Some(&files.key), ocsp]
                .into_iter()
                .flatten()
                .find(at_fault);
            let position = named.unwrap_or(&files.certificate).position;
            self.error(owner, position, &error)
        })?;
        let watched = Watched::new(owner.clone(), files, read.clone());
        self.watch.certificates.push(watched);
        Ok(read)
    }

    fn trust(&mut self, owner: &Owner, files: &TrustFiles) -> Read<Trust> {
        let trust = self.authorities(owner, &files.ca);
        self.with_revocation_lists(owner, trust, &files.revocation_lists)
    }

    fn authorities(&mut self, owner: &Owner, ca: &FileAt) -> Read<Trust> {
        self.parsed(owner, "CA file", ca, Trust::read)
    }

    fn system_trust(&mut self, owner: &Owner, position: Position) -> Read<Trust> {
        let system = self
            .system
            .get_or_insert_with(|| roots::read(&BUNDLES))
            .clone();
        system.map_err(|why| {
            let help = "install the system's package of them, or name a `ca_file`";
            let error = self.error(owner, position, &why);
            self.help(help.to_owned());
            error
        })
    }

    fn with_revocation_lists(
        &mut self,
        owner: &Owner,
        trust: Read<Trust>,
        files: &[FileAt],
    ) -> Read<Trust> {
        let lists: Vec<_> = files
            .iter()
            .map(|file| self.revocation_lists(owner, file))
            .collect();
        let lists = lists.into_iter().collect::<Read<Vec<_>>>()?;
        Ok(Trust {
            revocation_lists: lists.concat(),
            ..trust?
        })
    }

    fn revocation_lists(&mut self, owner: &Owner, file: &FileAt) -> Read<Vec<RevocationList>> {
        let lists = self.parsed(owner, "revocation list", file, read_revocation_lists)?;
        let watched = lists
            .iter()
            .filter_map(|list| WatchedList::new(owner, file, list));
        self.watch.lists.extend(watched);
        Ok(lists)
    }

    fn parsed<T>(
        &mut self,
        owner: &Owner,
        what: &str,
        file: &FileAt,
        parse: impl FnOnce(certificates::File<'_>) -> Result<T, CertificateError>,
    ) -> Read<T> {
        let bytes = self.bytes(owner, what, file, files::open)?;
        let parsed = parse(certificates::File {
            path: &path(file),
            bytes: &bytes,
        });
        parsed.map_err(|error| self.error(owner, file.position, &error))
    }

    fn bytes(
        &mut self,
        owner: &Owner,
        what: &str,
        file: &FileAt,
        open: impl FnOnce(&std::path::Path) -> Result<std::fs::File, String>,
    ) -> Read<Zeroizing<Vec<u8>>> {
        let bytes = open(&file.path).and_then(roots::read_all);
        bytes.map_err(|why| {
            let why = format!("{what} {} {why}", file.path.display());
            self.error(owner, file.position, &why)
        })
    }

    fn error(&mut self, owner: &Owner, position: Position, why: &dyn fmt::Display) -> Recorded {
        let message = format!("{owner}: {why}");
        self.errors
            .push(Diagnostic::at(position, Severity::Error, message));
        Recorded
    }

    /// What to do about the error that was recorded last.
    fn help(&mut self, help: String) {
        if let Some(recorded) = self.errors.last_mut() {
            recorded.help = Some(help);
        }
    }
}

fn path(file: &FileAt) -> String {
    file.path.display().to_string()
}

fn common(configured: &TlsCommon) -> Common {
    let alpn = configured.alpn.iter();
    Common {
        min_version: configured.min_version,
        cipher_suites: configured.cipher_suites.clone(),
        alpn: alpn.map(|protocol| protocol.clone().into_bytes()).collect(),
        ..Common::new(Arc::new(DefaultTimeProvider))
    }
}
