//! The steps of a login, in the order in which they happen.

use std::sync::Arc;

use zeroize::Zeroizing;

use super::{Action, ClientTls, Established, Failure, Login, Peer, Phase, PrimaryOnly, Rung};
use crate::mysql::auth::{Credential, Password, Plugin, Signer};
use crate::mysql::capabilities::Capabilities;
use crate::mysql::cursor::{Flaw, Malformed};
use crate::mysql::handshake::{AuthSwitch, FirstPacket, NoTls, Response};
use crate::mysql::link::{FAST_AUTH_OK, FULL_AUTH, Link, Said, WANT_PUBLIC_KEY, known_switch};
use crate::mysql::packet::{AUTH_MORE_DATA, AUTH_NEXT_FACTOR, ErrPacket, OK, OkPacket, Status};
use crate::mysql::server_login::Signing;

/// Plugins whose clients never say the password itself; `caching_sha2_password` only when asked to,
/// which is seen.
const SIGNING: [&[u8]; 4] = [
    b"mysql_native_password",
    b"caching_sha2_password",
    b"client_ed25519",
    b"parsec",
];

/// Clients, by the name they give themselves, that were seen to sign more than twice.
const SIGN_ANY_NUMBER: [&[u8]; 2] = [b"libmariadb", b"Node-MySQL-2"];

impl Login {
    pub(super) fn lead_says(&mut self, said: Said, actions: &mut Vec<Action>) {
        match said {
            Said::Greeting => self.greet(actions),
            Said::NoTls(why) => self.lead_has_no_tls(why, actions),
            Said::Refused(payload) => {
                self.note_turned_away(self.lead, &payload, actions);
                self.refused(&payload, actions);
            }
            Said::Nonsense(error) => self.fail(Failure::ServerProtocol(error), actions),
            Said::Accepted(ok) => {
                self.ok = ok;
                self.lead_accepted(actions);
            }
            Said::Switch(payload) => self.lead_switches(&payload, actions),
            Said::More(payload) => self.lead_asks(&payload, actions),
        }
    }

    /// The lead's greeting: the client gets it, as far as it can be kept up. If the client has
    /// responded to another server's already, its account is one of the configuration.
    fn greet(&mut self, actions: &mut Vec<Action>) {
        let withheld = self.rules.withheld();
        let Some(greeting) = self.link(self.lead).greeting() else {
            return;
        };
        if self.phase == Phase::Verdict {
            let usable = greeting.capabilities.without(withheld);
            return match usable.contains(self.offered.and(self.client_layout())) {
                true => self.sign_for_client(),
                false => self.fail(Failure::ServerLost, actions),
            };
        }
        let masked = greeting.masked(withheld, self.rules.announce);
        self.offered = masked.capabilities;
        self.scramble = Some(masked.scramble);
        let mut shown = masked;
        if self.client_tls != ClientTls::Off {
            shown.capabilities = shown.capabilities | Capabilities::SSL;
        }
        shown.write(&mut self.out, 0);
        self.next_sequence = 1;
        self.phase = Phase::Response;
    }

    /// The client's first packet.
    pub(super) fn responded(&mut self, payload: &[u8], actions: &mut Vec<Action>) {
        let response = match FirstPacket::parse(payload) {
            Err(error) => return self.fail(error.into(), actions),
            Ok(FirstPacket::SslRequest) => return self.start_tls(actions),
            Ok(FirstPacket::Response(_)) if self.client_tls == ClientTls::Required => {
                return self.fail(Failure::TlsRequired, actions);
            }
            Ok(FirstPacket::Response(response)) => match response.check() {
                Ok(()) => self.accept(response),
                Err(error) => return self.fail(Failure::ClientProtocol(error), actions),
            },
        };
        let credential = self.rules.accounts.get(&response.user).cloned();
        let past_splitting = self.rules.primary_only_users.contains(&response.user);
        if past_splitting && self.lead == Peer::Replica {
            return self.fail(Failure::NoServer, actions);
        }
        if past_splitting {
            self.primary_only = Some(PrimaryOnly::User);
        } else if !self.replica_possible && self.lead == Peer::Primary {
            self.primary_only = Some(PrimaryOnly::NoReplica);
        }
        match credential {
            Some(credential) => self.verify(&credential, actions),
            None => self.relay(actions),
        }
    }

