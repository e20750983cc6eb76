//! What the client says to a response: ACK or NACK, and who is to blame for a NACK.

use std::{borrow::Cow, collections::BTreeSet, sync::Arc, time::SystemTime};

use super::{
    Acknowledged, Cause, Subscription,
    in_flight::{Answered, Outstanding},
};
use crate::{
    resource::Resource,
    status::{NACK_MESSAGE_BYTES_MAX, NACK_RESOURCES_MAX, Nack, Parked},
    version::ResourceVersion,
    wire::ErrorDetail,
};

/// How many refused versions of one resource, and of whole states, are remembered.
const REFUSED_VERSIONS_MAX: usize = 4;
/// For how many resources refused versions are remembered.
const REFUSED_NAMES_MAX: usize = 1024;
/// Stands in a NACK's text for what was cut out of it.
const CUT_MARK: &str = " [...] ";
/// Responses with more resources than this are not searched for the names that a NACK's text mentions.
const NACK_SEARCHED_MAX: usize = 1024;

impl Subscription {
    /// Applies the ACK or NACK in a request. "ACK or NACK is determined by the absence or presence of `error_detail`."
    pub(crate) fn acknowledge(
        &mut self,
        nonce: &str,
        version: Option<&str>,
        error: Option<&ErrorDetail>,
        now: SystemTime,
    ) -> Acknowledged {
        if nonce.is_empty() {
            return Acknowledged::Nothing;
        }
        // A stale nonce says nothing about the responses in flight; what it subscribes to counts all the same.
        let Some(Answered { outstanding, skipped }) = self.take_answered(nonce) else {
            return Acknowledged::Stale;
        };
        self.status_changed = true;
        if let Some(generation) = outstanding.completes {
            self.answered_generation = generation;
        }
        match (error, skipped) {
            (Some(error), Some(skipped)) if is_about(&skipped, &outstanding, version) => {
                self.note_nack(&skipped, &skipped.resources, error, now);
                self.take_note_of_ack(outstanding);
                Acknowledged::Nack
            }
            (Some(error), skipped) => {
                self.park(&outstanding, error, now);
                // The client may have taken a whole state that it did not answer; what it should hold is told by the next.
                self.reply_due |= skipped.is_some() && self.is_whole_state();
                Acknowledged::Nack
            }
            (None, _) => {
                self.take_note_of_ack(outstanding);
                Acknowledged::Ack
            }
        }
    }

    fn take_note_of_ack(&mut self, outstanding: Outstanding) {
        self.status.acks += 1;
        self.suspects.end_if_empty();
        if let Some(mut whole) = outstanding.whole {
            // It may hold what was refused in company before, as the client held nothing then to go back to.
            self.status.parked.retain(|name, parked| {
                whole.get(name).is_none_or(|resource| *resource.version() != parked.version)
            });
            if !self.wildcard {
                whole = whole.into_iter().filter(|(name, _)| self.names.contains(name)).collect();
            }
            self.taken = Some(whole);
        }
        if let Some(generation) = outstanding.completes
            && !self.is_refused()
            && self.removals.is_empty()
        {
            self.acked_generation = generation;
            // What was subscribed to while the response was on its way is not in it.
            if outstanding.growths == self.growths {
                self.status.acked = Some(outstanding.version);
                self.growths_held = self.growths;
            }
        }
    }

    /// A refused version of a resource is never sent again on this stream; the next different one is. Where several may be
    /// to blame, they are tried apart.
    fn park(&mut self, outstanding: &Outstanding, error: &ErrorDetail, now: SystemTime) {
        let blamed = self.blamed(outstanding);
        let (named, message) = self.note_nack(outstanding, &blamed, error, now);
        let grown = self.has_grown();
        self.status.acked.take_if(|acked| grown || *acked == outstanding.version);
        if self.is_whole_state() {
            if !self.in_flight.is_empty() {
                // The newer state that is on its way has all that this one had, and will be answered for itself.
                return;
            }
            let Some(taken) = self.taken.clone().filter(|_| !blamed.is_empty()) else {
                self.parked_version = Some(outstanding.version.clone());
                self.park_all(blamed, &message);
                return;
            };
            // What else was in the response was refused with it, and is sent again with what the client had before.
            self.held = taken;
            self.due_all = self.due_all.max(Some(Cause::Changed));
            self.convict(blamed, &named, &message);
            return;
        }
        // What a newer response that is on its way says again is answered with that.
        let newer = self.in_flight.names();
        let (retold, blamed): (Vec<_>, Vec<_>) =
            blamed.into_iter().partition(|resource| newer.contains(resource.name()));
        // Whether the client took some of it is unknown.
        blamed.iter().for_each(|resource| self.lose(resource.name()));
        self.in_flight.complete_nothing();
        if retold.is_empty() {
            self.convict(blamed, &named, &message);
        } else if !blamed.is_empty() {
            let (convicted, rest): (Vec<_>, Vec<_>) =
                blamed.into_iter().partition(|resource| named.contains(resource.name()));
            self.suspects.try_again(rest);
            self.convict(convicted, &named, &message);
        }
    }

