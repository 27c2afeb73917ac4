//! What a session has done, and where its statements go because of it.

use super::read;
use crate::mysql::Server::{Primary, Replica};
use crate::mysql::{Decision, Dialect, OwnWrites, Reply, Server, State, Status, Target};
use crate::mysql::{classify, lexer};
use crate::telemetry::RouteReason as Reason;

const NO_FLAGS: Status = Status(0);
const IDLE: Status = Status::AUTOCOMMIT;
const IN_TRANSACTION: Status = IDLE.with(Status::IN_TRANSACTION);
const IN_READ_ONLY: Status = IN_TRANSACTION.with(Status::IN_READ_ONLY_TRANSACTION);

/// A session whose servers answer as they are told.
struct Session {
    state: State,
}

impl Session {
    fn new() -> Self {
        Self {
            state: State::new(Dialect::default(), true),
        }
    }

    fn ask(&self, sql: &str) -> Decision {
        let statement = classify(sql.as_bytes(), self.state.dialect());
        self.state.route(&statement, OwnWrites::Visible)
    }

    /// Runs a statement where it belongs, and answers with these flags.
    fn run_with(&mut self, sql: &str, status: Status) -> Decision {
        self.reply(sql, status, false)
    }

    /// The same, in autocommit and outside transactions.
    fn run(&mut self, sql: &str) -> Decision {
        self.run_with(sql, IDLE)
    }

    fn fail(&mut self, sql: &str) -> Decision {
        self.reply(sql, IDLE, true)
    }

    fn reply(&mut self, sql: &str, status: Status, failed: bool) -> Decision {
        let statement = classify(sql.as_bytes(), self.state.dialect());
        let decision = self.state.route(&statement, OwnWrites::Visible);
        let servers: &[Server] = match (decision.target, decision.answer) {
            (Target::Both, _) => &[Primary, Replica],
            (_, Some(Primary)) => &[Primary],
            (_, Some(Replica)) => &[Replica],
            (_, None) => &[],
        };
        for &server in servers {
            let reply = Reply {
                status,
                failed,
                several_results: false,
                changed_session: false,
            };
            self.state.after(&statement, &decision, server, reply);
        }
        decision
    }

    #[track_caller]
    fn expect(&self, sql: &str, target: Target, reason: Reason) {
        let decision = self.ask(sql);
        assert_eq!(
            (decision.target, decision.reason),
            (target, reason),
            "{sql}"
        );
    }

    #[track_caller]
    fn reads_on_replica(&self) {
        self.expect("SELECT 1", Target::Replica, Reason::PlainRead);
    }

    #[track_caller]
    fn reads_on_primary(&self, reason: Reason) {
        self.expect("SELECT 1", Target::Primary, reason);
    }
}

#[test]
fn a_transaction_stays_on_the_primary_until_its_flag_is_gone() {
    let mut session = Session::new();
    session.run_with("BEGIN", IN_TRANSACTION);
    assert!(session.state.in_transaction());
    session.reads_on_primary(Reason::InTransaction);
    session.expect(
        "/* route:replica */ SELECT 1",
        Target::Primary,
        Reason::InTransaction,
    );
    session.expect(
        "START TRANSACTION READ ONLY",
        Target::Primary,
        Reason::InTransaction,
    );
    session.expect("SET @a = 1", Target::Both, Reason::SessionState);
    session.run_with("SELECT 1", IN_TRANSACTION);
    session.run("COMMIT");
    session.reads_on_replica();
    // A prepared BEGIN says nothing in text, and everything in the flags.
    session.run_with("EXECUTE s", IN_TRANSACTION);
    session.reads_on_primary(Reason::InTransaction);
}

#[test]
fn without_autocommit_everything_stays_on_the_primary() {
    let mut session = Session::new();
    assert_eq!(
        session.run_with("SET autocommit = 0", NO_FLAGS).target,
        Target::Both
    );
    session.reads_on_primary(Reason::AutocommitOff);
    session.run_with("SELECT 1", Status::IN_TRANSACTION);
    session.reads_on_primary(Reason::InTransaction);
    session.run_with("COMMIT", NO_FLAGS);
    session.expect(
        "START TRANSACTION READ ONLY",
        Target::Replica,
        Reason::ReadOnlyTransaction,
    );
    session.run_with("SET autocommit = 1", IDLE);
    session.reads_on_replica();
}

