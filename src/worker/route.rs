//! A route as one worker sees it: the shared one, with what the worker needs at hand computed once
//! per generation.
//!
//! It holds no listening socket: sessions keep their route, and a removed listener's sockets must
//! close while its sessions go on.

use std::rc::Rc;
use std::sync::Arc;

use socket2::SockAddr;

use super::kernel::Tuning;
use super::snapshot::{Destination, Listener, MysqlRoute, Route};
use crate::balance::{Member, Pool, Server};
use crate::config::Address;
use crate::telemetry::{ListenerCounters, ServerCounters};
use crate::tls::policy::{ListenerPolicy, PoolPolicy};

/// Shared by the worker's sessions that came through it; lives until the last of them has ended.
pub(super) struct LocalRoute {
    pub(super) listener: Arc<Listener>,
    pub(super) pool: Arc<Pool>,
    /// How its statements are split; `None`: bytes are relayed as they are.
    pub(super) mysql: Option<Arc<MysqlRoute>>,
    /// What is done about clients' TLS; `None`: nothing.
    pub(super) tls: Option<Arc<ListenerPolicy>>,
    /// How the pool's servers are spoken to; `None`: in plain text.
    pub(super) server_tls: Option<Arc<PoolPolicy>>,
    /// Where a session goes instead that a rule of `tls` finds.
    pub(super) by_rule: Box<[Rc<Self>]>,
    /// The configuration generation that it belongs to.
    pub(super) generation: u64,
    pub(super) timeouts: Timeouts,
    pub(super) tuning: Tuning,
    /// By member of the pool.
    addresses: Box<[SockAddr]>,
    pub(super) worker: usize,
}

/// A pool's timeouts, in milliseconds.
pub(super) struct Timeouts {
    pub(super) connect_ms: u64,
    pub(super) connect_deadline_ms: u64,
    pub(super) idle_ms: u64,
    pub(super) half_close_ms: u64,
    pub(super) reset_linger_ms: u64,
}

impl LocalRoute {
    pub(super) fn new(route: &Arc<Route>, worker: usize) -> Self {
        let main = Destination {
            pool: Arc::clone(&route.pool),
            tls: route.tls.pool.clone(),
        };
        let by_rule = route.tls.by_rule.iter().map(|destination| {
            let local = Self::to(route, destination, Box::default(), worker);
            Rc::new(local)
        });
        Self::to(route, &main, by_rule.collect(), worker)
    }

    /// The route to one of the listener's pools.
    fn to(
        route: &Route,
        destination: &Destination,
        by_rule: Box<[Rc<Self>]>,
        worker: usize,
    ) -> Self {
        let pool = &destination.pool;
        let settings = pool.settings();
        let ms = |duration: std::time::Duration| duration.as_millis() as u64;
        let members = pool.members().iter();
        let addresses = members.map(|member| sock_addr(member.server.address()));
        Self {
            listener: Arc::clone(&route.listener),
            pool: Arc::clone(pool),
            mysql: route.mysql.clone(),
            tls: route.tls.listener.clone(),
            server_tls: destination.tls.clone(),
            by_rule,
            generation: route.generation,
            timeouts: Timeouts {
                connect_ms: ms(settings.connect_timeout),
                connect_deadline_ms: ms(settings.connect_deadline),
                idle_ms: ms(settings.idle_timeout),
                half_close_ms: ms(settings.half_close_timeout),
                reset_linger_ms: ms(settings.reset_linger),
            },
            tuning: Tuning {
                keepalive_idle: settings.keepalive_idle,
                keepalive_interval: settings.keepalive_interval,
                keepalive_probes: settings.keepalive_probes,
                user_timeout: settings.kernel_user_timeout(),
            },
            addresses: addresses.collect(),
            worker,
        }
    }

    /// How statements are split.
    ///
    /// # Panics
    /// When the listener is not a mysql one.
    pub(super) fn mysql(&self) -> &Arc<MysqlRoute> {
        self.mysql.as_ref().expect("a mysql listener's route")
    }

    #[inline]
    pub(super) fn member(&self, member: u16) -> &Member {
        self.pool.member(usize::from(member))
    }

    #[inline]
    pub(super) fn server(&self, member: u16) -> &Arc<Server> {
        &self.member(member).server
    }

    pub(super) fn address(&self, member: u16) -> &SockAddr {
        &self.addresses[usize::from(member)]
    }

    /// This worker's counters of the listener.
    #[inline]
    pub(super) fn counters(&self) -> &ListenerCounters {
        self.listener.counters(self.worker)
    }

    /// This worker's counters of a server.
    #[inline]
    pub(super) fn server_counters(&self, member: u16) -> &ServerCounters {
        self.server(member).counters(self.worker)
    }
}

/// An address in the form that connect(2) takes.
fn sock_addr(address: &Address) -> SockAddr {
    match address {
        Address::Tcp(address) => (*address).into(),
        Address::Unix(path) => {
            SockAddr::unix(path).expect("the configuration bounds a unix socket's path")
        }
    }
}
