//! One type on one stream: what the client wants, what it holds, what it was sent and what it said to that.
//!
//! Pure state without I/O or clock. The rules of requests stand in `request`, those of ACK and
//! NACK in `answer`, those of responses in `respond`.
//! Quotations are from the [xDS protocol](https://www.envoyproxy.io/docs/envoy/latest/api-docs/xds_protocol).

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use crate::{
    response::Variant,
    snapshot::{Changed, ResourceMap, Snapshot},
    status::{Nack, Parked, TypeStatus},
    type_url::TypeUrl,
    version::ResourceVersion,
};

mod answer;
mod in_flight;
mod request;
mod respond;
mod suspects;

use in_flight::InFlight;
pub(crate) use respond::View;
use suspects::Suspects;

/// Why a name is to be looked at; the strongest reason counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Cause {
    /// It may have changed: send it if the client's version differs.
    Changed,
    /// Send it although unchanged, as the client waits for it anew.
    Refresh,
    /// The client asked: it must be told, even that it does not exist.
    Answer,
}

/// What keeps back a response that is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Waiting {
    /// The client reconnected and is about to say which of its types refer to what is gone.
    Opening,
    /// The client has not answered what the response refers to.
    Answer,
}

/// What became of the nonce in a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Acknowledged {
    /// There was none.
    Nothing,
    Ack,
    Nack,
    /// Not the nonce of a response in flight.
    Stale,
}

#[derive(Debug)]
pub(crate) struct Subscription {
    type_url: TypeUrl,
    variant: Variant,
    started: bool,
    /// The client brought versions from an earlier stream.
    resumed: bool,
    wildcard: bool,
    /// SotW: no request has named anything so far, so empty lists mean all.
    legacy_wildcard: bool,
    names: BTreeSet<Arc<str>>,
    /// What the client was last sent (or says that it holds), by name. Shares its nodes with the snapshot's map
    /// wherever the client subscribes to all.
    held: ResourceMap,
    due: BTreeMap<Arc<str>, Cause>,
    /// Everything subscribed to is due for this reason.
    due_all: Option<Cause>,
    /// SotW: the label of the type changed, and nothing else did.
    relabelled: bool,
    /// A response is owed even if it is empty.
    reply_due: bool,
    /// SotW: the version that the client brought from an earlier stream.
    claimed: Option<ResourceVersion>,
    /// Removals held back until their referrers are gone, with the generation that removed them.
    removals: BTreeMap<Arc<str>, u64>,
    in_flight: InFlight,
    /// The next response need not wait for the answer to the last one.
    may_overtake: bool,
    /// Something newer is due, and waits for that answer.
    blocked: bool,
    /// SotW for Cluster and Listener: what the client surely holds, as it ACKed it. None if it holds what an earlier
    /// stream sent: then nothing is known to go back to.
    taken: Option<ResourceMap>,
    /// What was refused in company and is being tried again in smaller parts.
    suspects: Suspects,
    parked_version: Option<ResourceVersion>,
    refused: BTreeMap<Arc<str>, Vec<Parked>>,
    /// SotW for Cluster and Listener: whole states that were refused, by `state_id`.
    refused_states: Vec<ResourceVersion>,
    waiting: Option<Waiting>,
    /// How often names were subscribed to.
    growths: u64,
    /// How often when the client last held all that it wanted.
    growths_held: u64,
    changed_generation: u64,
    answered_generation: u64,
    acked_generation: u64,
    status: TypeStatus,
    status_changed: bool,
}

impl Subscription {
    pub(crate) fn new(type_url: TypeUrl, variant: Variant) -> Self {
        Self {
            type_url,
            variant,
            started: false,
            resumed: false,
            wildcard: false,
            legacy_wildcard: true,
            names: BTreeSet::new(),
            held: ResourceMap::default(),
            due: BTreeMap::new(),
            due_all: None,
            relabelled: false,
            reply_due: false,
            claimed: None,
            removals: BTreeMap::new(),
            in_flight: InFlight::default(),
            may_overtake: false,
            blocked: false,
            taken: None,
            suspects: Suspects::default(),
            parked_version: None,
            refused: BTreeMap::new(),
            refused_states: Vec::new(),
            waiting: None,
            growths: 0,
            growths_held: 0,
            changed_generation: 0,
            answered_generation: 0,
            acked_generation: 0,
            status: TypeStatus::default(),
            status_changed: true,
        }
    }

    pub(crate) fn wants(&self, name: &str) -> bool {
        self.wildcard || self.names.contains(name)
    }

