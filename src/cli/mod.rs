//! The command line: one file per command.

mod check;
mod demo;
mod exit;
mod explain;
mod run;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::demo::Options;
use crate::mysql::Dialect;

/// A layer-4 load balancer for Linux: one thread per core, each with its own io_uring.
#[derive(Debug, Parser)]
#[command(name = "ringway", version, arg_required_else_help = true)]
#[command(after_help = "Example:\n  ringway run --config /etc/ringway/ringway.toml")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Balance connections as a configuration file says, until a signal ends it.
    ///
    /// SIGHUP reads the file again: established connections go on, and a file with an error changes
    /// nothing. SIGTERM and SIGINT stop accepting and let sessions finish for drain_timeout; a
    /// second one ends at once.
    #[command(after_help = "Example:\n  \
        ringway run --config /etc/ringway/ringway.toml")]
    Run(ConfigFile),
    /// Say everything that is wrong with a configuration file.
    ///
    /// Names of servers are resolved, too. Nothing is opened, and a running ringway is not touched.
    #[command(after_help = "Example:\n  \
        ringway check --config /etc/ringway/ringway.toml && systemctl reload ringway")]
    Check(ConfigFile),
    /// Show it all with nothing installed: two small web servers, a MySQL primary and its replica, a
    /// balancer, the admin port.
    ///
    /// Everything runs in this process, on loopback, without root. It prints what to try.
    #[command(after_help = "Example:\n  \
        ringway demo --port 8080 --admin-port 9900 --mysql-port 3307")]
    Demo(DemoPorts),
    /// Say where an SQL statement would go on a MySQL port, and why.
    ///
    /// Statements are arguments, or standard input has one JSON object a line, {"sql": "..."}. The
    /// answer is one JSON object a line: the target (primary, replica, both, last, intercept,
    /// refused), the reason as in the metrics, and the decisive word with its offset in bytes. Each
    /// statement is looked at by itself, in a session that has a replica. Nothing is connected to.
    #[command(after_help = "Examples:\n  \
        ringway explain --sql 'SELECT * FROM t FOR UPDATE' 'SHOW TABLES'\n  \
        ringway explain --sql --autocommit off 'SELECT 1'\n  \
        jq -cR '{sql: .}' statements.sql | ringway explain --sql\n\n\
        Exit code: 0, or 1 when a line of standard input could not be used.")]
    Explain(Explain),
}

#[derive(Debug, Args)]
struct ConfigFile {
    /// The configuration file, in TOML; config.example.toml explains every key.
    #[arg(short = 'c', long = "config", value_name = "FILE")]
    path: PathBuf,
}

#[derive(Debug, Args)]
struct DemoPorts {
    /// The balancer's port; the next free one if it is taken.
    #[arg(long, default_value_t = 8080)]
    port: u16,
    /// The balancer's port for HTTPS; the next free one if it is taken.
    #[arg(long, default_value_t = 8443)]
    https_port: u16,
    /// The admin port; the next free one if it is taken.
    #[arg(long, default_value_t = 9900)]
    admin_port: u16,
    /// The balancer's MySQL port; the next free one if it is taken.
    #[arg(long, default_value_t = 3307)]
    mysql_port: u16,
}

#[derive(Debug, Args)]
struct Explain {
    /// Explain SQL statements.
    #[arg(long, required = true)]
    sql: bool,
    /// The session has a transaction open on the primary.
    #[arg(long)]
    in_transaction: bool,
    /// Whether statements of the session commit by themselves.
    #[arg(long, value_enum, default_value_t = Switch::On)]
    autocommit: Switch,
    /// The session's sql_mode has ANSI_QUOTES: "x" is a name.
    #[arg(long)]
    ansi_quotes: bool,
    /// The session's sql_mode has NO_BACKSLASH_ESCAPES.
    #[arg(long)]
    no_backslash_escapes: bool,
    /// The statements; without any, standard input has them.
    statements: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Switch {
    On,
    Off,
}

impl Explain {
    fn run(&self) -> exit::Exit {
        let session = explain::Session {
            in_transaction: self.in_transaction,
            autocommit: self.autocommit == Switch::On,
            dialect: Dialect {
                ansi_quotes: self.ansi_quotes,
                no_backslash_escapes: self.no_backslash_escapes,
                multi_statements: true,
                ..Dialect::default()
            },
        };
        explain::explain(&self.statements, session)
    }
}

/// Does what the command line says.
pub fn main() -> ExitCode {
    let exit = match Cli::parse().command {
        Command::Run(file) => run::run(&file.path),
        Command::Check(file) => check::check(&file.path),
        Command::Demo(ports) => {
            let DemoPorts {
                port,
                https_port,
                admin_port,
                mysql_port,
            } = ports;
            demo::run(Options {
                port,
                https_port,
                admin_port,
                mysql_port,
            })
        }
        Command::Explain(explain) => explain.run(),
    };
    exit.into()
}
