//! Metrics in the Prometheus text format.
//!
//! Counting is the workers'; nothing is kept here. A scrape fills a fresh recorder of
//! `metrics-exporter-prometheus` from what they have counted: so removed servers vanish with their
//! series, and memory stays flat however often, or seldom, somebody scrapes.

mod catalogue;
mod host;
mod mysql;
mod scrape;
mod text;
mod tls;

pub use self::catalogue::{Kind, METRICS, Metric};
pub(super) use self::host::{Host, Usage};
pub(super) use self::scrape::render;

/// What `Content-Type` says of a scrape.
pub(super) const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

#[cfg(test)]
mod tests;
