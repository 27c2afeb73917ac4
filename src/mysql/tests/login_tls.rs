//! Logins of clients whose connection becomes TLS in the middle.

use std::sync::Arc;

use aws_lc_rs::rsa::{KeySize, PrivateDecryptingKey};

use super::login_ladder::change_user_of;
use super::samples::SSL_REQUEST;
use super::script::{
    DENIED, FAST_OK, FULL_AUTH, NATIVE, OK_PACKET, PRIMARY, REPLICA, SHA2, Scene, capabilities,
    greeting, response, response_with, switch, token,
};
use crate::mysql::auth::{Password, Scramble, Signer};
use crate::mysql::capabilities::Capabilities;
use crate::mysql::handshake::{Greeting, NoTls};
use crate::mysql::login::Peer::{Client, Primary, Replica};
use crate::mysql::login::{ClientTls, Failure, Login, PrimaryOnly, Rules, Rung};
use crate::mysql::packet::{ErrPacket, HEADER_BYTES, write_packet};
use crate::mysql::password_key::PasswordKey;
use crate::telemetry::Who;

/// Servers that are spoken to over TLS.
fn servers_on_tls() -> Rules {
    Rules {
        servers_on_tls: true,
        ..Rules::default()
    }
}

/// A client that is offered TLS, and has seen the greeting.
fn offered(client_tls: ClientTls, plugin: &[u8]) -> Scene {
    offered_by(Rules::default(), client_tls, plugin)
}

fn offered_by(rules: Rules, client_tls: ClientTls, plugin: &[u8]) -> Scene {
    let login = Login::new(Arc::new(rules), "10.0.0.9", true);
    let mut scene = Scene::of(login.with_client_tls(client_tls));
    scene.says(Primary, 0, &greeting(plugin, PRIMARY, 7));
    let seen = Greeting::parse(&scene.next(Client).1).unwrap();
    assert!(seen.capabilities.contains(Capabilities::SSL));
    scene
}

/// One that has asked for it and got it.
fn on_tls(plugin: &[u8]) -> Scene {
    on_tls_by(Rules::default(), plugin)
}

fn on_tls_by(rules: Rules, plugin: &[u8]) -> Scene {
    let mut scene = offered_by(rules, ClientTls::Offered, plugin);
    scene.says(Client, 1, SSL_REQUEST);
    assert!(scene.starts_tls && !scene.login.expects_client());
    scene.login.client_shook_hands();
    scene
}

/// The public key of a server, as PEM.
fn server_key() -> String {
    let private = PrivateDecryptingKey::generate(KeySize::Rsa2048).unwrap();
    let der = aws_lc_rs::encoding::AsDer::as_der(&private.public_key()).unwrap();
    crate::mysql::auth::tests::pem_of(der.as_ref())
}

fn error_of(scene: &mut Scene) -> (u8, u16) {
    let (sequence, error) = scene.next(Client);
    (sequence, ErrPacket::parse(&error).unwrap().code)
}

#[test]
fn what_follows_the_request_for_tls_is_left_to_tls() {
    let mut scene = offered(ClientTls::Offered, NATIVE);
    let injected = response(b"test", NATIVE, &token(NATIVE, &PRIMARY));
    let (mut bytes, mut behind) = (Vec::new(), Vec::new());
    write_packet(&mut bytes, 1, SSL_REQUEST);
    write_packet(&mut behind, 2, &injected);
    bytes.extend(&behind);
    assert_eq!(scene.sends(Client, &bytes), behind);
    assert!(scene.starts_tls);
    scene.is_quiet();
}

#[test]
fn a_handshake_that_takes_too_long_is_the_clients_to_answer_for() {
    let mut scene = offered(ClientTls::Offered, NATIVE);
    scene.says(Client, 1, SSL_REQUEST);
    let mut actions = Vec::new();
    assert_eq!(scene.login.timed_out(&mut actions), Some(Who::Client));
    scene.act(actions);
    scene.leaves_as_nobody(Primary);
}

