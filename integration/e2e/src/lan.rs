//! The link that the nodes of all clusters share: a bridge in a namespace of its own.
//!
//! The root namespace gets no address of it. The bridge has one, as the nodes' default router and resolver: it
//! forwards nowhere and resolves nothing, which is how the outside world looks from here.

use std::net::{Ipv4Addr, Ipv6Addr};

use anyhow::Result;

use crate::layout;
use crate::netns::Namespace;
use crate::process::Daemon;

/// The prefix length of the nodes' IPv4 network.
pub const V4_LENGTH: u8 = 24;
/// The prefix length of the nodes' IPv6 network.
pub const V6_LENGTH: u8 = 64;

/// The bridge's own addresses: the nodes' default router and resolver.
pub const ROUTER_V4: Ipv4Addr = Ipv4Addr::new(172, 30, 0, 1);
/// The router's IPv6 address.
pub const ROUTER_V6: Ipv6Addr = Ipv6Addr::new(0xfd00, 0x30, 0, 0, 0, 0, 0, 1);

/// The addresses of one node, by its number on the link.
pub fn node_addresses(number: u8) -> (Ipv4Addr, Ipv6Addr) {
    (Ipv4Addr::new(172, 30, 0, number), Ipv6Addr::new(0xfd00, 0x30, 0, 0, 0, 0, 0, u16::from(number)))
}

/// What the nodes' upstream resolver answers: no such name, as the internet would for names that only xcc knows.
const COREFILE: &str =
    ".:53 {\n    bind 172.30.0.1 fd00:30::1\n    template ANY ANY {\n        rcode NXDOMAIN\n    }\n}\n";

/// Forwarding, so that what goes nowhere is told so at once (an ICMP error from the unreachable route).
const SYSCTLS: [(&str, &str); 4] = [
    ("net/ipv4/ip_forward", "1"),
    ("net/ipv6/conf/all/forwarding", "1"),
    ("net/ipv6/conf/all/accept_dad", "0"),
    ("net/ipv6/conf/default/accept_dad", "0"),
];

/// The link.
#[derive(Debug)]
pub struct Lan {
    namespace: Namespace,
    _resolver: Daemon,
}

impl Lan {
    /// Makes the bridge and starts the resolver on it.
    ///
    /// # Errors
    /// When one of the parts cannot be had.
    pub async fn create() -> Result<Self> {
        let namespace = Namespace::create("lan", &SYSCTLS).await?;
        namespace
            .ip(&format!(
                "link add br0 type bridge\n\
                 link set br0 up\n\
                 addr add {ROUTER_V4}/{V4_LENGTH} dev br0\n\
                 addr add {ROUTER_V6}/{V6_LENGTH} dev br0 nodad\n\
                 route add unreachable default\n\
                 route add unreachable ::/0"
            ))
            .await?;
        let corefile = layout::run().join("lan.Corefile");
        std::fs::write(&corefile, COREFILE)?;
        let binary = layout::binary("coredns")?;
        let argv = [binary.as_os_str(), "-conf".as_ref(), corefile.as_os_str()];
        let resolver =
            Daemon::start("the link's resolver", &namespace, argv, &layout::logs().join("lan-resolver.log"))?;
        Ok(Self { namespace, _resolver: resolver })
    }

    /// The namespace of the bridge.
    pub fn namespace(&self) -> &Namespace {
        &self.namespace
    }

    /// Connects a node's namespace: `eth0` there, a port of the bridge here.
    ///
    /// # Errors
    /// When there is a port of that name.
    pub async fn connect(&self, node: &Namespace, port: &str) -> Result<()> {
        self.namespace
            .ip(&format!(
                "link add {port} type veth peer name eth0 netns {}\nlink set {port} master br0\nlink set {port} up",
                node.name()
            ))
            .await
    }

    /// Takes a node's port down or up again: a partition, silent as a pulled cable.
    ///
    /// # Errors
    /// When there is no such port.
    pub async fn set_port(&self, port: &str, up: bool) -> Result<()> {
        self.namespace.ip(&format!("link set {port} {}", if up { "up" } else { "down" })).await
    }

    /// Takes a node's port away.
    ///
    /// # Errors
    /// When there is no such port.
    pub async fn disconnect(&self, port: &str) -> Result<()> {
        self.namespace.ip(&format!("link delete {port}")).await
    }
}
