//! Everything together: two remotes, xcc, a gateway, and a client that stands where a pod would.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use hickory_proto::op::ResponseCode;

use crate::certificates::Authority;
use crate::client::{Client, HTTPS_PORT, gateway_socket};
use crate::envoy::Envoy;
use crate::loopback::Loopback;
use crate::remote::{Remote, RemoteAddresses};
use crate::resolver::{Resolution, Resolver};
use crate::scratch::Scratch;
use crate::wait;
use crate::xcc::{PORT_OFFSET, Settings, Xcc};

/// The node id of the first gateway.
pub const GATEWAY: &str = "gateway-0";

/// How many nodes a remote has.
const NODES: u8 = 2;

/// The last numbers of the loopback addresses, and the ports on them.
mod place {
    pub(super) const REMOTES: [u8; 2] = [1, 11];
    pub(super) const GATEWAY: u8 = 100;
    pub(super) const XCC: u8 = 101;
    pub(super) const SERVICES: u8 = 102;
    pub(super) const INGRESS_PORT: u16 = 8443;
    pub(super) const ENVOY_ADMIN_PORT: u16 = 9901;
    pub(super) const XDS_PORT: u16 = 18000;
    pub(super) const DNS_PORT: u16 = 8053;
    pub(super) const ADMIN_PORT: u16 = 9080;
}

/// What differs between one world and another.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The gateway's Envoy release.
    pub envoy: String,
    /// The server names of the services of the remote `east`.
    pub east: Vec<&'static str>,
    /// The server names of the services of the remote `west`.
    pub west: Vec<&'static str>,
    /// The TTL of DNS answers.
    pub dns_ttl_seconds: u32,
    /// How long the gateway keeps a withdrawn name.
    pub withdraw_delay: Duration,
    /// Whether `east` has its nodes on `[::1]` instead.
    pub east_on_ipv6: bool,
    /// Whether DNS is served on `[::1]` instead.
    pub dns_on_ipv6: bool,
}

impl Plan {
    /// Two remotes with a name each and one that both have.
    pub fn new(envoy: &str) -> Self {
        Self {
            envoy: envoy.to_owned(),
            east: vec!["nginx.xcc.test", "east.xcc.test", "*.team.xcc.test"],
            west: vec!["nginx.xcc.test", "west.xcc.test", "*.deep.team.xcc.test"],
            dns_ttl_seconds: 30,
            withdraw_delay: Duration::ZERO,
            east_on_ipv6: false,
            dns_on_ipv6: false,
        }
    }
}

/// The parts. Whatever is dropped is stopped, the gateway first.
pub struct World {
    /// The gateway's Envoy. Not there until it is started.
    pub gateway: Option<Envoy>,
    /// The control plane.
    pub xcc: Xcc,
    /// A remote.
    pub east: Remote,
    /// Another remote.
    pub west: Remote,
    /// An HTTPS client in the importing cluster.
    pub client: Client,
    /// A DNS client in the importing cluster.
    pub resolver: Arc<Resolver>,
    /// The authority of the services' certificates.
    pub authority: Authority,
    /// Where manifests and logs are.
    pub scratch: Arc<Scratch>,
    loopback: Loopback,
    envoy: String,
}

impl World {
    /// Starts everything but the gateway. Nothing is exported yet.
    ///
    /// # Errors
    /// When something does not come up.
    pub async fn without_gateway(name: &str, plan: &Plan) -> Result<Self> {
        let scratch = Arc::new(Scratch::new(name)?);
        keeping(&scratch.clone(), Self::build(scratch, plan).await)
    }

    /// Starts everything and waits until the gateway is connected.
    ///
    /// # Errors
    /// When something does not come up.
    pub async fn start(name: &str, plan: &Plan) -> Result<Self> {
        let mut world = Self::without_gateway(name, plan).await?;
        let started = world.start_gateway().await;
        keeping(&world.scratch, started)?;
        Ok(world)
    }

    /// Runs a test in a world with a gateway: when the test fails its logs are kept; when it does not, the gateway
    /// must never have been sent what it could not use, and everything must end when asked to.
    ///
    /// # Panics
    /// When the test fails.
    #[expect(clippy::panic, reason = "this is how a test fails")]
    pub async fn test(name: &str, plan: &Plan, test: impl AsyncFnOnce(&mut Self) -> Result<()>) {
        let result = async {
            let mut world = Self::start(name, plan).await?;
            let result = test(&mut world).await;
            keeping(&world.scratch, result)?;
            let end = world.check_clean_and_stop().await;
            keeping(&world.scratch, end)
        };
        if let Err(error) = result.await {
            panic!("{error:#}");
        }
    }

    async fn check_clean_and_stop(&mut self) -> Result<()> {
        self.xcc.process().check_running()?;
        self.gateway()?.check_clean().await?;
        self.stop().await
    }

