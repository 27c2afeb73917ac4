//! MySQL 9 servers of the tests' own, and its command line as a client. Debian 12 has neither, so
//! they live in a folder of Debian unstable, which `tests/all` makes, and run below it by `chroot`.

use std::ffi::OsStr;
use std::fs;
use std::io::Write;
use std::net::SocketAddr;
use std::ops::{Deref, DerefMut};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::{OnceLock, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use tempfile::TempDir;

use super::authority::{Authority, Identity};
use super::sql_server::{Product, SqlServer, copy, fingerprint};

/// What is in every server's data directory from the beginning, one statement a line: a database
/// `shop`, where `app` with the password `secret` may do everything, and an account to replicate.
const CONTENT: &str = "CREATE DATABASE shop;
CREATE USER app@'%' IDENTIFIED BY 'secret';
GRANT ALL ON shop.* TO app@'%';
CREATE USER repl@'%' IDENTIFIED BY 'repl';
GRANT REPLICATION SLAVE ON *.* TO repl@'%';
";

/// Of servers that are small, and that nobody needs to survive the machine.
const OPTIONS: [&str; 11] = [
    "--no-defaults",
    "--user=root",
    "--secure-file-priv=NULL",
    "--mysqlx=OFF",
    "--performance-schema=OFF",
    "--innodb-redo-log-capacity=8M",
    "--innodb-buffer-pool-size=16M",
    "--innodb-flush-method=nosync",
    "--innodb-flush-log-at-trx-commit=2",
    "--innodb-doublewrite=OFF",
    "--sync-binlog=0",
];

/// Of servers that replicate.
const REPLICATING: [&str; 3] = [
    "--log-bin=bin",
    "--gtid-mode=ON",
    "--enforce-gtid-consistency=ON",
];

static PRODUCT: Product = Product {
    name: "MySQL 9",
    server: || in_root("/usr/sbin/mysqld"),
    options: &OPTIONS,
    client,
    path: inside,
};

/// A server with a database `shop`, in which `app` with the password `secret` may do everything.
#[derive(Debug)]
pub(crate) struct Mysql9(SqlServer);

/// A primary, whose `server_id` is 1, and its replica, 2, which follows by GTIDs and is read-only
/// for `app`.
#[derive(Debug)]
pub(crate) struct Mysql9Pair {
    /// Where writes belong.
    pub(crate) primary: Mysql9,
    /// Follows the primary.
    pub(crate) replica: Mysql9,
}

impl Mysql9Pair {
    /// The pair that the tests of one program share, which do not disturb each other.
    #[track_caller]
    pub(crate) fn shared() -> RwLockReadGuard<'static, Self> {
        let pair = Self::of_this_program().read();
        pair.unwrap_or_else(PoisonError::into_inner)
    }

    /// The same pair for a test that takes a server from the others for a time.
    #[track_caller]
    pub(crate) fn alone() -> RwLockWriteGuard<'static, Self> {
        let pair = Self::of_this_program().write();
        pair.unwrap_or_else(PoisonError::into_inner)
    }

    fn of_this_program() -> &'static RwLock<Self> {
        static PAIR: OnceLock<RwLock<Mysql9Pair>> = OnceLock::new();
        PAIR.get_or_init(|| RwLock::new(Self::start()))
    }

    fn start() -> Self {
        let primary = Mysql9::spawn(1, &[]);
        let replica = Mysql9::spawn(2, &["--read-only=ON", "--relay-log-recovery=ON"]);
        let pair = Self { primary, replica };
        for server in [&pair.primary, &pair.replica] {
            server.wait_until_it_answers();
            server.sql("INSTALL COMPONENT 'file://component_query_attributes'");
        }
        pair.replica.sql(&format!(
            "CHANGE REPLICATION SOURCE TO SOURCE_HOST='127.0.0.1', SOURCE_PORT={},
             SOURCE_USER='repl', SOURCE_PASSWORD='repl', SOURCE_AUTO_POSITION=1,
             GET_SOURCE_PUBLIC_KEY=1, SOURCE_CONNECT_RETRY=1, SOURCE_RETRY_COUNT=1000;
             START REPLICA",
            pair.primary.address().port()
        ));
        pair.replicate();
        pair
    }

    /// Waits until the replica has everything that the primary has.
    #[track_caller]
    pub(crate) fn replicate(&self) {
        let position = self.primary.sql("SELECT @@global.gtid_executed");
        let set = position.trim().replace("\\n", "");
        let wait = format!("SELECT WAIT_FOR_EXECUTED_GTID_SET('{set}', 20)");
        let state = || self.replica.sql("SHOW REPLICA STATUS");
        assert_eq!(self.replica.sql(&wait), "0\n", "{}", state());
    }

    /// Holds the replication back: the replica stays as it is until it is told otherwise.
    #[track_caller]
    pub(crate) fn hold_replication(&self) {
        self.replicate();
        self.replica.sql("STOP REPLICA SQL_THREAD");
    }

    /// Lets the replication go on, and waits for it.
    #[track_caller]
    pub(crate) fn release_replication(&self) {
        self.replica.sql("START REPLICA SQL_THREAD");
        self.replicate();
    }
}

