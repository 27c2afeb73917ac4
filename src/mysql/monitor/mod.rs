//! The account that looks after servers: what it asks them, what their answers are, and what follows
//! from these for the servers' roles and for whom is read.
//!
//! Each look asks two questions: whether the server takes writes and who it is, and how its
//! replication does. They are asked over one connection that is kept from look to look.

mod descent;
mod freshness;
mod replication;
mod roles;
mod rows;

use std::sync::Arc;

use thiserror::Error;

pub use self::descent::{Descent, Identity, Place, Relative, descent};
pub use self::freshness::{Cause, Freshness};
pub use self::replication::Replication;
pub use self::roles::{Roster, Sight, Trouble, Writable};
use self::rows::{Answer, AnswerReader};
use super::auth::{Password, Signer};
use super::capabilities::Capabilities;
use super::command::Command;
use super::cursor::{Flaw, Malformed};
use super::handshake::{Greeting, Response};
use super::lexer::Product;
use super::packet::write_command;
use super::server_login::{LoggedIn, ServerLogin, ServerLoginError, ServerProgress};
use crate::limits::MONITOR_PACKET_BYTES_MAX;

/// `utf8mb4_general_ci`, which all servers know.
const UTF8MB4: u8 = 45;

/// What was seen in one look at a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// Whether it takes writes: neither `read_only` nor `super_read_only`.
    pub is_writable: bool,
    /// How its replication does.
    pub replication: Replication,
    /// Who it is, and whom it follows; `None`: it does not say who it is.
    pub place: Option<Place>,
}

/// What the answer to the first question has: whether it takes writes, and who it is.
const SELF_COLUMNS: &[&str] = &["r", "s", "i", "u"];

