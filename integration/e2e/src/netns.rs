//! Network namespaces: made, configured and entered by name, and removed with whatever still runs in them.

use std::net::SocketAddr;
use std::os::fd::AsFd as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use rustix::process::Signal;
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use tokio::net::TcpStream;
use tokio::sync::oneshot;

use crate::process;

/// What every namespace of ours is called by first, so that a later run finds what a dead one left.
pub const PREFIX: &str = "xcc-e2e.";

/// Where iproute2 keeps named namespaces.
const FOLDER: &str = "/run/netns";

/// How often the processes of a namespace are killed before it is deleted anyway: a process can fork in between.
const KILL_ROUNDS: usize = 20;

/// A named network namespace. It stays until [`Namespace::delete`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Namespace {
    name: String,
}

impl Namespace {
    /// Makes a namespace whose loopback is up and that has the given sysctls (`net/` paths with values).
    ///
    /// # Errors
    /// When it cannot be made: above all without root, or because there is one of that name.
    pub async fn create(name: &str, sysctls: &'static [(&'static str, &'static str)]) -> Result<Self> {
        let namespace = Self { name: format!("{PREFIX}{name}") };
        process::run(["ip", "netns", "add", &namespace.name]).await?;
        namespace.within(move || set_sysctls(sysctls)).await??;
        namespace.ip("link set lo up").await?;
        Ok(namespace)
    }

    /// The namespaces of this or an earlier run.
    ///
    /// # Errors
    /// When the folder of namespaces cannot be read.
    pub fn all() -> Result<Vec<Self>> {
        let Ok(entries) = std::fs::read_dir(FOLDER) else { return Ok(Vec::new()) };
        let mut all = Vec::new();
        for entry in entries {
            if let Ok(name) = entry?.file_name().into_string()
                && name.starts_with(PREFIX)
            {
                all.push(Self { name });
            }
        }
        Ok(all)
    }

    /// The name, as `ip netns` lists it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The file that the namespace is entered by.
    pub fn path(&self) -> PathBuf {
        Path::new(FOLDER).join(&self.name)
    }

    /// What to put before a command so that it runs inside.
    pub fn enter(&self) -> [String; 3] {
        ["nsenter".to_owned(), format!("--net={}", self.path().display()), "--".to_owned()]
    }

    /// Runs lines of `ip` commands inside.
    ///
    /// # Errors
    /// When one fails; those before it have been done.
    pub async fn ip(&self, lines: &str) -> Result<()> {
        process::run_with_input(["ip", "-n", &self.name, "-batch", "-"], lines).await.map(drop)
    }

    /// Runs a script of `nft` inside: all of it, or nothing.
    ///
    /// # Errors
    /// When it is refused.
    pub async fn nft(&self, script: &str) -> Result<()> {
        let argv = self.enter().into_iter().chain(["nft".to_owned(), "-f".to_owned(), "-".to_owned()]);
        process::run_with_input(argv, script).await.map(drop)
    }

    /// Runs a function on a thread of its own inside: sockets that it makes belong to the namespace, wherever they
    /// are used.
    ///
    /// # Errors
    /// When the namespace is gone.
    pub async fn within<T: Send + 'static>(&self, run: impl FnOnce() -> T + Send + 'static) -> Result<T> {
        let path = self.path();
        let (sender, receiver) = oneshot::channel();
        std::thread::spawn(move || {
            let result = enter_namespace(&path).map(|()| run());
            // The receiver may have been dropped: nobody waits any more.
            let _unread = sender.send(result);
        });
        receiver.await.context("the thread in the namespace panicked")?
    }

    /// Opens a TCP connection from inside.
    ///
    /// # Errors
    /// When nobody answers there within the limit.
    pub async fn connect(&self, address: SocketAddr, limit: Duration) -> Result<TcpStream> {
        let stream = self.within(move || std::net::TcpStream::connect_timeout(&address, limit)).await?;
        let stream = stream.with_context(|| format!("cannot connect to {address} in {}", self.name))?;
        stream.set_nonblocking(true)?;
        TcpStream::from_std(stream).context("cannot use a socket")
    }

    /// Kills what runs inside, by its ids, and removes the namespace.
    ///
    /// # Errors
    /// When it cannot be removed.
    pub async fn delete(&self) -> Result<()> {
        let inode = inode(&self.path());
        kill_all(inode).await;
        let deleted = process::run(["ip", "netns", "delete", &self.name]).await;
        // What entered in between would be found by nobody from now on.
        kill_all(inode).await;
        if self.path().exists() { deleted.map(drop) } else { Ok(()) }
    }
}

/// What tells a namespace from others, whether it has a name or not.
fn inode(path: &Path) -> Option<(u64, u64)> {
    let metadata = std::fs::metadata(path).ok()?;
    Some((metadata.dev(), metadata.ino()))
}

async fn kill_all(namespace: Option<(u64, u64)>) {
    if namespace.is_none() {
        return;
    }
    for _round in 0..KILL_ROUNDS {
        let inside = pids(namespace);
        if inside.is_empty() {
            return;
        }
        inside.into_iter().for_each(|pid| process::signal(pid, Signal::KILL));
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// The processes in a network namespace.
fn pids(namespace: Option<(u64, u64)>) -> Vec<u32> {
    let Ok(processes) = std::fs::read_dir("/proc") else { return Vec::new() };
    let ids = processes.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    ids.filter(|pid: &u32| inode(Path::new(&format!("/proc/{pid}/ns/net"))) == namespace).collect()
}

fn enter_namespace(path: &Path) -> Result<()> {
    let file = std::fs::File::open(path).with_context(|| format!("no namespace {}", path.display()))?;
    move_into_link_name_space(file.as_fd(), Some(LinkNameSpaceType::Network))
        .with_context(|| format!("cannot enter {}", path.display()))
}

/// `/proc/sys/net` shows the namespace of the thread that looks.
fn set_sysctls(sysctls: &[(&str, &str)]) -> Result<()> {
    for (path, value) in sysctls {
        let file = Path::new("/proc/sys").join(path);
        std::fs::write(&file, value).with_context(|| format!("cannot set {}", file.display()))?;
    }
    Ok(())
}
