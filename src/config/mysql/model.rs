//! What a pool of MySQL servers is told: types that are read from `[pool.mysql]`.
//!
//! A secret is named here and never held, but for the hash of a password, which is not printed.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use crate::config::Position;

/// `[pool.mysql]`, with its defaults where the file leaves it out.
#[derive(Clone, Debug, PartialEq)]
pub struct MysqlPool {
    /// Where the servers' roles come from.
    pub roles: Roles,
    /// What a session that has written may read on the replica.
    pub read_after_write: ReadAfterWrite,
    /// How long a read waits on the replica for the session's own writes.
    pub gtid_wait: Duration,
    /// How far behind a replica may be and still get reads; `None`: nobody asks.
    pub max_replication_lag: Option<Duration>,
    /// How long a client's login waits for the replica, until the session is for the primary only.
    pub replica_login_timeout: Duration,
    /// From the accept to the end of the login.
    pub login_timeout: Duration,
    /// Sessions at a time, over all workers, that have not logged in yet.
    pub max_unauthenticated_sessions: u32,
    /// Bytes of a statement that are read; a longer one goes to the primary unread.
    pub classify_bytes_max: u32,
    /// Whether `LOAD DATA LOCAL` is offered to clients.
    pub local_infile: bool,
    /// Whether `CALL` and `EXECUTE` keep the session on the primary from then on.
    pub calls_pin: bool,
    /// Accounts whose sessions are sent past the splitting; each once.
    pub primary_only_users: Vec<String>,
    /// Accounts that ringway verifies itself; each name once.
    pub users: Vec<MysqlUser>,
    /// The account that looks after the servers; `None`: only their handshakes are looked at.
    pub monitor: Option<MysqlMonitor>,
}

/// `mysql.roles`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Roles {
    /// `role` of each server says it.
    Configured,
    /// The monitor asks for `read_only`: the server that is writable is the primary.
    FollowReadOnly,
}

/// `mysql.read_after_write`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReadAfterWrite {
    /// Reads go to the replica, however old that is.
    Off,
    /// For so long after a write, the session's reads go to the primary.
    For(Duration),
    /// A read goes to the replica once that has what the session has written.
    Gtid,
}

/// `[[pool.mysql.user]]`.
#[derive(Clone, Debug, PartialEq)]
pub struct MysqlUser {
    /// As clients send it.
    pub name: String,
    /// What the account is verified by.
    pub secret: UserSecret,
    /// Where the secret is named in the file, for errors that appear when it is read.
    pub position: Position,
}

/// What is known of an account.
#[derive(Clone, PartialEq, Eq)]
pub enum UserSecret {
    /// The password, which signs for every plugin.
    Password(SecretSource),
    /// `SHA1(SHA1(password))`, which suffices for `mysql_native_password`.
    NativeHash([u8; 20]),
}

impl fmt::Debug for UserSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Password(source) => f.debug_tuple("Password").field(source).finish(),
            Self::NativeHash(_) => f.write_str("NativeHash(..)"),
        }
    }
}

/// Where a password is found. It is read at start and at each SIGHUP.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SecretSource {
    /// A file that holds it and nothing else.
    File(PathBuf),
    /// An environment variable of this name.
    Env(String),
}

/// `[pool.mysql.monitor]`.
#[derive(Clone, Debug, PartialEq)]
pub struct MysqlMonitor {
    /// The account.
    pub user: String,
    /// Its password; `None`: it is empty.
    pub password: Option<SecretSource>,
    /// Between two looks at one server, jittered by a tenth.
    pub interval: Duration,
    /// From the start of a look to its last answer.
    pub timeout: Duration,
    /// Where the password is named in the file, or the table if none is.
    pub position: Position,
}

/// What a server is to the statements of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// It takes writes, and everything that is not known to be a read.
    Primary,
    /// It takes reads.
    Replica,
}

impl Role {
    /// The spelling in the configuration, in logs and in metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Primary => "primary",
            Self::Replica => "replica",
        }
    }
}
