//! Taking connections: one acceptor per listening socket and worker.
//!
//! A limit that is reached closes nothing: accepting stops and clients wait in the kernel's
//! backlog. What was accepted in the same moment is parked and served first.

use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::Arc;

use super::event_loop::Worker;
use super::kernel::{Completion, Farewell, Fd, Kernel};
use super::route::LocalRoute;
use super::session::{CLIENT, Session};
use super::snapshot::{ListeningSocket, Snapshot};
use super::token::{GENERATION_MASK, Op, Token};
use crate::limits::{ACCEPT_PAUSE, ACCEPTORS_MAX, LIMIT_NOTICE_INTERVAL, MULTISHOT_ACCEPT_ROOM};
use crate::telemetry::Notice;

/// One listening socket of this worker.
pub(super) struct Acceptor {
    /// `None`: nothing is accepted from it any more, and only parked connections are left.
    socket: Option<Arc<ListeningSocket>>,
    route: Rc<LocalRoute>,
    fd: Fd,
    generation: u32,
    state: State,
    /// The accept in flight, if one is.
    in_flight: InFlight,
    /// Accepted, and over a limit: they wait for a place.
    parked: VecDeque<Fd>,
    /// When it may be told again that it is at a limit.
    next_notice_ms: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Accepting,
    /// At a limit, until a place is given back.
    Full,
    /// Out of descriptors or memory, for a moment.
    Paused,
    /// Its listener was removed: serves what waits in the backlog, then goes.
    Leaving,
    /// The process stops: whoever still comes is turned away.
    Abandoned,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum InFlight {
    Nothing,
    Once,
    Multishot,
    Cancelled,
}

impl Acceptor {
    /// Whether it is only still here to be finished with.
    fn is_going(&self) -> bool {
        matches!(self.state, State::Leaving | State::Abandoned)
    }
}

impl<K: Kernel> Worker<K> {
    pub(super) fn acceptor_ids(&self) -> Vec<usize> {
        self.acceptors.iter().map(|(id, _)| id).collect()
    }

    /// Accepts on the sockets that are new in this snapshot, leaves those that are gone, and sends
    /// the sessions of those that stay where the snapshot says.
    pub(super) fn adopt_listeners(&mut self, snapshot: &Snapshot) {
        let mut kept = Vec::new();
        for route in &snapshot.listeners {
            let local = Rc::new(LocalRoute::new(route, self.index));
            for socket in &route.sockets {
                let known = self.acceptors.iter().find(|(_, acceptor)| {
                    let its = acceptor.socket.as_ref();
                    !acceptor.is_going() && its.is_some_and(|its| Arc::ptr_eq(its, socket))
                });
                let id = match known.map(|(id, _)| id) {
                    Some(id) => {
                        self.acceptors[id].route = Rc::clone(&local);
                        id
                    }
                    None => self.add_acceptor(socket, &local),
                };
                kept.push(id);
            }
        }
        for id in self.acceptor_ids() {
            if !kept.contains(&id) && !self.acceptors[id].is_going() {
                self.leave(id);
            }
        }
        // Limits may have been raised, or lowered below what a multishot accept brings.
        self.serve_waiting();
    }

    fn add_acceptor(&mut self, socket: &Arc<ListeningSocket>, route: &Rc<LocalRoute>) -> usize {
        use std::os::fd::AsRawFd;
        assert!(
            self.acceptors.len() < ACCEPTORS_MAX,
            "the configuration bounds the addresses"
        );
        self.acceptor_generation = (self.acceptor_generation + 1) & GENERATION_MASK;
        let id = self.acceptors.insert(Acceptor {
            socket: Some(Arc::clone(socket)),
            route: Rc::clone(route),
            fd: Fd(socket.descriptor(self.index).as_raw_fd()),
            generation: self.acceptor_generation,
            state: State::Accepting,
            in_flight: InFlight::Nothing,
            parked: VecDeque::new(),
            next_notice_ms: 0,
        });
        self.arm_accept(id);
        id
    }

    /// A connection, or why there is none.
    pub(super) fn on_accept(&mut self, completion: &Completion) {
        let id = completion.token.slot() as usize;
        let current = self.acceptors.get(id);
        if current.is_none_or(|a| a.generation != completion.token.generation()) {
            self.counters().stale_completions.add(1);
            if completion.result >= 0 {
                self.kernel.close(Fd(completion.result), Farewell::Reset);
            }
            return;
        }
        if !completion.more {
            self.acceptors[id].in_flight = InFlight::Nothing;
        }
        match completion.result {
            fd if fd >= 0 => self.take(id, Fd(fd)),
            error if is_passing(-error) => {}
            error => self.pause(id, -error),
        }
        self.go_on(id);
    }

