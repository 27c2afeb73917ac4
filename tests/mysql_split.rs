//! The MySQL port over a real primary and its replica: what goes where, seen on the servers
//! themselves, and what a client sees of it: nothing.

mod support;

use std::time::Duration;

use self::support::sql_client::{commands, flags, line, status};
use self::support::{
    Balancer, Login, PRIMARY, Pair, REPLICA, SqlClient, SqlError, quickly, rules, until,
};

#[test]
fn every_statement_is_heard_by_the_servers_that_it_is_for() {
    let pair = Pair::alone();
    pair.primary.sql("CREATE OR REPLACE SEQUENCE shop.numbers");
    rules::statements_are_heard_where_they_belong(&*pair, &[]);
}

#[test]
fn writes_are_the_primarys_and_reads_the_replicas() {
    let pair = Pair::shared();
    pair.table("kv", "k INT PRIMARY KEY, v TEXT");
    let balancer = pair.balancer();
    let mut client = SqlClient::connect(balancer.address());
    assert_eq!(client.reads_at(), REPLICA);
    client.run(&["INSERT INTO kv VALUES (1, @@server_id), (2, 'x')"]);
    client.run(&["UPDATE kv SET v = CONCAT(v, '!') WHERE k = 2"]);
    pair.replicate();
    assert_eq!(client.rows("SELECT k, v FROM kv ORDER BY k").len(), 2);
    assert_eq!(client.row("SELECT v FROM kv WHERE k = 1"), PRIMARY);
    assert_eq!(
        client.row("SELECT v, @@server_id FROM kv WHERE k = 2"),
        "x! 2"
    );
    // An error is an answer, and changes nothing.
    assert_eq!(client.error("INSERT INTO kv VALUES (1, 'again')").0, 1062);
    assert_eq!(client.error("SELECT nothing FROM kv").0, 1054);
    assert_eq!(client.reads_at(), REPLICA);
}

#[test]
fn a_transaction_stays_on_the_primary_and_sees_itself() {
    let pair = Pair::shared();
    pair.table("ledger", "a INT");
    let balancer = pair.balancer();
    let mut client = SqlClient::connect(balancer.address());
    for (begin, end) in [("BEGIN", "COMMIT"), ("START TRANSACTION", "ROLLBACK")] {
        client.run(&[begin, "INSERT INTO ledger VALUES (7)"]);
        assert_ne!(client.status() & status::IN_TRANSACTION, 0);
        assert_eq!(client.reads_at(), PRIMARY);
        let own = client.row("SELECT COUNT(*) >= 1 FROM ledger");
        assert_eq!(own, "1", "it reads its own rows");
        client.run(&[end]);
        assert_eq!(client.reads_at(), REPLICA);
    }
    // What commits by itself ends it, too.
    client.run(&["BEGIN", "CREATE OR REPLACE TABLE ledger_2 (a INT)"]);
    assert_eq!(client.reads_at(), REPLICA);
    client.run(&["BEGIN", "COMMIT AND CHAIN"]);
    assert_eq!(client.reads_at(), PRIMARY);
    client.run(&["ROLLBACK"]);
    pair.replicate();
    assert_eq!(client.row("SELECT COUNT(*) FROM ledger"), "1");
}

#[test]
fn a_read_only_transaction_runs_on_the_replica() {
    let pair = Pair::shared();
    pair.table("seen", "a INT");
    let balancer = pair.balancer();
    let mut client = SqlClient::connect(balancer.address());
    client.run(&["START TRANSACTION READ ONLY, WITH CONSISTENT SNAPSHOT"]);
    assert_eq!(client.reads_at(), REPLICA);
    pair.primary.sql("INSERT INTO shop.seen VALUES (1)");
    pair.replicate();
    assert_eq!(client.row("SELECT COUNT(*) FROM seen"), "0", "its snapshot");
    assert_eq!(client.error("INSERT INTO seen VALUES (2)").0, 1792);
    client.run(&["COMMIT"]);
    assert_eq!(client.row("SELECT COUNT(*), @@server_id FROM seen"), "1 2");
    client.run(&["INSERT INTO seen VALUES (3)"]);
    // What connectors send for read-only connections.
    client.run(&["SET SESSION TRANSACTION READ ONLY", "BEGIN"]);
    assert_eq!(client.reads_at(), REPLICA);
    client.run(&["COMMIT", "SET SESSION TRANSACTION READ WRITE", "BEGIN"]);
    assert_eq!(client.reads_at(), PRIMARY);
    client.run(&["ROLLBACK"]);
}

