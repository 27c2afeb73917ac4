//! Every metric that ringway exports. `docs/metrics.md` shows this table to people; a test holds
//! the two together.

/// A metric's name, type, labels and meaning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Metric {
    /// Its full name; a histogram's series add `_bucket`, `_sum` and `_count`.
    pub name: &'static str,
    /// Its type.
    pub kind: Kind,
    /// Its label names, in the order in which a scrape gives the values.
    pub labels: &'static [&'static str],
    /// What it says, in a sentence: the HELP line.
    pub help: &'static str,
}

/// A metric's type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Only grows, until the process ends.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Observations in buckets of fixed bounds.
    Histogram,
}

impl Kind {
    /// The word in the TYPE line.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        }
    }
}

macro_rules! metrics {
    ($($id:ident = $kind:ident $name:literal [$($label:literal),*] $help:literal;)+) => {
        $(
            #[doc = $help]
            pub(super) const $id: Metric = Metric {
                name: $name,
                kind: Kind::$kind,
                labels: &[$($label),*],
                help: $help,
            };
        )+

        /// All of them, in the order of the document.
        pub const METRICS: &[Metric] = &[$($id),+];
    };
}

metrics! {
    SESSIONS_OPENED = Counter "ringway_sessions_opened_total" ["listener"]
        "Sessions taken from clients.";
    SESSIONS_CLOSED = Counter "ringway_sessions_closed_total" ["listener", "who", "reason"]
        "Sessions that have ended, by who ended them and why.";
    SESSIONS_ACTIVE = Gauge "ringway_sessions_active" ["listener"]
        "Sessions that have not ended: always opened less closed.";
    SESSIONS_LIMIT = Gauge "ringway_sessions_limit" []
        "Sessions the process takes at a time, over all listeners.";
    LISTENER_SESSIONS_LIMIT = Gauge "ringway_listener_sessions_limit" ["listener"]
        "The listener's max_connections, where it has one.";
    SESSION_SECONDS = Histogram "ringway_session_seconds" ["listener"]
        "How long sessions lasted, from accept to the last close.";

    BYTES = Counter "ringway_bytes_total" ["listener", "direction"]
        "Bytes delivered: in is to the server, out is to the client.";
    BYTES_RECEIVED = Counter "ringway_bytes_received_total" ["listener", "direction"]
        "Bytes received: in is from the client, out is from the server.";
    BYTES_DISCARDED = Counter "ringway_bytes_discarded_total" ["listener", "direction", "reason"]
        "Bytes received and never sent, by the reason for which their session ended.";

    SERVER_SESSIONS_OPENED = Counter
        "ringway_server_sessions_opened_total" ["pool", "server", "address"]
        "Sessions that reached the server.";
    SERVER_SESSIONS_CLOSED = Counter
        "ringway_server_sessions_closed_total" ["pool", "server", "address"]
        "Sessions that reached the server and have ended.";
    SERVER_SESSIONS_ACTIVE = Gauge
        "ringway_server_sessions_active" ["pool", "server", "address"]
        "Sessions that reached the server and have not ended: always opened less closed.";
    SERVER_CONNECTIONS = Gauge "ringway_server_connections" ["pool", "server", "address"]
        "Sessions that hold a place at the server, connecting ones included.";
    SERVER_CONNECTIONS_LIMIT = Gauge
        "ringway_server_connections_limit" ["pool", "server", "address"]
        "The server's max_connections, where it has one.";
    SERVER_BYTES = Counter
        "ringway_server_bytes_total" ["pool", "server", "address", "direction"]
        "Bytes relayed: in is to the server, out is from the server to the client.";
    CONNECT_FAILURES = Counter
        "ringway_connect_failures_total" ["pool", "server", "address", "reason"]
        "Tries to connect to the server that failed, by connect error.";
    RETRIES = Counter "ringway_retries_total" ["pool", "server", "address"]
        "Tries made at the server because another one had failed for that session.";
    CONNECT_SECONDS = Histogram "ringway_connect_seconds" ["pool", "server", "address"]
        "How long tries to connect that succeeded took.";
    SERVER_UP = Gauge "ringway_server_up" ["pool", "server", "address"]
        "1 unless active checks hold the server down; 1 too where there are none.";
    SERVER_FAILING = Gauge "ringway_server_failing" ["pool", "server", "address"]
        "1 while the server is left alone for fail_timeout after max_fails failed connects.";
    SERVER_WEIGHT = Gauge "ringway_server_weight" ["pool", "server", "address"]
        "The server's weight; 0 too for a removed server whose sessions go on.";

    HEALTH_CHECKS = Counter
        "ringway_health_checks_total" ["pool", "server", "address", "result"]
        "Active checks of the server that have ended: passed, failed, or void.";
    HEALTH_TRANSITIONS = Counter
        "ringway_health_transitions_total" ["pool", "server", "address", "to"]
        "Times active checks have changed the server's state to up or down.";
    HEALTH_CHECK_LAST_SECONDS = Gauge
        "ringway_health_check_last_seconds" ["pool", "server", "address"]
        "How long the last check that passed or failed took.";

    MYSQL_SERVER_ROLE = Gauge
        "ringway_mysql_server_role" ["pool", "server", "address", "role"]
        "1 for the role that the server has to statements, 0 for the other one.";
    MYSQL_REPLICATION_LAG_SECONDS = Gauge
        "ringway_mysql_replication_lag_seconds" ["pool", "server", "address"]
        "How far behind the replica is; no series while nobody knows.";
    MYSQL_REPLICA_USABLE = Gauge "ringway_mysql_replica_usable" ["pool", "server", "address"]
        "1 unless max_replication_lag keeps the replica from being read.";
    MYSQL_REPLICA_FOLLOWS_PRIMARY = Gauge
        "ringway_mysql_replica_follows_primary" ["pool", "server", "address"]
        "1 if the replica's data comes from the pool's primary; no series while nobody knows.";
    MYSQL_WRITABLE_SERVERS = Gauge "ringway_mysql_writable_servers" ["pool"]
        "Servers that the monitor has seen to take writes; anything but 1 is trouble.";

    WORKER_SESSIONS = Gauge "ringway_worker_sessions" ["worker"]
        "Sessions the worker has.";
    WORKER_TURNS = Counter "ringway_worker_turns_total" ["worker"]
        "Times around the worker's loop: one io_uring_enter each.";
    WORKER_COMPLETIONS = Counter "ringway_worker_completions_total" ["worker"]
        "Completions handled; divided by turns, how well the ring batches.";
    WORKER_COALESCING_SECONDS = Gauge "ringway_worker_coalescing_seconds" ["worker"]
        "How long a turn waits for several completions at most; 0: it takes the first.";
    WORKER_OPERATIONS_IN_FLIGHT = Gauge "ringway_worker_operations_in_flight" ["worker"]
        "Operations the kernel has and has not completed.";
    WORKER_COPY_BYTES = Counter "ringway_worker_copy_bytes_total" ["worker"]
        "Bytes relayed through buffers.";
    WORKER_SPLICE_BYTES = Counter "ringway_worker_splice_bytes_total" ["worker"]
        "Bytes relayed through pipes, without being copied.";
    WORKER_BUFFERS_EXHAUSTED = Counter "ringway_worker_buffers_exhausted_total" ["worker"]
        "Receives that found no buffer and were armed again later.";
    WORKER_COMPLETION_OVERFLOWS = Counter "ringway_worker_completion_overflows_total" ["worker"]
        "Times the completion queue was full and the kernel kept completions aside.";
    WORKER_STALE_COMPLETIONS = Counter "ringway_worker_stale_completions_total" ["worker"]
        "Completions for a session that had ended; any at all is a fault of ringway's.";
    WORKER_ACCEPT_PAUSES = Counter "ringway_worker_accept_pauses_total" ["worker"]
        "Times accepting paused because descriptors or kernel memory had run out.";
    WORKER_IDLE_SECONDS = Gauge "ringway_worker_idle_seconds" ["worker"]
        "How long ago the worker last turned; large on an idle worker, which is asleep.";

    ACCESS_LOG_LINES = Counter "ringway_access_log_lines_total" []
        "Access-log lines written.";
    ACCESS_LOG_LINES_DROPPED = Counter "ringway_access_log_lines_dropped_total" []
        "Access-log lines lost because the file or pipe could not take them.";
    ACCESS_RECORDS_DROPPED = Counter "ringway_access_records_dropped_total" ["worker"]
        "Sessions without an access-log line because the writer could not keep up.";

    MYSQL_STATEMENTS = Counter
        "ringway_mysql_statements_total" ["listener", "target", "reason"]
        "SQL statements that are done, by where they went and why.";
    MYSQL_STATEMENT_SECONDS = Histogram
        "ringway_mysql_statement_seconds" ["pool", "server", "address"]
        "How long statements that the server answered took, from command to end of reply.";
    MYSQL_LOGINS = Counter "ringway_mysql_logins_total" ["listener", "rung"]
        "Clients that have logged in, COM_CHANGE_USER included, by rung of the ladder.";
    MYSQL_PRIMARY_ONLY = Counter
        "ringway_mysql_primary_only_sessions_total" ["listener", "reason"]
        "Logins that came to a session without a replica, by why.";
    MYSQL_LOGIN_FAILURES = Counter "ringway_mysql_login_failures_total" ["listener", "reason"]
        "Logins that failed, by why.";
    MYSQL_PINNED = Gauge "ringway_mysql_pinned_sessions" ["listener", "reason"]
        "Sessions that something they did keeps on the primary now, by what.";
    MYSQL_REPLAYS = Counter "ringway_mysql_replays_total" ["listener"]
        "Reads that ran again on the primary because their replica was lost.";
    MYSQL_DETACHED_REPLICAS = Counter "ringway_mysql_detached_replicas_total" ["listener"]
        "Replicas that a session let go because they answered otherwise than the primary.";
    MYSQL_GTID_TIMEOUTS = Counter "ringway_mysql_gtid_timeouts_total" ["listener"]
        "Reads that went to the primary because the replica did not catch up within gtid_wait.";
    MYSQL_UNAUTHENTICATED = Gauge "ringway_mysql_unauthenticated_sessions" ["pool"]
        "Sessions that have not logged in yet.";
    TLS_HANDSHAKES = Counter "ringway_tls_handshakes_total" ["listener", "kind"]
        "TLS handshakes with clients: full, or resumed from an earlier session.";
    TLS_HANDSHAKE_FAILURES = Counter
        "ringway_tls_handshake_failures_total" ["listener", "reason"]
        "TLS handshakes with clients that failed, by handshake failure.";
    TLS_TRUNCATED = Counter "ringway_tls_truncated_total" ["listener", "direction"]
        "Connections with TLS that a peer ended without a close_notify, by FIN or by a reset: in is \
         from clients, out is from servers.";
    SERVER_TLS_HANDSHAKES = Counter
        "ringway_server_tls_handshakes_total" ["pool", "server", "address", "kind"]
        "TLS handshakes with the server for sessions: full, or resumed from an earlier session.";
    TLS_PREUPGRADE_BYTES = Counter
        "ringway_tls_preupgrade_bytes_total" ["pool", "server", "address"]
        "Bytes a MySQL server sent behind its greeting before there was TLS; nobody hears them.";
    STATEMENT_LOG_LINES = Counter "ringway_statement_log_lines_total" []
        "Statement-log lines written.";
    STATEMENT_LOG_LINES_DROPPED = Counter "ringway_statement_log_lines_dropped_total" []
        "Statement-log lines lost because the file or pipe could not take them.";
    STATEMENT_RECORDS_DROPPED = Counter "ringway_statement_records_dropped_total" ["worker"]
        "Statements without a statement-log line because the writer could not keep up.";

    CONFIG_GENERATION = Gauge "ringway_config_generation" []
        "The configuration generation that runs; 1 is the one at the start.";
    CONFIG_RELOADS = Counter "ringway_config_reloads_total" ["result"]
        "Reloads: success, or failure where the configuration before went on.";
    CONFIG_LAST_RELOAD_SUCCESSFUL = Gauge "ringway_config_last_reload_successful" []
        "0 when the last reload was refused, 1 otherwise.";
    CERTIFICATE_NOT_AFTER = Gauge "ringway_certificate_not_after_seconds" ["listener", "file"]
        "When the first of a listener's certificate and its chain expires, in seconds since 1970.";
    POOL_CERTIFICATE_NOT_AFTER = Gauge
        "ringway_pool_certificate_not_after_seconds" ["pool", "file"]
        "The same of the certificate that the pool shows to its servers.";
    READY = Gauge "ringway_ready" []
        "1 when /ready says 200: running, listening, and every worker turns.";
    BUILD_INFO = Gauge "ringway_build_info" ["version"]
        "Always 1.";

    PROCESS_START_TIME = Gauge "process_start_time_seconds" []
        "When the process started, in seconds since 1970.";
    PROCESS_CPU_SECONDS = Counter "process_cpu_seconds_total" []
        "CPU time the process has used, in user and system mode.";
    PROCESS_RESIDENT_BYTES = Gauge "process_resident_memory_bytes" []
        "Memory of the process that is in RAM.";
    PROCESS_OPEN_FDS = Gauge "process_open_fds" []
        "Descriptors the process has open.";
    PROCESS_MAX_FDS = Gauge "process_max_fds" []
        "Descriptors the process may have open.";
}
