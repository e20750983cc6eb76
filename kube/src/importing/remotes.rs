//! RemoteClusters and their kubeconfig Secrets: one session for each.

use std::collections::BTreeMap;
use std::sync::Arc;

use k8s_openapi::ByteString;
use serde_json::Value;
use tokio::sync::{mpsc, watch};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};
use xcc_model::{Change, IngressSource, RemoteName, ServiceName, Update};

use super::kinds::{self, RemoteClusters, RemoteObject, SecretData, Secrets};
use super::{Connector, ImportingCluster};
use crate::connection::{Connection, Failure};
use crate::kubeconfig::{Credentials, SIZE_MAX, Trust};
use crate::session::{HealthBoard, Outbox, Session, Trouble};
use crate::watch::{Delta, Event, Index, Progress, follow, share_panic, share_panics};

/// Events of the importing cluster that wait.
const EVENTS_MAX: usize = 64;

/// Which watch an event comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Source {
    RemoteClusters,
    Secrets,
}

/// Runs the sessions until the shutdown.
pub(super) async fn run(
    cluster: ImportingCluster,
    updates: mpsc::Sender<Update>,
    health: HealthBoard,
    known: BTreeMap<RemoteName, xcc_model::Remote>,
    shutdown: CancellationToken,
) {
    let outbox = Arc::new(Outbox::default());
    let mut remotes = Remotes {
        connector: cluster.connector.clone(),
        outbox: outbox.clone(),
        health,
        known,
        shutdown: shutdown.clone(),
        clusters: Index::new(RemoteClusters, BTreeMap::new(), BTreeMap::new()),
        secrets: Index::new(Secrets, BTreeMap::new(), BTreeMap::new()),
        entries: BTreeMap::new(),
        sessions: JoinSet::new(),
        failing: [false; 2],
    };
    tokio::select! {
        () = remotes.watch(&cluster) => {}
        () = outbox.run(updates, shutdown.clone()) => {}
        () = shutdown.cancelled() => {}
    }
    for entry in std::mem::take(&mut remotes.entries).into_values() {
        remotes.end(entry).await;
    }
}

struct Remotes {
    connector: Connector,
    outbox: Arc<Outbox>,
    health: HealthBoard,
    /// What earlier processes knew of remotes that were not heard of yet.
    known: BTreeMap<RemoteName, xcc_model::Remote>,
    shutdown: CancellationToken,
    clusters: Index<RemoteClusters>,
    secrets: Index<Secrets>,
    entries: BTreeMap<RemoteName, Entry>,
    sessions: JoinSet<()>,
    failing: [bool; 2],
}

/// A remote as it is in force.
struct Entry {
    object: RemoteObject,
    /// What the session uses.
    credentials: Option<Credentials>,
    connection: watch::Sender<Option<Connection>>,
    /// The Service that the last valid settings name.
    service: watch::Sender<Option<ServiceName>>,
    /// None before the first valid settings.
    session: Option<(CancellationToken, AbortHandle)>,
}

