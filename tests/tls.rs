//! TLS that ends at the balancer, or passes through it, between real web servers and real clients.

mod support;

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::thread;
use std::time::Duration;

use support::{
    Authority, Balancer, Chunks, Config, End, Nginx, Peer, SITE, Server, Service, Site, Tape,
    TlsEnd, TlsPeer, curl_with, lines, receive_tape, send_tape, slow_server, small_buffers, tls12,
    tls12_rsa, tls13,
};

/// More than fits into any buffer between the peers.
const MANY_BYTES: usize = 8 << 20;

/// What a browser would get from [`SITE`] through this balancer.
#[track_caller]
fn browse(balancer: &Balancer, authority: &Authority, more: &[&str], path: &str) -> Vec<u8> {
    browse_name(balancer, authority, SITE, more, path)
}

/// The same from another name.
#[track_caller]
fn browse_name(
    balancer: &Balancer,
    authority: &Authority,
    name: &str,
    more: &[&str],
    path: &str,
) -> Vec<u8> {
    let port = balancer.address().port();
    let resolve = format!("{name}:{port}:127.0.0.1");
    let ca = authority.file();
    let mut arguments = vec!["--cacert", ca.to_str().unwrap(), "--resolve", &resolve];
    arguments.extend_from_slice(more);
    curl_with(&arguments, &format!("https://{name}:{port}{path}"))
}

#[test]
fn small_and_large_pages_of_nginx_arrive_whole_over_https() {
    let authority = Authority::new();
    let nginx = Nginx::start(2);
    let large = Tape::new(41).slice(0, 1 << 20);
    nginx.add_file("large", &large);
    nginx.add_file("empty", b"");
    let config = Config::to(nginx.addresses()).terminate(&authority.issue(&[SITE]));
    let balancer = Balancer::start(&config);
    for version in [["--tls-max", "1.2"], ["--tlsv1.3", "--http1.1"]] {
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    assert_eq!(browse(&balancer, &authority, &version, "/empty"), b"");
                    assert!(browse(&balancer, &authority, &version, "/large") == large);
                    assert!(browse(&balancer, &authority, &version, "/").starts_with(b"s"));
                });
            }
        });
    }
    let metrics = balancer.metrics();
    assert_eq!(metrics.sum("ringway_tls_handshakes_total", &[]), 24.0);
    assert_eq!(
        metrics.sum("ringway_tls_handshake_failures_total", &[]),
        0.0
    );
    assert_eq!(metrics.sum("ringway_tls_truncated_total", &[]), 0.0);
}

#[test]
fn the_protocol_that_is_agreed_on_chooses_the_pool() {
    let authority = Authority::new();
    let nginx = Nginx::with(&[Site::Plain, Site::Http2]);
    let [plain, http2] = nginx.addresses()[..] else {
        panic!("two servers")
    };
    let config = Config::to([plain])
        .terminate(&authority.issue(&[SITE]))
        .listener_tls("alpn = [\"h2\", \"http/1.1\"]")
        .tls_route("alpn = [\"h2\"]", "http2")
        .and_pool("http2", [http2]);
    let balancer = Balancer::start(&config);
    let get = |version| browse(&balancer, &authority, &[version], "/");
    assert_eq!(get("--http2"), b"s1 HTTP/2.0");
    assert_eq!(get("--http1.1"), b"s0 HTTP/1.1");
    assert_eq!(get("--no-alpn"), b"s0 HTTP/1.1");
}

#[test]
fn the_name_that_is_asked_for_chooses_pool_and_certificate() {
    let authority = Authority::new();
    let nginx = Nginx::start(3);
    let [other, site, wild] = nginx.addresses()[..] else {
        panic!("three servers")
    };
    let config = Config::to([other])
        .terminate(&authority.issue(&["fallback.example"]))
        .terminate(&authority.issue(&[SITE]))
        .terminate(&authority.issue(&["*.wild.example"]))
        .tls_route("server_names = [\"site.example\"]", "site")
        .tls_route("server_names = [\"*.wild.example\"]", "wild")
        .and_pool("site", [site])
        .and_pool("wild", [wild]);
    let balancer = Balancer::start(&config);
    // curl checks that the certificate is one for the name.
    let get = |name| browse_name(&balancer, &authority, name, &[], "/");
    assert_eq!(get("fallback.example"), b"s0 HTTP/1.1");
    assert_eq!(get(SITE), b"s1 HTTP/1.1");
    assert_eq!(get("SITE.example"), b"s1 HTTP/1.1");
    assert_eq!(get("any.wild.example"), b"s2 HTTP/1.1");
}

