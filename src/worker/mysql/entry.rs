//! Whether servers let sessions in. A replica that takes connections and turns everybody away is
//! avoided like one that takes no connection: asked by each new session, it would not come to rest.

use std::sync::Arc;

use crate::balance::Failure;
use crate::telemetry::{ConnectError, Notice};
use crate::worker::event_loop::Worker;
use crate::worker::kernel::Kernel;
use crate::worker::session::REPLICA;

impl<K: Kernel> Worker<K> {
    /// A server has let the session in.
    pub(super) fn let_in(&mut self, slot: u32, leg: usize) {
        let session = &self.sessions[slot];
        let (socket, tuning) = (session.leg(leg).socket, session.route.tuning);
        self.kernel.tune(socket, &tuning);
        let session = &self.sessions[slot];
        let server = session.leg(leg).member.map(|m| session.route.server(m));
        if let Some(server) = server
            && server.logged_in()
        {
            let server = Arc::clone(server);
            self.shared.notices.push(Notice::ServerRecovered { server });
        }
    }

    /// A server has turned the session away, as it would anybody.
    ///
    /// A primary goes on being asked: the client hears its own words, and another primary that stood
    /// in for one that is merely full would tear the data apart.
    pub(super) fn note_turned_away(&mut self, slot: u32, leg: usize) {
        let now_ms = self.now_ms();
        let session = &self.sessions[slot];
        let (route, error) = (&session.route, ConnectError::TurnedAway);
        let Some(member) = session.leg(leg).member else {
            return;
        };
        route.server_counters(member).connect_failures(error).add(1);
        if leg == REPLICA && route.pool.turned_away(member.into(), now_ms) == Failure::Ejected {
            let server = Arc::clone(route.server(member));
            self.shared
                .notices
                .push(Notice::ServerFailing { server, error });
        }
    }
}
