//! ProxySQL, set up as its documentation splits reads from writes: two hostgroups, told apart by
//! `read_only`, and two query rules.

use std::net::SocketAddr;
use std::path::Path;

use crate::mariadb::{CLIENT, DATABASE, MAX_CONNECTIONS, MONITOR};

const WRITERS: u32 = 10;
const READERS: u32 = 20;

/// Where ProxySQL listens, and what for.
pub(super) struct Ports {
    pub(super) clients: SocketAddr,
    pub(super) admin: SocketAddr,
    /// ProxySQL 3 has two more for PostgreSQL, used or not.
    pub(super) postgres_clients: SocketAddr,
    pub(super) postgres_admin: SocketAddr,
}

/// The configuration file. One thread, no TLS, everything else as it comes, but for one thing: a
/// primary that also reads, as by default, would not be the same work.
pub(super) fn config(
    dir: &Path,
    ports: &Ports,
    primary: SocketAddr,
    replica: SocketAddr,
) -> String {
    format!(
        "datadir = \"{dir}\"\nerrorlog = \"{dir}/proxysql.log\"\n\
         admin_variables = {{\n  admin_credentials = \"admin:admin\"\n\
         \x20 mysql_ifaces = \"{}\"\n  pgsql_ifaces = \"{}\"\n}}\n\
         mysql_variables = {{\n  threads = 1\n  interfaces = \"{}\"\n\
         \x20 max_connections = {MAX_CONNECTIONS}\n  default_schema = \"{DATABASE}\"\n\
         \x20 server_version = \"10.11.0\"\n  monitor_writer_is_also_reader = false\n\
         \x20 monitor_username = \"{}\"\n  monitor_password = \"{}\"\n}}\n\
         pgsql_variables = {{\n  threads = 1\n  interfaces = \"{}\"\n}}\n\
         mysql_servers = (\n  {},\n  {}\n)\n\
         mysql_replication_hostgroups = (\n\
         \x20 {{ writer_hostgroup = {WRITERS}, reader_hostgroup = {READERS}, comment = \"\" }}\n)\n\
         mysql_users = (\n  {{ username = \"{}\", password = \"{}\", \
         default_hostgroup = {WRITERS}, active = 1 }}\n)\n\
         mysql_query_rules = (\n  {},\n  {}\n)\n",
        ports.admin,
        ports.postgres_admin,
        ports.clients,
        MONITOR.user,
        MONITOR.password,
        ports.postgres_clients,
        server(primary, WRITERS),
        server(replica, READERS),
        CLIENT.user,
        CLIENT.password,
        rule(1, "^SELECT.*FOR UPDATE", WRITERS),
        rule(2, "^SELECT", READERS),
        dir = dir.display(),
    )
}

fn server(address: SocketAddr, hostgroup: u32) -> String {
    format!(
        "{{ address = \"{}\", port = {}, hostgroup = {hostgroup}, \
         max_connections = {MAX_CONNECTIONS} }}",
        address.ip(),
        address.port()
    )
}

fn rule(id: u32, pattern: &str, hostgroup: u32) -> String {
    format!(
        "{{ rule_id = {id}, active = 1, match_digest = \"{pattern}\", \
         destination_hostgroup = {hostgroup}, apply = 1 }}"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_go_to_the_replica_and_everything_else_to_the_primary() {
        let [
            clients,
            admin,
            postgres_clients,
            postgres_admin,
            primary,
            replica,
        ] = [1, 2, 3, 4, 5, 6].map(|port| SocketAddr::from(([127, 0, 0, 1], port)));
        let ports = Ports {
            clients,
            admin,
            postgres_clients,
            postgres_admin,
        };
        let config = config(Path::new("/d"), &ports, primary, replica);
        for part in [
            "  threads = 1\n  interfaces = \"127.0.0.1:1\"\n",
            "mysql_ifaces = \"127.0.0.1:2\"\n",
            "{ address = \"127.0.0.1\", port = 5, hostgroup = 10, max_connections = 300 }",
            "{ address = \"127.0.0.1\", port = 6, hostgroup = 20, max_connections = 300 }",
            "match_digest = \"^SELECT\", destination_hostgroup = 20, apply = 1 }",
            "password = \"sbtest-secret\", default_hostgroup = 10, active = 1 }",
        ] {
            assert!(config.contains(part), "{part} is missing in\n{config}");
        }
    }
}
