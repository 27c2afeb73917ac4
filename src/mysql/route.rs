//! Where a statement goes: from what it is, and from what the session has done. Nothing here looks
//! at text; transactions are known from the status flags of replies.

use super::lexer::{Dialect, Product};
use super::packet::Status;
use super::statement::{
    Access, Effects, Hint, Kind, Pins, Statement, TableName, UnderReadOnly, shows_server_state,
};
use crate::telemetry::RouteReason;

pub use crate::telemetry::Target;

/// One of the two servers that a session is connected to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Server {
    /// The one that takes writes.
    Primary,
    /// One that follows it.
    Replica,
}

/// Where a statement goes, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decision {
    /// Where.
    pub target: Target,
    /// Why.
    pub reason: RouteReason,
    /// Whose answer the client gets; `None` where no server answers.
    pub answer: Option<Server>,
    /// The read-only transaction that is open on the replica has to be ended there, by a `COMMIT`
    /// of ringway's, before the statement runs: it would have ended it on a single server.
    pub ends_replica_transaction: bool,
}

/// The end of a server's reply to a statement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reply {
    /// Its last status flags. An ERR packet has none: then those of the reply before.
    pub status: Status,
    /// It is an ERR packet.
    pub failed: bool,
    /// It had a result before the last one.
    pub several_results: bool,
    /// Its session track data tell of a system variable or of the schema. The flag alone
    /// ([`Status::SESSION_STATE_CHANGED`]) is set for every GTID, too.
    pub changed_session: bool,
}

/// Whether the replica has what the session wrote, as `read_after_write` wants to know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OwnWrites {
    /// There are none that it could lack, or nobody asks.
    Visible,
    /// It may lack some.
    Unseen,
}

/// What the route of a session's statements depends on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct State {
    primary: Status,
    replica: Status,
    has_primary: bool,
    has_replica: bool,
    replica_lags: bool,
    allows_local_infile: bool,
    pins_calls: bool,
    pins: Pins,
    temporary_tables: [Option<TableName>; TEMPORARY_TABLES],
    named_locks: u8,
    dirty_user_variables: bool,
    serializable: bool,
    session_read_only: bool,
    shaped_transaction: bool,
    shows_server_state: bool,
    ansi_quotes: bool,
    trail_bytes: bool,
    multi_statements: bool,
    product: Product,
    last: Server,
}

/// Temporary tables of a session that are known by name. With more of them, or when the names are
/// no longer certain, the pin stays until the session is reset.
const TEMPORARY_TABLES: usize = 8;

impl State {
    /// That of a session that has just logged in, on both servers or only on the primary.
    pub const fn new(dialect: Dialect, has_replica: bool) -> Self {
        let status = match dialect.no_backslash_escapes {
            true => Status::AUTOCOMMIT.with(Status::NO_BACKSLASH_ESCAPES),
            false => Status::AUTOCOMMIT,
        };
        Self {
            primary: status,
            replica: status,
            has_primary: true,
            has_replica,
            replica_lags: false,
            allows_local_infile: false,
            pins_calls: false,
            pins: Pins::NONE,
            temporary_tables: [None; TEMPORARY_TABLES],
            named_locks: 0,
            dirty_user_variables: false,
            serializable: false,
            session_read_only: false,
            shaped_transaction: false,
            shows_server_state: false,
            ansi_quotes: dialect.ansi_quotes,
            trail_bytes: dialect.trail_bytes,
            multi_statements: dialect.multi_statements,
            product: dialect.product,
            last: Server::Primary,
        }
    }

    /// The same, with `LOAD DATA LOCAL` allowed.
    #[must_use]
    pub const fn allowing_local_infile(mut self) -> Self {
        self.allows_local_infile = true;
        self
    }

    /// The same, kept on the primary by the first `CALL` or `EXECUTE`.
    #[must_use]
    pub const fn pinned_by_calls(mut self) -> Self {
        self.pins_calls = true;
        self
    }

    /// The same, with a default schema that its login has chosen.
    #[must_use]
    pub fn in_schema(mut self, name: &[u8]) -> Self {
        self.shows_server_state = shows_server_state(name);
        self
    }

