//! What is wrong with the TLS of a file, and what a reload says about it.

use super::errors::{assert_told, file_with, mysql_file, told};
use crate::config::{Config, ListenerTlsMode, diff, parse};

const CERTIFICATE: &str = "[[listener.tls.certificate]]\ncertificate_file = \"/a.pem\"";

/// A file whose listener has a certificate, rules and a pool for each of `x` and `y`.
fn terminating(tls: &str, routes: &str) -> String {
    let pool = "[[pool]]\nname = \"x\"\nserver = [{ name = \"s\", address = \"10.0.0.2:80\" }]\n";
    let pools = format!("{pool}{}", pool.replace("\"x\"", "\"y\""));
    let table = format!("mode = \"terminate\"\n{tls}\n{CERTIFICATE}\n{routes}");
    format!("{pools}{}", file_with("[listener.tls]", &table))
}

fn assert_route_told(cases: &[(&str, &str)]) {
    let used = "[[listener.tls.route]]\nserver_names = \"x.example\"\npool = \"x\"\n\
                [[listener.tls.route]]\nserver_names = \"y.example\"\npool = \"y\"\n";
    for (lines, expected) in cases {
        let route = format!("{used}[[listener.tls.route]]\n{lines}");
        let told = told(&terminating("alpn = [\"h2\"]", &route));
        assert_eq!(told, [*expected], "{lines}");
    }
}

#[test]
fn a_listener_has_a_mode_of_its_protocol() {
    assert_told(
        "[listener.tls]",
        &[
            (
                "",
                "[listener.tls] has no `mode` | add `mode = \"terminate\"` or `mode = \
                 \"passthrough\"`",
            ),
            (
                "mode = \"required\"",
                "`mode` is \"required\", but takes \"off\", \"terminate\" or \"passthrough\" | \
                 \"required\" is for mysql listeners",
            ),
            (
                "mode = \"terminat\"",
                "`mode` is \"terminat\", but takes \"off\", \"terminate\" or \"passthrough\" | did \
                 you mean \"terminate\"?",
            ),
            (
                "mode = \"terminate\"",
                "[listener.tls] has no certificate | add a [[listener.tls.certificate]] with a \
                 `certificate_file` and its `key_file`",
            ),
        ],
    );
    let mysql = |tls: &str| {
        let file = mysql_file("", "role = \"primary\"");
        told(&file.replacen("pool =", &format!("tls = {{ {tls} }}\npool ="), 1))
    };
    assert_eq!(mysql("mode = \"preferred\""), [""; 0]);
    assert_eq!(
        mysql("mode = \"terminate\""),
        [
            "`mode` is \"terminate\", but takes \"off\", \"preferred\" or \"required\" | \
             \"terminate\" is for tcp listeners"
        ]
    );
    assert_eq!(
        mysql("mode = \"required\", alpn = \"h2\""),
        ["`alpn` is for tcp listeners: MySQL knows no protocols within TLS | leave it out"]
    );
    assert_eq!(
        mysql("mode = \"required\", handshake_timeout = \"1s\""),
        [
            "`handshake_timeout` is for tcp listeners: on the MySQL port the handshake is a part of \
             the login | leave it out, and set `login_timeout` in [pool.mysql] if need be"
        ]
    );
    assert_eq!(
        mysql("mode = \"required\", route = [{ alpn = \"h2\", pool = \"p\" }]"),
        [
            "`route` is for tcp listeners: a server has to greet before a MySQL client names one \
             | leave it out"
        ]
    );
}

#[test]
fn what_passes_through_has_no_end_of_its_own() {
    for line in [
        "min_version = \"1.3\"",
        "cipher_suites = \"TLS_AES_128_GCM_SHA256\"",
        "alpn = \"h2\"",
        "session_tickets = false",
        "client_certificates = \"off\"",
        "certificate = [{ certificate_file = \"/a.pem\" }]",
    ] {
        let key = line.split(" =").next().unwrap();
        let expected = format!(
            "`{key}` is for a listener at which TLS ends, and this one passes it through | leave \
             it out, or set `mode = \"terminate\"`"
        );
        let lines = format!("mode = \"passthrough\"\n{line}");
        assert_told("[listener.tls]", &[(&lines, &expected)]);
    }
}

