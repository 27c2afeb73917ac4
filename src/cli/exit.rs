//! Exit codes: what a script, or systemd's RestartPreventExitStatus=, can tell apart.

use std::fmt::Display;
use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;

use crate::config::{Diagnostic, Errors, LoadError};
use crate::control;

/// How a command ended. Wrong usage is 2, which clap sees to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Exit {
    /// All went well.
    Success = 0,
    /// The configuration, or a line of the input, cannot be used.
    Config = 1,
    /// Something failed that should not: `EX_SOFTWARE` of sysexits.h.
    Internal = 70,
    /// A socket or file cannot be opened: `EX_OSERR`.
    CannotOpen = 71,
    /// The kernel cannot run it: `EX_CONFIG`.
    Kernel = 78,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

impl From<&control::Error> for Exit {
    fn from(error: &control::Error) -> Self {
        use control::Error;
        match error {
            Error::Config(_) => Self::Config,
            Error::Kernel(_) => Self::Kernel,
            Error::Descriptors(_) | Error::Listen(_) | Error::Open { .. } => Self::CannotOpen,
            Error::Internal { .. } | Error::WorkerEnded(_) => Self::Internal,
        }
    }
}

/// Tells on standard error why the process cannot run, and returns the exit code for it.
pub(super) fn complain(error: &control::Error) -> Exit {
    match error {
        control::Error::Config(errors) => tell_errors(errors),
        _ => tell(format_args!("ringway: {error}")),
    }
    Exit::from(error)
}

/// Tells on standard error what is wrong with a configuration file.
pub(super) fn complain_of_config(error: LoadError) -> Exit {
    match error {
        LoadError::Invalid(errors) => tell_errors(&errors),
        error @ LoadError::Read { .. } => tell(format_args!("ringway: {error}")),
    }
    Exit::Config
}

/// Tells on standard error what may not be what was meant.
pub(super) fn warn(warnings: &[Diagnostic]) {
    for warning in warnings {
        if io::stderr().is_terminal() {
            tell(warning.coloured());
        } else {
            tell(warning);
        }
    }
}

fn tell_errors(errors: &Errors) {
    if io::stderr().is_terminal() {
        tell(errors.coloured());
    } else {
        tell(errors);
    }
}

/// Standard error may be closed, which changes nothing about the exit code.
pub(super) fn tell(what: impl Display) {
    let _ = writeln!(io::stderr(), "{what}");
}
