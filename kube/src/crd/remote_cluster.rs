//! `connectivity.tanzu.vmware.com/v1alpha1` RemoteCluster.

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Condition;

/// A Kubernetes cluster to import services from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, CustomResource, KubeSchema)]
#[kube(
    group = "connectivity.tanzu.vmware.com",
    version = "v1alpha1",
    kind = "RemoteCluster",
    namespaced,
    status = "RemoteClusterStatus",
    derive = "PartialEq",
    doc = "A Kubernetes cluster to import services from: its HTTPProxies with the label connectivity.tanzu.vmware.com/export.",
    printcolumn = r#"{"name": "Ready", "type": "string", "jsonPath": ".status.conditions[?(@.type==\"Ready\")].status"}"#,
    printcolumn = r#"{"name": "Exports", "type": "integer", "jsonPath": ".status.exports"}"#,
    printcolumn = r#"{"name": "Last sync", "type": "date", "jsonPath": ".status.lastSyncTime"}"#,
    printcolumn = r#"{"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"}"#
)]
#[serde(rename_all = "camelCase")]
pub struct RemoteClusterSpec {
    /// The Secret of this namespace with the kubeconfig for the cluster. Cluster API's kubeconfig Secrets fit as they are.
    pub kubeconfig_secret_ref: KubeconfigSecretRef,

    /// What the cluster may export: each entry allows the domain and all names below it. Empty: every served zone.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 256))]
    pub allowed_domains: Vec<Domain>,

    /// Networks that may be proxied to. Empty: all unicast addresses but loopback, link-local, metadata services and the
    /// gateway's own.
    #[serde(default, rename = "allowedEndpointCIDRs", skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 256))]
    pub allowed_endpoint_cidrs: Vec<Cidr>,

    /// Where the cluster's ingress, Contour's Envoy, listens for TLS.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ingress: Option<IngressSpec>,

    /// Lower is preferred where several clusters export a name.
    #[serde(default)]
    #[schemars(range(min = 0, max = 4_294_967_295_i64))]
    pub priority: i64,
}

/// The Secret with a kubeconfig.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct KubeconfigSecretRef {
    /// The Secret's name.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// The key in the Secret.
    #[serde(default = "default_key")]
    #[schemars(length(min = 1, max = 253))]
    pub key: String,
}

fn default_key() -> String {
    "value".to_owned()
}

/// Where a cluster's ingress listens.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("self.source != 'Service' || has(self.service)").message("with source Service name the Service, as in projectcontour/envoy"))]
pub struct IngressSpec {
    /// The port, on each node with source Nodes.
    #[serde(default = "default_port")]
    #[schemars(range(min = 1, max = 65_535))]
    pub port: i32,

    /// Where its addresses come from.
    #[serde(default)]
    pub source: IngressSource,

    /// Which address of a Node is used: that of the first of these types that the node has.
    #[serde(default = "default_address_types")]
    #[schemars(length(min = 1, max = 2))]
    pub address_types: Vec<NodeAddressType>,

    /// With source Service: NAMESPACE/NAME of the ingress' Service. Its load balancer's addresses are used, or its
    /// NodePort on the nodes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 317))]
    #[x_kube(validation = Rule::new("self.split('/').size() == 2 && self.split('/').all(part, part.size() > 0)").message("write NAMESPACE/NAME, as in projectcontour/envoy"))]
    pub service: Option<String>,
}

fn default_port() -> i32 {
    443
}

fn default_address_types() -> Vec<NodeAddressType> {
    vec![NodeAddressType::InternalIP]
}

/// Where the addresses of an ingress come from.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum IngressSource {
    /// The addresses of the eligible Nodes.
    #[default]
    Nodes,
    /// A Service.
    Service,
}

/// A type of address of a Node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum NodeAddressType {
    /// Reachable within the cluster's network.
    InternalIP,
    /// Reachable from outside.
    ExternalIP,
}

/// A domain; the texts are those that users of the product's ancestor know. What a rule cannot say is checked by xcc and
/// reported by the condition Valid.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Domain(pub String);

/// A network, as 10.0.0.0/8.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Cidr(pub String);

/// What xcc says about a RemoteCluster.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RemoteClusterStatus {
    /// Ready, Synced and Valid.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
    /// How many names are imported from the cluster.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exports: Option<i64>,
    /// When what is known of the cluster was last in step with its API server; refreshed every few minutes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("format" = "date-time"))]
    pub last_sync_time: Option<String>,
    /// The generation of the object that all of this was decided on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
}

/// A schema of a string with a limit and a rule of the Common Expression Language.
fn string_schema(max_length: u32, rule: &str, message: &str) -> schemars::Schema {
    schemars::json_schema!({
        "type": "string",
        "minLength": 1,
        "maxLength": max_length,
        "x-kubernetes-validations": [{"rule": rule, "message": message}],
    })
}

impl JsonSchema for Domain {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Domain".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        string_schema(
            256,
            "self.matches('^[A-Za-z0-9.-]*$')",
            "Invalid characters. Domain names must contain only alphanumeric characters, or dots (.) and hyphens (-).",
        )
    }
}

impl JsonSchema for Cidr {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Cidr".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        string_schema(
            64,
            "isCIDR(self)",
            "is no network: write an address and a prefix length, as in 10.0.0.0/8",
        )
    }
}
