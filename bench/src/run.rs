//! The rounds: every scenario, every product in turn, started afresh each time.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::cpus::CpuPlan;
use crate::idle;
use crate::interrupt;
use crate::load::Wrk;
use crate::measure::{self, Window};
use crate::ports::Ports;
use crate::process::Managed;
use crate::products::{Product, Proxy, Stage, WebServer};
use crate::report;
use crate::results::{Errors, Figures, Sample, ScenarioResult};
use crate::scenario::{Load, ScenarioId};
use crate::tools::Tools;

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
    /// Roughly, with a second for each start and stop.
    pub(crate) fn estimated_duration(&self) -> Duration {
        let products = self.products.len() as u32;
        let warm_up = if self.warm_up { WARM_UP_SECONDS } else { 0 };
        let of_scenario = |id: &ScenarioId| match id.load() {
            Some(_) => {
                Duration::from_millis(300) + Duration::from_secs((self.seconds + warm_up).into())
            }
            None => self.idle_watch + Duration::from_micros(300) * self.idle_sessions,
        };
        self.scenarios.iter().map(of_scenario).sum::<Duration>() * products * self.rounds
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
    tools: &'a Tools,
    cpus: &'a CpuPlan,
    wrk: Wrk<'a>,
    ports: Ports,
    servers: Vec<WebServer>,
}

impl<'a> Runner<'a> {
    fn new(plan: &'a Plan, tools: &'a Tools, cpus: &'a CpuPlan) -> Result<Self> {
        let wrk = Wrk::new(tools.wrk.as_deref().context("wrk is missing")?, cpus)?;
        let mut ports = Ports::new();
        let mut stage = Stage {
            tools,
            ports: &mut ports,
            max_sessions: plan.max_sessions,
        };
        let servers = vec![
            WebServer::start(&mut stage, &cpus.load)?,
            WebServer::start(&mut stage, &cpus.load)?,
        ];
        Ok(Self {
            plan,
            tools,
            cpus,
            wrk,
            ports,
            servers,
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
        let addresses: Vec<SocketAddr> = self.servers.iter().map(|server| server.address).collect();
        let mut stage = Stage {
            tools: self.tools,
            ports: &mut self.ports,
            max_sessions: self.plan.max_sessions,
        };
        let defer_accept = id.load().is_some_and(|load| load.defer_accept);
        let proxy = Proxy::start(
            product,
            &mut stage,
            &self.cpus.proxy,
            &addresses,
            defer_accept,
        )?;
        let sample = match id.load() {
            Some(load) => self.under_load(&proxy, &load),
            None => self.with_idle_sessions(&proxy),
        };
        // What the program said before it ended is the best explanation there is.
        let last_words = || proxy.process().map(Managed::last_words).unwrap_or_default();
        let sample = sample.with_context(|| format!("{} {}", product.label(), last_words()))?;
        Ok((sample, proxy.note))
    }

    fn under_load(&self, proxy: &Proxy, load: &Load) -> Result<Sample> {
        if self.plan.warm_up {
            self.wrk.run(load, proxy.address, WARM_UP_SECONDS)?;
        }
        let window = self.open_window(proxy)?;
        let report = self.wrk.run(load, proxy.address, self.plan.seconds)?;
        let cpu = window.close()?;
        if report.requests == 0 {
            bail!("not one request was answered");
        }
        let per_unit = |time: Duration| time.as_secs_f64() * 1e6 / report.requests as f64;
        let figures = Figures {
            throughput_per_s: Some(report.requests_per_s()),
            p50_us: Some(report.p50_us),
            p99_us: Some(report.p99_us),
            proxy_cpu_us: proxy.process().map(|_| per_unit(cpu.product)),
            machine_cpu_us: Some(per_unit(cpu.machine)),
            ..Figures::default()
        };
        Ok(Sample {
            figures,
            errors: report.errors,
            foreign_share: cpu.foreign_share(),
            stolen_share: cpu.stolen_share(),
        })
    }

    fn with_idle_sessions(&self, proxy: &Proxy) -> Result<Sample> {
        let process = proxy.process().context("there is no process to look at")?;
        let count = self.plan.idle_sessions;
        let bytes_before = measure::private_dirty_bytes(process)?;
        let sessions = idle::open(proxy.address, count)?;
        let bytes_after = measure::private_dirty_bytes(process)?;
        let window = self.open_window(proxy)?;
        let begin = Instant::now();
        interrupt::sleep(self.plan.idle_watch)?;
        let (watched, cpu) = (begin.elapsed(), window.close()?);
        drop(sessions);
        let growth = bytes_after as f64 - bytes_before as f64;
        let figures = Figures {
            idle_bytes: Some(growth / f64::from(count)),
            idle_cpu_percent: Some(cpu.product.as_secs_f64() / watched.as_secs_f64() * 100.0),
            ..Figures::default()
        };
        Ok(Sample {
            figures,
            errors: Errors::default(),
            foreign_share: cpu.foreign_share(),
            stolen_share: cpu.stolen_share(),
        })
    }

    fn open_window(&self, proxy: &Proxy) -> Result<Window> {
        let mut servers = Vec::new();
        for server in &self.servers {
            servers.extend(server.process.pids()?);
        }
        Window::open(&proxy.pids()?, &servers)
    }
}
