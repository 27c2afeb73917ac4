//! The MySQL protocol against real servers: a proxy of a few lines moves the bytes, `Login` and
//! `ReplyTracker` decide. What a client sees must be what it sees without a proxy.

mod support;

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::process::Output;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::thread::sleep;
use std::time::{Duration, Instant};

use ringway::mysql::auth::{Credential, NativeHash};
use ringway::mysql::command::Command;
use ringway::mysql::framer::{Frame, Framer};
use ringway::mysql::login::{Action, Established, Login, Peer, Rules, Rung};
use ringway::mysql::reply::{Event, ReplyTracker};

use socket2::{Domain, Socket, Type};

use self::support::{DEADLINE, MariaDb, mariadb, until};

const PEERS: [Peer; 3] = [Peer::Client, Peer::Primary, Peer::Replica];

/// What the clients of these tests ask: results of every kind, one of more than 16 MiB.
const SCRIPT: &str = "SELECT 1; SELECT 'a', NULL UNION SELECT 'b', 2; DO 1; SHOW WARNINGS;
    SELECT REPEAT('x', 70000); SELECT LENGTH(x), x FROM (SELECT REPEAT('y', 17000000) x) t;
    USE mysql; SELECT DATABASE(); CREATE TEMPORARY TABLE shop.t (a INT); SELECT nothing; SELECT 5;
    PREPARE p FROM 'SELECT ?'; SET @a = 7; EXECUTE p USING @a";

#[test]
fn real_clients_log_in_at_two_real_servers() {
    let options = ["--max-connect-errors=3"];
    let mut primary = MariaDb::start(1, &options);
    let replica = MariaDb::start(2, &options);
    let proxy = Proxy::start(primary.address(), replica.address(), Rules::default());

    // Relay: a password that nobody has told the proxy.
    let output = mariadb(proxy.address, "secret", &[], "SELECT @@server_id; DO 1");
    assert_eq!(said(&output), "2\n", "reads go to the replica");
    let established = proxy.established();
    assert_eq!(
        (established.rung, established.primary_only),
        (Rung::Relay, None)
    );

    // What comes through is what would have come without.
    let direct = mariadb(primary.address(), "secret", &["--force"], SCRIPT);
    let through = mariadb(proxy.address, "secret", &["--force"], SCRIPT);
    assert_eq!(direct.stdout.len(), through.stdout.len());
    assert!(direct.stdout == through.stdout && direct.stderr == through.stderr);
    assert!(direct.stdout.len() > 17_000_000);
    proxy.established();

    // A wrong password is the server's to refuse, in its own words.
    let refused = mariadb(proxy.address, "wrong", &[], "SELECT 1");
    assert!(!refused.status.success());
    let words = "Access denied for user 'app'@'127.0.0.2' (using password: YES)";
    assert!(error_of(&refused).contains(words), "{}", error_of(&refused));

    // Clients that leave before they log in block whoever connects for them, but not a proxy that
    // finishes their handshakes.
    for _ in 0..10 {
        scan(TcpStream::connect(proxy.address).unwrap());
        scan(connect_from(RUDE, primary.address()).unwrap());
    }
    until("the server has had enough of it", || {
        scan(connect_from(RUDE, primary.address()).unwrap()).contains("blocked")
    });
    let output = mariadb(proxy.address, "secret", &[], "SELECT @@server_id");
    assert_eq!(said(&output), "2\n");
    proxy.established();

    // An account of the configuration: only its hash is known.
    let hash = replica.sql("SELECT PASSWORD('secret')");
    let hash = NativeHash::parse(hash.trim()).unwrap();
    let rules = Rules {
        accounts: [(b"app".to_vec(), Credential::NativeHash(hash))].into(),
        ..Rules::default()
    };
    let configured = Proxy::start(primary.address(), replica.address(), rules);
    let output = mariadb(configured.address, "secret", &[], "SELECT CURRENT_USER()");
    assert_eq!(said(&output), "app@%\n");
    assert_eq!(configured.established().rung, Rung::Configured);
    let refused = mariadb(configured.address, "wrong", &[], "SELECT 1");
    assert!(error_of(&refused).contains("Access denied for user 'app'@"));

    // Without the primary, the replica alone logs in.
    primary.kill();
    let output = mariadb(proxy.address, "secret", &[], "SELECT @@server_id");
    assert_eq!(said(&output), "2\n");
    assert!(proxy.established().reads_only);
}

