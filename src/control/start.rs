//! From a configuration to a running process: limits, sockets, the first snapshot, the workers.

use std::cell::RefCell;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;

use super::capacity::{Capacity, descriptors_per_session, raise_descriptor_limit};
use super::cpus::{Cpus, WorkerCpus};
use super::plan::{Known, plan};
use super::process::{Fixed, Process, Sockets, Workers};
use super::{Complete, Error, LogWriter, OpenedLog, Registry, TlsState, listen, port_holder};
use crate::config::{Address, Admin, Config};
use crate::worker::{self, Features, Placement, Shared};

/// Starts everything but the control thread's own loop. Signals are blocked.
pub(super) fn start(
    config_path: Option<&Path>,
    complete: Complete,
    tls: TlsState,
) -> Result<Process, Error> {
    let features = worker::probe()?;
    let config = &complete.config;
    let cpus = Cpus::detect().place(config.process.workers, config.process.pin_workers);
    let capacity = capacity(config, cpus.0.len())?;
    let mut process = prepare(config_path, (complete, tls), cpus.0.len(), capacity)?;
    process.workers = spawn(&process.shared(), &cpus, capacity, features)?;
    announce(&process, &cpus, capacity);
    Ok(process)
}

/// The process as it is before its worker threads run.
pub(super) fn prepare(
    config_path: Option<&Path>,
    (complete, tls_state): (Complete, TlsState),
    workers: usize,
    capacity: Capacity,
) -> Result<Process, Error> {
    let nothing = Known {
        workers,
        ..Known::default()
    };
    let plan = plan(&nothing, &complete);
    let Complete {
        config,
        secrets,
        tls,
        ..
    } = complete;
    let mut sockets = Sockets::default();
    let opened = listen::bind_all_at_start(&plan.open, workers)?;
    let access_log = OpenedLog::access(config.access_log.as_ref())?;
    let statement_log = OpenedLog::statements(config.statement_log.as_ref())?;
    let admin = config.admin.as_ref().map(listen_for_admin).transpose()?;
    // Last: who has connected would be reset if anything failed after it.
    listen::listen_on(&plan.open, &opened)?;
    let addresses = plan.open.iter().map(|request| request.address.clone());
    sockets.open.extend(addresses.zip(opened));

    plan.set_roles(&config);
    let snapshot = plan.snapshot(1, &config, |address| &sockets.open[address].socket);
    let shared = Shared::new(snapshot, workers, capacity.sessions_max)
        .map_err(Error::internal("cannot make the workers' mailboxes"))?;
    let shared = Arc::new(shared);
    let access_log = LogWriter::start(Arc::clone(&shared), access_log)
        .map_err(Error::internal("cannot start the access log's thread"))?;
    let statement_log = LogWriter::start(Arc::clone(&shared), statement_log)
        .map_err(Error::internal("cannot start the statement log's thread"))?;
    let mut registry = Registry::new(Arc::clone(&shared), config, plan.pools, tls_state);
    registry.secrets = secrets;
    registry.tls = tls;
    registry.pool_tls = plan.pool_tls;
    registry.access_log = access_log.counters();
    registry.statement_log = statement_log.counters();
    Ok(Process {
        sockets,
        admin,
        access_log,
        statement_log,
        workers: Workers(Vec::new()),
        fixed: Fixed {
            process: registry.config.process.clone(),
            admin: registry.config.admin.clone(),
            log_format: registry.config.log.format,
            capacity,
        },
        published_at_ms: shared.now_ms(),
        config_path: config_path.map(Path::to_owned),
        registry: Rc::new(RefCell::new(registry)),
    })
}

fn listen_for_admin(admin: &Admin) -> Result<TcpListener, Error> {
    TcpListener::bind(admin.listen).map_err(|cause| Error::Open {
        what: format!("cannot listen on the admin address {}", admin.listen),
        cause: with_holder(cause, admin.listen),
    })
}

/// Names who has the port, where that is what is wrong.
fn with_holder(cause: io::Error, address: SocketAddr) -> io::Error {
    if cause.kind() != io::ErrorKind::AddrInUse {
        return cause;
    }
    match port_holder::find(address) {
        Some(holder) => io::Error::new(cause.kind(), format!("{cause}; {}", holder.advice())),
        None => cause,
    }
}

fn capacity(config: &Config, workers: usize) -> Result<Capacity, Error> {
    let limit =
        raise_descriptor_limit().map_err(Error::internal("cannot read the descriptor limit"))?;
    let addresses = config
        .listeners
        .iter()
        .flat_map(|listener| &listener.listen);
    let listening_sockets = addresses
        .map(|address| match address {
            Address::Tcp(_) => workers,
            Address::Unix(_) => 1,
        })
        .sum();
    let max_connections = config.process.max_connections;
    Ok(Capacity::new(
        limit,
        workers,
        listening_sockets,
        max_connections,
        descriptors_per_session(config),
    )?)
}

/// Any worker may get all of the sessions: the kernel spreads connections by their addresses, and
/// clients behind one address need not be spread at all. So each has room for all.
fn spawn(
    shared: &Arc<Shared>,
    cpus: &WorkerCpus,
    capacity: Capacity,
    features: Features,
) -> Result<Workers, Error> {
    let Capacity {
        sessions_max,
        pipes_max,
        ..
    } = capacity;
    let start = |(index, &cpu)| {
        let placement = Placement {
            index,
            cpu,
            sessions_max,
            pipes_max,
            features,
        };
        worker::spawn(shared, placement)
    };
    let threads: Result<Vec<_>, _> = cpus.0.iter().enumerate().map(start).collect();
    Ok(Workers(
        threads.map_err(Error::internal("cannot start a worker"))?,
    ))
}

/// The one record that says what runs and what the host allows.
fn announce(process: &Process, cpus: &WorkerCpus, capacity: Capacity) {
    let config = &process.registry.borrow().config;
    let bound = |address| process.sockets.open[address].socket.address.to_string();
    let listeners = config.listeners.iter().map(|listener| {
        let addresses: Vec<_> = listener.listen.iter().map(bound).collect();
        format!("{} on {}", listener.name, addresses.join(" "))
    });
    let listeners: Vec<_> = listeners.collect();
    let admin = config.admin.as_ref().map_or_else(
        || "no admin port".to_owned(),
        |admin| format!("admin on http://{}", admin.listen),
    );
    tracing::info!(
        "ringway {} ready: {}; {cpus}; {capacity}; {admin}",
        env!("CARGO_PKG_VERSION"),
        listeners.join(", "),
    );
}
