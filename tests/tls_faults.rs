//! Clients that do not speak TLS, speak it badly, or leave in the middle of it: each is told what
//! can be told, counted, and forgotten.

mod support;

use std::net::SocketAddr;
use std::time::Duration;

use serde_json::Value;
use support::{
    Authority, Balancer, Config, End, SITE, Server, Service, TlsEnd, TlsPeer, lines, server_config,
    tls12, tls13, within,
};

/// TLS in front of this server. One worker, so that every client meets the same limits.
fn terminating(server: SocketAddr, authority: &Authority) -> Config {
    Config::to([server])
        .process("workers = 1")
        .terminate(&authority.issue(&[SITE]))
}

/// A balancer with TLS in front of this server, these settings of its listener, and who has signed
/// its certificate.
fn start(server: SocketAddr, settings: &[&str]) -> (Authority, Balancer) {
    let authority = Authority::new();
    let config = terminating(server, &authority);
    let config = settings
        .iter()
        .fold(config, |config, setting| config.listener_tls(setting));
    let balancer = Balancer::start(&config);
    (authority, balancer)
}

#[test]
fn http_on_a_tls_port_is_told_so() {
    let authority = Authority::new();
    let server = Service::echo();
    let config = terminating(server.address(), &authority);
    let passthrough = Config::to([server.address()]).listener_tls("mode = \"passthrough\"");
    for config in [config, passthrough] {
        let balancer = Balancer::start(&config);
        let requests = [
            &b"GET / HTTP/1.1\r\nHost: site.example\r\n\r\n"[..],
            b"POST /form HTTP/1.0\r\n",
        ];
        for request in requests {
            let client = balancer.connect();
            client.send(request);
            let (answer, end) = client.receive_rest();
            let answer = String::from_utf8(answer).unwrap();
            let (head, body) = answer.split_once("\r\n\r\n").unwrap();
            assert!(head.starts_with("HTTP/1.1 400 Bad Request\r\n"), "{head}");
            assert!(
                head.contains(&format!("Content-Length: {}\r\n", body.len())),
                "{head}"
            );
            assert_eq!(body, "This port speaks HTTPS. Try https:// first.\n");
            assert_eq!(end, End::Fin);
        }
        balancer.wait_handshakes_failed("not_tls", 2);
        balancer.wait_closed("client", "not_tls", 2);
        assert_eq!(server.accepted(), 0);
    }
}

#[test]
fn what_is_not_tls_is_closed_and_counted() {
    let server = Service::echo();
    let (_authority, balancer) = start(server.address(), &[]);
    // SSL 2: the length with its first bit set, CLIENT-HELLO, version 3.1, and what follows.
    let ssl2: &[u8] = &[0x80, 46, 1, 3, 1, 0, 21, 0, 0, 0, 16, 1, 0, 128, 3, 0, 128];
    let not_tls: [&[u8]; 7] = [
        ssl2,
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"PROXY TCP4 127.0.0.1 127.0.0.1 1 2\r\n",
        b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0C\x7F\0\0\x01\x7F\0\0\x01\0\x01\0\x02",
        &[0; 100],
        &[0xFF; 100],
        b"hello?\r\n",
    ];
    for (index, bytes) in not_tls.into_iter().enumerate() {
        let client = balancer.connect();
        client.send(bytes);
        let (answer, _) = client.receive_rest();
        assert!(answer.len() <= 7, "an alert, or nothing: {answer:x?}");
        balancer.wait_handshakes_failed("not_tls", index + 1);
    }
    assert_eq!(server.accepted(), 0);
}

