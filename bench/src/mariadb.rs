//! A MariaDB primary and its replica, with data directories of their own, and their command line.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use nix::sys::statvfs::statvfs;
use nix::unistd::{Pid, geteuid};
use tempfile::TempDir;

use crate::process::Managed;
use crate::products::{Stage, wait_until_ready};
use crate::scenario::{TABLE_ROWS, TABLES};

/// The database with sysbench's tables.
pub(crate) const DATABASE: &str = "sbtest";

/// Connections that a server accepts: more than the threads of any scenario, with room for those
/// that a proxy keeps of its own accord.
pub(crate) const MAX_CONNECTIONS: u32 = 300;

/// An account on both servers, with mysql_native_password: every client and proxy knows that one.
pub(crate) struct Account {
    pub(crate) user: &'static str,
    pub(crate) password: &'static str,
    grants: &'static str,
}

/// What sysbench logs in with.
pub(crate) const CLIENT: Account = Account {
    user: "sbtest",
    password: "sbtest-secret",
    grants: "ALL PRIVILEGES ON sbtest.*",
};

/// What a proxy looks after the servers with.
pub(crate) const MONITOR: Account = Account {
    user: "monitor",
    password: "monitor-secret",
    grants: "REPLICATION CLIENT, SLAVE MONITOR ON *.*",
};

/// What the replica follows the primary with.
const REPLICATION: Account = Account {
    user: "replication",
    password: "replication-secret",
    grants: "REPLICATION SLAVE ON *.*",
};

/// How long the replica may take to catch up with a primary that rests.
const CATCH_UP_SECONDS: u32 = 60;

/// A directory in memory, and the room that it must have: files there cost no disk access, which
/// would be another one in every round.
const MEMORY: &str = "/dev/shm";
const MEMORY_BYTES_MIN: u64 = 2 << 30;

/// The primary and its replica.
pub(crate) struct Databases {
    pub(crate) primary: Server,
    pub(crate) replica: Server,
    client: PathBuf,
    _dir: TempDir,
}

/// One MariaDB server.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    id: u32,
    socket: PathBuf,
    process: Managed,
}

impl Databases {
    /// Starts both and makes the one follow the other.
    pub(crate) fn start(stage: &mut Stage<'_>) -> Result<Self> {
        let client = stage.tools.mariadb.clone();
        let client = client.context("the program mariadb is missing")?;
        let dir = data_directory()?;
        install(stage.tools.mariadb_install_db.as_deref(), dir.path())?;
        let primary = Server::start(stage, dir.path(), &client, 1)?;
        let replica = Server::start(stage, dir.path(), &client, 2)?;
        let databases = Self {
            primary,
            replica,
            client,
            _dir: dir,
        };
        databases.follow()?;
        databases.make_accounts()?;
        Ok(databases)
    }

    fn follow(&self) -> Result<()> {
        let Account { user, password, .. } = REPLICATION;
        let (host, port) = (self.primary.address.ip(), self.primary.address.port());
        self.ask(
            &self.replica,
            &format!(
                "CHANGE MASTER TO MASTER_HOST='{host}', MASTER_PORT={port}, \
                 MASTER_USER='{user}', MASTER_PASSWORD='{password}', \
                 MASTER_CONNECT_RETRY=1, MASTER_USE_GTID=slave_pos"
            ),
        )?;
        Ok(())
    }

    /// The replica gets them, and the database, from the primary: it begins to follow only once
    /// there is an account to do it with.
    fn make_accounts(&self) -> Result<()> {
        let mut statements = format!("CREATE DATABASE {DATABASE};");
        for account in [CLIENT, MONITOR, REPLICATION] {
            let Account {
                user,
                password,
                grants,
            } = account;
            statements += &format!(
                "CREATE USER {user}@'127.0.0.1' IDENTIFIED VIA mysql_native_password \
                 USING PASSWORD('{password}'); GRANT {grants} TO {user}@'127.0.0.1';"
            );
        }
        self.ask(&self.primary, &statements)?;
        self.ask(&self.replica, "START SLAVE")?;
        self.wait_for_replica()
    }