#[test]
fn what_stands_beside_a_mode_that_is_off_is_read_and_not_used() {
    let off =
        "mode = \"off\"\nmin_version = \"1.3\"\ncertificate = [{ certificate_file = \"/a\" }]";
    let config = Config::parse(&file_with("[listener.tls]", off)).unwrap();
    assert_eq!(config.listeners[0].tls, None);
    let pool = "mode = \"off\"\nserver_name = \"a.example\"\nca_file = \"/a\"";
    let config = Config::parse(&file_with("[pool.tls]", pool)).unwrap();
    assert_eq!(config.pools[0].tls, None);
    assert_eq!(config.pools[0].servers[0].server_name, None);
    assert_told(
        "[listener.tls]",
        &[(
            "mode = \"off\"\nhandshakes_max = 0",
            "`handshakes_max` is 0, but takes a whole number from 1 to 65536",
        )],
    );
}

#[test]
fn suites_that_leave_tls_13_out_are_told() {
    let told = told(&file_with(
        "[pool.tls]",
        "mode = \"insecure\"\ncipher_suites = [\"ECDHE-RSA-AES128-GCM-SHA256\"]",
    ));
    let expected = "`cipher_suites` has none that TLS 1.3 knows, so only TLS 1.2 is spoken | add \
                    TLS_AES_128_GCM_SHA256, unless that is meant";
    assert_eq!(told, [expected]);
}

#[test]
fn settings_of_both_sides() {
    let suites = "there are TLS_AES_128_GCM_SHA256, TLS_AES_256_GCM_SHA384, \
                  TLS_CHACHA20_POLY1305_SHA256, TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, \
                  TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384, \
                  TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256, \
                  TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256, TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384, \
                  TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256";
    let no_such =
        format!("`cipher_suites` is \"RC4-MD5\", and there is no such cipher suite | {suites}");
    let many: Vec<_> = (0..17).map(|i| format!("p{i}")).collect();
    let many = format!("alpn = {many:?}");
    let long = format!("alpn = {:?}", "x".repeat(256));
    for (line, expected) in [
        (
            "min_version = \"1.1\"",
            "`min_version` is \"1.1\", but takes \"1.2\" or \"1.3\" | did you mean \"1.2\"?",
        ),
        (
            "min_version = 1.2",
            "`min_version` is a fraction, but takes \"1.2\" or \"1.3\"",
        ),
        ("cipher_suites = [\"RC4-MD5\"]", &no_such),
        (
            "cipher_suites = \"TLS_AES_128_GCM_SHA265\"",
            "`cipher_suites` is \"TLS_AES_128_GCM_SHA265\", and there is no such cipher suite | \
             did you mean \"TLS_AES_128_GCM_SHA256\"?",
        ),
        (
            "cipher_suites = [\"ECDHE-RSA-AES128-GCM-SHA256\", \
             \"TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256\"]",
            "`cipher_suites` names \"TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256\" twice",
        ),
        (
            "min_version = \"1.3\"\ncipher_suites = \"ECDHE-RSA-AES128-GCM-SHA256\"",
            "`cipher_suites` has none that TLS 1.3 knows, and `min_version` is \"1.3\" | add one \
             of TLS_AES_128_GCM_SHA256, TLS_AES_256_GCM_SHA384, TLS_CHACHA20_POLY1305_SHA256",
        ),
        (&*many, "`alpn` names more than 16 protocols"),
        (&*long, "`alpn` has 256 bytes, but takes at most 255"),
    ] {
        assert_eq!(told(&terminating_alone(line)), [expected], "{line}");
        let pool = format!("mode = \"verify\"\n{line}");
        assert_told("[pool.tls]", &[(&pool, expected)]);
    }
}

fn terminating_alone(tls: &str) -> String {
    let table = format!("mode = \"terminate\"\n{tls}\n{CERTIFICATE}");
    file_with("[listener.tls]", &table)
}

