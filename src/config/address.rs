//! Where a listener listens and where a server is reached, once names are resolved.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};
use std::path::PathBuf;

use super::bounds::{HOST_BYTES_MAX, HOST_LABEL_BYTES_MAX, UNIX_PATH_BYTES_MAX};
use super::diagnostic::Complaint;
use super::model::ServerAddress;

/// A transport address: TCP over IPv4 or IPv6, or a unix stream socket.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Address {
    /// An IP address and a port.
    Tcp(SocketAddr),
    /// The path of a unix stream socket, written `unix:/path` in the configuration.
    Unix(PathBuf),
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// What a listener listens on: `IP:port` or `unix:/path`.
pub(super) fn listen_address(text: &str) -> Result<Address, Complaint> {
    match parse(text)? {
        Parsed::Tcp(address) if is_multicast(address.ip()) => {
            Err(wrong(text, "nobody connects to a multicast address"))
        }
        Parsed::Tcp(address) => Ok(Address::Tcp(address)),
        Parsed::Unix(path) => Ok(Address::Unix(path)),
        Parsed::Any(port) => Err(wrong(text, "the IP address is missing").help(format!(
            "write \"0.0.0.0:{port}\" for all of IPv4, \"[::]:{port}\" for all of IPv6"
        ))),
        Parsed::Name(host, port) => {
            let complaint = wrong(text, "a listener takes an IP address, no name");
            Err(match host.as_str() {
                "localhost" => complaint.help(format!("write \"127.0.0.1:{port}\"")),
                _ => complaint,
            })
        }
    }
}

/// Where the admin port listens: a loopback `IP:port`.
pub(super) fn admin_address(text: &str) -> Result<SocketAddr, Complaint> {
    match listen_address(text)? {
        Address::Tcp(address) if address.ip().is_loopback() => Ok(address),
        Address::Tcp(address) => {
            let complaint = wrong(
                text,
                "the admin port has no password, so it is for loopback",
            );
            Err(complaint.help(format!("write \"127.0.0.1:{}\"", address.port())))
        }
        Address::Unix(_) => Err(wrong(text, "the admin port takes an IP address and a port")),
    }
}

/// Where a server is reached: `IP:port`, `name:port` or `unix:/path`.
pub(super) fn server_address(text: &str) -> Result<ServerAddress, Complaint> {
    match parse(text)? {
        Parsed::Tcp(address) if address.ip().is_unspecified() => {
            let complaint = wrong(text, "that stands for every address, and a server has one");
            Err(complaint.help(format!(
                "for this host, write \"127.0.0.1:{}\"",
                address.port()
            )))
        }
        Parsed::Tcp(address) if is_multicast(address.ip()) => Err(wrong(
            text,
            "no server is reached over multicast or broadcast",
        )),
        Parsed::Tcp(address) => Ok(ServerAddress::Fixed(Address::Tcp(address))),
        Parsed::Unix(path) => Ok(ServerAddress::Fixed(Address::Unix(path))),
        Parsed::Any(port) => {
            let complaint = wrong(text, "the host is missing");
            Err(complaint.help(format!("for this host, write \"127.0.0.1:{port}\"")))
        }
        Parsed::Name(host, port) => Ok(ServerAddress::Host { host, port }),
    }
}

/// Any address as text says it.
#[derive(Debug)]
enum Parsed {
    Tcp(SocketAddr),
    Unix(PathBuf),
    /// `*:port` or `:port`.
    Any(u16),
    Name(String, u16),
}

fn parse(text: &str) -> Result<Parsed, Complaint> {
    if let Some((scheme, rest)) = text.split_once("://") {
        let complaint = wrong(text, "an address has no scheme");
        let rest = rest.trim_end_matches('/');
        return Err(match scheme {
            "unix" => complaint.help("write \"unix:/path\""),
            _ => complaint.help(format!("write {rest:?}")),
        });
    }
    if let Some(path) = text.strip_prefix("unix:") {
        return unix_path(text, path).map(Parsed::Unix);
    }
    if text.starts_with('/') {
        let help = format!("a unix socket is written {:?}", format!("unix:{text}"));
        return Err(wrong(text, "that is a path").help(help));
    }
    if text.starts_with('[') {
        return bracketed(text).map(Parsed::Tcp);
    }
    if text.matches(':').count() > 1 {
        return Err(without_brackets(text));
    }
    let Some((host, port)) = text.split_once(':') else {
        return Err(without_port(text));
    };
    let port = parse_port(text, port)?;
    if host.is_empty() || host == "*" {
        return Ok(Parsed::Any(port));
    }
    if let Ok(ip) = host.parse() {
        return Ok(Parsed::Tcp(SocketAddr::V4(SocketAddrV4::new(ip, port))));
    }
    host_name(text, host).map(|host| Parsed::Name(host, port))
}

