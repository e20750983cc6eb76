//! A session against an API server in this process, with all that can go wrong with it.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::timeout;
use xcc_model::{ExportKey, Inventory, Update};

use super::*;
use crate::fake_api::{FakeApi, Fault, NODES, PROXIES};

fn remote() -> RemoteName {
    RemoteName::parse("east").unwrap()
}

fn proxy(name: &str) -> Value {
    json!({
        "metadata": {"name": name, "namespace": "team", "labels": {"connectivity.tanzu.vmware.com/export": ""}},
        "spec": {"virtualhost": {"fqdn": format!("{name}.xcc.test"), "tls": {"secretName": "s"}}},
    })
}

fn node(name: &str, address: &str) -> Value {
    json!({
        "metadata": {"name": name},
        "status": {
            "conditions": [{"type": "Ready", "status": "True"}],
            "addresses": [{"type": "InternalIP", "address": address}],
        },
    })
}

/// A session whose updates are applied to an inventory.
struct Running {
    api: FakeApi,
    inventory: Inventory,
    inbox: mpsc::Receiver<Update>,
    health: HealthBoard,
    connections: watch::Sender<Option<Connection>>,
    service: watch::Sender<Option<ServiceName>>,
    shutdown: CancellationToken,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.shutdown.cancel();
    }
}

impl Running {
    fn start(api: FakeApi) -> Self {
        let connection = api.connection();
        Self::start_with(api, Some(connection), xcc_model::Remote::default())
    }

    fn start_with(api: FakeApi, connection: Option<Connection>, known: xcc_model::Remote) -> Self {
        let (updates, inbox) = mpsc::channel(16);
        let (connections, receiver) = watch::channel(connection);
        let (outbox, health) = (Arc::new(Outbox::default()), HealthBoard::default());
        let shutdown = CancellationToken::new();
        let (service, named) = watch::channel(None);
        let session = Session {
            remote: remote(),
            outbox: outbox.clone(),
            health: health.clone(),
            service: named,
            known,
        };
        tokio::spawn(session.run(receiver, shutdown.clone()));
        let token = shutdown.clone();
        tokio::spawn(async move { outbox.run(updates, token).await });
        Self { api, inventory: Inventory::default(), inbox, health, connections, service, shutdown }
    }

    /// Waits until what is known of the remote is as wanted.
    async fn until(&mut self, wanted: impl Fn(&xcc_model::Remote) -> bool) {
        let limit = timeout(Duration::from_secs(600), async {
            while !self.inventory.remotes().get(&remote()).is_some_and(&wanted) {
                let update = self.inbox.recv().await.unwrap();
                self.inventory.apply(update);
            }
        });
        if limit.await.is_err() {
            panic!("{:#?}", self.inventory);
        }
    }

    async fn until_health(&self, wanted: impl Fn(&RemoteHealth) -> bool) {
        let mut board = self.health.subscribe();
        let wanted = |board: &std::collections::BTreeMap<RemoteName, RemoteHealth>| {
            board.get(&remote()).is_some_and(&wanted)
        };
        let limit = timeout(Duration::from_secs(600), board.wait_for(wanted)).await;
        if limit.is_err() {
            panic!("{:#?}", self.health);
        }
    }

    fn names(&self) -> Vec<String> {
        let remote = &self.inventory.remotes()[&remote()];
        remote.exports.keys().map(|key| key.name.to_string()).collect()
    }
}

fn has(remote: &xcc_model::Remote, name: &str) -> bool {
    remote.exports.contains_key(&ExportKey::new("team", name))
}

fn trouble(health: &RemoteHealth) -> Option<&'static str> {
    match &health.connection {
        Some(Err(trouble)) => Some(trouble.reason),
        _ => None,
    }
}

/// An API server with one node and these exports.
fn api(names: &[&str]) -> FakeApi {
    let api = FakeApi::new();
    api.put(NODES, node("n1", "10.0.0.1"));
    for name in names {
        api.put(PROXIES, proxy(name));
    }
    api
}

