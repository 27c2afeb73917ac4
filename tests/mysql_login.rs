//! Logins at the MySQL port, over a real primary and its replica: who is let in and how, and that
//! nobody who is not makes a server think ill of ringway.

mod support;

use std::io::Write;
use std::net::{SocketAddr, TcpStream};
use std::thread;
use std::time::Duration;

use socket2::SockRef;

use self::support::rogue::packet;
use self::support::{
    Balancer, Login, PRIMARY, Pair, REPLICA, SqlClient, SqlError, eventually, quickly, until,
};

#[test]
fn another_user_on_the_same_connection_is_as_after_a_login() {
    let pair = Pair::shared();
    pair.primary.sql(
        "CREATE OR REPLACE USER other@'%' IDENTIFIED BY 'words'; GRANT ALL ON shop.* TO other@'%'",
    );
    pair.replicate();
    let balancer = pair.balancer();
    let mut client = SqlClient::connect(balancer.address());
    client.run(&["SET @a = 1", "CREATE TEMPORARY TABLE mine (a INT)"]);
    client.change_user("other", "words").unwrap();
    assert_eq!(
        client.row("SELECT CURRENT_USER(), @@server_id, @a"),
        "other@% 2 NULL"
    );
    let at_primary = "/* route:primary */ SELECT CURRENT_USER(), @@server_id, @a";
    assert_eq!(client.row(at_primary), "other@% 1 NULL");
    client.change_user("app", "secret").unwrap();
    assert_eq!(client.row("SELECT CURRENT_USER()"), "app@%");
    // A wrong password ends the connection, as a server does it.
    let refused = client.change_user("other", "wrong");
    assert!(
        matches!(refused, Err(SqlError::Server(1045, ..))),
        "{refused:?}"
    );
    assert!(client.ask("SELECT 1").is_err());
}

#[test]
fn for_an_account_of_the_configuration_the_replica_is_opened_when_it_is_needed() {
    let pair = Pair::shared();
    pair.primary.sql("CREATE DATABASE IF NOT EXISTS second");
    pair.replicate();
    let balancer = Balancer::start(&pair.config_with_account());
    let mut client = SqlClient::connect(balancer.address());
    // The replica is told what was said before it was there.
    client.run(&[
        "SET @a = 5",
        "USE second",
        "SET time_zone = '+05:00'",
        "DO 1",
    ]);
    let opened = |balancer: &Balancer| {
        let of = [("server", "s1")];
        balancer
            .metrics()
            .sum("ringway_server_sessions_opened_total", &of)
    };
    assert_eq!(opened(&balancer), 0.0, "nothing was read yet");
    let seen = client.row("SELECT @a, DATABASE(), @@time_zone, @@server_id");
    assert_eq!(seen, "5 second +05:00 2");
    assert_eq!(opened(&balancer), 1.0);
    let refused = Login::default()
        .user("app", "wrong")
        .connect(balancer.address());
    assert!(
        matches!(refused, Err(SqlError::Server(1045, ..))),
        "{refused:?}"
    );
}

#[test]
fn chosen_accounts_are_sent_past_the_splitting() {
    let pair = Pair::shared();
    let config = pair.config().pool_mysql("primary_only_users = [\"app\"]");
    let balancer = Balancer::start(&config);
    let mut client = SqlClient::connect(balancer.address());
    assert_eq!(client.reads_at(), PRIMARY);
    assert_eq!(
        client.row("/* route:replica */ SELECT @@server_id"),
        PRIMARY
    );
}

#[test]
fn only_so_many_clients_may_be_logging_in() {
    let pair = Pair::shared();
    let config = pair.config().pool_mysql("max_unauthenticated_sessions = 2");
    let balancer = Balancer::start(&config);
    let waiting = [(); 2].map(|()| SqlClient::greeted(balancer.address()).unwrap());
    let refused = Login::default().connect(balancer.address());
    assert!(
        matches!(refused, Err(SqlError::Server(1040, ..))),
        "{refused:?}"
    );
    balancer.wait_closed("operator", "too_many_logins", 1);
    drop(waiting);
    let mut client = eventually(|| {
        let connected = Login::default().connect(balancer.address());
        connected.map_err(|error| format!("{error:?}"))
    });
    // Who has logged in is not counted.
    let _others = [(); 2].map(|()| SqlClient::greeted(balancer.address()).unwrap());
    assert_eq!(client.reads_at(), REPLICA);
}

