//! A reset is passed on as a reset, after every byte that came before it.

mod support;

use std::thread;

use support::{Balancer, Config, End, Server, Service, Tape, until};

#[test]
fn a_reset_by_the_server_reaches_the_client_after_all_bytes() {
    let server = Server::listen();
    let balancer = Balancer::start(&Config::to([server.address()]));
    for round in 0..20 {
        let (client, accepted) = balancer.session_at(&server);
        // Read by the balancer before the reset, which would take unread bytes with it.
        let answer = Tape::new(round).slice(0, 50_000);
        accepted.send(&answer);
        wait_until_received(&balancer, "out", 50_000 * (round + 1));
        accepted.reset();
        assert!(
            client.receive_rest() == (answer, End::Reset),
            "round {round}"
        );
    }
    balancer.wait_closed("server", "reset", 20);
}

#[test]
fn a_reset_by_the_client_reaches_the_server_after_all_bytes() {
    let server = Server::listen();
    let balancer = Balancer::start(&Config::to([server.address()]));
    for round in 0..20 {
        let (client, accepted) = balancer.session_at(&server);
        let upload = Tape::new(round).slice(0, 50_000);
        client.send(&upload);
        wait_until_received(&balancer, "in", 50_000 * (round + 1));
        client.reset();
        assert!(
            accepted.receive_rest() == (upload, End::Reset),
            "round {round}"
        );
    }
    balancer.wait_closed("client", "reset", 20);
}

#[test]
fn a_reset_in_the_same_moment_as_a_question_ends_the_session_when_it_is_answered() {
    let server = Service::echo();
    let balancer = Balancer::start(&Config::to([server.address()]).process("workers = 1"));
    for _ in 0..50 {
        let client = balancer.connect();
        client.send("question");
        client.reset();
    }
    balancer.wait_closed("client", "reset", 50);
}

#[test]
fn a_reset_in_the_same_moment_as_a_question_is_noticed_when_nobody_answers() {
    let server = Server::listen();
    let balancer = Balancer::start(&Config::to([server.address()]));
    let silent: Vec<_> = (0..100)
        .map(|_| {
            let (client, accepted) = balancer.session_at(&server);
            client.send("anybody there?");
            client.reset();
            accepted
        })
        .collect();
    for accepted in silent {
        assert_eq!(
            accepted.receive_rest(),
            (b"anybody there?".to_vec(), End::Reset)
        );
    }
    balancer.wait_closed("client", "reset", 100);
}

#[test]
fn an_idle_connection_that_is_reset_resets_the_other_side() {
    let server = Server::listen();
    let balancer = Balancer::start(&Config::to([server.address()]));
    // A byte each time, or the balancer may still be connecting.
    let pair = || {
        let (client, accepted) = (balancer.connect(), server.accept());
        client.send("!");
        accepted.expect("!");
        (client, accepted)
    };
    let (client, accepted) = pair();
    accepted.reset();
    client.expect_end(End::Reset);
    let (client, accepted) = pair();
    client.reset();
    accepted.expect_end(End::Reset);
    balancer.wait_closed("server", "reset", 1);
    balancer.wait_closed("client", "reset", 1);
}

#[test]
fn a_client_that_reads_late_gets_all_bytes_before_the_servers_reset() {
    let server = Server::listen();
    let config = Config::to([server.address()]).pool("reset_linger = \"15s\"");
    let balancer = Balancer::start(&config);
    let client = support::slow_client(&balancer);
    let accepted = server.accept();
    // More than the client's window takes, less than the balancer reads at a time.
    let answer = Tape::new(3).slice(0, 30_000);
    accepted.send(&answer);
    wait_until_received(&balancer, "out", 30_000);
    accepted.reset();
    // The balancer has noticed before the client begins to read.
    until("the server's connection is gone", || {
        let established = format!("ss -Htn state established dst {}", server.address());
        support::run(&established).trim().is_empty()
    });
    assert!(client.receive_rest() == (answer, End::Reset));
    balancer.wait_closed("server", "reset", 1);
}

