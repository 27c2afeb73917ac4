//! A primary and its replica of either product, for what has to hold with both.

use super::balancer::Balancer;
use super::config::Config;
use super::mariadb::Pair;
use super::mysql9::Mysql9Pair;
use super::sql_client::{Login, SqlClient};
use super::sql_server::SqlServer;

/// What is said differently to servers of one product than to those of the other.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Words {
    /// Has its log of statements tell all of them, also those that it cannot parse.
    pub(crate) log_everything: &'static str,
    /// Has a replica stand still, and go on.
    pub(crate) stop: &'static str,
    pub(crate) start: &'static str,
    /// Has a replica follow an hour behind, and at once.
    pub(crate) delay: &'static str,
    pub(crate) no_delay: &'static str,
    /// Has a server take writes from nobody, and from everybody.
    pub(crate) read_only: &'static str,
    pub(crate) writable: &'static str,
    /// The right that an account of the monitor needs.
    pub(crate) monitor_right: &'static str,
}

/// A primary and its replica.
pub(crate) trait Servers {
    /// How their product wants to be spoken to.
    const WORDS: Words;

    /// The primary and the replica.
    fn both(&self) -> [&SqlServer; 2];

    /// Waits until the replica has everything that the primary has.
    fn replicate(&self);

    /// `app`, which signs as they want it and needs no more to log in.
    fn login(&self) -> Login;

    /// Where writes belong.
    fn primary(&self) -> &SqlServer {
        self.both()[0]
    }

    /// Follows the primary.
    fn replica(&self) -> &SqlServer {
        self.both()[1]
    }

    /// A mysql listener before the two.
    fn config(&self) -> Config {
        Config::mysql(self.primary().address(), self.replica().address())
    }

    /// `app` through this balancer.
    #[track_caller]
    fn connect(&self, balancer: &Balancer) -> SqlClient {
        let connected = self.login().connect(balancer.address());
        connected.unwrap_or_else(|error| panic!("no login: {error:?}"))
    }

    /// Makes a table of a test's own, on both servers.
    #[track_caller]
    fn table(&self, name: &str, columns: &str) {
        self.primary().sql(&format!(
            "DROP TABLE IF EXISTS shop.{name}; CREATE TABLE shop.{name} ({columns})"
        ));
        self.replicate();
    }
}

impl Servers for Pair {
    const WORDS: Words = Words {
        log_everything: "DO 1",
        stop: "STOP SLAVE SQL_THREAD",
        start: "START SLAVE",
        delay: "STOP SLAVE; CHANGE MASTER TO MASTER_DELAY = 3600; START SLAVE",
        no_delay: "STOP SLAVE; CHANGE MASTER TO MASTER_DELAY = 0; START SLAVE",
        read_only: "SET GLOBAL read_only = 1",
        writable: "SET GLOBAL read_only = 0",
        monitor_right: "REPLICA MONITOR",
    };

    fn both(&self) -> [&SqlServer; 2] {
        [&self.primary, &self.replica]
    }

    fn replicate(&self) {
        self.replicate();
    }

    fn login(&self) -> Login {
        Login::default()
    }
}

impl Servers for Mysql9Pair {
    const WORDS: Words = Words {
        log_everything: "SET GLOBAL log_raw = ON",
        stop: "STOP REPLICA SQL_THREAD",
        start: "START REPLICA",
        delay: "STOP REPLICA; CHANGE REPLICATION SOURCE TO SOURCE_DELAY = 3600; START REPLICA",
        no_delay: "STOP REPLICA; CHANGE REPLICATION SOURCE TO SOURCE_DELAY = 0; START REPLICA",
        read_only: "SET GLOBAL super_read_only = 1",
        writable: "SET GLOBAL super_read_only = 0; SET GLOBAL read_only = 0",
        monitor_right: "REPLICATION CLIENT",
    };

    fn both(&self) -> [&SqlServer; 2] {
        [&self.primary, &self.replica]
    }

    fn replicate(&self) {
        self.replicate();
    }

    fn login(&self) -> Login {
        // They are to know it by heart.
        for server in [&self.primary, &self.replica] {
            server.make_known("app", "secret");
        }
        Login::default().sha2()
    }
}
