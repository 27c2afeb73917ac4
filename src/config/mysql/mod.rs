//! `[pool.mysql]` and what stands below it.

mod model;
mod read;
mod roles;

pub use model::{
    MysqlMonitor, MysqlPool, MysqlUser, ReadAfterWrite, Role, Roles, SecretSource, UserSecret,
};
pub(super) use read::read_mysql;
pub(super) use roles::{Servers, check_primaries, read_role};
