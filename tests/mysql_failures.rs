//! A server of a MySQL session is lost, at every moment at which that matters: what its client sees
//! of it, and that no statement runs twice.

mod support;

use std::time::Duration;

use nix::sys::signal::Signal;

use self::support::sql_client::{commands, line};
use self::support::{
    Balancer, Config, Login, MariaDb, Metrics, PRIMARY, Pair, REPLICA, Rogue, SqlClient, SqlError,
    eventually, quickly, until,
};

/// What is far below any timeout, and far above what an answer takes.
const AT_ONCE: Duration = Duration::from_secs(5);

/// `ER_OPTION_PREVENTS_STATEMENT`: only reads, now.
const READ_ONLY: u16 = 1290;
/// `CR_SERVER_LOST`
const LOST: u16 = 2013;

fn pair() -> Pair {
    let pair = MariaDb::pair(&[]);
    pair.primary
        .sql("CREATE TABLE shop.t (id INT PRIMARY KEY, v TEXT)");
    pair.replicate();
    pair
}

/// The number of the error that a server's loss was told with.
#[track_caller]
fn code<T: std::fmt::Debug>(answer: Result<T, SqlError>) -> u16 {
    match answer {
        Err(SqlError::Server(code, ..)) => code,
        other => panic!("{other:?}"),
    }
}

/// Sends a statement to a server that is stuck, and ends the server.
fn lose(server: &mut MariaDb, client: &mut SqlClient, sql: &str) {
    server.signal(Signal::SIGSTOP);
    client.send(sql);
    assert!(
        client.is_silent_for(Duration::from_millis(300)),
        "it is stuck"
    );
    server.kill();
}

#[test]
fn the_replica_is_lost_while_nothing_runs() {
    let mut pair = pair();
    let balancer = pair.balancer();
    let mut client = SqlClient::connect(balancer.address());
    assert_eq!(client.reads_at(), REPLICA);
    pair.replica.kill();
    for _ in 0..3 {
        assert_eq!(quickly(AT_ONCE, || client.reads_at()), PRIMARY);
    }
    client.run(&["INSERT INTO t VALUES (1, 'a')"]);
    // New sessions do without it, and use it again once it is back.
    let mut other = quickly(AT_ONCE, || SqlClient::connect(balancer.address()));
    assert_eq!(other.reads_at(), PRIMARY);
    pair.replica.start_again();
    until("new sessions read there again", || {
        SqlClient::connect(balancer.address()).reads_at() == REPLICA
    });
    // A session whose password nobody knows stays as it is.
    assert_eq!(client.reads_at(), PRIMARY);
}

#[test]
fn an_account_of_the_configuration_gets_a_replica_again() {
    let mut pair = pair();
    let balancer = Balancer::start(&pair.config_with_account());
    let mut client = SqlClient::connect(balancer.address());
    client.run(&["SET @a = 7"]);
    assert_eq!(client.row("SELECT @a, @@server_id"), "7 2");
    pair.replica.kill();
    assert_eq!(client.row("SELECT @a, @@server_id"), "7 1");
    // What is done while there is no replica is repeated there, too.
    client.run(&["USE information_schema", "USE mysql", "USE shop"]);
    client.run(&["SET time_zone = '+07:00'", "SET @b = 8", "SET @b = @b + 1"]);
    pair.replica.start_again();
    until("it reads there again", || client.reads_at() == REPLICA);
    assert_eq!(
        client.row("SELECT @a, @b, @@session.time_zone, DATABASE(), @@server_id"),
        "7 9 +07:00 shop 2"
    );
    // A reset session has no more than the schema that it was in.
    client.run(&["USE information_schema", "USE shop"]);
    client.reset();
    pair.replica.kill();
    pair.replica.start_again();
    until("it reads there again", || client.reads_at() == REPLICA);
    assert_eq!(
        client.row("SELECT @a, @@session.time_zone, DATABASE(), @@server_id"),
        "NULL SYSTEM shop 2"
    );
}

