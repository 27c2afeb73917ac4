//! What goes wrong at each step of a login, and who is told.

use Peer::{Client, Primary, Replica};

use super::samples::SSL_REQUEST;
use super::script::{
    DENIED, FAST_OK, FULL_AUTH, NATIVE, OK_PACKET, OTHER, PRIMARY, REPLICA, SHA2, Scene, greeting,
    response, switch, token, with_password,
};
use crate::mysql::login::{Action, Failure, Login, Peer, PrimaryOnly, Rules, Rung};
use crate::mysql::packet::{ErrPacket, Header};
use crate::telemetry::Who;

/// A scene in which the replica has been asked, and how it stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum At {
    Connecting,
    Greeted,
    ClientSigns,
    Verifying,
}

const STEPS: [At; 4] = [At::Connecting, At::Greeted, At::ClientSigns, At::Verifying];

fn at(step: At) -> Scene {
    let mut scene = Scene::new(Rules::default());
    scene.greet(NATIVE);
    scene.respond(NATIVE);
    if step != At::Connecting {
        scene.says(Replica, 0, &greeting(NATIVE, REPLICA, 70));
    }
    if matches!(step, At::ClientSigns | At::Verifying) {
        scene.says(Primary, 2, OK_PACKET);
        scene.gets(Client, 2, &switch(NATIVE, &REPLICA));
    }
    if step == At::Verifying {
        scene.says(Client, 3, &token(NATIVE, &REPLICA));
        scene.next(Replica);
    }
    scene
}

/// Lets the login of the client end, wherever it is.
fn finish(scene: &mut Scene, step: At) {
    let sequence = match step {
        At::Connecting | At::Greeted => {
            scene.says(Primary, 2, OK_PACKET);
            2
        }
        At::ClientSigns => {
            scene.says(Client, 3, &token(NATIVE, &REPLICA));
            4
        }
        At::Verifying => 4,
    };
    scene.gets(Client, sequence, OK_PACKET);
    assert_eq!(scene.done().rung, Rung::PrimaryOnly);
}

#[test]
fn a_replica_that_is_lost_is_never_a_failed_login() {
    for step in STEPS {
        let mut scene = at(step);
        scene.loses(Replica);
        finish(&mut scene, step);
        assert_eq!(scene.done().primary_only, Some(PrimaryOnly::ReplicaLost));
        assert!(scene.login.is_finished());
    }
}

#[test]
fn a_replica_that_is_slow_is_left_politely_when_it_answers() {
    for step in STEPS {
        let mut scene = at(step);
        scene.replica_takes_too_long();
        match step {
            At::Connecting => {
                finish(&mut scene, step);
                assert!(!scene.login.is_finished());
                scene.says(Replica, 0, &greeting(NATIVE, REPLICA, 70));
                scene.leaves_as_nobody(Replica);
            }
            At::Greeted | At::ClientSigns => {
                scene.leaves_as_nobody(Replica);
                finish(&mut scene, step);
            }
            At::Verifying => {
                finish(&mut scene, step);
                scene.says(Replica, 2, OK_PACKET);
                scene.gets(Replica, 0, b"\x01");
            }
        }
        assert_eq!(scene.done().primary_only, Some(PrimaryOnly::ReplicaTimeout));
        assert!(scene.closed[Replica as usize] && scene.login.is_finished());
    }
}

