//! `docs/benchmarks.md` and its picture.

use std::fmt::Write;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

use crate::chart;
use crate::report::{self, Table};
use crate::results::{Results, Settings};

const METHOD: &str = "\
All programs run on one machine and talk over 127.0.0.1, so these are the costs of the proxies and
of the kernel's TCP, not of a network. Two nginx web servers with one worker each stand behind
every proxy; wrk asks for answers of 2 bytes, 16 KiB or 1 MiB. Every proxy has one worker and the
same listen backlog, logs nothing, and is started afresh, on a CPU of its own, for each
measurement, after which comes a second of warm-up. wrk and the web servers share the other CPUs.
The proxies take turns within each round, each round begins with another one, and every figure is
the median over the rounds.

- **Proxy CPU** is the CPU clock of all the product's processes over the load, divided by the
  requests that were answered in it. It includes the set-up of the connections and the kernel's
  work on the proxy's behalf. This is the figure to compare: it says how many requests a core can
  carry.
- **Machine CPU** is the whole machine's busy time, divided likewise. It is there because a proxy
  can push cost onto its neighbours by the way in which it wakes them.
- **Throughput and latency** are wrk's. With few CPUs they are bounded by wrk and the web servers
  as much as by the proxy. wrk does not count the set-up of a connection as latency.
- **Memory** is the growth of private dirty memory (`Private_Dirty` of `smaps_rollup`, all
  processes) while the idle sessions are opened, each with one request and its answer. The
  kernel's socket buffers, the same for all, are not in it. What a program sets aside at its start
  is not, either.
- **x** is the ratio to the better of HAProxy and nginx stream in that column. Below 1 is better,
  except for throughput.
- *tokio-uring relay* and *ring SPLICE relay* are `bench/src/bin/reference-relay`: a plain relay
  on tokio-uring, and one that moves the bytes with `IORING_OP_SPLICE`. They show why ringway's
  workers use neither. *direct* is wrk and one web server without a proxy.

Where a goal is not met: with tiny answers and with a connection per request nearly all of the cost
is the kernel's TCP, which every proxy pays alike. With 1 MiB answers a quarter of ringway's CPU is
waking up and waking others across CPUs: the web servers bring about 90 KiB at a time, each time
the worker has gone to sleep, and to wait for more costs latency. How the peers fare there depends on
the host: the same ratio has been between 0.31 and 0.50 on two machines of one kind.
";

const REPEAT: &str = "\
```sh
cargo run --release --manifest-path bench/Cargo.toml -- --write-docs
```

It builds ringway, needs nginx with its stream module, HAProxy and wrk (root on Debian or Ubuntu
gets them installed), writes this page and its picture, and takes about 25 minutes on an otherwise
quiet machine. `--help` lists the rest. Figures of different machines, or of different days,
should not be compared with each other: ratios within one run should.
";

/// Writes both files into `directory`.
pub(crate) fn write(results: &Results, directory: &Path) -> Result<()> {
    fs::create_dir_all(directory)?;
    for (name, text) in [
        ("benchmarks.md", page(results)),
        ("benchmarks.svg", chart::svg(results)),
    ] {
        let path = directory.join(name);
        fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
        eprintln!("wrote {}", path.display());
    }
    Ok(())
}

fn page(results: &Results) -> String {
    let mut page = format!(
        "# Benchmarks\n\nMeasured on {} UTC by `bench/`; this page is what it wrote.\n\n\
         ![CPU per unit and memory per idle session](benchmarks.svg)\n\n## Goals\n\n{}\n",
        results.machine.date,
        report::goals(results).to_markdown(),
    );
    page += "## Figures\n";
    for result in &results.scenarios {
        write!(page, "\n### {}\n\n", result.scenario.title()).ok();
        page += &Table::of(result).to_markdown();
        for remark in report::remarks(result) {
            write!(page, "\n{}\n", remark.replace('\n', " ")).ok();
        }
    }
    write!(
        page,
        "\n## Method\n\n{METHOD}\n{}\n",
        settings(&results.settings)
    )
    .ok();
    write!(page, "\n{}\n", report::noise(results)).ok();
    write!(
        page,
        "\n## Machine\n\n{}\n## How to repeat\n\n{REPEAT}",
        machine(results)
    )
    .ok();
    page
}

fn settings(settings: &Settings) -> String {
    format!(
        "This run: {} rounds of {} s for each proxy and scenario, {} idle sessions; proxies on CPU \
         {}, everything else on CPU {}.",
        settings.rounds,
        settings.seconds,
        report::thousands(settings.idle_sessions.into()),
        settings.proxy_cpu,
        settings
            .load_cpus
            .iter()
            .map(usize::to_string)
            .collect::<Vec<_>>()
            .join(", "),
    )
}

fn machine(results: &Results) -> String {
    let machine = &results.machine;
    let mut text = String::from("| | |\n|---|---|\n");
    let virtual_machine = if machine.is_virtual {
        ", virtual machine"
    } else {
        ""
    };
    let rows = [
        (
            "CPU",
            format!(
                "{}, {} CPUs{virtual_machine}",
                machine.cpu_model, machine.cpus
            ),
        ),
        ("Memory", format!("{:.0} GiB", machine.memory_gib)),
        (
            "Kernel",
            format!("Linux {} ({})", machine.kernel, machine.architecture),
        ),
        ("Distribution", machine.distribution.clone()),
    ];
    for (name, value) in rows {
        writeln!(text, "| {name} | {value} |").ok();
    }
    for (name, version) in &machine.versions {
        writeln!(text, "| {name} | {version} |").ok();
    }
    text
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::machine::Machine;
    use crate::results::tests::example;
    use crate::scenario::ScenarioId;

    pub(crate) fn example_results() -> Results {
        let machine = Machine {
            date: "2026-01-02 03:04".to_owned(),
            kernel: "6.18".to_owned(),
            architecture: "x86_64".to_owned(),
            distribution: "Debian".to_owned(),
            cpu_model: "Some CPU".to_owned(),
            cpus: 2,
            memory_gib: 8.0,
            is_virtual: true,
            versions: vec![("wrk".to_owned(), "4.1".to_owned())],
        };
        let settings = Settings {
            rounds: 5,
            seconds: 4,
            idle_sessions: 4000,
            proxy_cpu: 0,
            load_cpus: vec![1, 2],
        };
        let ids = [ScenarioId::Tiny64, ScenarioId::Body1MiB, ScenarioId::Idle];
        Results {
            machine,
            settings,
            scenarios: ids.map(example).into(),
        }
    }

    #[test]
    fn the_page_names_the_machine_the_goals_and_every_table() {
        let page = page(&example_results());
        for part in [
            "Measured on 2026-01-02 03:04 UTC",
            "| Idle sessions | memory per session | 512 bytes: not met | 800 bytes |",
            "### Keep-alive, 1 MiB answers, 8 connections",
            "| wrk | 4.1 |",
            "4 000 idle sessions; proxies on CPU 0, everything else on CPU 1, 2.",
        ] {
            assert!(page.contains(part), "{part} is missing in\n{page}");
        }
    }

    #[test]
    fn results_survive_json() {
        let results = example_results();
        let json = serde_json::to_string(&results).unwrap();
        let read: Results = serde_json::from_str(&json).unwrap();
        assert_eq!(page(&read), page(&results));
    }
}
