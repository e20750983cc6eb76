//! RemoteClusters and Secrets in an importing cluster in this process, and remotes in others.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::json;
use tokio::time::timeout;
use xcc_model::Inventory;

use super::*;
use crate::fake_api::{FakeApi, Fault, NODES, PROXIES};
use crate::session::{RemoteHealth, Sync};

const CLUSTERS: &str = "/apis/connectivity.tanzu.vmware.com/v1alpha1/namespaces/xcc/remoteclusters";
const SECRETS: &str = "/api/v1/namespaces/xcc/secrets";

fn name(name: &str) -> RemoteName {
    RemoteName::parse(name).unwrap()
}

fn proxy(name: &str) -> Value {
    json!({
        "metadata": {"name": name, "namespace": "team", "labels": {"connectivity.tanzu.vmware.com/export": ""}},
        "spec": {"virtualhost": {"fqdn": format!("{name}.xcc.test"), "tls": {"secretName": "s"}}},
    })
}

fn cluster(name: &str, domains: &[&str]) -> Value {
    json!({
        "metadata": {"name": name, "namespace": "xcc"},
        "spec": {"kubeconfigSecretRef": {"name": format!("{name}-kubeconfig")}, "allowedDomains": domains},
    })
}

fn kubeconfig(server: &str, token: &str) -> Value {
    json!({
        "current-context": "c",
        "clusters": [{"name": "c", "cluster": {"server": server}}],
        "users": [{"name": "u", "user": {"token": token}}],
        "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
    })
}

fn secret(name: &str, kubeconfig: &Value) -> Value {
    let data = serde_json::to_value(ByteString(kubeconfig.to_string().into_bytes())).unwrap();
    json!({"metadata": {"name": name, "namespace": "xcc"}, "data": {"value": data}})
}

/// An importing cluster, and remotes whose server is `https://NAME`.
struct World {
    importing: FakeApi,
    remotes: BTreeMap<String, FakeApi>,
    inventory: Inventory,
    inbox: mpsc::Receiver<Update>,
    health: HealthBoard,
    shutdown: CancellationToken,
}

impl Drop for World {
    fn drop(&mut self) {
        self.shutdown.cancel();
    }
}

impl World {
    fn new(names: &[&str]) -> Self {
        let remotes = names.iter().map(|name| {
            let api = FakeApi::new();
            api.put(NODES, json!({"metadata": {"name": "n1"}}));
            api.put(PROXIES, proxy(&format!("of-{name}")));
            ((*name).to_owned(), api)
        });
        Self {
            importing: FakeApi::new(),
            remotes: remotes.collect(),
            inventory: Inventory::default(),
            inbox: mpsc::channel(1).1,
            health: HealthBoard::default(),
            shutdown: CancellationToken::new(),
        }
    }

    fn start(&mut self, known: BTreeMap<RemoteName, xcc_model::Remote>) {
        let (updates, inbox) = mpsc::channel(16);
        self.inbox = inbox;
        let remotes = self.remotes.clone();
        let connect = move |server: &str| remotes[server.trim_start_matches("https://")].connection();
        let mut cluster = ImportingCluster::with_connection(self.importing.connection(), "xcc");
        cluster.connector = Connector::Fake(Arc::new(connect));
        let (health, shutdown) = (self.health.clone(), self.shutdown.clone());
        tokio::spawn(async move { cluster.run_remote_clusters(updates, health, known, shutdown).await });
    }

    /// Both objects of a remote.
    fn add(&self, name: &str) {
        self.importing.put(CLUSTERS, cluster(name, &[]));
        self.importing.put(
            SECRETS,
            secret(&format!("{name}-kubeconfig"), &kubeconfig(&format!("https://{name}"), "t")),
        );
    }

    async fn until(&mut self, wanted: impl Fn(&Inventory) -> bool) {
        let limit = timeout(Duration::from_secs(600), async {
            while !wanted(&self.inventory) {
                let update = self.inbox.recv().await.unwrap();
                self.inventory.apply(update);
            }
        });
        if limit.await.is_err() {
            panic!("{:#?} {:#?}", self.inventory, self.health);
        }
    }

    async fn until_health(&self, remote: &str, wanted: impl Fn(&RemoteHealth) -> bool) {
        let mut board = self.health.subscribe();
        let wanted =
            |board: &BTreeMap<RemoteName, RemoteHealth>| board.get(&name(remote)).is_some_and(&wanted);
        let limit = timeout(Duration::from_secs(600), board.wait_for(wanted)).await;
        if limit.is_err() {
            panic!("{:#?}", self.health);
        }
    }
}

