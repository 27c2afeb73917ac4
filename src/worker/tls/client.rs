//! A client's handshake, or as much of it as is read before it is passed on to a server. No server
//! is connected to before it is done: who only looks at the port costs nobody else anything.

use std::rc::Rc;

use super::super::event_loop::Worker;
use super::super::kernel::{Chunk, Kernel};
use super::super::session::{CLIENT, Chunks, Sink, Stage};
use super::{ALERT_BYTES_MAX, Handshake};
use crate::telemetry::{HandshakeFailure, Reason, TlsAgreement, Who};
use crate::tls::client_hello::{Hello, Malformed, NotTls, ServerName, Verdict, alert, fatal_alert};
use crate::tls::policy::ListenerMode;
use crate::tls::session::{Agreement, Failure};

/// Why there will be no TLS with a client.
#[derive(Clone, Copy)]
enum Refusal<'a> {
    /// The client went away.
    CutOff(Reason),
    /// TLS with it has failed.
    Failed(&'a Failure),
    /// The time for its login is up, of which the handshake is a part.
    LoginTimedOut,
    /// Its first message cannot be read.
    Malformed(Malformed),
    /// It speaks something else.
    NotTls(NotTls),
    /// Its time is up.
    TimedOut,
}

impl Refusal<'_> {
    /// What is counted.
    fn failure(self) -> HandshakeFailure {
        match self {
            Self::CutOff(_) => HandshakeFailure::CutOff,
            Self::Malformed(_) => HandshakeFailure::Misbehaved,
            Self::NotTls(_) => HandshakeFailure::NotTls,
            Self::LoginTimedOut | Self::TimedOut => HandshakeFailure::Timeout,
            Self::Failed(failure) => match failure {
                Failure::Alert(_) => HandshakeFailure::Alert,
                Failure::Certificate(_) => HandshakeFailure::Certificate,
                Failure::CertificateMissing => HandshakeFailure::CertificateMissing,
                Failure::Decrypt => HandshakeFailure::Decrypt,
                Failure::KeysUsedUp | Failure::Ours(_) => HandshakeFailure::Internal,
                Failure::Misbehaved(_) => HandshakeFailure::Misbehaved,
                Failure::NothingInCommon(_) => HandshakeFailure::NothingInCommon,
                Failure::NotTls => HandshakeFailure::NotTls,
                Failure::TooLong => HandshakeFailure::TooLong,
            },
        }
    }

    /// Why the session ends.
    fn reason(self) -> Reason {
        match self {
            Self::CutOff(reason) => reason,
            Self::Failed(_) | Self::Malformed(_) => Reason::TlsHandshake,
            Self::LoginTimedOut => Reason::LoginTimeout,
            Self::NotTls(_) => Reason::NotTls,
            Self::TimedOut => Reason::TlsHandshakeTimeout,
        }
    }

    /// What the log says.
    fn in_words(self) -> String {
        match self {
            Self::CutOff(_) => "the client broke off in its handshake".into(),
            Self::Failed(failure) => failure.with("client"),
            Self::LoginTimedOut => {
                "the client had not finished its handshake within login_timeout".into()
            }
            Self::Malformed(broken) => {
                Failure::Misbehaved(broken.to_string().into()).with("client")
            }
            Self::NotTls(what) => match what.spoken() {
                Some(protocol) => format!("the client does not speak TLS but {protocol}"),
                None => Failure::NotTls.with("client"),
            },
            Self::TimedOut => {
                "the client had not finished its handshake within handshake_timeout".into()
            }
        }
    }
}