#[test]
fn certificates_of_a_listener_and_of_its_clients() {
    let no_certificate = "[[listener.tls.certificate]] has no `certificate_file` | add \
                          `certificate_file = \"...\"`: a PEM file, the server's certificate first";
    let unused = "is what clients' certificates are checked by, and none are asked for | add \
                  `client_certificates = \"required\"` or \"optional\", or leave it out";
    for (lines, expected) in [
        ("certificate = [{ key_file = \"/a.key\" }]", no_certificate),
        (
            "certificate = [{ certificate_file = \"/a.pem\", key = \"/a.key\" }]",
            "unknown key `key` in [[listener.tls.certificate]]",
        ),
        (
            "certificate = [{ certificate_file = \"/a/\" }]",
            "`certificate_file` is \"/a/\", which is a directory",
        ),
        (
            "certificate = { certificate_file = \"/a.pem\" }",
            "`certificate` has the wrong number of brackets | write [[listener.tls.certificate]]: \
             there can be several",
        ),
    ] {
        let table = format!("mode = \"terminate\"\n{lines}");
        assert_told("[listener.tls]", &[(&table, expected)]);
    }
    for (lines, expected) in [
        ("ca_file = \"/ca.pem\"", format!("`ca_file` {unused}")),
        (
            "client_certificates = \"off\"\ncrl_files = \"/a.crl\"",
            format!("`crl_files` {unused}"),
        ),
        (
            "client_certificates = \"optional\"",
            "[listener.tls] has no `ca_file` | add `ca_file = \"...\"`: the certificates of those \
             who sign clients' certificates"
                .to_owned(),
        ),
        (
            "client_certificates = \"require\"\nca_file = \"/ca.pem\"",
            "`client_certificates` is \"require\", but takes \"off\", \"optional\" or \
             \"required\" | did you mean \"required\"?"
                .to_owned(),
        ),
    ] {
        assert_eq!(told(&terminating_alone(lines)), [expected], "{lines}");
    }
}

#[test]
fn a_key_may_stand_in_the_file_of_its_certificate() {
    let config = Config::parse(&terminating_alone("")).unwrap();
    let tls = config.listeners[0].tls.as_ref().unwrap();
    let ListenerTlsMode::Terminate(server) = &tls.mode else {
        panic!("{:?}", tls.mode);
    };
    let files = &server.certificates[0];
    assert_eq!(files.key, files.certificate);
}

#[test]
fn rules_that_lead_nowhere_or_are_never_reached() {
    assert_route_told(&[
        (
            "pool = \"x\"",
            "[[listener.tls.route]] has no `server_names` and no `alpn` | add one; what no rule \
             takes goes to the pool of the listener",
        ),
        (
            "server_names = \"a.example\"",
            "[[listener.tls.route]] has no `pool` | add `pool = \"...\"`: the name of the [[pool]] \
             for these connections",
        ),
        (
            "server_names = \"a.example\"\npool = \"z\"",
            "`pool` is \"z\", and there is no such pool | did you mean \"p\"?",
        ),
        (
            "server_names = [\"w*.example\"]\npool = \"x\"",
            "`server_names` is \"w*.example\", which is no host name | write \"www.example.org\", \
             or \"*.example.org\" for all below it",
        ),
        (
            "server_names = [\"a.example\", \"A.example.\"]\npool = \"x\"",
            "`server_names` names \"a.example\" twice",
        ),
        (
            "alpn = \"http/1.1\"\npool = \"x\"",
            "`alpn` names \"http/1.1\", which the listener does not offer | add it to `alpn` of \
             [listener.tls] too: clients are answered from there",
        ),
        (
            "server_names = [\"b.example\", \"y.example\"]\npool = \"x\"",
            "the rule never gets y.example: the one in line 29 does | the most specific name wins, \
             wherever it stands; name each once",
        ),
    ]);
    let route = "[[listener.tls.route]]\nalpn = \"h2\"\npool = \"x\"\n";
    let all = told(&terminating(
        "alpn = \"h2\"",
        &route.repeat(3).replacen('x', "y", 1),
    ));
    assert_eq!(
        all.len(),
        2,
        "each rule that is never reached is told: {all:?}"
    );
}

#[test]
fn a_pool_that_only_a_rule_names_is_used_as_its_listener_speaks() {
    let route = "[[listener.tls.route]]\nserver_names = \"y.example\"\npool = \"y\"\n";
    let unused = told(&terminating("", route));
    assert_eq!(unused, ["no listener uses pool \"x\""]);
    let mysql = mysql_file("", "role = \"primary\"").replace("0.0.0.0:80", "0.0.0.0:81");
    let mysql = mysql.replace("\"l\"", "\"m\"").replace("\"p\"", "\"y\"");
    let file = terminating("", route).replacen("name = \"y\"", "name = \"z\"", 1);
    let told = told(&format!("{mysql}{file}"));
    let expected = "`pool` is \"y\", which the listener in line 5 uses for another protocol | \
                    pools of tcp and of mysql listeners differ in their settings: make two";
    assert!(told.iter().any(|told| told == expected), "{told:?}");
}