fn exports(inventory: &Inventory, remote: &str) -> Vec<String> {
    let remote = inventory.remotes().get(&name(remote));
    remote.into_iter().flat_map(|remote| remote.exports.keys()).map(|key| key.name.to_string()).collect()
}

fn kubeconfig_trouble(health: &RemoteHealth) -> Option<&'static str> {
    match &health.kubeconfig {
        Some(Err(trouble)) => Some(trouble.reason),
        _ => None,
    }
}

#[tokio::test(start_paused = true)]
async fn remotes_come_and_go_with_their_objects() {
    let mut world = World::new(&["east", "west"]);
    world.add("east");
    world.start(BTreeMap::new());
    world.until(|inventory| exports(inventory, "east") == ["of-east"]).await;
    world.add("west");
    world.until(|inventory| exports(inventory, "west") == ["of-west"]).await;
    world.until_health("west", |health| health.sync == Sync::Done && health.kubeconfig == Some(Ok(()))).await;
    let cluster = ImportingCluster::with_connection(world.importing.connection(), "xcc");
    let initial = cluster.initial_remotes().await.unwrap();
    assert_eq!(initial, BTreeSet::from([name("east"), name("west")]));

    world.importing.delete(CLUSTERS, "east");
    world.until(|inventory| !inventory.remotes().contains_key(&name("east"))).await;
    assert!(!world.health.subscribe().borrow().contains_key(&name("east")));
    world.add("east");
    world.until(|inventory| exports(inventory, "east") == ["of-east"]).await;
}

#[tokio::test(start_paused = true)]
async fn c11_invalid_settings_leave_the_last_valid_ones_in_force_until_they_are_fixed() {
    let mut world = World::new(&["east"]);
    world.add("east");
    world.start(BTreeMap::new());
    world.until(|inventory| exports(inventory, "east") == ["of-east"]).await;
    let state = |inventory: &Inventory| {
        let remote = &inventory.remotes()[&name("east")];
        let domains = remote.settings.as_ref().map(|settings| settings.allowed_domains.entries().to_vec());
        (domains.unwrap_or_default(), remote.settings_problem.is_some())
    };
    world.importing.put(CLUSTERS, cluster("east", &["xcc.test"]));
    world.until(|inventory| state(inventory) == (vec!["xcc.test".to_owned()], false)).await;
    world.importing.put(CLUSTERS, cluster("east", &["not a domain"]));
    world.until(|inventory| state(inventory) == (vec!["xcc.test".to_owned()], true)).await;
    assert_eq!(exports(&world.inventory, "east"), ["of-east"]);
    world.importing.put(CLUSTERS, cluster("east", &["other.test"]));
    world.until(|inventory| state(inventory) == (vec!["other.test".to_owned()], false)).await;
}

#[tokio::test(start_paused = true)]
async fn f16_secrets_are_rotated_refused_deleted_and_restored_without_a_flap() {
    let mut world = World::new(&["east", "moved"]);
    world.add("east");
    world.start(BTreeMap::new());
    world.until(|inventory| exports(inventory, "east") == ["of-east"]).await;
    let east = world.remotes["east"].clone();
    let lists = || east.requests(&format!("GET {PROXIES}"));
    let put = |world: &World, kubeconfig: &Value| {
        world.importing.put(SECRETS, secret("east-kubeconfig", kubeconfig))
    };

    // Other credentials: listed anew, and nothing of what is known changes.
    put(&world, &kubeconfig("https://east", "renewed"));
    east.requested(&format!("GET {PROXIES}"), 2).await;
    // Refused: the earlier ones stay in use.
    let mut refused = kubeconfig("https://east", "t");
    refused["users"][0]["user"]["exec"] = json!({"command": "touch"});
    put(&world, &refused);
    world.until_health("east", |health| kubeconfig_trouble(health) == Some("KubeconfigRefused")).await;
    let board = world.health.subscribe().borrow().clone();
    let Some(Err(trouble)) = &board[&name("east")].kubeconfig else { panic!() };
    assert!(
        trouble.message.contains("users[0].user.exec") && trouble.message.contains("stays in use"),
        "{trouble:?}"
    );
    east.put(PROXIES, proxy("later"));
    world.until(|inventory| exports(inventory, "east") == ["later", "of-east"]).await;

    // Deleted: not used any more, and what is known stays.
    world.importing.delete(SECRETS, "east-kubeconfig");
    world
        .until_health("east", |health| {
            kubeconfig_trouble(health) == Some("SecretNotFound") && health.connection.is_none()
        })
        .await;
    assert_eq!(exports(&world.inventory, "east").len(), 2);
    let before = lists();
    put(&world, &kubeconfig("https://east", "again"));
    east.requested(&format!("GET {PROXIES}"), before + 1).await;
    world
        .until_health("east", |health| health.kubeconfig == Some(Ok(())) && health.connection == Some(Ok(())))
        .await;
    assert_eq!(exports(&world.inventory, "east").len(), 2);

    // Another cluster altogether.
    put(&world, &kubeconfig("https://moved", "t"));
    world.until(|inventory| exports(inventory, "east") == ["of-moved"]).await;
}

