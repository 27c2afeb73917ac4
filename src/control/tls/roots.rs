//! The certificates that the system trusts: a bundle whose place depends on the distribution.

use std::fs::File;
use std::io::{Read, Take};
use std::path::Path;

use zeroize::Zeroizing;

use crate::control::files;
use crate::limits::TLS_FILE_BYTES_MAX;
use crate::tls::certificates;
use crate::tls::config::Trust;

/// Where distributions keep it, the most common ones first.
pub(super) const BUNDLES: [&str; 5] = [
    // Debian, Ubuntu, Arch, Gentoo, Alpine.
    "/etc/ssl/certs/ca-certificates.crt",
    // Fedora, RHEL and what comes of it.
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/pki/tls/certs/ca-bundle.crt",
    // openSUSE.
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

/// Reads the first bundle that is there.
///
/// # Errors
/// What is wrong with it, or that there is none.
pub(super) fn read(bundles: &[&str]) -> Result<Trust, String> {
    let Some(path) = bundles.iter().find(|path| Path::new(path).exists()) else {
        return Err(format!(
            "the system has no bundle of trusted certificates (looked for {})",
            bundles.join(", ")
        ));
    };
    let bytes = files::open(Path::new(path)).and_then(read_all);
    let bytes = bytes.map_err(|why| format!("the system's trusted certificates: {path} {why}"))?;
    let file = certificates::File {
        path,
        bytes: &bytes,
    };
    Trust::read_bundle(file).map_err(|error| format!("the system's trusted certificates: {error}"))
}

/// All of a file that is not larger than anybody needs. It may hold a key, so what it was read into
/// is overwritten in the end.
pub(super) fn read_all(file: File) -> Result<Zeroizing<Vec<u8>>, String> {
    // Room for all that may come: a buffer that grows leaves copies behind.
    let length = file.metadata().map_err(files::cannot_be_read)?.len();
    let length = usize::try_from(length.min(TLS_FILE_BYTES_MAX)).unwrap_or_default();
    let mut bytes = Zeroizing::new(Vec::with_capacity(length + 1));
    let mut file: Take<File> = file.take(TLS_FILE_BYTES_MAX + 1);
    file.read_to_end(&mut bytes)
        .map_err(files::cannot_be_read)?;
    if bytes.len() as u64 > TLS_FILE_BYTES_MAX {
        let mib = TLS_FILE_BYTES_MAX >> 20;
        return Err(format!("has more than {mib} MiB"));
    }
    Ok(bytes)
}
