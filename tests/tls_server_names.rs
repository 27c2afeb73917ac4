//! Names of servers as no client should ask for them: nobody gets to a server that was not meant,
//! and nothing breaks.

mod support;

use support::{Authority, Balancer, Config, End, Peer, SITE, Server, Service};

/// A list or text behind its length, in so many bytes.
fn vector(length_bytes: usize, content: &[u8]) -> Vec<u8> {
    [&content.len().to_be_bytes()[8 - length_bytes..], content].concat()
}

fn extension(kind: u16, content: &[u8]) -> Vec<u8> {
    [&kind.to_be_bytes()[..], &vector(2, content)].concat()
}

/// An entry of the list of names: of type 0, a host's.
fn entry(name: &[u8]) -> Vec<u8> {
    [&[0][..], &vector(2, name)].concat()
}

/// The first message of a client of TLS 1.2 with this list of names, if it has any.
fn hello(names: Option<&[u8]>) -> Vec<u8> {
    let server_name = names.map(|list| extension(0, &vector(2, list)));
    // x25519 and P-256; points that are not compressed; ECDSA with P-256, RSA-PSS; the extended
    // master secret.
    let others = [
        extension(10, &vector(2, &[0, 29, 0, 23])),
        extension(11, &vector(1, &[0])),
        extension(13, &vector(2, &[4, 3, 8, 4])),
        extension(23, &[]),
    ];
    let extensions = [server_name.unwrap_or_default(), others.concat()].concat();
    let body = [
        &[3, 3][..],
        &[7; 32],
        // No session; ECDHE-ECDSA-AES128-GCM-SHA256 and the same with RSA; no compression.
        &vector(1, &[]),
        &vector(2, &[0xC0, 0x2B, 0xC0, 0x2F]),
        &vector(1, &[0]),
        &vector(2, &extensions),
    ]
    .concat();
    let message = [&[1][..], &vector(3, &body)].concat();
    let record = |piece: &[u8]| [&[22, 3, 1][..], &vector(2, piece)].concat();
    message.chunks(1 << 14).flat_map(record).collect()
}

/// Lists of names that are no reason to turn anybody away, and name no host that there is.
fn strange() -> Vec<Vec<u8>> {
    let label = [b'x'; 64];
    let long = [&b"a.".repeat(127)[..], b"a"].concat();
    assert_eq!(long.len(), 255);
    [
        b"x".to_vec(),
        long,
        label.to_vec(),
        vec![b'a'; 60_000],
        b".".to_vec(),
        b"a..b".to_vec(),
        b"site.example..".to_vec(),
        b"site.example\0".to_vec(),
        b"site.example\0.evil".to_vec(),
        b"\0".to_vec(),
        b"\xC3\xBC.example".to_vec(),
        b"\xFF\xFE".to_vec(),
        b"127.0.0.1".to_vec(),
        b"::1".to_vec(),
        b"[::1]".to_vec(),
        b"*.example".to_vec(),
        b"site.example:443".to_vec(),
        b"site example".to_vec(),
    ]
    .iter()
    .map(|name| entry(name))
    .collect()
}

/// Lists that no client may send.
fn forbidden() -> Vec<Vec<u8>> {
    let two = [entry(SITE.as_bytes()), entry(SITE.as_bytes())].concat();
    let torn = entry(SITE.as_bytes())[..8].to_vec();
    vec![two, torn]
}

#[test]
fn a_strange_name_is_passed_through_to_the_pool_of_no_name_as_it_came() {
    let other = Server::listen();
    let site = Server::listen();
    let config = Config::to([other.address()])
        .listener_tls("mode = \"passthrough\"")
        .tls_route("server_names = [\"site.example\", \"*.evil\"]", "site")
        .and_pool("site", [site.address()]);
    let balancer = Balancer::start(&config);
    let ask = |names: Option<&[u8]>, server: &Server| {
        let hello = hello(names);
        let client = balancer.connect();
        client.send(&hello);
        let accepted = server.accept();
        accepted.expect(&hello);
        accepted.finish();
        client.expect_end(End::Fin);
    };
    for name in [&b"site.example"[..], b"SITE.eXample", b"site.example."] {
        ask(Some(&entry(name)), &site);
    }
    ask(None, &other);
    ask(Some(&[]), &other);
    ask(Some(&entry(b"")), &other);
    for names in strange() {
        ask(Some(&names), &other);
    }
    site.expect_nobody();

    for names in forbidden() {
        let client = balancer.connect();
        client.send(hello(Some(&names)));
        expect_alert(&client, &names);
    }
    balancer.wait_closed("client", "tls_handshake", forbidden().len() as u32);
    other.expect_nobody();
    site.expect_nobody();
}

#[track_caller]
fn expect_alert(client: &Peer, names: &[u8]) {
    let (answer, _) = client.receive_rest();
    let shown = names[..names.len().min(40)].escape_ascii();
    assert_eq!(answer.len(), 7, "{shown}: {answer:x?}");
    assert_eq!(answer[0], 21, "{shown}: an alert");
}

#[test]
fn a_strange_name_gets_the_certificate_of_no_name_or_an_alert() {
    let authority = Authority::new();
    let server = Service::echo();
    let [fallback, site] = ["fallback.example", SITE].map(|name| authority.issue(&[name]));
    let config = Config::to([server.address()])
        .terminate(&fallback)
        .terminate(&site);
    let balancer = Balancer::start(&config);
    let ask = |names: Option<&[u8]>| {
        let client = balancer.connect();
        client.send(hello(names));
        client.finish();
        client.receive_rest().0
    };
    let shows = |answer: &[u8], certificate: &[u8]| {
        let mut places = answer.windows(certificate.len());
        places.any(|place| place == certificate)
    };
    for name in [&b"site.example"[..], b"SITE.eXample"] {
        assert!(shows(&ask(Some(&entry(name))), site.der()));
    }
    assert!(shows(&ask(None), fallback.der()));
    // What could be a host's name that nobody has, and addresses, which old clients send.
    for name in [&b"x"[..], b"127.0.0.1", b"::1"] {
        let shown = name.escape_ascii();
        assert!(shows(&ask(Some(&entry(name))), fallback.der()), "{shown}");
    }
    let mut refused = forbidden();
    refused.extend([vec![], entry(b""), entry(b"site.example\0.evil")]);
    refused.extend([entry(b"\xC3\xBC.example"), entry(&[b'x'; 64])]);
    for names in &refused {
        let client = balancer.connect();
        client.send(hello(Some(names)));
        expect_alert(&client, names);
    }
    // Whatever else there is gets one of both.
    for names in strange() {
        let answer = ask(Some(&names));
        let alert = answer.len() == 7 && answer[0] == 21;
        assert!(alert || shows(&answer, fallback.der()), "{answer:x?}");
        assert!(!shows(&answer, site.der()), "{answer:x?}");
    }
    balancer.wait_active(0);
    assert_eq!(server.accepted(), 0);
    let metrics = balancer.metrics();
    let failures = |reason| {
        let name = "ringway_tls_handshake_failures_total";
        metrics.sum(name, &[("reason", reason)])
    };
    assert!(failures("misbehaved") >= refused.len() as f64);
    assert_eq!(failures("internal"), 0.0);
}
