//! What sysbench asks a primary and its replica for.

use super::{Goal, Held};
use crate::products::Product;

/// The tables, small enough to lie in every server's memory.
pub(crate) const TABLES: u32 = 4;
pub(crate) const TABLE_ROWS: u32 = 10_000;

/// One of sysbench's OLTP loads. Without transactions: statements of a transaction all belong to
/// the primary, and there would be nothing to split.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Sql {
    pub(crate) work: Work,
    pub(crate) statements: Statements,
    pub(crate) threads: u32,
    pub(crate) encrypted: Encrypted,
}

/// Which connections TLS is spoken on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Encrypted {
    Nothing,
    /// Those with clients. A proxy that does not read the protocol carries a server's TLS to them.
    Clients,
    /// Those with servers, too.
    Everything,
}

/// What one event of sysbench consists of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Work {
    /// One row by its primary key.
    PointSelect,
    /// Ten of them and four ranges of 100 rows.
    ReadOnly,
    /// The same, two updates, a delete and an insert.
    ReadWrite,
}

/// In which of the protocol's two ways statements are sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Statements {
    /// COM_QUERY, the values in the text.
    Text,
    /// COM_STMT_PREPARE once for each connection and statement, then COM_STMT_EXECUTE.
    Prepared,
}

impl Encrypted {
    /// Whether sysbench speaks TLS.
    pub(crate) fn has_clients(self) -> bool {
        self != Self::Nothing
    }
}

impl Work {
    const ALL: [Self; 3] = [Self::PointSelect, Self::ReadOnly, Self::ReadWrite];

    /// sysbench's own Lua script for it.
    pub(crate) fn script(self) -> &'static str {
        match self {
            Self::PointSelect => "oltp_point_select",
            Self::ReadOnly => "oltp_read_only",
            Self::ReadWrite => "oltp_read_write",
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::PointSelect => "point",
            Self::ReadOnly => "read-only",
            Self::ReadWrite => "read-write",
        }
    }

    fn title(self) -> &'static str {
        match self {
            Self::PointSelect => "Point select",
            Self::ReadOnly => "Read-only",
            Self::ReadWrite => "Read-write",
        }
    }
}

impl Sql {
    const THREADS: [u32; 3] = [1, 8, 64];

    /// With TLS: what a query costs, not how long things sleep.
    const THREADS_TLS: [u32; 2] = [8, 64];

    /// What `--quick` runs: the one with all kinds of statements in it, and the simplest with TLS
    /// on every connection.
    pub(crate) const QUICK: [Self; 2] = [
        Self {
            work: Work::ReadWrite,
            statements: Statements::Prepared,
            ..Self::point_select(8)
        },
        Self {
            encrypted: Encrypted::Everything,
            ..Self::point_select(8)
        },
    ];

    /// As text, in plain text.
    pub(crate) const fn point_select(threads: u32) -> Self {
        Self {
            work: Work::PointSelect,
            statements: Statements::Text,
            threads,
            encrypted: Encrypted::Nothing,
        }
    }

    pub(crate) fn all() -> impl Iterator<Item = Self> {
        let kinds = Work::ALL.into_iter().flat_map(|work| {
            [Statements::Text, Statements::Prepared].map(|statements| (work, statements))
        });
        let plain = kinds.flat_map(|(work, statements)| {
            Self::THREADS.map(|threads| Self {
                work,
                statements,
                ..Self::point_select(threads)
            })
        });
        let tls = [Encrypted::Clients, Encrypted::Everything];
        let tls = tls.into_iter().flat_map(|encrypted| {
            Self::THREADS_TLS.map(|threads| Self {
                encrypted,
                ..Self::point_select(threads)
            })
        });
        plain.chain(tls)
    }

