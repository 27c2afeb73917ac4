//! ClientHellos of every kind, odd ones above all.

use super::support::configs;
use crate::limits::CLIENT_HELLO_BYTES_MAX;
use crate::tls::client_hello::{
    Hello, Malformed, NotTls, Reader, ServerName, Verdict, fatal_alert,
};
use crate::tls::fuzzing::{Pair, check_client_hello, read_hello};

/// Bytes with their length in front, of so many bytes.
fn vector(length_bytes: usize, content: &[u8]) -> Vec<u8> {
    let length = (content.len() as u32).to_be_bytes();
    [&length[4 - length_bytes..], content].concat()
}

fn extension(kind: u16, content: &[u8]) -> Vec<u8> {
    [&kind.to_be_bytes()[..], &vector(2, content)].concat()
}

/// A list with one host name.
fn server_name(name: &[u8]) -> Vec<u8> {
    extension(0, &vector(2, &[&[0][..], &vector(2, name)].concat()))
}

/// A ClientHello with these extensions.
fn message(extensions: &[Vec<u8>]) -> Vec<u8> {
    let mut body = vec![3, 3];
    body.extend([7; 32]);
    body.extend(vector(1, &[9; 32]));
    body.extend(vector(2, &[0x13, 1, 0xC0, 0x2B]));
    body.extend(vector(1, &[0]));
    body.extend(vector(2, &extensions.concat()));
    [&[1][..], &vector(3, &body)].concat()
}

/// A message in records of this size.
fn records(message: &[u8], size: usize) -> Vec<u8> {
    let record = |fragment: &[u8]| [&[22, 3, 1][..], &vector(2, fragment)].concat();
    message.chunks(size).flat_map(record).collect()
}

fn hello(extensions: &[Vec<u8>]) -> Vec<u8> {
    records(&message(extensions), 1 << 14)
}

fn read(bytes: &[u8]) -> Verdict {
    check_client_hello(bytes);
    read_hello(bytes, &[])
}

fn read_name(bytes: &[u8]) -> ServerName {
    match read(bytes) {
        Verdict::Hello(hello) => hello.server_name,
        other => panic!("{other:?}"),
    }
}

fn host(name: &str) -> ServerName {
    ServerName::Host(name.into())
}

#[test]
fn a_real_hello_is_read_in_any_pieces_and_any_records() {
    let (server, client) = configs();
    let mut pair = Pair::new(&server, &client, "www.Example.org");
    let bytes: Vec<u8> = pair.client.wire.drain(..).collect();
    let message = &bytes[5..];
    for size in [1, 2, 3, 50, 1 << 14] {
        let Verdict::Hello(hello) = read(&records(message, size)) else {
            panic!("records of {size} bytes");
        };
        assert_eq!(hello.server_name, host("www.example.org"));
        assert_eq!(hello.versions, [0x0304, 0x0303]);
        assert!(hello.alpn.is_empty());
    }
    for cut in 0..bytes.len() {
        assert_eq!(
            read(&bytes[..cut]),
            Verdict::Incomplete,
            "the first {cut} bytes"
        );
    }
}

#[test]
fn a_hello_changed_at_any_byte_is_read_as_rustls_reads_it_or_refused() {
    let (server, client) = configs();
    let mut pair = Pair::new(&server, &client, "www.example.org");
    let bytes: Vec<u8> = pair.client.wire.drain(..).collect();
    for at in 0..bytes.len() {
        for change in [1, 2, 0x20, 0x7F, 0x80, 0xFF] {
            let mut changed = bytes.clone();
            changed[at] ^= change;
            check_client_hello(&changed);
        }
    }
}

#[test]
fn everything_that_is_asked_for_is_read() {
    let protocols = [vector(1, b"h2"), vector(1, b"http/1.1")].concat();
    let bytes = hello(&[
        extension(0x0A0A, b""),
        server_name(b"A.Example."),
        extension(16, &vector(2, &protocols)),
        extension(13, &vector(2, &[4, 3, 8, 4])),
        extension(43, &vector(1, &[0x0A, 0x0A, 3, 4])),
    ]);
    let expected = Hello {
        server_name: host("a.example"),
        alpn: vec![b"h2".to_vec(), b"http/1.1".to_vec()],
        versions: vec![0x0A0A, 0x0304],
    };
    assert_eq!(read(&bytes), Verdict::Hello(Box::new(expected)));
}

