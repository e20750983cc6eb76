//! A client by the book, to hold the server's state machine against: it keeps what it ACKed, by type and name, and
//! complains about responses without a cause.

use std::collections::{BTreeSet, VecDeque};

use super::{fixtures::LIMITS, *};
use crate::{store::SnapshotStore, version::ResourceVersion};

const NOW: SystemTime = SystemTime::UNIX_EPOCH;

/// Name and version of what was received.
pub(super) type View = BTreeMap<Arc<str>, ResourceVersion>;

#[derive(Default)]
pub(super) struct TypeModel {
    pub(super) view: View,
    pub(super) wildcard: bool,
    pub(super) names: BTreeSet<Arc<str>>,
    /// SotW: the nonce and version that requests repeat.
    nonce: String,
    version: String,
    /// Refused on this stream, `None` for a refused removal: all that the client may lack or have too much.
    pub(super) refused: BTreeSet<(Arc<str>, Option<ResourceVersion>)>,
    /// SotW: whole states that were refused on this stream.
    refused_versions: BTreeSet<ResourceVersion>,
    /// Something was refused on this stream.
    refused_any: bool,
    /// Refused without company: must not come again on this stream unless asked for.
    refused_alone: BTreeSet<(Arc<str>, ResourceVersion)>,
    /// The server does not know of these yet, by nonce.
    refusals_on_their_way: BTreeMap<String, (Arc<str>, ResourceVersion)>,
    /// What was last sent on this stream, to find repetitions.
    last_sent: BTreeMap<Arc<str>, Option<ResourceVersion>>,
    /// Names that may be repeated: asked for, or refreshed with their cluster.
    repeatable: BTreeSet<Arc<str>>,
    repeatable_all: bool,
    /// Refused in company: may come again to find out which is to blame.
    suspected: BTreeSet<Arc<str>>,
    /// SotW: the last request that the server read had a `*`.
    starred: bool,
}

impl TypeModel {
    pub(super) fn wants(&self, name: &str) -> bool {
        self.wildcard || self.names.contains(name)
    }

    fn keep_wanted(&mut self) {
        let (wildcard, names) = (self.wildcard, &self.names);
        self.view.retain(|name, _| wildcard || names.contains(name));
    }
}

pub(super) struct Model {
    variant: Variant,
    pub(super) store: SnapshotStore,
    pub(super) stream: AdsStream,
    streams: u64,
    pub(super) types: BTreeMap<TypeUrl, TypeModel>,
    to_server: VecDeque<Request>,
    to_client: VecDeque<Response>,
    /// The client refuses every response with one of these, as a whole.
    pub(super) bad: BTreeSet<ResourceVersion>,
    /// It says which ones.
    pub(super) names_the_bad: bool,
    /// Types of which one response may be sent before the last one is answered.
    may_overtake: BTreeSet<TypeUrl>,
}

impl Model {
    pub(super) fn new(variant: Variant) -> Self {
        Self {
            variant,
            store: SnapshotStore::new(),
            stream: AdsStream::new(0, None, LIMITS),
            streams: 0,
            types: BTreeMap::new(),
            to_server: VecDeque::new(),
            to_client: VecDeque::new(),
            bad: BTreeSet::new(),
            names_the_bad: false,
            may_overtake: BTreeSet::new(),
        }
    }

    pub(super) fn publish(&mut self, snapshot: Snapshot) {
        if self.variant == Variant::Sotw {
            // What is gone and comes back is sent again, although SotW could not say that it was gone.
            for (type_url, typed) in &mut self.types {
                typed.last_sent.retain(|name, _| snapshot.get(type_url, name).is_some());
            }
        }
        if self.store.publish(snapshot) {
            self.stream.on_published(&self.store.published().unwrap());
        }
    }

