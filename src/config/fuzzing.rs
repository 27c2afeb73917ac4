//! What must hold for any text: driven by the fuzz target, its corpus and property tests.

use std::net::SocketAddr;

use super::{Diagnostic, diff, parse};

/// Parses, resolves and compares whatever text is in `data`.
///
/// # Panics
/// When something does not hold.
pub fn check(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    match parse(&text) {
        Err(errors) => {
            assert!(errors.iter().next().is_some(), "a refusal has a reason");
            errors.iter().for_each(|error| check_place(error, &text));
        }
        Ok((config, warnings)) => {
            warnings.iter().for_each(|w| check_place(w, &text));
            let lookup = |_: &str, port| Ok(vec![SocketAddr::from(([192, 0, 2, 1], port))]);
            if let Ok(config) = config.resolve(lookup) {
                let difference = diff(&config, &config);
                assert!(difference.is_empty(), "{}", difference.render(|_| 0));
            }
        }
    }
}

fn check_place(diagnostic: &Diagnostic, text: &str) {
    let position = diagnostic.position;
    let line = text.split('\n').nth(position.line as usize - 1);
    let line = line.expect("an error stands on a line of the file");
    let column = position.column as usize;
    assert!(
        column >= 1 && column <= line.chars().count() + 1,
        "{diagnostic}"
    );
    assert!(!diagnostic.message.contains('\n'), "{diagnostic}");
    assert!(!diagnostic.to_string().contains('\x1b'), "{diagnostic}");
}
