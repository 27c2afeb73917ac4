//! A load made by sysbench.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use nix::unistd::Pid;
use serde::Deserialize;
use tempfile::TempDir;

use super::{GRACE, finish, parse_report};
use crate::cpus::CpuPlan;
use crate::https::{CIPHER_SUITE, openssl_config};
use crate::interrupt;
use crate::mariadb::{CLIENT, DATABASE};
use crate::process::Managed;
use crate::scenario::{Sql, Statements, TABLE_ROWS, TABLES, Work};

/// sysbench's own summary rounds its figures for people; its Lua hook has the exact ones.
const REPORT_HOOK: &str = r#"
function sysbench.hooks.report_cumulative(stat)
  print(string.format(
    'report {"queries":%.0f,"duration_us":%.0f,"p95_us":%.0f,"reconnects":%.0f}',
    stat.reads + stat.writes + stat.other, stat.time_total * 1e6, stat.latency_pct * 1e6,
    stat.reconnects))
end
"#;

/// What sysbench writes when every thread has connected and prepared its statements.
const STARTED: &str = "Threads started!";

/// The client's key and certificate and the authority that it believes: sysbench looks for them
/// where it is started, and has no options for them.
const TLS_FILES: [&str; 3] = ["client-key.pem", "client-cert.pem", "cacert.pem"];

/// What sysbench writes before the name of a new connection's cipher, when it is asked for details.
const CIPHER_MARK: &str = "mysql_get_ssl_cipher(con): ";

/// Errors after which sysbench goes on with the next event: its own defaults (deadlock, record
/// changed, lock wait), and the duplicate key of two threads that put back the same deleted row.
/// All of them come from statements meeting each other in the server.
const COLLISIONS: &str = "1213,1020,1205,1062";

/// What sysbench counted.
#[derive(Clone, Copy, Debug, Deserialize)]
pub(crate) struct Report {
    pub(crate) queries: u64,
    pub(crate) duration_us: f64,
    /// Of an event: the queries of one pass through the script.
    pub(crate) p95_us: f64,
    pub(crate) reconnects: u64,
}

impl Report {
    pub(crate) fn queries_per_s(&self) -> f64 {
        self.queries as f64 / (self.duration_us / 1e6)
    }
}

/// sysbench and its scripts.
pub(crate) struct Sysbench<'a> {
    program: &'a Path,
    cpus: &'a CpuPlan,
    dir: TempDir,
}

impl<'a> Sysbench<'a> {
    /// `pem`: the certificate of everybody that it speaks TLS with, and its key.
    pub(crate) fn new(program: &'a Path, cpus: &'a CpuPlan, pem: &Path) -> Result<Self> {
        let dir = TempDir::new().context("cannot make a temporary directory")?;
        for file in TLS_FILES {
            fs::copy(pem, dir.path().join(file))?;
        }
        fs::write(dir.path().join("openssl.cnf"), openssl_config())?;
        Ok(Self { program, cpus, dir })
    }

    /// Makes and fills the tables.
    pub(crate) fn prepare(&self, target: SocketAddr) -> Result<()> {
        const SECONDS: u32 = 60;
        let mut command = self.command(Work::ReadWrite, target, false)?;
        command.arg(format!("--threads={TABLES}")).arg("prepare");
        finish(self.spawn(command)?, SECONDS).map(drop)
    }

    /// Whether a connection with `target` is encrypted, as sysbench itself sees it. Where TLS is
    /// not offered, it goes on without and says nothing.
    pub(crate) fn check_encryption(&self, target: SocketAddr) -> Result<()> {
        const SECONDS: u32 = 10;
        let mut command = self.command(Work::PointSelect, target, true)?;
        command.args(["--mysql-debug=on", "--verbosity=5"]).args([
            "--threads=1",
            "--events=1",
            "run",
        ]);
        check_ciphers(&finish(self.spawn(command)?, SECONDS)?)
    }

