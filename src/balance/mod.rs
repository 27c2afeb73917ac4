//! Which server gets the next session. Pure: no socket, no clock, no thread of its own. Time comes
//! in as milliseconds, randomness is not needed, and all shared state is atomic.

mod affinity;
mod pool;
mod schedule;
mod server;

pub use crate::config::{Algorithm, Role};
pub use pool::{Cursors, Member, NoServer, Pool, Tried, Wanted};
pub use schedule::{Cursor, Schedule};
pub use server::{Failure, Health, Server};