#[test]
fn whatever_a_replica_answers_the_client_is_logged_in() {
    let other_plugin = switch(SHA2, &REPLICA);
    let other_scramble = switch(NATIVE, &OTHER);
    let answers: [(&[u8], PrimaryOnly); 6] = [
        (DENIED, PrimaryOnly::ReplicaDenied),
        (FULL_AUTH, PrimaryOnly::ReplicaFullAuthentication),
        (&other_plugin, PrimaryOnly::ReplicaPlugin),
        (&other_scramble, PrimaryOnly::ReplicaPlugin),
        (b"\xfe", PrimaryOnly::ReplicaPlugin),
        (b"\x55nonsense", PrimaryOnly::ReplicaPlugin),
    ];
    for (answer, reason) in answers {
        let mut scene = at(At::Verifying);
        scene.says(Replica, 2, answer);
        scene.gets(Client, 4, OK_PACKET);
        assert_eq!(scene.done().primary_only, Some(reason), "{answer:x?}");
        if answer != DENIED {
            scene.gets(Replica, 3, b"");
            scene.says(Replica, 4, DENIED);
        }
        assert!(scene.closed[Replica as usize] && scene.login.is_finished());
    }
    for (greets, reason) in [
        (
            &b"\xff\x10\x04Too many connections"[..],
            PrimaryOnly::ReplicaRefused,
        ),
        (b"\x09old", PrimaryOnly::ReplicaProtocol),
        (&[b'x'; 2000], PrimaryOnly::ReplicaProtocol),
    ] {
        let mut scene = at(At::Connecting);
        scene.says(Replica, 0, greets);
        assert!(scene.closed[Replica as usize]);
        finish(&mut scene, At::Connecting);
        assert_eq!(scene.done().primary_only, Some(reason));
    }
}

#[test]
fn the_primarys_refusal_is_the_clients_answer() {
    for step in [At::Connecting, At::Greeted] {
        let mut scene = at(step);
        scene.says(Primary, 2, DENIED);
        scene.gets(Client, 2, DENIED);
        assert_eq!(scene.failure.as_ref().unwrap().who(), Who::Client);
        if step == At::Connecting {
            scene.says(Replica, 0, &greeting(NATIVE, REPLICA, 70));
        }
        scene.leaves_as_nobody(Replica);
        assert!(scene.login.is_finished());
    }
}

#[test]
fn a_primary_that_is_full_says_so_itself() {
    let mut scene = Scene::new(Rules::default());
    let full = b"\xff\x10\x04Too many connections";
    scene.says(Primary, 0, full);
    scene.gets(Client, 0, full);
    let failure = scene.failure.unwrap();
    assert_eq!(
        failure,
        Failure::ServerRefused {
            code: 1040,
            configured: false
        }
    );
    assert_eq!(failure.who(), Who::Server);
    assert_eq!(scene.opened, 0);
    assert_eq!(scene.turned_away, [Primary]);
}

#[test]
fn a_server_that_takes_nobody_is_told_from_one_that_refuses_an_account() {
    let full = b"\xff\x10\x04#08004Too many connections";
    let blocked = b"\xff\x69\x04Host 'x' is blocked because of many connection errors";
    for says in [&full[..], blocked] {
        let mut scene = at(At::Connecting);
        scene.says(Replica, 0, says);
        assert_eq!(scene.turned_away, [Replica]);
        finish(&mut scene, At::Connecting);
    }
    // The connection above the limit comes to its login, and no further.
    let mut scene = at(At::Verifying);
    scene.says(Replica, 2, full);
    assert_eq!(scene.turned_away, [Replica]);
    finish(&mut scene, At::Verifying);
    let reason = scene.done().primary_only;
    assert_eq!(reason, Some(PrimaryOnly::ReplicaRefused));
    let mut scene = at(At::Connecting);
    scene.says(Primary, 2, full);
    scene.gets(Client, 2, full);
    assert_eq!(scene.turned_away, [Primary]);

    for step in [At::Connecting, At::Verifying] {
        let mut scene = at(step);
        let server = if step == At::Verifying {
            Replica
        } else {
            Primary
        };
        scene.says(server, 2, DENIED);
        assert_eq!(scene.turned_away, []);
    }
}

