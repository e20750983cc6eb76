//! One type on one stream: what the client wants, what it holds, what it was sent and what it said to that.
//!
//! Pure state without I/O or clock. The rules of requests stand in `request`, those of responses in `respond`.
//! Quotations are from the [xDS protocol](https://www.envoyproxy.io/docs/envoy/latest/api-docs/xds_protocol).

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::SystemTime,
};

use crate::{
    resource::Resource,
    response::Variant,
    snapshot::{Changed, ResourceMap, Snapshot},
    status::{NACK_MESSAGE_BYTES_MAX, NACK_RESOURCES_MAX, Nack, Parked, TypeStatus},
    type_url::TypeUrl,
    version::ResourceVersion,
    wire::ErrorDetail,
};

mod request;
mod respond;
mod suspects;

pub(crate) use respond::View;
use suspects::Suspects;

/// How many refused versions of one resource, and of one whole type in SotW, are remembered.
const REFUSED_VERSIONS_MAX: usize = 4;
/// For how many resources refused versions are remembered.
const REFUSED_NAMES_MAX: usize = 1024;
/// Responses with more resources than this are not searched for the names that a NACK's text mentions.
const NACK_SEARCHED_MAX: usize = 1024;

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
    /// Not the nonce of the response in flight.
    Stale,
}

#[derive(Debug)]
struct Outstanding {
    nonce: String,
    version: ResourceVersion,
    resources: Arc<Vec<Arc<Resource>>>,
    /// SotW for Cluster and Listener: what the client holds once it ACKs this.
    whole: Option<ResourceMap>,
    /// The generation that the client holds completely once it ACKs this.
    completes: Option<u64>,
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
    /// A response is owed even if it is empty.
    reply_due: bool,
    /// SotW: the version that the client brought from an earlier stream.
    claimed: Option<ResourceVersion>,
    /// Removals held back until their referrers are gone, with the generation that removed them.
    removals: BTreeMap<Arc<str>, u64>,
    outstanding: Option<Outstanding>,
    /// SotW for Cluster and Listener: what the client surely holds, as it ACKed it. None if it holds what an earlier
    /// stream sent: then nothing is known to go back to.
    taken: Option<ResourceMap>,
    /// What was refused in company and is being tried again in smaller parts.
    suspects: Suspects,
    parked_version: Option<ResourceVersion>,
    refused: BTreeMap<Arc<str>, Vec<Parked>>,
    refused_versions: Vec<ResourceVersion>,
    waiting: Option<Waiting>,
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
            reply_due: false,
            claimed: None,
            removals: BTreeMap::new(),
            outstanding: None,
            taken: None,
            suspects: Suspects::default(),
            parked_version: None,
            refused: BTreeMap::new(),
            refused_versions: Vec::new(),
            waiting: None,
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
        self.outstanding.is_some()
            || !self.due.is_empty()
            || self.due_all.is_some()
            || self.reply_due
            || !self.suspects.is_empty()
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

    fn is_refused(&self) -> bool {
        !self.status.parked.is_empty() || self.parked_version.is_some()
    }

