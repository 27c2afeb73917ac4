//! The example file and the reference say what the reader does.

use super::generate::without_positions;
use crate::config::schema::{self, Schema};
use crate::config::{Config, parse};

const EXAMPLE: &str = include_str!("../../../config.example.toml");
const REFERENCE: &str = include_str!("../../../docs/configuration.md");

#[test]
fn the_example_is_valid() {
    let (_, warnings) = parse(EXAMPLE).unwrap();
    assert!(warnings.is_empty(), "{warnings:?}");
}

#[test]
fn the_example_shows_the_defaults() {
    let example = Config::parse(EXAMPLE).unwrap();
    let has_no_default = |line: &&str| {
        let key = line.split(" =").next().unwrap_or_default().trim();
        let is_setting = line.contains(" = ") && !key.starts_with('#');
        let required = [
            "name", "listen", "protocol", "pool", "address", "type", "role", "mode",
        ];
        !is_setting || required.contains(&key)
    };
    let bare: Vec<_> = EXAMPLE.lines().filter(has_no_default).collect();
    let defaults = Config::parse(&bare.join("\n")).unwrap();
    assert_eq!(without_positions(example), without_positions(defaults));
}

#[test]
fn the_example_has_every_key() {
    for (table, key) in keys() {
        assert!(
            example_value(table, key).is_some(),
            "{} {key}",
            table.header
        );
    }
}

#[test]
fn the_reference_has_every_key_and_its_default() {
    for (table, key) in keys() {
        let row = reference_row(table, key);
        let row = row.unwrap_or_else(|| panic!("{} {key}", table.header));
        let (commented_out, value) = example_value(table, key).unwrap();
        let says_otherwise = ["type", "tcp_user_timeout"].contains(&key);
        let default = row.split('|').nth(3).unwrap();
        if default.contains("required") || says_otherwise {
            continue;
        }
        match commented_out {
            true => assert!(
                !default.contains(char::is_numeric) || default.contains(value),
                "{} {key}",
                table.header
            ),
            false => assert!(default.contains(value), "{} {key} {value}", table.header),
        }
    }
}

#[test]
fn the_errors_in_the_reference_are_real() {
    let section = REFERENCE.split("## Errors").nth(1).unwrap();
    let file = block(section, "```toml\n");
    let errors = parse(file).unwrap_err();
    let errors = errors.in_file("errors.toml".as_ref());
    assert_eq!(block(section, "```text\n").trim_end(), errors.to_string());
}

#[test]
fn the_shortest_file_in_the_reference_is_valid() {
    Config::parse(block(REFERENCE, "```toml\n")).unwrap();
}

/// Every key that has a value of its own.
fn keys() -> impl Iterator<Item = (&'static Schema, &'static str)> {
    let tables = schema::ALL
        .into_iter()
        .filter(|t| t.header != schema::ROOT.header);
    let keys = tables.flat_map(|table| table.keys.iter().map(move |&key| (table, key)));
    keys.filter(|(table, key)| !schema::is_table(table, key))
}

/// Whether the key is commented out in the example, and its value there.
fn example_value(table: &Schema, key: &str) -> Option<(bool, &'static str)> {
    let uncommented = |line: &'static str| line.strip_prefix("# ").unwrap_or(line);
    let lines = EXAMPLE.lines().map(str::trim);
    let header = |line: &str| line.split(" #").next().unwrap().trim() == table.header;
    let in_table = lines.skip_while(|line| !header(uncommented(line)));
    let in_table = in_table
        .skip(1)
        .take_while(|line| !uncommented(line).starts_with('['));
    in_table.into_iter().find_map(|line| {
        let setting = uncommented(line);
        let value = setting.strip_prefix(key)?.strip_prefix(" = ")?;
        Some((setting != line, value.split(" #").next()?.trim()))
    })
}

fn reference_row(table: &Schema, key: &str) -> Option<&'static str> {
    let heading = format!("## `{}`\n", table.header);
    let section = REFERENCE.split(&heading).nth(1)?.split("\n## ").next()?;
    let cell = format!("| `{key}` |");
    section.lines().find(|line| line.starts_with(&cell))
}

fn block<'a>(text: &'a str, fence: &str) -> &'a str {
    text.split(fence)
        .nth(1)
        .unwrap()
        .split("```")
        .next()
        .unwrap()
}
