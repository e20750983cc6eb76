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
    told_on(name, hostname, 443)
}

/// The same for clients of this port.
fn told_on(name: &str, hostname: &str, port: u16) -> Update {
    let export = ServiceExport {
        hostname: Hostname::parse(hostname).unwrap(),
        port: port.try_into().unwrap(),
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
    assert_eq!(start.kept(), ["west"], "of east the replicas may know more than this one");
    start.tell(synced(told("north", "north.xcc.test")));
    start.published(LONG);
    assert_eq!(start.kept(), ["north", "west"]);
    assert_eq!(*start.changes.borrow(), 2);
}

#[tokio::test]
async fn a_remote_that_is_made_again_is_another_one() {
    let mut start = Start::new(vec![told("east", "old.xcc.test")], true);
    start.list(&["east"]);
    let on_disk = |start: &Start| start.pipeline.known_or_recalled().len();
    assert_eq!(on_disk(&start), 1);
    start.tell(Update { remote: remote("east"), changes: vec![Change::Removed] });
    start.tell(told("east", "new.xcc.test"));
    assert_eq!(on_disk(&start), 0, "it has not told everything");
    start.tell(synced(told("east", "new.xcc.test")));
    assert_eq!(on_disk(&start), 1);
}

#[tokio::test]
async fn https_records_name_the_port_that_clients_connect_to() {
    let mut start = Start::new(vec![], true);
    start.list(&["east", "west"]);
    start.tell(synced(told_on("east", "a.xcc.test", 8443)));
    start.tell(synced(told("west", "b.xcc.test")));
    start.published(Duration::ZERO);
    let names = ["a.xcc.test", "b.xcc.test"].map(|name| Hostname::parse(name).unwrap());
    let zones = start.pipeline.zones.with_https(&["h2".to_owned()]).with_changes(&names, []);
    start.pipeline.zones = zones;
    start.pipeline.tell_details(&names);
    let records: Vec<String> = start.pipeline.zones.dump();
    let https = |name: &str| records.iter().any(|line| line.starts_with(name) && line.ends_with("000220fb"));
    assert!(https("a.xcc.test. 30 IN HTTPS "), "{records:?}");
    assert!(!https("b.xcc.test. 30 IN HTTPS "), "443 need not be said");
}
