//! What a configuration only names. Names become addresses by the system's resolver: /etc/hosts,
//! DNS, whatever the host is set up for. It blocks, for seconds where a name server is gone, so it
//! is asked for several names at a time, and never on the control thread once that serves.

use std::collections::{BTreeSet, HashMap};
use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;

use super::{LoadedTls, Secrets, TlsState};
use crate::config::{Config, Diagnostic, Errors};
use crate::limits::RESOLVER_THREADS;

type Answers = HashMap<(String, u16), io::Result<Vec<SocketAddr>>>;

/// A configuration with everything that it names.
#[derive(Debug)]
pub struct Complete {
    /// With addresses in place of host names.
    pub config: Config,
    /// Its passwords.
    pub secrets: Secrets,
    /// Its certificates and what belongs to them.
    pub tls: LoadedTls,
    /// What may not be meant about these.
    pub warnings: Vec<Diagnostic>,
}

/// Fetches what a configuration only names: puts addresses in place of host names, and reads
/// passwords and certificates. Blocks.
///
/// # Errors
/// All names that do not resolve, what is wrong with the addresses of those that do, all passwords
/// that cannot be read, and all that is wrong with certificates, keys and the like.
pub fn complete(config: Config, tls: &TlsState) -> Result<Complete, Errors> {
    let secrets = Secrets::read(&config);
    let tls = LoadedTls::read(&config, tls);
    match (secrets, tls, resolve(config)) {
        (Ok(secrets), Ok((tls, warnings)), Ok(config)) => Ok(Complete {
            config,
            secrets,
            tls,
            warnings,
        }),
        (secrets, tls, config) => {
            let errors = [secrets.err(), tls.err(), config.err()];
            let errors = errors.into_iter().flatten().reduce(Errors::and);
            Err(errors.expect("one of them has failed"))
        }
    }
}

fn resolve(config: Config) -> Result<Config, Errors> {
    let names = config.hosts().map(|(host, port)| (host.to_owned(), port));
    let mut answers = look_up(names.collect());
    config.resolve(|host, port| {
        let answer = answers.remove(&(host.to_owned(), port));
        answer.unwrap_or_else(|| Err(io::Error::other("it was not looked up")))
    })
}

fn look_up(names: BTreeSet<(String, u16)>) -> Answers {
    let threads = names.len().min(RESOLVER_THREADS);
    let (names, answers) = (Mutex::new(names), Mutex::new(Answers::new()));
    let work = || {
        while let Some((host, port)) = next(&names) {
            let answer = (host.as_str(), port).to_socket_addrs();
            lock(&answers).insert((host, port), answer.map(Iterator::collect));
        }
    };
    thread::scope(|scope| {
        // This thread is one of them: where no other can be made, it does all.
        for _ in 1..threads {
            let _ = thread::Builder::new().spawn_scoped(scope, work);
        }
        work();
    });
    answers.into_inner().unwrap_or_else(PoisonError::into_inner)
}

/// In a function, so that the lock is free while the name is looked up.
fn next(names: &Mutex<BTreeSet<(String, u16)>>) -> Option<(String, u16)> {
    lock(names).pop_first()
}

/// A panic elsewhere leaves what is inside whole: entries are added and taken in one step.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(addresses: &[&str]) -> Config {
        let mut text = "[[listener]]\nname = \"l\"\nlisten = \"127.0.0.1:1\"\npool = \"p\"\n\
                        [[pool]]\nname = \"p\"\n"
            .to_owned();
        for (i, address) in addresses.iter().enumerate() {
            text += &format!("[[pool.server]]\nname = \"s{i}\"\naddress = \"{address}\"\n");
        }
        Config::parse(&text).unwrap()
    }

    #[test]
    fn the_system_knows_localhost() {
        let resolved = resolve(config(&["localhost:80", "localhost:81"])).unwrap();
        let addresses = resolved.pools[0]
            .servers
            .iter()
            .map(|s| s.fixed_address().to_string());
        let addresses: Vec<_> = addresses.collect();
        assert!(
            addresses.contains(&"127.0.0.1:80".to_owned()),
            "{addresses:?}"
        );
        assert!(
            addresses.contains(&"127.0.0.1:81".to_owned()),
            "{addresses:?}"
        );
    }

    #[test]
    fn more_names_than_threads_are_all_looked_up() {
        let names = (0..3 * RESOLVER_THREADS).map(|i| format!("127.0.0.{}", i + 1));
        let answers = look_up(names.map(|name| (name, 80)).collect());
        assert_eq!(answers.len(), 3 * RESOLVER_THREADS);
        assert!(answers.values().all(Result::is_ok));
    }

    #[test]
    fn a_name_that_cannot_exist_is_an_error_that_names_it() {
        let errors = resolve(config(&["nowhere.invalid:80"])).unwrap_err();
        assert!(errors.to_string().contains("nowhere.invalid"));
    }
}
