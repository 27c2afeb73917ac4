//! The document, the catalogue and what a scrape renders say the same.

use std::collections::{BTreeMap, BTreeSet};

use super::*;
use crate::control::{documented, testing};
use crate::telemetry::{
    ConnectError, Direction, HandshakeFailure, LoginFailure, Phase, PrimaryOnly, Reason,
    RouteReason, Rung, Target, Who,
};

#[test]
fn the_document_has_every_metric_with_its_type_labels_and_meaning() {
    let in_code = METRICS.iter().map(|metric| {
        let labels = metric.labels.join(", ");
        [metric.name, metric.kind.as_str(), &labels, metric.help]
            .map(String::from)
            .to_vec()
    });
    assert_eq!(documented::table("Metrics"), in_code.collect::<Vec<_>>());
}

#[test]
fn the_document_has_every_label_of_the_enums() {
    fn labels<T: Copy>(all: &[T], as_str: fn(T) -> &'static str) -> Vec<String> {
        all.iter()
            .map(|&variant| as_str(variant).to_owned())
            .collect()
    }
    assert_eq!(documented::names("Who"), labels(Who::ALL, Who::as_str));
    assert_eq!(
        documented::names("Phases"),
        labels(Phase::ALL, Phase::as_str)
    );
    assert_eq!(
        documented::names("Reasons"),
        labels(Reason::ALL, Reason::as_str)
    );
    assert_eq!(
        documented::names("Directions"),
        labels(Direction::ALL, Direction::as_str)
    );
    let errors = labels(ConnectError::ALL, ConnectError::as_str);
    assert_eq!(documented::names("Connect errors"), errors);
    let failures = labels(HandshakeFailure::ALL, HandshakeFailure::as_str);
    assert_eq!(documented::names("Handshake failures"), failures);
    let routes = labels(RouteReason::ALL, RouteReason::as_str);
    assert_eq!(documented::names("Route reasons"), routes);
    let targets = labels(Target::ALL, Target::as_str);
    assert_eq!(documented::names("Targets"), targets);
    let rungs = labels(Rung::ALL, Rung::as_str);
    assert_eq!(documented::names("Login rungs"), rungs);
    let primary_only = labels(PrimaryOnly::ALL, PrimaryOnly::as_str);
    assert_eq!(documented::names("Primary-only reasons"), primary_only);
    let failures = labels(LoginFailure::ALL, LoginFailure::as_str);
    assert_eq!(documented::names("Login failures"), failures);
}

#[test]
fn names_are_unique_and_say_their_unit() {
    let names: BTreeSet<_> = METRICS.iter().map(|metric| metric.name).collect();
    assert_eq!(names.len(), METRICS.len());
    for metric in METRICS {
        let is_total = metric.name.ends_with("_total");
        assert_eq!(is_total, metric.kind == Kind::Counter, "{}", metric.name);
        assert!(metric.kind != Kind::Histogram || metric.name.ends_with("_seconds"));
    }
}

#[test]
fn a_scrape_has_every_metric_with_its_labels() {
    let scrape = Scrape::of_busy_registry();
    for metric in METRICS {
        assert_eq!(
            scrape.types.get(metric.name),
            Some(&metric.kind.as_str().into())
        );
        assert!(
            scrape
                .text
                .contains(&format!("# HELP {} {}\n", metric.name, metric.help))
        );
        let series = scrape.of(metric);
        assert!(!series.is_empty(), "{} has a series", metric.name);
        for Series { name, labels, .. } in series {
            let own = |key: &&String| !(*key == "le" && name.ends_with("_bucket"));
            assert_eq!(
                labels.iter().filter(own).collect::<Vec<_>>(),
                metric.labels,
                "{name}"
            );
        }
    }
    assert_eq!(
        scrape.types.len(),
        METRICS.len(),
        "nothing else is exported"
    );
}

#[test]
fn sessions_opened_are_closed_and_active_together() {
    let scrape = Scrape::of_busy_registry();
    let sum = |name: &str| -> f64 {
        let series = scrape.series.iter().filter(|series| series.name == name);
        series.map(|series| series.value).sum()
    };
    let [opened, closed] =
        ["opened_total", "closed_total"].map(|what| sum(&format!("ringway_sessions_{what}")));
    assert_eq!(opened, 5.0);
    assert_eq!(opened, closed + sum("ringway_sessions_active"));
    assert_eq!(sum("ringway_session_seconds_count"), 1.0);
    assert_eq!(sum("ringway_session_seconds_sum"), 0.7);
}

