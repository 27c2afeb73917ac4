//! What the servers say: who gets it, and where it ends.

use super::exchange::Outcome;
use super::failure::Ending;
use super::prepared::Text;
use super::server::{Connection, Duty, Purpose};
use super::{Order, Phase, Splitter, Taken};
use crate::mysql::login::Peer;
use crate::mysql::packet::{ErrPacket, HEADER_BYTES, Header, OkPacket, Status};
use crate::mysql::reply::{Event, Prepared, Violation};
use crate::mysql::route::Server;
use crate::mysql::track::{Change, SessionTrack};

/// `ER_CONNECTION_KILLED` of MariaDB: what it says to a connection that was ended by `KILL`.
const CONNECTION_KILLED: u16 = 1927;

/// An OK packet has at least as many bytes. What is shorter is an EOF packet, which reports nothing.
const OK_BYTES_MIN: u32 = 7;

/// What an event of a reply comes to, without what it borrows.
enum Heard {
    /// The reply goes on.
    More,
    /// A result has ended; the reply too, if it was the last.
    Result(Facts),
    /// An error has ended it.
    Error(u16),
    /// It has ended without either.
    Complete,
}

/// What an OK packet says that the session has to know.
#[derive(Default)]
struct Facts {
    last: bool,
    packet_bytes: usize,
    changed_session: bool,
    gtids: Option<Vec<u8>>,
    is_cut: bool,
}

impl Splitter {
    /// Takes the next thing that a server says from the front of `input`.
    pub fn server(
        &mut self,
        server: Server,
        input: &mut [u8],
        now_us: u64,
        orders: &mut Vec<Order>,
    ) -> Taken {
        if input.is_empty() {
            return Taken::NOTHING;
        }
        match self.side(server).duty {
            Duty::Idle => self.unasked(server, input, now_us, orders),
            Duty::Answer if self.rewrites_ok(server) => {
                self.answer_rewritten(server, input, now_us, orders)
            }
            Duty::Answer => self.follow_reply(server, Some(Peer::Client), input, now_us, orders),
            Duty::Agree | Duty::Own(_) => self.follow_reply(server, None, input, now_us, orders),
        }
    }

    /// How many of the next bytes of a server are the inside of a long row for the client, so that
    /// they need not be looked at. See [`Self::skip`].
    pub fn skippable(&self, server: Server) -> u32 {
        let side = self.side(server);
        match side.duty {
            Duty::Answer if self.unsettled.is_empty() => side.tracker.skippable(),
            _ => 0,
        }
    }

    /// As many of a server's bytes went to the client another way.
    pub fn skip(&mut self, server: Server, bytes: u32) {
        self.side_mut(server).tracker.skip(bytes);
    }

    /// The reply goes on as it is, to the client or, if it is for ringway alone, nowhere.
    fn follow_reply(
        &mut self,
        server: Server,
        to: Option<Peer>,
        input: &[u8],
        now_us: u64,
        orders: &mut Vec<Order>,
    ) -> Taken {
        let is_kept = self.side(server).duty == Duty::Own(Purpose::CatchUp);
        let mut rest = input;
        loop {
            let before = rest;
            let heard = match self.hear(server, &mut rest) {
                Ok(heard) => heard,
                Err(violation) => return self.violated(server, violation, input.len(), orders),
            };
            if is_kept {
                let taken = before.len().saturating_sub(rest.len());
                self.gather_answer(before.get(..taken).unwrap_or_default());
            }
            let taken = input.len().saturating_sub(rest.len());
            if self.heard(server, heard, now_us, orders) || rest.is_empty() {
                return match to {
                    Some(peer) => Taken::passed(taken, peer),
                    None => Taken::dropped(taken),
                };
            }
        }
    }

    /// The reply is the client's, but for what the primary tells only ringway. One event at a time,
    /// because every OK packet is written anew.
    fn answer_rewritten(
        &mut self,
        server: Server,
        input: &[u8],
        now_us: u64,
        orders: &mut Vec<Order>,
    ) -> Taken {
        let mut rest = input;
        let heard = match self.hear(server, &mut rest) {
            Ok(heard) => heard,
            Err(violation) => return self.violated(server, violation, input.len(), orders),
        };
        let taken = input.len().saturating_sub(rest.len());
        let bytes = input.get(..taken).unwrap_or_default();
        let held_back = match &heard {
            Heard::Result(facts) => facts.packet_bytes,
            _ => usize::try_from(self.side(server).tracker.unsettled()).unwrap_or(usize::MAX),
        };
        let known = self.unsettled.len();
        // What was held back before and is settled now, and what is settled of the new bytes.
        let settled = known.saturating_add(taken).saturating_sub(held_back);
        let (of_held, of_new) = (settled.min(known), settled.saturating_sub(known));
        let mut result = Taken::passed(of_new, Peer::Client);
        result.dropped = taken.saturating_sub(of_new);
        let mut held = std::mem::take(&mut self.unsettled);
        let mut kept = held.split_off(of_held);
        kept.extend_from_slice(bytes.get(of_new..).unwrap_or_default());
        if !held.is_empty() {
            // It has to come first: all of it is sent from here.
            held.extend_from_slice(bytes.get(..of_new).unwrap_or_default());
            orders.push(Order::Send(Peer::Client, held));
            result = Taken::dropped(taken);
        }
        match heard {
            Heard::Result(_) => orders.push(Order::Send(Peer::Client, self.rewritten(&kept))),
            _ if self.side(server).tracker.is_complete() => {
                orders.push(Order::Send(Peer::Client, kept));
            }
            _ => self.unsettled = kept,
        }
        self.heard(server, heard, now_us, orders);
        result
    }

