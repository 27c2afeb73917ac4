//! A load made by wrk.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};
use serde::Deserialize;
use tempfile::TempDir;

use super::{finish, parse_report};
use crate::cpus::CpuPlan;
use crate::https::openssl_config;
use crate::process::Managed;
use crate::results::Errors;
use crate::scenario::Load;

/// wrk's own summary rounds its figures for people; its Lua hook has the exact ones.
const REPORT_SCRIPT: &str = r#"
done = function(summary, latency, requests)
  local e = summary.errors
  io.write(string.format(
    '\nreport {"requests":%.0f,"duration_us":%.0f,"p50_us":%.0f,"p99_us":%.0f,' ..
    '"errors":{"connect":%.0f,"read":%.0f,"write":%.0f,"status":%.0f,"timeout":%.0f}}\n',
    summary.requests, summary.duration, latency:percentile(50), latency:percentile(99),
    e.connect, e.read, e.write, e.status, e.timeout))
end
"#;

/// What wrk counted.
#[derive(Clone, Copy, Debug, Deserialize)]
pub(crate) struct Report {
    pub(crate) requests: u64,
    pub(crate) duration_us: f64,
    pub(crate) p50_us: f64,
    pub(crate) p99_us: f64,
    pub(crate) errors: Errors,
}

impl Report {
    pub(crate) fn requests_per_s(&self) -> f64 {
        self.requests as f64 / (self.duration_us / 1e6)
    }
}

/// wrk and its script.
pub(crate) struct Wrk<'a> {
    program: &'a Path,
    cpus: &'a CpuPlan,
    dir: TempDir,
}

impl<'a> Wrk<'a> {
    pub(crate) fn new(program: &'a Path, cpus: &'a CpuPlan) -> Result<Self> {
        let dir = TempDir::new().context("cannot make a temporary directory")?;
        fs::write(dir.path().join("report.lua"), REPORT_SCRIPT)?;
        fs::write(dir.path().join("openssl.cnf"), openssl_config())?;
        Ok(Self { program, cpus, dir })
    }

    pub(crate) fn run(&self, load: &Load, target: SocketAddr, seconds: u32) -> Result<Report> {
        let command = self.command(load, target, seconds);
        let log = self.dir.path().join("output.log");
        let wrk = Managed::spawn("wrk", command, &self.cpus.load, &log)?;
        let text = finish(wrk, seconds)?;
        parse_report(&text).context("wrk")
    }

    fn command(&self, load: &Load, target: SocketAddr, seconds: u32) -> Command {
        let mut command = Command::new(self.program);
        command
            .arg("--threads")
            .arg(self.cpus.wrk_threads(load.connections).to_string())
            .arg("--connections")
            .arg(load.connections.to_string())
            .arg("--duration")
            .arg(format!("{seconds}s"))
            .args(["--timeout", "5s"])
            .arg("--script")
            .arg(self.dir.path().join("report.lua"));
        if load.close {
            command.args(["--header", "Connection: close"]);
        }
        let scheme = if load.tls {
            // wrk has no options for it; OpenSSL, which it is linked with, has this file.
            command.env("OPENSSL_CONF", self.dir.path().join("openssl.cnf"));
            "https"
        } else {
            "http"
        };
        command.arg(format!("{scheme}://{target}{}", load.body.path()));
        command
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_report_is_found_among_the_words_for_people() {
        let text = "Running 1s test @ http://127.0.0.1/\n  1 threads\n\nreport {\"requests\":50000,\
                    \"duration_us\":2000000,\"p50_us\":100,\"p99_us\":250,\
                    \"errors\":{\"connect\":0,\"read\":1,\
                    \"write\":0,\"status\":2,\"timeout\":0}}\n";
        let report: Report = parse_report(text).unwrap();
        assert_eq!(report.requests_per_s(), 25_000.0);
        assert_eq!(report.errors.total(), 3);
    }
}