    /// How the session's next statement is to be read.
    pub const fn dialect(&self) -> Dialect {
        Dialect {
            ansi_quotes: self.ansi_quotes,
            no_backslash_escapes: self.escapes_are_off(),
            multi_statements: self.multi_statements,
            trail_bytes: self.trail_bytes,
            product: self.product,
        }
    }

    /// Of the server that is there.
    const fn escapes_are_off(&self) -> bool {
        match self.has_primary {
            true => self.primary.contains(Status::NO_BACKSLASH_ESCAPES),
            false => self.replica.contains(Status::NO_BACKSLASH_ESCAPES),
        }
    }

    /// Takes over the status flags of a server's login, or of a reply to no statement.
    pub const fn set_status(&mut self, server: Server, status: Status) {
        match server {
            Server::Primary => self.primary = status,
            Server::Replica => self.replica = status,
        }
    }

    /// `COM_SET_OPTION`: several statements in one.
    pub const fn set_multi_statements(&mut self, are_allowed: bool) {
        self.multi_statements = are_allowed;
    }

    /// `COM_RESET_CONNECTION`: what the session has done is undone, but for its default schema.
    pub const fn reset(&mut self, dialect: Dialect) {
        let mut fresh = Self::new(dialect, self.has_replica);
        fresh.allows_local_infile = self.allows_local_infile;
        fresh.pins_calls = self.pins_calls;
        fresh.has_primary = self.has_primary;
        fresh.replica_lags = self.replica_lags;
        fresh.shows_server_state = self.shows_server_state;
        *self = fresh;
    }

    /// A replica that has, or no longer has, what this session has done elsewhere.
    pub const fn set_replica(&mut self, is_attached: bool) {
        self.has_replica = is_attached;
        self.replica = self.primary.without(Status::IN_TRANSACTION);
        if !is_attached {
            self.last = Server::Primary;
        }
    }

    /// Whether the replica is too far behind to be read, as long as the primary can be.
    pub const fn set_replica_lags(&mut self, lags: bool) {
        self.replica_lags = lags;
    }

    /// The connection to the primary is lost.
    pub const fn lose_primary(&mut self) {
        // A replica that is yet to be opened is brought to what the session is.
        let escapes = Status::NO_BACKSLASH_ESCAPES;
        self.replica = match self.escapes_are_off() {
            true => self.replica.with(escapes),
            false => self.replica.without(escapes),
        };
        self.has_primary = false;
    }

    /// Whether a transaction is open, on either server.
    pub const fn in_transaction(&self) -> bool {
        self.primary.contains(Status::IN_TRANSACTION) || self.in_replica_transaction()
    }

    /// Whether one is open on this server.
    pub const fn in_transaction_at(&self, server: Server) -> bool {
        match server {
            Server::Primary => self.primary.contains(Status::IN_TRANSACTION),
            Server::Replica => self.in_replica_transaction(),
        }
    }

    const fn in_replica_transaction(&self) -> bool {
        self.has_replica && self.replica.contains(Status::IN_TRANSACTION)
    }

    /// Why the session stays on the primary, if it does.
    pub fn pin(&self) -> Option<RouteReason> {
        if self.named_locks > 0 {
            Some(RouteReason::NamedLock)
        } else if self.temporary_tables.iter().any(Option::is_some) {
            Some(RouteReason::TemporaryTable)
        } else {
            self.pins.reasons().next()
        }
    }

    /// Where a statement goes. The first rule that matches decides.
    pub fn route(&self, statement: &Statement, own_writes: OwnWrites) -> Decision {
        let (target, reason) = self.choose(statement, own_writes);
        let ends_replica_transaction = self.in_replica_transaction()
            && target == Target::Primary
            && ends_transaction(statement);
        let (target, reason) = self.within_reach(statement, target, reason);
        Decision {
            target,
            reason,
            answer: self.answer(target),
            ends_replica_transaction,
        }
    }