#[test]
fn a_login_that_takes_too_long_is_ended() {
    let pair = Pair::shared();
    let config = pair
        .config()
        .pool_mysql("replica_login_timeout = \"300ms\"")
        .pool_mysql("login_timeout = \"300ms\"");
    let balancer = Balancer::start(&config);
    let mut silent = SqlClient::greeted(balancer.address()).unwrap();
    let mut halfway = SqlClient::greeted(balancer.address()).unwrap();
    halfway.stream().write_all(b"\x40\x00\x00\x01\x05").unwrap();
    quickly(Duration::from_secs(10), || {
        silent.expect_end();
        halfway.expect_end();
    });
    balancer.wait_closed("client", "login_timeout", 2);
    let mut client = SqlClient::connect(balancer.address());
    thread::sleep(Duration::from_millis(600));
    assert_eq!(
        client.reads_at(),
        REPLICA,
        "a login that is over has no end"
    );
}

/// Handshakes that were not finished, by primary and replica. Of these servers take note, and block
/// who has too many of them.
fn unfinished(pair: &Pair) -> [String; 2] {
    let counter = "SHOW GLOBAL STATUS LIKE 'Aborted_connects_preauth'";
    [&pair.primary, &pair.replica].map(|server| server.sql(counter))
}

#[test]
fn port_scans_never_block_the_balancer_at_the_servers() {
    let pair = Pair::alone();
    let before = unfinished(&pair);
    let balancer = pair.balancer();
    for round in 0..9 {
        let mut scan = TcpStream::connect(balancer.address()).unwrap();
        match round % 3 {
            0 => {}
            1 => drop(SqlClient::greeted(balancer.address()).unwrap()),
            _ => scan.write_all(b"GET / HTTP/1.0\r\n\r\n").unwrap(),
        }
    }
    let wrong = Login::default()
        .user("app", "wrong")
        .connect(balancer.address());
    assert!(
        matches!(wrong, Err(SqlError::Server(1045, ..))),
        "{wrong:?}"
    );
    balancer.wait_active(0);
    assert_eq!(unfinished(&pair), before);
    let mut client = SqlClient::connect(balancer.address());
    assert_eq!(client.reads_at(), REPLICA);
    // The same without a balancer.
    drop(SqlClient::greeted(pair.primary.address()).unwrap());
    until("the server takes note", || {
        unfinished(&pair)[0] != before[0]
    });
}

/// Clients that have logged in up to one of the bytes that they say, each up to another one: of the
/// response, and of the signature for the replica.
fn halfway(address: SocketAddr) -> impl Iterator<Item = SqlClient> {
    const SIGNATURE: usize = b"\0\0\0\x03".len() + 20;
    let login = Login::default();
    let whole = login.response(&[0; 20]).len() + 4;
    let response = move |cut| {
        let login = Login::default();
        let client = SqlClient::greeted(address).unwrap();
        let packet = packet(1, &login.response(client.scramble()));
        client.stream().write_all(&packet[..cut]).unwrap();
        client
    };
    // Behind the last byte of the response comes the first of the signature.
    let signature = move |cut| {
        let mut client = SqlClient::greeted(address).unwrap();
        let response = login.response(client.scramble());
        client.write(&response);
        let switch = client.read_or_error().unwrap();
        let scramble = switch.rsplitn(3, |byte| *byte == 0).nth(1).unwrap();
        let packet = packet(3, &login.signature(scramble));
        client.stream().write_all(&packet[..cut]).unwrap();
        client
    };
    let responses = (0..whole).map(response);
    responses.chain((0..=SIGNATURE).map(signature))
}

#[test]
fn a_login_that_is_cut_off_anywhere_is_finished_at_the_servers() {
    let pair = Pair::alone();
    let before = unfinished(&pair);
    let balancer = pair.balancer();
    for (number, client) in halfway(balancer.address()).enumerate() {
        if number % 2 == 0 {
            // A reset and not a FIN.
            SockRef::from(client.stream())
                .set_linger(Some(Duration::ZERO))
                .unwrap();
        }
    }
    balancer.wait_active(0);
    assert_eq!(unfinished(&pair), before);
    let mut client = SqlClient::connect(balancer.address());
    assert_eq!(client.reads_at(), REPLICA);
}

