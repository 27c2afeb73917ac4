//! A MySQL client that says exactly what a test wants, and checks what a client can check: the
//! numbers of packets, the form of replies. It shares no code with what it tests.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::Duration;

use sha1::{Digest, Sha1};
use sha2::Sha256;
use socket2::{Domain, Socket, Type};

use super::wait::DEADLINE;

/// The longest payload of one packet; a longer one goes on in the next.
const PACKET_MAX: usize = 0xFF_FFFF;

/// The bits of the capabilities that the tests know.
pub(crate) mod flags {
    pub(crate) const CONNECT_WITH_DB: u32 = 0x8;
    pub(crate) const LOCAL_FILES: u32 = 0x80;
    pub(crate) const SSL: u32 = 0x800;
    pub(crate) const MULTI_STATEMENTS: u32 = 0x1_0000;
    pub(crate) const SESSION_TRACK: u32 = 0x80_0000;
    /// Long passwords and flags, protocol 4.1, transactions, secure connection, multiple results
    /// in both forms, plugins.
    pub(crate) const USUAL: u32 = 0x1 | 0x4 | 0x200 | 0x2000 | 0x8000 | 0x6_0000 | 0x8_0000;
}

/// The first bytes of commands.
pub(crate) mod commands {
    pub(crate) const QUIT: u8 = 0x01;
    pub(crate) const INIT_DB: u8 = 0x02;
    pub(crate) const QUERY: u8 = 0x03;
    pub(crate) const FIELD_LIST: u8 = 0x04;
    pub(crate) const STATISTICS: u8 = 0x09;
    pub(crate) const PROCESS_INFO: u8 = 0x0A;
    pub(crate) const PROCESS_KILL: u8 = 0x0C;
    pub(crate) const PING: u8 = 0x0E;
    pub(crate) const CHANGE_USER: u8 = 0x11;
    pub(crate) const BINLOG_DUMP: u8 = 0x12;
    pub(crate) const STMT_PREPARE: u8 = 0x16;
    pub(crate) const STMT_EXECUTE: u8 = 0x17;
    pub(crate) const STMT_SEND_LONG_DATA: u8 = 0x18;
    pub(crate) const STMT_CLOSE: u8 = 0x19;
    pub(crate) const STMT_RESET: u8 = 0x1A;
    pub(crate) const STMT_FETCH: u8 = 0x1C;
    pub(crate) const RESET_CONNECTION: u8 = 0x1F;
}

/// The flags of a server's status that the tests know.
pub(crate) mod status {
    pub(crate) const IN_TRANSACTION: u16 = 0x1;
    pub(crate) const AUTOCOMMIT: u16 = 0x2;
    pub(crate) const MORE_RESULTS: u16 = 0x8;
    pub(crate) const CURSOR_EXISTS: u16 = 0x40;
    pub(crate) const LAST_ROW_SENT: u16 = 0x80;
}

/// Who logs in, and how.
#[derive(Clone, Debug)]
pub(crate) struct Login {
    user: String,
    password: String,
    schema: String,
    flags: u32,
    plugin: Plugin,
    /// The name of a plugin, where it is not its own.
    named: Option<String>,
}

/// How a client signs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Plugin {
    Native,
    Sha2,
}

/// A connection that has logged in.
#[derive(Debug)]
pub(crate) struct SqlClient {
    stream: TcpStream,
    /// The number of the next packet.
    sequence: u8,
    thread_id: u32,
    scramble: Vec<u8>,
    status: u16,
    /// What is received and not looked at yet.
    ahead: Vec<u8>,
    at: usize,
}

/// Why a client did not get what it asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum SqlError {
    /// The server has said so: number, class, sentence.
    Server(u16, String, String),
    /// The connection has ended.
    Lost,
}

/// Rows of text, or `None` where there is NULL.
pub(crate) type Rows = Vec<Vec<Option<String>>>;

/// A statement that a server has prepared.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Prepared {
    /// Its id, as the client knows it.
    pub(crate) id: u32,
    parameters: u16,
}

impl Default for Login {
    /// `app` with its password, in `shop`.
    fn default() -> Self {
        Self {
            user: "app".to_owned(),
            password: "secret".to_owned(),
            schema: "shop".to_owned(),
            flags: flags::USUAL,
            plugin: Plugin::Native,
            named: None,
        }
    }
}

