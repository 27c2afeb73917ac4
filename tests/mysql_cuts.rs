//! Logins over TLS on the MySQL port that are broken off after each byte of what is said, by FIN and
//! by RST: by clients, from their request for TLS to their last signature, and by servers, from
//! their greeting to their verdict. Nobody else notices, and nothing is left of them.

mod support;

use std::io::{self, Write};
use std::net::TcpListener;
use std::sync::Arc;

use rustls::server::NoServerSessionStorage;
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, ServerConfig, SupportedProtocolVersion};
use support::cuts::{Leaver, at_each_byte, cost_no_memory};
use support::rogue::{OK, greeting_with_tls, one_row, packet, read};
use support::sql_client::{commands, flags};
use support::{
    Authority, Balancer, Config, End, Login, PRIMARY, Peer, REPLICA, Rogue, RunningRogue, SITE,
    Service, SqlClient, SqlError, TlsPeer, server_of, tls12, tls13,
};

/// What a client is told whose login fails for the sake of a server (`ER_UNKNOWN_ERROR`).
const NO_LOGIN: u16 = 1105;

/// How often a neighbour says something while others leave.
const CUTS_BETWEEN_WORDS: usize = 50;

/// The payload with which TLS is asked for: the beginning of a response.
const SSL_REQUEST_BYTES: usize = 32;

/// The record of a signature, which is a packet of 20 bytes: of TLS 1.2, and of 1.3.
const SIGNATURE_RECORD_BYTES: [usize; 2] = [5 + 8 + (4 + 20) + 16, 5 + (4 + 20) + 1 + 16];

/// A primary and a replica that let everybody in, and a listener before them that wants TLS.
struct Listener {
    primary: RunningRogue,
    balancer: Balancer,
    /// Of TLS 1.2, and of 1.3.
    clients: [Arc<ClientConfig>; 2],
    _elsewhere: TcpListener,
}

impl Listener {
    fn start() -> Self {
        let authority = Authority::new();
        let [primary, replica] =
            [PRIMARY, REPLICA].map(|id| Rogue::answering(&one_row(id)).start());
        let elsewhere = TcpListener::bind("127.0.0.1:0").unwrap();
        let config = Config::mysql(primary.address, replica.address)
            .process("workers = 1")
            .checked_at(&elsewhere)
            .pool_mysql("login_timeout = \"10m\"")
            .terminate(&authority.issue(&[SITE]))
            .listener_tls("mode = \"required\"");
        Self {
            primary,
            balancer: Balancer::start(&config),
            clients: [tls12(&authority), tls13(&authority)],
            _elsewhere: elsewhere,
        }
    }

    /// How many logins have failed because their clients had left.
    fn left(&self) -> f64 {
        let metrics = self.balancer.metrics();
        let labels = [("reason", "client_left")];
        metrics.sum("ringway_mysql_login_failures_total", &labels)
    }
}

/// Logs in over TLS. What is signed nobody verifies here.
fn log_in(peer: Peer, tls: &Arc<ClientConfig>) -> io::Result<TlsPeer> {
    let login = Login::default().flag(flags::SSL);
    let response = login.response(&[0; 20]);
    read(&mut &peer)?;
    (&peer).write_all(&packet(1, &response[..SSL_REQUEST_BYTES]))?;
    let mut peer = TlsPeer::client(peer, tls, SITE);
    peer.try_shake_hands()?;
    peer.write_all(&packet(2, &response))?;
    loop {
        let (number, said) = read(&mut peer)?;
        match said[0] {
            0x00 => return Ok(peer),
            0xFE => peer.write_all(&packet(number + 1, &login.signature(&[0; 20])))?,
            other => panic!("{other:#04X} in a login"),
        }
    }
}

/// Where a client that is logged in reads.
#[track_caller]
fn reads_at(peer: &mut TlsPeer) -> String {
    let query = [&[commands::QUERY], &b"SELECT @@server_id"[..]].concat();
    peer.send(packet(0, &query));
    // A number of columns, a column, an EOF, a row of one value, an EOF.
    let packets = [(); 5].map(|()| read(peer).unwrap().1);
    String::from_utf8(packets[3][1..].to_vec()).unwrap()
}

