//! The writer against an importing cluster in this process.

use std::num::NonZeroU16;

use tokio::time::timeout;
use xcc_model::{Diagnostic, ExportKey, Hostname, ObjectKind, ObjectRef, Origin, Reason, RemoteSet, Route};

use super::*;
use crate::fake_api::{FakeApi, Fault};
use crate::importing::status::ImportRecord;

const CLUSTERS: &str = "/apis/connectivity.tanzu.vmware.com/v1alpha1/namespaces/xcc/remoteclusters";
const RECORDS: &str = "/apis/connectivity.tanzu.vmware.com/v1alpha1/namespaces/xcc/servicerecords";
const EVENTS: &str = "/apis/events.k8s.io/v1/namespaces/xcc/events";
const LEASE: &str = "/apis/coordination.k8s.io/v1/namespaces/xcc/leases";

fn remote() -> RemoteName {
    RemoteName::parse("east").unwrap()
}

fn status(hosts: &[&str], programmed: bool) -> Arc<ImportStatus> {
    let record = |host: &&str| {
        let set = RemoteSet::new([remote()]).unwrap();
        let record = ImportRecord {
            routes: vec![Route { port: NonZeroU16::new(443).unwrap(), remotes: set }],
            endpoints: ["10.0.0.1:443".parse().unwrap()].into(),
            origins: vec![Origin { remote: remote(), export: ExportKey::new("team", "nginx") }],
            programmed,
            conflict: None,
        };
        (Hostname::parse(host).unwrap(), record)
    };
    Arc::new(ImportStatus {
        derived: true,
        records: hosts.iter().map(record).collect(),
        remotes: BTreeMap::from([(remote(), hosts.len())]),
        diagnostics: Vec::new(),
    })
}

struct Running {
    api: FakeApi,
    status: watch::Sender<Arc<ImportStatus>>,
    leads: watch::Receiver<bool>,
    shutdown: CancellationToken,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.shutdown.cancel();
    }
}

impl Running {
    fn start(api: &FakeApi, identity: &str, status: Arc<ImportStatus>) -> Self {
        let cluster = ImportingCluster::with_connection(api.connection(), "xcc");
        let writer = cluster.status_writer(&HealthBoard::default());
        let (sender, receiver) = watch::channel(status);
        let shutdown = CancellationToken::new();
        let leads = writer.leads();
        tokio::spawn(writer.run(identity.to_owned(), receiver, shutdown.clone()));
        Self { api: api.clone(), status: sender, leads, shutdown }
    }

    async fn until(&self, wanted: impl Fn(&FakeApi) -> bool) {
        if timeout(Duration::from_secs(600), self.api.settled(wanted)).await.is_err() {
            panic!("{:#?} {:#?}", self.api.names(RECORDS), self.api.writes());
        }
    }

    /// Waits until the writer has had its chance to write again: some lease renewals later.
    async fn quiet(&self) -> Vec<String> {
        let gets = self.api.requests("GET /apis/coordination");
        self.api.requested("GET /apis/coordination", gets + 20).await;
        self.api.writes().into_iter().filter(|write| !write.contains(LEASE)).collect()
    }
}

fn api() -> FakeApi {
    let api = FakeApi::new();
    api.put(CLUSTERS, json!({"metadata": {"name": "east", "namespace": "xcc"}, "spec": {"kubeconfigSecretRef": {"name": "s"}}}));
    api
}

fn condition(api: &FakeApi, path: &str, kind: &str) -> Option<String> {
    let object = api.get(path)?;
    let conditions = object["status"]["conditions"].as_array()?.clone();
    let condition = conditions.iter().find(|it| it["type"] == kind)?;
    Some(condition["status"].as_str()?.to_owned())
}

#[tokio::test(start_paused = true)]
async fn records_are_written_followed_and_deleted_and_equal_ones_are_not_written() {
    let api = api();
    let host = format!("{RECORDS}/nginx.xcc.test");
    let running = Running::start(&api, "a", status(&["nginx.xcc.test"], false));
    running.until(|api| condition(api, &host, "Programmed").as_deref() == Some("False")).await;
    let object = api.get(&host).unwrap();
    assert_eq!(object["metadata"]["ownerReferences"][0]["uid"], "uid-east");
    running.status.send_replace(status(&["nginx.xcc.test"], true));
    running.until(|api| condition(api, &host, "Programmed").as_deref() == Some("True")).await;
    running.until(|api| api.get(&format!("{CLUSTERS}/east")).unwrap()["status"]["exports"] == 1).await;

    let before = running.quiet().await;
    running.status.send_replace(status(&["nginx.xcc.test"], true));
    assert_eq!(running.quiet().await, before, "nothing differs, nothing is written");

    // Deleted by somebody: it is imported, so it is there again.
    api.delete(RECORDS, "nginx.xcc.test");
    running.until(|api| condition(api, &host, "Programmed").is_some()).await;
    running.status.send_replace(status(&["*.team.xcc.test"], true));
    running
        .until(|api| {
            let names = api.names(RECORDS);
            names.len() == 1 && names[0].starts_with("wildcard.team.xcc.test-")
        })
        .await;
}

