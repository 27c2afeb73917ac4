//! Servers that do not keep to the protocol: nothing that they send reaches a client as something
//! else than it is, and no file of a client's is asked for that it has not offered.

mod support;

use std::time::Duration;

use self::support::rogue::{OK, greeting, one_row, packet, reply};
use self::support::sql_client::flags;
use self::support::{Balancer, Config, Login, Rogue, RunningRogue, SqlClient, SqlError, quickly};

/// A mysql listener before this primary and nobody else.
fn alone(primary: &RunningRogue) -> Config {
    Config::to([primary.address])
        .server(0, "role = \"primary\"")
        .listener("protocol = \"mysql\"")
}

/// A balancer before a rogue that is the only server of its pool.
fn before(rogue: Rogue) -> Balancer {
    Balancer::start(&alone(&rogue.start()))
}

#[test]
fn a_file_that_no_client_has_offered_is_not_asked_for() {
    let balancer = before(Rogue::answering(&packet(1, b"\xfb/etc/passwd")));
    let mut client = SqlClient::connect(balancer.address());
    client.send("SELECT 1");
    assert_eq!(client.expect_end(), None, "not a byte of the request");
    balancer.wait_closed("server", "protocol_violation", 1);
}

#[test]
fn a_second_file_is_not_asked_for_where_one_was_offered() {
    let offers = "LOAD DATA LOCAL INFILE 'one' INTO TABLE t";
    for (what, second) in [
        // The file is not answered, but met with another request.
        ("at once", &[&b"\xfbtwo"[..]][..]),
        // As if there were another statement behind.
        ("with another result", &[b"\0\0\0\x0a\0\0\0", b"\xfbtwo"]),
    ] {
        let asks = packet(1, b"\xfbone");
        let rogue = Rogue::answering(&asks).after_file(second).start();
        let config = alone(&rogue).pool_mysql("local_infile = true");
        let balancer = Balancer::start(&config);
        let files = Login::default().flag(flags::LOCAL_FILES);
        let mut client = files.connect(balancer.address()).unwrap();
        client.send(offers);
        assert_eq!(client.read_or_error().unwrap(), b"\xfbone", "{what}");
        client.write(b"");
        let rest = std::iter::from_fn(|| client.read().ok()).collect::<Vec<_>>();
        let asked = |packet: &Vec<u8>| packet.first() == Some(&0xFB);
        assert!(!rest.iter().any(asked), "{what}: {rest:?}");
        balancer.wait_closed("server", "protocol_violation", 1);
    }
}

#[test]
fn a_reply_that_is_none_ends_the_session() {
    const COLUMN: &[u8] = b"\x03def\0\0\0\x01v\0\x0c\x2d\0\xff\0\0\0\xfd\0\0\0\0\0";
    const EOF: &[u8] = b"\xfe\0\0\x02\0";
    let whole = one_row("a");
    let numbered = |numbers: [u8; 5]| {
        let payloads: [&[u8]; 5] = [b"\x01", COLUMN, EOF, b"\x01a", EOF];
        let pairs = numbers.into_iter().zip(payloads);
        pairs
            .flat_map(|(number, payload)| packet(number, payload))
            .collect()
    };
    assert_eq!(numbered([1, 2, 3, 4, 5]), whole);
    let running = Rogue::default().start();
    let balancer = Balancer::start(&alone(&running));
    let answers = [
        ("another number", packet(7, OK)),
        ("the command's own number", packet(0, OK)),
        ("a number that is repeated", numbered([1, 2, 3, 3, 4])),
        ("a number that is skipped", numbered([1, 2, 3, 5, 6])),
        ("a number that goes back", numbered([1, 2, 3, 4, 1])),
        ("nothing", packet(1, b"")),
        ("a column too many", packet(1, b"\xfd\xff\xff\xff")),
        (
            "more columns than there is memory",
            packet(1, b"\xfe\xff\xff\xff\xff\xff\xff\xff\xff"),
        ),
        ("NULL columns", packet(1, b"\xfb")),
        ("no length of anything", packet(1, b"\xff")),
        ("half an OK", packet(1, b"\0\0")),
        ("an OK whose rows have no end", packet(1, b"\0\xfe\xff\xff")),
        (
            "rows without an end of columns",
            reply(&[b"\x01", COLUMN, b"\x01a", EOF]),
        ),
        (
            "two replies to one query",
            [&whole[..], &packet(1, OK)].concat(),
        ),
    ];
    for (ended, (what, answer)) in (1..).zip(answers) {
        running.becomes(Rogue::answering(&answer));
        let mut client = SqlClient::connect(balancer.address());
        client.send("SELECT 1");
        let heard = std::iter::from_fn(|| client.read().ok()).collect::<Vec<_>>();
        assert!(heard.len() <= 5, "{what}: {heard:?}");
        balancer.wait_for(what, |metrics| {
            let closed = ["protocol_violation", "server_lost"].map(|r| metrics.closed("server", r));
            closed[0] + closed[1] == f64::from(ended)
        });
    }
    running.becomes(Rogue::default());
    let mut client = SqlClient::connect(balancer.address());
    client.send("SELECT 1");
    client.done().unwrap();
}

