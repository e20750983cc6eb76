//! Keeps a cluster's DNS as wished while this replica leads. Owns when to look; what is done is [`super::apply`]'s.

use std::time::Duration;

use futures_util::future;
use k8s_openapi::api::core::v1::{ConfigMap, Service};
use kube::{Api, Client};
use tokio::sync::{Notify, watch};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::{DnsConfigError, DnsConfigOptions, Outcome, apply};
use crate::object_changes::notify_changes;

/// Nothing is written more often than this: somebody else may keep undoing it.
const PAUSE_MIN: Duration = Duration::from_secs(2);
/// The longest pause after failures, unless something changes.
const PAUSE_MAX: Duration = Duration::from_secs(300);
/// How often it is looked without having been told of a change.
const LOOK_INTERVAL: Duration = Duration::from_secs(600);

/// Applies the options whenever the ConfigMaps or the Service change, while `leads` is true, until shutdown. What was
/// written stays when this ends: it is for the uninstallation to take it out.
pub async fn keep(
    client: Client,
    options: DnsConfigOptions,
    mut leads: watch::Receiver<bool>,
    shutdown: CancellationToken,
) {
    let work = async {
        // Ends when whoever elects is gone, which is at shutdown.
        while leads.wait_for(|leads| *leads).await.is_ok() {
            let mut lost = leads.clone();
            let changed = Notify::new();
            tokio::select! {
                () = apply_always(&client, &options, &changed) => {}
                () = watch_all(&client, &options, &changed) => {}
                _ = lost.wait_for(|leads| !*leads) => {}
            }
        }
    };
    shutdown.run_until_cancelled(work).await;
}

async fn apply_always(client: &Client, options: &DnsConfigOptions, changed: &Notify) {
    let mut pause = PAUSE_MIN;
    let mut reported = None;
    loop {
        let result = apply(client, options).await;
        report(&result, &mut reported);
        pause = if result.is_ok() { PAUSE_MIN } else { (pause * 2).min(PAUSE_MAX) };
        sleep(PAUSE_MIN).await;
        // A hint for what was written just now costs one more look.
        let _ = timeout(if result.is_ok() { LOOK_INTERVAL } else { pause }, changed.notified()).await;
    }
}

/// Says what was done, and what stands in the way once, not at each attempt.
fn report(result: &Result<super::DnsConfigReport, DnsConfigError>, reported: &mut Option<String>) {
    match result {
        Ok(report) => {
            for done in report.config_maps.iter().filter(|done| done.outcome != Outcome::UpToDate) {
                info!(config_map = %done.config_map, outcome = ?done.outcome, servers = ?report.servers, "cluster DNS");
            }
            *reported = None;
        }
        Err(error) => {
            let text = described(error);
            if reported.as_ref() != Some(&text) {
                warn!(error = text, "the cluster's DNS is not configured");
                *reported = Some(text);
            }
        }
    }
}

fn described(error: &DnsConfigError) -> String {
    match std::error::Error::source(error) {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    }
}

/// Notifies whenever there may be something to do.
async fn watch_all(client: &Client, options: &DnsConfigOptions, changed: &Notify) {
    let config_maps = [&options.corefile, &options.node_local_corefile, &options.kube_dns].map(|name| {
        let api = Api::<ConfigMap>::namespaced(client.clone(), &name.namespace);
        notify_changes(api, &name.name, changed)
    });
    let service = &options.dns_service;
    let services = Api::<Service>::namespaced(client.clone(), &service.namespace);
    future::join(future::join_all(config_maps), notify_changes(services, &service.name, changed)).await;
}
