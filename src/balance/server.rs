//! A server as all threads see it. Identity is pool, name and address; an object of this type lives
//! as long as that identity is configured or has sessions, over any number of reloads.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, Ordering};

use crossbeam::utils::CachePadded;

use crate::config::{Address, Role};
use crate::telemetry::ServerCounters;

/// What active checks say of a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Health {
    /// Takes new sessions. Servers start so: traffic flows before the first check is done.
    Up,
    /// Held down: gets no new sessions, whatever else fails.
    Down,
}

/// A server's shared state and its counters, one set per worker.
#[derive(Debug)]
pub struct Server {
    pool: Arc<str>,
    name: Arc<str>,
    address: Address,
    held_down: AtomicBool,
    /// 0: none; otherwise as [`code`] has it.
    role: AtomicU8,
    lagging: AtomicBool,
    /// Failures to connect.
    connects: Passive,
    /// Failures to log in, at a server whose connections say little: those that it turned away.
    logins: Passive,
    /// When it was last known to live, in milliseconds since the process's start.
    alive_at_ms: AtomicU64,
    /// When its sessions are ended, in milliseconds since the process's start.
    retire_at_ms: AtomicU64,
    sessions: CachePadded<AtomicU32>,
    counters: Box<[CachePadded<ServerCounters>]>,
}

/// Failures of one kind, seen by sessions.
#[derive(Debug, Default)]
struct Passive {
    /// In a row, over all workers.
    failures: AtomicU32,
    /// Left alone until this moment; 0: it is not.
    until_ms: AtomicU64,
}

/// What a failed connect changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// The server still takes part.
    Counted,
    /// It reached `max_fails` just now and is left alone.
    Ejected,
    /// It had been left alone before and still is.
    StillEjected,
}

impl Server {
    /// A server nobody has tried yet, with counters for `workers` threads.
    pub fn new(pool: &str, name: &str, address: Address, workers: usize) -> Self {
        Self {
            pool: pool.into(),
            name: name.into(),
            address,
            held_down: AtomicBool::new(false),
            role: AtomicU8::new(code(None)),
            lagging: AtomicBool::new(false),
            connects: Passive::default(),
            logins: Passive::default(),
            alive_at_ms: AtomicU64::new(0),
            retire_at_ms: AtomicU64::new(u64::MAX),
            sessions: CachePadded::default(),
            counters: (0..workers).map(|_| CachePadded::default()).collect(),
        }
    }

    /// The pool's name.
    pub fn pool(&self) -> &Arc<str> {
        &self.pool
    }

    /// The server's name; servers of one name differ in their address.
    pub fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// Where it is reached.
    pub fn address(&self) -> &Address {
        &self.address
    }

    /// The counters that worker `worker` writes.
    #[inline]
    pub fn counters(&self, worker: usize) -> &ServerCounters {
        &self.counters[worker]
    }

    /// The counters of all workers, to be summed.
    pub fn all_counters(&self) -> impl Iterator<Item = &ServerCounters> {
        self.counters.iter().map(|padded| &**padded)
    }

    /// What the active check last said.
    pub fn health(&self) -> Health {
        if self.held_down.load(Ordering::Relaxed) {
            Health::Down
        } else {
            Health::Up
        }
    }

    /// Sets what the active check says.
    pub fn set_health(&self, health: Health) {
        self.held_down
            .store(health == Health::Down, Ordering::Relaxed);
    }

    /// What it is to statements; `None` where they are not looked at, or it is not known yet.
    #[inline]
    pub fn role(&self) -> Option<Role> {
        let code_now = self.role.load(Ordering::Relaxed);
        let roles = [Role::Primary, Role::Replica];
        roles.into_iter().find(|&role| code(Some(role)) == code_now)
    }

    /// Sets what it is: as configured, or as a monitor has found it.
    pub fn set_role(&self, role: Option<Role>) {
        self.role.store(code(role), Ordering::Relaxed);
    }

    /// Whether it is too far behind its primary to be read.
    #[inline]
    pub fn is_lagging(&self) -> bool {
        self.lagging.load(Ordering::Relaxed)
    }

    /// Takes it out of the servers that are read, or puts it back.
    pub fn set_lagging(&self, lagging: bool) {
        self.lagging.store(lagging, Ordering::Relaxed);
    }

    /// When a sign of life was last asked for that came: a connection, or an active check.
    pub fn alive_at_ms(&self) -> u64 {
        self.alive_at_ms.load(Ordering::Relaxed)
    }

