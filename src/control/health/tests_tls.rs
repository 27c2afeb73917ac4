//! Checks over TLS, against servers of rustls' own.

use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, channel};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::pki_types::{PrivateKeyDer, ServerName};
use rustls::time_provider::DefaultTimeProvider;
use rustls::{HandshakeKind, RootCertStore, ServerConfig, ServerConnection};

use super::tests::{LIMIT, http_check, server, tcp_check};
use super::*;
use crate::config::Address;
use crate::tls::config::{ClientOptions, Common, ServerCheck, Trust, provider};
use crate::tls::policy::PoolPolicy;

/// Servers that one authority vouches for, and the pool that they are in.
struct Site {
    trust: Trust,
    config: ServerConfig,
}

impl Site {
    fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let mut roots = RootCertStore::empty();
        roots.add(authority.der().clone()).unwrap();

        let key = KeyPair::generate().unwrap();
        let leaf = CertificateParams::new(vec!["site.example".to_owned()]).unwrap();
        let leaf = leaf.signed_by(&key, &authority).unwrap().der().clone();
        let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        let config = ServerConfig::builder_with_provider(Arc::new(provider()));
        let config = config.with_safe_default_protocol_versions().unwrap();
        let config = config.with_no_client_auth();
        Self {
            trust: Trust {
                roots: Arc::new(roots),
                revocation_lists: Vec::new(),
            },
            config: config.with_single_cert(vec![leaf], key).unwrap(),
        }
    }

    /// What a pool of one server says about TLS, with these application protocols.
    fn policy(&self, alpn: &[&str]) -> PoolPolicy {
        let options = ClientOptions {
            common: Common {
                alpn: alpn.iter().map(|name| name.as_bytes().to_vec()).collect(),
                ..Common::new(Arc::new(DefaultTimeProvider))
            },
            check: ServerCheck::Verify(self.trust.clone()),
            certificate: None,
            send_server_name: true,
        };
        let names = vec![ServerName::try_from("site.example").unwrap()];
        PoolPolicy::new(&options.build().unwrap(), names, 1)
    }

    /// A server that answers what it is asked, and tells of each connection when that is over.
    fn start(&self) -> (Address, Receiver<Seen>) {
        let (sender, receiver) = channel();
        let config = Arc::new(self.config.clone());
        let serve = move |client| {
            // A check that has failed is seen at the check.
            if let Ok(seen) = serve(client, Arc::clone(&config)) {
                let _ = sender.send(seen);
            }
        };
        (server(serve), receiver)
    }
}

/// What a server has seen of a connection.
struct Seen {
    alpn: Option<Vec<u8>>,
    handshake: Option<HandshakeKind>,
    request: String,
}

fn serve(mut client: TcpStream, config: Arc<ServerConfig>) -> io::Result<Seen> {
    let mut tls = ServerConnection::new(config).unwrap();
    while tls.is_handshaking() {
        let mut flight = Vec::new();
        while tls.wants_write() {
            tls.write_tls(&mut flight)?;
        }
        // In pieces of any size: a check must not depend on what comes together.
        for piece in flight.chunks(7) {
            client.write_all(piece)?;
        }
        if tls.is_handshaking() && tls.read_tls(&mut client)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        tls.process_new_packets().map_err(io::Error::other)?;
    }
    let (alpn, handshake) = (
        tls.alpn_protocol().map(<[u8]>::to_vec),
        tls.handshake_kind(),
    );
    let mut stream = rustls::Stream::new(&mut tls, &mut client);
    let mut request = [0; 1024];
    // Nothing where the check said goodbye; an error where it was cut off.
    let len = stream.read(&mut request)?;
    if len > 0 {
        stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n")?;
        stream.conn.send_close_notify();
        // A check that has its answer waits for this, but not for ever.
        let _ = stream.flush();
    }
    Ok(Seen {
        alpn,
        handshake,
        request: String::from_utf8_lossy(&request[..len]).into(),
    })
}

/// Checks the server of the pool once.
fn check(policy: &PoolPolicy, address: &Address, check: &HealthCheck) -> Result<String, String> {
    let tls = policy.check(0, |protocol| can_speak(&check.kind, protocol));
    tokio_uring::start(async {
        let deadline = Instant::now() + check.timeout;
        let result = probe(address, check, Some(tls.unwrap()), deadline).await;
        // For what goes on behind a check that has passed.
        sleep(crate::limits::CHECK_REST).await;
        result.map_err(|failure| failure.to_string())
    })
}

