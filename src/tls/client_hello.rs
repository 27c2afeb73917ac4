//! Reads a ClientHello without answering it: which server the client wants, which protocols and
//! versions it offers. That is what routing by name needs, and what tells those who are not
//! speaking TLS at all.
//!
//! The bytes may come in pieces of any size, and the message in any number of records; each byte is
//! looked at once. Whatever the client sends, the answer comes after at most
//! [`CLIENT_HELLO_BYTES_MAX`] bytes.
//!
//! A hello whose structure is broken, or that has two answers to a question that is asked here, is
//! [`Malformed`]: the server behind might understand it differently. A name that is none (an
//! address, a NUL in it, longer than names can be) is no error, only never the name of a rule.

use thiserror::Error;

use crate::limits::CLIENT_HELLO_BYTES_MAX;
use crate::tls::names;

/// The record type of handshake messages.
const HANDSHAKE: u8 = 22;
/// The handshake type of a ClientHello.
const CLIENT_HELLO: u8 = 1;
const RECORD_HEADER_BYTES: usize = 5;
const MESSAGE_HEADER_BYTES: usize = 4;
/// TLS 1.2 on the wire.
const TLS_12: u16 = 0x0303;
/// The last version number that is not taken by other protocols, or by nonsense that clients send to
/// see whether servers bear it (RFC 8701).
const TLS_MAJOR_3_MAX: u16 = 0x03FF;
/// What a record without encryption may carry.
const FRAGMENT_BYTES_MAX: usize = 1 << 14;

/// Alert descriptions that a refusal can carry (RFC 8446, section 6).
pub mod alert {
    /// A field out of its range, or a length that does not fit.
    pub const DECODE_ERROR: u8 = 50;
    /// No version in common.
    pub const PROTOCOL_VERSION: u8 = 70;
    /// A record that is longer than any may be.
    pub const RECORD_OVERFLOW: u8 = 22;
    /// A message that does not belong here.
    pub const UNEXPECTED_MESSAGE: u8 = 10;
}

/// The record of a fatal alert, for a client with which nothing has been agreed.
pub const fn fatal_alert(description: u8) -> [u8; 7] {
    [21, 3, 1, 0, 2, 2, description]
}

/// What has been found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing yet.
    Incomplete,
    /// A ClientHello.
    Hello(Box<Hello>),
    /// TLS, but no ClientHello that can be understood.
    Malformed(Malformed),
    /// Something else.
    NotTls(NotTls),
}

/// What a ClientHello says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hello {
    /// Which server the client wants.
    pub server_name: ServerName,
    /// The application protocols it offers, best first.
    pub alpn: Vec<Vec<u8>>,
    /// The versions of TLS it offers: 0x0304 is TLS 1.3, 0x0303 is TLS 1.2.
    pub versions: Vec<u16>,
}

impl Hello {
    /// Whether the client knows TLS 1.2 or something newer. In the hello of one that does not, rustls
    /// misses an extension before it looks at versions, and its alert does not name the reason.
    pub fn offers_tls12(&self) -> bool {
        let is_new = |version: &u16| (TLS_12..=TLS_MAJOR_3_MAX).contains(version);
        self.versions.iter().any(is_new)
    }
}

/// The name of a server in a ClientHello.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum ServerName {
    /// The client names no server.
    #[default]
    Absent,
    /// A host name, in lower case and without a dot at its end.
    Host(Box<str>),
    /// What stands there cannot be the name of a host.
    Unusable,
}

/// How a ClientHello is broken.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum Malformed {
    /// A field is cut off, or too long for what it is in.
    #[error("{0} does not fit the ClientHello")]
    Length(&'static str),
    /// The first message is another one.
    #[error("the first message is no ClientHello")]
    OtherMessage,
    /// The first record is of another type.
    #[error("the first record is no handshake")]
    OtherRecord,
    /// A record says that it has more in it than any may.
    #[error("a record is too long")]
    RecordTooLong,
    /// Longer than anyone needs.
    #[error("the ClientHello is too long")]
    TooLong,
    /// Something that may be there once is there twice.
    #[error("{0} is there twice")]
    Twice(&'static str),
}

impl Malformed {
    /// The alert that tells the client.
    pub const fn alert(self) -> [u8; 7] {
        fatal_alert(match self {
            Self::Length(_) | Self::TooLong | Self::Twice(_) => alert::DECODE_ERROR,
            Self::OtherMessage | Self::OtherRecord => alert::UNEXPECTED_MESSAGE,
            Self::RecordTooLong => alert::RECORD_OVERFLOW,
        })
    }
}

/// What bytes that are not TLS look like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotTls {
    /// A request of HTTP without encryption.
    Http,
    /// A PROXY protocol header: something in front of the listener sends what it does not expect.
    ProxyProtocol,
    /// SSH.
    Ssh,
    /// SSL 2, which has been broken since 1995.
    Ssl2,
    /// None of these.
    Unknown,
}

