//! Which addresses cannot be listened on at the same time.

use std::net::SocketAddr;

use super::Address;
use super::bounds::LISTEN_ADDRESSES_MAX;
use super::diagnostic::Complaint;
use super::reader::Report;
use super::source::Span;

/// Every address that a file listens on, the admin port's included.
#[derive(Debug, Default)]
pub(super) struct Claims(Vec<Claim>);

#[derive(Debug)]
pub(super) struct Claim {
    pub(super) address: Address,
    /// Whether an IPv6 address leaves IPv4 to others.
    pub(super) v6only: bool,
    pub(super) span: Span,
}

impl Claims {
    /// Records an error if `claim` cannot be had beside those before it.
    pub(super) fn add(&mut self, claim: Claim, report: &Report<'_>) {
        if self.0.len() == LISTEN_ADDRESSES_MAX {
            let message = format!("more than {LISTEN_ADDRESSES_MAX} addresses are listened on");
            report.error(&claim.span, Complaint::new(message));
        }
        if self.0.len() >= LISTEN_ADDRESSES_MAX {
            return;
        }
        if let Some(earlier) = self.0.iter().find(|earlier| earlier.excludes(&claim)) {
            report.error(&claim.span, conflict(earlier, &claim, report));
        }
        self.0.push(claim);
    }
}

impl Claim {
    fn excludes(&self, other: &Self) -> bool {
        match (&self.address, &other.address) {
            (Address::Unix(a), Address::Unix(b)) => a == b,
            (Address::Tcp(a), Address::Tcp(b)) if a.port() == b.port() => match (a, b) {
                (SocketAddr::V6(_), SocketAddr::V4(_)) => self.covers_ipv4(),
                (SocketAddr::V4(_), SocketAddr::V6(_)) => other.covers_ipv4(),
                _ => a == b || a.ip().is_unspecified() || b.ip().is_unspecified(),
            },
            _ => false,
        }
    }

    fn covers_ipv4(&self) -> bool {
        let Address::Tcp(SocketAddr::V6(address)) = &self.address else {
            return false;
        };
        !self.v6only && address.ip().is_unspecified()
    }
}

fn conflict(earlier: &Claim, claim: &Claim, report: &Report<'_>) -> Complaint {
    let line = report.line_of(&earlier.span);
    let (address, taken) = (&claim.address, &earlier.address);
    if address == taken {
        return Complaint::new(format!("{address} is listened on already, in line {line}"));
    }
    let message = format!("{address} conflicts with {taken}, in line {line}");
    let complaint = Complaint::new(message);
    match earlier.covers_ipv4() || claim.covers_ipv4() {
        true => complaint.help("with `v6only = false`, [::] takes all of IPv4 too"),
        false => complaint.help("one covers the other"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::address::listen_address;

    fn claim(text: &str, v6only: bool) -> Claim {
        Claim {
            address: listen_address(text).unwrap(),
            v6only,
            span: 0..0,
        }
    }

    #[test]
    fn addresses_that_exclude_each_other_are_found_in_either_order() {
        for (a, b, v6only, excludes) in [
            ("0.0.0.0:80", "127.0.0.1:80", true, true),
            ("0.0.0.0:80", "0.0.0.0:80", true, true),
            ("0.0.0.0:80", "0.0.0.0:81", true, false),
            ("10.0.0.1:80", "10.0.0.2:80", true, false),
            ("[::]:80", "[::1]:80", true, true),
            ("[::]:80", "0.0.0.0:80", true, false),
            ("[::]:80", "0.0.0.0:80", false, true),
            ("[::]:80", "10.0.0.1:80", false, true),
            ("[::1]:80", "0.0.0.0:80", false, false),
            ("unix:/a", "unix:/a", true, true),
            ("unix:/a", "unix:/b", true, false),
            ("unix:/a", "0.0.0.0:80", true, false),
        ] {
            let (a, b) = (claim(a, v6only), claim(b, v6only));
            assert_eq!(a.excludes(&b), excludes, "{a:?} {b:?}");
            assert_eq!(b.excludes(&a), excludes, "{b:?} {a:?}");
        }
    }
}
