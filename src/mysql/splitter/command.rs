//! What the client says: finds its commands, and what each is.

use zeroize::Zeroizing;

use super::exchange::{Ask, Exchange};
use super::failure::Ending;
use super::kill::Kill;
use super::prepared::{asks_for_cursor, statement_id};
use super::query::statement_text;
use super::{Order, Phase, Splitter, Taken, Tracking, gtid, peer};
use crate::config::ReadAfterWrite;
use crate::limits::LOGIN_PACKET_BYTES_MAX;
use crate::mysql::classify::{classify, classify_head};
use crate::mysql::command::{Command, Reply};
use crate::mysql::framer::Frame;
use crate::mysql::inbox::TooLong;
use crate::mysql::login::Peer;
use crate::mysql::packet::{HEADER_BYTES, Header};
use crate::mysql::route::{Decision, Server, Target};
use crate::mysql::statement::{Kind, Statement};
use crate::telemetry::RouteReason;

/// Bytes of a command that is too long to be held by which it is known: its first byte, and the id
/// of a prepared statement, or the verb of a statement behind a comment.
const HEAD_BYTES: usize = HEADER_BYTES + 512;

/// Bytes of a command by which it is known how long it may be.
const COMMAND_BYTES: usize = HEADER_BYTES + 1;

impl Splitter {
    /// Takes the next thing that the client says from the front of `input`. Nothing is taken while
    /// the reply to the command before is on its way. Statement ids may be written over.
    pub fn client(&mut self, input: &mut [u8], now_us: u64, orders: &mut Vec<Order>) -> Taken {
        if input.is_empty() {
            return Taken::NOTHING;
        }
        match self.phase {
            Phase::Closed => Taken::dropped(input.len()),
            Phase::Streaming(server) => self.stream(input, server),
            Phase::File(server) => self.file(input, server),
            Phase::Commands if self.exchange.is_some() => Taken::NOTHING,
            Phase::Commands if self.held.is_empty() => self.next(input, now_us, orders),
            Phase::Commands => self.gather(input, now_us, orders),
        }
    }

    /// A command that lies in the input as a whole needs not be held: the usual case.
    fn next(&mut self, input: &mut [u8], now_us: u64, orders: &mut Vec<Order>) -> Taken {
        let whole = input.first_chunk().and_then(|header| {
            let header = Header::parse(*header);
            let bytes = HEADER_BYTES.saturating_add(header.payload_bytes());
            (!header.is_full() && bytes <= self.held_max()).then_some(bytes)
        });
        let Some(packet) = whole.and_then(|bytes| input.get_mut(..bytes)) else {
            return self.gather(input, now_us, orders);
        };
        match self.command(packet, false, now_us, orders) {
            Some(to) => Taken::passed(packet.len(), to),
            None => Taken::dropped(packet.len()),
        }
    }

    /// How long the command may be that is held: another login as long as any.
    fn held_max(&self) -> usize {
        let payload_bytes_max = match self.gathers_login() {
            true => LOGIN_PACKET_BYTES_MAX as usize,
            false => self.settings.classify_bytes_max,
        };
        payload_bytes_max.saturating_add(HEADER_BYTES)
    }

    /// Whether what has come of the next command is of a `COM_CHANGE_USER`, which may have a password
    /// in it.
    pub fn gathers_login(&self) -> bool {
        self.held.get(HEADER_BYTES) == Some(&Command::ChangeUser.byte())
    }

