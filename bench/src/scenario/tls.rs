//! What wrk asks two web servers for when the proxy ends TLS in front of them.

use clap::ValueEnum;

use super::{Body, Goal, Held, Load};

/// Work for a proxy that ends TLS. The order is that of the run and of the tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Tls {
    /// TLS, keep-alive, an answer of 2 bytes, 64 connections.
    #[value(name = "tls-tiny-64")]
    Tiny64,
    /// TLS, keep-alive, answers of 16 KiB, 32 connections.
    #[value(name = "tls-16k")]
    Body16KiB,
    /// TLS, keep-alive, answers of 1 MiB, 8 connections.
    #[value(name = "tls-1m")]
    Body1MiB,
    /// A connection and a full handshake per request, ECDSA P-256, 64 at a time.
    #[value(name = "tls-full")]
    Full,
    /// The same, RSA 2048.
    #[value(name = "tls-full-rsa")]
    FullRsa,
    /// A connection and a resumed handshake per request, 64 at a time.
    #[value(name = "tls-resumed")]
    Resumed,
    /// TLS sessions that do nothing: memory of each, CPU of all.
    #[value(name = "tls-idle")]
    Idle,
}

/// The key of the proxy's certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Key {
    EcdsaP256,
    Rsa2048,
}

impl Tls {
    /// What `--quick` runs: the one that needs most of what a TLS end can do.
    pub(crate) const QUICK: [Self; 1] = [Self::Resumed];

    /// The heading of its table.
    pub(crate) fn title(self) -> &'static str {
        match self {
            Self::Tiny64 => "TLS, keep-alive, tiny answers, 64 connections",
            Self::Body16KiB => "TLS, keep-alive, 16 KiB answers, 32 connections",
            Self::Body1MiB => "TLS, keep-alive, 1 MiB answers, 8 connections",
            Self::Full => "TLS, a full handshake per request, ECDSA P-256, 64 at a time",
            Self::FullRsa => "TLS, a full handshake per request, RSA 2048, 64 at a time",
            Self::Resumed => "TLS, a resumed handshake per request, 64 at a time",
            Self::Idle => "Idle TLS sessions",
        }
    }

    /// What is counted, one of them and many. For 1 MiB answers a request is a MiB.
    pub(crate) fn unit(self) -> [&'static str; 2] {
        match self {
            Self::Tiny64 | Self::Body16KiB => ["request", "requests"],
            Self::Body1MiB => ["MiB", "MiB"],
            Self::Full | Self::FullRsa | Self::Resumed => ["handshake", "handshakes"],
            Self::Idle => ["session", "sessions"],
        }
    }

    /// `None`: the sessions are made by the runner itself.
    pub(crate) fn load(self) -> Option<Load> {
        let load = match self {
            Self::Tiny64 => Load::keep_alive(Body::Tiny, 64),
            Self::Body16KiB => Load::keep_alive(Body::KiB16, 32),
            Self::Body1MiB => Load::keep_alive(Body::MiB1, 8),
            Self::Full | Self::FullRsa | Self::Resumed => Load::closing(Body::Tiny, 64),
            Self::Idle => return None,
        };
        Some(Load { tls: true, ..load })
    }

    pub(crate) fn key(self) -> Key {
        match self {
            Self::FullRsa => Key::Rsa2048,
            _ => Key::EcdsaP256,
        }
    }

    /// Whether clients may resume sessions. Where handshakes are not what is measured, none does,
    /// so that the programs differ in nothing else.
    pub(crate) fn resumes(self) -> bool {
        self == Self::Resumed
    }

    /// Cryptography is nearly all of a full handshake and much of a MiB; the rest is carried by the
    /// kernel's TCP, which is the same for all.
    pub(crate) fn goal(self) -> Option<Goal> {
        let first = match self {
            Self::Full | Self::FullRsa | Self::Body1MiB => 0.80,
            Self::Tiny64 | Self::Body16KiB | Self::Resumed => 1.00,
            Self::Idle => return None,
        };
        let held = Held::CpuToBetterPeer;
        Some(Goal {
            held,
            first,
            then: None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sessions_that_come_and_go_are_those_whose_handshakes_are_counted() {
        for &tls in Tls::value_variants() {
            let closes = tls.load().is_some_and(|load| load.close);
            assert_eq!(closes, tls.unit()[0] == "handshake", "{tls:?}");
            assert_eq!(tls.load().is_none(), tls == Tls::Idle, "{tls:?}");
        }
    }
}
