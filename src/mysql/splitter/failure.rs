//! What happens when a server is lost, and what a client is told that cannot be served.

use super::exchange::Outcome;
use super::server::{Connection, Duty, Purpose};
use super::{Order, Phase, Splitter};
use crate::limits::REPLICA_RETRY_US;
use crate::mysql::handshake::Greeting;
use crate::mysql::login::Peer;
use crate::mysql::packet::{ErrPacket, Status};
use crate::mysql::reply::Violation;
use crate::mysql::route::{Server, Target};
use crate::telemetry::RouteReason;

/// How a session ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// The client has said goodbye.
    Quit,
    /// The session was ended by `KILL`.
    Killed,
    /// A server that it cannot go on without is gone.
    ServerLost(Server),
    /// A server did not keep to the protocol.
    Violation(Server, Violation),
}

/// An error of ringway's own: number, class, sentence.
type Words = (u16, &'static [u8; 5], &'static str);

/// The client library's own `CR_SERVER_LOST`, with the class of lost connections: what connection
/// pools know as a reason to connect anew.
const LOST: Words = (
    2013,
    b"08S01",
    "The balancer has lost the connection to the server during the query",
);
const TRANSACTION_LOST: Words = (
    2013,
    b"08S01",
    "The balancer has lost the connection to the server, and the open transaction with it",
);
const PRIMARY_BACK: Words = (
    2013,
    b"08S01",
    "The connection to the primary was lost; the primary is back, connect again",
);
/// `ER_OPTION_PREVENTS_STATEMENT`, what a server says that runs with `--read-only`.
const READ_ONLY: Words = (
    1290,
    b"HY000",
    "The primary is away, and the session can only read (--read-only)",
);
const TRANSACTION_READS: Words = (
    1290,
    b"HY000",
    "The transaction has begun on a replica, and can only read (--read-only)",
);
/// `ER_NOT_ALLOWED_COMMAND`
const NO_LOCAL_FILES: Words = (
    1148,
    b"42000",
    "LOAD DATA LOCAL is not allowed by the balancer (local_infile)",
);
/// `ER_NEED_REPREPARE`
const REPREPARE: Words = (
    1615,
    b"HY000",
    "The statement has to be prepared again: it cannot run on the server that this transaction is on",
);

impl Splitter {
    /// A server's connection is gone.
    pub fn lost(&mut self, server: Server, now_us: u64, orders: &mut Vec<Order>) {
        let in_transaction = self.state.in_transaction_at(server);
        let side = self.side_mut(server);
        let was_open = side.connection == Connection::Open;
        let duty = std::mem::replace(&mut side.duty, Duty::Idle);
        side.connection = Connection::Closed;
        if !was_open || self.phase == Phase::Closed {
            return;
        }
        let binds = match server {
            Server::Primary => in_transaction || self.state.pin().is_some(),
            Server::Replica => in_transaction,
        };
        match server {
            Server::Primary => self.state.lose_primary(),
            Server::Replica => {
                self.forget_replica(now_us);
            }
        }
        if binds && duty != Duty::Own(Purpose::EndTransaction) {
            self.lost_with = Some(server);
        }
        match duty {
            Duty::Idle => self.lost_idle(server, orders),
            Duty::Answer => self.lost_answering(server, binds, now_us, orders),
            Duty::Agree => self.settle_without(now_us, orders),
            Duty::Own(_) if server == Server::Primary => self.resume(now_us, orders),
            Duty::Own(_) => self.redirect(now_us, orders),
        }
    }

    /// The client says nothing more. If it has only finished sending, it still gets what it waits
    /// for; but a server that waits for the rest of a command or of a file waits for nothing.
    pub fn client_finished(&mut self, orders: &mut Vec<Order>) {
        let is_answered = self.exchange.is_some() && self.phase == Phase::Commands;
        if !is_answered && self.phase != Phase::Closed {
            self.phase = Phase::Closed;
            orders.push(Order::End(Ending::Quit));
        }
    }

    /// A replica has logged the session in.
    pub fn replica_attached(
        &mut self,
        greeting: &Greeting,
        status: Status,
        now_us: u64,
        orders: &mut Vec<Order>,
    ) {
        self.replica.connection = Connection::Open;
        self.replica.status = status;
        self.state.set_status(Server::Replica, status);
        self.established.replica = Some(greeting.clone());
        self.written.replica_replaced();
        if !self.replay(0, orders) {
            self.resume(now_us, orders);
        }
    }

    /// No replica could log the session in.
    pub fn replica_unavailable(&mut self, now_us: u64, orders: &mut Vec<Order>) {
        if self.replica.connection != Connection::Opening {
            return;
        }
        self.replica.connection = Connection::Closed;
        self.forget_replica(now_us);
        self.redirect(now_us, orders);
    }

    /// The replica's connection is closed: what it has done is not what the primary has done.
    pub(super) fn detach_replica(&mut self, orders: &mut Vec<Order>) {
        self.replica.connection = Connection::Closed;
        self.replica.duty = Duty::Idle;
        self.replica.abandon_reply();
        self.state.set_replica(false);
        self.prepared.forget_replica();
        orders.push(Order::Close(Server::Replica));
    }

    fn forget_replica(&mut self, now_us: u64) {
        self.state.set_replica(false);
        self.prepared.forget_replica();
        self.replica_retry_us = now_us.saturating_add(REPLICA_RETRY_US);
    }

