//! Differences as the log shows them.

use crate::config::{Config, Difference, diff};

const OLD: &str = r#"
[process]
workers = 2

[[listener]]
name = "web"
listen = ["10.0.0.1:80", "10.0.0.1:81"]
pool = "web"

[[listener]]
name = "old"
listen = "10.0.0.1:90"
pool = "web"

[[pool]]
name = "web"
  [[pool.server]]
  name = "web-01"
  address = "10.0.0.11:80"
  [[pool.server]]
  name = "web-02"
  address = "10.0.0.12:80"
"#;

fn config(text: &str) -> Config {
    Config::parse(text).unwrap()
}

/// What replacing `from` by `to` in the file changes.
fn difference(changes: &[(&str, &str)]) -> Difference {
    let mut text = OLD.to_owned();
    for (from, to) in changes {
        assert!(text.contains(from), "{from}");
        text = text.replace(from, to);
    }
    diff(&config(OLD), &config(&text))
}

fn rendered(changes: &[(&str, &str)]) -> String {
    difference(changes).render(|server| match server.name.as_str() {
        "web-01" => 1,
        "web-02" => 41,
        _ => 0,
    })
}

#[test]
fn nothing_changed_says_so() {
    assert_eq!(rendered(&[]), "no changes");
    assert_eq!(
        rendered(&[("\nworkers", "\n\n# a comment\nworkers")]),
        "no changes"
    );
}

#[test]
fn a_server_that_comes_and_one_that_goes() {
    let web_03 = (
        "name = \"web-02\"\n  address = \"10.0.0.12:80\"",
        "name = \"web-03\"\n  address = \"10.0.0.13:80\"",
    );
    let weight = ("11:80\"\n", "11:80\"\n  weight = 3\n");
    assert_eq!(
        rendered(&[web_03, weight]),
        "pool web: + web-03 (10.0.0.13:80), - web-02 (41 sessions drain), web-01 weight 1 -> 3"
    );
}

#[test]
fn a_server_with_another_address_is_another_server() {
    assert_eq!(
        rendered(&[("10.0.0.11:80", "10.0.0.11:81")]),
        "pool web: + web-01 (10.0.0.11:81), - web-01 (1 session drains)"
    );
}

#[test]
fn listeners_open_and_close_addresses() {
    assert_eq!(
        rendered(&[
            ("10.0.0.1:81", "10.0.0.1:82"),
            (
                "\"old\"\nlisten = \"10.0.0.1:90\"",
                "\"new\"\nlisten = \"10.0.0.1:91\""
            )
        ]),
        "listener web opened on 10.0.0.1:82, closed on 10.0.0.1:81; listener new opened on \
         10.0.0.1:91; listener old closed on 10.0.0.1:90"
    );
}

#[test]
fn pools_come_and_go_with_their_servers() {
    assert_eq!(
        rendered(&[
            ("\"web\"\nlisten", "\"x\"\nlisten"),
            ("= \"web\"", "= \"app\"")
        ]),
        "pool app added: + web-01 (10.0.0.11:80), + web-02 (10.0.0.12:80); pool web removed: - \
         web-01 (1 session drains), - web-02 (41 sessions drain); listener x takes over \
         10.0.0.1:80, 10.0.0.1:81; listener old pool web -> app; listener web hands over \
         10.0.0.1:80, 10.0.0.1:81"
    );
}

#[test]
fn settings_of_the_process_have_their_table_in_front() {
    let changes = [
        (
            "workers = 2",
            "workers = 4\ndrain_timeout = \"90s\"\n[admin]\nlisten = \"127.0.0.1:9900\"",
        ),
        (
            "[[pool]]\n",
            "[[pool]]\nmax_fails = 5\nhealth_check = { interval = \"1s\" }\n",
        ),
    ];
    assert_eq!(
        rendered(&changes),
        "pool web: max_fails 3 -> 5, health_check none -> tcp; process.workers 2 -> 4; \
         process.drain_timeout 30s -> 90s; admin.listen none -> 127.0.0.1:9900"
    );
}

