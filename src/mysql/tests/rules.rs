//! The rules in their order, each with what it takes and what it leaves alone.

use super::{all_go, all_read, all_to_primary, read, route};
use crate::mysql::{Access, Dialect, Kind, OwnWrites, Product, State, Target, classify};
use crate::telemetry::RouteReason as Reason;

#[test]
fn what_is_no_single_statement_goes_to_the_primary() {
    all_to_primary(
        Reason::Empty,
        &[
            "",
            " ",
            "\n\t",
            "-- nothing",
            "/* nothing */",
            "# nothing",
            ";",
        ],
    );
    all_to_primary(
        Reason::MultiStatement,
        &[
            "SELECT 1; DROP TABLE t",
            "SELECT 1;SELECT 2",
            "SELECT 1;;SELECT 2",
            "SELECT 1; /* */ RENAME TABLE a TO b",
            "SET NAMES utf8; SELECT 1",
            "COMMIT; DELETE FROM t",
        ],
    );
    all_read(&[
        "SELECT 1;",
        "SELECT 1 ; ",
        "SELECT 1;;",
        "SELECT 1; -- done",
        "SELECT ';'",
        "SELECT `;`",
    ]);
}

#[test]
fn plain_reads_go_to_the_replica() {
    all_read(&[
        "SELECT c FROM sbtest1 WHERE id=5021",
        "select 1",
        "SELECT * FROM t WHERE a IN (1, 2) AND (b = 'x' OR c LIKE \"y%\")",
        "SELECT DISTINCT c FROM sbtest1 WHERE id BETWEEN 1 AND 2 ORDER BY c",
        "SELECT COUNT(*), SUM(a), GROUP_CONCAT(DISTINCT b ORDER BY b SEPARATOR ',') FROM t",
        "(SELECT 1)",
        "((SELECT 1) UNION ALL (SELECT 2)) ORDER BY 1 LIMIT 5",
        "(SELECT a FROM t) UNION DISTINCT (SELECT b FROM u)",
        "SELECT 1 EXCEPT (SELECT 2) INTERSECT (SELECT 3)",
        "TABLE t ORDER BY a LIMIT 5",
        "VALUES ROW(1, 2), ROW(3, 4)",
        "VALUES (1, 2), (3, 4)",
        "WITH a AS (SELECT 1) SELECT * FROM a",
        "WITH RECURSIVE a (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM a) SELECT n FROM a",
        "WITH a (x) AS (SELECT 1), b (y, z) AS (SELECT 2, 3), `c` (w) AS (SELECT 4) SELECT *",
        "WITH a AS (SELECT 1) (SELECT * FROM a)",
        "SELECT * FROM (SELECT 1 AS x) AS d (y)",
        "SELECT * FROM t USE INDEX (i) FORCE INDEX FOR ORDER BY (j) IGNORE KEY (k)",
        "SELECT * FROM t PARTITION (p0, p1) JOIN u USING (id)",
        "SELECT RANK() OVER (PARTITION BY a), SUM(c) OVER w FROM t WINDOW w AS (ORDER BY c)",
        "SELECT CAST(a AS DECIMAL(10,2)), CONVERT(b, CHAR(10)), CONVERT(c USING utf8mb4) FROM t",
        "SELECT * FROM t WHERE a = ANY (SELECT 1) OR b >= ALL (SELECT 2) OR c <> SOME (SELECT 3)",
        "SELECT * FROM t WHERE MATCH (a) AGAINST ('x' IN BOOLEAN MODE) AND NOT EXISTS (SELECT 1)",
        "SELECT JSON_EXTRACT(j, '$.a'), j->>'$.b' FROM t WHERE 5 MEMBER OF (j->'$.c')",
        "SELECT * FROM JSON_TABLE('[]', '$[*]' COLUMNS (a INT PATH '$.a', \
         NESTED PATH '$.b' COLUMNS (c CHAR(1) PATH '$'))) AS jt",
        "SELECT * FROM t, LATERAL (SELECT 1) AS l",
        "SELECT REPLACE(a, 'x', 'y'), INSERT(a, 1, 2, 'z'), LEFT(a, 1), IF(a, 1, 2) FROM t",
        "SELECT SUBSTRING(a FROM 1 FOR 3), TRIM(BOTH 'x' FROM b), EXTRACT(YEAR FROM c) FROM t",
        "SELECT UUID_TO_BIN(a), ANY_VALUE(b), GROUPING(c), REGEXP_LIKE(d, 'x'), ST_Distance(e, f)",
        "SELECT NVL(a, b), JSON_DETAILED(c), VEC_DISTANCE_COSINE(d, e) FROM t",
        "SELECT NOW(), CURRENT_TIMESTAMP, DATE_ADD(a, INTERVAL 1 DAY), INTERVAL (1) DAY + a FROM t",
        "SELECT SLEEP(1), BENCHMARK(10, 1 + 1), RAND(), UUID(), VERSION(), USER(), DATABASE()",
        "SELECT SQL_CALC_FOUND_ROWS * FROM t LIMIT 1",
        "SELECT HIGH_PRIORITY SQL_NO_CACHE STRAIGHT_JOIN a FROM t",
        "SELECT @@version_comment LIMIT 1",
        "SELECT @@session.auto_increment_increment AS a, @@character_set_client, @@sql_mode",
        "SELECT @@server_id, @@hostname, @@`server_uuid`",
        "SELECT a FROM t FOR SYSTEM_TIME AS OF TIMESTAMP '2020-01-01'",
        "SELECT {d '2020-01-01'}, {fn NOW()}",
        "SELECT ? FROM t WHERE id = ?",
        "SELECT information_schema.tables.table_name FROM information_schema.tables",
        "SELECT a.b.c, t.* FROM a.b AS t",
        "SELECT -1--1, 1- -1, a*/**/b FROM t",
        "SELECT /*+ MAX_EXECUTION_TIME(1000) NO_INDEX_MERGE(t1) */ a FROM t1",
        "SELECT a FROM t GROUP BY a WITH ROLLUP",
        "SELECT CONVERT(a, DATETIME(6)), CONVERT(b, NCHAR(5)) FROM t",
        "SELECT * FROM JSON_TABLE('[]', '$[*]' COLUMNS (a DATETIME(6) PATH '$.a', \
         b BIT(1) PATH '$.b', c TEXT(9) PATH '$.c')) AS jt",
        "SELECT SQL_CALC_FOUND_ROWS (a), b FROM t",
        "SELECT HIGH_PRIORITY (a) FROM t",
        "SELECT SQL_SMALL_RESULT SQL_BIG_RESULT (a) FROM t",
        "SELECT $a, t.$b, a$b$c FROM $t",
    ]);
}