impl NotTls {
    /// The protocol, in words, if it is known.
    pub const fn spoken(self) -> Option<&'static str> {
        match self {
            Self::Http => Some("plain HTTP"),
            Self::ProxyProtocol => Some("the PROXY protocol"),
            Self::Ssh => Some("SSH"),
            Self::Ssl2 => Some("SSL 2"),
            Self::Unknown => None,
        }
    }

    /// What such a client is told before the connection is closed, in its own protocol.
    pub const fn refusal(self) -> &'static [u8] {
        match self {
            Self::Http => {
                b"HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain\r\nContent-Length: 44\r\n\
                  Connection: close\r\n\r\nThis port speaks HTTPS. Try https:// first.\n"
            }
            Self::Ssl2 | Self::Unknown => const { &fatal_alert(alert::PROTOCOL_VERSION) },
            Self::ProxyProtocol | Self::Ssh => b"",
        }
    }
}

/// How other protocols begin.
const SIGNATURES: &[(&[u8], NotTls)] = &[
    (b"CONNECT ", NotTls::Http),
    (b"DELETE ", NotTls::Http),
    (b"GET ", NotTls::Http),
    (b"HEAD ", NotTls::Http),
    (b"OPTIONS ", NotTls::Http),
    (b"PATCH ", NotTls::Http),
    (b"POST ", NotTls::Http),
    (b"PRI * HTTP/2.0", NotTls::Http),
    (b"PUT ", NotTls::Http),
    (b"TRACE ", NotTls::Http),
    (b"PROXY ", NotTls::ProxyProtocol),
    (b"\r\n\r\n\0\r\nQUIT\n", NotTls::ProxyProtocol),
    (b"SSH-", NotTls::Ssh),
];

/// Reads one client's first message.
#[derive(Clone, Debug, Default)]
pub struct Reader {
    /// The handshake message so far, without record headers. At first, and for those who do not
    /// speak TLS, the bytes as they came.
    message: Vec<u8>,
    /// The header of the record that is arriving.
    header: [u8; RECORD_HEADER_BYTES],
    header_len: usize,
    /// Bytes of that record that have not arrived.
    fragment_left: usize,
    /// Bytes that have arrived in all.
    seen: usize,
    verdict: Option<Verdict>,
}

impl Reader {
    /// Takes the next bytes. Once the verdict is there it stays, and what follows is not looked at.
    pub fn feed(&mut self, bytes: &[u8]) -> Verdict {
        if let Some(verdict) = &self.verdict {
            return verdict.clone();
        }
        let verdict = match self.read(bytes) {
            Ok(verdict) => verdict,
            Err(malformed) => Verdict::Malformed(malformed),
        };
        if verdict != Verdict::Incomplete {
            self.message = Vec::new();
            self.verdict = Some(verdict.clone());
        }
        verdict
    }

    fn read(&mut self, mut bytes: &[u8]) -> Result<Verdict, Malformed> {
        if self.seen == 0 && bytes.first().is_some_and(|&first| !is_record(first))
            || self.is_foreign()
        {
            return Ok(self.recognise(bytes));
        }
        let left = CLIENT_HELLO_BYTES_MAX.saturating_sub(self.seen);
        bytes = bytes.get(..left).unwrap_or(bytes);
        while !bytes.is_empty() {
            if self.fragment_left == 0 {
                self.read_header(&mut bytes)?;
            }
            let fragment = take_up_to(&mut bytes, self.fragment_left);
            self.fragment_left = self.fragment_left.saturating_sub(fragment.len());
            self.seen = self.seen.saturating_add(fragment.len());
            self.message.extend_from_slice(fragment);
            let Some(length) = self.message_len()? else {
                continue;
            };
            if let Some(body) = self.message.get(MESSAGE_HEADER_BYTES..length) {
                return parse(body).map(|hello| Verdict::Hello(Box::new(hello)));
            }
        }
        match self.seen < CLIENT_HELLO_BYTES_MAX {
            true => Ok(Verdict::Incomplete),
            false => Err(Malformed::TooLong),
        }
    }

