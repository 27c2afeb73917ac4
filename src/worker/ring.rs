//! The real kernel: one io_uring per worker, entered only by the thread that made it.

use std::io;
use std::mem::ManuallyDrop;
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, RawFd};
use std::time::{Duration, Instant};

use io_uring::squeue::Flags;
use io_uring::types::{CancelBuilder, SubmitArgs, Timespec};
use io_uring::{
    CompletionQueue, EnterFlags, IoUring, SubmissionQueue, Submitter, cqueue, opcode, squeue, types,
};
use socket2::SockAddr;

use super::Features;
use super::buffers::Buffers;
use super::coalesce::Batch;
use super::kernel::{
    BufferId, Chunk, Completion, Farewell, Fd, Interest, Kernel, Pipe, Receiving, Tuning,
};
use super::pipes::Pipes;
use super::token::Token;
use crate::limits::{
    COMPLETION_ENTRIES, RECEIVE_CAP_BYTES, RING_BUFFERS, RING_DRAIN, SUBMISSION_ENTRIES,
};
use crate::sys;

/// The only buffer group of a ring.
const BUFFER_GROUP: u16 = 1;

/// `IORING_RECVSEND_POLL_FIRST` and `IORING_RECV_MULTISHOT`, io_uring_enter(2).
const POLL_FIRST: u16 = 1 << 0;
const MULTISHOT: u16 = 1 << 1;

/// A ring with its buffers and pipes.
pub(crate) struct Uring {
    queues: ManuallyDrop<Queues>,
    /// What `queues` borrows from; freed in `drop`, after them.
    ring: *mut IoUring,
    buffers: ManuallyDrop<Buffers>,
    pipes: Pipes,
    features: Features,
    wake: RawFd,
    /// Addresses that connects in the submission queue point to. The kernel copies each when it
    /// is submitted, so all are free again when the queue is empty.
    addresses: Box<[SockAddr]>,
    addresses_used: usize,
    /// Completions that had to be taken before the turn that hands them out.
    early: Vec<Completion>,
    /// Operations submitted whose last completion has not been seen.
    in_flight: u64,
    /// Sends queued since the last turn; hardly one is not complete when it has been submitted.
    sends_queued: u32,
    overflowed: bool,
    epoch: Instant,
    now_us: u64,
}

/// What a worker may use of things that there are not enough of for all.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Share {
    pub(crate) buffers: usize,
    pub(crate) pipes: usize,
}

struct Queues {
    submission: SubmissionQueue<'static>,
    completion: CompletionQueue<'static>,
    submitter: Submitter<'static>,
}

/// How long a wait without a limit is when it begins with one for a batch: the kernel ends one that
/// has no limit with the batch's time, whether anything has come or not.
const FOREVER: Duration = Duration::from_secs(3600);

/// Connects that one submission can carry; more cause an early submission.
const ADDRESSES: usize = 256;

impl Uring {
    /// A ring on the calling thread, which must be the one that uses it (`SINGLE_ISSUER`).
    /// `wake` is the eventfd that [`Kernel::drain_wake`] empties.
    ///
    /// # Errors
    /// io_uring_setup(2), io_uring_register_buf_ring(3).
    pub(crate) fn new(
        features: Features,
        share: Share,
        epoch: Instant,
        wake: RawFd,
    ) -> io::Result<Self> {
        let ring = build(features.no_sqarray, SUBMISSION_ENTRIES, COMPLETION_ENTRIES)?;
        Self::over(ring, features, share, epoch, wake)
    }

