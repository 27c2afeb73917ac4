//! MariaDB servers of the tests' own, and its command line as a client.

use std::fs;
use std::net::SocketAddr;
use std::ops::{Deref, DerefMut};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::{
    Mutex, MutexGuard, OnceLock, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard,
};

use tempfile::TempDir;

use super::balancer::Balancer;
use super::config::Config;
use super::sql_client::SqlClient;
use super::sql_server::{Product, SqlServer, copy, fingerprint};

/// The servers of a pair, and the third of a trio, as `@@server_id` tells them.
pub(crate) const PRIMARY: &str = "1";
pub(crate) const REPLICA: &str = "2";
pub(crate) const SECOND_REPLICA: &str = "3";

/// What a replica is started with.
const READ_ONLY: &str = "--read-only=1";

/// What is in every server's data directory from the beginning: `app` with the password `secret`
/// may do everything, `repl` may replicate, and there is a database `shop`.
const CONTENT: &str = "FLUSH PRIVILEGES;
    CREATE DATABASE shop;
    CREATE USER app@'%' IDENTIFIED BY 'secret';
    GRANT ALL ON *.* TO app@'%' WITH GRANT OPTION;
    CREATE USER repl@'%' IDENTIFIED BY 'repl';
    GRANT REPLICATION SLAVE ON *.* TO repl@'%';";

static PRODUCT: Product = Product {
    name: "MariaDB (Debian: mariadb-server-core, mariadb-client-core)",
    server: || Command::new("mariadbd"),
    options: &[
        "--no-defaults",
        "--user=root",
        "--innodb-log-file-size=8M",
        "--innodb-buffer-pool-size=16M",
        "--innodb-flush-log-at-trx-commit=2",
    ],
    client,
    path: |path| path.display().to_string(),
};

/// A server in which `app` with the password `secret` may do everything, and a database `shop`.
#[derive(Debug)]
pub(crate) struct MariaDb(SqlServer);

/// A primary, whose `server_id` is 1, and its replica, 2, which is read-only for everybody without
/// more rights than most have.
#[derive(Debug)]
pub(crate) struct Pair {
    /// Where writes belong.
    pub(crate) primary: MariaDb,
    /// Follows the primary by GTIDs.
    pub(crate) replica: MariaDb,
}

/// A pair and one more replica, 3.
#[derive(Debug)]
pub(crate) struct Trio {
    /// The primary and the first replica.
    pub(crate) pair: Pair,
    /// Follows the same primary.
    pub(crate) second_replica: MariaDb,
}

impl MariaDb {
    /// Starts a server with this `server_id` and these further options, and waits for it.
    #[track_caller]
    pub(crate) fn start(server_id: u32, options: &[&str]) -> Self {
        let server = Self::spawn(server_id, options);
        server.wait_until_it_answers();
        server
    }

    /// A primary and its replica, both with these further options.
    #[track_caller]
    pub(crate) fn pair(options: &[&str]) -> Pair {
        let primary = Self::spawn_one_of_several(1, options);
        let replica = Self::spawn_one_of_several(2, &[options, &[READ_ONLY]].concat());
        primary.wait_until_it_answers();
        replica.follow(&primary);
        Pair { primary, replica }
    }

    fn spawn_one_of_several(server_id: u32, options: &[&str]) -> Self {
        let log = ["--log-bin=bin", "--gtid-strict-mode=1"];
        Self::spawn(server_id, &[&log, options].concat())
    }

    /// Becomes a replica of this primary as soon as it answers.
    pub(crate) fn follow(&self, primary: &Self) {
        self.wait_until_it_answers();
        self.sql(&format!(
            "CHANGE MASTER TO MASTER_HOST='127.0.0.1', MASTER_PORT={}, MASTER_USER='repl',
             MASTER_PASSWORD='repl', MASTER_USE_GTID=slave_pos, MASTER_CONNECT_RETRY=1;
             START SLAVE",
            primary.address().port()
        ));
    }

    /// Waits until it has everything that its primary has.
    #[track_caller]
    fn catch_up_with(&self, primary: &Self) {
        let position = primary.sql("SELECT @@gtid_binlog_pos");
        let wait = format!("SELECT MASTER_GTID_WAIT('{}', 20)", position.trim());
        assert_eq!(self.sql(&wait), "0\n", "the replica follows");
    }

