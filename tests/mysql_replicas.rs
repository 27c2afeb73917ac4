//! A primary with two replicas: sessions are spread over them as the pool's algorithm says, one
//! takes the place of the other, and sysbench works with all three.

mod support;

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use self::support::{
    Balancer, Login, PRIMARY, REPLICA, SECOND_REPLICA, SqlClient, Trio, sysbench, until,
};

const REPLICAS: [&str; 2] = [REPLICA, SECOND_REPLICA];

/// Where they read now, one after the other.
#[track_caller]
fn places(sessions: &mut [SqlClient]) -> Vec<String> {
    sessions.iter_mut().map(SqlClient::reads_at).collect()
}

#[test]
fn sessions_are_spread_over_the_replicas_and_each_keeps_its_own() {
    let trio = Trio::in_turn();
    let balancer = Balancer::start(&trio.config());
    let connect = |_| SqlClient::connect(balancer.address());
    let mut sessions: Vec<_> = (0..8).map(connect).collect();
    let before = places(&mut sessions);
    for replica in REPLICAS {
        let sessions = before.iter().filter(|place| *place == replica);
        assert_eq!(sessions.count(), 4, "in turn: {before:?}");
    }
    for session in &mut sessions {
        assert_eq!(
            session.row("/* route:primary */ SELECT @@server_id"),
            PRIMARY
        );
    }
    assert_eq!(places(&mut sessions), before);
}

#[test]
fn with_the_algorithm_source_a_client_reads_at_the_same_replica_each_time() {
    /// So many that it is out of the question that all of them prefer the same one of two.
    const CLIENTS: u8 = 30;
    let trio = Trio::in_turn();
    let balancer = Balancer::start(&trio.config().pool("algorithm = \"source\""));
    let place = |client: u8| {
        let source = Ipv4Addr::new(127, 0, 1, client);
        let connected = Login::default().connect_from(source, balancer.address());
        connected.unwrap().reads_at()
    };
    let first: Vec<_> = (1..=CLIENTS).map(place).collect();
    for replica in REPLICAS {
        assert!(first.iter().any(|place| place == replica), "{first:?}");
    }
    for _ in 0..2 {
        let again: Vec<_> = (1..=CLIENTS).map(place).collect();
        assert_eq!(again, first);
    }
}

#[test]
fn another_replica_takes_the_place_of_one_that_is_lost() {
    let mut trio = Trio::in_turn();
    let balancer = Balancer::start(&trio.and_second_replica(trio.pair.config_with_account()));
    let mut session = SqlClient::connect(balancer.address());
    session.run(&["SET @a = 7"]);
    let own = session.reads_at();
    let other = REPLICAS
        .into_iter()
        .find(|replica| *replica != own)
        .unwrap();
    trio.replica_mut(&own).kill();
    until("the other one has its place, and its state", || {
        session.row("SELECT @a, @@server_id") == format!("7 {other}")
    });
    trio.replica_mut(&own).start_again();
    trio.replicate();
}

#[test]
fn a_session_whose_password_nobody_knows_gets_another_replica_when_it_connects_anew() {
    let mut trio = Trio::in_turn();
    let balancer = Balancer::start(&trio.config());
    trio.second_replica.kill();
    for _ in 0..6 {
        assert_eq!(SqlClient::connect(balancer.address()).reads_at(), REPLICA);
    }
    trio.second_replica.start_again();
    until("sessions read there again", || {
        SqlClient::connect(balancer.address()).reads_at() == SECOND_REPLICA
    });
    trio.replicate();
}

#[test]
fn a_session_whose_password_nobody_knows_asks_no_other_replica_when_it_loses_its_own() {
    let mut trio = Trio::in_turn();
    let balancer = Balancer::start(&trio.config());
    let mut session = SqlClient::connect(balancer.address());
    let own = session.reads_at();
    trio.replica_mut(&own).kill();
    until("reads go to the primary", || session.reads_at() == PRIMARY);
    // It could not log in at the other one, which would hold a login against ringway that ends so.
    let other = if own == REPLICA { "s2" } else { "s1" };
    let metrics = balancer.metrics();
    let connected = metrics.sum("ringway_server_connections", &[("server", other)]);
    assert_eq!(connected, 0.0);
    trio.replica_mut(&own).start_again();
    trio.replicate();
}

