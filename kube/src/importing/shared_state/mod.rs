//! The last good state in ConfigMaps of xcc's own namespace, which the elected replica keeps ([`keep`]) and a pod without any
//! of its own starts from ([`SharedState::recall`]).
//!
//! ConfigMaps, not Secrets: there is nothing in it that ServiceRecords do not show, so that xcc needs no right to write
//! Secrets for it; and it watches the Secrets of its namespace, which would bring every copy into the memory of every
//! replica. They come with the manifests, empty: permission to create cannot be narrowed to names.

mod keep;
mod parts;

use std::time::Duration;

use http::header::ACCEPT;
use http::{HeaderValue, Method};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::ConfigMap;
use serde_json::Value;
use tokio::task::spawn_blocking;
use tokio::time::{sleep, timeout};
use tracing::{info, warn};
use xcc_model::Update;

pub use self::keep::Keeping;
use self::parts::{Header, PackedState, SETS};
use super::{ImportingCluster, MANAGER};
use crate::connection::{Failure, malformed, request};

/// Of an object only its metadata (Kubernetes API concepts, "Metadata-only fetches"): a part need not come back.
const METADATA: HeaderValue =
    HeaderValue::from_static("application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1");
/// RFC 7386.
const MERGE_PATCH: &str = "application/merge-patch+json";
/// The pause before the state is asked for again: a new pod's network may not be there yet.
const RECALL_RETRY: Duration = Duration::from_millis(250);

/// Where the state is kept.
#[derive(Clone)]
pub struct SharedState {
    cluster: ImportingCluster,
    format: u32,
}

/// A state that is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
struct KeptState {
    /// What was given to be kept.
    state: Vec<u8>,
    /// When it was written, by the clock of who wrote it.
    written: Timestamp,
}

/// Where the next state goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Turn {
    set: usize,
    generation: u64,
}

/// A ConfigMap that could not be read or written.
#[derive(Debug, thiserror::Error)]
#[error("ConfigMap {namespace}/{name}: {failure}{advice}")]
struct PartError {
    namespace: String,
    name: String,
    failure: Failure,
    advice: &'static str,
}

impl PartError {
    /// Whether only people can change that.
    fn is_refusal(&self) -> bool {
        matches!(self.failure.code(), Some(401 | 403 | 404))
    }
}

impl ImportingCluster {
    /// Where replicas keep the state. `format` is that of [`Update`] as JSON: what was written in another is as if it was not
    /// there.
    pub fn shared_state(&self, format: u32) -> SharedState {
        SharedState { cluster: self.clone(), format }
    }
}

impl SharedState {
    /// The state that was kept last; none if there is none, or if it cannot be had within the limit, which is in the log then.
    pub async fn recall(&self, limit: Duration) -> Option<Vec<Update>> {
        let mut trouble = "the API server does not answer".to_owned();
        let read = async {
            loop {
                match self.read().await {
                    Ok((kept, _)) => break Ok(kept),
                    Err(error) if error.is_refusal() => break Err(error.to_string()),
                    Err(error) => trouble = error.to_string(),
                }
                sleep(RECALL_RETRY).await;
            }
        };
        let read = timeout(limit, read).await.unwrap_or(Err(trouble));
        let recalled = read.and_then(|kept| {
            let Some(kept) = kept else { return Ok(None) };
            let updates: Vec<Update> =
                serde_json::from_slice(&kept.state).map_err(|error| malformed(&error).to_string())?;
            info!(written = %kept.written, remotes = updates.len(), "what replicas knew is served of remotes that do not answer");
            Ok(Some(updates))
        });
        recalled.unwrap_or_else(|error| {
            warn!("the state that replicas keep cannot be read: {error}");
            None
        })
    }

    /// What is kept, if anything, and where to write what follows. One that is damaged or half written is none.
    async fn read(&self) -> Result<(Option<KeptState>, Turn), PartError> {
        let mut found = Vec::new();
        for set in 0..SETS.len() {
            let first = self.get(&parts::name(set, 0)).await?;
            found.extend(parts::header(&first).map(|header| (set, header, first)));
        }
        found.sort_by_key(|(_, header, _)| std::cmp::Reverse(header.generation));
        // What is written next must be the newest, whatever is wrong with what is there.
        let generation = found.first().map_or(0, |(_, header, _)| header.generation);
        for (set, header, first) in found.into_iter().filter(|(_, header, _)| header.format == self.format) {
            let mut bytes = parts::bytes(&first).to_vec();
            for part in 1..header.parts {
                bytes.extend_from_slice(parts::bytes(&self.get(&parts::name(set, part)).await?));
            }
            let written = header.written;
            // Large ones take a while, in which others have to be served. One that breaks the decompressor is none, too.
            let state = spawn_blocking(move || parts::unpack(&header, &bytes)).await.unwrap_or_default();
            if let Some(state) = state {
                return Ok((Some(KeptState { state, written }), Turn { set, generation }.next()));
            }
        }
        Ok((None, Turn { set: 0, generation: generation.saturating_add(1) }))
    }

    /// Writes a state where [`SharedState::read`], or the write before this one, says. What was kept before stays until all of
    /// it is there. Returns where the next goes. After an error, as of a part that somebody else is writing to, that has to
    /// be read again.
    async fn write(&self, state: &PackedState, turn: Turn, now: Timestamp) -> Result<Turn, PartError> {
        let header = state.header(self.format, turn.generation, now);
        for (part, bytes) in state.parts().enumerate().skip(1) {
            self.patch(&parts::name(turn.set, part), bytes, None).await?;
        }
        // With this one, the set is the newest.
        let first = state.parts().next().unwrap_or_default();
        self.patch(&parts::name(turn.set, 0), first, Some(&header)).await?;
        Ok(turn.next())
    }

    async fn get(&self, name: &str) -> Result<ConfigMap, PartError> {
        let get = request(Method::GET, &self.path(name), "application/json", None);
        self.cluster.connection.json(get).await.map_err(|failure| self.error(name, failure))
    }

    /// Replaces a part, unless somebody else does so at the same time: a replica that led until now, say.
    async fn patch(&self, name: &str, part: &[u8], header: Option<&Header>) -> Result<(), PartError> {
        let written = async {
            let mut get = request(Method::GET, &self.path(name), "application/json", None);
            get.headers_mut().insert(ACCEPT, METADATA);
            let there: Value = self.cluster.connection.json(get).await?;
            let body = parts::patch(&there["metadata"]["resourceVersion"], part, header);
            let path = format!("{}?fieldManager={MANAGER}", self.path(name));
            let mut patch = request(Method::PATCH, &path, MERGE_PATCH, Some(&body));
            patch.headers_mut().insert(ACCEPT, METADATA);
            self.cluster.connection.bytes(patch).await
        };
        written.await.map(drop).map_err(|failure| self.error(name, failure))
    }

    fn path(&self, name: &str) -> String {
        format!("/api/v1/namespaces/{}/configmaps/{name}", self.cluster.namespace)
    }

    fn error(&self, name: &str, failure: Failure) -> PartError {
        let advice = match failure.code() {
            Some(404) => "; it comes with the manifests: apply those of this version",
            Some(403) => "; xcc has to get and patch it: apply the Role of this version's manifests",
            _ => "",
        };
        PartError { namespace: self.cluster.namespace.clone(), name: name.to_owned(), failure, advice }
    }
}

impl Turn {
    fn next(self) -> Self {
        Self { set: (self.set + 1) % SETS.len(), generation: self.generation.saturating_add(1) }
    }
}

#[cfg(test)]
mod tests;
