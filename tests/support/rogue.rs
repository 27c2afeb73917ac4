//! A MySQL server that says what a test wants, whether a server may say it or not, and stops where
//! a test wants.

use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

use super::Peer;

/// The payload of an OK packet: autocommit, and nothing else to say.
pub(crate) const OK: &[u8] = b"\0\0\0\x02\0\0\0";

/// The user of those who only look whether a server lives, or leave a login.
const NOBODY: &[u8] = b"ringway-nobody";

/// What a rogue greets with, and what it answers.
#[derive(Clone, Debug)]
pub(crate) struct Rogue {
    greeting: Vec<u8>,
    behind_greeting: Vec<u8>,
    verdict: Vec<u8>,
    answer: Vec<u8>,
    after_file: Vec<Vec<u8>>,
}

/// One that serves until the program ends.
#[derive(Debug)]
pub(crate) struct RunningRogue {
    /// Where it listens.
    pub(crate) address: SocketAddr,
    shared: Arc<Shared>,
}

/// What a rogue's connections have in common.
#[derive(Debug)]
struct Shared {
    rogue: Mutex<Rogue>,
    stops: Mutex<VecDeque<Stop>>,
    heard: Mutex<Vec<Vec<u8>>>,
}

/// Where a server stops in one of its connections, and how.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stop {
    /// In what it says ...
    pub(crate) part: Part,
    /// ... after so many of its bytes.
    pub(crate) after: usize,
    /// Whether it stays, and says nothing more; otherwise it closes.
    pub(crate) stays: bool,
}

/// What a server says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    /// Its greeting.
    Greeting,
    /// What it answers a login.
    Verdict,
    /// What it answers a query.
    Answer,
}

/// A packet with this number.
pub(crate) fn packet(sequence: u8, payload: &[u8]) -> Vec<u8> {
    let mut packet = (payload.len() as u32).to_le_bytes()[..3].to_vec();
    packet.push(sequence);
    packet.extend(payload);
    packet
}

/// Packets that count from 1: a reply.
pub(crate) fn reply(payloads: &[&[u8]]) -> Vec<u8> {
    let numbered = (1..).zip(payloads);
    numbered
        .flat_map(|(n, payload)| packet(n, payload))
        .collect()
}

/// A result of one column and one row, which has this value.
pub(crate) fn one_row(value: &str) -> Vec<u8> {
    const COLUMN: &[u8] = b"\x03def\0\0\0\x01v\0\x0c\x2d\0\xff\0\0\0\xfd\0\0\0\0\0";
    const EOF: &[u8] = b"\xfe\0\0\x02\0";
    let row = [&[value.len() as u8], value.as_bytes()].concat();
    reply(&[b"\x01", COLUMN, EOF, &row, EOF])
}

/// The greeting of a MySQL 8 without TLS.
pub(crate) fn greeting(version: &[u8]) -> Vec<u8> {
    let mut greeting = b"\x0a".to_vec();
    greeting.extend(version);
    greeting.extend(b"\0\x01\0\0\0abcdefgh\0\x01\xa2\x2d\x02\0\x08\0\x15");
    greeting.extend([0; 10]);
    greeting.extend(b"ijklmnopqrst\0mysql_native_password\0");
    greeting
}

/// The same of one that offers TLS.
pub(crate) fn greeting_with_tls(version: &[u8]) -> Vec<u8> {
    const CLIENT_SSL: u8 = 0x08;
    let mut greeting = greeting(version);
    // The version has a byte in front and one behind; then come the thread's id, a part of the
    // scramble, and flags.
    greeting[1 + version.len() + 1 + 4 + 9 + 1] |= CLIENT_SSL;
    greeting
}

impl Default for Rogue {
    /// One that lets everybody in, and answers a query with OK: no rogue yet.
    fn default() -> Self {
        Self {
            greeting: greeting(b"8.0.36"),
            behind_greeting: Vec::new(),
            verdict: OK.to_vec(),
            answer: packet(1, OK),
            after_file: vec![OK.to_vec()],
        }
    }
}

impl Rogue {
    /// One that answers a query with these bytes.
    pub(crate) fn answering(answer: &[u8]) -> Self {
        Self {
            answer: answer.to_vec(),
            ..Self::default()
        }
    }

    /// Greets with this payload.
    pub(crate) fn greeting(mut self, greeting: &[u8]) -> Self {
        self.greeting = greeting.to_vec();
        self
    }

    /// Sends these bytes with its greeting, behind it.
    pub(crate) fn behind_greeting(mut self, bytes: &[u8]) -> Self {
        self.behind_greeting = bytes.to_vec();
        self
    }

    /// Answers what a client logs in with by this payload, again and again if it asks something.
    pub(crate) fn verdict(mut self, verdict: &[u8]) -> Self {
        self.verdict = verdict.to_vec();
        self
    }

    /// Answers a file that it has asked for by these payloads.
    pub(crate) fn after_file(mut self, payloads: &[&[u8]]) -> Self {
        self.after_file = payloads.iter().map(|payload| payload.to_vec()).collect();
        self
    }

