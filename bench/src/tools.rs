//! The programs: found, built, or installed from the distribution's packages.

use std::env;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use nix::unistd::geteuid;

use crate::products::Product;
use crate::scenario::Group;

/// Where each program is; `None`: not there, or not asked for.
#[derive(Debug, Default)]
pub(crate) struct Tools {
    pub(crate) ringway: Option<PathBuf>,
    pub(crate) haproxy: Option<PathBuf>,
    pub(crate) proxysql: Option<PathBuf>,
    pub(crate) nginx: Option<PathBuf>,
    /// Where nginx stream is a module of its own.
    pub(crate) nginx_stream_module: Option<PathBuf>,
    pub(crate) nginx_version: Option<Version>,
    /// What nginx runs on, as HAProxy and wrk from the same distribution do; asked for where TLS is
    /// measured.
    pub(crate) openssl_version: Option<String>,
    pub(crate) reference_relay: Option<PathBuf>,
    pub(crate) wrk: Option<PathBuf>,
    pub(crate) sysbench: Option<PathBuf>,
    pub(crate) mariadbd: Option<PathBuf>,
    pub(crate) mariadb_install_db: Option<PathBuf>,
    /// The command line client.
    pub(crate) mariadb: Option<PathBuf>,
    has_nginx_stream: bool,
}

/// Three numbers, compared in their order.
pub(crate) type Version = [u32; 3];

/// What the run is asked for.
pub(crate) struct Wanted<'a> {
    pub(crate) products: &'a [Product],
    pub(crate) groups: &'a [Group],
    /// A ringway that is built already.
    pub(crate) ringway: Option<&'a Path>,
    pub(crate) may_install: bool,
}

impl Tools {
    pub(crate) fn find(wanted: &Wanted<'_>) -> Result<Self> {
        let mut tools = Self::default();
        tools.find_installed(wanted.groups);
        let missing = tools.missing_packages(wanted);
        if !missing.is_empty() && wanted.may_install && can_install() {
            install(&missing)?;
            tools.find_installed(wanted.groups);
        }
        for &group in wanted.groups {
            let missing = tools.missing_servers(group);
            if !missing.is_empty() {
                bail!(
                    "the {} scenarios need the packages {}; install them, or leave the \
                     scenarios out with --group",
                    group.name(),
                    missing.join(", ")
                );
            }
        }
        let is_ringway = |p: &Product| matches!(p, Product::Ringway | Product::RingwayTcp);
        if wanted.products.iter().any(is_ringway) {
            tools.ringway = Some(match wanted.ringway {
                Some(path) => existing(path)?,
                None => build(&repository_root()?.join("Cargo.toml"), "ringway")?,
            });
        }
        if wanted
            .products
            .iter()
            .any(|p| matches!(p, Product::RelayCopy | Product::RelayRingSplice))
        {
            let manifest = bench_directory().join("Cargo.toml");
            tools.reference_relay = Some(build(&manifest, "reference-relay")?);
        }
        Ok(tools)
    }

    /// Whether `product` can run; if not, the name of what is missing.
    pub(crate) fn missing_for(&self, product: Product) -> Option<&'static str> {
        match product {
            Product::Haproxy if self.haproxy.is_none() => Some("haproxy"),
            Product::Proxysql if self.proxysql.is_none() => Some("proxysql"),
            Product::Nginx if !self.has_nginx_stream => Some("the stream module of nginx"),
            _ => None,
        }
    }

    /// nginx stream has `listen ... deferred` since 1.25.5.
    pub(crate) fn nginx_stream_defers(&self) -> bool {
        self.nginx_version >= Some([1, 25, 5])
    }

    fn find_installed(&mut self, groups: &[Group]) {
        self.haproxy = find_program("haproxy");
        if groups.contains(&Group::Mysql) {
            self.sysbench = find_program("sysbench");
            self.mariadbd = find_program("mariadbd");
            self.mariadb_install_db = find_program("mariadb-install-db");
            self.mariadb = find_program("mariadb");
            self.proxysql = find_program("proxysql");
        }
        if groups.iter().any(|group| group.has_web_servers()) {
            self.wrk = find_program("wrk");
            self.nginx = find_program("nginx");
            self.look_into_nginx(groups.contains(&Group::Tls));
        }
    }

    fn look_into_nginx(&mut self, has_tls: bool) {
        let Some(nginx) = &self.nginx else { return };
        let build = output_of(Command::new(nginx).arg("-V")).unwrap_or_default();
        self.nginx_version = parse_nginx_version(&build);
        self.openssl_version = parse_openssl_version(&build).filter(|_| has_tls);
        self.nginx_stream_module = stream_module_path(&build).filter(|path| path.exists());
        self.has_nginx_stream = self.nginx_stream_module.is_some() || has_static_stream(&build);
    }

    /// The packages without which nothing of the group can be measured.
    fn missing_servers(&self, group: Group) -> Vec<&'static str> {
        let needed: &[_] = match group {
            Group::Web | Group::Tls => &[(&self.wrk, "wrk"), (&self.nginx, "nginx")],
            Group::Mysql => &[
                (&self.sysbench, "sysbench"),
                (&self.mariadbd, "mariadb-server-core"),
                (&self.mariadb_install_db, "mariadb-server-core"),
                (&self.mariadb, "mariadb-client-core"),
            ],
        };
        let missing = needed.iter().filter(|(program, _)| program.is_none());
        let mut packages: Vec<_> = missing.map(|&(_, package)| package).collect();
        packages.dedup();
        packages
    }

    fn missing_packages(&self, wanted: &Wanted<'_>) -> Vec<&'static str> {
        let groups = wanted.groups.iter();
        let mut missing: Vec<_> = groups.flat_map(|&g| self.missing_servers(g)).collect();
        if wanted.products.contains(&Product::Nginx) && !self.has_nginx_stream {
            missing.push("libnginx-mod-stream");
        }
        if wanted.products.contains(&Product::Haproxy) && self.haproxy.is_none() {
            missing.push("haproxy");
        }
        missing
    }
}

