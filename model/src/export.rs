//! What a remote exports.

use std::fmt;
use std::num::NonZeroU16;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::diagnostic::{ObjectKind, ObjectRef};
use crate::hostname::Hostname;

/// The port on which clients reach a service through the gateway.
pub type ServicePort = NonZeroU16;

/// Which HTTPProxy of a remote. Cheap to clone: the table refers to the inventory's keys.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ExportKey {
    /// The HTTPProxy's namespace.
    pub namespace: Arc<str>,
    /// The HTTPProxy's name.
    pub name: Arc<str>,
}

impl ExportKey {
    /// Names an HTTPProxy.
    pub fn new(namespace: impl Into<Arc<str>>, name: impl Into<Arc<str>>) -> Self {
        Self { namespace: namespace.into(), name: name.into() }
    }

    /// The HTTPProxy as the subject of a diagnostic.
    pub fn object(&self) -> ObjectRef {
        ObjectRef::new(ObjectKind::HTTPProxy, &*self.namespace, &*self.name)
    }
}

impl fmt::Display for ExportKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// One exported HTTPProxy, as its remote declares it. Whether the name may be imported is decided later, by the
/// importing side's zones and the remote's settings.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ServiceExport {
    /// `spec.virtualhost.fqdn`.
    pub hostname: Hostname,
    /// The `service-port` annotation, 443 without one.
    pub port: ServicePort,
    /// `metadata.creationTimestamp` in seconds since 1970; none in manifests that no API server has seen.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub created_seconds: Option<i64>,
}

impl ServiceExport {
    /// Orders the claims to one name: the oldest first, those without a timestamp last.
    pub fn age_order(&self) -> (bool, i64) {
        (self.created_seconds.is_none(), self.created_seconds.unwrap_or_default())
    }
}