#[test]
fn a_read_only_transaction_stays_on_the_replica_until_it_ends() {
    let mut session = Session::new();
    session.run_with("START TRANSACTION READ ONLY", IN_READ_ONLY);
    for sql in [
        "SELECT 1",
        "SELECT f(1)",
        "UPDATE t SET a = 1",
        "SELECT * FROM t FOR SHARE",
        "COMMIT",
    ] {
        session.expect(sql, Target::Replica, Reason::ReadOnlyTransaction);
    }
    session.expect(
        "START TRANSACTION READ ONLY",
        Target::Replica,
        Reason::ReadOnlyTransaction,
    );
    let decision = session.ask("SET NAMES utf8");
    assert_eq!(
        (decision.target, decision.answer),
        (Target::Both, Some(Replica))
    );
    assert_eq!(
        session.ask("SELECT GET_LOCK('a', 1)").target,
        Target::Primary
    );
    session.run_with("SELECT GET_LOCK('a', 1)", IDLE);
    session.expect("SELECT 1", Target::Replica, Reason::ReadOnlyTransaction);
    session.run("COMMIT");
    session.reads_on_primary(Reason::NamedLock);
}

#[test]
fn what_read_only_does_not_hold_back_is_not_done_to_the_replica() {
    let mut session = Session::new();
    session.run_with("START TRANSACTION READ ONLY", IN_READ_ONLY);
    for (reason, statements) in [
        (
            Reason::GlobalState,
            &["SET GLOBAL max_connections = 123", "SET PERSIST x = 1"][..],
        ),
        (
            Reason::ServerState,
            &["SHOW VARIABLES", "SELECT @@global.read_only"],
        ),
        (
            Reason::TableLock,
            &["LOCK INSTANCE FOR BACKUP", "BACKUP STAGE START"],
        ),
        (
            Reason::Other,
            &[
                "PURGE BINARY LOGS TO 'x'",
                "SHUTDOWN",
                "SOMETHING FROM THE FUTURE",
            ],
        ),
    ] {
        for sql in statements {
            session.expect(sql, Target::Primary, reason);
            let ends = session.ask(sql).ends_replica_transaction;
            assert!(!ends, "the snapshot stays: {sql}");
        }
    }
    // These only read, or are refused where they are sent.
    for sql in [
        "DO SLEEP(1)",
        "CHECKSUM TABLE t",
        "INSERT INTO t VALUES (1)",
        "CREATE TEMPORARY TABLE t (a INT)",
        "LOAD DATA INFILE 'x' INTO TABLE t",
    ] {
        session.expect(sql, Target::Replica, Reason::ReadOnlyTransaction);
    }
}

#[test]
fn a_transaction_that_the_replica_would_let_write_only_reads_there() {
    let mut session = Session::new();
    session.run("SET SESSION TRANSACTION READ ONLY");
    session.run_with("BEGIN", IN_TRANSACTION);
    for sql in [
        "INSERT INTO t VALUES (1)",
        "SELECT * FROM t FOR UPDATE",
        "SELECT f(1)",
        "/* route:replica */ SELECT f(1)",
        "CALL p()",
        "START TRANSACTION READ WRITE",
    ] {
        session.expect(sql, Target::Refused, Reason::ReadOnlyTransaction);
    }
    session.expect("SELECT 1", Target::Replica, Reason::ReadOnlyTransaction);
    session.expect("COMMIT", Target::Replica, Reason::ReadOnlyTransaction);
    session.run("COMMIT");
    session.expect("INSERT INTO t VALUES (1)", Target::Primary, Reason::Write);
    session.reads_on_replica();
}

#[test]
fn a_comment_that_a_server_skips_sends_no_transaction_to_the_replica() {
    let mut session = Session::new();
    session.run("/*!50720 SET SESSION TRANSACTION READ ONLY */");
    session.expect("BEGIN", Target::Primary, Reason::UnsharedState);
    session.reads_on_primary(Reason::UnsharedState);
}

