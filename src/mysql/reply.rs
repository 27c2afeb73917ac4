//! Where a reply ends, and how: follows what a server sends by packet headers and the first bytes
//! of packets. Rows are never looked into, and never held.

use thiserror::Error;

use super::capabilities::Capabilities;
use super::command::Reply;
use super::cursor::{Cursor, Malformed};
use super::framer::{Frame, Framer};
use super::packet::{
    AUTH_MORE_DATA, AUTH_NEXT_FACTOR, EOF, EOF_BYTES_BELOW, ERR, ErrPacket, HEADER_BYTES, Header,
    LOCAL_INFILE, OK, OkPacket, PAYLOAD_BYTES_MAX, Status,
};
use crate::limits::{COLUMNS_MAX, OK_PACKET_BYTES_MAX, REPLY_SCRATCH_BYTES};

/// A reply that is none. The server is to blame, always; nothing that it sends can be trusted to
/// belong to anything any more, so that both connections have to be closed.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum Violation {
    /// A packet that cannot be read.
    #[error("the server's reply is malformed: {0}")]
    Malformed(#[from] Malformed),
    /// A packet that does not belong to this reply: its number is not the next one.
    #[error("the server's packet has number {got}, after {expected} was expected")]
    OutOfOrder {
        /// The number it should have had.
        expected: u8,
        /// The number it has.
        got: u8,
    },
    /// A packet of a kind that this reply cannot have at this place.
    #[error("the server's packet begins with {0:#04x}, which this reply cannot have here")]
    Unexpected(u8),
    /// A packet without a first byte.
    #[error("the server's packet is empty where something has to be said")]
    Empty,
    /// A result set with more columns than there can be.
    #[error("the server announces {0} columns")]
    TooManyColumns(u64),
    /// A request for a file of the client's in reply to something that did not offer one (B-13).
    #[error("the server asks for a file that the client has not offered")]
    FileNotOffered,
    /// Bytes from a server that has nothing to answer.
    #[error("the server sends without having been asked")]
    Unasked,
}

/// What happened in a reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event<'a> {
    /// All bytes were taken, and the reply goes on.
    More,
    /// A result set begins. Rows may follow.
    Columns(u32),
    /// A result ends. `last` ends the reply.
    Result {
        /// The OK or EOF packet.
        ok: OkPacket<'a>,
        /// Bytes of that packet, header included: the last ones that were taken.
        packet_bytes: u64,
        /// Whether no other result follows.
        last: bool,
    },
    /// An ERR packet ends the reply.
    Error(ErrPacket<'a>),
    /// A statement is prepared; the definitions of its parameters and columns may follow.
    Prepared(Prepared),
    /// The server asks for a file; see [`ReplyTracker::resume_after_file`].
    WantsFile(&'a [u8]),
    /// The server asks something of an authentication plugin: an `AuthSwitchRequest`,
    /// `AuthMoreData` or `AuthNextFactor`. See [`ReplyTracker::expect_sequence`].
    Authentication(&'a [u8]),
    /// A reply without OK or ERR packet at its end is complete.
    Complete,
}

/// `COM_STMT_PREPARE_OK`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Prepared {
    /// The server's number of the statement.
    pub statement_id: u32,
    /// Columns of its result; 0 when it returns none.
    pub columns: u16,
    /// Its placeholders.
    pub parameters: u16,
    /// Warnings of the preparation.
    pub warnings: u16,
}

/// Follows the replies of one server connection, one after the other.
#[derive(Debug)]
pub struct ReplyTracker {
    capabilities: Capabilities,
    framer: Framer,
    state: State,
    /// The message that is arriving in pieces.
    open: Option<Open>,
    /// Its first bytes, as many as are needed.
    scratch: Vec<u8>,
    next_sequence: u8,
    status: Status,
    /// Whether a byte of the reply has come.
    begun: bool,
    /// Files of the client's that the server may ask for.
    files_offered: u8,
    /// Whether the command may have opened a cursor.
    cursor_possible: bool,
    /// Whether the reply may have several results.
    several: bool,
}

/// What the next message of the server is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Nothing: no reply is expected, or it is complete.
    Done,
    /// OK, EOF or ERR.
    Status,
    /// The first of a result.
    First,
    /// The same, and no request for a file is possible any more.
    AfterFile,
    /// Nothing until the client has sent its file.
    File,
    /// One of so many column definitions.
    Columns(u32),
    /// The EOF behind them.
    ColumnsEof,
    /// A row, or the end of rows.
    Rows,
    /// `COM_STMT_PREPARE_OK`.
    Prepare,
    /// One of so many definitions of parameters, before so many of columns.
    Parameters(u16, u16),
    /// The EOF behind them.
    ParametersEof(u16),
    /// One of so many definitions of columns.
    PreparedColumns(u16),
    /// The EOF behind them.
    PreparedColumnsEof,
    /// A column definition of `COM_FIELD_LIST`, or the end of them.
    Fields,
    /// A string.
    Text,
    /// An event of a replication stream.
    Stream,
    /// A packet of an authentication.
    Authentication,
}

