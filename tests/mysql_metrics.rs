//! What one can see of the MySQL port: the metrics, the status and the statement log after a script
//! of statements, between a real client and two real servers.

mod support;

use std::io::Write;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use serde_json::Value;

use self::support::{Balancer, Config, MariaDb, Metrics, lines, mariadb};

const STATEMENTS: &str = "ringway_mysql_statements_total";

/// Each statement of the script, and its line: server, target, reason, whether it failed, and the
/// statement as the log has it.
const SCRIPT: &[(&str, [&str; 5])] = &[
    (
        "SELECT a FROM t WHERE a = 5021",
        [
            "s1",
            "replica",
            "plain_read",
            "false",
            "SELECT a FROM t WHERE a = ?",
        ],
    ),
    (
        "INSERT INTO t VALUES (5021, 'canary')",
        [
            "s0",
            "primary",
            "write",
            "false",
            "INSERT INTO t VALUES (?, ?)",
        ],
    ),
    (
        "SELECT ROW_COUNT()",
        ["s0", "last", "diagnostics", "false", "SELECT ROW_COUNT()"],
    ),
    (
        "SET NAMES utf8mb4",
        ["s0", "both", "session_state", "false", "SET NAMES utf8mb4"],
    ),
    (
        "SELECT nothing",
        ["s1", "replica", "plain_read", "true", "SELECT nothing"],
    ),
    (
        "CREATE USER u IDENTIFIED BY 'canary'",
        [
            "s0",
            "primary",
            "other",
            "false",
            "CREATE USER u IDENTIFIED BY ?",
        ],
    ),
    (
        "ALTER USER u IDENTIFIED BY \"canary\"",
        [
            "s0",
            "primary",
            "other",
            "false",
            "ALTER USER u IDENTIFIED BY ?",
        ],
    ),
    (
        "SET PASSWORD FOR u = PASSWORD('canary')",
        [
            "s0",
            "primary",
            "global_state",
            "false",
            "SET PASSWORD FOR u = PASSWORD(?)",
        ],
    ),
];

struct Servers {
    primary: MariaDb,
    replica: MariaDb,
}

impl Servers {
    fn start() -> Self {
        let [primary, replica] = [1, 2].map(|id| MariaDb::start(id, &[]));
        for server in [&primary, &replica] {
            server.sql("CREATE TABLE shop.t (a INT, b VARCHAR(20))");
        }
        Self { primary, replica }
    }

    fn config(&self) -> Config {
        Config::to([self.primary.address(), self.replica.address()])
            .server(0, "role = \"primary\"")
            .server(1, "role = \"replica\"")
            .listener("protocol = \"mysql\"")
    }
}

/// The lines of a log, once there are so many. None of them tells a secret.
#[track_caller]
fn records(path: &Path, count: usize) -> Vec<Value> {
    let lines = lines(path, count);
    let told = lines.iter().find(|line| line.contains("canary"));
    assert_eq!(told, None, "a secret is in the log");
    let parse = |line: &String| serde_json::from_str(line).unwrap();
    lines.iter().map(parse).collect()
}

fn told(line: &Value) -> [String; 5] {
    ["server", "target", "reason", "failed", "statement"].map(|field| match &line[field] {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    })
}

fn statements(metrics: &Metrics) -> f64 {
    metrics.sum(STATEMENTS, &[])
}

#[test]
fn every_statement_is_counted_once_and_has_a_line_without_its_data() {
    let servers = Servers::start();
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("statements.log");
    let config = servers.config().statement_log(path.display());
    let mut balancer = Balancer::start(&config);
    let mut client = Client::start(&balancer);
    for (sql, _) in SCRIPT {
        client.say(&format!("{sql};"));
    }
    client.leave();

    let all = records(&path, SCRIPT.len());
    for (line, (sql, expected)) in all.iter().zip(SCRIPT) {
        assert_eq!(told(line), *expected, "{sql}");
        assert_eq!(
            (&line["listener"], &line["user"]),
            (&"web".into(), &"app".into())
        );
        let client = line["client"].as_str().unwrap();
        assert!(client.starts_with("127.0.0.1:"), "{line}");
        assert!(line["duration_ms"].as_f64().unwrap() > 0.0, "{line}");
    }

    let metrics = balancer.metrics();
    assert_eq!(statements(&metrics), SCRIPT.len() as f64);
    for &(sql, [_, target, reason, ..]) in SCRIPT {
        let same = SCRIPT
            .iter()
            .filter(|(_, of)| (of[1], of[2]) == (target, reason));
        let labels = [("listener", "web"), ("target", target), ("reason", reason)];
        assert_eq!(
            metrics.sum(STATEMENTS, &labels),
            same.count() as f64,
            "{sql}"
        );
    }
    for server in ["s0", "s1"] {
        let answered = SCRIPT.iter().filter(|(_, of)| of[0] == server).count() as f64;
        let count = "ringway_mysql_statement_seconds_count";
        assert_eq!(metrics.sum(count, &[("server", server)]), answered);
    }
    assert_eq!(
        metrics.sum("ringway_statement_log_lines_total", &[]),
        SCRIPT.len() as f64
    );

    let status: Value = serde_json::from_str(&balancer.admin("/api/status")).unwrap();
    let mysql = &status["listeners"][0]["mysql"];
    assert_eq!(mysql["statements"], SCRIPT.len());
    assert_eq!(mysql["logins"]["relay"], 1);
    assert_eq!(status["statement_log"]["lines"], SCRIPT.len());

    // From here on it is a log of slow statements.
    balancer.reload(&config.slower_than("300ms"));
    let sql = "SELECT 1; SELECT SLEEP(0.4); SELECT 2";
    assert!(
        mariadb(balancer.address(), "secret", &[], sql)
            .status
            .success()
    );
    let line = records(&path, SCRIPT.len() + 1).pop().unwrap();
    assert_eq!(line["statement"], "SELECT SLEEP(?)");
    assert!(line["duration_ms"].as_f64().unwrap() >= 300.0, "{line}");
}