    fn spawn(server_id: u32, options: &[&str]) -> Self {
        let directory = TempDir::with_prefix("ringway-test-mariadb-").unwrap();
        copy(template(), &directory.path().join("data"));
        Self(SqlServer::spawn(&PRODUCT, directory, server_id, options))
    }

    /// `app`, connected to it without a balancer between.
    #[track_caller]
    pub(crate) fn client(&self) -> SqlClient {
        SqlClient::connect(self.address())
    }
}

impl Deref for MariaDb {
    type Target = SqlServer;

    fn deref(&self) -> &SqlServer {
        &self.0
    }
}

impl DerefMut for MariaDb {
    fn deref_mut(&mut self) -> &mut SqlServer {
        &mut self.0
    }
}

impl Pair {
    /// A mysql listener before the two.
    pub(crate) fn config(&self) -> Config {
        Config::mysql(self.primary.address(), self.replica.address())
    }

    /// The same, and it knows `app` by the hash of its password.
    #[track_caller]
    pub(crate) fn config_with_account(&self) -> Config {
        let hash = self.replica.sql("SELECT PASSWORD('secret')");
        let known = format!("native_hash = \"{}\"", hash.trim());
        self.config().mysql_user("app", &known)
    }

    /// A balancer with a mysql listener before the two.
    #[track_caller]
    pub(crate) fn balancer(&self) -> Balancer {
        Balancer::start(&self.config())
    }

    /// Makes a table of a test's own, on both servers.
    #[track_caller]
    pub(crate) fn table(&self, name: &str, columns: &str) {
        self.primary.sql(&format!(
            "DROP TABLE IF EXISTS shop.{name}; CREATE TABLE shop.{name} ({columns})"
        ));
        self.replicate();
    }

    /// The pair that the tests of one program share, which do not disturb each other.
    #[track_caller]
    pub(crate) fn shared() -> RwLockReadGuard<'static, Self> {
        Self::of_this_program()
            .read()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// The same pair for a test that changes what others see of it; it has to leave it as it was.
    #[track_caller]
    pub(crate) fn alone() -> RwLockWriteGuard<'static, Self> {
        Self::of_this_program()
            .write()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn of_this_program() -> &'static RwLock<Self> {
        static PAIR: OnceLock<RwLock<Pair>> = OnceLock::new();
        PAIR.get_or_init(|| RwLock::new(MariaDb::pair(&[])))
    }

    /// Waits until the replica has everything that the primary has.
    #[track_caller]
    pub(crate) fn replicate(&self) {
        self.replica.catch_up_with(&self.primary);
    }

    /// Holds the replication back: the replica stays as it is until it is told otherwise.
    #[track_caller]
    pub(crate) fn hold_replication(&self) {
        self.replicate();
        self.replica.sql("STOP SLAVE SQL_THREAD");
    }

    /// Lets the replication go on, and waits for it.
    #[track_caller]
    pub(crate) fn release_replication(&self) {
        self.replica.sql("START SLAVE SQL_THREAD");
        self.replicate();
    }
}

impl Trio {
    /// The trio of the tests of one program, which take turns; each leaves it as it was.
    #[track_caller]
    pub(crate) fn in_turn() -> MutexGuard<'static, Self> {
        static TRIO: OnceLock<Mutex<Trio>> = OnceLock::new();
        let trio = TRIO.get_or_init(|| {
            let second_replica = MariaDb::spawn_one_of_several(3, &[READ_ONLY]);
            let pair = MariaDb::pair(&[]);
            second_replica.follow(&pair.primary);
            Mutex::new(Self {
                pair,
                second_replica,
            })
        });
        trio.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A mysql listener before the three.
    pub(crate) fn config(&self) -> Config {
        self.and_second_replica(self.pair.config())
    }

    /// A mysql listener before the pair, and the third.
    pub(crate) fn and_second_replica(&self, config: Config) -> Config {
        let config = config.and_server(self.second_replica.address());
        config.server(2, "role = \"replica\"")
    }

    /// Its servers.
    pub(crate) fn servers(&self) -> [&MariaDb; 3] {
        [&self.pair.primary, &self.pair.replica, &self.second_replica]
    }

