//! Host names become addresses: one server for each.

use std::collections::{BTreeSet, HashMap};
use std::io;
use std::net::SocketAddr;

use super::Address;
use super::diagnostic::{Complaint, Diagnostic, Errors, Severity};
use super::model::{Config, Pool, Position, Server, ServerAddress};
use super::mysql::{Roles, check_primaries};
use super::pool::check_weights;

impl Config {
    /// Replaces every server whose address is a name by one server for each of its addresses, in
    /// ascending order, under the same name. `lookup` is asked once for each name and port.
    ///
    /// # Errors
    /// All at once: names that do not resolve, servers of a pool that turn out to be the same, and
    /// pools that become too large.
    pub fn resolve(
        mut self,
        lookup: impl FnMut(&str, u16) -> io::Result<Vec<SocketAddr>>,
    ) -> Result<Self, Errors> {
        let mut resolver = Resolver {
            lookup,
            answers: HashMap::new(),
            errors: Vec::new(),
        };
        for pool in &mut self.pools {
            resolver.resolve(pool);
        }
        Errors::if_any(resolver.errors).map(|()| self)
    }
}

impl Server {
    /// Its address, once [`Config::resolve`] has replaced names.
    ///
    /// # Panics
    /// When the address is still a name.
    pub fn fixed_address(&self) -> &Address {
        match &self.address {
            ServerAddress::Fixed(address) => address,
            ServerAddress::Host { host, .. } => {
                panic!("{host} is looked up before the configuration is used")
            }
        }
    }
}

struct Resolver<L> {
    lookup: L,
    answers: HashMap<(String, u16), Result<Vec<Address>, String>>,
    errors: Vec<Diagnostic>,
}

impl<L: FnMut(&str, u16) -> io::Result<Vec<SocketAddr>>> Resolver<L> {
    fn resolve(&mut self, pool: &mut Pool) {
        let errors_before = self.errors.len();
        let mut servers = Vec::with_capacity(pool.servers.len());
        for server in std::mem::take(&mut pool.servers) {
            for address in self.addresses(&server) {
                servers.push(Server {
                    address: ServerAddress::Fixed(address),
                    ..server.clone()
                });
            }
        }
        self.refuse_equal_addresses(pool, &servers);
        if self.errors.len() == errors_before
            && let Err(complaint) = check_together(pool, &servers)
            && let Some(first) = servers.first()
        {
            let message = format!("pool {}: {}", pool.name, complaint.message);
            let complaint = Complaint {
                message,
                ..complaint
            };
            self.record(first.position, complaint);
        }
        pool.servers = servers;
    }

    /// None when there are none, which has been recorded.
    fn addresses(&mut self, server: &Server) -> Vec<Address> {
        let (host, port) = match &server.address {
            ServerAddress::Fixed(address) => return vec![address.clone()],
            ServerAddress::Host { host, port } => (host, *port),
        };
        let lookup = &mut self.lookup;
        let answer = self
            .answers
            .entry((host.clone(), port))
            .or_insert_with(|| distinct(lookup(host, port)));
        match answer {
            Ok(addresses) => addresses.clone(),
            Err(why) => {
                let complaint = Complaint::new(format!("server {}: {host} {why}", server.name));
                self.record(server.position, complaint);
                Vec::new()
            }
        }
    }

    fn refuse_equal_addresses(&mut self, pool: &Pool, servers: &[Server]) {
        let mut seen: HashMap<&Address, &Server> = HashMap::new();
        for server in servers {
            let address = server.fixed_address();
            if let Some(first) = seen.insert(address, server) {
                let (name, first, pool) = (&server.name, &first.name, &pool.name);
                let message = format!("server {name} of pool {pool} is {address}, as {first} is");
                self.record(server.position, Complaint::new(message));
            }
        }
    }

    fn record(&mut self, position: Position, complaint: Complaint) {
        self.errors.push(Diagnostic {
            help: complaint.help,
            ..Diagnostic::at(position, Severity::Error, complaint.message)
        });
    }
}

/// What servers have to be together, which a name with several addresses may undo.
fn check_together(pool: &Pool, servers: &[Server]) -> Result<(), Complaint> {
    let servers: Vec<_> = servers.iter().collect();
    check_weights(servers.clone())?;
    match &pool.mysql {
        Some(mysql) if mysql.roles == Roles::Configured => check_primaries(&servers),
        _ => Ok(()),
    }
}

