//! Host names as they stand in exports, in TLS SNI and in DNS, and the zones they must lie in.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// Longest name in presentation form without the trailing dot (RFC 1035, section 3.1: 255 octets on the wire).
const NAME_LENGTH_MAX: usize = 253;
/// Longest zone: the longest of its own names has 11 characters more ([`ZoneName::mailbox`]).
const ZONE_LENGTH_MAX: usize = NAME_LENGTH_MAX - "hostmaster.".len();
/// Longest label (RFC 1035, section 2.3.4).
const LABEL_LENGTH_MAX: usize = 63;
/// Zones that belong to others and that no gateway may answer for: the cluster's own names, this host's, reverse
/// lookup (RFC 6761, Kubernetes' DNS specification).
const ZONES_OF_OTHERS: [&str; 3] = ["cluster.local", "localhost", "arpa"];

/// A fully qualified host name: lower case, no trailing dot, letters, digits and hyphens only (RFC 1123,
/// section 2.1), at least two labels. A wildcard has `*` as its whole first label (RFC 4592).
///
/// The only string that is used as a key of the table: Envoy lower-cases the SNI before it compares, so a name with
/// upper case would never match.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String")]
pub struct Hostname(Arc<str>);

/// Why a string is no [`Hostname`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HostnameError {
    /// Nothing is there.
    #[error("the name is empty")]
    Empty,
    /// Over 253 characters.
    #[error("the name has {0} characters: at most {NAME_LENGTH_MAX} fit into DNS")]
    TooLong(usize),
    /// Two dots in a row, or a leading dot.
    #[error("the name has an empty label")]
    EmptyLabel,
    /// A label over 63 characters.
    #[error("label {0:?} has more than {LABEL_LENGTH_MAX} characters")]
    LabelTooLong(String),
    /// Something else than letters, digits and hyphens.
    #[error("label {0:?} has characters other than letters, digits and hyphens (use punycode for others)")]
    InvalidCharacter(String),
    /// A hyphen at the edge of a label.
    #[error("label {0:?} starts or ends with a hyphen")]
    EdgeHyphen(String),
    /// `*` is allowed only as the whole first label.
    #[error("a wildcard must be the whole first label, as in *.team.xcc.test")]
    Wildcard,
    /// One label only, or a wildcard right below the root.
    #[error("the name has a single label: a domain must follow")]
    NotQualified,
    /// The last label is a number, as in an IPv4 address.
    #[error("the last label is a number: IP addresses are no host names")]
    NumericTopLevel,
}

impl Hostname {
    /// Parses and normalises: upper case becomes lower case, one trailing dot is dropped.
    pub fn parse(text: &str) -> Result<Self, HostnameError> {
        let name = normalise(text)?;
        let labels = match name.strip_prefix("*.") {
            Some(rest) => rest,
            None if name.starts_with('*') => return Err(HostnameError::Wildcard),
            None => &name,
        };
        if labels.contains('*') {
            return Err(HostnameError::Wildcard);
        }
        check_labels(labels)?;
        if !labels.contains('.') {
            return Err(HostnameError::NotQualified);
        }
        Ok(Self(name.into()))
    }

    /// The name, lower case and without trailing dot.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether the first label is `*`.
    pub fn is_wildcard(&self) -> bool {
        self.0.starts_with("*.")
    }

    /// The domain below which a wildcard stands (`team.xcc.test` of `*.team.xcc.test`), none for other names.
    pub fn wildcard_domain(&self) -> Option<&str> {
        self.0.strip_prefix("*.")
    }

    /// Whether the name lies below the domain, at any depth; the domain itself does not count.
    pub fn is_below(&self, domain: &str) -> bool {
        self.0.strip_suffix(domain).is_some_and(|rest| rest.len() > 1 && rest.ends_with('.'))
    }
}

impl TryFrom<&str> for Hostname {
    type Error = HostnameError;

    fn try_from(text: &str) -> Result<Self, HostnameError> {
        Self::parse(text)
    }
}

impl TryFrom<String> for Hostname {
    type Error = HostnameError;

    fn try_from(text: String) -> Result<Self, HostnameError> {
        Self::parse(&text)
    }
}

impl fmt::Display for Hostname {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Hostname {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.0, f)
    }
}

/// The apex of a DNS zone that xcc answers for, such as `xcc.test`: lower case, no trailing dot, no wildcard.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct ZoneName(Arc<str>);

