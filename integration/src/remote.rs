//! A remote: a directory of manifests for xcc to watch, and the data path that the manifests tell of: TLS servers
//! behind an ingress that listens on every node's address.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::certificates::Authority;
use crate::envoy::Envoy;
use crate::ingress::{self, SniRoute};
use crate::manifests;
use crate::origin::Origin;
use crate::scratch::Scratch;

/// Where a remote's parts listen.
#[derive(Debug, Clone)]
pub struct RemoteAddresses {
    /// The nodes.
    pub nodes: Vec<IpAddr>,
    /// Addresses that the ingress listens on too, for nodes that come later.
    pub spare_nodes: Vec<IpAddr>,
    /// The port of the ingress on each of them.
    pub ingress_port: u16,
    /// The address of the TLS servers, each on a port of its own.
    pub services: Ipv4Addr,
    /// The admin endpoint of the ingress.
    pub ingress_admin: SocketAddr,
}

/// A remote with its services, stopped when dropped.
#[derive(Debug)]
pub struct Remote {
    name: String,
    directory: PathBuf,
    addresses: RemoteAddresses,
    ingress: Envoy,
    _services: Vec<Origin>,
}

impl Remote {
    /// Starts TLS servers, one for each of the server names, and the ingress before them, and writes the manifests
    /// of the nodes. Nothing is exported yet.
    ///
    /// # Errors
    /// When something cannot be started.
    pub async fn start(
        name: &str,
        addresses: RemoteAddresses,
        server_names: &[&str],
        authority: &Authority,
        scratch: &Scratch,
    ) -> Result<Self> {
        let directory = scratch.folder(&format!("manifests/{name}"))?;
        let logs = scratch.folder("logs")?;
        let mut services = Vec::new();
        let mut routes: Vec<SniRoute> = Vec::new();
        for server_name in server_names {
            let tls = authority.server(&[server_name])?;
            let service = Origin::start(name, addresses.services, tls).await?;
            routes.push(((*server_name).to_owned(), service.address()));
            services.push(service);
        }
        let ingress = ingress::start(
            &format!("ingress-{name}"),
            &[addresses.nodes.clone(), addresses.spare_nodes.clone()].concat(),
            addresses.ingress_port,
            &routes,
            addresses.ingress_admin,
            &logs,
        )?;
        let remote = Self { name: name.to_owned(), directory, addresses, ingress, _services: services };
        remote
            .apply("remote-cluster.yaml", &manifests::remote_cluster(name, remote.addresses.ingress_port))?;
        for (index, address) in remote.addresses.nodes.iter().enumerate() {
            remote.set_node(index, *address, true)?;
        }
        Ok(remote)
    }

    /// Waits until the ingress listens.
    ///
    /// # Errors
    /// When it does not come up.
    pub async fn wait_live(&mut self) -> Result<()> {
        self.ingress.wait_live().await
    }

    /// The remote's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The directory of its manifests.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Where its parts listen.
    pub fn addresses(&self) -> &RemoteAddresses {
        &self.addresses
    }

    /// Its ingress.
    pub fn ingress(&mut self) -> &mut Envoy {
        &mut self.ingress
    }

    /// Writes a manifest as a whole: to a hidden file that is then renamed into place.
    ///
    /// # Errors
    /// When the directory cannot be written to.
    pub fn apply(&self, file: &str, manifest: &str) -> Result<()> {
        let hidden = self.directory.join(format!(".{file}.new"));
        std::fs::write(&hidden, manifest).with_context(|| format!("cannot write {}", hidden.display()))?;
        let path = self.directory.join(file);
        std::fs::rename(&hidden, &path).with_context(|| format!("cannot write {}", path.display()))
    }

    /// Removes a manifest.
    ///
    /// # Errors
    /// When it is not there.
    pub fn delete(&self, file: &str) -> Result<()> {
        let path = self.directory.join(file);
        std::fs::remove_file(&path).with_context(|| format!("cannot remove {}", path.display()))
    }

    /// Writes the manifest of a node.
    ///
    /// # Errors
    /// When the directory cannot be written to.
    pub fn set_node(&self, index: usize, address: IpAddr, ready: bool) -> Result<()> {
        let name = format!("{}-node-{index}", self.name);
        self.apply(&format!("{name}.yaml"), &manifests::node(&name, address, ready))
    }

    /// Removes the manifest of a node.
    ///
    /// # Errors
    /// When it is not there.
    pub fn delete_node(&self, index: usize) -> Result<()> {
        self.delete(&format!("{}-node-{index}.yaml", self.name))
    }

    /// Exports a name with a manifest of its own.
    ///
    /// # Errors
    /// When the directory cannot be written to.
    pub fn export(&self, name: &str, fqdn: &str) -> Result<()> {
        self.apply(&format!("{name}.yaml"), &manifests::HttpProxy::exported(name, fqdn).manifest())
    }
}
