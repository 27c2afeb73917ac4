//! The table `kv (k VARCHAR(64) PRIMARY KEY, v VARCHAR(1000))`, what a transaction has changed of
//! it, and how the replica's copy follows: by the changes of each transaction, as row-based
//! replication does it.

use std::collections::BTreeMap;

use super::refusal::Refusal;
use crate::mysql::result::{Column, ColumnKind, Origin};

/// Length of the longest key.
const KEY_CHARACTERS_MAX: u32 = 64;
/// Length of the longest value.
const VALUE_CHARACTERS_MAX: u32 = 1000;
/// A full table takes a few megabytes, and so does a reply that has all of it.
const ROWS_MAX: usize = 1000;
/// What one character takes at most.
const UTF8_BYTES_MAX: u32 = 4;

/// Rows by their keys.
#[derive(Debug, Default)]
pub(super) struct Table {
    rows: BTreeMap<Vec<u8>, Vec<u8>>,
}

/// What a transaction has changed and nobody else sees yet: new values by their keys, or that a row
/// is gone.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Changes(BTreeMap<Vec<u8>, Option<Vec<u8>>>);

/// How many rows an UPDATE has found, and how many of them were different before.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Updated {
    pub(super) found: u64,
    pub(super) changed: u64,
}

impl Table {
    /// Makes what a transaction has changed visible to all. Of two transactions that changed the
    /// same row, the later one counts: nobody waits for anybody's lock here.
    pub(super) fn apply(&mut self, changes: &Changes) {
        for (key, value) in &changes.0 {
            match value {
                Some(value) => self.rows.insert(key.clone(), value.clone()),
                None => self.rows.remove(key),
            };
        }
    }

    /// How many rows there are.
    pub(super) fn len(&self) -> usize {
        self.rows.len()
    }

    /// The columns of the key and of the value, by the names that a statement gives them.
    pub(super) fn columns(key_name: &[u8], value_name: &[u8]) -> [Column; 2] {
        let column = |column, name: &[u8], characters_max: u32| Column {
            name: name.to_vec(),
            kind: ColumnKind::Text {
                bytes_max: characters_max * UTF8_BYTES_MAX,
            },
            origin: Some(Origin {
                schema: super::statements::DATABASE,
                table: super::statements::TABLE,
                column,
            }),
        };
        [
            column("k", key_name, KEY_CHARACTERS_MAX),
            column("v", value_name, VALUE_CHARACTERS_MAX),
        ]
    }
}

impl Changes {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The value of a key, as the transaction sees it.
    pub(super) fn get<'a>(&'a self, table: &'a Table, key: &[u8]) -> Option<&'a [u8]> {
        match self.0.get(key) {
            Some(changed) => changed.as_deref(),
            None => table.rows.get(key).map(Vec::as_slice),
        }
    }

    /// All rows in the order of their keys, as the transaction sees them.
    pub(super) fn rows<'a>(&'a self, table: &'a Table) -> BTreeMap<&'a [u8], &'a [u8]> {
        let all = table.rows.iter();
        let mut rows: BTreeMap<_, _> = all.map(|(key, value)| (&key[..], &value[..])).collect();
        for (key, value) in &self.0 {
            match value {
                Some(value) => rows.insert(key, value),
                None => rows.remove(&key[..]),
            };
        }
        rows
    }

    /// A new row.
    pub(super) fn insert(&mut self, table: &Table, row: Row) -> Result<u64, Refusal> {
        match self.get(table, &row.key) {
            Some(_) => Err(Refusal::duplicate_key(&row.key)),
            None => self.add(table, row),
        }
    }

    /// A row in the place of the one that had its key, which counts as two.
    pub(super) fn replace(&mut self, table: &Table, row: Row) -> Result<u64, Refusal> {
        if self.get(table, &row.key).is_none() {
            return self.add(table, row);
        }
        self.0.insert(row.key, Some(row.value));
        Ok(2)
    }

    /// Another value for one key, or for all.
    pub(super) fn update(&mut self, table: &Table, key: Option<&[u8]>, value: &Content) -> Updated {
        let mut updated = Updated::default();
        for (key, before) in self.selected(table, key) {
            updated.found += 1;
            if before != value.0 {
                updated.changed += 1;
                self.0.insert(key, Some(value.0.clone()));
            }
        }
        updated
    }

    /// Removes the row of one key, or all.
    pub(super) fn delete(&mut self, table: &Table, key: Option<&[u8]>) -> u64 {
        let selected = self.selected(table, key);
        let count = selected.len() as u64;
        let gone = selected.into_iter().map(|(key, _)| (key, None));
        self.0.extend(gone);
        count
    }

    fn selected(&self, table: &Table, key: Option<&[u8]>) -> Vec<(Vec<u8>, Vec<u8>)> {
        match key {
            Some(key) => {
                let found = self.get(table, key).into_iter();
                found.map(|value| (key.to_vec(), value.to_vec())).collect()
            }
            None => {
                let rows = self.rows(table).into_iter();
                rows.map(|(key, value)| (key.to_vec(), value.to_vec()))
                    .collect()
            }
        }
    }

    fn add(&mut self, table: &Table, row: Row) -> Result<u64, Refusal> {
        // Both: a transaction that adds and deletes in turn grows, too.
        if self.rows(table).len().max(self.0.len()) >= ROWS_MAX {
            return Err(Refusal::TABLE_FULL);
        }
        self.0.insert(row.key, Some(row.value));
        Ok(1)
    }
}

/// A row that the table takes.
#[derive(Debug)]
pub(super) struct Row {
    key: Vec<u8>,
    value: Vec<u8>,
}

/// What the column `v` takes.
#[derive(Debug)]
pub(super) struct Content(Vec<u8>);

