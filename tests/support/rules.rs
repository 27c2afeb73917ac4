//! What has to hold of the MySQL port with every product's servers.

use std::collections::BTreeMap;
use std::time::Duration;

use super::balancer::Balancer;
use super::config::{Config, PasswordFile};
use super::mariadb::{PRIMARY, REPLICA};
use super::metrics::Metrics;
use super::servers::Servers;
use super::sql_client::{SqlClient, SqlError, flags, line};
use super::sql_server::SqlServer;
use super::wait::{quickly, until};

/// Statements, and what each is for: the primary, the replica, both, or nobody.
type Routed<'a> = (&'a str, &'a str);

/// Those that mean the same to either product, or nothing to one of them.
const STATEMENTS: &[Routed<'_>] = &[
    ("r", "SELECT a FROM rules WHERE a = 5021"),
    ("r", "(SELECT 1) UNION (SELECT 2)"),
    ("r", "WITH c AS (SELECT 1) SELECT * FROM c"),
    ("r", "VALUES (1), (2)"),
    (
        "r",
        "SELECT SQL_NO_CACHE COUNT(*), MAX(a), CONCAT('x', a) FROM rules",
    ),
    ("r", "SELECT ';' AS `FOR UPDATE`, \"INTO\" -- INSERT"),
    ("p", "SELECT * FROM rules FOR UPDATE"),
    (
        "p",
        "SELECT * FROM (SELECT * FROM rules LOCK IN SHARE MODE) t",
    ),
    ("p", "SELECT 1 INTO @a"),
    ("p", "SELECT @a := 1"),
    ("p", "SELECT charge_card(5)"),
    ("p", "SELECT shop.now()"),
    (
        "p",
        "WITH c AS (SELECT 1) DELETE FROM rules WHERE a IN (SELECT * FROM c)",
    ),
    ("p", "SELECT LAST_INSERT_ID()"),
    ("p", "SELECT @@identity"),
    ("p", "SELECT CONNECTION_ID()"),
    ("p", "SELECT GET_LOCK('rules', 0)"),
    ("p", "SELECT IS_FREE_LOCK('rules')"),
    ("p", "SELECT NEXT VALUE FOR numbers"),
    ("p", "SELECT NEXTVAL(numbers)"),
    ("p", "SELECT @@gtid_current_pos"),
    ("p", "SELECT @@read_only"),
    ("p", "SELECT @@global.max_connections"),
    ("p", "SELECT COUNT(*) FROM information_schema.processlist"),
    ("p", "SELECT COUNT(*) FROM mysql.user"),
    ("r", "SELECT @@server_id, @@hostname"),
    ("r", "SHOW TABLES"),
    ("r", "SHOW CREATE TABLE rules"),
    ("r", "SHOW SLAVE STATUS"),
    ("p", "SHOW GLOBAL STATUS LIKE 'Uptime'"),
    ("p", "SHOW VARIABLES LIKE 'port'"),
    ("p", "SHOW PROCESSLIST"),
    ("p", "SHOW MASTER STATUS"),
    ("p", "SHOW BINARY LOGS"),
    ("r", "EXPLAIN SELECT * FROM rules"),
    ("r", "DESC rules"),
    ("p", "EXPLAIN DELETE FROM rules"),
    ("p", "ANALYZE SELECT * FROM rules"),
    ("b", "SET NAMES utf8mb4"),
    ("b", "SET @a = 5"),
    (
        "b",
        "SET SESSION sql_mode = CONCAT(@@sql_mode, ',ANSI_QUOTES')",
    ),
    ("b", "USE shop"),
    ("b", "PREPARE p FROM 'SELECT 1'"),
    ("p", "SET @a = NOW()"),
    ("p", "SET GLOBAL max_connections = 151"),
    ("p", "SET sql_log_bin = 1"),
    ("r", "START TRANSACTION READ ONLY"),
    ("p", "START TRANSACTION"),
    ("p", "BEGIN"),
    ("p", "SET TRANSACTION ISOLATION LEVEL SERIALIZABLE"),
    ("p", "CREATE TEMPORARY TABLE rules_of_mine (a INT)"),
    ("p", "LOCK TABLES rules READ"),
    ("p", "XA START 'rules'"),
    ("p", "CALL nothing()"),
    ("p", "EXECUTE nothing"),
    ("p", "DO 1"),
    ("p", "KILL QUERY 4000000000"),
    ("n", "LOAD DATA LOCAL INFILE '/dev/null' INTO TABLE rules"),
    ("p", "INSERT INTO rules VALUES (1)"),
    ("p", "REPLACE INTO rules VALUES (1)"),
    ("p", "UPDATE rules SET a = 2"),
    ("p", "DELETE FROM rules"),
    ("p", "TRUNCATE TABLE rules"),
    ("p", "CREATE TABLE IF NOT EXISTS rules (a INT)"),
    ("p", "ANALYZE TABLE rules"),
    ("p", "FLUSH TABLES"),
    ("p", "SELECT 1; SELECT 2"),
    ("p", "SELECT 1; DROP TABLE IF EXISTS nothing"),
    ("p", "SELECT /*! 1 */"),
    ("p", "SELECT /*M!100000 1 */"),
    ("r", "SELECT /*! SQL_NO_CACHE */ 1"),
    ("p", "SELECT 'open"),
    ("p", "HANDLER rules OPEN"),
    ("p", "/* route:primary */ SELECT 1"),
    ("r", "/* route:replica */ SELECT @a"),
    ("r", "/* route:replica */ SELECT shop.now()"),
    ("p", "/* route:replica */ DELETE FROM rules"),
    ("p", "/* route:replica */ SELECT 1 FOR UPDATE"),
    (
        "p",
        "/* something else */ /* route:replica */ DELETE FROM rules",
    ),
    ("p", "any words at all"),
];

