//! What is wrong with a file, and what an operator is told about it.

use crate::config::parse;
use crate::config::schema::{self, Schema};

/// A valid file, table by table.
const TABLES: [(&str, &[&str]); 7] = [
    ("[process]", &[]),
    ("[admin]", &["listen = \"127.0.0.1:9900\""]),
    ("[log]", &[]),
    ("[access_log]", &[]),
    (
        "[[listener]]",
        &["name = \"l\"", "listen = \"0.0.0.0:80\"", "pool = \"p\""],
    ),
    ("[[pool]]", &["name = \"p\""]),
    (
        "[[pool.server]]",
        &["name = \"s\"", "address = \"10.0.0.1:80\""],
    ),
];

/// The valid file, with `lines` in `table` in the place of those that set the same keys.
pub(super) fn file_with(table: &str, lines: &str) -> String {
    let key = |line: &str| line.split_once(" =").map(|(key, _)| key.to_owned());
    let of_table = lines.lines().take_while(|line| !line.starts_with('['));
    let replaced: Vec<_> = of_table.filter_map(key).collect();
    let mut text = String::new();
    for (header, defaults) in TABLES {
        text += &format!("{header}\n");
        let defaults = defaults
            .iter()
            .filter(|line| header != table || key(line).is_none_or(|key| !replaced.contains(&key)));
        defaults.for_each(|line| text += &format!("{line}\n"));
        if header == table {
            text += &format!("{lines}\n");
        }
    }
    if !TABLES.iter().any(|(header, _)| *header == table) {
        text += &format!("{table}\n{lines}\n");
    }
    text
}

/// Errors and warnings, as `message` or `message | help`.
pub(super) fn told(text: &str) -> Vec<String> {
    let told = match parse(text) {
        Ok((_, warnings)) => warnings,
        Err(errors) => errors.into_iter().collect(),
    };
    let line = |d: crate::config::Diagnostic| match d.help {
        Some(help) => format!("{} | {help}", d.message),
        None => d.message,
    };
    told.into_iter().map(line).collect()
}

pub(super) fn assert_told(table: &str, cases: &[(&str, &str)]) {
    for (lines, expected) in cases {
        let told = told(&file_with(table, lines));
        assert_eq!(told, [*expected], "{table} {lines}");
    }
}

#[test]
fn the_file_the_cases_start_from_is_valid() {
    assert_eq!(told(&file_with("[process]", "")), [""; 0]);
    assert!(parse(&file_with("[process]", "")).is_ok());
}

#[test]
fn values_of_process_and_logs() {
    assert_told(
        "[process]",
        &[
            (
                "workers = 0",
                "`workers` is 0, but takes a whole number from 1 to 1024",
            ),
            (
                "workers = \"four\"",
                "`workers` is a string, but takes \"auto\" or a whole number from 1 to 1024",
            ),
            (
                "pin_workers = \"true\"",
                "`pin_workers` is a string, but takes `true` or `false` | leave the quotes out",
            ),
            (
                "pin_workers = 1",
                "`pin_workers` is a whole number, but takes `true` or `false`",
            ),
            (
                "max_connections = -1",
                "`max_connections` is -1, but takes a whole number from 1 to 4294967294",
            ),
            (
                "drain_timeout = 30",
                "`drain_timeout` is 30, without a unit | add a unit: \"30s\" for seconds",
            ),
            (
                "drain_timeout = \"367d\"",
                "`drain_timeout` is \"367d\", but takes \"0s\" to \"366d\"",
            ),
            (
                "drain_timeout = 1.5",
                "`drain_timeout` is a fraction, but takes a duration, like \"2s\"",
            ),
        ],
    );
    assert_told(
        "[log]",
        &[
            (
                "level = \"wran\"",
                "`level` is \"wran\", but takes \"debug\", \"info\", \"warn\" or \"error\" | did \
                 you mean \"warn\"?",
            ),
            (
                "format = true",
                "`format` is a boolean, but takes \"text\" or \"json\"",
            ),
        ],
    );
    assert_told(
        "[access_log]",
        &[
            (
                "path = \"/var/log/\"",
                "`path` is \"/var/log/\", which is a directory",
            ),
            ("path = \"\"", "`path` is empty"),
            ("path = \"a\\u0000\"", "`path` contains control characters"),
        ],
    );
}

