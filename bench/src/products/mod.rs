//! The programs that are compared, and how each is configured: one worker, the same backlog, no
//! logs, limits that are never reached.

mod proxysql;
mod tls;
mod web_server;

use std::fs;
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::slice;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use clap::ValueEnum;
use nix::unistd::Pid;
use serde::{Deserialize, Serialize};
use tempfile::TempDir;

pub(crate) use tls::Handshakes;
pub(crate) use web_server::WebServer;

use crate::cpus::CpuPlan;
use crate::http;
use crate::https::Termination;
use crate::interrupt;
use crate::mariadb::{Databases, Way};
use crate::ports::Ports;
use crate::process::Managed;
use crate::scenario::{Encrypted, Group, ScenarioId, Web};
use crate::sockopt;
use crate::tools::Tools;
use web_server::{answers_every_body, nginx_command, nginx_preamble};

/// Connections that may wait in the kernel, the same on every listening socket.
const BACKLOG: u32 = 4096;

/// How long a program may take until it answers its first request.
const READY_DEADLINE: Duration = Duration::from_secs(10);

/// A row of the tables. The order is that of the tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Product {
    /// ringway, one worker: its TCP port before web servers, plain or with TLS; its MySQL port
    /// before databases.
    Ringway,
    /// ringway's TCP port before the MySQL primary.
    RingwayTcp,
    /// HAProxy in TCP mode, one thread, splicing allowed.
    Haproxy,
    /// ProxySQL, one thread.
    Proxysql,
    /// nginx stream, one worker process.
    Nginx,
    /// The reference relay: tokio-uring, read then write.
    RelayCopy,
    /// The reference relay: IORING_OP_SPLICE.
    RelayRingSplice,
    /// No proxy: the load generator asks a web server, or the primary.
    Direct,
}

impl Product {
    pub(crate) fn label(self) -> &'static str {
        match self {
            Self::Ringway => "ringway",
            Self::RingwayTcp => "ringway TCP relay",
            Self::Haproxy => "HAProxy",
            Self::Proxysql => "ProxySQL",
            Self::Nginx => "nginx stream",
            Self::RelayCopy => "tokio-uring relay",
            Self::RelayRingSplice => "ring SPLICE relay",
            Self::Direct => "direct",
        }
    }

    pub(crate) fn takes_part_in(self, scenario: ScenarioId) -> bool {
        match scenario.group() {
            // Without a proxy there is no memory of a proxy.
            Group::Web => match self {
                Self::RingwayTcp | Self::Proxysql => false,
                Self::Direct => scenario != ScenarioId::Web(Web::Idle),
                _ => true,
            },
            Group::Mysql => !matches!(self, Self::Nginx | Self::RelayCopy | Self::RelayRingSplice),
            Group::Tls => matches!(self, Self::Ringway | Self::Haproxy | Self::Nginx),
        }
    }

    /// The way of what MySQL clients say: the reads to the replica, or everything to the primary.
    pub(crate) fn way(self, encrypted: Encrypted) -> Way {
        Way {
            splits: matches!(self, Self::Ringway | Self::Proxysql),
            encrypted,
        }
    }
}

/// What every program needs to be started.
pub(crate) struct Stage<'a> {
    pub(crate) tools: &'a Tools,
    pub(crate) cpus: &'a CpuPlan,
    pub(crate) ports: Ports,
    /// Sessions that a proxy must be able to hold.
    pub(crate) max_sessions: u32,
}

/// What stands behind a proxy.
#[derive(Clone, Copy)]
pub(crate) enum Behind<'a> {
    WebServers {
        addresses: &'a [SocketAddr],
        /// `TCP_DEFER_ACCEPT` on the proxy's listening socket.
        defer_accept: bool,
        /// Clients speak TLS, the servers do not.
        termination: Option<Termination<'a>>,
    },
    Databases {
        databases: &'a Databases,
        /// Where TLS is spoken.
        encrypted: Encrypted,
    },
}