#[test]
fn a_login_that_stops_anywhere_is_ended_and_finished_at_the_servers() {
    let pair = Pair::alone();
    let before = unfinished(&pair);
    let config = pair.config().pool_mysql("replica_login_timeout = \"5s\"");
    let balancer = Balancer::start(&config.pool_mysql("login_timeout = \"5s\""));
    let mut neighbour = SqlClient::connect(balancer.address());
    let mut waiting: Vec<_> = halfway(balancer.address()).collect();
    // The last one has said everything.
    let mut last = waiting.pop().unwrap();
    last.expect_number(4);
    last.done().unwrap();
    assert_eq!(neighbour.reads_at(), REPLICA, "it is not held up");
    for client in &mut waiting {
        assert_eq!(client.expect_end(), None);
    }
    balancer.wait_closed("client", "login_timeout", waiting.len() as u32);
    assert_eq!(neighbour.reads_at(), REPLICA);
    assert_eq!(unfinished(&pair), before);
}

/// Somebody who guesses passwords is refused by the server in its own words, and is no reason to
/// think ill of the server, or to keep anybody else from it.
#[test]
fn a_storm_of_wrong_passwords_leaves_the_servers_up_and_everybody_else_undisturbed() {
    let pair = Pair::shared();
    let balancer = pair.balancer();
    let mut neighbour = SqlClient::connect(balancer.address());
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                for guess in 0..25 {
                    let login = Login::default().user("app", &format!("guess {guess}"));
                    let refused = login.connect(balancer.address());
                    assert!(matches!(refused, Err(SqlError::Server(1045, ..))));
                }
            });
        }
        for _ in 0..50 {
            assert_eq!(neighbour.reads_at(), REPLICA);
        }
    });
    let metrics = balancer.metrics();
    assert_eq!(metrics.sum("ringway_server_up", &[]), 2.0);
    let refused = metrics.sum("ringway_mysql_login_failures_total", &[]);
    assert_eq!(refused, 200.0);
    assert_eq!(SqlClient::connect(balancer.address()).reads_at(), REPLICA);
}

#[test]
fn a_login_that_is_none_is_told_so_and_ended() {
    let pair = Pair::shared();
    let balancer = pair.balancer();
    let tls = [&[32, 0, 0, 1][..], &0x0000_AA00_u32.to_le_bytes(), &[0; 28]].concat();
    let cases: [(&[u8], u16); 9] = [
        // Other protocols: TLS, SSH, and HTTP, whose first bytes are a length.
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 1153),
        (b"SSH-2.0-OpenSSH_9.9\r\n", 1153),
        (b"GET / HTTP/1.1\r\n\r\n", 1153),
        // An address that is claimed, which nobody believes: PROXY, in both versions.
        (b"PROXY TCP4 10.9.8.7 10.0.0.1 4000 3306\r\n", 1153),
        (b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c", 1153),
        // So long that nobody would hold it, and refused before it comes.
        (b"\xFF\xFF\xFF\x01", 1153),
        // The wrong number.
        (b"\x01\x00\x00\x07x", 1156),
        // Nothing of what belongs there.
        (b"\x05\x00\x00\x01\x00\x82\x00\x00\x00", 1043),
        // TLS, which was not offered.
        (&tls, 1043),
    ];
    for (bytes, code) in cases {
        let mut client = SqlClient::greeted(balancer.address()).unwrap();
        client.stream().write_all(bytes).unwrap();
        assert_eq!(client.expect_end(), Some(code), "{bytes:?}");
    }
}

#[test]
fn nothing_of_a_client_reaches_a_server_before_it_has_logged_in() {
    let pair = Pair::shared();
    pair.table("early", "a INT");
    let balancer = pair.balancer();
    let mut client = SqlClient::greeted(balancer.address()).unwrap();
    // A login with a wrong signature, and a statement right behind it.
    let response = Login::default()
        .user("app", "wrong")
        .response(client.scramble());
    let sql = b"\x03INSERT INTO early VALUES (1)";
    let packet = |number, payload: &[u8]| [&[payload.len() as u8, 0, 0, number], payload].concat();
    let both = [packet(1, &response), packet(0, sql)].concat();
    client.stream().write_all(&both).unwrap();
    client.expect_number(2);
    let refused = client.read_or_error();
    assert!(
        matches!(refused, Err(SqlError::Server(1045, ..))),
        "{refused:?}"
    );
    client.expect_end();
    assert_eq!(pair.primary.sql("SELECT COUNT(*) FROM shop.early"), "0\n");
}