    fn over(
        ring: IoUring,
        features: Features,
        share: Share,
        epoch: Instant,
        wake: RawFd,
    ) -> io::Result<Self> {
        let buffers = Buffers::new(share.buffers)?;
        let ring = Box::into_raw(Box::new(ring));
        // SAFETY: freshly leaked, so valid until `drop` frees it, after everything borrowed here.
        let (mut submitter, submission, completion) = unsafe { &mut *ring }.split();
        // An optimisation of each enter; where it is refused, plain descriptors do.
        let _ = submitter.register_ring_fd();
        let uring = Self {
            queues: ManuallyDrop::new(Queues {
                submission,
                completion,
                submitter,
            }),
            ring,
            buffers: ManuallyDrop::new(buffers),
            pipes: Pipes::new(share.pipes),
            features,
            wake,
            addresses: vec![SockAddr::from(SocketAddr::from(([0; 4], 0))); ADDRESSES].into(),
            addresses_used: 0,
            early: Vec::new(),
            in_flight: 0,
            sends_queued: 0,
            overflowed: false,
            epoch,
            now_us: epoch.elapsed().as_micros() as u64,
        };
        let address = uring.buffers.ring_address();
        // SAFETY: the address is that of RING_BUFFERS entries that live until after the ring is closed.
        unsafe {
            uring.queues.submitter.register_buf_ring_with_flags(
                address,
                RING_BUFFERS,
                BUFFER_GROUP,
                0,
            )
        }?;
        Ok(uring)
    }

    /// Queues an entry, submitting early when the queue is full.
    fn push(&mut self, entry: squeue::Entry, token: Token) {
        let entry = entry.user_data(token.user_data());
        self.in_flight += 1;
        loop {
            // SAFETY: whatever the entry points to outlives its submission (addresses: see
            // `submitted`) or its last completion (chunks: a session keeps its buffers until then).
            if unsafe { self.queues.submission.push(&entry) }.is_ok() {
                return;
            }
            self.submit();
        }
    }

    /// Hands all queued entries to the kernel, without waiting for any of them.
    ///
    /// # Panics
    /// When the ring is beyond repair: whoever queues an operation could not go on without it.
    fn submit(&mut self) {
        while !self.queues.submission.is_empty() {
            self.queues.submission.sync();
            let result = self.queues.submitter.submit();
            self.submitted();
            match result.map_err(|error| error.raw_os_error()) {
                Ok(_) => {}
                // The kernel wants completions to be taken first, or memory in a moment.
                Err(Some(libc::EINTR | libc::EBUSY | libc::EAGAIN)) => self.take_early(),
                Err(errno) => panic!("the ring is beyond repair: {errno:?}"),
            }
        }
    }

    /// Notes what the kernel has taken. Addresses are its own copies from then on; as long as an
    /// entry is still queued, none may be overwritten.
    fn submitted(&mut self) {
        self.queues.submission.sync();
        if self.queues.submission.is_empty() {
            self.addresses_used = 0;
        }
    }

    /// Takes completions before the turn that hands them out.
    fn take_early(&mut self) {
        let mut early = std::mem::take(&mut self.early);
        self.collect(&mut early);
        self.early = early;
    }

    fn enter(&mut self, wait: Option<Duration>, batch: Option<Batch>) -> io::Result<()> {
        self.buffers.refill();
        let queues = &mut *self.queues;
        queues.submission.sync();
        let queued = queues.submission.len() as u32;
        let mut flags = EnterFlags::GETEVENTS | EnterFlags::EXT_ARG;
        if self.features.no_iowait {
            flags |= EnterFlags::NO_IOWAIT;
        }
        let batch = batch.filter(|_| self.features.min_timeout);
        let wait = wait.or(batch.map(|_| FOREVER));
        let timespec = wait.map(Timespec::from);
        let mut args = match &timespec {
            Some(timespec) => SubmitArgs::new().timespec(timespec),
            None => SubmitArgs::new(),
        };
        let mut want = u32::from(wait != Some(Duration::ZERO));
        let sends = std::mem::take(&mut self.sends_queued);
        // The kernel would wait for the batch beyond the limit, should that come before.
        let fits =
            |batch: &Batch| wait.is_none_or(|wait| wait.as_micros() > u128::from(batch.within_us));
        if let Some(batch) = batch.filter(fits) {
            args = args.min_wait_usec(batch.within_us);
            want = batch.completions + sends;
        }
        // SAFETY: `args` is the argument that EXT_ARG announces, and lives through the call.
        let entered = unsafe {
            queues
                .submitter
                .enter(queued, want, flags.bits(), Some(&args))
        };
        if queues.submission.cq_overflow() {
            self.overflowed = true;
        }
        self.submitted();
        entered.map(drop)
    }