#[test]
fn a_client_that_does_not_read_is_reset_after_reset_linger() {
    let server = Server::listen();
    let config = Config::to([server.address()]).pool("reset_linger = \"200ms\"");
    let balancer = Balancer::start(&config);
    let client = support::slow_client(&balancer);
    let accepted = server.accept();
    accepted.send(Tape::new(4).slice(0, 30_000));
    wait_until_received(&balancer, "out", 30_000);
    accepted.reset();
    balancer.wait_closed("server", "reset", 1);
    let (received, end) = client.receive_rest();
    assert_eq!(end, End::Reset);
    assert!(
        received.len() < 30_000,
        "the client was waited for beyond reset_linger"
    );
}

#[test]
fn a_client_that_resets_in_the_middle_of_a_download_resets_the_server() {
    let server = Server::listen();
    let balancer = Balancer::start(&Config::to([server.address()]));
    let (client, accepted) = balancer.session_at(&server);
    let chunk = vec![b'd'; 64 * 1024];
    thread::scope(|scope| {
        let sender = scope.spawn(|| {
            loop {
                if let Err(error) = std::io::Write::write_all(&mut accepted.socket(), &chunk) {
                    return error.kind();
                }
            }
        });
        client.receive(2 << 20);
        client.reset();
        let failure = sender.join().unwrap();
        let expected = [
            std::io::ErrorKind::ConnectionReset,
            std::io::ErrorKind::BrokenPipe,
        ];
        assert!(expected.contains(&failure), "{failure}");
    });
    balancer.wait_closed("client", "reset", 1);
}

#[test]
fn a_server_that_resets_in_the_middle_of_an_upload_resets_the_client() {
    let server = Server::listen();
    let balancer = Balancer::start(&Config::to([server.address()]));
    let (client, accepted) = balancer.session_at(&server);
    let chunk = vec![b'u'; 64 * 1024];
    thread::scope(|scope| {
        let sender = scope.spawn(|| {
            loop {
                if let Err(error) = std::io::Write::write_all(&mut client.socket(), &chunk) {
                    return error.kind();
                }
            }
        });
        accepted.receive(2 << 20);
        accepted.reset();
        let failure = sender.join().unwrap();
        let expected = [
            std::io::ErrorKind::ConnectionReset,
            std::io::ErrorKind::BrokenPipe,
        ];
        assert!(expected.contains(&failure), "{failure}");
    });
    balancer.wait_closed("server", "reset", 1);
}

#[test]
fn an_early_answer_of_a_server_that_closes_with_bytes_unread_arrives_whole() {
    let server = Server::listen();
    let balancer = Balancer::start(&Config::to([server.address()]));
    let (client, accepted) = balancer.session_at(&server);
    client.send(vec![b'u'; 200_000]);
    accepted.receive(1);
    accepted.send("413 too large");
    wait_until_received(&balancer, "out", 13);
    // Closing with bytes unread sends a reset.
    drop(accepted);
    assert_eq!(
        client.receive_rest(),
        (b"413 too large".to_vec(), End::Reset)
    );
}

#[test]
fn a_client_that_has_finished_and_then_resets_ends_the_session() {
    let server = Server::listen();
    let balancer = Balancer::start(&Config::to([server.address()]));
    let (client, accepted) = balancer.session_at(&server);
    client.send("question");
    client.finish();
    accepted.expect("question");
    accepted.expect_end(End::Fin);
    client.reset();
    // Nothing is received from a client that has finished: the balancer has to look after it.
    balancer.wait_closed("client", "reset", 1);
    until("the server is reset", || {
        std::io::Write::write(&mut accepted.socket(), b"answer").is_err()
    });
}

#[test]
fn other_connections_do_not_notice_a_reset() {
    let server = Server::listen();
    let balancer = Balancer::start(&Config::to([server.address()]).process("workers = 1"));
    let (canary, canary_server) = (balancer.connect(), server.accept());
    for _ in 0..20 {
        let (client, accepted) = (balancer.connect(), server.accept());
        client.send("x");
        accepted.expect("x");
        client.reset();
        accepted.expect_end(End::Reset);
        canary.send("alive?");
        canary_server.expect("alive?");
        canary_server.send("yes");
        canary.expect("yes");
    }
    canary.finish();
    canary_server.expect_end(End::Fin);
    canary_server.finish();
    canary.expect_end(End::Fin);
}

fn wait_until_received(balancer: &Balancer, direction: &str, bytes: u64) {
    balancer.wait_for(&format!("{bytes} bytes received {direction}"), |metrics| {
        metrics.sum("ringway_bytes_received_total", &[("direction", direction)]) == bytes as f64
    });
}
