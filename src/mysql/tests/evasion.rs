//! Statements made to look like reads, and reads made to look like something else.

use super::{all_read, all_to_primary, read};
use crate::mysql::{Dialect, Kind, Pins, Target, classify, classify_head, fuzzing};
use crate::telemetry::RouteReason as Reason;

#[track_caller]
fn none_reads(statements: &[&[u8]]) {
    for sql in statements {
        for dialect in fuzzing::dialects() {
            let kind = classify(sql, dialect).kind;
            let shown = String::from_utf8_lossy(sql);
            assert!(
                !matches!(kind, Kind::Read | Kind::Diagnostics),
                "{shown} {dialect:?}"
            );
        }
    }
}

#[test]
fn comments_separate_words_and_hide_nothing() {
    all_read(&[
        "select/**/now()",
        "/**/select/**/1/**/",
        "SELECT 1--\t2",
        "SELECT--\n1",
        "#\nSELECT 1",
        "/***/SELECT 1",
        "/*/*/SELECT 1",
    ]);
    all_to_primary(Reason::Other, &["SEL/**/ECT 1"]);
    none_reads(&[
        b"SELECT * FROM t FOR/**/UPDATE",
        b"SELECT * FROM t FOR-- x\nUPDATE",
        b"SELECT * FROM t FOR#x\nUPDATE",
        b"SELECT 1 /* /* */ FOR UPDATE /* */ */",
        b"SELECT 1 /* open",
        b"SELECT 1 /*",
        b"SELECT 1 /*/",
        b"SELECT 1 */",
        b"SELECT 1 --FOR UPDATE\nFROM t FOR UPDATE",
        b"SELECT a --\xa0'\n FOR UPDATE --'",
    ]);
}

#[test]
fn executable_comments_are_not_comments() {
    none_reads(&[
        b"SELECT 1 /*! FOR UPDATE */",
        b"SELECT 1 /*!FOR UPDATE*/",
        b"SELECT 1 /*!50000FOR UPDATE*/",
        b"SELECT 1 /*!99999 FOR UPDATE */",
        b"SELECT 1 /*!999999 FOR UPDATE */",
        b"SELECT 1 /*M! FOR UPDATE */",
        b"SELECT 1 /*M!100500 FOR UPDATE */",
        b"SELECT 1 /*m! FOR UPDATE */",
        b"SELECT 1 /*! /*! FOR UPDATE */ */",
        b"SELECT 1 /*! /* */ FOR UPDATE */",
        b"SELECT 1 /*!",
        b"/*! UPDATE */ t SET a = 1",
        b"/*!50000 DROP TABLE t */",
        b"/*!40101 SET NAMES utf8 */ ; DROP TABLE t",
        b"/*!40101 SET @a = '*/ DROP TABLE t /*' */",
        b"CREATE /*!32302 TEMPORARY */ TABLE t (a INT)",
        b"SELECT /*+ QB_NAME(`*/ a`) */ 1 FOR UPDATE /* `) */",
    ]);
    all_read(&[
        "SELECT /*!40001 SQL_NO_CACHE */ * FROM `t`",
        "SELECT /*! STRAIGHT_JOIN HIGH_PRIORITY*/ 1",
        "SELECT /*!50000*/ 1",
    ]);
    assert_eq!(read("/*!40101 SET @a = 5 */").kind, Kind::SessionState);
    for sql in [
        "/*!40101 SET @a = 5 */ x",
        "/*!40101 SET @a = '#' */",
        "/*!40101 SET GLOBAL x = 5 */",
    ] {
        assert_eq!(read(sql).reason, Reason::ExecutableComment, "{sql}");
    }
}

