//! Read types of the Kubernetes objects that xcc looks at: only the fields that are read. An unknown field never
//! fails, a `null` is an absent field as it is for the API server, and a field of the wrong type is named with its
//! path.
//!
//! Must not know what the fields mean: that is [`crate::convert`], [`crate::nodes`] and [`crate::settings`].

mod httpproxy;
mod node;
mod remote_cluster;
mod service;

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserializer, IgnoredAny};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::Value;

pub use httpproxy::{HttpProxy, HttpProxySpec, HttpProxyStatus, Tls, VirtualHost};
pub use node::{Node, NodeAddress, NodeCondition, NodeSpec, NodeStatus, Taint};
pub use remote_cluster::{IngressSpec, RemoteCluster, RemoteClusterSpec};
pub use service::{
    LoadBalancerIngress, LoadBalancerStatus, Service, ServicePort, ServiceSpec, ServiceStatus,
};

/// The label that exports an HTTPProxy; its presence counts, its value does not.
pub const EXPORT_LABEL: &str = "connectivity.tanzu.vmware.com/export";
/// The annotation of an HTTPProxy that names the port on which clients reach the service.
pub const SERVICE_PORT_ANNOTATION: &str = "connectivity.tanzu.vmware.com/service-port";
/// The namespace of a namespaced object that names none, as with `kubectl apply`.
pub const DEFAULT_NAMESPACE: &str = "default";

/// Longest name of most objects (RFC 1123 subdomain, Kubernetes API "Object Names and IDs").
const NAME_LENGTH_MAX: usize = 253;
/// Longest name of a namespace (RFC 1123 label).
const NAMESPACE_LENGTH_MAX: usize = 63;
/// How much of somebody else's text goes into a message, in characters.
const EXCERPT_LENGTH_MAX: usize = 256;

/// The part of `metadata` that is read.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct ObjectMeta {
    /// The labels that mean something here.
    #[serde(deserialize_with = "null_is_default")]
    pub labels: Labels,
    /// The annotations that mean something here.
    #[serde(deserialize_with = "null_is_default")]
    pub annotations: Annotations,
    /// When the object was made, RFC 3339. Of any shape: it only orders claims to one name.
    pub creation_timestamp: Value,
}

/// The labels that mean something here: whether they are there, whatever their values are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Labels {
    /// [`EXPORT_LABEL`] on an HTTPProxy.
    #[serde(rename = "connectivity.tanzu.vmware.com/export", deserialize_with = "present")]
    pub export: bool,
    /// On a Node of the control plane.
    #[serde(rename = "node-role.kubernetes.io/control-plane", deserialize_with = "present")]
    pub control_plane: bool,
    /// What `control_plane` was called before Kubernetes 1.24.
    #[serde(rename = "node-role.kubernetes.io/master", deserialize_with = "present")]
    pub master: bool,
}

/// The annotations that mean something here.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct Annotations {
    /// [`SERVICE_PORT_ANNOTATION`]; of any shape, since a manifest may forget the quotes.
    #[serde(rename = "connectivity.tanzu.vmware.com/service-port")]
    pub service_port: Option<Value>,
}

/// A field that has not the type of its kind.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{path}: {message}")]
pub struct ShapeError {
    /// The field, as in `spec.virtualhost.fqdn`.
    pub path: String,
    /// What is wrong with it.
    pub message: String,
}

/// The name of an object.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct ObjectName {
    /// `metadata.namespace`, `default` when there is none.
    pub namespace: String,
    /// `metadata.name`.
    pub name: String,
}

impl fmt::Display for ObjectName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// Reads an object as one of the types of this module.
pub fn read<T: DeserializeOwned>(object: &Value) -> Result<T, ShapeError> {
    serde_path_to_error::deserialize(object).map_err(|error| {
        let path = match error.path().to_string() {
            root if root == "." => "the object".to_owned(),
            path => path,
        };
        ShapeError { path, message: excerpt(&error.inner().to_string()).into_owned() }
    })
}

