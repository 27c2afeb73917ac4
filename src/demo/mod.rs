//! `ringway demo`: two web servers, a MySQL primary and its replica inside the process, and a
//! balancer in front of them, HTTPS included, so that it can be tried with nothing installed and no
//! root.

pub mod mysql;
mod web;

use std::fmt;
use std::io::{self, Write};
use std::net::{Ipv4Addr, SocketAddr};

use nix::sys::resource::{Resource, getrlimit};
use socket2::{Domain, Socket, Type};

use crate::config::{Config, ListenerTls, ListenerTlsMode};
use crate::control;

/// How many ports after the wanted one are tried when it is taken.
const PORTS_TRIED: u16 = 50;

/// Where the demo listens, if the ports are free; the next free ones otherwise.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// The balancer's port.
    pub port: u16,
    /// The balancer's port for HTTPS.
    pub https_port: u16,
    /// The admin port.
    pub admin_port: u16,
    /// The balancer's MySQL port.
    pub mysql_port: u16,
}

/// The parts of the descriptor limit of which sessions get one each: here a MySQL session has the
/// sockets of both servers, too, which is five, and what is left is for everything else.
const DESCRIPTOR_PARTS: u64 = 8;

/// More sessions than this there cannot be: each takes a source port towards one of two servers.
const SESSIONS_PORTS_ALLOW: u32 = 1 << 16;

/// What runs where.
struct Scene {
    balancer: SocketAddr,
    https: SocketAddr,
    admin: SocketAddr,
    mysql: SocketAddr,
    servers: [SocketAddr; 2],
    databases: mysql::Pair,
    /// `None`: the descriptor limit is high enough for any number.
    max_connections: Option<u32>,
}

/// Runs until a signal ends it.
///
/// # Errors
/// When no port is free, and whatever keeps [`control::run`] from running.
pub fn run(options: Options) -> Result<(), control::Error> {
    // The servers' threads inherit the mask; signals are the control thread's.
    control::block_signals()?;
    let servers = web::start(["web-01", "web-02"])
        .map_err(|cause| cannot_open("cannot start the demo's web servers", cause))?;
    let databases = mysql::start()
        .map_err(|cause| cannot_open("cannot start the demo's MySQL servers", cause))?;
    let wanted = [
        options.port,
        options.https_port,
        options.admin_port,
        options.mysql_port,
    ];
    let held = hold_ports(wanted)?;
    let [balancer, https, admin, mysql] = held.each_ref().map(|held| held.address);
    let scene = Scene {
        balancer,
        https,
        admin,
        mysql,
        servers,
        databases,
        max_connections: max_connections(),
    };

    let config = with_own_certificate(&scene.config());
    // Standard output may be closed; the demo goes on.
    let mut out = io::stdout();
    for (wanted, held) in wanted.into_iter().zip(&held) {
        let got = held.address.port();
        // 0 leaves the choice to the kernel: that is not a port that somebody could have.
        if wanted != 0 && got != wanted {
            let _ = writeln!(out, "Port {wanted} is taken; it is {got} instead.");
        }
    }
    let _ = write!(out, "{scene}");
    control::run(None, config)
}

/// What the text says, but for the certificate that it names: a new one takes its place.
fn with_own_certificate(text: &str) -> Config {
    let mut config = Config::parse(text).expect("the demo's configuration is valid");
    for tls in config.listeners.iter_mut().flat_map(|l| &mut l.tls) {
        if let ListenerTls {
            mode: ListenerTlsMode::Terminate(server),
            ..
        } = tls
        {
            server.certificates.clear();
        }
    }
    config
}

/// A port that was free, and stays out of the kernel's choice for others as long as this lives:
/// between now and the balancer's own `listen`, somebody's port 0 could be the same.
///
/// It is bound and not listened on, so it is in the way of nobody who, like the balancer, binds
/// with `SO_REUSEADDR`: socket(7).
#[derive(Debug)]
struct HeldPort {
    address: SocketAddr,
    _socket: Socket,
}

