//! The example `serve-dir` as people run it: a program, a folder, and clients.

use std::{
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{LazyLock, mpsc},
    time::Duration,
};

use envoy_types::pb::envoy::{
    config::{cluster::v3::Cluster, endpoint::v3::ClusterLoadAssignment, listener::v3::Listener},
    service::{
        discovery::v3::{DeltaDiscoveryRequest, DiscoveryRequest},
        route::v3::route_discovery_service_client::RouteDiscoveryServiceClient,
    },
};
use prost::Message;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::time::Instant;
use tonic::transport::Channel;
use xcc_xds::TypeUrl;

use crate::harness::{Delta, PATIENCE, node};

/// What is promised is 200 ms; this is for machines that are busy with other tests.
const SERVED_WITHIN: Duration = Duration::from_secs(5);

struct Program {
    child: Child,
    address: String,
    lines: mpsc::Receiver<String>,
    folder: TempDir,
}

impl Program {
    fn start(files: &[(&str, Value)]) -> Self {
        let folder = TempDir::new().unwrap();
        for (name, content) in files {
            write(folder.path(), name, &content.to_string());
        }
        let mut child = Command::new(program())
            .args(["--listen", "127.0.0.1:0", "--dir"])
            .arg(folder.path())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let stderr = BufReader::new(child.stderr.take().unwrap());
        let (sender, lines) = mpsc::channel();
        std::thread::spawn(move || {
            stderr.lines().map_while(Result::ok).try_for_each(|line| sender.send(line))
        });
        let mut this = Self { child, address: String::new(), lines, folder };
        let line = this.until_line("listening on ");
        this.address = line.rsplit(' ').next().unwrap().to_owned();
        this
    }

    fn until_line(&self, part: &str) -> String {
        loop {
            let line = self.lines.recv_timeout(PATIENCE).unwrap_or_else(|_| panic!("never said {part:?}"));
            if line.contains(part) {
                return line;
            }
        }
    }

    fn write(&self, name: &str, content: &Value) {
        write(self.folder.path(), name, &content.to_string());
    }

    async fn channel(&self) -> Channel {
        Channel::from_shared(format!("http://{}", self.address)).unwrap().connect().await.unwrap()
    }

    /// A delta stream of this node, subscribed to all clusters.
    async fn clusters(&self, node_id: &str) -> Delta {
        let client = Delta::ads(self.channel().await).await;
        client.subscribe(node_id).await;
        client
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        self.child.kill().and_then(|()| self.child.wait()).unwrap();
    }
}

/// The program as it is now: `cargo test` builds the examples, but `cargo test --test server` does not.
fn program() -> &'static Path {
    static PROGRAM: LazyLock<PathBuf> = LazyLock::new(build);
    &PROGRAM
}

/// With the workspace's features, so that a test of the workspace finds it built.
fn build() -> PathBuf {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args(["build", "--quiet", "--workspace", "--example", "serve-dir"])
        .arg("--message-format=json-render-diagnostics")
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let messages = output.stdout.split(|byte| *byte == b'\n');
    let mut messages = messages.filter_map(|line| serde_json::from_slice::<Value>(line).ok());
    let program = messages.find(|it| it["target"]["name"] == "serve-dir" && it["executable"].is_string());
    PathBuf::from(program.unwrap()["executable"].as_str().unwrap())
}

fn write(folder: &Path, name: &str, content: &str) {
    let temporary = folder.join(format!(".{name}.tmp"));
    std::fs::write(&temporary, content).unwrap();
    std::fs::rename(temporary, folder.join(name)).unwrap();
}

fn resources(type_url: &TypeUrl, items: &[Value]) -> Value {
    json!({"resources": {type_url.as_str(): {"items": items}}})
}

/// A file with clusters of these names, each with this timeout.
fn clusters(names: &[&str], timeout: &str) -> Value {
    let item = |name: &&str| json!({"name": name, "resource": {"@type": TypeUrl::Cluster.as_str(), "name": name, "connectTimeout": timeout}});
    resources(&TypeUrl::Cluster, &names.iter().map(item).collect::<Vec<_>>())
}

