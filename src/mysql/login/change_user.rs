//! `COM_CHANGE_USER`: another login on the connections of a session.
//!
//! Servers answer it with an `AuthSwitchRequest`. `mysql_native_password` keeps a connection's
//! scramble for life, and clients sign the command with the scramble that they have seen last,
//! which is one of the two servers'. So that server is answered with the command's own signature,
//! and the client is asked to sign for the other one. `caching_sha2_password` makes two fresh
//! scrambles: the primary gets the client's answer, and the session goes on without its replica.

use std::sync::Arc;

use zeroize::Zeroizing;

use super::{Action, ClientTls, Established, Failure, Login, Phase, PrimaryOnly, Rules, Rung};
use crate::mysql::auth::{Plugin, Scramble};
use crate::mysql::capabilities::Capabilities;
use crate::mysql::command::Command;
use crate::mysql::cursor::{Cursor, Flaw, Malformed};
use crate::mysql::handshake::Response;
use crate::mysql::inbox::TooLong;
use crate::mysql::link::{Link, known_switch};
use crate::mysql::packet::{HEADER_BYTES, PacketWriter};
use crate::mysql::server_login::Signing;

/// What is different from the login of a new connection.
pub(super) struct Change {
    /// The plugin and signature of the command.
    plugin: Option<Plugin>,
    token: Zeroizing<Vec<u8>>,
    /// The scramble it signs.
    scramble: Option<Scramble>,
    /// The replica's `AuthSwitchRequest`, while the primary comes first.
    replica_switch: Option<Vec<u8>>,
}

impl Login {
    /// Starts the login that `command`, a `COM_CHANGE_USER`, asks for, on the connections of a
    /// session. It is driven to its end like that of a new connection. A failure ends the
    /// session: servers close a connection that has failed to change its user.
    pub fn change_user(
        rules: Arc<Rules>,
        client_address: &str,
        client_tls: ClientTls,
        session: &Established,
        command: Result<Zeroizing<Vec<u8>>, TooLong>,
        actions: &mut Vec<Action>,
    ) -> Self {
        let login = Self::new(rules, client_address, session.replica.is_some());
        let mut login = login.with_client_tls(client_tls);
        login.primary.lose();
        if let Some(greeting) = session.primary.clone() {
            login.primary = Link::established(greeting);
        }
        if let Some(greeting) = session.replica.clone() {
            login.replica = Link::established(greeting);
        }
        login.phase = Phase::Verdict;
        login.offered = session.capabilities;
        login.scramble = session.last_scramble;
        login.primary_only = session.primary_only;
        let payload = match command {
            Ok(payload) => payload,
            Err(too_long) => {
                login.next_sequence = too_long.sequence.wrapping_add(1);
                login.fail(Failure::PacketTooLong, actions);
                return login;
            }
        };
        login.next_sequence = 1;
        let request = request(&payload, session).and_then(|request| {
            request.check()?;
            Ok(request)
        });
        match request {
            Ok(response) if session.primary.is_some() => login.change(response, &payload, actions),
            Ok(_) => login.fail(Failure::ServerLost, actions),
            Err(error) => login.fail(Failure::ClientProtocol(error), actions),
        }
        login.flush(actions);
        login
    }

    fn change(&mut self, mut response: Response, payload: &[u8], actions: &mut Vec<Action>) {
        self.plugin = response.known_plugin();
        self.token = Zeroizing::new(std::mem::take(&mut response.token));
        let past_splitting = self.rules.primary_only_users.contains(&response.user);
        let credential = self.rules.accounts.get(&response.user).cloned();
        self.change = Some(Box::new(Change {
            plugin: self.plugin,
            token: self.token.clone(),
            scramble: self.scramble,
            replica_switch: None,
        }));
        if credential.is_none() && !self.may_pass_token_on(&response) {
            return self.fail(Failure::PasswordInPlain, actions);
        }
        self.response = Some(Box::new(response));
        if past_splitting {
            self.primary_only = Some(PrimaryOnly::User);
        } else if credential.is_none() && !self.replica_possible {
            self.primary_only = self.primary_only.or(Some(PrimaryOnly::NoReplica));
        }
        if self.primary_only.is_some() {
            self.replica.leave();
        }
        match credential {
            Some(credential) => self.verify(&credential, actions),
            None => self.change_at_both(payload),
        }
    }

    fn change_at_both(&mut self, payload: &[u8]) {
        self.primary.command(payload);
        if self.replica.is_accepted() {
            self.replica.command(payload);
        }
    }

    /// Logs a configured account in at both servers. Neither is sent a signature: both ask.
    pub(super) fn change_signed(&mut self) {
        let (Some(signer), Some(response)) = (self.signer.clone(), &self.response) else {
            return;
        };
        let payload = write_request(response);
        self.signing = Some(Signing::new(signer.clone(), self.rules.servers_on_tls));
        self.replica_signing = Some(Signing::new(signer, self.rules.servers_on_tls));
        self.rung = Rung::Configured;
        self.change_at_both(&payload);
    }

