//! Checks of real sockets, on the runtime they run on in production.

use std::future::Future;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::UnixListener;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU8, Ordering};

use tokio::time::timeout;

use super::super::testing;
use super::*;
use crate::config::{Address, HealthCheckKind};

const INTERVAL: Duration = Duration::from_millis(20);

/// After which what has not come is a failure: the machine may be busy with other tests.
pub(super) const LIMIT: Duration = Duration::from_secs(10);

pub(super) fn tcp_check() -> HealthCheck {
    HealthCheck {
        kind: HealthCheckKind::Tcp,
        interval: INTERVAL,
        timeout: Duration::from_millis(200),
        rise: 2,
        fall: 2,
        port: None,
        tls: false,
    }
}

pub(super) fn http_check() -> HealthCheck {
    let kind = HealthCheckKind::Http {
        path: "/healthy".into(),
        host: Some("web.example".into()),
        expect: vec![(200, 399)],
    };
    HealthCheck {
        kind,
        ..tcp_check()
    }
}

/// A server on a thread that lets `answer` deal with each connection.
pub(super) fn server(answer: impl Fn(TcpStream) + Send + 'static) -> Address {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = Address::Tcp(listener.local_addr().unwrap());
    std::thread::spawn(move || listener.incoming().flatten().for_each(answer));
    address
}

/// A web server whose answers can be changed, and which remembers the last request.
#[derive(Clone)]
struct Web {
    answer: Arc<Mutex<&'static str>>,
    request: Arc<Mutex<String>>,
    address: Address,
}

impl Web {
    fn start(first: &'static str) -> Self {
        let (answer, request) = (Arc::new(Mutex::new(first)), Arc::new(Mutex::default()));
        let address = server({
            let (answer, request) = (Arc::clone(&answer), Arc::clone(&request));
            move |mut client| {
                let mut buffer = [0; 1024];
                let len = client.read(&mut buffer).unwrap_or(0);
                *request.lock().unwrap() = String::from_utf8_lossy(&buffer[..len]).into();
                let _ = client.write_all(answer.lock().unwrap().as_bytes());
            }
        });
        Self {
            answer,
            request,
            address,
        }
    }

    fn now_answers(&self, answer: &'static str) {
        *self.answer.lock().unwrap() = answer;
    }
}

/// Where nobody listens: on an address of its own, so that no other test is given the port.
fn refusing() -> Address {
    static USED: AtomicU8 = AtomicU8::new(1);
    let host = USED.fetch_add(1, Ordering::Relaxed);
    let listener = TcpListener::bind(SocketAddr::from(([127, 7, 8, host], 0))).unwrap();
    Address::Tcp(listener.local_addr().unwrap())
}

fn probe_once(address: &Address, check: &HealthCheck) -> Result<String, Failure> {
    tokio_uring::start(probe(address, check, None, Instant::now() + check.timeout))
}

/// Runs checks of two servers while `test` looks on.
fn checking<T: Future<Output = ()>>(
    addresses: [Address; 2],
    check: HealthCheck,
    test: impl FnOnce(Rc<RefCell<Registry>>, [Arc<Server>; 2]) -> T,
) {
    let registry = testing::registry_with(addresses, Some(check));
    let members = registry.borrow().pools[0].members().to_vec();
    let servers = [0, 1].map(|i: usize| Arc::clone(&members[i].server));
    tokio_uring::start(async {
        let running = tokio_uring::spawn(run(Rc::clone(&registry)));
        timeout(LIMIT, test(Rc::clone(&registry), servers))
            .await
            .expect("the test ends in time");
        running.abort();
    });
}

async fn until(is: impl Fn() -> bool) {
    while !is() {
        sleep(Duration::from_millis(2)).await;
    }
}

