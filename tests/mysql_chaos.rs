//! Servers of a MySQL pool are killed and started again while clients write and read through the
//! balancer. Every write carries an id of its own, so that afterwards the primary itself can tell
//! what became of each: what was acknowledged is there once, everything else at most once.

mod support;

use std::collections::BTreeMap;
use std::iter;
use std::net::SocketAddr;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, sleep};
use std::time::{Duration, Instant};

use self::support::sql_client::{Prepared, Rows, line, status};
use self::support::{
    Balancer, Config, DEADLINE, Login, MariaDb, Pair, REPLICA, SqlClient, SqlError, until,
};

/// What makes a run what it is, apart from the scheduler's moods.
const SEED: u64 = 0x5EED;

const WRITERS: u64 = 4;
const READERS: u64 = 3;

/// How often a server is killed.
const KILLS: u32 = 6;

/// Writes that have to be acknowledged, and rows that have to be read, between one kill and the
/// next, so that the clients are back.
const WORK_BETWEEN: u64 = 100;

/// Ids of each writer from which readers choose.
const IDS_READ: u64 = 500;

/// Ids of one writer are from this times its number.
const IDS: u64 = 1_000_000;

/// What servers and the balancer may say when one is lost: no login without a server, the
/// connection lost, a server that shuts down or starts, and only reads for now.
const EXPECTED: [u16; 6] = [1105, 2006, 2013, 1053, 1927, READ_ONLY];

/// `ER_OPTION_PREVENTS_STATEMENT`: the primary is away.
const READ_ONLY: u16 = 1290;

/// What became of a write, as far as its client can tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    Acknowledged,
    RolledBack,
    Unknown,
}

/// What all clients share.
#[derive(Debug)]
struct Run {
    address: SocketAddr,
    is_over: AtomicBool,
    acknowledged: AtomicU64,
    rows_read: AtomicU64,
    /// Connections that writers have lost.
    lost: AtomicU64,
    /// By its id.
    outcomes: Mutex<BTreeMap<u64, Outcome>>,
}

/// A sequence of numbers that depends on its seed alone: xorshift64*.
#[derive(Clone, Debug)]
struct Numbers(u64);

impl Numbers {
    fn of(who: u64) -> Self {
        Self((SEED ^ who.wrapping_mul(0x9E37_79B9_7F4A_7C15)) | 1)
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) % limit
    }
}

#[test]
fn no_acknowledged_write_is_lost_and_none_is_there_twice_whatever_is_killed() {
    let mut pair = MariaDb::pair(&[]);
    // Without a key that could hide it: a row that is inserted twice is there twice.
    pair.primary
        .sql("CREATE TABLE shop.log (id BIGINT NOT NULL, v TEXT NOT NULL, INDEX (id))");
    pair.replicate();
    let config = Config::mysql(pair.primary.address(), pair.replica.address())
        .health_check("interval = \"200ms\"")
        .health_check("rise = 1");
    let balancer = Balancer::start(&config);
    let run = Run {
        address: balancer.address(),
        is_over: AtomicBool::new(false),
        acknowledged: AtomicU64::new(0),
        rows_read: AtomicU64::new(0),
        lost: AtomicU64::new(0),
        outcomes: Mutex::default(),
    };
    thread::scope(|scope| {
        // Whatever fails, the clients end.
        let end = EndAtDrop(&run);
        for who in 1..=WRITERS {
            let run = &run;
            scope.spawn(move || writer(run, who));
        }
        for who in 1..=READERS {
            let run = &run;
            scope.spawn(move || reader(run, WRITERS + who));
        }
        kill_servers(&run, &mut pair);
        drop(end);
    });
    judge(&run, &pair);
}

struct EndAtDrop<'a>(&'a Run);

impl Drop for EndAtDrop<'_> {
    fn drop(&mut self) {
        self.0.is_over.store(true, Ordering::SeqCst);
    }
}

