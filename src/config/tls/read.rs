//! The readers of `[listener.tls]` and `[pool.tls]`.

use std::time::Duration;

use rustls::pki_types::ServerName;

use super::model::{
    CertificateFiles, ClientCertificates, FileAt, ListenerTls, ListenerTlsMode, PoolTls,
    ServerCheck, TlsCommon, TlsServer, TrustFiles,
};
use super::route::{FindPool, read_routes};
use crate::config::address::Address;
use crate::config::diagnostic::Complaint;
use crate::config::model::{Protocol, ServerAddress};
use crate::config::reader::{Report, Table};
use crate::config::source::Span;
use crate::config::usage::Speaks;
use crate::config::{bounds, schema, value};
use crate::tls::ciphers;
use crate::tls::config::MinVersion;

/// The tables of a listener's TLS. They are opened before anything is read: a rule names a pool,
/// as a listener does.
#[derive(Debug)]
pub(in crate::config) struct TlsTables<'a> {
    table: Table<'a>,
    certificates: Vec<Table<'a>>,
    routes: Vec<Table<'a>>,
}

impl<'a> TlsTables<'a> {
    /// `None`: the listener has no such table.
    pub(in crate::config) fn open(listener: &Table<'a>) -> Option<Self> {
        let table = listener.table("tls", &schema::LISTENER_TLS)?;
        Some(Self {
            certificates: table.tables("certificate", &schema::TLS_CERTIFICATE),
            routes: table.tables("route", &schema::TLS_ROUTE),
            table,
        })
    }

    /// The pools that its rules name, where they do, and where that is.
    pub(in crate::config) fn pools(&self) -> impl Iterator<Item = (Option<&'a str>, Span)> {
        let pool = |route: &Table<'a>| (route.peek("pool"), route.span_of("pool"));
        self.routes.iter().map(pool)
    }
}

/// A word of `mode`.
#[derive(Clone, Copy)]
enum Mode {
    Off,
    Terminate,
    Passthrough,
    Preferred,
    Required,
}

type Words = &'static [(&'static str, Mode)];

const OF_TCP: Words = &[
    ("off", Mode::Off),
    ("terminate", Mode::Terminate),
    ("passthrough", Mode::Passthrough),
];

const OF_MYSQL: Words = &[
    ("off", Mode::Off),
    ("preferred", Mode::Preferred),
    ("required", Mode::Required),
];

/// Keys that a listener has at which TLS does not end. All others are for one that is itself a
/// server of TLS.
const OF_PASSTHROUGH: [&str; 4] = ["mode", "handshake_timeout", "handshakes_max", "route"];

/// Reads the table. `None`: it is off, or something is wrong, which has been recorded. `protocol`
/// is the listener's, if that is known.
pub(in crate::config) fn read_listener_tls(
    tables: &TlsTables<'_>,
    protocol: Option<Protocol>,
    find_pool: FindPool<'_>,
    report: &Report<'_>,
) -> Option<ListenerTls> {
    let table = &tables.table;
    let mode = read_mode(table, protocol);
    let server = read_server(tables, report);
    let offered = matches!(mode, Some(Mode::Terminate)).then_some(&*server.common.alpn);
    let routes = read_routes(&tables.routes, offered, find_pool, report);
    let handshake_timeout = table.optional("handshake_timeout", value::timeout);
    let handshakes_max = table.optional("handshakes_max", value::integer(bounds::HANDSHAKES));
    let mode = match mode? {
        Mode::Off => return None,
        Mode::Passthrough => {
            let why = "is for a listener at which TLS ends, and this one passes it through";
            let help = "leave it out, or set `mode = \"terminate\"`";
            let keys = schema::LISTENER_TLS.keys.iter().copied();
            let of_servers: Vec<_> = keys.filter(|key| !OF_PASSTHROUGH.contains(key)).collect();
            forbid(table, &of_servers, why, help, report);
            ListenerTlsMode::Passthrough
        }
        Mode::Terminate => {
            if !table.has("certificate") {
                let complaint = Complaint::new("[listener.tls] has no certificate");
                let help = "add a [[listener.tls.certificate]] with a `certificate_file` and its \
                            `key_file`";
                report.missing(&table.span, complaint.help(help));
            }
            ListenerTlsMode::Terminate(server)
        }
        Mode::Preferred => {
            forbid_on_mysql(table, report);
            ListenerTlsMode::Preferred(server)
        }
        Mode::Required => {
            forbid_on_mysql(table, report);
            ListenerTlsMode::Required(server)
        }
    };
    Some(ListenerTls {
        mode,
        handshake_timeout: handshake_timeout.unwrap_or(Duration::from_secs(10)),
        handshakes_max: handshakes_max.unwrap_or(1000),
        routes,
        position: report.position(&table.span),
    })
}

