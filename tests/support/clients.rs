//! Client libraries of the MySQL port, as `tests/all` fetches them. Each runs the same script against
//! whatever listens at an address, as `app` with the password `secret`; see `tests/clients`.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

/// A library, by how its script is run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Client {
    /// MySQL Connector/Python, in pure Python. It speaks no TLS here.
    ConnectorPython,
    /// mysql_async, of Rust.
    MysqlAsync,
    /// mysql2, of Node.js.
    NodeMysql2,
    /// PyMySQL.
    PyMysql,
}

impl Client {
    /// Runs its script, without TLS.
    #[track_caller]
    pub(crate) fn run(self, address: SocketAddr) -> Output {
        run(&mut self.command(address))
    }

    /// The same over TLS, with whom the authority of this file has signed a certificate for.
    #[track_caller]
    pub(crate) fn run_on_tls(self, address: SocketAddr, authority: &Path) -> Output {
        run(self.command(address).arg(authority))
    }

    #[track_caller]
    fn command(self, address: SocketAddr) -> Command {
        let port = address.port().to_string();
        match self {
            Self::ConnectorPython => script_of_python("connector_client", &port),
            Self::PyMysql => script_of_python("pymysql_client", &port),
            Self::NodeMysql2 => {
                let mut command = Command::new("node");
                command.arg(script("node/client.js"));
                command.args([&port, "node_client"]);
                command.arg(fetched("node/node_modules"));
                command
            }
            Self::MysqlAsync => {
                let mut command = Command::new(fetched("rust/debug/ringway-test-client"));
                command.args([&port, "rust_client"]);
                command
            }
        }
    }
}

/// Python that finds the libraries.
#[track_caller]
pub(crate) fn python() -> Command {
    let mut command = Command::new("python3");
    command
        .env("PYTHONPATH", fetched("python"))
        .env("PYTHONDONTWRITEBYTECODE", "1");
    command
}

/// Runs a program that `tests/all` has installed.
#[track_caller]
pub(crate) fn run(command: &mut Command) -> Output {
    let program = command.get_program().to_owned();
    command
        .stdin(Stdio::null())
        .output()
        .unwrap_or_else(|error| panic!("{program:?}, which tests/all installs: {error}"))
}

#[track_caller]
fn script_of_python(name: &str, port: &str) -> Command {
    let mut command = python();
    command
        .arg(script("python").join(name).with_extension("py"))
        .args([port, name]);
    command
}

/// What `tests/all` has fetched.
#[track_caller]
fn fetched(what: &str) -> PathBuf {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap();
    let path = target.join("clients").join(what);
    assert!(
        path.exists(),
        "{} is missing: tests/all fetches it, from the package registries",
        path.display()
    );
    path
}

fn script(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/clients")
        .join(path)
}
