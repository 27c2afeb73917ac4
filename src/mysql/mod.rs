//! The MySQL and MariaDB client/server protocol, sans-IO: bytes in, bytes and decisions out.
//!
//! A listener for this protocol logs each client in at two servers at once ([`login`]), then
//! follows commands and replies by their packet headers ([`framer`], [`command`], [`reply`])
//! without ever assembling or parsing a row. [`packet`], [`cursor`] and [`handshake`] are the
//! layouts, [`auth`] the arithmetic of passwords.
//!
//! Everything read here was written by someone who may be hostile, the servers included. So nothing
//! indexes, unwraps or computes with a length unchecked; every length has a bound; and an error
//! says which field of which packet broke the rules, and who sent it.
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
pub mod command;
pub mod cursor;
pub mod framer;
#[cfg(any(test, feature = "fuzzing"))]
#[allow(clippy::arithmetic_side_effects, clippy::indexing_slicing)]
pub mod fuzzing;
pub mod handshake;
mod inbox;
mod link;
pub mod login;
pub mod packet;
pub mod reply;
pub mod server_login;
#[cfg(test)]
mod tests;
pub mod track;
