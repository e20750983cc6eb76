//! `connectivity.tanzu.vmware.com/v1alpha1` RemoteCluster, the part that is read.

use serde::Deserialize;

use super::null_is_default;

/// A RemoteCluster: what the importing side says about a remote.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct RemoteCluster {
    /// The settings.
    #[serde(deserialize_with = "null_is_default")]
    pub spec: RemoteClusterSpec,
}

/// `spec`. Numbers are wider here than they may be, so that one out of range is reported with its field.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct RemoteClusterSpec {
    /// What the remote may export; empty: every served zone.
    #[serde(deserialize_with = "null_is_default")]
    pub allowed_domains: Vec<String>,
    /// Networks that may be proxied to; empty: all unicast addresses but the dangerous ones.
    #[serde(rename = "allowedEndpointCIDRs", deserialize_with = "null_is_default")]
    pub allowed_endpoint_cidrs: Vec<String>,
    /// Where the remote's ingress listens.
    #[serde(deserialize_with = "null_is_default")]
    pub ingress: IngressSpec,
    /// Lower is preferred where several remotes export a name; none: 0.
    pub priority: Option<i64>,
}

/// `spec.ingress`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct IngressSpec {
    /// The port on the nodes; none: 443.
    pub port: Option<i64>,
    /// `Nodes` or `Service`; none: `Nodes`.
    pub source: Option<String>,
    /// `InternalIP` or `ExternalIP`, the first that a node has; none: `InternalIP`.
    pub address_types: Option<Vec<String>>,
    /// With source Service: `NAMESPACE/NAME`.
    pub service: Option<String>,
}
