//! xcc's DNS as other people's software sees it: BIND's dig and dnspython, with a real gateway connected.

mod dig;

use std::process::Command;

use anyhow::{Context, Result, ensure};
use xcc_integration::project::{self, ENVOY_NEWEST};
use xcc_integration::world::{Plan, World};

/// The addresses that xcc serves DNS on.
#[derive(Clone, Copy, PartialEq)]
enum Dns {
    OnIpv4,
    OnIpv6,
}

/// Exports what the questions are about and runs the check.
async fn with_names(name: &str, dns: Dns, check: impl AsyncFnOnce(&World) -> Result<()>) {
    let plan = Plan { dns_on_ipv6: dns == Dns::OnIpv6, ..Plan::new(ENVOY_NEWEST) };
    World::test(name, &plan, async |world| {
        ensure!(world.xcc.settings().dns.is_ipv6() == plan.dns_on_ipv6, "another address than planned");
        world.east.export("nginx", "nginx.xcc.test")?;
        world.east.export("deep", "a.deep.xcc.test")?;
        world.west.export("team", "*.team.xcc.test")?;
        for host in ["nginx.xcc.test", "a.deep.xcc.test", "any.team.xcc.test"] {
            world.wait_resolvable(host).await?;
        }
        check(world).await
    })
    .await;
}

fn ask_by_dnspython(world: &World) -> Result<()> {
    let dns = world.xcc.settings().dns;
    let gateway = world.xcc.settings().gateway_bind.to_string();
    let output = Command::new(project::python()?)
        .arg(project::root().join("integration/tests/dns/matrix.py"))
        .args([dns.ip().to_string(), dns.port().to_string(), gateway])
        .output()
        .context("cannot start python")?;
    let report = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{report}{errors}");
    // A script that checks nothing succeeds, too.
    ensure!(report.contains("checks passed"), "{report}");
    Ok(())
}

#[tokio::test]
async fn rfc8906_and_others_by_dig() {
    with_names("dig", Dns::OnIpv4, async |world| dig::check(world)).await;
}

#[tokio::test]
async fn rfc8906_and_others_by_dig_over_ipv6() {
    with_names("dig-ipv6", Dns::OnIpv6, async |world| dig::check(world)).await;
}

#[tokio::test]
async fn the_matrix_of_names_and_types_by_dnspython() {
    with_names("dnspython", Dns::OnIpv4, async |world| ask_by_dnspython(world)).await;
}

#[tokio::test]
async fn the_matrix_of_names_and_types_by_dnspython_over_ipv6() {
    with_names("dnspython-ipv6", Dns::OnIpv6, async |world| ask_by_dnspython(world)).await;
}
