//! Clients that say what no client library says: each hears what the primary would have answered,
//! or is sent away, and nobody else notices.

mod support;

use std::collections::BTreeSet;
use std::fs;
use std::io::{Read, Write};
use std::net::SocketAddr;

use self::support::rogue::packet;
use self::support::sql_client::commands;
use self::support::{
    Balancer, Login, PRIMARY, Pair, PasswordFile, REPLICA, SqlClient, SqlError, until,
};

/// A pair on which `clerk` may use `shop` and nothing else.
fn clerk(pair: &Pair) -> Login {
    pair.primary.sql(
        "CREATE USER IF NOT EXISTS clerk@'%' IDENTIFIED BY 'words';
         GRANT SELECT, INSERT, UPDATE, DELETE, EXECUTE ON shop.* TO clerk@'%'",
    );
    pair.replicate();
    Login::default().user("clerk", "words")
}

/// What somebody hears who says these packets, and goodbye: the number of each packet and what can
/// be compared of it.
#[track_caller]
fn heard(login: &Login, address: SocketAddr, said: &[Vec<u8>]) -> Vec<(u8, Vec<u8>)> {
    goodbye(&login.connect(address).unwrap(), said)
}

/// The same, on a connection that may have said something before.
fn goodbye(client: &SqlClient, said: &[Vec<u8>]) -> Vec<(u8, Vec<u8>)> {
    let goodbye = packet(0, &[commands::QUIT]);
    // A server may have ended it before it has heard everything.
    let _ = client
        .stream()
        .write_all(&[&said.concat()[..], &goodbye].concat());
    let mut bytes = Vec::new();
    let _ = client.stream().read_to_end(&mut bytes);
    let mut heard = Vec::new();
    let mut rest = &bytes[..];
    while let Some((header, payload)) = rest.split_first_chunk::<4>() {
        let len = u32::from_le_bytes([header[0], header[1], header[2], 0]) as usize;
        let (payload, behind) = payload.split_at(len);
        // Of an answer in words or rows, that there is one.
        let comparable = match payload.first() {
            Some(0x00 | 0xFE | 0xFF) => payload.len(),
            _ => 1,
        };
        heard.push((header[3], payload[..comparable.min(len)].to_vec()));
        rest = behind;
    }
    heard
}

#[test]
fn every_command_is_answered_as_by_the_primary_whatever_comes_with_it() {
    // They end the login; and the rows of two process lists differ.
    const LEFT_OUT: [u8; 3] = [
        commands::QUIT,
        commands::CHANGE_USER,
        commands::PROCESS_INFO,
    ];
    let pair = Pair::shared();
    let login = clerk(&pair);
    let balancer = pair.balancer();
    let arguments: [&[u8]; 4] = [b"", b"\xff", &[0xFF; 16], b"\x01\0\0\0\0\x01\0\0\0\x01"];
    for command in (0..=0xFF).filter(|command| !LEFT_OUT.contains(command)) {
        for arguments in arguments {
            let said = [packet(0, &[&[command], arguments].concat())];
            let direct = heard(&login, pair.primary.address(), &said);
            let through = heard(&login, balancer.address(), &said);
            assert_eq!(through, direct, "{command:#04x} {arguments:?}");
        }
    }
    let mut client = login.connect(balancer.address()).unwrap();
    assert_eq!(client.reads_at(), REPLICA);
}

#[test]
fn a_statement_under_a_wrong_number_is_answered_as_by_the_primary() {
    let pair = Pair::shared();
    let login = clerk(&pair);
    let balancer = pair.balancer();
    for number in [1, 2, 7, 255] {
        for sql in ["SELECT 1", "SET @a = 1", "DELETE FROM nowhere"] {
            let said = [packet(number, &[b"\x03", sql.as_bytes()].concat())];
            let direct = heard(&login, pair.primary.address(), &said);
            let through = heard(&login, balancer.address(), &said);
            assert_eq!(through, direct, "{sql:?} under {number}");
        }
    }
}

#[test]
fn an_execution_that_is_cut_off_anywhere_is_answered_as_by_the_primary() {
    let pair = Pair::shared();
    let login = clerk(&pair);
    let balancer = pair.balancer();
    // Behind the statement's id: no cursor, once, no NULL, and a text of five bytes.
    let rest = b"\0\x01\0\0\0\0\x01\xfd\0\x05words";
    for sql in ["SELECT ?", "SELECT ? FOR UPDATE"] {
        for cut in 0..=rest.len() {
            let [direct, through] = [pair.primary.address(), balancer.address()].map(|address| {
                let mut client = login.connect(address).unwrap();
                let id = client.prepare(sql).id.to_le_bytes();
                let execution = [&[commands::STMT_EXECUTE], &id[..], &rest[..cut]].concat();
                goodbye(&client, &[packet(0, &execution)])
            });
            assert_eq!(through, direct, "{sql:?} after {cut} bytes");
        }
    }
}