    /// Waits until the replica has everything that the primary has. Before each measurement:
    /// what is left over from one product must not be work in the window of the next.
    pub(crate) fn wait_for_replica(&self) -> Result<()> {
        let position = self.ask(&self.primary, "SELECT @@gtid_binlog_pos")?;
        let wait = format!("SELECT MASTER_GTID_WAIT('{position}', {CATCH_UP_SECONDS})");
        let answer = self.ask(&self.replica, &wait)?;
        if answer != "0" {
            let status = self.ask(&self.replica, "SHOW SLAVE STATUS")?;
            bail!("the replica does not follow the primary: {status}");
        }
        Ok(())
    }

    /// Whether both servers hold every row of sysbench's tables.
    pub(crate) fn hold_all_rows(&self) -> Result<()> {
        let tables = (1..=TABLES).map(|number| format!("SELECT id FROM sbtest{number}"));
        let count = format!(
            "SELECT COUNT(*) FROM ({}) AS t",
            tables.collect::<Vec<_>>().join(" UNION ALL ")
        );
        for server in [&self.primary, &self.replica] {
            let rows = self.ask(server, &format!("USE {DATABASE}; {count}"))?;
            if rows != (TABLES * TABLE_ROWS).to_string() {
                bail!("{} has {rows} rows in sysbench's tables", server.name());
            }
        }
        Ok(())
    }

    /// Whether a read that is sent to `address` is answered by `server`: a proxy that does not
    /// split, or sends everything to one side, would be measured at work that is not the same.
    pub(crate) fn reads_reach(&self, server: &Server, address: SocketAddr) -> Result<()> {
        let mut command = Command::new(&self.client);
        command
            .args(["--no-defaults", "--skip-ssl", "--protocol=tcp"])
            .arg(format!("--host={}", address.ip()))
            .arg(format!("--port={}", address.port()))
            .arg(format!("--user={}", CLIENT.user))
            .arg(format!("--password={}", CLIENT.password))
            .arg(format!("--database={DATABASE}"));
        let id = answer(&mut command, "SELECT @@server_id")?;
        if id != server.id.to_string() {
            bail!(
                "a read was answered by server {id} instead of {}",
                server.name()
            );
        }
        Ok(())
    }

    pub(crate) fn pids(&self) -> Result<Vec<Pid>> {
        Ok([self.primary.process.pids()?, self.replica.process.pids()?].concat())
    }

    /// As root, past every proxy.
    fn ask(&self, server: &Server, statements: &str) -> Result<String> {
        as_root(&self.client, &server.socket, statements)
            .with_context(|| format!("{} does not answer", server.name()))
    }
}

impl Server {
    fn start(stage: &mut Stage<'_>, dir: &Path, client: &Path, id: u32) -> Result<Self> {
        let address = stage.ports.take()?;
        let socket = dir.join(format!("server-{id}.sock"));
        let program = stage.tools.mariadbd.as_ref();
        let mut command = Command::new(program.context("the program mariadbd is missing")?);
        command
            .arg("--no-defaults")
            .args(run_as())
            .arg(format!("--datadir={}", data_of(dir, id).display()))
            .arg(format!("--socket={}", socket.display()))
            .arg(format!("--bind-address={}", address.ip()))
            .arg(format!("--port={}", address.port()))
            .arg(format!("--server-id={id}"))
            .arg(format!("--max-connections={MAX_CONNECTIONS}"))
            .args(OPTIONS);
        if id != 1 {
            command.arg("--read-only");
        }
        let name = name_of(id);
        let log = dir.join(format!("server-{id}.log"));
        let mut process = Managed::spawn(name, command, &stage.cpus.load, &log)?;
        wait_until_ready(&mut process, || {
            as_root(client, &socket, "SELECT 1").map(drop)
        })?;
        Ok(Self {
            address,
            id,
            socket,
            process,
        })
    }