    /// Notes a sign of life that was asked for at `at_ms`.
    pub fn seen_alive(&self, at_ms: u64) {
        self.alive_at_ms.fetch_max(at_ms, Ordering::Relaxed);
    }

    /// When its sessions are ended because it was removed; `u64::MAX`: they are not.
    pub fn retire_at_ms(&self) -> u64 {
        self.retire_at_ms.load(Ordering::Relaxed)
    }

    /// Sets when its sessions are ended; `u64::MAX` when it is configured again.
    pub fn set_retire_at_ms(&self, at_ms: u64) {
        self.retire_at_ms.store(at_ms, Ordering::Relaxed);
    }

    /// Sessions that have chosen it and not yet ended, connecting ones included.
    pub fn sessions(&self) -> u32 {
        self.sessions.load(Ordering::Relaxed)
    }

    /// Takes one of `limit` places; `false`: all are taken. Each success needs a [`Self::release`].
    #[inline]
    pub fn acquire(&self, limit: u32) -> bool {
        // Not an addition that is taken back: another worker would find the server full meanwhile.
        let one_more = |sessions| (sessions < limit).then(|| sessions + 1);
        let sessions = &self.sessions;
        sessions
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more)
            .is_ok()
    }

    /// Gives a place back.
    ///
    /// # Panics
    /// When more places are given back than were taken.
    #[inline]
    pub fn release(&self) {
        let before = self.sessions.fetch_sub(1, Ordering::Relaxed);
        assert!(before > 0, "a server's places are given back once");
    }

    /// Whether failures keep it out of the choice at `now_ms`.
    ///
    /// When the time it is left alone has passed, one caller is told no and may try it: the
    /// others go on avoiding it until that try has ended, so that a dead server costs one session
    /// a connect timeout each `fail_timeout`, and not every session that comes along.
    #[inline]
    pub fn is_ejected(&self, now_ms: u64, fail_timeout_ms: u64) -> bool {
        // Looked at first, so that no try is claimed that the other kind forbids.
        self.is_ejected_peek(now_ms)
            || !self.connects.may_try(now_ms, fail_timeout_ms)
            || !self.logins.may_try(now_ms, fail_timeout_ms)
    }

    /// Whether failures keep it out at `now_ms`, without claiming the next try.
    #[inline]
    pub fn is_ejected_peek(&self, now_ms: u64) -> bool {
        self.connects.is_ejected(now_ms) || self.logins.is_ejected(now_ms)
    }

    /// Failures in a row, of the kind that has more.
    pub fn failures(&self) -> u32 {
        self.connects.in_a_row().max(self.logins.in_a_row())
    }

    /// Notes that it accepted a connection. `true`: it had been left alone until now.
    #[inline]
    pub fn connected(&self) -> bool {
        self.connects.succeeded()
    }

    /// Notes that it let somebody in: it turns nobody away any more. `true`: it had been left alone
    /// for that until now.
    #[inline]
    pub fn logged_in(&self) -> bool {
        self.logins.succeeded()
    }

    /// Notes that connecting to it failed and that it is to blame.
    pub fn failed(&self, now_ms: u64, max_fails: u32, fail_timeout_ms: u64) -> Failure {
        self.connects.failed(now_ms, max_fails, fail_timeout_ms)
    }

    /// Notes that it takes connections and turned one away, whoever it was.
    pub fn turned_away(&self, now_ms: u64, max_fails: u32, fail_timeout_ms: u64) -> Failure {
        self.logins.failed(now_ms, max_fails, fail_timeout_ms)
    }
}

impl Passive {
    fn is_ejected(&self, now_ms: u64) -> bool {
        now_ms < self.until_ms.load(Ordering::Relaxed)
    }

    /// Claims the try that is due after it was left alone, if it was. `false`: somebody else has it.
    fn may_try(&self, now_ms: u64, fail_timeout_ms: u64) -> bool {
        let until_ms = self.until_ms.load(Ordering::Relaxed);
        if until_ms == 0 {
            return true;
        }
        if now_ms < until_ms {
            return false;
        }
        let next_ms = (now_ms + fail_timeout_ms).max(1);
        self.until_ms
            .compare_exchange(until_ms, next_ms, Ordering::Relaxed, Ordering::Relaxed)
            .is_ok()
    }

    fn in_a_row(&self) -> u32 {
        self.failures.load(Ordering::Relaxed)
    }

    fn succeeded(&self) -> bool {
        // Looked at first: a store on every connection would bounce the line between workers.
        if self.failures.load(Ordering::Relaxed) != 0 {
            self.failures.store(0, Ordering::Relaxed);
        }
        self.until_ms.load(Ordering::Relaxed) != 0 && self.until_ms.swap(0, Ordering::Relaxed) != 0
    }

