//! Listening sockets: made for all workers at once or not at all.
//!
//! What an accepted socket needs is set on the listening one, from which the kernel copies it, so a
//! new connection costs no `setsockopt`.

use std::fs;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use socket2::{Domain, SockAddr, SockRef, Socket, TcpKeepalive, Type};

use super::port_holder;
use crate::config::{self, Address, PoolSettings};
use crate::limits::{DEFER_ACCEPT_S, ORPHANED_SOCKET, ORPHANED_SOCKET_POLL};
use crate::sys;
use crate::worker::ListeningSocket;

/// Anyone on the host may connect to a unix socket, as to a TCP port of the loopback address; the
/// permissions of its directory narrow that down.
const UNIX_SOCKET_MODE: u32 = 0o666;

/// What a listening socket is set to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Options {
    backlog: u32,
    defer_accept: bool,
    pub(super) v6only: bool,
    freebind: bool,
    user_timeout: Duration,
    keepalive_idle: Duration,
    keepalive_interval: Duration,
    keepalive_probes: u8,
}

/// An address that is to be listened on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Request {
    /// The listener's name, for errors.
    pub(super) listener: String,
    /// As configured: a port of 0 leaves the choice to the kernel.
    pub(super) address: Address,
    pub(super) options: Options,
    /// Whether somebody else on this address is an error. Not so where this process itself listens
    /// on an address that overlaps.
    pub(super) exclusive: bool,
}

/// An address that is listened on, as the control thread keeps it. Dropping it removes the file of
/// a unix socket; the descriptors close when the workers have let go of them, too.
#[derive(Debug)]
pub(super) struct OpenSocket {
    pub(super) socket: Arc<ListeningSocket>,
    pub(super) options: Options,
    _file: Option<SocketFile>,
}

/// Why an address cannot be listened on.
#[derive(Debug, thiserror::Error)]
#[error("listener \"{listener}\": cannot listen on {address}: {cause}{hint}")]
pub struct ListenError {
    listener: String,
    address: Address,
    cause: io::Error,
    hint: String,
    /// Whether the address is in use, and by no process that could be found.
    orphaned: bool,
}

impl Options {
    /// What the configuration says of a listener and of the pool behind it.
    pub(super) fn new(listener: &config::Listener, pool: &PoolSettings) -> Self {
        Self {
            backlog: listener.backlog,
            defer_accept: listener.defer_accept,
            v6only: listener.v6only,
            freebind: listener.freebind,
            user_timeout: pool.kernel_user_timeout(),
            keepalive_idle: pool.keepalive_idle,
            keepalive_interval: pool.keepalive_interval,
            keepalive_probes: pool.keepalive_probes,
        }
    }

    /// Whether a socket has to be made anew to get from `self` to `other`: what takes effect when
    /// an address is bound cannot be changed afterwards.
    pub(super) fn need_new_socket(&self, other: &Self, address: &Address) -> bool {
        match address {
            Address::Tcp(address) => {
                self.freebind != other.freebind || address.is_ipv6() && self.v6only != other.v6only
            }
            Address::Unix(_) => false,
        }
    }
}

/// Takes all addresses, for `workers` workers, in the order of the requests. Nobody can connect
/// before [`listen_on`], so that a failure here, or of what else is opened, leaves no trace.
///
/// # Errors
/// The first address that cannot be had.
pub(super) fn bind_all(
    requests: &[Request],
    workers: usize,
) -> Result<Vec<OpenSocket>, ListenError> {
    for request in requests.iter().filter(|request| request.exclusive) {
        claim(request).map_err(|cause| ListenError::new(request, cause))?;
    }
    let bound = requests
        .iter()
        .map(|request| bind(request, workers).map_err(|cause| ListenError::new(request, cause)));
    bound.collect()
}

