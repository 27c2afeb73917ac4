//! TLS handshakes that one side breaks off after each byte of what it says, by FIN and by RST: full
//! ones, those of sessions that are resumed, and those in which the client shows a certificate; by
//! clients of a listener and by servers of a pool. Nobody else notices, and nothing is left of them.

mod support;

use std::cell::Cell;
use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use rustls::crypto::aws_lc_rs::Ticketer;
use rustls::server::NoServerSessionStorage;
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, ServerConfig, SupportedProtocolVersion};
use support::cuts::{Cut, Leaver, at_each_byte, cost_no_memory};
use support::{
    Authority, Balancer, Config, End, Peer, SITE, Service, TlsPeer, resuming, server_of, showing,
    tls12, tls13,
};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// With new keys.
    Full,
    /// Of a session that was begun before, by a ticket.
    Resumed,
    /// With a certificate of the client's.
    Mutual,
}

/// How often a neighbour says something while others leave.
const CUTS_BETWEEN_WORDS: usize = 50;

/// A listener with TLS, and clients that shake hands with it.
struct Listener {
    server: Service,
    balancer: Balancer,
    /// Of TLS 1.2, and of 1.3.
    clients: [Arc<ClientConfig>; 2],
    kind: Kind,
    /// Clients that have been through with their handshakes.
    served: Cell<usize>,
}

impl Listener {
    fn start(kind: Kind) -> Self {
        let authority = Authority::new();
        let server = Service::echo();
        let config = Config::to([server.address()])
            .process("workers = 1")
            .terminate(&authority.issue(&[SITE]))
            .listener_tls("handshake_timeout = \"10m\"");
        let config = match kind {
            Kind::Mutual => config
                .listener_tls("client_certificates = \"required\"")
                .listener_tls(&format!("ca_file = {:?}", authority.file())),
            Kind::Full | Kind::Resumed => config,
        };
        let alice = authority.issue(&["alice"]);
        let clients = [tls12(&authority), tls13(&authority)].map(|client| match kind {
            Kind::Full => client,
            Kind::Resumed => resuming(&client),
            Kind::Mutual => showing(&client, &alice),
        });
        Self {
            server,
            balancer: Balancer::start(&config),
            clients,
            kind,
            served: Cell::new(0),
        }
    }

    /// A client that is through.
    #[track_caller]
    fn connect(&self, client: &Arc<ClientConfig>) -> TlsPeer {
        let mut peer = TlsPeer::connect(self.balancer.address(), client);
        self.serves(&mut peer);
        peer
    }

    #[track_caller]
    fn serves(&self, peer: &mut TlsPeer) {
        peer.is_served();
        self.served.set(self.served.get() + 1);
    }

    /// Whether a client that leaves here is through with its handshake, and so is served.
    #[track_caller]
    fn is_through(&self, cut: Cut, client: &Arc<ClientConfig>) -> bool {
        if self.kind == Kind::Resumed {
            // A ticket of TLS 1.3 is shown once, whatever comes of it.
            self.connect(client);
        }
        let shake_hands = |peer| shake_hands(TlsPeer::client(peer, client, SITE));
        let Some(mut peer) = cut.off(self.balancer.connect(), shake_hands) else {
            return false;
        };
        self.serves(&mut peer);
        assert_eq!(peer.is_resumed(), self.kind == Kind::Resumed);
        true
    }

    /// Bytes that a client says in its handshake.
    fn bytes(&self, client: &Arc<ClientConfig>) -> usize {
        if self.kind == Kind::Resumed {
            self.connect(client);
        }
        let mut peer = TlsPeer::connect(self.balancer.address(), client);
        let bytes = peer.peer().said();
        self.serves(&mut peer);
        bytes
    }

    /// Asserts that so many clients have left in their handshakes, all others were served, and
    /// nobody else has got as far as the server.
    #[track_caller]
    fn is_all_told(&self, left: usize) {
        let served = self.served.get();
        self.balancer.wait_handshakes_failed("cut_off", left);
        let metrics = self.balancer.metrics();
        let failures = metrics.sum("ringway_tls_handshake_failures_total", &[]);
        let handshakes = metrics.sum("ringway_tls_handshakes_total", &[]);
        assert_eq!((failures, handshakes), (left as f64, served as f64));
        assert_eq!(self.server.accepted(), served);
    }
}

fn shake_hands(mut peer: TlsPeer) -> io::Result<TlsPeer> {
    peer.try_shake_hands()?;
    Ok(peer)
}

/// Has clients leave after each byte of their handshakes, while a neighbour goes on.
#[track_caller]
fn clients_leave(kind: Kind, end: End) {
    let listener = Listener::start(kind);
    let mut neighbour = listener.connect(&listener.clients[0]);
    let mut left = 0;
    for client in &listener.clients {
        left += at_each_byte(end, |cut| {
            if cut.after % CUTS_BETWEEN_WORDS == 0 {
                neighbour.is_served();
            }
            listener.is_through(cut, client)
        });
    }
    listener.is_all_told(left);
    listener.balancer.wait_active(1);
    neighbour.is_served();
}

