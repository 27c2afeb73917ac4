//! Which server a client's address prefers, and whom next when that one cannot.
//!
//! Rendezvous hashing with weights: every server bids for a client with a number drawn from the
//! client's address and its own identity, and the highest bid wins. A server that comes takes
//! clients from the others in proportion to the weights, one that goes leaves its own to them in
//! the same way, and nobody else is moved. Nothing is remembered, so that all workers, a process
//! after its restart and two balancers with one configuration agree.

use std::net::IpAddr;

use super::server::Server;

/// What the servers of a pool draw their bids from, by index.
#[derive(Debug)]
pub(super) struct Affinity(Box<[u64]>);

/// A client, as bids see it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Client(u64);

impl Client {
    /// The client at this address. An IPv4 address is the same client when an IPv6 socket has
    /// accepted it.
    pub(super) fn new(address: IpAddr) -> Self {
        Self(match address.to_canonical() {
            IpAddr::V4(address) => hash(&address.octets()),
            IpAddr::V6(address) => hash(&address.octets()),
        })
    }
}

impl Affinity {
    /// By name and address: those of one name have several.
    pub(super) fn of<'a>(servers: impl Iterator<Item = &'a Server>) -> Self {
        let seed = |server: &Server| {
            let address = server.address().to_string();
            hash(server.name().as_bytes()) ^ mix(hash(address.as_bytes()))
        };
        Self(servers.map(seed).collect())
    }

    /// What a server of this weight, which is not 0, bids for a client.
    pub(super) fn bid(&self, server: usize, weight: u16, client: Client) -> u64 {
        // One bit less than a number holds, for the half.
        const BITS: u32 = f64::MANTISSA_DIGITS - 1;
        let draw = mix(client.0 ^ self.0[server]) >> (u64::BITS - BITS);
        // Between 0 and 1, and neither of them. Of numbers divided so, that of a server is the
        // highest with a probability in proportion to its weight.
        let uniform = (draw as f64 + 0.5) / (1_u64 << BITS) as f64;
        let bid = f64::from(weight) / -uniform.ln();
        // Numbers above 0 compare as their bits do.
        bid.to_bits()
    }
}

/// FNV-1a, for a few bytes: the same in every version of ringway, which the hashes of the standard
/// library are not.
fn hash(bytes: &[u8]) -> u64 {
    const OFFSET_BASIS: u64 = 0xcbf2_9ce4_8422_2325;
    const PRIME: u64 = 0x0100_0000_01b3;
    let step = |hash: u64, &byte: &u8| (hash ^ u64::from(byte)).wrapping_mul(PRIME);
    bytes.iter().fold(OFFSET_BASIS, step)
}

/// The finalizer of SplitMix64: neighbouring addresses draw numbers that have nothing in common.
fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::config::Address;

    fn servers(count: u16) -> Vec<Server> {
        let server = |i| {
            let address = Address::Tcp(([10, 0, 0, 1], 80 + i).into());
            Server::new("web", &format!("web-{i}"), address, 1)
        };
        (0..count).map(server).collect()
    }

    fn preferred(affinity: &Affinity, weights: &[u16], client: u32) -> usize {
        let client = Client::new(IpAddr::V4(client.into()));
        let bid = |&server: &usize| affinity.bid(server, weights[server], client);
        (0..weights.len()).max_by_key(bid).unwrap()
    }

    #[test]
    fn clients_of_one_network_spread_by_weight() {
        let weights = [1, 2, 1, 4];
        let servers = servers(4);
        let affinity = Affinity::of(servers.iter());
        let mut clients = [0_u32; 4];
        for client in 0..8000 {
            clients[preferred(&affinity, &weights, 0x0a01_0000 + client)] += 1;
        }
        for (clients, weight) in clients.into_iter().zip(weights) {
            let share = 1000 * u32::from(weight);
            assert!(clients.abs_diff(share) < share / 8, "{clients} of {share}");
        }
    }

    #[test]
    fn what_a_client_prefers_is_the_same_for_ever() {
        let servers = servers(5);
        let affinity = Affinity::of(servers.iter());
        let preferred = |client| preferred(&affinity, &[1; 5], client);
        let clients = 0xc0a8_0001..0xc0a8_0011;
        assert_eq!(
            clients.map(preferred).collect::<Vec<_>>(),
            [4, 0, 2, 4, 4, 1, 2, 2, 2, 3, 2, 1, 3, 1, 1, 4],
            "a new version moves no client"
        );
    }

    #[test]
    fn an_ipv4_client_is_the_same_on_an_ipv6_socket() {
        let mapped: IpAddr = "::ffff:10.1.2.3".parse().unwrap();
        let plain: IpAddr = "10.1.2.3".parse().unwrap();
        assert_eq!(Client::new(mapped).0, Client::new(plain).0);
    }

    proptest! {
        /// Whoever leaves, only his clients move.
        #[test]
        fn clients_of_those_who_stay_are_not_moved(
            weights in prop::collection::vec(1..100_u16, 2..8),
            leaving in any::<prop::sample::Index>(),
            client in any::<u32>(),
        ) {
            let mut servers = servers(weights.len() as u16);
            let before = preferred(&Affinity::of(servers.iter()), &weights, client);
            let leaving = leaving.index(weights.len());
            servers.remove(leaving);
            let mut rest = weights.clone();
            rest.remove(leaving);
            let after = preferred(&Affinity::of(servers.iter()), &rest, client);
            if before != leaving {
                prop_assert_eq!(after + usize::from(after >= leaving), before);
            }
        }
    }
}
