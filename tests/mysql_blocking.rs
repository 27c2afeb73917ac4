//! What a server counts against the address it comes from, and blocks in the end: no client can make
//! ringway do that, whatever it says in a login.

mod support;

use std::net::SocketAddr;

use self::support::sql_client::commands;
use self::support::{
    Balancer, COUNTED, Config, Login, MariaDb, REPLICA, SqlClient, in_own_network,
    make_counted_address,
};

/// A client that has said this as its response, and answers every switch with that.
fn say(address: SocketAddr, response: impl Fn(&[u8]) -> Vec<u8>, answer: Option<&[u8]>) {
    let mut client = SqlClient::greeted(address).unwrap();
    let packet = response(client.scramble());
    client.write(&packet);
    while let Ok(packet) = client.read()
        && packet.first() == Some(&0xFE)
        && let Some(answer) = answer
    {
        client.write(answer);
    }
}

/// A response with some bytes of it replaced.
fn with(scramble: &[u8], range: std::ops::Range<usize>, bytes: &[u8]) -> Vec<u8> {
    let mut response = Login::default().response(scramble);
    response.splice(range, bytes.iter().copied());
    response
}

/// Where the fields of such a response are.
const CHARSET: std::ops::Range<usize> = 8..9;
const USER: std::ops::Range<usize> = 32..35;
const SIGNATURE: std::ops::Range<usize> = 36..57;
const SCHEMA: std::ops::Range<usize> = 57..61;

#[test]
fn no_login_gets_the_balancer_blocked() {
    in_own_network(|| {
        let _names = make_counted_address();
        // The first mistake is the last.
        let bind = format!("--bind-address={COUNTED}");
        let options = ["--max-connect-errors=1", &bind];
        let [primary, replica] = [1, 2].map(|id| MariaDb::start(id, &options));
        let [at_primary, at_replica] = [&primary, &replica].map(|server| {
            let at = format!("{COUNTED}:{}", server.address().port());
            at.parse::<SocketAddr>().unwrap()
        });
        let balancer = Balancer::start(&Config::mysql(at_primary, at_replica));
        let address = balancer.address();
        let mut blocking = Vec::new();
        let mut check = |what: String| {
            let connected = Login::default().connect(address);
            if connected.is_ok_and(|mut client| client.reads_at() == REPLICA) {
                return;
            }
            for server in [&primary, &replica] {
                server.sql("FLUSH HOSTS");
            }
            blocking.push(what);
        };
        check("nothing".to_owned());
        let non_ascii: Vec<u8> = (0x80..=0xFF).collect();
        for charset in 0..=255 {
            say(
                address,
                |scramble| with(scramble, CHARSET, &[charset]),
                None,
            );
            check(format!("character set {charset}"));
            for schema in ["é".as_bytes(), "😀".as_bytes(), b"\xff", &non_ascii] {
                let schema = |scramble: &[u8]| {
                    let mut response = with(scramble, SCHEMA, schema);
                    response[CHARSET.start] = charset;
                    response
                };
                say(address, schema, None);
                check(format!("a schema of character set {charset}"));
            }
        }
        for user in [&b""[..], b"\xff", &non_ascii, &[b'u'; 50_000]] {
            say(address, |scramble| with(scramble, USER, user), None);
            check(format!("a user of {} bytes", user.len()));
        }
        for len in (0..=40).chain([64, 100, 250]) {
            let signature = vec![b'x'; len];
            let field = [&[len as u8], &signature[..]].concat();
            say(address, |scramble| with(scramble, SIGNATURE, &field), None);
            check(format!("a signature of {len} bytes"));
            let right = |scramble: &[u8]| Login::default().response(scramble);
            say(address, right, Some(&signature));
            check(format!("a second signature of {len} bytes"));
            let unknown = |scramble: &[u8]| {
                let login = Login::default().user("app", "wrong");
                login.naming("no_such_plugin").response(scramble)
            };
            say(address, unknown, Some(&signature));
            check(format!("an answer of {len} bytes"));
        }
        for len in [0, 1, 19, 20, 21, 32, 250] {
            let mut client = SqlClient::connect(address);
            let signature = vec![b'x'; len];
            let length = [len as u8];
            let other = [b"app\0", &length[..], &signature, b"shop\0\x2d\0"].concat();
            client.command(
                commands::CHANGE_USER,
                &[&other[..], b"mysql_native_password\0"].concat(),
            );
            if client
                .read()
                .is_ok_and(|packet| packet.first() == Some(&0xFE))
            {
                client.write(&signature);
                let _ = client.read();
            }
            check(format!("another user's signature of {len} bytes"));
        }
        for bit in 0..32 {
            let flipped = |scramble: &[u8]| {
                let mut response = Login::default().response(scramble);
                response[bit / 8] ^= 1 << (bit % 8);
                response
            };
            say(address, flipped, None);
            check(format!("flag {bit}"));
        }
        assert_eq!(blocking, [""; 0]);
    });
}
