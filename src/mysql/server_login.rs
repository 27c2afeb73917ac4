//! Logs in at one server for somebody whose password, or the key made from it, is known: an account
//! of the configuration, when a session needs another server; or a monitor's.

use thiserror::Error;

use super::auth::{KeyError, Plugin, Scramble, Signer};
use super::capabilities::Capabilities;
use super::cursor::Malformed;
use super::handshake::{Greeting, NoTls, Response};
use super::link::{FAST_AUTH_OK, FULL_AUTH, Link, Said, WANT_PUBLIC_KEY, known_switch};
use super::packet::{AUTH_MORE_DATA, ErrPacket, OkPacket, Status};

/// Signs at one server, whatever it asks for.
#[derive(Debug)]
pub(super) struct Signing {
    signer: Signer,
    /// Whether the server is spoken to over TLS, so that it may be told the password.
    on_tls: bool,
    /// What was signed last, and for which plugin.
    signed: Option<(Plugin, Scramble)>,
}

impl Signing {
    pub(super) fn new(signer: Signer, on_tls: bool) -> Self {
        Self {
            signer,
            on_tls,
            signed: None,
        }
    }

    /// Who it signs for.
    pub(super) fn signer(&self) -> &Signer {
        &self.signer
    }

    /// Goes on where somebody else has signed this.
    pub(super) fn begun(mut self, plugin: Plugin, scramble: Scramble) -> Self {
        self.signed = Some((plugin, scramble));
        self
    }

    /// Answers a server's greeting.
    pub(super) fn respond(
        &mut self,
        link: &mut Link,
        response: &Response,
        offered: Capabilities,
    ) -> Result<(), KeyError> {
        let Some(greeting) = link.greeting() else {
            return Err(KeyError::PasswordUnknown);
        };
        let scramble = greeting.scramble;
        let default = Plugin::from_name(&greeting.plugin).unwrap_or(Plugin::Native);
        let (plugin, token) = match self.signer.token(default, &scramble) {
            Some(token) => (default, token),
            None => {
                let token = self.signer.token(Plugin::Native, &scramble);
                (Plugin::Native, token.ok_or(KeyError::PasswordUnknown)?)
            }
        };
        self.signed = Some((plugin, scramble));
        link.respond(response, offered, Some(plugin.name()), &token);
        Ok(())
    }

    /// Answers an `AuthSwitchRequest`.
    pub(super) fn switch(&mut self, link: &mut Link, payload: &[u8]) -> Result<(), KeyError> {
        let (plugin, scramble) = known_switch(payload).ok_or(KeyError::PasswordUnknown)?;
        let token = self.signer.token(plugin, &scramble);
        self.signed = Some((plugin, scramble));
        link.answer(&token.ok_or(KeyError::PasswordUnknown)?);
        Ok(())
    }

    /// Answers `AuthMoreData`.
    pub(super) fn more(&mut self, link: &mut Link, payload: &[u8]) -> Result<(), KeyError> {
        let Some((Plugin::Sha2, scramble)) = self.signed else {
            return Err(KeyError::PasswordUnknown);
        };
        match payload {
            [AUTH_MORE_DATA, FAST_AUTH_OK] => link.wait_on(),
            [AUTH_MORE_DATA, FULL_AUTH] if self.on_tls => {
                link.answer(&self.signer.password_in_full()?);
            }
            [AUTH_MORE_DATA, FULL_AUTH] => link.answer(&[WANT_PUBLIC_KEY]),
            [AUTH_MORE_DATA, pem @ ..] => {
                link.answer(&self.signer.encrypt_password(pem, &scramble)?);
            }
            _ => return Err(KeyError::NoPublicKey),
        }
        Ok(())
    }
}

/// A login at one server.
#[derive(Debug)]
pub struct ServerLogin {
    link: Link,
    signing: Signing,
    response: Response,
    /// Flags that the server must have, or its replies would mean something else.
    required: Capabilities,
    offered: Capabilities,
}

/// How a login at one server stands.
#[derive(Debug)]
pub enum ServerProgress {
    /// More has to come from the server.
    Waiting,
    /// It is complete.
    LoggedIn(LoggedIn),
    /// It has failed. What is to be sent is to be sent still; then the connection is closed once
    /// [`ServerLogin::is_over`].
    Failed(ServerLoginError),
}

/// What a server said on the way in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoggedIn {
    /// Its greeting.
    pub greeting: Greeting,
    /// Its status flags.
    pub status: Status,
}

