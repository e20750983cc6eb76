//! placeholder until the importing cluster lands
use crate::cli::ServeArgs;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use xcc_kube::session::HealthBoard;
use xcc_kube::xds_certificates::XdsCertificates;
use xcc_model::{Remote, RemoteName, Update};
pub(crate) enum Kubernetes {}
impl Kubernetes {
    pub(crate) async fn connect() -> anyhow::Result<Self> {
        anyhow::bail!("--kubernetes: not yet")
    }
    pub(crate) fn remotes(&self) -> &BTreeSet<RemoteName> {
        match *self {}
    }
    pub(crate) fn gateway_addresses(
        &self,
        _: &ServeArgs,
    ) -> anyhow::Result<watch::Receiver<Option<Vec<IpAddr>>>> {
        match *self {}
    }
    pub(crate) fn xds_certificates(
        &self,
        _: &TaskTracker,
        _: &CancellationToken,
    ) -> watch::Receiver<Option<Arc<XdsCertificates>>> {
        match *self {}
    }
    pub(crate) async fn run_remotes(
        self: Arc<Self>,
        _: mpsc::Sender<Update>,
        _: HealthBoard,
        _: BTreeMap<RemoteName, Remote>,
        _: CancellationToken,
    ) {
        match *self {}
    }
}
