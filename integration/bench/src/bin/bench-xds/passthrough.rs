//! B12: new connections and bulk through Envoy with the gateway's configuration, HAProxy and nginx, each on one worker.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};
use xcc_bench::peer::{Peer, find};
use xcc_bench::statistics::Summary;
use xcc_bench::table::{Limit, Row};
use xcc_bench::xds::tls::{Origin, bulk, connect_many};
use xcc_bench::xds::world::{REMOTES, World, hostname, remote};
use xcc_integration::project;

use crate::Arguments;
use crate::report::range;
use crate::start::free_port;

/// Connections of one measurement, and how many are open at once.
const CONNECTIONS: usize = 3_000;
const AT_ONCE: usize = 8;
/// Octets of one measurement, in one stream.
const BULK_OCTETS: u64 = 1 << 30;
/// How much more a connection may cost with ten thousand names than with one.
const FLAT: f64 = 1.25;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Proxy {
    Envoy,
    Haproxy,
    Nginx,
}

const PROXIES: [Proxy; 3] = [Proxy::Envoy, Proxy::Haproxy, Proxy::Nginx];

impl Proxy {
    fn name(self) -> &'static str {
        match self {
            Self::Envoy => "envoy",
            Self::Haproxy => "haproxy",
            Self::Nginx => "nginx",
        }
    }
}

/// One proxy's figures: microseconds of its processor for a connection, seconds for a GiB, Gbit/s.
#[derive(Default)]
struct Measured {
    connection_us: Vec<f64>,
    bulk_s: Vec<f64>,
    gbits: Vec<f64>,
}

pub(crate) async fn rows(arguments: &Arguments) -> Result<Vec<Row>> {
    let version = arguments.envoys.last().context("no version of Envoy is named")?.clone();
    let (rounds, many) = (arguments.rounds, arguments.size(10_000));
    tokio::task::spawn_blocking(move || {
        let mut rows = Vec::new();
        let mut ours = Vec::new();
        for names in [1, many] {
            let measured = measure(&version, names, rounds)?;
            ours.push(Summary::of(&measured[&Proxy::Envoy].connection_us));
            rows.extend(compare(names, &measured));
        }
        if let [one, many_names] = ours.as_slice() {
            let case = format!("new connection: {many} names against one ({})", range(many_names));
            let row =
                Row::new("B12.flat", &case, many_names.median, "xcc with one name", one.median, "us CPU");
            rows.push(row.with_limit(Limit::AtMost(FLAT)));
        }
        Ok(rows)
    })
    .await?
}

fn measure(version: &str, names: usize, rounds: usize) -> Result<BTreeMap<Proxy, Measured>> {
    let origin = Origin::start()?;
    let mut all: BTreeMap<Proxy, Measured> = BTreeMap::new();
    for round in 0..rounds {
        for turn in 0..PROXIES.len() {
            let proxy = PROXIES[(round + turn) % PROXIES.len()];
            let port = free_port()?;
            let peer = start(proxy, version, port, origin.address(), names)?;
            let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
            let name = hostname(names - 1);
            connect_many(address, &name, CONNECTIONS / 10, AT_ONCE)?;
            let cpu = || xcc_bench::cpu::time_of_tree(peer.id());
            let measured = all.entry(proxy).or_default();
            let before = cpu()?;
            connect_many(address, &name, CONNECTIONS, AT_ONCE)?;
            measured.connection_us.push((cpu()? - before).as_secs_f64() * 1e6 / CONNECTIONS as f64);
            let before = cpu()?;
            let took = bulk(&origin, address, &name, BULK_OCTETS)?;
            measured.bulk_s.push((cpu()? - before).as_secs_f64());
            measured.gbits.push(BULK_OCTETS as f64 * 8.0 / took.as_secs_f64() / 1e9);
        }
    }
    Ok(all)
}

