//! ProxySQL, set up as its documentation splits reads from writes: two hostgroups, told apart by
//! `read_only`, and two query rules.

use std::net::SocketAddr;
use std::path::Path;

use crate::mariadb::{CLIENT, DATABASE, MAX_CONNECTIONS, MONITOR};
use crate::scenario::Encrypted;

const WRITERS: u32 = 10;
const READERS: u32 = 20;

/// What ProxySQL shows its clients: a key, a certificate and who signed it. It looks for them in
/// its data directory, and makes others where there are none.
pub(super) const TLS_FILES: [&str; 3] = ["proxysql-key.pem", "proxysql-cert.pem", AUTHORITY_FILE];

const AUTHORITY_FILE: &str = "proxysql-ca.pem";

/// Where ProxySQL listens, and what for.
pub(super) struct Ports {
    pub(super) clients: SocketAddr,
    pub(super) admin: SocketAddr,
    /// ProxySQL 3 has two more for PostgreSQL, used or not.
    pub(super) postgres_clients: SocketAddr,
    pub(super) postgres_admin: SocketAddr,
}

/// The configuration file. One thread, everything else as it comes, but for two things: a primary
/// that also reads, as by default, would not be the same work; and TLS is spoken where it is
/// measured, where no client gets in without.
pub(super) fn config(
    dir: &Path,
    ports: &Ports,
    primary: SocketAddr,
    replica: SocketAddr,
    encrypted: Encrypted,
) -> String {
    let to_servers = encrypted == Encrypted::Everything;
    let authority = if to_servers {
        format!("  ssl_p2s_ca = \"{}/{AUTHORITY_FILE}\"\n", dir.display())
    } else {
        String::new()
    };
    format!(
        "datadir = \"{dir}\"\nerrorlog = \"{dir}/proxysql.log\"\n\
         admin_variables = {{\n  admin_credentials = \"admin:admin\"\n\
         \x20 mysql_ifaces = \"{}\"\n  pgsql_ifaces = \"{}\"\n}}\n\
         mysql_variables = {{\n  threads = 1\n  interfaces = \"{}\"\n\
         \x20 have_ssl = {has_clients}\n{authority}\
         \x20 max_connections = {MAX_CONNECTIONS}\n  default_schema = \"{DATABASE}\"\n\
         \x20 server_version = \"10.11.0\"\n  monitor_writer_is_also_reader = false\n\
         \x20 monitor_username = \"{}\"\n  monitor_password = \"{}\"\n}}\n\
         pgsql_variables = {{\n  threads = 1\n  interfaces = \"{}\"\n}}\n\
         mysql_servers = (\n  {},\n  {}\n)\n\
         mysql_replication_hostgroups = (\n\
         \x20 {{ writer_hostgroup = {WRITERS}, reader_hostgroup = {READERS}, comment = \"\" }}\n)\n\
         mysql_users = (\n  {{ username = \"{}\", password = \"{}\", \
         use_ssl = {}, default_hostgroup = {WRITERS}, active = 1 }}\n)\n\
         mysql_query_rules = (\n  {},\n  {}\n)\n",
        ports.admin,
        ports.postgres_admin,
        ports.clients,
        MONITOR.user,
        MONITOR.password,
        ports.postgres_clients,
        server(primary, WRITERS, to_servers),
        server(replica, READERS, to_servers),
        CLIENT.user,
        CLIENT.password,
        u8::from(encrypted.has_clients()),
        rule(1, "^SELECT.*FOR UPDATE", WRITERS),
        rule(2, "^SELECT", READERS),
        dir = dir.display(),
        has_clients = encrypted.has_clients(),
    )
}

fn server(address: SocketAddr, hostgroup: u32, has_tls: bool) -> String {
    format!(
        "{{ address = \"{}\", port = {}, hostgroup = {hostgroup}, use_ssl = {} }}",
        address.ip(),
        address.port(),
        u8::from(has_tls)
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

    fn config_with(encrypted: Encrypted) -> String {
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
        config(Path::new("/d"), &ports, primary, replica, encrypted)
    }

    #[test]
    fn reads_go_to_the_replica_and_everything_else_to_the_primary() {
        let config = config_with(Encrypted::Nothing);
        for part in [
            "  threads = 1\n  interfaces = \"127.0.0.1:1\"\n",
            "mysql_ifaces = \"127.0.0.1:2\"\n",
            "{ address = \"127.0.0.1\", port = 5, hostgroup = 10, use_ssl = 0 }",
            "{ address = \"127.0.0.1\", port = 6, hostgroup = 20, use_ssl = 0 }",
            "match_digest = \"^SELECT\", destination_hostgroup = 20, apply = 1 }",
            "password = \"sbtest-secret\", use_ssl = 0, default_hostgroup = 10, active = 1 }",
        ] {
            assert!(config.contains(part), "{part} is missing in\n{config}");
        }
    }

    #[test]
    fn clients_have_to_encrypt_and_servers_are_spoken_to_over_tls_where_that_is_measured() {
        for (encrypted, clients, servers) in [
            (Encrypted::Nothing, 0, 0),
            (Encrypted::Clients, 1, 0),
            (Encrypted::Everything, 1, 1),
        ] {
            let config = config_with(encrypted);
            let authority = "\n  ssl_p2s_ca = \"/d/proxysql-ca.pem\"\n";
            assert_eq!(config.contains(authority), servers == 1, "{config}");
            for part in [
                format!("\n  have_ssl = {}\n", clients == 1),
                format!("\"sbtest-secret\", use_ssl = {clients}, "),
                format!("port = 5, hostgroup = 10, use_ssl = {servers} }}"),
                format!("port = 6, hostgroup = 20, use_ssl = {servers} }}"),
            ] {
                assert!(config.contains(&part), "{part} is missing in\n{config}");
            }
        }
    }
}
