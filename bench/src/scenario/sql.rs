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

    /// What `--quick` runs: the simplest, and the one with everything in it.
    pub(crate) const QUICK: [Self; 2] = [
        Self {
            work: Work::PointSelect,
            statements: Statements::Text,
            threads: 8,
        },
        Self {
            work: Work::ReadWrite,
            statements: Statements::Prepared,
            threads: 8,
        },
    ];

    pub(crate) fn all() -> impl Iterator<Item = Self> {
        let kinds = Work::ALL.into_iter().flat_map(|work| {
            [Statements::Text, Statements::Prepared].map(|statements| (work, statements))
        });
        kinds.flat_map(|(work, statements)| {
            Self::THREADS.map(|threads| Self {
                work,
                statements,
                threads,
            })
        })
    }

    pub(crate) fn name(self) -> String {
        let prepared = match self.statements {
            Statements::Text => "",
            Statements::Prepared => "-prepared",
        };
        format!("{}-{}{prepared}", self.work.name(), self.threads)
    }

    pub(crate) fn title(self) -> String {
        let prepared = match self.statements {
            Statements::Text => "",
            Statements::Prepared => ", prepared statements",
        };
        let plural = if self.threads == 1 { "" } else { "s" };
        format!(
            "{}{prepared}, {} thread{plural}",
            self.work.title(),
            self.threads
        )
    }

    /// Where a query is cheap for the servers, the proxy is what is measured. One thread measures
    /// how long things sleep; it has no goal.
    pub(crate) fn goals(self) -> Vec<Goal> {
        let of_proxysql = match (self.work, self.threads) {
            (Work::PointSelect, 8) => (0.65, 0.50),
            (Work::PointSelect, 64) => (0.75, 0.60),
            _ => return Vec::new(),
        };
        let goal = |held, first, then| Goal { held, first, then };
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
        assert_eq!(names.len(), 18);
        for name in ["point-1", "read-only-8-prepared", "read-write-64"] {
            assert!(names.iter().any(|known| known == name), "{name}");
        }
        assert_eq!(
            Sql::QUICK[1].title(),
            "Read-write, prepared statements, 8 threads"
        );
    }
}