#[track_caller]
fn said(output: &Output) -> String {
    assert!(output.status.success(), "{}", error_of(output));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn error_of(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// The proxy's address, and another one's. Servers do not count against 127.0.0.1.
const PROXY: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);
const RUDE: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 3);

fn connect_from(source: Ipv4Addr, server: SocketAddr) -> std::io::Result<TcpStream> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    socket.bind(&SocketAddr::from((source, 0)).into())?;
    socket.connect(&server.into())?;
    Ok(socket.into())
}

/// Connects and leaves after the greeting; what the greeting says.
fn scan(mut server: TcpStream) -> String {
    let mut greeting = [0; 256];
    let count = server.read(&mut greeting).unwrap();
    String::from_utf8_lossy(&greeting[..count]).into_owned()
}

/// A proxy that serves one client after the other, each on a thread.
struct Proxy {
    address: SocketAddr,
    logins: Receiver<Established>,
}

impl Proxy {
    fn start(primary: SocketAddr, replica: SocketAddr, rules: Rules) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (tell, logins) = channel();
        let rules = Arc::new(rules);
        std::thread::spawn(move || {
            for client in listener.incoming() {
                let (rules, tell) = (Arc::clone(&rules), tell.clone());
                std::thread::spawn(move || {
                    let mut session = Session::new(client.unwrap(), primary, replica);
                    if let Some(established) = session.log_in(rules) {
                        let _ = tell.send(established.clone());
                        session.relay(&established);
                    }
                });
            }
        });
        Self { address, logins }
    }

    #[track_caller]
    fn established(&self) -> Established {
        self.logins.recv_timeout(DEADLINE).unwrap()
    }
}

/// One client and its servers, moved by busy waiting.
struct Session {
    sockets: [Option<TcpStream>; 3],
    pending: [Vec<u8>; 3],
    replica: SocketAddr,
}

impl Session {
    fn new(client: TcpStream, primary: SocketAddr, replica: SocketAddr) -> Self {
        let connected = |stream: TcpStream| {
            stream.set_nonblocking(true).unwrap();
            Some(stream)
        };
        let primary = connect_from(PROXY, primary).ok().and_then(connected);
        Self {
            sockets: [connected(client), primary, None],
            pending: Default::default(),
            replica,
        }
    }

    /// Reads what there is. `false` at the end of the stream.
    fn receive(&mut self, peer: Peer) -> bool {
        let Some(socket) = &mut self.sockets[peer as usize] else {
            return true;
        };
        let mut buffer = [0; 16 * 1024];
        match socket.read(&mut buffer) {
            Ok(0) => false,
            Ok(count) => {
                self.pending[peer as usize].extend(&buffer[..count]);
                true
            }
            Err(error) => error.kind() == ErrorKind::WouldBlock,
        }
    }

    fn send(&mut self, peer: Peer, mut bytes: &[u8]) {
        let Some(socket) = &mut self.sockets[peer as usize] else {
            return;
        };
        while !bytes.is_empty() {
            match socket.write(bytes) {
                Ok(count) => bytes = &bytes[count..],
                Err(error) if error.kind() == ErrorKind::WouldBlock => sleep(POLL),
                Err(_) => return,
            }
        }
    }