#[test]
fn a_statement_that_is_too_long_for_its_server_ends_nobody_elses_session() {
    const MIB: usize = 1 << 20;
    let pair = Pair::alone();
    pair.table("too_long", "a LONGTEXT");
    let before = pair.primary.sql("SELECT @@global.max_allowed_packet");
    pair.primary.sql("SET GLOBAL max_allowed_packet = 1048576");
    let balancer = pair.balancer();
    let mut neighbour = SqlClient::connect(balancer.address());
    let flat_kib = balancer.process().resident_kib();
    for mib in [2, 16, 40] {
        let mut client = SqlClient::connect(balancer.address());
        let value = "v".repeat(mib * MIB);
        client.send(&format!("INSERT INTO too_long VALUES ('{value}')"));
        // The server ends its connection as soon as it has seen how long it is, and perhaps
        // before its words are heard. What is left is as after any loss of the primary.
        client.expect_number(1);
        let told = client.read_or_error();
        let refused = matches!(told, Err(SqlError::Server(1153 | 2013, ..)));
        assert!(refused, "{mib} MiB: {told:?}");
        assert_eq!(client.reads_at(), REPLICA, "after {mib} MiB");
        assert_eq!(neighbour.reads_at(), REPLICA, "after {mib} MiB");
    }
    let grown_kib = balancer.process().resident_kib().saturating_sub(flat_kib);
    assert!(grown_kib < 8 * 1024, "ringway has grown by {grown_kib} KiB");
    pair.primary
        .sql(&format!("SET GLOBAL max_allowed_packet = {before}"));
    let mut client = SqlClient::connect(balancer.address());
    client.run(&["INSERT INTO too_long VALUES ('short')"]);
    assert_eq!(pair.primary.sql("SELECT a FROM shop.too_long"), "short\n");
}

/// Somebody who announces full packets, each of which another one follows.
#[test]
fn thousands_of_headers_of_full_packets_cost_nothing() {
    let pair = Pair::shared();
    let balancer = pair.balancer();
    let mut neighbour = SqlClient::connect(balancer.address());
    let flat_kib = balancer.process().resident_kib();
    let clients: Vec<_> = (0..8)
        .map(|_| {
            let client = SqlClient::connect(balancer.address());
            let headers = b"\xff\xff\xff\0".repeat(20_000);
            client.stream().write_all(&headers).unwrap();
            client
        })
        .collect();
    assert_eq!(neighbour.reads_at(), REPLICA);
    let grown_kib = balancer.process().resident_kib().saturating_sub(flat_kib);
    assert!(grown_kib < 8 * 1024, "ringway has grown by {grown_kib} KiB");
    drop(clients);
    balancer.wait_active(1);
}

#[test]
fn a_client_that_names_a_plugin_nobody_knows_signs_as_the_server_wants_it() {
    let pair = Pair::shared();
    let balancer = pair.balancer();
    for address in [pair.primary.address(), balancer.address()] {
        let mut client = Login::default()
            .naming("no_such_plugin")
            .connect(address)
            .unwrap();
        assert_eq!(client.row("SELECT CURRENT_USER()"), "app@%");
    }
}

/// Splitting is no security boundary: this is the one behind it.
#[test]
fn b_5_a_write_that_is_vouched_for_as_a_read_is_refused_by_the_replica() {
    let pair = Pair::shared();
    pair.table("barrier", "a INT");
    let login = clerk(&pair);
    pair.primary.client().run(&[
        "CREATE OR REPLACE FUNCTION writes() RETURNS INT DETERMINISTIC MODIFIES SQL DATA
         SQL SECURITY INVOKER
         BEGIN INSERT INTO barrier VALUES (@@server_id); RETURN 1; END",
    ]);
    pair.replicate();
    let balancer = pair.balancer();
    let mut client = login.connect(balancer.address()).unwrap();
    let (code, message) = client.error("/* route:replica */ SELECT writes()");
    assert_eq!(code, 1290, "{message}");
    assert_eq!(pair.replica.sql("SELECT COUNT(*) FROM shop.barrier"), "0\n");
    // Without the hint it is no read, as far as anybody can tell.
    assert_eq!(client.row("SELECT writes()"), "1");
    pair.replicate();
    assert_eq!(client.row("SELECT a, @@server_id FROM barrier"), "1 2");
}

