//! The real ring: bursts, overflow, an empty pool, batches.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;

use super::*;
use crate::limits::{BUFFER_BYTES, BUFFERS_OFFERED_AT_FIRST};
use crate::worker::token::Op;

/// A ring whose queues hold this many entries.
fn ring(submissions: u32, completions: u32) -> Uring {
    let features = probing::features().expect("the test machine has io_uring");
    let ring = build(features.no_sqarray, submissions, completions).unwrap();
    Uring::over(ring, features, Share::default(), Instant::now(), -1).unwrap()
}

fn token(op: Op, slot: usize) -> Token {
    Token::new(op, 0, 1, slot as u32)
}

/// Turns until `count` operations have had their last completion.
fn collect(ring: &mut Uring, count: usize) -> Vec<Completion> {
    let mut all = Vec::new();
    let patience = Instant::now() + Duration::from_secs(10);
    while all.iter().filter(|c: &&Completion| !c.more).count() < count {
        assert!(
            Instant::now() < patience,
            "{} of {count} completed",
            all.len()
        );
        ring.turn(Some(Duration::from_secs(1)), None, &mut all)
            .unwrap();
    }
    all
}

fn pairs(count: usize) -> (Vec<UnixStream>, Vec<UnixStream>) {
    let pair = || {
        let (ours, theirs) = UnixStream::pair().unwrap();
        ours.set_nonblocking(true).unwrap();
        (ours, theirs)
    };
    std::iter::repeat_with(pair).take(count).unzip()
}

fn readable_pairs(count: usize) -> (Vec<UnixStream>, Vec<UnixStream>) {
    let (ours, mut theirs) = pairs(count);
    for socket in &mut theirs {
        socket.write_all(b"!").unwrap();
    }
    (ours, theirs)
}

/// Waits for each socket to be readable, in the slot of its index.
fn poll_each(ring: &mut Uring, sockets: &[UnixStream]) {
    for (slot, socket) in sockets.iter().enumerate() {
        let socket = Fd(socket.as_raw_fd());
        ring.poll(socket, Interest::Read, token(Op::Readable, slot));
    }
}

#[test]
fn a_burst_beyond_the_submission_queue_is_submitted_whole() {
    let mut ring = ring(8, 1024);
    let (ours, theirs) = readable_pairs(100);
    poll_each(&mut ring, &ours);
    let mut slots: Vec<_> = collect(&mut ring, 100)
        .iter()
        .map(|c| c.token.slot() as usize)
        .collect();
    slots.sort_unstable();
    assert_eq!(slots, (0..100).collect::<Vec<_>>());
    assert_eq!(ring.in_flight(), 0);
    drop(theirs);
}

/// Waits until a thread of this process sleeps.
fn until_asleep(thread: nix::unistd::Pid) {
    let stat = format!("/proc/self/task/{thread}/stat");
    let state = || std::fs::read_to_string(&stat).unwrap();
    while !state().contains(") S ") {
        std::thread::yield_now();
    }
}

/// What one turn brings that waits for a batch, while another thread sends to `late` as soon as
/// this one sleeps.
fn turn_while(
    ring: &mut Uring,
    limit: Option<Duration>,
    batch: Batch,
    late: &mut UnixStream,
) -> usize {
    let waiter = nix::unistd::gettid();
    let mut completions = Vec::new();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            until_asleep(waiter);
            late.write_all(b"!").unwrap();
        });
        ring.turn(limit, Some(batch), &mut completions).unwrap();
    });
    completions.len()
}

#[test]
fn a_batch_is_waited_for_besides_the_sends() {
    let mut ring = ring(64, 64);
    let batch = Batch {
        completions: 2,
        within_us: 30_000_000,
    };
    let (ours, mut theirs) = pairs(2);
    theirs[0].write_all(b"!").unwrap();
    poll_each(&mut ring, &ours);
    let buffer = ring.take_buffer().unwrap();
    let chunk = Chunk {
        buffer,
        start: 0,
        end: 10,
    };
    ring.send(Fd(ours[0].as_raw_fd()), chunk, token(Op::Send, 0));
    // What a kernel that cannot wait for it brings is complete when it has been submitted.
    let at_least = if ring.can_batch() { 3 } else { 2 };
    let brought = turn_while(&mut ring, None, batch, &mut theirs[1]);
    assert!(brought >= at_least, "{brought} completions");
}

