//! What a session has written, by the names that its primary gave to the transactions, and how to
//! ask a replica whether it has them.

use std::time::Duration;

use crate::limits::GTID_BYTES_MAX;
use crate::mysql::lexer::Product;

/// Adds what an OK packet reported to what was reported before. `false`: it cannot be kept, because
/// it is too long or not what GTIDs look like.
pub(super) fn add(known: &mut Vec<u8>, reported: &[u8]) -> bool {
    let fits = known.len().saturating_add(reported.len()) < GTID_BYTES_MAX;
    if reported.is_empty() || !fits || !reported.iter().all(|byte| is_of_gtid(*byte)) {
        return false;
    }
    if is_mariadb(reported) {
        return add_positions(known, reported);
    }
    for set in reported.split(|byte| *byte == b',') {
        add_set(known, set.trim_ascii());
    }
    true
}

/// A query for a replica whose result has one row if it has these transactions within `wait`, and
/// none otherwise.
pub(super) fn question(gtids: &[u8], wait: Duration) -> Vec<u8> {
    let function = match is_mariadb(gtids) {
        true => "MASTER_GTID_WAIT",
        false => "WAIT_FOR_EXECUTED_GTID_SET",
    };
    let gtids = String::from_utf8_lossy(gtids);
    let seconds = wait.as_secs_f64();
    format!("SELECT 1 FROM DUAL WHERE {function}('{gtids}', {seconds:.3}) = 0").into_bytes()
}

/// A statement that makes a primary report GTIDs.
pub(super) const fn tracking(product: Product) -> &'static [u8] {
    match product {
        Product::MariaDb => {
            b"SET SESSION session_track_system_variables=\
              CONCAT_WS(',', NULLIF(@@session_track_system_variables, ''), 'last_gtid')"
        }
        Product::MySql | Product::Unknown => b"SET SESSION session_track_gtids='OWN_GTID'",
    }
}

/// Whether a statement may change what is reported.
pub(super) fn touches_tracking(statement: &[u8]) -> bool {
    const TRACK: &[u8] = b"session_track";
    statement
        .windows(TRACK.len())
        .any(|part| part.eq_ignore_ascii_case(TRACK))
}

/// Letters and digits, and what stands between them. Nothing that could end a string.
fn is_of_gtid(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b':' | b',' | b'\n' | b' ' | b'_')
}

/// MariaDB's `domain-server-sequence`; those of MySQL have a colon.
fn is_mariadb(gtids: &[u8]) -> bool {
    !gtids.contains(&b':')
}

/// MariaDB waits for positions: the newest of each domain.
fn add_positions(known: &mut Vec<u8>, reported: &[u8]) -> bool {
    let new: Vec<_> = reported.split(|byte| *byte == b',').collect();
    let mut all = reported.to_vec();
    for old in known.split(|byte| *byte == b',') {
        let superseded = new.iter().any(|new| domain(new) == domain(old));
        if !old.is_empty() && !superseded {
            all.push(b',');
            all.extend_from_slice(old);
        }
    }
    *known = all;
    true
}

/// MySQL waits for sets, `source:numbers:numbers`. A session's transactions have one source as a
/// rule: it is named once, and numbers that follow each other are one range.
fn add_set(known: &mut Vec<u8>, set: &[u8]) {
    let newest = known.rsplit(|byte| *byte == b',').next();
    let (newest, added) = (newest.and_then(source_and_numbers), source_and_numbers(set));
    let Some(((_, before), (_, numbers))) = newest.zip(added).filter(|(a, b)| a.0 == b.0) else {
        if !known.is_empty() {
            known.push(b',');
        }
        return known.extend_from_slice(set);
    };
    let before = before
        .rsplit(|byte| *byte == b':')
        .next()
        .unwrap_or_default();
    let (from, to) = ends(before);
    let (next, rest) = match numbers.iter().position(|byte| *byte == b':') {
        Some(colon) => numbers.split_at(colon),
        None => (numbers, &[][..]),
    };
    let (first, last) = ends(next);
    let following = number(to).and_then(|to| to.checked_add(1));
    if following.is_some() && following == number(first) {
        let range = [from, b"-", last].concat();
        known.truncate(known.len().saturating_sub(before.len()));
        known.extend_from_slice(&range);
    } else {
        known.push(b':');
        known.extend_from_slice(next);
    }
    known.extend_from_slice(rest);
}

