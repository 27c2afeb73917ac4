//! Prepared statements of the binary protocol: one id at the client, one at each server.
//!
//! A statement is prepared at the primary when the client says so, and its id there is the client's.
//! At the replica it is prepared when it is first to run there.

use std::collections::HashMap;
use std::ops::Range;

use super::server::PerServer;
use crate::limits::{PREPARED_TEXT_BYTES_MAX, PREPARED_TYPES_BYTES_MAX};
use crate::mysql::capabilities::Capabilities;
use crate::mysql::cursor::{Cursor, Malformed};
use crate::mysql::lexer::Dialect;
use crate::mysql::packet::{HEADER_BYTES, Header, PAYLOAD_BYTES_MAX};
use crate::mysql::reply::Prepared;
use crate::mysql::route::Server;
use crate::mysql::statement::Statement;

/// MariaDB's id for the statement that was prepared last.
const LAST_PREPARED: u32 = u32::MAX;

/// `PARAMETER_COUNT_AVAILABLE` in the flags of `COM_STMT_EXECUTE`.
const COUNT_AVAILABLE: u8 = 0x08;

/// The statements of a session.
#[derive(Debug, Default)]
pub(super) struct PreparedStatements {
    by_id: HashMap<u32, PreparedStatement>,
    last_id: Option<u32>,
    /// Of all texts that are kept.
    text_bytes: usize,
    /// Of all types that are.
    types_bytes: usize,
}

/// How often the session has changed what the text of a statement means: its default schema, its
/// `sql_mode`, its character sets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Meaning(u64);

impl Meaning {
    /// That after one more change.
    pub(super) const fn next(self) -> Self {
        Self(self.0.wrapping_add(1))
    }
}

/// What was asked to be prepared.
#[derive(Clone, Copy, Debug)]
pub(super) struct Text<'a> {
    /// What `COM_STMT_PREPARE` said; empty where it was too long to be held.
    pub(super) bytes: &'a [u8],
    /// How that is to be read.
    pub(super) dialect: Dialect,
    /// In which state of the session.
    pub(super) meaning: Meaning,
}

/// One of them.
#[derive(Debug)]
pub(super) struct PreparedStatement {
    /// What it is. A plain value, made when it was prepared.
    pub(super) statement: Statement,
    /// Its text, to prepare it at a replica; `None` where too much would have to be kept.
    text: Option<Box<[u8]>>,
    /// How that is to be read.
    pub(super) dialect: Dialect,
    /// The session's [`Meaning`] when it was prepared.
    meaning: Meaning,
    parameters: u16,
    replica_id: Option<u32>,
    /// The types of its parameters, as they were bound last: so many, in these bytes.
    types: Option<(u64, Box<[u8]>)>,
    /// They were too much to be kept: whoever was not told them cannot be.
    types_are_lost: bool,
    /// Which servers know these types.
    bound: PerServer<bool>,
    /// Parts of its parameters have been sent, to the primary.
    pub(super) has_long_data: bool,
    /// Where it has opened a cursor.
    pub(super) cursor: Option<Server>,
}

/// What an execution says about the types of its parameters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Binding {
    /// There are no parameters.
    None,
    /// They are those of the execution before; the flag that says so is at this offset.
    Before(u64, usize),
    /// So many, in these bytes.
    Given(u64, Range<usize>),
}

impl PreparedStatements {
    /// The client's name for a statement, with the one for the last made definite.
    pub(super) fn definite(&self, id: u32) -> u32 {
        match (id, self.last_id) {
            (LAST_PREPARED, Some(last)) => last,
            _ => id,
        }
    }

    pub(super) fn get(&self, id: u32) -> Option<&PreparedStatement> {
        self.by_id.get(&id)
    }

    pub(super) fn get_mut(&mut self, id: u32) -> Option<&mut PreparedStatement> {
        self.by_id.get_mut(&id)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.by_id.is_empty()
    }

