//! Pipes for splicing. A direction holds one only while bytes are in it, so a handful serves
//! thousands of sessions.

use std::io;

use super::kernel::Pipe;
use crate::limits::{IDLE_PIPES, PIPE_BYTES};
use crate::sys;

/// Empty pipes, kept for the next one who needs one.
#[derive(Default)]
pub(super) struct Pipes {
    idle: Vec<Pipe>,
}

impl Pipes {
    /// An empty pipe.
    ///
    /// # Errors
    /// pipe2(2): no descriptor is left.
    pub(super) fn take(&mut self) -> io::Result<Pipe> {
        match self.idle.pop() {
            Some(pipe) => Ok(pipe),
            None => sys::pipe(PIPE_BYTES),
        }
    }

    /// Takes back a pipe that is empty.
    pub(super) fn give_back(&mut self, pipe: Pipe) {
        if self.idle.len() < IDLE_PIPES {
            self.idle.push(pipe);
        } else {
            self.discard(pipe);
        }
    }

    /// Closes a pipe and what is in it.
    pub(super) fn discard(&mut self, pipe: Pipe) {
        sys::close(pipe.read.0);
        sys::close(pipe.write.0);
    }
}

impl Drop for Pipes {
    fn drop(&mut self) {
        while let Some(pipe) = self.idle.pop() {
            self.discard(pipe);
        }
    }
}
