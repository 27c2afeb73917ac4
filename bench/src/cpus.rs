//! Which CPU is whose.
//!
//! The proxy under test has one CPU to itself; the servers, the load generator and this runner
//! share all the others. Were they free to run anywhere, they would land on the proxy's CPU from
//! time to time: its caches and its scheduling would then depend on chance. The price on a machine
//! with two CPUs is that the load generator and two servers share one, and often saturate it before
//! the proxy saturates its own. Throughput then says how much a proxy leaves to its neighbours, and
//! the CPU per unit says what it costs. It is the same for every product.

use anyhow::{Context, Result, bail};
use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::unistd::Pid;

/// The split of this process's own affinity mask.
#[derive(Clone, Debug)]
pub(crate) struct CpuPlan {
    pub(crate) proxy: CpuSet,
    pub(crate) load: CpuSet,
    pub(crate) proxy_cpu: usize,
    pub(crate) load_cpus: Vec<usize>,
}

impl CpuPlan {
    /// The proxy gets `proxy_cpu`, or the first CPU that this process may run on.
    pub(crate) fn new(proxy_cpu: Option<usize>) -> Result<Self> {
        let allowed = allowed_cpus()?;
        let proxy_cpu = proxy_cpu.unwrap_or(allowed[0]);
        if !allowed.contains(&proxy_cpu) {
            bail!("--proxy-cpu {proxy_cpu} is not among the CPUs of this process: {allowed:?}");
        }
        let mut load_cpus = allowed.clone();
        load_cpus.retain(|&cpu| cpu != proxy_cpu);
        if load_cpus.is_empty() {
            eprintln!("only one CPU: the load shares it with the proxy, so expect noise");
            load_cpus = allowed;
        }
        let (proxy, load) = (set_of(&[proxy_cpu])?, set_of(&load_cpus)?);
        Ok(Self {
            proxy,
            load,
            proxy_cpu,
            load_cpus,
        })
    }

    /// Moves the runner itself off the proxy's CPU.
    pub(crate) fn move_runner(&self) -> Result<()> {
        sched_setaffinity(Pid::this(), &self.load).context("cannot move off the proxy's CPU")
    }

    /// Half of the load's CPUs generate load, the other half is for the servers.
    pub(crate) fn wrk_threads(&self, connections: u32) -> u32 {
        let half = u32::try_from(self.load_cpus.len() / 2).unwrap_or(u32::MAX);
        half.clamp(1, connections)
    }
}

fn allowed_cpus() -> Result<Vec<usize>> {
    let mask = sched_getaffinity(Pid::this()).context("cannot read the affinity mask")?;
    let allowed: Vec<_> = (0..CpuSet::count())
        .filter(|&cpu| mask.is_set(cpu).unwrap_or(false))
        .collect();
    if allowed.is_empty() {
        bail!("the affinity mask of this process is empty");
    }
    Ok(allowed)
}

fn set_of(cpus: &[usize]) -> Result<CpuSet> {
    let mut set = CpuSet::new();
    for &cpu in cpus {
        set.set(cpu)?;
    }
    Ok(set)
}
