//! The passwords of one configuration generation, from files and from the environment. They are
//! read at start, by `ringway check`, and at each SIGHUP; nothing here is ever printed.

use std::fs::File;
use std::io::Read;
use std::os::unix::ffi::OsStringExt;
use std::path::Path;
use std::sync::Arc;

use zeroize::Zeroizing;

use super::files;
use crate::config::{
    Config, Errors, MysqlPool, Pool, PoolSecrets, ReadAfterWrite, SecretSource, UserSecret,
};
use crate::limits::SECRET_BYTES_MAX;
use crate::mysql::auth::{Credential, NativeHash, Password};
use crate::mysql::login::Rules;
use crate::mysql::password_key::PasswordKey;

/// The passwords that a configuration names, in the order of its pools.
#[derive(Debug, Default)]
pub struct Secrets(Vec<PoolSecrets<Arc<Password>>>);

impl Secrets {
    /// Reads them. Blocks, though not for long.
    ///
    /// # Errors
    /// All that cannot be read, each with its place in the file.
    pub fn read(config: &Config) -> Result<Self, Errors> {
        config.secrets(read).map(Self)
    }

    /// The password of a pool's monitor; `None`: it has none, or an empty one.
    pub fn monitor(&self, pool: usize) -> Option<&Arc<Password>> {
        self.0.get(pool)?.monitor.as_ref()
    }

    /// How clients log in to each pool of the configuration that these were read for; `None` where
    /// they do not.
    ///
    /// # Panics
    /// When they were read for another configuration.
    pub(super) fn rules(
        &self,
        config: &Config,
        password_key: Option<&Arc<PasswordKey>>,
    ) -> Vec<Option<Rules>> {
        let pools = config.pools.iter().enumerate();
        let rules = |(i, pool): (usize, &Pool)| {
            let key = password_key.filter(|_| pool.tls.is_some());
            Some(Rules {
                servers_on_tls: pool.tls.is_some(),
                password_key: key.cloned(),
                ..rules(pool.mysql.as_ref()?, &self.0[i])
            })
        };
        pools.map(rules).collect()
    }
}

/// As far as TLS has nothing to do with them.
fn rules(mysql: &MysqlPool, secrets: &PoolSecrets<Arc<Password>>) -> Rules {
    let accounts = mysql.users.iter().zip(&secrets.users);
    let account = |(user, password): (&crate::config::MysqlUser, &Option<Arc<Password>>)| {
        let credential = match (&user.secret, password) {
            (UserSecret::NativeHash(hash), _) => Credential::NativeHash(NativeHash::new(*hash)),
            (UserSecret::Password(_), password) => {
                let password = password.as_ref().expect("every password has been read");
                Credential::Password(Arc::clone(password))
            }
        };
        (user.name.clone().into_bytes(), credential)
    };
    let primary_only = mysql.primary_only_users.iter();
    Rules {
        accounts: accounts.map(account).collect(),
        primary_only_users: primary_only.map(|name| name.clone().into_bytes()).collect(),
        local_infile: mysql.local_infile,
        track_gtids: mysql.read_after_write == ReadAfterWrite::Gtid,
        ..Rules::default()
    }
}

/// Reads one. The error goes on where the name of the file or variable ends.
fn read(source: &SecretSource) -> Result<Arc<Password>, String> {
    let mut secret = match source {
        SecretSource::File(path) => read_file(path)?,
        SecretSource::Env(name) => {
            let value = std::env::var_os(name).ok_or("is not set")?;
            Zeroizing::new(value.into_vec())
        }
    };
    if secret.len() > SECRET_BYTES_MAX {
        return Err(format!("has more than {SECRET_BYTES_MAX} bytes"));
    }
    if secret.is_empty() {
        return Err("is empty".to_owned());
    }
    if secret.iter().any(|&byte| matches!(byte, b'\n' | b'\0')) {
        return Err("has more in it than a password: a line break or a NUL".to_owned());
    }
    Ok(Arc::new(Password::new(std::mem::take(&mut *secret))))
}

