//! What happens around the worker: clients come, peers send, read, finish and reset.

use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use super::kernel::SimKernel;
use super::socket::Socket;
use super::tls::Dialect;
use crate::balance::{Algorithm, Member, Pool, Server};
use crate::config::{Address, PoolSettings};
use crate::entropy::Entropy;
use crate::telemetry::{
    ConnectError, Direction, HandshakeCounters, HandshakeFailure, Phase, Reason, SessionRecord, Who,
};
use crate::worker::event_loop::Worker;
use crate::worker::kernel::{Farewell, Fd, Kernel};
use crate::worker::{Command, Listener, ListeningSocket, Route, Shared, Snapshot};

const SESSIONS_MAX: u32 = 24;
/// So few that running out of them is common.
const BUFFERS: usize = 40;
/// So few that not even every session can hold one.
const SCARCE_BUFFERS: usize = 10;
/// So that a run of a few kilobytes of input ends.
const CLIENTS_MAX: u32 = 60;
/// For a session without progress, half-closed or not.
const PATIENCE: Duration = Duration::from_secs(20);
const TURNS_OF_LULL: usize = 40;
/// After the input: turns in which every session has to end.
const TURNS_TO_END: usize = 20_000;

/// Runs a worker through what `input` decides.
///
/// # Panics
/// When something that must hold does not.
pub fn drive(input: &[u8]) -> Outcome {
    World::new(Entropy::new(input), Dialect::plain(), BUFFERS).run()
}

/// The same with clients, servers or both of them speaking TLS.
///
/// # Panics
/// When something that must hold does not.
pub fn drive_tls(input: &[u8]) -> Outcome {
    let mut entropy = Entropy::new(input);
    let dialect = Dialect::draw(&mut entropy);
    let buffers = match entropy.once_in(3) {
        true => SCARCE_BUFFERS,
        false => BUFFERS,
    };
    World::new(entropy, dialect, buffers).run()
}

/// Completions that come after what they were for: the slot's next session must not notice, and a
/// descriptor or buffer they bring must not be lost.
#[cfg(test)]
pub(super) fn deliver_late_completions() {
    use crate::worker::kernel::Completion;
    use crate::worker::token::{Op, Token};

    let mut world = World::new(Entropy::new(&[]), Dialect::plain(), BUFFERS);
    let kernel = &mut world.worker.kernel;
    let (accepted, buffer) = (kernel.stray_socket(), kernel.stray_buffer());
    let late = |op, result, buffer| {
        let token = Token::new(op, 0, 4711, 0);
        Completion {
            token,
            result,
            more: false,
            buffer,
        }
    };
    world.worker.kernel.late = vec![
        late(Op::Accept, accepted.0, None),
        late(Op::Receive, 5, Some(buffer)),
        late(Op::Send, 100, None),
        late(Op::Connect, 0, None),
    ];
    world
        .worker
        .turn()
        .expect("a simulated ring does not break");
    assert!(
        world.worker.kernel.sockets[&accepted.0].closed.is_some(),
        "the descriptor leaks"
    );
    assert_eq!(
        world.shared.workers()[0].counters.stale_completions.get(),
        4
    );
    world.worker.kernel.assert_all_is_given_back();
}

struct World<'a> {
    worker: Worker<SimKernel<'a>>,
    shared: Arc<Shared>,
    listener: Arc<Listener>,
    servers: Vec<Arc<Server>>,
    clients: u32,
    /// Since when everybody does all he can.
    calm_since_us: Option<u64>,
    /// Handshakes with clients that the worker itself could not go on with.
    given_up: u64,
    outcome: Outcome,
}