#[test]
fn a_set_that_a_server_may_skip_says_nothing_of_the_session() {
    for sql in [
        "/*!50700 SET SESSION TRANSACTION READ ONLY */",
        "/*!50720 SET SESSION TRANSACTION READ ONLY */",
        "/*!99999 SET SESSION TRANSACTION READ ONLY */",
        "/*!080000 SET SESSION TRANSACTION READ ONLY */",
        "/*!5 SET SESSION TRANSACTION READ ONLY */",
        "/*M! SET SESSION TRANSACTION READ ONLY */",
        "/*M!100616 SET SESSION TRANSACTION READ ONLY */",
        "/*!999999 SET sql_mode = 'ANSI_QUOTES' */;",
    ] {
        let statement = read(sql);
        let found = (statement.kind, statement.reason);
        assert_eq!(found, (Kind::Primary, Reason::ExecutableComment), "{sql}");
        assert_eq!(statement.effects.takes, Pins::UNSHARED_STATE, "{sql}");
        assert_eq!(statement.effects.session_read_only, None, "{sql}");
        assert_eq!(statement.effects.ansi_quotes, None, "{sql}");
    }
    for version in ["", "40101", "50699"] {
        let sql = format!("/*!{version} SET SESSION TRANSACTION READ ONLY */");
        assert_eq!(read(&sql).effects.session_read_only, Some(true), "{sql}");
    }
}

#[test]
fn strings_end_where_the_server_ends_them() {
    none_reads(&[
        b"SELECT 'open",
        b"SELECT \"open",
        b"SELECT `open",
        b"SELECT @'open",
        b"SELECT @@`open",
        b"SELECT 'it''s open",
        b"SELECT 'a'' FOR UPDATE",
        b"SELECT \"\\\" , nextval(s), \"",
    ]);
    // A name and a comment under ANSI_QUOTES, otherwise a string and a call.
    assert_eq!(
        read("SELECT \"\\\" -- \", nextval(s)").reason,
        Reason::NotUnderstood
    );
    // In gbk, the backslash is a part of the character before it.
    let gbk = Dialect {
        trail_bytes: true,
        ..Dialect::default()
    };
    let sql = b"SELECT '\xbf\\' FOR UPDATE -- '";
    assert_eq!(classify(sql, Dialect::default()).kind, Kind::Read);
    assert_eq!(classify(sql, gbk).kind, Kind::Primary);
    assert_eq!(classify(b"SELECT 'a\\'b' FROM t", gbk).kind, Kind::Read);
}

#[test]
fn odd_bytes_prove_nothing() {
    none_reads(&[
        b"\0SELECT 1",
        b"SELECT\x001",
        b"SELECT 1\0",
        b"SELECT 1\0; DROP TABLE t",
        b"SELECT 1 \x01",
        b"SELECT \\N FROM t",
        b"SELECT [a] FROM t",
        b"\xef\xbb\xbfSELECT 1",
        b"SELECT * FROM t FOR\xa0UPDATE",
        b"SELECT * FROM t x\xa0FOR SHARE",
        b"SELECT * FROM t FOR \xa0SHARE",
        b"SELECT @x\xa0FOR SHARE",
        b"SELECT @@sql_mode\xa0INTO OUTFILE 'x'",
        b"SELECT 1\xa0INTO OUTFILE 'x'",
        b"SELECT NEXT \xa0VALUE FOR s",
    ]);
    all_read(&[
        "SELECT \u{e9}t\u{e9}, `\u{65e5}\u{672c}`, 'd\u{ed}as' AS d\u{ed}as FROM caf\u{e9}",
    ]);
    assert_eq!(
        classify(b"SELECT '\0\xff' FROM `\x01`", Dialect::default()).kind,
        Kind::Read
    );
}

#[test]
fn numbers_end_where_keywords_begin() {
    none_reads(&[
        b"SELECT 1.FOR UPDATE",
        b"SELECT 1.5FOR UPDATE",
        b"SELECT .5INTO @a",
        b"SELECT 1e5INTO OUTFILE 'x'",
        b"SELECT 1e-5INTO OUTFILE 'x'",
        b"SELECT 1.5e+5LOCK IN SHARE MODE",
        b"SELECT 0x1F.5FOR SHARE",
        b"SELECT 0b1.5FOR SHARE",
        b"SELECT 1e5.now()",
        b"SELECT t.5now()",
        b"SELECT 1abc.now()",
    ]);
    all_read(&["SELECT 1.5e-3, 1e5, 0x1f, 0b01, .5, 5., 1.UNION SELECT 2"]);
}

