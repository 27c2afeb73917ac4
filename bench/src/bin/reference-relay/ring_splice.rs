//! Readiness from the ring, then `IORING_OP_SPLICE` from the socket into a pipe and out of it.
//!
//! The sockets are non-blocking: on a blocking one each waiting operation would hold a kernel
//! helper thread, two per idle session. A pipe is borrowed while bytes are in it.

use std::cell::RefCell;
use std::io::{self, PipeReader, PipeWriter};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};

use io_uring::{cqueue, opcode, squeue, types::Fd};
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use tokio_uring::net::TcpStream;
use tokio_uring::{OneshotOutputTransform, UnsubmittedOneshot};

const PIPE_BYTES: u32 = 128 * 1024;

/// More pipes than this are closed when they come back, so that a burst leaves little behind.
const PIPES_KEPT: usize = 256;

/// A pipe with nothing in it, or one on its way from a socket to another.
pub(crate) struct Pipe {
    reader: PipeReader,
    writer: PipeWriter,
}

impl Pipe {
    fn take(pool: &RefCell<Vec<Self>>) -> io::Result<Self> {
        if let Some(pipe) = pool.borrow_mut().pop() {
            return Ok(pipe);
        }
        let (reader, writer) = io::pipe()?;
        // Beyond the user's share of pipe memory the kernel keeps the pipe small; it still works.
        fcntl(&writer, FcntlArg::F_SETPIPE_SZ(PIPE_BYTES as i32)).ok();
        Ok(Self { reader, writer })
    }

    fn give_back(self, pool: &RefCell<Vec<Self>>) {
        let mut pool = pool.borrow_mut();
        if pool.len() < PIPES_KEPT {
            pool.push(self);
        }
    }
}

/// Splices until `from` sends its FIN.
pub(crate) async fn pump(
    from: &TcpStream,
    to: &TcpStream,
    pool: &RefCell<Vec<Pipe>>,
) -> io::Result<()> {
    let (source, target) = (from.as_raw_fd(), to.as_raw_fd());
    set_nonblocking(from)?;
    set_nonblocking(to)?;
    loop {
        poll(source, libc::POLLIN | libc::POLLRDHUP).await?;
        let pipe = Pipe::take(pool)?;
        match splice(source, pipe.writer.as_raw_fd(), PIPE_BYTES).await {
            Ok(0) => {
                pipe.give_back(pool);
                return Ok(());
            }
            Ok(bytes) => drain(&pipe, target, bytes).await?,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
        pipe.give_back(pool);
    }
}

/// An error leaves bytes in the pipe: the caller drops it instead of giving it back.
async fn drain(pipe: &Pipe, target: RawFd, mut bytes: u32) -> io::Result<()> {
    while bytes > 0 {
        match splice(pipe.reader.as_raw_fd(), target, bytes).await {
            Ok(moved) => bytes -= moved,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                poll(target, libc::POLLOUT).await?;
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

fn set_nonblocking(stream: &TcpStream) -> io::Result<()> {
    let raw = stream.as_raw_fd();
    // SAFETY: the descriptor is open for as long as `stream` lives, which is longer than this call.
    #[allow(unsafe_code)]
    let fd = unsafe { BorrowedFd::borrow_raw(raw) };
    let flags = OFlag::from_bits_retain(fcntl(fd.as_fd(), FcntlArg::F_GETFL)?);
    fcntl(fd.as_fd(), FcntlArg::F_SETFL(flags | OFlag::O_NONBLOCK))?;
    Ok(())
}

async fn poll(fd: RawFd, events: i16) -> io::Result<u32> {
    submit(opcode::PollAdd::new(Fd(fd), events as u32).build()).await
}

async fn splice(from: RawFd, to: RawFd, bytes: u32) -> io::Result<u32> {
    let flags = libc::SPLICE_F_MOVE | libc::SPLICE_F_NONBLOCK;
    submit(
        opcode::Splice::new(Fd(from), -1, Fd(to), -1, bytes)
            .flags(flags)
            .build(),
    )
    .await
}

/// The callers keep the descriptors open until the completion is here.
async fn submit(entry: squeue::Entry) -> io::Result<u32> {
    let result = UnsubmittedOneshot::new((), ResultOnly, entry)
        .submit()
        .await;
    u32::try_from(result).map_err(|_| io::Error::from_raw_os_error(-result))
}

struct ResultOnly;

impl OneshotOutputTransform for ResultOnly {
    type Output = i32;
    type StoredData = ();

    fn transform_oneshot_output(self, (): (), completion: cqueue::Entry) -> i32 {
        completion.result()
    }
}
