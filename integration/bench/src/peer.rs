//! Other people's programs as processes that end with the benchmark, and that tell what is missing.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::process::Signal;

/// How long a program may take to be ready.
const START_PATIENCE: Duration = Duration::from_secs(30);
/// How long it may take to end when it is asked to.
const STOP_PATIENCE: Duration = Duration::from_secs(5);
const POLL: Duration = Duration::from_millis(20);

/// A running program.
pub struct Peer {
    name: String,
    child: Child,
    log: PathBuf,
    /// Configuration and log; goes with the program.
    folder: tempfile::TempDir,
}

/// Finds a program in the search path and in Debian's folders of administration.
pub fn find(program: &str, package: &str) -> Result<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders =
        std::env::split_paths(&path).chain(["/usr/sbin", "/usr/bin", "/usr/local/bin"].map(PathBuf::from));
    let mut candidates = folders.map(|folder| folder.join(program));
    candidates
        .find(|candidate| candidate.is_file())
        .with_context(|| format!("{program} is missing: apt-get install {package}"))
}

impl Peer {
    /// Starts a program that stays in the foreground. `configure` writes files into the folder that it is given and
    /// returns the command.
    pub fn start(name: &str, configure: impl FnOnce(&Path) -> Result<Command>) -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("xcc-bench-").tempdir()?;
        let mut command = configure(folder.path())?;
        let log = folder.path().join("log");
        let output = File::create(&log)?;
        let child = command
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output)
            .spawn()
            .with_context(|| format!("cannot start {name}"))?;
        Ok(Self { name: name.to_owned(), child, log, folder })
    }

    /// Waits until the program is ready. Fails when it ends before, with what it wrote.
    pub fn wait_ready(&mut self, is_ready: impl Fn() -> bool) -> Result<()> {
        let deadline = after(START_PATIENCE);
        while !is_ready() {
            if let Some(status) = self.child.try_wait()? {
                bail!("{} ended at its start ({status}): {}", self.name, self.written());
            }
            if deadline() {
                bail!("{} is not ready after {START_PATIENCE:?}: {}", self.name, self.written());
            }
            std::thread::sleep(POLL);
        }
        Ok(())
    }

    /// The process' id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// What the program is called in results.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Where its files are.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    fn written(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        // A program with children of its own (NSD) ends them only when it is asked to end.
        let asked =
            rustix::process::kill_process(rustix::process::Pid::from_child(&self.child), Signal::TERM);
        let deadline = after(STOP_PATIENCE);
        while asked.is_ok() && !deadline() {
            if !matches!(self.child.try_wait(), Ok(None)) {
                return;
            }
            std::thread::sleep(POLL);
        }
        // Nothing is left to do about a process that cannot be killed.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// A clock that says when the time is over.
#[expect(clippy::disallowed_methods, reason = "no paused time here: real programs run by the real clock")]
fn after(time: Duration) -> impl Fn() -> bool {
    let start = Instant::now();
    move || start.elapsed() > time
}
