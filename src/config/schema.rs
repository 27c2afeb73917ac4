//! The tables of a configuration file and their keys, and which of them somebody may have meant.

/// A table as the reader knows it.
#[derive(Debug)]
pub(super) struct Schema {
    /// As a header names it.
    pub(super) header: &'static str,
    /// Every key, tables below this one included.
    pub(super) keys: &'static [&'static str],
}

pub(super) const ROOT: Schema = Schema {
    header: "the file",
    keys: &[
        "process",
        "admin",
        "log",
        "access_log",
        "statement_log",
        "listener",
        "pool",
    ],
};

pub(super) const PROCESS: Schema = Schema {
    header: "[process]",
    keys: &[
        "workers",
        "pin_workers",
        "coalesce",
        "max_connections",
        "drain_timeout",
        "shutdown_delay",
    ],
};

pub(super) const ADMIN: Schema = Schema {
    header: "[admin]",
    keys: &["listen"],
};

pub(super) const LOG: Schema = Schema {
    header: "[log]",
    keys: &["level", "format"],
};

pub(super) const ACCESS_LOG: Schema = Schema {
    header: "[access_log]",
    keys: &["path", "format"],
};

pub(super) const STATEMENT_LOG: Schema = Schema {
    header: "[statement_log]",
    keys: &["path", "format", "slower_than"],
};

pub(super) const LISTENER: Schema = Schema {
    header: "[[listener]]",
    keys: &[
        "name",
        "listen",
        "protocol",
        "pool",
        "max_connections",
        "backlog",
        "defer_accept",
        "v6only",
        "freebind",
        "tls",
    ],
};

pub(super) const LISTENER_TLS: Schema = Schema {
    header: "[listener.tls]",
    keys: &[
        "mode",
        "handshake_timeout",
        "handshakes_max",
        "min_version",
        "cipher_suites",
        "alpn",
        "session_tickets",
        "client_certificates",
        "ca_file",
        "crl_files",
        "certificate",
        "route",
    ],
};

pub(super) const TLS_CERTIFICATE: Schema = Schema {
    header: "[[listener.tls.certificate]]",
    keys: &["certificate_file", "key_file", "ocsp_file"],
};

pub(super) const TLS_ROUTE: Schema = Schema {
    header: "[[listener.tls.route]]",
    keys: &["server_names", "alpn", "pool"],
};

pub(super) const POOL: Schema = Schema {
    header: "[[pool]]",
    keys: &[
        "name",
        "algorithm",
        "connect_timeout",
        "connect_deadline",
        "retries",
        "idle_timeout",
        "half_close_timeout",
        "max_fails",
        "fail_timeout",
        "removed_server_timeout",
        "reset_linger",
        "tcp_user_timeout",
        "keepalive_idle",
        "keepalive_interval",
        "keepalive_probes",
        "health_check",
        "tls",
        "mysql",
        "server",
    ],
};

pub(super) const HEALTH_CHECK: Schema = Schema {
    header: "[pool.health_check]",
    keys: &[
        "type", "interval", "timeout", "rise", "fall", "port", "tls", "path", "host", "expect",
    ],
};

pub(super) const POOL_TLS: Schema = Schema {
    header: "[pool.tls]",
    keys: &[
        "mode",
        "server_name",
        "ca_file",
        "crl_files",
        "certificate_file",
        "key_file",
        "min_version",
        "cipher_suites",
        "alpn",
    ],
};

pub(super) const MYSQL: Schema = Schema {
    header: "[pool.mysql]",
    keys: &[
        "roles",
        "read_after_write",
        "gtid_wait",
        "max_replication_lag",
        "replica_login_timeout",
        "login_timeout",
        "max_unauthenticated_sessions",
        "classify_bytes_max",
        "local_infile",
        "calls_pin",
        "primary_only_users",
        "user",
        "monitor",
    ],
};

pub(super) const MYSQL_USER: Schema = Schema {
    header: "[[pool.mysql.user]]",
    keys: &["name", "password_file", "password_env", "native_hash"],
};

