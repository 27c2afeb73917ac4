//! What two sides agree on, whom they believe, and when a session is resumed.

use std::sync::Arc;
use std::time::Duration;

use rcgen::{BasicConstraints, IsCa, KeyPair, SerialNumber};
use rustls::crypto::aws_lc_rs::{self, kx_group};
use rustls::pki_types::UnixTime;
use rustls::{ClientConfig, ServerConfig};

use super::support::{
    Authority, DAY, client_options, common, connect, connected, file, only_tls12, server_options,
};
use crate::limits::TICKET_KEY_LIFETIME;
use crate::tls::certificates::{Certificate, read_revocation_lists};
use crate::tls::ciphers;
use crate::tls::config::{ClientCertificates, ConfigError, MinVersion, ServerCheck, ServerOptions};
use crate::tls::fuzzing::{NOW, Pair, Stopped};
use crate::tls::session::Failure;
use crate::tls::tickets::TicketKeys;

type Configs = (Arc<ServerConfig>, Arc<ClientConfig>);

fn resumed(configs: &Configs, name: &str) -> bool {
    let pair = connect(configs, name);
    assert_eq!(pair.server.failure, None);
    let agreements = [&pair.client, &pair.server].map(|side| side.session.agreement().unwrap());
    assert_eq!(agreements[0].resumed, agreements[1].resumed);
    agreements[0].resumed
}

/// A listener and a client that has been there, in both versions.
fn acquainted() -> [(ServerOptions, Arc<TicketKeys>, Arc<ClientConfig>); 2] {
    [false, true].map(|old| {
        let authority = Authority::new("tests");
        let certificate = authority.issue(&["a.example", "b.example"]).read();
        let keys = TicketKeys::new(Duration::ZERO).unwrap();
        let mut server = server_options(vec![certificate]);
        server.tickets = Some((Arc::clone(&keys), "web".into()));
        let mut client = client_options(&authority);
        if old {
            only_tls12(&mut client.common);
        }
        let client = client.build().unwrap();
        let configs = (server.build().unwrap(), Arc::clone(&client));
        assert!(!resumed(&configs, "a.example"), "the first time");
        (server, keys, client)
    })
}

#[test]
fn a_session_is_resumed_at_its_listener_by_any_worker_and_after_a_reload() {
    for (server, _, client) in acquainted() {
        let again = (server.build().unwrap(), Arc::clone(&client));
        assert!(resumed(&again, "a.example"));
        let reloaded = (server.build().unwrap(), client);
        assert!(resumed(&reloaded, "a.example"));
    }
}

#[test]
fn a_ticket_of_another_listener_or_policy_costs_a_full_handshake() {
    for (server, keys, client) in acquainted() {
        let mut other = server.clone();
        other.tickets = Some((Arc::clone(&keys), "api".into()));
        assert!(!resumed(&(other.build().unwrap(), client), "a.example"));
    }
    for (mut server, _, client) in acquainted() {
        server.common.cipher_suites = aws_lc_rs::default_provider()
            .cipher_suites
            .iter()
            .map(|suite| suite.suite())
            .collect();
        assert!(!resumed(&(server.build().unwrap(), client), "a.example"));
    }
    for (mut server, _, client) in acquainted() {
        server.tickets = None;
        assert!(!resumed(&(server.build().unwrap(), client), "a.example"));
    }
}

#[test]
fn a_ticket_for_one_name_is_none_for_another() {
    let (server, keys, _) = acquainted().into_iter().next().unwrap();
    let authority = Authority::new("tests");
    let mut server = server;
    let certificate = authority.issue(&["a.example", "b.example"]).read();
    server.certificates = server_options(vec![certificate]).certificates;
    server.tickets = Some((keys, "web".into()));
    // This client shows whatever ticket it has to whatever name.
    for old in [false, true] {
        let store = Arc::new(OneForAll(rustls::client::ClientSessionMemoryCache::new(8)));
        let mut options = client_options(&authority);
        if old {
            only_tls12(&mut options.common);
        }
        let mut client = Arc::unwrap_or_clone(options.build().unwrap());
        client.resumption = rustls::client::Resumption::store(store.clone());
        let configs = (server.build().unwrap(), Arc::new(client));
        resumed(&configs, "a.example");
        assert!(resumed(&configs, "a.example"));
        assert!(!resumed(&configs, "b.example"));
    }
}

