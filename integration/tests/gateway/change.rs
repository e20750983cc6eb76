//! What changes, and what must not notice: long connections, the other remote, other names.

use anyhow::{Result, ensure};
use xcc_integration::client::{LongStream, Refusal};
use xcc_integration::manifests::HttpProxy;
use xcc_integration::wait;
use xcc_integration::world::{Plan, World};

crate::with_each_envoy!(
    a_long_connection_outlives_fifty_changes_of_its_remote,
    a_replaced_node_takes_over,
    an_invalid_service_touches_no_other,
    withdrawal_closes_the_gateway_after_dns,
    the_last_withdrawal_closes_the_listener,
);

/// How often a service comes and goes beside a long connection.
const CHANGES: usize = 50;

async fn a_long_connection_outlives_fifty_changes_of_its_remote(envoy: &str) {
    World::test("churn", &Plan::new(envoy), async |world| {
        world.east.export("east", "east.xcc.test")?;
        world.wait_resolvable("east.xcc.test").await?;
        let mut long = world.client.connect("east.xcc.test").await?.stream().await?;
        for change in 0..CHANGES {
            let host = format!("n{change}.team.xcc.test");
            world.east.export("churn", &host)?;
            world.wait_resolvable(&host).await?;
            ensure!(world.client.get(&host, "/").await?.cluster == "east");
            world.east.delete("churn.yaml")?;
            world.wait_gone(&host).await?;
            long.check_alive().await?;
        }
        // Had a change drained the connection's filter chain, it would be cut when the drain ends.
        wait::until("nothing is draining", async || {
            let draining = world.gateway()?.stat("listener_manager.total_filter_chains_draining").await?;
            Ok(wait::holds(draining == 0))
        })
        .await?;
        long.check_alive().await?;
        Ok(())
    })
    .await;
}

async fn a_replaced_node_takes_over(envoy: &str) {
    World::test("node", &Plan::new(envoy), async |world| {
        world.east.export("east", "east.xcc.test")?;
        world.wait_resolvable("east.xcc.test").await?;
        let addresses = world.east.addresses().clone();
        let (old, new) = (addresses.nodes[0], addresses.spare_nodes[0]);
        let port = addresses.ingress_port;
        // Long connections until one goes through the node that is to be replaced.
        let mut long: Vec<LongStream> = Vec::new();
        while node_connections(world, old, "active").await? == 0 {
            ensure!(long.len() < 16, "16 connections and none through {old}");
            long.push(world.client.connect("east.xcc.test").await?.stream().await?);
        }
        let (cluster_updates, listener_updates) = updates(world).await?;

        world.east.delete_node(0)?;
        world.east.set_node(2, new, true)?;
        wait::until("Envoy has the new node and not the old one", async || {
            let endpoints = world.gateway()?.endpoints("east/443").await?;
            Ok(wait::holds(
                endpoints.contains(&(new, port).into()) && !endpoints.contains(&(old, port).into()),
            ))
        })
        .await?;

        let through_old = node_connections(world, old, "total").await?;
        wait::until("a connection goes through the new node", async || {
            ensure!(world.client.get("east.xcc.test", "/").await?.cluster == "east");
            Ok(wait::holds(node_connections(world, new, "total").await? > 0))
        })
        .await?;
        ensure!(
            node_connections(world, old, "total").await? == through_old,
            "the old node still gets connections"
        );
        ensure!(
            updates(world).await? == (cluster_updates, listener_updates),
            "a node is a matter of EDS alone"
        );
        for stream in &mut long {
            stream.check_alive().await?;
        }
        Ok(())
    })
    .await;
}

async fn node_connections(world: &mut World, node: std::net::IpAddr, kind: &str) -> Result<u64> {
    let port = world.east.addresses().ingress_port;
    world.east.ingress().stat(&format!("listener.{node}_{port}.downstream_cx_{kind}")).await
}

/// How many updates of clusters and of listeners the gateway has taken.
async fn updates(world: &World) -> Result<(u64, u64)> {
    let gateway = world.gateway()?;
    let clusters = gateway.stat("cluster_manager.cds.update_success").await?;
    Ok((clusters, gateway.stat("listener_manager.lds.update_success").await?))
}

