//! Two web servers, and wrk or idle sessions before them.

use std::net::SocketAddr;
use std::time::Instant;

use anyhow::{Context, Result, bail};

use super::{Plan, WARM_UP_SECONDS, micros_per_unit};
use crate::idle;
use crate::interrupt;
use crate::load::Wrk;
use crate::measure::{self, Window};
use crate::products::{Proxy, Stage, WebServer};
use crate::results::{Errors, Figures, Sample};
use crate::scenario::{Load, Web};

pub(super) struct WebRunner<'a> {
    wrk: Wrk<'a>,
    servers: [WebServer; 2],
}

impl<'a> WebRunner<'a> {
    pub(super) fn new(stage: &mut Stage<'a>) -> Result<Self> {
        let wrk = stage.tools.wrk.as_deref().context("wrk is missing")?;
        Ok(Self {
            wrk: Wrk::new(wrk, stage.cpus)?,
            servers: [WebServer::start(stage)?, WebServer::start(stage)?],
        })
    }

    pub(super) fn addresses(&self) -> [SocketAddr; 2] {
        self.servers.each_ref().map(|server| server.address)
    }

    pub(super) fn sample(&self, web: Web, proxy: &Proxy, plan: &Plan) -> Result<Sample> {
        match web.load() {
            Some(load) => self.under_load(&load, proxy, plan),
            None => self.with_idle_sessions(proxy, plan),
        }
    }

    fn under_load(&self, load: &Load, proxy: &Proxy, plan: &Plan) -> Result<Sample> {
        if plan.warm_up {
            self.wrk.run(load, proxy.address, WARM_UP_SECONDS)?;
        }
        let window = self.open_window(proxy)?;
        let report = self.wrk.run(load, proxy.address, plan.seconds)?;
        let cpu = window.close()?;
        if report.requests == 0 {
            bail!("not one request was answered");
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

    fn with_idle_sessions(&self, proxy: &Proxy, plan: &Plan) -> Result<Sample> {
        let process = proxy.process().context("there is no process to look at")?;
        let count = plan.idle_sessions;
        let bytes_before = measure::private_dirty_bytes(process)?;
        let sessions = idle::open(proxy.address, count)?;
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

    fn open_window(&self, proxy: &Proxy) -> Result<Window> {
        let mut servers = Vec::new();
        for server in &self.servers {
            servers.extend(server.process.pids()?);
        }
        Window::open(&proxy.pids()?, &servers, None)
    }
}
