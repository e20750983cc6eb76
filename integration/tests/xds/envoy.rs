//! Real Envoys, the oldest and the newest supported, behind `serve-dir`: what they load, what they refuse and in which
//! words, and that a refusal harms nothing else and ends when the file is mended.

use std::io::Read;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use xcc_integration::envoy::Envoy;
use xcc_integration::loopback::Loopback;
use xcc_integration::process::Process;
use xcc_integration::project::{self, ENVOY_VERSIONS};
use xcc_integration::scratch::Scratch;
use xcc_integration::wait;

const CLUSTER: &str = "type.googleapis.com/envoy.config.cluster.v3.Cluster";
const ENDPOINT: &str = "type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment";
const LISTENER: &str = "type.googleapis.com/envoy.config.listener.v3.Listener";
const TCP_PROXY: &str = "type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy";

/// How long nothing may be refused anew for it to count as rest: a loop of refusals has hundreds of rounds in it.
const REST: Duration = Duration::from_millis(500);
/// How many refusals the search for the one to blame may take among the resources of these tests.
const ROUNDS_MAX: u64 = 4;

#[tokio::test]
async fn the_oldest_envoy_by_delta() -> Result<()> {
    a_life(ENVOY_VERSIONS[0], "DELTA_GRPC").await
}

#[tokio::test]
async fn the_oldest_envoy_by_state_of_the_world() -> Result<()> {
    a_life(ENVOY_VERSIONS[0], "GRPC").await
}

#[tokio::test]
async fn the_newest_envoy_by_delta() -> Result<()> {
    a_life(ENVOY_VERSIONS[1], "DELTA_GRPC").await
}

#[tokio::test]
async fn the_newest_envoy_by_state_of_the_world() -> Result<()> {
    a_life(ENVOY_VERSIONS[1], "GRPC").await
}

/// The resources of the file: four services, each with a cluster, an endpoint and a listener, and what is changed of them.
struct World {
    loopback: Loopback,
    scratch: Scratch,
    greeters: Vec<SocketAddr>,
    server: Process,
    envoy: Envoy,
    state: State,
}

#[derive(Clone)]
struct State {
    clusters: Vec<Value>,
    endpoints: Vec<Value>,
    listeners: Vec<Value>,
}

const SERVICES: [&str; 4] = ["api", "db", "web", "web-2"];

fn cluster(name: &str) -> Value {
    json!({"@type": CLUSTER, "name": name, "type": "EDS", "connect_timeout": "1s",
           "eds_cluster_config": {"eds_config": {"ads": {}, "resource_api_version": "V3"}}})
}

fn endpoint(name: &str, address: SocketAddr) -> Value {
    json!({"@type": ENDPOINT, "cluster_name": name, "endpoints": [{"lb_endpoints": [
        {"endpoint": {"address": socket_address(address)}}]}]})
}

fn listener(name: &str, address: SocketAddr) -> Value {
    json!({"@type": LISTENER, "name": name, "address": socket_address(address), "filter_chains": [{"filters": [
        {"name": "tcp", "typed_config": {"@type": TCP_PROXY, "stat_prefix": name, "cluster": name}}]}]})
}

fn socket_address(address: SocketAddr) -> Value {
    json!({"socket_address": {"address": address.ip().to_string(), "port_value": address.port()}})
}

fn bootstrap(api_type: &str, admin: SocketAddr, xds: SocketAddr) -> Value {
    let from_ads = json!({"ads": {}, "resource_api_version": "V3"});
    let http2 = "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions";
    json!({
        "node": {"id": "gateway", "cluster": "gateway"},
        "admin": {"address": socket_address(admin)},
        "dynamic_resources": {
            "ads_config": {"api_type": api_type, "transport_api_version": "V3", "set_node_on_first_message_only": true,
                           "grpc_services": [{"envoy_grpc": {"cluster_name": "xds"}}]},
            "cds_config": from_ads, "lds_config": from_ads,
        },
        "static_resources": {"clusters": [{
            "name": "xds", "connect_timeout": "1s", "type": "STATIC",
            "typed_extension_protocol_options": {"envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
                "@type": http2, "explicit_http_config": {"http2_protocol_options": {}}}},
            "load_assignment": {"cluster_name": "xds", "endpoints": [{"lb_endpoints": [
                {"endpoint": {"address": socket_address(xds)}}]}]},
        }]},
    })
}

