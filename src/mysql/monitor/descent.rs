//! Where a replica's data comes from: its sources are followed from server to server of the pool.
//!
//! Servers are known by what they call themselves and not by their addresses, because a replica may
//! reach its source by another name or through a translated address. Plain arithmetic.

use super::rows::Answer;

/// What a server calls itself to those that follow it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// `@@server_id`; 0: it is not known.
    server_id: u32,
    /// `@@server_uuid`, which MariaDB does not have.
    uuid: Option<String>,
}

/// A server's place among those that follow one another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// Who it is.
    identity: Identity,
    /// Whom it follows. `None`: somebody, and it is not known whom.
    sources: Vec<Option<Identity>>,
}

/// A server of a pool, as far as it is known.
#[derive(Clone, Copy, Debug)]
pub struct Relative<'a> {
    /// Whether it takes the pool's writes.
    pub is_primary: bool,
    /// `None`: no look has told.
    pub place: Option<&'a Place>,
}

/// Where a replica's data comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Descent {
    /// From the pool's primary, straight or over other servers of the pool.
    Primary,
    /// From another server of the pool, which does not have it from the primary.
    Member,
    /// From a server that is not in the pool. Whether that one follows the primary, nobody knows.
    Outside,
}

impl Descent {
    /// As status tells it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Primary => "primary",
            Self::Member => "member",
            Self::Outside => "outside",
        }
    }
}

impl Identity {
    /// From the values of a row; `None`: they name nobody.
    pub(super) fn of(server_id: Option<&str>, uuid: Option<&str>) -> Option<Self> {
        let server_id = server_id.and_then(|id| id.parse().ok()).unwrap_or_default();
        let uuid = uuid.filter(|uuid| !uuid.is_empty()).map(str::to_owned);
        (server_id != 0 || uuid.is_some()).then_some(Self { server_id, uuid })
    }

    /// Whether two of them are one server's. Numbers are given by people, and servers of different
    /// clusters often have the same: they count only where there are no UUIDs.
    fn is_same(&self, other: &Self) -> bool {
        match (&self.uuid, &other.uuid) {
            (Some(uuid), Some(other)) => uuid.eq_ignore_ascii_case(other),
            _ => self.server_id != 0 && self.server_id == other.server_id,
        }
    }
}

impl Place {
    /// Who a server is, and what it answers when it is asked for its replication; `None`: it does not
    /// say who it is.
    pub(super) fn of(
        identity: Option<Identity>,
        answer: &Answer,
        source: impl Fn(&[Option<String>]) -> Option<Identity>,
    ) -> Option<Self> {
        let sources = match answer {
            Answer::Rows(rows) => rows.iter().map(|row| source(row)).collect(),
            Answer::Error(..) => vec![None],
        };
        Some(Self {
            identity: identity?,
            sources,
        })
    }
}

