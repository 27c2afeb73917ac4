//! One look at one server, over a connection that is kept for the next.

use std::io;
use std::sync::Arc;

use tokio::time::{Instant, timeout_at};

use crate::config::Address;
use crate::control::connection::{Connection, Leave};
use crate::control::health::is_of_this_host;
use crate::limits::MONITOR_READ_BYTES;
use crate::mysql::auth::Password;
use crate::mysql::monitor::{LookProgress, Monitor, MonitorError, Seen};

/// Whom a server is asked as.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Account {
    pub(super) user: String,
    pub(super) password: Arc<Password>,
}

/// A connection on which the account has logged in, or is about to.
pub(super) struct Line {
    connection: Connection,
    monitor: Monitor,
    account: Account,
}

/// Why a look has told nothing.
#[derive(Debug, thiserror::Error)]
pub(super) enum LookFailure {
    #[error("connecting failed: {0}")]
    Connect(io::Error),
    #[error("no answer in time")]
    Timeout,
    #[error("connected, then: {0}")]
    Lost(io::Error),
    #[error("closed the connection without an answer")]
    Closed,
    #[error(transparent)]
    Monitor(#[from] MonitorError),
    /// This host could not look.
    #[error("could not be looked at: {0}")]
    Host(io::Error),
}

/// Looks at the server at `address` once. `line` is the connection of the look before, and gets the
/// one for the next.
pub(super) async fn look(
    line: &mut Option<Line>,
    address: &Address,
    account: &Account,
    deadline: Instant,
) -> Result<Seen, LookFailure> {
    let looking = async {
        let kept = line.take().filter(|line| line.account == *account);
        if let Some(kept) = kept
            && let Ok((seen, kept)) = kept.look_again().await
        {
            *line = Some(kept);
            return Ok(seen);
        }
        // None was kept, or the server has closed it since: that says nothing about the server.
        let (seen, fresh) = Line::look_first(address, account).await?;
        *line = Some(fresh);
        Ok(seen)
    };
    let looked = timeout_at(deadline, looking).await;
    looked.unwrap_or(Err(LookFailure::Timeout))
}

impl Line {
    async fn look_first(address: &Address, account: &Account) -> Result<(Seen, Self), LookFailure> {
        let connection = Connection::open(address, Leave::Orderly).await;
        let connection = connection.map_err(|error| match is_of_this_host(&error) {
            true => LookFailure::Host(error),
            false => LookFailure::Connect(error),
        })?;
        let password = Arc::clone(&account.password);
        let line = Self {
            connection,
            monitor: Monitor::new(&account.user, password),
            account: account.clone(),
        };
        line.finish().await
    }

    async fn look_again(mut self) -> Result<(Seen, Self), LookFailure> {
        let mut out = Vec::new();
        self.monitor.look_again(&mut out);
        self.connection.send(out).await.map_err(LookFailure::Lost)?;
        self.finish().await
    }

    /// Hears what the server has to say, to the end of the look. A login that has failed is finished
    /// before the connection goes, or the server would count it against this host.
    async fn finish(mut self) -> Result<(Seen, Self), LookFailure> {
        let mut failure = None;
        loop {
            let heard = self.connection.receive(MONITOR_READ_BYTES).await;
            let heard = match heard {
                Ok(heard) if !heard.is_empty() => heard,
                Ok(_) => return Err(failure.unwrap_or(LookFailure::Closed)),
                Err(error) => return Err(failure.unwrap_or(LookFailure::Lost(error))),
            };
            let (mut input, mut out) = (&heard[..], Vec::new());
            let progress = self.monitor.feed(&mut input, &mut out);
            if !out.is_empty() {
                self.connection.send(out).await.map_err(LookFailure::Lost)?;
            }
            match progress {
                LookProgress::Waiting => {}
                LookProgress::Seen(seen) => return Ok((seen, self)),
                LookProgress::Failed(error) => failure = Some(error.into()),
            }
            if failure.is_some() && self.monitor.is_over() {
                return Err(failure.unwrap_or(LookFailure::Closed));
            }
        }
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        self.connection.send_last(&self.monitor.goodbye());
    }
}