    /// A packet of the primary's as the client is to have it.
    fn rewritten(&self, packet: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        let Some((header, payload)) = packet.split_first_chunk::<HEADER_BYTES>() else {
            return packet.to_vec();
        };
        let header = Header::parse(*header);
        let ok = OkPacket::parse(payload, self.established.primary_capabilities);
        match (ok, payload.first()) {
            (Ok(ok), Some(&kind)) if header.len >= OK_BYTES_MIN => {
                ok.write(
                    &mut out,
                    header.sequence,
                    kind,
                    self.established.capabilities,
                );
            }
            _ => out.extend_from_slice(packet),
        }
        out
    }

    /// Keeps what the replica says about the session's own writes: a few dozen bytes.
    fn gather_answer(&mut self, bytes: &[u8]) {
        let room = crate::limits::OWN_REPLY_BYTES_MAX.saturating_sub(self.gathered.len());
        self.gathered
            .extend_from_slice(bytes.get(..room).unwrap_or(bytes));
    }

    /// One event of a server's reply.
    fn hear(&mut self, server: Server, rest: &mut &[u8]) -> Result<Heard, Violation> {
        let side = match server {
            Server::Primary => &mut self.primary,
            Server::Replica => &mut self.replica,
        };
        let (heard, prepared, file) = match side.tracker.feed(rest)? {
            Event::More | Event::Columns(_) => (Heard::More, None, false),
            Event::Result {
                ok,
                packet_bytes,
                last,
            } => (Heard::Result(facts(&ok, packet_bytes, last)), None, false),
            Event::Error(error) => (Heard::Error(error.code), None, false),
            Event::Prepared(prepared) => (Heard::More, Some(prepared), false),
            Event::WantsFile(_) => (Heard::More, None, true),
            Event::Complete => (Heard::Complete, None, false),
            Event::Authentication(payload) => {
                let first = payload.first().copied().unwrap_or_default();
                return Err(Violation::Unexpected(first));
            }
        };
        if let Heard::Result(facts) = &heard
            && facts.last
        {
            side.status = side.tracker.status();
        }
        let complete = side.tracker.is_complete();
        if let Some(prepared) = prepared {
            self.prepared_at(server, prepared);
            if complete {
                return Ok(Heard::Complete);
            }
        }
        if file {
            self.framer = Default::default();
            self.phase = Phase::File(server);
        }
        Ok(heard)
    }

    /// Takes note of what was heard. Whether the reply is over.
    fn heard(
        &mut self,
        server: Server,
        heard: Heard,
        now_us: u64,
        orders: &mut Vec<Order>,
    ) -> bool {
        let (outcome, changed) = match heard {
            Heard::More => return false,
            Heard::Result(facts) => {
                let own = matches!(self.side(server).duty, Duty::Own(_));
                if server == Server::Primary && !own {
                    self.note_written(facts.gtids.as_deref(), facts.is_cut, now_us);
                }
                if !facts.last {
                    if let Some(exchange) = &mut self.exchange
                        && !own
                    {
                        exchange.several_results = true;
                    }
                    return false;
                }
                (Outcome::Ok, facts.changed_session)
            }
            Heard::Error(code) => {
                let own = matches!(self.side(server).duty, Duty::Own(_));
                if server == Server::Primary && !own {
                    self.note_failed(code, now_us);
                }
                (Outcome::Error(code), false)
            }
            Heard::Complete => (Outcome::Ok, false),
        };
        match self.side(server).duty {
            Duty::Own(purpose) => self.own_reply(server, purpose, outcome, now_us, orders),
            _ => self.settle(server, outcome, changed, now_us, orders),
        }
        if outcome == Outcome::Error(CONNECTION_KILLED) && server == Server::Primary {
            self.phase = Phase::Closed;
            orders.push(Order::End(Ending::Killed));
        }
        true
    }

