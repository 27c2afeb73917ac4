//! TLS in configurations by chance.

use std::time::Duration;

use proptest::collection::{btree_map, btree_set, vec};
use proptest::option;
use proptest::prelude::*;
use rustls::pki_types::ServerName;

use super::generate::{NOWHERE, timeouts};
use crate::config::{
    CertificateFiles, ClientCertificates, Config, FileAt, ListenerTls, ListenerTlsMode, Pool,
    PoolTls, ServerCheck, TlsCommon, TlsRoute, TlsServer, TrustFiles,
};
use crate::tls::ciphers;
use crate::tls::config::MinVersion;
use crate::tls::names::{Pattern, Rule};

/// A tcp listener's.
pub(super) fn listener_tls(pools: usize) -> impl Strategy<Value = Option<ListenerTls>> {
    let names = btree_map("(\\*\\.)?[a-c]\\.example", (0..pools, any::<bool>()), 0..4);
    let all = (option::of(servers()), names, timeouts(), 1..=65_536_u32);
    let table = all.prop_map(|(server, names, handshake_timeout, handshakes_max)| {
        let offered = server.as_ref().map(|server| server.common.alpn.clone());
        let offered = offered.unwrap_or_else(|| vec!["h2".to_owned()]);
        let route = |(name, (pool, with_protocol)): (String, (usize, bool))| TlsRoute {
            rule: Rule {
                names: vec![Pattern::parse(&name).unwrap()],
                alpn: offered
                    .iter()
                    .filter(|_| with_protocol)
                    .map(|protocol| protocol.clone().into_bytes())
                    .collect(),
            },
            pool,
        };
        ListenerTls {
            mode: server.map_or(ListenerTlsMode::Passthrough, ListenerTlsMode::Terminate),
            handshake_timeout,
            handshakes_max,
            routes: names.into_iter().map(route).collect(),
            position: NOWHERE,
        }
    });
    option::of(table)
}

fn servers() -> impl Strategy<Value = TlsServer> {
    let trust = (files(), vec(files(), 0..3)).prop_map(|(ca, revocation_lists)| TrustFiles {
        ca,
        revocation_lists,
    });
    let clients = prop_oneof![
        Just(ClientCertificates::Off),
        trust.clone().prop_map(ClientCertificates::Optional),
        trust.prop_map(ClientCertificates::Required),
    ];
    let certificates = vec((certificates(), option::of(files())), 1..3);
    let all = (certificates, commons(), any::<bool>(), clients);
    all.prop_map(
        |(certificates, common, session_tickets, client_certificates)| {
            let with_ocsp = |(files, ocsp)| CertificateFiles { ocsp, ..files };
            TlsServer {
                certificates: certificates.into_iter().map(with_ocsp).collect(),
                common,
                session_tickets,
                client_certificates,
            }
        },
    )
}

pub(super) fn pool_tls() -> impl Strategy<Value = PoolTls> {
    let verify = (option::of(files()), vec(files(), 0..3));
    let check = prop_oneof![
        Just(ServerCheck::Insecure),
        verify.prop_map(|(ca, revocation_lists)| ServerCheck::Verify {
            ca,
            revocation_lists
        }),
    ];
    let all = (check, option::of(certificates()), commons());
    all.prop_map(|(check, certificate, common)| PoolTls {
        check,
        certificate,
        common,
        position: NOWHERE,
    })
}

fn commons() -> impl Strategy<Value = TlsCommon> {
    let suites = btree_set(0..ciphers::names().count(), 0..4);
    let alpn = prop::sample::subsequence(vec!["h2", "http/1.1", "acme-tls/1"], 0..=3);
    (any::<bool>(), suites, alpn).prop_map(|(is_tls13, suites, alpn)| {
        let cipher_suites: Vec<_> = suites
            .into_iter()
            .filter_map(|index| ciphers::find(ciphers::names().nth(index)?))
            .collect();
        let knows = cipher_suites.iter().any(|&suite| ciphers::is_tls13(suite));
        let is_tls13 = is_tls13 && (knows || cipher_suites.is_empty());
        TlsCommon {
            min_version: if is_tls13 {
                MinVersion::Tls13
            } else {
                MinVersion::Tls12
            },
            cipher_suites,
            alpn: alpn.into_iter().map(str::to_owned).collect(),
        }
    })
}

fn certificates() -> impl Strategy<Value = CertificateFiles> {
    (files(), files()).prop_map(|(certificate, key)| CertificateFiles {
        certificate,
        key,
        ocsp: None,
    })
}

fn files() -> impl Strategy<Value = FileAt> + Clone {
    "/[a-z]{1,2}".prop_map(|path| FileAt {
        path: path.into(),
        position: NOWHERE,
    })
}

