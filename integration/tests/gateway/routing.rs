//! Where connections go by their server name, and which are closed.

use std::collections::BTreeSet;

use anyhow::ensure;
use http::{StatusCode, Version};
use xcc_integration::client::Refusal;
use xcc_integration::manifests::HttpProxy;
use xcc_integration::wait;
use xcc_integration::world::{Plan, World};

crate::with_each_envoy!(
    names_reach_their_own_remote_over_http2,
    a_name_of_both_remotes_is_answered_by_both,
    wildcards_take_what_no_exact_name_has,
    what_is_not_exported_is_closed,
    ipv6_endpoints_are_reached,
    a_service_port_of_its_own_is_listened_on,
);

async fn names_reach_their_own_remote_over_http2(envoy: &str) {
    World::test("routing", &Plan::new(envoy), async |world| {
        world.east.export("east", "east.xcc.test")?;
        world.west.export("west", "west.xcc.test")?;
        for (host, remote) in [("east.xcc.test", "east"), ("west.xcc.test", "west")] {
            world.wait_resolvable(host).await?;
            // The client believes only a certificate of that very name.
            let answer = world.client.get(host, "/path").await?;
            ensure!(answer.version == Version::HTTP_2 && answer.status == StatusCode::OK, "{answer:?}");
            ensure!(
                answer.cluster == remote && answer.body == format!("{remote} {host} /path\n"),
                "{answer:?}"
            );
        }
        // Envoy looks at the lower-cased name, and so must the map that it was sent.
        let answer = world.client.get_at(world.gateway_https(), "EAST.xcc.test", "/").await?;
        ensure!(answer.cluster == "east", "{answer:?}");
        Ok(())
    })
    .await;
}

async fn a_name_of_both_remotes_is_answered_by_both(envoy: &str) {
    World::test("merged", &Plan::new(envoy), async |world| {
        world.east.export("nginx", "nginx.xcc.test")?;
        world.wait_resolvable("nginx.xcc.test").await?;
        ensure!(world.client.get("nginx.xcc.test", "/").await?.cluster == "east");
        world.west.export("nginx", "nginx.xcc.test")?;
        let both = BTreeSet::from(["east".to_owned(), "west".to_owned()]);
        let mut clusters = BTreeSet::new();
        wait::until("both remotes answer", async || {
            clusters.insert(world.client.get("nginx.xcc.test", "/").await?.cluster);
            Ok(wait::holds(clusters == both))
        })
        .await
    })
    .await;
}

async fn wildcards_take_what_no_exact_name_has(envoy: &str) {
    let mut plan = Plan::new(envoy);
    // A certificate's wildcard stands for one label, a server name's for any number: deeper names have services
    // of their own behind the ingress, with certificates that fit.
    plan.east = vec!["*.team.xcc.test", "a.b.team.xcc.test"];
    plan.west = vec!["*.deep.team.xcc.test", "a.b.deep.team.xcc.test", "exact.team.xcc.test"];
    World::test("wildcard", &plan, async |world| {
        world.east.export("team", "*.team.xcc.test")?;
        world.west.export("deep", "*.deep.team.xcc.test")?;
        world.west.export("exact", "exact.team.xcc.test")?;
        world.wait_resolvable("any.team.xcc.test").await?;
        let gateway = world.gateway_https();
        for (host, remote) in [
            ("a.team.xcc.test", "east"),
            ("a.b.team.xcc.test", "east"),
            ("exact.team.xcc.test", "west"),
            ("a.deep.team.xcc.test", "west"),
            ("a.b.deep.team.xcc.test", "west"),
        ] {
            // The widest name answers for the others until they have arrived.
            wait::until(&format!("{host} is answered by {remote}"), async || {
                let answer = world.client.get_at(gateway, host, "/").await?;
                ensure!(answer.cluster == remote, "{answer:?}");
                Ok(Some(()))
            })
            .await?;
        }
        // The apex of a wildcard is not below it.
        let apex = world.client.probe_sni(gateway, "team.xcc.test").await?;
        ensure!(apex == Refusal::Closed, "{apex:?}");
        Ok(())
    })
    .await;
}

async fn what_is_not_exported_is_closed(envoy: &str) {
    World::test("closed", &Plan::new(envoy), async |world| {
        world.east.export("nginx", "nginx.xcc.test")?;
        // Runs in the remote, behind the same ingress, without the label.
        world
            .east
            .apply("east.yaml", &HttpProxy::exported("east", "east.xcc.test").without_label().manifest())?;
        world.wait_resolvable("nginx.xcc.test").await?;
        let gateway = world.gateway_https();
        for name in
            ["east.xcc.test", "other.xcc.test", "a.nginx.xcc.test", "xcc.test", "example.com", "xds_cluster"]
        {
            let refusal = world.client.probe_sni(gateway, name).await?;
            ensure!(refusal == Refusal::Closed, "{name}: {refusal:?}");
        }
        let refusal = world.client.probe_without_sni(gateway).await?;
        ensure!(refusal == Refusal::Closed, "without a server name: {refusal:?}");
        let refusal = world.client.probe_plaintext(gateway, "nginx.xcc.test").await?;
        ensure!(refusal == Refusal::Closed, "plaintext: {refusal:?}");
        ensure!(world.client.get("nginx.xcc.test", "/").await?.cluster == "east");
        Ok(())
    })
    .await;
}

async fn ipv6_endpoints_are_reached(envoy: &str) {
    let plan = Plan { east_on_ipv6: true, ..Plan::new(envoy) };
    World::test("ipv6", &plan, async |world| {
        world.east.export("east", "east.xcc.test")?;
        world.wait_resolvable("east.xcc.test").await?;
        ensure!(world.client.get("east.xcc.test", "/").await?.cluster == "east");
        let endpoints = world.gateway()?.endpoints("east/443").await?;
        ensure!(endpoints.len() == 1 && endpoints.iter().all(std::net::SocketAddr::is_ipv6), "{endpoints:?}");
        Ok(())
    })
    .await;
}

async fn a_service_port_of_its_own_is_listened_on(envoy: &str) {
    World::test("port", &Plan::new(envoy), async |world| {
        let proxy = HttpProxy::exported("east", "east.xcc.test").annotated("service-port", "8443");
        world.east.apply("east.yaml", &proxy.manifest())?;
        world.wait_resolvable("east.xcc.test").await?;
        ensure!(world.client.get_on_port("east.xcc.test", 8443, "/").await?.cluster == "east");
        let https = world.client.probe_sni(world.gateway_https(), "east.xcc.test").await?;
        ensure!(https == Refusal::NotListening, "nothing is exported on 443: {https:?}");
        Ok(())
    })
    .await;
}