/// The directory of this package: from cargo at run time, or from the time of the build.
fn bench_directory() -> PathBuf {
    let directory = env::var("CARGO_MANIFEST_DIR");
    PathBuf::from(directory.unwrap_or_else(|_| env!("CARGO_MANIFEST_DIR").to_owned()))
}

/// The directory above this package.
pub(crate) fn repository_root() -> Result<PathBuf> {
    let bench = bench_directory();
    Ok(bench
        .parent()
        .context("bench/ has no parent directory")?
        .to_owned())
}

fn existing(path: &Path) -> Result<PathBuf> {
    path.canonicalize()
        .with_context(|| format!("there is no program at {}", path.display()))
}

/// System directories are looked at, too: they are often not on the path of an ordinary user.
fn find_program(name: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let system = ["/usr/sbin", "/usr/local/sbin", "/sbin"].map(PathBuf::from);
    let mut candidates = env::split_paths(&path)
        .chain(system)
        .map(|dir| dir.join(name));
    candidates.find(|candidate| is_executable(candidate))
}

fn is_executable(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
}

/// Builds a program and takes its place from cargo's own messages: wherever the target directory
/// is configured to be, that is where it is.
fn build(manifest: &Path, program: &str) -> Result<PathBuf> {
    eprintln!("building {program} ...");
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args([
            "build",
            "--release",
            "--message-format=json-render-diagnostics",
            "--bin",
            program,
        ])
        .arg("--manifest-path")
        .arg(manifest)
        .stderr(Stdio::inherit())
        .output()
        .context("cannot start cargo")?;
    if !output.status.success() {
        bail!("{program} does not build; give a built one, or leave it out with --peers");
    }
    let messages = String::from_utf8_lossy(&output.stdout);
    let executable = messages
        .lines()
        .find_map(|line| executable_in(line, program));
    executable.with_context(|| format!("cargo did not say where it put {program}"))
}

fn executable_in(message: &str, program: &str) -> Option<PathBuf> {
    let message: serde_json::Value = serde_json::from_str(message).ok()?;
    let is_program = message["target"]["name"] == program;
    let executable = message["executable"].as_str()?;
    is_program.then(|| executable.into())
}

fn can_install() -> bool {
    geteuid().is_root() && find_program("apt-get").is_some()
}