    fn choose(&self, statement: &Statement, own_writes: OwnWrites) -> (Target, RouteReason) {
        let reason = statement.reason;
        match statement.kind {
            Kind::Kill => return (Target::Intercept, reason),
            Kind::LoadLocal if !self.allows_local_infile => return (Target::Refused, reason),
            Kind::SessionState => return self.session_state(statement),
            Kind::Diagnostics => return (Target::Last, reason),
            _ => {}
        }
        if self.in_replica_transaction() {
            return match self.replica.contains(Status::IN_READ_ONLY_TRANSACTION) {
                true => self.in_read_only_transaction(statement),
                false => self.in_transaction_that_may_write(statement),
            };
        }
        if statement.is_unread() {
            return (Target::Primary, reason);
        }
        if self.primary.contains(Status::IN_TRANSACTION) {
            return (Target::Primary, RouteReason::InTransaction);
        }
        if let Some(pin) = self.pin() {
            return (Target::Primary, pin);
        }
        self.outside_transactions(statement, own_writes)
    }

    /// The session's state goes to both, whatever is open: they would drift apart.
    const fn session_state(&self, statement: &Statement) -> (Target, RouteReason) {
        if statement.reads_user_variables && self.dirty_user_variables {
            return (Target::Primary, RouteReason::UserVariable);
        }
        (Target::Both, statement.reason)
    }

    /// A read-only transaction on the replica takes what comes until it ends, so that all of it
    /// sees one snapshot. What ends it on a single server, or is the primary's alone, is not taken,
    /// and neither is what acts on a server whether or not a transaction there reads only.
    fn in_read_only_transaction(&self, statement: &Statement) -> (Target, RouteReason) {
        let reason = statement.reason;
        let is_of_primary = matches!(
            reason,
            RouteReason::NamedLock
                | RouteReason::TableLock
                | RouteReason::GlobalState
                | RouteReason::ServerState
        );
        let acts = statement.under_read_only != UnderReadOnly::Harmless;
        let stays = matches!(statement.kind, Kind::Begin(access) if self.only_reads(access));
        if !stays && (ends_transaction(statement) || is_of_primary || acts) {
            return (Target::Primary, reason);
        }
        (Target::Replica, RouteReason::ReadOnlyTransaction)
    }

    /// A transaction on the replica that nothing there keeps from writing: only what reads goes on.
    /// It cannot be had on the primary instead, where it has not begun.
    const fn in_transaction_that_may_write(&self, statement: &Statement) -> (Target, RouteReason) {
        let stays = match statement.kind {
            Kind::Read | Kind::ServerRead | Kind::EndTransaction => true,
            Kind::Begin(access) => self.only_reads(access),
            _ => false,
        };
        match (stays, self.has_primary) {
            (true, _) => (Target::Replica, RouteReason::ReadOnlyTransaction),
            (false, true) => (Target::Refused, RouteReason::ReadOnlyTransaction),
            (false, false) => (Target::Refused, RouteReason::PrimaryLost),
        }
    }

    /// Whether a transaction with this access reads only.
    const fn only_reads(&self, access: Option<Access>) -> bool {
        match access {
            Some(Access::ReadOnly) => true,
            Some(Access::ReadWrite) => false,
            None => self.session_read_only,
        }
    }

    fn outside_transactions(
        &self,
        statement: &Statement,
        own_writes: OwnWrites,
    ) -> (Target, RouteReason) {
        let to_primary = |reason| (Target::Primary, reason);
        if self.shaped_transaction {
            return to_primary(RouteReason::NextTransaction);
        }
        if let Kind::Begin(access) = statement.kind {
            let can_be_elsewhere = self.only_reads(access) && !self.serializable;
            return match (can_be_elsewhere, own_writes) {
                (false, _) => to_primary(statement.reason),
                (true, OwnWrites::Unseen) => to_primary(RouteReason::ReadAfterWrite),
                (true, OwnWrites::Visible) => (Target::Replica, RouteReason::ReadOnlyTransaction),
            };
        }
        // While the primary is away, a transaction of reads can begin on the replica.
        let is_off = self.has_primary && !self.primary.contains(Status::AUTOCOMMIT);
        if is_off && !self.session_read_only {
            return to_primary(RouteReason::AutocommitOff);
        }
        match statement.kind {
            Kind::Read | Kind::Doubtful if self.serializable => {
                to_primary(RouteReason::Serializable)
            }
            Kind::Read | Kind::Doubtful => self.read(statement, own_writes),
            _ => to_primary(statement.reason),
        }
    }

