//! Thousands of clients that write one byte at a time: what is kept for them stays in proportion to
//! what they have said, and is used again when they are gone.

mod support;

use std::net::SocketAddr;
use std::sync::Arc;
use std::thread;

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use rustls::ClientConfig;
use support::{
    Authority, Balancer, Config, Identity, Peer, SITE, Server, TlsPeer, server_config, tls12, tls13,
};

/// Where there are descriptors for so many.
const CLIENTS_MAX: u64 = 4000;

/// Bytes at the end of each flight of the client's handshake that are segments of their own.
const SINGLE_BYTES: usize = 40;

/// Records of one byte each that a client sends while no server reads.
const RECORDS: usize = 20;

/// What a session may take at most: 5 KiB each for TLS with the client and with the server, their
/// keys and messages included, and two pages of buffers, one for what the client has said and one
/// for what the server is to be told. A buffer for each segment or record would be at least a page
/// for each.
const SESSION_KIB_MAX: u64 = 2 * 5 + 2 * 4;

const _: () = assert!(SESSION_KIB_MAX < 4 * RECORDS as u64 / 2);

#[test]
fn memory_for_clients_that_write_byte_by_byte_stays_in_proportion() {
    let clients = clients();
    let authority = Authority::new();
    let identity = authority.issue(&[SITE]);
    let server = Server::listen();
    let config = Config::to([server.address()])
        .pool("connect_timeout = \"60s\"")
        .pool("connect_deadline = \"60s\"")
        .verify(&authority, SITE)
        .terminate(&identity)
        .listener_tls(&format!("handshakes_max = {clients}"))
        .listener_tls("handshake_timeout = \"60s\"");
    let balancer = Balancer::start(&config);
    let process = balancer.process();
    let before_kib = process.resident_kib();

    let waiting = say_byte_by_byte(balancer.address(), &authority, clients);
    balancer.wait_active(clients as u32);
    // Whatever it was at any time.
    let peak_kib = process.resident_peak_kib();
    let grown_kib = peak_kib - before_kib;
    assert!(
        grown_kib < clients as u64 * SESSION_KIB_MAX,
        "{grown_kib} KiB for {clients} sessions"
    );
    serve(&balancer, &server, &identity, waiting);
    balancer.wait_active(0);

    let peak_kib = process.resident_peak_kib();
    let waiting = say_byte_by_byte(balancer.address(), &authority, clients / 8);
    balancer.wait_active(clients as u32 / 8);
    serve(&balancer, &server, &identity, waiting);
    balancer.wait_active(0);
    let more_kib = process.resident_peak_kib() - peak_kib;
    let spare_kib = 1024;
    assert!(
        more_kib < spare_kib,
        "{more_kib} KiB more for those who came later"
    );
}

/// So many clients as can be: each has two descriptors here and two in the balancer.
fn clients() -> usize {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard).unwrap();
    let for_everything_else = 600;
    (hard.saturating_sub(for_everything_else) / 2).min(CLIENTS_MAX) as usize
}

/// Has half of so many clients speak each version. They are through with their handshakes in the
/// end, have asked their question, and no server has answered.
fn say_byte_by_byte(address: SocketAddr, authority: &Authority, clients: usize) -> Vec<TlsPeer> {
    let connect = |version: Arc<ClientConfig>| {
        let peer = || TlsPeer::client(Peer::connect(address), &version, SITE);
        let mut peers: Vec<_> = (0..clients / 2).map(|_| peer()).collect();
        let hellos = peers.iter_mut().map(TlsPeer::take_flight).collect();
        send_byte_by_byte(&peers, hellos);
        let answers = peers.iter_mut().map(TlsPeer::answer).collect();
        send_byte_by_byte(&peers, answers);
        for peer in &mut peers {
            peer.shake_hands();
        }
        for byte in question() {
            for peer in &mut peers {
                peer.send([byte]);
            }
        }
        peers
    };
    thread::scope(|scope| {
        let versions = [tls12(authority), tls13(authority)];
        let both = versions.map(|version| scope.spawn(|| connect(version)));
        both.into_iter()
            .flat_map(|peers| peers.join().unwrap())
            .collect()
    })
}

/// A byte of each, then the next one of each.
fn send_byte_by_byte(peers: &[TlsPeer], flights: Vec<Vec<u8>>) {
    let mut rests = Vec::new();
    for (peer, flight) in peers.iter().zip(&flights) {
        let (first, rest) = flight.split_at(flight.len().saturating_sub(SINGLE_BYTES));
        peer.peer().send(first);
        rests.push(rest);
    }
    for at in 0..SINGLE_BYTES {
        for (peer, rest) in peers.iter().zip(&rests) {
            peer.peer().send(&rest[at..=at]);
        }
    }
}

fn question() -> [u8; RECORDS] {
    std::array::from_fn(|at| at as u8)
}

/// Has the server answer everybody who waits, except every fifth, who leaves.
fn serve(balancer: &Balancer, server: &Server, identity: &Identity, waiting: Vec<TlsPeer>) {
    let server_side = server_config(identity);
    let answer = |peer: Peer| {
        let mut peer = TlsPeer::server(peer, &server_side);
        if peer.try_shake_hands().is_ok() {
            peer.expect(question());
            peer.send(question());
            peer.finish();
        }
    };
    let clients = waiting.len();
    let (mut leaving, mut staying) = (Vec::new(), Vec::new());
    for (index, client) in waiting.into_iter().enumerate() {
        match index % 5 {
            0 => leaving.push(client),
            _ => staying.push(client),
        }
    }
    for client in leaving {
        client.into_peer().reset();
    }
    balancer.wait_active(staying.len() as u32);
    thread::scope(|scope| {
        let answering = [(); 2].map(|()| {
            scope.spawn(|| {
                for _ in 0..clients / 2 {
                    answer(server.accept());
                }
            })
        });
        for mut client in staying {
            client.expect(question());
            client.finish();
        }
        for server in answering {
            server.join().unwrap();
        }
    });
}
