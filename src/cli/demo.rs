//! `ringway demo`.

use super::exit::{Exit, complain};
use crate::demo::{self, Options};

/// Runs until a signal ends it.
pub(super) fn run(options: Options) -> Exit {
    match demo::run(options) {
        Ok(()) => Exit::Success,
        Err(error) => complain(&error),
    }
}
