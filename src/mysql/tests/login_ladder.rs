//! Each rung of the ladder, packet by packet.

use Peer::{Client, Primary, Replica};
use zeroize::Zeroizing;

use super::script::{
    DENIED, FAST_OK, FULL_AUTH, NATIVE, OK_PACKET, OTHER, PRIMARY, REPLICA, SHA2, Scene,
    capabilities, greeting, greeting_with, response, response_with, switch, token, with_hash,
    with_password,
};
use crate::mysql::capabilities::Capabilities;
use crate::mysql::handshake::{FirstPacket, Greeting};
use crate::mysql::inbox::TooLong;
use crate::mysql::login::{ClientTls, Failure, Login, Peer, PrimaryOnly, Rules, Rung};
use crate::mysql::packet::{ErrPacket, Status};
use crate::telemetry::Who;

/// A client that both servers have accepted, native.
fn relayed(mut scene: Scene) -> Scene {
    scene.greet(NATIVE);
    scene.respond(NATIVE);
    assert_eq!(scene.opened, 1);
    scene.says(Replica, 0, &greeting(NATIVE, REPLICA, 70));
    scene.is_quiet();
    scene.says(Primary, 2, OK_PACKET);
    scene.gets(Client, 2, &switch(NATIVE, &REPLICA));
    scene.says(Client, 3, &token(NATIVE, &REPLICA));
    scene.gets(
        Replica,
        1,
        &response(b"test", NATIVE, &token(NATIVE, &REPLICA)),
    );
    scene.says(Replica, 2, OK_PACKET);
    scene.gets(Client, 4, OK_PACKET);
    scene.is_quiet();
    scene
}

#[test]
fn the_client_signs_once_for_each_server() {
    for piece in [usize::MAX, 1, 7] {
        let scene = relayed(Scene::new(Rules::default()).in_pieces(piece));
        let done = scene.done();
        assert_eq!((done.rung, done.primary_only), (Rung::Relay, None));
        assert_eq!(done.thread_id, 7);
        assert_eq!(done.replica.as_ref().unwrap().thread_id, 70);
        assert_eq!(done.capabilities, capabilities());
        assert_eq!(done.response.user, b"app");
        assert_eq!(done.response.database.as_deref(), Some(&b"shop"[..]));
        assert!(done.response.token.is_empty(), "signatures are not kept");
        assert!(done.status.contains(Status::AUTOCOMMIT) && !done.reads_only);
        assert!(scene.login.is_finished());
    }
}

#[test]
fn the_switch_comes_instead_of_the_fast_ok() {
    let mut scene = Scene::new(Rules::default());
    scene.greet(SHA2);
    scene.respond(SHA2);
    scene.says(Primary, 2, FAST_OK);
    scene.says(Replica, 0, &greeting(SHA2, REPLICA, 70));
    scene.is_quiet();
    scene.says(Primary, 3, OK_PACKET);
    scene.gets(Client, 2, &switch(SHA2, &REPLICA));
    scene.says(Client, 3, &token(SHA2, &REPLICA));
    scene.next(Replica);
    scene.says(Replica, 2, FAST_OK);
    scene.is_quiet();
    scene.says(Replica, 3, OK_PACKET);
    scene.gets(Client, 4, FAST_OK);
    scene.gets(Client, 5, OK_PACKET);
    assert_eq!(scene.done().rung, Rung::Relay);
}

#[test]
fn what_ringway_does_not_offer_reaches_neither_side() {
    let mut scene = Scene::new(Rules::default());
    scene.says(Primary, 0, &greeting(NATIVE, PRIMARY, 7));
    let offered = Greeting::parse(&scene.next(Client).1).unwrap().capabilities;
    assert_eq!(offered, capabilities());
    // A client that takes what it was not offered does not get it.
    let greedy = capabilities() | Capabilities::LOCAL_FILES | Capabilities::COMPRESS;
    let packet = response_with(b"test", NATIVE, &token(NATIVE, &PRIMARY), greedy);
    scene.says(Client, 1, &packet);
    let Ok(FirstPacket::Response(passed_on)) = FirstPacket::parse(&scene.next(Primary).1) else {
        panic!("the primary gets a response");
    };
    assert_eq!(passed_on.capabilities, capabilities());

    let mut scene = Scene::new(Rules {
        local_infile: true,
        ..Rules::default()
    });
    scene.says(Primary, 0, &greeting(NATIVE, PRIMARY, 7));
    let offered = Greeting::parse(&scene.next(Client).1).unwrap().capabilities;
    assert!(offered.contains(Capabilities::LOCAL_FILES));
}

