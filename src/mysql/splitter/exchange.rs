//! One command from its decision to the end of its reply, with what has to happen before it.

use super::kill::Kill;
use super::prepared::{Binding, set_statement_id, with_types};
use super::server::{Connection, Duty, PerServer, Purpose};
use super::{Order, Phase, Splitter, Tracking, gtid, peer, server_of};
use crate::config::ReadAfterWrite;
use crate::limits::HELD_BYTES_KEPT;
use crate::mysql::capabilities::Capabilities;
use crate::mysql::command::{Command, Reply};
use crate::mysql::framer::Framer;
use crate::mysql::login::Peer;
use crate::mysql::packet::{HEADER_BYTES, write_command};
use crate::mysql::route::{self, Decision, Server, Target};
use crate::mysql::statement::{Hint, Kind, Statement};
use crate::telemetry::RouteReason;

/// `ER_PARSE_ERROR`
const PARSE_ERROR: u16 = 1064;

/// A command of the client's, as it was read.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ask {
    pub(super) command: Command,
    pub(super) reply: Reply,
    pub(super) statement: Statement,
    /// Whether it is a statement, to metrics and logs.
    pub(super) is_counted: bool,
    /// The prepared statement that it is about, by the client's id.
    pub(super) prepared: Option<u32>,
    /// What it prepares.
    pub(super) prepares: Option<Statement>,
    /// It may open a cursor.
    pub(super) opens_cursor: bool,
    /// It cannot run at the replica, whatever it is.
    pub(super) keeps_to_primary: bool,
    /// Where it goes, if that is not for the rules to say.
    pub(super) decision: Option<Decision>,
    /// What it is to end, if it is a `KILL` that says so.
    pub(super) kill: Option<Kill>,
    /// Whether it allows several statements in one: `COM_SET_OPTION`.
    pub(super) multi_statements: bool,
}

/// A command that is being dealt with.
#[derive(Debug)]
pub(super) struct Exchange {
    pub(super) ask: Ask,
    pub(super) decision: Decision,
    /// The number of the reply's first packet.
    pub(super) sequence: u8,
    is_long: bool,
    began_us: u64,
    step: Step,
    /// The replica has been asked whether it has the session's own writes.
    caught_up: bool,
    /// The reply has had a result, and not the last one.
    pub(super) several_results: bool,
    /// How the replies ended.
    pub(super) outcomes: PerServer<Option<Outcome>>,
    replayed: bool,
}

/// How far it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    /// Something has to be done first; the command is held.
    Preparing,
    /// It has been sent.
    Running,
}

/// How a server's reply ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// Well.
    Ok,
    /// With this error.
    Error(u16),
}

/// A statement that is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Finished {
    /// Where it went, and why.
    pub target: Target,
    /// See [`Finished::target`].
    pub reason: RouteReason,
    /// Who answered; `None`: ringway did.
    pub server: Option<Server>,
    /// From the command to the end of the reply, in microseconds.
    pub duration_us: u64,
    /// Whether the answer was an error.
    pub failed: bool,
}

impl Decision {
    /// To one server, whatever the rules say.
    pub(super) const fn to(server: Server, reason: RouteReason) -> Self {
        let target = match server {
            Server::Primary => Target::Primary,
            Server::Replica => Target::Replica,
        };
        Self {
            target,
            reason,
            answer: Some(server),
            ends_replica_transaction: false,
        }
    }

    /// To nobody.
    pub(super) const fn refused(reason: RouteReason) -> Self {
        Self {
            target: Target::Refused,
            reason,
            answer: None,
            ends_replica_transaction: false,
        }
    }
}

impl Exchange {
    pub(super) fn is_running(&self) -> bool {
        self.step == Step::Running
    }

    /// Whether it may run again: a proven read, outside transactions, of which the client has not
    /// heard yet.
    pub(super) fn may_run_again(&self) -> bool {
        self.ask.statement.kind == Kind::Read
            && self.ask.is_execution()
            && self.decision.reason != RouteReason::ReadOnlyTransaction
            && !self.ask.opens_cursor
            && !self.is_long
            && !self.replayed
    }
}

