//! The entries that send our zones' queries to xcc, in kube-dns' `stubDomains`: a JSON object from domains to lists of
//! name servers. Pure: values in, values out.
//!
//! JSON has no room for markers, so annotations on the ConfigMap remember which entries are ours. The text is edited,
//! not written anew: what others put there, its order and its spaces stay.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::ops::Range;

use xcc_model::ZoneName;

/// The parts of kube-dns' ConfigMap that matter here.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StubDomains {
    /// The value of the key `stubDomains`.
    pub json: Option<String>,
    /// Our zones in it.
    pub ours: BTreeSet<String>,
    /// There was no such key before us.
    pub created: bool,
}

/// Why `stubDomains` is left as it is.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StubDomainsError {
    /// kube-dns would not take it either.
    #[error("stubDomains is no JSON object of lists of name servers ({0}); put that right first")]
    Json(String),
    /// Somebody has made an entry for the zone.
    #[error("stubDomains has an entry for {0} that xcc has not made; take it out, or leave the zone to it")]
    ZoneTaken(String),
}

impl StubDomains {
    /// With entries for exactly these zones, and those of others.
    pub fn apply(&self, zones: &[ZoneName], servers: &[IpAddr]) -> Result<Self, StubDomainsError> {
        let created = self.created || self.json.is_none();
        let mut json = self.json.clone().unwrap_or_else(|| "{}".to_owned());
        let wanted: BTreeSet<String> = zones.iter().map(|zone| zone.as_str().to_owned()).collect();
        let servers: Vec<String> = servers.iter().map(IpAddr::to_string).collect();
        let entries = parse(&json)?;
        for zone in self.ours.difference(&wanted) {
            take_out(&mut json, zone);
        }
        let mut ours = BTreeSet::new();
        for zone in wanted {
            match entries.get(&zone) {
                // Theirs, if it is not ours: it stays when ours go.
                Some(there) if *there == servers => {
                    ours.extend(self.ours.get(&zone).cloned());
                    continue;
                }
                Some(_) if self.ours.contains(&zone) => replace(&mut json, &zone, &servers),
                Some(_) => return Err(StubDomainsError::ZoneTaken(zone)),
                None => put_in(&mut json, &zone, &servers),
            }
            ours.insert(zone);
        }
        Ok(Self { json: Some(json), ours, created })
    }

    /// Without our entries.
    pub fn remove(&self) -> Result<Self, StubDomainsError> {
        let mut json = self.json.clone();
        if let Some(json) = &mut json {
            parse(json)?;
            for zone in &self.ours {
                take_out(json, zone);
            }
        }
        // Somebody may have added an entry of their own to the object that we made.
        let json = json.filter(|json| !(self.created && members(json).0.is_empty()));
        Ok(Self { json, ours: BTreeSet::new(), created: false })
    }
}

fn parse(json: &str) -> Result<BTreeMap<String, Vec<String>>, StubDomainsError> {
    serde_json::from_str(json).map_err(|error| StubDomainsError::Json(error.to_string()))
}

/// A member of a JSON object: from the quote before its name to the end of its value.
struct Member {
    name: String,
    span: Range<usize>,
}

/// After the last member, or into the empty object.
fn put_in(json: &mut String, zone: &str, servers: &[String]) {
    let (members, body) = members(json);
    match members.last() {
        Some(last) => json.insert_str(last.span.end, &format!(",{}", member(zone, servers))),
        None => json.insert_str(body, &member(zone, servers)),
    }
}

fn replace(json: &mut String, zone: &str, servers: &[String]) {
    if let Some(found) = members(json).0.into_iter().find(|member| member.name == zone) {
        json.replace_range(found.span, &member(zone, servers));
    }
}

/// With the comma that only it needs.
fn take_out(json: &mut String, zone: &str) {
    let (members, _) = members(json);
    let Some(index) = members.iter().position(|member| member.name == zone) else { return };
    let span = &members[index].span;
    let before = index.checked_sub(1).map(|before| members[before].span.end..span.end);
    let after = members.get(index + 1).map(|after| span.start..after.span.start);
    json.replace_range(before.or(after).unwrap_or_else(|| span.clone()), "");
}

fn member(zone: &str, servers: &[String]) -> String {
    format!("{}:{}", serde_json::json!(zone), serde_json::json!(servers))
}

/// The members of a valid JSON object, and where its body begins.
fn members(json: &str) -> (Vec<Member>, usize) {
    let mut members: Vec<Member> = Vec::new();
    let (mut depth, mut body, mut start) = (0_usize, 0, None);
    let mut string: Option<(usize, bool)> = None;
    let mut end = 0;
    for (at, byte) in json.bytes().enumerate() {
        if let Some((_, escaped)) = &mut string {
            match byte {
                _ if *escaped => *escaped = false,
                b'\\' => *escaped = true,
                b'"' => {
                    string = None;
                    end = at + 1;
                }
                _ => {}
            }
            continue;
        }
        match byte {
            b'"' => {
                string = Some((at, false));
                if depth == 1 {
                    start.get_or_insert(at);
                }
            }
            b'{' | b'[' => {
                depth += 1;
                if depth == 1 {
                    body = at + 1;
                }
            }
            b'}' | b']' if depth > 1 => {
                depth -= 1;
                end = at + 1;
            }
            b',' | b'}' if depth == 1 => members.extend(start.take().map(|start| named(json, start..end))),
            _ => {}
        }
    }
    (members, body)
}