impl Plugin {
    fn name(self) -> &'static str {
        match self {
            Self::Native => "mysql_native_password",
            Self::Sha2 => "caching_sha2_password",
        }
    }

    fn token(self, password: &str, scramble: &[u8]) -> Vec<u8> {
        match self {
            Self::Native => native_token(password, scramble),
            Self::Sha2 => sha2_token(password, scramble),
        }
    }
}

impl Login {
    /// As another user.
    pub(crate) fn user(mut self, user: &str, password: &str) -> Self {
        (self.user, self.password) = (user.to_owned(), password.to_owned());
        self
    }

    /// Signing as MySQL 8 and later want it; the servers have to know the password by heart.
    pub(crate) fn sha2(mut self) -> Self {
        self.plugin = Plugin::Sha2;
        self
    }

    /// Naming another plugin than the one that it signs by.
    pub(crate) fn naming(mut self, plugin: &str) -> Self {
        self.named = Some(plugin.to_owned());
        self
    }

    /// With one more capability.
    pub(crate) fn flag(mut self, flag: u32) -> Self {
        self.flags |= flag;
        self
    }

    /// Connects and logs in.
    pub(crate) fn connect(&self, address: SocketAddr) -> Result<SqlClient, SqlError> {
        self.log_in(SqlClient::greeted(address)?)
    }

    /// The same from one of this machine's own addresses.
    pub(crate) fn connect_from(
        &self,
        source: Ipv4Addr,
        address: SocketAddr,
    ) -> Result<SqlClient, SqlError> {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        socket.bind(&SocketAddr::from((source, 0)).into()).unwrap();
        let connected = socket.connect_timeout(&address.into(), DEADLINE);
        connected.map_err(|_| SqlError::Lost)?;
        self.log_in(SqlClient::greeted_over(socket.into())?)
    }

    fn log_in(&self, mut client: SqlClient) -> Result<SqlClient, SqlError> {
        let packet = self.response(client.scramble());
        client.write(&packet);
        client.authenticate(self.plugin, &self.password)?;
        Ok(client)
    }

    /// The payload of the response to a greeting with this scramble.
    pub(crate) fn response(&self, scramble: &[u8]) -> Vec<u8> {
        let mut packet = Vec::new();
        packet.extend((self.flags | flags::CONNECT_WITH_DB).to_le_bytes());
        packet.extend((64_u32 << 20).to_le_bytes());
        packet.push(45); // utf8mb4_general_ci
        packet.extend([0; 23]);
        packet.extend(self.user.as_bytes());
        packet.push(0);
        let token = self.signature(scramble);
        packet.push(token.len() as u8);
        packet.extend(token);
        packet.extend(self.schema.as_bytes());
        packet.push(0);
        let name = self.named.as_deref().unwrap_or(self.plugin.name());
        packet.extend(name.as_bytes());
        packet.push(0);
        packet
    }

    /// The signature of a scramble, as it answers a server that wants another one.
    pub(crate) fn signature(&self, scramble: &[u8]) -> Vec<u8> {
        self.plugin.token(&self.password, scramble)
    }
}

impl SqlClient {
    /// [`Login::default`] at this address.
    #[track_caller]
    pub(crate) fn connect(address: SocketAddr) -> Self {
        let connected = Login::default().connect(address);
        connected.unwrap_or_else(|error| panic!("no login at {address}: {error:?}"))
    }

    /// Connects and reads the greeting.
    pub(crate) fn greeted(address: SocketAddr) -> Result<Self, SqlError> {
        let stream = TcpStream::connect_timeout(&address, DEADLINE).map_err(|_| SqlError::Lost)?;
        Self::greeted_over(stream)
    }

    fn greeted_over(stream: TcpStream) -> Result<Self, SqlError> {
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        stream.set_write_timeout(Some(DEADLINE)).unwrap();
        stream.set_nodelay(true).unwrap();
        let mut client = Self {
            stream,
            sequence: 0,
            thread_id: 0,
            scramble: Vec::new(),
            status: 0,
            ahead: Vec::new(),
            at: 0,
        };
        let greeting = client.read_or_error()?;
        let mut fields = Fields(&greeting[1..]);
        fields.string();
        client.thread_id = fields.number(4) as u32;
        client.scramble = fields.take(8).to_vec();
        fields.take(1 + 2 + 1 + 2 + 2 + 1 + 10);
        client.scramble.extend(fields.take(12));
        Ok(client)
    }

