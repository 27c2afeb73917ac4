//! The end of the process: leave, drain, stop. A second signal skips what is left of it.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::process::{Process, Sockets, Workers};
use super::signals::{Signal, Signals};
use super::{Error, Lifecycle};
use crate::config::format_duration;
use crate::limits::{RING_DRAIN, SHUTDOWN_POLL, STOP_GRACE};
use crate::worker::{Command, Route, Snapshot, StopReason};

/// How a wait ended.
enum Waited {
    /// What was waited for has come.
    Done,
    /// The time was up.
    TimedOut,
    /// The operator does not want to wait.
    Signal,
}

/// Ends the process after `signal`: everyone who asks whether to send more traffic is told no,
/// then nothing is accepted, then sessions may finish, then they are cut.
pub(super) async fn run(
    process: &mut Process,
    signals: &Signals,
    signal: &'static str,
) -> Result<(), Error> {
    let times = process.registry.borrow().config.process.clone();
    let (delay, drain) = (times.shutdown_delay, times.drain_timeout);
    process.registry.borrow_mut().lifecycle = Lifecycle::Leaving;
    if !delay.is_zero() {
        tracing::info!(
            "{signal}: no longer ready, accepting for another {}",
            format_duration(delay)
        );
        let ended = |workers: &Workers| workers.ended().is_some();
        match wait(process, signals, delay, ended).await? {
            Waited::TimedOut => {}
            Waited::Done => return process.check_workers(),
            Waited::Signal => return stop(process, StopReason::Signal, Duration::ZERO).await,
        }
    }

    stop_accepting(process);
    tracing::info!(
        "{signal}: accepting no more; {} left, at most {} to finish",
        sessions(process.shared().total.taken()),
        format_duration(drain),
    );
    let started = Instant::now();
    match wait(process, signals, drain, Workers::all_ended).await? {
        Waited::Done => {
            tracing::info!("ringway has ended, no session was cut");
            Ok(())
        }
        Waited::TimedOut => stop(process, StopReason::DrainTimeout, started.elapsed()).await,
        Waited::Signal => stop(process, StopReason::Signal, started.elapsed()).await,
    }
}

async fn wait(
    process: &Process,
    signals: &Signals,
    limit: Duration,
    done: impl Fn(&Workers) -> bool,
) -> Result<Waited, Error> {
    let started = Instant::now();
    loop {
        if done(&process.workers) {
            return Ok(Waited::Done);
        }
        let left = limit.saturating_sub(started.elapsed());
        if left.is_zero() {
            return Ok(Waited::TimedOut);
        }
        tokio::select! {
            signal = signals.next() => match signal? {
                Signal::Shutdown(_) => return Ok(Waited::Signal),
                Signal::Reload => tracing::warn!("SIGHUP is ignored: ringway is shutting down"),
            },
            () = sleep(left.min(SHUTDOWN_POLL)) => {}
        }
    }
}

/// Lets go of every listening socket and has the workers end with their last session.
///
/// The control thread's own hold on the sockets has to go, too: one that nobody accepts on would
/// still take connections, to let them hang until the process ends.
fn stop_accepting(process: &mut Process) {
    let mut registry = process.registry.borrow_mut();
    registry.lifecycle = Lifecycle::Draining;
    let shared = Arc::clone(&registry.shared);
    shared.publish(without_sockets(&registry.snapshot));
    registry.snapshot = shared.snapshot();
    process.sockets = Sockets::default();
    shared.command_all(&Command::Drain);
}

fn without_sockets(snapshot: &Snapshot) -> Snapshot {
    let generation = snapshot.generation + 1;
    let route = |route: &Arc<Route>| {
        Arc::new(Route {
            listener: Arc::clone(&route.listener),
            generation,
            pool: Arc::clone(&route.pool),
            sockets: Vec::new(),
            mysql: route.mysql.clone(),
            tls: route.tls.clone(),
        })
    };
    Snapshot {
        generation,
        listeners: snapshot.listeners.iter().map(route).collect(),
        coalesce: snapshot.coalesce,
        access_log: snapshot.access_log,
        statement_log: snapshot.statement_log,
    }
}

/// Ends every session now.
async fn stop(process: &mut Process, reason: StopReason, after: Duration) -> Result<(), Error> {
    let shared = process.shared();
    process.registry.borrow_mut().lifecycle = Lifecycle::Draining;
    process.sockets = Sockets::default();
    let cut = sessions(shared.total.taken());
    let why = match reason {
        StopReason::DrainTimeout => "drain_timeout",
        StopReason::Signal => "a second signal",
    };
    tracing::warn!(
        "{why}: {cut} cut after {}",
        format_duration(whole_ms(after))
    );
    shared.command_all(&Command::Stop(reason));
    let started = Instant::now();
    while !process.workers.all_ended() {
        if started.elapsed() > RING_DRAIN + STOP_GRACE {
            tracing::error!("workers that were told to stop still run: ending without them");
            break;
        }
        sleep(SHUTDOWN_POLL).await;
    }
    Ok(())
}

fn sessions(number: u32) -> String {
    match number {
        1 => "1 session".to_owned(),
        _ => format!("{number} sessions"),
    }
}

/// Nobody wants to read nanoseconds.
fn whole_ms(duration: Duration) -> Duration {
    Duration::from_millis(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX))
}
