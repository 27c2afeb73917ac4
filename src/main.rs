//! From the argument vector to a command, and from its outcome to an exit code.

use std::process::ExitCode;

fn main() -> ExitCode {
    ringway::cli::main()
}
