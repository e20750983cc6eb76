//! What is sent next, given a snapshot and what other types on the stream allow.

use std::{collections::BTreeSet, sync::Arc, time::SystemTime};

use super::{Cause, Subscription, Waiting, answer::state_id, in_flight::Outstanding};
use crate::{
    resource::{Resource, field_len},
    response::{Response, Variant},
    snapshot::{ResourceMap, Snapshot, changed_names},
    type_url::TypeUrl,
    version::ResourceVersion,
};

/// What a response is made from.
#[derive(Debug)]
pub(crate) struct View<'a> {
    pub(crate) snapshot: &'a Snapshot,
    pub(crate) generation: u64,
    /// False while the client has not answered what this type's resources refer to.
    pub(crate) adds_open: bool,
    /// True while types that refer to this one may be about to be subscribed to.
    pub(crate) opening: bool,
    /// The newest generation at which nothing that the client holds refers to what that generation removed.
    pub(crate) removals_settled: u64,
    /// Where a delta response is split.
    pub(crate) response_bytes_max: usize,
    pub(crate) stream_id: u64,
    pub(crate) response_number: u64,
    pub(crate) now: SystemTime,
}

struct Batch {
    version: ResourceVersion,
    resources: Vec<Arc<Resource>>,
    refreshes: Vec<(TypeUrl, Arc<str>)>,
    removed: Vec<Arc<str>>,
}

/// What is to be said of the whole state.
enum Whole {
    Send(Batch),
    /// The client has it.
    Nothing,
    /// The client refused it, as it would be sent: these resources.
    RefusedBefore(Vec<Arc<Resource>>),
}

impl Subscription {
    /// The next response, or `None` if there is nothing to say now. One is in flight, unless the client does not answer it
    /// and [`overtake`](Self::overtake) was called.
    pub(crate) fn next_response(&mut self, view: &View<'_>) -> Option<Response> {
        self.waiting = None;
        self.blocked = false;
        if !self.in_flight.is_empty() && !self.may_overtake {
            let settled = |generation: &u64| *generation <= view.removals_settled;
            self.blocked = self.is_due() || self.removals.values().any(settled);
            return None;
        }
        self.expand(view.snapshot);
        for (name, generation) in &self.removals {
            if *generation <= view.removals_settled {
                self.due.entry(Arc::clone(name)).or_insert(Cause::Changed);
            }
        }
        // Who is to blame is found out with one response in flight: what another one means depends on the answer.
        let may_try = self.in_flight.is_empty();
        if self.due.is_empty() && !self.reply_due && (!may_try || self.suspects.is_empty()) {
            return None;
        }
        let target = view.snapshot.map(&self.type_url);
        let is_gone = |name: &Arc<str>| self.held.contains_key(name) && !target.contains_key(name);
        if !view.adds_open {
            self.waiting = Some(Waiting::Answer);
            return None;
        }
        if view.opening && self.resumed && self.due.keys().any(is_gone) {
            self.waiting = Some(Waiting::Opening);
            return None;
        }
        let trial = if may_try { self.next_trial(&target) } else { None };
        let batch = match trial {
            trial if self.is_whole_state() => match self.whole_state(&target, trial.is_some(), view) {
                Whole::Send(batch) => Some(batch),
                Whole::Nothing => None,
                Whole::RefusedBefore(resources) => {
                    // The client took all of it but for this part: the part is to blame, without asking again. Where
                    // nothing is known of parts yet, they are tried apart.
                    let blamed = trial.unwrap_or_else(|| self.not_taken(&resources));
                    if blamed.is_empty() {
                        return None;
                    }
                    let message =
                        self.last_nack().map(|nack| nack.message.as_str()).unwrap_or_default().into();
                    self.convict(blamed, &BTreeSet::new(), &message);
                    self.due_all = Some(Cause::Changed);
                    return self.next_response(view);
                }
            },
            Some(group) => Some(self.trial(group, &target, view)),
            None => self.what_differs(&target, view),
        };
        batch.map(|batch| self.send(batch, view))
    }

