//! `connectivity.tanzu.vmware.com/v1alpha1` ServiceRecord.

use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Condition;

/// A name that is imported. Written by xcc; a ServiceRecord of somebody else's is neither read nor changed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, CustomResource, JsonSchema)]
#[kube(
    group = "connectivity.tanzu.vmware.com",
    version = "v1alpha1",
    kind = "ServiceRecord",
    namespaced,
    status = "ServiceRecordStatus",
    derive = "PartialEq",
    doc = "A name that is imported from other clusters: where DNS and the gateway lead to. Written by xcc, for people to read.",
    shortname = "sr",
    printcolumn = r#"{"name": "FQDN", "type": "string", "jsonPath": ".spec.fqdn"}"#,
    printcolumn = r#"{"name": "Port", "type": "integer", "jsonPath": ".spec.port"}"#,
    printcolumn = r#"{"name": "Remotes", "type": "string", "jsonPath": ".spec.remotes"}"#,
    printcolumn = r#"{"name": "Programmed", "type": "string", "jsonPath": ".status.conditions[?(@.type==\"Programmed\")].status"}"#,
    printcolumn = r#"{"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"}"#
)]
#[serde(rename_all = "camelCase")]
pub struct ServiceRecordSpec {
    /// The name; a wildcard begins with `*.`.
    #[schemars(length(min = 1, max = 253))]
    pub fqdn: String,
    /// The port on which clients reach it; the lowest, where the remotes differ.
    #[schemars(with = "i32", range(min = 1, max = 65_535))]
    pub port: u16,
    /// The RemoteClusters that it comes from.
    #[schemars(length(max = 256))]
    pub remotes: Vec<String>,
    /// Where the gateway connects to; not all of them, when there are very many.
    #[schemars(length(max = 64))]
    pub endpoints: Vec<RecordEndpoint>,
}

/// Where a gateway connects to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RecordEndpoint {
    /// An IPv4 or IPv6 address.
    pub address: String,
    /// The port.
    #[schemars(with = "i32", range(min = 1, max = 65_535))]
    pub port: u16,
}

/// What xcc says about an imported name.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ServiceRecordStatus {
    /// Accepted, Programmed and Conflict.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
    /// How many endpoints there are, listed or not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoints: Option<i64>,
    /// The generation of the object that all of this was decided on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
}
