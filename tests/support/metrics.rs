//! What `/metrics` says, as numbers.

use std::collections::{BTreeMap, BTreeSet};

/// One scrape.
#[derive(Clone, Debug, Default)]
pub(crate) struct Metrics {
    series: Vec<Series>,
}

#[derive(Clone, Debug)]
struct Series {
    name: String,
    labels: BTreeMap<String, String>,
    value: f64,
}

impl Metrics {
    /// Reads the Prometheus text format.
    pub(crate) fn parse(text: &str) -> Self {
        let lines = text
            .lines()
            .filter(|line| !line.is_empty() && !line.starts_with('#'));
        Self {
            series: lines.map(Series::parse).collect(),
        }
    }

    /// The sum over all series of this name that have these labels.
    pub(crate) fn sum(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        let has = |series: &&Series| {
            let mut labels = labels.iter();
            labels.all(|(key, value)| series.labels.get(*key).is_some_and(|v| v == value))
        };
        let series = self.series.iter().filter(|series| series.name == name);
        series.filter(has).map(|series| series.value).sum()
    }

    /// Whether there is any series of this name with these labels.
    pub(crate) fn has(&self, name: &str, labels: &[(&str, &str)]) -> bool {
        self.series.iter().any(|series| {
            let mut labels = labels.iter();
            series.name == name
                && labels.all(|(key, value)| series.labels.get(*key).is_some_and(|v| v == value))
        })
    }

    /// The values that a label has in series of this name.
    pub(crate) fn values(&self, name: &str, label: &str) -> BTreeSet<String> {
        let series = self.series.iter().filter(|series| series.name == name);
        series
            .filter_map(|series| series.labels.get(label).cloned())
            .collect()
    }

    /// The values of a metric, by one of its labels.
    pub(crate) fn by(&self, name: &str, label: &str) -> BTreeMap<String, f64> {
        let values = self.values(name, label).into_iter();
        values
            .map(|value| {
                let sum = self.sum(name, &[(label, &value)]);
                (value, sum)
            })
            .collect()
    }

    /// Sessions that ended this way, over all listeners.
    pub(crate) fn closed(&self, who: &str, reason: &str) -> f64 {
        self.sum(
            "ringway_sessions_closed_total",
            &[("who", who), ("reason", reason)],
        )
    }

    /// Sessions that are open, over all listeners.
    pub(crate) fn active(&self) -> f64 {
        self.sum("ringway_sessions_active", &[])
    }

    /// Sessions taken, over all listeners.
    pub(crate) fn opened(&self) -> f64 {
        self.sum("ringway_sessions_opened_total", &[])
    }

    /// How sessions have ended, for messages.
    pub(crate) fn endings(&self) -> Vec<String> {
        let closed = self
            .series
            .iter()
            .filter(|s| s.name == "ringway_sessions_closed_total");
        closed
            .filter(|series| series.value > 0.0)
            .map(|series| format!("{:?} {}", series.labels, series.value))
            .collect()
    }
}

impl Series {
    fn parse(line: &str) -> Self {
        let parsed = (|| {
            let (series, value) = line.rsplit_once(' ')?;
            let (name, labels) = match series.split_once('{') {
                Some((name, labels)) => (name, labels.strip_suffix('}')?),
                None => (series, ""),
            };
            Some(Self {
                name: name.to_owned(),
                labels: parse_labels(labels)?,
                value: value.parse().ok()?,
            })
        })();
        parsed.unwrap_or_else(|| panic!("not a series: {line:?}"))
    }
}

/// `key="value",…`; no value of ours has a quotation mark in it.
fn parse_labels(text: &str) -> Option<BTreeMap<String, String>> {
    let mut labels = BTreeMap::new();
    let mut rest = text;
    while !rest.is_empty() {
        let (key, after) = rest.split_once("=\"")?;
        let (value, after) = after.split_once('"')?;
        labels.insert(key.to_owned(), value.to_owned());
        rest = after.strip_prefix(',').unwrap_or(after);
    }
    Some(labels)
}
