//! Real files, and what is said of those that do not do.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, CertifiedIssuer, DnType,
    IsCa, KeyIdMethod, KeyPair, KeyUsagePurpose, SerialNumber,
};
use rustls::pki_types::UnixTime;
use tempfile::TempDir;

use super::{LoadedTls, TlsState, roots};
use crate::config::{Config, Diagnostic};
use crate::limits::TLS_FILE_BYTES_MAX;
use crate::tls::policy::{ListenerMode, ListenerPolicy};
use crate::tls::session::Session;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// A directory of PEM files, and an authority that signs them.
struct Files {
    directory: TempDir,
    authority: CertifiedIssuer<'static, KeyPair>,
}

impl Files {
    fn new() -> Self {
        let mut params = CertificateParams::default();
        params
            .distinguished_name
            .push(DnType::CommonName, "authority");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = KeyPair::generate().unwrap();
        let files = Self {
            directory: tempfile::tempdir().unwrap(),
            authority: CertifiedIssuer::self_signed(params, key).unwrap(),
        };
        files.write("ca.pem", files.authority.pem(), 0o644);
        files.issue("site", 90 * DAY);
        files
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn write(&self, name: &str, content: impl AsRef<[u8]>, mode: u32) {
        fs::write(self.path(name), content).unwrap();
        fs::set_permissions(self.path(name), Permissions::from_mode(mode)).unwrap();
    }

    fn copy(&self, from: &str, to: &str, mode: u32) {
        self.write(to, fs::read(self.path(from)).unwrap(), mode);
    }

    /// Writes `NAME.pem` and `NAME.key`, for `site.example`, valid for so long from yesterday.
    fn issue(&self, name: &str, left: Duration) {
        self.issue_from(name, SystemTime::now() - DAY, SystemTime::now() + left);
    }

    fn issue_from(&self, name: &str, from: SystemTime, to: SystemTime) {
        let mut params = CertificateParams::new(vec!["site.example".to_owned()]).unwrap();
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, name);
        (params.not_before, params.not_after) = (from.into(), to.into());
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.authority).unwrap();
        self.write(&format!("{name}.pem"), certificate.pem(), 0o644);
        self.write(&format!("{name}.key"), key.serialize_pem(), 0o640);
    }

    fn revocation_list(&self) -> String {
        let params = CertificateRevocationListParams {
            this_update: (SystemTime::now() - DAY).into(),
            next_update: (SystemTime::now() + 30 * DAY).into(),
            crl_number: SerialNumber::from(1),
            issuing_distribution_point: None,
            revoked_certs: Vec::new(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        let list = params.signed_by(&self.authority).unwrap();
        list.pem().unwrap()
    }

    /// A configuration in which `@` stands for the directory.
    fn config(&self, listener: &str, pool: &str) -> Config {
        let text = format!(
            "[[listener]]\nname = \"web\"\nlisten = \"127.0.0.1:1\"\npool = \"p\"\n{listener}\n\
             [[pool]]\nname = \"p\"\n{pool}\n\
             [[pool.server]]\nname = \"s\"\naddress = \"site.example:443\"\n"
        );
        let directory = self.directory.path().to_str().unwrap();
        Config::parse(&text.replace('@', directory)).unwrap()
    }

    /// What is wrong, as `line: message | help`, in which `@` stands for the directory.
    fn errors(&self, listener: &str, pool: &str) -> Vec<String> {
        let config = self.config(listener, pool);
        let errors = LoadedTls::read(&config, &state()).unwrap_err();
        errors.into_iter().map(|error| self.told(error)).collect()
    }

    fn warnings(&self, listener: &str) -> Vec<String> {
        let config = self.config(listener, "");
        let (_, warnings) = LoadedTls::read(&config, &state()).unwrap();
        warnings.into_iter().map(|w| self.told(w)).collect()
    }

    fn told(&self, diagnostic: Diagnostic) -> String {
        let line = diagnostic.position.line;
        let help = diagnostic.help.map(|help| format!(" | {help}"));
        let text = format!("{line}: {}{}", diagnostic.message, help.unwrap_or_default());
        text.replace(self.directory.path().to_str().unwrap(), "@")
    }
}

fn state() -> TlsState {
    TlsState::new().unwrap()
}

fn terminate(name: &str) -> String {
    format!(
        "[listener.tls]\nmode = \"terminate\"\n[[listener.tls.certificate]]\n\
         certificate_file = \"@/{name}.pem\"\nkey_file = \"@/{name}.key\""
    )
}

const VERIFY: &str = "[pool.tls]\nmode = \"verify\"\nca_file = \"@/ca.pem\"";

fn accept(policy: &ListenerPolicy) -> Session {
    match &policy.mode {
        ListenerMode::Terminate(acceptor)
        | ListenerMode::Preferred(acceptor)
        | ListenerMode::Required(acceptor) => acceptor.accept().unwrap(),
        ListenerMode::Passthrough => panic!("TLS does not end here"),
    }
}

/// Hands everything from one to the other; whether anything was on its way.
fn hand_over(from: &mut Session, to: &mut Session) -> bool {
    let mut flight = vec![0; 1 << 16];
    let length = from.transmit(&mut flight);
    let mut plaintext = [0; 100];
    // A refusal is seen at the session.
    let _ = to.receive(&mut flight[..length], &mut plaintext);
    length > 0
}

fn shake(client: &mut Session, server: &mut Session) {
    while hand_over(client, server) | hand_over(server, client) {}
}

#[test]
fn a_listener_and_a_pool_that_trust_each_other_agree() {
    let files = Files::new();
    let listener = terminate("site").replace(
        "mode",
        "alpn = [\"h2\", \"http/1.1\"]\nclient_certificates = \"required\"\n\
         ca_file = \"@/ca.pem\"\ncrl_files = [\"@/a.crl\"]\nmode",
    );
    files.write("a.crl", files.revocation_list(), 0o644);
    let pool = format!(
        "{VERIFY}\nalpn = \"http/1.1\"\nmin_version = \"1.3\"\n\
         certificate_file = \"@/site.pem\"\nkey_file = \"@/site.key\""
    );
    let config = files.config(&listener, &pool);
    let (loaded, warnings) = LoadedTls::read(&config, &state()).unwrap();
    assert_eq!(warnings, []);
    let policy = loaded.listener(0).unwrap();
    assert_eq!(policy.handshake_timeout, Duration::from_secs(10));
    let servers = loaded.pool(0, &config.pools[0], 2).unwrap();
    for thread in 0..=2 {
        let mut client = servers.connect(0, thread).unwrap();
        let mut server = accept(&policy);
        shake(&mut client, &mut server);
        let agreement = server.agreement().unwrap();
        assert_eq!(agreement.alpn.as_deref(), Some(&b"http/1.1"[..]));
        assert_eq!(agreement.peer_subject.as_deref(), Some("CN=site"));
        assert_eq!(client.failure(), None);
    }
    assert!(servers.connect(0, 3).is_err());
    assert!(servers.connect(1, 0).is_err());
}

#[test]
fn a_server_without_a_certificate_for_its_name_is_believed_by_the_insecure_only() {
    let files = Files::new();
    for (pool, accepted) in [
        (VERIFY.to_owned(), true),
        (format!("{VERIFY}\nserver_name = \"other.example\""), false),
        (
            "[pool.tls]\nmode = \"insecure\"\nserver_name = \"other.example\"".to_owned(),
            true,
        ),
    ] {
        let config = files.config(&terminate("site"), &pool);
        let (loaded, _) = LoadedTls::read(&config, &state()).unwrap();
        let servers = loaded.pool(0, &config.pools[0], 1).unwrap();
        let mut client = servers.connect(0, 0).unwrap();
        shake(&mut client, &mut accept(&loaded.listener(0).unwrap()));
        assert_eq!(client.failure().is_none(), accepted, "{pool}");
    }
}

#[test]
fn sessions_are_resumed_after_a_reload_and_not_where_that_is_off() {
    let files = Files::new();
    let state = state();
    let load = |tickets: &str| {
        let listener = terminate("site").replace("mode", &format!("{tickets}\nmode"));
        let config = files.config(&listener, VERIFY);
        let (loaded, _) = LoadedTls::read(&config, &state).unwrap();
        (loaded, config)
    };
    let (before, config) = load("");
    let servers = before.pool(0, &config.pools[0], 1).unwrap();
    let resumed = |listener: &LoadedTls| {
        let mut client = servers.connect(0, 0).unwrap();
        let mut server = accept(&listener.listener(0).unwrap());
        shake(&mut client, &mut server);
        server.agreement().unwrap().resumed
    };
    assert!(!resumed(&before), "the first time");
    assert!(resumed(&load("").0), "the keys outlive the configuration");
    assert!(!resumed(&load("session_tickets = false").0));
    let restarted = LoadedTls::read(&config, &self::state()).unwrap().0;
    assert!(!resumed(&restarted), "and not the process");
}

#[test]
fn a_mysql_listener_without_a_certificate_has_one_as_long_as_the_process_lives() {
    let files = Files::new();
    let text = "[[listener]]\nname = \"db\"\nlisten = \"127.0.0.1:1\"\npool = \"p\"\n\
                protocol = \"mysql\"\ntls.mode = \"preferred\"\n[[pool]]\nname = \"p\"\n\
                [[pool.server]]\nname = \"s\"\naddress = \"127.0.0.1:2\"\nrole = \"primary\"\n";
    let config = Config::parse(text).unwrap();
    let clients = files.config("", "[pool.tls]\nmode = \"insecure\"");
    let state = state();
    let made = state.own_certificate().unwrap();
    for _ in 0..2 {
        let (loaded, warnings) = LoadedTls::read(&config, &state).unwrap();
        assert_eq!(warnings, []);
        let policy = loaded.listener(0).unwrap();
        assert!(matches!(policy.mode, ListenerMode::Preferred(_)));
        let (client, _) = LoadedTls::read(&clients, &state).unwrap();
        let client = client.pool(0, &clients.pools[0], 1).unwrap();
        let mut client = client.connect(0, 0).unwrap();
        shake(&mut client, &mut accept(&policy));
        let subject = client.agreement().unwrap().peer_subject;
        assert_eq!(subject.as_deref(), Some("CN=ringway self-signed"));
        assert!(loaded.certificates().is_empty(), "nobody renews it");
    }
    let again = state.own_certificate().unwrap();
    let der = |certificate: &crate::tls::certificates::Certificate| {
        certificate.certified_key().cert.clone()
    };
    assert_eq!(der(&again), der(&made));
}

#[test]
fn what_is_wrong_with_a_file_is_told_with_the_file_and_its_place() {
    let files = Files::new();
    files.issue("other", 90 * DAY);
    files.copy("site.pem", "open.pem", 0o644);
    files.copy("site.key", "open.key", 0o644);
    files.copy("site.pem", "mixed.pem", 0o644);
    files.copy("other.key", "mixed.key", 0o600);
    files.copy("site.key", "swapped.pem", 0o600);
    files.copy("site.pem", "swapped.key", 0o644);
    files.write("text.pem", "not a certificate", 0o644);
    files.copy("site.key", "text.key", 0o600);
    let large = fs::File::create(files.path("large.pem")).unwrap();
    large.set_len(TLS_FILE_BYTES_MAX + 1).unwrap();
    for (name, expected) in [
        (
            "open",
            "9: listener web: key file @/open.key is open to everybody (mode 644): `chmod o= \
             @/open.key` closes it",
        ),
        (
            "mixed",
            "9: listener web: @/mixed.key: the key does not belong to the certificate in \
             @/mixed.pem",
        ),
        (
            "swapped",
            "8: listener web: certificate file @/swapped.pem has a key in it and no certificate: \
             have certificate_file and key_file been mixed up?",
        ),
        (
            "text",
            "8: listener web: @/text.pem: there is no certificate in it",
        ),
    ] {
        assert_eq!(files.errors(&terminate(name), ""), [expected]);
    }
    let missing = "cannot be read: No such file or directory (os error 2)";
    let tls = "[listener.tls]\nmode = \"terminate\"\nclient_certificates = \"optional\"\n\
               ca_file = \"@/none\"\ncrl_files = [\"@/site.pem\", \"@\"]\n\
               certificate = [{ certificate_file = \"@/large.pem\", key_file = \"@/none\", \
               ocsp_file = \"@/text.pem\" }]";
    assert_eq!(
        files.errors(
            tls,
            "[pool.tls]\nmode = \"verify\"\nca_file = \"@/text.pem\""
        ),
        [
            format!("8: listener web: CA file @/none {missing}"),
            "9: listener web: @/site.pem: there is no revocation list (`X509 CRL`) in it".into(),
            "9: listener web: revocation list @ is not a regular file".into(),
            "10: listener web: certificate file @/large.pem has more than 16 MiB".into(),
            format!("10: listener web: key file @/none {missing}"),
            "15: pool p: @/text.pem: there is no certificate in it".into(),
        ]
    );
    let staple = terminate("site") + "\nocsp_file = \"@/text.pem\"";
    let expected = "10: listener web: @/text.pem: not a successful OCSP response in DER";
    assert_eq!(files.errors(&staple, ""), [expected]);
}

#[test]
fn a_certificate_that_no_suite_is_for_can_be_shown_to_nobody() {
    let files = Files::new();
    let listener = |suites: &str| {
        let suites = format!("cipher_suites = [{suites}]\nmode");
        terminate("site").replacen("mode", &suites, 1)
    };
    let expected = "9: listener web: the certificate @/site.pem can be shown to nobody: its key is \
                    ECDSA, and none of `cipher_suites` is for that | add \
                    TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, or one of TLS 1.3";
    let rsa = "\"ECDHE-RSA-AES128-GCM-SHA256\"";
    assert_eq!(files.errors(&listener(rsa), ""), [expected]);
    for usable in ["ECDHE-ECDSA-AES128-GCM-SHA256", "TLS_AES_128_GCM_SHA256"] {
        let suites = format!("{rsa}, \"{usable}\"");
        assert_eq!(files.warnings(&listener(&suites)), [""; 0]);
    }
}

#[test]
fn a_certificate_behind_others_for_all_of_its_names_is_an_error() {
    let files = Files::new();
    files.issue("other", 90 * DAY);
    let table = terminate("other");
    let (_, second) = table.split_once("\"terminate\"\n").unwrap();
    let both = format!("{}\n{second}", terminate("site"));
    let expected = "11: listener web: the certificate @/other.pem is never shown: each of its names \
                    has one with an ECDSA key before it | leave one of them out";
    assert_eq!(files.errors(&both, ""), [expected]);
    for (algorithm, names) in [
        (&rcgen::PKCS_ECDSA_P384_SHA384, &["site.example"][..]),
        (
            &rcgen::PKCS_ECDSA_P256_SHA256,
            &["site.example", "more.example"],
        ),
    ] {
        let key = KeyPair::generate_for(algorithm).unwrap();
        let names = names
            .iter()
            .map(|&name| name.to_owned())
            .collect::<Vec<_>>();
        let params = CertificateParams::new(names).unwrap();
        let signed = params.signed_by(&key, &files.authority).unwrap();
        files.write("other.pem", signed.pem(), 0o644);
        files.write("other.key", key.serialize_pem(), 0o640);
        assert_eq!(files.warnings(&both), [""; 0]);
    }
}

#[test]
fn the_end_of_a_chain_is_that_of_the_first_to_expire() {
    let files = Files::new();
    let (long, short) = ("site", "middle");
    files.issue(short, 10 * DAY + DAY / 2);
    let chain = [long, short].map(|name| {
        let path = files.path(&format!("{name}.pem"));
        fs::read_to_string(path).unwrap()
    });
    files.write("site.pem", chain.concat(), 0o644);
    let expected = "8: listener web: the certificate in @/site.pem (CN=middle) expires in 10 days";
    assert_eq!(files.warnings(&terminate("site")), [expected]);
}

#[test]
fn the_end_of_a_certificate_is_told_at_thirty_fourteen_and_three_days_and_when_it_has_come() {
    let files = Files::new();
    let half = DAY / 2;
    for (left, expected) in [
        (31 * DAY, None),
        (29 * DAY + half, Some("expires in 29 days")),
        (half + half / 24, Some("expires in 12 hours")),
    ] {
        files.issue("site", left);
        let expected = expected
            .map(|end| format!("8: listener web: the certificate in @/site.pem (CN=site) {end}"));
        let expected: Vec<_> = expected.into_iter().collect();
        assert_eq!(files.warnings(&terminate("site")), expected);
    }
    let now = SystemTime::now();
    files.issue_from("site", now - 9 * DAY, now - 2 * DAY - half);
    let [expired] = &files.warnings(&terminate("site"))[..] else {
        panic!("an expired certificate is a warning");
    };
    assert!(expired.ends_with("expired 2 days ago"), "{expired}");
    files.issue_from("site", now + 2 * DAY + half, now + 9 * DAY);
    let [early] = &files.warnings(&terminate("site"))[..] else {
        panic!("a certificate of the future is a warning");
    };
    assert!(early.ends_with("becomes valid in 2 days"), "{early}");
}

#[test]
fn a_certificate_is_told_of_once_each_time_it_has_come_closer_to_its_end() {
    let files = Files::new();
    files.issue("site", 40 * DAY + DAY / 2);
    let config = files.config(&terminate("site"), "");
    let (loaded, warnings) = LoadedTls::read(&config, &state()).unwrap();
    assert_eq!(warnings, []);
    let [watched] = loaded.certificates() else {
        panic!("one certificate");
    };
    let told: Vec<u32> = (0..45)
        .filter(|&day| {
            let later = UnixTime::now().as_secs() + u64::from(day) * DAY.as_secs();
            let later = UnixTime::since_unix_epoch(Duration::from_secs(later));
            watched.look(later).is_some()
        })
        .collect();
    assert_eq!(told, [11, 27, 38, 41]);
}

#[test]
fn a_revocation_list_is_told_of_once_when_its_time_is_over() {
    let files = Files::new();
    files.issue("site", 400 * DAY);
    files.write("a.crl", files.revocation_list(), 0o644);
    let listener = terminate("site").replace(
        "mode",
        "client_certificates = \"required\"\nca_file = \"@/ca.pem\"\ncrl_files = [\"@/a.crl\"]\nmode",
    );
    let config = files.config(&listener, "");
    let (loaded, warnings) = LoadedTls::read(&config, &state()).unwrap();
    assert_eq!(warnings, []);
    let news = |days: u64| {
        let later = UnixTime::now().as_secs() + days * DAY.as_secs() + 3600;
        let later = UnixTime::since_unix_epoch(Duration::from_secs(later));
        let news = loaded.watch.news(later).map(|(_, text)| text);
        news.collect::<Vec<_>>()
    };
    assert_eq!(news(29), [""; 0]);
    let [told] = &news(32)[..] else {
        panic!("it has expired");
    };
    let expected = "a.crl expired 2 days ago, and all certificates of its issuer are refused";
    assert!(told.ends_with(expected), "{told}");
    assert_eq!(news(33), [""; 0]);
}

#[test]
fn the_systems_certificates_are_where_some_distribution_keeps_them() {
    let files = Files::new();
    let [none, bundle, text] =
        ["none", "ca.pem", "site.key"].map(|name| files.path(name).display().to_string());
    assert!(roots::read(&[&none, &bundle]).is_ok());
    let error = roots::read(&[&none]).unwrap_err();
    let expected = "the system has no bundle of trusted certificates (looked for ";
    assert_eq!(error, format!("{expected}{none})"));
    let error = roots::read(&[&text, &bundle]).unwrap_err();
    let expected = format!("the system's trusted certificates: {text}: there is no certificate");
    assert!(error.starts_with(&expected), "{error}");
}
