//! A MySQL session: three connections, and somebody who decides what goes where. Here the bytes are
//! moved; what they mean is known to [`Login`] and [`Splitter`] alone.
//!
//! What a peer has said waits in its inbound queue until somebody takes it. What is taken as it is
//! moves on in the buffer that it came in. A connection is read again when its queue is empty and
//! everything has been sent, so that no peer can make ringway hold more than one receive brings.

mod apply;
mod bulk;
mod converse;
mod count;
mod deadlines;
mod entry;
mod kill;
mod leave;
mod replica;
mod tls;

use std::collections::VecDeque;
use std::sync::Arc;

use zeroize::{Zeroize, Zeroizing};

use self::count::LoggedAs;
use self::replica::ReplicaTry;
use super::event_loop::Worker;
use super::kernel::{Fd, Kernel};
use super::route::LocalRoute;
use super::session::{CLIENT, Chunks, Leg, REPLICA, SERVER, Session, Stage};
use crate::balance::Health;
use crate::config::Role;
use crate::mysql::login::{ClientTls, Login, Peer};
use crate::mysql::packet::ErrPacket;
use crate::mysql::route::Server;
use crate::mysql::server_login::ServerLogin;
use crate::mysql::splitter::{Settings, Splitter};
use crate::telemetry::{Reason, RouteReason, Who};
use crate::tls::policy::ListenerMode;

/// What a MySQL session has beyond a relay.
pub(super) struct Conversation {
    /// The third connection.
    pub(super) replica: Leg,
    lines: [Line; 3],
    /// The login that is going on, or that servers have not heard the end of.
    login: Option<Box<Login>>,
    /// The session, once the client has logged in.
    splitter: Option<Box<Splitter>>,
    /// Whether commands are expected from the client, and not packets of a login.
    logged_in: bool,
    /// A login at a replica that is opened later.
    replica_login: Option<Box<ServerLogin>>,
    replica_try: ReplicaTry,
    /// The session becomes a relay of client and primary when everything has been sent.
    relays: bool,
    /// How it ends when everything has been sent.
    ending: Option<(Who, Reason)>,
    /// When the login, or such an end, has taken too long.
    deadline_ms: u64,
    /// When the primary was lost.
    primary_lost_ms: u64,
    /// Counted among those that have not logged in.
    is_unauthenticated: bool,
    /// The loop over what was said is running: it sees to everything.
    is_conversing: bool,
    /// What it is counted as kept on the primary by.
    pin: Option<RouteReason>,
    /// How the statement log names the client, once it has.
    logged_as: Option<LoggedAs>,
}

/// One connection's side of a conversation.
#[derive(Default)]
struct Line {
    /// What was received and nobody has taken yet.
    inbound: Chunks,
    /// Bytes of ringway's own, to be sent behind the outlet's chunks.
    own: VecDeque<Own>,
    /// The response of a login at a server, until there is TLS with it.
    held: Option<Zeroizing<Vec<u8>>>,
    leaving: Leaving,
}

/// Bytes that are not in a buffer of the pool.
struct Own {
    bytes: Vec<u8>,
    sent: usize,
    /// They are of a login, and may have a password in them: nothing is to be left of them.
    is_secret: bool,
}

impl Drop for Own {
    fn drop(&mut self) {
        if self.is_secret {
            self.bytes.zeroize();
        }
    }
}

/// Whether a connection is being closed while the session goes on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Leaving {
    #[default]
    No,
    /// When everything has been sent.
    WhenSent,
    /// When the last completion has come.
    Now,
}

/// Who takes what a connection brings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ear {
    Login,
    ReplicaLogin,
    Splitter,
    Nobody,
}

impl Conversation {
    fn new(login: Option<Box<Login>>, deadline_ms: u64) -> Self {
        Self {
            replica: Leg::new(Fd::NONE),
            lines: Default::default(),
            login,
            splitter: None,
            logged_in: false,
            replica_login: None,
            replica_try: ReplicaTry::default(),
            relays: false,
            ending: None,
            deadline_ms,
            primary_lost_ms: 0,
            is_unauthenticated: false,
            is_conversing: false,
            pin: None,
            logged_as: None,
        }
    }

    /// Whether the client has not logged in yet.
    pub(super) fn is_logging_in(&self) -> bool {
        self.splitter.is_none()
    }