/// A message that has begun and not ended.
#[derive(Clone, Copy, Debug)]
struct Open {
    /// Length of its first packet.
    len: u32,
    /// How many of its first bytes are needed.
    wanted: usize,
    /// Bytes of it that have come, headers included.
    bytes: u64,
    /// The sequence that was expected and the one that came, when they differ.
    disorder: Option<(u8, u8)>,
}

/// What a message was.
#[derive(Clone, Copy)]
enum Verdict {
    /// Nothing to tell anybody.
    Quiet,
    Columns(u32),
    Result {
        last: bool,
    },
    Error,
    Prepared(Prepared),
    WantsFile,
    Authentication,
    Complete,
}

/// Where a complete message lies.
enum Found<'a> {
    /// In the piece that came in.
    Input(&'a [u8]),
    /// In the scratch buffer.
    Scratch,
}

impl ReplyTracker {
    /// A tracker for a connection on which this was agreed. No reply is expected yet.
    pub fn new(capabilities: Capabilities) -> Self {
        Self {
            capabilities,
            framer: Framer::default(),
            state: State::Done,
            open: None,
            scratch: Vec::new(),
            next_sequence: 0,
            status: Status::default(),
            begun: false,
            files_offered: 0,
            cursor_possible: false,
            several: false,
        }
    }

    /// Expects a reply, whose first packet has number `sequence`: that of the command's last packet
    /// plus one. The reply before must be complete.
    pub fn start(&mut self, reply: Reply, sequence: u8) {
        debug_assert!(self.is_complete() && self.framer.is_between_messages());
        self.next_sequence = sequence;
        self.begun = false;
        self.files_offered = 0;
        self.cursor_possible = reply == Reply::Execution;
        self.several = matches!(reply, Reply::Results | Reply::Execution);
        self.scratch.clear();
        self.scratch.shrink_to(REPLY_SCRATCH_BYTES);
        self.state = match reply {
            Reply::None => State::Done,
            Reply::Status => State::Status,
            Reply::Results | Reply::Execution => State::First,
            Reply::Rows => State::Rows,
            Reply::Prepared => State::Prepare,
            Reply::Fields => State::Fields,
            Reply::Text => State::Text,
            Reply::Stream => State::Stream,
            Reply::Authentication => State::Authentication,
        };
    }

    /// The command has so many `LOAD DATA LOCAL` of the client's: the server may ask for a file for
    /// each, one after the other.
    pub fn offer_files(&mut self, files: u8) {
        self.files_offered = files;
    }

    /// The client has sent its file, or an empty one; its last packet plus one is `sequence`.
    pub fn resume_after_file(&mut self, sequence: u8) {
        debug_assert!(self.state == State::File);
        self.state = State::AfterFile;
        self.next_sequence = sequence;
    }

    /// The client has answered an [`Event::Authentication`]; its packet plus one is `sequence`.
    pub fn expect_sequence(&mut self, sequence: u8) {
        self.next_sequence = sequence;
    }

