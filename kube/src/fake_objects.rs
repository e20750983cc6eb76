//! For tests: as much of an API server as reading, writing and watching named objects takes, on loopback.

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::sync::{Arc, Mutex, MutexGuard};

use axum::Json;
use axum::body::Body;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use futures_util::stream;
use kube::Client;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::watch;

/// Holds objects of any kind by `kind/name`; all namespaces are one.
#[derive(Clone)]
pub(crate) struct FakeObjects {
    state: Arc<Mutex<Objects>>,
    changes: watch::Sender<u64>,
}

#[derive(Default)]
pub(crate) struct Objects {
    /// As in `configmaps/coredns`.
    pub(crate) objects: BTreeMap<String, Value>,
    /// Names that are answered with 403.
    pub(crate) forbidden: BTreeSet<&'static str>,
    /// So many times, somebody else writes between a read and a write.
    pub(crate) races: usize,
    /// Writes that succeeded.
    pub(crate) writes: usize,
    version: u64,
}

impl FakeObjects {
    pub(crate) async fn start(objects: &[(&str, Value)]) -> (Self, Client) {
        let fake = Self { state: Arc::default(), changes: watch::channel(0).0 };
        for (path, object) in objects {
            fake.put(path, object.clone());
        }
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let router = axum::Router::new()
            .route("/api/v1/namespaces/{namespace}/{kind}", get(watch_objects).post(create))
            .route("/api/v1/namespaces/{namespace}/{kind}/{name}", get(read).put(replace))
            .with_state(fake.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        let client = Client::try_from(kube::Config::new(url.parse().unwrap())).unwrap();
        (fake, client)
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, Objects> {
        self.state.lock().unwrap()
    }

    pub(crate) fn object(&self, path: &str) -> Value {
        self.state().objects[path].clone()
    }

    /// What another client would write.
    pub(crate) fn put(&self, path: &str, mut object: Value) {
        let mut state = self.state();
        state.version += 1;
        let version = state.version;
        object["metadata"]["resourceVersion"] = json!(version.to_string());
        state.objects.insert(path.to_owned(), object);
        // Who waits for a change takes the lock in turn.
        drop(state);
        self.changes.send_replace(version);
    }

    /// Waits until the object is as wished.
    pub(crate) async fn until(&self, path: &str, wish: impl Fn(&Value) -> bool) {
        let mut changes = self.changes.subscribe();
        changes.wait_for(|_| self.state().objects.get(path).is_some_and(&wish)).await.unwrap();
    }
}

fn status(code: StatusCode, reason: &str) -> Response {
    let body = json!({"kind": "Status", "status": "Failure", "reason": reason, "code": code.as_u16()});
    (code, Json(body)).into_response()
}

type Named = Path<(String, String, String)>;

async fn read(State(fake): State<FakeObjects>, Path((_, kind, name)): Named) -> Response {
    let state = fake.state();
    if state.forbidden.contains(name.as_str()) {
        return status(StatusCode::FORBIDDEN, "Forbidden");
    }
    match state.objects.get(&format!("{kind}/{name}")) {
        Some(object) => Json(object.clone()).into_response(),
        None => status(StatusCode::NOT_FOUND, "NotFound"),
    }
}

async fn create(
    State(fake): State<FakeObjects>,
    Path((_, kind)): Path<(String, String)>,
    Json(object): Json<Value>,
) -> Response {
    let path = format!("{kind}/{}", object["metadata"]["name"].as_str().unwrap());
    if fake.state().objects.contains_key(&path) {
        return status(StatusCode::CONFLICT, "AlreadyExists");
    }
    fake.state().writes += 1;
    fake.put(&path, object);
    Json(fake.object(&path)).into_response()
}

async fn replace(
    State(fake): State<FakeObjects>,
    Path((_, kind, name)): Named,
    Json(object): Json<Value>,
) -> Response {
    let path = format!("{kind}/{name}");
    let races = fake.state().races;
    if races > 0 {
        fake.state().races = races - 1;
        fake.put(&path, fake.object(&path));
    }
    if fake.object(&path)["metadata"]["resourceVersion"] != object["metadata"]["resourceVersion"] {
        return status(StatusCode::CONFLICT, "Conflict");
    }
    fake.state().writes += 1;
    fake.put(&path, object);
    Json(fake.object(&path)).into_response()
}

/// Answers with the object that is there, and with each later change of it.
async fn watch_objects(
    State(fake): State<FakeObjects>,
    Path((_, kind)): Path<(String, String)>,
    Query(query): Query<BTreeMap<String, String>>,
) -> Response {
    let Some(name) = query.get("fieldSelector").and_then(|field| field.strip_prefix("metadata.name=")) else {
        return status(StatusCode::BAD_REQUEST, "BadRequest");
    };
    let path = format!("{kind}/{name}");
    let mut changes = fake.changes.subscribe();
    changes.mark_changed();
    let events = stream::unfold((fake, changes, None), move |(fake, mut changes, seen)| {
        let path = path.clone();
        async move {
            loop {
                changes.changed().await.ok()?;
                let object = fake.state().objects.get(&path).cloned();
                if object != seen {
                    let event = json!({"type": "MODIFIED", "object": object.as_ref()?}).to_string() + "\n";
                    return Some((Ok::<_, Infallible>(event), (fake, changes, object)));
                }
            }
        }
    });
    Body::from_stream(events).into_response()
}