#[test]
fn the_response_on_tls_goes_to_the_server_as_one_without() {
    let mut scene = on_tls(NATIVE);
    let with_tls = capabilities() | Capabilities::SSL;
    let signature = token(NATIVE, &PRIMARY);
    scene.says(
        Client,
        2,
        &response_with(b"test", NATIVE, &signature, with_tls),
    );
    scene.gets(Primary, 1, &response(b"test", NATIVE, &signature));
    assert_eq!(scene.opened, 1);
    scene.says(Primary, 2, DENIED);
    scene.gets(Client, 3, DENIED);
}

#[test]
fn a_client_that_has_to_use_tls_and_does_not_is_told_so() {
    let mut scene = offered(ClientTls::Required, NATIVE);
    scene.says(
        Client,
        1,
        &response(b"test", NATIVE, &token(NATIVE, &PRIMARY)),
    );
    assert_eq!(error_of(&mut scene), (2, 3159));
    assert_eq!(scene.failure, Some(Failure::TlsRequired));
    assert_eq!(Failure::TlsRequired.who(), Who::Client);
    scene.leaves_as_nobody(Primary);
}

#[test]
fn tls_is_asked_for_once() {
    let mut scene = on_tls(NATIVE);
    scene.says(Client, 2, SSL_REQUEST);
    assert_eq!(error_of(&mut scene), (3, 1043));
    assert_eq!(scene.failure, Some(Failure::ClientWantsTls));
    scene.leaves_as_nobody(Primary);
}

#[test]
fn a_client_that_leaves_in_its_handshake_leaves_no_server_waiting() {
    let mut scene = offered(ClientTls::Offered, NATIVE);
    scene.says(Client, 1, SSL_REQUEST);
    scene.loses(Client);
    scene.leaves_as_nobody(Primary);
    assert!(scene.login.is_finished());
}

#[test]
fn a_password_that_is_told_on_tls_does_not_go_on_in_plain_text() {
    let mut scene = on_tls(SHA2);
    let signed = response(b"test", SHA2, &token(SHA2, &PRIMARY));
    scene.says(Client, 2, &signed);
    scene.gets(Primary, 1, &signed);
    scene.says(Primary, 2, FULL_AUTH);
    scene.gets(Client, 3, FULL_AUTH);
    scene.says(Client, 4, b"secret\0");
    // The server's key is asked for, and what it gets is as long as the key.
    scene.gets(Primary, 3, b"\x02");
    scene.says(Primary, 4, &[b"\x01", server_key().as_bytes()].concat());
    let (sequence, encrypted) = scene.next(Primary);
    assert_eq!((sequence, encrypted.len()), (5, 256));
    scene.says(Primary, 6, OK_PACKET);
    scene.gets(Client, 5, OK_PACKET);
    let done = scene.done();
    assert_eq!((done.rung, done.primary_only), (Rung::Capture, None));
    let signer = done.signer.as_ref().expect("it signs at the replica, too");
    let known = signer
        .token(crate::mysql::auth::Plugin::Sha2, &PRIMARY)
        .unwrap();
    assert_eq!(known.to_vec(), token(SHA2, &PRIMARY));
    scene.says(Replica, 0, &greeting(SHA2, REPLICA, 70));
    scene.leaves_as_nobody(Replica);
    assert!(scene.login.is_finished());
}

#[test]
fn a_server_on_tls_is_told_the_password_and_not_asked_for_a_key() {
    let mut scene = on_tls_by(servers_on_tls(), SHA2);
    let signed = response(b"test", SHA2, &token(SHA2, &PRIMARY));
    scene.says(Client, 2, &signed);
    scene.next(Primary);
    scene.says(Primary, 2, FULL_AUTH);
    scene.next(Client);
    scene.says(Client, 4, b"secret\0");
    scene.gets(Primary, 3, b"secret\0");
}

#[test]
fn a_replica_that_is_left_when_the_password_is_known_is_not_a_lost_one() {
    let mut scene = on_tls_by(servers_on_tls(), SHA2);
    let signed = response(b"test", SHA2, &token(SHA2, &PRIMARY));
    scene.says(Client, 2, &signed);
    scene.next(Primary);
    scene.says(Replica, 0, &greeting(SHA2, REPLICA, 70));
    scene.says(Primary, 2, FULL_AUTH);
    scene.next(Client);
    scene.says(Client, 4, b"secret\0");
    scene.gets(Primary, 3, b"secret\0");
    // It has answered and closed before the primary says anything.
    scene.leaves_as_nobody(Replica);
    scene.loses(Replica);
    scene.says(Primary, 4, OK_PACKET);
    scene.gets(Client, 5, OK_PACKET);
    let done = scene.done();
    assert_eq!((done.rung, done.primary_only), (Rung::Capture, None));
}

