//! Servers as processes: ours, those of others, and bare echoes that answer nothing at all.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use xcc_dns::Zones;

use crate::dns::{load, query, workload};
use crate::peer::{self, Peer};

/// A kind of server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// xcc-dns.
    Xcc,
    /// NSD.
    Nsd,
    /// Knot DNS.
    Knot,
    /// CoreDNS with the plugin `file`.
    CorednsFile,
    /// CoreDNS with the plugin `hosts`.
    CorednsHosts,
    /// hickory-server with its catalogue and in-memory zone.
    Hickory,
    /// Sends back what it receives, by `recvfrom` and `sendto`.
    Echo,
    /// The same by `recvmmsg` and `sendmmsg`.
    EchoBatch,
}

/// A server that answers.
pub struct Server {
    /// The process.
    pub peer: Peer,
    /// Where it listens.
    pub address: SocketAddr,
    /// What it is.
    pub kind: Kind,
}

/// How a server is started.
#[derive(Debug, Clone, Copy)]
pub struct Plan {
    /// Names in the zone [`workload::ZONE`].
    pub names: usize,
    /// Threads or processes that answer UDP.
    pub workers: usize,
    /// The processor to keep to, if any.
    pub processor: Option<usize>,
    /// Changes of the zone per second (ours only).
    pub changes_per_second: u32,
}

impl Kind {
    /// The reply codes of a right answer. CoreDNS' plugin hosts has no SOA to say NXDOMAIN with, and says SERVFAIL.
    pub fn codes(self) -> &'static [u8] {
        match self {
            Self::CorednsHosts => &[0, 2, 3],
            _ => &[0, 3],
        }
    }

    /// The server in results.
    pub fn name(self) -> &'static str {
        match self {
            Self::Xcc => "xcc",
            Self::Nsd => "nsd",
            Self::Knot => "knot",
            Self::CorednsFile => "coredns-file",
            Self::CorednsHosts => "coredns-hosts",
            Self::Hickory => "hickory",
            Self::Echo => "echo",
            Self::EchoBatch => "echo-batch",
        }
    }

    /// Starts the server with the zone of the plan and waits until it answers.
    pub fn start(self, plan: Plan) -> Result<Server> {
        match self {
            Self::Xcc | Self::Hickory | Self::Echo | Self::EchoBatch => self.start_own(plan),
            _ => {
                let zones = workload::zones(plan.names, &[workload::GATEWAY.parse()?])?;
                self.start_with(plan, &[(workload::ZONE.to_owned(), zones.dump())])
            }
        }
    }

    /// A program of this crate.
    fn start_own(self, plan: Plan) -> Result<Server> {
        let binary = sibling("dns-server")?;
        self.run(plan, |address, _| {
            let mut command = Command::new(&binary);
            command.args([self.name(), "--listen", &address.to_string()]);
            command.args(["--names", &plan.names.to_string(), "--sockets", &plan.workers.to_string()]);
            Ok(vec![command, arguments(&["--changes-per-second", &plan.changes_per_second.to_string()])])
        })
    }

    /// Starts NSD, Knot or CoreDNS with zone files, each zone with its lines.
    pub fn start_with(self, plan: Plan, zones: &[(String, Vec<String>)]) -> Result<Server> {
        self.run(plan, |address, folder| {
            for (zone, lines) in zones {
                fs::write(folder.join(format!("{zone}.zone")), lines.join("\n") + "\n")?;
            }
            let names: Vec<&str> = zones.iter().map(|(zone, _)| zone.as_str()).collect();
            let command = match self {
                Self::Nsd => nsd(address, folder, plan, &names)?,
                Self::Knot => knot(address, folder, plan, &names)?,
                Self::CorednsFile | Self::CorednsHosts => coredns(self, address, folder, plan, &names)?,
                _ => anyhow::bail!("{} takes no zone files", self.name()),
            };
            Ok(vec![command])
        })
    }

    fn run(
        self,
        plan: Plan,
        command: impl FnOnce(SocketAddr, &Path) -> Result<Vec<Command>>,
    ) -> Result<Server> {
        let address = free_address()?;
        let mut peer = Peer::start(self.name(), |folder| {
            let mut parts = command(address, folder)?.into_iter();
            let mut command = parts.next().context("no command")?;
            for part in parts {
                command.args(part.get_args());
            }
            Ok(match plan.processor {
                None => command,
                Some(processor) => pinned(&command, processor)?,
            })
        })?;
        let probe = query::request(&format!("ns.dns.{}", workload::ZONE), query::A, None);
        peer.wait_ready(|| load::answers(address, &probe))?;
        Ok(Server { peer, address, kind: self })
    }
}

/// A command of arguments alone, to be appended.
fn arguments(arguments: &[&str]) -> Command {
    let mut command = Command::new("");
    command.args(arguments);
    command
}

/// The same command on one processor.
fn pinned(command: &Command, processor: usize) -> Result<Command> {
    let mut pinned = Command::new(peer::find("taskset", "util-linux")?);
    pinned.args(["--cpu-list", &processor.to_string()]).arg(command.get_program()).args(command.get_args());
    Ok(pinned)
}

/// A port of loopback that is free for UDP and TCP now.
fn free_address() -> Result<SocketAddr> {
    for _ in 0..16 {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let address = listener.local_addr()?;
        if UdpSocket::bind(address).is_ok() {
            return Ok(address);
        }
    }
    anyhow::bail!("no port of loopback is free for both UDP and TCP")
}