#[test]
fn settings_towards_servers() {
    assert_told(
        "[pool.tls]",
        &[
            (
                "",
                "[pool.tls] has no `mode` | add `mode = \"verify\"`, or `mode = \"insecure\"` for \
                 servers that cannot be verified",
            ),
            (
                "mode = \"insecure\"\nca_file = \"/ca.pem\"",
                "`ca_file` is what servers are verified by, and `mode = \"insecure\"` does not | \
                 leave it out, or set `mode = \"verify\"`",
            ),
            (
                "mode = \"verify\"\nkey_file = \"/a.key\"",
                "`key_file` stands without a `certificate_file` | add one, or leave it out: \
                 servers are shown both or nothing",
            ),
            (
                "mode = \"verify\"\nserver_name = \"a.example:443\"",
                "`server_name` is \"a.example:443\", which is neither a host name nor an IP \
                 address | write it without a port, like \"app.example.org\"",
            ),
        ],
    );
    let file = mysql_file(
        "tls = { mode = \"verify\", alpn = \"h2\" }",
        "role = \"primary\"",
    );
    assert_eq!(
        told(&file),
        ["`alpn` is for other servers: MySQL knows no protocols within TLS | leave it out"]
    );
    assert_told(
        "[[pool.server]]",
        &[(
            "server_name = \"a.example\"",
            "`server_name` is for pools with a [pool.tls], and this one has none | add one, or \
             leave it out",
        )],
    );
    let table = "tls.mode = \"passthrough\"";
    let both =
        file_with("[[listener]]", table).replace("[[pool]]", "[[pool]]\ntls.mode = \"verify\"");
    assert_eq!(
        told(&both),
        [
            "pool \"p\" puts the TLS that listener \"l\" passes through into TLS of its own | \
             leave its [pool.tls] out, unless its servers expect that"
        ]
    );
}

#[test]
fn a_server_has_its_own_name_the_pools_or_that_of_its_address() {
    let name = |pool: &str, server: &str| {
        let file = file_with("[[pool.server]]", server);
        let file = file.replace("[[pool]]", &format!("[[pool]]\ntls = {{ {pool} }}"));
        let (config, _) =
            parse(&file).map_err(|errors| errors.iter().next().unwrap().message.clone())?;
        let name = config.pools[0].servers[0].server_name.as_ref();
        Ok(name.unwrap().to_str().into_owned())
    };
    let verify = "mode = \"verify\"";
    let named = "mode = \"insecure\", server_name = \"Pool.Example.\"";
    for (pool, server, expected) in [
        (verify, "address = \"app.example.:80\"", "app.example"),
        (verify, "address = \"10.0.0.1:80\"", "10.0.0.1"),
        (verify, "address = \"[2001:db8::1]:80\"", "2001:db8::1"),
        (named, "address = \"app.example:80\"", "pool.example"),
        (named, "address = \"unix:/a\"", "pool.example"),
        (named, "server_name = \"own.example\"", "own.example"),
        (verify, "server_name = \"10.0.0.9\"", "10.0.0.9"),
    ] {
        assert_eq!(
            name(pool, server),
            Ok(expected.to_owned()),
            "{pool} {server}"
        );
    }
    let nameless = "the server has no name that its certificate could be for";
    let unix = name(verify, "address = \"unix:/a\"");
    assert_eq!(unix, Err(nameless.to_owned()));
}

#[test]
fn a_reload_says_what_changes() {
    let plain = file_with("[process]", "");
    let ends = terminating_alone("alpn = [\"h2\"]");
    let routed = "[[listener.tls.route]]\nserver_names = [\"a.example\", \"*.a.example\"]\n\
                  alpn = \"h2\"\npool = \"p\"";
    let routed = format!("{ends}\n{routed}").replace("\"/a.pem\"", "\"/b.pem\"\nkey_file = \"/b\"");
    let routed = routed.replace(
        "[[pool]]",
        "[[pool]]\ntls = { mode = \"verify\", ca_file = \"/ca\" }",
    );
    let renamed = routed
        .replace("\"verify\"", "\"verify\", server_name = \"s.example\"")
        .replace("[listener.tls]", "[listener.tls]\nmin_version = \"1.3\"");
    for (old, new, expected) in [
        (&plain, &ends, "listener l tls none -> terminate"),
        (
            &ends,
            &routed,
            "pool p: s server_name none -> 10.0.0.1, tls none -> verify; \
             listener l tls.certificate /a.pem -> /b.pem with /b, tls.route none -> \
             a.example *.a.example with h2 to p",
        ),
        (
            &routed,
            &renamed,
            "pool p: s server_name 10.0.0.1 -> s.example; listener l tls.min_version 1.2 -> 1.3",
        ),
        (&ends, &plain, "listener l tls terminate -> none"),
    ] {
        let [old, new] = [old, new].map(|text| Config::parse(text).unwrap());
        assert_eq!(diff(&old, &new).render(|_| 0), expected);
    }
}