#[test]
fn a_replica_that_stands_in_for_the_primary_is_told_the_password() {
    let login = Login::new(Arc::new(servers_on_tls()), "10.0.0.9", true);
    let mut scene = Scene::of(login.with_client_tls(ClientTls::Offered));
    scene.loses(Primary);
    scene.says(Replica, 0, &greeting(SHA2, REPLICA, 70));
    scene.next(Client);
    scene.says(Client, 1, SSL_REQUEST);
    scene.login.client_shook_hands();
    scene.says(Client, 2, &response(b"test", SHA2, &token(SHA2, &REPLICA)));
    scene.next(Replica);
    scene.says(Replica, 2, FULL_AUTH);
    scene.gets(Client, 3, FULL_AUTH);
    scene.says(Client, 4, b"secret\0");
    scene.gets(Replica, 3, b"secret\0");
    scene.is_quiet();
    scene.says(Replica, 4, OK_PACKET);
    scene.gets(Client, 5, OK_PACKET);
    assert!(scene.done().reads_only);
    assert_eq!(scene.done().rung, Rung::Capture);
}

/// A client that has signed for both servers, of which the replica has yet to answer.
fn signed_twice(mut scene: Scene, first: u8) -> Scene {
    let signed = response(b"test", SHA2, &token(SHA2, &PRIMARY));
    scene.says(Client, first, &signed);
    scene.gets(Primary, 1, &signed);
    scene.says(Replica, 0, &greeting(SHA2, REPLICA, 70));
    scene.says(Primary, 2, FAST_OK);
    scene.says(Primary, 3, OK_PACKET);
    scene.gets(Client, first + 1, &switch(SHA2, &REPLICA));
    scene.says(Client, first + 2, &token(SHA2, &REPLICA));
    scene.next(Replica);
    scene
}

/// A client on TLS that the replica does not remember, and that is asked for its password.
fn asked_for_the_replica(servers_on_tls: bool) -> Scene {
    let rules = Rules {
        servers_on_tls,
        ..Rules::default()
    };
    let mut scene = signed_twice(on_tls_by(rules, SHA2), 2);
    scene.says(Replica, 2, FULL_AUTH);
    scene.gets(Client, 5, FULL_AUTH);
    assert!(scene.login.expects_client() && !scene.login.waits_for_replica());
    scene
}

#[test]
fn a_replica_that_does_not_remember_a_client_on_tls_is_told_its_password() {
    let mut scene = asked_for_the_replica(true);
    scene.says(Client, 6, b"secret\0");
    scene.gets(Replica, 3, b"secret\0");
    assert!(scene.login.waits_for_replica());
    scene.says(Replica, 4, OK_PACKET);
    scene.gets(Client, 7, OK_PACKET);
    let done = scene.done();
    assert_eq!((done.rung, done.primary_only), (Rung::Capture, None));
    assert!(done.replica.is_some() && done.signer.is_some());
    scene.is_quiet();

    // Not in plain text.
    let mut scene = asked_for_the_replica(false);
    scene.says(Client, 6, b"secret\0");
    scene.gets(Replica, 3, b"\x02");
    let key = [b"\x01", server_key().as_bytes()].concat();
    scene.says(Replica, 4, &key);
    assert_eq!(scene.next(Replica).1.len(), 256);
    scene.says(Replica, 6, OK_PACKET);
    scene.gets(Client, 7, OK_PACKET);
    assert_eq!(scene.done().rung, Rung::Capture);
}

