//! TLS with servers: whoever does not prove who they are is left out, and nobody gets plain text.

mod support;

use std::net::{Shutdown, SocketAddr};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, SystemTime};

use rustls::ServerConfig;
use rustls::version::TLS12;
use support::{
    Authority, Balancer, Config, End, Nginx, SITE, Server, Service, Site, Tape, TlsEnd, TlsPeer,
    curl, server_config, server_of, tls13,
};

/// Servers that speak TLS and send back what they get.
fn echo(config: &Arc<ServerConfig>) -> Service {
    let config = Arc::clone(config);
    Service::start(move |peer| {
        let mut peer = TlsPeer::server(peer, &config);
        if peer.try_shake_hands().is_ok() {
            peer.echo();
        }
    })
}

/// Asserts that a client of the balancer is served.
#[track_caller]
fn is_served(balancer: &Balancer) {
    let client = balancer.connect();
    client.send("hello");
    client.expect("hello");
    client.finish();
    client.expect_end(End::Fin);
}

#[test]
fn pages_of_nginx_come_over_tls_from_servers_that_prove_who_they_are() {
    let authority = Authority::new();
    let identity = authority.issue(&[SITE]);
    let rsa = authority.issue_rsa(&[SITE]);
    let nginx = Nginx::with(&[Site::Tls(&identity), Site::Tls(&rsa)]);
    let large = Tape::new(51).slice(0, 1 << 20);
    nginx.add_file("large", &large);
    let config = Config::to(nginx.addresses()).verify(&authority, SITE);
    let balancer = Balancer::start(&config);
    let url = format!("http://{}/large", balancer.address());
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..4 {
                    assert!(curl(&url) == large, "a body differs");
                }
            });
        }
    });
    let metrics = balancer.metrics();
    assert_eq!(metrics.sum("ringway_connect_failures_total", &[]), 0.0);
    let shares = metrics.by("ringway_server_sessions_opened_total", "server");
    assert_eq!((shares["s0"], shares["s1"]), (8.0, 8.0));
}

/// The handshakes with a server that were finished: full, and resumed.
fn handshakes(balancer: &Balancer, server: &str) -> [f64; 2] {
    let metrics = balancer.metrics();
    ["full", "resumed"].map(|kind| {
        let labels = [("server", server), ("kind", kind)];
        metrics.sum("ringway_server_tls_handshakes_total", &labels)
    })
}

#[test]
fn handshakes_with_a_server_are_counted_full_and_resumed_and_its_checks_are_not() {
    let authority = Authority::new();
    let server = echo(&server_config(&authority.issue(&[SITE])));
    let config = Config::to([server.address()])
        // Each worker remembers sessions of its own.
        .process("workers = 1")
        .health_check("interval = \"50ms\"")
        .health_check("type = \"tcp\"")
        .verify(&authority, SITE);
    let mut balancer = Balancer::start(&config);
    balancer.wait_for("checks have passed", |metrics| {
        metrics.sum("ringway_health_checks_total", &[("result", "passed")]) >= 2.0
    });
    assert_eq!(handshakes(&balancer, "s0"), [0.0, 0.0]);
    for _ in 0..3 {
        is_served(&balancer);
    }
    assert_eq!(handshakes(&balancer, "s0"), [1.0, 2.0]);
    balancer.reload(&config.health_check("interval = \"1h\""));
}

#[test]
fn servers_without_tls_have_no_handshakes_to_tell_of() {
    let server = Service::echo();
    let balancer = Balancer::start(&Config::to([server.address()]));
    is_served(&balancer);
    let metrics = balancer.metrics();
    assert!(!metrics.has("ringway_server_tls_handshakes_total", &[]));
}

/// Of two servers the first fails, which the log explains, and clients are served by the second.
#[track_caller]
fn next_server_serves(balancer: &Balancer, log: &str) {
    for _ in 0..4 {
        is_served(balancer);
    }
    let failures = balancer.metrics().sum(
        "ringway_connect_failures_total",
        &[("server", "s0"), ("reason", "tls")],
    );
    assert_eq!(failures, 4.0, "its turn has come each time");
    assert_eq!(handshakes(balancer, "s0"), [0.0, 0.0]);
    balancer.wait_for_log(log);
}

#[test]
fn a_server_that_somebody_else_vouches_for_is_passed_over() {
    let (authority, strangers) = (Authority::new(), Authority::new());
    let bad = echo(&server_config(&strangers.issue(&[SITE])));
    let good = echo(&server_config(&authority.issue(&[SITE])));
    let config = Config::to([bad.address(), good.address()])
        .pool("max_fails = 1000")
        .verify(&authority, SITE);
    let balancer = Balancer::start(&config);
    let why = "the TLS handshake failed: the server's certificate is not accepted: none of those";
    next_server_serves(&balancer, why);
    balancer.wait_for_log("server web/s0 (127.0.0.1:");
    balancer.wait_for_log("tls.ca_file of the pool names who may have signed it");
}