/// Without its last line break.
fn read_file(path: &Path) -> Result<Zeroizing<Vec<u8>>, String> {
    let file = files::open_secret(path)?;
    // Room for all that may come: a buffer that grows leaves copies behind.
    let mut secret = Zeroizing::new(Vec::with_capacity(SECRET_BYTES_MAX + 3));
    let most = SECRET_BYTES_MAX as u64 + 2;
    File::take(file, most)
        .read_to_end(&mut secret)
        .map_err(files::cannot_be_read)?;
    if secret.last() == Some(&b'\n') {
        secret.pop();
        if secret.last() == Some(&b'\r') {
            secret.pop();
        }
    }
    Ok(secret)
}

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};
    use std::os::unix::fs::PermissionsExt;
    use std::path::PathBuf;

    use tempfile::TempDir;

    use super::*;
    use crate::mysql::auth::{Plugin, Scramble, Signer};

    const HASH: &str = "*14e65567abdb5135d0cfd9a70b3032c179a49ee7";

    struct Files(TempDir);

    impl Files {
        fn new() -> Self {
            Self(tempfile::tempdir().unwrap())
        }

        fn write(&self, name: &str, content: &[u8], mode: u32) -> PathBuf {
            let path = self.0.path().join(name);
            fs::write(&path, content).unwrap();
            fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
            path
        }
    }

    fn config(mysql: &str) -> Config {
        let text = format!(
            "[[listener]]\nname = \"l\"\nlisten = \"127.0.0.1:1\"\npool = \"p\"\n\
             protocol = \"mysql\"\n[[pool]]\nname = \"p\"\n[[pool.server]]\nname = \"s\"\n\
             address = \"127.0.0.1:2\"\nrole = \"primary\"\n{mysql}"
        );
        Config::parse(&text).unwrap()
    }

    /// What a password signs: equal for equal passwords.
    fn signature(password: Arc<Password>) -> Vec<u8> {
        let token = Signer::Password(password).token(Plugin::Sha2, &Scramble([7; 20]));
        token.unwrap().to_vec()
    }

    fn is(password: &Arc<Password>, text: &str) -> bool {
        signature(Arc::clone(password)) == signature(Arc::new(Password::new(text)))
    }

    #[test]
    fn a_file_holds_a_password_and_perhaps_a_line_break() {
        let files = Files::new();
        let most = "x".repeat(SECRET_BYTES_MAX);
        for (content, expected) in [
            ("secret", "secret"),
            ("secret\n", "secret"),
            ("secret\r\n", "secret"),
            (" secret ", " secret "),
            (&format!("{most}\r\n"), &most),
        ] {
            let path = files.write("password", content.as_bytes(), 0o640);
            let password = read(&SecretSource::File(path)).unwrap();
            assert!(is(&password, expected), "{content:?}");
        }
    }

    #[test]
    fn what_is_no_password_file_is_refused_and_never_shown() {
        let files = Files::new();
        let long = "hunter2".repeat(1024);
        for (content, mode, expected) in [
            ("", 0o600, "is empty"),
            ("\n", 0o600, "is empty"),
            (&*long, 0o600, "has more than 1024 bytes"),
            (
                "hunter2\nhunter3\n",
                0o600,
                "has more in it than a password",
            ),
            ("hunter2\0", 0o600, "has more in it than a password"),
            ("hunter2", 0o644, "is open to everybody (mode 644)"),
            ("hunter2", 0o602, "is open to everybody (mode 602)"),
        ] {
            let path = files.write("password", content.as_bytes(), mode);
            let error = read(&SecretSource::File(path)).unwrap_err();
            assert!(error.starts_with(expected), "{error}");
            assert!(!error.contains("hunter"), "{error}");
        }
        for (path, expected) in [
            (files.0.path().join("none"), "cannot be read: No such file"),
            (files.0.path().to_owned(), "is not a regular file"),
        ] {
            let error = read(&SecretSource::File(path)).unwrap_err();
            assert!(error.starts_with(expected), "{error}");
        }
    }

    #[test]
    fn a_pipe_in_the_place_of_a_file_is_not_waited_for() {
        let files = Files::new();
        let path = files.0.path().join("pipe");
        nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).unwrap();
        let error = read(&SecretSource::File(path)).unwrap_err();
        assert_eq!(error, "is not a regular file");
    }

    #[test]
    fn an_environment_variable_that_is_not_set_is_an_error() {
        let home = SecretSource::Env("CARGO_MANIFEST_DIR".to_owned());
        assert!(is(&read(&home).unwrap(), env!("CARGO_MANIFEST_DIR")));
        let nothing = SecretSource::Env("RINGWAY_TEST_OF_NOTHING".to_owned());
        assert_eq!(read(&nothing).unwrap_err(), "is not set");
    }

    #[test]
    fn accounts_become_rules_of_the_login() {
        let files = Files::new();
        let path = files.write("password", b"secret\n", 0o600);
        let config = config(&format!(
            "[pool.mysql]\nlocal_infile = true\nread_after_write = \"gtid\"\n\
             primary_only_users = [\"backup\"]\n\
             user = [{{ name = \"app\", password_file = {path:?} }}, \
             {{ name = \"old\", native_hash = \"{HASH}\" }}]\n\
             monitor = {{ user = \"m\", password_file = {path:?} }}\n"
        ));
        let secrets = Secrets::read(&config).unwrap();
        assert!(is(secrets.monitor(0).unwrap(), "secret"));
        let rules = secrets.rules(&config, None).remove(0).unwrap();
        assert!(rules.local_infile && rules.track_gtids);
        assert!(rules.primary_only_users.contains(&b"backup"[..]));
        let signed = Signer::Password(Arc::new(Password::new("secret")));
        let scramble = Scramble([7; 20]);
        let token = signed.token(Plugin::Native, &scramble).unwrap();
        for name in ["app", "old"] {
            let account = &rules.accounts[name.as_bytes()];
            assert!(
                account.verify(Plugin::Native, &scramble, &token).is_some(),
                "{name}"
            );
        }
    }

    #[test]
    fn all_that_cannot_be_read_is_told_at_once_where_the_file_names_it() {
        let config = config(
            "[pool.mysql.monitor]\nuser = \"m\"\npassword_env = \"RINGWAY_TEST_OF_NOTHING\"\n\
             [[pool.mysql.user]]\nname = \"a\"\npassword_file = \"/nonexistent/a\"\n",
        );
        let errors = Secrets::read(&config).unwrap_err();
        let errors: Vec<_> = errors.iter().map(ToString::to_string).collect();
        let expected = [
            "14:16: error: monitor m: environment variable RINGWAY_TEST_OF_NOTHING is not set",
            "17:17: error: user a: password file /nonexistent/a cannot be read: No such file or \
             directory (os error 2)",
        ];
        assert_eq!(errors, expected);
    }
}
