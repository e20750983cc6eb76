use super::*;
use crate::importing::kinds::{RemoteClusters, ServiceRecords};
use crate::watch::{Kind, Read};
use std::num::NonZeroU16;
use xcc_model::{ExportKey, Origin, RemoteSet, Route};

fn remote(name: &str) -> RemoteName {
    RemoteName::parse(name).unwrap()
}

fn record(remotes: &[&str], endpoints: &[&str]) -> ImportRecord {
    let set = RemoteSet::new(remotes.iter().map(|name| remote(name))).unwrap();
    ImportRecord {
        routes: vec![Route { port: NonZeroU16::new(443).unwrap(), remotes: set }],
        endpoints: endpoints.iter().map(|it| it.parse().unwrap()).collect(),
        origins: vec![Origin { remote: remote(remotes[0]), export: ExportKey::new("team", "nginx") }],
        programmed: true,
        conflict: None,
    }
}

fn status(records: &[(&str, ImportRecord)]) -> ImportStatus {
    let records = records.iter().map(|(host, it)| (Hostname::parse(host).unwrap(), it.clone())).collect();
    ImportStatus { records, ..ImportStatus::default() }
}

fn clusters(names: &[&str]) -> BTreeMap<RemoteName, RemoteObject> {
    let read = |name: &&str| {
        let object = json!({"metadata": {"name": name, "uid": format!("uid-{name}")}});
        match RemoteClusters.read(&object) {
            Read::Present(remote, object) => (remote, object),
            _ => panic!(),
        }
    };
    names.iter().map(read).collect()
}

/// An object as the API server has it after it was applied.
fn written(object: &Value) -> (String, RecordObject) {
    let mut object = object.clone();
    object["metadata"]["uid"] = json!("u1");
    object["metadata"]["generation"] = json!(1);
    object["metadata"]["managedFields"] = json!([{"manager": "xcc", "operation": "Apply"}]);
    match ServiceRecords.read(&object) {
        Read::Present(name, object) => (name, object),
        _ => panic!(),
    }
}

const NOW: &str = "2026-01-01T00:00:00Z";

fn plan_of(status: &ImportStatus, written: &BTreeMap<String, RecordObject>) -> Plan {
    plan("xcc", status, &clusters(&["east", "west"]), written, NOW)
}

#[test]
fn a_record_is_applied_then_its_status_and_then_nothing() {
    let status = status(&[("nginx.xcc.test", record(&["east", "flag"], &["[fd00::1]:443", "10.0.0.1:443"]))]);
    let first = plan_of(&status, &BTreeMap::new());
    let [Write::Apply { name, object, force: false }] = &first.writes[..] else { panic!("{first:?}") };
    assert_eq!(name, "nginx.xcc.test");
    assert_eq!(
        object["spec"],
        json!({
            "fqdn": "nginx.xcc.test", "port": 443, "remotes": ["east", "flag"],
            "endpoints": [{"address": "10.0.0.1", "port": 443}, {"address": "fd00::1", "port": 443}],
        })
    );
    assert_eq!(object["metadata"]["labels"], json!({IMPORTED_LABEL: ""}));
    let owners = object["metadata"]["ownerReferences"].as_array().unwrap();
    assert_eq!(owners.len(), 1, "a remote of a flag owns nothing");
    assert_eq!((&owners[0]["kind"], &owners[0]["uid"]), (&json!("RemoteCluster"), &json!("uid-east")));

    let mut there = BTreeMap::from([written(object)]);
    let second = plan_of(&status, &there);
    let [Write::Status { object: status_object, .. }] = &second.writes[..] else { panic!("{second:?}") };
    let conditions = status_object["status"]["conditions"].as_array().unwrap();
    let summary: Vec<_> =
        conditions.iter().map(|it| (it["type"].as_str().unwrap(), it["status"].as_str().unwrap())).collect();
    assert_eq!(summary, [("Accepted", "True"), ("Programmed", "True"), ("Conflict", "False")]);

    let mut whole = object.clone();
    whole["status"] = status_object["status"].clone();
    there = BTreeMap::from([written(&whole)]);
    assert_eq!(plan_of(&status, &there), Plan::default());

    // Somebody edited ours: it is taken back.
    whole["spec"]["port"] = json!(80);
    there = BTreeMap::from([written(&whole)]);
    assert!(matches!(&plan_of(&status, &there).writes[..], [Write::Apply { force: true, .. }]));
}

