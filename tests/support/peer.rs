//! Scripted peers: a client or a server that does exactly what the test says, on a blocking socket
//! with a deadline on every call.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use socket2::{Domain, SockAddr, Socket, Type};

use super::balancer::Balancer;
use super::wait::DEADLINE;

/// One end of a connection.
#[derive(Debug)]
pub(crate) struct Peer {
    socket: Socket,
    /// The other side had accepted and reset before connect(2) returned: the call has taken the
    /// error, which no read will see any more.
    reset_in_connect: bool,
    /// Bytes that it may still send: more of them are not taken.
    sayable: AtomicUsize,
}

/// How the other side's bytes ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// FIN.
    Fin,
    /// RST.
    Reset,
}

/// A listening socket that accepts when told to.
#[derive(Debug)]
pub(crate) struct Server {
    socket: Socket,
}

impl Peer {
    /// Connects.
    #[track_caller]
    pub(crate) fn connect(address: impl Into<SockAddr>) -> Self {
        Self::connect_with(address, |_| {})
    }

    /// Connects a socket that was prepared.
    #[track_caller]
    pub(crate) fn connect_with(address: impl Into<SockAddr>, prepare: impl Fn(&Socket)) -> Self {
        let address = address.into();
        let (peer, connected) = Self::prepared(&address, prepare);
        match connected {
            Ok(()) => peer,
            // Not ECONNREFUSED, so it was connected for a moment.
            Err(error) if error.kind() == ErrorKind::ConnectionReset => Self {
                reset_in_connect: true,
                ..peer
            },
            Err(error) => panic!("cannot connect to {address:?}: {error}"),
        }
    }

    /// Connects a socket that was prepared, unless that fails.
    pub(crate) fn try_connect(address: &SockAddr, prepare: impl Fn(&Socket)) -> io::Result<Self> {
        let (peer, connected) = Self::prepared(address, prepare);
        connected.map(|()| peer)
    }

    /// A socket that was prepared, and how it connected.
    fn prepared(address: &SockAddr, prepare: impl Fn(&Socket)) -> (Self, io::Result<()>) {
        let socket = Socket::new(address.domain(), Type::STREAM, None).unwrap();
        prepare(&socket);
        let connected = socket.connect_timeout(address, DEADLINE);
        (Self::new(socket), connected)
    }

    fn new(socket: Socket) -> Self {
        socket.set_read_timeout(Some(DEADLINE)).unwrap();
        socket.set_write_timeout(Some(DEADLINE)).unwrap();
        // Unix sockets have nothing to delay.
        let _ = socket.set_tcp_nodelay(true);
        Self {
            socket,
            reset_in_connect: false,
            sayable: AtomicUsize::new(usize::MAX),
        }
    }

    /// From here on so many bytes can be sent, and then no more: see [`ErrorKind::WriteZero`].
    pub(crate) fn saying(self, bytes: usize) -> Self {
        self.sayable.store(bytes, Ordering::SeqCst);
        self
    }

    /// Everything can be sent again.
    pub(crate) fn say_on(&self) {
        self.sayable.store(usize::MAX, Ordering::SeqCst);
    }

    /// Bytes that were sent, of a connection that may send everything.
    pub(crate) fn said(&self) -> usize {
        usize::MAX - self.sayable.load(Ordering::SeqCst)
    }

    /// The same end of the same connection, which lives as long as one of the two.
    pub(crate) fn same(&self) -> Self {
        Self::new(self.socket.try_clone().unwrap())
    }

    /// The socket, for what is not scripted here.
    pub(crate) fn socket(&self) -> &Socket {
        &self.socket
    }

    /// Its own address.
    pub(crate) fn local_address(&self) -> SocketAddr {
        self.socket
            .local_addr()
            .unwrap()
            .as_socket()
            .expect("not a unix socket")
    }

    /// Sends all of `bytes`.
    #[track_caller]
    pub(crate) fn send(&self, bytes: impl AsRef<[u8]>) {
        let mut this = self;
        this.write_all(bytes.as_ref())
            .unwrap_or_else(|error| panic!("cannot send: {error}"));
    }