    fn failed(&self, now_ms: u64, max_fails: u32, fail_timeout_ms: u64) -> Failure {
        let failures = self.failures.fetch_add(1, Ordering::Relaxed);
        if failures.saturating_add(1) < max_fails {
            return Failure::Counted;
        }
        let until_ms = (now_ms + fail_timeout_ms).max(1);
        match self.until_ms.swap(until_ms, Ordering::Relaxed) {
            0 => Failure::Ejected,
            _ => Failure::StillEjected,
        }
    }
}

/// A role as a number that fits in an atomic.
const fn code(role: Option<Role>) -> u8 {
    match role {
        None => 0,
        Some(Role::Primary) => 1,
        Some(Role::Replica) => 2,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FAIL_TIMEOUT_MS: u64 = 10_000;

    fn server() -> Server {
        Server::new(
            "web",
            "web-01",
            Address::Tcp(([127, 0, 0, 1], 80).into()),
            1,
        )
    }

    #[test]
    fn a_server_is_ejected_at_max_fails_and_tried_by_one_session_later() {
        let server = server();
        assert_eq!(server.failed(1_000, 2, FAIL_TIMEOUT_MS), Failure::Counted);
        assert!(!server.is_ejected(1_000, FAIL_TIMEOUT_MS));
        assert_eq!(server.failed(1_000, 2, FAIL_TIMEOUT_MS), Failure::Ejected);
        assert!(server.is_ejected(10_999, FAIL_TIMEOUT_MS));

        assert!(
            !server.is_ejected(11_000, FAIL_TIMEOUT_MS),
            "one session may try"
        );
        assert!(
            server.is_ejected(11_000, FAIL_TIMEOUT_MS),
            "the next may not"
        );
        assert_eq!(
            server.failed(11_001, 2, FAIL_TIMEOUT_MS),
            Failure::StillEjected
        );
        assert!(server.is_ejected(21_000, FAIL_TIMEOUT_MS));
    }

    #[test]
    fn a_success_forgets_the_failures() {
        let server = server();
        server.failed(0, 2, FAIL_TIMEOUT_MS);
        assert!(!server.connected(), "it had not been ejected");
        server.failed(0, 2, FAIL_TIMEOUT_MS);
        assert!(
            !server.is_ejected(0, FAIL_TIMEOUT_MS),
            "failures count in a row"
        );
        server.failed(0, 2, FAIL_TIMEOUT_MS);
        assert!(server.connected(), "it had been ejected");
        assert!(!server.is_ejected(0, FAIL_TIMEOUT_MS));
    }

    #[test]
    fn a_server_that_turns_sessions_away_is_left_alone_though_it_takes_connections() {
        let server = server();
        for expected in [Failure::Counted, Failure::Ejected] {
            assert!(!server.is_ejected(0, FAIL_TIMEOUT_MS));
            server.connected();
            assert_eq!(server.turned_away(0, 2, FAIL_TIMEOUT_MS), expected);
        }
        assert_eq!(server.failures(), 2);
        assert!(server.is_ejected(9_999, FAIL_TIMEOUT_MS));
        assert!(!server.connected(), "that is not why");
        assert!(!server.is_ejected(10_000, FAIL_TIMEOUT_MS), "one may try");
        assert!(
            server.is_ejected(10_000, FAIL_TIMEOUT_MS),
            "the next may not"
        );
        assert!(server.logged_in(), "it had been left alone");
        assert!(!server.is_ejected(10_000, FAIL_TIMEOUT_MS));
    }

    #[test]
    fn no_try_is_claimed_while_the_other_kind_of_failure_forbids_it() {
        let server = server();
        server.failed(0, 1, FAIL_TIMEOUT_MS);
        server.turned_away(5_000, 1, FAIL_TIMEOUT_MS);
        assert!(server.is_ejected(12_000, FAIL_TIMEOUT_MS));
        assert!(!server.is_ejected(15_000, FAIL_TIMEOUT_MS), "one may try");
    }

    #[test]
    fn a_role_is_what_it_was_set_to() {
        let server = server();
        assert_eq!(server.role(), None);
        for role in [Some(Role::Primary), Some(Role::Replica), None] {
            server.set_role(role);
            assert_eq!(server.role(), role);
        }
    }

    #[test]
    fn places_are_limited_and_given_back() {
        let server = server();
        assert!(server.acquire(2) && server.acquire(2));
        assert!(!server.acquire(2));
        server.release();
        assert!(server.acquire(2));
        assert_eq!(server.sessions(), 2);
    }
}
