//! On what, with what and when: the first thing that a reader of figures wants to know.

use std::env::consts::ARCH;
use std::fs;
use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};

use nix::sys::utsname::uname;
use serde::{Deserialize, Serialize};

use crate::tools::{self, Tools};

/// The machine, the programs and the day.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Machine {
    /// UTC, `YYYY-MM-DD HH:MM`.
    pub(crate) date: String,
    pub(crate) kernel: String,
    pub(crate) architecture: String,
    pub(crate) distribution: String,
    pub(crate) cpu_model: String,
    pub(crate) cpus: usize,
    pub(crate) memory_gib: f64,
    pub(crate) is_virtual: bool,
    /// Program and version.
    pub(crate) versions: Vec<(String, String)>,
}

impl Machine {
    pub(crate) fn describe(tools: &Tools) -> Self {
        let cpu_info = read("/proc/cpuinfo");
        let cpus = cpu_info
            .lines()
            .filter(|line| line.starts_with("processor"))
            .count();
        Self {
            date: now(),
            kernel: uname()
                .map(|u| u.release().display().to_string())
                .unwrap_or_default(),
            architecture: ARCH.to_owned(),
            distribution: distribution(&read("/etc/os-release")),
            cpu_model: cpu_field(&cpu_info, "model name")
                .unwrap_or("unknown model")
                .to_owned(),
            cpus,
            memory_gib: memory_gib(&read("/proc/meminfo")).unwrap_or_default(),
            is_virtual: cpu_field(&cpu_info, "flags")
                .is_some_and(|flags| flags.split(' ').any(|flag| flag == "hypervisor")),
            versions: versions(tools),
        }
    }
}

fn read(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_default()
}

fn versions(tools: &Tools) -> Vec<(String, String)> {
    let mut versions = Vec::new();
    let mut add = |name: &str, command: &mut Command| {
        let output = tools::output_of(command).unwrap_or_default();
        let version = version_in(&output).unwrap_or("unknown version");
        versions.push((name.to_owned(), version.to_owned()));
    };
    for (name, program, argument) in [
        ("ringway", &tools.ringway, "--version"),
        ("HAProxy", &tools.haproxy, "-v"),
        ("ProxySQL", &tools.proxysql, "--version"),
        ("nginx", &tools.nginx, "-v"),
        ("wrk", &tools.wrk, "-v"),
        ("MariaDB", &tools.mariadbd, "--version"),
        ("sysbench", &tools.sysbench, "--version"),
    ] {
        if let Some(program) = program {
            add(name, Command::new(program).arg(argument));
        }
    }
    add("rustc", Command::new("rustc").arg("--version"));
    let openssl = tools.openssl_version.clone();
    versions.extend(openssl.map(|version| ("OpenSSL".to_owned(), version)));
    if tools.ringway.is_some() {
        versions.extend(commit().map(|commit| ("ringway's commit".to_owned(), commit)));
    }
    versions
}

/// Only where the repository is a git checkout with a commit.
fn commit() -> Option<String> {
    let root = tools::repository_root().ok()?;
    let mut git = Command::new("git");
    git.arg("-C")
        .arg(root)
        .args(["rev-parse", "--verify", "--short", "HEAD"]);
    let output = git.output().ok().filter(|output| output.status.success())?;
    Some(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// The first word that begins with a digit, or with a program's name, a slash and a digit.
fn version_in(text: &str) -> Option<&str> {
    let words = text.split([' ', '\n', '/']);
    words
        .map(|word| word.trim_end_matches(','))
        .find(|word| word.starts_with(|c: char| c.is_ascii_digit()) && word.contains('.'))
}

fn cpu_field<'a>(cpu_info: &'a str, name: &str) -> Option<&'a str> {
    let lines = cpu_info.lines().filter_map(|line| line.split_once(':'));
    lines
        .filter(|(key, _)| key.trim() == name)
        .map(|(_, value)| value.trim())
        .next()
}

fn memory_gib(mem_info: &str) -> Option<f64> {
    let line = mem_info
        .lines()
        .find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kib: f64 = line.split_whitespace().next()?.parse().ok()?;
    Some(kib / (1024.0 * 1024.0))
}

fn distribution(os_release: &str) -> String {
    let name = os_release
        .lines()
        .find_map(|line| line.strip_prefix("PRETTY_NAME="));
    name.map_or_else(
        || "unknown".to_owned(),
        |name| name.trim_matches('"').to_owned(),
    )
}

fn now() -> String {
    let since_epoch = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    format_utc(since_epoch.as_secs())
}

/// Days to a date in the proleptic Gregorian calendar: eras of 400 years that begin in March, so
/// that the leap day is the last one of its year.
fn format_utc(unix_s: u64) -> String {
    let days = unix_s / 86_400 + 719_468;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 {
        month_from_march + 3
    } else {
        month_from_march - 9
    };
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    let minutes = unix_s % 86_400 / 60;
    format!(
        "{year:04}-{month:02}-{day:02} {:02}:{:02}",
        minutes / 60,
        minutes % 60
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_right_around_leap_days_and_new_year() {
        assert_eq!(format_utc(0), "1970-01-01 00:00");
        assert_eq!(format_utc(951_782_400), "2000-02-29 00:00");
        assert_eq!(format_utc(951_868_800), "2000-03-01 00:00");
        assert_eq!(format_utc(1_767_225_599), "2025-12-31 23:59");
        assert_eq!(format_utc(1_767_225_600), "2026-01-01 00:00");
    }

    #[test]
    fn versions_are_found_in_what_programs_say() {
        assert_eq!(version_in("nginx version: nginx/1.22.1\n"), Some("1.22.1"));
        assert_eq!(
            version_in("HAProxy version 2.6.12-1+deb12u4 2026/10/17"),
            Some("2.6.12-1+deb12u4")
        );
        assert_eq!(
            version_in("wrk debian/4.1.0-3+b2 [epoll] Copyright (C) 2012"),
            Some("4.1.0-3+b2")
        );
        assert_eq!(
            version_in("rustc 1.95.0 (59807616e 2026-04-14)"),
            Some("1.95.0")
        );
        assert_eq!(
            version_in("mariadbd  Ver 10.11.6-MariaDB-0+deb12u1 for debian-linux-gnu on x86_64"),
            Some("10.11.6-MariaDB-0+deb12u1")
        );
        assert_eq!(version_in("no version"), None);
    }

    #[test]
    fn the_machine_is_described_by_proc() {
        let cpu_info = "processor : 0\nmodel name\t: Some CPU: fast\nflags\t\t: fpu hypervisor\n";
        assert_eq!(cpu_field(cpu_info, "model name"), Some("Some CPU: fast"));
        assert_eq!(memory_gib("MemTotal:  2097152 kB\n"), Some(2.0));
        assert_eq!(
            distribution("NAME=x\nPRETTY_NAME=\"Debian 12\"\n"),
            "Debian 12"
        );
    }
}