/// Why a string is no [`ZoneName`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ZoneNameError {
    /// Not a domain name at all.
    #[error("zone {zone:?}: {source}")]
    Invalid {
        /// The zone as given.
        zone: String,
        /// What is wrong with it.
        source: HostnameError,
    },
    /// Over 242 characters.
    #[error("zone {zone:?} has {length} characters: at most {ZONE_LENGTH_MAX} leave room for its own names",
        length = .zone.len())]
    TooLong {
        /// The zone, normalised.
        zone: String,
    },
    /// A domain that belongs to the cluster, to the host or to reverse lookup.
    #[error("zone {zone:?} lies in {domain}, which is not ours to answer for")]
    OfOthers {
        /// The zone as given.
        zone: String,
        /// The domain that it lies in.
        domain: &'static str,
    },
}

/// Why no zone takes a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Homeless<'z> {
    /// It lies in none of the zones.
    Outside,
    /// It is the apex of this zone.
    Apex(&'z ZoneName),
    /// This zone needs it for itself.
    Reserved(&'z ZoneName),
}

impl ZoneName {
    /// Parses and normalises as [`Hostname::parse`], but allows a single label.
    pub fn parse(text: &str) -> Result<Self, ZoneNameError> {
        let invalid = |source| ZoneNameError::Invalid { zone: text.to_owned(), source };
        let name = normalise(text).map_err(invalid)?;
        if name.contains('*') {
            return Err(invalid(HostnameError::Wildcard));
        }
        check_labels(&name).map_err(invalid)?;
        if name.len() > ZONE_LENGTH_MAX {
            return Err(ZoneNameError::TooLong { zone: name });
        }
        let within = |domain: &&str| {
            name.strip_suffix(*domain).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
        };
        match ZONES_OF_OTHERS.into_iter().find(within) {
            Some(domain) => Err(ZoneNameError::OfOthers { zone: text.to_owned(), domain }),
            None => Ok(Self(name.into())),
        }
    }

    /// The apex, lower case and without trailing dot.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The name of the zone's name server; no export may take it.
    pub fn name_server(&self) -> String {
        format!("ns.dns.{}", self.0)
    }

    /// The SOA's mailbox name (RFC 1035, section 3.3.13).
    pub fn mailbox(&self) -> String {
        format!("hostmaster.{}", self.0)
    }

    /// Whether the name lies below the apex. The apex itself is nobody's to export.
    pub fn contains(&self, name: &Hostname) -> bool {
        name.is_below(&self.0)
    }

    /// The zone of these that takes the name: the closest in which it lies, as DNS has it (RFC 1034, section 4.3.2). An
    /// apex lies in its own zone, and is nobody's to export.
    ///
    /// # Errors
    /// When it lies in none, or when one of the zones needs it for itself.
    pub fn home_of<'z>(
        zones: impl IntoIterator<Item = &'z Self, IntoIter: Clone>,
        name: &Hostname,
    ) -> Result<&'z Self, Homeless<'z>> {
        let zones = zones.into_iter();
        let within = |zone: &&Self| zone.is_apex(name) || zone.contains(name);
        let closest = zones.clone().filter(within).max_by_key(|zone| zone.0.len());
        let closest = closest.ok_or(Homeless::Outside)?;
        // With a zone in between, the name server of an outer zone lies in an inner one.
        let mut served = zones.filter(|zone| zone.below_apex(name.as_str()) == Some("ns.dns"));
        match served.next().or_else(|| closest.reserves(name).then_some(closest)) {
            Some(zone) => Err(Homeless::Reserved(zone)),
            None if closest.is_apex(name) => Err(Homeless::Apex(closest)),
            None => Ok(closest),
        }
    }

    fn is_apex(&self, name: &Hostname) -> bool {
        *self.0 == *name.0
    }

    /// Whether the name is one that the zone needs for itself: its name server, and the name above that one.
    pub fn reserves(&self, name: &Hostname) -> bool {
        let name = name.wildcard_domain().unwrap_or_else(|| name.as_str());
        matches!(self.below_apex(name), Some("dns" | "ns.dns"))
    }

    /// What stands before the apex; none outside of the zone and at its apex.
    fn below_apex<'n>(&self, name: &'n str) -> Option<&'n str> {
        name.strip_suffix(&*self.0).and_then(|rest| rest.strip_suffix('.'))
    }
}

impl fmt::Display for ZoneName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for ZoneName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.0, f)
    }
}

fn normalise(text: &str) -> Result<String, HostnameError> {
    let name = text.strip_suffix('.').unwrap_or(text).to_ascii_lowercase();
    match name.len() {
        0 => Err(HostnameError::Empty),
        length if length > NAME_LENGTH_MAX => Err(HostnameError::TooLong(length)),
        _ => Ok(name),
    }
}

