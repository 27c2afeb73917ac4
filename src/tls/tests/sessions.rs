//! One connection, whatever is done to its bytes.

use super::support::{configs, connected, exhausting_configs, old_configs, renewing_configs};
use crate::limits::TLS_PLAINTEXT_BYTES_MAX;
use crate::tls::fuzzing::{Pair, RECORDS_PER_KEY, Side, Towards, plaintext};
use crate::tls::session::{Ending, Failure, RECORD_OVERHEAD_BYTES};

/// Both versions.
fn versions() -> [(
    std::sync::Arc<rustls::ServerConfig>,
    std::sync::Arc<rustls::ClientConfig>,
); 2] {
    [configs(), old_configs()]
}

#[test]
fn both_versions_agree_and_carry_data_both_ways() {
    for (configs, version) in versions().iter().zip(["TLSv1.3", "TLSv1.2"]) {
        let mut pair = connected(configs);
        let agreement = pair.server.session.agreement().unwrap();
        assert_eq!(agreement.version, version);
        assert!(
            agreement.cipher_suite.starts_with("TLS_"),
            "{}",
            agreement.cipher_suite
        );
        assert_eq!(agreement.alpn, None);
        assert!(!agreement.resumed);
        assert_eq!(agreement.peer_subject, None);
        let client = pair.client.session.agreement().unwrap();
        assert_eq!(client.peer_subject.as_deref(), Some("CN=a.example"));
        let data = plaintext(1_000_000);
        assert_eq!(
            pair.client.send(&data, TLS_PLAINTEXT_BYTES_MAX, 16_384),
            data.len()
        );
        assert_eq!(pair.server.send(&data, 1369, 16_384), data.len());
        pair.settle(16_384, 16_384);
        assert!(pair.server.received == data && pair.client.received == data);
        assert!(pair.server.session.is_idle() && pair.client.session.is_idle());
    }
}

/// Everything one side sends in a connection, the other end having settled it all.
fn flow(
    configs: &(
        std::sync::Arc<rustls::ServerConfig>,
        std::sync::Arc<rustls::ClientConfig>,
    ),
    towards: Towards,
) -> usize {
    let mut pair = Pair::new(&configs.0, &configs.1, "a.example");
    let mut bytes = 0;
    while !pair.client.wire.is_empty() || !pair.server.wire.is_empty() {
        let server = pair.deliver(Towards::Server, usize::MAX, 1000);
        let client = pair.deliver(Towards::Client, usize::MAX, 1000);
        bytes += if towards == Towards::Server {
            server
        } else {
            client
        };
    }
    bytes
}

#[test]
fn a_handshake_cut_at_any_byte_goes_on_there_or_is_told_apart_from_an_end() {
    for configs in &versions() {
        for towards in [Towards::Server, Towards::Client] {
            // Signatures vary by a byte or two in length.
            for cut in 0..flow(configs, towards) - 4 {
                let mut pair = Pair::new(&configs.0, &configs.1, "a.example");
                let mut left = cut;
                while left > 0 {
                    let server = pair.deliver(
                        Towards::Server,
                        if towards == Towards::Server {
                            left
                        } else {
                            usize::MAX
                        },
                        99,
                    );
                    let client = pair.deliver(
                        Towards::Client,
                        if towards == Towards::Client {
                            left
                        } else {
                            usize::MAX
                        },
                        99,
                    );
                    left -= if towards == Towards::Server {
                        server
                    } else {
                        client
                    };
                }
                let cut_off: &Side = match towards {
                    Towards::Server => &pair.server,
                    Towards::Client => &pair.client,
                };
                let expected = match cut_off.session.is_handshaking() {
                    true => Ending::InHandshake,
                    false => Ending::Truncated,
                };
                assert_eq!(cut_off.session.ending(), expected, "after {cut} bytes");
                pair.settle(usize::MAX, 99);
                for side in [&pair.client, &pair.server] {
                    assert_eq!(side.failure, None, "cut at {cut}");
                    assert!(!side.session.is_handshaking(), "cut at {cut}");
                    assert!(side.session.is_idle(), "cut at {cut}");
                }
            }
        }
    }
}

#[test]
fn bytes_that_come_one_by_one_are_as_good_as_others() {
    for configs in &versions() {
        let mut pair = Pair::new(&configs.0, &configs.1, "a.example");
        pair.settle(1, 1);
        pair.client.send(&plaintext(3000), 1, 100);
        pair.server.send(&plaintext(3000), 700, 1000);
        pair.settle(1, 1);
        assert_eq!(pair.server.received, plaintext(3000));
        assert_eq!(pair.client.received, plaintext(3000));
    }
}