#[test]
fn a_server_whose_certificate_is_not_accepted_is_told_so() {
    let (authority, strangers) = (Authority::new(), Authority::new());
    let server = Server::listen();
    let server_side = server_config(&strangers.issue(&[SITE]));
    let config = Config::to([server.address()])
        .pool("retries = 0")
        .verify(&authority, SITE);
    let balancer = Balancer::start(&config);
    let client = balancer.connect();
    let mut accepted = TlsPeer::server(server.accept(), &server_side);
    let failure = accepted.try_shake_hands().unwrap_err().to_string();
    assert!(failure.contains("fatal alert: UnknownCA"), "{failure}");
    client.expect_end(End::Reset);
}

#[test]
fn a_server_of_another_name_is_passed_over() {
    let authority = Authority::new();
    let bad = echo(&server_config(&authority.issue(&["other.example"])));
    let good = echo(&server_config(&authority.issue(&[SITE])));
    let config = Config::to([bad.address(), good.address()])
        .pool("max_fails = 1000")
        .verify(&authority, SITE);
    let balancer = Balancer::start(&config);
    next_server_serves(&balancer, "not valid for name \"site.example\"");
}

#[test]
fn a_server_whose_certificate_was_revoked_is_passed_over() {
    let authority = Authority::new();
    let [revoked, valid] = [(); 2].map(|()| authority.issue(&[SITE]));
    let tomorrow = SystemTime::now() + Duration::from_secs(24 * 60 * 60);
    let list = authority.revoke(&[&revoked], tomorrow);
    let (bad, good) = (echo(&server_config(&revoked)), echo(&server_config(&valid)));
    let config = Config::to([bad.address(), good.address()])
        .pool("max_fails = 1000")
        .verify(&authority, SITE)
        .pool_tls(&format!("crl_files = [{list:?}]"));
    let balancer = Balancer::start(&config);
    next_server_serves(
        &balancer,
        "the server's certificate is not accepted: it was revoked",
    );
}

#[test]
fn a_server_without_tls_is_passed_over_and_learns_nothing() {
    let authority = Authority::new();
    let greeter = Service::greeter(b'2');
    let good = echo(&server_config(&authority.issue(&[SITE])));
    let config = Config::to([greeter.address(), good.address()])
        .pool("max_fails = 1000")
        .verify(&authority, SITE);
    let balancer = Balancer::start(&config);
    next_server_serves(&balancer, "the server does not speak TLS");
}

#[test]
fn no_plain_text_reaches_a_server_whatever_it_answers() {
    let authority = Authority::new();
    let server = Server::listen();
    let config = Config::to([server.address()])
        .pool("retries = 0")
        .pool("max_fails = 1000")
        .verify(&authority, SITE);
    let balancer = Balancer::start(&config);
    let answers: [&[u8]; 5] = [
        b"",
        b"220 ready\r\n",
        // Alerts: unrecognized_name as a warning, handshake_failure.
        &[21, 3, 3, 0, 2, 1, 112],
        &[21, 3, 3, 0, 2, 2, 40],
        &[22, 3, 3, 0, 4, 2, 0, 0, 0],
    ];
    for answer in answers {
        let client = balancer.connect();
        client.send("a secret");
        let accepted = server.accept();
        let mut header = [0; 5];
        assert_eq!(accepted.receive_some(&mut header), 5);
        assert_eq!(header[..3], [22, 3, 1], "a handshake");
        accepted.send(answer);
        // After an answer that is none it may have been reset already.
        let _ = accepted.socket().shutdown(Shutdown::Write);
        let (received, _) = accepted.receive_rest();
        let secret = received.windows(8).any(|window| window == b"a secret");
        assert!(!secret, "after {answer:x?}");
        assert_eq!(client.receive_rest(), (Vec::new(), End::Reset));
    }
    balancer.wait_closed("server", "connect_failed", 5);
}

/// Asserts that clients are served by another server while the one at this address fails for this
/// reason, with so much patience for both.
#[track_caller]
fn is_passed_over(faulty: SocketAddr, reason: &str, patience: &[&str]) {
    let authority = Authority::new();
    let good = echo(&server_config(&authority.issue(&[SITE])));
    let config = Config::to([faulty, good.address()])
        .pool("max_fails = 1000")
        .verify(&authority, SITE);
    let config = patience
        .iter()
        .fold(config, |config, line| config.pool(line));
    let balancer = Balancer::start(&config);
    for _ in 0..2 {
        is_served(&balancer);
    }
    let failures = balancer.metrics().sum(
        "ringway_connect_failures_total",
        &[("server", "s0"), ("reason", reason)],
    );
    assert_eq!(failures, 2.0);
}

#[test]
fn a_server_that_says_nothing_is_given_up_after_connect_timeout() {
    let silent = Server::listen();
    let patience = ["connect_timeout = \"200ms\""];
    is_passed_over(silent.address(), "timeout", &patience);
}

