//! Who ended a session, in which phase, and why, and why a statement went where it went: one enum
//! each, which are the log fields and the metric labels. `docs/metrics.md` lists them; a test holds
//! it to that.

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

pub(super) use labels;

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
        /// A client had not finished its TLS handshake, or not named its server.
        Handshake => "handshake",
        /// No server had been reached.
        Connect => "connect",
        /// A MySQL client had not logged in.
        Login => "login",
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
        /// The login of a MySQL client failed: refused, or not finished.
        LoginFailed => "login_failed",
        /// `login_timeout` passed before a MySQL client had logged in.
        LoginTimeout => "login_timeout",
        /// `max_unauthenticated_sessions` MySQL clients were logging in already.
        TooManyLogins => "too_many_logins",
        /// `KILL` ended the MySQL session.
        Killed => "killed",
        /// The server was lost that a MySQL session cannot go on without.
        ServerLost => "server_lost",
        /// A server did not keep to the MySQL protocol.
        ProtocolViolation => "protocol_violation",
        /// A TLS handshake failed, or was broken off.
        TlsHandshake => "tls_handshake",
        /// A TLS client had not finished its handshake within `tls.handshake_timeout`.
        TlsHandshakeTimeout => "tls_handshake_timeout",
        /// What a client sent to a TLS listener is not TLS.
        NotTls => "not_tls",
        /// What a peer sent in a TLS session cannot be decrypted, or breaks the protocol.
        TlsBroken => "tls_broken",
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
        /// The server's side of a TLS handshake failed: no TLS, nothing in common, or a certificate
        /// that is not accepted.
        Tls => "tls",
        /// A MySQL server that takes nobody: an error in place of its greeting (too many connections,
        /// this host is blocked), or too many connections after it.
        TurnedAway => "turned_away",
        /// Anything else.
        Other => "other",
    }
}

