//! The worker: one turn after the other. A turn submits what was queued, waits for completions in
//! one `io_uring_enter`, and handles each; handlers queue what the next turn submits.
//!
//! Handlers never free a session: they mark it [`Stage::Closing`], and [`Worker::settle`] frees it
//! when its last completion has come.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use slab::Slab;

use super::accept::Acceptor;
use super::coalesce::{Batch, Coalescing};
use super::kernel::{Completion, Fd, Interest, Kernel};
use super::session::Stage;
use super::shared::{Command, Shared, StopReason};
use super::slab::Sessions;
use super::timer::TimerWheel;
use super::tls::Handshakes;
use super::token::{Op, Token};
use crate::limits::{ACCEPTORS_MAX, SHORTAGE_RETRY};
use crate::mysql::splitter::Order;
use crate::telemetry::{Reason, Who, WorkerCounters};

/// One worker over a real or a simulated kernel.
pub(crate) struct Worker<K> {
    pub(super) kernel: K,
    pub(super) shared: Arc<Shared>,
    pub(super) index: usize,
    pub(super) sessions: Sessions,
    /// Ids below the number of sessions are slots; above, acceptors.
    pub(super) timers: TimerWheel,
    pub(super) first_acceptor_timer: u32,
    pub(super) acceptors: Slab<Acceptor>,
    /// Tells an acceptor's completions from those of the one before it in its slot.
    pub(super) acceptor_generation: u32,
    pub(super) access_log: bool,
    pub(super) records_pushed: bool,
    /// How many microseconds a statement takes at least that is told to the statement log.
    pub(super) statement_log_us: Option<u64>,
    pub(super) statements_pushed: bool,
    /// What a splitter orders, kept for its memory.
    pub(super) orders: Vec<Order>,
    /// Receives that found no buffer, in order: they go on when one is given back.
    pub(super) starved: VecDeque<Token>,
    /// Peers with TLS that are to be sent to at the end of the turn, each once.
    pub(super) unsealed: VecDeque<Token>,
    /// What failed for want of memory or descriptors, in order.
    postponed: VecDeque<Token>,
    /// When that is tried again.
    postponed_until_ms: u64,
    /// Where the next round through the acceptors starts.
    pub(super) first_served: usize,
    pub(super) draining: bool,
    pub(super) handshakes: Handshakes,
    pub(super) coalescing: Coalescing,
    /// Some stream has more to bring as soon as it is asked, or what it brought has been sent: the next
    /// turn does not wait for several completions.
    pub(super) reads_on_at_once: bool,
    generation: u64,
    wake: Fd,
    completions: Vec<Completion>,
    due: Vec<u32>,
}

impl<K: Kernel> Worker<K> {
    /// A worker that accepts on its share of the newest snapshot's sockets. `wake` is its eventfd.
    pub(crate) fn new(
        kernel: K,
        shared: Arc<Shared>,
        index: usize,
        sessions_max: u32,
        wake: Fd,
    ) -> Self {
        let slots = sessions_max as usize;
        let now_ms = kernel.now_us() / 1000;
        let mut worker = Self {
            kernel,
            shared,
            index,
            sessions: Sessions::new(slots),
            timers: TimerWheel::new(slots + ACCEPTORS_MAX, now_ms),
            first_acceptor_timer: sessions_max,
            acceptors: Slab::new(),
            acceptor_generation: 0,
            access_log: false,
            records_pushed: false,
            statement_log_us: None,
            statements_pushed: false,
            orders: Vec::new(),
            starved: VecDeque::new(),
            unsealed: VecDeque::new(),
            postponed: VecDeque::new(),
            postponed_until_ms: 0,
            first_served: 0,
            draining: false,
            handshakes: Handshakes::default(),
            coalescing: Coalescing::default(),
            reads_on_at_once: false,
            generation: 0,
            wake,
            completions: Vec::new(),
            due: Vec::new(),
        };
        worker
            .kernel
            .poll(wake, Interest::Read, Token::new(Op::Wake, 0, 0, 0));
        worker.adopt_newest();
        worker.show_gauges();
        worker
    }

    /// Turns until there is nothing left to do after a drain or a stop.
    ///
    /// # Errors
    /// When the ring is beyond repair.
    pub(crate) fn run(&mut self) -> io::Result<()> {
        while !self.is_done() {
            self.turn()?;
        }
        Ok(())
    }

    /// Whether it was told to end and has.
    pub(crate) fn is_done(&self) -> bool {
        self.draining && self.sessions.is_empty() && self.acceptors.is_empty()
    }

