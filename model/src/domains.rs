//! Which domains a remote may export: `RemoteCluster.spec.allowedDomains`.

use serde::{Deserialize, Serialize};

use crate::hostname::Hostname;

/// Longest domain in presentation form without the trailing dot.
const DOMAIN_LENGTH_MAX: usize = 255;
const LABEL_LENGTH_MAX: usize = 63;

/// What a remote may export: an entry allows itself and everything below it; no entry allows all served zones.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct AllowedDomains(Vec<String>);

/// One entry of `allowedDomains` that is no domain.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("spec.allowedDomains[{index}]: {problem}")]
pub struct DomainError {
    /// Position in the list, from 0.
    pub index: usize,
    /// What is wrong.
    pub problem: DomainProblem,
}

/// What is wrong with an entry; the texts are those that users of the product's ancestor know.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs)]
pub enum DomainProblem {
    #[error("Required value: {INVALID_DOMAIN}")]
    Empty,
    #[error(
        "Invalid value: {0:?}: Invalid characters. Domain names must contain only alphanumeric characters, or dots (.) and hyphens (-)."
    )]
    Characters(String),
    #[error("Too long: may not be more than {DOMAIN_LENGTH_MAX} bytes")]
    TooLong,
    #[error("Invalid value: {0:?}: {INVALID_DOMAIN}")]
    Label(String),
    #[error(
        "Invalid value: {0:?}: Invalid use of hyphen in label. Labels in a domain name must not start or end with `-`."
    )]
    Hyphen(String),
    #[error("Invalid value: {0:?}: Invalid TLD. All-numeric TLDs are invalid.")]
    NumericTopLevel(String),
}

const INVALID_DOMAIN: &str = "Invalid domain. For example, labels in the domain name must have between 1 and 63 characters. Check RFC1035 for more details.";

impl AllowedDomains {
    /// Checks every entry and reports all that are wrong, not only the first.
    pub fn parse<S: AsRef<str>>(entries: &[S]) -> Result<Self, Vec<DomainError>> {
        let mut domains = Vec::with_capacity(entries.len());
        let mut errors = Vec::new();
        for (index, entry) in entries.iter().enumerate() {
            match parse_domain(entry.as_ref()) {
                Ok(domain) => domains.push(domain),
                Err(problem) => errors.push(DomainError { index, problem }),
            }
        }
        if errors.is_empty() { Ok(Self(domains)) } else { Err(errors) }
    }

    /// Whether the remote may export the name. A wildcard is judged by the domain below which it stands: it must not
    /// reach out of what is allowed.
    pub fn allows(&self, name: &Hostname) -> bool {
        let domain_of = name.wildcard_domain().unwrap_or_else(|| name.as_str());
        let allows = |domain: &String| {
            domain.is_empty()
                || domain_of
                    .strip_suffix(domain.as_str())
                    .is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
        };
        self.0.is_empty() || self.0.iter().any(allows)
    }

    /// The entries, lower case and without trailing dot; the root is the empty string.
    pub fn entries(&self) -> &[String] {
        &self.0
    }
}

fn parse_domain(entry: &str) -> Result<String, DomainProblem> {
    if entry.is_empty() {
        return Err(DomainProblem::Empty);
    }
    if !entry.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'.' || byte == b'-') {
        return Err(DomainProblem::Characters(entry.to_owned()));
    }
    let domain = entry.strip_suffix('.').unwrap_or(entry).to_ascii_lowercase();
    if domain.len() > DOMAIN_LENGTH_MAX {
        return Err(DomainProblem::TooLong);
    }
    if domain.is_empty() {
        return Ok(domain);
    }
    if domain.split('.').any(|label| label.is_empty() || label.len() > LABEL_LENGTH_MAX) {
        return Err(DomainProblem::Label(entry.to_owned()));
    }
    if domain.split('.').any(|label| label.starts_with('-') || label.ends_with('-')) {
        return Err(DomainProblem::Hyphen(entry.to_owned()));
    }
    let top_level = domain.rsplit('.').next().unwrap_or_default();
    if top_level.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(DomainProblem::NumericTopLevel(entry.to_owned()));
    }
    Ok(domain)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn domain_of_length(last_label: usize) -> String {
        format!("{0}.{0}.{0}.{0}.{1}", "a".repeat(60), "e".repeat(last_label))
    }

    #[test]
    fn valid_entries() {
        let longest = domain_of_length(11);
        let longest_with_dot = format!("{longest}.");
        let label = format!("{}.example.com", "a".repeat(63));
        for entry in [
            ".",
            "tld",
            "tld.",
            "example.com",
            "123.local",
            "xn--6qq79v.com",
            "example-domain.com",
            &longest,
            &longest_with_dot,
            &label,
        ] {
            assert!(AllowedDomains::parse(&[entry]).is_ok(), "{entry}");
        }
    }

    #[test]
    fn invalid_entries_say_why() {
        let too_long = domain_of_length(12);
        let label = format!("{}.example.com", "a".repeat(64));
        for (entry, part) in [
            ("", "Invalid domain"),
            (too_long.as_str(), "Too long"),
            (&label, "Invalid domain"),
            ("example..com", "Invalid domain"),
            ("http://example.com", "Invalid characters"),
            ("example.com/path", "Invalid characters"),
            ("example domain.com", "Invalid characters"),
            ("\\123example.com", "Invalid characters"),
            ("你好.com", "Invalid characters"),
            ("example.-domain.com", "Invalid use of hyphen"),
            ("example-.domain.com", "Invalid use of hyphen"),
            ("example.-domain-.com", "Invalid use of hyphen"),
            ("123", "Invalid TLD"),
            ("example.123", "Invalid TLD"),
            ("example.123.", "Invalid TLD"),
        ] {
            let errors = AllowedDomains::parse(&[entry]).unwrap_err();
            assert!(errors[0].to_string().contains(part), "{entry}: {}", errors[0]);
        }
    }

    #[test]
    fn all_errors_are_reported() {
        let errors =
            AllowedDomains::parse(&["example domain.com", "ok.test", "example.-domain.com"]).unwrap_err();
        assert_eq!(errors.iter().map(|error| error.index).collect::<Vec<_>>(), [0, 2]);
    }

    #[test]
    fn an_entry_allows_itself_and_what_is_below() {
        let domains = AllowedDomains::parse(&["Team.xcc.test."]).unwrap();
        for (name, allowed) in [
            ("team.xcc.test", true),
            ("a.team.xcc.test", true),
            ("a.b.team.xcc.test", true),
            ("*.team.xcc.test", true),
            ("*.xcc.test", false),
            ("ateam.xcc.test", false),
            ("xcc.test", false),
        ] {
            assert_eq!(domains.allows(&Hostname::parse(name).unwrap()), allowed, "{name}");
        }
        let any = Hostname::parse("a.b").unwrap();
        assert!(AllowedDomains::default().allows(&any));
        assert!(AllowedDomains::parse(&["."]).unwrap().allows(&any));
    }
}
