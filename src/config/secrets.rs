//! The passwords that a configuration names: each is read by the caller, and each that cannot be
//! is an error of the file.

use super::diagnostic::{Diagnostic, Errors, Severity};
use super::model::{Config, Pool, Position};
use super::mysql::{SecretSource, UserSecret};

/// The passwords of a pool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PoolSecrets<S> {
    /// In the order of [`super::MysqlPool::users`]; `None`: the file has the hash.
    pub users: Vec<Option<S>>,
    /// The monitor's, if it has one.
    pub monitor: Option<S>,
}

impl Config {
    /// Has every password read, in the order of the file. What comes back is in the order of
    /// [`Config::pools`], and empty where a pool is not behind a mysql listener.
    ///
    /// # Errors
    /// All that cannot be read at once, each where the file names it.
    pub fn secrets<S>(
        &self,
        read: impl FnMut(&SecretSource) -> Result<S, String>,
    ) -> Result<Vec<PoolSecrets<S>>, Errors> {
        let mut reader = Reader {
            read,
            errors: Vec::new(),
        };
        let secrets = self.pools.iter().map(|pool| reader.pool(pool)).collect();
        Errors::if_any(reader.errors).map(|()| secrets)
    }
}

struct Reader<R> {
    read: R,
    errors: Vec<Diagnostic>,
}

impl<R> Reader<R> {
    fn pool<S>(&mut self, pool: &Pool) -> PoolSecrets<S>
    where
        R: FnMut(&SecretSource) -> Result<S, String>,
    {
        let mysql = pool.mysql.as_ref();
        let users = mysql.map_or(&[][..], |mysql| &mysql.users);
        let mut user = |user: &super::MysqlUser| match &user.secret {
            UserSecret::NativeHash(_) => None,
            UserSecret::Password(source) => {
                self.password(&format!("user {}", user.name), source, user.position)
            }
        };
        let users = users.iter().map(&mut user).collect();
        let monitor = mysql.and_then(|mysql| mysql.monitor.as_ref());
        let monitor = monitor.and_then(|monitor| {
            let source = monitor.password.as_ref()?;
            self.password(
                &format!("monitor {}", monitor.user),
                source,
                monitor.position,
            )
        });
        PoolSecrets { users, monitor }
    }

    fn password<S>(&mut self, whose: &str, source: &SecretSource, position: Position) -> Option<S>
    where
        R: FnMut(&SecretSource) -> Result<S, String>,
    {
        let why = match (self.read)(source) {
            Ok(password) => return Some(password),
            Err(why) => why,
        };
        let what = match source {
            SecretSource::File(path) => format!("password file {}", path.display()),
            SecretSource::Env(name) => format!("environment variable {name}"),
        };
        let message = format!("{whose}: {what} {why}");
        let error = Diagnostic::at(position, Severity::Error, message);
        self.errors.push(error);
        None
    }
}
