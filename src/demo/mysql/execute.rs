//! What a statement does: to the table, to the session's transaction, and what it returns.

use super::refusal::Refusal;
use super::server::{PACKET_BYTES_MAX, Server, VERSION};
use super::statements::{
    DATABASE, Expression, Operand, Pair, Select, Setting, Shown, Source, Statement, TABLE,
};
use super::table::{Changes, Content, Row, Table};
use crate::mysql::packet::Status;
use crate::mysql::result::{Column, ColumnKind, Value};

/// What the status flags of a session are made of, and what it has not committed.
#[derive(Debug)]
pub(super) struct State {
    pub(super) thread_id: u32,
    /// Whether an UPDATE is answered with the rows that it found: `CLIENT_FOUND_ROWS`.
    pub(super) counts_found_rows: bool,
    autocommit: bool,
    transaction: Option<Transaction>,
    /// Why the last statement was refused that was, for SHOW WARNINGS; until the next one that
    /// succeeds on the table.
    last_error: Option<Refusal>,
}

#[derive(Debug, Default)]
struct Transaction {
    changes: Changes,
    read_only: bool,
}

/// What a statement comes to.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    Done {
        affected_rows: u64,
    },
    Rows(Rows),
    /// The statement has ended its own connection.
    Killed,
}

/// A result set.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Rows {
    pub(super) columns: Vec<Column>,
    pub(super) rows: Vec<Vec<Value>>,
}

impl Outcome {
    /// There was nothing to change, or nothing that is counted.
    pub(super) const DONE: Self = Self::Done { affected_rows: 0 };
}

impl State {
    /// That of a session that has just logged in.
    pub(super) fn new(thread_id: u32, counts_found_rows: bool) -> Self {
        Self {
            thread_id,
            counts_found_rows,
            autocommit: true,
            transaction: None,
            last_error: None,
        }
    }

    /// The status flags for the end of a reply.
    pub(super) fn status(&self) -> Status {
        let mut status = Status::default();
        if self.autocommit {
            status = status.with(Status::AUTOCOMMIT);
        }
        if let Some(transaction) = &self.transaction {
            status = status.with(Status::IN_TRANSACTION);
            if transaction.read_only {
                status = status.with(Status::IN_READ_ONLY_TRANSACTION);
            }
        }
        status
    }

    /// Executes a statement with the values of its parameters, all of it or nothing.
    pub(super) fn execute(
        &mut self,
        statement: &Statement,
        parameters: &[Value],
        server: &mut Server,
    ) -> Result<Outcome, Refusal> {
        let outcome = self.run(statement, parameters, server);
        match outcome {
            Ok(_) if statement.uses_table() => self.last_error = None,
            Ok(_) => {}
            Err(refusal) => return Err(self.remember(refusal)),
        }
        outcome
    }

    fn run(
        &mut self,
        statement: &Statement,
        parameters: &[Value],
        server: &mut Server,
    ) -> Result<Outcome, Refusal> {
        match statement {
            Statement::Begin { read_only } => {
                self.commit(server);
                self.transaction = Some(Transaction {
                    read_only: *read_only,
                    ..Transaction::default()
                });
                Ok(Outcome::DONE)
            }
            Statement::Commit => {
                self.commit(server);
                Ok(Outcome::DONE)
            }
            Statement::Rollback => {
                self.transaction = None;
                Ok(Outcome::DONE)
            }
            Statement::Select(select) => self.select(select, parameters, server).map(Outcome::Rows),
            Statement::Insert { .. } | Statement::Update { .. } | Statement::Delete { .. } => {
                self.write(statement, parameters, server)
            }
            Statement::Kill { thread, connection } => {
                self.kill(&bound(thread, parameters), *connection, server)
            }
            Statement::Set(settings) => {
                self.set(settings, server);
                Ok(Outcome::DONE)
            }
            Statement::Show(shown) => Ok(Outcome::Rows(self.show(*shown))),
            Statement::Use(database) => use_database(database).map(|()| Outcome::DONE),
        }
    }

    /// Keeps why a statement was refused, for SHOW WARNINGS.
    pub(super) fn remember(&mut self, refusal: Refusal) -> Refusal {
        self.last_error = Some(refusal.clone());
        refusal
    }

    /// Forgets what has not been committed, and all settings: `COM_RESET_CONNECTION`.
    pub(super) fn reset(&mut self) {
        *self = Self::new(self.thread_id, self.counts_found_rows);
    }

    /// The columns of a result as they are known before there are parameters.
    pub(super) fn describe(
        &self,
        statement: &Statement,
        server: &Server,
    ) -> Result<Vec<Column>, Refusal> {
        match statement {
            Statement::Select(select) => self.columns(select, &[], server),
            _ => Ok(Vec::new()),
        }
    }

    fn commit(&mut self, server: &mut Server) {
        if let Some(transaction) = self.transaction.take() {
            server.commit(transaction.changes);
        }
    }

    fn set(&mut self, settings: &[Setting], server: &mut Server) {
        for setting in settings {
            if let Setting::Autocommit(on) = *setting {
                if on && !self.autocommit {
                    self.commit(server);
                }
                self.autocommit = on;
            }
        }
    }

