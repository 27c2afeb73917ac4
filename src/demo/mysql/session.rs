//! One client's conversation with a server: greeting, login, commands. Bytes in, bytes out.

use std::collections::BTreeMap;

use super::execute::{Outcome, Rows, State, use_database};
use super::prepared::Prepared;
use super::refusal::Refusal;
use super::server::{PACKET_BYTES_MAX, Server, VERSION};
use super::statements::{Operand, Statement, TABLE, parse};
use super::table::Table;
use crate::mysql::auth::{Plugin, Scramble};
use crate::mysql::capabilities::Capabilities;
use crate::mysql::command::Command;
use crate::mysql::cursor::Cursor;
use crate::mysql::handshake::{AuthSwitch, FirstPacket, FirstPacketError, Greeting, Response};
use crate::mysql::inbox::{Inbox, Packet};
use crate::mysql::packet::Status;
use crate::mysql::result::{Column, Format, ReplyWriter, Value};

/// The one user, who has no password.
const USER: &[u8] = b"demo";
/// `utf8mb4_general_ci`, the default of many clients.
const COLLATION: u8 = 45;
/// Statements that one session keeps prepared.
const PREPARED_MAX: usize = 256;

/// What the servers can do.
const OFFERED: [Capabilities; 10] = [
    Capabilities::MYSQL,
    Capabilities::FOUND_ROWS,
    Capabilities::CONNECT_WITH_DB,
    Capabilities::PROTOCOL_41,
    Capabilities::TRANSACTIONS,
    Capabilities::SECURE_CONNECTION,
    Capabilities::PLUGIN_AUTH,
    Capabilities::CONNECT_ATTRS,
    Capabilities::PLUGIN_AUTH_LENENC,
    Capabilities::DEPRECATE_EOF,
];

fn offered() -> Capabilities {
    OFFERED
        .into_iter()
        .fold(Capabilities::NONE, |all, one| all | one)
}

/// A connection.
pub(super) struct Session {
    inbox: Inbox,
    phase: Phase,
    scramble: Scramble,
    capabilities: Capabilities,
    state: State,
    prepared: BTreeMap<u32, Prepared>,
    last_prepared: u32,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Phase {
    /// The client is to tell who it is.
    Greeted,
    /// It is to sign once more, with the plugin that its user has.
    Switched {
        user: Vec<u8>,
    },
    LoggedIn,
}

/// What is to happen after a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Progress {
    /// The client has to send more.
    Waits,
    /// A packet was dealt with, and there may be another.
    Steps,
    /// The connection is to be closed.
    Ends,
}

impl Session {
    /// Begins with a greeting. `thread_id` is one of [`Server::add_thread`].
    pub(super) fn new(thread_id: u32, scramble: Scramble, out: &mut Vec<u8>) -> Self {
        let greeting = Greeting {
            version: VERSION.as_bytes().to_vec(),
            thread_id,
            scramble,
            capabilities: offered(),
            charset: COLLATION,
            status: Status::AUTOCOMMIT,
            plugin: Plugin::Native.name().to_vec(),
        };
        greeting.write(out, 0);
        Self {
            inbox: Inbox::new(PACKET_BYTES_MAX),
            phase: Phase::Greeted,
            scramble,
            capabilities: offered(),
            state: State::new(thread_id, false),
            prepared: BTreeMap::new(),
            last_prepared: 0,
        }
    }

    /// Takes at most one packet from the front of `input` and appends what answers it, so that no
    /// more than one reply is ever held.
    pub(super) fn step(
        &mut self,
        input: &mut &[u8],
        server: &mut Server,
        out: &mut Vec<u8>,
    ) -> Progress {
        let packet = match self.inbox.take(input) {
            Ok(Some(packet)) => packet,
            Ok(None) => return Progress::Waits,
            Err(too_long) => {
                return self.part(out, too_long.sequence, &Refusal::PACKET_TOO_LONG);
            }
        };
        match self.phase.clone() {
            Phase::Greeted => self.first_packet(&packet, out),
            Phase::Switched { user } => self.sign(&user, &packet.payload, &packet, out),
            Phase::LoggedIn => self.command(&packet, server, out),
        }
    }

