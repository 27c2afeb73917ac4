//! From a path or a text to a configuration.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use super::bounds::FILE_BYTES_MAX;
use super::diagnostic::{Complaint, Diagnostic, Errors};
use super::model::Config;
use super::reader::Report;
use super::{ServerAddress, file};

/// Why a file could not be loaded. Rendered, it names the file and every error in it.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The file cannot be read.
    #[error("cannot read {}: {error}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// The file can be read, and there are errors in it.
    #[error("{0}")]
    Invalid(Errors),
}

/// Reads a configuration file. The second value has its warnings, in the order of the file.
///
/// # Errors
/// When the file cannot be read, or anything is wrong in it.
pub fn load(path: &Path) -> Result<(Config, Vec<Diagnostic>), LoadError> {
    let bytes = read(path).map_err(|error| LoadError::Read {
        path: path.to_owned(),
        error,
    })?;
    let parsed = match str::from_utf8(&bytes) {
        Ok(text) => parse(text),
        Err(error) => Err(not_text(&bytes[..error.valid_up_to()])),
    };
    let (config, mut warnings) =
        parsed.map_err(|errors| LoadError::Invalid(errors.in_file(path)))?;
    Diagnostic::name_file(&mut warnings, path);
    Ok((config, warnings))
}

/// Reads a configuration from text. The second value has its warnings, in the order of the text.
///
/// # Errors
/// All that is wrong in it.
pub fn parse(text: &str) -> Result<(Config, Vec<Diagnostic>), Errors> {
    file::read(text)
}

impl Config {
    /// [`parse`] for who has no use for warnings.
    ///
    /// # Errors
    /// All that is wrong in the text.
    pub fn parse(text: &str) -> Result<Self, Errors> {
        parse(text).map(|(config, _)| config)
    }

    /// The host names that [`resolve`](Self::resolve) will ask for, each with its port. A caller
    /// whose resolver is asynchronous asks it beforehand, and answers from what it has learnt.
    pub fn hosts(&self) -> impl Iterator<Item = (&str, u16)> {
        let servers = self.pools.iter().flat_map(|pool| &pool.servers);
        servers.filter_map(|server| match &server.address {
            ServerAddress::Fixed(_) => None,
            ServerAddress::Host { host, port } => Some((host.as_str(), *port)),
        })
    }
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?
        .take(FILE_BYTES_MAX + 1)
        .read_to_end(&mut bytes)?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        return Err(io::Error::other("it has more than 16 MiB"));
    }
    Ok(bytes)
}

fn not_text(valid: &[u8]) -> Errors {
    let text = String::from_utf8_lossy(valid);
    let report = Report::new(&text);
    let complaint = Complaint::new("what follows is not UTF-8 text");
    report.error(&(text.len()..text.len()), complaint);
    Errors::new(report.finish().0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load_bytes(bytes: &[u8]) -> String {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), bytes).unwrap();
        let error = load(file.path()).unwrap_err().to_string();
        error.replace(file.path().to_str().unwrap(), "r.toml")
    }

    #[test]
    fn a_file_that_cannot_be_read_is_named() {
        let error = load(Path::new("/nonexistent/r.toml")).unwrap_err();
        let expected = "cannot read /nonexistent/r.toml: No such file or directory (os error 2)";
        assert_eq!(error.to_string(), expected);
        assert!(matches!(load(Path::new("/")), Err(LoadError::Read { .. })));
        let error = load(Path::new("/dev/zero")).unwrap_err();
        assert_eq!(
            error.to_string(),
            "cannot read /dev/zero: it has more than 16 MiB"
        );
    }

    #[test]
    fn errors_of_a_file_name_it() {
        assert!(load_bytes(b"").starts_with("r.toml:1:1: error: the file has no [[listener]]\n"));
        let error = load_bytes(b"[log]\nlevel = \"\xff\"");
        assert!(error.starts_with("r.toml:2:10: error: what follows is not UTF-8 text\n"));
    }
}
