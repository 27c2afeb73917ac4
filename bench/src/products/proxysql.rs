//! ProxySQL, set up as its documentation splits reads from writes: two hostgroups, told apart by
//! `read_only`, and two query rules.

use std::net::SocketAddr;
use std::path::Path;

use crate::mariadb::{CLIENT, DATABASE, Databases, MAX_CONNECTIONS, MONITOR};

const WRITERS: u32 = 10;
const READERS: u32 = 20;

/// The ports that ProxySQL listens on beside the one for clients.
pub(super) struct Admin {
    pub(super) mysql: SocketAddr,
    pub(super) postgres: SocketAddr,
    /// ProxySQL 3 has a port for PostgreSQL clients as well, used or not.
    pub(super) postgres_clients: SocketAddr,
}

/// The configuration file. One thread, no TLS, everything else as it comes.
pub(super) fn config(
    dir: &Path,
    address: SocketAddr,
    admin: &Admin,
    databases: &Databases,
) -> String {
    let server = |address: SocketAddr, hostgroup: u32| {
        format!(
            "{{ address = \"{}\", port = {}, hostgroup = {hostgroup}, \
             max_connections = {MAX_CONNECTIONS} }}",
            address.ip(),
            address.port()
        )
    };
    let rule = |id: u32, pattern: &str, hostgroup: u32| {
        format!(
            "{{ rule_id = {id}, active = 1, match_digest = \"{pattern}\", \
             destination_hostgroup = {hostgroup}, apply = 1 }}"
        )
    };
    format!(
        "datadir = \"{dir}\"\nerrorlog = \"{dir}/proxysql.log\"\n\
         admin_variables = {{\n  admin_credentials = \"admin:admin\"\n  mysql_ifaces = \"{}\"\n\
         \x20 pgsql_ifaces = \"{}\"\n}}\n\
         mysql_variables = {{\n  threads = 1\n  interfaces = \"{address}\"\n\
         \x20 max_connections = {MAX_CONNECTIONS}\n  default_schema = \"{DATABASE}\"\n\
         \x20 server_version = \"10.11.0\"\n  monitor_username = \"{}\"\n\
         \x20 monitor_password = \"{}\"\n}}\n\
         pgsql_variables = {{\n  threads = 1\n  interfaces = \"{}\"\n}}\n\
         mysql_servers = (\n  {},\n  {}\n)\n\
         mysql_replication_hostgroups = (\n\
         \x20 {{ writer_hostgroup = {WRITERS}, reader_hostgroup = {READERS}, comment = \"\" }}\n)\n\
         mysql_users = (\n  {{ username = \"{}\", password = \"{}\", \
         default_hostgroup = {WRITERS}, active = 1 }}\n)\n\
         mysql_query_rules = (\n  {},\n  {}\n)\n",
        admin.mysql,
        admin.postgres,
        MONITOR.user,
        MONITOR.password,
        admin.postgres_clients,
        server(databases.primary.address, WRITERS),
        server(databases.replica.address, READERS),
        CLIENT.user,
        CLIENT.password,
        rule(1, "^SELECT.*FOR UPDATE", WRITERS),
        rule(2, "^SELECT", READERS),
        dir = dir.display(),
    )
}