#[tokio::test(start_paused = true)]
async fn f22_a_remote_that_hangs_and_one_that_floods_do_not_hold_up_the_others() {
    let mut world = World::new(&["hang", "flood", "east"]);
    world.remotes["hang"].outage("", Some(Fault::Hang));
    for number in 0..3_000 {
        world.remotes["flood"].put(PROXIES, proxy(&format!("p{number}")));
    }
    for remote in ["hang", "flood", "east"] {
        world.add(remote);
    }
    world.start(BTreeMap::new());
    world
        .until(|inventory| !exports(inventory, "east").is_empty() && !exports(inventory, "flood").is_empty())
        .await;
    for round in 0..1_000 {
        let mut changed = proxy(&format!("p{}", round % 10));
        changed["metadata"]["annotations"] =
            json!({"connectivity.tanzu.vmware.com/service-port": round.to_string()});
        world.remotes["flood"].put(PROXIES, changed);
    }
    world.remotes["east"].put(PROXIES, proxy("later"));
    let mut of_flood = 0;
    let before = Instant::now();
    while exports(&world.inventory, "east").len() < 2 {
        let update = world.inbox.recv().await.unwrap();
        of_flood += usize::from(update.remote == name("flood"));
        world.inventory.apply(update);
    }
    assert!(
        of_flood <= 100 && before.elapsed() < Duration::from_secs(1),
        "{of_flood} {:?}",
        before.elapsed()
    );
    world
        .until_health(
            "hang",
            |health| matches!(&health.connection, Some(Err(trouble)) if trouble.reason == "TimedOut"),
        )
        .await;
}

#[tokio::test(start_paused = true)]
async fn what_was_known_of_a_remote_without_an_object_is_removed_once_that_is_known() {
    let mut world = World::new(&["east"]);
    world.add("east");
    world.importing.fail(&format!("GET {CLUSTERS}"), [Fault::Status(500), Fault::Cut]);
    let known = |remote: &str| (name(remote), xcc_model::Remote::default());
    world.inventory.apply(Update { remote: name("gone"), changes: vec![Change::Synced] });
    world.start(BTreeMap::from([known("gone"), known("east")]));
    world.until(|inventory| !inventory.remotes().contains_key(&name("gone"))).await;
    world.until(|inventory| exports(inventory, "east") == ["of-east"]).await;
}

#[test]
fn the_secret_must_be_there_with_its_key_and_a_kubeconfig() {
    let reference = |key: &str| Some(("s".to_owned(), key.to_owned()));
    let data = |text: &str| {
        let data = BTreeMap::from([("value".to_owned(), text.to_owned())]);
        BTreeMap::from([("s".to_owned(), SecretData(Arc::new(data)))])
    };
    let good =
        serde_json::to_value(ByteString(kubeconfig("https://x", "t").to_string().into_bytes())).unwrap();
    let good = good.as_str().unwrap();
    assert!(credentials(reference("value").as_ref(), &data(good)).is_ok());
    for (secret, secrets, gone, reason) in [
        (None, data(good), true, "NoKubeconfig"),
        (reference("value"), BTreeMap::new(), true, "SecretNotFound"),
        (reference("other"), data(good), false, "SecretKeyNotFound"),
        (reference("value"), data(""), false, "KubeconfigMalformed"),
        (reference("value"), data(&"A".repeat(600_001)), false, "KubeconfigMalformed"),
    ] {
        let absent = credentials(secret.as_ref(), &secrets).unwrap_err();
        let (is_gone, trouble) = match absent {
            Absent::Gone(trouble) => (true, trouble),
            Absent::Refused(trouble) => (false, trouble),
        };
        assert_eq!((is_gone, trouble.reason), (gone, reason), "{}", trouble.message);
    }
}