/// What a run came to, so that a test can tell whether it has tried anything.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// Sessions by the index of their [`Reason`].
    pub ended: [u64; Reason::ALL.len()],
    /// Bytes that went through buffers.
    pub copied: u64,
    /// Bytes that went through pipes.
    pub spliced: u64,
    /// Handshakes with clients, with new keys and resumed ones.
    pub shaken: [u64; 2],
    /// Handshakes with clients that failed, by the index of their [`HandshakeFailure`].
    pub unshaken: [u64; HandshakeFailure::ALL.len()],
    /// Handshakes with servers, with new keys and resumed ones.
    pub shaken_by_servers: [u64; 2],
    /// Handshakes with servers that failed.
    pub refused: u64,
    /// Clients and servers that ended without a word.
    pub truncated: [u64; 2],
}

impl Outcome {
    /// Adds another run's.
    pub fn add(&mut self, other: &Self) {
        self.copied += other.copied;
        self.spliced += other.spliced;
        self.refused += other.refused;
        let add = |sums: &mut [u64], more: &[u64]| {
            sums.iter_mut().zip(more).for_each(|(sum, n)| *sum += n);
        };
        add(&mut self.ended, &other.ended);
        add(&mut self.shaken, &other.shaken);
        add(&mut self.unshaken, &other.unshaken);
        add(&mut self.shaken_by_servers, &other.shaken_by_servers);
        add(&mut self.truncated, &other.truncated);
    }

    fn count_tls(&mut self, listener: &Listener, servers: &[Arc<Server>]) {
        let tls = &listener.counters(0).tls;
        self.shaken = counts(&tls.handshakes);
        for (count, &why) in self.unshaken.iter_mut().zip(HandshakeFailure::ALL) {
            *count = tls.failures(why).get();
        }
        self.truncated = [0, 1].map(|leg| tls.truncated[leg].get());
        let refused = |server: &Arc<Server>| {
            let counters = server.counters(0);
            counters.connect_failures(ConnectError::Tls).get()
        };
        self.refused = servers.iter().map(refused).sum();
        for server in servers {
            let [full, resumed] = counts(&server.counters(0).tls_handshakes);
            self.shaken_by_servers[0] += full;
            self.shaken_by_servers[1] += resumed;
        }
    }
}

/// Handshakes with new keys and resumed ones.
fn counts(handshakes: &HandshakeCounters) -> [u64; 2] {
    [handshakes.full.get(), handshakes.resumed.get()]
}

impl<'a> World<'a> {
    fn new(mut entropy: Entropy<'a>, dialect: Dialect, buffers: usize) -> Self {
        let limit = if entropy.once_in(4) {
            1 + entropy.below(8) as u32
        } else {
            u32::MAX
        };
        let total = if entropy.once_in(4) {
            1 + entropy.below(12) as u32
        } else {
            SESSIONS_MAX
        };
        let servers: Vec<_> = (0..1 + entropy.below(3) as u16).map(server).collect();
        let listener = Arc::new(Listener::new("sim", limit, 1));
        let snapshot = Snapshot {
            generation: 1,
            listeners: vec![route(&listener, &servers, &dialect)],
            coalesce: true,
            access_log: true,
            statement_log: None,
        };
        let shared = Arc::new(Shared::new(snapshot, 1, total).expect("an eventfd"));
        let kernel = SimKernel::new(entropy, dialect, buffers);
        let worker = Worker::new(kernel, Arc::clone(&shared), 0, SESSIONS_MAX, Fd(0));
        Self {
            worker,
            shared,
            listener,
            servers,
            clients: 0,
            calm_since_us: None,
            given_up: 0,
            outcome: Outcome::default(),
        }
    }

    fn run(mut self) -> Outcome {
        while !self.worker.kernel.entropy.is_empty() {
            self.act();
            self.turn();
            if self.worker.kernel.entropy.once_in(60) {
                self.lull();
            }
        }
        self.end()
    }

    fn turn(&mut self) {
        self.worker.turn().expect("a simulated ring does not break");
        for (server, slot) in std::mem::take(&mut self.worker.kernel.connects) {
            let client = self.worker.client_of(slot, server);
            self.tie(client, server);
        }
        // Whoever is woken reads its eventfd; here the world does, for the simulated kernel.
        self.worker.kernel.woken |= self.shared.workers()[0].eventfd().read().is_ok();
        self.check_goodbyes();
        self.check_records();
    }

