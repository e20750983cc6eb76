//! What people and Kubernetes are told: the status, and the answers of the admin endpoint.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde_json::{Value, json};
use tokio::time::Instant;
use xcc_kube::importing::{ImportRecord, ImportStatus};

use super::{Pipeline, Query};
use crate::gate::NameState;

impl Pipeline {
    pub(super) fn tell_status(&self) {
        let Some(sender) = &self.connections.status else { return };
        let mut endpoints = BTreeMap::new();
        let records = self.table.imports.iter().map(|(hostname, import)| {
            let remotes: BTreeSet<_> = import.routes.iter().flat_map(|route| route.remotes.iter()).collect();
            let endpoints = endpoints.entry(remotes.clone()).or_insert_with(|| {
                let backends = remotes.iter().filter_map(|remote| self.table.backends.get(*remote));
                backends.flat_map(|backend| backend.endpoints.iter().copied()).collect::<Arc<[_]>>()
            });
            let record = ImportRecord {
                routes: import.routes.clone(),
                endpoints: Arc::clone(endpoints),
                origins: import.origins.clone(),
                programmed: self.gate.state(hostname) == Some(NameState::Answered),
                conflict: import.conflict(),
            };
            (hostname.clone(), record)
        });
        let synced = self
            .views
            .iter()
            .filter(|(name, _)| self.inventory.remotes().get(*name).is_some_and(|remote| remote.synced));
        sender.send_replace(Arc::new(ImportStatus {
            derived: true,
            records: records.collect(),
            remotes: synced.map(|(name, view)| (name.clone(), view.exports.len())).collect(),
            diagnostics: self.diagnostics.clone(),
        }));
    }

    pub(super) fn answer(&self, query: Query) {
        // Who asked may have gone away meanwhile.
        match query {
            Query::Table(reply) => drop(reply.send(self.describe_table())),
            Query::Clients(reply) => drop(reply.send(self.describe_clients())),
            Query::State(reply) => drop(reply.send(self.known())),
        }
    }

    fn describe_table(&self) -> Value {
        let now = Instant::now();
        let imports = self.table.imports.iter().map(|(hostname, import)| {
            let state = self.gate.state(hostname);
            json!({"hostname": hostname, "state": describe_state(state, now), "routes": import.routes, "origins": import.origins})
        });
        let withdrawn = self.gate.withdrawn().map(|(hostname, import)| {
            let state = self.gate.state(hostname);
            json!({"hostname": hostname, "state": describe_state(state, now), "routes": import.routes, "origins": import.origins})
        });
        let remotes = self.inventory.remotes().iter().map(|(name, remote)| {
            let status = json!({
                "synced": remote.synced,
                "settings": remote.settings,
                "exports": remote.exports.len(),
                "nodes": remote.nodes.len(),
                "endpoints": self.views.get(name).map(|view| &view.backend.endpoints),
            });
            (name.to_string(), status)
        });
        json!({
            "imports": imports.chain(withdrawn).collect::<Vec<_>>(),
            "remotes": remotes.collect::<serde_json::Map<_, _>>(),
            "diagnostics": self.diagnostics,
            "refusals": self.refusals,
        })
    }

    fn describe_clients(&self) -> Value {
        let now = Instant::now();
        let gateways = self.gateways(now);
        let clients = self.connections.clients.list().into_iter().map(|client| {
            let mut value = serde_json::to_value(&client).unwrap_or_default();
            if let (Some(acks), Some(object)) = (gateways.get(&client.id), value.as_object_mut()) {
                object.insert("generation_acked".to_owned(), json!(acks.acked));
                object.insert("ports_refused".to_owned(), json!(acks.refused));
                object.insert("passed_over".to_owned(), json!(self.gate.is_passed_over(acks, now)));
            }
            value
        });
        json!({"generation": self.publisher.generation(), "clients": clients.collect::<Vec<_>>()})
    }
}

fn describe_state(state: Option<NameState>, now: Instant) -> Value {
    match state {
        Some(NameState::Answered) => json!("answered"),
        Some(NameState::Withdrawn(until)) => {
            json!({"withdrawn": {"forgottenInSeconds": until.saturating_duration_since(now).as_secs_f64()}})
        }
        // The table may be ahead of the gate within a publication window.
        Some(NameState::Pending) | None => json!("pending"),
    }
}
