//! What gateways answer to that: which names DNS may answer, who lags behind, what is refused.

use std::collections::{BTreeMap, BTreeSet};

use tokio::time::Instant;
use tracing::{info, warn};
use xcc_model::{Diagnostic, Reason, ServicePort};
use xcc_xds::{TypeStatus, TypeUrl};

use super::Pipeline;
use crate::gate::{GatewayAcks, ZoneChange};
use crate::publisher::diagnostics_of;

impl Pipeline {
    pub(super) fn observe_gateways(&mut self, now: Instant) {
        if !self.gate.is_waiting() && self.passed_over.is_empty() && self.refusals.is_empty() {
            return;
        }
        let gateways = self.gateways(now);
        let acks = gateways.values().cloned().collect::<Vec<_>>();
        let change = self.gate.observe(&acks, now);
        self.change_zone(&change);
        if change != ZoneChange::default() {
            self.status_changed(now);
        }
        if self.gate.is_open() && self.waiting_for_gateway.take().is_some() {
            match gateways.is_empty() {
                false => info!("a gateway carries the configuration: DNS answers from now on"),
                true => info!(
                    "no gateway has come here, so they are with other replicas: DNS answers from now on"
                ),
            }
            self.connections.responder.publish(self.zones.clone());
        }
        self.report_passed_over(&gateways, now);
        self.report_refusals(now);
        self.connections.metrics.set_names(self.gate.counts());
    }

    /// The gateways (clients that ask for listeners) with what each has ACKed.
    pub(super) fn gateways(&self, now: Instant) -> BTreeMap<u64, GatewayAcks> {
        let clients = self.connections.clients.list().into_iter();
        let acks = clients.filter_map(|client| {
            let listeners = client.types.get(&TypeUrl::Listener)?;
            // A gateway that refused some listeners has all others as soon as it has answered what was sent.
            let answered = listeners.acks + listeners.nacks == listeners.responses;
            let version = match listeners.parked.is_empty() {
                true => listeners.acked.as_ref(),
                false => listeners.sent.as_ref().filter(|_| answered),
            };
            let acks = GatewayAcks {
                acked: version.and_then(|version| self.publisher.generation_of(version)),
                refused: self.ports_of(listeners).collect(),
                connected: now.checked_sub(client.connected_for).unwrap_or(now),
            };
            Some((client.id, acks))
        });
        acks.collect()
    }

    /// The ports whose listeners a gateway refuses.
    fn ports_of(&self, listeners: &TypeStatus) -> impl Iterator<Item = ServicePort> {
        let routes = self.carried.imports.values().flat_map(|import| &import.routes);
        let ports = match listeners.parked.is_empty() {
            true => BTreeSet::new(),
            false => routes.map(|route| route.port).collect::<BTreeSet<_>>(),
        };
        ports
            .into_iter()
            .filter(|port| listeners.parked.contains_key(&*xcc_envoy::names::listener_name(*port)))
    }

    fn report_passed_over(&mut self, gateways: &BTreeMap<u64, GatewayAcks>, now: Instant) {
        let lagging = gateways.iter().filter(|(_, acks)| self.gate.is_passed_over(acks, now));
        let lagging: BTreeSet<u64> = lagging.map(|(id, _)| *id).collect();
        for id in lagging.difference(&self.passed_over) {
            warn!(
                client = id,
                "gateway lags behind the others: names no longer wait for it; see /debug/clients"
            );
        }
        for id in self.passed_over.difference(&lagging) {
            info!(client = id, "gateway has caught up or is gone");
        }
        self.connections.metrics.gateways_passed_over.set(i64::try_from(lagging.len()).unwrap_or(i64::MAX));
        self.passed_over = lagging;
    }

    /// Puts what a gateway refuses on the HTTPProxies that want it.
    fn report_refusals(&mut self, now: Instant) {
        let mut refusals = BTreeMap::new();
        for client in self.connections.clients.list() {
            let Some(listeners) = client.types.get(&TypeUrl::Listener) else { continue };
            refusals.extend(self.ports_of(listeners).filter_map(|port| {
                let parked = listeners.parked.get(&*xcc_envoy::names::listener_name(port))?;
                Some((port, parked.message.to_string()))
            }));
        }
        if refusals != self.refusals {
            self.refusals = refusals;
            self.report();
            self.status_changed(now);
        }
    }

    pub(super) fn describe_refusals(&self) -> impl Iterator<Item = Diagnostic> {
        self.refusals.iter().flat_map(|(port, text)| {
            let imports = self.table.imports.iter();
            let concerned =
                imports.filter(|(_, import)| import.routes.iter().any(|route| route.port == *port));
            concerned.flat_map(move |(hostname, import)| {
                let message = format!(
                    "{hostname} is not carried on port {port}: a gateway refuses the listener: {text}"
                );
                diagnostics_of(import, Reason::NotCarried, message)
            })
        })
    }
}