/// Each statement, these of the product's own included, is heard by the servers that it is for.
#[track_caller]
pub(crate) fn statements_are_heard_where_they_belong<S: Servers>(servers: &S, own: &[Routed<'_>]) {
    servers.table("rules", "a INT");
    let balancer = Balancer::start(&servers.config());
    let many = servers.login().flag(flags::MULTI_STATEMENTS);
    let mut client = many.connect(balancer.address()).unwrap();
    let both = [("p", servers.primary()), ("r", servers.replica())];
    for (_, server) in both {
        server.sql(S::WORDS.log_everything);
        server.sql(
            "SET GLOBAL log_output = 'TABLE'; TRUNCATE mysql.general_log;
             SET GLOBAL general_log = ON",
        );
    }
    let statements = [STATEMENTS, own].concat();
    for (index, (_, sql)) in statements.iter().enumerate() {
        // What comes before has no effect on what comes after.
        client.reset();
        // Most of these go well, and none has to.
        let _ = client.ask(&format!("{sql} /* statement {index}. */"));
    }
    let mut heard: BTreeMap<usize, String> = BTreeMap::new();
    for (name, server) in both {
        server.sql("SET GLOBAL general_log = OFF");
        let said = "SELECT DISTINCT REGEXP_SUBSTR(
                CONVERT(argument USING utf8mb4), '(?<=statement )[0-9]+(?=[.])')
            FROM mysql.general_log
            WHERE user_host LIKE 'app%'
            AND CONVERT(argument USING utf8mb4) LIKE '%/* statement %'";
        for index in server.sql(said).lines() {
            heard
                .entry(index.parse().unwrap())
                .or_default()
                .push_str(name);
        }
    }
    for (index, (expected, sql)) in statements.iter().enumerate() {
        let heard = match heard.get(&index).map(String::as_str) {
            None => "n",
            Some("pr") => "b",
            Some(one) => one,
        };
        assert_eq!(heard, *expected, "{sql}");
    }
}

