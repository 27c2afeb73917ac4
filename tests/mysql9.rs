//! MySQL 9 as primary and replica, through the real program: logins by `caching_sha2_password`, its
//! own command line and MariaDB's, what of the protocol only MySQL has, GTIDs, a lost replica.

mod support;

use std::process::Output;
use std::time::Duration;

use self::support::sql_client::{commands, flags, line};
use self::support::{
    Balancer, Config, Login, Mysql9Pair, PRIMARY, PasswordFile, REPLICA, SqlClient, eventually,
    mariadb, mysql9, quickly, until,
};

/// The account that both servers know by heart, once it has logged in at each.
const APP: (&str, &str) = ("app", "secret");

/// What is far below any timeout, and far above what an answer takes.
const AT_ONCE: Duration = Duration::from_secs(5);

fn config(pair: &Mysql9Pair) -> Config {
    Config::mysql(pair.primary.address(), pair.replica.address())
}

/// A balancer in front of servers that know `app` by heart.
#[track_caller]
fn balancer(pair: &Mysql9Pair) -> Balancer {
    warm_up(pair);
    Balancer::start(&config(pair))
}

/// Servers know who has logged in before, until they are started again.
#[track_caller]
fn warm_up(pair: &Mysql9Pair) {
    for server in [&pair.primary, &pair.replica] {
        server.make_known(APP.0, APP.1);
    }
}

