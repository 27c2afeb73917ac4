//! The figures: one set per round, medians over rounds, ratios to the better peer.

use serde::{Deserialize, Serialize};

use crate::machine::Machine;
use crate::products::Product;
use crate::scenario::{Goal, ScenarioId};

/// A whole run, as `--json` writes it and `--from` reads it.
#[derive(Debug, Serialize, Deserialize)]
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
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct ScenarioResult {
    pub(crate) scenario: ScenarioId,
    pub(crate) rows: Vec<Row>,
}

/// One product in one scenario.
#[derive(Debug, Serialize, Deserialize)]
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
    pub(crate) p99_us: Option<f64>,
    pub(crate) proxy_cpu_us: Option<f64>,
    pub(crate) machine_cpu_us: Option<f64>,
    pub(crate) idle_bytes: Option<f64>,
    pub(crate) idle_cpu_percent: Option<f64>,
}

/// Errors as wrk counts them.
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
    P99,
    ProxyCpu,
    MachineCpu,
    IdleBytes,
    IdleCpu,
}

impl Metric {
    const ALL: [Self; 7] = [
        Self::Throughput,
        Self::P50,
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

    /// The better of HAProxy and nginx stream, for this metric.
    pub(crate) fn better_peer(&self, metric: Metric) -> Option<f64> {
        let peers = self.rows.iter().filter(|row| row.product.is_peer());
        peers
            .filter_map(|row| metric.of(&row.median))
            .reduce(|a, b| metric.better(a, b))
    }

    /// `None` where there is nothing to compare, or only zeroes.
    pub(crate) fn ratio(&self, row: &Row, metric: Metric) -> Option<f64> {
        let peer = self.better_peer(metric)?;
        let value = metric.of(&row.median)?;
        (peer > 0.0).then_some(value / peer)
    }

    /// How ringway stands against its goal.
    pub(crate) fn verdict(&self) -> Option<Verdict> {
        let goal = self.scenario.goal()?;
        let row = self.row(Product::Ringway);
        let (first, then, reached) = match goal {
            Goal::CpuRatio { first, then } => (
                first,
                then,
                row.and_then(|row| self.ratio(row, Metric::ProxyCpu)),
            ),
            Goal::IdleBytes { first, then } => (
                first,
                then,
                row.and_then(|row| Metric::IdleBytes.of(&row.median)),
            ),
        };
        Some(Verdict {
            goal,
            first,
            then,
            reached,
        })
    }
}

/// A goal and what was reached.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Verdict {
    pub(crate) goal: Goal,
    pub(crate) first: f64,
    pub(crate) then: f64,
    /// `None`: ringway or both peers were not measured.
    pub(crate) reached: Option<f64>,
}

impl Results {
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

    /// CPU per request: ringway 8, HAProxy 16, nginx 10; p99 the other way round for the peers.
    pub(crate) fn example(scenario: ScenarioId) -> ScenarioResult {
        let products = [Product::Ringway, Product::Haproxy, Product::Nginx];
        let mut result = ScenarioResult::new(scenario, &products);
        for (product, cpu_us, p99_us) in [
            (Product::Ringway, 8.0, 300.0),
            (Product::Haproxy, 16.0, 200.0),
            (Product::Nginx, 10.0, 400.0),
        ] {
            let figures = Figures {
                throughput_per_s: Some(1e6 / cpu_us),
                p50_us: Some(100.0),
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
        let result = example(ScenarioId::Tiny64);
        assert_eq!(result.better_peer(Metric::ProxyCpu), Some(10.0));
        assert_eq!(result.better_peer(Metric::P99), Some(200.0));
        assert_eq!(result.better_peer(Metric::Throughput), Some(1e5));
        let ringway = result.row(Product::Ringway).unwrap();
        assert_eq!(result.ratio(ringway, Metric::ProxyCpu), Some(0.8));
        assert_eq!(result.ratio(ringway, Metric::P99), Some(1.5));
        assert_eq!(result.ratio(ringway, Metric::IdleCpu), None);
    }

    #[test]
    fn verdicts_compare_ratios_or_bytes_with_their_goal() {
        assert_eq!(example(ScenarioId::Tiny1).verdict(), None);
        let tiny = example(ScenarioId::Tiny64).verdict().unwrap();
        assert_eq!((tiny.reached, tiny.first), (Some(0.8), 1.0));
        let idle = example(ScenarioId::Idle).verdict().unwrap();
        assert_eq!((idle.reached, idle.first), (Some(800.0), 512.0));
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