#[test]
fn a_client_gets_the_certificate_with_the_key_it_knows() {
    let authority = Authority::new();
    let server = Service::echo();
    let (ecdsa, rsa) = (authority.issue(&[SITE]), authority.issue_rsa(&[SITE]));
    let config = Config::to([server.address()])
        .terminate(&rsa)
        .terminate(&ecdsa);
    let balancer = Balancer::start(&config);
    for (client, identity) in [
        (tls13(&authority), &ecdsa),
        (tls12(&authority), &ecdsa),
        (tls12_rsa(&authority), &rsa),
    ] {
        let mut client = TlsPeer::connect(balancer.address(), &client);
        assert_eq!(client.shown(), &identity.der()[..]);
        client.send("hello");
        client.expect("hello");
        client.finish();
        client.expect_end(TlsEnd::CloseNotify);
    }
}

#[test]
fn the_whole_answer_comes_to_a_client_that_has_said_its_last() {
    let authority = Authority::new();
    let server = Server::listen();
    let config = Config::to([server.address()]).terminate(&authority.issue(&[SITE]));
    let balancer = Balancer::start(&config);
    let answer = Tape::new(42).slice(0, MANY_BYTES);
    for (version, with_fin) in [
        (tls12(&authority), false),
        (tls13(&authority), false),
        (tls12(&authority), true),
        (tls13(&authority), true),
    ] {
        let mut client = TlsPeer::connect(balancer.address(), &version);
        let accepted = server.accept();
        client.send("question");
        match with_fin {
            true => client.finish(),
            false => client.say_goodbye(),
        }
        assert_eq!(accepted.receive_rest(), (b"question".to_vec(), End::Fin));
        thread::scope(|scope| {
            scope.spawn(|| {
                accepted.send(&answer);
                accepted.finish();
            });
            client.expect(&answer);
            client.expect_end(TlsEnd::CloseNotify);
        });
    }
    balancer.wait_closed("client", "finished", 4);
    assert_eq!(
        balancer.metrics().sum("ringway_tls_truncated_total", &[]),
        0.0
    );
}

#[test]
fn what_a_client_still_sends_arrives_whole_after_the_server_has_finished() {
    let authority = Authority::new();
    let server = Server::listen();
    let config = Config::to([server.address()]).terminate(&authority.issue(&[SITE]));
    let balancer = Balancer::start(&config);
    let upload = Tape::new(43).slice(0, MANY_BYTES);
    for version in [tls12(&authority), tls13(&authority)] {
        let mut client = TlsPeer::connect(balancer.address(), &version);
        let accepted = server.accept();
        accepted.send("greeting");
        accepted.finish();
        assert_eq!(
            client.receive_rest(),
            (b"greeting".to_vec(), TlsEnd::CloseNotify)
        );
        thread::scope(|scope| {
            scope.spawn(|| {
                client.send(&upload);
                client.finish();
            });
            accepted.expect(&upload);
            accepted.expect_end(End::Fin);
        });
    }
    balancer.wait_closed("server", "finished", 2);
}

/// A balancer whose listener `plain` is a TLS client of its own listener `web`: what goes through
/// both is encrypted once and decrypted once, each way.
fn there_and_back(authority: &Authority, server: &Server, min_version: &str) -> Config {
    let config = Config::to([server.address()]).terminate(&authority.issue(&[SITE]));
    let address = config.address_of("web");
    config
        .and_pool("encrypted", [address])
        .verify(authority, SITE)
        .pool_tls(min_version)
        .and_listener("plain", "encrypted")
}