#[test]
fn logins_are_counted_by_how_they_went() {
    let servers = Servers::start();
    let config = servers.config();
    let mut balancer = Balancer::start(&config);
    let log_in = |balancer: &Balancer, password| {
        let output = mariadb(balancer.address(), password, &[], "SELECT 1");
        output.status.success()
    };
    assert!(log_in(&balancer, "secret"));
    assert!(!log_in(&balancer, "wrong"));
    let alone = "mysql = { primary_only_users = [\"app\"] }";
    balancer.reload(&config.pool(alone));
    assert!(log_in(&balancer, "secret"));

    balancer.wait_for("all have left", |metrics| metrics.active() == 0.0);
    let metrics = balancer.metrics();
    let by = |name: &str, label: &str| {
        let series = metrics.by(name, label).into_iter();
        series.collect::<Vec<_>>()
    };
    assert_eq!(
        by("ringway_mysql_logins_total", "rung"),
        [("primary_only".to_owned(), 1.0), ("relay".to_owned(), 1.0)]
    );
    assert_eq!(
        by("ringway_mysql_primary_only_sessions_total", "reason"),
        [("user".to_owned(), 1.0)]
    );
    assert_eq!(
        by("ringway_mysql_login_failures_total", "reason"),
        [("server_refused".to_owned(), 1.0)]
    );
    let unauthenticated = "ringway_mysql_unauthenticated_sessions";
    assert!(metrics.has(unauthenticated, &[("pool", "web")]));
    assert_eq!(metrics.sum(unauthenticated, &[]), 0.0);
}

#[test]
fn a_session_that_goes_on_is_seen_while_it_is_pinned_and_when_a_log_is_switched_on() {
    let servers = Servers::start();
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("statements.log");
    let config = servers.config();
    let mut balancer = Balancer::start(&config);
    let mut client = Client::start(&balancer);
    let pinned = |metrics: &Metrics| {
        let reason = [("listener", "web"), ("reason", "temporary_table")];
        metrics.sum("ringway_mysql_pinned_sessions", &reason)
    };
    client.say("CREATE TEMPORARY TABLE x (a INT);");
    balancer.wait_for("it is pinned", |metrics| pinned(metrics) == 1.0);

    balancer.reload(&config.clone().statement_log(path.display()));
    client.say("DROP TEMPORARY TABLE x;");
    balancer.wait_for("it is no longer pinned", |metrics| {
        statements(metrics) == 2.0 && pinned(metrics) == 0.0
    });
    client.say("SELECT 'canary';");
    let both = records(&path, 2);
    assert_eq!(both[0]["statement"], "DROP TEMPORARY TABLE x");
    let expected = ["s1", "replica", "plain_read", "false", "SELECT ?"];
    assert_eq!(told(&both[1]), expected);

    client.say("CREATE TEMPORARY TABLE x (a INT);");
    balancer.wait_for("it is pinned again", |metrics| pinned(metrics) == 1.0);
    client.leave();
    balancer.wait_for("nobody is pinned", |metrics| pinned(metrics) == 0.0);
    // Without the log again, it has the descriptors that it had.
    balancer.reload(&config);
}

/// A client of the balancer that stays.
struct Client(Child);

impl Client {
    fn start(balancer: &Balancer) -> Self {
        let child = Command::new("mariadb")
            .args(["--no-defaults", "--protocol=tcp", "--skip-ssl"])
            .args(["--host=127.0.0.1", "--user=app", "--password=secret"])
            .args(["--batch", "--force", "--unbuffered", "--database=shop"])
            .arg(format!("--port={}", balancer.address().port()))
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap_or_else(|error| panic!("mariadb (Debian: mariadb-client-core): {error}"));
        Self(child)
    }

    fn say(&mut self, line: &str) {
        writeln!(self.0.stdin.as_ref().unwrap(), "{line}").unwrap();
    }

    fn leave(mut self) {
        drop(self.0.stdin.take());
        self.0.wait().unwrap();
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
