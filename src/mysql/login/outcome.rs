//! What a login comes to: what was agreed, which way it went, or why it failed and who is to blame.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::Arc;

use crate::mysql::auth::{Credential, Plugin, Scramble, Signer};
use crate::mysql::capabilities::Capabilities;
use crate::mysql::cursor::Malformed;
use crate::mysql::handshake::{FirstPacketError, Greeting, NoTls, Response};
use crate::mysql::packet::{ErrPacket, Status};
use crate::mysql::password_key::PasswordKey;
use crate::telemetry::{LoginFailure, Who};

pub use crate::telemetry::{PrimaryOnly, Rung};

/// One of the three connections of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Peer {
    /// The client.
    Client,
    /// The server that takes writes.
    Primary,
    /// The server that takes reads.
    Replica,
}

/// What the caller has to do, in this order.
pub enum Action {
    /// Send these bytes.
    Send(Peer, Vec<u8>),
    /// Begin TLS with the client, as its server. What it has sent and the login has not taken belongs
    /// to the handshake. When that is done: [`Login::client_shook_hands`](super::Login).
    StartTls,
    /// Connect to a replica, and feed what it says. The primary is connected before a login begins.
    OpenReplica,
    /// There will be no TLS with this server: it is one that could not be connected to. If it does not
    /// offer TLS, what is still sent to it is a goodbye in plain text.
    NoTls(Peer, NoTls),
    /// This server takes nobody now, whoever it is.
    TurnedAway(Peer),
    /// Close this connection when all that was sent to it is out.
    Close(Peer),
    /// The client is logged in: what it sends from now on are commands. The OK packet is among the
    /// bytes that were sent before.
    Complete(Box<Established>),
    /// The login has failed, and the client has been told. Its connection is closed when that is
    /// out.
    Fail(Failure),
}

/// The bytes are not shown: they may be a password.
impl fmt::Debug for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Send(peer, bytes) => write!(f, "Send({peer:?}, {} bytes)", bytes.len()),
            Self::StartTls => f.write_str("StartTls"),
            Self::OpenReplica => f.write_str("OpenReplica"),
            Self::NoTls(peer, why) => write!(f, "NoTls({peer:?}, {why:?})"),
            Self::TurnedAway(peer) => write!(f, "TurnedAway({peer:?})"),
            Self::Close(peer) => write!(f, "Close({peer:?})"),
            Self::Complete(established) => write!(f, "Complete({established:?})"),
            Self::Fail(failure) => write!(f, "Fail({failure:?})"),
        }
    }
}

/// How logins go on one listener.
#[derive(Clone, Debug, Default)]
pub struct Rules {
    /// Accounts whose passwords or hashes are in the configuration.
    pub accounts: HashMap<Vec<u8>, Credential>,
    /// Accounts that are sent past the splitting.
    pub primary_only_users: HashSet<Vec<u8>>,
    /// Whether `LOAD DATA LOCAL` is offered to clients (B-13).
    pub local_infile: bool,
    /// The plugin that greetings announce, whatever the server's default is.
    pub announce: Option<Plugin>,
    /// Whether servers are spoken to over TLS.
    pub servers_on_tls: bool,
    /// What clients without TLS encrypt the password with that a server on TLS wants.
    pub password_key: Option<Arc<PasswordKey>>,
    /// Whether the primary is asked to report GTIDs even if the client does not want to know.
    pub track_gtids: bool,
}

impl Rules {
    /// What is taken out of every greeting.
    pub fn withheld(&self) -> Capabilities {
        let withheld = Capabilities::NEVER | Capabilities::SSL;
        match self.local_infile {
            true => withheld,
            false => withheld | Capabilities::LOCAL_FILES,
        }
    }
}

/// What a client's connection has to do with TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientTls {
    /// It is plain text, and stays so.
    Off,
    /// The client may ask for it.
    Offered,
    /// The client has to ask for it.
    Required,
    /// It is.
    Running,
}