    /// Notes a statement that a server has prepared for the client. Its text is kept while there is
    /// room.
    pub(super) fn add(
        &mut self,
        server: Server,
        prepared: Prepared,
        statement: Statement,
        text: Text<'_>,
    ) {
        let id = prepared.statement_id;
        self.remove(id);
        let Text {
            bytes,
            dialect,
            meaning,
        } = text;
        let fits = self.text_bytes.saturating_add(bytes.len()) <= PREPARED_TEXT_BYTES_MAX;
        let text: Option<Box<[u8]>> = (fits && !bytes.is_empty()).then(|| bytes.into());
        let kept = text.as_ref().map_or(0, |text| text.len());
        self.text_bytes = self.text_bytes.saturating_add(kept);
        self.last_id = Some(id);
        self.by_id.insert(
            id,
            PreparedStatement {
                statement,
                text,
                dialect,
                meaning,
                parameters: prepared.parameters,
                replica_id: (server == Server::Replica).then_some(id),
                types: None,
                types_are_lost: false,
                bound: PerServer::default(),
                has_long_data: false,
                cursor: None,
            },
        );
    }

    /// Forgets a statement that the client has closed.
    pub(super) fn remove(&mut self, id: u32) -> Option<PreparedStatement> {
        let removed = self.by_id.remove(&id)?;
        let kept = removed.text.as_ref().map_or(0, |text| text.len());
        self.text_bytes = self.text_bytes.saturating_sub(kept);
        self.types_bytes = self.types_bytes.saturating_sub(removed.types_bytes());
        Some(removed)
    }

    /// Whether the other server could be told the types of an execution with this payload, once one
    /// has got them.
    pub(super) fn keeps_types(&self, id: u32, payload: &[u8], capabilities: Capabilities) -> bool {
        let Some(known) = self.by_id.get(&id) else {
            return true;
        };
        let has_room = self.types_bytes.saturating_add(payload.len()) <= PREPARED_TYPES_BYTES_MAX;
        if has_room && !known.types_are_lost {
            return true;
        }
        match known.binding(payload, capabilities) {
            Ok(Binding::Given(_, types)) => self.have_room(known, types.len()),
            Ok(Binding::Before(..)) => !known.types_are_lost,
            Ok(Binding::None) | Err(_) => true,
        }
    }

    fn have_room(&self, known: &PreparedStatement, types_bytes: usize) -> bool {
        let others = self.types_bytes.saturating_sub(known.types_bytes());
        others.saturating_add(types_bytes) <= PREPARED_TYPES_BYTES_MAX
    }

    /// Notes that a server has been told these types of a statement. They are kept for the other one
    /// while there is room.
    pub(super) fn bind(&mut self, id: u32, server: Server, count: u64, types: &[u8]) {
        let Some(known) = self.by_id.get(&id) else {
            return;
        };
        let (fits, before) = (self.have_room(known, types.len()), known.types_bytes());
        let Some(known) = self.by_id.get_mut(&id) else {
            return;
        };
        known.bind(server, count, fits.then_some(types));
        let (all, kept) = (self.types_bytes, known.types_bytes());
        self.types_bytes = all.saturating_sub(before).saturating_add(kept);
    }

    /// The replica is another one, or gone: nothing is prepared there.
    pub(super) fn forget_replica(&mut self) {
        for prepared in self.by_id.values_mut() {
            prepared.replica_id = None;
            prepared.bound.replica = false;
            prepared.cursor.take_if(|server| *server == Server::Replica);
        }
    }
}

impl PreparedStatement {
    /// Its id at a server, if it is prepared there. The primary's is the client's.
    pub(super) fn replica_id(&self) -> Option<u32> {
        self.replica_id
    }

    /// Whether it can run at the replica, if only after being prepared there: what its text meant
    /// when the client had it prepared is what it means now.
    pub(super) fn may_run_at_replica(&self, now: Meaning) -> bool {
        self.replica_id.is_some() || (self.text.is_some() && self.meaning == now)
    }

    /// Its text, if that is all that its executions say.
    pub(super) fn without_parameters(&self) -> Option<&[u8]> {
        self.text().filter(|_| self.parameters == 0)
    }