impl Splitter {
    /// Decides about a command and sets it going.
    pub(super) fn begin(
        &mut self,
        ask: Ask,
        sequence: u8,
        is_long: bool,
        packet: &mut [u8],
        now_us: u64,
        orders: &mut Vec<Order>,
    ) -> Option<Peer> {
        self.reconsider_replica(now_us);
        if let Some(lost) = self.transaction_lost() {
            if ask.reply != Reply::None {
                self.refuse_lost(lost, sequence, orders);
            }
            return None;
        }
        let decision = match ask.decision {
            Some(decision) => self.within_reach(decision),
            None => self.decide(&ask, now_us),
        };
        let refused = decision.target == Target::Refused;
        self.exchange = Some(Exchange {
            ask,
            decision,
            sequence,
            is_long,
            began_us: now_us,
            step: Step::Preparing,
            caught_up: false,
            several_results: false,
            outcomes: PerServer::default(),
            replayed: false,
        });
        if is_long {
            self.framer = Framer::default();
            self.follow(packet, None);
            self.phase = Phase::Streaming(None);
        }
        if refused {
            self.refuse(now_us, orders);
            return None;
        }
        if self.prepares_first(orders) {
            self.held.clear();
            self.held.extend_from_slice(packet);
            return None;
        }
        self.run(packet, now_us, orders)
    }

    fn decide(&self, ask: &Ask, now_us: u64) -> Decision {
        if !ask.is_counted && ask.statement.kind == Kind::Primary {
            return self.within_reach(Decision::to(Server::Primary, ask.statement.reason));
        }
        let decision = self.state.route(&ask.statement, self.own_writes(now_us));
        if decision.target == Target::Intercept {
            // The primary does it; what it means for the replica is seen to when it has.
            return self.within_reach(Decision::to(Server::Primary, decision.reason));
        }
        if ask.keeps_to_primary && decision.answer == Some(Server::Replica) {
            return match self.state.in_transaction() || !self.is_open(Server::Primary) {
                true => Decision::refused(RouteReason::PreparedText),
                false => Decision::to(Server::Primary, RouteReason::PreparedText),
            };
        }
        if ask.keeps_to_primary && decision.target == Target::Both {
            return self.within_reach(Decision::to(Server::Primary, decision.reason));
        }
        decision
    }

    /// A decision that was not made by the rules still has to do with what there is.
    fn within_reach(&self, decision: Decision) -> Decision {
        match (decision.target, self.is_open(Server::Primary)) {
            (Target::Primary, false) => Decision::refused(RouteReason::PrimaryLost),
            (Target::Both, false) => Decision::to(Server::Replica, decision.reason),
            _ => decision,
        }
    }

    /// Whether the command goes to the replica, alone or too. A `KILL` does what it does there over
    /// this session's connection, once the primary has done its part: one has to be there then.
    fn needs_replica(&self) -> bool {
        let Some(exchange) = &self.exchange else {
            return false;
        };
        if exchange.ask.kill.is_some() {
            return self.can_open_replica();
        }
        let decision = &exchange.decision;
        let target = server_of(decision.target, decision.answer);
        target == Some(Server::Replica)
            || (decision.target == Target::Both && self.is_open(Server::Replica))
    }

    /// Whether something has to be done before the command can run; it is set going then.
    fn prepares_first(&mut self, orders: &mut Vec<Order>) -> bool {
        let Some(exchange) = &self.exchange else {
            return false;
        };
        let (ends_transaction, prepared) = (
            exchange.decision.ends_replica_transaction,
            exchange.ask.prepared,
        );
        let executes = exchange.ask.command == Command::StmtExecute;
        if self.tracking == Tracking::Wanted && self.is_open(Server::Primary) {
            self.tracking = Tracking::Settled;
            let statement = gtid::tracking(self.state.dialect().product);
            self.ask_ourselves(Server::Primary, Purpose::Track, statement, orders);
            return true;
        }
        if ends_transaction && self.is_open(Server::Replica) {
            if let Some(exchange) = &mut self.exchange {
                exchange.decision.ends_replica_transaction = false;
            }
            self.ask_ourselves(Server::Replica, Purpose::EndTransaction, b"COMMIT", orders);
            return true;
        }
        if !self.needs_replica() {
            return false;
        }
        if self.replica.is_busy() {
            return true;
        }
        match self.replica.connection {
            Connection::Open => {}
            Connection::Opening => return true,
            Connection::Possible => {
                self.replica.connection = Connection::Opening;
                orders.push(Order::OpenReplica);
                return true;
            }
            Connection::Closed => return false,
        }
        if let Some(question) = self.catching_up() {
            self.gathered.clear();
            self.ask_ourselves(Server::Replica, Purpose::CatchUp, &question, orders);
            return true;
        }
        let id = prepared.filter(|_| executes);
        let unprepared = id.and_then(|id| self.prepared.get(id).map(|known| (id, known)));
        if let Some((id, known)) = unprepared
            && known.replica_id().is_none()
            && let Some(text) = known.text()
        {
            let text = text.to_vec();
            self.prepare_at_replica(id, &text, orders);
            return true;
        }
        false
    }