    /// A read, which a hint can send anywhere and doubts send to the primary.
    fn read(&self, statement: &Statement, own_writes: OwnWrites) -> (Target, RouteReason) {
        if statement.hint == Some(Hint::Primary) {
            return (Target::Primary, RouteReason::HintPrimary);
        }
        if self.shows_server_state {
            return (Target::Primary, RouteReason::ServerState);
        }
        let doubt = self.doubt(statement, own_writes);
        match (doubt, statement.hint) {
            (None, _) => (Target::Replica, statement.reason),
            (Some(_), Some(Hint::Replica)) => (Target::Replica, RouteReason::HintReplica),
            (Some(doubt), _) => (Target::Primary, doubt),
        }
    }

    fn doubt(&self, statement: &Statement, own_writes: OwnWrites) -> Option<RouteReason> {
        if statement.kind == Kind::Doubtful {
            Some(statement.reason)
        } else if statement.reads_user_variables && self.dirty_user_variables {
            Some(RouteReason::UserVariable)
        } else if own_writes == OwnWrites::Unseen {
            Some(RouteReason::ReadAfterWrite)
        } else {
            None
        }
    }

    /// What becomes of a target that is not there.
    fn within_reach(
        &self,
        statement: &Statement,
        target: Target,
        reason: RouteReason,
    ) -> (Target, RouteReason) {
        match (target, self.has_primary, self.has_replica) {
            // A transaction sees one snapshot, however old it gets.
            (Target::Replica, true, true)
                if self.replica_lags && !self.in_replica_transaction() =>
            {
                (Target::Primary, RouteReason::ReplicaLagging)
            }
            (Target::Replica, true, false) => (Target::Primary, RouteReason::NoReplica),
            (Target::Both, true, false) => (Target::Primary, reason),
            (Target::Both, false, true) => (Target::Replica, reason),
            (Target::Last, false, true) if self.last == Server::Replica => (target, reason),
            (Target::Primary, false, true) if is_honest_at_replica(statement.kind, reason) => {
                (Target::Replica, reason)
            }
            (Target::Primary | Target::Last | Target::Both, false, _)
            | (Target::Replica, false, false) => (Target::Refused, RouteReason::PrimaryLost),
            _ => (target, reason),
        }
    }

    /// Whether both servers have what a statement does to the session, if only as soon as there is
    /// a replica that is told.
    pub fn is_shared(&self, statement: &Statement, decision: &Decision) -> bool {
        let for_both = statement.kind == Kind::SessionState && decision.reason == statement.reason;
        decision.target == Target::Both || (for_both && !self.has_replica)
    }

    const fn answer(&self, target: Target) -> Option<Server> {
        match target {
            Target::Primary => Some(Server::Primary),
            Target::Replica => Some(Server::Replica),
            Target::Last => Some(self.last),
            // What the client hears of transactions has to be about the one it is in.
            Target::Both if self.in_replica_transaction() => Some(Server::Replica),
            Target::Both => Some(Server::Primary),
            Target::Intercept | Target::Refused => None,
        }
    }

    /// Takes note of a server's reply to a statement, which went where `decision` says. For
    /// [`Target::Both`], once for each.
    pub fn after(
        &mut self,
        statement: &Statement,
        decision: &Decision,
        server: Server,
        reply: Reply,
    ) {
        self.set_status(server, reply.status);
        self.note_next_transaction(statement, server, reply);
        if decision.answer != Some(server) {
            return;
        }
        // What both have done leaves the same to be asked about on both, and what the statement
        // before has left besides only where it was.
        if statement.kind != Kind::Diagnostics && decision.target != Target::Both {
            self.last = server;
        }
        self.pins = self
            .pins
            .with(statement.effects.takes.only(Pins::UNSHARED_STATE));
        if reply.several_results && statement.reason == RouteReason::TooLong {
            // Several statements in one, of which the first alone is known, and that by its verb.
            self.pins = self.pins.with(Pins::UNSHARED_STATE);
        }
        if server == Server::Primary {
            self.note_what_only_primary_has(statement, decision, reply);
        }
        if !reply.failed {
            self.note_effects(&statement.effects, server);
        }
    }

