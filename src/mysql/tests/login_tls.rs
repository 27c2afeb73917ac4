//! Logins of clients whose connection becomes TLS in the middle.

use std::sync::Arc;

use aws_lc_rs::rsa::{KeySize, PrivateDecryptingKey};

use super::samples::SSL_REQUEST;
use super::script::{
    DENIED, FULL_AUTH, NATIVE, OK_PACKET, PRIMARY, SHA2, Scene, capabilities, greeting, response,
    response_with, token,
};
use crate::mysql::capabilities::Capabilities;
use crate::mysql::handshake::Greeting;
use crate::mysql::login::Peer::{Client, Primary, Replica};
use crate::mysql::login::{ClientTls, Failure, Login, Rules, Rung};
use crate::mysql::packet::{ErrPacket, write_packet};
use crate::telemetry::Who;

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
    let private = PrivateDecryptingKey::generate(KeySize::Rsa2048).unwrap();
    let der = aws_lc_rs::encoding::AsDer::as_der(&private.public_key()).unwrap();
    let pem = crate::mysql::auth::tests::pem_of(der.as_ref());
    let mut scene = on_tls(SHA2);
    let signed = response(b"test", SHA2, &token(SHA2, &PRIMARY));
    scene.says(Client, 2, &signed);
    scene.gets(Primary, 1, &signed);
    scene.says(Primary, 2, FULL_AUTH);
    scene.gets(Client, 3, FULL_AUTH);
    scene.says(Client, 4, b"secret\0");
    // The server's key is asked for, and what it gets is as long as the key.
    scene.gets(Primary, 3, b"\x02");
    scene.says(Primary, 4, &[b"\x01", pem.as_bytes()].concat());
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
    scene.says(Replica, 0, &greeting(SHA2, super::script::REPLICA, 70));
    scene.leaves_as_nobody(Replica);
    assert!(scene.login.is_finished());
}

#[test]
fn a_server_on_tls_is_told_the_password_and_not_asked_for_a_key() {
    let rules = Rules {
        servers_on_tls: true,
        ..Rules::default()
    };
    let mut scene = on_tls_by(rules, SHA2);
    let signed = response(b"test", SHA2, &token(SHA2, &PRIMARY));
    scene.says(Client, 2, &signed);
    scene.next(Primary);
    scene.says(Primary, 2, FULL_AUTH);
    scene.next(Client);
    scene.says(Client, 4, b"secret\0");
    scene.gets(Primary, 3, b"secret\0");
}

#[test]
fn a_client_without_tls_cannot_be_asked_for_its_password_by_a_server_with_tls() {
    let rules = Rules {
        servers_on_tls: true,
        ..Rules::default()
    };
    let mut scene = Scene::new(rules);
    scene.greet(SHA2);
    scene.respond(SHA2);
    scene.says(Primary, 2, FULL_AUTH);
    assert_eq!(error_of(&mut scene), (2, 1045));
    assert_eq!(scene.failure, Some(Failure::CredentialUnusable));
}

#[test]
fn what_a_client_says_in_plain_words_on_tls_reaches_no_server_without() {
    const CLEAR: &[u8] = b"mysql_clear_password";
    let mut scene = on_tls(CLEAR);
    scene.says(Client, 2, &response(b"test", CLEAR, b"secret\0"));
    assert_eq!(error_of(&mut scene), (3, 1045));
    scene.leaves_as_nobody(Primary);

    // Nor by a server that asks for it.
    let mut scene = on_tls(NATIVE);
    let signed = response(b"test", NATIVE, &token(NATIVE, &PRIMARY));
    scene.says(Client, 2, &signed);
    scene.gets(Primary, 1, &signed);
    scene.says(Primary, 2, &[b"\xfe", CLEAR, b"\0"].concat());
    assert_eq!(error_of(&mut scene), (3, 1045));
    assert_eq!(scene.failure, Some(Failure::CredentialUnusable));
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