#[test]
fn an_empty_password_needs_no_second_signature() {
    let mut scene = Scene::new(Rules::default());
    scene.greet(NATIVE);
    scene.says(Client, 1, &response(b"test", NATIVE, b""));
    scene.next(Primary);
    scene.says(Replica, 0, &greeting(NATIVE, REPLICA, 70));
    scene.says(Primary, 2, OK_PACKET);
    scene.gets(Replica, 1, &response(b"test", NATIVE, b""));
    scene.says(Replica, 2, OK_PACKET);
    scene.gets(Client, 2, OK_PACKET);
    assert_eq!(scene.done().rung, Rung::Relay);
}

#[test]
fn a_switch_to_the_scramble_of_the_greeting_is_answered_without_the_client() {
    let rules = Rules {
        announce: crate::mysql::auth::Plugin::from_name(NATIVE),
        ..Rules::default()
    };
    let mut scene = Scene::new(rules);
    scene.says(Primary, 0, &greeting(SHA2, PRIMARY, 7));
    let announced = Greeting::parse(&scene.next(Client).1).unwrap();
    assert_eq!(announced.plugin, NATIVE);
    scene.respond(NATIVE);
    scene.says(Primary, 2, &switch(NATIVE, &PRIMARY));
    scene.gets(Primary, 3, &token(NATIVE, &PRIMARY));
    scene.says(Primary, 4, OK_PACKET);
    scene.says(Replica, 0, &greeting(SHA2, REPLICA, 70));
    scene.gets(Client, 2, &switch(NATIVE, &REPLICA));
    scene.says(Client, 3, &token(NATIVE, &REPLICA));
    scene.next(Replica);
    // The replica plays the same game.
    scene.says(Replica, 2, &switch(NATIVE, &REPLICA));
    scene.gets(Replica, 3, &token(NATIVE, &REPLICA));
    scene.says(Replica, 4, OK_PACKET);
    scene.gets(Client, 4, OK_PACKET);
    assert_eq!(scene.done().rung, Rung::Relay);
}

#[test]
fn a_client_that_signs_twice_only_has_no_signature_left_after_the_primarys_switch() {
    for (name, signs_again) in [(&b"test"[..], false), (b"libmariadb", true)] {
        let mut scene = Scene::new(Rules::default());
        scene.greet(SHA2);
        let first = response(name, SHA2, &token(SHA2, &PRIMARY));
        scene.says(Client, 1, &first);
        scene.gets(Primary, 1, &first);
        scene.says(Replica, 0, &greeting(SHA2, REPLICA, 70));
        scene.says(Primary, 2, &switch(NATIVE, &OTHER));
        scene.gets(Client, 2, &switch(NATIVE, &OTHER));
        scene.says(Client, 3, &token(NATIVE, &OTHER));
        scene.gets(Primary, 3, &token(NATIVE, &OTHER));
        scene.says(Primary, 4, OK_PACKET);
        if signs_again {
            scene.gets(Client, 4, &switch(NATIVE, &REPLICA));
            scene.says(Client, 5, &token(NATIVE, &REPLICA));
            scene.next(Replica);
            scene.says(Replica, 2, OK_PACKET);
            scene.gets(Client, 6, OK_PACKET);
            assert_eq!(scene.done().primary_only, None);
        } else {
            scene.gets(Client, 4, OK_PACKET);
            assert_eq!(scene.done().primary_only, Some(PrimaryOnly::SwitchUsed));
            scene.leaves_as_nobody(Replica);
        }
        assert!(scene.login.is_finished());
    }
}