#[test]
fn words_are_not_what_they_look_like_in_other_places() {
    all_read(&[
        "SELECT `update`, `delete`, `into` FROM `for` AS `lock`",
        "SELECT t.update, t.into, t.lock, t.insert FROM t",
        "SELECT 'FOR UPDATE', \"INTO OUTFILE\", 'it''s; DROP TABLE t'",
        "SELECT 1 /* FOR UPDATE */ -- INTO OUTFILE 'x'",
        "SELECT 1 # FOR UPDATE",
        "SELECT updated, deleted_at, for_sale, lock_version, share, into_x FROM t",
        "SELECT update_time, replaced FROM inserts",
        "SELECT `now`, `get_lock`, get_lock FROM t",
        "SELECT 'get_lock(1)' FROM t",
        "SELECT next, value, previous FROM t",
        "SELECT value FROM t FORCE INDEX (next)",
        "SELECT 'a' 'b', N'c', _utf8mb4'd', x'4D', b'1', 0x4D, 0b11, 1e5, .5, 1.",
        "SELECT t.nextvalue FROM t",
        "SELECT a AS performance_schema FROM sys",
    ]);
}

#[test]
fn diagnostics_go_to_the_server_that_ran_the_statement_before() {
    all_go(
        Target::Last,
        Reason::Diagnostics,
        &[
            "SHOW WARNINGS",
            "SHOW WARNINGS LIMIT 10",
            "SHOW ERRORS",
            "SHOW COUNT(*) WARNINGS",
            "SHOW COUNT(*) ERRORS",
            "GET DIAGNOSTICS @n = NUMBER",
            "GET CURRENT DIAGNOSTICS CONDITION 1 @m = MESSAGE_TEXT",
            "SELECT ROW_COUNT()",
            "SELECT FOUND_ROWS() AS n",
            "SELECT found_rows( )",
            "SELECT @@warning_count, @@session.error_count",
        ],
    );
    // What needs the primary besides is asked there.
    all_to_primary(
        Reason::LastInsertId,
        &["SELECT LAST_INSERT_ID(), ROW_COUNT()"],
    );
    all_to_primary(
        Reason::LockingRead,
        &["SELECT ROW_COUNT() FROM t FOR UPDATE"],
    );
    all_to_primary(Reason::Write, &["INSERT INTO t VALUES (ROW_COUNT())"]);
}