    /// A reply to something that ringway has asked by itself.
    fn own_reply(
        &mut self,
        server: Server,
        purpose: Purpose,
        outcome: Outcome,
        now_us: u64,
        orders: &mut Vec<Order>,
    ) {
        let failed = outcome != Outcome::Ok;
        let side = self.side_mut(server);
        side.duty = Duty::Idle;
        let status = side.status;
        self.state.set_status(server, status);
        match purpose {
            Purpose::Track | Purpose::KillQuery => self.resume(now_us, orders),
            Purpose::EndTransaction if failed => self.lost(server, now_us, orders),
            Purpose::EndTransaction => self.resume(now_us, orders),
            Purpose::Prepare(_) | Purpose::Replay(_) if failed => {
                // It is not in the state that the primary is in.
                self.detach_replica(orders);
                self.redirect(now_us, orders);
            }
            Purpose::Prepare(_) => self.resume(now_us, orders),
            Purpose::Replay(index) => {
                if !self.replay(index.saturating_add(1), orders) {
                    self.resume(now_us, orders);
                }
            }
            Purpose::CatchUp => {
                let has_row = !failed && has_row(&self.gathered);
                self.caught_up(has_row, now_us, orders);
            }
        }
    }

    /// A server has prepared a statement, for the client or for ringway.
    fn prepared_at(&mut self, server: Server, prepared: Prepared) {
        if let Duty::Own(Purpose::Prepare(id)) = self.side(server).duty {
            if let Some(known) = self.prepared.get_mut(id) {
                known.prepared_at_replica(prepared.statement_id);
            }
            return;
        }
        let prepares = self.exchange.as_ref().and_then(|e| e.ask.prepares);
        if let Some(statement) = prepares {
            let bytes = std::mem::take(&mut self.preparing);
            let text = Text {
                bytes: &bytes,
                dialect: self.state.dialect(),
                meaning: self.meaning,
            };
            self.prepared.add(server, prepared, statement, text);
        }
    }

    /// Bytes from a server that was not asked anything: it says goodbye, or has lost the thread.
    fn unasked(
        &mut self,
        server: Server,
        input: &[u8],
        now_us: u64,
        orders: &mut Vec<Order>,
    ) -> Taken {
        if self.side(server).connection == Connection::Open {
            let payload = input.get(HEADER_BYTES..).unwrap_or_default();
            let killed = ErrPacket::parse(payload).is_ok_and(|e| e.code == CONNECTION_KILLED);
            orders.push(Order::Close(server));
            if killed && server == Server::Primary {
                self.phase = Phase::Closed;
                orders.push(Order::End(Ending::Killed));
            } else {
                self.lost(server, now_us, orders);
            }
        }
        Taken::dropped(input.len())
    }

    /// A reply that is none: nothing that this server sends can be trusted to belong to anything.
    fn violated(
        &mut self,
        server: Server,
        violation: Violation,
        bytes: usize,
        orders: &mut Vec<Order>,
    ) -> Taken {
        self.phase = Phase::Closed;
        self.side_mut(server).duty = Duty::Idle;
        self.side_mut(server).connection = Connection::Closed;
        orders.push(Order::End(Ending::Violation(server, violation)));
        Taken::dropped(bytes)
    }
}

fn facts(ok: &OkPacket<'_>, packet_bytes: u64, last: bool) -> Facts {
    let mut facts = Facts {
        last,
        packet_bytes: usize::try_from(packet_bytes).unwrap_or(usize::MAX),
        is_cut: ok.track_cut,
        ..Facts::default()
    };
    if !ok.status.contains(Status::SESSION_STATE_CHANGED) {
        return facts;
    }
    for change in SessionTrack::new(ok.track) {
        match (change.gtids(), change) {
            (Some(gtids), _) => facts.gtids = Some(gtids.to_vec()),
            (None, Change::Variable { .. } | Change::Schema(_)) => facts.changed_session = true,
            (None, _) => {}
        }
    }
    facts
}

/// Whether a result set of one column has a row: packets for the number of columns, the column and
/// the end, one more for an EOF between them, and the row.
fn has_row(mut reply: &[u8]) -> bool {
    let mut rows = 0_usize;
    let mut packets = 0_usize;
    while let Some((header, rest)) = reply.split_first_chunk::<HEADER_BYTES>() {
        let len = Header::parse(*header).payload_bytes();
        let Some((payload, rest)) = rest.split_at_checked(len) else {
            break;
        };
        packets = packets.saturating_add(1);
        let is_end = payload.first() == Some(&0xFE);
        rows = rows.saturating_add(usize::from(packets > 2 && !is_end));
        reply = rest;
    }
    rows > 0
}
