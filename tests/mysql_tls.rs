//! TLS on the MySQL port, with real servers and clients: between client and ringway, between ringway
//! and the servers, on either side without the other.

mod support;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Output;
use std::thread;

use support::clients::{python, run as run_program};
use support::rogue::{OK, asking_for_tls, greeting_with_tls, packet};
use support::{
    Authority, Balancer, Config, DEADLINE, Identity, MariaDb, PRIMARY, Pair, REPLICA, Rogue,
    RunningRogue, SITE, SqlClient, TlsPeer, mariadb, quickly, refused, said, tls13, until,
};

const PLACES: &str = "SELECT @@server_id; DO 1; /* route:primary */ SELECT @@server_id; SHOW STATUS LIKE 'Ssl_cipher'";

/// What MariaDB's client shows where the server is lost in the login, and where there is none.
const LOST: &str = "ERROR 1105 (08S01): The balancer has lost the connection to the server";
const NO_SERVER: &str = "ERROR 1105 (08S01): The balancer can reach no server";

/// Servers that show this certificate to clients that ask for TLS.
fn pair(identity: &Identity) -> Pair {
    let [certificate, key] = identity.files();
    MariaDb::pair(&[
        &format!("--ssl-cert={}", certificate.display()),
        &format!("--ssl-key={}", key.display()),
    ])
}

/// `app` through the balancer, with these options of MariaDB's command line.
#[track_caller]
fn run(balancer: &Balancer, options: &[&str], sql: &str) -> Output {
    let options = [&["--comments"], options].concat();
    mariadb(balancer.address(), "secret", &options, sql)
}

/// Whether a client that got these answers was split, and whether its server was on TLS.
#[track_caller]
fn is_split(lines: &str, server_on_tls: bool) {
    let lines: Vec<_> = lines.lines().collect();
    let [read, written, cipher] = lines[..] else {
        panic!("three lines: {lines:?}");
    };
    assert_eq!((read, written), (REPLICA, PRIMARY));
    let cipher = cipher.split_once('\t').expect("a name and a value").1;
    assert_eq!(!cipher.is_empty(), server_on_tls, "{cipher}");
}

#[test]
fn clients_with_tls_and_without_are_split_alike() {
    let pair = Pair::shared();
    let config = pair.config().listener_tls("mode = \"preferred\"");
    let balancer = Balancer::start(&config);
    for (options, on_tls) in [(["--ssl"], 1.0), (["--skip-ssl"], 1.0)] {
        is_split(&said(&run(&balancer, &options, PLACES)), false);
        let handshakes = balancer.metrics().sum("ringway_tls_handshakes_total", &[]);
        assert_eq!(handshakes, on_tls);
    }
    let large = "SELECT REPEAT('x', 20000000)";
    assert_eq!(said(&run(&balancer, &["--ssl"], large)).len(), 20_000_001);
}

#[test]
fn clients_above_handshakes_max_wait_with_their_login_and_those_without_tls_do_not() {
    let pair = Pair::shared();
    let config = pair
        .config()
        .process("workers = 1")
        .listener_tls("mode = \"preferred\"")
        .listener_tls("handshakes_max = 1");
    let balancer = Balancer::start(&config);
    let has_its_turn = asking_for_tls(balancer.address());
    let gives_up = asking_for_tls(balancer.address());
    let authority = Authority::new();
    let mut gives_up = TlsPeer::client(gives_up, &tls13(&authority), SITE);
    let hello = gives_up.take_flight();
    gives_up.peer().send(&hello);
    balancer.wait_for_log("tls.handshakes_max is reached");
    thread::scope(|scope| {
        let waiting = scope.spawn(|| run(&balancer, &["--ssl"], PLACES));
        balancer.wait_active(3);
        is_split(&said(&run(&balancer, &["--skip-ssl"], PLACES)), false);
        drop(gives_up);
        balancer.wait_handshakes_failed("cut_off", 1);
        let handshakes = || balancer.metrics().sum("ringway_tls_handshakes_total", &[]);
        assert_eq!(handshakes(), 0.0, "it was not that one's turn");
        drop(has_its_turn);
        is_split(&said(&waiting.join().unwrap()), false);
        assert_eq!(handshakes(), 1.0);
    });
    balancer.wait_handshakes_failed("cut_off", 2);
}

