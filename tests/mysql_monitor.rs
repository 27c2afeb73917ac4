//! Looking after MySQL servers: checks that no server holds against the balancer, replicas that leave
//! and come back with their lag, roles that follow `read_only`.

mod support;

use std::fs::{self, Permissions};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::process::{Child, ChildStdout, Command, Stdio};

use tempfile::TempDir;

use self::support::{
    Balancer, COUNTED, Config, MariaDb, Metrics, in_own_network, make_counted_address, mariadb,
    until,
};

#[test]
fn checks_never_get_the_balancer_blocked_and_tell_when_somebody_else_did() {
    in_own_network(|| {
        let _names = make_counted_address();
        let bind = format!("--bind-address={COUNTED}");
        let server = MariaDb::start(1, &["--max-connect-errors=3", &bind]);
        let at: SocketAddr = format!("{COUNTED}:{}", server.address().port())
            .parse()
            .unwrap();
        let config = Config::to([at])
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
fn a_replica_is_not_read_while_it_lags_or_stands_still() {
    let [primary, replica] = watched_pair();
    let secrets = Secrets::new();
    let mut balancer = lag_limited(&primary, &replica, &secrets);
    balancer.take_baseline();
    let mut session = Session::open(balancer.address());
    assert_eq!(session.ask("SELECT @@server_id"), "2");

    // Replication stops: within a look, also for sessions that are open.
    replica.sql("STOP SLAVE SQL_THREAD");
    balancer.wait_for("a replica that is not read", |m| usable(m) == 0.0);
    assert_eq!(session.ask("SELECT @@server_id"), "1");
    assert_eq!(ask_once(&balancer, "SELECT @@server_id"), "1");
    replica.sql("START SLAVE");
    balancer.wait_for("a replica that is read again", |m| usable(m) == 1.0);
    assert_eq!(session.ask("SELECT @@server_id"), "2");

    // It asks for what its primary has never had: error 1236.
    let position = replica.sql("SELECT @@gtid_slave_pos");
    replica.sql("STOP SLAVE; SET GLOBAL gtid_slave_pos = '0-1-99999999'; START SLAVE");
    until("the primary has refused it", || {
        replica.sql("SHOW SLAVE STATUS").contains("1236")
    });
    balancer.wait_for("a replica that is not read", |m| usable(m) == 0.0);
    assert_eq!(session.ask("SELECT @@server_id"), "1");
    let position = position.trim();
    replica.sql(&format!(
        "STOP SLAVE; SET GLOBAL gtid_slave_pos = '{position}'; START SLAVE"
    ));
    balancer.wait_for("a replica that is read again", |m| usable(m) == 1.0);
    assert_eq!(session.ask("SELECT @@server_id"), "2");

    // It follows, too far behind.
    replica.sql("STOP SLAVE; CHANGE MASTER TO MASTER_DELAY = 3600; START SLAVE");
    primary.sql("CREATE TABLE shop.late (a INT)");
    let lag = |m: &Metrics| m.sum("ringway_mysql_replication_lag_seconds", &[("server", "s1")]);
    balancer.wait_for("a lag that is seen", |m| lag(m) > 2.0);
    balancer.wait_for("a replica that is not read", |m| usable(m) == 0.0);
    assert_eq!(session.ask("SELECT @@server_id"), "1");
    assert_eq!(session.ask("SELECT COUNT(*) FROM late"), "0");
    replica.sql("STOP SLAVE; CHANGE MASTER TO MASTER_DELAY = 0; START SLAVE");
    balancer.wait_for("a replica that is read again", |m| usable(m) == 1.0);
    assert_eq!(session.ask("SELECT @@server_id"), "2");
    session.close();
}

#[test]
fn a_replica_that_lost_its_primary_is_read_while_there_is_none() {
    let [mut primary, replica] = watched_pair();
    let secrets = Secrets::new();
    let mut balancer = lag_limited(&primary, &replica, &secrets);
    primary.kill();
    balancer.wait_for_log("server is down");
    balancer.wait_for("a replica that is read", |m| usable(m) == 1.0);
    assert_eq!(ask_once(&balancer, "SELECT @@server_id"), "2");
    balancer.take_baseline();
}

#[test]
fn roles_follow_read_only_and_two_writable_servers_raise_the_alarm() {
    let [first, second] = watched_pair();
    let secrets = Secrets::new();
    let monitor = secrets.monitor();
    let config = Config::to([first.address(), second.address()])
        .listener("protocol = \"mysql\"")
        .health_check("interval = \"300ms\"")
        .pool(&format!("mysql = {{ roles = \"read_only\", {monitor} }}"));
    let mut balancer = Balancer::start(&config);
    balancer.wait_for("the first one to be the primary", |m| {
        roles(m) == "primary s0, replica s1"
    });
    balancer.take_baseline();
    assert_eq!(ask_once(&balancer, WHO_WRITES), "1");
    assert_eq!(ask_once(&balancer, "SELECT @@server_id"), "2");

    // Both take writes: the incumbent stays.
    balancer.expect_error("several servers take writes");
    second.sql("SET GLOBAL read_only = 0");
    balancer.wait_for_log("several servers take writes");
    let writable = |m: &Metrics| m.sum("ringway_mysql_writable_servers", &[]);
    assert_eq!(writable(&balancer.metrics()), 2.0);
    assert_eq!(roles(&balancer.metrics()), "primary s0, replica ");
    assert_eq!(ask_once(&balancer, WHO_WRITES), "1");

    // The incumbent steps back: the other one is the only one left.
    first.sql("SET GLOBAL read_only = 1");
    balancer.wait_for("the second one to be the primary", |m| {
        roles(m) == "primary s1, replica s0"
    });
    balancer.wait_for_log("exactly one server takes writes again");
    assert_eq!(ask_once(&balancer, WHO_WRITES), "2");
    assert_eq!(ask_once(&balancer, "SELECT @@server_id"), "1");

    // Nobody takes writes.
    balancer.expect_error("no server takes writes");
    second.sql("SET GLOBAL read_only = 1");
    balancer.wait_for_log("no server takes writes");
    assert_eq!(writable(&balancer.metrics()), 0.0);
    let refused = mariadb(balancer.address(), "secret", &[], "DELETE FROM t");
    let words = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(words.contains("ERROR 1290"), "{words}");
    assert_eq!(ask_once(&balancer, "SELECT 7"), "7", "reads go on");
    first.sql("SET GLOBAL read_only = 0");
    balancer.wait_for("the first one to be the primary", |m| {
        roles(m) == "primary s0, replica s1"
    });
    assert_eq!(ask_once(&balancer, WHO_WRITES), "1");
}

/// A read that goes where writes go.
const WHO_WRITES: &str = "/* route:primary */ SELECT @@server_id";

/// Which servers have which role.
fn roles(metrics: &Metrics) -> String {
    let of = |role: &str| {
        let with_role = metrics.values("ringway_mysql_server_role", "server");
        let has_it = |server: &String| {
            let labels = [("server", server.as_str()), ("role", role)];
            metrics.sum("ringway_mysql_server_role", &labels) == 1.0
        };
        let all: Vec<_> = with_role.into_iter().filter(has_it).collect();
        all.join(" ")
    };
    format!("primary {}, replica {}", of("primary"), of("replica"))
}

fn usable(metrics: &Metrics) -> f64 {
    metrics.sum("ringway_mysql_replica_usable", &[("server", "s1")])
}

/// A pair with an account that may do what the documentation asks for, and nothing else.
fn watched_pair() -> [MariaDb; 2] {
    let pair = MariaDb::pair(&[]);
    pair.primary.sql(
        "CREATE USER watcher@'%' IDENTIFIED BY 'looks';
         GRANT REPLICA MONITOR ON *.* TO watcher@'%'",
    );
    until("the replica has the account", || {
        let users = pair.replica.sql("SELECT User FROM mysql.user");
        users.contains("watcher")
    });
    [pair.primary, pair.replica]
}

/// A balancer that does not read this replica while it lags, and has seen that it does not.
#[track_caller]
fn lag_limited(primary: &MariaDb, replica: &MariaDb, secrets: &Secrets) -> Balancer {
    let monitor = secrets.monitor();
    let config = Config::to([primary.address(), replica.address()])
        .listener("protocol = \"mysql\"")
        .server(0, "role = \"primary\"")
        .server(1, "role = \"replica\"")
        .health_check("interval = \"300ms\"")
        .pool(&format!(
            "mysql = {{ max_replication_lag = \"2s\", {monitor} }}"
        ));
    let balancer = Balancer::start(&config);
    balancer.wait_for("a replica that is read", |m| usable(m) == 1.0);
    balancer
}

/// The file with the monitor's password.
struct Secrets(TempDir);

impl Secrets {
    fn new() -> Self {
        let directory = TempDir::new().unwrap();
        let path = directory.path().join("password");
        fs::write(&path, "looks\n").unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
        Self(directory)
    }

    /// What `[pool.mysql]` has to say about it.
    fn monitor(&self) -> String {
        let path = self.0.path().join("password");
        format!(
            "monitor = {{ user = \"watcher\", password_file = {path:?}, interval = \"200ms\" }}"
        )
    }
}

/// What a session of its own gets as the answer.
#[track_caller]
fn ask_once(balancer: &Balancer, sql: &str) -> String {
    let output = mariadb(balancer.address(), "secret", &["--comments"], sql);
    assert!(output.status.success(), "{output:?}");
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

/// A client that stays connected.
struct Session {
    client: Child,
    answers: BufReader<ChildStdout>,
}

impl Session {
    fn open(address: SocketAddr) -> Self {
        let mut client = Command::new("mariadb")
            .args(["--no-defaults", "--protocol=tcp", "--skip-ssl"])
            .args(["--host=127.0.0.1", "--user=app", "--password=secret"])
            .args(["--batch", "--skip-column-names", "--unbuffered"])
            .args(["--skip-reconnect", "--no-auto-rehash"])
            .arg(format!("--port={}", address.port()))
            .arg("shop")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("mariadb (Debian: mariadb-client-core): {error}"));
        let answers = BufReader::new(client.stdout.take().unwrap());
        Self { client, answers }
    }

    /// The answer to a statement that has one row.
    #[track_caller]
    fn ask(&mut self, sql: &str) -> String {
        let stdin = self.client.stdin.as_mut().unwrap();
        writeln!(stdin, "{sql};").unwrap();
        let mut line = String::new();
        self.answers.read_line(&mut line).unwrap();
        line.trim().to_owned()
    }

    fn close(mut self) {
        drop(self.client.stdin.take());
        assert!(self.client.wait().unwrap().success());
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        let _ = self.client.kill();
        let _ = self.client.wait();
    }
}
