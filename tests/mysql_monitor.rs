//! Looking after MySQL servers: checks that no server holds against the balancer, replicas that leave
//! and come back with their lag, roles that follow `read_only`.

mod support;

use std::io::Read;
use std::net::{SocketAddr, TcpStream};

use self::support::rules::{self, Monitor, follows_primary, usable};
use self::support::{
    Authority, Balancer, COUNTED, Config, MariaDb, Metrics, PRIMARY, REPLICA, SqlClient, Trio,
    in_own_network, make_counted_address, mariadb, until,
};

/// A server that counts connections which are broken off, with these options, and where it is.
fn counting(options: &[&str]) -> (MariaDb, SocketAddr) {
    let bind = format!("--bind-address={COUNTED}");
    let server = MariaDb::start(1, &[&["--max-connect-errors=3", &bind], options].concat());
    let at = format!("{COUNTED}:{}", server.address().port());
    (server, at.parse().unwrap())
}

/// A balancer for which checks of this server have passed, more than it would take to be blocked.
fn having_checked(config: Config) -> (Balancer, Config) {
    let config = config
        .listener("protocol = \"mysql\"")
        .server(0, "role = \"primary\"")
        .health_check("interval = \"100ms\"");
    let balancer = Balancer::start(&config);
    balancer.wait_for("checks that pass", |metrics| {
        checks(metrics, "passed") > 20.0
    });
    assert_eq!(checks(&balancer.metrics(), "failed"), 0.0);
    let output = mariadb(balancer.address(), "secret", &[], "SELECT 7");
    assert_eq!(output.stdout, b"7\n", "{output:?}");
    (balancer, config)
}

#[test]
fn checks_over_tls_never_get_the_balancer_blocked() {
    in_own_network(|| {
        let _names = make_counted_address();
        let authority = Authority::new();
        let identity = authority.issue(&["localhost"]);
        let [certificate, key] = identity.files();
        let (_server, at) = counting(&[
            &format!("--ssl-cert={}", certificate.display()),
            &format!("--ssl-key={}", key.display()),
        ]);
        let config = Config::to([at]).verify(&authority, "localhost");
        let (mut balancer, config) = having_checked(config);
        let detail = balancer.admin("/api/status");
        assert!(detail.contains("MySQL protocol, with TLS, "), "{detail}");
        // Ten handshakes a second are more than an idle balancer may cost.
        balancer.reload(&config.health_check("interval = \"1m\""));
    });
}

#[test]
fn checks_never_get_the_balancer_blocked_and_tell_when_somebody_else_did() {
    in_own_network(|| {
        let _names = make_counted_address();
        let (server, at) = counting(&[]);
        let (balancer, _) = having_checked(Config::to([at]));

        // Somebody at the same address who leaves after the greeting, again and again.
        until("the server has had enough of that address", || {
            let mut greeting = String::new();
            let mut rude = TcpStream::connect(at).unwrap();
            let mut bytes = [0; 256];
            let count = rude.read(&mut bytes).unwrap_or(0);
            greeting.push_str(&String::from_utf8_lossy(&bytes[..count]));
            greeting.contains("blocked")
        });
        balancer.wait_for_log("server is down");
        let log = balancer.log();
        assert!(log.contains("takes no connection: 1129"), "{log}");
        server.sql("FLUSH HOSTS");
        balancer.wait_for_log("server is up");
    });
}

fn checks(metrics: &Metrics, result: &str) -> f64 {
    metrics.sum("ringway_health_checks_total", &[("result", result)])
}

