//! The command line: one file per command.

mod check;
mod demo;
mod exit;
mod run;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

use crate::demo::Options;

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
    /// Show it all with nothing installed: two small web servers, a balancer, the admin port.
    ///
    /// Everything runs in this process, on loopback, without root. It prints what to try.
    #[command(after_help = "Example:\n  \
        ringway demo --port 8080 --admin-port 9900")]
    Demo(DemoPorts),
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
    /// The admin port; the next free one if it is taken.
    #[arg(long, default_value_t = 9900)]
    admin_port: u16,
}

/// Does what the command line says.
pub fn main() -> ExitCode {
    let exit = match Cli::parse().command {
        Command::Run(file) => run::run(&file.path),
        Command::Check(file) => check::check(&file.path),
        Command::Demo(ports) => {
            let DemoPorts { port, admin_port } = ports;
            demo::run(Options { port, admin_port })
        }
    };
    exit.into()
}
