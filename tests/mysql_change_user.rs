//! `COM_CHANGE_USER` with a password in it, as clients send it that sign for `mysql_clear_password`:
//! which servers get it, what is left of it, and how long it may be.

mod support;

use support::rogue::{asking_for_tls, packet};
use support::{
    Authority, Balancer, Config, Peer, Rogue, RunningRogue, SITE, TlsPeer, tls13, until,
};

/// So long that there would be pieces of it where an allocator has written over its beginning.
const PASSWORD: &[u8] = b"correct-horse-battery-staple-and-nothing-else";

/// Bytes of the smallest login that has `PASSWORD` in it, and of one that no buffer has the room for.
const LENGTHS: [usize; 2] = [100, 40_000];

/// A balancer that offers TLS, before servers that have none, let everybody in and answer no query.
struct Stage {
    authority: Authority,
    servers: [RunningRogue; 2],
    balancer: Balancer,
}

impl Stage {
    fn set() -> Self {
        let authority = Authority::new();
        let identity = authority.issue(&[SITE]);
        let servers = [(); 2].map(|()| Rogue::answering(b"").start());
        let [primary, replica] = &servers;
        let config = Config::mysql(primary.address, replica.address)
            .process("workers = 1")
            .pool_mysql("classify_bytes_max = 1024")
            .terminate(&identity)
            .listener_tls("mode = \"preferred\"");
        Self {
            authority,
            balancer: Balancer::start(&config),
            servers,
        }
    }

    /// A client that has logged in without a password.
    fn client(&self, is_on_tls: bool) -> Client {
        let address = self.balancer.address();
        let mut client = match is_on_tls {
            true => {
                let config = tls13(&self.authority);
                let mut tls = TlsPeer::client(asking_for_tls(address), &config, SITE);
                tls.shake_hands();
                Client::Tls(Box::new(tls))
            }
            false => {
                let mut plain = Client::Plain(Peer::connect(address));
                plain.receive_packet();
                plain
            }
        };
        let number = if is_on_tls { 2 } else { 1 };
        client.send(&packet(number, &first_response()));
        let (answer, payload) = client.receive_packet();
        assert_eq!((answer, payload[0]), (number + 1, 0));
        for server in &self.servers {
            assert_eq!(server.heard().len(), 1, "both have logged it in");
        }
        client
    }

    /// The servers that have heard of the password since they were asked last.
    fn heard_it(&self) -> [bool; 2] {
        let has_it = |said: &Vec<u8>| holds(said, PASSWORD);
        std::array::from_fn(|index| self.servers[index].heard().iter().any(has_it))
    }

    #[track_caller]
    fn has_forgotten(&self) {
        self.balancer.wait_active(0);
        let memory = self.balancer.process().memory();
        assert!(holds(&memory, b"--config"), "its arguments are in there");
        for piece in PASSWORD.chunks(15) {
            assert!(!holds(&memory, piece), "{}", String::from_utf8_lossy(piece));
        }
    }
}

fn holds(bytes: &[u8], words: &[u8]) -> bool {
    bytes.windows(words.len()).any(|part| part == words)
}

enum Client {
    Plain(Peer),
    Tls(Box<TlsPeer>),
}

impl Client {
    fn send(&mut self, bytes: &[u8]) {
        match self {
            Self::Plain(peer) => peer.send(bytes),
            Self::Tls(peer) => peer.send(bytes),
        }
    }

    /// Sends so many bytes at a time, as segments or records, at the beginning.
    fn send_in_pieces(&mut self, bytes: &[u8], piece: usize) {
        let (beginning, rest) = bytes.split_at(bytes.len().min(200));
        beginning.chunks(piece).for_each(|piece| self.send(piece));
        self.send(rest);
    }

    fn reset(self) {
        match self {
            Self::Plain(peer) => peer.reset(),
            Self::Tls(peer) => peer.into_peer().reset(),
        }
    }

    #[track_caller]
    fn receive(&mut self, len: usize) -> Vec<u8> {
        match self {
            Self::Plain(peer) => peer.receive(len),
            Self::Tls(peer) => peer.receive(len),
        }
    }

