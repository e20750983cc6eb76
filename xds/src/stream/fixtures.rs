//! Resources, snapshots and requests for tests.

use std::{collections::BTreeMap, time::SystemTime};

use bytes::Bytes;

use super::*;
use crate::{resource::Resource, store::SnapshotStore};

pub(super) const LIMITS: StreamLimits = StreamLimits { names_max: 10_000, response_bytes_max: 1 << 20 };

/// A message with this name whose other field has this content; a Cluster is of type EDS.
pub(super) fn resource(type_url: &TypeUrl, name: &str, content: u8) -> Resource {
    let mut value = vec![0x0a, u8::try_from(name.len()).unwrap()];
    value.extend_from_slice(name.as_bytes());
    if *type_url == TypeUrl::Cluster {
        value.extend_from_slice(&[0x10, 3]);
    }
    value.extend_from_slice(&[0x78, content]);
    Resource::from_encoded(type_url.clone(), name, Bytes::from(value))
}

pub(super) fn snapshot(resources: &[(TypeUrl, &str, u8)]) -> Snapshot {
    let mut builder = Snapshot::builder();
    for (type_url, name, content) in resources {
        builder.insert(resource(type_url, name, *content));
    }
    builder.build().unwrap()
}

pub(super) fn strings(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

fn error(message: &str) -> ErrorDetail {
    ErrorDetail { code: 13, message: message.to_owned() }
}

/// A stream with its store, driven by hand.
pub(super) struct Driven {
    pub(super) store: SnapshotStore,
    pub(super) stream: AdsStream,
    variant: Variant,
    /// SotW: the names of the last request of each type, which an ACK repeats.
    names: BTreeMap<TypeUrl, Vec<String>>,
    /// SotW: the version that was last accepted, which a NACK repeats.
    versions: BTreeMap<TypeUrl, String>,
}

impl Driven {
    pub(super) fn new(variant: Variant) -> Self {
        Self::with_store(variant, SnapshotStore::new())
    }

    pub(super) fn with_store(variant: Variant, store: SnapshotStore) -> Self {
        let mut stream = AdsStream::new(1, None, LIMITS);
        if let Some(published) = store.published() {
            stream.on_published(&published);
        }
        Self { store, stream, variant, names: BTreeMap::new(), versions: BTreeMap::new() }
    }

    /// A stream of a service that serves one type.
    pub(super) fn for_type(variant: Variant, only: TypeUrl) -> Self {
        let stream = AdsStream::new(1, Some(only), LIMITS);
        Self {
            store: SnapshotStore::new(),
            stream,
            variant,
            names: BTreeMap::new(),
            versions: BTreeMap::new(),
        }
    }

    pub(super) fn delta() -> Self {
        Self::new(Variant::Delta)
    }

    pub(super) fn sotw() -> Self {
        Self::new(Variant::Sotw)
    }

    pub(super) fn publish(&mut self, resources: &[(TypeUrl, &str, u8)]) {
        self.publish_snapshot(snapshot(resources));
    }

    pub(super) fn publish_snapshot(&mut self, snapshot: Snapshot) {
        self.store.publish(snapshot);
        self.stream.on_published(&self.store.published().unwrap());
    }

    pub(super) fn request(&mut self, request: Request) -> Acknowledged {
        self.stream.on_request(request, SystemTime::UNIX_EPOCH).unwrap().1
    }

    pub(super) fn send_delta(&mut self, request: DeltaRequest) -> Acknowledged {
        self.request(Request::Delta(request))
    }

    /// Subscribes: in delta to these names too, in SotW to these only.
    pub(super) fn subscribe(&mut self, type_url: &TypeUrl, names: &[&str]) {
        let type_text = type_url.as_str().to_owned();
        self.names.insert(type_url.clone(), strings(names));
        self.request(match self.variant {
            Variant::Delta => Request::Delta(DeltaRequest {
                type_url: type_text,
                resource_names_subscribe: strings(names),
                ..Default::default()
            }),
            Variant::Sotw => Request::Sotw(SotwRequest {
                type_url: type_text,
                resource_names: strings(names),
                ..Default::default()
            }),
        });
    }

    pub(super) fn unsubscribe(&mut self, type_url: &TypeUrl, names: &[&str]) {
        self.send_delta(DeltaRequest {
            type_url: type_url.as_str().to_owned(),
            resource_names_unsubscribe: strings(names),
            ..Default::default()
        });
    }

    fn answer(&mut self, response: &Response, error_detail: Option<ErrorDetail>) -> Acknowledged {
        let type_url = response.type_url.as_str().to_owned();
        let response_nonce = response.nonce.clone();
        if error_detail.is_none() {
            self.versions.insert(response.type_url.clone(), response.version.to_string());
        }
        let version_info = self.versions.get(&response.type_url).cloned().unwrap_or_default();
        let resource_names = self.names.get(&response.type_url).cloned().unwrap_or_default();
        self.request(match self.variant {
            Variant::Delta => {
                Request::Delta(DeltaRequest { type_url, response_nonce, error_detail, ..Default::default() })
            }
            Variant::Sotw => Request::Sotw(SotwRequest {
                version_info,
                type_url,
                response_nonce,
                error_detail,
                resource_names,
                ..Default::default()
            }),
        })
    }

    pub(super) fn ack(&mut self, response: &Response) {
        assert_eq!(self.answer(response, None), Acknowledged::Ack);
    }

    pub(super) fn nack(&mut self, response: &Response, message: &str) {
        assert_eq!(self.answer(response, Some(error(message))), Acknowledged::Nack);
    }

    pub(super) fn next(&mut self) -> Option<Response> {
        self.stream.next_response(SystemTime::UNIX_EPOCH)
    }

    /// The next response, which must exist.
    pub(super) fn expect(&mut self) -> Response {
        self.next().expect("a response is due")
    }

    pub(super) fn expect_nothing(&mut self) {
        if let Some(response) = self.next() {
            panic!("unexpected {}", brief(&response));
        }
    }

    /// Sends and ACKs until nothing is left; returns what was sent, in brief.
    pub(super) fn drain(&mut self) -> Vec<String> {
        let mut sent = Vec::new();
        while let Some(response) = self.next() {
            sent.push(brief(&response));
            self.ack(&response);
        }
        sent
    }

    pub(super) fn status(&mut self, type_url: &TypeUrl) -> TypeStatus {
        self.stream.subscriptions[type_url].status().clone()
    }

    /// The version of a resource in the current snapshot.
    pub(super) fn version(&self, type_url: &TypeUrl, name: &str) -> String {
        self.store.load().unwrap().get(type_url, name).unwrap().version().to_string()
    }

    /// Whether the client holds all of the current snapshot of a type.
    pub(super) fn is_acked(&mut self, type_url: &TypeUrl) -> bool {
        let version = self.store.load().unwrap().version(type_url);
        self.status(type_url).acked == Some(version)
    }
}

/// `Cluster a=1 b=2 -c`: type, resources with their content byte, removals.
pub(super) fn brief(response: &Response) -> String {
    let mut text = response.type_url.short().to_owned();
    for resource in response.resources.iter() {
        text += &format!(" {}={}", resource.name(), resource.value().last().unwrap());
    }
    for name in &response.removed {
        text += &format!(" -{name}");
    }
    text
}