/// Kills one server or the other, or both, and starts it again after a while, each time in the
/// middle of everything.
fn kill_servers(run: &Run, pair: &mut Pair) {
    let mut numbers = Numbers::of(0);
    for kill in 0..KILLS {
        let (written, read) = (count(&run.acknowledged), count(&run.rows_read));
        until("clients write and read", || {
            count(&run.acknowledged) >= written + WORK_BETWEEN
                && count(&run.rows_read) >= read + WORK_BETWEEN
        });
        // Every kind comes, in an order of the seed's.
        let kind = (kill + SEED as u32) % 3;
        sleep(Duration::from_millis(numbers.below(50)));
        if kind != 1 {
            pair.primary.kill();
        }
        if kind != 0 {
            pair.replica.kill();
        }
        sleep(Duration::from_millis(numbers.below(700)));
        if kind != 1 {
            pair.primary.start_again();
        }
        if kind != 0 {
            pair.replica.start_again();
        }
    }
    let written = count(&run.acknowledged);
    until("clients write after all that", || {
        count(&run.acknowledged) >= written + WORK_BETWEEN
    });
}

fn count(counter: &AtomicU64) -> u64 {
    counter.load(Ordering::SeqCst)
}

/// A connection, as soon as there is one.
fn connect(run: &Run) -> Option<SqlClient> {
    let started = Instant::now();
    while !run.is_over.load(Ordering::SeqCst) {
        match Login::default().connect(run.address) {
            Ok(client) => return Some(client),
            Err(error) => assert_expected(&error),
        }
        assert!(started.elapsed() < DEADLINE, "no login for so long");
        sleep(Duration::from_millis(10));
    }
    None
}

/// A prepared statement, unless a server is lost at this moment.
fn prepare(client: &mut SqlClient, sql: &str) -> Option<Prepared> {
    let prepared = client.try_prepare(sql);
    prepared.map_err(|error| assert_expected(&error)).ok()
}

#[track_caller]
fn assert_expected(error: &SqlError) {
    if let SqlError::Server(code, ..) = error {
        assert!(EXPECTED.contains(code), "{error:?}");
    }
}

/// Inserts row after row: one by one, as text or prepared, or several in a transaction.
fn writer(run: &Run, who: u64) {
    let mut numbers = Numbers::of(who);
    let mut id = who * IDS;
    while let Some(mut client) = connect(run) {
        let Some(prepared) = prepare(&mut client, "INSERT INTO log VALUES (?, ?)") else {
            continue;
        };
        let mut is_first = true;
        while !run.is_over.load(Ordering::SeqCst) {
            let rows = 1 + numbers.below(3);
            let ids: Vec<_> = (id..id + rows).collect();
            id += rows;
            let (outcome, error) = match rows {
                1 if numbers.below(2) == 0 => {
                    let values = [&*ids[0].to_string(), &content(ids[0])];
                    let written = client.execute(prepared, &values, is_first);
                    is_first = false;
                    written_alone(written)
                }
                1 => written_alone(client.ask(&insert(ids[0]))),
                _ => write_several(&mut client, &ids, numbers.below(8) == 0),
            };
            note(run, &ids, outcome);
            if let Some(error) = error {
                assert_expected(&error);
                run.lost.fetch_add(1, Ordering::SeqCst);
                break;
            }
            read_own(&mut client, ids[0], outcome);
        }
    }
}

fn note(run: &Run, ids: &[u64], outcome: Outcome) {
    let mut outcomes = run.outcomes.lock().unwrap();
    outcomes.extend(ids.iter().map(|id| (*id, outcome)));
    if outcome == Outcome::Acknowledged {
        run.acknowledged.fetch_add(1, Ordering::SeqCst);
    }
}

/// What became of a write without a transaction. One that failed may have been done all the same,
/// unless it was never sent.
fn written_alone(answer: Result<Rows, SqlError>) -> (Outcome, Option<SqlError>) {
    match answer {
        Ok(_) => (Outcome::Acknowledged, None),
        Err(error @ SqlError::Server(READ_ONLY, ..)) => (Outcome::RolledBack, Some(error)),
        Err(error) => (Outcome::Unknown, Some(error)),
    }
}

/// A transaction; it ends in a rollback, or in a commit, whose answer decides.
fn write_several(
    client: &mut SqlClient,
    ids: &[u64],
    takes_back: bool,
) -> (Outcome, Option<SqlError>) {
    let inserts = ids.iter().map(|id| insert(*id));
    for sql in iter::once("BEGIN".to_owned()).chain(inserts) {
        // What was not committed is not there, whatever the reason is.
        if let Err(error) = client.ask(&sql) {
            return (Outcome::RolledBack, Some(error));
        }
    }
    assert_ne!(client.status() & status::IN_TRANSACTION, 0);
    let end = if takes_back { "ROLLBACK" } else { "COMMIT" };
    match client.ask(end) {
        Ok(_) if takes_back => (Outcome::RolledBack, None),
        Ok(_) => (Outcome::Acknowledged, None),
        Err(error) if takes_back => (Outcome::RolledBack, Some(error)),
        Err(error) => (Outcome::Unknown, Some(error)),
    }
}

