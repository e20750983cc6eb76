//! The kinds of objects that are watched in a remote, and what is kept of them.

use std::fmt;

use serde_json::Value;
use xcc_model::{Diagnostic, ExportKey, Node, RemoteName, Service, ServiceExport, ServiceName};

use crate::api::{self, EXPORT_LABEL};
use crate::convert::{self, Conversion};
use crate::watch::{Kind, Mask, Read, Target};
use crate::{nodes, services};

/// Most objects of a kind that a session keeps: over the inventory's own limits, which are what is reported.
const OBJECTS_MAX: usize = 12_000;

/// One of the kinds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum What {
    /// The labelled HTTPProxies.
    Exports = 0,
    /// The Nodes.
    Nodes = 1,
    /// The Service that the ingress is reached through, if the settings name one.
    Services = 2,
}

impl What {
    /// What messages call them.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Exports => "HTTPProxies",
            Self::Nodes => "Nodes",
            Self::Services => "Services",
        }
    }

    /// Which objects the API server is asked for; of Services only the one that is named.
    pub(crate) fn target(self, service: Option<&ServiceName>) -> Option<Target> {
        let (path, label_selector, field_selector, mask) = match self {
            // A selector that is a key asks for the label's presence.
            Self::Exports => {
                let path = "/apis/projectcontour.io/v1/httpproxies".to_owned();
                (path, Some(EXPORT_LABEL), None, &HTTP_PROXY)
            }
            Self::Nodes => ("/api/v1/nodes".to_owned(), None, None, &NODE),
            Self::Services => {
                let ServiceName { namespace, name } = service?;
                let path = format!("/api/v1/namespaces/{namespace}/services");
                (path, None, Some(format!("metadata.name={name}")), &SERVICE)
            }
        };
        Some(Target { path, label_selector, field_selector, mask, what: self.name() })
    }
}

const HTTP_PROXY: Mask = Mask::Fields(&[
    (
        "metadata",
        Mask::Fields(&[
            ("name", Mask::Whole),
            ("namespace", Mask::Whole),
            ("resourceVersion", Mask::Whole),
            ("creationTimestamp", Mask::Whole),
            ("labels", Mask::Fields(&[("connectivity.tanzu.vmware.com/export", Mask::Whole)])),
            ("annotations", Mask::Fields(&[("connectivity.tanzu.vmware.com/service-port", Mask::Whole)])),
        ]),
    ),
    (
        "spec",
        Mask::Fields(&[(
            "virtualhost",
            Mask::Fields(&[
                ("fqdn", Mask::Whole),
                ("tls", Mask::Fields(&[("secretName", Mask::Whole), ("passthrough", Mask::Whole)])),
            ]),
        )]),
    ),
    ("status", Mask::Fields(&[("currentStatus", Mask::Whole), ("description", Mask::Whole)])),
]);

const NODE: Mask = Mask::Fields(&[
    (
        "metadata",
        Mask::Fields(&[
            ("name", Mask::Whole),
            ("resourceVersion", Mask::Whole),
            (
                "labels",
                Mask::Fields(&[
                    ("node-role.kubernetes.io/control-plane", Mask::Whole),
                    ("node-role.kubernetes.io/master", Mask::Whole),
                ]),
            ),
        ]),
    ),
    ("spec", Mask::Fields(&[("taints", Mask::Fields(&[("key", Mask::Whole), ("effect", Mask::Whole)]))])),
    (
        "status",
        Mask::Fields(&[
            ("conditions", Mask::Fields(&[("type", Mask::Whole), ("status", Mask::Whole)])),
            ("addresses", Mask::Fields(&[("type", Mask::Whole), ("address", Mask::Whole)])),
        ]),
    ),
]);

const SERVICE: Mask = Mask::Fields(&[
    (
        "metadata",
        Mask::Fields(&[("name", Mask::Whole), ("namespace", Mask::Whole), ("resourceVersion", Mask::Whole)]),
    ),
    (
        "spec",
        Mask::Fields(&[
            ("ipFamilies", Mask::Whole),
            (
                "ports",
                Mask::Fields(&[("port", Mask::Whole), ("protocol", Mask::Whole), ("nodePort", Mask::Whole)]),
            ),
        ]),
    ),
    (
        "status",
        Mask::Fields(&[(
            "loadBalancer",
            Mask::Fields(&[("ingress", Mask::Fields(&[("ip", Mask::Whole), ("hostname", Mask::Whole)]))]),
        )]),
    ),
]);

/// The labelled HTTPProxies of a remote.
pub(crate) struct Exports(pub(crate) RemoteName);

impl Kind for Exports {
    type Key = ExportKey;
    type Value = Result<ServiceExport, Diagnostic>;
    const LIMIT: usize = OBJECTS_MAX;

    fn read(&self, object: &Value) -> Read<ExportKey, Self::Value> {
        let key = || {
            let name = api::object_name(object)?;
            Ok::<_, api::ShapeError>(ExportKey::new(name.namespace, name.name))
        };
        match convert::http_proxy(&self.0, object) {
            Conversion::Export(key, export) => Read::Present(key, export),
            Conversion::Malformed(diagnostic) => Read::Malformed(key().ok(), diagnostic),
            // A deletion may show the object as it is now: without the label.
            Conversion::NotExported => match key() {
                Ok(key) => Read::Absent(key),
                Err(error) => Read::Malformed(
                    None,
                    convert::malformed(&self.0, xcc_model::ObjectKind::HTTPProxy, object, &error),
                ),
            },
        }
    }
}

/// The Nodes of a remote.
pub(crate) struct Nodes(pub(crate) RemoteName);

impl Kind for Nodes {
    type Key = String;
    type Value = Node;
    const LIMIT: usize = OBJECTS_MAX;

    fn read(&self, object: &Value) -> Read<String, Node> {
        match nodes::node(&self.0, object) {
            Ok((name, node)) => Read::Present(name, node),
            Err(diagnostic) => {
                Read::Malformed(api::object_name(object).ok().map(|name| name.name), diagnostic)
            }
        }
    }
}

/// A Service, told from an HTTPProxy of the same name where problems are reported.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct ServiceKey(pub(crate) ServiceName);

impl ServiceKey {
    /// What the places of Services begin with among the problems of a remote.
    pub(crate) const PLACE: &str = "Service ";
}

impl fmt::Display for ServiceKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", Self::PLACE, self.0)
    }
}

/// The Service of a remote that its ingress is reached through.
pub(crate) struct Services {
    pub(crate) remote: RemoteName,
    pub(crate) name: ServiceName,
}

impl Kind for Services {
    type Key = ServiceKey;
    type Value = Service;
    const LIMIT: usize = 1;

    fn read(&self, object: &Value) -> Read<ServiceKey, Service> {
        match services::service(&self.remote, object) {
            Ok((name, service)) if name == self.name => Read::Present(ServiceKey(name), service),
            // The API server was asked for one only.
            Ok(_other) => Read::Ignored,
            Err(diagnostic) => {
                Read::Malformed(services::service_name(object).ok().map(ServiceKey), diagnostic)
            }
        }
    }
}