    pub(crate) fn name(self) -> String {
        let prepared = match self.statements {
            Statements::Text => "",
            Statements::Prepared => "-prepared",
        };
        let tls = match self.encrypted {
            Encrypted::Nothing => "",
            Encrypted::Clients => "-tls",
            Encrypted::Everything => "-tls-both",
        };
        format!("{}-{}{prepared}{tls}", self.work.name(), self.threads)
    }

    pub(crate) fn title(self) -> String {
        let prepared = match self.statements {
            Statements::Text => "",
            Statements::Prepared => ", prepared statements",
        };
        let tls = match self.encrypted {
            Encrypted::Nothing => "",
            Encrypted::Clients => " over TLS",
            Encrypted::Everything => " over TLS on both sides",
        };
        let plural = if self.threads == 1 { "" } else { "s" };
        format!(
            "{}{tls}{prepared}, {} thread{plural}",
            self.work.title(),
            self.threads
        )
    }

    /// With TLS only ProxySQL does the same work as ringway: HAProxy carries bytes that the server
    /// has encrypted.
    pub(crate) fn peers(self) -> &'static [Product] {
        match self.encrypted {
            Encrypted::Nothing => &[Product::Proxysql, Product::Haproxy],
            Encrypted::Clients | Encrypted::Everything => &[Product::Proxysql],
        }
    }

    /// Where a query is cheap for the servers, the proxy is what is measured. One thread measures
    /// how long things sleep; it has no goal.
    pub(crate) fn goals(self) -> Vec<Goal> {
        let goal = |held, first, then| Goal { held, first, then };
        if self.encrypted.has_clients() {
            return vec![
                goal(Held::CpuTo(Product::Proxysql), 1.00, None),
                goal(Held::ThroughputTo(Product::Proxysql), 1.00, None),
            ];
        }
        let of_proxysql = match (self.work, self.threads) {
            (Work::PointSelect, 8) => (0.65, 0.50),
            (Work::PointSelect, 64) => (0.75, 0.60),
            _ => return Vec::new(),
        };
        vec![
            goal(
                Held::CpuTo(Product::Proxysql),
                of_proxysql.0,
                Some(of_proxysql.1),
            ),
            goal(Held::ThroughputTo(Product::Proxysql), 1.00, None),
            goal(Held::CpuTo(Product::Haproxy), 0.75, None),
            goal(Held::CpuTo(Product::RingwayTcp), 1.10, None),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_work_comes_in_both_protocols_and_with_all_thread_counts() {
        let names: Vec<_> = Sql::all().map(Sql::name).collect();
        for name in ["point-1", "read-only-8-prepared", "read-write-64"] {
            assert!(names.iter().any(|known| known == name), "{name}");
        }
        let plain = Sql::all().filter(|sql| !sql.encrypted.has_clients());
        assert_eq!(plain.count(), 18);
        assert_eq!(
            Sql::QUICK[0].title(),
            "Read-write, prepared statements, 8 threads"
        );
    }

    #[test]
    fn a_point_select_comes_with_tls_before_the_proxy_and_on_both_sides_of_it() {
        let tls: Vec<_> = Sql::all()
            .filter(|sql| sql.encrypted.has_clients())
            .collect();
        let names: Vec<_> = tls.iter().map(|sql| sql.name()).collect();
        let expected = [
            "point-8-tls",
            "point-64-tls",
            "point-8-tls-both",
            "point-64-tls-both",
        ];
        assert_eq!(names, expected);
        assert_eq!(
            tls[3].title(),
            "Point select over TLS on both sides, 64 threads"
        );
    }

    #[test]
    fn with_tls_nothing_is_held_against_a_product_that_only_carries_it() {
        for sql in Sql::all().filter(|sql| sql.encrypted.has_clients()) {
            assert_eq!(sql.peers(), [Product::Proxysql]);
            let held: Vec<_> = sql.goals().iter().map(|goal| goal.held).collect();
            let expected = [
                Held::CpuTo(Product::Proxysql),
                Held::ThroughputTo(Product::Proxysql),
            ];
            assert_eq!(held, expected);
        }
    }
}