#[test]
fn a_replica_that_is_full_is_left_alone_until_it_lets_somebody_in() {
    const MAX_FAILS: f64 = 3.0;
    let trio = Trio::in_turn();
    let second = &trio.second_replica;
    second.sql("SET GLOBAL max_connections = 10");
    let mut crowd = Vec::new();
    while let Ok(one_more) = Login::default().connect(second.address()) {
        crowd.push(one_more);
    }

    let balancer = Balancer::start(&trio.config().pool("fail_timeout = \"1h\""));
    let turned_away = |balancer: &Balancer| {
        let labels = [("server", "s2"), ("reason", "turned_away")];
        balancer
            .metrics()
            .sum("ringway_connect_failures_total", &labels)
    };
    let ask = || SqlClient::connect(balancer.address()).reads_at();
    let places: Vec<_> = (0..12).map(|_| ask()).collect();
    let on_primary = places.iter().filter(|place| *place == PRIMARY);
    assert_eq!(on_primary.count() as f64, MAX_FAILS, "{places:?}");
    assert_eq!(turned_away(&balancer), MAX_FAILS, "nobody asks it any more");
    balancer.wait_for_log("connect failures: turned_away");

    let balancer = Balancer::start(&trio.config().pool("fail_timeout = \"50ms\""));
    let reads_at = |place| SqlClient::connect(balancer.address()).reads_at() == place;
    until("it is left alone", || {
        reads_at(REPLICA) && balancer.log().contains("left alone")
    });
    drop(crowd);
    until("it is read again", || reads_at(SECOND_REPLICA));
    balancer.wait_for_log("takes connections again");
    second.sql("SET GLOBAL max_connections = 151");
}

/// How often each server has run these statements since it was started.
fn counted(trio: &Trio, statement: &str) -> [u64; 3] {
    let sql = format!("SHOW GLOBAL STATUS LIKE 'Com_{statement}'");
    trio.servers().map(|server| {
        let told = server.sql(&sql);
        let count = told.split_whitespace().last();
        count.and_then(|count| count.parse().ok()).expect("a count")
    })
}

#[test]
fn sysbench_works_without_an_error_and_every_server_takes_its_part() {
    let trio = Trio::in_turn();
    let balancer = Balancer::start(&trio.config());
    sysbench(balancer.address(), &["prepare"]);
    trio.replicate();
    for mode in ["--db-ps-mode=disable", "--db-ps-mode=auto"] {
        let before = [counted(&trio, "select"), counted(&trio, "update")];
        let options = [
            // Deleted and inserted again by several at once, a row is there twice or not at all.
            "--delete_inserts=0",
            "--skip-trx=on",
            "--threads=4",
            "--time=2",
            mode,
            "run",
        ];
        let report = sysbench(balancer.address(), &options);
        let figures: BTreeMap<_, _> = report
            .lines()
            .filter_map(|line| line.trim().split_once(':'))
            .collect();
        let figure = |name: &str| {
            let word = figures[name].split_whitespace().next();
            word.and_then(|word| word.parse::<u64>().ok())
                .unwrap_or_else(|| panic!("{report}"))
        };
        assert_eq!(figure("ignored errors"), 0, "{report}");
        assert_eq!(figure("reconnects"), 0, "{report}");
        assert!(figure("read") > 0 && figure("write") > 0, "{report}");

        let after = [counted(&trio, "select"), counted(&trio, "update")];
        let [selects, updates] =
            [0, 1].map(|of| [0, 1, 2].map(|server| after[of][server] - before[of][server]));
        let [of_primary, of_replicas @ ..] = selects;
        assert!(
            of_primary < 10,
            "{mode}: {selects:?}, those of the tests alone"
        );
        assert!(
            of_replicas.iter().all(|&count| count > 100),
            "{mode}: {selects:?}"
        );
        assert_eq!(of_replicas.iter().sum::<u64>(), figure("read"), "{mode}");
        assert_eq!(updates[0], figure("write"), "{mode}");
    }
    trio.pair.primary.sql("DROP TABLE shop.sbtest1");
    trio.replicate();
}

#[test]
fn a_large_result_goes_through_pipes() {
    const ROW: usize = 8 << 20;
    let trio = Trio::in_turn();
    let balancer = Balancer::start(&trio.config());
    let spliced = || {
        balancer
            .metrics()
            .sum("ringway_worker_splice_bytes_total", &[])
    };
    let mut session = SqlClient::connect(balancer.address());
    session.run(&["SELECT 1"]);
    assert_eq!(spliced(), 0.0, "a small one does not");
    for (hint, place) in [("replica", None), ("primary", Some(PRIMARY))] {
        let before = spliced();
        let sql = format!("/* route:{hint} */ SELECT REPEAT(@@server_id, {ROW}) FROM seq_1_to_4");
        let rows = session.rows(&sql);
        assert_eq!(rows.len(), 4);
        for row in rows {
            let value = row[0].as_deref().unwrap();
            assert_eq!(value.len(), ROW);
            let one = &value[..1];
            assert!(
                place.map_or(REPLICAS.contains(&one), |place| one == place),
                "{hint}: {one}"
            );
            assert!(value == one.repeat(ROW));
        }
        let grown = spliced() - before;
        assert!(
            grown > 2.0 * ROW as f64,
            "{hint}: {grown} bytes went through pipes"
        );
    }
}
