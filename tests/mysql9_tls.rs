//! TLS on the MySQL port with MySQL 9, whose accounts are all of `caching_sha2_password`: a server
//! that does not remember an account wants the password itself, over TLS or under its public key.
//! Who has it to tell, and who may be told, depends on TLS on either side of ringway.

mod support;

use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::Output;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use self::support::{
    Authority, Balancer, Client, Config, Mysql9Pair, PRIMARY, REPLICA, mariadb, mariadb11, mysql9,
    quickly, refused, said, until,
};

const APP: (&str, &str) = ("app", "secret");

/// Where a read goes, where a write goes, and how the primary is spoken to.
const PLACES: &str = "SELECT @@server_id;
    BEGIN; INSERT INTO written VALUES (@@server_id); SELECT place FROM written; ROLLBACK;
    SHOW STATUS LIKE 'Ssl_cipher'";

/// What is far below the time that a login at a replica may take, and far above what it takes.
const AT_ONCE: Duration = Duration::from_secs(5);

/// What the servers remember of `app`: the primary, and the replica.
const MEMORIES: [(bool, bool); 4] = [(true, true), (true, false), (false, true), (false, false)];

/// Without TLS; the server's public key is taken as it comes.
const PLAIN: &[&str] = &["--ssl-mode=DISABLED", "--get-server-public-key"];

/// What the command line does when nobody says anything.
const DEFAULTS: &[&str] = &["--ssl-mode=PREFERRED", "--skip-get-server-public-key"];

/// A balancer with a certificate before servers with certificates, all of one authority.
struct Stage {
    authority: Authority,
    balancer: Balancer,
    servers_on_tls: bool,
}

impl Stage {
    #[track_caller]
    fn set(pair: &Mysql9Pair, servers_on_tls: bool) -> Self {
        Self::with_replica_at(pair.replica.address(), pair, servers_on_tls)
    }

    /// With the replica behind another address.
    #[track_caller]
    fn with_replica_at(replica: SocketAddr, pair: &Mysql9Pair, servers_on_tls: bool) -> Self {
        let authority = Authority::new();
        let identity = authority.issue(&["localhost", "127.0.0.1"]);
        for server in [&pair.primary, &pair.replica] {
            server.show(&identity, &authority);
        }
        pair.primary
            .sql("CREATE TABLE IF NOT EXISTS shop.written (place INT)");
        pair.replicate();
        let config = Config::mysql(pair.primary.address(), replica)
            .terminate(&identity)
            .listener_tls("mode = \"preferred\"")
            // Whoever writes and reads reads at the replica all the same.
            .pool_mysql("read_after_write = \"gtid\"")
            .pool_mysql("gtid_wait = \"20s\"");
        let config = match servers_on_tls {
            true => config.verify(&authority, "localhost"),
            false => config,
        };
        Self {
            authority,
            balancer: Balancer::start(&config),
            servers_on_tls,
        }
    }

    fn logins(&self, rung: &str) -> f64 {
        let labels = [("rung", rung)];
        let metrics = self.balancer.metrics();
        metrics.sum("ringway_mysql_logins_total", &labels)
    }

    fn kept_on_primary(&self, reason: &str) -> f64 {
        let labels = [("reason", reason)];
        let metrics = self.balancer.metrics();
        metrics.sum("ringway_mysql_primary_only_sessions_total", &labels)
    }

    fn handshakes(&self) -> f64 {
        let metrics = self.balancer.metrics();
        metrics.sum("ringway_tls_handshakes_total", &[])
    }

    /// Logs `app` in with these options, by this rung; where its reads went.
    #[track_caller]
    fn reads_by(&self, rung: &str, options: &[&str]) -> String {
        let before = (self.logins(rung), self.handshakes());
        let output = mysql9(self.balancer.address(), APP, options, PLACES);
        let read = self.place_of_reads(&output);
        let by_tls = if options == PLAIN { 0.0 } else { 1.0 };
        let after = (before.0 + 1.0, before.1 + by_tls);
        assert_eq!((self.logins(rung), self.handshakes()), after, "{rung}");
        read
    }

    /// Where the reads of a session went, which wrote at the primary.
    #[track_caller]
    fn place_of_reads(&self, output: &Output) -> String {
        let lines = said(output);
        let lines: Vec<_> = lines.lines().collect();
        let [read, written, cipher] = lines[..] else {
            panic!("three lines: {lines:?}");
        };
        assert_eq!(written, PRIMARY);
        let cipher = cipher.split_once('\t').expect("a name and a value").1;
        assert_eq!(!cipher.is_empty(), self.servers_on_tls, "{cipher}");
        read.to_owned()
    }
}

