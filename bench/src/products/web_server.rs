//! nginx as the web server behind the proxies, and what it shares with nginx stream.

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};
use nix::unistd::geteuid;
use tempfile::TempDir;

use super::{BACKLOG, Stage, wait_until_ready};
use crate::http;
use crate::process::Managed;
use crate::scenario::Body;
use crate::tools::Tools;

/// One of the web servers behind the proxies.
pub(crate) struct WebServer {
    pub(crate) address: SocketAddr,
    pub(crate) process: Managed,
    _dir: TempDir,
}

impl WebServer {
    pub(crate) fn start(stage: &mut Stage<'_>) -> Result<Self> {
        let dir = TempDir::new().context("cannot make a temporary directory")?;
        let address = stage.ports.take()?;
        for body in [Body::KiB16, Body::MiB1] {
            let file = dir.path().join(body.path().trim_start_matches('/'));
            fs::write(file, body.content())?;
        }
        let config = web_server_config(dir.path(), address, stage.max_sessions);
        let command = nginx_command(stage.tools, dir.path(), &config)?;
        let log = dir.path().join("output.log");
        let mut process = Managed::spawn("the web server", command, &stage.cpus.load, &log)?;
        wait_until_ready(&mut process, || {
            answers_every_body(|body| http::connect_and_get(address, body))
        })?;
        Ok(Self {
            address,
            process,
            _dir: dir,
        })
    }
}

/// Asks once for every body, so that a wrong answer is found before anything is measured.
pub(super) fn answers_every_body<S>(ask: impl Fn(Body) -> io::Result<S>) -> Result<()> {
    for body in Body::ALL {
        ask(body).with_context(|| format!("no answer to {}", body.path()))?;
    }
    Ok(())
}

/// What both kinds of nginx have in common. Started by root, it would give its workers to a user
/// who may not read the temporary directory.
pub(super) fn nginx_preamble(dir: &Path, worker_connections: u32) -> String {
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

pub(super) fn nginx_command(tools: &Tools, dir: &Path, config: &str) -> Result<Command> {
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

#[cfg(test)]
mod tests {
    use super::*;

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