#[test]
fn a_primary_that_is_lost_in_the_middle_ends_the_login_in_words() {
    for step in STEPS {
        let mut scene = at(step);
        scene.loses(Primary);
        let (sequence, error) = scene.next(Client);
        let expected = match step {
            At::Connecting | At::Greeted => 2,
            At::ClientSigns | At::Verifying => 4,
        };
        assert_eq!(
            (sequence, ErrPacket::parse(&error).unwrap().code),
            (expected, 1105)
        );
        assert_eq!(scene.failure, Some(Failure::ServerLost));
        match step {
            At::Connecting => scene.loses(Replica),
            At::Greeted | At::ClientSigns => scene.leaves_as_nobody(Replica),
            At::Verifying => {
                scene.says(Replica, 2, DENIED);
            }
        }
        assert!(scene.login.is_finished());
    }
}

#[test]
fn a_login_that_takes_too_long_blames_whom_it_waits_for() {
    let timed_out = |scene: &mut Scene| {
        let mut actions = Vec::new();
        let blamed = scene.login.timed_out(&mut actions);
        scene.act(actions);
        blamed
    };
    // The primary has not greeted, or the client has not answered.
    let mut scene = Scene::new(Rules::default());
    assert_eq!(timed_out(&mut scene), Some(Who::Server));
    let (_, error) = scene.next(Client);
    assert_eq!(ErrPacket::parse(&error).unwrap().code, 1105);
    let mut scene = Scene::new(Rules::default());
    scene.greet(NATIVE);
    assert_eq!(timed_out(&mut scene), Some(Who::Client));
    scene.leaves_as_nobody(Primary);
    // Once the primary has accepted, the client is logged in however late the replica is.
    for step in STEPS {
        let mut scene = at(step);
        let blamed = timed_out(&mut scene);
        match step {
            At::Connecting | At::Greeted => {
                assert_eq!(blamed, Some(Who::Server));
                let (sequence, error) = scene.next(Client);
                assert_eq!(
                    (sequence, ErrPacket::parse(&error).unwrap().code),
                    (2, 1105)
                );
            }
            At::ClientSigns => assert_eq!(blamed, Some(Who::Client)),
            At::Verifying => {
                assert_eq!(blamed, None);
                scene.gets(Client, 4, OK_PACKET);
                assert_eq!(scene.done().primary_only, Some(PrimaryOnly::ReplicaTimeout));
            }
        }
    }
}

#[test]
fn without_any_server_the_client_is_told() {
    let mut scene = Scene::without_replica(Rules::default());
    scene.loses(Primary);
    let (sequence, error) = scene.next(Client);
    assert_eq!(
        (sequence, ErrPacket::parse(&error).unwrap().code),
        (0, 1105)
    );
    assert_eq!(scene.failure, Some(Failure::NoServer));

    let mut scene = Scene::new(Rules::default());
    scene.loses(Primary);
    scene.loses(Replica);
    assert_eq!(scene.failure, Some(Failure::NoServer));
    assert!(scene.login.is_finished());
}

#[test]
fn b_20_a_client_that_leaves_leaves_no_handshake_unfinished() {
    // Before the primary has greeted.
    let mut scene = Scene::new(Rules::default());
    scene.loses(Client);
    assert_eq!(scene.failure, Some(Failure::ClientLeft));
    scene.says(Primary, 0, &greeting(NATIVE, PRIMARY, 7));
    scene.leaves_as_nobody(Primary);
    assert!(scene.login.is_finished());

    // Before its response: a port scan.
    let mut scene = Scene::new(Rules::default());
    scene.greet(SHA2);
    scene.loses(Client);
    scene.leaves_as_nobody(Primary);
    assert!(scene.login.is_finished());

    // While the servers verify.
    for step in STEPS {
        let mut scene = at(step);
        scene.loses(Client);
        match step {
            At::Connecting | At::Greeted => {
                scene.says(Primary, 2, OK_PACKET);
                scene.gets(Primary, 0, b"\x01");
            }
            At::ClientSigns | At::Verifying => scene.gets(Primary, 0, b"\x01"),
        }
        match step {
            At::Connecting => {
                scene.says(Replica, 0, &greeting(NATIVE, REPLICA, 70));
                scene.leaves_as_nobody(Replica);
            }
            At::Greeted | At::ClientSigns => scene.leaves_as_nobody(Replica),
            At::Verifying => {
                scene.says(Replica, 2, OK_PACKET);
                scene.gets(Replica, 0, b"\x01");
            }
        }
        assert!(scene.login.is_finished(), "{step:?}");
    }

    // While a server waits for the client.
    let mut scene = Scene::new(Rules::default());
    scene.greet(SHA2);
    scene.respond(SHA2);
    scene.says(Primary, 2, FULL_AUTH);
    scene.gets(Client, 2, FULL_AUTH);
    scene.loses(Client);
    scene.gets(Primary, 3, b"");
    scene.says(Primary, 4, DENIED);
    assert!(scene.closed[Primary as usize]);
}