/// A way to a server, on which nobody gets through until it is opened.
struct Way {
    address: SocketAddr,
    is_open: Arc<AtomicBool>,
}

impl Way {
    fn to(server: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let way = Self {
            address: listener.local_addr().unwrap(),
            is_open: Arc::default(),
        };
        let is_open = Arc::clone(&way.is_open);
        thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let is_open = Arc::clone(&is_open);
                thread::spawn(move || {
                    until("the way is open", || is_open.load(Ordering::Acquire));
                    relay(client, server)
                });
            }
        });
        way
    }

    fn open(&self) {
        self.is_open.store(true, Ordering::Release);
    }
}

fn relay(client: TcpStream, server: SocketAddr) -> io::Result<()> {
    let server = TcpStream::connect(server)?;
    let (mut from, mut to) = (client.try_clone()?, server.try_clone()?);
    thread::spawn(move || {
        let _ = io::copy(&mut from, &mut to);
        to.shutdown(std::net::Shutdown::Both)
    });
    io::copy(&mut &server, &mut &client)?;
    client.shutdown(std::net::Shutdown::Both)
}

/// Has the servers remember `app`, or not.
#[track_caller]
fn remember(pair: &Mysql9Pair, (primary, replica): (bool, bool)) {
    for (server, remembers) in [(&pair.primary, primary), (&pair.replica, replica)] {
        server.forget_logins();
        if remembers {
            said(&mysql9(server.address(), APP, PLAIN, "DO 1"));
        }
    }
}

#[test]
fn a_client_on_tls_is_split_whatever_the_servers_remember() {
    let pair = Mysql9Pair::alone();
    for servers_on_tls in [false, true] {
        let stage = Stage::set(&pair, servers_on_tls);
        let ca = pair.primary.place(&stage.authority.file());
        let ca = format!("--ssl-ca={ca}");
        let verifying = ["--ssl-mode=VERIFY_CA", &ca];
        for options in [DEFAULTS, &["--ssl-mode=REQUIRED"], &verifying] {
            for memory in MEMORIES {
                remember(&pair, memory);
                let rung = if memory == (true, true) {
                    "relay"
                } else {
                    "capture"
                };
                let read = stage.reads_by(rung, options);
                assert_eq!(read, REPLICA, "{options:?} {memory:?} {servers_on_tls}");
                // Both remember it now.
                assert_eq!(stage.reads_by("relay", options), REPLICA);
            }
        }
    }
}

/// Each of the libraries has its own way to answer a server that wants the password itself.
#[test]
fn client_libraries_on_tls_are_split_whatever_the_servers_remember() {
    let pair = Mysql9Pair::alone();
    for (servers_on_tls, memories) in [
        (false, &[(false, false)][..]),
        (true, &[(true, false), (true, true)]),
    ] {
        let stage = Stage::set(&pair, servers_on_tls);
        for client in [Client::PyMysql, Client::NodeMysql2, Client::MysqlAsync] {
            for &memory in memories {
                remember(&pair, memory);
                let rung = if memory.1 { "relay" } else { "capture" };
                let before = (stage.logins(rung), stage.handshakes());
                let output = client.run_on_tls(stage.balancer.address(), &stage.authority.file());
                let after = (before.0 + 1.0, before.1 + 1.0);
                assert_eq!(
                    (stage.logins(rung), stage.handshakes()),
                    after,
                    "{client:?}"
                );
                is_split(&said(&output));
            }
        }
    }
}

/// What a script of a library says of where it was.
#[track_caller]
fn is_split(lines: &str) {
    let places: Vec<_> = lines
        .lines()
        .filter(|line| line.starts_with("at "))
        .collect();
    assert!(places.len() > 3, "{lines}");
    for place in places {
        let expected = match place.contains("in transaction") {
            true => PRIMARY,
            false => REPLICA,
        };
        assert!(place.ends_with(expected), "{place}");
    }
}