fn read_mode(table: &Table<'_>, protocol: Option<Protocol>) -> Option<Mode> {
    let (words, others, of_others, help) = match protocol {
        Some(Protocol::Tcp) => (
            OF_TCP,
            OF_MYSQL,
            "mysql",
            "add `mode = \"terminate\"` or `mode = \"passthrough\"`",
        ),
        Some(Protocol::Mysql) => (
            OF_MYSQL,
            OF_TCP,
            "tcp",
            "add `mode = \"preferred\"` or `mode = \"required\"`",
        ),
        // What would be right is anybody's guess.
        None => return None,
    };
    table.required("mode", help, |value| {
        value::one_of(words)(value).map_err(|complaint| {
            let text = value.as_str().unwrap_or_default();
            match others.iter().any(|&(word, _)| word == text) {
                true => complaint.help(format!("\"{text}\" is for {of_others} listeners")),
                false => complaint,
            }
        })
    })
}

fn forbid_on_mysql(table: &Table<'_>, report: &Report<'_>) {
    let why = "is for tcp listeners: MySQL knows no protocols within TLS";
    forbid(table, &["alpn"], why, "leave it out", report);
    let why = "is for tcp listeners: a server has to greet before a MySQL client names one";
    forbid(table, &["route"], why, "leave it out", report);
    let why = "is for tcp listeners: on the MySQL port the handshake is a part of the login";
    let help = "leave it out, and set `login_timeout` in [pool.mysql] if need be";
    forbid(table, &["handshake_timeout"], why, help, report);
}

fn forbid(table: &Table<'_>, keys: &[&str], why: &str, help: &str, report: &Report<'_>) {
    for key in keys.iter().filter(|key| table.has(key)) {
        let complaint = Complaint::new(why).about(key).help(help);
        report.error(&table.span_of(key), complaint);
    }
}

fn read_server(tables: &TlsTables<'_>, report: &Report<'_>) -> TlsServer {
    let table = &tables.table;
    let max = bounds::CERTIFICATES_MAX;
    if let Some(above) = tables.certificates.get(max) {
        let complaint = Complaint::new(format!("the listener has more than {max} certificates"));
        report.error(&above.span, complaint);
    }
    let certificate = |table: &Table<'_>| {
        let help = "add `certificate_file = \"...\"`: a PEM file, the server's certificate first";
        table.require("certificate_file", help);
        let ocsp = read_file(table, "ocsp_file", report);
        read_certificate(table, report).map(|files| CertificateFiles { ocsp, ..files })
    };
    TlsServer {
        certificates: tables.certificates.iter().filter_map(certificate).collect(),
        common: read_common(table, report),
        session_tickets: table
            .optional("session_tickets", value::boolean)
            .unwrap_or(true),
        client_certificates: read_client_certificates(table, report),
    }
}