#[test]
fn addresses_that_are_listened_on() {
    assert_told(
        "[admin]",
        &[
            (
                "listen = \"0.0.0.0:9900\"",
                "`listen` is \"0.0.0.0:9900\": the admin port has no password, so it is for \
                 loopback | write \"127.0.0.1:9900\"",
            ),
            (
                "listen = \"127.0.0.1:80\"",
                "0.0.0.0:80 conflicts with 127.0.0.1:80, in line 3 | one covers the other",
            ),
        ],
    );
    assert_told(
        "[[listener]]",
        &[
            (
                "listen = \"*:80\"",
                "`listen` is \"*:80\": the IP address is missing | write \"0.0.0.0:80\" for all of \
                 IPv4, \"[::]:80\" for all of IPv6",
            ),
            (
                "listen = \"localhost:80\"",
                "`listen` is \"localhost:80\": a listener takes an IP address, no name | write \
                 \"127.0.0.1:80\"",
            ),
            ("listen = []", "`listen` is empty | name at least one"),
            (
                "listen = [\"10.0.0.1:80\", \"10.0.0.1:80\"]",
                "10.0.0.1:80 is listened on already, in line 9",
            ),
            (
                "listen = [\"[::]:80\", \"0.0.0.0:80\"]\nv6only = false",
                "0.0.0.0:80 conflicts with [::]:80, in line 9 | with `v6only = false`, [::] takes \
                 all of IPv4 too",
            ),
            (
                "listen = \"239.0.0.1:80\"",
                "`listen` is \"239.0.0.1:80\": nobody connects to a multicast address",
            ),
            (
                "listen = [\"[::]:80\", \"0.0.0.0:80\"]\nname = \"\"",
                "`name` has 0 characters | a name has 1 to 64",
            ),
        ],
    );
}

#[test]
fn addresses_of_servers() {
    let long = format!("address = \"unix:/{}\"", "a".repeat(107));
    let label = format!("address = \"{}:80\"", "a".repeat(64));
    let expect_label = format!(
        "`address` is \"{}:80\": that is neither an IP address nor a host name | labels of a-z 0-9 \
         - _, with dots between them",
        "a".repeat(64)
    );
    let expect_long = format!(
        "`address` is \"unix:/{}\": the path has 108 bytes | the kernel takes at most 107",
        "a".repeat(107)
    );
    for (address, expected) in [
        ("10.0.0.1", "the port is missing | add it: \"10.0.0.1:80\""),
        ("10.0.0.1:", "the port is missing | add it: \"10.0.0.1:80\""),
        (
            "80",
            "the port is missing | put an IP address before it: \"0.0.0.0:80\"",
        ),
        ("10.0.0.1:0", "a port is a number from 1 to 65535"),
        ("10.0.0.1:+80", "a port is a number from 1 to 65535"),
        ("10.0.0.1:65536", "a port is a number from 1 to 65535"),
        ("10.0.0.256:80", "that is no IPv4 address"),
        ("1.2.3:80", "that is no IPv4 address"),
        (
            "::1:80",
            "an IPv6 address stands in brackets | write \"[::1]:80\"",
        ),
        (
            "2001:db8::a",
            "an IPv6 address stands in brackets, and a port follows | write \"[2001:db8::a]:80\", \
             or whatever the port is",
        ),
        ("a:b:c", "that is no IP address"),
        ("[::1:80", "the bracket is never closed"),
        ("[::1]", "the port is missing | add it: \"[::1]:80\""),
        ("[::1]80", "only a port may follow the bracket"),
        ("[::g]:80", "there is no IPv6 address between the brackets"),
        (
            "[10.0.0.1]:80",
            "only IPv6 addresses stand in brackets | write \"10.0.0.1:80\"",
        ),
        (
            "[::ffff:10.0.0.1]:80",
            "that is an IPv4 address in disguise | write \"10.0.0.1:80\"",
        ),
        (
            "0.0.0.0:80",
            "that stands for every address, and a server has one | for this host, write \
             \"127.0.0.1:80\"",
        ),
        (
            ":80",
            "the host is missing | for this host, write \"127.0.0.1:80\"",
        ),
        (
            "255.255.255.255:80",
            "no server is reached over multicast or broadcast",
        ),
        (
            "http://a.b:80/",
            "an address has no scheme | write \"a.b:80\"",
        ),
        (
            "/run/a",
            "that is a path | a unix socket is written \"unix:/run/a\"",
        ),
        (
            "unix:run/a",
            "the path of a unix socket is absolute | begin with a slash: \"unix:/run/app.sock\"",
        ),
        (
            "unix:@a",
            "abstract sockets are not supported | name a file",
        ),
        ("unix:/run/", "that is a directory"),
        (
            "-a.b:80",
            "that is neither an IP address nor a host name | labels of a-z 0-9 - _, with dots \
             between them",
        ),
    ] {
        let line = format!("address = {address:?}");
        let expected = format!("`address` is {address:?}: {expected}");
        assert_told("[[pool.server]]", &[(&line, &expected)]);
    }
    assert_told(
        "[[pool.server]]",
        &[(&long, &expect_long), (&label, &expect_label)],
    );
    for address in ["unix:/a", "[fe80::1%2]:80", "a_b.c-d.e.:80", "A:1"] {
        let text = file_with("[[pool.server]]", &format!("address = {address:?}"));
        assert_eq!(told(&text), [""; 0], "{address}");
    }
}

