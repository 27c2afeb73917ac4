//! Certificates that their authority has revoked: the lists by which those of clients are refused,
//! and the OCSP responses that clients get with those of a listener.

mod support;

use std::fs;
use std::path::Path;
use std::time::{Duration, SystemTime};

use support::{
    Authority, Balancer, Config, Identity, SClient, SITE, Service, curl_code, ocsp_response,
};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

const VERSIONS: [&str; 2] = ["-tls1_2", "-tls1_3"];

/// An echo server behind a listener to which nobody gets without a certificate of this authority
/// that is not on its list.
fn mutual(authority: &Authority, list: &Path) -> (Service, Config) {
    let server = Service::echo();
    let config = Config::to([server.address()])
        .terminate(&authority.issue(&[SITE]))
        .listener_tls("client_certificates = \"required\"")
        .listener_tls(&format!("ca_file = {:?}", authority.file()))
        .listener_tls(&format!("crl_files = [{list:?}]"));
    (server, config)
}

fn tomorrow() -> SystemTime {
    SystemTime::now() + DAY
}

#[track_caller]
fn connect(balancer: &Balancer, authority: &Authority, version: &str, shown: &Identity) -> SClient {
    let [a, b, c, d] = shown.s_client_arguments();
    SClient::of_site(balancer.address(), authority, &[version, a, b, c, d])
}

/// Asserts that whoever shows this certificate is served, in both versions.
#[track_caller]
fn is_served(balancer: &Balancer, authority: &Authority, shown: &Identity) {
    for version in VERSIONS {
        let mut client = connect(balancer, authority, version, shown);
        client.wait_connected();
        client.expect_echo("hello");
        client.leave();
    }
}

/// Asserts that whoever shows this certificate hears this alert and is not served, in both
/// versions, and that it is counted as their fault.
#[track_caller]
fn is_refused(balancer: &Balancer, authority: &Authority, shown: &Identity, alert: &str) {
    let counted = |balancer: &Balancer| {
        let metrics = balancer.metrics();
        let of = [("listener", "web"), ("reason", "certificate")];
        let failures = metrics.sum("ringway_tls_handshake_failures_total", &of);
        (failures, metrics.closed("client", "tls_handshake"))
    };
    let (failures, closed) = counted(balancer);
    for version in VERSIONS {
        let output = connect(balancer, authority, version, shown).wait_for_exit();
        assert!(output.contains(alert), "{output}");
    }
    balancer.wait_active(0);
    assert_eq!(counted(balancer), (failures + 2.0, closed + 2.0));
}

#[test]
fn a_client_is_refused_from_the_reload_on_that_reads_of_its_revocation() {
    let authority = Authority::new();
    let [alice, bob, mallory] = ["alice", "bob", "mallory"].map(|name| authority.issue(&[name]));
    let list = authority.revoke(&[&mallory], tomorrow());
    let (server, config) = mutual(&authority, &list);
    let mut balancer = Balancer::start(&config);
    let is_revoked = "alert certificate revoked";
    is_refused(&balancer, &authority, &mallory, is_revoked);
    is_served(&balancer, &authority, &alice);
    is_served(&balancer, &authority, &bob);

    authority.revoke(&[&mallory, &alice], tomorrow());
    is_served(&balancer, &authority, &alice);
    balancer.reload(&config);
    is_refused(&balancer, &authority, &mallory, is_revoked);
    is_refused(&balancer, &authority, &alice, is_revoked);
    is_served(&balancer, &authority, &bob);
    assert_eq!(server.accepted(), 8, "nobody who was refused came so far");

    // Whoever is in stays in.
    let mut early = connect(&balancer, &authority, "-tls1_3", &bob);
    early.wait_connected();
    authority.revoke(&[&bob], tomorrow());
    balancer.reload(&config);
    is_refused_beside(&balancer, &authority, &bob, is_revoked);
    early.expect_echo("still here");
    early.leave();
}

/// Asserts that whoever shows this certificate is refused, while others are served.
#[track_caller]
fn is_refused_beside(balancer: &Balancer, authority: &Authority, shown: &Identity, alert: &str) {
    let output = connect(balancer, authority, "-tls1_3", shown).wait_for_exit();
    assert!(output.contains(alert), "{output}");
}