#[tokio::test(start_paused = true)]
async fn labelled_proxies_and_nodes_are_told_and_followed() {
    let api = api(&["a"]);
    let mut unlabelled = proxy("hidden");
    unlabelled["metadata"]["labels"] = json!({});
    api.put(PROXIES, unlabelled.clone());
    let mut running = Running::start(api.clone());
    running.until(|remote| remote.synced).await;
    assert_eq!(running.names(), ["a"]);
    assert!(running.inventory.remotes()[&remote()].nodes["n1"].eligible);

    api.put(PROXIES, proxy("b"));
    running.until(|remote| has(remote, "b")).await;
    api.put(PROXIES, proxy("hidden"));
    running.until(|remote| has(remote, "hidden")).await;
    // Label removed: an API server tells those who select by it that the object is gone.
    api.delete(PROXIES, "hidden");
    running.until(|remote| !has(remote, "hidden")).await;
    api.put(NODES, json!({"metadata": {"name": "n1"}, "status": {}}));
    running.until(|remote| !remote.nodes["n1"].eligible).await;
    api.delete(NODES, "n1");
    running.until(|remote| remote.nodes.is_empty()).await;
    running.until_health(|health| health.connection == Some(Ok(())) && health.last_sync.is_some()).await;
}

#[tokio::test(start_paused = true)]
async fn a_list_of_many_pages_is_told_at_once() {
    let api = api(&[]);
    for number in 0..1234 {
        api.put(PROXIES, proxy(&format!("p{number:04}")));
    }
    let mut running = Running::start(api.clone());
    running.until(|remote| !remote.exports.is_empty()).await;
    assert_eq!(running.names().len(), 1234, "half a list was told");
    assert_eq!(api.requests(&format!("GET {PROXIES}")), 3);
}

#[tokio::test(start_paused = true)]
async fn f14_gone_in_the_middle_of_a_watch_is_a_new_list_that_finds_missed_deletions() {
    for with_event in [true, false] {
        let mut running = Running::start(api(&["a", "b"]));
        running.until(|remote| remote.synced).await;
        let lists = running.api.requests(&format!("GET {PROXIES}"));
        running.api.requested(&format!("WATCH {PROXIES}"), 1).await;
        running.api.delete_unseen(PROXIES, "a");
        running.api.expire(with_event);
        running.until(|remote| !has(remote, "a")).await;
        assert_eq!(running.names(), ["b"]);
        assert_eq!(running.api.requests(&format!("GET {PROXIES}")), lists + 1);
    }
}

