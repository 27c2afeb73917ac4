//! `docs/benchmarks.md` and its picture.

use std::fmt::Write;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use clap::ValueEnum;

use crate::chart;
use crate::report::{self, Table};
use crate::results::Results;
use crate::scenario::Group;

const INTRODUCTION: &str = "\
# Benchmarks

What a layer-4 proxy costs. `bench/` has measured it and written this page.
";

const METHOD: &str = "\
All programs run on one machine and talk over 127.0.0.1, so these are the costs of the proxies and
of the kernel's TCP, not of a network. Every proxy has one worker and the same listen backlog where
it has a setting for it, logs nothing, and is started afresh, on a CPU of its own, for each
measurement, after which comes a second of warm-up. The load generator and the servers share the
other CPUs. The proxies take turns within each round, each round begins with another one, and every
figure is the median over the rounds.

- **Proxy CPU** is the CPU clock of all the product's processes over the load, divided by the
  requests or queries that were answered in it. It includes the kernel's work on the proxy's behalf.
  This is the figure to compare: it says how many requests a core can carry.
- **Machine CPU** is the whole machine's busy time, divided likewise. It is there because a proxy
  can push cost onto its neighbours by the way in which it wakes them.
- **Throughput and latency** are the load generator's. With few CPUs they are bounded by it and the
  servers as much as by the proxy.
- **x** is the ratio to the better of two peers in that column: of HAProxy and nginx stream with web
  traffic and TLS, of ProxySQL and HAProxy with MySQL. With MySQL over TLS it is that to ProxySQL.
  Below 1 is better, except for throughput.
- *direct* is the load generator and a server without a proxy.
";

const METHOD_WEB: &str = "\
Two nginx web servers with one worker each stand behind every proxy; wrk asks for answers of
2 bytes, 16 KiB or 1 MiB. The proxy's CPU includes the set-up of the connections; wrk does not count
it as latency.

- **Memory** is the growth of private dirty memory (`Private_Dirty` of `smaps_rollup`, all
  processes) while the idle sessions are opened, each with one request and its answer. The
  kernel's socket buffers, the same for all, are not in it. What a program sets aside at its start
  is not, either.
- *tokio-uring relay* and *ring SPLICE relay* are `bench/src/bin/reference-relay`: a plain relay
  on tokio-uring, and one that moves the bytes with `IORING_OP_SPLICE`. They show why ringway's
  workers use neither.

Where a goal is not met: with tiny answers and with a connection per request nearly all of the cost
is the kernel's TCP, which every proxy pays alike. With 1 MiB answers a quarter of ringway's CPU is
waking up and waking others across CPUs: the web servers bring about 90 KiB at a time, each time
the worker has gone to sleep, and to wait for more costs latency. How the peers fare there depends on
the host: the same ratio has been between 0.31 and 0.50 on two machines of one kind.
";

const METHOD_MYSQL: &str = "\
A MariaDB primary and a replica that follows it by GTID stand behind every proxy. Their files lie in
memory, and nothing waits for a disk. sysbench works on 4 tables of 10 000 rows, chosen uniformly:

- *point select* is one row by its primary key; *read-only* ten of them and four ranges of 100 rows;
  *read-write* the same with two updates, a delete and an insert.
- Every statement is its own transaction (`--skip-trx`): within a transaction all of them would
  belong to the primary, and there would be nothing to split.
- *Prepared statements* are those of the binary protocol (`--db-ps-mode=auto`), prepared before the
  measurement begins; otherwise every query is text (`--db-ps-mode=disable`).
- **p95** is that of sysbench's event: 1 query, 14 queries or 18.
- *ringway* is its MySQL port and *ProxySQL* has two hostgroups and two query rules: both send reads
  to the replica and writes to the primary, which is checked before each measurement. *HAProxy* in
  TCP mode and *ringway TCP relay*, ringway's own TCP port, send everything to the primary, and so
  does *direct*.
- Before each measurement the replica has caught up. In a read-write load its own work is part of
  the machine's CPU.
- *Over TLS* sysbench speaks TLS (`--mysql-ssl=on`), and the proxy ends it: ringway with
  `mode = \"required\"`, ProxySQL with `mysql-have_ssl` and `use_ssl` for the account. With the
  servers they speak plain text, as ProxySQL does unless it is told otherwise. *On both sides* they speak TLS
  with the servers, too (`[pool.tls]` with `mode = \"verify\"`; `use_ssl` for both servers and
  `mysql-ssl_p2s_ca`). Both are in use: servers in one's own network are mostly spoken to in plain
  text, and servers that let nobody in without TLS (`require_secure_transport`) are not.
