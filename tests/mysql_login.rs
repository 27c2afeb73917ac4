//! Logins at the MySQL port, over a real primary and its replica: who is let in and how, and that
//! nobody who is not makes a server think ill of ringway.

mod support;

use std::io::Write;
use std::net::TcpStream;
use std::thread;
use std::time::Duration;

use socket2::SockRef;

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
    let hash = pair.replica.sql("SELECT PASSWORD('secret')");
    let known = pair
        .config()
        .mysql_user("app", &format!("native_hash = \"{}\"", hash.trim()));
    let balancer = Balancer::start(&known);
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

#[test]
fn a_login_that_is_cut_off_anywhere_is_finished_at_the_servers() {
    let pair = Pair::alone();
    let before = unfinished(&pair);
    let balancer = pair.balancer();
    let whole = |client: &SqlClient| {
        let response = Login::default().response(client.scramble());
        [&[response.len() as u8, 0, 0, 1], &response[..]].concat()
    };
    let len = whole(&SqlClient::greeted(balancer.address()).unwrap()).len();
    for cut in 0..=len {
        let client = SqlClient::greeted(balancer.address()).unwrap();
        client.stream().write_all(&whole(&client)[..cut]).unwrap();
        if cut % 2 == 0 {
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
fn a_login_that_is_none_is_told_so_and_ended() {
    let pair = Pair::shared();
    let balancer = pair.balancer();
    let tls = [&[32, 0, 0, 1][..], &0x0000_AA00_u32.to_le_bytes(), &[0; 28]].concat();
    let cases: [(&[u8], u16); 4] = [
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
