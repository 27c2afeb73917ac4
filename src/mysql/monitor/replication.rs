//! How far behind a replica is, from what `SHOW REPLICA STATUS` and its older names say.

use std::time::Duration;

use super::descent::Identity;
use super::rows::Answer;

/// The columns that count, as MariaDB and older MySQL call them.
pub(super) const COLUMNS: &[&str] = &[
    "slave_io_running",
    "slave_sql_running",
    "seconds_behind_master",
    "last_io_error",
    "last_sql_error",
    "master_server_id",
    "master_uuid",
];

/// The same, in the same order, since MySQL 8.0.22.
pub(super) const COLUMNS_MYSQL: &[&str] = &[
    "replica_io_running",
    "replica_sql_running",
    "seconds_behind_source",
    "last_io_error",
    "last_sql_error",
    "source_server_id",
    "source_uuid",
];

/// How a server's replication does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Replication {
    /// It follows no other server.
    None,
    /// It follows, so far behind. With several sources, behind the one that is furthest away.
    Behind(Duration),
    /// It should follow and does not, or cannot say how far behind it is. With the reason.
    Broken(String),
    /// It does not tell: number and sentence of its error.
    Untold(u16, String),
}

impl Replication {
    /// How far behind it is, where that is known.
    pub const fn lag(&self) -> Option<Duration> {
        match self {
            Self::Behind(lag) => Some(*lag),
            Self::None | Self::Broken(_) | Self::Untold(..) => None,
        }
    }

    pub(super) fn of(answer: Answer) -> Self {
        let rows = match answer {
            Answer::Rows(rows) => rows,
            Answer::Error(code, message) => return Self::Untold(code, message),
        };
        let mut worst = None;
        for row in &rows {
            match lag_of(row) {
                Ok(lag) => worst = worst.max(Some(lag)),
                Err(why) => return Self::Broken(why),
            }
        }
        worst.map_or(Self::None, |seconds| {
            Self::Behind(Duration::from_secs(seconds))
        })
    }
}

/// Whom one row is about. A replica that is not connected may name the source that it had before, or
/// nobody.
pub(super) fn source_of(row: &[Option<String>]) -> Option<Identity> {
    let column = |index: usize| row.get(index).and_then(Option::as_deref);
    let is_connected = column(0) == Some("Yes");
    is_connected.then(|| Identity::of(column(5), column(6)))?
}

/// Seconds behind one source.
fn lag_of(row: &[Option<String>]) -> Result<u64, String> {
    let column = |index: usize| row.get(index).and_then(Option::as_deref);
    let with_error = |what: &str, index: usize| match column(index) {
        Some(error) if !error.is_empty() => format!("{what}: {error}"),
        _ => what.to_owned(),
    };
    // Between them "Connecting" and "Preparing": what the source has done meanwhile is not known.
    if column(0) != Some("Yes") {
        return Err(with_error("it does not receive from its source", 3));
    }
    if column(1) != Some("Yes") {
        return Err(with_error("it does not apply what it has received", 4));
    }
    let lag = column(2).and_then(|seconds| seconds.parse().ok());
    lag.ok_or_else(|| "it does not know how far behind it is".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(values: [Option<&str>; 5]) -> Vec<Option<String>> {
        values.map(|value| value.map(str::to_owned)).to_vec()
    }

    fn of(rows: &[[Option<&str>; 5]]) -> Replication {
        Replication::of(Answer::Rows(
            rows.iter().map(|&values| row(values)).collect(),
        ))
    }

    const RUNS: [Option<&str>; 5] = [Some("Yes"), Some("Yes"), Some("3"), Some(""), Some("")];

    #[test]
    fn a_replica_is_as_far_behind_as_its_furthest_source() {
        let further = [Some("Yes"), Some("Yes"), Some("70"), None, None];
        assert_eq!(of(&[]), Replication::None);
        assert_eq!(of(&[RUNS]).lag(), Some(Duration::from_secs(3)));
        assert_eq!(of(&[RUNS, further]).lag(), Some(Duration::from_secs(70)));
    }

    #[test]
    fn a_replication_that_stands_still_is_broken_and_says_why() {
        let error = Some("Error connecting to source");
        let cases = [
            (
                [Some("Connecting"), Some("Yes"), None, error, None],
                "source: Error connecting",
            ),
            (
                [Some("No"), Some("No"), None, None, None],
                "does not receive",
            ),
            (
                [Some("Yes"), Some("No"), None, None, Some("Duplicate entry")],
                "received: Dup",
            ),
            (
                [Some("Yes"), Some("Yes"), None, None, None],
                "how far behind",
            ),
            (
                [Some("Yes"), Some("Yes"), Some("-1"), None, None],
                "how far behind",
            ),
            ([None; 5], "does not receive"),
        ];
        for (values, expected) in cases {
            for rows in [vec![values], vec![RUNS, values]] {
                let Replication::Broken(why) = of(&rows) else {
                    panic!("{values:?}");
                };
                assert!(why.contains(expected), "{why}");
            }
        }
    }

    #[test]
    fn a_source_is_named_by_a_replica_that_is_connected_to_it() {
        let named = |receives: &str, id: &str, uuid: Option<&str>| {
            let mut row = row([Some(receives), Some("Yes"), Some("3"), None, None]);
            row.extend([Some(id.to_owned()), uuid.map(str::to_owned)]);
            source_of(&row)
        };
        let uuid = Some("3e11fa47-71ca-11e1-9e33-c80aa9429562");
        assert_eq!(named("Yes", "7", None), Identity::of(Some("7"), None));
        assert_eq!(named("Yes", "7", uuid), Identity::of(Some("7"), uuid));
        assert_eq!(named("Yes", "0", None), None);
        assert_eq!(
            named("Connecting", "7", uuid),
            None,
            "it may be the one before"
        );
    }

    #[test]
    fn an_account_that_may_not_ask_is_told_apart() {
        let answer = Answer::Error(1227, "Access denied".to_owned());
        let untold = Replication::of(answer);
        assert_eq!(
            untold,
            Replication::Untold(1227, "Access denied".to_owned())
        );
        assert_eq!(untold.lag(), None);
    }
}
