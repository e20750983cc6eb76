//! The objects of our own API group as the importing cluster's API server has them: their schemas, and how they are
//! written.
//!
//! What a RemoteCluster means is decided in [`crate::settings`], which reads tolerantly and says all that is wrong; the
//! schema here refuses early what can be refused without knowing DNS.

#[allow(unreachable_pub, reason = "the schema derive repeats the structs with their visibility")]
mod remote_cluster;
mod service_record;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::CustomResourceExt;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use remote_cluster::{
    Cidr, Domain, IngressSource, IngressSpec, KubeconfigSecretRef, NodeAddressType, RemoteCluster,
    RemoteClusterSpec, RemoteClusterStatus,
};
pub use service_record::{RecordEndpoint, ServiceRecord, ServiceRecordSpec, ServiceRecordStatus};

/// The API group of all of them.
pub const GROUP: &str = "connectivity.tanzu.vmware.com";
/// The version of all of them.
pub const VERSION: &str = "v1alpha1";
/// The label of the objects that xcc writes for what it imports.
pub const IMPORTED_LABEL: &str = "connectivity.tanzu.vmware.com/imported";

/// The CustomResourceDefinitions, in the order in which they are printed.
pub fn crds() -> Vec<CustomResourceDefinition> {
    vec![RemoteCluster::crd(), ServiceRecord::crd()]
}

/// One aspect of an object's state (Kubernetes API conventions, "Typical status properties").
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Condition {
    /// The aspect, in CamelCase.
    #[serde(rename = "type")]
    pub kind: String,
    /// Whether it holds.
    pub status: ConditionStatus,
    /// Why, in one word for machines.
    pub reason: String,
    /// Why and what to do about it, for people.
    pub message: String,
    /// When `status` last changed.
    #[schemars(extend("format" = "date-time"))]
    pub last_transition_time: String,
    /// The generation of the object that it was decided on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
}

/// Whether a condition holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ConditionStatus {
    /// It does.
    True,
    /// It does not.
    False,
    /// Nobody knows yet.
    Unknown,
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn schema(crd: &CustomResourceDefinition, pointer: &str) -> Value {
        let crd = serde_json::to_value(crd).unwrap();
        let schema = &crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"];
        schema.pointer(pointer).unwrap_or_else(|| panic!("{pointer}: {schema:#}")).clone()
    }

    #[test]
    fn the_kinds_are_those_of_the_design() {
        let names: Vec<_> = crds().iter().map(|crd| crd.metadata.name.clone().unwrap()).collect();
        assert_eq!(
            names,
            ["remoteclusters.connectivity.tanzu.vmware.com", "servicerecords.connectivity.tanzu.vmware.com"]
        );
        for crd in crds() {
            assert_eq!(crd.spec.scope, "Namespaced");
            assert!(crd.spec.versions[0].subresources.as_ref().unwrap().status.is_some());
        }
    }

    #[test]
    fn columns_show_what_people_look_for() {
        let columns = |crd: &CustomResourceDefinition| -> Vec<String> {
            let columns = crd.spec.versions[0].additional_printer_columns.clone().unwrap();
            columns.into_iter().map(|column| column.name).collect()
        };
        let [remote, record] = &crds()[..] else { panic!() };
        assert_eq!(columns(remote), ["Ready", "Exports", "Last sync", "Age"]);
        assert_eq!(columns(record), ["FQDN", "Port", "Remotes", "Programmed", "Age"]);
    }

    #[test]
    fn the_schema_is_structural_and_has_limits() {
        let crds = crds();
        let domains = schema(&crds[0], "/spec/properties/allowedDomains");
        assert_eq!(domains["maxItems"], 256);
        assert!(domains["items"]["x-kubernetes-validations"][0]["rule"].is_string(), "{domains:#}");
        assert_eq!(
            schema(&crds[0], "/spec/properties/ingress/properties/source/enum"),
            json!(["Nodes", "Service"])
        );
        let spec = schema(&crds[0], "/spec");
        assert_eq!(spec["required"], json!(["kubeconfigSecretRef"]));
        let text = serde_json::to_string(&crds).unwrap();
        for keyword in ["\"$ref\"", "\"oneOf\"", "\"additionalProperties\":true", "\"uint16\""] {
            assert!(!text.contains(keyword), "{keyword}");
        }
    }

    #[test]
    fn the_schemas_types_and_the_tolerant_ones_agree() {
        let cluster = json!({
            "apiVersion": "connectivity.tanzu.vmware.com/v1alpha1", "kind": "RemoteCluster",
            "metadata": {"name": "east"},
            "spec": {
                "kubeconfigSecretRef": {"name": "east-kubeconfig"},
                "allowedDomains": ["xcc.test"], "allowedEndpointCIDRs": ["10.0.0.0/8"], "priority": 1,
                "ingress": {"port": 8443, "addressTypes": ["ExternalIP"]},
            },
        });
        let typed: RemoteCluster = serde_json::from_value(cluster.clone()).unwrap();
        assert_eq!(typed.spec.kubeconfig_secret_ref.key, "value");
        let remote = xcc_model::RemoteName::parse("east").unwrap();
        let read = |object: &Value| crate::settings::remote_cluster(&remote, object).unwrap();
        assert_eq!(read(&cluster), read(&serde_json::to_value(&typed).unwrap()));
    }
}