    fn authenticate(&mut self, plugin: Plugin, password: &str) -> Result<(), SqlError> {
        loop {
            let packet = self.read_or_error()?;
            match packet[0] {
                0x00 => {
                    self.note_ok(&packet);
                    return Ok(());
                }
                0xFE => {
                    let mut fields = Fields(&packet[1..]);
                    assert_eq!(fields.string(), plugin.name());
                    self.scramble = fields.take(20).to_vec();
                    let token = plugin.token(password, &self.scramble);
                    self.write(&token);
                }
                // The signature was enough.
                0x01 if plugin == Plugin::Sha2 && packet[1..] == [0x03] => {}
                other => panic!("{other:#04X} in a login"),
            }
        }
    }

    /// The id of the connection, as the greeting tells it.
    pub(crate) fn thread_id(&self) -> u32 {
        self.thread_id
    }

    /// What the server wants to have signed.
    pub(crate) fn scramble(&self) -> &[u8] {
        &self.scramble
    }

    /// The flags of the last OK or EOF.
    pub(crate) fn status(&self) -> u16 {
        self.status
    }

    /// The socket, for what is not said in packets.
    pub(crate) fn stream(&self) -> &TcpStream {
        &self.stream
    }

    /// Asks; the rows of all results.
    pub(crate) fn ask(&mut self, sql: &str) -> Result<Rows, SqlError> {
        self.send(sql);
        self.results()
    }

    /// Asks; it has to go well.
    #[track_caller]
    pub(crate) fn rows(&mut self, sql: &str) -> Rows {
        self.ask(sql)
            .unwrap_or_else(|error| panic!("{sql}: {error:?}"))
    }

    /// Asks for one row; its columns with a space between them.
    #[track_caller]
    pub(crate) fn row(&mut self, sql: &str) -> String {
        let rows = self.rows(sql);
        assert_eq!(rows.len(), 1, "{sql}: {rows:?}");
        line(&rows[0])
    }

    /// Where a plain read goes now, by the `@@server_id` of that server.
    #[track_caller]
    pub(crate) fn reads_at(&mut self) -> String {
        self.row("SELECT @@server_id")
    }

    /// Runs statements, one after the other.
    #[track_caller]
    pub(crate) fn run(&mut self, statements: &[&str]) {
        for sql in statements {
            self.rows(sql);
        }
    }

    /// Asks for what has to fail; number and sentence of the error.
    #[track_caller]
    pub(crate) fn error(&mut self, sql: &str) -> (u16, String) {
        match self.ask(sql) {
            Err(SqlError::Server(code, _, message)) => (code, message),
            other => panic!("{sql}: {other:?}"),
        }
    }

    /// Sends a query and does not wait for the answer.
    pub(crate) fn send(&mut self, sql: &str) {
        self.command(commands::QUERY, sql.as_bytes());
    }

    /// Sends a command.
    pub(crate) fn command(&mut self, command: u8, arguments: &[u8]) {
        self.sequence = 0;
        let mut payload = Vec::with_capacity(1 + arguments.len());
        payload.push(command);
        payload.extend(arguments);
        self.write(&payload);
    }

    /// Reads one OK or error.
    pub(crate) fn done(&mut self) -> Result<(), SqlError> {
        let packet = self.read_or_error()?;
        match packet[0] {
            0x00 => self.note_ok(&packet),
            0xFE => self.note_eof(&packet),
            other => panic!("{other:#04X} instead of an OK"),
        }
        Ok(())
    }

    /// Reads the results of a query.
    pub(crate) fn results(&mut self) -> Result<Rows, SqlError> {
        self.results_with(text_row)
    }

    fn results_with(
        &mut self,
        read: fn(&[u8], &[u8]) -> Vec<Option<String>>,
    ) -> Result<Rows, SqlError> {
        let mut rows = Vec::new();
        loop {
            let packet = self.read_or_error()?;
            match packet[0] {
                0x00 => self.note_ok(&packet),
                0xFB => panic!("a server asks for a file"),
                _ => {
                    let columns = Fields(&packet).lenenc();
                    let types = self.columns(columns as usize)?;
                    if self.status & status::CURSOR_EXISTS == 0 {
                        self.rows_until_eof(&types, read, &mut rows)?;
                    }
                }
            }
            if self.status & status::MORE_RESULTS == 0 {
                return Ok(rows);
            }
        }
    }

    /// Reads so many column definitions and the EOF behind them; the columns' types.
    fn columns(&mut self, columns: usize) -> Result<Vec<u8>, SqlError> {
        let mut types = Vec::new();
        for _ in 0..columns {
            let packet = self.read_or_error()?;
            let mut fields = Fields(&packet);
            for _ in 0..6 {
                fields.bytes();
            }
            fields.take(1 + 2 + 4);
            types.push(fields.take(1)[0]);
        }
        let eof = self.read_or_error()?;
        self.note_eof(&eof);
        Ok(types)
    }

