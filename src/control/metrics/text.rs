//! Prometheus text for what the exporter cannot take: histograms whose counts exist already, and
//! counters with a fraction.

use std::fmt::{Display, Write};

use super::catalogue::Metric;
use crate::telemetry::HistogramSnapshot;

/// Metric families, each opened once and followed by its series.
///
/// The exporter's histograms take samples only. Ours are arrays of counts that workers keep; to
/// replay a count of a million as a million samples on every scrape is out of the question, and to
/// pass `_bucket`, `_sum` and `_count` as counters would announce three counters where dashboards
/// look for one histogram. So these lines are written here, in the exporter's own format.
#[derive(Debug, Default)]
pub(super) struct Exposition(pub(super) String);

impl Exposition {
    /// The HELP and TYPE lines of a family.
    pub(super) fn family(&mut self, metric: &Metric) {
        self.line(format_args!("# HELP {} {}", metric.name, metric.help));
        self.line(format_args!(
            "# TYPE {} {}",
            metric.name,
            metric.kind.as_str()
        ));
    }

    /// One series of a counter.
    pub(super) fn counter(&mut self, metric: &Metric, values: &[&str], value: f64) {
        let labels = labels(metric, values);
        self.sample(metric.name, "", &labels, value);
    }

    /// The series of one histogram, counted in microseconds and told in seconds.
    pub(super) fn histogram_us(
        &mut self,
        metric: &Metric,
        values: &[&str],
        us: &HistogramSnapshot,
    ) {
        let labels = labels(metric, values);
        let mut at_or_below = 0;
        for &(bound_us, count) in &us.buckets {
            at_or_below += count;
            let bound = seconds(bound_us).to_string();
            self.bucket(metric, &labels, &bound, at_or_below);
        }
        // From the buckets and not from a counter beside them: a scrape agrees with itself.
        let count = us.count();
        self.bucket(metric, &labels, "+Inf", count);
        self.sample(metric.name, "_sum", &labels, seconds(us.sum));
        self.sample(metric.name, "_count", &labels, count);
    }

    fn bucket(&mut self, metric: &Metric, labels: &[(&str, &str)], bound: &str, count: u64) {
        let labels = [labels, &[("le", bound)]].concat();
        self.sample(metric.name, "_bucket", &labels, count);
    }

    fn sample(&mut self, name: &str, suffix: &str, labels: &[(&str, &str)], value: impl Display) {
        let labels = labels
            .iter()
            .map(|(key, value)| format!("{key}=\"{}\"", escape(value)));
        let labels = labels.collect::<Vec<_>>().join(",");
        let labels = if labels.is_empty() {
            labels
        } else {
            format!("{{{labels}}}")
        };
        self.line(format_args!("{name}{suffix}{labels} {value}"));
    }

    fn line(&mut self, line: std::fmt::Arguments<'_>) {
        writeln!(self.0, "{line}").expect("a String takes all that is written to it");
    }
}

fn labels<'a>(metric: &Metric, values: &'a [&'a str]) -> Vec<(&'a str, &'a str)> {
    assert_eq!(
        metric.labels.len(),
        values.len(),
        "{} has a value per label",
        metric.name
    );
    metric
        .labels
        .iter()
        .copied()
        .zip(values.iter().copied())
        .collect()
}

fn seconds(us: u64) -> f64 {
    us as f64 / 1e6
}

/// Escapes a label's value: the Prometheus text format, version 0.0.4.
fn escape(value: &str) -> String {
    value
        .replace('\\', r"\\")
        .replace('"', r#"\""#)
        .replace('\n', r"\n")
}

#[cfg(test)]
mod tests {
    use super::super::catalogue::SESSION_SECONDS;
    use super::*;

    #[test]
    fn a_histogram_has_cumulative_buckets_that_agree_with_its_count() {
        let mut text = Exposition::default();
        let us = HistogramSnapshot {
            buckets: vec![(1_000, 2), (2_500_000, 3)],
            above: 4,
            sum: 7_250_000,
        };
        text.histogram_us(&SESSION_SECONDS, &["a \"b\"\\\n"], &us);
        let expected = r#"
ringway_session_seconds_bucket{listener="a \"b\"\\\n",le="0.001"} 2
ringway_session_seconds_bucket{listener="a \"b\"\\\n",le="2.5"} 5
ringway_session_seconds_bucket{listener="a \"b\"\\\n",le="+Inf"} 9
ringway_session_seconds_sum{listener="a \"b\"\\\n"} 7.25
ringway_session_seconds_count{listener="a \"b\"\\\n"} 9
"#;
        assert_eq!(text.0, expected.trim_start());
    }
}