    /// Changes the subscription of a type: unsubscribes, then subscribes, `*` included.
    pub(super) fn subscribe(&mut self, type_url: &TypeUrl, add: &[Arc<str>], remove: &[Arc<str>]) {
        let first = !self.types.contains_key(type_url);
        let typed = self.types.entry(type_url.clone()).or_default();
        // In SotW a name that is dropped and added at once was never dropped, as far as the server can see.
        let sotw = self.variant == Variant::Sotw;
        for name in remove.iter().filter(|name| !sotw || !add.contains(name)) {
            match &**name {
                "*" => typed.wildcard = false,
                _ => drop(typed.names.remove(name)),
            }
        }
        if !sotw {
            typed.keep_wanted();
        }
        let again = typed.wildcard && add.iter().any(|name| &**name == "*");
        for name in add {
            match &**name {
                "*" => typed.wildcard = true,
                _ => drop(typed.names.insert(Arc::clone(name))),
            }
        }
        if first && add.is_empty() && remove.is_empty() {
            typed.wildcard = true;
        }
        typed.keep_wanted();
        if self.variant == Variant::Delta {
            // RemoveThenAdd: what is subscribed to again had been dropped.
            for name in add {
                typed.view.remove(name);
            }
            if again {
                typed.view.clear();
            }
            let strings = |names: &[Arc<str>]| names.iter().map(|name| name.to_string()).collect();
            self.to_server.push_back(Request::Delta(DeltaRequest {
                type_url: type_url.as_str().to_owned(),
                resource_names_subscribe: strings(add),
                resource_names_unsubscribe: strings(remove),
                ..Default::default()
            }));
        } else {
            let request = self.sotw_request(type_url, None);
            self.to_server.push_back(request);
        }
    }

    fn sotw_request(&self, type_url: &TypeUrl, error: Option<&str>) -> Request {
        let typed = &self.types[type_url];
        let star = typed.wildcard.then(|| "*".to_owned());
        Request::Sotw(SotwRequest {
            type_url: type_url.as_str().to_owned(),
            // Neither `*` nor a name would be the legacy wildcard in a first request: an empty name is neither.
            resource_names: match star.into_iter().chain(typed.names.iter().map(|n| n.to_string())).collect()
            {
                names if Vec::is_empty(&names) => vec![String::new()],
                names => names,
            },
            version_info: typed.version.clone(),
            response_nonce: typed.nonce.clone(),
            error_detail: error.map(|message| ErrorDetail { code: 3, message: message.to_owned() }),
            ..Default::default()
        })
    }

    /// The server reads one request.
    pub(super) fn server_reads(&mut self) {
        let Some(request) = self.to_server.pop_front() else {
            return;
        };
        let type_url = TypeUrl::from(request.type_url());
        let typed = self.types.get_mut(&type_url).expect("only known types are requested");
        let (nonce, error) = request.acknowledgement();
        if error.is_some() {
            typed.refused_alone.extend(typed.refusals_on_their_way.remove(nonce));
        }
        match &request {
            Request::Delta(request) => {
                let named =
                    request.resource_names_subscribe.iter().chain(&request.resource_names_unsubscribe);
                for name in named {
                    typed.repeatable_all |= name == "*";
                    typed.repeatable.insert(name.as_str().into());
                }
            }
            Request::Sotw(request) => {
                typed.repeatable.extend(request.resource_names.iter().map(|name| Arc::from(name.as_str())));
                let starred = request.resource_names.iter().any(|name| name == "*");
                typed.repeatable_all |= starred && !std::mem::replace(&mut typed.starred, starred);
                typed.starred = starred;
            }
        }
        self.stream.on_request(request, NOW).expect("requests are within limits");
    }

    /// The server sends one response, if it has one. False if it has none.
    pub(super) fn server_sends(&mut self) -> bool {
        let Some(response) = self.stream.next_response(NOW) else {
            return false;
        };
        self.check_cause(&response);
        if response.type_url == TypeUrl::Cluster
            && let Some(endpoints) = self.types.get_mut(&TypeUrl::Endpoint)
        {
            endpoints.repeatable.extend(response.refreshes.iter().map(|(_, name)| Arc::clone(name)));
        }
        self.to_client.push_back(response);
        true
    }

    /// The caller's clock runs out for an answer to a type.
    pub(super) fn overtake(&mut self, type_url: &TypeUrl) {
        if self.stream.unanswered(type_url) > 0 {
            self.stream.overtake(type_url);
            self.may_overtake.insert(type_url.clone());
        }
    }

    fn check_cause(&mut self, response: &Response) {
        let in_flight = self.stream.unanswered(&response.type_url) - 1;
        let may_overtake = self.may_overtake.remove(&response.type_url);
        assert!(in_flight == 0 || may_overtake, "one response of a type is in flight");
        let names: BTreeSet<_> =
            response.resources.iter().map(|r| r.name()).chain(&response.removed).collect();
        assert_eq!(names.len(), response.resources.len() + response.removed.len(), "no name twice");
        let typed = self.types.get_mut(&response.type_url).expect("only requested types are sent");
        let whole = self.variant == Variant::Sotw && response.type_url.is_full_state();
        for resource in response.resources.iter() {
            let (name, version) = (resource.name(), resource.version());
            let asked = typed.repeatable.remove(name) || typed.repeatable_all;
            if !whole && !asked {
                assert_ne!(
                    typed.last_sent.get(name),
                    Some(&Some(version.clone())),
                    "{name} was sent already"
                );
                let refused = (Arc::clone(name), version.clone());
                assert!(!typed.refused_alone.contains(&refused), "{name} at {version} was refused");
            }
            typed.last_sent.insert(Arc::clone(name), Some(version.clone()));
        }
        for name in &response.removed {
            let asked = typed.repeatable.remove(name) || typed.repeatable_all;
            assert!(asked || typed.last_sent.get(name) != Some(&None), "{name} was removed already");
            typed.last_sent.insert(Arc::clone(name), None);
        }
        // A part of what was refused in company comes first, whatever was asked for since.
        let is_trial = response.resources.iter().all(|r| typed.suspected.contains(r.name()));
        typed.repeatable_all &= is_trial && !response.resources.is_empty();
    }

