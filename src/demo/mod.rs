//! `ringway demo`: two web servers inside the process and a balancer in front of them, so that it
//! can be tried with nothing installed and no root.

pub mod mysql;
mod web;

use std::fmt;
use std::io::{self, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};

use nix::sys::resource::{Resource, getrlimit};

use crate::config::Config;
use crate::control;

/// How many ports after the wanted one are tried when it is taken.
const PORTS_TRIED: u16 = 50;

/// Where the demo listens, if the ports are free; the next free ones otherwise.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// The balancer's port.
    pub port: u16,
    /// The admin port.
    pub admin_port: u16,
}

/// The parts of the descriptor limit of which sessions get one each: here a session has the web
/// server's socket, too, which is three, and what is left is for everything else.
const DESCRIPTOR_PARTS: u64 = 5;

/// More sessions than this there cannot be: each takes a source port towards one of two servers.
const SESSIONS_PORTS_ALLOW: u32 = 1 << 16;

/// What runs where.
struct Scene {
    balancer: SocketAddr,
    admin: SocketAddr,
    servers: [SocketAddr; 2],
    /// `None`: the descriptor limit is high enough for any number.
    max_connections: Option<u32>,
}

/// Runs until a signal ends it.
///
/// # Errors
/// When no port is free, and whatever keeps [`control::run`] from running.
pub fn run(options: Options) -> Result<(), control::Error> {
    // The web servers' thread inherits the mask; signals are the control thread's.
    control::block_signals()?;
    let servers = web::start(["web-01", "web-02"])
        .map_err(|cause| cannot_open("cannot start the demo's web servers", cause))?;
    let [balancer, admin] = free_ports([options.port, options.admin_port])?;
    let scene = Scene {
        balancer,
        admin,
        servers,
        max_connections: max_connections(),
    };

    let text = scene.config();
    let config = Config::parse(&text).expect("the demo's configuration is valid");
    // Standard output may be closed; the demo goes on.
    let mut out = io::stdout();
    for (wanted, got) in [(options.port, balancer), (options.admin_port, admin)] {
        // 0 leaves the choice to the kernel: that is not a port that somebody could have.
        if wanted != 0 && got.port() != wanted {
            let _ = writeln!(out, "Port {wanted} is taken; it is {} instead.", got.port());
        }
    }
    let _ = write!(out, "{scene}");
    control::run(None, config)
}

/// A free port for each wanted one. Each is held until all are found, or one could be found twice.
fn free_ports<const N: usize>(wanted: [u16; N]) -> Result<[SocketAddr; N], control::Error> {
    let mut held = Vec::with_capacity(N);
    let mut found = [SocketAddr::from((Ipv4Addr::LOCALHOST, 0)); N];
    for (wanted, found) in wanted.into_iter().zip(&mut found) {
        let listener = listen_near(wanted)?;
        let address = listener.local_addr();
        *found = address.map_err(|cause| cannot_open("cannot listen", cause))?;
        held.push(listener);
    }
    Ok(found)
}

/// On the wanted port of the loopback address, or the next one that nobody has.
fn listen_near(wanted: u16) -> Result<TcpListener, control::Error> {
    let last = wanted.saturating_add(PORTS_TRIED);
    let mut cause = io::Error::from(io::ErrorKind::AddrInUse);
    for port in wanted..=last {
        match TcpListener::bind((Ipv4Addr::LOCALHOST, port)) {
            Ok(listener) => return Ok(listener),
            Err(error) => cause = error,
        }
    }
    Err(cannot_open(
        &format!("cannot listen on 127.0.0.1:{wanted} to {last}"),
        cause,
    ))
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
            admin,
            servers: [first, second],
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

[[pool]]
name = "web"
health_check = {{ type = "http", path = "/" }}
server = [
  {{ name = "web-01", address = "{first}" }},
  {{ name = "web-02", address = "{second}" }},
]
"#
        )
    }
}

impl fmt::Display for Scene {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            balancer,
            admin,
            servers: [first, second],
            ..
        } = self;
        writeln!(
            f,
            "ringway demo: two web servers behind http://{balancer}/\n"
        )?;
        writeln!(f, "Try, in another terminal:")?;
        let lines = [
            (
                format!("curl http://{balancer}/"),
                "who answers? they take turns",
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
        ];
        let width = lines.iter().map(|(line, _)| line.len()).max().unwrap_or(0);
        for (line, what) in &lines {
            writeln!(f, "  {line:width$}   {what}")?;
        }
        writeln!(f, "and in a browser the status page: http://{admin}/\n")?;
        writeln!(
            f,
            "The web servers themselves: web-01 on {first}, web-02 on {second}."
        )?;
        writeln!(f, "The configuration, to start your own from:\n")?;
        for line in self.config().lines() {
            writeln!(f, "  {line}")?;
        }
        writeln!(f, "\nCtrl-C ends it.\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_demo_shows_is_what_it_runs_and_is_valid() {
        let at = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let scene = Scene {
            balancer: at(8080),
            admin: at(9900),
            servers: [at(1), at(2)],
            max_connections: None,
        };
        for max_connections in [None, Some(204)] {
            let scene = Scene {
                max_connections,
                ..scene
            };
            let config = Config::parse(&scene.config()).unwrap();
            assert_eq!(config.process.max_connections, max_connections);
            assert_eq!(config.pools[0].servers.len(), 2);
            for line in scene.config().lines() {
                assert!(scene.to_string().contains(line));
            }
        }
    }

    #[test]
    fn a_port_that_is_taken_is_passed_over() {
        let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = taken.local_addr().unwrap().port();
        let [found] = free_ports([port]).unwrap();
        assert_ne!(found.port(), port);
    }

    #[test]
    fn one_port_that_is_wanted_twice_is_found_once() {
        let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = free.local_addr().unwrap().port();
        drop(free);
        for wanted in [port, 0] {
            let [first, second] = free_ports([wanted; 2]).unwrap();
            assert_ne!(first, second);
        }
    }
}