    /// Takes bytes of the reply from the front of `input` up to the next event. What is left when
    /// [`Self::is_complete`] does not belong to it.
    ///
    /// # Errors
    /// When the bytes are no reply to the command, or no reply is expected. Nothing more may be
    /// fed.
    pub fn feed<'t, 'i: 't>(&'t mut self, input: &mut &'i [u8]) -> Result<Event<'t>, Violation> {
        let (found, verdict, bytes) = loop {
            if self.is_complete() {
                return match input.is_empty() {
                    true => Ok(Event::More),
                    false => Err(Violation::Unasked),
                };
            }
            self.begun |= !input.is_empty();
            if let Some((header, payload)) = self.framer.whole(input) {
                let disorder = self.order(header);
                let kept = payload.get(..OK_PACKET_BYTES_MAX).unwrap_or(payload);
                let verdict = self.judge(kept, header.len, disorder)?;
                if !matches!(verdict, Verdict::Quiet) {
                    break (Found::Input(kept), verdict, u64::from(header.len));
                }
                continue;
            }
            match self.frame(input)? {
                None => return Ok(Event::More),
                Some((Verdict::Quiet, _)) => {}
                Some((verdict, bytes)) => break (Found::Scratch, verdict, bytes),
            }
        };
        let payload = match found {
            Found::Input(payload) => payload,
            Found::Scratch => &self.scratch,
        };
        let packet_bytes = bytes.saturating_add(HEADER_BYTES as u64);
        Self::tell(verdict, payload, packet_bytes, self.capabilities)
    }

    /// Whether the reply is complete: the next command may be sent.
    pub fn is_complete(&self) -> bool {
        self.state == State::Done && self.open.is_none()
    }

    /// Whether a byte of the reply has come, so that the command can no longer be repeated.
    pub const fn has_begun(&self) -> bool {
        self.begun
    }

    /// Whether the server waits for a file of the client's.
    pub fn waits_for_file(&self) -> bool {
        self.state == State::File
    }

    /// Whether rows are coming.
    #[cfg(test)]
    pub(super) fn is_in_rows(&self) -> bool {
        self.state == State::Rows
    }

    /// The status flags of the last OK or EOF packet.
    pub const fn status(&self) -> Status {
        self.status
    }

    /// The number of an ERR packet that could be put here in the server's place, when the protocol
    /// allows one: between two messages, and not among column definitions.
    pub fn error_sequence(&self) -> Option<u8> {
        let possible = !matches!(
            self.state,
            State::Done
                | State::File
                | State::Columns(_)
                | State::ColumnsEof
                | State::Parameters(..)
                | State::ParametersEof(_)
                | State::PreparedColumns(_)
                | State::PreparedColumnsEof
        );
        let free = self.open.is_none() && self.framer.is_between_messages();
        (possible && free).then_some(self.next_sequence)
    }

    /// How many of the next bytes are the inside of a row, and can go another way than through
    /// [`Self::feed`].
    pub fn skippable(&self) -> u32 {
        match (self.state, &self.open) {
            (State::Rows | State::Stream, Some(open)) if open.wanted <= 1 => {
                match self.scratch.is_empty() {
                    true => 0,
                    false => self.framer.payload_left(),
                }
            }
            _ => 0,
        }
    }

    /// As many bytes of the row went another way. At most [`Self::skippable`].
    pub fn skip(&mut self, bytes: u32) {
        debug_assert!(bytes <= self.skippable());
        let skipped = self.framer.skip(bytes.min(self.skippable()));
        if let Some(open) = &mut self.open {
            open.bytes = open.bytes.saturating_add(u64::from(skipped));
        }
        if self.framer.payload_left() == 0 {
            let end = self.frame(&mut &[][..]);
            debug_assert!(end.is_ok(), "the end of a row is nothing to complain of");
        }
    }

    /// How many of the bytes taken last belong to a packet that is not complete and may be an OK
    /// packet. Whoever rewrites OK packets holds these back.
    pub fn unsettled(&self) -> u64 {
        let header = self.framer.header_bytes_held() as u64;
        match (self.state, &self.open) {
            (State::Columns(_) | State::Parameters(..) | State::PreparedColumns(_), _) => 0,
            (_, None) => header,
            (State::Rows | State::Fields | State::Stream, Some(open))
                if !self.scratch.is_empty() =>
            {
                match open.wanted > 1 {
                    true => open.bytes.saturating_add(header),
                    false => 0,
                }
            }
            (_, Some(open)) => open.bytes.saturating_add(header),
        }
    }

