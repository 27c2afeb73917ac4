//! The figures: one set per round, medians over rounds, ratios to the better peer.

use serde::{Deserialize, Serialize};

use crate::machine::Machine;
use crate::products::Product;
use crate::scenario::{Goal, Group, Held, ScenarioId};

/// A whole run, as `--json` writes it and `--from` reads it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Results {
    pub(crate) machine: Machine,
    pub(crate) settings: Settings,
    pub(crate) scenarios: Vec<ScenarioResult>,
}

/// How the run was made.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Settings {
    pub(crate) rounds: u32,
    pub(crate) seconds: u32,
    pub(crate) idle_sessions: u32,
    pub(crate) proxy_cpu: usize,
    pub(crate) load_cpus: Vec<usize>,
}

/// One scenario, one row per product.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct ScenarioResult {
    pub(crate) scenario: ScenarioId,
    pub(crate) rows: Vec<Row>,
}

/// One product in one scenario.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Row {
    pub(crate) product: Product,
    /// Medians over the rounds.
    pub(crate) median: Figures,
    pub(crate) rounds: Vec<Sample>,
    /// Rounds that gave no figures, and why.
    pub(crate) failures: Vec<String>,
    /// What the reader has to know about this row.
    pub(crate) notes: Vec<String>,
}

/// One round.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Sample {
    pub(crate) figures: Figures,
    pub(crate) errors: Errors,
    /// Share of the machine's CPU that went to programs outside of the comparison.
    pub(crate) foreign_share: f64,
    /// Share of the machine's CPU that the hypervisor took.
    pub(crate) stolen_share: f64,
}

/// What can be compared. A scenario fills in what applies to it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Figures {
    pub(crate) throughput_per_s: Option<f64>,
    pub(crate) p50_us: Option<f64>,
    pub(crate) p95_us: Option<f64>,
    pub(crate) p99_us: Option<f64>,
    pub(crate) proxy_cpu_us: Option<f64>,
    pub(crate) machine_cpu_us: Option<f64>,
    pub(crate) idle_bytes: Option<f64>,
    pub(crate) idle_cpu_percent: Option<f64>,
}

/// Errors as wrk counts them. Of sysbench's, only lost connections are known: they are `connect`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Errors {
    pub(crate) connect: u64,
    pub(crate) read: u64,
    pub(crate) write: u64,
    pub(crate) status: u64,
    pub(crate) timeout: u64,
}

impl Errors {
    pub(crate) fn total(self) -> u64 {
        self.connect + self.read + self.write + self.status + self.timeout
    }
}

/// A column of the tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Metric {
    Throughput,
    P50,
    P95,
    P99,
    ProxyCpu,
    MachineCpu,
    IdleBytes,
    IdleCpu,
}

impl Metric {
    const ALL: [Self; 8] = [
        Self::Throughput,
        Self::P50,
        Self::P95,
        Self::P99,
        Self::ProxyCpu,
        Self::MachineCpu,
        Self::IdleBytes,
        Self::IdleCpu,
    ];

    pub(crate) fn of(self, figures: &Figures) -> Option<f64> {
        match self {
            Self::Throughput => figures.throughput_per_s,
            Self::P50 => figures.p50_us,
            Self::P95 => figures.p95_us,
            Self::P99 => figures.p99_us,
            Self::ProxyCpu => figures.proxy_cpu_us,
            Self::MachineCpu => figures.machine_cpu_us,
            Self::IdleBytes => figures.idle_bytes,
            Self::IdleCpu => figures.idle_cpu_percent,
        }
    }

    fn of_mut(self, figures: &mut Figures) -> &mut Option<f64> {
        match self {
            Self::Throughput => &mut figures.throughput_per_s,
            Self::P50 => &mut figures.p50_us,
            Self::P95 => &mut figures.p95_us,
            Self::P99 => &mut figures.p99_us,
            Self::ProxyCpu => &mut figures.proxy_cpu_us,
            Self::MachineCpu => &mut figures.machine_cpu_us,
            Self::IdleBytes => &mut figures.idle_bytes,
            Self::IdleCpu => &mut figures.idle_cpu_percent,
        }
    }

    fn better(self, a: f64, b: f64) -> f64 {
        if self == Self::Throughput {
            a.max(b)
        } else {
            a.min(b)
        }
    }
}

impl Figures {
    /// Each figure on its own: the round with the median throughput need not have the median p99.
    pub(crate) fn median(rounds: &[Sample]) -> Self {
        let mut medians = Self::default();
        for metric in Metric::ALL {
            let values = rounds
                .iter()
                .filter_map(|round| metric.of(&round.figures))
                .collect();
            *metric.of_mut(&mut medians) = median(values);
        }
        medians
    }
}

