//! The tables: the same cells for a terminal and for Markdown.

use clap::ValueEnum;

use crate::products::Product;
use crate::results::{Metric, Results, Row, Sample, ScenarioResult, Verdict, median};
use crate::scenario::{Group, Held, ScenarioId};

/// Rows of text under a heading. The first column is left-aligned, the others right-aligned.
pub(crate) struct Table {
    header: Vec<String>,
    rows: Vec<Vec<String>>,
}

impl Table {
    pub(crate) fn of(result: &ScenarioResult) -> Self {
        let columns = columns(result.scenario);
        let mut header = vec![String::new()];
        header.extend(
            columns
                .iter()
                .map(|&(metric, _)| heading(metric, result.scenario)),
        );
        let rows = result.rows.iter().map(|row| {
            let flag = if row.is_flagged() { " (!)" } else { "" };
            let mut cells = vec![format!("{}{flag}", row.product.label())];
            cells.extend(columns.iter().map(|&(metric, _)| cell(result, row, metric)));
            cells
        });
        Self {
            header,
            rows: rows.collect(),
        }
    }

    pub(crate) fn to_terminal(&self) -> String {
        let widths: Vec<usize> = (0..self.header.len())
            .map(|column| {
                self.lines()
                    .map(|line| line[column].chars().count())
                    .max()
                    .unwrap_or(0)
            })
            .collect();
        let mut text = String::new();
        for line in self.lines() {
            let cells = line
                .iter()
                .zip(&widths)
                .enumerate()
                .map(|(column, (cell, &width))| {
                    if column == 0 {
                        format!("{cell:<width$}")
                    } else {
                        format!("{cell:>width$}")
                    }
                });
            text += &format!("  {}\n", cells.collect::<Vec<_>>().join("   ").trim_end());
        }
        text
    }

    pub(crate) fn to_markdown(&self) -> String {
        let mut text = String::new();
        for (number, line) in self.lines().enumerate() {
            text += &format!("| {} |\n", line.join(" | "));
            if number == 0 {
                text += &format!("|---|{}\n", "---:|".repeat(self.header.len() - 1));
            }
        }
        text
    }

    fn lines(&self) -> impl Iterator<Item = &Vec<String>> {
        std::iter::once(&self.header).chain(&self.rows)
    }
}

/// All tables and verdicts, for a terminal.
pub(crate) fn text(results: &Results) -> String {
    let mut text = String::new();
    for results in Group::value_variants()
        .iter()
        .filter_map(|&group| results.of_group(group))
    {
        let has_same_peers =
            |a: &ScenarioResult, b: &ScenarioResult| a.scenario.peers() == b.scenario.peers();
        for alike in results.scenarios.chunk_by(has_same_peers) {
            text.extend(alike.iter().map(text_of));
            let measure = measure(alike[0].scenario.peers());
            text += &format!("\n(x: relative to {measure} in that column)\n");
        }
        if let Some(table) = sql_ratios(&results) {
            text += &format!("\n{SQL_RATIOS}\n{}", table.to_terminal());
        }
    }
    text + &noise(results) + "\n"
}

/// What the figures of a table are relative to, in words.
fn measure(peers: &[Product]) -> String {
    let labels: Vec<_> = peers.iter().map(|peer| peer.label()).collect();
    match labels[..] {
        [only] => only.to_owned(),
        _ => format!("the better of {}", labels.join(" and ")),
    }
}

/// The table of a scenario, and what there is to say about it.
fn text_of(result: &ScenarioResult) -> String {
    let scenario = result.scenario;
    let mut text = format!("\n{} [{}]\n", scenario.title(), scenario.name());
    text += &Table::of(result).to_terminal();
    let verdicts = result.verdicts();
    let verdicts = verdicts.iter().map(|v| verdict_text(v, scenario));
    for line in remarks(result).into_iter().chain(verdicts) {
        text += &format!("  {line}\n");
    }
    text
}

/// The columns of a scenario, and whether each is held against the better peer.
fn columns(scenario: ScenarioId) -> Vec<(Metric, bool)> {
    if scenario.is_idle() {
        return vec![(Metric::IdleBytes, true), (Metric::IdleCpu, false)];
    }
    let compared: &[_] = match scenario {
        ScenarioId::Web(_) | ScenarioId::Tls(_) => &[
            Metric::Throughput,
            Metric::P50,
            Metric::P99,
            Metric::ProxyCpu,
            Metric::MachineCpu,
        ],
        ScenarioId::Sql(_) => &SQL_METRICS,
    };
    compared.iter().map(|&metric| (metric, true)).collect()
}

