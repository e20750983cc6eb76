//! The admin endpoint: `/livez`, `/readyz`, `/metrics` and `/debug/{table,snapshot,clients,zone}`.

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::Context;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use prometheus_client::registry::Registry;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;
use xcc_dns::Responder;
use xcc_envoy::MatcherForm;
use xcc_envoy::yaml::any_to_value;
use xcc_xds::Snapshot;

use crate::pipeline::Query;
use crate::publisher::Stores;
use crate::ready::Ready;

/// What the pages show.
pub(crate) struct Admin {
    pub(crate) ready: Ready,
    pub(crate) registry: Registry,
    pub(crate) stores: Stores,
    pub(crate) responder: Responder,
    pub(crate) queries: mpsc::Sender<Query>,
}

/// Binds the admin endpoint.
pub(crate) async fn bind(address: SocketAddr) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address)
        .await
        .with_context(|| format!("cannot listen for the admin endpoint on {address} (--admin-listen)"))
}

/// Serves until shutdown.
pub(crate) async fn serve(
    listener: TcpListener,
    admin: Admin,
    shutdown: CancellationToken,
) -> anyhow::Result<()> {
    let router = router(Arc::new(admin));
    axum::serve(listener, router)
        .with_graceful_shutdown(shutdown.cancelled_owned())
        .await
        .context("the admin endpoint failed")
}

fn router(admin: Arc<Admin>) -> Router {
    Router::new()
        .route("/", get(index))
        .route("/livez", get(async || "ok\n"))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics))
        .route("/debug/table", get(table))
        .route("/debug/snapshot", get(snapshot))
        .route("/debug/clients", get(clients))
        .route("/debug/zone", get(zone))
        .with_state(admin)
}

async fn index() -> &'static str {
    "/livez\n/readyz\n/metrics\n/debug/table     imported names with their state, remotes, diagnostics\n\
     /debug/snapshot  what gateways are served\n/debug/clients   connected gateways: ACKs, NACKs with their text\n\
     /debug/zone      what DNS answers\n"
}

async fn readyz(State(admin): State<Arc<Admin>>) -> Response {
    let waiting_for = admin.ready.waiting_for();
    if waiting_for.is_empty() {
        return "ready\n".into_response();
    }
    let lines = waiting_for.iter().map(|what| format!("waiting for {what}\n")).collect::<String>();
    (StatusCode::SERVICE_UNAVAILABLE, lines).into_response()
}

async fn metrics(State(admin): State<Arc<Admin>>) -> Response {
    const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    let mut text = String::new();
    match prometheus_client::encoding::text::encode(&mut text, &admin.registry) {
        Ok(()) => ([(header::CONTENT_TYPE, CONTENT_TYPE)], text).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}

async fn table(State(admin): State<Arc<Admin>>) -> Response {
    ask(&admin, Query::Table).await
}

async fn clients(State(admin): State<Arc<Admin>>) -> Response {
    ask(&admin, Query::Clients).await
}

async fn snapshot(State(admin): State<Arc<Admin>>) -> Response {
    let describe = |form| admin.stores.of(form).load().map(|snapshot| describe_snapshot(&snapshot));
    Json(json!({
        "serverNames": describe(MatcherForm::ServerNames),
        "exactMap": describe(MatcherForm::ExactMap),
    }))
    .into_response()
}

async fn zone(State(admin): State<Arc<Admin>>) -> Response {
    let records = admin.responder.load().map(|zones| zones.dump());
    Json(json!({ "records": records })).into_response()
}

fn describe_snapshot(snapshot: &Snapshot) -> Value {
    let types = snapshot.types().map(|type_url| {
        let resources = snapshot.resources(type_url).map(|resource| {
            // What cannot be shown is still named.
            let content = any_to_value(type_url.as_str(), &resource.value())
                .unwrap_or_else(|error| json!(error.to_string()));
            json!({"name": resource.name(), "version": resource.version(), "resource": content})
        });
        let value =
            json!({"version": snapshot.version(type_url), "resources": resources.collect::<Vec<_>>()});
        (type_url.as_str().to_owned(), value)
    });
    Value::Object(types.collect())
}

async fn ask(admin: &Admin, query: impl FnOnce(oneshot::Sender<Value>) -> Query) -> Response {
    let (reply, answer) = oneshot::channel();
    if admin.queries.send(query(reply)).await.is_ok()
        && let Ok(value) = answer.await
    {
        return Json(value).into_response();
    }
    (StatusCode::SERVICE_UNAVAILABLE, "stopping\n").into_response()
}
