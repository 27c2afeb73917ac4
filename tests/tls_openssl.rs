//! TLS with `openssl s_client`: versions, resumption, new keys, renegotiation, certificates of
//! clients.

mod support;

use std::fs;
use std::path::Path;

use serde_json::Value;
use support::{Authority, Balancer, Config, Identity, SClient, SITE, Service, eventually, lines};

/// A client that wants [`SITE`], and believes this authority.
#[track_caller]
fn connect(balancer: &Balancer, authority: &Authority, more: &[&str]) -> SClient {
    connect_to(balancer, "web", authority, more)
}

#[track_caller]
fn connect_to(
    balancer: &Balancer,
    listener: &str,
    authority: &Authority,
    more: &[&str],
) -> SClient {
    SClient::of_site(balancer.config().address_of(listener), authority, more)
}

fn echo_at(identity: &Identity) -> (Service, Config) {
    let server = Service::echo();
    let config = Config::to([server.address()]).terminate(identity);
    (server, config)
}

/// Handshakes of a listener so far, of this kind.
fn handshakes(balancer: &Balancer, listener: &str, kind: &str) -> f64 {
    let labels = [("listener", listener), ("kind", kind)];
    balancer
        .metrics()
        .sum("ringway_tls_handshakes_total", &labels)
}

/// Handshakes so far that failed for this reason.
fn failures(balancer: &Balancer, reason: &str) -> f64 {
    let name = "ringway_tls_handshake_failures_total";
    balancer.metrics().sum(name, &[("reason", reason)])
}

#[test]
fn both_versions_are_spoken_and_sessions_end_as_they_should() {
    let authority = Authority::new();
    let (_server, config) = echo_at(&authority.issue(&[SITE]));
    let balancer = Balancer::start(&config);
    for (version, suite) in [
        ("-tls1_2", "New, TLSv1.2, Cipher is ECDHE-ECDSA-AES"),
        ("-tls1_3", "New, TLSv1.3, Cipher is TLS_AES"),
    ] {
        let mut client = connect(&balancer, &authority, &[version]);
        let connected = client.wait_connected();
        assert!(connected.contains(suite), "{connected}");
        client.expect_echo("hello to the server");
        client.leave();
    }
    balancer.wait_closed("client", "finished", 2);
    let truncated = balancer.metrics().sum("ringway_tls_truncated_total", &[]);
    assert_eq!(truncated, 0.0);
}

#[test]
fn versions_that_are_too_old_are_refused_with_an_alert() {
    let authority = Authority::new();
    let (server, config) = echo_at(&authority.issue(&[SITE]));
    let mut balancer = Balancer::start(&config);
    let old = ["-tls1_1", "-cipher", "ALL:@SECLEVEL=0"];
    let output = connect(&balancer, &authority, &old).wait_for_exit();
    assert!(output.contains("alert protocol version"), "{output}");
    balancer.wait_closed("client", "tls_handshake", 1);
    assert_eq!(failures(&balancer, "nothing_in_common"), 1.0);

    balancer.reload(&config.listener_tls("min_version = \"1.3\""));
    let output = connect(&balancer, &authority, &["-tls1_2"]).wait_for_exit();
    assert!(output.contains("alert protocol version"), "{output}");
    balancer.wait_closed("client", "tls_handshake", 2);
    assert_eq!(failures(&balancer, "nothing_in_common"), 2.0);
    assert_eq!(server.accepted(), 0);
}

#[test]
fn suites_that_are_not_configured_are_not_spoken() {
    let authority = Authority::new();
    let (_server, config) = echo_at(&authority.issue(&[SITE]));
    let suites = [
        "TLS_CHACHA20_POLY1305_SHA256",
        "ECDHE-ECDSA-AES256-GCM-SHA384",
    ];
    let config = config.listener_tls(&format!("cipher_suites = {suites:?}"));
    let balancer = Balancer::start(&config);
    for (version, suite) in ["-tls1_3", "-tls1_2"].into_iter().zip(suites) {
        let client = connect(&balancer, &authority, &[version]);
        let connected = client.wait_connected();
        assert!(
            connected.contains(&format!("Cipher is {suite}")),
            "{connected}"
        );
        client.leave();
    }
    let other = ["-tls1_2", "-cipher", "ECDHE-ECDSA-AES128-GCM-SHA256"];
    let output = connect(&balancer, &authority, &other).wait_for_exit();
    assert!(output.contains("alert handshake failure"), "{output}");
}

/// Connects and keeps the session in a file.
#[track_caller]
fn keep_session(balancer: &Balancer, authority: &Authority, version: &str, file: &Path) {
    let _ = fs::remove_file(file);
    let arguments = [version, "-sess_out", file.to_str().unwrap()];
    let mut client = connect(balancer, authority, &arguments);
    let connected = client.wait_connected();
    assert!(connected.contains("New, TLS"), "{connected}");
    // Tickets of TLS 1.3 come with the first bytes.
    client.expect_echo("a ticket, please");
    eventually(|| match fs::metadata(file).map(|file| file.len()) {
        Ok(1..) => Ok(()),
        _ => Err(format!("a session of {version}: {}", client.output())),
    });
    client.leave();
}