#[test]
fn names_and_references() {
    let twice = "[[pool.server]]\nname = \"s\"\naddress = \"10.0.0.2:80\"";
    let same = "[[pool.server]]\nname = \"t\"\naddress = \"10.0.0.1:80\"";
    assert_told(
        "[[pool.server]]",
        &[
            (
                "name = \"a b\"",
                "`name` is \"a b\", which has ' ' in it | a name consists of A-Z a-z 0-9 _ . -",
            ),
            (twice, "server \"s\" is defined twice, first in line 13"),
            (
                same,
                "another server of the pool has this address, in line 14",
            ),
            (
                "weight = 0",
                "no server of the pool can get sessions | give at least one a weight above 0",
            ),
            (
                "weight = \"3\"",
                "`weight` is a string, but takes a whole number from 0 to 65535 | leave the quotes \
                 out",
            ),
        ]
        .map(|(lines, expected)| (lines, expected)),
    );
    assert_told(
        "[[listener]]",
        &[
            (
                "pool = \"q\"",
                "`pool` is \"q\", and there is no such pool | did you mean \"p\"?",
            ),
            (
                "pool = \"other\"",
                "`pool` is \"other\", and there is no such pool | pools of this file: p",
            ),
            (
                "[[listener]]\nname = \"l\"\nlisten = \"0.0.0.0:81\"\npool = \"p\"",
                "listener \"l\" is defined twice, first in line 7",
            ),
            (
                "protocol = \"http\"",
                "`protocol` is \"http\", but takes \"tcp\" or \"mysql\"",
            ),
        ],
    );
    let unused = "[[pool]]\nname = \"q\"\nserver = [{ name = \"s\", address = \"a:1\" }]";
    assert_told(
        "[[pool.server]]",
        &[(unused, "no listener uses pool \"q\"")],
    );
    let again = "[[pool]]\nname = \"p\"\nserver = [{ name = \"s\", address = \"a:1\" }]";
    let told_twice = "pool \"p\" is defined twice, first in line 11";
    assert_told("[[pool.server]]", &[(again, told_twice)]);
}

