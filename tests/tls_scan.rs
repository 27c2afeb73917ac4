//! What testssl.sh, which tries the weaknesses of TLS that are known, finds at a listener.

mod support;

use std::collections::BTreeMap;
use std::fs;
use std::process::{Command, Stdio};

use serde_json::Value;
use support::{Authority, Balancer, Config, Nginx, SITE};

#[test]
fn testssl_finds_nothing_that_should_be_otherwise() {
    let authority = Authority::new();
    let nginx = Nginx::start(1);
    let config = Config::to(nginx.addresses())
        .terminate(&authority.issue(&[SITE]))
        .terminate(&authority.issue_rsa(&[SITE]));
    let balancer = Balancer::start(&config);
    let report = authority.directory().join("report.json");
    // Protocols, forward secrecy, cipher suites and whose order decides, vulnerabilities.
    let output = Command::new("testssl")
        .args(["-p", "-f", "-s", "-P", "-U"])
        .args(["--fast", "--quiet", "--color", "0"])
        .args(["--warnings", "off", "--jsonfile"])
        .arg(&report)
        .arg(balancer.address().to_string())
        .stdin(Stdio::null())
        .output()
        .unwrap_or_else(|error| panic!("cannot run testssl, which tests/all installs: {error}"));
    let output = String::from_utf8_lossy(&output.stdout);
    let report = fs::read(report).unwrap_or_else(|error| panic!("no report: {error}\n{output}"));
    let report: Vec<BTreeMap<String, Value>> = serde_json::from_slice(&report).unwrap();

    // Warnings are about what cannot be tried: with this host's OpenSSL, which has neither GOST nor
    // RC4. rustls has neither, either.
    let cannot_be_tried = ["engine_problem", "RC4"];
    let mut findings = BTreeMap::new();
    for finding in &report {
        let [id, severity] = ["id", "severity"].map(|key| finding[key].as_str().unwrap());
        let is_harmless = match severity {
            "WARN" => cannot_be_tried.contains(&id),
            severity => ["OK", "INFO"].contains(&severity),
        };
        assert!(is_harmless, "{finding:?}\n{output}");
        findings.insert(id, severity);
    }
    for id in [
        "SSLv2",
        "SSLv3",
        "TLS1_2",
        "TLS1_3",
        "cipher_order",
        "heartbleed",
        "secure_client_renego",
        "LUCKY13",
    ] {
        assert_eq!(findings.get(id), Some(&"OK"), "{id}\n{output}");
    }
}