/// The parts of a set. The source is a UUID, perhaps with a tag, which begins with no digit.
fn source_and_numbers(set: &[u8]) -> Option<(&[u8], &[u8])> {
    let is_number = |at: &usize| set.get(*at).is_some_and(u8::is_ascii_digit);
    let parts = (1..).zip(set).filter(|(_, byte)| **byte == b':');
    let at = parts.map(|(at, _)| at).take(2).find(is_number)?;
    let (source, numbers) = set.split_at_checked(at)?;
    let is_plain = |byte: &u8| byte.is_ascii_digit() || matches!(byte, b'-' | b':');
    numbers.iter().all(is_plain).then_some((source, numbers))
}

/// The first number of a range and its last one: the same where it is one number.
fn ends(range: &[u8]) -> (&[u8], &[u8]) {
    match range.iter().position(|byte| *byte == b'-') {
        Some(dash) => {
            let (first, last) = range.split_at(dash);
            (first, last.get(1..).unwrap_or_default())
        }
        None => (range, range),
    }
}

fn number(digits: &[u8]) -> Option<u64> {
    std::str::from_utf8(digits).ok()?.parse().ok()
}

fn domain(position: &[u8]) -> Option<&[u8]> {
    position.split(|byte| *byte == b'-').next()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn added(reports: &[&str]) -> String {
        let mut known = Vec::new();
        for report in reports {
            assert!(add(&mut known, report.as_bytes()), "{report}");
        }
        String::from_utf8(known).unwrap()
    }

    #[test]
    fn mariadb_waits_for_the_newest_of_each_domain() {
        assert_eq!(added(&["0-1-7", "0-1-8"]), "0-1-8");
        assert_eq!(added(&["0-1-7", "1-1-3", "0-2-9"]), "0-2-9,1-1-3");
    }

    #[test]
    fn mysql_waits_for_all_of_them_and_each_source_is_named_once() {
        const A: &str = "3e11fa47-71ca-11e1-9e33-c80aa9429562";
        const B: &str = "11111111-1111-1111-1111-111111111111";
        let of = |reports: &str| {
            let long = reports.replace('A', A).replace('B', B);
            let reports: Vec<_> = long.split(' ').collect();
            added(&reports).replace(A, "A").replace(B, "B")
        };
        assert_eq!(of("A:5 A:9"), "A:5:9");
        assert_eq!(of("A:5 A:6 A:7 A:9"), "A:5-7:9");
        assert_eq!(of("B:5-6 B:7-9:12 B:13"), "B:5-9:12-13");
        assert_eq!(of("A:5 B:6 A:6"), "A:5,B:6,A:6");
        assert_eq!(of("A:4 A:5,\nB:1,A:6"), "A:4-5,B:1,A:6");
        assert_eq!(of("A:t:5 A:t:6 A:6"), "A:t:5-6,A:6");
        // What looks otherwise than expected is repeated as it is.
        assert_eq!(of("A:5 A:1:t:5 A:7"), "A:5,A:1:t:5,A:7");
        assert_eq!(of("A:18446744073709551615 A:4"), "A:18446744073709551615:4");
        assert_eq!(of("A:5- A:6"), "A:5-:6");
        assert_eq!(of("A:5- A:-7"), "A:5-,A:-7");
    }

    #[test]
    fn hundreds_of_a_sessions_transactions_are_kept_among_those_of_others() {
        let mut known = Vec::new();
        for n in 0..400 {
            let report = format!(
                "3e11fa47-71ca-11e1-9e33-c80aa9429562:{}",
                10_000_000 + 7 * n
            );
            assert!(add(&mut known, report.as_bytes()), "{n}");
        }
    }

    #[test]
    fn what_could_end_a_string_or_has_no_end_is_not_kept() {
        let mut known = Vec::new();
        for report in ["0-1-7' OR 1", "", "0-1-7\\"] {
            assert!(!add(&mut known, report.as_bytes()), "{report}");
        }
        assert!(!add(&mut known, &[b'1'; GTID_BYTES_MAX]));
        assert!(known.is_empty());
    }

    #[test]
    fn each_kind_of_server_is_asked_in_its_own_words() {
        let wait = Duration::from_millis(100);
        assert_eq!(
            question(b"0-1-7", wait),
            b"SELECT 1 FROM DUAL WHERE MASTER_GTID_WAIT('0-1-7', 0.100) = 0"
        );
        let mysql = question(b"3e11:5", wait);
        assert!(
            mysql
                .windows(26)
                .any(|part| part == b"WAIT_FOR_EXECUTED_GTID_SET")
        );
        let tracking = |version: &[u8]| tracking(Product::of_version(version));
        assert!(tracking(b"5.5.5-10.11.6-MariaDB").ends_with(b"'last_gtid')"));
        assert!(tracking(b"9.7.0").ends_with(b"'OWN_GTID'"));
    }
}
