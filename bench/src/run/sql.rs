//! A primary and a replica, and sysbench before them.

use anyhow::{Context, Result, bail};

use super::{Plan, WARM_UP_SECONDS, micros_per_unit};
use crate::load::Sysbench;
use crate::mariadb::Databases;
use crate::measure::Window;
use crate::products::{Handshakes, Proxy, Stage};
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
        let sysbench = sysbench.context("sysbench is missing")?;
        let databases = Databases::start(stage)?;
        let sysbench = Sysbench::new(sysbench, stage.cpus, &databases.certificate.pem)?;
        sysbench.prepare(databases.primary.address)?;
        databases.wait_for_replica()?;
        databases.hold_all_rows()?;
        Ok(Self {
            sysbench,
            databases,
        })
    }

    pub(super) fn sample(&self, sql: Sql, proxy: &Proxy<'_>, plan: &Plan) -> Result<Sample> {
        if sql.encrypted.has_clients() {
            self.sysbench.check_encryption(proxy.address)?;
        }
        if plan.warm_up {
            self.sysbench
                .run(sql, proxy.address, WARM_UP_SECONDS, |_| Ok(()))?;
        }
        let handshakes_before = handshakes(sql, proxy)?;
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
        if let Some(before) = handshakes_before {
            let after = handshakes(sql, proxy)?.context("ringway stopped counting")?;
            check_count(after.since(before), sql.threads)?;
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

/// What the proxy has counted, where it ends TLS.
fn handshakes(sql: Sql, proxy: &Proxy<'_>) -> Result<Option<Handshakes>> {
    if sql.encrypted.has_clients() {
        proxy.handshakes()
    } else {
        Ok(None)
    }
}

/// Whether each of sysbench's threads has made its connection over TLS.
fn check_count(counted: Handshakes, threads: u32) -> Result<()> {
    let Handshakes { full, resumed } = counted;
    if full + resumed != u64::from(threads) {
        bail!("sysbench's {threads} threads made {full} full and {resumed} resumed handshakes");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_without_a_handshake_spoils_a_round() {
        let is_right = |full| check_count(Handshakes { full, resumed: 0 }, 8).is_ok();
        assert!(is_right(8));
        assert!(!is_right(7) && !is_right(0) && !is_right(9));
    }
}