    pub(crate) fn is_wildcard(&self) -> bool {
        self.wildcard
    }

    pub(crate) fn names_len(&self) -> usize {
        self.names.len()
    }

    /// Whether something waits for the client or for us.
    pub(crate) fn is_pending(&self) -> bool {
        !self.in_flight.is_empty() || self.is_due() || !self.suspects.is_empty()
    }

    /// Whether there may be something to send, but for what is to be tried again.
    fn is_due(&self) -> bool {
        !self.due.is_empty() || self.due_all.is_some() || self.reply_due
    }

    /// What keeps back what is due.
    pub(crate) fn waiting(&self) -> Option<Waiting> {
        self.waiting
    }

    /// The newest generation at which something changed for this client.
    pub(crate) fn changed_generation(&self) -> u64 {
        self.changed_generation
    }

    /// The newest generation of which the client has answered everything, by ACK or NACK.
    pub(crate) fn answered_generation(&self, now: u64) -> u64 {
        if self.is_pending() { self.answered_generation } else { now }
    }

    /// The newest generation of which the client has ACKed everything.
    pub(crate) fn acked_generation(&self, now: u64) -> u64 {
        if self.is_complete() { now } else { self.acked_generation }
    }

    /// Whether the client holds all that it wants and has refused none of it.
    pub(crate) fn is_complete(&self) -> bool {
        !self.is_pending() && !self.is_refused() && self.removals.is_empty()
    }

    /// Whether names were subscribed to since the client last held all that it wanted: then what it ACKed is no longer all of
    /// its version.
    fn has_grown(&self) -> bool {
        self.growths != self.growths_held
    }

    fn is_refused(&self) -> bool {
        !self.status.parked.is_empty() || self.parked_version.is_some()
    }

    /// Takes note of the first snapshot, which requests have waited for.
    pub(crate) fn on_first(&mut self, generation: u64) {
        if self.is_pending() {
            self.changed_generation = generation;
        }
    }

    /// Takes note of what a new snapshot changed.
    pub(crate) fn on_changed(&mut self, changed: &Changed, generation: u64) {
        match changed {
            Changed::Unknown => self.all_due(Cause::Changed, generation),
            Changed::Label => {
                self.relabelled = self.variant == Variant::Sotw;
                self.all_due(Cause::Changed, generation);
            }
            Changed::Names(names) => {
                for name in names {
                    if self.wants(name) || self.held.contains_key(name) {
                        self.name_due(Arc::clone(name), Cause::Changed, generation);
                    }
                }
            }
        }
    }

    /// Sends a name again if the client has subscribed to it. False if it has not.
    pub(crate) fn on_refresh(&mut self, name: &Arc<str>, generation: u64) -> bool {
        let wanted = self.wants(name);
        if wanted {
            self.name_due(Arc::clone(name), Cause::Refresh, generation);
        }
        wanted
    }

    fn name_due(&mut self, name: Arc<str>, cause: Cause, generation: u64) {
        let due = self.due.entry(name).or_insert(cause);
        *due = cause.max(*due);
        self.changed_generation = generation;
    }

    fn all_due(&mut self, cause: Cause, generation: u64) {
        self.due_all = self.due_all.max(Some(cause));
        self.changed_generation = generation;
    }

    fn is_whole_state(&self) -> bool {
        self.variant == Variant::Sotw && self.type_url.is_full_state()
    }

    /// Brings the status up to date once nothing is left to send for now.
    pub(crate) fn settle(&mut self, snapshot: &Snapshot, generation: u64) {
        if !self.started || !self.is_complete() {
            return;
        }
        self.answered_generation = generation;
        self.acked_generation = generation;
        self.growths_held = self.growths;
        let version = snapshot.version(&self.type_url);
        if self.status.acked.as_ref() != Some(&version) {
            self.status.acked = Some(version);
            self.status_changed = true;
        }
    }

    /// The status, if it changed since it was last taken.
    pub(crate) fn take_status(&mut self) -> Option<TypeStatus> {
        if !std::mem::take(&mut self.status_changed) {
            return None;
        }
        self.status.wildcard = self.wildcard;
        self.status.subscribed = self.names.len();
        Some(self.status.clone())
    }

    pub(crate) fn last_nack(&self) -> Option<&Nack> {
        self.status.last_nack.as_ref()
    }

    #[cfg(test)]
    pub(crate) fn held(&self) -> &ResourceMap {
        &self.held
    }

    #[cfg(test)]
    pub(crate) fn status(&self) -> &TypeStatus {
        &self.status
    }
}