    /// What `COM_STMT_PREPARE` said.
    pub(super) fn text(&self) -> Option<&[u8]> {
        self.text.as_deref()
    }

    pub(super) fn prepared_at_replica(&mut self, id: u32) {
        self.replica_id = Some(id);
    }

    /// Whether a server knows the types of its parameters.
    pub(super) const fn is_bound(&self, server: Server) -> bool {
        *self.bound.of(server)
    }

    /// The types that were bound last, if they are known and so many.
    pub(super) fn types(&self, count: u64) -> Option<&[u8]> {
        let (known, types) = self.types.as_ref()?;
        (*known == count).then_some(&**types)
    }

    /// Whether the types that were bound last were too much to be kept.
    pub(super) const fn types_are_lost(&self) -> bool {
        self.types_are_lost
    }

    /// Notes that a server has been told these types; `None`: more than can be kept.
    fn bind(&mut self, server: Server, count: u64, types: Option<&[u8]>) {
        if types.is_none() || self.types(count) != types {
            self.types = types.map(|types| (count, types.into()));
            self.types_are_lost = types.is_none();
            self.bound = PerServer::default();
        }
        self.bound_at(server);
    }

    fn types_bytes(&self) -> usize {
        self.types.as_ref().map_or(0, |(_, types)| types.len())
    }

    /// Notes that a server has been told the types that were bound last.
    pub(super) const fn bound_at(&mut self, server: Server) {
        *self.bound.of_mut(server) = true;
    }

    /// What the payload of a whole `COM_STMT_EXECUTE` says about types.
    pub(super) fn binding(
        &self,
        payload: &[u8],
        capabilities: Capabilities,
    ) -> Result<Binding, Malformed> {
        let total = payload.len();
        let mut cursor = Cursor::new(payload);
        cursor.bytes(5, "COM_STMT_EXECUTE.statement_id")?;
        let flags = cursor.u8("COM_STMT_EXECUTE.flags")?;
        cursor.u32("COM_STMT_EXECUTE.iteration_count")?;
        let named = capabilities.contains(Capabilities::QUERY_ATTRIBUTES);
        let mut count = u64::from(self.parameters);
        if named && flags & COUNT_AVAILABLE != 0 {
            count = cursor.lenenc("COM_STMT_EXECUTE.parameter_count")?;
        }
        if count == 0 {
            return Ok(Binding::None);
        }
        cursor.bytes(count.div_ceil(8), "COM_STMT_EXECUTE.null_bitmap")?;
        let flag_at = total.saturating_sub(cursor.rest().len());
        if cursor.u8("COM_STMT_EXECUTE.new_params_bind_flag")? == 0 {
            return Ok(Binding::Before(count, flag_at));
        }
        let from = total.saturating_sub(cursor.rest().len());
        for _ in 0..count {
            cursor.u16("COM_STMT_EXECUTE.parameter_type")?;
            if named {
                cursor.lenenc_bytes("COM_STMT_EXECUTE.parameter_name")?;
            }
        }
        let to = total.saturating_sub(cursor.rest().len());
        Ok(Binding::Given(count, from..to))
    }
}

/// The statement that a command is about: `COM_STMT_EXECUTE` and its family begin with its id.
pub(super) fn statement_id(arguments: &[u8]) -> Option<u32> {
    arguments.first_chunk().map(|id| u32::from_le_bytes(*id))
}

/// Writes another statement id into a command's packet.
pub(super) fn set_statement_id(packet: &mut [u8], id: u32) {
    let place = packet.get_mut(HEADER_BYTES..).and_then(|p| p.get_mut(1..5));
    if let Some(place) = place {
        place.copy_from_slice(&id.to_le_bytes());
    }
}

