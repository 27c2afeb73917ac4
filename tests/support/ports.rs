//! Ports that are free and stay so: nobody else's tests take them, nor does the kernel for an
//! outgoing connection.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};
use std::ops::Range;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr as UnixAddr, UnixListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

/// Below where `net.ipv4.ip_local_port_range` begins by default.
const PORTS: Range<u32> = 12_000..32_000;

static NEXT: AtomicU32 = AtomicU32::new(0);

/// A reserved port, on which nobody listens; free again when the last clone is dropped.
#[derive(Clone, Debug)]
pub(crate) struct Port {
    number: u16,
    /// Its name is taken by one holder at a time, whatever process that is in.
    _claim: Arc<UnixListener>,
}

impl Port {
    /// Reserves a port.
    pub(crate) fn reserve() -> Self {
        for _ in PORTS {
            let start = std::process::id().wrapping_mul(37);
            let step = NEXT.fetch_add(1, Ordering::Relaxed);
            let number = PORTS.start + start.wrapping_add(step) % (PORTS.end - PORTS.start);
            if let Some(port) = Self::claim(number as u16) {
                return port;
            }
        }
        panic!("no port between {} and {} is free", PORTS.start, PORTS.end);
    }

    fn claim(number: u16) -> Option<Self> {
        let name = UnixAddr::from_abstract_name(format!("ringway-test-port-{number}")).ok()?;
        let claim = UnixListener::bind_addr(&name).ok()?;
        TcpListener::bind((Ipv4Addr::UNSPECIFIED, number)).ok()?;
        Some(Self {
            number,
            _claim: Arc::new(claim),
        })
    }

    /// Its number.
    pub(crate) fn number(&self) -> u16 {
        self.number
    }

    /// On 127.0.0.1.
    pub(crate) fn v4(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.number).into()
    }

    /// On ::1.
    pub(crate) fn v6(&self) -> SocketAddr {
        (Ipv6Addr::LOCALHOST, self.number).into()
    }
}
