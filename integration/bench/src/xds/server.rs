//! Servers under test: a process that serves the benchmark's resources and changes them as lines on its standard input
//! say, each answered with a line.
//!
//! `load N` starts over with N services in ten remotes, `each N` with a remote for each of them, `node I` changes a node of
//! remote I, `add` and `remove` are services, `same` makes everything anew without a change. Ours also knows `files FOLDER`:
//! resources as they are, made elsewhere.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use rustix::process::{Resource, getrlimit, setrlimit};

use crate::cpu;

/// Whose server it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, clap::ValueEnum)]
pub enum Kind {
    /// xcc-xds, fed by xcc-envoy.
    Xcc,
    /// go-control-plane's SnapshotCache.
    GcpSnapshot,
    /// go-control-plane's LinearCaches in a MuxCache.
    GcpLinear,
    /// The crate rust-control-plane: the state of the world only.
    RustControlPlane,
}

impl Kind {
    /// What it is called in results.
    pub fn name(self) -> &'static str {
        match self {
            Self::Xcc => "xcc",
            Self::GcpSnapshot => "go-control-plane SnapshotCache",
            Self::GcpLinear => "go-control-plane LinearCache",
            Self::RustControlPlane => "rust-control-plane",
        }
    }

    /// What it is called in ids of results.
    pub fn id(self) -> &'static str {
        match self {
            Self::Xcc => "xcc",
            Self::GcpSnapshot => "gcp-snapshot",
            Self::GcpLinear => "gcp-linear",
            Self::RustControlPlane => "rcp",
        }
    }

    /// Whether it speaks delta.
    pub fn has_delta(self) -> bool {
        self != Self::RustControlPlane
    }

    fn command(self, programs: &Path) -> Command {
        let peers = programs.join("peers");
        match self {
            Self::Xcc => Command::new(programs.join("xds-server")),
            Self::GcpSnapshot | Self::GcpLinear => {
                let mut command = Command::new(peers.join("go-control-plane"));
                let cache = if self == Self::GcpLinear { "linear" } else { "snapshot" };
                command.args(["-cache", cache]);
                command
            }
            Self::RustControlPlane => Command::new(peers.join("rust-control-plane")),
        }
    }
}

/// The folder of this program, where the servers are, too; peers lie in `peers` below it.
pub fn programs() -> Result<PathBuf> {
    let program = std::env::current_exe()?;
    Ok(program.parent().context("a program lies in a folder")?.to_owned())
}

/// Allows this process, and those that it starts, as many open files as the system does: clients have connections.
pub fn raise_file_limit() -> Result<()> {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    Ok(setrlimit(Resource::Nofile, limit)?)
}

/// A running server.
pub struct Server {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
    port: u16,
}

impl Server {
    /// Starts a server without resources.
    pub fn start(kind: Kind) -> Result<Self> {
        Self::start_with(kind, &[])
    }

    /// The same with arguments of its own.
    pub fn start_with(kind: Kind, arguments: &[&str]) -> Result<Self> {
        let mut command = kind.command(&programs()?);
        command.args(arguments);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().with_context(|| {
            format!("cannot start {command:?}: integration/bench/tools/build.sh builds it")
        })?;
        let input = child.stdin.take().context("it has an input")?;
        let mut output = BufReader::new(child.stdout.take().context("it has an output")?);
        let mut line = String::new();
        output.read_line(&mut line)?;
        let Some(port) = line.strip_prefix("listening ").and_then(|port| port.trim().parse().ok()) else {
            bail!("{} began with {line:?}", kind.name());
        };
        Ok(Self { child, input, output, port })
    }

    /// Where it listens, on loopback.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The process.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Says a line and waits for the answer.
    pub fn tell(&mut self, line: &str) -> Result<()> {
        self.say(line)?;
        self.wait()
    }

    /// Says a line.
    pub fn say(&mut self, line: &str) -> Result<()> {
        writeln!(self.input, "{line}")?;
        Ok(self.input.flush()?)
    }

    /// Waits for the answer to a line.
    pub fn wait(&mut self) -> Result<()> {
        let mut answer = String::new();
        self.output.read_line(&mut answer)?;
        ensure!(answer == "ok\n", "the server answered {answer:?}");
        Ok(())
    }

    /// The processor time that it has taken.
    pub fn cpu(&self) -> Result<Duration> {
        cpu::time_of_tree(self.id())
    }

    /// Its memory in octets.
    pub fn memory(&self) -> Result<u64> {
        cpu::memory_of_tree(self.id())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Nothing is left to do about a process that cannot be killed.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
