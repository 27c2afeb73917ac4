//! Clients that wait for their turn to shake hands, in the order in which they came.
//!
//! Nobody is looked for in here, however many there are. A client that leaves stays in line, and is
//! passed over when its turn comes; once more have left than wait, all of them are taken out
//! together, which costs none of them more than a few steps.

use std::collections::VecDeque;

use super::super::token::Token;

/// Those who wait.
#[derive(Default)]
pub(super) struct Queue {
    /// As many as there are limits that hold somebody up; none is empty.
    lines: Vec<Line>,
    /// How many have come.
    arrivals: u64,
    /// How many are in line and have left.
    left: usize,
}

/// Those whom the same limit holds up.
struct Line {
    limit: u32,
    /// Each with its number among all arrivals.
    clients: VecDeque<(u64, Token)>,
}

impl Queue {
    /// A client has come that may go on when fewer than `limit` do.
    pub(super) fn join(&mut self, client: Token, limit: u32) {
        let line = self.lines.iter_mut().find(|line| line.limit == limit);
        let place = (self.arrivals, client);
        self.arrivals += 1;
        match line {
            Some(line) => line.clients.push_back(place),
            None => self.lines.push(Line {
                limit,
                clients: [place].into(),
            }),
        }
    }

    /// Takes out the first to have come of those who may go on while `running` do. `is_here` says
    /// whether a client still waits.
    pub(super) fn next(&mut self, running: u32, is_here: impl Fn(Token) -> bool) -> Option<Token> {
        loop {
            let open = self.lines.iter_mut().filter(|line| line.limit > running);
            let first = open.min_by_key(|line| line.clients.front().map(|&(arrival, _)| arrival));
            let (_, client) = first?.clients.pop_front()?;
            self.drop_empty_lines();
            if is_here(client) {
                return Some(client);
            }
            self.left -= 1;
        }
    }

    /// A client has left before its turn came.
    pub(super) fn leave(&mut self, is_here: impl Fn(Token) -> bool) {
        self.left += 1;
        if self.left > self.len() / 2 {
            for line in &mut self.lines {
                line.clients.retain(|&(_, client)| is_here(client));
            }
            self.drop_empty_lines();
            self.left = 0;
        }
    }

    fn drop_empty_lines(&mut self) {
        self.lines.retain(|line| !line.clients.is_empty());
    }

    fn len(&self) -> usize {
        self.lines.iter().map(|line| line.clients.len()).sum()
    }
}

#[cfg(test)]
mod tests {
    use std::cell::{Cell, RefCell};
    use std::collections::BTreeSet;

    use super::*;
    use crate::worker::token::Op;

    /// A queue, and who is still there.
    #[derive(Default)]
    struct Scene {
        queue: Queue,
        here: RefCell<BTreeSet<u32>>,
        looks: Cell<usize>,
    }

    impl Scene {
        fn comes(&mut self, client: u32, limit: u32) {
            self.here.get_mut().insert(client);
            self.queue
                .join(Token::new(Op::Receive, 0, 0, client), limit);
        }

        fn leaves(&mut self, client: u32) {
            assert!(self.here.get_mut().remove(&client));
            self.queue.leave(|client| {
                self.looks.set(self.looks.get() + 1);
                self.here.borrow().contains(&client.slot())
            });
        }

        /// Whose turn it is while so many are at it, to the last.
        fn turns(&mut self, running: u32) -> Vec<u32> {
            let next = || {
                let here = |client: Token| self.here.borrow().contains(&client.slot());
                let client = self.queue.next(running, here)?.slot();
                self.here.get_mut().remove(&client);
                Some(client)
            };
            std::iter::from_fn(next).collect()
        }
    }

    #[test]
    fn turns_come_in_the_order_of_arrival() {
        let mut scene = Scene::default();
        for client in [5, 3, 4] {
            scene.comes(client, 1);
        }
        assert!(scene.turns(1).is_empty());
        assert_eq!(scene.turns(0), [5, 3, 4]);
        assert!(scene.turns(0).is_empty());
    }

    #[test]
    fn a_limit_holds_up_nobody_but_its_own() {
        let mut scene = Scene::default();
        for (client, limit) in [(1, 10), (2, 20), (3, 10), (4, 30), (5, 20)] {
            scene.comes(client, limit);
        }
        assert_eq!(scene.turns(10), [2, 4, 5], "whoever came first goes first");
        assert_eq!(scene.turns(9), [1, 3], "and the others keep their places");
    }

    #[test]
    fn who_has_left_is_passed_over() {
        let mut scene = Scene::default();
        for client in 1..=7 {
            scene.comes(client, 1 + client % 2);
        }
        for client in [1, 4, 7] {
            scene.leaves(client);
        }
        assert_eq!(scene.turns(0), [2, 3, 5, 6]);
        scene.comes(8, 1);
        scene.leaves(8);
        assert!(scene.turns(0).is_empty());
    }

    #[test]
    fn leaving_costs_the_same_however_many_wait_and_leaves_nothing_behind() {
        const CLIENTS: u32 = 10_000;
        let mut scene = Scene::default();
        for client in 0..CLIENTS {
            scene.comes(client, 1);
        }
        for client in 0..CLIENTS {
            // The last to have come is the farthest from the front.
            scene.leaves(CLIENTS - 1 - client);
            let waiting = scene.here.borrow().len();
            assert!(scene.queue.len() <= 2 * waiting + 1);
        }
        assert_eq!(scene.queue.len(), 0);
        assert!(scene.queue.lines.is_empty());
        let looks = scene.looks.get();
        assert!(looks <= 3 * CLIENTS as usize, "{looks} looks");
    }

    #[test]
    fn one_who_comes_and_goes_again_and_again_finds_an_empty_queue() {
        let mut scene = Scene::default();
        scene.comes(0, 1);
        for client in 1..1000 {
            scene.comes(client, 1);
            scene.leaves(client);
            assert!(scene.queue.len() <= 3);
        }
        assert_eq!(scene.turns(0), [0]);
    }
}
