//! The side-by-side benchmark: ringway and its peers under the same load.
//!
//! - `cli`: what can be asked for
//! - `tools`, `machine`: the programs and the machine
//! - `scenario`, `products`: what is measured, and of whom
//! - `process`, `cpus`, `ports`, `sockopt`, `interrupt`: starting, placing and ending programs
//! - `mariadb`: the databases; the web servers are among the products
//! - `load`, `idle`, `http`, `https`, `measure`: making load, and what it cost
//! - `run`, `results`: the rounds, medians and ratios
//! - `report`, `docs`, `chart`: tables, the page and its picture

mod chart;
mod cli;
mod cpus;
mod docs;
mod http;
mod https;
mod idle;
mod interrupt;
mod load;
mod machine;
mod mariadb;
mod measure;
mod ports;
mod process;
mod products;
mod report;
mod results;
mod run;
mod scenario;
mod sockopt;
mod tools;

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::{Parser, ValueEnum};
use nix::sys::resource::{Resource, getrlimit, setrlimit};

use cli::Options;
use cpus::CpuPlan;
use machine::Machine;
use products::Product;
use results::{Results, Settings};
use run::Plan;
use scenario::{Group, ScenarioId};
use tools::{Tools, Wanted};

/// Idle sessions, if the descriptor limit allows them.
const IDLE_SESSIONS: u32 = 4000;
const IDLE_SESSIONS_QUICK: u32 = 500;
const IDLE_WATCH_QUICK: Duration = Duration::from_millis(500);

/// Sessions that a load may have beside the idle ones' maximum.
const SPARE_SESSIONS: u32 = 100;

/// More descriptors than this are of no use here, and some programs look at each one.
const DESCRIPTORS_MAX: u64 = 65_536;

fn main() -> ExitCode {
    match benchmark(&Options::parse()) {
        Ok(None) => ExitCode::SUCCESS,
        Ok(Some(flaw)) => {
            eprintln!("not a clean run: {flaw}");
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("ringway-bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// The first flaw of the run, if it has one.
fn benchmark(options: &Options) -> Result<Option<String>> {
    let results = match &options.from {
        Some(path) => read_json(path)?,
        None => measure(options)?,
    };
    if let Some(path) = &options.json {
        let json = serde_json::to_string_pretty(&results)?;
        fs::write(path, json).with_context(|| format!("cannot write {}", path.display()))?;
    }
    if options.write_docs {
        docs::write(&results, &tools::repository_root()?.join("docs"))?;
    }
    // Last of all: whoever reads the tables through a pipe may have gone away.
    std::io::stdout()
        .write_all(report::text(&results).as_bytes())
        .ok();
    Ok(results.first_flaw())
}

fn read_json(path: &Path) -> Result<Results> {
    let text =
        fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    serde_json::from_str(&text)
        .with_context(|| format!("{} was not written by --json", path.display()))
}

fn measure(options: &Options) -> Result<Results> {
    interrupt::install()?;
    let descriptors = raise_descriptor_limit()?;
    let scenarios = scenarios(options);
    let mut groups = Group::value_variants().to_vec();
    groups.retain(|&group| scenarios.iter().any(|id| id.group() == group));
    let mut products = chosen(&options.peers, Product::value_variants());
    products.retain(|product| scenarios.iter().any(|&id| product.takes_part_in(id)));
    let wanted = Wanted {
        products: &products,
        groups: &groups,
        ringway: options.ringway.as_deref(),
        may_install: !options.no_install,
    };
    let tools = Tools::find(&wanted)?;
    products.retain(|&product| match tools.missing_for(product) {
        Some(missing) => {
            eprintln!(
                "{missing} is missing: the run goes on without {}",
                product.label()
            );
            false
        }
        None => true,
    });
    if products.is_empty() {
        bail!("nothing is left to measure");
    }
    let cpus = CpuPlan::new(options.proxy_cpu)?;
    cpus.move_runner()?;
    let plan = plan(
        options,
        scenarios,
        products,
        idle::max_sessions(descriptors),
    );
    let machine = Machine::describe(&tools);
    announce(&plan, &cpus);
    let scenarios = run::run(&plan, &tools, &cpus)?;
    let settings = Settings {
        rounds: plan.rounds,
        seconds: plan.seconds,
        idle_sessions: plan.idle_sessions,
        proxy_cpu: cpus.proxy_cpu,
        load_cpus: cpus.load_cpus,
    };
    Ok(Results {
        machine,
        settings,
        scenarios,
    })
}

/// What was asked for by name, or all, of the groups that were asked for.
fn scenarios(options: &Options) -> Vec<ScenarioId> {
    let mut scenarios = if options.quick {
        chosen(&options.only, &ScenarioId::quick())
    } else {
        chosen(&options.only, ScenarioId::value_variants())
    };
    scenarios.retain(|id| options.group.is_empty() || options.group.contains(&id.group()));
    scenarios
}

fn plan(
    options: &Options,
    scenarios: Vec<ScenarioId>,
    products: Vec<Product>,
    max_sessions: u32,
) -> Plan {
    let wanted = if options.quick {
        IDLE_SESSIONS_QUICK
    } else {
        IDLE_SESSIONS
    };
    let idle_sessions = wanted
        .min(max_sessions.saturating_sub(SPARE_SESSIONS))
        .max(1);
    if idle_sessions < wanted && scenarios.iter().any(|id| id.is_idle()) {
        eprintln!(
            "{idle_sessions} idle sessions: for {wanted}, raise the limit (ulimit -Hn 20000)"
        );
    }
    Plan {
        scenarios,
        products,
        rounds: if options.quick { 1 } else { options.rounds },
        seconds: if options.quick { 1 } else { options.seconds },
        warm_up: !options.quick,
        idle_sessions,
        idle_watch: if options.quick {
            IDLE_WATCH_QUICK
        } else {
            idle::WATCH
        },
        max_sessions,
    }
}

/// What was asked for, or all, in the order of the tables and each once.
fn chosen<T: ValueEnum + PartialEq + Copy>(asked_for: &[T], all: &[T]) -> Vec<T> {
    if asked_for.is_empty() {
        return all.to_vec();
    }
    T::value_variants()
        .iter()
        .copied()
        .filter(|value| asked_for.contains(value))
        .collect()
}

fn announce(plan: &Plan, cpus: &CpuPlan) {
    eprintln!(
        "proxies on CPU {}, load and servers on CPU {:?}; about {} s",
        cpus.proxy_cpu,
        cpus.load_cpus,
        plan.estimated_duration().as_secs()
    );
}

/// The children inherit it.
fn raise_descriptor_limit() -> Result<u64> {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).context("getrlimit")?;
    let limit = hard.min(DESCRIPTORS_MAX).max(soft);
    setrlimit(Resource::RLIMIT_NOFILE, limit, hard).context("cannot raise the descriptor limit")?;
    Ok(limit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn choices_keep_the_order_of_the_tables() {
        let all = Product::value_variants();
        assert_eq!(chosen(&[], all), all);
        let asked_for = [Product::Direct, Product::Haproxy, Product::Direct];
        assert_eq!(chosen(&asked_for, all), [Product::Haproxy, Product::Direct]);
    }
}