#[tokio::test(start_paused = true)]
async fn nothing_is_deleted_before_the_pipeline_knows_and_foreign_objects_never() {
    let api = api();
    let first = Running::start(&api, "a", status(&["old.xcc.test"], true));
    first.until(|api| condition(api, &format!("{RECORDS}/old.xcc.test"), "Programmed").is_some()).await;
    drop(first);
    let foreign = json!({
        "metadata": {"name": "theirs.xcc.test", "namespace": "xcc", "labels": {"connectivity.tanzu.vmware.com/imported": ""}},
        "spec": {"mine": true},
    });
    api.put(RECORDS, foreign);
    let second = Running::start(&api, "b", Arc::default());
    second.leads.clone().wait_for(|leads| *leads).await.unwrap();
    second.quiet().await;
    assert_eq!(api.names(RECORDS), ["old.xcc.test", "theirs.xcc.test"]);
    second.status.send_replace(status(&["theirs.xcc.test", "new.xcc.test"], true));
    second.until(|api| api.names(RECORDS) == ["new.xcc.test", "theirs.xcc.test"]).await;
    second.quiet().await;
    assert_eq!(api.get(&format!("{RECORDS}/theirs.xcc.test")).unwrap()["spec"], json!({"mine": true}));
}

#[tokio::test(start_paused = true)]
async fn who_does_not_lead_writes_nothing_and_one_object_that_is_refused_stops_no_other() {
    let api = api();
    api.outage(&format!("PATCH {RECORDS}/a.xcc.test"), Some(Fault::Status(403)));
    api.fail(&format!("PATCH {RECORDS}/b.xcc.test"), [Fault::Status(500), Fault::Status(429)]);
    let running = Running::start(&api, "a", status(&["a.xcc.test", "b.xcc.test"], true));
    let other = Running::start(&api, "b", status(&[], true));
    running.until(|api| condition(api, &format!("{RECORDS}/b.xcc.test"), "Programmed").is_some()).await;
    assert!(*running.leads.borrow() && !*other.leads.borrow());
    api.outage(&format!("PATCH {RECORDS}/a.xcc.test"), None);
    running.until(|api| condition(api, &format!("{RECORDS}/a.xcc.test"), "Programmed").is_some()).await;
    // The other one knows better: once it leads, it says so.
    running.shutdown.cancel();
    other.until(|api| api.names(RECORDS).is_empty()).await;
}

#[tokio::test(start_paused = true)]
async fn refused_exports_are_told_once_by_events_also_when_the_leader_changes() {
    let api = api();
    let mut refused = (*status(&[], true)).clone();
    refused.diagnostics = vec![Diagnostic {
        remote: remote(),
        object: ObjectRef::new(ObjectKind::HTTPProxy, "team", "nginx"),
        reason: Reason::DomainNotAllowed,
        message: "not allowed".to_owned(),
    }];
    let refused = Arc::new(refused);
    let running = Running::start(&api, "a", refused.clone());
    running.until(|api| api.names(EVENTS).len() == 1).await;
    running.quiet().await;
    drop(running);
    let next = Running::start(&api, "b", refused);
    next.leads.clone().wait_for(|leads| *leads).await.unwrap();
    let writes = next.quiet().await;
    let posts = writes.iter().filter(|write| write.starts_with("POST") && write.contains("/events")).count();
    assert_eq!((api.names(EVENTS).len(), posts), (1, 2));
}

#[tokio::test(start_paused = true)]
async fn many_records_are_written_at_a_bounded_rate() {
    let api = api();
    let hosts: Vec<String> = (0..600).map(|number| format!("h{number}.xcc.test")).collect();
    let hosts: Vec<&str> = hosts.iter().map(String::as_str).collect();
    let started = Instant::now();
    let running = Running::start(&api, "a", status(&hosts, true));
    let patches = format!("PATCH {RECORDS}");
    api.requested(&patches, 1_200).await;
    let elapsed = started.elapsed();
    assert!(elapsed >= Duration::from_secs(10) && elapsed < Duration::from_secs(30), "{elapsed:?}");
    running.quiet().await;
    assert_eq!(api.requests(&patches), 1_200, "each object and its status once");
    assert!(condition(&api, &format!("{RECORDS}/h599.xcc.test"), "Programmed").is_some());
}