    /// Another replica may be tried, where ringway can sign for the client.
    pub(super) fn reconsider_replica(&mut self, now_us: u64) {
        let possible = self.established.can_get_replica()
            && self.replica.connection == Connection::Closed
            && self.journal.is_whole()
            && self.is_open(Server::Primary);
        if possible && now_us >= self.replica_retry_us {
            self.replica.connection = Connection::Possible;
            self.replica.abandon_reply();
            self.state.set_replica(true);
        }
    }

    /// A server was lost while it had nothing to answer. It may have refused what the client is
    /// still saying: the rest of a statement goes to nobody then, but a file has no other end.
    fn lost_idle(&mut self, server: Server, orders: &mut Vec<Order>) {
        if self.phase == Phase::Streaming(Some(server)) {
            self.phase = Phase::Streaming(None);
        }
        let other_open = self.is_open(super::other(server)) || self.can_open_replica();
        let is_over = !other_open && self.exchange.is_none();
        if is_over || self.phase == Phase::File(server) {
            self.phase = Phase::Closed;
            orders.push(Order::End(Ending::ServerLost(server)));
        }
    }

    pub(super) fn can_open_replica(&self) -> bool {
        matches!(
            self.replica.connection,
            Connection::Possible | Connection::Opening
        )
    }

    /// A server was lost that the client waits for.
    fn lost_answering(
        &mut self,
        server: Server,
        binds: bool,
        now_us: u64,
        orders: &mut Vec<Order>,
    ) {
        let begun = self.side(server).tracker.has_begun();
        let again = self.exchange.as_ref().is_some_and(|e| e.may_run_again());
        let repeats = server == Server::Replica && !binds && !begun && again;
        if repeats && self.is_open(Server::Primary) && !self.held.is_empty() {
            self.side_mut(server).abandon_reply();
            return self.run_again(now_us, orders);
        }
        let sequence = match begun {
            true => self.side(server).tracker.error_sequence(),
            false => self.exchange.as_ref().map(|exchange| exchange.sequence),
        };
        let file = matches!(self.phase, Phase::File(_));
        let goes_on = !binds && !file && self.is_open(super::other(server));
        self.side_mut(server).abandon_reply();
        self.unsettled.clear();
        let Some(sequence) = sequence else {
            self.phase = Phase::Closed;
            return orders.push(Order::End(Ending::ServerLost(server)));
        };
        let words = if binds { TRANSACTION_LOST } else { LOST };
        self.tell(words, sequence, orders);
        self.lost_with = None;
        if let Some(exchange) = &mut self.exchange {
            *exchange.outcomes.of_mut(server) = Some(Outcome::Error(words.0));
        }
        self.settle_without(now_us, orders);
        if !goes_on {
            self.phase = Phase::Closed;
            orders.push(Order::End(Ending::ServerLost(server)));
        } else if matches!(self.phase, Phase::Streaming(_)) {
            self.phase = Phase::Streaming(None);
        }
    }

    /// The exchange goes on without a server, or is over.
    fn settle_without(&mut self, now_us: u64, orders: &mut Vec<Order>) {
        if !self.primary.is_busy() && !self.replica.is_busy() {
            self.complete(now_us, orders);
        }
    }

    /// No server is left for the command that waits.
    pub(super) fn no_server_left(&mut self, orders: &mut Vec<Order>) {
        if let Some(exchange) = self.exchange.take() {
            self.tell(LOST, exchange.sequence, orders);
        }
        self.phase = Phase::Closed;
        orders.push(Order::End(Ending::ServerLost(Server::Primary)));
    }

    /// The server with which something was lost that the client counts on.
    pub(super) const fn transaction_lost(&self) -> Option<Server> {
        self.lost_with
    }

    /// The first command after such a loss is told, and the session ends.
    pub(super) fn refuse_lost(&mut self, server: Server, sequence: u8, orders: &mut Vec<Order>) {
        self.tell(TRANSACTION_LOST, sequence, orders);
        self.phase = Phase::Closed;
        orders.push(Order::End(Ending::ServerLost(server)));
    }

    /// The command goes to nobody: the client is told why.
    pub(super) fn refuse(&mut self, now_us: u64, orders: &mut Vec<Order>) {
        let Some(exchange) = &mut self.exchange else {
            return;
        };
        exchange.decision.target = Target::Refused;
        exchange.decision.answer = None;
        let (reason, sequence) = (exchange.decision.reason, exchange.sequence);
        let is_answered = exchange.ask.reply != crate::mysql::command::Reply::None;
        let words = match reason {
            RouteReason::LocalInfile => NO_LOCAL_FILES,
            RouteReason::PreparedText => REPREPARE,
            RouteReason::ReadOnlyTransaction => TRANSACTION_READS,
            _ if self.primary_is_back => PRIMARY_BACK,
            _ => READ_ONLY,
        };
        if is_answered {
            self.tell(words, sequence, orders);
        }
        self.complete(now_us, orders);
        if words == PRIMARY_BACK {
            self.phase = Phase::Closed;
            orders.push(Order::End(Ending::ServerLost(Server::Primary)));
        }
    }

    /// An execution whose types cannot be told to its server.
    pub(super) fn refuse_types(&mut self, now_us: u64, orders: &mut Vec<Order>) {
        if let Some(exchange) = &mut self.exchange {
            exchange.decision.reason = RouteReason::PreparedText;
        }
        self.refuse(now_us, orders);
    }

    fn tell(&self, words: Words, sequence: u8, orders: &mut Vec<Order>) {
        let (code, sqlstate, message) = words;
        let error = ErrPacket {
            code,
            sqlstate: *sqlstate,
            message: message.as_bytes(),
        };
        let mut packet = Vec::new();
        error.write(&mut packet, sequence);
        orders.push(Order::Send(Peer::Client, packet));
    }
}