    /// The replica that names itself so.
    pub(crate) fn replica_mut(&mut self, server_id: &str) -> &mut MariaDb {
        match server_id {
            REPLICA => &mut self.pair.replica,
            SECOND_REPLICA => &mut self.second_replica,
            other => panic!("{other} is no replica"),
        }
    }

    /// Waits until both replicas have everything that the primary has.
    #[track_caller]
    pub(crate) fn replicate(&self) {
        for replica in [&self.pair.replica, &self.second_replica] {
            replica.catch_up_with(&self.pair.primary);
        }
    }
}

/// A data directory to be copied, which is a tenth of the work of making one. It is made once for
/// each version of the server and kept with what cargo has built.
fn template() -> &'static Path {
    static TEMPLATE: OnceLock<PathBuf> = OnceLock::new();
    TEMPLATE.get_or_init(|| {
        let version = Command::new("mariadbd").arg("--version").output();
        let version = version
            .unwrap_or_else(|error| panic!("mariadbd (Debian: mariadb-server-core): {error}"));
        let name = fingerprint(&[&version.stdout[..], CONTENT.as_bytes()].concat());
        let kept = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("mariadb-{name}"));
        if !kept.exists() {
            make_template(&kept);
        }
        kept
    })
}

fn make_template(kept: &Path) {
    let made = TempDir::with_prefix_in("mariadb-", env!("CARGO_TARGET_TMPDIR")).unwrap();
    let data = format!("--datadir={}", made.path().display());
    let options = [
        "--no-defaults",
        "--user=root",
        "--innodb-log-file-size=8M",
        &data,
    ];
    let install = Command::new("mariadb-install-db")
        .args(options)
        .args(["--auth-root-authentication-method=normal", "--skip-test-db"])
        .output()
        .unwrap_or_else(|error| {
            panic!("mariadb-install-db (Debian: mariadb-server-core): {error}")
        });
    assert!(install.status.success(), "{install:?}");
    let content = made.path().join("content.sql");
    // One statement a line is what the server takes in this mode.
    fs::write(&content, CONTENT.replace('\n', " ").replace("; ", ";\n")).unwrap();
    let filled = Command::new("mariadbd")
        .args(options)
        .arg("--bootstrap")
        .stdin(fs::File::open(&content).unwrap())
        .output()
        .unwrap();
    assert!(filled.status.success(), "{filled:?}");
    // If another program was faster, its template is as good.
    let _ = fs::rename(made.path(), kept);
}

fn client() -> Command {
    let mut command = Command::new("mariadb");
    command.args(["--no-defaults", "--batch", "--skip-column-names"]);
    command
}

/// The command line of MariaDB as `app`, with this password, at this address.
#[track_caller]
pub(crate) fn mariadb(address: SocketAddr, password: &str, options: &[&str], sql: &str) -> Output {
    Command::new("mariadb")
        .args([
            "--no-defaults",
            "--protocol=tcp",
            "--skip-ssl",
            "--host=127.0.0.1",
        ])
        .args([
            "--user=app",
            "--batch",
            "--skip-column-names",
            "--max-allowed-packet=64M",
        ])
        .arg(format!("--port={}", address.port()))
        .arg(format!("--password={password}"))
        .args(options)
        .args(["--execute", sql, "shop"])
        .stdin(Stdio::null())
        .output()
        .unwrap_or_else(|error| panic!("mariadb (Debian: mariadb-client-core): {error}"))
}

/// The command line of MariaDB as the user of the servers of `ringway demo`; what is to be executed
/// comes from whoever runs it.
pub(crate) fn mariadb_as_demo(address: SocketAddr) -> Command {
    let mut command = Command::new("mariadb");
    command
        .args(["--no-defaults", "--protocol=tcp", "--skip-ssl"])
        .args(["--host=127.0.0.1", "--user=demo"])
        .args(["--batch", "--skip-column-names"])
        .arg(format!("--port={}", address.port()))
        .stdin(Stdio::null());
    command
}

/// What a command line that was let in has printed.
#[track_caller]
pub(crate) fn said(output: &Output) -> String {
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{error}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// What one that was not let in has complained of.
#[track_caller]
pub(crate) fn refused(output: &Output) -> String {
    assert!(!output.status.success(), "it was let in");
    String::from_utf8_lossy(&output.stderr).into_owned()
}
