//! What a statement is, as far as its way depends on it.

use super::lexer::has_trail_bytes;
use crate::telemetry::RouteReason;

/// What [`classify`](super::classify()) makes of a statement. A plain value: a prepared statement
/// keeps the one of its text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Statement {
    /// What it is.
    pub kind: Kind,
    /// Why it is that, which is why it goes where it goes unless the session says otherwise.
    pub reason: RouteReason,
    /// What in its bytes was decisive; empty where nothing particular was.
    pub decisive: Span,
    /// What its first comment asks for.
    pub hint: Option<Hint>,
    /// It reads user variables.
    pub reads_user_variables: bool,
    /// Files of the client's that a server may ask for when it runs it: one for each
    /// `LOAD DATA LOCAL`, several statements in one included.
    pub files_offered: u8,
    /// What becomes of it in a read-only transaction.
    pub under_read_only: UnderReadOnly,
    /// What it does to the session when it has run.
    pub effects: Effects,
}

impl Statement {
    /// One that nobody has read: it may leave the session in any state.
    pub const fn unread(reason: RouteReason) -> Self {
        let mut statement = Self::new(Kind::Primary, reason);
        statement.effects.assigns_user_variables = true;
        statement.effects.takes = Pins::UNSHARED_STATE;
        statement
    }

    /// One of a kind, for a reason, with nothing else to it.
    pub const fn new(kind: Kind, reason: RouteReason) -> Self {
        Self {
            kind,
            reason,
            decisive: Span {
                offset: 0,
                length: 0,
            },
            hint: None,
            reads_user_variables: false,
            files_offered: 0,
            under_read_only: UnderReadOnly::Harmless,
            effects: Effects::NONE,
        }
    }

    /// Whether it runs something that does not stand in it: a procedure, or what was prepared.
    pub const fn calls(&self) -> bool {
        matches!(
            self.reason,
            RouteReason::Procedure | RouteReason::PreparedText
        )
    }

    /// Whether it was not read to its end, or holds more than one statement.
    pub const fn is_unread(&self) -> bool {
        matches!(
            self.reason,
            RouteReason::Empty
                | RouteReason::TooLong
                | RouteReason::NotUnderstood
                | RouteReason::ExecutableComment
                | RouteReason::MultiStatement
        )
    }

    /// `USE`, also as `COM_INIT_DB`.
    pub fn use_schema(name: &[u8]) -> Self {
        let mut statement = Self::new(Kind::SessionState, RouteReason::SessionState);
        statement.effects.shows_server_state = Some(shows_server_state(name));
        statement
    }
}

/// What a statement is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// It only reads: proven.
    Read,
    /// It reads as far as can be seen; a hint can vouch for the rest.
    Doubtful,
    /// It only reads, and what it reads is a server's own: the primary's, as long as there is one.
    ServerRead,
    /// It needs the primary, whatever a hint says.
    Primary,
    /// It asks about the statement before it.
    Diagnostics,
    /// It begins a transaction, with the access that it names.
    Begin(Option<Access>),
    /// `COMMIT` and `ROLLBACK`.
    EndTransaction,
    /// It changes the session's state in the same way on every server.
    SessionState,
    /// `KILL`
    Kill,
    /// `LOAD DATA LOCAL`
    LoadLocal,
}

/// What a transaction may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// `READ ONLY`
    ReadOnly,
    /// `READ WRITE`
    ReadWrite,
}

/// What becomes of a statement in a transaction that only reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UnderReadOnly {
    /// It is refused, or does nothing but read.
    Harmless,
    /// It does something to the server all the same.
    Acts,
    /// The same, and the transaction is committed before.
    Commits,
}

/// What a comment at the beginning asks for: `/* route:primary */`, `/* route:replica */`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hint {
    /// The primary.
    Primary,
    /// The replica, where only doubts speak against it.
    Replica,
}

impl Hint {
    /// What stands between `/*` and `*/`, if it is a hint and nothing else.
    pub fn parse(comment: &[u8]) -> Option<Self> {
        let comment = comment.trim_ascii();
        let (word, target) = comment.split_at_checked(b"route".len())?;
        let target = target
            .trim_ascii_start()
            .strip_prefix(b":")?
            .trim_ascii_start();
        if !word.eq_ignore_ascii_case(b"route") {
            return None;
        }
        if target.eq_ignore_ascii_case(b"primary") {
            Some(Self::Primary)
        } else if target.eq_ignore_ascii_case(b"replica") {
            Some(Self::Replica)
        } else {
            None
        }
    }
}

/// A part of a statement's bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Span {
    /// Where it starts.
    pub offset: u32,
    /// How many bytes it has.
    pub length: u32,
}

impl Span {
    /// The bytes, of the statement that the span was made of.
    pub fn of<'a>(&self, text: &'a [u8]) -> &'a [u8] {
        let rest = text.get(self.offset as usize..).unwrap_or_default();
        rest.get(..self.length as usize).unwrap_or(rest)
    }
}