    /// Holds a command that arrives in pieces, until it is complete or known to be too long.
    fn gather(&mut self, input: &[u8], now_us: u64, orders: &mut Vec<Order>) -> Taken {
        let mut rest = input;
        self.hold(&mut rest, HEADER_BYTES);
        let Some(header) = self.held.first_chunk() else {
            return Taken::dropped(input.len());
        };
        let header = Header::parse(*header);
        let whole = HEADER_BYTES.saturating_add(header.payload_bytes());
        self.hold(&mut rest, whole.min(COMMAND_BYTES));
        let is_long = header.is_full() || whole > self.held_max();
        let wanted = if is_long { HEAD_BYTES } else { whole };
        self.hold(&mut rest, wanted);
        let taken = Taken::dropped(input.len().saturating_sub(rest.len()));
        if self.held.len() < wanted {
            return taken;
        }
        // What goes nowhere as it is may be a password.
        let mut packet = Zeroizing::new(std::mem::take(&mut self.held));
        if let Some(to) = self.command(&mut packet, is_long, now_us, orders) {
            orders.push(Order::Send(to, std::mem::take(&mut packet)));
        }
        taken
    }

    /// Holds what is missing of so many bytes, as far as it has come.
    fn hold(&mut self, input: &mut &[u8], wanted: usize) {
        let missing = wanted.saturating_sub(self.held.len());
        let (piece, rest) = input.split_at(missing.min(input.len()));
        self.held.extend_from_slice(piece);
        *input = rest;
    }

    /// The rest of a command that is too long to be held.
    fn stream(&mut self, input: &mut [u8], server: Option<Server>) -> Taken {
        let is_running = self.exchange.as_ref().is_none_or(Exchange::is_running);
        if !is_running {
            return Taken::NOTHING;
        }
        let (bytes, ended) = self.follow(input, server);
        if ended {
            self.phase = Phase::Commands;
        }
        match server {
            Some(server) => Taken::passed(bytes, peer(server)),
            None => Taken::dropped(bytes),
        }
    }

    /// Follows a message of the client's by its packets. How many bytes of the input belong to it,
    /// and whether it ends there. The reply's number goes on with the packets'.
    pub(super) fn follow(&mut self, input: &[u8], server: Option<Server>) -> (usize, bool) {
        let mut rest = input;
        let mut ended = false;
        while let Some(frame) = self.framer.next(&mut rest) {
            match frame {
                Frame::Header { header, .. } => {
                    self.last_sequence = header.sequence;
                    self.last_len = header.len;
                    if let Some(server) = server {
                        let next = header.sequence.wrapping_add(1);
                        self.side_mut(server).tracker.expect_sequence(next);
                    }
                }
                Frame::Payload(_) => {}
                Frame::End => {
                    ended = true;
                    break;
                }
            }
        }
        (input.len().saturating_sub(rest.len()), ended)
    }

    /// The file that a server asked for, up to the empty packet behind it.
    fn file(&mut self, input: &mut [u8], server: Server) -> Taken {
        let (bytes, ended) = self.follow(input, None);
        if ended && self.last_len == 0 {
            let sequence = self.last_sequence.wrapping_add(1);
            let tracker = &mut self.side_mut(server).tracker;
            // It may have refused the file before it had all of it.
            if tracker.waits_for_file() {
                tracker.resume_after_file(sequence);
            }
            self.phase = Phase::Commands;
        }
        Taken::passed(bytes, peer(server))
    }

    /// A command, or the head of one that `is_long`. Returns where its packet goes as it is; to
    /// nobody when what was to be done about it is among the orders, or waits.
    fn command(
        &mut self,
        packet: &mut [u8],
        is_long: bool,
        now_us: u64,
        orders: &mut Vec<Order>,
    ) -> Option<Peer> {
        let (header, payload) = packet.split_first_chunk::<HEADER_BYTES>()?;
        let header = Header::parse(*header);
        let sequence = header.sequence.wrapping_add(1);
        let (byte, arguments) = payload.split_first().unwrap_or((&0, &[]));
        let command = Command::from_byte(*byte);
        self.text.bytes.clear();
        let ask = match command {
            Command::Quit => return self.quit(packet, orders),
            Command::ChangeUser => {
                self.phase = Phase::Closed;
                orders.push(Order::ChangeUser(another_login(header, payload)));
                return None;
            }
            Command::BinlogDump | Command::BinlogDumpGtid => {
                self.phase = Phase::Closed;
                orders.push(Order::Relay);
                return Some(Peer::Primary);
            }
            Command::Query => self.query(arguments, is_long),
            Command::StmtPrepare => self.prepare(arguments, is_long),
            Command::StmtExecute
            | Command::StmtFetch
            | Command::StmtReset
            | Command::StmtSendLongData
            | Command::StmtClose
            | Command::StmtBulkExecute => self.about_prepared(command, payload, is_long),
            Command::ProcessKill => {
                let kill = Kill::from_command(arguments);
                Ask::kill(command, kill)
            }
            Command::InitDb => Ask::state(command, Statement::use_schema(arguments)),
            Command::SetOption | Command::Ping | Command::ResetConnection => {
                let mut statement = Statement::new(Kind::SessionState, RouteReason::SessionState);
                statement.effects.keeps_meaning = true;
                Ask {
                    // MYSQL_OPTION_MULTI_STATEMENTS_ON is 0.
                    multi_statements: arguments.starts_with(&[0, 0]),
                    ..Ask::state(command, statement)
                }
            }
            _ => Ask::primary(command),
        };
        self.begin(ask, sequence, is_long, packet, now_us, orders)
    }