#[test]
fn a_removed_server_vanishes_from_the_next_scrape() {
    let registry = testing::busy_registry();
    let retired = "server=\"web-00\"";
    assert!(render(&registry.borrow(), &Host::new(), true).contains(retired));
    registry.borrow_mut().retired_servers.clear();
    assert!(!render(&registry.borrow(), &Host::new(), true).contains(retired));
}

#[test]
fn what_is_of_mysql_is_told_of_mysql_listeners_only() {
    let registry = testing::busy_registry();
    let text = render(&registry.borrow(), &Host::new(), true);
    let happened = "{listener=\"front\",target=\"replica\",reason=\"plain_read\"} 7";
    assert!(text.contains(happened), "{text}");
    assert!(text.contains("ringway_mysql_replays_total{listener=\"front\"} 0"));
    assert!(!text.contains("ringway_mysql_replays_total{listener=\"old\"}"));
    assert_eq!(text.matches("target=").count(), 1, "no series of zeros");
    let answers = "ringway_mysql_statement_seconds_bucket";
    assert!(text.contains(&format!(
        "{answers}{{pool=\"web\",server=\"web-01\",address=\"127.0.0.1:1\",le=\"0.0005\"}} 1"
    )));
    assert!(!text.contains(&format!("{answers}{{pool=\"web\",server=\"web-02\"")));
}

#[test]
fn nothing_is_shuffled_from_one_scrape_to_the_next() {
    let registry = testing::busy_registry();
    let names = || -> Vec<String> {
        let text = render(&registry.borrow(), &Host::new(), true);
        text.lines()
            .map(|line| line.rsplit_once(' ').unwrap().0.into())
            .collect()
    };
    assert_eq!(names(), names());
}

/// A scrape taken apart, by the rules of the Prometheus text format.
struct Scrape {
    text: String,
    types: BTreeMap<String, String>,
    series: Vec<Series>,
}

struct Series {
    name: String,
    labels: Vec<String>,
    value: f64,
}

impl Scrape {
    fn of_busy_registry() -> Self {
        let registry = testing::busy_registry();
        Self::parse(render(&registry.borrow(), &Host::new(), true))
    }

    fn parse(text: String) -> Self {
        let (mut types, mut series) = (BTreeMap::new(), Vec::new());
        for line in text.lines() {
            if let Some(family) = line.strip_prefix("# TYPE ") {
                let (name, kind) = family.split_once(' ').unwrap();
                let before = types.insert(name.to_owned(), kind.to_owned());
                assert_eq!(before, None, "{name} is one family");
            } else if !line.starts_with("# HELP ") {
                series.push(parse_series(line));
            }
        }
        Self {
            text,
            types,
            series,
        }
    }

    fn of(&self, metric: &Metric) -> Vec<&Series> {
        let is_its_own = |name: &str| match (metric.kind, name.strip_prefix(metric.name)) {
            (Kind::Histogram, Some(suffix)) => ["_bucket", "_sum", "_count"].contains(&suffix),
            (_, suffix) => suffix == Some(""),
        };
        self.series
            .iter()
            .filter(|series| is_its_own(&series.name))
            .collect()
    }
}

/// `name{key="value",...} number`; the values in these tests need no escapes.
fn parse_series(line: &str) -> Series {
    let (series, value) = line.rsplit_once(' ').unwrap();
    let (name, labels) = match series.split_once('{') {
        Some((name, labels)) => (name, labels.strip_suffix('}').unwrap()),
        None => (series, ""),
    };
    let key = |pair: &str| {
        let (key, value) = pair.split_once('=').unwrap();
        assert!(value.starts_with('"') && value.ends_with('"'), "{line}");
        key.to_owned()
    };
    let labels = labels.split(',').filter(|pair| !pair.is_empty());
    Series {
        name: name.into(),
        labels: labels.map(key).collect(),
        value: value.parse().unwrap(),
    }
}