    /// What the replica has to be asked before it may read for a session that has written.
    fn catching_up(&self) -> Option<Vec<u8>> {
        let exchange = self.exchange.as_ref()?;
        let vouched = exchange.ask.statement.hint == Some(Hint::Replica);
        let within = self.state.in_transaction();
        let both = exchange.decision.target == Target::Both;
        let gtids = self.written.unseen()?;
        let asks = !exchange.caught_up && !vouched && !within && !both;
        asks.then(|| gtid::question(gtids, self.settings.gtid_wait))
    }

    /// Asks a server something of ringway's own.
    pub(super) fn ask_ourselves(
        &mut self,
        server: Server,
        purpose: Purpose,
        statement: &[u8],
        orders: &mut Vec<Order>,
    ) {
        let packet = self.query_packet(statement);
        self.expect(server, Duty::Own(purpose), Reply::Results, 1);
        orders.push(Order::Send(peer(server), packet));
    }

    /// A `COM_QUERY` with this text and no attributes.
    fn query_packet(&self, text: &[u8]) -> Vec<u8> {
        let attributes = self.established.capabilities;
        let attributes = attributes.contains(Capabilities::QUERY_ATTRIBUTES);
        let none: &[u8] = if attributes { b"\x00\x01" } else { b"" };
        let mut packet = Vec::new();
        write_command(&mut packet, Command::Query, &[none, text].concat());
        packet
    }

    fn prepare_at_replica(&mut self, id: u32, text: &[u8], orders: &mut Vec<Order>) {
        let mut packet = Vec::new();
        write_command(&mut packet, Command::StmtPrepare, text);
        let purpose = Purpose::Prepare(id);
        self.expect(Server::Replica, Duty::Own(purpose), Reply::Prepared, 1);
        orders.push(Order::Send(Peer::Replica, packet));
    }

    /// Sends an entry of the journal to a replica that is to catch up with the session.
    pub(super) fn replay(&mut self, index: usize, orders: &mut Vec<Order>) -> bool {
        let (Some(packet), Some(byte)) =
            (self.journal.get(index), self.journal.command_byte(index))
        else {
            return false;
        };
        let packet = packet.to_vec();
        let reply = Command::from_byte(byte).reply();
        self.expect(Server::Replica, Duty::Own(Purpose::Replay(index)), reply, 1);
        orders.push(Order::Send(Peer::Replica, packet));
        true
    }

    fn expect(&mut self, server: Server, duty: Duty, reply: Reply, sequence: u8) {
        let side = self.side_mut(server);
        debug_assert!(side.duty == Duty::Idle, "one reply at a time");
        side.tracker.start(reply, sequence);
        side.duty = if reply == Reply::None {
            Duty::Idle
        } else {
            duty
        };
    }

    /// What had to be done first is done: goes on with the command that was held.
    pub(super) fn resume(&mut self, now_us: u64, orders: &mut Vec<Order>) {
        let waits = self.exchange.as_ref().is_some_and(|e| !e.is_running());
        if !waits || self.prepares_first(orders) {
            return;
        }
        let target = self.exchange.as_ref().map(|exchange| exchange.decision);
        let server = target.and_then(|decision| server_of(decision.target, decision.answer));
        if server.is_some_and(|server| !self.is_open(server)) {
            if let Some(exchange) = &mut self.exchange {
                exchange.decision.reason = RouteReason::PrimaryLost;
            }
            return self.refuse(now_us, orders);
        }
        let mut packet = std::mem::take(&mut self.held);
        if let Some(to) = self.run(&mut packet, now_us, orders) {
            orders.push(Order::Send(to, packet));
        }
    }

