//! Peers that break off in the middle of a packet, or stop there and stay: at every byte of what
//! they say, nobody else is held up, nobody gets what is not his, and there is an end to it.

mod support;

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::thread;

use self::support::rogue::{one_row, packet};
use self::support::sql_client::commands;
use self::support::{
    Balancer, Config, Login, PRIMARY, Pair, Part, REPLICA, Rogue, RunningRogue, SqlClient,
    SqlError, Stop, until,
};

/// `CR_SERVER_LOST`, and what a login that fails is told (`ER_UNKNOWN_ERROR`).
const LOST: u16 = 2013;
const NO_LOGIN: u16 = 1105;

/// A primary and a replica that name themselves, whatever they are asked.
struct Rogues {
    primary: RunningRogue,
    replica: RunningRogue,
    /// Where they are looked after: no check takes what is meant for a session.
    elsewhere: TcpListener,
}

impl Rogues {
    fn start() -> Self {
        let [primary, replica] = [PRIMARY, REPLICA].map(|id| rogue(id).start());
        Self {
            primary,
            replica,
            elsewhere: TcpListener::bind("127.0.0.1:0").unwrap(),
        }
    }

    fn balancer(&self, adapt: impl Fn(Config) -> Config) -> Balancer {
        let config = Config::mysql(self.primary.address, self.replica.address);
        Balancer::start(&adapt(config.checked_at(&self.elsewhere)))
    }
}

fn rogue(id: &str) -> Rogue {
    Rogue::answering(&one_row(id))
}

/// A stop at each byte of a part, before the first one included.
fn stops(part: Part, stays: bool) -> impl Iterator<Item = Stop> {
    (0..rogue(PRIMARY).len(part)).map(move |after| Stop { part, after, stays })
}

/// Payloads of the packets of a reply.
fn payloads(mut bytes: &[u8]) -> Vec<Vec<u8>> {
    let mut all = Vec::new();
    while let Some((header, rest)) = bytes.split_first_chunk::<4>() {
        let len = u32::from_le_bytes([header[0], header[1], header[2], 0]) as usize;
        let Some((payload, rest)) = rest.split_at_checked(len) else {
            break;
        };
        all.push(payload.to_vec());
        bytes = rest;
    }
    all
}

#[test]
fn a_server_that_is_lost_at_any_byte_of_a_reply_leaves_no_mixture_and_runs_nothing_twice() {
    let servers = Rogues::start();
    let balancer = servers.balancer(|config| config);
    let reply = one_row(REPLICA);
    for stop in stops(Part::Answer, false) {
        servers.replica.stops([stop]);
        let mut client = SqlClient::connect(balancer.address());
        client.send("SELECT @@server_id");
        if stop.after == 0 {
            // Nothing had come: the primary answers in its place.
            assert_eq!(client.results().unwrap(), [[Some(PRIMARY.to_owned())]]);
            continue;
        }
        let (heard, error) = packets_until_error(&mut client);
        let whole = payloads(&reply[..stop.after]);
        assert!(whole.starts_with(&heard), "{stop:?}: {heard:?}");
        match error {
            SqlError::Lost => {}
            SqlError::Server(code, ..) => {
                assert_eq!(code, LOST, "{stop:?}");
                assert_eq!(
                    heard.len(),
                    whole.len(),
                    "an error ends what came, {stop:?}"
                );
                assert_eq!(client.reads_at(), PRIMARY, "no leftovers, {stop:?}");
            }
        }
    }
    servers.primary.heard();
    for sql in ["INSERT INTO t VALUES (1)", "COMMIT"] {
        for stop in stops(Part::Answer, false) {
            servers.primary.stops([stop]);
            let mut client = SqlClient::connect(balancer.address());
            client.send(sql);
            let (heard, error) = packets_until_error(&mut client);
            let whole = payloads(&one_row(PRIMARY)[..stop.after]);
            assert!(whole.starts_with(&heard), "{sql}, {stop:?}: {heard:?}");
            if let SqlError::Server(code, ..) = error {
                assert_eq!(code, LOST, "{sql}, {stop:?}");
                assert_eq!(client.reads_at(), REPLICA, "{stop:?}");
            }
            let asked = servers.primary.heard();
            let times = asked.iter().filter(|query| query.ends_with(sql.as_bytes()));
            assert_eq!(times.count(), 1, "{sql}, {stop:?}");
        }
    }
}