#[test]
fn a_primary_that_wants_the_password_itself_talks_to_the_client() {
    let mut scene = Scene::new(Rules::default());
    scene.greet(SHA2);
    scene.respond(SHA2);
    scene.says(Primary, 2, FULL_AUTH);
    scene.gets(Client, 2, FULL_AUTH);
    scene.says(Client, 3, b"\x02");
    scene.gets(Primary, 3, b"\x02");
    scene.says(Primary, 4, b"\x01-----BEGIN PUBLIC KEY-----");
    scene.gets(Client, 4, b"\x01-----BEGIN PUBLIC KEY-----");
    scene.says(Client, 5, &[9; 256]);
    scene.gets(Primary, 5, &[9; 256]);
    scene.says(Primary, 6, OK_PACKET);
    scene.gets(Client, 6, OK_PACKET);
    assert_eq!(
        scene.done().primary_only,
        Some(PrimaryOnly::FullAuthentication)
    );
    assert_eq!(scene.done().rung, Rung::PrimaryOnly);
    scene.says(Replica, 0, &greeting(SHA2, REPLICA, 70));
    scene.leaves_as_nobody(Replica);
}

#[test]
fn plugins_that_are_not_known_are_relayed_to_the_primary() {
    let mut scene = Scene::new(Rules::default());
    scene.greet(NATIVE);
    scene.respond(NATIVE);
    let nonce = b"\xfeclient_ed25519\0abcdefghijklmnopqrstuvwxyz012345";
    scene.says(Primary, 2, nonce);
    scene.gets(Client, 2, nonce);
    scene.says(Client, 3, &[5; 64]);
    scene.gets(Primary, 3, &[5; 64]);
    scene.says(Primary, 4, OK_PACKET);
    scene.gets(Client, 4, OK_PACKET);
    assert_eq!(scene.done().primary_only, Some(PrimaryOnly::Plugin));
}

#[test]
fn further_factors_are_relayed_to_the_primary() {
    let mut scene = Scene::new(Rules::default());
    scene.greet(NATIVE);
    scene.respond(NATIVE);
    scene.says(Primary, 2, b"\x02authentication_ldap\0");
    scene.gets(Client, 2, b"\x02authentication_ldap\0");
    scene.says(Client, 3, b"factor");
    scene.gets(Primary, 3, b"factor");
    scene.says(Primary, 4, OK_PACKET);
    scene.gets(Client, 4, OK_PACKET);
    assert_eq!(scene.done().primary_only, Some(PrimaryOnly::MultiFactor));
}

#[test]
fn accounts_can_be_sent_past_the_splitting() {
    let rules = Rules {
        primary_only_users: [b"app".to_vec()].into(),
        ..Rules::default()
    };
    let mut scene = Scene::new(rules);
    scene.greet(NATIVE);
    scene.respond(NATIVE);
    scene.says(Primary, 2, OK_PACKET);
    scene.gets(Client, 2, OK_PACKET);
    assert_eq!(scene.done().primary_only, Some(PrimaryOnly::User));
    assert_eq!(scene.opened, 0);
}

#[test]
fn a_pool_without_a_replica_is_no_obstacle() {
    let mut scene = Scene::without_replica(Rules::default());
    scene.greet(NATIVE);
    scene.respond(NATIVE);
    scene.says(Primary, 2, OK_PACKET);
    scene.gets(Client, 2, OK_PACKET);
    assert_eq!(scene.done().primary_only, Some(PrimaryOnly::NoReplica));
}

#[test]
fn a_client_that_cannot_switch_uses_the_primary() {
    let old = capabilities().without(Capabilities::PLUGIN_AUTH);
    let mut scene = Scene::new(Rules::default());
    scene.greet(NATIVE);
    let packet = response_with(b"test", NATIVE, &token(NATIVE, &PRIMARY), old);
    scene.says(Client, 1, &packet);
    scene.gets(Primary, 1, &packet);
    scene.says(Primary, 2, OK_PACKET);
    scene.gets(Client, 2, OK_PACKET);
    assert_eq!(scene.done().primary_only, Some(PrimaryOnly::OldClient));
}

#[test]
fn a_configured_account_is_verified_here_and_signed_for() {
    for plugin in [NATIVE, SHA2] {
        let mut scene = Scene::new(with_password("secret"));
        scene.greet(plugin);
        scene.respond(plugin);
        scene.says(Primary, 2, OK_PACKET);
        if plugin == SHA2 {
            scene.gets(Client, 2, FAST_OK);
        }
        scene.gets(Client, if plugin == SHA2 { 3 } else { 2 }, OK_PACKET);
        let done = scene.done();
        assert_eq!((done.rung, done.primary_only), (Rung::Configured, None));
        assert!(done.signer.is_some());
        assert_eq!(scene.opened, 0, "a replica is opened when it is needed");
    }
}

