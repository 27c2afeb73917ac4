//! Configuration files, put together.

use std::fmt::{Display, Write};
use std::fs::{self, Permissions};
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::PermissionsExt;

use tempfile::TempDir;

use super::authority::{Authority, Identity};
use super::ports::Port;

/// A configuration file: one listener and one pool, and what a test adds.
#[derive(Clone, Debug)]
pub(crate) struct Config {
    admin: Port,
    process: Vec<String>,
    listeners: Vec<Listener>,
    pools: Vec<Pool>,
    access_log: Vec<String>,
    statement_log: Vec<String>,
    log: Vec<String>,
}

#[derive(Clone, Debug)]
struct Listener {
    name: String,
    addresses: Vec<String>,
    pool: String,
    lines: Vec<String>,
    tls: Vec<String>,
    certificates: Vec<Vec<String>>,
    tls_routes: Vec<Vec<String>>,
    port: Option<Port>,
}

#[derive(Clone, Debug)]
struct Pool {
    name: String,
    lines: Vec<String>,
    health_check: Vec<String>,
    tls: Vec<String>,
    mysql: Vec<String>,
    mysql_users: Vec<Vec<String>>,
    servers: Vec<Server>,
}

#[derive(Clone, Debug)]
struct Server {
    name: String,
    address: String,
    lines: Vec<String>,
}

/// A password in a file that only its owner may read.
#[derive(Debug)]
pub(crate) struct PasswordFile(TempDir);

impl PasswordFile {
    /// Writes it.
    pub(crate) fn new(password: &str) -> Self {
        let directory = TempDir::new().unwrap();
        let path = directory.path().join("password");
        fs::write(&path, format!("{password}\n")).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
        Self(directory)
    }

    /// What a configuration has to say about it.
    pub(crate) fn line(&self) -> String {
        format!("password_file = {:?}", self.0.path().join("password"))
    }
}

impl Config {
    /// The listener `web` on a port of its own, two workers, and the pool `web` of servers `s0`,
    /// `s1`, … at these addresses.
    pub(crate) fn to<A: Display>(servers: impl IntoIterator<Item = A>) -> Self {
        let empty = Self {
            admin: Port::reserve(),
            process: vec!["workers = 2".to_owned()],
            listeners: Vec::new(),
            pools: Vec::new(),
            access_log: Vec::new(),
            statement_log: Vec::new(),
            log: Vec::new(),
        };
        empty.and_pool("web", servers).and_listener("web", "web")
    }

    /// A mysql listener on a port of its own and the pool of this primary, `s0`, and replica, `s1`.
    pub(crate) fn mysql(primary: SocketAddr, replica: SocketAddr) -> Self {
        Self::to([primary, replica])
            .server(0, "role = \"primary\"")
            .server(1, "role = \"replica\"")
            .listener("protocol = \"mysql\"")
            // A replica is slow to answer on a machine that is busy with other tests.
            .pool_mysql("replica_login_timeout = \"10s\"")
    }

    /// One more pool, of servers `s0`, `s1`, … at these addresses.
    pub(crate) fn and_pool<A: Display>(
        mut self,
        name: &str,
        servers: impl IntoIterator<Item = A>,
    ) -> Self {
        self.pools.push(Pool {
            name: name.to_owned(),
            lines: Vec::new(),
            health_check: Vec::new(),
            tls: Vec::new(),
            mysql: Vec::new(),
            mysql_users: Vec::new(),
            servers: Vec::new(),
        });
        for address in servers {
            self = self.and_server(address);
        }
        self
    }

    /// One more listener, on a port of its own.
    pub(crate) fn and_listener(self, name: &str, pool: &str) -> Self {
        let port = Port::reserve();
        let mut config = self.and_listener_at(name, pool, [port.v4()]);
        config.listeners.last_mut().unwrap().port = Some(port);
        config
    }

    /// One more listener, on these addresses.
    pub(crate) fn and_listener_at<A: Display>(
        mut self,
        name: &str,
        pool: &str,
        addresses: impl IntoIterator<Item = A>,
    ) -> Self {
        self.listeners.push(Listener {
            name: name.to_owned(),
            addresses: addresses
                .into_iter()
                .map(|address| address.to_string())
                .collect(),
            pool: pool.to_owned(),
            lines: Vec::new(),
            tls: Vec::new(),
            certificates: Vec::new(),
            tls_routes: Vec::new(),
            port: None,
        });
        self
    }

    /// One more server in the last pool.
    pub(crate) fn and_server(mut self, address: impl Display) -> Self {
        let servers = &mut self.pools.last_mut().unwrap().servers;
        servers.push(Server {
            name: format!("s{}", servers.len()),
            address: address.to_string(),
            lines: Vec::new(),
        });
        self
    }