/// Connects with a session from a file; whether it was resumed.
#[track_caller]
fn is_resumed(
    balancer: &Balancer,
    listener: &str,
    authority: &Authority,
    version: &str,
    file: &Path,
) -> bool {
    let arguments = [version, "-sess_in", file.to_str().unwrap()];
    let mut client = connect_to(balancer, listener, authority, &arguments);
    let connected = client.wait_connected();
    client.expect_echo("hello again");
    client.leave();
    let is_resumed = connected.contains("Reused, TLS");
    assert_ne!(is_resumed, connected.contains("New, TLS"), "{connected}");
    is_resumed
}

#[test]
fn a_session_is_resumed_at_its_listener_over_reloads_and_nowhere_else() {
    let authority = Authority::new();
    let identity = authority.issue(&[SITE]);
    let (_server, config) = echo_at(&identity);
    let config = config.and_listener("other", "web").terminate(&identity);
    let mut balancer = Balancer::start(&config);
    let file = authority.directory().join("session");
    for version in ["-tls1_2", "-tls1_3"] {
        let resumed_before = handshakes(&balancer, "web", "resumed");
        keep_session(&balancer, &authority, version, &file);
        let resumes =
            |balancer: &Balancer, at| is_resumed(balancer, at, &authority, version, &file);
        assert!(
            !resumes(&balancer, "other"),
            "{version} at another listener"
        );
        // By another worker, too.
        for _ in 0..4 {
            assert!(resumes(&balancer, "web"), "{version}");
        }
        authority.issue(&[SITE]);
        balancer.reload(&config);
        assert!(resumes(&balancer, "web"), "{version} after a reload");
        let resumed = handshakes(&balancer, "web", "resumed") - resumed_before;
        assert_eq!(resumed, 5.0, "{version}");
    }
    assert_eq!(handshakes(&balancer, "other", "resumed"), 0.0);
}

#[test]
fn a_session_for_one_name_is_not_resumed_for_another_nor_after_a_restart() {
    let authority = Authority::new();
    let (_server, config) = echo_at(&authority.issue(&[SITE, "other.example"]));
    let file = authority.directory().join("session");
    let arguments = ["-sess_in", file.to_str().unwrap(), "-servername"];
    for version in ["-tls1_2", "-tls1_3"] {
        let mut balancer = Balancer::start(&config);
        keep_session(&balancer, &authority, version, &file);
        let other = [&[version][..], &arguments, &["other.example"]].concat();
        let client = connect(&balancer, &authority, &other);
        assert!(client.wait_connected().contains("New, TLS"), "{version}");
        client.leave();
        assert!(is_resumed(&balancer, "web", &authority, version, &file));
        balancer.end();
        let balancer = Balancer::start(&config);
        assert!(!is_resumed(&balancer, "web", &authority, version, &file));
    }
}

#[test]
fn without_session_tickets_nothing_is_resumed() {
    let authority = Authority::new();
    let (_server, config) = echo_at(&authority.issue(&[SITE]));
    let mut balancer = Balancer::start(&config);
    let file = authority.directory().join("session");
    keep_session(&balancer, &authority, "-tls1_3", &file);
    balancer.reload(&config.listener_tls("session_tickets = false"));
    assert!(!is_resumed(&balancer, "web", &authority, "-tls1_3", &file));
}

#[test]
fn keys_change_in_both_directions_while_a_session_goes_on() {
    let authority = Authority::new();
    let (_server, config) = echo_at(&authority.issue(&[SITE]));
    let balancer = Balancer::start(&config);
    let mut client = connect(&balancer, &authority, &["-tls1_3"]);
    client.wait_connected();
    for round in 0..5 {
        // `k` changes the client's keys, `K` those of both.
        for command in ["k", "K"] {
            let from = client.output().len();
            client.say(command);
            client.wait_for(from, "KEYUPDATE");
            client.expect_echo(&format!("round {round} of {command:?}"));
        }
    }
    client.leave();
    balancer.wait_closed("client", "finished", 1);
}

#[test]
fn a_client_that_renegotiates_is_refused() {
    let authority = Authority::new();
    let (_server, config) = echo_at(&authority.issue(&[SITE]));
    let balancer = Balancer::start(&config);
    let mut client = connect(&balancer, &authority, &["-tls1_2"]);
    client.wait_connected();
    client.expect_echo("hello");
    client.say("R");
    let output = client.wait_for_exit();
    assert!(output.contains("no renegotiation"), "{output}");
    balancer.wait_active(0);
    assert_eq!(handshakes(&balancer, "web", "full"), 1.0);
}

/// The lines of an access log, once it has so many.
#[track_caller]
fn logged(log: &Path, count: usize) -> Vec<Value> {
    let lines = lines(log, count);
    let parsed = lines.iter().map(|line| serde_json::from_str(line).unwrap());
    parsed.collect()
}