    /// Takes one frame of a message that arrives in pieces. A verdict, and the length of the
    /// message, when that completes it.
    fn frame(&mut self, input: &mut &[u8]) -> Result<Option<(Verdict, u64)>, Violation> {
        match self.framer.next(input) {
            None => Ok(None),
            Some(Frame::Header {
                header,
                continuation,
            }) => {
                let disorder = self.order(header);
                self.header(header, continuation, disorder)?;
                Ok(Some((Verdict::Quiet, 0)))
            }
            Some(Frame::Payload(bytes)) => {
                self.collect(bytes)?;
                Ok(Some((Verdict::Quiet, 0)))
            }
            Some(Frame::End) => {
                let Some(open) = self.open.take() else {
                    return Ok(Some((Verdict::Quiet, 0)));
                };
                let scratch = std::mem::take(&mut self.scratch);
                let verdict = self.judge(&scratch, open.len, open.disorder);
                self.scratch = scratch;
                let bytes = open.bytes.saturating_sub(HEADER_BYTES as u64);
                Ok(Some((verdict?, bytes)))
            }
        }
    }

    fn header(
        &mut self,
        header: Header,
        continuation: bool,
        disorder: Option<(u8, u8)>,
    ) -> Result<(), Violation> {
        if continuation {
            if let Some((expected, got)) = disorder {
                return Err(Violation::OutOfOrder { expected, got });
            }
            if let Some(open) = &mut self.open {
                open.bytes = open.bytes.saturating_add(HEADER_BYTES as u64);
            }
            return Ok(());
        }
        self.scratch.clear();
        self.scratch.shrink_to(REPLY_SCRATCH_BYTES);
        self.open = Some(Open {
            len: header.len,
            wanted: self.wanted(header.len),
            bytes: HEADER_BYTES as u64,
            disorder,
        });
        Ok(())
    }

    /// Keeps the bytes of a message that are needed.
    fn collect(&mut self, mut bytes: &[u8]) -> Result<(), Violation> {
        let Some(open) = &mut self.open else {
            return Ok(());
        };
        open.bytes = open.bytes.saturating_add(bytes.len() as u64);
        if self.scratch.is_empty()
            && let Some((&first, rest)) = bytes.split_first()
        {
            in_order(open.disorder, first)?;
            self.scratch.push(first);
            bytes = rest;
            if first == ERR || is_end(first, open.len, self.capabilities) {
                open.wanted = OK_PACKET_BYTES_MAX;
            }
        }
        let missing = open.wanted.saturating_sub(self.scratch.len());
        let kept = bytes.get(..missing).unwrap_or(bytes);
        self.scratch.extend_from_slice(kept);
        Ok(())
    }

    /// How many first bytes of the next message are needed, before any of them is known.
    fn wanted(&self, len: u32) -> usize {
        match self.state {
            State::Rows | State::Fields | State::Stream if len > 0 => 1,
            State::Columns(_) | State::Parameters(..) | State::PreparedColumns(_) => 1,
            _ => OK_PACKET_BYTES_MAX,
        }
    }

    /// Notes a packet's number; the expected and the real one when they differ.
    fn order(&mut self, header: Header) -> Option<(u8, u8)> {
        let expected = self.next_sequence;
        self.next_sequence = header.sequence.wrapping_add(1);
        (expected != header.sequence).then_some((expected, header.sequence))
    }

    /// What a complete message is, and what comes after it. `len` is the length of its first
    /// packet, `payload` what was kept of it.
    fn judge(
        &mut self,
        payload: &[u8],
        len: u32,
        disorder: Option<(u8, u8)>,
    ) -> Result<Verdict, Violation> {
        let &first = payload.first().ok_or(Violation::Empty)?;
        in_order(disorder, first)?;
        if first == ERR && len < PAYLOAD_BYTES_MAX {
            return self.judge_error(payload);
        }
        match self.state {
            State::Done | State::File => Err(Violation::Unasked),
            State::Status | State::AfterFile => match first {
                OK | EOF => self.end_result(payload),
                _ => Err(Violation::Unexpected(first)),
            },
            State::First => self.judge_first(first, payload, len),
            State::Columns(left) => Ok(self.column_passed(left)),
            State::ColumnsEof => self.judge_columns_eof(first, payload, len),
            State::Rows => match is_end(first, len, self.capabilities) {
                true => self.end_result(payload),
                false => Ok(Verdict::Quiet),
            },
            State::Prepare => self.judge_prepared(first, payload),
            State::Parameters(left, columns) => Ok(self.parameter_passed(left, columns)),
            State::ParametersEof(columns) => match is_eof(first, len) {
                true => Ok(self.expect_prepared_columns(columns)),
                false => Err(Violation::Unexpected(first)),
            },
            State::PreparedColumns(left) => Ok(self.prepared_column_passed(left)),
            State::PreparedColumnsEof => match is_eof(first, len) {
                true => Ok(self.complete()),
                false => Err(Violation::Unexpected(first)),
            },
            State::Fields => match is_end(first, len, self.capabilities) {
                true => self.end_result(payload),
                false => Ok(Verdict::Quiet),
            },
            State::Text => Ok(self.complete()),
            State::Stream => match is_eof(first, len) {
                true => self.end_result(payload),
                false => Ok(Verdict::Quiet),
            },
            State::Authentication => match first {
                OK => self.end_result(payload),
                EOF | AUTH_MORE_DATA | AUTH_NEXT_FACTOR => Ok(Verdict::Authentication),
                _ => Err(Violation::Unexpected(first)),
            },
        }
    }