    /// A line for `[process]`; it takes the place of an earlier one for the same key.
    pub(crate) fn process(mut self, line: &str) -> Self {
        set(&mut self.process, line);
        self
    }

    /// A line for the last listener.
    pub(crate) fn listener(mut self, line: &str) -> Self {
        set(&mut self.listeners.last_mut().unwrap().lines, line);
        self
    }

    /// A line for the last listener's `[listener.tls]`.
    pub(crate) fn listener_tls(mut self, line: &str) -> Self {
        set(&mut self.listeners.last_mut().unwrap().tls, line);
        self
    }

    /// TLS of the last listener ends at the balancer, which shows this certificate. Another one of
    /// the same listener adds to it.
    pub(crate) fn terminate(self, identity: &Identity) -> Self {
        let mut config = self.listener_tls("mode = \"terminate\"");
        let listener = config.listeners.last_mut().unwrap();
        listener.certificates.push(identity.lines().to_vec());
        config
    }

    /// A line for the last certificate of the last listener.
    pub(crate) fn certificate(mut self, line: &str) -> Self {
        let listener = self.listeners.last_mut().unwrap();
        set(listener.certificates.last_mut().unwrap(), line);
        self
    }

    /// Connections to the last listener for which this line holds go to this pool.
    pub(crate) fn tls_route(mut self, line: &str, pool: &str) -> Self {
        let lines = vec![line.to_owned(), format!("pool = \"{pool}\"")];
        self.listeners.last_mut().unwrap().tls_routes.push(lines);
        self
    }

    /// A line for the last pool.
    pub(crate) fn pool(mut self, line: &str) -> Self {
        set(&mut self.pools.last_mut().unwrap().lines, line);
        self
    }

    /// A line for the last pool's `[pool.health_check]`.
    pub(crate) fn health_check(mut self, line: &str) -> Self {
        set(&mut self.pools.last_mut().unwrap().health_check, line);
        self
    }

    /// The servers of the last pool are looked after somewhere else, and once: no check takes what
    /// is meant for a session.
    pub(crate) fn checked_at(self, elsewhere: &TcpListener) -> Self {
        let port = elsewhere.local_addr().unwrap().port();
        self.health_check("type = \"tcp\"")
            .health_check("interval = \"1h\"")
            .health_check(&format!("port = {port}"))
    }

    /// A line for the last pool's `[pool.tls]`.
    pub(crate) fn pool_tls(mut self, line: &str) -> Self {
        set(&mut self.pools.last_mut().unwrap().tls, line);
        self
    }

    /// The servers of the last pool have to show a certificate of this authority, for this name.
    pub(crate) fn verify(self, authority: &Authority, name: &str) -> Self {
        self.pool_tls("mode = \"verify\"")
            .pool_tls(&format!("ca_file = {:?}", authority.file()))
            .pool_tls(&format!("server_name = \"{name}\""))
    }

    /// A line for the last pool's `[pool.mysql]`.
    pub(crate) fn pool_mysql(mut self, line: &str) -> Self {
        set(&mut self.pools.last_mut().unwrap().mysql, line);
        self
    }

    /// One more account of the last pool, with its secret.
    pub(crate) fn mysql_user(mut self, name: &str, secret: &str) -> Self {
        let lines = vec![format!("name = \"{name}\""), secret.to_owned()];
        self.pools.last_mut().unwrap().mysql_users.push(lines);
        self
    }

    /// A line for a server of the last pool.
    pub(crate) fn server(mut self, index: usize, line: &str) -> Self {
        set(
            &mut self.pools.last_mut().unwrap().servers[index].lines,
            line,
        );
        self
    }

    /// Without this server of the last pool.
    pub(crate) fn without_server(mut self, name: &str) -> Self {
        self.pools
            .last_mut()
            .unwrap()
            .servers
            .retain(|server| server.name != name);
        self
    }

    /// Without this listener.
    pub(crate) fn without_listener(mut self, name: &str) -> Self {
        self.listeners.retain(|listener| listener.name != name);
        self
    }

    /// With an access log in JSON in this file.
    pub(crate) fn access_log(mut self, path: impl Display) -> Self {
        set(&mut self.access_log, &format!("path = \"{path}\""));
        set(&mut self.access_log, "format = \"json\"");
        self
    }

    /// With the access log as text.
    pub(crate) fn access_log_as_text(mut self) -> Self {
        set(&mut self.access_log, "format = \"text\"");
        self
    }