#[test]
fn what_ends_a_transaction_on_one_server_ends_it_on_the_replica_first() {
    for sql in [
        "BEGIN",
        "START TRANSACTION READ WRITE",
        "LOCK TABLES t WRITE",
        "FLUSH TABLES WITH READ LOCK",
        "FLUSH LOGS",
        "ANALYZE TABLE t",
        "ANALYZE NO_WRITE_TO_BINLOG TABLE t",
        "OPTIMIZE TABLE t",
        "RESET MASTER",
        "START REPLICA",
        "STOP REPLICA",
        "LOAD INDEX INTO CACHE t",
        "CREATE TABLE t (a INT)",
        "CREATE PROCEDURE p() SELECT 1",
        "ALTER TABLE t ADD b INT",
        "DROP TABLE t",
        "RENAME TABLE t TO u",
        "TRUNCATE t",
        "GRANT SELECT ON t TO u",
    ] {
        let mut session = Session::new();
        session.run_with("START TRANSACTION READ ONLY", IN_READ_ONLY);
        let decision = session.ask(sql);
        assert_eq!(decision.target, Target::Primary, "{sql}");
        assert!(decision.ends_replica_transaction, "{sql}");
        assert!(!Session::new().ask(sql).ends_replica_transaction, "{sql}");
    }
}

#[test]
fn a_session_that_only_reads_has_its_transactions_on_the_replica() {
    let mut session = Session::new();
    session.run("SET SESSION TRANSACTION READ ONLY");
    session.expect("BEGIN", Target::Replica, Reason::ReadOnlyTransaction);
    session.expect(
        "START TRANSACTION READ WRITE",
        Target::Primary,
        Reason::Transaction,
    );
    session.run_with("SET autocommit = 0", NO_FLAGS);
    session.reads_on_replica();
    session.expect("UPDATE t SET a = 1", Target::Primary, Reason::Write);
    session.run_with("SELECT 1", IN_READ_ONLY.without(IDLE));
    session.expect("SELECT f(1)", Target::Replica, Reason::ReadOnlyTransaction);
    session.run_with("COMMIT", NO_FLAGS);
    session.run_with("SET autocommit = 1", IDLE);
    session.run("SET SESSION TRANSACTION READ WRITE");
    session.expect("BEGIN", Target::Primary, Reason::Transaction);
    session.run("SET transaction_read_only = ON");
    session.expect("BEGIN", Target::Replica, Reason::ReadOnlyTransaction);
}

#[test]
fn a_shaped_transaction_is_the_next_one_and_no_other() {
    let mut session = Session::new();
    session.run("SET TRANSACTION ISOLATION LEVEL SERIALIZABLE");
    session.run("SET @a = 1");
    session.reads_on_primary(Reason::NextTransaction);
    session.expect(
        "START TRANSACTION READ ONLY",
        Target::Primary,
        Reason::NextTransaction,
    );
    session.run("SELECT 1");
    session.reads_on_replica();
    session.run("SET TRANSACTION READ ONLY");
    session.run_with("BEGIN", IN_READ_ONLY);
    session.run("COMMIT");
    session.reads_on_replica();
}

#[test]
fn serializable_sessions_read_on_the_primary() {
    let mut session = Session::new();
    for (set, is_serializable) in [
        ("SET SESSION TRANSACTION ISOLATION LEVEL SERIALIZABLE", true),
        (
            "SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED",
            false,
        ),
        ("SET transaction_isolation = 'serializable'", true),
        ("SET tx_isolation = 'REPEATABLE-READ'", false),
        ("SET @@session.transaction_isolation = @old", true),
    ] {
        session.run(set);
        match is_serializable {
            true => session.reads_on_primary(Reason::Serializable),
            false => session.reads_on_replica(),
        }
    }
}

#[test]
fn temporary_tables_pin_until_each_is_dropped() {
    let mut session = Session::new();
    session.fail("CREATE TEMPORARY TABLE a (x INT)");
    session.reads_on_replica();
    session.run("CREATE TEMPORARY TABLE a (x INT)");
    session.run("CREATE TEMPORARY TABLE IF NOT EXISTS a (x INT)");
    session.run("CREATE TEMPORARY TABLE `db`.`B` AS SELECT 1");
    session.reads_on_primary(Reason::TemporaryTable);
    session.run("DROP TABLE IF EXISTS A");
    session.run("DROP TABLE b");
    session.reads_on_primary(Reason::TemporaryTable);
    session.run("DROP TEMPORARY TABLE c, db.b");
    session.reads_on_replica();
    for i in 0..9 {
        session.run(&format!("CREATE TEMPORARY TABLE t{i} (x INT)"));
    }
    for i in 0..9 {
        session.run(&format!("DROP TABLE t{i}"));
    }
    session.reads_on_primary(Reason::TemporaryTable);
}