/// Where the data of one of a pool's servers comes from; `None`: that cannot be told, or it follows
/// nobody. Of several sources one that leads to the primary is enough: what else it replicates is
/// its own affair.
pub fn descent(pool: &[Relative<'_>], replica: usize) -> Option<Descent> {
    let follows = |server: &Relative<'_>| server.place.is_some_and(|p| !p.sources.is_empty());
    let is_known = pool.iter().all(|server| server.place.is_some());
    if !pool.get(replica).is_some_and(follows) || !pool.iter().any(|server| server.is_primary) {
        return None;
    }
    let (mut to_visit, mut visited) = (vec![replica], vec![replica]);
    let (mut is_certain, mut leads_outside) = (true, false);
    while let Some(place) = to_visit.pop().and_then(|at| pool.get(at)).map(|s| s.place) {
        let sources = place.map_or(&[None][..], |place| &place.sources);
        for source in sources {
            let Some(source) = source else {
                is_certain = false;
                continue;
            };
            let mut is_member = false;
            for (index, server) in pool.iter().enumerate() {
                if !server.place.is_some_and(|p| p.identity.is_same(source)) {
                    continue;
                }
                if server.is_primary {
                    return Some(Descent::Primary);
                }
                is_member = true;
                if !visited.contains(&index) {
                    visited.push(index);
                    to_visit.push(index);
                }
            }
            // It may be one that has not told yet who it is.
            is_certain &= is_member || is_known;
            leads_outside |= !is_member;
        }
    }
    match (is_certain, leads_outside) {
        (false, _) => None,
        (true, true) => Some(Descent::Outside),
        (true, false) => Some(Descent::Member),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn id(server_id: u32) -> Identity {
        Identity {
            server_id,
            uuid: None,
        }
    }

    /// A server and those that it follows; 0: somebody.
    fn place(server_id: u32, sources: &[u32]) -> Option<Place> {
        let source = |&source: &u32| (source != 0).then(|| id(source));
        Some(Place {
            identity: id(server_id),
            sources: sources.iter().map(source).collect(),
        })
    }

    fn primary() -> Option<Place> {
        place(1, &[])
    }

    /// The descent of one of the servers' data; the first one is the primary.
    fn descent_of(replica: usize, places: &[Option<Place>]) -> Option<Descent> {
        let members = places.iter().enumerate();
        let pool: Vec<_> = members
            .map(|(index, place)| Relative {
                is_primary: index == 0,
                place: place.as_ref(),
            })
            .collect();
        descent(&pool, replica)
    }

    #[test]
    fn data_comes_from_the_primary_over_any_chain_within_the_pool() {
        let chains = [
            vec![primary(), place(2, &[1])],
            vec![primary(), place(2, &[3]), place(3, &[1])],
            vec![primary(), place(2, &[4]), place(3, &[1]), place(4, &[3])],
            // One of several sources is enough, whatever the others are.
            vec![primary(), place(2, &[9, 0, 1])],
            vec![primary(), place(2, &[3]), place(3, &[9, 1])],
            // Each follows the other.
            vec![place(1, &[2]), place(2, &[1])],
        ];
        for chain in chains {
            assert_eq!(descent_of(1, &chain), Some(Descent::Primary), "{chain:?}");
        }
    }

    #[test]
    fn data_of_another_server_of_the_pool_is_not_the_primarys() {
        let pools = [
            vec![primary(), place(2, &[3]), place(3, &[])],
            vec![primary(), place(2, &[3]), place(3, &[2])],
            vec![primary(), place(2, &[4]), place(3, &[]), place(4, &[3])],
        ];
        for pool in pools {
            assert_eq!(descent_of(1, &pool), Some(Descent::Member), "{pool:?}");
        }
    }

    #[test]
    fn a_source_outside_the_pool_may_follow_the_primary() {
        let pools = [
            vec![primary(), place(2, &[9])],
            vec![primary(), place(2, &[3]), place(3, &[9])],
            vec![primary(), place(2, &[3, 9]), place(3, &[])],
        ];
        for pool in pools {
            assert_eq!(descent_of(1, &pool), Some(Descent::Outside), "{pool:?}");
        }
    }

    #[test]
    fn nothing_is_said_while_a_server_that_matters_is_not_known() {
        let pools = [
            // It follows nobody, or nobody knows whom.
            vec![primary(), place(2, &[])],
            vec![primary(), place(2, &[0])],
            vec![primary(), None],
            // The source may be the primary.
            vec![None, place(2, &[1])],
            // The source may be the one that has not told, and what that follows is not known.
            vec![primary(), place(2, &[3]), None],
            vec![primary(), place(2, &[3]), place(3, &[0])],
            vec![primary(), place(2, &[9, 0])],
        ];
        for pool in pools {
            assert_eq!(descent_of(1, &pool), None, "{pool:?}");
        }
        let alone = place(2, &[1]);
        let without_primary = [Relative {
            is_primary: false,
            place: alone.as_ref(),
        }];
        assert_eq!(descent(&without_primary, 0), None);
    }

    #[test]
    fn servers_are_the_same_by_uuid_and_by_number_where_one_has_none() {
        let of = |server_id, uuid| Identity::of(Some(server_id), uuid).unwrap();
        let (a, b) = (Some("3E11FA47-71CA"), Some("b1ff"));
        assert!(of("1", a).is_same(&of("2", Some("3e11fa47-71ca"))));
        assert!(
            !of("1", a).is_same(&of("1", b)),
            "two clusters with a 1 each"
        );
        assert!(of("7", a).is_same(&of("7", None)), "MariaDB follows MySQL");
        assert!(!of("7", None).is_same(&of("8", None)));
        assert!(!of("0", a).is_same(&of("7", None)));
        for nobody in [None, Some(""), Some("0"), Some("-1"), Some("x")] {
            assert_eq!(Identity::of(nobody, Some("")), None);
        }
    }

    proptest! {
        #[test]
        fn any_pool_comes_to_an_end(
            places in prop::collection::vec(
                prop::option::of((0_u32..5, prop::collection::vec(0_u32..6, 0..4))),
                0..6,
            ),
            replica in 0_usize..7,
        ) {
            let places: Vec<_> = places
                .iter()
                .map(|known| known.as_ref().and_then(|(id, sources)| place(*id, sources)))
                .collect();
            let found = descent_of(replica, &places);
            // Nobody is condemned while anything is unknown.
            let all_known = places.iter().all(Option::is_some);
            prop_assert!(found != Some(Descent::Outside) || all_known);
        }
    }
}
