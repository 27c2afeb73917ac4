//! One of the demo's two servers, as its sessions share it: who it is, the table, which connections
//! there are. It knows no socket: what it wants done to others it leaves for whoever runs it.

use std::collections::BTreeSet;

use super::table::{Changes, Table};

/// The version in greetings: clients choose by the number what they say.
pub(super) const VERSION: &str = "8.0.36-ringway-demo";

/// The longest packet that is taken, `@@max_allowed_packet`: many rows of the table.
pub(super) const PACKET_BYTES_MAX: u32 = 64 * 1024;

/// Whether a server takes writes or follows one that does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    Primary,
    Replica,
}

/// A server without its sockets.
#[derive(Debug)]
pub(super) struct Server {
    name: &'static str,
    id: u32,
    port: u16,
    role: Role,
    table: Table,
    last_thread: u32,
    threads: BTreeSet<u32>,
    /// What has been committed and not been passed on.
    committed: Vec<Changes>,
    killed: Vec<u32>,
}

impl Server {
    pub(super) fn new(name: &'static str, id: u32, port: u16, role: Role) -> Self {
        Self {
            name,
            id,
            port,
            role,
            table: Table::default(),
            last_thread: 0,
            threads: BTreeSet::new(),
            committed: Vec::new(),
            killed: Vec::new(),
        }
    }

    pub(super) const fn name(&self) -> &'static str {
        self.name
    }

    pub(super) const fn id(&self) -> u32 {
        self.id
    }

    pub(super) const fn port(&self) -> u16 {
        self.port
    }

    pub(super) fn is_read_only(&self) -> bool {
        self.role == Role::Replica
    }

    pub(super) const fn table(&self) -> &Table {
        &self.table
    }

    /// A line for people: `COM_STATISTICS`.
    pub(super) fn statistics(&self) -> String {
        let (threads, rows) = (self.threads.len(), self.table.len());
        format!("{}  Threads: {threads}  Rows in kv: {rows}", self.name)
    }

    /// Makes changes visible, and keeps them for whoever follows.
    pub(super) fn commit(&mut self, changes: Changes) {
        if !changes.is_empty() {
            self.table.apply(&changes);
            self.committed.push(changes);
        }
    }

    /// What has been committed since this was asked last, in its order.
    pub(super) fn take_committed(&mut self) -> Vec<Changes> {
        std::mem::take(&mut self.committed)
    }

    /// Does what another server has committed.
    pub(super) fn follow(&mut self, changes: &Changes) {
        self.table.apply(changes);
    }

    /// A number for a new connection.
    pub(super) fn add_thread(&mut self) -> u32 {
        loop {
            self.last_thread = self.last_thread.wrapping_add(1).max(1);
            if self.threads.insert(self.last_thread) {
                return self.last_thread;
            }
        }
    }

    /// A connection has ended.
    pub(super) fn remove_thread(&mut self, thread: u32) {
        self.threads.remove(&thread);
    }

    pub(super) fn has_thread(&self, thread: u32) -> bool {
        self.threads.contains(&thread)
    }

    /// Wants another connection ended.
    pub(super) fn kill(&mut self, thread: u32) {
        self.killed.push(thread);
    }

    /// The connections that are to end since this was asked last.
    pub(super) fn take_killed(&mut self) -> Vec<u32> {
        std::mem::take(&mut self.killed)
    }
}
