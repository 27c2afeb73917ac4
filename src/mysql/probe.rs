//! A look at a server without an account: its greeting, and a goodbye that it does not hold against
//! whoever looked. A server counts handshakes that are broken off, and blocks where they come from;
//! one that ends with a user that does not exist is finished to it.

use thiserror::Error;

use super::cursor::Malformed;
use super::handshake::NoTls;
use super::link::{Link, Said};
use super::packet::ErrPacket;

/// One handshake. Feed it what the server sends, until it says how it ended.
#[derive(Debug)]
pub struct HandshakeProbe {
    link: Link,
    version: Option<String>,
    no_tls: Option<NoTls>,
}

/// Why a server cannot be logged in to.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum ProbeError {
    /// An error in place of a greeting: it is full (1040), or has blocked this host (1129).
    #[error("the server takes no connection: {code} {message}")]
    Refused {
        /// The error's number.
        code: u16,
        /// What it says.
        message: String,
    },
    /// Something else listens there, or a server of another protocol version.
    #[error("it does not greet as a MySQL server: {0}")]
    Protocol(#[from] Malformed),
    /// It is to be spoken to over TLS.
    #[error(transparent)]
    NoTls(#[from] NoTls),
}

impl HandshakeProbe {
    /// Over a connection that was just made. If the server `needs_tls`, one that does not offer it
    /// cannot be logged in to.
    pub fn new(needs_tls: bool) -> Self {
        let mut link = Link::new(needs_tls);
        link.open();
        Self {
            link,
            version: None,
            no_tls: None,
        }
    }

    /// Whether the server offers the TLS that it needs, so that what is sent goes there over TLS.
    pub fn goes_over_tls(&self) -> bool {
        self.link.greeting().is_some() && self.no_tls.is_none()
    }

    /// Takes what came from the server; `out` gets what is to be sent to it. The version that it
    /// greeted with, once everything has been said; `None`: more has to come.
    ///
    /// # Errors
    /// When it did not greet, or there will be no TLS. The connection can be closed then, as after a
    /// success.
    pub fn feed(
        &mut self,
        input: &mut &[u8],
        out: &mut Vec<u8>,
    ) -> Result<Option<String>, ProbeError> {
        while let Some(said) = self.link.feed(input) {
            self.hear(said)?;
        }
        out.append(&mut self.link.take_out());
        match (self.link.take_left(), self.no_tls) {
            (true, None) => Ok(self.version.take()),
            (true, Some(why)) => Err(why.into()),
            (false, _) => Ok(None),
        }
    }

    fn hear(&mut self, said: Said) -> Result<(), ProbeError> {
        match said {
            Said::Greeting => {
                let version = self.link.greeting().map(|greeting| &greeting.version[..]);
                self.version = version.map(|name| String::from_utf8_lossy(name).into_owned());
                self.link.leave();
                Ok(())
            }
            Said::NoTls(why) => {
                self.no_tls = Some(why);
                self.link.leave();
                Ok(())
            }
            Said::Refused(payload) => {
                let error = ErrPacket::parse(&payload)?;
                let (code, message) = (error.code, String::from_utf8_lossy(error.message));
                let message = message.into_owned();
                Err(ProbeError::Refused { code, message })
            }
            Said::Nonsense(error) => Err(error.into()),
            // A link that is being left answers these by itself.
            Said::Accepted(_) | Said::Switch(_) | Said::More(_) => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mysql::capabilities::Capabilities;
    use crate::mysql::framer::Framer;
    use crate::mysql::handshake::{FirstPacket, Greeting, upgrade};
    use crate::mysql::packet::{HEADER_BYTES, PacketWriter, write_packet};
    use crate::mysql::tests::samples::{GREETING_MARIADB, GREETING_MYSQL};

    /// Feeds packets byte by byte; how it ended, and what was sent meanwhile.
    fn talk(packets: &[(u8, &[u8])]) -> (Result<Option<String>, ProbeError>, Vec<u8>) {
        talk_to(HandshakeProbe::new(false), packets)
    }

    fn talk_to(
        mut probe: HandshakeProbe,
        packets: &[(u8, &[u8])],
    ) -> (Result<Option<String>, ProbeError>, Vec<u8>) {
        let mut out = Vec::new();
        let mut bytes = Vec::new();
        for (sequence, payload) in packets {
            write_packet(&mut bytes, *sequence, payload);
        }
        let mut last = Ok(None);
        for mut byte in bytes.chunks(1) {
            last = probe.feed(&mut byte, &mut out);
            if last != Ok(None) {
                break;
            }
        }
        (last, out)
    }

    const DENIED: &[u8] = b"\xff\x15\x04#28000Access denied for user 'ringway-nobody'";

    #[test]
    fn a_server_that_greets_is_left_with_a_finished_handshake() {
        let (unfinished, sent) = talk(&[(0, GREETING_MARIADB)]);
        assert_eq!(unfinished, Ok(None), "the server has not heard the end");
        let mut input = &sent[..];
        let (header, payload) = Framer::default().whole(&mut input).unwrap();
        assert_eq!(header.sequence, 1);
        let Ok(FirstPacket::Response(response)) = FirstPacket::parse(payload) else {
            panic!("a handshake response");
        };
        assert!(response.capabilities.contains(Capabilities::PLUGIN_AUTH));
        assert!(!response.user.is_empty() && !response.token.is_empty());

        let (outcome, _) = talk(&[(0, GREETING_MARIADB), (2, DENIED)]);
        let version = outcome.unwrap().unwrap();
        assert!(version.contains("MariaDB"), "{version}");
    }

    /// A greeting of MySQL, with TLS on offer or without.
    fn greeting(offers_tls: bool) -> Vec<u8> {
        let greeting = Greeting::parse(GREETING_MYSQL).unwrap();
        let withheld = match offers_tls {
            true => Capabilities::NONE,
            false => Capabilities::SSL,
        };
        let mut out = Vec::new();
        greeting.masked(withheld, None).write(&mut out, 0);
        out.split_off(HEADER_BYTES)
    }

    #[test]
    fn a_server_that_needs_tls_is_answered_within_it() {
        let (unfinished, sent) = talk_to(HandshakeProbe::new(true), &[(0, &greeting(true))]);
        assert_eq!(unfinished, Ok(None));
        assert!(upgrade(sent.into()).is_some(), "a response, for TLS");
        let packets = [(0, &greeting(true)[..]), (3, DENIED)];
        let (outcome, _) = talk_to(HandshakeProbe::new(true), &packets);
        assert_eq!(outcome, Ok(Some("8.4.3".to_owned())));
        for offers in [true, false] {
            let mut probe = HandshakeProbe::new(true);
            let mut packet = Vec::new();
            write_packet(&mut packet, 0, &greeting(offers));
            assert!(!probe.goes_over_tls());
            probe.feed(&mut &packet[..], &mut Vec::new()).unwrap();
            assert_eq!(probe.goes_over_tls(), offers);
        }
    }

    #[test]
    fn a_server_that_does_not_offer_the_tls_it_needs_hears_a_goodbye_and_fails() {
        let packets = [(0, &greeting(false)[..]), (2, DENIED)];
        let (outcome, sent) = talk_to(HandshakeProbe::new(true), &packets);
        assert_eq!(outcome, Err(NoTls::NotOffered.into()));
        let (_, payload) = Framer::default().whole(&mut &sent[..]).unwrap();
        let Ok(FirstPacket::Response(nobody)) = FirstPacket::parse(payload) else {
            panic!("no request for TLS, but a response");
        };
        assert!(!nobody.capabilities.contains(Capabilities::SSL));
    }

    #[test]
    fn b_1_what_comes_behind_the_greeting_of_a_server_that_needs_tls_is_not_heard() {
        for behind in [&b"\0"[..], b"\x01\0\0\x02\0", b"\x01\0\0\x02\xff"] {
            let mut bytes = Vec::new();
            write_packet(&mut bytes, 0, &greeting(true));
            bytes.extend(behind);
            let (mut probe, mut out) = (HandshakeProbe::new(true), Vec::new());
            let outcome = probe.feed(&mut &bytes[..], &mut out);
            assert_eq!(outcome, Err(NoTls::SpokeEarly(behind.len()).into()));
            assert!(out.is_empty(), "nor answered");
        }
    }

    #[test]
    fn a_server_that_wants_to_know_more_is_answered_until_it_has_enough() {
        let mut switch = b"\xfecaching_sha2_password\0".to_vec();
        switch.extend([b'x'; 20]);
        switch.push(0);
        let (outcome, sent) = talk(&[
            (0, GREETING_MARIADB),
            (2, &switch),
            (4, b"\x01\x04"),
            (6, DENIED),
        ]);
        assert!(outcome.unwrap().is_some());
        assert!(sent.ends_with(b"\0\0\0\x03\0\0\0\x05"), "{sent:?}");
    }

    #[test]
    fn an_error_in_place_of_a_greeting_is_told_in_the_servers_words() {
        let (outcome, sent) = talk(&[(0, b"\xff\x10\x04Too many connections")]);
        let error = outcome.unwrap_err().to_string();
        assert_eq!(
            error,
            "the server takes no connection: 1040 Too many connections"
        );
        assert!(sent.is_empty());
    }

    #[test]
    fn what_is_not_mysql_is_refused() {
        let mut old = Vec::new();
        let mut packet = PacketWriter::new(&mut old, 0);
        packet.bytes(b"\x093.23.58\0");
        packet.finish();
        for bytes in [&b"SSH-2.0-OpenSSH_9.2\r\n"[..], &old, &[0; 64]] {
            let mut probe = HandshakeProbe::new(false);
            let outcome = probe.feed(&mut &*bytes, &mut Vec::new());
            assert!(
                matches!(outcome, Err(ProbeError::Protocol(_))),
                "{outcome:?}"
            );
        }
    }
}
