//! A remote: a Kubernetes cluster that exports to us, and what its RemoteCluster says about it.

use std::fmt;
use std::num::NonZeroU16;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::address::EndpointPolicy;
use crate::domains::AllowedDomains;
use crate::node::AddressType;
use crate::service::ServiceName;

/// Longest name of a Kubernetes object (RFC 1123 subdomain).
const NAME_LENGTH_MAX: usize = 253;

/// The name of a remote: what `--remote` or the RemoteCluster calls it. An RFC 1123 subdomain, as Kubernetes object
/// names are, so it has neither `+` nor `/` and can be part of Envoy's resource names.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String")]
pub struct RemoteName(Arc<str>);

/// A string that is no [`RemoteName`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "remote name {0:?}: use lower-case letters, digits, '-' and '.', starting and ending with a letter or digit"
)]
pub struct RemoteNameError(String);

impl RemoteName {
    /// Checks the name.
    pub fn parse(text: &str) -> Result<Self, RemoteNameError> {
        let edges = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
        let fits = text.len() <= NAME_LENGTH_MAX
            && text.bytes().all(|byte| edges(&byte) || byte == b'-' || byte == b'.')
            && text.split('.').all(|label| {
                label.as_bytes().first().is_some_and(edges) && label.as_bytes().last().is_some_and(edges)
            });
        if fits { Ok(Self(text.into())) } else { Err(RemoteNameError(text.to_owned())) }
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for RemoteName {
    type Error = RemoteNameError;

    fn try_from(text: String) -> Result<Self, RemoteNameError> {
        Self::parse(&text)
    }
}

impl fmt::Display for RemoteName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for RemoteName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.0, f)
    }
}

/// What a RemoteCluster's `spec` says about a remote, checked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RemoteSettings {
    /// What the remote may export.
    pub allowed_domains: AllowedDomains,
    /// Where the gateway may connect to for it.
    pub endpoint_policy: EndpointPolicy,
    /// Where its ingress listens.
    pub ingress: Ingress,
    /// Lower is preferred where several remotes export a name.
    pub priority: u32,
}

/// Where a remote's ingress listens.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Ingress {
    /// The port: on the nodes, or that of the Service.
    pub port: NonZeroU16,
    /// Where its addresses come from.
    #[serde(default)]
    pub source: IngressSource,
    /// Which address of a node is used: the first of these types that the node has.
    pub address_types: Vec<AddressType>,
}

/// Where the addresses of a remote's ingress come from.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum IngressSource {
    /// The eligible Nodes.
    #[default]
    Nodes,
    /// A Service: its load balancer's addresses, or its NodePort on the eligible Nodes where it has none.
    Service(ServiceName),
}

impl Ingress {
    /// Contour's host port for TLS.
    pub const DEFAULT_PORT: NonZeroU16 = NonZeroU16::new(443).unwrap();
}

impl Default for Ingress {
    fn default() -> Self {
        Self {
            port: Self::DEFAULT_PORT,
            source: IngressSource::Nodes,
            address_types: vec![AddressType::InternalIP],
        }
    }
}

impl Default for RemoteSettings {
    /// The settings of a remote that has no RemoteCluster: what the CRD's own defaults say.
    fn default() -> Self {
        Self {
            allowed_domains: AllowedDomains::default(),
            endpoint_policy: EndpointPolicy::default(),
            ingress: Ingress::default(),
            priority: 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn remote_names_are_kubernetes_object_names() {
        for name in ["east", "shared-services", "a.b-c", "1"] {
            assert!(RemoteName::parse(name).is_ok(), "{name}");
        }
        for name in ["", "East", "a+b", "a/b", "-a", "a-", "a..b", ".a", "ä", &"a".repeat(254)] {
            assert!(RemoteName::parse(name).is_err(), "{name}");
        }
    }
}