    /// The servers are told, too, so that they do not take it for a lost connection.
    fn quit(&mut self, packet: &[u8], orders: &mut Vec<Order>) -> Option<Peer> {
        self.phase = Phase::Closed;
        if self.is_open(Server::Replica) {
            orders.push(Order::Send(Peer::Replica, packet.to_vec()));
        }
        orders.push(Order::End(Ending::Quit));
        self.is_open(Server::Primary).then_some(Peer::Primary)
    }

    fn query(&mut self, arguments: &[u8], is_long: bool) -> Ask {
        let text = statement_text(arguments, self.established.capabilities);
        let dialect = self.state.dialect();
        if is_long {
            let statement = classify_head(text.unwrap_or_default(), dialect);
            return Ask::statement(Command::Query, statement);
        }
        let statement = match text {
            Some(text) => classify(text, dialect),
            None => Statement::unread(RouteReason::NotUnderstood),
        };
        let text = text.unwrap_or_default();
        self.text.keep(text, dialect, self.settings.text_bytes_max);
        let tracks = self.settings.read_after_write == ReadAfterWrite::Gtid;
        if tracks && statement.kind != Kind::Read && gtid::touches_tracking(text) {
            self.tracking = Tracking::Spoilt;
        }
        match statement.kind {
            Kind::Kill => Ask {
                statement,
                ..Ask::kill(Command::Query, Kill::parse(text, dialect))
            },
            _ => Ask::statement(Command::Query, statement),
        }
    }

    /// Prepared at the primary, whatever it is; at the replica when it is to run there.
    fn prepare(&mut self, text: &[u8], is_long: bool) -> Ask {
        self.preparing.clear();
        if !is_long {
            self.preparing.extend_from_slice(text);
        }
        let mut statement = match is_long {
            true => classify_head(text, self.state.dialect()),
            false => classify(text, self.state.dialect()),
        };
        // Its id is a parameter, or was bound to a connection that may be another one by then.
        if statement.kind == Kind::Kill {
            statement = Statement::new(Kind::Primary, RouteReason::Kill);
        }
        let server = match self.is_open(Server::Primary) {
            true => Server::Primary,
            false => Server::Replica,
        };
        let can = server == Server::Primary || self.prepared.is_empty();
        Ask {
            prepares: Some(statement),
            is_counted: false,
            decision: Some(match can {
                true => Decision::to(server, statement.reason),
                false => Decision::refused(RouteReason::PrimaryLost),
            }),
            ..Ask::statement(Command::StmtPrepare, statement)
        }
    }