#[test]
fn without_autocommit_everything_is_the_primarys() {
    let pair = Pair::shared();
    let balancer = pair.balancer();
    let mut client = SqlClient::connect(balancer.address());
    client.run(&["SET autocommit = 0"]);
    assert_eq!(client.status() & status::AUTOCOMMIT, 0);
    assert_eq!(client.reads_at(), PRIMARY);
    client.run(&["COMMIT"]);
    assert_eq!(client.reads_at(), PRIMARY);
    client.run(&["SET autocommit = 1"]);
    assert_eq!(client.reads_at(), REPLICA);
}

#[test]
fn the_state_of_the_session_is_the_same_on_both_servers() {
    let pair = Pair::shared();
    pair.primary.sql("CREATE DATABASE IF NOT EXISTS other");
    pair.replicate();
    let balancer = pair.balancer();
    let mut client = SqlClient::connect(balancer.address());
    let same = |client: &mut SqlClient, what: &str, value: &str| {
        let asked = format!("SELECT {what}, @@server_id");
        assert_eq!(client.row(&asked), format!("{value} 2"));
        let asked = format!("/* route:primary */ {asked}");
        assert_eq!(client.row(&asked), format!("{value} 1"));
    };
    client.run(&["SET @a = 5, time_zone = '+03:00', NAMES latin1"]);
    same(&mut client, "@a", "5");
    same(&mut client, "@@session.time_zone", "+03:00");
    same(&mut client, "@@character_set_client", "latin1");
    client.run(&["USE other"]);
    same(&mut client, "DATABASE()", "other");
    client.command(commands::INIT_DB, b"shop");
    client.done().unwrap();
    same(&mut client, "DATABASE()", "shop");
    client.command(commands::INIT_DB, b"nowhere");
    assert!(matches!(client.done(), Err(SqlError::Server(1049, ..))));
    same(&mut client, "DATABASE()", "shop");
    assert_eq!(client.error("SET nothing = 1").0, 1193);
    same(&mut client, "@a", "5");
    // A text that both have prepared runs on the primary, which alone knows what it does.
    client.run(&["PREPARE p FROM 'SELECT @@server_id + ?'"]);
    assert_eq!(client.row("EXECUTE p USING @a"), "6");
    client.reset();
    same(&mut client, "@a", "NULL");
    same(&mut client, "@@character_set_client", "utf8mb4");
    assert_eq!(client.error("EXECUTE p USING @a").0, 1243);
}

#[test]
fn a_variable_that_only_the_primary_has_is_read_there() {
    let pair = Pair::shared();
    let balancer = pair.balancer();
    let mut client = SqlClient::connect(balancer.address());
    client.run(&["SELECT 17 INTO @a"]);
    assert_eq!(client.row("SELECT @a, @@server_id"), "17 1");
    assert_eq!(client.reads_at(), REPLICA);
    client.run(&["SET @b = UUID()"]);
    assert_eq!(client.row("SELECT LENGTH(@b), @@server_id"), "36 1");
}