/// What is measured with sysbench.
const SQL_METRICS: [Metric; 4] = [
    Metric::Throughput,
    Metric::P95,
    Metric::ProxyCpu,
    Metric::MachineCpu,
];

/// What [`sql_ratios`] shows.
pub(crate) const SQL_RATIOS: &str =
    "ringway's MySQL port relative to ProxySQL / HAProxy / ringway's own TCP relay";

/// For those who come from one of the others: all of ringway's MySQL figures relative to each.
/// `None` where ringway's MySQL port was not measured.
pub(crate) fn sql_ratios(results: &Results) -> Option<Table> {
    const OTHERS: [Product; 3] = [Product::Proxysql, Product::Haproxy, Product::RingwayTcp];
    let measured = results.scenarios.iter().filter(|result| {
        let ringway = result.row(Product::Ringway);
        result.scenario.group() == Group::Mysql && ringway.is_some_and(|r| !r.rounds.is_empty())
    });
    let rows: Vec<_> = measured
        .map(|result| {
            let triples = SQL_METRICS.map(|metric| {
                OTHERS
                    .map(|other| match result.ringway_to(other, metric) {
                        Some(ratio) => format!("{ratio:.2}"),
                        None => "–".to_owned(),
                    })
                    .join(" / ")
            });
            let mut cells = vec![result.scenario.title()];
            cells.extend(triples);
            cells
        })
        .collect();
    let scenario = results.scenarios.last()?.scenario;
    let mut header = vec![String::new()];
    header.extend(SQL_METRICS.map(|metric| heading(metric, scenario)));
    (!rows.is_empty()).then_some(Table { header, rows })
}

fn heading(metric: Metric, scenario: ScenarioId) -> String {
    let [unit, units] = scenario.unit();
    match metric {
        Metric::Throughput => format!("{units}/s"),
        Metric::P50 => "p50 µs".to_owned(),
        Metric::P95 => "p95 µs".to_owned(),
        Metric::P99 => "p99 µs".to_owned(),
        Metric::ProxyCpu => format!("proxy CPU µs/{unit}"),
        Metric::MachineCpu => format!("machine CPU µs/{unit}"),
        Metric::IdleBytes => "bytes/session".to_owned(),
        Metric::IdleCpu => "CPU while idle".to_owned(),
    }
}

fn cell(result: &ScenarioResult, row: &Row, metric: Metric) -> String {
    let Some(value) = metric.of(&row.median) else {
        return "–".to_owned();
    };
    let value = format_value(metric, value);
    let compared = columns(result.scenario).contains(&(metric, true));
    match result.ratio(row, metric).filter(|_| compared) {
        Some(ratio) => format!("{value} ({ratio:.2}x)"),
        None => value,
    }
}

fn format_value(metric: Metric, value: f64) -> String {
    match metric {
        Metric::Throughput | Metric::P50 | Metric::P95 | Metric::P99 | Metric::IdleBytes => {
            thousands(value)
        }
        Metric::ProxyCpu | Metric::MachineCpu if value >= 100.0 => thousands(value),
        Metric::ProxyCpu | Metric::MachineCpu => format!("{value:.1}"),
        Metric::IdleCpu => format!("{value:.2} %"),
    }
}

/// Whole numbers in groups of three digits.
pub(crate) fn thousands(value: f64) -> String {
    let digits = format!("{:.0}", value.abs());
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place) % 3 == 0 {
            text.push(' ');
        }
        text.push(digit);
    }
    if value <= -0.5 {
        format!("-{text}")
    } else {
        text
    }
}

/// What a reader has to know about the rows of a table.
pub(crate) fn remarks(result: &ScenarioResult) -> Vec<String> {
    let mut remarks = Vec::new();
    for row in &result.rows {
        let label = row.product.label();
        if row.errors() > 0 {
            let errors = row.rounds.iter().map(|round| round.errors);
            let worst = errors
                .max_by_key(|errors| errors.total())
                .unwrap_or_default();
            remarks.push(format!(
                "(!) {label}: {} errors; the worst round: {} connect, {} read, {} write, \
                 {} status, {} timeout",
                row.errors(),
                worst.connect,
                worst.read,
                worst.write,
                worst.status,
                worst.timeout
            ));
        }
        remarks.extend(
            row.failures
                .iter()
                .map(|failure| format!("(!) {label}: {failure}")),
        );
        remarks.extend(row.notes.iter().map(|note| format!("{label}: {note}")));
    }
    remarks
}