/// Has clients leave after each byte of their logins, while a neighbour goes on.
#[track_caller]
fn clients_leave(end: End) {
    let listener = Listener::start();
    let balancer = &listener.balancer;
    let mut neighbour = log_in(balancer.connect(), &listener.clients[0]).unwrap();
    let mut left = 0;
    for (client, signature) in listener.clients.iter().zip(SIGNATURE_RECORD_BYTES) {
        listener.primary.heard();
        left += at_each_byte(end, |cut| {
            if cut.after % CUTS_BETWEEN_WORDS == 0 {
                assert_eq!(reads_at(&mut neighbour), REPLICA);
            }
            let Some(mut peer) = cut.off(balancer.connect(), |peer| log_in(peer, client)) else {
                return false;
            };
            assert_eq!(reads_at(&mut peer), REPLICA);
            true
        });
        balancer.wait_active(1);
        assert_eq!(listener.left(), left as f64);
        let logins = listener.primary.heard();
        let message = "no login is passed on before all of it has come";
        assert_eq!(logins.len(), signature + 1, "{message}");
    }
    let metrics = balancer.metrics();
    assert_eq!(
        metrics.sum("ringway_mysql_login_failures_total", &[]),
        left as f64
    );
    assert_eq!(metrics.sum("ringway_connect_failures_total", &[]), 0.0);
    assert_eq!(reads_at(&mut neighbour), REPLICA);
}

#[test]
fn a_client_that_closes_at_any_byte_of_a_login_over_tls_leaves_nothing_behind() {
    clients_leave(End::Fin);
}

#[test]
fn a_client_that_resets_at_any_byte_of_a_login_over_tls_leaves_nothing_behind() {
    clients_leave(End::Reset);
}

#[test]
fn twenty_bytes_of_a_login_over_tls_at_which_clients_leave_cost_no_memory_in_the_end() {
    let listener = Listener::start();
    let balancer = &listener.balancer;
    let [_, client] = &listener.clients;
    let bytes = log_in(balancer.connect(), client).unwrap().peer().said();
    let mut left = 0;
    cost_no_memory(balancer, bytes, |cut| {
        let peer = cut.off(balancer.connect(), |peer| log_in(peer, client));
        assert!(peer.is_none(), "{cut:?} of {bytes} bytes");
        left += 1;
    });
    assert_eq!(listener.left(), f64::from(left));
}

/// A primary and a replica that speak TLS, one of which leaves where it is told to.
struct Pool {
    leaver: Leaver,
    balancer: Balancer,
    _servers: [Service; 2],
    _elsewhere: TcpListener,
}

impl Pool {
    /// Of the two, the one with this id leaves.
    fn start(
        leaves: &str,
        version: &'static SupportedProtocolVersion,
        adapt: impl Fn(Config) -> Config,
    ) -> Self {
        let authority = Authority::new();
        let mut tls = server_of(&authority.issue(&[SITE]), &[version], None);
        // A handshake that was resumed would be shorter than the one before.
        tls.session_storage = Arc::new(NoServerSessionStorage {});
        let tls = Arc::new(tls);
        let leaver = Leaver::default();
        let servers = [PRIMARY, REPLICA].map(|id| {
            let stays = Leaver::default();
            server(id, &tls, if id == leaves { &leaver } else { &stays })
        });
        let [primary, replica] = servers.each_ref().map(Service::address);
        let elsewhere = TcpListener::bind("127.0.0.1:0").unwrap();
        let config = Config::mysql(primary, replica)
            .process("workers = 1")
            .checked_at(&elsewhere)
            .verify(&authority, SITE)
            .pool("connect_timeout = \"1m\"")
            .pool("connect_deadline = \"1m\"");
        Self {
            leaver,
            balancer: Balancer::start(&adapt(config)),
            _servers: servers,
            _elsewhere: elsewhere,
        }
    }

    /// Where a client reads, if it can log in.
    #[track_caller]
    fn reads_at(&self) -> Option<String> {
        match Login::default().connect(self.balancer.address()) {
            Ok(mut client) => Some(client.reads_at()),
            Err(SqlError::Server(NO_LOGIN, ..)) => None,
            Err(error) => panic!("{error:?}"),
        }
    }
}

