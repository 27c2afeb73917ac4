//! A session that is logged in: what its client says goes to one of two servers, or to both, and
//! the client hears one of them.
//!
//! Commands are looked at one at a time, in their order: the next is taken when the reply to the
//! one before is complete. What must happen at the replica before a command can run there (it is
//! opened, a transaction is ended, it catches up with the session's own writes, a statement is
//! prepared) happens first, and the client hears nothing of it.
//!
//! A statement runs once. The exception is a proven read outside a transaction whose replica was
//! lost before a byte of its reply had come: it runs again, on the primary.

mod command;
mod exchange;
mod failure;
mod gtid;
mod journal;
mod kill;
mod prepared;
mod query;
mod reply;
mod server;
mod written;

use std::time::Duration;

use zeroize::Zeroizing;

use self::exchange::Exchange;
use self::journal::Journal;
use self::prepared::{Meaning, PreparedStatements};
use self::server::{Connection, ServerSide};
use self::written::Written;
use super::capabilities::Capabilities;
use super::framer::Framer;
use super::handshake::Response;
use super::inbox::TooLong;
use super::lexer::{Dialect, Product, has_trail_bytes};
use super::login::{Established, Peer};
use super::packet::Status;
use super::route::{OwnWrites, Server, State, Target};
use crate::config::ReadAfterWrite;
use crate::telemetry::RouteReason;

pub use self::exchange::Finished;
pub use self::failure::Ending;
pub use self::kill::Kill;

/// What sessions of a listener are held to.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// Bytes of a statement that are held to be read.
    pub classify_bytes_max: usize,
    /// What a session that has written may read on the replica.
    pub read_after_write: ReadAfterWrite,
    /// How long a read waits on the replica for the session's own writes.
    pub gtid_wait: Duration,
    /// Whether `LOAD DATA LOCAL` is allowed.
    pub local_infile: bool,
    /// Whether `CALL` and `EXECUTE` keep the session on the primary.
    pub calls_pin: bool,
    /// Bytes of each statement that are kept for a log; 0: nobody asks for them.
    pub text_bytes_max: usize,
}

/// What became of the bytes at the front of an input. Whatever else is to be done comes after them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Taken {
    /// So many go on to `to` as they are ...
    pub passed: usize,
    /// ... to this peer; to nobody: they are of no more use.
    pub to: Option<Peer>,
    /// So many behind them go nowhere.
    pub dropped: usize,
}

impl Taken {
    /// Nothing is taken: it waits for its turn.
    pub const NOTHING: Self = Self {
        passed: 0,
        to: None,
        dropped: 0,
    };

    const fn passed(bytes: usize, to: Peer) -> Self {
        Self {
            passed: bytes,
            to: Some(to),
            dropped: 0,
        }
    }

    const fn dropped(bytes: usize) -> Self {
        Self {
            passed: 0,
            to: None,
            dropped: bytes,
        }
    }

    /// How many bytes are dealt with.
    pub const fn bytes(self) -> usize {
        self.passed.saturating_add(self.dropped)
    }
}

/// What the caller has to do, in this order.
#[derive(Debug)]
pub enum Order {
    /// Send these bytes.
    Send(Peer, Vec<u8>),
    /// Log in at a replica with [`Splitter::at_replica`], then tell [`Splitter::replica_attached`]
    /// or [`Splitter::replica_unavailable`].
    OpenReplica,
    /// Close this server's connection when all that was sent to it is out. It is not lost: nothing
    /// more is to be said about it.
    Close(Server),
    /// Run a login for this `COM_CHANGE_USER` over the session's connections, then go on with
    /// [`Splitter::user_changed`]. One that is too long to be a login was not gathered.
    ChangeUser(Result<Zeroizing<Vec<u8>>, TooLong>),
    /// From here on client and primary are relayed as they are: the client follows the binary log.
    Relay,
    /// The primary has done a `KILL`: whatever runs elsewhere for that session ends too.
    Kill(Kill),
    /// A statement is done.
    Done(Finished),
    /// The session is over when everything has been sent.
    End(Ending),
}

