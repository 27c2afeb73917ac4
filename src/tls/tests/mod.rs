//! Both ends of TLS in memory: what is agreed on, what is refused, and what a hostile peer gets.

mod certificates;
mod corpora;
mod hellos;
mod policies;
mod sessions;
mod support;
