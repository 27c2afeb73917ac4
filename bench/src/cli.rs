//! The command line.

use std::path::PathBuf;

use clap::Parser;

use crate::products::Product;
use crate::scenario::{Group, ScenarioId};

/// Runs ringway and its peers side by side on this machine and prints what each costs.
///
/// Three groups of scenarios, all on 127.0.0.1. web: two nginx web servers stand behind every
/// proxy, wrk before it; the peers are HAProxy and nginx stream. mysql: a MariaDB primary and its
/// replica stand behind, sysbench before, in plain text and over TLS; the peers are ProxySQL and
/// HAProxy. tls: as web, but wrk speaks https and every proxy ends it. Each proxy has one worker on
/// a CPU of its own. The proxies take turns within each round; the tables show medians over the
/// rounds, with each figure's ratio to the better peer.
#[derive(Debug, Parser)]
#[command(version, after_help = EXAMPLES)]
pub(crate) struct Options {
    /// Only these products [default: all].
    #[arg(long, value_enum, value_delimiter = ',', value_name = "NAMES")]
    pub(crate) peers: Vec<Product>,

    /// Only scenarios of these groups [default: all].
    #[arg(long, value_enum, value_delimiter = ',', value_name = "NAMES")]
    pub(crate) group: Vec<Group>,

    /// Only these scenarios [default: all].
    #[arg(long, value_enum, value_delimiter = ',', value_name = "NAMES")]
    pub(crate) only: Vec<ScenarioId>,

    /// Rounds; the tables show medians over them.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub(crate) rounds: u32,

    /// Seconds of load for each product in each scenario and round.
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=3600))]
    pub(crate) seconds: u32,

    /// A smoke run of half a minute: one round of one second, six scenarios. Its figures mean
    /// little; its exit code says whether everything works.
    #[arg(long, conflicts_with_all = ["rounds", "seconds", "write_docs"])]
    pub(crate) quick: bool,

    /// A ringway that is built already [default: cargo build --release in the repository].
    #[arg(long, value_name = "PATH")]
    pub(crate) ringway: Option<PathBuf>,

    /// The CPU for the proxies; the load gets the others [default: the first one allowed].
    #[arg(long, value_name = "CPU")]
    pub(crate) proxy_cpu: Option<usize>,

    /// Write all figures of all rounds to this file.
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,

    /// Write docs/benchmarks.md and docs/benchmarks.svg in the repository. What a page says of a
    /// group that was not measured stays as it is.
    #[arg(long)]
    pub(crate) write_docs: bool,

    /// Run nothing; take the figures from a file that --json has written.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["quick", "json"])]
    pub(crate) from: Option<PathBuf>,

    /// Never install packages, even as root on Debian or Ubuntu.
    #[arg(long)]
    pub(crate) no_install: bool,
}

const EXAMPLES: &str = "\
Examples (after `cargo run --release --manifest-path bench/Cargo.toml --`):
  --quick                                    does everything work?
  --write-docs                               the figures of docs/benchmarks.md
  --group mysql                              not the web servers
  --group tls --write-docs                   TLS alone; the page keeps the rest
  --only tiny-64,point-8 --rounds 3          two scenarios
  --only point-8,point-8-tls                 what TLS costs
  --peers ringway,nginx --seconds 10         two products, for longer
  --json run.json                            keep the figures ...
  --from run.json --write-docs               ... and write the pages from them later

What is missing of nginx, libnginx-mod-stream, wrk, sysbench, mariadb-server-core,
mariadb-client-core and haproxy is installed with apt-get by root on Debian and Ubuntu; no service
is started. ProxySQL has no package there: it is measured where it is on the path. A peer that is
missing is named and left out.

Exit code: 0, or 1 when a product failed or answered with errors. Goals do not count.";

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Options::command().debug_assert();
        let options =
            Options::parse_from(["x", "--only", "1m,point-8,tls-1m", "--peers", "relay-copy"]);
        let names: Vec<_> = options.only.iter().map(|id| id.name()).collect();
        assert_eq!(names, ["1m", "point-8", "tls-1m"]);
        assert_eq!(options.peers, [Product::RelayCopy]);
        assert_eq!(options.group, []);
    }
}