    async fn build(scratch: Arc<Scratch>, plan: &Plan) -> Result<Self> {
        let loopback = Loopback::reserve()?;
        let authority = Authority::new()?;
        let mut east_addresses = remote_addresses(&loopback, 0)?;
        if plan.east_on_ipv6 {
            east_addresses.nodes = vec![IpAddr::V6(std::net::Ipv6Addr::LOCALHOST)];
            east_addresses.spare_nodes.clear();
            east_addresses.ingress_port = loopback.ipv6_port();
        }
        let mut east = Remote::start("east", east_addresses, &plan.east, &authority, &scratch).await?;
        let west_addresses = remote_addresses(&loopback, 1)?;
        let mut west = Remote::start("west", west_addresses, &plan.west, &authority, &scratch).await?;

        let dns = match plan.dns_on_ipv6 {
            false => loopback.socket(place::XCC, place::DNS_PORT)?,
            true => (std::net::Ipv6Addr::LOCALHOST, loopback.ipv6_dns_port()).into(),
        };
        let gateway_address = IpAddr::V4(loopback.address(place::GATEWAY));
        let settings = Settings {
            remotes: [&east, &west]
                .map(|remote| (remote.name().to_owned(), remote.directory().to_owned()))
                .into(),
            gateway_addresses: vec![gateway_address],
            gateway_bind: gateway_address,
            xds: loopback.socket(place::XCC, place::XDS_PORT)?,
            dns,
            admin: loopback.socket(place::XCC, place::ADMIN_PORT)?,
            dns_ttl_seconds: plan.dns_ttl_seconds,
            withdraw_delay: plan.withdraw_delay,
        };
        let resolver = Arc::new(Resolver::new(settings.dns));
        let client = Client::new(resolver.clone(), &authority, PORT_OFFSET)?;
        let mut xcc = Xcc::spawn(settings, &scratch.folder("logs")?)?;
        xcc.wait_live().await?;
        east.wait_live().await?;
        west.wait_live().await?;
        let envoy = plan.envoy.clone();
        Ok(Self { gateway: None, xcc, east, west, client, resolver, authority, scratch, loopback, envoy })
    }

    /// Starts the gateway with the bootstrap that xcc prints, and waits until it is configured and xcc ready.
    ///
    /// # Errors
    /// When it does not come up.
    pub async fn start_gateway(&mut self) -> Result<()> {
        self.gateway = Some(self.another_gateway(GATEWAY).await?);
        self.xcc.wait_ready().await
    }

    /// Starts one more gateway and waits until it is configured. It binds the same address as the first, and the
    /// kernel shares out the connections: it is there to acknowledge, or not to.
    ///
    /// # Errors
    /// When it does not come up.
    pub async fn another_gateway(&self, node_id: &str) -> Result<Envoy> {
        let mut gateway = self.spawn_gateway(node_id)?;
        gateway.wait_live().await?;
        Ok(gateway)
    }

    /// Starts a gateway and does not wait.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn spawn_gateway(&self, node_id: &str) -> Result<Envoy> {
        let admin = self.loopback.socket(place::GATEWAY, place::ENVOY_ADMIN_PORT)?;
        let bootstrap = self.xcc.bootstrap(node_id, admin)?;
        Envoy::spawn(&self.envoy, node_id, &bootstrap, admin, &self.scratch.folder("logs")?)
    }

    /// Asks everything to end with SIGTERM, xcc and the gateway first, and checks that it did.
    ///
    /// # Errors
    /// When something does not end, or xcc not with exit status 0.
    pub async fn stop(&mut self) -> Result<()> {
        let status = self.xcc.process().terminate(wait::PATIENCE).await?;
        anyhow::ensure!(status.success(), "xcc ended with {status} after SIGTERM");
        let ingresses = [self.east.ingress(), self.west.ingress()];
        for envoy in ingresses.into_iter().chain(self.gateway.as_mut()) {
            envoy.process().terminate(wait::PATIENCE).await?;
        }
        Ok(())
    }

    /// The gateway.
    ///
    /// # Errors
    /// When it was not started.
    pub fn gateway(&self) -> Result<&Envoy> {
        self.gateway.as_ref().ok_or_else(|| anyhow::anyhow!("the gateway was not started"))
    }

    /// Where the gateway takes HTTPS connections.
    pub fn gateway_https(&self) -> SocketAddr {
        gateway_socket(self.xcc.settings().gateway_bind, HTTPS_PORT, PORT_OFFSET)
    }

    /// Another free address and port of this world.
    ///
    /// # Errors
    /// When none is free.
    pub fn spare_socket(&self, preferred_port: u16) -> Result<SocketAddr> {
        self.loopback.socket(place::SERVICES, preferred_port)
    }

    /// The folder of the logs.
    pub fn logs(&self) -> PathBuf {
        self.scratch.path().join("logs")
    }

    /// Waits until a name resolves to the gateway.
    ///
    /// # Errors
    /// When it does not.
    pub async fn wait_resolvable(&self, host: &str) -> Result<()> {
        let want = Resolution::Addresses(self.xcc.settings().gateway_addresses.clone());
        self.wait_resolution(host, &want).await
    }

    /// Waits until a name does not exist.
    ///
    /// # Errors
    /// When it still does.
    pub async fn wait_gone(&self, host: &str) -> Result<()> {
        self.wait_resolution(host, &Resolution::Failure(ResponseCode::NXDomain)).await
    }

    async fn wait_resolution(&self, host: &str, want: &Resolution) -> Result<()> {
        wait::until(&format!("{host} is answered with {want:?}"), async || {
            let is = self.resolver.resolve(host).await?;
            anyhow::ensure!(is == *want, "it is {is:?}");
            Ok(Some(()))
        })
        .await
    }
}

/// On an error, leaves the files and says where they are.
fn keeping<T>(scratch: &Scratch, result: Result<T>) -> Result<T> {
    result.map_err(|error| {
        scratch.keep();
        error.context(format!("manifests and logs are kept in {}", scratch.path().display()))
    })
}

fn remote_addresses(loopback: &Loopback, remote: usize) -> Result<RemoteAddresses> {
    let first = place::REMOTES[remote];
    Ok(RemoteAddresses {
        nodes: (first..first + NODES).map(|host| IpAddr::V4(loopback.address(host))).collect(),
        spare_nodes: vec![IpAddr::V4(loopback.address(first + NODES))],
        ingress_port: loopback.socket(first, place::INGRESS_PORT)?.port(),
        services: loopback.address(place::SERVICES),
        ingress_admin: loopback.socket(first, place::ENVOY_ADMIN_PORT)?,
    })
}