    /// Number and payload of the next packet.
    #[track_caller]
    fn receive_packet(&mut self) -> (u8, Vec<u8>) {
        let [low, middle, high, number] = self.receive(4)[..] else {
            panic!("a header");
        };
        let len = u32::from_le_bytes([low, middle, high, 0]);
        (number, self.receive(len as usize))
    }

    /// The next packet is the reply to a command, and this error.
    #[track_caller]
    fn expect_error(&mut self, expected: u16) {
        let (number, error) = self.receive_packet();
        assert_eq!((number, error[0]), (1, 0xFF));
        assert_eq!(u16::from_le_bytes([error[1], error[2]]), expected);
    }
}

/// The answer of a client without a password to a greeting.
fn first_response() -> Vec<u8> {
    const PROTOCOL_41_AND_AUTHENTICATION: [u8; 4] = 0x0008_8200_u32.to_le_bytes();
    let mut response = PROTOCOL_41_AND_AUTHENTICATION.to_vec();
    response.extend([0, 0, 0, 1, 45]);
    response.extend([0; 23]);
    response.extend(b"app\0\0mysql_native_password\0");
    response
}

/// A `COM_CHANGE_USER` with the password, as long as its schema's name makes it.
fn another_login(len: usize) -> Vec<u8> {
    let mut login = b"\x11keeper\0".to_vec();
    login.push(PASSWORD.len() as u8 + 1);
    login.extend(PASSWORD);
    login.push(0);
    let behind = b"\0\x2d\0mysql_clear_password\0";
    login.resize(len - behind.len(), b's');
    login.extend(behind);
    packet(0, &login)
}

#[test]
fn nothing_is_left_in_memory_of_another_users_password_and_servers_without_tls_get_none_from_it() {
    let stage = Stage::set();
    for is_on_tls in [false, true] {
        for (len, piece) in LENGTHS.into_iter().flat_map(|len| [(len, 200), (len, 7)]) {
            let mut client = stage.client(is_on_tls);
            client.send_in_pieces(&another_login(len), piece);
            match is_on_tls {
                true => client.expect_error(1045),
                false => {
                    let (number, payload) = client.receive_packet();
                    assert_eq!((number, payload[0]), (1, 0), "{payload:?}");
                    client.send(&packet(0, b"\x01"));
                }
            }
            stage.has_forgotten();
            assert_eq!(stage.heard_it(), [!is_on_tls; 2], "{len} bytes by {piece}");
        }
    }
    stage.balancer.wait_for("the refusals", |metrics| {
        let labels = [("reason", "password_in_plain")];
        metrics.sum("ringway_mysql_login_failures_total", &labels) == 4.0
    });
}

#[test]
fn nothing_is_left_of_another_users_password_that_does_not_come_to_its_end() {
    let stage = Stage::set();
    for is_on_tls in [false, true] {
        for len in LENGTHS {
            let mut client = stage.client(is_on_tls);
            let login = another_login(len);
            client.send_in_pieces(&login[..len - 10], 7);
            drop(client);
            stage.has_forgotten();
            assert_eq!(stage.heard_it(), [false; 2]);
        }
    }
}

#[test]
fn nothing_is_left_of_another_users_password_that_nobody_has_read() {
    let stage = Stage::set();
    let received = || {
        let metrics = stage.balancer.metrics();
        metrics.sum("ringway_bytes_received_total", &[("direction", "in")])
    };
    for is_on_tls in [false, true] {
        let mut client = stage.client(is_on_tls);
        client.send(&packet(0, b"\x03DO 1"));
        until("the query runs", || !stage.servers[0].heard().is_empty());
        let (before, login) = (received(), another_login(100));
        client.send_in_pieces(&login, 7);
        until("it has come", || received() == before + login.len() as f64);
        client.reset();
        stage.has_forgotten();
    }
}

#[test]
fn another_login_that_is_longer_than_any_is_told_so_and_ended() {
    let stage = Stage::set();
    for is_on_tls in [false, true] {
        let mut client = stage.client(is_on_tls);
        client.send(&another_login(70_000)[..1000]);
        client.expect_error(1153);
        stage.has_forgotten();
        assert_eq!(stage.heard_it(), [false; 2]);
    }
    stage.balancer.wait_for("the refusals", |metrics| {
        let labels = [("reason", "packet_too_long")];
        metrics.sum("ringway_mysql_login_failures_total", &labels) == 2.0
    });
}