/// Keeps sessions under one name for all.
#[derive(Debug)]
struct OneForAll(rustls::client::ClientSessionMemoryCache);

impl rustls::client::ClientSessionStore for OneForAll {
    fn set_kx_hint(&self, _: rustls::pki_types::ServerName<'static>, group: rustls::NamedGroup) {
        self.0.set_kx_hint(name(), group);
    }
    fn kx_hint(&self, _: &rustls::pki_types::ServerName<'_>) -> Option<rustls::NamedGroup> {
        self.0.kx_hint(&name())
    }
    fn set_tls12_session(
        &self,
        _: rustls::pki_types::ServerName<'static>,
        value: rustls::client::Tls12ClientSessionValue,
    ) {
        self.0.set_tls12_session(name(), value);
    }
    fn tls12_session(
        &self,
        _: &rustls::pki_types::ServerName<'_>,
    ) -> Option<rustls::client::Tls12ClientSessionValue> {
        self.0.tls12_session(&name())
    }
    fn remove_tls12_session(&self, _: &rustls::pki_types::ServerName<'static>) {
        self.0.remove_tls12_session(&name());
    }
    fn insert_tls13_ticket(
        &self,
        _: rustls::pki_types::ServerName<'static>,
        value: rustls::client::Tls13ClientSessionValue,
    ) {
        self.0.insert_tls13_ticket(name(), value);
    }
    fn take_tls13_ticket(
        &self,
        _: &rustls::pki_types::ServerName<'static>,
    ) -> Option<rustls::client::Tls13ClientSessionValue> {
        self.0.take_tls13_ticket(&name())
    }
}

fn name() -> rustls::pki_types::ServerName<'static> {
    "all.example".try_into().unwrap()
}

#[test]
fn a_ticket_outlives_one_change_of_keys_and_not_two() {
    for (server, keys, client) in acquainted() {
        let configs = (server.build().unwrap(), client);
        keys.rotate(TICKET_KEY_LIFETIME).unwrap();
        assert!(resumed(&configs, "a.example"));
        keys.rotate(2 * TICKET_KEY_LIFETIME).unwrap();
        keys.rotate(3 * TICKET_KEY_LIFETIME).unwrap();
        assert!(!resumed(&configs, "a.example"));
    }
}

/// A listener that asks for certificates, and a client that shows this one.
fn mutual(
    authority: &Authority,
    ask: ClientCertificates,
    shown: Option<Certificate>,
    old: bool,
) -> Configs {
    let mut server = server_options(vec![authority.issue(&["a.example"]).read()]);
    server.client_certificates = ask;
    let mut client = client_options(authority);
    client.certificate = shown;
    if old {
        only_tls12(&mut client.common);
    }
    (server.build().unwrap(), client.build().unwrap())
}

#[test]
fn a_client_certificate_is_believed_when_the_authority_signed_it() {
    let (authority, stranger) = (Authority::new("tests"), Authority::new("others"));
    for old in [false, true] {
        let good = || Some(authority.issue(&["client"]).read());
        let required = || ClientCertificates::Required(authority.trust());
        let optional = || ClientCertificates::Optional(authority.trust());
        for ask in [required(), optional()] {
            let configs = mutual(&authority, ask, good(), old);
            for _ in 0..2 {
                let agreement = connected(&configs).server.session.agreement().unwrap();
                assert_eq!(agreement.peer_subject.as_deref(), Some("CN=client"));
                assert!(
                    !agreement.resumed,
                    "a resumed session would skip the certificate"
                );
            }
        }
        let nothing = connect(&mutual(&authority, required(), None, old), "a.example");
        assert_eq!(nothing.server.failure, Some(Failure::CertificateMissing));
        let agreement = connected(&mutual(&authority, optional(), None, old))
            .server
            .session;
        assert_eq!(agreement.agreement().unwrap().peer_subject, None);
        for ask in [required(), optional()] {
            let strange = stranger.issue(&["client"]).read();
            let pair = connect(&mutual(&authority, ask, Some(strange), old), "a.example");
            let failure = pair.server.failure.unwrap();
            assert!(matches!(failure, Failure::Certificate(_)), "{failure}");
            assert!(failure.is_peers());
        }
    }
}