impl<'a> Behind<'a> {
    /// The servers of a product that moves bytes without understanding them: with databases the
    /// primary, which can answer everything.
    fn relayed_to(self) -> &'a [SocketAddr] {
        match self {
            Self::WebServers { addresses, .. } => addresses,
            Self::Databases { databases, .. } => slice::from_ref(&databases.primary.address),
        }
    }

    fn defer_accept(self) -> bool {
        matches!(
            self,
            Self::WebServers {
                defer_accept: true,
                ..
            }
        )
    }

    fn termination(self) -> Option<Termination<'a>> {
        match self {
            Self::WebServers { termination, .. } => termination,
            Self::Databases { .. } => None,
        }
    }

    /// Whether `product`, listening on `address`, does what it is there for.
    fn answers(self, product: Product, address: SocketAddr) -> Result<()> {
        match self {
            Self::WebServers {
                termination: Some(tls),
                ..
            } => {
                answers_every_body(|body| tls.certificate.connect_and_get(address, body))?;
                tls.check_resumption(address)
            }
            Self::WebServers { .. } => {
                answers_every_body(|body| http::connect_and_get(address, body))
            }
            Self::Databases {
                databases,
                encrypted,
            } => databases.answer_through(address, product.way(encrypted)),
        }
    }
}

/// A proxy in front of its servers, ready; or, for the direct row, nothing.
pub(crate) struct Proxy<'a> {
    pub(crate) address: SocketAddr,
    /// `None`: clients speak plain text.
    pub(crate) termination: Option<Termination<'a>>,
    /// What could not be set alike, and why.
    pub(crate) note: Option<String>,
    process: Option<(Managed, TempDir)>,
    /// Where ringway says what it has counted.
    metrics: Option<SocketAddr>,
}

impl<'a> Proxy<'a> {
    pub(crate) fn start(
        product: Product,
        stage: &mut Stage<'_>,
        behind: Behind<'a>,
    ) -> Result<Self> {
        let termination = behind.termination();
        if product == Product::Direct {
            return Ok(Self {
                address: behind.relayed_to()[0],
                termination,
                note: None,
                process: None,
                metrics: None,
            });
        }
        let dir = TempDir::new().context("cannot make a temporary directory")?;
        let address = stage.ports.take()?;
        let admin = stage.ports.take()?;
        let setup = Setup {
            dir: dir.path(),
            address,
            admin,
            behind,
        };
        let command = setup.command(product, stage)?;
        let log = dir.path().join("output.log");
        let mut process = Managed::spawn(product.label(), command, &stage.cpus.proxy, &log)?;
        wait_until_ready(&mut process, || {
            TcpStream::connect(address)?;
            behind.answers(product, address)
        })?;
        let note = setup.defer_accept_from_outside(product, stage.tools, &process);
        Ok(Self {
            address,
            termination,
            note,
            process: Some((process, dir)),
            metrics: (product == Product::Ringway).then_some(admin),
        })
    }

    /// The TLS handshakes that the product has counted, if it says so.
    pub(crate) fn handshakes(&self) -> Result<Option<Handshakes>> {
        let count = |admin| Handshakes::read(&http::get_and_close(admin, "/metrics")?);
        self.metrics.map(count).transpose()
    }

    pub(crate) fn process(&self) -> Option<&Managed> {
        self.process.as_ref().map(|(process, _)| process)
    }

    pub(crate) fn pids(&self) -> Result<Vec<Pid>> {
        self.process().map_or_else(|| Ok(Vec::new()), Managed::pids)
    }
}

/// What differs from one start to the next.
struct Setup<'a> {
    dir: &'a Path,
    address: SocketAddr,
    admin: SocketAddr,
    behind: Behind<'a>,
}