#[test]
fn what_only_the_primarys_connection_has_keeps_the_session_there_until_it_is_given_up() {
    let pair = Pair::shared();
    pair.table("shelf", "a INT");
    let balancer = pair.balancer();
    let mut client = SqlClient::connect(balancer.address());
    let pins: &[(&[&str], &[&str])] = &[
        (
            &["CREATE TEMPORARY TABLE mine (a INT)"],
            &["DROP TEMPORARY TABLE mine"],
        ),
        (&["LOCK TABLES shelf WRITE"], &["UNLOCK TABLES"]),
        (
            &["SELECT GET_LOCK('shelf', 1)"],
            &["SELECT RELEASE_LOCK('shelf')"],
        ),
        (
            &["SELECT GET_LOCK('a', 1)", "SELECT GET_LOCK('b', 1)"],
            &["SELECT RELEASE_ALL_LOCKS()"],
        ),
        (&["XA START 'x'"], &["XA END 'x'", "XA ROLLBACK 'x'"]),
        (
            &["SET SESSION TRANSACTION ISOLATION LEVEL SERIALIZABLE"],
            &["SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ"],
        ),
    ];
    for (pin, release) in pins {
        client.run(pin);
        assert_eq!(client.reads_at(), PRIMARY, "after {pin:?}");
        client.run(release);
        assert_eq!(client.reads_at(), REPLICA, "after {release:?}");
        client.run(pin);
        client.reset();
        assert_eq!(client.reads_at(), REPLICA, "after {pin:?} and a reset");
    }
}

#[test]
fn questions_about_the_last_statement_go_where_it_ran() {
    let pair = Pair::shared();
    pair.table("news", "a TINYINT");
    let balancer = pair.balancer();
    let mut client = SqlClient::connect(balancer.address());
    client.run(&["INSERT IGNORE INTO news VALUES (1), (2), (900)"]);
    let warnings = client.rows("SHOW WARNINGS");
    assert_eq!(warnings[0][1].as_deref(), Some("1264"), "the primary's");
    client.run(&["UPDATE news SET a = a + 1 WHERE a < 3"]);
    assert_eq!(client.row("SELECT ROW_COUNT()"), "2");
    pair.replicate();
    client.run(&["SELECT CAST('x7' AS SIGNED)"]);
    let warnings = client.rows("SHOW WARNINGS");
    assert_eq!(warnings[0][1].as_deref(), Some("1292"), "the replica's");
    assert_eq!(client.row("SELECT @@warning_count"), "1");
    client.run(&["SELECT SQL_CALC_FOUND_ROWS a FROM news LIMIT 1"]);
    client.command(commands::PING, &[]);
    client.done().unwrap();
    client.run(&["SET @between = 1"]);
    client.prepare("SELECT 2");
    assert_eq!(client.row("SELECT FOUND_ROWS()"), "3");
    assert_eq!(client.error("SELECT nothing").0, 1054);
    assert_eq!(line(&client.rows("SHOW ERRORS")[0][1..2]), "1054");
}

#[test]
fn the_last_insert_id_is_the_sessions_own() {
    let pair = Pair::shared();
    pair.table("orders", "id INT AUTO_INCREMENT PRIMARY KEY, a INT");
    let balancer = pair.balancer();
    let mut client = SqlClient::connect(balancer.address());
    let mut other = SqlClient::connect(balancer.address());
    client.run(&["INSERT INTO orders (a) VALUES (10)"]);
    other.run(&["INSERT INTO orders (a) VALUES (20)"]);
    assert_eq!(client.reads_at(), REPLICA);
    assert_eq!(client.row("SELECT LAST_INSERT_ID()"), "1");
    assert_eq!(other.row("SELECT @@identity, LAST_INSERT_ID()"), "2 2");
}

#[test]
fn several_statements_that_are_too_long_to_be_read_keep_the_session_on_the_primary() {
    let pair = Pair::shared();
    pair.table("long_and_more", "a LONGTEXT");
    let balancer = pair.balancer();
    let many = Login::default().flag(flags::MULTI_STATEMENTS);
    let mut client = many.connect(balancer.address()).unwrap();
    let long = format!(
        "INSERT INTO long_and_more VALUES ('{}')",
        "v".repeat(70_000)
    );
    client.run(&[&long]);
    assert_eq!(
        client.reads_at(),
        REPLICA,
        "one alone has no state to leave"
    );
    client.run(&[&format!(
        "{long}; CREATE TEMPORARY TABLE mine AS SELECT 7 AS a"
    )]);
    assert_eq!(client.row("SELECT a, @@server_id FROM mine"), "7 1");
    client.reset();
    assert_eq!(client.reads_at(), REPLICA);
}