impl Mysql9 {
    fn spawn(server_id: u32, options: &[&str]) -> Self {
        let directory = TempDir::with_prefix_in("ringway-test-mysql9-", root().join("tmp"));
        let directory = directory.unwrap();
        let data = directory.path().join("data");
        copy(template(), &data);
        // Every server gives itself an identity when it has none.
        fs::remove_file(data.join("auto.cnf")).unwrap();
        let file = |name| inside(&directory.path().join(name));
        let pid_file = format!("--pid-file={}", file("pid"));
        let log = format!("--log-error={}", file("log"));
        let options = [&[&*pid_file, &*log], &REPLICATING[..], options].concat();
        Self(SqlServer::spawn(&PRODUCT, directory, server_id, &options))
    }

    /// Has it know this account by heart, until it is started again.
    #[track_caller]
    pub(crate) fn make_known(&self, user: &str, password: &str) {
        let output = mysql9(self.address(), (user, password), &[], "DO 1");
        assert!(output.status.success(), "{output:?}");
    }

    /// Has it forget who has logged in: it wants the password itself from everybody, once.
    #[track_caller]
    pub(crate) fn forget_logins(&self) {
        self.sql("FLUSH LOCAL PRIVILEGES");
    }

    /// Has it show this certificate to new clients that ask for TLS, and after a restart.
    #[track_caller]
    pub(crate) fn show(&self, identity: &Identity, authority: &Authority) {
        let data = self.directory().join("data");
        let [certificate, key] = identity.files();
        fs::copy(certificate, data.join("server-cert.pem")).unwrap();
        fs::copy(key, data.join("server-key.pem")).unwrap();
        fs::copy(authority.file(), data.join("ca.pem")).unwrap();
        self.sql("ALTER INSTANCE RELOAD TLS");
    }

    /// Puts a copy of a file where programs of the folder find it; the path that they know it by.
    #[track_caller]
    pub(crate) fn place(&self, file: &Path) -> String {
        let placed = self.directory().join(file.file_name().unwrap());
        fs::copy(file, &placed).unwrap();
        inside(&placed)
    }

    /// Where programs of the folder find the public key under which it takes passwords.
    pub(crate) fn public_key(&self) -> String {
        inside(&self.directory().join("data/public_key.pem"))
    }
}

impl Deref for Mysql9 {
    type Target = SqlServer;

    fn deref(&self) -> &SqlServer {
        &self.0
    }
}

impl DerefMut for Mysql9 {
    fn deref_mut(&mut self) -> &mut SqlServer {
        &mut self.0
    }
}

