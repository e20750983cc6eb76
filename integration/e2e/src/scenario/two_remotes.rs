//! Two remotes export the same name: their endpoints are merged, and both get traffic.

use std::collections::BTreeSet;

use anyhow::{Result, ensure};

use super::NAME;
use super::observe::{condition, imported_when};
use crate::client::{PATIENCE, by_name};
use crate::progress::Progress;
use crate::world::World;
use crate::{example, installation, wait};

/// workloads exports the name as well, and imports from itself beside shared-services.
///
/// # Errors
/// The first step that did not hold.
pub async fn walk(world: &mut World, progress: Progress) -> Result<()> {
    let (one, both) = (&world.shared_services, &world.workloads);
    let before = imported_when(both, NAME, "has endpoints", |it| !it.addresses.is_empty()).await?;
    example::deploy(both, NAME).await?;
    example::export(both, NAME).await?;
    example::wait_valid(both).await?;
    installation::add_remote(both, both).await?;
    condition(both, both.name(), "Ready", "True", "Connected").await?;
    let names = BTreeSet::from([one.name().to_owned(), both.name().to_owned()]);
    let merged = imported_when(both, NAME, "has both remotes", |it| it.remotes == names).await?;
    for cluster in [one, both] {
        for node in ["worker-1", "worker-2"] {
            let [v4, _v6] = cluster.node_addresses(node)?.map(|address| address.to_string());
            ensure!(merged.addresses.contains(&v4), "{node} of {} is missing: {merged:?}", cluster.name());
        }
    }
    progress.say(format!(
        "{NAME} exported by two remotes: {} endpoints in one ServiceRecord",
        merged.addresses.len()
    ));

    let mut seen = BTreeSet::new();
    wait::until("both clusters answer", PATIENCE, async || {
        let answer = by_name(both, NAME).await?;
        ensure!(answer.contains("HTTP/2 200"), "{answer}");
        let header = answer.lines().find_map(|line| line.strip_prefix("x-cluster: "));
        seen.extend(header.map(|cluster| cluster.trim().to_owned()));
        Ok(wait::holds(seen == names))
    })
    .await?;
    progress.say(format!("{NAME} exported by two remotes: connections reach both"));

    installation::remove_remote(both, both.name()).await?;
    imported_when(both, NAME, "has one remote again", |it| *it == before).await?;
    example::delete(both).await?;
    progress.say(format!("{NAME}: with one of the RemoteClusters deleted the other's endpoints are left"));
    Ok(())
}
