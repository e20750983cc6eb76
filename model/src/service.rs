//! A remote's Service that its ingress is reached through.

use std::fmt;
use std::net::IpAddr;
use std::num::NonZeroU16;

use serde::{Deserialize, Serialize};

/// Which Service: `NAMESPACE/NAME`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ServiceName {
    /// The namespace.
    pub namespace: String,
    /// The name in it.
    pub name: String,
}

impl ServiceName {
    /// Names a Service.
    pub fn new(namespace: impl Into<String>, name: impl Into<String>) -> Self {
        Self { namespace: namespace.into(), name: name.into() }
    }
}

impl fmt::Display for ServiceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// One Service of a remote, reduced to what decides where it is reached from outside.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Service {
    /// The addresses of its load balancer; text that is no IP address (a host name) is kept, to be reported.
    pub load_balancer: Vec<Result<IpAddr, String>>,
    /// Its TCP ports.
    pub ports: Vec<PortMapping>,
    /// The address families that its NodePorts are open for.
    pub families: Families,
}

/// Address families.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Families {
    /// IPv4.
    pub v4: bool,
    /// IPv6.
    pub v6: bool,
}

impl Default for Families {
    fn default() -> Self {
        Self { v4: true, v6: true }
    }
}

impl Families {
    /// Whether an address is of one of them.
    pub fn include(self, address: IpAddr) -> bool {
        match address.to_canonical() {
            IpAddr::V4(_) => self.v4,
            IpAddr::V6(_) => self.v6,
        }
    }
}

/// A port of a Service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PortMapping {
    /// The port on the load balancer's addresses.
    pub port: NonZeroU16,
    /// The port on every node, if it has one.
    pub node_port: Option<NonZeroU16>,
}

impl Service {
    /// The port with this number.
    pub fn port(&self, number: NonZeroU16) -> Option<PortMapping> {
        self.ports.iter().find(|port| port.port == number).copied()
    }
}