#[test]
fn a_handshake_that_does_not_end_within_the_login_is_counted_as_one_that_failed() {
    let pair = Pair::shared();
    let config = pair
        .config()
        .process("workers = 1")
        .pool_mysql("replica_login_timeout = \"300ms\"")
        .pool_mysql("login_timeout = \"300ms\"")
        .listener_tls("mode = \"preferred\"")
        .listener_tls("handshakes_max = 1");
    let balancer = Balancer::start(&config);
    let timed_out = || {
        let failures = "ringway_tls_handshake_failures_total";
        let metrics = balancer.metrics();
        assert_eq!(
            metrics.sum(failures, &[]),
            metrics.sum(failures, &[("reason", "timeout")])
        );
        metrics.sum(failures, &[])
    };
    let without_tls = SqlClient::greeted(balancer.address()).unwrap();
    balancer.wait_closed("client", "login_timeout", 1);
    assert_eq!(timed_out(), 0.0, "it has not asked for TLS");
    let clients = [(); 2].map(|()| asking_for_tls(balancer.address()));
    balancer.wait_closed("client", "login_timeout", 3);
    assert_eq!(
        timed_out(),
        2.0,
        "one has begun, one has waited for its turn"
    );
    drop((without_tls, clients));
}

#[test]
fn clients_that_have_to_use_tls_and_do_not_are_told_so() {
    let pair = Pair::shared();
    let config = pair.config().listener_tls("mode = \"required\"");
    let balancer = Balancer::start(&config);
    let plain = run(&balancer, &["--skip-ssl"], "SELECT 1");
    assert!(refused(&plain).contains("ERROR 3159"), "{plain:?}");
    is_split(&said(&run(&balancer, &["--ssl"], PLACES)), false);
    balancer.wait_for("the refusal", |metrics| {
        let labels = [("reason", "tls_required")];
        metrics.sum("ringway_mysql_login_failures_total", &labels) == 1.0
    });
}

#[test]
fn a_client_that_checks_gets_the_certificate_of_the_configuration() {
    let pair = Pair::shared();
    let authority = Authority::new();
    let identity = authority.issue(&["127.0.0.1", "localhost"]);
    let config = pair
        .config()
        .terminate(&identity)
        .listener_tls("mode = \"required\"");
    let balancer = Balancer::start(&config);
    let ca = format!("--ssl-ca={}", authority.file().display());
    let checked = ["--ssl", "--ssl-verify-server-cert", &ca];
    is_split(&said(&run(&balancer, &checked, PLACES)), false);
    let other = Authority::new();
    let other = format!("--ssl-ca={}", other.file().display());
    let unchecked = ["--ssl", "--ssl-verify-server-cert", &other];
    let error = refused(&run(&balancer, &unchecked, "SELECT 1"));
    assert!(error.contains("ERROR 2026"), "{error}");
}

#[test]
fn servers_are_spoken_to_over_tls_whatever_the_client_does() {
    let authority = Authority::new();
    let pair = pair(&authority.issue(&["127.0.0.1", "localhost"]));
    let config = pair
        .config()
        .process("workers = 1")
        .listener_tls("mode = \"preferred\"")
        .verify(&authority, "localhost");
    let balancer = Balancer::start(&config);
    for options in [["--ssl"], ["--skip-ssl"]] {
        is_split(&said(&run(&balancer, &options, PLACES)), true);
    }
    let mut client = SqlClient::connect(balancer.address());
    assert_eq!(client.reads_at(), REPLICA);
    let cipher = "SELECT COUNT(*) FROM information_schema.session_status
                  WHERE VARIABLE_NAME = 'Ssl_cipher' AND VARIABLE_VALUE <> ''";
    assert_eq!(said(&run(&balancer, &["--skip-ssl"], cipher)), "1\n");
    let metrics = balancer.metrics();
    for server in ["s0", "s1"] {
        let handshakes = |kind| {
            let labels = [("server", server), ("kind", kind)];
            metrics.sum("ringway_server_tls_handshakes_total", &labels)
        };
        assert_eq!((handshakes("full"), handshakes("resumed")), (1.0, 3.0));
    }
}

