//! The end of one direction is not the end of the other, and no byte before it is lost.

mod support;

use std::thread;
use std::time::Duration;

use support::{Balancer, Config, End, Peer, Server, Tape, until};

/// More than fits into any buffer between the peers, with the small ones that tests set.
const MANY_BYTES: usize = 8 << 20;

#[test]
fn answer_arrives_whole_after_the_client_has_finished() {
    let server = Server::listen();
    let balancer = Balancer::start(&Config::to([server.address()]));
    let (client, accepted) = balancer.session_at(&server);
    client.send("request");
    client.finish();
    accepted.expect("request");
    accepted.expect_end(End::Fin);
    let answer = Tape::new(1).slice(0, MANY_BYTES);
    thread::scope(|scope| {
        scope.spawn(|| {
            accepted.send(&answer);
            accepted.finish();
        });
        client.expect(&answer);
        client.expect_end(End::Fin);
    });
    balancer.wait_closed("client", "finished", 1);
}

#[test]
fn what_the_client_still_sends_arrives_whole_after_the_server_has_finished() {
    let server = Server::listen();
    let balancer = Balancer::start(&Config::to([server.address()]));
    let (client, accepted) = balancer.session_at(&server);
    accepted.send("greeting");
    accepted.finish();
    client.expect("greeting");
    client.expect_end(End::Fin);
    let upload = Tape::new(2).slice(0, MANY_BYTES);
    thread::scope(|scope| {
        scope.spawn(|| {
            client.send(&upload);
            client.finish();
        });
        accepted.expect(&upload);
        accepted.expect_end(End::Fin);
    });
    balancer.wait_closed("server", "finished", 1);
}

#[test]
fn each_side_goes_on_in_small_steps_after_the_other_has_finished() {
    let server = Server::listen();
    let balancer = Balancer::start(&Config::to([server.address()]));
    let (client, accepted) = balancer.session_at(&server);
    client.finish();
    accepted.expect_end(End::Fin);
    for step in 0..50 {
        let line = format!("line {step}");
        accepted.send(&line);
        client.expect(&line);
    }
    accepted.finish();
    client.expect_end(End::Fin);
}

#[test]
fn an_answer_that_takes_its_time_still_arrives() {
    let server = Server::listen();
    let balancer = Balancer::start(&Config::to([server.address()]));
    let (client, accepted) = balancer.session_at(&server);
    client.send("question");
    client.finish();
    accepted.expect("question");
    accepted.expect_end(End::Fin);
    // Long enough for the balancer to watch whether the client is still there.
    thread::sleep(Duration::from_millis(1500));
    accepted.send("answer");
    client.expect("answer");
    thread::sleep(Duration::from_millis(1500));
    accepted.send("afterthought");
    accepted.finish();
    assert_eq!(client.receive_rest(), (b"afterthought".to_vec(), End::Fin));
    balancer.wait_closed("client", "finished", 1);
}

#[test]
fn readers_that_have_finished_and_stall_cost_nothing() {
    const READERS: usize = 8;
    // Large pieces are spliced, small ones copied.
    for (piece, pause_us) in [(64 * 1024, 0), (1000, 100)] {
        let server = Server::listen();
        let balancer = Balancer::start(&Config::to([server.address()]));
        let process = balancer.process();
        let threads = process.threads();
        let pairs = [(); READERS].map(|()| {
            let client = support::slow_client(&balancer);
            (client, server.accept())
        });
        let fill = |accepted: &Peer| {
            let (pause, patience) = (Duration::from_micros(pause_us), Duration::from_millis(300));
            accepted.send_pieces_until_stuck(piece, pause, patience)
        };
        let sent = thread::scope(|scope| {
            let fills = pairs
                .each_ref()
                .map(|(_, accepted)| scope.spawn(|| fill(accepted)));
            fills.map(|fill| fill.join().unwrap())
        });
        for (client, accepted) in &pairs {
            client.finish();
            accepted.expect_end(End::Fin);
        }
        let before = process.cpu();
        thread::sleep(Duration::from_secs(1));
        let used = process.cpu().saturating_sub(before);
        assert!(used < Duration::from_millis(50), "{used:?} in one second");
        // A send that was in flight may have got a thread of the ring's. They end when they have
        // been idle, all but one for each of two rings; one that is blocked would not.
        until("no thread is blocked", || process.threads() <= threads + 2);

        for ((client, accepted), sent) in pairs.into_iter().zip(sent) {
            accepted.finish();
            let (received, end) = client.receive_rest();
            assert_eq!((received.len(), end), (sent, End::Fin));
        }
    }
}

