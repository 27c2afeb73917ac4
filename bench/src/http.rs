//! Just enough HTTP/1.1 to ask a web server through a proxy for a body of known size.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

const TIMEOUT: Duration = Duration::from_secs(5);

/// Connects and asks once. The connection comes back open, for it may go on sitting there.
pub(crate) fn connect_and_get(
    address: SocketAddr,
    path: &str,
    body_bytes: usize,
) -> io::Result<TcpStream> {
    let mut stream = TcpStream::connect_timeout(&address, TIMEOUT)?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    stream.set_write_timeout(Some(TIMEOUT))?;
    stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: bench\r\n\r\n").as_bytes())?;
    read_answer(&mut stream, body_bytes)?;
    Ok(stream)
}

fn read_answer(stream: &mut impl Read, body_bytes: usize) -> io::Result<()> {
    let mut answer = Vec::with_capacity(512);
    let mut chunk = [0; 16 * 1024];
    loop {
        if missing_bytes(&answer, body_bytes)? == Some(0) {
            return Ok(());
        }
        match stream.read(&mut chunk)? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            bytes => answer.extend_from_slice(&chunk[..bytes]),
        }
    }
}

/// `None` until the whole head is there.
fn missing_bytes(answer: &[u8], body_bytes: usize) -> io::Result<Option<usize>> {
    let Some(head) = answer.windows(4).position(|window| window == b"\r\n\r\n") else {
        return Ok(None);
    };
    if !answer.starts_with(b"HTTP/1.1 200 ") {
        return Err(io::Error::other("the answer is not 200 OK"));
    }
    match body_bytes.checked_sub(answer.len() - head - 4) {
        Some(missing) => Ok(Some(missing)),
        None => Err(io::Error::other("the body is longer than it should be")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_whole_when_its_body_is() {
        let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
        assert!(read_answer(&mut &answer[..], 2).is_ok());
        assert!(read_answer(&mut &answer[..], 1).is_err());
        assert!(read_answer(&mut &answer[..answer.len() - 1], 2).is_err());
    }

    #[test]
    fn an_error_page_is_no_answer() {
        let answer = b"HTTP/1.1 502 Bad Gateway\r\n\r\nok";
        assert!(read_answer(&mut &answer[..], 2).is_err());
    }
}
