//! What a conversation counts.

use crate::mysql::login::{Established, Failure};
use crate::mysql::splitter::Finished;
use crate::worker::event_loop::Worker;
use crate::worker::kernel::Kernel;

impl<K: Kernel> Worker<K> {
    pub(super) fn count_statement(&mut self, _slot: u32, _finished: &Finished) {}

    pub(super) fn count_login(&mut self, _slot: u32, _established: &Established) {}

    pub(super) fn count_login_failure(&mut self, _slot: u32, _failure: &Failure) {}
}