#[test]
fn what_only_the_primary_knows_is_asked_there() {
    all_to_primary(
        Reason::LastInsertId,
        &[
            "SELECT LAST_INSERT_ID()",
            "SELECT last_insert_id(5)",
            "SELECT @@identity",
            "SELECT @@last_insert_id",
        ],
    );
    all_to_primary(
        Reason::ConnectionId,
        &["SELECT CONNECTION_ID()", "SELECT @@pseudo_thread_id"],
    );
    all_to_primary(
        Reason::NamedLock,
        &[
            "SELECT GET_LOCK('a', 10)",
            "SELECT RELEASE_LOCK('a')",
            "SELECT RELEASE_ALL_LOCKS()",
            "SELECT IS_FREE_LOCK('a')",
            "SELECT IS_USED_LOCK('a')",
            "DO RELEASE_LOCK('a')",
            "SELECT 1 WHERE EXISTS (SELECT 1 FROM t WHERE GET_LOCK (a, 1))",
        ],
    );
    all_to_primary(
        Reason::Sequence,
        &[
            "SELECT NEXT VALUE FOR s",
            "SELECT PREVIOUS VALUE FOR s",
            "SELECT NEXT /* */ VALUE\nFOR `s`",
            "SELECT NEXTVAL(s)",
            "SELECT nextval (s)",
            "SELECT LASTVAL(s), SETVAL(s, 5)",
            "SELECT s.nextval FROM dual",
            "SELECT db.s.CURRVAL",
        ],
    );
    all_to_primary(
        Reason::Gtid,
        &[
            "SELECT @@gtid_executed",
            "SELECT @@session.gtid_next",
            "SELECT @@last_gtid",
            "SELECT MASTER_GTID_WAIT('0-1-5', 1)",
            "SELECT WAIT_FOR_EXECUTED_GTID_SET('x:1')",
        ],
    );
    all_to_primary(
        Reason::ServerState,
        &[
            "SELECT @@read_only",
            "SELECT @@global.super_read_only",
            "SELECT @@innodb_read_only",
            "SELECT @@GLOBAL.max_connections",
            "SELECT @@global . max_connections",
            "SELECT * FROM performance_schema.threads",
            "SELECT * FROM `performance_schema` . threads",
            "SELECT * FROM information_schema.processlist",
            "SELECT * FROM INFORMATION_SCHEMA.INNODB_TRX",
            "SELECT * FROM information_schema.events",
            "SELECT * FROM information_schema.`TABLE_STATISTICS`",
            "SELECT * FROM information_schema.index_statistics",
            "SELECT * FROM information_schema.metadata_lock_info",
            "SELECT * FROM information_schema.query_cache_info",
            "SELECT * FROM information_schema.slave_status",
            "SELECT * FROM information_schema.disks",
            "SELECT * FROM information_schema.wsrep_membership",
            "SELECT * FROM mysql.user",
            "SELECT * FROM sys.session",
            "SELECT LOAD_FILE('/etc/passwd')",
        ],
    );
}

#[test]
fn reads_that_do_more_than_read_go_to_the_primary() {
    all_to_primary(
        Reason::LockingRead,
        &[
            "SELECT * FROM t FOR UPDATE",
            "SELECT * FROM t FOR UPDATE SKIP LOCKED",
            "SELECT * FROM t FOR SHARE OF t NOWAIT",
            "SELECT * FROM t LOCK IN SHARE MODE",
            "SELECT * FROM (SELECT * FROM t FOR UPDATE) AS d",
            "SELECT * FROM t WHERE a IN (SELECT b FROM u LOCK IN SHARE MODE)",
            "(SELECT 1) UNION (SELECT a FROM t FOR UPDATE)",
            "TABLE t FOR SHARE",
            "WITH a AS (SELECT * FROM t FOR UPDATE) SELECT * FROM a",
            "SELECT * FROM t FOR NO KEY UPDATE",
            "SELECT * FROM t WHERE a = 1.FOR UPDATE",
            "SELECT * FROM t WHERE a = .5FOR SHARE",
            "SELECT * FROM t WHERE a = 1e5FOR SHARE",
            "SELECT * FROM t WHERE a = 'x'FOR SHARE",
            "SELECT * FROM t WHERE a = @x FOR/**/SHARE",
        ],
    );
    all_to_primary(
        Reason::Into,
        &[
            "SELECT * FROM t INTO OUTFILE '/tmp/x'",
            "SELECT * INTO DUMPFILE '/tmp/x' FROM t",
            "SELECT 1 INTO @a",
            "SELECT 1 INTO a",
            "SELECT 1 INTO @`a`, @'b'",
            "TABLE t INTO OUTFILE 'x'",
            "VALUES ROW(1) INTO @a",
        ],
    );
    all_to_primary(
        Reason::AssignsVariable,
        &[
            "SELECT @a := 1",
            "SELECT (@a:=@a+1) FROM t",
            "SELECT @'a' := 1",
        ],
    );
    all_to_primary(
        Reason::ProcedureAnalyse,
        &[
            "SELECT * FROM t PROCEDURE ANALYSE()",
            "SELECT * FROM t PROCEDURE analyse (10, 20)",
        ],
    );
    all_to_primary(
        Reason::Write,
        &[
            "WITH a AS (SELECT 1) UPDATE t SET b = 1",
            "WITH a AS (SELECT 1) DELETE FROM t",
            "WITH a (x) AS (SELECT 1) INSERT INTO t SELECT * FROM a",
            "WITH a AS (SELECT 1) REPLACE INTO t SELECT * FROM a",
            "WITH a AS (DELETE FROM t RETURNING *) SELECT * FROM a",
        ],
    );
}

