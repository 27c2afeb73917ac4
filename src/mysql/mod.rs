//! The MySQL and MariaDB client/server protocol and what its statements are, sans-IO: bytes in,
//! bytes and decisions out.
//!
//! A listener for this protocol logs each client in at two servers at once ([`login`]), then follows
//! commands and replies by their packet headers ([`framer`], [`command`], [`reply`]) without ever
//! assembling or parsing a row. [`packet`], [`cursor`] and [`handshake`] are the layouts, [`auth`]
//! the arithmetic of passwords, [`password_key`] a key to have them told under. Only the servers of
//! `ringway demo` write rows, with [`result`].
//!
//! Servers are looked after without a client: [`probe`] greets one without an account, [`monitor`]
//! asks one whether it takes writes and how far behind it is, and says what follows from the answers.
//!
//! What a statement is: [`classify()`], one pass of the [`lexer`] over its bytes, without a syntax
//! tree and without allocation. Where it goes: [`State::route`], from what the statement is and
//! what the session has done. Both are the code that `ringway explain --sql` shows. The order of
//! proof is one way only: a statement goes to the replica when it was proven to be a plain read, and
//! to the primary when anything in it was not understood.
//!
//! Everything read here was written by someone who may be hostile, the servers included. So nothing
//! indexes, unwraps or computes with a length unchecked; every length has a bound; and an error says
//! which field of which packet broke the rules, and who sent it.
#![cfg_attr(
    not(test),
    deny(
        clippy::arithmetic_side_effects,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::unwrap_used
    )
)]

pub mod auth;
pub mod capabilities;
mod classify;
pub mod command;
pub mod cursor;
pub mod framer;
pub mod functions;
#[cfg(any(test, feature = "fuzzing"))]
pub mod fuzzing;
pub mod handshake;
pub mod inbox;
mod keyword;
pub mod lexer;
mod link;
pub mod login;
mod mask;
pub mod monitor;
pub mod packet;
pub mod password_key;
pub mod probe;
pub mod reply;
pub mod result;
pub mod route;
mod scan;
pub mod server_login;
mod set;
pub mod splitter;
mod statement;
#[cfg(test)]
mod tests;
pub mod track;

pub use classify::{classify, classify_head};
pub use lexer::{Dialect, Product};
pub use mask::masked;
pub use packet::Status;
pub use route::{Decision, OwnWrites, Reply, Server, State, Target};
pub use statement::{Access, Effects, Hint, Kind, Pins, Span, Statement, TableName, UnderReadOnly};