#[test]
fn large_bodies_in_both_directions_at_once_arrive_as_they_were_sent() {
    const BYTES: u64 = 64 << 20;
    let authority = Authority::new();
    let server = Server::listen();
    let aes = "cipher_suites = [\"TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256\"]";
    for line in ["min_version = \"1.3\"", aes] {
        let config = there_and_back(&authority, &server, line);
        let balancer = Balancer::start(&config);
        let client = Peer::connect(config.address_of("plain"));
        let accepted = server.accept();
        thread::scope(|scope| {
            for (seed, from, to) in [(44, &client, &accepted), (45, &accepted, &client)] {
                scope.spawn(move || {
                    let mut sizes = Chunks::new(seed, 100_000);
                    send_tape(from, &mut Tape::new(seed), BYTES, &mut sizes);
                    from.finish();
                });
                scope.spawn(move || {
                    let mut sizes = Chunks::new(seed + 10, 100_000);
                    receive_tape(to, &mut Tape::new(seed), BYTES, &mut sizes);
                    to.expect_end(End::Fin);
                });
            }
        });
        balancer.wait_active(0);
        let metrics = balancer.metrics();
        assert_eq!(metrics.sum("ringway_bytes_total", &[]), 4.0 * BYTES as f64);
        assert_eq!(metrics.sum("ringway_tls_truncated_total", &[]), 0.0);
    }
}

#[test]
fn bytes_one_by_one_arrive_as_they_were_sent() {
    let authority = Authority::new();
    let server = Server::listen();
    let config = there_and_back(&authority, &server, "min_version = \"1.3\"");
    let _balancer = Balancer::start(&config);
    let client = Peer::connect(config.address_of("plain"));
    let accepted = server.accept();
    thread::scope(|scope| {
        scope.spawn(|| send_tape(&client, &mut Tape::new(46), 5000, &mut Chunks::new(1, 1)));
        receive_tape(&accepted, &mut Tape::new(46), 5000, &mut Chunks::new(2, 9));
    });
    for line in 0..200 {
        accepted.send(format!("line {line}"));
        client.expect(format!("line {line}"));
    }
}

#[test]
fn a_reader_that_stalls_stops_the_sender_and_memory_stays_flat() {
    const SESSIONS: usize = 20;
    // Of each session at most: what the buffers hold through which its bytes go.
    const KIB_MAX: u64 = 512;
    let authority = Authority::new();
    let server = slow_server();
    let config = there_and_back(&authority, &server, "min_version = \"1.3\"");
    let balancer = Balancer::start(&config);
    let pairs = [(); SESSIONS].map(|()| {
        let client = Peer::connect_with(config.address_of("plain"), small_buffers);
        (client, server.accept())
    });
    let before_kib = balancer.process().resident_kib();
    let patience = Duration::from_millis(300);
    let sent = thread::scope(|scope| {
        let fills = pairs.each_ref().map(|(client, accepted)| {
            let up = scope.spawn(move || client.send_until_stuck(patience));
            (up, scope.spawn(move || accepted.send_until_stuck(patience)))
        });
        fills.map(|(up, down)| (up.join().unwrap(), down.join().unwrap()))
    });
    let grown_kib = balancer.process().resident_kib().saturating_sub(before_kib);
    assert!(
        grown_kib < SESSIONS as u64 * KIB_MAX,
        "{grown_kib} KiB more"
    );
    for ((client, accepted), (up, down)) in pairs.iter().zip(sent) {
        client.finish();
        accepted.finish();
        thread::scope(|scope| {
            let received = scope.spawn(|| accepted.receive_rest());
            let (bytes, end) = client.receive_rest();
            assert_eq!((bytes.len(), end), (down, End::Fin));
            let (bytes, end) = received.join().unwrap();
            assert_eq!((bytes.len(), end), (up, End::Fin));
        });
    }
}

/// A ClientHello in records of so many bytes, as its client has it in one.
fn in_records(hello: &[u8], bytes: usize) -> Vec<u8> {
    let (header, message) = hello.split_at(5);
    let record = |piece: &[u8]| {
        let length = u16::try_from(piece.len()).unwrap().to_be_bytes();
        [&header[..3], &length, piece].concat()
    };
    message.chunks(bytes).flat_map(record).collect()
}

