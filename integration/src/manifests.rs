//! The Kubernetes objects that a remote consists of, as YAML texts.

use std::net::IpAddr;

use serde_json::{Value, json};

/// The label that exports an HTTPProxy.
pub const EXPORT_LABEL: &str = "connectivity.tanzu.vmware.com/export";

/// An HTTPProxy to be written as a manifest.
#[derive(Debug, Clone)]
pub struct HttpProxy {
    name: String,
    fqdn: String,
    labels: Value,
    annotations: Value,
    virtual_host: Value,
    status: Option<Value>,
}

impl HttpProxy {
    /// An exported proxy that terminates TLS with a Secret.
    pub fn exported(name: &str, fqdn: &str) -> Self {
        Self {
            name: name.to_owned(),
            fqdn: fqdn.to_owned(),
            labels: json!({EXPORT_LABEL: ""}),
            annotations: json!({}),
            virtual_host: json!({"fqdn": fqdn, "tls": {"secretName": format!("{name}-tls")}}),
            status: None,
        }
    }

    /// The same without the label.
    #[must_use]
    pub fn without_label(mut self) -> Self {
        self.labels = json!({});
        self
    }

    /// With an annotation of the project's prefix.
    #[must_use]
    pub fn annotated(mut self, name: &str, value: &str) -> Self {
        self.annotations[format!("connectivity.tanzu.vmware.com/{name}")] = value.into();
        self
    }

    /// Without TLS: a proxy that cannot be exported.
    #[must_use]
    pub fn without_tls(mut self) -> Self {
        self.virtual_host = json!({"fqdn": self.fqdn});
        self
    }

    /// With a status as Contour writes it.
    #[must_use]
    pub fn with_status(mut self, current: &str, description: &str) -> Self {
        self.status = Some(json!({"currentStatus": current, "description": description}));
        self
    }

    /// The manifest. JSON is YAML.
    pub fn manifest(&self) -> String {
        let mut object = json!({
            "apiVersion": "projectcontour.io/v1",
            "kind": "HTTPProxy",
            "metadata": {
                "name": self.name,
                "namespace": "default",
                "labels": self.labels,
                "annotations": self.annotations,
            },
            "spec": {
                "virtualhost": self.virtual_host,
                "routes": [{"services": [{"name": self.name, "port": 80}]}],
            },
        });
        if let Some(status) = &self.status {
            object["status"] = status.clone();
        }
        yaml(&object)
    }
}

/// A Node that is Ready or not.
pub fn node(name: &str, address: IpAddr, ready: bool) -> String {
    yaml(&json!({
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": name},
        "status": {
            "addresses": [
                {"type": "InternalIP", "address": address.to_string()},
                {"type": "Hostname", "address": name},
            ],
            "conditions": [{"type": "Ready", "status": if ready { "True" } else { "False" }}],
        },
    }))
}

/// The RemoteCluster that says where a remote's ingress listens, and that loopback addresses may be proxied to.
pub fn remote_cluster(name: &str, ingress_port: u16) -> String {
    yaml(&json!({
        "apiVersion": "connectivity.tanzu.vmware.com/v1alpha1",
        "kind": "RemoteCluster",
        "metadata": {"name": name, "namespace": "cross-cluster-connectivity"},
        "spec": {
            "allowedEndpointCIDRs": ["127.0.0.0/8", "::1/128"],
            "ingress": {"port": ingress_port},
        },
    }))
}

/// The object as a YAML document. Should it not be printable as YAML, its JSON is YAML too.
fn yaml(object: &Value) -> String {
    serde_saphyr::to_string(object).map_or_else(|_error| object.to_string(), |text| format!("---\n{text}"))
}
