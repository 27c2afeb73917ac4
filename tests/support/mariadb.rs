//! MariaDB servers of the tests' own, and its command line as a client.

use std::net::SocketAddr;
use std::process::{Child, Command, Output, Stdio};

use tempfile::TempDir;

use super::ports::Port;
use super::wait::until;

/// A server with a data directory of its own, in which `app` with the password `secret` may do
/// everything, and a database `shop`.
#[derive(Debug)]
pub(crate) struct MariaDb {
    child: Child,
    directory: TempDir,
    port: Port,
}

impl MariaDb {
    /// Starts a server with this `server_id` and these further options.
    #[track_caller]
    pub(crate) fn start(server_id: u32, options: &[&str]) -> Self {
        let directory = TempDir::with_prefix("ringway-test-mariadb-").unwrap();
        let data = format!("--datadir={}", directory.path().join("data").display());
        let install = Command::new("mariadb-install-db")
            .args(["--no-defaults", "--auth-root-authentication-method=normal"])
            .args([
                "--skip-test-db",
                "--user=root",
                "--innodb-log-file-size=8M",
                &data,
            ])
            .output()
            .unwrap_or_else(|error| {
                panic!("mariadb-install-db (Debian: mariadb-server-core): {error}")
            });
        assert!(install.status.success(), "{install:?}");
        let port = Port::reserve();
        let child = Command::new("mariadbd")
            .args([
                "--no-defaults",
                "--user=root",
                "--bind-address=127.0.0.1",
                &data,
            ])
            .args(["--innodb-log-file-size=8M", "--innodb-buffer-pool-size=16M"])
            .arg("--max-allowed-packet=64M")
            .arg(format!("--port={}", port.number()))
            .arg(format!(
                "--socket={}",
                directory.path().join("socket").display()
            ))
            .arg(format!("--server-id={server_id}"))
            .args(options)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap_or_else(|error| panic!("mariadbd (Debian: mariadb-server-core): {error}"));
        let server = Self {
            child,
            directory,
            port,
        };
        until("MariaDB answers", || {
            server.run("SELECT 1").status.success()
        });
        server.sql(
            "CREATE DATABASE shop;
             CREATE USER app@'%' IDENTIFIED BY 'secret';
             GRANT ALL ON *.* TO app@'%'",
        );
        server
    }

    /// A primary of `server_id` 1, and its read-only replica of `server_id` 2.
    #[track_caller]
    pub(crate) fn pair() -> [Self; 2] {
        let binlog = ["--log-bin", "--gtid-strict-mode=1"];
        let primary = Self::start(1, &binlog);
        let replica = Self::start(2, &[&binlog[..], &["--read-only=1"]].concat());
        primary.sql(
            "CREATE USER follower@'%' IDENTIFIED BY 'secret';
             GRANT REPLICATION SLAVE ON *.* TO follower@'%'",
        );
        replica.follow(&primary);
        [primary, replica]
    }

    /// Makes it a replica of another one, which has nothing else than a server has that was just
    /// started.
    #[track_caller]
    pub(crate) fn follow(&self, primary: &Self) {
        let position = primary.sql("SELECT @@gtid_current_pos");
        self.sql(&format!(
            "STOP SLAVE; RESET MASTER; SET GLOBAL gtid_slave_pos = '{}';
             CHANGE MASTER TO MASTER_HOST = '127.0.0.1', MASTER_PORT = {}, MASTER_USER = 'follower',
             MASTER_PASSWORD = 'secret', MASTER_CONNECT_RETRY = 1, MASTER_USE_GTID = slave_pos;
             START SLAVE",
            position.trim(),
            primary.port.number()
        ));
        until("the replica follows", || {
            let status = self.sql("SHOW SLAVE STATUS");
            status.split('\t').filter(|value| *value == "Yes").count() == 2
        });
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.port.v4()
    }

    /// Runs statements as its root, past everything; what they print.
    #[track_caller]
    pub(crate) fn sql(&self, statements: &str) -> String {
        let output = self.run(statements);
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// Ends it, without a goodbye.
    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    fn run(&self, statements: &str) -> Output {
        Command::new("mariadb")
            .args(["--no-defaults", "-uroot", "--batch", "--skip-column-names"])
            .arg(format!(
                "--socket={}",
                self.directory.path().join("socket").display()
            ))
            .arg("--execute")
            .arg(statements)
            .output()
            .unwrap_or_else(|error| panic!("mariadb (Debian: mariadb-client-core): {error}"))
    }
}

impl Drop for MariaDb {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
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
