//! Reads one file of manifests.

use std::fs::{self, File};
use std::io::{self, Read};
use std::panic::catch_unwind;
use std::path::Path;

use xcc_model::{Reason, RemoteName};

use super::contents::{Refused, contents};
use super::holdings::FileChange;
use super::scan::Fingerprint;
use crate::manifests::FILE_SIZE_MAX;

/// A file that was read, or could not be.
#[derive(Debug)]
pub(super) struct Loaded {
    /// What it is; none: there is no file.
    pub(super) change: Option<FileChange>,
    /// Its state before it was read; none if that is not known.
    pub(super) fingerprint: Option<Fingerprint>,
    /// Nobody changed it while it was read.
    pub(super) stable: bool,
}

/// Reads the file. `name` is what messages call it.
pub(super) fn load(remote: &RemoteName, path: &Path, name: &Path) -> Loaded {
    let before = Fingerprint::of(path).ok();
    let change = match read(path) {
        Ok(Outcome::Bytes(bytes)) => Some(understood(remote, name, &bytes)),
        Ok(Outcome::TooLarge) => Some(too_large(name)),
        Ok(Outcome::NoFile) => None,
        Err(error) if error.kind() == io::ErrorKind::NotFound => before
            .map(|_| refused(Reason::Unreadable, format!("{}: the link leads to nothing", name.display()))),
        Err(error) => {
            Some(refused(Reason::Unreadable, format!("{}: the file cannot be read: {error}", name.display())))
        }
    };
    Loaded { change, fingerprint: before, stable: Fingerprint::of(path).ok() == before }
}

enum Outcome {
    Bytes(Vec<u8>),
    TooLarge,
    /// A directory, a device or a pipe.
    NoFile,
}

fn read(path: &Path) -> io::Result<Outcome> {
    // Opening a pipe would wait for its writer.
    let metadata = fs::metadata(path)?;
    if !metadata.is_file() {
        return Ok(Outcome::NoFile);
    }
    if metadata.len() > FILE_SIZE_MAX as u64 {
        return Ok(Outcome::TooLarge);
    }
    let mut bytes = Vec::new();
    // One byte more than fits: the file may grow meanwhile.
    File::open(path)?.take(FILE_SIZE_MAX as u64 + 1).read_to_end(&mut bytes)?;
    Ok(if bytes.len() > FILE_SIZE_MAX { Outcome::TooLarge } else { Outcome::Bytes(bytes) })
}

/// Reads what was named by itself, a pipe or standard input too, to its end.
pub(super) fn load_named(remote: &RemoteName, path: &Path) -> Result<FileChange, io::Error> {
    let mut bytes = Vec::new();
    File::open(path)?.take(FILE_SIZE_MAX as u64 + 1).read_to_end(&mut bytes)?;
    Ok(if bytes.len() > FILE_SIZE_MAX { too_large(path) } else { understood(remote, path, &bytes) })
}

fn understood(remote: &RemoteName, name: &Path, bytes: &[u8]) -> FileChange {
    // A file that breaks the parser must not take all others with it.
    match catch_unwind(|| contents(remote, name, bytes)) {
        Ok(Ok(contents)) => FileChange::Contents(contents),
        Ok(Err(refused)) => FileChange::Refused(refused),
        Err(_panic) => {
            let what = format!("{}: the parser breaks on this file, which is a fault of xcc", name.display());
            refused(Reason::Unreadable, what)
        }
    }
}

fn too_large(name: &Path) -> FileChange {
    let what = format!("{}: the file has more than {FILE_SIZE_MAX} bytes: split it", name.display());
    refused(Reason::LimitExceeded, what)
}

fn refused(reason: Reason, what: String) -> FileChange {
    let message = format!("{what}; what it held before stays in force");
    FileChange::Refused(Refused { reason, message, may_have_settings: false })
}
