//! What a gateway refuses is not answered as if it worked, is told at once, and of nobody who has nothing to do with it.

use std::net::IpAddr;

use anyhow::{Context, Result, ensure};
use hickory_proto::op::ResponseCode;
use serde_json::Value;
use xcc_integration::manifests::HttpProxy;
use xcc_integration::project::ENVOY_VERSIONS;
use xcc_integration::resolver::Resolution;
use xcc_integration::wait;
use xcc_integration::world::{Plan, World};

use crate::by_hand::{CLUSTER, ENDPOINTS, Gateway, LISTENER};

#[tokio::test]
async fn a_name_whose_cluster_is_refused_is_not_answered() {
    run("refused-cluster", async |world, gateway| {
        world.east.export("east", "east.xcc.test")?;
        world.wait_resolvable("east.xcc.test").await?;
        gateway.refuse(CLUSTER, "west/443", "Error adding/updating cluster(s) west/443: no such extension");
        world.west.export("west", "west.xcc.test")?;
        told(world, "west.xcc.test is not carried on port 443: a gateway refuses the cluster west/443")
            .await?;
        told(world, "a gateway refuses the cluster west/443: what it had before stays in use").await?;
        // A name that comes later and is answered shows that the gateway has answered all that came before it.
        world.east.export("nginx", "nginx.xcc.test")?;
        world.wait_resolvable("nginx.xcc.test").await?;
        not_answered(world, "west.xcc.test").await?;

        // Another Envoy has the extension.
        *gateway = Gateway::connect(world.xcc.settings().xds).await?;
        world.wait_resolvable("west.xcc.test").await?;
        told_nothing(world).await
    })
    .await;
}

#[tokio::test]
async fn a_name_whose_cluster_is_left_unanswered_is_not_answered_either() {
    run("unanswered-cluster", async |world, gateway| {
        world.east.export("east", "east.xcc.test")?;
        world.wait_resolvable("east.xcc.test").await?;
        gateway.leave_unanswered(CLUSTER, "west/443");
        world.west.export("west", "west.xcc.test")?;
        world.east.export("nginx", "nginx.xcc.test")?;
        world.wait_resolvable("nginx.xcc.test").await?;
        not_answered(world, "west.xcc.test").await?;

        *gateway = Gateway::connect(world.xcc.settings().xds).await?;
        world.wait_resolvable("west.xcc.test").await
    })
    .await;
}

#[tokio::test]
async fn refused_endpoints_are_told_at_once_and_what_worked_stays() {
    run("refused-endpoints", async |world, gateway| {
        world.east.export("east", "east.xcc.test")?;
        world.wait_resolvable("east.xcc.test").await?;
        gateway.refuse(ENDPOINTS, "east/443", "malformed IP address: east/443");
        let node = node(world)?;
        world.east.set_node(1, node, false)?;
        told(world, "a gateway refuses the endpoints of east/443: what it had before stays in use").await?;
        let metrics = world.xcc.metrics().await?;
        ensure!(metrics.contains(r#"xcc_gateway_refusals{type="ClusterLoadAssignment"} 1"#), "{metrics}");
        ensure!(metrics.contains(r#"xcc_diagnostics{reason="NotCarried"} 1"#), "{metrics}");

        world.east.export("nginx", "nginx.xcc.test")?;
        told(world, "nginx.xcc.test is not carried on port 443: a gateway refuses the endpoints").await?;
        world.west.export("west", "west.xcc.test")?;
        world.wait_resolvable("west.xcc.test").await?;
        world.wait_resolvable("east.xcc.test").await?;
        not_answered(world, "nginx.xcc.test").await?;

        gateway.take_all();
        world.east.set_node(1, node, true)?;
        world.wait_resolvable("nginx.xcc.test").await?;
        told_nothing(world).await
    })
    .await;
}

#[tokio::test]
async fn a_refused_listener_is_told_once_and_of_the_names_to_blame() {
    run("refused-listener", async |world, gateway| {
        world.east.export("east", "east.xcc.test")?;
        world.wait_resolvable("east.xcc.test").await?;
        gateway.refuse(LISTENER, "tls/443", "Error adding/updating listener(s) tls/443: too many names");
        gateway.refuse(LISTENER, "tls/8080", "Error adding/updating listener(s) tls/8080: cannot bind");
        world.west.export("west", "west.xcc.test")?;
        for number in 0..50 {
            let proxy = HttpProxy::exported(&format!("n{number}"), &format!("n{number}.xcc.test"));
            world
                .west
                .apply(&format!("n{number}.yaml"), &proxy.annotated("service-port", "8080").manifest())?;
        }
        told(world, "west.xcc.test is not carried on port 443").await?;
        told(world, "new names are not carried on port 8080").await?;
        let page = world.xcc.debug("table").await?;
        let refusals = page["refusals"].as_array().context("no refusals")?;
        ensure!(refusals.len() == 2, "{refusals:?}");
        let messages = messages(&page);
        ensure!(messages.iter().filter(|message| message.contains("8080")).count() == 1, "{messages:?}");
        ensure!(!messages.iter().any(|message| message.starts_with("east.xcc.test")), "{messages:?}");
        world.wait_resolvable("east.xcc.test").await?;
        not_answered(world, "west.xcc.test").await
    })
    .await;
}

#[expect(clippy::panic, reason = "this is how a test fails")]
async fn run(name: &str, test: impl AsyncFnOnce(&mut World, &mut Gateway) -> Result<()>) {
    let result = async {
        let mut world = World::without_gateway(name, &Plan::new(ENVOY_VERSIONS[1])).await?;
        let mut gateway = Gateway::connect(world.xcc.settings().xds).await?;
        let result = test(&mut world, &mut gateway).await;
        if result.is_err() {
            world.scratch.keep();
        }
        result.with_context(|| format!("manifests and logs are kept in {}", world.scratch.path().display()))
    };
    if let Err(error) = result.await {
        panic!("{error:#}");
    }
}

fn node(world: &World) -> Result<IpAddr> {
    world.east.addresses().nodes.get(1).copied().context("there is one node only")
}

fn messages(table: &Value) -> Vec<&str> {
    let diagnostics = table["diagnostics"].as_array().into_iter().flatten();
    diagnostics.filter_map(|diagnostic| diagnostic["message"].as_str()).collect()
}

async fn told(world: &World, text: &str) -> Result<()> {
    wait::until(&format!("a diagnostic says {text:?}"), async || {
        let table = world.xcc.debug("table").await?;
        let messages = messages(&table);
        ensure!(messages.iter().any(|message| message.contains(text)), "{messages:?}");
        Ok(Some(()))
    })
    .await
}

async fn told_nothing(world: &World) -> Result<()> {
    wait::until("nothing is refused any more", async || {
        let table = world.xcc.debug("table").await?;
        let (messages, refusals) = (messages(&table), &table["refusals"]);
        ensure!(
            messages.is_empty() && refusals.as_array().is_some_and(Vec::is_empty),
            "{messages:?} {refusals}"
        );
        Ok(Some(()))
    })
    .await
}

async fn not_answered(world: &World, name: &str) -> Result<()> {
    let answer = world.resolver.resolve(name).await?;
    ensure!(answer == Resolution::Failure(ResponseCode::NXDomain), "{name}: {answer:?}");
    Ok(())
}
