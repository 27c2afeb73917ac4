//! One look at one server, over a connection that is kept for the next.

use std::sync::Arc;

use tokio::time::{Instant, timeout_at};
use zeroize::Zeroizing;

use crate::config::Address;
use crate::control::connection::{Connection, Leave};
use crate::control::stream::{Broken, Stream};
use crate::limits::MONITOR_READ_BYTES;
use crate::mysql::auth::Password;
use crate::mysql::monitor::{LookProgress, Monitor, MonitorError, Seen};
use crate::tls::policy::PoolPolicy;

/// How a server is spoken to over TLS: the pool's way, and the server's place in the pool.
#[derive(Clone)]
pub(super) struct Secrecy {
    pub(super) policy: Arc<PoolPolicy>,
    pub(super) member: usize,
}

/// Whom a server is asked as.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Account {
    pub(super) user: String,
    pub(super) password: Arc<Password>,
}

/// A connection on which the account has logged in, or is about to.
pub(super) struct Line {
    stream: Stream,
    monitor: Monitor,
    account: Account,
    /// `None`: in plain text.
    secrecy: Option<Secrecy>,
}

/// Why a look has told nothing.
#[derive(Debug, thiserror::Error)]
pub(super) enum LookFailure {
    #[error("no answer in time")]
    Timeout,
    #[error("closed the connection without an answer")]
    Closed,
    #[error(transparent)]
    Monitor(#[from] MonitorError),
    #[error(transparent)]
    Broken(#[from] Broken),
}

/// Looks at the server at `address` once. `line` is the connection of the look before, and gets the
/// one for the next.
pub(super) async fn look(
    line: &mut Option<Line>,
    address: &Address,
    account: &Account,
    secrecy: Option<Secrecy>,
    deadline: Instant,
) -> Result<Seen, LookFailure> {
    let looking = async {
        let kept = line.take().filter(|line| line.is_as(account, &secrecy));
        if let Some(kept) = kept
            && let Ok((seen, kept)) = kept.look_again().await
        {
            *line = Some(kept);
            return Ok(seen);
        }
        // None was kept, or the server has closed it since: that says nothing about the server.
        let (seen, fresh) = Line::look_first(address, account, secrecy).await?;
        *line = Some(fresh);
        Ok(seen)
    };
    let looked = timeout_at(deadline, looking).await;
    looked.unwrap_or(Err(LookFailure::Timeout))
}

impl Line {
    /// Whether this is how the server is to be spoken to.
    fn is_as(&self, account: &Account, secrecy: &Option<Secrecy>) -> bool {
        let is_as_secret = match (&self.secrecy, secrecy) {
            (None, None) => true,
            (Some(kept), Some(wanted)) => Arc::ptr_eq(&kept.policy, &wanted.policy),
            _ => false,
        };
        self.account == *account && is_as_secret
    }

    async fn look_first(
        address: &Address,
        account: &Account,
        secrecy: Option<Secrecy>,
    ) -> Result<(Seen, Self), LookFailure> {
        let connection = Connection::open(address, Leave::Orderly).await;
        let connection = connection.map_err(Broken::connecting)?;
        let password = Arc::clone(&account.password);
        let mut line = Self {
            stream: Stream::plain(connection),
            monitor: Monitor::new(&account.user, password, secrecy.is_some()),
            account: account.clone(),
            secrecy,
        };
        match line.greet().await? {
            Some(failure) if line.monitor.is_over() => Err(failure),
            failure => line.finish(failure).await,
        }
    }

    /// Answers the server's greeting over TLS, where it is to be spoken to so: nothing of the login
    /// leaves before the server has proved who it is. Returns why the look has failed already.
    async fn greet(&mut self) -> Result<Option<LookFailure>, LookFailure> {
        let Some(Secrecy { policy, member }) = self.secrecy.clone() else {
            return Ok(None);
        };
        let mut out = Zeroizing::new(Vec::new());
        while out.is_empty() {
            let heard = self.stream.receive(MONITOR_READ_BYTES).await?;
            if heard.is_empty() {
                return Err(LookFailure::Closed);
            }
            let progress = self.monitor.feed(&mut &heard[..], &mut out);
            if let LookProgress::Failed(error) = progress {
                // What there is to be said is the goodbye of nobody.
                self.stream.send(&out).await?;
                return Ok(Some(error.into()));
            }
        }
        let tls = policy.check(member, |_| true);
        let tls = tls.map_err(Broken::without_tls)?;
        self.stream.respond_over_tls(out, tls).await?;
        Ok(None)
    }

    async fn look_again(mut self) -> Result<(Seen, Self), LookFailure> {
        let mut out = Vec::new();
        self.monitor.look_again(&mut out);
        self.stream.send(&out).await?;
        self.finish(None).await
    }

    /// Hears what the server has to say, to the end of the look. A login that has failed is finished
    /// before the connection goes, or the server would count it against this host.
    async fn finish(
        mut self,
        mut failure: Option<LookFailure>,
    ) -> Result<(Seen, Self), LookFailure> {
        loop {
            let heard = match self.stream.receive(MONITOR_READ_BYTES).await {
                Ok(heard) if !heard.is_empty() => heard,
                Ok(_) => return Err(failure.unwrap_or(LookFailure::Closed)),
                Err(broken) => return Err(failure.unwrap_or(broken.into())),
            };
            let (mut input, mut out) = (&heard[..], Vec::new());
            let progress = self.monitor.feed(&mut input, &mut out);
            if !out.is_empty() {
                self.stream.send(&out).await?;
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
        self.stream.send_last(&self.monitor.goodbye());
    }
}
