//! Two web servers, and wrk or idle sessions before them, plain or with TLS between them and the
//! proxy.

use std::io;
use std::net::SocketAddr;
use std::time::Instant;

use anyhow::{Context, Result, bail};

use super::{Plan, WARM_UP_SECONDS, micros_per_unit};
use crate::http;
use crate::https::{Certificates, Termination};
use crate::idle;
use crate::interrupt;
use crate::load::Wrk;
use crate::measure::{self, Window};
use crate::products::{Handshakes, Proxy, Stage, WebServer};
use crate::results::{Errors, Figures, Sample};
use crate::scenario::{Body, Group, Load, Tls};

/// Where sessions are resumed, full handshakes for each of wrk's connections: the first one of each,
/// and one after an answer that got lost.
const FULL_PER_CONNECTION_MAX: u64 = 2;

pub(super) struct WebRunner<'a> {
    wrk: Wrk<'a>,
    servers: [WebServer; 2],
    /// Where there is a scenario that needs them.
    certificates: Option<Certificates>,
}

impl<'a> WebRunner<'a> {
    pub(super) fn new(plan: &Plan, stage: &mut Stage<'a>) -> Result<Self> {
        let wrk = stage.tools.wrk.as_deref().context("wrk is missing")?;
        let certificates = plan.has(Group::Tls).then(Certificates::make);
        Ok(Self {
            wrk: Wrk::new(wrk, stage.cpus)?,
            servers: [WebServer::start(stage)?, WebServer::start(stage)?],
            certificates: certificates.transpose()?,
        })
    }

    pub(super) fn addresses(&self) -> [SocketAddr; 2] {
        self.servers.each_ref().map(|server| server.address)
    }

    pub(super) fn termination(&self, tls: Tls) -> Result<Termination<'_>> {
        let certificates = self.certificates.as_ref();
        Ok(Termination {
            certificate: certificates.context("no certificates")?.with(tls.key()),
            resumes: tls.resumes(),
        })
    }

    /// `load`: `None` for idle sessions.
    pub(super) fn sample(
        &self,
        load: Option<Load>,
        proxy: &Proxy<'_>,
        plan: &Plan,
    ) -> Result<Sample> {
        match load {
            Some(load) => self.under_load(&load, proxy, plan),
            None => self.with_idle_sessions(proxy, plan),
        }
    }

    fn under_load(&self, load: &Load, proxy: &Proxy<'_>, plan: &Plan) -> Result<Sample> {
        if plan.warm_up {
            self.wrk.run(load, proxy.address, WARM_UP_SECONDS)?;
        }
        let handshakes_before = handshakes(load, proxy)?;
        let window = self.open_window(proxy)?;
        let report = self.wrk.run(load, proxy.address, plan.seconds)?;
        let cpu = window.close()?;
        if report.requests == 0 {
            bail!("not one request was answered");
        }
        if let (Some(termination), Some(before)) = (proxy.termination, handshakes_before) {
            let after = handshakes(load, proxy)?.context("ringway stopped counting")?;
            check_kind(after.since(before), load, termination.resumes)?;
        }
        let per_request = |time| micros_per_unit(time, report.requests);
        let figures = Figures {
            throughput_per_s: Some(report.requests_per_s()),
            p50_us: Some(report.p50_us),
            p99_us: Some(report.p99_us),
            proxy_cpu_us: proxy.process().map(|_| per_request(cpu.product)),
            machine_cpu_us: Some(per_request(cpu.machine)),
            ..Figures::default()
        };
        Ok(Sample {
            figures,
            errors: report.errors,
            foreign_share: cpu.foreign_share(),
            stolen_share: cpu.stolen_share(),
        })
    }

    fn with_idle_sessions(&self, proxy: &Proxy<'_>, plan: &Plan) -> Result<Sample> {
        match proxy.termination {
            None => self.with_sessions(proxy, plan, || {
                http::connect_and_get(proxy.address, Body::Tiny)
            }),
            Some(tls) => self.with_sessions(proxy, plan, || {
                tls.certificate.connect_and_get(proxy.address, Body::Tiny)
            }),
        }
    }

    fn with_sessions<S>(
        &self,
        proxy: &Proxy<'_>,
        plan: &Plan,
        connect: impl Fn() -> io::Result<S>,
    ) -> Result<Sample> {
        let process = proxy.process().context("there is no process to look at")?;
        let count = plan.idle_sessions;
        let bytes_before = measure::private_dirty_bytes(process)?;
        let sessions = idle::open(count, connect)?;
        let bytes_after = measure::private_dirty_bytes(process)?;
        let window = self.open_window(proxy)?;
        let begin = Instant::now();
        interrupt::sleep(plan.idle_watch)?;
        let (watched, cpu) = (begin.elapsed(), window.close()?);
        drop(sessions);
        let growth = bytes_after as f64 - bytes_before as f64;
        let figures = Figures {
            idle_bytes: Some(growth / f64::from(count)),
            idle_cpu_percent: Some(cpu.product.as_secs_f64() / watched.as_secs_f64() * 100.0),
            ..Figures::default()
        };
        Ok(Sample {
            figures,
            errors: Errors::default(),
            foreign_share: cpu.foreign_share(),
            stolen_share: cpu.stolen_share(),
        })
    }

    fn open_window(&self, proxy: &Proxy<'_>) -> Result<Window> {
        let mut servers = Vec::new();
        for server in &self.servers {
            servers.extend(server.process.pids()?);
        }
        Window::open(&proxy.pids()?, &servers, None)
    }
}

/// What the proxy has counted, where every request of the load is a handshake.
fn handshakes(load: &Load, proxy: &Proxy<'_>) -> Result<Option<Handshakes>> {
    if load.tls && load.close {
        proxy.handshakes()
    } else {
        Ok(None)
    }
}

/// Whether wrk has resumed its sessions, or has not, as it should be.
fn check_kind(counted: Handshakes, load: &Load, resumes: bool) -> Result<()> {
    let Handshakes { full, resumed } = counted;
    let as_it_should_be = if resumes {
        resumed > 0 && full <= FULL_PER_CONNECTION_MAX * u64::from(load.connections)
    } else {
        resumed == 0
    };
    if !as_it_should_be {
        bail!("wrk made {full} full and {resumed} resumed handshakes");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn handshakes_of_the_wrong_kind_spoil_a_round() {
        let load = Tls::Resumed.load().unwrap();
        let is_right = |full, resumed, resumes| {
            check_kind(Handshakes { full, resumed }, &load, resumes).is_ok()
        };
        assert!(is_right(64, 5000, true) && !is_right(5000, 0, true));
        assert!(!is_right(2500, 2500, true));
        assert!(is_right(5000, 0, false) && !is_right(5000, 1, false));
    }
}