#[test]
fn the_access_log_says_what_was_spoken_instead_of_tls_and_who_left() {
    let authority = Authority::new();
    let log = authority.directory().join("access.log");
    let server = Service::echo();
    let config = terminating(server.address(), &authority)
        .listener_tls("handshake_timeout = \"300ms\"")
        .access_log(log.display());
    let balancer = Balancer::start(&config);
    let last_error = |sessions: usize| {
        let line: Value = serde_json::from_str(lines(&log, sessions).last().unwrap()).unwrap();
        line["tls_error"].as_str().unwrap_or("-").to_owned()
    };
    for (index, (bytes, error)) in [
        (
            &b"GET / HTTP/1.1\r\n\r\n"[..],
            "the client does not speak TLS but plain HTTP",
        ),
        (
            b"SSH-2.0-OpenSSH_9.2\r\n",
            "the client does not speak TLS but SSH",
        ),
        (b"hello?\r\n", "the client does not speak TLS"),
        (
            &[22, 3, 1, 0, 4, 2, 0, 0, 0],
            "the client broke the protocol: the first message is no ClientHello",
        ),
        (
            &[22, 3, 1],
            "the client had not finished its handshake within handshake_timeout",
        ),
    ]
    .into_iter()
    .enumerate()
    {
        let client = balancer.connect();
        client.send(bytes);
        client.receive_rest();
        drop(client);
        assert_eq!(last_error(index + 1), error);
    }
    drop(balancer.connect());
    assert_eq!(last_error(6), "the client broke off in its handshake");
    let client = TlsPeer::connect(balancer.address(), &tls13(&authority));
    client
        .peer()
        .send([&[23, 3, 3, 0, 40][..], &[7; 40]].concat());
    client.into_peer().receive_rest();
    assert_eq!(last_error(7), "what the client sent cannot be decrypted");
}

#[test]
fn tls_that_breaks_the_protocol_gets_an_alert_and_is_counted() {
    let server = Service::echo();
    let (_authority, balancer) = start(server.address(), &[]);
    let record = |kind: u8, length: u16, rest: usize| {
        let header = [&[kind, 3, 1][..], &length.to_be_bytes()].concat();
        [header, vec![0; rest]].concat()
    };
    const UNEXPECTED_MESSAGE: u8 = 10;
    const RECORD_OVERFLOW: u8 = 22;
    const DECODE_ERROR: u8 = 50;
    // Records that are empty, one byte or much too long, of the wrong type, and a hello that says
    // it is longer than anyone needs.
    let broken = [
        (record(22, 0, 0), DECODE_ERROR),
        (record(22, 16_385, 100), RECORD_OVERFLOW),
        (record(22, 65_535, 100), RECORD_OVERFLOW),
        (record(23, 5, 5), UNEXPECTED_MESSAGE),
        (record(21, 2, 2), UNEXPECTED_MESSAGE),
        (vec![22, 3, 1, 0, 4, 1, 0xFF, 0xFF, 0xFF], DECODE_ERROR),
    ];
    for (index, (bytes, alert)) in broken.iter().enumerate() {
        let client = balancer.connect();
        client.send(bytes);
        let (answer, _) = client.receive_rest();
        assert_eq!(answer, [21, 3, 1, 0, 2, 2, *alert], "{bytes:x?}");
        balancer.wait_handshakes_failed("misbehaved", index + 1);
    }
    balancer.wait_closed("client", "tls_handshake", broken.len() as u32);
    assert_eq!(server.accepted(), 0);
}

#[test]
fn a_client_that_is_silent_or_slow_is_left_at_handshake_timeout() {
    let authority = Authority::new();
    let server = Service::echo();
    let config = terminating(server.address(), &authority);
    let passthrough = Config::to([server.address()]).listener_tls("mode = \"passthrough\"");
    for config in [config, passthrough] {
        let balancer = Balancer::start(&config.listener_tls("handshake_timeout = \"300ms\""));
        let silent = balancer.connect();
        let slow = balancer.connect();
        let hello = TlsPeer::client(balancer.connect(), &tls13(&authority), SITE).take_flight();
        // Progress, all the time, and far from its end when the time is up.
        let mut bytes = hello.iter();
        let is_closed = || {
            within(Duration::from_millis(20), || {
                balancer.metrics().closed("client", "tls_handshake_timeout") >= 2.0
            })
        };
        while !is_closed() {
            let byte = bytes
                .next()
                .expect("it is left before the end of its hello");
            // It may just have been.
            let _ = slow.socket().send(&[*byte]);
        }
        assert!(silent.receive_rest().0.is_empty());
        assert!(slow.receive_rest().0.is_empty());
        balancer.wait_handshakes_failed("timeout", 2);
    }
    assert_eq!(server.accepted(), 0);
}