- TLS begins inside the MySQL protocol, which *HAProxy* in TCP mode and *ringway TCP relay* do not
  read: they carry the primary's TLS to sysbench. *direct*, too, is TLS with the primary. All
  three are set up alike in both kinds of tables, and their CPU has no cryptography in it, because
  the primary does that. They show what it costs to end TLS at a proxy, and are no measure of one
  that does, which is why **x** leaves HAProxy out there. Machine CPU has everybody's work in it:
  wherever sysbench's TLS ends, its bytes are encrypted once and decrypted once, and on both sides
  twice.
- Everybody speaks TLS 1.3 with `TLS_AES_128_GCM_SHA256`: the configuration of OpenSSL inside
  sysbench says so, and so do ringway's listener and the servers. The certificate is ECDSA P-256,
  made for the run and signed by itself. Connections stay, so handshakes come before the
  measurement.
- sysbench goes on in plain text, without a word, where TLS is not offered. So before each
  measurement it is asked for the cipher of its connection (`--mysql-debug`), and the primary for
  that of its own (`SHOW STATUS LIKE 'Ssl_cipher'`). After it `ringway_tls_handshakes_total` has
  to have counted every thread of sysbench, and `Ssl_finished_accepts` of both servers has to show
  that those have spoken TLS which should have, and the others have not.
- *What reading a statement costs* is timed by `bench/src/bin/classifier.rs`: from its bytes to where it
  goes, on one core, the fastest of many short loops. On a virtual machine with two CPUs of an AMD
  EPYC sysbench's point select takes 238 ns, its update 314 ns, its sum over a range 426 ns, and
  `BEGIN` 85 ns. The goal is 250 ns for the first. While others worked on the machine the median of
  the loops was up to twice that.