#[test]
fn a_replica_is_not_read_while_it_lags_stands_still_or_is_refused_by_its_primary() {
    let pair = MariaDb::pair(&[]);
    let monitor = Monitor::of(&pair);
    let balancer = rules::a_replica_is_not_read_while_it_lags_or_stands_still(&pair, &monitor);
    let mut session = SqlClient::connect(balancer.address());
    assert_eq!(session.reads_at(), REPLICA);
    // It asks for what its primary has never had: error 1236.
    let replica = &pair.replica;
    let position = replica.sql("SELECT @@gtid_slave_pos");
    replica.sql("STOP SLAVE; SET GLOBAL gtid_slave_pos = '0-1-99999999'; START SLAVE");
    until("the primary has refused it", || {
        replica.sql("SHOW SLAVE STATUS").contains("1236")
    });
    balancer.wait_for("a replica that is not read", |m| usable(m) == 0.0);
    assert_eq!(session.reads_at(), PRIMARY);
    let position = position.trim();
    replica.sql(&format!(
        "STOP SLAVE; SET GLOBAL gtid_slave_pos = '{position}'; START SLAVE"
    ));
    balancer.wait_for("a replica that is read again", |m| usable(m) == 1.0);
    assert_eq!(session.reads_at(), REPLICA);
}

#[test]
fn a_replica_that_lost_its_primary_is_read_while_there_is_none() {
    let mut pair = MariaDb::pair(&[]);
    let monitor = Monitor::of(&pair);
    let mut balancer = Balancer::start(&monitor.watching_lag(&pair));
    balancer.wait_for("a replica that is read", |m| usable(m) == 1.0);
    pair.primary.kill();
    balancer.wait_for_log("server is down");
    balancer.wait_for("a replica that is read", |m| usable(m) == 1.0);
    let mut session = SqlClient::connect(balancer.address());
    assert_eq!(session.reads_at(), REPLICA);
    drop(session);
    balancer.take_baseline();
}

#[test]
fn roles_follow_read_only_and_two_writable_servers_raise_the_alarm() {
    let pair = MariaDb::pair(&[]);
    let monitor = Monitor::of(&pair);
    rules::roles_follow_read_only_and_two_writable_servers_raise_the_alarm(&pair, &monitor);
}

#[test]
fn a_replica_of_somebody_else_is_told_and_not_read_if_its_source_is_known_not_to_follow() {
    let trio = Trio::in_turn();
    let (pair, third) = (&trio.pair, &trio.second_replica);
    let monitor = Monitor::of(pair);
    trio.replicate();
    // Its source is none of the pool's, and may follow the primary: as this one does.
    let mut balancer = Balancer::start(&monitor.watching_lag(pair));
    balancer.wait_for("a replica of the primary", |m| follows_primary(m) == 1.0);
    balancer.take_baseline();
    pair.replica.sql(&format!(
        "STOP SLAVE; CHANGE MASTER TO MASTER_PORT={}, MASTER_USE_GTID=no,
         MASTER_LOG_FILE='bin.000001', MASTER_LOG_POS=4; START SLAVE",
        third.address().port()
    ));
    balancer.wait_for_log("replica follows a server outside the pool");
    balancer.wait_for("a replica that is read", |m| usable(m) == 1.0);
    assert_eq!(SqlClient::connect(balancer.address()).reads_at(), REPLICA);
    assert!(
        balancer
            .admin("/api/status")
            .contains("\"follows\":\"outside\"")
    );
    drop(balancer);

    // Where the pool knows its source, it is a replica of a replica.
    let watching = trio.and_second_replica(monitor.watching_lag(pair));
    let mut balancer = Balancer::start(&watching);
    balancer.wait_for("a replica of a replica", |m| follows_primary(m) == 1.0);
    balancer.take_baseline();
    balancer.wait_for("a replica that is read", |m| usable(m) == 1.0);

    // Now its source goes its own way, and it follows that one without lag.
    third.sql("STOP SLAVE; RESET SLAVE ALL");
    balancer.wait_for_log("replica does not follow the primary");
    balancer.wait_for("a replica that is not read", |m| usable(m) == 0.0);
    assert_eq!(follows_primary(&balancer.metrics()), 0.0);
    assert_eq!(SqlClient::connect(balancer.address()).reads_at(), PRIMARY);

    pair.replica.sql("STOP SLAVE");
    pair.replica.follow(&pair.primary);
    balancer.wait_for_log("replica follows the primary again");
    balancer.wait_for("a replica that is read", |m| usable(m) == 1.0);
    third.follow(&pair.primary);
}
