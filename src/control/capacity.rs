//! How many sessions the process can have: what the descriptor limit leaves once listening sockets,
//! rings and pipes are taken off.

use std::fmt;

use nix::sys::resource::{Resource, getrlimit, setrlimit};

use crate::config::{Config, Listener, Protocol};
use crate::limits::{
    DESCRIPTORS_FOR_PIPES, DESCRIPTORS_PER_MYSQL_SESSION, DESCRIPTORS_PER_SESSION,
    DESCRIPTORS_PER_WORKER, DESCRIPTORS_RESERVED, SESSIONS_MAX,
};

/// Sessions in total, and what decided their number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Capacity {
    /// The most sessions at a time, over all workers, for the life of the process.
    pub(super) sessions_max: u32,
    /// Pipes one worker may have.
    pub(super) pipes_max: usize,
    /// Descriptors that sessions may have, together.
    descriptors: u64,
    bound: Bound,
}

/// What keeps the number of sessions from being higher.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Bound {
    /// The descriptor limit, which is this high.
    Descriptors(u64),
    /// `process.max_connections`.
    Configured,
    /// [`SESSIONS_MAX`].
    BuiltIn,
}

/// The descriptor limit is too low for even one session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the limit of {limit} descriptors is too low: listening sockets and workers alone need \
     {needed}; raise it with `ulimit -n` or LimitNOFILE= in the systemd unit, or set fewer workers"
)]
pub struct TooFewDescriptors {
    limit: u64,
    needed: u64,
}

impl Capacity {
    /// What `limit` descriptors allow, of which a session needs `per_session`, and
    /// `max_connections` lowers.
    pub(super) fn new(
        limit: u64,
        workers: usize,
        listening_sockets: usize,
        max_connections: Option<u32>,
        per_session: u64,
    ) -> Result<Self, TooFewDescriptors> {
        let workers = workers as u64;
        let standing =
            DESCRIPTORS_RESERVED + workers * DESCRIPTORS_PER_WORKER + listening_sockets as u64;
        // Pipes make bulk cheaper and nothing depends on them: under a low limit they may take a
        // quarter, and sessions get the rest.
        let pipes = (workers * DESCRIPTORS_FOR_PIPES).min(limit / 4);
        let descriptors = limit.saturating_sub(standing + pipes);
        let sessions = descriptors / per_session;
        if sessions == 0 {
            let needed = standing + pipes + per_session;
            return Err(TooFewDescriptors { limit, needed });
        }
        let mut capacity = Self {
            sessions_max: u32::try_from(sessions).unwrap_or(u32::MAX),
            pipes_max: (pipes / workers.max(1) / 2) as usize,
            descriptors,
            bound: Bound::Descriptors(limit),
        };
        capacity.lower(SESSIONS_MAX, Bound::BuiltIn);
        if let Some(configured) = max_connections {
            capacity.lower(configured, Bound::Configured);
        }
        Ok(capacity)
    }

    /// What remains of [`Self::sessions_max`] for a configuration whose sessions need this many
    /// descriptors: a reload may bring the first mysql listener.
    pub(super) fn sessions_with(&self, per_session: u64) -> u32 {
        let sessions = u32::try_from(self.descriptors / per_session).unwrap_or(u32::MAX);
        sessions.clamp(1, self.sessions_max)
    }

    fn lower(&mut self, sessions: u32, bound: Bound) {
        if sessions < self.sessions_max {
            (self.sessions_max, self.bound) = (sessions, bound);
        }
    }
}

impl fmt::Display for Capacity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sessions = self.sessions_max;
        match self.bound {
            Bound::Descriptors(limit) => {
                write!(
                    f,
                    "at most {sessions} sessions (the limit is {limit} descriptors)"
                )
            }
            Bound::Configured => {
                write!(f, "at most {sessions} sessions (process.max_connections)")
            }
            Bound::BuiltIn => write!(f, "at most {sessions} sessions (built in)"),
        }
    }
}

/// Descriptors that a session may hold. Which listener gets how many of the sessions is up to
/// clients, so where there is a mysql listener, every session may be one of its.
pub(super) fn descriptors_per_session(config: &Config) -> u64 {
    let is_mysql = |listener: &Listener| listener.protocol == Protocol::Mysql;
    match config.listeners.iter().any(is_mysql) {
        true => DESCRIPTORS_PER_MYSQL_SESSION,
        false => DESCRIPTORS_PER_SESSION,
    }
}

/// Raises the soft limit on descriptors to the hard one, and returns what then holds.
///
/// # Errors
/// When the limit cannot be read: getrlimit(2).
pub(super) fn raise_descriptor_limit() -> nix::Result<u64> {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    // It fails where the hard limit is above fs.nr_open; the soft one then has to do.
    match setrlimit(Resource::RLIMIT_NOFILE, hard, hard) {
        Ok(()) => Ok(hard),
        Err(_) => Ok(soft),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sessions(limit: u64, workers: usize, sockets: usize) -> Option<u32> {
        let capacity = Capacity::new(limit, workers, sockets, None, 2);
        capacity.ok().map(|c| c.sessions_max)
    }

    #[test]
    fn a_limit_of_1024_carries_a_few_hundred_sessions() {
        assert_eq!(sessions(1024, 1, 1), Some((1024 - 64 - 4 - 1 - 128) / 2));
        assert_eq!(sessions(1024, 2, 2), Some((1024 - 64 - 8 - 2 - 256) / 2));
        assert_eq!(
            sessions(1024, 64, 64),
            Some((1024 - 64 - 256 - 64 - 256) / 2)
        );
    }

    #[test]
    fn a_limit_without_room_for_a_session_is_refused_with_what_is_needed() {
        let refused = Capacity::new(64, 1, 1, None, 2).unwrap_err();
        assert_eq!(
            refused,
            TooFewDescriptors {
                limit: 64,
                needed: 64 + 4 + 1 + 16 + 2
            }
        );
        assert!(sessions(90, 1, 1).is_none());
        assert!(sessions(100, 1, 1).is_some());
    }

    #[test]
    fn the_configuration_lowers_it_and_never_raises_it() {
        let lowered = Capacity::new(1024, 1, 1, Some(10), 2).unwrap();
        assert_eq!(lowered.sessions_max, 10);
        assert!(lowered.to_string().contains("process.max_connections"));
        let kept = Capacity::new(1024, 1, 1, Some(1_000_000), 2).unwrap();
        assert!(kept.to_string().contains("1024 descriptors"));
    }

    #[test]
    fn a_limit_of_a_billion_does_not_size_the_slabs() {
        let docker = Capacity::new(1_073_741_816, 4, 4, None, 2).unwrap();
        assert_eq!(docker.sessions_max, SESSIONS_MAX);
    }

    #[test]
    fn a_session_with_two_servers_takes_three_descriptors() {
        let mysql = Capacity::new(1024, 1, 1, None, 3).unwrap();
        assert_eq!(mysql.sessions_max, (1024 - 64 - 4 - 1 - 128) / 3);
        let tcp = Capacity::new(1024, 1, 1, None, 2).unwrap();
        assert_eq!(tcp.sessions_with(3), mysql.sessions_max);
        assert_eq!(tcp.sessions_with(2), tcp.sessions_max);
        assert_eq!(
            mysql.sessions_with(2),
            mysql.sessions_max,
            "no slots were made for more"
        );
        let few = Capacity::new(1024, 1, 1, Some(10), 2).unwrap();
        assert_eq!(few.sessions_with(3), 10);
    }
}
