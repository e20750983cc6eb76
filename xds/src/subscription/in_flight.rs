//! Responses that the client has not answered. Mostly that is one; there are more if a client does not answer and was
//! sent what is newer all the same.

use std::{
    collections::{BTreeSet, VecDeque},
    sync::Arc,
    time::SystemTime,
};

use super::{Cause, Subscription};
use crate::{resource::Resource, snapshot::ResourceMap, version::ResourceVersion};

/// How many unanswered responses of a type are remembered, so that a client which never answers costs no memory without
/// bound.
pub(super) const IN_FLIGHT_MAX: usize = 4;

#[derive(Debug)]
pub(super) struct Outstanding {
    pub(super) nonce: String,
    pub(super) version: ResourceVersion,
    pub(super) resources: Arc<Vec<Arc<Resource>>>,
    pub(super) removed: Vec<Arc<str>>,
    /// SotW for Cluster and Listener: what the client holds once it ACKs this.
    pub(super) whole: Option<ResourceMap>,
    /// The generation that the client holds completely once it ACKs this.
    pub(super) completes: Option<u64>,
    /// How often the subscription had grown.
    pub(super) growths: u64,
    pub(super) sent: SystemTime,
}

impl Outstanding {
    /// All that it says anything of, removals included.
    fn names(&self) -> BTreeSet<Arc<str>> {
        let resources = self.resources.iter().map(|resource| Arc::clone(resource.name()));
        resources.chain(self.removed.iter().cloned()).collect()
    }
}

/// A response that the client answered.
#[derive(Debug)]
pub(super) struct Answered {
    pub(super) outstanding: Outstanding,
    /// The newest of those before it, if the client never answered that.
    pub(super) skipped: Option<Outstanding>,
}

/// The responses in flight, oldest first. A client reads them in this order.
#[derive(Debug, Default)]
pub(super) struct InFlight {
    responses: VecDeque<Outstanding>,
    /// What older ones said something of that are not remembered any more.
    forgotten: BTreeSet<Arc<str>>,
}

impl InFlight {
    pub(super) fn is_empty(&self) -> bool {
        self.responses.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.responses.len()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Outstanding> {
        self.responses.iter()
    }

    /// The client will not hold everything even if it ACKs all of these.
    pub(super) fn complete_nothing(&mut self) {
        for outstanding in &mut self.responses {
            outstanding.completes = None;
        }
    }

    /// The names of all resources in flight.
    pub(super) fn resource_names(&self) -> BTreeSet<Arc<str>> {
        let resources = self.iter().flat_map(|outstanding| outstanding.resources.iter());
        resources.map(|resource| Arc::clone(resource.name())).collect()
    }

    /// All that the responses in flight say anything of, removals included.
    pub(super) fn names(&self) -> BTreeSet<Arc<str>> {
        self.iter().flat_map(Outstanding::names).collect()
    }
}

impl Subscription {
    /// Permits one response although the client has not answered the last one.
    pub(crate) fn overtake(&mut self) {
        self.may_overtake = !self.in_flight.is_empty();
    }

    /// Whether something newer is due and waits only for the answer to what is in flight.
    pub(crate) fn is_blocked(&self) -> bool {
        self.blocked
    }

    /// How many responses the client has not answered.
    pub(crate) fn unanswered(&self) -> usize {
        self.in_flight.len()
    }

    /// Takes the response with this nonce, and gives up those before it: a client that answers in order answers them no
    /// more. Envoy does that in SotW.
    pub(super) fn take_answered(&mut self, nonce: &str) -> Option<Answered> {
        let older = self.in_flight.iter().position(|outstanding| outstanding.nonce == nonce)?;
        let mut skipped = None;
        for _ in 0..older {
            let oldest = self.in_flight.responses.pop_front()?;
            self.skip(oldest.names());
            skipped = Some(oldest);
        }
        let forgotten = std::mem::take(&mut self.in_flight.forgotten);
        self.skip(forgotten);
        let outstanding = self.in_flight.responses.pop_front()?;
        self.may_overtake &= !self.in_flight.is_empty();
        self.status.unanswered_since = self.in_flight.responses.front().map(|oldest| oldest.sent);
        Some(Answered { outstanding, skipped })
    }

    /// Takes note of a response that was sent.
    pub(super) fn put_in_flight(&mut self, outstanding: Outstanding) {
        self.may_overtake = false;
        self.status.unanswered_since.get_or_insert(outstanding.sent);
        self.in_flight.responses.push_back(outstanding);
        if self.in_flight.len() > IN_FLIGHT_MAX
            && let Some(oldest) = self.in_flight.responses.pop_front()
        {
            self.in_flight.forgotten.extend(oldest.names());
        }
    }

    /// No answer is waited for any longer to a response that said something of these. What the client made of it is unknown,
    /// so what no newer response says anything of is sent again.
    fn skip(&mut self, names: BTreeSet<Arc<str>>) {
        // A whole state says all there is to say, whatever came before it. Nearly always nothing is skipped at all.
        if self.is_whole_state() || names.is_empty() {
            return;
        }
        let newer = self.in_flight.names();
        let is_lost =
            |name: &Arc<str>| (self.held.contains_key(name) || self.wants(name)) && !newer.contains(name);
        let names: Vec<_> = names.into_iter().filter(is_lost).collect();
        if names.is_empty() {
            return;
        }
        for name in names {
            self.lose(&name);
            self.due.entry(name).or_insert(Cause::Changed);
        }
        self.in_flight.complete_nothing();
    }
}
