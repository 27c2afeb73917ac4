//! A TCP relay on tokio-uring, as small as it can be and still be measured: the yardstick behind
//! two decisions of ringway's design.
//!
//! `--mode copy` reads into a buffer and writes it out, each connection a pair of tasks: what a
//! relay on tokio-uring costs. `--mode ring-splice` moves the bytes with `IORING_OP_SPLICE`: what
//! that operation costs, since the kernel hands every one of them to a helper thread.
//!
//! It has no timeouts, no limits and no retries. Never put it in front of anything but a benchmark.

mod copy;
mod ring_splice;

use std::cell::RefCell;
use std::io;
use std::net::{Shutdown, SocketAddr};
use std::rc::Rc;
use std::time::Duration;

use clap::{Parser, ValueEnum};
use socket2::{Domain, Socket, Type};
use tokio_uring::net::{TcpListener, TcpStream};

use ring_splice::Pipe;

/// A one-thread TCP relay on tokio-uring, for comparison only.
#[derive(Parser)]
#[command(
    after_help = "Example:\n  reference-relay --mode copy --listen 127.0.0.1:8000 \
                        127.0.0.1:8001 127.0.0.1:8002"
)]
struct Options {
    /// How bytes are moved.
    #[arg(long, value_enum)]
    mode: Mode,
    /// The address to listen on.
    #[arg(long)]
    listen: SocketAddr,
    /// Connections that may wait in the kernel.
    #[arg(long, default_value_t = 4096)]
    backlog: i32,
    /// The servers, taken in turn.
    #[arg(required = true)]
    servers: Vec<SocketAddr>,
}

#[derive(Clone, Copy, ValueEnum)]
enum Mode {
    /// Read, then write all of it.
    Copy,
    /// Poll, then `IORING_OP_SPLICE` into a pipe and out of it.
    RingSplice,
}

/// How bytes are moved, with what that needs.
#[derive(Clone)]
enum Mover {
    Copy,
    RingSplice(Rc<RefCell<Vec<Pipe>>>),
}

fn main() -> io::Result<()> {
    let options = Options::parse();
    let listener = listen(options.listen, options.backlog)?;
    let mover = match options.mode {
        Mode::Copy => Mover::Copy,
        Mode::RingSplice => Mover::RingSplice(Rc::default()),
    };
    let mut ring = tokio_uring::uring_builder();
    ring.setup_cqsize(16_384);
    tokio_uring::builder()
        .entries(4096)
        .uring_builder(&ring)
        .start(accept_forever(listener, options.servers, mover))
}

fn listen(address: SocketAddr, backlog: i32) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    socket.listen(backlog)?;
    Ok(TcpListener::from_std(socket.into()))
}

async fn accept_forever(
    listener: TcpListener,
    servers: Vec<SocketAddr>,
    mover: Mover,
) -> io::Result<()> {
    for server in servers.into_iter().cycle() {
        let client = accept(&listener).await;
        let mover = mover.clone();
        tokio_uring::spawn(async move {
            if let Err(error) = relay(client, server, &mover).await {
                eprintln!("session to {server}: {error}");
            }
        });
    }
    Ok(())
}

/// Out of descriptors is a state that passes; everything else is worth seeing, too.
async fn accept(listener: &TcpListener) -> TcpStream {
    loop {
        match listener.accept().await {
            Ok((client, _)) => return client,
            Err(error) => {
                eprintln!("accept: {error}");
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        }
    }
}

async fn relay(client: TcpStream, server: SocketAddr, mover: &Mover) -> io::Result<()> {
    let server = TcpStream::connect(server).await?;
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    let (client, server) = (Rc::new(client), Rc::new(server));
    let upstream = tokio_uring::spawn({
        let (client, server, mover) = (client.clone(), server.clone(), mover.clone());
        async move { direction(&client, &server, &mover).await }
    });
    direction(&server, &client, mover).await;
    // A task that panicked has printed why. Both sockets close when the last owner lets go.
    upstream.await.ok();
    Ok(())
}

/// Moves bytes until `from` ends. Its end is passed on alone, so that the other direction can
/// finish; an error ends both, which wakes the other direction wherever it waits.
async fn direction(from: &TcpStream, to: &TcpStream, mover: &Mover) {
    let result = match mover {
        Mover::Copy => copy::pump(from, to).await,
        Mover::RingSplice(pipes) => ring_splice::pump(from, to, pipes).await,
    };
    // A shutdown fails only when the socket has ended already.
    match result {
        Ok(()) => {
            to.shutdown(Shutdown::Write).ok();
        }
        Err(_) => {
            from.shutdown(Shutdown::Both).ok();
            to.shutdown(Shutdown::Both).ok();
        }
    }
}