fn compare(names: usize, measured: &BTreeMap<Proxy, Measured>) -> Vec<Row> {
    let mut rows = Vec::new();
    let ours = &measured[&Proxy::Envoy];
    for (proxy, peer) in measured.iter().filter(|(proxy, _)| **proxy != Proxy::Envoy) {
        let mut row = |id: &str, what: &str, ours: &[f64], peer: &[f64], unit: &str, limit: Option<Limit>| {
            let (ours, peer) = (Summary::of(ours), Summary::of(peer));
            let case = format!("{what}, {names} names ({}; {})", range(&ours), range(&peer));
            let id = format!("B12.{id}.{names}.{}", proxy.name());
            let row = Row::new(&id, &case, ours.median, proxy.name(), peer.median, unit);
            rows.push(match limit {
                Some(limit) => row.with_limit(limit),
                None => row,
            });
        };
        let of_haproxy = (*proxy == Proxy::Haproxy).then_some(Limit::AtMost(1.5));
        row("connection", "new connection", &ours.connection_us, &peer.connection_us, "us CPU", of_haproxy);
        row("bulk", "one stream", &ours.bulk_s, &peer.bulk_s, "s CPU/GiB", Some(Limit::AtMost(1.0)));
        row("rate", "one stream", &ours.gbits, &peer.gbits, "Gbit/s", None);
    }
    rows
}

/// Starts a proxy that leads all names to the origin.
fn start(proxy: Proxy, version: &str, port: u16, origin: SocketAddr, names: usize) -> Result<Peer> {
    let mut peer = Peer::start(proxy.name(), |folder| match proxy {
        Proxy::Envoy => envoy(folder, version, port, origin, names),
        Proxy::Haproxy => haproxy(folder, port, origin, names),
        Proxy::Nginx => nginx(folder, port, origin, names),
    })?;
    peer.wait_ready(|| std::net::TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_ok())?;
    Ok(peer)
}

fn envoy(folder: &Path, version: &str, port: u16, origin: SocketAddr, names: usize) -> Result<Command> {
    let mut world = World::new(names)?;
    world.lead_to(origin);
    world.set_port_offset(port - 443);
    let bootstrap = xcc_envoy::standalone_bootstrap(&world.resources(), None);
    let config = folder.join("bootstrap.yaml");
    std::fs::write(&config, xcc_envoy::yaml::to_yaml(&bootstrap)?)?;
    let mut command = Command::new(project::envoy(version)?);
    command
        .args(["--disable-hot-restart", "--concurrency", "1", "--log-level", "error", "--config-path"])
        .arg(config);
    Ok(command)
}

fn haproxy(folder: &Path, port: u16, origin: SocketAddr, names: usize) -> Result<Command> {
    let mut map = String::new();
    for service in 0..names {
        writeln!(map, "{} {}", hostname(service), remote(service % REMOTES))?;
    }
    let map_file = folder.join("names.map");
    std::fs::write(&map_file, map)?;
    let mut text = format!(
        "global\n  nbthread 1\n  maxconn 4000\ndefaults\n  mode tcp\n  timeout connect 2s\n  timeout client 60s\n  \
         timeout server 60s\nfrontend gateway\n  bind 127.0.0.1:{port}\n  tcp-request inspect-delay 5s\n  \
         tcp-request content accept if {{ req.ssl_hello_type 1 }}\n  \
         use_backend %[req.ssl_sni,lower,map({})]\n",
        map_file.display()
    );
    for number in 0..REMOTES {
        writeln!(text, "backend {}\n  server node {origin}", remote(number))?;
    }
    let config = folder.join("haproxy.cfg");
    std::fs::write(&config, text)?;
    let mut command = Command::new(find("haproxy", "haproxy")?);
    command.args(["-db", "-f"]).arg(config);
    Ok(command)
}

fn nginx(folder: &Path, port: u16, origin: SocketAddr, names: usize) -> Result<Command> {
    let mut text = format!(
        "load_module /usr/lib/nginx/modules/ngx_stream_module.so;\ndaemon off;\nworker_processes 1;\npid {0}/pid;\n\
         error_log {0}/error.log;\nevents {{ worker_connections 8192; }}\nstream {{\n  map_hash_max_size 131072;\n  \
         map_hash_bucket_size 128;\n  map $ssl_preread_server_name $to {{\n",
        folder.display()
    );
    for service in 0..names {
        writeln!(text, "    {} {};", hostname(service), remote(service % REMOTES))?;
    }
    text += "  }\n";
    for number in 0..REMOTES {
        writeln!(text, "  upstream {} {{ server {origin}; }}", remote(number))?;
    }
    write!(
        text,
        "  server {{ listen 127.0.0.1:{port}; ssl_preread on; proxy_pass $to; proxy_connect_timeout 2s; }}\n}}\n"
    )?;
    let config = folder.join("nginx.conf");
    std::fs::write(&config, text)?;
    let mut command = Command::new(find("nginx", "nginx and libnginx-mod-stream")?);
    command.arg("-c").arg(config);
    Ok(command)
}
