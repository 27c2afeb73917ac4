//! Records as short and as long as they may be, and beyond, and ends in unusual places.

mod support;

use std::time::Duration;

use support::{
    Authority, Balancer, Config, End, SITE, Sealer, Server, Service, Tape, TlsPeer, tls12, tls13,
};

/// Content types.
const ALERT: u8 = 21;
const DATA: u8 = 23;

/// Plaintext of one record at most.
const LONGEST: usize = 1 << 14;

/// A close_notify that is not encrypted.
const CLOSE_NOTIFY: [u8; 7] = [21, 3, 3, 0, 2, 1, 0];

/// A client that makes its records by hand, and nobody at the other end yet.
fn sealer(balancer: &Balancer, authority: &Authority) -> Sealer {
    TlsPeer::connect(balancer.address(), &tls13(authority)).into_sealer()
}

#[test]
fn records_of_any_allowed_length_carry_what_is_in_them() {
    let authority = Authority::new();
    let server = Server::listen();
    let config = Config::to([server.address()]).terminate(&authority.issue(&[SITE]));
    let balancer = Balancer::start(&config);
    let mut client = sealer(&balancer, &authority);
    let accepted = server.accept();
    let data = Tape::new(61).slice(0, 3 * LONGEST);
    let mut at = 0;
    for (bytes, padding) in [
        (0, 0),
        (1, 0),
        (0, LONGEST),
        (LONGEST, 0),
        (0, 0),
        (1, LONGEST - 1),
        (LONGEST - 1, 1),
        (100, 1000),
    ] {
        client.send(&data[at..at + bytes], DATA, padding);
        at += bytes;
        accepted.expect(&data[at - bytes..at]);
    }
    // Some that say nothing are no reason to stop.
    for _ in 0..20 {
        client.send(b"", DATA, 0);
    }
    client.send(&data[at..at + 1], DATA, 0);
    accepted.expect(&data[at..at + 1]);
    client.send(&[1, 0], ALERT, 0);
    client.peer().finish();
    accepted.expect_end(End::Fin);
    accepted.finish();
    client.peer().receive_rest();
    balancer.wait_closed("client", "finished", 1);
    let truncated = balancer.metrics().sum("ringway_tls_truncated_total", &[]);
    assert_eq!(truncated, 0.0);
}

#[test]
fn records_that_are_too_long_or_of_no_kind_end_a_session_on_both_sides() {
    let authority = Authority::new();
    let server = Server::listen();
    let config = Config::to([server.address()]).terminate(&authority.issue(&[SITE]));
    let balancer = Balancer::start(&config);
    let too_long = vec![7; LONGEST + 1];
    let cases: [(&[u8], u8, usize, usize); 7] = [
        (&too_long, DATA, 0, 1),
        (b"one byte too many", DATA, LONGEST, 1),
        // Padding and nothing else, with and without any.
        (b"", 0, 100, 1),
        (b"", 0, 0, 1),
        (b"", ALERT, 0, 1),
        (b"what is this?", 99, 0, 1),
        // Nothing, over and over.
        (b"", DATA, 0, 40),
    ];
    for (index, (content, kind, padding, times)) in cases.into_iter().enumerate() {
        let mut client = sealer(&balancer, &authority);
        let accepted = server.accept();
        client.send(b"hello", DATA, 0);
        accepted.expect("hello");
        // In one piece: the session may end before the last of them.
        let records: Vec<_> = (0..times)
            .map(|_| client.seal(content, kind, padding))
            .collect();
        client.peer().send(records.concat());
        accepted.expect_end(End::Reset);
        let (alert, _) = client.peer().receive_rest();
        assert_eq!(
            alert.first(),
            Some(&DATA),
            "it is told in an encrypted record"
        );
        balancer.wait_closed("client", "tls_broken", index as u32 + 1);
    }
}

/// Records, each with its header.
fn records(flight: &[u8]) -> Vec<&[u8]> {
    let (mut rest, mut records) = (flight, Vec::new());
    while let [_, _, _, high, low, ..] = rest {
        let length = 5 + usize::from(u16::from_be_bytes([*high, *low]));
        let (record, after) = rest.split_at(length);
        records.push(record);
        rest = after;
    }
    records
}

