//! `--remote NAME=kubeconfig:PATH[#CONTEXT]`: a remote without a RemoteCluster, by a kubeconfig file of the operator.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};
use xcc_model::{Change, RemoteName, RemoteSettings, Update};

use super::{HealthBoard, Outbox, Session, Trouble};
use crate::connection::Connection;
use crate::kubeconfig::{Credentials, KubeconfigError};

/// How often the file, and those that it names, are looked at again.
const FILE_POLL: Duration = Duration::from_secs(10);

/// A remote that is watched through its API server, by a kubeconfig file.
#[derive(Debug)]
pub struct KubeconfigSource {
    remote: RemoteName,
    path: PathBuf,
    context: Option<String>,
    credentials: Credentials,
    health: HealthBoard,
    known: xcc_model::Remote,
}

impl KubeconfigSource {
    /// Reads the file: whether it can be used shows now, whether its API server answers does not.
    pub fn open(remote: RemoteName, path: PathBuf, context: Option<String>) -> Result<Self, KubeconfigError> {
        let credentials = Credentials::read(&path, context.as_deref())?;
        let (health, known) = (HealthBoard::default(), xcc_model::Remote::default());
        Ok(Self { remote, path, context, credentials, health, known })
    }

    /// Whose source it is.
    pub fn remote(&self) -> &RemoteName {
        &self.remote
    }

    /// Says on this board how the remote is.
    #[must_use]
    pub fn with_health(mut self, health: HealthBoard) -> Self {
        self.health = health;
        self
    }

    /// Starts from what was known of the remote before, so that a list that lacks most of it is doubted.
    #[must_use]
    pub fn with_known(mut self, known: xcc_model::Remote) -> Self {
        self.known = known;
        self
    }

    /// Tells of the remote until the shutdown. The file is read again when it changes; one that cannot be used leaves
    /// the earlier one in use.
    pub async fn run(self, updates: mpsc::Sender<Update>, shutdown: CancellationToken) {
        let outbox = Arc::new(Outbox::default());
        outbox.push(&self.remote, vec![Change::Settings(Ok(RemoteSettings::default()))]);
        let (connections, connection) = watch::channel(None);
        let session = Session {
            remote: self.remote.clone(),
            outbox: outbox.clone(),
            health: self.health.clone(),
            // There is no RemoteCluster to name one.
            service: watch::channel(None).1,
            known: self.known.clone(),
        };
        tokio::select! {
            () = outbox.run(updates, shutdown.clone()) => {}
            () = session.run(connection, shutdown.clone()) => {}
            () = self.follow_file(connections) => {}
        }
    }

    async fn follow_file(&self, connections: watch::Sender<Option<Connection>>) {
        let mut used = None;
        let mut problem = String::new();
        let mut next = Ok(self.credentials.clone());
        loop {
            let opened = match next {
                Ok(credentials) if used.as_ref() == Some(&credentials) => Ok(()),
                Ok(credentials) => connect(&credentials).await.map(|connection| {
                    if used.is_some() {
                        info!(remote = %self.remote, path = %self.path.display(), "the kubeconfig was renewed");
                    }
                    used = Some(credentials);
                    connections.send_replace(Some(connection));
                }),
                Err(error) => Err(error),
            };
            let trouble =
                opened.err().map(|error| Trouble { reason: error.reason(), message: error.to_string() });
            let message = trouble.as_ref().map_or("", |trouble| &trouble.message);
            if message != problem {
                message.clone_into(&mut problem);
                if !problem.is_empty() {
                    warn!(remote = %self.remote, "the earlier kubeconfig stays in use: {problem}");
                }
            }
            self.health.update(&self.remote, |health| health.kubeconfig = Some(trouble.map_or(Ok(()), Err)));
            sleep(FILE_POLL).await;
            // Small local files: reading them does not hold up the others.
            next = Credentials::read(&self.path, self.context.as_deref());
        }
    }
}

/// Prepares a connection with these credentials.
pub(crate) async fn connect(credentials: &Credentials) -> Result<Connection, KubeconfigError> {
    let config = credentials.config().await?;
    Connection::open(config).map_err(|error| KubeconfigError::Unusable(unusable(&error)))
}

/// Without the causes: they may quote what they could not decode.
fn unusable(error: &kube::Error) -> String {
    match error {
        kube::Error::RustlsTls(_) => "its certificates or its client key cannot be used for TLS",
        kube::Error::Auth(_) => "its token cannot be used",
        _ => "no client can be made of it",
    }
    .to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn kubeconfig(user: Value) -> String {
        json!({
            "current-context": "c",
            // Nobody listens on port 1: whether there is a connection does not matter here.
            "clusters": [{"name": "c", "cluster": {"server": "https://127.0.0.1:1"}}],
            "users": [{"name": "u", "user": user}],
            "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
        })
        .to_string()
    }

    #[tokio::test(start_paused = true)]
    async fn the_file_is_read_again_and_one_that_cannot_be_used_is_reported() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("config");
        let remote = RemoteName::parse("east").unwrap();
        let open = || KubeconfigSource::open(remote.clone(), path.clone(), None);
        assert!(matches!(open(), Err(KubeconfigError::Unreadable { .. })));
        std::fs::write(&path, kubeconfig(json!({"exec": {"command": "touch"}}))).unwrap();
        assert!(matches!(open(), Err(KubeconfigError::Refused { .. })));
        std::fs::write(&path, kubeconfig(json!({"token": "t"}))).unwrap();

        let health = HealthBoard::default();
        let source = open().unwrap().with_health(health.clone());
        let (updates, mut inbox) = mpsc::channel(4);
        let shutdown = CancellationToken::new();
        let running = tokio::spawn(source.run(updates, shutdown.clone()));
        let first = inbox.recv().await.unwrap();
        assert_eq!(first.changes, [Change::Settings(Ok(RemoteSettings::default()))]);

        let mut board = health.subscribe();
        let mut until = async |wanted: Option<&str>| {
            let reason = |health: &super::super::RemoteHealth| match &health.kubeconfig {
                Some(Err(trouble)) => Some(trouble.reason),
                _ => None,
            };
            let known = |health: &super::super::RemoteHealth| health.kubeconfig.is_some();
            board
                .wait_for(|board| board.get(&remote).is_some_and(|it| known(it) && reason(it) == wanted))
                .await
                .unwrap();
        };
        until(None).await;
        std::fs::write(&path, "{").unwrap();
        until(Some("KubeconfigMalformed")).await;
        std::fs::write(&path, kubeconfig(json!({"token": "renewed"}))).unwrap();
        until(None).await;
        shutdown.cancel();
        running.await.unwrap();
    }
}
