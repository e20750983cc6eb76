//! A child process: its output goes to a file, and it never outlives its owner.

use std::ffi::{OsStr, OsString};
use std::fs::{File, OpenOptions};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process};

use crate::wait;

/// How many bytes of a log an error quotes.
const LOG_TAIL_BYTES: usize = 2_000;

/// A running program.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    log: PathBuf,
}

impl Process {
    /// Starts a program; what it prints is appended to the log file.
    ///
    /// # Errors
    /// When the program or the log file cannot be opened.
    pub fn spawn(
        name: &str,
        program: &Path,
        arguments: impl IntoIterator<Item = impl AsRef<OsStr>>,
        log: &Path,
    ) -> Result<Self> {
        let output = append(log)?;
        let mut command = Command::new(launcher());
        command.args(launcher_arguments()).arg(program).args(arguments);
        // A developer's own settings of xcc must not decide what a test sees.
        for (name, _value) in
            std::env::vars_os().filter(|(name, _value)| name.as_encoded_bytes().starts_with(b"XCC_"))
        {
            command.env_remove(name);
        }
        let child = command
            .stdin(Stdio::null())
            .stdout(output.try_clone().context("cannot share a log file")?)
            .stderr(output)
            .spawn()
            .with_context(|| format!("cannot start {}", program.display()))?;
        Ok(Self { name: name.to_owned(), child, log: log.to_owned() })
    }

    /// The process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The file that the program's output goes to.
    pub fn log(&self) -> &Path {
        &self.log
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

    /// Stops the program where it is (SIGSTOP), as a machine that hangs would.
    ///
    /// # Errors
    /// When it has ended.
    pub fn pause(&self) -> Result<()> {
        self.signal(Signal::STOP)
    }

    /// Lets a paused program go on.
    ///
    /// # Errors
    /// When it has ended.
    pub fn resume(&self) -> Result<()> {
        self.signal(Signal::CONT)
    }

    fn signal(&self, signal: Signal) -> Result<()> {
        kill_process(Pid::from_child(&self.child), signal)
            .with_context(|| format!("cannot signal {}", self.name))
    }

    /// Asks the program to end with SIGTERM and waits for it.
    ///
    /// # Errors
    /// When it does not end within the limit.
    pub async fn terminate(&mut self, limit: Duration) -> Result<ExitStatus> {
        self.signal(Signal::TERM)?;
        self.wait(limit).await
    }

    /// Waits until the program has ended by itself.
    ///
    /// # Errors
    /// When it does not within the limit.
    pub async fn wait(&mut self, limit: Duration) -> Result<ExitStatus> {
        let what = format!("{} (pid {}) ended", self.name, self.pid());
        wait::until_within(&what, limit, async || Ok(self.child.try_wait()?)).await
    }

    /// Ends the program at once with SIGKILL.
    ///
    /// # Errors
    /// When it cannot be reaped.
    pub fn kill(&mut self) -> Result<ExitStatus> {
        // An error only says that it has ended already.
        let _ended = self.child.kill();
        self.child.wait().with_context(|| format!("cannot wait for {}", self.name))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _status = self.kill();
    }
}

/// The program that starts the programs: `setpriv` has the kernel kill them when the thread that started them is
/// gone, so that even a run that is killed leaves nothing behind. It replaces itself: the pid is the program's own.
/// Without it (it is part of util-linux) the programs are started by `env`, and only a killed run leaves them.
fn launcher() -> OsString {
    if has_setpriv() { "setpriv".into() } else { "env".into() }
}

fn launcher_arguments() -> &'static [&'static str] {
    if has_setpriv() { &["--pdeathsig", "KILL", "--"] } else { &["--"] }
}

fn has_setpriv() -> bool {
    Path::new("/usr/bin/setpriv").exists()
}

fn append(log: &Path) -> Result<File> {
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
    use crate::scratch::Scratch;

    fn exists(pid: u32) -> bool {
        Path::new("/proc").join(pid.to_string()).exists()
    }

    #[test]
    fn a_dropped_process_is_gone() {
        let scratch = Scratch::new("process").unwrap();
        let process =
            Process::spawn("sleep", Path::new("/bin/sleep"), ["600"], &scratch.path().join("log")).unwrap();
        let pid = process.pid();
        assert!(exists(pid));
        drop(process);
        assert!(!exists(pid));
    }

    #[tokio::test]
    async fn an_early_end_is_told_with_the_log() {
        let scratch = Scratch::new("process").unwrap();
        let log = scratch.path().join("log");
        let mut process =
            Process::spawn("sh", Path::new("/bin/sh"), ["-c", "echo port taken; exit 2"], &log).unwrap();
        assert_eq!(process.wait(wait::PATIENCE).await.unwrap().code(), Some(2));
        let message = process.check_running().unwrap_err().to_string();
        assert!(message.contains("port taken"), "{message}");
    }

    #[tokio::test]
    async fn terminate_is_sigterm() {
        let scratch = Scratch::new("process").unwrap();
        let log = scratch.path().join("log");
        let script = "trap 'echo stopped; exit 7' TERM; echo up; while :; do sleep 0.05; done";
        let mut process = Process::spawn("sh", Path::new("/bin/sh"), ["-c", script], &log).unwrap();
        wait::until("the trap is set", async || Ok(wait::holds(tail(&log).contains("up")))).await.unwrap();
        assert_eq!(process.terminate(wait::PATIENCE).await.unwrap().code(), Some(7));
    }
}