    /// A question of eight bytes to the server at the other end, its answer of six, and both ends.
    #[track_caller]
    pub(crate) fn exchanges_with(&self, server: &Self) {
        self.send("question");
        self.finish();
        assert_eq!(server.receive_rest(), (b"question".to_vec(), End::Fin));
        server.send("answer");
        server.finish();
        assert_eq!(self.receive_rest(), (b"answer".to_vec(), End::Fin));
    }

    /// Sends until nothing more is taken for `patience`; tells how many bytes were.
    #[track_caller]
    pub(crate) fn send_until_stuck(&self, patience: Duration) -> usize {
        self.send_pieces_until_stuck(64 * 1024, Duration::ZERO, patience)
    }

    /// The same in pieces of this size, each a moment after the other.
    #[track_caller]
    pub(crate) fn send_pieces_until_stuck(
        &self,
        piece: usize,
        pause: Duration,
        patience: Duration,
    ) -> usize {
        let piece = vec![b'x'; piece];
        let mut sent = 0;
        self.socket.set_write_timeout(Some(patience)).unwrap();
        loop {
            std::thread::sleep(pause);
            match (&self.socket).write(&piece) {
                Ok(bytes) => sent += bytes,
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => panic!("cannot send: {error}"),
            }
        }
        self.socket.set_write_timeout(Some(DEADLINE)).unwrap();
        sent
    }

    /// Receives `len` bytes, no matter in how many pieces.
    #[track_caller]
    pub(crate) fn receive(&self, len: usize) -> Vec<u8> {
        let mut bytes = vec![0; len];
        (&self.socket)
            .read_exact(&mut bytes)
            .unwrap_or_else(|error| panic!("cannot receive {len} bytes: {error}"));
        bytes
    }

    /// Receives what is there, at most what `buffer` takes; 0 at the end.
    #[track_caller]
    pub(crate) fn receive_some(&self, buffer: &mut [u8]) -> usize {
        (&self.socket)
            .read(buffer)
            .unwrap_or_else(|error| panic!("cannot receive: {error}"))
    }

    /// Receives exactly these bytes.
    #[track_caller]
    pub(crate) fn expect(&self, bytes: impl AsRef<[u8]>) {
        let bytes = bytes.as_ref();
        let received = self.receive(bytes.len());
        assert!(
            received == bytes,
            "received {:?} and not {:?}",
            String::from_utf8_lossy(&received[..received.len().min(100)]),
            String::from_utf8_lossy(&bytes[..bytes.len().min(100)]),
        );
    }

    /// Receives to the end: what came, and how it ended.
    #[track_caller]
    pub(crate) fn receive_rest(&self) -> (Vec<u8>, End) {
        let mut bytes = Vec::new();
        match (&self.socket).read_to_end(&mut bytes) {
            Ok(_) if self.reset_in_connect => (bytes, End::Reset),
            Ok(_) => (bytes, End::Fin),
            Err(error) if error.kind() == ErrorKind::ConnectionReset => (bytes, End::Reset),
            Err(error) => panic!("neither FIN nor RST after {} bytes: {error}", bytes.len()),
        }
    }

    /// Nothing more comes, and it ends so.
    #[track_caller]
    pub(crate) fn expect_end(&self, end: End) {
        let (bytes, actual) = self.receive_rest();
        assert!(bytes.is_empty(), "received {} bytes more", bytes.len());
        assert_eq!(actual, end);
    }

    /// Sends FIN.
    #[track_caller]
    pub(crate) fn finish(&self) {
        self.socket.shutdown(Shutdown::Write).unwrap();
    }

    /// Sends RST, whatever has been sent or received.
    pub(crate) fn reset(self) {
        self.socket.set_linger(Some(Duration::ZERO)).unwrap();
    }

    /// Leaves without a word, in this way. After a FIN it waits for the other side's end.
    #[track_caller]
    pub(crate) fn leave(self, end: End) {
        match end {
            End::Fin => {
                self.finish();
                self.receive_rest();
            }
            End::Reset => self.reset(),
        }
    }