#[test]
fn a_temporary_table_is_known_by_its_name_only_as_long_as_the_name_means_it() {
    for changes in [
        &["USE b", "DROP TABLE w", "USE a"][..],
        &["USE b", "DROP TABLE IF EXISTS w"],
        &[
            "ALTER TABLE w RENAME r",
            "CREATE TABLE w (x INT)",
            "DROP TABLE w",
        ],
        &[
            "ALTER TABLE w ADD y INT, RENAME TO a.r",
            "DROP TABLE IF EXISTS w",
        ],
        &["RENAME TABLE w TO r", "DROP TABLE IF EXISTS w"],
    ] {
        let mut session = Session::new();
        session.run("CREATE TEMPORARY TABLE w (x INT)");
        for sql in changes {
            session.run(sql);
        }
        session.reads_on_primary(Reason::TemporaryTable);
        session.state.reset(Dialect::default());
        session.reads_on_replica();
    }
    let mut session = Session::new();
    session.run("CREATE TEMPORARY TABLE w (x INT)");
    session.run("ALTER TABLE w RENAME COLUMN x TO y, RENAME INDEX i TO j");
    session.fail("USE b");
    session.run("DROP TABLE w");
    session.run("USE b");
    session.reads_on_replica();
}

#[test]
fn locks_pin_until_they_are_released() {
    let cases: [(&str, &str, Reason); 7] = [
        ("LOCK TABLES t WRITE", "UNLOCK TABLES", Reason::TableLock),
        (
            "FLUSH TABLES WITH READ LOCK",
            "UNLOCK TABLES",
            Reason::TableLock,
        ),
        (
            "LOCK INSTANCE FOR BACKUP",
            "UNLOCK INSTANCE",
            Reason::TableLock,
        ),
        ("BACKUP STAGE START", "BACKUP STAGE END", Reason::TableLock),
        (
            "SELECT GET_LOCK('a', 1)",
            "DO RELEASE_LOCK('a')",
            Reason::NamedLock,
        ),
        (
            "DO GET_LOCK('a', 1), GET_LOCK('b', 1)",
            "SELECT RELEASE_ALL_LOCKS()",
            Reason::NamedLock,
        ),
        ("XA START 'x'", "XA COMMIT 'x'", Reason::Xa),
    ];
    for (take, release, reason) in cases {
        let mut session = Session::new();
        session.fail(take);
        session.reads_on_replica();
        session.run(take);
        session.reads_on_primary(reason);
        session.run("INSERT INTO t VALUES (1)");
        session.reads_on_primary(reason);
        session.fail(release);
        session.reads_on_primary(reason);
        session.run(release);
        session.reads_on_replica();
    }
}

#[test]
fn a_transaction_unlocks_tables_but_not_the_read_lock() {
    let mut session = Session::new();
    session.run("LOCK TABLES t WRITE");
    session.run("BEGIN");
    session.reads_on_replica();
    session.run("FLUSH TABLES WITH READ LOCK");
    session.run("BEGIN");
    session.reads_on_primary(Reason::TableLock);
}

#[test]
fn as_many_locks_have_to_be_released_as_were_taken() {
    let mut session = Session::new();
    session.run("SELECT GET_LOCK('a', 1)");
    session.run("SELECT GET_LOCK('a', 1)");
    session.run("SELECT RELEASE_LOCK('a')");
    session.reads_on_primary(Reason::NamedLock);
    session.run("SELECT RELEASE_LOCK('a')");
    session.reads_on_replica();
}

#[test]
fn user_variables_are_read_where_they_are_known() {
    let mut session = Session::new();
    session.run("SET @a = 5");
    session.expect("SELECT @a", Target::Replica, Reason::PlainRead);
    for sql in [
        "SELECT 5 INTO @a",
        "SELECT @a := 5",
        "SET @a = NOW()",
        "SET @a = @@server_id",
        "CALL p(@a)",
        "EXECUTE s",
        "SELECT f(1)",
        "UPDATE t SET b = (@a := 1)",
    ] {
        let mut session = Session::new();
        session.run(sql);
        session.expect("SELECT @a", Target::Primary, Reason::UserVariable);
        session.expect(
            "/* route:replica */ SELECT @a",
            Target::Replica,
            Reason::HintReplica,
        );
        session.expect("SET @b = @a", Target::Primary, Reason::UserVariable);
        session.run("SET @b = @a");
        session.reads_on_replica();
        session.expect("SELECT @b", Target::Primary, Reason::UserVariable);
    }
    let mut session = Session::new();
    session.run("INSERT INTO t VALUES (@a)");
    session.expect("SELECT @a", Target::Replica, Reason::PlainRead);
}

