//! What must hold for any bytes: driven by the fuzz targets, their corpora and property tests.
#![allow(
    clippy::arithmetic_side_effects,
    clippy::expect_used,
    clippy::indexing_slicing
)]

use std::collections::VecDeque;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use rustls::crypto::CipherSuiteCommon;
use rustls::pki_types::UnixTime;
use rustls::server::Acceptor;
use rustls::time_provider::TimeProvider;
use rustls::{ClientConfig, ServerConfig, SupportedCipherSuite, Tls13CipherSuite};

use crate::limits::{
    HELD_CIPHERTEXT_BYTES_MAX, PENDING_OUTPUT_BYTES, TLS_PLAINTEXT_BYTES_MAX, TLS_RECORD_BYTES_MAX,
};
use crate::tls::certificates::CertificateSet;
use crate::tls::client_hello::{Malformed, Reader, ServerName, Verdict};
use crate::tls::config::{
    ClientCertificates, ClientOptions, Common, MinVersion, ServerCheck, ServerOptions, provider,
};
use crate::tls::self_signed;
use crate::tls::session::{Ending, Failure, Session};
use crate::tls::tickets::TicketKeys;

/// The time in all of this: 2026-01-01.
pub const NOW: UnixTime = UnixTime::since_unix_epoch(Duration::from_secs(1_767_225_600));

/// A clock that stands still.
#[derive(Debug)]
pub struct Stopped(pub UnixTime);

impl TimeProvider for Stopped {
    fn current_time(&self) -> Option<UnixTime> {
        Some(self.0)
    }
}

/// Records under a key of [`suites_with_short_lived_keys`].
pub const RECORDS_PER_KEY: u64 = 12;

/// TLS 1.3 with keys that are renewed every few records (RFC 8446, section 4.6.3) instead of every
/// few million. Made once and never freed, as suites are.
pub fn suites_with_short_lived_keys() -> Vec<SupportedCipherSuite> {
    let short_lived = |suite: &Tls13CipherSuite| {
        let common = CipherSuiteCommon {
            confidentiality_limit: RECORDS_PER_KEY,
            ..suite.common
        };
        let suite = Tls13CipherSuite { common, ..*suite };
        SupportedCipherSuite::Tls13(Box::leak(Box::new(suite)))
    };
    let suites = provider().cipher_suites;
    suites
        .iter()
        .filter_map(|suite| suite.tls13())
        .map(short_lived)
        .collect()
}

/// The verdict on bytes that arrive in pieces of these sizes, over and over.
pub fn read_hello(bytes: &[u8], cuts: &[usize]) -> Verdict {
    let mut reader = Reader::default();
    let (mut rest, mut cuts) = (bytes, cuts.iter().cycle());
    let mut verdict = Verdict::Incomplete;
    while !rest.is_empty() {
        let cut = cuts.next().map_or(usize::MAX, |&cut| cut.max(1));
        let (piece, after) = rest.split_at(cut.min(rest.len()));
        verdict = reader.feed(piece);
        rest = after;
    }
    verdict
}

/// Any bytes are the same hello, however they arrive, and the one that rustls reads if it does.
///
/// # Panics
/// When they are not.
pub fn check_client_hello(data: &[u8]) {
    let verdict = read_hello(data, &[]);
    for cuts in [&[1][..], &[2, 5, 3], &[7], &[1000, 1]] {
        assert_eq!(read_hello(data, cuts), verdict, "in pieces of {cuts:?}");
    }
    let Some((name, alpn)) = read_by_rustls(data) else {
        return;
    };
    let hello = match verdict {
        Verdict::Hello(hello) => hello,
        // Of a list of names rustls looks at the first alone; others may look at the rest.
        Verdict::Malformed(Malformed::Length(what) | Malformed::Twice(what))
            if what == "the server name" =>
        {
            return;
        }
        other => panic!("rustls reads a hello, for {name:?}, and we {other:?}"),
    };
    if let Some(name) = name {
        let name = name.to_ascii_lowercase();
        let name = name.strip_suffix('.').unwrap_or(&name);
        assert_eq!(hello.server_name, ServerName::Host(name.into()));
    }
    assert_eq!(hello.alpn, alpn);
}

type NameAndProtocols = (Option<String>, Vec<Vec<u8>>);

fn read_by_rustls(mut data: &[u8]) -> Option<NameAndProtocols> {
    let mut acceptor = Acceptor::default();
    while !data.is_empty() && acceptor.read_tls(&mut data).ok()? > 0 {
        if let Some(accepted) = acceptor.accept().ok()? {
            let hello = accepted.client_hello();
            let alpn = hello.alpn().into_iter().flatten().map(<[u8]>::to_vec);
            return Some((hello.server_name().map(str::to_owned), alpn.collect()));
        }
    }
    None
}