#[test]
fn functions_hide_nowhere() {
    none_reads(&[
        b"SELECT db/**/./**/now()",
        b"SELECT db.\nnow\n(\n)",
        b"SELECT NOW(), (f(1))",
        b"SELECT a FROM t WHERE b = 1 AND(f(1))",
        b"SELECT * FROM t LIMIT 1 OFFSET f(1)",
        b"SELECT 'a' f(1), f(2)",
        b"WITH a AS (SELECT 1), b AS (SELECT f(1)) SELECT 1",
        b"WITH a (x) AS (SELECT 1), b (y) AS (SELECT 2) SELECT 1, f(3)",
        b"WITH a AS (SELECT 1) SELECT (1), f(1)",
        b"SELECT (recursive), f(1)",
        b"SELECT f/**/(1)",
        b"SELECT MEMBER, of(1)",
        b"SELECT @a, f(1)",
        b"SELECT ?, f(?)",
        b"(((SELECT f(1))))",
        b"VALUES ROW(f(1))",
        b"TABLE t ORDER BY f(a)",
    ]);
}

#[test]
fn a_second_statement_that_may_change_the_session_pins_it() {
    let several = Dialect {
        multi_statements: true,
        ..Dialect::default()
    };
    let pins = |sql: &str, dialect| {
        let statement = classify(sql.as_bytes(), dialect);
        assert_eq!(statement.reason, Reason::MultiStatement, "{sql}");
        statement.effects.takes.reasons().next().is_some()
    };
    for sql in [
        "SELECT 1; SET NAMES gbk",
        "SELECT 1; USE x",
        "SET @a = 1; SELECT 1",
        "SELECT 1; CALL p()",
        "INSERT INTO t VALUES (1); CREATE TEMPORARY TABLE x (a INT)",
    ] {
        assert!(pins(sql, several), "{sql}");
        assert!(
            !pins(sql, Dialect::default()),
            "the server refuses it: {sql}"
        );
    }
    for sql in [
        "SELECT 1; SELECT 2",
        "INSERT INTO t VALUES (1); SELECT LAST_INSERT_ID()",
        "BEGIN; UPDATE t SET a = 1; COMMIT",
    ] {
        assert!(!pins(sql, several), "{sql}");
    }
    let statement = classify(b"CREATE TABLE event (a INT); SET NAMES gbk", several);
    assert_eq!(statement.reason, Reason::MultiStatement);
}

#[test]
fn a_stored_program_hides_no_statement_behind_it() {
    let several = Dialect {
        multi_statements: true,
        ..Dialect::default()
    };
    let takes = |sql: &str, dialect| classify(sql.as_bytes(), dialect).effects.takes;
    for sql in [
        "CREATE PROCEDURE p() SELECT 1; CREATE TEMPORARY TABLE t (a INT)",
        "CREATE FUNCTION f() RETURNS INT RETURN 1; USE x",
        "ALTER EVENT e DISABLE; SET NAMES gbk",
    ] {
        assert_eq!(takes(sql, several), Pins::UNSHARED_STATE, "{sql}");
        assert_eq!(takes(sql, Dialect::default()), Pins::NONE, "{sql}");
    }
    assert_eq!(takes("CREATE PROCEDURE p() SELECT 1;", several), Pins::NONE);
    let load = b"CREATE PROCEDURE p() SELECT 1; LOAD DATA LOCAL INFILE 'x' INTO TABLE t";
    assert_eq!(classify(load, several).files_offered, 1);
    // These run at once, whoever may send several statements.
    for sql in [
        "BEGIN NOT ATOMIC CREATE TEMPORARY TABLE t (a INT); END",
        "BEGIN CREATE TEMPORARY TABLE t (a INT); END",
        "IF 1 THEN CREATE TEMPORARY TABLE t (a INT); END IF",
        "CASE 1 WHEN 1 THEN CREATE TEMPORARY TABLE t (a INT); END CASE",
        "FOR i IN 1..2 DO SET NAMES gbk; END FOR",
        "REPEAT USE x; UNTIL 1 END REPEAT",
        "WHILE 1 DO LOCK TABLES t WRITE; END WHILE",
        "LOOP CALL p(); END LOOP",
        "DECLARE v INT; BEGIN SELECT GET_LOCK('a', 1) INTO v; END",
    ] {
        for dialect in [Dialect::default(), several] {
            assert_eq!(takes(sql, dialect), Pins::UNSHARED_STATE, "{sql}");
        }
    }
    for sql in [
        "SELCT 1",
        "SELCT 1; SELECT 2",
        "a_verb_of_the_future TABLE t",
    ] {
        assert_eq!(takes(sql, Dialect::default()), Pins::NONE, "{sql}");
    }
}

