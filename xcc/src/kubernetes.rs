//! `--kubernetes`: what the importing cluster tells, and what is kept right in it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};
use tracing::warn;
use xcc_kube::dns_config::{self, DnsConfigOptions, ObjectName};
use xcc_kube::importing::{ImportStatus, ImportingCluster, Keeping, ServiceAddresses, StatusWriter};
use xcc_kube::session::HealthBoard;
use xcc_kube::xds_certificates::{self, XdsCertificates};
use xcc_model::{Remote, RemoteName, Update};

use crate::cli::ServeArgs;
use crate::pipeline::Query;
use crate::state::FORMAT;
use crate::vital::Vital;

/// When the RemoteClusters are asked for again after that failed.
const LIST_RETRY: Duration = Duration::from_secs(1);
/// How long a start may be held up by reading what replicas before this one knew.
const RECALL_LIMIT: Duration = Duration::from_secs(5);

/// The importing cluster that xcc runs for.
pub(crate) struct Kubernetes {
    cluster: ImportingCluster,
    writer: StatusWriter,
    health: HealthBoard,
}

impl Kubernetes {
    /// Connects by `KUBECONFIG` or as a pod of the cluster.
    pub(crate) async fn connect(health: &HealthBoard) -> anyhow::Result<Self> {
        let cluster = ImportingCluster::connect(None).await?;
        let writer = cluster.status_writer(health);
        Ok(Self { cluster, writer, health: health.clone() })
    }

    /// What replicas before this one knew.
    pub(crate) async fn recall(&self) -> Vec<Update> {
        self.cluster.shared_state(FORMAT).recall(RECALL_LIMIT).await.unwrap_or_default()
    }

    /// Has the elected replica keep in the cluster what the pipeline knows, whenever that `changes`. Tells how it goes.
    pub(crate) fn keep_state(
        &self,
        args: &ServeArgs,
        queries: mpsc::Sender<Query>,
        changes: watch::Receiver<u64>,
        vital: &Vital,
    ) -> watch::Receiver<Keeping> {
        let (sender, keeping) = watch::channel(Keeping::default());
        let known = move || {
            let queries = queries.clone();
            async move {
                let (reply, answer) = oneshot::channel();
                queries.send(Query::State(reply)).await.ok()?;
                answer.await.ok()
            }
        };
        let flags = args.remotes.iter().map(|remote| remote.name.clone()).collect();
        let shared = self.cluster.shared_state(FORMAT);
        let keep = shared.keep(known, changes, flags, self.writer.leads(), sender, vital.shutdown());
        vital.spawn("state in ConfigMaps", keep);
        keeping
    }

    /// The remotes that there are at the start, once the API server has told: it may be away, and what is known on disk is
    /// served all the same.
    pub(crate) fn list_remotes(&self, vital: &Vital) -> watch::Receiver<Option<BTreeSet<RemoteName>>> {
        let (sender, listed) = watch::channel(None);
        let (cluster, shutdown) = (self.cluster.clone(), vital.shutdown());
        vital.spawn("list of RemoteClusters", async move {
            let listing = async {
                loop {
                    match cluster.initial_remotes().await {
                        Ok(remotes) => break sender.send_replace(Some(remotes)),
                        Err(error) => warn!("the RemoteClusters are not known yet: {error}"),
                    }
                    tokio::time::sleep(LIST_RETRY).await;
                }
            };
            shutdown.run_until_cancelled(listing).await;
            // Its work is done; it ends when the others do.
            shutdown.cancelled().await;
        });
        listed
    }

    /// Follows the addresses of a Service; none while they are not known.
    pub(crate) fn service_addresses(
        &self,
        service: &ObjectName,
        vital: &Vital,
    ) -> anyhow::Result<ServiceAddresses> {
        let (addresses, follow) = self.cluster.watch_service_addresses(&service.to_string())?;
        let shutdown = vital.shutdown();
        let follow = shutdown.run_until_cancelled_owned(follow);
        vital.spawn(format!("addresses of Service {service}"), follow);
        Ok(addresses)
    }

    /// Keeps the certificates of mutual TLS in Secrets, and tells those that the xDS server needs.
    pub(crate) fn xds_certificates(&self, vital: &Vital) -> watch::Receiver<Option<Arc<XdsCertificates>>> {
        let (sender, certificates) = watch::channel(None);
        let keep = xds_certificates::keep(
            self.cluster.client(),
            self.cluster.namespace().to_owned(),
            jiff::Timestamp::now,
            sender,
            vital.shutdown(),
        );
        vital.spawn("xDS certificates in Secrets", keep);
        certificates
    }

    /// Follows the RemoteClusters, of which an earlier process knew this, and has the elected replica write back what is imported and keep the cluster's DNS.
    pub(crate) fn run(
        self,
        args: &ServeArgs,
        updates: mpsc::Sender<Update>,
        status: watch::Receiver<Arc<ImportStatus>>,
        known: BTreeMap<RemoteName, Remote>,
        vital: &Vital,
    ) {
        let Self { cluster, writer, health } = self;
        if args.manage_cluster_dns {
            let options = DnsConfigOptions::new(args.gateway.zones.clone());
            let keep = dns_config::keep(cluster.client(), options, writer.leads(), vital.shutdown());
            vital.spawn("the cluster's DNS", keep);
        }
        vital.spawn("status writer", writer.run(identity(), status, vital.shutdown()));
        let shutdown = vital.shutdown();
        let follow = async move { cluster.run_remote_clusters(updates, health, known, shutdown).await };
        vital.spawn("RemoteClusters", follow);
    }
}

/// Who this replica is in the election: the pod's name, which Kubernetes makes its host name.
fn identity() -> String {
    let of_environment = |name| std::env::var(name).ok().filter(|value| !value.is_empty());
    of_environment("POD_NAME")
        .or_else(|| of_environment("HOSTNAME"))
        .unwrap_or_else(|| format!("xcc-{}", std::process::id()))
}