#[test]
fn functions_that_are_not_built_in_go_to_the_primary() {
    all_to_primary(
        Reason::UnknownFunction,
        &[
            "SELECT charge_card(5)",
            "SELECT db.now()",
            "SELECT db . now ()",
            "SELECT `db`.`f`(1)",
            "SELECT `now`()",
            "SELECT \"now\"()",
            "SELECT * FROM t WHERE f(a)",
            "SELECT a FROM t ORDER BY f (a)",
            "SELECT COUNT(f(a)) FROM t",
            "SELECT a, any(1)",
            "SELECT of(1)",
            "SELECT 1abc(5)",
            "WITH a AS (SELECT 1) SELECT f(1)",
            "WITH a AS (SELECT 1) (SELECT 1, f(2))",
            "SELECT a FROM t GROUP BY a WITH ROLLUP HAVING (a), f(1)",
            "SELECT (SELECT a FROM t GROUP BY a WITH ROLLUP), (a), f(1)",
            "SELECT CASE (a) WHEN 1 THEN f(1) END",
            "SELECT \u{e9}t\u{e9}(1)",
            "SELECT service_get_write_locks('a', 'b', 1)",
            // Somebody's own on MariaDB, which has no such syntax.
            "SELECT a FROM t GROUP BY rollup (a)",
            "SELECT sql_no_cache (a)",
            "SELECT count (1)",
            "SELECT NOW/**/()",
            "SELECT a FROM t WHERE b = max\n(1)",
            "SELECT RANK () OVER (ORDER BY a) FROM t",
        ],
    );
    let statement = read("SELECT a, charge_card(5)");
    assert_eq!(
        statement.decisive.of(b"SELECT a, charge_card(5)"),
        b"charge_card"
    );
    assert!(statement.effects.assigns_user_variables, "it may do that");
}

#[test]
fn what_is_built_in_depends_on_the_server() {
    let kind = |sql: &str, product| {
        let dialect = Dialect {
            product,
            ..Dialect::default()
        };
        let mut state = State::new(dialect, true);
        state.reset(state.dialect());
        classify(sql.as_bytes(), state.dialect()).kind
    };
    for (sql, on_mysql, on_mariadb) in [
        ("SELECT NOW(), COUNT(*) FROM t", Kind::Read, Kind::Read),
        ("SELECT UUID_TO_BIN(a) FROM t", Kind::Read, Kind::Doubtful),
        ("SELECT NVL(a, b) FROM t", Kind::Doubtful, Kind::Read),
        (
            "SELECT NTILE (4) OVER () FROM t",
            Kind::Read,
            Kind::Doubtful,
        ),
        ("SELECT COUNT (*) FROM t", Kind::Doubtful, Kind::Doubtful),
    ] {
        assert_eq!(kind(sql, Product::MySql), on_mysql, "{sql}");
        assert_eq!(kind(sql, Product::MariaDb), on_mariadb, "{sql}");
    }
    assert_eq!(Product::of_version(b"9.7.0"), Product::MySql);
    assert_eq!(
        Product::of_version(b"5.5.5-10.11.6-MariaDB-1"),
        Product::MariaDb
    );
}