/// The packet of a `COM_STMT_EXECUTE` with these types where it refers to the ones before. `None`:
/// it would no longer be one packet.
pub(super) fn with_types(packet: &[u8], flag_at: usize, types: &[u8]) -> Option<Vec<u8>> {
    let (header, payload) = packet.split_first_chunk::<HEADER_BYTES>()?;
    let (before, rest) = payload.split_at_checked(flag_at)?;
    let (_, after) = rest.split_first()?;
    let len = u32::try_from(payload.len().saturating_add(types.len())).ok()?;
    if len >= PAYLOAD_BYTES_MAX {
        return None;
    }
    let sequence = Header::parse(*header).sequence;
    let header = Header { len, sequence }.to_bytes();
    Some([&header[..], before, &[1], types, after].concat())
}

/// Whether the flags of a `COM_STMT_EXECUTE` ask for a cursor.
pub(super) fn asks_for_cursor(arguments: &[u8]) -> bool {
    const CURSORS: u8 = 0x07;
    arguments.get(4).is_some_and(|flags| flags & CURSORS != 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mysql::classify;

    const NONE: Capabilities = Capabilities::NONE;

    fn statements(parameters: u16) -> PreparedStatements {
        let mut statements = PreparedStatements::default();
        let prepared = Prepared {
            statement_id: 7,
            parameters,
            ..Prepared::default()
        };
        let bytes = b"SELECT ?";
        let statement = classify(bytes, Dialect::default());
        statements.add(Server::Primary, prepared, statement, text(bytes));
        statements
    }

    fn text(bytes: &[u8]) -> Text<'_> {
        Text {
            bytes,
            dialect: Dialect::default(),
            meaning: Meaning::default(),
        }
    }

    fn execute(bound: bool, rest: &[u8]) -> Vec<u8> {
        let mut payload = b"\x17\x07\0\0\0\0\x01\0\0\0\0".to_vec();
        payload.push(u8::from(bound));
        payload.extend(rest);
        payload
    }

    #[test]
    fn the_last_statement_has_two_names() {
        let statements = statements(0);
        assert_eq!(statements.definite(LAST_PREPARED), 7);
        assert_eq!(statements.definite(3), 3);
        assert_eq!(
            PreparedStatements::default().definite(LAST_PREPARED),
            LAST_PREPARED
        );
    }

    #[test]
    fn an_execution_gives_types_or_refers_to_those_before() {
        let statements = statements(2);
        let statement = statements.get(7).unwrap();
        let given = execute(true, b"\x08\0\xFD\0values");
        assert_eq!(
            statement.binding(&given, NONE),
            Ok(Binding::Given(2, 12..16))
        );
        let before = execute(false, b"values");
        assert_eq!(statement.binding(&before, NONE), Ok(Binding::Before(2, 11)));
        for len in 1..16 {
            assert!(
                statement.binding(&given[..len], NONE).is_err(),
                "{len} bytes"
            );
        }
    }

    #[test]
    fn types_are_put_into_an_execution_that_refers_to_them() {
        let mut packet = vec![0; HEADER_BYTES];
        packet.extend(execute(false, b"values"));
        packet[0] = (packet.len() - HEADER_BYTES) as u8;
        let whole = with_types(&packet, 11, b"\x08\0\xFD\0").unwrap();
        assert_eq!(&whole[HEADER_BYTES..], execute(true, b"\x08\0\xFD\0values"));
        assert_eq!(usize::from(whole[0]), whole.len() - HEADER_BYTES);
    }

    #[test]
    fn a_server_has_to_be_told_types_that_changed_at_the_other() {
        let mut statements = statements(1);
        statements.bind(7, Server::Primary, 1, b"\x08\0");
        statements.get_mut(7).unwrap().bound_at(Server::Replica);
        assert!(statements.get(7).unwrap().is_bound(Server::Replica));
        statements.bind(7, Server::Replica, 1, b"\xFD\0");
        let statement = statements.get(7).unwrap();
        assert!(!statement.is_bound(Server::Primary));
        assert_eq!(statement.types(1), Some(&b"\xFD\0"[..]));
        assert_eq!(statement.types(2), None);
    }

    #[test]
    fn texts_are_kept_up_to_a_bound() {
        let mut statements = PreparedStatements::default();
        let long = vec![b' '; PREPARED_TEXT_BYTES_MAX / 2 + 1];
        for id in [1, 2] {
            let prepared = Prepared {
                statement_id: id,
                ..Prepared::default()
            };
            let statement = classify(b"SELECT 1", Dialect::default());
            statements.add(Server::Primary, prepared, statement, text(&long));
        }
        let may = |statements: &PreparedStatements, id| {
            let statement = statements.get(id).unwrap();
            statement.may_run_at_replica(Meaning::default())
        };
        assert!(may(&statements, 1) && !may(&statements, 2));
        statements.remove(1);
        let statement = classify(b"SELECT 1", Dialect::default());
        let prepared = Prepared::default();
        statements.add(Server::Primary, prepared, statement, text(&long));
        assert!(may(&statements, 0));
    }

    /// The type of one parameter, with a name by which it has so many bytes.
    fn long_types(bytes: usize) -> Vec<u8> {
        let name = u16::try_from(bytes - 5).unwrap();
        let types = [&[8, 0, 0xFC], &name.to_le_bytes()[..]].concat();
        [types, vec![b'x'; usize::from(name)]].concat()
    }

    #[test]
    fn types_are_kept_up_to_a_bound() {
        const NAMED: Capabilities = Capabilities::QUERY_ATTRIBUTES;
        let mut statements = PreparedStatements::default();
        let each = 60_000;
        let fit = u32::try_from(PREPARED_TYPES_BYTES_MAX / each).unwrap();
        let long = long_types(each);
        let again = execute(false, b"values");
        for id in 1..=fit + 1 {
            let prepared = Prepared {
                statement_id: id,
                parameters: 1,
                ..Prepared::default()
            };
            let statement = classify(b"SELECT ?", Dialect::default());
            statements.add(Server::Primary, prepared, statement, text(b"SELECT ?"));
            let are_kept = statements.keeps_types(id, &execute(true, &long), NAMED);
            assert_eq!(are_kept, id <= fit, "{id}");
            statements.bind(id, Server::Primary, 1, &long);
            assert_eq!(statements.get(id).unwrap().types_are_lost(), id > fit);
            assert_eq!(statements.keeps_types(id, &again, NAMED), id <= fit);
        }
        // The same ones need no more room, nor do others in their place.
        assert!(statements.keeps_types(1, &execute(true, &long), NAMED));
        statements.bind(1, Server::Replica, 1, &long);
        assert!(statements.get(1).unwrap().is_bound(Server::Primary));
        // Short ones are kept all the same, and so are long ones once there is room again.
        assert!(statements.keeps_types(fit + 1, &execute(true, b"\x08\0\0"), NAMED));
        statements.bind(fit + 1, Server::Primary, 1, b"\x08\0\0");
        assert!(statements.keeps_types(fit + 1, &again, NAMED));
        statements.remove(1);
        assert!(statements.keeps_types(fit + 1, &execute(true, &long), NAMED));
        assert_eq!(statements.types_bytes, (fit as usize - 1) * each + 3);
    }

    #[test]
    fn a_text_that_means_something_else_by_now_is_not_prepared_at_a_replica() {
        let mut statements = statements(1);
        let changed = Meaning::default().next();
        assert!(!statements.get(7).unwrap().may_run_at_replica(changed));
        // Where it was prepared before, it is what it was.
        statements.get_mut(7).unwrap().prepared_at_replica(3);
        assert!(statements.get(7).unwrap().may_run_at_replica(changed));
        statements.forget_replica();
        assert!(!statements.get(7).unwrap().may_run_at_replica(changed));
    }

    #[test]
    fn another_replica_knows_no_statement() {
        let mut statements = statements(1);
        let statement = statements.get_mut(7).unwrap();
        statement.prepared_at_replica(3);
        statement.cursor = Some(Server::Replica);
        statements.bind(7, Server::Replica, 1, b"\x08\0");
        statements.forget_replica();
        let statement = statements.get(7).unwrap();
        assert_eq!((statement.replica_id(), statement.cursor), (None, None));
        assert!(!statement.is_bound(Server::Replica));
    }
}