/// A server that lets everybody in who comes over TLS, and names itself whatever it is asked, unless
/// it leaves before.
fn server(id: &'static str, tls: &Arc<ServerConfig>, leaver: &Leaver) -> Service {
    let (tls, leaver) = (Arc::clone(tls), leaver.clone());
    Service::start(move |peer| {
        let cut = leaver.next();
        if let Some(mut peer) = leaver.talk(cut, peer, |peer| let_in(peer, &tls)) {
            while let Ok((_, command)) = read(&mut peer) {
                let answer = match command[0] {
                    commands::QUIT => return,
                    commands::QUERY => one_row(id),
                    _ => packet(1, OK),
                };
                if peer.write_all(&answer).is_err() {
                    return;
                }
            }
        }
    })
}

fn let_in(peer: Peer, tls: &Arc<ServerConfig>) -> io::Result<TlsPeer> {
    (&peer).write_all(&packet(0, &greeting_with_tls(b"8.0.36")))?;
    let (_, request) = read(&mut &peer)?;
    if request.len() != SSL_REQUEST_BYTES {
        return Err(io::Error::other("somebody who leaves in the login"));
    }
    let mut peer = TlsPeer::server(peer, tls);
    peer.try_shake_hands()?;
    let (number, _) = read(&mut peer)?;
    peer.write_all(&packet(number + 1, OK))?;
    Ok(peer)
}

#[track_caller]
fn a_primary_leaves(end: End) {
    let greeting = packet(0, &greeting_with_tls(b"8.0.36")).len();
    for version in [&TLS12, &TLS13] {
        let pool = Pool::start(PRIMARY, version, |config| config);
        let mut neighbour = SqlClient::connect(pool.balancer.address());
        at_each_byte(end, |cut| {
            let mut read = None;
            let is_through = pool.leaver.is_through(cut, || read = pool.reads_at());
            // Without its greeting the replica lets the client in, to read. Later the client is told.
            let logged_in = is_through || cut.after < greeting;
            assert_eq!(read.as_deref(), logged_in.then_some(REPLICA), "{cut:?}");
            is_through
        });
        assert_eq!(neighbour.reads_at(), REPLICA);
        neighbour.run(&["INSERT INTO t VALUES (1)"]);
    }
}

#[test]
fn a_primary_that_finishes_at_any_byte_of_a_login_over_tls_is_done_without_or_told() {
    a_primary_leaves(End::Fin);
}

#[test]
fn a_primary_that_resets_at_any_byte_of_a_login_over_tls_is_done_without_or_told() {
    a_primary_leaves(End::Reset);
}

#[track_caller]
fn a_replica_leaves(end: End) {
    for version in [&TLS12, &TLS13] {
        let pool = Pool::start(REPLICA, version, |config| config);
        let mut neighbour = SqlClient::connect(pool.balancer.address());
        at_each_byte(end, |cut| {
            let mut read = None;
            let is_through = pool.leaver.is_through(cut, || read = pool.reads_at());
            let expected = if is_through { REPLICA } else { PRIMARY };
            assert_eq!(read.as_deref(), Some(expected), "{cut:?}");
            is_through
        });
        assert_eq!(neighbour.reads_at(), REPLICA);
    }
}

#[test]
fn a_replica_that_finishes_at_any_byte_of_a_login_over_tls_is_done_without() {
    a_replica_leaves(End::Fin);
}

#[test]
fn a_replica_that_resets_at_any_byte_of_a_login_over_tls_is_done_without() {
    a_replica_leaves(End::Reset);
}

#[test]
fn twenty_bytes_of_a_login_over_tls_at_which_servers_leave_cost_no_memory_in_the_end() {
    let pool = Pool::start(PRIMARY, &TLS13, |config| config.without_server("s1"));
    assert_eq!(pool.reads_at().as_deref(), Some(PRIMARY));
    cost_no_memory(&pool.balancer, pool.leaver.said(), |cut| {
        let mut read = None;
        let is_through = pool.leaver.is_through(cut, || read = pool.reads_at());
        assert_eq!((is_through, read), (false, None), "{cut:?}");
    });
}