#[test]
fn show_goes_to_the_replica_where_both_would_say_the_same() {
    all_go(
        Target::Replica,
        Reason::Show,
        &[
            "SHOW TABLES",
            "SHOW FULL TABLES FROM db LIKE 'x%'",
            "SHOW DATABASES",
            "SHOW COLUMNS FROM t",
            "SHOW FULL COLUMNS FROM `t` WHERE Field = 'a'",
            "SHOW EXTENDED COLUMNS FROM t",
            "SHOW INDEX FROM t",
            "SHOW KEYS FROM t",
            "SHOW CREATE TABLE t",
            "SHOW CREATE PROCEDURE p",
            "SHOW PROCEDURE STATUS",
            "SHOW FUNCTION STATUS LIKE 'f'",
            "SHOW TABLE STATUS",
            "SHOW TRIGGERS",
            "SHOW GRANTS FOR CURRENT_USER()",
            "SHOW CHARACTER SET",
            "SHOW COLLATION",
            "SHOW ENGINES",
            "SHOW STORAGE ENGINES",
            "SHOW PLUGINS",
            "SHOW SLAVE STATUS",
            "SHOW REPLICA STATUS FOR CHANNEL 'x'",
            "SHOW ALL SLAVES STATUS",
        ],
    );
    all_to_primary(
        Reason::ServerState,
        &[
            "SHOW VARIABLES",
            "SHOW GLOBAL VARIABLES LIKE 'read_only'",
            "SHOW SESSION STATUS",
            "SHOW STATUS",
            "SHOW GLOBAL STATUS",
            "SHOW MASTER STATUS",
            "SHOW BINARY LOG STATUS",
            "SHOW BINARY LOGS",
            "SHOW BINLOG EVENTS",
            "SHOW REPLICAS",
            "SHOW SLAVE HOSTS",
            "SHOW REPLICA HOSTS",
            "SHOW PROCESSLIST",
            "SHOW FULL PROCESSLIST",
            "SHOW ENGINE INNODB STATUS",
            "SHOW OPEN TABLES",
            "SHOW EVENTS",
            "SHOW CREATE EVENT e",
            "SHOW PROFILE",
            "SHOW PROFILES",
            "SHOW EXPLAIN FOR 5",
            "SHOW SOMETHING NEW",
            "SHOW",
        ],
    );
    all_to_primary(Reason::UnknownFunction, &["SHOW TABLES WHERE f(1)"]);
}

#[test]
fn explain_goes_to_the_replica_unless_it_runs_or_plans_a_write() {
    all_go(
        Target::Replica,
        Reason::Explain,
        &[
            "EXPLAIN SELECT * FROM t",
            "EXPLAIN FORMAT=JSON SELECT * FROM t",
            "EXPLAIN EXTENDED SELECT 1",
            "EXPLAIN (SELECT 1) UNION (SELECT 2)",
            "EXPLAIN WITH a AS (SELECT 1) SELECT * FROM a",
            "DESC t",
            "DESCRIBE t `a%`",
            "EXPLAIN t",
            "DESC db.t",
            "EXPLAIN SELECT t.analyze FROM t",
            "EXPLAIN (SELECT t.analyze FROM t)",
        ],
    );
    all_to_primary(
        Reason::ExplainRuns,
        &[
            "EXPLAIN ANALYZE SELECT * FROM t",
            "EXPLAIN FORMAT=TREE ANALYZE SELECT 1",
            "EXPLAIN UPDATE t SET a = 1",
            "EXPLAIN DELETE FROM t",
            "EXPLAIN INSERT INTO t VALUES (1)",
            "EXPLAIN REPLACE INTO t VALUES (1)",
            "DESC UPDATE t SET a = 1",
            "EXPLAIN FOR CONNECTION 5",
            "EXPLAIN FORMAT=JSON INTO @a SELECT 1",
            "ANALYZE SELECT 1",
            "ANALYZE FORMAT=JSON SELECT 1",
            "ANALYZE UPDATE t SET a = 1",
        ],
    );
    all_to_primary(Reason::Other, &["ANALYZE TABLE t", "ANALYZE LOCAL TABLE t"]);
    all_to_primary(Reason::LockingRead, &["EXPLAIN SELECT * FROM t FOR UPDATE"]);
    all_to_primary(
        Reason::UnknownFunction,
        &["EXPLAIN SELECT * FROM (SELECT f(1)) AS d"],
    );
}

#[test]
fn the_state_of_the_session_goes_to_both() {
    all_go(
        Target::Both,
        Reason::SessionState,
        &[
            "SET NAMES utf8mb4",
            "SET NAMES 'utf8mb4' COLLATE 'utf8mb4_bin'",
            "set character set latin1",
            "SET CHARSET DEFAULT",
            "SET autocommit=0",
            "SET @@autocommit := 1",
            "SET SESSION wait_timeout = 100, sql_mode = 'ANSI'",
            "SET @@SESSION.sql_mode = 'TRADITIONAL'",
            "SET LOCAL time_zone = '+00:00'",
            "SET `time_zone` = 'SYSTEM'",
            "SET @a = 5, @b := 'x', @c = NULL",
            "SET @a = @b + 1",
            "SET @OLD_CHARACTER_SET_CLIENT=@@CHARACTER_SET_CLIENT",
            "SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED, READ ONLY",
            "SET SESSION TRANSACTION READ WRITE",
            "SET ROLE ALL EXCEPT r",
            "SET ROLE 'r1', r2",
            "SET foreign_key_checks = 0;",
            "SET sql_mode = CONCAT(@@sql_mode, ',STRICT_TRANS_TABLES')",
            "SET @@SESSION.sql_mode = CONCAT(CONCAT(@@sql_mode, ',STRICT_ALL_TABLES'), \
             ',NO_AUTO_VALUE_ON_ZERO'), @@SESSION.sql_auto_is_null = 0, @@SESSION.wait_timeout = 9",
            "SET sql_mode=(SELECT CONCAT(@@sql_mode, ',PIPES_AS_CONCAT,NO_ENGINE_SUBSTITUTION'))",
            "SET SESSION sql_mode=(SELECT REPLACE(@@sql_mode, 'ONLY_FULL_GROUP_BY', ''))",
            "SET net_write_timeout = ?",
            "SET time_zone = @@global.time_zone",
            "SET @@SESSION.sql_mode = @@GLOBAL.sql_mode, @a = @@`sql_mode`",
            "SET SQL_MODE=@OLD_SQL_MODE, @a = @@TX_ISOLATION",
            "SET sql_auto_is_null = 0",
            "SET @@SQL_AUTO_IS_NULL = 1",
            "/*!40101 SET NAMES utf8 */",
            "/*!40014 SET @OLD_UNIQUE_CHECKS=@@UNIQUE_CHECKS, UNIQUE_CHECKS=0 */;",
            "/*!50503 SET character_set_client = utf8mb4 */",
            "/*! SET NAMES utf8 */",
            "USE shop",
            "USE `sh;op`",
            "PREPARE s FROM 'SELECT 1'",
            "PREPARE s FROM @text",
            "DEALLOCATE PREPARE s",
            "DROP PREPARE s",
        ],
    );
}