#[test]
fn settings_of_pools() {
    assert_told(
        "[[pool]]",
        &[
            (
                "connect_timeout = \"6s\"",
                "`connect_timeout` is longer than `connect_deadline`, which is 5s | the deadline \
                 covers all tries of a session, so it is the longer one",
            ),
            (
                "retries = 8",
                "`retries` is 8, but takes a whole number from 0 to 7",
            ),
            (
                "idle_timeout = \"0s\"",
                "`idle_timeout` is \"0s\", but takes \"10ms\" to \"366d\"",
            ),
            (
                "keepalive_idle = \"1500ms\"",
                "`keepalive_idle` is \"1500ms\", but takes whole seconds | write \"1s\"",
            ),
            (
                "tcp_user_timeout = \"25d\"",
                "`tcp_user_timeout` is \"25d\", but takes \"10ms\" to \"24d\"",
            ),
            (
                "proxy = { version = 2 }",
                "unknown table `proxy` in [[pool]]",
            ),
            (
                "weight = 1",
                "unknown key `weight` in [[pool]] | that key belongs in [[pool.server]]",
            ),
        ],
    );
    let weights = "weight = 65535\n[[pool.server]]\nname = \"t\"\naddress = \"t:1\"\nweight = 2";
    let expected = "the pool's weights add up to 65537, and at most 65536 fit | use smaller \
                    weights, or weights with a common factor";
    assert_told("[[pool.server]]", &[(weights, expected)]);
    let common = weights.replace("weight = 2", "weight = 65535");
    assert_eq!(told(&file_with("[[pool.server]]", &common)), [""; 0]);
}

#[test]
fn settings_of_health_checks() {
    let http_only = "in HTTP checks only | add `type = \"http\"`, or leave it out";
    assert_told(
        "[pool.health_check]",
        &[
            (
                "host = \"a\"",
                &format!("`host` means something {http_only}"),
            ),
            (
                "type = \"tcp\"\nexpect = [200]",
                &format!("`expect` means something {http_only}"),
            ),
            (
                "tls = true",
                "`tls` takes a pool with a [pool.tls], and this one has none | add one, or leave \
                 it out",
            ),
            (
                "type = \"https\"",
                "`type` is \"https\", but takes \"tcp\", \"http\" or \"mysql\" | did you mean \
                 \"http\"?",
            ),
            (
                "type = \"http\"\npath = \"x\"",
                "`path` is \"x\", but a path begins with a slash | write \"/x\"",
            ),
            (
                "type = \"http\"\npath = \"/a b\"",
                "`path` is \"/a b\", which has ' ' in it | encode it with %",
            ),
            (
                "type = \"http\"\nhost = \"a\\r\\nb\"",
                "`host` contains control characters",
            ),
            (
                "type = \"http\"\nexpect = [99]",
                "`expect` is \"99\", but a status is from 100 to 599",
            ),
            (
                "type = \"http\"\nexpect = [\"300-200\"]",
                "`expect` is \"300-200\", which covers nothing | write \"200-300\"",
            ),
            (
                "type = \"http\"\nexpect = [\"2xx\"]",
                "`expect` is \"2xx\", but takes a status or a range of them, like 204 or \
                 \"200-399\"",
            ),
            (
                "port = 0",
                "`port` is 0, but takes a whole number from 1 to 65535",
            ),
            (
                "port = 8080\n[[pool.server]]\nname = \"u\"\naddress = \"unix:/u\"",
                "`port` cannot be checked on server \"u\", which is a unix socket | leave it out, \
                 or give that server a pool of its own",
            ),
            (
                "timeout = \"3s\"",
                "`timeout` is longer than `interval`, which is 2s | a check that is not answered \
                 delays the next one",
            ),
        ],
    );
}

/// A valid file with a mysql listener, with `pool` in its pool and `server` in its one server.
pub(super) fn mysql_file(pool: &str, server: &str) -> String {
    format!(
        "[[listener]]\nname = \"l\"\nlisten = \"0.0.0.0:80\"\nprotocol = \"mysql\"\n\
         pool = \"p\"\n[[pool]]\nname = \"p\"\n{pool}\n[[pool.server]]\nname = \"s\"\n\
         address = \"10.0.0.1:80\"\n{server}\n"
    )
}