/// A program that was built along with the running one.
pub fn sibling(name: &str) -> Result<PathBuf> {
    let own = std::env::current_exe()?;
    let folder = own.parent().context("no folder")?;
    // Tests stand one folder below the programs.
    let found = [folder, folder.parent().unwrap_or(folder)].map(|folder| folder.join(name));
    let found = found.into_iter().find(|path| path.is_file());
    found.with_context(|| format!("{name} is not built: cargo build --package xcc-bench"))
}

fn nsd(address: SocketAddr, folder: &Path, plan: Plan, zones: &[&str]) -> Result<Command> {
    let program = peer::find("nsd", "nsd")?;
    let at = folder.display();
    let mut text = format!(
        "server:\n ip-address: {}@{}\n server-count: {}\n reuseport: yes\n username: \"\"\n chroot: \"\"\n \
         zonesdir: \"{at}\"\n database: \"\"\n pidfile: \"\"\n xfrdfile: \"{at}/xfrd.state\"\n \
         zonelistfile: \"{at}/zone.list\"\n xfrdir: \"{at}\"\n rrl-ratelimit: 0\n rrl-whitelist-ratelimit: 0\n \
         hide-version: yes\n minimal-responses: yes\nremote-control:\n control-enable: no\n",
        address.ip(),
        address.port(),
        plan.workers,
    );
    for zone in zones {
        text += &format!("zone:\n name: {zone}\n zonefile: \"{at}/{zone}.zone\"\n");
    }
    let file = folder.join("nsd.conf");
    fs::write(&file, text)?;
    let mut command = Command::new(program);
    command.arg("-d").arg("-c").arg(file);
    Ok(command)
}

fn knot(address: SocketAddr, folder: &Path, plan: Plan, zones: &[&str]) -> Result<Command> {
    let program = peer::find("knotd", "knot")?;
    let at = folder.display();
    let user = rustix::process::getuid().as_raw();
    ensure!(user == 0 || folder.exists(), "no folder");
    let owner = if user == 0 { "    user: root:root\n" } else { "" };
    let mut text = format!(
        "server:\n    rundir: \"{at}\"\n{owner}    listen: {}@{}\n    udp-workers: {}\n    tcp-workers: 1\n    \
         background-workers: 1\n    version: \"\"\n    identity: \"\"\nlog:\n  - target: stderr\n    any: error\n\
         database:\n    storage: \"{at}\"\nzone:\n",
        address.ip(),
        address.port(),
        plan.workers,
    );
    for zone in zones {
        text += &format!(
            "  - domain: {zone}\n    storage: \"{at}\"\n    file: \"{zone}.zone\"\n    zonefile-sync: -1\n    \
             journal-content: none\n    semantic-checks: off\n",
        );
    }
    let file = folder.join("knot.conf");
    fs::write(&file, text)?;
    let mut command = Command::new(program);
    command.arg("-c").arg(file);
    Ok(command)
}

fn coredns(kind: Kind, address: SocketAddr, folder: &Path, plan: Plan, zones: &[&str]) -> Result<Command> {
    let at = folder.display();
    let mut text =
        format!(".:{} {{\n bind {}\n multisocket {}\n", address.port(), address.ip(), plan.workers);
    if kind == Kind::CorednsHosts {
        // The addresses of the same zone files.
        let mut hosts = String::new();
        for zone in zones {
            let lines = fs::read_to_string(folder.join(format!("{zone}.zone")))?;
            for line in lines.lines() {
                if let [name, _, _, "A" | "AAAA", address] = line.split(' ').collect::<Vec<_>>()[..] {
                    hosts += &format!("{address} {}\n", name.trim_end_matches('.'));
                }
            }
        }
        fs::write(folder.join("hosts"), hosts)?;
        text +=
            &format!(" hosts {at}/hosts {} {{\n  ttl 30\n  no_reverse\n  reload 0\n }}\n", zones.join(" "));
    } else {
        for zone in zones {
            text += &format!(" file {at}/{zone}.zone {zone} {{\n  reload 0\n }}\n");
        }
    }
    let file = folder.join("Corefile");
    fs::write(&file, text + "}\n")?;
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let built = root.join(".cache/e2e/bin/coredns");
    ensure!(
        built.is_file(),
        "CoreDNS is missing: run integration/e2e/parts/build.sh, which builds it from its Go module"
    );
    let mut command = Command::new(built);
    command.arg("-conf").arg(file);
    Ok(command)
}

/// The lines of each zone of a table, by zone.
pub fn zone_files(zones: &Zones, apexes: &[&str]) -> Vec<(String, Vec<String>)> {
    let mut files: Vec<(String, Vec<String>)> =
        apexes.iter().map(|apex| ((*apex).to_owned(), vec![])).collect();
    for line in zones.dump() {
        let owner = line.split_once(". ").map_or("", |(owner, _)| owner);
        let within = |apex: &str| owner == apex || owner.ends_with(&format!(".{apex}"));
        let closest = files.iter_mut().filter(|(apex, _)| within(apex)).max_by_key(|(apex, _)| apex.len());
        if let Some((_, lines)) = closest {
            lines.push(line);
        }
    }
    files
}