/// Resolvers name an address once for each kind of socket, and IPv4 sometimes as IPv6.
fn distinct(answer: io::Result<Vec<SocketAddr>>) -> Result<Vec<Address>, String> {
    let addresses = answer.map_err(|error| format!("does not resolve: {error}"))?;
    let canonical = |a: SocketAddr| match a {
        SocketAddr::V6(v6) if v6.ip().to_ipv4_mapped().is_some() => {
            SocketAddr::new(a.ip().to_canonical(), a.port())
        }
        _ => a,
    };
    let distinct: BTreeSet<_> = addresses.into_iter().map(canonical).collect();
    match distinct.is_empty() {
        true => Err("has no address".to_owned()),
        false => Ok(distinct.into_iter().map(Address::Tcp).collect()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(servers: &[(&str, &str, u16)]) -> Config {
        let mut text = "[[listener]]\nname = \"l\"\nlisten = \"127.0.0.1:1\"\npool = \"p\"\n\
                        [[pool]]\nname = \"p\"\n"
            .to_owned();
        for (name, address, weight) in servers {
            text += &format!(
                "[[pool.server]]\nname = \"{name}\"\naddress = \"{address}\"\nweight = {weight}\n"
            );
        }
        Config::parse(&text).unwrap()
    }

    fn lookup(host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
        let ips: &[&str] = match host {
            "two" => &["10.0.0.2", "10.0.0.1", "10.0.0.2", "::ffff:10.0.0.1"],
            "one" => &["10.0.0.1"],
            "none" => &[],
            _ => return Err(io::Error::other("no such name")),
        };
        let ips = ips.iter().map(|ip| ip.parse().unwrap());
        Ok(ips.map(|ip| SocketAddr::new(ip, port)).collect())
    }

    fn errors(servers: &[(&str, &str, u16)]) -> Vec<String> {
        let errors = config(servers).resolve(lookup).unwrap_err();
        errors.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_name_becomes_one_server_for_each_address() {
        let config = config(&[("a", "two:80", 3), ("b", "unix:/b", 1)]);
        assert_eq!(config.hosts().collect::<Vec<_>>(), [("two", 80)]);
        let config = config.resolve(lookup).unwrap();
        let servers = config.pools[0].servers.iter();
        let servers: Vec<_> = servers
            .map(|s| (s.name.as_str(), s.fixed_address().to_string(), s.weight))
            .collect();
        let expected = [
            ("a", "10.0.0.1:80", 3),
            ("a", "10.0.0.2:80", 3),
            ("b", "unix:/b", 1),
        ];
        assert_eq!(servers, expected.map(|(n, a, w)| (n, a.to_owned(), w)));
    }

    #[test]
    fn all_names_that_do_not_resolve_are_told_at_once() {
        assert_eq!(
            errors(&[
                ("a", "nowhere:80", 1),
                ("b", "none:80", 1),
                ("c", "one:80", 1)
            ]),
            [
                "9:11: error: server a: nowhere does not resolve: no such name",
                "13:11: error: server b: none has no address",
            ]
        );
    }

    #[test]
    fn two_servers_that_turn_out_to_be_one_are_refused() {
        assert_eq!(
            errors(&[("a", "10.0.0.1:80", 1), ("b", "two:80", 1)]),
            ["13:11: error: server b of pool p is 10.0.0.1:80, as a is"]
        );
    }

    #[test]
    fn weights_are_bounded_again_once_names_are_several_servers() {
        let error = errors(&[("a", "two:80", 40_000), ("b", "10.0.0.3:80", 1)]);
        assert_eq!(error.len(), 1);
        assert!(error[0].contains("pool p: the pool's weights add up to 80001"));
    }

    #[test]
    fn a_primary_whose_name_is_several_servers_is_refused() {
        let text = "[[listener]]\nname = \"l\"\nlisten = \"127.0.0.1:1\"\npool = \"p\"\n\
                    protocol = \"mysql\"\n[[pool]]\nname = \"p\"\n[[pool.server]]\n\
                    name = \"a\"\naddress = \"two:3306\"\nrole = \"primary\"\n";
        let errors = Config::parse(text).unwrap().resolve(lookup).unwrap_err();
        let errors: Vec<_> = errors.iter().map(|error| error.message.clone()).collect();
        let expected = "pool p: the pool has several primaries (a, a), of which 2 are no backup";
        assert_eq!(errors, [expected]);
        let replica = text.replace("primary", "replica");
        let one = "[[pool.server]]\nname = \"b\"\naddress = \"one:3307\"\nrole = \"primary\"\n";
        let config = Config::parse(&format!("{replica}{one}")).unwrap();
        assert!(config.resolve(lookup).is_ok());
    }

    #[test]
    fn a_name_is_looked_up_once() {
        let mut config = config(&[("a", "one:80", 1)]);
        config.pools.push(config.pools[0].clone());
        let mut asked = 0;
        let resolved = config.resolve(|host, port| {
            asked += 1;
            lookup(host, port)
        });
        assert!(resolved.is_ok());
        assert_eq!(asked, 1);
    }
}