impl Row {
    /// From what a statement gives; `None` is NULL.
    pub(super) fn new(key: Option<Vec<u8>>, value: Option<Vec<u8>>) -> Result<Self, Refusal> {
        let key = taken("k", key, KEY_CHARACTERS_MAX)?;
        let Content(value) = Content::new(value)?;
        Ok(Self { key, value })
    }
}

impl Content {
    /// From what a statement gives; `None` is NULL.
    pub(super) fn new(value: Option<Vec<u8>>) -> Result<Self, Refusal> {
        taken("v", value, VALUE_CHARACTERS_MAX).map(Self)
    }
}

fn taken(
    column: &'static str,
    value: Option<Vec<u8>>,
    characters_max: u32,
) -> Result<Vec<u8>, Refusal> {
    let value = value.ok_or_else(|| Refusal::null(column))?;
    let text = std::str::from_utf8(&value).map_err(|_| Refusal::not_utf8(column))?;
    match text.chars().count() <= characters_max as usize {
        true => Ok(value),
        false => Err(Refusal::too_long(column)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(key: &str, value: &str) -> Row {
        Row::new(Some(key.into()), Some(value.into())).unwrap()
    }

    fn table(rows: &[(&str, &str)]) -> Table {
        let (mut table, mut changes) = (Table::default(), Changes::default());
        for (key, value) in rows {
            changes.insert(&table, row(key, value)).unwrap();
        }
        table.apply(&changes);
        table
    }

    #[test]
    fn a_transaction_sees_its_changes_and_the_table_does_not() {
        let table = table(&[("a", "1"), ("b", "2")]);
        let mut changes = Changes::default();
        assert_eq!(changes.delete(&table, Some(b"a")), 1);
        assert_eq!(changes.delete(&table, Some(b"a")), 0);
        changes.insert(&table, row("c", "3")).unwrap();
        assert_eq!(changes.get(&table, b"a"), None);
        assert_eq!(changes.get(&table, b"b"), Some(&b"2"[..]));
        assert_eq!(changes.get(&table, b"c"), Some(&b"3"[..]));
        let seen: Vec<_> = changes.rows(&table).into_keys().collect();
        assert_eq!(seen, [b"b", b"c"]);
        assert_eq!(table.len(), 2);
    }

    #[test]
    fn a_copy_that_applies_the_same_changes_is_the_same() {
        let mut original = table(&[("a", "1"), ("b", "2")]);
        let mut copy = table(&[("a", "1"), ("b", "2")]);
        let mut changes = Changes::default();
        changes.update(&original, None, &Content(b"9".to_vec()));
        changes.delete(&original, Some(b"a"));
        changes.replace(&original, row("c", "3")).unwrap();
        original.apply(&changes);
        copy.apply(&changes);
        assert_eq!(copy.rows, original.rows);
        assert_eq!(
            copy.rows,
            BTreeMap::from([
                (b"b".to_vec(), b"9".to_vec()),
                (b"c".to_vec(), b"3".to_vec())
            ])
        );
    }

    #[test]
    fn affected_rows_are_counted_as_a_real_server_counts_them() {
        let table = table(&[("a", "1"), ("b", "2")]);
        let mut changes = Changes::default();
        let value = Content(b"2".to_vec());
        let updated = changes.update(&table, None, &value);
        assert_eq!((updated.found, updated.changed), (2, 1));
        assert_eq!(changes.update(&table, Some(b"x"), &value).found, 0);
        assert_eq!(changes.replace(&table, row("a", "5")), Ok(2));
        assert_eq!(changes.replace(&table, row("d", "5")), Ok(1));
        let refused = changes.insert(&table, row("d", "6")).unwrap_err();
        assert_eq!(refused.code, 1062);
        assert_eq!(changes.delete(&table, None), 3);
    }

    #[test]
    fn neither_the_table_nor_a_transaction_grows_beyond_its_bound() {
        let (mut table, mut changes) = (Table::default(), Changes::default());
        for n in 0..ROWS_MAX {
            changes.insert(&table, row(&n.to_string(), "")).unwrap();
        }
        let refused = changes.insert(&table, row("more", "")).unwrap_err();
        assert_eq!(refused, Refusal::TABLE_FULL);
        changes.delete(&table, None);
        let refused = changes.insert(&table, row("more", "")).unwrap_err();
        assert_eq!(refused, Refusal::TABLE_FULL, "its deletions count");

        let mut other = Changes::default();
        for n in 0..ROWS_MAX {
            other.insert(&table, row(&n.to_string(), "")).unwrap();
        }
        table.apply(&other);
        let refused = Changes::default().insert(&table, row("more", ""));
        assert_eq!(refused, Err(Refusal::TABLE_FULL));
        assert_eq!(Changes::default().replace(&table, row("5", "new")), Ok(2));
    }

    #[test]
    fn a_column_takes_text_of_its_length_and_no_null() {
        let key = |key: Option<&[u8]>| {
            let row = Row::new(key.map(<[u8]>::to_vec), Some(Vec::new()));
            row.map_err(|refused| refused.code).map(drop)
        };
        assert_eq!(key(Some("ü".repeat(64).as_bytes())), Ok(()));
        assert_eq!(key(Some(&[b'x'; 65])), Err(1406));
        assert_eq!(key(Some(b"\xff")), Err(1366));
        assert_eq!(key(None), Err(1048));
        let value = |value: Option<Vec<u8>>| {
            let content = Content::new(value);
            content.map_err(|refused| refused.code).map(drop)
        };
        assert_eq!(value(Some(vec![b'x'; 1000])), Ok(()));
        assert_eq!(value(Some(vec![b'x'; 1001])), Err(1406));
        assert_eq!(value(None), Err(1048));
    }
}