    /// The next part of a refused response to try again: of what changed since then, nothing.
    fn next_trial(&mut self, target: &ResourceMap) -> Option<Vec<Arc<Resource>>> {
        let (wildcard, names) = (self.wildcard, &self.names);
        self.suspects.next(|suspect| {
            let wanted = wildcard || names.contains(suspect.name());
            wanted && target.get(suspect.name()).is_some_and(|current| **current == *suspect)
        })
    }

    /// A part of a refused response, again. Small enough, as the whole was.
    fn trial(&mut self, resources: Vec<Arc<Resource>>, target: &ResourceMap, view: &View<'_>) -> Batch {
        for resource in &resources {
            self.due.remove(resource.name());
            self.held.insert(Arc::clone(resource.name()), Arc::clone(resource));
        }
        self.share_held(target);
        let refreshes = refreshed(&resources);
        Batch { version: view.snapshot.version(&self.type_url), resources, refreshes, removed: Vec::new() }
    }

    /// Turns "everything is due" into names.
    fn expand(&mut self, snapshot: &Snapshot) {
        let Some(mut cause) = self.due_all.take() else {
            return;
        };
        let target = snapshot.map(&self.type_url);
        let relabelled = std::mem::take(&mut self.relabelled);
        if self.claimed.take().is_some_and(|claimed| claimed == snapshot.version(&self.type_url)) {
            // Subscribed to all, at the version of all: nothing to send ("may skip resend" for wildcards).
            self.held = target.clone();
            self.taken = self.is_whole_state().then_some(target);
            self.reply_due = false;
            return;
        }
        if relabelled && self.is_relabelled(snapshot, &target) {
            cause = cause.max(Cause::Refresh);
        }
        let names: Vec<Arc<str>> = match (self.wildcard, cause) {
            (false, _) => self.names.iter().cloned().collect(),
            (true, Cause::Changed) => changed_names(&self.held, &target).collect(),
            (true, _) => target.keys().chain(self.held.keys()).cloned().collect(),
        };
        for name in names {
            let is_gone = cause == Cause::Answer && !target.contains_key(&name);
            if is_gone && self.held.contains_key(&name) {
                // The removal is sent in its time; should the resource come back before that, it is new to the client.
                self.lose(&name);
            }
            let cause = if is_gone { Cause::Changed } else { cause };
            let due = self.due.entry(name).or_insert(cause);
            *due = cause.max(*due);
        }
    }

    /// In SotW the version belongs to the type: another label is an update even if no resource differs. A client that
    /// wants nothing has nothing that could be relabelled.
    fn is_relabelled(&self, snapshot: &Snapshot, target: &ResourceMap) -> bool {
        let label = snapshot.label(&self.type_url);
        label.is_some()
            && label != self.status.sent.as_ref()
            && match self.wildcard {
                true => changed_names(&self.held, target).next().is_none(),
                false => {
                    !self.names.is_empty()
                        && self.names.iter().all(|name| self.held.get(name) == target.get(name))
                }
            }
    }

    /// Delta, and in SotW the types that may be sent in parts.
    fn what_differs(&mut self, target: &ResourceMap, view: &View<'_>) -> Option<Batch> {
        let delta = self.variant == Variant::Delta;
        let mut resources = Vec::new();
        let mut removed = Vec::new();
        let mut bytes = 0;
        while let Some((name, cause)) = self.due.pop_first() {
            let size = target.get(&name).map_or_else(|| field_len(name.len()), |r| r.delta_len());
            if delta && bytes > 0 && bytes + size > view.response_bytes_max {
                self.due.insert(name, cause);
                break;
            }
            match target.get(&name) {
                Some(resource) => {
                    self.removals.remove(&name);
                    if self.differs(resource, cause) {
                        resources.push(Arc::clone(resource));
                        bytes += size;
                    }
                }
                None if self.is_removed(&name, cause, view) => {
                    self.held.remove(&name);
                    // SotW cannot say that a resource of these types is gone.
                    if delta {
                        removed.push(name);
                        bytes += size;
                    }
                }
                None => {}
            }
        }
        for resource in &resources {
            self.held.insert(Arc::clone(resource.name()), Arc::clone(resource));
        }
        self.suspects.forget(&resources);
        self.share_held(target);
        let owed = delta && std::mem::take(&mut self.reply_due);
        if resources.is_empty() && removed.is_empty() && !owed {
            return None;
        }
        let refreshes = refreshed(&resources);
        Some(Batch { version: view.snapshot.version(&self.type_url), resources, refreshes, removed })
    }