impl Remotes {
    async fn watch(&mut self, cluster: &ImportingCluster) {
        let (sender, mut events) = mpsc::channel(EVENTS_MAX);
        let mut epoch = 0_u64;
        let mut relist: Option<Instant> = None;
        let start = |tasks: &mut JoinSet<()>, epoch: u64| {
            for (source, target) in [
                (Source::RemoteClusters, kinds::remote_clusters(&cluster.namespace)),
                (Source::Secrets, kinds::secrets(&cluster.namespace)),
            ] {
                tasks.spawn(follow(cluster.connection.clone(), target, (source, epoch), sender.clone()));
            }
        };
        let mut tasks = JoinSet::new();
        start(&mut tasks, epoch);
        loop {
            let wait = async {
                match relist {
                    Some(time) => sleep_until(time).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                never = share_panics(&mut tasks) => match never {},
                never = share_panics(&mut self.sessions) => match never {},
                () = wait => {
                    tasks.abort_all();
                    (epoch, relist) = (epoch + 1, None);
                    start(&mut tasks, epoch);
                }
                Some(((source, of), event)) = events.recv() => {
                    if of == epoch && let Progress::Held { until, .. } = self.take(source, event).await {
                        relist = Some(until);
                    }
                }
            }
        }
    }

    async fn take(&mut self, source: Source, event: Event) -> Progress {
        self.note_failure(source, &event);
        let now = Instant::now();
        match source {
            Source::RemoteClusters => {
                let (deltas, progress) = self.clusters.take(event, now);
                for delta in deltas {
                    self.take_cluster(delta).await;
                }
                progress
            }
            Source::Secrets => {
                let (deltas, progress) = self.secrets.take(event, now);
                let of_secret = |name: &str, entry: &Entry| {
                    entry.object.secret.as_ref().is_some_and(|(secret, _)| secret == name)
                };
                for delta in deltas {
                    let names: Vec<RemoteName> = match &delta {
                        Delta::All(_) => self.entries.keys().cloned().collect(),
                        Delta::Set(name, _) | Delta::Gone(name) => {
                            let entries = self.entries.iter().filter(|(_, entry)| of_secret(name, entry));
                            entries.map(|(remote, _)| remote.clone()).collect()
                        }
                        Delta::Problem(..) => Vec::new(),
                    };
                    for remote in names {
                        self.reconnect(&remote).await;
                    }
                }
                progress
            }
        }
    }

    async fn take_cluster(&mut self, delta: Delta<RemoteName, RemoteObject>) {
        match delta {
            Delta::All(all) => {
                let known = std::mem::take(&mut self.known);
                let names = self.entries.keys().chain(known.keys());
                let gone: Vec<RemoteName> = names.filter(|name| !all.contains_key(*name)).cloned().collect();
                self.known = known;
                for remote in gone {
                    self.remove(&remote).await;
                }
                for (remote, object) in all {
                    self.set(remote, object).await;
                }
            }
            Delta::Set(remote, object) => self.set(remote, object).await,
            Delta::Gone(remote) => self.remove(&remote).await,
            Delta::Problem(..) => {}
        }
    }

    async fn set(&mut self, remote: RemoteName, object: RemoteObject) {
        let before = self.entries.get_mut(&remote);
        let same_settings = before.as_ref().is_some_and(|entry| entry.object.settings == object.settings);
        let same_secret = before.as_ref().is_some_and(|entry| entry.object.secret == object.secret);
        match before {
            Some(entry) => entry.object = object,
            None => {
                info!(%remote, "a RemoteCluster to import from");
                let entry = Entry {
                    object,
                    credentials: None,
                    connection: watch::channel(None).0,
                    service: watch::channel(None).0,
                    session: None,
                };
                self.entries.insert(remote.clone(), entry);
                self.health.update(&remote, |_| {});
            }
        }
        let Some(entry) = self.entries.get_mut(&remote) else { return };
        if !same_settings {
            if let Err(problem) = &entry.object.settings {
                warn!(%remote, "the RemoteCluster is invalid: {}", problem.message);
            }
            self.outbox.push(&remote, vec![Change::Settings(entry.object.settings.clone())]);
        }
        if let Ok(settings) = &entry.object.settings {
            let named = match &settings.ingress.source {
                IngressSource::Nodes => None,
                IngressSource::Service(service) => Some(service.clone()),
            };
            entry.service.send_if_modified(|service| {
                let changed = *service != named;
                *service = named;
                changed
            });
        }
        // Without valid settings nothing of it would be imported.
        if entry.session.is_none() && entry.object.settings.is_ok() {
            let token = self.shutdown.child_token();
            let session = Session {
                remote: remote.clone(),
                outbox: self.outbox.clone(),
                health: self.health.clone(),
                service: entry.service.subscribe(),
                known: self.known.remove(&remote).unwrap_or_default(),
            };
            let task = self.sessions.spawn(session.run(entry.connection.subscribe(), token.clone()));
            entry.session = Some((token, task));
        }
        if !same_secret {
            self.reconnect(&remote).await;
        }
    }

    async fn remove(&mut self, remote: &RemoteName) {
        info!(%remote, "the RemoteCluster is gone: nothing is imported from it any more");
        if let Some(entry) = self.entries.remove(remote) {
            self.end(entry).await;
        }
        self.known.remove(remote);
        self.health.remove(remote);
        self.outbox.push(remote, vec![Change::Removed]);
    }

    /// Ends the session of a remote. Afterwards it tells nothing more.
    async fn end(&mut self, entry: Entry) {
        let Some((token, task)) = entry.session else { return };
        token.cancel();
        task.abort();
        while !task.is_finished() {
            let Some(ended) = self.sessions.join_next().await else { return };
            share_panic(ended);
        }
    }

    /// Uses what the remote's Secret says now.
    async fn reconnect(&mut self, remote: &RemoteName) {
        if !self.secrets.listed() {
            return;
        }
        let Some(entry) = self.entries.get_mut(remote) else { return };
        let outcome = match credentials(entry.object.secret.as_ref(), self.secrets.current()) {
            // Whoever deletes the Secret takes the access away: it is not used any more. What is known stays.
            Err(Absent::Gone(trouble)) => {
                entry.credentials = None;
                entry.connection.send_if_modified(|connection| connection.take().is_some());
                Err(trouble)
            }
            // It is there but wrong: the earlier one stays in use, as settings do.
            Err(Absent::Refused(trouble)) => Err(trouble),
            Ok(credentials) if entry.credentials.as_ref() == Some(&credentials) => Ok(()),
            Ok(credentials) => match self.connector.connect(&credentials).await {
                Ok(connection) => {
                    entry.credentials = Some(credentials);
                    entry.connection.send_replace(Some(connection));
                    Ok(())
                }
                Err(error) => Err(Trouble { reason: error.reason(), message: error.to_string() }),
            },
        };
        let outcome = outcome.map_err(|mut trouble| {
            if entry.credentials.is_some() {
                trouble.message.push_str("; the earlier kubeconfig stays in use");
            }
            warn!(%remote, reason = trouble.reason, "{}", trouble.message);
            trouble
        });
        self.health.update(remote, |health| health.kubeconfig = Some(outcome));
    }

    fn note_failure(&mut self, source: Source, event: &Event) {
        let (what, failing) = match source {
            Source::RemoteClusters => ("RemoteClusters", &mut self.failing[0]),
            Source::Secrets => ("Secrets", &mut self.failing[1]),
        };
        match event {
            Event::Failed(failure, _) => {
                if !std::mem::replace(failing, true) {
                    warn!(
                        "{what} of the importing cluster: {failure}; {}; all stays as it is",
                        failure.advice(what)
                    );
                }
                if source == Source::Secrets && !self.secrets.listed() {
                    let trouble = secrets_unreadable(failure);
                    for remote in self.entries.keys() {
                        self.health.update(remote, |health| health.kubeconfig = Some(Err(trouble.clone())));
                    }
                }
            }
            Event::InitDone | Event::Apply(_) | Event::Delete(_) | Event::Alive => {
                if std::mem::replace(failing, false) {
                    info!("{what} of the importing cluster are followed again");
                }
            }
            Event::Init | Event::InitApply(_) | Event::Skipped(_) => {}
        }
    }
}

fn secrets_unreadable(failure: &Failure) -> Trouble {
    let message = format!("the kubeconfig Secret cannot be read: {failure}; {}", failure.advice("Secrets"));
    Trouble { reason: "SecretsUnreadable", message }
}

/// Why there are no credentials.
#[derive(Debug, PartialEq)]
enum Absent {
    /// They were taken away.
    Gone(Trouble),
    /// They are no good.
    Refused(Trouble),
}

/// What the Secret that a RemoteCluster refers to says. Pure.
fn credentials(
    secret: Option<&(String, String)>,
    secrets: &BTreeMap<String, SecretData>,
) -> Result<Credentials, Absent> {
    let trouble = |reason, message| Trouble { reason, message };
    let Some((name, key)) = secret else {
        let message =
            "spec.kubeconfigSecretRef.name is missing: name the Secret with the kubeconfig".to_owned();
        return Err(Absent::Gone(trouble("NoKubeconfig", message)));
    };
    let Some(SecretData(data)) = secrets.get(name) else {
        let message = format!(
            "there is no Secret {name} in the RemoteCluster's namespace: create it with the kubeconfig in {key}"
        );
        return Err(Absent::Gone(trouble("SecretNotFound", message)));
    };
    let Some(value) = data.get(key) else {
        let keys = data.keys().take(8).map(String::as_str).collect::<Vec<_>>().join(", ");
        let message = format!("Secret {name} has no key {key}, but {keys}: set spec.kubeconfigSecretRef.key");
        return Err(Absent::Refused(trouble("SecretKeyNotFound", message)));
    };
    let encoded = Value::String(value.clone());
    let bytes = match serde_json::from_value::<ByteString>(encoded) {
        Ok(ByteString(bytes)) => bytes,
        // Only a value that was cut can be no base64.
        Err(_) => vec![0; SIZE_MAX + 1],
    };
    Credentials::parse(&bytes, None, Trust::Secret).map_err(|error| {
        Absent::Refused(trouble(error.reason(), format!("Secret {name}, key {key}: {error}")))
    })
}

#[cfg(test)]
#[path = "remotes_tests.rs"]
mod tests;