impl<K: Kernel> Worker<K> {
    /// A client has connected to a listener that knows TLS.
    pub(in crate::worker) fn begin_handshake(&mut self, slot: u32) {
        let now_ms = self.now_ms();
        let session = &mut self.sessions[slot];
        let Some(policy) = session.route.tls.clone() else {
            return;
        };
        session.stage = Stage::Handshake;
        session.deadline_ms = now_ms + policy.handshake_timeout.as_millis() as u64;
        let encryption = session.encryption.get_or_insert_default();
        encryption.hello = Some(Box::default());
        match &policy.mode {
            ListenerMode::Terminate(acceptor) => match acceptor.accept() {
                Ok(tls) => {
                    let nothing = Chunks::default();
                    self.encrypt(slot, CLIENT, tls, nothing, Handshake::Running);
                }
                Err(_) => return self.end(slot, Who::Ringway, Reason::Internal),
            },
            _ => self.set_handshake(slot, CLIENT, Handshake::Running),
        }
        self.reschedule(slot);
    }

    /// Bytes of a client that has not said yet which server it wants. `false`: nobody wants them.
    pub(in crate::worker) fn read_hello(&mut self, slot: u32, chunk: Chunk) -> bool {
        let session = &mut self.sessions[slot];
        if session.has_failed(CLIENT) {
            return false;
        }
        let Some(encryption) = &mut session.encryption else {
            return true;
        };
        let Some(reader) = &mut encryption.hello else {
            return true;
        };
        match reader.feed(self.kernel.bytes(chunk)) {
            Verdict::Incomplete => true,
            Verdict::Hello(hello) => {
                encryption.hello = None;
                if let ServerName::Host(host) = &hello.server_name {
                    encryption.server_name = Some(host.clone());
                }
                if !session.is_encrypted(CLIENT) {
                    self.pass_through(slot, &hello);
                } else if !hello.offers_tls12() {
                    let words = fatal_alert(alert::PROTOCOL_VERSION);
                    self.refuse(slot, &words, Refusal::Failed(&Failure::too_old()));
                    return false;
                }
                true
            }
            Verdict::Malformed(broken) => {
                self.refuse(slot, &broken.alert(), Refusal::Malformed(broken));
                false
            }
            Verdict::NotTls(what) => {
                self.refuse(slot, what.refusal(), Refusal::NotTls(what));
                false
            }
        }
    }

    /// The client has said what it wants; what it says goes to a server as it is.
    fn pass_through(&mut self, slot: u32, hello: &Hello) {
        self.set_handshake(slot, CLIENT, Handshake::None);
        self.choose_pool(slot, &hello.alpn);
        self.look_for_server(slot);
    }

    /// The client's handshake is done.
    pub(super) fn client_shook_hands(&mut self, slot: u32) {
        let session = &self.sessions[slot];
        let Some(channel) = session.channel(CLIENT) else {
            return;
        };
        let handshakes = &session.route.counters().tls.handshakes;
        handshakes.count(channel.tls.is_resumed());
        let alpn = channel.tls.alpn().map(<[u8]>::to_vec);
        if self.access_log
            && let Some(agreement) = channel.tls.agreement()
        {
            self.keep_agreement(slot, agreement);
        }
        if self.sessions[slot].mysql.is_some() {
            self.client_is_on_tls(slot);
        } else {
            self.choose_pool(slot, alpn.as_slice());
            self.look_for_server(slot);
        }
    }

    fn keep_agreement(&mut self, slot: u32, agreement: Agreement) {
        if let Some(encryption) = &mut self.sessions[slot].encryption {
            let alpn = agreement.alpn.as_deref().map(String::from_utf8_lossy);
            encryption.agreed = Some(Box::new(TlsAgreement {
                version: agreement.version,
                cipher_suite: agreement.cipher_suite,
                alpn: alpn.map(std::borrow::Cow::into_owned),
                resumed: agreement.resumed,
                subject: agreement.peer_subject,
            }));
        }
    }

    /// Sends the session to the pool that the listener's rules name for it.
    fn choose_pool(&mut self, slot: u32, alpn: &[Vec<u8>]) {
        let session = &mut self.sessions[slot];
        let host = session.encryption.as_ref();
        let host = host.and_then(|encryption| encryption.server_name.as_deref());
        let tls = session.route.tls.as_ref();
        let rule = tls.and_then(|policy| policy.routes.find(host, alpn));
        if let Some(route) = rule.and_then(|rule| session.route.by_rule.get(rule)) {
            session.route = Rc::clone(route);
        }
    }