    /// Sends what it gets back, until the other side has finished.
    pub(crate) fn echo(&self) {
        let mut buffer = vec![0; 64 * 1024];
        loop {
            match (&self.socket).read(&mut buffer) {
                Ok(0) => {
                    let _ = self.socket.shutdown(Shutdown::Write);
                    return;
                }
                Ok(bytes) => {
                    if (&self.socket).write_all(&buffer[..bytes]).is_err() {
                        return;
                    }
                }
                Err(_) => return,
            }
        }
    }
}

impl Read for &Peer {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        (&self.socket).read(buffer)
    }
}

impl Write for &Peer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let sayable = self.sayable.load(Ordering::SeqCst);
        let sent = (&self.socket).write(&bytes[..bytes.len().min(sayable)])?;
        self.sayable.fetch_sub(sent, Ordering::SeqCst);
        Ok(sent)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Server {
    /// Listens on a port of the kernel's choice on 127.0.0.1.
    pub(crate) fn listen() -> Self {
        Self::listen_at(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))
    }

    /// Listens on this address.
    #[track_caller]
    pub(crate) fn listen_at(address: impl Into<SockAddr>) -> Self {
        Self::listen_with(address, |_| {})
    }

    /// Listens with a socket that was prepared; what it accepts inherits its buffers.
    #[track_caller]
    pub(crate) fn listen_with(address: impl Into<SockAddr>, prepare: impl Fn(&Socket)) -> Self {
        let address = address.into();
        let socket = Socket::new(address.domain(), Type::STREAM, None).unwrap();
        if address.domain() != Domain::UNIX {
            socket.set_reuse_address(true).unwrap();
        }
        prepare(&socket);
        socket
            .bind(&address)
            .unwrap_or_else(|error| panic!("cannot bind {address:?}: {error}"));
        socket.listen(4096).unwrap();
        Self::new(socket)
    }

    /// From a socket that listens already.
    pub(crate) fn new(socket: Socket) -> Self {
        socket.set_read_timeout(Some(DEADLINE)).unwrap();
        Self { socket }
    }

    /// The socket, for what is not scripted here.
    pub(crate) fn socket(&self) -> &Socket {
        &self.socket
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.socket
            .local_addr()
            .unwrap()
            .as_socket()
            .expect("not a unix socket")
    }

    /// The next connection.
    #[track_caller]
    pub(crate) fn accept(&self) -> Peer {
        self.try_accept()
            .unwrap_or_else(|error| panic!("nobody has connected: {error}"))
    }

    /// The next connection, if there is one by the deadline.
    pub(crate) fn try_accept(&self) -> io::Result<Peer> {
        self.socket.accept().map(|(socket, _)| Peer::new(socket))
    }

    /// Asserts that nobody waits to be accepted now.
    #[track_caller]
    pub(crate) fn expect_nobody(&self) {
        self.socket.set_nonblocking(true).unwrap();
        let accepted = self.socket.accept();
        self.socket.set_nonblocking(false).unwrap();
        assert!(accepted.is_err(), "somebody has connected");
    }
}

/// Small buffers, so that little is on its way and back-pressure sets in early.
pub(crate) fn small_buffers(socket: &Socket) {
    socket.set_recv_buffer_size(16 * 1024).unwrap();
    socket.set_send_buffer_size(16 * 1024).unwrap();
}

/// A client whose window takes a few kilobytes at a time.
#[track_caller]
pub(crate) fn slow_client(balancer: &Balancer) -> Peer {
    Peer::connect_with(balancer.address(), small_buffers)
}

/// A server whose windows take a few kilobytes at a time.
pub(crate) fn slow_server() -> Server {
    Server::listen_with(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), small_buffers)
}

/// Whether `done` held at some time before the limit; for what may rightly not happen.
pub(crate) fn within(limit: Duration, mut done: impl FnMut() -> bool) -> bool {
    let started = Instant::now();
    while started.elapsed() < limit {
        if done() {
            return true;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    false
}
