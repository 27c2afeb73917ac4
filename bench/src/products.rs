//! The programs that are compared, and how each is configured: one worker, the same backlog, no
//! logs, limits that are never reached.

use std::fs;
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use clap::ValueEnum;
use nix::sched::CpuSet;
use nix::unistd::{Pid, geteuid};
use serde::{Deserialize, Serialize};
use tempfile::TempDir;

use crate::http;
use crate::interrupt;
use crate::ports::Ports;
use crate::process::Managed;
use crate::scenario::{Body, ScenarioId};
use crate::sockopt;
use crate::tools::Tools;

/// Connections that may wait in the kernel, the same on every listening socket.
const BACKLOG: u32 = 4096;

/// How long a program may take until it answers its first request.
const READY_DEADLINE: Duration = Duration::from_secs(10);

/// A row of the tables. The order is that of the tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Product {
    /// ringway, one worker.
    Ringway,
    /// HAProxy in TCP mode, one thread, splicing allowed.
    Haproxy,
    /// nginx stream, one worker process.
    Nginx,
    /// The reference relay: tokio-uring, read then write.
    RelayCopy,
    /// The reference relay: IORING_OP_SPLICE.
    RelayRingSplice,
    /// No proxy: wrk asks a web server.
    Direct,
}

impl Product {
    pub(crate) fn label(self) -> &'static str {
        match self {
            Self::Ringway => "ringway",
            Self::Haproxy => "HAProxy",
            Self::Nginx => "nginx stream",
            Self::RelayCopy => "tokio-uring relay",
            Self::RelayRingSplice => "ring SPLICE relay",
            Self::Direct => "direct",
        }
    }

    /// Those that ringway is held against.
    pub(crate) fn is_peer(self) -> bool {
        matches!(self, Self::Haproxy | Self::Nginx)
    }

    /// Without a proxy there is no memory of a proxy.
    pub(crate) fn takes_part_in(self, scenario: ScenarioId) -> bool {
        self != Self::Direct || scenario.load().is_some()
    }
}

/// What every program needs to be started.
pub(crate) struct Stage<'a> {
    pub(crate) tools: &'a Tools,
    pub(crate) ports: &'a mut Ports,
    /// Sessions that a proxy must be able to hold.
    pub(crate) max_sessions: u32,
}

/// One of the web servers behind the proxies.
pub(crate) struct WebServer {
    pub(crate) address: SocketAddr,
    pub(crate) process: Managed,
    _dir: TempDir,
}

impl WebServer {
    pub(crate) fn start(stage: &mut Stage<'_>, cpus: &CpuSet) -> Result<Self> {
        let dir = TempDir::new().context("cannot make a temporary directory")?;
        let address = stage.ports.take()?;
        for body in [Body::KiB16, Body::MiB1] {
            let file = dir.path().join(body.path().trim_start_matches('/'));
            fs::write(file, vec![b'x'; body.bytes()])?;
        }
        let config = web_server_config(dir.path(), address, stage.max_sessions);
        let command = nginx_command(stage.tools, dir.path(), &config)?;
        let log = dir.path().join("output.log");
        let mut process = Managed::spawn("the web server", command, cpus, &log)?;
        wait_until_ready(&mut process, address)?;
        Ok(Self {
            address,
            process,
            _dir: dir,
        })
    }
}

/// A proxy in front of the web servers, ready; or, for the direct row, nothing.
pub(crate) struct Proxy {
    pub(crate) address: SocketAddr,
    /// Options that could not be set alike, and why.
    pub(crate) note: Option<String>,
    process: Option<(Managed, TempDir)>,
}

