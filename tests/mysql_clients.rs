//! The MySQL port with the client libraries that people use: each does the same directly at a
//! primary and through ringway, and cannot tell the difference, but by asking which server it is.

mod support;

use std::net::SocketAddr;
use std::process::Output;

use self::support::clients::{python, run};
use self::support::{Balancer, Client, Config, Pair, mariadb};

/// Reads of one's own writes are on the replica, so that they go there and are the same as on the
/// primary.
fn balancer(pair: &Pair) -> Balancer {
    let config = Config::mysql(pair.primary.address(), pair.replica.address());
    Balancer::start(
        &config
            .pool_mysql("read_after_write = \"gtid\"")
            .pool_mysql("gtid_wait = \"20s\""),
    )
}

/// What a client prints, apart from where it was, and where it was.
#[track_caller]
fn outcome(output: &Output) -> (Vec<String>, Vec<String>) {
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    let lines = String::from_utf8_lossy(&output.stdout).into_owned();
    let (places, facts): (Vec<_>, Vec<_>) = lines
        .lines()
        .map(str::to_owned)
        .partition(|line| line.starts_with("at "));
    (facts, places)
}

/// Runs a client at the primary and through a balancer.
#[track_caller]
fn is_none_the_wiser(run: impl Fn(SocketAddr) -> Output) {
    let pair = Pair::shared();
    let (facts, places) = outcome(&run(pair.primary.address()));
    assert!(facts.len() > 5, "{facts:?}");
    assert!(
        places.iter().all(|place| place.ends_with('1')),
        "{places:?}"
    );
    let balancer = balancer(&pair);
    let (through, split) = outcome(&run(balancer.address()));
    assert_eq!(through, facts);
    for place in split {
        let expected = match place.contains("in transaction") {
            true => '1',
            false => '2',
        };
        assert!(place.ends_with(expected), "{place}");
    }
    let of = [("server", "s1")];
    let sessions = balancer
        .metrics()
        .sum("ringway_server_sessions_opened_total", &of);
    assert!(sessions >= 1.0);
}

#[test]
fn pymysql_is_none_the_wiser() {
    is_none_the_wiser(|address| Client::PyMysql.run(address));
}

#[test]
fn mysql_connector_python_is_none_the_wiser() {
    is_none_the_wiser(|address| Client::ConnectorPython.run(address));
}

#[test]
fn node_mysql2_is_none_the_wiser() {
    is_none_the_wiser(|address| Client::NodeMysql2.run(address));
}

#[test]
fn mysql_async_is_none_the_wiser() {
    is_none_the_wiser(|address| Client::MysqlAsync.run(address));
}

/// Libraries that count packets, and give a connection up that does not count as they do.
#[test]
fn errors_of_ringways_own_are_taken_for_a_servers() {
    const DENIED: &str = "LOAD DATA LOCAL INFILE '/dev/null' INTO TABLE t";
    let pair = Pair::shared();
    let balancer = pair.balancer();
    let output = mariadb(balancer.address(), "secret", &["--local-infile"], DENIED);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains("ERROR 1148"), "{said}");

    let script = format!(
        "import pymysql
c = pymysql.connect(host='127.0.0.1', port={}, user='app', password='secret', local_infile=True)
q = c.cursor()
try:
    q.execute(\"{DENIED}\")
except pymysql.Error as error:
    print(error.args[0])
q.execute('SELECT 7')
print(q.fetchone()[0])",
        balancer.address().port()
    );
    let output = run(python().args(["-c", &script]));
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.stdout, b"1148\n7\n", "{said}");
}

#[test]
fn the_command_line_of_mariadb_is_none_the_wiser() {
    const SCRIPT: &str = "SELECT 'at', 'first', @@server_id;
        SET @a = 5; SELECT @a + 1; DROP TABLE IF EXISTS cli;
        CREATE TABLE cli (id INT AUTO_INCREMENT PRIMARY KEY, v LONGTEXT, d DECIMAL(9, 2));
        INSERT INTO cli (v, d) VALUES ('one', 1.5), (NULL, NULL); SELECT LAST_INSERT_ID();
        SELECT * FROM cli; SELECT 'at', 'reading', @@server_id;
        BEGIN; INSERT INTO cli (v) VALUES ('gone'); SELECT COUNT(*) FROM cli;
        SELECT 'at', 'in transaction', @@server_id; ROLLBACK; SELECT COUNT(*) FROM cli;
        PREPARE p FROM 'SELECT v FROM cli WHERE id = ?'; SET @id = 1; EXECUTE p USING @id;
        DEALLOCATE PREPARE p; INSERT INTO cli (v) VALUES (REPEAT('x', 17825792));
        SELECT LENGTH(v), v FROM cli WHERE LENGTH(v) > 1000; DELETE FROM cli;
        SELECT nothing FROM cli; SHOW WARNINGS; SHOW TABLES LIKE 'cli';
        USE mysql; SELECT DATABASE(); SELECT 'at', 'the end', @@server_id";
    is_none_the_wiser(|address| {
        let mut output = mariadb(address, "secret", &["--force"], SCRIPT);
        // One statement fails on purpose.
        let complaint = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(complaint.contains("ERROR 1054"), "{complaint}");
        output.status = Default::default();
        output.stdout = String::from_utf8(output.stdout)
            .unwrap()
            .replace("at\t", "at ")
            .into_bytes();
        output
    });
}