#[track_caller]
fn said(output: &Output) -> String {
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{error}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn error_of(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// `app` with a signature of `caching_sha2_password`.
fn login() -> Login {
    Login::default().sha2()
}

#[track_caller]
fn connect(balancer: &Balancer) -> SqlClient {
    let connected = login().connect(balancer.address());
    connected.unwrap_or_else(|error| panic!("no login: {error:?}"))
}

/// Where this account reads through the balancer.
#[track_caller]
fn reads_of(balancer: &Balancer, account: (&str, &str)) -> String {
    let output = mysql9(balancer.address(), account, &[], "SELECT @@server_id");
    said(&output).trim().to_owned()
}

#[test]
fn these_are_servers_and_a_client_of_mysql_9() {
    let pair = Mysql9Pair::shared();
    for server in [&pair.primary, &pair.replica] {
        let version = server.sql("SELECT @@version, @@gtid_mode, @@authentication_policy");
        assert!(version.starts_with("9."), "{version}");
        assert!(version.ends_with("\tON\t*,,\n"), "{version}");
    }
}

#[test]
fn an_account_that_both_servers_know_by_heart_is_passed_through_to_both() {
    let pair = Mysql9Pair::shared();
    let balancer = balancer(&pair);
    let sql = "SELECT @@server_id; DO 1; SELECT CURRENT_USER(); /* route:primary */
               SELECT @@server_id";
    for _ in 0..3 {
        let by_mysql = mysql9(balancer.address(), APP, &["--comments"], sql);
        assert_eq!(said(&by_mysql), "2\napp@%\n1\n");
        let by_mariadb = mariadb(balancer.address(), "secret", &["--comments"], sql);
        assert_eq!(said(&by_mariadb), "2\napp@%\n1\n");
    }
    for password in ["wrong", ""] {
        let refused = mysql9(balancer.address(), ("app", password), &[], "SELECT 1");
        assert!(!refused.status.success());
        assert!(error_of(&refused).contains("Access denied for user 'app'@"));
    }
}

#[test]
fn an_account_that_the_servers_have_not_seen_yet_logs_in_and_reads_at_the_primary() {
    // Others would lose what the servers know of them.
    let pair = Mysql9Pair::alone();
    pair.primary
        .sql("CREATE USER cold@'%' IDENTIFIED BY 'cold'; GRANT ALL ON shop.* TO cold@'%'");
    pair.replicate();
    let cold = ("cold", "cold");
    let balancer = balancer(&pair);
    // Who does not trust an unknown key with the password is told what a server would tell.
    let without_key = ["--skip-get-server-public-key"];
    let refused = mysql9(balancer.address(), cold, &without_key, "SELECT 1");
    assert!(error_of(&refused).contains("requires secure connection"));
    // The whole password goes to the primary, by its public key; then the primary knows it.
    for _ in 0..3 {
        assert_eq!(reads_of(&balancer, cold), PRIMARY);
    }
    balancer.wait_for("why they had no replica", |metrics| {
        let sessions = |reason| {
            let name = "ringway_mysql_primary_only_sessions_total";
            metrics.sum(name, &[("reason", reason)])
        };
        sessions("full_authentication") == 1.0 && sessions("replica_full_authentication") == 2.0
    });
    // The replica gets to know it when the client is there itself.
    said(&mysql9(pair.replica.address(), cold, &[], "DO 1"));
    assert_eq!(reads_of(&balancer, cold), REPLICA);
    // What MariaDB's client makes of it.
    pair.primary.sql("FLUSH LOCAL PRIVILEGES");
    let sql = "SELECT @@server_id";
    let by_mariadb = mariadb(balancer.address(), "secret", &[], sql);
    assert_eq!(said(&by_mariadb), "1\n");
    let by_mariadb = mariadb(balancer.address(), "secret", &[], sql);
    assert_eq!(said(&by_mariadb), "2\n");
    pair.primary.sql("DROP USER cold@'%'");
}

#[test]
fn an_account_of_the_configuration_reads_at_a_replica_that_has_never_seen_it() {
    let pair = Mysql9Pair::shared();
    pair.primary
        .sql("CREATE USER known@'%' IDENTIFIED BY 'known'; GRANT ALL ON shop.* TO known@'%'");
    pair.replicate();
    let secret = PasswordFile::new("known");
    let balancer = Balancer::start(&config(&pair).mysql_user("known", &secret.line()));
    let known = ("known", "known");
    for _ in 0..2 {
        assert_eq!(reads_of(&balancer, known), REPLICA);
    }
    let refused = mysql9(balancer.address(), ("known", "wrong"), &[], "SELECT 1");
    assert!(error_of(&refused).contains("Access denied for user 'known'@"));
    pair.primary.sql("DROP USER known@'%'");
}

#[test]
fn an_account_without_a_password_is_passed_through_to_both() {
    let pair = Mysql9Pair::shared();
    pair.primary
        .sql("CREATE USER open@'%'; GRANT ALL ON shop.* TO open@'%'");
    pair.replicate();
    let balancer = balancer(&pair);
    assert_eq!(reads_of(&balancer, ("open", "")), REPLICA);
    pair.primary.sql("DROP USER open@'%'");
}

#[test]
fn writes_are_the_primarys_and_reads_the_replicas() {
    let pair = Mysql9Pair::shared();
    let balancer = balancer(&pair);
    pair.primary.sql("CREATE TABLE shop.routed (a INT, b TEXT)");
    let write = "INSERT INTO routed VALUES (1, 'one'), (2, @@server_id)";
    said(&mysql9(balancer.address(), APP, &[], write));
    pair.replicate();
    let script = "SELECT @@server_id, a, b FROM routed ORDER BY a;
        WITH x AS (SELECT a FROM routed) SELECT @@server_id, COUNT(*) FROM x;
        TABLE routed ORDER BY a LIMIT 1; VALUES ROW(1, @@server_id);
        SELECT @@server_id FROM routed LIMIT 1 FOR UPDATE;
        BEGIN; SELECT @@server_id; ROLLBACK;
        START TRANSACTION READ ONLY; SELECT @@server_id; COMMIT;
        SET autocommit = 0; SELECT @@server_id; SET autocommit = 1; SELECT @@server_id;
        SELECT JSON_OBJECT('at', @@server_id), UUID_TO_BIN(UUID()) IS NULL;
        SELECT @@server_id, LAST_INSERT_ID();";
    let expected = "2\t1\tone\n2\t2\t1\n2\t2\n1\tone\n1\t2\n1\n1\n2\n1\n2\n{\"at\": 2}\t0\n1\t0\n";
    for options in [&[][..], &["--quick"]] {
        let output = mysql9(balancer.address(), APP, options, script);
        assert_eq!(said(&output), expected);
    }
    assert_eq!(
        said(&mariadb(balancer.address(), "secret", &[], script)),
        expected
    );
}

#[test]
fn what_comes_through_is_what_would_have_come_without() {
    let pair = Mysql9Pair::shared();
    let balancer = balancer(&pair);
    let script = "SELECT 'a', NULL UNION SELECT 'b', 2; DO 1; SHOW WARNINGS; SELECT nothing;
        SELECT LENGTH(x), x FROM (SELECT REPEAT('y', 17000000) x) t;
        SELECT 1/0; SHOW WARNINGS; USE shop; SELECT DATABASE();
        CREATE TEMPORARY TABLE of_mine (a INT); INSERT INTO of_mine VALUES (7);
        SELECT * FROM of_mine; SELECT ROW_COUNT(); CREATE TABLE nowhere.t (a INT);
        PREPARE p FROM 'SELECT ? + 1'; SET @a = 7; EXECUTE p USING @a; DEALLOCATE PREPARE p;
        SELECT * FROM JSON_TABLE('[1, 2]', '$[*]' COLUMNS (x INT PATH '$')) t;
        delimiter //
        SELECT 5 // delimiter ;
        status";
    let options = ["--force", "--max-allowed-packet=64M"];
    let direct = mysql9(pair.primary.address(), APP, &options, script);
    let through = mysql9(balancer.address(), APP, &options, script);
    let text = |output: &Output| {
        let stdout = String::from_utf8_lossy(&output.stdout);
        // What is each connection's own.
        let lines = stdout.lines().filter(|line| {
            let own = ["Connection id", "TCP port", "Uptime", "Threads:"];
            !own.iter().any(|own| line.starts_with(own))
        });
        lines.collect::<Vec<_>>().join("\n")
    };
    assert!(text(&direct).len() > 17_000_000);
    assert!(text(&direct) == text(&through));
    assert_eq!(error_of(&direct), error_of(&through));
}

#[test]
fn prepared_statements_run_where_their_text_belongs() {
    let pair = Mysql9Pair::shared();
    let balancer = balancer(&pair);
    pair.primary
        .sql("CREATE TABLE shop.prepared (a INT, b TEXT)");
    let mut client = connect(&balancer);
    let write = client.prepare("INSERT INTO prepared VALUES (?, ?)");
    for (number, is_first) in [("1", true), ("2", false)] {
        client.execute(write, &[number, "text"], is_first).unwrap();
    }
    pair.replicate();
    let read = client.prepare("SELECT @@server_id, a, b FROM prepared WHERE a >= ? ORDER BY a");
    for is_first in [true, false] {
        let rows = client.execute(read, &["1"], is_first).unwrap();
        let rows: Vec<_> = rows.iter().map(|row| line(row)).collect();
        assert_eq!(rows, ["2 1 text", "2 2 text"]);
    }
    client.run(&["BEGIN"]);
    let rows = client.execute(read, &["2"], false).unwrap();
    assert_eq!(line(&rows[0]), "1 2 text");
    client.run(&["COMMIT"]);
    let rows = client.execute(read, &["2"], false).unwrap();
    assert_eq!(line(&rows[0]), "2 2 text");
    client.reset();
    assert_eq!(client.reads_at(), REPLICA);
}

#[test]
fn attributes_of_a_query_reach_the_server_that_runs_it() {
    let pair = Mysql9Pair::shared();
    let balancer = balancer(&pair);
    let script = "query_attributes name one
        SELECT mysql_query_attribute_string('name'), @@server_id;
        query_attributes name two other three
        /* route:replica */ SELECT mysql_query_attribute_string('name'),
            mysql_query_attribute_string('other'), @@server_id;
        query_attributes name four
        BEGIN;
        SELECT @@server_id;
        SELECT @@server_id;
        COMMIT;";
    let output = mysql9(balancer.address(), APP, &["--comments"], script);
    // The function is no built-in one, so that only a hint brings it to the replica.
    assert_eq!(said(&output), "one\t1\ntwo\tthree\t2\n1\n1\n");
}

#[test]
fn a_client_that_tracks_its_session_is_told_and_another_one_is_not() {
    let pair = Mysql9Pair::shared();
    warm_up(&pair);
    pair.primary.sql("CREATE TABLE shop.tracked (a INT)");
    pair.replicate();
    let gtids = config(&pair).pool_mysql("read_after_write = \"gtid\"");
    let tracked = |config: &Config, tracks: bool| {
        let balancer = Balancer::start(config);
        let login = if tracks {
            login().flag(flags::SESSION_TRACK)
        } else {
            login()
        };
        let mut client = login.connect(balancer.address()).unwrap();
        client.command(commands::INIT_DB, b"shop");
        let of_schema = client.read().unwrap();
        client.command(commands::QUERY, b"INSERT INTO tracked VALUES (1)");
        let of_write = client.read().unwrap();
        (of_schema, of_write)
    };
    const CHANGED: u8 = 0x40;
    for config in [config(&pair), gtids] {
        let (of_schema, _) = tracked(&config, true);
        assert_eq!(of_schema[4] & CHANGED, CHANGED, "{of_schema:?}");
        assert!(of_schema.ends_with(b"\x04shop"), "{of_schema:?}");
        for packet in <[_; 2]>::from(tracked(&config, false)) {
            assert_eq!(packet[0], 0);
            assert_eq!(packet[4] & CHANGED, 0, "{packet:?}");
            assert_eq!(packet.len(), 7, "{packet:?}");
        }
    }
}

#[test]
fn with_gtids_a_session_reads_the_replica_once_that_has_what_it_wrote() {
    let pair = Mysql9Pair::alone();
    warm_up(&pair);
    pair.primary.sql("CREATE TABLE shop.awaited (a INT)");
    pair.replicate();
    let config = config(&pair)
        .pool_mysql("read_after_write = \"gtid\"")
        .pool_mysql("gtid_wait = \"100ms\"");
    let balancer = Balancer::start(&config);
    let mut client = connect(&balancer);
    assert_eq!(client.reads_at(), REPLICA);
    for number in 1..=20 {
        client.run(&[&format!("INSERT INTO awaited VALUES ({number})")]);
        let own = client.row("SELECT COUNT(*) FROM awaited");
        assert_eq!(own, number.to_string(), "its own writes");
    }
    until("the replica is used", || client.reads_at() == REPLICA);

    pair.hold_replication();
    client.run(&["BEGIN", "INSERT INTO awaited VALUES (21)", "COMMIT"]);
    let sql = "SELECT COUNT(*), @@server_id FROM awaited";
    assert_eq!(client.row(sql), "21 1");
    assert_eq!(client.row(&format!("/* route:replica */ {sql}")), "20 2");
    // The same for clients of the world, which ask for tracking themselves.
    let script = format!("INSERT INTO awaited VALUES (22); {sql}");
    let output = mysql9(balancer.address(), APP, &[], &script);
    assert_eq!(said(&output), "22\t1\n");
    pair.release_replication();
    assert_eq!(client.row(sql), "22 2");
}

#[test]
fn a_lost_replica_is_done_without_until_it_is_back() {
    let mut pair = Mysql9Pair::alone();
    let balancer = balancer(&pair);
    let mut client = connect(&balancer);
    assert_eq!(client.reads_at(), REPLICA);
    client.send("SELECT SLEEP(1), @@server_id");
    until("it runs", || {
        pair.replica.sql("SHOW FULL PROCESSLIST").contains("SLEEP")
    });
    pair.replica.kill();
    let rows = quickly(AT_ONCE, || client.results()).unwrap();
    assert_eq!(line(&rows[0]), "0 1", "it runs again at the primary");
    assert_eq!(client.reads_at(), PRIMARY);
    client.run(&["BEGIN", "ROLLBACK"]);
    assert_eq!(quickly(AT_ONCE, || reads_of(&balancer, APP)), PRIMARY);
    pair.replica.start_again();
    // It has forgotten everybody.
    warm_up(&pair);
    eventually(|| match reads_of(&balancer, APP).as_str() {
        REPLICA => Ok(()),
        other => Err(format!("reads are at {other}")),
    });
    pair.replicate();
}

#[test]
fn without_the_primary_a_client_logs_in_by_the_replica_and_reads() {
    let mut pair = Mysql9Pair::alone();
    let balancer = balancer(&pair);
    pair.primary.kill();
    assert_eq!(quickly(AT_ONCE, || reads_of(&balancer, APP)), REPLICA);
    let by_mariadb = mariadb(balancer.address(), "secret", &[], "SELECT @@server_id");
    assert_eq!(said(&by_mariadb), "2\n");
    let refused = mysql9(balancer.address(), APP, &[], "CREATE TABLE t (a INT)");
    assert!(
        error_of(&refused).contains("ERROR 1290"),
        "{}",
        error_of(&refused)
    );
    pair.primary.start_again();
    warm_up(&pair);
    until("writes are taken again", || {
        let sql = "CREATE TABLE IF NOT EXISTS back (a INT)";
        mysql9(balancer.address(), APP, &[], sql).status.success()
    });
    pair.replicate();
}
