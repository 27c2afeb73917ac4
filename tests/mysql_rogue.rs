//! Servers that do not keep to the protocol (B-13): nothing that they send reaches a client as
//! something else than it is, and no file of a client's is asked for that it has not offered.

mod support;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread;

use self::support::{Balancer, Config, SqlClient, quickly};
use std::time::Duration;

/// What a rogue greets with, and what it answers a query with.
#[derive(Clone)]
struct Rogue {
    greeting: Vec<u8>,
    answer: Vec<u8>,
}

const OK: &[u8] = b"\0\0\0\x02\0\0\0";
/// The user of those who only look whether a server lives.
const NOBODY: &[u8] = b"ringway-nobody";

fn packet(sequence: u8, payload: &[u8]) -> Vec<u8> {
    let mut packet = (payload.len() as u32).to_le_bytes()[..3].to_vec();
    packet.push(sequence);
    packet.extend(payload);
    packet
}

/// A greeting of a MySQL 8 without TLS.
fn greeting(version: &[u8]) -> Vec<u8> {
    let mut greeting = b"\x0a".to_vec();
    greeting.extend(version);
    greeting.extend(b"\0\x01\0\0\0abcdefgh\0\x01\xa2\x2d\x02\0\x08\0\x15");
    greeting.extend([0; 10]);
    greeting.extend(b"ijklmnopqrst\0mysql_native_password\0");
    greeting
}

impl Rogue {
    fn answering(answer: &[u8]) -> Self {
        Self {
            greeting: greeting(b"8.0.36"),
            answer: answer.to_vec(),
        }
    }

    fn greeting_with(greeting: Vec<u8>) -> Self {
        Self {
            greeting,
            answer: Vec::new(),
        }
    }

    /// Serves until the program ends.
    fn start(self) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        thread::spawn(move || {
            for client in listener.incoming() {
                let rogue = self.clone();
                thread::spawn(move || rogue.serve(client.unwrap()));
            }
        });
        address
    }

    /// Whoever comes may be gone at any moment.
    fn serve(&self, mut client: TcpStream) -> Option<()> {
        client.write_all(&packet(0, &self.greeting)).ok()?;
        let response = read(&mut client)?;
        if response.windows(NOBODY.len()).any(|part| part == NOBODY) {
            let refusal = b"\xff\x15\x04#28000Access denied";
            return client.write_all(&packet(2, refusal)).ok();
        }
        client.write_all(&packet(2, OK)).ok()?;
        while let Some(command) = read(&mut client) {
            let answer = match command.first() {
                Some(0x03) => &self.answer,
                Some(0x01) => return None,
                _ => &packet(1, OK),
            };
            client.write_all(answer).ok()?;
        }
        None
    }
}

/// The payload of the next packet.
fn read(stream: &mut TcpStream) -> Option<Vec<u8>> {
    let mut header = [0; 4];
    stream.read_exact(&mut header).ok()?;
    let len = u32::from_le_bytes([header[0], header[1], header[2], 0]);
    let mut payload = vec![0; len as usize];
    stream.read_exact(&mut payload).ok()?;
    Some(payload)
}

/// A balancer before a rogue that is the only server of its pool.
fn before(rogue: Rogue) -> Balancer {
    let config = Config::to([rogue.start()])
        .server(0, "role = \"primary\"")
        .listener("protocol = \"mysql\"");
    Balancer::start(&config)
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
fn a_reply_that_is_none_ends_the_session() {
    for (what, answer) in [
        ("another number", packet(7, OK)),
        ("nothing", packet(1, b"")),
        ("a column too many", packet(1, b"\xfd\xff\xff\xff")),
        ("half an OK", packet(1, b"\0\0")),
    ] {
        let balancer = before(Rogue::answering(&answer));
        let mut client = SqlClient::connect(balancer.address());
        client.send("SELECT 1");
        assert_eq!(client.expect_end(), None, "{what}");
        balancer.wait_closed("server", "protocol_violation", 1);
    }
}

#[test]
fn a_greeting_that_is_none_is_an_error_and_no_wait() {
    for (what, greeting) in [
        ("nothing", Vec::new()),
        ("no version's end", b"\x0a8.0.36".to_vec()),
        ("another protocol", b"\x09 of long ago\0".to_vec()),
        ("more than a greeting is long", greeting(&[b'8'; 4000])),
    ] {
        let balancer = before(Rogue::greeting_with(greeting));
        let refused = quickly(Duration::from_secs(5), || {
            SqlClient::greeted(balancer.address()).map(drop)
        });
        assert!(refused.is_err(), "{what}");
    }
}
