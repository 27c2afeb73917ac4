//! What must hold for any bytes: driven by the fuzz targets, their corpora and property tests.

use std::sync::Arc;

use crate::mysql::auth::{Credential, Password};
use crate::mysql::capabilities::Capabilities;
use crate::mysql::command::Reply;
use crate::mysql::cursor::Cursor;
use crate::mysql::framer::{Frame, Framer};
use crate::mysql::login::{Action, ClientTls, Login, Peer, Rules};
use crate::mysql::packet::Header;
use crate::mysql::reply::{Event, ReplyTracker};

/// What a framer found, regardless of how the bytes came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Seen {
    /// A header, and whether it continues a message.
    Header(Header, bool),
    /// Payload.
    Payload(Vec<u8>),
    /// The end of a message.
    End,
}

/// The frames of a stream that arrives in pieces of these sizes, over and over.
pub fn frames(bytes: &[u8], cuts: &[usize]) -> Vec<Seen> {
    let mut framer = Framer::default();
    let mut seen = Vec::new();
    for mut piece in pieces(bytes, cuts) {
        while let Some(frame) = framer.next(&mut piece) {
            match (frame, seen.last_mut()) {
                (Frame::Payload(more), Some(Seen::Payload(bytes))) => bytes.extend(more),
                (Frame::Payload(bytes), _) => seen.push(Seen::Payload(bytes.to_vec())),
                (Frame::End, _) => seen.push(Seen::End),
                (
                    Frame::Header {
                        header,
                        continuation,
                    },
                    _,
                ) => seen.push(Seen::Header(header, continuation)),
            }
        }
        assert!(piece.is_empty(), "a framer takes everything");
    }
    seen
}

/// Any bytes have the same packets, however they arrive.
///
/// # Panics
/// When they have not.
pub fn check_framing(data: &[u8]) {
    let whole = frames(data, &[usize::MAX]);
    assert_eq!(frames(data, &[1]), whole);
    let cuts: Vec<usize> = data
        .iter()
        .take(8)
        .map(|&cut| usize::from(cut) + 1)
        .collect();
    assert_eq!(frames(data, &cuts), whole);

    // The short way finds the same packets as the long one.
    let (mut framer, mut input) = (Framer::default(), data);
    let mut taken = Vec::new();
    while let Some((header, payload)) = framer.whole(&mut input) {
        taken.push(Seen::Header(header, false));
        if !payload.is_empty() {
            taken.push(Seen::Payload(payload.to_vec()));
        }
        taken.push(Seen::End);
    }
    assert!(whole.starts_with(&taken));
}

/// The agreements that a reply's layout depends on.
pub const AGREEMENTS: [Capabilities; 6] = [
    Capabilities::DEPRECATE_EOF,
    Capabilities::SESSION_TRACK,
    Capabilities::OPTIONAL_METADATA,
    Capabilities::MARIADB_CACHE_METADATA,
    Capabilities::MARIADB_PROGRESS,
    Capabilities::MYSQL,
];

/// Every kind of reply.
pub const REPLIES: [Reply; 10] = [
    Reply::None,
    Reply::Status,
    Reply::Results,
    Reply::Execution,
    Reply::Rows,
    Reply::Prepared,
    Reply::Fields,
    Reply::Text,
    Reply::Stream,
    Reply::Authentication,
];

/// Any bytes are the same reply, however they arrive. The first byte says what was agreed, the
/// second what is expected, the others are the reply.
///
/// # Panics
/// When they are not.
pub fn check_reply(data: &[u8]) {
    let [agreed, kind, reply @ ..] = data else {
        return;
    };
    let agreed = AGREEMENTS
        .iter()
        .enumerate()
        .filter(|(bit, _)| agreed & (1 << bit) != 0)
        .fold(Capabilities::NONE, |all, (_, one)| all | *one);
    let expected = REPLIES[usize::from(*kind) % REPLIES.len()];
    let whole = follow(agreed, expected, reply, &[usize::MAX], false);
    assert!(whole.taken <= reply.len());
    for cuts in [&[1][..], &[3, 5, 2], &[4, 1]] {
        assert_eq!(follow(agreed, expected, reply, cuts, false), whole);
        assert_eq!(follow(agreed, expected, reply, cuts, true), whole);
    }
}

/// What came of a reply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Followed {
    /// The events in their order, in words; at the end the complaint, if there was one.
    pub events: Vec<String>,
    /// Bytes that belong to the reply. Where it ends with a complaint this says nothing.
    pub taken: usize,
    /// Whether it is complete.
    pub complete: bool,
}

/// Follows a reply that arrives in pieces of these sizes. `skipping` lets the insides of rows pass
/// by another way.
pub fn follow(
    agreed: Capabilities,
    expected: Reply,
    bytes: &[u8],
    cuts: &[usize],
    skipping: bool,
) -> Followed {
    let mut tracker = ReplyTracker::new(agreed);
    tracker.start(expected, 1);
    tracker.offer_files(u8::MAX);
    let (mut events, mut taken) = (Vec::new(), 0);
    'reply: for mut piece in pieces(bytes, cuts) {
        while !piece.is_empty() && !tracker.is_complete() {
            let before = piece.len();
            if skipping && tracker.skippable() > 0 {
                let count = piece.len().min(tracker.skippable() as usize);
                tracker.skip(count as u32);
                piece = &piece[count..];
                taken += count;
                continue;
            }
            let more = match tracker.feed(&mut piece) {
                Err(violation) => {
                    events.push(violation.to_string());
                    taken = 0;
                    break 'reply;
                }
                Ok(Event::More) => true,
                Ok(event) => {
                    events.push(format!("{event:?}"));
                    false
                }
            };
            taken += before - piece.len();
            if tracker.waits_for_file() {
                tracker.resume_after_file(3);
            }
            assert!(
                !more || piece.is_empty() || tracker.is_complete(),
                "no progress"
            );
            assert!(tracker.unsettled() <= taken as u64);
        }
    }
    Followed {
        complete: tracker.is_complete(),
        events,
        taken,
    }
}

