//! What client and server have agreed on: `CLIENT_*` flags, and MariaDB's extended ones above them.

use std::fmt;
use std::ops::BitOr;

/// A set of capability flags. The low 32 bits are those of MySQL; the high 32 are MariaDB's
/// extended ones, which are only valid while [`Self::MYSQL`] is absent.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct Capabilities(u64);

impl Capabilities {
    /// The empty set.
    pub const NONE: Self = Self(0);
    /// `CLIENT_LONG_PASSWORD`, called `CLIENT_MYSQL` by MariaDB: its absence is the sign of a
    /// MariaDB whose extended flags count.
    pub const MYSQL: Self = Self(1);
    /// `CLIENT_FOUND_ROWS`: affected rows are those found, not those changed.
    pub const FOUND_ROWS: Self = Self(1 << 1);
    /// `CLIENT_CONNECT_WITH_DB`: the handshake response names a database.
    pub const CONNECT_WITH_DB: Self = Self(1 << 3);
    /// `CLIENT_COMPRESS`: packets in zlib frames.
    pub const COMPRESS: Self = Self(1 << 5);
    /// `CLIENT_LOCAL_FILES`: `LOAD DATA LOCAL`.
    pub const LOCAL_FILES: Self = Self(1 << 7);
    /// `CLIENT_PROTOCOL_41`: the protocol since MySQL 4.1, the only one spoken here.
    pub const PROTOCOL_41: Self = Self(1 << 9);
    /// `CLIENT_SSL`: TLS after an `SSLRequest`.
    pub const SSL: Self = Self(1 << 11);
    /// `CLIENT_TRANSACTIONS`: status flags tell of transactions.
    pub const TRANSACTIONS: Self = Self(1 << 13);
    /// `CLIENT_SECURE_CONNECTION`: authentication data has a length in front.
    pub const SECURE_CONNECTION: Self = Self(1 << 15);
    /// `CLIENT_MULTI_STATEMENTS`: several statements in one `COM_QUERY`.
    pub const MULTI_STATEMENTS: Self = Self(1 << 16);
    /// `CLIENT_MULTI_RESULTS`: several results in one reply.
    pub const MULTI_RESULTS: Self = Self(1 << 17);
    /// `CLIENT_PS_MULTI_RESULTS`: the same for prepared statements.
    pub const PS_MULTI_RESULTS: Self = Self(1 << 18);
    /// `CLIENT_PLUGIN_AUTH`: authentication plugins have names, and can be switched.
    pub const PLUGIN_AUTH: Self = Self(1 << 19);
    /// `CLIENT_CONNECT_ATTRS`: the handshake response carries attributes.
    pub const CONNECT_ATTRS: Self = Self(1 << 20);
    /// `CLIENT_PLUGIN_AUTH_LENENC_CLIENT_DATA`: the length before it is length-encoded.
    pub const PLUGIN_AUTH_LENENC: Self = Self(1 << 21);
    /// `CLIENT_SESSION_TRACK`: OK packets say what changed in the session.
    pub const SESSION_TRACK: Self = Self(1 << 23);
    /// `CLIENT_DEPRECATE_EOF`: OK packets stand for EOF packets.
    pub const DEPRECATE_EOF: Self = Self(1 << 24);
    /// `CLIENT_OPTIONAL_RESULTSET_METADATA`: column definitions can be left out.
    pub const OPTIONAL_METADATA: Self = Self(1 << 25);
    /// `CLIENT_ZSTD_COMPRESSION_ALGORITHM`.
    pub const ZSTD: Self = Self(1 << 26);
    /// `CLIENT_QUERY_ATTRIBUTES`: statements can have named parameters in front.
    pub const QUERY_ATTRIBUTES: Self = Self(1 << 27);
    /// `MULTI_FACTOR_AUTHENTICATION`.
    pub const MULTI_FACTOR: Self = Self(1 << 28);
    /// `CLIENT_SSL_VERIFY_SERVER_CERT`: a client's own affair, never sent.
    pub const SSL_VERIFY_SERVER_CERT: Self = Self(1 << 30);
    /// `CLIENT_REMEMBER_OPTIONS`: the same.
    pub const REMEMBER_OPTIONS: Self = Self(1 << 31);
    /// `MARIADB_CLIENT_PROGRESS`: reports of progress before a reply.
    pub const MARIADB_PROGRESS: Self = Self(1 << 32);
    /// `MARIADB_CLIENT_COM_MULTI`: removed from MariaDB, and never offered here.
    pub const MARIADB_COM_MULTI: Self = Self(1 << 33);
    /// `MARIADB_CLIENT_STMT_BULK_OPERATIONS`: `COM_STMT_BULK_EXECUTE`.
    pub const MARIADB_BULK: Self = Self(1 << 34);
    /// `MARIADB_CLIENT_EXTENDED_METADATA`: column definitions tell more about types.
    pub const MARIADB_EXTENDED_METADATA: Self = Self(1 << 35);
    /// `MARIADB_CLIENT_CACHE_METADATA`: column definitions are left out when nothing changed.
    pub const MARIADB_CACHE_METADATA: Self = Self(1 << 36);
    /// `MARIADB_CLIENT_BULK_UNIT_RESULTS`: a bulk execution answers with a result set.
    pub const MARIADB_BULK_UNIT_RESULTS: Self = Self(1 << 37);