#[test]
fn a_client_certificate_that_was_revoked_is_refused() {
    let authority = Authority::new("tests");
    let mut trust = authority.trust();
    let list = authority.revoke(666);
    trust.revocation_lists = read_revocation_lists(file("crl.pem", &list)).unwrap();
    for (serial, accepted) in [(666, false), (667, true)] {
        let shown = authority.sign(&["client"], &KeyPair::generate().unwrap(), |params| {
            params.serial_number = Some(SerialNumber::from(serial));
        });
        let ask = ClientCertificates::Required(trust.clone());
        let pair = connect(
            &mutual(&authority, ask, Some(shown.read()), false),
            "a.example",
        );
        match accepted {
            true => assert_eq!(pair.server.failure, None),
            false => {
                let failure = pair.server.failure.unwrap().to_string();
                assert!(failure.contains("evoked"), "{failure}");
            }
        }
    }
}

/// How a client fails that expects this name of a server whose certificate is for `a.example`.
fn check_server(
    authority: &Authority,
    trusted: &Authority,
    name: &str,
    now: UnixTime,
    insecure: bool,
) -> Option<Failure> {
    let server = server_options(vec![authority.issue(&["a.example"]).read()]);
    let mut client = client_options(trusted);
    client.common.clock = Arc::new(Stopped(now));
    if insecure {
        client.check = ServerCheck::Insecure;
    }
    let configs = (server.build().unwrap(), client.build().unwrap());
    connect(&configs, name).client.failure
}

#[test]
fn a_server_is_believed_for_its_name_in_its_time_and_by_its_authority() {
    let (authority, stranger) = (Authority::new("tests"), Authority::new("others"));
    let later = UnixTime::since_unix_epoch(Duration::from_secs(NOW.as_secs()) + 90 * DAY);
    let earlier = UnixTime::since_unix_epoch(Duration::from_secs(NOW.as_secs()) - 2 * DAY);
    let check = |trusted, name, now| check_server(&authority, trusted, name, now, false);
    assert_eq!(check(&authority, "a.example", NOW), None);
    for (failure, word) in [
        (check(&authority, "b.example", NOW), "not valid for name"),
        (check(&authority, "a.example", later), "expired"),
        (check(&authority, "a.example", earlier), "not valid yet"),
        (
            check(&stranger, "a.example", NOW),
            "none of those who are trusted",
        ),
    ] {
        let failure = failure.expect(word);
        assert!(matches!(failure, Failure::Certificate(_)), "{failure}");
        let text = failure.to_string();
        assert!(text.contains(word), "{word}: {text}");
    }
    assert_eq!(
        check_server(&authority, &stranger, "b.example", later, true),
        None
    );
}

#[test]
fn a_server_that_shows_an_authoritys_certificate_is_not_believed() {
    let authority = Authority::new("tests");
    let shown = authority.sign(&["a.example"], &KeyPair::generate().unwrap(), |params| {
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    });
    let server = server_options(vec![shown.read()]).build().unwrap();
    let configs = (server, client_options(&authority).build().unwrap());
    let failure = connect(&configs, "a.example").client.failure.unwrap();
    assert_eq!(
        failure.to_string(),
        "the peer's certificate is not accepted: it is an authority's (CA:TRUE), for signing others"
    );
}

