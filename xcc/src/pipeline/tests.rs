//! What a start makes of what was known before.

use std::net::Ipv4Addr;

use xcc_dns::ZoneConfig;
use xcc_envoy::GatewayConfig;
use xcc_model::{AddressType, Change, ExportKey, Node, NodeAddress, RemoteSettings, ServiceExport, ZoneName};
use xcc_xds::{ServerConfig, XdsServer};

use super::*;
use crate::publisher::Stores;
use crate::ready::Ready;
use crate::resolver::GatewayResolver;

/// Longer than the first publication waits.
const LONG: Duration = Duration::from_secs(60);

fn remote(name: &str) -> RemoteName {
    RemoteName::parse(name).unwrap()
}

/// What a remote has told that exports one name.
fn told(name: &str, hostname: &str) -> Update {
    let export = ServiceExport {
        hostname: Hostname::parse(hostname).unwrap(),
        port: 443.try_into().unwrap(),
        created_seconds: None,
    };
    let address =
        NodeAddress { kind: AddressType::InternalIP, address: Ok(Ipv4Addr::new(10, 0, 0, 1).into()) };
    let node = Node { eligible: true, addresses: vec![address] };
    let changes = vec![
        Change::Settings(Ok(RemoteSettings::default())),
        Change::Exports([(ExportKey::new("team", "nginx"), Ok(export))].into()),
        Change::Nodes([("node".to_owned(), node)].into()),
    ];
    Update { remote: remote(name), changes }
}

fn synced(mut update: Update) -> Update {
    update.changes.push(Change::Synced);
    update
}

struct Start {
    pipeline: Pipeline,
    listed: watch::Sender<Option<BTreeSet<RemoteName>>>,
    changes: watch::Receiver<u64>,
    now: Instant,
}

impl Start {
    fn new(updates: Vec<Update>, own: bool) -> Self {
        let (listed, listed_receiver) = watch::channel(None);
        let (changes_sender, changes) = watch::channel(0);
        let (ready, stores) = (Ready::default(), Stores::default());
        let zones: Vec<ZoneName> = vec![ZoneName::parse("xcc.test").unwrap()];
        let zone = ZoneConfig { apexes: zones.clone(), ttl_seconds: 30, name_server_addresses: vec![] };
        let connections = Connections {
            updates: mpsc::channel(1).1,
            queries: mpsc::channel(1).1,
            gateway_addresses: watch::channel(Some(vec![])).1,
            listed: listed_receiver,
            name_server_addresses: watch::channel(Some(vec![])).1,
            clients: XdsServer::new(GatewayResolver::new(stores.clone()), ServerConfig::default()).clients(),
            responder: Responder::new(),
            metrics: PipelineMetrics::default(),
            status: None,
            state: None,
            changes: changes_sender,
        };
        let policy = ImportPolicy { zones, gateway_addresses: BTreeSet::new() };
        let publisher = Publisher::new(GatewayConfig::new(Ipv4Addr::UNSPECIFIED.into(), 0), stores);
        let guards = ReadyGuards { synced: ready.register("a", "a"), gateway: ready.register("b", "b") };
        let gate = Gate::new(Duration::ZERO);
        let mut pipeline = Pipeline::new(
            connections,
            BTreeSet::new(),
            policy,
            gate,
            publisher,
            Zones::new(&zone).with_addresses(&[]),
            guards,
        );
        pipeline.recall(Recalled { updates, own });
        Self { pipeline, listed, changes, now: Instant::now() }
    }

    fn list(&mut self, names: &[&str]) {
        self.listed.send_replace(Some(names.iter().map(|name| remote(name)).collect()));
        self.pipeline.take_list();
    }

    fn tell(&mut self, update: Update) {
        self.pipeline.take_updates(update);
    }

    /// What gateways are told after a while; none while they are told nothing.
    fn published(&mut self, after: Duration) -> Option<Vec<String>> {
        self.pipeline.turn(self.now + after);
        let names = self.pipeline.carried.imports.keys().map(|name| name.to_string());
        self.pipeline.last_publication.map(|_| names.collect())
    }

    fn kept(&self) -> Vec<String> {
        self.pipeline.known().iter().map(|update| update.remote.to_string()).collect()
    }
}

#[tokio::test]
async fn what_this_pod_knew_is_published_at_once() {
    let mut start = Start::new(vec![told("east", "old.xcc.test")], true);
    assert_eq!(start.published(Duration::ZERO), None, "it is not known which remotes there are");
    start.list(&["east"]);
    assert_eq!(start.published(Duration::ZERO).unwrap(), ["old.xcc.test"]);
}

#[tokio::test]
async fn what_other_replicas_knew_is_published_when_the_remote_does_not_answer() {
    let mut start = Start::new(vec![told("east", "old.xcc.test"), told("gone", "gone.xcc.test")], false);
    start.list(&["east", "west"]);
    start.tell(Update { remote: remote("gone"), changes: vec![Change::Removed] });
    start.tell(synced(told("west", "west.xcc.test")));
    assert_eq!(start.published(Duration::ZERO), None, "east may have newer names");
    assert_eq!(start.published(LONG).unwrap(), ["old.xcc.test", "west.xcc.test"]);
}

#[tokio::test]
async fn a_remote_that_answers_replaces_it_before_anything_is_published() {
    let mut start = Start::new(vec![told("east", "old.xcc.test")], false);
    start.list(&["east"]);
    start.tell(synced(told("east", "new.xcc.test")));
    assert_eq!(start.published(Duration::ZERO).unwrap(), ["new.xcc.test"]);
}

#[tokio::test]
async fn without_a_list_of_the_remotes_it_is_published_all_the_same() {
    let mut start = Start::new(vec![told("east", "old.xcc.test")], false);
    assert_eq!(start.published(Duration::ZERO), None);
    assert_eq!(start.published(LONG).unwrap(), ["old.xcc.test"]);
}

#[tokio::test]
async fn only_what_is_known_in_full_is_kept() {
    let mut start = Start::new(vec![told("east", "old.xcc.test")], false);
    start.list(&["east", "north", "west"]);
    start.tell(synced(told("west", "west.xcc.test")));
    start.tell(told("north", "north.xcc.test"));
    start.published(Duration::ZERO);
    assert_eq!(*start.changes.borrow(), 0, "what was kept before is better");
    start.published(LONG);
    assert_eq!(*start.changes.borrow(), 1);
    assert_eq!(start.kept(), ["east", "west"]);
    start.tell(synced(told("north", "north.xcc.test")));
    start.published(LONG);
    assert_eq!(start.kept(), ["east", "north", "west"]);
    assert_eq!(*start.changes.borrow(), 2);
}