    fn rows_until_eof(
        &mut self,
        types: &[u8],
        read: fn(&[u8], &[u8]) -> Vec<Option<String>>,
        rows: &mut Rows,
    ) -> Result<(), SqlError> {
        loop {
            let packet = self.read_or_error()?;
            if packet[0] == 0xFE && packet.len() < 9 {
                self.note_eof(&packet);
                return Ok(());
            }
            rows.push(read(types, &packet));
        }
    }

    /// Prepares a statement.
    #[track_caller]
    pub(crate) fn prepare(&mut self, sql: &str) -> Prepared {
        self.try_prepare(sql)
            .unwrap_or_else(|error| panic!("{sql}: {error:?}"))
    }

    /// The same, if it can be prepared.
    pub(crate) fn try_prepare(&mut self, sql: &str) -> Result<Prepared, SqlError> {
        self.command(commands::STMT_PREPARE, sql.as_bytes());
        let packet = self.read_or_error()?;
        let mut fields = Fields(&packet[1..]);
        let id = fields.number(4) as u32;
        let (columns, parameters) = (fields.number(2) as u16, fields.number(2) as u16);
        for definitions in [parameters, columns] {
            if definitions > 0 {
                self.columns(usize::from(definitions))?;
            }
        }
        Ok(Prepared { id, parameters })
    }

    /// Executes a prepared statement with these texts; its rows. Types are told with `is_first`.
    pub(crate) fn execute(
        &mut self,
        prepared: Prepared,
        parameters: &[&str],
        is_first: bool,
    ) -> Result<Rows, SqlError> {
        assert_eq!(parameters.len(), usize::from(prepared.parameters));
        self.send_execute(prepared.id, parameters, is_first, 0);
        self.results_with(binary_row)
    }

    /// Sends an execution with these flags: 1 opens a cursor.
    pub(crate) fn send_execute(&mut self, id: u32, parameters: &[&str], is_first: bool, flags: u8) {
        let mut arguments = id.to_le_bytes().to_vec();
        arguments.push(flags);
        arguments.extend(1_u32.to_le_bytes());
        if !parameters.is_empty() {
            arguments.extend(vec![0; parameters.len().div_ceil(8)]);
            arguments.push(u8::from(is_first));
            if is_first {
                arguments.extend([253, 0].repeat(parameters.len()));
            }
            for text in parameters {
                assert!(text.len() < 251, "lengths of one byte are enough");
                arguments.push(text.len() as u8);
                arguments.extend(text.as_bytes());
            }
        }
        self.command(commands::STMT_EXECUTE, &arguments);
    }

    /// Reads the results of an execution that was sent.
    pub(crate) fn executed(&mut self) -> Result<Rows, SqlError> {
        self.results_with(binary_row)
    }

    /// Reads the rest of a reply of so many columns of which the first packet was read: the rows
    /// that came, and how it failed.
    pub(crate) fn rest_of_rows(&mut self, columns: usize) -> (Rows, SqlError) {
        let mut rows = Vec::new();
        let types = self.columns(columns);
        let ended = types.and_then(|types| self.rows_until_eof(&types, text_row, &mut rows));
        let Err(error) = ended else {
            panic!("a whole reply of {} rows", rows.len());
        };
        (rows, error)
    }

    /// Reads the head of an execution's reply that has opened a cursor.
    pub(crate) fn cursor(&mut self) -> Result<Vec<u8>, SqlError> {
        let packet = self.read_or_error()?;
        self.columns(Fields(&packet).lenenc() as usize)
    }

    /// Fetches so many rows of a cursor.
    pub(crate) fn fetch(&mut self, id: u32, types: &[u8], count: u32) -> Result<Rows, SqlError> {
        let arguments = [id.to_le_bytes(), count.to_le_bytes()].concat();
        self.command(commands::STMT_FETCH, &arguments);
        let mut rows = Vec::new();
        self.rows_until_eof(types, binary_row, &mut rows)?;
        Ok(rows)
    }

    /// As after a login.
    #[track_caller]
    pub(crate) fn reset(&mut self) {
        self.command(commands::RESET_CONNECTION, &[]);
        self.done().unwrap();
    }