/// What a client that is logged in has agreed to, and with whom.
#[derive(Clone, Debug)]
pub struct Established {
    /// By which rung.
    pub rung: Rung,
    /// Why it has no replica, and will not get one.
    pub primary_only: Option<PrimaryOnly>,
    /// The primary was away: the replica alone has logged it in, and it can only read.
    pub reads_only: bool,
    /// What client and servers have agreed to.
    pub capabilities: Capabilities,
    /// The same with the primary, which may report more than the client wants to know.
    pub primary_capabilities: Capabilities,
    /// The status flags of the OK packet.
    pub status: Status,
    /// The account, the database, the character set, the attributes: what another login for this
    /// session has to repeat. Its signature is wiped.
    pub response: Response,
    /// The version in the greeting that the client has seen.
    pub version: Vec<u8>,
    /// The thread id that the client knows, that of the server whose greeting it has seen.
    pub thread_id: u32,
    /// The primary's greeting, with the session's thread id there, if it is connected.
    pub primary: Option<Greeting>,
    /// The replica's greeting, if it is connected.
    pub replica: Option<Greeting>,
    /// Signs at further servers, where the password or its key is known.
    pub signer: Option<Signer>,
    /// The scramble that the client has seen last, which it will sign in a `COM_CHANGE_USER`.
    pub last_scramble: Option<Scramble>,
}

impl Established {
    /// Whether ringway can log the session in at a replica by itself.
    pub const fn can_get_replica(&self) -> bool {
        self.signer.is_some() && self.primary_only.is_none()
    }
}

/// Why a login failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// The client's signature is wrong, for an account of the configuration.
    AccessDenied {
        /// The account.
        user: Vec<u8>,
        /// Whether the client sent a signature at all.
        with_password: bool,
    },
    /// The client went away.
    ClientLeft,
    /// The client sent a packet that cannot be read, or none that belongs here.
    ClientProtocol(Malformed),
    /// The client speaks the protocol from before MySQL 4.1.
    ClientTooOld,
    /// The client wants TLS, which was not offered, or for the second time.
    ClientWantsTls,
    /// The client does not want TLS, and has to.
    TlsRequired,
    /// What is known of the account's password, from the configuration or from the client, is not what
    /// the server wants.
    CredentialUnusable,
    /// No server can take the session.
    NoServer,
    /// The client's packet does not have the next number.
    OutOfOrder,
    /// The client's packet is longer than any of a login.
    PacketTooLong,
    /// The client's password would have gone to a server in plain text: its plugin says it as it is, and
    /// the server is spoken to without TLS.
    PasswordInPlain,
    /// The client has not encrypted its password for ringway's key.
    PasswordUnreadable,
    /// The primary was lost in the middle of the login.
    ServerLost,
    /// The server did not keep to the protocol.
    ServerProtocol(Malformed),
    /// The server refused; what it said has been passed on.
    ServerRefused {
        /// The number of its error.
        code: u16,
        /// Whether ringway signed for the client, so that the configuration is wrong.
        configured: bool,
    },
}

impl Failure {
    /// What it counts as.
    pub const fn kind(&self) -> LoginFailure {
        match self {
            Self::AccessDenied { .. } => LoginFailure::AccessDenied,
            Self::ClientLeft => LoginFailure::ClientLeft,
            Self::ClientProtocol(_) => LoginFailure::ClientProtocol,
            Self::ClientTooOld => LoginFailure::ClientTooOld,
            Self::ClientWantsTls => LoginFailure::ClientWantsTls,
            Self::TlsRequired => LoginFailure::TlsRequired,
            Self::CredentialUnusable => LoginFailure::CredentialUnusable,
            Self::NoServer => LoginFailure::NoServer,
            Self::OutOfOrder => LoginFailure::OutOfOrder,
            Self::PacketTooLong => LoginFailure::PacketTooLong,
            Self::PasswordInPlain => LoginFailure::PasswordInPlain,
            Self::PasswordUnreadable => LoginFailure::PasswordUnreadable,
            Self::ServerLost => LoginFailure::ServerLost,
            Self::ServerProtocol(_) => LoginFailure::ServerProtocol,
            Self::ServerRefused { .. } => LoginFailure::ServerRefused,
        }
    }