#[test]
fn a_hash_is_enough_and_asks_for_a_native_signature() {
    let mut scene = Scene::new(with_hash());
    scene.greet(SHA2);
    scene.says(Client, 1, &response(b"test", SHA2, &token(SHA2, &PRIMARY)));
    scene.gets(Client, 2, &switch(NATIVE, &PRIMARY));
    scene.is_quiet();
    scene.says(Client, 3, &token(NATIVE, &PRIMARY));
    let signed = response(b"test", NATIVE, &token(NATIVE, &PRIMARY));
    scene.gets(Primary, 1, &signed);
    scene.says(Primary, 2, &switch(NATIVE, &OTHER));
    scene.gets(Primary, 3, &token(NATIVE, &OTHER));
    scene.says(Primary, 4, OK_PACKET);
    scene.gets(Client, 4, OK_PACKET);
    assert_eq!(scene.done().rung, Rung::Configured);
}

#[test]
fn a_wrong_password_of_a_configured_account_is_denied_without_the_server() {
    for (rules, plugin) in [
        (with_password("other"), SHA2),
        (with_password("Secret"), NATIVE),
    ] {
        let mut scene = Scene::new(rules);
        scene.greet(plugin);
        scene.says(
            Client,
            1,
            &response(b"test", plugin, &token(plugin, &PRIMARY)),
        );
        let (sequence, error) = scene.next(Client);
        assert_eq!((sequence, &error[..9]), (2, &DENIED[..9]));
        let text = String::from_utf8_lossy(&error[9..]).into_owned();
        assert_eq!(
            text,
            "Access denied for user 'app'@'10.0.0.9' (using password: YES)"
        );
        assert_eq!(scene.failure.as_ref().unwrap().who(), Who::Client);
        scene.leaves_as_nobody(Primary);
        assert!(scene.login.is_finished());
    }
}

#[test]
fn an_account_that_the_configuration_has_wrong_blames_the_operator() {
    let mut scene = Scene::new(with_password("secret"));
    scene.greet(NATIVE);
    scene.respond(NATIVE);
    scene.says(Primary, 2, DENIED);
    scene.gets(Client, 2, DENIED);
    let failure = scene.failure.unwrap();
    assert_eq!(
        failure,
        Failure::ServerRefused {
            code: 1045,
            configured: true
        }
    );
    assert_eq!(failure.who(), Who::Operator);
}

#[test]
fn without_a_primary_the_replica_alone_logs_in() {
    let mut scene = Scene::new(Rules::default());
    scene.loses(Primary);
    assert_eq!(scene.opened, 1);
    scene.says(Replica, 0, &greeting(NATIVE, REPLICA, 70));
    assert_eq!(
        Greeting::parse(&scene.next(Client).1).unwrap().scramble,
        REPLICA
    );
    scene.says(
        Client,
        1,
        &response(b"test", NATIVE, &token(NATIVE, &REPLICA)),
    );
    scene.next(Replica);
    scene.says(Replica, 2, OK_PACKET);
    scene.gets(Client, 2, OK_PACKET);
    let done = scene.done();
    assert!(done.reads_only && done.primary.is_none());
    assert_eq!((done.thread_id, done.primary_only), (70, None));
}

#[test]
fn a_configured_account_moves_to_the_replica_in_the_middle_of_its_login() {
    let mut scene = Scene::new(with_password("secret"));
    scene.greet(NATIVE);
    scene.respond(NATIVE);
    scene.loses(Primary);
    assert_eq!(scene.opened, 1);
    scene.says(Replica, 0, &greeting(NATIVE, REPLICA, 70));
    scene.gets(
        Replica,
        1,
        &response(b"test", NATIVE, &token(NATIVE, &REPLICA)),
    );
    scene.says(Replica, 2, OK_PACKET);
    scene.gets(Client, 2, OK_PACKET);
    assert!(scene.done().reads_only);
}