    /// Another user on the same connection.
    pub(crate) fn change_user(&mut self, user: &str, password: &str) -> Result<(), SqlError> {
        self.change_user_to(&Login::default().user(user, password))
    }

    /// The same, signing as this login does.
    pub(crate) fn change_user_to(&mut self, login: &Login) -> Result<(), SqlError> {
        let token = login.signature(&self.scramble);
        let mut arguments = login.user.as_bytes().to_vec();
        arguments.push(0);
        arguments.push(token.len() as u8);
        arguments.extend(token);
        arguments.extend(login.schema.as_bytes());
        arguments.push(0);
        arguments.extend(45_u16.to_le_bytes());
        arguments.extend(login.plugin.name().as_bytes());
        arguments.push(0);
        self.command(commands::CHANGE_USER, &arguments);
        self.authenticate(login.plugin, &login.password)
    }

    /// Waits for the end of the connection. What comes before it is one error, whose number is
    /// returned, or nothing.
    #[track_caller]
    pub(crate) fn expect_end(&mut self) -> Option<u16> {
        let mut bytes = std::mem::take(&mut self.ahead).split_off(std::mem::take(&mut self.at));
        match self.stream.read_to_end(&mut bytes) {
            Ok(_) => {}
            Err(error) => assert!(is_end(&error), "no end: {error}"),
        }
        let (header, payload) = bytes.split_first_chunk::<4>()?;
        let len = u32::from_le_bytes([header[0], header[1], header[2], 0]) as usize;
        assert!(len == payload.len() && payload[0] == 0xFF, "{bytes:?}");
        Some(u16::from_le_bytes([payload[1], payload[2]]))
    }

    /// The next packet that is read has this number: of a reply to what was sent before the last
    /// command, or past this client.
    pub(crate) fn expect_number(&mut self, number: u8) {
        self.sequence = number;
    }

    /// Whether nothing comes for this time.
    pub(crate) fn is_silent_for(&mut self, time: Duration) -> bool {
        self.stream.set_read_timeout(Some(time)).unwrap();
        let mut byte = [0];
        let peeked = self.stream.peek(&mut byte);
        self.stream.set_read_timeout(Some(DEADLINE)).unwrap();
        peeked.is_err_and(|error| error.kind() == ErrorKind::WouldBlock)
    }

    /// Sends a payload in as many packets as it takes.
    pub(crate) fn write(&mut self, payload: &[u8]) {
        let mut rest = payload;
        loop {
            let piece = &rest[..rest.len().min(PACKET_MAX)];
            rest = &rest[piece.len()..];
            let mut packet = (piece.len() as u32).to_le_bytes()[..3].to_vec();
            packet.push(self.sequence);
            self.sequence = self.sequence.wrapping_add(1);
            packet.extend(piece);
            // A connection that has ended is noticed when the answer is read.
            let _ = self.stream.write_all(&packet);
            if piece.len() < PACKET_MAX {
                return;
            }
        }
    }

    /// Reads a payload, which is not an error.
    pub(crate) fn read_or_error(&mut self) -> Result<Vec<u8>, SqlError> {
        let packet = self.read()?;
        if packet.first() != Some(&0xFF) {
            assert!(!packet.is_empty(), "an empty packet");
            return Ok(packet);
        }
        let mut fields = Fields(&packet[1..]);
        let code = fields.number(2) as u16;
        let state = match fields.0.first() {
            Some(b'#') => String::from_utf8_lossy(&fields.take(6)[1..]).into_owned(),
            _ => String::new(),
        };
        let message = String::from_utf8_lossy(fields.0).into_owned();
        Err(SqlError::Server(code, state, message))
    }

    /// Reads a payload out of all its packets.
    pub(crate) fn read(&mut self) -> Result<Vec<u8>, SqlError> {
        let mut payload = Vec::new();
        loop {
            let header = self.receive(4)?;
            let len = u32::from_le_bytes([header[0], header[1], header[2], 0]) as usize;
            assert_eq!(header[3], self.sequence, "the number of a packet");
            self.sequence = self.sequence.wrapping_add(1);
            let piece = self.receive(len)?;
            if payload.is_empty() {
                payload = piece;
            } else {
                payload.extend(piece);
            }
            if len < PACKET_MAX {
                return Ok(payload);
            }
        }
    }