fn assert_mysql_told(pool: &str, server: &str, expected: &[&str]) {
    let told = told(&mysql_file(pool, server));
    assert_eq!(told, expected, "{pool} {server}");
}

const PRIMARY: &str = "role = \"primary\"";
const MONITOR: &str = "monitor = { user = \"m\" }";

#[test]
fn where_mysql_is_spoken() {
    assert_mysql_told("", PRIMARY, &[]);
    let defer = "the greeting | leave it out: in this protocol, the server speaks first";
    let file = mysql_file("", PRIMARY).replacen("pool =", "defer_accept = true\npool =", 1);
    let expected = format!("`defer_accept` waits for a client that waits for {defer}");
    assert_eq!(told(&file), [expected]);

    let table = "[pool.mysql] stands in a pool that no mysql listener uses | set `protocol = \
                 \"mysql\"` on the pool's listener, or leave the table out";
    assert_told("[[pool]]", &[("mysql = {}", table)]);
    let role = "`role` is for pools behind a mysql listener, and none uses this pool | leave it \
                out, or set `protocol = \"mysql\"` on the pool's listener";
    assert_told("[[pool.server]]", &[(PRIMARY, role)]);

    let both = "[[listener]]\nname = \"t\"\nlisten = \"0.0.0.0:81\"\npool = \"p\"\n";
    let expected = "`pool` is \"p\", which the listener in line 4 uses for another protocol | \
                    pools of tcp and of mysql listeners differ in their settings: make two";
    let file = format!("{both}{}", mysql_file("", PRIMARY));
    assert_eq!(told(&file), [expected]);

    // What follows from a mistake in a listener is not told besides.
    for (from, to, expected) in [
        ("\"mysql\"", "\"mysq\"", "`protocol` is \"mysq\", but takes"),
        (
            "pool = \"p\"",
            "pool = \"pp\"",
            "`pool` is \"pp\", and there is no such pool",
        ),
    ] {
        let told = told(&mysql_file("mysql = {}", PRIMARY).replacen(from, to, 1));
        assert!(told.len() == 1 && told[0].starts_with(expected), "{told:?}");
    }
}

#[test]
fn roles_of_servers() {
    let missing = "[[pool.server]] has no `role` | add `role = \"primary\"` or `role = \
                   \"replica\"`, or have the servers asked: `roles = \"read_only\"` in \
                   [pool.mysql]";
    assert_mysql_told("", "", &[missing]);
    let no_primary = "the pool has no primary | give the server that takes writes `role = \
                      \"primary\"`";
    assert_mysql_told("", "role = \"replica\"", &[no_primary]);
    assert_mysql_told(
        "",
        "role = \"master\"",
        &["`role` is \"master\", but takes \"primary\" or \"replica\""],
    );
    let second = |first: &str, second: &str| {
        format!(
            "{PRIMARY}{first}\n[[pool.server]]\nname = \"t\"\naddress = \"10.0.0.2:80\"\n\
             {PRIMARY}{second}"
        )
    };
    let several = |regular| {
        format!(
            "the pool has several primaries (s, t), of which {regular} are no backup | one takes \
             the writes; add `backup = true` to those that stand in for it"
        )
    };
    let backup = "\nbackup = true";
    assert_mysql_told("", &second("", ""), &[&several(2)]);
    assert_mysql_told("", &second(backup, backup), &[&several(0)]);
    assert_mysql_told("", &second("", backup), &[]);
    let weightless = "\nweight = 0\n[[pool.server]]\nname = \"t\"\naddress = \"10.0.0.2:80\"\n\
                      role = \"replica\"";
    let expected = "no primary of the pool can get sessions | give it a weight above 0";
    assert_mysql_told("", &format!("{PRIMARY}{weightless}"), &[expected]);

    let followed = format!("[pool.mysql]\nroles = \"read_only\"\n{MONITOR}");
    assert_mysql_told(&followed, "", &[]);
    let beside = "`role` stands beside `roles = \"read_only\"`, which asks the servers | leave it \
                  out, or set `roles = \"configured\"` in [pool.mysql]";
    assert_mysql_told(&followed, PRIMARY, &[beside]);
    let monitor = "takes an account to ask the servers with | add a [pool.mysql.monitor] with a \
                   `user`";
    let expected = format!("`roles` {monitor}");
    assert_mysql_told("mysql.roles = \"read_only\"", "", &[&expected]);
    let expected = format!("`max_replication_lag` {monitor}");
    assert_mysql_told("mysql.max_replication_lag = \"5s\"", PRIMARY, &[&expected]);
}

