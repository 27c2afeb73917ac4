//! How many CPUs the process may use, and which: the affinity mask, cut by the cgroup's quota.

use std::fmt;
use std::fs;
use std::num::NonZero;
use std::path::Path;
use std::thread;

use nix::sched::{CpuSet, sched_getaffinity};
use nix::unistd::Pid;

use crate::config::Workers;

/// The CPUs the process may use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Cpus {
    /// The affinity mask, ascending; empty when the kernel did not tell.
    mask: Vec<usize>,
    /// The cgroup's quota in CPUs, rounded up.
    quota: Option<usize>,
}

/// How many workers there are, and the CPU each is pinned to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct WorkerCpus(pub(super) Vec<Option<usize>>);

impl fmt::Display for WorkerCpus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plural = if self.0.len() == 1 { "" } else { "s" };
        write!(f, "{} worker{plural}", self.0.len())?;
        let cpus: Vec<_> = self.0.iter().flatten().map(usize::to_string).collect();
        if cpus.is_empty() {
            f.write_str(", not pinned")
        } else {
            write!(f, " on CPU {}", cpus.join(" "))
        }
    }
}

impl Cpus {
    /// What this process may use now.
    pub(super) fn detect() -> Self {
        let cgroups = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
        Self {
            mask: affinity_mask(),
            quota: quota(Path::new("/sys/fs/cgroup"), &cgroups),
        }
    }

    /// Places the workers.
    ///
    /// They are not pinned where a quota leaves fewer CPUs than the mask: such a host is shared,
    /// and every process pinned alike would crowd onto its first CPUs.
    pub(super) fn place(&self, workers: Workers, pin: bool) -> WorkerCpus {
        let in_mask = self.usable();
        let count = match workers {
            Workers::Auto => in_mask.min(self.quota.unwrap_or(in_mask)),
            Workers::Count(count) => usize::from(count.get()),
        };
        let shared = self.quota.is_some_and(|quota| quota < in_mask);
        let mut cpus = self.mask.iter().cycle().copied();
        let place = |_| if pin && !shared { cpus.next() } else { None };
        WorkerCpus((0..count).map(place).collect())
    }

    /// How many CPUs there are to run on; the standard library's count where the mask is not known.
    fn usable(&self) -> usize {
        match self.mask.len() {
            0 => thread::available_parallelism().map_or(1, NonZero::get),
            in_mask => in_mask,
        }
    }
}

fn affinity_mask() -> Vec<usize> {
    // Fails on hosts with more than 1024 possible CPUs, whose mask does not fit; nobody is pinned
    // then.
    let Ok(set) = sched_getaffinity(Pid::from_raw(0)) else {
        return Vec::new();
    };
    let is_set = |&cpu: &usize| set.is_set(cpu).unwrap_or(false);
    (0..CpuSet::count()).filter(is_set).collect()
}

/// The tightest CPU quota between the process's cgroups and the root, in CPUs rounded up.
///
/// `root` is where cgroup file systems are mounted, `cgroups` the text of `/proc/self/cgroup`: a
/// line `hierarchy:controllers:path` each, cgroups(7). In a container the paths may be the host's
/// and not exist below `root`; walking up ends at what the container sees as its root.
fn quota(root: &Path, cgroups: &str) -> Option<usize> {
    let quotas = cgroups.lines().filter_map(|line| {
        let mut fields = line.splitn(3, ':');
        let (_, controllers, path) = (fields.next()?, fields.next()?, fields.next()?);
        let path = path.trim_start_matches('/');
        if controllers.is_empty() {
            let mounts = ["", "unified"].map(|mount| root.join(mount));
            mounts
                .iter()
                .filter_map(|mount| tightest(mount, path, quota_v2))
                .min()
        } else if controllers.split(',').any(|controller| controller == "cpu") {
            let mounts = ["cpu", "cpu,cpuacct", controllers].map(|mount| root.join(mount));
            mounts
                .iter()
                .filter_map(|mount| tightest(mount, path, quota_v1))
                .min()
        } else {
            None
        }
    });
    quotas.min()
}

/// The tightest quota from `mount/path` up to `mount`.
fn tightest(mount: &Path, path: &str, read: fn(&Path) -> Option<usize>) -> Option<usize> {
    let leaf = mount.join(path);
    let up = leaf
        .ancestors()
        .take_while(|group| group.starts_with(mount));
    up.filter_map(read).min()
}

/// `cpu.max`: `QUOTA PERIOD` in microseconds, or `max PERIOD`.
fn quota_v2(group: &Path) -> Option<usize> {
    let text = fs::read_to_string(group.join("cpu.max")).ok()?;
    let (quota, period) = text.trim().split_once(' ')?;
    cpus_of(quota.parse().ok()?, period.parse().ok()?)
}

