//! A folder for one run's files: removed when all went well, kept and named when not.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context, Result};

/// A temporary folder that survives a panic of its owner's thread.
#[derive(Debug)]
pub struct Scratch {
    directory: Option<tempfile::TempDir>,
    keep: AtomicBool,
}

impl Scratch {
    /// Makes the folder, called after the run.
    ///
    /// # Errors
    /// When the temporary folder of the machine cannot be written to.
    pub fn new(name: &str) -> Result<Self> {
        let directory = tempfile::Builder::new()
            .prefix(&format!("xcc-{name}-"))
            .tempdir()
            .context("cannot make a temporary folder")?;
        Ok(Self { directory: Some(directory), keep: AtomicBool::new(false) })
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        self.directory.as_ref().map(tempfile::TempDir::path).unwrap_or_else(|| Path::new(""))
    }

    /// Makes a folder inside.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn folder(&self, name: &str) -> Result<PathBuf> {
        let path = self.path().join(name);
        std::fs::create_dir_all(&path).with_context(|| format!("cannot make {}", path.display()))?;
        Ok(path)
    }

    /// Leaves the folder where it is when this is dropped.
    pub fn keep(&self) {
        self.keep.store(true, Ordering::Relaxed);
    }
}

impl Drop for Scratch {
    #[expect(clippy::print_stderr, reason = "whoever looks at a failed test needs the way to its logs")]
    fn drop(&mut self) {
        let Some(directory) = self.directory.take() else { return };
        if std::thread::panicking() {
            eprintln!("manifests and logs are kept in {}", directory.keep().display());
        } else if self.keep.load(Ordering::Relaxed) {
            let _path = directory.keep();
        }
    }
}
