//! The importing cluster: what its RemoteClusters, their Secrets and the gateway's Service say, and what is written back.
//!
//! Reading needs no leader: every replica watches and serves. Writing does ([`StatusWriter`]). Must not know what is
//! imported or programmed: the pipeline says so ([`ImportStatus`]). What is known is kept here, too ([`SharedState`]).

mod kinds;
mod lease;
mod remotes;
mod service_addresses;
mod shared_state;
mod status;

use std::collections::{BTreeMap, BTreeSet};

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use xcc_model::{RemoteName, Update};

pub use service_addresses::ServiceAddresses;
pub use shared_state::{Keeping, SharedState};
pub use status::{ImportRecord, ImportStatus, StatusWriter};

use crate::connection::Connection;
use crate::kubeconfig::{Credentials, KubeconfigError};
use crate::session::{HealthBoard, connect};
use crate::watch::{Read, list_once};

/// The field manager, and what Events and the Lease are written as.
const MANAGER: &str = "xcc";

/// Why the importing cluster cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ImportingError {
    /// There is no way to it.
    #[error(
        "no access to the importing cluster: {0}; run in a pod with a ServiceAccount, or set KUBECONFIG to a kubeconfig"
    )]
    Config(String),
    /// The name of the gateway's Service is none.
    #[error("{0:?} is no Service: write NAMESPACE/NAME")]
    ServiceName(String),
    /// It did not answer as needed.
    #[error("{what}: {message}")]
    Request {
        /// What was asked for.
        what: &'static str,
        /// What went wrong and what to do about it.
        message: String,
    },
}

/// The cluster that xcc imports into.
#[derive(Clone)]
pub struct ImportingCluster {
    connection: Connection,
    namespace: String,
    connector: Connector,
}

/// How remotes are connected to.
#[derive(Clone)]
enum Connector {
    /// By what their kubeconfigs say.
    Kubeconfig,
    /// To an API server in this process, by the server's URL.
    #[cfg(test)]
    Fake(std::sync::Arc<dyn Fn(&str) -> Connection + Send + Sync>),
}

impl Connector {
    async fn connect(&self, credentials: &Credentials) -> Result<Connection, KubeconfigError> {
        match self {
            Self::Kubeconfig => connect(credentials).await,
            #[cfg(test)]
            Self::Fake(connect) => Ok(connect(credentials.server())),
        }
    }
}

impl ImportingCluster {
    /// Finds the importing cluster: by `KUBECONFIG` (or the user's own kubeconfig), else as a pod of it. RemoteClusters
    /// and Secrets are those of the namespace, by default the pod's own or that of the kubeconfig's context.
    pub async fn connect(namespace: Option<String>) -> Result<Self, ImportingError> {
        let config =
            kube::Config::infer().await.map_err(|error| ImportingError::Config(error.to_string()))?;
        let namespace = namespace.unwrap_or_else(|| config.default_namespace.clone());
        let connection =
            Connection::open(config).map_err(|error| ImportingError::Config(error.to_string()))?;
        Ok(Self { connection, namespace, connector: Connector::Kubeconfig })
    }

    #[cfg(test)]
    fn with_connection(connection: Connection, namespace: &str) -> Self {
        Self { connection, namespace: namespace.to_owned(), connector: Connector::Kubeconfig }
    }

    /// The namespace that RemoteClusters are read from and ServiceRecords written to.
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// A client for the same cluster.
    pub fn client(&self) -> kube::Client {
        self.connection.client()
    }

    /// The remotes that there are now, to wait for at the start.
    pub async fn initial_remotes(&self) -> Result<BTreeSet<RemoteName>, ImportingError> {
        let target = kinds::remote_clusters(&self.namespace);
        let objects = list_once(&self.connection, &target).await.map_err(|failure| {
            let message = format!("{failure}; {}", failure.advice(target.what));
            ImportingError::Request { what: target.what, message }
        })?;
        let names = objects.iter().filter_map(|object| {
            match crate::watch::Kind::read(&kinds::RemoteClusters, object) {
                Read::Present(name, _) => Some(name),
                _ => None,
            }
        });
        Ok(names.collect())
    }

    /// Tells of every RemoteCluster of the namespace, each in a session of its own, until the shutdown. `known` is what
    /// was known of them before, of an earlier process say: what of it has no RemoteCluster any more is removed.
    pub async fn run_remote_clusters(
        &self,
        updates: mpsc::Sender<Update>,
        health: HealthBoard,
        known: BTreeMap<RemoteName, xcc_model::Remote>,
        shutdown: CancellationToken,
    ) {
        remotes::run(self.clone(), updates, health, known, shutdown).await;
    }

    /// Follows the addresses of a Service, `NAMESPACE/NAME`, such as the gateway's: those of its load balancer if it has
    /// one, else its ClusterIPs, of both families. None while they are not known: before the first answer, and when there is no
    /// such Service. What is known stays while the API server is away. The future follows them until the receiver is dropped.
    pub fn watch_service_addresses(
        &self,
        namespace_and_name: &str,
    ) -> Result<(ServiceAddresses, impl Future<Output = ()> + Send + use<>), ImportingError> {
        service_addresses::follow_service(self.connection.clone(), namespace_and_name)
    }

    /// Prepares what writes back, for [`StatusWriter::run`].
    pub fn status_writer(&self, health: &HealthBoard) -> StatusWriter {
        StatusWriter::new(self.clone(), health.clone())
    }
}