#[test]
fn a_server_that_does_not_have_the_key_is_not_believed_by_anybody() {
    let authority = Authority::new("tests");
    let (one, other) = (
        authority.issue(&["a.example"]),
        authority.issue(&["a.example"]),
    );
    let key = other.read().certified_key().key.clone();
    let chain = one.read().certified_key().cert.clone();
    let stolen = rustls::sign::CertifiedKey::new(chain, key);
    for old in [false, true] {
        let mut client = client_options(&authority);
        client.check = ServerCheck::Insecure;
        if old {
            only_tls12(&mut client.common);
        }
        let server = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(rustls::sign::SingleCertAndKey::from(
                stolen.clone(),
            )));
        let configs = (Arc::new(server), client.build().unwrap());
        let failure = connect(&configs, "a.example").client.failure.unwrap();
        assert!(matches!(failure, Failure::Certificate(_)), "{failure}");
    }
}

#[test]
fn versions_below_the_floor_are_refused_in_words() {
    let authority = Authority::new("tests");
    let mut server = server_options(vec![authority.issue(&["a.example"]).read()]);
    server.common.min_version = MinVersion::Tls13;
    let mut client = client_options(&authority);
    only_tls12(&mut client.common);
    let configs = (server.build().unwrap(), client.build().unwrap());
    let failure = connect(&configs, "a.example").server.failure.unwrap();
    assert_eq!(
        failure.to_string(),
        "nothing in common: the peer knows no version of TLS that is allowed here"
    );

    // A hello of TLS 1.0, as OpenSSL 0.9.8 sent them.
    server.common.min_version = MinVersion::Tls12;
    let mut pair = Pair::new(
        &server.build().unwrap(),
        &client.build().unwrap(),
        "a.example",
    );
    let mut hello = vec![22, 3, 1, 0, 45, 1, 0, 0, 41, 3, 1];
    hello.extend([7; 32]);
    hello.extend([0, 0, 2, 0, 0x2F, 1, 0]);
    pair.client.wire = hello.into();
    pair.deliver(crate::tls::fuzzing::Towards::Server, usize::MAX, 100);
    assert_eq!(
        pair.server.failure.unwrap().to_string(),
        "nothing in common: the peer knows only versions of TLS older than 1.2"
    );
}

#[test]
fn cipher_suites_are_those_that_were_chosen() {
    let authority = Authority::new("tests");
    let mut server = server_options(vec![authority.issue(&["a.example"]).read()]);
    let client = client_options(&authority).build().unwrap();
    for name in [
        "TLS_CHACHA20_POLY1305_SHA256",
        "ECDHE-ECDSA-AES256-GCM-SHA384",
    ] {
        let suite = ciphers::find(name).unwrap();
        server.common.cipher_suites = vec![suite];
        let configs = (server.build().unwrap(), Arc::clone(&client));
        let agreement = connected(&configs).client.session.agreement().unwrap();
        assert_eq!(agreement.cipher_suite, ciphers::name(suite));
    }
    server.common.cipher_suites = vec![ciphers::find("ECDHE-RSA-AES256-GCM-SHA384").unwrap()];
    let configs = (server.build().unwrap(), client);
    let failure = connect(&configs, "a.example")
        .server
        .failure
        .unwrap()
        .to_string();
    assert!(failure.starts_with("nothing in common: "), "{failure}");
    server.common.min_version = MinVersion::Tls13;
    let error = server.build().unwrap_err();
    assert_eq!(error, ConfigError::NoVersion("TLS 1.3"));
    assert_eq!(
        error.to_string(),
        "none of the cipher suites works with TLS 1.3 or newer"
    );
}

#[test]
fn the_order_of_cipher_suites_is_the_servers_and_not_the_clients() {
    let authority = Authority::new("tests");
    let mut server = server_options(vec![authority.issue(&["a.example"]).read()]);
    let mut client = client_options(&authority);
    let suites = |names: &[&str]| -> Vec<_> {
        let found = names.iter().map(|name| ciphers::find(name).unwrap());
        found.collect()
    };
    let [aes128, aes256] = ["TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384"];
    for (wanted, offered, expected) in [
        (&[][..], &[aes256, aes128][..], aes128),
        (&[aes256, aes128], &[aes128, aes256], aes256),
        (&[aes256, aes128], &[aes128], aes128),
    ] {
        server.common.cipher_suites = suites(wanted);
        client.common.cipher_suites = suites(offered);
        let pair = connected(&(server.build().unwrap(), client.build().unwrap()));
        let agreement = pair.client.session.agreement().unwrap();
        assert_eq!(agreement.cipher_suite, expected, "{wanted:?}, {offered:?}");
    }
}