fn named(json: &str, span: Range<usize>) -> Member {
    let mut values = serde_json::Deserializer::from_str(&json[span.clone()]).into_iter::<String>();
    Member { name: values.next().and_then(Result::ok).unwrap_or_default(), span }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn zones(names: &[&str]) -> Vec<ZoneName> {
        names.iter().map(|name| ZoneName::parse(name).unwrap()).collect()
    }

    fn servers() -> Vec<IpAddr> {
        vec!["10.96.0.7".parse().unwrap()]
    }

    fn theirs(json: &str) -> StubDomains {
        StubDomains { json: Some(json.to_owned()), ..StubDomains::default() }
    }

    #[test]
    fn our_entry_comes_after_those_of_others() {
        let before = theirs("{ \"acme.local\" : [\"1.2.3.4\"] }\n");
        let after = before.apply(&zones(&["xcc.test"]), &servers()).unwrap();
        let expected = "{ \"acme.local\" : [\"1.2.3.4\"],\"xcc.test\":[\"10.96.0.7\"] }\n";
        assert_eq!(after.json.as_deref(), Some(expected));
        assert_eq!(after.apply(&zones(&["xcc.test"]), &servers()), Ok(after));
    }

    #[test]
    fn the_key_goes_with_our_last_entry_if_we_made_it() {
        let none = StubDomains::default();
        let with = none.apply(&zones(&["b.test", "a.test"]), &servers()).unwrap();
        assert_eq!(with.json.as_deref(), Some("{\"a.test\":[\"10.96.0.7\"],\"b.test\":[\"10.96.0.7\"]}"));
        assert_eq!(with.remove(), Ok(none));
        let shared =
            StubDomains { json: with.json.as_ref().map(|json| json.replace('}', ",\"mine\":[]}")), ..with };
        assert_eq!(shared.remove(), Ok(theirs("{\"mine\":[]}")));
    }

    #[test]
    fn another_address_or_zone_replaces_our_entry() {
        let with = theirs("{\"a\":[\"1.1.1.1\"]}")
            .apply(&zones(&["xcc.test"]), &["10.0.0.1".parse().unwrap()])
            .unwrap();
        let moved = with.apply(&zones(&["xcc.test"]), &servers()).unwrap();
        assert_eq!(moved.json.as_deref(), Some("{\"a\":[\"1.1.1.1\"],\"xcc.test\":[\"10.96.0.7\"]}"));
        let renamed = moved.apply(&zones(&["new.test"]), &servers()).unwrap();
        assert_eq!(renamed.json.as_deref(), Some("{\"a\":[\"1.1.1.1\"],\"new.test\":[\"10.96.0.7\"]}"));
    }

    #[test]
    fn an_entry_of_others_for_our_zone_is_refused_unless_it_says_the_same() {
        let zone = zones(&["xcc.test"]);
        let taken = theirs("{\"xcc.test\":[\"9.9.9.9\"]}").apply(&zone, &servers());
        assert_eq!(taken, Err(StubDomainsError::ZoneTaken("xcc.test".to_owned())));
        let same = theirs("{\"xcc.test\":[\"10.96.0.7\"]}");
        assert_eq!(same.apply(&zone, &servers()), Ok(same.clone()));
        assert_eq!(same.remove(), Ok(same));
    }

    #[test]
    fn what_is_no_object_of_lists_is_refused() {
        for json in ["", "[]", "{\"a\":1}", "{\"a\":[\"1\"]", "{\"a\":[\"1\"]} x"] {
            assert!(
                matches!(
                    theirs(json).apply(&zones(&["xcc.test"]), &servers()),
                    Err(StubDomainsError::Json(_))
                ),
                "{json}"
            );
        }
    }

    fn json() -> impl Strategy<Value = String> {
        let space = || "[ \t\n]{0,3}";
        let entry = (
            space(),
            "[a-c,:{}\\[\\]]{1,4}",
            space(),
            prop::collection::vec("[0-9.,\\]]{1,4}", 0..3),
            space(),
        );
        (space(), prop::collection::vec(entry, 0..4), space(), space()).prop_map(|(a, entries, b, c)| {
            let entries: Vec<String> = entries
                .into_iter()
                .enumerate()
                .map(|(index, (x, name, y, list, z))| format!("{x}\"{index}\\\"{name}\"{y}:{list:?}{z}"))
                .collect();
            format!("{a}{{{}{b}}}{c}", entries.join(","))
        })
    }

    proptest! {
        #[test]
        fn removal_gives_back_every_byte(text in json(), names in prop::collection::btree_set("[d-f]{1,3}\\.test", 1..4)) {
            let before = theirs(&text);
            let names: Vec<&str> = names.iter().map(String::as_str).collect();
            let with = before.apply(&zones(&names), &servers()).unwrap();
            let there = parse(with.json.as_ref().unwrap()).unwrap();
            prop_assert_eq!(there.len(), parse(&text).unwrap().len() + names.len());
            prop_assert_eq!(with.remove().unwrap(), before.clone());
            let other = with.apply(&zones(&["n.test", "o.test"]), &servers()).unwrap();
            prop_assert_eq!(other.remove().unwrap(), before);
        }
    }
}