fn check_labels(name: &str) -> Result<(), HostnameError> {
    for label in name.split('.') {
        if label.is_empty() {
            return Err(HostnameError::EmptyLabel);
        }
        if !label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-') {
            return Err(HostnameError::InvalidCharacter(label.to_owned()));
        }
        if label.len() > LABEL_LENGTH_MAX {
            return Err(HostnameError::LabelTooLong(label.to_owned()));
        }
        if label.starts_with('-') || label.ends_with('-') {
            return Err(HostnameError::EdgeHyphen(label.to_owned()));
        }
    }
    let top_level = name.rsplit('.').next().unwrap_or_default();
    if top_level.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(HostnameError::NumericTopLevel);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_normalised() {
        for (given, want) in [
            ("nginx.xcc.test", "nginx.xcc.test"),
            ("NGINX.Xcc.Test", "nginx.xcc.test"),
            ("nginx.xcc.test.", "nginx.xcc.test"),
            ("*.team.xcc.test", "*.team.xcc.test"),
            ("xn--bcher-kva.xcc.test", "xn--bcher-kva.xcc.test"),
            ("1.2.3.xcc.test", "1.2.3.xcc.test"),
        ] {
            assert_eq!(Hostname::parse(given).unwrap().as_str(), want, "{given}");
        }
    }

    #[test]
    fn bad_names_are_refused_with_the_reason() {
        let long_label = format!("{}.xcc.test", "a".repeat(64));
        let long_name = format!("{}xcc.test", "abcdefg.".repeat(31));
        let cases = [
            ("", HostnameError::Empty),
            (".", HostnameError::Empty),
            ("nginx", HostnameError::NotQualified),
            ("*", HostnameError::Wildcard),
            ("*.test", HostnameError::NotQualified),
            ("*w.xcc.test", HostnameError::Wildcard),
            ("a.*.xcc.test", HostnameError::Wildcard),
            ("*.*.xcc.test", HostnameError::Wildcard),
            ("a..xcc.test", HostnameError::EmptyLabel),
            (".xcc.test", HostnameError::EmptyLabel),
            ("a b.xcc.test", HostnameError::InvalidCharacter("a b".into())),
            ("a\0.xcc.test", HostnameError::InvalidCharacter("a\0".into())),
            ("a_b.xcc.test", HostnameError::InvalidCharacter("a_b".into())),
            ("bücher.xcc.test", HostnameError::InvalidCharacter("bücher".into())),
            ("-a.xcc.test", HostnameError::EdgeHyphen("-a".into())),
            ("a-.xcc.test", HostnameError::EdgeHyphen("a-".into())),
            ("10.0.0.1", HostnameError::NumericTopLevel),
            (&long_label, HostnameError::LabelTooLong("a".repeat(64))),
            (&long_name, HostnameError::TooLong(256)),
        ];
        for (given, want) in cases {
            assert_eq!(Hostname::parse(given), Err(want), "{given:?}");
        }
    }

    #[test]
    fn a_zone_contains_what_is_below_its_apex() {
        let zone = ZoneName::parse("XCC.test.").unwrap();
        assert_eq!(zone.as_str(), "xcc.test");
        for (name, inside) in [
            ("a.xcc.test", true),
            ("*.a.xcc.test", true),
            ("xcc.test", false),
            ("axcc.test", false),
            ("a.test", false),
        ] {
            assert_eq!(zone.contains(&Hostname::parse(name).unwrap()), inside, "{name}");
        }
        for (name, reserved) in [
            ("ns.dns.xcc.test", true),
            ("*.dns.xcc.test", true),
            ("dns.xcc.test", true),
            ("a.dns.xcc.test", false),
        ] {
            assert_eq!(zone.reserves(&Hostname::parse(name).unwrap()), reserved, "{name}");
        }
    }

    /// RFC 1035, section 2.3.4, holds for the names in a zone's SOA as well.
    #[test]
    fn zones_leave_room_for_their_own_names() {
        let zone = |length: usize| {
            let name = format!("{}test", "a.".repeat((length - 4) / 2));
            (name.len() == length).then_some(name).expect("an even length")
        };
        let longest = ZoneName::parse(&zone(242)).unwrap();
        assert_eq!(longest.mailbox().len(), NAME_LENGTH_MAX);
        assert!(longest.name_server().len() <= NAME_LENGTH_MAX);
        let error = ZoneName::parse(&zone(244)).unwrap_err();
        assert!(error.to_string().ends_with("has 244 characters: at most 242 leave room for its own names"));
    }

    #[test]
    fn zones_of_others_are_refused() {
        for zone in ["cluster.local", "svc.cluster.local", "localhost", "10.in-addr.arpa"] {
            assert!(matches!(ZoneName::parse(zone), Err(ZoneNameError::OfOthers { .. })), "{zone}");
        }
        for zone in ["", "*.test", "a..b"] {
            assert!(matches!(ZoneName::parse(zone), Err(ZoneNameError::Invalid { .. })), "{zone}");
        }
        assert!(ZoneName::parse("test").is_ok());
    }
}
