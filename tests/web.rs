//! Real web servers and real clients: nothing is lost, nothing goes wrong.

mod support;

use std::thread;
use std::time::Duration;

use support::{Balancer, Config, Nginx, Tape, Wrk, curl};

const SHORT: Duration = Duration::from_secs(3);

#[test]
fn keep_alive_connections_to_nginx_see_no_error() {
    let nginx = Nginx::start(2);
    let balancer = Balancer::start(&Config::to(nginx.addresses()));
    Wrk::start(balancer.address(), 64, SHORT, &[])
        .finish()
        .assert_flawless();
    let metrics = balancer.metrics();
    assert_eq!(metrics.sum("ringway_connect_failures_total", &[]), 0.0);
    let shares = metrics.by("ringway_server_sessions_opened_total", "server");
    assert!((shares["s0"] - shares["s1"]).abs() <= 1.0, "{shares:?}");
}

#[test]
fn a_connection_for_every_request_to_nginx_sees_no_error() {
    let nginx = Nginx::start(2);
    let balancer = Balancer::start(&Config::to(nginx.addresses()));
    let load = Wrk::start(balancer.address(), 64, SHORT, &["Connection: close"]).finish();
    load.assert_flawless();
    let metrics = balancer.metrics();
    assert!(
        metrics.opened() >= load.requests() as f64,
        "every request has its session"
    );
    let shares = metrics.by("ringway_server_sessions_opened_total", "server");
    assert!((shares["s0"] - shares["s1"]).abs() <= 1.0, "{shares:?}");
}

#[test]
fn bodies_of_a_megabyte_in_parallel_are_what_nginx_has() {
    let nginx = Nginx::start(2);
    let body = Tape::new(31).slice(0, 1 << 20);
    nginx.add_file("body", &body);
    let balancer = Balancer::start(&Config::to(nginx.addresses()));
    let url = format!("http://{}/body", balancer.address());
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                for _ in 0..8 {
                    assert!(curl(&url) == body, "a body differs");
                }
            });
        }
    });
}