    fn look_for_server(&mut self, slot: u32) {
        let now_us = self.kernel.now_us();
        let session = &mut self.sessions[slot];
        session.stage = Stage::Connecting;
        session.deadline_ms = u64::MAX;
        session.looking_since_us = now_us;
        self.try_next_server(slot);
    }

    /// TLS with the client has failed before it began.
    pub(super) fn client_handshake_failed(&mut self, slot: u32, failure: &Failure) {
        let mut alert = [0; ALERT_BYTES_MAX];
        let len = self.take_alert(slot, CLIENT, &mut alert);
        self.refuse(slot, &alert[..len], Refusal::Failed(failure));
    }

    /// Tells a client why it is not served, and waits a moment for it to take that in: a close with
    /// bytes unread would take the words back.
    fn refuse(&mut self, slot: u32, words: &[u8], refusal: Refusal<'_>) {
        let now_ms = self.now_ms();
        let (who, reason) = self.fail_handshake(slot, refusal);
        let session = &mut self.sessions[slot];
        if session.mysql.is_some() {
            let _ = self.kernel.send_bytes(session.legs[CLIENT].socket, words);
            return self.client_lost(slot, reason);
        }
        if session.has_sealed(CLIENT) {
            // It does not take what it was sent before, either.
            return self.end(slot, who, reason);
        }
        session.set_end(who, reason);
        session.deadline_ms = now_ms + session.route.timeouts.reset_linger_ms;
        if let Some(encryption) = &mut session.encryption {
            encryption.hello = None;
        }
        let client = &mut session.legs[CLIENT];
        client.outlet.sink = Sink::Finished;
        let socket = client.socket;
        // On a connection that has hardly been used there is room. Should it fail, nobody reads.
        let _ = self.kernel.send_bytes(socket, words);
        self.kernel.finish_sending(socket);
        self.timers.set(slot, self.deadline_ms(slot));
    }

    /// The client went away in its handshake, or when it was told that there will be none.
    pub(super) fn client_handshake_lost(&mut self, slot: u32, reason: Reason) {
        let (who, reason) = self.fail_handshake(slot, Refusal::CutOff(reason));
        match self.sessions[slot].mysql {
            Some(_) => self.client_lost(slot, reason),
            None => self.end(slot, who, reason),
        }
    }

    /// The client's time for its handshake is up, or for what it was told instead.
    pub(in crate::worker) fn handshake_expired(&mut self, slot: u32) {
        let (who, reason) = self.fail_handshake(slot, Refusal::TimedOut);
        self.end(slot, who, reason);
    }

    /// The time for a login is up, and with it that for the handshake in it, if the client has not
    /// finished that. How the session ends is the login's to say.
    pub(in crate::worker) fn handshake_in_login_expired(&mut self, slot: u32) {
        if self.sessions[slot].is_shaking_hands(CLIENT) {
            self.fail_handshake(slot, Refusal::LoginTimedOut);
        }
    }

    /// There will be no TLS with the client: counts it, the first time. Returns how the session ends
    /// for that, as it was said then.
    fn fail_handshake(&mut self, slot: u32, refusal: Refusal<'_>) -> (Who, Reason) {
        let session = &self.sessions[slot];
        if let Handshake::Failed(who, reason) = session.handshake(CLIENT) {
            return (who, reason);
        }
        let (failure, reason) = (refusal.failure(), refusal.reason());
        let who = match failure {
            HandshakeFailure::Internal => Who::Ringway,
            _ => Who::Client,
        };
        session.route.counters().tls.failures(failure).add(1);
        self.keep_error(slot, || refusal.in_words());
        self.set_handshake(slot, CLIENT, Handshake::Failed(who, reason));
        self.discard_inbound(slot, CLIENT);
        (who, reason)
    }
}
