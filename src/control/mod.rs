//! The control plane: one thread on tokio-uring. Signals, reload, health checks, admin HTTP, logs.
//! Nothing here can stall a worker.

mod admin;
mod capacity;
mod connection;
mod cpus;
#[cfg(test)]
mod documented;
mod error;
mod files;
mod health;
mod listen;
mod log;
mod metrics;
mod mysql;
mod mysql_status;
mod notices;
mod plan;
mod port_holder;
mod process;
mod readiness;
mod registry;
mod reload;
mod requests;
mod resolve;
mod secrets;
mod shutdown;
mod signals;
mod start;
mod status;
mod stream;
#[cfg(test)]
mod testing;
mod timestamp;
mod tls;
mod totals;
mod traffic_log;

use std::path::Path;
use std::rc::Rc;

use tokio::time::interval;

pub use self::admin::serve as serve_admin;
pub use self::capacity::TooFewDescriptors;
pub use self::error::Error;
pub use self::health::{Checks, run as check_servers};
pub use self::listen::ListenError;
pub use self::metrics::{Kind, METRICS, Metric};
pub use self::mysql::{Findings, run as monitor_servers};
use self::process::Process;
pub use self::registry::{Lifecycle, Registry, Reloads};
use self::requests::Requests;
pub use self::resolve::{Complete, complete};
pub use self::secrets::Secrets;
use self::signals::{Signal, Signals};
pub use self::signals::{block as block_signals, hold_reloads};
pub use self::tls::{LoadedTls, TlsState};
pub use self::traffic_log::{LogCounters, LogRecord, LogWriter, OpenedLog};
use crate::config::{Config, Diagnostic, Errors};
use crate::limits::HOUSEKEEPING;

/// Runs until a signal ends it. `config_path` is what SIGHUP reads again; without one, SIGHUP ends
/// it as SIGTERM does.
///
/// A program that has started threads before has to have called [`block_signals`] before that. One
/// that can be asked to reload calls [`hold_reloads`] before it reads its configuration.
///
/// # Errors
/// Why it could not start, or had to stop.
pub fn run(config_path: Option<&Path>, config: Config) -> Result<(), Error> {
    let in_file = |errors: Errors| match config_path {
        Some(path) => errors.in_file(path),
        None => errors,
    };
    let tls = TlsState::new()?;
    // Names are looked up and files read before the signals that end the process are blocked: a resolver that
    // hangs can be interrupted.
    let mut complete = complete(config, &tls).map_err(in_file)?;
    block_signals()?;
    log::init(&complete.config.log);
    if let Some(path) = config_path {
        Diagnostic::name_file(&mut complete.warnings, path);
    }
    reload::log_warnings(&complete.warnings);
    let process = start::start(config_path, complete, tls)?;
    tokio_uring::start(serve(process))
}

/// Starts logging as a configuration says, and logs what may not be meant in it: for a log that
/// programs read. People are shown the place in the file.
pub fn log_warnings(config: &Config, warnings: &[Diagnostic]) {
    log::init(&config.log);
    reload::log_warnings(warnings);
}

async fn serve(mut process: Process) -> Result<(), Error> {
    let signals = Signals::new()?;
    let notices = notices::log(Rc::clone(&process.registry));
    tokio_uring::spawn(async {
        if let Err(error) = notices.await {
            tracing::error!("{error}");
        }
    });
    if let Some(listener) = process.admin.take() {
        tokio_uring::spawn(serve_admin(Rc::clone(&process.registry), listener));
    }
    tokio_uring::spawn(check_servers(Rc::clone(&process.registry)));
    tokio_uring::spawn(monitor_servers(Rc::clone(&process.registry)));
    let signal = operate(&mut process, &signals).await?;
    let ended = shutdown::run(&mut process, &signals, signal).await;
    process.access_log.finish();
    process.statement_log.finish();
    ended
}

/// Does what signals and the clock ask for, until a signal asks for the end: returns its name.
async fn operate(process: &mut Process, signals: &Signals) -> Result<&'static str, Error> {
    let path = process.config_path.clone();
    let tls = process.registry.borrow().tls_state.clone();
    let mut reloads = path.map(|path| Requests::new(move || reload::start_reading(&path, &tls)));
    let mut housekeeping = interval(HOUSEKEEPING);
    loop {
        tokio::select! {
            signal = signals.next() => match (signal?, &mut reloads) {
                (Signal::Shutdown(name), _) => return Ok(name),
                (Signal::Reload, Some(reloads)) => reloads.request(),
                // Nothing to read again: the terminal has gone, and the demo with it.
                (Signal::Reload, None) => return Ok("SIGHUP"),
            },
            read = requests::read(&mut reloads) => reload::finish(process, read),
            _ = housekeeping.tick() => {
                process.check_workers()?;
                process.forget_drained();
                process.look_after_tls();
            }
        }
    }
}