    /// What the client sends next is TLS, and what it has sent already behind its request, too (B-1).
    fn start_tls(&mut self, actions: &mut Vec<Action>) {
        match self.client_tls {
            ClientTls::Offered | ClientTls::Required => {
                self.phase = Phase::ClientTls;
                actions.push(Action::StartTls);
            }
            ClientTls::Off | ClientTls::Running => self.fail(Failure::ClientWantsTls, actions),
        }
    }

    /// Keeps what the client says of itself, reduced to what it was offered.
    fn accept(&mut self, mut response: Response) -> Box<Response> {
        response.capabilities = response.capabilities.and(self.offered);
        self.plugin = response.known_plugin();
        self.token = Zeroizing::new(std::mem::take(&mut response.token));
        let response = Box::new(response);
        self.response = Some(response.clone());
        response
    }

    /// Rung 1: the client's signature is verified here. A client whose plugin does not allow that
    /// is asked for a signature of the other kind.
    pub(super) fn verify(&mut self, credential: &Credential, actions: &mut Vec<Action>) {
        self.rung = Rung::Configured;
        let (Some(plugin), Some(scramble)) = (self.plugin, self.scramble) else {
            return self.ask_for_native();
        };
        if !credential.knows(plugin) {
            return self.ask_for_native();
        }
        self.signer = credential.verify(plugin, &scramble, &self.token);
        match self.signer {
            Some(_) => self.verified(),
            None => self.deny(actions),
        }
    }

    fn ask_for_native(&mut self) {
        let Some(scramble) = self.scramble else {
            return;
        };
        AuthSwitch::write(&mut self.out, self.next_sequence, Plugin::Native, &scramble);
        self.next_sequence = self.next_sequence.wrapping_add(1);
        self.plugin = Some(Plugin::Native);
        self.switches = self.switches.saturating_add(1);
        self.phase = Phase::Proof;
    }

    /// The signature that was asked for.
    pub(super) fn proved(&mut self, payload: &[u8], actions: &mut Vec<Action>) {
        self.token = Zeroizing::new(payload.to_vec());
        let user = self.response.as_ref().map(|response| &response.user);
        let credential = user.and_then(|user| self.rules.accounts.get(user));
        self.signer = credential
            .zip(self.scramble)
            .and_then(|(known, scramble)| known.verify(Plugin::Native, &scramble, &self.token));
        match self.signer {
            Some(_) => self.verified(),
            None => self.deny(actions),
        }
    }

    fn deny(&mut self, actions: &mut Vec<Action>) {
        let user = self.response.as_ref().map(|response| response.user.clone());
        let failure = Failure::AccessDenied {
            user: user.unwrap_or_default(),
            with_password: !self.token.is_empty(),
        };
        self.fail(failure, actions);
    }

    fn verified(&mut self) {
        self.phase = Phase::Verdict;
        match self.change {
            Some(_) => self.change_signed(),
            None => self.sign_for_client(),
        }
    }

    /// Logs in at the lead in the client's place.
    fn sign_for_client(&mut self) {
        let capabilities = self.lead_capabilities();
        let (Some(signer), Some(response)) = (self.signer.clone(), self.response.clone()) else {
            return;
        };
        let mut signing = Signing::new(signer, self.rules.servers_on_tls);
        let response = self.for_lead(&response);
        // What cannot be signed at once, the server asks for in another way, or refuses.
        let signed = signing.respond(self.lead_link(), &response, capabilities);
        if signed.is_err() {
            let name = Some(Plugin::Native.name());
            self.lead_link().respond(&response, capabilities, name, &[]);
        }
        self.signing = Some(signing);
    }

    /// Rung 3: the client's signature goes to the lead, and a replica is opened meanwhile.
    fn relay(&mut self, actions: &mut Vec<Action>) {
        let capabilities = self.lead_capabilities();
        let Some(response) = self.response.clone() else {
            return;
        };
        if !self.may_pass_token_on(&response) {
            return self.fail(Failure::PasswordInPlain, actions);
        }
        let plugin = response.plugin.clone();
        let token = std::mem::take(&mut self.token);
        let for_lead = self.for_lead(&response);
        self.lead_link()
            .respond(&for_lead, capabilities, plugin.as_deref(), &token);
        self.token = token;
        self.phase = Phase::Verdict;
        if !response.capabilities.contains(Capabilities::PLUGIN_AUTH) {
            self.primary_only = self.primary_only.or(Some(PrimaryOnly::OldClient));
        }
        if self.primary_only.is_none() && self.lead == Peer::Primary {
            self.open_replica(actions);
        }
    }