#[test]
fn a_value_that_only_the_primary_has_pins_the_session() {
    for sql in [
        "SET SESSION sql_mode = f(1)",
        "SET SESSION group_concat_max_len = (SELECT 5 FROM t)",
        "SET x",
        "SET sql_auto_is_null = 1",
        "SET SESSION sql_auto_is_null = ON, sql_mode = 'ANSI'",
    ] {
        let mut session = Session::new();
        session.run(sql);
        session.reads_on_primary(Reason::UnsharedState);
        let mut session = Session::new();
        session.run_with("START TRANSACTION READ ONLY", IN_READ_ONLY);
        session.run(sql);
        session.reads_on_primary(Reason::UnsharedState);
    }
    let mut session = Session::new();
    session.run("SELECT 5 INTO @mode");
    session.run("SET @a = 5, sql_mode = @mode");
    session.reads_on_primary(Reason::UnsharedState);
    for sql in [
        "SET GLOBAL max_connections = 5",
        "SET sql_log_bin = 0",
        "SET sql_auto_is_null = OFF",
        "SET @a = NOW()",
        "SET @a = @@server_id",
    ] {
        let mut session = Session::new();
        session.run(sql);
        session.reads_on_replica();
    }
}

#[test]
fn a_call_that_changed_the_session_pins_it() {
    let statement = read("CALL p()");
    for (state, changed_session) in [
        (State::new(Dialect::default(), true), true),
        (
            State::new(Dialect::default(), true).pinned_by_calls(),
            false,
        ),
    ] {
        let mut session = Session { state };
        let decision = session.ask("CALL p()");
        let reply = Reply {
            status: IDLE.with(Status::SESSION_STATE_CHANGED),
            failed: false,
            several_results: false,
            changed_session,
        };
        session.state.after(&statement, &decision, Primary, reply);
        assert_eq!(session.ask("SELECT 1").target, Target::Primary);
    }
}

#[test]
fn diagnostics_follow_the_last_statement() {
    let mut session = Session::new();
    assert_eq!(session.ask("SHOW WARNINGS").answer, Some(Primary));
    session.run("SELECT 1");
    assert_eq!(session.ask("SHOW WARNINGS").answer, Some(Replica));
    session.run("SELECT FOUND_ROWS()");
    assert_eq!(session.ask("SHOW WARNINGS").answer, Some(Replica));
    session.run("UPDATE t SET a = 1");
    assert_eq!(session.ask("SELECT ROW_COUNT()").answer, Some(Primary));
    session.run("SELECT 1");
    // Both have run it, and only one knows what was there before.
    session.run("SET NAMES utf8");
    assert_eq!(session.ask("SHOW WARNINGS").answer, Some(Replica));
    session.run("UPDATE t SET a = 1");
    session.run("SET NAMES utf8");
    assert_eq!(session.ask("SHOW WARNINGS").answer, Some(Primary));
    session.run("SELECT 1");
    session.state.set_replica(false);
    assert_eq!(session.ask("SHOW WARNINGS").answer, Some(Primary));
}

#[test]
fn a_read_waits_on_the_primary_for_what_the_session_wrote() {
    let state = State::new(Dialect::default(), true);
    for (sql, target, reason) in [
        ("SELECT 1", Target::Primary, Reason::ReadAfterWrite),
        ("SHOW TABLES", Target::Primary, Reason::ReadAfterWrite),
        (
            "START TRANSACTION READ ONLY",
            Target::Primary,
            Reason::ReadAfterWrite,
        ),
        (
            "/* route:replica */ SELECT 1",
            Target::Replica,
            Reason::HintReplica,
        ),
        (
            "/* route:primary */ SELECT 1",
            Target::Primary,
            Reason::HintPrimary,
        ),
        ("SELECT f(1)", Target::Primary, Reason::UnknownFunction),
        ("SET NAMES utf8", Target::Both, Reason::SessionState),
    ] {
        let decision = state.route(&read(sql), OwnWrites::Unseen);
        assert_eq!(
            (decision.target, decision.reason),
            (target, reason),
            "{sql}"
        );
    }
}

