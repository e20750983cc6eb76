//! `v1` Node, the part that is read.

use serde::Deserialize;

use super::{ObjectMeta, null_is_default};

/// A Node.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct Node {
    /// Labels.
    #[serde(deserialize_with = "null_is_default")]
    pub metadata: ObjectMeta,
    /// Taints.
    #[serde(deserialize_with = "null_is_default")]
    pub spec: NodeSpec,
    /// Conditions and addresses.
    #[serde(deserialize_with = "null_is_default")]
    pub status: NodeStatus,
}

/// `spec`. A cordon (`unschedulable: true`) is not read: it comes with a taint that says the same.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct NodeSpec {
    /// What keeps pods away.
    #[serde(deserialize_with = "null_is_default")]
    pub taints: Vec<Taint>,
}

/// `spec.taints[]`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Taint {
    /// Why pods are kept away.
    #[serde(deserialize_with = "null_is_default")]
    pub key: String,
    /// `NoSchedule`, `NoExecute` or `PreferNoSchedule`.
    #[serde(deserialize_with = "null_is_default")]
    pub effect: String,
}

/// `status`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct NodeStatus {
    /// `Ready` and others.
    #[serde(deserialize_with = "null_is_default")]
    pub conditions: Vec<NodeCondition>,
    /// Where the node is reached.
    #[serde(deserialize_with = "null_is_default")]
    pub addresses: Vec<NodeAddress>,
}

/// `status.conditions[]`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct NodeCondition {
    /// The condition's name.
    #[serde(rename = "type", deserialize_with = "null_is_default")]
    pub kind: String,
    /// `True`, `False` or `Unknown`.
    #[serde(deserialize_with = "null_is_default")]
    pub status: String,
}

/// `status.addresses[]`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct NodeAddress {
    /// `InternalIP`, `ExternalIP`, `Hostname`, `InternalDNS` or `ExternalDNS`.
    #[serde(rename = "type", deserialize_with = "null_is_default")]
    pub kind: String,
    /// The address.
    #[serde(deserialize_with = "null_is_default")]
    pub address: String,
}