#[test]
fn b_11_a_read_of_which_nothing_has_come_runs_again_on_the_primary() {
    let mut pair = pair();
    let balancer = pair.balancer();
    let mut client = SqlClient::connect(balancer.address());
    client.send("SELECT SLEEP(1), @@server_id");
    until("it runs", || {
        pair.replica
            .sql("SHOW FULL PROCESSLIST")
            .contains("SLEEP(1)")
    });
    pair.replica.kill();
    let rows = client.results().unwrap();
    assert_eq!(
        rows.iter().map(|row| line(row)).collect::<Vec<_>>(),
        ["0 1"]
    );
    assert_eq!(client.reads_at(), PRIMARY);
    // The same for a prepared statement.
    pair.replica.start_again();
    let mut client = eventually(|| {
        let mut client = SqlClient::connect(balancer.address());
        match client.reads_at().as_str() {
            REPLICA => Ok(client),
            other => Err(format!("it reads at {other}")),
        }
    });
    let read = client.prepare("SELECT SLEEP(1), @@server_id, ?");
    client.send_execute(read.id, &["word"], true, 0);
    until("it runs", || {
        pair.replica
            .sql("SHOW FULL PROCESSLIST")
            .contains("SLEEP(1)")
    });
    pair.replica.kill();
    let rows = client.executed().unwrap();
    assert_eq!(line(&rows[0]), "0 1 word");
}

#[test]
fn a_reply_that_has_begun_ends_in_an_error_or_a_close_and_is_never_a_mixture() {
    let mut pair = pair();
    let balancer = pair.balancer();
    let mut client = SqlClient::connect(balancer.address());
    client.send("SELECT REPEAT('r', 5000), @@server_id, SLEEP(0.002) FROM seq_1_to_100000");
    // Some of the rows are out: the rest never comes.
    let head = client.read_or_error().unwrap();
    assert_eq!(head, [3], "the number of columns");
    pair.replica.kill();
    let rest = quickly(AT_ONCE, || client.rest_of_rows(3));
    for row in &rest.0 {
        assert!(line(row) == format!("{} 2 0", "r".repeat(5000)), "{row:?}");
    }
    assert!(rest.0.len() < 100_000);
    match rest.1 {
        SqlError::Lost => {}
        SqlError::Server(code, ..) => {
            assert_eq!(code, LOST);
            assert_eq!(client.reads_at(), PRIMARY, "no leftovers");
        }
    }
}

#[test]
fn a_read_only_transaction_is_lost_with_its_replica() {
    let mut pair = pair();
    let balancer = pair.balancer();
    for in_statement in [false, true] {
        let mut client = eventually(|| {
            let mut client = SqlClient::connect(balancer.address());
            match client.reads_at().as_str() {
                REPLICA => Ok(client),
                other => Err(format!("it reads at {other}")),
            }
        });
        client.run(&["START TRANSACTION READ ONLY"]);
        assert_eq!(client.row("SELECT COUNT(*), @@server_id FROM t"), "0 2");
        if in_statement {
            lose(&mut pair.replica, &mut client, "SELECT COUNT(*) FROM t");
            assert_eq!(code(client.results()), LOST);
        } else {
            pair.replica.kill();
            assert_eq!(code(client.ask("SELECT COUNT(*) FROM t")), LOST);
        }
        client.expect_end();
        pair.replica.start_again();
    }
}

#[test]
fn b_11_a_transaction_is_lost_with_its_primary_and_a_commit_is_never_repeated() {
    let mut pair = pair();
    let balancer = pair.balancer();
    // Between two statements, in one, and while it is committed.
    for (id, last) in [
        (1, None),
        (2, Some("INSERT INTO t VALUES (20, '')")),
        (3, Some("COMMIT")),
    ] {
        let mut client = eventually(|| {
            let mut client = Login::default()
                .connect(balancer.address())
                .map_err(|error| format!("{error:?}"))?;
            let begun = client.ask("BEGIN");
            begun.map(|_| client).map_err(|error| format!("{error:?}"))
        });
        client.run(&[&format!("INSERT INTO t VALUES ({id}, '')")]);
        if let Some(sql) = last {
            lose(&mut pair.primary, &mut client, sql);
            assert_eq!(code(client.results()), LOST);
        } else {
            pair.primary.kill();
            assert_eq!(code(client.ask("INSERT INTO t VALUES (10, '')")), LOST);
        }
        client.expect_end();
        pair.primary.start_again();
        assert_eq!(pair.primary.sql("SELECT COUNT(*) FROM shop.t"), "0\n");
    }
}