#[test]
fn a_replica_on_tls_that_is_killed_costs_no_session() {
    let authority = Authority::new();
    let mut pair = pair(&authority.issue(&["127.0.0.1", "localhost"]));
    let config = pair.config().verify(&authority, "localhost");
    let balancer = Balancer::start(&config);
    let mut client = SqlClient::connect(balancer.address());
    assert_eq!(client.reads_at(), REPLICA);
    // It has no time for a close_notify.
    pair.replica.kill();
    assert_eq!(client.reads_at(), PRIMARY);
    let cut_off = [("direction", "out")];
    balancer.wait_for("it is told", |metrics| {
        metrics.sum("ringway_tls_truncated_total", &cut_off) == 1.0
    });
}

#[test]
fn b_14_nothing_of_a_login_reaches_a_server_that_does_not_prove_who_it_is() {
    let authority = Authority::new();
    let pair = pair(&authority.issue(&["localhost"]));
    for server in [&pair.primary, &pair.replica] {
        server.sql("SET GLOBAL log_output = 'TABLE'; SET GLOBAL general_log = ON");
    }
    let logins = |server: &MariaDb| {
        server.sql(
            "SELECT COUNT(*) FROM mysql.general_log WHERE command_type = 'Connect'
                    AND argument LIKE 'app%'",
        )
    };
    let before = [logins(&pair.primary), logins(&pair.replica)];
    let other = Authority::new();
    let config = pair.config().verify(&other, "localhost");
    let mut balancer = Balancer::start(&config);
    balancer.expect_error("the TLS handshake failed");
    let error = refused(&run(&balancer, &["--skip-ssl"], "SELECT 1"));
    assert!(error.contains(LOST), "{error}");
    balancer.wait_for_log("the TLS handshake failed: the server's certificate is not accepted");
    assert_eq!([logins(&pair.primary), logins(&pair.replica)], before);
    said(&mariadb(pair.primary.address(), "secret", &[], "DO 1"));
    assert_ne!(logins(&pair.primary), before[0], "a login is seen");
}

/// Before this primary and nobody else, which is to be spoken to over TLS, whoever it is.
fn needing_tls(primary: &RunningRogue) -> Config {
    Config::to([primary.address])
        .server(0, "role = \"primary\"")
        .listener("protocol = \"mysql\"")
        .pool_tls("mode = \"insecure\"")
        .health_check("interval = \"1h\"")
}

#[test]
fn a_server_that_does_not_offer_tls_is_not_asked_for_it_and_the_client_need_not_wait() {
    let rogue = Rogue::default().start();
    let config = needing_tls(&rogue)
        .pool("connect_deadline = \"5m\"")
        .pool("connect_timeout = \"5m\"")
        .pool_mysql("login_timeout = \"5m\"");
    let balancer = Balancer::start(&config);
    let error = quickly(DEADLINE, || {
        refused(&run(&balancer, &["--skip-ssl"], "SELECT 1"))
    });
    assert!(error.contains(NO_SERVER), "{error}");
    balancer.wait_for_log("no TLS with it, and so no login: it does not offer TLS");
    balancer.wait_for("the failure", |metrics| {
        let labels = [("reason", "tls")];
        metrics.sum("ringway_connect_failures_total", &labels) == 1.0
    });
    assert_eq!(
        rogue.heard(),
        [[0_u8; 0]; 0],
        "but for a goodbye of nobody's"
    );
}

#[test]
fn what_a_server_says_before_there_is_tls_ends_its_connection_and_is_counted() {
    let with_tls = Rogue::default().greeting(&greeting_with_tls(b"8.0.36"));
    let rogue = with_tls.clone().start();
    let balancer = Balancer::start(&needing_tls(&rogue));
    let counted = || {
        let metrics = balancer.metrics();
        metrics.sum("ringway_tls_preupgrade_bytes_total", &[])
    };
    let mut sent = 0;
    for behind in [&packet(2, OK)[..], &packet(1, b"\xff\x15\x04"), b"\0\0"] {
        rogue.becomes(with_tls.clone().behind_greeting(behind));
        let error = refused(&run(&balancer, &["--skip-ssl"], "SELECT 1"));
        assert!(error.contains("ERROR 1105 (08S01)"), "{error}");
        sent += behind.len();
        until("it is counted", || counted() == sent as f64);
    }
    balancer.wait_for_log("it has sent more than its greeting before it was asked for TLS");
    assert_eq!(rogue.heard(), [[0_u8; 0]; 0], "nobody has answered that");
}

