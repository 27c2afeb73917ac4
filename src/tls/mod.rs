//! TLS, sans-IO: bytes and time in, bytes and decisions out, over rustls with aws-lc-rs.
//!
//! [`session`] is one connection of either side, [`client_hello`] reads a client's first message
//! without answering it, for those who route by name. [`certificates`] and [`self_signed`] are what
//! a listener shows, [`tickets`] how sessions are resumed, [`config`] what is agreed on,
//! [`ciphers`] the names of suites. [`names`] are rules by server name and protocol, [`policy`] is
//! all of it as workers get it.
//!
//! What a peer sends is hostile until the handshake is done, and rustls reads nearly all of it.
//! What is read here, before or beside it, is read as in [`mysql`](crate::mysql): nothing indexes,
//! unwraps or computes with a length unchecked, and every length has a bound.
#![cfg_attr(
    not(test),
    deny(
        clippy::arithmetic_side_effects,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::unwrap_used
    )
)]

pub mod certificates;
pub mod ciphers;
pub mod client_hello;
pub mod config;
pub mod failure;
#[cfg(any(test, feature = "fuzzing"))]
pub mod fuzzing;
pub mod names;
pub mod policy;
pub mod self_signed;
pub mod session;
#[cfg(test)]
mod tests;
pub mod tickets;