    fn log_in(&mut self, rules: Arc<Rules>) -> Option<Established> {
        let mut login = Login::new(rules, "127.0.0.1", true);
        let (mut established, mut failed) = (None, false);
        let mut actions = Vec::new();
        if self.sockets[Peer::Primary as usize].is_none() {
            login.lost(Peer::Primary, &mut actions);
        }
        let started = Instant::now();
        loop {
            for action in std::mem::take(&mut actions) {
                match action {
                    Action::Send(peer, bytes) => self.send(peer, &bytes),
                    Action::StartTls => unreachable!("nobody has offered it"),
                    Action::NoTls(..) => unreachable!("nobody needs it"),
                    Action::TurnedAway(_) => unreachable!("the servers have room"),
                    Action::OpenReplica => {
                        let stream = connect_from(PROXY, self.replica).unwrap();
                        stream.set_nonblocking(true).unwrap();
                        self.sockets[Peer::Replica as usize] = Some(stream);
                    }
                    Action::Close(peer) => self.sockets[peer as usize] = None,
                    Action::Complete(all) => established = Some(*all),
                    Action::Fail(_) => failed = true,
                }
            }
            if login.is_finished() && (failed || established.is_some()) {
                return established;
            }
            assert!(started.elapsed() < DEADLINE, "a login that does not end");
            for peer in PEERS {
                if !self.receive(peer) {
                    self.sockets[peer as usize] = None;
                    login.lost(peer, &mut actions);
                }
                let bytes = std::mem::take(&mut self.pending[peer as usize]);
                let mut input = &bytes[..];
                match peer {
                    Peer::Client => login.from_client(&mut input, &mut actions),
                    Peer::Primary => login.from_primary(&mut input, &mut actions),
                    Peer::Replica => login.from_replica(&mut input, &mut actions),
                }
                self.pending[peer as usize] = input.to_vec();
            }
            if actions.is_empty() {
                sleep(POLL);
            }
        }
    }

    /// Commands, one at a time, each followed to the end of its reply.
    fn relay(&mut self, established: &Established) {
        let mut primary = ReplyTracker::new(established.primary_capabilities);
        let mut replica = ReplyTracker::new(established.capabilities);
        while let Some((bytes, command, sequence)) = self.command() {
            if command == Command::Quit {
                return;
            }
            let read = bytes.windows(11).any(|text| text == b"@@server_id");
            let on_replica = (read && established.replica.is_some()) || established.reads_only;
            let (server, tracker) = match on_replica {
                true => (Peer::Replica, &mut replica),
                false => (Peer::Primary, &mut primary),
            };
            self.send(server, &bytes);
            tracker.start(command.reply(), sequence.wrapping_add(1));
            while !tracker.is_complete() {
                if !self.receive(server) {
                    return;
                }
                let bytes = std::mem::take(&mut self.pending[server as usize]);
                let mut input = &bytes[..];
                while !input.is_empty() {
                    let event = tracker.feed(&mut input).expect("a reply");
                    assert!(!matches!(event, Event::WantsFile(_)));
                }
                self.send(Peer::Client, &bytes);
                if bytes.is_empty() {
                    sleep(POLL);
                }
            }
        }
    }

    /// The client's next command: its bytes, which one it is, and its last number.
    fn command(&mut self) -> Option<(Vec<u8>, Command, u8)> {
        let started = Instant::now();
        loop {
            let bytes = &self.pending[Peer::Client as usize];
            let (mut framer, mut input) = (Framer::default(), &bytes[..]);
            let mut last = 0;
            while let Some(frame) = framer.next(&mut input) {
                match frame {
                    Frame::Header { header, .. } => last = header.sequence,
                    Frame::Payload(_) => {}
                    Frame::End => {
                        let taken = bytes.len() - input.len();
                        let rest = self.pending[Peer::Client as usize].split_off(taken);
                        let whole =
                            std::mem::replace(&mut self.pending[Peer::Client as usize], rest);
                        let command = Command::from_byte(whole[4]);
                        return Some((whole, command, last));
                    }
                }
            }
            if !self.receive(Peer::Client) || started.elapsed() > DEADLINE {
                return None;
            }
            sleep(POLL);
        }
    }
}

const POLL: Duration = Duration::from_micros(200);
