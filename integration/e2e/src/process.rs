//! Child processes: commands that end and are looked at, and daemons that run until they are killed.
//!
//! Daemons do not outlive this program: the kernel kills each when the thread that started it is gone (so they are
//! started from the runtime's own threads only, never from those for blocking calls, which come and go). Containers
//! do when it is killed with SIGKILL, and are found by their namespaces then.

use std::ffi::OsStr;
use std::fs::{File, OpenOptions};
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Output, Stdio};

use anyhow::{Context, Result, bail, ensure};
use rustix::process::{Pid, Signal, kill_process};
use tokio::io::AsyncWriteExt as _;
use tokio::process::{Child, Command};

use crate::netns::Namespace;

/// How many bytes of a log an error quotes.
const LOG_TAIL_BYTES: usize = 2_000;

/// Runs a command to its end.
///
/// # Errors
/// When it cannot be started or fails: with what it printed.
pub async fn run(argv: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Result<String> {
    run_with_input(argv, "").await
}

/// Runs a command to its end with something to read.
///
/// # Errors
/// As [`run`].
pub async fn run_with_input(
    argv: impl IntoIterator<Item = impl AsRef<OsStr>>,
    input: &str,
) -> Result<String> {
    let argv: Vec<_> = argv.into_iter().map(|argument| argument.as_ref().to_owned()).collect();
    let output = output(&argv, input).await?;
    ensure!(
        output.status.success(),
        "{} failed ({}): {}{}",
        argv.join(OsStr::new(" ")).to_string_lossy(),
        output.status,
        String::from_utf8_lossy(&output.stderr).trim(),
        if input.is_empty() { String::new() } else { format!("\ninput was:\n{}", input.trim()) }
    );
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Runs a command to its end, whatever that is.
///
/// # Errors
/// When it cannot be started.
pub async fn output(argv: &[impl AsRef<OsStr>], input: &str) -> Result<Output> {
    let (program, arguments) = argv.split_first().context("a command has a name")?;
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .with_context(|| format!("cannot start {}", program.as_ref().to_string_lossy()))?;
    let stdin = child.stdin.take();
    let feed = async {
        if let Some(mut stdin) = stdin {
            // A command that does not read its input may have closed it.
            let _closed = stdin.write_all(input.as_bytes()).await;
        }
    };
    let ((), output) = tokio::join!(feed, child.wait_with_output());
    output.with_context(|| format!("cannot wait for {}", program.as_ref().to_string_lossy()))
}

/// A program that runs until it is told to end.
#[derive(Debug)]
pub struct Daemon {
    name: String,
    child: Child,
    log: PathBuf,
}

impl Daemon {
    /// Starts a program in a network namespace; what it prints is appended to the log file.
    ///
    /// # Errors
    /// When the program or the log file cannot be opened.
    pub fn start(
        name: &str,
        namespace: &Namespace,
        argv: impl IntoIterator<Item = impl AsRef<OsStr>>,
        log: &Path,
    ) -> Result<Self> {
        let output = append(log)?;
        let child = Command::new("setpriv")
            .args(["--pdeathsig", "KILL", "--"])
            .args(namespace.enter())
            .args(argv)
            // What this program's user has set (a proxy, a kubeconfig) is not for the parts.
            .env_clear()
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
            .env("HOME", "/root")
            .stdin(Stdio::null())
            .stdout(output.try_clone().context("cannot share a log file")?)
            .stderr(output)
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("cannot start {name}"))?;
        Ok(Self { name: name.to_owned(), child, log: log.to_owned() })
    }

    /// The process id; none once it has ended.
    pub fn pid(&self) -> Option<u32> {
        self.child.id()
    }

    /// Fails, with the end of the log, when the program has ended.
    ///
    /// # Errors
    /// When it has ended.
    pub fn check_running(&mut self) -> Result<()> {
        if let Some(status) = self.child.try_wait()? {
            bail!("{} ended ({status}): {}\nlog: {}", self.name, tail(&self.log), self.log.display());
        }
        Ok(())
    }

    /// Ends the program at once with SIGKILL.
    ///
    /// # Errors
    /// When it cannot be reaped.
    pub async fn kill(&mut self) -> Result<ExitStatus> {
        // An error only says that it has ended already.
        let _ended = self.child.start_kill();
        self.child.wait().await.with_context(|| format!("cannot wait for {}", self.name))
    }
}

/// Sends a signal to a process of ours by its id; one that is gone is as good as reached.
pub fn signal(pid: u32, signal: Signal) {
    if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
        let _gone = kill_process(pid, signal);
    }
}

/// Opens a log file for appending, with its folder.
///
/// # Errors
/// When it cannot be written to.
pub fn append(log: &Path) -> Result<File> {
    if let Some(folder) = log.parent() {
        std::fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    }
    let file = OpenOptions::new().create(true).append(true).open(log);
    file.with_context(|| format!("cannot open {}", log.display()))
}

/// The end of a log file, for an error message.
pub fn tail(log: &Path) -> String {
    let text = std::fs::read(log).unwrap_or_default();
    let from = text.len().saturating_sub(LOG_TAIL_BYTES);
    String::from_utf8_lossy(&text[from..]).trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_failure_is_told_with_what_it_printed() {
        let error = run(["sh", "-c", "echo no such route >&2; exit 2"]).await.unwrap_err();
        assert!(error.to_string().contains("no such route"), "{error}");
    }

    #[tokio::test]
    async fn input_reaches_the_command() {
        assert_eq!(run_with_input(["cat"], "some words").await.unwrap(), "some words");
    }
}