fn read_client_certificates(table: &Table<'_>, report: &Report<'_>) -> ClientCertificates {
    type Make = fn(TrustFiles) -> ClientCertificates;
    const WORDS: &[(&str, Option<Make>)] = &[
        ("off", None),
        ("optional", Some(ClientCertificates::Optional)),
        ("required", Some(ClientCertificates::Required)),
    ];
    let written = table.optional("client_certificates", value::one_of(WORDS));
    let ca = read_file(table, "ca_file", report);
    let revocation_lists = read_files(table, "crl_files", report);
    let is_known = written.is_some() || !table.has("client_certificates");
    let Some(make) = written.flatten() else {
        if is_known {
            let why = "is what clients' certificates are checked by, and none are asked for";
            let help = "add `client_certificates = \"required\"` or \"optional\", or leave it out";
            forbid(table, &["ca_file", "crl_files"], why, help, report);
        }
        return ClientCertificates::Off;
    };
    let help = "add `ca_file = \"...\"`: the certificates of those who sign clients' certificates";
    table.require("ca_file", help);
    let trust = ca.map(|ca| TrustFiles {
        ca,
        revocation_lists,
    });
    trust.map_or(ClientCertificates::Off, make)
}

fn read_common(table: &Table<'_>, report: &Report<'_>) -> TlsCommon {
    const VERSIONS: &[(&str, MinVersion)] =
        &[("1.2", MinVersion::Tls12), ("1.3", MinVersion::Tls13)];
    let min_version = table.optional("min_version", value::one_of(VERSIONS));
    let min_version = min_version.unwrap_or_default();
    let suites = table.distinct("cipher_suites", value::cipher_suite);
    let cipher_suites: Vec<_> = suites
        .into_iter()
        .filter_map(|(name, _)| ciphers::find(name))
        .collect();
    let is_left = min_version == MinVersion::Tls12
        || cipher_suites.is_empty()
        || cipher_suites.iter().any(|&suite| ciphers::is_tls13(suite));
    if !is_left {
        let why = "has none that TLS 1.3 knows, and `min_version` is \"1.3\"";
        let complaint = Complaint::new(why).about("cipher_suites");
        let tls13 =
            ciphers::names().filter(|name| ciphers::find(name).is_some_and(ciphers::is_tls13));
        let help = format!("add one of {}", tls13.collect::<Vec<_>>().join(", "));
        report.error(&table.span_of("cipher_suites"), complaint.help(help));
    } else if !cipher_suites.is_empty() && !cipher_suites.iter().any(|&s| ciphers::is_tls13(s)) {
        let why = "has none that TLS 1.3 knows, so only TLS 1.2 is spoken";
        let complaint = Complaint::new(why).about("cipher_suites");
        let help = "add TLS_AES_128_GCM_SHA256, unless that is meant";
        report.warn(&table.span_of("cipher_suites"), complaint.help(help));
    }
    TlsCommon {
        min_version,
        cipher_suites,
        alpn: read_alpn(table, report),
    }
}

pub(super) fn read_alpn(table: &Table<'_>, report: &Report<'_>) -> Vec<String> {
    let found = table.distinct("alpn", value::alpn);
    let max = bounds::ALPN_MAX;
    if let Some((_, above)) = found.get(max) {
        let complaint = Complaint::new(format!("names more than {max} protocols"));
        report.error(above, complaint.about("alpn"));
    }
    found.into_iter().map(|(protocol, _)| protocol).collect()
}

/// A certificate and its key, if there is one.
fn read_certificate(table: &Table<'_>, report: &Report<'_>) -> Option<CertificateFiles> {
    let certificate = read_file(table, "certificate_file", report);
    let key = read_file(table, "key_file", report);
    let certificate = certificate?;
    Some(CertificateFiles {
        key: key.unwrap_or_else(|| certificate.clone()),
        certificate,
        ocsp: None,
    })
}

fn read_file(table: &Table<'_>, key: &str, report: &Report<'_>) -> Option<FileAt> {
    let path = table.optional(key, value::file_path)?;
    Some(FileAt {
        path,
        position: report.position(&table.span_of(key)),
    })
}

fn read_files(table: &Table<'_>, key: &str, report: &Report<'_>) -> Vec<FileAt> {
    let found = table.list(key, value::file_path).unwrap_or_default();
    let file = |(path, span)| FileAt {
        path,
        position: report.position(&span),
    };
    found.into_iter().map(file).collect()
}

/// `[pool.tls]` as read, for the pool and for its servers.
#[derive(Debug, Default)]
pub(in crate::config) struct PoolTlsTable {
    /// Whether there is one.
    exists: bool,
    /// `None` also where something is wrong.
    pub(in crate::config) tls: Option<PoolTls>,
    server_name: Option<ServerName<'static>>,
}