    /// Who is to blame.
    pub const fn who(&self) -> Who {
        match self {
            Self::AccessDenied { .. }
            | Self::ClientLeft
            | Self::ClientProtocol(_)
            | Self::ClientTooOld
            | Self::ClientWantsTls
            | Self::OutOfOrder
            | Self::PacketTooLong
            | Self::PasswordUnreadable
            | Self::TlsRequired => Who::Client,
            Self::CredentialUnusable
            | Self::PasswordInPlain
            | Self::ServerRefused {
                configured: true, ..
            } => Who::Operator,
            // The code tells a wrong password (1045) from a server in trouble.
            Self::ServerRefused {
                code: 1044..=1045 | 1049,
                ..
            } => Who::Client,
            Self::NoServer
            | Self::ServerLost
            | Self::ServerProtocol(_)
            | Self::ServerRefused { .. } => Who::Server,
        }
    }

    /// Appends the ERR packet for the client; nothing for failures of which it knows already.
    ///
    /// None has a number that clients give to errors of their own (2000 and above, like 2003 for a
    /// server that cannot be reached): MariaDB's take such a packet for a forged one, and show
    /// nothing of what it says.
    pub(in crate::mysql) fn write(&self, out: &mut Vec<u8>, sequence: u8, client: &str) {
        let (code, sqlstate, message) = match self {
            Self::ClientLeft | Self::ServerRefused { .. } => return,
            Self::AccessDenied {
                user,
                with_password,
            } => {
                let user = String::from_utf8_lossy(user);
                let used = if *with_password { "YES" } else { "NO" };
                let message =
                    format!("Access denied for user '{user}'@'{client}' (using password: {used})");
                (1045, b"28000", message)
            }
            Self::ClientProtocol(error) => (1043, b"08S01", format!("Bad handshake: {error}")),
            Self::ClientTooOld => (1251, b"08004", text(TOO_OLD)),
            Self::ClientWantsTls => (1043, b"08S01", text(NO_TLS)),
            Self::TlsRequired => (3159, b"HY000", text(TLS_REQUIRED)),
            Self::CredentialUnusable => (1045, b"28000", text(UNUSABLE)),
            Self::NoServer => (UNKNOWN_ERROR, b"08S01", text(NO_SERVER)),
            Self::OutOfOrder => (1156, b"08S01", text("Got packets out of order")),
            Self::PacketTooLong => (1153, b"08S01", text(TOO_LONG)),
            Self::PasswordInPlain => (1045, b"28000", text(IN_PLAIN)),
            Self::PasswordUnreadable => (1045, b"28000", text(UNREADABLE)),
            Self::ServerLost => (UNKNOWN_ERROR, b"08S01", text(LOST)),
            Self::ServerProtocol(_) => (UNKNOWN_ERROR, b"08S01", text(NONSENSE)),
        };
        let error = ErrPacket {
            code,
            sqlstate: *sqlstate,
            message: message.as_bytes(),
        };
        error.write(out, sequence);
    }
}

impl From<FirstPacketError> for Failure {
    fn from(error: FirstPacketError) -> Self {
        match error {
            FirstPacketError::TooOld => Self::ClientTooOld,
            FirstPacketError::Malformed(error) => Self::ClientProtocol(error),
        }
    }
}

fn text(message: &str) -> String {
    message.to_owned()
}

/// `ER_UNKNOWN_ERROR`, for what servers have no number for. The SQLSTATE says what it is to programs:
/// the connection is of no use.
const UNKNOWN_ERROR: u16 = 1105;

const TOO_OLD: &str = "Client does not support the authentication protocol since MySQL 4.1";
const NO_TLS: &str = "Bad handshake: TLS was asked for and not offered";
const TLS_REQUIRED: &str = "Connections without TLS are not allowed at this balancer";
const UNUSABLE: &str = "The balancer cannot log this account in with what it knows of its password";
const IN_PLAIN: &str =
    "The balancer passes no password on in plain text, and reaches its servers without TLS";
const NO_SERVER: &str = "The balancer can reach no server that could take this connection";
const TOO_LONG: &str = "Got a packet bigger than a login can be";
const UNREADABLE: &str =
    "The balancer cannot read the password, which is not encrypted for the key that it shows";
const LOST: &str = "The balancer has lost the connection to the server during the login";
const NONSENSE: &str = "The server behind the balancer does not keep to the protocol";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_blames_whoever_can_change_it() {
        let refused = |code, configured| Failure::ServerRefused { code, configured }.who();
        assert_eq!(refused(1045, false), Who::Client);
        assert_eq!(refused(1045, true), Who::Operator);
        assert_eq!(refused(1040, false), Who::Server);
    }
}