/// Listens on what the requests have bound: the last thing that can fail, when everything else has
/// been opened.
///
/// # Errors
/// An address on which somebody else has begun to listen meanwhile.
pub(super) fn listen_on(requests: &[Request], bound: &[OpenSocket]) -> Result<(), ListenError> {
    for (request, open) in requests.iter().zip(bound) {
        for descriptor in &open.socket.descriptors {
            // A port can still be taken here, by a socket that was bound and not yet listening.
            listen(descriptor, &request.options)
                .map_err(|cause| ListenError::new(request, cause))?;
        }
    }
    Ok(())
}

/// [`bind_all`], with patience for what a killed process has left behind. Blocks: for the start
/// only.
pub(super) fn bind_all_at_start(
    requests: &[Request],
    workers: usize,
) -> Result<Vec<OpenSocket>, ListenError> {
    let started = Instant::now();
    loop {
        match bind_all(requests, workers) {
            Err(error) if error.orphaned && started.elapsed() < ORPHANED_SOCKET => {
                thread::sleep(ORPHANED_SOCKET_POLL);
            }
            done => return done,
        }
    }
}

impl OpenSocket {
    /// Changes what can be changed while it is listened on; connections accepted from now on
    /// inherit it.
    pub(super) fn set_options(&mut self, options: Options) -> io::Result<()> {
        for descriptor in &self.socket.descriptors {
            if let Address::Tcp(_) = self.socket.address {
                set_inherited(&SockRef::from(descriptor), &options)?;
            }
            listen(descriptor, &options)?;
        }
        self.options = options;
        Ok(())
    }
}

/// Binds without `SO_REUSEPORT`, which fails where anybody listens, and lets go again. With it, a
/// second ringway would quietly get a share of the first one's connections.
fn claim(request: &Request) -> io::Result<()> {
    let Address::Tcp(address) = request.address else {
        return Ok(());
    };
    let socket = stream_socket(Domain::for_address(address))?;
    set_before_bind(&socket, address, &request.options)?;
    socket.bind(&address.into())
}

fn bind(request: &Request, workers: usize) -> io::Result<OpenSocket> {
    let (address, descriptors, file) = match &request.address {
        Address::Tcp(address) => {
            let (address, descriptors) = bind_tcp(*address, &request.options, workers)?;
            (Address::Tcp(address), descriptors, None)
        }
        Address::Unix(path) => {
            let (descriptor, file) = bind_unix(path)?;
            (Address::Unix(path.clone()), vec![descriptor], Some(file))
        }
    };
    Ok(OpenSocket {
        socket: Arc::new(ListeningSocket {
            address,
            descriptors,
        }),
        options: request.options,
        _file: file,
    })
}

fn bind_tcp(
    mut address: SocketAddr,
    options: &Options,
    workers: usize,
) -> io::Result<(SocketAddr, Vec<OwnedFd>)> {
    let mut descriptors = Vec::with_capacity(workers);
    for _ in 0..workers {
        let socket = stream_socket(Domain::for_address(address))?;
        set_before_bind(&socket, address, options)?;
        socket.set_reuse_port(true)?;
        set_inherited(&socket, options)?;
        socket.bind(&address.into())?;
        // Where the kernel chose the port for the first socket, the others follow it.
        address = socket.local_addr()?.as_socket().unwrap_or(address);
        descriptors.push(socket.into());
    }
    Ok((address, descriptors))
}

fn stream_socket(domain: Domain) -> io::Result<Socket> {
    Socket::new(domain, Type::STREAM.nonblocking().cloexec(), None)
}

fn set_before_bind(socket: &Socket, address: SocketAddr, options: &Options) -> io::Result<()> {
    // Without it, connections of a process before this one keep the port for a minute: TIME_WAIT.
    socket.set_reuse_address(true)?;
    match address.ip() {
        IpAddr::V4(_) => socket.set_freebind_v4(options.freebind),
        IpAddr::V6(_) => {
            socket.set_only_v6(options.v6only)?;
            socket.set_freebind_v6(options.freebind)
        }
    }
}