    fn receive(&mut self, len: usize) -> Result<Vec<u8>, SqlError> {
        while self.ahead.len() - self.at < len {
            let missing = len - (self.ahead.len() - self.at);
            let mut buffer = vec![0; missing.clamp(16 * 1024, 256 * 1024)];
            let count = match self.stream.read(&mut buffer) {
                Ok(0) => return Err(SqlError::Lost),
                Ok(count) => count,
                Err(error) if is_end(&error) => return Err(SqlError::Lost),
                Err(error) => panic!("no answer: {error}"),
            };
            self.ahead.extend(&buffer[..count]);
        }
        let bytes = self.ahead[self.at..][..len].to_vec();
        self.at += len;
        if self.at == self.ahead.len() {
            self.ahead.clear();
            self.at = 0;
        }
        Ok(bytes)
    }

    fn note_ok(&mut self, packet: &[u8]) {
        let mut fields = Fields(&packet[1..]);
        fields.lenenc();
        fields.lenenc();
        self.status = fields.number(2) as u16;
    }

    fn note_eof(&mut self, packet: &[u8]) {
        assert!(packet[0] == 0xFE && packet.len() < 9, "{packet:?}");
        self.status = u16::from_le_bytes([packet[3], packet[4]]);
    }
}

/// A row as a test compares it.
pub(crate) fn line(row: &[Option<String>]) -> String {
    let texts: Vec<_> = row
        .iter()
        .map(|value| value.as_deref().unwrap_or("NULL"))
        .collect();
    texts.join(" ")
}

fn is_end(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::ConnectionReset | ErrorKind::BrokenPipe | ErrorKind::ConnectionAborted
    )
}

fn text_row(types: &[u8], packet: &[u8]) -> Vec<Option<String>> {
    let mut fields = Fields(packet);
    types.iter().map(|_| fields.text()).collect()
}

fn binary_row(types: &[u8], packet: &[u8]) -> Vec<Option<String>> {
    let mut fields = Fields(&packet[1..]);
    let nulls = fields.take((types.len() + 2).div_ceil(8));
    let is_null = |column: usize| nulls[(column + 2) / 8] & (1 << ((column + 2) % 8)) != 0;
    let mut value = |column: usize| match types[column] {
        1 => fields.number(1).to_string(),
        2 => fields.number(2).to_string(),
        3 | 9 => fields.number(4).to_string(),
        8 => fields.number(8).to_string(),
        _ => fields.text().expect("NULL is told before"),
    };
    (0..types.len())
        .map(|column| (!is_null(column)).then(|| value(column)))
        .collect()
}

/// `SHA1(password) XOR SHA1(scramble, SHA1(SHA1(password)))`.
fn native_token(password: &str, scramble: &[u8]) -> Vec<u8> {
    if password.is_empty() {
        return Vec::new();
    }
    let once = Sha1::digest(password.as_bytes());
    let twice = Sha1::digest(once);
    let mask = Sha1::new().chain_update(scramble).chain_update(twice);
    let mask = mask.finalize();
    once.iter().zip(mask).map(|(a, b)| a ^ b).collect()
}

/// `SHA256(password) XOR SHA256(SHA256(SHA256(password)), scramble)`.
fn sha2_token(password: &str, scramble: &[u8]) -> Vec<u8> {
    let once = Sha256::digest(password.as_bytes());
    let twice = Sha256::digest(once);
    let mask = Sha256::new().chain_update(twice).chain_update(scramble);
    let mask = mask.finalize();
    once.iter().zip(mask).map(|(a, b)| a ^ b).collect()
}

/// The fields of a packet, from the front.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn take(&mut self, len: usize) -> &'a [u8] {
        let (taken, rest) = self.0.split_at(len);
        self.0 = rest;
        taken
    }

    fn number(&mut self, bytes: usize) -> u64 {
        let taken = self.take(bytes).iter().rev();
        taken.fold(0, |number, byte| (number << 8) | u64::from(*byte))
    }

    fn lenenc(&mut self) -> u64 {
        match self.number(1) {
            0xFC => self.number(2),
            0xFD => self.number(3),
            0xFE => self.number(8),
            small => small,
        }
    }

    fn bytes(&mut self) -> &'a [u8] {
        let len = self.lenenc() as usize;
        self.take(len)
    }

    fn text(&mut self) -> Option<String> {
        if self.0.first() == Some(&0xFB) {
            self.take(1);
            return None;
        }
        Some(String::from_utf8_lossy(self.bytes()).into_owned())
    }

    /// Up to a zero.
    fn string(&mut self) -> String {
        let len = self.0.iter().position(|byte| *byte == 0).unwrap();
        let text = String::from_utf8_lossy(self.take(len)).into_owned();
        self.take(1);
        text
    }
}