#[test]
fn nobody_is_let_in_by_a_list_that_should_have_been_replaced() {
    let authority = Authority::new();
    let [alice, mallory] = ["alice", "mallory"].map(|name| authority.issue(&[name]));
    let old = SystemTime::now() - 2 * DAY / 3;
    let list = authority.revoke(&[&mallory], old);
    let (server, config) = mutual(&authority, &list);
    let mut balancer = Balancer::start(&config);
    let warning = format!(
        "listener web: the revocation list in {} expired 16 hours ago",
        list.display()
    );
    balancer.wait_for_log(&warning);
    let (status, said) = balancer.check();
    assert_eq!(status, Some(0), "{said}");
    assert!(said.contains(&warning), "{said}");
    for client in [&alice, &mallory] {
        is_refused(&balancer, &authority, client, "alert unknown ca");
    }
    assert_eq!(server.accepted(), 0);

    authority.revoke(&[&mallory], tomorrow());
    balancer.reload(&config);
    let (status, said) = balancer.check();
    assert_eq!(
        (status, said.contains("warning")),
        (Some(0), false),
        "{said}"
    );
    is_served(&balancer, &authority, &alice);
    is_refused(&balancer, &authority, &mallory, "alert certificate revoked");
}

#[test]
fn a_client_is_refused_whose_issuer_has_no_list_when_another_has_one() {
    let (authority, other) = (Authority::new(), Authority::new());
    let alice = authority.issue(&["alice"]);
    let list = other.revoke(&[], tomorrow());
    let (_server, config) = mutual(&authority, &list);
    let mut balancer = Balancer::start(&config);
    is_refused(&balancer, &authority, &alice, "alert unknown ca");
    let both = [list, authority.revoke(&[], tomorrow())];
    balancer.reload(&config.listener_tls(&format!("crl_files = {both:?}")));
    is_served(&balancer, &authority, &alice);
}

#[test]
fn a_revocation_list_that_is_broken_changes_nothing_and_is_told() {
    let authority = Authority::new();
    let [alice, mallory] = ["alice", "mallory"].map(|name| authority.issue(&[name]));
    let list = authority.revoke(&[&mallory], tomorrow());
    let (_server, config) = mutual(&authority, &list);
    let mut balancer = Balancer::start(&config);
    let good = fs::read_to_string(&list).unwrap();
    let beheaded = good.replacen("-----BEGIN X509 CRL-----\n", "", 1);
    let torn = "-----BEGIN X509 CRL-----\nMIIBAA==\n-----END X509 CRL-----\n";
    for (text, why) in [
        ("", "there is no revocation list (`X509 CRL`) in it"),
        (&beheaded, "there is no revocation list (`X509 CRL`) in it"),
        (&good[..good.len() / 2], "not a PEM file"),
        (torn, "revocation list 1 cannot be read"),
    ] {
        fs::write(&list, text).unwrap();
        let said = balancer.refuse_reload();
        assert!(said.contains(why), "{said}");
        assert!(said.contains(list.to_str().unwrap()), "{said}");
        let (status, said) = balancer.check();
        assert_eq!(status, Some(1), "{said}");
        assert!(said.contains(why), "{said}");
    }
    fs::remove_file(&list).unwrap();
    let said = balancer.refuse_reload();
    let missing = format!("revocation list {} ", list.display());
    assert!(said.contains(&missing), "{said}");

    is_served(&balancer, &authority, &alice);
    is_refused(&balancer, &authority, &mallory, "alert certificate revoked");
    fs::write(&list, good).unwrap();
    balancer.reload(&config);
}

/// What a client that asks for it is told about a listener's certificate.
#[track_caller]
fn staple(balancer: &Balancer, authority: &Authority, version: &str) -> String {
    let client = SClient::of_site(balancer.address(), authority, &[version, "-status"]);
    let said = client.wait_connected();
    client.leave();
    said
}