#[test]
fn a_password_that_the_replica_does_not_take_costs_the_replica_alone() {
    let mut scene = asked_for_the_replica(true);
    scene.says(Client, 6, b"other\0");
    scene.gets(Replica, 3, b"other\0");
    scene.says(Replica, 4, DENIED);
    scene.gets(Client, 7, OK_PACKET);
    let done = scene.done();
    let reason = Some(PrimaryOnly::ReplicaDenied);
    assert_eq!((done.rung, done.primary_only), (Rung::PrimaryOnly, reason));
    assert!(done.signer.is_none(), "nobody has said that it is right");

    // Nor does one that is lost in the meantime cost more.
    let mut scene = asked_for_the_replica(true);
    scene.loses(Replica);
    assert!(
        scene.established.is_none(),
        "the client was asked something"
    );
    scene.says(Client, 6, b"secret\0");
    scene.gets(Client, 7, OK_PACKET);
    let reason = Some(PrimaryOnly::ReplicaLost);
    assert_eq!(scene.done().primary_only, reason);
    scene.is_quiet();
}

#[test]
fn a_client_without_tls_is_not_asked_for_its_password_by_a_replica() {
    let mut scene = Scene::new(Rules::default());
    scene.greet(SHA2);
    let mut scene = signed_twice(scene, 1);
    scene.says(Replica, 2, FULL_AUTH);
    scene.gets(Client, 4, FAST_OK);
    scene.gets(Client, 5, OK_PACKET);
    let reason = Some(PrimaryOnly::ReplicaFullAuthentication);
    assert_eq!(scene.done().primary_only, reason);
}

/// A client without TLS, at servers with TLS, that is asked for its password.
fn asked_without_tls(key: &Arc<PasswordKey>) -> Scene {
    let mut scene = Scene::new(Rules {
        password_key: Some(Arc::clone(key)),
        ..servers_on_tls()
    });
    scene.greet(SHA2);
    scene.respond(SHA2);
    scene.says(Primary, 2, FULL_AUTH);
    scene.gets(Client, 2, FULL_AUTH);
    scene
}

#[test]
fn a_client_without_tls_tells_servers_with_tls_its_password_under_ringways_key() {
    let key = Arc::new(PasswordKey::make().unwrap());
    let pem = key.pem().as_bytes();
    let signer = Signer::Password(Arc::new(Password::new("secret")));
    let secret = signer.encrypt_password(pem, &PRIMARY).unwrap();
    for piece in [usize::MAX, 1] {
        let mut scene = asked_without_tls(&key).in_pieces(piece);
        scene.says(Client, 3, b"\x02");
        scene.gets(Client, 4, &[b"\x01", pem].concat());
        scene.is_quiet();
        scene.says(Client, 5, &secret);
        scene.gets(Primary, 3, b"secret\0");
        scene.says(Primary, 4, OK_PACKET);
        scene.gets(Client, 6, OK_PACKET);
        let done = scene.done();
        assert_eq!((done.rung, done.primary_only), (Rung::Capture, None));
        assert!(done.signer.is_some(), "it signs at the replica, too");
    }
}

#[test]
fn a_password_that_is_not_under_ringways_key_reaches_no_server() {
    let key = Arc::new(PasswordKey::make().unwrap());
    let signer = Signer::Password(Arc::new(Password::new("secret")));
    let for_server = signer.encrypt_password(server_key().as_bytes(), &PRIMARY);
    let for_server = for_server.unwrap();
    // By a client that has not asked for a key: it has the server's, or no secrets.
    for told in [&for_server[..], b"secret\0", b"", b"\x02\x02"] {
        let mut scene = asked_without_tls(&key);
        scene.says(Client, 3, told);
        assert_eq!(error_of(&mut scene), (4, 1045));
        assert_eq!(scene.failure, Some(Failure::PasswordUnreadable));
        assert_eq!(Failure::PasswordUnreadable.who(), Who::Client);
        scene.gets(Primary, 3, b"");
    }
    // By one that has.
    for told in [&for_server[..], b"secret\0", b"", b"\x02"] {
        let mut scene = asked_without_tls(&key);
        scene.says(Client, 3, b"\x02");
        scene.next(Client);
        scene.says(Client, 5, told);
        assert_eq!(error_of(&mut scene), (6, 1045));
        assert_eq!(scene.failure, Some(Failure::PasswordUnreadable));
        scene.gets(Primary, 3, b"");
        scene.says(Primary, 4, DENIED);
        assert!(scene.login.is_finished() || scene.closed[Primary as usize]);
    }
}

