//! Small web servers that name themselves in every answer.

use std::convert::Infallible;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::thread;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::time::sleep;

use crate::limits::ACCEPT_PAUSE;

/// What `/large` answers with.
const LARGE_BYTES: usize = 10 * 1024 * 1024;
/// The most that `/bytes/N` answers with.
const BYTES_MAX: usize = 100 * 1024 * 1024;

/// Starts servers of these names on free loopback ports, all on one thread, and tells where.
///
/// # Errors
/// When no socket or thread can be had.
pub(super) fn start<const N: usize>(names: [&'static str; N]) -> io::Result<[SocketAddr; N]> {
    let mut listeners = Vec::with_capacity(N);
    let mut addresses = [SocketAddr::from((Ipv4Addr::LOCALHOST, 0)); N];
    for (name, address) in names.into_iter().zip(&mut addresses) {
        let listener = TcpListener::bind(*address)?;
        listener.set_nonblocking(true)?;
        *address = listener.local_addr()?;
        listeners.push((name, listener));
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let zeros = Bytes::from(vec![b'0'; LARGE_BYTES]);
    thread::Builder::new()
        .name("demo-web".to_owned())
        .spawn(move || {
            runtime.block_on(async {
                let servers = listeners.into_iter().map(|(name, listener)| {
                    let zeros = zeros.clone();
                    tokio::spawn(serve(name, listener, zeros))
                });
                for server in servers.collect::<Vec<_>>() {
                    let _ = server.await;
                }
            });
        })?;
    Ok(addresses)
}

async fn serve(name: &'static str, listener: TcpListener, zeros: Bytes) -> io::Result<()> {
    let listener = tokio::net::TcpListener::from_std(listener)?;
    loop {
        let Ok((connection, _)) = listener.accept().await else {
            // Out of descriptors, or the client has gone: the next one may be luckier.
            sleep(ACCEPT_PAUSE).await;
            continue;
        };
        let zeros = zeros.clone();
        let answer = service_fn(move |request| {
            let response = answer(name, &zeros, &request);
            async move { Ok::<_, Infallible>(response) }
        });
        // What goes wrong on one connection ends that connection.
        tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(connection), answer));
    }
}

fn answer(name: &'static str, zeros: &Bytes, request: &Request<Incoming>) -> Response<Full<Bytes>> {
    let path = request.uri().path();
    let body = match path {
        "/" => Some(Bytes::from(format!("{name} says hello\n"))),
        "/large" => Some(zeros.clone()),
        _ => path
            .strip_prefix("/bytes/")
            .and_then(|n| n.parse().ok())
            .and_then(|n| take(zeros, n)),
    };
    let (status, body) = match body {
        Some(body) => (StatusCode::OK, body),
        None => {
            let help = format!("{name}: there is /, /large and /bytes/N, N at most {BYTES_MAX}\n");
            (StatusCode::NOT_FOUND, Bytes::from(help))
        }
    };
    let mut response = Response::new(Full::new(body));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert("x-server", HeaderValue::from_static(name));
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain"));
    response
}

/// So many bytes, as far as that is sensible.
fn take(zeros: &Bytes, count: usize) -> Option<Bytes> {
    match count {
        0..=LARGE_BYTES => Some(zeros.slice(..count)),
        _ if count <= BYTES_MAX => Some(Bytes::from(vec![b'0'; count])),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpStream;

    use super::*;

    fn get(address: SocketAddr, path: &str) -> String {
        let mut stream = TcpStream::connect(address).unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nHost: demo\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }

    #[test]
    fn each_server_names_itself_and_serves_small_and_large() {
        let addresses = start(["one", "two"]).unwrap();
        for (address, name) in addresses.into_iter().zip(["one", "two"]) {
            let hello = get(address, "/");
            assert!(hello.contains(&format!("x-server: {name}\r\n")), "{hello}");
            assert!(hello.ends_with(&format!("{name} says hello\n")), "{hello}");
            assert!(get(address, "/large").len() > LARGE_BYTES);
            assert!(get(address, "/bytes/17").ends_with(&format!("\r\n\r\n{}", "0".repeat(17))));
            assert!(get(address, "/nothing").starts_with("HTTP/1.1 404"));
            assert!(get(address, &format!("/bytes/{}", u64::MAX)).starts_with("HTTP/1.1 404"));
        }
    }
}