    /// Bytes of what it says, headers included.
    pub(crate) fn len(&self, part: Part) -> usize {
        match part {
            Part::Greeting => 4 + self.greeting.len(),
            Part::Verdict => 4 + self.verdict.len(),
            Part::Answer => self.answer.len(),
        }
    }

    /// Serves until the program ends.
    pub(crate) fn start(self) -> RunningRogue {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared {
            rogue: Mutex::new(self),
            stops: Mutex::default(),
            heard: Mutex::default(),
        });
        let running = RunningRogue {
            address,
            shared: Arc::clone(&shared),
        };
        thread::spawn(move || {
            for client in listener.incoming() {
                let shared = Arc::clone(&shared);
                thread::spawn(move || shared.serve(client.unwrap()));
            }
        });
        running
    }
}

impl Shared {
    /// Whoever comes may be gone at any moment.
    fn serve(&self, mut client: TcpStream) -> Option<()> {
        let stop = lock(&self.stops).pop_front();
        let rogue = lock(&self.rogue).clone();
        let greeting = [packet(0, &rogue.greeting), rogue.behind_greeting.clone()].concat();
        say(&mut client, Part::Greeting, &greeting, stop)?;
        loop {
            let (number, said) = read(&mut client).ok()?;
            if said.windows(NOBODY.len()).any(|part| part == NOBODY) {
                let refusal = b"\xff\x15\x04#28000Access denied";
                return client.write_all(&packet(2, refusal)).ok();
            }
            lock(&self.heard).push(said);
            let verdict = packet(number.wrapping_add(1), &rogue.verdict);
            say(&mut client, Part::Verdict, &verdict, stop)?;
            let asks = matches!(rogue.verdict.first(), Some(0x01 | 0xFE));
            if !asks {
                break;
            }
        }
        while let Ok((_, command)) = read(&mut client) {
            match command.first() {
                Some(0x03) => {
                    lock(&self.heard).push(command);
                    say(&mut client, Part::Answer, &rogue.answer, stop)?;
                    if rogue.answer.get(4) == Some(&0xFB) {
                        rogue.take_file(&mut client)?;
                    }
                }
                Some(0x11) => {
                    lock(&self.heard).push(command);
                    client.write_all(&packet(1, OK)).ok()?;
                }
                Some(0x01) => return None,
                _ => client.write_all(&packet(1, OK)).ok()?,
            }
        }
        None
    }
}

impl Rogue {
    fn take_file(&self, client: &mut TcpStream) -> Option<()> {
        let last = loop {
            let (number, piece) = read(client).ok()?;
            if piece.is_empty() {
                break number;
            }
        };
        for (number, payload) in (last + 1..).zip(&self.after_file) {
            client.write_all(&packet(number, payload)).ok()?;
        }
        Some(())
    }
}

impl RunningRogue {
    /// It is another one for those who connect from now on.
    pub(crate) fn becomes(&self, rogue: Rogue) {
        *lock(&self.shared.rogue) = rogue;
    }

    /// Each of the next connections stops in one of these ways.
    pub(crate) fn stops(&self, stops: impl IntoIterator<Item = Stop>) {
        lock(&self.shared.stops).extend(stops);
    }

    /// Connections that are still to come and to stop.
    pub(crate) fn stops_to_come(&self) -> usize {
        lock(&self.shared.stops).len()
    }

    /// The packets that clients have logged in with, first and later, and their queries, since this
    /// was asked last.
    pub(crate) fn heard(&self) -> Vec<Vec<u8>> {
        std::mem::take(&mut lock(&self.shared.heard))
    }
}

/// A client that has asked for TLS, and says nothing more.
#[track_caller]
pub(crate) fn asking_for_tls(balancer: SocketAddr) -> Peer {
    const TLS_PROTOCOL_41_AND_AUTHENTICATION: [u8; 4] = 0x0008_8A00_u32.to_le_bytes();
    let client = Peer::connect(balancer);
    let [low, middle, high, _] = client.receive(4)[..] else {
        panic!("a header");
    };
    client.receive(u32::from_le_bytes([low, middle, high, 0]) as usize);
    let mut request = [0; 32];
    request[..4].copy_from_slice(&TLS_PROTOCOL_41_AND_AUTHENTICATION);
    client.send(packet(1, &request));
    client
}

/// Says something, or as much of it as is to be said. `None`: that was the last.
fn say(client: &mut TcpStream, part: Part, bytes: &[u8], stop: Option<Stop>) -> Option<()> {
    let Some(stop) = stop.filter(|stop| stop.part == part) else {
        return client.write_all(bytes).ok();
    };
    client.write_all(&bytes[..stop.after]).ok()?;
    if stop.stays {
        let _ = io::copy(client, &mut io::sink());
    }
    None
}

/// Number and payload of the next packet.
pub(crate) fn read(stream: &mut impl Read) -> io::Result<(u8, Vec<u8>)> {
    let mut header = [0; 4];
    stream.read_exact(&mut header)?;
    let len = u32::from_le_bytes([header[0], header[1], header[2], 0]);
    let mut payload = vec![0; len as usize];
    stream.read_exact(&mut payload)?;
    Ok((header[3], payload))
}

fn lock<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}