#[tokio::test]
async fn a_change_is_served_within_200_ms() {
    let program = Program::start(&[("_default.json", clusters(&["a", "b"], "1s"))]);
    let mut client = program.clusters("anyone").await;
    assert_eq!(client.take().await.0, ["a", "b"]);
    for (round, timeout) in ["2s", "3s", "4s"].into_iter().enumerate() {
        let changed = Instant::now();
        program.write("_default.json", &clusters(&["a", "b"], timeout));
        let response = client.next().await.unwrap().unwrap();
        assert!(changed.elapsed() < SERVED_WITHIN, "round {round}: {:?}", changed.elapsed());
        client.answer(&response, None).await;
        let cluster = Cluster::decode(&*response.resources[0].resource.as_ref().unwrap().value).unwrap();
        assert_eq!(format!("{}s", cluster.connect_timeout.unwrap().seconds), timeout);
        assert_eq!(response.resources.len(), 2);
    }
    program.write("_default.json", &clusters(&["a"], "4s"));
    assert_eq!(client.take().await, (vec![], vec!["b".to_owned()]), "only what changed is sent");
}

#[tokio::test]
async fn a_client_that_connects_is_served_what_the_folder_holds_then() {
    let program = Program::start(&[("_default.json", clusters(&["d"], "1s"))]);
    for round in 0..20 {
        let (node_id, name) = (format!("gw-{round}"), format!("c-{round}"));
        let channel = program.channel().await;
        program.write(&format!("{node_id}.json"), &clusters(&[&name], "1s"));
        let mut client = Delta::ads(channel).await;
        client.subscribe(&node_id).await;
        assert_eq!(client.take().await.0, [name], "not the default, although no scan has seen the file");
    }
}

#[tokio::test]
async fn a_node_is_served_its_own_file_or_the_default() {
    let program =
        Program::start(&[("_default.json", clusters(&["d"], "1s")), ("gw.json", clusters(&["g"], "1s"))]);
    let mut own = program.clusters("gw").await;
    assert_eq!(own.take().await.0, ["g"]);
    let mut other = program.clusters("other").await;
    assert_eq!(other.take().await.0, ["d"]);

    program.write("other.json", &clusters(&["o"], "1s"));
    assert_eq!(other.take().await, (vec!["o".to_owned()], vec!["d".to_owned()]), "its file appears");
    std::fs::remove_file(program.folder.path().join("other.json")).unwrap();
    assert_eq!(other.take().await, (vec!["d".to_owned()], vec!["o".to_owned()]), "its file is gone");
    let mut climber = program.clusters("../gw").await;
    assert_eq!(climber.take().await.0, ["d"], "an id is no path");
}

#[tokio::test]
async fn a_file_that_does_not_parse_keeps_the_last_good_state_and_says_why() {
    let program = Program::start(&[("_default.json", clusters(&["a"], "1s"))]);
    let mut client = program.clusters("anyone").await;
    assert_eq!(client.take().await.0, ["a"]);
    let wrong = [
        (json!({"resources": 7}), "does not parse"),
        // No object, though it has as many members as the object may have.
        (json!([]), "expected a JSON object"),
        (json!({"resources": {TypeUrl::Cluster.as_str(): []}}), "expected a JSON object"),
        (
            json!({"resources": {TypeUrl::Cluster.as_str(): {"items": [["a", null, {}]]}}}),
            "expected a JSON object",
        ),
        (resources(&TypeUrl::Cluster, &[json!({"name": "a", "resource": {"no_such": 1}})]), "no_such"),
        (resources(&TypeUrl::Cluster, &[json!({"name": "a", "resource": {"name": "b"}})]), "called \"b\""),
        (
            resources(&TypeUrl::Cluster, &[json!({"name": "a", "resource": {"@type": "other"}})]),
            "not that of its list",
        ),
    ];
    for (content, reason) in wrong {
        program.write("_default.json", &content);
        let line = program.until_line(reason);
        assert!(line.contains("_default.json") && line.contains("served on"), "{line}");
    }
    let mut later = program.clusters("late").await;
    assert_eq!(later.take().await.0, ["a"], "new clients are served the last good state");
    program.write("_default.json", &clusters(&["a", "b"], "1s"));
    assert_eq!(client.take().await.0, ["b"], "what came between was not sent");
}

#[tokio::test]
async fn labels_are_forced_and_without_them_versions_are_hashes() {
    let labelled = |type_label: &str, label: &str| {
        json!({"resources": {TypeUrl::Cluster.as_str(): {"version": type_label, "items": [
            {"name": "a", "version": label, "resource": {"@type": TypeUrl::Cluster.as_str(), "name": "a"}},
            {"name": "b", "resource": {"@type": TypeUrl::Cluster.as_str(), "name": "b"}},
        ]}}})
    };
    let program = Program::start(&[("_default.json", labelled("t1", "r1"))]);
    let mut client = program.clusters("anyone").await;
    let first = client.next().await.unwrap().unwrap();
    client.answer(&first, None).await;
    assert_eq!(first.system_version_info, "t1");
    assert_eq!(first.resources[0].version, "r1");
    assert_eq!(first.resources[1].version.len(), 16, "{}", first.resources[1].version);
    program.write("_default.json", &labelled("t2", "r2"));
    let second = client.next().await.unwrap().unwrap();
    client.answer(&second, None).await;
    assert_eq!(second.system_version_info, "t2");
    let sent: Vec<_> = second.resources.iter().map(|r| (r.name.as_str(), r.version.as_str())).collect();
    assert_eq!(sent, [("a", "r2")]);
    program.write("_default.json", &clusters(&["a", "b"], "1s"));
    let third = client.next().await.unwrap().unwrap();
    assert_eq!(third.system_version_info.len(), 16, "the label is gone: {}", third.system_version_info);
}