impl Row {
    pub(crate) fn new(product: Product) -> Self {
        Self {
            product,
            median: Figures::default(),
            rounds: Vec::new(),
            failures: Vec::new(),
            notes: Vec::new(),
        }
    }

    pub(crate) fn errors(&self) -> u64 {
        self.rounds.iter().map(|round| round.errors.total()).sum()
    }

    /// Errors, or no figures at all.
    pub(crate) fn is_flagged(&self) -> bool {
        self.errors() > 0 || !self.failures.is_empty() || self.rounds.is_empty()
    }

    pub(crate) fn push(&mut self, round: Sample) {
        self.rounds.push(round);
        self.median = Figures::median(&self.rounds);
    }
}

impl ScenarioResult {
    pub(crate) fn new(scenario: ScenarioId, products: &[Product]) -> Self {
        let rows = products
            .iter()
            .filter(|product| product.takes_part_in(scenario));
        Self {
            scenario,
            rows: rows.map(|&product| Row::new(product)).collect(),
        }
    }

    pub(crate) fn row(&self, product: Product) -> Option<&Row> {
        self.rows.iter().find(|row| row.product == product)
    }

    pub(crate) fn row_mut(&mut self, product: Product) -> Option<&mut Row> {
        self.rows.iter_mut().find(|row| row.product == product)
    }

    /// The better one of the scenario's peers, for this metric.
    pub(crate) fn better_peer(&self, metric: Metric) -> Option<f64> {
        let peers = self.scenario.peers();
        peers
            .iter()
            .filter_map(|&peer| metric.of(&self.row(peer)?.median))
            .reduce(|a, b| metric.better(a, b))
    }

    /// `None` where there is nothing to compare, or only zeroes.
    pub(crate) fn ratio(&self, row: &Row, metric: Metric) -> Option<f64> {
        let peer = self.better_peer(metric)?;
        let value = metric.of(&row.median)?;
        (peer > 0.0).then_some(value / peer)
    }

    /// ringway's figure divided by that of `other`.
    pub(crate) fn ringway_to(&self, other: Product, metric: Metric) -> Option<f64> {
        let of = |product| metric.of(&self.row(product)?.median);
        let (ringway, other) = (of(Product::Ringway)?, of(other)?);
        (other > 0.0).then_some(ringway / other)
    }

    /// How ringway stands against its goals, if it takes part.
    pub(crate) fn verdicts(&self) -> Vec<Verdict> {
        let Some(row) = self.row(Product::Ringway) else {
            return Vec::new();
        };
        let reached = |held| match held {
            Held::CpuToBetterPeer => self.ratio(row, Metric::ProxyCpu),
            Held::CpuTo(product) => self.ringway_to(product, Metric::ProxyCpu),
            Held::ThroughputTo(product) => self.ringway_to(product, Metric::Throughput),
            Held::IdleBytes => Metric::IdleBytes.of(&row.median),
        };
        let goals = self.scenario.goals().into_iter();
        goals
            .map(|goal| Verdict {
                goal,
                reached: reached(goal.held),
            })
            .collect()
    }
}

/// A goal and what was reached.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Verdict {
    pub(crate) goal: Goal,
    /// `None`: ringway failed, or what it is held against was not measured.
    pub(crate) reached: Option<f64>,
}

impl Results {
    /// The same run with the scenarios of one group alone; `None` where it has none of them.
    pub(crate) fn of_group(&self, group: Group) -> Option<Self> {
        let mut results = self.clone();
        results
            .scenarios
            .retain(|result| result.scenario.group() == group);
        (!results.scenarios.is_empty()).then_some(results)
    }

    /// The first reason why this run is no clean one.
    pub(crate) fn first_flaw(&self) -> Option<String> {
        let rows = self
            .scenarios
            .iter()
            .flat_map(|s| s.rows.iter().map(move |row| (s, row)));
        let (scenario, row) = rows.into_iter().find(|(_, row)| row.is_flagged())?;
        let why = match row.failures.first() {
            Some(failure) => failure.clone(),
            None => format!("{} errors", row.errors()),
        };
        Some(format!(
            "{} in {}: {why}",
            row.product.label(),
            scenario.scenario.name()
        ))
    }

    pub(crate) fn all_rounds(&self) -> impl Iterator<Item = &Sample> {
        self.scenarios
            .iter()
            .flat_map(|s| &s.rows)
            .flat_map(|row| &row.rounds)
    }
}