#[test]
fn set_of_what_is_the_primarys_goes_there_alone() {
    all_to_primary(
        Reason::GlobalState,
        &[
            "SET GLOBAL max_connections = 5",
            "SET @@global.read_only = 1",
            "SET PERSIST max_connections = 5",
            "SET @@persist_only.x = 1",
            "SET PASSWORD = 'x'",
            "SET PASSWORD FOR u = 'x'",
            "SET DEFAULT ROLE r TO u",
            "SET RESOURCE GROUP g",
            "SET sql_log_bin = 0",
            "SET @@SESSION.SQL_LOG_BIN= 0",
            "SET SESSION gtid_next = 'AUTOMATIC'",
            "SET insert_id = 5",
            "SET GLOBAL TRANSACTION ISOLATION LEVEL SERIALIZABLE, READ ONLY",
            "SET DEFAULT ROLE a, b TO u, v",
        ],
    );
    all_to_primary(
        Reason::Transaction,
        &[
            "SET TRANSACTION READ ONLY",
            "SET TRANSACTION ISOLATION LEVEL SERIALIZABLE, READ ONLY",
            "SET @@transaction_isolation = 'SERIALIZABLE'",
        ],
    );
    all_to_primary(
        Reason::SetValue,
        &[
            "SET @a = NOW()",
            "SET @a = CURRENT_TIMESTAMP",
            "SET @a = (SELECT MAX(id) FROM t)",
            "SET @a = f(1)",
            "SET @a := GET_LOCK('x', 1)",
            "SET @a := @@gtid_executed",
            "SET @a = @@server_id",
            "SET @a = @@hostname, @b = 5",
            "SET @a = @@timestamp",
            "SET @a = 1, @b = CONCAT(@@session.sql_mode, @@global.server_uuid)",
            "SET @a = (SELECT @@version)",
            "SET @a = @@warning_count",
            "SET SESSION max_seeks_for_key = @@a_variable_of_the_future",
            "SET @a = @b := 5",
            "SET @a = RAND()",
            "SET timestamp = UNIX_TIMESTAMP()",
            "SET SESSION x",
            "SET",
            "SET STATEMENT max_statement_time = 1 FOR SELECT 1",
            "SET cache.key_buffer_size = 5",
            "SET @@cache.key_buffer_size = 5",
            "SET 5 = 5",
            "SET @a",
        ],
    );
}

#[test]
fn what_pins_says_so() {
    all_to_primary(
        Reason::TemporaryTable,
        &[
            "CREATE TEMPORARY TABLE t (a INT)",
            "CREATE OR REPLACE TEMPORARY TABLE t (a INT)",
        ],
    );
    all_to_primary(
        Reason::TableLock,
        &[
            "LOCK TABLES t WRITE",
            "LOCK TABLE t READ",
            "LOCK INSTANCE FOR BACKUP",
            "UNLOCK TABLES",
            "FLUSH TABLES WITH READ LOCK",
            "FLUSH TABLES a, b FOR EXPORT",
            "BACKUP STAGE START",
            "BACKUP UNLOCK",
        ],
    );
    all_to_primary(
        Reason::Xa,
        &["XA START 'x'", "XA END 'x'", "XA COMMIT 'x'", "XA RECOVER"],
    );
    all_to_primary(
        Reason::Procedure,
        &[
            "CALL p()",
            "CALL db.p(@a)",
            "BEGIN NOT ATOMIC SELECT 1; END",
        ],
    );
    all_to_primary(
        Reason::PreparedText,
        &["EXECUTE s USING @a", "EXECUTE IMMEDIATE 'DROP TABLE t'"],
    );
}

