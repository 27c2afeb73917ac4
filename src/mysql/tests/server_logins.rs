//! Logins of ringway's own, at one server.

use std::sync::Arc;

use aws_lc_rs::encoding::AsDer;
use aws_lc_rs::rsa::{KeySize, OAEP_SHA1_MGF1SHA1, OaepPrivateDecryptingKey, PrivateDecryptingKey};

use super::script::{
    DENIED, FAST_OK, FULL_AUTH, NATIVE, OK_PACKET, OTHER, REPLICA, SHA2, capabilities, greeting,
    greeting_with, response, split, switch, token,
};
use crate::mysql::auth::{KeyError, NativeHash, Password, Signer};
use crate::mysql::capabilities::Capabilities;
use crate::mysql::handshake::{FirstPacket, Response};
use crate::mysql::packet::write_packet;
use crate::mysql::server_login::{ServerLogin, ServerLoginError, ServerProgress};

/// A login, and what it has sent.
struct Scene {
    login: ServerLogin,
    sent: Vec<(u8, Vec<u8>)>,
}

impl Scene {
    fn new(signer: Signer) -> Self {
        let required = capabilities().and(Capabilities::LAYOUT);
        let login = ServerLogin::new(identity(), signer, capabilities(), required, false);
        let sent = Vec::new();
        Self { login, sent }
    }

    fn says(&mut self, sequence: u8, payload: &[u8]) -> ServerProgress {
        let (mut bytes, mut out) = (Vec::new(), Vec::new());
        write_packet(&mut bytes, sequence, payload);
        let mut progress = ServerProgress::Waiting;
        for mut byte in bytes.chunks(1) {
            progress = self.login.feed(&mut byte, &mut out);
        }
        self.sent.extend(split(&out));
        progress
    }

    fn waits(&mut self, sequence: u8, payload: &[u8]) {
        let progress = self.says(sequence, payload);
        assert!(matches!(progress, ServerProgress::Waiting), "{progress:?}");
    }

    fn sent(&mut self) -> (u8, Vec<u8>) {
        self.sent.remove(0)
    }
}

/// Who logs in: the client of the other login tests.
fn identity() -> Response {
    let Ok(FirstPacket::Response(mut response)) =
        FirstPacket::parse(&response(b"test", NATIVE, b""))
    else {
        panic!("a response");
    };
    response.plugin = None;
    response
}

fn password() -> Signer {
    Signer::Password(Arc::new(Password::new("secret")))
}

fn key() -> Signer {
    let hash = NativeHash::parse("*14E65567ABDB5135D0CFD9A70B3032C179A49EE7").unwrap();
    let key = hash.recover(&OTHER, &token(NATIVE, &OTHER)).unwrap();
    Signer::NativeKey(key)
}

#[test]
fn the_servers_own_plugin_is_signed_for() {
    for plugin in [NATIVE, SHA2] {
        let mut scene = Scene::new(password());
        scene.waits(0, &greeting(plugin, REPLICA, 70));
        let signed = response(b"test", plugin, &token(plugin, &REPLICA));
        assert_eq!(scene.sent(), (1, signed));
        if plugin == SHA2 {
            scene.waits(2, FAST_OK);
        }
        let ServerProgress::LoggedIn(done) = scene.says(3, OK_PACKET) else {
            panic!("it is logged in");
        };
        assert_eq!(done.greeting.thread_id, 70);
        assert!(scene.sent.is_empty());
    }
}

#[test]
fn a_switch_is_followed() {
    let mut scene = Scene::new(key());
    scene.waits(0, &greeting(SHA2, REPLICA, 70));
    assert_eq!(
        scene.sent(),
        (1, response(b"test", NATIVE, &token(NATIVE, &REPLICA)))
    );
    scene.waits(2, &switch(NATIVE, &OTHER));
    assert_eq!(scene.sent(), (3, token(NATIVE, &OTHER)));
    assert!(matches!(
        scene.says(4, OK_PACKET),
        ServerProgress::LoggedIn(_)
    ));
}

#[test]
fn a_server_that_does_not_remember_the_account_gets_the_password_encrypted() {
    let private = PrivateDecryptingKey::generate(KeySize::Rsa2048).unwrap();
    let der = private.public_key().as_der().unwrap();
    let mut scene = Scene::new(password());
    scene.waits(0, &greeting(SHA2, REPLICA, 70));
    scene.sent();
    scene.waits(2, FULL_AUTH);
    assert_eq!(scene.sent(), (3, b"\x02".to_vec()));
    let pem = crate::mysql::auth::tests::pem_of(der.as_ref());
    scene.waits(4, &[b"\x01", pem.as_bytes()].concat());
    let (sequence, ciphertext) = scene.sent();
    assert_eq!((sequence, ciphertext.len()), (5, 256));

    let private = OaepPrivateDecryptingKey::new(private).unwrap();
    let mut out = vec![0; private.min_output_size()];
    let plain = private.decrypt(&OAEP_SHA1_MGF1SHA1, &ciphertext, &mut out, None);
    let password = plain.unwrap().iter().zip(REPLICA.0).map(|(a, b)| a ^ b);
    assert!(password.eq(b"secret\0".iter().copied()));
    assert!(matches!(
        scene.says(6, OK_PACKET),
        ServerProgress::LoggedIn(_)
    ));
}

#[test]
fn what_cannot_be_signed_is_said_and_the_server_left_politely() {
    let mut scene = Scene::new(key());
    scene.waits(0, &greeting(NATIVE, REPLICA, 70));
    scene.sent();
    let progress = scene.says(2, &switch(SHA2, &OTHER));
    let ServerProgress::Failed(error) = progress else {
        panic!("a key of one plugin is none of the other");
    };
    assert_eq!(error, ServerLoginError::Key(KeyError::PasswordUnknown));
    assert_eq!(scene.sent(), (3, Vec::new()));
    assert!(!scene.login.is_over());
    scene.waits(4, DENIED);
    assert!(scene.login.is_over());
}

#[test]
fn a_server_that_lacks_what_the_other_one_has_is_not_used() {
    let mut scene = Scene::new(password());
    let older = capabilities().without(Capabilities::DEPRECATE_EOF);
    let progress = scene.says(0, &greeting_with(NATIVE, REPLICA, 70, older));
    assert!(matches!(
        progress,
        ServerProgress::Failed(ServerLoginError::Capabilities)
    ));
    let (_, nobody) = scene.sent();
    assert!(nobody.windows(14).any(|name| name == b"ringway-nobody"));
}

#[test]
fn refusals_say_what_the_server_said() {
    for first in [true, false] {
        let mut scene = Scene::new(password());
        if !first {
            scene.waits(0, &greeting(NATIVE, REPLICA, 70));
        }
        let ServerProgress::Failed(error) = scene.says(if first { 0 } else { 2 }, DENIED) else {
            panic!("it is refused");
        };
        let text = "the server refuses the login: 1045 Access denied";
        assert_eq!(error.to_string(), text);
        assert!(scene.login.is_over());
    }
}

#[test]
fn a_login_that_is_given_up_leaves_politely() {
    let mut scene = Scene::new(password());
    scene.waits(0, &greeting(NATIVE, REPLICA, 70));
    let mut out = Vec::new();
    scene.login.leave(&mut out);
    assert!(out.is_empty(), "the server is verifying");
    scene.sent();
    scene.waits(2, OK_PACKET);
    assert_eq!(scene.sent(), (0, b"\x01".to_vec()));
    assert!(scene.login.is_over());
}