- *What bounds a point select* (profiles by `perf record -e cpu-clock` at 8 threads, of HAProxy and
  of ringway's MySQL port): of HAProxy's CPU 44 % goes into `tcp_sendmsg`, where the loopback also
  receives and wakes the other side, 6 % into receives, 5 % into being scheduled, 16 % into
  `epoll_wait` and 13 % into its own code; of ringway's 55 %, 14 %, 3 %, 5 % into waiting on the ring
  and 17 % into its own code, which reads every statement. At 64 threads the sends are 52 % of
  HAProxy's CPU and 65 % of ringway's. Servers and sysbench share one CPU and answer one query at a
  time, so HAProxy wakes 1.7 times per query at 8 threads and 1.95 times at 64
  (`voluntary_ctxt_switches`); ringway takes several messages per turn (docs/architecture.md,
  Coalescing) and wakes 0.7 to 1.1 times at 8 threads and 0.2 times at 64. The two sends that any
  proxy makes for a query are thus most of what is left, and little of the goal to HAProxy remains
  for the receives and for reading the statement. Three rounds say little about a single ratio: by
  itself, in runs of 12 to 20 rounds, a point select at 8 threads took 0.74 to 0.86 of HAProxy's CPU.
  What was tried and left out, because it made no difference: send(2) in turns that bring few
  completions, and doing nothing after a send that nothing waits for.
";

const METHOD_TLS: &str = "\
The two nginx web servers of the web traffic stand behind every proxy, without TLS; wrk asks over
https for the same answers. The proxies end TLS: ringway with `mode = \"terminate\"`, HAProxy in TCP
mode with `bind ... ssl`, nginx stream with `listen ... ssl`. HAProxy and nginx use the
distribution's OpenSSL, ringway rustls and AWS-LC. sysbench over TLS is one of the scenarios of
MySQL.

- Everybody speaks TLS 1.3 with `TLS_AES_128_GCM_SHA256` and X25519. HAProxy's and nginx's
  configurations say so, and so does that of OpenSSL inside wrk; ringway's names version and suite,
  and agrees on X25519 because clients offer nothing else.
- The certificates are made for the run and signed by themselves: ECDSA P-256, and RSA 2048 where it
  is named.
- A *handshake* is a connection with its handshake, one request for a tiny answer, and the end of
  both. For *full* ones, and wherever connections stay, tickets and session caches are off
  (`session_tickets = false`; `no-tls-tickets` and `tune.ssl.cachesize 0`;
  `ssl_session_tickets off` and `ssl_session_cache off`); for *resumed* ones tickets are on, caches
  are not.
- Before each measurement the runner asks for every body over TLS, compares what comes, and checks
  that a session which comes again is resumed, or is not. ringway's
  `ringway_tls_handshakes_total` shows that wrk, too, resumes or does not.
- **Memory** is measured as with web traffic: each session has had a full handshake, one request and
  its answer.

Where a goal is not met, or not in every run: an RSA handshake is mostly its signature (68 % of ringway's CPU in a
profile), and AWS-LC and OpenSSL take the same time for one (0.70 and 0.72 ms on the machine that
measured, by `openssl speed` and a loop around `RsaKeyPair::sign`), so only what is around it can be
cheaper. Of 1 MiB answers 28 % is AES-GCM, which every proxy pays alike, and 22 % are the three
copies out of the kernel, into rustls's records and into the kernel again. A few rounds say little of
them on a host with other guests, where one and the same proxy takes from 1 350 to 2 000 µs: in ten
rounds of two seconds, made of this scenario alone on 2026-11-28, ringway took 0.76 of the better
peer's CPU per MiB, and in eight others 0.73. In six rounds of a second it took 0.69 per RSA handshake.
";

const REPEAT: &str = "\
```sh
cargo run --release --manifest-path bench/Cargo.toml -- --write-docs
```

It builds ringway, needs nginx with its stream module, HAProxy, wrk, MariaDB and sysbench (root on
Debian or Ubuntu gets them installed) and measures ProxySQL if there is one on the path. It writes
this page and its picture, and takes about 25 minutes for the web traffic, 55 for MySQL and 10 for
TLS on an otherwise quiet machine; `--group web`, `--group mysql` and `--group tls` measure one of
them and leave what stands here about the others. `--help` lists the rest. Figures of different
machines, or of different days, should not be compared with each other: ratios within one run should.
";

/// Writes the page into `directory`, and the picture if there is something new to draw.
pub(crate) fn write(results: &Results, directory: &Path) -> Result<()> {
    fs::create_dir_all(directory)?;
    let path = directory.join("benchmarks.md");
    let before = fs::read_to_string(&path).unwrap_or_default();
    let mut files = vec![(path, page(results, &before))];
    if let Some(web) = results.of_group(Group::Web) {
        files.push((directory.join("benchmarks.svg"), chart::svg(&web)));
    }
    for (path, text) in files {
        fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
        eprintln!("wrote {}", path.display());
    }
    Ok(())
}

/// A group that was not measured keeps the section that it has on the page of `before`.
fn page(results: &Results, before: &str) -> String {
    let mut page = INTRODUCTION.to_owned();
    let mut method = METHOD.to_owned();
    for &group in Group::value_variants() {
        let (begin, end) = marks(group);
        let section = match results.of_group(group) {
            Some(results) => section(group, &results),
            None => match between(before, &begin, &end) {
                Some(section) => section.to_owned(),
                None => continue,
            },
        };
        write!(page, "\n{begin}{section}{end}").ok();
        let of_group = match group {
            Group::Web => METHOD_WEB,
            Group::Mysql => METHOD_MYSQL,
            Group::Tls => METHOD_TLS,
        };
        write!(method, "\n### Method: {}\n\n{of_group}", group.title()).ok();
    }
    write!(
        page,
        "\n## Method\n\n{method}\n## How to repeat\n\n{REPEAT}"
    )
    .ok();
    page
}

/// What surrounds the section of a group. A reader does not see it.
fn marks(group: Group) -> (String, String) {
    let name = group.name();
    (
        format!("<!-- {name}: begin -->\n"),
        format!("<!-- {name}: end -->\n"),
    )
}

fn between<'a>(text: &'a str, begin: &str, end: &str) -> Option<&'a str> {
    let (_, after) = text.split_once(begin)?;
    let (between, _) = after.split_once(end)?;
    Some(between)
}

fn section(group: Group, results: &Results) -> String {
    let mut text = format!(
        "## {}\n\nMeasured on {} UTC.\n",
        group.title(),
        results.machine.date
    );
    if group == Group::Web {
        text += "\n![CPU per unit and memory per idle session](benchmarks.svg)\n";
    }
    if let Some(goals) = report::goals(results) {
        write!(text, "\n### Goals\n\n{}", goals.to_markdown()).ok();
    }
    if let Some(table) = report::sql_ratios(results) {
        let (what, table) = (report::SQL_RATIOS, table.to_markdown());
        write!(text, "\n### Ratios\n\n{what}:\n\n{table}").ok();
    }
    for result in &results.scenarios {
        write!(text, "\n### {}\n\n", result.scenario.title()).ok();
        text += &Table::of(result).to_markdown();
        for remark in report::remarks(result) {
            write!(text, "\n{}\n", remark.replace('\n', " ")).ok();
        }
    }
    let (settings, noise) = (settings(results), report::noise(results));
    write!(
        text,
        "\n### This run\n\n{settings}\n\n{noise}\n\n{}\n",
        machine(results)
    )
    .ok();
    text
}

fn settings(results: &Results) -> String {
    let settings = &results.settings;
    let has_idle_sessions = results
        .scenarios
        .iter()
        .any(|result| result.scenario.is_idle());
    let idle_sessions = if has_idle_sessions {
        let count = report::thousands(settings.idle_sessions.into());
        format!(", {count} idle sessions")
    } else {
        String::new()
    };
    let load_cpus: Vec<_> = settings.load_cpus.iter().map(usize::to_string).collect();
    format!(
        "{} rounds of {} s for each proxy and scenario{idle_sessions}; proxies on CPU {}, \
         everything else on CPU {}.",
        settings.rounds,
        settings.seconds,
        settings.proxy_cpu,
        load_cpus.join(", "),
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
    use crate::results::Settings;
    use crate::results::tests::example;
    use crate::scenario::{ScenarioId, Sql, Tls, Web};

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
        let web = [Web::Tiny64, Web::Body1MiB, Web::Idle].map(ScenarioId::Web);
        let sql = Sql::QUICK.map(ScenarioId::Sql);
        let tls = [Tls::Full, Tls::Idle].map(ScenarioId::Tls);
        Results {
            machine,
            settings,
            scenarios: web.into_iter().chain(sql).chain(tls).map(example).collect(),
        }
    }

    #[test]
    fn the_page_names_the_machine_the_goals_and_every_table() {
        let page = page(&example_results(), "");
        for part in [
            "Measured on 2026-01-02 03:04 UTC",
            "| Idle sessions | memory per session | 512 bytes: not met | 800 bytes |",
            "### Keep-alive, 1 MiB answers, 8 connections",
            "### Read-write, prepared statements, 8 threads",
            "| Point select over TLS on both sides, 8 threads | queries/s, to ProxySQL's | 1.00x: met | 1.250x | – |",
            "### TLS, a full handshake per request, ECDSA P-256, 64 at a time",
            "| proxy CPU per handshake | 0.80x: met | 0.800x | – |",
            "| wrk | 4.1 |",
            "4 000 idle sessions; proxies on CPU 0, everything else on CPU 1, 2.",
        ] {
            assert!(page.contains(part), "{part} is missing in\n{page}");
        }
    }

    #[test]
    fn a_group_that_was_not_measured_keeps_its_section() {
        let all = example_results();
        let before = page(&all, "");
        let mut sql = all.of_group(Group::Mysql).unwrap();
        assert_eq!(page(&sql, &before), before);
        sql.machine.date = "2026-02-03 04:05".to_owned();
        let after = page(&sql, &before);
        for (group, measured, other) in [
            (Group::Web, "2026-01-02", "2026-02-03"),
            (Group::Mysql, "2026-02-03", "2026-01-02"),
            (Group::Tls, "2026-01-02", "2026-02-03"),
        ] {
            let (begin, end) = marks(group);
            let section = between(&after, &begin, &end).unwrap();
            assert!(section.contains(measured) && !section.contains(other));
        }
        let alone = page(&sql, "# An older page");
        assert!(!alone.contains("\n## Web traffic") && !alone.contains("\n### Method: TLS"));
    }

    #[test]
    fn the_page_in_the_repository_says_what_this_runner_would_write() {
        let committed = include_str!("../../docs/benchmarks.md");
        let mut nothing_new = example_results();
        nothing_new.scenarios.clear();
        assert_eq!(page(&nothing_new, committed), committed);
    }

    #[test]
    fn results_survive_json() {
        let results = example_results();
        let json = serde_json::to_string(&results).unwrap();
        let read: Results = serde_json::from_str(&json).unwrap();
        assert_eq!(page(&read, ""), page(&results, ""));
    }
}
