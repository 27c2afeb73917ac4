//! The picture of the web scenarios: CPU per unit of the three products, relative to the better
//! peer, and beside it the memory of an idle session. Written by hand, so that it needs no library
//! and diffs well.
//!
//! It brings its own background and follows the reader's colour scheme, because GitHub shows it on
//! white as well as on black.

use std::fmt::Write;

use crate::products::Product;
use crate::report::thousands;
use crate::results::{Metric, Results, ScenarioResult};
use crate::scenario::{ScenarioId, Web};

const SHOWN: [(Product, &str); 3] = [
    (Product::Ringway, "ringway"),
    (Product::Haproxy, "haproxy"),
    (Product::Nginx, "nginx"),
];

const WIDTH: f64 = 960.0;
const HEIGHT: f64 = 400.0;
const PLOT_TOP: f64 = 112.0;
const PLOT_BOTTOM: f64 = 352.0;
const MARGIN: f64 = 28.0;
const AXIS_WIDTH: f64 = 38.0;
const MEMORY_WIDTH: f64 = 196.0;
const GAP: f64 = 36.0;

/// A bar beyond this is cut off, so that one bad figure does not flatten all others; its label
/// still says how long it is.
const RATIO_MAX: f64 = 2.5;

const STYLE: &str = "
  text { font-family: system-ui, -apple-system, 'Segoe UI', 'DejaVu Sans', sans-serif; }
  .card { fill: #ffffff; stroke: #d0d7de; }
  .title { fill: #1f2328; font-size: 17px; font-weight: 600; }
  .panel { fill: #1f2328; font-size: 13px; font-weight: 600; }
  .muted { fill: #59636e; font-size: 11.5px; }
  .label { fill: #1f2328; font-size: 10.5px; }
  .label { stroke: #ffffff; stroke-width: 3px; stroke-linejoin: round; paint-order: stroke; }
  .strong { font-weight: 700; }
  .grid { stroke: #d8dee4; stroke-width: 1; }
  .one { stroke: #59636e; stroke-width: 1.2; stroke-dasharray: 5 4; }
  .ringway { fill: #e4572e; }
  .haproxy { fill: #4c78a8; }
  .nginx { fill: #a3b1bf; }
  @media (prefers-color-scheme: dark) {
    .card { fill: #0d1117; stroke: #30363d; }
    .title, .panel, .label { fill: #e6edf3; }
    .label { stroke: #0d1117; }
    .muted { fill: #9198a1; }
    .grid { stroke: #262c34; }
    .one { stroke: #9198a1; }
    .ringway { fill: #f0714a; }
    .haproxy { fill: #5b8fc7; }
    .nginx { fill: #6e7c8a; }
  }
";

/// One group of bars, in the order of [`SHOWN`].
struct Group {
    label: [String; 2],
    values: [Option<f64>; 3],
}

/// A part of the picture with an axis of its own.
struct Panel<'a> {
    title: &'a str,
    left: f64,
    right: f64,
    groups: Vec<Group>,
    axis: Axis,
    format_bar: fn(f64) -> String,
    format_tick: fn(f64) -> String,
}

struct Axis {
    step: f64,
    max: f64,
}

impl Axis {
    /// Four to eight steps of 1, 2 or 5 times a power of ten, or of a quarter.
    fn up_to(largest: f64) -> Self {
        let largest = if largest > 0.0 { largest } else { 1.0 };
        let power = 10f64.powf((largest / 8.0).log10().floor());
        let steps = [1.0, 2.0, 2.5, 5.0, 10.0].map(|factor| factor * power);
        let step = steps
            .into_iter()
            .find(|step| largest / step <= 8.0)
            .unwrap_or(largest);
        Self {
            step,
            max: (largest / step).ceil() * step,
        }
    }

    fn y(&self, value: f64) -> f64 {
        let share = (value / self.max).clamp(0.0, 1.0);
        PLOT_BOTTOM - share * (PLOT_BOTTOM - PLOT_TOP)
    }

    fn ticks(&self) -> impl Iterator<Item = f64> {
        let count = (self.max / self.step).round() as u32;
        (0..=count).map(|tick| f64::from(tick) * self.step)
    }
}

/// The whole picture as SVG.
pub(crate) fn svg(results: &Results) -> String {
    let cpu = cpu_groups(results);
    let memory = memory_group(results);
    let memory_left = if cpu.is_empty() {
        MARGIN
    } else {
        WIDTH - MARGIN - MEMORY_WIDTH
    };
    let mut body = String::new();
    if !cpu.is_empty() {
        let right = if memory.is_some() {
            memory_left - GAP
        } else {
            WIDTH - MARGIN
        };
        body += &cpu_panel(cpu, right).draw();
    }
    if let Some(group) = memory {
        body += &memory_panel(group, memory_left).draw();
    }
    let date = results.machine.date.split(' ').next().unwrap_or_default();
    let kernel = &results.machine.kernel;
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" \
         width=\"{WIDTH}\" height=\"{HEIGHT}\" role=\"img\" aria-labelledby=\"title\">\n\
         <title id=\"title\">What a layer-4 proxy costs: ringway, HAProxy, nginx stream</title>\n\
         <style>{STYLE}</style>\n\
         <rect class=\"card\" x=\"0.5\" y=\"0.5\" width=\"{}\" height=\"{}\" rx=\"10\"/>\n\
         <text class=\"title\" x=\"{MARGIN}\" y=\"36\">What a layer-4 proxy costs</text>\n\
         <text class=\"muted\" x=\"{MARGIN}\" y=\"56\">one worker each · medians of {} rounds · \
         Linux {} · {date} · shorter is better</text>\n{}{body}</svg>\n",
        WIDTH - 1.0,
        HEIGHT - 1.0,
        results.settings.rounds,
        escape(kernel),
        legend(),
    )
}

fn cpu_groups(results: &Results) -> Vec<Group> {
    let measured = results.scenarios.iter().filter_map(|result| {
        let ScenarioId::Web(web) = result.scenario else {
            return None;
        };
        web.load().map(|_| (web, result))
    });
    let groups = measured.map(|(web, result)| Group {
        label: web.axis_label().map(str::to_owned),
        values: values(result, |row| result.ratio(row, Metric::ProxyCpu)),
    });
    groups
        .filter(|group| group.values.iter().any(Option::is_some))
        .collect()
}

fn memory_group(results: &Results) -> Option<Group> {
    let result = results
        .scenarios
        .iter()
        .find(|result| result.scenario == ScenarioId::Web(Web::Idle))?;
    let values = values(result, |row| Metric::IdleBytes.of(&row.median));
    let sessions = format!(
        "{} sessions",
        thousands(results.settings.idle_sessions.into())
    );
    let group = Group {
        label: [sessions, "after one request".to_owned()],
        values,
    };
    group.values.iter().any(Option::is_some).then_some(group)
}

fn values(
    result: &ScenarioResult,
    value: impl Fn(&crate::results::Row) -> Option<f64>,
) -> [Option<f64>; 3] {
    SHOWN.map(|(product, _)| result.row(product).and_then(&value))
}

fn largest(groups: &[Group]) -> f64 {
    groups
        .iter()
        .flat_map(|group| group.values)
        .flatten()
        .fold(0.0, f64::max)
}

fn cpu_panel(groups: Vec<Group>, right: f64) -> Panel<'static> {
    let axis = Axis::up_to(largest(&groups).clamp(1.0, RATIO_MAX));
    Panel {
        title: "CPU of the proxy per request, connection or MiB (1 = the better peer)",
        left: MARGIN,
        right,
        groups,
        axis,
        format_bar: |value| format!("{value:.2}"),
        format_tick: |value| {
            format!("{value:.2}")
                .trim_end_matches('0')
                .trim_end_matches('.')
                .into()
        },
    }
}

fn memory_panel(group: Group, left: f64) -> Panel<'static> {
    let groups = vec![group];
    let axis = Axis::up_to(largest(&groups));
    Panel {
        title: "Bytes per idle session",
        left,
        right: WIDTH - MARGIN,
        groups,
        axis,
        format_bar: thousands,
        format_tick: thousands,
    }
}

impl Panel<'_> {
    fn draw(&self) -> String {
        let mut out = String::new();
        text(
            &mut out,
            "panel",
            "start",
            self.left,
            PLOT_TOP - 26.0,
            self.title,
        );
        for tick in self.axis.ticks() {
            let y = self.axis.y(tick);
            line(&mut out, "grid", self.plot_left(), self.right, y);
            let label = (self.format_tick)(tick);
            text(
                &mut out,
                "muted",
                "end",
                self.plot_left() - 7.0,
                y + 4.0,
                &label,
            );
        }
        if self
            .groups
            .iter()
            .any(|group| group.values.contains(&Some(1.0)))
        {
            line(
                &mut out,
                "one",
                self.plot_left(),
                self.right,
                self.axis.y(1.0),
            );
        }
        let group_width = (self.right - self.plot_left()) / self.groups.len() as f64;
        for (number, group) in self.groups.iter().enumerate() {
            let left = self.plot_left() + number as f64 * group_width;
            self.draw_group(&mut out, group, left, group_width);
        }
        out
    }

    fn plot_left(&self) -> f64 {
        self.left + AXIS_WIDTH
    }

    fn draw_group(&self, out: &mut String, group: &Group, left: f64, width: f64) {
        let slot = (width * 0.86 / SHOWN.len() as f64).min(40.0);
        let first = left + (width - slot * SHOWN.len() as f64) / 2.0;
        for (number, (value, (_, class))) in group.values.iter().zip(SHOWN).enumerate() {
            let x = first + number as f64 * slot;
            let Some(value) = *value else {
                text(
                    out,
                    "muted",
                    "middle",
                    x + slot / 2.0,
                    PLOT_BOTTOM - 5.0,
                    "–",
                );
                continue;
            };
            self.draw_bar(out, class, x, slot, value);
        }
        for (row, label) in group.label.iter().enumerate() {
            let y = PLOT_BOTTOM + 20.0 + 15.0 * row as f64;
            text(out, "muted", "middle", left + width / 2.0, y, label);
        }
    }

    fn draw_bar(&self, out: &mut String, class: &str, x: f64, slot: f64, value: f64) {
        let top = self.axis.y(value);
        let (left, right) = (x + 1.5, x + slot - 1.5);
        let radius = 3f64.min(PLOT_BOTTOM - top);
        // Only the top corners are round: the bar stands on its axis.
        writeln!(
            out,
            "<path class=\"{class}\" d=\"M{left:.1} {PLOT_BOTTOM}V{:.1}q0 -{radius:.1} {radius:.1} \
             -{radius:.1}H{:.1}q{radius:.1} 0 {radius:.1} {radius:.1}V{PLOT_BOTTOM}Z\"/>",
            top + radius,
            right - radius,
        )
        .ok();
        let label_class = if class == "ringway" {
            "label strong"
        } else {
            "label"
        };
        let label = (self.format_bar)(value);
        text(
            out,
            label_class,
            "middle",
            x + slot / 2.0,
            top - 5.0,
            &label,
        );
    }
}

fn legend() -> String {
    let mut out = String::new();
    let mut x = WIDTH - MARGIN - 262.0;
    for (product, class) in SHOWN {
        writeln!(
            out,
            "<rect class=\"{class}\" x=\"{x}\" y=\"26\" width=\"12\" height=\"12\" rx=\"2.5\"/>"
        )
        .ok();
        text(&mut out, "muted", "start", x + 18.0, 36.0, product.label());
        x += 34.0 + 6.9 * product.label().len() as f64;
    }
    out
}

fn text(out: &mut String, class: &str, anchor: &str, x: f64, y: f64, content: &str) {
    let content = escape(content);
    writeln!(
        out,
        "<text class=\"{class}\" text-anchor=\"{anchor}\" x=\"{x:.1}\" y=\"{y:.1}\">\
         {content}</text>"
    )
    .ok();
}

fn line(out: &mut String, class: &str, from: f64, to: f64, y: f64) {
    writeln!(
        out,
        "<line class=\"{class}\" x1=\"{from:.1}\" x2=\"{to:.1}\" y1=\"{y:.1}\" y2=\"{y:.1}\"/>"
    )
    .ok();
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::docs::tests::example_results;

    #[test]
    fn every_bar_is_drawn_and_labelled() {
        let picture = svg(&example_results());
        assert!(picture.starts_with("<svg ") && picture.ends_with("</svg>\n"));
        assert_eq!(picture.matches("<path class=\"ringway\"").count(), 3);
        assert!(picture.contains(">0.80</text>"));
        assert!(picture.contains(">1 600</text>"));
        assert!(!picture.contains("NaN") && !picture.contains("inf"));
        let opened = picture.matches("<text ").count();
        assert_eq!(opened, picture.matches("</text>").count());
    }

    #[test]
    fn nothing_measured_is_an_empty_card() {
        let mut results = example_results();
        results.scenarios.clear();
        assert!(!svg(&results).contains("<path"));
    }

    #[test]
    fn axes_end_at_or_above_the_largest_value() {
        for largest in [0.0, 0.8, 1.0, 1.3, 2.5, 9143.0] {
            let axis = Axis::up_to(largest);
            assert!(axis.max >= largest, "{largest}");
            let ticks = axis.ticks().count();
            assert!((3..=10).contains(&ticks), "{ticks} ticks up to {largest}");
        }
    }

    #[test]
    fn markup_in_a_text_is_escaped() {
        assert_eq!(escape("a<b & c>d"), "a&lt;b &amp; c&gt;d");
    }
}
