//! Handshakes and logins that one end breaks off in the middle of what it says: at each byte, and at
//! some of them again and again.

use std::io::{self, ErrorKind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::balancer::Balancer;
use super::peer::{End, Peer};
use super::tls::TlsPeer;

/// Longer than anything that is to be cut: a loop over its bytes comes to an end.
const BYTES_MAX: usize = 10_000;

/// Bytes at which something is cut again and again, and how often at each in a half of a test.
const PLACES: usize = 20;
const TIMES: usize = 250;

/// What `PLACES * TIMES` cuts may leave: half of a hundred bytes for each would be more.
const SPARE_KIB: u64 = 1024;

const _: () = assert!(((PLACES * TIMES) as u64) * 100 / 2 < SPARE_KIB * 1024);

/// Where one end of a connection leaves.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cut {
    /// After so many bytes of all that it has to say ...
    pub(crate) after: usize,
    /// ... and how.
    pub(crate) end: End,
}

impl Cut {
    /// Has one end of a connection talk and leave here. `Some`: it had no more to say than that,
    /// and has stayed.
    #[track_caller]
    pub(crate) fn off(
        self,
        peer: Peer,
        talk: impl FnOnce(Peer) -> io::Result<TlsPeer>,
    ) -> Option<TlsPeer> {
        // The connection is not to end with whoever talks, but as it is said here.
        let connection = peer.same();
        match talk(peer.saying(self.after)) {
            Ok(peer) => {
                peer.peer().say_on();
                Some(peer)
            }
            Err(error) if error.kind() == ErrorKind::WriteZero => {
                connection.leave(self.end);
                None
            }
            Err(error) => panic!("{self:?}, but: {error}"),
        }
    }
}

/// Cuts one byte later each time, until nothing is cut off any more; how often something was.
#[track_caller]
pub(crate) fn at_each_byte(end: End, mut is_through: impl FnMut(Cut) -> bool) -> usize {
    (0..BYTES_MAX)
        .find(|&after| is_through(Cut { after, end }))
        .expect("all is said in the end")
}

/// Cuts something of so many bytes at twenty of them, five hundred times each, by FIN and by RST in
/// turn, and asserts that the later half of it costs no memory.
#[track_caller]
pub(crate) fn cost_no_memory(balancer: &Balancer, bytes: usize, mut cut: impl FnMut(Cut)) {
    balancer.wait_active(0);
    let mut all = || {
        for end in [End::Fin, End::Reset].into_iter().cycle().take(TIMES) {
            for place in 0..PLACES {
                // Closer at the beginning, where they cost the least.
                let after = place * place * bytes / (PLACES * PLACES);
                cut(Cut { after, end });
            }
        }
        balancer.wait_active(0);
        balancer.process().resident_kib()
    };
    let before_kib = all();
    let grown_kib = all().saturating_sub(before_kib);
    assert!(grown_kib < SPARE_KIB, "{grown_kib} KiB more");
}

/// Where a server leaves in the next of its connections, and what has become of that.
#[derive(Clone, Debug, Default)]
pub(crate) struct Leaver(Arc<Mutex<Plan>>);

#[derive(Debug, Default)]
struct Plan {
    next: Option<Cut>,
    is_through: bool,
    said: usize,
}

impl Leaver {
    /// The server is to leave here in the next connection that is made to it, which `connect` sees
    /// to. Whether it had no more to say than that.
    #[track_caller]
    pub(crate) fn is_through(&self, cut: Cut, connect: impl FnOnce()) -> bool {
        let mut plan = self.plan();
        (plan.next, plan.is_through) = (Some(cut), false);
        drop(plan);
        connect();
        let plan = self.plan();
        assert!(plan.next.is_none(), "nobody has connected to it");
        plan.is_through
    }

    /// Where to leave in a connection that has just been made.
    pub(crate) fn next(&self) -> Option<Cut> {
        self.plan().next.take()
    }

    /// Has the server talk, and leave if and where it is to. `Some`: it has stayed.
    pub(crate) fn talk(
        &self,
        cut: Option<Cut>,
        peer: Peer,
        talk: impl FnOnce(Peer) -> io::Result<TlsPeer>,
    ) -> Option<TlsPeer> {
        let Some(cut) = cut else {
            let peer = talk(peer).ok()?;
            self.plan().said = peer.peer().said();
            return Some(peer);
        };
        let peer = cut.off(peer, talk);
        self.plan().is_through = peer.is_some();
        peer
    }

    /// Bytes of all that the server had to say the last time that it was not to leave.
    pub(crate) fn said(&self) -> usize {
        self.plan().said
    }

    fn plan(&self) -> MutexGuard<'_, Plan> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