/// Asks with the hello in these pieces, and gets an answer over TLS.
#[track_caller]
fn ask_in_pieces<'a>(client: &mut TlsPeer, pieces: impl Iterator<Item = &'a [u8]>) {
    for piece in pieces {
        client.peer().send(piece);
    }
    client.shake_hands();
    client.send(format!(
        "GET / HTTP/1.1\r\nHost: {SITE}\r\nConnection: close\r\n\r\n"
    ));
    let (answer, _) = client.receive_rest();
    assert!(
        answer.starts_with(b"HTTP/1.1 200"),
        "{}",
        String::from_utf8_lossy(&answer)
    );
}

/// Asks with the hello in pieces of all kinds.
fn ask_in_pieces_of_all_kinds(balancer: &Balancer, authority: &Authority) {
    for version in [tls12(authority), tls13(authority)] {
        let client = || TlsPeer::client(Peer::connect(balancer.address()), &version, SITE);
        let mut one = client();
        let hello = one.take_flight();
        ask_in_pieces(&mut one, hello.chunks(1));
        for bytes in [50, 100, hello.len() - 6] {
            let mut one = client();
            let hello = in_records(&one.take_flight(), bytes);
            ask_in_pieces(&mut one, [&hello[..]].into_iter());
            let mut one = client();
            let hello = in_records(&one.take_flight(), bytes);
            ask_in_pieces(&mut one, hello.chunks(1));
        }
    }
}

#[test]
fn a_hello_in_pieces_and_in_several_records_is_understood() {
    let authority = Authority::new();
    let nginx = Nginx::start(1);
    let config = Config::to(nginx.addresses()).terminate(&authority.issue(&[SITE]));
    let balancer = Balancer::start(&config);
    ask_in_pieces_of_all_kinds(&balancer, &authority);
    // Each byte in a record of its own.
    let mut client = TlsPeer::client(Peer::connect(balancer.address()), &tls13(&authority), SITE);
    let hello = in_records(&client.take_flight(), 1);
    ask_in_pieces(&mut client, [&hello[..]].into_iter());
}

#[test]
fn a_hello_in_pieces_and_in_several_records_passes_through_untouched() {
    let authority = Authority::new();
    let identity = authority.issue(&[SITE]);
    let nginx = Nginx::with(&[Site::Tls(&identity)]);
    let nowhere = Server::listen();
    let config = Config::to([nowhere.address()])
        .listener_tls("mode = \"passthrough\"")
        .tls_route("server_names = [\"site.example\"]", "site")
        .and_pool("site", nginx.addresses());
    let balancer = Balancer::start(&config);
    ask_in_pieces_of_all_kinds(&balancer, &authority);
    nowhere.expect_nobody();
}

#[test]
fn tls_passes_through_to_the_server_of_the_name_with_that_servers_certificate() {
    let authority = Authority::new();
    let names = ["fallback.example", SITE, "*.wild.example"];
    let identities = names.map(|name| authority.issue(&[name]));
    let nginx = Nginx::with(&identities.each_ref().map(Site::Tls));
    let large = Tape::new(47).slice(0, MANY_BYTES);
    nginx.add_file("large", &large);
    let [fallback, site, wild] = nginx.addresses()[..] else {
        panic!("three servers")
    };
    let log = authority.directory().join("access.log");
    let config = Config::to([fallback])
        .listener_tls("mode = \"passthrough\"")
        .tls_route("server_names = [\"site.example\"]", "site")
        .tls_route("server_names = [\"*.wild.example\"]", "wild")
        .and_pool("site", [site])
        .and_pool("wild", [wild])
        .access_log(log.display());
    let balancer = Balancer::start(&config);
    // curl checks that the certificate is one for the name.
    let get = |name, path| browse_name(&balancer, &authority, name, &[], path);
    assert_eq!(get("fallback.example", "/"), b"s0 HTTP/1.1");
    assert_eq!(get(SITE, "/"), b"s1 HTTP/1.1");
    assert_eq!(get("any.wild.example", "/"), b"s2 HTTP/1.1");
    assert!(get(SITE, "/large") == large);
    let expected = [
        ("fallback.example", "web"),
        (SITE, "site"),
        ("any.wild.example", "wild"),
        (SITE, "site"),
    ];
    for (line, (name, pool)) in lines(&log, 4).iter().zip(expected) {
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        assert_eq!([&line["tls_server_name"], &line["pool"]], [name, pool]);
    }
    let client = TlsPeer::connect(balancer.address(), &tls13(&authority));
    assert_eq!(client.shown(), &identities[1].der()[..]);
    let handshakes = balancer.metrics().sum("ringway_tls_handshakes_total", &[]);
    assert_eq!(handshakes, 0.0, "none of them is ringway's");
}