    /// A session has chosen a server: from now on each peer may get the other's bytes.
    fn tie(&mut self, client: Option<Fd>, server: Fd) {
        let Some(client) = client else { return };
        let sockets = &mut self.worker.kernel.sockets;
        let (client_peer, server_peer) = (sockets[&client.0].peer, sockets[&server.0].peer);
        sockets
            .get_mut(&server.0)
            .expect("just looked at")
            .counterpart = Some(client_peer);
        sockets
            .get_mut(&client.0)
            .expect("just looked at")
            .counterpart = Some(server_peer);
    }

    fn act(&mut self) {
        let kernel = &mut self.worker.kernel;
        for _ in 0..kernel.entropy.below(3) {
            if self.clients < CLIENTS_MAX {
                self.clients += 1;
                kernel.client();
            }
        }
        let open: Vec<i32> = kernel
            .sockets
            .iter()
            .filter(|(_, s)| s.closed.is_none())
            .map(|(&fd, _)| fd)
            .collect();
        for fd in open {
            let action = kernel.entropy.below(40);
            let amount = kernel.entropy.amount() as u64;
            let socket = kernel.sockets.get_mut(&fd).expect("listed above");
            peer_acts(socket, action, amount);
        }
        let kernel = &mut self.worker.kernel;
        let switch = kernel
            .entropy
            .once_in(if kernel.no_memory { 8 } else { 100 });
        kernel.no_memory ^= switch;
        if self.worker.kernel.entropy.once_in(200) {
            self.worker.kernel.woken = true;
        }
    }

    /// Nobody does anything for long enough that timeouts pass.
    fn lull(&mut self) {
        self.worker.kernel.steady = true;
        for _ in 0..TURNS_OF_LULL {
            self.turn();
        }
        self.worker.kernel.steady = false;
    }

    /// No more input: peers read everything and finish, nobody new comes, time passes.
    fn end(mut self) -> Outcome {
        self.worker.kernel.calm = true;
        self.calm_since_us = Some(self.worker.kernel.now_us());
        self.shared.command_all(&Command::Drain);
        for _ in 0..TURNS_TO_END {
            for socket in self.worker.kernel.sockets.values_mut() {
                socket.room_until = u64::MAX;
                socket.finish();
            }
            if self.worker.is_done() {
                break;
            }
            self.turn();
        }
        assert!(
            self.worker.is_done(),
            "sessions that never end: {}",
            self.worker.describe()
        );
        self.worker.kernel.assert_all_is_given_back();
        let counters = &self.shared.workers()[0].counters;
        self.outcome.copied = counters.copy_bytes.get();
        self.outcome.spliced = counters.splice_bytes.get();
        self.outcome.count_tls(&self.listener, &self.servers);
        self.check_conservation();
        self.outcome
    }

    /// Whatever a session says of itself when it ends must be true.
    fn check_records(&mut self) {
        while let Some(record) = self.shared.records.pop() {
            self.outcome.ended[record.reason.index()] += 1;
            let ours = matches!(record.reason, Reason::OutOfMemory | Reason::Internal);
            self.given_up += u64::from(ours && record.phase == Phase::Handshake);
            for direction in [Direction::In, Direction::Out] {
                let i = direction.index();
                assert!(record.bytes_sent[i] <= record.bytes_received[i]);
            }
            let Some((client, server)) = self.pair(&record) else {
                continue;
            };
            // One that reads nothing for that long is not waited for.
            let patient = record.duration_us / 1000 + 1 < PATIENCE.as_millis() as u64;
            let timed_out = matches!(
                record.reason,
                Reason::IdleTimeout | Reason::HalfCloseTimeout
            );
            if timed_out && self.has_been_calm() {
                self.assert_not_forgotten(client, server);
            }
            match (record.reason, record.who) {
                (Reason::Finished, _) => {
                    assert_whole(client, server);
                    assert_whole(server, client);
                }
                (Reason::Reset | Reason::TlsBroken, Who::Client) => {
                    assert_reset_passed_on(client, server, patient);
                }
                (Reason::Reset | Reason::TlsBroken, Who::Server) => {
                    assert_reset_passed_on(server, client, patient);
                }
                _ => {}
            }
        }
    }

