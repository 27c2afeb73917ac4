//! Tests of the protocol as a whole. Those of a single file stand in that file.

mod captures;
mod generate;
mod login_failures;
mod login_ladder;
mod replies;
pub(super) mod samples;
mod script;
mod server_logins;