#[test]
fn b12_what_somebody_else_made_is_never_touched() {
    let ours = |object: &Value| match ServiceRecords.read(object) {
        Read::Present(_, object) => object.ours,
        _ => panic!(),
    };
    let by = |manager: &str, operation: &str| json!([{"manager": manager, "operation": operation}]);
    let labels = json!({IMPORTED_LABEL: ""});
    for (metadata, want) in [
        (json!({"name": "a", "labels": labels, "managedFields": by("xcc", "Apply")}), true),
        (json!({"name": "a", "labels": labels, "managedFields": by("kubectl", "Apply")}), false),
        (json!({"name": "a", "labels": labels, "managedFields": by("xcc", "Update")}), false),
        (json!({"name": "a", "labels": labels}), false),
        (json!({"name": "a", "managedFields": by("xcc", "Apply")}), false),
    ] {
        assert_eq!(ours(&json!({"metadata": metadata.clone()})), want, "{metadata}");
    }
    let foreign = json!({"metadata": {"name": "nginx.xcc.test", "labels": labels}, "spec": {}});
    let Read::Present(name, object) = ServiceRecords.read(&foreign) else { panic!() };
    let there = BTreeMap::from([(name.clone(), object)]);
    let imported = status(&[("nginx.xcc.test", record(&["east"], &[]))]);
    let plan = plan_of(&imported, &there);
    assert_eq!((plan.writes, plan.foreign), (vec![], BTreeSet::from([name])));
    assert_eq!(plan_of(&ImportStatus::default(), &there), Plan::default(), "nor deleted");
}

#[test]
fn what_is_not_imported_any_more_is_deleted_by_uid() {
    let imported = status(&[("nginx.xcc.test", record(&["east"], &[]))]);
    let plan = plan_of(&imported, &BTreeMap::new());
    let Write::Apply { object, .. } = &plan.writes[0] else { panic!() };
    let there = BTreeMap::from([written(object)]);
    let plan = plan_of(&ImportStatus::default(), &there);
    assert_eq!(plan.writes, [Write::Delete { name: "nginx.xcc.test".into(), uid: "u1".into() }]);
}

#[test]
fn d6_the_owners_follow_the_contributing_remotes() {
    let both = status(&[("nginx.xcc.test", record(&["east", "west"], &[]))]);
    let plan = plan_of(&both, &BTreeMap::new());
    let Write::Apply { object, .. } = &plan.writes[0] else { panic!() };
    assert_eq!(object["metadata"]["ownerReferences"].as_array().unwrap().len(), 2);
    let there = BTreeMap::from([written(object)]);
    let one = status(&[("nginx.xcc.test", record(&["west"], &[]))]);
    let plan = plan_of(&one, &there);
    let [Write::Apply { object, .. }] = &plan.writes[..] else { panic!() };
    assert_eq!(object["metadata"]["ownerReferences"][0]["name"], "west");
}

#[test]
fn a_conflict_and_a_waiting_gateway_show_in_conditions_and_many_endpoints_in_a_number() {
    let mut imported = record(&["east"], &[]);
    imported.endpoints = (1..=100_u8).map(|last| ([10, 0, 0, last], 443).into()).collect();
    imported.programmed = false;
    imported.conflict = Some("443 by east, 8443 by west".to_owned());
    let imported = status(&[("nginx.xcc.test", imported)]);
    let plan = plan_of(&imported, &BTreeMap::new());
    let Write::Apply { object, .. } = &plan.writes[0] else { panic!() };
    assert_eq!(object["spec"]["endpoints"].as_array().unwrap().len(), ENDPOINTS_MAX);
    let plan = plan_of(&imported, &BTreeMap::from([written(object)]));
    let Write::Status { object, .. } = &plan.writes[0] else { panic!() };
    let status = &object["status"];
    assert_eq!(status["endpoints"], 100);
    assert_eq!(
        (&status["conditions"][1]["status"], &status["conditions"][2]["status"]),
        (&json!("False"), &json!("True"))
    );
    assert!(status["conditions"][2]["message"].as_str().unwrap().contains("8443 by west"));
}