    /// Whether everybody has done all he can for so long that nothing is on its way any more.
    fn has_been_calm(&self) -> bool {
        let calm_since_us = self.calm_since_us.unwrap_or(u64::MAX);
        self.worker.kernel.now_us() > calm_since_us.saturating_add(1_000_000)
    }

    /// A session whose peers have said all they have, and take all there is, does not time out.
    fn assert_not_forgotten(&self, client: &Socket, server: &Socket) {
        let direct = self.worker.kernel.dialect.is_passed_through();
        let excused = direct || client.is_deaf() || server.is_deaf();
        assert!(excused, "it was forgotten: {client:?} {server:?}");
    }

    /// A peer that was told that nothing more comes has got all that its counterpart has said, and
    /// that one has said so itself. Nobody is given what he cannot decrypt, but by a counterpart that
    /// he speaks TLS with himself.
    fn check_goodbyes(&mut self) {
        let sockets = &mut self.worker.kernel.sockets;
        let has_news = |socket: &mut Socket| socket.tls.as_mut().is_some_and(|tls| tls.take_news());
        let told: Vec<i32> = sockets
            .iter_mut()
            .filter_map(|(&fd, socket)| has_news(socket).then_some(fd))
            .collect();
        for fd in told {
            let socket = &sockets[&fd];
            let other = sockets
                .values()
                .find(|other| Some(other.peer) == socket.counterpart)
                .expect("nobody is told anything without a session");
            if socket.is_deaf() {
                let direct = self.worker.kernel.dialect.is_passed_through();
                assert!(
                    direct && other.is_deaf(),
                    "it was given nonsense: {socket:?}"
                );
            } else {
                let whole = other.has_ended_cleanly() && other.said == socket.heard;
                assert!(whole, "not all of it, and a goodbye: {other:?} {socket:?}");
            }
        }
    }

    /// The sockets of a session that reached a server.
    fn pair(&self, record: &SessionRecord) -> Option<(&Socket, &Socket)> {
        record.connect_us?;
        let peer = u32::from(record.client?.port());
        let sockets = || self.worker.kernel.sockets.values();
        let client = sockets().find(|socket| socket.peer == peer)?;
        let server = sockets().find(|socket| Some(socket.peer) == client.counterpart)?;
        Some((client, server))
    }

    fn check_conservation(&self) {
        let counters = self.listener.counters(0);
        assert_eq!(counters.opened.get(), counters.closed_total());
        for bytes in &counters.bytes {
            let discarded = |&reason: &Reason| bytes.discarded(reason).get();
            let discarded: u64 = Reason::ALL.iter().map(discarded).sum();
            let accounted = bytes.sent.get() + discarded;
            assert_eq!(bytes.received.get(), accounted, "bytes have vanished");
        }
        assert_eq!(self.listener.gate.taken(), 0);
        assert_eq!(self.shared.total.taken(), 0);
        assert_eq!(
            self.worker.coalescing.awaiting(),
            0,
            "nobody waits any more"
        );
        assert_eq!(
            self.worker.handshakes.running, 0,
            "a handshake that never ended"
        );
        if self.worker.kernel.dialect.is_terminated() {
            let Outcome {
                shaken, unshaken, ..
            } = &self.outcome;
            let told: u64 = shaken.iter().chain(unshaken).sum();
            assert_eq!(
                counters.opened.get(),
                told + self.given_up,
                "handshakes are not counted"
            );
        }
        for server in &self.servers {
            assert_eq!(server.sessions(), 0, "a place was not given back");
            let counters = server.counters(0);
            assert_eq!(counters.opened.get(), counters.closed.get());
            let shaken: u64 = counts(&counters.tls_handshakes).iter().sum();
            let expected = match self.worker.kernel.dialect.reaches_servers() {
                true => counters.opened.get(),
                false => 0,
            };
            assert_eq!(shaken, expected, "handshakes with a server are not counted");
        }
        assert_eq!(self.shared.workers()[0].counters.stale_completions.get(), 0);
    }
}

