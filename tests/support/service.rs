//! Servers that serve by themselves, on threads, until they are dropped.

use std::io::Write;
use std::net::{Shutdown, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU16, AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};

use super::peer::{Peer, Server};

/// A server that does the same with every connection.
#[derive(Debug)]
pub(crate) struct Service {
    server: Arc<Server>,
    accepted: Arc<AtomicUsize>,
    ended: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Service {
    /// Serves each connection on a thread of its own.
    pub(crate) fn start(serve: impl Fn(Peer) + Clone + Send + 'static) -> Self {
        Self::at(Server::listen(), serve)
    }

    /// Serves each connection to this server on a thread of its own.
    pub(crate) fn at(server: Server, serve: impl Fn(Peer) + Clone + Send + 'static) -> Self {
        let server = Arc::new(server);
        let accepted = Arc::new(AtomicUsize::new(0));
        let ended = Arc::new(AtomicBool::new(false));
        let thread = thread::spawn({
            let (server, accepted, ended) = (server.clone(), accepted.clone(), ended.clone());
            move || {
                while !ended.load(Ordering::SeqCst) {
                    if let Ok(peer) = server.try_accept() {
                        accepted.fetch_add(1, Ordering::SeqCst);
                        let serve = serve.clone();
                        thread::spawn(move || serve(peer));
                    }
                }
            }
        });
        Self {
            server,
            accepted,
            ended,
            thread: Some(thread),
        }
    }

    /// Sends back what it gets.
    pub(crate) fn echo() -> Self {
        Self::start(|peer| peer.echo())
    }

    /// Greets with one byte, and keeps the connection until the client has finished.
    pub(crate) fn greeter(greeting: u8) -> Self {
        Self::start(move |peer| greet(&peer, greeting))
    }

    /// [`Self::greeter`] at this address.
    pub(crate) fn greeter_at(address: SocketAddr, greeting: u8) -> Self {
        Self::at(Server::listen_at(address), move |peer| {
            greet(&peer, greeting)
        })
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.server.address()
    }

    /// How many connections it has taken.
    pub(crate) fn accepted(&self) -> usize {
        self.accepted.load(Ordering::SeqCst)
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::SeqCst);
        // Ends the accept that waits.
        let _ = self.server.socket().shutdown(Shutdown::Both);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn greet(peer: &Peer, greeting: u8) {
    if peer.socket().send(&[greeting]).is_ok() {
        let mut ignored = Vec::new();
        let _ = std::io::Read::read_to_end(&mut peer.socket(), &mut ignored);
    }
}

/// A web server that answers one request a connection, with a status that can be changed.
#[derive(Debug)]
pub(crate) struct WebServer {
    service: Service,
    /// What it answers in turn.
    statuses: Arc<[AtomicU16; 2]>,
}

impl WebServer {
    /// Answers 200.
    pub(crate) fn start() -> Self {
        Self::alternating([200, 200])
    }

    /// Answers one request with the first status, the next with the second, and so on.
    pub(crate) fn alternating(statuses: [u16; 2]) -> Self {
        let statuses = Arc::new(statuses.map(AtomicU16::new));
        let answers = Arc::clone(&statuses);
        let answered = Arc::new(AtomicUsize::new(0));
        let service = Service::start(move |peer| {
            let mut request = [0; 4096];
            // A check that gives up, or that only connects, sends nothing.
            if matches!(
                std::io::Read::read(&mut peer.socket(), &mut request),
                Ok(1..)
            ) {
                let turn = answered.fetch_add(1, Ordering::SeqCst) % 2;
                let status = answers[turn].load(Ordering::SeqCst);
                let _ = write!(
                    peer.socket(),
                    "HTTP/1.1 {status} So\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok"
                );
            }
        });
        Self { service, statuses }
    }

    /// Answers so from now on.
    pub(crate) fn set_status(&self, status: u16) {
        for turn in &*self.statuses {
            turn.store(status, Ordering::SeqCst);
        }
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.service.address()
    }

    /// How many connections it has taken.
    pub(crate) fn accepted(&self) -> usize {
        self.service.accepted()
    }
}