/// Why a login at one server failed.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum ServerLoginError {
    /// The server refused: full, or the account is not what the configuration says.
    #[error("the server refuses the login: {code} {message}")]
    Refused {
        /// The number of its error.
        code: u16,
        /// What it says.
        message: String,
    },
    /// The server lacks what the session's other server has agreed to.
    #[error("the server does not have the capabilities of the session's other server")]
    Capabilities,
    /// What is known of the password does not suffice for what the server wants.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The server is to be spoken to over TLS.
    #[error(transparent)]
    NoTls(#[from] NoTls),
    /// The server does not speak the protocol.
    #[error("the server does not keep to the protocol: {0}")]
    Protocol(#[from] Malformed),
}

impl ServerLogin {
    /// A login with these particulars over a connection that is being opened. `response` is what
    /// the client sent at its own login; its flags are cut down to `offered`, and those among
    /// `required` must be had. If the server is spoken to `on_tls`, it may be told the password, where
    /// it wants it.
    pub fn new(
        response: Response,
        signer: Signer,
        offered: Capabilities,
        required: Capabilities,
        on_tls: bool,
    ) -> Self {
        let mut link = Link::new(on_tls);
        link.open();
        Self {
            link,
            signing: Signing::new(signer, on_tls),
            response,
            required,
            offered,
        }
    }

    /// Whether what is sent to the server is a goodbye in plain text, because it does not offer the
    /// TLS that it is to be spoken to by.
    pub fn lacks_tls(&self) -> bool {
        self.link.lacks_tls()
    }

    /// Takes what came from the server. `out` gets what is to be sent to it.
    pub fn feed(&mut self, input: &mut &[u8], out: &mut Vec<u8>) -> ServerProgress {
        let progress = match self.link.feed(input) {
            None => ServerProgress::Waiting,
            Some(said) => self.hear(said),
        };
        out.append(&mut self.link.take_out());
        progress
    }

    /// Gives the login up, and leaves the server as it likes it.
    pub fn leave(&mut self, out: &mut Vec<u8>) {
        self.link.leave();
        out.append(&mut self.link.take_out());
    }

    /// Whether a login has failed because the server takes nobody now, whoever it is.
    pub fn is_turned_away(&self, error: &ServerLoginError) -> bool {
        match error {
            ServerLoginError::Refused { code, .. } => self.link.is_turned_away(*code),
            _ => false,
        }
    }

    /// Whether a login that failed or was given up has nothing more to say, so that the connection
    /// can be closed.
    pub fn is_over(&mut self) -> bool {
        self.link.take_left() || self.link.is_closed()
    }

    fn hear(&mut self, said: Said) -> ServerProgress {
        let answered = match said {
            Said::Greeting => self.respond(),
            Said::Switch(payload) => {
                let answered = self.signing.switch(&mut self.link, &payload);
                answered.map_err(ServerLoginError::Key)
            }
            Said::More(payload) => {
                let answered = self.signing.more(&mut self.link, &payload);
                answered.map_err(ServerLoginError::Key)
            }
            Said::Accepted(ok) => return self.accepted(&ok),
            Said::NoTls(why) => Err(ServerLoginError::NoTls(why)),
            Said::Refused(payload) => Err(refusal(&payload)),
            Said::Nonsense(error) => Err(ServerLoginError::Protocol(error)),
        };
        match answered {
            Ok(()) => ServerProgress::Waiting,
            Err(error) => {
                self.link.leave();
                ServerProgress::Failed(error)
            }
        }
    }

    fn respond(&mut self) -> Result<(), ServerLoginError> {
        let Some(greeting) = self.link.greeting() else {
            return Ok(());
        };
        let offered = greeting.capabilities.and(self.offered);
        if !offered.contains(self.required) {
            return Err(ServerLoginError::Capabilities);
        }
        self.signing
            .respond(&mut self.link, &self.response, offered)?;
        Ok(())
    }

    fn accepted(&mut self, ok: &[u8]) -> ServerProgress {
        let parsed = OkPacket::parse(ok, self.response.capabilities);
        match (parsed, self.link.greeting()) {
            (Ok(ok), Some(greeting)) => ServerProgress::LoggedIn(LoggedIn {
                greeting: greeting.clone(),
                status: ok.status,
            }),
            (Err(error), _) => ServerProgress::Failed(ServerLoginError::Protocol(error)),
            (Ok(_), None) => ServerProgress::Waiting,
        }
    }
}

fn refusal(payload: &[u8]) -> ServerLoginError {
    match ErrPacket::parse(payload) {
        Ok(error) => ServerLoginError::Refused {
            code: error.code,
            message: String::from_utf8_lossy(error.message).into_owned(),
        },
        Err(error) => ServerLoginError::Protocol(error),
    }
}