/// A client that escapes by other rules than its server reads is one whose strings can be broken
/// out of: what the server says of its state is not ringway's to change.
#[test]
fn b_15_the_flags_of_a_server_reach_its_client_as_they_are() {
    const MORE_RESULTS: u16 = 0x8;
    const SESSION_STATE_CHANGED: u16 = 0x4000;
    let [primary, replica] = [(); 2].map(|()| Rogue::default().start());
    let balancer = Balancer::start(&Config::mysql(primary.address, replica.address));
    for bit in 0..16 {
        let flags = 1_u16 << bit;
        if [MORE_RESULTS, SESSION_STATE_CHANGED].contains(&flags) {
            // They announce something, which does not come.
            continue;
        }
        let ok = [b"\0\x05\x07", &flags.to_le_bytes()[..], b"\x03\0"].concat();
        for (server, sql) in [
            (&primary, "INSERT INTO t VALUES (1)"),
            (&primary, "SET @a = 1"),
            (&replica, "SELECT 1"),
        ] {
            server.becomes(Rogue::answering(&packet(1, &ok)));
            let mut client = SqlClient::connect(balancer.address());
            client.send(sql);
            assert_eq!(client.read_or_error().unwrap(), ok, "{sql}: {flags:#x}");
            server.becomes(Rogue::default());
        }
    }
}

#[test]
fn a_greeting_that_is_none_is_an_error_and_no_wait() {
    let running = Rogue::default().start();
    let balancer = Balancer::start(&alone(&running));
    for (what, bytes) in [
        ("nothing", Vec::new()),
        ("no version's end", b"\x0a8.0.36".to_vec()),
        ("another protocol", b"\x09 of long ago\0".to_vec()),
        ("more than a greeting is long", greeting(&[b'8'; 4000])),
        ("no scramble", b"\x0a8.0.36\0\x01\0\0\0".to_vec()),
    ] {
        running.becomes(Rogue::default().greeting(&bytes));
        let refused = quickly(Duration::from_secs(5), || {
            SqlClient::greeted(balancer.address()).map(drop)
        });
        let told = matches!(refused, Err(SqlError::Server(1105, ..)));
        assert!(told, "{what}: {refused:?}");
    }
}

#[test]
fn a_login_that_a_server_never_ends_is_ended() {
    let switch = b"\xfemysql_native_password\0zyxwvutsrqponmlkjihg\0";
    let running = Rogue::default().verdict(switch).start();
    let balancer = Balancer::start(&alone(&running));
    let refused = Login::default().connect(balancer.address());
    let told = matches!(refused, Err(SqlError::Server(1105 | 1043, ..)));
    assert!(told, "{refused:?}");
    let signatures = running.heard().len();
    assert!(
        (2..=24).contains(&signatures),
        "{signatures} were asked for"
    );
}

#[test]
fn a_verdict_that_is_none_is_told_to_the_client() {
    let running = Rogue::default().start();
    let balancer = Balancer::start(&alone(&running));
    for (what, verdict) in [("nothing", &b""[..]), ("half an error", b"\xff\x15")] {
        running.becomes(Rogue::default().verdict(verdict));
        let refused = Login::default().connect(balancer.address());
        assert!(
            matches!(refused, Err(SqlError::Server(1105, ..))),
            "{what}: {refused:?}"
        );
    }
}
