//! An API server in this process, for tests: list in pages, watch, bookmarks, server-side apply, merge patches, leases; and
//! everything that can go wrong with it. It is called through kube's client like a real one, without a socket, so tests can pause
//! the time.

mod serve;

use std::collections::{BTreeMap, VecDeque};
use std::convert::Infallible;
use std::sync::{Arc, Mutex, MutexGuard};

use bytes::Bytes;
use http::Request;
use kube::client::Body;
use serde_json::{Value, json};
use tokio::sync::{mpsc, watch};

use crate::connection::Connection;

pub(crate) const PROXIES: &str = "/apis/projectcontour.io/v1/httpproxies";
pub(crate) const NODES: &str = "/api/v1/nodes";

/// What goes wrong with a request.
#[derive(Debug, Clone)]
pub(crate) enum Fault {
    /// This status.
    Status(u16),
    /// No answer at all.
    Hang,
    /// The answer breaks off in the middle.
    Cut,
    /// The answer begins and nothing follows.
    Stall,
    /// These bytes.
    Body(Vec<u8>),
}

#[derive(Clone)]
pub(crate) struct FakeApi(Arc<Mutex<State>>, Arc<watch::Sender<u64>>);

#[derive(Default)]
struct State {
    version: u64,
    /// Versions before this one are forgotten.
    compacted: u64,
    /// Objects by `collection/namespace/name`.
    objects: BTreeMap<(String, String), Value>,
    history: Vec<(u64, String, Value)>,
    watches: Vec<Watch>,
    /// What goes wrong next, by the start of "METHOD path" or "WATCH path".
    faults: Vec<(String, VecDeque<Fault>)>,
    /// What goes wrong until it is taken back.
    outages: BTreeMap<String, Fault>,
    requests: Vec<String>,
    writes: Vec<String>,
}

struct Watch {
    path: String,
    lines: mpsc::Sender<Result<Bytes, std::io::Error>>,
}

impl FakeApi {
    pub(crate) fn new() -> Self {
        Self(Arc::default(), Arc::new(watch::channel(0).0))
    }

    pub(crate) fn connection(&self) -> Connection {
        let api = self.clone();
        let service = tower::service_fn(move |request: Request<Body>| {
            let api = api.clone();
            async move { Ok::<_, Infallible>(api.answer(request).await) }
        });
        Connection::new(kube::Client::new(service, "default"))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }

    /// Waits until a request that starts like this was made after `seen` of them.
    pub(crate) async fn requested(&self, start: &str, times: usize) {
        let mut changed = self.1.subscribe();
        while self.requests(start) < times {
            changed.changed().await.unwrap();
        }
    }

    /// How many requests start like this.
    pub(crate) fn requests(&self, start: &str) -> usize {
        self.state().requests.iter().filter(|request| request.starts_with(start)).count()
    }

    /// What was written, as `METHOD path`.
    pub(crate) fn writes(&self) -> Vec<String> {
        self.state().writes.clone()
    }

    /// Waits until the objects of a path are as wanted.
    pub(crate) async fn settled(&self, wanted: impl Fn(&Self) -> bool) {
        let mut changed = self.1.subscribe();
        while !wanted(self) {
            changed.changed().await.unwrap();
        }
    }

    pub(crate) fn get(&self, path: &str) -> Option<Value> {
        let (collection, name) = path.rsplit_once('/').unwrap();
        self.state().objects.get(&(collection.to_owned(), name.to_owned())).cloned()
    }

    pub(crate) fn names(&self, collection: &str) -> Vec<String> {
        let state = self.state();
        state.objects.keys().filter(|(of, _)| of == collection).map(|(_, name)| name.clone()).collect()
    }

    /// Creates or replaces an object below a collection.
    pub(crate) fn put(&self, collection: &str, object: Value) {
        let name = object["metadata"]["name"].as_str().unwrap().to_owned();
        self.state().store(collection, &name, object);
        self.changed();
    }

    pub(crate) fn delete(&self, collection: &str, name: &str) {
        let mut state = self.state();
        state.remove(collection, name);
        drop(state);
        self.changed();
    }

    /// Deletes without telling the watches, as if they had been away.
    pub(crate) fn delete_unseen(&self, collection: &str, name: &str) {
        let mut state = self.state();
        state.objects.remove(&(collection.to_owned(), name.to_owned()));
        state.version += 1;
    }

    /// Sends a line to the watches of a collection.
    pub(crate) fn tell(&self, collection: &str, line: &str) {
        self.state().send(collection, line);
    }

    /// Forgets all history, and ends the watches: with the event that says so, or by breaking the connection.
    pub(crate) fn expire(&self, with_event: bool) {
        let mut state = self.state();
        state.version += 1;
        state.compacted = state.version;
        for watch in std::mem::take(&mut state.watches) {
            let gone =
                json!({"type": "ERROR", "object": {"kind": "Status", "code": 410, "message": "too old"}});
            let end = if with_event {
                Ok(Bytes::from(format!("{gone}\n")))
            } else {
                Err(std::io::Error::new(std::io::ErrorKind::ConnectionReset, "reset"))
            };
            let _ = watch.lines.try_send(end);
        }
    }

    /// The next requests that start like this go wrong in these ways.
    pub(crate) fn fail(&self, start: &str, faults: impl IntoIterator<Item = Fault>) {
        self.state().faults.push((start.to_owned(), faults.into_iter().collect()));
    }

    /// All requests that start like this go wrong until `None`; watches that are open break.
    pub(crate) fn outage(&self, start: &str, fault: Option<Fault>) {
        let mut state = self.state();
        match fault {
            Some(fault) => {
                state.outages.insert(start.to_owned(), fault);
                state.watches.clear();
            }
            None => {
                state.outages.remove(start);
            }
        }
    }

    fn changed(&self) {
        self.1.send_modify(|count| *count += 1);
    }
}

impl State {
    /// Gives the object what an API server gives it, and tells the watches.
    fn store(&mut self, collection: &str, name: &str, mut object: Value) -> Value {
        let key = (collection.to_owned(), name.to_owned());
        let before = self.objects.get(&key);
        let generation = before.and_then(|it| it["metadata"]["generation"].as_i64()).unwrap_or(0);
        let changed = before.is_none_or(|before| before["spec"] != object["spec"]);
        let kind = if before.is_some() { "MODIFIED" } else { "ADDED" };
        self.version += 1;
        let metadata = &mut object["metadata"];
        metadata["uid"] = json!(format!("uid-{name}"));
        metadata["generation"] = json!(generation + i64::from(changed));
        metadata["resourceVersion"] = json!(self.version.to_string());
        self.objects.insert(key, object.clone());
        self.record(collection, kind, &object);
        object
    }

    fn remove(&mut self, collection: &str, name: &str) {
        if let Some(mut object) = self.objects.remove(&(collection.to_owned(), name.to_owned())) {
            self.version += 1;
            object["metadata"]["resourceVersion"] = json!(self.version.to_string());
            self.record(collection, "DELETED", &object);
        }
    }

    fn record(&mut self, collection: &str, kind: &str, object: &Value) {
        let event = json!({"type": kind, "object": object});
        self.history.push((self.version, collection.to_owned(), event.clone()));
        self.send(collection, &event.to_string());
    }

    fn send(&mut self, collection: &str, line: &str) {
        self.watches.retain(|watch| !watch.lines.is_closed());
        for watch in self.watches.iter().filter(|watch| watch.path == collection) {
            watch.lines.try_send(Ok(Bytes::from(format!("{line}\n")))).unwrap();
        }
    }
}