    /// Whether what the client has said with its name may go on to a server.
    pub(super) fn may_pass_token_on(&self, response: &Response) -> bool {
        let plugin = response.plugin.as_deref();
        self.token.is_empty() || self.may_pass_on(plugin.unwrap_or(Plugin::Native.name()))
    }

    /// Whether what a client says for this plugin may go on to a server. On TLS a client trusts the
    /// connection with the password itself, and it must not leave in plain text: only signatures do.
    fn may_pass_on(&self, plugin: &[u8]) -> bool {
        let is_safe = self.client_tls != ClientTls::Running || self.rules.servers_on_tls;
        is_safe || SIGNING.contains(&plugin)
    }

    fn open_replica(&mut self, actions: &mut Vec<Action>) {
        self.replica.open();
        actions.push(Action::OpenReplica);
    }

    /// What the lead offers and ringway keeps up.
    fn lead_capabilities(&self) -> Capabilities {
        let offered = self.link(self.lead).greeting().map(|g| g.capabilities);
        offered.unwrap_or_default().without(self.rules.withheld())
    }

    /// What the lead is told of the client: the truth, except that it may have to report GTIDs.
    fn for_lead(&self, response: &Response) -> Response {
        let mut response = response.clone();
        if self.rules.track_gtids && self.lead == Peer::Primary {
            response.capabilities = response.capabilities | Capabilities::SESSION_TRACK;
        }
        response
    }

    /// The lead wants another signature. If it is one that the client has made already (another
    /// plugin's name in front of the same scramble), the client need not know. Otherwise the client
    /// is asked, and has perhaps no second one left for the replica.
    fn lead_switches(&mut self, payload: &[u8], actions: &mut Vec<Action>) {
        if let Some(mut signing) = self.signing.take() {
            let answered = signing.switch(self.lead_link(), payload);
            self.signing = Some(signing);
            return match answered {
                Ok(()) => {}
                Err(_) => self.fail(Failure::CredentialUnusable, actions),
            };
        }
        let known = known_switch(payload);
        if let Some((plugin, scramble)) = known
            && self.plugin == Some(plugin)
            && self.scramble == Some(scramble)
            && self.switches == 0
            && !self.token.is_empty()
        {
            self.switches_answered();
            return;
        }
        let plugin = AuthSwitch::parse(payload).map_or(&b""[..], |switch| switch.plugin);
        if !self.may_pass_on(plugin) {
            return self.fail(Failure::PasswordInPlain, actions);
        }
        self.plugin = known.map(|(plugin, _)| plugin);
        self.scramble = known.map(|(_, scramble)| scramble);
        self.switches = self.switches.saturating_add(1);
        self.ask_client(payload);
    }

    /// Answers with the signature that the client has made already.
    fn switches_answered(&mut self) {
        let token = std::mem::take(&mut self.token);
        self.lead_link().answer(&token);
        self.token = token;
    }

    /// The lead's plugin says something.
    fn lead_asks(&mut self, payload: &[u8], actions: &mut Vec<Action>) {
        if let Some(mut signing) = self.signing.take() {
            let answered = signing.more(self.lead_link(), payload);
            self.signing = Some(signing);
            return match answered {
                Ok(()) => {}
                Err(_) => self.fail(Failure::CredentialUnusable, actions),
            };
        }
        if self.plugin == Some(Plugin::Sha2) && payload == [AUTH_MORE_DATA, FAST_AUTH_OK] {
            self.lead_link().wait_on();
            return;
        }
        let full = self.plugin == Some(Plugin::Sha2) && payload == [AUTH_MORE_DATA, FULL_AUTH];
        if full && self.client_tls == ClientTls::Running && !self.wants_password {
            self.wants_password = true;
            self.asked_for_more = true;
            return self.ask_client(payload);
        }
        if full && self.rules.servers_on_tls {
            // The server takes any answer for the password, and a client without TLS has a question
            // first, which is for ringway.
            self.asked_for_more = true;
            self.pass_on(payload);
            self.phase = Phase::KeyQuestion;
            return;
        }
        let reason = match payload {
            [AUTH_NEXT_FACTOR, ..] => PrimaryOnly::MultiFactor,
            [AUTH_MORE_DATA, FULL_AUTH] => PrimaryOnly::FullAuthentication,
            _ => PrimaryOnly::Plugin,
        };
        if self.primary_only.is_none() && self.lead == Peer::Primary {
            self.give_replica_up(reason, actions);
        }
        self.asked_for_more = true;
        self.ask_client(payload);
    }