/// The same bytes in records of one byte each.
fn in_records_of_one(records: &[u8]) -> Vec<u8> {
    let (mut rest, mut torn) = (records, Vec::new());
    while let [kind, major, minor, high, low, after @ ..] = rest {
        let (payload, next) = after.split_at(usize::from(u16::from_be_bytes([*high, *low])));
        for byte in payload {
            torn.extend([*kind, *major, *minor, 0, 1, *byte]);
        }
        rest = next;
    }
    torn
}

#[test]
fn a_client_hello_in_records_of_one_byte_is_answered() {
    for configs in &versions() {
        for piece in [1, 7, 100_000] {
            let mut pair = Pair::new(&configs.0, &configs.1, "a.example");
            let hello: Vec<u8> = pair.client.wire.drain(..).collect();
            pair.client.wire.extend(in_records_of_one(&hello));
            pair.settle(piece, 1000);
            assert_eq!(pair.server.failure, None);
            assert!(!pair.client.session.is_handshaking());
        }
    }
}

#[test]
fn records_that_nobody_may_send_end_the_connection_with_an_alert() {
    let large = [&[23, 3, 3, 0x48, 1][..], &[0; 0x4801]].concat();
    let largest = [&[23, 3, 3, 0xFF, 0xFF][..], &[0; 0xFFFF]].concat();
    let cases: [(&[u8], &str); 6] = [
        (&[23, 3, 3, 0, 0], "a record of length 0"),
        (&large, "one longer than the largest"),
        (&largest, "the longest there could be"),
        (
            &[
                23, 3, 3, 0, 32, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19,
                20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31, 32,
            ],
            "one that was not encrypted",
        ),
        (b"GET / HTTP/1.1\r\n\r\n", "no record at all"),
        (
            &[22, 3, 3, 0, 4, 0, 0, 0, 0],
            "a request to negotiate again, in clear",
        ),
    ];
    for configs in &versions() {
        for (bytes, what) in &cases {
            for after_handshake in [false, true] {
                for piece in [1, usize::MAX] {
                    let mut pair = match after_handshake {
                        true => connected(configs),
                        false => Pair::new(&configs.0, &configs.1, "a.example"),
                    };
                    pair.client.wire.clear();
                    pair.client.wire.extend(*bytes);
                    while pair.server.failure.is_none() && !pair.client.wire.is_empty() {
                        pair.deliver(Towards::Server, piece, 100);
                    }
                    let failure = pair.server.failure.clone().expect(what);
                    assert!(failure.is_peers(), "{what}: {failure}");
                    assert!(!pair.server.wire.is_empty(), "{what}: no alert");
                    assert!(pair.server.session.is_idle(), "{what}");
                    let again = pair.server.session.receive(&mut [1], &mut [0]);
                    assert_eq!(again, Err(failure), "{what}");
                }
            }
        }
    }
}

#[test]
fn the_peer_learns_why_its_connection_ended() {
    let mut pair = connected(&configs());
    pair.client.send(b"hello", 100, 1000);
    *pair.client.wire.back_mut().unwrap() ^= 1;
    pair.deliver(Towards::Server, usize::MAX, 100);
    assert_eq!(pair.server.failure, Some(Failure::Decrypt));
    pair.deliver(Towards::Client, usize::MAX, 100);
    let told = pair.client.failure.unwrap();
    assert_eq!(
        told.to_string(),
        "the peer broke off with the alert bad_record_mac: it cannot decrypt what it was sent"
    );
    assert!(matches!(told, Failure::Alert(_)));
}

#[test]
fn what_came_before_a_failure_is_delivered() {
    let mut pair = connected(&configs());
    pair.client.send(b"the last words", 100, 1000);
    pair.client.wire.extend(b"garbage");
    pair.deliver(Towards::Server, usize::MAX, 100);
    assert_eq!(pair.server.received, b"the last words");
    assert_eq!(pair.server.failure, Some(Failure::NotTls));
}

#[test]
fn a_change_of_ciphers_after_the_handshake_is_refused() {
    let mut pair = connected(&configs());
    pair.client.wire.extend([20, 3, 3, 0, 1, 1]);
    pair.deliver(Towards::Server, usize::MAX, 100);
    assert!(
        pair.server
            .failure
            .is_some_and(|failure| failure.is_peers())
    );
}

#[test]
fn garbage_that_answers_our_end_is_a_failure_like_any_other() {
    for configs in &versions() {
        let mut pair = connected(configs);
        pair.server.session.close();
        pair.server.flush();
        pair.client.send(b"hello", 100, 1000);
        *pair.client.wire.back_mut().unwrap() ^= 1;
        pair.deliver(Towards::Server, usize::MAX, 100);
        assert_eq!(pair.server.failure, Some(Failure::Decrypt));
        assert!(pair.server.session.is_idle());
    }
}

