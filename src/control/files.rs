//! Files that a configuration names. Opening one does not wait, whatever stands in its place; and
//! one that holds a secret is refused when everybody can read or change it.

use std::fs::{File, Metadata, OpenOptions};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

/// What a process must not let others do to its secrets: read or write them.
const OTHERS: u32 = 0o007;

/// Opens a regular file. The error goes on where the name of the file ends.
pub(super) fn open(path: &Path) -> Result<File, String> {
    Ok(open_with_metadata(path)?.0)
}

/// Opens a regular file that is closed to others.
pub(super) fn open_secret(path: &Path) -> Result<File, String> {
    let (file, metadata) = open_with_metadata(path)?;
    let mode = metadata.mode() & 0o777;
    if mode & OTHERS != 0 {
        return Err(format!(
            "is open to everybody (mode {mode:o}): `chmod o= {}` closes it",
            path.display()
        ));
    }
    Ok(file)
}

/// What is said of a file that cannot be read.
pub(super) fn cannot_be_read(error: io::Error) -> String {
    format!("cannot be read: {error}")
}

fn open_with_metadata(path: &Path) -> Result<(File, Metadata), String> {
    // A pipe in its place must not make ringway wait for a writer.
    let mut options = OpenOptions::new();
    let file = options.read(true).custom_flags(libc::O_NONBLOCK).open(path);
    let file = file.map_err(cannot_be_read)?;
    let metadata = file.metadata().map_err(cannot_be_read)?;
    match metadata.is_file() {
        true => Ok((file, metadata)),
        false => Err("is not a regular file".to_owned()),
    }
}