#[test]
fn kill_is_intercepted() {
    all_go(
        Target::Intercept,
        Reason::Kill,
        &[
            "KILL 5",
            "KILL QUERY 5",
            "KILL CONNECTION 5",
            "kill hard query id 5",
        ],
    );
}

#[test]
fn local_files_are_refused_unless_allowed() {
    all_go(
        Target::Refused,
        Reason::LocalInfile,
        &[
            "LOAD DATA LOCAL INFILE 'x' INTO TABLE t",
            "LOAD XML LOW_PRIORITY LOCAL INFILE 'x' INTO TABLE t",
        ],
    );
    all_to_primary(
        Reason::Write,
        &[
            "LOAD DATA INFILE 'x' INTO TABLE t",
            "LOAD DATA INFILE 'x' INTO TABLE local",
        ],
    );
    let state = State::new(Dialect::default(), true).allowing_local_infile();
    let decision = state.route(
        &read("LOAD DATA LOCAL INFILE 'x' INTO TABLE t"),
        OwnWrites::Visible,
    );
    assert_eq!(decision.target, Target::Primary);
}

#[test]
fn a_file_is_offered_for_each_statement_that_loads_one() {
    let several = Dialect {
        multi_statements: true,
        ..Dialect::default()
    };
    for (sql, alone, together) in [
        ("LOAD DATA LOCAL INFILE 'x' INTO TABLE t", 1, 1),
        ("LOAD DATA INFILE 'x' INTO TABLE local", 0, 0),
        ("SELECT 1; LOAD DATA LOCAL INFILE 'x' INTO TABLE t", 0, 1),
        (
            "load data local infile 'x' into table t; LOAD XML CONCURRENT LOCAL INFILE 'y'
             INTO TABLE t; LOAD DATA INFILE 'z' INTO TABLE local",
            0,
            2,
        ),
        ("LOAD INDEX INTO CACHE t; SELECT local", 0, 0),
        ("SELECT 1; SELECT 'LOAD DATA LOCAL INFILE'", 0, 0),
        ("SELECT load, local; SELECT load data, local", 0, 0),
        ("SELECT 1; /* LOAD DATA LOCAL */ SELECT 2", 0, 0),
    ] {
        let offered = |dialect| classify(sql.as_bytes(), dialect).files_offered;
        assert_eq!(offered(Dialect::default()), alone, "{sql}");
        assert_eq!(offered(several), together, "{sql}");
    }
}

#[test]
fn everything_else_goes_to_the_primary() {
    all_to_primary(
        Reason::Write,
        &[
            "INSERT INTO t VALUES (1)",
            "update t set a=1",
            "DELETE FROM t",
            "REPLACE INTO t VALUES (1)",
            "TRUNCATE t",
        ],
    );
    all_to_primary(
        Reason::Other,
        &[
            "CREATE TABLE t (a INT)",
            "ALTER TABLE t ADD b INT",
            "DROP TABLE t",
            "GRANT SELECT ON t TO u",
            "DO SLEEP(1)",
            "DO f(1)",
            "HANDLER t OPEN",
            "HANDLER t READ FIRST",
            "HELP 'contents'",
            "CHECKSUM TABLE t",
            "OPTIMIZE TABLE t",
            "FLUSH PRIVILEGES",
            "START REPLICA",
            "CHANGE MASTER TO MASTER_HOST='x'",
            "SIGNAL SQLSTATE '45000'",
            "SOMETHING FROM THE FUTURE",
            "SELECTT 1",
            "a_verb_that_is_longer_than_any_known_one 5",
            "CREATE DEFINER=`a`@`%` PROCEDURE p() BEGIN SET @x = 1; SELECT 1; END",
            "CREATE FUNCTION f() RETURNS INT BEGIN SET @x = 1; RETURN 1; END",
            "CREATE TRIGGER g BEFORE INSERT ON t FOR EACH ROW BEGIN SET @x = 1; SET @y = 2; END",
        ],
    );
    all_to_primary(Reason::AssignsVariable, &["DO @a := 1"]);
    all_to_primary(
        Reason::NotUnderstood,
        &[
            "'SELECT'",
            "`SELECT` 1",
            "(UPDATE t)",
            "(",
            "5",
            "\\",
            "SELECT \\N",
            "SELECT $$a$$",
            "SELECT $tag$a$tag$",
            "SELECT $a$",
        ],
    );
    all_to_primary(
        Reason::ExecutableComment,
        &[
            "/*!50000 SELECT 1 */",
            "SELECT /*! 1 */",
            "SELECT 1 /*!50000 FOR UPDATE */",
            "SELECT /*M! 1 */ 2",
        ],
    );
}