pub(super) const MYSQL_MONITOR: Schema = Schema {
    header: "[pool.mysql.monitor]",
    keys: &[
        "user",
        "password_file",
        "password_env",
        "interval",
        "timeout",
    ],
};

pub(super) const SERVER: Schema = Schema {
    header: "[[pool.server]]",
    keys: &[
        "name",
        "address",
        "weight",
        "max_connections",
        "backup",
        "role",
        "server_name",
    ],
};

/// Every table of a file.
pub(super) const ALL: [&Schema; 17] = [
    &ROOT,
    &PROCESS,
    &ADMIN,
    &LOG,
    &ACCESS_LOG,
    &STATEMENT_LOG,
    &LISTENER,
    &LISTENER_TLS,
    &TLS_CERTIFICATE,
    &TLS_ROUTE,
    &POOL,
    &HEALTH_CHECK,
    &POOL_TLS,
    &MYSQL,
    &MYSQL_USER,
    &MYSQL_MONITOR,
    &SERVER,
];

impl Schema {
    /// What to do about a key that this table does not have.
    pub(super) fn help_for(&self, unknown: &str) -> Option<String> {
        if unknown == "password" && self.keys.contains(&"password_file") {
            let help = "a password does not stand in the file: use `password_file`, or \
                        `password_env` for an environment variable";
            return Some(help.to_owned());
        }
        if let Some(known) = nearest(unknown, self.keys.iter().copied()) {
            return Some(format!("did you mean {}?", self.name_of(known)));
        }
        let elsewhere = ALL.iter().find(|table| table.keys.contains(&unknown))?;
        Some(format!("that key belongs in {}", elsewhere.header))
    }

    /// A key of the file itself is a table, and looks like one.
    fn name_of(&self, key: &str) -> String {
        let headers = [format!("[{key}]"), format!("[[{key}]]")];
        let is_table = |table: &&&Self| headers.iter().any(|header| header == table.header);
        match ALL.iter().find(is_table) {
            Some(table) if self.header == ROOT.header => table.header.to_owned(),
            _ => format!("`{key}`"),
        }
    }
}

/// Whether a key of a table is a table itself.
#[cfg(test)]
pub(super) fn is_table(table: &Schema, key: &str) -> bool {
    let parent = table.header.trim_matches(['[', ']']);
    let below = match table.header == ROOT.header {
        true => key.to_owned(),
        false => format!("{parent}.{key}"),
    };
    ALL.iter()
        .any(|table| table.header.trim_matches(['[', ']']) == below)
}

/// The known word that differs least from `word`, if it could be a slip of the pen: at most a
/// third of its characters, transpositions counted as one.
pub(super) fn nearest<'a>(word: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let slips_max = (word.chars().count() / 3).max(1);
    known
        .map(|known| (slips(word, known), known))
        .min_by_key(|&(slips, _)| slips)
        .filter(|&(slips, _)| slips <= slips_max)
        .map(|(_, known)| known)
}

fn slips(word: &str, known: &str) -> usize {
    // The distance takes time in proportion to both lengths, and a word from a file may be long.
    if word.len() > 4 * known.len() {
        return usize::MAX;
    }
    strsim::osa_distance(&word.to_lowercase(), &known.to_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_of_the_pen_finds_its_key() {
        for (unknown, help) in [
            ("conect_timeout", "did you mean `connect_timeout`?"),
            ("algoritm", "did you mean `algorithm`?"),
            ("severs", "did you mean `server`?"),
            ("Retries", "did you mean `retries`?"),
            ("backlog", "that key belongs in [[listener]]"),
            ("level", "that key belongs in [log]"),
        ] {
            assert_eq!(POOL.help_for(unknown).as_deref(), Some(help));
        }
        assert_eq!(
            ROOT.help_for("listeners").as_deref(),
            Some("did you mean [[listener]]?")
        );
        assert_eq!(
            ROOT.help_for("proces").as_deref(),
            Some("did you mean [process]?")
        );
        assert_eq!(POOL.help_for("proxy"), None);
        assert_eq!(POOL.help_for(""), None);
    }
}