    fn ask_client(&mut self, payload: &[u8]) {
        self.pass_on(payload);
        self.phase = Phase::Answer;
    }

    /// The client's answer to the lead.
    pub(super) fn answered(&mut self, payload: Zeroizing<Vec<u8>>, actions: &mut Vec<Action>) {
        if std::mem::take(&mut self.wants_password) {
            return self.captured(told(&payload), actions);
        }
        if !self.asked_for_more && !self.is_signature(&payload) {
            let error = Malformed::new("AuthSwitchResponse", Flaw::Unexpected);
            return self.fail(Failure::ClientProtocol(error), actions);
        }
        self.lead_link().answer(&payload);
        self.token = payload;
        self.phase = Phase::Verdict;
    }

    /// The client's question for a public key, which is answered as a server without TLS would. One
    /// that has no question has a server's key already, or says its password in plain text.
    pub(super) fn asked_for_key(&mut self, payload: &[u8], actions: &mut Vec<Action>) {
        let key = self.rules.password_key.clone();
        let Some(key) = key.filter(|_| payload == [WANT_PUBLIC_KEY]) else {
            return self.fail(Failure::PasswordUnreadable, actions);
        };
        self.pass_on(&[&[AUTH_MORE_DATA], key.pem().as_bytes()].concat());
        self.phase = Phase::EncryptedPassword;
    }

    /// The client's password, under ringway's key.
    pub(super) fn told_in_secret(&mut self, payload: &[u8], actions: &mut Vec<Action>) {
        let key = self.rules.password_key.as_ref().zip(self.scramble);
        match key.and_then(|(key, scramble)| key.decrypt(payload, &scramble)) {
            Some(password) => self.captured(Signer::Password(Arc::new(password)), actions),
            None => self.fail(Failure::PasswordUnreadable, actions),
        }
    }

    /// Rung 2: the client has told its password, on TLS or under ringway's key. It does not go on in
    /// plain text: the lead gets it over TLS or encrypted for its own key, and the replica is logged
    /// in at when it is needed.
    fn captured(&mut self, signer: Signer, actions: &mut Vec<Action>) {
        let (Some(Plugin::Sha2), Some(scramble)) = (self.plugin, self.scramble) else {
            return self.fail(Failure::CredentialUnusable, actions);
        };
        self.rung = Rung::Capture;
        self.signer = Some(signer.clone());
        self.phase = Phase::Verdict;
        // It may be the lead: the primary is away, and the session only reads.
        if self.lead == Peer::Primary {
            self.replica.leave();
        }
        let signing = Signing::new(signer, self.rules.servers_on_tls);
        let mut signing = signing.begun(Plugin::Sha2, scramble);
        let asked = signing.more(self.lead_link(), &[AUTH_MORE_DATA, FULL_AUTH]);
        self.signing = Some(signing);
        if asked.is_err() {
            self.fail(Failure::CredentialUnusable, actions);
        }
    }

    /// Whether what a client answers to a switch may be a signature, right or wrong.
    fn is_signature(&self, payload: &[u8]) -> bool {
        self.plugin.is_none_or(|plugin| plugin.fits(payload))
    }

    /// The lead's OK. The client gets it when the replica is done with.
    fn lead_accepted(&mut self, actions: &mut Vec<Action>) {
        let relayed = self.rung == Rung::Relay || self.change.is_some();
        if !relayed || self.lead == Peer::Replica || self.primary_only.is_some() {
            return self.complete(actions);
        }
        let is_signed = self.rung == Rung::Configured || self.replica.is_accepted();
        if !is_signed && self.plugin.is_none() {
            return self.end_without_replica(PrimaryOnly::Plugin, actions);
        }
        if self.change.is_some() {
            self.phase = Phase::ReplicaGreeting;
            return self.change_at_replica(actions);
        }
        if self.client_has_signed_enough() {
            return self.end_without_replica(PrimaryOnly::SwitchUsed, actions);
        }
        self.phase = Phase::ReplicaGreeting;
        if self.replica.is_greeted() {
            self.sign_at_replica(actions);
        }
    }

