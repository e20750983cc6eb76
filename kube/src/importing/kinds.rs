//! The kinds of objects that are read in the importing cluster, and what is kept of them.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value;
use xcc_model::{Diagnostic, RemoteName, RemoteSettings};

use crate::crd::{IMPORTED_LABEL, RemoteClusterStatus, ServiceRecordSpec, ServiceRecordStatus};
use crate::kubeconfig::SIZE_MAX;
use crate::settings;
use crate::watch::{Kind, Mask, Read, Target};

/// Most remotes.
const REMOTES_MAX: usize = 256;
/// Most Secrets of the namespace that are kept.
const SECRETS_MAX: usize = 2_000;
/// Most ServiceRecords that are kept. One that is not is written again and again, but never wrong.
const RECORDS_MAX: usize = 200_000;

const fn metadata(more: &'static [(&'static str, Mask)]) -> Mask {
    Mask::Fields(more)
}

const REMOTE_CLUSTER: Mask = Mask::Fields(&[
    (
        "metadata",
        metadata(&[
            ("name", Mask::Whole),
            ("namespace", Mask::Whole),
            ("resourceVersion", Mask::Whole),
            ("uid", Mask::Whole),
            ("generation", Mask::Whole),
        ]),
    ),
    ("spec", Mask::Whole),
    ("status", Mask::Whole),
]);

const SECRET: Mask = Mask::Fields(&[
    (
        "metadata",
        metadata(&[("name", Mask::Whole), ("namespace", Mask::Whole), ("resourceVersion", Mask::Whole)]),
    ),
    ("data", Mask::Whole),
]);

const SERVICE_RECORD: Mask = Mask::Fields(&[
    (
        "metadata",
        metadata(&[
            ("name", Mask::Whole),
            ("namespace", Mask::Whole),
            ("resourceVersion", Mask::Whole),
            ("uid", Mask::Whole),
            ("generation", Mask::Whole),
            ("labels", Mask::Fields(&[("connectivity.tanzu.vmware.com/imported", Mask::Whole)])),
            ("ownerReferences", Mask::Fields(&[("name", Mask::Whole), ("uid", Mask::Whole)])),
            ("managedFields", Mask::Fields(&[("manager", Mask::Whole), ("operation", Mask::Whole)])),
        ]),
    ),
    ("spec", Mask::Whole),
    ("status", Mask::Whole),
]);

/// The path of our own kinds in a namespace.
pub(super) fn own_path(namespace: &str, plural: &str) -> String {
    format!("/apis/{}/{}/namespaces/{namespace}/{plural}", crate::crd::GROUP, crate::crd::VERSION)
}

/// The RemoteClusters of a namespace.
pub(super) fn remote_clusters(namespace: &str) -> Target {
    let path = own_path(namespace, "remoteclusters");
    Target { path, label_selector: None, field_selector: None, mask: &REMOTE_CLUSTER, what: "RemoteClusters" }
}

/// The Secrets of a namespace, without those that Helm keeps its releases in: they are large and many.
pub(super) fn secrets(namespace: &str) -> Target {
    let path = format!("/api/v1/namespaces/{namespace}/secrets");
    let field_selector = Some("type!=helm.sh/release.v1".to_owned());
    Target { path, label_selector: None, field_selector, mask: &SECRET, what: "Secrets" }
}

/// All ServiceRecords of a namespace: those of others have to be known to be left alone.
pub(super) fn service_records(namespace: &str) -> Target {
    let path = own_path(namespace, "servicerecords");
    Target { path, label_selector: None, field_selector: None, mask: &SERVICE_RECORD, what: "ServiceRecords" }
}

/// A RemoteCluster.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct RemoteObject {
    pub(super) uid: String,
    pub(super) generation: i64,
    pub(super) settings: Result<RemoteSettings, Diagnostic>,
    /// `spec.kubeconfigSecretRef`: name and key; none when there is none.
    pub(super) secret: Option<(String, String)>,
    pub(super) status: RemoteClusterStatus,
}

