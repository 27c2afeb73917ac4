//! The command line from outside: what each command says, and the exit code it says it with.

use std::fs;
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Command, Output};

use tempfile::TempDir;

/// Runs the program until it ends.
fn ringway(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_ringway"))
        .args(arguments)
        .output()
        .expect("the program can be started")
}

/// A configuration file in a directory of its own.
struct ConfigFile {
    _directory: TempDir,
    path: PathBuf,
}

impl ConfigFile {
    fn new(text: &str) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("ringway.toml");
        fs::write(&path, text).expect("a file");
        Self {
            _directory: directory,
            path,
        }
    }

    fn path(&self) -> &str {
        self.path.to_str().expect("a path in UTF-8")
    }
}

fn config(listen: &str, server: &str) -> String {
    format!(
        "[[listener]]\nname = \"web\"\nlisten = [\"{listen}\"]\npool = \"web\"\n\
         [[pool]]\nname = \"web\"\n\
         [[pool.server]]\nname = \"web-01\"\naddress = \"{server}\"\n"
    )
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn version_and_help_end_well_and_every_help_shows_an_example() {
    let version = ringway(&["--version"]);
    assert!(version.status.success());
    assert_eq!(
        stdout(&version),
        format!("ringway {}\n", env!("CARGO_PKG_VERSION"))
    );
    for arguments in [
        &["--help"][..],
        &["run", "--help"],
        &["check", "--help"],
        &["demo", "--help"],
    ] {
        let help = ringway(arguments);
        assert!(help.status.success(), "{arguments:?}");
        assert!(stdout(&help).contains("Example"), "{arguments:?}");
    }
}

#[test]
fn wrong_usage_ends_with_2() {
    for arguments in [
        &[][..],
        &["walk"],
        &["run"],
        &["check"],
        &["run", "--config"],
        &["run", "--config", "a.toml", "--fast"],
    ] {
        let output = ringway(arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(stderr(&output).contains("--help"), "{arguments:?}");
    }
}

#[test]
fn check_says_what_a_good_file_has() {
    let file = ConfigFile::new(&config("127.0.0.1:18000", "localhost:80"));
    let output = ringway(&["check", "-c", file.path()]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let said = stdout(&output);
    assert!(
        said.starts_with(&format!("{}: ok\n", file.path())),
        "{said}"
    );
    assert!(said.contains("1 listener, 1 pool, "), "{said}");
}

#[test]
fn check_opens_nothing() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("an address").to_string();
    let file = ConfigFile::new(&config(&address, "127.0.0.1:80"));
    assert!(ringway(&["check", "-c", file.path()]).status.success());
}

#[test]
fn a_bad_file_ends_with_1_and_all_its_errors() {
    let text = config("127.0.0.1:18000", "127.0.0.1:80")
        .replace("pool = \"web\"", "pool = \"wbe\"\nbaklog = 3");
    let file = ConfigFile::new(&text);
    for command in ["check", "run"] {
        let output = ringway(&[command, "--config", file.path()]);
        assert_eq!(output.status.code(), Some(1), "{command}");
        let said = stderr(&output);
        assert!(said.contains("wbe") && said.contains("baklog"), "{said}");
        assert!(said.contains(&format!("{}:5:", file.path())), "{said}");
        assert_eq!(stdout(&output), "");
    }
}

#[test]
fn a_file_that_is_not_there_ends_with_1() {
    for command in ["check", "run"] {
        let output = ringway(&[command, "--config", "/nonexistent/ringway.toml"]);
        assert_eq!(output.status.code(), Some(1), "{command}");
        assert!(stderr(&output).contains("/nonexistent/ringway.toml"));
    }
}

#[test]
fn a_name_that_does_not_resolve_ends_with_1_and_its_place_in_the_file() {
    let file = ConfigFile::new(&config("127.0.0.1:18000", "nowhere.invalid:80"));
    for command in ["check", "run"] {
        let output = ringway(&[command, "--config", file.path()]);
        assert_eq!(output.status.code(), Some(1), "{command}");
        let said = stderr(&output);
        assert!(said.contains("nowhere.invalid"), "{said}");
        assert!(said.contains(&format!("{}:9:", file.path())), "{said}");
    }
}

/// A mysql listener with a primary and a replica; `mysql` stands in its pool.
fn mysql_config(mysql: &str) -> String {
    let server = |name: &str, address, role| {
        format!("[[pool.server]]\nname = \"{name}\"\naddress = \"127.0.0.1:{address}\"\n{role}\n")
    };
    let listener = config("127.0.0.1:18000", "127.0.0.1:3306").replacen(
        "pool = ",
        "protocol = \"mysql\"\npool = ",
        1,
    );
    format!(
        "{listener}role = \"primary\"\n{}{}{mysql}",
        server("web-02", 3307, "role = \"primary\"\nbackup = true"),
        server("web-03", 3308, "role = \"replica\""),
    )
}

#[test]
fn check_says_what_a_mysql_listener_sends_where() {
    let file = ConfigFile::new(&mysql_config(""));
    let output = ringway(&["check", "-c", file.path()]);
    assert!(output.status.success(), "{}", stderr(&output));
    let expected = "listener web splits statements over pool web: writes go to web-01 \
                    (127.0.0.1:3306), web-02 (127.0.0.1:3307, backup), reads to web-03 \
                    (127.0.0.1:3308)\n";
    assert!(stdout(&output).ends_with(expected), "{}", stdout(&output));

    let alone = mysql_config("").replace("\"replica\"", "\"primary\"\nbackup = true");
    let file = ConfigFile::new(&alone);
    let output = ringway(&["check", "-c", file.path()]);
    let expected = "reads, too, for want of a replica\n";
    assert!(stdout(&output).ends_with(expected), "{}", stdout(&output));

    let followed = mysql_config("[pool.mysql]\nroles = \"read_only\"\nmonitor.user = \"m\"\n");
    let is_role = |line: &&str| !line.starts_with("role = ");
    let followed: Vec<_> = followed.lines().filter(is_role).collect();
    let file = ConfigFile::new(&followed.join("\n"));
    let output = ringway(&["check", "-c", file.path()]);
    let expected = "over pool web: the roles follow read_only on each server\n";
    assert!(stdout(&output).ends_with(expected), "{}", stdout(&output));
}

#[test]
fn passwords_that_cannot_be_read_end_with_1_and_their_places_in_the_file() {
    let users = "[[pool.mysql.user]]\nname = \"a\"\npassword_file = \"/nonexistent/a\"\n\
                 [[pool.mysql.user]]\nname = \"b\"\npassword_env = \"RINGWAY_TEST_OF_NOTHING\"\n";
    let text = mysql_config(users).replacen("127.0.0.1:3306", "nowhere.invalid:3306", 1);
    let line = |what: &str| text.lines().position(|line| line.contains(what)).unwrap() + 1;
    let file = ConfigFile::new(&text);
    for command in ["check", "run"] {
        let output = ringway(&[command, "--config", file.path()]);
        assert_eq!(output.status.code(), Some(1), "{command}");
        let said = stderr(&output);
        for (place, what) in [
            ("nowhere", "server web-01: nowhere.invalid does not resolve"),
            (
                "nonexistent",
                "user a: password file /nonexistent/a cannot be read",
            ),
            (
                "OF_NOTHING",
                "user b: environment variable RINGWAY_TEST_OF_NOTHING is not set",
            ),
        ] {
            assert!(
                said.contains(&format!("{}:{}:", file.path(), line(place))),
                "{said}"
            );
            assert!(said.contains(what), "{said}");
        }
    }
}

#[test]
fn a_password_in_the_file_is_refused_and_not_repeated() {
    let user = "[[pool.mysql.user]]\nname = \"a\"\npassword = \"hunter2\"\n";
    let file = ConfigFile::new(&mysql_config(user));
    let output = ringway(&["check", "-c", file.path()]);
    assert_eq!(output.status.code(), Some(1));
    let said = stderr(&output);
    assert!(said.contains("use `password_file`"), "{said}");
    assert!(!said.contains("hunter2"), "{said}");
}

#[test]
fn a_port_in_use_ends_with_71_and_who_has_it() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("an address").to_string();
    let file = ConfigFile::new(&config(&address, "127.0.0.1:80"));
    let output = ringway(&["run", "-c", file.path()]);
    assert_eq!(output.status.code(), Some(71), "{}", stderr(&output));
    let said = stderr(&output);
    assert!(
        said.contains("listener \"web\"") && said.contains(&address),
        "{said}"
    );
    assert!(
        said.contains(&format!("(pid {})", std::process::id())),
        "{said}"
    );
}

#[test]
fn a_directory_that_is_not_there_for_a_unix_socket_ends_with_71() {
    let file = ConfigFile::new(&config("unix:/nonexistent/web.sock", "127.0.0.1:80"));
    let output = ringway(&["run", "-c", file.path()]);
    assert_eq!(output.status.code(), Some(71), "{}", stderr(&output));
    assert!(stderr(&output).contains("/nonexistent/web.sock"));
}