/// All that one peer said before its FIN has reached the other, and the FIN after it.
fn assert_whole(from: &Socket, to: &Socket) {
    if to.is_deaf() {
        return;
    }
    assert_eq!(from.said, to.heard, "bytes before a FIN are missing");
    assert!(
        to.we_finished || to.closed == Some(Farewell::Fin),
        "a FIN is missing"
    );
    if let Some(tls) = &to.tls {
        let told = tls.has_heard_goodbye();
        assert_eq!(told, from.has_ended_cleanly(), "a goodbye: {from:?} {to:?}");
    }
}

/// All that one peer said before its reset has reached the other, and a reset after it.
fn assert_reset_passed_on(from: &Socket, to: &Socket, patient: bool) {
    if to.peer_reset || to.is_deaf() || to.short_of_memory || from.short_of_memory {
        return;
    }
    let whole = from.said == to.heard;
    assert!(
        whole || !patient,
        "bytes before a reset are missing: {from:?} {to:?}"
    );
    let reset = to.closed == Some(Farewell::Reset);
    assert!(reset, "a reset was not passed on: {from:?} {to:?}");
    let looked_like_an_end = to.we_finished && !from.has_ended();
    assert!(!looked_like_an_end, "FIN instead: {from:?} {to:?}");
}

fn peer_acts(socket: &mut Socket, action: usize, amount: u64) {
    match action {
        0..10 => socket.say(amount),
        10..20 => socket.room_until = socket.room_until.saturating_add(amount),
        20..22 => socket.finish(),
        22 => socket.reset(),
        23 => socket.cut_off(amount as usize),
        24 => socket.misbehave(amount as usize),
        25 => socket.say_goodbye(),
        26..29 => socket.cut_records(amount as usize),
        _ => {}
    }
}

fn server(n: u16) -> Arc<Server> {
    let address = Address::Tcp(([10, 1, 0, 1], 80 + n).into());
    Arc::new(Server::new("sim", &format!("server-{n}"), address, 1))
}

fn route(listener: &Arc<Listener>, servers: &[Arc<Server>], dialect: &Dialect) -> Arc<Route> {
    let second = Duration::from_secs(1);
    let settings = PoolSettings {
        algorithm: Algorithm::RoundRobin,
        connect_timeout: second,
        connect_deadline: 3 * second,
        retries: 3,
        idle_timeout: PATIENCE,
        half_close_timeout: PATIENCE,
        max_fails: 2,
        fail_timeout: 5 * second,
        removed_server_timeout: None,
        reset_linger: second,
        tcp_user_timeout: 30 * second,
        keepalive_idle: 60 * second,
        keepalive_interval: 10 * second,
        keepalive_probes: 3,
    };
    let member = |server: &Arc<Server>| Member {
        server: Arc::clone(server),
        weight: 1,
        max_connections: None,
        backup: false,
    };
    let members = servers.iter().map(member).collect();
    // A descriptor that is never used: the simulated kernel only looks at its number.
    let placeholder: OwnedFd = std::fs::File::open("/dev/null")
        .expect("/dev/null opens")
        .into();
    let socket = ListeningSocket {
        address: Address::Tcp(([10, 0, 0, 1], 80).into()),
        descriptors: vec![placeholder],
    };
    Arc::new(Route {
        listener: Arc::clone(listener),
        generation: 1,
        pool: Arc::new(Pool::new("sim", settings, members, Default::default())),
        sockets: vec![Arc::new(socket)],
        mysql: None,
        tls: dialect.route(servers.len(), 2 * second),
    })
}