#[test]
fn each_side_ends_by_itself_and_the_other_may_go_on() {
    for configs in &versions() {
        let mut pair = connected(configs);
        pair.client.send(b"request", 100, 1000);
        pair.client.session.close();
        pair.client.session.close();
        pair.client.flush();
        pair.settle(usize::MAX, 100);
        assert_eq!(pair.server.received, b"request");
        assert_eq!(pair.server.session.ending(), Ending::Clean);
        assert_eq!(pair.client.session.ending(), Ending::Truncated);
        assert_eq!(pair.client.send(b"too late", 100, 1000), 0);

        let answer = plaintext(50_000);
        assert_eq!(pair.server.send(&answer, 16_384, 16_384), answer.len());
        pair.server.session.close();
        pair.server.flush();
        pair.settle(1000, 100);
        assert!(pair.client.received == answer);
        assert_eq!(pair.client.session.ending(), Ending::Clean);
        assert!(pair.client.session.is_idle() && pair.server.session.is_idle());
    }
}

#[test]
fn an_end_goes_out_behind_the_key_update_that_the_peer_has_asked_for() {
    let mut pair = connected(&renewing_configs());
    let request = plaintext(100 * 2 * RECORDS_PER_KEY as usize);
    assert_eq!(pair.client.send(&request, 100, 1000), request.len());
    pair.settle(usize::MAX, 1000);
    pair.server.session.close();
    pair.server.flush();
    pair.settle(usize::MAX, 1000);
    assert_eq!(pair.server.session.failure(), None);
    assert_eq!(pair.client.session.ending(), Ending::Clean);
    assert!(pair.server.received == request);
}

#[test]
fn what_was_sent_before_the_keys_were_used_up_arrives_and_is_not_passed_off_as_all() {
    let mut pair = connected(&exhausting_configs());
    let data = plaintext(1000 * RECORDS_PER_KEY as usize);
    let mut buffer = vec![0; 2 * data.len()];
    let sent = pair.client.session.send(&data, &mut buffer, 100).unwrap();
    assert!(sent.taken > 0 && sent.taken < data.len(), "{sent:?}");
    assert_eq!(
        pair.client.session.failure(),
        Some(&Failure::KeysUsedUp),
        "known with the last records"
    );
    let more = pair
        .client
        .session
        .send(&data, &mut buffer[sent.written..], 100);
    assert_eq!(more, Err(Failure::KeysUsedUp));

    pair.client.wire.extend(&buffer[..sent.written]);
    pair.client.flush();
    pair.deliver(Towards::Server, usize::MAX, 1000);
    assert_eq!(pair.server.received, data[..sent.taken]);
    assert_eq!(pair.server.session.ending(), Ending::Truncated);
}

#[test]
fn what_follows_a_close_notify_is_ignored() {
    let mut pair = connected(&configs());
    pair.client.session.close();
    pair.client.flush();
    pair.client
        .wire
        .extend(b"anything, and a lot of it".repeat(1000));
    for piece in [3, 100_000] {
        pair.deliver(Towards::Server, piece, 100);
    }
    assert_eq!(pair.server.failure, None);
    assert_eq!(pair.server.session.ending(), Ending::Clean);
    assert!(pair.server.received.is_empty() && pair.server.session.is_idle());
}

/// Puts an alert of this kind after so many records of the client's, and follows the server.
fn alert_after(
    configs: &(
        std::sync::Arc<rustls::ServerConfig>,
        std::sync::Arc<rustls::ClientConfig>,
    ),
    bytes: usize,
    description: u8,
) -> Pair {
    let mut pair = Pair::new(&configs.0, &configs.1, "a.example");
    let mut left = bytes;
    while left > 0 {
        let count = pair.deliver(Towards::Server, left, 100);
        left -= count;
        if count == 0 && pair.deliver(Towards::Client, usize::MAX, 100) == 0 {
            break;
        }
    }
    pair.client.wire.clear();
    pair.client.wire.extend([21, 3, 3, 0, 2, 1, description]);
    pair.deliver(Towards::Server, usize::MAX, 100);
    pair
}

#[test]
fn a_close_notify_at_any_point_of_the_handshake_ends_it_without_a_loop() {
    for configs in &versions() {
        for cut in 0..flow(configs, Towards::Server) - 4 {
            let mut pair = alert_after(configs, cut, 0);
            let done = !pair.server.session.is_handshaking();
            assert!(!done || pair.server.failure.is_some(), "after {cut} bytes");
            // Nothing more is made of what comes then.
            pair.client.wire.extend([22, 3, 3, 0, 4, 1, 0, 0, 0]);
            pair.deliver(Towards::Server, usize::MAX, 100);
            assert!(
                pair.server.session.buffer_bytes() < 20_000,
                "after {cut} bytes"
            );
        }
    }
}

