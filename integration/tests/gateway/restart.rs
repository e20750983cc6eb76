//! xcc dies and comes back: nobody is to notice but the gateway's ADS stream.

use anyhow::{Result, ensure};
use hickory_proto::op::ResponseCode;
use xcc_integration::resolver::Resolution;
use xcc_integration::wait;
use xcc_integration::world::{Plan, World};

crate::with_each_envoy!(
    a_killed_xcc_comes_back_and_sends_nothing,
    a_change_during_the_outage_is_caught_up,
    a_gateway_is_not_ready_before_it_has_reached_an_xcc,
);

async fn a_killed_xcc_comes_back_and_sends_nothing(envoy: &str) {
    World::test("restart", &Plan::new(envoy), async |world| {
        export_some(world).await?;
        let mut long = world.client.connect("east.xcc.test").await?.stream().await?;
        let before = configuration(world).await?;
        ensure!(resources_sent(world).await? > 0, "nothing was sent in the first place");

        world.xcc.process().kill()?;
        wait::until("the gateway has noticed", async || {
            Ok(wait::holds(world.gateway()?.stat("control_plane.connected_state").await? == 0))
        })
        .await?;
        // The data path does without xcc.
        ensure!(world.client.get_at(world.gateway_https(), "nginx.xcc.test", "/").await.is_ok());
        long.check_alive().await?;

        world.xcc.start_again()?;
        wait::until("the name is answered again", async || {
            match world.resolver.resolve("east.xcc.test").await {
                Ok(Resolution::Addresses(_)) => Ok(Some(Ok(()))),
                // Nobody would ask again for as long as the negative answer may be kept.
                Ok(other) if other != Resolution::Failure(ResponseCode::ServFail) => Ok(Some(Err(other))),
                Ok(_not_yet) => Ok(None),
                Err(error) => Err(error),
            }
        })
        .await?
        .map_err(|answer| anyhow::anyhow!("a restart made an existing name {answer:?}"))?;
        world.xcc.wait_ready().await?;

        let sent = resources_sent(world).await?;
        ensure!(sent == 0, "{sent} resources were sent to a gateway that had them all");
        ensure!(configuration(world).await? == before, "the gateway's configuration was touched");
        long.check_alive().await?;
        ensure!(world.client.get("nginx.xcc.test", "/").await.is_ok());
        Ok(())
    })
    .await;
}

async fn a_change_during_the_outage_is_caught_up(envoy: &str) {
    World::test("outage", &Plan::new(envoy), async |world| {
        export_some(world).await?;
        let mut long = world.client.connect("east.xcc.test").await?.stream().await?;
        world.xcc.process().kill()?;
        world.east.export("team", "*.team.xcc.test")?;
        world.west.delete("west.yaml")?;
        world.xcc.start_again()?;
        world.xcc.wait_live().await?;
        world.wait_resolvable("a.team.xcc.test").await?;
        ensure!(world.client.get("a.team.xcc.test", "/").await?.cluster == "east");
        world.wait_gone("west.xcc.test").await?;
        ensure!(world.client.get("nginx.xcc.test", "/").await.is_ok());
        long.check_alive().await?;
        Ok(())
    })
    .await;
}

async fn a_gateway_is_not_ready_before_it_has_reached_an_xcc(envoy: &str) {
    World::test("no-xcc", &Plan::new(envoy), async |world| {
        world.xcc.process().kill()?;
        let mut late = world.spawn_gateway("late")?;
        // By Envoy's own clock: by default it gives up waiting after 15 s.
        wait::until("the gateway is up for longer than Envoy would wait by default", async || {
            late.process().check_running()?;
            Ok(wait::holds(late.stat("server.uptime").await? > 17))
        })
        .await?;
        ensure!(!late.is_live().await?, "a gateway that has no configuration calls itself ready");
        world.xcc.start_again()?;
        late.wait_live().await?;
        late.check_clean().await
    })
    .await;
}

async fn export_some(world: &World) -> Result<()> {
    for (remote, name) in
        [(&world.east, "nginx"), (&world.west, "nginx"), (&world.east, "east"), (&world.west, "west")]
    {
        remote.export(name, &format!("{name}.xcc.test"))?;
    }
    for host in ["nginx.xcc.test", "east.xcc.test", "west.xcc.test"] {
        world.wait_resolvable(host).await?;
    }
    // The answers do not say that the latest change has reached the gateway; this does.
    wait::until("both remotes' endpoints are in the merged cluster", async || {
        Ok(wait::holds(world.gateway()?.endpoints("east+west/443").await?.len() == 4))
    })
    .await
}

/// What tells that Envoy took something into its configuration, and the versions that it holds.
async fn configuration(world: &World) -> Result<(Vec<(String, u64)>, String)> {
    let gateway = world.gateway()?;
    let changes = "cluster_manager\\.cluster_(added|modified|removed)|listener_manager\\.listener_\
                   (added|modified|removed|create_success|in_place_updated)";
    let listeners = gateway.config_dump("dynamic_listeners").await?;
    Ok((gateway.stats(changes).await?, listeners.to_string()))
}

/// How many resources the running xcc has sent to gateways.
async fn resources_sent(world: &World) -> Result<u64> {
    let clients = world.xcc.debug("clients").await?;
    let mut total = 0;
    let mut types = 0;
    sum_fields(&clients, "resources_sent", &mut |value| {
        total += value;
        types += 1;
    });
    ensure!(types > 0, "/debug/clients tells of no resources: {clients}");
    Ok(total)
}

fn sum_fields(value: &serde_json::Value, field: &str, add: &mut impl FnMut(u64)) {
    match value {
        serde_json::Value::Array(items) => items.iter().for_each(|item| sum_fields(item, field, add)),
        serde_json::Value::Object(fields) => {
            for (name, value) in fields {
                match value.as_u64() {
                    Some(number) if name == field => add(number),
                    _ => sum_fields(value, field, add),
                }
            }
        }
        _ => {}
    }
}
