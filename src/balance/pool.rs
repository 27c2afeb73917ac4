//! A pool as one configuration generation has it: its members, their schedule, and the choice.

use std::net::IpAddr;
use std::sync::Arc;

use super::affinity::{Affinity, Client};
use super::schedule::{Cursor, Schedule};
use super::server::{Failure, Health, Server};
use crate::config::{Algorithm, PoolSettings, Role};
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
    /// With [`Algorithm::Source`].
    affinity: Option<Affinity>,
}

#[derive(Debug)]
struct Tier {
    schedule: Schedule,
    cursors: TierCursors,
}

/// Where a pool is in its schedules; kept over reloads.
#[derive(Clone, Debug, Default)]
pub struct Cursors([TierCursors; 2]);

/// Whoever may choose among all, among primaries and among replicas has a place of his own in one
/// schedule: what the others draw does not disturb his turn.
#[derive(Clone, Debug, Default)]
struct TierCursors {
    all: Cursor,
    primaries: Cursor,
    replicas: Cursor,
}

impl TierCursors {
    fn of(&self, role: Option<Role>) -> &Cursor {
        match role {
            None => &self.all,
            Some(Role::Primary) => &self.primaries,
            Some(Role::Replica) => &self.replicas,
        }
    }
}

/// Why no server could be chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoServer {
    /// All are held down by their active check, or have weight 0, or none has the role.
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

/// Whom a session looks for.
#[derive(Clone, Copy, Debug)]
pub struct Wanted<'a> {
    /// One whose server has this role now, and no replica that lags; `None`: anyone.
    pub role: Option<Role>,
    /// Where its client is, for [`Algorithm::Source`]; `None`: a client without an address, which
    /// gets whoever's turn it is.
    pub source: Option<IpAddr>,
    /// Since the process's start.
    pub now_ms: u64,
    /// Those that the session does not want again.
    pub tried: &'a Tried,
}