#[test]
fn multi_statements_and_multi_results_come_whole_and_from_the_primary() {
    let pair = Pair::shared();
    pair.primary
        .client()
        .run(&["CREATE OR REPLACE PROCEDURE three()
        BEGIN SELECT 1; SELECT 2, @@server_id; SELECT 3; END"]);
    let balancer = pair.balancer();
    let many = Login::default().flag(flags::MULTI_STATEMENTS);
    let mut client = many.connect(balancer.address()).unwrap();
    let rows = client.rows("SELECT @@server_id; DO 1; SELECT 5");
    assert_eq!(
        rows.iter().map(|row| line(row)).collect::<Vec<_>>(),
        ["1", "5"]
    );
    let rows = client.rows("CALL three()");
    assert_eq!(
        rows.iter().map(|row| line(row)).collect::<Vec<_>>(),
        ["1", "2 1", "3"]
    );
    // Who has not asked for it gets the server's error, and no hidden second statement runs.
    let mut plain = SqlClient::connect(balancer.address());
    assert_eq!(plain.error("SELECT 1; DROP TABLE nothing").0, 1064);
    assert_eq!(plain.reads_at(), REPLICA);
}

#[test]
fn prepared_statements_run_where_their_text_belongs() {
    let pair = Pair::shared();
    pair.table("prepared", "id INT PRIMARY KEY, v TEXT");
    let balancer = pair.balancer();
    let mut client = SqlClient::connect(balancer.address());
    let write = client.prepare("INSERT INTO prepared VALUES (?, ?)");
    let read = client.prepare("SELECT @@server_id, v FROM prepared WHERE id = ?");
    client.execute(write, &["1", "one"], true).unwrap();
    client.execute(write, &["2", "two"], false).unwrap();
    pair.replicate();
    let execute = |client: &mut SqlClient, id: &str, first| {
        line(&client.execute(read, &[id], first).unwrap()[0])
    };
    assert_eq!(execute(&mut client, "1", true), "2 one");
    assert_eq!(execute(&mut client, "2", false), "2 two");
    // In a transaction the same statement is the primary's, which has not heard the types yet.
    client.run(&["BEGIN"]);
    assert_eq!(execute(&mut client, "2", false), "1 two");
    client.run(&["COMMIT"]);
    assert_eq!(execute(&mut client, "1", false), "2 one");
    // A prepared BEGIN counts.
    let begin = client.prepare("BEGIN");
    client.execute(begin, &[], false).unwrap();
    assert_eq!(client.reads_at(), PRIMARY);
    client.run(&["ROLLBACK"]);
    // Closed at both; the id is unknown from then on.
    client.command(commands::STMT_CLOSE, &read.id.to_le_bytes());
    let gone = client.execute(read, &["1"], true);
    assert!(matches!(gone, Err(SqlError::Server(1243, ..))), "{gone:?}");
    assert_eq!(client.reads_at(), REPLICA);
    assert!(client.try_prepare("SELECT nothing FROM prepared").is_err());
}

#[test]
fn a_prepared_statement_reads_the_schema_in_which_it_was_prepared() {
    let pair = Pair::shared();
    pair.primary
        .sql("CREATE DATABASE IF NOT EXISTS branch; DROP TABLE IF EXISTS branch.place");
    pair.table("place", "name TEXT");
    pair.primary.sql(
        "INSERT INTO shop.place VALUES ('shop'); CREATE TABLE branch.place (name TEXT); \
         INSERT INTO branch.place VALUES ('branch')",
    );
    pair.replicate();
    let balancer = pair.balancer();
    let mut client = SqlClient::connect(balancer.address());
    let text = "SELECT name, @@server_id FROM place";
    let here = client.prepare(text);
    client.run(&["USE branch"]);
    let there = client.prepare(text);
    let execute = |client: &mut SqlClient, statement| {
        line(&client.execute(statement, &[], false).unwrap()[0])
    };
    // It has never run at the replica, where it would be prepared in the schema of today.
    assert_eq!(execute(&mut client, here), "shop 1");
    assert_eq!(execute(&mut client, there), "branch 2");
    // That one has.
    client.run(&["USE shop"]);
    assert_eq!(execute(&mut client, there), "branch 2");
    client.run(&["USE branch"]);
    client.reset();
    assert_eq!(client.row(text), "branch 2");
}

#[test]
fn what_is_only_prepared_does_nothing_to_the_session() {
    let pair = Pair::shared();
    let balancer = pair.balancer();
    let mut client = SqlClient::connect(balancer.address());
    client.run(&["CREATE TEMPORARY TABLE only_here AS SELECT 7 AS a"]);
    client.prepare("DROP TEMPORARY TABLE only_here");
    assert_eq!(client.row("SELECT a, @@server_id FROM only_here"), "7 1");
    client.reset();
    let set = client.prepare("SET time_zone = '+07:00'");
    assert_eq!(client.reads_at(), REPLICA);
    client.execute(set, &[], false).unwrap();
    assert_eq!(
        client.row("SELECT @@session.time_zone, @@server_id"),
        "+07:00 2"
    );
}

#[test]
fn cursors_and_long_data_stay_with_their_statement() {
    let pair = Pair::shared();
    pair.table("pages", "id INT PRIMARY KEY, v LONGTEXT");
    let balancer = pair.balancer();
    let mut client = SqlClient::connect(balancer.address());
    let write = client.prepare("INSERT INTO pages VALUES (1, ?)");
    for part in ["long ", "data"] {
        let arguments = [&write.id.to_le_bytes()[..], &[0, 0], part.as_bytes()].concat();
        client.command(commands::STMT_SEND_LONG_DATA, &arguments);
    }
    // The value has been sent before: only its type is told.
    let arguments = [&write.id.to_le_bytes()[..], &[0, 1, 0, 0, 0, 0, 1, 253, 0]].concat();
    client.command(commands::STMT_EXECUTE, &arguments);
    client.done().unwrap();
    client.run(&["INSERT INTO pages VALUES (2, 'b'), (3, 'c')"]);
    pair.replicate();
    let read = client.prepare("SELECT id, v, @@server_id FROM pages ORDER BY id");
    client.send_execute(read.id, &[], false, 1);
    let types = client.cursor().unwrap();
    let first = client.fetch(read.id, &types, 2).unwrap();
    assert_eq!(line(&first[0][..2]), "1 long data");
    let rest = client.fetch(read.id, &types, 2).unwrap();
    assert_eq!(line(&rest[0][..2]), "3 c");
    assert_ne!(client.status() & status::LAST_ROW_SENT, 0);
    client.command(commands::STMT_RESET, &read.id.to_le_bytes());
    client.done().unwrap();
    assert_eq!(client.reads_at(), REPLICA);
}

#[test]
fn pipelined_commands_are_answered_in_their_order() {
    let pair = Pair::shared();
    let balancer = pair.balancer();
    let mut client = SqlClient::connect(balancer.address());
    let asked: Vec<_> = (0..60)
        .map(|number| match number % 3 {
            0 => format!("SELECT {number}"),
            1 => format!("SELECT {number} FOR UPDATE"),
            _ => format!("SELECT {number}, LAST_INSERT_ID()"),
        })
        .collect();
    for sql in &asked {
        client.send(sql);
    }
    for number in 0..60 {
        // Each reply counts its packets from 1.
        client.expect_number(1);
        let rows = client.results().unwrap();
        assert_eq!(rows[0][0].as_deref(), Some(number.to_string().as_str()));
    }
}

#[test]
fn after_a_write_a_session_reads_the_primary_for_a_time() {
    let pair = Pair::alone();
    pair.table("fresh", "a INT");
    let lasting = pair.config().pool_mysql("read_after_write = \"1h\"");
    let balancer = Balancer::start(&lasting);
    let mut client = SqlClient::connect(balancer.address());
    let mut other = SqlClient::connect(balancer.address());
    assert_eq!(client.reads_at(), REPLICA);
    pair.hold_replication();
    client.run(&["INSERT INTO fresh VALUES (1)"]);
    assert_eq!(client.row("SELECT COUNT(*), @@server_id FROM fresh"), "1 1");
    assert_eq!(
        client.row("/* route:replica */ SELECT COUNT(*), @@server_id FROM fresh"),
        "0 2"
    );
    assert_eq!(other.row("SELECT COUNT(*), @@server_id FROM fresh"), "0 2");
    pair.release_replication();
    drop((client, other, balancer));

    let brief = pair.config().pool_mysql("read_after_write = \"200ms\"");
    let balancer = Balancer::start(&brief);
    let mut client = SqlClient::connect(balancer.address());
    client.run(&["INSERT INTO fresh VALUES (2)"]);
    until("it reads the replica again", || {
        client.reads_at() == REPLICA
    });
}

#[test]
fn with_gtids_a_session_reads_the_replica_once_that_has_what_it_wrote() {
    let pair = Pair::alone();
    pair.table("awaited", "a INT");
    let config = pair
        .config()
        .pool_mysql("read_after_write = \"gtid\"")
        .pool_mysql("gtid_wait = \"100ms\"");
    let balancer = Balancer::start(&config);
    let mut client = SqlClient::connect(balancer.address());
    assert_eq!(client.reads_at(), REPLICA);
    for number in 1..=20 {
        client.run(&[&format!("INSERT INTO awaited VALUES ({number})")]);
        let own = client.row("SELECT COUNT(*) FROM awaited");
        assert_eq!(own, number.to_string(), "its own writes");
    }
    until("the replica is used", || client.reads_at() == REPLICA);

    pair.hold_replication();
    client.run(&["BEGIN", "INSERT INTO awaited VALUES (21)", "COMMIT"]);
    assert_eq!(
        client.row("SELECT COUNT(*), @@server_id FROM awaited"),
        "21 1"
    );
    let hinted = "/* route:replica */ SELECT COUNT(*), @@server_id FROM awaited";
    assert_eq!(client.row(hinted), "20 2");
    pair.release_replication();
    assert_eq!(
        client.row("SELECT COUNT(*), @@server_id FROM awaited"),
        "21 2"
    );
}

#[test]
fn statements_and_results_around_16_mib_come_whole() {
    rules::statements_and_results_around_16_mib_come_whole(&*Pair::shared());
}

/// The numbers of packets begin again at 0 then, in the middle of a reply.
#[test]
fn a_reply_of_more_packets_than_there_are_numbers_comes_whole() {
    let pair = Pair::shared();
    let balancer = pair.balancer();
    let mut client = SqlClient::connect(balancer.address());
    let expected: Vec<_> = (1..=1000).map(|n| vec![Some(n.to_string())]).collect();
    for hint in ["/* route:replica */", "/* route:primary */"] {
        let sql = format!("{hint} SELECT seq FROM seq_1_to_1000");
        assert_eq!(client.rows(&sql), expected);
        let prepared = client.prepare(&sql);
        assert_eq!(client.execute(prepared, &[], false).unwrap(), expected);
    }
}

#[test]
fn a_statement_longer_than_what_is_read_goes_to_the_primary() {
    let pair = Pair::shared();
    let balancer = pair.balancer();
    let mut client = SqlClient::connect(balancer.address());
    // 64 KiB of payload: a byte for the command, and the text.
    for (len, server) in [(65_534, REPLICA), (65_535, REPLICA), (65_536, PRIMARY)] {
        let padding = "c".repeat(len - "SELECT @@server_id /**/".len());
        let sql = format!("SELECT @@server_id /*{padding}*/");
        assert_eq!(sql.len(), len);
        assert_eq!(client.row(&sql), server, "{len} bytes");
    }
}

#[test]
fn the_first_thing_that_an_account_of_the_configuration_says_may_be_a_kill() {
    let pair = Pair::shared();
    let balancer = Balancer::start(&pair.config_with_account());
    let mut victim = SqlClient::connect(balancer.address());
    victim.send("SELECT SLEEP(604)");
    until("it runs on the replica", || {
        pair.replica
            .sql("SHOW FULL PROCESSLIST")
            .contains("SLEEP(604)")
    });
    let mut killer = SqlClient::connect(balancer.address());
    killer.run(&[&format!("KILL QUERY {}", victim.thread_id())]);
    let ended = quickly(Duration::from_secs(10), || victim.results());
    let lost = matches!(ended, Err(SqlError::Lost));
    assert!(!lost, "only the statement was to end");
    assert_eq!(victim.reads_at(), REPLICA);
}

#[test]
fn a_session_is_killed_by_the_id_that_its_client_knows() {
    let pair = Pair::shared();
    rules::a_session_is_killed_by_the_id_that_its_client_knows(&*pair);
    // By the command, too, which MySQL 9 has no more.
    let balancer = pair.balancer();
    let [mut killer, mut victim] = [(); 2].map(|()| SqlClient::connect(balancer.address()));
    killer.command(commands::PROCESS_KILL, &victim.thread_id().to_le_bytes());
    killer.done().unwrap();
    quickly(Duration::from_secs(10), || victim.expect_end());
    assert_eq!(killer.reads_at(), REPLICA);
}

#[test]
fn commands_that_are_no_statements_are_answered() {
    let pair = Pair::shared();
    pair.table("fields", "first INT, second TEXT");
    let balancer = pair.balancer();
    let mut client = SqlClient::connect(balancer.address());
    client.command(commands::PING, &[]);
    client.done().unwrap();
    client.command(commands::STATISTICS, &[]);
    let told = client.read_or_error().unwrap();
    assert!(
        String::from_utf8_lossy(&told).starts_with("Uptime: "),
        "{told:?}"
    );
    client.command(commands::FIELD_LIST, b"fields\0");
    let mut columns = 0;
    while client.read_or_error().unwrap()[0] != 0xFE {
        columns += 1;
    }
    assert_eq!(columns, 2);
    for unknown in [0x00, 0x7F, 0xFB] {
        client.command(unknown, b"whatever");
        assert!(matches!(client.done(), Err(SqlError::Server(1047, ..))));
    }
    // A statement that does not exist.
    client.command(commands::STMT_FETCH, &[9, 0, 0, 0, 1, 0, 0, 0]);
    assert!(matches!(client.done(), Err(SqlError::Server(1243, ..))));
    client.command(commands::QUERY, b"");
    assert!(matches!(client.done(), Err(SqlError::Server(1065, ..))));
    assert_eq!(client.reads_at(), REPLICA);
    client.command(commands::QUIT, &[]);
    client.expect_end();
}

#[test]
fn the_binary_log_is_followed_through_the_port() {
    let pair = Pair::shared();
    pair.table("logged", "a INT");
    pair.primary
        .sql("FLUSH BINARY LOGS; INSERT INTO shop.logged VALUES (4711); FLUSH BINARY LOGS");
    let logs = pair.primary.sql("SHOW BINARY LOGS");
    let file = logs
        .lines()
        .rev()
        .nth(1)
        .and_then(|line| line.split('\t').next());
    let balancer = pair.balancer();
    // From position 4 to the end, as replica 99.
    let dump = [
        &[4, 0, 0, 0, 1, 0, 99, 0, 0, 0][..],
        file.unwrap().as_bytes(),
    ]
    .concat();
    let events = |mut client: SqlClient| {
        client.run(&[
            "SET @master_binlog_checksum = 'NONE'",
            "SET @mariadb_slave_capability = 4",
        ]);
        client.command(commands::BINLOG_DUMP, &dump);
        let mut events = Vec::new();
        loop {
            let packet = client.read_or_error().unwrap();
            if packet[0] == 0xFE && packet.len() < 9 {
                return events;
            }
            events.push(packet);
        }
    };
    let direct = events(pair.primary.client());
    let logged = |event: &Vec<u8>| event.windows(4).any(|bytes| bytes == b"4711");
    assert!(direct.iter().any(logged), "statements are logged as text");
    assert!(events(SqlClient::connect(balancer.address())) == direct);
}