#[test]
fn transactions_are_recognised() {
    for (sql, access) in [
        ("BEGIN", None),
        ("begin work", None),
        ("BEGIN;", None),
        ("START TRANSACTION", None),
        ("START TRANSACTION WITH CONSISTENT SNAPSHOT", None),
        ("START TRANSACTION READ ONLY", Some(Access::ReadOnly)),
        (
            "start transaction with consistent snapshot, read only",
            Some(Access::ReadOnly),
        ),
        (
            "START /* */ TRANSACTION READ WRITE",
            Some(Access::ReadWrite),
        ),
        (
            "START TRANSACTION READ ONLY, READ WRITE",
            Some(Access::ReadWrite),
        ),
        (
            "START TRANSACTION READ WRITE, READ ONLY",
            Some(Access::ReadWrite),
        ),
    ] {
        assert_eq!(read(sql).kind, Kind::Begin(access), "{sql}");
    }
    for sql in [
        "COMMIT",
        "ROLLBACK",
        "COMMIT AND CHAIN",
        "ROLLBACK TO SAVEPOINT s",
    ] {
        assert_eq!(read(sql).kind, Kind::EndTransaction, "{sql}");
    }
    all_go(
        Target::Replica,
        Reason::ReadOnlyTransaction,
        &[
            "START TRANSACTION READ ONLY",
            "START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY",
        ],
    );
    all_to_primary(
        Reason::Transaction,
        &[
            "BEGIN",
            "START TRANSACTION",
            "COMMIT",
            "ROLLBACK",
            "SAVEPOINT a",
            "RELEASE SAVEPOINT a",
        ],
    );
}

#[test]
fn a_hint_lifts_doubts_and_nothing_else() {
    all_to_primary(
        Reason::HintPrimary,
        &[
            "/* route:primary */ SELECT 1",
            "SELECT /*route:primary*/ 1",
            "SELECT 1 /* ROUTE : Primary */",
            "/*route:primary*/ SHOW TABLES",
        ],
    );
    all_go(
        Target::Replica,
        Reason::HintReplica,
        &[
            "/* route:replica */ SELECT f(1)",
            "SELECT /*route:replica*/ db.f(1) FROM t",
        ],
    );
    all_read(&[
        "/* route:replica */ SELECT 1",
        "/* an application's name */ /* route:primary */ SELECT 1",
        "-- hello\n/* route:primary */ SELECT 1",
        "/* route:primary now */ SELECT 1",
        "/* reroute:primary */ SELECT 1",
        "/* route:elsewhere */ SELECT 1",
        "SELECT '/* route:primary */'",
    ]);
    for sql in [
        "/* route:replica */ UPDATE t SET a = 1",
        "/* route:replica */ SELECT * FROM t FOR UPDATE",
        "/* route:replica */ CALL p()",
        "/* route:replica */ CREATE TABLE t (a INT)",
        "/* route:replica */ SELECT 1 INTO @a",
        "/* route:replica */ BEGIN",
        "/* route:replica */ SELECT 1; DROP TABLE t",
        "/* route:replica */ SELECT LAST_INSERT_ID()",
        "/* route:replica */ DO f()",
    ] {
        assert_eq!(route(sql).target, Target::Primary, "{sql}");
    }
    assert_eq!(
        route("/* route:primary */ SET NAMES utf8").target,
        Target::Both
    );
}

#[test]
fn dialects_change_what_a_quote_means() {
    let ansi = Dialect {
        ansi_quotes: true,
        ..Dialect::default()
    };
    let bare = Dialect {
        no_backslash_escapes: true,
        ..Dialect::default()
    };
    let kind = |sql: &str, dialect| classify(sql.as_bytes(), dialect).kind;
    assert_eq!(kind(r#"SELECT "a""b" FROM t"#, ansi), Kind::Read);
    assert_eq!(kind(r#"SELECT "f"(1)"#, ansi), Kind::Doubtful);
    assert_eq!(kind(r"SELECT 'a\'", bare), Kind::Read);
    assert_eq!(kind(r"SELECT 'a\'", Dialect::default()), Kind::Primary);
    assert_eq!(kind(r"SELECT 'a\' FOR UPDATE -- '", bare), Kind::Primary);
    assert_eq!(
        kind(r"SELECT 'a\' FOR UPDATE -- '", Dialect::default()),
        Kind::Read
    );
    assert_eq!(kind(r#"SELECT "a\" FOR UPDATE -- ""#, bare), Kind::Primary);
    // Where a backslash before a double quote decides, only the server knows.
    for dialect in [Dialect::default(), ansi] {
        assert_eq!(kind(r#"SELECT "a\"b""#, dialect), Kind::Primary);
        assert_eq!(kind(r#"SELECT "a\\", "b\nc" FROM t"#, dialect), Kind::Read);
    }
}