#[test]
fn the_primary_reports_gtids_that_the_client_does_not_hear_of() {
    let silent = capabilities().without(Capabilities::SESSION_TRACK);
    let mut scene = Scene::without_replica(Rules {
        track_gtids: true,
        ..Rules::default()
    });
    scene.greet(NATIVE);
    let packet = response_with(b"test", NATIVE, &token(NATIVE, &PRIMARY), silent);
    scene.says(Client, 1, &packet);
    let Ok(FirstPacket::Response(asked)) = FirstPacket::parse(&scene.next(Primary).1) else {
        panic!("the primary gets a response");
    };
    assert_eq!(asked.capabilities, capabilities());
    scene.says(Primary, 2, b"\0\0\0\x02\x40\0\0\0\x07\x01\x05\x04shop");
    scene.gets(Client, 2, OK_PACKET);
    let done = scene.done();
    assert_eq!(done.capabilities, silent);
    assert_eq!(done.primary_capabilities, capabilities());
}

/// A `COM_CHANGE_USER` in a session that has a replica, and has said nothing since its login.
fn change_user(rules: Rules, command: &[u8]) -> Scene {
    change_user_of(ClientTls::Off, rules, Ok(command))
}

/// The same, of a client on TLS or not.
pub(super) fn change_user_of(
    client_tls: ClientTls,
    rules: Rules,
    command: Result<&[u8], TooLong>,
) -> Scene {
    let session = relayed(Scene::new(Rules::default())).established.unwrap();
    let mut actions = Vec::new();
    let login = Login::change_user(
        rules.into(),
        "10.0.0.9",
        client_tls,
        &session,
        command.map(|payload| Zeroizing::new(payload.to_vec())),
        &mut actions,
    );
    let mut scene = Scene::of(login);
    scene.act(actions);
    scene
}

#[test]
fn change_user_answers_the_server_whose_scramble_the_client_knows() {
    changes_user_at_both([Replica, Primary]);
}

#[test]
fn change_user_waits_for_a_replica_that_is_slower_than_the_primary() {
    changes_user_at_both([Primary, Replica]);
}

/// The servers accept in this order, and both keep the session.
#[track_caller]
fn changes_user_at_both(order: [Peer; 2]) {
    let signed = token(NATIVE, &REPLICA);
    let command = [
        b"\x11bob\0\x14",
        &signed[..],
        b"other\0\x2d\0",
        NATIVE,
        b"\0",
    ]
    .concat();
    let mut scene = change_user(Rules::default(), &command);
    scene.gets(Primary, 0, &command);
    scene.gets(Replica, 0, &command);
    scene.says(Replica, 1, &switch(NATIVE, &REPLICA));
    scene.gets(Replica, 2, &signed);
    scene.says(Primary, 1, &switch(NATIVE, &PRIMARY));
    scene.gets(Client, 1, &switch(NATIVE, &PRIMARY));
    scene.says(Client, 2, &token(NATIVE, &PRIMARY));
    scene.gets(Primary, 2, &token(NATIVE, &PRIMARY));
    for server in order {
        scene.says(server, 3, OK_PACKET);
    }
    scene.gets(Client, 3, OK_PACKET);
    let done = scene.done();
    assert_eq!(done.response.user, b"bob");
    assert_eq!(done.response.database.as_deref(), Some(&b"other"[..]));
    assert_eq!(
        (done.primary_only, done.last_scramble),
        (None, Some(PRIMARY))
    );
    assert_eq!(done.replica.as_ref().unwrap().thread_id, 70);
    assert!(scene.login.is_finished());
}

#[test]
fn change_user_answers_a_replica_that_asks_after_the_primary_has_accepted() {
    let signed = token(NATIVE, &REPLICA);
    let command = [b"\x11bob\0\x14", &signed[..], b"\0\x2d\0", NATIVE, b"\0"].concat();
    let mut scene = change_user(Rules::default(), &command);
    scene.gets(Primary, 0, &command);
    scene.gets(Replica, 0, &command);
    scene.says(Primary, 1, &switch(NATIVE, &PRIMARY));
    scene.gets(Client, 1, &switch(NATIVE, &PRIMARY));
    scene.says(Client, 2, &token(NATIVE, &PRIMARY));
    scene.gets(Primary, 2, &token(NATIVE, &PRIMARY));
    scene.says(Primary, 3, OK_PACKET);
    scene.says(Replica, 1, &switch(NATIVE, &REPLICA));
    scene.gets(Replica, 2, &signed);
    scene.says(Replica, 3, OK_PACKET);
    scene.gets(Client, 3, OK_PACKET);
    assert_eq!(scene.done().primary_only, None);
}