/// One end of a connection in memory.
pub struct Side {
    /// The end itself.
    pub session: Session,
    /// What it has sent and nobody has received.
    pub wire: VecDeque<u8>,
    /// All plaintext that went in.
    pub sent: Vec<u8>,
    /// All plaintext that came out.
    pub received: Vec<u8>,
    /// How it failed.
    pub failure: Option<Failure>,
}

impl Side {
    fn new(session: Session) -> Self {
        let mut side = Self {
            session,
            wire: VecDeque::new(),
            sent: Vec::new(),
            received: Vec::new(),
            failure: None,
        };
        side.flush();
        side
    }

    /// Puts on the wire what is to be sent anyway.
    pub fn flush(&mut self) {
        let mut record = [0; 1000];
        while self.session.has_output() {
            let count = self.session.transmit(&mut record);
            assert!(count > 0, "output and none");
            self.wire.extend(&record[..count]);
        }
        self.check_memory();
    }

    /// Sends plaintext in such records, from buffers of such a size. Returns how much was taken.
    pub fn send(&mut self, plaintext: &[u8], record_bytes: usize, buffer_bytes: usize) -> usize {
        let (mut rest, mut buffer) = (plaintext, vec![0; buffer_bytes]);
        loop {
            let sent = match self.session.send(rest, &mut buffer, record_bytes) {
                Ok(sent) => sent,
                Err(failure) => {
                    self.failure = Some(failure);
                    break;
                }
            };
            self.wire.extend(&buffer[..sent.written]);
            self.sent.extend(&rest[..sent.taken]);
            rest = &rest[sent.taken..];
            if sent.taken == 0 && sent.written == 0 {
                break;
            }
        }
        self.flush();
        plaintext.len() - rest.len()
    }

    /// Takes a piece of ciphertext, with so much room for plaintext at a time. Returns how much of
    /// it was taken: all, unless the session has failed.
    pub fn receive(&mut self, piece: &[u8], room: usize) -> usize {
        let (mut bytes, mut at) = (piece.to_vec(), 0);
        let mut plaintext = vec![0; room.max(1)];
        loop {
            match self.session.receive(&mut bytes[at..], &mut plaintext) {
                Ok(received) => {
                    at += received.taken;
                    assert_eq!(
                        bytes[at..],
                        piece[at..],
                        "what is not taken stays as it was"
                    );
                    self.received.extend(&plaintext[..received.written]);
                    self.flush();
                    if received.taken == 0 && received.written == 0 {
                        return at;
                    }
                }
                Err(failure) => {
                    assert_eq!(self.session.failure(), Some(&failure));
                    self.failure = Some(failure);
                    self.flush();
                    return at;
                }
            }
        }
    }

    fn check_memory(&self) {
        let most = HELD_CIPHERTEXT_BYTES_MAX
            + TLS_PLAINTEXT_BYTES_MAX
            + 2 * (PENDING_OUTPUT_BYTES + TLS_RECORD_BYTES_MAX);
        let held = self.session.buffer_bytes();
        assert!(held <= most, "{held} bytes are held");
    }
}

/// Both ends of a connection.
pub struct Pair {
    /// The one that began.
    pub client: Side,
    /// The other.
    pub server: Side,
}

/// Where bytes go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Towards {
    /// From the server to the client.
    Client,
    /// From the client to the server.
    Server,
}

impl Pair {
    /// A new connection, of which nothing has been delivered.
    ///
    /// # Panics
    /// When the configurations do not work, or the name is none.
    pub fn new(server: &Arc<ServerConfig>, client: &Arc<ClientConfig>, name: &str) -> Self {
        let name = name.to_owned().try_into().expect("a server's name");
        Self {
            client: Side::new(Session::client(client, name).expect("a client")),
            server: Side::new(Session::server(server).expect("a server")),
        }
    }

    /// Delivers up to `count` bytes, into buffers of so much room.
    pub fn deliver(&mut self, towards: Towards, count: usize, room: usize) -> usize {
        let (from, to) = match towards {
            Towards::Client => (&mut self.server, &mut self.client),
            Towards::Server => (&mut self.client, &mut self.server),
        };
        let count = count.min(from.wire.len());
        let piece: Vec<u8> = from.wire.drain(..count).collect();
        let taken = to.receive(&piece, room);
        assert!(
            taken == count || to.failure.is_some() || to.session.failure().is_some(),
            "stuck: {taken} bytes of {count} were taken"
        );
        count
    }

    /// Delivers everything in pieces of this size until nothing is on the way.
    pub fn settle(&mut self, piece: usize, room: usize) {
        while !self.client.wire.is_empty() || !self.server.wire.is_empty() {
            self.deliver(Towards::Server, piece, room);
            self.deliver(Towards::Client, piece, room);
        }
    }
}