/// Cuts bytes into pieces of these sizes, over and over.
pub fn pieces<'a>(bytes: &'a [u8], cuts: &'a [usize]) -> impl Iterator<Item = &'a [u8]> {
    let mut rest = bytes;
    cuts.iter().cycle().map_while(move |&cut| {
        if rest.is_empty() {
            return None;
        }
        let (piece, after) = rest.split_at(cut.clamp(1, rest.len()));
        rest = after;
        Some(piece)
    })
}

/// Any three peers end a login, one way or another. Each step of the input is a byte that says who
/// does what, and for bytes a length and that many of them.
///
/// # Panics
/// When a login does what it must not.
pub fn check_login(data: &[u8]) {
    let mut cursor = Cursor::new(data);
    let Ok(options) = cursor.u8("options") else {
        return;
    };
    let mut rules = Rules {
        local_infile: options & 1 != 0,
        track_gtids: options & 2 != 0,
        ..Rules::default()
    };
    if options & 4 != 0 {
        let password = Arc::new(Password::new("secret"));
        rules
            .accounts
            .insert(b"app".to_vec(), Credential::Password(password));
    }
    let client_tls = match options >> 4 & 3 {
        0 => ClientTls::Offered,
        1 => ClientTls::Required,
        _ => ClientTls::Off,
    };
    let login = Login::new(Arc::new(rules), "192.0.2.1", options & 8 == 0);
    let mut watch = Watch::new(login.with_client_tls(client_tls));
    while let Ok(step) = cursor.u8("step") {
        let peer = PEERS[usize::from(step & 3) % 3];
        match step >> 2 & 3 {
            0 => watch.lose(peer),
            1 => watch.act(|login, actions| login.replica_timed_out(actions)),
            _ => {
                let Ok(bytes) = cursor.lenenc_bytes("bytes") else {
                    break;
                };
                watch.feed(peer, bytes);
            }
        }
    }
    PEERS.iter().for_each(|&peer| watch.lose(peer));
    assert!(watch.login.is_finished(), "everybody is gone");
    assert!(watch.over, "a login ends");
}

const PEERS: [Peer; 3] = [Peer::Client, Peer::Primary, Peer::Replica];

/// A login, and what it may not do any more.
struct Watch {
    login: Login,
    over: bool,
    /// Which connections are there.
    open: [bool; 3],
    /// Bytes that were not taken yet.
    pending: [Vec<u8>; 3],
}

impl Watch {
    fn new(login: Login) -> Self {
        Self {
            login,
            over: false,
            open: [true, true, false],
            pending: Default::default(),
        }
    }

    fn lose(&mut self, peer: Peer) {
        if std::mem::take(&mut self.open[peer as usize]) {
            self.act(|login, actions| login.lost(peer, actions));
        }
    }

    fn feed(&mut self, peer: Peer, bytes: &[u8]) {
        if !self.open[peer as usize] {
            return;
        }
        self.pending[peer as usize].extend(bytes);
        // What one peer says may let another one's bytes be taken.
        for peer in PEERS {
            let bytes = std::mem::take(&mut self.pending[peer as usize]);
            let mut input = &bytes[..];
            self.act(|login, actions| match peer {
                Peer::Client => login.from_client(&mut input, actions),
                Peer::Primary => login.from_primary(&mut input, actions),
                Peer::Replica => login.from_replica(&mut input, actions),
            });
            self.pending[peer as usize] = input.to_vec();
        }
    }

    fn act(&mut self, step: impl FnOnce(&mut Login, &mut Vec<Action>)) {
        let mut actions = Vec::new();
        step(&mut self.login, &mut actions);
        for action in actions {
            match action {
                Action::Send(peer, bytes) => {
                    assert!(!bytes.is_empty() && self.open[peer as usize]);
                    assert!(!(self.over && peer == Peer::Client), "the client is done");
                }
                Action::StartTls => self.login.client_shook_hands(),
                Action::OpenReplica => {
                    assert!(!std::mem::replace(
                        &mut self.open[Peer::Replica as usize],
                        true
                    ));
                }
                Action::Close(peer) => {
                    assert!(peer != Peer::Client);
                    assert!(std::mem::take(&mut self.open[peer as usize]));
                }
                Action::Complete(established) => {
                    assert!(!std::mem::replace(&mut self.over, true));
                    assert!(established.primary.is_some() || established.reads_only);
                    let split = established.replica.is_some() && !established.reads_only;
                    assert!(!(split && established.primary_only.is_some()));
                }
                Action::Fail(_) => assert!(!std::mem::replace(&mut self.over, true)),
            }
        }
    }
}