fn install(packages: &[&'static str]) -> Result<()> {
    eprintln!("installing {} ...", packages.join(", "));
    let _no_services = ServiceGuard::new(packages)?;
    let install = || apt_get(&[&["install", "-y", "--no-install-recommends"], packages].concat());
    if !install()? {
        // On a fresh machine there are no package lists yet.
        apt_get(&["update"])?;
        if !install()? {
            eprintln!("apt-get could not install {}", packages.join(", "));
        }
    }
    Ok(())
}

fn apt_get(arguments: &[&str]) -> Result<bool> {
    let status = Command::new("apt-get")
        .args(arguments)
        .env("DEBIAN_FRONTEND", "noninteractive")
        .stdout(Stdio::null())
        .status();
    Ok(status.context("cannot start apt-get")?.success())
}

/// Debian starts a service as soon as its package is installed, unless this policy forbids it.
/// What the benchmark installs must not begin to listen on port 80, now or at the next boot.
struct ServiceGuard {
    policy: Option<&'static Path>,
    units: Vec<&'static str>,
}

impl ServiceGuard {
    fn new(packages: &[&'static str]) -> Result<Self> {
        let path = Path::new("/usr/sbin/policy-rc.d");
        let is_service = |package: &&str| matches!(*package, "nginx" | "haproxy");
        let units = packages.iter().copied().filter(is_service).collect();
        if path.exists() {
            return Ok(Self {
                policy: None,
                units,
            });
        }
        fs::write(path, "#!/bin/sh\nexit 101\n").context("cannot forbid the start of services")?;
        fs::set_permissions(path, fs::Permissions::from_mode(0o755))?;
        Ok(Self {
            policy: Some(path),
            units,
        })
    }
}

impl Drop for ServiceGuard {
    fn drop(&mut self) {
        if let Some(path) = self.policy {
            fs::remove_file(path).ok();
        }
        if !self.units.is_empty() && Path::new("/run/systemd/system").exists() {
            let mut disable = Command::new("systemctl");
            disable.args(["disable", "--quiet"]).args(&self.units);
            disable.stderr(Stdio::null()).status().ok();
        }
    }
}

/// Standard output and error together: nginx and wrk write their version to the latter.
pub(crate) fn output_of(command: &mut Command) -> Option<String> {
    let output = command.stdin(Stdio::null()).output().ok()?;
    let text = [output.stdout, output.stderr].concat();
    Some(String::from_utf8_lossy(&text).into_owned())
}

/// From `nginx version: nginx/1.22.1`.
fn parse_nginx_version(text: &str) -> Option<Version> {
    let (_, version) = text.split_once("nginx/")?;
    let version = version.split_whitespace().next()?;
    let mut numbers = version.split('.').map(|number| number.parse().ok());
    Some([numbers.next()??, numbers.next()??, numbers.next()??])
}

/// From `built with OpenSSL 3.0.22 25 Aug 2026 (running with OpenSSL 3.0.19 27 Jan 2026)`, where the
/// second half is only there if it differs.
fn parse_openssl_version(text: &str) -> Option<String> {
    let (_, version) = text.rsplit_once("with OpenSSL ")?;
    version.split_whitespace().next().map(str::to_owned)
}

fn has_static_stream(build: &str) -> bool {
    build
        .split_whitespace()
        .any(|option| option == "--with-stream")
}

fn stream_module_path(build: &str) -> Option<PathBuf> {
    let mut options = build.split_whitespace();
    if !options
        .clone()
        .any(|option| option == "--with-stream=dynamic")
    {
        return None;
    }
    let directory = options.find_map(|option| option.strip_prefix("--modules-path="))?;
    Some(Path::new(directory).join("ngx_stream_module.so"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nginx_says_its_version_and_how_stream_was_built() {
        let build = "nginx version: nginx/1.22.1\nconfigure arguments: --with-cc-opt='-g -O2' \
                     --modules-path=/m --with-stream=dynamic --with-stream_ssl_module";
        assert_eq!(parse_nginx_version(build), Some([1, 22, 1]));
        assert_eq!(
            stream_module_path(build),
            Some(PathBuf::from("/m/ngx_stream_module.so"))
        );
        assert!(!has_static_stream(build));
        assert!(has_static_stream("--with-stream --with-threads"));
        assert_eq!(
            parse_nginx_version("nginx version: nginx/1.27.0 (Ubuntu)"),
            Some([1, 27, 0])
        );
        let built = "built with OpenSSL 3.0.22 25 Aug 2026";
        let running = format!("{built} (running with OpenSSL 3.0.19 27 Jan 2026)\nTLS SNI");
        assert_eq!(parse_openssl_version(built).as_deref(), Some("3.0.22"));
        assert_eq!(parse_openssl_version(&running).as_deref(), Some("3.0.19"));
        assert_eq!(parse_openssl_version(build), None);
    }

    #[test]
    fn cargo_says_where_a_program_is() {
        let message = r#"{"reason":"compiler-artifact","target":{"name":"a"},"executable":"/t/a"}"#;
        assert_eq!(executable_in(message, "a"), Some(PathBuf::from("/t/a")));
        assert_eq!(executable_in(message, "b"), None);
        assert_eq!(executable_in("not JSON", "a"), None);
    }

    #[test]
    fn a_shell_is_found_and_nonsense_is_not() {
        assert!(find_program("sh").is_some());
        assert!(find_program("no-such-program-anywhere").is_none());
    }
}
