//! What happens to clusters in their life, one scenario each, while xcc imports from them.
//!
//! All are told from the side of `workloads`, which imports `nginx.xcc.test` from `shared-services`. Each leaves the
//! clusters as it found them.

pub mod allowed_domains;
pub mod api_outage;
pub mod certificates;
pub mod cluster_dns;
pub mod credentials;
pub mod gateway_address;
pub mod leader;
pub mod new_pods;
pub mod nodes;
pub mod observe;
pub mod permissions;
pub mod readme;
pub mod restarts;
pub mod service_ingress;
pub mod two_remotes;

use anyhow::{Context, Result, ensure};
use futures_util::FutureExt as _;
use futures_util::future::LocalBoxFuture;

use crate::client::{reaches, unresolved};
use crate::progress::Progress;
use crate::world::World;
use crate::{example, installation};

/// The name that is imported.
pub const NAME: &str = "nginx.xcc.test";

/// One scenario.
#[derive(Debug, Clone, Copy)]
pub struct Scenario {
    /// What it is called on the command line.
    pub name: &'static str,
    walk: fn(&mut World, Progress) -> LocalBoxFuture<'_, Result<()>>,
}

/// A change in shared-services is seen in workloads.
async fn changes_arrive(world: &World) -> Result<()> {
    example::unexport(&world.shared_services).await?;
    unresolved(&world.workloads, NAME).await?;
    example::export(&world.shared_services, NAME).await?;
    reaches(&world.workloads, NAME, world.shared_services.name()).await
}

/// All of them, in the order in which they are walked. Those that kill the API server are last: the exporting cluster's
/// own parts (Contour, CoreDNS, kube-proxy) come back from that with pauses of up to a minute, in which they know nothing
/// of a pod that goes.
pub const ALL: [Scenario; 16] = [
    Scenario {
        name: "permissions",
        walk: |world, progress| permissions::walk(world, progress).boxed_local(),
    },
    Scenario {
        name: "two-remotes",
        walk: |world, progress| two_remotes::walk(world, progress).boxed_local(),
    },
    Scenario {
        name: "allowed-domains",
        walk: |world, progress| allowed_domains::walk(world, progress).boxed_local(),
    },
    Scenario { name: "nodes", walk: |world, progress| nodes::walk(world, progress).boxed_local() },
    Scenario { name: "ipv6", walk: |world, progress| nodes::walk_ipv6(world, progress).boxed_local() },
    Scenario {
        name: "service-ingress",
        walk: |world, progress| service_ingress::walk(world, progress).boxed_local(),
    },
    Scenario { name: "leader", walk: |world, progress| leader::walk(world, progress).boxed_local() },
    Scenario { name: "restarts", walk: |world, progress| restarts::walk(world, progress).boxed_local() },
    Scenario {
        name: "certificates",
        walk: |world, progress| certificates::walk(world, progress).boxed_local(),
    },
    Scenario {
        name: "cluster-api",
        walk: |world, progress| credentials::cluster_api(world, progress).boxed_local(),
    },
    Scenario {
        name: "gateway-address",
        walk: |world, progress| gateway_address::walk(world, progress).boxed_local(),
    },
    Scenario {
        name: "cluster-dns",
        walk: |world, progress| cluster_dns::walk(world, progress).boxed_local(),
    },
    Scenario { name: "readme", walk: |world, progress| readme::walk(world, progress).boxed_local() },
    Scenario { name: "rotation", walk: |world, progress| credentials::rotate(world, progress).boxed_local() },
    Scenario { name: "api-outage", walk: |world, progress| api_outage::walk(world, progress).boxed_local() },
    Scenario { name: "new-pods", walk: |world, progress| new_pods::walk(world, progress).boxed_local() },
];

/// Finds scenarios by their names; all of them with none.
///
/// # Errors
/// When there is no such scenario: which there are.
pub fn find(names: &[String]) -> Result<Vec<Scenario>> {
    let known = ALL.map(|scenario| scenario.name).join(", ");
    let unknown = names.iter().find(|name| ALL.iter().all(|scenario| scenario.name != **name));
    ensure!(unknown.is_none(), "no scenario {:?}: there are {known}", unknown.map_or("", |name| name));
    let wanted = |scenario: &Scenario| names.is_empty() || names.iter().any(|name| name == scenario.name);
    Ok(ALL.into_iter().filter(wanted).collect())
}

/// Walks scenarios in clusters that import from each other ([`installation::import`]).
///
/// # Errors
/// The first step that did not hold, and of which scenario.
pub async fn walk(world: &mut World, progress: Progress, scenarios: &[Scenario]) -> Result<()> {
    example::deploy(&world.shared_services, NAME).await?;
    example::export(&world.shared_services, NAME).await?;
    reaches(&world.workloads, NAME, world.shared_services.name()).await?;
    for scenario in scenarios {
        let walked = (scenario.walk)(world, progress).await;
        walked.with_context(|| format!("scenario {}", scenario.name))?;
        let healthy = installation::ready(&world.workloads).await;
        healthy.with_context(|| format!("scenario {} left something behind", scenario.name))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scenarios_are_found_by_name_in_their_order() {
        let names = |of: &[&str]| {
            let found = find(&of.iter().map(|&name| name.to_owned()).collect::<Vec<_>>())?;
            anyhow::Ok(found.iter().map(|scenario| scenario.name).collect::<Vec<_>>())
        };
        assert_eq!(names(&["leader", "nodes"]).unwrap(), ["nodes", "leader"]);
        assert_eq!(names(&[]).unwrap().len(), ALL.len());
        assert!(names(&["node"]).unwrap_err().to_string().contains("there are permissions, two-remotes"));
    }
}