#[test]
fn a_close_notify_before_between_and_behind_the_records_of_a_handshake_ends_it() {
    let authority = Authority::new();
    let server = Service::echo();
    let config = Config::to([server.address()])
        .terminate(&authority.issue(&[SITE]))
        .listener_tls("handshake_timeout = \"300ms\"");
    let balancer = Balancer::start(&config);
    for version in [tls12(&authority), tls13(&authority)] {
        // Instead of the hello, and after each record of the answer to the server's but the last.
        for after in 0.. {
            let mut client = TlsPeer::client(balancer.connect(), &version, SITE);
            let hello = client.take_flight();
            if after == 0 {
                client.peer().send(CLOSE_NOTIFY);
                client.peer().receive_rest();
                continue;
            }
            client.peer().send(&hello);
            let answer = client.answer();
            let records = records(&answer);
            if after == records.len() {
                break;
            }
            client
                .peer()
                .send([&records[..after].concat()[..], &CLOSE_NOTIFY].concat());
            client.peer().receive_rest();
        }
        balancer.wait_active(0);
        assert_eq!(server.accepted(), 0, "no server hears of it");
    }
}

#[test]
fn a_close_notify_in_one_segment_with_the_end_of_a_handshake_is_an_end_like_any_other() {
    let authority = Authority::new();
    let server = Server::listen();
    let config = Config::to([server.address()]).terminate(&authority.issue(&[SITE]));
    let balancer = Balancer::start(&config);
    for (index, version) in [tls12(&authority), tls13(&authority)].iter().enumerate() {
        let mut client = TlsPeer::client(balancer.connect(), version, SITE);
        let hello = client.take_flight();
        client.peer().send(&hello);
        let mut last = client.answer();
        if client.is_through() {
            last.extend(client.goodbye());
            client.peer().send(&last);
        } else {
            // In TLS 1.2 the server has the last word.
            client.peer().send(&last);
            client.shake_hands();
            client.say_goodbye();
        }
        let accepted = server.accept();
        accepted.expect_end(End::Fin);
        accepted.send("answer");
        accepted.finish();
        client.expect("answer");
        client.expect_end(support::TlsEnd::CloseNotify);
        balancer.wait_closed("client", "finished", index as u32 + 1);
    }
}

/// Bytes of plaintext in the records that carry so many bytes to a client of TLS 1.2.
#[track_caller]
fn records_of(client: &TlsPeer, bytes: usize) -> Vec<usize> {
    // An explicit nonce and a tag.
    const OVERHEAD: usize = 8 + 16;
    let mut records = Vec::new();
    while records.iter().sum::<usize>() < bytes {
        let header = client.peer().receive(5);
        assert_eq!(header[0], DATA, "{header:?}");
        let length = usize::from(u16::from_be_bytes([header[3], header[4]]));
        client.peer().receive(length);
        records.push(length - OVERHEAD);
    }
    records
}

#[test]
fn the_first_records_after_a_pause_are_short_and_those_of_bulk_are_long() {
    // What a new connection may send at once, and how much of it is in one record.
    const FIRST: usize = 14 * 1024;
    const SHORT: usize = 4096;
    const BULK: usize = 256 * 1024;
    let authority = Authority::new();
    let server = Server::listen();
    let config = Config::to([server.address()]).terminate(&authority.issue(&[SITE]));
    let balancer = Balancer::start(&config);
    let client = TlsPeer::connect(balancer.address(), &tls12(&authority));
    let accepted = server.accept();
    let bulk = vec![b'x'; BULK];
    let first = |records: &[usize]| {
        let mut sent = 0;
        let in_window = records.iter().take_while(|&&bytes| {
            let is_first = sent < FIRST;
            sent += bytes;
            is_first
        });
        in_window.copied().max().unwrap()
    };
    for has_paused in [true, false, true] {
        if has_paused {
            // Longer than a second: after that it begins anew.
            std::thread::sleep(Duration::from_millis(1100));
        }
        accepted.send(&bulk);
        let records = records_of(&client, BULK);
        assert_eq!(first(&records) <= SHORT, has_paused, "{records:?}");
        assert_eq!(records.iter().max(), Some(&LONGEST), "{records:?}");
    }
    client.peer().finish();
    accepted.finish();
    client.into_peer().receive_rest();
}
