//! What the kernel says about the process. Read without opening a descriptor where the kernel
//! allows it, because the numbers matter most when there is none left.

use std::fs::{self, File};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::time::Duration;

use nix::sys::resource::{Resource, UsageWho, getrlimit, getrusage};
use nix::sys::time::TimeValLike;
use nix::unistd::{SysconfVar, sysconf};

/// Where the figures come from.
#[derive(Debug)]
pub(in crate::control) struct Host {
    /// Held open: reading it takes no descriptor then.
    statm: Option<File>,
}

/// The figures of one moment; `None` where the kernel did not tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::control) struct Usage {
    pub(in crate::control) cpu: Option<Duration>,
    pub(in crate::control) resident_bytes: Option<u64>,
    pub(in crate::control) open_fds: Option<u64>,
    pub(in crate::control) max_fds: Option<u64>,
}

impl Host {
    pub(in crate::control) fn new() -> Self {
        Self {
            statm: File::open("/proc/self/statm").ok(),
        }
    }

    pub(in crate::control) fn usage(&self) -> Usage {
        Usage {
            cpu: cpu(),
            resident_bytes: self.resident_bytes(),
            open_fds: open_fds(),
            max_fds: getrlimit(Resource::RLIMIT_NOFILE)
                .ok()
                .map(|(soft, _)| soft),
        }
    }

    fn resident_bytes(&self) -> Option<u64> {
        let mut line = [0_u8; 128];
        let len = self.statm.as_ref()?.read_at(&mut line, 0).ok()?;
        let pages = str::from_utf8(&line[..len]).ok()?.split(' ').nth(1)?;
        let page_bytes = sysconf(SysconfVar::PAGE_SIZE).ok()??;
        pages
            .parse::<u64>()
            .ok()?
            .checked_mul(page_bytes.try_into().ok()?)
    }
}

fn cpu() -> Option<Duration> {
    let usage = getrusage(UsageWho::RUSAGE_SELF).ok()?;
    let us = usage.user_time().num_microseconds() + usage.system_time().num_microseconds();
    Some(Duration::from_micros(us.try_into().ok()?))
}

/// Since Linux 6.2 the directory's size is the number of its entries: proc(5). Before, it is 0, and
/// they have to be counted, the one that counts excepted.
fn open_fds() -> Option<u64> {
    const DIRECTORY: &str = "/proc/self/fd";
    match fs::metadata(DIRECTORY).ok()?.size() {
        0 => Some((fs::read_dir(DIRECTORY).ok()?.count() as u64).saturating_sub(1)),
        entries => Some(entries),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_tells_about_this_process() {
        let usage = Host::new().usage();
        assert!(usage.resident_bytes.is_some_and(|bytes| bytes > 100_000));
        assert!(usage.open_fds.is_some_and(|fds| fds >= 3));
        assert!(usage.max_fds >= usage.open_fds);
        assert!(usage.cpu.is_some());
    }
}