/// A connection of another client's is never given away, whatever it left behind there.
#[test]
fn b_16_what_a_session_leaves_behind_is_nobodys() {
    let pair = Pair::shared();
    let balancer = pair.balancer();
    let mut seen = BTreeSet::new();
    for round in 0..6 {
        let mut client = SqlClient::connect(balancer.address());
        assert_eq!(
            client.row("SELECT @leak, @@character_set_client"),
            "NULL utf8mb4"
        );
        let at_primary =
            "/* route:primary */ SELECT @leak, @@character_set_client, @@sql_mode = ''";
        assert_eq!(client.row(at_primary), "NULL utf8mb4 0");
        assert_eq!(client.error("EXECUTE leak").0, 1243);
        assert_eq!(client.error("SELECT * FROM leak").0, 1146);
        assert_eq!(client.row("SELECT IS_FREE_LOCK('leak')"), "1");
        let primary = client.thread_id().to_string();
        client.run(&["START TRANSACTION READ ONLY"]);
        let replica = client.row("SELECT CONNECTION_ID()");
        client.run(&["COMMIT"]);
        assert!(seen.insert((PRIMARY, primary)) && seen.insert((REPLICA, replica)));
        client.run(&[
            "SET @leak = 1, sql_mode = '', NAMES latin1",
            "PREPARE leak FROM 'SELECT 1'",
            "CREATE TEMPORARY TABLE leak (a INT)",
            "SELECT GET_LOCK('leak', 0)",
            "BEGIN",
        ]);
        if round % 2 == 0 {
            client.command(commands::QUIT, &[]);
            client.expect_end();
        }
        drop(client);
        until("the lock is given up", || {
            pair.primary.sql("SELECT IS_FREE_LOCK('leak')") == "1\n"
        });
    }
}

#[test]
fn b_19_an_id_of_the_replicas_ends_nobody() {
    let pair = Pair::shared();
    let balancer = pair.balancer();
    let mut killer = SqlClient::connect(balancer.address());
    let mut victim = SqlClient::connect(balancer.address());
    let mut id = 0;
    while id <= killer.thread_id().max(victim.thread_id()) + 1000 {
        // Until its id is one that the primary has not given to anybody.
        for _ in 0..100 {
            drop(pair.replica.client());
        }
        victim = SqlClient::connect(balancer.address());
        victim.run(&["START TRANSACTION READ ONLY"]);
        id = victim.row("SELECT CONNECTION_ID()").parse().unwrap();
    }
    for sql in [format!("KILL {id}"), format!("KILL QUERY {id}")] {
        assert_eq!(killer.error(&sql).0, 1094, "{sql}");
    }
    killer.command(commands::PROCESS_KILL, &id.to_le_bytes());
    assert!(matches!(killer.done(), Err(SqlError::Server(1094, ..))));
    assert_eq!(victim.row("SELECT CONNECTION_ID()"), id.to_string());
}

#[test]
fn b_18_a_password_is_seen_nowhere() {
    const PASSWORD: &str = "canary-of-the-account";
    let pair = Pair::shared();
    pair.primary.sql(&format!(
        "CREATE OR REPLACE USER singer@'%' IDENTIFIED BY '{PASSWORD}';
         GRANT ALL ON shop.* TO singer@'%'"
    ));
    pair.replicate();
    let directory = tempfile::tempdir().unwrap();
    let secret = PasswordFile::new(PASSWORD);
    let statements = directory.path().join("statements");
    let config = pair
        .config()
        .statement_log(statements.display())
        .log("level = \"debug\"")
        .mysql_user("singer", &secret.line());
    let mut balancer = Balancer::start(&config);
    let mut client = Login::default()
        .user("singer", PASSWORD)
        .connect(balancer.address())
        .unwrap();
    client.run(&["SELECT 1"]);
    client.change_user("singer", PASSWORD).unwrap();
    let _ = client.ask(&format!("SET PASSWORD = PASSWORD('{PASSWORD}')"));
    let _ = client.ask(&format!("ALTER USER nobody IDENTIFIED BY '{PASSWORD}"));
    let wrong = Login::default()
        .user("singer", "wrong")
        .connect(balancer.address());
    assert!(matches!(wrong, Err(SqlError::Server(1045, ..))));
    balancer.reload(&config.pool("retries = 2"));
    until("the statements are logged", || {
        fs::read_to_string(&statements).is_ok_and(|text| text.lines().count() >= 3)
    });
    let hash = pair.primary.sql(&format!("SELECT PASSWORD('{PASSWORD}')"));
    for (place, text) in [
        ("the log", balancer.log()),
        (
            "the statement log",
            fs::read_to_string(&statements).unwrap(),
        ),
        ("/metrics", balancer.admin("/metrics")),
        ("/api/status", balancer.admin("/api/status")),
        ("/", balancer.admin("/")),
    ] {
        assert!(!text.is_empty(), "{place}");
        for secret in [PASSWORD, hash.trim(), hash.trim().trim_start_matches('*')] {
            assert!(!text.contains(secret), "{place}: {text}");
        }
    }
}