    /// The transaction that a statement on the table belongs to. Without autocommit the first one
    /// begins it.
    fn touch(&mut self) {
        if !self.autocommit && self.transaction.is_none() {
            self.transaction = Some(Transaction::default());
        }
    }

    fn write(
        &mut self,
        statement: &Statement,
        parameters: &[Value],
        server: &mut Server,
    ) -> Result<Outcome, Refusal> {
        if server.is_read_only() {
            return Err(Refusal::READ_ONLY_SERVER);
        }
        self.touch();
        let open = self.transaction.as_ref();
        if open.is_some_and(|transaction| transaction.read_only) {
            return Err(Refusal::READ_ONLY_TRANSACTION);
        }
        let mut changes = open.map_or_else(Changes::default, |open| open.changes.clone());
        let table = server.table();
        let key_of = |key: &Option<Operand>| key.as_ref().map(|key| bound(key, parameters));
        let affected_rows = match statement {
            Statement::Insert { rows, replaces } => {
                insert(&mut changes, table, rows, *replaces, parameters)?
            }
            Statement::Update { key, value } => {
                let value = Content::new(text_of(bound(value, parameters)))?;
                let updated = match key_of(key).map(text_of) {
                    None => changes.update(table, None, &value),
                    Some(Some(key)) => changes.update(table, Some(&key), &value),
                    Some(None) => Default::default(),
                };
                match self.counts_found_rows {
                    true => updated.found,
                    false => updated.changed,
                }
            }
            Statement::Delete { key } => match key_of(key).map(text_of) {
                None => changes.delete(table, None),
                Some(Some(key)) => changes.delete(table, Some(&key)),
                Some(None) => 0,
            },
            _ => 0,
        };
        match &mut self.transaction {
            Some(transaction) => transaction.changes = changes,
            None => server.commit(changes),
        }
        Ok(Outcome::Done { affected_rows })
    }

    fn select(
        &mut self,
        select: &Select,
        parameters: &[Value],
        server: &Server,
    ) -> Result<Rows, Refusal> {
        let columns = self.columns(select, parameters, server)?;
        if select.source != Source::None {
            self.touch();
        }
        let nothing = Changes::default();
        let open = self.transaction.as_ref();
        let changes = open.map_or(&nothing, |open| &open.changes);
        let table = server.table();
        let wanted = match &select.source {
            Source::Key(key) => text_of(bound(key, parameters)),
            Source::None | Source::All => None,
        };
        let mut found: Vec<(&[u8], &[u8])> = match select.source {
            Source::None => vec![(b"", b"")],
            Source::All => changes.rows(table).into_iter().collect(),
            Source::Key(_) => {
                let key = wanted.as_deref();
                let row = key.and_then(|key| Some((key, changes.get(table, key)?)));
                row.into_iter().collect()
            }
        };
        if select.descending {
            found.reverse();
        }
        let count = Value::Integer(found.len() as i64);
        if select.counts() {
            // One row for all of them.
            found = vec![(b"", b"")];
        }
        let limit = select.limit.and_then(|limit| usize::try_from(limit).ok());
        found.truncate(limit.unwrap_or(usize::MAX));
        let mut rows = Vec::with_capacity(found.len());
        for (key, value) in found {
            let value_of = |expression: &Expression| match expression {
                Expression::Count => Ok(count.clone()),
                Expression::Key => Ok(Value::text(key)),
                Expression::Value => Ok(Value::text(value)),
                scalar => self.scalar(scalar, parameters, server),
            };
            let items = select.items.iter();
            let row: Result<_, Refusal> = items.map(|item| value_of(&item.expression)).collect();
            rows.push(row?);
        }
        Ok(Rows { columns, rows })
    }

    fn columns(
        &self,
        select: &Select,
        parameters: &[Value],
        server: &Server,
    ) -> Result<Vec<Column>, Refusal> {
        let mut columns = Vec::with_capacity(select.items.len());
        let counts = select.counts();
        for item in &select.items {
            let [key, value] = Table::columns(&item.name, &item.name);
            let column = match &item.expression {
                Expression::Key | Expression::Value if select.source == Source::None => {
                    return Err(Refusal::unknown_column(&item.name));
                }
                Expression::Key | Expression::Value if counts => {
                    return Err(Refusal::COLUMN_BESIDE_COUNT);
                }
                Expression::Key => key,
                Expression::Value => value,
                Expression::Count => Column::new(&item.name[..], ColumnKind::Integer),
                scalar => {
                    let value = self.scalar(scalar, parameters, server)?;
                    Column::new(&item.name[..], value.kind())
                }
            };
            columns.push(column);
        }
        Ok(columns)
    }

    /// What does not depend on a row.
    fn scalar(
        &self,
        expression: &Expression,
        parameters: &[Value],
        server: &Server,
    ) -> Result<Value, Refusal> {
        Ok(match expression {
            Expression::Operand(operand) => bound(operand, parameters),
            Expression::Variable(name) => self.variable(name, server)?,
            Expression::ConnectionId => Value::Integer(i64::from(self.thread_id)),
            Expression::Database => Value::text(DATABASE),
            Expression::User => Value::text("demo@localhost"),
            Expression::Version => Value::text(VERSION),
            Expression::Count | Expression::Key | Expression::Value => Value::Null,
        })
    }

