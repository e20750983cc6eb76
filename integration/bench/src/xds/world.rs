//! The resources of the benchmark as ours are made: a table of services in ten remotes, translated.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result};
use xcc_envoy::{GatewayConfig, MatcherForm, Routing, Upstream};
use xcc_model::{Backend, Hostname, RemoteName, RemoteSet, Route, ServiceImport, ServicePort, ServiceTable};
use xcc_xds::{Resource, Snapshot, TypeUrl};

/// Remote clusters.
pub const REMOTES: usize = 10;
/// Nodes of each.
pub const NODES: usize = 5;
/// The port that all services are reached at.
pub const PORT: u16 = 443;

/// The services and nodes, and what the gateways are configured with.
pub struct World {
    table: ServiceTable,
    config: GatewayConfig,
    /// The remotes, each as the set that its names share.
    remotes: Vec<RemoteSet>,
    routing: Routing,
    services: usize,
    changes: u32,
}

/// The name of a service; it lies in a remote by its number.
pub fn hostname(service: usize) -> String {
    format!("service-{service:06}.r{}.xcc.test", service % REMOTES)
}

/// The name of a remote.
pub fn remote(number: usize) -> String {
    format!("r{number}")
}

/// The address of a node that has not changed.
pub fn address(remote: usize, node: usize) -> Ipv4Addr {
    Ipv4Addr::new(10, octet(remote % 100), octet(remote / 100), octet(node + 1))
}

/// The address that the first node of a remote has after so many changes.
pub fn changed_address(remote: usize, changes: u32) -> Ipv4Addr {
    let [.., high, low] = changes.to_be_bytes();
    Ipv4Addr::new(10, 100 + octet(remote % 100), high, low)
}

fn octet(number: usize) -> u8 {
    u8::try_from(number).unwrap_or(u8::MAX)
}

impl World {
    /// So many services, spread over the remotes.
    pub fn new(services: usize) -> Result<Self> {
        Self::with_remotes(services, REMOTES)
    }

    /// So many services, each in a remote of its own: each has a cluster and endpoints.
    pub fn each(services: usize) -> Result<Self> {
        Self::with_remotes(services, services)
    }

    fn with_remotes(services: usize, remotes: usize) -> Result<Self> {
        let config = GatewayConfig::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);
        let sets = (0..remotes).map(remote_set).collect::<Result<_>>()?;
        let (table, routing) = (ServiceTable::default(), Routing::default());
        let mut world = Self { table, config, remotes: sets, routing, services: 0, changes: 0 };
        for number in 0..remotes {
            let endpoints: BTreeSet<_> =
                (0..NODES).map(|node| SocketAddr::from((address(number, node), PORT))).collect();
            world.table.backends.insert(remote_name(number)?, Backend { priority: 0, endpoints });
        }
        for _ in 0..services {
            world.add()?;
        }
        Ok(world)
    }

    /// Where listeners are bound: Envoys on loopback cannot have the real port.
    pub fn set_port_offset(&mut self, offset: u16) {
        self.config = GatewayConfig::new(IpAddr::V4(Ipv4Addr::LOCALHOST), offset);
    }

    /// Leads all services to one address.
    pub fn lead_to(&mut self, origin: SocketAddr) {
        for backend in self.table.backends.values_mut() {
            backend.endpoints = BTreeSet::from([origin]);
        }
    }

    /// Writes all resources into a folder, a file for each: its type, its name and the message, parted by line ends.
    pub fn write(&mut self, folder: &Path) -> Result<()> {
        let snapshot = self.snapshot()?;
        let resources = snapshot.types().flat_map(|type_url| snapshot.resources(type_url));
        for (number, resource) in resources.enumerate() {
            let mut content = format!("{}\n{}\n", resource.type_url(), resource.name()).into_bytes();
            content.extend_from_slice(&resource.value());
            std::fs::write(folder.join(number.to_string()), content)?;
        }
        Ok(())
    }

    /// Envoy's resources as messages.
    pub fn resources(&self) -> xcc_envoy::Resources {
        xcc_envoy::translate(&self.table, &self.config, MatcherForm::ServerNames)
    }

    /// One service more.
    pub fn add(&mut self) -> Result<()> {
        let remotes = self.remotes[self.services % self.remotes.len()].clone();
        let port = ServicePort::new(PORT).context("the port is one")?;
        let import = ServiceImport { routes: vec![Route { port, remotes }], origins: vec![] };
        self.table.imports.insert(Hostname::parse(&hostname(self.services))?, import);
        self.services += 1;
        Ok(())
    }

    /// One service less.
    pub fn remove(&mut self) -> Result<()> {
        self.services = self.services.checked_sub(1).context("there is no service to remove")?;
        self.table.imports.remove(&Hostname::parse(&hostname(self.services))?);
        Ok(())
    }

    /// Gives a node of a remote an address that it has not had, and returns the resources that this changes.
    pub fn change_node(&mut self, number: usize) -> Result<Vec<Resource>> {
        self.changes += 1;
        let remote = number % self.remotes.len();
        let name = remote_name(remote)?;
        let changed = SocketAddr::from((changed_address(remote, self.changes), PORT));
        let backend = self.table.backends.get_mut(&name).context("the remote is there")?;
        backend.endpoints.pop_last();
        backend.endpoints.insert(changed);
        let remotes = self.remotes[remote].clone();
        let upstream = Upstream { remotes, port: ServicePort::new(PORT).context("the port is one")? };
        let endpoint = xcc_envoy::endpoint(&upstream, &self.table.backends);
        Ok(vec![Resource::from_message(&*endpoint.cluster_name, &endpoint)])
    }

    /// The listeners of all services.
    pub fn listeners(&mut self) -> Vec<Resource> {
        self.routing.update(&self.table);
        let listeners = self.routing.listeners(&self.config, MatcherForm::ServerNames);
        listeners.iter().map(|listener| Resource::from_message(&*listener.name, listener)).collect()
    }

    /// Everything.
    pub fn snapshot(&mut self) -> Result<Snapshot> {
        let mut builder = Snapshot::builder();
        for cluster in xcc_envoy::clusters(&self.table, &self.config) {
            builder.insert(Resource::from_message(&*cluster.name, &cluster));
        }
        for endpoint in xcc_envoy::endpoints(&self.table) {
            builder.insert(Resource::from_message(&*endpoint.cluster_name, &endpoint));
        }
        for listener in self.listeners() {
            builder.insert(Arc::new(listener));
        }
        Ok(builder.build()?)
    }
}

/// The resources that [`World::write`] wrote.
pub fn read(folder: &Path) -> Result<Snapshot> {
    let mut builder = Snapshot::builder();
    for entry in std::fs::read_dir(folder)? {
        let content = std::fs::read(entry?.path())?;
        let mut parts = content.splitn(3, |octet| *octet == b'\n');
        let mut next = || parts.next().context("a part is missing");
        let type_url = TypeUrl::from(std::str::from_utf8(next()?)?);
        let name = std::str::from_utf8(next()?)?;
        builder.insert(Resource::from_encoded(type_url, name, next()?.to_vec().into()));
    }
    Ok(builder.build()?)
}

fn remote_set(number: usize) -> Result<RemoteSet> {
    RemoteSet::new([remote_name(number)?]).context("a set has a remote")
}

fn remote_name(number: usize) -> Result<RemoteName> {
    Ok(RemoteName::parse(&remote(number))?)
}