/// `[IPv6]:port`.
fn bracketed(text: &str) -> Result<SocketAddr, Complaint> {
    let Some((ip, rest)) = text[1..].split_once(']') else {
        return Err(wrong(text, "the bracket is never closed"));
    };
    let Some(port) = rest.strip_prefix(':') else {
        return Err(match rest {
            "" => without_port(text),
            _ => wrong(text, "only a port may follow the bracket"),
        });
    };
    let port = parse_port(text, port)?;
    if ip.parse::<std::net::Ipv4Addr>().is_ok() {
        let complaint = wrong(text, "only IPv6 addresses stand in brackets");
        return Err(complaint.help(format!("write \"{ip}:{port}\"")));
    }
    let Ok(address) = text.parse::<SocketAddrV6>() else {
        return Err(wrong(text, "there is no IPv6 address between the brackets"));
    };
    match address.ip().to_ipv4_mapped() {
        None => Ok(SocketAddr::V6(address)),
        Some(ip) => {
            let complaint = wrong(text, "that is an IPv4 address in disguise");
            Err(complaint.help(format!("write \"{ip}:{port}\"")))
        }
    }
}

/// Several colons and no bracket: an IPv6 address, with or without a port.
fn without_brackets(text: &str) -> Complaint {
    let split = text.rsplit_once(':');
    let ip_and_port = split.filter(|(ip, port)| {
        ip.parse::<Ipv6Addr>().is_ok() && port.parse::<u16>().is_ok_and(|port| port > 0)
    });
    if let Some((ip, port)) = ip_and_port {
        let complaint = wrong(text, "an IPv6 address stands in brackets");
        return complaint.help(format!("write \"[{ip}]:{port}\""));
    }
    match text.parse::<Ipv6Addr>() {
        Ok(ip) => {
            let complaint = wrong(
                text,
                "an IPv6 address stands in brackets, and a port follows",
            );
            complaint.help(format!("write \"[{ip}]:80\", or whatever the port is"))
        }
        Err(_) => wrong(text, "that is no IP address"),
    }
}

fn without_port(text: &str) -> Complaint {
    let complaint = wrong(text, "the port is missing");
    match text.bytes().all(|b| b.is_ascii_digit()) {
        true => complaint.help(format!("put an IP address before it: \"0.0.0.0:{text}\"")),
        false => complaint.help(format!("add it: {:?}", format!("{text}:80"))),
    }
}

fn parse_port(text: &str, port: &str) -> Result<u16, Complaint> {
    if port.is_empty() {
        let complete = format!("{text}80");
        return Err(wrong(text, "the port is missing").help(format!("add it: {complete:?}")));
    }
    let digits = port.bytes().all(|b| b.is_ascii_digit());
    match port.parse::<u16>() {
        Ok(port) if digits && port > 0 => Ok(port),
        _ => Err(wrong(text, "a port is a number from 1 to 65535")),
    }
}

fn unix_path(text: &str, path: &str) -> Result<PathBuf, Complaint> {
    if path.starts_with('@') {
        return Err(wrong(text, "abstract sockets are not supported").help("name a file"));
    }
    if !path.starts_with('/') {
        let help = "begin with a slash: \"unix:/run/app.sock\"";
        return Err(wrong(text, "the path of a unix socket is absolute").help(help));
    }
    if path.ends_with('/') {
        return Err(wrong(text, "that is a directory"));
    }
    if path.len() > UNIX_PATH_BYTES_MAX {
        let why = format!("the path has {} bytes", path.len());
        let help = format!("the kernel takes at most {UNIX_PATH_BYTES_MAX}");
        return Err(wrong(text, &why).help(help));
    }
    Ok(PathBuf::from(path))
}

/// RFC 1123 names, and underscores, which container networks give their hosts.
fn host_name(text: &str, host: &str) -> Result<String, Complaint> {
    let absolute = host.strip_suffix('.').unwrap_or(host);
    let last = absolute.rsplit('.').next().unwrap_or_default();
    if !last.is_empty() && last.bytes().all(|b| b.is_ascii_digit()) {
        return Err(wrong(text, "that is no IPv4 address"));
    }
    let allowed = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
    let label_is_valid = |label: &str| {
        (1..=HOST_LABEL_BYTES_MAX).contains(&label.len())
            && label.bytes().all(allowed)
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    if absolute.len() > HOST_BYTES_MAX || !absolute.split('.').all(label_is_valid) {
        let complaint = wrong(text, "that is neither an IP address nor a host name");
        return Err(complaint.help("labels of a-z 0-9 - _, with dots between them"));
    }
    Ok(host.to_ascii_lowercase())
}

fn is_multicast(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => ip.is_multicast() || ip.is_broadcast(),
        IpAddr::V6(ip) => ip.is_multicast(),
    }
}

fn wrong(text: &str, why: &str) -> Complaint {
    Complaint::new(format!("is {text:?}: {why}"))
}
