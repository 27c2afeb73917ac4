//! The certificates, keys and trusted certificates of one configuration generation. They are read
//! at start, by `ringway check`, and at each SIGHUP: what is wrong with any of them is an error of
//! the file that names it, and changes nothing.

mod expiry;
mod read;
mod roots;
#[cfg(test)]
mod tests;

use std::io;
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use nix::sys::utsname::uname;
use rustls::ClientConfig;
use rustls::pki_types::UnixTime;

use self::expiry::Watch;
pub(super) use self::expiry::Watched;
pub(super) use self::read::Owner;
use self::read::Reader;
use super::Error;
use crate::config::{Config, Diagnostic, Errors, Pool};
use crate::mysql::password_key::{NoKey, PasswordKey};
use crate::tls::certificates::Certificate;
use crate::tls::config::provider;
use crate::tls::names::host_name;
use crate::tls::policy::{ListenerPolicy, PoolPolicy};
use crate::tls::self_signed::{self, SelfSignedError};
use crate::tls::tickets::{NoRandomness, TicketKeys};

/// What of TLS lives as long as the process: the keys of session tickets, the certificate of mysql
/// listeners for which none is configured, and the key for passwords of mysql clients without TLS.
#[derive(Clone, Debug)]
pub struct TlsState(Arc<Lasting>);

#[derive(Debug)]
struct Lasting {
    ticket_keys: Arc<TicketKeys>,
    started: Instant,
    own_certificate: OnceLock<Certificate>,
    password_key: OnceLock<Arc<PasswordKey>>,
}

impl TlsState {
    /// Of a process that has just started.
    ///
    /// # Errors
    /// When the system gives no random numbers.
    pub fn new() -> Result<Self, Error> {
        let started = Instant::now();
        let ticket_keys = TicketKeys::new(started.elapsed())
            .map_err(io::Error::other)
            .map_err(Error::internal("cannot make keys for session tickets"))?;
        Ok(Self(Arc::new(Lasting {
            ticket_keys,
            started,
            own_certificate: OnceLock::new(),
            password_key: OnceLock::new(),
        })))
    }

    /// Replaces the keys of session tickets when their time has come.
    ///
    /// # Errors
    /// When the system gives no random numbers; the keys stay as they are.
    pub(super) fn rotate_ticket_keys(&self) -> Result<(), NoRandomness> {
        self.0.ticket_keys.rotate(self.0.started.elapsed())
    }

    /// The certificate for those who have configured none: the same as long as the process lives.
    fn own_certificate(&self) -> Result<Certificate, SelfSignedError> {
        let own = &self.0.own_certificate;
        if own.get().is_none() {
            let made = make_certificate()?;
            // Another thread may have been faster, which does not matter.
            let _ = own.set(made);
        }
        let made = own.get().expect("it has just been made");
        Ok(made.clone())
    }

    /// The key for passwords, of which one is enough for the life of the process.
    fn password_key(&self) -> Result<Arc<PasswordKey>, NoKey> {
        let key = &self.0.password_key;
        if key.get().is_none() {
            let made = PasswordKey::make()?;
            // Another thread may have been faster, which does not matter.
            let _ = key.set(Arc::new(made));
        }
        let made = key.get().expect("it has just been made");
        Ok(Arc::clone(made))
    }
}

/// For this host, under the names by which it knows itself.
fn make_certificate() -> Result<Certificate, SelfSignedError> {
    let host = uname().ok();
    let host = host.as_ref().and_then(|host| host.nodename().to_str());
    let host = host.and_then(|name| host_name(name.as_bytes()));
    let names: Vec<&str> = host.as_deref().into_iter().chain(["localhost"]).collect();
    self_signed::make(&names, UnixTime::now(), &provider())
}

