//! The admin port over real connections.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use std::future::Future;

use tokio::sync::oneshot;

use super::super::{Lifecycle, testing};
use super::*;

/// Serves a registry whose workers turn all the time, while `test` asks from another thread.
fn serving(registry: Rc<RefCell<Registry>>, test: impl FnOnce(SocketAddr) + Send + 'static) {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    tokio_uring::start(async {
        let server = tokio_uring::spawn(serve(Rc::clone(&registry), listener));
        let (done, ended) = oneshot::channel();
        let asking = std::thread::spawn(move || {
            test(address);
            done.send(())
        });
        let turning = async {
            loop {
                let shared = Arc::clone(&registry.borrow().shared);
                for worker in shared.workers() {
                    worker.counters.turns.add(1);
                    worker.counters.last_turn_ms.set(shared.now_ms());
                }
                sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::pin!(turning, ended);
        std::future::poll_fn(|cx| {
            assert!(turning.as_mut().poll(cx).is_pending());
            ended.as_mut().poll(cx).map(drop)
        })
        .await;
        server.abort();
        asking
            .join()
            .expect("the test passes")
            .expect("somebody waits for it");
    });
}

/// Sends a request and reads until the connection is closed.
fn exchange(address: SocketAddr, request: &str) -> String {
    let mut client = TcpStream::connect(address).unwrap();
    client
        .set_read_timeout(Some(Duration::from_secs(15)))
        .unwrap();
    client.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    let _ = client.read_to_string(&mut answer);
    answer
}

fn ask(address: SocketAddr, method: &str, path: &str) -> (u16, String, String) {
    let close = "Host: localhost\r\nConnection: close\r\n\r\n";
    let answer = exchange(address, &format!("{method} {path} HTTP/1.1\r\n{close}"));
    let (head, body) = answer
        .split_once("\r\n\r\n")
        .expect("an answer with a head");
    (
        head[9..12].parse().unwrap(),
        head.to_lowercase(),
        body.to_owned(),
    )
}

#[test]
fn every_path_answers_as_documented() {
    serving(testing::busy_registry(), |address| {
        for (path, content_type, body) in [
            ("/", "text/html", "<title>ringway</title>"),
            ("/dashboard.css", "text/css", ":root"),
            ("/dashboard.js", "text/javascript", "'use strict'"),
            ("/metrics", "text/plain; version=0.0.4", "ringway_ready 1\n"),
            (
                "/api/status",
                "application/json",
                "\"lifecycle\":\"running\"",
            ),
            ("/ready", "text/plain", "ready\n"),
            ("/live", "text/plain", "alive\n"),
        ] {
            let (status, head, answer) = ask(address, "GET", path);
            assert_eq!(status, 200, "{path}");
            assert!(
                head.contains(&format!("content-type: {content_type}")),
                "{path}: {head}"
            );
            assert!(
                head.contains("content-security-policy: default-src 'none'"),
                "{path}: {head}"
            );
            assert!(answer.contains(body), "{path}: {answer}");
            let (status, head, answer) = ask(address, "HEAD", path);
            assert_eq!((status, answer.as_str()), (200, ""), "HEAD {path}");
            assert!(head.contains("content-length: "), "{head}");
        }
        assert_eq!(ask(address, "GET", "/nowhere").0, 404);
        let (status, head, _) = ask(address, "POST", "/metrics");
        assert_eq!(status, 405);
        assert!(head.contains("allow: get, head"), "{head}");
    });
}

#[test]
fn a_process_that_shuts_down_is_alive_and_not_ready() {
    let registry = testing::registry();
    registry.borrow_mut().lifecycle = Lifecycle::Leaving;
    serving(registry, |address| {
        let (status, _, body) = ask(address, "GET", "/ready");
        assert_eq!((status, body.as_str()), (503, "not ready\nshutting down\n"));
        assert_eq!(ask(address, "GET", "/live").0, 200);
        assert!(
            ask(address, "GET", "/metrics")
                .2
                .contains("\nringway_ready 0\n")
        );
    });
}

#[test]
fn a_request_that_is_too_long_is_refused() {
    serving(testing::registry(), |address| {
        let long = "x".repeat(2 * ADMIN_REQUEST_BYTES);
        let answer = exchange(
            address,
            &format!("GET / HTTP/1.1\r\nHost: localhost\r\nA: {long}\r\n\r\n"),
        );
        assert!(
            answer.is_empty() || answer.starts_with("HTTP/1.1 431"),
            "{answer}"
        );
        assert_eq!(ask(address, "GET", "/ready").0, 200);
    });
}

#[test]
fn clients_that_send_nothing_are_shown_out_and_others_get_their_turn() {
    serving(testing::registry(), |address| {
        let idle: Vec<_> = (0..ADMIN_CONNECTIONS)
            .map(|_| TcpStream::connect(address).unwrap())
            .collect();
        let started = Instant::now();
        assert_eq!(ask(address, "GET", "/ready").0, 200);
        let waited = started.elapsed();
        assert!(
            waited < ADMIN_REQUEST_TIMEOUT + Duration::from_secs(3),
            "{waited:?}"
        );
        drop(idle);
    });
}
