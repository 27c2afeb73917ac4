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
    if !known.is_empty() {
        known.push(b',');
    }
    known.extend_from_slice(reported);
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
    fn mysql_waits_for_all_of_them() {
        let all = "3e11fa47-71ca-11e1-9e33-c80aa9429562:5,3e11fa47-71ca-11e1-9e33-c80aa9429562:9";
        let reports: Vec<_> = all.split(',').collect();
        assert_eq!(added(&reports), all);
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
