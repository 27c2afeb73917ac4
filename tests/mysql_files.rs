//! `LOAD DATA LOCAL`: files that go from a client to the primary in the middle of a statement.

mod support;

use std::io::Write;

use self::support::rules::{self, allowing_files, asked_for, offering_files};
use self::support::sql_client::{flags, status};
use self::support::{Login, MariaDb, Pair, REPLICA, SqlClient, SqlError, until};

const LOAD: &str = "LOAD DATA LOCAL INFILE 'numbers' INTO TABLE loaded";

#[test]
fn files_of_clients_are_denied_and_allowed() {
    rules::files_of_clients_are_denied_and_allowed(&*Pair::shared());
}

#[test]
fn each_of_several_statements_in_one_asks_for_its_file() {
    let pair = Pair::shared();
    pair.table("several", "a INT");
    let balancer = allowing_files(&*pair);
    let load = |file: &str| format!("LOAD DATA LOCAL INFILE '{file}' INTO TABLE several");
    let all = format!(
        "DO 1; {}; {}; SELECT SUM(a) FROM several",
        load("one"),
        load("two")
    );
    let login = Login::default().flag(flags::MULTI_STATEMENTS);
    let mut client = login
        .clone()
        .flag(flags::LOCAL_FILES)
        .connect(balancer.address())
        .unwrap();
    client.send(&all);
    client.done().unwrap();
    for (file, numbers) in [("one", &b"1\n2\n"[..]), ("two", b"4\n")] {
        asked_for(&mut client, file);
        client.write(numbers);
        client.write(b"");
        client.done().unwrap();
        assert_ne!(client.status() & status::MORE_RESULTS, 0);
    }
    assert_eq!(client.results().unwrap(), [[Some("7".to_owned())]]);
    // One that fails is the last of them, and the session goes on.
    client.send(&format!(
        "{}; SELECT 1",
        load("one").replace("several", "nowhere")
    ));
    let failed = client.results();
    assert!(
        matches!(failed, Err(SqlError::Server(1146, ..))),
        "{failed:?}"
    );
    assert_eq!(client.row("SELECT 5"), "5");
    // Where it is not allowed the server knows nothing of it, and says so.
    let denying = pair.balancer();
    let mut denied = login
        .flag(flags::LOCAL_FILES)
        .connect(denying.address())
        .unwrap();
    denied.send(&all);
    denied.done().unwrap();
    let refused = denied.results();
    assert!(matches!(refused, Err(SqlError::Server(..))), "{refused:?}");
    assert_eq!(denied.row("SELECT 5"), "5");
}

/// The numbers of packets begin again at 0 then, in the middle of a statement.
#[test]
fn a_file_of_more_packets_than_there_are_numbers_comes_whole() {
    const PACKETS: usize = 700;
    let pair = Pair::shared();
    pair.table("loaded_long", "a INT");
    let balancer = allowing_files(&*pair);
    let mut client = offering_files(&*pair, &balancer);
    client.send(&LOAD.replace("loaded", "loaded_long"));
    asked_for(&mut client, "numbers");
    for number in 0..PACKETS {
        client.write(format!("{number}\n").as_bytes());
    }
    client.write(b"");
    client.done().unwrap();
    pair.replicate();
    let sum = PACKETS * (PACKETS - 1) / 2;
    let all = client.row("SELECT COUNT(*), SUM(a), @@server_id FROM loaded_long");
    assert_eq!(all, format!("{PACKETS} {sum} 2"));
}

#[test]
fn a_primary_that_dies_in_the_middle_of_a_file_ends_the_session_and_no_other() {
    let mut pair = MariaDb::pair(&[]);
    pair.table("loaded", "a INT");
    let balancer = allowing_files(&pair);
    let mut neighbour = SqlClient::connect(balancer.address());
    let mut clients = Vec::new();
    // Before its first byte, and in the middle of it; the third is in no hurry to stop.
    for said in [&b""[..], b"1\n2\n"] {
        let mut client = offering_files(&pair, &balancer);
        client.send(LOAD);
        asked_for(&mut client, "numbers");
        if !said.is_empty() {
            client.write(said);
            client
                .stream()
                .write_all(b"\x10\0\0\x03half of it")
                .unwrap();
        }
        clients.push(client);
    }
    assert_eq!(neighbour.reads_at(), REPLICA);
    pair.primary.kill();
    for client in &mut clients {
        assert_eq!(client.expect_end(), None, "nothing can be said in a file");
    }
    balancer.wait_closed("server", "server_lost", 2);
    assert_eq!(
        neighbour.row("SELECT COUNT(*), @@server_id FROM loaded"),
        "0 2"
    );
    pair.primary.start_again();
    assert_eq!(pair.primary.sql("SELECT COUNT(*) FROM shop.loaded"), "0\n");
}

#[test]
fn a_client_that_leaves_in_the_middle_of_its_file_keeps_no_server_busy() {
    let pair = Pair::shared();
    pair.table("abandoned", "a INT");
    let balancer = allowing_files(&*pair);
    for said in [&b""[..], b"\x02\0\0\x03", b"\x10\0\0\x03half of it"] {
        let mut client = offering_files(&*pair, &balancer);
        client.send(&LOAD.replace("loaded", "abandoned"));
        asked_for(&mut client, "numbers");
        client.write(b"1\n2\n");
        client.stream().write_all(said).unwrap();
        drop(client);
    }
    // Far sooner than a client that has only finished sending.
    balancer.wait_closed("client", "finished", 3);
    until("nothing of it is left", || {
        let running = pair.primary.sql("SHOW FULL PROCESSLIST");
        !running.contains("INTO TABLE abandoned")
    });
}
