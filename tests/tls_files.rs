//! Certificates and keys in files: what `check` says about them, and what a reload does.

mod support;

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rcgen::{CertificateParams, KeyPair};
use support::{Balancer, Config, Server};
use tempfile::TempDir;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// Writes `NAME.pem` and `NAME.key`, for `site.example`, valid for so long. Returns when it ends.
fn issue(directory: &Path, name: &str, left: Duration) -> SystemTime {
    let mut params = CertificateParams::new(vec!["site.example".to_owned()]).unwrap();
    let end = SystemTime::now() + left;
    params.not_before = (SystemTime::now() - DAY).into();
    params.not_after = end.into();
    let key = KeyPair::generate().unwrap();
    let certificate = params.self_signed(&key).unwrap();
    fs::write(directory.join(format!("{name}.pem")), certificate.pem()).unwrap();
    let key_file = directory.join(format!("{name}.key"));
    fs::write(&key_file, key.serialize_pem()).unwrap();
    close(&key_file, 0o600);
    end
}

fn close(path: &Path, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

/// A listener that shows this certificate.
fn terminating(config: Config, directory: &Path, certificate: &str, key: &str) -> Config {
    let [certificate, key] = [certificate, key].map(|name| directory.join(name));
    config
        .listener("tls.mode = \"terminate\"")
        .listener(&format!(
            "tls.certificate = [{{ certificate_file = {certificate:?}, key_file = {key:?} }}]"
        ))
}

/// A configuration file that is only looked at.
struct Checked {
    directory: TempDir,
    config: Config,
}

impl Checked {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        issue(directory.path(), "site", 90 * DAY);
        Self {
            directory,
            config: Config::to(["127.0.0.1:1"]),
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Whether `ringway check` takes a listener with these files, and all that it says.
    fn check(&self, certificate: &str, key: &str) -> (Option<i32>, String) {
        let directory = self.directory.path();
        let config = terminating(self.config.clone(), directory, certificate, key);
        let file = self.path("ringway.toml");
        fs::write(&file, config.text()).unwrap();
        let Output {
            status,
            stdout,
            stderr,
        } = Command::new(env!("CARGO_BIN_EXE_ringway"))
            .args(["check", "--config"])
            .arg(&file)
            .output()
            .unwrap();
        let said = String::from_utf8([stdout, stderr].concat()).unwrap();
        (status.code(), said)
    }
}

#[test]
fn check_takes_a_certificate_with_its_key_and_nothing_else() {
    let checked = Checked::new();
    let (status, said) = checked.check("site.pem", "site.key");
    assert_eq!(status, Some(0), "{said}");

    issue(checked.directory.path(), "other", 90 * DAY);
    let (status, said) = checked.check("site.pem", "other.key");
    assert_eq!(status, Some(1));
    let expected = format!(
        "error: listener web: {}: the key does not belong to the certificate in {}",
        checked.path("other.key").display(),
        checked.path("site.pem").display()
    );
    assert!(said.contains(&expected), "{said}");
    let place = format!("{}:", checked.path("ringway.toml").display());
    assert!(said.starts_with(&place), "{said}");

    close(&checked.path("site.key"), 0o644);
    let (status, said) = checked.check("site.pem", "site.key");
    assert_eq!(status, Some(1));
    let remedy = format!("chmod o= {}", checked.path("site.key").display());
    assert!(said.contains(&format!("`{remedy}`")), "{said}");
    let remedied = Command::new("sh").args(["-c", &remedy]).status();
    assert!(remedied.unwrap().success());
    let (status, said) = checked.check("site.pem", "site.key");
    assert_eq!(status, Some(0), "what it says to do helps: {said}");
}

#[test]
fn check_warns_of_a_certificate_that_is_about_to_end() {
    let checked = Checked::new();
    issue(checked.directory.path(), "old", 2 * DAY + DAY / 2);
    let (status, said) = checked.check("old.pem", "old.key");
    assert_eq!(status, Some(0), "{said}");
    assert!(
        said.contains("warning: listener web: the certificate in "),
        "{said}"
    );
    assert!(said.contains("expires in 2 days"), "{said}");
}

#[test]
fn a_reload_shows_new_certificates_and_a_bad_pair_changes_nothing() {
    let server = Server::listen();
    let directory = tempfile::tempdir().unwrap();
    let first = issue(directory.path(), "site", 90 * DAY);
    let config = Config::to([server.address()]);
    let config = terminating(config, directory.path(), "site.pem", "site.key");
    let mut balancer = Balancer::start(&config);
    let file = directory.path().join("site.pem").display().to_string();
    let seconds = |end: SystemTime| end.duration_since(UNIX_EPOCH).unwrap().as_secs() as f64;
    let is_shown = |balancer: &Balancer, end: SystemTime| {
        let labels = [("listener", "web"), ("file", &*file)];
        let shown = balancer
            .metrics()
            .sum("ringway_certificate_not_after_seconds", &labels);
        assert_eq!(shown, seconds(end));
    };
    is_shown(&balancer, first);

    fs::write(directory.path().join("site.pem"), "").unwrap();
    let said = balancer.refuse_reload();
    let expected = format!("listener web: {file}: there is no certificate in it");
    assert!(said.contains(&expected), "{said}");
    issue(directory.path(), "other", 90 * DAY);
    let mixed = terminating(config.clone(), directory.path(), "site.pem", "other.key");
    issue(directory.path(), "site", 10 * DAY);
    let said = balancer.reload_refused(&mixed.text());
    assert!(
        said.contains("the key does not belong to the certificate"),
        "{said}"
    );
    is_shown(&balancer, first);

    let second = issue(directory.path(), "site", 10 * DAY + DAY / 2);
    balancer.reload(&config);
    is_shown(&balancer, second);
    let renewed =
        format!("reloaded: listener web has a new certificate in {file}, which expires in 10 days");
    balancer.wait_for_log(&renewed);
    balancer.wait_for_log(&format!("listener web: the certificate in {file} ("));
    balancer.reload(&config);
    balancer.wait_for_log("reloaded: no changes");
    let status = balancer.admin("/api/status");
    assert!(status.contains("\"certificates\":[{\"file\":"), "{status}");
}