/// What accepted sockets take over from the listening one.
fn set_inherited(socket: &Socket, options: &Options) -> io::Result<()> {
    socket.set_tcp_nodelay(true)?;
    socket.set_out_of_band_inline(true)?;
    let keepalive = TcpKeepalive::new()
        .with_time(options.keepalive_idle)
        .with_interval(options.keepalive_interval)
        .with_retries(u32::from(options.keepalive_probes));
    socket.set_tcp_keepalive(&keepalive)?;
    socket.set_tcp_user_timeout(Some(options.user_timeout))?;
    let defer_s = if options.defer_accept {
        DEFER_ACCEPT_S
    } else {
        0
    };
    sys::set_defer_accept(socket.as_raw_fd(), defer_s)
}

/// Starts listening, or sets the backlog of a socket that does: listen(2).
fn listen(descriptor: &OwnedFd, options: &Options) -> io::Result<()> {
    let backlog = i32::try_from(options.backlog).unwrap_or(i32::MAX);
    SockRef::from(descriptor).listen(backlog)
}

fn bind_unix(path: &Path) -> io::Result<(OwnedFd, SocketFile)> {
    let socket = stream_socket(Domain::UNIX)?;
    let address = SockAddr::unix(path)?;
    match socket.bind(&address) {
        Err(error) if error.kind() == io::ErrorKind::AddrInUse && is_abandoned(path)? => {
            fs::remove_file(path)?;
            socket.bind(&address)?;
        }
        bound => bound?,
    }
    let file = SocketFile::new(path)?;
    // Nobody can connect before it is listened on, so nobody sees it with another mode.
    fs::set_permissions(path, fs::Permissions::from_mode(UNIX_SOCKET_MODE))?;
    Ok((socket.into(), file))
}

/// Whether the file is a socket that nobody answers on: what is left of a process that was killed.
fn is_abandoned(path: &Path) -> io::Result<bool> {
    if !fs::symlink_metadata(path)?.file_type().is_socket() {
        return Ok(false);
    }
    let answer = stream_socket(Domain::UNIX)?.connect(&SockAddr::unix(path)?);
    Ok(answer.is_err_and(|error| error.kind() == io::ErrorKind::ConnectionRefused))
}

/// The file of a unix socket; removed when this is dropped, if it still is the same one.
#[derive(Debug)]
struct SocketFile {
    path: PathBuf,
    device: u64,
    inode: u64,
}

impl SocketFile {
    fn new(path: &Path) -> io::Result<Self> {
        let metadata = fs::symlink_metadata(path)?;
        Ok(Self {
            path: path.to_owned(),
            device: metadata.dev(),
            inode: metadata.ino(),
        })
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        let is_ours = fs::symlink_metadata(&self.path)
            .is_ok_and(|file| (file.dev(), file.ino()) == (self.device, self.inode));
        if is_ours {
            let _ = fs::remove_file(&self.path);
        }
    }
}

impl ListenError {
    fn new(request: &Request, cause: io::Error) -> Self {
        let in_use = cause.kind() == io::ErrorKind::AddrInUse;
        let holder = match request.address {
            Address::Tcp(address) if in_use => port_holder::find(address),
            _ => None,
        };
        let orphaned = in_use
            && match &request.address {
                Address::Tcp(_) => holder.is_none(),
                Address::Unix(path) => is_socket(path),
            };
        let hint = match holder {
            Some(holder) => Some(holder.advice()),
            None => hint(&request.address, &cause),
        };
        Self {
            listener: request.listener.clone(),
            address: request.address.clone(),
            cause,
            hint: hint.map_or_else(String::new, |hint| format!("; {hint}")),
            orphaned,
        }
    }
}