#[test]
fn the_protocols_that_a_client_offers_choose_the_pool_of_what_passes_through() {
    let authority = Authority::new();
    let identity = authority.issue(&[SITE]);
    let nginx = Nginx::with(&[Site::Tls(&identity), Site::Tls(&identity)]);
    let [other, http1] = nginx.addresses()[..] else {
        panic!("two servers")
    };
    let config = Config::to([other])
        .listener_tls("mode = \"passthrough\"")
        .tls_route("alpn = [\"http/1.1\"]", "http1")
        .and_pool("http1", [http1]);
    let balancer = Balancer::start(&config);
    let get = |version| browse(&balancer, &authority, &[version], "/");
    assert_eq!(get("--http1.1"), b"s1 HTTP/1.1");
    assert_eq!(get("--no-alpn"), b"s0 HTTP/1.1");
}

#[test]
fn a_reload_shows_a_new_certificate_to_new_clients_and_leaves_sessions_alone() {
    let authority = Authority::new();
    let server = Service::echo();
    let before = authority.issue(&[SITE]);
    let config = Config::to([server.address()]).terminate(&before);
    let mut balancer = Balancer::start(&config);
    let mut early = TlsPeer::connect(balancer.address(), &tls13(&authority));
    // One whose handshake begins before the reload and ends after it.
    let mut between = TlsPeer::client(Peer::connect(balancer.address()), &tls13(&authority), SITE);
    let hello = between.take_flight();
    between.peer().send(&hello[..20]);
    balancer.wait_active(2);

    let after = authority.issue(&[SITE]);
    balancer.reload(&config);
    let mut late = TlsPeer::connect(balancer.address(), &tls13(&authority));
    assert_eq!(late.shown(), &after.der()[..]);
    assert_ne!(before.der(), after.der());
    between.peer().send(&hello[20..]);
    between.shake_hands();
    assert_eq!(between.shown(), &before.der()[..]);
    for client in [&mut early, &mut between, &mut late] {
        client.send("still here");
        client.expect("still here");
    }
}

#[test]
fn a_reload_with_a_bad_certificate_changes_nothing_and_says_what_is_wrong() {
    let authority = Authority::new();
    let server = Service::echo();
    let identity = authority.issue(&[SITE]);
    let config = Config::to([server.address()]).terminate(&identity);
    let mut balancer = Balancer::start(&config);
    let mut early = TlsPeer::connect(balancer.address(), &tls13(&authority));
    let (file, key_file) = (&identity.certificate_file, &identity.key_file);

    let key = fs::read(key_file).unwrap();
    let another = authority.issue(&["another.example"]);
    fs::copy(&another.key_file, key_file).unwrap();
    let refusal = balancer.refuse_reload();
    assert!(
        refusal.contains("the key does not belong to the certificate"),
        "{refusal}"
    );
    assert!(refusal.contains(key_file.to_str().unwrap()), "{refusal}");

    fs::write(key_file, &key).unwrap();
    fs::set_permissions(key_file, Permissions::from_mode(0o644)).unwrap();
    let refusal = balancer.refuse_reload();
    assert!(refusal.contains("is open to everybody"), "{refusal}");

    fs::set_permissions(key_file, Permissions::from_mode(0o600)).unwrap();
    let certificate = fs::read(file).unwrap();
    fs::write(file, "no certificate").unwrap();
    let refusal = balancer.refuse_reload();
    assert!(
        refusal.contains("there is no certificate in it"),
        "{refusal}"
    );

    let mut late = TlsPeer::connect(balancer.address(), &tls13(&authority));
    assert_eq!(late.shown(), &identity.der()[..]);
    for client in [&mut early, &mut late] {
        client.send("still here");
        client.expect("still here");
    }
    fs::write(file, certificate).unwrap();
    balancer.reload(&config);
}
