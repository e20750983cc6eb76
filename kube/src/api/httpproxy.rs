//! `projectcontour.io/v1` HTTPProxy, the part that is read.

use serde::Deserialize;

use super::{ObjectMeta, null_is_default};

/// An HTTPProxy.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct HttpProxy {
    /// Labels, annotations and age.
    #[serde(deserialize_with = "null_is_default")]
    pub metadata: ObjectMeta,
    /// What it routes.
    #[serde(deserialize_with = "null_is_default")]
    pub spec: HttpProxySpec,
    /// What Contour says of it.
    #[serde(deserialize_with = "null_is_default")]
    pub status: HttpProxyStatus,
}

/// `spec`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct HttpProxySpec {
    /// Only a root HTTPProxy has one; others are included by a root.
    pub virtualhost: Option<VirtualHost>,
}

/// `spec.virtualhost`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct VirtualHost {
    /// The name that it answers to.
    #[serde(deserialize_with = "null_is_default")]
    pub fqdn: String,
    /// How it terminates TLS, or not.
    #[serde(deserialize_with = "null_is_default")]
    pub tls: Tls,
}

/// `spec.virtualhost.tls`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Tls {
    /// The Secret with the certificate; Contour's Envoy terminates TLS.
    #[serde(deserialize_with = "null_is_default")]
    pub secret_name: String,
    /// TLS passes through to the service.
    #[serde(deserialize_with = "null_is_default")]
    pub passthrough: bool,
}

/// `status`, written by Contour.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct HttpProxyStatus {
    /// `valid`, `invalid`, `orphaned`, or empty before Contour has seen it.
    #[serde(deserialize_with = "null_is_default")]
    pub current_status: String,
    /// Why, for people.
    #[serde(deserialize_with = "null_is_default")]
    pub description: String,
}