impl Setup<'_> {
    fn command(&self, product: Product, stage: &mut Stage<'_>) -> Result<Command> {
        match (product, self.behind) {
            (
                Product::Ringway,
                Behind::Databases {
                    databases,
                    encrypted,
                },
            ) => {
                let (listener, pool) = tls::ringway_mysql(&databases.certificate, encrypted);
                let keys = format!("protocol = \"mysql\"\n{listener}");
                self.ringway(stage, &keys, &(pool + &split(databases)))
            }
            (Product::Ringway | Product::RingwayTcp, _) => {
                let mut keys = format!("defer_accept = {}\n", self.behind.defer_accept());
                let tls = self
                    .behind
                    .termination()
                    .map(|tls| tls::ringway("terminate", tls));
                keys += &tls.unwrap_or_default();
                self.ringway(stage, &keys, &relayed(self.behind.relayed_to()))
            }
            (Product::Haproxy, _) => self.haproxy(stage),
            (
                Product::Proxysql,
                Behind::Databases {
                    databases,
                    encrypted,
                },
            ) => self.proxysql(stage, databases, encrypted),
            (Product::Nginx, _) => {
                let config = self.nginx_config(stage);
                nginx_command(stage.tools, self.dir, &config)
            }
            (Product::RelayCopy, _) => self.relay(stage.tools, "copy"),
            (Product::RelayRingSplice, _) => self.relay(stage.tools, "ring-splice"),
            (Product::Proxysql | Product::Direct, _) => {
                bail!("{} has no place here", product.label())
            }
        }
    }

    fn ringway(&self, stage: &Stage<'_>, listener_keys: &str, servers: &str) -> Result<Command> {
        let config = format!(
            "[process]\nworkers = 1\ndrain_timeout = \"1s\"\n\n\
             [admin]\nlisten = \"{}\"\n\n\
             [[listener]]\nname = \"bench\"\nlisten = [\"{}\"]\npool = \"bench\"\n\
             backlog = {BACKLOG}\n{listener_keys}\n\
             [[pool]]\nname = \"bench\"\n{servers}",
            self.admin, self.address
        );
        let path = self.write("ringway.toml", &config)?;
        let mut command = Command::new(stage.tools.ringway.as_ref().context("ringway is missing")?);
        command.arg("run").arg("--config").arg(path);
        Ok(command)
    }

    fn haproxy(&self, stage: &Stage<'_>) -> Result<Command> {
        let defer = if self.behind.defer_accept() {
            " defer-accept"
        } else {
            ""
        };
        let (tls_global, tls_bind) = self.behind.termination().map(tls::haproxy).unzip();
        let mut config = format!(
            "global\n  nbthread 1\n  maxconn {}\n{}\
             defaults\n  mode tcp\n  option splice-auto\n  backlog {BACKLOG}\n\
             \x20 timeout connect 5s\n  timeout client 5m\n  timeout server 5m\n\
             frontend bench\n  bind {}{defer}{}\n  default_backend bench\n\
             backend bench\n  balance roundrobin\n",
            stage.max_sessions,
            tls_global.unwrap_or_default(),
            self.address,
            tls_bind.unwrap_or_default(),
        );
        for (number, server) in self.behind.relayed_to().iter().enumerate() {
            config += &format!("  server bench-{} {server}\n", number + 1);
        }
        let path = self.write("haproxy.cfg", &config)?;
        let mut command = Command::new(stage.tools.haproxy.as_ref().context("HAProxy is missing")?);
        command.arg("-db").arg("-f").arg(path);
        Ok(command)
    }

    fn proxysql(
        &self,
        stage: &mut Stage<'_>,
        databases: &Databases,
        encrypted: Encrypted,
    ) -> Result<Command> {
        let ports = proxysql::Ports {
            clients: self.address,
            admin: self.admin,
            postgres_clients: stage.ports.take()?,
            postgres_admin: stage.ports.take()?,
        };
        let (primary, replica) = (databases.primary.address, databases.replica.address);
        if encrypted.has_clients() {
            for file in proxysql::TLS_FILES {
                fs::copy(&databases.certificate.pem, self.dir.join(file))?;
            }
        }
        let config = proxysql::config(self.dir, &ports, primary, replica, encrypted);
        let path = self.write("proxysql.cnf", &config)?;
        let program = stage.tools.proxysql.as_ref();
        let mut command = Command::new(program.context("ProxySQL is missing")?);
        // A benchmark calls nobody.
        command.args(["--foreground", "--no-version-check"]);
        command.args(["--initial", "--config"]);
        command.arg(path).arg("--datadir").arg(self.dir);
        Ok(command)
    }

    fn nginx_config(&self, stage: &Stage<'_>) -> String {
        let deferred = self.behind.defer_accept() && stage.tools.nginx_stream_defers();
        let tls = self.behind.termination().map(tls::nginx);
        let (tls_listen, tls_keys) = tls.unwrap_or_default();
        let module = stage.tools.nginx_stream_module.as_deref();
        let module = module.map(|path| format!("load_module {};\n", path.display()));
        let servers = self
            .behind
            .relayed_to()
            .iter()
            .map(|server| format!("    server {server};\n"));
        format!(
            "{}{}stream {{\n\
             \x20 upstream web {{\n{}  }}\n\
             \x20 server {{\n    listen {} backlog={BACKLOG}{}{tls_listen};\n\
             {tls_keys}    proxy_pass web;\n\
             \x20   proxy_connect_timeout 5s;\n    proxy_timeout 5m;\n  }}\n}}\n",
            module.unwrap_or_default(),
            nginx_preamble(self.dir, stage.max_sessions * 2 + 1024),
            servers.collect::<String>(),
            self.address,
            if deferred { " deferred" } else { "" },
        )
    }

    fn relay(&self, tools: &Tools, mode: &str) -> Result<Command> {
        let program = tools
            .reference_relay
            .as_ref()
            .context("the reference relay is missing")?;
        let mut command = Command::new(program);
        command.args(["--mode", mode, "--listen", &self.address.to_string()]);
        command.args(["--backlog", &BACKLOG.to_string()]);
        command.args(self.behind.relayed_to().iter().map(SocketAddr::to_string));
        Ok(command)
    }

    /// For those that cannot be configured to do it. A failure costs fairness, not the row.
    fn defer_accept_from_outside(
        &self,
        product: Product,
        tools: &Tools,
        process: &Managed,
    ) -> Option<String> {
        let configured = match product {
            Product::Nginx => tools.nginx_stream_defers(),
            Product::RelayCopy | Product::RelayRingSplice => false,
            _ => true,
        };
        if configured || !self.behind.defer_accept() {
            return None;
        }
        let result = sockopt::defer_accept_of(process.pid(), self.address.port());
        result
            .err()
            .map(|error| format!("measured without TCP_DEFER_ACCEPT: {error:#}"))
    }

    fn write(&self, name: &str, config: &str) -> Result<PathBuf> {
        let path = self.dir.join(name);
        fs::write(&path, config).with_context(|| format!("cannot write {}", path.display()))?;
        Ok(path)
    }
}

