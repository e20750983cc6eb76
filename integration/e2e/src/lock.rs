//! One run at a time: the names of namespaces and kubeconfigs are the same for all. The lock file says whose.

use std::fs::File;
use std::os::fd::AsFd as _;
use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use rustix::fs::{FlockOperation, flock};

use crate::{layout, process};

/// The lock; it goes with the process at the latest.
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
        let file = process::append(&path())?;
        if flock(file.as_fd(), FlockOperation::NonBlockingLockExclusive).is_err() {
            bail!("another run is up: `xcc-e2e down` ends it");
        }
        std::fs::write(path(), std::process::id().to_string()).context("cannot write the lock file")?;
        Ok(Self { _file: file })
    }

    /// The process that has the lock, if one has.
    pub fn holder() -> Option<u32> {
        let file = process::append(&path()).ok()?;
        if flock(file.as_fd(), FlockOperation::NonBlockingLockExclusive).is_ok() {
            return None;
        }
        std::fs::read_to_string(path()).ok()?.trim().parse().ok()
    }
}

fn path() -> PathBuf {
    layout::cache().join(".lock")
}