    /// The client reads one response and ACKs or NACKs it. False if there is none.
    pub(super) fn client_reads(&mut self, refuse: bool) -> bool {
        let Some(response) = self.to_client.pop_front() else {
            return false;
        };
        let bad = response.resources.iter().filter(|r| self.bad.contains(r.version()));
        let bad: Vec<String> = bad.map(|resource| resource.name().to_string()).collect();
        let refuse = refuse || !bad.is_empty();
        let message =
            if self.names_the_bad { format!("refused: {}", bad.join(", ")) } else { "refused".to_owned() };
        let type_url = response.type_url.clone();
        let whole = self.variant == Variant::Sotw && type_url.is_full_state();
        let typed = self.types.get_mut(&type_url).expect("only requested types are sent");
        typed.nonce = response.nonce.clone();
        if refuse {
            Self::refuse(typed, &response, whole);
        } else {
            typed.version = response.version.to_string();
            if whole {
                typed.view.clear();
            }
            for resource in response.resources.iter().filter(|r| typed.wants(r.name())).collect::<Vec<_>>() {
                typed.view.insert(Arc::clone(resource.name()), resource.version().clone());
            }
            for name in &response.removed {
                typed.view.remove(name);
            }
        }
        let request = match self.variant {
            Variant::Delta => Request::Delta(DeltaRequest {
                type_url: type_url.as_str().to_owned(),
                response_nonce: response.nonce,
                error_detail: refuse.then(|| ErrorDetail { code: 3, message: message.clone() }),
                ..Default::default()
            }),
            Variant::Sotw => self.sotw_request(&type_url, refuse.then_some(message.as_str())),
        };
        self.to_server.push_back(request);
        true
    }

    fn refuse(typed: &mut TypeModel, response: &Response, whole: bool) {
        typed.refused_any = true;
        for resource in response.resources.iter() {
            typed.refused.insert((Arc::clone(resource.name()), Some(resource.version().clone())));
            if response.resources.len() > 1 {
                // To find out which of them is to blame.
                typed.repeatable.insert(Arc::clone(resource.name()));
                typed.suspected.insert(Arc::clone(resource.name()));
            }
        }
        if let ([only], false) = (response.resources.as_slice(), whole) {
            let refusal = (Arc::clone(only.name()), only.version().clone());
            typed.refusals_on_their_way.insert(response.nonce.clone(), refusal);
        }
        if whole {
            typed.refused_versions.insert(response.version.clone());
            let gone: Vec<_> = typed.view.keys().cloned().collect();
            typed.refused.extend(gone.into_iter().map(|name| (name, None)));
        }
        typed.refused.extend(response.removed.iter().map(|name| (Arc::clone(name), None)));
    }

    /// A new stream, on which the client subscribes to what it wants and says what it has.
    pub(super) fn reconnect(&mut self) {
        self.streams += 1;
        self.stream = AdsStream::new(self.streams, None, LIMITS);
        if let Some(published) = self.store.published() {
            self.stream.on_published(&published);
        }
        self.to_server.clear();
        self.to_client.clear();
        self.may_overtake.clear();
        let types: Vec<TypeUrl> = self.types.keys().cloned().collect();
        for type_url in types {
            let typed = self.types.get_mut(&type_url).expect("listed");
            typed.keep_wanted();
            let old = std::mem::take(typed);
            *typed = TypeModel {
                view: old.view,
                wildcard: old.wildcard,
                names: old.names,
                version: old.version,
                ..TypeModel::default()
            };
            let request = match self.variant {
                Variant::Sotw => self.sotw_request(&type_url, None),
                Variant::Delta => {
                    let star = typed.wildcard.then(|| "*".to_owned());
                    let names = star.into_iter().chain(typed.names.iter().map(|name| name.to_string()));
                    // Somebody who wants nothing must not start the legacy wildcard.
                    let nothing = !typed.wildcard && typed.names.is_empty();
                    Request::Delta(DeltaRequest {
                        type_url: type_url.as_str().to_owned(),
                        resource_names_subscribe: names.collect(),
                        resource_names_unsubscribe: nothing.then(String::new).into_iter().collect(),
                        initial_resource_versions: typed
                            .view
                            .iter()
                            .map(|(name, version)| (name.to_string(), version.to_string()))
                            .collect(),
                        ..Default::default()
                    })
                }
            };
            self.to_server.push_back(request);
        }
    }

