use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::routing::get;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use xcc_model::ZoneName;

use super::*;

/// As much of an API server as reading and replacing objects takes.
#[derive(Clone, Default)]
struct FakeApi(Arc<Mutex<Objects>>);

#[derive(Default)]
struct Objects {
    /// By path below a namespace: `configmaps/coredns`.
    objects: BTreeMap<String, Value>,
    /// Answers 403 to whoever asks for these.
    forbidden: Vec<&'static str>,
    /// So many times, somebody else writes between our read and our write.
    races: usize,
    writes: usize,
}

impl FakeApi {
    async fn start(objects: &[(&str, Value)]) -> (Self, Client) {
        let api = Self::default();
        for (path, object) in objects {
            let mut object = object.clone();
            object["metadata"]["resourceVersion"] = json!("1");
            api.0.lock().unwrap().objects.insert((*path).to_owned(), object);
        }
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let router = axum::Router::new()
            .route("/api/v1/namespaces/{namespace}/{kind}/{name}", get(read).put(replace))
            .with_state(api.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        let client = Client::try_from(kube::Config::new(url.parse().unwrap())).unwrap();
        (api, client)
    }

    fn corefile(&self, name: &str) -> String {
        self.0.lock().unwrap().objects[&format!("configmaps/{name}")]["data"]["Corefile"].as_str().unwrap().to_owned()
    }

    fn writes(&self) -> usize {
        self.0.lock().unwrap().writes
    }
}

fn status(code: StatusCode, reason: &str) -> (StatusCode, Json<Value>) {
    (code, Json(json!({"kind": "Status", "status": "Failure", "reason": reason, "code": code.as_u16()})))
}

type Answer = (StatusCode, Json<Value>);

async fn read(State(api): State<FakeApi>, Path((_, kind, name)): Path<(String, String, String)>) -> Answer {
    let objects = api.0.lock().unwrap();
    if objects.forbidden.contains(&name.as_str()) {
        return status(StatusCode::FORBIDDEN, "Forbidden");
    }
    match objects.objects.get(&format!("{kind}/{name}")) {
        Some(object) => (StatusCode::OK, Json(object.clone())),
        None => status(StatusCode::NOT_FOUND, "NotFound"),
    }
}

async fn replace(
    State(api): State<FakeApi>,
    Path((_, kind, name)): Path<(String, String, String)>,
    Json(mut object): Json<Value>,
) -> Answer {
    let mut objects = api.0.lock().unwrap();
    let path = format!("{kind}/{name}");
    let version = |object: &Value| object["metadata"]["resourceVersion"].as_str().unwrap().parse::<u64>().unwrap();
    if objects.races > 0 {
        objects.races -= 1;
        let there = objects.objects.get_mut(&path).unwrap();
        there["metadata"]["resourceVersion"] = json!((version(there) + 1).to_string());
    }
    if version(&objects.objects[&path]) != version(&object) {
        return status(StatusCode::CONFLICT, "Conflict");
    }
    object["metadata"]["resourceVersion"] = json!((version(&object) + 1).to_string());
    objects.writes += 1;
    objects.objects.insert(path, object.clone());
    (StatusCode::OK, Json(object))
}

fn options() -> DnsConfigOptions {
    DnsConfigOptions::new(vec![ZoneName::parse("xcc.test").unwrap()])
}

fn service(cluster_ip: &str) -> (&'static str, Value) {
    ("services/xcc-dns", json!({"metadata": {"name": "xcc-dns"}, "spec": {"clusterIP": cluster_ip}}))
}

fn corefile(path: &'static str, text: &str) -> (&'static str, Value) {
    (path, json!({"metadata": {"name": "x"}, "data": {"Corefile": text, "keep": "me"}}))
}

const COREDNS: &str = "configmaps/coredns";
const BEFORE: &str = ".:53 {\n    errors\n}";

fn outcomes(report: &DnsConfigReport) -> Vec<(Flavour, Outcome)> {
    report.config_maps.iter().map(|done| (done.flavour, done.outcome)).collect()
}

#[tokio::test]
async fn i4_apply_writes_once_and_remove_gives_the_file_back() {
    let (api, client) = FakeApi::start(&[service("10.96.0.7"), corefile(COREDNS, BEFORE)]).await;
    assert_eq!(outcomes(&check(&client, &options()).await.unwrap()), [(Flavour::CoreDns, Outcome::Added)]);
    assert_eq!(api.writes(), 0);
    let report = apply(&client, &options()).await.unwrap();
    assert_eq!(outcomes(&report), [(Flavour::CoreDns, Outcome::Added)]);
    assert_eq!(report.servers, ["10.96.0.7".parse::<IpAddr>().unwrap()]);
    assert!(api.corefile("coredns").contains("forward . 10.96.0.7\n"));
    assert!(apply(&client, &options()).await.unwrap().is_up_to_date());
    assert!(check(&client, &options()).await.unwrap().is_up_to_date());
    assert_eq!(api.writes(), 1);
    assert_eq!(outcomes(&remove(&client, &options()).await.unwrap()), [(Flavour::CoreDns, Outcome::Removed)]);
    assert_eq!(api.corefile("coredns"), BEFORE);
    assert_eq!(api.0.lock().unwrap().objects[COREDNS]["data"]["keep"], "me");
    assert!(remove(&client, &options()).await.unwrap().is_up_to_date());
}

#[tokio::test]
async fn a_write_that_lost_a_race_is_done_again_on_what_is_there() {
    let (api, client) = FakeApi::start(&[service("10.96.0.7"), corefile(COREDNS, BEFORE)]).await;
    api.0.lock().unwrap().races = WRITES_MAX - 1;
    apply(&client, &options()).await.unwrap();
    assert_eq!(api.writes(), 1);
    api.0.lock().unwrap().races = WRITES_MAX;
    let error = remove(&client, &options()).await.unwrap_err();
    assert!(matches!(error, DnsConfigError::Conflict(_)), "{error}");
}

#[tokio::test]
async fn a_node_local_cache_is_configured_too_unless_it_may_not_be_looked_for() {
    let cache = corefile("configmaps/node-local-dns", ".:53 {\n    bind 169.254.20.10\n}\n");
    let (api, client) = FakeApi::start(&[service("10.96.0.7"), corefile(COREDNS, BEFORE), cache]).await;
    let both = [(Flavour::CoreDns, Outcome::Added), (Flavour::NodeLocalDns, Outcome::Added)];
    assert_eq!(outcomes(&check(&client, &options()).await.unwrap()), both);
    apply(&client, &options()).await.unwrap();
    assert!(api.corefile("node-local-dns").contains("xcc.test {\n    bind 169.254.20.10\n"));
    api.0.lock().unwrap().forbidden = vec!["node-local-dns"];
    assert_eq!(outcomes(&check(&client, &options()).await.unwrap()), [(Flavour::CoreDns, Outcome::UpToDate)]);
}

#[tokio::test]
async fn kube_dns_is_configured_where_there_is_no_coredns() {
    let kube_dns = ("configmaps/kube-dns", json!({"metadata": {"name": "kube-dns"}}));
    let (api, client) = FakeApi::start(&[service("fd00::7"), kube_dns.clone()]).await;
    assert_eq!(outcomes(&apply(&client, &options()).await.unwrap()), [(Flavour::KubeDns, Outcome::Added)]);
    let written = api.0.lock().unwrap().objects["configmaps/kube-dns"].clone();
    assert_eq!(written["data"]["stubDomains"], "{\"xcc.test\":[\"fd00::7\"]}");
    remove(&client, &options()).await.unwrap();
    let object = api.0.lock().unwrap().objects["configmaps/kube-dns"].clone();
    assert_eq!((object.get("data"), object["metadata"].get("annotations")), (None, None));

    let (api, client) = FakeApi::start(&[service("10.96.0.7"), kube_dns, corefile(COREDNS, BEFORE)]).await;
    assert_eq!(outcomes(&apply(&client, &options()).await.unwrap()), [(Flavour::CoreDns, Outcome::Added)]);
    assert_eq!(api.writes(), 1);
}

#[tokio::test]
async fn an_unknown_dns_is_explained_with_the_block_to_put_in() {
    let (_, client) = FakeApi::start(&[service("10.96.0.7")]).await;
    let text = apply(&client, &options()).await.unwrap_err().to_string();
    assert!(text.contains("rke2-coredns") && text.contains("forward . 10.96.0.7"), "{text}");
    assert!(remove(&client, &options()).await.unwrap().config_maps.is_empty());
}

#[tokio::test]
async fn an_uneditable_corefile_is_named_and_left() {
    let (api, client) = FakeApi::start(&[service("10.96.0.7"), corefile(COREDNS, ".:53\nerrors")]).await;
    let error = apply(&client, &options()).await.unwrap_err();
    assert_eq!(error.to_string(), "ConfigMap kube-system/coredns is left as it is");
    assert_eq!(api.writes(), 0);
}

#[tokio::test]
async fn i2_a_service_without_an_address_is_waited_for() {
    let options = DnsConfigOptions { service_wait: Duration::ZERO, ..options() };
    for cluster_ip in ["", "None"] {
        let (_, client) = FakeApi::start(&[service(cluster_ip), corefile(COREDNS, BEFORE)]).await;
        let error = apply(&client, &options).await.unwrap_err();
        assert!(matches!(error, DnsConfigError::NoClusterIp { .. }), "{error}");
    }
}

#[tokio::test]
async fn what_is_forbidden_is_said() {
    let (api, client) = FakeApi::start(&[service("10.96.0.7"), corefile(COREDNS, BEFORE)]).await;
    api.0.lock().unwrap().forbidden = vec!["coredns"];
    let error = apply(&client, &options()).await.unwrap_err();
    assert_eq!(error.to_string(), "cannot read ConfigMap kube-system/coredns");
}