#[test]
fn servers_are_checked_over_tls_and_down_where_they_do_not_prove_who_they_are() {
    let (authority, stranger) = (Authority::new(), Authority::new());
    let pair = pair(&authority.issue(&["localhost"]));
    let config = pair
        .config()
        .verify(&authority, "localhost")
        .health_check("interval = \"50ms\"")
        .health_check("timeout = \"5s\"");
    let up = |balancer: &Balancer| balancer.metrics().sum("ringway_server_up", &[]);
    let mut balancer = Balancer::start(&config);
    until("a check has passed", || {
        balancer
            .admin("/api/status")
            .contains("MySQL protocol, with TLS, ")
    });
    assert_eq!(up(&balancer), 2.0);
    let strange = config.clone().verify(&stranger, "localhost");
    balancer.reload(&strange);
    until("both are down", || up(&balancer) == 0.0);
    balancer.wait_for_log("TLS failed: the peer's certificate is not accepted: ");
    let error = refused(&run(&balancer, &["--skip-ssl"], "SELECT 1"));
    assert!(error.contains(NO_SERVER), "{error}");

    balancer.reload(&strange.health_check("tls = false"));
    until("both are up", || up(&balancer) == 2.0);
    balancer.reload(&config.health_check("interval = \"1h\""));
}

#[test]
fn a_server_that_does_not_offer_tls_fails_its_check_unless_that_is_to_be_plain() {
    let rogue = Rogue::default().start();
    let config = needing_tls(&rogue).health_check("interval = \"50ms\"");
    let mut balancer = Balancer::start(&config);
    let up = |balancer: &Balancer| balancer.metrics().sum("ringway_server_up", &[]);
    until("it is down", || up(&balancer) == 0.0);
    let log = balancer.log();
    let down = log.lines().find(|line| line.contains("server is down"));
    let down = down.unwrap_or_else(|| panic!("a record of it: {log}"));
    assert!(down.contains("the server does not offer TLS"), "{down}");
    balancer.reload(&config.clone().health_check("tls = false"));
    until("it is up", || up(&balancer) == 1.0);
    assert_eq!(
        rogue.heard(),
        [[0_u8; 0]; 0],
        "but for goodbyes of nobody's"
    );
    balancer.reload(&config.health_check("interval = \"1h\""));
}

#[test]
fn the_monitor_looks_over_tls_and_does_not_where_there_is_none() {
    let authority = Authority::new();
    let pair = pair(&authority.issue(&["localhost"]));
    pair.primary.sql(
        "CREATE USER watcher@'%' IDENTIFIED BY 'looks' REQUIRE SSL;
         GRANT REPLICA MONITOR ON *.* TO watcher@'%'",
    );
    pair.replicate();
    let rogue = Rogue::default().start();
    let directory = tempfile::tempdir().unwrap();
    let password = directory.path().join("password");
    fs::write(&password, "looks\n").unwrap();
    fs::set_permissions(&password, fs::Permissions::from_mode(0o600)).unwrap();
    let config = pair
        .config()
        .and_server(rogue.address)
        .server(2, "role = \"replica\"")
        .verify(&authority, "localhost")
        .pool_mysql(&format!(
            "monitor = {{ user = \"watcher\", password_file = {password:?}, interval = \"200ms\" }}"
        ));
    let balancer = Balancer::start(&config);
    balancer.wait_for("the primary is known to take writes", |metrics| {
        metrics.sum("ringway_mysql_writable_servers", &[]) == 1.0
    });
    balancer.wait_for_log("reason=the server does not offer TLS");
    assert_eq!(rogue.heard(), [[0_u8; 0]; 0]);
}

#[test]
fn python_speaks_tls_through_it() {
    let pair = Pair::shared();
    let config = pair.config().listener_tls("mode = \"required\"");
    let balancer = Balancer::start(&config);
    let program = "import pymysql, ssl, sys
context = ssl.create_default_context()
context.check_hostname = False
context.verify_mode = ssl.CERT_NONE
link = pymysql.connect(host='127.0.0.1', port=int(sys.argv[1]), user='app', password='secret',
                       database='shop', ssl=context, autocommit=True)
with link.cursor() as cursor:
    for turn in range(20):
        cursor.execute('SELECT @@server_id, REPEAT(%s, 50000)', ('x',))
        print(cursor.fetchone()[0])
";
    let port = balancer.address().port().to_string();
    let output = run_program(python().args(["-c", program, &port]));
    assert_eq!(said(&output), format!("{REPLICA}\n").repeat(20));
}
