//! What a load cost: CPU clocks of processes, the whole machine's CPU, private memory.

use std::fs;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike;
use nix::time::{clock_getcpuclockid, clock_gettime};
use nix::unistd::{Pid, SysconfVar, sysconf};

use crate::process::Managed;

/// CPU time used between two moments, and by whom.
pub(crate) struct CpuUse {
    /// The product under test, all its processes, threads that have ended included.
    pub(crate) product: Duration,
    /// The servers behind it and the load generator.
    pub(crate) load: Duration,
    /// The whole machine, with everything else that ran on it.
    pub(crate) machine: Duration,
    /// Taken by the hypervisor.
    pub(crate) stolen: Duration,
    /// What all CPUs together could have given.
    pub(crate) capacity: Duration,
}

impl CpuUse {
    /// The share of the machine that went to programs outside of the comparison. The runner's own
    /// work is in it; it is next to nothing while a load runs.
    pub(crate) fn foreign_share(&self) -> f64 {
        let known = self.product + self.load;
        share(self.machine.saturating_sub(known), self.capacity)
    }

    pub(crate) fn stolen_share(&self) -> f64 {
        share(self.stolen, self.capacity)
    }
}

fn share(part: Duration, whole: Duration) -> f64 {
    if whole.is_zero() {
        0.0
    } else {
        part.as_secs_f64() / whole.as_secs_f64()
    }
}

/// Takes the clocks at the beginning of a window and the differences at its end.
pub(crate) struct Window {
    product: Vec<Pid>,
    servers: Vec<Pid>,
    product_cpu: Duration,
    load_cpu: Duration,
    machine: MachineCpu,
    begin: Instant,
}

impl Window {
    /// `generator`: the load generator, where it runs already. It has to have ended when the window
    /// closes, so that what it used until now is in what ended children have used by then.
    pub(crate) fn open(product: &[Pid], servers: &[Pid], generator: Option<Pid>) -> Result<Self> {
        let used_by_generator = generator.map_or(Ok(Duration::ZERO), cpu_of)?;
        Ok(Self {
            product: product.to_vec(),
            servers: servers.to_vec(),
            load_cpu: cpu_of_all(servers)? + cpu_of_ended_children()? + used_by_generator,
            machine: MachineCpu::now()?,
            product_cpu: cpu_of_all(product)?,
            begin: Instant::now(),
        })
    }

    /// An error here means that a process has ended in the window.
    pub(crate) fn close(self) -> Result<CpuUse> {
        let product = cpu_of_all(&self.product)? - self.product_cpu;
        let machine = MachineCpu::now()?;
        let load = cpu_of_all(&self.servers)? + cpu_of_ended_children()? - self.load_cpu;
        let cpus = sysconf(SysconfVar::_NPROCESSORS_ONLN)?.unwrap_or(1) as u32;
        Ok(CpuUse {
            product,
            load,
            machine: machine.busy.saturating_sub(self.machine.busy),
            stolen: machine.stolen.saturating_sub(self.machine.stolen),
            capacity: self.begin.elapsed() * cpus,
        })
    }
}

/// The process CPU clocks, clock_getcpuclockid(3), added up. Precise to the nanosecond, and it
/// counts threads that have ended and the kernel's io_uring helper threads of the process.
fn cpu_of_all(pids: &[Pid]) -> Result<Duration> {
    pids.iter().map(|&pid| cpu_of(pid)).sum()
}

fn cpu_of(pid: Pid) -> Result<Duration> {
    let gone = || format!("process {pid} has no CPU clock: it has ended");
    let time = clock_gettime(clock_getcpuclockid(pid).with_context(gone)?).with_context(gone)?;
    Ok(Duration::from(time))
}

/// A load generator is a child that has been waited for at the end of its window.
fn cpu_of_ended_children() -> Result<Duration> {
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN).context("getrusage")?;
    let micros = usage.user_time().num_microseconds() + usage.system_time().num_microseconds();
    Ok(Duration::from_micros(micros as u64))
}