/// What the session target connects with: TLS 1.2 at least and TLS 1.3 only.
static CONFIGS: LazyLock<[(Arc<ServerConfig>, Arc<ClientConfig>); 2]> = LazyLock::new(|| {
    [MinVersion::Tls12, MinVersion::Tls13].map(|min_version| {
        let mut common = Common::new(Arc::new(Stopped(NOW)));
        let certificate = self_signed::make(&["a.example"], NOW, &provider());
        let certificates = CertificateSet::new(vec![certificate.expect("a certificate")]);
        common.min_version = min_version;
        let keys = TicketKeys::new(Duration::ZERO).expect("random numbers");
        let server = ServerOptions {
            common: common.clone(),
            certificates: Arc::new(certificates.expect("a set")),
            client_certificates: ClientCertificates::Off,
            tickets: Some((keys, "fuzz".into())),
        };
        if min_version == MinVersion::Tls12 {
            let old = |suite: &&SupportedCipherSuite| suite.tls13().is_none();
            let suites = provider().cipher_suites;
            common.cipher_suites = suites
                .iter()
                .filter(old)
                .map(|suite| suite.suite())
                .collect();
        }
        let client = ClientOptions {
            common,
            check: ServerCheck::Insecure,
            certificate: None,
            send_server_name: true,
        };
        (
            server.build().expect("a server"),
            client.build().expect("a client"),
        )
    })
});

/// Whatever is done to a connection, in whatever pieces its bytes arrive: what comes out at one end
/// is what went in at the other, from its beginning; all of it when nobody touched the ciphertext.
/// The first byte chooses the version, each two that follow are a deed and its size.
///
/// # Panics
/// When something else comes out, or a call makes no progress.
pub fn check_session(data: &[u8]) {
    let [version, script @ ..] = data else {
        return;
    };
    let (server, client) = &CONFIGS[usize::from(version & 1)];
    let mut pair = Pair::new(server, client, "a.example");
    // Whose incoming bytes were touched, and who has ended. Never both on one side: rustls then
    // sends an alert after its close_notify, which it asserts not to do in the builds that are
    // fuzzed.
    let (mut touched, mut closed) = ([false; 2], [false; 2]);
    for step in script.as_chunks::<2>().0.iter().take(1000) {
        let &[deed, size] = step;
        let size = usize::from(size);
        let room = 1 + usize::from(deed >> 4) * 1100;
        match deed & 0xF {
            0..=3 => _ = pair.deliver(Towards::Server, size * size, room),
            4..=7 => _ = pair.deliver(Towards::Client, size * size, room),
            8 => {
                _ = pair
                    .client
                    .send(&plaintext(size * 200), 1 + size * 65, 17_000)
            }
            9 => {
                _ = pair
                    .server
                    .send(&plaintext(size * 200), 1 + size * 65, 17_000)
            }
            10 => _ = pair.client.send(&plaintext(size), 16_384, 40),
            11 => _ = pair.server.send(&plaintext(size), 16_384, 40),
            12 if !touched[0] => closed[0] |= close(&mut pair.client),
            13 if !touched[1] => closed[1] |= close(&mut pair.server),
            14 if !closed[1] => touched[1] |= touch(&mut pair.client.wire, size),
            15 if !closed[0] => touched[0] |= touch(&mut pair.server.wire, size),
            _ => {}
        }
        check_delivered(&pair);
    }
    pair.settle(5000, 3000);
    check_delivered(&pair);
    if touched != [false; 2] {
        return;
    }
    for (from, to) in [(&pair.client, &pair.server), (&pair.server, &pair.client)] {
        assert_eq!(to.failure, None);
        assert!(from.sent == to.received, "something is missing");
        assert!(
            to.session.is_idle(),
            "{} bytes are held",
            to.session.buffer_bytes()
        );
        assert!(!to.session.is_handshaking());
    }
}

fn close(side: &mut Side) -> bool {
    side.session.close();
    side.flush();
    true
}

/// Bytes that tell their place.
pub fn plaintext(count: usize) -> Vec<u8> {
    (0..count).map(|at| (at % 251) as u8).collect()
}

fn touch(wire: &mut VecDeque<u8>, at: usize) -> bool {
    let length = wire.len().max(1);
    match wire.get_mut(at % length) {
        Some(byte) => {
            *byte ^= 1;
            true
        }
        None => false,
    }
}

fn check_delivered(pair: &Pair) {
    assert!(pair.client.sent.starts_with(&pair.server.received));
    assert!(pair.server.sent.starts_with(&pair.client.received));
    for side in [&pair.client, &pair.server] {
        if side.session.ending() == Ending::Clean {
            assert!(
                !side.session.is_handshaking(),
                "an end before the beginning"
            );
        }
    }
}
