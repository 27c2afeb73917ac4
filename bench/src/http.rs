//! Just enough HTTP/1.1 to ask a web server through a proxy for a body that is known.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use crate::scenario::Body;

const TIMEOUT: Duration = Duration::from_secs(5);

/// How a good answer begins.
const OK: &str = "HTTP/1.1 200 ";

/// Connects and asks once. The connection comes back open, for it may go on sitting there.
pub(crate) fn connect_and_get(address: SocketAddr, body: Body) -> io::Result<TcpStream> {
    let mut stream = connect(address)?;
    get(&mut stream, body)?;
    Ok(stream)
}

pub(crate) fn connect(address: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect_timeout(&address, TIMEOUT)?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    stream.set_write_timeout(Some(TIMEOUT))?;
    Ok(stream)
}

/// Asks once. It is an error if anything but the body comes back.
pub(crate) fn get(stream: &mut (impl Read + Write), body: Body) -> io::Result<()> {
    let path = body.path();
    stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: bench\r\n\r\n").as_bytes())?;
    read_answer(stream, &body.content())
}

/// The whole answer to a question after which the server closes, its head included. ringway's admin
/// port wants to be called by its address.
pub(crate) fn get_and_close(address: SocketAddr, path: &str) -> io::Result<String> {
    let mut stream = connect(address)?;
    let head = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(head.as_bytes())?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    if !answer.starts_with(OK) {
        let status = answer.lines().next().unwrap_or_default();
        return Err(io::Error::other(format!("{path} gives {status:?}")));
    }
    Ok(answer)
}

fn read_answer(stream: &mut impl Read, body: &[u8]) -> io::Result<()> {
    let mut answer = Vec::with_capacity(512);
    let mut chunk = [0; 16 * 1024];
    loop {
        if is_whole(&answer, body)? {
            return Ok(());
        }
        match stream.read(&mut chunk)? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            bytes => answer.extend_from_slice(&chunk[..bytes]),
        }
    }
}

/// Whether all of the body is there; an error if what is there is something else.
fn is_whole(answer: &[u8], body: &[u8]) -> io::Result<bool> {
    let Some(head) = answer.windows(4).position(|window| window == b"\r\n\r\n") else {
        return Ok(false);
    };
    if !answer.starts_with(OK.as_bytes()) {
        return Err(io::Error::other("the answer is not 200 OK"));
    }
    let received = &answer[head + 4..];
    if received.len() > body.len() {
        return Err(io::Error::other("the body is longer than it should be"));
    }
    if received.len() == body.len() && received != body {
        return Err(io::Error::other("the body is not what the server has"));
    }
    Ok(received.len() == body.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_whole_when_its_body_is() {
        let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
        assert!(read_answer(&mut &answer[..], b"ok").is_ok());
        assert!(read_answer(&mut &answer[..], b"o").is_err());
        assert!(read_answer(&mut &answer[..], b"no").is_err());
        assert!(read_answer(&mut &answer[..answer.len() - 1], b"ok").is_err());
    }

    #[test]
    fn an_error_page_is_no_answer() {
        let answer = b"HTTP/1.1 502 Bad Gateway\r\n\r\nok";
        assert!(read_answer(&mut &answer[..], b"ok").is_err());
    }
}