#[tokio::test]
async fn a_name_is_enough_of_a_resource_for_every_type() {
    let types = [TypeUrl::Cluster, TypeUrl::Endpoint, TypeUrl::Listener, TypeUrl::RouteConfiguration];
    let of_type = |url: &str| json!({"items": [{"name": "A", "resource": {"@type": url, "name": "A"}}]});
    let mut all: serde_json::Map<String, Value> =
        types.iter().map(|type_url| (type_url.as_str().to_owned(), of_type(type_url.as_str()))).collect();
    let foreign = "type.googleapis.com/example.Foreign";
    all.insert(foreign.to_owned(), of_type(foreign));
    let program = Program::start(&[("_default.json", json!({"resources": all}))]);
    let mut client = Delta::ads(program.channel().await).await;
    for type_url in types.iter().map(TypeUrl::as_str).chain([foreign]) {
        let resource_names_subscribe = vec!["A".to_owned()];
        client
            .send(DeltaDiscoveryRequest {
                node: node("x"),
                type_url: type_url.to_owned(),
                resource_names_subscribe,
                ..Default::default()
            })
            .await;
        let response = client.next().await.unwrap().unwrap();
        client.answer(&response, None).await;
        let any = response.resources[0].resource.clone().unwrap();
        assert_eq!((any.type_url.as_str(), any.value.as_slice()), (type_url, b"\x0a\x01A".as_slice()));
    }
    let mut routes = RouteDiscoveryServiceClient::new(program.channel().await);
    let request = DiscoveryRequest { resource_names: vec!["A".to_owned()], ..Default::default() };
    let requests = tokio_stream::StreamExt::chain(tokio_stream::once(request), tokio_stream::pending());
    let mut responses = routes.stream_routes(requests).await.unwrap().into_inner();
    assert_eq!(responses.message().await.unwrap().unwrap().resources.len(), 1, "RDS, state of the world");
}

#[tokio::test]
async fn filters_inside_of_any_are_understood() {
    let listener = json!({
        "@type": TypeUrl::Listener.as_str(),
        "name": "l",
        "address": {"socket_address": {"address": "127.0.0.1", "port_value": 8080}},
        "filter_chains": [{"filters": [{"name": "hcm", "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
            "stat_prefix": "x",
            "rds": {"route_config_name": "r", "config_source": {"ads": {}}},
            "http_filters": [{"name": "router", "typed_config": {
                "@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"}}],
        }}]}],
    });
    let assignment = json!({"@type": TypeUrl::Endpoint.as_str(), "cluster_name": "c", "endpoints": [
        {"lb_endpoints": [{"endpoint": {"address": {"socket_address": {"address": "10.0.0.1", "port_value": 80}}}}]}]});
    let program = Program::start(&[(
        "_default.json",
        json!({"resources": {
            TypeUrl::Listener.as_str(): {"items": [{"name": "l", "resource": listener}]},
            TypeUrl::Endpoint.as_str(): {"items": [{"name": "c", "resource": assignment}]},
        }}),
    )]);
    let mut client = Delta::ads(program.channel().await).await;
    for type_url in [TypeUrl::Listener, TypeUrl::Endpoint] {
        let type_url = type_url.as_str().to_owned();
        client.send(DeltaDiscoveryRequest { node: node("x"), type_url, ..Default::default() }).await;
    }
    let mut values = std::collections::BTreeMap::new();
    for _ in 0..2 {
        let response = client.next().await.unwrap().unwrap();
        client.answer(&response, None).await;
        let value = response.resources[0].resource.clone().unwrap().value;
        values.insert(response.type_url, value);
    }
    let listener = Listener::decode(&*values[TypeUrl::Listener.as_str()]).unwrap();
    assert_eq!(listener.filter_chains[0].filters[0].name, "hcm");
    let assignment = ClusterLoadAssignment::decode(&*values[TypeUrl::Endpoint.as_str()]).unwrap();
    assert_eq!(assignment.endpoints[0].lb_endpoints.len(), 1);
}