    /// Stops accepting on a socket that is no longer configured.
    pub(super) fn leave(&mut self, id: usize) {
        self.acceptors[id].state = State::Leaving;
        self.cancel_accept(id);
        self.go_on(id);
    }

    /// Stops accepting at once, and gives up on what waits.
    pub(super) fn abandon(&mut self, id: usize) {
        while let Some(fd) = self.acceptors[id].parked.pop_front() {
            self.kernel.close(fd, Farewell::Reset);
        }
        self.acceptors[id].state = State::Abandoned;
        self.cancel_accept(id);
        self.go_on(id);
    }

    /// The pause after a shortage is over.
    pub(super) fn resume_accepting(&mut self, id: usize) {
        let Some(acceptor) = self.acceptors.get_mut(id) else {
            return;
        };
        if acceptor.state == State::Paused {
            acceptor.state = State::Accepting;
        }
        self.go_on(id);
    }

    /// Places may be free: serves parked connections, then accepts again.
    pub(super) fn serve_waiting(&mut self) {
        // Each time another one first, or at a limit on all sessions the first would take every
        // place that becomes free.
        let mut ids = self.acceptor_ids();
        if !ids.is_empty() {
            self.first_served = (self.first_served + 1) % ids.len();
            ids.rotate_left(self.first_served);
        }
        for id in ids {
            self.serve_parked(id);
            let acceptor = &mut self.acceptors[id];
            if acceptor.state == State::Full && acceptor.parked.is_empty() {
                acceptor.state = State::Accepting;
            }
            self.go_on(id);
            // Another worker may have use for what this one has not.
            if let Some(acceptor) = self.acceptors.get(id) {
                let gate = &acceptor.route.listener.gate;
                gate.return_grants(self.index, |worker| self.shared.wake(worker));
            }
        }
        let total = &self.shared.total;
        total.return_grants(self.index, |worker| self.shared.wake(worker));
    }

    fn serve_parked(&mut self, id: usize) {
        while let Some(&fd) = self.acceptors[id].parked.front() {
            if !self.enter_gates(id) {
                return;
            }
            self.acceptors[id].parked.pop_front();
            self.open(id, fd);
        }
    }

    /// Does what an acceptor's state asks for once nothing is in flight on it.
    fn go_on(&mut self, id: usize) {
        let acceptor = &self.acceptors[id];
        match (acceptor.state, acceptor.in_flight) {
            (State::Accepting, InFlight::Nothing) => self.arm_accept(id),
            (State::Accepting, InFlight::Multishot) if !self.may_multishot(id) => {
                self.cancel_accept(id);
            }
            (State::Leaving, InFlight::Nothing) => self.empty_backlog(id),
            (State::Abandoned, InFlight::Nothing) => self.let_go(id),
            _ => {}
        }
    }

    fn arm_accept(&mut self, id: usize) {
        let multishot = self.may_multishot(id);
        let acceptor = &mut self.acceptors[id];
        acceptor.in_flight = if multishot {
            InFlight::Multishot
        } else {
            InFlight::Once
        };
        let token = Token::new(Op::Accept, 0, acceptor.generation, id as u32);
        self.kernel.accept(acceptor.fd, multishot, token);
    }

    /// Whether a whole backlog at once would fit.
    fn may_multishot(&self, id: usize) -> bool {
        let unlimited = self.acceptors[id].route.listener.gate.limit() == u32::MAX;
        unlimited && self.shared.total.room() > MULTISHOT_ACCEPT_ROOM
    }

    fn cancel_accept(&mut self, id: usize) {
        let acceptor = &mut self.acceptors[id];
        if matches!(acceptor.in_flight, InFlight::Once | InFlight::Multishot) {
            acceptor.in_flight = InFlight::Cancelled;
            let target = Token::new(Op::Accept, 0, acceptor.generation, id as u32);
            let token = Token::new(Op::CancelAccept, 0, acceptor.generation, id as u32);
            self.kernel.cancel(target, token);
        }
    }

    /// Takes what is left in the backlog of a socket that is being left, closes it, and lets go of
    /// it when all that came from it have been served.
    fn empty_backlog(&mut self, id: usize) {
        while self.acceptors[id].socket.is_some() {
            match self.kernel.accept_now(self.acceptors[id].fd) {
                Ok(fd) => self.take(id, fd),
                Err(error) if error.raw_os_error() == Some(libc::EAGAIN) => self.close_socket(id),
                Err(error) if is_passing(error.raw_os_error().unwrap_or(0)) => {}
                Err(_) => return self.set_accept_timer(id),
            }
        }
        if self.acceptors[id].parked.is_empty() {
            self.let_go(id);
        }
    }