    /// Calls `at_start` once all threads are connected and have prepared their statements: what
    /// they do from then on is what the report counts.
    pub(crate) fn run<T>(
        &self,
        sql: Sql,
        target: SocketAddr,
        seconds: u32,
        at_start: impl FnOnce(Pid) -> Result<T>,
    ) -> Result<(Report, T)> {
        let mut command = self.command(sql.work, target, sql.encrypted.has_clients())?;
        command
            .arg(format!("--threads={}", sql.threads))
            .arg(format!("--time={seconds}"))
            .arg(match sql.statements {
                Statements::Text => "--db-ps-mode=disable",
                Statements::Prepared => "--db-ps-mode=auto",
            })
            .args(["--events=0", "--percentile=95", "--skip-trx=on"])
            .arg("--rand-type=uniform")
            .arg(format!("--mysql-ignore-errors={COLLISIONS}"))
            .arg("run");
        let mut sysbench = self.spawn(command)?;
        wait_for_start(&mut sysbench)?;
        let at_start = at_start(sysbench.pid())?;
        let text = finish(sysbench, seconds)?;
        Ok((parse_report(&text).context("sysbench")?, at_start))
    }

    fn command(&self, work: Work, target: SocketAddr, has_tls: bool) -> Result<Command> {
        let script = self.dir.path().join("load.lua");
        fs::write(
            &script,
            format!("require(\"{}\")\n{REPORT_HOOK}", work.script()),
        )?;
        let ssl = if has_tls {
            "--mysql-ssl=on"
        } else {
            "--mysql-ssl=off"
        };
        let mut command = Command::new(self.program);
        command
            .arg(script)
            .args(["--db-driver=mysql", ssl])
            .arg(format!("--mysql-host={}", target.ip()))
            .arg(format!("--mysql-port={}", target.port()))
            .arg(format!("--mysql-user={}", CLIENT.user))
            .arg(format!("--mysql-password={}", CLIENT.password))
            .arg(format!("--mysql-db={}", DATABASE))
            .arg(format!("--tables={TABLES}"))
            .arg(format!("--table-size={TABLE_ROWS}"));
        if has_tls {
            command.current_dir(self.dir.path());
            command.env("OPENSSL_CONF", self.dir.path().join("openssl.cnf"));
        }
        Ok(command)
    }

    fn spawn(&self, command: Command) -> Result<Managed> {
        let log = self.dir.path().join("output.log");
        Managed::spawn("sysbench", command, &self.cpus.load, &log)
    }
}

fn wait_for_start(sysbench: &mut Managed) -> Result<()> {
    let deadline = Instant::now() + GRACE;
    while !sysbench.output().lines().any(|line| line == STARTED) {
        interrupt::check()?;
        if sysbench.has_ended() || Instant::now() > deadline {
            bail!("sysbench did not start: {}", sysbench.last_words());
        }
        thread::sleep(Duration::from_millis(1));
    }
    Ok(())
}

/// Whether `text` names the cipher of a connection, and it is always the right one.
fn check_ciphers(text: &str) -> Result<()> {
    let mut ciphers = text
        .lines()
        .filter_map(|line| Some(line.split_once(CIPHER_MARK)?.1.trim_matches('"')))
        .peekable();
    if ciphers.peek().is_none() {
        bail!("sysbench did not name the cipher of its connection");
    }
    match ciphers.find(|&cipher| cipher != CIPHER_SUITE) {
        Some(other) => bail!("sysbench's connection has the cipher {other}"),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_without_the_right_cipher_is_told() {
        let line = |cipher| format!("DEBUG: mysql_get_ssl_cipher(con): \"{cipher}\"\n");
        let right = line(CIPHER_SUITE);
        assert!(check_ciphers(&format!("Threads started!\n{right}")).is_ok());
        for other in ["(null)", "TLS_AES_256_GCM_SHA384"] {
            let error = check_ciphers(&(right.clone() + &line(other))).unwrap_err();
            assert!(error.to_string().contains(other), "{error}");
        }
        assert!(check_ciphers("Threads started!\n").is_err());
    }

    #[test]
    fn the_report_is_found_among_the_words_for_people() {
        let text = "Number of threads: 8\n\nThreads started!\n\nreport {\"queries\":50000,\
                    \"duration_us\":2000000,\"p95_us\":700,\"reconnects\":0}\n";
        let report: Report = parse_report(text).unwrap();
        assert_eq!(report.queries_per_s(), 25_000.0);
        assert_eq!(report.p95_us, 700.0);
    }
}
