//! What requests change: subscriptions in both variants. Responses follow from that in `respond`.

use std::{collections::BTreeSet, sync::Arc};

use super::{Cause, Subscription};
use crate::{
    resource::Resource,
    snapshot::ResourceMap,
    version::ResourceVersion,
    wire::{DeltaRequest, SotwRequest},
};

/// Subscribes to all resources of a type.
const WILDCARD: &str = "*";

impl Subscription {
    /// Applies the subscription part of a delta request. It counts whatever the nonce is: the server "must honor
    /// changes to the subscription state even if the nonce is stale".
    pub(crate) fn subscribe_delta(&mut self, request: DeltaRequest, generation: u64) {
        let first = !std::mem::replace(&mut self.started, true);
        if first {
            self.resumed = !request.initial_resource_versions.is_empty();
            self.held = self.claimed_map(request.initial_resource_versions);
        }
        let subscribe = request.resource_names_subscribe;
        let unsubscribe = request.resource_names_unsubscribe;
        // "the client's first request for the type has both lists empty": the legacy wildcard, in the first only.
        let legacy = first && subscribe.is_empty() && unsubscribe.is_empty();
        for name in &unsubscribe {
            self.unsubscribe(name, generation);
        }
        if legacy || subscribe.iter().any(|name| name == WILDCARD) {
            // A repeated `*` is from a client that dropped what it had: everything is sent again.
            let cause = if self.wildcard { Cause::Answer } else { Cause::Changed };
            self.wildcard = true;
            self.growths += 1;
            // "empty, but sent": the client can end its initialisation.
            self.reply_due = true;
            self.all_due(cause, generation);
            self.answer_in_flight(generation);
        }
        for name in subscribe.into_iter().filter(|name| name != WILDCARD) {
            let name: Arc<str> = name.into();
            // All entries are answered even if the client has them, except that a client which brings versions from
            // an earlier stream needs only what differs.
            let cause = match self.held.get(&name) {
                Some(_) if first => Cause::Changed,
                _ => Cause::Answer,
            };
            self.names.insert(Arc::clone(&name));
            self.name_due(name, cause, generation);
            self.growths += 1;
        }
        if first && !self.wildcard {
            // Versions in the map are no subscriptions.
            self.keep_named_only();
        }
        self.status_changed = true;
    }

    /// A name that was dropped while a response with it is on its way: a client that has subscribed to all by the time
    /// it reads that response will keep the resource, so it must be told what becomes of it.
    fn answer_in_flight(&mut self, generation: u64) {
        for name in self.in_flight.resource_names() {
            if !self.held.contains_key(&name) {
                self.name_due(name, Cause::Answer, generation);
            }
        }
    }

    fn claimed_map(&self, versions: impl IntoIterator<Item = (String, String)>) -> ResourceMap {
        let claim = |(name, version): (String, String)| {
            let name: Arc<str> = name.into();
            let version = ResourceVersion::from(version.as_str());
            let resource = Resource::claimed(self.type_url.clone(), Arc::clone(&name), version);
            (name, Arc::new(resource))
        };
        versions.into_iter().map(claim).collect()
    }

    fn unsubscribe(&mut self, name: &str, generation: u64) {
        if name == WILDCARD {
            self.wildcard = false;
            self.reply_due = false;
            self.keep_named_only();
            return;
        }
        let Some(name) = self.names.take(name) else {
            return;
        };
        if self.wildcard {
            // The client cannot know whether the wildcard covers the name: it must be told.
            self.name_due(name, Cause::Answer, generation);
        } else {
            self.forget(&name);
        }
    }

    /// Forgets a name that the client has dropped.
    fn forget(&mut self, name: &str) {
        self.held.remove(name);
        if let Some(taken) = &mut self.taken {
            taken.remove(name);
        }
        self.due.remove(name);
        self.removals.remove(name);
        if self.status.parked.remove(name).is_some() {
            self.is_incomplete_after_all();
        }
    }

    /// A client that drops what it refused, and asks for it again while a response is on its way, does not hold everything
    /// when it ACKs that.
    fn is_incomplete_after_all(&mut self) {
        self.in_flight.complete_nothing();
    }

    fn keep_named_only(&mut self) {
        let names = &self.names;
        self.held = only(names, &self.held);
        self.taken = self.taken.as_ref().map(|taken| only(names, taken));
        self.due.retain(|name, _| names.contains(name));
        self.removals.retain(|name, _| names.contains(name));
        let parked = self.status.parked.len();
        self.status.parked.retain(|name, _| names.contains(name));
        if self.status.parked.len() < parked {
            self.is_incomplete_after_all();
        }
    }

    /// Applies the subscription part of a SotW request, which lists everything that is subscribed to: "new
    /// DiscoveryRequests supersede any prior ones".
    pub(crate) fn subscribe_sotw(&mut self, request: SotwRequest, generation: u64) {
        let first = !std::mem::replace(&mut self.started, true);
        if first && request.version_info.is_empty() {
            // It holds nothing yet.
            self.taken = Some(ResourceMap::default());
        }
        self.legacy_wildcard &= request.resource_names.is_empty();
        let wildcard = self.legacy_wildcard || request.resource_names.iter().any(|name| name == WILDCARD);
        let was_wildcard = std::mem::replace(&mut self.wildcard, wildcard);
        // The empty name names nothing: clients send it alone to end a subscription, as an empty list might be a wildcard.
        let is_name = |name: &String| name != WILDCARD && !name.is_empty();
        let names: BTreeSet<Arc<str>> =
            request.resource_names.into_iter().filter(is_name).map(Arc::from).collect();
        let dropped: Vec<_> = self.names.difference(&names).cloned().collect();
        let added: Vec<_> = names.difference(&self.names).cloned().collect();
        self.status_changed |= first || was_wildcard != wildcard || !dropped.is_empty() || !added.is_empty();
        self.names = names;
        if was_wildcard && !wildcard {
            self.keep_named_only();
        }
        if !wildcard {
            dropped.iter().for_each(|name| self.forget(name));
        }
        // "if the subscription grows, the server must send the newly named", even if unchanged.
        for name in added {
            self.name_due(name, Cause::Answer, generation);
            self.growths += 1;
        }
        if wildcard && !was_wildcard {
            self.growths += 1;
            // Only a client that has never named anything surely had the whole state at that version.
            if first && self.legacy_wildcard && self.is_whole_state() && !request.version_info.is_empty() {
                self.claimed = Some(ResourceVersion::from(request.version_info.as_str()));
            }
            self.all_due(Cause::Changed, generation);
        }
        // The whole state is owed to the first request, even if it is empty.
        self.reply_due |= self.is_whole_state() && (first || (wildcard && !was_wildcard));
    }
}

/// The part of the map with these names.
fn only(names: &BTreeSet<Arc<str>>, map: &ResourceMap) -> ResourceMap {
    names.iter().filter_map(|name| Some((Arc::clone(name), Arc::clone(map.get(name)?)))).collect()
}
