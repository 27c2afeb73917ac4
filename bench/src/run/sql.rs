//! A primary and a replica, and sysbench before them.

use anyhow::{Context, Result, bail};

use super::{Plan, WARM_UP_SECONDS, micros_per_unit};
use crate::load::Sysbench;
use crate::mariadb::Databases;
use crate::measure::Window;
use crate::products::{Proxy, Stage};
use crate::results::{Errors, Figures, Sample};
use crate::scenario::Sql;

pub(super) struct SqlRunner<'a> {
    sysbench: Sysbench<'a>,
    pub(super) databases: Databases,
}

impl<'a> SqlRunner<'a> {
    /// Starts both servers and fills sysbench's tables, once for the whole run.
    pub(super) fn new(stage: &mut Stage<'a>) -> Result<Self> {
        let sysbench = stage.tools.sysbench.as_deref();
        let sysbench = Sysbench::new(sysbench.context("sysbench is missing")?, stage.cpus)?;
        let databases = Databases::start(stage)?;
        sysbench.prepare(databases.primary.address)?;
        databases.wait_for_replica()?;
        databases.hold_all_rows()?;
        Ok(Self {
            sysbench,
            databases,
        })
    }

    pub(super) fn sample(&self, sql: Sql, proxy: &Proxy<'_>, plan: &Plan) -> Result<Sample> {
        if plan.warm_up {
            self.sysbench
                .run(sql, proxy.address, WARM_UP_SECONDS, |_| Ok(()))?;
        }
        let (product, servers) = (proxy.pids()?, self.databases.pids()?);
        let (report, window) = self
            .sysbench
            .run(sql, proxy.address, plan.seconds, |sysbench| {
                Window::open(&product, &servers, Some(sysbench))
            })?;
        let cpu = window.close()?;
        if report.queries == 0 {
            bail!("not one query was answered");
        }
        let per_query = |time| micros_per_unit(time, report.queries);
        let figures = Figures {
            throughput_per_s: Some(report.queries_per_s()),
            p95_us: Some(report.p95_us),
            proxy_cpu_us: proxy.process().map(|_| per_query(cpu.product)),
            machine_cpu_us: Some(per_query(cpu.machine)),
            ..Figures::default()
        };
        Ok(Sample {
            figures,
            errors: Errors {
                connect: report.reconnects,
                ..Errors::default()
            },
            foreign_share: cpu.foreign_share(),
            stolen_share: cpu.stolen_share(),
        })
    }
}