/// Payloads up to the error, or the end of the connection.
fn packets_until_error(client: &mut SqlClient) -> (Vec<Vec<u8>>, SqlError) {
    let mut heard = Vec::new();
    loop {
        match client.read_or_error() {
            Ok(payload) => heard.push(payload),
            Err(error) => return (heard, error),
        }
    }
}

#[test]
fn a_server_that_stops_at_any_byte_of_a_reply_holds_up_nobody_but_its_client() {
    let servers = Rogues::start();
    let balancer = servers.balancer(|config| config.pool("idle_timeout = \"3s\""));
    for (server, sql, id) in [
        (&servers.replica, "SELECT 1", REPLICA),
        (&servers.primary, "INSERT INTO t VALUES (1)", PRIMARY),
    ] {
        let stops: Vec<_> = stops(Part::Answer, true).collect();
        let mut waiting = Vec::new();
        for &stop in &stops {
            server.stops([stop]);
            let mut client = SqlClient::connect(balancer.address());
            client.send(sql);
            waiting.push((stop, client));
        }
        assert_eq!(SqlClient::connect(balancer.address()).reads_at(), REPLICA);
        for (stop, client) in waiting {
            let mut bytes = Vec::new();
            // Both a FIN and a reset are an end.
            let _ = client.stream().read_to_end(&mut bytes);
            assert!(bytes == one_row(id)[..stop.after], "{stop:?}: {bytes:?}");
        }
    }
    let sessions = 2 * stops(Part::Answer, true).count() as u32;
    balancer.wait_closed("ringway", "idle_timeout", sessions);
    assert_eq!(SqlClient::connect(balancer.address()).reads_at(), REPLICA);
}

#[test]
fn a_primary_that_is_lost_at_any_byte_of_a_login_is_done_without_or_told() {
    let servers = Rogues::start();
    let balancer = servers.balancer(|config| config);
    for stop in stops(Part::Greeting, false) {
        servers.primary.stops([stop]);
        let mut client = SqlClient::connect(balancer.address());
        assert_eq!(client.reads_at(), REPLICA, "{stop:?}");
        let (_, message) = client.error("INSERT INTO t VALUES (1)");
        assert!(message.contains("primary is away"), "{message}");
    }
    for stop in stops(Part::Verdict, false) {
        servers.primary.stops([stop]);
        let refused = Login::default().connect(balancer.address());
        let told = matches!(refused, Err(SqlError::Server(NO_LOGIN, ..)));
        assert!(told, "{stop:?}: {refused:?}");
    }
    let mut client = SqlClient::connect(balancer.address());
    client.run(&["INSERT INTO t VALUES (1)"]);
}

#[test]
fn a_replica_that_is_lost_at_any_byte_of_a_login_is_done_without() {
    let servers = Rogues::start();
    let balancer = servers.balancer(|config| config);
    for part in [Part::Greeting, Part::Verdict] {
        for stop in stops(part, false) {
            servers.replica.stops([stop]);
            let mut client = SqlClient::connect(balancer.address());
            assert_eq!(client.reads_at(), PRIMARY, "{stop:?}");
        }
    }
    assert_eq!(SqlClient::connect(balancer.address()).reads_at(), REPLICA);
}

#[test]
fn a_primary_that_stops_at_any_byte_of_a_login_is_told_when_the_time_is_up() {
    let servers = Rogues::start();
    let balancer = servers.balancer(|config| {
        config
            .pool_mysql("replica_login_timeout = \"1s\"")
            .pool_mysql("login_timeout = \"1s\"")
    });
    let mut sessions = 0;
    let greetings: Vec<_> = stops(Part::Greeting, true).collect();
    let verdicts: Vec<_> = stops(Part::Verdict, true).collect();
    servers.primary.stops(greetings.iter().copied());
    let mut waiting = Vec::new();
    for _ in &greetings {
        waiting.push(TcpStream::connect(balancer.address()).unwrap());
        sessions += 1;
    }
    until("all are at the primary", || {
        servers.primary.stops_to_come() == 0
    });
    assert_eq!(SqlClient::connect(balancer.address()).reads_at(), REPLICA);
    for mut client in waiting {
        let mut bytes = Vec::new();
        client.read_to_end(&mut bytes).unwrap();
        let error = payloads(&bytes).concat();
        assert_eq!(error[..3], [&[0xFF], &NO_LOGIN.to_le_bytes()[..]].concat());
    }
    servers.primary.stops(verdicts.iter().copied());
    let mut waiting = Vec::new();
    for _ in &verdicts {
        let mut client = SqlClient::greeted(balancer.address()).unwrap();
        let response = Login::default().response(client.scramble());
        client.write(&response);
        waiting.push(client);
        sessions += 1;
    }
    assert_eq!(SqlClient::connect(balancer.address()).reads_at(), REPLICA);
    for mut client in waiting {
        assert_eq!(client.expect_end(), Some(NO_LOGIN));
    }
    balancer.wait_closed("server", "login_timeout", sessions);
}

