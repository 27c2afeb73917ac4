//! How long it takes to decide where an SQL statement goes: nanoseconds for each, on one core. Of
//! many short loops it shows the fastest, which nothing has disturbed, and the median.

use std::hint::black_box;
use std::time::Instant;

use ringway::mysql::{Dialect, OwnWrites, State, classify};

const STATEMENTS: &[&str] = &[
    "SELECT c FROM sbtest1 WHERE id=5021",
    "SELECT SUM(k) FROM sbtest1 WHERE id BETWEEN 5021 AND 5120",
    "UPDATE sbtest1 SET k=k+1 WHERE id=5021",
    "SELECT a.id, b.name FROM orders a JOIN customers b ON b.id = a.customer_id \
     WHERE a.state IN ('new', 'paid') AND a.created > NOW() - INTERVAL 1 DAY ORDER BY a.id",
    "SET NAMES utf8mb4",
    "BEGIN",
];

const LOOPS: usize = 201;
/// A few milliseconds: less than a time slice, so that some loops have the core for themselves.
const STATEMENTS_PER_LOOP: u32 = 10_000;

fn main() {
    let state = State::new(Dialect::default(), true);
    for sql in STATEMENTS {
        let mut nanoseconds: Vec<f64> = (0..LOOPS).map(|_| timed(&state, sql.as_bytes())).collect();
        nanoseconds.sort_by(f64::total_cmp);
        let shown: String = sql.chars().take(60).collect();
        println!(
            "{:7.1} ns, median {:7.1} ns  {:3} bytes  {shown}",
            nanoseconds[0],
            nanoseconds[LOOPS / 2],
            sql.len()
        );
    }
}

/// Nanoseconds for one statement, from its bytes to where it goes.
fn timed(state: &State, sql: &[u8]) -> f64 {
    let start = Instant::now();
    for _ in 0..STATEMENTS_PER_LOOP {
        let statement = classify(black_box(sql), state.dialect());
        black_box(state.route(&statement, OwnWrites::Visible));
    }
    start.elapsed().as_secs_f64() * 1e9 / f64::from(STATEMENTS_PER_LOOP)
}
