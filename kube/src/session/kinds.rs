//! The kinds of objects that are watched in a remote, and what is kept of them.

use serde_json::Value;
use xcc_model::{Diagnostic, ExportKey, Node, RemoteName, ServiceExport};

use crate::api::{self, EXPORT_LABEL};
use crate::convert::{self, Conversion};
use crate::nodes;
use crate::watch::{Kind, Mask, Read, Target};

/// Most objects of a kind that a session keeps: over the inventory's own limits, which are what is reported.
const OBJECTS_MAX: usize = 12_000;

/// One of the kinds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum What {
    /// The labelled HTTPProxies.
    Exports = 0,
    /// The Nodes.
    Nodes = 1,
}

impl What {
    /// What messages call them.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Exports => "HTTPProxies",
            Self::Nodes => "Nodes",
        }
    }

    /// Which objects the API server is asked for.
    pub(crate) fn target(self) -> Target {
        let (path, label_selector, mask) = match self {
            // A selector that is a key asks for the label's presence.
            Self::Exports => ("/apis/projectcontour.io/v1/httpproxies", Some(EXPORT_LABEL), &HTTP_PROXY),
            Self::Nodes => ("/api/v1/nodes", None, &NODE),
        };
        Target { path: path.to_owned(), label_selector, field_selector: None, mask, what: self.name() }
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