    /// With a statement log in JSON in this file.
    pub(crate) fn statement_log(mut self, path: impl Display) -> Self {
        set(&mut self.statement_log, &format!("path = \"{path}\""));
        set(&mut self.statement_log, "format = \"json\"");
        self
    }

    /// With a statement log of what took at least so long.
    pub(crate) fn slower_than(mut self, duration: &str) -> Self {
        let line = format!("slower_than = \"{duration}\"");
        set(&mut self.statement_log, &line);
        self
    }

    /// A line for `[log]`.
    pub(crate) fn log(mut self, line: &str) -> Self {
        set(&mut self.log, line);
        self
    }

    /// Without the health check of the last pool.
    pub(crate) fn without_health_check(mut self) -> Self {
        self.pools.last_mut().unwrap().health_check.clear();
        self
    }

    /// Where the admin port listens.
    pub(crate) fn admin_address(&self) -> SocketAddr {
        self.admin.v4()
    }

    /// Where a listener with a port of its own listens.
    #[track_caller]
    pub(crate) fn address_of(&self, listener: &str) -> SocketAddr {
        let mut listeners = self.listeners.iter();
        let found = listeners
            .find(|l| l.name == listener)
            .and_then(|l| l.port.as_ref());
        found.expect("a listener with a port of its own").v4()
    }

    /// Whether a listener reads what its clients say.
    pub(crate) fn is_mysql(&self, listener: &str) -> bool {
        let lines = self.listeners.iter().filter(|l| l.name == listener);
        let mut lines = lines.flat_map(|listener| &listener.lines);
        lines.any(|line| line == "protocol = \"mysql\"")
    }

    /// How many addresses are listened on.
    pub(crate) fn listen_addresses(&self) -> usize {
        self.listeners
            .iter()
            .map(|listener| listener.addresses.len())
            .sum()
    }

    /// The file.
    pub(crate) fn text(&self) -> String {
        let mut text = String::new();
        table(&mut text, "[process]", &self.process);
        table(
            &mut text,
            "[admin]",
            &[format!("listen = \"{}\"", self.admin.v4())],
        );
        if !self.log.is_empty() {
            table(&mut text, "[log]", &self.log);
        }
        if !self.access_log.is_empty() {
            table(&mut text, "[access_log]", &self.access_log);
        }
        if !self.statement_log.is_empty() {
            table(&mut text, "[statement_log]", &self.statement_log);
        }
        for listener in &self.listeners {
            let Listener {
                name,
                addresses,
                pool,
                lines,
                tls,
                certificates,
                tls_routes,
                port: _,
            } = listener;
            let mut all = vec![
                format!("name = \"{name}\""),
                format!("listen = {addresses:?}"),
            ];
            all.push(format!("pool = \"{pool}\""));
            all.extend_from_slice(lines);
            table(&mut text, "[[listener]]", &all);
            if !tls.is_empty() {
                table(&mut text, "[listener.tls]", tls);
            }
            for certificate in certificates {
                table(&mut text, "[[listener.tls.certificate]]", certificate);
            }
            for route in tls_routes {
                table(&mut text, "[[listener.tls.route]]", route);
            }
        }
        for pool in &self.pools {
            let mut lines = vec![format!("name = \"{}\"", pool.name)];
            lines.extend_from_slice(&pool.lines);
            table(&mut text, "[[pool]]", &lines);
            if !pool.health_check.is_empty() {
                table(&mut text, "[pool.health_check]", &pool.health_check);
            }
            if !pool.tls.is_empty() {
                table(&mut text, "[pool.tls]", &pool.tls);
            }
            if !pool.mysql.is_empty() {
                table(&mut text, "[pool.mysql]", &pool.mysql);
            }
            for user in &pool.mysql_users {
                table(&mut text, "[[pool.mysql.user]]", user);
            }
            for Server {
                name,
                address,
                lines,
            } in &pool.servers
            {
                let mut all = vec![
                    format!("name = \"{name}\""),
                    format!("address = \"{address}\""),
                ];
                all.extend_from_slice(lines);
                table(&mut text, "[[pool.server]]", &all);
            }
        }
        text
    }
}

fn set(lines: &mut Vec<String>, line: &str) {
    let key = |line: &str| line.split('=').next().unwrap_or("").trim().to_owned();
    lines.retain(|old| key(old) != key(line));
    lines.push(line.to_owned());
}

fn table(text: &mut String, header: &str, lines: &[String]) {
    writeln!(text, "{header}").unwrap();
    for line in lines {
        writeln!(text, "{line}").unwrap();
    }
    text.push('\n');
}
