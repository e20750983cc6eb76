//! The elected replica's pen: what is to be written, at a bounded rate, until it is there.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use http::Method;
use jiff::Timestamp;
use serde_json::{Value, json};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};
use xcc_model::RemoteName;

use super::records::{Write, plan};
use super::{ImportStatus, events, remote};
use crate::connection::{Connection, Failure, request};
use crate::crd::{GROUP, VERSION};
use crate::importing::kinds::{self, RemoteClusters, ServiceRecords, own_path};
use crate::importing::{ImportingCluster, MANAGER, lease};
use crate::session::{HealthBoard, RemoteHealth};
use crate::watch::{Backoff, Event, Index, follow, share_panics};

/// Events of watches that wait.
const EVENTS_MAX: usize = 256;
/// Least time between two writes: at most 100 a second.
const WRITE_PERIOD: Duration = Duration::from_millis(10);
/// Writes that may go at once after a pause.
const WRITE_BURST: u32 = 100;
/// ServiceRecords that are written before what is imported is looked at again.
const WRITES_PER_ROUND: usize = 500;
/// Changes that come within this time are written together.
const GATHER: Duration = Duration::from_millis(100);
/// How long an object that could not be written is left alone.
const REFUSED_PAUSE: Duration = Duration::from_secs(60);
/// Most Events that are written for what is refused at one time.
const EVENTS_WRITTEN_MAX: usize = 100;
/// Server-side apply (Kubernetes API concepts, "Server-Side Apply"); JSON is YAML.
const APPLY: &str = "application/apply-patch+yaml";

/// Writes back what is imported, if this replica is elected.
pub struct StatusWriter {
    cluster: ImportingCluster,
    health: HealthBoard,
    leads: watch::Sender<bool>,
}

impl StatusWriter {
    pub(in crate::importing) fn new(cluster: ImportingCluster, health: HealthBoard) -> Self {
        Self { cluster, health, leads: watch::channel(false).0 }
    }

    /// Follows whether this replica is the elected one.
    pub fn leads(&self) -> watch::Receiver<bool> {
        self.leads.subscribe()
    }

    /// Takes part in the election as `identity` (the pod's name, which no other replica may have) and writes while it
    /// leads, until the shutdown.
    pub async fn run(
        self,
        identity: String,
        status: watch::Receiver<Arc<ImportStatus>>,
        shutdown: CancellationToken,
    ) {
        let write = async {
            let mut leads = self.leads.subscribe();
            loop {
                if leads.wait_for(|leads| *leads).await.is_err() {
                    return;
                }
                let mut still = leads.clone();
                tokio::select! {
                    () = self.write(&identity, status.clone()) => {}
                    // Whatever was being written is abandoned: another replica may write now.
                    _ = still.wait_for(|leads| !*leads) => {}
                }
            }
        };
        tokio::select! {
            () = lease::run(&self.cluster, &identity, &self.leads, &shutdown) => {}
            () = write => {}
        }
    }

    async fn write(&self, identity: &str, mut status: watch::Receiver<Arc<ImportStatus>>) {
        let namespace = self.cluster.namespace.as_str();
        let (sender, mut events) = mpsc::channel(EVENTS_MAX);
        let mut watches = JoinSet::new();
        for (tag, target) in [
            (What::RemoteClusters, kinds::remote_clusters(namespace)),
            (What::ServiceRecords, kinds::service_records(namespace)),
        ] {
            watches.spawn(follow(self.cluster.connection.clone(), target, tag, sender.clone()));
        }
        let mut health = self.health.subscribe();
        let mut pen = Pen::new(self.cluster.connection.clone(), namespace, identity);
        let mut due: Option<Instant> = Some(Instant::now());
        loop {
            let wait = async {
                match due {
                    Some(time) => sleep_until(time).await,
                    None => std::future::pending().await,
                }
            };
            let changed = tokio::select! {
                biased;
                never = share_panics(&mut watches) => match never {},
                Some((what, event)) = events.recv() => pen.take(what, event),
                Ok(()) = status.changed() => {
                    pen.records_differ = true;
                    true
                }
                // Of this only the RemoteClusters' own status depends.
                Ok(()) = health.changed() => true,
                () = wait => {
                    let current = status.borrow_and_update().clone();
                    let board = health.borrow_and_update().clone();
                    due = pen.round(&current, &board).await;
                    false
                }
            };
            if changed {
                let soon = Instant::now() + GATHER;
                due = Some(due.map_or(soon, |due| due.min(soon)));
            }
        }
    }
}

#[derive(Debug, Clone, Copy)]
enum What {
    RemoteClusters,
    ServiceRecords,
}