    /// Whether a resource that exists is to be sent. Keeps the books of what is parked.
    fn differs(&mut self, resource: &Arc<Resource>, cause: Cause) -> bool {
        let name = resource.name();
        let parked = self.is_parked(resource);
        if !parked && self.status.parked.remove(name).is_some() {
            self.status_changed = true;
        }
        if cause == Cause::Answer {
            self.status.parked.remove(name);
            return true;
        }
        if !self.wants(name) || parked {
            return false;
        }
        let same = match self.held.get(name) {
            Some(held) if held == resource => {
                if !Arc::ptr_eq(held, resource) {
                    // Lets go of a claim from an earlier stream, or of an older encoding.
                    self.held.insert(Arc::clone(name), Arc::clone(resource));
                }
                true
            }
            _ => false,
        };
        if same && cause == Cause::Changed {
            return false;
        }
        same || !self.park_again(resource)
    }

    /// Whether the client refused this version, and it is still current.
    fn is_parked(&self, resource: &Resource) -> bool {
        self.status.parked.get(resource.name()).is_some_and(|parked| parked.version == *resource.version())
    }

    /// Parks a version that the client refused earlier on this stream and that is current again.
    fn park_again(&mut self, resource: &Resource) -> bool {
        let refused = self.refused.get(resource.name());
        let known = refused.and_then(|refused| refused.iter().find(|r| r.version == *resource.version()));
        let Some(parked) = known.cloned() else {
            return false;
        };
        self.status.parked.insert(Arc::clone(resource.name()), parked);
        if self.has_grown() {
            self.status.acked = None;
        }
        self.status_changed = true;
        true
    }

    /// Whether a resource that does not exist is to be reported now. A removal waits for its referrers.
    fn is_removed(&mut self, name: &Arc<str>, cause: Cause, view: &View<'_>) -> bool {
        if self.status.parked.remove(name).is_some() {
            self.status_changed = true;
        }
        if !self.held.contains_key(name) {
            self.removals.remove(name);
            return cause == Cause::Answer;
        }
        let generation = *self.removals.entry(Arc::clone(name)).or_insert(view.generation);
        let settled = generation <= view.removals_settled || cause == Cause::Answer;
        if settled {
            self.removals.remove(name);
        }
        settled
    }

    /// SotW for Cluster and Listener: "all resources, and what is missing is deleted". What the client refused is served as
    /// it was when the client last took it.
    fn whole_state(&mut self, target: &ResourceMap, trial: bool, view: &View<'_>) -> Whole {
        let answers = self.reply_due || self.due.values().any(|cause| *cause == Cause::Answer);
        let mut changed = answers || trial;
        while let Some((name, cause)) = self.due.pop_first() {
            match target.get(&name) {
                Some(resource) => {
                    self.removals.remove(&name);
                    self.keep_parked_books(resource, cause);
                    let differs = cause != Cause::Changed || self.held.get(&name) != self.served(resource);
                    changed |= differs && self.wants(&name);
                }
                None if self.is_removed(&name, cause, view) => {
                    changed = true;
                    self.held.remove(&name);
                }
                None => {}
            }
        }
        if !changed {
            let version = view.snapshot.version(&self.type_url);
            // What was refused is no longer current, and what is current the client has.
            self.parked_version.take_if(|parked| *parked != version);
            self.share_held(target);
            return Whole::Nothing;
        }
        let current: Vec<&Arc<Resource>> = match self.wildcard {
            true => target.values().collect(),
            false => self.names.iter().filter_map(|name| target.get(name)).collect(),
        };
        // In place of what is withheld stands an older version, or nothing.
        let is_withheld = |resource: &&Arc<Resource>| self.served(resource) != Some(*resource);
        let mut unlike: Vec<_> =
            current.iter().copied().filter(is_withheld).map(|r| (r.name(), self.served(r))).collect();
        let mut resources: Vec<_> = current.iter().filter_map(|r| self.served(r)).cloned().collect();
        let kept: Vec<_> = self.removals.keys().filter_map(|name| self.held.get(name)).cloned().collect();
        unlike.extend(kept.iter().map(|resource| (resource.name(), Some(resource))));
        let version = version_unlike(view.snapshot.version(&self.type_url), &unlike);
        // Clients skip what they have; only what is new to them makes them wait.
        let new = resources.iter().filter(|resource| self.held.get(resource.name()) != Some(resource));
        let refreshes = new.flat_map(|resource| resource.refreshed()).cloned().collect();
        resources.extend(kept);
        if !answers
            && !self.refused_states.is_empty()
            && self.refused_states.contains(&state_id(&version, &resources))
        {
            self.parked_version = Some(version);
            return Whole::RefusedBefore(resources);
        }
        self.reply_due = false;
        self.parked_version = None;
        self.held = resources.iter().map(|r| (Arc::clone(r.name()), Arc::clone(r))).collect();
        self.share_held(target);
        Whole::Send(Batch { version, resources, refreshes, removed: Vec::new() })
    }