#[test]
fn without_a_replica_everything_is_the_primarys() {
    let mut session = Session::new();
    session.state.set_replica(false);
    session.reads_on_primary(Reason::NoReplica);
    session.expect(
        "START TRANSACTION READ ONLY",
        Target::Primary,
        Reason::NoReplica,
    );
    session.expect("SET NAMES utf8", Target::Primary, Reason::SessionState);
    session.run("SET NAMES utf8");
    session.reads_on_primary(Reason::NoReplica);
}

#[test]
fn a_replica_that_lags_is_not_read_while_the_primary_can_be() {
    let mut session = Session::new();
    session.state.set_replica_lags(true);
    session.reads_on_primary(Reason::ReplicaLagging);
    // It is the operator who says what is too old, so no hint lifts that.
    let hint = "/* route:replica */ SELECT 1";
    session.expect(hint, Target::Primary, Reason::ReplicaLagging);
    let transaction = "START TRANSACTION READ ONLY";
    session.expect(transaction, Target::Primary, Reason::ReplicaLagging);
    session.expect("SET NAMES utf8", Target::Both, Reason::SessionState);
    session.state.lose_primary();
    session.reads_on_replica();
}

#[test]
fn a_read_only_transaction_stays_on_a_replica_that_begins_to_lag() {
    let mut session = Session::new();
    session.run_with("START TRANSACTION READ ONLY", IN_READ_ONLY);
    session.state.set_replica_lags(true);
    session.expect("SELECT 1", Target::Replica, Reason::ReadOnlyTransaction);
    session.state.set_replica_lags(false);
    session.run("COMMIT");
    session.reads_on_replica();
}

#[test]
fn without_the_primary_reads_go_on_and_nothing_else() {
    let mut session = Session::new();
    session.state.lose_primary();
    session.reads_on_replica();
    session.expect("SET NAMES utf8", Target::Replica, Reason::SessionState);
    session.expect("UPDATE t SET a = 1", Target::Refused, Reason::PrimaryLost);
    session.expect("BEGIN", Target::Refused, Reason::PrimaryLost);
    session.expect("SHOW WARNINGS", Target::Refused, Reason::PrimaryLost);
    session.state.set_replica(false);
    session.expect("SELECT 1", Target::Refused, Reason::PrimaryLost);
}

#[test]
fn without_the_primary_the_replica_tells_of_itself_and_of_nothing_that_only_the_primary_knew() {
    let mut session = Session::new();
    session.run("SELECT f(1)");
    session.state.lose_primary();
    for sql in [
        "SHOW VARIABLES LIKE 'x'",
        "SHOW EVENTS",
        "SHOW PROCESSLIST",
        "SELECT @@global.max_connections",
        "SELECT * FROM performance_schema.threads",
    ] {
        session.expect(sql, Target::Replica, Reason::ServerState);
    }
    for sql in [
        "SELECT LAST_INSERT_ID()",
        "SELECT CONNECTION_ID()",
        "SELECT @@gtid_executed",
        "SELECT @@global.x FOR UPDATE",
        "SELECT @@global.x, f(1)",
        "SELECT @@global.x, LAST_INSERT_ID()",
        "SHOW VARIABLES WHERE f(1)",
        "SHOW STATUS WHERE GET_LOCK('x', 1)",
        "SELECT @a",
        "/* route:primary */ SELECT 1",
        "SET GLOBAL x = 1",
    ] {
        session.expect(sql, Target::Refused, Reason::PrimaryLost);
    }
    let unseen = session.state.route(&read("SELECT 1"), OwnWrites::Unseen);
    assert_eq!(unseen.target, Target::Refused);
    session.run("USE sys");
    session.expect("SELECT * FROM x", Target::Replica, Reason::ServerState);
}