async fn an_invalid_service_touches_no_other(envoy: &str) {
    World::test("invalid", &Plan::new(envoy), async |world| {
        world.east.export("east", "east.xcc.test")?;
        world.east.export("nginx", "nginx.xcc.test")?;
        world.west.export("nginx", "nginx.xcc.test")?;
        world.wait_resolvable("east.xcc.test").await?;
        world.wait_resolvable("nginx.xcc.test").await?;

        // What does not parse is a half-written file to us: what it said before stays.
        world.east.apply("east.yaml", "kind: HTTPProxy\n  broken: [")?;
        // Contour finds the service invalid: its share is withdrawn, and only that.
        let invalid =
            HttpProxy::exported("nginx", "nginx.xcc.test").with_status("invalid", "secret not found");
        world.east.apply("nginx.yaml", &invalid.manifest())?;
        world.west.export("west", "west.xcc.test")?;

        world.wait_resolvable("west.xcc.test").await?;
        ensure!(world.client.get("west.xcc.test", "/").await?.cluster == "west");
        ensure!(world.client.get("east.xcc.test", "/").await?.cluster == "east");
        wait::until("the diagnostics name both", async || {
            let table = world.xcc.debug("table").await?.to_string();
            ensure!(table.contains("east.yaml") && table.contains("secret not found"), "{table}");
            Ok(Some(()))
        })
        .await?;
        wait::until("only west answers for the shared name", async || {
            let mut clusters = Vec::new();
            for _request in 0..8 {
                clusters.push(world.client.get("nginx.xcc.test", "/").await?.cluster);
            }
            Ok(wait::holds(clusters.iter().all(|cluster| cluster == "west")))
        })
        .await?;

        // No TLS, no SNI, no export; and back again when it is mended.
        world
            .east
            .apply("east.yaml", &HttpProxy::exported("east", "east.xcc.test").without_tls().manifest())?;
        world.wait_gone("east.xcc.test").await?;
        world.east.export("east", "east.xcc.test")?;
        world.wait_resolvable("east.xcc.test").await?;
        ensure!(world.client.get("east.xcc.test", "/").await?.cluster == "east");
        Ok(())
    })
    .await;
}

async fn withdrawal_closes_the_gateway_after_dns(envoy: &str) {
    let delay = std::time::Duration::from_secs(2);
    let plan = Plan { withdraw_delay: delay, ..Plan::new(envoy) };
    World::test("withdrawal", &plan, async |world| {
        world.east.export("nginx", "nginx.xcc.test")?;
        world.east.export("east", "east.xcc.test")?;
        world.wait_resolvable("nginx.xcc.test").await?;
        world.wait_resolvable("east.xcc.test").await?;
        let gateway = world.gateway_https();
        let mut long = world.client.connect("east.xcc.test").await?.stream().await?;

        let before = tokio::time::Instant::now();
        world.east.delete("nginx.yaml")?;
        world.wait_gone("nginx.xcc.test").await?;
        // A client that has the answer in its cache is still served.
        let answer = world.client.get_at(gateway, "nginx.xcc.test", "/").await?;
        ensure!(before.elapsed() < delay, "this machine is too slow to tell");
        ensure!(answer.cluster == "east");
        wait::until("the gateway closes the name", async || {
            let refusal = world.client.probe_sni(gateway, "nginx.xcc.test").await?;
            Ok(wait::holds(refusal == Refusal::Closed))
        })
        .await?;
        ensure!(before.elapsed() >= delay, "closed after {:?} already", before.elapsed());
        long.check_alive().await?;
        Ok(())
    })
    .await;
}

async fn the_last_withdrawal_closes_the_listener(envoy: &str) {
    World::test("last", &Plan::new(envoy), async |world| {
        for _round in 0..2 {
            world.east.export("east", "east.xcc.test")?;
            world.wait_resolvable("east.xcc.test").await?;
            ensure!(world.client.get("east.xcc.test", "/").await?.cluster == "east");
            world.east.delete("east.yaml")?;
            world.wait_gone("east.xcc.test").await?;
            wait::until("the gateway does not take the name any more", async || {
                let refusal = world.client.probe_sni(world.gateway_https(), "east.xcc.test").await?;
                Ok(wait::holds(refusal != Refusal::Served))
            })
            .await?;
        }
        Ok(())
    })
    .await;
}