    fn keep_parked_books(&mut self, resource: &Resource, cause: Cause) {
        let stale = cause == Cause::Answer || !self.is_parked(resource);
        if stale && self.status.parked.remove(resource.name()).is_some() {
            self.status_changed = true;
        }
        if cause != Cause::Answer && self.wants(resource.name()) {
            self.park_again(resource);
        }
    }

    /// What the whole state holds in the place of a resource: itself, or if the client refused it, alone or in company that
    /// is still to be tried apart, what the client took before.
    fn served<'a>(&'a self, resource: &'a Arc<Resource>) -> Option<&'a Arc<Resource>> {
        match &self.taken {
            Some(taken) if self.is_parked(resource) || self.suspects.contains(resource) => {
                taken.get(resource.name())
            }
            _ => Some(resource),
        }
    }

    /// A client that holds all of the snapshot needs no map of its own.
    fn share_held(&mut self, target: &ResourceMap) {
        let all = self.due.is_empty() && self.removals.is_empty() && self.suspects.is_empty();
        if self.wildcard && all && !self.is_refused() {
            self.held = target.clone();
        }
    }

    fn send(&mut self, batch: Batch, view: &View<'_>) -> Response {
        let Batch { version, resources, refreshes, removed } = batch;
        let nonce = format!("{:x}.{}", view.stream_id, view.response_number);
        self.status.responses += 1;
        self.status.resources_sent += resources.len() as u64;
        self.status.removals_sent += removed.len() as u64;
        self.status.sent = Some(version.clone());
        self.status_changed = true;
        let resources = Arc::new(resources);
        self.put_in_flight(Outstanding {
            nonce: nonce.clone(),
            version: version.clone(),
            resources: Arc::clone(&resources),
            removed: removed.clone(),
            sent: view.now,
            whole: self.is_whole_state().then(|| self.held.clone()),
            completes: (self.due.is_empty() && self.suspects.is_empty()).then_some(view.generation),
            growths: self.growths,
        });
        let (variant, type_url) = (self.variant, self.type_url.clone());
        Response { variant, type_url, version, nonce, resources, refreshes, removed }
    }
}

fn refreshed(resources: &[Arc<Resource>]) -> Vec<(TypeUrl, Arc<str>)> {
    resources.iter().flat_map(|resource| resource.refreshed()).cloned().collect()
}

/// The version of a state that is not the snapshot's, as it holds removed resources or others in the place of refused
/// ones: a version must not name two contents.
fn version_unlike(
    snapshot: ResourceVersion,
    unlike: &[(&Arc<str>, Option<&Arc<Resource>>)],
) -> ResourceVersion {
    if unlike.is_empty() {
        return snapshot;
    }
    let mut text = snapshot.to_string();
    for (name, resource) in unlike {
        text.push('\0');
        text.push_str(name);
        text.push('\0');
        text.push_str(&resource.map(|resource| resource.version().to_string()).unwrap_or_default());
    }
    ResourceVersion::of(text.as_bytes())
}