/// How curl ends that insists on being told that a certificate is good.
fn insists(balancer: &Balancer, authority: &Authority) -> Option<i32> {
    let port = balancer.address().port();
    let resolve = format!("{SITE}:{port}:127.0.0.1");
    let ca = authority.file();
    let arguments = [
        "--cert-status",
        "--cacert",
        ca.to_str().unwrap(),
        "--resolve",
        &resolve,
    ];
    curl_code(&arguments, &format!("https://{SITE}:{port}/"))
}

/// It got no response that is good (curl's `SSL_INVALIDCERTSTATUS`).
const NOT_CERTAIN: i32 = 91;

#[test]
fn clients_get_the_ocsp_response_of_a_certificate_and_from_a_reload_on_a_newer_one() {
    let authority = Authority::new();
    let nginx = support::Nginx::start(1);
    let site = authority.issue(&[SITE]);
    // curl looks for the issuer in what it is shown.
    let chain = [&site.certificate_file, &authority.file()].map(|file| fs::read(file).unwrap());
    fs::write(&site.certificate_file, chain.concat()).unwrap();
    let file = authority.directory().join("site.ocsp");
    let without = Config::to(nginx.addresses()).terminate(&site);
    let config = without
        .clone()
        .certificate(&format!("ocsp_file = {file:?}"));
    let mut balancer = Balancer::start(&without);
    assert_eq!(insists(&balancer, &authority), Some(NOT_CERTAIN));
    for version in VERSIONS {
        let said = staple(&balancer, &authority, version);
        assert!(said.contains("OCSP response: no response sent"), "{said}");
    }

    fs::write(&file, ocsp_response(&authority, &site, false)).unwrap();
    balancer.reload(&config);
    assert_eq!(insists(&balancer, &authority), Some(0));
    for version in VERSIONS {
        let said = staple(&balancer, &authority, version);
        assert!(said.contains("OCSP Response Status: successful"), "{said}");
        assert!(said.contains("Cert Status: good"), "{said}");
    }

    fs::write(&file, ocsp_response(&authority, &site, true)).unwrap();
    assert_eq!(
        insists(&balancer, &authority),
        Some(0),
        "it is not read yet"
    );
    balancer.reload(&config);
    assert_eq!(insists(&balancer, &authority), Some(NOT_CERTAIN));
    for version in VERSIONS {
        let said = staple(&balancer, &authority, version);
        assert!(said.contains("Cert Status: revoked"), "{said}");
    }
}

#[test]
fn an_ocsp_response_that_is_missing_or_broken_changes_nothing_and_is_told() {
    let authority = Authority::new();
    let server = Service::echo();
    let site = authority.issue(&[SITE]);
    let file = authority.directory().join("site.ocsp");
    let good = ocsp_response(&authority, &site, false);
    fs::write(&file, &good).unwrap();
    let config = Config::to([server.address()])
        .terminate(&site)
        .certificate(&format!("ocsp_file = {file:?}"));
    let mut balancer = Balancer::start(&config);
    let no_response = "not a successful OCSP response in DER";
    // `tryLater`, which an authority says that is busy, and the PEM that DER is taken for.
    let try_later: &[u8] = &[0x30, 3, 0x0A, 1, 3];
    for content in [try_later, b"-----BEGIN", b"", &good[..good.len() - 1]] {
        fs::write(&file, content).unwrap();
        let said = balancer.refuse_reload();
        let why = format!("listener web: {}: {no_response}", file.display());
        assert!(said.contains(&why), "{said}");
        let (status, said) = balancer.check();
        assert_eq!(status, Some(1), "{said}");
        assert!(said.contains(&why), "{said}");
    }
    fs::remove_file(&file).unwrap();
    let (status, said) = balancer.check();
    assert_eq!(status, Some(1), "{said}");
    let missing = format!("listener web: OCSP file {} ", file.display());
    assert!(said.contains(&missing), "{said}");
    let said = balancer.refuse_reload();
    assert!(said.contains(&missing), "{said}");

    let said = staple(&balancer, &authority, "-tls1_3");
    assert!(said.contains("Cert Status: good"), "{said}");
    fs::write(&file, good).unwrap();
    balancer.reload(&config);
}