#[test]
fn settings_of_mysql_pools() {
    for (line, expected) in [
        (
            "read_after_write = \"on\"",
            "`read_after_write` is \"on\", but takes \"off\", \"gtid\" or a duration",
        ),
        (
            "read_after_write = 5",
            "`read_after_write` is 5, without a unit | add a unit: \"5s\" for seconds",
        ),
        (
            "classify_bytes_max = 100",
            "`classify_bytes_max` is 100, but takes a whole number from 1024 to 1048576",
        ),
        (
            "replica_login_timeout = \"11s\"",
            "`replica_login_timeout` is longer than `login_timeout`, which is 10s | waiting for \
             the replica is a part of the login, so it is the shorter one",
        ),
        (
            "primary_only_users = [\"a\", \"a\"]",
            "`primary_only_users` names \"a\" twice",
        ),
        (
            "monitor = {}",
            "[pool.mysql.monitor] has no `user` | add `user = \"...\"`: an account on every \
             server of the pool",
        ),
        (
            "local_infil = true",
            "unknown key `local_infil` in [pool.mysql] | did you mean `local_infile`?",
        ),
    ] {
        assert_mysql_told(&format!("[pool.mysql]\n{line}"), PRIMARY, &[expected]);
    }
    let check = "`type` leaves a handshake of a MySQL server unfinished at every check, and \
                 servers block hosts that do so (max_connect_errors) | leave it out, or name the \
                 `port` of something else that answers for the server";
    assert_mysql_told("health_check = { type = \"tcp\" }", PRIMARY, &[check]);
    assert_mysql_told(
        "health_check = { type = \"http\", port = 9200 }",
        PRIMARY,
        &[],
    );
    let empty = told(&file_with("[statement_log]", ""));
    assert_eq!(
        empty,
        ["[statement_log] stays empty: no listener speaks mysql"]
    );
}

#[test]
fn accounts_and_their_secrets() {
    let inline = "unknown key `password` in [[pool.mysql.user]] | a password does not stand in the \
                  file: use `password_file`, or `password_env` for an environment variable";
    for (lines, expected) in [
        ("password = \"hunter2\"", inline),
        (
            "",
            "[[pool.mysql.user]] has no secret | add `password_file`, `password_env` or \
             `native_hash`",
        ),
        (
            "password_file = \"/a\"\npassword_env = \"A\"",
            "`password_env` stands beside `password_file` | leave one of them out",
        ),
        (
            "password_env = \"A\"\nnative_hash = \"*14e65567abdb5135d0cfd9a70b3032c179a49ee7\"",
            "`native_hash` stands beside a password | leave it out: a password is more than its \
             hash",
        ),
        (
            "native_hash = \"hunter2\"",
            "`native_hash` is not \"*\" and 40 hexadecimal digits | copy it from `SHOW CREATE \
             USER` or mysql.user",
        ),
        (
            "password_env = \"A=hunter2\"",
            "`password_env` has an equals sign in it | name the variable; its value stays in the \
             environment",
        ),
        (
            "password_env = \"A\"\n[[pool.mysql.user]]\nname = \"a\"\npassword_env = \"B\"",
            "user \"a\" is defined twice, first in line 9",
        ),
    ] {
        let users = format!("[[pool.mysql.user]]\nname = \"a\"\n{lines}");
        assert_mysql_told(&users, PRIMARY, &[expected]);
    }
    for secret in [
        "password = \"hunter2\"",
        "native_hash = \"hunter2\"",
        "password = \"hunter2",
    ] {
        let users = format!("[[pool.mysql.user]]\nname = \"a\"\n{secret}");
        let errors = parse(&mysql_file(&users, PRIMARY)).unwrap_err().to_string();
        assert!(!errors.contains("hunter2"), "{errors}");
    }
}