#[test]
fn change_user_with_fresh_scrambles_goes_on_without_the_replica() {
    let signed = token(SHA2, &REPLICA);
    let command = [b"\x11bob\0\x20", &signed[..], b"\0\x2d\0", SHA2, b"\0"].concat();
    let mut scene = change_user(Rules::default(), &command);
    scene.gets(Primary, 0, &command);
    scene.gets(Replica, 0, &command);
    scene.says(Primary, 1, &switch(SHA2, &OTHER));
    scene.gets(Client, 1, &switch(SHA2, &OTHER));
    scene.says(Replica, 1, &switch(SHA2, &PRIMARY));
    scene.says(Client, 2, &token(SHA2, &OTHER));
    scene.gets(Primary, 2, &token(SHA2, &OTHER));
    scene.says(Primary, 3, FAST_OK);
    scene.says(Primary, 4, OK_PACKET);
    scene.gets(Client, 3, FAST_OK);
    scene.gets(Client, 4, OK_PACKET);
    assert_eq!(scene.done().primary_only, Some(PrimaryOnly::SwitchUsed));
    scene.gets(Replica, 2, b"");
    scene.says(Replica, 3, DENIED);
    assert!(scene.closed[Replica as usize] && scene.login.is_finished());
}

#[test]
fn change_user_to_a_configured_account_is_signed_for_at_both() {
    let signed = token(NATIVE, &REPLICA);
    let command = [
        b"\x11app\0\x14",
        &signed[..],
        b"shop\0\x2d\0",
        NATIVE,
        b"\0",
    ]
    .concat();
    let mut scene = change_user(with_password("secret"), &command);
    for peer in [Primary, Replica] {
        let (sequence, payload) = scene.next(peer);
        assert_eq!(sequence, 0);
        assert!(payload.starts_with(b"\x11app\0\0shop\0\x2d\0mysql_native_password\0"));
    }
    scene.says(Primary, 1, &switch(NATIVE, &PRIMARY));
    scene.gets(Primary, 2, &token(NATIVE, &PRIMARY));
    scene.says(Primary, 3, OK_PACKET);
    scene.is_quiet();
    scene.says(Replica, 1, &switch(NATIVE, &REPLICA));
    scene.gets(Replica, 2, &token(NATIVE, &REPLICA));
    scene.says(Replica, 3, OK_PACKET);
    scene.gets(Client, 1, OK_PACKET);
    assert_eq!(scene.done().rung, Rung::Configured);
}

#[test]
fn change_user_that_the_primary_refuses_ends_the_session() {
    let mut scene = change_user(Rules::default(), b"\x11bob\0\0\0");
    scene.says(Primary, 1, DENIED);
    scene.gets(Client, 1, DENIED);
    assert!(scene.closed[Primary as usize] && !scene.closed[Replica as usize]);
    scene.says(Replica, 1, DENIED);
    assert!(scene.closed[Replica as usize] && scene.login.is_finished());
}

#[test]
fn servers_with_different_layouts_are_not_mixed() {
    let mut scene = Scene::new(Rules::default());
    scene.greet(NATIVE);
    scene.respond(NATIVE);
    scene.says(Primary, 2, OK_PACKET);
    let older = capabilities().without(Capabilities::DEPRECATE_EOF);
    scene.says(Replica, 0, &greeting_with(NATIVE, REPLICA, 70, older));
    scene.gets(Client, 2, OK_PACKET);
    assert_eq!(
        scene.done().primary_only,
        Some(PrimaryOnly::ReplicaCapabilities)
    );
    scene.leaves_as_nobody(Replica);
}

#[test]
fn change_user_is_no_longer_and_no_shorter_than_a_login() {
    let too_long = TooLong { sequence: 7 };
    for (command, answer) in [
        (Ok(&b""[..]), (1, 1043)),
        (Ok(b"\x11"), (1, 1043)),
        (Ok(b"\x11xxxx"), (1, 1043)),
        (Err(too_long), (8, 1153)),
    ] {
        let mut scene = change_user_of(ClientTls::Off, Rules::default(), command);
        let (sequence, error) = scene.next(Client);
        assert_eq!((sequence, ErrPacket::parse(&error).unwrap().code), answer);
        assert_eq!(scene.failure.as_ref().unwrap().who(), Who::Client);
        for peer in [Primary, Replica] {
            scene.gets(peer, 0, b"\x01");
            assert!(scene.closed[peer as usize]);
        }
    }
}