    /// Whether the client cannot be asked for one more signature.
    pub(super) fn client_has_signed_enough(&self) -> bool {
        self.switches > 0 && !self.password_is_empty() && !self.client_signs_any_number()
    }

    fn password_is_empty(&self) -> bool {
        self.plugin
            .is_some_and(|p| p.is_empty_password(&self.token))
    }

    fn client_signs_any_number(&self) -> bool {
        let response = self.response.as_ref();
        let name = response.and_then(|response| response.attribute(b"_client_name"));
        name.is_some_and(|name| SIGN_ANY_NUMBER.contains(&name))
    }

    pub(super) fn end_without_replica(&mut self, reason: PrimaryOnly, actions: &mut Vec<Action>) {
        self.primary_only = self.primary_only.or(Some(reason));
        self.replica.leave();
        self.complete(actions);
    }

    /// The lead has accepted and the replica has greeted: the client is asked to sign for it.
    fn sign_at_replica(&mut self, actions: &mut Vec<Action>) {
        let (Some(greeting), Some(plugin)) = (self.replica.greeting(), self.plugin) else {
            return;
        };
        let offered = greeting.capabilities.without(self.rules.withheld());
        let scramble = greeting.scramble;
        if !offered.contains(self.layout()) {
            return self.give_replica_up(PrimaryOnly::ReplicaCapabilities, actions);
        }
        if self.password_is_empty() {
            return self.respond_to_replica();
        }
        AuthSwitch::write(&mut self.out, self.next_sequence, plugin, &scramble);
        self.next_sequence = self.next_sequence.wrapping_add(1);
        self.scramble = Some(scramble);
        self.phase = Phase::SecondSignature;
    }

    /// What of the client's flags decides the layout of packets.
    fn client_layout(&self) -> Capabilities {
        let client = self.response.as_ref().map(|r| r.capabilities);
        client.unwrap_or_default().and(Capabilities::LAYOUT)
    }

    /// What client and lead have agreed to and a second server must agree to as well.
    fn layout(&self) -> Capabilities {
        self.client_layout().and(self.lead_capabilities())
    }

    /// The client's second signature.
    pub(super) fn signed_again(&mut self, payload: Zeroizing<Vec<u8>>, actions: &mut Vec<Action>) {
        if !self.is_signature(&payload) {
            return self.end_without_replica(PrimaryOnly::ReplicaDenied, actions);
        }
        self.token = payload;
        match (self.primary_only, &self.change) {
            (Some(_), _) => self.complete(actions),
            (None, None) => self.respond_to_replica(),
            (None, Some(_)) => {
                self.replica.answer(&self.token);
                self.phase = Phase::ReplicaVerdict;
            }
        }
    }

    /// The replica gets the same response as the lead, with its own signature. Its flags are those
    /// that client and lead have agreed to, so that both servers' bytes mean the same.
    fn respond_to_replica(&mut self) {
        let offered = self.replica.greeting().map(|g| g.capabilities);
        let offered = offered.unwrap_or_default().without(self.rules.withheld());
        let offered = offered.and(self.lead_capabilities());
        let (Some(response), Some(plugin)) = (&self.response, self.plugin) else {
            return;
        };
        let name = Some(plugin.name());
        self.replica.respond(response, offered, name, &self.token);
        self.phase = Phase::ReplicaVerdict;
    }

    pub(super) fn replica_says(&mut self, said: Said, actions: &mut Vec<Action>) {
        match said {
            Said::Greeting if self.phase == Phase::ReplicaGreeting => self.sign_at_replica(actions),
            Said::Greeting => {}
            Said::NoTls(why) => {
                actions.push(Action::NoTls(Peer::Replica, why));
                self.give_replica_up(PrimaryOnly::ReplicaLost, actions);
            }
            Said::Accepted(_) if self.phase == Phase::ReplicaVerdict => {
                self.replica_accepted(actions);
            }
            Said::Accepted(_) if self.change.is_some() => self.change_accepted(actions),
            Said::Accepted(_) => self.replica.leave(),
            Said::Refused(payload) => {
                let turned_away = self.note_turned_away(Peer::Replica, &payload, actions);
                let reason = match self.phase {
                    Phase::ReplicaVerdict if !turned_away => PrimaryOnly::ReplicaDenied,
                    _ => PrimaryOnly::ReplicaRefused,
                };
                self.give_replica_up(reason, actions);
            }
            Said::Switch(payload) => self.replica_switches(&payload, actions),
            Said::More(payload) => self.replica_asks(&payload, actions),
            Said::Nonsense(_) => self.give_replica_up(PrimaryOnly::ReplicaProtocol, actions),
        }
    }