    /// Puts a NACK into the status; what its text blames, and the text.
    fn note_nack(
        &mut self,
        refused: &Outstanding,
        blamed: &[Arc<Resource>],
        error: &ErrorDetail,
        now: SystemTime,
    ) -> (BTreeSet<Arc<str>>, Arc<str>) {
        let message: Arc<str> = cut(&error.message, NACK_MESSAGE_BYTES_MAX).as_ref().into();
        let named = named(blamed, &message);
        self.status.nacks += 1;
        self.status.last_nack = Some(Nack {
            version: refused.version.clone(),
            nonce: refused.nonce.clone(),
            message: message.to_string(),
            when: now,
            resources: match named.len() {
                0 => blamed.iter().take(NACK_RESOURCES_MAX).map(|r| Arc::clone(r.name())).collect(),
                _ => named.iter().take(NACK_RESOURCES_MAX).cloned().collect(),
            },
        });
        if self.is_whole_state() {
            remember(&mut self.refused_states, &state_id(&refused.version, &refused.resources));
        }
        (named, message)
    }

    /// The client may hold any version of this resource, or none.
    pub(super) fn lose(&mut self, name: &Arc<str>) {
        let unknown = ResourceVersion::from("");
        let lost = Resource::claimed(self.type_url.clone(), Arc::clone(name), unknown);
        self.held.insert(Arc::clone(name), Arc::new(lost));
    }

    /// Parks those of a refused response that are surely to blame, and puts the others to the trial.
    pub(super) fn convict(
        &mut self,
        blamed: Vec<Arc<Resource>>,
        named: &BTreeSet<Arc<str>>,
        message: &Arc<str>,
    ) {
        let convicted = self.suspects.accuse(blamed, |resource| named.contains(resource.name()));
        for resource in &convicted {
            if self.refused.len() < REFUSED_NAMES_MAX || self.refused.contains_key(resource.name()) {
                let parked = Parked { version: resource.version().clone(), message: Arc::clone(message) };
                remember(self.refused.entry(Arc::clone(resource.name())).or_default(), &parked);
            }
        }
        self.park_all(convicted, message);
    }

    fn park_all(&mut self, resources: Vec<Arc<Resource>>, message: &Arc<str>) {
        self.status.parked.extend(resources.into_iter().map(|resource| {
            let parked = Parked { version: resource.version().clone(), message: Arc::clone(message) };
            (Arc::clone(resource.name()), parked)
        }));
    }

    /// The resources of a refused response that may be the reason.
    fn blamed(&self, outstanding: &Outstanding) -> Vec<Arc<Resource>> {
        match &self.taken {
            Some(_) if self.is_whole_state() => self.not_taken(&outstanding.resources),
            _ => outstanding.resources.to_vec(),
        }
    }

    /// Those of a whole state that the client has not taken before; none if it is unknown what it took.
    pub(super) fn not_taken(&self, resources: &[Arc<Resource>]) -> Vec<Arc<Resource>> {
        let Some(taken) = &self.taken else {
            return Vec::new();
        };
        resources.iter().filter(|r| taken.get(r.name()) != Some(*r)).cloned().collect()
    }
}

/// Whether an error is about a response that was skipped, and not about the one that the nonce is of. Envoy in SotW
/// keeps the text of a refusal that it could not send, and puts it into the answer to the next response although it took
/// that: the version is then the new one's, where a NACK repeats the one before.
fn is_about(skipped: &Outstanding, answered: &Outstanding, version: Option<&str>) -> bool {
    let claimed = version.map(ResourceVersion::from);
    claimed.as_ref() == Some(&answered.version) && skipped.version != answered.version
}

fn remember<T: Clone + PartialEq>(refused: &mut Vec<T>, new: &T) {
    if !refused.contains(new) {
        if refused.len() == REFUSED_VERSIONS_MAX {
            refused.remove(0);
        }
        refused.push(new.clone());
    }
}