#[test]
fn b_17_a_client_that_closes_at_any_byte_of_its_handshake_leaves_nothing_behind() {
    clients_leave(Kind::Full, End::Fin);
}

#[test]
fn b_17_a_client_that_resets_at_any_byte_of_its_handshake_leaves_nothing_behind() {
    clients_leave(Kind::Full, End::Reset);
}

#[test]
fn a_client_that_closes_at_any_byte_of_a_resumed_handshake_leaves_nothing_behind() {
    clients_leave(Kind::Resumed, End::Fin);
}

#[test]
fn a_client_that_resets_at_any_byte_of_a_resumed_handshake_leaves_nothing_behind() {
    clients_leave(Kind::Resumed, End::Reset);
}

#[test]
fn a_client_that_closes_at_any_byte_of_a_handshake_with_its_certificate_leaves_nothing_behind() {
    clients_leave(Kind::Mutual, End::Fin);
}

#[test]
fn a_client_that_resets_at_any_byte_of_a_handshake_with_its_certificate_leaves_nothing_behind() {
    clients_leave(Kind::Mutual, End::Reset);
}

/// Has clients leave at some bytes of this handshake, again and again.
#[track_caller]
fn clients_leave_often(kind: Kind) {
    let listener = Listener::start(kind);
    let [tls12, tls13] = &listener.clients;
    // A session of TLS 1.2 is resumed as often as one likes.
    let client = if kind == Kind::Resumed { tls12 } else { tls13 };
    let bytes = listener.bytes(client);
    let mut left = 0;
    cost_no_memory(&listener.balancer, bytes, |cut| {
        let shake_hands = |peer| shake_hands(TlsPeer::client(peer, client, SITE));
        let peer = cut.off(listener.balancer.connect(), shake_hands);
        assert!(peer.is_none(), "{cut:?} of {bytes} bytes");
        left += 1;
    });
    listener.is_all_told(left);
}

#[test]
fn twenty_bytes_at_which_clients_leave_five_hundred_times_cost_no_memory_in_the_end() {
    clients_leave_often(Kind::Full);
}

#[test]
fn twenty_bytes_of_a_resumed_handshake_at_which_clients_leave_cost_no_memory_in_the_end() {
    clients_leave_often(Kind::Resumed);
}

#[test]
fn twenty_bytes_of_one_with_a_certificate_at_which_clients_leave_cost_no_memory_in_the_end() {
    clients_leave_often(Kind::Mutual);
}

#[test]
fn a_client_that_leaves_at_any_byte_of_a_hello_that_passes_through_leaves_nothing_behind() {
    let authority = Authority::new();
    let server = Service::echo();
    let config = Config::to([server.address()])
        .listener_tls("mode = \"passthrough\"")
        .listener_tls("handshake_timeout = \"10m\"");
    let balancer = Balancer::start(&config);
    let client = tls13(&authority);
    let greet = |peer| {
        let mut client = TlsPeer::client(peer, &client, SITE);
        client.flush()?;
        Ok(client)
    };
    let mut left = 0;
    for end in [End::Fin, End::Reset] {
        left += at_each_byte(end, |cut| match cut.off(balancer.connect(), greet) {
            // What it gets is no answer, but its own hello.
            Some(client) => client.peer().receive(1) == [22],
            None => false,
        });
    }
    balancer.wait_handshakes_failed("cut_off", left);
    balancer.wait_active(0);
    assert_eq!(server.accepted(), 2);
}

/// A server of a pool with TLS, which leaves where it is told to, and another one that takes its
/// place then.
struct Pool {
    leaver: Leaver,
    /// Handshakes in which the first one has resumed a session.
    resumed: Arc<AtomicUsize>,
    balancer: Balancer,
    _servers: [Service; 2],
}

impl Pool {
    fn start(
        kind: Kind,
        version: &'static SupportedProtocolVersion,
        adapt: impl Fn(Config) -> Config,
    ) -> Self {
        let authority = Authority::new();
        let asks = (kind == Kind::Mutual).then_some(&authority);
        let mut tls = server_of(&authority.issue(&[SITE]), &[version], asks);
        tls.session_storage = Arc::new(NoServerSessionStorage {});
        if kind == Kind::Resumed {
            tls.ticketer = Ticketer::new().unwrap();
        }
        let (leaver, resumed) = (Leaver::default(), Arc::default());
        let first = server(&tls, &leaver, &resumed);
        let second = server(&tls, &Leaver::default(), &Arc::default());
        let servers = [first, second];
        let config = Config::to(servers.each_ref().map(Service::address))
            .process("workers = 1")
            .server(1, "backup = true")
            // More than it has bytes to say: it is not left alone.
            .pool("max_fails = 1000")
            .pool("connect_timeout = \"1m\"")
            .pool("connect_deadline = \"1m\"")
            .verify(&authority, SITE);
        let config = match kind {
            Kind::Mutual => {
                let [certificate, key] = authority.issue(&["ringway"]).lines();
                config.pool_tls(&certificate).pool_tls(&key)
            }
            Kind::Full | Kind::Resumed => config,
        };
        Self {
            leaver,
            resumed,
            balancer: Balancer::start(&adapt(config)),
            _servers: servers,
        }
    }