#[test]
fn a_client_that_stops_in_the_middle_of_its_handshake_is_left_at_handshake_timeout() {
    let server = Service::echo();
    let (authority, balancer) = start(server.address(), &["handshake_timeout = \"300ms\""]);
    for version in [tls12(&authority), tls13(&authority)] {
        let mut client = TlsPeer::client(balancer.connect(), &version, SITE);
        let hello = client.take_flight();
        client.peer().send(&hello);
        client.listen_once();
        client.peer().receive_rest();
    }
    balancer.wait_closed("client", "tls_handshake_timeout", 2);
    balancer.wait_handshakes_failed("timeout", 2);
    assert_eq!(server.accepted(), 0);
}

#[test]
fn clients_above_handshakes_max_wait_and_are_served_then() {
    let server = Service::echo();
    let (authority, balancer) = start(server.address(), &["handshakes_max = 2"]);
    let first = [(); 2].map(|()| balancer.connect());
    balancer.wait_active(2);
    let mut waiting: Vec<_> = (0..5)
        .map(|_| TlsPeer::client(balancer.connect(), &tls13(&authority), SITE))
        .collect();
    for client in &mut waiting {
        let hello = client.take_flight();
        client.peer().send(&hello);
    }
    balancer.wait_for_log("tls.handshakes_max is reached");
    assert_eq!(balancer.metrics().opened(), 2.0, "nobody else is let in");
    // One place is enough for all of them, one after the other.
    let [leaves, stays] = first;
    drop(leaves);
    for client in &mut waiting {
        client.shake_hands();
        client.is_served();
    }
    balancer.wait_handshakes_failed("cut_off", 1);
    drop(stays);
    balancer.wait_handshakes_failed("cut_off", 2);
}

#[test]
fn handshakes_max_holds_up_many_clients_and_fails_none() {
    let server = Service::echo();
    let (authority, balancer) = start(server.address(), &["handshakes_max = 1"]);
    std::thread::scope(|scope| {
        for _ in 0..40 {
            scope.spawn(|| {
                TlsPeer::connect(balancer.address(), &tls13(&authority)).is_served();
            });
        }
    });
    let metrics = balancer.metrics();
    assert_eq!(metrics.sum("ringway_tls_handshakes_total", &[]), 40.0);
    assert_eq!(
        metrics.sum("ringway_tls_handshake_failures_total", &[]),
        0.0
    );
}

#[test]
fn an_end_without_a_word_is_counted_as_truncated() {
    let server = Server::listen();
    let (authority, balancer) = start(server.address(), &[]);
    for (index, version) in [tls12(&authority), tls13(&authority)].iter().enumerate() {
        let mut client = TlsPeer::connect(balancer.address(), version);
        let accepted = server.accept();
        client.send("half a quest");
        client.peer().finish();
        assert_eq!(
            accepted.receive_rest(),
            (b"half a quest".to_vec(), End::Fin)
        );
        accepted.send("answer");
        accepted.finish();
        assert_eq!(
            client.receive_rest(),
            (b"answer".to_vec(), TlsEnd::CloseNotify)
        );
        let truncated = balancer
            .metrics()
            .by("ringway_tls_truncated_total", "direction");
        assert_eq!(
            (truncated["in"], truncated["out"]),
            (index as f64 + 1.0, 0.0)
        );
    }
    balancer.wait_closed("client", "finished", 2);
}

