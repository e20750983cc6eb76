use serde_json::{Value, json};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use xcc_model::ZoneName;

use super::super::keep;
use super::*;
use crate::fake_objects::FakeObjects;

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

fn text(api: &FakeObjects, path: &str) -> String {
    api.object(path)["data"]["Corefile"].as_str().unwrap().to_owned()
}

fn outcomes(report: &DnsConfigReport) -> Vec<(Flavour, Outcome)> {
    report.config_maps.iter().map(|done| (done.flavour, done.outcome)).collect()
}

#[tokio::test]
async fn i4_apply_writes_once_and_remove_gives_the_file_back() {
    let (api, client) = FakeObjects::start(&[service("10.96.0.7"), corefile(COREDNS, BEFORE)]).await;
    assert_eq!(outcomes(&check(&client, &options()).await.unwrap()), [(Flavour::CoreDns, Outcome::Added)]);
    assert_eq!(api.state().writes, 0);
    let report = apply(&client, &options()).await.unwrap();
    assert_eq!(outcomes(&report), [(Flavour::CoreDns, Outcome::Added)]);
    assert_eq!(report.servers, ["10.96.0.7".parse::<IpAddr>().unwrap()]);
    assert!(text(&api, COREDNS).contains("forward . 10.96.0.7\n"));
    assert!(apply(&client, &options()).await.unwrap().is_up_to_date());
    assert!(check(&client, &options()).await.unwrap().is_up_to_date());
    assert_eq!(api.state().writes, 1);
    assert_eq!(outcomes(&remove(&client, &options()).await.unwrap()), [(Flavour::CoreDns, Outcome::Removed)]);
    assert_eq!(text(&api, COREDNS), BEFORE);
    assert_eq!(api.object(COREDNS)["data"]["keep"], "me");
    assert!(remove(&client, &options()).await.unwrap().is_up_to_date());
}

#[tokio::test]
async fn a_write_that_lost_a_race_is_done_again_on_what_is_there() {
    let (api, client) = FakeObjects::start(&[service("10.96.0.7"), corefile(COREDNS, BEFORE)]).await;
    api.state().races = WRITES_MAX - 1;
    apply(&client, &options()).await.unwrap();
    assert_eq!(api.state().writes, 1);
    api.state().races = WRITES_MAX;
    let error = remove(&client, &options()).await.unwrap_err();
    assert!(matches!(error, DnsConfigError::Conflict(_)), "{error}");
}

#[tokio::test]
async fn a_node_local_cache_is_configured_too_unless_it_may_not_be_looked_for() {
    let cache = corefile("configmaps/node-local-dns", ".:53 {\n    bind 169.254.20.10\n}\n");
    let (api, client) = FakeObjects::start(&[service("10.96.0.7"), corefile(COREDNS, BEFORE), cache]).await;
    let both = [(Flavour::CoreDns, Outcome::Added), (Flavour::NodeLocalDns, Outcome::Added)];
    assert_eq!(outcomes(&check(&client, &options()).await.unwrap()), both);
    apply(&client, &options()).await.unwrap();
    assert!(text(&api, "configmaps/node-local-dns").contains("xcc.test {\n    bind 169.254.20.10\n"));
    api.state().forbidden = ["node-local-dns"].into();
    assert_eq!(outcomes(&check(&client, &options()).await.unwrap()), [(Flavour::CoreDns, Outcome::UpToDate)]);
}

#[tokio::test]
async fn kube_dns_is_configured_where_there_is_no_coredns() {
    let kube_dns = ("configmaps/kube-dns", json!({"metadata": {"name": "kube-dns"}}));
    let (api, client) = FakeObjects::start(&[service("fd00::7"), kube_dns.clone()]).await;
    assert_eq!(outcomes(&apply(&client, &options()).await.unwrap()), [(Flavour::KubeDns, Outcome::Added)]);
    let written = api.object("configmaps/kube-dns");
    assert_eq!(written["data"]["stubDomains"], "{\"xcc.test\":[\"fd00::7\"]}");
    remove(&client, &options()).await.unwrap();
    let object = api.object("configmaps/kube-dns");
    assert_eq!((object.get("data"), object["metadata"].get("annotations")), (None, None));

    let (api, client) =
        FakeObjects::start(&[service("10.96.0.7"), kube_dns, corefile(COREDNS, BEFORE)]).await;
    assert_eq!(outcomes(&apply(&client, &options()).await.unwrap()), [(Flavour::CoreDns, Outcome::Added)]);
    assert_eq!(api.state().writes, 1);
}

#[tokio::test]
async fn an_unknown_dns_is_explained_with_the_block_to_put_in() {
    let (_, client) = FakeObjects::start(&[service("10.96.0.7")]).await;
    let text = apply(&client, &options()).await.unwrap_err().to_string();
    assert!(text.contains("rke2-coredns") && text.contains("forward . 10.96.0.7"), "{text}");
    assert!(remove(&client, &options()).await.unwrap().config_maps.is_empty());
}

#[tokio::test]
async fn an_uneditable_corefile_is_named_and_left() {
    let (api, client) = FakeObjects::start(&[service("10.96.0.7"), corefile(COREDNS, ".:53\nerrors")]).await;
    let error = apply(&client, &options()).await.unwrap_err();
    assert_eq!(error.to_string(), "ConfigMap kube-system/coredns is left as it is");
    assert_eq!(api.state().writes, 0);
}

#[tokio::test]
async fn i2_a_service_without_an_address_is_waited_for() {
    let options = DnsConfigOptions { service_wait: Duration::ZERO, ..options() };
    for cluster_ip in ["", "None"] {
        let (_, client) = FakeObjects::start(&[service(cluster_ip), corefile(COREDNS, BEFORE)]).await;
        let error = apply(&client, &options).await.unwrap_err();
        assert!(matches!(error, DnsConfigError::NoClusterIp { .. }), "{error}");
    }
}

#[tokio::test]
async fn what_is_forbidden_is_said() {
    let (api, client) = FakeObjects::start(&[service("10.96.0.7"), corefile(COREDNS, BEFORE)]).await;
    api.state().forbidden = ["coredns"].into();
    let error = apply(&client, &options()).await.unwrap_err();
    assert_eq!(error.to_string(), "cannot read ConfigMap kube-system/coredns");
}

#[tokio::test]
async fn i6_drift_is_repaired_while_leading_and_only_then() {
    let (api, client) = FakeObjects::start(&[service("10.96.0.7"), corefile(COREDNS, BEFORE)]).await;
    let (leads, shutdown) = (watch::Sender::new(false), CancellationToken::new());
    let task = tokio::spawn(keep(client, options(), leads.subscribe(), shutdown.clone()));
    let forwards_to = |address: &'static str| {
        move |object: &Value| {
            object["data"]["Corefile"].as_str().unwrap().contains(&format!("forward . {address}\n"))
        }
    };
    leads.send_replace(true);
    api.until(COREDNS, forwards_to("10.96.0.7")).await;
    // An upgrade writes the file anew; the Service is made anew with another address.
    api.put(COREDNS, corefile(COREDNS, BEFORE).1);
    api.until(COREDNS, forwards_to("10.96.0.7")).await;
    api.put("services/xcc-dns", service("10.96.0.8").1);
    api.until(COREDNS, forwards_to("10.96.0.8")).await;

    leads.send_replace(false);
    let writes = api.state().writes;
    api.put(COREDNS, corefile(COREDNS, BEFORE).1);
    shutdown.cancel();
    task.await.unwrap();
    assert_eq!(api.state().writes, writes);
    assert_eq!(text(&api, COREDNS), BEFORE);
}