#[test]
fn without_the_primary_a_session_without_autocommit_reads_in_transactions_of_the_replica() {
    let mut session = Session::new();
    session.run_with("SET autocommit = 0", NO_FLAGS);
    session.state.lose_primary();
    session.reads_on_replica();
    session.run_with("SELECT 1", Status::IN_TRANSACTION);
    for sql in ["SELECT 1", "SHOW VARIABLES", "COMMIT", "ROLLBACK"] {
        session.expect(sql, Target::Replica, Reason::ReadOnlyTransaction);
    }
    for sql in [
        "INSERT INTO t VALUES (1)",
        "SELECT * FROM t FOR UPDATE",
        "SELECT f(1)",
        "CREATE TABLE t (a INT)",
        "CALL p()",
        "BEGIN",
    ] {
        session.expect(sql, Target::Refused, Reason::PrimaryLost);
    }
    session.run_with("COMMIT", NO_FLAGS);
    session.reads_on_replica();
    session.expect(
        "INSERT INTO t VALUES (1)",
        Target::Refused,
        Reason::PrimaryLost,
    );
    session.expect("ROLLBACK", Target::Replica, Reason::Transaction);
}

#[test]
fn without_the_primary_the_replica_says_how_statements_are_read() {
    let mut session = Session::new();
    let escapes = Status::NO_BACKSLASH_ESCAPES;
    session.run_with("SET sql_mode = 'NO_BACKSLASH_ESCAPES'", IDLE.with(escapes));
    session.state.set_status(Replica, IDLE);
    session.state.lose_primary();
    assert!(session.state.dialect().no_backslash_escapes);
    session.run_with("SET sql_mode = ''", IDLE);
    assert!(!session.state.dialect().no_backslash_escapes);
}

#[test]
fn a_schema_that_shows_the_server_is_read_on_the_primary() {
    let mut session = Session::new();
    session.run("USE performance_schema");
    session.expect(
        "SELECT * FROM threads",
        Target::Primary,
        Reason::ServerState,
    );
    session.state.reset(Dialect::default());
    session.reads_on_primary(Reason::ServerState);
    session.run("USE shop");
    session.reads_on_replica();
}

#[test]
fn the_session_tells_how_its_statements_are_read() {
    let mut session = Session::new();
    session.run("SET sql_mode = 'ANSI'");
    assert!(session.state.dialect().ansi_quotes);
    session.run("SET sql_mode = @@sql_mode");
    assert!(
        session.state.dialect().ansi_quotes,
        "it cannot be told, so it stays"
    );
    session.run("SET SESSION sql_mode = 'TRADITIONAL'");
    assert!(!session.state.dialect().ansi_quotes);
    session.run_with("SELECT 1", IDLE);
    session.run_with(
        "UPDATE t SET a = 1",
        IDLE.with(Status::NO_BACKSLASH_ESCAPES),
    );
    assert!(session.state.dialect().no_backslash_escapes);
    for (set, has_trail_bytes) in [
        ("SET NAMES gbk", true),
        ("SET NAMES 'utf8mb4'", false),
        ("SET CHARACTER SET sjis", true),
        ("SET character_set_client = latin1", false),
        ("SET character_set_client = @old", true),
    ] {
        session.run(set);
        assert_eq!(
            session.state.dialect().trail_bytes,
            has_trail_bytes,
            "{set}"
        );
    }
}

#[test]
fn a_reset_undoes_what_the_session_did() {
    let mut session = Session::new();
    for sql in [
        "CREATE TEMPORARY TABLE t (a INT)",
        "LOCK TABLES t READ",
        "SELECT GET_LOCK('a', 1)",
        "SELECT 1 INTO @a",
        "SET SESSION TRANSACTION ISOLATION LEVEL SERIALIZABLE",
    ] {
        session.run(sql);
    }
    session.state.reset(Dialect::default());
    assert_eq!(session.state, State::new(Dialect::default(), true));
    session.expect("SELECT @a", Target::Replica, Reason::PlainRead);
}

#[test]
fn character_sets_with_trail_bytes_are_known_by_collation() {
    for collation in [
        1, 84, 13, 88, 28, 87, 95, 96, 248, 249, 250, 1025, 1108, 1052, 1119,
    ] {
        assert!(lexer::has_trail_bytes(collation), "{collation}");
    }
    for collation in [8, 33, 45, 46, 63, 255, 1032, 1069, 2049, 2304, 2396] {
        assert!(!lexer::has_trail_bytes(collation), "{collation}");
    }
}