impl Proxy {
    pub(crate) fn start(
        product: Product,
        stage: &mut Stage<'_>,
        cpus: &CpuSet,
        servers: &[SocketAddr],
        defer_accept: bool,
    ) -> Result<Self> {
        if product == Product::Direct {
            return Ok(Self {
                address: servers[0],
                note: None,
                process: None,
            });
        }
        let dir = TempDir::new().context("cannot make a temporary directory")?;
        let address = stage.ports.take()?;
        let setup = Setup {
            dir: dir.path(),
            address,
            servers,
            defer_accept,
        };
        let command = setup.command(product, stage)?;
        let log = dir.path().join("output.log");
        let mut process = Managed::spawn(product.label(), command, cpus, &log)?;
        wait_until_ready(&mut process, address)?;
        let note = setup.defer_accept_from_outside(product, stage.tools, &process);
        Ok(Self {
            address,
            note,
            process: Some((process, dir)),
        })
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
    servers: &'a [SocketAddr],
    defer_accept: bool,
}

impl Setup<'_> {
    fn command(&self, product: Product, stage: &mut Stage<'_>) -> Result<Command> {
        match product {
            Product::Ringway => self.ringway(stage),
            Product::Haproxy => self.haproxy(stage),
            Product::Nginx => {
                let config = self.nginx_config(stage);
                nginx_command(stage.tools, self.dir, &config)
            }
            Product::RelayCopy => self.relay(stage.tools, "copy"),
            Product::RelayRingSplice => self.relay(stage.tools, "ring-splice"),
            Product::Direct => bail!("the direct row has no program"),
        }
    }

    fn ringway(&self, stage: &mut Stage<'_>) -> Result<Command> {
        let admin = stage.ports.take()?;
        let mut config = format!(
            "[process]\nworkers = 1\ndrain_timeout = \"1s\"\n\n\
             [admin]\nlisten = \"{admin}\"\n\n\
             [[listener]]\nname = \"bench\"\nlisten = [\"{}\"]\npool = \"web\"\n\
             backlog = {BACKLOG}\ndefer_accept = {}\n\n\
             [[pool]]\nname = \"web\"\n",
            self.address, self.defer_accept
        );
        for (number, server) in self.servers.iter().enumerate() {
            config += &format!(
                "\n[[pool.server]]\nname = \"web-{}\"\naddress = \"{server}\"\n",
                number + 1
            );
        }
        let path = self.dir.join("ringway.toml");
        fs::write(&path, config)?;
        let mut command = Command::new(stage.tools.ringway.as_ref().context("ringway is missing")?);
        command.arg("run").arg("--config").arg(path);
        Ok(command)
    }

    fn haproxy(&self, stage: &Stage<'_>) -> Result<Command> {
        let defer = if self.defer_accept {
            " defer-accept"
        } else {
            ""
        };
        let mut config = format!(
            "global\n  nbthread 1\n  maxconn {}\n\
             defaults\n  mode tcp\n  option splice-auto\n  backlog {BACKLOG}\n\
             \x20 timeout connect 5s\n  timeout client 5m\n  timeout server 5m\n\
             frontend bench\n  bind {}{defer}\n  default_backend web\n\
             backend web\n  balance roundrobin\n",
            stage.max_sessions, self.address
        );
        for (number, server) in self.servers.iter().enumerate() {
            config += &format!("  server web-{} {server}\n", number + 1);
        }
        let path = self.dir.join("haproxy.cfg");
        fs::write(&path, config)?;
        let mut command = Command::new(stage.tools.haproxy.as_ref().context("HAProxy is missing")?);
        command.arg("-db").arg("-f").arg(path);
        Ok(command)
    }

    fn nginx_config(&self, stage: &Stage<'_>) -> String {
        let deferred = self.defer_accept && stage.tools.nginx_stream_defers();
        let module = stage.tools.nginx_stream_module.as_deref();
        let module = module.map(|path| format!("load_module {};\n", path.display()));
        let servers = self
            .servers
            .iter()
            .map(|server| format!("    server {server};\n"));
        format!(
            "{}{}stream {{\n\
             \x20 upstream web {{\n{}  }}\n\
             \x20 server {{\n    listen {} backlog={BACKLOG}{};\n    proxy_pass web;\n\
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
        command.args(self.servers.iter().map(SocketAddr::to_string));
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
            Product::Ringway | Product::Haproxy | Product::Direct => true,
        };
        if configured || !self.defer_accept {
            return None;
        }
        let result = sockopt::defer_accept_of(process.pid(), self.address.port());
        result
            .err()
            .map(|error| format!("measured without TCP_DEFER_ACCEPT: {error:#}"))
    }
}

