//! Peers that speak TLS, with the product's own sessions, and peers that only seem to.
//!
//! TLS draws random numbers of its own, so ciphertext differs from run to run. Its length does not
//! (keys are Ed25519, whose signatures all have the same), and what happens depends on nothing else:
//! a seed that breaks something breaks it again. The one exception is nonsense in the middle of a
//! ClientHello, the extensions of which rustls shuffles: what is wrong with it may vary.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use rcgen::{CertificateParams, KeyPair, PKCS_ED25519};
use rustls::client::Resumption;
use rustls::crypto::aws_lc_rs::kx_group::X25519;
use rustls::pki_types::PrivatePkcs8KeyDer;
use rustls::server::NoServerSessionStorage;
use rustls::{ClientConfig, RootCertStore, ServerConfig};

use super::socket::pattern;
use crate::entropy::Entropy;
use crate::limits::{TICKETS_PER_SESSION, TLS_PLAINTEXT_BYTES_MAX, TLS_RECORD_BYTES_MAX};
use crate::tls::config::provider;
use crate::tls::fuzzing::{NOW, Stopped, suites_with_short_lived_keys};
use crate::tls::names::Routes;
use crate::tls::policy::{Acceptor, ListenerMode, ListenerPolicy, PoolPolicy};
use crate::tls::session::Session;
use crate::tls::tickets::TicketKeys;
use crate::worker::RouteTls;

const NAME: &str = "sim.example";
/// Records in a row that are as long as a peer was told to make them, so that a run with records of
/// one byte ends.
const ODD_RECORDS: u32 = 30;
/// A record of application data that nobody has encrypted.
const NOISE: [u8; 45] = {
    let mut record = [0xa5; 45];
    (record[0], record[1], record[2]) = (23, 3, 3);
    (record[3], record[4]) = (0, 40);
    record
};

/// The configurations of both sides, of the worker and of its peers alike.
struct Configs {
    server: Arc<ServerConfig>,
    client: ClientConfig,
}

/// With TLS 1.2, with TLS 1.3, and with keys that are renewed every few records.
static CONFIGS: LazyLock<[Configs; 3]> = LazyLock::new(|| {
    let key = KeyPair::generate_for(&PKCS_ED25519).expect("random numbers");
    let params = CertificateParams::new([NAME.to_owned()]).expect("a name");
    let certificate = params.self_signed(&key).expect("a certificate");
    let regular = || {
        let mut provider = provider();
        provider.kx_groups = vec![X25519];
        provider
    };
    let mut old = regular();
    old.cipher_suites.retain(|suite| suite.tls13().is_none());
    let mut short_lived = regular();
    short_lived.cipher_suites = suites_with_short_lived_keys();
    [old, regular(), short_lived].map(|provider| {
        let der = certificate.der().clone();
        let key = PrivatePkcs8KeyDer::from(key.serialize_der());
        let provider = Arc::new(provider);
        let mut roots = RootCertStore::empty();
        roots.add(der.clone()).expect("a certificate");
        let mut server = ServerConfig::builder_with_details(Arc::clone(&provider), clock())
            .with_safe_default_protocol_versions()
            .expect("suites for a version")
            .with_no_client_auth()
            .with_single_cert(vec![der], key.into())
            .expect("a key that fits");
        let tickets = TicketKeys::new(Duration::ZERO).expect("random numbers");
        server.ticketer = tickets.ticketer("sim", b"");
        server.send_tls13_tickets = TICKETS_PER_SESSION;
        server.session_storage = Arc::new(NoServerSessionStorage {});
        let client = ClientConfig::builder_with_details(provider, clock())
            .with_safe_default_protocol_versions()
            .expect("suites for a version")
            .with_root_certificates(roots)
            .with_no_client_auth();
        Configs {
            server: Arc::new(server),
            client,
        }
    })
});

fn clock() -> Arc<Stopped> {
    Arc::new(Stopped(NOW))
}

/// Who speaks TLS in a world, and how.
pub(super) struct Dialect {
    listener: Option<ListenerMode>,
    clients: Option<Arc<ClientConfig>>,
    servers: Option<Arc<ServerConfig>>,
    pool: Option<ClientConfig>,
    handshakes_max: u32,
}

impl Dialect {
    /// Nobody does.
    pub(super) fn plain() -> Self {
        Self {
            listener: None,
            clients: None,
            servers: None,
            pool: None,
            handshakes_max: 0,
        }
    }

    /// Clients, servers, both of them with the worker, both with each other, or nobody.
    pub(super) fn draw(entropy: &mut Entropy<'_>) -> Self {
        let configs = &CONFIGS[entropy.below(CONFIGS.len())];
        let (clients, servers, passed_through) = match entropy.below(8) {
            0 | 1 => (true, false, false),
            2 | 3 => (false, true, false),
            4 | 5 => (true, true, false),
            6 => (true, true, true),
            _ => (false, false, false),
        };
        // What is remembered to resume sessions is not to be carried over from one run to the next.
        let mut client = configs.client.clone();
        client.resumption = Resumption::in_memory_sessions(32);
        let mode = match passed_through {
            true => ListenerMode::Passthrough,
            false => ListenerMode::Terminate(Acceptor::new(Arc::clone(&configs.server))),
        };
        let few = entropy.once_in(4);
        Self {
            listener: clients.then_some(mode),
            pool: (servers && !passed_through).then(|| client.clone()),
            clients: clients.then(|| Arc::new(client)),
            servers: servers.then(|| Arc::clone(&configs.server)),
            handshakes_max: if few {
                1 + entropy.below(5) as u32
            } else {
                1000
            },
        }
    }