#[test]
fn a_web_server_is_asked_within_tls() {
    let site = Site::new();
    let (address, seen) = site.start();
    let check = || check(&site.policy(&[]), &address, &patient(http_check()));
    assert_eq!(check().unwrap(), "HTTP status 200");
    let seen = seen.recv_timeout(LIMIT).unwrap();
    assert!(seen.request.starts_with("GET /healthy"), "{}", seen.request);
    assert_eq!(seen.alpn, None);
}

#[test]
fn a_check_offers_the_protocols_that_it_can_speak() {
    let mut site = Site::new();
    site.config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let (address, seen) = site.start();
    let policy = site.policy(&["h2", "http/1.1"]);
    for (kind, expected) in [(http_check(), &b"http/1.1"[..]), (tcp_check(), b"h2")] {
        check(&policy, &address, &patient(kind)).unwrap();
        let seen = seen.recv_timeout(LIMIT).unwrap();
        assert_eq!(seen.alpn.as_deref(), Some(expected));
    }
}

#[test]
fn a_check_without_a_question_ends_its_session_and_never_resumes_one() {
    let site = Site::new();
    let (address, seen) = site.start();
    let policy = site.policy(&[]);
    for _ in 0..3 {
        let said = check(&policy, &address, &patient(tcp_check())).unwrap();
        assert_eq!(said, "connected, with TLS");
        let seen = seen.recv_timeout(LIMIT).unwrap();
        assert_eq!(seen.handshake, Some(HandshakeKind::Full));
        assert_eq!(seen.request, "", "and it said goodbye");
    }
}

#[test]
fn a_server_that_is_not_believed_or_knows_no_tls_fails_with_the_reason() {
    let site = Site::new();
    let (address, _seen) = site.start();
    let told = |policy: &PoolPolicy, address: &Address| {
        let check = |kind| check(policy, address, &patient(kind)).unwrap_err();
        let told = check(tcp_check());
        assert_eq!(check(http_check()), told);
        told
    };
    let said = told(&Site::new().policy(&[]), &address);
    let expected = "TLS failed: the peer's certificate is not accepted: ";
    assert!(said.starts_with(expected), "{said}");
    let policy = site.policy(&[]);
    let plain = server(|mut client| {
        let _ = client.read(&mut [0; 1024]);
        let _ = client.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n");
    });
    let said = told(&policy, &plain);
    assert_eq!(said, "TLS failed: the peer does not speak TLS");
    let closing = server(|mut client| {
        let _ = client.read(&mut [0; 1024]);
    });
    let said = told(&policy, &closing);
    assert_eq!(said, "closed the connection in the TLS handshake");
}

#[test]
fn a_server_that_stays_silent_in_the_handshake_fails_at_the_deadline() {
    let (sender, connections) = channel();
    let silent = server(move |client| drop(sender.send(client)));
    let said = check(&Site::new().policy(&[]), &silent, &tcp_check()).unwrap_err();
    assert_eq!(said, "connected, and no end of the TLS handshake in time");
    // The hello has come, then the end of the connection: nothing is left open.
    let mut hello = Vec::new();
    let _ = connections.recv().unwrap().read_to_end(&mut hello);
    assert_eq!(hello.first(), Some(&22), "a handshake record");
}

#[test]
fn a_server_whose_pool_has_lost_its_tls_is_not_checked_without() {
    let nobody = || {
        TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap()
    };
    let addresses = [nobody(), nobody()].map(Address::Tcp);
    let check = HealthCheck {
        tls: true,
        ..tcp_check()
    };
    let registry = super::super::testing::registry_with(addresses, Some(check.clone()));
    let server = Arc::clone(&registry.borrow().pools[0].members()[1].server);
    let begun = begin_tls(&registry.borrow(), &server, &check);
    assert!(matches!(begun, Err(Failure::Broken(Broken::Host(_)))));
    // Of one member: the second one is unknown to it.
    let policy = Arc::new(Site::new().policy(&[]));
    registry.borrow_mut().pool_tls = vec![Some(policy)];
    let begun = begin_tls(&registry.borrow(), &server, &check);
    assert!(matches!(begun, Err(Failure::Broken(Broken::Host(_)))));
    let first = Arc::clone(&registry.borrow().pools[0].members()[0].server);
    let begun = begin_tls(&registry.borrow(), &first, &check);
    assert!(matches!(begun, Ok(Some(_))));
    let plain = tcp_check();
    assert!(matches!(
        begin_tls(&registry.borrow(), &first, &plain),
        Ok(None)
    ));
}

/// Who waits for an answer waits as long as a busy machine needs.
fn patient(check: HealthCheck) -> HealthCheck {
    HealthCheck {
        timeout: LIMIT,
        ..check
    }
}