#[test]
fn a_nobody_that_is_asked_to_sign_again_is_still_refused() {
    let mut scene = Scene::new(Rules::default());
    scene.greet(SHA2);
    scene.loses(Client);
    scene.next(Primary);
    scene.says(Primary, 2, &switch(NATIVE, &OTHER));
    scene.gets(Primary, 3, b"");
    scene.says(Primary, 4, DENIED);
    assert!(scene.login.is_finished());
}

#[test]
fn b_2_a_long_packet_before_the_login_is_refused_by_its_header() {
    for len in [0x1_0001, 0xFF_FFFE, 0xFF_FFFF] {
        let mut scene = Scene::new(Rules::default());
        scene.greet(NATIVE);
        scene.sends(Client, &Header { len, sequence: 1 }.to_bytes());
        let (sequence, error) = scene.next(Client);
        assert_eq!(
            (sequence, ErrPacket::parse(&error).unwrap().code),
            (2, 1153)
        );
        assert_eq!(scene.failure, Some(Failure::PacketTooLong));
        scene.leaves_as_nobody(Primary);
    }
    let mut scene = Scene::new(Rules::default());
    scene.greet(NATIVE);
    scene.sends(
        Client,
        &Header {
            len: 0x1_0000,
            sequence: 1,
        }
        .to_bytes(),
    );
    assert_eq!(scene.failure, None, "64 KiB are allowed");
}

#[test]
fn b_6_what_is_no_response_ends_the_login() {
    let old = &b"\x85\x24\0\0\0app\0"[..];
    for (packet, code) in [
        (&b""[..], 1043),
        (&[0; 5], 1251),
        (old, 1251),
        (SSL_REQUEST, 1043),
    ] {
        let mut scene = Scene::new(Rules::default());
        scene.greet(NATIVE);
        scene.says(Client, 1, packet);
        let (sequence, error) = scene.next(Client);
        assert_eq!(
            (sequence, ErrPacket::parse(&error).unwrap().code),
            (2, code)
        );
        assert_eq!(scene.failure.as_ref().unwrap().who(), Who::Client);
        scene.leaves_as_nobody(Primary);
        assert!(scene.login.is_finished());
    }
}

#[test]
fn b_6_a_second_response_is_no_signature_and_changes_nobodys_name() {
    let mut scene = at(At::ClientSigns);
    let second = response(b"test", NATIVE, &token(NATIVE, &PRIMARY));
    scene.says(Client, 3, &second);
    scene.leaves_as_nobody(Replica);
    scene.gets(Client, 4, OK_PACKET);
    assert_eq!(scene.done().response.user, b"app");
    assert_eq!(scene.done().primary_only, Some(PrimaryOnly::ReplicaDenied));
}