    /// What the worker is told.
    pub(super) fn route(&self, servers: usize, handshake_timeout: Duration) -> RouteTls {
        let policy = |mode: &ListenerMode| ListenerPolicy {
            mode: mode.clone(),
            routes: Routes::new(&[]).expect("no rule is unreachable"),
            handshake_timeout,
            handshakes_max: self.handshakes_max,
        };
        let pool = |config| {
            let names = vec![NAME.try_into().expect("a name"); servers];
            Arc::new(PoolPolicy::new(config, names, 1))
        };
        RouteTls {
            listener: self.listener.as_ref().map(policy).map(Arc::new),
            pool: self.pool.as_ref().map(pool),
            by_rule: Vec::new(),
        }
    }

    /// Whether peers speak TLS with each other, past the worker.
    pub(super) fn is_passed_through(&self) -> bool {
        matches!(self.listener, Some(ListenerMode::Passthrough))
    }

    /// Whether clients speak TLS with the worker.
    pub(super) fn is_terminated(&self) -> bool {
        matches!(self.listener, Some(ListenerMode::Terminate(_)))
    }

    /// Whether servers do.
    pub(super) fn reaches_servers(&self) -> bool {
        self.pool.is_some()
    }

    /// A client's TLS.
    pub(super) fn client(&self) -> Option<TlsPeer> {
        let config = self.clients.as_ref()?;
        let session = Session::client(config, NAME.try_into().expect("a name"));
        Some(TlsPeer::new(session.expect("a client")))
    }

    /// A server's TLS.
    pub(super) fn server(&self) -> Option<TlsPeer> {
        let config = self.servers.as_ref()?;
        Some(TlsPeer::new(Session::server(config).expect("a server")))
    }
}

/// How a peer behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Conduct {
    /// As it should.
    Proper,
    /// It has sent something that is not what it should be.
    Hostile,
    /// Its counterpart has, and told it so itself.
    Deceived,
}

/// A peer's TLS.
pub(super) struct TlsPeer {
    session: Session,
    /// What it has sent and nobody has received.
    pub(super) wire: VecDeque<u8>,
    /// Where records of plaintext end: on the wire, and in what the peer says.
    ends: Vec<(u64, u64)>,
    /// Bytes of plaintext that were sent whole.
    pub(super) sealed: u64,
    /// How long its next records are ...
    record_bytes: usize,
    /// ... and how many of them.
    odd_records: u32,
    pub(super) conduct: Conduct,
    /// It was told that nothing more comes, or that TLS is over, since that was last asked.
    has_news: bool,
    /// Nothing of what it would send reaches anybody.
    is_mute: bool,
    /// It finishes when it has sent what it says.
    pub(super) is_finishing: bool,
    /// It says goodbye then, and does not finish.
    pub(super) is_leaving: bool,
    /// Its close_notify has been sent.
    pub(super) has_said_goodbye: bool,
}

impl fmt::Debug for TlsPeer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsPeer")
            .field("conduct", &self.conduct)
            .field("sealed", &self.sealed)
            .field("on_the_wire", &self.wire.len())
            .field("is_handshaking", &self.session.is_handshaking())
            .field("failure", &self.session.failure())
            .field("is_mute", &self.is_mute)
            .field("has_said_goodbye", &self.has_said_goodbye)
            .field("has_heard_goodbye", &self.has_heard_goodbye())
            .finish_non_exhaustive()
    }
}

impl TlsPeer {
    fn new(session: Session) -> Self {
        let mut peer = Self {
            session,
            wire: VecDeque::new(),
            ends: Vec::new(),
            sealed: 0,
            record_bytes: TLS_PLAINTEXT_BYTES_MAX,
            odd_records: 0,
            conduct: Conduct::Proper,
            has_news: false,
            is_mute: false,
            is_finishing: false,
            is_leaving: false,
            has_said_goodbye: false,
        };
        peer.flush();
        peer
    }

    /// One that shows from the beginning that it is none: by silence, or in another way.
    pub(super) fn bad(mut self, how: usize) -> Self {
        self.wire.clear();
        match how {
            0 => self.is_mute = true,
            _ => self.misbehave(0, how),
        }
        self
    }

    /// The next records have another size.
    pub(super) fn cut_records(&mut self, record_bytes: usize) {
        self.record_bytes = record_bytes.min(TLS_PLAINTEXT_BYTES_MAX);
        self.odd_records = ODD_RECORDS;
    }

    /// Whether it was told that nothing more comes.
    pub(super) fn has_heard_goodbye(&self) -> bool {
        self.session.peer_has_closed()
    }