/// Says its number to everybody who connects.
fn greet(address: SocketAddr, number: u8) -> Result<SocketAddr> {
    let greeter = TcpListener::bind(address)?;
    let address = greeter.local_addr()?;
    std::thread::spawn(move || {
        for mut stream in greeter.incoming().flatten() {
            std::io::Write::write_all(&mut stream, &[number]).ok();
        }
    });
    Ok(address)
}

impl World {
    async fn start(version: &str, api_type: &str) -> Result<Self> {
        let (loopback, scratch) = (Loopback::reserve()?, Scratch::new("serve-dir")?);
        let greeters = [b'1', b'2']
            .into_iter()
            .map(|number| greet(loopback.socket(3, 7_000 + u16::from(number))?, number))
            .collect::<Result<Vec<_>>>()?;
        let xds = loopback.socket(1, 18_000)?;
        let admin = loopback.socket(2, 9_901)?;
        let state = State {
            clusters: SERVICES.map(cluster).into(),
            endpoints: SERVICES.map(|name| endpoint(name, greeters[0])).into(),
            listeners: SERVICES
                .iter()
                .zip(8_000..)
                .map(|(name, port)| Ok(listener(name, loopback.socket(2, port)?)))
                .collect::<Result<_>>()?,
        };
        let folder = scratch.folder("served")?;
        publish(&folder, &state)?;
        let arguments = ["--listen".into(), xds.to_string(), "--dir".into(), folder.display().to_string()];
        let log = scratch.path().join("serve-dir.log");
        let server = Process::spawn("serve-dir", &project::serve_dir()?, arguments, &log)?;
        let bootstrap = bootstrap(api_type, admin, xds).to_string();
        let mut envoy = Envoy::spawn(version, "envoy", &bootstrap, admin, scratch.path())?;
        envoy.wait_live().await?;
        Ok(Self { loopback, scratch, greeters, server, envoy, state })
    }

    fn folder(&self) -> PathBuf {
        self.scratch.path().join("served")
    }

    /// Serves the state with changes; the state itself stays.
    fn serve(&self, change: impl FnOnce(&mut State)) -> Result<()> {
        let mut state = self.state.clone();
        change(&mut state);
        publish(&self.folder(), &state)
    }

    /// Waits until connections to a service's listener end at this greeter.
    async fn until_greeted(&self, service: usize, number: u8) -> Result<()> {
        let address = &self.state.listeners[service]["address"]["socket_address"];
        let port =
            address["port_value"].as_u64().and_then(|port| u16::try_from(port).ok()).context("no port")?;
        let what = format!("{} greets with {}", SERVICES[service], char::from(number));
        wait::until(&what, async || {
            let mut greeting = [0];
            TcpStream::connect((self.loopback.address(2), port))?.read_exact(&mut greeting)?;
            Ok(wait::holds(greeting == [number]))
        })
        .await
    }

    /// Waits until a cluster or listener is there as it was sent, by a field with this value.
    async fn until_loaded(&self, resources: &str, name: &str, field: &str, value: &Value) -> Result<()> {
        wait::until(&format!("{name} has {field} {value}"), async || {
            let page = self.envoy.config_dump(resources).await?;
            let found = page["configs"].as_array().into_iter().flatten().any(|config| {
                let resource = match resources {
                    "dynamic_listeners" => &config["active_state"]["listener"],
                    _ => &config["cluster"],
                };
                resource["name"] == name && resource[field] == *value
            });
            Ok(wait::holds(found))
        })
        .await
    }

    /// The refusals of Clusters, Listeners and endpoints so far, as `serve-dir` logs them, with the client's words.
    fn refusals(&self, type_name: &str) -> Result<Vec<String>> {
        let log = std::fs::read_to_string(self.server.log())?;
        let of_type = format!("type_url=\"{type_name}\"");
        let refused = |line: &&str| line.contains("client refused a response") && line.contains(&of_type);
        Ok(log.lines().filter(refused).map(str::to_owned).collect())
    }

    /// Waits for a refusal of this type and for rest after it; what was said since `before`.
    async fn until_refused(&self, type_name: &str, before: usize) -> Result<Vec<String>> {
        wait::until(&format!("a {type_name} is refused"), async || {
            Ok(wait::holds(self.refusals(type_name)?.len() > before))
        })
        .await?;
        let mut seen = self.refusals(type_name)?.len();
        loop {
            tokio::time::sleep(REST).await;
            let refusals = self.refusals(type_name)?;
            ensure!((refusals.len() - before) as u64 <= ROUNDS_MAX, "refused again and again: {refusals:#?}");
            if refusals.len() == seen {
                return Ok(refusals[before..].to_vec());
            }
            seen = refusals.len();
        }
    }
}