    /// One time around the loop.
    pub(crate) fn turn(&mut self) -> io::Result<()> {
        let wait = self.wait();
        let mut completions = std::mem::take(&mut self.completions);
        let batch = self.batch();
        self.kernel.turn(wait, batch, &mut completions)?;
        self.coalescing.advance(self.kernel.now_us());
        self.adopt_newest();
        for completion in &completions {
            self.dispatch(completion);
        }
        self.count_turn(completions.len());
        completions.clear();
        self.completions = completions;
        self.feed_starved();
        self.take_up_postponed();
        self.fire_timers();
        self.admit_handshakes();
        self.seal_queued();
        self.show_gauges();
        if std::mem::take(&mut self.records_pushed) {
            self.shared.records.flush();
        }
        if std::mem::take(&mut self.statements_pushed) {
            self.shared.statements.flush();
        }
        Ok(())
    }

    /// What the worker counts about itself.
    pub(super) fn counters(&self) -> &WorkerCounters {
        &self.shared.workers()[self.index].counters
    }

    /// Milliseconds since the process's start, as of this turn.
    #[inline]
    pub(super) fn now_ms(&self) -> u64 {
        self.kernel.now_us() / 1000
    }

    /// The token for an operation of the session in `slot`, which is in flight from here on.
    #[inline]
    pub(super) fn launch(&mut self, op: Op, leg: usize, slot: u32) -> Token {
        self.sessions[slot].leg_mut(leg).in_flight += 1;
        self.sessions.token(op, leg, slot)
    }

    fn wait(&self) -> Option<Duration> {
        let now_us = self.kernel.now_us();
        let postponed = (!self.postponed.is_empty()).then_some(self.postponed_until_ms);
        let next_ms = self.timers.next_ms().into_iter().chain(postponed).min();
        next_ms.map(|at_ms| Duration::from_micros((at_ms * 1000).saturating_sub(now_us)))
    }

    /// What a turn waits for instead of the first completion.
    fn batch(&mut self) -> Option<Batch> {
        let reads_on = std::mem::take(&mut self.reads_on_at_once);
        let batch = self.coalescing.batch();
        let coalescing_us = batch.map_or(0, |batch| batch.within_us);
        self.counters().coalescing_us.set(u64::from(coalescing_us));
        batch.filter(|_| !reads_on)
    }

    fn dispatch(&mut self, completion: &Completion) {
        let token = completion.token;
        match token.op() {
            Op::Wake => return self.on_wake(),
            Op::Accept => return self.on_accept(completion),
            Op::CancelAccept => return,
            _ => {}
        }
        let Some(slot) = self.sessions.slot_of(token) else {
            // No operation outlives its session. Should one, what it brought is not lost.
            self.counters().stale_completions.add(1);
            if let Some(buffer) = completion.buffer {
                self.kernel.release(buffer);
            }
            return;
        };
        if !completion.more {
            self.sessions[slot].leg_mut(token.leg()).in_flight -= 1;
        }
        match token.op() {
            Op::Connect => self.on_connect(slot, token.leg(), completion.result),
            Op::Receive => self.on_receive(slot, token.leg(), completion),
            Op::Send => self.on_send(slot, token.leg(), completion.result),
            Op::Readable => self.on_readable(slot, token.leg(), completion.result),
            Op::Room => self.on_room(slot, token.leg(), completion),
            Op::Hangup => self.on_hangup(slot, token.leg(), completion),
            Op::Cancel => self.on_cancelled(slot, token.leg()),
            Op::Accept | Op::CancelAccept | Op::Wake => {}
        }
        self.settle_parts(slot);
    }

    /// Frees what has come to rest: a connection of a session, or the session.
    #[inline]
    pub(super) fn settle_parts(&mut self, slot: u32) {
        if self.sessions[slot].mysql.is_some() {
            self.settle_legs(slot);
        }
        if self.sessions[slot].encryption.is_some() {
            self.settle_server(slot);
        }
        self.settle(slot);
    }

    fn on_wake(&mut self) {
        self.kernel.drain_wake();
        self.kernel
            .poll(self.wake, Interest::Read, Token::new(Op::Wake, 0, 0, 0));
        while let Some(command) = self.shared.workers()[self.index].next() {
            match command {
                Command::Drain => self.drain(),
                Command::Stop(reason) => self.stop(reason),
                Command::Kill(order) => self.kill(&order),
                Command::KillAtReplica(order) => self.kill_at_replica(&order),
            }
        }
        self.serve_waiting();
    }

    /// Goes on with the newest snapshot, if there is a newer one.
    #[inline]
    fn adopt_newest(&mut self) {
        if self.shared.generation() != self.generation {
            self.adopt();
        }
    }