#[test]
fn a_wrong_password_under_ringways_key_is_refused_in_the_servers_words() {
    let key = Arc::new(PasswordKey::make().unwrap());
    let signer = Signer::Password(Arc::new(Password::new("wrong")));
    let secret = signer.encrypt_password(key.pem().as_bytes(), &PRIMARY);
    let mut scene = asked_without_tls(&key);
    scene.says(Client, 3, b"\x02");
    scene.next(Client);
    scene.says(Client, 5, &secret.unwrap());
    scene.gets(Primary, 3, b"wrong\0");
    scene.says(Primary, 4, DENIED);
    scene.gets(Client, 6, DENIED);
}

#[test]
fn what_a_client_says_in_plain_words_on_tls_reaches_no_server_without() {
    const CLEAR: &[u8] = b"mysql_clear_password";
    let mut scene = on_tls(CLEAR);
    scene.says(Client, 2, &response(b"test", CLEAR, b"secret\0"));
    assert_eq!(error_of(&mut scene), (3, 1045));
    assert_eq!(scene.failure, Some(Failure::PasswordInPlain));
    assert_eq!(Failure::PasswordInPlain.who(), Who::Operator);
    scene.leaves_as_nobody(Primary);

    // Nor by a server that asks for it.
    let mut scene = on_tls(NATIVE);
    let signed = response(b"test", NATIVE, &token(NATIVE, &PRIMARY));
    scene.says(Client, 2, &signed);
    scene.gets(Primary, 1, &signed);
    scene.says(Primary, 2, &[b"\xfe", CLEAR, b"\0"].concat());
    assert_eq!(error_of(&mut scene), (3, 1045));
    assert_eq!(scene.failure, Some(Failure::PasswordInPlain));
}

/// A `COM_CHANGE_USER` that has a password in it.
const CHANGE_IN_CLEAR: &[u8] = b"\x11bob\0\x07secret\0shop\0\x2d\0mysql_clear_password\0";

#[test]
fn another_users_password_in_plain_words_on_tls_reaches_no_server_without() {
    let mut scene = change_user_of(ClientTls::Running, Rules::default(), Ok(CHANGE_IN_CLEAR));
    assert_eq!(error_of(&mut scene), (1, 1045));
    assert_eq!(scene.failure, Some(Failure::PasswordInPlain));
    for server in [Primary, Replica] {
        scene.gets(server, 0, b"\x01");
        assert!(scene.closed[server as usize]);
    }
    scene.is_quiet();

    // Nor by a server that asks for it.
    let asks = [b"\xfe", &b"mysql_clear_password"[..], b"\0"].concat();
    let signed = [b"\x11bob\0\x14", &token(NATIVE, &REPLICA)[..], b"\0\x2d\0"].concat();
    let mut scene = change_user_of(ClientTls::Running, Rules::default(), Ok(&signed));
    scene.gets(Primary, 0, &signed);
    scene.says(Primary, 1, &asks);
    assert_eq!(error_of(&mut scene), (1, 1045));
    assert_eq!(scene.failure, Some(Failure::PasswordInPlain));
}

#[test]
fn another_users_password_in_plain_words_goes_where_the_command_may_go() {
    let nothing = b"\x11bob\0\0shop\0\x2d\0mysql_clear_password\0";
    for (client_tls, rules, command) in [
        (ClientTls::Running, servers_on_tls(), CHANGE_IN_CLEAR),
        (ClientTls::Off, Rules::default(), CHANGE_IN_CLEAR),
        (ClientTls::Running, Rules::default(), nothing),
    ] {
        let mut scene = change_user_of(client_tls, rules, Ok(command));
        for server in [Primary, Replica] {
            scene.gets(server, 0, command);
        }
        scene.is_quiet();
    }
}

#[test]
fn a_wrong_password_on_tls_is_refused_in_the_servers_words() {
    let mut scene = on_tls(SHA2);
    let signed = response(b"test", SHA2, &token(SHA2, &PRIMARY));
    scene.says(Client, 2, &signed);
    scene.next(Primary);
    scene.says(Primary, 2, FULL_AUTH);
    scene.next(Client);
    scene.says(Client, 4, b"wrong\0");
    scene.next(Primary);
    scene.says(Primary, 4, DENIED);
    scene.gets(Client, 5, DENIED);
    let failure = scene.failure.as_ref().unwrap();
    assert_eq!(failure.who(), Who::Client);
}

