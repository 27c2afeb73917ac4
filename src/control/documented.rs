//! What `docs/metrics.md` says, for the tests that hold code and document together.

/// The cells of the table below a heading, without its header; backticks are taken off.
pub(super) fn table(heading: &str) -> Vec<Vec<String>> {
    let document = include_str!("../../docs/metrics.md");
    let heading = format!("## {heading}\n");
    let (_, section) = document
        .split_once(&heading)
        .expect("the document has this heading");
    let section = section.split("\n## ").next().unwrap_or_default();
    let rows = section.lines().filter(|line| line.starts_with("| `"));
    rows.map(|row| {
        let cells = row.trim_matches('|').split('|');
        cells.map(|cell| cell.trim().replace('`', "")).collect()
    })
    .collect()
}

/// The first column of that table.
pub(super) fn names(heading: &str) -> Vec<String> {
    table(heading)
        .into_iter()
        .map(|mut row| row.swap_remove(0))
        .collect()
}