/// One client's session after its login. Feed it what the three peers send and when they are lost.
#[derive(Debug)]
pub struct Splitter {
    settings: Settings,
    established: Box<Established>,
    state: State,
    primary: ServerSide,
    replica: ServerSide,
    exchange: Option<Exchange>,
    phase: Phase,
    /// A command that is gathered, waits for its turn at a server, or may have to be repeated.
    held: Vec<u8>,
    /// The first bytes of the statement that runs, for a log.
    text: Text,
    prepared: PreparedStatements,
    meaning: Meaning,
    journal: Journal,
    /// What it has written that the replica may not have.
    written: Written,
    /// Whether the primary has been told to report GTIDs.
    tracking: Tracking,
    /// The text of the statement that is being prepared.
    preparing: Vec<u8>,
    /// What a server has answered to ringway's own question.
    gathered: Vec<u8>,
    /// The beginning of a packet that is perhaps to be written anew for the client.
    unsettled: Vec<u8>,
    /// Finds the packets of a command that is too long to be held, and of a file.
    framer: Framer,
    /// Number and length of its last packet.
    last_sequence: u8,
    last_len: u32,
    /// The server with which a transaction was lost, or something else that the client counts on.
    lost_with: Option<Server>,
    /// A primary that was lost takes sessions again.
    primary_is_back: bool,
    /// When another replica may be tried.
    replica_retry_us: u64,
    counts: Counts,
}

/// What comes from the client next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Commands.
    Commands,
    /// The rest of a command that is too long to be held, for this server or for nobody.
    Streaming(Option<Server>),
    /// The file that a server asked for.
    File(Server),
    /// Nothing: another login, or the end.
    Closed,
}

/// Whether the primary reports GTIDs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Tracking {
    /// Nobody needs it, or it does.
    Settled,
    /// It has to be told.
    Wanted,
    /// The client has changed what it reports.
    Spoilt,
}

/// The first bytes of a statement, and how they are to be read.
#[derive(Debug)]
struct Text {
    bytes: Vec<u8>,
    dialect: Dialect,
}

impl Text {
    fn new(dialect: Dialect) -> Self {
        let bytes = Vec::new();
        Self { bytes, dialect }
    }

    fn keep(&mut self, text: &[u8], dialect: Dialect, bytes_max: usize) {
        let kept = text.get(..bytes_max).unwrap_or(text);
        self.bytes.extend_from_slice(kept);
        self.dialect = dialect;
    }
}

/// What has happened in a session besides statements, to be added to metrics and then forgotten.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Statements that ran again on the primary, because the replica was lost.
    pub replayed: u32,
    /// Replicas that were let go because they answered differently.
    pub detached: u32,
    /// Reads that went to the primary because the replica did not catch up in time.
    pub gtid_timeouts: u32,
}

impl Splitter {
    /// A session that has just logged in.
    pub fn new(settings: Settings, established: Box<Established>) -> Self {
        let replica = match (&established.replica, established.can_get_replica()) {
            (Some(_), _) => Connection::Open,
            (None, true) => Connection::Possible,
            (None, false) => Connection::Closed,
        };
        let primary = match &established.primary {
            Some(_) => Connection::Open,
            None => Connection::Closed,
        };
        let status = established.status;
        let dialect = dialect_of(&established);
        let mut state = State::new(dialect, replica != Connection::Closed);
        if let Some(schema) = &established.response.database {
            state = state.in_schema(schema);
        }
        if settings.local_infile {
            state = state.allowing_local_infile();
        }
        if settings.calls_pin {
            state = state.pinned_by_calls();
        }
        if primary == Connection::Open {
            state.set_status(Server::Primary, status);
        } else {
            state.lose_primary();
            state.set_status(Server::Replica, status);
        }
        let mut splitter = Self {
            settings,
            state,
            primary: ServerSide::new(primary, established.primary_capabilities, status),
            replica: ServerSide::new(replica, established.capabilities, status),
            exchange: None,
            phase: Phase::Commands,
            held: Vec::new(),
            text: Text::new(dialect),
            prepared: PreparedStatements::default(),
            meaning: Meaning::default(),
            journal: Journal::default(),
            written: Written::default(),
            tracking: Tracking::Settled,
            preparing: Vec::new(),
            gathered: Vec::new(),
            unsettled: Vec::new(),
            framer: Framer::default(),
            last_sequence: 0,
            last_len: 0,
            lost_with: None,
            primary_is_back: false,
            replica_retry_us: 0,
            counts: Counts::default(),
            established,
        };
        splitter.want_tracking();
        splitter
    }

    /// What was agreed at the login.
    pub fn established(&self) -> &Established {
        &self.established
    }

    /// The response, the flags and the flags that are required for a login at another replica.
    pub fn at_replica(&self) -> (Response, Capabilities) {
        let mut response = self.established.response.clone();
        response.capabilities = self.established.capabilities;
        (response, self.established.capabilities)
    }

    /// The first bytes of the statement that was done last; of an execution, those of what was
    /// prepared. Nothing where it was too long to be held.
    pub fn text(&self) -> &[u8] {
        &self.text.bytes
    }

