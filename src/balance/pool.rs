//! A pool as one configuration generation has it: its members, their schedule, and the choice.

use std::sync::Arc;

use super::schedule::{Cursor, Schedule};
use super::server::{Failure, Health, Server};
use crate::config::PoolSettings;
use crate::limits::{TICKETS_PER_PICK, TRIES_MAX};

/// A server in a pool, with what the pool's configuration says of it.
#[derive(Clone, Debug)]
pub struct Member {
    /// The server, shared with earlier and later generations.
    pub server: Arc<Server>,
    /// Its share of new sessions.
    pub weight: u16,
    /// Sessions at a time; `None`: no limit.
    pub max_connections: Option<u32>,
    /// Whether it waits until no other can.
    pub backup: bool,
}

/// Members and how one is chosen among them.
#[derive(Debug)]
pub struct Pool {
    name: Arc<str>,
    settings: PoolSettings,
    members: Box<[Member]>,
    /// Regular servers, then backups.
    tiers: [Tier; 2],
}

#[derive(Debug)]
struct Tier {
    schedule: Schedule,
    cursor: Cursor,
}

/// Why no server could be chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoServer {
    /// All are held down by their active check, or have weight 0.
    Down,
    /// Those that could take a session are at their limit.
    Full,
    /// This session has tried all that are left.
    AllTried,
}

/// The members a session has tried.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tried {
    members: [u16; TRIES_MAX],
    len: u8,
}

impl Tried {
    /// How many tries there were.
    pub fn len(&self) -> u8 {
        self.len
    }

    /// The member of the last try.
    pub fn last(&self) -> Option<u16> {
        self.members[..usize::from(self.len)].last().copied()
    }

    /// Whether nothing has been tried.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Whether this member was among them.
    pub fn contains(&self, member: usize) -> bool {
        self.members[..usize::from(self.len)]
            .iter()
            .any(|&m| usize::from(m) == member)
    }

    /// Forgets the last try: it never came to be.
    pub fn pop(&mut self) {
        self.len = self.len.saturating_sub(1);
    }

    /// Remembers a try.
    ///
    /// # Panics
    /// After [`TRIES_MAX`] tries; the configuration bounds `retries`.
    pub fn push(&mut self, member: usize) {
        self.members[usize::from(self.len)] = member as u16;
        self.len += 1;
    }
}

/// What kept a member from being chosen, in one look at it.
enum Refusal {
    Down,
    Ejected,
    Full,
    Tried,
}

/// What was seen while nobody could be chosen.
#[derive(Default)]
struct Seen {
    ejected: bool,
    full: bool,
    tried: bool,
}

impl Pool {
    /// A pool of these members. The cursors come from the generation before, if there was one.
    pub fn new(
        name: &str,
        settings: PoolSettings,
        members: Vec<Member>,
        cursors: [Cursor; 2],
    ) -> Self {
        let weights = |backup| {
            let weight = |m: &Member| if m.backup == backup { m.weight } else { 0 };
            members.iter().map(weight).collect::<Vec<_>>()
        };
        let [regular, backup] = cursors;
        let tiers = [
            Tier {
                schedule: Schedule::new(&weights(false)),
                cursor: regular,
            },
            Tier {
                schedule: Schedule::new(&weights(true)),
                cursor: backup,
            },
        ];
        Self {
            name: name.into(),
            settings,
            members: members.into_boxed_slice(),
            tiers,
        }
    }

    /// The pool's name.
    pub fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// What its sessions are held to.
    pub fn settings(&self) -> &PoolSettings {
        &self.settings
    }

    /// Its members, in the order of the configuration.
    pub fn members(&self) -> &[Member] {
        &self.members
    }

    /// The member with this index.
    #[inline]
    pub fn member(&self, index: usize) -> &Member {
        &self.members[index]
    }

    /// The cursors, for the next generation to go on from.
    pub fn cursors(&self) -> [Cursor; 2] {
        [self.tiers[0].cursor.clone(), self.tiers[1].cursor.clone()]
    }

    /// Chooses a member for a session that has tried `tried`, and takes a place at it; the caller
    /// gives it back with [`Server::release`].
    ///
    /// Regular servers first, then backups. When connect failures keep all of them out, they are
    /// tried all the same: a server that fails now and then beats none. One that its active check
    /// holds down is never chosen.
    ///
    /// # Errors
    /// [`NoServer`], when nobody can take the session now.
    pub fn pick(&self, now_ms: u64, tried: &Tried) -> Result<usize, NoServer> {
        let mut seen = Seen::default();
        for tier in &self.tiers {
            if let Some(member) = self.pick_in(tier, now_ms, tried, false, &mut seen) {
                return Ok(member);
            }
        }
        if seen.ejected {
            for tier in &self.tiers {
                if let Some(member) = self.pick_in(tier, now_ms, tried, true, &mut seen) {
                    return Ok(member);
                }
            }
        }
        Err(match seen {
            Seen { full: true, .. } => NoServer::Full,
            Seen { tried: true, .. } => NoServer::AllTried,
            _ => NoServer::Down,
        })
    }

    /// Notes how a try ended that was the server's doing.
    pub fn failed(&self, member: usize, now_ms: u64) -> Failure {
        let fail_timeout_ms = self.fail_timeout_ms();
        self.members[member]
            .server
            .failed(now_ms, self.settings.max_fails, fail_timeout_ms)
    }

    fn fail_timeout_ms(&self) -> u64 {
        self.settings.fail_timeout.as_millis() as u64
    }

    fn pick_in(
        &self,
        tier: &Tier,
        now_ms: u64,
        tried: &Tried,
        even_if_ejected: bool,
        seen: &mut Seen,
    ) -> Option<usize> {
        let slots = tier.schedule.len();
        if slots == 0 {
            return None;
        }
        let mut take = |member: usize| match self.take(member, now_ms, tried, even_if_ejected) {
            Ok(()) => true,
            Err(refusal) => {
                match refusal {
                    Refusal::Down => {}
                    Refusal::Ejected => seen.ejected = true,
                    Refusal::Full => seen.full = true,
                    Refusal::Tried => seen.tried = true,
                }
                false
            }
        };
        // Each refusal costs a fresh ticket and not "the next index", or the neighbour of a dead
        // server would get two shares.
        let mut last = 0;
        for _ in 0..slots.min(TICKETS_PER_PICK) {
            last = tier.schedule.at(tier.cursor.ticket());
            if take(last) {
                return Some(last);
            }
        }
        // Tickets need not have shown every member: a heavy dead one, or other workers' draws.
        let count = self.members.len();
        (1..=count)
            .map(|step| (last + step) % count)
            .filter(|&member| self.is_scheduled(tier, member))
            .find(|&member| take(member))
    }

    fn is_scheduled(&self, tier: &Tier, member: usize) -> bool {
        let member = &self.members[member];
        member.weight > 0 && member.backup == std::ptr::eq(tier, &self.tiers[1])
    }

    fn take(
        &self,
        index: usize,
        now_ms: u64,
        tried: &Tried,
        even_if_ejected: bool,
    ) -> Result<(), Refusal> {
        let member = &self.members[index];
        let server = &member.server;
        if server.health() == Health::Down {
            return Err(Refusal::Down);
        }
        if tried.contains(index) {
            return Err(Refusal::Tried);
        }
        if !even_if_ejected && server.is_ejected(now_ms, self.fail_timeout_ms()) {
            return Err(Refusal::Ejected);
        }
        if !server.acquire(member.max_connections.unwrap_or(u32::MAX)) {
            return Err(Refusal::Full);
        }
        Ok(())
    }
}
