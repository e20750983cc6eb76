//! One container's process: started in its namespaces and root, signalled, waited for, and found again by others.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use rustix::process::Signal;
use serde::{Deserialize, Serialize};
use tokio::process::{Child, Command};
use tokio::time::Instant;

use super::security::Identity;
use crate::netns::Namespace;
use crate::process;

/// How long bubblewrap may take to make the root and say the process id.
const START_LIMIT: Duration = Duration::from_secs(20);

/// How often it is looked whether it has.
const START_LOOK: Duration = Duration::from_millis(5);

/// Everything that a container's process is made of.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The network namespace.
    pub namespace: Namespace,
    /// The arguments of bubblewrap.
    pub root: Vec<String>,
    /// Who it runs as.
    pub identity: Identity,
    /// The command with its arguments.
    pub argv: Vec<String>,
    /// The environment.
    pub environment: BTreeMap<String, String>,
    /// The folder it starts in.
    pub working_folder: String,
    /// The host name it sees.
    pub host_name: String,
    /// The file that its output goes to.
    pub log: PathBuf,
    /// The file that says how to enter it: a [`Record`].
    pub record: PathBuf,
}

/// What is needed to run a command in a container: written beside it, so that another program can.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// The container's first process.
    pub pid: u32,
    /// Who it runs as.
    pub identity: Identity,
    /// Its environment.
    pub environment: BTreeMap<String, String>,
}

impl Record {
    /// The command line that runs a command in the container, as its own process would.
    pub fn command(&self, argv: &[impl AsRef<str>]) -> Vec<String> {
        let namespaces = ["--mount", "--uts", "--ipc", "--net", "--pid", "--root", "--wd"];
        let mut command = vec!["nsenter".to_owned(), format!("--target={}", self.pid)];
        command.extend(namespaces.map(str::to_owned));
        command.extend(["--".to_owned(), "setpriv".to_owned()]);
        command.extend(self.identity.arguments());
        command.extend(["env".to_owned(), "-i".to_owned()]);
        command.extend(self.environment.iter().map(|(name, value)| format!("{name}={value}")));
        command.extend(argv.iter().map(|argument| argument.as_ref().to_owned()));
        command
    }
}

/// A container's process that was started.
#[derive(Debug)]
pub struct Running {
    child: Child,
    record: Record,
    record_file: PathBuf,
}

impl Plan {
    /// Starts the process.
    ///
    /// # Errors
    /// When bubblewrap refuses: a folder that is not there, a mount point inside a read-only part.
    pub async fn start(&self) -> Result<Running> {
        let output = process::append(&self.log)?;
        // Programs open /dev/stdout by its name, as whoever they run as.
        output.set_permissions(std::fs::Permissions::from_mode(0o666))?;
        let information = self.record.with_extension("bwrap");
        let _absent = std::fs::remove_file(&information);
        // The shell is there for the file descriptor that bubblewrap says the process id on.
        let mut command = Command::new("/usr/bin/setpriv");
        command
            .args(["--pdeathsig", "KILL", "--"])
            .args(self.namespace.enter())
            .args(["/bin/sh", "-c", "exec 3>\"$0\"; exec /usr/bin/bwrap \"$@\""])
            .arg(&information)
            .args(["--info-fd", "3"])
            .args(&self.root)
            .args(["--hostname", &self.host_name, "--chdir", &self.working_folder])
            .args(["--", "/usr/bin/setpriv"])
            .args(self.identity.arguments())
            .args(&self.argv)
            .env_clear()
            .envs(&self.environment)
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output)
            .kill_on_drop(true);
        let mut child = command.spawn().context("cannot start a container")?;
        let pid = self.first_process(&mut child, &information).await?;
        let record = Record { pid, identity: self.identity.clone(), environment: self.environment.clone() };
        std::fs::write(&self.record, serde_json::to_vec(&record)?)
            .context("cannot write a container's record")?;
        Ok(Running { child, record, record_file: self.record.clone() })
    }

    async fn first_process(&self, child: &mut Child, information: &Path) -> Result<u32> {
        let deadline = Instant::now() + START_LIMIT;
        loop {
            let text = std::fs::read_to_string(information).unwrap_or_default();
            if let Ok(said) = serde_json::from_str::<Information>(&text) {
                return Ok(said.child_pid);
            }
            if let Some(status) = child.try_wait()? {
                bail!("cannot make the container's root ({status}): {}", process::tail(&self.log));
            }
            ensure!(Instant::now() < deadline, "bubblewrap does not say the container's process id");
            tokio::time::sleep(START_LOOK).await;
        }
    }
}

/// What bubblewrap says on its information descriptor.
#[derive(Deserialize)]
struct Information {
    #[serde(rename = "child-pid")]
    child_pid: u32,
}

impl Running {
    /// How to enter it.
    pub fn record(&self) -> &Record {
        &self.record
    }

    /// Sends the container's first process a signal. As in any container it ignores what it has no handler for,
    /// SIGKILL apart.
    pub fn signal(&self, signal: Signal) {
        process::signal(self.record.pid, signal);
    }

    /// Waits for its end, and says its exit code; a process that a signal ended has 128 and the signal's number.
    ///
    /// # Errors
    /// When it cannot be waited for.
    pub async fn wait(&mut self) -> Result<i32> {
        let status = self.child.wait().await.context("cannot wait for a container")?;
        let _absent = std::fs::remove_file(&self.record_file);
        Ok(exit_code(status))
    }
}

fn exit_code(status: ExitStatus) -> i32 {
    use std::os::unix::process::ExitStatusExt as _;
    status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or_default())
}