/// `cpu.cfs_quota_us`, which is -1 where there is none, and `cpu.cfs_period_us`.
fn quota_v1(group: &Path) -> Option<usize> {
    let read = |file| fs::read_to_string(group.join(file)).ok();
    let quota = read("cpu.cfs_quota_us")?.trim().parse().ok()?;
    let period = read("cpu.cfs_period_us")?.trim().parse().ok()?;
    cpus_of(quota, period)
}

/// Rounded up: a worker more than the quota carries is throttled now and then, one fewer leaves
/// paid time unused.
fn cpus_of(quota_us: u64, period_us: u64) -> Option<usize> {
    if period_us == 0 {
        return None;
    }
    usize::try_from(quota_us.div_ceil(period_us).max(1)).ok()
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU16;

    use super::*;

    fn write(root: &Path, file: &str, text: &str) {
        let path = root.join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    #[test]
    fn the_tightest_quota_of_the_hierarchy_counts_and_is_rounded_up() {
        let root = tempfile::tempdir().unwrap();
        write(root.path(), "pod/cpu.max", "150000 100000\n");
        write(root.path(), "pod/app/cpu.max", "max 100000\n");
        assert_eq!(quota(root.path(), "0::/pod/app\n"), Some(2));
        write(root.path(), "pod/app/cpu.max", "10000 100000\n");
        assert_eq!(quota(root.path(), "0::/pod/app\n"), Some(1));
    }

    #[test]
    fn a_container_that_sees_the_hosts_path_still_finds_its_quota() {
        let root = tempfile::tempdir().unwrap();
        write(root.path(), "cpu.max", "300000 100000\n");
        assert_eq!(quota(root.path(), "0::/kubepods/burstable/x\n"), Some(3));
    }

    #[test]
    fn a_version_1_quota_counts_too() {
        let root = tempfile::tempdir().unwrap();
        write(root.path(), "cpu,cpuacct/app/cpu.cfs_quota_us", "250000\n");
        write(root.path(), "cpu,cpuacct/app/cpu.cfs_period_us", "100000\n");
        write(root.path(), "cpu,cpuacct/cpu.cfs_quota_us", "-1\n");
        write(root.path(), "cpu,cpuacct/cpu.cfs_period_us", "100000\n");
        let cgroups = "12:memory:/app\n4:cpu,cpuacct:/app\n0::/\n";
        assert_eq!(quota(root.path(), cgroups), Some(3));
    }

    #[test]
    fn no_quota_and_nonsense_cut_nothing() {
        let root = tempfile::tempdir().unwrap();
        assert_eq!(quota(root.path(), "0::/app\n"), None);
        write(root.path(), "cpu.max", "max 100000\n");
        assert_eq!(quota(root.path(), "0::/app\n"), None);
        write(root.path(), "cpu.max", "100000 0\n");
        assert_eq!(quota(root.path(), "0::/app\nrubbish\n"), None);
    }

    #[test]
    fn each_worker_gets_its_own_cpu_of_the_mask() {
        let cpus = Cpus {
            mask: vec![2, 5],
            quota: None,
        };
        let auto = cpus.place(Workers::Auto, true);
        assert_eq!(auto.0, [Some(2), Some(5)]);
        let three = Workers::Count(NonZeroU16::new(3).unwrap());
        assert_eq!(cpus.place(three, true).0, [Some(2), Some(5), Some(2)]);
        assert_eq!(cpus.place(three, false).0, [None; 3]);
    }

    #[test]
    fn a_quota_below_the_mask_lowers_the_count_and_frees_the_workers() {
        let cut = Cpus {
            mask: vec![0, 1, 2, 3],
            quota: Some(2),
        };
        assert_eq!(cut.place(Workers::Auto, true).0, [None, None]);
        let generous = Cpus {
            mask: vec![0, 1],
            quota: Some(2),
        };
        assert_eq!(generous.place(Workers::Auto, true).0, [Some(0), Some(1)]);
    }

    #[test]
    fn where_the_mask_is_not_known_the_count_is_and_nobody_is_pinned() {
        let unknown = Cpus {
            mask: Vec::new(),
            quota: None,
        };
        let count = thread::available_parallelism().unwrap().get();
        assert_eq!(unknown.place(Workers::Auto, true).0, vec![None; count]);
    }

    #[test]
    fn this_host_has_a_cpu() {
        assert!(!Cpus::detect().place(Workers::Auto, true).0.is_empty());
    }
}