/// What is as long as packets can be, or a little shorter or longer, comes whole in both
/// directions, and what comes after it comes as well.
#[track_caller]
pub(crate) fn statements_and_results_around_16_mib_come_whole(servers: &impl Servers) {
    const FULL: usize = 0xFF_FFFF;
    // Only the primary keeps them; neither the binary log nor a replica.
    servers.primary().sql(
        "DROP TABLE IF EXISTS shop.big;
         CREATE TABLE shop.big (id INT PRIMARY KEY, v LONGTEXT) ENGINE = MyISAM",
    );
    servers.replicate();
    let balancer = Balancer::start(&servers.config());
    let mut client = servers.connect(&balancer);
    client.run(&["SET sql_log_bin = 0"]);
    assert_eq!(client.row("/* route:primary */ SELECT 1"), "1");
    let flat_kib = balancer.process().resident_kib();
    let sizes = [FULL - 2, FULL - 1, FULL, FULL + 1, FULL + 2, 2 * FULL];
    for (id, size) in sizes.into_iter().enumerate() {
        // The payload of a query is one byte more than its text.
        let frame = format!("REPLACE INTO big VALUES ({id}, '')").len() + 1;
        let value = "v".repeat(size - frame);
        client.run(&[&format!("REPLACE INTO big VALUES ({id}, '{value}')")]);
        assert_eq!(
            client.row("SELECT @@server_id"),
            REPLICA,
            "after {size} bytes"
        );
        // A row's payload begins with four or five bytes of length.
        let stored = client.row(&format!(
            "/* route:primary */ SELECT v FROM big WHERE id = {id}"
        ));
        assert!(stored == value, "{size} bytes differ");
        for head in [4, 9] {
            let wanted = size - head;
            let sql = format!("SELECT REPEAT('r', {wanted})");
            assert_eq!(client.row(&sql).len(), wanted);
            assert_eq!(
                client.row("SELECT @@server_id"),
                REPLICA,
                "after {wanted} bytes"
            );
        }
        let comment = "c".repeat(size - "SELECT @@server_id /**/".len() - 1);
        let long = client.row(&format!("SELECT @@server_id /*{comment}*/"));
        assert_eq!(long, PRIMARY, "what is too long is not read");
    }
    let grown_kib = balancer.process().resident_kib().saturating_sub(flat_kib);
    assert!(grown_kib < 8 * 1024, "ringway has grown by {grown_kib} KiB");
}

/// KILL ends what runs on either server, and a session, by the id that its client was told.
#[track_caller]
pub(crate) fn a_session_is_killed_by_the_id_that_its_client_knows(servers: &impl Servers) {
    let [primary, replica] = [servers.primary(), servers.replica()];
    let balancer = Balancer::start(&servers.config());
    let mut killer = servers.connect(&balancer);
    let mut victim = servers.connect(&balancer);
    let id = victim.thread_id();
    assert_eq!(victim.row("SELECT CONNECTION_ID()"), id.to_string());
    // A statement on the primary, then one on the replica.
    for (sql, server) in [
        ("/* route:primary */ SELECT SLEEP(600)", primary),
        ("SELECT SLEEP(601)", replica),
    ] {
        victim.send(sql);
        wait_for_statement(server, sql);
        killer.run(&[&format!("KILL QUERY {id}")]);
        let ended = quickly(Duration::from_secs(10), || victim.results());
        match ended {
            Ok(rows) => assert_eq!(line(&rows[0]), "1", "an interrupted sleep"),
            Err(SqlError::Server(code, ..)) => assert_eq!(code, 1317),
            Err(SqlError::Lost) => panic!("only the statement was to end"),
        }
        assert_eq!(victim.reads_at(), REPLICA);
    }
    // The connection, while it runs something on either, and while it is idle.
    for sql in [
        Some("SELECT SLEEP(602)"),
        Some("/* route:primary */ SELECT SLEEP(603)"),
        None,
    ] {
        let mut victim = servers.connect(&balancer);
        if let Some(sql) = sql {
            victim.send(sql);
            let on_replica = !sql.contains("primary");
            wait_for_statement(if on_replica { replica } else { primary }, sql);
        }
        killer.run(&[&format!("KILL {}", victim.thread_id())]);
        quickly(Duration::from_secs(10), || victim.expect_end());
        for server in [primary, replica] {
            until("nothing of it is left", || {
                !server.sql("SHOW FULL PROCESSLIST").contains("SLEEP(60")
            });
        }
    }
    assert_eq!(killer.error("KILL 4000000000").0, 1094);
    assert_eq!(killer.reads_at(), REPLICA);
}

#[track_caller]
fn wait_for_statement(server: &SqlServer, sql: &str) {
    let (_, call) = sql.split_once("SELECT ").unwrap();
    until("it runs", || {
        server.sql("SHOW FULL PROCESSLIST").contains(call)
    });
}

/// The servers allow files of clients, and ringway does.
#[track_caller]
pub(crate) fn allowing_files(servers: &impl Servers) -> Balancer {
    for server in [servers.primary(), servers.replica()] {
        server.sql("SET GLOBAL local_infile = ON");
    }
    Balancer::start(&servers.config().pool_mysql("local_infile = true"))
}