    fn collect(&mut self, completions: &mut Vec<Completion>) {
        self.queues.completion.sync();
        for entry in &mut self.queues.completion {
            let more = cqueue::more(entry.flags());
            let buffer = cqueue::buffer_select(entry.flags()).map(BufferId);
            if let Some(buffer) = buffer {
                self.buffers.take(buffer);
            }
            if entry.result() == -libc::ENOBUFS {
                self.buffers.ran_out();
            }
            self.in_flight -= u64::from(!more);
            completions.push(Completion {
                token: Token::from_user_data(entry.user_data()),
                result: entry.result(),
                more,
                buffer,
            });
        }
        self.queues.completion.sync();
    }

    /// Cancels everything and waits, boundedly, for the last completions. `false`: operations are
    /// still in flight, and what they point to must not be freed.
    fn quiesce(&mut self) -> bool {
        let cancel = opcode::AsyncCancel2::new(CancelBuilder::any()).build();
        self.push(cancel, Token::new(super::token::Op::Cancel, 0, 0, 0));
        let mut completions = Vec::new();
        let deadline = Instant::now() + RING_DRAIN;
        while self.in_flight > 0 {
            let Some(left) = deadline.checked_duration_since(Instant::now()) else {
                return false;
            };
            if self.turn(Some(left), None, &mut completions).is_err() {
                return false;
            }
        }
        true
    }
}

impl Drop for Uring {
    fn drop(&mut self) {
        let quiet = self.quiesce();
        // SAFETY: dropped once, here; its borrows of `ring` end before the ring does.
        unsafe { ManuallyDrop::drop(&mut self.queues) };
        // SAFETY: made by Box::into_raw in `new`, and nothing borrows it any more. This closes the
        // ring.
        drop(unsafe { Box::from_raw(self.ring) });
        if quiet {
            // SAFETY: dropped once, here. The ring is closed and had nothing in flight, so the
            // kernel writes to no buffer; otherwise they are leaked.
            unsafe { ManuallyDrop::drop(&mut self.buffers) };
        }
    }
}

impl Kernel for Uring {
    fn now_us(&self) -> u64 {
        self.now_us
    }

    fn accept(&mut self, socket: Fd, multishot: bool, token: Token) {
        let fd = types::Fd(socket.0);
        let flags = libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC;
        let entry = if multishot {
            opcode::AcceptMulti::new(fd).flags(flags).build()
        } else {
            let null = std::ptr::null_mut();
            opcode::Accept::new(fd, null, null.cast())
                .flags(flags)
                .build()
        };
        self.push(entry, token);
    }

    fn connect(&mut self, socket: Fd, address: &SockAddr, token: Token) {
        if self.addresses_used == self.addresses.len() {
            self.submit();
        }
        let kept = &mut self.addresses[self.addresses_used];
        self.addresses_used += 1;
        *kept = address.clone();
        let (pointer, len) = (kept.as_ptr().cast(), kept.len());
        self.push(
            opcode::Connect::new(types::Fd(socket.0), pointer, len).build(),
            token,
        );
    }

    fn receive(&mut self, socket: Fd, how: Receiving, token: Token) {
        let capped = self.features.capped_multishot && !how.once;
        let mut ioprio = if capped { MULTISHOT } else { 0 };
        if !how.expect_data {
            ioprio |= POLL_FIRST;
        }
        let mut entry = opcode::Recv::new(types::Fd(socket.0), std::ptr::null_mut(), 0)
            .buf_group(BUFFER_GROUP)
            .ioprio(ioprio)
            .build()
            .flags(Flags::BUFFER_SELECT);
        if capped {
            set_optlen(&mut entry, RECEIVE_CAP_BYTES);
        }
        self.push(entry, token);
    }

    fn send(&mut self, socket: Fd, chunk: Chunk, token: Token) {
        let pointer = self.buffers.pointer(chunk);
        let entry = opcode::Send::new(types::Fd(socket.0), pointer, chunk.len() as u32)
            .flags(libc::MSG_NOSIGNAL | libc::MSG_WAITALL)
            .build();
        self.sends_queued += 1;
        self.push(entry, token);
    }

