//! What is measured, and the goals that ringway has set itself for it.

mod sql;
mod tls;
mod web;

use std::sync::LazyLock;

use clap::ValueEnum;
use clap::builder::PossibleValue;
use serde::{Deserialize, Serialize};

pub(crate) use sql::{Encrypted, Sql, Statements, TABLE_ROWS, TABLES, Work};
pub(crate) use tls::{Key, Tls};
pub(crate) use web::{Body, Load, Web};

use crate::products::Product;

/// Scenarios that share their servers and their load generator.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Group {
    /// A TCP relay between wrk and two web servers.
    Web,
    /// Between sysbench and a MariaDB primary with a replica.
    Mysql,
    /// An end of TLS between wrk and two web servers.
    Tls,
}

impl Group {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Web => "web",
            Self::Mysql => "mysql",
            Self::Tls => "tls",
        }
    }

    pub(crate) fn title(self) -> &'static str {
        match self {
            Self::Web => "Web traffic",
            Self::Mysql => "MySQL",
            Self::Tls => "TLS",
        }
    }

    /// Whether wrk asks web servers for something.
    pub(crate) fn has_web_servers(self) -> bool {
        matches!(self, Self::Web | Self::Tls)
    }
}

/// One line of work for every product.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub(crate) enum ScenarioId {
    Web(Web),
    Sql(Sql),
    Tls(Tls),
}

/// The order is that of the run and of the tables.
static ALL: LazyLock<Vec<ScenarioId>> = LazyLock::new(|| {
    let web = Web::value_variants().iter().copied().map(ScenarioId::Web);
    let tls = Tls::value_variants().iter().copied().map(ScenarioId::Tls);
    let sql = Sql::all().map(ScenarioId::Sql);
    web.chain(sql).chain(tls).collect()
});

/// What ringway must reach, and what it reaches for after that.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Goal {
    pub(crate) held: Held,
    pub(crate) first: f64,
    pub(crate) then: Option<f64>,
}

/// What is held against a goal.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Held {
    /// CPU per unit, relative to the better peer.
    CpuToBetterPeer,
    /// CPU per unit, relative to this product.
    CpuTo(Product),
    /// Units per second, relative to this product. Here more is better.
    ThroughputTo(Product),
    /// Private memory of an idle session.
    IdleBytes,
}

impl ScenarioId {
    /// What `--quick` runs: one of each kind of work.
    pub(crate) fn quick() -> Vec<Self> {
        let web = Web::QUICK.into_iter().map(Self::Web);
        let sql = Sql::QUICK.into_iter().map(Self::Sql);
        let tls = Tls::QUICK.into_iter().map(Self::Tls);
        web.chain(sql).chain(tls).collect()
    }

    pub(crate) fn group(self) -> Group {
        match self {
            Self::Web(_) => Group::Web,
            Self::Sql(_) => Group::Mysql,
            Self::Tls(_) => Group::Tls,
        }
    }

    pub(crate) fn name(self) -> String {
        match self {
            Self::Web(web) => value_name(&web),
            Self::Sql(sql) => sql.name(),
            Self::Tls(tls) => value_name(&tls),
        }
    }

    /// The heading of its table.
    pub(crate) fn title(self) -> String {
        match self {
            Self::Web(web) => web.title().to_owned(),
            Self::Sql(sql) => sql.title(),
            Self::Tls(tls) => tls.title().to_owned(),
        }
    }

    /// What is counted, one of them and many.
    pub(crate) fn unit(self) -> [&'static str; 2] {
        match self {
            Self::Web(web) => web.unit(),
            Self::Sql(_) => ["query", "queries"],
            Self::Tls(tls) => tls.unit(),
        }
    }

    /// The products whose better one is the measure of its table.
    pub(crate) fn peers(self) -> &'static [Product] {
        match self {
            Self::Web(_) | Self::Tls(_) => &[Product::Haproxy, Product::Nginx],
            Self::Sql(sql) => sql.peers(),
        }
    }

    pub(crate) fn goals(self) -> Vec<Goal> {
        match self {
            Self::Web(web) => web.goal().into_iter().collect(),
            Self::Sql(sql) => sql.goals(),
            Self::Tls(tls) => tls.goal().into_iter().collect(),
        }
    }

    /// Whether it is sessions that the runner makes and that then do nothing.
    pub(crate) fn is_idle(self) -> bool {
        matches!(self, Self::Web(Web::Idle) | Self::Tls(Tls::Idle))
    }
}

impl ValueEnum for ScenarioId {
    fn value_variants<'a>() -> &'a [Self] {
        &ALL
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        match self {
            Self::Web(web) => web.to_possible_value(),
            Self::Sql(sql) => Some(PossibleValue::new(sql.name()).help(sql.title())),
            Self::Tls(tls) => tls.to_possible_value(),
        }
    }
}

fn value_name(value: &impl ValueEnum) -> String {
    let value = value.to_possible_value();
    value.map_or_else(String::new, |value| value.get_name().to_owned())
}

impl From<ScenarioId> for String {
    fn from(id: ScenarioId) -> Self {
        id.name()
    }
}

impl TryFrom<String> for ScenarioId {
    type Error = String;

    fn try_from(name: String) -> Result<Self, String> {
        let known = ALL.iter().copied().find(|id| id.name() == name);
        known.ok_or_else(|| format!("there is no scenario {name}"))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn every_name_is_its_own_and_leads_back_to_its_scenario() {
        let names: HashSet<_> = ALL.iter().map(|id| id.name()).collect();
        assert_eq!(names.len(), ALL.len());
        for &id in ALL.iter() {
            let json = serde_json::to_string(&id).unwrap();
            assert_eq!(json, format!("\"{}\"", id.name()));
            assert_eq!(serde_json::from_str::<ScenarioId>(&json).unwrap(), id);
            assert_eq!(ScenarioId::from_str(&id.name(), false), Ok(id));
        }
        assert!(serde_json::from_str::<ScenarioId>("\"tiny\"").is_err());
    }

    #[test]
    fn the_smoke_run_has_something_of_every_group() {
        for &group in Group::value_variants() {
            assert!(ScenarioId::quick().iter().any(|id| id.group() == group));
        }
    }

    #[test]
    fn goals_name_products_that_take_part() {
        for &id in ALL.iter() {
            for goal in id.goals() {
                if let Held::CpuTo(product) | Held::ThroughputTo(product) = goal.held {
                    assert!(product.takes_part_in(id), "{product:?} in {}", id.name());
                }
            }
        }
    }
}