    /// A server's error: if it is about the server and not about the client, others are to know.
    fn note_turned_away(&self, server: Peer, payload: &[u8], actions: &mut Vec<Action>) -> bool {
        let error = ErrPacket::parse(payload);
        let turned_away = error.is_ok_and(|error| self.link(server).is_turned_away(error.code));
        if turned_away {
            actions.push(Action::TurnedAway(server));
        }
        turned_away
    }

    /// The replica wants a signature with another name in front. Only one that was made already can
    /// be had.
    fn replica_switches(&mut self, payload: &[u8], actions: &mut Vec<Action>) {
        if self.change.is_some() {
            return self.change_switches(payload, actions);
        }
        let scramble = self.replica.greeting().map(|greeting| greeting.scramble);
        match known_switch(payload) {
            Some((plugin, wanted))
                if self.plugin == Some(plugin)
                    && (scramble == Some(wanted) || self.password_is_empty()) =>
            {
                self.replica.answer(&self.token);
            }
            _ => self.give_replica_up(PrimaryOnly::ReplicaPlugin, actions),
        }
    }

    fn replica_asks(&mut self, payload: &[u8], actions: &mut Vec<Action>) {
        if let Some(signing) = &mut self.replica_signing {
            return match signing.more(&mut self.replica, payload) {
                Ok(()) => {}
                Err(_) => self.give_replica_up(PrimaryOnly::ReplicaPlugin, actions),
            };
        }
        match payload {
            [AUTH_MORE_DATA, FAST_AUTH_OK] => self.replica.wait_on(),
            [AUTH_MORE_DATA, FULL_AUTH] => self.replica_wants_password(payload, actions),
            _ => self.give_replica_up(PrimaryOnly::ReplicaPlugin, actions),
        }
    }

    /// The replica does not remember the account. A client on TLS tells its password; others are
    /// not asked: some give the login up then, and some tell it in plain text.
    fn replica_wants_password(&mut self, payload: &[u8], actions: &mut Vec<Action>) {
        let may_ask = self.client_tls == ClientTls::Running && !self.asked_for_more;
        if !may_ask || self.phase != Phase::ReplicaVerdict || self.plugin != Some(Plugin::Sha2) {
            return self.give_replica_up(PrimaryOnly::ReplicaFullAuthentication, actions);
        }
        self.asked_for_more = true;
        self.pass_on(payload);
        self.phase = Phase::ReplicaPassword;
    }

    /// Rung 2 at a replica: the client has told its password, which is good for more than this once
    /// the replica has said so.
    pub(super) fn captured_for_replica(&mut self, payload: &[u8], actions: &mut Vec<Action>) {
        let Some(scramble) = self.scramble.filter(|_| self.primary_only.is_none()) else {
            return self.complete(actions);
        };
        self.phase = Phase::ReplicaVerdict;
        let signing = Signing::new(told(payload), self.rules.servers_on_tls);
        self.replica_signing = Some(signing.begun(Plugin::Sha2, scramble));
        self.replica_asks(&[AUTH_MORE_DATA, FULL_AUTH], actions);
    }

    /// The replica has accepted, whom the client has signed for or ringway.
    fn replica_accepted(&mut self, actions: &mut Vec<Action>) {
        if self.rung == Rung::Relay
            && let Some(signing) = &self.replica_signing
        {
            self.rung = Rung::Capture;
            self.signer = Some(signing.signer().clone());
        }
        self.complete(actions);
    }

    /// The session will have no replica. The login goes on as far as the lead and the client are
    /// concerned, and is complete if nothing but the replica was waited for.
    pub(super) fn give_replica_up(&mut self, reason: PrimaryOnly, actions: &mut Vec<Action>) {
        if self.phase == Phase::Over {
            return;
        }
        self.primary_only = self.primary_only.or(Some(reason));
        self.replica.leave();
        if matches!(self.phase, Phase::ReplicaGreeting | Phase::ReplicaVerdict) {
            self.complete(actions);
        }
    }