    /// `SET TRANSACTION` holds for the transaction that begins next, and no longer.
    const fn note_next_transaction(&mut self, statement: &Statement, server: Server, reply: Reply) {
        if !matches!(server, Server::Primary) {
            return;
        }
        if statement.effects.shapes_next_transaction {
            self.shaped_transaction |= !reply.failed;
        } else if !matches!(statement.kind, Kind::SessionState) {
            let is_open = reply.status.contains(Status::IN_TRANSACTION);
            self.shaped_transaction &= is_open || reply.failed;
        }
    }

    /// State that the replica's connection has not. A statement that failed may have got so far.
    fn note_what_only_primary_has(
        &mut self,
        statement: &Statement,
        decision: &Decision,
        reply: Reply,
    ) {
        let effects = &statement.effects;
        let is_alone = !self.is_shared(statement, decision);
        let should_be_shared = is_alone && statement.kind == Kind::SessionState;
        self.dirty_user_variables |= effects.assigns_user_variables || should_be_shared;
        let drifts = should_be_shared && !effects.sets_user_variables_only;
        if drifts || (is_alone && reply.changed_session) {
            self.pins = self.pins.with(Pins::UNSHARED_STATE);
        }
        if self.pins_calls && statement.calls() {
            self.pins = self.pins.with(Pins::PROCEDURE);
        }
    }

    fn note_effects(&mut self, effects: &Effects, server: Server) {
        self.serializable = effects.serializable.unwrap_or(self.serializable);
        self.session_read_only = effects.session_read_only.unwrap_or(self.session_read_only);
        self.ansi_quotes = effects.ansi_quotes.unwrap_or(self.ansi_quotes);
        self.trail_bytes = effects.trail_bytes.unwrap_or(self.trail_bytes);
        self.shows_server_state = effects
            .shows_server_state
            .unwrap_or(self.shows_server_state);
        if effects.renames_tables || effects.choose_schema() {
            self.forget_names_of_temporary_tables();
        }
        if server == Server::Primary {
            self.note_pins(effects);
        }
    }

    fn note_pins(&mut self, effects: &Effects) {
        self.pins = self.pins.without(effects.releases).with(effects.takes);
        self.named_locks = self
            .named_locks
            .saturating_add(effects.locks_taken)
            .saturating_sub(effects.locks_released);
        if effects.releases_all_locks {
            self.named_locks = effects.locks_taken;
        }
        if let Some(name) = effects.temporary_table {
            self.add_temporary_table(name);
        }
        for dropped in effects.dropped_tables.into_iter().flatten() {
            for known in &mut self.temporary_tables {
                known.take_if(|known| *known == dropped);
            }
        }
    }

    /// None of them can be told from another table by its name any more.
    fn forget_names_of_temporary_tables(&mut self) {
        if self.temporary_tables.iter().any(Option::is_some) {
            self.temporary_tables = [None; TEMPORARY_TABLES];
            self.pins = self.pins.with(Pins::TEMPORARY_TABLES);
        }
    }

    fn add_temporary_table(&mut self, name: TableName) {
        if self.temporary_tables.contains(&Some(name)) {
            return;
        }
        match self
            .temporary_tables
            .iter_mut()
            .find(|known| known.is_none())
        {
            Some(free) => *free = Some(name),
            None => self.pins = self.pins.with(Pins::TEMPORARY_TABLES),
        }
    }
}

/// Whether the replica's answer to what is asked of the primary is true while that is away: it is
/// then the server that is asked about, and no transaction is open that could end.
const fn is_honest_at_replica(kind: Kind, reason: RouteReason) -> bool {
    match kind {
        Kind::Read | Kind::ServerRead => matches!(reason, RouteReason::ServerState),
        Kind::EndTransaction => matches!(reason, RouteReason::Transaction),
        _ => false,
    }
}

/// Whether a statement ends an open transaction, other than by saying so.
const fn ends_transaction(statement: &Statement) -> bool {
    matches!(statement.kind, Kind::Begin(_))
        || matches!(statement.under_read_only, UnderReadOnly::Commits)
        || statement.effects.takes.has(Pins::TABLES_LOCKED)
        || statement.effects.takes.has(Pins::READ_LOCK)
}
