//! From the table to what is served: snapshots for gateways, zones for DNS, in an order that breaks nothing.

use std::collections::BTreeSet;
use std::time::Duration;

use tokio::time::Instant;
use tracing::{debug, error, info};
use xcc_model::{Hostname, Origin, RemoteName, ServiceImport};

use super::{Pipeline, WINDOW_MAX, WINDOW_MIN, WINDOW_PER_NAME};
use crate::gate::{NameState, ZoneChange};

/// Where browsers connect to (RFC 9110, section 4.2.2).
const HTTPS_PORT: u16 = 443;

impl Pipeline {
    /// Publishes the names: DNS stops answering what is gone before the gateways hear of it.
    pub(super) fn publish_names(&mut self, now: Instant) {
        let names = std::mem::take(&mut self.unpublished);
        let change = self.gate.set_table(&self.table, &names, now);
        self.change_zone(&change);
        self.retell_details(&names);
        self.carried = self.gate.gateway_table(&self.table);
        match self.publisher.publish(&self.carried) {
            Ok(generation) => {
                self.gate.published(generation, now);
                debug!(
                    generation,
                    names = self.carried.imports.len(),
                    withdrawn = change.removed.len(),
                    "published"
                );
            }
            // What gateways have stays; the names of this table wait.
            Err(error) => {
                self.connections.metrics.publication_failed();
                error!("not published: {error:#}");
            }
        }
        self.connections.metrics.publications.inc();
        self.connections.metrics.set_names(self.gate.counts());
        self.due = None;
        self.last_publication = Some(now);
    }

    /// A gateway of another kind has come: before the first publication it waits like all others.
    pub(super) fn publish_wanted_forms(&mut self) {
        // What this one cannot carry must not be answered any more.
        self.keep_carriable_by_all(Instant::now());
        if self.last_publication.is_some()
            && let Err(error) = self.publisher.publish_wanted(&self.carried)
        {
            self.connections.metrics.publication_failed();
            error!("not published in the form of a new gateway: {error:#}");
        }
    }

    /// Publishes endpoints alone. They never wait for names: a lost node hurts now.
    pub(super) fn publish_endpoints(&mut self, remotes: &BTreeSet<RemoteName>) {
        for remote in remotes {
            if let (Some(carried), Some(backend)) =
                (self.carried.backends.get_mut(remote), self.table.backends.get(remote))
            {
                carried.clone_from(backend);
                self.gate.note_backend(remote, backend);
            }
        }
        if let Err(error) = self.publisher.publish_endpoints(&self.carried.backends, remotes) {
            self.connections.metrics.publication_failed();
            error!("endpoints are not published: {error:#}");
        }
        self.connections.metrics.publications.inc();
    }

    pub(super) fn window(&self) -> Duration {
        let names = u32::try_from(self.table.imports.len()).unwrap_or(u32::MAX);
        WINDOW_PER_NAME.saturating_mul(names).clamp(WINDOW_MIN, WINDOW_MAX)
    }

    pub(super) fn change_zone(&mut self, change: &ZoneChange) {
        if *change == ZoneChange::default() {
            return;
        }
        self.zones = self.zones.with_changes(&change.added, &change.removed);
        self.tell_details(&change.added);
        self.serve_zones();
        for hostname in &change.added {
            info!(%hostname, "answered: every gateway carries it");
        }
        for hostname in &change.removed {
            info!(%hostname, "withdrawn: no longer answered");
        }
    }

    /// Answers from the zones as they are, once a gateway carries what there was.
    pub(super) fn serve_zones(&self) {
        if self.waiting_for_gateway.is_none() {
            self.connections.responder.publish(self.zones.clone());
        }
    }

    /// The names that are answered and may come from elsewhere now, or have another port.
    fn retell_details(&mut self, names: &BTreeSet<Hostname>) {
        let is_answered = |name: &&Hostname| self.gate.state(name) == Some(NameState::Answered);
        let answered: Vec<Hostname> = names.iter().filter(is_answered).cloned().collect();
        if answered.is_empty() {
            return;
        }
        self.tell_details(&answered);
        self.serve_zones();
    }

    /// Says at `_xcc.<name>` where names come from, for people who wonder, and in HTTPS records where clients connect to.
    pub(super) fn tell_details(&mut self, names: &[Hostname]) {
        let text = |origin: &Origin| format!("remote={} httpproxy={}", origin.remote, origin.export);
        let details: Vec<(&Hostname, Vec<String>, u16)> = names
            .iter()
            .filter_map(|name| {
                let import = self.table.imports.get(name)?;
                Some((name, import.origins.iter().map(text).collect(), https_port(import)))
            })
            .collect();
        let texts = details.iter().map(|(name, texts, _)| (*name, texts.as_slice()));
        let ports = details.iter().map(|(name, _, port)| (*name, *port));
        self.zones = self.zones.with_origins(texts).with_ports(ports);
    }
}

/// Of several ports the one that clients take by themselves, if it is among them.
fn https_port(import: &ServiceImport) -> u16 {
    let ports = || import.routes.iter().map(|route| route.port.get());
    ports().find(|port| *port == HTTPS_PORT).or_else(|| ports().next()).unwrap_or(HTTPS_PORT)
}
