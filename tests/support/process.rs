//! What `/proc` tells about a process.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::time::Duration;

const PAGE_BYTES: u64 = 4096;

/// A process, by its id.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Process(pub(crate) u32);

impl Process {
    /// Memory in RAM, in KiB.
    pub(crate) fn resident_kib(self) -> u64 {
        self.status_field("VmRSS:")
    }

    /// The most memory that it has ever had in RAM, in KiB.
    pub(crate) fn resident_peak_kib(self) -> u64 {
        self.status_field("VmHWM:")
    }

    /// Threads.
    pub(crate) fn threads(self) -> u64 {
        self.status_field("Threads:")
    }

    /// Open descriptors, pipes aside: a balancer keeps some for the next bulk stream.
    pub(crate) fn descriptors(self) -> usize {
        self.links()
            .iter()
            .filter(|link| !link.starts_with("pipe:"))
            .count()
    }

    /// Connections to this local port that it has open: not those that only the kernel still knows.
    pub(crate) fn connections_at(self, port: u16) -> usize {
        let table = fs::read_to_string(format!("/proc/{}/net/tcp", self.0)).unwrap_or_default();
        let is_open = |line: &&str| {
            // proc_net_tcp(5): the local address, the state (0A listens), the inode.
            let fields: Vec<_> = line.split_ascii_whitespace().collect();
            let at_port = fields[1].ends_with(&format!(":{port:04X}"));
            at_port && fields[3] != "0A" && fields[9] != "0"
        };
        table.lines().skip(1).filter(is_open).count()
    }

    /// Open pipe ends.
    pub(crate) fn pipe_ends(self) -> usize {
        self.links()
            .iter()
            .filter(|link| link.starts_with("pipe:"))
            .count()
    }

    /// CPU time of the threads that live, in user and system mode.
    pub(crate) fn cpu(self) -> Duration {
        let tasks = fs::read_dir(format!("/proc/{}/task", self.0))
            .into_iter()
            .flatten()
            .flatten();
        let ns = tasks.filter_map(|task| {
            let schedstat = fs::read_to_string(task.path().join("schedstat")).ok()?;
            schedstat.split(' ').next()?.parse::<u64>().ok()
        });
        Duration::from_nanos(ns.sum())
    }

    /// All that is in the memory that it can write, as far as that is in RAM.
    pub(crate) fn memory(self) -> Vec<u8> {
        let maps = fs::read_to_string(format!("/proc/{}/maps", self.0)).unwrap();
        let open = |name: &str| File::open(format!("/proc/{}/{name}", self.0)).unwrap();
        let (memory, pages) = (open("mem"), open("pagemap"));
        let mut found = Vec::new();
        for mapping in maps.lines().filter(|line| line.contains(" rw")) {
            let (range, _) = mapping.split_once(' ').unwrap();
            let (start, end) = range.split_once('-').unwrap();
            let [start, end] = [start, end].map(|at| u64::from_str_radix(at, 16).unwrap());
            // pagemap(5): eight bytes a page, the highest bit says that it is in RAM. To read those
            // that were never touched would take its time.
            let mut entries = vec![0; ((end - start) / PAGE_BYTES * 8) as usize];
            let told = pages.read_at(&mut entries, start / PAGE_BYTES * 8).unwrap();
            let entries = entries[..told].chunks(8);
            for (at, entry) in (start..).step_by(PAGE_BYTES as usize).zip(entries) {
                let mut page = [0; PAGE_BYTES as usize];
                if entry[7] & 0x80 != 0 && memory.read_exact_at(&mut page, at).is_ok() {
                    found.extend(page);
                }
            }
        }
        found
    }

    fn links(self) -> Vec<String> {
        let descriptors = fs::read_dir(format!("/proc/{}/fd", self.0))
            .into_iter()
            .flatten();
        let links = descriptors
            .flatten()
            .filter_map(|fd| fs::read_link(fd.path()).ok());
        links
            .map(|link| link.to_string_lossy().into_owned())
            .collect()
    }

    fn status_field(self, field: &str) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.0)).unwrap_or_default();
        let line = status.lines().find(|line| line.starts_with(field));
        line.and_then(|line| line.split_ascii_whitespace().nth(1)?.parse().ok())
            .unwrap_or(0)
    }
}