    /// Refuses whoever connects from here on.
    fn close_socket(&mut self, id: usize) {
        // The descriptor lives until all workers have done this, and what connects to it meanwhile
        // would never be accepted.
        self.kernel.stop_listening(self.acceptors[id].fd);
        self.acceptors[id].socket = None;
    }

    fn let_go(&mut self, id: usize) {
        if self.acceptors[id].socket.is_some() {
            self.close_socket(id);
        }
        self.timers.clear(self.first_acceptor_timer + id as u32);
        self.acceptors.remove(id);
    }

    fn take(&mut self, id: usize, fd: Fd) {
        if self.acceptors[id].state == State::Abandoned {
            return self.kernel.close(fd, Farewell::Reset);
        }
        if self.acceptors[id].parked.is_empty() && self.enter_gates(id) {
            return self.open(id, fd);
        }
        self.acceptors[id].parked.push_back(fd);
        if self.acceptors[id].state == State::Accepting {
            self.acceptors[id].state = State::Full;
            self.notice_limit(id);
            self.cancel_accept(id);
        }
    }

    /// Each notice wakes the control thread, and at a limit every connection would be a reason.
    fn notice_limit(&mut self, id: usize) {
        let now_ms = self.now_ms();
        let route = Rc::clone(&self.acceptors[id].route);
        let is_held_up = self.handshakes_hold_up(&route);
        let acceptor = &mut self.acceptors[id];
        if now_ms >= acceptor.next_notice_ms {
            acceptor.next_notice_ms = now_ms + LIMIT_NOTICE_INTERVAL.as_millis() as u64;
            let listener = Arc::clone(&route.listener.name);
            let notice = match is_held_up {
                true => Notice::HandshakesReached { listener },
                false => Notice::LimitReached { listener },
            };
            self.shared.notices.push(notice);
        }
    }

    fn enter_gates(&mut self, id: usize) -> bool {
        let route = Rc::clone(&self.acceptors[id].route);
        let listener = &route.listener;
        if self.handshakes_hold_up(&route) {
            self.await_handshake();
            return false;
        }
        if !listener.gate.enter_or_wait(self.index) {
            return false;
        }
        let entered = self.shared.total.enter_or_wait(self.index);
        if !entered {
            listener.gate.leave(|worker| self.shared.wake(worker));
        }
        entered
    }

    fn open(&mut self, id: usize, client: Fd) {
        let route = Rc::clone(&self.acceptors[id].route);
        route.counters().opened.add(1);
        let mut session = Session::new(client, route, self.kernel.now_us());
        if self.access_log {
            session.client_address = self.kernel.peer(client).map(Box::new);
        }
        let slot = self.sessions.insert(session);
        let route = &self.sessions[slot].route;
        if route.mysql.is_some() {
            self.begin_conversation(slot);
        } else if route.tls.is_some() {
            self.begin_handshake(slot);
        } else {
            self.try_next_server(slot);
        }
        self.arm_receive(slot, CLIENT, false);
        self.settle(slot);
    }

    /// Nobody more is let in while those who are in cannot be served.
    pub(super) fn pause_accepting(&mut self, errno: i32) {
        for id in self.acceptor_ids() {
            if self.acceptors[id].state == State::Accepting {
                self.cancel_accept(id);
                self.pause(id, errno);
            }
        }
    }

    fn pause(&mut self, id: usize, errno: i32) {
        self.counters().accept_pauses.add(1);
        let acceptor = &mut self.acceptors[id];
        if acceptor.state == State::Accepting {
            acceptor.state = State::Paused;
        }
        let listener = Arc::clone(&acceptor.route.listener.name);
        self.shared
            .notices
            .push(Notice::AcceptPaused { listener, errno });
        self.set_accept_timer(id);
    }

    /// Workers ran out together; they come back one after the other.
    fn set_accept_timer(&mut self, id: usize) {
        let pause_ms = ACCEPT_PAUSE.as_millis() as u64;
        let jitter_ms = (self.index as u64 * 7 + id as u64 * 3) % (pause_ms / 2);
        let at_ms = self.now_ms() + pause_ms + jitter_ms;
        self.timers
            .set(self.first_acceptor_timer + id as u32, at_ms);
    }
}

/// Errors that concern one connection, or nobody: accept(2) says to treat them like "try again".
fn is_passing(errno: i32) -> bool {
    matches!(
        errno,
        libc::EAGAIN
            | libc::ECANCELED
            | libc::ECONNABORTED
            | libc::EINTR
            | libc::ENETDOWN
            | libc::EPROTO
            | libc::ENOPROTOOPT
            | libc::EHOSTDOWN
            | libc::ENONET
            | libc::EHOSTUNREACH
            | libc::EOPNOTSUPP
            | libc::ENETUNREACH
    )
}
