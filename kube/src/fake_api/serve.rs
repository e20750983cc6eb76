//! How requests are answered.

use std::collections::BTreeMap;

use bytes::Bytes;
use futures_util::StreamExt;
use http::header::CONTENT_TYPE;
use http::{Method, Request, Response, StatusCode};
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use kube::client::Body;
use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::{FakeApi, Fault, Watch};
use crate::api::EXPORT_LABEL;

/// What an answer's body is made of.
type Answer = StreamBody<Frames>;
type Frames = futures_util::stream::BoxStream<'static, Result<Frame<Bytes>, std::io::Error>>;

impl FakeApi {
    pub(super) async fn answer(&self, request: Request<Body>) -> Response<Answer> {
        let (head, body) = request.into_parts();
        let path = head.uri.path().to_owned();
        let query: BTreeMap<String, String> = head
            .uri
            .query()
            .unwrap_or_default()
            .split('&')
            .filter_map(|pair| pair.split_once('='))
            .map(|(name, value)| (name.to_owned(), decode(value)))
            .collect();
        let method = if query.contains_key("watch") { "WATCH".to_owned() } else { head.method.to_string() };
        let line = format!("{method} {path}");
        let fault = {
            let mut state = self.state();
            state.requests.push(line.clone());
            let outage = state
                .outages
                .iter()
                .find(|(start, _)| line.starts_with(start.as_str()))
                .map(|(_, fault)| fault.clone());
            let mut once = state.faults.iter_mut().filter(|(start, _)| line.starts_with(start.as_str()));
            outage.or_else(|| once.find_map(|(_, faults)| faults.pop_front()))
        };
        self.changed();
        match fault {
            Some(Fault::Status(code)) => return status(code, "injected"),
            Some(Fault::Hang) => std::future::pending().await,
            Some(Fault::Cut) => {
                let frames = futures_util::stream::iter([
                    Ok(Frame::data(Bytes::from_static(
                        b"{\"metadata\": {\"resourceVersion\": \"1\"}, \"items\": [",
                    ))),
                    Err(std::io::Error::new(std::io::ErrorKind::UnexpectedEof, "cut")),
                ]);
                return stream(frames.boxed());
            }
            Some(Fault::Stall) => return stream(futures_util::stream::pending().boxed()),
            Some(Fault::Body(bytes)) => return stream(once(bytes)),
            None => {}
        }
        if method == "WATCH" {
            return self.watch(&path, &query);
        }
        if method == "GET" {
            return self.read(&path, &query);
        }
        let body = body.collect().await.unwrap().to_bytes();
        let body = serde_json::from_slice(&body).unwrap_or(Value::Null);
        let merges = head.headers.get(CONTENT_TYPE).is_some_and(|it| it == "application/merge-patch+json");
        let answer = self.write(&head.method, &path, &query, body, merges);
        self.changed();
        answer
    }

    fn read(&self, path: &str, query: &BTreeMap<String, String>) -> Response<Answer> {
        let state = self.state();
        let (collection, name) = path.rsplit_once('/').unwrap();
        if let Some(object) = state.objects.get(&(collection.to_owned(), name.to_owned())) {
            return stream(once(object.to_string().into_bytes()));
        }
        if collection.ends_with("/leases") || collection.ends_with("/configmaps") {
            return status(404, "not found");
        }
        let limit = query.get("limit").map_or(usize::MAX, |limit| limit.parse().unwrap());
        let after = query.get("continue").cloned().unwrap_or_default();
        let mut objects: Vec<(&String, &Value)> = state
            .objects
            .iter()
            .filter(|((of, name), object)| of == path && *name > after && selected(query, object))
            .map(|((_, name), object)| (name, object))
            .collect();
        let more = objects.len() > limit;
        objects.truncate(limit);
        let next = if more { objects.last().map_or("", |(name, _)| name) } else { "" };
        let items: Vec<&Value> = objects.iter().map(|(_, object)| *object).collect();
        let page = json!({
            "kind": "List", "metadata": {"resourceVersion": state.version.to_string(), "continue": next}, "items": items,
        });
        stream(once(page.to_string().into_bytes()))
    }

    fn watch(&self, path: &str, query: &BTreeMap<String, String>) -> Response<Answer> {
        let mut state = self.state();
        let from: u64 = query["resourceVersion"].parse().unwrap();
        if from < state.compacted {
            return status(410, "too old resource version");
        }
        let (lines, receiver) = mpsc::channel(4096);
        for (_, of, event) in state.history.iter().filter(|(version, ..)| *version > from) {
            if of == path && selected(query, &event["object"]) {
                lines.try_send(Ok(Bytes::from(format!("{event}\n")))).unwrap();
            }
        }
        state.watches.push(Watch { path: path.to_owned(), lines });
        let frames = futures_util::stream::unfold(receiver, |mut receiver| async {
            receiver.recv().await.map(|line| (line.map(Frame::data), receiver))
        });
        stream(frames.boxed())
    }