/// One sentence: the goal, what was reached, met or not, and the next goal.
pub(crate) fn verdict_text(verdict: &Verdict, scenario: ScenarioId) -> String {
    let [what, first, reached, then] = verdict_cells(verdict, scenario);
    let bound = if more_is_better(verdict) {
        "least"
    } else {
        "most"
    };
    let then = match verdict.goal.then {
        Some(_) => format!(" then {then};"),
        None => String::new(),
    };
    format!("goal: {what} at {bound} {first};{then} reached: {reached}")
}

/// The goals as a table; `None` where nothing has one.
pub(crate) fn goals(results: &Results) -> Option<Table> {
    let header = ["", "", "goal", "reached", "then"]
        .map(str::to_owned)
        .into();
    let mut rows = Vec::new();
    for result in &results.scenarios {
        for verdict in result.verdicts() {
            let mut cells = vec![result.scenario.title()];
            cells.extend(verdict_cells(&verdict, result.scenario));
            rows.push(cells);
        }
    }
    (!rows.is_empty()).then_some(Table { header, rows })
}

/// What is held against a goal, the goal, what was reached, and the next goal.
fn verdict_cells(verdict: &Verdict, scenario: ScenarioId) -> [String; 4] {
    let [unit, units] = scenario.unit();
    let (what, symbol, decimals) = match verdict.goal.held {
        Held::CpuToBetterPeer => (format!("proxy CPU per {unit}"), "x", 2),
        Held::CpuTo(product) => {
            let what = format!("proxy CPU per {unit}, to {}'s", product.label());
            (what, "x", 2)
        }
        Held::ThroughputTo(product) => (format!("{units}/s, to {}'s", product.label()), "x", 2),
        Held::IdleBytes => ("memory per session".to_owned(), " bytes", 0),
    };
    // One digit more than the goal has, so that 0.334 does not look like 0.33.
    let reached = match verdict.reached {
        Some(value) => format!("{value:.*}{symbol}", decimals + usize::from(decimals > 0)),
        None => "–".to_owned(),
    };
    let judged = |goal: f64| {
        let met = match verdict.reached {
            None => "not measured",
            Some(reached) if reached == goal || (reached > goal) == more_is_better(verdict) => {
                "met"
            }
            Some(_) => "not met",
        };
        format!("{goal:.decimals$}{symbol}: {met}")
    };
    let then = verdict.goal.then.map_or_else(|| "–".to_owned(), judged);
    [what, judged(verdict.goal.first), reached, then]
}

fn more_is_better(verdict: &Verdict) -> bool {
    matches!(verdict.goal.held, Held::ThroughputTo(_))
}

/// How much of the machine went elsewhere, and whether that spoils the figures.
pub(crate) fn noise(results: &Results) -> String {
    const QUIET_PERCENT: f64 = 3.0;
    let percent = |share: fn(&Sample) -> f64| -> Vec<f64> {
        results
            .all_rounds()
            .map(|round| share(round) * 100.0)
            .collect()
    };
    let worst = |values: &[f64]| values.iter().copied().fold(0.0, f64::max);
    let (foreign, stolen) = (percent(|r| r.foreign_share), percent(|r| r.stolen_share));
    let (worst_foreign, worst_stolen) = (worst(&foreign), worst(&stolen));
    let usual_foreign = median(foreign).unwrap_or(0.0);
    let usual_stolen = median(stolen).unwrap_or(0.0);
    let advice = if usual_foreign + usual_stolen > QUIET_PERCENT {
        " That is too much for figures to rely on: repeat the run on a quiet machine."
    } else {
        ""
    };
    format!(
        "Other programs took {usual_foreign:.1} % of the machine's CPU in the median round and \
         {worst_foreign:.1} % in the worst; the hypervisor took {usual_stolen:.1} % and \
         {worst_stolen:.1} %.{advice}"
    )
}

/// The beginning of a line of progress, before the figure is there.
pub(crate) fn progress_head(
    round: u32,
    rounds: u32,
    scenario: ScenarioId,
    product: Product,
) -> String {
    format!(
        "round {round}/{rounds}  {:<22} {:<18} ",
        scenario.name(),
        product.label()
    )
}