fn publish(folder: &std::path::Path, state: &State) -> Result<()> {
    let items = |resources: &[Value], key: &str| {
        let item = |resource: &Value| json!({"name": resource[key], "resource": resource});
        json!({"items": resources.iter().map(item).collect::<Vec<_>>()})
    };
    let file = json!({"resources": {
        CLUSTER: items(&state.clusters, "name"),
        ENDPOINT: items(&state.endpoints, "cluster_name"),
        LISTENER: items(&state.listeners, "name"),
    }});
    let temporary = folder.join(".new");
    std::fs::write(&temporary, file.to_string())?;
    Ok(std::fs::rename(temporary, folder.join("_default.json"))?)
}

async fn a_life(version: &str, api_type: &str) -> Result<()> {
    let mut world = World::start(version, api_type).await?;
    let result = async {
        updates_arrive(&world).await?;
        a_cluster_with_a_forbidden_value(&world).await?;
        a_cluster_that_cannot_be_made(&world).await?;
        a_cluster_after_which_none_is_answered(&world).await?;
        a_listener_that_cannot_be_made(&world).await?;
        endpoints_with_a_forbidden_value(&world).await?;
        ensure!(
            world.envoy.stat("cluster_manager.warming_clusters").await? == 0,
            "a cluster is still warming"
        );
        let timeouts: u64 =
            world.envoy.stats("init_fetch_timeout").await?.iter().map(|(_name, value)| value).sum();
        ensure!(timeouts == 0, "Envoy waited in vain {timeouts} times");
        Ok(())
    }
    .await;
    if result.is_err() {
        world.scratch.keep();
        world.server.check_running()?;
    }
    result
}

async fn updates_arrive(world: &World) -> Result<()> {
    for service in 0..SERVICES.len() {
        world.until_greeted(service, b'1').await?;
    }
    world.serve(|state| state.endpoints[0] = endpoint(SERVICES[0], world.greeters[1]))?;
    world.until_greeted(0, b'2').await?;
    world.until_greeted(1, b'1').await?;
    world.serve(|state| state.clusters[0]["connect_timeout"] = "2s".into())?;
    world.until_loaded("dynamic_active_clusters", "api", "connect_timeout", &json!("2s")).await?;
    world.until_greeted(0, b'1').await
}

/// Envoy refuses the whole response, and says so with the whole resource. Its text mentions another cluster of the same
/// response, which is not to blame.
async fn a_cluster_with_a_forbidden_value(world: &World) -> Result<()> {
    let before = world.refusals("Cluster")?.len();
    world.serve(|state| {
        state.clusters[0]["alt_stat_name"] = "db".into();
        state.clusters[0]["common_lb_config"] = json!({"healthy_panic_threshold": {"value": 500}});
        state.clusters[1]["connect_timeout"] = "3s".into();
        state.clusters[2]["connect_timeout"] = "3s".into();
    })?;
    let said = world.until_refused("Cluster", before).await?;
    ensure!(said.len() == 1, "the one to blame is named, so that one refusal is enough: {said:#?}");
    let words = ["name: \\\"api\\\"", "Proto constraint validation failed", "value must be inside range"];
    ensure!(words.iter().all(|part| said[0].contains(part)), "other words: {}", said[0]);
    for name in ["db", "web"] {
        world.until_loaded("dynamic_active_clusters", name, "connect_timeout", &json!("3s")).await?;
    }
    mended(world, "Cluster").await
}

/// Envoy takes the other clusters of the response, and names the one that it refuses.
async fn a_cluster_that_cannot_be_made(world: &World) -> Result<()> {
    let before = world.refusals("Cluster")?.len();
    world.serve(|state| {
        state.clusters[0]["transport_socket"] = json!({"name": "none"});
        state.clusters[2]["connect_timeout"] = "3s".into();
    })?;
    let said = world.until_refused("Cluster", before).await?;
    ensure!(said.len() == 1, "the one to blame is named, so that one refusal is enough: {said:#?}");
    ensure!(said[0].contains("Error adding/updating cluster(s) api: "), "other words: {}", said[0]);
    world.until_loaded("dynamic_active_clusters", "web", "connect_timeout", &json!("3s")).await?;
    world.until_greeted(0, b'1').await?;
    mended(world, "Cluster").await
}