#[test]
fn an_address_that_goes_from_one_listener_to_another_stays_open() {
    assert_eq!(
        rendered(&[("name = \"old\"", "name = \"new\"")]),
        "listener new takes over 10.0.0.1:90; listener old hands over 10.0.0.1:90"
    );
    assert_eq!(
        rendered(&[
            ("\"10.0.0.1:90\"", "[\"10.0.0.1:81\", \"10.0.0.1:91\"]"),
            ("\"10.0.0.1:80\", \"10.0.0.1:81\"", "\"10.0.0.1:80\""),
        ]),
        "listener web hands over 10.0.0.1:81; \
         listener old opened on 10.0.0.1:91, takes over 10.0.0.1:81, closed on 10.0.0.1:90"
    );
}

const MYSQL: &str = r#"
[[listener]]
name = "db"
listen = "10.0.0.1:3306"
protocol = "mysql"
pool = "db"

[[pool]]
name = "db"
  [pool.mysql]
  primary_only_users = ["b", "a"]
  [[pool.mysql.user]]
  name = "web"
  password_env = "WEB"
  [[pool.mysql.user]]
  name = "old"
  native_hash = "*14e65567abdb5135d0cfd9a70b3032c179a49ee7"
  [[pool.server]]
  name = "db-01"
  address = "10.0.0.21:3306"
  role = "primary"
  [[pool.server]]
  name = "db-02"
  address = "10.0.0.22:3306"
  role = "replica"
"#;

fn mysql_rendered(changes: &[(&str, &str)]) -> String {
    let mut text = MYSQL.to_owned();
    for (from, to) in changes {
        assert!(text.contains(from), "{from}");
        text = text.replace(from, to);
    }
    diff(&config(MYSQL), &config(&text)).render(|_| 0)
}

#[test]
fn roles_that_change_places() {
    let changes = [
        ("\"primary\"", "\"x\""),
        ("\"replica\"", "\"primary\""),
        ("\"x\"", "\"replica\""),
    ];
    assert_eq!(
        mysql_rendered(&changes),
        "pool db: db-01 role primary -> replica, db-02 role replica -> primary"
    );
}

#[test]
fn accounts_are_told_by_name_and_their_secrets_not_at_all() {
    let changes = [
        ("\"old\"", "\"new\""),
        ("\"WEB\"", "\"WEB_2\""),
        ("[\"b\", \"a\"]", "[\"a\", \"b\", \"c\"]\ncalls_pin = true"),
    ];
    assert_eq!(
        mysql_rendered(&changes),
        "pool db: mysql.calls_pin false -> true, mysql.primary_only_users a,b -> a,b,c, user web: \
         secret, + user new, - user old"
    );
    let other_hash = mysql_rendered(&[("a49ee7", "a49ee8")]);
    assert_eq!(other_hash, "pool db: user old: secret");
    assert_eq!(
        mysql_rendered(&[("[\"b\", \"a\"]", "[\"a\", \"b\"]")]),
        "no changes"
    );
}

#[test]
fn a_listener_that_begins_to_split_changes_its_pool() {
    let plain = config(
        "[[listener]]\nname = \"db\"\nlisten = \"10.0.0.1:3306\"\npool = \"db\"\n\
         [[pool]]\nname = \"db\"\nhealth_check = {}\n\
         server = [{ name = \"db-01\", address = \"10.0.0.21:3306\" }, \
         { name = \"db-02\", address = \"10.0.0.22:3306\" }]\n",
    );
    let rendered = diff(&plain, &config(MYSQL)).render(|_| 0);
    assert_eq!(
        rendered,
        "pool db: db-01 role none -> primary, db-02 role none -> replica, idle_timeout 5m -> 8h, \
         tcp_user_timeout 5m -> 8h, health_check.type tcp -> mysql, mysql.roles none -> \
         configured, + user web, + user old; listener db protocol tcp -> mysql"
    );
}
