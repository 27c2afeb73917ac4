//! Admin HTTP on a loopback address: the status page, metrics, readiness. It only ever tells.
//!
//! It answers when nothing else works: a few descriptors are held back for the moment when the
//! process has no others, because that is when somebody comes to look.

mod respond;
mod spares;

use std::cell::RefCell;
use std::convert::Infallible;
use std::io;
use std::rc::Rc;
use std::sync::Arc;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};

use self::respond::respond;
use self::spares::Spares;
use super::Registry;
use super::metrics::Host;
use crate::limits::{
    ADMIN_ACCEPT_PAUSE, ADMIN_CONNECTION_AGE, ADMIN_CONNECTIONS, ADMIN_REQUEST_BYTES,
    ADMIN_REQUEST_TIMEOUT,
};

/// Header fields a request may have.
const HEADERS_MAX: usize = 64;

/// Serves the admin port for as long as it is polled. To be started early, while there are
/// descriptors to hold back; runs on a tokio-uring runtime.
pub async fn serve(registry: Rc<RefCell<Registry>>, listener: std::net::TcpListener) {
    let listener = listener
        .set_nonblocking(true)
        .and_then(|()| TcpListener::from_std(listener));
    let listener = match listener {
        Ok(listener) => listener,
        Err(error) => return tracing::error!("the admin port cannot be served: {error}"),
    };
    let admin = Rc::new(Admin {
        registry,
        host: Host::new(),
        spares: Spares::new(&listener),
    });
    let places = Arc::new(Semaphore::new(ADMIN_CONNECTIONS));
    loop {
        let place = Arc::clone(&places)
            .acquire_owned()
            .await
            .expect("it is never closed");
        let accepted = admin.accept(&listener).await;
        let admin = Rc::clone(&admin);
        tokio_uring::spawn(async move {
            admin.serve_connection(accepted).await;
            drop(place);
        });
    }
}

/// What answers are made from.
struct Admin {
    registry: Rc<RefCell<Registry>>,
    host: Host,
    spares: Rc<Spares>,
}

/// A connection, and whether it took a spare descriptor.
struct Accepted {
    stream: TcpStream,
    on_spare: bool,
}

impl Admin {
    /// The next connection. Those that cannot be accepted wait in the kernel's backlog.
    async fn accept(&self, listener: &TcpListener) -> Accepted {
        self.spares.refill();
        let mut on_spare = false;
        loop {
            match listener.accept().await {
                Ok((stream, _)) => return Accepted { stream, on_spare },
                Err(error) if is_shortage(&error) && self.spares.give_up() => on_spare = true,
                Err(error) if is_shortage(&error) => sleep(ADMIN_ACCEPT_PAUSE).await,
                // The client has gone: accept(2) passes the errors of a new connection on.
                Err(_) => tokio::task::yield_now().await,
            }
        }
    }

    async fn serve_connection(self: Rc<Self>, accepted: Accepted) {
        let Accepted { stream, on_spare } = accepted;
        let spares = Rc::clone(&self.spares);
        let service = service_fn(move |request| {
            let admin = Rc::clone(&self);
            async move { Ok::<_, Infallible>(respond(&admin, &request).await) }
        });
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(ADMIN_REQUEST_TIMEOUT)
            .max_buf_size(ADMIN_REQUEST_BYTES)
            .max_headers(HEADERS_MAX)
            // A spare descriptor is for one answer, not for a browser that stays.
            .keep_alive(!on_spare)
            .serve_connection(TokioIo::new(stream), service);
        let mut connection = Box::pin(connection);
        // How a client's connection ends is the client's business.
        if timeout(ADMIN_CONNECTION_AGE, connection.as_mut())
            .await
            .is_err()
        {
            connection.as_mut().graceful_shutdown();
            let _ = timeout(ADMIN_REQUEST_TIMEOUT, connection.as_mut()).await;
        }
        drop(connection);
        spares.refill();
    }
}

fn is_shortage(error: &io::Error) -> bool {
    let shortages = [libc::EMFILE, libc::ENFILE, libc::ENOBUFS, libc::ENOMEM];
    error
        .raw_os_error()
        .is_some_and(|errno| shortages.contains(&errno))
}

#[cfg(test)]
mod tests;
