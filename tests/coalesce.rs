//! Messages that are taken several at a time: only while many sessions wait for their servers, and
//! only if the configuration wants it.

mod support;

use support::{Balancer, Config, Peer, Server, until};

/// Sessions that ask at the same time.
const SESSIONS: usize = 8;

/// Rounds of questions after which there is no doubt that nothing is waited for.
const ROUNDS: usize = 50;

#[test]
fn many_sessions_that_wait_are_served_several_at_a_time() {
    let (balancer, sessions) = start("coalesce = true");
    until_turns_wait(&balancer, &sessions);
    // One that goes on while the others have no answer yet is served all the same.
    let (last, others) = sessions.split_last().expect("there are some");
    for (client, server) in others {
        client.send("asks");
        server.expect("asks");
    }
    for _ in 0..ROUNDS {
        last.0.send("asks");
        last.1.expect("asks");
        last.1.send("answers");
        last.0.expect("answers");
    }
    for (client, server) in others {
        server.send("answers");
        client.expect("answers");
    }
    balancer.wait_for("nobody waits when nobody has asked", |metrics| {
        metrics.sum("ringway_worker_coalescing_seconds", &[]) == 0.0
    });
}

#[test]
fn whoever_wants_every_message_at_once_gets_it() {
    let (balancer, sessions) = start("coalesce = false");
    for _ in 0..ROUNDS {
        assert_eq!(ask_and_answer(&balancer, &sessions), 0.0);
    }
}

#[test]
fn a_reload_switches_it_for_sessions_that_go_on() {
    let (mut balancer, sessions) = start("");
    until_turns_wait(&balancer, &sessions);
    let off = balancer.config().clone().process("coalesce = false");
    balancer.reload(&off);
    for _ in 0..ROUNDS {
        assert_eq!(ask_and_answer(&balancer, &sessions), 0.0);
    }
}

/// One worker with sessions, each client with its server.
fn start(line: &str) -> (Balancer, Vec<(Peer, Peer)>) {
    let server = Server::listen();
    let config = Config::to([server.address()])
        .process("workers = 1")
        .process(line);
    let balancer = Balancer::start(&config);
    let sessions = (0..SESSIONS).map(|_| balancer.session_at(&server));
    let sessions = sessions.collect();
    (balancer, sessions)
}

/// Asks and answers until a turn waits for several messages.
#[track_caller]
fn until_turns_wait(balancer: &Balancer, sessions: &[(Peer, Peer)]) {
    until("a turn that waits for several messages", || {
        ask_and_answer(balancer, sessions) > 0.0
    });
}

/// Has every client ask, and then every server answer. Returns how long, in seconds, a turn waited for
/// several messages while all were waiting.
fn ask_and_answer(balancer: &Balancer, sessions: &[(Peer, Peer)]) -> f64 {
    for (client, _) in sessions {
        client.send("asks");
    }
    for (_, server) in sessions {
        server.expect("asks");
    }
    // To look takes longer than an answer has to for a wait that is worth it.
    let waits = balancer
        .metrics()
        .sum("ringway_worker_coalescing_seconds", &[]);
    for (_, server) in sessions {
        server.send("answers");
    }
    for (client, _) in sessions {
        client.expect("answers");
    }
    waits
}
