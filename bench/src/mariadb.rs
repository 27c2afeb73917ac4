//! A MariaDB primary and its replica, with data directories of their own, and their command line.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use nix::sys::statvfs::statvfs;
use nix::unistd::{Pid, geteuid};
use tempfile::TempDir;

use crate::https::{CIPHER_SUITE, Certificate};
use crate::process::Managed;
use crate::products::{Stage, wait_until_ready};
use crate::scenario::{Encrypted, Key, TABLE_ROWS, TABLES};

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
    /// What both show clients that speak TLS, and what proxies show theirs.
    pub(crate) certificate: Certificate,
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

/// The way that statements take from a client to the servers.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Way {
    /// Whether the replica gets the reads. Who does not split does not read the protocol, either:
    /// the primary gets everything, and what a client encrypts, it encrypts for the primary.
    pub(crate) splits: bool,
    pub(crate) encrypted: Encrypted,
}

impl Way {
    /// Whether the primary speaks TLS, and whether the replica does.
    fn servers_speak_tls(self) -> [bool; 2] {
        match self.encrypted {
            Encrypted::Nothing => [false, false],
            Encrypted::Clients => [!self.splits, false],
            Encrypted::Everything => [true, self.splits],
        }
    }

    /// Whether the primary's side of a connection has the right cipher; plain text has none.
    fn check_cipher(self, cipher: &str) -> Result<()> {
        let [is_encrypted, _] = self.servers_speak_tls();
        let right = if is_encrypted { CIPHER_SUITE } else { "" };
        if cipher != right {
            bail!("the primary speaks with the cipher {cipher:?} instead of {right:?}");
        }
        Ok(())
    }

    /// Whether so many TLS handshakes of the primary and the replica are right: some, or none.
    fn check_handshakes(self, handshakes: [u64; 2]) -> Result<()> {
        if handshakes.map(|count| count > 0) != self.servers_speak_tls() {
            let [primary, replica] = handshakes;
            bail!("the primary made {primary} TLS handshakes, and the replica {replica}");
        }
        Ok(())
    }
}

impl Databases {
    /// Starts both and makes the one follow the other.
    pub(crate) fn start(stage: &mut Stage<'_>) -> Result<Self> {
        let client = stage.tools.mariadb.clone();
        let client = client.context("the program mariadb is missing")?;
        let dir = data_directory()?;
        install(stage.tools.mariadb_install_db.as_deref(), dir.path())?;
        let certificate = Certificate::make(dir.path(), Key::EcdsaP256)?;
        let start = |stage: &mut Stage<'_>, id| {
            Server::start(stage, dir.path(), &client, &certificate.pem, id)
        };
        let (primary, replica) = (start(stage, 1)?, start(stage, 2)?);
        let databases = Self {
            primary,
            replica,
            certificate,
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

    /// Whether what is sent to `address` does the work that it should: a proxy that does not split,
    /// or encrypts less than the others, would be measured at work that is not the same.
    pub(crate) fn answer_through(&self, address: SocketAddr, way: Way) -> Result<()> {
        let mut command = Command::new(&self.client);
        command
            .args(["--no-defaults", "--protocol=tcp"])
            .arg(format!("--host={}", address.ip()))
            .arg(format!("--port={}", address.port()))
            .arg(format!("--user={}", CLIENT.user))
            .arg(format!("--password={}", CLIENT.password))
            .arg(format!("--database={DATABASE}"));
        if way.encrypted.has_clients() {
            let authority = self.certificate.pem.display();
            command.arg(format!("--ssl-ca={authority}"));
            command.arg("--ssl-verify-server-cert");
        } else {
            command.arg("--skip-ssl");
        }
        let told = answer(
            &mut command,
            "SELECT @@server_id; SHOW SESSION STATUS LIKE 'Ssl_cipher'",
        )?;
        let (id, status) = told.split_once('\n').unwrap_or((&told, ""));
        let reader = if way.splits {
            &self.replica
        } else {
            &self.primary
        };
        if id != reader.id.to_string() {
            let name = reader.name();
            bail!("a read was answered by server {id} instead of {name}");
        }
        way.check_cipher(status.trim_start_matches("Ssl_cipher").trim_start())
    }

    /// Whether the servers have spoken TLS since `earlier`, or have not, as is right.
    pub(crate) fn check_handshakes(&self, earlier: [u64; 2], way: Way) -> Result<()> {
        let [primary, replica] = self.handshakes()?;
        way.check_handshakes([primary - earlier[0], replica - earlier[1]])
    }

    /// TLS handshakes that the primary and the replica have finished since their start.
    pub(crate) fn handshakes(&self) -> Result<[u64; 2]> {
        let count = |server| {
            let answer = self.ask(
                server,
                "SELECT VARIABLE_VALUE FROM information_schema.GLOBAL_STATUS \
                 WHERE VARIABLE_NAME = 'Ssl_finished_accepts'",
            )?;
            answer.parse().context("handshakes are not counted")
        };
        Ok([count(&self.primary)?, count(&self.replica)?])
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
    fn start(
        stage: &mut Stage<'_>,
        dir: &Path,
        client: &Path,
        pem: &Path,
        id: u32,
    ) -> Result<Self> {
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
            .args(OPTIONS)
            .args(tls_options(pem));
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

/// TLS for clients that ask for it: the version and the cipher suite that everybody speaks. The
/// servers ask for a certificate and check the one that sysbench shows, which is the same.
fn tls_options(pem: &Path) -> [String; 5] {
    let pem = pem.display();
    [
        format!("--ssl-cert={pem}"),
        format!("--ssl-key={pem}"),
        format!("--ssl-ca={pem}"),
        format!("--ssl-cipher={CIPHER_SUITE}"),
        "--tls-version=TLSv1.3".to_owned(),
    ]
}

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
        .args(["--no-defaults", "--skip-ssl", "--user=root"])
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
    fn tls_at_the_wrong_servers_is_told() {
        for (splits, encrypted, right) in [
            (true, Encrypted::Nothing, [0, 0]),
            (false, Encrypted::Nothing, [0, 0]),
            (true, Encrypted::Clients, [0, 0]),
            (false, Encrypted::Clients, [8, 0]),
            (true, Encrypted::Everything, [8, 1]),
            (false, Encrypted::Everything, [8, 0]),
        ] {
            let way = Way { splits, encrypted };
            for handshakes in [[0, 0], [8, 0], [8, 1], [0, 8]] {
                let outcome = way.check_handshakes(handshakes);
                assert_eq!(outcome.is_ok(), handshakes == right, "{way:?}: {outcome:?}");
            }
            let is_encrypted = right[0] > 0;
            assert_eq!(way.check_cipher(CIPHER_SUITE).is_ok(), is_encrypted);
            assert_eq!(way.check_cipher("").is_ok(), !is_encrypted);
            assert!(way.check_cipher("TLS_AES_256_GCM_SHA384").is_err());
        }
    }

    #[test]
    fn a_client_that_fails_says_why() {
        let error = answer(Command::new("false").arg("x"), "SELECT 1").unwrap_err();
        assert!(error.to_string().contains("false"), "{error:#}");
    }
}