    /// The replica wants a signature.
    pub(super) fn change_switches(&mut self, payload: &[u8], actions: &mut Vec<Action>) {
        if let Some(signing) = &mut self.replica_signing {
            if signing.switch(&mut self.replica, payload).is_err() {
                self.give_replica_up(PrimaryOnly::ReplicaPlugin, actions);
            }
            return;
        }
        let Some(change) = &mut self.change else {
            return;
        };
        let Some((plugin, scramble)) = known_switch(payload) else {
            return self.give_replica_up(PrimaryOnly::ReplicaPlugin, actions);
        };
        let signed = change.plugin == Some(plugin) && change.scramble == Some(scramble);
        let empty = plugin.is_empty_password(&change.token);
        if (signed && !empty) || (empty && change.plugin == Some(plugin)) {
            return self.replica.answer(&change.token);
        }
        change.replica_switch = Some(payload.to_vec());
        if self.phase == Phase::ReplicaGreeting {
            self.change_at_replica(actions);
        }
    }

    /// The primary has accepted: what about the replica? One that has not asked for anything yet,
    /// or that has its answer, is waited for.
    pub(super) fn change_at_replica(&mut self, actions: &mut Vec<Action>) {
        if self.replica.is_accepted() || self.replica.is_unwanted() {
            return self.complete(actions);
        }
        let switch = self.change.as_mut().and_then(|c| c.replica_switch.take());
        let Some(switch) = switch else {
            return;
        };
        if self.client_has_signed_enough() {
            return self.end_without_replica(PrimaryOnly::SwitchUsed, actions);
        }
        self.scramble = known_switch(&switch).map(|(_, scramble)| scramble);
        self.plugin = known_switch(&switch).map(|(plugin, _)| plugin);
        self.pass_on(&switch);
        self.phase = Phase::SecondSignature;
    }

    /// The replica has accepted, before the primary or after it.
    pub(super) fn change_accepted(&mut self, actions: &mut Vec<Action>) {
        if self.phase == Phase::ReplicaGreeting {
            self.complete(actions);
        }
    }
}

/// What a `COM_CHANGE_USER` says, as a handshake response of the session would say it.
fn request(payload: &[u8], session: &Established) -> Result<Response, Malformed> {
    let mut cursor = Cursor::new(payload);
    if cursor.u8("COM_CHANGE_USER.command")? != Command::ChangeUser.byte() {
        let field = "COM_CHANGE_USER.command";
        return Err(Malformed::new(field, Flaw::Unexpected));
    }
    let user = cursor.nul_bytes("COM_CHANGE_USER.user")?.to_vec();
    let len = cursor.u8("COM_CHANGE_USER.auth_response_length")?;
    let token = cursor.bytes(u64::from(len), "COM_CHANGE_USER.auth_response")?;
    let database = cursor.nul_bytes_or_rest().to_vec();
    let charset = cursor.u16("COM_CHANGE_USER.character_set").ok();
    let named = session.capabilities.contains(Capabilities::PLUGIN_AUTH) && !cursor.is_empty();
    let plugin = named.then(|| cursor.nul_bytes_or_rest().to_vec());
    let attributed = session.capabilities.contains(Capabilities::CONNECT_ATTRS);
    let attributes = match attributed && !cursor.is_empty() {
        true => Some(cursor.lenenc_bytes("COM_CHANGE_USER.attributes")?.to_vec()),
        false => session.response.attributes.clone(),
    };
    let mut capabilities = session.response.capabilities;
    capabilities = match database.is_empty() {
        true => capabilities.without(Capabilities::CONNECT_WITH_DB),
        false => capabilities | Capabilities::CONNECT_WITH_DB,
    };
    let [charset, _] = charset
        .unwrap_or(u16::from(session.response.charset))
        .to_le_bytes();
    Ok(Response {
        capabilities,
        packet_bytes_max: session.response.packet_bytes_max,
        charset,
        user,
        token: token.to_vec(),
        database: (!database.is_empty()).then_some(database),
        plugin,
        attributes,
        zstd_level: None,
    })
}

/// A `COM_CHANGE_USER` without a signature, as ringway sends it for a configured account.
fn write_request(response: &Response) -> Vec<u8> {
    let mut out = Vec::new();
    let mut packet = PacketWriter::new(&mut out, 0);
    packet.u8(Command::ChangeUser.byte());
    packet.nul_bytes(&response.user);
    packet.u8(0);
    packet.nul_bytes(response.database.as_deref().unwrap_or_default());
    packet.u16(u16::from(response.charset));
    if response.capabilities.contains(Capabilities::PLUGIN_AUTH) {
        packet.nul_bytes(Plugin::Native.name());
    }
    if let Some(attributes) = &response.attributes
        && response.capabilities.contains(Capabilities::CONNECT_ATTRS)
    {
        packet.lenenc_bytes(attributes);
    }
    packet.finish();
    out.split_off(HEADER_BYTES)
}