/// The rest of that line.
pub(crate) fn progress_figures(scenario: ScenarioId, sample: &Sample) -> String {
    let shown = columns(scenario).into_iter().filter_map(|(metric, _)| {
        let value = format_value(metric, metric.of(&sample.figures)?);
        Some(match metric {
            Metric::Throughput => format!("{value:>7} {}", heading(metric, scenario)),
            Metric::P50 => format!("p50 {value:>6} µs"),
            Metric::P95 => format!("p95 {value:>6} µs"),
            Metric::P99 => format!("p99 {value:>6} µs"),
            Metric::ProxyCpu => format!("CPU {value:>5} µs"),
            Metric::MachineCpu => format!("machine {value:>5} µs"),
            Metric::IdleBytes => format!("{value:>7} {}", heading(metric, scenario)),
            Metric::IdleCpu => format!("CPU {value}"),
        })
    });
    let mut line = shown.collect::<Vec<_>>().join("   ");
    if sample.errors.total() > 0 {
        line += &format!("   {} ERRORS", sample.errors.total());
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::docs::tests::example_results;
    use crate::results::tests::example;
    use crate::scenario::{Sql, Web};

    #[test]
    fn numbers_are_grouped() {
        assert_eq!(thousands(0.0), "0");
        assert_eq!(thousands(999.6), "1 000");
        assert_eq!(thousands(-1_234_567.0), "-1 234 567");
    }

    #[test]
    fn a_table_has_a_ratio_beside_each_figure() {
        let table = Table::of(&example(ScenarioId::Web(Web::Tiny64)));
        let text = table.to_markdown();
        assert!(
            text.contains(
                "| ringway | 125 000 (1.25x) | 100 (1.00x) | 300 (1.50x) | 8.0 (0.80x) |"
            )
        );
        assert_eq!(text.lines().count(), 5);
        let terminal = table.to_terminal();
        let line = terminal.lines().nth(2).unwrap();
        assert!(line.starts_with("  HAProxy"), "{line}");
    }

    #[test]
    fn the_mysql_port_is_shown_beside_each_of_the_others() {
        let results = example_results().of_group(Group::Mysql).unwrap();
        let text = sql_ratios(&results).unwrap().to_markdown();
        let line = "| Point select over TLS on both sides, 8 threads | 1.25 / 2.00 / – \
                    | 1.00 / 1.00 / – | 0.80 / 0.50 / – | 1.00 / 1.00 / – |";
        assert!(text.contains(line), "{text}");
        assert!(
            text.starts_with("|  | queries/s | p95 µs | proxy CPU µs/query |"),
            "{text}"
        );
        let web = example_results().of_group(Group::Web).unwrap();
        assert!(sql_ratios(&web).is_none());
    }

    #[test]
    fn a_terminal_is_told_what_each_ratio_is_relative_to() {
        let text = text(&example_results());
        for line in [
            "(x: relative to the better of HAProxy and nginx stream in that column)",
            "(x: relative to ProxySQL in that column)",
            "(x: relative to the better of ProxySQL and HAProxy in that column)",
        ] {
            assert!(text.contains(line), "{line} is missing in\n{text}");
        }
    }

    #[test]
    fn a_busy_machine_is_named() {
        let mut results = example_results();
        assert!(noise(&results).ends_with("0.0 % and 0.0 %."));
        for row in results
            .scenarios
            .iter_mut()
            .flat_map(|result| &mut result.rows)
        {
            row.rounds[0].foreign_share = 0.5;
        }
        let text = noise(&results);
        assert!(
            text.contains("50.0 % in the worst") && text.contains("quiet machine"),
            "{text}"
        );
    }

    #[test]
    fn goals_are_met_or_not_met() {
        let texts = |id| -> Vec<_> {
            let verdicts = example(id).verdicts().into_iter();
            verdicts.map(|verdict| verdict_text(&verdict, id)).collect()
        };
        assert_eq!(
            texts(ScenarioId::Web(Web::Tiny64)),
            ["goal: proxy CPU per request at most 1.00x: met; then 0.95x: met; reached: 0.800x"]
        );
        assert_eq!(
            texts(ScenarioId::Web(Web::Idle)),
            [
                "goal: memory per session at most 512 bytes: not met; then 300 bytes: not met; \
              reached: 800 bytes"
            ]
        );
        assert_eq!(
            texts(ScenarioId::Sql(Sql::point_select(8))),
            [
                "goal: proxy CPU per query, to ProxySQL's at most 0.65x: not met; \
                 then 0.50x: not met; reached: 0.800x",
                "goal: queries/s, to ProxySQL's at least 1.00x: met; reached: 1.250x",
                "goal: proxy CPU per query, to HAProxy's at most 0.75x: met; reached: 0.500x",
                "goal: proxy CPU per query, to ringway TCP relay's at most 1.10x: not measured; \
                 reached: –",
            ]
        );
    }

    #[test]
    fn without_a_peer_a_goal_is_not_judged() {
        let id = ScenarioId::Web(Web::Body1MiB);
        let mut alone = example(id);
        alone.rows.retain(|row| row.product == Product::Ringway);
        let text = verdict_text(&alone.verdicts()[0], id);
        assert!(text.contains("0.45x: not measured;"), "{text}");
    }
}