    /// The header of the next record, as far as it is there.
    fn read_header(&mut self, bytes: &mut &[u8]) -> Result<(), Malformed> {
        let missing = RECORD_HEADER_BYTES.saturating_sub(self.header_len);
        let more = take_up_to(bytes, missing);
        for (byte, &new) in self.header.iter_mut().skip(self.header_len).zip(more) {
            *byte = new;
        }
        self.header_len = self.header_len.saturating_add(more.len());
        self.seen = self.seen.saturating_add(more.len());
        let [kind, major, _, high, low] = self.header;
        if kind != HANDSHAKE || self.header_len > 1 && major != 3 {
            return Err(Malformed::OtherRecord);
        }
        if self.header_len == RECORD_HEADER_BYTES {
            self.header_len = 0;
            self.fragment_left = usize::from(u16::from_be_bytes([high, low]));
            match self.fragment_left {
                0 => return Err(Malformed::Length("an empty record")),
                1..=FRAGMENT_BYTES_MAX => {}
                _ => return Err(Malformed::RecordTooLong),
            }
        }
        Ok(())
    }

    /// The length of the message with its header, once that is there.
    fn message_len(&self) -> Result<Option<usize>, Malformed> {
        if self
            .message
            .first()
            .is_some_and(|&kind| kind != CLIENT_HELLO)
        {
            return Err(Malformed::OtherMessage);
        }
        let Some(&[_, high, middle, low]) = self.message.first_chunk() else {
            return Ok(None);
        };
        let body = u32::from_be_bytes([0, high, middle, low]);
        let length =
            MESSAGE_HEADER_BYTES.saturating_add(usize::try_from(body).unwrap_or(usize::MAX));
        if length > CLIENT_HELLO_BYTES_MAX {
            return Err(Malformed::TooLong);
        }
        Ok(Some(length))
    }

    /// Whether the first bytes were not those of a record.
    fn is_foreign(&self) -> bool {
        self.seen == 0 && !self.message.is_empty()
    }

    /// Says what bytes look like that are not TLS, as soon as no signature can match any more.
    fn recognise(&mut self, bytes: &[u8]) -> Verdict {
        let longest = SIGNATURES
            .iter()
            .map(|(signature, _)| signature.len())
            .max();
        let missing = longest.unwrap_or(0).saturating_sub(self.message.len());
        self.message
            .extend_from_slice(bytes.get(..missing).unwrap_or(bytes));
        let begins = |whole: &[u8], start: &[u8]| whole.starts_with(start);
        for &(signature, kind) in SIGNATURES {
            if begins(&self.message, signature) {
                return Verdict::NotTls(kind);
            }
        }
        if SIGNATURES
            .iter()
            .any(|(signature, _)| begins(signature, &self.message))
        {
            return Verdict::Incomplete;
        }
        match self.message.as_slice() {
            // A length of two bytes whose highest bit is set, then the type of the message.
            [0x80..=0xFF, _, CLIENT_HELLO, ..] => Verdict::NotTls(NotTls::Ssl2),
            [0x80..=0xFF] | [0x80..=0xFF, _] => Verdict::Incomplete,
            _ => Verdict::NotTls(NotTls::Unknown),
        }
    }
}

/// Whether a record of any type may begin with this byte.
const fn is_record(first: u8) -> bool {
    matches!(first, 20..=24)
}

fn take_up_to<'a>(bytes: &mut &'a [u8], count: usize) -> &'a [u8] {
    let (taken, rest) = bytes.split_at(count.min(bytes.len()));
    *bytes = rest;
    taken
}