    fn about_prepared(&mut self, command: Command, payload: &[u8], is_long: bool) -> Ask {
        let arguments = payload.get(1..).unwrap_or_default();
        let meaning = self.meaning;
        let id = statement_id(arguments).map(|id| self.prepared.definite(id));
        let types_are_kept = id.is_none_or(|id| self.keeps_types(id, command, payload));
        let known = id.and_then(|id| self.prepared.get_mut(id).map(|known| (id, known)));
        let Some((id, known)) = known else {
            // The primary tells the client that there is no such statement.
            return Ask::primary(command);
        };
        let statement = known.statement;
        let may_move = known.may_run_at_replica(meaning);
        let at_both = known.replica_id().is_some();
        let about = Ask {
            prepared: Some(id),
            ..Ask::primary(command)
        };
        match command {
            Command::StmtExecute => {
                let cannot_move = known.has_long_data || is_long || !may_move || !types_are_kept;
                known.has_long_data = false;
                let text = known.text().unwrap_or_default();
                self.text
                    .keep(text, known.dialect, self.settings.text_bytes_max);
                Ask {
                    prepared: Some(id),
                    opens_cursor: asks_for_cursor(arguments),
                    keeps_to_primary: cannot_move,
                    ..Ask::statement(command, statement)
                }
            }
            Command::StmtFetch => {
                let server = known.cursor.unwrap_or(Server::Primary);
                Ask {
                    decision: Some(Decision::to(server, RouteReason::PreparedText)),
                    ..about
                }
            }
            Command::StmtSendLongData => {
                known.has_long_data = true;
                about
            }
            Command::StmtReset => {
                known.has_long_data = false;
                known.cursor = None;
                match at_both {
                    true => about.at_both(),
                    false => about,
                }
            }
            Command::StmtClose => match at_both {
                true => about.at_both(),
                false => about,
            },
            // It is made for writing, and only MariaDB knows it.
            Command::StmtBulkExecute => Ask {
                is_counted: true,
                statement,
                decision: Some(Decision::to(Server::Primary, statement.reason)),
                ..about
            },
            _ => about,
        }
    }

    /// Whether the types of an execution can be told to the other server later. Without a primary
    /// there is no other one.
    fn keeps_types(&self, id: u32, command: Command, payload: &[u8]) -> bool {
        let capabilities = self.established.capabilities;
        let matters = command == Command::StmtExecute && self.is_open(Server::Primary);
        !matters || self.prepared.keeps_types(id, payload, capabilities)
    }
}

/// A `COM_CHANGE_USER`, unless it is longer than any login.
fn another_login(header: Header, payload: &[u8]) -> Result<Zeroizing<Vec<u8>>, TooLong> {
    match header.len > LOGIN_PACKET_BYTES_MAX {
        true => Err(TooLong {
            sequence: header.sequence,
        }),
        false => Ok(Zeroizing::new(payload.to_vec())),
    }
}

/// What a command is, before it is decided where it goes.
impl Ask {
    fn statement(command: Command, statement: Statement) -> Self {
        Self {
            command,
            reply: command.reply(),
            statement,
            is_counted: true,
            prepared: None,
            prepares: None,
            opens_cursor: false,
            keeps_to_primary: false,
            decision: None,
            kill: None,
            multi_statements: false,
        }
    }

    /// A command that is no statement.
    fn primary(command: Command) -> Self {
        let statement = Statement::new(Kind::Primary, RouteReason::Other);
        Self {
            is_counted: false,
            decision: None,
            ..Self::statement(command, statement)
        }
    }

    fn state(command: Command, statement: Statement) -> Self {
        Self {
            is_counted: false,
            ..Self::statement(command, statement)
        }
    }

    fn kill(command: Command, kill: Option<Kill>) -> Self {
        let statement = Statement::new(Kind::Kill, RouteReason::Kill);
        Self {
            kill,
            ..Self::statement(command, statement)
        }
    }

    fn at_both(self) -> Self {
        let decision = Decision {
            target: Target::Both,
            ..Decision::to(Server::Primary, RouteReason::PreparedText)
        };
        Self {
            decision: Some(decision),
            ..self
        }
    }

    /// Whether it runs the text of a prepared statement or a query: what a reply may be long to.
    pub(super) const fn is_execution(&self) -> bool {
        matches!(self.reply, Reply::Results | Reply::Execution)
    }
}
