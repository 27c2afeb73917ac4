//! A server that does not answer SYNs: its accept queue is full, and nobody accepts.

use std::net::{Ipv4Addr, SocketAddr};

use socket2::{Domain, Socket, Type};

use super::peer::{Peer, Server};

/// A server behind a black hole.
#[derive(Debug)]
pub(crate) struct Blackhole {
    listening: Socket,
    filler: Peer,
}

impl Blackhole {
    /// On a port of the kernel's choice on 127.0.0.1.
    pub(crate) fn new() -> Self {
        let listening = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        listening
            .bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into())
            .unwrap();
        // A backlog of 0 holds one connection; the kernel drops what comes after it.
        listening.listen(0).unwrap();
        let filler = Peer::connect(listening.local_addr().unwrap());
        Self { listening, filler }
    }

    /// Where it would listen.
    pub(crate) fn address(&self) -> SocketAddr {
        self.listening.local_addr().unwrap().as_socket().unwrap()
    }

    /// It answers from now on. Whoever tries already gets through with the next SYN, which the
    /// kernel sends a second after the first.
    pub(crate) fn open(self) -> Server {
        let server = Server::new(self.listening);
        server.socket().listen(4096).unwrap();
        server.accept();
        server
    }
}