    fn poll(&mut self, fd: Fd, interest: Interest, token: Token) {
        let (mask, multishot) = match interest {
            Interest::Read => (libc::POLLIN, false),
            Interest::Room => (libc::POLLOUT, true),
            // The two that matter are always reported.
            Interest::Hangup => (0, true),
        };
        let poll = opcode::PollAdd::new(types::Fd(fd.0), mask as u32);
        self.push(poll.multi(multishot).build(), token);
    }

    fn cancel(&mut self, target: Token, token: Token) {
        self.push(opcode::AsyncCancel::new(target.user_data()).build(), token);
    }

    fn cancel_all(&mut self, fd: Fd, token: Token) {
        let all = CancelBuilder::fd(types::Fd(fd.0)).all();
        self.push(opcode::AsyncCancel2::new(all).build(), token);
    }

    fn turn(
        &mut self,
        wait: Option<Duration>,
        batch: Option<Batch>,
        completions: &mut Vec<Completion>,
    ) -> io::Result<()> {
        let wait = if self.early.is_empty() {
            wait
        } else {
            Some(Duration::ZERO)
        };
        let entered = self.enter(wait, batch);
        self.now_us = self.epoch.elapsed().as_micros() as u64;
        completions.append(&mut self.early);
        self.collect(completions);
        let Err(error) = entered else { return Ok(()) };
        match error.raw_os_error() {
            // The time is up; a signal; completions must be taken first; the kernel is short of
            // memory for a moment. What was not submitted still waits in the queue.
            Some(libc::ETIME | libc::EINTR | libc::EBUSY | libc::EAGAIN) => Ok(()),
            _ => Err(error),
        }
    }

    fn can_batch(&self) -> bool {
        self.features.min_timeout
    }

    fn in_flight(&self) -> u64 {
        self.in_flight
    }

    fn take_overflow(&mut self) -> bool {
        std::mem::take(&mut self.overflowed)
    }

    fn append(&mut self, to: Chunk, from: Chunk) -> Chunk {
        self.buffers.append(to, from)
    }

    fn take_buffer(&mut self) -> Option<BufferId> {
        self.buffers.take_idle()
    }

    fn take_wide_buffer(&mut self) -> Option<BufferId> {
        self.buffers.take_wide()
    }

    fn whole(&self, buffer: BufferId) -> Chunk {
        self.buffers.whole(buffer)
    }

    fn pair(&mut self, first: Chunk, second: Chunk) -> (&mut [u8], &mut [u8]) {
        self.buffers.pair_mut(first, second)
    }

    fn keep_secret(&mut self, buffer: BufferId) {
        self.buffers.keep_secret(buffer);
    }

    fn release(&mut self, buffer: BufferId) {
        self.buffers.release(buffer);
    }

    fn socket(&mut self, address: &SockAddr) -> io::Result<Fd> {
        sys::stream_socket(address).map(Fd)
    }

    fn is_connected(&mut self, socket: Fd) -> bool {
        sys::is_connected(socket.0)
    }

    fn tune(&mut self, socket: Fd, tuning: &Tuning) {
        sys::tune(
            socket.0,
            tuning.keepalive_idle,
            tuning.keepalive_interval,
            tuning.keepalive_probes,
            tuning.user_timeout,
        );
    }

    fn accept_now(&mut self, socket: Fd) -> io::Result<Fd> {
        sys::accept(socket.0).map(Fd)
    }

    fn stop_listening(&mut self, socket: Fd) {
        sys::stop_listening(socket.0);
    }

    fn send_now(&mut self, socket: Fd, chunk: Chunk) -> io::Result<usize> {
        sys::send(socket.0, self.buffers.bytes(chunk))
    }

    fn send_bytes(&mut self, socket: Fd, bytes: &[u8]) -> io::Result<usize> {
        sys::send(socket.0, bytes)
    }

    fn bytes(&mut self, chunk: Chunk) -> &mut [u8] {
        self.buffers.bytes_mut(chunk)
    }