#[test]
fn a_hello_without_extensions_is_one_of_an_old_version() {
    let mut body = vec![3, 1];
    body.extend([7; 32]);
    body.extend([0, 0, 2, 0, 10, 1, 0]);
    let message = [&[1][..], &vector(3, &body)].concat();
    let Verdict::Hello(hello) = read(&records(&message, 100)) else {
        panic!("no hello");
    };
    assert_eq!(hello.versions, [0x0301]);
    assert_eq!(hello.server_name, ServerName::Absent);
    assert!(!hello.offers_tls12());
}

#[test]
fn clients_of_old_versions_alone_are_told_from_others() {
    let offering = |versions: &[u16]| Hello {
        versions: versions.to_vec(),
        ..Hello::default()
    };
    for new in [
        &[0x0304][..],
        &[0x0303],
        &[0x0A0A, 0x0301, 0x0303],
        &[0x0305],
    ] {
        assert!(offering(new).offers_tls12(), "{new:x?}");
    }
    for old in [&[0x0302][..], &[0x0300], &[0x0A0A, 0x0302], &[0xFEFD]] {
        assert!(!offering(old).offers_tls12(), "{old:x?}");
    }
}

#[test]
fn server_names_of_every_kind() {
    let long = [&b"a.".repeat(127)[..], b"a"].concat();
    let longest = [&b"a.".repeat(126)[..], b"a"].concat();
    let label = [b'x'; 64];
    let giant = [b'a'; 60_000];
    let unusable: [&[u8]; 14] = [
        b"",
        b".",
        b"a..b",
        b"a.example\0.evil",
        b"a\0",
        b"\xC3\xBC.example",
        b"10.0.0.1",
        b"::1",
        b"[::1]",
        b"a b",
        b"*.example.org",
        &long,
        &label,
        &giant,
    ];
    for name in unusable {
        let shown = name.escape_ascii();
        assert_eq!(
            read_name(&hello(&[server_name(name)])),
            ServerName::Unusable,
            "{shown}"
        );
    }
    for (name, expected) in [
        (&b"a"[..], "a"),
        (b"A_b-C.example.", "a_b-c.example"),
        (b"xn--bcher-kva.example", "xn--bcher-kva.example"),
        (&longest, std::str::from_utf8(&longest).unwrap()),
    ] {
        assert_eq!(read_name(&hello(&[server_name(name)])), host(expected));
    }
    // A list that is empty, and a name of a type that there is not.
    let empty = extension(0, &vector(2, b""));
    assert_eq!(read_name(&hello(&[empty])), ServerName::Unusable);
    let other = extension(0, &vector(2, &[&[7][..], &vector(2, b"x")].concat()));
    assert_eq!(read_name(&hello(&[other])), ServerName::Unusable);
}

#[test]
fn two_answers_to_one_question_are_refused() {
    let entry = [&[0][..], &vector(2, b"a.example")].concat();
    let two_names = extension(0, &vector(2, &entry.repeat(2)));
    let twice = |name| Verdict::Malformed(Malformed::Twice(name));
    assert_eq!(read(&hello(&[two_names])), twice("the server name"));
    let names = [server_name(b"a.example"), server_name(b"b.example")];
    assert_eq!(read(&hello(&names)), twice("the server name"));
    let protocol = extension(16, &vector(2, &vector(1, b"h2")));
    assert_eq!(
        read(&hello(&[protocol.clone(), protocol])),
        twice("the protocol list")
    );
}

#[test]
fn lengths_that_do_not_fit_are_refused() {
    let inner = extension(0, &vector(2, &[0, 0xFF, 0xFF, b'a']));
    let outer = extension(0, &[0xFF, 0xFF, 0, 0, 1, b'a']);
    let trailing = extension(0, &[0, 4, 0, 0, 1, b'a', 0]);
    let odd = extension(43, &vector(1, &[3, 4, 3]));
    let protocols = extension(16, &vector(2, &[5, b'h', b'2']));
    for broken in [inner, outer, trailing, odd, protocols] {
        let verdict = read(&hello(std::slice::from_ref(&broken)));
        assert!(
            matches!(verdict, Verdict::Malformed(Malformed::Length(_))),
            "{broken:?}"
        );
    }
    let whole = message(&[server_name(b"a.example")]);
    for cut in 4..whole.len() {
        let short = [&[1][..], &vector(3, &whole[4..cut])].concat();
        let verdict = read(&records(&short, 100));
        // Without extensions it is whole again.
        let old =
            matches!(&verdict, Verdict::Hello(hello) if hello.server_name == ServerName::Absent);
        assert!(
            old || matches!(verdict, Verdict::Malformed(Malformed::Length(_))),
            "at {cut}"
        );
    }
    assert_eq!(Malformed::Length("x").alert(), fatal_alert(50));
}