pub(super) struct RemoteClusters;

impl Kind for RemoteClusters {
    type Key = RemoteName;
    type Value = RemoteObject;
    const LIMIT: usize = REMOTES_MAX;

    fn read(&self, object: &Value) -> Read<RemoteName, RemoteObject> {
        let name = object["metadata"]["name"].as_str().unwrap_or_default();
        let Ok(remote) = RemoteName::parse(name) else { return Read::Ignored };
        let reference = &object["spec"]["kubeconfigSecretRef"];
        let secret = reference["name"]
            .as_str()
            .filter(|name| !name.is_empty())
            .map(|name| (name.to_owned(), reference["key"].as_str().unwrap_or("value").to_owned()));
        let value = RemoteObject {
            uid: text(&object["metadata"]["uid"]),
            generation: object["metadata"]["generation"].as_i64().unwrap_or_default(),
            settings: settings::remote_cluster(&remote, object),
            secret,
            // One of another shape is overwritten.
            status: serde_json::from_value(object["status"].clone()).unwrap_or_default(),
        };
        Read::Present(remote, value)
    }
}

/// The data of a Secret by key, still base64. Values that cannot be a kubeconfig are left out.
#[derive(Clone, PartialEq)]
pub(super) struct SecretData(pub(super) Arc<BTreeMap<String, String>>);

pub(super) struct Secrets;

impl Kind for Secrets {
    type Key = String;
    type Value = SecretData;
    const LIMIT: usize = SECRETS_MAX;
    const DOUBTED: bool = false;

    fn read(&self, object: &Value) -> Read<String, SecretData> {
        let Some(name) = object["metadata"]["name"].as_str() else { return Read::Ignored };
        let data = object["data"].as_object().into_iter().flatten();
        // Base64 takes four bytes for three; one over the limit is kept as it is, to be refused with a reason.
        let limit = SIZE_MAX.div_ceil(3) * 4;
        let data = data.filter_map(|(key, value)| {
            let value = value.as_str()?;
            let end = value.len().min(limit + 8);
            Some((key.clone(), value.get(..end)?.to_owned()))
        });
        Read::Present(name.to_owned(), SecretData(Arc::new(data.collect())))
    }
}

/// A ServiceRecord as it is.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct RecordObject {
    /// Whether we wrote it.
    pub(super) ours: bool,
    pub(super) uid: String,
    pub(super) generation: i64,
    /// None when it has not the shape.
    pub(super) spec: Option<ServiceRecordSpec>,
    pub(super) status: ServiceRecordStatus,
    /// The owners' uids by name.
    pub(super) owners: BTreeMap<String, String>,
}

pub(super) struct ServiceRecords;

impl Kind for ServiceRecords {
    type Key = String;
    type Value = RecordObject;
    const LIMIT: usize = RECORDS_MAX;
    const DOUBTED: bool = false;

    fn read(&self, object: &Value) -> Read<String, RecordObject> {
        let metadata = &object["metadata"];
        let Some(name) = metadata["name"].as_str() else { return Read::Ignored };
        let managers = metadata["managedFields"].as_array().into_iter().flatten();
        let applied = managers
            .into_iter()
            .any(|entry| entry["manager"] == super::MANAGER && entry["operation"] == "Apply");
        let owners = metadata["ownerReferences"].as_array().into_iter().flatten();
        let value = RecordObject {
            // Both: a label can be copied, and a manager's name can be borrowed by mistake.
            ours: applied && metadata["labels"].get(IMPORTED_LABEL).is_some(),
            uid: text(&metadata["uid"]),
            generation: metadata["generation"].as_i64().unwrap_or_default(),
            spec: serde_json::from_value(object["spec"].clone()).ok(),
            status: serde_json::from_value(object["status"].clone()).unwrap_or_default(),
            owners: owners.map(|owner| (text(&owner["name"]), text(&owner["uid"]))).collect(),
        };
        Read::Present(name.to_owned(), value)
    }
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}