/// A login at servers that are spoken to over TLS.
fn needing_tls() -> Rules {
    Rules {
        servers_on_tls: true,
        ..Rules::default()
    }
}

/// A greeting that does not offer TLS.
fn greeting_without_tls(scramble: Scramble, thread_id: u32) -> Vec<u8> {
    let with_it = Greeting::parse(&greeting(NATIVE, scramble, thread_id)).unwrap();
    let mut out = Vec::new();
    with_it.masked(Capabilities::SSL, None).write(&mut out, 0);
    out.split_off(HEADER_BYTES)
}

#[test]
fn b_14_a_primary_that_does_not_offer_tls_is_told_nothing_and_the_replica_takes_its_place() {
    let mut scene = Scene::new(needing_tls());
    scene.says(Primary, 0, &greeting_without_tls(PRIMARY, 7));
    assert_eq!(scene.no_tls, Some((Primary, NoTls::NotOffered)));
    assert!(scene.login.lacks_tls(Primary));
    scene.leaves_as_nobody(Primary);
    assert_eq!(scene.opened, 1);
    scene.says(Replica, 0, &greeting(NATIVE, REPLICA, 70));
    let signed = response(b"test", NATIVE, &token(NATIVE, &REPLICA));
    scene.next(Client);
    scene.says(Client, 1, &signed);
    scene.gets(Replica, 1, &signed);
    scene.says(Replica, 2, OK_PACKET);
    scene.gets(Client, 2, OK_PACKET);
    assert!(scene.done().reads_only);
}

#[test]
fn b_14_without_a_server_that_offers_tls_the_login_fails_before_the_client_has_said_anything() {
    let mut scene = Scene::without_replica(needing_tls());
    scene.says(Primary, 0, &greeting_without_tls(PRIMARY, 7));
    let (sequence, error) = scene.next(Client);
    assert_eq!((sequence, error.first()), (0, Some(&0xFF)));
    assert_eq!(scene.failure, Some(Failure::NoServer));
    scene.leaves_as_nobody(Primary);
    assert!(scene.login.is_finished());
}

#[test]
fn b_14_a_replica_that_does_not_offer_tls_is_gone_without() {
    let mut scene = Scene::new(needing_tls());
    scene.says(Primary, 0, &greeting(NATIVE, PRIMARY, 7));
    scene.next(Client);
    let signed = response(b"test", NATIVE, &token(NATIVE, &PRIMARY));
    scene.says(Client, 1, &signed);
    scene.gets(Primary, 1, &signed);
    scene.says(Replica, 0, &greeting_without_tls(REPLICA, 70));
    assert_eq!(scene.no_tls, Some((Replica, NoTls::NotOffered)));
    scene.leaves_as_nobody(Replica);
    scene.says(Primary, 2, OK_PACKET);
    scene.gets(Client, 2, OK_PACKET);
    assert_eq!(scene.done().primary_only, Some(PrimaryOnly::ReplicaLost));
}

#[test]
fn b_1_what_a_server_says_before_there_is_tls_is_not_heard() {
    let injected = [OK_PACKET, b"\xff\x15\x04", b""];
    for behind in injected.map(|payload| {
        let mut packet = Vec::new();
        write_packet(&mut packet, 2, payload);
        packet
    }) {
        let mut bytes = Vec::new();
        write_packet(&mut bytes, 0, &greeting(NATIVE, PRIMARY, 7));
        for parts in [
            vec![[bytes.clone(), behind.clone()].concat()],
            vec![bytes.clone(), behind.clone()],
            vec![bytes.clone(), behind[..2].to_vec()],
        ] {
            let mut scene = Scene::without_replica(needing_tls());
            parts
                .iter()
                .for_each(|part| drop(scene.sends(Primary, part)));
            let early = parts.concat().len() - bytes.len();
            assert_eq!(scene.no_tls, Some((Primary, NoTls::SpokeEarly(early))));
            assert!(scene.closed[Primary as usize] && scene.failure.is_some());
            parts.iter().for_each(|_| drop(scene.next(Client)));
            scene.is_quiet();
        }
    }
}
