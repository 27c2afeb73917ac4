//! A scripted peer that speaks TLS: what is said and when is the test's, the protocol is rustls's.

use std::io::{self, ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::sync::Arc;

use ::aws_lc_rs::aead::{AES_128_GCM, AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use rustls::client::Resumption;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::ServerName;
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{NoClientAuth, WebPkiClientVerifier};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::version::{TLS12, TLS13};
use rustls::{
    CipherSuite, ClientConfig, ClientConnection, Connection, ConnectionTrafficSecrets,
    HandshakeKind, NamedGroup, ServerConfig, ServerConnection, SupportedCipherSuite,
    SupportedProtocolVersion,
};

use super::authority::{Authority, Identity};
use super::peer::Peer;

/// What tests ask for when they ask for a name.
pub(crate) const SITE: &str = "site.example";

/// One end of a connection with TLS.
pub(crate) struct TlsPeer {
    peer: Peer,
    tls: Connection,
}

/// The sending end of a connection with TLS 1.3 whose records may be as no library makes them.
pub(crate) struct Sealer {
    peer: Peer,
    key: LessSafeKey,
    iv: [u8; NONCE_LEN],
    sequence: u64,
}

impl Sealer {
    /// Sends a record: see [`Sealer::seal`].
    #[track_caller]
    pub(crate) fn send(&mut self, content: &[u8], kind: u8, padding: usize) {
        let record = self.seal(content, kind, padding);
        self.peer.send(record);
    }

    /// The next record, with this content, then its type, unless that is 0, and padding (RFC 8446,
    /// section 5.2).
    pub(crate) fn seal(&mut self, content: &[u8], kind: u8, padding: usize) -> Vec<u8> {
        let mut record = content.to_vec();
        if kind != 0 {
            record.push(kind);
        }
        record.resize(record.len() + padding, 0);
        let length = u16::try_from(record.len() + AES_256_GCM.tag_len()).unwrap();
        let header = [&[23, 3, 3][..], &length.to_be_bytes()].concat();
        let mut nonce = self.iv;
        for (byte, number) in nonce[4..].iter_mut().zip(self.sequence.to_be_bytes()) {
            *byte ^= number;
        }
        self.sequence += 1;
        let nonce = Nonce::assume_unique_for_key(nonce);
        self.key
            .seal_in_place_append_tag(nonce, Aad::from(&header), &mut record)
            .unwrap();
        [header, record].concat()
    }

    /// The connection below.
    pub(crate) fn peer(&self) -> &Peer {
        &self.peer
    }
}

/// How the other side's bytes ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TlsEnd {
    /// It said that these were all, and sent FIN.
    CloseNotify,
    /// FIN, without a word.
    Fin,
    /// RST.
    Reset,
}

/// A client that believes this authority, knows these versions and cipher suites, and remembers no
/// session.
fn client_config(
    authority: &Authority,
    versions: &[&'static SupportedProtocolVersion],
    suites: impl Fn(&SupportedCipherSuite) -> bool,
) -> Arc<ClientConfig> {
    let mut provider = aws_lc_rs::default_provider();
    provider.cipher_suites.retain(suites);
    // Keys of the hybrid group are so long that a loop over each byte of a hello would take its
    // time. OpenSSL wants the curve of its certificate among the groups, in TLS 1.2.
    let short = [NamedGroup::X25519, NamedGroup::secp256r1];
    provider
        .kx_groups
        .retain(|group| short.contains(&group.name()));
    let mut config = ClientConfig::builder_with_provider(Arc::new(provider))
        .with_protocol_versions(versions)
        .unwrap()
        .with_root_certificates(authority.roots())
        .with_no_client_auth();
    config.resumption = Resumption::disabled();
    config.enable_secret_extraction = true;
    Arc::new(config)
}

/// A client of TLS 1.3.
pub(crate) fn tls13(authority: &Authority) -> Arc<ClientConfig> {
    client_config(authority, &[&TLS13], |_| true)
}

/// A client of TLS 1.2.
pub(crate) fn tls12(authority: &Authority) -> Arc<ClientConfig> {
    client_config(authority, &[&TLS12], |_| true)
}

/// A client that knows RSA and nothing newer.
pub(crate) fn tls12_rsa(authority: &Authority) -> Arc<ClientConfig> {
    let rsa = CipherSuite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256;
    client_config(authority, &[&TLS12], |suite| suite.suite() == rsa)
}

/// The same client, which resumes its sessions.
pub(crate) fn resuming(config: &ClientConfig) -> Arc<ClientConfig> {
    let mut config = config.clone();
    config.resumption = Resumption::in_memory_sessions(8);
    Arc::new(config)
}

/// The same client, which shows this certificate to whoever asks for one.
pub(crate) fn showing(config: &ClientConfig, identity: &Identity) -> Arc<ClientConfig> {
    let (chain, key) = identity.chain_and_key();
    let certified = CertifiedKey::from_der(chain, key, config.crypto_provider()).unwrap();
    let mut config = config.clone();
    config.client_auth_cert_resolver = Arc::new(SingleCertAndKey::from(certified));
    Arc::new(config)
}

/// A server of both.
pub(crate) fn server_config(identity: &Identity) -> Arc<ServerConfig> {
    Arc::new(server_of(identity, &[&TLS12, &TLS13], None))
}

/// A server of these versions. It lets nobody in without a certificate of this authority, if there
/// is one.
pub(crate) fn server_of(
    identity: &Identity,
    versions: &[&'static SupportedProtocolVersion],
    clients: Option<&Authority>,
) -> ServerConfig {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let verifier: Arc<dyn ClientCertVerifier> = match clients {
        None => Arc::new(NoClientAuth),
        Some(authority) => {
            WebPkiClientVerifier::builder_with_provider(authority.roots(), Arc::clone(&provider))
                .build()
                .unwrap()
        }
    };
    let (chain, key) = identity.chain_and_key();
    ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(versions)
        .unwrap()
        .with_client_cert_verifier(verifier)
        .with_single_cert(chain, key)
        .unwrap()
}

impl TlsPeer {
    /// Connects, and shakes hands with [`SITE`].
    #[track_caller]
    pub(crate) fn connect(address: SocketAddr, config: &Arc<ClientConfig>) -> Self {
        let mut client = Self::client(Peer::connect(address), config, SITE);
        client.shake_hands();
        client
    }

    /// The client's end of a connection, nothing of which has been said yet.
    pub(crate) fn client(peer: Peer, config: &Arc<ClientConfig>, name: &str) -> Self {
        let name = ServerName::try_from(name.to_owned()).unwrap();
        let tls = ClientConnection::new(Arc::clone(config), name).unwrap();
        Self {
            peer,
            tls: tls.into(),
        }
    }

    /// The server's end of a connection, nothing of which has been said yet.
    pub(crate) fn server(peer: Peer, config: &Arc<ServerConfig>) -> Self {
        let tls = ServerConnection::new(Arc::clone(config)).unwrap();
        Self {
            peer,
            tls: tls.into(),
        }
    }

    /// The connection below.
    pub(crate) fn peer(&self) -> &Peer {
        &self.peer
    }

    /// What rustls has to say next, which is not sent.
    pub(crate) fn take_flight(&mut self) -> Vec<u8> {
        let mut flight = Vec::new();
        while self.tls.wants_write() {
            self.tls.write_tls(&mut flight).unwrap();
        }
        flight
    }

    /// Shakes hands.
    #[track_caller]
    pub(crate) fn shake_hands(&mut self) {
        self.try_shake_hands()
            .unwrap_or_else(|error| panic!("no handshake: {error}"));
    }

    /// Shakes hands, unless that fails.
    pub(crate) fn try_shake_hands(&mut self) -> io::Result<()> {
        while self.tls.is_handshaking() {
            self.flush()?;
            if self.tls.is_handshaking() {
                self.fill()?;
            }
        }
        self.flush()
    }

    /// Receives and takes in what the other side says, once, and answers nothing.
    #[track_caller]
    pub(crate) fn listen_once(&mut self) {
        self.fill().unwrap();
    }

    /// Receives and takes in what the other side says until there is an answer to it, which is not
    /// sent.
    #[track_caller]
    pub(crate) fn answer(&mut self) -> Vec<u8> {
        while !self.tls.wants_write() {
            self.listen_once();
        }
        self.take_flight()
    }

    /// The certificate that the other side has shown.
    pub(crate) fn shown(&self) -> &[u8] {
        &self
            .tls
            .peer_certificates()
            .expect("a certificate was shown")[0]
    }

    /// Whether the handshake took up an earlier session.
    pub(crate) fn is_resumed(&self) -> bool {
        self.tls.handshake_kind() == Some(HandshakeKind::Resumed)
    }

    /// The application protocol that was agreed on.
    pub(crate) fn alpn(&self) -> Option<&[u8]> {
        self.tls.alpn_protocol()
    }

    /// Sends all of `bytes`.
    #[track_caller]
    pub(crate) fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.write_all(bytes.as_ref())
            .unwrap_or_else(|error| panic!("cannot send: {error}"));
    }

    /// Receives `len` bytes, no matter in how many records.
    #[track_caller]
    pub(crate) fn receive(&mut self, len: usize) -> Vec<u8> {
        let mut bytes = vec![0; len];
        let mut received = 0;
        while received < len {
            match self.receive_some(&mut bytes[received..]) {
                Ok(0) => panic!("said its last after {received} of {len} bytes"),
                Ok(some) => received += some,
                Err(error) => panic!("ended after {received} of {len} bytes: {error}"),
            }
        }
        bytes
    }

    /// Receives exactly these bytes.
    #[track_caller]
    pub(crate) fn expect(&mut self, bytes: impl AsRef<[u8]>) {
        let bytes = bytes.as_ref();
        let received = self.receive(bytes.len());
        assert!(received == bytes, "received other bytes than expected");
    }

    /// Asserts that a server which sends everything back serves it.
    #[track_caller]
    pub(crate) fn is_served(&mut self) {
        self.send("still here");
        self.expect("still here");
    }

    /// Receives to the end: what came, and how it ended.
    #[track_caller]
    pub(crate) fn receive_rest(&mut self) -> (Vec<u8>, TlsEnd) {
        let mut bytes = Vec::new();
        let mut buffer = vec![0; 16 * 1024];
        let end = loop {
            match self.receive_some(&mut buffer) {
                Ok(0) => break TlsEnd::CloseNotify,
                Ok(some) => bytes.extend_from_slice(&buffer[..some]),
                Err(error) if error.kind() == ErrorKind::UnexpectedEof => break TlsEnd::Fin,
                Err(error) if error.kind() == ErrorKind::ConnectionReset => break TlsEnd::Reset,
                Err(error) => panic!("no end after {} bytes: {error}", bytes.len()),
            }
        };
        (bytes, end)
    }

    /// Nothing more comes, and it ends so.
    #[track_caller]
    pub(crate) fn expect_end(&mut self, end: TlsEnd) {
        let (bytes, actual) = self.receive_rest();
        assert!(bytes.is_empty(), "received {} bytes more", bytes.len());
        assert_eq!(actual, end);
    }

    /// Says that nothing more will come, and sends no FIN.
    #[track_caller]
    pub(crate) fn say_goodbye(&mut self) {
        self.tls.send_close_notify();
        self.flush().unwrap();
    }

    /// The words for that nothing more will come, which are not sent.
    pub(crate) fn goodbye(&mut self) -> Vec<u8> {
        self.tls.send_close_notify();
        self.take_flight()
    }

    /// Whether the handshake is done, as far as this end is concerned.
    pub(crate) fn is_through(&self) -> bool {
        !self.tls.is_handshaking()
    }

    /// Says that nothing more will come, and sends FIN.
    #[track_caller]
    pub(crate) fn finish(&mut self) {
        self.say_goodbye();
        self.peer.finish();
    }

    /// Has the keys of both directions changed.
    #[track_caller]
    pub(crate) fn change_keys(&mut self) {
        self.tls.refresh_traffic_keys().unwrap();
        self.flush().unwrap();
    }

    /// Has its records made by hand from here on. Only for TLS 1.3.
    #[track_caller]
    pub(crate) fn into_sealer(self) -> Sealer {
        let Connection::Client(tls) = self.tls else {
            panic!("not a client");
        };
        let (sequence, secrets) = tls.dangerous_extract_secrets().unwrap().tx;
        let (algorithm, key, iv) = match &secrets {
            ConnectionTrafficSecrets::Aes128Gcm { key, iv } => (&AES_128_GCM, key, iv),
            ConnectionTrafficSecrets::Aes256Gcm { key, iv } => (&AES_256_GCM, key, iv),
            _ => panic!("another cipher suite than AES"),
        };
        Sealer {
            peer: self.peer,
            key: LessSafeKey::new(UnboundKey::new(algorithm, key.as_ref()).unwrap()),
            iv: iv.as_ref().try_into().unwrap(),
            sequence,
        }
    }

    /// Leaves without a word.
    pub(crate) fn into_peer(self) -> Peer {
        self.peer
    }

    /// Sends back what it gets, until the other side has finished.
    pub(crate) fn echo(&mut self) {
        let mut buffer = vec![0; 16 * 1024];
        while let Ok(some) = self.receive_some(&mut buffer) {
            if some == 0 {
                self.tls.send_close_notify();
            }
            let sent = self.tls.writer().write_all(&buffer[..some]);
            if sent.and_then(|()| self.flush()).is_err() || some == 0 {
                return;
            }
        }
    }

    /// 0 at the end.
    fn receive_some(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            match self.tls.reader().read(buffer) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => self.fill()?,
                done => return done,
            }
            self.flush()?;
        }
    }

    fn fill(&mut self) -> io::Result<()> {
        let received = self.tls.read_tls(&mut self.peer.socket())?;
        let processed = self.tls.process_new_packets();
        if let Err(error) = processed {
            // The other side is to know why.
            let _ = self.flush();
            return Err(io::Error::other(error));
        }
        if received == 0 && self.tls.is_handshaking() {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        Ok(())
    }
}

impl Read for TlsPeer {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.receive_some(buffer)
    }
}

impl Write for TlsPeer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let taken = self.tls.writer().write(bytes)?;
        self.flush()?;
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        let flight = self.take_flight();
        (&self.peer).write_all(&flight)
    }
}