/// Whether servers that are left alone for their failures take part.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Ejected {
    Avoided,
    Welcome,
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
    pub fn new(name: &str, settings: PoolSettings, members: Vec<Member>, cursors: Cursors) -> Self {
        let weights = |backup| {
            let weight = |m: &Member| if m.backup == backup { m.weight } else { 0 };
            members.iter().map(weight).collect::<Vec<_>>()
        };
        let Cursors([regular, backup]) = cursors;
        let tiers = [
            Tier {
                schedule: Schedule::new(&weights(false)),
                cursors: regular,
            },
            Tier {
                schedule: Schedule::new(&weights(true)),
                cursors: backup,
            },
        ];
        let affinity = (settings.algorithm == Algorithm::Source)
            .then(|| Affinity::of(members.iter().map(|member| &*member.server)));
        Self {
            name: name.into(),
            settings,
            affinity,
            members: members.into_boxed_slice(),
            tiers,
        }
    }

    /// The pool's name.
    pub fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// How they are chosen, and what sessions are held to.
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
    pub fn cursors(&self) -> Cursors {
        Cursors(self.tiers.each_ref().map(|tier| tier.cursors.clone()))
    }

    /// Chooses a member for a session, and takes a place at it; the caller gives it back with
    /// [`Server::release`].
    ///
    /// Regular servers first, then backups. When connect failures keep all of them out, they are
    /// tried all the same: a server that fails now and then beats none. One that its active check
    /// holds down is never chosen.
    ///
    /// # Errors
    /// [`NoServer`], when nobody can take the session now.
    pub fn pick(&self, wanted: &Wanted<'_>) -> Result<usize, NoServer> {
        let mut seen = Seen::default();
        for ejected in [Ejected::Avoided, Ejected::Welcome] {
            for tier in &self.tiers {
                if let Some(member) = self.pick_in(tier, wanted, ejected, &mut seen) {
                    return Ok(member);
                }
            }
            if !seen.ejected {
                break;
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

    /// Notes that a member took a connection and turned it away, whoever it was.
    pub fn turned_away(&self, member: usize, now_ms: u64) -> Failure {
        let fail_timeout_ms = self.fail_timeout_ms();
        let server = &self.members[member].server;
        server.turned_away(now_ms, self.settings.max_fails, fail_timeout_ms)
    }

    fn fail_timeout_ms(&self) -> u64 {
        self.settings.fail_timeout.as_millis() as u64
    }

    fn pick_in(
        &self,
        tier: &Tier,
        wanted: &Wanted<'_>,
        ejected: Ejected,
        seen: &mut Seen,
    ) -> Option<usize> {
        let take = |member: usize| match self.take(member, wanted, ejected) {
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
        match self.affinity.as_ref().zip(wanted.source) {
            Some((affinity, source)) => {
                self.by_preference(tier, wanted.role, affinity, Client::new(source), take)
            }
            None => self.in_turn(tier, wanted.role, take),
        }
    }

    /// Offers a session to one member after the other, from the one whose turn it is, until one
    /// takes it.
    fn in_turn(
        &self,
        tier: &Tier,
        role: Option<Role>,
        mut take: impl FnMut(usize) -> bool,
    ) -> Option<usize> {
        let slots = tier.schedule.len();
        let count = self.members.len();
        let is_candidate = |member| self.is_candidate(tier, member, role);
        if slots == 0 || role.is_some() && !(0..count).any(is_candidate) {
            return None;
        }
        // Each refusal costs a fresh ticket and not "the next index", or the neighbour of a dead
        // server would get two shares. So does a member of another role, which refuses nothing.
        let cursor = tier.cursors.of(role);
        let (mut last, mut refusals) = (0, 0);
        for _ in 0..slots {
            last = tier.schedule.at(cursor.ticket());
            if !self.has_role(last, role) {
                continue;
            }
            if take(last) {
                return Some(last);
            }
            refusals += 1;
            if refusals == TICKETS_PER_PICK {
                break;
            }
        }
        // Tickets need not have shown every member: a heavy dead one, or other workers' draws.
        (1..=count)
            .map(|step| (last + step) % count)
            .filter(|&member| is_candidate(member))
            .find(|&member| take(member))
    }

    /// Offers a session to one member after the other, from the one its client prefers, until one
    /// takes it.
    fn by_preference(
        &self,
        tier: &Tier,
        role: Option<Role>,
        affinity: &Affinity,
        client: Client,
        mut take: impl FnMut(usize) -> bool,
    ) -> Option<usize> {
        let bid = |member: usize| {
            let weight = self.members[member].weight;
            (affinity.bid(member, weight, client), member)
        };
        let mut refused = None;
        loop {
            // Sorting the bids would need memory, and mostly the first takes it.
            let (bid, best) = (0..self.members.len())
                .filter(|&member| self.is_candidate(tier, member, role))
                .map(bid)
                .filter(|&bid| refused.is_none_or(|refused| bid < refused))
                .max()?;
            if take(best) {
                return Some(best);
            }
            refused = Some((bid, best));
        }
    }

    /// Whether a member can be chosen from a tier.
    fn is_candidate(&self, tier: &Tier, member: usize, role: Option<Role>) -> bool {
        self.is_scheduled(tier, member) && self.has_role(member, role)
    }

    /// Whether a member is one of those that are chosen among.
    #[inline]
    fn has_role(&self, member: usize, role: Option<Role>) -> bool {
        let Some(role) = role else {
            return true;
        };
        let server = &self.members[member].server;
        server.role() == Some(role) && !(role == Role::Replica && server.is_lagging())
    }

    fn is_scheduled(&self, tier: &Tier, member: usize) -> bool {
        let member = &self.members[member];
        member.weight > 0 && member.backup == std::ptr::eq(tier, &self.tiers[1])
    }

    fn take(&self, index: usize, wanted: &Wanted<'_>, ejected: Ejected) -> Result<(), Refusal> {
        let member = &self.members[index];
        let server = &member.server;
        if server.health() == Health::Down {
            return Err(Refusal::Down);
        }
        if wanted.tried.contains(index) {
            return Err(Refusal::Tried);
        }
        if !server.acquire(member.max_connections.unwrap_or(u32::MAX)) {
            return Err(Refusal::Full);
        }
        // After the place, because being told no here may claim the server's one try.
        let avoided = ejected == Ejected::Avoided;
        if avoided && server.is_ejected(wanted.now_ms, self.fail_timeout_ms()) {
            server.release();
            return Err(Refusal::Ejected);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;
    use crate::config::Address;

    const FAIL_TIMEOUT_MS: u64 = 10_000;

    fn settings() -> PoolSettings {
        let second = Duration::from_secs(1);
        PoolSettings {
            algorithm: Algorithm::RoundRobin,
            connect_timeout: second,
            connect_deadline: second,
            retries: 3,
            idle_timeout: second,
            half_close_timeout: second,
            max_fails: 1,
            fail_timeout: Duration::from_millis(FAIL_TIMEOUT_MS),
            removed_server_timeout: None,
            reset_linger: second,
            tcp_user_timeout: second,
            keepalive_idle: second,
            keepalive_interval: second,
            keepalive_probes: 3,
        }
    }

    fn member(index: usize, max_connections: Option<u32>, backup: bool) -> Member {
        let address = Address::Tcp(([10, 0, 0, 1], 80 + index as u16).into());
        Member {
            server: Arc::new(Server::new("web", &format!("web-{index}"), address, 1)),
            weight: 1,
            max_connections,
            backup,
        }
    }

    /// Two regular servers and a backup, each with room for `max_connections`.
    fn pool(max_connections: Option<u32>) -> Pool {
        let members = (0..3).map(|i| member(i, max_connections, i == 2)).collect();
        Pool::new("web", settings(), members, Default::default())
    }

    fn tried(members: &[usize]) -> Tried {
        let mut tried = Tried::default();
        members.iter().for_each(|&member| tried.push(member));
        tried
    }

    fn pick(pool: &Pool, now_ms: u64, already: &[usize]) -> Result<usize, NoServer> {
        pool.pick(&Wanted {
            role: None,
            source: None,
            now_ms,
            tried: &tried(already),
        })
    }

    #[test]
    fn regular_servers_take_turns_and_the_backup_waits() {
        let pool = pool(None);
        let picks: Vec<_> = (0..4).map(|_| pick(&pool, 0, &[]).unwrap()).collect();
        assert_eq!(picks, [0, 1, 0, 1]);
        assert_eq!(pool.member(0).server.sessions(), 2);
    }

    #[test]
    fn the_backup_steps_in_when_no_regular_server_can() {
        let pool = pool(None);
        pool.member(0).server.set_health(Health::Down);
        pool.failed(1, 0);
        assert_eq!(pick(&pool, 1, &[]), Ok(2));
    }

    #[test]
    fn one_that_is_held_down_is_never_chosen_and_one_that_only_fails_is_when_all_do() {
        let pool = pool(None);
        pool.member(0).server.set_health(Health::Down);
        pool.failed(1, 0);
        pool.failed(2, 0);
        assert_eq!(pick(&pool, 1, &[]), Ok(1));
        assert_eq!(pick(&pool, 1, &[1]), Ok(2));
        assert_eq!(pick(&pool, 1, &[1, 2]), Err(NoServer::AllTried));
    }

    #[test]
    fn a_refusal_takes_no_place_and_says_why() {
        let pool = pool(Some(1));
        for member in [0, 1, 2] {
            assert_eq!(pick(&pool, 0, &[]), Ok(member));
        }
        assert_eq!(pick(&pool, 0, &[]), Err(NoServer::Full));
        pool.members().iter().for_each(|m| m.server.release());
        pool.members()
            .iter()
            .for_each(|m| m.server.set_health(Health::Down));
        assert_eq!(pick(&pool, 0, &[]), Err(NoServer::Down));
        assert!(pool.members().iter().all(|m| m.server.sessions() == 0));
    }

    #[test]
    fn the_one_try_of_a_failing_server_is_not_spent_while_it_is_full() {
        let pool = pool(Some(1));
        assert_eq!(pick(&pool, 0, &[1, 2]), Ok(0));
        pool.failed(0, 0);
        let later_ms = FAIL_TIMEOUT_MS + 1;
        assert_eq!(pick(&pool, later_ms, &[1, 2]), Err(NoServer::Full));
        pool.member(0).server.release();
        assert_eq!(pick(&pool, later_ms, &[1, 2]), Ok(0));
    }

    /// Where [`Algorithm::Source`] sends a client.
    fn pick_for(pool: &Pool, client: u8, already: &[usize]) -> Result<usize, NoServer> {
        pool.pick(&Wanted {
            role: None,
            source: Some([192, 0, 2, client].into()),
            now_ms: 1,
            tried: &tried(already),
        })
    }

    fn by_source(members: Vec<Member>) -> Pool {
        let settings = PoolSettings {
            algorithm: Algorithm::Source,
            ..settings()
        };
        Pool::new("web", settings, members, Default::default())
    }

    #[test]
    fn a_client_stays_with_its_server_and_is_elsewhere_only_while_that_cannot() {
        let pool = by_source((0..4).map(|i| member(i, None, i == 3)).collect());
        for client in 0..100 {
            let home = pick_for(&pool, client, &[]).unwrap();
            assert_ne!(home, 3, "the backup waits");
            assert_eq!(pick_for(&pool, client, &[]), Ok(home));
            pool.member(home).server.set_health(Health::Down);
            let second = pick_for(&pool, client, &[]).unwrap();
            assert!(second != home && second != 3);
            assert_eq!(pick_for(&pool, client, &[]), Ok(second));
            let third = pick_for(&pool, client, &[second]).unwrap();
            assert_eq!(third, 3 - home - second);
            assert_eq!(pick_for(&pool, client, &[second, third]), Ok(3));
            pool.member(home).server.set_health(Health::Up);
            assert_eq!(pick_for(&pool, client, &[]), Ok(home));
        }
    }

    #[test]
    fn a_full_server_leaves_its_clients_to_those_they_like_next() {
        let pool = by_source((0..3).map(|i| member(i, Some(1), false)).collect());
        let mut picks = [(); 3].map(|()| pick_for(&pool, 7, &[]).unwrap());
        assert_eq!(pick_for(&pool, 7, &[]), Err(NoServer::Full));
        picks.sort_unstable();
        assert_eq!(picks, [0, 1, 2]);
    }

    #[test]
    fn a_client_reads_from_one_replica_while_it_can_be_read() {
        let members = [P, R, R, R].into_iter().enumerate().map(|(i, role)| {
            let member = member(i, None, false);
            member.server.set_role(role);
            member
        });
        let pool = by_source(members.collect());
        let replica_of = |client: u8| {
            pool.pick(&Wanted {
                role: Some(Role::Replica),
                source: Some([192, 0, 2, client].into()),
                now_ms: 0,
                tried: &Tried::default(),
            })
        };
        for client in 0..50 {
            let replica = replica_of(client).unwrap();
            assert_ne!(replica, 0);
            assert_eq!(replica_of(client), Ok(replica));
            pool.member(replica).server.set_lagging(true);
            assert_ne!(replica_of(client), Ok(replica));
            pool.member(replica).server.set_lagging(false);
            assert_eq!(replica_of(client), Ok(replica));
        }
    }

    #[test]
    fn clients_without_an_address_take_turns() {
        let pool = by_source((0..3).map(|i| member(i, None, false)).collect());
        let picks = [(); 6].map(|()| pick(&pool, 0, &[]).unwrap());
        assert_eq!(picks, [0, 1, 2, 0, 1, 2]);
    }

    #[test]
    fn a_server_of_weight_0_is_nobodys_first_choice_and_nobodys_last() {
        let members = (0..3).map(|i| member(i, None, false));
        let members = members.enumerate().map(|(i, member)| Member {
            weight: i as u16,
            ..member
        });
        let pool = by_source(members.collect());
        for client in 0..100 {
            assert_ne!(pick_for(&pool, client, &[]), Ok(0));
            assert_eq!(pick_for(&pool, client, &[1, 2]), Err(NoServer::AllTried));
        }
    }

    /// Members of these roles and weights; `None`: a server whose role is not known.
    fn with_roles(members: &[(Option<Role>, u16)]) -> Pool {
        let members = members.iter().enumerate().map(|(i, &(role, weight))| {
            let member = member(i, None, false);
            member.server.set_role(role);
            Member { weight, ..member }
        });
        Pool::new("db", settings(), members.collect(), Default::default())
    }

    fn pick_role(pool: &Pool, role: Role) -> Result<usize, NoServer> {
        pool.pick(&Wanted {
            role: Some(role),
            source: None,
            now_ms: 0,
            tried: &Tried::default(),
        })
    }

    const P: Option<Role> = Some(Role::Primary);
    const R: Option<Role> = Some(Role::Replica);

    #[test]
    fn replicas_take_turns_whatever_is_picked_beside_them() {
        let pool = with_roles(&[(P, 1000), (R, 1), (None, 1), (R, 1)]);
        for round in 0..20 {
            assert_eq!(pick_role(&pool, Role::Primary), Ok(0));
            assert!(pick(&pool, 0, &[]).is_ok());
            let expected = [1, 3][round % 2];
            assert_eq!(
                pick_role(&pool, Role::Replica),
                Ok(expected),
                "round {round}"
            );
        }
    }

    #[test]
    fn turns_are_exact_over_threads() {
        let pool = with_roles(&[(P, 1), (R, 1), (R, 2), (R, 1)]);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..1000 {
                        pick_role(&pool, Role::Replica).unwrap();
                        pick_role(&pool, Role::Primary).unwrap();
                    }
                });
            }
        });
        let sessions: Vec<_> = pool.members().iter().map(|m| m.server.sessions()).collect();
        assert_eq!(sessions, [4000, 1000, 2000, 1000]);
    }

    #[test]
    fn a_replica_that_lags_is_not_read_and_a_primary_never_lags() {
        let pool = with_roles(&[(P, 1), (R, 1), (R, 1)]);
        pool.member(0).server.set_lagging(true);
        pool.member(1).server.set_lagging(true);
        assert_eq!(pick_role(&pool, Role::Primary), Ok(0));
        assert_eq!(
            [(); 3].map(|()| pick_role(&pool, Role::Replica)),
            [Ok(2); 3]
        );
        pool.member(2).server.set_lagging(true);
        assert_eq!(pick_role(&pool, Role::Replica), Err(NoServer::Down));
        pool.member(1).server.set_lagging(false);
        assert_eq!(pick_role(&pool, Role::Replica), Ok(1));
    }

    #[test]
    fn roles_that_change_hold_at_once() {
        let pool = with_roles(&[(P, 1), (R, 1)]);
        pool.member(0).server.set_role(R);
        pool.member(1).server.set_role(P);
        assert_eq!(pick_role(&pool, Role::Primary), Ok(1));
        assert_eq!(pick_role(&pool, Role::Replica), Ok(0));
        let cursors = pool.cursors();
        let next = Pool::new("db", settings(), pool.members().to_vec(), cursors);
        assert_eq!(pick_role(&next, Role::Primary), Ok(1));
    }

    proptest! {
        /// Over whole rounds of the schedule, those of one role get exactly their shares of it,
        /// however picks of the two roles are mixed.
        #[test]
        fn each_role_is_shared_out_by_weight(
            members in prop::collection::vec((0..3u8, 1..6u16), 1..6),
            mix in any::<u64>(),
        ) {
            let role = |role| [None, P, R][usize::from(role)];
            let members: Vec<_> = members.into_iter().map(|(r, w)| (role(r), w)).collect();
            let pool = with_roles(&members);
            let rounds = 3;
            for (role, other) in [(Role::Primary, Role::Replica), (Role::Replica, Role::Primary)] {
                let of_role = |&&(r, _): &&(Option<Role>, u16)| r == Some(role);
                let weights = members.iter().filter(of_role).map(|&(_, w)| u32::from(w));
                let total: u32 = weights.sum();
                if total == 0 {
                    prop_assert_eq!(pick_role(&pool, role), Err(NoServer::Down));
                    continue;
                }
                let mut picks = vec![0; members.len()];
                for i in 0..rounds * total {
                    let picked = pick_role(&pool, role).unwrap();
                    prop_assert_eq!(members[picked].0, Some(role));
                    picks[picked] += 1;
                    if mix >> (i % 64) & 1 == 1 {
                        let _ = pick_role(&pool, other);
                    }
                }
                for (&(r, weight), picks) in members.iter().zip(picks) {
                    let share = if r == Some(role) { rounds * u32::from(weight) } else { 0 };
                    prop_assert_eq!(picks, share);
                }
            }
        }

        /// Whatever state the servers are in: who is chosen could take the session, no better one
        /// was passed over, and exactly one place is taken.
        #[test]
        fn whoever_is_chosen_is_the_best_there_is(
            states in prop::collection::vec((0..4u8, any::<bool>()), 1..6),
            source in prop::option::of(any::<u8>()),
        ) {
            let limits = |&(state, _): &(u8, bool)| (state == 3).then_some(0);
            let members = states.iter().enumerate();
            let members = members.map(|(i, s)| member(i, limits(s), s.1)).collect();
            let pool = by_source(members);
            for (i, (state, _)) in states.iter().enumerate() {
                match state {
                    1 => pool.member(i).server.set_health(Health::Down),
                    2 => { pool.failed(i, 0); }
                    _ => {}
                }
            }
            // Good regular, good backup, failing; down and full ones never.
            let rank = |&(state, backup): &(u8, bool)| match (state, backup) {
                (0, false) => Some(0),
                (0, true) => Some(1),
                (2, false) => Some(2),
                (2, true) => Some(3),
                _ => None,
            };
            let best = states.iter().filter_map(rank).min();
            let picked = match source {
                Some(client) => pick_for(&pool, client, &[]),
                None => pick(&pool, 1, &[]),
            };
            prop_assert_eq!(picked.ok().and_then(|i| rank(&states[i])), best);
            let taken: u32 = pool.members().iter().map(|m| m.server.sessions()).sum();
            prop_assert_eq!(taken, u32::from(picked.is_ok()));
        }
    }
}