    fn finish_sending(&mut self, socket: Fd) {
        sys::finish_sending(socket.0);
    }

    fn close(&mut self, socket: Fd, farewell: Farewell) {
        if farewell == Farewell::Reset {
            sys::reset_on_close(socket.0);
        }
        sys::close(socket.0);
    }

    fn buffers_left(&self) -> usize {
        self.buffers.left()
    }

    fn has_pipe(&self) -> bool {
        self.pipes.are_left()
    }

    fn pipe(&mut self) -> Option<Pipe> {
        self.pipes.take()
    }

    fn return_pipe(&mut self, pipe: Pipe) {
        self.pipes.give_back(pipe);
    }

    fn discard_pipe(&mut self, pipe: Pipe) {
        self.pipes.discard(pipe);
    }

    fn splice_in(&mut self, socket: Fd, pipe: Pipe, len: usize) -> io::Result<usize> {
        sys::splice(socket.0, pipe.write.0, len)
    }

    fn splice_out(&mut self, pipe: Pipe, socket: Fd, len: usize) -> io::Result<usize> {
        sys::splice(pipe.read.0, socket.0, len)
    }

    fn unacknowledged(&mut self, socket: Fd) -> usize {
        sys::unacknowledged(socket.0)
    }

    fn acknowledged(&mut self, socket: Fd) -> u64 {
        sys::acknowledged(socket.0)
    }

    fn peer(&mut self, socket: Fd) -> Option<SocketAddr> {
        sys::peer(socket.0)
    }

    fn drain_wake(&mut self) {
        sys::drain_eventfd(self.wake);
    }
}

fn build(no_sqarray: bool, submissions: u32, completions: u32) -> io::Result<IoUring> {
    let mut builder = IoUring::builder();
    builder
        .setup_single_issuer()
        .setup_defer_taskrun()
        .setup_submit_all()
        .setup_cqsize(completions);
    if no_sqarray {
        builder.setup_no_sqarray();
    }
    builder.build(submissions)
}

/// Sets `sqe.optlen`: on a multishot receive, the total it may bring. The crate has no setter.
fn set_optlen(entry: &mut squeue::Entry, bytes: u32) {
    /// In `struct io_uring_sqe`: the union that also holds `splice_fd_in` and `file_index`.
    const OPTLEN_OFFSET: usize = 44;
    const { assert!(size_of::<squeue::Entry>() == 64) };
    let base = std::ptr::from_mut(entry).cast::<u8>();
    // SAFETY: Entry is repr(C) around the kernel's 64-byte sqe, and 44 + 4 is inside it.
    let optlen = unsafe { base.add(OPTLEN_OFFSET) }.cast::<u32>();
    // SAFETY: in bounds (above), and 44 is a multiple of u32's alignment from an aligned base.
    unsafe { optlen.write(bytes) };
}

pub(super) mod probing {
    //! What the running kernel offers, tried out rather than derived from its version.

    use std::io::Write as _;
    use std::os::unix::net::UnixStream;

    use super::*;
    use crate::worker::RingUnavailable;
    use crate::worker::token::Op;

    /// See [`probe`](crate::worker::probe).
    pub(in crate::worker) fn features() -> Result<Features, RingUnavailable> {
        let small = |no_sqarray| build(no_sqarray, 8, 16);
        let no_sqarray = small(true).is_ok();
        let ring = small(no_sqarray).map_err(explain)?;
        let missing = missing_operations(&ring)?;
        if !missing.is_empty() {
            return Err(RingUnavailable::TooOld(too_old(&format!(
                "lacks {}",
                missing.join(", ")
            ))));
        }
        let no_iowait = ring.params().is_feature_no_iowait();
        let min_timeout = ring.params().is_feature_min_timeout();
        drop(ring);
        let features = Features {
            no_sqarray,
            no_iowait,
            min_timeout,
            capped_multishot: true,
        };
        let capped_multishot = receive_cap_works(features)?;
        Ok(Features {
            capped_multishot,
            ..features
        })
    }

