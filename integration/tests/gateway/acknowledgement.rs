//! A name is answered only when the gateways have it.

use std::net::SocketAddr;

use anyhow::{Result, ensure};
use hickory_proto::op::ResponseCode;
use http::StatusCode;
use xcc_integration::manifests::HttpProxy;
use xcc_integration::resolver::Resolution;
use xcc_integration::wait;
use xcc_integration::world::{Plan, World};
use xcc_integration::xcc::PORT_OFFSET;

/// A service port whose listener Envoy cannot open.
const PORT: u16 = 8080;

crate::with_each_envoy!(
    nothing_is_answered_before_a_gateway_came,
    a_name_waits_for_the_acknowledgement,
    a_gateway_that_lags_is_passed_over,
    a_refused_listener_holds_up_the_names_of_its_port_only,
    an_answered_name_outlives_its_gateway,
);

async fn nothing_is_answered_before_a_gateway_came(envoy: &str) {
    // World::test starts a gateway: the state before it is looked at through a second control plane's eyes.
    let mut world = start_without_gateway(envoy).await;
    let result = async {
        world.east.export("east", "east.xcc.test")?;
        wait_in_table(&world, "east.xcc.test").await?;
        let answer = world.resolver.resolve("east.xcc.test").await?;
        ensure!(answer == Resolution::Failure(ResponseCode::ServFail), "{answer:?}");
        let answer = world.resolver.resolve("unknown.xcc.test").await?;
        ensure!(answer == Resolution::Failure(ResponseCode::ServFail), "{answer:?}");
        let (status, text) = world.xcc.readiness().await?;
        ensure!(status == StatusCode::SERVICE_UNAVAILABLE && text.contains("gateway"), "{status}: {text}");

        world.start_gateway().await?;
        world.wait_resolvable("east.xcc.test").await?;
        ensure!(world.client.get("east.xcc.test", "/").await?.cluster == "east");
        world.gateway()?.check_clean().await
    };
    finish(result.await, &world);
}

#[expect(clippy::panic, reason = "this is how a test fails")]
async fn start_without_gateway(envoy: &str) -> World {
    match World::without_gateway("no-gateway", &Plan::new(envoy)).await {
        Ok(world) => world,
        Err(error) => panic!("{error:#}"),
    }
}

#[expect(clippy::panic, reason = "this is how a test fails")]
fn finish(result: Result<()>, world: &World) {
    if let Err(error) = result {
        world.scratch.keep();
        panic!("{error:#}\nmanifests and logs are kept in {}", world.scratch.path().display());
    }
}

async fn a_name_waits_for_the_acknowledgement(envoy: &str) {
    World::test("gating", &Plan::new(envoy), async |world| {
        world.east.export("east", "east.xcc.test")?;
        world.wait_resolvable("east.xcc.test").await?;
        pause(world)?;
        world.west.export("west", "west.xcc.test")?;
        wait_in_table(world, "west.xcc.test").await?;
        wait_in_snapshot(world, "west.xcc.test").await?;
        let answer = world.resolver.resolve("west.xcc.test").await?;
        ensure!(answer == Resolution::Failure(ResponseCode::NXDomain), "{answer:?}");
        // What is answered stays answered.
        world.wait_resolvable("east.xcc.test").await?;
        resume(world)?;
        world.wait_resolvable("west.xcc.test").await?;
        // Answered means reachable, at the first attempt.
        ensure!(world.client.get("west.xcc.test", "/").await?.cluster == "west");
        Ok(())
    })
    .await;
}

fn pause(world: &mut World) -> Result<()> {
    world.gateway.as_mut().map_or(Ok(()), |gateway| gateway.process().pause())
}

fn resume(world: &mut World) -> Result<()> {
    world.gateway.as_mut().map_or(Ok(()), |gateway| gateway.process().resume())
}