/// A ClientHello without its header (RFC 8446, section 4.1.2).
fn parse(body: &[u8]) -> Result<Hello, Malformed> {
    let mut fields = Fields(body);
    let version = fields.u16("the version")?;
    fields.take(32, "the random")?;
    fields.vector8("the session id")?;
    fields.vector16("the cipher suites")?;
    fields.vector8("the compression methods")?;
    let mut hello = Hello::default();
    let mut extensions = match fields.is_empty() {
        true => Fields(&[]),
        false => Fields(fields.vector16("the extensions")?),
    };
    if !fields.is_empty() {
        return Err(Malformed::Length("what follows the extensions"));
    }
    let mut seen = Vec::new();
    while !extensions.is_empty() {
        let kind = extensions.u16("an extension")?;
        let Some((name, read)) = reader_of(kind) else {
            extensions.vector16("an extension")?;
            continue;
        };
        if seen.contains(&kind) {
            return Err(Malformed::Twice(name));
        }
        seen.push(kind);
        let mut data = Fields(extensions.vector16(name)?);
        read(&mut hello, &mut data)?;
        if !data.is_empty() {
            return Err(Malformed::Length(name));
        }
    }
    if hello.versions.is_empty() {
        hello.versions.push(version);
    }
    Ok(hello)
}

type ReadExtension = fn(&mut Hello, &mut Fields<'_>) -> Result<(), Malformed>;

/// How an extension is called and read, if it says something that is asked here.
fn reader_of(kind: u16) -> Option<(&'static str, ReadExtension)> {
    Some(match kind {
        0 => ("the server name", |hello, data| {
            hello.server_name = server_name(data)?;
            Ok(())
        }),
        16 => ("the protocol list", |hello, data| {
            let name = "the protocol list";
            let mut list = Fields(data.vector16(name)?);
            while !list.is_empty() {
                hello.alpn.push(list.vector8(name)?.to_vec());
            }
            Ok(())
        }),
        43 => ("the versions", |hello, data| {
            let name = "the versions";
            hello.versions = numbers(data.vector8(name)?, name)?;
            Ok(())
        }),
        _ => return None,
    })
}

/// The list of names (RFC 6066, section 3). There is one type of name, of which it may have one.
fn server_name(data: &mut Fields<'_>) -> Result<ServerName, Malformed> {
    let mut list = Fields(data.vector16("the server name")?);
    let mut found = None;
    while !list.is_empty() {
        let kind = list.take(1, "the server name")?;
        let name = list.vector16("the server name")?;
        if kind == [0] && found.replace(name).is_some() {
            return Err(Malformed::Twice("the server name"));
        }
    }
    Ok(match found {
        None => ServerName::Unusable,
        Some(name) => names::host_name(name).map_or(ServerName::Unusable, ServerName::Host),
    })
}

/// A list of numbers of two bytes.
fn numbers(list: &[u8], name: &'static str) -> Result<Vec<u16>, Malformed> {
    let (pairs, odd) = list.as_chunks::<2>();
    if !odd.is_empty() {
        return Err(Malformed::Length(name));
    }
    Ok(pairs.iter().map(|&pair| u16::from_be_bytes(pair)).collect())
}

/// What is left of a message.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn take(&mut self, count: usize, name: &'static str) -> Result<&'a [u8], Malformed> {
        let (taken, rest) = self
            .0
            .split_at_checked(count)
            .ok_or(Malformed::Length(name))?;
        self.0 = rest;
        Ok(taken)
    }

    fn u16(&mut self, name: &'static str) -> Result<u16, Malformed> {
        let (&taken, rest) = self.0.split_first_chunk().ok_or(Malformed::Length(name))?;
        self.0 = rest;
        Ok(u16::from_be_bytes(taken))
    }

    /// Bytes with a length of one byte in front.
    fn vector8(&mut self, name: &'static str) -> Result<&'a [u8], Malformed> {
        let (&length, rest) = self.0.split_first().ok_or(Malformed::Length(name))?;
        self.0 = rest;
        self.take(usize::from(length), name)
    }

    /// Bytes with a length of two bytes in front.
    fn vector16(&mut self, name: &'static str) -> Result<&'a [u8], Malformed> {
        let length = self.u16(name)?;
        self.take(usize::from(length), name)
    }
}