/// What both kinds of nginx have in common. Started by root, it would give its workers to a user
/// who may not read the temporary directory.
fn nginx_preamble(dir: &Path, worker_connections: u32) -> String {
    let user = if geteuid().is_root() {
        "user root root;\n"
    } else {
        ""
    };
    format!(
        "{user}daemon off;\nworker_processes 1;\npid {}/nginx.pid;\nerror_log stderr error;\n\
         events {{ worker_connections {worker_connections}; }}\n",
        dir.display()
    )
}

fn web_server_config(dir: &Path, address: SocketAddr, max_sessions: u32) -> String {
    let mut config = nginx_preamble(dir, max_sessions + 1024);
    config += "http {\n  access_log off;\n  default_type text/plain;\n";
    for temporary in ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"] {
        config += &format!("  {temporary}_temp_path {}/{temporary};\n", dir.display());
    }
    config += &format!(
        "  sendfile on;\n  tcp_nopush on;\n  keepalive_timeout 1h;\n\
         \x20 keepalive_requests 1000000000;\n\
         \x20 open_file_cache max=16 inactive=1h;\n  open_file_cache_valid 1h;\n\
         \x20 server {{\n    listen {address} backlog={BACKLOG};\n    root {};\n\
         \x20   location = {} {{ return 200 \"{}\"; }}\n  }}\n}}\n",
        dir.display(),
        Body::Tiny.path(),
        Body::TINY_TEXT,
    );
    config
}

fn nginx_command(tools: &Tools, dir: &Path, config: &str) -> Result<Command> {
    let path = dir.join("nginx.conf");
    fs::write(&path, config)?;
    let mut command = Command::new(tools.nginx.as_ref().context("nginx is missing")?);
    command
        .arg("-p")
        .arg(dir)
        .arg("-e")
        .arg("stderr")
        .arg("-c")
        .arg(path);
    Ok(command)
}

/// Tries until the port accepts, then asks once for every body, so that a wrong answer is found
/// before anything is measured.
fn wait_until_ready(process: &mut Managed, address: SocketAddr) -> Result<()> {
    let deadline = Instant::now() + READY_DEADLINE;
    while TcpStream::connect(address).is_err() {
        interrupt::check()?;
        if process.has_ended() {
            bail!(
                "{} ended at its start: {}",
                process.name(),
                process.last_words()
            );
        }
        if Instant::now() > deadline {
            bail!(
                "{} does not listen on {address}: {}",
                process.name(),
                process.last_words()
            );
        }
        thread::sleep(Duration::from_millis(5));
    }
    for body in Body::ALL {
        http::connect_and_get(address, body.path(), body.bytes()).with_context(|| {
            format!(
                "{} does not answer {}: {}",
                process.name(),
                body.path(),
                process.last_words()
            )
        })?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

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
        assert!(!Product::Direct.takes_part_in(ScenarioId::Idle));
        assert!(Product::Direct.takes_part_in(ScenarioId::Tiny1));
    }

    #[test]
    fn web_servers_keep_connections_open_and_do_not_log() {
        let address = SocketAddr::from(([127, 0, 0, 1], 8000));
        let config = web_server_config(Path::new("/d"), address, 100);
        for line in [
            "access_log off;",
            "keepalive_requests 1000000000;",
            "worker_connections 1124;",
        ] {
            assert!(config.contains(line), "{line} is missing in\n{config}");
        }
    }
}
