//! The MySQL port, sans-IO: bytes in, decisions out. No socket, no clock, no ring.
//!
//! What a statement is: [`classify()`], one pass of the [`lexer`] over its bytes, without a syntax
//! tree and without allocation. Where it goes: [`State::route`], from what the statement is and
//! what the session has done. Both are the code that `ringway explain --sql` shows.
//!
//! The order of proof is one way only: a statement goes to the replica when it was proven to be a
//! plain read, and to the primary when anything in it was not understood.
#![cfg_attr(
    not(test),
    deny(
        clippy::indexing_slicing,
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::arithmetic_side_effects
    )
)]

mod classify;
pub mod functions;
#[cfg(any(test, feature = "fuzzing"))]
pub mod fuzzing;
mod keyword;
pub mod lexer;
mod mask;
pub mod route;
mod scan;
mod set;
mod statement;
#[cfg(test)]
mod tests;

pub use classify::classify;
pub use lexer::Dialect;
pub use mask::masked;
pub use route::{Decision, OwnWrites, Reply, Server, State, StatusFlags, Target};
pub use statement::{Access, Effects, Hint, Kind, Pins, Span, Statement, TableName};