    /// The primary is gone. Where the client has not seen its greeting, or need not sign again, the
    /// replica takes its place; the session can only read then.
    pub(super) fn primary_lost(&mut self, actions: &mut Vec<Action>) {
        let early = self.phase == Phase::Greeting;
        let configured = self.rung == Rung::Configured
            && self.phase == Phase::Verdict
            && self.primary_only.is_none();
        if self.lead != Peer::Primary || self.phase == Phase::Over {
            return;
        }
        if self.replica_possible && (early || configured) {
            self.lead = Peer::Replica;
            return self.open_replica(actions);
        }
        self.lead_lost(actions);
    }

    /// There will be no TLS with the lead: as if it were lost, but that it hears a goodbye.
    fn lead_has_no_tls(&mut self, why: NoTls, actions: &mut Vec<Action>) {
        actions.push(Action::NoTls(self.lead, why));
        self.lead_link().leave();
        match self.lead {
            Peer::Primary => self.primary_lost(actions),
            Peer::Replica | Peer::Client => self.lead_lost(actions),
        }
    }

    pub(super) fn lead_lost(&mut self, actions: &mut Vec<Action>) {
        let failure = match self.phase {
            Phase::Greeting => Failure::NoServer,
            _ => Failure::ServerLost,
        };
        self.fail(failure, actions);
    }

    /// The client gets the lead's OK.
    pub(super) fn complete(&mut self, actions: &mut Vec<Action>) {
        let Some(response) = self.response.take() else {
            return;
        };
        let sha2 = self.plugin == Some(Plugin::Sha2) && !self.password_is_empty();
        if sha2 && !self.asked_for_more {
            self.pass_on(&[AUTH_MORE_DATA, FAST_AUTH_OK]);
        }
        let lead_offers = self.lead_capabilities();
        let primary_capabilities = self.for_lead(&response).capabilities.and(lead_offers);
        let ok = std::mem::take(&mut self.ok);
        let status = OkPacket::parse(&ok, primary_capabilities).map(|ok| ok.status);
        self.pass_ok_on(&ok, response.capabilities, primary_capabilities);
        self.phase = Phase::Over;
        let established =
            self.establish(*response, primary_capabilities, status.unwrap_or_default());
        self.flush(actions);
        actions.push(Action::Complete(Box::new(established)));
    }

    /// The OK as the server wrote it, but for what the client did not want to know.
    fn pass_ok_on(&mut self, payload: &[u8], client: Capabilities, primary: Capabilities) {
        let told_more = !client.contains(Capabilities::SESSION_TRACK)
            && primary.contains(Capabilities::SESSION_TRACK);
        match OkPacket::parse(payload, primary) {
            Ok(ok) if told_more => ok.write(&mut self.out, self.next_sequence, OK, client),
            _ => self.pass_on(payload),
        }
    }

    fn establish(
        &mut self,
        response: Response,
        primary_capabilities: Capabilities,
        status: Status,
    ) -> Established {
        let lead = self.link(self.lead).greeting();
        let (version, thread_id) = lead
            .map(|greeting| (greeting.version.clone(), greeting.thread_id))
            .unwrap_or_default();
        let reads_only = self.lead == Peer::Replica;
        let rung = match (self.rung, self.primary_only) {
            (Rung::Relay, Some(_)) => Rung::PrimaryOnly,
            (rung, _) => rung,
        };
        let at = |link: &Link| link.greeting().filter(|_| link.is_accepted()).cloned();
        Established {
            rung,
            primary_only: self.primary_only,
            reads_only,
            capabilities: response.capabilities.and(self.lead_capabilities()),
            primary_capabilities,
            status,
            response,
            version,
            thread_id,
            primary: at(&self.primary),
            replica: at(&self.replica),
            signer: self.signer.clone(),
            last_scramble: self.scramble,
        }
    }
}

/// Signs with a password as clients tell it: with a NUL behind it.
fn told(payload: &[u8]) -> Signer {
    let password = payload.strip_suffix(&[0]).unwrap_or(payload);
    Signer::Password(Arc::new(Password::new(password)))
}
