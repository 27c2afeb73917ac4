//! What wrk asks two web servers for, and sessions that ask for nothing.

use clap::ValueEnum;

use super::{Goal, Held};

/// Work for a TCP relay. The order is that of the run and of the tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Web {
    /// Keep-alive, an answer of 2 bytes, 1 connection.
    #[value(name = "tiny-1")]
    Tiny1,
    /// Keep-alive, an answer of 2 bytes, 64 connections.
    #[value(name = "tiny-64")]
    Tiny64,
    /// Keep-alive, an answer of 2 bytes, 512 connections.
    #[value(name = "tiny-512")]
    Tiny512,
    /// Keep-alive, answers of 16 KiB, 32 connections.
    #[value(name = "16k")]
    Body16KiB,
    /// Keep-alive, answers of 1 MiB, 8 connections.
    #[value(name = "1m")]
    Body1MiB,
    /// A connection per request, 64 at a time.
    Connection,
    /// The same, with TCP_DEFER_ACCEPT on the listening sockets.
    ConnectionDefer,
    /// Sessions that do nothing: memory of each, CPU of all.
    Idle,
}

/// What the web servers answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Body {
    Tiny,
    KiB16,
    MiB1,
}

impl Body {
    pub(crate) const ALL: [Self; 3] = [Self::Tiny, Self::KiB16, Self::MiB1];

    /// What a tiny answer says.
    pub(crate) const TINY_TEXT: &str = "ok";

    pub(crate) fn path(self) -> &'static str {
        match self {
            Self::Tiny => "/tiny",
            Self::KiB16 => "/16k",
            Self::MiB1 => "/1m",
        }
    }

    pub(crate) fn content(self) -> Vec<u8> {
        match self {
            Self::Tiny => Self::TINY_TEXT.into(),
            Self::KiB16 => vec![b'x'; 16 * 1024],
            Self::MiB1 => vec![b'x'; 1024 * 1024],
        }
    }
}

/// A load that wrk makes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Load {
    pub(crate) body: Body,
    pub(crate) connections: u32,
    /// Each request opens and closes a connection.
    pub(crate) close: bool,
    /// `TCP_DEFER_ACCEPT` on the proxy's listening socket.
    pub(crate) defer_accept: bool,
    /// Over https.
    pub(crate) tls: bool,
}

impl Load {
    /// Connections that stay.
    pub(super) fn keep_alive(body: Body, connections: u32) -> Self {
        Self {
            body,
            connections,
            close: false,
            defer_accept: false,
            tls: false,
        }
    }

    /// A connection per request, so many at a time.
    pub(super) fn closing(body: Body, connections: u32) -> Self {
        Self {
            close: true,
            ..Self::keep_alive(body, connections)
        }
    }
}

impl Web {
    /// What `--quick` runs: large and tiny answers, connections that stay, go and rest.
    pub(crate) const QUICK: [Self; 3] = [Self::Body1MiB, Self::ConnectionDefer, Self::Idle];

    /// The heading of its table.
    pub(crate) fn title(self) -> &'static str {
        match self {
            Self::Tiny1 => "Keep-alive, tiny answers, 1 connection",
            Self::Tiny64 => "Keep-alive, tiny answers, 64 connections",
            Self::Tiny512 => "Keep-alive, tiny answers, 512 connections",
            Self::Body16KiB => "Keep-alive, 16 KiB answers, 32 connections",
            Self::Body1MiB => "Keep-alive, 1 MiB answers, 8 connections",
            Self::Connection => "A connection per request, 64 at a time",
            Self::ConnectionDefer => "A connection per request, 64 at a time, TCP_DEFER_ACCEPT",
            Self::Idle => "Idle sessions",
        }
    }

    /// Two short lines under a group of bars.
    pub(crate) fn axis_label(self) -> [&'static str; 2] {
        match self {
            Self::Tiny1 => ["tiny", "1 conn."],
            Self::Tiny64 => ["tiny", "64 conn."],
            Self::Tiny512 => ["tiny", "512 conn."],
            Self::Body16KiB => ["16 KiB", "32 conn."],
            Self::Body1MiB => ["1 MiB", "8 conn."],
            Self::Connection => ["connection", "per request"],
            Self::ConnectionDefer => ["the same,", "deferred"],
            Self::Idle => ["idle", ""],
        }
    }

    /// What is counted, one of them and many. For 1 MiB answers a request is a MiB.
    pub(crate) fn unit(self) -> [&'static str; 2] {
        match self {
            Self::Tiny1 | Self::Tiny64 | Self::Tiny512 | Self::Body16KiB => ["request", "requests"],
            Self::Body1MiB => ["MiB", "MiB"],
            Self::Connection | Self::ConnectionDefer => ["connection", "connections"],
            Self::Idle => ["session", "sessions"],
        }
    }

    /// `None`: the sessions are made by the runner itself.
    pub(crate) fn load(self) -> Option<Load> {
        let keep_alive = Load::keep_alive;
        let closing = |defer_accept| Load {
            defer_accept,
            ..Load::closing(Body::Tiny, 64)
        };
        match self {
            Self::Tiny1 => Some(keep_alive(Body::Tiny, 1)),
            Self::Tiny64 => Some(keep_alive(Body::Tiny, 64)),
            Self::Tiny512 => Some(keep_alive(Body::Tiny, 512)),
            Self::Body16KiB => Some(keep_alive(Body::KiB16, 32)),
            Self::Body1MiB => Some(keep_alive(Body::MiB1, 8)),
            Self::Connection => Some(closing(false)),
            Self::ConnectionDefer => Some(closing(true)),
            Self::Idle => None,
        }
    }

    pub(crate) fn goal(self) -> Option<Goal> {
        let (held, first, then) = match self {
            Self::Tiny1 => return None,
            Self::Tiny64 | Self::Tiny512 => (Held::CpuToBetterPeer, 1.00, 0.95),
            Self::Body16KiB => (Held::CpuToBetterPeer, 0.85, 0.75),
            Self::Body1MiB => (Held::CpuToBetterPeer, 0.45, 0.33),
            Self::Connection | Self::ConnectionDefer => (Held::CpuToBetterPeer, 1.00, 0.90),
            Self::Idle => (Held::IdleBytes, 512.0, 300.0),
        };
        let then = Some(then);
        Some(Goal { held, first, then })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_idle_sessions_come_from_the_runner() {
        for &web in Web::value_variants() {
            assert_eq!(web.load().is_none(), web == Web::Idle);
        }
    }
}
