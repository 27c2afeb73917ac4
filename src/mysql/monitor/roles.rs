//! Which server takes the writes, from which servers can. Nobody is promoted here: somebody else
//! makes a server writable, and sessions follow. Plain arithmetic.

use crate::config::Role;

/// A server, as its looks have left it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sight {
    /// The role it has.
    pub role: Option<Role>,
    /// Whether it stands in for others.
    pub is_backup: bool,
    /// Whether it takes writes.
    pub writable: Writable,
    /// How many looks at it have ended.
    pub looks: u64,
}

/// Whether a server takes writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Writable {
    /// It has not been looked at yet.
    Unseen,
    /// The first looks at it have failed, too few of them to give it up.
    Unreached,
    /// Several looks in a row have failed.
    Unknown,
    /// It takes writes.
    Yes,
    /// It is read-only.
    No,
}

/// What is wrong with the roles of a pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// Several servers take writes: whoever writes at more than one of them tears the data apart.
    SeveralWritable,
    /// No server takes writes.
    NoPrimary,
}

/// The roles of one pool's servers, followed from look to look.
#[derive(Clone, Debug, Default)]
pub struct Roster {
    /// What is wrong, once another look at every server has confirmed it.
    trouble: Option<Trouble>,
    /// What seems to be wrong, and how many looks at each server had ended then. Two servers are not
    /// looked at in the same moment: in the middle of a change they may both seem writable.
    suspicion: Option<(Trouble, Vec<u64>)>,
}

impl Roster {
    /// What is wrong.
    pub const fn trouble(&self) -> Option<Trouble> {
        self.trouble
    }

    /// The roles that servers have from now on, in their order.
    pub fn follow(&mut self, servers: &[Sight]) -> Vec<Option<Role>> {
        let primary = primary(servers);
        self.note(servers, trouble(servers, primary));
        let roles = servers.iter().enumerate();
        let role = |(index, server): (usize, &Sight)| match server.writable {
            _ if primary == Some(index) => Some(Role::Primary),
            Writable::No => Some(Role::Replica),
            Writable::Yes => None,
            Writable::Unseen | Writable::Unreached | Writable::Unknown => {
                server.role.filter(|&role| role == Role::Replica)
            }
        };
        roles.map(role).collect()
    }

    fn note(&mut self, servers: &[Sight], trouble: Option<Trouble>) {
        let looks = || {
            servers
                .iter()
                .map(|server| server.looks)
                .collect::<Vec<_>>()
        };
        let is_confirmed = match (&self.suspicion, trouble) {
            (_, None) => true,
            (Some((suspected, before)), Some(trouble)) if *suspected == trouble => {
                let again = before.iter().zip(servers);
                before.len() == servers.len()
                    && again
                        .into_iter()
                        .all(|(before, server)| server.looks > *before)
            }
            (_, Some(trouble)) => {
                self.suspicion = Some((trouble, looks()));
                false
            }
        };
        if is_confirmed {
            self.trouble = trouble;
        }
        if trouble.is_none() {
            self.suspicion = None;
        }
    }
}

/// The server that takes the writes. The incumbent stays unless it is read-only, or gone while
/// another one takes writes; somebody new has to be the only one, and all servers known.
fn primary(servers: &[Sight]) -> Option<usize> {
    let incumbents = servers.iter().enumerate();
    let incumbents = incumbents.filter(|(_, server)| server.role == Some(Role::Primary));
    let incumbent = incumbents.min_by_key(|(_, server)| server.is_backup);
    let is_settled = servers
        .iter()
        .all(|server| server.writable != Writable::Unseen);
    let mut writable = writable(servers);
    let only = match (writable.next(), writable.next()) {
        (Some(only), None) if is_settled => Some(only),
        _ => None,
    };
    match incumbent {
        Some((index, server)) => match server.writable {
            Writable::Yes | Writable::Unseen => Some(index),
            Writable::Unreached | Writable::Unknown => Some(only.unwrap_or(index)),
            Writable::No => only,
        },
        None => only,
    }
}