    /// Sends the command on. Returns to whom its packet goes as it is.
    fn run(&mut self, packet: &mut [u8], now_us: u64, orders: &mut Vec<Order>) -> Option<Peer> {
        let exchange = self.exchange.as_mut()?;
        exchange.step = Step::Running;
        let (ask, decision, sequence) = (exchange.ask, exchange.decision, exchange.sequence);
        let repeats = exchange.may_run_again();
        self.record(&ask, &decision, packet);
        if decision.target == Target::Both {
            return self.run_at_both(ask, decision, sequence, packet, now_us, orders);
        }
        let server = server_of(decision.target, decision.answer)?;
        self.expect(server, Duty::Answer, ask.reply, sequence);
        if self.settings.local_infile {
            let files = ask.statement.files_offered;
            self.side_mut(server).tracker.offer_files(files);
        }
        if self.phase == Phase::Streaming(None) {
            self.phase = Phase::Streaming(Some(server));
        }
        self.held.clear();
        if server == Server::Replica && repeats {
            self.held.extend_from_slice(packet);
        }
        let to = match self.fit(server, &ask, packet) {
            Fitted::AsItIs => Some(peer(server)),
            Fitted::Other(packet) => {
                orders.push(Order::Send(peer(server), packet));
                None
            }
            Fitted::Impossible => {
                self.side_mut(server).abandon_reply();
                self.refuse_types(now_us, orders);
                return None;
            }
        };
        self.go_on_without_reply(now_us, orders);
        to
    }

    fn run_at_both(
        &mut self,
        ask: Ask,
        decision: Decision,
        sequence: u8,
        packet: &mut [u8],
        now_us: u64,
        orders: &mut Vec<Order>,
    ) -> Option<Peer> {
        let answers = decision.answer.unwrap_or(Server::Primary);
        self.held.clear();
        let has_replica = self.is_open(Server::Replica);
        for server in [Server::Primary, Server::Replica] {
            let duty = if server == answers {
                Duty::Answer
            } else {
                Duty::Agree
            };
            if server == Server::Primary || has_replica {
                self.expect(server, duty, ask.reply, sequence);
            }
        }
        if has_replica {
            let mut copy = packet.to_vec();
            match self.fit(Server::Replica, &ask, &mut copy) {
                Fitted::AsItIs => orders.push(Order::Send(Peer::Replica, copy)),
                Fitted::Other(other) => orders.push(Order::Send(Peer::Replica, other)),
                Fitted::Impossible => self.detach_replica(orders),
            }
        }
        let to = match self.fit(Server::Primary, &ask, packet) {
            Fitted::AsItIs => Some(Peer::Primary),
            Fitted::Other(packet) => {
                orders.push(Order::Send(Peer::Primary, packet));
                None
            }
            Fitted::Impossible => {
                self.primary.abandon_reply();
                self.refuse_types(now_us, orders);
                return None;
            }
        };
        self.go_on_without_reply(now_us, orders);
        to
    }

    /// A command that nobody answers is over when it is sent.
    fn go_on_without_reply(&mut self, now_us: u64, orders: &mut Vec<Order>) {
        let Some(exchange) = &self.exchange else {
            return;
        };
        if exchange.ask.reply == Reply::None {
            if exchange.ask.command == Command::StmtClose
                && let Some(id) = exchange.ask.prepared
            {
                self.prepared.remove(id);
            }
            self.complete(now_us, orders);
        }
    }

    /// Makes the packet of a prepared statement's execution what a server understands.
    fn fit(&mut self, server: Server, ask: &Ask, packet: &mut [u8]) -> Fitted {
        let known = ask
            .prepared
            .and_then(|id| Some((id, self.prepared.get_mut(id)?)));
        let Some((id, known)) = known else {
            return Fitted::AsItIs;
        };
        if server == Server::Replica
            && let Some(id) = known.replica_id()
        {
            set_statement_id(packet, id);
        }
        if ask.command != Command::StmtExecute {
            return Fitted::AsItIs;
        }
        if ask.opens_cursor {
            known.cursor = Some(server);
        }
        let payload = packet.get(HEADER_BYTES..).unwrap_or_default();
        match known.binding(payload, self.established.capabilities) {
            Ok(Binding::Given(count, types)) => {
                let types = payload.get(types).unwrap_or_default();
                self.prepared.bind(id, server, count, types);
                Fitted::AsItIs
            }
            Ok(Binding::Before(count, flag_at)) if !known.is_bound(server) => {
                let types = match known.types(count) {
                    Some(types) => types,
                    None if known.types_are_lost() => return Fitted::Impossible,
                    None => return Fitted::AsItIs,
                };
                let Some(packet) = with_types(packet, flag_at, types) else {
                    return Fitted::Impossible;
                };
                known.bound_at(server);
                Fitted::Other(packet)
            }
            // A packet that is not whole, or wrong, is the server's to judge.
            Ok(Binding::None | Binding::Before(..)) | Err(_) => Fitted::AsItIs,
        }
    }