/// What is written, as the API server has it, and how fast more may be.
struct Pen {
    connection: Connection,
    namespace: String,
    identity: String,
    remotes: Index<RemoteClusters>,
    records: Index<ServiceRecords>,
    /// Whether ServiceRecords or Events may have to be written: they are many, so they are compared only then.
    records_differ: bool,
    /// Objects that could not be written, and until when they are left alone.
    refused: BTreeMap<String, Instant>,
    foreign: BTreeSet<String>,
    /// The Events of what is refused now that were written.
    told: BTreeSet<String>,
    backoff: Backoff,
    /// When the next write would be due at the bounded rate.
    next_write: Instant,
}

impl Pen {
    fn new(connection: Connection, namespace: &str, identity: &str) -> Self {
        Self {
            connection,
            namespace: namespace.to_owned(),
            identity: identity.to_owned(),
            remotes: Index::new(RemoteClusters, BTreeMap::new(), BTreeMap::new()),
            records: Index::new(ServiceRecords, BTreeMap::new(), BTreeMap::new()),
            records_differ: true,
            refused: BTreeMap::new(),
            foreign: BTreeSet::new(),
            told: BTreeSet::new(),
            backoff: Backoff::default(),
            next_write: Instant::now(),
        }
    }

    /// Takes what a watch tells. Returns whether anything is different.
    fn take(&mut self, what: What, event: Event) -> bool {
        if let Event::Failed(failure, attempt) = &event {
            if *attempt == 1 {
                warn!("watching {what:?} to write them: {failure}; {}", failure.advice("them"));
            }
            return false;
        }
        let now = Instant::now();
        let differs = match what {
            What::RemoteClusters => !self.remotes.take(event, now).0.is_empty(),
            What::ServiceRecords => !self.records.take(event, now).0.is_empty(),
        };
        self.records_differ |= differs;
        differs
    }

    /// Writes what differs. Returns when to try again, if anything is left.
    async fn round(
        &mut self,
        status: &ImportStatus,
        health: &BTreeMap<RemoteName, RemoteHealth>,
    ) -> Option<Instant> {
        if !self.remotes.listed() || !self.records.listed() {
            return None;
        }
        match self.write_all(status, health).await {
            Ok(all) => {
                self.backoff.reset();
                if all { self.refused.values().min().copied() } else { Some(Instant::now()) }
            }
            Err(failure) => {
                let wait = self.backoff.next(failure.retry_after());
                if self.backoff.attempts() == 1 {
                    warn!("what is imported cannot be written to the importing cluster: {failure}");
                }
                Some(Instant::now() + wait)
            }
        }
    }

    /// Returns whether that was all.
    async fn write_all(
        &mut self,
        status: &ImportStatus,
        health: &BTreeMap<RemoteName, RemoteHealth>,
    ) -> Result<bool, Failure> {
        let (now, refused) = (Instant::now(), self.refused.len());
        self.refused.retain(|_, until| *until > now);
        self.records_differ |= self.refused.len() < refused;
        self.write_remotes(status, health).await?;
        if !status.derived || !self.records_differ {
            return Ok(true);
        }
        let all = self.write_records(status).await?;
        self.write_events(status).await?;
        // What our own writes changed was compared again.
        self.records_differ = !all;
        Ok(all)
    }

    async fn write_remotes(
        &mut self,
        status: &ImportStatus,
        health: &BTreeMap<RemoteName, RemoteHealth>,
    ) -> Result<(), Failure> {
        let due: Vec<(RemoteName, Value)> = self
            .remotes
            .current()
            .iter()
            .filter(|(name, _)| !self.refused.contains_key(&refused_key("RemoteCluster", name.as_str())))
            .filter_map(|(name, object)| {
                let exports = status.remotes.get(name).copied();
                let wanted = remote::status(object, health.get(name), exports, Timestamp::now())?;
                let object = json!({
                    "apiVersion": format!("{GROUP}/{VERSION}"), "kind": "RemoteCluster",
                    "metadata": {"name": name.as_str(), "namespace": self.namespace}, "status": wanted,
                });
                Some((name.clone(), object))
            })
            .collect();
        for (name, object) in due {
            let path = format!("{}/{name}/status", own_path(&self.namespace, "remoteclusters"));
            let written = self.apply(&path, &object, true).await;
            self.note(What::RemoteClusters, "RemoteCluster", name.as_str(), written)?;
        }
        Ok(())
    }