/// The machine's CPU time since boot, from the first line of `/proc/stat`.
#[derive(Debug, PartialEq, Eq)]
struct MachineCpu {
    busy: Duration,
    stolen: Duration,
}

impl MachineCpu {
    fn now() -> Result<Self> {
        let text = fs::read_to_string("/proc/stat").context("cannot read /proc/stat")?;
        let ticks_per_s = sysconf(SysconfVar::CLK_TCK)?.unwrap_or(100) as u64;
        Self::parse(&text, ticks_per_s)
            .context("/proc/stat does not begin with a line of CPU ticks")
    }

    /// proc_stat(5): user, nice, system, idle, iowait, irq, softirq, steal, guest, guest_nice. Time
    /// of guests is part of user time already.
    fn parse(text: &str, ticks_per_s: u64) -> Option<Self> {
        let mut fields = text.lines().next()?.split_whitespace();
        if fields.next()? != "cpu" {
            return None;
        }
        let ticks: Vec<u64> = fields.map_while(|field| field.parse().ok()).collect();
        let [user, nice, system, _idle, _iowait, irq, softirq, steal, ..] = ticks[..] else {
            return None;
        };
        let duration = |ticks: u64| Duration::from_millis(ticks * 1000 / ticks_per_s);
        Some(Self {
            busy: duration(user + nice + system + irq + softirq),
            stolen: duration(steal),
        })
    }
}

/// `Private_Dirty` over all processes of a product: the memory that would be gone without it.
pub(crate) fn private_dirty_bytes(product: &Managed) -> Result<u64> {
    product
        .pids()?
        .into_iter()
        .map(private_dirty_bytes_of)
        .sum()
}

fn private_dirty_bytes_of(pid: Pid) -> Result<u64> {
    let path = format!("/proc/{pid}/smaps_rollup");
    let text = fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
    parse_private_dirty(&text).with_context(|| format!("no Private_Dirty in {path}"))
}

fn parse_private_dirty(text: &str) -> Option<u64> {
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("Private_Dirty:"))?;
    let kib: u64 = line.split_whitespace().next()?.parse().ok()?;
    Some(kib * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn machine_time_leaves_idle_and_iowait_out_and_keeps_steal_apart() {
        let text = "cpu  10 20 30 4000 500 6 7 8 0 0\ncpu0 1 2 3 4 5 6 7 8 0 0\n";
        let expected = MachineCpu {
            busy: Duration::from_millis(730),
            stolen: Duration::from_millis(80),
        };
        assert_eq!(MachineCpu::parse(text, 100), Some(expected));
        assert_eq!(MachineCpu::parse("intr 1", 100), None);
    }

    #[test]
    fn private_dirty_is_read_in_bytes() {
        let text = "00-ff ---p [rollup]\nRss: 12 kB\nPrivate_Dirty:      37 kB\nSwap: 0 kB\n";
        assert_eq!(parse_private_dirty(text), Some(37 * 1024));
        assert_eq!(parse_private_dirty("Rss: 12 kB\n"), None);
    }

    #[test]
    fn own_cpu_clock_advances_with_work() {
        let before = cpu_of(Pid::this()).unwrap();
        let begin = Instant::now();
        while begin.elapsed() < Duration::from_millis(5) {}
        assert!(cpu_of(Pid::this()).unwrap() > before);
    }

    #[test]
    fn foreign_share_is_what_nobody_in_the_comparison_used() {
        let s = Duration::from_secs;
        let cpu = CpuUse {
            product: s(2),
            load: s(3),
            machine: s(6),
            stolen: s(1),
            capacity: s(10),
        };
        assert!((cpu.foreign_share() - 0.1).abs() < 1e-9);
        assert!((cpu.stolen_share() - 0.1).abs() < 1e-9);
    }
}
