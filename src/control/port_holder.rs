//! Who listens on a TCP port, as /proc tells: for an error message that saves a look-up.

use std::fmt;
use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;

/// A process that listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Holder {
    name: String,
    pid: u32,
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (pid {})", self.name, self.pid)
    }
}

impl Holder {
    /// What the operator can do about it.
    pub(super) fn advice(&self) -> String {
        // Its listeners make way for each other, so it is the one socket that a reload keeps.
        if self.pid == std::process::id() {
            return format!(
                "it is the admin port of {self} itself, which a reload does not change: choose \
                 another port, or restart"
            );
        }
        format!("{self} has it: stop that or choose another port")
    }
}

/// A process that listens where `address` cannot be listened on therefore; `None` when there is
/// none, or it belongs to another user and /proc does not say.
pub(super) fn find(address: SocketAddr) -> Option<Holder> {
    let tables = ["/proc/net/tcp", "/proc/net/tcp6"];
    let inode = tables.iter().find_map(|table| {
        let table = fs::read_to_string(table).ok()?;
        listening_inode(&table, address)
    })?;
    let link = format!("socket:[{inode}]");
    fs::read_dir("/proc").ok()?.flatten().find_map(|process| {
        let pid = process.file_name().to_str()?.parse().ok()?;
        has_descriptor(&process.path(), &link).then(|| Holder {
            name: fs::read_to_string(process.path().join("comm"))
                .map_or_else(|_| "a process".to_owned(), |comm| comm.trim().to_owned()),
            pid,
        })
    })
}

/// The socket's inode in a table as proc_net_tcp(5) describes it: the second field is
/// `ADDRESS:PORT` in hexadecimal, the fourth the state (0A: listening), the tenth the inode.
fn listening_inode(table: &str, address: SocketAddr) -> Option<u64> {
    table.lines().skip(1).find_map(|line| {
        let fields: Vec<_> = line.split_ascii_whitespace().collect();
        let (ip, port) = fields.get(1)?.rsplit_once(':')?;
        let (ip, port) = (parse_ip(ip)?, u16::from_str_radix(port, 16).ok()?);
        let anywhere = ip.is_unspecified() || address.ip().is_unspecified();
        let is_it = port == address.port() && (anywhere || ip == address.ip());
        if is_it && *fields.get(3)? == "0A" {
            fields.get(9)?.parse().ok()
        } else {
            None
        }
    })
}

/// Words of 32 bits in the host's order, in hexadecimal: one for IPv4, four for IPv6.
fn parse_ip(text: &str) -> Option<IpAddr> {
    let mut bytes = [0; 16];
    let words = text.as_bytes().chunks(8).zip(bytes.chunks_mut(4));
    for (word, bytes) in words {
        let word = u32::from_str_radix(str::from_utf8(word).ok()?, 16).ok()?;
        bytes.copy_from_slice(&word.to_ne_bytes());
    }
    match text.len() {
        8 => Some(Ipv4Addr::new(bytes[0], bytes[1], bytes[2], bytes[3]).into()),
        32 => Some(Ipv6Addr::from(bytes).to_canonical()),
        _ => None,
    }
}

fn has_descriptor(process: &Path, link: &str) -> bool {
    fs::read_dir(process.join("fd")).is_ok_and(|descriptors| {
        descriptors
            .flatten()
            .any(|fd| fs::read_link(fd.path()).is_ok_and(|target| target.as_os_str() == link))
    })
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn a_listening_socket_is_found_in_the_table_and_a_connected_one_is_not() {
        let table = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n\
            0: 0100007F:1F90 00000000:0000 01 00000000:00000000 00:00000000 00000000 0 0 11 1\n\
            1: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000 0 0 22 1\n";
        let inode = |address: &str| listening_inode(table, address.parse().unwrap());
        assert_eq!(inode("127.0.0.1:8080"), Some(22));
        assert_eq!(inode("0.0.0.0:8080"), Some(22));
        assert_eq!(inode("127.0.0.2:8080"), None);
        assert_eq!(inode("127.0.0.1:80"), None);
        let six = "head\n0: 00000000000000000000000001000000:0050 0:0 0A 0:0 0:0 0 0 0 33 1\n";
        assert_eq!(listening_inode(six, "[::1]:80".parse().unwrap()), Some(33));
    }

    #[test]
    fn the_process_that_listens_is_named() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let holder = find(listener.local_addr().unwrap()).unwrap();
        assert_eq!(holder.pid, std::process::id());
        drop(listener);
    }
}