fn insert(id: u64) -> String {
    format!("INSERT INTO log VALUES ({id}, '{}')", content(id))
}

/// What belongs to an id, of a length of its own.
fn content(id: u64) -> String {
    format!("<{id}>").repeat(1 + (id % 25) as usize)
}

/// Reads where it was written what has just been written, or taken back.
fn read_own(client: &mut SqlClient, id: u64, outcome: Outcome) {
    let sql = format!(
        "/* route:primary */ SELECT @@server_id, v FROM (SELECT 1) one LEFT JOIN log ON id = {id}"
    );
    match client.ask(&sql) {
        Ok(rows) => {
            let rows: Vec<_> = rows.iter().map(|row| line(row)).collect();
            let [row] = &rows[..] else {
                panic!("{id}: {rows:?}");
            };
            // A session that has lost its primary reads at the replica, which may be behind.
            let is_right = match row.split_once(' ').unwrap() {
                (_, v) if v == content(id) => outcome == Outcome::Acknowledged,
                (server, "NULL") => outcome == Outcome::RolledBack || server == REPLICA,
                _ => false,
            };
            assert!(is_right, "{id}, {outcome:?}: {row}");
        }
        Err(error) => assert_expected(&error),
    }
}

/// Reads rows that were acknowledged, in text and in binary form.
fn reader(run: &Run, who: u64) {
    let mut numbers = Numbers::of(who);
    while let Some(mut client) = connect(run) {
        let Some(prepared) = prepare(&mut client, "SELECT v, ? FROM log WHERE id = ?") else {
            continue;
        };
        let mut is_first = true;
        while !run.is_over.load(Ordering::SeqCst) {
            let id = (1 + numbers.below(WRITERS)) * IDS + numbers.below(IDS_READ);
            let rows = match numbers.below(2) {
                0 => client.ask(&format!("SELECT v, {id} FROM log WHERE id = {id}")),
                _ => {
                    let id = id.to_string();
                    let rows = client.execute(prepared, &[&id, &id], is_first);
                    is_first = false;
                    rows
                }
            };
            match rows {
                // The replica may be behind: a row is there or is not yet.
                Ok(rows) => expect_rows(run, &rows, id),
                Err(error) => {
                    assert_expected(&error);
                    break;
                }
            }
        }
    }
}

/// Nothing is there but what belongs to this id, and at most once.
fn expect_rows(run: &Run, rows: &Rows, id: u64) {
    for row in rows {
        assert_eq!(line(row), format!("{} {id}", content(id)));
    }
    assert!(rows.len() <= 1, "{id}: {rows:?}");
    run.rows_read.fetch_add(rows.len() as u64, Ordering::SeqCst);
}

/// The oracle: what the servers have in the end against what their clients were told.
fn judge(run: &Run, pair: &Pair) {
    pair.replicate();
    let outcomes = run.outcomes.lock().unwrap();
    let list = "SELECT id, v FROM shop.log ORDER BY id";
    let there = pair.primary.sql(list);
    assert!(there == pair.replica.sql(list), "both have the same");
    let mut times = BTreeMap::<u64, usize>::new();
    for line in there.lines() {
        let (id, v) = line.split_once('\t').unwrap();
        let id = id.parse().unwrap();
        assert_eq!(v, content(id));
        *times.entry(id).or_default() += 1;
    }
    for (id, outcome) in outcomes.iter() {
        let times = times.remove(id).unwrap_or(0);
        let is_right = match outcome {
            Outcome::Acknowledged => times == 1,
            Outcome::RolledBack => times == 0,
            Outcome::Unknown => times <= 1,
        };
        assert!(is_right, "{id}, {outcome:?}, is there {times} times");
    }
    assert!(times.is_empty(), "never written: {times:?}");
    let lost = count(&run.lost);
    assert!(lost >= u64::from(KILLS), "only {lost} connections were hit");
}