#[test]
fn what_a_server_would_count_as_an_unfinished_handshake_does_not_reach_it() {
    // Where the fields are in the response of these tests.
    const CHARSET: usize = 8;
    const TOKEN_LEN: usize = 36;
    let whole = response(b"test", NATIVE, &token(NATIVE, &PRIMARY));
    let schema = whole.windows(4).position(|bytes| bytes == b"shop").unwrap();
    let with = |at: usize, len: usize, bytes: &[u8]| {
        let mut response = whole.clone();
        response.splice(at..at + len, bytes.iter().copied());
        response
    };
    for (what, packet) in [
        ("utf16", with(CHARSET, 1, &[54])),
        (
            "a signature of 19 bytes",
            with(TOKEN_LEN, 21, &[&[19][..], &[7; 19]].concat()),
        ),
        ("a schema that is not UTF-8", with(schema, 4, b"\xffhop")),
        (
            "a schema beyond what names may have",
            with(schema, 4, "😀".as_bytes()),
        ),
    ] {
        let mut scene = Scene::new(Rules::default());
        scene.greet(NATIVE);
        scene.says(Client, 1, &packet);
        let (_, error) = scene.next(Client);
        assert_eq!(ErrPacket::parse(&error).unwrap().code, 1043, "{what}");
        scene.leaves_as_nobody(Primary);
    }
    // The same bytes, where they are a name.
    for (charset, name) in [
        (8, &b"\xffhop"[..]),
        (45, "Läd".as_bytes()),
        (33, "日本".as_bytes()),
    ] {
        let mut packet = with(schema, 4, name);
        packet[CHARSET] = charset;
        let mut scene = Scene::new(Rules::default());
        scene.greet(NATIVE);
        scene.says(Client, 1, &packet);
        scene.gets(Primary, 1, &packet);
    }
    // An answer to the primary's switch.
    let mut scene = Scene::new(Rules::default());
    scene.greet(SHA2);
    scene.respond(SHA2);
    scene.says(Primary, 2, &switch(NATIVE, &OTHER));
    scene.next(Client);
    scene.says(Client, 3, &[7; 32]);
    assert!(matches!(scene.failure, Some(Failure::ClientProtocol(_))));
    scene.gets(Primary, 3, b"");
    scene.says(Primary, 4, DENIED);
    assert!(scene.closed[Primary as usize]);
}

#[test]
fn b_7_commands_that_follow_the_response_at_once_reach_no_server() {
    let mut scene = Scene::new(Rules::default());
    scene.greet(NATIVE);
    let packet = response(b"test", NATIVE, b"");
    let mut bytes = Header {
        len: packet.len() as u32,
        sequence: 1,
    }
    .to_bytes()
    .to_vec();
    bytes.extend(&packet);
    bytes.extend(b"\x09\0\0\0\x03DELETE 1");
    let left = scene.sends(Client, &bytes);
    assert_eq!(left, b"\x09\0\0\0\x03DELETE 1");
    scene.gets(Primary, 1, &packet);
    scene.is_quiet();
    scene.says(Replica, 0, &greeting(NATIVE, REPLICA, 70));
    scene.says(Primary, 2, OK_PACKET);
    scene.next(Replica);
    scene.says(Replica, 2, OK_PACKET);
    scene.gets(Client, 2, OK_PACKET);
    assert_eq!(
        scene.sends(Client, &left),
        left,
        "commands are the caller's"
    );
    scene.is_quiet();
}

#[test]
fn b_12_packets_out_of_order_are_refused_with_the_next_number() {
    for sequence in [0, 2, 255] {
        let mut scene = Scene::new(Rules::default());
        scene.greet(NATIVE);
        scene.says(Client, sequence, &response(b"test", NATIVE, b""));
        let (number, error) = scene.next(Client);
        assert_eq!(number, sequence.wrapping_add(1));
        assert_eq!(ErrPacket::parse(&error).unwrap().code, 1156);
        scene.leaves_as_nobody(Primary);
    }
}

#[test]
fn b_13_a_server_that_is_none_is_not_shown_to_the_client() {
    for packet in [&b""[..], b"\x0a", b"HTTP/1.1 400", &[b'x'; 1500]] {
        let mut scene = Scene::new(Rules::default());
        scene.says(Primary, 0, packet);
        let (sequence, error) = scene.next(Client);
        assert_eq!(
            (sequence, ErrPacket::parse(&error).unwrap().code),
            (0, 1105)
        );
        assert_eq!(scene.failure.as_ref().unwrap().who(), Who::Server);
        assert!(scene.closed[Primary as usize] && scene.login.is_finished());
    }
}