#[test]
fn resets_are_counted_as_truncated_and_logged_like_any_end_without_a_word() {
    const SESSIONS: usize = 20;
    let authority = Authority::new();
    let identity = authority.issue(&[SITE]);
    let log = authority.directory().join("access.log");
    let server = Server::listen();
    let config = Config::to([server.address()])
        .verify(&authority, SITE)
        .terminate(&identity)
        .access_log(log.display());
    let balancer = Balancer::start(&config);
    let tls = server_config(&identity);
    for by_client in [true, false] {
        for _ in 0..SESSIONS {
            // The server's handshake is a thread's: it takes both.
            let connecting = TlsPeer::client(balancer.connect(), &tls13(&authority), SITE);
            let (mut client, mut accepted) = std::thread::scope(|scope| {
                let mut connecting = connecting;
                let client = scope.spawn(move || {
                    connecting.shake_hands();
                    connecting
                });
                let mut accepted = TlsPeer::server(server.accept(), &tls);
                accepted.shake_hands();
                (client.join().unwrap(), accepted)
            });
            client.send("question");
            accepted.expect("question");
            let (leaves, stays) = match by_client {
                true => (client, accepted),
                false => (accepted, client),
            };
            leaves.into_peer().reset();
            assert_eq!(stays.into_peer().receive_rest().1, End::Reset);
        }
    }
    let sessions = SESSIONS as f64;
    balancer.wait_closed("client", "reset", SESSIONS as u32);
    balancer.wait_closed("server", "reset", SESSIONS as u32);
    let metrics = balancer.metrics();
    let truncated = metrics.by("ringway_tls_truncated_total", "direction");
    assert_eq!((truncated["in"], truncated["out"]), (sessions, sessions));
    for (index, line) in lines(&log, 2 * SESSIONS).iter().enumerate() {
        let line: Value = serde_json::from_str(line).unwrap();
        let direction = if index < SESSIONS { "in" } else { "out" };
        assert_eq!(line["tls_truncated"], direction, "{line}");
    }
}

#[test]
fn bytes_that_cannot_be_decrypted_end_a_session_on_both_sides() {
    let server = Server::listen();
    let (authority, balancer) = start(server.address(), &[]);
    for version in [tls12(&authority), tls13(&authority)] {
        let mut client = TlsPeer::connect(balancer.address(), &version);
        let accepted = server.accept();
        client.send("hello");
        accepted.expect("hello");
        client
            .peer()
            .send([&[23, 3, 3, 0, 40][..], &[7; 40]].concat());
        accepted.expect_end(End::Reset);
        client.into_peer().receive_rest();
    }
    balancer.wait_closed("client", "tls_broken", 2);
}

#[test]
fn bytes_behind_a_close_notify_are_nobodys() {
    let server = Server::listen();
    let (authority, balancer) = start(server.address(), &[]);
    for version in [tls12(&authority), tls13(&authority)] {
        let mut client = TlsPeer::connect(balancer.address(), &version);
        let accepted = server.accept();
        client.send("question");
        client.say_goodbye();
        client.peer().send("what is this?");
        assert_eq!(accepted.receive_rest(), (b"question".to_vec(), End::Fin));
        accepted.send("answer");
        accepted.finish();
        client.expect("answer");
        client.expect_end(TlsEnd::CloseNotify);
    }
    balancer.wait_closed("client", "finished", 2);
}

#[test]
fn a_close_notify_in_the_middle_of_a_handshake_breaks_it_off_at_once() {
    let server = Service::echo();
    let (authority, balancer) = start(server.address(), &["handshake_timeout = \"10m\""]);
    let close_notify: &[u8] = &[21, 3, 3, 0, 2, 1, 0];
    for version in [tls12(&authority), tls13(&authority)] {
        for has_heard_the_answer in [false, true] {
            let mut client = TlsPeer::client(balancer.connect(), &version, SITE);
            let hello = client.take_flight();
            if has_heard_the_answer {
                client.peer().send(&hello);
                client.answer();
                client.peer().send(close_notify);
            } else {
                client.peer().send([&hello, close_notify].concat());
            }
            client.peer().receive_rest();
        }
    }
    balancer.wait_handshakes_failed("cut_off", 4);
    balancer.wait_closed("client", "tls_handshake", 4);
    assert_eq!(server.accepted(), 0);
}