/// The servers of ringway's pool, all alike.
fn relayed(servers: &[SocketAddr]) -> String {
    let tables = servers.iter().enumerate().map(|(number, server)| {
        format!(
            "\n[[pool.server]]\nname = \"bench-{}\"\naddress = \"{server}\"\n",
            number + 1
        )
    });
    tables.collect()
}

/// The servers of ringway's pool, one for writes and one for reads.
fn split(databases: &Databases) -> String {
    let roles = [
        ("primary", databases.primary.address),
        ("replica", databases.replica.address),
    ];
    let tables = roles.iter().map(|(role, address)| {
        format!(
            "\n[[pool.server]]\nname = \"db-{role}\"\naddress = \"{address}\"\nrole = \"{role}\"\n"
        )
    });
    tables.collect()
}

/// Tries until `answers` has no objection.
pub(crate) fn wait_until_ready(
    process: &mut Managed,
    answers: impl Fn() -> Result<()>,
) -> Result<()> {
    let deadline = Instant::now() + READY_DEADLINE;
    while let Err(error) = answers() {
        interrupt::check()?;
        if process.has_ended() {
            bail!(
                "{} ended at its start: {}",
                process.name(),
                process.last_words()
            );
        }
        if Instant::now() > deadline {
            let words = process.last_words();
            return Err(error.context(format!("{} is not ready: {words}", process.name())));
        }
        thread::sleep(Duration::from_millis(5));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::{Sql, Tls};

    #[test]
    fn command_line_and_json_use_the_same_names() {
        for product in Product::value_variants() {
            let json = serde_json::to_string(product).unwrap();
            let value = product.to_possible_value().unwrap();
            assert_eq!(json, format!("\"{}\"", value.get_name()));
        }
    }

    #[test]
    fn the_direct_row_has_no_idle_sessions() {
        assert!(!Product::Direct.takes_part_in(ScenarioId::Web(Web::Idle)));
        assert!(Product::Direct.takes_part_in(ScenarioId::Web(Web::Tiny1)));
    }

    #[test]
    fn products_that_cannot_do_it_are_not_measured() {
        let (web, sql) = (ScenarioId::Web(Web::Tiny1), ScenarioId::Sql(Sql::QUICK[0]));
        assert!(!Product::Proxysql.takes_part_in(web) && Product::Proxysql.takes_part_in(sql));
        assert!(!Product::Nginx.takes_part_in(sql) && Product::Nginx.takes_part_in(web));
        let tls = ScenarioId::Tls(Tls::Full);
        assert!(!Product::Direct.takes_part_in(tls) && Product::Nginx.takes_part_in(tls));
    }
}
