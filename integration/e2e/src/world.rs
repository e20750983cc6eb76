//! Both clusters, from nothing to ready, and to nothing again.

use std::sync::Arc;

use anyhow::{Context, Result};

use crate::addons;
use crate::cluster::Cluster;
use crate::kubelet::images::Images;
use crate::lan::Lan;
use crate::layout;
use crate::lock::Lock;
use crate::progress::Progress;
use crate::sweep::{self, CLUSTERS};

/// Workers of each cluster beside the node of the control plane.
const WORKERS: usize = 2;

/// The numbers on the link of the clusters' first nodes.
const FIRST_NUMBERS: [u8; 2] = [10, 130];

/// The objects that a failure is understood by. No Secrets.
const EVIDENCE: [&str; 12] = [
    "nodes",
    "pods",
    "deployments",
    "daemonsets",
    "jobs",
    "services",
    "endpointslices",
    "events",
    "configmaps",
    "httpproxies",
    "certificates",
    "leases",
];

/// Those of xcc's own kinds, which a cluster may not know yet.
const OWN_EVIDENCE: [&str; 2] = ["remoteclusters", "servicerecords"];

/// Both clusters.
pub struct World {
    /// The cluster that exports in the ancestor's journey.
    pub shared_services: Cluster,
    /// The cluster that imports.
    pub workloads: Cluster,
    lan: Arc<Lan>,
}

impl World {
    /// Brings both clusters up with their addons. What was left by a run that died is removed first, so that this must
    /// be the only run.
    ///
    /// # Errors
    /// When a part does not come up.
    pub async fn up(_only_run: &Lock, progress: Progress, images: Images) -> Result<Self> {
        let stale = sweep::sweep().await?;
        if stale > 0 {
            progress.say(format!("removed {stale} namespaces of a run that died"));
        }
        sweep::remove(&layout::logs());
        for folder in [layout::run(), layout::logs()] {
            std::fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
        }
        let lan = Arc::new(Lan::create().await?);
        let images = Arc::new(images);
        let start = async |index: usize| {
            let name = CLUSTERS[index];
            let mut cluster =
                Cluster::start(name, lan.clone(), images.clone(), FIRST_NUMBERS[index], WORKERS).await?;
            progress.say(format!("{name}: API server, controllers and nodes run"));
            addons::install(&cluster).await?;
            progress.say(format!("{name}: addons are applied"));
            cluster.check_running()?;
            addons::wait(&cluster).await?;
            progress.say(format!("{name}: CoreDNS, Contour and cert-manager are ready"));
            anyhow::Ok(cluster)
        };
        let (shared_services, workloads) = tokio::try_join!(start(0), start(1))?;
        Ok(Self { shared_services, workloads, lan })
    }

    /// The link that the nodes of both are on.
    pub fn lan(&self) -> &Lan {
        &self.lan
    }

    /// Takes both clusters down and removes every trace but the logs.
    ///
    /// # Errors
    /// When something cannot be removed.
    pub async fn down(self) -> Result<()> {
        let Self { shared_services, workloads, lan } = self;
        tokio::join!(shared_services.stop(), workloads.stop());
        drop(lan);
        sweep::sweep().await.map(drop)
    }

    /// Writes what a person needs to understand a failure beside the logs: the objects of both clusters.
    pub async fn keep_evidence(&self) {
        for cluster in [&self.shared_services, &self.workloads] {
            for (file, kinds) in [("objects.yaml", EVIDENCE.as_slice()), ("xcc.yaml", &OWN_EVIDENCE)] {
                let kinds = kinds.join(",");
                let objects = cluster.kubectl(&["get", &kinds, "--all-namespaces", "--output=yaml"]).await;
                let text = objects.unwrap_or_else(|error| format!("{error:#}\n"));
                // This is done while something else fails; that is what is to be told.
                let _unwritten = std::fs::write(layout::logs().join(cluster.name()).join(file), text);
            }
        }
    }
}