/// Rules lead to pools that tcp listeners may use.
pub(super) fn drop_routes_to_mysql(config: &mut Config) {
    let mysql: Vec<_> = config
        .pools
        .iter()
        .map(|pool| pool.mysql.is_some())
        .collect();
    for tls in config.listeners.iter_mut().flat_map(|l| &mut l.tls) {
        tls.routes.retain(|route| !mysql[route.pool]);
    }
}

/// What was generated for a tcp listener, for one of the other kind.
pub(super) fn for_mysql(tls: &mut ListenerTls) {
    tls.routes.clear();
    tls.handshake_timeout = Duration::from_secs(10);
    let TlsServer {
        certificates,
        mut common,
        session_tickets,
        client_certificates,
    } = match tls.mode.server() {
        Some(server) => server.clone(),
        None => TlsServer {
            certificates: Vec::new(),
            common: TlsCommon::default(),
            session_tickets: true,
            client_certificates: ClientCertificates::Off,
        },
    };
    common.alpn.clear();
    let required = session_tickets;
    let server = TlsServer {
        certificates,
        common,
        session_tickets,
        client_certificates,
    };
    tls.mode = match required {
        true => ListenerTlsMode::Required(server),
        false => ListenerTlsMode::Preferred(server),
    };
}

/// Where there is TLS, servers have a name.
pub(super) fn name_servers(pool: &mut Pool) {
    if let Some(tls) = &mut pool.tls
        && pool.mysql.is_some()
    {
        tls.common.alpn.clear();
    }
    for server in &mut pool.servers {
        let name = ServerName::try_from(format!("{}.example", server.name)).unwrap();
        server.server_name = pool.tls.is_some().then_some(name);
    }
}

pub(super) fn forget_positions(config: &mut Config) {
    let nowhere = |file: &mut FileAt| file.position = NOWHERE;
    let of_certificate = |files: &mut CertificateFiles| {
        nowhere(&mut files.certificate);
        nowhere(&mut files.key);
        files.ocsp.iter_mut().for_each(nowhere);
    };
    for tls in config.listeners.iter_mut().flat_map(|l| &mut l.tls) {
        tls.position = NOWHERE;
        let (ListenerTlsMode::Terminate(server)
        | ListenerTlsMode::Preferred(server)
        | ListenerTlsMode::Required(server)) = &mut tls.mode
        else {
            continue;
        };
        server.certificates.iter_mut().for_each(of_certificate);
        if let ClientCertificates::Optional(trust) | ClientCertificates::Required(trust) =
            &mut server.client_certificates
        {
            nowhere(&mut trust.ca);
            trust.revocation_lists.iter_mut().for_each(nowhere);
        }
    }
    for tls in config.pools.iter_mut().flat_map(|pool| &mut pool.tls) {
        tls.position = NOWHERE;
        tls.certificate.iter_mut().for_each(of_certificate);
        if let ServerCheck::Verify {
            ca,
            revocation_lists,
        } = &mut tls.check
        {
            ca.iter_mut().chain(revocation_lists).for_each(nowhere);
        }
    }
}

/// The certificates and the rules of a listener, as values of keys.
pub(super) fn tables_below(tls: &ListenerTls, config: &Config) -> String {
    let mut text = String::new();
    if let Some(server) = tls
        .mode
        .server()
        .filter(|server| !server.certificates.is_empty())
    {
        let certificate = |files: &CertificateFiles| {
            let (certificate, key) = (&files.certificate.path, &files.key.path);
            let ocsp = files.ocsp.as_ref().map(|ocsp| &ocsp.path);
            let ocsp = ocsp.map(|path| format!(", ocsp_file = {path:?}"));
            let ocsp = ocsp.unwrap_or_default();
            format!("{{ certificate_file = {certificate:?}, key_file = {key:?}{ocsp} }}")
        };
        let certificates: Vec<_> = server.certificates.iter().map(certificate).collect();
        text += &format!("tls.certificate = [{}]\n", certificates.join(", "));
    }
    let route = |route: &TlsRoute| {
        let names: Vec<_> = route.rule.names.iter().map(ToString::to_string).collect();
        let protocol = |protocol: &Vec<u8>| String::from_utf8(protocol.clone()).unwrap();
        let alpn: Vec<_> = route.rule.alpn.iter().map(protocol).collect();
        let alpn = match alpn.is_empty() {
            true => String::new(),
            false => format!(", alpn = {alpn:?}"),
        };
        let pool = &config.pools[route.pool].name;
        format!("{{ server_names = {names:?}{alpn}, pool = {pool:?} }}")
    };
    let routes: Vec<_> = tls.routes.iter().map(route).collect();
    text + &format!("tls.route = [{}]\n", routes.join(", "))
}