#[test]
fn a_hello_may_have_64_kib_and_not_a_byte_more() {
    let with_padding = |padding: usize| {
        let parts = [vec![0; padding / 2], vec![0; padding - padding / 2]];
        let parts = parts.map(|part| extension(21, &part));
        hello(&[&parts[..], &[server_name(b"a.example")]].concat())
    };
    let overhead = with_padding(60_000).len() - 60_000;
    let largest = with_padding(CLIENT_HELLO_BYTES_MAX - overhead);
    assert_eq!(largest.len(), CLIENT_HELLO_BYTES_MAX);
    assert_eq!(read_name(&largest), host("a.example"));

    let message = message(&[server_name(b"a.example"), extension(21, &[0; 12_000])]);
    let torn = records(&message, 1);
    assert!(torn.len() > CLIENT_HELLO_BYTES_MAX);
    assert_eq!(read(&torn), Verdict::Malformed(Malformed::TooLong));
    let announced = [22, 3, 1, 0, 4, 1, 1, 0, 0];
    assert_eq!(read(&announced), Verdict::Malformed(Malformed::TooLong));
}

#[test]
fn other_messages_and_records_of_tls_are_no_hello() {
    for (bytes, expected) in [
        (&[22, 3, 1, 0, 4, 2, 0, 0, 0][..], Malformed::OtherMessage),
        (&[21, 3, 1, 0, 2, 1, 0], Malformed::OtherRecord),
        (&[20, 3, 3, 0, 1, 1], Malformed::OtherRecord),
        (&[23, 3, 3, 0, 1, 1], Malformed::OtherRecord),
        (&[22, 2, 0, 0, 1, 1], Malformed::OtherRecord),
        (&[22, 3, 1, 0, 0], Malformed::Length("an empty record")),
        (&[22, 3, 1, 0x40, 1, 1], Malformed::RecordTooLong),
        (&[22, 3, 1, 0, 2, 1, 0, 21, 3], Malformed::OtherRecord),
    ] {
        assert_eq!(read(bytes), Verdict::Malformed(expected), "{bytes:?}");
    }
    assert_eq!(Malformed::OtherRecord.alert(), fatal_alert(10));
    assert_eq!(Malformed::RecordTooLong.alert(), fatal_alert(22));
}

#[test]
fn those_who_do_not_speak_tls_are_recognised_by_their_first_bytes() {
    for (bytes, expected) in [
        (&b"GET / HTTP/1.1\r\n"[..], NotTls::Http),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", NotTls::Http),
        (b"POST ", NotTls::Http),
        (b"PROXY TCP4 1.2.3.4 5.6.7.8 1 2\r\n", NotTls::ProxyProtocol),
        (b"\r\n\r\n\0\r\nQUIT\n\x21\x11", NotTls::ProxyProtocol),
        (b"SSH-2.0-OpenSSH_9\r\n", NotTls::Ssh),
        (b"\x80\x2E\x01\x03\x01", NotTls::Ssl2),
        (b"\x80\x2E\x02", NotTls::Unknown),
        (b"GETTING", NotTls::Unknown),
        (b"\0", NotTls::Unknown),
        (b"\x55\0\0\0\x01", NotTls::Unknown),
    ] {
        assert_eq!(
            read(bytes),
            Verdict::NotTls(expected),
            "{}",
            bytes.escape_ascii()
        );
    }
    for start in [
        &b""[..],
        b"G",
        b"PR",
        b"OPTIONS",
        b"\r\n\r\n\0",
        b"\x80",
        b"\x80\x2E",
    ] {
        assert_eq!(read(start), Verdict::Incomplete, "{}", start.escape_ascii());
    }
}

#[test]
fn a_refusal_is_in_the_language_of_the_refused() {
    let http = std::str::from_utf8(NotTls::Http.refusal()).unwrap();
    let (head, body) = http.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 400 "));
    let length = format!("Content-Length: {}\r\n", body.len());
    assert!(head.contains(&length), "{length}");
    assert_eq!(NotTls::Ssl2.refusal(), [21, 3, 1, 0, 2, 2, 70]);
}

#[test]
fn a_verdict_stays() {
    let mut reader = Reader::default();
    let bytes = hello(&[server_name(b"a.example")]);
    let verdict = reader.feed(&bytes);
    assert!(matches!(verdict, Verdict::Hello(_)));
    assert_eq!(reader.feed(b"GET / HTTP/1.1"), verdict);
    assert_eq!(reader.feed(b""), verdict);
}