#[tokio::test(start_paused = true)]
async fn f14_a_list_that_breaks_off_hangs_or_is_nonsense_is_tried_again_and_nothing_is_gone() {
    let mut running = Running::start(api(&["a", "b"]));
    running.until(|remote| remote.synced).await;
    let faults = [
        Fault::Cut,
        Fault::Stall,
        Fault::Hang,
        Fault::Body(b"<html>login</html>".to_vec()),
        Fault::Body(br#"{"kind": "Status"}"#.to_vec()),
        Fault::Body(br#"{"metadata": {"resourceVersion": "1"}}"#.to_vec()),
        Fault::Status(429),
        Fault::Status(500),
        Fault::Status(410),
    ];
    running.api.fail(&format!("GET {PROXIES}"), faults.clone());
    running.api.requested(&format!("WATCH {PROXIES}"), 1).await;
    running.api.expire(true);
    let lists = 1 + faults.len() + 1;
    running.api.requested(&format!("GET {PROXIES}"), lists).await;
    running.api.put(PROXIES, proxy("c"));
    running.until(|remote| has(remote, "c")).await;
    assert_eq!(running.names(), ["a", "b", "c"]);
    running.until_health(|health| health.connection == Some(Ok(()))).await;
}

#[tokio::test(start_paused = true)]
async fn f15_forbidden_and_not_found_keep_everything_and_say_what_to_do() {
    for (code, reason, advice) in
        [(403, "Forbidden", "grant"), (404, "NotFound", "install"), (401, "Unauthorized", "renew")]
    {
        let mut running = Running::start(api(&["a"]));
        running.until(|remote| remote.synced).await;
        running.api.requested(&format!("WATCH {PROXIES}"), 1).await;
        for method in ["GET", "WATCH"] {
            running.api.outage(&format!("{method} {PROXIES}"), Some(Fault::Status(code)));
        }
        running.api.expire(false);
        running.until_health(|health| trouble(health) == Some(reason)).await;
        let board = running.health.subscribe().borrow().clone();
        let Some(Err(trouble)) = &board[&remote()].connection else { panic!() };
        assert!(trouble.message.contains(advice) && trouble.message.contains("HTTPProxies"), "{trouble:?}");
        // It lasts: the diagnostics tell of it too, and nothing else has changed.
        running.until(|remote| remote.problems.contains_key(API_SERVER)).await;
        assert_eq!(running.names(), ["a"]);

        for method in ["GET", "WATCH"] {
            running.api.outage(&format!("{method} {PROXIES}"), None);
        }
        running.api.put(PROXIES, proxy("b"));
        running.until(|remote| has(remote, "b") && remote.problems.is_empty()).await;
        running.until_health(|health| health.connection == Some(Ok(()))).await;
    }
}

#[tokio::test(start_paused = true)]
async fn f15_a_list_that_is_suddenly_empty_waits_for_a_second_one() {
    let names: Vec<String> = (0..20).map(|number| format!("p{number:02}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let mut running = Running::start(api(&names));
    running.until(|remote| remote.synced).await;
    running.api.requested(&format!("WATCH {PROXIES}"), 1).await;
    for name in &names {
        running.api.delete_unseen(PROXIES, name);
    }
    running.api.expire(true);
    let before = Instant::now();
    running.until_health(|health| health.sync == Sync::Held).await;
    assert!(before.elapsed() < Duration::from_secs(30));
    running.api.put(PROXIES, proxy("new"));
    running.until(|remote| has(remote, "new")).await;
    assert_eq!(running.names().len(), 21);
    running.until(|remote| remote.exports.len() == 1).await;
    assert!(before.elapsed() >= Duration::from_secs(60));
    running.until_health(|health| health.sync == Sync::Done).await;
}

#[tokio::test(start_paused = true)]
async fn what_was_known_before_the_start_is_not_dropped_by_a_first_empty_list() {
    let known_from = |names: std::ops::Range<u8>| {
        let mut inventory = Inventory::default();
        let export = |number: u8| {
            let key = ExportKey::new("team", format!("p{number}"));
            let object = proxy(&format!("p{number}"));
            let crate::Conversion::Export(_, export) = crate::convert::http_proxy(&remote(), &object) else {
                panic!()
            };
            Change::Export(key, Some(export))
        };
        inventory.apply(Update { remote: remote(), changes: names.map(export).collect() });
        inventory.remotes()[&remote()].clone()
    };
    let api = api(&[]);
    let connection = api.connection();
    let mut running = Running::start_with(api, Some(connection), known_from(0..15));
    running.until(|remote| remote.synced).await;
    assert_eq!(running.names().len(), 15);
}

#[tokio::test(start_paused = true)]
async fn malformed_objects_and_events_are_skipped_and_the_rest_goes_on() {
    let api = api(&["a"]);
    let mut bad = proxy("bad");
    bad["spec"]["virtualhost"]["fqdn"] = json!(5);
    api.put(PROXIES, bad);
    let mut running = Running::start(api.clone());
    running.until(|remote| remote.synced && remote.problems.contains_key("team/bad")).await;
    assert_eq!(running.names(), ["a"]);

    running.api.requested(&format!("WATCH {PROXIES}"), 1).await;
    for line in
        ["not json", "", "5", "{}", r#"{"type": "ADDED", "object": 5}"#, r#"{"type": "NEW", "object": {}}"#]
    {
        api.tell(PROXIES, line);
    }
    api.tell(
        PROXIES,
        &json!({"type": "ADDED", "object": {"metadata": {"annotations": "x".repeat(10_000_000)}}})
            .to_string(),
    );
    let mut bad = proxy("a");
    bad["spec"] = json!("nonsense");
    api.put(PROXIES, bad);
    running.until(|remote| remote.problems.contains_key("team/a")).await;
    assert!(has(&running.inventory.remotes()[&remote()], "a"), "what it was before stays in force");
    api.put(PROXIES, proxy("bad"));
    running.until(|remote| has(remote, "bad") && !remote.problems.contains_key("team/bad")).await;
    assert_eq!(running.api.requests(&format!("WATCH {PROXIES}")), 1, "the watch went on");
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_hangs_is_noticed_and_continued_where_it_was() {
    let mut running = Running::start(api(&["a"]));
    running.until(|remote| remote.synced).await;
    let lists = running.api.requests(&format!("GET {PROXIES}"));
    // The fake never ends a watch, as a network that lost the connection does not.
    running.api.requested(&format!("WATCH {PROXIES}"), 3).await;
    assert_eq!(running.api.requests(&format!("GET {PROXIES}")), lists);
    running.api.put(PROXIES, proxy("b"));
    running.until(|remote| has(remote, "b")).await;
}

#[tokio::test(start_paused = true)]
async fn an_api_server_that_cannot_list_nodes_does_not_hide_the_exports() {
    let api = api(&["a"]);
    api.outage(&format!("GET {NODES}"), Some(Fault::Status(403)));
    let mut running = Running::start(api.clone());
    running.until(|remote| has(remote, "a")).await;
    assert!(!running.inventory.remotes()[&remote()].synced);
    running.until_health(|health| trouble(health) == Some("Forbidden") && health.sync == Sync::Pending).await;
    api.outage(&format!("GET {NODES}"), None);
    running.until(|remote| remote.synced && remote.nodes.contains_key("n1")).await;
}

#[tokio::test(start_paused = true)]
async fn f16_a_new_connection_keeps_the_state_and_tells_only_what_differs() {
    let mut running = Running::start(api(&["a", "b"]));
    running.until(|remote| remote.synced).await;
    let renewed = api(&["b", "c"]);
    running.connections.send_replace(None);
    running.connections.send_replace(Some(renewed.connection()));
    let update = running.inbox.recv().await.unwrap();
    let [Change::Exports(exports)] = &update.changes[..] else { panic!("{update:?}") };
    assert_eq!(exports.len(), 2);
    renewed.put(PROXIES, proxy("d"));
    running.until(|remote| has(remote, "d")).await;
}

#[tokio::test(start_paused = true)]
async fn a_page_that_is_too_large_is_asked_for_in_parts() {
    let api = api(&[]);
    for number in 0..40 {
        let mut large = proxy(&format!("p{number:02}"));
        large["metadata"]["managedFields"] = json!("x".repeat(10_000));
        api.put(PROXIES, large);
    }
    let connection = api.connection().with_body_size_max(100_000);
    let mut running = Running::start_with(api.clone(), Some(connection), xcc_model::Remote::default());
    running.until(|remote| remote.synced).await;
    assert_eq!(running.names().len(), 40);
    assert_eq!(api.requests(&format!("GET {PROXIES}")), 3 + 10, "of 500, 100 and 20, then of 4 each");
}

#[tokio::test(start_paused = true)]
async fn the_service_that_the_settings_name_is_watched_and_no_other() {
    const SERVICES: &str = "/api/v1/namespaces/ingress/services";
    let service = |name: &str, address: &str| {
        json!({
            "metadata": {"name": name, "namespace": "ingress"},
            "spec": {"ports": [{"port": 443, "nodePort": 30443}]},
            "status": {"loadBalancer": {"ingress": [{"ip": address}]}},
        })
    };
    let address = |remote: &xcc_model::Remote, name: &str| {
        let service = remote.services.get(&ServiceName::new("ingress", name))?;
        service.load_balancer.first().and_then(|address| address.clone().ok()).map(|it| it.to_string())
    };
    let api = api(&["a"]);
    api.put(SERVICES, service("envoy", "192.0.2.1"));
    api.put(SERVICES, service("other", "192.0.2.9"));
    let mut running = Running::start(api.clone());
    running.until(|remote| remote.synced).await;
    assert_eq!(api.requests(&format!("GET {SERVICES}")), 0);

    // A Service that cannot be read keeps nothing else back.
    api.outage(&format!("GET {SERVICES}"), Some(Fault::Status(403)));
    running.service.send_replace(Some(ServiceName::new("ingress", "envoy")));
    running.until_health(|health| trouble(health) == Some("Forbidden")).await;
    api.put(PROXIES, proxy("b"));
    running.until(|remote| has(remote, "b") && remote.services.is_empty()).await;
    api.outage(&format!("GET {SERVICES}"), None);
    running.until(|remote| address(remote, "envoy").as_deref() == Some("192.0.2.1")).await;
    api.put(SERVICES, service("envoy", "192.0.2.2"));
    running.until(|remote| address(remote, "envoy").as_deref() == Some("192.0.2.2")).await;
    assert_eq!(address(&running.inventory.remotes()[&remote()], "other"), None);

    let mut bad = service("envoy", "192.0.2.3");
    bad["spec"] = json!("nonsense");
    api.put(SERVICES, bad);
    running.until(|remote| remote.problems.contains_key("Service ingress/envoy")).await;
    assert_eq!(
        address(&running.inventory.remotes()[&remote()], "envoy").as_deref(),
        Some("192.0.2.2"),
        "what it was before stays in force"
    );

    running.service.send_replace(Some(ServiceName::new("ingress", "other")));
    running.until(|remote| address(remote, "other").is_some() && address(remote, "envoy").is_none()).await;
    api.delete(SERVICES, "other");
    running.until(|remote| remote.services.is_empty()).await;
    running.service.send_replace(None);
    api.put(PROXIES, proxy("c"));
    running.until(|remote| has(remote, "c")).await;
    running.until_health(|health| health.connection == Some(Ok(()))).await;
}
