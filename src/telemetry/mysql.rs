//! What a listener counts about its MySQL sessions, and the labels it counts by: where statements
//! went, how clients logged in, and why they could not.

use super::counter::Counter;
use super::reason::{RouteReason, labels};

labels! {
    /// Where a statement goes.
    Target {
        /// To the primary.
        Primary => "primary",
        /// To the replica.
        Replica => "replica",
        /// To both; the client gets one answer.
        Both => "both",
        /// To the server that ran the statement before.
        Last => "last",
        /// To nobody: ringway does it.
        Intercept => "intercept",
        /// To nobody: the client gets an error.
        Refused => "refused",
    }
}

labels! {
    /// By which rung of the ladder a client has logged in.
    Rung {
        /// Its password is in the configuration: verified here, signed for by ringway everywhere.
        Configured => "configured",
        /// A server wanted its password, which it told ringway: ringway signs for it everywhere.
        Capture => "capture",
        /// Its own signatures, one per server, were passed on.
        Relay => "relay",
        /// Only the primary has logged it in.
        PrimaryOnly => "primary_only",
    }
}

labels! {
    /// Why a session has no replica.
    PrimaryOnly {
        /// The account is one of `primary_only_users`.
        User => "user",
        /// No replica can take sessions.
        NoReplica => "no_replica",
        /// The client does not know how to switch plugins.
        OldClient => "old_client",
        /// The account's plugin is not one whose signatures can be passed on twice.
        Plugin => "plugin",
        /// The primary has used up the only switch that the client accepts.
        SwitchUsed => "switch_used",
        /// The primary wanted the password itself.
        FullAuthentication => "full_authentication",
        /// The primary wanted another factor.
        MultiFactor => "multi_factor",
        /// The replica lacks capabilities that client and primary have agreed to.
        ReplicaCapabilities => "replica_capabilities",
        /// The replica refused the account.
        ReplicaDenied => "replica_denied",
        /// The replica wanted the password itself: it does not remember the account.
        ReplicaFullAuthentication => "replica_full_authentication",
        /// The replica could not be reached, or was lost.
        ReplicaLost => "replica_lost",
        /// The account has another plugin on the replica.
        ReplicaPlugin => "replica_plugin",
        /// The replica did not keep to the protocol.
        ReplicaProtocol => "replica_protocol",
        /// The replica refused the connection: it is full, or has blocked ringway's address.
        ReplicaRefused => "replica_refused",
        /// The replica did not answer in time.
        ReplicaTimeout => "replica_timeout",
    }
}

labels! {
    /// Why a login failed.
    LoginFailure {
        /// The client's signature is wrong, for an account of the configuration.
        AccessDenied => "access_denied",
        /// The client went away.
        ClientLeft => "client_left",
        /// The client sent a packet that cannot be read, or none that belongs here.
        ClientProtocol => "client_protocol",
        /// The client speaks the protocol from before MySQL 4.1.
        ClientTooOld => "client_too_old",
        /// The client wants TLS, which was not offered, or for the second time.
        ClientWantsTls => "client_wants_tls",
        /// What is known of the account's password, from the configuration or from the client, is not
        /// what the server wants.
        CredentialUnusable => "credential_unusable",
        /// No server can take the session.
        NoServer => "no_server",
        /// The client's packet does not have the next number.
        OutOfOrder => "out_of_order",
        /// The client's packet is longer than any of a login.
        PacketTooLong => "packet_too_long",
        /// The client's password would have gone to a server in plain text.
        PasswordInPlain => "password_in_plain",
        /// The client has not encrypted its password for ringway's key.
        PasswordUnreadable => "password_unreadable",
        /// The primary was lost in the middle of the login.
        ServerLost => "server_lost",
        /// The server did not keep to the protocol.
        ServerProtocol => "server_protocol",
        /// The server refused; what it said has been passed on.
        ServerRefused => "server_refused",
        /// The client does not want TLS, and has to.
        TlsRequired => "tls_required",
    }
}

/// One worker's counters of the MySQL sessions of one listener.
#[derive(Debug)]
pub struct MysqlCounters {
    statements: [[Counter; RouteReason::ALL.len()]; Target::ALL.len()],
    logins: [Counter; Rung::ALL.len()],
    primary_only: [Counter; PrimaryOnly::ALL.len()],
    login_failures: [Counter; LoginFailure::ALL.len()],
    pinned: [Counter; RouteReason::ALL.len()],
    /// Statements that ran again on the primary, because the replica was lost.
    pub replays: Counter,
    /// Replicas that were let go because they answered differently.
    pub detached_replicas: Counter,
    /// Reads that went to the primary because the replica did not catch up in time.
    pub gtid_timeouts: Counter,
}

impl Default for MysqlCounters {
    fn default() -> Self {
        Self {
            statements: std::array::from_fn(|_| zeros()),
            logins: zeros(),
            primary_only: zeros(),
            login_failures: zeros(),
            pinned: zeros(),
            replays: Counter::default(),
            detached_replicas: Counter::default(),
            gtid_timeouts: Counter::default(),
        }
    }
}

fn zeros<const N: usize>() -> [Counter; N] {
    std::array::from_fn(|_| Counter::default())
}

impl MysqlCounters {
    /// The counter of statements that went there for this reason.
    #[inline]
    pub fn statements(&self, target: Target, reason: RouteReason) -> &Counter {
        &self.statements[target.index()][reason.index()]
    }

    /// The counter of clients that have logged in by this rung.
    pub fn logins(&self, rung: Rung) -> &Counter {
        &self.logins[rung.index()]
    }

    /// The counter of logins that came to a session without a replica for this reason.
    pub fn primary_only(&self, reason: PrimaryOnly) -> &Counter {
        &self.primary_only[reason.index()]
    }

    /// The counter of logins that failed for this reason.
    pub fn login_failures(&self, failure: LoginFailure) -> &Counter {
        &self.login_failures[failure.index()]
    }

    /// Sessions that this keeps on the primary now (a gauge).
    pub fn pinned(&self, reason: RouteReason) -> &Counter {
        &self.pinned[reason.index()]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_label_counts_for_itself() {
        let counters = MysqlCounters::default();
        counters
            .statements(Target::Replica, RouteReason::PlainRead)
            .add(3);
        counters
            .statements(Target::Primary, RouteReason::PlainRead)
            .add(1);
        counters.logins(Rung::Relay).add(1);
        let of = |target| counters.statements(target, RouteReason::PlainRead).get();
        assert_eq!(
            [of(Target::Replica), of(Target::Primary), of(Target::Both)],
            [3, 1, 0]
        );
        let logins = Rung::ALL.iter().map(|&rung| counters.logins(rung).get());
        assert_eq!(logins.collect::<Vec<_>>(), [0, 0, 1, 0]);
    }
}