#[test]
fn b_11_a_write_is_never_repeated() {
    let mut pair = pair();
    let balancer = pair.balancer();
    let mut client = SqlClient::connect(balancer.address());
    lose(
        &mut pair.primary,
        &mut client,
        "INSERT INTO t VALUES (1, '')",
    );
    assert_eq!(code(client.results()), LOST);
    // Outside a transaction the session can still read.
    assert_eq!(client.row("SELECT COUNT(*), @@server_id FROM t"), "0 2");
    assert_eq!(client.error("INSERT INTO t VALUES (2, '')").0, READ_ONLY);
    pair.primary.start_again();
    assert_eq!(pair.primary.sql("SELECT COUNT(*) FROM shop.t"), "0\n");
}

#[test]
fn without_the_primary_reads_go_on_and_writes_are_refused_at_once() {
    let mut pair = pair();
    pair.primary.sql("INSERT INTO shop.t VALUES (1, 'one')");
    pair.replicate();
    let balancer = pair.balancer();
    let mut old = SqlClient::connect(balancer.address());
    let prepared = old.prepare("SELECT v FROM t WHERE id = ?");
    assert_eq!(
        line(&old.execute(prepared, &["1"], true).unwrap()[0]),
        "one"
    );
    pair.primary.kill();
    // New sessions log in by the replica.
    let mut new = quickly(AT_ONCE, || SqlClient::connect(balancer.address()));
    for client in [&mut old, &mut new] {
        assert_eq!(client.row("SELECT v, @@server_id FROM t"), "one 2");
        client.run(&["SET @a = 3", "USE shop"]);
        assert_eq!(client.row("SELECT @a"), "3");
        let (code, message) = quickly(AT_ONCE, || client.error("DELETE FROM t"));
        assert_eq!(code, READ_ONLY);
        assert!(message.contains("primary is away"), "{message}");
        assert_eq!(client.error("SELECT * FROM t FOR UPDATE").0, READ_ONLY);
        assert_eq!(client.error("BEGIN").0, READ_ONLY);
        client.run(&["START TRANSACTION READ ONLY", "SELECT * FROM t", "COMMIT"]);
        client.command(commands::PING, &[]);
        client.done().unwrap();
    }
    assert_eq!(
        line(&old.execute(prepared, &["1"], false).unwrap()[0]),
        "one"
    );
    let refused = Login::default()
        .user("app", "wrong")
        .connect(balancer.address());
    assert_eq!(code(refused), 1045);
}

#[test]
fn a_session_that_lost_its_primary_is_sent_away_when_that_is_back() {
    let mut pair = pair();
    let balancer = pair.balancer();
    let mut client = SqlClient::connect(balancer.address());
    pair.primary.kill();
    assert_eq!(client.error("DELETE FROM t").0, READ_ONLY);
    let up = |metrics: &Metrics| metrics.sum("ringway_server_up", &[("server", "s0")]);
    balancer.wait_for("the primary is down", |metrics| up(metrics) == 0.0);
    assert_eq!(client.error("DELETE FROM t").0, READ_ONLY);
    pair.primary.start_again();
    balancer.wait_for("the primary is up", |metrics| up(metrics) == 1.0);
    assert_eq!(client.reads_at(), REPLICA, "reads are not disturbed");
    assert_eq!(code(client.ask("DELETE FROM t")), LOST);
    client.expect_end();
    let mut new = SqlClient::connect(balancer.address());
    new.run(&["INSERT INTO t VALUES (1, '')"]);
}

#[test]
fn without_any_server_there_is_a_proper_error() {
    let mut pair = pair();
    let balancer = pair.balancer();
    let mut client = SqlClient::connect(balancer.address());
    let mut busy = SqlClient::connect(balancer.address());
    busy.send("SELECT SLEEP(600)");
    until("it runs", || {
        pair.replica
            .sql("SHOW FULL PROCESSLIST")
            .contains("SLEEP(600)")
    });
    pair.primary.kill();
    pair.replica.kill();
    assert_eq!(code(quickly(AT_ONCE, || busy.results())), LOST);
    busy.expect_end();
    // An idle session is told, or is closed.
    quickly(AT_ONCE, || match client.ask("SELECT 1") {
        Err(SqlError::Server(code, ..)) => assert_eq!(code, LOST),
        Err(SqlError::Lost) => {}
        Ok(rows) => panic!("{rows:?}"),
    });
    let refused = quickly(AT_ONCE, || Login::default().connect(balancer.address()));
    let Err(SqlError::Server(code, _, message)) = refused else {
        panic!("{refused:?}");
    };
    assert_eq!(code, 1105);
    assert!(message.contains("server"), "{message}");
}

