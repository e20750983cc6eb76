//! The crate rust-control-plane as a server of the benchmark's resources, which changes them as lines on its standard
//! input say. Its counterpart is the benchmark's `xds-server`: same resources, same lines.
//!
//! What is published as 0.1.2 speaks the state of the world only. A node has a snapshot of its own, by its id: there is no
//! way to serve all the same, so `--clients N` says for how many of the benchmark's clients snapshots are set.

mod resources;

use std::io::{BufRead, stdin};
use std::net::Ipv4Addr;
use std::sync::Arc;

use data_plane_api::envoy::service::discovery::v3::aggregated_discovery_service_server::AggregatedDiscoveryServiceServer;
use rust_control_plane::cache::Cache;
use rust_control_plane::service::common::Service;
use rust_control_plane::snapshot::type_url::{CLUSTER, ENDPOINT, LISTENER};
use rust_control_plane::snapshot::{Resource, Resources, Snapshot};
use tokio::net::TcpListener;
use tokio::runtime::Handle;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::transport::Server;

use resources::{LISTENER_NAME, REMOTES, World, cluster_name};

type Error = Box<dyn std::error::Error + Send + Sync>;

/// The cache and the snapshot in it. A change makes a snapshot with the resources that did not change in it.
struct Publisher {
    cache: Arc<Cache>,
    clients: usize,
    snapshot: Snapshot,
    version: u64,
}

impl Publisher {
    fn load(&mut self, world: &World) {
        let clusters =
            (0..REMOTES).map(|remote| (cluster_name(remote), Resource::Cluster(world.cluster(remote))));
        let endpoints =
            (0..REMOTES).map(|remote| (cluster_name(remote), Resource::Endpoint(world.endpoint(remote))));
        self.replace(CLUSTER, clusters);
        self.replace(ENDPOINT, endpoints);
        self.listener(world);
    }

    fn replace(&mut self, type_url: &str, items: impl Iterator<Item = (String, Resource)>) {
        self.version += 1;
        let mut resources = Resources::new(self.version.to_string());
        resources.items.extend(items);
        self.snapshot.insert(type_url.to_owned(), resources);
    }

    fn node(&mut self, world: &World, remote: usize) {
        let endpoint = Resource::Endpoint(world.endpoint(remote));
        self.set(ENDPOINT, cluster_name(remote), endpoint);
    }

    fn listener(&mut self, world: &World) {
        let listener = Resource::Listener(world.listener());
        self.set(LISTENER, LISTENER_NAME.to_owned(), listener);
    }

    fn set(&mut self, type_url: &str, name: String, resource: Resource) {
        self.version += 1;
        let empty = || Resources::new(String::new());
        let resources = self.snapshot.resources.entry(type_url.to_owned()).or_insert_with(empty);
        resources.version = self.version.to_string();
        resources.items.insert(name, resource);
    }

    fn publish(&self, runtime: &Handle) {
        runtime.block_on(async {
            for client in 0..self.clients {
                self.cache.set_snapshot(&format!("gateway-{client:06}"), self.snapshot.clone()).await;
            }
        });
    }

    fn obey(&mut self, line: &str, world: &mut World) -> Result<(), Error> {
        let (command, argument) = line.split_once(' ').unwrap_or((line, "0"));
        let argument: usize = argument.parse()?;
        match command {
            "load" => {
                *world = World::new(argument);
                self.load(world);
            }
            "node" => {
                world.change_node(argument % REMOTES);
                self.node(world, argument % REMOTES);
            }
            "add" => {
                world.add();
                self.listener(world);
            }
            "remove" => {
                world.remove();
                self.listener(world);
            }
            "same" => self.load(world),
            _ => return Err(format!("no command {command:?}").into()),
        }
        Ok(())
    }
}

fn clients() -> Result<usize, Error> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.as_slice() {
        [] => Ok(1),
        [flag, count] if flag == "--clients" => Ok(count.parse()?),
        _ => Err("usage: rust-control-plane [--clients N]".into()),
    }
}

#[tokio::main(worker_threads = 2)]
async fn main() -> Result<(), Error> {
    // With its check of consistency (`true`) a client that asks for all is never answered.
    let cache = Arc::new(Cache::new(false));
    let mut publisher =
        Publisher { cache: Arc::clone(&cache), clients: clients()?, snapshot: Snapshot::new(), version: 0 };
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    println!("listening {}", listener.local_addr()?.port());
    let service = AggregatedDiscoveryServiceServer::new(Service::new(cache));
    tokio::spawn(
        Server::builder().add_service(service).serve_with_incoming(TcpListenerStream::new(listener)),
    );
    let runtime = Handle::current();
    tokio::task::spawn_blocking(move || {
        let mut world = World::new(0);
        for line in stdin().lock().lines() {
            publisher.obey(&line?, &mut world)?;
            publisher.publish(&runtime);
            println!("ok");
        }
        Ok(())
    })
    .await?
}