#[test]
fn tables_with_too_many_or_too_few_brackets() {
    let text = "[[log]]\n[listener]\nname = \"l\"\nlisten = \"0.0.0.0:80\"\npool = \"p\"\n\
                [[pool]]\nname = \"p\"\nserver = { name = \"s\", address = \"a:1\" }\n";
    let brackets = |key, help| format!("`{key}` has the wrong number of brackets | write {help}");
    assert_eq!(
        told(text),
        [
            brackets("log", "[log]: there can be only one"),
            brackets("listener", "[[listener]]: there can be several"),
            brackets("server", "[[pool.server]]: there can be several"),
        ]
    );
    assert_eq!(
        told(&format!(
            "process = 1\n{}",
            file_with("[log]", "").replace("[process]\n", "")
        )),
        ["`process` is a whole number, but names a table | write [process]"]
    );
}

#[test]
fn what_is_missing() {
    let no_listener = "the file has no [[listener]] | add one: a name, an address to listen on, \
                       and the pool behind it";
    assert_eq!(told(""), [no_listener]);
    assert_eq!(told("listener = []\n"), [no_listener]);
    assert_eq!(
        told("[admin]\n[[listener]]\n[[pool]]\n[[pool]]\nname = \"p\"\n[[pool.server]]\n"),
        [
            "[admin] has no `listen` | add `listen = \"127.0.0.1:9900\"`",
            "[[listener]] has no `name` | add `name = \"...\"`: logs and metrics call the listener \
             by it",
            "[[listener]] has no `listen` | add `listen = [\"0.0.0.0:80\"]`, or another address",
            "[[listener]] has no `pool` | add `pool = \"...\"`: the name of the [[pool]] that \
             serves it",
            "[[pool]] has no `name` | add `name = \"...\"`: logs and metrics call the pool by it",
            "the pool has no server | add a [[pool.server]] below it, with a name and an address",
            "[[pool.server]] has no `name` | add `name = \"...\"`: logs and metrics call the \
             server by it",
            "[[pool.server]] has no `address` | add `address = \"10.0.0.11:80\"`, or wherever the \
             server is",
        ]
        .map(str::to_owned)
    );
}

#[test]
fn syntax_errors_stand_beside_others_and_hide_what_follows_from_them() {
    let text = "[process]\nworkers = 0\n[log]\nlevel = \"info\nformat = \"txt\"\n[[listener]]\n\
                listen = [\"0.0.0.0:80\"\npool = \"web\"\n[[pool]]\nfoo = 1\n";
    let errors = parse(text).unwrap_err();
    let lines: Vec<_> = errors.iter().map(|e| e.position.line).collect();
    assert_eq!(lines, [2, 4, 5, 8], "{errors}");
    let expected = "8:1: error: missing comma between array elements, expected `,`\n  |\n\
                    8 | pool = \"web\"\n  | ^\n  = help: a bracket before it is never closed";
    assert_eq!(errors.iter().last().unwrap().to_string(), expected);
    let open_header = told("[process\nworkerz = 0\n[[listener]]\npool = \"q\"\n");
    assert_eq!(open_header, ["unclosed table, expected `]`"]);
}

/// Every key gets a value that none takes; a key that is in the schema and never read would pass.
#[test]
fn every_known_key_is_read() {
    let tables = schema::ALL
        .iter()
        .filter(|t| t.header != schema::ROOT.header);
    for table @ Schema { header, keys } in tables {
        for key in keys.iter().filter(|key| !schema::is_table(table, key)) {
            let told = told(&file_with(header, &format!("{key} = {{}}")));
            let refusal = format!("`{key}` is a table");
            assert!(
                told.iter().any(|t| t.starts_with(&refusal)),
                "{header} {key}: {told:?}"
            );
        }
    }
}
