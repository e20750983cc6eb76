//! One stream of one client: requests and snapshots in, responses out. Sans-io: no async, no channel, no clock.
//!
//! Types on an aggregated stream are independent ("sub-streams"), except for order. Additions go out in the order of
//! [`TypeUrl`], and what refers to something waits for the answer to it; removals go the other way.

use std::{collections::BTreeMap, sync::Arc, time::SystemTime};

use crate::{
    response::{Response, Variant},
    snapshot::{Changed, NAME_BYTES_MAX, Snapshot},
    status::{Nack, TypeStatus},
    store::Published,
    subscription::{Acknowledged, Subscription, View, Waiting},
    type_url::TypeUrl,
    wire::{DeltaRequest, ErrorDetail, Node, SotwRequest},
};

mod awaited;
#[cfg(test)]
mod convergence;
#[cfg(test)]
mod delta_tests;
#[cfg(test)]
mod fixtures;
#[cfg(test)]
mod model;
#[cfg(test)]
mod order_tests;
#[cfg(test)]
mod pitfalls;
#[cfg(test)]
mod refusal_tests;
#[cfg(test)]
mod scenarios;
#[cfg(test)]
mod sotw_tests;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod unanswered_tests;

use awaited::Awaited;

/// How many types one stream may ask for; Envoy uses about ten.
pub(crate) const TYPES_MAX: usize = 64;
/// The longest type URL, in bytes.
pub(crate) const TYPE_URL_BYTES_MAX: usize = 512;

/// A request of either variant.
#[derive(Clone, Debug)]
pub(crate) enum Request {
    Delta(DeltaRequest),
    Sotw(SotwRequest),
}

impl Request {
    /// Takes the node out: only the first request of a stream is sure to have one.
    pub(crate) fn take_node(&mut self) -> Option<Node> {
        match self {
            Self::Delta(request) => request.node.take(),
            Self::Sotw(request) => request.node.take(),
        }
    }

    fn type_url(&self) -> &str {
        match self {
            Self::Delta(request) => &request.type_url,
            Self::Sotw(request) => &request.type_url,
        }
    }

    fn acknowledgement(&self) -> (&str, Option<&ErrorDetail>) {
        match self {
            Self::Delta(request) => (&request.response_nonce, request.error_detail.as_ref()),
            Self::Sotw(request) => (&request.response_nonce, request.error_detail.as_ref()),
        }
    }

    /// SotW: the version that the client holds.
    fn version(&self) -> Option<&str> {
        match self {
            Self::Delta(_) => None,
            Self::Sotw(request) => Some(&request.version_info),
        }
    }

    /// The names that the request makes the server remember, each once: a client that reconnects says of what it subscribes
    /// to which versions it has.
    fn names(&self) -> impl Iterator<Item = &String> {
        let (names, versions) = match self {
            Self::Delta(request) => {
                (&request.resource_names_subscribe, Some(&request.initial_resource_versions))
            }
            Self::Sotw(request) => (&request.resource_names, None),
        };
        let subscribed = names.iter().filter(move |name| versions.is_none_or(|it| !it.contains_key(*name)));
        subscribed.chain(versions.into_iter().flat_map(|versions| versions.keys()))
    }
}

/// A request that ends its stream.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum RequestError {
    #[error("type_url is required on an aggregated stream")]
    NoTypeUrl,
    #[error("type_url is {got}, but this service serves {served}")]
    OtherTypeUrl { got: String, served: TypeUrl },
    #[error(
        "more than {TYPES_MAX} types on one stream, or a type_url of more than {TYPE_URL_BYTES_MAX} bytes"
    )]
    TooManyTypes,
    #[error("a resource name is longer than {NAME_BYTES_MAX} bytes")]
    NameTooLong,
    #[error("more than {max} resource names on one stream")]
    TooManyNames { max: usize },
}

/// Limits of one stream.
#[derive(Clone, Copy, Debug)]
pub(crate) struct StreamLimits {
    pub(crate) names_max: usize,
    pub(crate) response_bytes_max: usize,
}

/// The state of one stream.
#[derive(Debug)]
pub(crate) struct AdsStream {
    id: u64,
    only: Option<TypeUrl>,
    limits: StreamLimits,
    subscriptions: BTreeMap<TypeUrl, Subscription>,
    published: Option<(u64, Arc<Snapshot>)>,
    awaited: Awaited,
    /// No type has been waited for yet that might refer to what a reconnected client should drop.
    opening: bool,
    /// Additions up to this generation go out although the client has not answered what they refer to.
    released: u64,
    responses: u64,
}

impl AdsStream {
    /// A stream for all types, or for `only` one. `id` makes nonces differ from those of other streams.
    pub(crate) fn new(id: u64, only: Option<TypeUrl>, limits: StreamLimits) -> Self {
        Self {
            id,
            only,
            limits,
            subscriptions: BTreeMap::new(),
            published: None,
            awaited: Awaited::default(),
            opening: true,
            released: 0,
            responses: 0,
        }
    }

