//! One of the two servers, as a session sees it.

use crate::mysql::capabilities::Capabilities;
use crate::mysql::packet::Status;
use crate::mysql::reply::ReplyTracker;
use crate::mysql::route::Server;

/// Something that each of the two servers has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct PerServer<T> {
    pub(super) primary: T,
    pub(super) replica: T,
}

impl<T> PerServer<T> {
    pub(super) const fn of(&self, server: Server) -> &T {
        match server {
            Server::Primary => &self.primary,
            Server::Replica => &self.replica,
        }
    }

    pub(super) const fn of_mut(&mut self, server: Server) -> &mut T {
        match server {
            Server::Primary => &mut self.primary,
            Server::Replica => &mut self.replica,
        }
    }
}

/// One server of a session.
#[derive(Debug)]
pub(super) struct ServerSide {
    pub(super) connection: Connection,
    capabilities: Capabilities,
    pub(super) tracker: ReplyTracker,
    /// What its reply is for.
    pub(super) duty: Duty,
    /// The flags of its last OK or EOF packet.
    pub(super) status: Status,
}

/// Whether there is a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Connection {
    /// There is none, and will be none.
    Closed,
    /// There is none; one can be opened, because ringway can sign for the client.
    Possible,
    /// It is being opened.
    Opening,
    /// It is open.
    Open,
}

/// What becomes of a server's reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Duty {
    /// None is expected.
    Idle,
    /// The client gets it.
    Answer,
    /// Nobody gets it: the other server answers, and this one must agree.
    Agree,
    /// Nobody gets it: it is for ringway.
    Own(Purpose),
}

/// Why ringway asked a server something by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    /// To end the read-only transaction that is open on the replica.
    EndTransaction,
    /// To do on a new replica what the session has done so far: the entry of the journal.
    Replay(usize),
    /// To prepare a statement there, too: its id at the client.
    Prepare(u32),
    /// To see whether the replica has the session's own writes.
    CatchUp,
    /// To have GTIDs reported.
    Track,
    /// To end a statement of another session.
    KillQuery,
}

impl ServerSide {
    pub(super) fn new(connection: Connection, capabilities: Capabilities, status: Status) -> Self {
        Self {
            connection,
            capabilities,
            tracker: ReplyTracker::new(capabilities),
            duty: Duty::Idle,
            status,
        }
    }

    pub(super) fn is_busy(&self) -> bool {
        self.duty != Duty::Idle
    }

    /// Nothing more is expected, whatever was asked.
    pub(super) fn abandon_reply(&mut self) {
        self.duty = Duty::Idle;
        self.tracker = ReplyTracker::new(self.capabilities);
    }
}