/// The time for the whole login may be up no later than that for the replica.
#[test]
fn a_replica_that_stops_at_any_byte_of_a_login_is_done_without_when_its_time_is_up() {
    for login_timeout in ["1s", "1h"] {
        let servers = Rogues::start();
        let balancer = servers.balancer(|config| {
            config
                .pool_mysql("replica_login_timeout = \"1s\"")
                .pool_mysql(&format!("login_timeout = \"{login_timeout}\""))
        });
        let all = stops(Part::Greeting, true).chain(stops(Part::Verdict, true));
        let all: Vec<_> = all.collect();
        servers.replica.stops(all.iter().copied());
        let mut clients: Vec<_> = thread::scope(|scope| {
            let logins = all.iter().map(|_| {
                let address = balancer.address();
                scope.spawn(move || SqlClient::connect(address))
            });
            let logins: Vec<_> = logins.collect();
            logins
                .into_iter()
                .map(|login| login.join().unwrap())
                .collect()
        });
        for client in &mut clients {
            assert_eq!(client.reads_at(), PRIMARY);
        }
        assert_eq!(SqlClient::connect(balancer.address()).reads_at(), REPLICA);
        let of = [("reason", "replica_timeout")];
        let timeouts = balancer
            .metrics()
            .sum("ringway_mysql_primary_only_sessions_total", &of);
        assert_eq!(timeouts, all.len() as f64);
    }
}

#[test]
fn a_client_that_stops_at_any_byte_of_a_statement_is_answered_when_it_goes_on() {
    let pair = Pair::shared();
    pair.table("halves", "a INT");
    let balancer = pair.balancer();
    let statement = |number: usize| match number % 2 {
        0 => format!("SELECT {number:03}, @@server_id"),
        _ => format!("INSERT INTO halves VALUES ({number:03})"),
    };
    let mut whole = Vec::new();
    for number in 0..40 {
        let mut packet = packet(
            0,
            &[&[commands::QUERY], statement(number).as_bytes()].concat(),
        );
        let client = SqlClient::connect(balancer.address());
        let rest = packet.split_off(number.min(packet.len() - 1));
        client.stream().write_all(&packet).unwrap();
        whole.push((client, rest));
    }
    // Nobody is held up, and nothing of it has reached a server.
    let mut neighbour = SqlClient::connect(balancer.address());
    assert_eq!(
        neighbour.row("SELECT COUNT(*), @@server_id FROM halves"),
        "0 2"
    );
    neighbour.run(&["INSERT INTO halves VALUES (1000)"]);
    for (number, (mut client, rest)) in whole.into_iter().enumerate().rev() {
        client.stream().write_all(&rest).unwrap();
        client.expect_number(1);
        let rows = client.results().unwrap();
        let expected = match number % 2 {
            0 => vec![vec![Some(number.to_string()), Some(REPLICA.to_owned())]],
            _ => Vec::new(),
        };
        assert_eq!(rows, expected);
    }
    let all = pair
        .primary
        .sql("SELECT COUNT(*), COUNT(DISTINCT a) FROM shop.halves");
    assert_eq!(all, "21\t21\n");
}

#[test]
fn a_client_that_stops_at_any_byte_of_a_statement_is_ended_and_nothing_of_it_is_run() {
    let pair = Pair::shared();
    pair.table("never", "a INT");
    let balancer = Balancer::start(&pair.config().pool("idle_timeout = \"3s\""));
    let sql = b"\x03INSERT INTO never VALUES (1)";
    let statement = packet(0, sql);
    let mut waiting = Vec::new();
    for cut in 0..statement.len() {
        let client = SqlClient::connect(balancer.address());
        client.stream().write_all(&statement[..cut]).unwrap();
        if cut % 3 == 1 {
            // It is gone, and not merely silent.
            drop(client);
        } else {
            waiting.push(client);
        }
    }
    for client in &mut waiting {
        assert_eq!(client.expect_end(), None);
    }
    balancer.wait_closed("ringway", "idle_timeout", waiting.len() as u32);
    balancer.wait_active(0);
    assert_eq!(pair.primary.sql("SELECT COUNT(*) FROM shop.never"), "0\n");
}
