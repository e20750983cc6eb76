//! What gateways answer to that: which names DNS may answer, who lags behind, what is refused.

use std::collections::{BTreeMap, BTreeSet};

use tokio::time::Instant;
use tracing::{info, warn};
use xcc_xds::{ResourceVersion, TypeStatus, TypeUrl};

use super::Pipeline;
use crate::gate::{GatewayAcks, ZoneChange};

impl Pipeline {
    pub(super) fn observe_gateways(&mut self, now: Instant) {
        self.observe_refusals(now);
        if !self.gate.is_waiting() && self.passed_over.is_empty() {
            return;
        }
        let gateways = self.gateways(now);
        let acks = gateways.values().cloned().collect::<Vec<_>>();
        let change = self.gate.observe(&acks, now);
        self.change_zone(&change);
        if change != ZoneChange::default() {
            self.status_changed(now);
            if !self.refusals.is_empty() {
                // Fewer names wait for what is refused.
                self.report();
            }
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
        self.connections.metrics.set_names(self.gate.counts());
    }

    /// The gateways (clients that ask for listeners) with what each has ACKed.
    pub(super) fn gateways(&self, now: Instant) -> BTreeMap<u64, GatewayAcks> {
        let clients = self.connections.clients.list();
        let refused_routes = self.refused_routes(&clients);
        let acks = clients.into_iter().filter_map(|client| {
            let listeners = client.types.get(&TypeUrl::Listener)?;
            let acks = GatewayAcks {
                acked: held(listeners).and_then(|version| self.publisher.generation_of(version)),
                refused: self.refused_ports(listeners),
                refused_routes: refused_routes.get(&client.node_id).cloned().unwrap_or_default(),
                connected: now.checked_sub(client.connected_for).unwrap_or(now),
            };
            Some((client.id, acks))
        });
        acks.collect()
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
}

/// The version of a type that a gateway has. One that refused some resources has all others as soon as it has answered what
/// was sent.
pub(super) fn held(status: &TypeStatus) -> Option<&ResourceVersion> {
    match status.parked.is_empty() {
        true => status.acked.as_ref(),
        false => status.sent.as_ref().filter(|_| status.unanswered_since.is_none()),
    }
}