#[test]
fn clients_of_mariadb_that_check_are_split_whatever_the_servers_remember() {
    let pair = Mysql9Pair::alone();
    for servers_on_tls in [false, true] {
        let stage = Stage::set(&pair, servers_on_tls);
        let address = stage.balancer.address();
        let ca = format!("--ssl-ca={}", stage.authority.file().display());
        let inside = pair.primary.place(&stage.authority.file());
        let inside = format!("--ssl-ca={inside}");
        let of_10 = || {
            let options = ["--ssl", "--ssl-verify-server-cert", &ca];
            mariadb(address, "secret", &options, PLACES)
        };
        let of_11 = || mariadb11(address, &[&inside], PLACES);
        for client in [&of_10 as &dyn Fn() -> Output, &of_11] {
            for memory in MEMORIES {
                remember(&pair, memory);
                let before = stage.handshakes();
                assert_eq!(stage.place_of_reads(&client()), REPLICA, "{memory:?}");
                assert_eq!(stage.handshakes(), before + 1.0);
            }
        }
        let error = refused(&mariadb11(address, &[], PLACES));
        assert!(
            error.contains("ERROR 2026"),
            "a certificate of nobody known: {error}"
        );
    }
}

#[test]
fn a_client_without_tls_is_split_as_far_as_servers_can_be_told_its_password() {
    const BY_KEY: (&str, Option<&str>) = ("capture", None);
    const BY_HEART: (&str, Option<&str>) = ("relay", None);
    // It was asked for its password by the primary alone, or would have been by the replica alone.
    const AT_PRIMARY: (&str, Option<&str>) = ("primary_only", Some("full_authentication"));
    const UNKNOWN: (&str, Option<&str>) = ("primary_only", Some("replica_full_authentication"));
    let pair = Mysql9Pair::alone();
    for (servers_on_tls, expected) in [
        (false, [BY_HEART, UNKNOWN, AT_PRIMARY, AT_PRIMARY]),
        // The primary is told over TLS what ringway's key has hidden, and so is the replica.
        (true, [BY_HEART, UNKNOWN, BY_KEY, BY_KEY]),
    ] {
        let stage = Stage::set(&pair, servers_on_tls);
        for (memory, (rung, reason)) in MEMORIES.into_iter().zip(expected) {
            remember(&pair, memory);
            let place = if reason.is_none() { REPLICA } else { PRIMARY };
            let before = reason.map(|reason| stage.kept_on_primary(reason) + 1.0);
            assert_eq!(stage.reads_by(rung, PLAIN), place, "{memory:?}");
            let after = reason.map(|reason| stage.kept_on_primary(reason));
            assert_eq!(after, before, "{memory:?}");
        }
    }
}

#[test]
fn who_trusts_no_key_or_another_one_is_not_asked_to_trust_ringways() {
    let pair = Mysql9Pair::alone();
    let stage = Stage::set(&pair, true);
    let address = stage.balancer.address();
    remember(&pair, (false, false));
    let options = ["--ssl-mode=DISABLED", "--skip-get-server-public-key"];
    let error = refused(&mysql9(address, APP, &options, "SELECT 1"));
    assert!(error.contains("requires secure connection"), "{error}");

    let key = format!("--server-public-key-path={}", pair.primary.public_key());
    let options = ["--ssl-mode=DISABLED", "--skip-get-server-public-key", &key];
    let error = refused(&mysql9(address, APP, &options, "SELECT 1"));
    assert!(error.contains("ERROR 1045"), "{error}");
    assert!(
        error.contains("not encrypted for the key that it shows"),
        "{error}"
    );
    let labels = [("reason", "password_unreadable")];
    let metrics = stage.balancer.metrics();
    assert_eq!(
        metrics.sum("ringway_mysql_login_failures_total", &labels),
        1.0
    );

    // And a wrong password is still none.
    let error = refused(&mysql9(address, ("app", "wrong"), PLAIN, "SELECT 1"));
    assert!(error.contains("Access denied for user 'app'@"), "{error}");
    // The same by the library of MariaDB.
    let by_mariadb = mariadb(address, "secret", &[], PLACES);
    assert_eq!(stage.place_of_reads(&by_mariadb), REPLICA);
    assert_eq!(stage.logins("capture"), 1.0);
}

#[test]
fn a_client_that_checks_is_not_taken_in() {
    let pair = Mysql9Pair::alone();
    let stage = Stage::set(&pair, false);
    let other = pair.primary.place(&Authority::new().file());
    let options = ["--ssl-mode=VERIFY_CA", &format!("--ssl-ca={other}")];
    let error = refused(&mysql9(stage.balancer.address(), APP, &options, "SELECT 1"));
    assert!(error.contains("ERROR 2026"), "{error}");
}

