//! What is proven of the MySQL port with MariaDB, with MySQL 9 as well: where statements go, KILL,
//! files, packets around 16 MiB, another user on a connection, and what the monitor follows.

mod support;

use self::support::{Balancer, Login, Mysql9Pair, PRIMARY, PasswordFile, REPLICA, Servers, rules};

#[test]
fn every_statement_is_heard_by_the_servers_that_it_is_for() {
    let own = [
        ("r", "TABLE rules"),
        ("r", "VALUES ROW(1), ROW(2)"),
        (
            "r",
            "SELECT * FROM JSON_TABLE('[1]', '$[*]' COLUMNS (x INT PATH '$')) t",
        ),
        (
            "r",
            "SELECT BIN_TO_UUID(UUID_TO_BIN('6ccd780c-baba-1026-9564-5b8c656024db'))",
        ),
        ("r", "SELECT a, ROW_NUMBER() OVER (ORDER BY a) FROM rules"),
        ("p", "SELECT * FROM rules FOR SHARE"),
        ("p", "SELECT * FROM rules FOR UPDATE OF rules SKIP LOCKED"),
        ("p", "SELECT @@gtid_executed"),
        ("p", "SELECT COUNT(*) FROM performance_schema.threads"),
        ("r", "SHOW REPLICA STATUS"),
        ("p", "SHOW BINARY LOG STATUS"),
        ("p", "EXPLAIN ANALYZE SELECT * FROM rules"),
        ("r", "EXPLAIN FORMAT = TREE SELECT * FROM rules"),
        ("p", "SET PERSIST max_connections = 151"),
        ("p", "SET gtid_next = 'AUTOMATIC'"),
        ("r", "SELECT /*+ MAX_EXECUTION_TIME(1000) */ a FROM rules"),
    ];
    rules::statements_are_heard_where_they_belong(&*Mysql9Pair::alone(), &own);
}

#[test]
fn a_session_is_killed_by_the_id_that_its_client_knows() {
    rules::a_session_is_killed_by_the_id_that_its_client_knows(&*Mysql9Pair::shared());
}

#[test]
fn files_of_clients_are_denied_and_allowed() {
    rules::files_of_clients_are_denied_and_allowed(&*Mysql9Pair::shared());
}

#[test]
fn statements_and_results_around_16_mib_come_whole() {
    let pair = Mysql9Pair::shared();
    // To leave them out of the binary log.
    pair.primary
        .sql("GRANT SESSION_VARIABLES_ADMIN ON *.* TO app@'%'");
    rules::statements_and_results_around_16_mib_come_whole(&*pair);
}

#[test]
fn another_user_on_the_same_connection_is_as_after_a_login() {
    let pair = Mysql9Pair::shared();
    pair.primary
        .sql("CREATE USER other@'%' IDENTIFIED BY 'words'; GRANT ALL ON shop.* TO other@'%'");
    pair.replicate();
    let other = Login::default().sha2().user("other", "words");
    for server in [&pair.primary, &pair.replica] {
        server.make_known("other", "words");
    }
    let secret = PasswordFile::new("words");
    let knowing = pair.config().mysql_user("other", &secret.line());
    // Where the account is not in the configuration, nobody could sign for the replica.
    for (config, place) in [(pair.config(), PRIMARY), (knowing, REPLICA)] {
        let balancer = Balancer::start(&config);
        let mut client = pair.connect(&balancer);
        client.run(&["SET @a = 1", "CREATE TEMPORARY TABLE mine (a INT)"]);
        client.change_user_to(&other).unwrap();
        assert_eq!(
            client.row("SELECT CURRENT_USER(), @a, @@server_id"),
            format!("other@% NULL {place}")
        );
        let at_primary = "/* route:primary */ SELECT CURRENT_USER(), @a, @@server_id";
        assert_eq!(client.row(at_primary), "other@% NULL 1");
        assert_eq!(client.error("INSERT INTO mine VALUES (1)").0, 1146);
        client.change_user_to(&pair.login()).unwrap();
        assert_eq!(client.row("SELECT CURRENT_USER()"), "app@%");
    }
}

/// Nobody has logged in as the monitor's account before: the servers want its whole password.
#[test]
fn a_replica_is_not_read_while_it_lags_or_stands_still_and_roles_follow_super_read_only() {
    let pair = Mysql9Pair::alone();
    let monitor = rules::Monitor::of(&*pair);
    drop(rules::a_replica_is_not_read_while_it_lags_or_stands_still(
        &*pair, &monitor,
    ));
    rules::roles_follow_read_only_and_two_writable_servers_raise_the_alarm(&*pair, &monitor);
    // As it was started: read-only for all but its root.
    pair.replica.sql("SET GLOBAL super_read_only = 0");
    pair.replicate();
}