impl HeldPort {
    /// # Errors
    /// When somebody listens there.
    fn new(port: u16) -> io::Result<Self> {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
        socket.set_reuse_address(true)?;
        socket.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, port)).into())?;
        let address = socket.local_addr()?.as_socket();
        Ok(Self {
            address: address.expect("a socket of IPv4 has an address of IPv4"),
            _socket: socket,
        })
    }

    /// The wanted port of the loopback address, or the next one that nobody has, these included.
    fn near(wanted: u16, held: &[Self]) -> Result<Self, control::Error> {
        let last = wanted.saturating_add(PORTS_TRIED);
        let mut cause = io::Error::from(io::ErrorKind::AddrInUse);
        let is_held = |port| held.iter().any(|held| held.address.port() == port);
        for port in (wanted..=last).filter(|&port| !is_held(port)) {
            match Self::new(port) {
                Ok(port) => return Ok(port),
                Err(error) => cause = error,
            }
        }
        Err(cannot_open(
            &format!("cannot listen on 127.0.0.1:{wanted} to {last}"),
            cause,
        ))
    }
}

/// A free port for each wanted one, no two the same.
fn hold_ports<const N: usize>(wanted: [u16; N]) -> Result<[HeldPort; N], control::Error> {
    let mut held = Vec::with_capacity(N);
    for wanted in wanted {
        held.push(HeldPort::near(wanted, &held)?);
    }
    Ok(held
        .try_into()
        .expect("one is held for each that is wanted"))
}

/// How many sessions there may be, so that the web servers have a descriptor for each as well.
fn max_connections() -> Option<u32> {
    // The balancer raises the soft limit to the hard one.
    let (_, limit) = getrlimit(Resource::RLIMIT_NOFILE).ok()?;
    let sessions = u32::try_from(limit / DESCRIPTOR_PARTS).unwrap_or(u32::MAX);
    (sessions < SESSIONS_PORTS_ALLOW).then_some(sessions.max(1))
}

fn cannot_open(what: &str, cause: io::Error) -> control::Error {
    control::Error::Open {
        what: what.to_owned(),
        cause,
    }
}

impl Scene {
    fn config(&self) -> String {
        let Self {
            balancer,
            https,
            admin,
            mysql,
            servers: [first, second],
            databases: mysql::Pair { primary, replica },
            max_connections,
        } = self;
        let process = max_connections.map_or_else(String::new, |sessions| {
            format!("[process]\nmax_connections = {sessions}\n\n")
        });
        format!(
            r#"{process}[admin]
listen = "{admin}"

[[listener]]
name = "web"
listen = ["{balancer}"]
pool = "web"

[[listener]]
name = "web-tls"
listen = ["{https}"]
pool = "web"
  [listener.tls]
  mode = "terminate"
  # The demo makes a certificate when it starts, and uses no file.
  certificate = [{{ certificate_file = "/etc/ringway/site.pem", key_file = "/etc/ringway/site.key" }}]

[[pool]]
name = "web"
health_check = {{ type = "http", path = "/" }}
server = [
  {{ name = "web-01", address = "{first}" }},
  {{ name = "web-02", address = "{second}" }},
]

[[listener]]
name = "mysql"
listen = ["{mysql}"]
protocol = "mysql"
pool = "db"

[[pool]]
name = "db"
server = [
  {{ name = "db-primary", address = "{primary}", role = "primary" }},
  {{ name = "db-replica", address = "{replica}", role = "replica" }},
]
"#
        )
    }
}

impl fmt::Display for Scene {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            balancer,
            https,
            admin,
            mysql: sql,
            servers: [first, second],
            databases: mysql::Pair { primary, replica },
            ..
        } = self;
        writeln!(
            f,
            "ringway demo: two web servers behind http://{balancer}/ and https://{https}/\n\
             and a MySQL primary with its replica behind {sql}\n"
        )?;
        writeln!(f, "Try, in another terminal:")?;
        write_aligned(f, &self.web_lines())?;
        writeln!(f, "and in a browser the status page: http://{admin}/\n")?;
        let (host, port) = (sql.ip(), sql.port());
        writeln!(f, "With the command line of MariaDB:")?;
        writeln!(
            f,
            "  mariadb -h{host} -P{port} -udemo --skip-ssl -e 'SELECT @@hostname'"
        )?;
        writeln!(f, "or with another statement:")?;
        write_aligned(f, &mysql_lines())?;
        writeln!(
            f,
            "What to watch: reads are answered by db-replica, what writes or locks by db-primary.\n\
             The replica follows within a few milliseconds, and takes no writes but its primary's.\n"
        )?;
        writeln!(
            f,
            "The web servers themselves: web-01 on {first}, web-02 on {second}."
        )?;
        writeln!(
            f,
            "The MySQL servers themselves: db-primary on {primary}, db-replica on {replica}."
        )?;
        writeln!(f, "The configuration, to start your own from:\n")?;
        for line in self.config().lines() {
            writeln!(f, "  {line}")?;
        }
        writeln!(f, "\nCtrl-C ends it.\n")
    }
}