#[test]
fn a_server_that_refuses_goes_down_and_comes_back_when_it_listens() {
    let web = Web::start("");
    let (up, down) = (web.address.clone(), refusing());
    let Address::Tcp(at) = down.clone() else {
        panic!("a TCP address")
    };
    checking([up, down], tcp_check(), |registry, [one, two]| async move {
        until(|| two.health() == Health::Down).await;
        assert_eq!(one.health(), Health::Up);
        let report = registry.borrow().checks.report(&two).unwrap();
        assert_eq!((report.failed, report.passed, report.downs), (2, 0, 1));
        assert!(report.last.unwrap().detail.contains("refused"));

        let _listener = TcpListener::bind(at).unwrap();
        until(|| two.health() == Health::Up).await;
        let report = registry.borrow().checks.report(&two).unwrap();
        assert_eq!((report.ups, report.downs), (1, 1));
    });
}

#[test]
fn an_unexpected_status_takes_a_server_down() {
    let web = Web::start("HTTP/1.1 200 OK\r\n\r\n");
    let other = web.address.clone();
    let web = web.clone();
    checking(
        [web.address.clone(), other],
        http_check(),
        |registry, [one, _]| async move {
            let passed = |n| {
                registry
                    .borrow()
                    .checks
                    .report(&one)
                    .is_some_and(|r| r.passed >= n)
            };
            until(|| passed(3)).await;
            assert_eq!(one.health(), Health::Up);
            web.now_answers("HTTP/1.1 503 Service Unavailable\r\n\r\n");
            until(|| one.health() == Health::Down).await;
            let last = registry.borrow().checks.report(&one).unwrap().last.unwrap();
            assert_eq!(last.detail, "HTTP status 503");
            web.now_answers("HTTP/1.1 301 Moved\r\n\r\n");
            until(|| one.health() == Health::Up).await;
            let request = web.request.lock().unwrap().clone();
            assert!(
                request.starts_with("GET /healthy HTTP/1.1\r\nHost: web.example\r\n"),
                "{request}"
            );
        },
    );
}

#[test]
fn a_server_that_accepts_and_stays_silent_fails_at_the_deadline() {
    let (sender, connections) = std::sync::mpsc::channel();
    let silent = server(move |client| drop(sender.send(client)));
    let check = http_check();
    let started = Instant::now();
    let failure = probe_once(&silent, &check).unwrap_err();
    assert!(matches!(failure, Failure::AnswerTimeout), "{failure}");
    // Not before, and long before anything else would have ended it.
    assert!((check.timeout..LIMIT).contains(&started.elapsed()));
    // The request has come, then the end of the connection: nothing is left open.
    let mut client = connections.recv().unwrap();
    let mut request = Vec::new();
    let _ = client.read_to_end(&mut request);
    assert!(request.starts_with(b"GET /healthy"));
}

#[test]
fn a_server_may_finish_its_answer() {
    let told = Arc::new(Mutex::new(None));
    let outcome = Arc::clone(&told);
    let web = server(move |mut client| {
        let _ = client.read(&mut [0; 1024]);
        let head = client.write_all(b"HTTP/1.1 200 OK\r\n");
        std::thread::sleep(Duration::from_millis(20));
        let body = client
            .write_all(b"\r\n")
            .and_then(|()| client.write_all(&[b'.'; 5000]));
        *outcome.lock().unwrap() = Some(head.and(body));
        let _ = client.shutdown(std::net::Shutdown::Write);
        let _ = client.read(&mut [0; 1]);
    });
    tokio_uring::start(async {
        let check = http_check();
        let deadline = Instant::now() + check.timeout;
        assert_eq!(
            probe(&web, &check, None, deadline).await.unwrap(),
            "HTTP status 200"
        );
        // While this runtime goes on, which reads the rest of the answer.
        let over = until(|| told.lock().unwrap().is_some());
        timeout(LIMIT, over).await.expect("it ends in time");
    });
    let outcome = told.lock().unwrap().take().unwrap();
    outcome.expect("nothing was reset meanwhile");
}

#[test]
fn what_is_not_an_http_answer_fails() {
    let failure = |answer: &'static str| {
        probe_once(&Web::start(answer).address, &http_check())
            .unwrap_err()
            .to_string()
    };
    assert_eq!(failure("SSH-2.0-OpenSSH_9.2\r\n"), "the answer is not HTTP");
    assert_eq!(failure("HTTP/1.1 20"), "the answer is not HTTP");
    assert_eq!(failure(""), "closed the connection without an answer");
}