/// What a configuration names for its TLS, read and ready.
#[derive(Debug, Default)]
pub struct LoadedTls {
    listeners: Vec<Option<Arc<ListenerPolicy>>>,
    pools: Vec<Option<Arc<ClientConfig>>>,
    watch: Watch,
    password_key: Option<Arc<PasswordKey>>,
}

impl LoadedTls {
    /// Reads it. Blocks, though not for long. What may not be meant comes with it.
    ///
    /// # Errors
    /// All that is wrong with the files, each where the configuration names it.
    pub fn read(config: &Config, state: &TlsState) -> Result<(Self, Vec<Diagnostic>), Errors> {
        let mut reader = Reader::new(state);
        let listeners = config.listeners.iter();
        let listeners = listeners
            .map(|listener| reader.listener(listener))
            .collect();
        let pools = config.pools.iter().map(|pool| reader.pool(pool)).collect();
        let password_key = reader.password_key(&config.pools);
        let (watch, warnings) = reader.finish()?;
        let loaded = Self {
            listeners,
            pools,
            watch,
            password_key,
        };
        Ok((loaded, warnings))
    }

    /// TLS with the clients of the configuration's listener at this place; `None`: none.
    pub(super) fn listener(&self, index: usize) -> Option<Arc<ListenerPolicy>> {
        self.listeners.get(index)?.clone()
    }

    /// TLS with the servers of the configuration's pool at this place, whose names are resolved;
    /// `None`: none. Workers connect by their index, and the control thread by the one behind them.
    ///
    /// # Panics
    /// When this was read for another configuration.
    pub(super) fn pool(&self, index: usize, pool: &Pool, workers: usize) -> Option<PoolPolicy> {
        let options = self.pools.get(index)?.as_ref()?;
        let name = |server: &crate::config::Server| {
            let name = server.server_name.clone();
            name.expect("servers of a pool with TLS have a name")
        };
        let names = pool.servers.iter().map(name).collect();
        Some(PoolPolicy::new(options, names, workers + 1))
    }

    /// The key for passwords of mysql clients without TLS, where servers are on TLS.
    pub(super) fn password_key(&self) -> Option<&Arc<PasswordKey>> {
        self.password_key.as_ref()
    }

    /// The certificates that listeners and pools show, in the order of the configuration.
    pub(super) fn certificates(&self) -> &[Watched] {
        &self.watch.certificates
    }

    /// Which files have another certificate in them than they had before, in words. A configuration
    /// does not differ by that.
    pub(super) fn renewed_since(&self, before: &Self) -> Vec<String> {
        let now = UnixTime::now();
        let of_same_file = |one: &Watched| before.certificates().iter().find(|old| old.is_for(one));
        let is_new = |one: &&Watched| {
            let chain = |one: &Watched| one.certificate().certified_key().cert.clone();
            of_same_file(one).is_some_and(|old| chain(old) != chain(one))
        };
        let renewed = self.certificates().iter().filter(is_new);
        renewed.map(|one| one.describe_renewal(now)).collect()
    }

    /// What these would come to with a certificate in this file, as far as it is shown.
    #[cfg(test)]
    pub(super) fn showing(owners: impl IntoIterator<Item = Owner>, file: &str) -> Self {
        let file = crate::config::FileAt {
            path: file.into(),
            position: crate::config::Position { line: 1, column: 1 },
        };
        let files = crate::config::CertificateFiles {
            certificate: file.clone(),
            key: file,
            ocsp: None,
        };
        let certificate = make_certificate().unwrap();
        let owners = owners.into_iter();
        let watched = owners.map(|owner| Watched::new(owner, &files, certificate.clone()));
        let mut loaded = Self::default();
        loaded.watch.certificates.extend(watched);
        loaded
    }

    /// Logs which certificates and revocation lists have come closer to their end since they were
    /// looked at last.
    pub(super) fn warn_of_expiry(&self) {
        for (_, warning) in self.watch.news(UnixTime::now()) {
            tracing::warn!("{warning}; renew it, and send SIGHUP");
        }
    }
}
