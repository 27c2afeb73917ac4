//! What the demo's servers refuse, in the numbers and words of a real one. Where those would leave
//! somebody wondering, a sentence says what the demo's servers can do.

use std::borrow::Cow;

use crate::mysql::packet::ErrPacket;

/// What is understood, at the end of an error about something that is not.
const UNDERSTOOD: &str = "the demo's servers understand SELECT, INSERT, REPLACE, UPDATE and DELETE \
    on one table, kv (k, v), with WHERE k = ..., SELECT @@hostname and the like, transactions, \
    SET NAMES, SET autocommit, USE, KILL and SHOW WARNINGS, TABLES or DATABASES";

/// An error in the place of a result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    pub(super) code: u16,
    sqlstate: [u8; 5],
    pub(super) message: Cow<'static, str>,
}

impl Refusal {
    pub(super) const COLUMN_BESIDE_COUNT: Self = Self::new(
        1140,
        b"42000",
        "In aggregated query without GROUP BY, a column stands beside COUNT(*)",
    );
    pub(super) const EMPTY_QUERY: Self = Self::new(1065, b"42000", "Query was empty");
    pub(super) const KILLED: Self = Self::new(1317, b"70100", "Query execution was interrupted");
    pub(super) const NO_LONG_DATA: Self = Self::new(
        1210,
        b"HY000",
        "Incorrect arguments to COM_STMT_SEND_LONG_DATA",
    );
    pub(super) const NOT_A_HANDSHAKE: Self = Self::new(1043, b"08S01", "Bad handshake");
    /// A statement that only `COM_QUERY` takes.
    pub(super) const NOT_PREPARABLE: Self = Self::new(
        1295,
        b"HY000",
        "This command is not supported in the prepared statement protocol yet: the demo's servers \
         prepare SELECT, INSERT, REPLACE, UPDATE and DELETE",
    );
    pub(super) const NOT_READABLE: Self =
        Self::new(1835, b"HY000", "Malformed communication packet");
    pub(super) const PACKET_TOO_LONG: Self = Self::new(
        1153,
        b"08S01",
        "Got a packet bigger than 'max_allowed_packet' bytes",
    );
    pub(super) const READ_ONLY_SERVER: Self = Self::new(
        1290,
        b"HY000",
        "The MySQL server is running with the --read-only option so it cannot execute this \
         statement: it is the replica, and writes go to the primary",
    );
    pub(super) const READ_ONLY_TRANSACTION: Self = Self::new(
        1792,
        b"25006",
        "Cannot execute statement in a READ ONLY transaction.",
    );
    pub(super) const TABLE_FULL: Self = Self::new(
        1114,
        b"HY000",
        "The table 'kv' is full: the demo keeps it small",
    );
    pub(super) const TOO_MANY_STATEMENTS: Self = Self::new(
        1461,
        b"42000",
        "Can't create more than max_prepared_stmt_count statements",
    );
    pub(super) const TOO_OLD: Self = Self::new(
        1251,
        b"08004",
        "Client does not support authentication protocol requested by server",
    );

    const fn new(code: u16, sqlstate: &[u8; 5], message: &'static str) -> Self {
        Self {
            code,
            sqlstate: *sqlstate,
            message: Cow::Borrowed(message),
        }
    }

    fn because(code: u16, sqlstate: &[u8; 5], message: String) -> Self {
        Self {
            code,
            sqlstate: *sqlstate,
            message: Cow::Owned(message),
        }
    }

    pub(super) fn access_denied(user: &[u8], has_password: bool) -> Self {
        let user = readable(user);
        let has_password = if has_password { "YES" } else { "NO" };
        let message = format!(
            "Access denied for user '{user}'@'localhost' (using password: {has_password}): the \
             demo's only user is 'demo', without a password"
        );
        Self::because(1045, b"28000", message)
    }

    /// A statement that could not be read from here on.
    pub(super) fn syntax(near: &[u8]) -> Self {
        let near = readable(near);
        let message = format!("You have an error in your SQL syntax near '{near}': {UNDERSTOOD}");
        Self::because(1064, b"42000", message)
    }

