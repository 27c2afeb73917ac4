//! Who ended a session, in which phase, and why: one enum each, which are the log fields and the
//! metric labels. `docs/metrics.md` lists them; a test holds it to that.

/// An enum whose variants are numbered from 0 and have one spelling for logs and metrics.
macro_rules! labels {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident => $label:literal,)+ }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[repr(u8)]
        pub enum $name { $($(#[$variant_doc])* $variant,)+ }

        impl $name {
            /// Every variant, in the order of its number.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// The spelling in logs and metrics.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $label,)+ }
            }

            /// The position in [`Self::ALL`].
            pub const fn index(self) -> usize {
                self as usize
            }
        }
    };
}

labels! {
    /// Who is to blame for the end of a session.
    Who {
        /// The client: it finished, reset, or stopped answering.
        Client => "client",
        /// The server: the same, or it could not be reached.
        Server => "server",
        /// The person who runs ringway: a shutdown, a removed server, a limit they set.
        Operator => "operator",
        /// ringway itself, or the host it runs on: a timeout, a shortage.
        Ringway => "ringway",
    }
}

labels! {
    /// How far a session had come when it ended.
    Phase {
        /// No server had been reached.
        Connect => "connect",
        /// Both sides could send.
        Relay => "relay",
        /// One side had finished sending.
        HalfClosed => "half_closed",
    }
}

labels! {
    /// Which way bytes went, seen from the client's side of ringway.
    Direction {
        /// From the client to the server.
        In => "in",
        /// From the server to the client.
        Out => "out",
    }
}

labels! {
    /// Why a session ended.
    Reason {
        /// Both sides finished sending and all of it was delivered.
        Finished => "finished",
        /// One side reset the connection.
        Reset => "reset",
        /// A peer stopped acknowledging: `TCP_USER_TIMEOUT` or keepalive gave up on it.
        PeerStalled => "peer_stalled",
        /// The network to a peer failed in another way.
        NetworkError => "network_error",
        /// No progress in either direction for `idle_timeout`.
        IdleTimeout => "idle_timeout",
        /// No progress for `half_close_timeout` after one side had finished sending.
        HalfCloseTimeout => "half_close_timeout",
        /// Every server that was tried refused, was unreachable, or did not answer in time.
        ConnectFailed => "connect_failed",
        /// `connect_deadline` passed before a server answered.
        ConnectDeadline => "connect_deadline",
        /// Every server of the pool is held down by its active check.
        NoServer => "no_server",
        /// Every server that could take the session is at its `max_connections`.
        ServersFull => "servers_full",
        /// The host has no source port left towards the server.
        OutOfPorts => "out_of_ports",
        /// No descriptor was left for the server's socket.
        OutOfDescriptors => "out_of_descriptors",
        /// The kernel had no memory for an operation.
        OutOfMemory => "out_of_memory",
        /// `drain_timeout` passed after SIGTERM.
        DrainTimeout => "drain_timeout",
        /// A second signal ended the process at once.
        Stopped => "stopped",
        /// The server was removed from the configuration and `removed_server_timeout` passed.
        ServerRemoved => "server_removed",
        /// An operation failed in a way that is not expected: a fault of ringway's.
        Internal => "internal",
    }
}

labels! {
    /// Why one try to connect to a server failed.
    ConnectError {
        /// Connection refused, or the unix socket does not exist.
        Refused => "refused",
        /// Reset while connecting.
        Reset => "reset",
        /// No answer within `connect_timeout`.
        Timeout => "timeout",
        /// No route, host or network down.
        Unreachable => "unreachable",
        /// No source port left: not the server's fault.
        OutOfPorts => "out_of_ports",
        /// The host refused the attempt (a firewall rule, a missing permission): not the server's
        /// fault.
        Denied => "denied",
        /// Anything else.
        Other => "other",
    }
}

impl ConnectError {
    /// Whether the failure speaks against the server and counts towards `max_fails`.
    pub const fn blames_server(self) -> bool {
        match self {
            Self::Refused | Self::Reset | Self::Timeout | Self::Unreachable => true,
            Self::OutOfPorts | Self::Denied | Self::Other => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_label_has_its_own_number_and_spelling() {
        for (i, reason) in Reason::ALL.iter().enumerate() {
            assert_eq!(reason.index(), i);
            assert!(
                reason
                    .as_str()
                    .bytes()
                    .all(|b| b.is_ascii_lowercase() || b == b'_')
            );
        }
        let mut spellings: Vec<_> = Reason::ALL.iter().map(|r| r.as_str()).collect();
        spellings.sort_unstable();
        spellings.dedup();
        assert_eq!(spellings.len(), Reason::ALL.len());
    }
}