#[test]
fn a_batch_that_does_not_come_together_is_not_waited_for_in_vain() {
    let mut ring = ring(64, 64);
    let batch = Batch {
        completions: 2,
        within_us: 500,
    };
    let (ours, mut theirs) = pairs(1);
    let socket = Fd(ours[0].as_raw_fd());
    // Before the time of the batch is up, or after: one is enough then.
    for slot in 0..20 {
        ring.poll(socket, Interest::Read, token(Op::Readable, slot));
        let started = Instant::now();
        let limit = [Some(Duration::from_secs(60)), None][slot % 2];
        let brought = turn_while(&mut ring, limit, batch, &mut theirs[0]);
        assert_eq!(brought, 1);
        assert!(started.elapsed() < Duration::from_secs(30), "it waited on");
        (&ours[0]).read_exact(&mut [0]).unwrap();
    }
}

#[test]
fn a_limit_before_the_time_of_a_batch_is_kept() {
    let mut ring = ring(64, 64);
    let batch = Batch {
        completions: 2,
        within_us: 60_000_000,
    };
    let started = Instant::now();
    let mut completions = Vec::new();
    let limit = Some(Duration::from_millis(1));
    ring.turn(limit, Some(batch), &mut completions).unwrap();
    assert!(completions.is_empty());
    assert!(started.elapsed() < Duration::from_secs(30), "it waited on");
}

#[test]
fn completions_that_overflow_the_queue_are_late_and_not_lost() {
    let mut ring = ring(256, 256);
    // Readable at once, so each completes as it is submitted, 256 of them before the last turn.
    let (ours, _theirs) = readable_pairs(400);
    poll_each(&mut ring, &ours);
    let completions = collect(&mut ring, 400);
    assert_eq!(completions.len(), 400);
    assert!(
        ring.take_overflow(),
        "400 completions do not fit into 256 entries"
    );
    assert_eq!(ring.in_flight(), 0);
}

#[test]
fn a_receive_that_finds_no_buffer_ends_and_its_bytes_stay_in_the_socket() {
    let mut ring = ring(1024, 4096);
    let count = BUFFERS_OFFERED_AT_FIRST + 50;
    let (ours, mut theirs) = pairs(count);
    for socket in &mut theirs {
        socket.write_all(b"hello").unwrap();
        socket.shutdown(std::net::Shutdown::Write).unwrap();
    }
    let arm = |ring: &mut Uring, slot: usize| {
        let fd = Fd(ours[slot].as_raw_fd());
        ring.receive(fd, Receiving::AT_ONCE, token(Op::Receive, slot));
    };
    (0..count).for_each(|slot| arm(&mut ring, slot));
    let (mut starved, mut bytes) = (0, 0);
    let mut left = count;
    while left > 0 {
        for completion in collect(&mut ring, 1) {
            if let Some(buffer) = completion.buffer {
                ring.release(buffer);
            }
            bytes += completion.result.max(0);
            match completion.result {
                result if result == -libc::ENOBUFS => {
                    starved += 1;
                    arm(&mut ring, completion.token.slot() as usize);
                }
                0 => left -= 1,
                _ if !completion.more => arm(&mut ring, completion.token.slot() as usize),
                _ => {}
            }
        }
    }
    assert!(starved > 0, "fewer buffers than sockets were offered");
    assert_eq!(bytes as usize, 5 * count, "every byte arrives, once");
}

#[test]
fn a_receive_brings_no_more_than_its_cap() {
    let mut ring = ring(64, 256);
    let (ours, mut theirs) = pairs(1);
    theirs[0].set_nonblocking(true).unwrap();
    let written = theirs[0]
        .write(&vec![7; 4 * RECEIVE_CAP_BYTES as usize])
        .unwrap();
    assert!(written > RECEIVE_CAP_BYTES as usize);
    ring.receive(
        Fd(ours[0].as_raw_fd()),
        Receiving::AT_ONCE,
        token(Op::Receive, 0),
    );
    let received: i32 = collect(&mut ring, 1).iter().map(|c| c.result).sum();
    assert!((1..=(RECEIVE_CAP_BYTES + BUFFER_BYTES) as i32).contains(&received));
}

#[test]
fn a_ring_that_is_dropped_with_operations_in_flight_leaves_the_sockets_alone() {
    let (ours, mut theirs) = pairs(3);
    let mut ring = ring(64, 256);
    for (slot, socket) in ours.iter().enumerate() {
        let later = Receiving {
            expect_data: false,
            ..Receiving::AT_ONCE
        };
        ring.receive(Fd(socket.as_raw_fd()), later, token(Op::Receive, slot));
    }
    let mut none = Vec::new();
    ring.turn(Some(Duration::ZERO), None, &mut none).unwrap();
    drop(ring);
    theirs[0].write_all(b"still here").unwrap();
    let mut text = [0; 10];
    (&ours[0]).read_exact(&mut text).unwrap();
    assert_eq!(&text, b"still here");
}