async fn a_gateway_that_lags_is_passed_over(envoy: &str) {
    World::test("lag", &Plan::new(envoy), async |world| {
        world.east.export("east", "east.xcc.test")?;
        world.wait_resolvable("east.xcc.test").await?;
        let mut second = world.another_gateway("gateway-1").await?;
        wait::until("xcc serves two gateways", async || {
            let clients = world.xcc.debug("clients").await?.to_string();
            Ok(wait::holds(clients.contains("gateway-0") && clients.contains("gateway-1")))
        })
        .await?;

        second.process().pause()?;
        let start = tokio::time::Instant::now();
        world.west.export("west", "west.xcc.test")?;
        world.wait_resolvable("west.xcc.test").await?;
        let waited = start.elapsed();
        // The rule is five seconds after the first gateway had it; a second of slack for a loaded machine's clock.
        ensure!(waited.as_secs_f32() > 4.0, "answered after {waited:?} though a gateway did not have it");
        ensure!(waited.as_secs_f32() < 15.0, "answered only after {waited:?}");
        second.process().resume()?;
        second.check_clean().await
    })
    .await;
}

async fn a_refused_listener_holds_up_the_names_of_its_port_only(envoy: &str) {
    // Ended by hand: the harness' own check wants that Envoy never refused anything.
    let mut world = start_without_gateway(envoy).await;
    let result = async {
        world.start_gateway().await?;
        world.east.export("east", "east.xcc.test")?;
        world.wait_resolvable("east.xcc.test").await?;
        // Envoy cannot bind what somebody else listens on.
        let taken = SocketAddr::new(world.gateway_https().ip(), PORT + PORT_OFFSET);
        let occupier = std::net::TcpListener::bind(taken)?;
        let busy = HttpProxy::exported("busy", "busy.xcc.test").annotated("service-port", &PORT.to_string());
        world.east.apply("busy.yaml", &busy.manifest())?;
        wait_in_table(&world, "a gateway refuses the listener").await?;

        world.west.export("west", "west.xcc.test")?;
        world.wait_resolvable("west.xcc.test").await?;
        ensure!(world.client.get("west.xcc.test", "/").await?.cluster == "west");
        let answer = world.resolver.resolve("busy.xcc.test").await?;
        ensure!(answer == Resolution::Failure(ResponseCode::NXDomain), "{answer:?}");
        // A new process hears the refusal anew, and of the rest that it is there.
        world.xcc.kill_and_restart()?;
        world.xcc.wait_ready().await?;
        for name in ["east.xcc.test", "west.xcc.test"] {
            world.wait_resolvable(name).await?;
        }

        drop(occupier);
        world.east.delete("busy.yaml")?;
        wait::until("nothing is refused any more", async || {
            Ok(wait::holds(!world.xcc.debug("table").await?.to_string().contains("refuses")))
        })
        .await
    };
    finish(result.await, &world);
}

async fn an_answered_name_outlives_its_gateway(envoy: &str) {
    World::test("outlives", &Plan::new(envoy), async |world| {
        world.east.export("east", "east.xcc.test")?;
        world.wait_resolvable("east.xcc.test").await?;
        world.gateway = None;
        wait::until("xcc has noticed that the gateway is gone", async || {
            let clients = world.xcc.debug("clients").await?.to_string();
            Ok(wait::holds(!clients.contains("gateway-0")))
        })
        .await?;
        world.wait_resolvable("east.xcc.test").await?;
        world.start_gateway().await?;
        world.wait_resolvable("east.xcc.test").await?;
        ensure!(world.client.get("east.xcc.test", "/").await?.cluster == "east");
        Ok(())
    })
    .await;
}

async fn wait_in_table(world: &World, host: &str) -> Result<()> {
    wait_on_page(world, "table", host).await
}

async fn wait_in_snapshot(world: &World, host: &str) -> Result<()> {
    wait_on_page(world, "snapshot", host).await
}

async fn wait_on_page(world: &World, page: &str, host: &str) -> Result<()> {
    wait::until(&format!("/debug/{page} shows {host}"), async || {
        Ok(wait::holds(world.xcc.debug(page).await?.to_string().contains(host)))
    })
    .await
}