    /// A server's part of the exchange is done.
    pub(super) fn settle(
        &mut self,
        server: Server,
        outcome: Outcome,
        changed_session: bool,
        now_us: u64,
        orders: &mut Vec<Order>,
    ) {
        let side = self.side_mut(server);
        side.duty = Duty::Idle;
        let status = side.status;
        let Some(exchange) = &mut self.exchange else {
            return;
        };
        let reply = route::Reply {
            status,
            failed: outcome != Outcome::Ok,
            several_results: exchange.several_results,
            changed_session,
        };
        *exchange.outcomes.of_mut(server) = Some(outcome);
        let (statement, decision) = (exchange.ask.statement, exchange.decision);
        match exchange.ask.prepares {
            // It has only been read.
            Some(_) => self.state.set_status(server, reply.status),
            None => self.state.after(&statement, &decision, server, reply),
        }
        if !self.primary.is_busy() && !self.replica.is_busy() {
            self.complete(now_us, orders);
        }
    }

    /// The exchange is over, for the client too.
    pub(super) fn complete(&mut self, now_us: u64, orders: &mut Vec<Order>) {
        let Some(exchange) = self.exchange.take() else {
            return;
        };
        self.held.clear();
        self.held.shrink_to(HELD_BYTES_KEPT);
        let decision = &exchange.decision;
        let answered = decision
            .answer
            .and_then(|server| *exchange.outcomes.of(server));
        let failed = answered != Some(Outcome::Ok);
        if decision.target == Target::Both {
            self.compare(&exchange, orders);
        }
        self.note_session_state(&exchange.ask, failed);
        if exchange.ask.command == Command::ResetConnection && !failed {
            self.reset();
        }
        if exchange.ask.command == Command::SetOption && !failed {
            self.state
                .set_multi_statements(exchange.ask.multi_statements);
        }
        if let Some(kill) = exchange.ask.kill
            && !failed
        {
            orders.push(Order::Kill(kill));
        }
        if exchange.ask.is_counted {
            orders.push(Order::Done(Finished {
                target: decision.target,
                reason: decision.reason,
                server: decision.answer,
                duration_us: now_us.saturating_sub(exchange.began_us),
                failed,
            }));
        }
    }

    /// Notes a command that changes the session's state, for replicas that come later.
    fn record(&mut self, ask: &Ask, decision: &Decision, packet: &[u8]) {
        let is_state = ask.statement.kind == Kind::SessionState;
        let is_shared = is_state && self.state.is_shared(&ask.statement, decision);
        if !is_shared || !self.established.can_get_replica() {
            return;
        }
        let command = match ask.command {
            Command::Query | Command::InitDb | Command::SetOption => Some(packet.to_vec()),
            Command::StmtExecute => self.as_query(ask.prepared),
            _ => return,
        };
        let schema = ask.statement.effects.choose_schema();
        self.journal.begin(command, schema);
    }

    /// The execution of a prepared statement as a query, where it says nothing but its text.
    fn as_query(&self, id: Option<u32>) -> Option<Vec<u8>> {
        let text = self.prepared.get(id?)?.without_parameters()?;
        Some(self.query_packet(text))
    }

    /// What a command has done to the session's state is done.
    fn note_session_state(&mut self, ask: &Ask, failed: bool) {
        self.journal.end(failed);
        if !self.journal.is_whole() && self.replica.connection == Connection::Possible {
            // None that is opened now could be brought to the state that the session is in.
            self.replica.connection = Connection::Closed;
            self.state.set_replica(false);
        }
        let is_state = ask.statement.kind == Kind::SessionState && ask.prepares.is_none();
        if is_state && !ask.statement.effects.keeps_meaning && !failed {
            self.meaning = self.meaning.next();
        }
    }

    /// Both servers have done the same thing to the session. One that has ended differently is in
    /// another state now.
    fn compare(&mut self, exchange: &Exchange, orders: &mut Vec<Order>) {
        let PerServer {
            primary: Some(primary),
            replica: Some(replica),
        } = exchange.outcomes
        else {
            return;
        };
        if primary != replica {
            self.counts.detached = self.counts.detached.saturating_add(1);
            self.detach_replica(orders);
        }
    }