#[test]
fn what_set_statement_runs_may_change_the_session() {
    let takes = |sql: &str| classify(sql.as_bytes(), Dialect::default()).effects.takes;
    for (statement, pins) in [
        ("SELECT 1", Pins::NONE),
        ("INSERT INTO t SELECT 1", Pins::NONE),
        ("(SELECT 1) UNION (SELECT 2)", Pins::NONE),
        ("CREATE TEMPORARY TABLE t (a INT)", Pins::UNSHARED_STATE),
        ("LOCK TABLES t WRITE", Pins::UNSHARED_STATE),
        ("CALL p()", Pins::UNSHARED_STATE),
        ("EXECUTE s", Pins::UNSHARED_STATE),
        ("BEGIN NOT ATOMIC USE x; END", Pins::UNSHARED_STATE),
    ] {
        for value in ["1", "1, sql_mode = (SELECT 'a' FOR UPDATE)"] {
            let sql = format!("SET STATEMENT max_statement_time = {value} FOR {statement}");
            assert_eq!(takes(&sql), pins, "{sql}");
        }
    }
    assert_eq!(
        takes("SET STATEMENT max_statement_time = 1"),
        Pins::UNSHARED_STATE
    );
}

#[test]
fn what_is_too_long_to_be_read_is_known_by_its_verb() {
    for (head, takes) in [
        ("SELECT * FROM t WHERE id IN (1, 2, ", Pins::NONE),
        ("insert into t values ('", Pins::NONE),
        ("/* an application */ (SELECT a", Pins::NONE),
        ("CREATE TEMPORARY TABLE t AS SELECT ", Pins::UNSHARED_STATE),
        ("CREATE TABLE t AS SELECT ", Pins::UNSHARED_STATE),
        ("SET @a = '", Pins::UNSHARED_STATE),
        ("CALL p('", Pins::UNSHARED_STATE),
        ("/* a comment that goes on", Pins::UNSHARED_STATE),
        ("/*! SELECT */ 1", Pins::UNSHARED_STATE),
        ("SELECT", Pins::UNSHARED_STATE),
        ("", Pins::UNSHARED_STATE),
    ] {
        let statement = classify_head(head.as_bytes(), Dialect::default());
        let found = (statement.kind, statement.reason);
        assert_eq!(found, (Kind::Primary, Reason::TooLong), "{head}");
        assert_eq!(statement.effects.takes, takes, "{head}");
    }
}

#[test]
fn what_cannot_be_read_may_have_changed_the_session() {
    for sql in [
        "SET @a = \"\\\"\"",
        "CREATE TEMPORARY TABLE t AS SELECT \"\\\"\"",
        "/*!50000 CREATE TEMPORARY TABLE t (a INT) */",
        "LOCK TABLES `t",
    ] {
        assert!(read(sql).effects.takes.reasons().next().is_some(), "{sql}");
    }
    let insert = read("INSERT INTO t VALUES (\"\\\"\")");
    assert!(insert.effects.takes.reasons().next().is_none());
    assert!(insert.effects.assigns_user_variables);
}

#[test]
fn nothing_dangerous_is_more_permissive_when_cut_off() {
    for sql in [
        "SELECT a FROM t WHERE b = 'x' FOR UPDATE",
        "WITH a AS (SELECT 'y') UPDATE t SET b = \"z\"",
        "SELECT 'a', get_lock('b', 1) /* c */",
        "UPDATE t SET a = 'x' WHERE `b` = 1",
    ] {
        for end in 0..sql.len() {
            let cut = &sql[..end];
            let is_open = ["'", "\"", "`"]
                .iter()
                .any(|quote| cut.matches(quote).count() % 2 == 1)
                || cut.matches("/*").count() > cut.matches("*/").count();
            if is_open {
                let decision = super::route(cut);
                assert_eq!(decision.target, Target::Primary, "{cut}");
            }
        }
    }
}