/// What the operator can do about it.
fn hint(address: &Address, cause: &io::Error) -> Option<String> {
    match (address, cause.raw_os_error()?) {
        (Address::Tcp(address), libc::EADDRINUSE) => {
            let port = address.port();
            Some(format!("see who has it: ss -ltnp 'sport = :{port}'"))
        }
        (Address::Unix(path), libc::EADDRINUSE) => Some(if is_socket(path) {
            "another process answers on it: stop that or choose another path".to_owned()
        } else {
            "the file is not a socket: remove it or choose another path".to_owned()
        }),
        (Address::Tcp(address), libc::EACCES | libc::EPERM) if address.port() < 1024 => Some(
            "ports below 1024 need CAP_NET_BIND_SERVICE: AmbientCapabilities= in the systemd unit, \
             or `setcap cap_net_bind_service+ep` on the program"
                .to_owned(),
        ),
        (Address::Unix(_), libc::EACCES | libc::EPERM) => {
            Some("the directory has to be writable for the user that runs ringway".to_owned())
        }
        (Address::Unix(_), libc::ENOENT) => Some("create its directory first".to_owned()),
        (Address::Tcp(_), libc::EADDRNOTAVAIL) => Some(
            "this host does not have the address: see `ip address`, or set freebind = true to \
             listen before it arrives"
                .to_owned(),
        ),
        (Address::Tcp(SocketAddr::V6(_)), libc::EAFNOSUPPORT) => {
            Some("IPv6 is switched off on this host: remove the address".to_owned())
        }
        (_, libc::EMFILE | libc::ENFILE) => {
            Some("raise the descriptor limit: `ulimit -n` or LimitNOFILE=".to_owned())
        }
        _ => None,
    }
}