/// A client that offers its files.
#[track_caller]
pub(crate) fn offering_files(servers: &impl Servers, balancer: &Balancer) -> SqlClient {
    let files = servers.login().flag(flags::LOCAL_FILES);
    files.connect(balancer.address()).unwrap()
}

/// The statement has been sent: the file is asked for.
#[track_caller]
pub(crate) fn asked_for(client: &mut SqlClient, name: &str) {
    let request = client.read_or_error().unwrap();
    assert_eq!(request, [b"\xFB", name.as_bytes()].concat());
}

/// Files of clients are asked for where ringway and the servers allow it, and nowhere else.
#[track_caller]
pub(crate) fn files_of_clients_are_denied_and_allowed(servers: &impl Servers) {
    const LOAD: &str = "LOAD DATA LOCAL INFILE 'numbers' INTO TABLE loaded";
    servers.table("loaded", "a INT");
    let allowing = allowing_files(servers);
    {
        let balancer = Balancer::start(&servers.config());
        let mut client = offering_files(servers, &balancer);
        let (code, message) = client.error(LOAD);
        assert_eq!(code, 1148);
        assert!(message.contains("local_infile"), "{message}");
        assert_eq!(client.reads_at(), REPLICA);
    }
    let mut client = offering_files(servers, &allowing);
    client.send(LOAD);
    asked_for(&mut client, "numbers");
    client.write(b"1\n2\n");
    client.write(b"3\n");
    client.write(b"");
    client.done().unwrap();
    // The same with no bytes at all.
    client.send(LOAD);
    asked_for(&mut client, "numbers");
    client.write(b"");
    client.done().unwrap();
    servers.replicate();
    assert_eq!(
        client.row("SELECT COUNT(*), SUM(a), @@server_id FROM loaded"),
        "3 6 2"
    );
    // Who has not offered it is refused by the server.
    let mut plain = servers.connect(&allowing);
    let direct = servers.login().connect(servers.primary().address());
    let direct = direct.unwrap().error(LOAD);
    assert_eq!(plain.error(LOAD), direct);
}

/// An account that may do what the documentation asks for, and nothing else, and its password in a
/// file.
#[derive(Debug)]
pub(crate) struct Monitor(PasswordFile);

impl Monitor {
    /// Makes the account on both servers.
    #[track_caller]
    pub(crate) fn of<S: Servers>(servers: &S) -> Self {
        let right = S::WORDS.monitor_right;
        servers.primary().sql(&format!(
            "CREATE USER watcher@'%' IDENTIFIED BY 'looks'; GRANT {right} ON *.* TO watcher@'%'"
        ));
        servers.replicate();
        Self(PasswordFile::new("looks"))
    }

    fn watching(&self, config: Config, what: &str) -> Config {
        let password = self.0.line();
        // Not so often that the balancer is never at rest.
        config.health_check("interval = \"1s\"").pool(&format!(
            "mysql = {{ {what}, monitor = {{ user = \"watcher\", {password}, \
             interval = \"500ms\" }} }}"
        ))
    }

    /// A listener before the two, with a replica that may be two seconds late.
    pub(crate) fn watching_lag(&self, servers: &impl Servers) -> Config {
        let config = Config::to([servers.primary().address(), servers.replica().address()])
            .listener("protocol = \"mysql\"")
            .server(0, "role = \"primary\"")
            .server(1, "role = \"replica\"");
        self.watching(config, "max_replication_lag = \"2s\"")
    }

    /// A listener before the two, whose roles are what they say themselves.
    fn watching_roles(&self, servers: &impl Servers) -> Config {
        let config = Config::to([servers.primary().address(), servers.replica().address()])
            .listener("protocol = \"mysql\"");
        self.watching(config, "roles = \"read_only\"")
    }
}

/// 1 while the replica is read.
pub(crate) fn usable(metrics: &Metrics) -> f64 {
    metrics.sum("ringway_mysql_replica_usable", &[("server", "s1")])
}

/// 1 if the data of the pair's replica is seen to come from the primary.
pub(crate) fn follows_primary(metrics: &Metrics) -> f64 {
    let labels = [("server", "s1")];
    metrics.sum("ringway_mysql_replica_follows_primary", &labels)
}

