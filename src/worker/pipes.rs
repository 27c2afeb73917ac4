//! Pipes for splicing. A direction holds one only while bytes are in it, so a handful serves
//! thousands of sessions. A destination that does not read keeps its pipe, so there is a limit:
//! whoever finds none goes on copying.

use super::kernel::Pipe;
use crate::limits::PIPE_BYTES;
use crate::sys;

/// One worker's pipes.
pub(super) struct Pipes {
    /// Empty ones, for the next who needs one.
    idle: Vec<Pipe>,
    /// How many more may be made.
    left: usize,
}

impl Pipes {
    /// At most `max` pipes, idle ones included.
    pub(super) fn new(max: usize) -> Self {
        Self {
            idle: Vec::with_capacity(max),
            left: max,
        }
    }

    /// Whether there is one, or one may be made.
    pub(super) fn are_left(&self) -> bool {
        self.left > 0 || !self.idle.is_empty()
    }

    /// An empty pipe; `None`: all are in use, or no descriptor is left.
    pub(super) fn take(&mut self) -> Option<Pipe> {
        let idle = self.idle.pop();
        idle.or_else(|| {
            self.left = self.left.checked_sub(1)?;
            let made = sys::pipe(PIPE_BYTES).ok();
            self.left += usize::from(made.is_none());
            made
        })
    }

    /// Takes back a pipe that is empty.
    pub(super) fn give_back(&mut self, pipe: Pipe) {
        self.idle.push(pipe);
    }

    /// Closes a pipe and what is in it.
    pub(super) fn discard(&mut self, pipe: Pipe) {
        self.left += 1;
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