    fn name(&self) -> &'static str {
        name_of(self.id)
    }
}

/// Everything that a server of real use writes is written, but nothing waits for a disk: the same
/// for every product, and not what is compared. Binary logs go before they fill the memory.
const OPTIONS: [&str; 14] = [
    "--skip-name-resolve",
    "--max-connect-errors=1000000",
    "--back-log=1024",
    "--log-bin=binlog",
    "--relay-log=relaylog",
    "--binlog-format=ROW",
    "--max-binlog-size=32M",
    "--binlog-expire-logs-seconds=10",
    "--gtid-strict-mode=ON",
    "--sync-binlog=0",
    "--innodb-flush-log-at-trx-commit=0",
    "--innodb-doublewrite=OFF",
    "--innodb-buffer-pool-size=128M",
    "--innodb-log-file-size=32M",
];

fn name_of(id: u32) -> &'static str {
    if id == 1 {
        "the primary"
    } else {
        "the replica"
    }
}

fn data_of(dir: &Path, id: u32) -> PathBuf {
    dir.join(format!("data-{id}"))
}

/// MariaDB does not run as root unless it is told to.
fn run_as() -> Option<&'static str> {
    geteuid().is_root().then_some("--user=root")
}

fn data_directory() -> Result<TempDir> {
    let free = statvfs(MEMORY).map_or(0, |fs| fs.blocks_available() * fs.fragment_size());
    let dir = if free >= MEMORY_BYTES_MIN {
        TempDir::new_in(MEMORY)
    } else {
        TempDir::new()
    };
    dir.context("cannot make a directory for the databases")
}

/// Makes the system tables once, and a copy of them for the replica.
fn install(program: Option<&Path>, dir: &Path) -> Result<()> {
    let data = data_of(dir, 1);
    let mut install = Command::new(program.context("the program mariadb-install-db is missing")?);
    install
        .args(["--no-defaults", "--skip-test-db"])
        .arg("--auth-root-authentication-method=normal")
        .args(run_as())
        .arg(format!("--datadir={}", data.display()));
    output_of(&mut install)?;
    copy(&data, &data_of(dir, 2)).context("cannot copy the primary's data directory")
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy(&entry.path(), &target)?;
        } else {
            fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}

fn as_root(client: &Path, socket: &Path, statements: &str) -> Result<String> {
    let mut command = Command::new(client);
    command
        .args(["--no-defaults", "--user=root"])
        .arg(format!("--socket={}", socket.display()));
    answer(&mut command, statements)
}

/// What the statements print, without headings.
fn answer(client: &mut Command, statements: &str) -> Result<String> {
    client
        .args(["--batch", "--skip-column-names", "--connect-timeout=5"])
        .args(["--execute", statements]);
    output_of(client)
}

fn output_of(command: &mut Command) -> Result<String> {
    let output = command.stdin(Stdio::null()).output();
    let output = output.with_context(|| format!("cannot start {:?}", command.get_program()))?;
    if !output.status.success() {
        let words = String::from_utf8_lossy(&output.stderr);
        bail!("{:?}: {}", command.get_program(), words.trim());
    }
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_data_directory_is_copied_with_everything_in_it() {
        let dir = tempfile::tempdir().unwrap();
        let from = dir.path().join("from");
        fs::create_dir_all(from.join("mysql")).unwrap();
        fs::write(from.join("ibdata1"), "tables").unwrap();
        fs::write(from.join("mysql/user.frm"), "users").unwrap();
        let to = dir.path().join("to");
        copy(&from, &to).unwrap();
        assert_eq!(fs::read(to.join("ibdata1")).unwrap(), b"tables");
        assert_eq!(fs::read(to.join("mysql/user.frm")).unwrap(), b"users");
    }

    #[test]
    fn a_client_that_fails_says_why() {
        let error = answer(Command::new("false").arg("x"), "SELECT 1").unwrap_err();
        assert!(error.to_string().contains("false"), "{error:#}");
    }
}
