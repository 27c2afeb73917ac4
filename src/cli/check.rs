//! `ringway check`.

use std::io::{self, Write};
use std::path::Path;

use super::exit::{Exit, complain_of_config, warn};
use crate::config::{self, Config, LoadError};
use crate::control;

/// Says what is wrong with a file, or that nothing is and what it has.
pub(super) fn check(path: &Path) -> Exit {
    let checked = config::load(path).and_then(|(config, warnings)| {
        let complete = control::complete(config);
        let (config, _) = complete.map_err(|errors| LoadError::Invalid(errors.in_file(path)))?;
        Ok((config, warnings))
    });
    match checked {
        Ok((config, warnings)) => {
            warn(&warnings);
            // Closed when the output is piped into a program that has seen enough.
            let _ = writeln!(io::stdout(), "{}: ok\n{}", path.display(), summary(&config));
            Exit::Success
        }
        Err(error) => complain_of_config(error),
    }
}

fn summary(config: &Config) -> String {
    let servers = config.pools.iter().map(|pool| pool.servers.len()).sum();
    let counts = [
        count(config.listeners.len(), "listener"),
        count(config.pools.len(), "pool"),
        count(servers, "server"),
    ];
    counts.join(", ")
}

fn count(number: usize, what: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{number} {what}{plural}")
}
