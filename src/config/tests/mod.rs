//! Tests of the configuration as a whole. Those of a single file stand in that file.

mod differences;
mod documents;
mod errors;
mod generate;
mod generate_tls;
mod properties;
mod tls;
