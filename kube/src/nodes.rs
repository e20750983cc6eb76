//! Node objects to [`Node`]: whether and where a node is reached. Pure.

use serde_json::Value;
use xcc_model::{AddressType, Diagnostic, Node, NodeAddress, ObjectKind, RemoteName};

use crate::api::{self, Taint, excerpt};
use crate::convert::malformed;

/// The taints that pods of a DaemonSet tolerate, so that an ingress that runs as one is still on the node (Kubernetes,
/// "DaemonSet", taints and tolerations). A cordon is the taint `unschedulable`.
const TOLERATED_TAINTS: [&str; 7] = [
    "node.kubernetes.io/disk-pressure",
    "node.kubernetes.io/memory-pressure",
    "node.kubernetes.io/network-unavailable",
    "node.kubernetes.io/not-ready",
    "node.kubernetes.io/pid-pressure",
    "node.kubernetes.io/unreachable",
    "node.kubernetes.io/unschedulable",
];

/// Converts a Node's JSON form. The error is a `Malformed` diagnostic: what the node was before stays in force.
pub fn node(remote: &RemoteName, object: &Value) -> Result<(String, Node), Diagnostic> {
    let read = || Ok((api::object_name(object)?.name, api::read::<api::Node>(object)?));
    match read() {
        Ok((name, node)) => Ok((name, reduce(&node))),
        Err(error) => Err(malformed(remote, ObjectKind::Node, object, &error)),
    }
}

/// Reduces a Node to what decides whether and where it is reached.
pub fn reduce(node: &api::Node) -> Node {
    let labels = &node.metadata.labels;
    let ready = node.status.conditions.iter().any(|it| it.kind == "Ready" && it.status == "True");
    let tainted = node.spec.taints.iter().any(keeps_ingress_away);
    Node {
        eligible: ready && !tainted && !labels.control_plane && !labels.master,
        addresses: node.status.addresses.iter().filter_map(address).collect(),
    }
}

fn keeps_ingress_away(taint: &Taint) -> bool {
    taint.effect != "PreferNoSchedule" && !TOLERATED_TAINTS.contains(&taint.key.as_str())
}

fn address(address: &api::NodeAddress) -> Option<NodeAddress> {
    let kind = match address.kind.as_str() {
        "InternalIP" => AddressType::InternalIP,
        "ExternalIP" => AddressType::ExternalIP,
        _ => return None,
    };
    let ip = address.address.parse().map_err(|_| excerpt(&address.address).into_owned());
    Some(NodeAddress { kind, address: ip })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use xcc_model::Reason;

    fn remote() -> RemoteName {
        RemoteName::parse("east").unwrap()
    }

    fn convert(labels: Value, taints: Value, conditions: Value, addresses: Value) -> Node {
        let object = json!({
            "metadata": {"name": "n1", "labels": labels},
            "spec": {"taints": taints, "unschedulable": true},
            "status": {"conditions": conditions, "addresses": addresses},
        });
        let (name, node) = node(&remote(), &object).unwrap();
        assert_eq!(name, "n1");
        node
    }

    fn ready() -> Value {
        json!([{"type": "MemoryPressure", "status": "False"}, {"type": "Ready", "status": "True"}])
    }

    #[test]
    fn only_ready_nodes_are_eligible() {
        for (conditions, eligible) in [
            (ready(), true),
            (json!([{"type": "Ready", "status": "False"}]), false),
            (json!([{"type": "Ready", "status": "Unknown"}]), false),
            (json!([{"type": "MemoryPressure", "status": "True"}]), false),
            (json!([]), false),
            (json!(null), false),
        ] {
            let node = convert(json!({}), json!([]), conditions.clone(), json!([]));
            assert_eq!(node.eligible, eligible, "{conditions}");
        }
    }

    #[test]
    fn b5_taints_that_daemon_sets_tolerate_do_not_exclude() {
        for key in TOLERATED_TAINTS {
            let node = convert(json!({}), json!([{"key": key, "effect": "NoExecute"}]), ready(), json!([]));
            assert!(node.eligible, "{key}");
        }
        for (taint, eligible) in [
            (json!({"key": "dedicated", "effect": "NoSchedule"}), false),
            (json!({"key": "dedicated", "effect": "NoExecute"}), false),
            (json!({"key": "dedicated"}), false),
            (json!({"key": "dedicated", "effect": "PreferNoSchedule"}), true),
            (json!({"key": "not-ready", "effect": "NoSchedule"}), false),
        ] {
            let node = convert(json!({}), json!([taint.clone()]), ready(), json!([]));
            assert_eq!(node.eligible, eligible, "{taint}");
        }
    }

    #[test]
    fn b5_control_plane_nodes_are_not_eligible_by_either_label() {
        for label in ["node-role.kubernetes.io/control-plane", "node-role.kubernetes.io/master"] {
            for value in [json!(""), json!("true"), json!(null)] {
                assert!(
                    !convert(json!({label: value}), json!(null), ready(), json!(null)).eligible,
                    "{label}"
                );
            }
        }
        assert!(
            convert(json!({"node-role.kubernetes.io/worker": ""}), json!([]), ready(), json!([])).eligible
        );
    }

    #[test]
    fn b18_addresses_of_both_families_and_types_keep_their_order() {
        let node = convert(
            json!({}),
            json!([]),
            ready(),
            json!([
                {"type": "Hostname", "address": "n1"},
                {"type": "InternalIP", "address": "fd00::1"},
                {"type": "InternalDNS", "address": "n1.internal"},
                {"type": "ExternalIP", "address": "192.0.2.1"},
                {"type": "InternalIP", "address": "10.0.0.1"},
                {"type": "InternalIP", "address": "not-an-address"},
            ]),
        );
        let addresses: Vec<_> = node
            .addresses
            .iter()
            .map(|it| (it.kind, it.address.as_ref().map_or_else(Clone::clone, ToString::to_string)))
            .collect();
        use AddressType::{ExternalIP, InternalIP};
        let want = [
            (InternalIP, "fd00::1".to_owned()),
            (ExternalIP, "192.0.2.1".to_owned()),
            (InternalIP, "10.0.0.1".to_owned()),
            (InternalIP, "not-an-address".to_owned()),
        ];
        assert_eq!(addresses, want);
        assert!(node.addresses[3].address.is_err());
    }

    #[test]
    fn a_node_of_the_wrong_shape_is_malformed_and_names_the_field() {
        for (object, field) in [
            (json!({"metadata": {"name": "n1"}, "spec": {"taints": 5}}), "spec.taints"),
            (
                json!({"metadata": {"name": "n1"}, "status": {"addresses": [{"address": 5}]}}),
                "status.addresses[0].address",
            ),
            (json!({"metadata": {}}), "metadata.name"),
        ] {
            let diagnostic = node(&remote(), &object).unwrap_err();
            assert_eq!(diagnostic.reason, Reason::Malformed);
            assert!(diagnostic.message.starts_with(field), "{}", diagnostic.message);
        }
    }
}