/// Within a look, sessions that are open read the primary while the replica stands still or is too
/// far behind, and the replica again afterwards. Returns the balancer that has looked.
#[track_caller]
pub(crate) fn a_replica_is_not_read_while_it_lags_or_stands_still<S: Servers>(
    servers: &S,
    monitor: &Monitor,
) -> Balancer {
    let replica = servers.replica();
    let mut balancer = Balancer::start(&monitor.watching_lag(servers));
    let read = |balancer: &Balancer| {
        balancer.wait_for("a replica that is read", |m| usable(m) == 1.0);
    };
    let not_read = |balancer: &Balancer| {
        balancer.wait_for("a replica that is not read", |m| usable(m) == 0.0);
    };
    read(&balancer);
    balancer.wait_for("a replica of the primary", |m| follows_primary(m) == 1.0);
    balancer.take_baseline();
    let mut session = servers.connect(&balancer);
    assert_eq!(session.reads_at(), REPLICA);

    replica.sql(S::WORDS.stop);
    not_read(&balancer);
    assert_eq!(session.reads_at(), PRIMARY);
    assert_eq!(servers.connect(&balancer).reads_at(), PRIMARY);
    replica.sql(S::WORDS.start);
    read(&balancer);
    assert_eq!(session.reads_at(), REPLICA);

    // It follows, too far behind.
    replica.sql(S::WORDS.delay);
    servers.primary().sql("CREATE TABLE shop.late (a INT)");
    let lag = |m: &Metrics| m.sum("ringway_mysql_replication_lag_seconds", &[("server", "s1")]);
    balancer.wait_for("a lag that is seen", |m| lag(m) > 2.0);
    not_read(&balancer);
    assert_eq!(session.row("SELECT COUNT(*), @@server_id FROM late"), "0 1");
    replica.sql(S::WORDS.no_delay);
    read(&balancer);
    assert_eq!(session.row("SELECT COUNT(*), @@server_id FROM late"), "0 2");
    balancer
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

/// Exactly one server that takes writes gets them; two or none raise the alarm, and leave what was.
/// In the end the first one takes writes from everybody again, and the second one from nobody.
#[track_caller]
pub(crate) fn roles_follow_read_only_and_two_writable_servers_raise_the_alarm<S: Servers>(
    servers: &S,
    monitor: &Monitor,
) {
    let [first, second] = [servers.primary(), servers.replica()];
    let mut balancer = Balancer::start(&monitor.watching_roles(servers));
    balancer.wait_for("the first one to be the primary", |m| {
        roles(m) == "primary s0, replica s1"
    });
    balancer.take_baseline();
    let ask_once = |balancer: &Balancer, sql: &str| servers.connect(balancer).row(sql);
    assert_eq!(ask_once(&balancer, WHO_WRITES), PRIMARY);
    assert_eq!(ask_once(&balancer, "SELECT @@server_id"), REPLICA);

    // Both take writes: the incumbent stays.
    balancer.expect_error("several servers take writes");
    second.sql(S::WORDS.writable);
    let wait_for_writable = |balancer: &Balancer, count: f64| {
        balancer.wait_for("so many servers take writes", |m| {
            m.sum("ringway_mysql_writable_servers", &[]) == count
        });
    };
    wait_for_writable(&balancer, 2.0);
    balancer.wait_for_log("several servers take writes");
    assert_eq!(roles(&balancer.metrics()), "primary s0, replica ");
    assert_eq!(ask_once(&balancer, WHO_WRITES), PRIMARY);

    // The incumbent steps back: the other one is the only one left.
    first.sql(S::WORDS.read_only);
    balancer.wait_for("the second one to be the primary", |m| {
        roles(m) == "primary s1, replica s0"
    });
    balancer.wait_for_log("exactly one server takes writes again");
    assert_eq!(ask_once(&balancer, WHO_WRITES), REPLICA);
    assert_eq!(ask_once(&balancer, "SELECT @@server_id"), PRIMARY);

    // Nobody takes writes.
    balancer.expect_error("no server takes writes");
    second.sql(S::WORDS.read_only);
    wait_for_writable(&balancer, 0.0);
    balancer.wait_for_log("no server takes writes");
    let mut session = servers.connect(&balancer);
    assert_eq!(session.error("DELETE FROM t").0, 1290);
    assert_eq!(session.row("SELECT 7"), "7", "reads go on");
    drop(session);
    first.sql(S::WORDS.writable);
    balancer.wait_for("the first one to be the primary", |m| {
        roles(m) == "primary s0, replica s1"
    });
    assert_eq!(ask_once(&balancer, WHO_WRITES), PRIMARY);
}
