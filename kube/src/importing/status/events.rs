//! Events that tell, on the RemoteCluster, which exports are refused. Pure; the time is passed in.
//!
//! An Event's name is made of what it says, so a replica that takes over says nothing twice.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use xcc_model::{Diagnostic, ObjectKind, RemoteName};
use xxhash_rust::xxh3::xxh3_64;

use crate::crd::{GROUP, VERSION};
use crate::importing::MANAGER;
use crate::importing::kinds::RemoteObject;

/// Longest note (Kubernetes API, `events.k8s.io/v1` Event: 1 kB).
const NOTE_LENGTH_MAX: usize = 1_000;
/// Longest part of an object's name that is not the hash.
const NAME_PART_MAX: usize = 200;
/// Longest `reportingInstance`.
const INSTANCE_LENGTH_MAX: usize = 128;

/// The Event's name for a diagnostic; none when it is not about something that a remote exports.
pub(super) fn name(diagnostic: &Diagnostic) -> Option<String> {
    // What is wrong with the RemoteCluster itself is in its conditions.
    if !matches!(diagnostic.object.kind, ObjectKind::HTTPProxy | ObjectKind::Node) {
        return None;
    }
    let mut part = diagnostic.remote.as_str().to_owned();
    part.truncate(NAME_PART_MAX);
    let part = part.trim_end_matches(['.', '-']);
    Some(format!("{part}.{:016x}", xxh3_64(diagnostic.to_string().as_bytes())))
}

/// The Event; none when its remote has no RemoteCluster.
pub(super) fn event(
    namespace: &str,
    instance: &str,
    diagnostic: &Diagnostic,
    remotes: &BTreeMap<RemoteName, RemoteObject>,
    now: &str,
) -> Option<Value> {
    let name = name(diagnostic)?;
    let uid = &remotes.get(&diagnostic.remote)?.uid;
    let reason = format!("{:?}", diagnostic.reason);
    Some(json!({
        "apiVersion": "events.k8s.io/v1",
        "kind": "Event",
        "metadata": {"name": name, "namespace": namespace},
        "eventTime": now,
        "type": "Warning",
        "reason": reason,
        "action": "Import",
        "note": cut(&format!("{}: {}", diagnostic.object, diagnostic.message), NOTE_LENGTH_MAX),
        "regarding": {
            "apiVersion": format!("{GROUP}/{VERSION}"), "kind": "RemoteCluster",
            "namespace": namespace, "name": diagnostic.remote.as_str(), "uid": uid,
        },
        "reportingController": format!("{GROUP}/{MANAGER}"),
        "reportingInstance": cut(instance, INSTANCE_LENGTH_MAX),
    }))
}

/// At most this many bytes, cut between characters.
fn cut(text: &str, length: usize) -> &str {
    let end = (0..=length.min(text.len())).rev().find(|end| text.is_char_boundary(*end));
    &text[..end.unwrap_or(0)]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::importing::kinds::RemoteClusters;
    use crate::watch::{Kind, Read};
    use xcc_model::{ObjectRef, Reason};

    fn diagnostic(kind: ObjectKind, message: &str) -> Diagnostic {
        Diagnostic {
            remote: RemoteName::parse("east").unwrap(),
            object: ObjectRef::new(kind, "team", "nginx"),
            reason: Reason::DomainNotAllowed,
            message: message.to_owned(),
        }
    }

    #[test]
    fn refused_exports_are_told_on_their_remote_cluster_once() {
        let object = json!({"metadata": {"name": "east", "uid": "u"}});
        let Read::Present(remote, object) = RemoteClusters.read(&object) else { panic!() };
        let remotes = BTreeMap::from([(remote, object)]);
        let event_of = |diagnostic: &Diagnostic| event("xcc", "pod-1", diagnostic, &remotes, "t");
        let refused = diagnostic(ObjectKind::HTTPProxy, "not allowed");
        let event = event_of(&refused).unwrap();
        assert_eq!(event["regarding"]["uid"], "u");
        assert_eq!(event["reason"], "DomainNotAllowed");
        assert_eq!(event["note"], "HTTPProxy team/nginx: not allowed");
        assert_eq!(name(&refused), name(&refused.clone()));
        assert_ne!(name(&refused), name(&diagnostic(ObjectKind::HTTPProxy, "other")));
        assert!(event_of(&diagnostic(ObjectKind::RemoteCluster, "x")).is_none());
        let long = event_of(&diagnostic(ObjectKind::HTTPProxy, &"ä".repeat(2_000))).unwrap();
        assert!(long["note"].as_str().unwrap().len() <= NOTE_LENGTH_MAX);
        assert!(super::event("xcc", "pod-1", &refused, &BTreeMap::new(), "t").is_none());
    }
}
