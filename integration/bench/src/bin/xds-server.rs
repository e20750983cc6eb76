//! xcc-xds as a server of the benchmark's resources, which changes them as lines on its standard input say.
//!
//! One thread, which reads the lines too, as `xcc serve` has its streams and its watches on the threads of one runtime.

use std::net::Ipv4Addr;
use std::os::fd::AsFd;
use std::path::Path;

use anyhow::{Context, Result, bail};
use clap::Parser;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::net::TcpListener;
use tokio::net::unix::pipe;
use tokio_stream::wrappers::TcpListenerStream;
use tokio_util::sync::CancellationToken;
use xcc_bench::xds::server;
use xcc_bench::xds::world::{self, World};
use xcc_xds::{Resource, ServerConfig, Snapshot, SnapshotStore, XdsServer};

#[derive(Parser)]
struct Arguments {
    /// Added to the listeners' port: Envoys on loopback cannot have the real one.
    #[arg(long, default_value_t = 0)]
    port_offset: u16,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let arguments = Arguments::parse();
    server::raise_file_limit()?;
    let store = SnapshotStore::new();
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    tell(&format!("listening {}", listener.local_addr()?.port()));
    let server = XdsServer::new(store.clone(), ServerConfig::default());
    tokio::spawn(server.serve(TcpListenerStream::new(listener), CancellationToken::new()));
    obey_lines(&store, arguments.port_offset).await
}

#[expect(clippy::print_stdout, reason = "a program that is spoken with")]
fn tell(line: &str) {
    println!("{line}");
}

async fn obey_lines(store: &SnapshotStore, port_offset: u16) -> Result<()> {
    let mut world = World::new(0)?;
    let input = std::io::stdin().as_fd().try_clone_to_owned()?;
    let mut lines = BufReader::new(pipe::Receiver::from_owned_fd(input)?).lines();
    while let Some(line) = lines.next_line().await? {
        obey(&line, store, &mut world, port_offset)?;
        tell("ok");
    }
    Ok(())
}

fn obey(line: &str, store: &SnapshotStore, world: &mut World, port_offset: u16) -> Result<()> {
    let (command, argument) = line.split_once(' ').unwrap_or((line, "0"));
    if command == "files" {
        store.publish(world::read(Path::new(argument))?);
        return Ok(());
    }
    let argument: usize = argument.parse()?;
    match command {
        "load" | "each" => {
            *world = if command == "each" { World::each(argument)? } else { World::new(argument)? };
            world.set_port_offset(port_offset);
            store.publish(world.snapshot()?);
        }
        "node" => change(store, world.change_node(argument)?)?,
        "add" => {
            world.add()?;
            change(store, world.listeners())?;
        }
        "remove" => {
            world.remove()?;
            change(store, world.listeners())?;
        }
        "same" => drop(store.publish(world.snapshot()?)),
        _ => bail!("no command {command:?}"),
    }
    Ok(())
}

fn change(store: &SnapshotStore, resources: Vec<Resource>) -> Result<()> {
    let snapshot = store.load().context("nothing is loaded yet")?;
    let changed: Snapshot = snapshot.with_changes(|change| {
        for resource in resources {
            change.insert(resource);
        }
    })?;
    store.publish(changed);
    Ok(())
}
