//! `ringway run`.

use std::path::Path;

use super::exit::{Exit, complain, complain_of_config, warn};
use crate::config::LogFormat;
use crate::{config, control};

/// Runs until a signal ends it.
pub(super) fn run(path: &Path) -> Exit {
    if let Err(error) = control::hold_reloads() {
        return complain(&error);
    }
    let (config, warnings) = match config::load(path) {
        Ok(loaded) => loaded,
        Err(error) => return complain_of_config(error),
    };
    match config.log.format {
        LogFormat::Text => warn(&warnings),
        LogFormat::Json => control::log_warnings(&config, &warnings),
    }
    match control::run(Some(path), config) {
        Ok(()) => Exit::Success,
        Err(error) => complain(&error),
    }
}