#[test]
fn servers_that_were_started_again_learn_of_clients_on_tls() {
    let mut pair = Mysql9Pair::alone();
    let stage = Stage::set(&pair, true);
    remember(&pair, (true, true));
    for turn in ["replica", "primary"] {
        let Mysql9Pair { primary, replica } = &mut *pair;
        let server = if turn == "replica" { replica } else { primary };
        server.kill();
        server.start_again();
        let address = server.address();
        stage.balancer.wait_for("the server is up", |metrics| {
            let labels = [("address", &*address.to_string())];
            metrics.sum("ringway_server_up", &labels) == 1.0
        });
        assert_eq!(stage.reads_by("capture", DEFAULTS), REPLICA, "{turn}");
        assert_eq!(stage.reads_by("relay", DEFAULTS), REPLICA, "{turn}");
    }
    pair.replicate();
}

/// The replica's first connection is left when the password is known. Should the session want a
/// replica before the old connection has ended, then it waits for that, and gets a new one.
#[test]
fn a_replica_that_is_slow_to_be_left_is_connected_to_again() {
    let pair = Mysql9Pair::alone();
    for servers_on_tls in [false, true] {
        let way = Way::to(pair.replica.address());
        let stage = Stage::with_replica_at(way.address, &pair, servers_on_tls);
        remember(&pair, (false, false));
        let address = stage.balancer.address();
        let client = thread::spawn(move || mysql9(address, APP, DEFAULTS, "SELECT @@server_id"));
        until("it has logged in", || stage.logins("capture") == 1.0);
        way.open();
        let output = quickly(AT_ONCE, || client.join().unwrap());
        assert_eq!(said(&output), "2\n");
    }
}

#[test]
fn the_passwords_of_clients_on_tls_reach_both_servers_over_tls_alone() {
    let pair = Mysql9Pair::alone();
    let stage = Stage::set(&pair, true);
    let servers = [&pair.primary, &pair.replica];
    for server in servers {
        server.sql("SET GLOBAL log_output = 'TABLE', general_log = ON; TRUNCATE mysql.general_log");
    }
    // The checks of the balancer are plain, and in nobody's name.
    let logins = |how: &str| {
        servers.map(|server| {
            server.sql(&format!(
                "SELECT COUNT(*) FROM mysql.general_log WHERE command_type = 'Connect'
                     AND argument LIKE 'app@%' AND argument LIKE '%using {how}'"
            ))
        })
    };
    for forgetful in [&servers[..], &servers[1..]] {
        forgetful.iter().for_each(|server| server.forget_logins());
        assert_eq!(stage.reads_by("capture", DEFAULTS), REPLICA);
    }
    assert_eq!(logins("TCP/IP"), ["0\n", "0\n"]);
    assert_eq!(logins("SSL/TLS"), ["2\n", "2\n"]);
    for server in servers {
        server.sql("SET GLOBAL general_log = OFF");
    }
}

#[test]
fn nothing_is_left_in_memory_of_a_password_when_its_session_is_over() {
    // So long that there would be pieces of it where an allocator has written over its beginning.
    const KEEPER: (&str, &str) = ("keeper", "correct-horse-battery-staple-and-nothing-else");
    let pair = Mysql9Pair::alone();
    let (user, password) = KEEPER;
    pair.primary.sql(&format!(
        "CREATE USER {user}@'%' IDENTIFIED BY '{password}'; GRANT ALL ON shop.* TO {user}@'%'"
    ));
    pair.replicate();
    for (servers_on_tls, clients) in [(false, &[DEFAULTS][..]), (true, &[DEFAULTS, PLAIN])] {
        let stage = Stage::set(&pair, servers_on_tls);
        for options in clients {
            remember(&pair, (false, false));
            let output = mysql9(stage.balancer.address(), KEEPER, options, "SELECT 1");
            assert_eq!(said(&output), "1\n");
        }
        assert_eq!(stage.logins("capture"), clients.len() as f64, "it was told");
        stage.balancer.wait_active(0);
        let memory = stage.balancer.process().memory();
        let has = |words: &[u8]| memory.windows(words.len()).any(|part| part == words);
        assert!(has(b"--config"), "its arguments are in its memory");
        for piece in password.as_bytes().chunks(15) {
            assert!(!has(piece), "{}", String::from_utf8_lossy(piece));
        }
    }
    pair.primary.sql(&format!("DROP USER {user}@'%'"));
    pair.replicate();
}
