//! Active checks over TLS: a server is up when the traffic could use it.

mod support;

use std::fs;

use support::{Authority, Balancer, Config, Nginx, Site, curl, until};

const SITE: &str = "site.example";

/// Every 50 ms.
fn checked(config: Config, kind: &str) -> Config {
    config
        .health_check(&format!("type = \"{kind}\""))
        .health_check("interval = \"50ms\"")
        .health_check("timeout = \"5s\"")
        .health_check("rise = 2")
        .health_check("fall = 2")
}

fn is_up(balancer: &Balancer, server: &str) -> bool {
    let metrics = balancer.metrics();
    metrics.sum("ringway_server_up", &[("server", server)]) == 1.0
}

/// Waits until so many checks have passed, more than before.
fn pass(balancer: &Balancer, server: &str) {
    let of = [("server", server), ("result", "passed")];
    let passed = |b: &Balancer| b.metrics().sum("ringway_health_checks_total", &of);
    let before = passed(balancer);
    until("two more checks pass", || passed(balancer) >= before + 2.0);
}

/// A process that checks its servers every 50 ms is not idle: checks are spaced out before the end.
fn stop_checks(balancer: &mut Balancer) {
    let slow = Config::clone(balancer.config()).health_check("interval = \"1h\"");
    balancer.reload(&slow);
}

#[test]
fn a_server_whose_certificate_nobody_trusted_has_signed_is_down_until_somebody_has() {
    for kind in ["http", "tcp"] {
        let (authority, stranger) = (Authority::new(), Authority::new());
        let (ours, theirs) = (authority.issue(&[SITE]), stranger.issue(&[SITE]));
        let nginx = Nginx::with(&[Site::Tls(&ours), Site::Tls(&theirs)]);
        let config = Config::to(nginx.addresses()).verify(&authority, SITE);
        let mut balancer = Balancer::start(&checked(config, kind));
        until("s1 is down", || !is_up(&balancer, "s1"));
        balancer.wait_for_log("TLS failed: the peer's certificate is not accepted: ");
        let log = balancer.log();
        let down = log.lines().find(|line| line.contains("server is down"));
        let down = down.unwrap_or_else(|| panic!("a record of it: {log}"));
        assert!(down.contains("TLS failed"), "{down}");
        pass(&balancer, "s0");
        assert!(is_up(&balancer, "s0"));
        for _ in 0..4 {
            let answer = curl(&format!("http://{}/", balancer.address()));
            assert!(answer.starts_with(b"s0"), "who is down gets nobody");
        }

        // Checks go by what the newest configuration trusts.
        let both = authority.directory().join("both.pem");
        let files = [authority.file(), stranger.file()];
        let texts = files.map(|file| fs::read_to_string(file).unwrap());
        fs::write(&both, texts.concat()).unwrap();
        let trusting = balancer.config().clone();
        let trusting = trusting.pool_tls(&format!("ca_file = {both:?}"));
        balancer.reload(&trusting);
        until("s1 is up", || is_up(&balancer, "s1"));
        stop_checks(&mut balancer);
    }
}

#[test]
fn a_server_without_tls_fails_its_check_unless_that_is_to_be_plain() {
    let nginx = Nginx::start(1);
    let config = Config::to(nginx.addresses()).pool_tls("mode = \"insecure\"");
    let config = checked(config, "http");
    let mut balancer = Balancer::start(&config);
    until("s0 is down", || !is_up(&balancer, "s0"));
    balancer.wait_for_log("TLS failed: the peer does not speak TLS");
    balancer.reload(&config.health_check("tls = false"));
    until("s0 is up", || is_up(&balancer, "s0"));
    stop_checks(&mut balancer);
}

#[test]
fn a_check_at_a_port_of_its_own_is_plain_unless_it_is_to_be_over_tls() {
    let authority = Authority::new();
    let identity = authority.issue(&[SITE]);
    let nginx = Nginx::with(&[Site::Tls(&identity), Site::Plain]);
    let [traffic, status] = nginx.addresses()[..] else {
        panic!("two servers");
    };
    let config = Config::to([traffic]).verify(&authority, SITE);
    let config = checked(config, "http").health_check(&format!("port = {}", status.port()));
    let mut balancer = Balancer::start(&config);
    pass(&balancer, "s0");
    assert!(is_up(&balancer, "s0"));
    balancer.reload(&config.health_check("tls = true"));
    until("s0 is down", || !is_up(&balancer, "s0"));
    balancer.wait_for_log("TLS failed: the peer does not speak TLS");
    stop_checks(&mut balancer);
}
