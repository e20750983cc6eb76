//! `v1` Service, the part that is read.

use serde::Deserialize;

use super::null_is_default;

/// A Service.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Service {
    /// Ports.
    #[serde(deserialize_with = "null_is_default")]
    pub spec: ServiceSpec,
    /// The load balancer.
    #[serde(deserialize_with = "null_is_default")]
    pub status: ServiceStatus,
}

/// `spec`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct ServiceSpec {
    /// `IPv4`, `IPv6` or both.
    #[serde(deserialize_with = "null_is_default")]
    pub ip_families: Vec<String>,
    /// The ports.
    #[serde(deserialize_with = "null_is_default")]
    pub ports: Vec<ServicePort>,
}

/// `spec.ports[]`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct ServicePort {
    /// `TCP` (the default), `UDP` or `SCTP`.
    pub protocol: Option<String>,
    /// The port.
    pub port: Option<i64>,
    /// The port on every node; 0 and none: it has none.
    pub node_port: Option<i64>,
}

/// `status`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct ServiceStatus {
    /// The load balancer.
    #[serde(deserialize_with = "null_is_default")]
    pub load_balancer: LoadBalancerStatus,
}

/// `status.loadBalancer`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct LoadBalancerStatus {
    /// Where it is reached.
    #[serde(deserialize_with = "null_is_default")]
    pub ingress: Vec<LoadBalancerIngress>,
}

/// `status.loadBalancer.ingress[]`: an address or a host name.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct LoadBalancerIngress {
    /// The address.
    #[serde(deserialize_with = "null_is_default")]
    pub ip: String,
    /// The host name.
    #[serde(deserialize_with = "null_is_default")]
    pub hostname: String,
}