#[test]
fn both_sides_finish_at_the_same_time_and_lose_nothing() {
    let server = Server::listen();
    let balancer = Balancer::start(&Config::to([server.address()]));
    for round in 0..50 {
        let (client, accepted) = balancer.session_at(&server);
        thread::scope(|scope| {
            scope.spawn(|| {
                client.send(format!("question {round}"));
                client.finish();
            });
            accepted.send(format!("answer {round}"));
            accepted.finish();
        });
        assert_eq!(
            client.receive_rest(),
            (format!("answer {round}").into_bytes(), End::Fin)
        );
        assert_eq!(
            accepted.receive_rest(),
            (format!("question {round}").into_bytes(), End::Fin)
        );
    }
    balancer.wait_for("50 ended", |metrics| {
        metrics.closed("client", "finished") + metrics.closed("server", "finished") == 50.0
    });
}

#[test]
fn bytes_in_the_same_segment_as_the_fin_arrive_before_it() {
    let server = Server::listen();
    let balancer = Balancer::start(&Config::to([server.address()]));
    let (client, accepted) = balancer.session_at(&server);
    // Corked bytes wait for the FIN, which then carries them.
    client.socket().set_tcp_cork(true).unwrap();
    client.send("question");
    client.finish();
    assert_eq!(accepted.receive_rest(), (b"question".to_vec(), End::Fin));
    accepted.socket().set_tcp_cork(true).unwrap();
    accepted.send("answer");
    accepted.finish();
    assert_eq!(client.receive_rest(), (b"answer".to_vec(), End::Fin));
}

#[test]
fn bytes_that_wait_for_a_slow_server_arrive_before_the_clients_fin() {
    let server = support::slow_server();
    let balancer = Balancer::start(&Config::to([server.address()]));
    let (client, accepted) = balancer.session_at(&server);
    // The client is done before the server has read anything.
    let sent = client.send_until_stuck(Duration::from_millis(300));
    client.finish();
    let (received, end) = accepted.receive_rest();
    assert_eq!((received.len(), end), (sent, End::Fin));
    accepted.finish();
    client.expect_end(End::Fin);
}

#[test]
fn bytes_that_wait_for_a_slow_client_arrive_before_the_servers_fin() {
    let server = Server::listen();
    let balancer = Balancer::start(&Config::to([server.address()]));
    let client = support::slow_client(&balancer);
    let accepted = server.accept();
    let sent = accepted.send_until_stuck(Duration::from_millis(300));
    accepted.finish();
    let (received, end) = client.receive_rest();
    assert_eq!((received.len(), end), (sent, End::Fin));
    client.finish();
    accepted.expect_end(End::Fin);
}

#[test]
fn a_connection_without_a_byte_is_passed_on_and_ended_like_any_other() {
    let server = Server::listen();
    let balancer = Balancer::start(&Config::to([server.address()]));
    let client = balancer.connect();
    client.finish();
    let accepted = server.accept();
    accepted.expect_end(End::Fin);
    accepted.finish();
    client.expect_end(End::Fin);
}

#[test]
fn a_half_closed_session_without_progress_ends_after_half_close_timeout() {
    let server = Server::listen();
    let config = Config::to([server.address()]).pool("half_close_timeout = \"300ms\"");
    let balancer = Balancer::start(&config);
    let (client, accepted) = balancer.session_at(&server);
    client.finish();
    accepted.expect_end(End::Fin);
    // The server never finishes; it learns that nobody is there any more by being closed.
    balancer.wait_closed("ringway", "half_close_timeout", 1);
    client.receive_rest();
}

#[test]
fn a_session_half_closed_by_the_server_ends_after_half_close_timeout_too() {
    let server = Server::listen();
    let config = Config::to([server.address()]).pool("half_close_timeout = \"300ms\"");
    let balancer = Balancer::start(&config);
    let (client, accepted) = balancer.session_at(&server);
    accepted.finish();
    client.expect_end(End::Fin);
    balancer.wait_closed("ringway", "half_close_timeout", 1);
    accepted.receive_rest();
}

#[test]
fn half_close_timeout_counts_from_the_last_progress() {
    let server = Server::listen();
    let config = Config::to([server.address()]).pool("half_close_timeout = \"1s\"");
    let balancer = Balancer::start(&config);
    let (client, accepted) = balancer.session_at(&server);
    client.finish();
    accepted.expect_end(End::Fin);
    // Three times as long as the timeout, with progress in between.
    for _ in 0..15 {
        thread::sleep(Duration::from_millis(200));
        accepted.send("still here");
        client.expect("still here");
    }
    assert_eq!(
        balancer.metrics().closed("ringway", "half_close_timeout"),
        0.0
    );
    accepted.finish();
    client.expect_end(End::Fin);
}