    /// Applies a request. Responses follow from [`next_response`](Self::next_response).
    pub(crate) fn on_request(
        &mut self,
        request: Request,
        now: SystemTime,
    ) -> Result<(TypeUrl, Acknowledged), RequestError> {
        let type_url = self.type_of(&request)?;
        self.check_names(&type_url, &request)?;
        let generation = self.generation();
        let variant = match request {
            Request::Delta(_) => Variant::Delta,
            Request::Sotw(_) => Variant::Sotw,
        };
        let subscription = self
            .subscriptions
            .entry(type_url.clone())
            .or_insert_with(|| Subscription::new(type_url.clone(), variant));
        let (nonce, error) = request.acknowledgement();
        let acknowledged = subscription.acknowledge(nonce, request.version(), error, now);
        self.awaited.asked(&type_url, request.names());
        match request {
            Request::Delta(request) => subscription.subscribe_delta(request, generation),
            Request::Sotw(request) => subscription.subscribe_sotw(request, generation),
        }
        if subscription.is_wildcard() {
            self.awaited.asked_for_all(&type_url);
        }
        Ok((type_url, acknowledged))
    }

    fn type_of(&self, request: &Request) -> Result<TypeUrl, RequestError> {
        let text = request.type_url();
        let type_url = match &self.only {
            Some(only) if text.is_empty() || text == only.as_str() => return Ok(only.clone()),
            Some(only) => {
                let got = text.chars().take(TYPE_URL_BYTES_MAX).collect();
                return Err(RequestError::OtherTypeUrl { got, served: only.clone() });
            }
            None if text.is_empty() => return Err(RequestError::NoTypeUrl),
            None => TypeUrl::from(text),
        };
        let full = self.subscriptions.len() >= TYPES_MAX && !self.subscriptions.contains_key(&type_url);
        if full || text.len() > TYPE_URL_BYTES_MAX {
            return Err(RequestError::TooManyTypes);
        }
        Ok(type_url)
    }

    fn check_names(&self, type_url: &TypeUrl, request: &Request) -> Result<(), RequestError> {
        let mut count = 0;
        for name in request.names() {
            if name.len() > NAME_BYTES_MAX {
                return Err(RequestError::NameTooLong);
            }
            count += 1;
        }
        if count == 0 {
            return Ok(());
        }
        // A SotW request replaces the names of its type, a delta request adds to them.
        let replaced = matches!(request, Request::Sotw(_)).then_some(type_url);
        let kept = self.subscriptions.iter().filter(|(other, _)| Some(*other) != replaced);
        let total = count + kept.map(|(_, subscription)| subscription.names_len()).sum::<usize>();
        match self.limits.names_max {
            max if total > max => Err(RequestError::TooManyNames { max }),
            _ => Ok(()),
        }
    }

    /// Takes note of the snapshot that is served now.
    pub(crate) fn on_published(&mut self, published: &Published) {
        let behind = self.published.as_ref().map(|(generation, _)| published.since(*generation));
        let generation = published.generation;
        match behind {
            Some(Some(history)) => {
                for (type_url, changed) in history.iter().flat_map(|changes| changes.iter()) {
                    if let Some(subscription) = self.subscriptions.get_mut(type_url) {
                        subscription.on_changed(changed, generation);
                    }
                }
            }
            // Too far behind: compare everything, labels too.
            Some(None) => {
                for subscription in self.subscriptions.values_mut() {
                    subscription.on_changed(&Changed::Label, generation);
                }
            }
            // The first one: what was requested is due already, and goes out in order like all else.
            None => self.subscriptions.values_mut().for_each(|held| held.on_first(generation)),
        }
        self.published = Some((generation, Arc::clone(&published.snapshot)));
    }

    /// Whether requests wait for the first snapshot.
    pub(crate) fn is_held(&self) -> bool {
        self.published.is_none() && !self.subscriptions.is_empty()
    }

    fn generation(&self) -> u64 {
        self.published.as_ref().map_or(0, |(generation, _)| *generation)
    }

    /// The next response to send, in make-before-break order; `None` if there is nothing to say for now.
    pub(crate) fn next_response(&mut self, now: SystemTime) -> Option<Response> {
        let (generation, snapshot) = self.published.clone()?;
        let types: Vec<TypeUrl> = self.subscriptions.keys().cloned().collect();
        loop {
            let complete = self.complete();
            for type_url in &types {
                if let Some(response) = self.response_of(type_url, &snapshot, generation, now) {
                    return Some(response);
                }
            }
            for subscription in self.subscriptions.values_mut() {
                subscription.settle(&snapshot, generation);
            }
            // A type that turned out to need nothing may be what an earlier one waited for.
            if self.complete() == complete {
                return None;
            }
        }
    }

    fn complete(&self) -> usize {
        self.subscriptions.values().filter(|subscription| subscription.is_complete()).count()
    }