fn writable(servers: &[Sight]) -> impl Iterator<Item = usize> {
    let all = servers.iter().enumerate();
    all.filter(|(_, server)| server.writable == Writable::Yes)
        .map(|(index, _)| index)
}

fn trouble(servers: &[Sight], primary: Option<usize>) -> Option<Trouble> {
    if writable(servers).count() > 1 {
        Some(Trouble::SeveralWritable)
    } else if primary.is_none() && !servers.iter().any(may_turn_out_writable) {
        Some(Trouble::NoPrimary)
    } else {
        None
    }
}

/// Whether nobody can say yet that a server takes no writes. The one that does may be starting
/// together with ringway.
fn may_turn_out_writable(server: &Sight) -> bool {
    matches!(server.writable, Writable::Unseen | Writable::Unreached)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const P: Option<Role> = Some(Role::Primary);
    const R: Option<Role> = Some(Role::Replica);

    /// Servers that are looked at again and again.
    struct Pool {
        roster: Roster,
        servers: Vec<Sight>,
    }

    impl Pool {
        fn new(roles: &[Option<Role>]) -> Self {
            let unseen = |&role| Sight {
                role,
                is_backup: false,
                writable: Writable::Unseen,
                looks: 0,
            };
            Self {
                roster: Roster::default(),
                servers: roles.iter().map(unseen).collect(),
            }
        }

        /// One look at each server, one after the other: `w` writable, `r` read-only, `-` one of the
        /// first that failed, `?` failed.
        fn look(&mut self, seen: &str) -> Vec<Option<Role>> {
            for (index, seen) in seen.chars().enumerate() {
                let writable = match seen {
                    'w' => Writable::Yes,
                    'r' => Writable::No,
                    '-' => Writable::Unreached,
                    _ => Writable::Unknown,
                };
                self.look_at(index, writable);
            }
            self.servers.iter().map(|server| server.role).collect()
        }

        fn look_at(&mut self, index: usize, writable: Writable) {
            self.servers[index].writable = writable;
            self.servers[index].looks += 1;
            let roles = self.roster.follow(&self.servers);
            let servers = self.servers.iter_mut().zip(roles);
            servers.for_each(|(server, role)| server.role = role);
        }
    }

    #[test]
    fn the_only_writable_server_is_the_primary_once_all_are_known() {
        let mut pool = Pool::new(&[None, None, None]);
        pool.look_at(1, Writable::Yes);
        pool.look_at(0, Writable::No);
        assert_eq!(
            pool.servers[1].role, None,
            "the third one may be writable, too"
        );
        pool.look_at(2, Writable::No);
        assert_eq!(pool.look("rwr"), [R, P, R]);
        assert_eq!(pool.roster.trouble(), None);
    }

    #[test]
    fn a_writable_server_that_appears_beside_the_primary_gets_no_role_and_is_told() {
        let mut pool = Pool::new(&[None, None]);
        pool.look("wr");
        for _ in 0..3 {
            assert_eq!(pool.look("ww"), [P, None]);
        }
        assert_eq!(pool.roster.trouble(), Some(Trouble::SeveralWritable));
        assert_eq!(pool.look("wr"), [P, R]);
        assert_eq!(pool.roster.trouble(), None);
    }

    #[test]
    fn of_two_writable_servers_nobody_becomes_the_primary() {
        let mut pool = Pool::new(&[None, None]);
        assert_eq!(pool.look("ww"), [None, None]);
        assert_eq!(pool.look("ww"), [None, None]);
        assert_eq!(pool.roster.trouble(), Some(Trouble::SeveralWritable));
        assert_eq!(pool.look("rw"), [R, P]);
    }

    #[test]
    fn roles_change_with_read_only_and_without_a_false_alarm() {
        let mut pool = Pool::new(&[None, None]);
        pool.look("wr");
        // The new one is seen first; the old one is known to be writable from before.
        pool.look_at(1, Writable::Yes);
        assert_eq!(pool.roster.trouble(), None);
        assert_eq!(pool.servers[0].role, P);
        pool.look_at(0, Writable::No);
        assert_eq!(pool.look("rw"), [R, P]);
        assert_eq!(pool.roster.trouble(), None);
    }

    #[test]
    fn without_a_writable_server_there_is_no_primary_and_it_is_told() {
        let mut pool = Pool::new(&[P, R]);
        assert_eq!(pool.look("rr"), [R, R]);
        assert_eq!(pool.look("rr"), [R, R]);
        assert_eq!(pool.roster.trouble(), Some(Trouble::NoPrimary));
        assert_eq!(pool.look("rw"), [R, P]);
        assert_eq!(pool.roster.trouble(), None);
    }

    #[test]
    fn nothing_is_told_while_a_server_that_may_take_writes_was_never_reached() {
        let mut pool = Pool::new(&[None, None, None]);
        for _ in 0..3 {
            pool.look_at(0, Writable::Unreached);
            pool.look_at(1, Writable::No);
            assert_eq!(
                pool.roster.trouble(),
                None,
                "the third one is to be looked at"
            );
        }
        for _ in 0..3 {
            assert_eq!(pool.look("-rr"), [None, R, R]);
            assert_eq!(pool.roster.trouble(), None, "the first one may take writes");
        }
        pool.look("?rr");
        assert_eq!(pool.roster.trouble(), None, "to be confirmed");
        pool.look("?rr");
        assert_eq!(pool.roster.trouble(), Some(Trouble::NoPrimary));
        assert_eq!(pool.look("wrr"), [P, R, R]);
        assert_eq!(pool.roster.trouble(), None);
    }

    #[test]
    fn the_primary_does_not_wait_for_a_server_that_was_never_reached() {
        let mut pool = Pool::new(&[None, None]);
        assert_eq!(pool.look("w-"), [P, None]);
        assert_eq!(
            pool.look("ww"),
            [P, None],
            "and stays when that one turns up"
        );
    }

    #[test]
    fn a_primary_that_is_gone_keeps_its_role_until_another_takes_writes() {
        let mut pool = Pool::new(&[None, None]);
        pool.look("wr");
        assert_eq!(pool.look("?r"), [P, R]);
        assert_eq!(pool.roster.trouble(), None);
        assert_eq!(pool.look("?w"), [None, P]);
        // It returns, and does not know that it was replaced.
        assert_eq!(pool.look("ww"), [None, P]);
        assert_eq!(pool.look("rw"), [R, P]);
    }

    #[test]
    fn a_replica_that_is_gone_stays_one() {
        let mut pool = Pool::new(&[None, None]);
        pool.look("wr");
        assert_eq!(pool.look("w?"), [P, R]);
    }

    #[test]
    fn of_several_configured_primaries_the_regular_one_stays() {
        let mut pool = Pool::new(&[P, P]);
        pool.servers[0].is_backup = true;
        pool.look_at(0, Writable::Yes);
        assert_eq!(pool.servers[0].role, None);
        assert_eq!(pool.look("rw"), [R, P]);
    }

    proptest! {
        #[test]
        fn there_is_never_more_than_one_primary_and_only_an_unknown_one_may_be_read_only(
            looks in prop::collection::vec((0_usize..4, 0_usize..4), 1..60),
        ) {
            let mut pool = Pool::new(&[None; 4]);
            for (index, seen) in looks {
                let before = pool.servers.iter().position(|server| server.role == P);
                let writable =
                    [Writable::Yes, Writable::No, Writable::Unknown, Writable::Unreached][seen];
                pool.look_at(index, writable);
                let primaries = pool.servers.iter().filter(|server| server.role == P);
                let primaries: Vec<_> = primaries.collect();
                prop_assert!(primaries.len() <= 1);
                prop_assert!(primaries.iter().all(|server| server.writable != Writable::No));
                let several = writable_count(&pool) > 1;
                let after = pool.servers.iter().position(|server| server.role == P);
                prop_assert!(!several || after.is_none() || after == before);
            }
        }
    }

    fn writable_count(pool: &Pool) -> usize {
        writable(&pool.servers).count()
    }
}