impl PoolTlsTable {
    /// Reads the table of a pool that is spoken to like this, if it has one.
    pub(in crate::config) fn read(pool: &Table<'_>, speaks: Speaks, report: &Report<'_>) -> Self {
        let Some(table) = pool.table("tls", &schema::POOL_TLS) else {
            return Self::default();
        };
        Self {
            exists: true,
            tls: read_pool_tls(&table, speaks, report),
            server_name: table.optional("server_name", value::server_name),
        }
    }

    /// Whether there is one, whatever its mode.
    pub(in crate::config) fn exists(&self) -> bool {
        self.exists
    }

    /// The name that is expected of a server: its own, the pool's, or that of its address. `None`:
    /// there is no TLS, or no name, which has been recorded.
    pub(in crate::config) fn name_of(
        &self,
        server: &Table<'_>,
        address: Option<&ServerAddress>,
        report: &Report<'_>,
    ) -> Option<ServerName<'static>> {
        let own = server.optional("server_name", value::server_name);
        if !self.exists && server.has("server_name") {
            let complaint = Complaint::new("is for pools with a [pool.tls], and this one has none");
            let complaint = complaint
                .about("server_name")
                .help("add one, or leave it out");
            report.error(&server.span_of("server_name"), complaint);
        }
        self.tls.as_ref()?;
        let name = own.or_else(|| self.server_name.clone());
        if name.is_some() {
            return name;
        }
        let name = name_of_address(address?);
        if name.is_none() && !server.has("server_name") {
            let message = "the server has no name that its certificate could be for";
            let help = "add `server_name = \"...\"`, here or in [pool.tls]";
            report.missing(&server.span, Complaint::new(message).help(help));
        }
        name
    }
}

fn name_of_address(address: &ServerAddress) -> Option<ServerName<'static>> {
    match address {
        ServerAddress::Fixed(Address::Tcp(address)) => {
            Some(ServerName::IpAddress(address.ip().into()))
        }
        ServerAddress::Fixed(Address::Unix(_)) => None,
        ServerAddress::Host { host, .. } => {
            let host = host.strip_suffix('.').unwrap_or(host);
            ServerName::try_from(host.to_owned()).ok()
        }
    }
}

fn read_pool_tls(table: &Table<'_>, speaks: Speaks, report: &Report<'_>) -> Option<PoolTls> {
    #[derive(Clone, Copy, PartialEq)]
    enum Mode {
        Off,
        Verify,
        Insecure,
    }
    const MODES: &[(&str, Mode)] = &[
        ("off", Mode::Off),
        ("verify", Mode::Verify),
        ("insecure", Mode::Insecure),
    ];
    let help = "add `mode = \"verify\"`, or `mode = \"insecure\"` for servers that cannot be \
                verified";
    let mode = table.required("mode", help, value::one_of(MODES));
    let ca = read_file(table, "ca_file", report);
    let revocation_lists = read_files(table, "crl_files", report);
    let certificate = read_certificate(table, report);
    let common = read_common(table, report);
    if table.has("key_file") && !table.has("certificate_file") {
        let complaint = Complaint::new("stands without a `certificate_file`").about("key_file");
        let help = "add one, or leave it out: servers are shown both or nothing";
        report.error(&table.span_of("key_file"), complaint.help(help));
    }
    let check = match mode? {
        Mode::Off => return None,
        Mode::Verify => ServerCheck::Verify {
            ca,
            revocation_lists,
        },
        Mode::Insecure => {
            let why = "is what servers are verified by, and `mode = \"insecure\"` does not";
            let help = "leave it out, or set `mode = \"verify\"`";
            forbid(table, &["ca_file", "crl_files"], why, help, report);
            ServerCheck::Insecure
        }
    };
    if speaks == Speaks::Mysql {
        let why = "is for other servers: MySQL knows no protocols within TLS";
        forbid(table, &["alpn"], why, "leave it out", report);
    }
    Some(PoolTls {
        check,
        certificate,
        common,
        position: report.position(&table.span),
    })
}