    /// System variables: those that tell who answers, and those that clients ask for when they
    /// connect.
    fn variable(&self, name: &[u8], server: &Server) -> Result<Value, Refusal> {
        Ok(match name {
            b"autocommit" => Value::Integer(i64::from(self.autocommit)),
            b"character_set_client"
            | b"character_set_connection"
            | b"character_set_database"
            | b"character_set_results"
            | b"character_set_server" => Value::text("utf8mb4"),
            b"collation_connection" | b"collation_database" | b"collation_server" => {
                Value::text("utf8mb4_bin")
            }
            b"error_count" | b"warning_count" => {
                Value::Integer(i64::from(self.last_error.is_some()))
            }
            b"hostname" => Value::text(server.name()),
            b"lower_case_table_names" => Value::Integer(0),
            b"max_allowed_packet" => Value::Integer(i64::from(PACKET_BYTES_MAX)),
            b"port" => Value::Integer(i64::from(server.port())),
            b"read_only" | b"super_read_only" => Value::Integer(i64::from(server.is_read_only())),
            b"server_id" => Value::Integer(i64::from(server.id())),
            b"sql_mode" => Value::text("STRICT_ALL_TABLES"),
            b"time_zone" => Value::text("SYSTEM"),
            b"transaction_isolation" | b"tx_isolation" => Value::text("READ-COMMITTED"),
            b"version" => Value::text(VERSION),
            b"version_comment" => Value::text(format!("{} of ringway demo", server.name())),
            _ => return Err(Refusal::unknown_variable(name)),
        })
    }

    fn show(&self, shown: Shown) -> Rows {
        let text = |name: &str| Column::new(name, ColumnKind::Text { bytes_max: 256 });
        match shown {
            Shown::Databases => Rows {
                columns: vec![text("Database")],
                rows: vec![vec![Value::text(DATABASE)]],
            },
            Shown::Tables => Rows {
                columns: vec![text("Tables_in_demo")],
                rows: vec![vec![Value::text(TABLE)]],
            },
            Shown::Warnings => {
                let row = |error: &Refusal| {
                    let code = Value::Integer(i64::from(error.code));
                    vec![
                        Value::text("Error"),
                        code,
                        Value::text(error.message.as_bytes()),
                    ]
                };
                let code = Column::new("Code", ColumnKind::Integer);
                Rows {
                    columns: vec![text("Level"), code, text("Message")],
                    rows: self.last_error.iter().map(row).collect(),
                }
            }
        }
    }

    fn kill(
        &self,
        thread: &Value,
        connection: bool,
        server: &mut Server,
    ) -> Result<Outcome, Refusal> {
        let Value::Integer(thread) = *thread else {
            return Err(Refusal::unknown_thread(0));
        };
        let id = u32::try_from(thread)
            .ok()
            .filter(|id| server.has_thread(*id));
        match id {
            None => Err(Refusal::unknown_thread(thread.unsigned_abs())),
            Some(own) if own == self.thread_id && connection => Ok(Outcome::Killed),
            // The only statement that runs there is this one.
            Some(own) if own == self.thread_id => Err(Refusal::KILLED),
            Some(other) => {
                // No statement takes long enough to be interrupted.
                if connection {
                    server.kill(other);
                }
                Ok(Outcome::DONE)
            }
        }
    }
}

/// `USE` and `COM_INIT_DB`.
pub(super) fn use_database(name: &[u8]) -> Result<(), Refusal> {
    match name == DATABASE.as_bytes() {
        true => Ok(()),
        false => Err(Refusal::unknown_database(name)),
    }
}

fn insert(
    changes: &mut Changes,
    table: &Table,
    rows: &[Pair],
    replaces: bool,
    parameters: &[Value],
) -> Result<u64, Refusal> {
    let mut affected_rows = 0;
    for Pair { key, value } in rows {
        let [key, value] = [key, value].map(|operand| text_of(bound(operand, parameters)));
        let row = Row::new(key, value)?;
        affected_rows += match replaces {
            true => changes.replace(table, row)?,
            false => changes.insert(table, row)?,
        };
    }
    Ok(affected_rows)
}

/// The value of an operand. A parameter that nobody has bound is NULL: that is only asked for while
/// a statement is being prepared.
fn bound(operand: &Operand, parameters: &[Value]) -> Value {
    match operand {
        Operand::Given(value) => value.clone(),
        Operand::Parameter(index) => {
            let value = parameters.get(usize::from(*index));
            value.cloned().unwrap_or(Value::Null)
        }
    }
}

/// A value as the table's columns have it. `None` is NULL.
fn text_of(value: Value) -> Option<Vec<u8>> {
    match value {
        Value::Null => None,
        Value::Integer(number) => Some(number.to_string().into_bytes()),
        Value::Text(text) => Some(text),
    }
}