    fn missing_operations(ring: &IoUring) -> Result<Vec<&'static str>, RingUnavailable> {
        let needed = [
            (opcode::Accept::CODE, "accept"),
            (opcode::AsyncCancel::CODE, "async_cancel"),
            (opcode::Connect::CODE, "connect"),
            (opcode::PollAdd::CODE, "poll_add"),
            (opcode::Recv::CODE, "recv"),
            (opcode::Send::CODE, "send"),
        ];
        let mut probe = io_uring::register::Probe::new();
        ring.submitter().register_probe(&mut probe)?;
        Ok(needed
            .iter()
            .filter(|(code, _)| !probe.is_supported(*code))
            .map(|&(_, n)| n)
            .collect())
    }

    /// Whether a multishot receive ends once it has brought its total (Linux 6.17; older kernels
    /// refuse the field or ignore it).
    fn receive_cap_works(features: Features) -> Result<bool, RingUnavailable> {
        let mut uring =
            Uring::new(features, Share::default(), Instant::now(), -1).map_err(explain)?;
        let (mut writer, reader) = UnixStream::pair()?;
        reader.set_nonblocking(true)?;
        writer.set_nonblocking(true)?;
        let payload = vec![0_u8; 2 * RECEIVE_CAP_BYTES as usize];
        let written = writer.write(&payload)?;
        let fd = Fd(reader.as_raw_fd());
        uring.receive(fd, Receiving::AT_ONCE, Token::new(Op::Receive, 0, 0, 0));
        let mut completions = Vec::new();
        uring.turn(Some(RING_DRAIN), None, &mut completions)?;
        let received: i64 = completions.iter().map(|c| i64::from(c.result.max(0))).sum();
        let ended = completions
            .last()
            .is_some_and(|last| !last.more && last.result > 0);
        Ok(ended && received < written as i64 && received >= i64::from(RECEIVE_CAP_BYTES))
    }

    fn explain(error: io::Error) -> RingUnavailable {
        match error.raw_os_error() {
            Some(libc::EPERM | libc::EACCES) => RingUnavailable::Denied(denied()),
            Some(libc::ENOSYS) => RingUnavailable::Denied(
                "io_uring is not available: the kernel was built without it, or a container's \
                 seccomp profile hides it; allow it with `--security-opt seccomp=unconfined` or a \
                 profile that permits io_uring_setup, io_uring_enter and io_uring_register"
                    .to_owned(),
            ),
            Some(libc::EINVAL) => {
                RingUnavailable::TooOld(too_old("does not know the ring's flags"))
            }
            Some(libc::ENOMEM) => RingUnavailable::Denied(
                "io_uring cannot be set up: the limit on locked memory is too low; raise it with \
                 `ulimit -l unlimited` or `LimitMEMLOCK=infinity` in the systemd unit"
                    .to_owned(),
            ),
            _ => RingUnavailable::Other(error),
        }
    }

    fn denied() -> String {
        match std::fs::read_to_string("/proc/sys/kernel/io_uring_disabled")
            .as_deref()
            .map(str::trim)
        {
            Ok("2") => "io_uring is switched off on this host (kernel.io_uring_disabled = 2); \
                        switch it on with `sysctl -w kernel.io_uring_disabled=0`"
                .to_owned(),
            Ok("1") => "io_uring is reserved for a group on this host (kernel.io_uring_disabled = \
                        1); add ringway's user to the group in kernel.io_uring_group, or run \
                        `sysctl -w kernel.io_uring_disabled=0`"
                .to_owned(),
            _ => "io_uring is forbidden to this process, by a seccomp profile or a security \
                  module; in a container, run it with `--security-opt seccomp=unconfined` or a \
                  profile that permits io_uring_setup, io_uring_enter and io_uring_register"
                .to_owned(),
        }
    }

    fn too_old(why: &str) -> String {
        let release = nix::sys::utsname::uname()
            .map(|names| names.release().to_string_lossy().into_owned())
            .unwrap_or_else(|_| "unknown".to_owned());
        format!(
            "this kernel ({release}) {why}; ringway needs Linux 6.1 or newer: install one, for \
             example with `apt-get install linux-image-amd64` on Debian 12"
        )
    }
}

#[cfg(test)]
mod tests;