#[test]
fn a_check_may_have_a_port_of_its_own_and_servers_may_be_unix_sockets() {
    let web = Web::start("HTTP/1.0 204 No Content\r\n\r\n");
    let Address::Tcp(at) = web.address else {
        panic!("a TCP address")
    };
    let check = HealthCheck {
        port: Some(at.port()),
        ..http_check()
    };
    // Only the address of the traffic's counts, whatever its port.
    let server = Address::Tcp(SocketAddr::new(at.ip(), 1));
    assert_eq!(probe_once(&server, &check).unwrap(), "HTTP status 204");

    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("web.sock");
    assert!(probe_once(&Address::Unix(path.clone()), &http_check()).is_err());
    let listener = UnixListener::bind(&path).unwrap();
    std::thread::spawn(move || {
        let (mut client, _) = listener.accept().unwrap();
        let _ = client.read(&mut [0; 1024]);
        let _ = client.write_all(b"HTTP/1.1 200 OK\r\n\r\n");
    });
    assert_eq!(
        probe_once(&Address::Unix(path), &http_check()).unwrap(),
        "HTTP status 200"
    );
}

#[test]
fn a_reload_ends_checks_and_starts_others() {
    let web = Web::start("");
    checking(
        [web.address.clone(), refusing()],
        tcp_check(),
        |registry, [one, two]| async move {
            until(|| two.health() == Health::Down).await;
            let checks = registry.borrow().checks.clone();
            let added = testing::member("web-03", refusing());
            let third = Arc::clone(&added.server);
            testing::replace_members(&registry, vec![testing::member_of(&two), added]);
            checks.reconfigured();
            until(|| third.health() == Health::Down).await;
            let checked = || checks.report(&one).map(|report| report.passed);
            let before = checked();
            sleep(INTERVAL * 3).await;
            assert_eq!(
                checked(),
                before,
                "a removed server is not checked any more"
            );

            registry.borrow_mut().config.pools[0].health_check = None;
            checks.reconfigured();
            until(|| two.health() == Health::Up && third.health() == Health::Up).await;
            assert!(checks.report(&two).is_none());
        },
    );
}

#[test]
fn a_failure_that_was_noticed_much_too_late_is_void() {
    let timeout = Duration::from_secs(1);
    let late = timeout + CHECK_LATE + Duration::from_millis(1);
    let mut in_a_row = 0;
    let mut is_void = |result, took| {
        matches!(
            judge(result, took, timeout, &mut in_a_row),
            Judgement::Void(_)
        )
    };
    assert!(!is_void(Err(Failure::AnswerTimeout), timeout + CHECK_LATE));
    assert!(
        !is_void(Ok("HTTP status 200".into()), late),
        "a success is one, however late"
    );
    for _ in 0..CHECKS_LATE_MAX {
        assert!(is_void(Err(Failure::AnswerTimeout), late));
    }
    assert!(
        !is_void(Err(Failure::AnswerTimeout), late),
        "on a slow host failures count at last"
    );
    assert!(is_void(Err(Failure::Closed), late));
    let shortage = io::Error::from_raw_os_error(libc::EMFILE);
    assert!(is_void(Err(Broken::Host(shortage).into()), Duration::ZERO));
}

#[test]
fn checks_are_spread_by_a_tenth_of_their_interval() {
    let interval = Duration::from_secs(100);
    let started = Instant::now();
    let starts: Vec<_> = (0..1000)
        .map(|_| next_start(started, interval) - started)
        .collect();
    let (first, last) = (*starts.iter().min().unwrap(), *starts.iter().max().unwrap());
    assert!(first >= interval * 9 / 10 && last <= interval * 11 / 10);
    assert!(last - first > interval / 6, "from {first:?} to {last:?}");
    let overdue = started - interval * 3;
    assert!(next_start(overdue, interval) >= Instant::now());
}