    /// Returns whether that was all: what is imported may have changed while much is written.
    async fn write_records(&mut self, status: &ImportStatus) -> Result<bool, Failure> {
        let mut room = WRITES_PER_ROUND;
        // An object is applied, and then its status on the generation that this gave it.
        for _ in 0..2 {
            let now = format!("{:.0}", Timestamp::now());
            let plan = plan(&self.namespace, status, self.remotes.current(), self.records.current(), &now);
            for name in plan.foreign.difference(&self.foreign) {
                warn!(
                    name,
                    "a ServiceRecord of this name was made by somebody else: it is left alone; rename it"
                );
            }
            self.foreign = plan.foreign;
            for write in plan.writes {
                if self.refused.contains_key(&refused_key("ServiceRecord", write.name())) {
                    continue;
                }
                if room == 0 {
                    return Ok(false);
                }
                room -= 1;
                self.write_record(write).await?;
            }
        }
        Ok(true)
    }

    async fn write_record(&mut self, write: Write) -> Result<(), Failure> {
        let collection = own_path(&self.namespace, "servicerecords");
        let object_path = format!("{collection}/{}", write.name());
        let name = write.name().to_owned();
        let written = match write {
            Write::Apply { object, force, .. } => self.apply(&object_path, &object, force).await,
            Write::Status { object, .. } => self.apply(&format!("{object_path}/status"), &object, true).await,
            Write::Delete { uid, .. } => {
                let options =
                    json!({"apiVersion": "v1", "kind": "DeleteOptions", "preconditions": {"uid": uid}});
                self.pace().await;
                let delete = request(Method::DELETE, &object_path, "application/json", Some(&options));
                let deleted = self.connection.bytes(delete).await.map(|_| Value::Null);
                if deleted.is_ok() {
                    debug!(name, "ServiceRecord deleted");
                    let gone = json!({"metadata": {"name": name}});
                    self.records.take(Event::Delete(gone), Instant::now());
                }
                deleted
            }
        };
        self.note(What::ServiceRecords, "ServiceRecord", &name, written)
    }

    async fn write_events(&mut self, status: &ImportStatus) -> Result<(), Failure> {
        let named = status.diagnostics.iter().filter_map(|it| Some((events::name(it)?, it)));
        let named: BTreeMap<_, _> = named.take(EVENTS_WRITTEN_MAX).collect();
        // What is resolved and comes back is told again.
        self.told.retain(|name| named.contains_key(name));
        for (name, diagnostic) in named {
            if self.told.contains(&name) {
                continue;
            }
            let now = format!("{:.6}", Timestamp::now());
            let event =
                events::event(&self.namespace, &self.identity, diagnostic, self.remotes.current(), &now);
            if let Some(event) = event {
                let path = format!("/apis/events.k8s.io/v1/namespaces/{}/events", self.namespace);
                self.pace().await;
                let create = request(Method::POST, &path, "application/json", Some(&event));
                match self.connection.bytes(create).await {
                    // Another replica, or we ourselves some time ago, told it.
                    Err(failure) if failure.code() == Some(409) => {}
                    Err(failure) if failure.code().is_some_and(|code| code < 500 && code != 429) => {
                        warn!("an Event cannot be written: {failure}");
                    }
                    written => {
                        written?;
                    }
                }
            }
            self.told.insert(name);
        }
        Ok(())
    }

    async fn apply(&mut self, path: &str, object: &Value, force: bool) -> Result<Value, Failure> {
        self.pace().await;
        let path = format!("{path}?fieldManager={MANAGER}&force={force}");
        self.connection.json(request(Method::PATCH, &path, APPLY, Some(object))).await
    }

    /// Takes the API server's answer for what is there now. An object that it refuses is left alone for a while; an
    /// error is one that concerns all.
    fn note(
        &mut self,
        what: What,
        kind: &str,
        name: &str,
        written: Result<Value, Failure>,
    ) -> Result<(), Failure> {
        match written {
            Ok(Value::Null) => Ok(()),
            Ok(object) => {
                self.take(what, Event::Apply(object));
                Ok(())
            }
            // Gone in the meantime, changed by somebody, or refused by an admission policy.
            Err(failure) if matches!(failure.code(), Some(400 | 403 | 404 | 409 | 422)) => {
                info!("{kind} {name} cannot be written for now: {failure}");
                self.refused.insert(refused_key(kind, name), Instant::now() + REFUSED_PAUSE);
                Ok(())
            }
            Err(failure) => Err(failure),
        }
    }

    /// Waits until the next write is allowed.
    async fn pace(&mut self) {
        let now = Instant::now();
        let earliest = now.checked_sub(WRITE_PERIOD * WRITE_BURST).unwrap_or(now);
        let slot = self.next_write.max(earliest);
        self.next_write = slot + WRITE_PERIOD;
        sleep_until(slot).await;
    }
}

fn refused_key(kind: &str, name: &str) -> String {
    format!("{kind} {name}")
}

#[cfg(test)]
#[path = "writer_tests.rs"]
mod tests;