/// A command to try, and what it shows.
type Line = (String, &'static str);

impl Scene {
    fn web_lines(&self) -> [Line; 6] {
        let Self {
            balancer,
            https,
            admin,
            ..
        } = self;
        [
            (
                format!("curl http://{balancer}/"),
                "who answers? they take turns",
            ),
            (
                format!("curl -k https://{https}/"),
                "over TLS; -k: nobody has signed the demo's certificate",
            ),
            (
                format!("curl -o /dev/null http://{balancer}/large"),
                "10 MiB, spliced",
            ),
            (
                format!("curl -o /dev/null http://{balancer}/bytes/5000"),
                "as many as you like",
            ),
            (
                format!("curl http://{admin}/metrics"),
                "what Prometheus reads",
            ),
            (
                format!("curl http://{admin}/api/status"),
                "the same for scripts",
            ),
        ]
    }
}

fn mysql_lines() -> [Line; 4] {
    [
        ("REPLACE INTO kv VALUES ('a', 'b')", "a write"),
        ("SELECT *, @@hostname FROM kv", "a read"),
        (
            "SELECT *, @@hostname FROM kv FOR UPDATE",
            "a read that locks",
        ),
        ("BEGIN; SELECT @@hostname; COMMIT", "a transaction"),
    ]
    .map(|(line, what)| (line.to_owned(), what))
}

fn write_aligned(f: &mut fmt::Formatter<'_>, lines: &[Line]) -> fmt::Result {
    let width = lines.iter().map(|(line, _)| line.len()).max().unwrap_or(0);
    for (line, what) in lines {
        writeln!(f, "  {line:width$}   {what}")?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;
    use crate::config::Role;

    #[test]
    fn what_the_demo_shows_is_what_it_runs_and_is_valid() {
        let at = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let scene = Scene {
            balancer: at(8080),
            https: at(8443),
            admin: at(9900),
            mysql: at(3307),
            servers: [at(1), at(2)],
            databases: mysql::Pair {
                primary: at(3),
                replica: at(4),
            },
            max_connections: None,
        };
        for max_connections in [None, Some(204)] {
            let scene = Scene {
                max_connections,
                ..scene
            };
            let config = with_own_certificate(&scene.config());
            assert_eq!(config.process.max_connections, max_connections);
            assert_eq!(config.pools[0].servers.len(), 2);
            let tls = config.listeners[1].tls.as_ref().unwrap();
            assert_eq!(tls.mode.as_str(), "terminate");
            assert_eq!(tls.mode.server().unwrap().certificates, []);
            let roles = config.pools[1].servers.iter().map(|server| server.role);
            assert!(roles.eq([Some(Role::Primary), Some(Role::Replica)]));
            for line in scene.config().lines() {
                assert!(scene.to_string().contains(line));
            }
        }
    }

    #[test]
    fn a_port_that_is_taken_is_passed_over() {
        let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = taken.local_addr().unwrap().port();
        let held = HeldPort::near(port, &[]).unwrap();
        assert_ne!(held.address.port(), port);
    }

    #[test]
    fn one_port_that_is_wanted_twice_is_found_once() {
        let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = free.local_addr().unwrap().port();
        drop(free);
        for wanted in [port, 0] {
            let held = hold_ports([wanted; 2]).unwrap();
            let [first, second] = held.each_ref().map(|held| held.address);
            assert_ne!(first, second);
        }
    }

    #[test]
    fn a_held_port_can_be_listened_on() {
        let held = HeldPort::new(0).unwrap();
        TcpListener::bind(held.address).unwrap();
    }
}
