//! The rounds: every scenario, every product in turn, started afresh each time.

mod sql;
mod web;

use std::time::Duration;

use anyhow::{Context, Result};

use crate::cpus::CpuPlan;
use crate::interrupt;
use crate::ports::Ports;
use crate::products::{Behind, Product, Proxy, Stage};
use crate::report;
use crate::results::{Sample, ScenarioResult};
use crate::scenario::{Group, ScenarioId};
use crate::tools::Tools;
use sql::SqlRunner;
use web::WebRunner;

const WARM_UP_SECONDS: u32 = 1;

/// What the run consists of.
pub(crate) struct Plan {
    pub(crate) scenarios: Vec<ScenarioId>,
    pub(crate) products: Vec<Product>,
    pub(crate) rounds: u32,
    pub(crate) seconds: u32,
    pub(crate) warm_up: bool,
    pub(crate) idle_sessions: u32,
    pub(crate) idle_watch: Duration,
    pub(crate) max_sessions: u32,
}

impl Plan {
    pub(crate) fn has(&self, group: Group) -> bool {
        self.scenarios.iter().any(|id| id.group() == group)
    }

    /// Roughly, with some time for each start and stop.
    pub(crate) fn estimated_duration(&self) -> Duration {
        let warm_up = if self.warm_up { WARM_UP_SECONDS } else { 0 };
        let of_scenario = |id: &ScenarioId| {
            let products = self.products.iter().filter(|p| p.takes_part_in(*id));
            let of_product = if id.is_idle() {
                self.idle_watch + Duration::from_micros(300) * self.idle_sessions
            } else {
                Duration::from_millis(300) + Duration::from_secs((self.seconds + warm_up).into())
            };
            of_product * products.count() as u32
        };
        self.scenarios.iter().map(of_scenario).sum::<Duration>() * self.rounds
    }
}

/// Runs the plan. A product that fails loses its figures, not the run.
pub(crate) fn run(plan: &Plan, tools: &Tools, cpus: &CpuPlan) -> Result<Vec<ScenarioResult>> {
    let mut runner = Runner::new(plan, tools, cpus)?;
    let new_result = |&id: &ScenarioId| ScenarioResult::new(id, &plan.products);
    let mut results: Vec<_> = plan.scenarios.iter().map(new_result).collect();
    for round in 0..plan.rounds {
        for result in &mut results {
            // Each round begins with another product, so that none is always the one that runs
            // after a heavy or a light neighbour.
            let mut order: Vec<_> = result.rows.iter().map(|row| row.product).collect();
            if !order.is_empty() {
                let first = round as usize % order.len();
                order.rotate_left(first);
            }
            for product in order {
                eprint!(
                    "{}",
                    report::progress_head(round + 1, plan.rounds, result.scenario, product)
                );
                runner.measure(result, product)?;
            }
        }
    }
    Ok(results)
}

struct Runner<'a> {
    plan: &'a Plan,
    stage: Stage<'a>,
    web: Option<WebRunner<'a>>,
    sql: Option<SqlRunner<'a>>,
}

impl<'a> Runner<'a> {
    /// Starts the servers that the plan needs.
    fn new(plan: &'a Plan, tools: &'a Tools, cpus: &'a CpuPlan) -> Result<Self> {
        let mut stage = Stage {
            tools,
            cpus,
            ports: Ports::new(),
            max_sessions: plan.max_sessions,
        };
        let has_web_servers = plan.scenarios.iter().any(|id| id.group().has_web_servers());
        let web = has_web_servers
            .then(|| WebRunner::new(plan, &mut stage))
            .transpose()?;
        let sql = plan
            .has(Group::Mysql)
            .then(|| SqlRunner::new(&mut stage))
            .transpose()?;
        Ok(Self {
            plan,
            stage,
            web,
            sql,
        })
    }

    /// An error of this function ends the run: an interrupt. Any other is a failure in the row.
    fn measure(&mut self, result: &mut ScenarioResult, product: Product) -> Result<()> {
        let scenario = result.scenario;
        let outcome = self.sample(scenario, product);
        interrupt::check()?;
        let Some(row) = result.row_mut(product) else {
            return Ok(());
        };
        match outcome {
            Ok((sample, note)) => {
                eprintln!("{}", report::progress_figures(scenario, &sample));
                row.push(sample);
                row.notes
                    .extend(note.filter(|note| !row.notes.contains(note)));
            }
            Err(error) => {
                eprintln!("FAILED: {error:#}");
                row.failures.push(format!("{error:#}"));
            }
        }
        Ok(())
    }

    fn sample(&mut self, id: ScenarioId, product: Product) -> Result<(Sample, Option<String>)> {
        let (plan, stage) = (self.plan, &mut self.stage);
        match (id, &self.web, &self.sql) {
            (ScenarioId::Web(web), Some(runner), _) => {
                let (addresses, load) = (runner.addresses(), web.load());
                let behind = Behind::WebServers {
                    addresses: &addresses,
                    defer_accept: load.is_some_and(|load| load.defer_accept),
                    termination: None,
                };
                sample(product, stage, behind, |proxy| {
                    runner.sample(load, proxy, plan)
                })
            }
            (ScenarioId::Tls(tls), Some(runner), _) => {
                let behind = Behind::WebServers {
                    addresses: &runner.addresses(),
                    defer_accept: false,
                    termination: Some(runner.termination(tls)?),
                };
                sample(product, stage, behind, |proxy| {
                    runner.sample(tls.load(), proxy, plan)
                })
            }
            (ScenarioId::Sql(sql), _, Some(runner)) => {
                let (databases, encrypted) = (&runner.databases, sql.encrypted);
                databases.wait_for_replica()?;
                let handshakes = databases.handshakes()?;
                let behind = Behind::Databases {
                    databases,
                    encrypted,
                };
                let outcome = sample(product, stage, behind, |proxy| {
                    runner.sample(sql, proxy, plan)
                })?;
                databases.check_handshakes(handshakes, product.way(encrypted))?;
                Ok(outcome)
            }
            _ => unreachable!("the servers of every group in the plan have been started"),
        }
    }
}

/// Starts the product, measures it, and ends it.
fn sample(
    product: Product,
    stage: &mut Stage<'_>,
    behind: Behind<'_>,
    measure: impl FnOnce(&Proxy<'_>) -> Result<Sample>,
) -> Result<(Sample, Option<String>)> {
    let proxy = Proxy::start(product, stage, behind)?;
    let sample = measure(&proxy).with_context(|| match proxy.process() {
        // What the program said before it ended is the best explanation there is.
        Some(process) => format!("{}: {}", product.label(), process.last_words()),
        None => product.label().to_owned(),
    })?;
    Ok((sample, proxy.note))
}

/// Microseconds of `time` for each of so many units.
fn micros_per_unit(time: Duration, units: u64) -> f64 {
    time.as_secs_f64() * 1e6 / units as f64
}