    fn write(
        &self,
        method: &Method,
        path: &str,
        query: &BTreeMap<String, String>,
        body: Value,
        merges: bool,
    ) -> Response<Answer> {
        let mut state = self.state();
        state.writes.push(format!("{method} {path}"));
        let subresource = path.ends_with("/status");
        let path = path.strip_suffix("/status").unwrap_or(path);
        let (collection, name) = match *method {
            Method::POST => (path, body["metadata"]["name"].as_str().unwrap_or_default()),
            _ => path.rsplit_once('/').unwrap(),
        };
        let key = (collection.to_owned(), name.to_owned());
        let before = state.objects.get(&key).cloned();
        let stale = |sent: &Value| {
            let version = &sent["metadata"]["resourceVersion"];
            before
                .as_ref()
                .is_some_and(|it| !version.is_null() && it["metadata"]["resourceVersion"] != *version)
        };
        match (method, &before) {
            (&Method::POST, Some(_)) => return status(409, "already exists"),
            (&Method::PUT | &Method::DELETE, None) => return status(404, "not found"),
            (&Method::PUT | &Method::PATCH, Some(_)) if stale(&body) => {
                return status(409, "the object has been modified");
            }
            (&Method::PATCH, None) if subresource || merges => return status(404, "not found"),
            (&Method::DELETE, Some(before)) => {
                let uid = &body["preconditions"]["uid"];
                if !uid.is_null() && before["metadata"]["uid"] != *uid {
                    return status(409, "uid");
                }
                state.remove(collection, name);
                return stream(once(b"{}".to_vec()));
            }
            _ => {}
        }
        let object = match *method {
            Method::PATCH => {
                assert_eq!(query.get("fieldManager").map(String::as_str), Some("xcc"));
                match merges {
                    true => merge(before.unwrap_or_default(), &body),
                    false => apply(before, &body, subresource),
                }
            }
            _ => body.clone(),
        };
        let object = state.store(collection, name, object);
        stream(once(object.to_string().into_bytes()))
    }
}

/// Server-side apply, of the fields that xcc owns.
fn apply(before: Option<Value>, sent: &Value, subresource: bool) -> Value {
    let mut object = before.unwrap_or_else(|| json!({"metadata": {}}));
    let fields: &[&str] = if subresource { &["status"] } else { &["spec", "apiVersion", "kind"] };
    for field in fields.iter().filter(|field| !sent[**field].is_null()) {
        object[*field] = sent[*field].clone();
    }
    if !subresource {
        for field in ["name", "namespace", "labels", "ownerReferences"] {
            if !sent["metadata"][field].is_null() {
                object["metadata"][field] = sent["metadata"][field].clone();
            }
        }
        object["metadata"]["managedFields"] = json!([{"manager": "xcc", "operation": "Apply"}]);
    }
    object
}

/// A JSON merge patch, of which nothing is deleted.
fn merge(mut object: Value, patch: &Value) -> Value {
    match patch.as_object() {
        Some(fields) => {
            for (name, value) in fields {
                let before = object.get(name).cloned().unwrap_or_else(|| json!({}));
                object[name] = merge(before, value);
            }
            object
        }
        None => patch.clone(),
    }
}

fn selected(query: &BTreeMap<String, String>, object: &Value) -> bool {
    let labelled = query.get("labelSelector").is_none_or(|label| {
        assert_eq!(label, EXPORT_LABEL);
        object["metadata"]["labels"].get(label).is_some()
    });
    let named =
        query.get("fieldSelector").is_none_or(|selector| match selector.strip_prefix("metadata.name=") {
            Some(name) => object["metadata"]["name"] == name,
            None => true,
        });
    labelled && named
}

fn decode(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte == b'%' {
            let hex: String = rest.by_ref().take(2).map(char::from).collect();
            bytes.push(u8::from_str_radix(&hex, 16).unwrap());
        } else {
            bytes.push(byte);
        }
    }
    String::from_utf8(bytes).unwrap()
}

fn once(bytes: Vec<u8>) -> Frames {
    futures_util::stream::iter([Ok(Frame::data(Bytes::from(bytes)))]).boxed()
}

fn stream(frames: Frames) -> Response<Answer> {
    Response::new(StreamBody::new(frames))
}

fn status(code: u16, message: &str) -> Response<Answer> {
    let body = json!({"kind": "Status", "code": code, "message": message}).to_string();
    let mut response = stream(once(body.into_bytes()));
    *response.status_mut() = StatusCode::from_u16(code).unwrap();
    response
}
