//! A typed reader over TOML tables that records what is wrong and goes on.

use std::cell::RefCell;
use std::collections::HashMap;
use std::fmt::Display;
use std::hash::Hash;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::diagnostic::{Complaint, Diagnostic, Severity};
use super::schema::Schema;
use super::source::{Source, Span};
use super::value::describe;

/// Where errors and warnings are recorded.
#[derive(Debug)]
pub(super) struct Report<'a> {
    source: Source<'a>,
    found: RefCell<Vec<Diagnostic>>,
    gaps: Option<Gaps>,
}

/// What cannot be relied on in a text that is no TOML.
#[derive(Debug)]
struct Gaps {
    /// Lines with a syntax error.
    lines: Vec<u32>,
    /// Where the parser lost its way for good.
    end: usize,
}

/// A table that is being read.
#[derive(Debug)]
pub(super) struct Table<'a> {
    schema: &'static Schema,
    entries: &'a DeTable<'a>,
    /// The header.
    pub(super) span: Span,
    report: &'a Report<'a>,
}

/// Things that may occur only once, and where each stands.
#[derive(Debug)]
pub(super) struct Unique<T>(HashMap<T, Span>);

impl<'a> Report<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        Self {
            source: Source::new(text),
            found: RefCell::default(),
            gaps: None,
        }
    }

    /// From here on, nothing is said about these lines, about what comes after `end`, and about
    /// what is absent: the parser may only have skipped it.
    pub(super) fn trust_only(&mut self, except_lines: Vec<u32>, end: usize) {
        self.gaps = Some(Gaps {
            lines: except_lines,
            end,
        });
    }

    pub(super) fn error(&self, span: &Span, complaint: Complaint) {
        self.record(Severity::Error, span, complaint);
    }

    pub(super) fn warn(&self, span: &Span, complaint: Complaint) {
        self.record(Severity::Warning, span, complaint);
    }

    /// An error that consists in something not being there.
    pub(super) fn missing(&self, span: &Span, complaint: Complaint) {
        if self.gaps.is_none() {
            self.error(span, complaint);
        }
    }

    pub(super) fn line_of(&self, span: &Span) -> u32 {
        self.source.position(span.start).line
    }

    pub(super) fn position(&self, span: &Span) -> super::Position {
        self.source.position(span.start)
    }

    /// Errors and warnings, each in the order of the file.
    pub(super) fn finish(self) -> (Vec<Diagnostic>, Vec<Diagnostic>) {
        let mut found = self.found.into_inner();
        found.sort_by_key(|diagnostic| diagnostic.position);
        found.dedup();
        found
            .into_iter()
            .partition(|diagnostic| diagnostic.severity == Severity::Error)
    }

    fn record(&self, severity: Severity, span: &Span, complaint: Complaint) {
        let doubtful =
            |gaps: &Gaps| span.start > gaps.end || gaps.lines.contains(&self.line_of(span));
        if self.gaps.as_ref().is_some_and(doubtful) {
            return;
        }
        self.found.borrow_mut().push(Diagnostic {
            severity,
            file: None,
            position: self.source.position(span.start),
            message: complaint.message,
            help: complaint.help,
            excerpt: Some(self.source.excerpt(span)),
        });
    }
}

impl<'a> Table<'a> {
    /// The table of the file itself.
    pub(super) fn root(
        schema: &'static Schema,
        entries: &'a DeTable<'a>,
        report: &'a Report<'a>,
    ) -> Self {
        let table = Self {
            schema,
            entries,
            span: 0..0,
            report,
        };
        table.refuse_unknown_keys();
        table
    }

    /// A value that may be left out. `None` also when it is wrong, which has been recorded.
    pub(super) fn optional<T>(
        &self,
        key: &str,
        read: impl FnOnce(&'a DeValue<'a>) -> Result<T, Complaint>,
    ) -> Option<T> {
        let value = self.value(key)?;
        match read(value.get_ref()) {
            Ok(read) => Some(read),
            Err(complaint) => {
                self.report.error(&value.span(), complaint.about(key));
                None
            }
        }
    }

    /// A value that has to be there.
    pub(super) fn required<T>(
        &self,
        key: &str,
        help: &str,
        read: impl FnOnce(&'a DeValue<'a>) -> Result<T, Complaint>,
    ) -> Option<T> {
        self.require(key, help);
        self.optional(key, read)
    }