/// Envoy cannot make the load balancer of this cluster. It says so once, and keeps the cluster among those that are warming:
/// while there are such, it takes Clusters and answers none. What mends it is sent without an answer to the last ones.
async fn a_cluster_after_which_none_is_answered(world: &World) -> Result<()> {
    let ring = |state: &mut State, largest: u32| {
        state.clusters[0]["lb_policy"] = "RING_HASH".into();
        state.clusters[0]["ring_hash_lb_config"] =
            json!({"minimum_ring_size": 64, "maximum_ring_size": largest});
    };
    let before = world.refusals("Cluster")?.len();
    world.serve(|state| ring(state, 8))?;
    let said = world.until_refused("Cluster", before).await?;
    ensure!(
        said[0].contains("ring hash: minimum_ring_size (64) > maximum_ring_size (8)"),
        "other words: {}",
        said[0]
    );
    world.serve(|state| {
        ring(state, 8);
        state.clusters[2]["connect_timeout"] = "3s".into();
    })?;
    world.until_loaded("dynamic_active_clusters", "web", "connect_timeout", &json!("3s")).await?;
    wait::until("a cluster is warming, for ever", async || {
        Ok(wait::holds(world.envoy.stat("cluster_manager.warming_clusters").await? == 1))
    })
    .await?;
    world.until_greeted(0, b'1').await?;
    world.serve(|state| ring(state, 128))?;
    world.until_loaded("dynamic_active_clusters", "api", "lb_policy", &json!("RING_HASH")).await?;
    world.until_greeted(0, b'1').await?;
    // Some Envoys say now what they could not say before.
    tokio::time::sleep(REST).await;
    mended(world, "Cluster").await
}

async fn a_listener_that_cannot_be_made(world: &World) -> Result<()> {
    let before = world.refusals("Listener")?.len();
    world.serve(|state| {
        state.listeners[0]["listener_filters"] =
            json!([{"name": "none", "typed_config": {"@type": TCP_PROXY, "stat_prefix": "x", "cluster": "api"}}]);
        state.listeners[2]["stat_prefix"] = "changed".into();
    })?;
    let said = world.until_refused("Listener", before).await?;
    ensure!(said.len() == 1, "the one to blame is named, so that one refusal is enough: {said:#?}");
    ensure!(said[0].contains("Error adding/updating listener(s) api: "), "other words: {}", said[0]);
    world.until_loaded("dynamic_listeners", "web", "stat_prefix", &json!("changed")).await?;
    world.until_greeted(0, b'1').await?;
    mended(world, "Listener").await
}

async fn endpoints_with_a_forbidden_value(world: &World) -> Result<()> {
    let before = world.refusals("ClusterLoadAssignment")?.len();
    world.serve(|state| {
        state.endpoints[0]["policy"] = json!({"overprovisioning_factor": 0});
        state.endpoints[2] = endpoint(SERVICES[2], world.greeters[1]);
    })?;
    let said = world.until_refused("ClusterLoadAssignment", before).await?;
    ensure!(said.len() == 1, "the one to blame is named, so that one refusal is enough: {said:#?}");
    ensure!(said[0].contains("cluster_name: \\\"api\\\""), "other words: {}", said[0]);
    world.until_greeted(2, b'2').await?;
    world.until_greeted(0, b'1').await?;
    mended(world, "ClusterLoadAssignment").await
}

/// Serves the state without the fault, and a change of what was refused.
async fn mended(world: &World, type_name: &str) -> Result<()> {
    let before = world.refusals(type_name)?.len();
    world.serve(|state| {
        state.clusters[0]["connect_timeout"] = "4s".into();
        state.endpoints[0] = endpoint(SERVICES[0], world.greeters[1]);
        state.listeners[0]["stat_prefix"] = "mended".into();
    })?;
    world.until_loaded("dynamic_active_clusters", "api", "connect_timeout", &json!("4s")).await?;
    world.until_loaded("dynamic_listeners", "api", "stat_prefix", &json!("mended")).await?;
    world.until_greeted(0, b'2').await?;
    world.serve(|_state| ())?;
    world.until_loaded("dynamic_active_clusters", "api", "connect_timeout", &json!("1s")).await?;
    for service in 0..SERVICES.len() {
        world.until_greeted(service, b'1').await?;
    }
    ensure!(world.refusals(type_name)?.len() == before, "a file without faults is refused");
    Ok(())
}