#[test]
fn errors_of_a_server_that_is_overloaded_or_contended_are_passed_on() {
    let pair = pair();
    let balancer = pair.balancer();
    let mut one = SqlClient::connect(balancer.address());
    let mut two = SqlClient::connect(balancer.address());
    one.run(&["INSERT INTO t VALUES (1, ''), (2, '')"]);
    // A deadlock.
    one.run(&["BEGIN", "UPDATE t SET v = 'one' WHERE id = 1"]);
    two.run(&["BEGIN", "UPDATE t SET v = 'two' WHERE id = 2"]);
    one.send("UPDATE t SET v = 'one' WHERE id = 2");
    two.send("UPDATE t SET v = 'two' WHERE id = 1");
    let answers = [one.results(), two.results()];
    let failed = answers
        .into_iter()
        .filter_map(Result::err)
        .collect::<Vec<_>>();
    assert!(
        matches!(&failed[..], [SqlError::Server(1213, ..)]),
        "{failed:?}"
    );
    // A lock that is not to be had.
    one.run(&["ROLLBACK"]);
    two.run(&["ROLLBACK", "SET innodb_lock_wait_timeout = 1"]);
    one.run(&["BEGIN", "UPDATE t SET v = 'one' WHERE id = 1"]);
    assert_eq!(two.error("UPDATE t SET v = 'two' WHERE id = 1").0, 1205);
    one.run(&["ROLLBACK"]);
    // No connection is left at the primary.
    pair.primary.sql("SET GLOBAL max_connections = 10");
    let mut all = Vec::new();
    let refused = loop {
        match Login::default().connect(balancer.address()) {
            Ok(client) => all.push(client),
            Err(error) => break error,
        }
        assert!(all.len() < 20);
    };
    assert!(matches!(refused, SqlError::Server(1040, ..)), "{refused:?}");
    let up = balancer
        .metrics()
        .sum("ringway_server_up", &[("server", "s0")]);
    assert_eq!(up, 1.0, "it is not down");
    drop(all);
    until("there is room again", || {
        Login::default().connect(balancer.address()).is_ok()
    });
}

/// A server that has had enough of the balancer's address says so in place of a greeting.
#[test]
fn that_a_server_has_blocked_the_balancer_is_told_to_its_clients_in_the_servers_words() {
    let words = "Host '127.0.0.1' is blocked because of many connection errors";
    let greeting = [b"\xff\x69\x04", words.as_bytes()].concat();
    let blocked = Rogue::default().greeting(&greeting).start();
    let replica = Rogue::default().start();
    let balancer = Balancer::start(&Config::mysql(blocked.address, replica.address));
    for _ in 0..10 {
        let refused = quickly(AT_ONCE, || Login::default().connect(balancer.address()));
        let Err(SqlError::Server(1129, _, told)) = refused else {
            panic!("{refused:?}");
        };
        assert_eq!(told, words);
    }
    // As soon as somebody has flushed its hosts.
    blocked.becomes(Rogue::default());
    let mut client = SqlClient::connect(balancer.address());
    client.run(&["DELETE FROM t"]);
}

#[test]
fn a_client_that_leaves_in_the_middle_leaves_nothing_behind() {
    let pair = pair();
    let balancer = Balancer::start(&pair.config().pool("half_close_timeout = \"1s\""));
    let statements = [
        ("SELECT SLEEP(600)", &pair.replica),
        ("/* route:primary */ SELECT SLEEP(601)", &pair.primary),
    ];
    for (closed, (sql, server)) in (1..).zip(statements) {
        let mut client = SqlClient::connect(balancer.address());
        client.send(sql);
        until("it runs", || {
            server.sql("SHOW FULL PROCESSLIST").contains("SLEEP(60")
        });
        drop(client);
        // It looks like one that has only finished sending.
        balancer.wait_closed("ringway", "half_close_timeout", closed);
    }
}