/// Why a look has failed.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum MonitorError {
    /// The account cannot log in.
    #[error(transparent)]
    Login(#[from] ServerLoginError),
    /// The server refuses to say whether it takes writes.
    #[error("the server does not tell read_only: {0} {1}")]
    Refused(u16, String),
    /// The server does not speak the protocol.
    #[error("the server does not keep to the protocol: {0}")]
    Protocol(#[from] Malformed),
}

/// How a look stands.
#[derive(Debug)]
pub enum LookProgress {
    /// More has to come from the server.
    Waiting,
    /// This was seen. The connection is good for another look.
    Seen(Seen),
    /// It has failed. The connection is of no more use once [`Monitor::is_over`].
    Failed(MonitorError),
}

/// The monitor's connection to one server.
#[derive(Debug)]
pub struct Monitor {
    stage: Stage,
    flavour: Flavour,
    is_writable: bool,
    identity: Option<Identity>,
}

#[derive(Debug)]
enum Stage {
    LoggingIn(Box<ServerLogin>),
    /// Between two looks.
    Idle,
    Asking(Question, AnswerReader),
    Over,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Question {
    ReadOnly,
    Replication,
}

/// What kind of server it is, as far as the questions differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Flavour {
    MariaDb,
    /// MySQL, and whether it calls a replica one: since 8.0.22.
    MySql {
        says_replica: bool,
    },
}

impl Monitor {
    /// A look over a connection that was just made, which begins with the login of this account.
    pub fn new(user: &str, password: Arc<Password>, on_tls: bool) -> Self {
        let capabilities = Capabilities::PROTOCOL_41
            | Capabilities::MYSQL
            | Capabilities::TRANSACTIONS
            | Capabilities::SECURE_CONNECTION
            | Capabilities::PLUGIN_AUTH;
        let response = Response {
            capabilities,
            packet_bytes_max: MONITOR_PACKET_BYTES_MAX,
            charset: UTF8MB4,
            user: user.as_bytes().to_vec(),
            token: Vec::new(),
            database: None,
            plugin: None,
            attributes: None,
            zstd_level: None,
        };
        let signer = Signer::Password(password);
        let required = Capabilities::PROTOCOL_41;
        let login = ServerLogin::new(response, signer, capabilities, required, on_tls);
        Self {
            stage: Stage::LoggingIn(Box::new(login)),
            flavour: Flavour::MariaDb,
            is_writable: false,
            identity: None,
        }
    }

    /// Begins another look over the same connection. `out` gets what is to be sent.
    ///
    /// # Panics
    /// When the look before has not ended well.
    pub fn look_again(&mut self, out: &mut Vec<u8>) {
        assert!(
            matches!(self.stage, Stage::Idle),
            "one look after the other"
        );
        self.ask(Question::ReadOnly, out);
    }

    /// Takes what came from the server; `out` gets what is to be sent to it.
    pub fn feed(&mut self, input: &mut &[u8], out: &mut Vec<u8>) -> LookProgress {
        loop {
            let progress = match &mut self.stage {
                Stage::LoggingIn(login) => match login.feed(input, out) {
                    ServerProgress::Waiting => return LookProgress::Waiting,
                    ServerProgress::Failed(error) => return LookProgress::Failed(error.into()),
                    ServerProgress::LoggedIn(logged_in) => {
                        self.logged_in(&logged_in, out);
                        None
                    }
                },
                Stage::Asking(question, reader) => {
                    let question = *question;
                    match reader.feed(input) {
                        Ok(None) => return LookProgress::Waiting,
                        Ok(Some(answer)) => self.hear(question, answer, out),
                        Err(error) => Some(Err(error.into())),
                    }
                }
                Stage::Idle if input.is_empty() => return LookProgress::Waiting,
                Stage::Idle => Some(Err(unasked().into())),
                Stage::Over => {
                    *input = &[];
                    return LookProgress::Waiting;
                }
            };
            match progress {
                None => {}
                Some(Ok(seen)) => return LookProgress::Seen(seen),
                Some(Err(error)) => {
                    self.stage = Stage::Over;
                    return LookProgress::Failed(error);
                }
            }
        }
    }

    /// Whether a look that has failed has nothing more to say, so that the connection can be closed.
    /// A server whose login has failed may have to be told so.
    pub fn is_over(&mut self) -> bool {
        match &mut self.stage {
            Stage::LoggingIn(login) => login.is_over(),
            Stage::Idle | Stage::Asking(..) => false,
            Stage::Over => true,
        }
    }

    /// The goodbye to a server that the account has logged in to; nothing, where it has not.
    pub fn goodbye(&self) -> Vec<u8> {
        let mut out = Vec::new();
        if !matches!(self.stage, Stage::LoggingIn(_)) {
            write_command(&mut out, Command::Quit, b"");
        }
        out
    }

    fn logged_in(&mut self, logged_in: &LoggedIn, out: &mut Vec<u8>) {
        self.flavour = Flavour::of(&logged_in.greeting);
        self.ask(Question::ReadOnly, out);
    }

    fn ask(&mut self, question: Question, out: &mut Vec<u8>) {
        let (statement, columns) = self.flavour.words(question);
        write_command(out, Command::Query, statement.as_bytes());
        self.stage = Stage::Asking(question, AnswerReader::new(columns));
    }

    /// An answer has come: the next question is asked, or the look is over.
    fn hear(
        &mut self,
        question: Question,
        answer: Answer,
        out: &mut Vec<u8>,
    ) -> Option<Result<Seen, MonitorError>> {
        match (question, answer) {
            (Question::ReadOnly, Answer::Error(code, message)) => {
                Some(Err(MonitorError::Refused(code, message)))
            }
            (Question::ReadOnly, Answer::Rows(rows)) => {
                let row = rows.into_iter().next().unwrap_or_default();
                let column = |index: usize| row.get(index).and_then(Option::as_deref);
                let mut flags = [column(0), column(1)].into_iter().flatten().peekable();
                if flags.peek().is_none() {
                    let nothing = Malformed::new("read_only", Flaw::Unexpected);
                    return Some(Err(nothing.into()));
                }
                self.is_writable = flags.all(is_off);
                self.identity = Identity::of(column(2), column(3));
                self.ask(Question::Replication, out);
                None
            }
            (Question::Replication, answer) => {
                self.stage = Stage::Idle;
                Some(Ok(Seen {
                    is_writable: self.is_writable,
                    place: Place::of(self.identity.take(), &answer, replication::source_of),
                    replication: Replication::of(answer),
                }))
            }
        }
    }
}

impl Flavour {
    fn of(greeting: &Greeting) -> Self {
        let product = Product::of_version(&greeting.version);
        if greeting.capabilities.are_mariadb() || product == Product::MariaDb {
            return Self::MariaDb;
        }
        let version = String::from_utf8_lossy(&greeting.version);
        let number = |part: &str| {
            let digits = part.split(|c: char| !c.is_ascii_digit()).next();
            digits.and_then(|digits| digits.parse::<u32>().ok())
        };
        let mut parts = version.split('.').map_while(number);
        let [major, minor, patch] = std::array::from_fn(|_| parts.next().unwrap_or_default());
        Self::MySql {
            says_replica: (major, minor, patch) >= (8, 0, 22),
        }
    }

    /// A statement, and the columns of its result that count.
    const fn words(self, question: Question) -> (&'static str, &'static [&'static str]) {
        match (question, self) {
            (Question::ReadOnly, Self::MariaDb) => (
                "SELECT @@global.read_only AS r, @@global.server_id AS i",
                SELF_COLUMNS,
            ),
            (Question::ReadOnly, Self::MySql { .. }) => (
                "SELECT @@global.read_only AS r, @@global.super_read_only AS s, \
                 @@global.server_id AS i, @@global.server_uuid AS u",
                SELF_COLUMNS,
            ),
            // One row for each source; `SHOW SLAVE STATUS` has the one without a name only.
            (Question::Replication, Self::MariaDb) => {
                ("SHOW ALL SLAVES STATUS", replication::COLUMNS)
            }
            (Question::Replication, Self::MySql { says_replica: true }) => {
                ("SHOW REPLICA STATUS", replication::COLUMNS_MYSQL)
            }
            (
                Question::Replication,
                Self::MySql {
                    says_replica: false,
                },
            ) => ("SHOW SLAVE STATUS", replication::COLUMNS),
        }
    }
}

/// MariaDB 12 knows more than on and off, and everything but off keeps somebody from writing.
fn is_off(flag: &str) -> bool {
    flag == "0" || flag.eq_ignore_ascii_case("off")
}

const fn unasked() -> Malformed {
    Malformed::new("server packet", Flaw::Unexpected)
}

#[cfg(test)]
mod tests;