/// The command line of MySQL 9 as this user, who knows this password, at this address; it reads the
/// statements from its input, so that its own commands are understood as well.
#[track_caller]
pub(crate) fn mysql9(
    address: SocketAddr,
    (user, password): (&str, &str),
    options: &[&str],
    input: &str,
) -> Output {
    let mut child = client()
        .args(["--protocol=tcp", "--host=127.0.0.1", "--ssl-mode=DISABLED"])
        .args(["--commands", "--get-server-public-key"])
        .arg(format!("--port={}", address.port()))
        .arg(format!("--user={user}"))
        .arg(format!("--password={password}"))
        .args(options)
        .arg("shop")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    // One that was refused reads nothing.
    let _ = stdin.write_all(input.as_bytes());
    drop(stdin);
    child.wait_with_output().unwrap()
}

/// The command line of MariaDB 11.8 as `app`, with nothing said of TLS: it insists on TLS, and on
/// knowing who it speaks with.
#[track_caller]
pub(crate) fn mariadb11(address: SocketAddr, options: &[&str], sql: &str) -> Output {
    const FOLDER: &str = "/opt/mariadb/usr";
    let mut command = in_root("/usr/bin/env");
    command
        .arg(format!("LD_LIBRARY_PATH={FOLDER}/lib/x86_64-linux-gnu"))
        .arg(format!("{FOLDER}/bin/mariadb"))
        .arg("--no-defaults")
        .arg(format!(
            "--plugin-dir={FOLDER}/lib/x86_64-linux-gnu/libmariadb3/plugin"
        ))
        .args(["--protocol=tcp", "--host=127.0.0.1", "--user=app"])
        .args(["--password=secret", "--batch", "--skip-column-names"])
        .arg(format!("--port={}", address.port()))
        .args(options)
        .args(["--execute", sql, "shop"])
        .output()
        .unwrap()
}

fn client() -> Command {
    let mut command = in_root("/usr/bin/mysql");
    command.args(["--no-defaults", "--no-login-paths"]);
    command.args(["--batch", "--skip-column-names"]);
    command
}

/// A program of the folder.
fn in_root(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new("chroot");
    command.arg(root()).arg(program).stdin(Stdio::null());
    command
}

/// The folder, which is kept with what cargo has built.
fn root() -> &'static Path {
    static ROOT: OnceLock<PathBuf> = OnceLock::new();
    ROOT.get_or_init(|| {
        let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap();
        let root = target.join("mysql9-root");
        let server = root.join("usr/sbin/mysqld");
        assert!(
            server.exists(),
            "MySQL 9 is missing: there is no {}; `tests/all`, as root, fetches it",
            server.display()
        );
        assert!(
            nix::unistd::geteuid().is_root(),
            "MySQL 9 runs by chroot, which only root may do"
        );
        root
    })
}

/// How a path of the folder reads for programs that run in it.
fn inside(path: &Path) -> String {
    format!("/{}", path.strip_prefix(root()).unwrap().display())
}

/// A data directory to be copied. Making one takes seconds, so it is kept in the folder, which has
/// one version of the server, for each content.
fn template() -> &'static Path {
    static TEMPLATE: OnceLock<PathBuf> = OnceLock::new();
    TEMPLATE.get_or_init(|| {
        let form = [&OPTIONS[..], &[CONTENT]].concat().concat();
        let name = fingerprint(form.as_bytes());
        let kept = root().join(format!("var/lib/ringway-test-{name}"));
        if !kept.exists() {
            make_template(&kept);
        }
        kept
    })
}

fn make_template(kept: &Path) {
    let made = TempDir::with_prefix_in("ringway-test-", kept.parent().unwrap()).unwrap();
    let content = made.path().join("content.sql");
    fs::write(&content, CONTENT).unwrap();
    let data = made.path().join("data");
    let initialized = in_root("/usr/sbin/mysqld")
        .args(OPTIONS)
        .arg("--initialize-insecure")
        .arg(format!("--init-file={}", inside(&content)))
        .arg(format!("--datadir={}", inside(&data)))
        .output()
        .unwrap();
    assert!(initialized.status.success(), "{initialized:?}");
    // If another program was faster, its template is as good.
    let _ = fs::rename(data, kept);
}