    fn judge_error(&mut self, payload: &[u8]) -> Result<Verdict, Violation> {
        let error = ErrPacket::parse(payload)?;
        let reports = self.capabilities.contains(Capabilities::MARIADB_PROGRESS);
        if reports && error.code == ErrPacket::PROGRESS_REPORT {
            return Ok(Verdict::Quiet);
        }
        self.state = State::Done;
        Ok(Verdict::Error)
    }

    /// The first message of a result: OK, a request for a file, or the number of columns.
    fn judge_first(&mut self, first: u8, payload: &[u8], len: u32) -> Result<Verdict, Violation> {
        match first {
            OK => return self.end_result(payload),
            EOF if is_end(first, len, self.capabilities) => return self.end_result(payload),
            LOCAL_INFILE if self.files_offered == 0 => return Err(Violation::FileNotOffered),
            LOCAL_INFILE => {
                self.files_offered = self.files_offered.saturating_sub(1);
                self.state = State::File;
                return Ok(Verdict::WantsFile);
            }
            _ => {}
        }
        let mut cursor = Cursor::new(payload);
        let count = cursor.lenenc("Column_count.column_count")?;
        let columns = u32::try_from(count).unwrap_or(u32::MAX);
        if count > COLUMNS_MAX {
            return Err(Violation::TooManyColumns(count));
        }
        let optional = Capabilities::OPTIONAL_METADATA | Capabilities::MARIADB_CACHE_METADATA;
        let follow = match self.capabilities.intersects(optional) {
            true => cursor.u8("Column_count.metadata_follows")? != 0,
            false => true,
        };
        if let Some(extra) = cursor.peek() {
            return Err(Violation::Unexpected(extra));
        }
        match follow && columns > 0 {
            true => self.state = State::Columns(columns),
            false => self.expect_rows(),
        }
        Ok(Verdict::Columns(columns))
    }

    fn column_passed(&mut self, left: u32) -> Verdict {
        match left.saturating_sub(1) {
            0 => self.expect_rows(),
            left => self.state = State::Columns(left),
        }
        Verdict::Quiet
    }

    /// Rows follow, behind an EOF where there still is one.
    fn expect_rows(&mut self) {
        self.state = match self.deprecates_eof() {
            true => State::Rows,
            false => State::ColumnsEof,
        };
    }

    /// The EOF behind column definitions. It is the last packet of an execution that has opened a
    /// cursor: rows are fetched then.
    fn judge_columns_eof(
        &mut self,
        first: u8,
        payload: &[u8],
        len: u32,
    ) -> Result<Verdict, Violation> {
        if !is_eof(first, len) {
            return Err(Violation::Unexpected(first));
        }
        let eof = OkPacket::parse(payload, self.capabilities)?;
        if self.cursor_possible && eof.status.contains(Status::CURSOR_EXISTS) {
            return self.end_result(payload);
        }
        self.state = State::Rows;
        Ok(Verdict::Quiet)
    }

    /// An OK or EOF packet that ends a result. Another one follows if it says so, and if the
    /// command can have several.
    fn end_result(&mut self, payload: &[u8]) -> Result<Verdict, Violation> {
        let ok = OkPacket::parse(payload, self.capabilities)?;
        self.status = ok.status;
        let last = !(self.several && ok.status.contains(Status::MORE_RESULTS));
        self.state = match last {
            true => State::Done,
            false => State::First,
        };
        Ok(Verdict::Result { last })
    }