/// The subjects of clients in such a log.
#[track_caller]
fn subjects(log: &Path, count: usize) -> Vec<Value> {
    let mut logged = logged(log, count);
    let subjects = logged.iter_mut().map(|line| line["tls_subject"].take());
    subjects.collect()
}

#[test]
fn the_access_log_says_why_a_handshake_failed_and_which_name_was_asked_for() {
    let (authority, strangers) = (Authority::new(), Authority::new());
    let mallory = strangers.issue(&["mallory"]);
    let log = authority.directory().join("access.log");
    let (_server, config) = echo_at(&authority.issue(&[SITE]));
    let config = config
        .listener_tls("alpn = [\"http/1.1\"]")
        .listener_tls(&format!("ca_file = {:?}", authority.file()))
        .listener_tls("client_certificates = \"required\"")
        .access_log(log.display());
    let balancer = Balancer::start(&config);
    let shown = mallory.s_client_arguments();
    let expected: [(&Authority, &[&str], &str); 6] = [
        (
            &authority,
            &["-tls1_1", "-cipher", "ALL:@SECLEVEL=0"],
            "nothing in common: the client knows only versions of TLS older than 1.2",
        ),
        (
            &authority,
            &["-tls1_2", "-cipher", "ECDHE-RSA-AES128-GCM-SHA256"],
            "nothing in common: the client offers no cipher suite that can be used here",
        ),
        (
            &authority,
            &["-alpn", "smtp"],
            "nothing in common: the client offers no application protocol that is spoken here",
        ),
        (&authority, &["-tls1_2"], "the client showed no certificate"),
        (
            &authority,
            &shown,
            "the client's certificate is not accepted: none of those who are trusted have signed it",
        ),
        (
            &strangers,
            &["-verify_return_error"],
            "the client broke off with the alert unknown_ca: it does not trust who signed the \
             certificate",
        ),
    ];
    for (index, (believed, arguments, error)) in expected.iter().enumerate() {
        connect(&balancer, believed, arguments).wait_for_exit();
        let line = logged(&log, index + 1).remove(index);
        assert_eq!(line["tls_error"], *error, "{line}");
        assert_eq!(line["tls_server_name"], SITE, "{line}");
        assert_eq!([&line["who"], &line["phase"]], ["client", "handshake"]);
        assert!(line["tls_version"].is_null(), "{line}");
    }
}

#[test]
fn certificates_of_clients_are_asked_for_checked_and_logged() {
    let authority = Authority::new();
    let strangers = Authority::new();
    let (alice, mallory) = (authority.issue(&["alice"]), strangers.issue(&["mallory"]));
    let log = authority.directory().join("access.log");
    let (_server, config) = echo_at(&authority.issue(&[SITE]));
    let config = config.access_log(log.display());
    let mut balancer = Balancer::start(&config);
    let get_in = |balancer: &Balancer, version: &str, shown: Option<&Identity>| {
        let shown = shown.map(Identity::s_client_arguments);
        let mut arguments = vec![version];
        arguments.extend(shown.iter().flatten());
        let mut client = connect(balancer, &authority, &arguments);
        client.wait_connected();
        client.expect_echo("hello");
        client.leave();
    };
    let refused = |balancer: &Balancer, version: &str, shown: Option<&Identity>, alert: &str| {
        let shown = shown.map(Identity::s_client_arguments);
        let mut arguments = vec![version];
        arguments.extend(shown.iter().flatten());
        let output = connect(balancer, &authority, &arguments).wait_for_exit();
        assert!(output.contains(alert), "{output}");
    };

    for version in ["-tls1_2", "-tls1_3"] {
        get_in(&balancer, version, Some(&alice));
    }
    assert_eq!(subjects(&log, 2), [Value::Null, Value::Null]);

    let trust = format!("ca_file = {:?}", authority.file());
    let config = config.listener_tls(&trust);
    let optional = config
        .clone()
        .listener_tls("client_certificates = \"optional\"");
    balancer.reload(&optional);
    for version in ["-tls1_2", "-tls1_3"] {
        get_in(&balancer, version, None);
        get_in(&balancer, version, Some(&alice));
        refused(&balancer, version, Some(&mallory), "alert unknown ca");
    }
    assert_eq!(failures(&balancer, "certificate"), 2.0);
    let mut seen = subjects(&log, 8).split_off(2);
    seen.retain(|subject| !subject.is_null());
    assert_eq!(seen, ["CN=alice", "CN=alice"]);

    balancer.reload(&config.listener_tls("client_certificates = \"required\""));
    for version in ["-tls1_2", "-tls1_3"] {
        refused(&balancer, version, None, "alert certificate required");
        get_in(&balancer, version, Some(&alice));
    }
    assert_eq!(failures(&balancer, "certificate_missing"), 2.0);
    let mut seen = subjects(&log, 12).split_off(8);
    seen.retain(|subject| !subject.is_null());
    assert_eq!(seen, ["CN=alice", "CN=alice"]);
}