    /// How that text is to be read.
    pub fn dialect(&self) -> Dialect {
        self.text.dialect
    }

    /// Keeps so many bytes of each statement from here on: a log was switched on, or off.
    pub fn keep_texts(&mut self, bytes_max: usize) {
        self.settings.text_bytes_max = bytes_max;
        if bytes_max == 0 {
            self.text.bytes = Vec::new();
        }
    }

    /// What has happened since this was asked last.
    pub fn take_counts(&mut self) -> Counts {
        std::mem::take(&mut self.counts)
    }

    /// Whether a command is on its way, so that the client waits for an answer.
    pub fn is_busy(&self) -> bool {
        self.exchange.is_some() || self.phase != Phase::Commands || !self.held.is_empty()
    }

    /// Whether a statement runs on the replica now.
    pub fn runs_on_replica(&self) -> bool {
        self.replica.is_busy()
    }

    /// Why the session stays on the primary, if it does.
    pub fn pin(&self) -> Option<RouteReason> {
        self.state.pin()
    }

    /// Whether a server's connection is open.
    pub fn is_open(&self, server: Server) -> bool {
        self.side(server).connection == Connection::Open
    }

    /// Whether the session's replica is too far behind to be read. It stays attached, and is read
    /// again as soon as it is told so.
    #[inline]
    pub const fn set_replica_lags(&mut self, lags: bool) {
        self.state.set_replica_lags(lags);
    }

    /// Tells that a primary that was lost takes sessions again.
    pub const fn primary_is_back(&mut self) {
        self.primary_is_back = true;
    }

    /// Another user has logged in on the session's connections.
    pub fn user_changed(&mut self, established: Box<Established>) {
        *self = Self::new(self.settings, established);
    }

    fn side(&self, server: Server) -> &ServerSide {
        match server {
            Server::Primary => &self.primary,
            Server::Replica => &self.replica,
        }
    }

    fn side_mut(&mut self, server: Server) -> &mut ServerSide {
        match server {
            Server::Primary => &mut self.primary,
            Server::Replica => &mut self.replica,
        }
    }

    /// The session is as it was after its login, but for its default schema and the writes that a
    /// replica can still be asked for.
    fn reset(&mut self) {
        let dialect = dialect_of(&self.established);
        self.state.reset(dialect);
        self.prepared = PreparedStatements::default();
        self.journal.reset();
        self.written.reset();
        self.want_tracking();
    }

    fn want_tracking(&mut self) {
        let wanted = self.settings.read_after_write == ReadAfterWrite::Gtid;
        self.tracking = match wanted && self.is_open(Server::Primary) {
            true => Tracking::Wanted,
            false => Tracking::Settled,
        };
    }

    /// Whether the replica may lack what the session wrote, as far as can be told without asking
    /// the replica.
    fn own_writes(&self, now_us: u64) -> OwnWrites {
        let unseen = match self.settings.read_after_write {
            ReadAfterWrite::Off => false,
            ReadAfterWrite::For(time) => self.written.is_within(time, now_us),
            ReadAfterWrite::Gtid => self.written.has_unnamed(),
        };
        match unseen {
            true => OwnWrites::Unseen,
            false => OwnWrites::Visible,
        }
    }

    /// Whether what the primary says about GTIDs is more than the client wants to know.
    fn rewrites_ok(&self, server: Server) -> bool {
        server == Server::Primary
            && self.established.primary_capabilities != self.established.capabilities
    }
}

/// How the first statement of a session is to be read.
fn dialect_of(established: &Established) -> Dialect {
    let response = &established.response;
    Dialect {
        ansi_quotes: false,
        no_backslash_escapes: established.status.contains(Status::NO_BACKSLASH_ESCAPES),
        multi_statements: response
            .capabilities
            .contains(Capabilities::MULTI_STATEMENTS),
        trail_bytes: has_trail_bytes(u16::from(response.charset)),
        product: Product::of_version(&established.version),
    }
}

/// Which server a target is, for a statement that goes to one.
fn server_of(target: Target, answer: Option<Server>) -> Option<Server> {
    match target {
        Target::Primary => Some(Server::Primary),
        Target::Replica => Some(Server::Replica),
        Target::Last => answer,
        Target::Both | Target::Intercept | Target::Refused => None,
    }
}

/// A server as one of the three peers.
const fn peer(server: Server) -> Peer {
    match server {
        Server::Primary => Peer::Primary,
        Server::Replica => Peer::Replica,
    }
}

/// The other server.
const fn other(server: Server) -> Server {
    match server {
        Server::Primary => Server::Replica,
        Server::Replica => Server::Primary,
    }
}