/// What a statement does to the session when it has run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Effects {
    /// Pins it takes.
    pub takes: Pins,
    /// Pins it releases.
    pub releases: Pins,
    /// The temporary table it makes.
    pub temporary_table: Option<TableName>,
    /// Tables it drops, which may be temporary ones; more than these are not remembered.
    pub dropped_tables: [Option<TableName>; DROPPED_TABLES],
    /// It renames tables, which may be temporary ones.
    pub renames_tables: bool,
    /// Calls of `GET_LOCK()`.
    pub locks_taken: u8,
    /// Calls of `RELEASE_LOCK()`.
    pub locks_released: u8,
    /// It calls `RELEASE_ALL_LOCKS()`.
    pub releases_all_locks: bool,
    /// It gives user variables a value that only the server it runs on can tell.
    pub assigns_user_variables: bool,
    /// It sets user variables and nothing else of the session.
    pub sets_user_variables_only: bool,
    /// What it sets of the session changes nothing about how the text of a statement is understood.
    pub keeps_meaning: bool,
    /// The next transaction is a special one: `SET TRANSACTION`.
    pub shapes_next_transaction: bool,
    /// Whether the isolation level of the session is, or may be, `SERIALIZABLE` from here.
    pub serializable: Option<bool>,
    /// Whether transactions of the session only read from here.
    pub session_read_only: Option<bool>,
    /// Whether `sql_mode` has `ANSI_QUOTES` from here.
    pub ansi_quotes: Option<bool>,
    /// What [`Dialect::trail_bytes`](super::lexer::Dialect::trail_bytes) is from here.
    pub trail_bytes: Option<bool>,
    /// Whether the default schema shows a server's own state from here.
    pub shows_server_state: Option<bool>,
}

impl Effects {
    /// None at all.
    pub const NONE: Self = Self {
        takes: Pins::NONE,
        releases: Pins::NONE,
        temporary_table: None,
        dropped_tables: [None; DROPPED_TABLES],
        renames_tables: false,
        locks_taken: 0,
        locks_released: 0,
        releases_all_locks: false,
        assigns_user_variables: false,
        sets_user_variables_only: false,
        keeps_meaning: false,
        shapes_next_transaction: false,
        serializable: None,
        session_read_only: None,
        ansi_quotes: None,
        trail_bytes: None,
        shows_server_state: None,
    };

    /// Whether it names the default schema: `USE`.
    pub const fn choose_schema(&self) -> bool {
        self.shows_server_state.is_some()
    }
}

/// Tables of one `DROP TABLE` that are remembered. A temporary table that is not stays a pin.
pub(super) const DROPPED_TABLES: usize = 4;

/// The name of a temporary table, as a number that two names hardly share.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TableName(u32);

impl TableName {
    /// Of the parts of a name, in any case, schema first where there is one.
    pub fn of<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> Self {
        // FNV-1a. A dot between the parts, so that `ab.c` is not `a.bc`.
        let mut hash = 0x811c_9dc5_u32;
        for part in parts {
            for byte in part.iter().chain(b".") {
                hash = (hash ^ u32::from(byte.to_ascii_lowercase())).wrapping_mul(0x0100_0193);
            }
        }
        Self(hash)
    }
}

/// What keeps a session on the primary, as a set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pins(u8);

impl Pins {
    /// No pin.
    pub const NONE: Self = Self(0);
    /// Temporary tables whose names are not known, until the session is reset.
    pub const TEMPORARY_TABLES: Self = Self(1);
    /// `LOCK TABLES`, until `UNLOCK TABLES` or a transaction begins.
    pub const TABLES_LOCKED: Self = Self(1 << 1);
    /// `FLUSH TABLES WITH READ LOCK`, until `UNLOCK TABLES`.
    pub const READ_LOCK: Self = Self(1 << 2);
    /// `LOCK INSTANCE` or `BACKUP STAGE`, until it is undone.
    pub const INSTANCE_LOCKED: Self = Self(1 << 3);
    /// `XA START`, until `XA COMMIT` or `XA ROLLBACK`.
    pub const XA: Self = Self(1 << 4);
    /// A stored procedure that may have done anything, until the session is reset.
    pub const PROCEDURE: Self = Self(1 << 5);
    /// State that only the primary's connection has, until the session is reset.
    pub const UNSHARED_STATE: Self = Self(1 << 6);

    const ALL: [(Self, RouteReason); 7] = [
        (Self::TEMPORARY_TABLES, RouteReason::TemporaryTable),
        (Self::TABLES_LOCKED, RouteReason::TableLock),
        (Self::READ_LOCK, RouteReason::TableLock),
        (Self::INSTANCE_LOCKED, RouteReason::TableLock),
        (Self::XA, RouteReason::Xa),
        (Self::PROCEDURE, RouteReason::Procedure),
        (Self::UNSHARED_STATE, RouteReason::UnsharedState),
    ];

    /// Those of both.
    #[must_use]
    pub const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Those that `other` has not.
    #[must_use]
    pub const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// Those that `other` has, too.
    #[must_use]
    pub const fn only(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// Whether it has any of `other`'s.
    pub const fn has(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    /// Why they keep a session on the primary, one reason for each pin.
    pub fn reasons(self) -> impl Iterator<Item = RouteReason> {
        let held = Self::ALL.into_iter().filter(move |&(pin, _)| self.has(pin));
        held.map(|(_, reason)| reason)
    }
}

/// Whether a schema shows what a server does and not what replication keeps the same.
pub(super) fn shows_server_state(schema: &[u8]) -> bool {
    const SCHEMAS: [&[u8]; 4] = [
        b"information_schema",
        b"mysql",
        b"performance_schema",
        b"sys",
    ];
    SCHEMAS.iter().any(|name| name.eq_ignore_ascii_case(schema))
}

/// Whether the characters of a set, by its name, can have a second byte like that of an ASCII
/// character. The counterpart of [`has_trail_bytes`] for `SET NAMES`.
pub(super) fn charset_has_trail_bytes(name: &[u8]) -> bool {
    const CHARSETS: [(&[u8], u16); 5] = [
        (b"big5", 1),
        (b"sjis", 13),
        (b"gbk", 28),
        (b"cp932", 95),
        (b"gb18030", 248),
    ];
    let known = CHARSETS
        .iter()
        .find(|(charset, _)| charset.eq_ignore_ascii_case(name));
    known.is_some_and(|&(_, collation)| has_trail_bytes(collation))
}