    #[cold]
    fn adopt(&mut self) {
        let snapshot = self.shared.snapshot();
        self.generation = snapshot.generation;
        self.coalescing.is_on = snapshot.coalesce && self.kernel.can_batch();
        self.access_log = snapshot.access_log;
        self.statement_log_us = snapshot
            .statement_log
            .map(|slower_than| slower_than.as_micros() as u64);
        if !self.draining {
            self.adopt_listeners(&snapshot);
        }
        // A removed server may have given its sessions a deadline.
        for slot in self.sessions.occupied() {
            self.keep_texts(slot);
            self.reschedule(slot);
        }
    }

    fn drain(&mut self) {
        self.draining = true;
        for id in self.acceptor_ids() {
            self.leave(id);
        }
    }

    fn stop(&mut self, reason: StopReason) {
        self.draining = true;
        for id in self.acceptor_ids() {
            self.abandon(id);
        }
        let reason = match reason {
            StopReason::DrainTimeout => Reason::DrainTimeout,
            StopReason::Signal => Reason::Stopped,
        };
        for slot in self.sessions.occupied() {
            self.end(slot, Who::Operator, reason);
            self.settle(slot);
        }
    }

    /// Notes something to be tried again a little later, by the token it failed with.
    pub(super) fn postpone(&mut self, token: Token) {
        if self.postponed.is_empty() {
            self.postponed_until_ms = self.now_ms() + SHORTAGE_RETRY.as_millis() as u64;
        }
        self.postponed.push_back(token);
    }

    /// Receives again where there was no buffer, as far as there are some now.
    fn feed_starved(&mut self) {
        for _ in 0..self.starved.len().min(self.kernel.buffers_left()) {
            if let Some(token) = self.starved.pop_front() {
                self.reads_on_at_once = true;
                self.try_again(token);
            }
        }
    }

    fn take_up_postponed(&mut self) {
        if self.postponed.is_empty() || self.now_ms() < self.postponed_until_ms {
            return;
        }
        // What fails again is postponed anew, by a whole interval.
        for token in std::mem::take(&mut self.postponed) {
            self.try_again(token);
        }
    }

    fn try_again(&mut self, token: Token) {
        let Some(slot) = self.sessions.slot_of(token) else {
            return;
        };
        if !self.sessions[slot].leg_indices().contains(&token.leg()) {
            // The session has become a relay, and its third connection is closed.
            return;
        }
        let stage = self.sessions[slot].stage;
        match token.op() {
            Op::Connect if stage == Stage::Connecting => self.try_next_server(slot),
            Op::Connect => {}
            Op::Cancel => self.recall_send(slot, token.leg()),
            op => self.retry(slot, token.leg(), op),
        }
        self.settle(slot);
    }

    fn fire_timers(&mut self) {
        let now_ms = self.now_ms();
        let mut due = std::mem::take(&mut self.due);
        self.timers.advance(now_ms, &mut due);
        for id in due.drain(..) {
            if let Some(acceptor) = id.checked_sub(self.first_acceptor_timer) {
                self.resume_accepting(acceptor as usize);
            } else if self.sessions[id].stage != Stage::Closing {
                self.on_timer(id);
                self.settle(id);
            }
        }
        self.due = due;
    }

    fn count_turn(&mut self, completions: usize) {
        let overflowed = self.kernel.take_overflow();
        let counters = self.counters();
        counters.turns.add(1);
        counters.completions.add(completions as u64);
        if overflowed {
            counters.completion_overflows.add(1);
        }
    }

    /// What is there now; a parked worker leaves it so that it stays true.
    fn show_gauges(&self) {
        let counters = self.counters();
        counters.sessions.set(self.sessions.len() as u64);
        counters.operations_in_flight.set(self.kernel.in_flight());
        counters.last_turn_ms.set(self.now_ms());
    }
}

/// What the simulator looks at from outside.
#[cfg(any(test, feature = "fuzzing"))]
impl<K: Kernel> Worker<K> {
    /// The client of the session in `slot`, if `server` is still the server it connects to.
    pub(super) fn client_of(&self, slot: u32, server: Fd) -> Option<Fd> {
        use super::session::{CLIENT, SERVER};
        let session = self.sessions.get(slot)?;
        (session.legs[SERVER].socket == server).then_some(session.legs[CLIENT].socket)
    }

    /// What is still there, for a message.
    pub(super) fn describe(&self) -> String {
        let sessions: Vec<_> = self
            .sessions
            .occupied()
            .into_iter()
            .map(|slot| {
                let session = &self.sessions[slot];
                format!("{slot}: {:?}, {:?}", session.stage, session.legs)
            })
            .collect();
        format!("{} acceptors, sessions {sessions:#?}", self.acceptors.len())
    }
}
