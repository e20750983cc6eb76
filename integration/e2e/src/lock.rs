//! One run at a time on a machine, whichever checkout it is of: the names of namespaces are the same for all. The lock
//! file says whose run it is.

use std::fs::File;
use std::os::fd::AsFd as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use anyhow::{Context, Result, bail};
use rustix::fs::{FlockOperation, flock};

use crate::process;

/// Where the namespaces' names are as well: gone with the next boot, as they are.
const PATH: &str = "/run/xcc-e2e.lock";

/// The lock; it goes with the process at the latest, and its file when it is dropped.
#[derive(Debug)]
pub struct Lock {
    _file: File,
}

impl Lock {
    /// Takes the lock.
    ///
    /// # Errors
    /// When another run has it.
    pub fn take() -> Result<Self> {
        loop {
            let Some(file) = try_lock()? else { bail!("another run is up: `make e2e-down` ends it") };
            // It may have been removed by the run that had it, between its opening and its locking here.
            if is_in_place(&file) {
                std::fs::write(PATH, std::process::id().to_string()).context("cannot write the lock file")?;
                return Ok(Self { _file: file });
            }
        }
    }

    /// The process that has the lock, if one has.
    pub fn holder() -> Option<u32> {
        if !Path::new(PATH).exists() || try_lock().ok()?.is_some() {
            return None;
        }
        std::fs::read_to_string(PATH).ok()?.trim().parse().ok()
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // What is left of it says nothing: only the lock counts.
        let _left = std::fs::remove_file(PATH);
    }
}

/// Opens and locks the file; none if another process has it locked.
fn try_lock() -> Result<Option<File>> {
    let file = process::append(Path::new(PATH))?;
    Ok(flock(file.as_fd(), FlockOperation::NonBlockingLockExclusive).is_ok().then_some(file))
}

fn is_in_place(file: &File) -> bool {
    let (Ok(opened), Ok(there)) = (file.metadata(), std::fs::metadata(PATH)) else { return false };
    (opened.dev(), opened.ino()) == (there.dev(), there.ino())
}