/// The object's name and namespace, checked: they become keys and stand in messages.
pub fn object_name(object: &Value) -> Result<ObjectName, ShapeError> {
    let text = |field: &str| match object.pointer(&format!("/metadata/{field}")) {
        None | Some(Value::Null) => Ok(""),
        Some(Value::String(text)) => Ok(text.as_str()),
        Some(_) => Err(shape_error(field, "is not a string")),
    };
    let (name, namespace) = (text("name")?, text("namespace")?);
    if name.is_empty() {
        return Err(shape_error("name", "is missing"));
    }
    if name.len() > NAME_LENGTH_MAX || !name.split('.').all(is_label) {
        return Err(shape_error("name", &format!("{:?} is no name of a Kubernetes object", excerpt(name))));
    }
    let namespace = if namespace.is_empty() { DEFAULT_NAMESPACE } else { namespace };
    if namespace.len() > NAMESPACE_LENGTH_MAX || !is_label(namespace) {
        return Err(shape_error("namespace", &format!("{:?} is no namespace", excerpt(namespace))));
    }
    Ok(ObjectName { namespace: namespace.to_owned(), name: name.to_owned() })
}

/// Text of others, cut to what fits into a message.
pub(crate) fn excerpt(text: &str) -> Cow<'_, str> {
    match text.char_indices().nth(EXCERPT_LENGTH_MAX) {
        None => Cow::Borrowed(text),
        Some((end, _)) => Cow::Owned(format!("{}...", &text[..end])),
    }
}

fn shape_error(field: &str, message: &str) -> ShapeError {
    ShapeError { path: format!("metadata.{field}"), message: message.to_owned() }
}

fn is_label(label: &str) -> bool {
    let edge = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    label.bytes().all(|byte| edge(&byte) || byte == b'-')
        && label.as_bytes().first().is_some_and(edge)
        && label.as_bytes().last().is_some_and(edge)
}

/// `labels:` with nothing behind it is `null`, which the API server takes for absent.
fn null_is_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Default + Deserialize<'de>,
{
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
    IgnoredAny::deserialize(deserializer).map(|_| true)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_name_without_namespace_is_in_default() {
        let name = object_name(&json!({"metadata": {"name": "nginx"}})).unwrap();
        assert_eq!(name.to_string(), "default/nginx");
        let name = object_name(&json!({"metadata": {"name": "a.b-c", "namespace": "team"}})).unwrap();
        assert_eq!(name.to_string(), "team/a.b-c");
    }

    #[test]
    fn a_name_that_is_none_says_which_field() {
        for (metadata, path) in [
            (json!(null), "metadata.name"),
            (json!({}), "metadata.name"),
            (json!({"name": 5}), "metadata.name"),
            (json!({"name": "a/b"}), "metadata.name"),
            (json!({"name": "Upper"}), "metadata.name"),
            (json!({"name": "a\nb"}), "metadata.name"),
            (json!({"name": "a".repeat(254)}), "metadata.name"),
            (json!({"name": "a", "namespace": []}), "metadata.namespace"),
            (json!({"name": "a", "namespace": "a.b"}), "metadata.namespace"),
        ] {
            let error = object_name(&json!({"metadata": metadata})).unwrap_err();
            assert_eq!(error.path, path, "{metadata}: {error}");
        }
    }

    #[test]
    fn null_is_absent_and_labels_count_by_presence() {
        let meta: ObjectMeta = read(&json!({"labels": null, "annotations": null})).unwrap();
        assert_eq!(meta, ObjectMeta::default());
        let meta: ObjectMeta = read(&json!({"labels": {EXPORT_LABEL: null, "x": 5}})).unwrap();
        assert!(meta.labels.export && !meta.labels.master);
    }

    #[test]
    fn long_text_of_others_is_cut() {
        assert_eq!(excerpt("short"), "short");
        assert_eq!(excerpt(&"ä".repeat(10_000)).chars().count(), EXCERPT_LENGTH_MAX + 3);
    }
}