    /// A statement of which the first word is one of SQL and none of the demo's.
    pub(super) fn unsupported(word: &[u8]) -> Self {
        let word = readable(word).to_ascii_uppercase();
        let message = format!("This version of MySQL doesn't yet support '{word}': {UNDERSTOOD}");
        Self::because(1235, b"42000", message)
    }

    pub(super) fn unknown_command(byte: u8) -> Self {
        let message = format!("Unknown command {byte:#04x}: the demo's servers do not have it");
        Self::because(1047, b"08S01", message)
    }

    pub(super) fn unknown_column(name: &[u8]) -> Self {
        let name = readable(name);
        Self::because(
            1054,
            b"42S22",
            format!("Unknown column '{name}': kv has k and v"),
        )
    }

    pub(super) fn unknown_database(name: &[u8]) -> Self {
        let name = readable(name);
        let message = format!("Unknown database '{name}': there is only 'demo'");
        Self::because(1049, b"42000", message)
    }

    pub(super) fn unknown_table(name: &[u8]) -> Self {
        let name = readable(name);
        let message = format!("Table '{name}' doesn't exist: there is only 'demo.kv'");
        Self::because(1146, b"42S02", message)
    }

    pub(super) fn unknown_variable(name: &[u8]) -> Self {
        let name = readable(name);
        Self::because(1193, b"HY000", format!("Unknown system variable '{name}'"))
    }

    pub(super) fn wrong_variable_value(name: &[u8], value: &[u8]) -> Self {
        let (name, value) = (readable(name), readable(value));
        let message = format!("Variable '{name}' can't be set to the value of '{value}'");
        Self::because(1231, b"42000", message)
    }

    pub(super) fn unknown_charset(name: &[u8]) -> Self {
        let name = readable(name);
        let message = format!("Unknown character set: '{name}': the demo's servers speak utf8mb4");
        Self::because(1115, b"42000", message)
    }

    pub(super) fn unknown_statement(id: u32) -> Self {
        let message = format!("Unknown prepared statement handler ({id}) given to EXECUTE");
        Self::because(1243, b"HY000", message)
    }

    pub(super) fn no_cursor(id: u32) -> Self {
        Self::because(
            1421,
            b"24000",
            format!("The statement ({id}) has no open cursor."),
        )
    }

    pub(super) fn unknown_thread(id: u64) -> Self {
        Self::because(1094, b"HY000", format!("Unknown thread id: {id}"))
    }

    pub(super) fn duplicate_key(key: &[u8]) -> Self {
        let key = readable(key);
        let message = format!("Duplicate entry '{key}' for key 'PRIMARY'");
        Self::because(1062, b"23000", message)
    }

    pub(super) fn null(column: &str) -> Self {
        Self::because(1048, b"23000", format!("Column '{column}' cannot be null"))
    }

    pub(super) fn too_long(column: &str) -> Self {
        Self::because(
            1406,
            b"22001",
            format!("Data too long for column '{column}'"),
        )
    }

    pub(super) fn not_utf8(column: &str) -> Self {
        let message = format!("Incorrect string value for column '{column}': it is not UTF-8");
        Self::because(1366, b"22007", message)
    }

    pub(super) fn parameter_type(kind: u8) -> Self {
        let message = format!(
            "Incorrect arguments to EXECUTE: the demo's servers take integers and strings, and \
             no parameter of type {kind:#04x}"
        );
        Self::because(1210, b"HY000", message)
    }

    /// The packet that says so.
    pub(super) fn packet(&self) -> ErrPacket<'_> {
        ErrPacket {
            code: self.code,
            sqlstate: self.sqlstate,
            message: self.message.as_bytes(),
        }
    }
}

/// The beginning of a client's text, as far as an error shows it.
fn readable(text: &[u8]) -> Cow<'_, str> {
    const SHOWN_BYTES: usize = 80;
    String::from_utf8_lossy(&text[..text.len().min(SHOWN_BYTES)])
}