/// The resources that the text of a NACK blames. Envoy's texts are `Error adding/updating cluster(s) a: why, b: why`, and
/// where a field has a forbidden value the whole resource as protobuf's text, its name first, and then why. Both may go
/// on to mention other resources, which are not to blame: the first name counts, and each that a colon follows.
fn named(resources: &[Arc<Resource>], message: &str) -> BTreeSet<Arc<str>> {
    if resources.len() < 2 || resources.len() > NACK_SEARCHED_MAX {
        return BTreeSet::new();
    }
    let mut names = BTreeSet::new();
    let mut first: Option<(usize, &Arc<str>)> = None;
    for name in resources.iter().map(|resource| resource.name()) {
        for at in mentions(message, name) {
            if message[at + name.len()..].starts_with(':') {
                names.insert(Arc::clone(name));
            }
            if first.is_none_or(|(earliest, _)| at < earliest) {
                first = Some((at, name));
            }
        }
    }
    names.extend(first.map(|(_, name)| Arc::clone(name)));
    names
}

/// Tells a whole state from others at the same version: what it holds depends on what is subscribed to.
pub(super) fn state_id(version: &ResourceVersion, resources: &[Arc<Resource>]) -> ResourceVersion {
    let mut text = version.to_string();
    for resource in resources {
        text.push('\0');
        text.push_str(resource.name());
        text.push('\0');
        text.push_str(&resource.version().to_string());
    }
    ResourceVersion::of(text.as_bytes())
}

/// Where the text holds the name as a word of its own.
fn mentions<'a>(text: &'a str, name: &'a str) -> impl Iterator<Item = usize> + 'a {
    let in_name = |c: char| c.is_alphanumeric() || matches!(c, '-' | '_' | '/' | '.' | '+' | '~');
    text.match_indices(name).map(|(at, _)| at).filter(move |&at| {
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

/// The text without its middle if it is longer: Envoy's may hold a whole resource, and says why at the end.
fn cut(text: &str, bytes_max: usize) -> Cow<'_, str> {
    if text.len() <= bytes_max {
        return text.into();
    }
    let half = bytes_max.saturating_sub(CUT_MARK.len()) / 2;
    let head = &text[..text.floor_char_boundary(half)];
    let tail = &text[text.ceil_char_boundary(text.len() - half)..];
    format!("{head}{CUT_MARK}{tail}").into()
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::type_url::TypeUrl;

    #[test]
    fn a_nack_names_its_resources_as_words() {
        let text = "Error adding/updating listener(s) web/443: no such filter. Also api.";
        let is_mentioned = |name| mentions(text, name).next().is_some();
        assert!(is_mentioned("web/443"));
        assert!(is_mentioned("api"));
        for other in ["web", "443", "eb/443", "web/44", "x"] {
            assert!(!is_mentioned(other), "{other}");
        }
        for joined in ["cluster(s) east+west/443: bad", "cluster(s) west/443~2: bad"] {
            assert!(mentions(joined, "west/443").next().is_none(), "{joined}");
        }
    }

    #[test]
    fn names_that_a_nack_only_mentions_are_not_blamed() {
        let resources: Vec<_> = ["api", "db", "web"]
            .map(|name| {
                Arc::new(Resource::from_encoded(TypeUrl::VirtualHost, name, Bytes::from_static(&[8, 1])))
            })
            .into();
        let blamed = |text| named(&resources, text).iter().map(|name| name.to_string()).collect::<Vec<_>>();
        // As Envoy 1.36 and 1.40 word them.
        let forbidden = "goo.gle/debugproto  \nname: \"web\"\ntype: EDS\neds_cluster_config {\n  service_name: \"api\"\n}\n\
            : Proto constraint validation failed (ClusterValidationError.CommonLbConfig: embedded message failed)";
        assert_eq!(blamed(forbidden), ["web"]);
        assert_eq!(blamed("Error adding/updating cluster(s) web: unknown cluster 'db'"), ["web"]);
        assert_eq!(blamed("Error adding/updating cluster(s) web: bad, api: worse"), ["api", "web"]);
        assert!(blamed("I do not like it").is_empty());
    }

    #[test]
    fn texts_are_cut_in_the_middle_between_characters() {
        assert_eq!(cut("ab", 9), "ab");
        let text = format!("name: ñ{}ñ because", "x".repeat(100));
        for bytes_max in 20..60 {
            let cut = cut(&text, bytes_max);
            assert!(cut.len() <= bytes_max && cut.starts_with("name: ") && cut.ends_with("ecause"), "{cut}");
        }
    }
}
