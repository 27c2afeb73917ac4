//! What must hold for any bytes: driven by the fuzz targets, their corpora and property tests.

#[allow(
    clippy::arithmetic_side_effects,
    clippy::expect_used,
    clippy::indexing_slicing
)]
mod login;
#[allow(
    clippy::arithmetic_side_effects,
    clippy::expect_used,
    clippy::indexing_slicing
)]
mod split;
mod sql;
#[allow(clippy::arithmetic_side_effects, clippy::indexing_slicing)]
mod wire;

pub use self::login::*;
pub use self::split::*;
pub use self::sql::*;
pub use self::wire::*;