#[test]
fn b_1_a_server_that_speaks_before_its_turn_is_not_trusted() {
    let mut scene = Scene::new(Rules::default());
    scene.greet(NATIVE);
    scene.says(Primary, 1, OK_PACKET);
    assert!(matches!(scene.failure, Some(Failure::ServerProtocol(_))));
}

#[test]
fn conversations_have_an_end() {
    let mut scene = Scene::new(Rules::default());
    scene.greet(NATIVE);
    scene.respond(NATIVE);
    let mut rounds = 0;
    let mut sequence = 2;
    while scene.failure.is_none() {
        scene.says(Primary, sequence, b"\x01more");
        if scene.failure.is_none() {
            let (number, _) = scene.next(Client);
            scene.says(Client, number + 1, b"and more");
            sequence += 2;
            rounds += 1;
        }
        assert!(rounds < 100);
    }
    assert!(matches!(
        scene.failure,
        Some(Failure::ServerProtocol(_) | Failure::ClientProtocol(_))
    ));
}

#[test]
fn what_is_known_of_an_account_may_not_suffice() {
    let mut scene = Scene::new(with_password("secret"));
    scene.greet(SHA2);
    scene.respond(SHA2);
    scene.says(Primary, 2, FULL_AUTH);
    scene.gets(Primary, 3, b"\x02");
    scene.says(Primary, 4, b"\x01no key");
    assert_eq!(scene.failure, Some(Failure::CredentialUnusable));
    assert_eq!(scene.failure.as_ref().unwrap().who(), Who::Operator);
    scene.gets(Primary, 5, b"");
}

#[test]
fn every_truncation_of_every_packet_of_a_login_is_survived() {
    let packets: [(Peer, u8, Vec<u8>); 6] = [
        (Primary, 0, greeting(SHA2, PRIMARY, 7)),
        (Client, 1, response(b"test", SHA2, &token(SHA2, &PRIMARY))),
        (Primary, 2, FAST_OK.to_vec()),
        (Replica, 0, greeting(SHA2, REPLICA, 70)),
        (Primary, 3, OK_PACKET.to_vec()),
        (Client, 3, token(SHA2, &REPLICA)),
    ];
    for (cut_packet, (.., whole)) in packets.iter().enumerate() {
        for len in 0..whole.len() {
            let mut scene = Scene::new(Rules::default());
            for (i, (peer, sequence, payload)) in packets.iter().enumerate() {
                let len = if i == cut_packet { len } else { payload.len() };
                if !scene.closed[*peer as usize] {
                    scene.says(*peer, *sequence, &payload[..len]);
                }
            }
            for peer in [Client, Primary, Replica] {
                scene.loses(peer);
            }
            assert!(scene.login.is_finished());
        }
    }
}

#[test]
fn a_login_can_be_given_up_by_losing_everybody() {
    let mut actions = Vec::new();
    let mut login = Login::new(Rules::default().into(), "", true);
    login.lost(Client, &mut actions);
    login.lost(Primary, &mut actions);
    assert!(login.is_finished() && !login.expects_client());
}

#[test]
fn what_may_be_a_password_is_not_printed() {
    let mut scene = Scene::new(Rules::default());
    scene.greet(NATIVE);
    scene.respond(NATIVE);
    scene.says(Primary, 2, b"\xfemysql_clear_password\0");
    scene.next(Client);
    scene.says(Client, 3, b"hunter2\0");
    let shown = format!("{:?}", scene.login);
    let bytes = format!("{:?}", b"hunter2");
    assert!(!shown.contains("hunter2") && !shown.contains(bytes.trim_matches(['[', ']'])));
    let sent = format!("{:?}", Action::Send(Primary, b"hunter2".to_vec()));
    assert_eq!(sent, "Send(Primary, 7 bytes)");
}