    /// Notes that the session has written, by what its primary said about it.
    pub(super) fn note_written(&mut self, reported: Option<&[u8]>, is_cut: bool, now_us: u64) {
        let Some(exchange) = &self.exchange else {
            return;
        };
        let reads = writes_nothing(&exchange.ask.statement);
        match self.settings.read_after_write {
            ReadAfterWrite::Off => {}
            ReadAfterWrite::For(_) if reads || !exchange.ask.is_counted => {}
            ReadAfterWrite::For(_) => self.written.at(now_us),
            ReadAfterWrite::Gtid => self.note_gtids(reported, is_cut, reads),
        }
    }

    /// Notes that a statement has failed at the primary, perhaps after it had written something: a
    /// procedure has more than one statement, and not every table has transactions.
    pub(super) fn note_failed(&mut self, code: u16, now_us: u64) {
        let Some(exchange) = &self.exchange else {
            return;
        };
        let statement = &exchange.ask.statement;
        // A text that is no statement has done nothing, but one inside of what is called may have
        // another before it. `select $$` is what MySQL's command line says first of all.
        let was_read = code != PARSE_ERROR || statement.calls();
        let writes = exchange.ask.is_counted && was_read && !writes_nothing(statement);
        match self.settings.read_after_write {
            ReadAfterWrite::For(_) if writes => self.written.at(now_us),
            // An error names no transactions.
            ReadAfterWrite::Gtid if writes && may_have_parts(statement) => self.written.unnamed(),
            _ => {}
        }
    }

    fn note_gtids(&mut self, reported: Option<&[u8]>, is_cut: bool, reads: bool) {
        let spoilt = self.tracking == Tracking::Spoilt && !reads;
        match reported {
            Some(reported) => self.written.transactions(reported),
            None if spoilt || is_cut => self.written.unnamed(),
            None => {}
        }
    }

    /// The replica has said whether it has the session's own writes.
    pub(super) fn caught_up(&mut self, has_them: bool, now_us: u64, orders: &mut Vec<Order>) {
        if let Some(exchange) = &mut self.exchange {
            exchange.caught_up = true;
            if !has_them {
                exchange.decision = Decision::to(Server::Primary, RouteReason::ReadAfterWrite);
            }
        }
        if has_them {
            self.written.found(self.established.can_get_replica());
        } else {
            self.counts.gtid_timeouts = self.counts.gtid_timeouts.saturating_add(1);
        }
        self.resume(now_us, orders);
    }

    /// The command goes to the primary after all.
    pub(super) fn redirect(&mut self, now_us: u64, orders: &mut Vec<Order>) {
        let Some(exchange) = &mut self.exchange else {
            return;
        };
        if !matches!(exchange.decision.target, Target::Both | Target::Primary) {
            exchange.decision = Decision::to(Server::Primary, RouteReason::NoReplica);
        }
        if !self.is_open(Server::Primary) {
            return self.no_server_left(orders);
        }
        self.resume(now_us, orders);
    }

    /// A read whose replica was lost runs again, on the primary.
    pub(super) fn run_again(&mut self, now_us: u64, orders: &mut Vec<Order>) {
        self.counts.replayed = self.counts.replayed.saturating_add(1);
        if let Some(exchange) = &mut self.exchange {
            exchange.step = Step::Preparing;
            exchange.replayed = true;
        }
        self.redirect(now_us, orders);
    }

    /// Ends a statement of another session, at this session's replica.
    pub fn kill_at_replica(&mut self, thread_id: u32, orders: &mut Vec<Order>) {
        if self.is_open(Server::Replica) && !self.replica.is_busy() {
            let statement = format!("KILL QUERY {thread_id}");
            let statement = statement.as_bytes();
            self.ask_ourselves(Server::Replica, Purpose::KillQuery, statement, orders);
        }
    }
}

/// Whether a statement leaves nothing that a replica could lack.
const fn writes_nothing(statement: &Statement) -> bool {
    matches!(
        statement.kind,
        Kind::Read | Kind::ServerRead | Kind::Diagnostics | Kind::SessionState
    )
}

/// Whether a statement may hold several that write, each on its own.
const fn may_have_parts(statement: &Statement) -> bool {
    let is_empty = matches!(statement.reason, RouteReason::Empty);
    statement.calls() || (statement.is_unread() && !is_empty)
}

/// What `Splitter::fit` made of a packet.
enum Fitted {
    AsItIs,
    Other(Vec<u8>),
    Impossible,
}