    fn reply<'a>(&self, out: &'a mut Vec<u8>, sequence: u8) -> ReplyWriter<'a> {
        ReplyWriter::new(out, sequence, self.capabilities, self.state.status())
    }

    /// Refuses, and closes the connection.
    fn part(&self, out: &mut Vec<u8>, sequence: u8, refusal: &Refusal) -> Progress {
        self.reply(out, sequence).error(&refusal.packet());
        Progress::Ends
    }

    fn first_packet(&mut self, packet: &Packet, out: &mut Vec<u8>) -> Progress {
        match FirstPacket::parse(&packet.payload) {
            Ok(FirstPacket::Response(response)) => self.log_in(response, packet, out),
            Err(FirstPacketError::TooOld) => self.part(out, packet.sequence, &Refusal::TOO_OLD),
            // TLS was not offered.
            Ok(FirstPacket::SslRequest) | Err(FirstPacketError::Malformed(_)) => {
                self.part(out, packet.sequence, &Refusal::NOT_A_HANDSHAKE)
            }
        }
    }

    fn log_in(&mut self, response: Response, packet: &Packet, out: &mut Vec<u8>) -> Progress {
        self.capabilities = response.capabilities.and(offered());
        self.state.counts_found_rows = self.capabilities.contains(Capabilities::FOUND_ROWS);
        let database = response.database.as_deref().unwrap_or_default();
        if !database.is_empty()
            && let Err(refusal) = use_database(database)
        {
            return self.part(out, packet.sequence, &refusal);
        }
        let plugin = response.known_plugin();
        let has_none = plugin.is_some_and(|plugin| plugin.is_empty_password(&response.token));
        if has_none || plugin == Some(Plugin::Native) {
            return self.sign(&response.user, &response.token, packet, out);
        }
        let sequence = packet.sequence.wrapping_add(1);
        AuthSwitch::write(out, sequence, Plugin::Native, &self.scramble);
        self.phase = Phase::Switched {
            user: response.user,
        };
        Progress::Steps
    }

    /// Judges a user by what it has signed, which is nothing where there is no password.
    fn sign(&mut self, user: &[u8], token: &[u8], packet: &Packet, out: &mut Vec<u8>) -> Progress {
        // One NUL is the empty password of caching_sha2_password.
        let has_password = !matches!(token, [] | [0]);
        if user != USER || has_password {
            let refusal = Refusal::access_denied(user, has_password);
            return self.part(out, packet.sequence, &refusal);
        }
        self.phase = Phase::LoggedIn;
        self.reply(out, packet.sequence).ok(0);
        Progress::Steps
    }

    fn command(&mut self, packet: &Packet, server: &mut Server, out: &mut Vec<u8>) -> Progress {
        let answer = match packet.payload.split_first() {
            Some((&byte, arguments)) => self.answer(Command::from_byte(byte), arguments, server),
            None => Err(Refusal::NOT_READABLE),
        };
        let mut reply = self.reply(out, packet.sequence);
        match answer {
            Ok(Answer::Nothing) => {}
            Ok(Answer::Outcome(Outcome::Done { affected_rows }, _)) => reply.ok(affected_rows),
            Ok(Answer::Outcome(Outcome::Rows(Rows { columns, rows }), format)) => {
                reply.result_set(&columns, &rows, format);
            }
            Ok(Answer::Outcome(Outcome::Killed, _)) => {
                reply.error(&Refusal::KILLED.packet());
                return Progress::Ends;
            }
            Ok(Answer::Fields(columns)) => reply.field_list(&columns),
            Ok(Answer::Prepared(id, parameters, columns)) => {
                reply.prepared(id, parameters, &columns);
            }
            Ok(Answer::Text(text)) => reply.string(text.as_bytes()),
            Ok(Answer::Goodbye) => return Progress::Ends,
            Err(refusal) => reply.error(&refusal.packet()),
        }
        Progress::Steps
    }

    fn answer(
        &mut self,
        command: Command,
        arguments: &[u8],
        server: &mut Server,
    ) -> Result<Answer, Refusal> {
        match command {
            Command::Quit => Ok(Answer::Goodbye),
            Command::Ping => Ok(Answer::DONE),
            Command::InitDb => use_database(arguments).map(|()| Answer::DONE),
            Command::Query => self.query(arguments, server),
            Command::Statistics => Ok(Answer::Text(server.statistics())),
            Command::FieldList => field_list(arguments),
            Command::ProcessKill => self.kill(arguments, server),
            Command::ResetConnection => {
                self.state.reset();
                self.prepared.clear();
                Ok(Answer::DONE)
            }
            Command::StmtPrepare => self.prepare(arguments, server),
            Command::StmtExecute => self.execute(arguments, server),
            Command::StmtFetch => {
                let id = Cursor::new(arguments).u32("COM_STMT_FETCH.statement_id");
                Err(Refusal::no_cursor(id.unwrap_or_default()))
            }
            Command::StmtSendLongData => {
                self.add_long_data(Cursor::new(arguments));
                Ok(Answer::Nothing)
            }
            Command::StmtReset => {
                self.find_prepared(&mut Cursor::new(arguments))?.reset();
                Ok(Answer::DONE)
            }
            Command::StmtClose => {
                if let Ok(id) = Cursor::new(arguments).u32("COM_STMT_CLOSE.statement_id") {
                    self.prepared.remove(&id);
                }
                Ok(Answer::Nothing)
            }
            other => Err(Refusal::unknown_command(other.byte())),
        }
    }

    fn query(&mut self, text: &[u8], server: &mut Server) -> Result<Answer, Refusal> {
        let statement = match parse(text) {
            Ok((statement, 0)) => statement,
            // Only a prepared statement has parameters.
            Ok(_) => return Err(self.state.remember(Refusal::syntax(b"?"))),
            Err(refusal) => return Err(self.state.remember(refusal)),
        };
        let outcome = self.state.execute(&statement, &[], server)?;
        Ok(Answer::Outcome(outcome, Format::Text))
    }

    /// `COM_PROCESS_KILL`: a number in four bytes.
    fn kill(&mut self, arguments: &[u8], server: &mut Server) -> Result<Answer, Refusal> {
        let thread = Cursor::new(arguments).u32("COM_PROCESS_KILL.connection_id");
        let thread = thread.map_err(|_| Refusal::NOT_READABLE)?;
        let statement = Statement::Kill {
            thread: Operand::Given(Value::Integer(i64::from(thread))),
            connection: true,
        };
        let outcome = self.state.execute(&statement, &[], server)?;
        Ok(Answer::Outcome(outcome, Format::Text))
    }

    fn prepare(&mut self, text: &[u8], server: &Server) -> Result<Answer, Refusal> {
        let (statement, parameters) =
            parse(text).map_err(|refusal| self.state.remember(refusal))?;
        if !statement.is_preparable() {
            return Err(self.state.remember(Refusal::NOT_PREPARABLE));
        }
        if self.prepared.len() >= PREPARED_MAX {
            return Err(self.state.remember(Refusal::TOO_MANY_STATEMENTS));
        }
        let columns = self.state.describe(&statement, server)?;
        self.last_prepared = self.last_prepared.wrapping_add(1);
        let id = self.last_prepared;
        self.prepared
            .insert(id, Prepared::new(statement, parameters));
        Ok(Answer::Prepared(id, parameters, columns))
    }

    /// `COM_STMT_EXECUTE`. A cursor that the client wants is not opened, as with results that a
    /// real server finds too small for one: the rows follow at once.
    fn execute(&mut self, arguments: &[u8], server: &mut Server) -> Result<Answer, Refusal> {
        let mut cursor = Cursor::new(arguments);
        let prepared = self.find_prepared(&mut cursor)?;
        cursor
            .bytes(5, "COM_STMT_EXECUTE.flags and iteration_count")
            .map_err(|_| Refusal::NOT_READABLE)?;
        let parameters = prepared.bind(cursor)?;
        let statement = prepared.statement.clone();
        let outcome = self.state.execute(&statement, &parameters, server)?;
        Ok(Answer::Outcome(outcome, Format::Binary))
    }

    /// `COM_STMT_SEND_LONG_DATA`, of which a client hears nothing before it executes.
    fn add_long_data(&mut self, mut cursor: Cursor<'_>) {
        if let Ok(prepared) = self.find_prepared(&mut cursor)
            && let Ok(parameter) = cursor.u16("COM_STMT_SEND_LONG_DATA.param_id")
        {
            prepared.add_long_data(parameter, cursor.take_rest());
        }
    }

    /// The statement whose number comes next in a packet.
    fn find_prepared(&mut self, cursor: &mut Cursor<'_>) -> Result<&mut Prepared, Refusal> {
        let id = cursor.u32("COM_STMT.statement_id");
        let id = id.map_err(|_| Refusal::NOT_READABLE)?;
        let found = self.prepared.get_mut(&id);
        found.ok_or_else(|| Refusal::unknown_statement(id))
    }
}

/// What a command is answered with, if not with an error.
enum Answer {
    /// Not at all.
    Nothing,
    Outcome(Outcome, Format),
    Fields([Column; 2]),
    /// The statement's number, its parameters and its columns.
    Prepared(u32, u16, Vec<Column>),
    Text(String),
    /// With the end of the connection.
    Goodbye,
}

impl Answer {
    const DONE: Self = Self::Outcome(Outcome::DONE, Format::Text);
}

/// `COM_FIELD_LIST`: the columns of a table.
fn field_list(arguments: &[u8]) -> Result<Answer, Refusal> {
    let table = Cursor::new(arguments).nul_bytes_or_rest();
    match table == TABLE.as_bytes() {
        true => Ok(Answer::Fields(Table::columns(b"k", b"v"))),
        false => Err(Refusal::unknown_table(table)),
    }
}
