//! Tests of the protocol as a whole. Those of a single file stand in that file.

mod captures;
pub(super) mod samples;
