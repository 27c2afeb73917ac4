//! Read, then write all of it.

use std::io;

use tokio_uring::net::TcpStream;

/// What most relays use; larger buffers made no difference to small answers.
const BUFFER_BYTES: usize = 16 * 1024;

/// Copies until `from` sends its FIN.
pub(crate) async fn pump(from: &TcpStream, to: &TcpStream) -> io::Result<()> {
    let mut buffer = Vec::with_capacity(BUFFER_BYTES);
    loop {
        let (read, filled) = from.read(buffer).await;
        if read? == 0 {
            return Ok(());
        }
        let (written, returned) = to.write_all(filled).await;
        written?;
        buffer = returned;
        buffer.clear();
    }
}
