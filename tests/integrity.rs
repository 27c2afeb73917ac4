//! Every byte arrives, once and in order, whatever sizes it comes in.

mod support;

use std::net::{Ipv4Addr, SocketAddr};
use std::thread;

use socket2::Socket;
use support::{Balancer, Chunks, Config, End, Peer, Server, Tape, receive_tape, send_tape};

const GIB: u64 = 1 << 30;

#[test]
fn a_gigabyte_each_way_at_once_arrives_as_it_was_sent() {
    let small_windows = |socket: &Socket| {
        socket.set_recv_buffer_size(48 * 1024).unwrap();
        socket.set_send_buffer_size(48 * 1024).unwrap();
    };
    let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let server = Server::listen_with(any, small_windows);
    let balancer = Balancer::start(&Config::to([server.address()]));
    let client = Peer::connect_with(balancer.address(), small_windows);
    let accepted = server.accept();
    exchange(&client, &accepted, GIB, 128 * 1024);
    let moved = |metrics: &support::Metrics| {
        metrics.sum("ringway_bytes_total", &[("direction", "in")]) == GIB as f64
            && metrics.sum("ringway_bytes_total", &[("direction", "out")]) == GIB as f64
    };
    balancer.wait_for("a gigabyte is counted each way", moved);
}

#[test]
fn a_stream_that_turns_from_small_to_large_chunks_and_back_stays_whole() {
    let server = Server::listen();
    let balancer = Balancer::start(&Config::to([server.address()]).process("workers = 1"));
    let (client, accepted) = balancer.session_at(&server);
    let mut phases = Chunks::new(11, 4);
    let (mut up, mut down) = (Tape::new(21), Tape::new(22));
    let mut position = 0;
    for _ in 0..60 {
        // A burst that is spliced, or a question and an answer that are copied.
        let len = [3, 900, 40_000, 700_000][phases.size() - 1];
        let (question, answer) = (up.slice(position, len), down.slice(position, len));
        thread::scope(|scope| {
            scope.spawn(|| client.send(&question));
            scope.spawn(|| accepted.send(&answer));
            scope.spawn(|| accepted.expect(&question));
            client.expect(&answer);
        });
        position += len as u64;
    }
    let metrics = balancer.metrics();
    assert!(
        metrics.sum("ringway_worker_splice_bytes_total", &[]) > 0.0,
        "nothing was spliced"
    );
    assert!(
        metrics.sum("ringway_worker_copy_bytes_total", &[]) > 0.0,
        "nothing was copied"
    );
    client.finish();
    accepted.expect_end(End::Fin);
    accepted.finish();
    client.expect_end(End::Fin);
}

#[test]
fn bytes_that_come_one_by_one_arrive() {
    let server = Server::listen();
    let balancer = Balancer::start(&Config::to([server.address()]));
    let (client, accepted) = balancer.session_at(&server);
    exchange(&client, &accepted, 20_000, 1);
}

#[test]
fn many_sessions_at_once_do_not_mix() {
    let server = Server::listen();
    let balancer = Balancer::start(&Config::to([server.address()]));
    thread::scope(|scope| {
        for number in 0..32_u8 {
            let (balancer, server) = (&balancer, &server);
            scope.spawn(move || {
                // A client says which stream it will send, whoever accepts it.
                let client = balancer.connect();
                client.send([number]);
                let mut chunks = Chunks::new(number.into(), 40_000);
                send_tape(&client, &mut Tape::new(number.into()), 2 << 20, &mut chunks);
                client.finish();
                client.expect_end(End::Fin);
            });
            scope.spawn(move || {
                let accepted = server.accept();
                let number = accepted.receive(1)[0];
                let mut chunks = Chunks::new(number.into(), 30_000);
                receive_tape(
                    &accepted,
                    &mut Tape::new(number.into()),
                    2 << 20,
                    &mut chunks,
                );
                accepted.expect_end(End::Fin);
            });
        }
    });
}

#[test]
fn more_than_four_gigabytes_are_counted() {
    const BYTES: u64 = (4 << 30) + (1 << 20);
    let server = Server::listen();
    let balancer = Balancer::start(&Config::to([server.address()]));
    let (client, accepted) = balancer.session_at(&server);
    let chunk = vec![b'4'; 1 << 20];
    thread::scope(|scope| {
        scope.spawn(|| {
            for _ in 0..BYTES >> 20 {
                accepted.send(&chunk);
            }
            accepted.finish();
        });
        let mut buffer = vec![0; 1 << 20];
        let mut received = 0;
        loop {
            match client.receive_some(&mut buffer) {
                0 => break,
                bytes => received += bytes as u64,
            }
        }
        assert_eq!(received, BYTES);
    });
    client.finish();
    accepted.expect_end(End::Fin);
    balancer.wait_for("all are counted", |metrics| {
        metrics.sum("ringway_bytes_total", &[("direction", "out")]) == BYTES as f64
    });
}

/// Sends `len` bytes each way at the same time, in chunks of up to `chunk_max`, and then both FINs.
fn exchange(client: &Peer, accepted: &Peer, len: u64, chunk_max: usize) {
    let chunks = |seed| Chunks::new(seed, chunk_max);
    thread::scope(|scope| {
        scope.spawn(|| {
            send_tape(client, &mut Tape::new(1), len, &mut chunks(3));
            client.finish();
        });
        scope.spawn(|| {
            send_tape(accepted, &mut Tape::new(2), len, &mut chunks(4));
            accepted.finish();
        });
        scope.spawn(|| {
            receive_tape(accepted, &mut Tape::new(1), len, &mut chunks(5));
            accepted.expect_end(End::Fin);
        });
        receive_tape(client, &mut Tape::new(2), len, &mut chunks(6));
        client.expect_end(End::Fin);
    });
}