fn is_socket(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|file| file.file_type().is_socket())
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};
    use std::os::unix::net::{UnixListener, UnixStream};

    use super::*;

    const OPTIONS: Options = Options {
        backlog: 128,
        defer_accept: false,
        v6only: true,
        freebind: false,
        user_timeout: Duration::from_secs(123),
        keepalive_idle: Duration::from_secs(41),
        keepalive_interval: Duration::from_secs(7),
        keepalive_probes: 4,
    };

    fn request(address: &str) -> Request {
        let address = match address.strip_prefix("unix:") {
            Some(path) => Address::Unix(path.into()),
            None => Address::Tcp(address.parse().unwrap()),
        };
        Request {
            listener: "web".to_owned(),
            address,
            options: OPTIONS,
            exclusive: true,
        }
    }

    fn unix_request(path: &Path) -> Request {
        request(&format!("unix:{}", path.display()))
    }

    fn open(requests: &[Request], workers: usize) -> Result<Vec<OpenSocket>, ListenError> {
        let bound = bind_all(requests, workers)?;
        listen_on(requests, &bound)?;
        Ok(bound)
    }

    fn open_one(request: Request, workers: usize) -> OpenSocket {
        open(&[request], workers).unwrap().pop().unwrap()
    }

    fn accept(open: &OpenSocket) -> Socket {
        let address = open.socket.socket_addr().unwrap();
        let client = TcpStream::connect(address).unwrap();
        let listening = SockRef::from(&open.socket.descriptors[0]);
        listening.set_nonblocking(false).unwrap();
        let (accepted, _) = listening.accept().unwrap();
        drop(client);
        accepted
    }

    #[test]
    fn accepted_sockets_inherit_what_was_set_on_the_listening_one() {
        let mut open = open_one(request("127.0.0.1:0"), 1);
        let accepted = accept(&open);
        assert!(accepted.tcp_nodelay().unwrap());
        assert!(accepted.keepalive().unwrap());
        assert_eq!(
            accepted.tcp_keepalive_time().unwrap(),
            OPTIONS.keepalive_idle
        );
        assert_eq!(
            accepted.tcp_keepalive_interval().unwrap(),
            OPTIONS.keepalive_interval
        );
        assert_eq!(accepted.tcp_keepalive_retries().unwrap(), 4);
        assert_eq!(
            accepted.tcp_user_timeout().unwrap(),
            Some(OPTIONS.user_timeout)
        );

        let user_timeout = Duration::from_secs(60);
        let changed = Options {
            user_timeout,
            ..OPTIONS
        };
        open.set_options(changed).unwrap();
        let later = accept(&open);
        assert_eq!(later.tcp_user_timeout().unwrap(), Some(user_timeout));
        assert!(!OPTIONS.need_new_socket(&changed, &open.socket.address));
    }

    #[test]
    fn nobody_can_connect_to_what_is_bound_until_it_is_listened_on() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("web.sock");
        let requests = [request("127.0.0.1:0"), unix_request(&path)];
        let bound = bind_all(&requests, 2).unwrap();
        let address = bound[0].socket.socket_addr().unwrap();
        assert!(TcpStream::connect(address).is_err());
        assert!(UnixStream::connect(&path).is_err());
        listen_on(&requests, &bound).unwrap();
        assert!(TcpStream::connect(address).is_ok());
        assert!(UnixStream::connect(&path).is_ok());
    }

    #[test]
    fn a_port_that_the_kernel_chooses_is_the_same_for_all_workers() {
        let open = open_one(request("127.0.0.1:0"), 3);
        let port = open.socket.socket_addr().unwrap().port();
        assert_ne!(port, 0);
        for descriptor in &open.socket.descriptors {
            let socket = SockRef::from(descriptor);
            assert_eq!(
                socket.local_addr().unwrap().as_socket().unwrap().port(),
                port
            );
            assert!(socket.is_listener().unwrap() && socket.nonblocking().unwrap());
        }
    }

    #[test]
    fn an_address_in_use_names_who_has_it_and_leaves_nothing_open() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("web.sock");
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let taken_address = taken.local_addr().unwrap().to_string();
        let requests = [unix_request(&path), request(&taken_address)];
        let error = open(&requests, 2).unwrap_err().to_string();
        assert!(
            error.contains("listener \"web\"") && error.contains(&taken_address),
            "{error}"
        );
        assert!(
            error.contains(&format!("(pid {})", std::process::id())),
            "{error}"
        );
        assert!(!path.exists(), "the unix socket was not opened");
    }

    #[test]
    fn a_second_instance_fails_instead_of_sharing_the_port() {
        let first = open_one(request("127.0.0.1:0"), 1);
        let mut second = request(&first.socket.address.to_string());
        assert!(open(std::slice::from_ref(&second), 1).is_err());
        second.exclusive = false;
        assert!(
            open(&[second], 1).is_ok(),
            "this process may share with itself"
        );
    }

    #[test]
    fn the_file_of_a_dead_unix_socket_is_replaced_and_removed_at_the_end() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("web.sock");
        drop(UnixListener::bind(&path).unwrap());
        let open = open_one(unix_request(&path), 4);
        assert_eq!(
            open.socket.descriptors.len(),
            1,
            "one socket serves all workers"
        );
        assert_eq!(
            fs::metadata(&path).unwrap().mode() & 0o777,
            UNIX_SOCKET_MODE
        );
        UnixStream::connect(&path).unwrap();
        drop(open);
        assert!(!path.exists());
    }

    #[test]
    fn a_living_unix_socket_and_a_plain_file_are_left_alone() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("web.sock");
        let _living = UnixListener::bind(&path).unwrap();
        let error = open(&[unix_request(&path)], 1).unwrap_err().to_string();
        assert!(error.contains("another process answers"), "{error}");

        let file = directory.path().join("file");
        fs::write(&file, "precious").unwrap();
        let error = open(&[unix_request(&file)], 1).unwrap_err().to_string();
        assert!(error.contains("not a socket"), "{error}");
        assert_eq!(fs::read_to_string(&file).unwrap(), "precious");
    }

    #[test]
    fn the_file_of_somebody_who_took_the_path_over_is_left_alone() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("web.sock");
        let open = open_one(unix_request(&path), 1);
        fs::remove_file(&path).unwrap();
        let _other = UnixListener::bind(&path).unwrap();
        drop(open);
        assert!(path.exists());
    }
}
