//! A side that does not read stops the other one, and costs no memory.

mod support;

use std::io::Write;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use support::{Balancer, Config, End, Peer, Server, Tape, receive_tape, send_tape};

/// What a session's bytes may add to the balancer's memory, whoever does not read.
const GROWTH_KIB_MAX: u64 = 4096;

/// What is sent in both directions at once: more than the slow ends' buffers hold.
const BOTH_WAYS_BYTES: u64 = 32 << 20;

/// What buffers on the way may hold: the kernel's of two connections, which it lets grow as far as
/// the host allows, and some for a pipe and buffers of ringway's own.
fn on_the_way_bytes_max() -> u64 {
    let of_ringway = 4 << 20;
    2 * (largest("tcp_rmem") + largest("tcp_wmem")) + of_ringway
}

/// The third number of a sysctl: how far the kernel lets a socket's buffer grow.
fn largest(sysctl: &str) -> u64 {
    let path = format!("/proc/sys/net/ipv4/{sysctl}");
    let text = std::fs::read_to_string(&path).expect("Linux has this sysctl");
    let last = text.split_whitespace().last().expect("three numbers");
    last.parse().expect("a number")
}

const GIB: u64 = 1 << 30;

#[test]
fn a_client_that_does_not_read_stops_the_server_and_memory_stays_flat() {
    let server = Server::listen();
    let balancer = Balancer::start(&Config::to([server.address()]));
    let client = support::slow_client(&balancer);
    let accepted = server.accept();
    stalls_and_resumes(&balancer, &accepted, &client);
}

#[test]
fn a_server_that_does_not_read_stops_the_client_and_memory_stays_flat() {
    let server = support::slow_server();
    let balancer = Balancer::start(&Config::to([server.address()]));
    let (client, accepted) = balancer.session_at(&server);
    stalls_and_resumes(&balancer, &client, &accepted);
}

#[test]
fn a_reader_that_pauses_again_and_again_on_a_gigabyte_costs_no_memory() {
    let server = Server::listen();
    let balancer = Balancer::start(&Config::to([server.address()]));
    let (client, accepted) = balancer.session_at(&server);
    let before_kib = balancer.process().resident_kib();
    let mut grown_kib = 0;
    let sent = AtomicU64::new(0);
    thread::scope(|scope| {
        scope.spawn(|| {
            let chunk = vec![b'g'; 256 * 1024];
            while sent.load(Ordering::SeqCst) < GIB {
                accepted.send(&chunk);
                sent.fetch_add(chunk.len() as u64, Ordering::SeqCst);
            }
            accepted.finish();
        });
        let mut buffer = vec![0; 256 * 1024];
        let mut received = 0;
        for pause in 1.. {
            while received < pause * GIB / 8 {
                let bytes = client.receive_some(&mut buffer);
                if bytes == 0 {
                    break;
                }
                received += bytes as u64;
            }
            if received >= GIB {
                break;
            }
            let ahead = wait_until_it_stops(&sent) - received;
            assert!(
                ahead < on_the_way_bytes_max(),
                "{ahead} bytes are on their way"
            );
            let resident_kib = balancer.process().resident_kib();
            grown_kib = grown_kib.max(resident_kib.saturating_sub(before_kib));
        }
        assert_eq!(received, GIB);
    });
    client.expect_end(End::Fin);
    assert!(
        grown_kib < GROWTH_KIB_MAX,
        "memory has grown by {grown_kib} KiB"
    );
    client.finish();
    accepted.expect_end(End::Fin);
}

#[test]
fn a_hundred_readers_that_stall_cost_little_memory_and_other_sessions_nothing() {
    let server = Server::listen();
    let balancer = Balancer::start(&Config::to([server.address()]).process("workers = 1"));
    let (canary, canary_server) = (balancer.connect(), server.accept());
    let before_kib = balancer.process().resident_kib();
    let stalled: Vec<_> = (0..100)
        .map(|_| {
            let client = support::slow_client(&balancer);
            let accepted = server.accept();
            fill(&accepted);
            (client, accepted)
        })
        .collect();
    let grown_kib = balancer.process().resident_kib().saturating_sub(before_kib);
    assert!(grown_kib < 100 * 128, "memory has grown by {grown_kib} KiB");
    for _ in 0..20 {
        canary.send("still there?");
        canary_server.expect("still there?");
    }
    for (client, accepted) in stalled {
        client.reset();
        accepted.reset();
    }
}

#[test]
fn both_directions_stall_and_resume_by_themselves() {
    let server = support::slow_server();
    let balancer = Balancer::start(&Config::to([server.address()]));
    let client = support::slow_client(&balancer);
    let accepted = server.accept();
    const BYTES: u64 = BOTH_WAYS_BYTES;
    let chunks = || support::Chunks::new(7, 16 * 1024);
    thread::scope(|scope| {
        let upload = scope.spawn(|| send_tape(&client, &mut Tape::new(1), BYTES, &mut chunks()));
        let download =
            scope.spawn(|| send_tape(&accepted, &mut Tape::new(2), BYTES, &mut chunks()));
        // Neither side reads before both are stuck.
        thread::sleep(Duration::from_millis(100));
        assert!(!upload.is_finished() && !download.is_finished());
        scope.spawn(|| receive_tape(&accepted, &mut Tape::new(1), BYTES, &mut chunks()));
        receive_tape(&client, &mut Tape::new(2), BYTES, &mut chunks());
    });
    client.finish();
    accepted.expect_end(End::Fin);
    accepted.finish();
    client.expect_end(End::Fin);
}

/// `sender` sends until it is stuck, because `reader` does not read; then it does.
fn stalls_and_resumes(balancer: &Balancer, sender: &Peer, reader: &Peer) {
    let before_kib = balancer.process().resident_kib();
    let sent = sender.send_until_stuck(Duration::from_millis(500)) as u64;
    assert!(
        sent < on_the_way_bytes_max(),
        "{sent} bytes were taken from the sender"
    );
    let grown_kib = balancer.process().resident_kib().saturating_sub(before_kib);
    assert!(
        grown_kib < GROWTH_KIB_MAX,
        "memory has grown by {grown_kib} KiB"
    );
    let metrics = balancer.metrics();
    let held =
        metrics.sum("ringway_bytes_received_total", &[]) - metrics.sum("ringway_bytes_total", &[]);
    assert!(
        held <= 512.0 * 1024.0,
        "the balancer itself holds {held} bytes"
    );
    sender.finish();
    let (received, end) = reader.receive_rest();
    assert_eq!((received.len() as u64, end), (sent, End::Fin));
    reader.finish();
    sender.expect_end(End::Fin);
}

/// What a sender has come to when it makes no progress any more.
fn wait_until_it_stops(sent: &AtomicU64) -> u64 {
    let mut last = sent.load(Ordering::SeqCst);
    loop {
        thread::sleep(Duration::from_millis(200));
        let now = sent.load(Ordering::SeqCst);
        if now == last {
            return now;
        }
        last = now;
    }
}

/// Sends what is taken at once.
fn fill(peer: &Peer) {
    peer.socket().set_nonblocking(true).unwrap();
    let chunk = [b'f'; 64 * 1024];
    while (&mut peer.socket()).write(&chunk).is_ok() {}
    peer.socket().set_nonblocking(false).unwrap();
}