    /// `COM_STMT_PREPARE_OK`. Definitions are left out as a whole where metadata is optional and
    /// the session wants none; the EOF behind those of columns is not.
    fn judge_prepared(&mut self, first: u8, payload: &[u8]) -> Result<Verdict, Violation> {
        if first != OK {
            return Err(Violation::Unexpected(first));
        }
        let mut cursor = Cursor::new(payload);
        cursor.u8("COM_STMT_PREPARE_OK.status")?;
        let prepared = Prepared {
            statement_id: cursor.u32("COM_STMT_PREPARE_OK.statement_id")?,
            columns: cursor.u16("COM_STMT_PREPARE_OK.num_columns")?,
            parameters: cursor.u16("COM_STMT_PREPARE_OK.num_params")?,
            warnings: match cursor.u8("COM_STMT_PREPARE_OK.filler") {
                Ok(_) => cursor.u16("COM_STMT_PREPARE_OK.warning_count")?,
                Err(_) => 0,
            },
        };
        let optional = self.capabilities.contains(Capabilities::OPTIONAL_METADATA);
        let none = optional && cursor.u8("COM_STMT_PREPARE_OK.metadata_follows") == Ok(0);
        if none {
            self.state = match prepared.columns > 0 && !self.deprecates_eof() {
                true => State::PreparedColumnsEof,
                false => State::Done,
            };
        } else if prepared.parameters > 0 {
            self.state = State::Parameters(prepared.parameters, prepared.columns);
        } else {
            self.expect_prepared_columns(prepared.columns);
        }
        Ok(Verdict::Prepared(prepared))
    }

    fn parameter_passed(&mut self, left: u16, columns: u16) -> Verdict {
        match (left.saturating_sub(1), self.deprecates_eof()) {
            (0, true) => return self.expect_prepared_columns(columns),
            (0, false) => self.state = State::ParametersEof(columns),
            (left, _) => self.state = State::Parameters(left, columns),
        }
        Verdict::Quiet
    }

    fn expect_prepared_columns(&mut self, columns: u16) -> Verdict {
        if columns == 0 {
            return self.complete();
        }
        self.state = State::PreparedColumns(columns);
        Verdict::Quiet
    }

    fn prepared_column_passed(&mut self, left: u16) -> Verdict {
        match (left.saturating_sub(1), self.deprecates_eof()) {
            (0, true) => return self.complete(),
            (0, false) => self.state = State::PreparedColumnsEof,
            (left, _) => self.state = State::PreparedColumns(left),
        }
        Verdict::Quiet
    }

    fn complete(&mut self) -> Verdict {
        self.state = State::Done;
        Verdict::Complete
    }

    fn deprecates_eof(&self) -> bool {
        self.capabilities.contains(Capabilities::DEPRECATE_EOF)
    }

    fn tell(
        verdict: Verdict,
        payload: &[u8],
        packet_bytes: u64,
        capabilities: Capabilities,
    ) -> Result<Event<'_>, Violation> {
        Ok(match verdict {
            Verdict::Quiet => Event::More,
            Verdict::Columns(count) => Event::Columns(count),
            Verdict::Result { last } => Event::Result {
                ok: OkPacket::parse(payload, capabilities)?,
                packet_bytes,
                last,
            },
            Verdict::Error => Event::Error(ErrPacket::parse(payload)?),
            Verdict::Prepared(prepared) => Event::Prepared(prepared),
            Verdict::WantsFile => Event::WantsFile(payload.get(1..).unwrap_or_default()),
            Verdict::Authentication => Event::Authentication(payload),
            Verdict::Complete => Event::Complete,
        })
    }
}

/// Complains of a packet with a wrong number. A server that ends a connection by itself does not
/// count on, so that an ERR packet may have any.
fn in_order(disorder: Option<(u8, u8)>, first: u8) -> Result<(), Violation> {
    match disorder {
        Some((expected, got)) if first != ERR => Err(Violation::OutOfOrder { expected, got }),
        _ => Ok(()),
    }
}

/// Whether a message is an EOF packet.
fn is_eof(first: u8, len: u32) -> bool {
    first == EOF && len < EOF_BYTES_BELOW
}

/// Whether a message among rows ends them: an EOF packet, or the OK packet that stands for it. A
/// row starts with 0xFE only if its first value is longer than 16 MiB, and its first packet full.
fn is_end(first: u8, len: u32, capabilities: Capabilities) -> bool {
    let below = match capabilities.contains(Capabilities::DEPRECATE_EOF) {
        true => PAYLOAD_BYTES_MAX,
        false => EOF_BYTES_BELOW,
    };
    first == EOF && len < below
}