    /// One or several values: a list, or a single value without brackets. Every wrong one is
    /// recorded.
    pub(super) fn list<T>(
        &self,
        key: &str,
        read: impl Fn(&'a DeValue<'a>) -> Result<T, Complaint>,
    ) -> Option<Vec<(T, Span)>> {
        let value = self.value(key)?;
        let single = std::slice::from_ref(value);
        let items: &'a [Spanned<DeValue<'a>>] = value.get_ref().as_array().map_or(single, |a| a);
        if items.is_empty() {
            let complaint = Complaint::new("is empty").help("name at least one");
            self.report.error(&value.span(), complaint.about(key));
        }
        let read_item = |item: &'a Spanned<DeValue<'a>>| match read(item.get_ref()) {
            Ok(read) => Some((read, item.span())),
            Err(complaint) => {
                self.report.error(&item.span(), complaint.about(key));
                None
            }
        };
        let read: Vec<_> = items.iter().filter_map(read_item).collect();
        (!read.is_empty()).then_some(read)
    }

    /// As [`Self::list`], where everything is named once; none where there is none.
    pub(super) fn distinct<T: Clone + Display + Eq + Hash>(
        &self,
        key: &str,
        read: impl Fn(&'a DeValue<'a>) -> Result<T, Complaint>,
    ) -> Vec<(T, Span)> {
        let mut names = Unique::default();
        let mut first_time = |(name, span): &(T, Span)| {
            let claimed = names.claim(name.clone(), span.clone());
            if claimed.is_err() {
                let complaint = Complaint::new(format!("names \"{name}\" twice"));
                self.report.error(span, complaint.about(key));
            }
            claimed.is_ok()
        };
        let mut found = self.list(key, read).unwrap_or_default();
        found.retain(|named| first_time(named));
        found
    }

    /// Records that `key` is missing, if it is.
    pub(super) fn require(&self, key: &str, help: &str) {
        if self.value(key).is_none() {
            let message = format!("{} has no `{key}`", self.schema.header);
            let complaint = Complaint::new(message).help(help);
            self.report.missing(&self.span, complaint);
        }
    }

    /// A table below this one that may be left out.
    pub(super) fn table(&self, key: &str, schema: &'static Schema) -> Option<Self> {
        self.tables(key, schema).into_iter().next()
    }

    /// The tables of this name below this one, in the order of the file.
    pub(super) fn tables(&self, key: &str, schema: &'static Schema) -> Vec<Self> {
        let Some(value) = self.value(key) else {
            return Vec::new();
        };
        let may_repeat = schema.header.starts_with("[[");
        let items: &'a [Spanned<DeValue<'a>>] = match value.get_ref() {
            DeValue::Array(items) => items,
            _ => std::slice::from_ref(value),
        };
        let is_list = value.get_ref().is_array();
        let is_tables = items.iter().all(|item| item.get_ref().is_table());
        if is_list != may_repeat && is_tables {
            let complaint = Complaint::new("has the wrong number of brackets");
            let help = match may_repeat {
                true => format!("write {}: there can be several", schema.header),
                false => format!("write {}: there can be only one", schema.header),
            };
            self.report
                .error(&value.span(), complaint.about(key).help(help));
        }
        let open = |item| self.open(key, item, schema);
        items.iter().filter_map(open).collect()
    }

    /// Where the value of `key` stands; the header when there is none.
    pub(super) fn span_of(&self, key: &str) -> Span {
        self.value(key).map_or(self.span.clone(), Spanned::span)
    }

    /// Whether the file says anything about `key`; an empty list says nothing.
    pub(super) fn has(&self, key: &str) -> bool {
        let is_empty = |value: &DeValue<'_>| value.as_array().is_some_and(|list| list.is_empty());
        self.value(key)
            .is_some_and(|value| !is_empty(value.get_ref()))
    }

    /// The text of `key`, if it is one, without a word about what is wrong with it.
    pub(super) fn peek(&self, key: &str) -> Option<&'a str> {
        self.value(key)?.get_ref().as_str()
    }

    /// Whether `key` stands here, be it known or not.
    pub(super) fn mentions(&self, key: &str) -> bool {
        self.entries.contains_key(key)
    }

    fn value(&self, key: &str) -> Option<&'a Spanned<DeValue<'a>>> {
        debug_assert!(self.schema.keys.contains(&key), "`{key}` is in no schema");
        self.entries.get(key)
    }

    fn open(
        &self,
        key: &str,
        item: &'a Spanned<DeValue<'a>>,
        schema: &'static Schema,
    ) -> Option<Self> {
        let DeValue::Table(entries) = item.get_ref() else {
            let message = format!("is {}, but names a table", describe(item.get_ref()));
            let complaint = Complaint::new(message).help(format!("write {}", schema.header));
            self.report.error(&item.span(), complaint.about(key));
            return None;
        };
        let table = Self {
            schema,
            entries,
            span: item.span(),
            report: self.report,
        };
        table.refuse_unknown_keys();
        Some(table)
    }

    fn refuse_unknown_keys(&self) {
        for (key, value) in self.entries {
            let name = key.get_ref().as_ref();
            if !self.schema.keys.contains(&name) {
                let header = self.schema.header;
                let first = value.get_ref().as_array().and_then(|list| list.first());
                let value = first.map_or(value.get_ref(), Spanned::get_ref);
                let what = if value.is_table() { "table" } else { "key" };
                let message = format!("unknown {what} `{}` in {header}", name.escape_debug());
                let help = self.schema.help_for(name);
                self.report.error(&key.span(), Complaint { message, help });
            }
        }
    }
}

impl<T: Eq + Hash> Unique<T> {
    /// Remembers where `value` stands. `Err`: where it stood before.
    pub(super) fn claim(&mut self, value: T, span: Span) -> Result<(), Span> {
        match self.0.entry(value) {
            std::collections::hash_map::Entry::Occupied(first) => Err(first.get().clone()),
            std::collections::hash_map::Entry::Vacant(entry) => {
                entry.insert(span);
                Ok(())
            }
        }
    }
}

impl<T> Default for Unique<T> {
    fn default() -> Self {
        Self(HashMap::new())
    }
}