/// The middle value, or the mean of the two middle ones.
pub(crate) fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() {
        0 => None,
        odd if odd % 2 == 1 => Some(values[middle]),
        _ => Some((values[middle - 1] + values[middle]) / 2.0),
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::scenario::{Sql, Web};

    /// CPU per unit: ringway 8, HAProxy 16, the other peer 10; p99 the other way round for the
    /// peers.
    pub(crate) fn example(scenario: ScenarioId) -> ScenarioResult {
        let other = match scenario.group() {
            Group::Web | Group::Tls => Product::Nginx,
            Group::Mysql => Product::Proxysql,
        };
        let products = [Product::Ringway, Product::Haproxy, other];
        let mut result = ScenarioResult::new(scenario, &products);
        for (product, cpu_us, p99_us) in [
            (Product::Ringway, 8.0, 300.0),
            (Product::Haproxy, 16.0, 200.0),
            (other, 10.0, 400.0),
        ] {
            let figures = Figures {
                throughput_per_s: Some(1e6 / cpu_us),
                p50_us: Some(100.0),
                p95_us: Some(200.0),
                p99_us: Some(p99_us),
                proxy_cpu_us: Some(cpu_us),
                machine_cpu_us: Some(30.0),
                idle_bytes: Some(cpu_us * 100.0),
                idle_cpu_percent: Some(0.0),
            };
            let row = result.row_mut(product).unwrap();
            row.push(Sample {
                figures,
                ..Sample::default()
            });
        }
        result
    }

    #[test]
    fn median_of_odd_even_and_no_values() {
        assert_eq!(median(vec![3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(vec![4.0, 1.0, 3.0, 2.0]), Some(2.5));
        assert_eq!(median(vec![]), None);
    }

    #[test]
    fn the_better_peer_is_chosen_for_each_metric() {
        let result = example(ScenarioId::Web(Web::Tiny64));
        assert_eq!(result.better_peer(Metric::ProxyCpu), Some(10.0));
        assert_eq!(result.better_peer(Metric::P99), Some(200.0));
        assert_eq!(result.better_peer(Metric::Throughput), Some(1e5));
        let ringway = result.row(Product::Ringway).unwrap();
        assert_eq!(result.ratio(ringway, Metric::ProxyCpu), Some(0.8));
        assert_eq!(result.ratio(ringway, Metric::P99), Some(1.5));
        assert_eq!(result.ratio(ringway, Metric::IdleCpu), None);
    }

    #[test]
    fn a_product_that_only_carries_tls_is_no_measure() {
        let mut result = example(ScenarioId::Sql(Sql::QUICK[1]));
        assert_eq!(result.better_peer(Metric::P99), Some(400.0));
        result.rows.retain(|row| row.product != Product::Proxysql);
        assert_eq!(result.better_peer(Metric::P99), None);
    }

    #[test]
    fn verdicts_compare_ratios_or_bytes_with_their_goal() {
        let reached = |id| -> Vec<_> {
            let verdicts = example(id).verdicts().into_iter();
            verdicts.map(|v| (v.reached, v.goal.first)).collect()
        };
        assert_eq!(reached(ScenarioId::Web(Web::Tiny1)), []);
        assert_eq!(reached(ScenarioId::Web(Web::Tiny64)), [(Some(0.8), 1.0)]);
        assert_eq!(reached(ScenarioId::Web(Web::Idle)), [(Some(800.0), 512.0)]);
        // Of ProxySQL's CPU and throughput, of HAProxy's CPU; its own relay was not measured.
        let expected = [
            (Some(0.8), 0.65),
            (Some(1.25), 1.0),
            (Some(0.5), 0.75),
            (None, 1.1),
        ];
        assert_eq!(reached(ScenarioId::Sql(Sql::point_select(8))), expected);
    }

    #[test]
    fn a_group_is_taken_out_of_a_run() {
        let results = crate::docs::tests::example_results();
        let web = results.of_group(Group::Web).unwrap();
        assert!(
            web.scenarios
                .iter()
                .all(|s| s.scenario.group() == Group::Web)
        );
        assert!(web.of_group(Group::Mysql).is_none());
    }

    #[test]
    fn errors_failures_and_missing_rounds_flag_a_row() {
        let mut row = Row::new(Product::Nginx);
        assert!(row.is_flagged());
        row.push(Sample::default());
        assert!(!row.is_flagged());
        row.push(Sample {
            errors: Errors {
                read: 1,
                ..Errors::default()
            },
            ..Sample::default()
        });
        assert!(row.is_flagged());
    }
}