#[test]
fn a_client_that_knows_only_rsa_gets_the_rsa_certificate() {
    let authority = Authority::new("tests");
    let (rsa, ecdsa) = (
        authority.issue_rsa(&["a.example"]),
        authority.issue(&["a.example"]),
    );
    let server = server_options(vec![rsa.read(), ecdsa.read()])
        .build()
        .unwrap();
    for (suite, expected) in [
        ("ECDHE-RSA-AES128-GCM-SHA256", rsa.read()),
        ("ECDHE-ECDSA-AES128-GCM-SHA256", ecdsa.read()),
    ] {
        let mut client = client_options(&authority);
        client.common.cipher_suites = vec![ciphers::find(suite).unwrap()];
        let pair = connected(&(Arc::clone(&server), client.build().unwrap()));
        let agreement = pair.client.session.agreement().unwrap();
        assert_eq!(
            agreement.cipher_suite,
            ciphers::name(ciphers::find(suite).unwrap())
        );
        assert_eq!(agreement.peer_subject.as_deref(), Some(expected.subject()));
    }
}

#[test]
fn the_application_protocol_is_the_servers_choice_among_the_clients() {
    let authority = Authority::new("tests");
    let mut server = server_options(vec![authority.issue(&["a.example"]).read()]);
    let mut client = client_options(&authority);
    let protocols = |names: &[&str]| names.iter().map(|name| name.as_bytes().to_vec()).collect();
    for (offered, spoken, expected) in [
        (&["http/1.1", "h2"][..], &["h2", "http/1.1"][..], Some("h2")),
        (&["http/1.1"], &["h2", "http/1.1"], Some("http/1.1")),
        (&[], &["h2"], None),
        (&["h2"], &[], None),
    ] {
        client.common.alpn = protocols(offered);
        server.common.alpn = protocols(spoken);
        let pair = connected(&(server.build().unwrap(), client.build().unwrap()));
        let agreed = pair.server.session.agreement().unwrap().alpn;
        assert_eq!(agreed.as_deref(), expected.map(str::as_bytes));
    }
    client.common.alpn = protocols(&["smtp"]);
    server.common.alpn = protocols(&["h2"]);
    let pair = connect(
        &(server.build().unwrap(), client.build().unwrap()),
        "a.example",
    );
    let failure = pair.server.failure.unwrap().to_string();
    assert_eq!(
        failure,
        "nothing in common: the peer offers no application protocol that is spoken here"
    );
}

#[test]
fn a_client_may_insist_on_a_key_exchange_that_outlives_quantum_computers() {
    let authority = Authority::new("tests");
    let server = server_options(vec![authority.issue(&["a.example"]).read()]);
    let mut provider = aws_lc_rs::default_provider();
    provider.kx_groups = vec![kx_group::X25519MLKEM768];
    let client = ClientConfig::builder_with_details(Arc::new(provider), common().clock)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(authority.trust().roots)
        .with_no_client_auth();
    connected(&(server.build().unwrap(), Arc::new(client)));
}

#[test]
fn a_client_names_the_server_only_if_it_is_to() {
    use crate::tls::client_hello::{ServerName, Verdict};
    use crate::tls::fuzzing::read_hello;
    let authority = Authority::new("tests");
    let server = server_options(vec![authority.issue(&["a.example"]).read()])
        .build()
        .unwrap();
    let mut client = client_options(&authority);
    for (send, expected) in [
        (true, ServerName::Host("a.example".into())),
        (false, ServerName::Absent),
    ] {
        client.send_server_name = send;
        let mut pair = Pair::new(&server, &client.build().unwrap(), "a.example");
        let Verdict::Hello(hello) = read_hello(pair.client.wire.make_contiguous(), &[]) else {
            panic!("no hello");
        };
        assert_eq!(hello.server_name, expected);
        pair.settle(usize::MAX, 100);
        assert_eq!(
            pair.client.failure, None,
            "the name is checked all the same"
        );
    }
}
