//! TLS of listeners and pools in one configuration generation, made by whoever has read the files,
//! for the workers: they ask for sessions and know nothing of certificates.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use rustls::client::Resumption;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ServerConfig};

use crate::limits::TLS_SESSIONS_PER_SERVER;
use crate::tls::names::Routes;
use crate::tls::session::{Failure, Session};

/// TLS with the clients of a listener.
#[derive(Debug)]
pub struct ListenerPolicy {
    /// What is done with it.
    pub mode: ListenerMode,
    /// Which rule takes a connection; what none takes goes to the pool of the listener.
    pub routes: Routes,
    /// From the first byte to the end of the handshake; where TLS is passed through, to the end of
    /// the ClientHello.
    pub handshake_timeout: Duration,
    /// Handshakes at a time in each worker.
    pub handshakes_max: u32,
}

/// What a listener does with TLS.
#[derive(Clone, Debug)]
pub enum ListenerMode {
    /// TLS begins with the first byte, and ends here.
    Terminate(Acceptor),
    /// The ClientHello is read, and everything goes on as it came.
    Passthrough,
    /// MySQL: the client may ask for TLS.
    Preferred(Acceptor),
    /// MySQL: the client has to ask for it.
    Required(Acceptor),
}

/// Makes the server's side of connections.
#[derive(Clone, Debug)]
pub struct Acceptor(Arc<ServerConfig>);

impl Acceptor {
    /// From a configuration for all workers.
    pub fn new(config: Arc<ServerConfig>) -> Self {
        Self(config)
    }

    /// The server's side of a new connection.
    ///
    /// # Errors
    /// When the configuration does not work.
    pub fn accept(&self) -> Result<Session, Failure> {
        Session::server(&self.0)
    }
}

/// TLS with the servers of a pool.
#[derive(Debug)]
pub struct PoolPolicy {
    options: ClientConfig,
    names: Vec<ServerName<'static>>,
    threads: usize,
    /// By member and thread, made when the first connection needs it: what is remembered to resume
    /// sessions sits behind a lock, which nobody else then waits for, and no ticket is shown to
    /// another server.
    configs: Box<[OnceLock<Arc<ClientConfig>>]>,
    /// For checks: one that resumed a session would not see the certificate.
    checking: Arc<ClientConfig>,
}

impl PoolPolicy {
    /// For a pool whose members have these names, and for so many threads that connect.
    pub fn new(options: &ClientConfig, names: Vec<ServerName<'static>>, threads: usize) -> Self {
        let slots = names.len().saturating_mul(threads);
        let mut checking = options.clone();
        checking.resumption = Resumption::disabled();
        Self {
            checking: Arc::new(checking),
            options: options.clone(),
            configs: (0..slots).map(|_| OnceLock::new()).collect(),
            names,
            threads,
        }
    }

    /// The client's side of a new connection to the member of the pool at this place; only `thread`
    /// calls with its number. Its first message is ready to be sent.
    ///
    /// # Errors
    /// When there is no such member or thread, or the configuration does not work.
    pub fn connect(&self, member: usize, thread: usize) -> Result<Session, Failure> {
        let slot = member.checked_mul(self.threads);
        let slot = slot.and_then(|first| first.checked_add(thread));
        let slot = slot.filter(|_| thread < self.threads);
        let slot = slot.and_then(|slot| self.configs.get(slot));
        let (Some(slot), Some(name)) = (slot, self.names.get(member)) else {
            let what = format!("thread {thread} knows no member {member}");
            return Err(Failure::Ours(what.into()));
        };
        let config = slot.get_or_init(|| {
            let mut config = self.options.clone();
            config.resumption = Resumption::in_memory_sessions(TLS_SESSIONS_PER_SERVER);
            Arc::new(config)
        });
        Session::client(config, name.clone())
    }

    /// The client's side of a new connection that checks the member of the pool at this place, on
    /// any thread: always with a full handshake, and offering those of the pool's application
    /// protocols that the check can speak.
    ///
    /// # Errors
    /// When there is no such member, or the configuration does not work.
    pub fn check(
        &self,
        member: usize,
        can_speak: impl Fn(&[u8]) -> bool,
    ) -> Result<Session, Failure> {
        let Some(name) = self.names.get(member) else {
            return Err(Failure::Ours(format!("there is no member {member}").into()));
        };
        let mut alpn = self.checking.alpn_protocols.clone();
        alpn.retain(|protocol| can_speak(protocol));
        Session::client_offering(&self.checking, name.clone(), alpn)
    }
}