    /// Whether a login is going on, at whichever server, or another one has begun to come: what is
    /// said may be a password.
    fn has_secrets(&self) -> bool {
        let splitter = self.splitter.as_ref();
        let gathers_login = splitter.is_some_and(|splitter| splitter.gathers_login());
        self.login.is_some() || self.replica_login.is_some() || gathers_login
    }

    /// Whether a connection is being closed, so that nothing it brings is wanted.
    pub(super) fn is_leaving(&self, leg: usize) -> bool {
        self.lines[leg].leaving == Leaving::Now
    }

    /// What a connection has brought and nobody has taken yet.
    pub(super) fn inbound(&mut self, leg: usize) -> &mut Chunks {
        &mut self.lines[leg].inbound
    }

    /// Whether what is sent to a server is a goodbye in plain text, because it does not offer TLS.
    fn lacks_tls(&self, leg: usize) -> bool {
        let lacks = |peer| {
            let login = self.login.as_ref();
            login.is_some_and(|login| login.lacks_tls(peer))
        };
        match (leg, &self.replica_login) {
            (REPLICA, Some(login)) => login.lacks_tls(),
            (REPLICA, None) => lacks(Peer::Replica),
            _ => lacks(Peer::Primary),
        }
    }

    /// Who takes what a connection brings now.
    fn ear(&self, leg: usize) -> Ear {
        let login_wants = |peer| self.login.as_ref().is_some_and(|login| login.wants(peer));
        let in_login = match leg {
            CLIENT => self.login.is_some() && !self.logged_in,
            SERVER => login_wants(Peer::Primary),
            _ if self.replica_login.is_some() => return Ear::ReplicaLogin,
            _ => login_wants(Peer::Replica),
        };
        match (in_login, &self.splitter) {
            (true, _) => Ear::Login,
            // What the connection before has still to say.
            (false, _) if leg == REPLICA && self.replica_try.signs => Ear::Nobody,
            (false, Some(_)) => Ear::Splitter,
            (false, None) => Ear::Nobody,
        }
    }

    /// Whether bytes of ringway's own wait for any connection.
    fn has_own(&self) -> bool {
        self.lines.iter().any(|line| !line.own.is_empty())
    }

    /// Whether bytes of ringway's own wait for this connection.
    fn has_own_for(&self, leg: usize) -> bool {
        !self.lines[leg].own.is_empty()
    }
}

impl<K: Kernel> Worker<K> {
    /// A client has connected to a mysql listener.
    pub(super) fn begin_conversation(&mut self, slot: u32) {
        let now_ms = self.now_ms();
        let mysql = Arc::clone(self.sessions[slot].route.mysql());
        let settings = &mysql.settings;
        if !settings
            .unauthenticated
            .enter(settings.max_unauthenticated_sessions)
        {
            return self.turn_away(slot);
        }
        let address = self.client_address(slot);
        let session = &mut self.sessions[slot];
        let login = Login::new(mysql.rules.clone(), &address, has_replica(&session.route));
        let login = login.with_client_tls(offered_tls(&session.route));
        let deadline_ms = now_ms + settings.login_timeout.as_millis() as u64;
        let mut conversation = Conversation::new(Some(Box::new(login)), deadline_ms);
        conversation.is_unauthenticated = true;
        session.mysql = Some(Box::new(conversation));
        self.try_next_server(slot);
    }

    /// How the client's address reads in a server's messages.
    fn client_address(&mut self, slot: u32) -> String {
        let peer = self.kernel.peer(self.sessions[slot].legs[CLIENT].socket);
        peer.map_or("localhost".to_owned(), |address| address.ip().to_string())
    }

    /// Too many are logging in: a server would say the same.
    fn turn_away(&mut self, slot: u32) {
        let now_ms = self.now_ms();
        let session = &mut self.sessions[slot];
        let linger_ms = session.route.timeouts.reset_linger_ms;
        let mut conversation = Conversation::new(None, now_ms + linger_ms);
        conversation.ending = Some((Who::Operator, Reason::TooManyLogins));
        session.mysql = Some(Box::new(conversation));
        session.stage = Stage::Relaying;
        let error = ErrPacket {
            code: 1040,
            sqlstate: *b"08004",
            message: b"Too many connections are logging in at the balancer",
        };
        let mut packet = Vec::new();
        error.write(&mut packet, 0);
        self.send_own(slot, CLIENT, packet);
        self.converse(slot);
    }