#[test]
fn a_close_notify_breaks_a_handshake_off_however_it_comes() {
    for configs in &versions() {
        for is_answered in [false, true] {
            for piece in [1, 2, 6, usize::MAX] {
                let mut pair = Pair::new(&configs.0, &configs.1, "a.example");
                if is_answered {
                    pair.deliver(Towards::Server, usize::MAX, 100);
                }
                pair.client.wire.extend([21, 3, 3, 0, 2, 1, 0]);
                while pair.deliver(Towards::Server, piece, 100) > 0 {}
                let server = &pair.server.session;
                assert!(server.peer_has_closed() && server.is_handshaking());
                assert_eq!(server.ending(), Ending::InHandshake);
                assert_eq!(pair.server.failure, None);
            }
        }
    }
}

#[test]
fn a_close_notify_in_plain_text_behind_a_handshake_ends_nothing_in_peace() {
    for configs in &versions() {
        let mut pair = connected(configs);
        pair.client.send(b"hello", 100, 1000);
        pair.client.wire.extend([21, 3, 3, 0, 2, 1, 0]);
        pair.deliver(Towards::Server, usize::MAX, 100);
        assert!(pair.server.failure.is_some());
        assert_ne!(pair.server.session.ending(), Ending::Clean);
    }
}

#[test]
fn a_reader_without_room_gets_all_of_it_in_the_end() {
    let mut pair = connected(&configs());
    let data = plaintext(40_000);
    pair.client.send(&data, 16_384, 16_500);
    let mut bytes: Vec<u8> = pair.client.wire.drain(..).collect();
    let server = &mut pair.server.session;
    let nothing = server.receive(&mut bytes, &mut []).unwrap();
    assert_eq!((nothing.taken, nothing.written), (0, 0));

    let (mut at, mut received, mut room) = (0, Vec::<u8>::new(), [0; 13]);
    while at < bytes.len() || server.buffer_bytes() > 0 {
        let step = server.receive(&mut bytes[at..], &mut room).unwrap();
        assert!(step.taken > 0 || step.written > 0);
        assert!(server.buffer_bytes() <= 2 * TLS_PLAINTEXT_BYTES_MAX);
        at += step.taken;
        received.extend(&room[..step.written]);
    }
    assert!(received == data);
}

#[test]
fn records_fill_the_buffer_that_they_are_given() {
    for configs in &versions() {
        let mut pair = connected(configs);
        let mut buffer = [0; 16 * 1024];
        let data = plaintext(100_000);
        let sent = pair
            .client
            .session
            .send(&data, &mut buffer, usize::MAX)
            .unwrap();
        assert_eq!(sent.taken, buffer.len() - RECORD_OVERHEAD_BYTES);
        assert!(sent.written > sent.taken && sent.written <= buffer.len());
        let tiny = pair
            .client
            .session
            .send(&data, &mut buffer[..RECORD_OVERHEAD_BYTES], 100);
        assert_eq!(tiny.unwrap().taken, 0);
    }
}

#[test]
fn nothing_is_taken_before_the_handshake_is_done() {
    let (server, client) = configs();
    let mut pair = Pair::new(&server, &client, "a.example");
    assert_eq!(pair.client.send(b"too early", 100, 1000), 0);
    assert_eq!(pair.server.send(b"too early", 100, 1000), 0);
    pair.client.session.close();
    assert!(!pair.client.session.has_output(), "nothing to end yet");
    assert_eq!(pair.server.session.agreement(), None);
}

#[test]
fn a_handshake_message_that_does_not_end_is_cut_off() {
    let (server, client) = configs();
    for (record, length) in [
        (100, [0, 0xFF, 0xFF]),
        (1, [0, 0xFF, 0xFF]),
        (100, [0xFF; 3]),
    ] {
        let mut pair = Pair::new(&server, &client, "a.example");
        pair.client.wire.clear();
        let mut message = vec![1];
        message.extend(length);
        message.resize(0x1_0003, 0);
        for fragment in message.chunks(record) {
            pair.client.wire.extend([22, 3, 1, 0, record as u8]);
            pair.client.wire.extend(fragment);
            pair.client
                .wire
                .extend(std::iter::repeat_n(0, record - fragment.len()));
        }
        while pair.server.failure.is_none() && !pair.client.wire.is_empty() {
            pair.deliver(Towards::Server, 1000, 100);
        }
        let failure = pair.server.failure.unwrap();
        assert!(failure.is_peers(), "{failure}");
        assert!(pair.server.session.is_idle());
    }
}