    fn response_of(
        &mut self,
        type_url: &TypeUrl,
        snapshot: &Snapshot,
        generation: u64,
        now: SystemTime,
    ) -> Option<Response> {
        let view = View {
            snapshot,
            generation,
            adds_open: self.adds_open(type_url, generation),
            opening: self.is_opening(type_url),
            removals_settled: self.removals_settled(type_url, generation),
            response_bytes_max: self.limits.response_bytes_max,
            stream_id: self.id,
            response_number: self.responses + 1,
            now,
        };
        let response = self.subscriptions.get_mut(type_url)?.next_response(&view)?;
        self.responses += 1;
        self.refresh(&response, generation);
        Some(response)
    }

    /// "A management server should send EDS updates for a Cluster after sending its CDS update", changed or not.
    fn refresh(&mut self, response: &Response, generation: u64) {
        for (type_url, name) in &response.refreshes {
            let subscribed = self
                .subscriptions
                .get_mut(type_url)
                .is_some_and(|subscription| subscription.on_refresh(name, generation));
            // A stream for one type will not be asked for another.
            if !subscribed && self.only.is_none() {
                self.awaited.insert(type_url, name);
            }
        }
    }

    /// Whether the client has answered (and asked for) all that changes of this type may refer to.
    fn adds_open(&self, type_url: &TypeUrl, generation: u64) -> bool {
        let Some(subscription) = self.subscriptions.get(type_url) else {
            return true;
        };
        let changed = subscription.changed_generation();
        if type_url.waits_for().is_empty() || changed <= self.released {
            return true;
        }
        let answered = type_url
            .waits_for()
            .iter()
            .filter_map(|other| self.subscriptions.get(other))
            .all(|other| other.answered_generation(generation) >= changed);
        answered && !type_url.waits_for().iter().any(|other| self.awaited.contains(other))
    }

    /// The newest generation of which the client has ACKed all that may refer to this type.
    fn removals_settled(&self, type_url: &TypeUrl, generation: u64) -> u64 {
        type_url
            .referrers()
            .iter()
            .filter_map(|other| self.subscriptions.get(other))
            .map(|other| other.acked_generation(generation))
            .min()
            .unwrap_or(generation)
    }

    /// Whether a type may yet be subscribed to that refers to this one.
    fn is_opening(&self, type_url: &TypeUrl) -> bool {
        let referrers = type_url.referrers();
        let subscribed = |other: &TypeUrl| self.subscriptions.contains_key(other);
        self.opening && self.only.is_none() && !referrers.is_empty() && !referrers.iter().any(subscribed)
    }

    /// What keeps back something that is due. A caller with a clock ends that with [`release`](Self::release), so that
    /// a client which never answers one type is served the others.
    pub(crate) fn waiting(&self) -> Option<Waiting> {
        self.subscriptions.values().filter_map(Subscription::waiting).min()
    }

    /// Stops waiting for what was waited for so far.
    pub(crate) fn release(&mut self) {
        self.released = self.generation();
        self.awaited.clear();
        self.opening = false;
    }

    /// A number that changes whenever the client was sent more that makes it ask for others; `None` if it asked for everything, or may not
    /// have read it yet. A caller with a clock ends that with [`give_up_awaited`](Self::give_up_awaited): some clients
    /// ask for Clusters and never for their endpoints.
    pub(crate) fn awaited_growths(&self) -> Option<u64> {
        let answered = self.subscriptions.values().all(|subscription| subscription.unanswered() == 0);
        self.awaited.growths().filter(|_| answered)
    }

    /// Expects the client to ask no more.
    pub(crate) fn give_up_awaited(&mut self) {
        self.awaited.clear();
    }

    /// How many responses of a type the client has not answered.
    pub(crate) fn unanswered(&self, type_url: &TypeUrl) -> usize {
        self.subscriptions.get(type_url).map_or(0, Subscription::unanswered)
    }

    /// Whether something newer of a type waits only for the answer to the last response.
    pub(crate) fn is_blocked(&self, type_url: &TypeUrl) -> bool {
        self.subscriptions.get(type_url).is_some_and(Subscription::is_blocked)
    }

    /// Permits one response of a type although the client has not answered the last one. A caller with a clock does that.
    pub(crate) fn overtake(&mut self, type_url: &TypeUrl) {
        if let Some(subscription) = self.subscriptions.get_mut(type_url) {
            subscription.overtake();
        }
    }

    /// The status of each type that changed since this was last called.
    pub(crate) fn take_statuses(&mut self) -> impl Iterator<Item = (&TypeUrl, TypeStatus)> {
        self.subscriptions
            .iter_mut()
            .filter_map(|(type_url, subscription)| Some((type_url, subscription.take_status()?)))
    }

    /// The last NACK of a type.
    pub(crate) fn last_nack(&self, type_url: &TypeUrl) -> Option<&Nack> {
        self.subscriptions.get(type_url)?.last_nack()
    }
}