#[test]
fn a_server_that_sends_a_close_notify_in_its_handshake_is_passed_over_at_once() {
    let leaving = Service::start(|peer| {
        peer.send([21, 3, 3, 0, 2, 1, 0]);
        peer.receive_rest();
    });
    let patience = ["connect_timeout = \"10m\"", "connect_deadline = \"10m\""];
    is_passed_over(leaving.address(), "tls", &patience);
}

#[test]
fn a_server_that_nobody_vouches_for_serves_where_that_is_allowed() {
    let authority = Authority::new();
    let server = echo(&server_config(&authority.issue(&["other.example"])));
    let config = Config::to([server.address()])
        .pool_tls("mode = \"insecure\"")
        .pool_tls("server_name = \"site.example\"");
    is_served(&Balancer::start(&config));
}

#[test]
fn a_server_that_wants_a_certificate_gets_one() {
    let authority = Authority::new();
    let (ours, identity) = (authority.issue(&["ringway"]), authority.issue(&[SITE]));
    let server = echo(&Arc::new(server_of(&identity, &[&TLS12], Some(&authority))));
    let [certificate, key] = ours.lines();
    let config = Config::to([server.address()])
        .verify(&authority, SITE)
        .pool_tls(&certificate)
        .pool_tls(&key);
    let balancer = Balancer::start(&config);
    is_served(&balancer);
    let status: serde_json::Value = serde_json::from_str(&balancer.admin("/api/status")).unwrap();
    let shown = &status["pools"][0]["certificates"][0];
    assert_eq!(shown["file"], ours.certificate_file.to_str().unwrap());
    assert!(shown["not_after"].is_string(), "{shown}");
}

#[test]
fn an_end_without_a_word_is_passed_on_as_such_between_tls_and_tls() {
    let authority = Authority::new();
    let identity = authority.issue(&[SITE]);
    let server = Server::listen();
    let config = Config::to([server.address()])
        .terminate(&identity)
        .verify(&authority, SITE);
    let balancer = Balancer::start(&config);
    let server_side = server_config(&identity);
    let client_side = tls13(&authority);
    let connect = || {
        thread::scope(|scope| {
            let accepted = scope.spawn(|| {
                let mut accepted = TlsPeer::server(server.accept(), &server_side);
                accepted.shake_hands();
                accepted
            });
            let client = TlsPeer::connect(balancer.address(), &client_side);
            (client, accepted.join().unwrap())
        })
    };
    // The first two end as they should, the others are cut off on one side each.
    let (mut client, mut accepted) = connect();
    client.send("question");
    client.finish();
    assert_eq!(
        accepted.receive_rest(),
        (b"question".to_vec(), TlsEnd::CloseNotify)
    );
    accepted.finish();
    client.expect_end(TlsEnd::CloseNotify);

    let (mut client, mut accepted) = connect();
    client.send("question");
    client.peer().finish();
    assert_eq!(accepted.receive_rest(), (b"question".to_vec(), TlsEnd::Fin));
    accepted.send("answer");
    accepted.finish();
    assert_eq!(
        client.receive_rest(),
        (b"answer".to_vec(), TlsEnd::CloseNotify)
    );

    let (mut client, mut accepted) = connect();
    accepted.send("half an ans");
    accepted.peer().finish();
    assert_eq!(
        client.receive_rest(),
        (b"half an ans".to_vec(), TlsEnd::Fin)
    );
    client.finish();
    accepted.expect_end(TlsEnd::CloseNotify);

    let (mut client, mut accepted) = connect();
    accepted.send("half an ans");
    client.expect("half an ans");
    accepted.into_peer().reset();
    client.expect_end(TlsEnd::Reset);

    balancer.wait_active(0);
    let truncated = balancer
        .metrics()
        .by("ringway_tls_truncated_total", "direction");
    assert_eq!((truncated["in"], truncated["out"]), (1.0, 2.0));
}

#[test]
fn a_client_that_leaves_while_a_server_shakes_hands_leaves_nothing_behind() {
    let authority = Authority::new();
    let server = Server::listen();
    let server_side = server_config(&authority.issue(&[SITE]));
    let config = Config::to([server.address()]).verify(&authority, SITE);
    let balancer = Balancer::start(&config);
    for bytes in [0, 100] {
        for reset in [false, true] {
            let (client, accepted) = balancer.session_at(&server);
            let mut accepted = TlsPeer::server(accepted, &server_side);
            accepted.listen_once();
            let flight = accepted.take_flight();
            accepted.peer().send(&flight[..bytes]);
            match reset {
                true => client.reset(),
                // One that has only finished sending would still get its answer.
                false => drop(client),
            }
            if reset {
                accepted.peer().receive_rest();
            }
        }
    }
    balancer.wait_active(0);
}
