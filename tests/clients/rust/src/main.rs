//! mysql_async: both protocols, by `query` and `exec`.

use std::env::args;
use std::path::PathBuf;

use mysql_async::prelude::{Query, Queryable, WithParams};
use mysql_async::{Conn, Error, OptsBuilder, Params, Row, SslOpts, Value};

/// Statements with parameters, in one protocol or the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Text,
    Binary,
}

type Answer = Result<Vec<Vec<Value>>, Error>;

impl Kind {
    async fn ask(self, connection: &mut Conn, sql: &str, values: Vec<Value>) -> Answer {
        let rows: Vec<Row> = match self {
            Self::Text => {
                let mut parts = sql.split('?');
                let mut text = parts.next().unwrap_or_default().to_owned();
                for (value, part) in values.iter().zip(parts) {
                    text += &value.as_sql(false);
                    text += part;
                }
                text.fetch(connection).await?
            }
            Self::Binary => {
                let values = match values.is_empty() {
                    true => Params::Empty,
                    false => Params::Positional(values),
                };
                sql.with(values).fetch(connection).await?
            }
        };
        Ok(rows.into_iter().map(Row::unwrap).collect())
    }
}

/// A row as people write it: numbers look the same in both protocols.
fn line(row: &[Value]) -> String {
    let texts = row.iter().map(|value| match value {
        Value::Bytes(bytes) => String::from_utf8_lossy(bytes).into_owned(),
        other => other.as_sql(false),
    });
    texts.collect::<Vec<_>>().join(" ")
}

fn say(kind: Kind, what: &str, rows: &[Vec<Value>]) {
    let lines: Vec<_> = rows.iter().map(|row| line(row)).collect();
    println!("{kind:?} {what}: {lines:?}");
}

async fn at(connection: &mut Conn, kind: Kind, what: &str) -> Result<(), Error> {
    let rows = kind.ask(connection, "SELECT @@server_id", vec![]).await?;
    println!("at {kind:?} {what}: {}", line(&rows[0]));
    Ok(())
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let mut words = args().skip(1);
    let port = words.next().and_then(|port| port.parse().ok());
    let table = words.next().expect("a port and the name of a table");
    let authority = words.next().map(PathBuf::from);
    let large_mib = if authority.is_some() { 1 } else { 17 };
    let tls = authority.map(|file| SslOpts::default().with_root_certs(vec![file.into()]));
    let options = OptsBuilder::default()
        .ip_or_hostname("127.0.0.1")
        .tcp_port(port.expect("a port"))
        .prefer_socket(false)
        .ssl_opts(tls)
        .user(Some("app"))
        .pass(Some("secret"))
        .db_name(Some("shop"));
    let mut connection = Conn::new(options).await?;
    let all = &mut connection;
    at(all, Kind::Text, "after the login").await?;
    all.query_drop("SET @a = 5").await?;
    say(
        Kind::Text,
        "variable",
        &Kind::Text.ask(all, "SELECT @a + 1", vec![]).await?,
    );
    all.query_drop(format!("DROP TABLE IF EXISTS {table}"))
        .await?;
    all.query_drop(format!(
        "CREATE TABLE {table} (id INT AUTO_INCREMENT PRIMARY KEY, v LONGTEXT, d DECIMAL(9, 2), \
         day DATE) CHARACTER SET utf8mb4"
    ))
    .await?;
    for kind in [Kind::Text, Kind::Binary] {
        both_ways(all, kind, &table, large_mib).await?;
    }
    connection.disconnect().await
}

async fn both_ways(all: &mut Conn, kind: Kind, table: &str, large_mib: usize) -> Result<(), Error> {
    let insert = format!("INSERT INTO {table} (v, d, day) VALUES (?, ?, ?)");
    let null = Value::NULL;
    for row in [
        vec!["one".into(), "1.50".into(), "2024-02-29".into()],
        vec!["zwölf \u{1f600}".into(), null.clone(), null.clone()],
    ] {
        kind.ask(all, &insert, row).await?;
        println!(
            "{kind:?} id {:?}, rows {}",
            all.last_insert_id(),
            all.affected_rows()
        );
    }
    let read = format!(
        "SELECT v, CAST(d AS CHAR), CAST(day AS CHAR) FROM {table} WHERE id <= ? ORDER BY id"
    );
    for bound in [1, 9] {
        say(
            kind,
            "rows",
            &kind.ask(all, &read, vec![Value::Int(bound)]).await?,
        );
    }
    at(all, kind, "outside a transaction").await?;

    let count = format!("SELECT COUNT(*) FROM {table}");
    all.query_drop("BEGIN").await?;
    kind.ask(
        all,
        &insert,
        vec!["gone".into(), null.clone(), null.clone()],
    )
    .await?;
    say(
        kind,
        "in transaction",
        &kind.ask(all, &count, vec![]).await?,
    );
    at(all, kind, "in transaction").await?;
    all.query_drop("ROLLBACK").await?;
    say(kind, "rolled back", &kind.ask(all, &count, vec![]).await?);

    let large = "0123456789abcdef".repeat(large_mib * 65_536);
    kind.ask(
        all,
        &insert,
        vec![large.as_str().into(), null.clone(), null],
    )
    .await?;
    let read = format!("SELECT v FROM {table} WHERE LENGTH(v) > ?");
    let stored = kind.ask(all, &read, vec![Value::Int(1000)]).await?;
    println!("{kind:?} large: the same: {}", line(&stored[0]) == large);
    kind.ask(
        all,
        &format!("DELETE FROM {table} WHERE id > ?"),
        vec![Value::Int(0)],
    )
    .await?;
    let failed = kind
        .ask(all, &format!("SELECT nothing FROM {table}"), vec![])
        .await;
    match failed {
        Err(Error::Server(error)) => println!("{kind:?} error: {}", error.code),
        other => println!("{kind:?} error: {other:?}"),
    }
    at(all, kind, "at the end").await
}
