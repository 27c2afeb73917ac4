//! The MySQL servers of `ringway demo` with a real client: the `mariadb` command line.

mod support;

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Output, Stdio};

use ringway::demo::mysql;

use self::support::{DEADLINE, mariadb_as_demo, until};

#[test]
fn a_replica_follows_its_primary_and_each_names_itself() {
    let pair = mysql::start().unwrap();
    for (address, name, id) in [
        (pair.primary, "db-primary", 1),
        (pair.replica, "db-replica", 2),
    ] {
        let who = said(&sql(
            address,
            &[],
            "SELECT @@hostname, @@server_id, @@version_comment",
        ));
        assert_eq!(who, format!("{name}\t{id}\t{name} of ringway demo\n"));
    }

    let script = "START TRANSACTION; INSERT INTO kv VALUES ('a', '1'), ('b', '2'); COMMIT;
        UPDATE kv SET v = 'new' WHERE k = 'a'; DELETE FROM kv WHERE k = 'b';
        SELECT * FROM kv; BEGIN; DELETE FROM kv; ROLLBACK; SELECT COUNT(*) FROM kv";
    assert_eq!(said(&sql(pair.primary, &[], script)), "a\tnew\n1\n");
    until("the replica has it", || {
        said(&sql(pair.replica, &[], "SELECT k, v, @@hostname FROM kv")) == "a\tnew\tdb-replica\n"
    });
}

#[test]
fn errors_reach_the_client_in_their_own_words() {
    let pair = mysql::start().unwrap();
    let refused = error(&sql(pair.replica, &[], "DELETE FROM kv"));
    assert!(refused.contains("ERROR 1290 (HY000)"), "{refused}");
    assert!(refused.contains("--read-only"), "{refused}");
    let refused = error(&sql(pair.primary, &[], "CREATE TABLE t (a INT)"));
    assert!(refused.contains("ERROR 1235 (42000)"), "{refused}");
    assert!(refused.contains("kv (k, v)"), "{refused}");
    let refused = error(&sql(pair.primary, &["--password=secret"], "SELECT 1"));
    assert!(refused.contains("ERROR 1045 (28000)"), "{refused}");
    assert!(refused.contains("without a password"), "{refused}");
    let refused = error(&sql(pair.primary, &["--database=shop"], "SELECT 1"));
    assert!(refused.contains("ERROR 1049 (42000)"), "{refused}");
}

#[test]
fn a_client_that_completes_names_and_goes_on_after_errors_is_served() {
    let pair = mysql::start().unwrap();
    let script = "USE demo\nSHOW TABLES;\nSELECT nothing;\nSHOW WARNINGS;\nSELECT @@hostname;\n";
    let mut child = mariadb_as_demo(pair.primary)
        .args(["--auto-rehash", "--force", "--database=demo"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(script.as_bytes()).unwrap();
    drop(stdin);
    let output = child.wait_with_output().unwrap();
    let warning = "Error\t1054\tUnknown column 'nothing': kv has k and v";
    let printed = String::from_utf8_lossy(&output.stdout);
    assert_eq!(printed, format!("kv\n{warning}\ndb-primary\n"));
}

#[test]
fn kill_closes_another_connection() {
    let pair = mysql::start().unwrap();
    let mut victim = TcpStream::connect(pair.primary).unwrap();
    victim.set_read_timeout(Some(DEADLINE)).unwrap();
    let mut greeting = [0; 256];
    let count = victim.read(&mut greeting).unwrap();
    let version_end = greeting[5..count]
        .iter()
        .position(|byte| *byte == 0)
        .unwrap()
        + 6;
    let id = u32::from_le_bytes(greeting[version_end..][..4].try_into().unwrap());
    assert_eq!(
        said(&sql(
            pair.primary,
            &[],
            &format!("KILL {id}; SELECT 'killed'")
        )),
        "killed\n"
    );
    match victim.read(&mut greeting) {
        Ok(count) => assert_eq!(count, 0),
        Err(error) => assert_eq!(error.kind(), ErrorKind::ConnectionReset),
    }
    let again = error(&sql(pair.primary, &[], &format!("KILL {id}")));
    assert!(again.contains("ERROR 1094"), "{again}");
}

/// Runs statements as the demo's user.
fn sql(address: SocketAddr, options: &[&str], statements: &str) -> Output {
    mariadb_as_demo(address)
        .args(options)
        .args(["--execute", statements])
        .stdin(Stdio::null())
        .output()
        .unwrap_or_else(|error| panic!("mariadb (Debian: mariadb-client-core): {error}"))
}

#[track_caller]
fn said(output: &Output) -> String {
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[track_caller]
fn error(output: &Output) -> String {
    assert!(
        !output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stdout)
    );
    String::from_utf8_lossy(&output.stderr).into_owned()
}