    /// A client that is served, by whichever server.
    #[track_caller]
    fn serves(&self) -> Peer {
        let client = self.balancer.connect();
        client.send("hello");
        client.expect("hello");
        client
    }

    fn resumed(&self) -> usize {
        self.resumed.load(Ordering::SeqCst)
    }
}

/// A server that sends back what it gets, unless it leaves before. It counts sessions that it
/// resumes.
fn server(tls: &ServerConfig, leaver: &Leaver, resumed: &Arc<AtomicUsize>) -> Service {
    let (leaver, resumed) = (leaver.clone(), Arc::clone(resumed));
    let giving = Arc::new(tls.clone());
    let mut silent = tls.clone();
    // Tickets of TLS 1.3 come behind the handshake, and it is the handshake that is cut.
    silent.send_tls13_tickets = 0;
    let silent = Arc::new(silent);
    Service::start(move |peer| {
        let cut = leaver.next();
        let tls = if cut.is_some() { &silent } else { &giving };
        let shake_hands = |peer| {
            let peer = shake_hands(TlsPeer::server(peer, tls))?;
            resumed.fetch_add(peer.is_resumed().into(), Ordering::SeqCst);
            Ok(peer)
        };
        if let Some(mut peer) = leaver.talk(cut, peer, shake_hands) {
            peer.echo();
        }
    })
}

/// Has a server leave after each byte of its handshakes, while a neighbour is served by it.
#[track_caller]
fn servers_leave(kind: Kind, end: End) {
    for version in [&TLS12, &TLS13] {
        let pool = Pool::start(kind, version, |config| config);
        let neighbour = pool.serves();
        let left = at_each_byte(end, |cut| {
            if kind == Kind::Resumed {
                // A ticket of TLS 1.3 is shown once, whatever comes of it.
                pool.serves();
            }
            pool.leaver.is_through(cut, || drop(pool.serves()))
        });
        neighbour.send("still here");
        neighbour.expect("still here");
        let metrics = pool.balancer.metrics();
        let failures = metrics.by("ringway_connect_failures_total", "server");
        assert_eq!((failures["s0"], failures["s1"]), (left as f64, 0.0));
        // All but the neighbour's, and the last one, which was not cut off.
        let resumed = if kind == Kind::Resumed { left + 2 } else { 0 };
        assert_eq!(pool.resumed(), resumed);
    }
}

#[test]
fn a_server_that_finishes_at_any_byte_of_its_handshake_costs_its_clients_nothing() {
    servers_leave(Kind::Full, End::Fin);
}

#[test]
fn a_server_that_resets_at_any_byte_of_its_handshake_costs_its_clients_nothing() {
    servers_leave(Kind::Full, End::Reset);
}

#[test]
fn a_server_that_finishes_at_any_byte_of_a_resumed_handshake_costs_its_clients_nothing() {
    servers_leave(Kind::Resumed, End::Fin);
}

#[test]
fn a_server_that_resets_at_any_byte_of_a_resumed_handshake_costs_its_clients_nothing() {
    servers_leave(Kind::Resumed, End::Reset);
}

#[test]
fn a_server_that_wants_a_certificate_and_finishes_at_any_byte_costs_its_clients_nothing() {
    servers_leave(Kind::Mutual, End::Fin);
}

#[test]
fn a_server_that_wants_a_certificate_and_resets_at_any_byte_costs_its_clients_nothing() {
    servers_leave(Kind::Mutual, End::Reset);
}

/// Has the only server of a pool leave at some bytes of this handshake, again and again.
#[track_caller]
fn servers_leave_often(kind: Kind) {
    // A session of TLS 1.2 is resumed as often as one likes.
    let version = match kind {
        Kind::Resumed => &TLS12,
        Kind::Full | Kind::Mutual => &TLS13,
    };
    let pool = Pool::start(kind, version, |config| config.without_server("s1"));
    for _ in 0..2 {
        pool.serves();
    }
    let mut left = 0;
    cost_no_memory(&pool.balancer, pool.leaver.said(), |cut| {
        let refused = || {
            pool.balancer.connect().expect_end(End::Reset);
        };
        assert!(!pool.leaver.is_through(cut, refused), "{cut:?}");
        left += 1;
    });
    let failures = pool
        .balancer
        .metrics()
        .sum("ringway_connect_failures_total", &[]);
    assert_eq!(failures, f64::from(left));
}

#[test]
fn twenty_bytes_at_which_servers_leave_five_hundred_times_cost_no_memory_in_the_end() {
    servers_leave_often(Kind::Full);
}

#[test]
fn twenty_bytes_of_a_resumed_handshake_at_which_servers_leave_cost_no_memory_in_the_end() {
    servers_leave_often(Kind::Resumed);
}

#[test]
fn twenty_bytes_of_one_with_a_certificate_at_which_servers_leave_cost_no_memory_in_the_end() {
    servers_leave_often(Kind::Mutual);
}