    /// What is never offered to a client nor asked of a server: the bytes of a compressed
    /// connection could not be followed, and the others mean nothing between two hosts.
    pub const NEVER: Self = Self(
        Self::COMPRESS.0
            | Self::ZSTD.0
            | Self::SSL_VERIFY_SERVER_CERT.0
            | Self::REMEMBER_OPTIONS.0
            | Self::MARIADB_COM_MULTI.0,
    );

    /// What decides the layout of commands and replies after the login. A session's two servers
    /// must agree in these, or their bytes would mean different things to the client.
    pub const LAYOUT: Self = Self(
        Self::PROTOCOL_41.0
            | Self::SECURE_CONNECTION.0
            | Self::MULTI_STATEMENTS.0
            | Self::MULTI_RESULTS.0
            | Self::PS_MULTI_RESULTS.0
            | Self::PLUGIN_AUTH.0
            | Self::SESSION_TRACK.0
            | Self::DEPRECATE_EOF.0
            | Self::OPTIONAL_METADATA.0
            | Self::QUERY_ATTRIBUTES.0
            | Self::MARIADB_PROGRESS.0
            | Self::MARIADB_BULK.0
            | Self::MARIADB_EXTENDED_METADATA.0
            | Self::MARIADB_CACHE_METADATA.0
            | Self::MARIADB_BULK_UNIT_RESULTS.0,
    );

    /// From the flags of MySQL and the extended ones of MariaDB. The latter count only where
    /// [`Self::MYSQL`] is not set.
    pub const fn new(mysql: u32, mariadb: u32) -> Self {
        let low = mysql as u64;
        if low & Self::MYSQL.0 != 0 {
            Self(low)
        } else {
            Self(low | (mariadb as u64) << 32)
        }
    }

    /// The flags of MySQL.
    pub const fn mysql(self) -> u32 {
        (self.0 & 0xFFFF_FFFF) as u32
    }

    /// The extended flags of MariaDB.
    pub const fn mariadb(self) -> u32 {
        (self.0 >> 32) as u32
    }

    /// Whether all flags of `other` are set.
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Whether one flag of `other` is set.
    pub const fn intersects(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    /// The flags that both have.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// These flags without those of `other`.
    #[must_use]
    pub const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// Whether the extended flags of MariaDB count.
    pub const fn are_mariadb(self) -> bool {
        !self.contains(Self::MYSQL)
    }
}

impl BitOr for Capabilities {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

impl fmt::Debug for Capabilities {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Capabilities({:#x})", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn extended_flags_count_only_for_mariadb() {
        let mysql = Capabilities::new(1 | 1 << 24, 1 << 4);
        assert!(!mysql.contains(Capabilities::MARIADB_CACHE_METADATA));
        assert_eq!(mysql.mariadb(), 0);
        let mariadb = Capabilities::new(1 << 24, 1 << 4);
        assert!(mariadb.are_mariadb());
        assert!(mariadb.contains(Capabilities::MARIADB_CACHE_METADATA));
        assert_eq!((mariadb.mysql(), mariadb.mariadb()), (1 << 24, 1 << 4));
    }

    #[test]
    fn sets_are_compared_and_reduced() {
        let both = Capabilities::SSL | Capabilities::COMPRESS;
        assert!(both.contains(Capabilities::SSL));
        assert!(!Capabilities::SSL.contains(both));
        assert!(Capabilities::SSL.intersects(both));
        assert_eq!(both.without(Capabilities::NEVER), Capabilities::SSL);
        assert_eq!(both.and(Capabilities::COMPRESS), Capabilities::COMPRESS);
    }
}
