//! Two small MySQL servers that name themselves: a primary, and a replica that follows it a few
//! milliseconds later. What they understand is in `statements`; a `SELECT @@hostname` tells which
//! of them has answered.
//!
//! `session` and what it calls are sans-IO; here are the sockets.

mod execute;
mod prepared;
mod refusal;
mod server;
mod session;
mod statements;
mod table;
#[cfg(test)]
mod tests;

use std::cell::RefCell;
use std::collections::HashMap;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::rc::Rc;
use std::thread;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::runtime::Runtime;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::{AbortHandle, LocalSet, spawn_local};
use tokio::time::{Instant, sleep, sleep_until};

use self::server::{Role, Server};
use self::session::{Progress, Session};
use self::table::Changes;
use crate::limits::ACCEPT_PAUSE;
use crate::mysql::auth::{SCRAMBLE_BYTES, Scramble};

/// How far the replica is behind: long enough that somebody who reads at once what he wrote can see
/// it.
const REPLICATION_LAG: Duration = Duration::from_millis(5);

/// What is read from a client at a time.
const READ_BYTES: usize = 16 * 1024;

/// Where the two servers listen.
#[derive(Clone, Copy, Debug)]
pub struct Pair {
    /// `db-primary`, which takes writes.
    pub primary: SocketAddr,
    /// `db-replica`, which refuses them.
    pub replica: SocketAddr,
}

/// Starts the two servers on free loopback ports, on one thread, and tells where. They run until
/// the process ends.
///
/// # Errors
/// When no socket or thread can be had.
pub fn start() -> io::Result<Pair> {
    let (primary, replica) = (listen()?, listen()?);
    let pair = Pair {
        primary: primary.local_addr()?,
        replica: replica.local_addr()?,
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    thread::Builder::new()
        .name("demo-mysql".to_owned())
        .spawn(move || run(&runtime, pair, primary, replica))?;
    Ok(pair)
}

fn listen() -> io::Result<TcpListener> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

fn run(runtime: &Runtime, pair: Pair, primary: TcpListener, replica: TcpListener) {
    let host = |name, id, address: SocketAddr, role, followers| {
        let server = RefCell::new(Server::new(name, id, address.port(), role));
        Rc::new(Host {
            server,
            followers,
            connections: RefCell::default(),
        })
    };
    let (to_replica, from_primary) = unbounded_channel();
    let first = host(
        "db-primary",
        1,
        pair.primary,
        Role::Primary,
        Some(to_replica),
    );
    let second = host("db-replica", 2, pair.replica, Role::Replica, None);
    LocalSet::new().block_on(runtime, async {
        spawn_local(follow(Rc::clone(&second), from_primary));
        spawn_local(serve(second, replica));
        // It ends only if the runtime cannot watch the socket.
        let _ = serve(first, primary).await;
    });
}

/// A server and the tasks of its connections. All on one thread: nothing is borrowed over an await.
struct Host {
    server: RefCell<Server>,
    /// What a primary commits goes there, with the time at which it is to be seen.
    followers: Option<UnboundedSender<(Instant, Changes)>>,
    connections: RefCell<HashMap<u32, AbortHandle>>,
}

async fn serve(host: Rc<Host>, listener: TcpListener) -> io::Result<()> {
    let listener = tokio::net::TcpListener::from_std(listener)?;
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            // Out of descriptors, or the client has gone: the next one may be luckier.
            sleep(ACCEPT_PAUSE).await;
            continue;
        };
        let thread_id = host.server.borrow_mut().add_thread();
        let connection = Connection {
            host: Rc::clone(&host),
            thread_id,
        };
        let task = spawn_local(connection.converse(stream));
        let mut connections = host.connections.borrow_mut();
        connections.insert(thread_id, task.abort_handle());
    }
}

/// Applies what the primary has committed, each after the same delay: under load the replica is no
/// further behind.
async fn follow(host: Rc<Host>, mut committed: UnboundedReceiver<(Instant, Changes)>) {
    while let Some((due, changes)) = committed.recv().await {
        sleep_until(due).await;
        host.server.borrow_mut().follow(&changes);
    }
}

/// One client's connection. However its task ends, the server forgets it.
struct Connection {
    host: Rc<Host>,
    thread_id: u32,
}

impl Connection {
    /// What goes wrong on one connection ends that connection.
    async fn converse(self, mut stream: TcpStream) -> io::Result<()> {
        stream.set_nodelay(true)?;
        let mut out = Vec::new();
        let mut session = Session::new(self.thread_id, scramble()?, &mut out);
        stream.write_all(&out).await?;
        let mut buffer = vec![0; READ_BYTES];
        loop {
            let count = stream.read(&mut buffer).await?;
            if count == 0 {
                return Ok(());
            }
            let mut input = &buffer[..count];
            loop {
                out.clear();
                let progress = {
                    let mut server = self.host.server.borrow_mut();
                    session.step(&mut input, &mut server, &mut out)
                };
                self.host.settle();
                stream.write_all(&out).await?;
                match progress {
                    Progress::Steps => {}
                    Progress::Waits => break,
                    Progress::Ends => return stream.shutdown().await,
                }
            }
        }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.host.server.borrow_mut().remove_thread(self.thread_id);
        self.host.connections.borrow_mut().remove(&self.thread_id);
    }
}

impl Host {
    /// Does what a statement wants done outside of its own connection.
    fn settle(&self) {
        let (committed, killed) = {
            let mut server = self.server.borrow_mut();
            (server.take_committed(), server.take_killed())
        };
        if let Some(followers) = &self.followers {
            let due = Instant::now() + REPLICATION_LAG;
            for changes in committed {
                // The follower lives as long as the thread.
                let _ = followers.send((due, changes));
            }
        }
        for thread in killed {
            let connection = self.connections.borrow().get(&thread).cloned();
            if let Some(connection) = connection {
                connection.abort();
            }
        }
    }
}

fn scramble() -> io::Result<Scramble> {
    let mut bytes = [0; SCRAMBLE_BYTES];
    aws_lc_rs::rand::fill(&mut bytes).map_err(|_| io::Error::other("no random bytes"))?;
    Ok(Scramble::from_random(bytes))
}