    /// Takes note of what a new snapshot changed.
    pub(crate) fn on_changed(&mut self, changed: &Changed, generation: u64) {
        match changed {
            Changed::Unknown => self.all_due(Cause::Changed, generation),
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

    /// Applies the ACK or NACK in a request. "ACK or NACK is determined by the absence or presence of `error_detail`."
    pub(crate) fn acknowledge(
        &mut self,
        nonce: &str,
        error: Option<&ErrorDetail>,
        now: SystemTime,
    ) -> Acknowledged {
        if nonce.is_empty() {
            return Acknowledged::Nothing;
        }
        // A stale nonce says nothing about the response in flight; what it subscribes to counts all the same.
        let Some(outstanding) = self.outstanding.take_if(|outstanding| outstanding.nonce == nonce) else {
            return Acknowledged::Stale;
        };
        self.status_changed = true;
        if let Some(generation) = outstanding.completes {
            self.answered_generation = generation;
        }
        if let Some(error) = error {
            self.park(&outstanding, error, now);
            return Acknowledged::Nack;
        }
        self.status.acks += 1;
        self.suspects.end_if_empty();
        if outstanding.whole.is_some() {
            self.taken = outstanding.whole;
        }
        if let Some(generation) = outstanding.completes
            && !self.is_refused()
            && self.removals.is_empty()
        {
            self.acked_generation = generation;
            self.status.acked = Some(outstanding.version);
        }
        Acknowledged::Ack
    }

    /// A refused version of a resource is never sent again on this stream; the next different one is. Where several may be
    /// to blame, they are tried apart.
    fn park(&mut self, outstanding: &Outstanding, error: &ErrorDetail, now: SystemTime) {
        let message: Arc<str> = cut(&error.message, NACK_MESSAGE_BYTES_MAX).into();
        let blamed = self.blamed(outstanding);
        let named = named(&blamed, &message);
        self.status.nacks += 1;
        self.status.last_nack = Some(Nack {
            version: outstanding.version.clone(),
            nonce: outstanding.nonce.clone(),
            message: message.to_string(),
            when: now,
            resources: match named.len() {
                0 => blamed.iter().take(NACK_RESOURCES_MAX).map(|r| Arc::clone(r.name())).collect(),
                _ => named.iter().take(NACK_RESOURCES_MAX).cloned().collect(),
            },
        });
        // The subscription grew within one version, so what was ACKed is no longer all of it.
        self.status.acked.take_if(|acked| *acked == outstanding.version);
        if self.is_whole_state() {
            remember(&mut self.refused_versions, &outstanding.version);
            let Some(taken) = self.taken.clone().filter(|_| !blamed.is_empty()) else {
                self.parked_version = Some(outstanding.version.clone());
                self.park_all(blamed, &message);
                return;
            };
            // What else was in the response was refused with it, and is sent again with what the client had before.
            self.held = taken;
            self.due_all = self.due_all.max(Some(Cause::Changed));
        }
        let convicted = self.suspects.accuse(blamed, |resource| named.contains(resource.name()));
        for resource in &convicted {
            if self.refused.len() < REFUSED_NAMES_MAX || self.refused.contains_key(resource.name()) {
                let parked = Parked { version: resource.version().clone(), message: Arc::clone(&message) };
                remember(self.refused.entry(Arc::clone(resource.name())).or_default(), &parked);
            }
        }
        self.park_all(convicted, &message);
    }

    fn park_all(&mut self, resources: Vec<Arc<Resource>>, message: &Arc<str>) {
        self.status.parked.extend(resources.into_iter().map(|resource| {
            let parked = Parked { version: resource.version().clone(), message: Arc::clone(message) };
            (Arc::clone(resource.name()), parked)
        }));
    }

    /// The resources of a refused response that may be the reason: where it is the whole state, those that the client has
    /// not taken before.
    fn blamed(&self, outstanding: &Outstanding) -> Vec<Arc<Resource>> {
        let resources = outstanding.resources.iter();
        match &self.taken {
            Some(taken) if self.is_whole_state() => {
                resources.filter(|r| taken.get(r.name()) != Some(*r)).cloned().collect()
            }
            _ => resources.cloned().collect(),
        }
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

fn remember<T: Clone + PartialEq>(refused: &mut Vec<T>, new: &T) {
    if !refused.contains(new) {
        if refused.len() == REFUSED_VERSIONS_MAX {
            refused.remove(0);
        }
        refused.push(new.clone());
    }
}

/// The names of resources that the text of a NACK holds, as Envoy's does for Cluster and Listener.
fn named(resources: &[Arc<Resource>], message: &str) -> BTreeSet<Arc<str>> {
    match resources.len() {
        0 | 1 => BTreeSet::new(),
        len if len > NACK_SEARCHED_MAX => BTreeSet::new(),
        _ => resources.iter().map(|r| r.name()).filter(|name| mentions(message, name)).cloned().collect(),
    }
}

/// Whether the text holds the name as a word of its own.
fn mentions(text: &str, name: &str) -> bool {
    let in_name = |c: char| c.is_alphanumeric() || matches!(c, '-' | '_' | '/' | '.');
    text.match_indices(name).any(|(at, _)| {
        let before = text[..at].chars().next_back();
        let mut after = text[at + name.len()..].chars();
        // A full stop after the name ends the sentence, unless the name goes on.
        let ends = match after.next() {
            Some('.') => !after.next().is_some_and(in_name),
            Some(c) => !in_name(c),
            None => true,
        };
        ends && !before.is_some_and(in_name)
    })
}

fn cut(text: &str, bytes_max: usize) -> &str {
    if text.len() <= bytes_max {
        return text;
    }
    let end = (0..=bytes_max).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
    &text[..end]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_nack_names_its_resources_as_words() {
        let text = "Error adding/updating listener(s) web/443: no such filter. Also api.";
        assert!(mentions(text, "web/443"));
        assert!(mentions(text, "api"));
        for other in ["web", "443", "eb/443", "web/44", "x"] {
            assert!(!mentions(text, other), "{other}");
        }
    }

    #[test]
    fn texts_are_cut_between_characters() {
        assert_eq!(cut("añb", 2), "a");
        assert_eq!(cut("añb", 3), "añ");
        assert_eq!(cut("ab", 9), "ab");
    }
}
