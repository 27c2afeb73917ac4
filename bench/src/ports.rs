//! Free ports on the loopback address.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};

use anyhow::{Context, Result};

/// Hands out each port once. They lie below the range from which the kernel takes source ports:
/// thousands of connections come and go, and one of them must not sit on the next proxy's port.
pub(crate) struct Ports {
    next: u16,
    end: u16,
}

impl Ports {
    pub(crate) fn new() -> Self {
        let range = fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range");
        let end = range
            .ok()
            .and_then(|text| first_number(&text))
            .unwrap_or(32_768)
            .max(12_000);
        // Two runs at a time start at different places, so that they rarely try the same port.
        let span = u32::from(end) - 10_000;
        let start = 10_000 + (std::process::id() * 61 % (span / 2));
        Self {
            next: start as u16,
            end,
        }
    }

    pub(crate) fn take(&mut self) -> Result<SocketAddr> {
        while self.next < self.end {
            let address = SocketAddr::from((Ipv4Addr::LOCALHOST, self.next));
            self.next += 1;
            if TcpListener::bind(address).is_ok() {
                return Ok(address);
            }
        }
        None.context("no free port left on 127.0.0.1 below the range for source ports")
    }
}

fn first_number(text: &str) -> Option<u16> {
    text.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_differ_and_are_below_the_range_for_source_ports() {
        let mut ports = Ports::new();
        let (first, second) = (ports.take().unwrap(), ports.take().unwrap());
        assert_ne!(first, second);
        assert!(second.port() < ports.end);
    }

    #[test]
    fn the_range_begins_with_its_first_number() {
        assert_eq!(first_number("32768\t60999\n"), Some(32_768));
        assert_eq!(first_number(""), None);
    }
}