    /// Whether what it says can still reach anybody.
    pub(super) fn can_speak(&self) -> bool {
        self.conduct == Conduct::Proper && !self.is_mute
    }

    /// Whether it has more to say.
    pub(super) fn may_say_more(&self) -> bool {
        self.can_speak() && !self.is_finishing && !self.is_leaving
    }

    /// From now on nothing of what it would send reaches anybody.
    pub(super) fn fall_silent(&mut self) {
        self.is_mute = true;
        self.flush();
    }

    /// Receives from it; there must be as many bytes.
    pub(super) fn take(&mut self, into: &mut [u8]) {
        let len = into.len();
        for (byte, sent) in into.iter_mut().zip(self.wire.drain(..len)) {
            *byte = sent;
        }
    }

    /// Sends what `peer` says, up to that offset. `taken` bytes were received from it before those
    /// on the wire.
    pub(super) fn speak(&mut self, peer: u32, said: u64, taken: u64) {
        if !self.can_speak() || self.has_said_goodbye || self.session.is_handshaking() {
            return;
        }
        while self.sealed < said {
            self.seal(peer, said, taken);
        }
        if self.is_finishing || self.is_leaving {
            self.session.close();
            self.flush();
            self.has_said_goodbye = true;
        }
    }

    /// Sends the next record.
    fn seal(&mut self, peer: u32, said: u64, taken: u64) {
        let record_bytes = match self.odd_records {
            0 => TLS_PLAINTEXT_BYTES_MAX,
            _ => self.record_bytes,
        };
        self.odd_records = self.odd_records.saturating_sub(1);
        let end = said.min(self.sealed + record_bytes as u64);
        let plaintext: Vec<u8> = (self.sealed..end).map(|at| pattern(peer, at)).collect();
        let mut ciphertext = vec![0; 2 * TLS_RECORD_BYTES_MAX];
        let sent = self.session.send(&plaintext, &mut ciphertext, record_bytes);
        let sent = sent.expect("a session that works");
        assert_eq!(sent.taken, plaintext.len(), "there was room for more");
        self.wire.extend(&ciphertext[..sent.written]);
        self.sealed = end;
        self.ends.push((taken + self.wire.len() as u64, end));
        self.flush();
    }

    /// Whether its counterpart's words have ended since that was last asked.
    pub(super) fn take_news(&mut self) -> bool {
        std::mem::take(&mut self.has_news)
    }

    /// It is given bytes. `hear` gets the plaintext.
    pub(super) fn receive(&mut self, bytes: &[u8], mut hear: impl FnMut(&[u8])) {
        if self.conduct != Conduct::Proper {
            return;
        }
        let had_heard_goodbye = self.has_heard_goodbye();
        let (mut bytes, mut at) = (bytes.to_vec(), 0);
        let mut plaintext = vec![0; TLS_RECORD_BYTES_MAX];
        loop {
            let received = self.session.receive(&mut bytes[at..], &mut plaintext);
            self.flush();
            let Ok(received) = received else {
                self.conduct = Conduct::Deceived;
                self.has_news = true;
                return;
            };
            hear(&plaintext[..received.written]);
            self.has_news |= self.has_heard_goodbye() && !had_heard_goodbye;
            at += received.taken;
            if received.taken == 0 && received.written == 0 {
                return;
            }
        }
    }

    fn flush(&mut self) {
        let mut output = [0; 1000];
        while self.session.has_output() {
            let count = self.session.transmit(&mut output);
            if !self.is_mute {
                self.wire.extend(&output[..count]);
            }
        }
    }

    /// Its connection ends here, and so many bytes before what it has sent so far.
    pub(super) fn cut_off(&mut self, taken: u64, dropped: usize) {
        if !self.has_said_goodbye {
            let kept = self.wire.len().saturating_sub(dropped);
            self.wire.truncate(kept);
            self.forget(taken);
        }
        self.is_mute = true;
    }

    /// It sends something that is not what it should be.
    pub(super) fn misbehave(&mut self, taken: u64, how: usize) {
        if self.has_said_goodbye {
            // Of what comes after, nobody takes notice.
            return self.wire.extend(NOISE);
        }
        let last_record = (taken + self.wire.len() as u64, self.sealed);
        match how % 4 {
            0 if self.ends.last() == Some(&last_record)
                && let Some(last) = self.wire.back_mut() =>
            {
                *last ^= 1;
                self.ends.pop();
            }
            1 => self.wire.extend(b"GET / HTTP/1.1\r\n\r\n"),
            2 => self.wire.extend(&NOISE[..9]),
            _ => self.wire.extend(NOISE),
        }
        self.conduct = Conduct::Hostile;
        self.forget(taken);
    }

    /// Only what is on the wire as it should be was sent.
    fn forget(&mut self, taken: u64) {
        let end = taken + self.wire.len() as u64;
        while self.ends.last().is_some_and(|&(at, _)| at > end) {
            self.ends.pop();
        }
        self.sealed = self.ends.last().map_or(0, |&(_, sealed)| sealed);
    }
}