    /// The client has logged in, or the session is over: it is no longer counted as logging in.
    fn leave_unauthenticated(&mut self, slot: u32) {
        let session = &mut self.sessions[slot];
        let route = session.route.clone();
        let conversation = session.conversation_mut();
        if std::mem::take(&mut conversation.is_unauthenticated)
            && let Some(mysql) = &route.mysql
        {
            mysql.settings.unauthenticated.leave();
        }
    }

    /// The session's last completion has come: gives back what only a conversation holds.
    pub(super) fn end_conversation(&mut self, slot: u32) {
        if self.sessions[slot].mysql.is_none() {
            return;
        }
        self.leave_unauthenticated(slot);
        self.count_pin(slot, None);
        for leg in [CLIENT, SERVER, REPLICA] {
            self.drop_unread(slot, leg);
        }
        self.count_replica_closed(slot);
    }
}

impl Session {
    /// Whether what is said may be a password. Nothing is to be left of it in memory.
    #[inline]
    pub(super) fn has_secrets(&self) -> bool {
        let mysql = self.mysql.as_ref();
        mysql.is_some_and(|conversation| conversation.has_secrets())
    }

    /// Tells the splitter, before it hears the client, what has become of the session's servers.
    #[inline]
    fn tell_of_servers(&mut self) {
        let route = &self.route;
        let Some(conversation) = &mut self.mysql else {
            return;
        };
        let Some(splitter) = &mut conversation.splitter else {
            return;
        };
        let replica = conversation.replica.member;
        splitter.set_replica_lags(replica.is_some_and(|member| route.server(member).is_lagging()));
        let lost_ms = conversation.primary_lost_ms;
        if !splitter.is_open(Server::Primary) && has_primary(route, lost_ms) {
            splitter.primary_is_back();
        }
    }
}

/// Whether some primary of the pool has given a sign of life since one was lost.
#[cold]
fn has_primary(route: &LocalRoute, lost_ms: u64) -> bool {
    let mut members = route.pool.members().iter();
    members.any(|member| {
        let server = &member.server;
        let is_up = server.health() == Health::Up && server.alive_at_ms() > lost_ms;
        server.role() == Some(Role::Primary) && is_up
    })
}

/// Whether some replica of the pool could take a session.
fn has_replica(route: &LocalRoute) -> bool {
    let mut members = route.pool.members().iter();
    members.any(|member| {
        let server = &member.server;
        let is_up = server.health() == Health::Up;
        server.role() == Some(Role::Replica) && is_up && !server.is_lagging()
    })
}

/// What clients of a route are offered.
fn offered_tls(route: &LocalRoute) -> ClientTls {
    match route.tls.as_ref().map(|policy| &policy.mode) {
        Some(ListenerMode::Preferred(_)) => ClientTls::Offered,
        Some(ListenerMode::Required(_)) => ClientTls::Required,
        Some(ListenerMode::Terminate(_) | ListenerMode::Passthrough) | None => ClientTls::Off,
    }
}

/// What sessions of a route are held to, as the splitter wants to know it.
fn settings_of(route: &LocalRoute, text_bytes_max: usize) -> Settings {
    let settings = &route.mysql().settings;
    Settings {
        classify_bytes_max: settings.classify_bytes_max as usize,
        read_after_write: settings.read_after_write,
        gtid_wait: settings.gtid_wait,
        local_infile: settings.local_infile,
        calls_pin: settings.calls_pin,
        text_bytes_max,
    }
}

/// The leg that leads to a peer.
const fn leg_of(peer: Peer) -> usize {
    match peer {
        Peer::Client => CLIENT,
        Peer::Primary => SERVER,
        Peer::Replica => REPLICA,
    }
}

/// The server that a leg leads to.
const fn server_of(leg: usize) -> Server {
    match leg {
        REPLICA => Server::Replica,
        _ => Server::Primary,
    }
}

/// The leg that leads to a server.
const fn leg_of_server(server: Server) -> usize {
    match server {
        Server::Primary => SERVER,
        Server::Replica => REPLICA,
    }
}
