//! Which ServiceRecords there should be, and what has to be written for that. Pure; the time is passed in.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};
use xcc_model::{Hostname, RemoteName};

use super::conditions::{Wanted, merge};
use super::names::record_name;
use super::{ImportRecord, ImportStatus};
use crate::crd::{
    ConditionStatus, GROUP, IMPORTED_LABEL, RecordEndpoint, ServiceRecordSpec, ServiceRecordStatus, VERSION,
};
use crate::importing::kinds::{RecordObject, RemoteObject};

/// Most endpoints that a record lists, and most remotes: it is for people, and every change of a node writes it.
const ENDPOINTS_MAX: usize = 64;
const REMOTES_MAX: usize = 256;

/// Something to write.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Write {
    /// Apply the object; whether it is there and ours already.
    Apply {
        /// The object's name.
        name: String,
        /// All that we own of it.
        object: Value,
        /// It is ours, so its fields are taken back from whoever changed them.
        force: bool,
    },
    /// Apply the status.
    Status {
        /// The object's name.
        name: String,
        /// The object with its status only.
        object: Value,
    },
    /// Delete it, if it is still this one.
    Delete {
        /// The object's name.
        name: String,
        /// The object's uid.
        uid: String,
    },
}

impl Write {
    /// The object's name.
    pub(super) fn name(&self) -> &str {
        match self {
            Self::Apply { name, .. } | Self::Status { name, .. } | Self::Delete { name, .. } => name,
        }
    }
}

/// What has to be written, and which names cannot be, since somebody else's object is called so.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Plan {
    pub(super) writes: Vec<Write>,
    pub(super) foreign: BTreeSet<String>,
}

/// Compares what is imported with what is written.
pub(super) fn plan(
    namespace: &str,
    status: &ImportStatus,
    remotes: &BTreeMap<RemoteName, RemoteObject>,
    written: &BTreeMap<String, RecordObject>,
    now: &str,
) -> Plan {
    let mut plan = Plan::default();
    let mut wanted = BTreeSet::new();
    for (hostname, record) in &status.records {
        let name = record_name(hostname);
        match written.get(&name) {
            Some(there) if !there.ours => {
                plan.foreign.insert(name.clone());
            }
            there => {
                plan.writes.extend(record_write(namespace, hostname, &name, record, remotes, there, now))
            }
        }
        wanted.insert(name);
    }
    let leftover = written.iter().filter(|(name, object)| object.ours && !wanted.contains(*name));
    plan.writes
        .extend(leftover.map(|(name, object)| Write::Delete { name: name.clone(), uid: object.uid.clone() }));
    plan
}

fn record_write(
    namespace: &str,
    hostname: &Hostname,
    name: &str,
    record: &ImportRecord,
    remotes: &BTreeMap<RemoteName, RemoteObject>,
    there: Option<&RecordObject>,
    now: &str,
) -> Option<Write> {
    let spec = spec(hostname, record)?;
    let owners = owners(record, remotes);
    let head = |object: Value| {
        let mut whole = json!({
            "apiVersion": format!("{GROUP}/{VERSION}"),
            "kind": "ServiceRecord",
            "metadata": {"name": name, "namespace": namespace},
        });
        if let (Value::Object(whole), Value::Object(more)) = (&mut whole, object) {
            whole.extend(more);
        }
        whole
    };
    let Some(there) = there.filter(|it| it.spec.as_ref() == Some(&spec) && it.owners == owners) else {
        let mut object = head(json!({"spec": spec}));
        object["metadata"]["labels"] = json!({IMPORTED_LABEL: ""});
        object["metadata"]["ownerReferences"] = owners
            .iter()
            .map(|(name, uid)| {
                json!({"apiVersion": format!("{GROUP}/{VERSION}"), "kind": "RemoteCluster", "name": name, "uid": uid})
            })
            .collect();
        return Some(Write::Apply { name: name.to_owned(), object, force: there.is_some() });
    };
    let status = record_status(record, there, now);
    (status != there.status)
        .then(|| Write::Status { name: name.to_owned(), object: head(json!({"status": status})) })
}

fn spec(hostname: &Hostname, record: &ImportRecord) -> Option<ServiceRecordSpec> {
    let remotes: BTreeSet<&RemoteName> =
        record.routes.iter().flat_map(|route| route.remotes.iter()).collect();
    let endpoints: BTreeSet<_> = record.endpoints.iter().collect();
    Some(ServiceRecordSpec {
        fqdn: hostname.as_str().to_owned(),
        port: record.routes.first()?.port.get(),
        remotes: remotes.into_iter().take(REMOTES_MAX).map(|remote| remote.as_str().to_owned()).collect(),
        endpoints: endpoints
            .into_iter()
            .take(ENDPOINTS_MAX)
            .map(|endpoint| RecordEndpoint { address: endpoint.ip().to_string(), port: endpoint.port() })
            .collect(),
    })
}

/// The RemoteClusters that it comes from: with the last of them the API server removes the record, even when no xcc
/// runs any more. Remotes from flags have no object.
fn owners(record: &ImportRecord, remotes: &BTreeMap<RemoteName, RemoteObject>) -> BTreeMap<String, String> {
    let contributing = record.routes.iter().flat_map(|route| route.remotes.iter());
    contributing
        .filter_map(|remote| Some((remote.as_str().to_owned(), remotes.get(remote)?.uid.clone())))
        .collect()
}

fn record_status(record: &ImportRecord, there: &RecordObject, now: &str) -> ServiceRecordStatus {
    use ConditionStatus::{False, True};
    let origins: Vec<String> = record
        .origins
        .iter()
        .take(8)
        .map(|origin| format!("HTTPProxy {} of {}", origin.export, origin.remote))
        .collect();
    let accepted = Wanted::new("Accepted", True, "Accepted", format!("imported from {}", origins.join(", ")));
    let programmed = if record.programmed {
        Wanted::new("Programmed", True, "Programmed", "every connected gateway has acknowledged it")
    } else {
        Wanted::new("Programmed", False, "Pending", "not every connected gateway has acknowledged it yet")
    };
    let conflict = match &record.conflict {
        None => Wanted::new("Conflict", False, "NoConflict", "the remotes agree"),
        Some(message) => Wanted::new("Conflict", True, "Conflict", &**message),
    };
    ServiceRecordStatus {
        conditions: merge(
            vec![accepted, programmed, conflict],
            &there.status.conditions,
            there.generation,
            now,
        ),
        endpoints: i64::try_from(record.endpoints.len()).ok(),
        observed_generation: Some(there.generation),
    }
}

#[cfg(test)]
#[path = "records_tests.rs"]
mod tests;