    /// Lets everything arrive and be ACKed. Ends only if both sides fall silent.
    pub(super) fn drain(&mut self) {
        for _ in 0..1000 {
            while !self.to_server.is_empty() {
                self.server_reads();
            }
            let sent = self.server_sends();
            let read = self.client_reads(false);
            if !sent && !read && self.to_server.is_empty() {
                if self.stream.waiting().is_none() {
                    return;
                }
                self.stream.release();
            }
        }
        panic!("server and client do not come to rest");
    }

    /// The client holds what it wants of the snapshot, but for what it refused.
    pub(super) fn check_converged(&mut self) {
        let Some(snapshot) = self.store.load() else {
            assert!(self.types.values().all(|typed| typed.view.is_empty()), "no snapshot, no answer");
            return;
        };
        for (type_url, typed) in &self.types {
            if typed.refused_versions.contains(&snapshot.version(type_url)) {
                continue;
            }
            // What a refused resource may refer to is not removed.
            let refused_referrer = type_url
                .referrers()
                .iter()
                .filter_map(|other| self.types.get(other))
                .any(|other| other.refused_any);
            for resource in snapshot.resources(type_url).filter(|r| typed.wants(r.name())) {
                let (name, version) = (resource.name(), resource.version());
                let refused = typed.refused.contains(&(Arc::clone(name), Some(version.clone())));
                assert!(
                    refused || typed.view.get(name) == Some(version),
                    "{type_url} {name} should be at {version}, is at {:?}",
                    typed.view.get(name)
                );
            }
            // SotW cannot say that a resource of a type in parts is gone.
            let tells = self.variant == Variant::Delta || type_url.is_full_state();
            for name in typed.view.keys().filter(|_| tells) {
                let refused = typed.refused.contains(&(Arc::clone(name), None));
                let kept = refused || refused_referrer;
                assert!(kept || snapshot.get(type_url, name).is_some(), "{type_url} {name} should be gone");
                assert!(typed.wants(name), "{type_url} {name} is not wanted");
            }
            let acked = self.stream.subscriptions[type_url].status().acked.clone();
            let up_to_date = acked == Some(snapshot.version(type_url));
            assert!(
                up_to_date || typed.refused_any || refused_referrer,
                "{type_url} should be acked, is {acked:?}"
            );
        }
    }

    /// The client holds everything that it wants and does not refuse; the server says what it refused.
    pub(super) fn check_only_the_bad_are_missing(&self) {
        let Some(snapshot) = self.store.load() else {
            return;
        };
        for (type_url, typed) in &self.types {
            let parked = &self.stream.subscriptions[type_url].status().parked;
            for resource in snapshot.resources(type_url).filter(|r| typed.wants(r.name())) {
                let (name, version) = (resource.name(), resource.version());
                if self.bad.contains(version) {
                    assert_eq!(
                        parked.get(name).map(|parked| &parked.version),
                        Some(version),
                        "{type_url} {name}"
                    );
                } else {
                    assert_eq!(typed.view.get(name), Some(version), "{type_url} {name} is held up");
                    assert!(!parked.contains_key(name), "{type_url} {name} was never refused alone");
                }
            }
        }
    }

    /// If the server says that the client has ACKed the current version, the client does hold it.
    pub(super) fn check_acked_is_true(&self) {
        let Some(snapshot) = self.store.load() else {
            return;
        };
        // With something on the way the two may differ in what is wanted.
        if !self.to_server.is_empty() || !self.to_client.is_empty() {
            return;
        }
        for (type_url, typed) in &self.types {
            let Some(subscription) = self.stream.subscriptions.get(type_url) else {
                continue;
            };
            if subscription.status().acked.as_ref() != Some(&snapshot.version(type_url))
                || subscription.is_pending()
            {
                continue;
            }
            for resource in snapshot.resources(type_url).filter(|r| typed.wants(r.name())) {
                assert_eq!(typed.view.get(resource.name()), Some(resource.version()), "{type_url}");
            }
        }
    }
}