labels! {
    /// Why a statement of a MySQL session went where it went. The first ones are about what the
    /// statement is, the last ones about the session.
    RouteReason {
        /// A read that changes nothing: to the replica.
        PlainRead => "plain_read",
        /// `SHOW` of what replication keeps the same: to the replica.
        Show => "show",
        /// `EXPLAIN` or `DESCRIBE` of a read or a table: to the replica.
        Explain => "explain",
        /// The state of the session: to both, and the client gets the primary's answer.
        SessionState => "session_state",
        /// It asks about the statement before: to the server that ran that one.
        Diagnostics => "diagnostics",
        /// `KILL`: ringway knows which connection is meant.
        Kill => "kill",
        /// No statement at all.
        Empty => "empty",
        /// Longer than `classify_bytes_max`.
        TooLong => "too_long",
        /// Text that cannot be read, or can be read in two ways.
        NotUnderstood => "not_understood",
        /// `/*! */` or `/*M! */` with more in it than hints.
        ExecutableComment => "executable_comment",
        /// More than one statement.
        MultiStatement => "multi_statement",
        /// A hint asks for the primary.
        HintPrimary => "hint_primary",
        /// A hint lifts a doubt: to the replica.
        HintReplica => "hint_replica",
        /// `LAST_INSERT_ID()`, `@@identity`: the primary's connection knows.
        LastInsertId => "last_insert_id",
        /// `CONNECTION_ID()`: clients know the one of the primary.
        ConnectionId => "connection_id",
        /// `GET_LOCK()` and its family, or a lock that is held.
        NamedLock => "named_lock",
        /// A sequence is read or moved.
        Sequence => "sequence",
        /// Positions of the replication.
        Gtid => "gtid",
        /// A server's own state: its variables, status, processes, files.
        ServerState => "server_state",
        /// `FOR UPDATE`, `FOR SHARE`, `LOCK IN SHARE MODE`.
        LockingRead => "locking_read",
        /// A read with `INTO`.
        Into => "into",
        /// `:=` in a statement.
        AssignsVariable => "assigns_variable",
        /// `PROCEDURE ANALYSE`.
        ProcedureAnalyse => "procedure_analyse",
        /// A call of a function that is not built in, or that has a schema.
        UnknownFunction => "unknown_function",
        /// A user variable that only the primary's connection knows.
        UserVariable => "user_variable",
        /// `EXPLAIN ANALYZE`, `EXPLAIN` of a write or of a connection.
        ExplainRuns => "explain_runs",
        /// `SET GLOBAL`, `SET PERSIST`, `SET PASSWORD`, `sql_log_bin` and others of the primary.
        GlobalState => "global_state",
        /// `SET` to a value that two servers may not agree on.
        SetValue => "set_value",
        /// `INSERT`, `UPDATE`, `DELETE`, `REPLACE`, `LOAD`, also inside `WITH`.
        Write => "write",
        /// `BEGIN`, `COMMIT`, `ROLLBACK`, `SAVEPOINT`, `SET TRANSACTION`.
        Transaction => "transaction",
        /// `EXECUTE` of a prepared text.
        PreparedText => "prepared_text",
        /// `CALL`, or a call before that may have changed the session on the primary.
        Procedure => "procedure",
        /// Everything else.
        Other => "other",
        /// A transaction is open on the primary.
        InTransaction => "in_transaction",
        /// A read-only transaction: on the replica until it ends.
        ReadOnlyTransaction => "read_only_transaction",
        /// Autocommit is off, so that any statement begins a transaction.
        AutocommitOff => "autocommit_off",
        /// The session's isolation level is `SERIALIZABLE`, where every read locks.
        Serializable => "serializable",
        /// `SET TRANSACTION` before it is for the transaction that it begins.
        NextTransaction => "next_transaction",
        /// A temporary table is made, or the session has one.
        TemporaryTable => "temporary_table",
        /// Tables, the instance or everything is locked, or the session holds such a lock.
        TableLock => "table_lock",
        /// An XA transaction begins, or the session is in one.
        Xa => "xa",
        /// The session's state on the primary is not that on the replica.
        UnsharedState => "unshared_state",
        /// The replica may not have what the session wrote: `read_after_write`.
        ReadAfterWrite => "read_after_write",
        /// The session has no replica.
        NoReplica => "no_replica",
        /// The replica is too far behind, or nobody knows how far: `max_replication_lag`.
        ReplicaLagging => "replica_lagging",
        /// The primary is gone; reads go on.
        PrimaryLost => "primary_lost",
        /// `LOAD DATA LOCAL`, which is not allowed.
        LocalInfile => "local_infile",
    }
}

impl ConnectError {
    /// Whether the failure speaks against the server and counts towards `max_fails`.
    pub const fn blames_server(self) -> bool {
        match self {
            Self::Refused
            | Self::Reset
            | Self::Timeout
            | Self::Unreachable
            | Self::Tls
            | Self::TurnedAway => true,
            Self::OutOfPorts | Self::Denied | Self::Other => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::mysql::{LoginFailure, PrimaryOnly, Rung, Target};
    use super::*;

    #[test]
    fn every_label_has_its_own_number_and_spelling() {
        check(Reason::ALL, Reason::index, Reason::as_str);
        check(RouteReason::ALL, RouteReason::index, RouteReason::as_str);
        check(Target::ALL, Target::index, Target::as_str);
        check(Rung::ALL, Rung::index, Rung::as_str);
        check(PrimaryOnly::ALL, PrimaryOnly::index, PrimaryOnly::as_str);
        check(LoginFailure::ALL, LoginFailure::index, LoginFailure::as_str);
    }

    fn check<T: Copy>(all: &[T], index: fn(T) -> usize, as_str: fn(T) -> &'static str) {
        let is_plain = |b: u8| b.is_ascii_lowercase() || b == b'_';
        for (i, &label) in all.iter().enumerate() {
            assert_eq!(index(label), i);
            assert!(as_str(label).bytes().all(is_plain));
        }
        let mut spellings: Vec<_> = all.iter().map(|&label| as_str(label)).collect();
        spellings.sort_unstable();
        spellings.dedup();
        assert_eq!(spellings.len(), all.len());
    }
}
